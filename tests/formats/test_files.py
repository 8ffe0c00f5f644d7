"""Files are replaced whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from coldframe.errors import NotFoundError, WrongFileError
from coldframe.formats import files


@pytest.mark.parametrize("sync", [True, False])
def test_write_and_replace(tmp_path: Path, sync: bool) -> None:
    path = tmp_path / "a.bin"
    files.write_atomic(path, [b"one", bytearray(b"two"), memoryview(b"three")], sync=sync)
    assert files.read_file(path) == b"onetwothree"
    files.write_atomic(str(path), iter([b"new"]), sync=sync)
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["a.bin"]


def test_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")

    def chunks() -> Iterator[bytes]:
        yield b"new"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        files.write_atomic(path, chunks())
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.bin"]


def test_failing_rename_removes_the_temporary(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    with pytest.raises(OSError, match="taken"):
        files.write_atomic(tmp_path / "taken", [b"x"])
    assert os.listdir(tmp_path) == ["taken"]


def test_links_stay_links(tmp_path: Path) -> None:
    real, link = tmp_path / "real", tmp_path / "link"
    real.write_bytes(b"old")
    link.symlink_to(real)
    files.write_atomic(link, [b"new"])
    assert link.is_symlink()
    assert real.read_bytes() == b"new"


def test_several_files_commit_in_order(tmp_path: Path) -> None:
    pending = [(files.write_temporary(tmp_path / n, [n.encode()]), tmp_path / n) for n in ("data", "index")]
    assert not (tmp_path / "data").exists()
    for temporary, path in pending:
        files.commit(temporary, path)
    assert sorted(os.listdir(tmp_path)) == ["data", "index"]
    dropped = files.write_temporary(tmp_path / "more", [b""])
    files.discard(dropped)
    files.discard(dropped)
    assert sorted(os.listdir(tmp_path)) == ["data", "index"]


def test_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"no folder `.*nope` to write `a` into"):
        files.write_atomic(tmp_path / "nope" / "a", [b""])
    with pytest.raises(NotFoundError, match=r"the folder `.*nope` does not exist either"):
        files.read_file(tmp_path / "nope" / "a")


def test_missing_file_suggests_near_names(tmp_path: Path) -> None:
    (tmp_path / "frozen.pb").touch()
    with pytest.raises(NotFoundError, match=r"no file `.*frozn.pb`\nhint: did you mean `frozen.pb`\?"):
        files.read_file(tmp_path / "frozn.pb")
    with pytest.raises(NotFoundError):
        files.read_file(tmp_path / "frozen.pb" / "below")
    with pytest.raises(WrongFileError, match="expected a file, found a folder"):
        files.map_file(tmp_path)


def test_map(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"")
    assert len(files.map_file(path)) == 0
    path.write_bytes(np.arange(4, dtype=np.int32).tobytes())
    view = files.map_file(path)
    assert view.readonly
    array = np.frombuffer(view, np.int32)
    del view
    assert array.tolist() == [0, 1, 2, 3]
    assert files.read_head(path, 2) == b"\0\0"
