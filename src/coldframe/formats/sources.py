"""Where the bytes of a checkpoint's files come from.

A reader asks for ranges, and does not care who answers::

    BundleReader ─► Opener(path) ─► Source.read(offset, size)        a view of a mapped file, or bytes fetched
                                    Source.read_into(offset, buffer) the same bytes, into memory that the caller has

`open_mapped` is the opener for local files. A view costs nothing until it is touched, and then stays counted to the
process as long as the mapping lives; what streams through a file larger than memory uses `read_into`. Another place
for checkpoints (an object store) is one more opener.
"""

from __future__ import annotations

import os
import sys
import weakref
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from coldframe.errors import TruncatedError
from coldframe.formats import files


class Source(Protocol):
    """A file open for reading at any place. Methods may be called from several threads at once."""

    @property
    def size(self) -> int:
        """The number of bytes of the file."""

    def read(self, offset: int, size: int) -> memoryview:
        """Return ``size`` bytes from `offset` on, which lie within the file; perhaps as a read-only view of it.

        Raises:
            OSError: the system cannot read.
        """

    def read_into(self, offset: int, target: memoryview) -> None:
        """Fill `target`, writable bytes, with the file's bytes from `offset` on.

        Raises:
            TruncatedError: the file has become shorter than it was.
            OSError: the system cannot read.
        """

    def close(self) -> None:
        """Let go of the file. What `read` returned stays valid."""


Opener: TypeAlias = Callable[[str], Source]
"""Opens the file of a name; raises `NotFoundError` where there is none."""


class MappedFile:
    """A local file, mapped into memory; see `Source`.

    Raises:
        NotFoundError: there is none.
        OSError: the system refuses for another reason.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = os.fspath(path)
        with files.open_file(path) as file:
            self._view = files.map_open_file(file)
            descriptor = os.dup(file.fileno())
        self._descriptor = descriptor
        self._close = weakref.finalize(self, os.close, descriptor)

    @property
    def size(self) -> int:
        """The number of bytes of the file when it was opened."""
        return len(self._view)

    def read(self, offset: int, size: int) -> memoryview:
        """Return a view of the file."""
        return self._view[offset : offset + size]

    def read_into(self, offset: int, target: memoryview) -> None:
        """Copy bytes out of the file, without mapping them."""
        if sys.platform == "win32":  # no reads at a place there
            target[:] = self._view[offset : offset + len(target)]
            return
        done = 0
        while done < len(target):  # one call reads 2 GiB at most
            count = os.preadv(self._descriptor, [target[done:]], offset + done)
            if not count:
                raise TruncatedError(
                    "file has become shorter",
                    where=f"at byte {offset + done} in {self._path}",
                    expected=f"{len(target) - done} more bytes",
                    found="its end",
                )
            done += count

    def read_arrays(self, offset: int, targets: Sequence[npt.NDArray[Any]], size: int) -> None:
        """Fill arrays in row-major order, up to 1000 and none empty, with `size` bytes that follow one another."""
        if sys.platform != "win32" and os.preadv(self._descriptor, targets, offset) == size:  # type: ignore[arg-type]
            return
        for array in targets:  # the system has read less than all
            self.read_into(offset, array.reshape(-1).view(np.uint8).data)
            offset += array.nbytes

    def close(self) -> None:
        """Close the file; views of it stay valid."""
        self._close()


class ReadAhead:
    """A source that is far away, read from its start to its end: it is asked for more than is wanted at once."""

    def __init__(self, source: Source, ahead: int = 8 << 20) -> None:
        self._source, self._ahead = source, ahead
        self._start, self._held = 0, memoryview(b"")

    @property
    def size(self) -> int:
        """The number of bytes of the file."""
        return self._source.size

    def read(self, offset: int, size: int) -> memoryview:
        """Return bytes, perhaps of those that were fetched before."""
        if offset < self._start or offset + size > self._start + len(self._held):
            self._held = memoryview(b"")  # first, so that not both are held at once
            self._held = self._source.read(offset, max(size, min(self._ahead, self.size - offset)))
            self._start = offset
        return self._held[offset - self._start : offset - self._start + size]

    def read_into(self, offset: int, target: memoryview) -> None:
        """Fill `target`, as `read` does."""
        target[:] = self.read(offset, len(target))

    def close(self) -> None:
        """Let go of the file."""
        self._source.close()


def open_mapped(path: str) -> Source:
    """Open a local file; raises as `MappedFile`."""
    return MappedFile(path)
