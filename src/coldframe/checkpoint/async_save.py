"""Saving in the background: the caller goes on as soon as the values are copied.

::

    save(prefix, tensors) ─► wait for the save before ─► copy into a buffer that is kept ─► return
                                                                   └─► thread: save_checkpoint, as ever

Only the copy is waited for, which several threads share. The buffer is allocated by the first save and used again,
since new memory costs the system several times what a copy costs; so a saver holds the memory of one more checkpoint
(per pending save). Nothing is lost silently: an error of a background save is raised by whatever is called next, at the
latest by `close`, or is told at the end of the program.
"""

from __future__ import annotations

import mmap
import operator
import os
import traceback
import warnings
import weakref
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from coldframe.checkpoint.reader import Checkpoint
from coldframe.checkpoint.writer import save_checkpoint
from coldframe.errors import CheckpointWarning, MisuseError
from coldframe.formats.parallel import default_threads, each

_ALIGNMENT: Final = 64
_SMALL: Final = 1 << 18  # bytes that are copied before another thread has begun
_PIECE: Final = 8 << 20  # bytes that a thread copies at a time
_KIND: Final = operator.attrgetter("shape", "dtype")


class Background:
    """A thread that does one job after the other, for a caller who goes on but wants to hear of errors.

    Args:
        pending: how many jobs may be under way before `make_room` waits for the oldest.
        what: what a job fails to do, for the warning at the end of a program that never asks.
    """

    def __init__(self, *, pending: int = 1, what: str = "a checkpoint could not be saved in the background") -> None:
        self._room = pending
        self._pool: ThreadPoolExecutor | None = ThreadPoolExecutor(1, thread_name_prefix="coldframe-background")
        self._running: list[Future[object]] = []
        self._unheard = weakref.finalize(self, _warn_of_failures, self._running, what)

    @property
    def pending(self) -> int:
        """How many jobs are under way."""
        return sum(not future.done() for future in self._running)

    def make_room(self) -> None:
        """Wait until another job may be submitted; raises as `wait`, and `MisuseError` once it is closed."""
        if self._pool is None:
            raise MisuseError("the saver is closed")
        self._await(self._room - 1)

    def submit(self, job: Callable[[], object]) -> None:
        """Do `job` in the background, when those before are done."""
        self.make_room()
        assert self._pool is not None
        self._running.append(self._pool.submit(job))

    def check(self) -> None:
        """Raise what made a job fail, if one did; wait for nothing."""
        while self._running and self._running[0].done():
            self._running.pop(0).result()

    def wait(self) -> None:
        """Return when all jobs are done; raise what made one fail: the first, if there are several."""
        self._await(0)

    def close(self) -> None:
        """Wait for all jobs, and let go of the thread; raises as `wait`."""
        pool, self._pool = self._pool, None
        if pool is not None:
            try:
                self._await(0)
            finally:
                pool.shutdown()

    def _await(self, left: int) -> None:
        while len(self._running) > left:
            future = self._running[0]
            try:
                future.result()
            finally:
                if future.done():  # else the wait was interrupted
                    self._running.pop(0)


class AsyncSaver:
    """Saves checkpoints in the background, with the guarantees of `save_checkpoint`.

    Saves are committed in the order in which they were asked for. As a context manager, it waits for all of them where
    the block ends. A program that ends without `close` still finishes them; an error is a `CheckpointWarning` then.
    It is for one thread.

    Args:
        pending: how many saves may be under way before `save` waits for the oldest. Each takes the memory of a
            checkpoint.

    Raises:
        MisuseError: `pending` is below 1.
    """

    def __init__(self, *, pending: int = 1) -> None:
        if pending < 1:
            raise MisuseError("a saver has room for at least one save", expected="pending of 1 or more", found=pending)
        self._background = Background(pending=pending)
        self._buffers = Buffers()

    def save(
        self,
        prefix: str | os.PathLike[str],
        tensors: Mapping[str, npt.ArrayLike],
        *,
        global_step: int | None = None,
        after: Callable[[str], object] | None = None,
        **options: Any,
    ) -> str:
        """Copy the tensors and return; the rest of the save happens in the background.

        Waits first for an earlier save where `pending` are under way. The arrays may be changed afterwards.

        Args:
            prefix: as for `save_checkpoint`, which has the other arguments.
            tensors: arrays by name. Strings are taken over by reference: bytes cannot change.
            global_step: appended to the prefix.
            after: called with the prefix, in the background, when the checkpoint is there.
            options: as for `save_checkpoint`: ``shards``, ``write_state``, ``max_to_keep``, ...

        Returns:
            The prefix that will open it.

        Raises:
            MisuseError: the saver is closed.
            Exception: whatever made an earlier save fail; this one has not begun.
        """
        self._background.make_room()
        if isinstance(tensors, Checkpoint):
            options.setdefault("dtype_of", {name: spec.dtype for name, spec in tensors.specs.items()})
        copies, release = self._buffers.copy(tensors)
        final = os.fspath(prefix) if global_step is None else f"{os.fspath(prefix)}-{global_step}"

        def save() -> None:
            try:
                done = save_checkpoint(final, copies, **options)
            finally:
                release()
            if after is not None:
                after(done)

        self._background.submit(save)
        return final

    @property
    def pending(self) -> int:
        """How many saves are under way."""
        return self._background.pending

    def check(self) -> None:
        """Raise what made a save fail, if one did; wait for nothing."""
        self._background.check()

    def wait(self) -> None:
        """Return when all saves are done.

        Raises:
            Exception: whatever made a save fail: the first one's, if there are several.
        """
        self._background.wait()

    def close(self) -> None:
        """Wait for all saves, and let go of the thread and the memory; raises as `wait`."""
        try:
            self._background.close()
        finally:
            self._buffers.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _warn_of_failures(running: list[Future[object]], what: str) -> None:
    """Tell the errors that nobody has asked for, when a saver is gone or the program ends."""
    for future in running:
        error = future.exception()
        if error is not None:
            why = "".join(traceback.format_exception_only(error)).strip()
            warnings.warn(f"{what}: {why}", CheckpointWarning, stacklevel=2)
    running.clear()


class Buffers:
    """Memory that checkpoints are copied to, and kept for the next ones."""

    def __init__(self) -> None:
        self._free: list[_Buffer] = []

    def copy(self, tensors: Mapping[str, npt.ArrayLike]) -> tuple[dict[str, npt.NDArray[Any]], Callable[[], None]]:
        """Return copies of all arrays, and what to call when they are not needed any more."""
        buffer = self._free.pop() if self._free else _Buffer()
        copies = buffer.copy({name: np.asarray(value) for name, value in tensors.items()})

        def release() -> None:
            copies.clear()
            self._free.append(buffer)

        return copies, release

    def clear(self) -> None:
        """Let go of the memory that is not in use."""
        self._free.clear()


class _Buffer:
    """Memory for one checkpoint, laid out for the arrays that it was last used for."""

    def __init__(self) -> None:
        self._memory: npt.NDArray[np.uint8] = np.empty(0, np.uint8)
        self._names: list[str] = []
        self._kinds: list[tuple[Any, ...]] = []
        self._targets: list[npt.NDArray[Any]] = []

    def copy(self, arrays: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
        """Return copies of all arrays. Strings are objects, of which references are copied.

        Small arrays are copied here; threads would wait for one another longer than that takes. Large ones are shared.
        """
        names, kinds = list(arrays), list(map(_KIND, arrays.values()))
        if names != self._names or kinds != self._kinds:
            self._lay_out(arrays)
            self._names, self._kinds = names, kinds
        large: list[_Job] = []
        found = dict(zip(names, self._targets, strict=True))
        for name, target, array in zip(names, self._targets, arrays.values(), strict=True):
            if array.nbytes < _SMALL:
                np.copyto(target, array)
            elif array.dtype.hasobject:
                found[name] = array.copy()
            else:
                large += _pieces(target, array)
        each(_copy, large, default_threads())
        return found

    def _lay_out(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        self._names.clear()
        self._targets.clear()
        size = sum(map(_room, arrays.values()))
        if size > self._memory.size:
            self._memory = np.empty(0, np.uint8)  # first, so that both are not held at once
            self._memory = _allocated(size)
        at = 0
        for array in arrays.values():
            if array.dtype.hasobject:
                self._targets.append(np.empty(array.shape, array.dtype))
            else:
                self._targets.append(np.ndarray(array.shape, array.dtype, self._memory.data, at))
            at += _room(array)


_Job = tuple[npt.NDArray[Any], npt.NDArray[Any]]


def _room(array: npt.NDArray[Any]) -> int:
    return 0 if array.dtype.hasobject else -(-array.nbytes // _ALIGNMENT) * _ALIGNMENT


def _allocated(size: int) -> npt.NDArray[np.uint8]:
    """Return new memory, in large pages where the system has them: touching it for the first time costs less then."""
    memory = mmap.mmap(-1, size)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        memory.madvise(mmap.MADV_HUGEPAGE)
    return np.frombuffer(memory, np.uint8)


def _pieces(target: npt.NDArray[Any], array: npt.NDArray[Any]) -> list[_Job]:
    """Cut the copy of a large array into several."""
    if array.nbytes <= _PIECE or not array.flags.c_contiguous:
        return [(target, array)]
    to, source = target.reshape(-1), array.reshape(-1)
    step = max(1, _PIECE // array.itemsize)
    return [(to[i : i + step], source[i : i + step]) for i in range(0, array.size, step)]


def _copy(job: _Job) -> None:
    target, array = job
    np.copyto(target, array)
