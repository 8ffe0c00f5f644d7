"""Datasets: what is made of elements one by one or in batches.

Parallel variants give the same elements in the same order; how many calls run at once is a hint. See `dataset_core`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Final

import numpy as np

from coldframe.dtypes import DType
from coldframe.errors import CancelledError, ColdframeError
from coldframe.ops.dataset_ahead import Ahead
from coldframe.ops.dataset_core import (
    HINTS,
    UNKNOWN,
    Dataset,
    Each,
    Element,
    Elements,
    Function,
    Row,
    Saved,
    Work,
    dataset_of,
    endless,
    loaded_inner,
    made_by,
    number,
    stacked,
    taken,
    with_inner,
)  # fmt: skip
from coldframe.ops.queue_core import padded
from coldframe.ops.state import State
from coldframe.ops.table import Op, alias, op
from coldframe.primitives.base import refuse

_MAPPING: Final = tuple(name for name in HINTS if name != "preserve_cardinality")
_AUTOTUNE: Final = 2  # elements made ahead, where the program leaves it to us


# --- one by one ---
def _mapped(source: Dataset, f: Function, others: list[Any], size: int) -> Dataset:
    return Dataset(lambda work: Each(source.start(work), lambda e: work.call(f, *e, *others)), size)


@op("MapDataset", shape="-> []", stateful=True, ignores=_MAPPING)
def map_dataset(
    xp: Any, state: State, input_dataset: Any, other_arguments: list[Any], *, f: Function, preserve_cardinality: bool
) -> Any:
    """A function of each element."""
    source = dataset_of(input_dataset)
    return _mapped(source, f, other_arguments, source.size if preserve_cardinality else UNKNOWN)


@op("ParallelMapDataset", shape="-> []", stateful=True, ignores=_MAPPING)
def parallel_map_dataset(
    xp: Any, state: State, input_dataset: Any, other_arguments: list[Any], num_parallel_calls: Any, *, f: Function,
    preserve_cardinality: bool,
) -> Any:  # fmt: skip
    """A function of each element."""
    return map_dataset.body(xp, state, input_dataset, other_arguments, f=f, preserve_cardinality=preserve_cardinality)


@op("FlatMapDataset", shape="-> []", stateful=True, ignores=HINTS)
def flat_map_dataset(xp: Any, state: State, input_dataset: Any, other_arguments: list[Any], *, f: Function) -> Any:
    """The elements of the dataset that a function makes of each element, one dataset after the other."""
    source = dataset_of(input_dataset)

    def start(work: Work) -> Elements:
        return _Flat(source.start(work), lambda e: made_by(work, f, e, other_arguments))

    return Dataset(start)


class _Flat(Elements):
    """The elements of what `begin` makes of each element."""

    parts: ClassVar = {"source": Elements, "of": (tuple, Row, type(None))}

    def __init__(self, source: Elements, begin: Callable[[Element], Elements]) -> None:
        self.source, self._begin = source, begin
        self.of: Element | None = None
        self._inner: Elements | None = None

    def __next__(self) -> Element:
        while True:
            if self._inner is None:
                self.of = next(self.source)
                self._inner = self._begin(self.of)
            try:
                return next(self._inner)
            except StopIteration:
                self.of = self._inner = None

    def save(self) -> Saved:
        return with_inner(super().save(), self._inner)

    def load(self, saved: Any) -> None:
        super().load(saved)
        self._inner = loaded_inner(saved, lambda: self._begin(self.of))


def _filtered(source: Dataset, predicate: Function, others: list[Any]) -> Dataset:
    def start(work: Work) -> Elements:
        return _Those(source.start(work), lambda e: bool(work.call(predicate, *e, *others)[0]))

    return Dataset(start, 0 if source.size == 0 else UNKNOWN)


class _Those(Elements):
    """The elements for which something holds."""

    parts: ClassVar = {"source": Elements}

    def __init__(self, source: Elements, holds: Callable[[Element], bool]) -> None:
        self.source, self._holds = source, holds

    def __next__(self) -> Element:
        while True:
            element = next(self.source)
            if self._holds(element):
                return element


@op("FilterDataset", shape="-> []", stateful=True, ignores=HINTS)
def filter_dataset(
    xp: Any, state: State, input_dataset: Any, other_arguments: list[Any], *, predicate: Function
) -> Any:
    """The elements for which a function holds."""
    return _filtered(dataset_of(input_dataset), predicate, other_arguments)


@op("ParallelFilterDataset", shape="-> []", stateful=True, ignores=HINTS)
def parallel_filter_dataset(
    xp: Any, state: State, input_dataset: Any, other_arguments: list[Any], num_parallel_calls: Any, *,
    predicate: Function,
) -> Any:  # fmt: skip
    """The elements for which a function holds."""
    return _filtered(dataset_of(input_dataset), predicate, other_arguments)


@op("FilterByLastComponentDataset", shape="-> []", stateful=True, ignores=HINTS)
def filter_by_last_component_dataset(xp: Any, state: State, input_dataset: Any) -> Any:
    """The elements whose last component, which is left out, holds."""
    source = dataset_of(input_dataset)

    def start(work: Work) -> Elements:
        return Each(_Those(source.start(work), lambda e: bool(e[-1])), lambda e: e[:-1])

    return Dataset(start)


@op("TakeWhileDataset", shape="-> []", stateful=True, ignores=HINTS)
def take_while_dataset(
    xp: Any, state: State, input_dataset: Any, other_arguments: list[Any], *, predicate: Function
) -> Any:
    """The elements before the first one for which a function does not hold."""
    source = dataset_of(input_dataset)

    def start(work: Work) -> Elements:
        return _While(source.start(work), lambda e: bool(work.call(predicate, *e, *other_arguments)[0]))

    return Dataset(start)


class _While(Elements):
    """The elements before the first one for which something does not hold."""

    parts: ClassVar = {"source": Elements, "ended": bool}

    def __init__(self, source: Elements, holds: Callable[[Element], bool]) -> None:
        self.source, self._holds = source, holds
        self.ended = False

    def __next__(self) -> Element:
        if self.ended:
            raise StopIteration
        element = next(self.source)
        if self._holds(element):
            return element
        self.ended = True
        raise StopIteration


@op("ScanDataset", shape="-> []", stateful=True, ignores=HINTS)
def scan_dataset(
    xp: Any, state: State, input_dataset: Any, initial_state: list[Any], other_arguments: list[Any], *, f: Function
) -> Any:
    """A function of a state and each element, which makes the next state and an element."""
    source = dataset_of(input_dataset)

    def start(work: Work) -> Elements:
        return _Scan(
            source.start(work), tuple(initial_state), lambda held, e: work.call(f, *held, *e, *other_arguments)
        )

    return Dataset(start, source.size)


class _Scan(Elements):
    """A function of a state and each element: the next state, and an element."""

    parts: ClassVar = {"source": Elements, "held": tuple}

    def __init__(
        self, source: Elements, held: tuple[Any, ...], step: Callable[[tuple[Any, ...], Element], tuple[Any, ...]]
    ) -> None:
        self.source, self.held, self._step, self._count = source, held, step, len(held)

    def __next__(self) -> Element:
        made = self._step(self.held, next(self.source))
        self.held = made[: self._count]
        return made[self._count :]


@op("IgnoreErrorsDataset", shape="-> []", stateful=True, ignores=HINTS)
def ignore_errors_dataset(xp: Any, state: State, input_dataset: Any) -> Any:
    """The elements that can be made."""
    source = dataset_of(input_dataset)
    return Dataset(lambda work: _Made(source.start(work)))


class _Made(Elements):
    """The elements that can be made."""

    parts: ClassVar = {"source": Elements}

    def __init__(self, source: Elements) -> None:
        self.source = source

    def __next__(self) -> Element:
        while True:
            try:
                return next(self.source)
            except CancelledError:
                raise
            except ColdframeError:
                continue


# --- batches ---
def _batched(source: Dataset, size: int, drop: bool, make: Callable[[list[Element]], Element]) -> Dataset:
    def start(work: Work) -> Elements:
        return Batches(source.start(work), size, drop, make)

    return Dataset(start, source.size if source.size < 0 else source.size // size if drop else -(-source.size // size))


class Batches(Elements):
    """What `make` makes of so many elements at a time."""

    parts: ClassVar = {"source": Elements}

    def __init__(self, source: Elements, size: int, drop: bool, make: Callable[[list[Element]], Element]) -> None:
        self.source, self._size, self._drop, self._make = source, size, drop, make

    def __next__(self) -> Element:
        rows = taken(self.source, self._size)
        if not rows or (self._drop and len(rows) < self._size):
            raise StopIteration
        return self._make(rows)


@op("BatchDataset", shape="-> []", stateful=True, ignores=HINTS)
def batch_dataset(xp: Any, state: State, input_dataset: Any, batch_size: Any) -> Any:
    """Elements stacked, so many at a time; the last batch may be smaller."""
    return _batched(dataset_of(input_dataset), number("batch_size", batch_size, 1), False, stacked)


@op("BatchDatasetV2", shape="-> []", stateful=True, ignores=HINTS)
def batch_dataset_v2(xp: Any, state: State, input_dataset: Any, batch_size: Any, drop_remainder: Any) -> Any:
    """Elements stacked, so many at a time; a smaller last batch may be left out."""
    return _batched(dataset_of(input_dataset), number("batch_size", batch_size, 1), bool(drop_remainder), stacked)


@op("ParallelBatchDataset", shape="-> []", stateful=True, ignores=HINTS)
def parallel_batch_dataset(
    xp: Any, state: State, input_dataset: Any, batch_size: Any, num_parallel_calls: Any, drop_remainder: Any
) -> Any:
    """Elements stacked, so many at a time."""
    return _batched(dataset_of(input_dataset), number("batch_size", batch_size, 1), bool(drop_remainder), stacked)


@op("MapAndBatchDataset", shape="-> []", stateful=True, ignores=_MAPPING)
def map_and_batch_dataset(
    xp: Any, state: State, input_dataset: Any, other_arguments: list[Any], batch_size: Any, num_parallel_calls: Any,
    drop_remainder: Any, *, f: Function, preserve_cardinality: bool,
) -> Any:  # fmt: skip
    """A function of each element, stacked, so many at a time."""
    source = dataset_of(input_dataset)
    each = _mapped(source, f, other_arguments, source.size if preserve_cardinality else UNKNOWN)
    return _batched(each, number("batch_size", batch_size, 1), bool(drop_remainder), stacked)


def _filled(shapes: list[Any], fills: list[Any], types: tuple[DType, ...]) -> Callable[[list[Element]], Element]:
    def make(rows: list[Element]) -> Element:
        columns = zip(zip(*rows, strict=True), shapes, fills, types, strict=True)
        return tuple(_filled_column(i, *c) for i, c in enumerate(columns))

    return make


def _filled_column(i: int, values: tuple[Any, ...], shape: Any, fill: Any, dtype: DType) -> Any:
    rank = len(shape)
    if any(v.ndim != rank for v in values):
        found = next(v.ndim for v in values if v.ndim != rank)
        raise refuse(f"component {i} of an element to pad has another rank", expected=rank, found=found)
    most = np.max([v.shape for v in values], axis=0).tolist() if rank else []
    dims = [m if s < 0 else int(s) for m, s in zip(most, shape.tolist(), strict=True)]
    if any(m > d for m, d in zip(most, dims, strict=True)):
        raise refuse(f"component {i} of an element is larger than the padded shape", expected=dims, found=most)
    return padded(values, dtype, dims, fill.item())


@op("PaddedBatchDataset", shape="-> []", stateful=True, ignores=("output_shapes", "N"))
def padded_batch_dataset(
    xp: Any, state: State, input_dataset: Any, batch_size: Any, padded_shapes: list[Any], padding_values: list[Any], *,
    Toutput_types: tuple[DType, ...],
) -> Any:  # fmt: skip
    """Elements filled up to one shape and stacked, so many at a time."""
    make = _filled(padded_shapes, padding_values, Toutput_types)
    return _batched(dataset_of(input_dataset), number("batch_size", batch_size, 1), False, make)


@op("PaddedBatchDatasetV2", shape="-> []", stateful=True, ignores=("output_shapes", "N", "metadata", "parallel_copy"))
def padded_batch_dataset_v2(
    xp: Any, state: State, input_dataset: Any, batch_size: Any, padded_shapes: list[Any], padding_values: list[Any],
    drop_remainder: Any, *, Toutput_types: tuple[DType, ...],
) -> Any:  # fmt: skip
    """Elements filled up to one shape and stacked, so many at a time; a smaller last batch may be left out."""
    make = _filled(padded_shapes, padding_values, Toutput_types)
    return _batched(dataset_of(input_dataset), number("batch_size", batch_size, 1), bool(drop_remainder), make)


@op("UnbatchDataset", shape="-> []", stateful=True, ignores=HINTS)
def unbatch_dataset(xp: Any, state: State, input_dataset: Any) -> Any:
    """The slices of elements along their first axis."""
    source = dataset_of(input_dataset)

    return Dataset(lambda work: _Unbatched(source.start(work)), endless(source))


class _Unbatched(Elements):
    """The slices of elements; those to come are held, the last one first."""

    parts: ClassVar = {"source": Elements, "held": list}

    def __init__(self, source: Elements) -> None:
        self.source = source
        self.held: list[Element] = []

    def __next__(self) -> Element:
        while not self.held:
            element = next(self.source)
            if len({c.shape[:1] for c in element}) != 1 or not element[0].ndim:
                found = [list(c.shape) for c in element]
                raise refuse("a batch to take apart", expected="one size along the first axis", found=found)
            self.held.extend(tuple(c[i, ...] for c in element) for i in reversed(range(len(element[0]))))
        return self.held.pop()


# --- looking ahead ---
@op("PrefetchDataset", shape="-> []", stateful=True, ignores=HINTS)
def prefetch_dataset(xp: Any, state: State, input_dataset: Any, buffer_size: Any) -> Any:
    """The same elements, some of them made ahead by a thread of their own."""
    source = dataset_of(input_dataset)
    room = number("buffer_size", buffer_size, -1)
    ahead = _AUTOTUNE if room < 0 else room
    if not ahead:
        return source
    return Dataset(lambda work: Ahead(source.start(work), ahead, work), source.size)


OTHERS: list[Op] = [
    alias("ParallelMapDatasetV2", parallel_map_dataset),
    alias("ExperimentalScanDataset", scan_dataset),
    alias("ExperimentalIgnoreErrorsDataset", ignore_errors_dataset),
    alias("ExperimentalTakeWhileDataset", take_while_dataset),
    alias("ExperimentalMapAndBatchDataset", map_and_batch_dataset),
    alias("ExperimentalMapDataset", map_dataset),
    alias("ExperimentalUnbatchDataset", unbatch_dataset),
]
