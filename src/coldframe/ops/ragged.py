"""Ragged tensors: values end to end, and for each ragged dimension the row splits that cut them.

::

    splits [0, 2, 2, 5]   values [a, b, c, d, e]   ──►   [[a, b], [], [c, d, e]]

The outermost splits come first. A variant holds a whole ragged tensor (`Ragged`), of any number of ragged dimensions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from coldframe.dtypes import DType
from coldframe.ops import inference_math, inference_text
from coldframe.ops.backward import sparse as back
from coldframe.ops.counting import bins
from coldframe.ops.sparse_math import counted_rows
from coldframe.ops.table import op
from coldframe.primitives.base import refuse
from coldframe.primitives.numpy_shape import dims
from coldframe.records import dataclass

Array = npt.NDArray[Any]
_EXACT: Final = 1 << 62  # the difference of two smaller integers is one of 64 bits
_HOST: Final = "how long rows are is known only when running"


@dataclass(frozen=True, slots=True, eq=False)
class Ragged:
    """A ragged tensor as a variant: `splits` from the outermost on, `values` at the end of them."""

    splits: tuple[Array, ...]
    values: Array


def _checked(splits: Array, count: int, what: str = "row splits") -> Array:
    """Return splits as int64; they start at 0, never fall, and end at `count`."""
    if splits.ndim != 1 or not len(splits):
        raise refuse(what, expected="a vector, not empty", found=f"shape {list(splits.shape)}")
    if splits[0] != 0 or (splits[1:] < splits[:-1]).any() or splits[-1] != count:
        raise refuse(what, expected=f"from 0, never falling, to {count}", found=f"{splits[:8].tolist()}...")
    return splits.astype(np.int64, copy=False)


def _nested(splits: Sequence[Array], values: Array) -> list[Array]:
    if not splits:
        return []
    if not values.ndim:
        raise refuse("values of a ragged tensor", expected="at least a vector", found="a scalar")
    lengths = [max(s.size - 1, 0) for s in splits[1:]] + [len(values)]
    return [_checked(s, n, f"row splits {k}") for k, (s, n) in enumerate(zip(splits, lengths, strict=True))]


def _places(lengths: Array) -> tuple[Array, Array]:
    """Return for each value its row and its place in it."""
    rows = np.repeat(np.arange(len(lengths)), lengths)
    return rows, np.arange(len(rows)) - np.repeat(np.cumsum(lengths) - lengths, lengths)


def _splits_of(lengths: Array, kind: Any) -> Array:
    out: Array = np.concatenate([[0], np.cumsum(lengths)]).astype(kind)
    return out


@op("RaggedRange", shape="-> [?] [?]", no_gradient=True, host=_HOST)
def ragged_range(xp: Any, starts: Array, limits: Array, deltas: Array, *, T: DType, Tsplits: DType) -> Any:
    """One range per row: from start by delta up to, without, the limit; scalars serve all rows."""
    sizes = {len(x) for x in (starts, limits, deltas) if np.ndim(x) == 1}
    if any(np.ndim(x) > 1 for x in (starts, limits, deltas)) or len(sizes) > 1:
        raise refuse("starts, limits and deltas", expected="scalars, or vectors of one length", found=sorted(sizes))
    start, limit, delta = (np.broadcast_to(x, (max(sizes, default=1),)) for x in (starts, limits, deltas))
    if (delta == 0).any():
        raise refuse("a delta is 0")
    if T.is_integer and all(-_EXACT < x.min(initial=0) <= x.max(initial=0) < _EXACT for x in (start, limit, delta)):
        start, limit, delta = (x.astype(np.int64) for x in (start, limit, delta))
        return _whole_ranges(start, limit, delta, T, Tsplits)
    lengths = []
    for a, b, d in zip(start.tolist(), limit.tolist(), delta.tolist(), strict=True):
        if (b - a) * (1 if d > 0 else -1) <= 0:
            lengths.append(0)
        elif T.is_integer:
            lengths.append(-((a - b) // d) if d > 0 else -((b - a) // -d))
        else:
            if not math.isfinite((b - a) / d):
                raise refuse("a range has no end", found=[a, b, d])
            lengths.append(math.ceil(abs((b - a) / d)))
    dims([sum(lengths)])
    values = np.empty(sum(lengths), T.numpy)
    at = 0
    for a, d, n in zip(start, delta, lengths, strict=True):
        row = values[at : at + n]
        row[:1], row[1:] = a, d
        np.add.accumulate(row, out=row)  # one sum after the other, as TensorFlow rounds
        at += n
    return _splits_of(np.array(lengths, np.int64), Tsplits.numpy), values


def _whole_ranges(start: Array, limit: Array, delta: Array, kind: DType, splits: DType) -> tuple[Array, Array]:
    """Return the ranges of integers, all at once."""
    lengths = np.maximum(-((start - limit) // delta), 0)
    dims([int(lengths.sum())])
    rows, at = _places(lengths)
    return _splits_of(lengths, splits.numpy), (start[rows] + delta[rows] * at).astype(kind.numpy)


@op("RaggedGather", shape=inference_text.ragged_gather, gradient=back.ragged_gather, host=_HOST)
def ragged_gather(
    xp: Any, params_nested_splits: list[Array], params_dense_values: Array, indices: Array,
    *, PARAMS_RAGGED_RANK: int, OUTPUT_RAGGED_RANK: int,
) -> Any:  # fmt: skip
    """Rows of a ragged tensor, picked by indices of any rank."""
    splits = _nested(params_nested_splits, params_dense_values)
    rank = PARAMS_RAGGED_RANK + indices.ndim - 1
    if rank != OUTPUT_RAGGED_RANK:
        raise refuse("`OUTPUT_RAGGED_RANK`", expected=rank, found=OUTPUT_RAGGED_RANK)
    kind, rows = params_nested_splits[0].dtype, indices.ravel().astype(np.int64)
    count = len(splits[0]) - 1
    if len(rows) and not 0 <= rows.min() <= rows.max() < count:
        raise refuse(
            "an index is out of bounds", expected=f"0 to {count - 1}", found=[int(rows.min()), int(rows.max())]
        )
    shape = indices.shape
    out = [np.arange(math.prod(shape[:k]) + 1, dtype=kind) * kind.type(shape[k]) for k in range(1, len(shape))]
    for s in splits:
        lengths = s[rows + 1] - s[rows]
        out.append(_splits_of(lengths, kind))
        rows = np.repeat(s[rows], lengths) + _places(lengths)[1]
    return out if indices.ndim else out[1:], params_dense_values[rows]  # one row has no splits of its own


@op("RaggedTensorToSparse", shape=inference_text.ragged_to_sparse, gradient=back.ragged_tensor_to_sparse, host=_HOST)
def ragged_tensor_to_sparse(xp: Any, rt_nested_splits: list[Array], rt_dense_values: Array, *, RAGGED_RANK: int) -> Any:
    """A ragged tensor as a sparse one."""
    if not rt_nested_splits:
        raise refuse("a ragged tensor has at least one ragged dimension")
    splits = _nested(rt_nested_splits, rt_dense_values)
    shape = [len(splits[0]) - 1]
    at = np.arange(shape[0])[:, None]
    for s in splits:
        lengths = np.diff(s)
        rows, places = _places(lengths)
        at = np.concatenate([at[rows], places[:, None]], axis=1)
        shape.append(int(lengths.max(initial=0)))
    inner = rt_dense_values.shape[1:]
    for d in inner:
        at = np.concatenate([np.repeat(at, d, axis=0), np.tile(np.arange(d), len(at))[:, None]], axis=1)
    return at.astype(np.int64), rt_dense_values.ravel(), np.array([*shape, *inner], np.int64)


@op("RaggedTensorToTensor", gradient=back.ragged_tensor_to_tensor, host=_HOST)
def ragged_tensor_to_tensor(
    xp: Any, shape: Array, values: Array, default_value: Array, row_partition_tensors: list[Array],
    *, row_partition_types: Any,
) -> Any:  # fmt: skip
    """A ragged tensor as a dense one: rows cut to a shape, or filled with a default."""
    if len(row_partition_types) != len(row_partition_tensors) or not row_partition_tensors:
        raise refuse("row partitions", expected=len(row_partition_types), found=len(row_partition_tensors))
    lengths, count = _partitions(list(row_partition_types), row_partition_tensors, values)
    outer = [count, *(int(n.max(initial=0)) for n in lengths)]
    wanted = _wanted(shape, outer, values.shape[1:])
    rank, inner = len(outer), wanted[len(outer) :]
    total = dims(wanted)
    at = np.arange(count)
    at[wanted[0] :] = -1
    for axis, n in enumerate(lengths, 1):
        rows, places = _places(n)
        parent = at[rows]
        at = np.where((parent >= 0) & (places < wanted[axis]), parent * wanted[axis] + places, -1)
    try:
        fill = np.broadcast_to(default_value, inner)
    except ValueError as e:
        raise refuse("the default value does not broadcast", expected=inner, found=list(default_value.shape)) from e
    out = np.empty((math.prod(wanted[:rank]), *inner), values.dtype)
    out[...] = fill
    kept = at >= 0
    out[at[kept]] = values[: len(at)][kept].reshape(-1, *inner)
    return out.reshape(total)


def _partitions(kinds: list[str], tensors: list[Array], values: Array) -> tuple[list[Array], int]:
    """Return for each ragged dimension the lengths of its rows, and how many rows there are in all."""
    if kinds[0] == "FIRST_DIM_SIZE":
        if np.ndim(tensors[0]) or int(tensors[0]) < 0:
            raise refuse("the first dimension's size", expected="a scalar, not negative")
        count = dims([int(tensors[0])])[0]
        kinds, tensors = kinds[1:], tensors[1:]
    elif kinds[0] == "ROW_SPLITS":
        count = max(tensors[0].size - 1, 0)
    else:
        raise refuse("the first row partition", expected="FIRST_DIM_SIZE or ROW_SPLITS", found=kinds[0])
    lengths, rows = [], count
    for kind, t in zip(kinds, tensors, strict=True):
        if kind == "ROW_SPLITS":
            if t.ndim != 1 or len(t) != rows + 1:
                raise refuse("row splits", expected=f"{rows + 1} numbers", found=f"shape {list(t.shape)}")
            n = np.diff(_checked(t, int(t[-1])))
        elif kind == "VALUE_ROWIDS":
            if t.ndim != 1 or (len(t) and (t[0] < 0 or (t[1:] < t[:-1]).any() or t[-1] >= rows)):
                raise refuse("row ids of values", expected=f"a vector, never falling, from 0 to {rows - 1}")
            n = np.bincount(t, minlength=rows)
        else:
            raise refuse("a row partition", expected="ROW_SPLITS or VALUE_ROWIDS", found=kind)
        lengths.append(n.astype(np.int64))
        rows = int(n.sum())
    if values.ndim < 1 or len(values) < rows:  # values that no row holds are passed over, as TensorFlow does
        raise refuse("values of a ragged tensor", expected=f"at least {rows}", found=list(values.shape))
    return lengths, count


def _wanted(shape: Array, outer: list[int], inner: tuple[int, ...]) -> list[int]:
    found = [*outer, *inner]
    if np.ndim(shape) == 0:
        if int(shape) != -1:
            raise refuse("a shape that is a scalar", expected=-1, found=int(shape))
        return found
    asked = [int(d) for d in shape]
    if len(asked) != len(found):
        raise refuse("the rank of the shape", expected=len(found), found=len(asked))
    for d, n in zip(asked[len(outer) :], inner, strict=True):
        if d not in (-1, n):
            raise refuse("the shape's inner dimensions", expected=list(inner), found=asked[len(outer) :])
    if any(d < -1 for d in asked):
        raise refuse("the shape has a negative size", found=asked)
    return [n if d == -1 else d for d, n in zip(asked, found, strict=True)]


# --- variants ---
@op("RaggedTensorToVariant", gradient=back.ragged_tensor_to_variant, host=_HOST)
def ragged_tensor_to_variant(
    xp: Any, rt_nested_splits: list[Array], rt_dense_values: Array, *, RAGGED_RANK: int, batched_input: bool
) -> Any:
    """A ragged tensor as a variant, or one variant for each of its rows."""
    splits = _nested(rt_nested_splits, rt_dense_values)
    if not batched_input:
        return Ragged(tuple(rt_nested_splits), rt_dense_values)
    if not splits:
        if not rt_dense_values.ndim:
            raise refuse("a batch", expected="at least a vector", found="a scalar")
        return _boxes([Ragged((), v) for v in rt_dense_values])
    out = []
    for start, end in zip(splits[0][:-1].tolist(), splits[0][1:].tolist(), strict=True):
        inner = []
        for s, given in zip(splits[1:], rt_nested_splits[1:], strict=True):
            inner.append((s[start : end + 1] - s[start]).astype(given.dtype))
            start, end = int(s[start]), int(s[end])
        out.append(Ragged(tuple(inner), rt_dense_values[start:end]))
    return _boxes(out)


def _boxes(items: list[Ragged]) -> Array:
    out: Array = np.empty(len(items), object)
    for k, item in enumerate(items):
        out[k] = item
    return out


@op("RaggedTensorToVariantGradient", host=_HOST)
def ragged_tensor_to_variant_gradient(
    xp: Any, encoded_ragged_grad: Any, row_splits: Array, dense_values_shape: Array, *, Tvalues: DType
) -> Any:
    """The values of the variants, joined; zeros for the rows of those that no gradient reached."""
    shape = tuple(int(n) for n in dense_values_shape)
    boxed = isinstance(encoded_ragged_grad, np.ndarray)
    pieces = []
    for k, item in enumerate(encoded_ragged_grad.ravel().tolist() if boxed else [encoded_ragged_grad]):
        if not isinstance(item, Ragged):
            pieces.append(np.zeros((int(row_splits[k + 1] - row_splits[k]), *shape[1:]), Tvalues.numpy))
        elif item.values.dtype != Tvalues.numpy:
            raise refuse("values of a variant", expected=Tvalues, found=item.values.dtype)
        else:
            pieces.append(item.values)
    joined = np.concatenate([np.atleast_1d(p) for p in pieces] or [np.zeros(0, Tvalues.numpy)])
    if joined.size != math.prod(shape):
        raise refuse("the number of values", expected=math.prod(shape), found=joined.size)
    return joined.reshape(shape)


@op("RaggedTensorFromVariant", gradient=back.ragged_tensor_from_variant, host=_HOST)
def ragged_tensor_from_variant(
    xp: Any, encoded_ragged: Any, *, input_ragged_rank: int, output_ragged_rank: int, Tvalues: DType, Tsplits: DType
) -> Any:
    """The ragged tensor of a variant, or of an array of variants, whose dimensions come first."""
    outer = np.shape(encoded_ragged) if isinstance(encoded_ragged, np.ndarray) else ()
    rank = output_ragged_rank - len(outer) if input_ragged_rank == -1 else input_ragged_rank
    if rank < 0 or output_ragged_rank != rank + len(outer):
        raise refuse("`output_ragged_rank`", expected=max(rank, 0) + len(outer), found=output_ragged_rank)
    flat = encoded_ragged.ravel().tolist() if isinstance(encoded_ragged, np.ndarray) else [encoded_ragged]
    for item in flat:
        if not isinstance(item, Ragged):
            raise refuse("a variant is not a ragged tensor", found=type(item).__name__)
        if len(item.splits) != rank:
            raise refuse("ragged dimensions of a variant", expected=rank, found=len(item.splits))
        if item.values.dtype != Tvalues.numpy:
            raise refuse("values of a variant", expected=Tvalues, found=item.values.dtype)
    if not outer:
        return [s.astype(Tsplits.numpy) for s in flat[0].splits], flat[0].values
    return _stacked(flat, outer, rank, Tvalues, Tsplits)


def _stacked(
    items: list[Ragged], outer: tuple[int, ...], rank: int, dtype: DType, kind: DType
) -> tuple[list[Array], Array]:
    lengths = [np.full(math.prod(outer[:k]), outer[k]) for k in range(1, len(outer))]
    lengths.append(np.array([len(i.splits[0]) - 1 if rank else _length(i.values) for i in items], np.int64))
    lengths += [np.concatenate([np.diff(i.splits[k]) for i in items] or [np.zeros(0)]) for k in range(rank)]
    values = [i.values for i in items]
    if len({v.shape[1:] for v in values}) > 1:
        raise refuse("values of the variants differ in shape", found=sorted({v.shape[1:] for v in values}))
    joined = np.concatenate(values) if values else np.zeros(0, dtype.numpy)
    return [_splits_of(n.astype(np.int64), kind.numpy) for n in lengths], joined


def _length(values: Array) -> int:
    if not values.ndim:
        raise refuse("values of a variant", expected="at least a vector", found="a scalar")
    return len(values)


# --- counting and filling ---
@op("RaggedBincount", shape=inference_math.ragged_bincount, host=_HOST)
def ragged_bincount(xp: Any, splits: Array, values: Array, size: Any, weights: Array, *, binary_output: bool) -> Any:
    """How often each of 0 to size - 1 occurs in each row; larger values are left out."""
    n = bins(size)
    rows = np.repeat(np.arange(len(splits) - 1), np.diff(_checked(splits, values.size)))
    if weights.size and weights.size != values.size:
        raise refuse("one weight per value", expected=values.size, found=list(weights.shape))
    if values.size and values.min() < 0:
        raise refuse("negative values cannot be counted", found=int(values.min()))
    return counted_rows(rows, values.ravel(), len(splits) - 1, n, weights.ravel(), binary_output)
