"""`tf.gfile`: the names of TF1 for what `coldframe.tf1.platform.file_io` does."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from coldframe.tf1.platform import file_io
from coldframe.tf1.platform.file_io import FileStatistics, GFile

__all__ = [
    "Copy", "DeleteRecursively", "Exists", "FastGFile", "FileStatistics", "GFile", "Glob", "IsDirectory",
    "ListDirectory", "MakeDirs", "MkDir", "Open", "Remove", "Rename", "Stat", "Walk",
]  # fmt: skip

Open = GFile


class FastGFile(GFile):
    """A file, as `GFile`; the name is from a time when there were two kinds."""

    def __init__(self, name: Any, mode: str = "r") -> None:
        super().__init__(name, mode)


def Exists(filename: Any) -> bool:
    """Return whether there is such a file or folder."""
    return file_io.exists(filename)


def IsDirectory(dirname: Any) -> bool:
    """Return whether there is such a folder."""
    return file_io.isdir(dirname)


def Stat(filename: Any) -> FileStatistics:
    """Return length, time and kind of a file or folder."""
    return file_io.stat(filename)


def Remove(filename: Any) -> None:
    """Delete a file."""
    file_io.remove(filename)


def DeleteRecursively(dirname: Any) -> None:
    """Delete a folder and all in it."""
    file_io.rmtree(dirname)


def Glob(filename: Any) -> list[str]:
    """Return the names that match a pattern, or one of several."""
    return file_io.glob(filename)


def MkDir(dirname: Any) -> None:
    """Make a folder."""
    file_io.mkdir(dirname)


def MakeDirs(dirname: Any) -> None:
    """Make a folder, and those around it."""
    file_io.makedirs(dirname)


def Copy(oldpath: Any, newpath: Any, overwrite: bool = False) -> None:
    """Copy a file."""
    file_io.copy(oldpath, newpath, overwrite)


def Rename(oldname: Any, newname: Any, overwrite: bool = False) -> None:
    """Give a file or folder another name."""
    file_io.rename(oldname, newname, overwrite)


def ListDirectory(dirname: Any) -> list[str]:
    """Return the names in a folder."""
    return file_io.listdir(dirname)


def Walk(top: Any, in_order: bool = True) -> Iterator[tuple[str, list[str], list[str]]]:
    """Yield each folder below `top` with the names of its folders and files; outer ones first if `in_order`."""
    return file_io.walk(top, in_order)
