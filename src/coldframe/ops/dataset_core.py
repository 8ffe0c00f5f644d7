"""What a dataset is: an immutable description of elements, and iterators over it, made as often as wanted.

::

    Dataset.start(work) ──► iterator of elements, each a tuple of tensors

A dataset flows along edges like a tensor (dtype ``variant``). Elements are made when they are asked for. An iterator
goes on after an error, with the element behind the one that failed, as TensorFlow's do: so an iterator is a step that
is called again and again (`Steps`), not a generator, which an error would end.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, Protocol

import numpy as np

from coldframe.errors import CancelledError
from coldframe.ops.state import State
from coldframe.primitives.base import refuse
from coldframe.records import dataclass

Element = Any
"""A tuple of tensors, or a `Row` that stands for one."""
Elements = Iterator[Element]
INFINITE: Final = -1
UNKNOWN: Final = -2


class Work:
    """What the iterators of one pipeline share: the session they run functions in, and what ends with them."""

    def __init__(self, state: State) -> None:
        self.state = state.apart()
        self._buffers: weakref.WeakSet[_Buffer] = weakref.WeakSet()
        self._stopped = False
        self._random: dict[Callable[..., list[Any]], dict[str, dict[Any, Any]]] = {}

    def call(self, function: Callable[..., list[Any]], *tensors: Any) -> Element:
        """Run a function of the graph. What it assigns is seen by all runs at once.

        Each function has random numbers of its own, which begin anew with the pipeline, as TensorFlow's do.
        """
        view = self.state.apart(self._random.setdefault(function, {}))
        made = tuple(function(view, *tensors))
        view.commit()
        return made

    def own(self, buffer: _Buffer) -> None:
        """Have a buffer stopped when the pipeline is given up."""
        self._buffers.add(buffer)
        if self._stopped:
            buffer.stop()

    def stop(self) -> None:
        """End the threads of the pipeline: it is given up."""
        self._stopped = True
        for buffer in list(self._buffers):
            buffer.stop()


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """Elements, described.

    Attributes:
        start: makes an iterator.
        size: how many elements there are, `INFINITE` or `UNKNOWN`.
    """

    start: Callable[[Work], Elements]
    size: int = UNKNOWN


def endless(source: Dataset) -> int:
    """Return how many elements there are of what is as endless as its source, and otherwise of any length."""
    return INFINITE if source.size == INFINITE else UNKNOWN


class Steps(Iterator[Element]):
    """An iterator whose every element is made by a call of `step`, which raises StopIteration at the end."""

    __slots__ = ("_step",)

    def __init__(self, step: Callable[[], Element]) -> None:
        self._step = step

    def __next__(self) -> Element:
        return self._step()


class Source(Protocol):
    """Tensors that elements are slices of."""

    def row(self, at: int) -> tuple[Any, ...]:
        """Return the element numbered `at`."""

    def rows(self, at: list[int]) -> tuple[Any, ...]:
        """Return the elements numbered so, stacked."""


class Row(Sequence[Any]):
    """An element that is cut out of its source only when it is looked at: shuffling moves numbers, not tensors."""

    __slots__ = ("at", "source")

    def __init__(self, source: Source, at: int) -> None:
        self.source, self.at = source, at

    def __iter__(self) -> Iterator[Any]:
        return iter(self.source.row(self.at))

    def __getitem__(self, key: Any) -> Any:
        return self.source.row(self.at)[key]

    def __len__(self) -> int:
        return len(self.source.row(self.at))


def dataset_of(value: Any) -> Dataset:
    """Return the dataset that flows along an edge."""
    found = value.item() if isinstance(value, np.ndarray) and value.ndim == 0 else value
    if not isinstance(found, Dataset):
        raise refuse("not a dataset", found=type(found).__name__)
    return found


def number(what: str, value: Any, least: int | None = None) -> int:
    """Return an integer scalar, at least `least`."""
    if np.ndim(value):
        raise refuse(f"`{what}`", expected="a scalar", found=f"shape {list(np.shape(value))}")
    n = int(value)
    if least is not None and n < least:
        raise refuse(f"`{what}`", expected=f"at least {least}", found=n)
    return n


def taken(source: Elements, count: int) -> list[Element]:
    """Return the next elements, at most `count`."""
    found: list[Element] = []
    for _ in range(count):
        try:
            found.append(next(source))
        except StopIteration:
            break
    return found


def stacked(elements: list[Element]) -> Element:
    """Return the elements as one, along a new first axis of each component."""
    first = elements[0]
    if type(first) is Row and all(type(e) is Row and e.source is first.source for e in elements):
        return first.source.rows([e.at for e in elements])
    return tuple(stack(column, i) for i, column in enumerate(zip(*elements, strict=True)))


def stack(values: Sequence[Any], i: int = 0) -> Any:
    """Return component `i` of several elements along a new first axis."""
    first = values[0]
    shape = first.shape
    for v in values:
        if v.shape != shape:
            raise refuse(
                f"a batch needs elements of one shape, but component {i} differs", expected=list(shape),
                found=list(v.shape), hint="pad them: padded_batch",
            )  # fmt: skip
    out = np.empty((len(values), *shape), first.dtype)
    if shape:
        for row, v in zip(out, values, strict=True):
            row[...] = v
    else:
        out[:] = [v.item() for v in values]
    return out


class _Buffer:
    """Elements that one thread makes and another takes. Errors, and the end, come at their places."""

    def __init__(self, room: int) -> None:
        self._room = room
        self._made: list[Element | BaseException] = []
        self._changed = threading.Condition()
        self._stopped = False

    def stop(self) -> None:
        """End the thread that makes elements, and wake the one that waits."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def fill(self, source: Elements) -> None:
        """Make elements as long as there is room for them."""
        while True:
            with self._changed:
                while len(self._made) >= self._room and not self._stopped:
                    self._changed.wait()
                if self._stopped:
                    return
            made = _attempt(source)
            with self._changed:
                self._made.append(made)
                self._changed.notify_all()
            if isinstance(made, StopIteration):
                return

    def take(self) -> Element:
        """Return the next element, waiting for it."""
        with self._changed:
            while not self._made and not self._stopped:
                self._changed.wait()
            if not self._made:
                raise CancelledError("the iterator was given up")
            made = self._made[0]
            if isinstance(made, StopIteration):
                raise StopIteration  # and again, whenever asked
            self._made.pop(0)
            self._changed.notify_all()
        if isinstance(made, BaseException):
            raise made
        return made


class Ahead(Iterator[Element]):
    """Elements made by a thread of their own, some of them ahead of time. The thread ends when nobody holds this."""

    def __init__(self, source: Elements, room: int, work: Work) -> None:
        self._source: Elements | None = source
        self._buffer = _Buffer(room)
        weakref.finalize(self, self._buffer.stop).atexit = False
        work.own(self._buffer)

    def __next__(self) -> Element:
        if self._source is not None:
            target, source, self._source = self._buffer.fill, self._source, None
            threading.Thread(target=target, args=(source,), daemon=True, name="coldframe-prefetch").start()
        return self._buffer.take()


def _attempt(source: Elements) -> Element | BaseException:
    """Return the next element, or why there is none, for another thread to raise."""
    try:
        return next(source)
    except BaseException as e:
        return e
