"""Order and sets: the largest elements, distinct elements, differences, inverse permutations."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from coldframe import dtypes
from coldframe.dtypes import DType
from coldframe.ops import inference_math
from coldframe.ops.backward import index as back
from coldframe.ops.table import op
from coldframe.primitives.base import Unlowerable, refuse
from coldframe.primitives.numpy_elementwise import widened

Array = npt.NDArray[Any]
_SIZES = "the number of distinct elements is in the data"
_FEW = 300  # numbers
# Odd numbers whose bits look random: products with them have high bits that hang on all bits of the other factor.
_FACTORS = tuple((0x9E3779B97F4A7C15 * k + 0x632BE59BD9B4E018) % 2**64 | 1 for k in range(1, 13))


@op("TopKV2", gradient=back.top_k, shape=inference_math.top_k_v2, ignores=("sorted",))
def top_k(xp: Any, x: Any, k: Any, *, index_type: DType) -> Any:
    """The k largest of the last dimension in descending order, the first among equals first, and where they are."""
    if xp.rank(k):
        raise refuse("k is a scalar", found=f"rank {xp.rank(k)}")
    if not xp.rank(x):
        raise refuse("the largest elements of a scalar", expected="at least a vector")
    values, indices = xp.top_k(x, _checked_k(xp, x, k))
    return values, xp.cast(indices, index_type)


@op("TopK", gradient=back.top_k, shape=inference_math.top_k, ignores=("sorted",))
def top_k_v1(xp: Any, x: Any, *, k: int) -> Any:
    """TopKV2 with a fixed k."""
    if not xp.rank(x):
        raise refuse("the largest elements of a scalar", expected="at least a vector")
    return xp.top_k(x, _checked_k(xp, x, k))


@op(
    "ApproxTopK",
    gradient=back.approx_top_k,
    shape=inference_math.approx_top_k,
    ignores=("recall_target", "reduction_input_size_override"),
)
def approx_top_k(
    xp: Any, input: Any, *, k: int, reduction_dimension: int, is_max_k: bool, aggregate_to_topk: bool, T: DType
) -> Any:
    """The k largest (or smallest) along a dimension, and where they are: exactly, as TensorFlow's CPU kernel does."""
    rank = xp.rank(input)
    if not -rank <= reduction_dimension < rank:
        raise refuse("no such dimension", expected=f"{-rank} to {rank - 1}", found=reduction_dimension)
    axis, last = reduction_dimension % rank, rank - 1
    swap = [last if i == axis else axis if i == last else i for i in range(rank)]
    x = input if axis == last else xp.transpose(input, swap)
    x = x if is_max_k else xp.neg(x)
    values, indices = xp.top_k(x, _checked_k(xp, x, k))
    values = values if is_max_k else xp.neg(values)
    if axis != last:
        values, indices = xp.transpose(values, swap), xp.transpose(indices, swap)
    return values, xp.cast(indices, dtypes.int32)


def _checked_k(xp: Any, x: Any, k: Any) -> Any:
    """K, refused where it is known to be negative or more than there is."""
    known = k if isinstance(k, int) else int(k) if isinstance(k, np.ndarray | np.generic) else None
    size = xp.dim(x, -1)
    if known is not None and (known < 0 or (isinstance(size, int) and known > size)):
        raise refuse("k is out of range", expected=f"0 to {size}", found=known)
    return k if known is None else known


@op("NthElement", gradient=back.nth_element, shape=inference_math.nth_element, host="ONNX sorts whole rows only")
def nth_element(xp: Any, x: Any, n: Any, *, reverse: bool) -> Any:
    """The element of rank n (from 0) of the last dimension, from the smallest or with `reverse` from the largest."""
    if n.ndim or not x.ndim or not 0 <= n < x.shape[-1]:
        raise refuse("n is out of range", expected=f"a scalar below the last of {list(x.shape)}", found=n.tolist())
    at = x.shape[-1] - 1 - int(n) if reverse else int(n)
    return np.partition(widened(x), at, -1)[..., at].astype(x.dtype)


def _in_top_k(predictions: Array, targets: Array, k: int) -> Array:
    if predictions.ndim != 2 or targets.shape != predictions.shape[:1]:
        raise refuse("one target per row", expected=list(predictions.shape[:1]), found=list(targets.shape))
    rows, classes = predictions.shape
    inside = (targets >= 0) & (targets < classes)
    own = predictions[np.arange(rows), np.where(inside, targets, 0)] if classes else np.zeros(rows, np.float32)
    better = (predictions > own[:, None]).sum(1)
    return np.asarray(inside & np.isfinite(predictions).all(1) & (better < k))


@op("InTopK", shape="[n, c] [n] [] -> [n]", host="it reads each row at its own place")
def in_top_k(xp: Any, predictions: Any, targets: Any, *, k: int) -> Any:
    """Whether fewer than k classes beat the target of each row; false where something is not finite."""
    return _in_top_k(predictions, targets, k)


@op("InTopKV2", shape="[n, c] [n] [] -> [n]", host="it reads each row at its own place")
def in_top_k_v2(xp: Any, predictions: Any, targets: Any, k: Any) -> Any:
    """Whether fewer than k classes beat the target of each row; false where something is not finite."""
    return _in_top_k(predictions, targets, int(k))


def _distinct(x: Array, axis: Any) -> tuple[Array, Array, Array]:
    """Return the distinct slices of `x` in order of appearance, which of them each slice is, and their counts."""
    if axis is None and x.ndim == 1:
        first, which, counts = _numbered(x)
        return x[first], which, counts
    axes = np.ravel([] if axis is None else axis)
    if not len(axes) and x.ndim != 1:
        raise refuse("distinct elements of a vector", expected="[n]", found=list(x.shape))
    if len(axes) > 1:
        raise refuse("at most one axis", found=axes.tolist())
    at = _axis_of(x, axes[0]) if len(axes) else 0
    first, which, counts = _numbered(np.moveaxis(x, at, 0))
    return np.take(x, first, at), which, counts


def _axis_of(x: Array, axis: Any) -> int:
    if not -x.ndim <= axis < x.ndim:
        raise refuse("no such axis", expected=f"{-x.ndim} to {x.ndim - 1}", found=int(axis))
    return int(axis) % x.ndim


def _numbered(rows: Array) -> tuple[Array, Array, Array]:
    """Number rows by first appearance: where each number first occurs, the number of each row, how often it occurs."""
    if rows.dtype.kind == "O":
        return _numbered_objects(rows)
    if rows.ndim == 1 and rows.dtype.kind in "iu" and len(rows) <= _FEW:
        return _numbered_few(rows)
    flat = widened(rows).reshape(len(rows), -1) if rows.size else np.zeros((len(rows), 1), np.int8)
    equals = _equals(flat)
    if equals is None:
        return _numbered_by_order(flat)
    fresh = equals == np.arange(len(rows))
    first = np.flatnonzero(fresh)
    which = (np.cumsum(fresh) - 1)[equals]
    return first, which, np.bincount(which, minlength=len(first))


def _numbered_by_order(rows: Array) -> tuple[Array, Array, Array]:
    keys = rows[:, 0] if rows.shape[1] == 1 else rows
    found = np.unique(keys, return_index=True, return_inverse=True, return_counts=True, axis=0, equal_nan=False)
    order = np.argsort(found[1], kind="stable")
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    return found[1][order], place[found[2].ravel()], found[3][order]


def _equals(rows: Array) -> Array | None:
    """Return for each row where the first that equals it is, or None where only sorting tells.

    The rows are hashed into a table in which the first one stays, many times over: those that find another one there
    than themselves have a further turn, with another hash.
    """
    keys = _keys(rows)
    if keys is None:
        return None
    equals: Array = np.arange(len(keys))
    left = equals.copy()
    bits = (2 * len(keys)).bit_length()
    slots = np.empty(1 << bits, np.int32 if bits < 32 else np.int64)
    for factor in _FACTORS:
        some = keys[left]
        mixed = some * np.uint64(factor) if keys.ndim == 1 else some @ _powers(factor, keys.shape[1])
        at = (mixed >> np.uint64(64 - bits)).astype(np.int64)
        slots[at[::-1]] = left[::-1]
        found = slots[at]
        equals[left] = found
        differs = some != keys[found]
        left = left[differs if keys.ndim == 1 else differs.any(axis=1)]
        if not len(left):
            return equals
    return None


def _keys(rows: Array) -> Array | None:
    """Return 64 bits for each number of the rows, the same for equal numbers; None where numbers are not themselves."""
    flat = np.ascontiguousarray(rows).view(rows.real.dtype) if rows.dtype.kind == "c" else rows
    flat = flat[:, 0] if flat.shape[1] == 1 else flat
    if flat.dtype.kind != "f":
        return flat.astype(np.uint64)
    if np.isnan(flat).any():
        return None
    bits: Array = (flat.astype(np.float64) + 0.0).view(np.uint64)  # no negative zero
    return bits


def _powers(factor: int, count: int) -> Array:
    return np.multiply.accumulate(np.full(count, factor, np.uint64))


def _numbered_few(x: Array) -> tuple[Array, Array, Array]:
    """The same for few numbers, where calls of numpy would take longer than a dictionary."""
    seen: dict[int, int] = {}
    which = np.array([seen.setdefault(n, len(seen)) for n in x.tolist()], np.int64)
    return _first(which, len(seen)), which, np.bincount(which, minlength=len(seen))


def _numbered_objects(rows: Array) -> tuple[Array, Array, Array]:
    seen: dict[Any, int] = {}
    keys = rows.tolist() if rows.ndim == 1 else map(tuple, rows.reshape(len(rows), math.prod(rows.shape[1:])).tolist())
    which = np.array([seen.setdefault(key, len(seen)) for key in keys], np.int64)
    return _first(which, len(seen)), which, np.bincount(which, minlength=len(seen))


def _first(which: Array, count: int) -> Array:
    """Return where each of `count` numbers first occurs."""
    first = np.empty(count, np.int64)
    first[which[::-1]] = np.arange(len(which) - 1, -1, -1)
    return first


@op("Unique", shape="[n] -> [?] [n]", host=_SIZES, role="distinct")
def unique(xp: Any, x: Any, *, out_idx: DType) -> Any:
    """The distinct elements in order of appearance, and which of them each element is."""
    values, which, _ = _distinct(x, None)
    return values, which.astype(out_idx.numpy)


@op("UniqueV2", shape=inference_math.unique_v2, host=_SIZES)
def unique_v2(xp: Any, x: Any, axis: Any, *, out_idx: DType) -> Any:
    """The distinct slices along one axis in order of appearance, and which of them each slice is."""
    values, which, _ = _distinct(x, axis)
    return values, which.astype(out_idx.numpy)


@op("UniqueWithCounts", shape="[n] -> [?] [n] [?]", host=_SIZES)
def unique_with_counts(xp: Any, x: Any, *, out_idx: DType) -> Any:
    """Unique, and how often each occurs."""
    values, which, counts = _distinct(x, None)
    return values, which.astype(out_idx.numpy), counts.astype(out_idx.numpy)


@op("UniqueWithCountsV2", shape=inference_math.unique_v2, host=_SIZES)
def unique_with_counts_v2(xp: Any, x: Any, axis: Any, *, out_idx: DType) -> Any:
    """UniqueV2, and how often each occurs."""
    values, which, counts = _distinct(x, axis)
    return values, which.astype(out_idx.numpy), counts.astype(out_idx.numpy)


@op("ListDiff", shape="[n] [m] -> [?]", host=_SIZES)
def list_diff(xp: Any, x: Any, y: Any, *, out_idx: DType) -> Any:
    """The elements of x that y lacks, in order, and where they are."""
    if x.ndim != 1 or y.ndim != 1:
        raise refuse("two vectors", expected="[n] and [m]", found=f"{list(x.shape)} and {list(y.shape)}")
    if x.dtype.kind == "O":
        without = set(y.tolist())
        keep = np.array([v not in without for v in x.tolist()], np.bool_)
    else:
        keep = ~np.isin(widened(x), widened(y))
    at = np.flatnonzero(keep)
    return x[at], at.astype(out_idx.numpy)


@op("InvertPermutation", no_gradient=True, shape="x -> x")
def invert_permutation(xp: Any, x: Any) -> Any:
    """The permutation that undoes x: result[x[i]] = i."""
    if x.ndim != 1:
        raise refuse("a permutation is a vector", found=f"shape {list(x.shape)}")
    if not np.array_equal(np.sort(x), np.arange(len(x))):
        raise refuse("not a permutation", expected=f"each of 0 to {len(x) - 1} once", found=x[:8].tolist())
    out = np.empty_like(x)
    out[x] = np.arange(len(x), dtype=x.dtype)
    return out


@invert_permutation.onnx
def _(xp: Any, x: Any) -> Any:
    if x.ndim != 1:
        raise Unlowerable("a permutation is a vector")
    n = xp.dim(x, 0)
    at = xp.cast(x, dtypes.int64)
    xp.promise(xp.logical_and(xp.greater_equal(at, 0), xp.less(at, n)))
    none = xp.full([n], xp.constant(np.array(-1, np.int64)), dtypes.int64)
    out = xp.scatter_nd(none, xp.expand_dims(at, (1,)), xp.arange(0, n, 1))
    xp.promise(xp.greater_equal(out, 0))
    return xp.cast(out, x.dtype)
