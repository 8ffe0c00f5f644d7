"""Boxes and strided slices, with every mask.

A strided slice is Python's ``x[2:5:2, ..., new, 3]``, spelled as three vectors of one number per item and five masks of
one bit per item. `_items` turns these into what happens to each dimension; bits are believed in the order ellipsis, new
axis, shrink, and a shrunk dimension takes its begin whatever the begin and end masks say.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from coldframe.dtypes import int64
from coldframe.ops import inference_index
from coldframe.ops.backward import array as back
from coldframe.ops.shape import dtype_of, vector
from coldframe.ops.table import op
from coldframe.primitives.base import Unlowerable, refuse
from coldframe.records import dataclass


@op("Slice", gradient=back.slice_, shape=inference_index.slice_)
def slice_(xp: Any, x: Any, begin: Any, size: Any) -> Any:
    """The box of x that starts at begin and has the given size, where -1 reaches to the end."""
    return xp.slice(x, begin, size)


@slice_.onnx
def _(xp: Any, x: Any, begin: Any, size: Any) -> Any:
    """ONNX clamps what is out of range; TensorFlow refuses it, so what is not known now is compared when running."""
    starts, b = xp.vector(begin)
    sizes, n = xp.vector(size)
    if not len(b) == len(n) == xp.rank(x):
        raise Unlowerable("begin and size do not fit the rank")
    if not b:
        return x
    whole = zip(xp.terms(sizes) or n, b, xp.axes(x), strict=True)
    n = tuple(-1 if t == d and at == 0 else k for (t, at, d), k in zip(whole, n, strict=True))
    in_range = [_inside(*item) for item in zip(b, n, x.dims, strict=True)]
    if False in in_range:
        raise Unlowerable("the slice is out of range")
    if None not in in_range:
        return xp.slice(x, b if None not in b else starts, n if None not in n else sizes)
    doubtful = [k for k, inside in enumerate(in_range) if inside is None]
    within = xp.shape(x)
    if len(doubtful) < len(b):
        starts, sizes, within = (xp.gather(v, np.array(doubtful)) for v in (starts, sizes, within))
    ends = xp.where(xp.equal(sizes, -1), within, starts + sizes)
    ok = xp.logical_and(xp.greater_equal(starts, 0), xp.less_equal(ends, within))
    ok = xp.logical_and(ok, xp.less_equal(starts, ends))
    starts = xp.require(starts, ok, "the slice is out of range")
    dims = list(x.dims)
    for k in doubtful:
        dims[k] = n[k] if n[k] != -1 else None
    axes = xp.asarray(np.array(doubtful), int64)
    rest = [(0, -1) if k in doubtful else (b[k], n[k]) for k in range(len(b))]
    x = xp.typed("Slice", [x], dims=tuple(dims), more=[starts, ends, axes])
    return xp.slice(x, *zip(*rest, strict=True))


def _inside(begin: int | None, size: int | None, dim: int | None) -> bool | None:
    """Whether a slice of a dimension is in range, where that can be told."""
    if (begin is not None and begin < 0) or (size is not None and size < -1):
        return False
    if begin is None or size is None or dim is None:
        return True if begin == 0 and size == -1 else None
    return begin <= dim if size == -1 else begin + size <= dim


@dataclass(frozen=True, slots=True)
class Masks:
    """The five masks of a strided slice, one bit per item."""

    begin: int
    end: int
    ellipsis: int
    new_axis: int
    shrink: int


@dataclass(frozen=True, slots=True)
class Item:
    """What happens to one dimension of a tensor.

    Attributes:
        kind: ``all``, ``range``, ``one`` (the dimension goes) or ``new`` (a dimension comes).
        at: the item's place in begin, end and strides; -1 for ``all``.
        begin, end: whether a range has a begin and an end of its own.
    """

    kind: str
    at: int = -1
    begin: bool = False
    end: bool = False


def _items(rank: int, n: int, masks: Masks) -> list[Item]:
    """Return what `n` items of a strided slice do to the dimensions of a tensor of `rank`, in order."""
    if (masks.ellipsis & ((1 << n) - 1)).bit_count() > 1:
        raise refuse("a strided slice has more than one ellipsis")
    items: list[Item] = []
    used = 0
    for i in range(n):
        bit = 1 << i
        if masks.ellipsis & bit:
            later = sum(not masks.new_axis & (1 << j) for j in range(i + 1, n))
            fill = max(rank - used - later, 0)
            items += [Item("all")] * fill
            used += fill
        elif masks.new_axis & bit:
            items.append(Item("new", i))
        elif masks.shrink & bit:
            items.append(Item("one", i))
            used += 1
        else:
            items.append(Item("range", i, not masks.begin & bit, not masks.end & bit))
            used += 1
    if used > rank:
        raise refuse("a strided slice has more items than the tensor has dimensions", expected=rank, found=used)
    return items + [Item("all")] * (rank - used)


Spec = tuple[list[int], list[int], list[int]]


def _spec(begin: Any, end: Any, strides: Any) -> Spec:
    vectors = [np.asarray(v) for v in (begin, end, strides)]
    if any(v.ndim != 1 or v.size != vectors[0].size for v in vectors):
        found = [list(v.shape) for v in vectors]
        raise refuse("begin, end and strides of a strided slice", expected="vectors of one length", found=found)
    b, e, s = (v.tolist() for v in vectors)
    if not all(s):
        raise refuse("strides of a strided slice", expected="numbers other than 0", found=s)
    return b, e, s


def _index(shape: Sequence[int], spec: Spec, masks: Masks) -> tuple[Any, ...]:
    """The same slice as Python writes it."""
    begin, end, strides = spec
    out: list[Any] = []
    dims = iter(shape)
    for item in _items(len(shape), len(begin), masks):
        i = item.at
        d = next(dims) if item.kind != "new" else 1
        if item.kind == "range":
            out.append(slice(begin[i] if item.begin else None, end[i] if item.end else None, strides[i]))
        elif item.kind == "one":
            out.append(_position(begin[i], strides[i], d))
        else:
            out.append(slice(None) if item.kind == "all" else None)
    return (*out, ...)


def _position(begin: int, stride: int, dim: int) -> int:
    if stride < 0:
        raise refuse("a dimension is shrunk with a negative stride", expected="a stride of 1", found=stride)
    if not -dim <= begin < dim:
        raise refuse(f"slice index {begin} is out of range", expected=f"{-dim} to {dim - 1}", found=begin)
    return begin


@op("StridedSlice", gradient=back.strided_slice, shape=inference_index.strided_slice, static=("strides",))
def strided_slice(
    xp: Any, x: Any, begin: Any, end: Any, strides: Any, *, begin_mask: int, end_mask: int, ellipsis_mask: int,
    new_axis_mask: int, shrink_axis_mask: int,
) -> Any:  # fmt: skip
    """Python's slicing with begin, end and step per dimension, single positions, an ellipsis and new dimensions."""
    masks = Masks(begin_mask, end_mask, ellipsis_mask, new_axis_mask, shrink_axis_mask)
    return x[_index(x.shape, _spec(begin, end, strides), masks)]


@strided_slice.onnx
def _(
    xp: Any, x: Any, begin: Any, end: Any, strides: Any, *, begin_mask: int, end_mask: int, ellipsis_mask: int,
    new_axis_mask: int, shrink_axis_mask: int,
) -> Any:  # fmt: skip
    masks = Masks(begin_mask, end_mask, ellipsis_mask, new_axis_mask, shrink_axis_mask)
    b, e, s = _ends(xp, begin), _ends(xp, end), vector(strides, "strides")
    if not len(b) == len(e) == len(s) or 0 in s:
        raise Unlowerable("begin, end and strides are not of one length, or a stride is 0")
    items = _items(xp.rank(x), len(b), masks)
    axes = [i for i in items if i.kind != "new"]
    for axis in reversed(range(len(axes))):
        if axes[axis].kind == "one":
            if s[axes[axis].at] < 0:
                raise Unlowerable("a dimension is shrunk with a negative stride")
            x = xp.pick(x, b[axes[axis].at], axis)
    left = [i for i in items if i.kind != "one"]
    cuts = [(b[i.at] if i.begin else None, e[i.at] if i.end else None, s[i.at] if i.kind == "range" else 1)
            for i in left if i.kind != "new"]  # fmt: skip
    return xp.expand_dims(xp.strided(x, cuts), [k for k, i in enumerate(left) if i.kind == "new"])


def _ends(xp: Any, v: Any) -> list[Any]:
    """The elements of a vector: integers where known, else scalar values."""
    value, known = xp.vector(v)
    return [xp.pick(value, i, 0) if k is None else k for i, k in enumerate(known)]


strided_slice.rules["jax"] = strided_slice.rules["onnx"]  # begins may be values


@op(
    "StridedSliceGrad",
    gradient=back.strided_slice_grad,
    shape=inference_index.strided_slice_grad,
    static=("begin", "end", "strides"),
)
def strided_slice_grad(
    xp: Any, shape: Any, begin: Any, end: Any, strides: Any, dy: Any, *, begin_mask: int, end_mask: int,
    ellipsis_mask: int, new_axis_mask: int, shrink_axis_mask: int,
) -> Any:  # fmt: skip
    """Zeros of a shape, with dy where a strided slice of it would have been taken."""
    masks = Masks(begin_mask, end_mask, ellipsis_mask, new_axis_mask, shrink_axis_mask)
    zeros = xp.full([int(d) for d in shape], xp.asarray(0, dtype_of(xp, dy)))
    return _written(xp, zeros, [int(d) for d in shape], _spec(begin, end, strides), masks, dy)


@strided_slice_grad.onnx
def _(
    xp: Any, shape: Any, begin: Any, end: Any, strides: Any, dy: Any, *, begin_mask: int, end_mask: int,
    ellipsis_mask: int, new_axis_mask: int, shrink_axis_mask: int,
) -> Any:  # fmt: skip
    """Padding, where the slice left no gaps; what an open dimension is padded with depends on the run."""
    masks = Masks(begin_mask, end_mask, ellipsis_mask, new_axis_mask, shrink_axis_mask)
    spec = _spec(begin, end, strides)
    known = xp.vector(shape)[1]
    items = _items(len(known), len(spec[0]), masks)
    kept = [i for i in items if i.kind != "one"]
    gone = [k for k, i in enumerate(i for i in items if i.kind != "new") if i.kind == "one"]
    dense = xp.squeeze(dy, [k for k, i in enumerate(kept) if i.kind == "new"])
    pads = [_margins(d, i, spec) for d, i in zip(known, (i for i in items if i.kind != "new"), strict=True)]
    fixed = [p for p in pads if p is not None]
    if len(fixed) == len(pads):
        out = xp.expand_dims(dense, gone)
        return xp.pad(out, np.array(fixed, np.int64).reshape(-1, 2)) if any(map(any, fixed)) else out
    if None in known:
        raise Unlowerable("the shape to write to is not known when compiling")
    zeros = xp.full(list(known), xp.asarray(0, dtype_of(xp, dy)))
    return _written(xp, zeros, [d or 0 for d in known], spec, masks, dy)


strided_slice_grad.rules["jax"] = strided_slice_grad.rules["onnx"]


def _margins(dim: int | None, item: Item, spec: Spec) -> tuple[int, int] | None:
    """How much of a dimension a slice of it leaves before and behind, where it takes all in between."""
    begin, end, stride = (v[item.at] for v in spec) if item.kind != "all" else (0, 0, 1)
    whole = item.kind == "all" or (item.kind == "range" and stride == 1 and not item.begin and not item.end)
    if whole or dim is None:
        return (0, 0) if whole else None
    if item.kind == "one":
        at = _position(begin, stride, dim) % dim
        return at, dim - at - 1
    cut = range(*slice(begin if item.begin else None, end if item.end else None, stride).indices(dim))
    return (cut.start, dim - cut.stop) if stride == 1 and cut else None


@op(
    "TensorStridedSliceUpdate",
    gradient=back.tensor_strided_slice_update,
    shape="x -> x",
    static=("begin", "end", "strides"),
)
def tensor_strided_slice_update(
    xp: Any, x: Any, begin: Any, end: Any, strides: Any, value: Any, *, begin_mask: int, end_mask: int,
    ellipsis_mask: int, new_axis_mask: int, shrink_axis_mask: int,
) -> Any:  # fmt: skip
    """X with value where a strided slice of it would have been taken."""
    masks = Masks(begin_mask, end_mask, ellipsis_mask, new_axis_mask, shrink_axis_mask)
    sizes = [xp.dim(x, i) for i in range(xp.rank(x))]
    if not all(isinstance(d, int) for d in sizes):
        raise Unlowerable("the shape to write to is not known when compiling")
    return _written(xp, x, sizes, _spec(begin, end, strides), masks, value)


def _written(xp: Any, x: Any, shape: list[int], spec: Spec, masks: Masks, value: Any) -> Any:
    """Write by position: the slice is taken of a tensor that holds each element's own position."""
    where = np.arange(int(np.prod(shape))).reshape(shape)[_index(shape, spec, masks)]
    if where.shape != tuple(xp.dim(value, i) for i in range(xp.rank(value))):
        value = xp.broadcast_to(value, list(where.shape))
    if not where.size:
        return x
    at = xp.asarray(where.reshape(-1, 1), int64)
    return xp.reshape(xp.scatter_nd(xp.reshape(x, [-1]), at, xp.reshape(value, [-1])), shape)
