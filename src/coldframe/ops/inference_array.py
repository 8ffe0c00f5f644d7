"""Shape rules of ops that make, join, cut, pad and rearrange tensors, and of those that tell or take shapes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np

from coldframe.dtypes import DType, int32
from coldframe.errors import GraphError
from coldframe.ops.known import (
    Attrs,
    Dim,
    Dims,
    Known,
    add,
    at_least,
    axis_of,
    broadcast,
    described,
    div,
    entries_of,
    merge,
    merge_dim,
    mul,
    of_entries,
    scalar_of,
    sub,
    vector_of,
    with_rank,
)  # fmt: skip
from coldframe.shapes import Shape

MAX_CONSTANT: Final = 1 << 16
"""Elements up to which the value of a constant counts as known."""


# --- shapes as tensors --------------------------------------------------------------------------------------------
def shape_of(a: Attrs, x: Known) -> Known:
    """Shape: a vector that tells the dimensions that are known."""
    kind: DType = a["out_type"]
    if x.dims is None:
        return Known(kind, Shape((None,)))
    return of_entries(x.dims, kind)


def shapes_of(a: Attrs, xs: list[Known]) -> list[Known]:
    """ShapeN."""
    return [shape_of(a, x) for x in xs]


def size_of(a: Attrs, x: Known) -> Known:
    """Size: a scalar, known where the shape is."""
    kind: DType = a["out_type"]
    size = x.shape.size
    return Known(kind, Shape(()), None if size is None else np.asarray(size, kind.numpy))


def rank_of(a: Attrs, x: Known) -> Known:
    """Rank: a scalar, known where the rank is."""
    return Known(int32, Shape(()), None if x.dims is None else np.asarray(len(x.dims), np.int32))


def identity(a: Attrs, x: Known) -> Known:
    """The same tensor: all that is known of it."""
    return x


def identities(a: Attrs, xs: list[Known]) -> list[Known]:
    """IdentityN."""
    return xs


def cast(a: Attrs, x: Known) -> Known:
    """Cast: the entries of a shape stay known between integers."""
    kind: DType = a["DstT"]
    return Known(kind, x.shape, None, x.partial if kind.is_integer else None)


def from_shape(a: Attrs, sizes: Known, *others: Known) -> Dims:
    """A tensor whose shape is the first input."""
    return described(sizes)


def placeholder(a: Attrs) -> Dims:
    """A tensor whose shape is an attribute; in old graphs a shape of no dimensions says nothing."""
    shape: Shape = a["shape"]
    return shape.dims


def constant(a: Attrs) -> Known:
    """Const: its attribute `value`; weights are not decoded for it."""
    value, shape = a["value"], a["value"].shape
    return Known(value.dtype, shape, value.array if shape.size <= MAX_CONSTANT else None)


def range_(a: Attrs, start: Known, limit: Known, delta: Known) -> Dims:
    """Range: as many as the values of its inputs say."""
    for x in (start, limit, delta):
        with_rank(x.dims, 0)
    if start.value is None or limit.value is None or delta.value is None:
        return (None,)
    b, e, d = start.value.item(), limit.value.item(), delta.value.item()
    if d == 0:
        raise GraphError("a range needs a delta other than 0")
    if b != e and (e > b) != (d > 0):
        raise GraphError("a range runs away from its limit", expected=f"a delta towards {e}", found=d)
    return (max(0, -((b - e) // d) if isinstance(b, int) else math.ceil(abs((e - b) / d))),)


def lin_space(a: Attrs, start: Known, stop: Known, num: Known) -> Dims:
    """LinSpace."""
    for x in (start, stop, num):
        with_rank(x.dims, 0)
    n = scalar_of(num)
    if n is not None and n <= 0:
        raise GraphError("LinSpace needs a positive number", found=n)
    return (n,)


# --- reshaping ----------------------------------------------------------------------------------------------------
def reshape(a: Attrs, x: Known, sizes: Known) -> Known:
    """Reshape: one -1, or one size that is not known, is what is left."""
    with_rank(sizes.dims, 1)
    entries = entries_of(sizes)
    if entries is None:
        return Known(x.dtype, Shape(None))
    out = _filled(x, [None if e == -1 else e for e in entries], sum(e == -1 for e in entries))
    value = x.value.reshape(out) if x.value is not None and None not in out else None  # type: ignore[arg-type]
    partial = x.partial if len(out) == 1 and x.value is None else None
    return Known(x.dtype, Shape(out), value, partial)


def _filled(x: Known, out: list[Dim], asked: int) -> tuple[Dim, ...]:
    dims = x.dims
    total = 0 if dims is not None and 0 in dims else x.shape.size
    known = math.prod(d for d in out if d is not None)
    if total is not None:
        if out.count(None) == 1 and (asked or total):
            if known == 0 and asked:
                return tuple(out)
            if known and total % known:
                raise GraphError(
                    "dimensions cannot be filled", expected=f"a multiple of {known}", found=f"{total} elements"
                )
            if known:
                out[out.index(None)] = total // known
        elif None not in out and known != total:
            raise GraphError(
                f"cannot reshape a tensor with {total} elements to shape {Shape(tuple(out))} ({known} elements)"
            )
    elif dims is not None and out.count(None) == 1 and dims.count(None) == 1 and known:
        # One open size on each side: it stays as open as it was, multiplied by what is known. Nothing can be told
        # here, but a wrong multiple is caught when the graph runs.
        pass
    elif dims is not None and dims.count(None) == 1 and None not in out:
        rest = math.prod(d for d in dims if d is not None)
        if rest and known % rest:
            raise GraphError("dimensions cannot be filled", expected=f"a multiple of {rest}", found=f"{known} elements")
    return tuple(out)


def squeeze(a: Attrs, x: Known) -> Dims:
    """Squeeze: without the dimensions named, or without all that are 1."""
    axes: Sequence[int] = a["squeeze_dims"]
    if x.dims is None:
        return None
    if not axes:
        return None if None in x.dims else tuple(d for d in x.dims if d != 1)
    at = {axis_of(i, len(x.dims)) for i in axes}
    for i in at:
        if x.dims[i] not in (1, None):
            raise GraphError(f"can not squeeze dim[{i}]", expected="a dimension of 1", found=x.dims[i])
    return tuple(d for i, d in enumerate(x.dims) if i not in at)


def expand_dims(a: Attrs, x: Known, axis: Known) -> Dims:
    """ExpandDims."""
    at = scalar_of(axis)
    if x.dims is None:
        return None
    if at is None:
        return (None,) * (len(x.dims) + 1)
    n = len(x.dims)
    if not -n - 1 <= at <= n:
        raise GraphError("no such axis", expected=f"{-n - 1} to {n}", found=at)
    at = at + n + 1 if at < 0 else at
    return (*x.dims[:at], 1, *x.dims[at:])


def broadcast_to(a: Attrs, x: Known, sizes: Known) -> Dims:
    """BroadcastTo."""
    out = described(sizes)
    if out is not None and x.dims is not None:
        if len(x.dims) > len(out):
            raise GraphError("a tensor is broadcast to a lower rank", expected=f"at most {len(out)}", found=len(x.dims))
        out = broadcast(x.dims, out)
    return out


def broadcast_args(a: Attrs, s0: Known, s1: Known) -> Known:
    """BroadcastArgs: the shape of two shapes broadcast."""
    with_rank(s0.dims, 1)
    with_rank(s1.dims, 1)
    m, n = entries_of(s0), entries_of(s1)
    if m is None or n is None:
        return Known(s0.dtype, Shape((None,)))
    head = len(m) - len(n)
    m, n = (1,) * max(0, -head) + m, (1,) * max(0, head) + n
    out = [p if p == q or q == 1 else q if p == 1 or p is None else p for p, q in zip(m, n, strict=True)]
    return of_entries([e if e != 1 or None not in pq else None for e, *pq in zip(out, m, n, strict=True)], s0.dtype)


def ensure_shape(a: Attrs, x: Known) -> Dims:
    """EnsureShape."""
    shape: Shape = a["shape"]
    return merge(x.dims, shape.dims)


def transpose(a: Attrs, x: Known, perm: Known) -> Dims:
    """Transpose, by a permutation that may not be known."""
    with_rank(perm.dims, 1)
    order = vector_of(perm)
    rank = len(order) if order is not None else None if perm.dims is None else perm.dims[0]
    if rank is None:
        rank = None if x.dims is None else len(x.dims)
    if rank is None:
        return None
    dims = with_rank(x.dims, rank)
    if order is None:
        return (None,) * rank if rank > 1 else dims
    for o in order:
        if not -rank <= o < rank:
            raise GraphError("perm has a dimension out of range", expected=f"{-rank} to {rank - 1}", found=o)
    return tuple(dims[o] for o in order)


# --- joining and cutting ------------------------------------------------------------------------------------------
def concat(a: Attrs, concat_dim: Known, values: list[Known]) -> Known | Dims:
    """Concat."""
    return concat_v2(a, values, concat_dim)


def concat_v2(a: Attrs, values: list[Known], axis: Known) -> Known | Dims:
    """ConcatV2: sizes add up along the axis, and must be equal elsewhere."""
    at, ranks = scalar_of(axis), {len(v.dims) for v in values if v.dims is not None}
    if at is None:
        for v in values:
            with_rank(v.dims, min(ranks)) if ranks else None
        return (None,) * min(ranks) if ranks else None
    if len(ranks) > 1:
        raise GraphError("tensors to concatenate must be of equal rank", found=sorted(ranks))
    if not ranks:
        return None
    rank = ranks.pop()
    at = axis_of(at, rank) if rank else _no_scalars()
    head: Dims = None
    total: Dim = 0
    for v in values:
        dims = with_rank(v.dims, rank)
        total = add(total, dims[at])
        head = merge(head, (*dims[:at], None, *dims[at + 1 :]))
    assert head is not None
    out = (*head[:at], total, *head[at + 1 :])
    if rank == 1 and values[0].dtype.is_integer and total is not None and total <= 254:
        entries: list[Dim] = []
        for v in values:
            entries += entries_of(v) or ()
        if len(entries) == total and any(e is not None for e in entries):
            return of_entries(entries, values[0].dtype)
    return out


def _no_scalars() -> int:
    raise GraphError("scalars cannot be concatenated", hint="Pack stacks them")


def parallel_concat(a: Attrs, values: list[Known]) -> Dims:
    """ParallelConcat: its attribute `shape`."""
    shape: Shape = a["shape"]
    return shape.dims


def concat_offset(a: Attrs, concat_dim: Known, shapes: list[Known]) -> list[Known | Dims]:
    """ConcatOffset: like the shapes."""
    with_rank(concat_dim.dims, 0)
    return [with_rank(s.dims, 1) for s in shapes]


def pack(a: Attrs, values: list[Known]) -> Known | Dims:
    """Pack; of integer scalars, what is known of each."""
    dims: Dims = None
    for v in values:
        dims = merge(dims, v.dims)
    if dims is None:
        return None
    n = len(dims) + 1
    at = _new_axis(a["axis"], n)
    if n == 1 and values[0].dtype.is_integer:
        return of_entries([scalar_of(v) for v in values], values[0].dtype)
    return (*dims[:at], len(values), *dims[at:])


def _new_axis(axis: int, n: int) -> int:
    if not -n <= axis < n:
        raise GraphError("no such axis", expected=f"{-n} to {n - 1}", found=axis)
    return axis % n


def unpack(a: Attrs, x: Known) -> list[Known | Dims]:
    """Unpack."""
    num: int = a["num"]
    if x.dims is None:
        return [None] * num
    if not x.dims:
        raise GraphError("shape must be of at least rank 1", found="a scalar")
    at = _new_axis(a["axis"], len(x.dims))
    merge_dim(x.dims[at], num)
    entries = entries_of(x) if x.partial is not None else None
    if entries is not None:
        kind = x.dtype.numpy
        return [Known(x.dtype, Shape(()), None if e is None else np.asarray(e, kind)) for e in entries]
    return [(*x.dims[:at], *x.dims[at + 1 :])] * num


def split(a: Attrs, split_dim: Known, x: Known) -> list[Dims]:
    """Split: into equal parts."""
    n: int = a["num_split"]
    at = scalar_of(split_dim)
    if at is None or x.dims is None:
        return [None if x.dims is None else (None,) * len(x.dims)] * n
    at = axis_of(at, len(x.dims))
    return [(*x.dims[:at], div(x.dims[at], n), *x.dims[at + 1 :])] * n


def split_v(a: Attrs, x: Known, size_splits: Known, split_dim: Known) -> list[Dims]:
    """SplitV: into parts of given sizes."""
    n: int = a["num_split"]
    at, sizes = scalar_of(split_dim), vector_of(size_splits)
    if x.dims is None:
        return [None] * n
    if n == 1:
        return [x.dims]
    if at is None:
        return [(None,) * len(x.dims)] * n
    at = axis_of(at, len(x.dims))
    if sizes is None:
        return [(*x.dims[:at], None, *x.dims[at + 1 :])] * n
    total = x.dims[at]
    if -1 in sizes:
        rest = None if total is None else total - (sum(sizes) + 1)
        parts: list[Dim] = [rest if s == -1 else s for s in sizes]
    else:
        merge_dim(total, sum(sizes))
        parts = list(sizes)
    return [(*x.dims[:at], p, *x.dims[at + 1 :]) for p in parts]


# --- repeating, padding, blocks -----------------------------------------------------------------------------------
def tile(a: Attrs, x: Known, multiples: Known) -> Dims:
    """Tile."""
    by = described(multiples)
    if by is None:
        return None if x.dims is None else (None,) * len(x.dims)
    dims = with_rank(x.dims, len(by))
    return tuple(mul(d, m) for d, m in zip(dims, by, strict=True))


def pad(a: Attrs, x: Known, paddings: Known, *constant: Known) -> Dims:
    """Pad, PadV2, MirrorPad: `paddings` is [rank, 2]."""
    rows, pair = with_rank(paddings.dims, 2)
    merge_dim(pair, 2)
    if paddings.value is None:
        if rows is None:
            return None if x.dims is None else (None,) * len(x.dims)
        with_rank(x.dims, rows)
        return (None,) * rows
    widths = paddings.value.tolist()
    dims = with_rank(x.dims, len(widths))
    if any(w < 0 for ws in widths for w in ws):
        raise GraphError("paddings must be at least 0", found=widths)
    return tuple(add(d, int(b) + int(e)) for d, (b, e) in zip(dims, widths, strict=True))


def mirror_pad_grad(a: Attrs, dy: Known, paddings: Known) -> Dims:
    """MirrorPadGrad: what MirrorPad had taken."""
    rows, pair = with_rank(paddings.dims, 2)
    merge_dim(pair, 2)
    if rows is None:
        rows = None if dy.dims is None else len(dy.dims)
        if rows is None:
            return None
    dims = with_rank(dy.dims, rows)
    if paddings.value is None:
        return (None,) * rows
    return tuple(sub(d, int(b) + int(e)) for d, (b, e) in zip(dims, paddings.value.tolist(), strict=True))


def reverse_sequence(a: Attrs, x: Known, lengths: Known) -> Dims:
    """ReverseSequence: the shape of the input."""
    with_rank(lengths.dims, 1)
    if x.dims is None:
        return None
    batch: int = a["batch_dim"]
    for at in (batch, a["seq_dim"]):
        if at >= len(x.dims):
            raise GraphError("no such dimension", expected=f"0 to {len(x.dims) - 1}", found=at)
    d = merge_dim(x.dims[batch], with_rank(lengths.dims, 1)[0])
    return (*x.dims[:batch], d, *x.dims[batch + 1 :])


def space_to_batch_nd(a: Attrs, x: Known, block_shape: Known, paddings: Known) -> Dims:
    """SpaceToBatchND."""
    return _blocks(x, block_shape.dims, vector_of(block_shape), paddings, to_batch=True)


def batch_to_space_nd(a: Attrs, x: Known, block_shape: Known, crops: Known) -> Dims:
    """BatchToSpaceND."""
    return _blocks(x, block_shape.dims, vector_of(block_shape), crops, to_batch=False)


def space_to_batch(a: Attrs, x: Known, paddings: Known) -> Dims:
    """SpaceToBatch."""
    block: int = a["block_size"]
    return _blocks(Known(x.dtype, Shape(with_rank(x.dims, 4))), (2,), [block] * 2, paddings, to_batch=True)


def batch_to_space(a: Attrs, x: Known, crops: Known) -> Dims:
    """BatchToSpace."""
    block: int = a["block_size"]
    return _blocks(Known(x.dtype, Shape(with_rank(x.dims, 4))), (2,), [block] * 2, crops, to_batch=False)


def _blocks(x: Known, shape: Dims, block: list[int] | None, edges: Known, *, to_batch: bool) -> Dims:
    n = with_rank(shape, 1)[0]
    at_least(x.dims, 1 if n is None else n + 1)
    if x.dims is None:
        return None
    if block is None:
        return (None,) * (1 if n is None else n + 1) + x.dims[1 if n is None else n + 1 :]
    n = len(block)
    if any(b < 1 for b in block):
        raise GraphError("the block shape must be positive", found=block)
    batch, widths = x.dims[0], None if edges.value is None else edges.value.tolist()
    area = math.prod(block)
    out: list[Dim] = []
    for i, (b, d) in enumerate(zip(block, x.dims[1:], strict=False)):
        if widths is None:
            out.append(None)
        elif to_batch:
            out.append(div(add(d, sum(widths[i])), b))
        else:
            out.append(sub(mul(d, b), sum(widths[i])))
    first = mul(batch, area) if to_batch else div(batch, area)
    return (first, *out, *x.dims[n + 1 :])


def space_to_depth(a: Attrs, x: Known) -> Dims:
    """SpaceToDepth."""
    return _depth(a, x, out=False)


def depth_to_space(a: Attrs, x: Known) -> Dims:
    """DepthToSpace."""
    return _depth(a, x, out=True)


def _depth(a: Attrs, x: Known, *, out: bool) -> Dims:
    block: int = a["block_size"]
    if a["data_format"] == b"NCHW_VECT_C":
        return None
    last = a["data_format"] == b"NHWC"
    dims = with_rank(x.dims, 4)
    n, h, w, c = dims if last else (dims[0], dims[2], dims[3], dims[1])
    if out:
        h, w, c = mul(h, block), mul(w, block), div(c, block * block)
    else:
        h, w, c = div(h, block), div(w, block), mul(c, block * block)
    return (n, h, w, c) if last else (n, c, h, w)


def placeholder_with_default(a: Attrs, x: Known) -> Dims:
    """PlaceholderWithDefault: its attribute `shape`, which the default fits."""
    shape: Shape = a["shape"]
    merge(x.dims, shape.dims)
    return shape.dims


def printed(a: Attrs, x: Known, data: list[Known]) -> Known:
    """Print: the first input, whose value is not worked out again."""
    return Known(x.dtype, x.shape, None, x.partial, x.handle)
