"""Datasets: where elements come from, and what is made of them one by one or in batches.

Parallel variants give the same elements in the same order; how many calls run at once is a hint. See `dataset_core`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from coldframe.dtypes import DType
from coldframe.errors import CancelledError, ColdframeError, EndOfInputError
from coldframe.ops.dataset_core import (
    INFINITE,
    UNKNOWN,
    Ahead,
    Dataset,
    Element,
    Elements,
    Row,
    Steps,
    Work,
    dataset_of,
    endless,
    number,
    stacked,
    taken,
)  # fmt: skip
from coldframe.ops.queue_core import padded, single_words
from coldframe.ops.state import State
from coldframe.ops.table import Op, alias, op
from coldframe.primitives.base import refuse

Function = Callable[..., list[Any]]
HINTS: Final = (
    "output_types", "output_shapes", "metadata", "Targuments", "Toutput_types", "use_inter_op_parallelism",
    "preserve_cardinality", "force_synchronous", "deterministic", "sloppy", "use_unbounded_threadpool",
    "parallel_copy", "replicate_on_split", "is_files", "slack_period", "legacy_autotune", "buffer_size_min",
    "log_warning", "use_default_device", "use_fallback", "cardinality_options",
)  # fmt: skip
_MAPPING: Final = tuple(name for name in HINTS if name != "preserve_cardinality")
_AUTOTUNE: Final = 2  # elements made ahead, where the program leaves it to us


# --- sources ---
@op("TensorDataset", shape="-> []", stateful=True, ignores=HINTS)
def tensor_dataset(xp: Any, state: State, components: list[Any]) -> Any:
    """One element."""
    return Dataset(lambda work: iter([tuple(components)]), 1)


@op("TensorSliceDataset", shape="-> []", stateful=True, ignores=HINTS)
def tensor_slice_dataset(xp: Any, state: State, components: list[Any]) -> Any:
    """The slices of tensors along their first axis."""
    sizes = {np.shape(c)[:1] for c in components}
    if len(sizes) != 1 or () in sizes:
        raise refuse(
            "tensors to slice", expected="one size along the first axis", found=[list(np.shape(c)) for c in components]
        )
    ((size,),) = sizes
    source = _Slices([np.asarray(c) for c in components])
    return Dataset(lambda work: (Row(source, i) for i in range(size)), size)


class _Slices:
    """The slices of tensors along their first axis."""

    __slots__ = ("_tensors",)

    def __init__(self, tensors: list[Any]) -> None:
        self._tensors = tensors

    def row(self, at: int) -> tuple[Any, ...]:
        return tuple(t[at, ...] for t in self._tensors)

    def rows(self, at: list[int]) -> tuple[Any, ...]:
        return tuple(t.take(at, 0) for t in self._tensors)


@op("SparseTensorSliceDataset", shape="-> []", stateful=True, ignores=HINTS)
def sparse_tensor_slice_dataset(xp: Any, state: State, indices: Any, values: Any, dense_shape: Any) -> Any:
    """The slices of a sparse tensor: indices, values and shape of each."""

    def start(work: Work) -> Elements:
        for i in range(int(dense_shape[0])):
            here = indices[:, 0] == i
            yield indices[here, 1:], values[here], dense_shape[1:]

    return Dataset(start, int(dense_shape[0]))


@op("RangeDataset", shape="-> []", stateful=True, ignores=("output_shapes", *HINTS[2:]))
def range_dataset(xp: Any, state: State, start: Any, stop: Any, step: Any, *, output_types: tuple[DType, ...]) -> Any:
    """Numbers from `start` up to but without `stop`."""
    if not int(step):
        raise refuse("`step`", expected="a number other than 0", found=0)
    numbers = range(int(start), int(stop), int(step))
    source = _Numbers(output_types[0])
    return Dataset(lambda work: (Row(source, n) for n in numbers), len(numbers))


class _Numbers:
    """Scalars that are their own numbers."""

    __slots__ = ("_dtype",)

    def __init__(self, dtype: DType) -> None:
        self._dtype = dtype.numpy

    def row(self, at: int) -> tuple[Any, ...]:
        return (np.array(at, self._dtype),)

    def rows(self, at: list[int]) -> tuple[Any, ...]:
        return (np.array(at, self._dtype),)


@op("RandomDataset", shape="-> []", stateful=True, ignores=HINTS)
def random_dataset(xp: Any, state: State, seed: Any, seed2: Any) -> Any:
    """Endless 32-bit random numbers, as int64."""
    return Dataset(lambda work: ((np.array(w, np.int64),) for w in single_words(int(seed), int(seed2))), INFINITE)


@op(
    "GeneratorDataset",
    shape="-> []",
    stateful=True,
    ignores=(*HINTS, "Tinit_func_args", "Tnext_func_args", "Tfinalize_func_args"),
)
def generator_dataset(
    xp: Any, state: State, init_func_other_args: list[Any], next_func_other_args: list[Any],
    finalize_func_other_args: list[Any], *, init_func: Function, next_func: Function, finalize_func: Function,
) -> Any:  # fmt: skip
    """What `next_func` gives for what `init_func` made, until it says that the input has ended."""

    def start(work: Work) -> Elements:
        made: list[Element] = []
        finished = False

        def step() -> Element:
            nonlocal finished
            if finished:
                raise StopIteration
            if not made:
                made.append(work.call(init_func, *init_func_other_args))
            try:
                return work.call(next_func, *made[0], *next_func_other_args)
            except EndOfInputError:
                finished = True
                work.call(finalize_func, *made[0], *finalize_func_other_args)
                raise StopIteration from None

        return Steps(step)

    return Dataset(start)


# --- one by one ---
def _mapped(source: Dataset, f: Function, others: list[Any], size: int) -> Dataset:
    def start(work: Work) -> Elements:
        inner = source.start(work)
        return Steps(lambda: work.call(f, *next(inner), *others))

    return Dataset(start, size)


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
        outer = source.start(work)
        inner: list[Elements] = []

        def step() -> Element:
            while True:
                if not inner:
                    inner.append(dataset_of(work.call(f, *next(outer), *other_arguments)[0]).start(work))
                try:
                    return next(inner[0])
                except StopIteration:
                    inner.clear()

        return Steps(step)

    return Dataset(start)


def _filtered(source: Dataset, predicate: Function, others: list[Any]) -> Dataset:
    def start(work: Work) -> Elements:
        return filter(lambda e: bool(work.call(predicate, *e, *others)[0]), source.start(work))

    return Dataset(start, 0 if source.size == 0 else UNKNOWN)


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
        inner = filter(lambda e: bool(e[-1]), source.start(work))
        return Steps(lambda: next(inner)[:-1])

    return Dataset(start)


@op("TakeWhileDataset", shape="-> []", stateful=True, ignores=HINTS)
def take_while_dataset(
    xp: Any, state: State, input_dataset: Any, other_arguments: list[Any], *, predicate: Function
) -> Any:
    """The elements before the first one for which a function does not hold."""
    source = dataset_of(input_dataset)
    return Dataset(
        lambda work: itertools.takewhile(
            lambda e: bool(work.call(predicate, *e, *other_arguments)[0]), source.start(work)
        )
    )


@op("ScanDataset", shape="-> []", stateful=True, ignores=HINTS)
def scan_dataset(
    xp: Any, state: State, input_dataset: Any, initial_state: list[Any], other_arguments: list[Any], *, f: Function
) -> Any:
    """A function of a state and each element, which makes the next state and an element."""
    source, count = dataset_of(input_dataset), len(initial_state)

    def start(work: Work) -> Elements:
        inner, held = source.start(work), tuple(initial_state)

        def step() -> Element:
            nonlocal held
            made = work.call(f, *held, *next(inner), *other_arguments)
            held = made[:count]
            return made[count:]

        return Steps(step)

    return Dataset(start, source.size)


@op("IgnoreErrorsDataset", shape="-> []", stateful=True, ignores=HINTS)
def ignore_errors_dataset(xp: Any, state: State, input_dataset: Any) -> Any:
    """The elements that can be made."""
    source = dataset_of(input_dataset)

    def start(work: Work) -> Elements:
        inner = source.start(work)

        def step() -> Element:
            while True:
                try:
                    return next(inner)
                except CancelledError:
                    raise
                except ColdframeError:
                    continue

        return Steps(step)

    return Dataset(start)


# --- batches ---
def _batched(source: Dataset, size: int, drop: bool, make: Callable[[list[Element]], Element]) -> Dataset:
    def start(work: Work) -> Elements:
        inner = source.start(work)

        def step() -> Element:
            rows = taken(inner, size)
            if not rows or (drop and len(rows) < size):
                raise StopIteration
            return make(rows)

        return Steps(step)

    return Dataset(start, source.size if source.size < 0 else source.size // size if drop else -(-source.size // size))


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

    def start(work: Work) -> Elements:
        inner = source.start(work)
        held: list[Element] = []

        def step() -> Element:
            while not held:
                element = next(inner)
                if len({c.shape[:1] for c in element}) != 1 or not element[0].ndim:
                    found = [list(c.shape) for c in element]
                    raise refuse("a batch to take apart", expected="one size along the first axis", found=found)
                held.extend(tuple(c[i, ...] for c in element) for i in reversed(range(len(element[0]))))
            return held.pop()

        return Steps(step)

    return Dataset(start, endless(source))


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
    alias("ExperimentalRandomDataset", random_dataset),
]
