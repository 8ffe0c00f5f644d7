"""A data file on its way: what is appended is handed to the system in large pieces, in the background.

::

    append ─► pending ── 8 MiB ──► pwritev at its offset, in a thread ─► sync_file_range: on to the disk at once
                                                                        ...            ─► finish: fsync

While one thread of the system copies bytes into the page cache, the caller computes the CRC of what comes next, and the
disk already writes what came before, so that the sync at the end has little left to wait for. Nothing is copied inside
the process: the system reads the arrays where they are. Space is reserved ahead where the file system does so without
touching memory; that finds out early that a disk is full, and keeps files in one piece.
"""

from __future__ import annotations

import collections
import ctypes
import errno
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, TypeAlias, cast

import numpy as np
import numpy.typing as npt

from coldframe.formats import locks
from coldframe.formats.parallel import submit

Bytes: TypeAlias = bytes | memoryview
_Piece: TypeAlias = "Bytes | npt.NDArray[Any]"

BATCH_BYTES: Final = 8 << 20
_BATCH_PIECES: Final = 1000  # systems take 1024 at a time
_AHEAD: Final = 3  # batches that may wait for the disk before `append` does
_RESERVE: Final = 64 << 20
_SLOW_RESERVE: Final = 0.004  # seconds of CPU: such a file system (tmpfs) fills memory, which is then filled twice
_START_WRITING: Final = 2  # SYNC_FILE_RANGE_WRITE


class DataFile:
    """A new file, written from its start to its end.

    Args:
        path: its name; there must be no such file.
        pool: writes what is handed over.

    Raises:
        FileExistsError: there is such a file.
        OSError: the system refuses to make it.
    """

    def __init__(self, path: Path, pool: ThreadPoolExecutor) -> None:
        self.path = path
        self.size = 0  # of all that was appended
        self._pool = pool
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
        self._descriptor: int | None = os.open(path, flags, 0o666)
        locks.claim(self._descriptor)
        self._pending: list[_Piece] = []
        self._pending_bytes = 0
        self._underway: collections.deque[Future[None]] = collections.deque()
        self._reserved = 0
        self._reserves = sys.platform == "linux"

    def append(self, data: Bytes) -> None:
        """Take bytes, which must not change before `wait` or `finish`.

        Raises:
            OSError: an earlier piece could not be written.
        """
        self.append_sized(data, len(data))

    def append_array(self, array: npt.NDArray[Any]) -> None:
        """Take the memory of an array in row-major order, as `append` does bytes; it must not be empty."""
        self.append_sized(array, array.nbytes)

    def append_sized(self, data: _Piece, size: int) -> None:
        """Take an array, as `append_array` does, or bytes, where their number is known."""
        self._pending.append(data)
        self._pending_bytes += size
        self.size += size
        if self._pending_bytes >= BATCH_BYTES or len(self._pending) >= _BATCH_PIECES:
            self._submit()

    def flush(self) -> None:
        """Hand over what is left, and go on while it is written; raises as `append`."""
        if self._pending:
            self._submit()

    def wait(self) -> None:
        """Return when all that was appended is with the system; raises as `append`."""
        self.flush()
        while self._underway:
            self._underway.popleft().result()

    def finish(self) -> Callable[[], None]:
        """Write what is left and start to sync; return what waits for that.

        The file stays open, and with it the claim on it, until `close`; on Windows, which renames no open file, it is
        closed then.

        Raises:
            OSError: something could not be written. So may what is returned.
        """
        self.wait()
        synced = submit(self._pool, self._sync)

        def wait() -> None:
            synced.result()
            if sys.platform == "win32":
                self.close()

        return wait

    def close(self) -> None:
        """Close the file; what has not been written never will be."""
        self._pending.clear()
        while self._underway:
            self._underway.popleft().exception()  # the first error has been raised, or the file is of no interest
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _submit(self) -> None:
        while len(self._underway) >= _AHEAD:
            self._underway.popleft().result()
        at = self.size - self._pending_bytes
        self._underway.append(submit(self._pool, self._write, self._pending, self._pending_bytes, at))
        self._pending, self._pending_bytes = [], 0

    # --- in the pool ------------------------------------------------------------------------------------------
    def _write(self, pieces: list[_Piece], size: int, at: int) -> None:
        descriptor = self._open_descriptor()
        if size >= BATCH_BYTES:  # a small file is not worth the calls
            self._reserve(descriptor, at + size)
        _write_at(descriptor, pieces, size, at)
        if size >= BATCH_BYTES and _sync_file_range is not None:
            _sync_file_range(descriptor, at, size, _START_WRITING)  # a wish: the sync at the end is what counts

    def _reserve(self, descriptor: int, needed: int) -> None:
        if not self._reserves or needed <= self._reserved or _fallocate is None:
            return
        target = max(needed, self._reserved + _RESERVE)
        started = time.thread_time()
        if _fallocate(descriptor, 0, self._reserved, target - self._reserved):
            number = ctypes.get_errno()
            self._reserves = False
            if number == errno.ENOSPC and target > needed:
                return  # what is needed may still fit, and is refused when it is written otherwise
            if number in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
                raise OSError(number, os.strerror(number), str(self.path))
            return  # not every file system can
        self._reserved = target
        self._reserves = time.thread_time() - started < _SLOW_RESERVE

    def _sync(self) -> None:
        descriptor = self._open_descriptor()
        if self._reserved > self.size:
            os.ftruncate(descriptor, self.size)
        os.fsync(descriptor)

    def _open_descriptor(self) -> int:
        if self._descriptor is None:
            raise ValueError("the file is closed")
        return self._descriptor


def _write_at(descriptor: int, pieces: list[_Piece], size: int, at: int) -> None:
    if sys.platform == "win32":  # no writes at a place there, and one thread at a time by the caller
        os.lseek(descriptor, at, os.SEEK_SET)
        for piece in pieces:
            rest = _bytes(piece)
            while rest:
                rest = rest[os.write(descriptor, rest) :]
        return
    written = os.pwritev(descriptor, cast(list[Bytes], pieces), at)  # arrays are buffers too
    if written == size:
        return
    left = list(map(_bytes, pieces))
    while True:
        at += written
        done = 0
        while done < len(left) and written >= len(left[done]):
            written -= len(left[done])
            done += 1
        left = left[done:]
        if not left:
            return
        left[0] = left[0][written:]
        written = os.pwritev(descriptor, left, at)


def _bytes(piece: _Piece) -> memoryview:
    return piece.reshape(-1).view(np.uint8).data if isinstance(piece, np.ndarray) else memoryview(piece)


def _system_call(name: str, *types: type) -> Callable[..., int] | None:
    """Return a function of the C library that Python does not offer, None where there is none such."""
    if sys.platform != "linux" or ctypes.sizeof(ctypes.c_void_p) != 8:
        return None
    function = getattr(ctypes.CDLL(None, use_errno=True), name, None)
    if function is None:
        return None
    function.argtypes, function.restype = types, ctypes.c_int
    found: Callable[..., int] = function
    return found


_fallocate: Final = _system_call("fallocate", ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
_sync_file_range: Final = _system_call(
    "sync_file_range", ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint
)  # fmt: skip
