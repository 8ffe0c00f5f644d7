"""Datasets of some of the elements, of other batches, of CSV files.

What only tells TensorFlow's runtime how to work (thread pools, checks of its rewriting) hands elements on. See
`dataset_core`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np

from coldframe.dtypes import DType, variant
from coldframe.ops import decode, serialized
from coldframe.ops.dataset_core import (
    HINTS,
    Dataset,
    Each,
    Element,
    Elements,
    Words,
    Work,
    dataset_of,
    given,
    number,
)  # fmt: skip
from coldframe.ops.dataset_files import of_files, text
from coldframe.ops.datasets import Batches
from coldframe.ops.lookup import initialize, table_of
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

    return Dataset(lambda work: _Unique(source.start(work)))


class _Unique(Elements):
    """Each element of one component once; those that were there are held."""

    parts: ClassVar = {"source": Elements, "held": list}

    def __init__(self, source: Elements) -> None:
        self.source = source
        self.held: list[Element] = []
        self._seen: set[Any] = set()

    def __next__(self) -> Element:
        while True:
            element = tuple(next(self.source))
            key = _key(element)
            if key not in self._seen:
                self._seen.add(key)
                self.held.append(element)
                return element

    def load(self, saved: Any) -> None:
        super().load(saved)
        self._seen = {_key(e) for e in self.held}


def _key(element: Element) -> Any:
    [only] = element
    return np.shape(only), tuple(np.ravel(only).tolist())


@op("SamplingDataset", shape="-> []", stateful=True, ignores=HINTS)
def sampling_dataset(xp: Any, state: State, input_dataset: Any, rate: Any, seed: Any, seed2: Any) -> Any:
    """Each element with a probability."""
    source, chance, seeds = dataset_of(input_dataset), float(rate), (int(seed), int(seed2))

    return Dataset(lambda work: _Sample(source.start(work), chance, Words(*seeds)))


class _Sample(Elements):
    """Each element with a probability."""

    parts: ClassVar = {"source": Elements, "words": Words}

    def __init__(self, source: Elements, chance: float, words: Words) -> None:
        self.source, self._chance, self.words = source, chance, words

    def __next__(self) -> Element:
        while True:
            element = next(self.source)
            if (next(self.words) & 0x7FFFFF) / 2.0**23 < self._chance:
                return element


# --- windows and batches ---
def rows_of(element: Element) -> int:
    """Return how many rows the components of a batch have."""
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

    return Dataset(lambda work: _Rebatched(source.start(work), sizes, drop))


class _Rebatched(Elements):
    """The rows of batches in batches of these sizes, over and over; `held` are batches that are not used up."""

    parts: ClassVar = {"source": Elements, "held": list, "at": int, "ended": bool}

    def __init__(self, source: Elements, sizes: list[int], drop: bool) -> None:
        self.source, self._sizes, self._drop = source, sizes, drop
        self.held: list[Element] = []
        self.at, self.ended = 0, False

    def __next__(self) -> Element:
        if self.ended:
            raise StopIteration
        try:
            return self._batch()
        except StopIteration:
            self.ended = True
            raise

    def _batch(self) -> Element:
        size = self._sizes[self.at % len(self._sizes)]
        self.at += 1
        while self._rows() < size:
            try:
                self.held.append(tuple(next(self.source)))
            except StopIteration:
                if not self._rows() or self._drop:
                    raise
                break
        if not self.held:
            self.held.append(tuple(next(self.source)))
        joined = tuple(np.concatenate(column) for column in zip(*self.held, strict=True))
        self.held = [tuple(c[size:] for c in joined)]
        return tuple(c[:size] for c in joined)

    def _rows(self) -> int:
        return sum(rows_of(p) for p in self.held)


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
        return Batches(source.start(work), size, False, joined)

    return Dataset(start, source.size if source.size < 0 else -(-source.size // size))


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

    def columns(element: Element) -> Element:
        return tuple(decode.decode_csv.body(xp, np.asarray(element[0], object), record_defaults, **options))

    return Dataset(lambda work: Each(source.start(work), columns))


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
    return given(rows)


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
    alias("ExperimentalDenseToSparseBatchDataset", dense_to_sparse_batch_dataset),
    alias("ExperimentalCSVDataset", csv_dataset),
    alias("ExperimentalThreadPoolDataset", HANDED_ON[0]),
    alias("ExperimentalSleepDataset", HANDED_ON[1]),
    alias("ExperimentalAssertNextDataset", HANDED_ON[2]),
    alias("ExperimentalThreadPoolHandle", thread_pool_handle),
    alias("ExperimentalChooseFastestDataset", choose_fastest_dataset),
]
