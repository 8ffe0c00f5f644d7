"""Datasets made of other datasets' elements: which ones, and in what order. See `dataset_core`."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from coldframe.ops.dataset_core import (
    INFINITE,
    UNKNOWN,
    Dataset,
    Element,
    Elements,
    Steps,
    Work,
    dataset_of,
    endless,
    number,
)
from coldframe.ops.datasets import HINTS, Function
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
    return Dataset(lambda work: _limited(source.start(work), n), size)


def _limited(source: Elements, count: int) -> Elements:
    left = count

    def step() -> Element:
        nonlocal left
        if not left:
            raise StopIteration
        element = next(source)
        left -= 1
        return element

    return Steps(step)


@op("SkipDataset", shape="-> []", stateful=True, ignores=HINTS)
def skip_dataset(xp: Any, state: State, input_dataset: Any, count: Any) -> Any:
    """The elements behind the first `count`; none where that is negative."""
    source, n = dataset_of(input_dataset), number("count", count)
    if n < 0:
        return Dataset(lambda work: iter(()), 0)

    def start(work: Work) -> Elements:
        inner, left = source.start(work), n

        def step() -> Element:
            nonlocal left
            while left:
                next(inner)
                left -= 1
            return next(inner)

        return Steps(step)

    return Dataset(start, source.size if source.size < 0 else max(source.size - n, 0))


@op("RepeatDataset", shape="-> []", stateful=True, ignores=HINTS)
def repeat_dataset(xp: Any, state: State, input_dataset: Any, count: Any) -> Any:
    """The elements over and over, `count` times; without end where that is negative."""
    source, n = dataset_of(input_dataset), number("count", count)

    def start(work: Work) -> Elements:
        passes = itertools.count() if n < 0 else iter(range(n))
        now: list[Elements] = []
        fresh = False

        def step() -> Element:
            nonlocal fresh
            while True:
                if not now:
                    next(passes)
                    now.append(source.start(work))
                    fresh = True
                try:
                    element = next(now[0])
                except StopIteration:
                    if fresh and n < 0:
                        raise  # nothing, over and over
                    now.clear()
                    continue
                fresh = False
                return element

        return Steps(step)

    size = 0 if not n or not source.size else INFINITE if n < 0 or source.size == INFINITE else n * source.size
    return Dataset(start, size if source.size != UNKNOWN or n <= 0 else UNKNOWN)


@op("ShardDataset", shape="-> []", stateful=True, ignores=(*HINTS, "require_non_empty"))
def shard_dataset(xp: Any, state: State, input_dataset: Any, num_shards: Any, index: Any) -> Any:
    """Every `num_shards`-th element, from number `index` on."""
    source, n = dataset_of(input_dataset), number("num_shards", num_shards, 1)
    at = number("index", index, 0)
    if at >= n:
        raise refuse("`index`", expected=f"below {n}", found=at)
    size = source.size if source.size < 0 else max(-(-(source.size - at) // n), 0)
    return Dataset(lambda work: itertools.islice(source.start(work), at, None, n), size)


@op("AssertCardinalityDataset", shape="-> []", stateful=True, ignores=HINTS)
def assert_cardinality_dataset(xp: Any, state: State, input_dataset: Any, cardinality: Any) -> Any:
    """The same elements; an error where there are not `cardinality`."""
    source, want = dataset_of(input_dataset), number("cardinality", cardinality)

    def start(work: Work) -> Elements:
        found = 0
        for element in source.start(work):
            found += 1
            if want >= 0 and found > want:
                raise refuse("the number of elements", expected=want, found=f"at least {found}")
            yield element
        if want != UNKNOWN and found != want:
            raise refuse("the number of elements", expected="no end" if want < 0 else want, found=found)

    return Dataset(start, want)


# --- several into one ---
@op("ZipDataset", shape="-> []", stateful=True, ignores=(*HINTS, "N"))
def zip_dataset(xp: Any, state: State, input_datasets: list[Any]) -> Any:
    """Elements side by side, up to the end of the shortest."""
    sources = [dataset_of(d) for d in input_datasets]

    def start(work: Work) -> Elements:
        inner = [s.start(work) for s in sources]
        return Steps(lambda: tuple(c for element in [next(i) for i in inner] for c in element))

    sizes = [s.size for s in sources if s.size != INFINITE]
    return Dataset(start, INFINITE if not sizes else UNKNOWN if UNKNOWN in sizes else min(sizes))


@op("ConcatenateDataset", shape="-> []", stateful=True, ignores=HINTS)
def concatenate_dataset(xp: Any, state: State, input_dataset: Any, another_dataset: Any) -> Any:
    """The elements of one dataset, then those of another."""
    sources = dataset_of(input_dataset), dataset_of(another_dataset)
    sizes = [s.size for s in sources]
    size = INFINITE if INFINITE in sizes else UNKNOWN if UNKNOWN in sizes else sum(sizes)
    return Dataset(lambda work: itertools.chain.from_iterable(s.start(work) for s in sources), size)


@op("DirectedInterleaveDataset", shape="-> []", stateful=True, ignores=(*HINTS, "N"))
def directed_interleave_dataset(
    xp: Any, state: State, selector_input_dataset: Any, data_input_datasets: list[Any], *, stop_on_empty_dataset: bool
) -> Any:
    """At each place an element of the dataset that the selector numbers; empty ones are passed over."""
    selector, sources = dataset_of(selector_input_dataset), [dataset_of(d) for d in data_input_datasets]

    def start(work: Work) -> Elements:
        choices = selector.start(work)
        inner: dict[int, Elements] = {i: s.start(work) for i, s in enumerate(sources)}

        def step() -> Element:
            while inner:
                at = int(next(choices)[0])
                if not 0 <= at < len(sources):
                    raise refuse("the dataset to choose", expected=f"below {len(sources)}", found=at)
                if at in inner:
                    try:
                        return next(inner[at])
                    except StopIteration:
                        del inner[at]
                        if stop_on_empty_dataset:
                            inner.clear()
            raise StopIteration

        return Steps(step)

    return Dataset(start, INFINITE if any(s.size == INFINITE for s in sources) else UNKNOWN)


def _interleaved(
    source: Dataset, f: Function, others: list[Any], cycle: int, block: int, size: int = UNKNOWN
) -> Dataset:
    def start(work: Work) -> Elements:
        outer = source.start(work)
        places: list[Elements | None] = [None] * cycle
        at, taken, ended = 0, 0, False

        def advance() -> None:
            nonlocal at, taken
            at, taken = (at + 1) % cycle, 0

        def step() -> Element:
            nonlocal taken, ended
            while True:
                inner = places[at]
                if inner is not None:
                    try:
                        element = next(inner)
                    except StopIteration:
                        places[at] = None
                        advance()
                        continue
                    taken += 1
                    if taken == block:
                        advance()
                    return element
                if not ended:
                    try:
                        made = work.call(f, *next(outer), *others)
                    except StopIteration:
                        ended = True
                        continue
                    places[at] = dataset_of(made[0]).start(work)
                elif any(p is not None for p in places):
                    advance()
                else:
                    raise StopIteration

        return Steps(step)

    return Dataset(start, size)


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


# --- in groups ---
@op("WindowDataset", shape="-> []", stateful=True, ignores=HINTS)
def window_dataset(
    xp: Any, state: State, input_dataset: Any, size: Any, shift: Any, stride: Any, drop_remainder: Any
) -> Any:
    """Datasets of `size` elements, every `stride`-th one, each starting `shift` behind the one before."""
    source, drop = dataset_of(input_dataset), bool(drop_remainder)
    n, by, every = number("size", size, 1), number("shift", shift, 1), number("stride", stride, 1)
    reach = (n - 1) * every + 1

    def start(work: Work) -> Elements:
        inner = source.start(work)
        held: list[Element] = []
        skip = 0

        def step() -> Element:
            nonlocal skip
            while skip or len(held) < reach:
                try:
                    element = next(inner)
                except StopIteration:
                    break
                if skip:
                    skip -= 1
                else:
                    held.append(element)
            window = held[:reach:every]
            if not window or (drop and len(window) < n):
                raise StopIteration
            skip = max(by - len(held), 0)
            del held[:by]
            return tuple(_of([(c,) for c in column]) for column in zip(*window, strict=True))

        return Steps(step)

    return Dataset(start, source.size if source.size < 0 else -(-max(source.size - (reach - 1) * drop, 0) // by))


def _of(elements: list[Element]) -> Dataset:
    return Dataset(lambda work: iter(elements), len(elements))


@op("GroupByWindowDataset", shape="-> []", stateful=True, ignores=(
    *HINTS, "Tkey_func_other_arguments", "Treduce_func_other_arguments", "Twindow_size_func_other_arguments"
))  # fmt: skip
def group_by_window_dataset(
    xp: Any, state: State, input_dataset: Any, key_func_other_arguments: list[Any],
    reduce_func_other_arguments: list[Any], window_size_func_other_arguments: list[Any], *, key_func: Function,
    reduce_func: Function, window_size_func: Function,
) -> Any:  # fmt: skip
    """The datasets that `reduce_func` makes of elements with the same key, so many at a time, one after the other."""
    source = dataset_of(input_dataset)

    def start(work: Work) -> Elements:
        inner = source.start(work)
        groups: dict[int, list[Element]] = {}
        sizes: dict[int, int] = {}
        now: list[Elements] = []

        def close(key: int) -> None:
            group = _of(groups.pop(key))
            made = work.call(reduce_func, np.array(key, np.int64), group, *reduce_func_other_arguments)
            now.append(dataset_of(made[0]).start(work))

        def add(element: Element) -> None:
            key = int(work.call(key_func, *element, *key_func_other_arguments)[0])
            groups.setdefault(key, []).append(element)
            if key not in sizes:
                made = work.call(window_size_func, np.array(key, np.int64), *window_size_func_other_arguments)
                sizes[key] = number("the size of a window", made[0], 1)
            if len(groups[key]) >= sizes[key]:
                close(key)

        def step() -> Element:
            while True:
                if now:
                    try:
                        return next(now[0])
                    except StopIteration:
                        now.clear()
                try:
                    element = next(inner)
                except StopIteration:
                    if not groups:
                        raise
                    close(min(groups))
                    continue
                add(element)

        return Steps(step)

    return Dataset(start, endless(source))


OTHERS: list[Op] = [
    alias("ParallelInterleaveDatasetV3", parallel_interleave_dataset_v2),
    alias("ParallelInterleaveDatasetV4", parallel_interleave_dataset_v2),
    alias("LegacyParallelInterleaveDatasetV2", parallel_interleave_dataset),
    alias("ExperimentalParallelInterleaveDataset", parallel_interleave_dataset),
    alias("ExperimentalDirectedInterleaveDataset", directed_interleave_dataset),
    alias("ExperimentalGroupByWindowDataset", group_by_window_dataset),
]
