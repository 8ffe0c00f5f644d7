"""XLA's ops that move elements, and its marks, as graphs have them that were exported from JAX.

Out of range is nowhere: XLA moves the start of a slice until the slice fits. Definitions: XLA's documentation,
"Operation semantics".
"""

from __future__ import annotations

import functools
import itertools
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from coldframe import dtypes
from coldframe.ops import backward as back
from coldframe.ops.linear import known
from coldframe.ops.table import alias, op
from coldframe.ops.xla_numbers import index_numbers, rest, within
from coldframe.primitives.base import Unlowerable, refuse


# --- padding ------------------------------------------------------------------------------------------------------
def padded(xp: Any, x: Any, value: Any, low: Sequence[int], high: Sequence[int], inner: Sequence[int]) -> Any:
    """Return `x` with `inner` cells of `value` between elements, then `low` and `high` around; negative ones cut."""
    for axis, k in enumerate(inner):
        if k:
            x = _spread(xp, x, value, axis, k)
    around = [(max(a, 0), max(b, 0)) for a, b in zip(low, high, strict=True)]
    if any(a or b for a, b in around):
        x = xp.pad(x, around, value)
    for axis, (a, b) in enumerate(zip(low, high, strict=True)):
        if a < 0 or b < 0:
            x = xp.slice_axis(x, axis, max(-a, 0), b if b < 0 else None)
    return x


def _spread(xp: Any, x: Any, value: Any, axis: int, k: int) -> Any:
    dims = [xp.dim(x, i) for i in range(xp.rank(x))]
    n = dims[axis]
    if not isinstance(n, int):
        raise Unlowerable("how many elements are to be spread is not known when compiling")
    wide = xp.pad(xp.expand_dims(x, [axis + 1]), [(0, k if i == axis + 1 else 0) for i in range(len(dims) + 1)], value)
    flat = xp.reshape(wide, [*dims[:axis], n * (k + 1), *dims[axis + 1 :]])
    return xp.slice_axis(flat, axis, 0, max(n * (k + 1) - k, 0))


_PADS = ("padding_low", "padding_high", "padding_interior")


@op("XlaPad", static=_PADS)
def xla_pad(xp: Any, input: Any, padding_value: Any, padding_low: Any, padding_high: Any, padding_interior: Any) -> Any:
    """`input` with a value around and between its elements; where padding is negative, without its border."""
    rank = xp.rank(input)
    amounts = [xp.static(p).astype(int).tolist() for p in (padding_low, padding_high, padding_interior)]
    if any(len(a) != rank for a in amounts) or min(amounts[2], default=0) < 0:
        raise refuse("the padding", expected=f"{rank} numbers each, none negative inside", found=amounts)
    return padded(xp, input, padding_value, *amounts)


# --- slices -------------------------------------------------------------------------------------------------------
def _clamped(xp: Any, x: Any, starts: Any, sizes: Sequence[int]) -> list[Any]:
    """Return scalars: where a box of `sizes` begins so that it fits, in each dimension."""
    dims = [xp.dim(x, i) for i in range(xp.rank(x))]
    if not known(*dims):
        raise Unlowerable("how far a slice may begin is not known when compiling")
    if len(dims) != len(sizes) or any(not 0 <= n <= d for n, d in zip(sizes, dims, strict=True)):
        raise refuse("the sizes of a slice", expected=f"at most {dims}", found=list(sizes))
    begin = xp.cast(starts, dtypes.int64)
    return [_clip(xp, xp.pick(begin, i, 0), d - n) for i, (d, n) in enumerate(zip(dims, sizes, strict=True))]


def _clip(xp: Any, x: Any, limit: int) -> Any:
    return xp.clip(x, xp.asarray(np.int64(0), dtypes.int64), xp.asarray(np.int64(limit), dtypes.int64))


def _check_starts(xp: Any, starts: Any, rank: int) -> None:
    if xp.rank(starts) != 1 or (known(xp.dim(starts, 0)) and xp.dim(starts, 0) != rank):
        raise refuse("where the slice begins", expected=f"{rank} numbers", found=f"rank {xp.rank(starts)}")


@op("XlaDynamicSlice", static=("size_indices",))
def xla_dynamic_slice(xp: Any, input: Any, start_indices: Any, size_indices: Any) -> Any:
    """The box of fixed sizes at `start_indices`, moved so that it lies inside."""
    _check_starts(xp, start_indices, xp.rank(input))
    sizes = xp.static(size_indices).astype(int).tolist()
    starts = _clamped(xp, input, start_indices, sizes)
    if not starts:
        return input
    return xp.slice(input, xp.stack(starts, 0), np.array(sizes, np.int64))


@op("XlaDynamicUpdateSlice")
def xla_dynamic_update_slice(xp: Any, input: Any, update: Any, indices: Any) -> Any:
    """`input` with `update` written over the box at `indices`, moved so that it lies inside."""
    rank = xp.rank(input)
    _check_starts(xp, indices, rank)
    if xp.rank(update) != rank:
        raise refuse("the rank of the update", expected=rank, found=xp.rank(update))
    sizes = [xp.dim(update, i) for i in range(rank)]
    if not known(*sizes):
        raise Unlowerable("how large the update is is not known when compiling")
    starts = _clamped(xp, input, indices, sizes)
    if 0 in sizes:
        return input
    out, inside = update, None
    for axis, (start, n) in enumerate(zip(starts, sizes, strict=True)):
        places = xp.asarray(np.arange(xp.dim(input, axis)), dtypes.int64) - start
        out = xp.gather(out, _clip(xp, places, n - 1), axis)
        here = xp.logical_and(xp.greater_equal(places, 0), xp.less(places, n))
        here = xp.reshape(here, [-1 if i == axis else 1 for i in range(rank)])
        inside = here if inside is None else xp.logical_and(inside, here)
    return out if inside is None else xp.where(inside, out, input)


# --- gather -------------------------------------------------------------------------------------------------------
@op("XlaGather", static=("slice_sizes",), ignores=("indices_are_sorted",))
def xla_gather(xp: Any, operand: Any, start_indices: Any, slice_sizes: Any, *, dimension_numbers: str) -> Any:
    """A window of `operand` for each index vector, moved so that it lies inside."""
    n, rank = index_numbers(dimension_numbers), xp.rank(operand)
    sizes = xp.static(slice_sizes).astype(int).tolist()
    dims = [xp.dim(operand, i) for i in range(rank)]
    for name, d in (("start_index_map", n.to_operand), ("collapsed_slice_dims", n.dropped + n.batch)):
        within(name, d, rank)
    if len(sizes) != rank:
        raise refuse("`slice_sizes`", expected=f"{rank} numbers", found=sizes)
    moving = [d for d in range(rank) if d in n.batch or dims[d] != sizes[d]]
    if not known(*(dims[d] for d in (*moving, *n.to_operand))):
        raise Unlowerable("how far a window may begin is not known when compiling")
    if any(not 0 <= sizes[d] <= dims[d] for d in moving) or any(sizes[d] > 1 for d in n.dropped + n.batch):
        raise refuse("`slice_sizes`", expected=f"at most {dims}, 1 where a dimension is dropped", found=sizes)
    vectors, lead = _index_vectors(xp, start_indices, n.vector)
    still = [d for d in range(rank) if d not in moving]
    x = xp.transpose(operand, [*moving, *still])
    if moving:
        at = [_places(xp, n, d, vectors, lead, sizes, moving, dims) for d in moving]
        x = xp.gather_nd(x, xp.stack(_spread_out(xp, at), -1))
    else:
        count = [xp.dim(vectors, i) for i in range(lead)]
        x = xp.broadcast_to(xp.reshape(x, [1] * lead + [dims[d] for d in still]), [*count, *(dims[d] for d in still)])
    # now [lead..., moving..., still...]: the window's dimensions in order, without those that are dropped
    order = [lead + (*moving, *still).index(d) for d in range(rank)]
    gone = n.dropped + n.batch
    x = xp.transpose(x, [*range(lead), *order])
    x = xp.squeeze(x, [lead + d for d in gone]) if gone else x
    total = lead + rank - len(gone)
    within("offset_dims", n.window, total)
    front, inner = iter(range(lead)), iter(range(lead, total))
    return xp.transpose(x, [next(inner) if i in n.window else next(front) for i in range(total)])


def _index_vectors(xp: Any, indices: Any, axis: int) -> tuple[Any, int]:
    """Return the indices with their vectors last, and how many dimensions come before."""
    rank = xp.rank(indices)
    if not 0 <= axis <= rank:
        raise refuse("`index_vector_dim`", expected=f"0 to {rank}", found=axis)
    at = xp.cast(indices, dtypes.int64)
    if axis == rank:
        return xp.expand_dims(at, [rank]), rank
    return xp.transpose(at, [*rest(rank, (axis,)), axis]), rank - 1


def _places(
    xp: Any, n: Any, d: int, vectors: Any, lead: int, sizes: Sequence[int], moving: Sequence[int], dims: Sequence[int]
) -> Any:
    """Where along dimension `d` the elements of the windows are: [lead..., one dimension per moving one]."""
    wide = [1] * len(moving)
    offsets = np.arange(sizes[d]).reshape([-1 if m == d else 1 for m in moving])
    if d in n.batch:
        axis = n.indices_batch[n.batch.index(d)]
        axis -= axis > n.vector
        shape = [dims[d] if i == axis else 1 for i in range(lead)] + wide
        return xp.asarray(np.arange(dims[d]).reshape(shape), dtypes.int64)
    if d not in n.to_operand:
        return xp.asarray(offsets.reshape([1] * lead + list(offsets.shape)), dtypes.int64)
    start = _clip(xp, xp.pick(vectors, n.to_operand.index(d), lead), dims[d] - sizes[d])
    start = xp.reshape(start, [*(xp.dim(vectors, i) for i in range(lead)), *wide])
    return start + xp.asarray(offsets, dtypes.int64)


def _spread_out(xp: Any, at: Sequence[Any]) -> list[Any]:
    """Return `at` broadcast to one shape."""
    zero = functools.reduce(operator.add, [xp.zeros_like(a) for a in at])
    return [a + zero for a in at]


# --- broadcasting -------------------------------------------------------------------------------------------------
@op("XlaBroadcastHelper", static=("broadcast_dims",))
def xla_broadcast_helper(xp: Any, lhs: Any, rhs: Any, broadcast_dims: Any) -> tuple[Any, Any]:
    """Both operands, the one of lower rank with dimensions of size 1 so that its own lie at `broadcast_dims`."""
    at = xp.static(broadcast_dims).astype(int).tolist()
    p, q = xp.rank(lhs), xp.rank(rhs)
    if not at:
        if p != q and 0 not in (p, q):
            raise refuse("`broadcast_dims` is empty", expected="operands of one rank, or a scalar", found=[p, q])
        return lhs, rhs
    small, rank = (lhs, q) if p < q else (rhs, p)
    if p == q or len(at) != xp.rank(small) or any(b <= a for a, b in itertools.pairwise(at)):
        raise refuse("`broadcast_dims`", expected=f"{min(p, q)} rising numbers, and ranks that differ", found=at)
    within("broadcast_dims", tuple(at), rank)
    wide = xp.expand_dims(small, [d for d in range(rank) if d not in at])
    return (wide, rhs) if p < q else (lhs, wide)


# --- marks --------------------------------------------------------------------------------------------------------
_HOW = ("sharding", "unspecified_dims")


@op("XlaSharding", ignores=_HOW, elementwise=True, gradient=back.passed)
def xla_sharding(xp: Any, input: Any) -> Any:
    """`input`: over how many devices it is spread is no matter on one."""
    return input


xla_cluster_output = alias("XlaClusterOutput", xla_sharding, ignores=())


@op("XlaOptimizationBarrier")
def xla_optimization_barrier(xp: Any, input: list[Any]) -> list[Any]:
    """Its inputs, which XLA's compiler does not move operations across."""
    return input


@op("XlaSetBound")
def xla_set_bound(xp: Any, input: Any, bound: Any) -> Any:
    """`input`, of which XLA is told a bound."""
    return input


@op("XlaRemoveDynamicDimensionSize")
def xla_remove_dynamic_dimension_size(xp: Any, input: Any, dim_index: Any) -> Any:
    """`input`: all sizes are what they are."""
    return input


@op("XlaReplicaId")
def xla_replica_id(xp: Any) -> Any:
    """0: there is one replica."""
    return xp.asarray(np.int32(0), dtypes.int32)
