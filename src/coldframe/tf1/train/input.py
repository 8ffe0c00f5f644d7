"""Input pipelines of queues: `string_input_producer`, `batch`, `shuffle_batch` and their kin.

::

    file names ──► queue ──► reader ──► an example ──► queue ──► batches          a QueueRunner fills each queue
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from coldframe import dtypes
from coldframe.tf1.data_flow import FIFOQueue, PaddingFIFOQueue, QueueBase, RandomShuffleQueue
from coldframe.tf1.dependencies import no_op
from coldframe.tf1.framework.build import raw
from coldframe.tf1.framework.convert import SparseTensor, constant, constant_value, convert_to_tensor, is_tensor_like
from coldframe.tf1.framework.graph import control_dependencies, get_default_graph, name_scope
from coldframe.tf1.framework.keys import GraphKeys
from coldframe.tf1.framework.shape import TensorShape
from coldframe.tf1.framework.sizes import shape_of
from coldframe.tf1.framework.tensor import Tensor
from coldframe.tf1.random_ops import random_shuffle
from coldframe.tf1.sparse_ops import deserialize_many_sparse
from coldframe.tf1.train.queue_runner import QueueRunner, add_queue_runner
from coldframe.tf1.variables import Variable

_Make = Callable[[list[Any], list[TensorShape]], QueueBase]  # of dtypes and shapes
_Fill = Callable[[QueueBase], tuple[str, Tensor]]  # the name and value of a summary that tells how full a queue is
_EMPTY = "string_input_producer requires a non-null input tensor"


def match_filenames_once(pattern: Any, name: str | None = None) -> Variable:
    """Return a local variable that its initializer sets to the files that match `pattern`, a string or several."""
    with name_scope(name, "matching_filenames", [pattern]) as scope:
        return Variable(
            raw.MatchingFiles(pattern), trainable=False, validate_shape=False, name=scope,
            collections=[GraphKeys.LOCAL_VARIABLES],
        )  # fmt: skip


def limit_epochs(tensor: Any, num_epochs: int | None = None, name: str | None = None) -> Any:
    """Return `tensor`, `num_epochs` times; then the end of input is raised. None: without end.

    The count is a local variable: run `local_variables_initializer`.
    """
    if num_epochs is None:
        return tensor
    if num_epochs <= 0:
        raise ValueError(f"num_epochs must be > 0 not {num_epochs}.")
    with name_scope(name, "limit_epochs", [tensor]) as scope:
        zero = constant(0, dtypes.int64)
        epochs = Variable(zero, name="epochs", trainable=False, collections=[GraphKeys.LOCAL_VARIABLES])
        with control_dependencies([epochs.count_up_to(num_epochs)]):
            return raw.Identity(tensor, name=scope)


# --- producers ---
def input_producer(
    input_tensor: Any, element_shape: Any = None, num_epochs: int | None = None, shuffle: bool = True,
    seed: int | None = None, capacity: int = 32, shared_name: str | None = None, summary_name: str | None = None,
    name: str | None = None, cancel_op: Any = None,
) -> FIFOQueue:  # fmt: skip
    """Return a queue of the rows of `input_tensor`, over and over, and a queue runner for it.

    Args:
        input_tensor: a tensor, one row per element.
        element_shape: the shape of a row, where it is not known.
        num_epochs: how often; None: without end.
        shuffle: in another random order each time.
        seed: makes that order repeat.
        capacity, shared_name: of the queue.
        summary_name: of a summary that tells how full it is.
        cancel_op: of the queue runner.
    """
    with name_scope(name, "input_producer", [input_tensor]):
        rows = convert_to_tensor(input_tensor, name="input_tensor")
        shape = rows.get_shape()[1:].merge_with(element_shape)
        if not shape.is_fully_defined():
            raise ValueError(
                "Either `input_tensor` must have a fully defined shape or `element_shape` must be specified"
            )
        if shuffle:
            rows = random_shuffle(rows, seed=seed)
        rows = limit_epochs(rows, num_epochs)
        queue = FIFOQueue(capacity, [rows.dtype], [shape], shared_name=shared_name, name=name)
        runner = QueueRunner(queue, [queue.enqueue_many([rows])], cancel_op=cancel_op)
        add_queue_runner(runner)
        if summary_name is not None:
            _summary(summary_name, raw.Cast(queue.size(), DstT=dtypes.float32) * (1.0 / capacity))
        return queue


def _summary(name: str, value: Tensor) -> None:
    """Add a scalar summary of `value` to the collection of summaries."""
    graph = get_default_graph()
    with graph.name_scope(name) as scope:
        tag = constant(scope.rstrip("/"), name="tags")
        made = raw.ScalarSummary(tag, value, name=scope)
    graph.add_to_collection(GraphKeys.SUMMARIES, made)


def string_input_producer(
    string_tensor: Any, num_epochs: int | None = None, shuffle: bool = True, seed: int | None = None,
    capacity: int = 32, shared_name: str | None = None, name: str | None = None, cancel_op: Any = None,
) -> FIFOQueue:  # fmt: skip
    """Return a queue of strings, such as file names; see `input_producer`."""
    if not is_tensor_like(string_tensor) and not np.size(string_tensor):
        raise ValueError(_EMPTY)
    with name_scope(name, "input_producer", [string_tensor]) as scope:
        strings = convert_to_tensor(string_tensor, dtypes.string)
        some = _size(strings) > 0
        with name_scope(None, "Assert", [some]):
            constant(_EMPTY)
            check = raw.Assert(some, [_EMPTY], name="Assert")
        with control_dependencies([check]):
            strings = raw.Identity(strings)
        return input_producer(
            strings, [], num_epochs, shuffle, seed, capacity, shared_name, f"fraction_of_{capacity}_full", scope,
            cancel_op,
        )  # fmt: skip


def _size(tensor: Tensor) -> Tensor:
    known = tensor.get_shape().num_elements()
    made: Tensor = constant(known, dtypes.int32, name="Size") if known is not None else raw.Size(tensor)
    return made


def range_input_producer(
    limit: Any, num_epochs: int | None = None, shuffle: bool = True, seed: int | None = None, capacity: int = 32,
    shared_name: str | None = None, name: str | None = None,
) -> FIFOQueue:  # fmt: skip
    """Return a queue of the numbers below `limit`; see `input_producer`."""
    with name_scope(name, "input_producer", [limit]) as scope:
        with name_scope(None, "range", [limit]) as inner:
            start = constant(0, dtypes.int32, name="start")
            limit = convert_to_tensor(limit, dtypes.int32, name="limit")
            numbers = raw.Range(start, limit, constant(1, dtypes.int32, name="delta"), name=inner)
        return input_producer(
            numbers, [], num_epochs, shuffle, seed, capacity, shared_name, f"fraction_of_{capacity}_full", scope
        )


def slice_input_producer(
    tensor_list: Sequence[Any], num_epochs: int | None = None, shuffle: bool = True, seed: int | None = None,
    capacity: int = 32, shared_name: str | None = None, name: str | None = None,
) -> list[Tensor]:  # fmt: skip
    """Return one row of each tensor at a time, the same row of all; see `input_producer`."""
    with name_scope(name, "input_producer", list(tensor_list)):
        tensors = [convert_to_tensor(t) for t in tensor_list]
        if not tensors:
            raise ValueError("Expected at least one tensor in slice_input_producer().")
        count = shape_of(tensors[0])[0]
        queue = range_input_producer(count, num_epochs, shuffle, seed, capacity, shared_name)
        index = queue.dequeue()
        return [raw.GatherV2(t, index, 0) for t in tensors]


# --- batches ---
class _Structure:
    """How the examples came, a list, a dict or a single tensor, so that batches leave in the same way.

    Sparse tensors go through the queue as strings, three for each example.
    """

    def __init__(self, tensors: Any, *, many: bool) -> None:
        self.keys = sorted(tensors) if isinstance(tensors, Mapping) else None
        self.single = not isinstance(tensors, (list, tuple, Mapping))
        self.many = many
        self.sparse = [v if isinstance(v, SparseTensor) else None for v in self._values(tensors)]

    def _values(self, tensors: Any) -> list[Any]:
        if self.keys is not None:
            return [tensors[k] for k in self.keys]
        return [tensors] if self.single else list(tensors)

    def flat(self, tensors: Any) -> list[Tensor]:
        """Return what goes into the queue, as a list."""
        values = self._values(tensors)
        if not values:
            raise ValueError("Expected at least one tensor in batch().")
        kinds = [isinstance(v, SparseTensor) for v in values]
        if kinds != [v is not None for v in self.sparse]:
            raise TypeError("Expected the same tensors of all lists to be sparse.")
        return [self._serialized(v) if isinstance(v, SparseTensor) else convert_to_tensor(v) for v in values]

    def _serialized(self, value: SparseTensor) -> Tensor:
        store = raw.SerializeManySparse if self.many else raw.SerializeSparse
        made: Tensor = store(value.indices, value.values, value.dense_shape)
        made.set_shape([None, 3] if self.many else [3])
        return made

    def shapes(self, given: Any) -> Any:
        """Return the shapes that a program gave, with those of the strings in place of sparse tensors'."""
        if given is None:
            return None
        return [[3] if v is not None else shape for v, shape in zip(self.sparse, given, strict=True)]

    def like(self, made: Any) -> Any:
        """Return what a queue gave as the examples came."""
        if any(v is not None for v in self.sparse):
            listed = made if isinstance(made, list) else [made]
            listed = [t if v is None else self._sparse(t, v) for t, v in zip(listed, self.sparse, strict=True)]
            made = listed if isinstance(made, list) else listed[0]
        if self.keys is None:
            return made  # of a list of one tensor a tensor: so TensorFlow does
        return dict(zip(self.keys, made if isinstance(made, list) else [made], strict=True))

    def _sparse(self, strings: Tensor, example: SparseTensor) -> SparseTensor:
        rank = example.get_shape().ndims
        if rank is not None and self.many:
            rank -= 1
        return deserialize_many_sparse(strings, example.dtype, rank)


def _shapes(lists: Sequence[Sequence[Tensor]], given: Any, *, many: bool) -> list[TensorShape]:
    if given is not None:
        return [TensorShape(s) for s in given]
    return [_common([t.get_shape().with_rank_at_least(1)[1:] if many else t.get_shape() for t in c])
            for c in zip(*lists, strict=True)]  # fmt: skip


def _common(shapes: Sequence[TensorShape]) -> TensorShape:
    """Return what all shapes share; dimensions that differ are open."""
    ranks = {s.ndims for s in shapes}
    if len(ranks) > 1 or None in ranks:
        return TensorShape(None)
    columns = zip(*(s.as_list() for s in shapes), strict=True)
    return TensorShape([c[0] if len(set(c)) == 1 else None for c in columns])


def _same_types(lists: Sequence[Sequence[Tensor]]) -> list[Any]:
    kinds = [[t.dtype for t in tensors] for tensors in lists]
    if any(k != kinds[0] for k in kinds):
        raise TypeError(f"Expected types to be consistent: {', '.join(str([d.name for d in k]) for k in kinds)}.")
    return kinds[0]


def _keep(keep_input: Any, *, many: bool) -> Tensor:
    keep = convert_to_tensor(keep_input)
    if keep.get_shape().ndims is None:
        raise ValueError("`keep_input` dimensions must be known at graph construction.")
    if not many and keep.get_shape().ndims == 1:
        raise ValueError("`keep_input` cannot be a vector when `enqueue_many=False`.")
    return keep


def _enqueue(queue: QueueBase, lists: Sequence[list[Tensor]], threads: int, keep: Tensor, *, many: bool) -> None:
    """Add a queue runner for `queue`, with `threads` threads for each list of tensors."""
    add = queue.enqueue_many if many else queue.enqueue
    ops = []
    for tensors in lists:
        if keep.get_shape().ndims == 1:
            chosen = raw.Cast(keep, DstT=dtypes.int32)
            ops.append(add([raw.DynamicPartition(t, chosen, num_partitions=2)[1] for t in tensors]))
        else:
            ops.append(_when(keep, functools.partial(add, tensors)))
    add_queue_runner(QueueRunner(queue, ops if len(lists) > 1 else ops * threads))


def _when(keep: Tensor, add: Callable[[], Any]) -> Any:
    known = constant_value(keep)
    if known is not None:
        return add() if bool(known) else no_op()
    from coldframe.tf1.control_flow import cond  # only here: it needs much of the rest

    return cond(keep, add, no_op)


class _Batch:
    """What the functions below have in common: one queue, several lists of tensors to fill it from."""

    def __init__(
        self, lists: Sequence[Any], keep_input: Any, name: str | None, default: str, *, many: bool, shapes: Any
    ) -> None:
        if not lists:
            raise ValueError("Expected at least one list of tensors.")
        self.lists, self.keep_input, self.name, self.default = lists, keep_input, name, default
        self.many, self.shapes = many, shapes

    def build(self, queues: tuple[_Make, _Fill], batch_size: Any, threads: int, *, smaller: bool) -> Any:
        make, fill = queues
        structure = _Structure(self.lists[0], many=self.many)
        values = [v for item in self.lists for v in (item.values() if isinstance(item, Mapping) else _listed(item))]
        with name_scope(self.name, self.default, [v for v in values if isinstance(v, Tensor)]) as scope:
            flat = [structure.flat(item) for item in self.lists]
            keep = _keep(self.keep_input, many=self.many)
            queue = make(_same_types(flat), _shapes(flat, structure.shapes(self.shapes), many=self.many))
            _enqueue(queue, flat, threads, keep, many=self.many)
            _summary(*fill(queue))
            take = queue.dequeue_up_to if smaller else queue.dequeue_many
            return structure.like(take(batch_size, name=scope))


def _listed(item: Any) -> Sequence[Any]:
    return item if isinstance(item, (list, tuple)) else [item]


def _plain(capacity: int, dynamic_pad: bool, shared_name: str | None) -> tuple[_Make, _Fill]:
    kind: Any = PaddingFIFOQueue if dynamic_pad else FIFOQueue

    def fill(queue: QueueBase) -> tuple[str, Tensor]:
        share = raw.Cast(queue.size(), DstT=dtypes.float32) * (1.0 / capacity)
        return f"fraction_of_{capacity}_full", share

    return lambda types, shapes: kind(capacity, types, shapes, shared_name=shared_name), fill


def _shuffling(capacity: int, reserve: int, seed: int | None, shared_name: str | None) -> tuple[_Make, _Fill]:
    def fill(queue: QueueBase) -> tuple[str, Tensor]:
        above = raw.Maximum(0, queue.size() - reserve)
        share = raw.Cast(above, DstT=dtypes.float32) * (1.0 / (capacity - reserve))
        return f"fraction_over_{reserve}_of_{capacity - reserve}_full", share

    def make(types: list[Any], shapes: list[TensorShape]) -> QueueBase:
        return RandomShuffleQueue(capacity, reserve, types, shapes, seed=seed, shared_name=shared_name)

    return make, fill


def maybe_batch(
    tensors: Any, keep_input: Any, batch_size: Any, num_threads: int = 1, capacity: int = 32,
    enqueue_many: bool = False, shapes: Any = None, dynamic_pad: bool = False, allow_smaller_final_batch: bool = False,
    shared_name: str | None = None, name: str | None = None,
) -> Any:  # fmt: skip
    """As `batch`, of those examples for which `keep_input` (a bool scalar; with `enqueue_many` a vector) holds."""
    parts = _Batch([tensors], keep_input, name, "batch", many=enqueue_many, shapes=shapes)
    how = _plain(capacity, dynamic_pad, shared_name)
    return parts.build(how, batch_size, num_threads, smaller=allow_smaller_final_batch)


def batch(
    tensors: Any, batch_size: Any, num_threads: int = 1, capacity: int = 32, enqueue_many: bool = False,
    shapes: Any = None, dynamic_pad: bool = False, allow_smaller_final_batch: bool = False,
    shared_name: str | None = None, name: str | None = None,
) -> Any:  # fmt: skip
    """Return batches of the examples that `tensors` make, run after run, through a queue with a queue runner.

    Args:
        tensors: a tensor, or a list or dict of tensors, sparse ones too: one example, or with `enqueue_many` several
            along the first axis.
        batch_size: examples per batch.
        num_threads: threads that fill the queue.
        capacity: the most examples that wait.
        enqueue_many: see `tensors`.
        shapes: of an example, where they are not known.
        dynamic_pad: examples differ in size; those of a batch are filled up with zeros.
        allow_smaller_final_batch: give what is left at the end.
        shared_name, name: of the queue; of the operation that takes a batch.

    Returns:
        Tensors in the structure of `tensors`, with a first axis more; a tensor for a list of one.
    """
    return maybe_batch(
        tensors, True, batch_size, num_threads, capacity, enqueue_many, shapes, dynamic_pad, allow_smaller_final_batch,
        shared_name, name,
    )  # fmt: skip


def maybe_batch_join(
    tensors_list: Sequence[Any], keep_input: Any, batch_size: Any, capacity: int = 32, enqueue_many: bool = False,
    shapes: Any = None, dynamic_pad: bool = False, allow_smaller_final_batch: bool = False,
    shared_name: str | None = None, name: str | None = None,
) -> Any:  # fmt: skip
    """As `batch_join`, of those examples for which `keep_input` holds."""
    parts = _Batch(tensors_list, keep_input, name, "batch_join", many=enqueue_many, shapes=shapes)
    how = _plain(capacity, dynamic_pad, shared_name)
    return parts.build(how, batch_size, 1, smaller=allow_smaller_final_batch)


def batch_join(
    tensors_list: Sequence[Any], batch_size: Any, capacity: int = 32, enqueue_many: bool = False, shapes: Any = None,
    dynamic_pad: bool = False, allow_smaller_final_batch: bool = False, shared_name: str | None = None,
    name: str | None = None,
) -> Any:  # fmt: skip
    """As `batch`, from several sources of examples, with a thread for each."""
    return maybe_batch_join(
        tensors_list, True, batch_size, capacity, enqueue_many, shapes, dynamic_pad, allow_smaller_final_batch,
        shared_name, name,
    )  # fmt: skip


def maybe_shuffle_batch(
    tensors: Any, batch_size: Any, capacity: int, min_after_dequeue: int, keep_input: Any, num_threads: int = 1,
    seed: int | None = None, enqueue_many: bool = False, shapes: Any = None, allow_smaller_final_batch: bool = False,
    shared_name: str | None = None, name: str | None = None,
) -> Any:  # fmt: skip
    """As `shuffle_batch`, of those examples for which `keep_input` holds."""
    parts = _Batch([tensors], keep_input, name, "shuffle_batch", many=enqueue_many, shapes=shapes)
    how = _shuffling(capacity, min_after_dequeue, seed, shared_name)
    return parts.build(how, batch_size, num_threads, smaller=allow_smaller_final_batch)


def shuffle_batch(
    tensors: Any, batch_size: Any, capacity: int, min_after_dequeue: int, num_threads: int = 1,
    seed: int | None = None, enqueue_many: bool = False, shapes: Any = None, allow_smaller_final_batch: bool = False,
    shared_name: str | None = None, name: str | None = None,
) -> Any:  # fmt: skip
    """As `batch`, in random order.

    Args:
        min_after_dequeue: examples that must stay in the queue, so that there is something to choose from.
        seed: makes the order repeat.
    """
    return maybe_shuffle_batch(
        tensors, batch_size, capacity, min_after_dequeue, True, num_threads, seed, enqueue_many, shapes,
        allow_smaller_final_batch, shared_name, name,
    )  # fmt: skip


def maybe_shuffle_batch_join(
    tensors_list: Sequence[Any], batch_size: Any, capacity: int, min_after_dequeue: int, keep_input: Any,
    seed: int | None = None, enqueue_many: bool = False, shapes: Any = None, allow_smaller_final_batch: bool = False,
    shared_name: str | None = None, name: str | None = None,
) -> Any:  # fmt: skip
    """As `shuffle_batch_join`, of those examples for which `keep_input` holds."""
    parts = _Batch(tensors_list, keep_input, name, "shuffle_batch_join", many=enqueue_many, shapes=shapes)
    how = _shuffling(capacity, min_after_dequeue, seed, shared_name)
    return parts.build(how, batch_size, 1, smaller=allow_smaller_final_batch)


def shuffle_batch_join(
    tensors_list: Sequence[Any], batch_size: Any, capacity: int, min_after_dequeue: int, seed: int | None = None,
    enqueue_many: bool = False, shapes: Any = None, allow_smaller_final_batch: bool = False,
    shared_name: str | None = None, name: str | None = None,
) -> Any:  # fmt: skip
    """As `shuffle_batch`, from several sources of examples, with a thread for each."""
    return maybe_shuffle_batch_join(
        tensors_list, batch_size, capacity, min_after_dequeue, True, seed, enqueue_many, shapes,
        allow_smaller_final_batch, shared_name, name,
    )  # fmt: skip


__all__ = [
    "batch", "batch_join", "input_producer", "limit_epochs", "match_filenames_once", "maybe_batch",
    "maybe_batch_join", "maybe_shuffle_batch", "maybe_shuffle_batch_join", "range_input_producer", "shuffle_batch",
    "shuffle_batch_join", "slice_input_producer", "string_input_producer",
]  # fmt: skip
