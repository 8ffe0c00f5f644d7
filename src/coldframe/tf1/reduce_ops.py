"""Reductions along axes, and sums over segments of rows, with TF1's Python arguments."""

from __future__ import annotations

from typing import Any

import numpy as np

from coldframe import dtypes
from coldframe.tf1.arithmetic_ops import conj, range
from coldframe.tf1.cast_ops import cast
from coldframe.tf1.framework.build import raw
from coldframe.tf1.framework.convert import constant, convert_to_tensor, is_tensor_like
from coldframe.tf1.framework.graph import name_scope
from coldframe.tf1.framework.tensor import Tensor
from coldframe.tf1.simple import either, simple


# --- reductions ---------------------------------------------------------------------------------------------------
def reduction_axes(x: Any, axis: Any) -> Any:
    """Return the axes to reduce: those given, or all of `x`, as a constant where its rank is known and not 0."""
    if axis is not None:
        return axis
    rank = x.shape.ndims if is_tensor_like(x) else None
    if rank:
        return constant(np.arange(rank, dtype=np.int32))
    from coldframe.tf1.shape_ops import rank as rank_of

    return range(0, rank_of(x))


def _reduce(op: Any, x: Any, axis: Any, keepdims: Any, name: str | None) -> Any:
    y = op(x, reduction_axes(x, axis), keep_dims=bool(keepdims), name=name)
    return _scalar(y, axis, keepdims)


def _scalar(y: Tensor, axis: Any, keepdims: Any) -> Tensor:
    if axis is None and not keepdims and not y.static_shape.is_static:
        y.set_shape(())
    return y


def _reduction(op: Any, what: str) -> Any:
    def function(
        input_tensor: Any,
        axis: Any = None,
        keepdims: Any = None,
        name: str | None = None,
        reduction_indices: Any = None,
        keep_dims: Any = None,
    ) -> Any:
        axis = either("axis", axis, "reduction_indices", reduction_indices)
        keepdims = either("keepdims", keepdims, "keep_dims", keep_dims)
        return _reduce(op, input_tensor, axis, keepdims, name)

    function.__doc__ = f"""Return {what} along `axis`: a number, several, or (None) all.

    Args:
        keepdims: keep the axes, of size 1.
        reduction_indices, keep_dims: former names of `axis` and `keepdims`.
    """
    return function


reduce_sum = _reduction(raw.Sum, "the sum")
reduce_mean = _reduction(raw.Mean, "the mean")
reduce_max = _reduction(raw.Max, "the largest element")
reduce_min = _reduction(raw.Min, "the smallest element")
reduce_prod = _reduction(raw.Prod, "the product")
reduce_all = _reduction(raw.All, "whether all elements hold")
reduce_any = _reduction(raw.Any, "whether any element holds")


def reduce_euclidean_norm(input_tensor: Any, axis: Any = None, keepdims: bool = False, name: str | None = None) -> Any:
    """Return the root of the sum of squares along `axis`."""
    return _reduce(raw.EuclideanNorm, input_tensor, axis, keepdims, name)


def reduce_logsumexp(
    input_tensor: Any,
    axis: Any = None,
    keepdims: Any = None,
    name: str | None = None,
    reduction_indices: Any = None,
    keep_dims: Any = None,
) -> Any:
    """Return ``log(sum(exp(x)))`` along `axis`, without overflow."""
    axis = either("axis", axis, "reduction_indices", reduction_indices)
    keepdims = bool(either("keepdims", keepdims, "keep_dims", keep_dims))
    with name_scope(name, "ReduceLogSumExp", [input_tensor]) as scope:
        top = reduce_max(input_tensor, axis, True)
        top = raw.StopGradient(raw.SelectV2(raw.IsFinite(top), top, 0))
        total = reduce_sum(raw.Exp(raw.Sub(input_tensor, top)), axis, keepdims)
        result = raw.Log(total)
        if not keepdims:
            top = raw.Reshape(top, raw.Shape(result))
        return _scalar(raw.AddV2(result, top, name=scope), axis, keepdims)


def reduce_variance(input_tensor: Any, axis: Any = None, keepdims: bool = False, name: str | None = None) -> Any:
    """Return the variance along `axis`, of the elements themselves (not an estimate from a sample)."""
    with name_scope(name, "reduce_variance"):
        x = convert_to_tensor(input_tensor)
        mean = reduce_mean(x, axis, True)
        if mean.dtype.is_integer:
            raise TypeError(f"Input must be either real or complex. Received integer type {mean.dtype}.")
        diff = x - mean
        if diff.dtype.is_complex:
            real = dtypes.float32 if diff.dtype is dtypes.complex64 else dtypes.float64
            squares = raw.Real(raw.Mul(conj(diff), diff), Tout=real)
        else:
            squares = raw.Square(diff)
        return reduce_mean(squares, axis, keepdims)


def reduce_std(input_tensor: Any, axis: Any = None, keepdims: bool = False, name: str | None = None) -> Any:
    """Return the standard deviation along `axis`, of the elements themselves."""
    with name_scope(name, "reduce_std"):
        return raw.Sqrt(reduce_variance(convert_to_tensor(input_tensor), axis, keepdims))


def count_nonzero(
    input_tensor: Any = None,
    axis: Any = None,
    keepdims: Any = None,
    dtype: Any = dtypes.int64,
    name: str | None = None,
    reduction_indices: Any = None,
    keep_dims: Any = None,
    input: Any = None,
) -> Any:
    """Return the number of elements that are not 0 (or not ``""``) along `axis`."""
    keepdims = bool(either("keepdims", keepdims, "keep_dims", keep_dims))
    axis = either("axis", axis, "reduction_indices", reduction_indices)
    x = either("input", input, "input_tensor", input_tensor)
    from coldframe.tf1.shape_ops import zeros

    with name_scope(name, "count_nonzero", [x]):
        x = convert_to_tensor(x, name="input")
        predicate = x if x.dtype is dtypes.bool_ else raw.NotEqual(x, zeros([], x.dtype))
        return cast(reduce_sum(cast(predicate, dtypes.int64), axis, keepdims), dtype)


def trace(x: Any, name: str | None = None) -> Any:
    """Return the sum of the diagonal of the last two dimensions."""
    from coldframe.tf1.shape_ops import matrix_diag_part

    with name_scope(name, "Trace", [x]) as scope:
        return reduce_sum(matrix_diag_part(convert_to_tensor(x, name="x")), [-1], name=scope)


def lbeta(x: Any, name: str | None = None) -> Any:
    """Return the logarithm of the multivariate beta function, along the last axis."""
    with name_scope(name, "lbeta", [x]):
        x = convert_to_tensor(x, name="x")
        total = reduce_sum(raw.Lgamma(x), [-1])
        return total - raw.Lgamma(reduce_sum(x, [-1]))


# --- segments -----------------------------------------------------------------------------------------------------
segment_sum = simple("segment_sum(data, segment_ids) -> SegmentSum")
segment_mean = simple("segment_mean(data, segment_ids) -> SegmentMean")
segment_prod = simple("segment_prod(data, segment_ids) -> SegmentProd")
segment_max = simple("segment_max(data, segment_ids) -> SegmentMax")
segment_min = simple("segment_min(data, segment_ids) -> SegmentMin")
unsorted_segment_sum = simple("unsorted_segment_sum(data, segment_ids, num_segments) -> UnsortedSegmentSum")
unsorted_segment_prod = simple("unsorted_segment_prod(data, segment_ids, num_segments) -> UnsortedSegmentProd")
unsorted_segment_max = simple("unsorted_segment_max(data, segment_ids, num_segments) -> UnsortedSegmentMax")
unsorted_segment_min = simple("unsorted_segment_min(data, segment_ids, num_segments) -> UnsortedSegmentMin")


def _segment_sizes(data: Any, ids: Any, num_segments: Any) -> Any:
    from coldframe.tf1.shape_ops import concat, ones, rank, reshape, shape_internal

    num_segments = convert_to_tensor(num_segments)
    n = raw.UnsortedSegmentSum(ones(shape_internal(ids), data.dtype), ids, num_segments)
    sizes = concat([num_segments[None], ones([rank(data) - rank(ids)], num_segments.dtype)], 0)
    return raw.Maximum(reshape(n, sizes), 1)


def unsorted_segment_mean(data: Any, segment_ids: Any, num_segments: Any, name: str | None = None) -> Any:
    """Return the mean of the rows of each segment; 0 for a segment without rows."""
    with name_scope(name, "UnsortedSegmentMean"):
        data, ids = convert_to_tensor(data), convert_to_tensor(segment_ids)
        n = _segment_sizes(data, ids, num_segments)
        return raw.UnsortedSegmentSum(data, ids, num_segments) / n


def unsorted_segment_sqrt_n(data: Any, segment_ids: Any, num_segments: Any, name: str | None = None) -> Any:
    """Return the sum of the rows of each segment, divided by the root of their number."""
    with name_scope(name, "UnsortedSegmentSqrtN"):
        data, ids = convert_to_tensor(data), convert_to_tensor(segment_ids)
        n = _segment_sizes(data, ids, num_segments)
        return raw.UnsortedSegmentSum(data, ids, num_segments) / raw.Sqrt(n)


def _sparse_segment(op: Any, counted: Any, what: str) -> Any:
    def function(data: Any, indices: Any, segment_ids: Any, name: str | None = None, num_segments: Any = None) -> Any:
        if num_segments is not None:
            return counted(data, indices, segment_ids, num_segments, name=name)
        return op(data, indices, segment_ids, name=name)

    function.__doc__ = f"Return {what} of the rows ``data[indices]`` of each segment."
    return function


sparse_segment_sum = _sparse_segment(raw.SparseSegmentSum, raw.SparseSegmentSumWithNumSegments, "the sum")
sparse_segment_mean = _sparse_segment(raw.SparseSegmentMean, raw.SparseSegmentMeanWithNumSegments, "the mean")
sparse_segment_sqrt_n = _sparse_segment(
    raw.SparseSegmentSqrtN, raw.SparseSegmentSqrtNWithNumSegments, "the sum, divided by the root of the number,"
)


__all__ = [
    "count_nonzero", "lbeta", "reduce_all", "reduce_any", "reduce_euclidean_norm", "reduce_logsumexp", "reduce_max",
    "reduce_mean", "reduce_min", "reduce_prod", "reduce_std", "reduce_sum", "reduce_variance", "reduction_axes",
    "segment_max", "segment_mean", "segment_min", "segment_prod", "segment_sum", "sparse_segment_mean",
    "sparse_segment_sqrt_n", "sparse_segment_sum", "trace", "unsorted_segment_max", "unsorted_segment_mean",
    "unsorted_segment_min", "unsorted_segment_prod", "unsorted_segment_sqrt_n", "unsorted_segment_sum",
]  # fmt: skip
