"""Requests that run together.

::

    requests ──► queue for each (version, signature, shapes of a row) ──► batch ──► a thread runs it ──► rows go back

A batch leaves when a thread is free and it is full, or its oldest request has waited `timeout_micros`. With a timeout
of 0 nothing ever waits for company: what gathers while all threads are busy goes together, so that batches grow with
load.
Parameters mean what they mean in TensorFlow Serving (``batching/README.md``). Beyond it: where a batch fails, its
requests run one by one, so that a bad one spoils its own answer only; and a request whose rows are not its signature's
first dimension runs by itself.
"""

from __future__ import annotations

import asyncio
import bisect
import dataclasses
import os
import time
import weakref
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

import numpy as np
import numpy.typing as npt

from coldframe.records import dataclass
from coldframe.runtime.source import Signature
from coldframe.serve.config import BatchingOptions
from coldframe.serve.core import DirectRunner, within
from coldframe.serve.servable import Servable
from coldframe.serve.status import Code, RequestError, invalid
from coldframe.shapes import TensorSpec

Array = npt.NDArray[Any]
T = TypeVar("T")
_MICRO: Final = 1e-6


@dataclass(slots=True, eq=False)
class _Task:
    """A request, or a part of a large one, that waits."""

    inputs: Mapping[str, Array]
    rows: int
    deadline: float
    arrived: float
    done: asyncio.Future[dict[str, Array]]


@dataclass(slots=True, eq=False)
class _Queue:
    """What can run together."""

    servable: Servable
    signature: Signature
    outputs: tuple[str, ...]
    tasks: deque[_Task] = dataclasses.field(default_factory=deque)
    rows: int = 0
    timer: asyncio.TimerHandle | None = None


class BatchRunner:
    """Runs requests together.

    Args:
        options: how.
        direct: what runs those that cannot be put together.
        on_batch: told the model's name, the rows of each batch that ran, and how many were filled up.
    """

    def __init__(
        self,
        options: BatchingOptions,
        direct: DirectRunner,
        on_batch: Callable[[str, int, int], None] = lambda model, rows, filled: None,
    ) -> None:
        self._options, self._direct, self._on_batch = options, direct, on_batch
        self._threads = options.threads or os.cpu_count() or 1
        self._pool = ThreadPoolExecutor(self._threads, "batch")
        self._free = self._threads
        self._queues: dict[tuple[Any, ...], _Queue] = {}
        self._apart: weakref.WeakKeyDictionary[Servable, set[str]] = (
            weakref.WeakKeyDictionary()
        )  # signatures that turned out not to work row by row

    async def run(
        self,
        servable: Servable,
        signature: Signature,
        inputs: Mapping[str, Array],
        outputs: Sequence[str],
        deadline: float,
    ) -> dict[str, Array]:
        """See `Runner`.

        Raises:
            RequestError: the queue is full (RESOURCE_EXHAUSTED), the deadline passed while it waited
                (DEADLINE_EXCEEDED), or it has more rows than a batch and may not be split (INVALID_ARGUMENT).
        """
        rows = _rows(inputs)
        if not rows or not by_rows(signature) or signature.name in self._apart.get(servable, ()):
            return await self._direct.run(servable, signature, inputs, outputs, deadline)
        limit = self._options.max_batch_size
        if rows > limit and not self._options.split_large:
            raise invalid(f"Task size {rows} is larger than maximum input batch size {limit}")
        step = self._options.at_once
        queue = self._queue(servable, signature, tuple(outputs), inputs)
        if queue.rows + rows > self._options.max_enqueued_batches * limit and queue.tasks:
            raise RequestError(Code.RESOURCE_EXHAUSTED, "The batch scheduling queue is full")
        loop, now = asyncio.get_running_loop(), time.monotonic()
        parts = []
        for start in range(0, rows, step):
            part = inputs if rows <= step else {k: v[start : start + step] for k, v in inputs.items()}
            task = _Task(part, min(step, rows - start), deadline, now, loop.create_future())
            queue.tasks.append(task)
            queue.rows += task.rows
            parts.append(task.done)
        self._pump()
        try:
            found = await within(asyncio.gather(*parts), deadline)
        except BaseException:
            for done in parts:  # whoever waits no longer takes no place in a batch
                done.cancel()
            raise
        if len(found) == 1:
            return found[0]
        try:
            return {k: np.concatenate([f[k] for f in found]) for k in found[0]}
        except ValueError:  # its parts were padded to different lengths
            return await self._direct.run(servable, signature, inputs, outputs, deadline)

    async def call(self, work: Callable[[], T], deadline: float) -> T:
        """See `Runner`."""
        return await self._direct.call(work, deadline)

    def close(self) -> None:
        """See `Runner`."""
        self._pool.shutdown()
        self._direct.close()

    def waiting(self) -> int:
        """How many rows wait."""
        return sum(q.rows for q in self._queues.values())

    def _queue(
        self, servable: Servable, signature: Signature, outputs: tuple[str, ...], inputs: Mapping[str, Array]
    ) -> _Queue:
        loose = self._options.pad_variable_lengths
        shapes = tuple((k, inputs[k].ndim if loose else inputs[k].shape[1:]) for k in sorted(inputs))
        key = (id(servable), signature.name, outputs, shapes)
        found = self._queues.get(key)
        if found is None:
            found = self._queues[key] = _Queue(servable, signature, outputs)
        return found

    def _pump(self) -> None:
        """Send off batches while threads are free; see when the next will be due."""
        for key, queue in list(self._queues.items()):
            while self._free and (batch := self._due(queue)):
                self._free -= 1
                loop = asyncio.get_running_loop()
                ran = loop.run_in_executor(self._pool, self._execute, queue, batch)
                ran.add_done_callback(lambda done, batch=batch: self._finish(batch, done))  # type: ignore[misc]
            if not queue.tasks:
                if queue.timer is not None:
                    queue.timer.cancel()
                del self._queues[key]

    def _due(self, queue: _Queue) -> list[_Task]:
        """Take the next batch out of a queue, if it is full or has waited long enough."""
        self._forget(queue)
        if not queue.tasks:
            return []
        limit = self._options.at_once
        left = queue.tasks[0].arrived + self._options.timeout_micros * _MICRO - time.monotonic()
        if queue.rows < limit and left > 0:
            if queue.timer is None:
                queue.timer = asyncio.get_running_loop().call_later(left, self._ring, queue)
            return []
        batch, rows = [], 0
        while queue.tasks and rows + queue.tasks[0].rows <= limit:
            task = queue.tasks.popleft()
            rows += task.rows
            batch.append(task)
        queue.rows -= rows
        return batch

    def _ring(self, queue: _Queue) -> None:
        queue.timer = None
        self._pump()

    @staticmethod
    def _forget(queue: _Queue) -> None:
        """Take out requests that nobody waits for any more, and refuse those that are late."""
        now = time.monotonic()
        kept: deque[_Task] = deque()
        for task in queue.tasks:
            if task.done.done():
                queue.rows -= task.rows
            elif task.deadline < now:
                queue.rows -= task.rows
                late = RequestError(Code.DEADLINE_EXCEEDED, "the deadline passed while the request waited")
                task.done.set_exception(late)
            else:
                kept.append(task)
        queue.tasks = kept

    def _execute(self, queue: _Queue, batch: list[_Task]) -> list[dict[str, Array] | Exception]:
        """Run a batch, in a thread; return what each request gets."""
        rows = [t.rows for t in batch]
        size = self._size(sum(rows))
        self._on_batch(queue.servable.name, sum(rows), size - sum(rows))
        if len(batch) == 1 and size == rows[0]:
            return [self._alone(queue, batch[0])]
        try:
            joined = {k: _joined([t.inputs[k] for t in batch], size) for k in batch[0].inputs}
            found = queue.servable.run(queue.signature, joined, queue.outputs)
        except Exception:  # one of them may be to blame, or being together
            return [self._alone(queue, t) for t in batch]
        if any(v.ndim == 0 or len(v) != size for v in found.values()):
            self._apart.setdefault(queue.servable, set()).add(queue.signature.name)
            return [self._alone(queue, t) for t in batch]
        ends = np.cumsum(rows).tolist()
        return [{k: v[e - n : e] for k, v in found.items()} for n, e in zip(rows, ends, strict=True)]

    @staticmethod
    def _alone(queue: _Queue, task: _Task) -> dict[str, Array] | Exception:
        try:
            return queue.servable.run(queue.signature, task.inputs, queue.outputs)
        except Exception as e:
            return e

    def _size(self, rows: int) -> int:
        """Return the size to which a batch is filled up."""
        sizes = self._options.allowed_sizes
        at = bisect.bisect_left(sizes, rows)
        return sizes[at] if at < len(sizes) else rows

    def _finish(self, batch: list[_Task], ran: asyncio.Future[list[dict[str, Array] | Exception]]) -> None:
        self._free += 1
        error = ran.exception()
        found = [error] * len(batch) if error is not None else ran.result()
        for task, value in zip(batch, found, strict=True):
            if task.done.done():
                continue
            if isinstance(value, BaseException):
                task.done.set_exception(value)
            else:
                task.done.set_result(value)
        self._pump()


def by_rows(signature: Signature) -> bool:
    """Whether a signature says that its tensors have a row for each example: their first dimension is open."""
    return bool(signature.inputs) and all(
        _is_open(s) for specs in (signature.inputs, signature.outputs) for s in specs.values()
    )


def _is_open(spec: TensorSpec) -> bool:
    dims = spec.shape.dims
    return dims is None or (len(dims) > 0 and dims[0] is None)


def _rows(inputs: Mapping[str, Array]) -> int:
    """Return the rows that all inputs have; 0 where they have different numbers, or none."""
    sizes = {len(v) if v.ndim else 0 for v in inputs.values()}
    return sizes.pop() if len(sizes) == 1 else 0


def _joined(parts: list[Array], size: int) -> Array:
    """Return the parts below each other, lengths padded to the longest, filled up with copies of a row."""
    lengths = tuple(max(p.shape[i] for p in parts) for i in range(1, parts[0].ndim))
    padded = [p if p.shape[1:] == lengths else _padded(p, lengths) for p in parts]
    missing = size - sum(len(p) for p in parts)
    if missing:
        padded.append(np.repeat(padded[-1][-1:], missing, axis=0))
    return np.concatenate(padded)


def _padded(part: Array, lengths: tuple[int, ...]) -> Array:
    widths = [(0, 0), *((0, n - have) for n, have in zip(lengths, part.shape[1:], strict=True))]
    if part.size:  # as TensorFlow Serving does: a value that the model surely takes
        filler = part.flat[0]
    else:
        filler = b"" if part.dtype == object else part.dtype.type(0)
    return np.pad(part, widths, constant_values=filler)
