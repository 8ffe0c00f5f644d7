"""Elements by index, by condition and by key, with TF1's Python arguments."""

from __future__ import annotations

from typing import Any

import numpy as np

from coldframe import dtypes
from coldframe.tf1.framework.build import raw
from coldframe.tf1.framework.convert import SparseTensor, constant, constant_value, convert_to_tensor
from coldframe.tf1.framework.dtype import as_dtype
from coldframe.tf1.framework.graph import name_scope
from coldframe.tf1.framework.tensor import Tensor
from coldframe.tf1.shape_ops import (
    broadcast_to,
    concat,
    expand_dims,
    meshgrid,
    ones,
    ones_like,
    rank,
    reshape,
    shape,
    shape_internal,
    squeeze,
    stack,
    tile,
    transpose,
    unstack,
    zeros,
)
from coldframe.tf1.simple import simple

# --- one node each ------------------------------------------------------------------------------------------------
scatter_nd = simple("scatter_nd(indices, updates, shape) -> ScatterNd")
tensor_scatter_update = simple("tensor_scatter_update(tensor, indices, updates) -> TensorScatterUpdate")
tensor_scatter_nd_update = tensor_scatter_update
tensor_scatter_add = tensor_scatter_nd_add = simple("tensor_scatter_add(tensor, indices, updates) -> TensorScatterAdd")
tensor_scatter_sub = tensor_scatter_nd_sub = simple("tensor_scatter_sub(tensor, indices, updates) -> TensorScatterSub")
tensor_scatter_nd_max = simple("tensor_scatter_nd_max(tensor, indices, updates) -> TensorScatterMax")
tensor_scatter_nd_min = simple("tensor_scatter_nd_min(tensor, indices, updates) -> TensorScatterMin")
dynamic_partition = simple("dynamic_partition(data, partitions, num_partitions) -> DynamicPartition")
dynamic_stitch = simple("dynamic_stitch(indices, data) -> DynamicStitch")
parallel_dynamic_stitch = simple("parallel_dynamic_stitch(indices, data) -> ParallelDynamicStitch")
select = simple("select(condition, x:t, y:e) -> Select")


# --- by condition -------------------------------------------------------------------------------------------------
def where(condition: Any, x: Any = None, y: Any = None, name: str | None = None) -> Any:
    """Return elements of `x` where `condition` holds, else of `y`; without both, the indices where it holds.

    `condition` has the shape of `x` and `y`, or is a vector that chooses whole rows.
    """
    if (x is None) != (y is None):
        raise ValueError("x and y must both be non-None or both be None.")
    if x is not None:
        return raw.Select(condition, x, y, name=name)
    return _indices(condition, name)


def where_v2(condition: Any, x: Any = None, y: Any = None, name: str | None = None) -> Any:
    """Do as `where`, but broadcast all three."""
    if (x is None) != (y is None):
        raise ValueError("x and y must both be non-None or both be None.")
    if x is not None:
        return raw.SelectV2(condition, x, y, name=name)
    return _indices(condition, name)


def _indices(condition: Any, name: str | None) -> Any:
    with name_scope(name, "Where", [condition]) as scope:
        return raw.Where(convert_to_tensor(condition, preferred_dtype=dtypes.bool_, name="condition"), name=scope)


def boolean_mask(tensor: Any, mask: Any, name: str = "boolean_mask", axis: int | None = None) -> Any:
    """Return the elements, or rows, of `tensor` where `mask` holds.

    Args:
        mask: of known rank; its shape is that of the dimensions of `tensor` from `axis` (0) on.
    """
    with name_scope(name, None, [tensor, mask]):
        x, mask = convert_to_tensor(tensor, name="tensor"), convert_to_tensor(mask, name="mask")
        n = mask.static_shape.rank
        if n == 0:
            raise ValueError("mask cannot be scalar.")
        if n is None:
            raise ValueError(
                "Number of mask dimensions must be specified, even if some dimensions are None. E.g. shape=[None] is "
                "ok, but shape=None is not."
            )
        at = 0 if axis is None else int(constant_value(axis))
        known = x.shape
        known[at : at + n].assert_is_compatible_with(mask.shape)
        leading = raw.Prod(shape(x)[at : at + n], [0])
        x = reshape(x, concat([shape(x)[:at], [leading], shape(x)[at + n :]], 0))
        first = known[at : at + n].num_elements()
        x.set_shape(known[:at].concatenate([first]).concatenate(known[at + n :]))
        return gather(x, squeeze(where_v2(reshape(mask, [-1])), [1]), axis=at)


def sequence_mask(lengths: Any, maxlen: Any = None, dtype: Any = dtypes.bool_, name: str | None = None) -> Any:
    """Return ``[..., maxlen]``: whether (1 or 0 in another `dtype`) a position is before the end of its sequence."""
    with name_scope(name, "SequenceMask", [lengths, maxlen]):
        lengths = convert_to_tensor(lengths)
        if maxlen is None:
            longest = raw.Max(lengths, all_axes(lengths))
            longest = raw.Maximum(constant(0, longest.dtype), longest)
        else:
            longest = convert_to_tensor(maxlen)
        if longest.static_shape.rank not in (None, 0):
            raise ValueError(f"Argument `maxlen` must be scalar for sequence_mask, received {longest}")
        row = raw.Range(constant(0, longest.dtype), longest, constant(1, longest.dtype))
        result = row < raw.Cast(expand_dims(lengths, -1), DstT=longest.dtype)
        to = dtypes.bool_ if dtype is None else as_dtype(dtype)
        return result if to is result.dtype else raw.Cast(result, DstT=to)


def all_axes(x: Any) -> Any:
    """Return all axes of `x`, as a constant where its rank is known."""
    n = x.static_shape.rank if isinstance(x, Tensor) else None
    if isinstance(x, SparseTensor):
        n = x.shape.ndims
    return constant(np.arange(n), dtypes.int32) if n is not None else raw.Range(0, rank(x), 1)


# --- by index -----------------------------------------------------------------------------------------------------
def gather(
    params: Any,
    indices: Any,
    validate_indices: Any = None,
    name: str | None = None,
    axis: Any = None,
    batch_dims: int = 0,
) -> Any:
    """Return the slices of `params` at `indices` along `axis`; `validate_indices` is not used.

    Args:
        batch_dims: how many leading dimensions of the two belong together.
    """
    if axis is None:
        axis = batch_dims
    at = constant_value(axis)
    if at is None or at != 0:
        return raw.GatherV2(params, indices, axis, batch_dims=batch_dims, name=name)
    read = getattr(params, "sparse_read", None)  # of variables: only the rows are read
    return read(indices, name=name) if read is not None else raw.GatherV2(params, indices, axis, name=name)


def gather_nd(params: Any, indices: Any, name: str | None = None, batch_dims: int = 0) -> Any:
    """Return the elements or slices of `params` at indices that are vectors."""
    batch = constant_value(batch_dims)
    if batch is not None and int(batch) != 0:
        return _batch_gather_nd(params, indices, int(batch), name)
    read = getattr(params, "gather_nd", None)
    return read(indices, name=name) if read is not None else raw.GatherNd(params, indices, name=name)


def batch_gather(params: Any, indices: Any, name: str | None = None) -> Any:
    """Return ``params[i..., indices[i..., j]]``: all dimensions of `indices` but its last are common to both."""
    with name_scope(name, "BatchGather", [params, indices]):
        indices, params = convert_to_tensor(indices, name="indices"), convert_to_tensor(params, name="params")
        n = indices.static_shape.rank
        if n is None:
            raise ValueError("batch_gather does not allow indices with unknown shape.")
        return _batch_gather(params, indices, n - 1, n)


def _batch_gather(params: Tensor, indices: Tensor, batch_dims: int, n: int) -> Any:
    """Return the gathered rows of `params` with its batch dimensions flattened, so that one Gather does it."""
    indices_shape, params_shape = shape(indices), shape(params)
    at: Any = indices
    dtype = indices.dtype
    step: Any = ones((), dtype)
    sizes = raw.Cast(params_shape, DstT=dtype)
    for dim in range(batch_dims, 0, -1):
        count = sizes[dim - 1]
        step = step * sizes[dim]
        offsets = raw.Range(zeros((), dtype), count, ones((), dtype)) * step
        at = at + reshape(offsets, stack([1] * (dim - 1) + [count] + [1] * (n - dim)))
    flat = reshape(at, [-1])
    outer = params_shape[batch_dims + 1 :]
    rows = raw.Prod(params_shape[: batch_dims + 1], [0], keep_dims=False)
    found = gather(reshape(params, concat([[rows], outer], 0)), flat)
    result = reshape(found, concat([indices_shape, outer], 0))
    known = indices.shape[:batch_dims].merge_with(params.shape[:batch_dims])
    result.set_shape(known.concatenate(indices.shape[batch_dims:]).concatenate(params.shape[batch_dims + 1 :]))
    return result


def _batch_gather_nd(params: Any, indices: Any, batch_dims: int, name: str | None) -> Any:
    """Return what GatherNd finds where each index is prefixed with its place in the batch."""
    with name_scope(name, "BatchGatherND", [params, indices]):
        indices, params = convert_to_tensor(indices, name="indices"), convert_to_tensor(params, name="params")
        if batch_dims < 0:
            raise ValueError("tf.gather_nd does not allow negative batch_dims.")
        for what, t in (("indices", indices), ("params", params)):
            n = t.static_shape.rank
            if n is not None and batch_dims >= n:
                raise ValueError(f"Argument `batch_dims` = {batch_dims} must be less than rank(`{what}`) = {n}")
        params_shape, indices_shape = shape(params), shape(indices)
        batch = params_shape[:batch_dims]
        count = raw.Prod(batch, [0])
        inner_rank = rank(indices) - batch_dims - 1
        inner = indices_shape[batch_dims:-1]
        ranges = [raw.Cast(raw.Range(0, raw.Cast(d, DstT=dtypes.int32), 1), DstT=indices.dtype) for d in unstack(batch)]
        grid = transpose(stack([reshape(g, (-1,)) for g in meshgrid(*ranges, indexing="ij")]))
        grid_shape = shape(grid)
        grid = reshape(grid, concat([grid_shape[:1], ones(inner_rank, grid_shape.dtype), grid_shape[1:]], 0))
        grid = tile(grid, concat(([1], inner, [1]), 0))
        flat = reshape(indices, concat(([count], indices_shape[batch_dims:]), 0))
        found = raw.GatherNd(params, concat((grid, flat), -1))
        return reshape(found, concat((batch, shape(found)[1:]), 0))


def strided_slice(
    input_: Any,
    begin: Any,
    end: Any,
    strides: Any = None,
    begin_mask: int = 0,
    end_mask: int = 0,
    ellipsis_mask: int = 0,
    new_axis_mask: int = 0,
    shrink_axis_mask: int = 0,
    var: Any = None,
    name: str | None = None,
) -> Any:
    """Return what ``input_[begin:end:strides]`` is; bits of the masks say which ends, axes and indices to skip."""
    if strides is None:
        strides = ones_like(begin)
    return raw.StridedSlice(
        input_,
        begin,
        end,
        strides,
        begin_mask=begin_mask,
        end_mask=end_mask,
        ellipsis_mask=ellipsis_mask,
        new_axis_mask=new_axis_mask,
        shrink_axis_mask=shrink_axis_mask,
        name=name,
    )


# --- by order -----------------------------------------------------------------------------------------------------
def searchsorted(
    sorted_sequence: Any, values: Any, side: str = "left", out_type: Any = dtypes.int32, name: str | None = None
) -> Any:
    """Return where `values` would have to go to keep the rows of `sorted_sequence` sorted."""
    if side not in ("left", "right"):
        raise ValueError(f"Argument `side` must be either 'right' or 'left'. Received: `side` = '{side}'.")
    rows = raw.UpperBound if side == "right" else raw.LowerBound
    length, count = shape_internal(sorted_sequence)[-1], shape_internal(values)[-1]
    sequence = reshape(sorted_sequence, [-1, length])
    found = rows(sequence, reshape(values, [-1, count]), out_type=out_type, name=name)
    return reshape(found, shape_internal(values))


def sort(values: Any, axis: Any = -1, direction: str = "ASCENDING", name: str | None = None) -> Any:
    """Return the tensor sorted along `axis`; `direction` is ``"ASCENDING"`` or ``"DESCENDING"``."""
    with name_scope(name, "sort"):
        return _sorted(values, axis, direction, False)


def argsort(
    values: Any, axis: Any = -1, direction: str = "ASCENDING", stable: bool = False, name: str | None = None
) -> Any:
    """Return the indices that sort the tensor along `axis`; equal elements keep their order in any case."""
    with name_scope(name, "argsort"):
        return _sorted(values, axis, direction, True)


def _sorted(values: Any, axis: Any, direction: str, indices: bool) -> Any:
    if direction not in ("ASCENDING", "DESCENDING"):
        raise ValueError(f"Argument `direction` should be one of ASCENDING, DESCENDING. Received: {direction}")
    at = constant_value(convert_to_tensor(axis, name="axis"))
    if at is None or at.ndim:
        raise ValueError(f"Argument `axis` must be a constant scalar. Received: axis={axis}.")
    x = convert_to_tensor(values, name="values")
    if direction == "DESCENDING":
        return _descending(x, int(at), indices)
    top: Any = -1 if x.dtype.kind == "i" else np.iinfo(x.dtype.numpy).max if x.dtype.kind == "u" else None
    flipped = -x if top is None else (top - x if top > 0 else -x - 1)  # an order-reversing map without overflow
    found = _descending(flipped, int(at), indices)
    if indices:
        return found
    return -found if top is None else (top - found if top > 0 else -found - 1)


def _descending(x: Any, axis: int, indices: bool) -> Any:
    k = shape(x)[axis]
    at = rank(x)
    n = x.static_shape.rank
    if axis == -1 or axis + 1 == n:
        return raw.TopKV2(x, k)[1 if indices else 0]
    turn: Any
    if n is not None:
        axis = axis % n
        order = np.arange(n)
        order[[axis, n - 1]] = [n - 1, axis]
        turn = constant(order, dtypes.int64, name="transposition")
    else:
        place = axis + at if axis < 0 else axis
        turn = tensor_scatter_update(raw.Range(0, at, 1), [[place], [at - 1]], [at - 1, place])
    found = raw.TopKV2(transpose(x, turn), k)[1 if indices else 0]
    return transpose(found, turn)


def repeat(input: Any, repeats: Any, axis: int | None = None, name: str | None = None) -> Any:
    """Return the tensor with each slice along `axis` repeated `repeats` times; of no axis, its elements."""
    if axis is None:
        input, axis = reshape(input, [-1]), 0
    with name_scope(name, "Repeat", [input, repeats]):
        x = convert_to_tensor(input, name="data")
        counts = convert_to_tensor(repeats, preferred_dtype=dtypes.int32, name="repeats")
        n = x.static_shape.rank
        if n is None:
            raise ValueError("tf.repeat needs a tensor of known rank")
        if not -n <= axis < n:
            raise ValueError(f"axis={axis} out of bounds: expected {-n}<=axis<{n}")
        axis %= n
        counts = broadcast_to(reshape(counts, [-1]), [shape(x)[axis]])
        ends = raw.Cumsum(raw.Cast(counts, DstT=dtypes.int64), 0)
        total = concat([zeros([1], dtypes.int64), ends], 0)[-1]
        at = searchsorted(ends, raw.Range(constant(0, dtypes.int64), total, constant(1, dtypes.int64)), side="right")
        return gather(x, at, axis=axis)


__all__ = [
    "all_axes", "argsort", "batch_gather", "boolean_mask", "dynamic_partition", "dynamic_stitch", "gather",
    "gather_nd", "parallel_dynamic_stitch", "repeat", "scatter_nd", "searchsorted", "select", "sequence_mask",
    "sort", "strided_slice", "tensor_scatter_add", "tensor_scatter_nd_add", "tensor_scatter_nd_max",
    "tensor_scatter_nd_min", "tensor_scatter_nd_sub", "tensor_scatter_nd_update", "tensor_scatter_sub",
    "tensor_scatter_update", "where", "where_v2",
]  # fmt: skip
