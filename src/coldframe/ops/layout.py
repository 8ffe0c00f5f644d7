"""Joining, cutting, repeating, padding, reversing and rearranging tensors along their dimensions."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from coldframe.dtypes import bool_, int64
from coldframe.ops import inference_array
from coldframe.ops.backward import array as back
from coldframe.ops.shape import axis_of, dtype_of, scalar, vector
from coldframe.ops.table import op
from coldframe.primitives.base import Unlowerable, refuse
from coldframe.shapes import Shape


# --- joining ---
def _joined(xp: Any, values: list[Any], axis: int) -> Any:
    ranks = {xp.rank(v) for v in values}
    if len(ranks) != 1:
        raise refuse("tensors to concatenate differ in rank", found=sorted(ranks))
    n = ranks.pop()
    if not n:
        raise refuse("scalars cannot be concatenated", hint="Pack stacks them")
    at = axis_of(axis, n)
    _same_dims(xp, values, skip=at)
    return xp.concat(values, at)


def _same_dims(xp: Any, values: list[Any], skip: int | None = None) -> None:
    for i in range(xp.rank(values[0])):
        known = {d for d in (xp.dim(v, i) for v in values) if isinstance(d, int)} if i != skip else set()
        if len(known) > 1:
            raise refuse(f"tensors to join differ in dimension {i}", found=sorted(known))


@op("Concat", gradient=back.concat, shape=inference_array.concat, static=("concat_dim",))
def concat(xp: Any, concat_dim: Any, values: list[Any]) -> Any:
    """The tensors one after another along a dimension."""
    return _joined(xp, values, scalar(concat_dim, "concat_dim", of_one=True))


@op("ConcatV2", gradient=back.concat_v2, shape=inference_array.concat_v2, static=("axis",))
def concat_v2(xp: Any, values: list[Any], axis: Any) -> Any:
    """The tensors one after another along a dimension."""
    return _joined(xp, values, scalar(axis, "axis", of_one=True))


@op("ParallelConcat", shape=inference_array.parallel_concat)
def parallel_concat(xp: Any, values: list[Any], *, shape: Shape) -> Any:
    """Tensors of one row each, one after another."""
    return _joined(xp, values, 0)


@op(
    "ConcatOffset",
    no_gradient=True,
    shape=inference_array.concat_offset,
    lenient="shapes that do not fit each other",
    static=("concat_dim",),
)
def concat_offset(xp: Any, concat_dim: Any, shapes: list[Any]) -> list[Any]:
    """Where each of the tensors of these shapes begins in their concatenation."""
    n = xp.dim(shapes[0], 0)
    if not isinstance(n, int):
        raise Unlowerable("the length of a shape is not known when compiling")
    at = axis_of(scalar(concat_dim, "concat_dim"), n)
    joined = xp.asarray(np.arange(n) == at, bool_)
    for i, s in enumerate(shapes):
        ok = xp.logical_or(xp.equal(s, shapes[0]), joined)
        shapes[i] = xp.require(s, ok, "shapes to concatenate differ beyond the dimension in which they are joined")
    zero = xp.asarray(np.zeros(n, xp.dtype(shapes[0])), dtype_of(xp, shapes[0]))
    before, after = xp.slice_axis(zero, 0, 0, at), xp.slice_axis(zero, 0, at + 1, None)
    begin, out = xp.slice_axis(zero, 0, 0, 1), []
    for s in shapes:
        out.append(xp.concat([before, begin, after], 0))
        begin = begin + xp.slice_axis(s, 0, at, at + 1)
    return out


@op("Pack", gradient=back.pack, shape=inference_array.pack)
def pack(xp: Any, values: list[Any], *, axis: int) -> Any:
    """Tensors of one shape, stacked along a new dimension."""
    ranks = {xp.rank(v) for v in values}
    if len(ranks) != 1:
        raise refuse("tensors to stack differ in rank", found=sorted(ranks))
    _same_dims(xp, values)
    return xp.stack(values, axis_of(axis, ranks.pop() + 1))


# --- cutting ---
@op("Unpack", gradient=back.unpack, shape=inference_array.unpack)
def unpack(xp: Any, x: Any, *, num: int, axis: int) -> list[Any]:
    """The slices of x along a dimension, without that dimension."""
    at = axis_of(axis, xp.rank(x))
    d = xp.dim(x, at)
    if isinstance(d, int) and d != num:
        raise refuse(f"dimension {at} to unpack", expected=num, found=d)
    if not num:
        return []
    if isinstance(d, int) and (xp.rank(x) == 1 or num == 1):
        return [xp.pick(x, i, at) for i in range(num)]
    return [xp.squeeze(p, [at]) for p in xp.split(x, [1] * num, at)]


@op("Split", gradient=back.split, shape=inference_array.split, static=("split_dim",))
def split(xp: Any, split_dim: Any, x: Any, *, num_split: int) -> list[Any]:
    """X cut into equal parts along a dimension."""
    at = axis_of(scalar(split_dim, "split_dim"), xp.rank(x), "split_dim")
    d = xp.dim(x, at)
    if isinstance(d, int) and d % num_split:
        raise refuse(f"dimension {at} to split", expected=f"a multiple of {num_split}", found=d)
    return xp.split(x, [_per(xp, d, num_split)] * num_split, at)  # type: ignore[no-any-return]


@op("SplitV", gradient=back.split_v, shape=inference_array.split_v, static=("split_dim",))
def split_v(xp: Any, x: Any, size_splits: Any, split_dim: Any, *, num_split: int) -> list[Any]:
    """X cut along a dimension into parts of the given sizes, one of which may be -1."""
    at = axis_of(scalar(split_dim, "split_dim"), xp.rank(x), "split_dim")
    sizes = vector(size_splits, "size_splits", num_split)
    if min(sizes) < -1 or sizes.count(-1) > 1:
        raise refuse("sizes of a split", expected="numbers from 0 up, one of which may be -1", found=sizes)
    rest = int(x.shape[at]) - sum(s for s in sizes if s != -1)
    if rest < 0 or (rest and -1 not in sizes):
        raise refuse(f"sizes of a split of dimension {at}", expected=f"a sum of {x.shape[at]}", found=sizes)
    return xp.split(x, [rest if s == -1 else s for s in sizes], at)  # type: ignore[no-any-return]


@split_v.onnx
def _(xp: Any, x: Any, size_splits: Any, split_dim: Any, *, num_split: int) -> Any:
    at = axis_of(scalar(split_dim, "split_dim"), xp.rank(x), "split_dim")
    sizes = xp.cast(size_splits, int64)
    known, d = sizes.known(), xp.dim(x, at)
    if known is None or None in known or (-1 in known and not isinstance(d, int)):
        rest = d - (xp.sum(sizes, (0,)) + 1)  # the sum counts the -1 itself
        return xp.split(x, xp.where(xp.equal(sizes, -1), rest, sizes), at)
    rest = d - sum(k for k in known if k != -1) if isinstance(d, int) else 0
    parts = [rest if k == -1 else k for k in known]
    if min(parts) < 0 or known.count(-1) > 1 or (isinstance(d, int) and sum(parts) != d):
        raise Unlowerable(f"parts {parts} of a dimension of {d}")
    return xp.split(x, parts, at)


# --- repeating and padding ---
@op("Tile", gradient=back.tile, shape=inference_array.tile)
def tile(xp: Any, x: Any, multiples: Any) -> Any:
    """X repeated along each dimension."""
    if xp.rank(multiples) != 1:
        raise refuse("`multiples`", expected="a vector", found=f"rank {xp.rank(multiples)}")
    _length(xp, multiples, xp.rank(x), "multiples")
    return xp.tile(x, multiples) if xp.rank(x) else x


@op("Pad", gradient=back.pad, shape=inference_array.pad)
def pad(xp: Any, x: Any, paddings: Any) -> Any:
    """X with zeros, empty strings or False around it."""
    return _padded(xp, x, paddings, xp.asarray(b"" if xp.dtype(x).kind == "O" else 0, dtype_of(xp, x)))


@op("PadV2", gradient=back.pad, shape=inference_array.pad)
def pad_v2(xp: Any, x: Any, paddings: Any, constant_values: Any) -> Any:
    """X with a constant around it."""
    if xp.rank(constant_values):
        raise refuse("`constant_values`", expected="a scalar", found=f"rank {xp.rank(constant_values)}")
    return _padded(xp, x, paddings, constant_values)


def _padded(xp: Any, x: Any, paddings: Any, value: Any) -> Any:
    if xp.rank(paddings) != 2:
        raise refuse("`paddings`", expected=f"shape [{xp.rank(x)}, 2]", found=f"rank {xp.rank(paddings)}")
    _length(xp, paddings, xp.rank(x), "paddings")
    ok = xp.greater_equal(paddings, xp.asarray(0, dtype_of(xp, paddings)))  # ONNX would cut where they are negative
    return xp.pad(x, xp.require(paddings, ok, "paddings below 0"), value) if xp.rank(x) else x


def _length(xp: Any, x: Any, n: int, name: str) -> None:
    d = xp.dim(x, 0)
    if isinstance(d, int) and d != n:
        raise refuse(f"`{name}`", expected=f"one for each of {n} dimensions", found=d)
    if not n and not isinstance(d, int):  # nothing would be computed that could refuse them
        raise Unlowerable(f"the number of `{name}` is not known when compiling")


@op("MirrorPad", gradient=back.mirror_pad, shape=inference_array.pad, static=("paddings",))
def mirror_pad(xp: Any, x: Any, paddings: Any, *, mode: str) -> Any:
    """X with its mirror image around it, its border included (SYMMETRIC) or not (REFLECT)."""
    widths = _widths(paddings, xp.rank(x), "paddings")
    symmetric = mode == "SYMMETRIC"
    for i, (a, b) in enumerate(widths):
        d = xp.dim(x, i)
        if isinstance(d, int) and max(a, b) > d - (not symmetric) and max(a, b):
            raise refuse(f"paddings of dimension {i}", expected=f"at most {d - (not symmetric)}", found=[a, b])
    return xp.mirror_pad(x, widths, symmetric)


@mirror_pad.onnx
def _(xp: Any, x: Any, paddings: Any, *, mode: str) -> Any:
    widths = _widths(paddings, xp.rank(x), "paddings")
    if mode == "REFLECT" and all(isinstance(d, int) and d > max(w) for d, w in zip(x.dims, widths, strict=True)):
        return xp.mirror_pad(x, widths, False)
    for i, (a, b) in enumerate(widths):
        if a or b:
            x = _mirrored(xp, x, i, a, b, mode == "SYMMETRIC")
    return x


def _mirrored(xp: Any, x: Any, axis: int, before: int, after: int, symmetric: bool) -> Any:
    """Mirror one dimension by a lookup, which fails where the padding is wider than the tensor."""
    d = xp.dim(x, axis)
    if not isinstance(d, int):
        raise Unlowerable("the size of a mirrored dimension is not known when compiling")
    if max(before, after) > d - (not symmetric):
        raise Unlowerable(f"paddings {before} and {after} of a dimension of {d}")
    where = np.pad(np.arange(d), (before, after), mode="symmetric" if symmetric else "reflect")
    return xp.gather(x, xp.constant(where.astype(np.int64)), axis)


def _widths(x: Any, n: int, name: str) -> list[tuple[int, int]]:
    a = np.asarray(x)
    if a.shape != (n, 2) or (a.size and a.min() < 0):
        raise refuse(f"`{name}`", expected=f"{n} pairs of numbers from 0 up", found=a.tolist())
    return [(int(b), int(e)) for b, e in a]


# --- reversing and rolling ---
@op("Reverse", gradient=back.reverse, shape="x -> x", static=("dims",))
def reverse(xp: Any, x: Any, dims: Any) -> Any:
    """X backwards along the dimensions that are marked."""
    marks = vector(dims, "dims", xp.rank(x))
    return xp.reverse(x, [i for i, m in enumerate(marks) if m])


@op("ReverseV2", gradient=back.reverse_v2, shape="x -> x", static=("axis",))
def reverse_v2(xp: Any, x: Any, axis: Any) -> Any:
    """X backwards along the given dimensions."""
    axes = [axis_of(a, xp.rank(x)) for a in vector(axis, "axis")]
    if len(set(axes)) != len(axes):
        raise refuse("a dimension is reversed twice", found=axes)
    return xp.reverse(x, axes)


@op("ReverseSequence", gradient=back.reverse_sequence, shape=inference_array.reverse_sequence)
def reverse_sequence(xp: Any, x: Any, seq_lengths: Any, *, seq_dim: int, batch_dim: int) -> Any:
    """X with the first seq_lengths[i] steps of each batch entry i backwards."""
    _sequence_dims(x.ndim, seq_dim, batch_dim)
    steps, batch = x.shape[seq_dim], x.shape[batch_dim]
    if seq_lengths.shape != (batch,) or (batch and not 0 <= seq_lengths.min() <= seq_lengths.max() <= steps):
        raise refuse("`seq_lengths`", expected=f"{batch} numbers up to {steps}", found=seq_lengths.tolist())
    t = np.arange(steps)[:, None]
    source = np.where(t < seq_lengths, seq_lengths - 1 - t, t)  # [steps, batch]
    moved = np.moveaxis(x, (seq_dim, batch_dim), (0, 1))
    return np.moveaxis(moved[source, np.arange(batch)], (0, 1), (seq_dim, batch_dim))


@reverse_sequence.onnx
def _(xp: Any, x: Any, seq_lengths: Any, *, seq_dim: int, batch_dim: int) -> Any:
    n = xp.rank(x)
    _sequence_dims(n, seq_dim, batch_dim)
    if {seq_dim, batch_dim} == {0, 1}:
        order, time = list(range(n)), seq_dim
    else:
        order, time = [seq_dim, batch_dim, *(i for i in range(n) if i not in (seq_dim, batch_dim))], 0
    turned = xp.transpose(x, order)
    # ONNX Runtime refuses negative lengths and those beyond the dimension itself.
    lengths = [xp.cast(seq_lengths, int64)]
    out = xp.typed("ReverseSequence", [turned], dims=turned.dims, more=lengths, batch_axis=1 - time, time_axis=time)
    return xp.transpose(out, [int(i) for i in np.argsort(order)])


def _sequence_dims(n: int, seq_dim: int, batch_dim: int) -> None:
    if not (0 <= seq_dim < n and 0 <= batch_dim < n and seq_dim != batch_dim):
        raise refuse("seq_dim and batch_dim", expected=f"two of 0 to {n - 1}", found=[seq_dim, batch_dim])


@op("Roll", gradient=back.roll, shape="x -> x", static=("shift", "axis"))
def roll(xp: Any, x: Any, shift: Any, axis: Any) -> Any:
    """X shifted along dimensions; what leaves at one end comes back at the other."""
    shifts, axes = np.atleast_1d(np.asarray(shift)), np.atleast_1d(np.asarray(axis))
    if np.shape(shift) != np.shape(axis) or shifts.ndim > 1:
        raise refuse("`shift` and `axis`", expected="one shape", found=f"{np.shape(shift)} and {np.shape(axis)}")
    if not xp.rank(x):
        raise refuse("a scalar cannot be rolled")
    total: dict[int, int] = {}
    for s, a in zip(shifts.tolist(), axes.tolist(), strict=True):
        at = axis_of(a, xp.rank(x))
        total[at] = total.get(at, 0) + s
    for at, by in total.items():
        d = xp.dim(x, at)
        if not isinstance(d, int):
            raise Unlowerable("the size of a rolled dimension is not known when compiling")
        if d and by % d:
            cut = d - by % d
            x = xp.concat([xp.slice_axis(x, at, cut, None), xp.slice_axis(x, at, 0, cut)], at)
    return x


# --- blocks ---
@op(
    "SpaceToBatchND",
    gradient=back.space_to_batch_nd,
    shape=inference_array.space_to_batch_nd,
    static=("block_shape", "paddings"),
)
def space_to_batch_nd(xp: Any, x: Any, block_shape: Any, paddings: Any) -> Any:
    """Blocks of the spatial dimensions moved into the batch, after padding with zeros."""
    return _to_batch(xp, x, vector(block_shape, "block_shape"), paddings)


@op("SpaceToBatch", gradient=back.space_to_batch, shape=inference_array.space_to_batch, static=("paddings",))
def space_to_batch(xp: Any, x: Any, paddings: Any, *, block_size: int) -> Any:
    """Square blocks of height and width moved into the batch, after padding with zeros."""
    return _to_batch(xp, x, [block_size, block_size], paddings, rank=4)


@op(
    "BatchToSpaceND",
    gradient=back.batch_to_space_nd,
    shape=inference_array.batch_to_space_nd,
    lenient="crops that leave less than nothing, where sizes are open when compiling",
    static=("block_shape", "crops"),
)
def batch_to_space_nd(xp: Any, x: Any, block_shape: Any, crops: Any) -> Any:
    """The batch laid out as blocks of the spatial dimensions, which are then cropped."""
    return _from_batch(xp, x, vector(block_shape, "block_shape"), crops)


@op("BatchToSpace", gradient=back.batch_to_space, shape=inference_array.batch_to_space, static=("crops",))
def batch_to_space(xp: Any, x: Any, crops: Any, *, block_size: int) -> Any:
    """The batch laid out as square blocks of height and width, which are then cropped."""
    return _from_batch(xp, x, [block_size, block_size], crops, rank=4)


def _blocks(xp: Any, x: Any, block: list[int], rank: int | None) -> None:
    n = xp.rank(x)
    if n < 1 + len(block) or rank not in (None, n):
        raise refuse("rank of the tensor", expected=rank or f"at least {1 + len(block)}", found=n)
    if any(b < 1 for b in block):
        raise refuse("block sizes", expected="at least 1", found=block)


def _to_batch(xp: Any, x: Any, block: list[int], paddings: Any, rank: int | None = None) -> Any:
    _blocks(xp, x, block, rank)
    widths, m, n = _widths(paddings, len(block), "paddings"), len(block), xp.rank(x)
    if any(a or b for a, b in widths):
        full = np.array([(0, 0), *widths, *[(0, 0)] * (n - 1 - m)], np.int64)
        x = xp.pad(x, full, xp.asarray(0, dtype_of(xp, x)))
    if not m:
        return x
    dims = [xp.dim(x, i) for i in range(n)]
    inner = [_per(xp, d, b) for d, b in zip(dims[1:], block, strict=False)]
    cut = xp.reshape(x, [dims[0], *itertools.chain(*zip(inner, block, strict=True)), *dims[1 + m :]])
    spots, rest = [2 + 2 * i for i in range(m)], range(1 + 2 * m, n + m)
    turned = xp.transpose(cut, [*spots, 0, *(1 + 2 * i for i in range(m)), *rest])
    return xp.reshape(turned, [dims[0] * int(np.prod(block)), *inner, *dims[1 + m :]])


def _from_batch(xp: Any, x: Any, block: list[int], crops: Any, rank: int | None = None) -> Any:
    _blocks(xp, x, block, rank)
    widths, m, n = _widths(crops, len(block), "crops"), len(block), xp.rank(x)
    if not m:
        return x
    dims = [xp.dim(x, i) for i in range(n)]
    batch = _per(xp, dims[0], int(np.prod(block)))
    cut = xp.reshape(x, [*block, batch, *dims[1:]])
    order = [m, *itertools.chain(*((m + 1 + i, i) for i in range(m))), *range(2 * m + 1, n + m)]
    sizes = [d * b for d, b in zip(dims[1:], block, strict=False)]
    out = xp.reshape(xp.transpose(cut, order), [batch, *sizes, *dims[1 + m :]])
    for i, (a, b) in enumerate(widths):
        d = sizes[i]
        if isinstance(d, int) and a + b > d:
            raise refuse(f"crops of dimension {i + 1}", expected=f"at most {d}", found=[a, b])
        if (a or b) and not isinstance(d, int):
            out = xp.slice_axis(out, i + 1, a, -b if b else None)
        elif a or b:
            out = xp.slice_axis(out, i + 1, a, d - b)
    return out


def _per(xp: Any, d: Any, block: int) -> Any:
    """A dimension divided by a block size."""
    if not isinstance(d, int):
        return xp.trunc_divide(d, block)  # a remainder makes the reshape fail, as it must
    if d % block:
        raise refuse("a dimension is not made of whole blocks", expected=f"a multiple of {block}", found=d)
    return d // block


@op("SpaceToDepth", gradient=back.space_to_depth, shape=inference_array.space_to_depth)
def space_to_depth(xp: Any, x: Any, *, block_size: int, data_format: str) -> Any:
    """Blocks of height and width moved into the channels."""
    (n, h, w, c), first = _image(xp, x, block_size, data_format)
    b = block_size
    p, q = _per(xp, h, b), _per(xp, w, b)
    if first:
        return xp.reshape(xp.transpose(xp.reshape(x, [n, c, p, b, q, b]), [0, 3, 5, 1, 2, 4]), [n, c * (b * b), p, q])
    return xp.reshape(xp.transpose(xp.reshape(x, [n, p, b, q, b, c]), [0, 1, 3, 2, 4, 5]), [n, p, q, c * (b * b)])


@op("DepthToSpace", gradient=back.depth_to_space, shape=inference_array.depth_to_space)
def depth_to_space(xp: Any, x: Any, *, block_size: int, data_format: str) -> Any:
    """The channels laid out as blocks of height and width."""
    (n, h, w, c), first = _image(xp, x, block_size, data_format)
    b = block_size
    k = _per(xp, c, b * b)
    if first:
        return xp.reshape(xp.transpose(xp.reshape(x, [n, b, b, k, h, w]), [0, 3, 4, 1, 5, 2]), [n, k, h * b, w * b])
    return xp.reshape(xp.transpose(xp.reshape(x, [n, h, w, b, b, k]), [0, 1, 3, 2, 4, 5]), [n, h * b, w * b, k])


def _image(xp: Any, x: Any, block_size: int, data_format: str) -> tuple[tuple[Any, ...], bool]:
    """Batch, height, width and channels of x, and whether the channels come first."""
    if data_format == "NCHW_VECT_C":
        raise refuse("the layout NCHW_VECT_C is for GPUs only", expected="NHWC or NCHW", found=data_format)
    if xp.rank(x) != 4 or block_size < 2:
        raise refuse("an image and its block size", expected="rank 4 and at least 2", found=[xp.rank(x), block_size])
    n, *rest = (xp.dim(x, i) for i in range(4))
    return ((n, rest[1], rest[2], rest[0]), True) if data_format == "NCHW" else ((n, *rest), False)


# --- layouts by name ---
@op("DataFormatDimMap", shape="x -> x")
def data_format_dim_map(xp: Any, x: Any, *, src_format: str, dst_format: str) -> Any:
    """Where each dimension of one layout is in another."""
    _permuted(src_format, dst_format)
    n = len(src_format)
    table = np.array([dst_format.index(c) for c in src_format] * 2, xp.dtype(x))  # -n to n-1
    return xp.gather(xp.asarray(table, dtype_of(xp, x)), x + xp.asarray(n, dtype_of(xp, x)), 0)


@op("DataFormatVecPermute", shape="x -> x")
def data_format_vec_permute(xp: Any, x: Any, *, src_format: str, dst_format: str) -> Any:
    """A number, or a pair of numbers, per dimension, from the order of one layout into that of another."""
    _permuted(src_format, dst_format)
    n, length = len(src_format), xp.dim(x, 0) if xp.rank(x) in (1, 2) else -1
    if not isinstance(length, int):
        raise Unlowerable("the number of dimensions is not known when compiling")
    if length not in (n, n - 2) or (xp.rank(x) == 2 and xp.dim(x, 1) != 2):
        raise refuse("a vector or pairs of a layout", expected=f"{n} or {n - 2}", found=length)
    if length == n - 2:  # spatial dimensions only
        src_format, dst_format = (f.replace("N", "").replace("C", "") for f in (src_format, dst_format))
    where = xp.asarray(np.array([src_format.index(c) for c in dst_format], np.int64), int64)
    return xp.gather(x, where, 0)


def _permuted(src_format: str, dst_format: str) -> None:
    if sorted(src_format) != sorted(dst_format) or len(set(src_format)) != len(src_format) or len(src_format) < 4:
        raise refuse("layouts", expected="two orders of the same dimensions", found=[src_format, dst_format])
