"""Counting: into bins by value, and places in sorted sequences."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from coldframe import dtypes
from coldframe.dtypes import DType
from coldframe.ops import inference_math
from coldframe.ops.table import op
from coldframe.primitives.base import Unlowerable, refuse
from coldframe.primitives.numpy_shape import dims
from coldframe.primitives.onnx_elementwise import product

Array = npt.NDArray[Any]
_SCATTERS = "ONNX does not count by value"
_WIDEST = 64  # boundaries that are compared at once where ONNX Runtime bucketizes


def bins(size: Any) -> int:
    """Return the number of bins that a scalar tells."""
    if np.ndim(size):
        raise refuse("the number of bins is a scalar", found=f"shape {list(np.shape(size))}")
    n = int(size)
    if n < 0:
        raise refuse("the number of bins is negative", found=n)
    return n


def counted(values: Array, size: int, weights: Array, binary: bool = False) -> Array:
    """Count the vector `values` into `size` bins, weighted where there are weights; larger values are left out."""
    if values.size and values.min() < 0:
        raise refuse("negative values cannot be counted", found=int(values.min()))
    out = np.zeros(dims([size]), weights.dtype)
    inside = values < size
    if binary:
        out[values[inside]] = 1
    else:
        np.add.at(out, values[inside], weights[inside] if weights.size else weights.dtype.type(1))
    return out


@op("Bincount", shape=inference_math.bincount)
def bincount(xp: Any, arr: Any, size: Any, weights: Any) -> Any:
    """How often each of 0 to size - 1 occurs in `arr`, or the sum of its weights."""
    if weights.size and weights.size != arr.size:
        raise refuse("one weight per value", expected=list(arr.shape), found=list(weights.shape))
    return counted(arr.ravel(), bins(size), weights.ravel())


@bincount.onnx
def _(xp: Any, arr: Any, size: Any, weights: Any) -> Any:
    return _totals(xp, xp.reshape(arr, [-1]), size, weights, False)


@op("DenseBincount", shape=inference_math.dense_bincount)
def dense_bincount(xp: Any, values: Any, size: Any, weights: Any, *, binary_output: bool) -> Any:
    """Like Bincount, for each row of a matrix apart; with `binary_output` 1 where a value occurs."""
    n = bins(size)
    if values.ndim > 2:
        raise refuse("at most a matrix is counted", found=f"shape {list(values.shape)}")
    if weights.size and weights.shape != values.shape:
        raise refuse("one weight per value", expected=list(values.shape), found=list(weights.shape))
    if values.ndim < 2:
        return counted(values.ravel(), n, weights.ravel(), binary_output)
    if values.size and values.min() < 0:
        raise refuse("negative values cannot be counted", found=int(values.min()))
    shape = dims([len(values), n])
    row, inside = np.arange(len(values))[:, None] * n, values < n  # one row of bins behind the other
    flat = (row + values)[inside]
    return counted(flat, shape[0] * n, weights[inside] if weights.size else weights.ravel(), binary_output).reshape(
        shape
    )


@dense_bincount.onnx
def _(xp: Any, values: Any, size: Any, weights: Any, *, binary_output: bool) -> Any:
    if values.ndim > 2 or (product(weights.dims) != 0 and weights.dims != values.dims):
        raise Unlowerable("at most a matrix is counted, with one weight per value")
    return _totals(xp, values, size, weights, binary_output)


def _totals(xp: Any, values: Any, size: Any, weights: Any, binary: bool) -> Any:
    """Add up the weights of each value, for each row of a matrix apart; without weights, or if `binary`, ones."""
    some = product(weights.dims)
    fits = product(values.dims) == some
    if size.ndim or some is None or (some and not fits):
        raise Unlowerable("whether there are weights, or as many as values")
    width = xp.cast(size, dtypes.int64)
    xp.promise(xp.greater_equal(width, 0))
    at = xp.cast(values, dtypes.int64)
    xp.promise(xp.greater_equal(at, 0))
    inside, rows = xp.less(at, width), xp.constant(np.array(1, np.int64))
    if values.ndim == 2:
        rows = xp.cast(xp.lift(xp.dim(values, 0), dtype=dtypes.int64), dtypes.int64)
        at = at + xp.expand_dims(xp.arange(0, rows, 1), (1,)) * width
    at = xp.where(inside, at, xp.constant(np.array(-1, np.int64)))
    what = xp.ones_like(xp.cast(at, weights.dtype)) if binary or not some else xp.reshape(weights, xp.shape(at))
    made = xp.segment_sums(xp.reshape(what, [-1]), xp.reshape(at, [-1]), rows * width)
    if binary:
        made = xp.minimum(made, xp.ones_like(made))
    return xp.reshape(made, xp.stack([rows, width], 0)) if values.ndim == 2 else made


def _sparse_counts(
    rows: Array, values: Array, weights: Array, size: tuple[int, ...], lengths: tuple[int, int], binary: bool
) -> tuple[Array, Array, Array]:
    """Return indices, counts and dense shape of what occurs in each row; `size` is the number of rows, or nothing."""
    least, most = lengths
    if weights.size and weights.shape != values.shape:
        raise refuse("one weight per value", expected=list(values.shape), found=list(weights.shape))
    if values.size and values.min() < 0:
        raise refuse("negative values cannot be counted", found=int(values.min()))
    inside = values < most if most >= 0 else np.ones(values.shape, np.bool_)
    pairs = np.stack([rows[inside], values[inside].astype(np.int64)], axis=1)
    found, at = np.unique(pairs, axis=0, return_inverse=True)
    counts = np.zeros(len(found), weights.dtype)
    if binary:
        counts[:] = 1
    else:
        np.add.at(counts, at.reshape(-1), weights[inside] if weights.size else weights.dtype.type(1))
    width = most if most >= 0 else max(int(found[:, 1].max(initial=0)) + 1, least)
    return found[:, -1 - len(size) :], counts, np.array([*size, width], np.int64)


@op("DenseCountSparseOutput", shape="-> [n, r] [n] [r]", host=_SCATTERS)
def dense_count_sparse_output(
    xp: Any, values: Any, weights: Any, *, minlength: int, maxlength: int, binary_output: bool
) -> Any:
    """How often each value occurs in a vector, or in each row of a matrix, as a sparse tensor."""
    if values.ndim not in (1, 2) or (values.ndim == 2 and not len(values)):
        raise refuse("a vector or a matrix with rows is counted", found=f"shape {list(values.shape)}")
    if weights.size and weights.shape != values.shape:
        raise refuse("one weight per value", expected=list(values.shape), found=list(weights.shape))
    size = values.shape[:-1]
    rows = np.repeat(np.arange(size[0] if size else 1), values.shape[-1])
    return _sparse_counts(rows, values.ravel(), weights.ravel(), size, (minlength, maxlength), binary_output)


@op("SparseCountSparseOutput", shape="-> [n, r] [n] [r]", host=_SCATTERS)
def sparse_count_sparse_output(
    xp: Any, indices: Any, values: Any, dense_shape: Any, weights: Any,
    *, minlength: int, maxlength: int, binary_output: bool,
) -> Any:  # fmt: skip
    """How often each value occurs in a sparse tensor, in each of its rows apart, as a sparse tensor."""
    rank = dense_shape.size
    if dense_shape.ndim != 1 or not rank or values.ndim != 1 or indices.shape != (len(values), rank):
        raise refuse("a sparse tensor", expected="indices [n, rank], values [n], dense_shape [rank]",
                     found=[list(x.shape) for x in (indices, values, dense_shape)])  # fmt: skip
    if np.any(indices < 0) or np.any(indices >= dense_shape):
        raise refuse("indices lie in the dense shape", expected=list(dense_shape))
    batches = int(dense_shape[0])
    if rank > 1 and not 0 < batches < 2**31 - 1:
        raise refuse("the number of rows", expected="1 or more", found=batches)
    rows = indices[:, 0] if rank > 1 else np.zeros(len(values), np.int64)
    size = (batches,) if rank > 1 else ()
    return _sparse_counts(rows, values, weights, size, (minlength, maxlength), binary_output)


@op("RaggedCountSparseOutput", shape="-> [n, 2] [n] [2]", host=_SCATTERS)
def ragged_count_sparse_output(
    xp: Any, splits: Any, values: Any, weights: Any, *, minlength: int, maxlength: int, binary_output: bool
) -> Any:
    """How often each value occurs in each row of a ragged tensor, as a sparse tensor."""
    if splits.size < 2 or splits.ndim != 1:
        raise refuse("row splits", expected="two or more", found=f"shape {list(splits.shape)}")
    lengths = np.diff(splits)
    if splits[0] or splits[-1] != values.size or np.any(lengths < 0):
        raise refuse("row splits rise from 0 to the number of values", expected=values.size, found=splits.tolist())
    rows = np.repeat(np.arange(len(lengths)), lengths)
    return _sparse_counts(rows, values.ravel(), weights.ravel(), (len(lengths),), (minlength, maxlength), binary_output)


@op("HistogramFixedWidth", shape=inference_math.histogram, host=_SCATTERS)
def histogram_fixed_width(xp: Any, values: Any, value_range: Any, nbins: Any, *, dtype: DType) -> Any:
    """How many values fall into each of `nbins` equal parts of a range; those outside count at its ends."""
    n = bins(nbins)
    if value_range.shape != (2,):
        raise refuse("a range has two ends", expected="[2]", found=list(value_range.shape))
    low, high = value_range
    if not low < high:
        raise refuse("the range is empty", expected="low < high", found=f"{low} and {high}")
    if not n:
        raise refuse("the number of bins is positive", found=n)
    if np.isnan(values).any():
        raise refuse("NaN falls into no bin")
    step = (np.float64(high) - np.float64(low)) / n
    at = (np.maximum(values, low) - low).astype(np.float64) / step
    return np.bincount(np.minimum(at, n - 1).astype(np.int64).ravel(), minlength=n).astype(dtype.numpy)


@op("Bucketize", shape="x -> x")
def bucketize(xp: Any, x: Any, *, boundaries: tuple[float, ...]) -> Any:
    """How many of the sorted `boundaries` are not above x; NaN lies above all, int32."""
    edges = np.asarray(boundaries, np.float32)
    if np.any(edges[1:] < edges[:-1]):
        raise refuse("boundaries are sorted", found=list(boundaries))
    return np.searchsorted(edges, x, side="right").astype(np.int32)


@bucketize.onnx
def _(xp: Any, x: Any, *, boundaries: tuple[float, ...]) -> Any:
    edges = np.asarray(boundaries, np.float32)
    if np.any(edges[1:] < edges[:-1]) or not len(edges) or len(edges) > _WIDEST:
        raise Unlowerable("unsorted, no, or very many boundaries")
    if x.dtype is not dtypes.float32:
        x = xp.cast(x, dtypes.float64)
    above = xp.logical_not(xp.less(xp.expand_dims(x, [xp.rank(x)]), edges.astype(xp.dtype(x))))
    return xp.sum(xp.cast(above, dtypes.int32), [xp.rank(x)])


@op("BoostedTreesBucketize", no_gradient=True)
def boosted_trees_bucketize(xp: Any, float_values: list[Any], bucket_boundaries: list[Any]) -> Any:
    """The first boundary of each feature that a value is not above, int32; the last one for all that are above."""
    return [_bucket(xp, v, b) for v, b in zip(float_values, bucket_boundaries, strict=True)]


def _bucket(xp: Any, values: Any, boundaries: Any) -> Any:
    if xp.rank(values) != 1 or xp.rank(boundaries) != 1:
        raise refuse("values and boundaries are vectors", found=f"ranks {xp.rank(values)}, {xp.rank(boundaries)}")
    above = xp.less(xp.expand_dims(boundaries, (0,)), xp.expand_dims(values, (1,)))
    count = xp.sum(xp.cast(above, dtypes.int32), (1,))
    return xp.minimum(count, xp.cast(xp.size(boundaries), dtypes.int32) - 1)


def _searched(rows: Array, values: Array, side: Any, out_type: DType) -> Array:
    if rows.ndim != 2 or values.ndim != 2 or len(rows) != len(values):
        raise refuse(
            "sorted inputs and values are matrices of as many rows", expected=list(rows.shape),
            found=list(values.shape),
        )  # fmt: skip
    out = np.zeros(values.shape, out_type.numpy)
    for i, (row, v) in enumerate(zip(rows, values, strict=True)):
        out[i] = np.searchsorted(row, v, side=side)
    return out


@op("LowerBound", shape="[b, n] [b, m] -> [b, m]", host="ONNX does not search")
def lower_bound(xp: Any, sorted_inputs: Any, values: Any, *, out_type: DType) -> Any:
    """The first place in each sorted row whose element is not below the value."""
    return _searched(sorted_inputs, values, "left", out_type)


@op("UpperBound", shape="[b, n] [b, m] -> [b, m]", host="ONNX does not search")
def upper_bound(xp: Any, sorted_inputs: Any, values: Any, *, out_type: DType) -> Any:
    """The first place in each sorted row whose element is above the value."""
    return _searched(sorted_inputs, values, "right", out_type)
