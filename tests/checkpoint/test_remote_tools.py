"""The tools, on checkpoints in stores: what they make of a URL is what they make of the same files on a disk."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest

import s3_server
import tf_saver
from cli_harness import Command
from coldframe import inspect, open_checkpoint, save_checkpoint
from coldframe.checkpoint import (
    Averaging,
    Keep,
    Rules,
    Stripping,
    average,
    cast,
    compare,
    convert,
    diff,
    extract,
    import_tensors,
    list_checkpoints,
    merge,
    prune,
    rename,
    repair,
    repair_state,
    reshard,
    split,
    strip,
    verify,
)
from coldframe.errors import MisuseError, NotFoundError, StoreError, WrongFileError
from coldframe.formats import remote
from coldframe.formats.bundle_writer import BundleWriter
from coldframe.formats.slices import TensorSlice
from coldframe.formats.sources import ReadAhead, Source
from coldframe.formats.stores import LOCAL, fetched, place

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")


def write_run(folder: Path) -> None:
    """Two checkpoints of a run, with slots, strings, a scalar and slices."""
    rng = np.random.default_rng(0)
    for step in (4, 5):
        with BundleWriter(folder / f"m-{step}", shards=2) as writer:
            whole = rng.random((6, 500), np.float32)
            writer.add_slice("part", (6, 500), TensorSlice.parse("0,2:-"), whole[:2], shard=1)
            writer.add_slice("part", (6, 500), TensorSlice.parse("2,4:-"), whole[2:], shard=1)
            writer.add("w", rng.random((30, 40), np.float32))
            writer.add("w/Adam", rng.random((30, 40), np.float32))
            writer.add("global_step", np.int64(step))
            writer.add("words", np.array([b"one", b"twenty"], object))
    (folder / "checkpoint").write_text(
        'model_checkpoint_path: "m-5"\nall_model_checkpoint_paths: "m-4"\nall_model_checkpoint_paths: "m-5"\n'
    )


def upload_folder(folder: Path, url: str) -> None:
    store, path = place(url)
    assert isinstance(store, remote.RemoteStore)
    for file in sorted(folder.iterdir()):
        store.upload(str(file), store.join(path, file.name))


@pytest.fixture
def run(tmp_path: Path) -> Iterator[tuple[str, str]]:
    """A run on the disk, and the URL of the same."""
    write_run(tmp_path / "run")
    upload_folder(tmp_path / "run", "memory://tests/run")
    yield str(tmp_path / "run"), "memory://tests/run"
    fsspec.filesystem("memory").store.clear()


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(capsys)


MADE: dict[str, Callable[[str, str], Any]] = {
    "strip": lambda run, to: strip(f"{run}/m-5", to, Stripping(step=True)),
    "average": lambda run, to: average([f"{run}/m-4", f"{run}/m-5"], to, Averaging()),
    "cast": lambda run, to: cast(run, to, "float16"),
    "rename": lambda run, to: rename(f"{run}/m-5", to, Rules({"w": "kernel"})),
    "reshard": lambda run, to: reshard(f"{run}/m-5", to, shards=3, partition={"w": (1, 4)}),
    "convert": lambda run, to: convert(f"{run}/m-5.index", to),
    "merge": lambda run, to: merge([f"{run}/m-4", f"{run}/m-5"], to, prefer="last"),
    "repair": lambda run, to: repair(f"{run}/m-5", to),
}


def files_of(url: str) -> dict[str, bytes]:
    store, path = place(url)
    folder, stem = store.split(path)
    return {n: store.read(store.join(folder, n)) for n in store.names(folder) if n.startswith(stem)}


@pytest.mark.parametrize("tool", MADE)
def test_what_is_made_is_what_is_made_on_a_disk(run: tuple[str, str], tmp_path: Path, tool: str) -> None:
    here, there = run
    MADE[tool](here, str(tmp_path / "made"))
    MADE[tool](there, "memory://tests/out/made")
    MADE[tool](there, str(tmp_path / "copied"))
    wanted = files_of(str(tmp_path / "made"))
    assert files_of("memory://tests/out/made") == wanted
    assert {n.replace("copied", "made"): data for n, data in files_of(str(tmp_path / "copied")).items()} == wanted
    MADE[tool](here, "memory://tests/out/made")  # over what is there
    assert verify("memory://tests/out/made").ok


def test_parts_go_where_urls_say(run: tuple[str, str]) -> None:
    _, there = run
    split(f"{there}/m-5", {"memory://tests/a": ["w", "w/*"], "memory://tests/b": ["part"]}, rest="memory://tests/c")
    assert "w" in open_checkpoint("memory://tests/a")
    assert list(open_checkpoint("memory://tests/b")) == ["part"]
    assert list(open_checkpoint("memory://tests/c")) == ["global_step", "words"]


def test_a_source_is_not_written_over(run: tuple[str, str]) -> None:
    _, there = run
    for tool in ("strip", "convert", "repair"):
        with pytest.raises(MisuseError, match=r"does not write over its source|not repaired in place"):
            MADE[tool](there, f"{there}/m-5")
    assert verify(there).ok


def test_v1(run: tuple[str, str], tmp_path: Path) -> None:
    here, there = run
    convert(f"{there}/m-5", "memory://tests/old", to="v1")
    convert(f"{here}/m-5", str(tmp_path / "old"), to="v1")
    assert files_of("memory://tests/old") == files_of(str(tmp_path / "old"))
    old = open_checkpoint("memory://tests/old")
    assert old.version == "V1"
    assert old.read_slice("part", (1, 0), (3, 500)).tobytes() == open_checkpoint(here)["part"][1:4].tobytes()
    assert tf_saver.read(str(tmp_path / "old"), "w").tobytes() == old["w"].tobytes()
    assert verify("memory://tests/old").ok
    assert [(c.version, c.step, c.complete) for c in list_checkpoints("memory://tests/old")] == [("V1", 5, True)]
    store, _ = place("memory://tests")
    for i, data in enumerate(files_of("memory://tests/old").values()):
        store.replace(f"memory://tests/sharded/m-{i:05d}-of-00002", data)
    with pytest.raises(NotFoundError, match="shard of checkpoint `memory://tests/sharded/m` is missing"):
        open_checkpoint("memory://tests/sharded/m")
    store.replace("memory://tests/other", b"neither" * 9)
    with pytest.raises(WrongFileError, match="not a sorted table in memory://tests/other"):
        open_checkpoint("memory://tests/other")


def test_what_is_found_out_is_the_same(run: tuple[str, str]) -> None:
    here, there = run
    store, _ = place(there)
    bad = bytearray(store.read(f"{there}/m-4.data-00000-of-00002"))
    bad[5000] ^= 1
    store.replace(f"{there}/m-4.data-00000-of-00002", bytes(bad))
    Path(here, "m-4.data-00000-of-00002").write_bytes(bad)
    Path(here, "m-6.data-00000-of-00001").write_bytes(b"")
    store.replace(f"{there}/m-6.data-00000-of-00001", b"")
    for ask in (
        lambda run: verify(run).text(),
        lambda run: inspect(run).text(),
        lambda run: inspect(f"{run}/m-5").text(all=True),
        lambda run: json.dumps(inspect(f"{run}/m-5.index").to_json()),
        lambda run: str(diff(f"{run}/m-5", f"{run}/m-5").tensors),
        lambda run: str(compare([f"{run}/m-5"])),
        lambda run: str([(c.prefix, c.nbytes, c.tensors, c.mark, c.problem) for c in list_checkpoints(run)]),
        lambda run: repair_state(run, dry_run=True).text(),
        lambda run: str([c.prefix for c in prune(run, Keep(last=1)).removed]),
    ):
        assert ask(there) == ask(here).replace(here, there)
    assert not verify(there).ok


def test_changes_to_a_folder(run: tuple[str, str]) -> None:
    _, there = run
    store, _ = place(there)
    store.replace(f"{there}/checkpoint", b"rubbish")
    assert repair_state(there).listed == ("m-4", "m-5")
    done = prune(there, Keep(last=1), dry_run=False)
    assert [c.prefix for c in done.removed] == [f"{there}/m-4"]
    assert [n for n in store.names(there) if n.startswith("m-4")] == []
    assert [c.mark for c in list_checkpoints("memory://tests", recursive=True)] == ["latest"]
    assert open_checkpoint(there)["global_step"] == 5
    for tool in (lambda: prune("memory://tests/none", Keep(last=1)), lambda: repair_state("memory://tests/none")):
        with pytest.raises(NotFoundError, match="no folder `memory://tests/none`"):
            tool()


@pytest.mark.parametrize("ending", ["npz", "safetensors"])
def test_files_of_arrays(run: tuple[str, str], tmp_path: Path, ending: str) -> None:
    here, there = run
    extract(f"{there}/m-5", f"memory://tests/x.{ending}")
    extract(f"{here}/m-5", tmp_path / f"x.{ending}")
    assert files_of("memory://tests/x.") == files_of(str(tmp_path / "x."))
    import_tensors(f"memory://tests/x.{ending}", "memory://tests/back")
    assert open_checkpoint("memory://tests/back")["w"].tobytes() == open_checkpoint(here)["w"].tobytes()


def test_a_folder_of_arrays_is_not_uploaded(run: tuple[str, str]) -> None:
    _, there = run
    with pytest.raises(MisuseError, match="a folder is not uploaded to `memory://tests/arrays`"):
        extract(f"{there}/m-5", "memory://tests/arrays")


def test_meta_graphs_go_along(run: tuple[str, str]) -> None:
    here, there = run
    store, _ = place(there)
    store.replace(f"{there}/m-5.meta", b"a graph")
    convert(f"{there}/m-5", "memory://tests/out/m")
    assert store.read("memory://tests/out/m.meta") == b"a graph"
    (problem,) = verify(f"{there}/m-5").problems
    assert problem.file == f"{there}/m-5.meta"
    strip(f"{there}/m-5", "memory://tests/out/m")
    assert not store.is_file("memory://tests/out/m.meta")
    assert LOCAL.is_folder(here)


def test_archives_are_read(run: tuple[str, str], tmp_path: Path) -> None:
    here, _ = run
    with zipfile.ZipFile(tmp_path / "run.zip", "w") as archive:
        for file in Path(here).iterdir():
            archive.write(file, file.name)
    inside, top = f"zip://m-5::{tmp_path}/run.zip", f"zip://::{tmp_path}/run.zip"
    assert verify(top).ok
    assert verify(inside).ok
    assert [(c.prefix, c.step) for c in list_checkpoints(top)] == [("zip://m-4", 4), ("zip://m-5", 5)]
    assert all(c.time > 1e9 for c in list_checkpoints(top))
    assert [p.step for p in compare([top]).points] == [4, 5]
    strip(inside, tmp_path / "stripped")
    assert "w/Adam" not in open_checkpoint(tmp_path / "stripped")
    assert "zip://m-5: a checkpoint" in inspect(inside).text()


def test_the_command_line(run: tuple[str, str], command: Command) -> None:
    _, there = run
    assert "sound" in command("verify", there).out
    assert "latest" in command("checkpoint", "ls", there).out
    assert json.loads(command("inspect", f"{there}/m-5", "--json").out)["path"] == f"{there}/m-5"
    assert command("checkpoint", "repair", there).code == 0
    assert command("checkpoint", "strip", f"{there}/m-5", "-o", "memory://tests/out").code == 0
    assert command("verify", "memory://tests/out").code == 0
    none = command("inspect", "memory://tests/none")
    assert none.code != 0
    assert "no checkpoint is called `memory://tests/none`" in none.err


def test_other_files_are_inspected(run: tuple[str, str]) -> None:
    here, there = run
    store, _ = place(there)
    for name, data in (("some.txt", b"hello"), ("checkpoint_of_none", b"{}"), ("variables/m.index", b"x" * 99)):
        path = Path(here, name)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
        store.replace(f"{there}/{name}", data)
    for name in ("some.txt", "checkpoint_of_none", ""):
        assert inspect(f"{there}/{name}".rstrip("/")).text() == inspect(Path(here, name)).text().replace(here, there)


# --- S3 ---------------------------------------------------------------------------------------------------------
def test_s3(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(remote, "_PAUSES", (0.01,))
    write_run(tmp_path / "run")
    with s3_server.serve() as server:
        monkeypatch.setitem(fsspec.config.conf, "s3", server.options())
        url = f"s3://{s3_server.BUCKET}/tools"
        upload_folder(tmp_path / "run", url)
        assert verify(url).ok
        assert [c.step for c in list_checkpoints(url)] == [4, 5]
        assert inspect(url).text() == inspect(tmp_path / "run").text().replace(str(tmp_path / "run"), url)
        strip(url, f"{url}/out/m")
        assert "w/Adam" not in open_checkpoint(f"{url}/out/m")
        assert len(list_checkpoints(url, recursive=True)) == 3
        assert len(prune(url, Keep(last=1), dry_run=False).removed) == 1
        with pytest.raises((StoreError, NotFoundError)):
            verify(f"s3://{s3_server.BUCKET}-of-nobody/m")


# --- files that are far away ------------------------------------------------------------------------------------
class Counted:
    """A source that tells what it was asked for."""

    def __init__(self, data: bytes) -> None:
        self.data, self.asked = data, list[tuple[int, int]]()

    @property
    def size(self) -> int:
        return len(self.data)

    def read(self, offset: int, size: int) -> memoryview:
        self.asked.append((offset, size))
        return memoryview(self.data)[offset : offset + size]

    def read_into(self, offset: int, target: memoryview) -> None:
        target[:] = self.read(offset, len(target))

    def close(self) -> None:
        self.asked.clear()


def test_reading_ahead() -> None:
    source = Counted(bytes(range(100)))
    ahead: Source = ReadAhead(source, 40)
    found = b"".join(bytes(ahead.read(at, 10)) for at in range(0, 100, 10))
    assert found == source.data
    assert source.asked == [(0, 40), (40, 40), (80, 20)]
    buffer = bytearray(50)
    ahead.read_into(5, memoryview(buffer))
    assert bytes(buffer) == source.data[5:55]
    assert source.asked[-1] == (5, 50)
    assert ahead.size == 100
    ahead.close()


def test_fetched_files_are_gone_afterwards(run: tuple[str, str]) -> None:
    here, there = run
    store, _ = place(there)
    with fetched(store, f"{there}/m-5.index") as path:
        assert path.name == "m-5.index"
        assert path.read_bytes() == Path(here, "m-5.index").read_bytes()
    assert not path.exists()
    with fetched(LOCAL, f"{here}/m-5.index") as path:
        assert path == Path(here, "m-5.index")
    with pytest.raises(NotFoundError), fetched(store, f"{there}/none"):
        pass


def test_a_save_is_what_the_tools_read(tmp_path: Path) -> None:
    prefix = save_checkpoint("memory://tests/m", {"a": np.ones(3)}, global_step=1)
    try:
        assert verify(prefix).ok
        convert(prefix, str(tmp_path / "m"))
        assert open_checkpoint(tmp_path / "m")["a"].tolist() == [1, 1, 1]
    finally:
        fsspec.filesystem("memory").store.clear()
