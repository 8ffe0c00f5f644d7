"""Versions come and go while requests are answered."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from coldframe import checkpoint
from coldframe.errors import CorruptError, MisuseError
from coldframe.serve import lifecycle, memory
from coldframe.serve.config import ModelConfig, VersionPolicy
from coldframe.serve.lifecycle import Catalog, CatalogOptions, Phase
from coldframe.serve.naming import ModelSpec
from coldframe.serve.servable import LoadOptions, Servable, load_servable
from coldframe.serve.server import ServeOptions
from coldframe.serve.sources import BasePath, Found
from coldframe.serve.status import Code, RequestError
from serving import half_plus, one_model, running

M = ModelSpec("m")


def load(config: ModelConfig, version: int, path: Path) -> Servable:
    return load_servable(config.name, version, path, LoadOptions(engine="reference"))


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.01)


def phases(catalog: Catalog) -> dict[int, Phase]:
    return {s.version: s.phase for s in catalog.statuses(M)}


def turn(catalog: Catalog) -> None:
    catalog.poll()
    assert catalog.wait(20)


def test_policies() -> None:
    assert VersionPolicy().choose([3, 1, 20]) == [20]
    assert VersionPolicy(count=2).choose([3, 1, 20]) == [3, 20]
    assert VersionPolicy("all").choose([3, 1]) == [1, 3]
    assert VersionPolicy("specific", versions=(1, 9)).choose([3, 1]) == [1]


def test_a_new_version_takes_over(tmp_path: Path) -> None:
    half_plus(tmp_path / "1", 1.0)
    catalog = Catalog(load)
    catalog.configure([ModelConfig("m", tmp_path)])
    with catalog.lease(M) as old:
        assert old.version == 1
        half_plus(tmp_path / "2", 2.0)
        turn(catalog)
        assert phases(catalog) == {2: Phase.AVAILABLE, 1: Phase.UNLOADING}  # the old one still has a request
        with catalog.lease(M) as new:
            assert new.version == 2
    assert phases(catalog) == {2: Phase.AVAILABLE, 1: Phase.END}
    with pytest.raises(RequestError, match=r"Specific\(m, 1\)") as e, catalog.lease(ModelSpec("m", 1)):
        pass
    assert e.value.code is Code.NOT_FOUND
    shutil.rmtree(tmp_path / "2")  # going back
    turn(catalog)
    assert phases(catalog) == {2: Phase.END, 1: Phase.AVAILABLE}
    catalog.close()


def test_memory_goes_back_once_the_last_request_is_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request gives its version back a moment before it lets go of it."""
    gone: list[bool] = []
    monkeypatch.setattr(lifecycle, "give_back", lambda left: gone.append(memory.give_back(left)) or gone[-1])
    half_plus(tmp_path / "1", 1.0)
    catalog = Catalog(load)
    catalog.configure([ModelConfig("m", tmp_path)])
    with catalog.lease(M) as old:
        half_plus(tmp_path / "2", 2.0)
        turn(catalog)
    until(lambda: bool(gone))
    assert not gone[0]
    assert old.version == 1
    del old
    assert catalog.wait(20)
    assert gone[-1]


def test_a_broken_version_leaves_the_old_one(tmp_path: Path) -> None:
    half_plus(tmp_path / "1", 1.0)
    catalog = Catalog(load, CatalogOptions(retries=1, retry_wait=0.0))
    catalog.configure([ModelConfig("m", tmp_path)])
    (tmp_path / "2").mkdir()
    (tmp_path / "2" / "saved_model.pb").write_bytes(b"\x00 nothing like a model")
    for _ in range(4):
        turn(catalog)
    assert phases(catalog) == {1: Phase.AVAILABLE, 2: Phase.END}
    (broken,) = catalog.statuses(ModelSpec("m", 2))
    assert broken.code is not Code.OK
    assert str(tmp_path) not in broken.message
    assert "saved_model.pb" in broken.message
    shutil.rmtree(tmp_path / "2")
    half_plus(tmp_path / "2", 2.0)  # other files: it is tried again, although the tries were used up
    turn(catalog)
    assert phases(catalog) == {2: Phase.AVAILABLE, 1: Phase.END}
    catalog.close()


def test_tries_are_counted(tmp_path: Path) -> None:
    half_plus(tmp_path / "1", 1.0)
    tries = []

    def failing(config: ModelConfig, version: int, path: Path) -> Servable:
        tries.append(version)
        raise CorruptError("as ever")

    catalog = Catalog(failing, CatalogOptions(retries=2, retry_wait=0.0))
    catalog.configure([ModelConfig("m", tmp_path)])
    for _ in range(6):
        turn(catalog)
    assert tries == [1, 1, 1]
    catalog.close()


def test_a_base_path_that_cannot_be_read_stops_nothing(tmp_path: Path) -> None:
    half_plus(tmp_path / "models" / "1", 1.0)
    catalog = Catalog(load)
    catalog.configure([ModelConfig("m", tmp_path / "models")])
    (tmp_path / "models").rename(tmp_path / "away")
    turn(catalog)
    assert phases(catalog) == {1: Phase.AVAILABLE}
    catalog.close()


def test_requests_do_not_wait_for_the_file_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    half_plus(tmp_path / "1", 1.0)
    catalog = Catalog(load)
    catalog.configure([ModelConfig("m", tmp_path)])
    looking, answered = threading.Event(), threading.Event()

    def scan(base: BasePath) -> dict[int, Found]:
        looking.set()
        assert answered.wait(20)
        return {}

    with monkeypatch.context() as patch:
        patch.setattr(BasePath, "scan", scan)
        polling = threading.Thread(target=catalog.poll)
        polling.start()
        assert looking.wait(20)
        with catalog.lease(M) as servable:
            assert servable.version == 1
        assert phases(catalog) == {1: Phase.AVAILABLE}
        answered.set()
        polling.join()
    catalog.close()


def test_a_model_that_moves_serves_from_the_old_place_until_the_new_one_is_ready(tmp_path: Path) -> None:
    half_plus(tmp_path / "old" / "1", 1.0)
    (tmp_path / "new").mkdir()
    catalog = Catalog(load)
    catalog.configure([ModelConfig("m", tmp_path / "old")])
    catalog.configure([ModelConfig("m", tmp_path / "new")])
    with catalog.lease(M) as old:
        assert old.path == tmp_path / "old" / "1"
        half_plus(tmp_path / "new" / "1", 2.0)
        turn(catalog)
        with catalog.lease(M) as new:
            assert new.path == tmp_path / "new" / "1"
    catalog.configure([])
    with pytest.raises(RequestError) as e, catalog.lease(M):
        pass
    assert e.value.code is Code.NOT_FOUND
    catalog.close()


def test_variables_without_values_make_a_version_broken(tmp_path: Path) -> None:
    half_plus(tmp_path / "1", 1.0)
    variables = tmp_path / "1" / "variables" / "variables"
    checkpoint.strip(variables, tmp_path / "less", checkpoint.Stripping(without=("b",)))
    for suffix in (".index", ".data-00000-of-00001"):
        shutil.move(f"{tmp_path / 'less'}{suffix}", f"{variables}{suffix}")

    def try_out(config: ModelConfig, version: int, path: Path) -> Servable:
        servable = load(config, version, path)
        servable.try_out()
        return servable

    catalog = Catalog(try_out)
    catalog.configure([ModelConfig("m", tmp_path)])
    (status,) = catalog.statuses(M)
    assert (status.phase, "`b`" in status.message) == (Phase.END, True)
    catalog.close()


def test_one_file_and_what_replaces_it(tmp_path: Path) -> None:
    path = half_plus(tmp_path / "model", 1.0)
    catalog = Catalog(load)
    catalog.configure([ModelConfig("m", path)])
    assert phases(catalog) == {1: Phase.AVAILABLE}
    half_plus(tmp_path / "other", 3.0)
    shutil.rmtree(path)
    (tmp_path / "other").rename(path)
    turn(catalog)
    assert phases(catalog) == {2: Phase.AVAILABLE, 1: Phase.END}
    catalog.close()


def test_labels(tmp_path: Path) -> None:
    half_plus(tmp_path / "1", 1.0)
    half_plus(tmp_path / "2", 2.0)
    catalog = Catalog(load)
    config = ModelConfig("m", tmp_path, VersionPolicy("all"), {"stable": 1, "canary": 2})
    catalog.configure([config])
    for label, version in config.labels.items():
        with catalog.lease(ModelSpec("m", label=label)) as found:
            assert found.version == version
    with pytest.raises(RequestError, match="assign label to version 9 of model m, which is not currently available"):
        catalog.configure([ModelConfig("m", tmp_path, VersionPolicy("all"), {"stable": 9})])
    assert catalog.labels("m") == {"stable": 1, "canary": 2}
    catalog.configure([])
    with pytest.raises(RequestError, match=r"Servable not found for request: Latest\(m\)"), catalog.lease(M):
        pass
    catalog.close()


def test_polling_and_requests_in_flight(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    half_plus(tmp_path / "m" / "1", 1.0)
    answers: list[tuple[int, float]] = []
    stop = threading.Event()
    with running(one_model(tmp_path / "m")) as server:

        def ask() -> None:
            with httpx.Client(base_url=server.rest) as client:
                while not stop.is_set():
                    reply = client.post("/v1/models/m:predict", json={"instances": [0.0]})
                    answers.append((reply.status_code, reply.json().get("predictions", [None])[0]))

        threads = [threading.Thread(target=ask) for _ in range(3)]
        for t in threads:
            t.start()
        until(lambda: bool(answers))
        for version in (2, 3, 4):
            half_plus(tmp_path / "m" / str(version), float(version))
            until(lambda version=version: phases(server.server.catalog).get(version) is Phase.AVAILABLE)  # type: ignore[misc]
        until(lambda: answers[-1][1] == 4.0)
        stop.set()
        for t in threads:
            t.join()
    assert {status for status, _ in answers} == {200}
    assert {value for _, value in answers} >= {1.0, 4.0}


def test_a_server_without_any_model_says_why(tmp_path: Path) -> None:
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "model.tflite").write_bytes(b"TFL3")
    with (
        pytest.raises(MisuseError, match=r"no model can be served(.|\n)*m: no model in (.|\n)*found model.tflite"),
        running(one_model(tmp_path)),
    ):
        pass
    with (
        pytest.raises(MisuseError, match="m: no versions in its base path"),
        running(ServeOptions(models=(ModelConfig("m", tmp_path / "none"),))),
    ):
        pass


def test_a_frozen_graph_and_inputs_that_may_be_left_out(tmp_path: Path) -> None:
    import coldframe.tf1 as tf

    with tf.Graph().as_default() as graph:
        x = tf.placeholder(tf.float32, [None], name="x")
        tf.multiply(x, tf.placeholder_with_default(3.0, [], name="factor"), name="y")
    (tmp_path / "graph.pb").write_bytes(graph.as_graph_def().SerializeToString())
    with running(one_model(tmp_path / "graph.pb")) as server, httpx.Client(base_url=server.rest) as client:

        def ask(body: object) -> object:
            return client.post("/v1/models/m:predict", json=body).json()

        assert ask({"instances": [1.0, 2.0]}) == {"predictions": [3.0, 6.0]}
        assert ask({"inputs": {"x": [1.0], "factor": 2.0}}) == {"outputs": [2.0]}
        assert "expected inputs" not in str(ask({"inputs": {"x": [1.0]}}))
        assert "Missing named input: x" in str(ask({"inputs": {"factor": 2.0}}))
