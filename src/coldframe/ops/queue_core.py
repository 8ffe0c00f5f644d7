"""Queues of tuples of tensors, as threads share them.

Whoever wants to add or take elements makes an attempt and waits in line; only the head of each line moves, so that
whoever came first is served first::

    enqueues ──► head adds what fits ──► elements ──► head takes what it needs ──► dequeues

An attempt over several elements makes progress piece by piece, so that more elements can be asked for than the queue
holds. What an attempt took is put back when the queue is closed before it has enough. Closing waits in line behind
pending enqueues, or cancels them. After tensorflow/core/kernels/queue_base.h and its subclasses.
"""

from __future__ import annotations

import collections
import dataclasses
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from coldframe import dtypes
from coldframe.dtypes import DType
from coldframe.errors import CancelledError, EndOfInputError, ExecutionError
from coldframe.ops.philox import Stream
from coldframe.primitives.base import refuse
from coldframe.records import dataclass
from coldframe.shapes import Shape

Element = tuple[Any, ...]


@dataclass(slots=True, eq=False)
class _Attempt:
    """One caller in line. `step` makes what progress it can and says whether there was any."""

    step: Callable[[_Attempt], bool]
    left: int
    taken: list[Element] = dataclasses.field(default_factory=list)
    finished: threading.Event = dataclasses.field(default_factory=threading.Event)
    error: ExecutionError | None = None

    def fail(self, error: ExecutionError) -> bool:
        self.error = error
        self.finished.set()
        return True


@dataclass(frozen=True, slots=True)
class QueueSpec:
    """What a queue holds.

    Attributes:
        kind: TensorFlow's name of the kind of queue.
        name: the queue's name.
        dtypes: of the components of an element.
        shapes: of the components, where they are known; empty where anything goes.
        capacity: the most elements; None for any number.
    """

    kind: str
    name: str
    dtypes: tuple[DType, ...]
    shapes: tuple[Shape, ...]
    capacity: int | None

    def __str__(self) -> str:
        return f"{self.kind} `{self.name}`"


class Queue:
    """First in, first out; other orders are subclasses."""

    reserve = 0  # elements that only a closed queue gives away
    pads = False  # whether components of different shapes are filled up when they are stacked

    def __init__(self, spec: QueueSpec) -> None:
        self.spec = spec
        self._items: Any = collections.deque()
        self._lock = threading.Lock()
        self._enqueues: collections.deque[_Attempt] = collections.deque()
        self._dequeues: collections.deque[_Attempt] = collections.deque()
        self._closed = False
        self._cancelled = False

    # --- what subclasses decide: where an element goes, and which one is next ---
    def _add(self, element: Element) -> None:
        self._items.append(element)

    def _take(self) -> Element:
        return self._items.popleft()  # type: ignore[no-any-return]

    def _put_back(self, elements: list[Element]) -> None:
        self._items.extendleft(reversed(elements))

    # --- what programs do ---
    def enqueue(self, elements: Sequence[Element]) -> None:
        """Add elements one after the other, waiting for room.

        Raises:
            CancelledError: the queue is closed, or gets closed with its pending enqueues cancelled.
            ExecutionError: an element has other dtypes or shapes than the queue.
        """
        if not elements:
            return
        todo = iter([self._checked(e) for e in elements])

        def step(a: _Attempt) -> bool:
            if self._closed:
                return a.fail(CancelledError(f"{self.spec} is closed"))
            moved = False
            while a.left and (self.spec.capacity is None or len(self._items) < self.spec.capacity):
                self._add(next(todo))
                a.left -= 1
                moved = True
            return moved

        self._wait(self._enqueues, _Attempt(step, len(elements)))

    def dequeue(self, count: int, *, fewer: bool = False) -> list[Element]:
        """Take `count` elements, waiting for them; `fewer`: what is left will do once the queue is closed.

        Raises:
            EndOfInputError: the queue is closed and has not enough elements.
            CancelledError: the session is closed.
        """
        if count < 0:
            raise refuse(f"{self.spec}: the number of elements asked for", expected="at least 0", found=count)
        if not count:
            return []

        def step(a: _Attempt) -> bool:
            if self._closed and len(self._items) < a.left:
                available = len(self._items)
                if fewer and len(self._items) + len(a.taken):
                    a.left = available  # and then it is done
                elif fewer and self._enqueues:
                    return False
                else:
                    missing = f"requested {a.left}, current size {available}"
                    self._put_back(a.taken)
                    return a.fail(EndOfInputError(f"{self.spec} is closed and has insufficient elements ({missing})"))
            room = len(self._items) - (0 if self._closed else self.reserve)
            moved = min(room, a.left)
            for _ in range(moved):
                a.taken.append(self._take())
            a.left -= max(moved, 0)
            return moved > 0 or not a.left

        attempt = _Attempt(step, count)
        self._wait(self._dequeues, attempt)
        return attempt.taken

    def close(self, *, cancel_pending: bool) -> None:
        """Take no more elements. Pending enqueues are waited for, or cancelled."""
        if cancel_pending:
            with self._lock:
                self._closed = True
                for a in self._enqueues:
                    a.fail(CancelledError(f"{self.spec}: the enqueue was cancelled, since the queue was closed"))
                self._enqueues.clear()
                self._flush()
            return

        def step(a: _Attempt) -> bool:
            if self._closed:
                return a.fail(CancelledError(f"{self.spec} is already closed"))
            self._closed = True
            a.left = 0
            return True

        self._wait(self._enqueues, _Attempt(step, 1))

    def cancel(self) -> None:
        """Wake whoever waits: the session is being closed."""
        with self._lock:
            self._cancelled = True
            for line in (self._enqueues, self._dequeues):
                for a in line:
                    a.fail(CancelledError(f"{self.spec}: the session was closed"))
                line.clear()

    @property
    def size(self) -> int:
        """The number of elements."""
        return len(self._items)

    @property
    def closed(self) -> bool:
        """Whether it takes no more elements."""
        return self._closed

    # --- waiting in line ---
    def _wait(self, line: collections.deque[_Attempt], attempt: _Attempt) -> None:
        with self._lock:
            if self._cancelled:
                raise CancelledError(f"{self.spec}: the session is closed")
            line.append(attempt)
            self._flush()
        try:
            if not attempt.finished.is_set():
                self._require_others()
            attempt.finished.wait()
        except BaseException:  # an interrupt from the keyboard: nobody may serve an attempt that nobody waits for
            with self._lock:
                if attempt in line:
                    line.remove(attempt)
                if line is self._dequeues:
                    self._put_back(attempt.taken)
                self._flush()
            raise
        if attempt.error is not None:
            raise attempt.error

    def _require_others(self) -> None:
        if threading.active_count() == 1:
            raise ExecutionError(
                f"{self.spec}: nothing can end the wait, since no other thread runs",
                hint="start the threads that serve the queue (`tf.train.start_queue_runners`); or feed what this node "
                "hands out, since any tensor can be fed",
            )

    def _flush(self) -> None:
        while self._move(self._enqueues) | self._move(self._dequeues):
            pass

    def _move(self, line: collections.deque[_Attempt]) -> bool:
        any_moved = False
        while line:
            head = line[0]
            moved = head.step(head)
            any_moved |= moved
            if not head.left:
                head.finished.set()
            if not head.finished.is_set():
                break
            line.popleft()
        return any_moved

    # --- elements ---
    def _checked(self, element: Element) -> Element:
        for i, (value, shape) in enumerate(zip(element, self.spec.shapes, strict=False)):
            if not fits(shape, value.shape):
                raise refuse(f"{self.spec}: component {i} has the wrong shape", expected=shape, found=list(value.shape))
        return element

    def stack(self, elements: Sequence[Element]) -> list[Any]:
        """Return a tensor per component, with the elements along a new first axis."""
        if not self.spec.shapes:
            raise refuse(f"{self.spec}: taking several elements at once needs a queue with the shapes specified")
        if not elements:
            kinds = zip(self.spec.dtypes, self.spec.shapes, strict=True)
            return [np.zeros((0, *(d or 0 for d in s.dims or ())), d.numpy) for d, s in kinds]
        return [self._stacked([e[i] for e in elements], d) for i, d in enumerate(self.spec.dtypes)]

    def _stacked(self, values: list[Any], dtype: DType) -> Any:
        shapes = {v.shape for v in values}
        if len(shapes) == 1 or not self.pads:
            return np.stack(values)
        return padded(values, dtype, np.max(list(shapes), axis=0).tolist())


class PaddingQueue(Queue):
    """First in, first out; components of different sizes are filled up with zeros where they are stacked."""

    pads = True


class RandomQueue(Queue):
    """A random one of its elements is next, provided that `reserve` others stay, or that the queue is closed."""

    def __init__(self, spec: QueueSpec, reserve: int, seed: int, seed2: int) -> None:
        super().__init__(spec)
        self._items = []
        self.reserve = reserve
        self._words = single_words(seed, seed2)

    def _take(self) -> Element:
        at = next(self._words) % len(self._items)
        found: Element = self._items[at]
        self._items[at] = self._items[-1]
        self._items.pop()
        return found

    def _put_back(self, elements: list[Element]) -> None:
        self._items.extend(reversed(elements))


class SortedQueue(Queue):
    """The element with the smallest first component, an int64, is next.

    Of equal ones it is whichever the heap of TensorFlow's C++ library has on top, so the heap is the same.
    """

    def __init__(self, spec: QueueSpec) -> None:
        super().__init__(spec)
        self._items = []

    def _checked(self, element: Element) -> Element:
        if element[0].shape != ():
            raise refuse(f"{self.spec}: a priority", expected="a scalar", found=f"shape {list(element[0].shape)}")
        super()._checked(element)
        return element

    def _add(self, element: Element) -> None:
        self._items.append(None)
        self._rise(len(self._items) - 1, (int(element[0]), element))

    def _rise(self, at: int, item: tuple[int, Element]) -> None:
        """Put an item in a hole, or above it, below a smaller or an equal one."""
        heap = self._items
        while at and heap[(at - 1) // 2][0] > item[0]:
            heap[at], at = heap[(at - 1) // 2], (at - 1) // 2
        heap[at] = item

    def _take(self) -> Element:
        heap = self._items
        top, item, hole = heap[0][1], heap.pop(), 0
        if not heap:
            return top  # type: ignore[no-any-return]
        while (child := 2 * hole + 1) < len(heap):  # the hole sinks to the end, always to the smaller, or right, child
            if child + 1 < len(heap) and heap[child + 1][0] <= heap[child][0]:
                child += 1
            heap[hole], hole = heap[child], child
        self._rise(hole, item)
        return top  # type: ignore[no-any-return]

    def _put_back(self, elements: list[Element]) -> None:
        for e in elements:
            self._add(e)


def single_words(seed: int, seed2: int, *, random: bool = True, drawn: int = 0) -> Iterator[int]:
    """Yield the 32-bit words of the generator with these seeds, behind the first `drawn` ones.

    With `random`, the seeds are random ones where both are 0.
    """
    if random and not seed and not seed2:
        seed, seed2 = (int(s) for s in np.random.default_rng().integers(1, 1 << 62, 2))
    stream, block = Stream(seed & (1 << 64) - 1, (seed2 & (1 << 64) - 1) << 64).skip(drawn // 4), 4
    yield from stream.words(1).ravel().tolist()[drawn % 4 :]
    stream = stream.skip(1)
    while True:
        yield from stream.words(block).ravel().tolist()
        stream, block = stream.skip(block), min(2 * block, 1024)


def fits(shape: Shape, dims: Sequence[int]) -> bool:
    """Whether an actual shape is one of those that `shape` allows."""
    if shape.dims is None:
        return True
    return len(shape.dims) == len(dims) and all(a is None or a == b for a, b in zip(shape.dims, dims, strict=True))


def padded(values: Sequence[Any], dtype: DType, dims: Sequence[int], fill: Any = None) -> Any:
    """Return `values` stacked, each one filled up to `dims`, with zeros (empty strings) unless `fill` is given."""
    blank = (b"" if dtype is dtypes.string else 0) if fill is None else fill
    out = np.full((len(values), *dims), blank, dtype.numpy)
    for i, v in enumerate(values):
        region: tuple[int | slice, ...] = (i, *(slice(n) for n in v.shape))
        out[region] = v
    return out
