"""Datasets made of other datasets' elements: which ones, and in what order. See `dataset_core`."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ClassVar

from coldframe.ops.dataset_core import (
    HINTS,
    INFINITE,
    UNKNOWN,
    Dataset,
    Element,
    Elements,
    Function,
    Saved,
    Work,
    dataset_of,
    endless,
    given,
    loaded_inner,
    made_by,
    number,
    with_inner,
    within,
)
from coldframe.ops.state import State
from coldframe.ops.table import Op, alias, op
from coldframe.primitives.base import refuse


# --- how many ---
@op("TakeDataset", shape="-> []", stateful=True, ignores=HINTS)
def take_dataset(xp: Any, state: State, input_dataset: Any, count: Any) -> Any:
    """The first `count` elements; all of them where that is negative."""
    source, n = dataset_of(input_dataset), number("count", count)
    if n < 0:
        return source
    size = n if source.size == INFINITE else min(n, source.size) if source.size >= 0 else UNKNOWN
    return Dataset(lambda work: _Limited(source.start(work), n), size)


class _Limited(Elements):
    """So many elements, and no more."""

    parts: ClassVar = {"source": Elements, "left": int}

    def __init__(self, source: Elements, count: int) -> None:
        self.source, self.left = source, count

    def __next__(self) -> Element:
        if not self.left:
            raise StopIteration
        element = next(self.source)
        self.left -= 1
        return element


@op("SkipDataset", shape="-> []", stateful=True, ignores=HINTS)
def skip_dataset(xp: Any, state: State, input_dataset: Any, count: Any) -> Any:
    """The elements behind the first `count`; none where that is negative."""
    source, n = dataset_of(input_dataset), number("count", count)
    if n < 0:
        return given([])
    size = source.size if source.size < 0 else max(source.size - n, 0)
    return Dataset(lambda work: _Every(source.start(work), n, 1), size)


class _Every(Elements):
    """Every `stride`-th element behind the first `skip`."""

    parts: ClassVar = {"source": Elements, "skip": int}

    def __init__(self, source: Elements, skip: int, stride: int) -> None:
        self.source, self.skip, self._stride = source, skip, stride

    def __next__(self) -> Element:
        while self.skip:
            next(self.source)
            self.skip -= 1
        element = next(self.source)
        self.skip = self._stride - 1
        return element

    def load(self, saved: Any) -> None:
        super().load(saved)
        self.skip = max(self.skip, 0)


@op("RepeatDataset", shape="-> []", stateful=True, ignores=HINTS)
def repeat_dataset(xp: Any, state: State, input_dataset: Any, count: Any) -> Any:
    """The elements over and over, `count` times; without end where that is negative."""
    source, n = dataset_of(input_dataset), number("count", count)

    size = 0 if not n or not source.size else INFINITE if n < 0 or source.size == INFINITE else n * source.size
    known = size if source.size != UNKNOWN or n <= 0 else UNKNOWN
    return Dataset(lambda work: _Repeated(lambda: source.start(work), n), known)


class _Repeated(Elements):
    """Passes over a dataset, `count` of them, or without end where that is negative."""

    parts: ClassVar = {"passes": int, "fresh": bool}

    def __init__(self, begin: Callable[[], Elements], count: int) -> None:
        self._begin, self._count = begin, count
        self.passes, self.fresh = 0, False
        self._now: Elements | None = None

    def __next__(self) -> Element:
        while True:
            now = self._open() if self._now is None else self._now
            try:
                element = next(now)
            except StopIteration:
                if self.fresh and self._count < 0:
                    raise  # nothing, over and over
                self._open()
                continue
            self.fresh = False
            return element

    def _open(self) -> Elements:
        if self.passes == self._count:
            raise StopIteration
        self._now = self._begin()
        self.passes, self.fresh = self.passes + 1, True
        return self._now

    def save(self) -> Saved:
        if self._now is None and self._count:
            self._open()  # what is to be saved of a dataset (seeds) is saved by an iterator over it
        return with_inner(super().save(), self._now)

    def load(self, saved: Any) -> None:
        super().load(saved)
        self._now = loaded_inner(saved, self._begin)


@op("ShardDataset", shape="-> []", stateful=True, ignores=(*HINTS, "require_non_empty"))
def shard_dataset(xp: Any, state: State, input_dataset: Any, num_shards: Any, index: Any) -> Any:
    """Every `num_shards`-th element, from number `index` on."""
    source, n = dataset_of(input_dataset), number("num_shards", num_shards, 1)
    at = number("index", index, 0)
    if at >= n:
        raise refuse("`index`", expected=f"below {n}", found=at)
    size = source.size if source.size < 0 else max(-(-(source.size - at) // n), 0)
    return Dataset(lambda work: _Every(source.start(work), at, n), size)


@op("AssertCardinalityDataset", shape="-> []", stateful=True, ignores=HINTS)
def assert_cardinality_dataset(xp: Any, state: State, input_dataset: Any, cardinality: Any) -> Any:
    """The same elements; an error where there are not `cardinality`."""
    source, want = dataset_of(input_dataset), number("cardinality", cardinality)

    return Dataset(lambda work: _Counted(source.start(work), want), want)


class _Counted(Elements):
    """The elements, of which there must be `want`; any number, where that is not known."""

    parts: ClassVar = {"source": Elements, "found": int}

    def __init__(self, source: Elements, want: int) -> None:
        self.source, self._want, self.found = source, want, 0

    def __next__(self) -> Element:
        want = self._want
        try:
            element = next(self.source)
        except StopIteration:
            if want not in (UNKNOWN, self.found):
                raise refuse(
                    "the number of elements", expected="no end" if want < 0 else want, found=self.found
                ) from None
            raise
        self.found += 1
        if 0 <= want < self.found:
            raise refuse("the number of elements", expected=want, found=f"at least {self.found}")
        return element


# --- several into one ---
@op("ZipDataset", shape="-> []", stateful=True, ignores=(*HINTS, "N"))
def zip_dataset(xp: Any, state: State, input_datasets: list[Any]) -> Any:
    """Elements side by side, up to the end of the shortest."""
    sources = [dataset_of(d) for d in input_datasets]

    sizes = [s.size for s in sources if s.size != INFINITE]
    size = INFINITE if not sizes else UNKNOWN if UNKNOWN in sizes else min(sizes)
    return Dataset(lambda work: _Zipped([s.start(work) for s in sources]), size)


class _Zipped(Elements):
    """Elements of several iterators side by side."""

    parts: ClassVar = {"sources": list}

    def __init__(self, sources: list[Elements]) -> None:
        self.sources = sources

    def __next__(self) -> Element:
        return tuple(c for element in [next(s) for s in self.sources] for c in element)


@op("ConcatenateDataset", shape="-> []", stateful=True, ignores=HINTS)
def concatenate_dataset(xp: Any, state: State, input_dataset: Any, another_dataset: Any) -> Any:
    """The elements of one dataset, then those of another."""
    sources = dataset_of(input_dataset), dataset_of(another_dataset)
    sizes = [s.size for s in sources]
    size = INFINITE if INFINITE in sizes else UNKNOWN if UNKNOWN in sizes else sum(sizes)
    return Dataset(lambda work: _Chained([functools.partial(d.start, work) for d in sources]), size)


class _Chained(Elements):
    """The elements of several iterators, one behind the other, each made when its turn comes.

    Those that have ended are kept, since they tell of seeds that later passes go on with.
    """

    parts: ClassVar = {"begun": list}

    def __init__(self, begin: list[Callable[[], Elements]]) -> None:
        self._begin = begin
        self.begun: list[Elements] = []

    def __next__(self) -> Element:
        while True:
            try:
                return next(self.begun[-1] if self.begun else self._open())
            except StopIteration:
                if len(self.begun) == len(self._begin):
                    raise
                self._open()

    def _open(self) -> Elements:
        self.begun.append(self._begin[len(self.begun)]())
        return self.begun[-1]

    def load(self, saved: Any) -> None:
        places = self.opened(saved)["begun"]
        for place in places[: within(len(places), 0, len(self._begin))]:
            self._open().load(place)


@op("DirectedInterleaveDataset", shape="-> []", stateful=True, ignores=(*HINTS, "N"))
def directed_interleave_dataset(
    xp: Any, state: State, selector_input_dataset: Any, data_input_datasets: list[Any], *, stop_on_empty_dataset: bool
) -> Any:
    """At each place an element of the dataset that the selector numbers; empty ones are passed over."""
    selector, sources = dataset_of(selector_input_dataset), [dataset_of(d) for d in data_input_datasets]

    def start(work: Work) -> Elements:
        return _Chosen(selector.start(work), [s.start(work) for s in sources], stop_on_empty_dataset)

    return Dataset(start, INFINITE if any(s.size == INFINITE for s in sources) else UNKNOWN)


class _Chosen(Elements):
    """At each place the next element of the iterator that the selector numbers."""

    parts: ClassVar = {"selector": Elements, "sources": list, "ended": list}

    def __init__(self, selector: Elements, sources: list[Elements], stop: bool) -> None:
        self.selector, self.sources, self._stop = selector, sources, stop
        self.ended: list[int] = []

    def __next__(self) -> Element:
        while len(self.ended) < len(self.sources):
            at = int(next(self.selector)[0])
            if not 0 <= at < len(self.sources):
                raise refuse("the dataset to choose", expected=f"below {len(self.sources)}", found=at)
            if at not in self.ended:
                try:
                    return next(self.sources[at])
                except StopIteration:
                    self.ended = list(range(len(self.sources))) if self._stop else [*self.ended, at]
        raise StopIteration


def _interleaved(
    source: Dataset, f: Function, others: list[Any], cycle: int, block: int, size: int = UNKNOWN
) -> Dataset:
    def start(work: Work) -> Elements:
        return _Interleaved(source.start(work), lambda e: made_by(work, f, e, others), cycle, block)

    return Dataset(start, size)


class _Interleaved(Elements):
    """`block` elements in turn of each of so many iterators that `begin` makes of elements.

    The iterators are in `inner`, what they were made of in `of`; `at` is the number of the one whose turn it is, and
    `taken` how many elements of its turn it gave.
    """

    parts: ClassVar = {"source": Elements, "of": list, "at": int, "taken": int, "ended": bool}

    def __init__(self, source: Elements, begin: Callable[[Element], Elements], cycle: int, block: int) -> None:
        self.source, self._begin, self._block = source, begin, block
        self.of: list[Element | None] = [None] * cycle
        self._inner: list[Elements | None] = [None] * cycle
        self.at, self.taken, self.ended = 0, 0, False

    def __next__(self) -> Element:
        while True:
            inner = self._inner[self.at]
            if inner is not None:
                try:
                    element = next(inner)
                except StopIteration:
                    self.of[self.at] = self._inner[self.at] = None
                    self._advance()
                    continue
                self.taken += 1
                if self.taken == self._block:
                    self._advance()
                return element
            if not self.ended:
                self._open()
            elif any(p is not None for p in self._inner):
                self._advance()
            else:
                raise StopIteration

    def _advance(self) -> None:
        self.at, self.taken = (self.at + 1) % len(self._inner), 0

    def _open(self) -> None:
        try:
            element = next(self.source)
        except StopIteration:
            self.ended = True
            return
        self._inner[self.at] = self._begin(element)
        self.of[self.at] = element

    def save(self) -> Saved:
        saved = super().save()
        saved.parts.update(inner=[None if i is None else i.save() for i in self._inner])
        return saved

    def load(self, saved: Any) -> None:
        cycle = len(self._inner)
        super().load(saved)
        inner = saved.parts.get("inner")
        if not isinstance(inner, list) or {len(inner), len(self.of)} != {cycle}:
            raise refuse("the saved place is in another dataset", expected=f"`cycle_length` {cycle}")
        within(self.at, 0, cycle - 1)
        for k, (element, place) in enumerate(zip(self.of, inner, strict=True)):
            if element is not None:
                opened = self._inner[k] = self._begin(element)
                opened.load(place)


def _cycle(value: Any) -> int:
    n = number("cycle_length", value, -1)
    if not n:
        raise refuse("`cycle_length`", expected="at least 1", found=0)
    return n if n > 0 else 10


@op("InterleaveDataset", shape="-> []", stateful=True, ignores=HINTS)
def interleave_dataset(
    xp: Any, state: State, input_dataset: Any, other_arguments: list[Any], cycle_length: Any, block_length: Any, *,
    f: Function,
) -> Any:  # fmt: skip
    """`block_length` elements in turn of each of `cycle_length` datasets that a function makes of the elements."""
    cycle, block = _cycle(cycle_length), number("block_length", block_length, 1)
    return _interleaved(dataset_of(input_dataset), f, other_arguments, cycle, block)


@op("ParallelInterleaveDatasetV2", shape="-> []", stateful=True, ignores=HINTS)
def parallel_interleave_dataset_v2(
    xp: Any, state: State, input_dataset: Any, other_arguments: list[Any], cycle_length: Any, block_length: Any,
    *hints: Any, f: Function,
) -> Any:  # fmt: skip
    """The same, in the same order; how many run at once, and how far ahead, are hints."""
    cycle, block = _cycle(cycle_length), number("block_length", block_length, 1)
    source = dataset_of(input_dataset)
    return _interleaved(source, f, other_arguments, cycle, block, endless(source))


@op("ParallelInterleaveDataset", shape="-> []", stateful=True, ignores=HINTS)
def parallel_interleave_dataset(
    xp: Any, state: State, input_dataset: Any, other_arguments: list[Any], cycle_length: Any, block_length: Any,
    *hints: Any, f: Function,
) -> Any:  # fmt: skip
    """The same, as it was first: it never tells how many elements there are."""
    return interleave_dataset.body(xp, state, input_dataset, other_arguments, cycle_length, block_length, f=f)


OTHERS: list[Op] = [
    alias("ParallelInterleaveDatasetV3", parallel_interleave_dataset_v2),
    alias("ParallelInterleaveDatasetV4", parallel_interleave_dataset_v2),
    alias("LegacyParallelInterleaveDatasetV2", parallel_interleave_dataset),
    alias("ExperimentalParallelInterleaveDataset", parallel_interleave_dataset),
    alias("ExperimentalDirectedInterleaveDataset", directed_interleave_dataset),
]
