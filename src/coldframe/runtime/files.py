"""Which files a session's graph may touch.

A graph is data, and data may not touch files: a loaded model reads its own assets (`NamedFiles`). The graph of a
program that runs here is the program's own code, and may do what the program may (`AnyFile`).
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable
from pathlib import Path
from typing import NoReturn, Protocol

from coldframe.errors import UnsupportedError
from coldframe.formats.files import read_file, write_atomic
from coldframe.primitives.base import refuse


class Files(Protocol):
    """What a graph's ops may do with files; `node` is named in errors."""

    def readable(self, path: bytes, node: str) -> str:
        """Return the path of a file that is to be read; it may be missing."""

    def read(self, path: bytes, node: str) -> bytes:
        """Return the bytes of a file."""

    def write(self, path: bytes, data: bytes, node: str) -> None:
        """Write a file, and the folders it needs."""

    def writable(self, path: bytes, node: str) -> str:
        """Return the path of a file, or the prefix of several, that is to be written."""

    def match(self, pattern: bytes, node: str) -> list[bytes]:
        """Return the existing paths that match a pattern (``*``, ``?``, ``[...]``), sorted."""


class NamedFiles:
    """A few files that may be read, and no others."""

    def __init__(self, paths: Iterable[str | os.PathLike[str]] = ()) -> None:
        self.paths = frozenset(os.path.abspath(p) for p in paths)

    def readable(self, path: bytes, node: str) -> str:
        """Return the path of one of them."""
        name = os.path.abspath(os.fsdecode(path))
        if name not in self.paths:
            _forbidden(
                "graphs may read only the files that belong to their model", path, node,
                "if you trust the graph, allow the file: Session(graph, files=[...])",
            )  # fmt: skip
        return name

    def read(self, path: bytes, node: str) -> bytes:
        """Return the bytes of one of them."""
        name = self.readable(path, node)
        try:
            return Path(name).read_bytes()
        except OSError as e:
            raise refuse(f"cannot read `{name}`", found=e.strerror) from e

    def write(self, path: bytes, data: bytes, node: str) -> None:
        """Refuse."""
        _forbidden("graphs of a model may not write files", path, node, "write what the graph computes yourself")

    def writable(self, path: bytes, node: str) -> str:
        """Refuse."""
        _forbidden("graphs of a model may not write files", path, node, "write what the graph computes yourself")

    def match(self, pattern: bytes, node: str) -> list[bytes]:
        """Refuse."""
        _forbidden("graphs of a model may not look for files", pattern, node, "feed the names of the files")


def _forbidden(what: str, path: bytes, node: str, hint: str) -> NoReturn:
    raise UnsupportedError(what, where=f"at node `{node}`", found=repr(os.fsdecode(path)), hint=hint)


class AnyFile:
    """Whatever the process itself may read and write."""

    def readable(self, path: bytes, node: str) -> str:
        """Return the path."""
        return os.fsdecode(path)

    def read(self, path: bytes, node: str) -> bytes:
        """Return the bytes of a file; raises as `coldframe.formats.files.read_file`."""
        return read_file(os.fsdecode(path))

    def write(self, path: bytes, data: bytes, node: str) -> None:
        """Write a file in one step: a reader finds the old content or the new one."""
        name = os.path.abspath(os.fsdecode(path))
        try:
            os.makedirs(os.path.dirname(name), exist_ok=True)
            write_atomic(name, [data], sync=False)
        except OSError as e:
            raise refuse(f"cannot write `{name}`", found=e.strerror) from e

    def writable(self, path: bytes, node: str) -> str:
        """Return the path."""
        return os.fsdecode(path)

    def match(self, pattern: bytes, node: str) -> list[bytes]:
        """Return the existing paths that match."""
        return sorted(os.fsencode(p) for p in glob.glob(os.fsdecode(pattern), include_hidden=True))
