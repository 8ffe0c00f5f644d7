"""Checkpoints in stores: S3's protocol from a server on this machine, memory, zip archives."""

from __future__ import annotations

import gc
import os
import shutil
import sys
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
import s3fs

import s3_server
import tf_saver
from coldframe import CheckpointManager, latest_checkpoint, open_checkpoint, save_checkpoint
from coldframe.checkpoint.latest import find_latest
from coldframe.errors import (
    AccessError,
    CheckpointWarning,
    ChecksumError,
    MisuseError,
    NotFoundError,
    StoreError,
    TruncatedError,
    WrongFileError,
)
from coldframe.formats import remote, stores

TENSORS = {"a": np.arange(30_000, dtype=np.float32).reshape(300, 100), "b": np.ones(7), "s": np.array([b"x", b"yz"])}


# Clients that were hung up on leave sockets to the garbage collector, which says so.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(scope="module")
def server() -> Iterator[s3_server.S3]:
    with s3_server.serve() as running:
        yield running
    with warnings.catch_warnings():  # let that happen here, and not in the middle of another module's test
        warnings.simplefilter("ignore")
        s3fs.S3FileSystem.clear_instance_cache()
        gc.collect()


@pytest.fixture
def s3(server: s3_server.S3, request: pytest.FixtureRequest) -> Iterator[tuple[s3_server.S3, str]]:
    """The server, and the URL of a folder in it that is this test's."""
    server.reset()
    yield server, f"s3://{s3_server.BUCKET}/{request.node.name}"
    server.reset()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No long waits between attempts, of ours or of s3fs."""
    monkeypatch.setattr(remote, "_PAUSES", (0.01, 0.01))
    monkeypatch.setattr(s3fs.S3FileSystem, "retries", 1)


def saved(prefix: str, step: int, options: Any = None, **more: Any) -> str:
    tensors = {"a": np.full(5000, step, np.float32), "b": np.full(9, step)}
    return save_checkpoint(prefix, tensors, storage_options=options, **more)


def step_of(url: str, options: Any = None) -> int:
    with open_checkpoint(url, storage_options=options) as ckpt:
        ckpt.verify()
        values = {float(v) for name in "ab" for v in np.unique(ckpt[name])}
    assert len(values) == 1
    return int(values.pop())


def test_saved_and_opened(s3: tuple[s3_server.S3, str], tmp_path: Path) -> None:
    server, url = s3
    options = server.options()
    prefix = save_checkpoint(f"{url}/m", TENSORS, global_step=5, shards=2, storage_options=options)
    assert prefix == f"{url}/m-5"
    assert latest_checkpoint(url, storage_options=options) == prefix
    for path in (prefix, url, f"{url}/", f"{url}/checkpoint", f"{prefix}.index", f"{prefix}.data-00000-of-00002"):
        ckpt = open_checkpoint(path, storage_options=options)
        assert ckpt.prefix == prefix
    assert all(np.array_equal(ckpt[n], TENSORS[n]) for n in TENSORS)
    assert repr(ckpt) == f"<V2 checkpoint `{prefix}`: 3 tensors>"
    names = [n.rpartition("/")[2] for n in s3fs.S3FileSystem(**options).ls(url)]
    assert names == ["checkpoint", "m-5.data-00000-of-00002", "m-5.data-00001-of-00002", "m-5.index"]
    s3fs.S3FileSystem(**options).get(f"{url}/", f"{tmp_path}/", recursive=True)
    np.testing.assert_array_equal(tf_saver.read(str(tmp_path / "m-5"), "a"), TENSORS["a"])
    same = save_checkpoint(tmp_path / "local" / "m", TENSORS, global_step=5, shards=2)
    assert Path(f"{same}.index").read_bytes() == (tmp_path / "m-5.index").read_bytes()


def test_only_the_bytes_that_are_asked_for_are_fetched(s3: tuple[s3_server.S3, str]) -> None:
    server, url = s3
    options = server.options()
    prefix = save_checkpoint(f"{url}/m", TENSORS, storage_options=options)
    server.reset()
    ckpt = open_checkpoint(prefix, storage_options=options)
    index = sum(r.nbytes for r in server.requests)
    assert 0 < index < 500
    assert all(r.path.endswith((".index", "/")) or r.method == "HEAD" for r in server.requests)
    ckpt.specs["a"]
    server.reset()
    assert ckpt["b"].tolist() == [1] * 7
    assert ckpt.read_slice("a", (7, 0), (2, 100)).tolist() == TENSORS["a"][7:9].tolist()
    gets = [r for r in server.requests if r.method == "GET" and ".data-" in r.path]
    assert [r.nbytes for r in gets] == [56, 800]
    assert len(server.requests) <= 4


def test_retention(s3: tuple[s3_server.S3, str]) -> None:
    server, url = s3
    options = server.options()
    for step in (1, 2, 3):
        saved(f"{url}/m", step, options, global_step=step, max_to_keep=2)
    names = [n.rpartition("/")[2] for n in s3fs.S3FileSystem(**options).ls(url)]
    assert [n for n in names if n.endswith(".index")] == ["m-2.index", "m-3.index"]
    assert not [n for n in names if n.startswith("m-1")]


def test_a_save_over_a_checkpoint_never_replaces_live_data(s3: tuple[s3_server.S3, str]) -> None:
    server, url = s3
    options = server.options()
    for step in (1, 2, 3):
        server.reset()
        saved(f"{url}/m", step, options)
        puts = [r.path.rpartition("/")[2] for r in server.requests if r.method in ("PUT", "POST")]
        count = 2 - step % 2
        assert puts == [*(f"m.data-{i:05d}-of-{count:05d}" for i in range(count)), "m.index", "checkpoint"]
        assert step_of(url, options) == step
        names = [n.rpartition("/")[2] for n in s3fs.S3FileSystem(**options).ls(url)]
        assert names == ["checkpoint", *puts[:-1]]


def cut_off(server: s3_server.S3, url: str, name: str, kind: str, step_by: int) -> None:
    """Let each request of a save in turn be the last that is answered; what was there, or was to come, is there."""
    options = server.options()
    saved(f"{url}/m-1" if name == "fresh" else f"{url}/m", 1, options)
    good, refused, step = 1, 0, 2
    finished = False
    for last in range(1, 90, step_by):
        server.reset()
        server.fault = lambda n, _r, last=last: kind if n > last else None  # type: ignore[misc]
        try:
            saved(f"{url}/m-{step}" if name == "fresh" else f"{url}/m", step, options, max_to_keep=2)
            finished = True
        except StoreError:
            refused += 1
        server.reset()
        found = step_of(url, options)
        assert found in ({step} if finished else {good, step}), (last, found)
        good, step = found, step + 1
        if finished:
            break
    assert finished
    assert refused >= 3


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("name", ["fresh", "same"])
def test_the_store_is_gone_from_some_request_on(s3: tuple[s3_server.S3, str], name: str) -> None:
    cut_off(*s3, name, "error", 4)


@pytest.mark.slow
@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("name", ["fresh", "same"])
@pytest.mark.parametrize("kind", ["error", "drop", "lost"])
def test_the_store_is_gone_from_any_request_on(s3: tuple[s3_server.S3, str], name: str, kind: str) -> None:
    cut_off(*s3, name, kind, 1)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("kind", ["error", "drop", "lost"])
def test_what_fails_for_a_moment_is_asked_again(s3: tuple[s3_server.S3, str], kind: str) -> None:
    server, url = s3
    options = server.options()
    server.fault = lambda n, _r: kind if n % 4 == 0 else None
    for step in (1, 2):
        saved(f"{url}/m", step, options)
        assert step_of(url, options) == step


@pytest.mark.usefixtures("impatient")
def test_slow_answers(s3: tuple[s3_server.S3, str]) -> None:
    server, url = s3
    prefix = saved(f"{url}/m", 1, server.options())
    hasty = server.options(read_timeout=0.3)
    server.fault = lambda n, _r: 1.0 if n == 2 else None
    assert step_of(prefix, hasty) == 1  # the second attempt is answered in time
    server.reset()
    server.fault = lambda _n, _r: 1.0
    with pytest.raises(StoreError, match=r"the store of `s3://.*` did not do what it was asked: found .*[Tt]imeout"):
        open_checkpoint(prefix, storage_options=hasty)


def test_wrong_credentials(s3: tuple[s3_server.S3, str]) -> None:
    from moto.core import set_initial_no_auth_action_count

    server, url = s3
    prefix = saved(f"{url}/m", 1, server.options())
    asked = (
        lambda: open_checkpoint(prefix, storage_options=server.options()),
        lambda: saved(f"{url}/n", 1, server.options()),
        lambda: latest_checkpoint(url, storage_options=server.options()),
    )

    @set_initial_no_auth_action_count(0)  # moto checks meanwhile, and nobody has an account
    def refused() -> None:
        for ask in asked:
            told = r"access to `s3://.*` was refused: found PermissionError.*\nhint: check the credentials"
            with pytest.raises(AccessError, match=told):
                ask()

    refused()
    assert step_of(prefix, server.options()) == 1


def test_what_is_not_there(s3: tuple[s3_server.S3, str]) -> None:
    server, url = s3
    options = server.options()
    saved(f"{url}/model", 1, options, write_state=False)
    assert step_of(url, options) == 1, "the only one of a folder needs no state file"
    with pytest.raises(NotFoundError, match=r"no checkpoint is called `s3://.*modle`.*\nhint: did you mean `model`"):
        open_checkpoint(f"{url}/modle", storage_options=options)
    saved(f"{url}/other", 1, options, write_state=False)
    with pytest.raises(WrongFileError, match=r"several checkpoints and no state file.*\nhint: open one .*s3://"):
        open_checkpoint(url, storage_options=options)
    assert latest_checkpoint(f"{url}/nothing", storage_options=options) is None
    with pytest.raises(NotFoundError):
        open_checkpoint("s3://no-such-bucket/m", storage_options=options)


def test_damage_is_found_and_passed_over(s3: tuple[s3_server.S3, str]) -> None:
    server, url = s3
    options = server.options()
    first, second = (saved(f"{url}/m-{s}", s, options) for s in (1, 2))
    system = s3fs.S3FileSystem(**options)
    name = f"{second}.data-00000-of-00001"
    data = system.cat_file(name)
    system.pipe_file(name, b"\xff" + data[1:])
    with pytest.raises(ChecksumError, match=rf"of tensor `a` at byte 0 in {name}"):
        open_checkpoint(url, storage_options=options)["a"]
    with pytest.warns(CheckpointWarning, match=rf"skipped `{second}`: checksum mismatch"):
        assert latest_checkpoint(url, verify=True, storage_options=options) == first
    system.pipe_file(name, data[:50])
    with pytest.raises(TruncatedError):
        open_checkpoint(url, storage_options=options)["a"]
    system.rm_file(name)
    assert latest_checkpoint(url, storage_options=options) == first
    assert find_latest(url, storage_options=options).skipped[0].reason == "a data file is missing"


def test_a_manager(s3: tuple[s3_server.S3, str]) -> None:
    server, url = s3
    options = server.options()
    with CheckpointManager(url, keep=2, storage_options=options, asynchronous=True) as manager:
        for step in (1, 2, 3):
            manager.save({"w": [np.full(4, step)], "n": None}, step, metrics={"loss": 1 / step})
    again = CheckpointManager(url, keep=2, storage_options=options)
    assert [(c.step, c.metrics["loss"]) for c in again.checkpoints] == [(2, 1 / 2), (3, 1 / 3)]
    again.pin(2)
    restored = again.restore()
    assert restored is not None
    assert restored.tree["w"][0].tolist() == [3] * 4
    assert restored.checkpoint.prefix == f"{url}/ckpt-3"
    system = s3fs.S3FileSystem(**options)
    system.rm_file(f"{url}/ckpt-3.data-00000-of-00001")
    assert CheckpointManager(url, storage_options=options).restore().step == 2  # type: ignore[union-attr]


# --- other stores ---------------------------------------------------------------------------------------------------
@pytest.fixture
def memory() -> Iterator[str]:
    yield "memory://tests"
    fsspec.filesystem("memory").store.clear()


def test_memory(memory: str) -> None:
    for step in (1, 2, 2):
        saved(f"{memory}/run/m", step, global_step=step, max_to_keep=1)
    assert step_of(f"{memory}/run") == 2
    manager = CheckpointManager(f"{memory}/managed", keep=1)
    for step in (1, 2):
        manager.save({"w": np.ones(2) * step}, step)
    assert CheckpointManager(f"{memory}/managed").restore().step == 2  # type: ignore[union-attr]
    assert [c.step for c in manager.checkpoints] == [2]
    assert latest_checkpoint(f"{memory}/none") is None


def test_zip_archives(tmp_path: Path, memory: str) -> None:
    saved(str(tmp_path / "run" / "m"), 4)
    shutil.make_archive(str(tmp_path / "run"), "zip", tmp_path / "run")
    assert step_of(f"zip://m::{tmp_path}/run.zip") == 4
    assert step_of(f"zip:///::{tmp_path}/run.zip") == 4
    with fsspec.open(f"{memory}/run.zip", "wb") as file:
        file.write((tmp_path / "run.zip").read_bytes())
    assert step_of(f"zip://m::{memory}/run.zip") == 4
    assert len(zipfile.ZipFile(tmp_path / "run.zip").namelist()) >= 3


def test_file_urls(tmp_path: Path) -> None:
    saved(f"file://{tmp_path}/run/m", 4)
    assert step_of(f"file://{tmp_path}/run") == step_of(str(tmp_path / "run")) == 4


def test_a_file_of_another_kind(memory: str) -> None:
    with fsspec.open(f"{memory}/old", "wb") as file:
        file.write(b"anything")
    with pytest.raises(TruncatedError, match=f"not a sorted table in {memory}/old"):
        open_checkpoint(f"{memory}/old")


def test_misuse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MisuseError, match=r"a local path has no storage options `m`: found \['key'\]"):
        save_checkpoint("m", {}, storage_options={"key": "x"})
    with pytest.raises(MisuseError, match="`nosuch://a` names no store that fsspec knows"):
        open_checkpoint("nosuch://a")
    with pytest.raises(MisuseError, match=r"needs a package that is not installed.*\nhint: .*gcsfs"):
        open_checkpoint("gs://bucket/m")
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(MisuseError, match=r"fsspec, which is not installed\nhint: pip install 'coldframe\[remote\]'"):
        open_checkpoint("s3://bucket/m")


def test_nothing_is_left_of_the_files_that_were_sent(
    memory: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    saved(f"{memory}/m", 1)
    assert os.listdir(tmp_path) == []


def test_which_paths_are_urls() -> None:
    for path in ("s3://b/m", "memory://m", "zip://m::x.zip", "filecache::s3://b/m"):
        assert stores.is_url(path)
    for path in ("m", "/a/b", "C:\\runs\\m", "a:b", Path("m"), "./s3://b"):
        assert not stores.is_url(path)
