"""`tf.gfile` against TensorFlow's own: each step is done with both, in folders of their own."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf

from coldframe.tf1 import errors
from coldframe.tf1.platform import file_io, gfile

THEIRS = tf.compat.v1.gfile


def tree(folder: Path) -> dict[str, bytes | None]:
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None for p in sorted(folder.rglob("*"))}


@pytest.fixture
def both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Callable[[Any], Any]], None]]:
    """Do a step with either module: what it gives, or raises, and what is on the disk then is the same."""
    for name in ("theirs", "ours"):
        (tmp_path / name / "x" / "y").mkdir(parents=True)
        (tmp_path / name / "f").write_text("a\nb\nlast")
        (tmp_path / name / "x" / "k").write_text("22")
        (tmp_path / name / "x" / "y" / ".hidden").write_text("1")

    def outcome(step: Callable[[Any], Any], module: Any) -> Any:
        try:
            return step(module)
        except (tf.errors.OpError, errors.OpError) as e:
            return type(e).__name__, e.error_code
        except (TypeError, UnicodeDecodeError) as e:
            return type(e).__name__

    def check(step: Callable[[Any], Any]) -> None:
        results = []
        for name, module in (("theirs", THEIRS), ("ours", gfile)):
            monkeypatch.chdir(tmp_path / name)
            results.append((outcome(step, module), tree(tmp_path / name)))
        assert results[1] == results[0]

    return check  # type: ignore[return-value]


FOLDERS: dict[str, Callable[[Any], Any]] = {
    "exists": lambda g: [g.Exists(n) for n in ("f", "x", "none", "", b"f", Path("x"))],
    "is_directory": lambda g: [g.IsDirectory(n) for n in ("f", "x", "none")],
    "stat": lambda g: (g.Stat("f").length, g.Stat("f").is_directory, g.Stat("x").is_directory),
    "stat_none": lambda g: g.Stat("none"),
    "remove": lambda g: g.Remove("f"),
    "remove_none": lambda g: g.Remove("none"),
    "remove_folder": lambda g: g.Remove("x"),
    "delete": lambda g: g.DeleteRecursively("x"),
    "delete_file": lambda g: g.DeleteRecursively("f"),
    "delete_none": lambda g: g.DeleteRecursively("none"),
    "list": lambda g: (sorted(g.ListDirectory("x")), sorted(g.ListDirectory("x/"))),
    "list_none": lambda g: g.ListDirectory("none"),
    "list_file": lambda g: g.ListDirectory("f"),
    "mkdir": lambda g: (g.MkDir("new"), g.MkDir("x")),
    "mkdir_deep": lambda g: g.MkDir("a/b"),
    "makedirs": lambda g: (g.MakeDirs("a/b/c"), g.MakeDirs("a/b/c"), g.MakeDirs("")),
    "makedirs_file": lambda g: g.MakeDirs("f"),
    "makedirs_below_file": lambda g: g.MakeDirs("f/g"),
    "copy": lambda g: g.Copy("f", "copy"),
    "copy_taken": lambda g: g.Copy("f", "x/k"),
    "copy_over": lambda g: g.Copy("f", "x/k", overwrite=True),
    "copy_none": lambda g: g.Copy("none", "z"),
    "copy_onto_folder": lambda g: g.Copy("f", "x", overwrite=True),
    "rename": lambda g: g.Rename("f", "x/g"),
    "rename_folder": lambda g: g.Rename("x", "z"),
    "rename_taken": lambda g: g.Rename("f", "x/k"),
    "rename_over": lambda g: g.Rename("f", "x/k", overwrite=True),
    "rename_none": lambda g: g.Rename("none", "z"),
    "rename_folder_onto_file": lambda g: g.Rename("x", "f", overwrite=True),
    "glob": lambda g: [sorted(g.Glob(p)) for p in ("x/*", "none*", "none/*", "x/**", "./x/[kz]", "x/{k,y}", "x/k")],
    "glob_several": lambda g: sorted(g.Glob(["x/y/*", "x/?"])),
    "walk": lambda g: [(d, sorted(s), sorted(f)) for d, s, f in g.Walk(".")],
    "walk_up": lambda g: [(d, sorted(s), sorted(f)) for d, s, f in g.Walk("x", in_order=False)],
    "walk_none": lambda g: list(g.Walk("none")),
    "file_scheme": lambda g: (
        g.Exists(f"file://{os.getcwd()}/f"), len(g.Glob(f"file://{os.getcwd()}/*")), g.ListDirectory(f"file://{os.getcwd()}/x/y")
    ),
    "other_scheme": lambda g: g.Exists("s3://bucket/f"),
}  # fmt: skip


def _parts(g: Any) -> list[Any]:
    f = g.GFile("f")
    out = [f.read(1), f.tell(), f.readline(), f.readlines(), f.readline(), f.size(), f.name, f.mode, f.seekable()]
    f.seek(2)
    out += [list(f), f.seek(-4, 2), f.read(), f.seek(1), f.seek(1, 1), f.read(3)]
    f.close()
    return [*out, f.read()]


def _write(g: Any) -> Any:
    with g.GFile("w", "w") as f:
        f.write("é\n")
        f.write(b"bytes")
        f.flush()
        out = [Path("w").read_bytes(), f.tell()]
    with g.Open("w", "a") as f:
        f.write("more")
        out.append(f.tell())
    return out


def _both_ways(g: Any) -> Any:
    with g.GFile("w", "w+") as f:
        f.write("abc")
        f.flush()
        f.seek(0)
        out = [f.read()]
    with g.GFile("w", "ab+") as f:
        f.write("def")
        f.flush()
        out.append(f.read())
    return out


FILES: dict[str, Callable[[Any], Any]] = {
    "parts": _parts,
    "bytes": lambda g: (g.FastGFile("f", "rb").read(), g.GFile("f", "rb").readline(), list(g.Open("f", mode="rb"))),
    "write": _write,
    "both_ways": _both_ways,
    "unwritten": lambda g: g.GFile("new", "w").close(),
    "none": lambda g: g.GFile("none").read(),
    "size_none": lambda g: g.GFile("none").size(),
    "folder": lambda g: g.GFile("x").read(),
    "write_none": lambda g: g.GFile("none/w", "w").write("x"),
    "write_folder": lambda g: g.GFile("x", "w").write("x"),
    "write_to_reader": lambda g: g.GFile("f").write("x"),
    "read_from_writer": lambda g: g.GFile("f", "a").read(),
    "mode": lambda g: g.GFile("f", "rU"),
    "whence": lambda g: g.GFile("f").seek(0, 5),
    "no_offset": lambda g: g.GFile("f").seek(),
    "two_offsets": lambda g: g.GFile("f").seek(1, position=1),
    "not_text": lambda g: (Path("bin").write_bytes(b"\xff"), g.GFile("bin").read()),
}


@pytest.mark.parametrize("step", FOLDERS.values(), ids=FOLDERS)
def test_folders_as_tensorflow(step: Callable[[Any], Any], both: Any) -> None:
    both(step)


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # steps leave files open, as programs do
@pytest.mark.parametrize("step", FILES.values(), ids=FILES)
def test_files_as_tensorflow(step: Callable[[Any], Any], both: Any) -> None:
    both(step)


def test_update_in_place_keeps_the_rest(tmp_path: Path) -> None:
    """Where TensorFlow empties the file."""
    (tmp_path / "f").write_text("abc")
    with gfile.GFile(tmp_path / "f", "r+") as f:
        f.write("X")
    assert (tmp_path / "f").read_text() == "Xbc"


def test_what_cannot_be_written_makes_no_file(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="Expected binary or unicode string, got 3"):
        gfile.GFile(tmp_path / "w", "w").write(3)
    assert not (tmp_path / "w").exists()


def test_messages_name_the_file() -> None:
    with pytest.raises(errors.NotFoundError, match="none; No such file or directory"):
        gfile.GFile("none").read()
    with pytest.raises(errors.UnimplementedError, match=r"File system scheme 'gs' not implemented .file: 'gs://a/b'."):
        gfile.GFile("gs://a/b").read()


def test_the_newer_names(tmp_path: Path) -> None:
    missing = [n for n in dir(tf.io.gfile) if not n.startswith("_") and not hasattr(file_io, n)]
    assert missing == []
    assert [n for n in dir(THEIRS) if not n.startswith("_") and n not in gfile.__all__] == []
    assert file_io.join("a", "b", "/c") == tf.io.gfile.join("a", "b", "/c") == "/c"
    told: list[Exception] = []
    assert list(file_io.walk(top=tmp_path / "none", topdown=True, onerror=told.append)) == []
    assert isinstance(told[0], errors.NotFoundError)
    assert "" in file_io.get_registered_schemes()
