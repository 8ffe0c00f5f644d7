"""Datasets of what several elements make together: windows, other batches, groups by key; of CSV files; and of samples.

What only tells TensorFlow's runtime how to work (thread pools, checks of its rewriting) hands elements on. See
`dataset_core`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

from coldframe.dtypes import DType, variant
from coldframe.ops import decode, serialized
from coldframe.ops.dataset_core import (
    Dataset,
    Element,
    Elements,
    Steps,
    Work,
    dataset_of,
    number,
    stacked,
    taken,
)  # fmt: skip
from coldframe.ops.dataset_files import of_files, text
from coldframe.ops.datasets import HINTS, Function
from coldframe.ops.lookup import initialize, table_of
from coldframe.ops.queue_core import single_words
from coldframe.ops.record_files import lines
from coldframe.ops.state import Handle, State
from coldframe.ops.table import Op, alias, op
from coldframe.primitives.base import refuse
from coldframe.shapes import Shape


# --- which ones ---
@op("UniqueDataset", shape="-> []", stateful=True, ignores=HINTS)
def unique_dataset(xp: Any, state: State, input_dataset: Any) -> Any:
    """Each element of one component once, where it comes first."""
    source = dataset_of(input_dataset)

    def start(work: Work) -> Elements:
        inner, seen = source.start(work), set[Any]()

        def step() -> Element:
            while True:
                element = next(inner)
                [only] = element
                key = (np.shape(only), tuple(np.ravel(only).tolist()))
                if key not in seen:
                    seen.add(key)
                    return element

        return Steps(step)

    return Dataset(start)


@op("SamplingDataset", shape="-> []", stateful=True, ignores=HINTS)
def sampling_dataset(xp: Any, state: State, input_dataset: Any, rate: Any, seed: Any, seed2: Any) -> Any:
    """Each element with a probability."""
    source, chance, seeds = dataset_of(input_dataset), float(rate), (int(seed), int(seed2))

    def start(work: Work) -> Elements:
        inner, words = source.start(work), single_words(*seeds)

        def step() -> Element:
            while True:
                element = next(inner)
                if (next(words) & 0x7FFFFF) / 2.0**23 < chance:
                    return element

        return Steps(step)

    return Dataset(start)


# --- windows and batches ---
@op("SlidingWindowDataset", shape="-> []", stateful=True, ignores=HINTS)
def sliding_window_dataset(
    xp: Any, state: State, input_dataset: Any, window_size: Any, window_shift: Any, window_stride: Any,
    *, drop_remainder: bool,
) -> Any:  # fmt: skip
    """Batches of `window_size` elements, each `window_stride` behind the other, that begin every `window_shift`."""
    source = dataset_of(input_dataset)
    size, shift = number("window_size", window_size, 1), number("window_shift", window_shift, 1)
    stride = number("window_stride", window_stride, 1)
    if not drop_remainder:
        raise refuse("`drop_remainder`", expected="True", found=False)

    def start(work: Work) -> Elements:
        inner, held, skip = source.start(work), list[Element](), 0

        def step() -> Element:
            nonlocal skip
            while skip:
                next(inner)
                skip -= 1
            held.extend(taken(inner, (size - 1) * stride + 1 - len(held)))
            if len(held) <= (size - 1) * stride:
                raise StopIteration
            window = stacked(held[::stride][:size])
            skip = max(shift - len(held), 0)
            del held[:shift]
            return window

        return Steps(step)

    return Dataset(start)


def _rows(element: Element) -> int:
    sizes = {np.shape(c)[:1] for c in element}
    if len(sizes) != 1 or () in sizes:
        raise refuse("components of a batch", expected="equally many rows", found=[list(np.shape(c)) for c in element])
    return int(sizes.pop()[0])


@op("RebatchDatasetV2", shape="-> []", stateful=True, ignores=HINTS)
def rebatch_dataset_v2(xp: Any, state: State, input_dataset: Any, batch_sizes: Any, drop_remainder: Any) -> Any:
    """The rows of batches in batches of other sizes, which come around again and again."""
    source, drop = dataset_of(input_dataset), bool(drop_remainder)
    sizes = np.ravel(batch_sizes).tolist()
    if np.ndim(batch_sizes) > 1 or not sizes or min(sizes) < 0 or not any(sizes):
        raise refuse("`batch_sizes`", expected="numbers of rows", found=np.asarray(batch_sizes).tolist())

    def start(work: Work) -> Elements:
        inner, order = source.start(work), itertools.cycle(sizes)
        parts: list[tuple[Any, ...]] = []

        def rows() -> int:
            return sum(_rows(p) for p in parts)

        def step() -> Element:
            size = next(order)
            while rows() < size:
                try:
                    parts.append(tuple(next(inner)))
                except StopIteration:
                    if not rows() or drop:
                        raise
                    break
            if not parts:
                parts.append(tuple(next(inner)))
            joined = tuple(np.concatenate(column) for column in zip(*parts, strict=True))
            parts[:] = [tuple(c[size:] for c in joined)]
            return tuple(c[:size] for c in joined)

        return Steps(step)

    return Dataset(start)


@op("DenseToSparseBatchDataset", shape="-> []", stateful=True, ignores=HINTS)
def dense_to_sparse_batch_dataset(xp: Any, state: State, input_dataset: Any, batch_size: Any, row_shape: Any) -> Any:
    """Tensors of several sizes, so many at a time, as a sparse tensor: all their places are filled."""
    source, size = dataset_of(input_dataset), number("batch_size", batch_size, 1)
    limits = [int(d) for d in np.ravel(row_shape)]

    def joined(elements: list[Element]) -> Element:
        tensors = [np.asarray(only) for [only] in elements]
        for t in tensors:
            if t.ndim != len(limits) or any(0 <= most < d for d, most in zip(t.shape, limits, strict=True)):
                raise refuse("a tensor does not fit the rows", expected=limits, found=list(t.shape))
        most = [max(t.shape[k] for t in tensors) if d < 0 else d for k, d in enumerate(limits)]
        places = [np.argwhere(np.ones(t.shape, bool)).reshape(t.size, len(limits)) for t in tensors]
        at = [np.insert(p, 0, k, axis=1) for k, p in enumerate(places)]
        values = np.concatenate([t.ravel() for t in tensors])
        shape = np.array([len(tensors), *most], np.int64)
        parts = np.concatenate(at).astype(np.int64), values, shape
        return (serialized.serialize_sparse.body(xp, *parts, out_type=variant),)

    def start(work: Work) -> Elements:
        inner = source.start(work)

        def step() -> Element:
            elements = taken(inner, size)
            if not elements:
                raise StopIteration
            return joined(elements)

        return Steps(step)

    return Dataset(start, source.size if source.size < 0 else -(-source.size // size))


@op(
    "GroupByReducerDataset",
    shape="-> []",
    stateful=True,
    ignores=(
        *HINTS, "Tkey_func_other_arguments", "Tinit_func_other_arguments", "Treduce_func_other_arguments",
        "Tfinalize_func_other_arguments",
    ),
)  # fmt: skip
def group_by_reducer_dataset(
    xp: Any, state: State, input_dataset: Any, key_func_other_arguments: list[Any],
    init_func_other_arguments: list[Any], reduce_func_other_arguments: list[Any],
    finalize_func_other_arguments: list[Any],
    *, key_func: Function, init_func: Function, reduce_func: Function, finalize_func: Function,
) -> Any:  # fmt: skip
    """What becomes of all elements with the same key, one element per key, in the order of the keys."""
    source = dataset_of(input_dataset)

    def reduced(work: Work) -> Iterator[Element]:
        groups: dict[int, Element] = {}
        for element in source.start(work):
            key = int(work.call(key_func, *element, *key_func_other_arguments)[0])
            if key not in groups:
                groups[key] = work.call(init_func, np.array(key, np.int64), *init_func_other_arguments)
            groups[key] = work.call(reduce_func, *groups[key], *element, *reduce_func_other_arguments)
        for key in sorted(groups):
            yield work.call(finalize_func, *groups[key], *finalize_func_other_arguments)

    return Dataset(reduced)


# --- files ---
def _records(found: Iterator[bytes], header: bool, quotes: bool) -> Iterator[bytes]:
    """Lines as records: a quoted field may go on in the next line."""
    for _ in range(int(header)):
        next(found, None)
    for line in found:
        record = line
        while quotes and record.count(b'"') % 2 and (more := next(found, None)) is not None:
            record += b"\n" + more
        yield record


@op("CSVDatasetV2", shape="-> []", stateful=True, ignores=("output_shapes",))
def csv_dataset_v2(
    xp: Any, state: State, filenames: Any, compression_type: Any, buffer_size: Any, header: Any, field_delim: Any,
    use_quote_delim: Any, na_value: Any, select_cols: Any, record_defaults: list[Any], exclude_cols: Any,
    *, output_types: tuple[DType, ...],
) -> Any:  # fmt: skip
    """The columns of CSV files, record by record."""
    compression, quotes, left_out = text(compression_type), bool(use_quote_delim), np.ravel(exclude_cols).tolist()
    chosen = np.ravel(select_cols).tolist()
    if chosen and left_out:
        raise refuse("`select_cols` and `exclude_cols`", expected="one of them", found=[chosen, left_out])
    if left_out:
        chosen = [k for k in range(len(output_types) + len(left_out)) if k not in left_out]
    options: dict[str, Any] = {
        "OUT_TYPE": output_types, "field_delim": text(field_delim), "use_quote_delim": quotes,
        "na_value": text(na_value), "select_cols": chosen,
    }  # fmt: skip
    source = of_files(filenames, lambda path: _records(lines(path, compression), bool(header), quotes))

    def start(work: Work) -> Elements:
        inner = source.start(work)
        decoded = decode.decode_csv.body
        return Steps(lambda: tuple(decoded(xp, np.asarray(next(inner)[0], object), record_defaults, **options)))

    return Dataset(start)


@op("CSVDataset", shape="-> []", stateful=True, ignores=("output_shapes",))
def csv_dataset(
    xp: Any, state: State, filenames: Any, compression_type: Any, buffer_size: Any, header: Any, field_delim: Any,
    use_quote_delim: Any, na_value: Any, select_cols: Any, record_defaults: list[Any],
    *, output_types: tuple[DType, ...],
) -> Any:  # fmt: skip
    """The columns of CSV files, record by record."""
    return csv_dataset_v2.body(
        xp, state, filenames, compression_type, buffer_size, header, field_delim, use_quote_delim, na_value,
        select_cols, record_defaults, np.zeros(0, np.int64), output_types=output_types,
    )  # fmt: skip


# --- what is given ---
@op("ListDataset", shape="-> []", stateful=True, ignores=(*HINTS, "Tinput_types"))
def list_dataset(xp: Any, state: State, tensors: list[Any], *, output_types: tuple[DType, ...]) -> Any:
    """Tensors one after the other, so many of them for each element as it has components."""
    width = len(output_types)
    rows = [tuple(tensors[k : k + width]) for k in range(0, len(tensors), width)]
    return Dataset(lambda work: iter(rows), len(rows))


@op("GetElementAtIndex", stateful=True, ignores=HINTS)
def get_element_at_index(xp: Any, state: State, dataset: Any, index: Any) -> list[Any]:
    """The element with a number."""
    source, at = dataset_of(dataset), number("index", index, 0)
    for element in itertools.islice(source.start(Work(state)), at, at + 1):
        return list(element)
    raise refuse("the dataset has no element with this number", found=at)


@op("InitializeTableFromDataset", stateful=True, effect=True)
def initialize_table_from_dataset(xp: Any, state: State, table_handle: Any, dataset: Any) -> None:
    """Fill a table with the keys and values that a dataset gives."""
    pairs = ((k.item(), v.item()) for k, v in dataset_of(dataset).start(Work(state)))
    initialize(state, table_of(table_handle), pairs)


# --- hints ---
def _handed_on(name: str) -> Op:
    def body(xp: Any, state: State, input_dataset: Any, hint: Any) -> Any:
        """The same elements."""
        return dataset_of(input_dataset)

    return Op(name, body, shape="-> []", stateful=True, ignores=HINTS)


@op("ThreadPoolHandle", shape="-> []", stateful=True, ignores=(
    "num_threads", "max_intra_op_parallelism", "display_name", "container", "shared_name",
))  # fmt: skip
def thread_pool_handle(xp: Any, state: State) -> Any:
    """A thread pool, which nothing needs."""
    return Handle(state.node, "thread pool", variant, Shape(()))


@op("ChooseFastestDataset", shape="-> []", stateful=True, ignores=(*HINTS, "N", "num_experiments"))
def choose_fastest_dataset(xp: Any, state: State, input_datasets: list[Any]) -> Any:
    """The elements of the first of several datasets that are to be the same."""
    return dataset_of(input_datasets[0])


HANDED_ON = [
    _handed_on("ThreadPoolDataset"),
    _handed_on("SleepDataset"),
    _handed_on("AssertNextDataset"),
    _handed_on("AssertPrevDataset"),
]
OTHERS = [
    alias("ExperimentalUniqueDataset", unique_dataset),
    alias("ExperimentalSlidingWindowDataset", sliding_window_dataset),
    alias("ExperimentalDenseToSparseBatchDataset", dense_to_sparse_batch_dataset),
    alias("ExperimentalGroupByReducerDataset", group_by_reducer_dataset),
    alias("ExperimentalCSVDataset", csv_dataset),
    alias("ExperimentalThreadPoolDataset", HANDED_ON[0]),
    alias("ExperimentalSleepDataset", HANDED_ON[1]),
    alias("ExperimentalAssertNextDataset", HANDED_ON[2]),
    alias("ExperimentalThreadPoolHandle", thread_pool_handle),
    alias("ExperimentalChooseFastestDataset", choose_fastest_dataset),
]
