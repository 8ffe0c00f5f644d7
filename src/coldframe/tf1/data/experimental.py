"""`tf.data.experimental`, and `tf.contrib.data` before it: functions for `Dataset.apply`, and a few more."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

from coldframe import dtypes
from coldframe.shapes import Shape
from coldframe.tf1.check_ops import assert_less
from coldframe.tf1.data.dataset import AUTOTUNE, Dataset, Options, _batch_size, _drop, _inner, _int64
from coldframe.tf1.data.files import make_batched_features_dataset, make_csv_dataset
from coldframe.tf1.data.functions import seeds, traced
from coldframe.tf1.data.optional import Optional, get_next_as_optional
from coldframe.tf1.data.readers import CsvDataset
from coldframe.tf1.data.sampling import RandomDataset, choose_from_datasets, sample_from_datasets
from coldframe.tf1.data.saving import make_saveable_from_iterator
from coldframe.tf1.data.structure import (
    Leaf,
    attrs_of,
    components,
    flatten_up_to,
    mapped,
    normalized,
    pack,
    rebuilt,
    structure_of,
)  # fmt: skip
from coldframe.tf1.framework.build import raw
from coldframe.tf1.framework.convert import convert_to_tensor
from coldframe.tf1.framework.graph import control_dependencies
from coldframe.tf1.framework.shape import TensorShape
from coldframe.tf1.framework.tensor import Tensor
from coldframe.tf1.parsing_ops import parse_example

INFINITE_CARDINALITY: Final = -1
UNKNOWN_CARDINALITY: Final = -2
Transformation = Callable[[Dataset], Dataset]


def map_and_batch(
    map_func: Callable[..., Any], batch_size: Any, num_parallel_batches: Any = None, drop_remainder: bool = False,
    num_parallel_calls: Any = None,
) -> Transformation:  # fmt: skip
    """Return what maps elements and stacks them, `batch_size` at a time."""

    def apply(dataset: Dataset) -> Dataset:
        f = traced("map_and_batch", map_func, dataset._structure)
        size, drop = _int64(batch_size, "batch_size"), _drop(drop_remainder)
        calls = num_parallel_calls if num_parallel_calls is not None else (num_parallel_batches or 1)
        n = _batch_size(size, drop)
        found = mapped(lambda leaf: leaf.batched(n), f.structure)
        inputs = [f.captured, size, _int64(calls, "num_parallel_calls"), drop]
        return dataset._next("MapAndBatchDataset", inputs, found, f=f.ref)

    return apply


map_and_batch_with_legacy_function = map_and_batch


def parallel_interleave(
    map_func: Callable[..., Any], cycle_length: Any, block_length: Any = 1, sloppy: Any = False,
    buffer_output_elements: Any = None, prefetch_input_elements: Any = None,
) -> Transformation:  # fmt: skip
    """Return what interleaves the datasets that `map_func` makes; as `Dataset.interleave`, in the same order."""

    def apply(dataset: Dataset) -> Dataset:
        f = traced("parallel_interleave", map_func, dataset._structure)
        ahead = 2 * block_length if buffer_output_elements is None else buffer_output_elements
        inputs = 2 * cycle_length if prefetch_input_elements is None else prefetch_input_elements
        tensors = [
            f.captured, _int64(cycle_length, "cycle_length"), _int64(block_length, "block_length"),
            convert_to_tensor(bool(sloppy), dtypes.bool_, name="sloppy"),
            _int64(ahead, "buffer_output_elements"), _int64(inputs, "prefetch_input_elements"),
        ]  # fmt: skip
        return dataset._next("ParallelInterleaveDataset", tensors, _inner(f.structure), f=f.ref)

    return apply


def shuffle_and_repeat(buffer_size: Any, count: Any = None, seed: Any = None) -> Transformation:
    """Return what shuffles, and repeats `count` times, or without end."""

    def apply(dataset: Dataset) -> Dataset:
        size, times = _int64(buffer_size, "buffer_size"), _int64(-1 if count is None else count, "count")
        return dataset._next("ShuffleAndRepeatDataset", [size, *seeds(seed), times])

    return apply


def batch_and_drop_remainder(batch_size: Any) -> Transformation:
    """Return what stacks elements, `batch_size` at a time, and leaves a smaller last batch out."""
    return lambda dataset: dataset.batch(batch_size, drop_remainder=True)


def padded_batch_and_drop_remainder(batch_size: Any, padded_shapes: Any, padding_values: Any = None) -> Transformation:
    """Return what pads and stacks elements, and leaves a smaller last batch out."""
    return lambda dataset: dataset.padded_batch(batch_size, padded_shapes, padding_values, drop_remainder=True)


def unbatch() -> Transformation:
    """Return what takes batches apart."""
    return lambda dataset: dataset.unbatch()


def ignore_errors(log_warning: bool = False) -> Transformation:
    """Return what leaves elements out that cannot be made."""
    return lambda dataset: dataset._next("IgnoreErrorsDataset", [], log_warning=log_warning)


def enumerate_dataset(start: Any = 0) -> Transformation:
    """Return what makes pairs of a number and an element."""
    return lambda dataset: dataset.enumerate(start)


def take_while(predicate: Callable[..., Any]) -> Transformation:
    """Return what ends before the first element for which `predicate` does not hold."""

    def apply(dataset: Dataset) -> Dataset:
        f = traced("take_while", predicate, dataset._structure)
        return dataset._next("TakeWhileDataset", [f.captured], predicate=f.ref)

    return apply


def scan(initial_state: Any, scan_func: Callable[..., Any]) -> Transformation:
    """Return what makes elements by ``scan_func(state, element) -> (state, new element)``."""

    def apply(dataset: Dataset) -> Dataset:
        state = normalized(initial_state)
        kinds = structure_of(state)
        f = traced("scan", scan_func, (kinds, dataset._structure))
        made = f.structure[1]
        return dataset._next("ScanDataset", [components(state), f.captured], made, f=f.ref)

    return apply


def group_by_window(
    key_func: Callable[..., Any], reduce_func: Callable[..., Any], window_size: Any = None,
    window_size_func: Callable[..., Any] | None = None,
) -> Transformation:  # fmt: skip
    """Return what groups elements by ``key_func``, and flattens ``reduce_func(key, dataset of a group)``."""
    if (window_size is None) == (window_size_func is None):
        raise ValueError("Must pass either `window_size` or `window_size_func`.")

    def apply(dataset: Dataset) -> Dataset:
        scalar = Leaf("tensor", dtypes.int64, TensorShape([]).static)
        group = Leaf("dataset", dtypes.variant, TensorShape([]).static, inner=dataset._structure)

        def key(*args: Any) -> Any:
            return raw.Cast(convert_to_tensor(key_func(*args)), DstT=dtypes.int64)

        def size(k: Any) -> Any:
            return _int64(window_size, "window_size") if window_size_func is None else _as_int64(window_size_func(k))

        keys = traced("key", key, dataset._structure)
        sizes = traced("window_size", size, scalar)
        reduced = traced("reduce", reduce_func, (scalar, group))
        inputs = [keys.captured, reduced.captured, sizes.captured]
        functions: dict[str, Any] = {"key_func": keys.ref, "reduce_func": reduced.ref, "window_size_func": sizes.ref}
        return dataset._next("GroupByWindowDataset", inputs, _inner(reduced.structure), **functions)

    return apply


def _as_int64(value: Any) -> Tensor:
    tensor = convert_to_tensor(value)
    return tensor if tensor.dtype is dtypes.int64 else raw.Cast(tensor, DstT=dtypes.int64)


def bucket_by_sequence_length(
    element_length_func: Callable[..., Any], bucket_boundaries: Sequence[int], bucket_batch_sizes: Sequence[int],
    padded_shapes: Any = None, padding_values: Any = None, pad_to_bucket_boundary: bool = False,
    no_padding: bool = False, drop_remainder: bool = False,
) -> Transformation:  # fmt: skip
    """Return what makes padded batches of elements of similar length.

    Args:
        element_length_func: the length of an element, an int32 scalar.
        bucket_boundaries: upper lengths of the groups, exclusive.
        bucket_batch_sizes: the batch size of each group, one more than boundaries.
        padded_shapes, padding_values, drop_remainder: as `Dataset.padded_batch`.
        pad_to_bucket_boundary: pad to the longest that the group allows.
        no_padding: batch without padding.
    """
    if len(bucket_batch_sizes) != len(bucket_boundaries) + 1:
        raise ValueError("len(bucket_batch_sizes) must equal len(bucket_boundaries) + 1")
    low = np.array([np.iinfo(np.int32).min, *bucket_boundaries], np.int32)
    high = np.array([*bucket_boundaries, np.iinfo(np.int32).max], np.int32)
    sizes = np.array(bucket_batch_sizes, np.int64)

    def key(*args: Any) -> Any:
        length = element_length_func(*args)
        inside = raw.LogicalAnd(raw.LessEqual(low, length), raw.Less(length, high))
        return raw.Min(raw.Where(inside), np.array([0, 1], np.int32))

    def reduce(k: Any, group: Dataset) -> Dataset:
        size = raw.GatherV2(sizes, k, 0)
        if no_padding:
            return group.batch(size, drop_remainder=drop_remainder)
        shapes = group.output_shapes if padded_shapes is None else padded_shapes
        if pad_to_bucket_boundary:
            message = "When pad_to_bucket_boundary=True, elements must have length < max(bucket_boundaries)."
            with control_dependencies([assert_less(k, np.int64(len(sizes) - 1), message=message)]):
                most = raw.Sub(raw.GatherV2(np.array(bucket_boundaries, np.int64), k, 0), np.int64(1))
            shapes = pack(group._structure, [_filled(s, most) for s in flatten_up_to(group._structure, shapes)])
        return group.padded_batch(size, shapes, padding_values, drop_remainder=drop_remainder)

    return group_by_window(key, reduce, window_size_func=lambda k: raw.GatherV2(sizes, k, 0))


def _filled(shape: Any, size: Tensor) -> Any:
    """Return a shape with `size` in the places of open dimensions, as a vector."""
    dims = TensorShape(shape).as_list()
    return raw.Pack([size if d is None else np.int64(d) for d in dims]) if None in dims else shape


def unique() -> Transformation:
    """Return what leaves out elements, of one component, that were there before."""
    return lambda dataset: dataset._next("UniqueDataset", [])


def dense_to_sparse_batch(batch_size: Any, row_shape: Any) -> Transformation:
    """Return what makes sparse tensors of `batch_size` dense ones of several sizes, at most `row_shape`."""

    def apply(dataset: Dataset) -> Dataset:
        shape = TensorShape(row_shape)
        dims = np.array([-1 if d is None else d for d in shape.as_list()], np.int64)
        found = Leaf("sparse", dataset._structure.dtype, Shape((None, *shape.as_list())))
        return dataset._next("DenseToSparseBatchDataset", [_int64(batch_size, "batch_size"), dims], found)

    return apply


class Reducer:
    """How the elements of a group become one: ``init_func(key)``, ``reduce_func(state, element)``,
    ``finalize_func(state)``.
    """

    def __init__(
        self, init_func: Callable[..., Any], reduce_func: Callable[..., Any], finalize_func: Callable[..., Any]
    ) -> None:
        self.init_func, self.reduce_func, self.finalize_func = init_func, reduce_func, finalize_func


def group_by_reducer(key_func: Callable[..., Any], reducer: Reducer) -> Transformation:
    """Return what makes one element of all elements with the same key, an int64 scalar, in the order of the keys."""

    def apply(dataset: Dataset) -> Dataset:
        keys = traced("key", lambda *args: _as_int64(convert_to_tensor(key_func(*args))), dataset._structure)
        first = traced("init", reducer.init_func, Leaf("tensor", dtypes.int64, TensorShape([]).static))
        state = first.structure
        step = traced("reduce", lambda held, *args: reducer.reduce_func(held, *args),
                      (state, *_arguments(dataset._structure)))  # fmt: skip
        last = traced("finalize", reducer.finalize_func, state)
        inputs = [keys.captured, first.captured, step.captured, last.captured]
        functions: dict[str, Any] = {
            "key_func": keys.ref, "init_func": first.ref, "reduce_func": step.ref, "finalize_func": last.ref,
        }  # fmt: skip
        return dataset._next("GroupByReducerDataset", inputs, last.structure, **functions)

    return apply


def _arguments(structure: Any) -> tuple[Any, ...]:
    """Return the structures of the arguments that a function of an element has."""
    return structure if type(structure) is tuple else (structure,)


def prefetch_to_device(device: str, buffer_size: Any = None) -> Transformation:
    """Return what prefetches; there is one device."""
    return lambda dataset: dataset.prefetch(AUTOTUNE if buffer_size is None else buffer_size)


def assert_cardinality(expected_cardinality: Any) -> Transformation:
    """Return what refuses to end at another number of elements."""
    return lambda dataset: dataset._next("AssertCardinalityDataset", [_int64(expected_cardinality, "cardinality")])


def cardinality(dataset: Dataset) -> Tensor:
    """Return how many elements there are, an int64 scalar: -1 for no end, -2 where that is not known."""
    return raw.DatasetCardinality(dataset._variant_tensor)  # type: ignore[no-any-return]


def get_single_element(dataset: Dataset) -> Any:
    """Return the only element of a dataset."""
    made = raw.DatasetToSingleElement(dataset._variant_tensor, **attrs_of(dataset._structure))
    return rebuilt(dataset._structure, made)


class Counter(Dataset):
    """Numbers from `start` on, without end."""

    def __init__(self, start: Any = 0, step: Any = 1, dtype: Any = dtypes.int64) -> None:
        made = Dataset.range(0, np.iinfo(np.int64).max).map(lambda n: n * step + start)
        super().__init__(made._variant_tensor, made._structure)


def parse_example_dataset(features: Any, num_parallel_calls: Any = 1) -> Transformation:
    """Return what parses batches of Example messages; `features` as `tf.parse_example` takes them."""
    return lambda dataset: dataset.map(lambda serialized: parse_example(serialized, features))


def get_structure(dataset_or_iterator: Any) -> Any:
    """Return dtype and shape of each tensor of an element, in its structure."""
    return dataset_or_iterator.element_spec


__all__ = [
    "AUTOTUNE", "INFINITE_CARDINALITY", "UNKNOWN_CARDINALITY", "Counter", "CsvDataset", "Optional", "Options",
    "RandomDataset", "Reducer", "assert_cardinality", "batch_and_drop_remainder", "bucket_by_sequence_length",
    "cardinality", "choose_from_datasets", "dense_to_sparse_batch", "enumerate_dataset", "get_next_as_optional",
    "get_single_element", "get_structure", "group_by_reducer", "group_by_window", "ignore_errors",
    "make_batched_features_dataset", "make_csv_dataset", "make_saveable_from_iterator", "map_and_batch",
    "map_and_batch_with_legacy_function", "padded_batch_and_drop_remainder", "parallel_interleave",
    "parse_example_dataset", "prefetch_to_device", "sample_from_datasets", "scan", "shuffle_and_repeat", "take_while",
    "unbatch", "unique",
]  # fmt: skip
