"""`Dataset`: elements, described by nodes of the graph; each method adds one. An `Iterator` gives the elements."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np

from coldframe import dtypes
from coldframe.shapes import Shape
from coldframe.tf1.data import iterator as iterators
from coldframe.tf1.data.functions import python_call, seeds, traced
from coldframe.tf1.data.methods import Applied
from coldframe.tf1.data.structure import (
    Leaf,
    Structure,
    attrs_of,
    common,
    components,
    declared,
    flatten,
    flatten_up_to,
    mapped,
    normalized,
    pack,
    rebuilt,
    slice_components,
    structure_of,
)  # fmt: skip
from coldframe.tf1.framework.build import raw, raw_op
from coldframe.tf1.framework.convert import constant, constant_value, constant_value_as_shape, convert_to_tensor
from coldframe.tf1.framework.graph import colocate_with, control_dependencies, name_scope
from coldframe.tf1.framework.shape import TensorShape, as_static
from coldframe.tf1.framework.sizes import shape_of
from coldframe.tf1.framework.tensor import Tensor

AUTOTUNE: Final = -1


def _int64(value: Any, name: str) -> Tensor:
    return convert_to_tensor(value, dtypes.int64, name=name)


class Dataset(Applied):
    """Elements of one structure, in order.

    Args:
        variant_tensor: the tensor that describes them.
        structure: of an element; see `coldframe.tf1.data.structure`.
    """

    def __init__(self, variant_tensor: Tensor, structure: Structure) -> None:
        self._variant_tensor, self._structure = variant_tensor, structure

    def _next(
        self, op: str, inputs: list[Any], structure: Structure | None = None, name: str | None = None, **attrs: Any
    ) -> Dataset:
        """Return the dataset that `op` makes of this one."""
        found = self._structure if structure is None else structure
        made = raw_op(op, [self._variant_tensor, *inputs], {**attrs_of(found), **attrs}, name)
        return Dataset(made, found)

    # --- what elements are ---
    @property
    def output_types(self) -> Any:
        """The dtypes of an element, in its structure."""
        return iterators.types_of(self._structure)

    @property
    def output_shapes(self) -> Any:
        """The shapes of an element, in its structure."""
        return iterators.shapes_of(self._structure)

    @property
    def output_classes(self) -> Any:
        """`Tensor` or `SparseTensor`, in the structure of an element."""
        return iterators.classes_of(self._structure)

    @property
    def element_spec(self) -> Any:
        """Dtype and shape of each tensor, in the structure of an element."""
        return mapped(lambda leaf: leaf.spec, self._structure)

    def __repr__(self) -> str:
        return f"<Dataset shapes: {self.output_shapes}, types: {self.output_types}>"

    # --- sources ---
    @staticmethod
    def from_tensors(tensors: Any, name: str | None = None) -> Dataset:
        """Return a dataset of one element."""
        element = normalized(tensors)
        found = structure_of(element)
        shapes = attrs_of(found)["output_shapes"]
        return Dataset(raw.TensorDataset(components(element), output_shapes=shapes, name=name), found)

    @staticmethod
    def from_tensor_slices(tensors: Any, name: str | None = None) -> Dataset:
        """Return a dataset of the slices of tensors along their first axis."""
        element = normalized(tensors)
        whole = structure_of(element)
        for leaf in flatten(whole):
            if leaf.shape.dims == ():
                raise ValueError("Unbatching a tensor is only supported for rank >= 1")
        counts = list(dict.fromkeys(leaf.shape.dims[0] for leaf in flatten(whole) if leaf.shape.dims))
        known = [n for n in counts if n is not None]
        if len(known) > 1:
            raise ValueError(f"Dimensions {known[0]} and {known[1]} are not compatible: tensors that are sliced "
                             f"together have equally many slices")  # fmt: skip
        found = mapped(lambda leaf: leaf.unbatched(), whole)
        shapes = attrs_of(found)["output_shapes"]
        return Dataset(raw.TensorSliceDataset(slice_components(element), output_shapes=shapes, name=name), found)

    @staticmethod
    def from_sparse_tensor_slices(sparse_tensor: Any) -> Dataset:
        """Return a dataset of the slices of a sparse tensor: indices, values and shape of each."""
        s = sparse_tensor
        rank = s.get_shape().ndims
        row = None if rank is None else rank - 1
        leaves = (
            Leaf("tensor", dtypes.int64, Shape((None, row))),
            Leaf("tensor", s.dtype, Shape((None,))),
            Leaf("tensor", dtypes.int64, Shape((row,))),
        )
        return Dataset(raw.SparseTensorSliceDataset(s.indices, s.values, s.dense_shape), leaves)

    @staticmethod
    def from_generator(
        generator: Callable[..., Any], output_types: Any, output_shapes: Any = None, args: Any = None,
        output_signature: Any = None, name: str | None = None,
    ) -> Dataset:  # fmt: skip
        """Return a dataset of what a Python generator yields; it is called anew for each pass.

        Args:
            generator: a function that returns an iterable of elements; it is not saved with the graph.
            output_types: dtypes, in the structure of an element.
            output_shapes: shapes, in the same structure.
            args: tensors that the function is given, as arrays.
        """
        if not callable(generator):
            raise TypeError("`generator` must be callable.")
        return _generated(generator, declared(output_types, output_shapes), args)

    @staticmethod
    def range(*args: Any, **kwargs: Any) -> Dataset:
        """Return a dataset of numbers: ``range(stop)``, ``range(start, stop)`` or ``range(start, stop, step)``."""
        start, stop, step = (0, args[0], 1) if len(args) == 1 else (*args, 1) if len(args) == 2 else args
        kind = kwargs.get("output_type", dtypes.int64)
        leaf = Leaf("tensor", kind, Shape(()))
        limits = [_int64(v, n) for v, n in ((start, "start"), (stop, "stop"), (step, "step"))]
        return Dataset(raw.RangeDataset(*limits, **attrs_of(leaf)), leaf)

    @staticmethod
    def zip(datasets: Any, name: str | None = None) -> Dataset:
        """Return a dataset of elements side by side, in the structure of `datasets`, up to the end of the shortest."""
        flat = flatten(datasets)
        for d in flat:
            if not isinstance(d, Dataset):
                raise TypeError(f"The argument to `Dataset.zip()` must be a nested structure of Dataset, not {d!r}")
        found = pack(datasets, [d._structure for d in flat])
        return Dataset(raw.ZipDataset([d._variant_tensor for d in flat], name=name, **attrs_of(found)), found)

    @staticmethod
    def list_files(file_pattern: Any, shuffle: bool | None = None, seed: int | None = None) -> Dataset:
        """Return a dataset of the files that match patterns, in random order unless `shuffle` is False."""
        with name_scope(None, "list_files"):
            pattern = convert_to_tensor(file_pattern, dtypes.string, name="file_pattern")
            found = raw.MatchingFiles(pattern)
            some = raw.Greater(shape_of(found)[0], 0, name="match_not_empty")
            text = raw.ReduceJoin(
                pattern, np.zeros(0, np.int32) if pattern.get_shape().ndims == 0 else 0, separator=", "
            )
            message = raw.StringJoin([constant("No files matched pattern: "), text], name="message")
            with control_dependencies([raw.Assert(some, [message], summarize=1, name="assert_not_empty")]):
                found = raw.Identity(found)
            dataset = Dataset.from_tensor_slices(found)
            if shuffle is False:
                return dataset
            count = raw.Maximum(shape_of(found, out_type=dtypes.int64)[0], np.int64(1))
            return dataset.shuffle(count, seed=seed)

    # --- one by one ---
    def map(
        self, map_func: Callable[..., Any], num_parallel_calls: Any = None, deterministic: bool | None = None,
        name: str | None = None,
    ) -> Dataset:  # fmt: skip
        """Return a dataset of `map_func` of each element; a tuple's items are arguments of their own."""
        f = traced("map", map_func, self._structure)
        if num_parallel_calls is None:
            return self._next("MapDataset", [f.captured], f.structure, f=f.ref, name=name)
        calls = convert_to_tensor(num_parallel_calls, dtypes.int32, name="num_parallel_calls")
        return self._next("ParallelMapDataset", [f.captured, calls], f.structure, f=f.ref, name=name)

    def flat_map(self, map_func: Callable[..., Any]) -> Dataset:
        """Return a dataset of the elements of the datasets that `map_func` makes, one after the other."""
        f = traced("flat_map", map_func, self._structure)
        return self._next("FlatMapDataset", [f.captured], _inner(f.structure), f=f.ref)

    def interleave(
        self, map_func: Callable[..., Any], cycle_length: Any = AUTOTUNE, block_length: Any = 1,
        num_parallel_calls: Any = None, deterministic: bool | None = None,
    ) -> Dataset:  # fmt: skip
        """Return a dataset of `block_length` elements in turn of each of `cycle_length` datasets of `map_func`."""
        f = traced("interleave", map_func, self._structure)
        cycle, block = _int64(cycle_length, "cycle_length"), _int64(block_length, "block_length")
        if num_parallel_calls is None:
            return self._next("InterleaveDataset", [f.captured, cycle, block], _inner(f.structure), f=f.ref)
        calls = _int64(num_parallel_calls, "num_parallel_calls")
        inputs = [f.captured, cycle, block, calls]
        return self._next("ParallelInterleaveDatasetV2", inputs, _inner(f.structure), f=f.ref)

    def filter(self, predicate: Callable[..., Any]) -> Dataset:
        """Return a dataset of the elements for which `predicate`, a bool scalar, holds."""
        f = traced("filter", predicate, self._structure)
        if not isinstance(f.structure, Leaf) or f.structure.dtype is not dtypes.bool_:
            raise ValueError(
                f"`predicate` return type must be convertible to a scalar boolean tensor, not {f.structure}"
            )
        return self._next("FilterDataset", [f.captured], predicate=f.ref)

    def reduce(self, initial_state: Any, reduce_func: Callable[..., Any]) -> Any:
        """Return what ``reduce_func(state, element)`` makes of all elements, one after the other."""
        state = normalized(initial_state)
        found = structure_of(state)
        f = traced("reduce", lambda s, e: reduce_func(s, e), (found, self._structure))
        made = raw.ReduceDataset(self._variant_tensor, components(state), f.captured, f=f.ref, **attrs_of(f.structure))
        return rebuilt(f.structure, made)

    # --- how many, in what order ---
    def repeat(self, count: Any = None) -> Dataset:
        """Return the elements over and over, `count` times; without end for None or -1."""
        return self._next("RepeatDataset", [_int64(-1 if count is None else count, "count")])

    def take(self, count: Any) -> Dataset:
        """Return the first `count` elements; all for -1."""
        return self._next("TakeDataset", [_int64(count, "count")])

    def skip(self, count: Any) -> Dataset:
        """Return the elements behind the first `count`."""
        return self._next("SkipDataset", [_int64(count, "count")])

    def shard(self, num_shards: Any, index: Any) -> Dataset:
        """Return every `num_shards`-th element, from number `index` on."""
        return self._next("ShardDataset", [_int64(num_shards, "num_shards"), _int64(index, "index")])

    def shuffle(self, buffer_size: Any, seed: Any = None, reshuffle_each_iteration: bool | None = None) -> Dataset:
        """Return the elements in random order: each time one of the next `buffer_size`.

        Args:
            buffer_size: how many elements are held, an int64 scalar.
            seed: makes the order repeat; it is TensorFlow's.
            reshuffle_each_iteration: another order in each pass (the default).
        """
        size = _int64(buffer_size, "buffer_size")
        again = reshuffle_each_iteration is not False
        return self._next("ShuffleDataset", [size, *seeds(seed)], reshuffle_each_iteration=again)

    def concatenate(self, dataset: Dataset) -> Dataset:
        """Return the elements of this dataset, then those of another one of the same kind."""
        if len(flatten(self._structure)) != len(flatten(dataset._structure)) or any(
            a.dtype is not b.dtype for a, b in zip(flatten(self._structure), flatten(dataset._structure), strict=True)
        ):
            raise TypeError(f"Two datasets to concatenate have different types {self.output_types} and "
                            f"{dataset.output_types}")  # fmt: skip
        found = common(self._structure, dataset._structure)
        return self._next("ConcatenateDataset", [dataset._variant_tensor], found)

    def enumerate(self, start: Any = 0) -> Dataset:
        """Return pairs of a number and an element."""
        return Dataset.zip((Dataset.range(start, np.iinfo(np.int64).max), self))

    # --- batches ---
    def batch(self, batch_size: Any, drop_remainder: bool = False, **hints: Any) -> Dataset:
        """Return elements stacked, `batch_size` at a time; without a smaller last batch for `drop_remainder`."""
        size, drop = _int64(batch_size, "batch_size"), _drop(drop_remainder)
        n = _batch_size(size, drop)
        return self._next("BatchDatasetV2", [size, drop], mapped(lambda leaf: leaf.batched(n), self._structure))

    def padded_batch(
        self, batch_size: Any, padded_shapes: Any = None, padding_values: Any = None, drop_remainder: bool = False
    ) -> Dataset:
        """Return elements filled up to one shape and stacked, `batch_size` at a time.

        Args:
            batch_size: elements per batch.
            padded_shapes: the shapes, in the structure of an element; None (or -1) for a size that is to be the
                largest of the batch. All such where it is None.
            padding_values: what to fill with, in the structure of an element (or one for all); else zeros, empty
                strings.
            drop_remainder: leave a smaller last batch out.
        """
        leaves = flatten(self._structure)
        shapes = self.output_shapes if padded_shapes is None else padded_shapes
        wanted = [_size_vector(s) for s in _for_each(self._structure, shapes)]
        values = [None] * len(leaves) if padding_values is None else _for_each(self._structure, padding_values)
        fills = [_fill(v, leaf) for v, leaf in zip(values, leaves, strict=True)]
        size, drop = _int64(batch_size, "batch_size"), _drop(drop_remainder)
        n = _batch_size(size, drop)
        sizes = [constant_value_as_shape(s).static for s in wanted]
        padded = [Leaf("tensor", leaf.dtype, s).batched(n) for s, leaf in zip(sizes, leaves, strict=True)]
        found = pack(self._structure, padded)
        shown = attrs_of(found)["output_shapes"]
        made = raw.PaddedBatchDatasetV2(self._variant_tensor, size, wanted, fills, drop, output_shapes=shown)
        return Dataset(made, found)

    def unbatch(self) -> Dataset:
        """Return the slices of elements along their first axis."""
        return self._next("UnbatchDataset", [], mapped(lambda leaf: leaf.unbatched(), self._structure))

    def window(self, size: Any, shift: Any = None, stride: Any = 1, drop_remainder: bool = False) -> Dataset:
        """Return datasets of `size` elements, every `stride`-th one, each starting `shift` behind the one before."""
        found = mapped(lambda leaf: Leaf("dataset", dtypes.variant, Shape(()), inner=leaf), self._structure)
        inputs = [_int64(size, "size"), _int64(size if shift is None else shift, "shift"), _int64(stride, "stride")]
        return self._next("WindowDataset", [*inputs, _drop(drop_remainder)], found)

    # --- ahead of time, once ---
    def prefetch(self, buffer_size: Any = AUTOTUNE) -> Dataset:
        """Return the same elements, up to `buffer_size` of them made ahead by a thread of their own."""
        with colocate_with(self._variant_tensor):
            return self._next("PrefetchDataset", [_int64(buffer_size, "buffer_size")])

    def cache(self, filename: Any = "") -> Dataset:
        """Return the same elements, made once and kept in memory."""
        return self._next("CacheDataset", [convert_to_tensor(filename, dtypes.string, name="filename")])

    # --- using ---
    def apply(self, transformation_func: Callable[[Dataset], Dataset]) -> Dataset:
        """Return what a function makes of this dataset."""
        made = transformation_func(self)
        if not isinstance(made, Dataset):
            raise TypeError(f"`transformation_func` must return a Dataset, not {made!r}")
        return made

    def with_options(self, options: Any) -> Dataset:
        """Return this dataset: options are hints."""
        return self

    def options(self) -> Any:
        """Return options, all at their defaults."""
        return Options()

    def make_one_shot_iterator(self) -> iterators.Iterator:
        """Return an iterator that begins by itself and goes to the end once."""
        return iterators.one_shot(self)

    def make_initializable_iterator(self, shared_name: str | None = None) -> iterators.Iterator:
        """Return an iterator whose `initializer` must be run first, and may be run again."""
        return iterators.initializable(self, shared_name)

    def __iter__(self) -> Any:
        raise RuntimeError("dataset.__iter__() is only supported when eager execution is enabled.")


class Options:
    """Hints about how a dataset is to be run; kept, not used."""

    def __init__(self) -> None:
        self.__dict__["_kept"] = {}

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self._kept.setdefault(name, Options())

    def __setattr__(self, name: str, value: Any) -> None:
        self._kept[name] = value


def _inner(found: Structure) -> Structure:
    if not isinstance(found, Leaf) or found.kind != "dataset":
        raise TypeError("`map_func` must return a `Dataset` object.")
    return found.inner


def _drop(value: Any) -> Tensor:
    return convert_to_tensor(value, dtypes.bool_, name="drop_remainder")


def _batch_size(size: Tensor, drop: Tensor) -> int | None:
    n, always = constant_value(size), constant_value(drop)
    return int(n) if n is not None and always is not None and bool(always) else None


def _for_each(structure: Structure, given: Any) -> list[Any]:
    """Return a value for each leaf: `given` in its structure, or the same for all."""
    if isinstance(structure, Leaf):
        return [given]
    if isinstance(given, (tuple, dict)):
        return flatten_up_to(structure, given)
    return [given] * len(flatten(structure))


def _size_vector(shape: Any) -> Tensor:
    if isinstance(shape, Tensor):
        return convert_to_tensor(shape, dtypes.int64)
    dims = as_static([None if d == -1 else d for d in shape] if isinstance(shape, (list, tuple)) else shape).dims
    if dims is None:
        raise ValueError("`padded_shapes` must be given for elements of unknown rank")
    return convert_to_tensor(np.array([-1 if d is None else d for d in dims], np.int64))


def _fill(value: Any, leaf: Leaf) -> Tensor:
    if leaf.kind != "tensor":
        raise TypeError("Batching of padded sparse tensors is not currently supported")
    if value is None:
        value = b"" if leaf.dtype is dtypes.string else np.zeros((), leaf.dtype.numpy)
    return convert_to_tensor(value, leaf.dtype, name="padding_value")


# --- generators ---
class _Running:
    """The generators of one dataset that are running, by number."""

    def __init__(self, generator: Callable[..., Any], structure: Structure) -> None:
        self._generator, self._structure = generator, structure
        self._running: dict[int, Any] = {}
        self._count = 0

    def begin(self, *args: Any) -> Any:
        self._count += 1
        self._running[self._count] = iter(self._generator(*args))
        return np.int64(self._count)

    def next(self, number: Any) -> list[Any]:
        values = next(self._running[int(number)])
        try:
            parts = flatten_up_to(self._structure, values)
        except (TypeError, ValueError, KeyError) as e:
            raise TypeError(f"`generator` yielded an element that did not match the expected structure. The expected "
                            f"structure was {iterators.types_of(self._structure)}, but the yielded element was "
                            f"{values!r}.") from e  # fmt: skip
        return [_yielded(p, leaf) for p, leaf in zip(parts, flatten(self._structure), strict=True)]

    def end(self, number: Any) -> Any:
        del self._running[int(number)]
        return np.int64(0)


def _yielded(value: Any, leaf: Leaf) -> Any:
    array = np.asarray(value, None if leaf.dtype is dtypes.string else leaf.dtype.numpy)
    if not TensorShape(leaf.shape).is_compatible_with(TensorShape(array.shape)):
        raise TypeError(f"`generator` yielded an element of shape {array.shape} where an element of shape "
                        f"{TensorShape(leaf.shape)} was expected.")  # fmt: skip
    return array


def _generated(generator: Callable[..., Any], structure: Structure, args: Any) -> Dataset:
    running = _Running(generator, structure)
    flat = flatten(structure)
    number = Leaf("tensor", dtypes.int64, Shape(()))
    given = tuple(convert_to_tensor(a, name="args") for a in args or ())
    kinds = structure_of(given)

    def begin(*tensors: Any) -> Any:
        return _scalar(python_call(running.begin, tensors, [dtypes.int64]))

    def next_(at: Any) -> Any:
        made = python_call(running.next, [at], [leaf.dtype for leaf in flat])
        for t, leaf in zip(made, flat, strict=True):
            t.set_shape(leaf.shape)
        return tuple(made)

    def end(at: Any) -> Any:
        return _scalar(python_call(running.end, [at], [dtypes.int64]))

    def dataset(*tensors: Any) -> Dataset:
        started, each, ended = traced("init", begin, kinds), traced("next", next_, number), traced("end", end, number)
        made = raw.GeneratorDataset(
            list(tensors), [], [], init_func=started.ref, next_func=each.ref, finalize_func=ended.ref,
            **attrs_of(structure),
        )  # fmt: skip
        return Dataset(made, structure)

    if given:
        return Dataset.from_tensors(given).flat_map(dataset)
    return Dataset.from_tensors(0).flat_map(lambda _: dataset())


def _scalar(made: Any) -> Tensor:
    made[0].set_shape([])
    return made[0]  # type: ignore[no-any-return]


__all__ = ["AUTOTUNE", "Dataset", "Options"]
