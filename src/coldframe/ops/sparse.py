"""Sparse tensors: a matrix of coordinates (one row per value), the values, and the dense shape.

The canonical order of coordinates is row-major. Ops that merge two tensors, and those that read rows, need it, as
TensorFlow's do; `SparseReorder` makes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from coldframe.ops import inference_index, inference_math, inference_text
from coldframe.ops.backward import sparse as back
from coldframe.ops.table import Op, alias, op, rules
from coldframe.primitives.base import refuse
from coldframe.primitives.numpy_shape import dims

Array = npt.NDArray[Any]
_HOST: Final = "how many values a sparse tensor has is known only when running"
_INT64: Final = 2**63


def check_sparse(indices: Array, values: Array, shape: Array, what: str = "the sparse tensor") -> None:
    """Refuse parts that do not make a sparse tensor; coordinates may be anywhere."""
    if indices.ndim != 2 or values.ndim != 1 or shape.ndim != 1:
        found = [indices.ndim, values.ndim, shape.ndim]
        raise refuse(f"ranks of indices, values and shape of {what}", expected=[2, 1, 1], found=found)
    if indices.shape != (len(values), len(shape)):
        raise refuse(f"indices of {what}", expected=[len(values), len(shape)], found=list(indices.shape))


def check_inside(indices: Array, shape: Array, what: str = "the sparse tensor") -> None:
    """Refuse coordinates outside of the dense shape."""
    if not len(indices) or all(c.min() >= 0 and c.max() < n for c, n in zip(indices.T, shape, strict=True)):
        return
    bad = ((indices < 0) | (indices >= shape)).any(axis=1)
    if bad.any():
        k = int(np.argmax(bad))
        raise refuse(f"coordinate {k} of {what} is out of bounds", expected=shape.tolist(), found=indices[k].tolist())


def row_major(indices: Array) -> Array:
    """Return the permutation that puts coordinates in canonical order; equal ones stay in order."""
    if not indices.shape[1]:
        return np.arange(len(indices))
    return np.lexsort(indices.T[::-1])


def compared(a: Array, b: Array) -> Array:
    """Return per row -1, 0 or 1: whether the coordinate in `a` comes before, is, or comes after that in `b`."""
    out: Array = np.zeros(len(a), np.int64)
    for x, y in zip(a.T[::-1], b.T[::-1], strict=True):  # what differs earlier counts more
        out[x < y] = -1
        out[x > y] = 1
    return out


def starts_of(keys: Array) -> Array:
    """Return where runs of equal rows begin."""
    if not len(keys):
        return np.zeros(0, np.int64)
    return np.flatnonzero(np.concatenate([[True], (keys[1:] != keys[:-1]).any(axis=1)]))


# --- shape and order ---
@op("SparseReshape", shape="[n, r] [r] [m] -> [n, m] [m]", host=_HOST)
def sparse_reshape(xp: Any, input_indices: Array, input_shape: Array, new_shape: Array) -> Any:
    """Coordinates in another shape of as many elements; one new dimension may be -1."""
    if input_indices.ndim != 2 or input_shape.ndim != 1 or new_shape.ndim != 1:
        raise refuse(
            "ranks of indices, shape and new shape", expected=[2, 1, 1],
            found=[input_indices.ndim, input_shape.ndim, new_shape.ndim],
        )  # fmt: skip
    if input_indices.shape[1] != len(input_shape):
        raise refuse("numbers per coordinate", expected=len(input_shape), found=input_indices.shape[1])
    old = [int(d) for d in input_shape]
    if any(d < 0 for d in old):
        raise refuse("the dense shape has a negative size", found=old)
    new = _reshaped(old, [int(d) for d in new_shape])
    if old == new:
        return input_indices, np.array(new, np.int64)
    flat = np.zeros(len(input_indices), np.int64)
    for axis, d in enumerate(old):
        flat = flat * d + input_indices[:, axis]
    out = np.empty((len(flat), len(new)), np.int64)
    for axis in range(len(new) - 1, -1, -1):
        out[:, axis] = flat % new[axis] if new[axis] else 0
        flat = flat // max(new[axis], 1)
    return out, np.array(new, np.int64)


def _product(shape: Sequence[int]) -> int:
    n = 1
    for size in shape:
        n *= size
    if n >= _INT64:
        raise refuse("a dense shape of too many elements", found=list(shape))
    return n


def _reshaped(old: list[int], new: list[int]) -> list[int]:
    if new.count(-1) > 1 or any(d < -1 for d in new):
        raise refuse("the new shape", expected="sizes, at most one of them -1", found=new)
    have, rest = _product(old), _product([d for d in new if d != -1])
    if -1 in new:
        if not rest or have % rest:
            raise refuse("elements do not fill the shape", expected=new, found=old)
        return [have // rest if d == -1 else d for d in new]
    if have != rest:
        raise refuse("elements do not fill the shape", expected=new, found=old)
    return new


@op("SparseReorder", gradient=back.sparse_reorder, shape="[n, r] [n] [r] -> [n, r] [n]", host=_HOST)
def sparse_reorder(xp: Any, input_indices: Array, input_values: Array, input_shape: Array) -> Any:
    """Coordinates and values in canonical order."""
    check_sparse(input_indices, input_values, input_shape)
    order = row_major(input_indices)
    return input_indices[order], input_values[order]


@op("SparseConcat", shape=inference_text.sparse_concat, no_gradient=True, host=_HOST)
def sparse_concat(xp: Any, indices: list[Array], values: list[Array], shapes: list[Array], *, concat_dim: int) -> Any:
    """Sparse tensors joined along a dimension, in canonical order."""
    for k, parts in enumerate(zip(indices, values, shapes, strict=True)):
        check_sparse(*parts, what=f"input {k}")
    rank = len(shapes[0])
    axis = concat_dim + rank if concat_dim < 0 else concat_dim
    if not 0 <= axis < rank:
        raise refuse("`concat_dim`", expected=f"-{rank} to {rank - 1}", found=concat_dim)
    out = shapes[0].copy()
    offsets = [0]
    for k, shape in enumerate(shapes):
        if len(shape) != rank or (np.delete(shape, axis) != np.delete(out, axis)).any():
            raise refuse(f"the shape of input {k}", expected=f"that of the first, {out.tolist()}", found=shape.tolist())
        offsets.append(offsets[-1] + int(shape[axis]))
    out[axis] = offsets[-1]
    moved = [i + np.eye(1, rank, axis, dtype=np.int64) * o for i, o in zip(indices, offsets, strict=False)]
    joined, order = np.concatenate(moved), np.concatenate(values)
    by = row_major(joined)
    return joined[by], order[by], out


def _part(indices: Array, values: Array, start: Array, size: Array) -> tuple[Array, Array, Array]:
    inside = ((indices >= start) & (indices < start + size)).all(axis=1)
    return indices[inside] - start, values[inside], size


@op("SparseSlice", gradient=back.sparse_slice, shape="[n, r] [n] [r] [r] [r] -> [?, r] [?] [r]", host=_HOST)
def sparse_slice(xp: Any, indices: Array, values: Array, shape: Array, start: Array, size: Array) -> Any:
    """The part of a sparse tensor from `start` on, of at most `size`."""
    check_sparse(indices, values, shape)
    if start.shape != shape.shape or size.shape != shape.shape:
        raise refuse("start and size", expected=list(shape.shape), found=[list(start.shape), list(size.shape)])
    if (size < 0).any():
        raise refuse("`size` is negative", found=size.tolist())
    return _part(indices, values, start, np.clip(shape - start, 0, size))


@op("SparseSliceGrad", shape="[n] [k, r] [r] [m, r] -> [k]", host=_HOST)
def sparse_slice_grad(
    xp: Any, backprop_val_grad: Array, input_indices: Array, input_start: Array, output_indices: Array
) -> Any:
    """What SparseSlice's input values receive: its outputs' gradient, 0 where it left a value out."""
    if input_indices.ndim != 2 or output_indices.ndim != 2 or backprop_val_grad.ndim != 1:
        raise refuse("ranks of gradient, inputs and outputs", expected=[1, 2, 2])
    kept = {tuple(r): g for r, g in zip((output_indices + input_start).tolist(), backprop_val_grad, strict=True)}
    out = np.zeros(len(input_indices), backprop_val_grad.dtype)
    for k, row in enumerate(input_indices.tolist()):
        out[k] = kept.get(tuple(row), 0)
    return out


@op("SparseSplit", shape=inference_text.sparse_split, host=_HOST)
def sparse_split(xp: Any, split_dim: Any, indices: Array, values: Array, shape: Array, *, num_split: int) -> Any:
    """A sparse tensor cut along a dimension; the first parts are larger where it does not divide."""
    check_sparse(indices, values, shape)
    if np.ndim(split_dim):
        raise refuse("`split_dim`", expected="a scalar", found=f"shape {list(np.shape(split_dim))}")
    axis, rank = int(split_dim), len(shape)
    axis += rank if axis < 0 else 0
    if not 0 <= axis < rank:
        raise refuse("`split_dim`", expected=f"-{rank} to {rank - 1}", found=axis)
    if not 1 <= num_split <= shape[axis]:
        raise refuse("`num_split`", expected=f"1 to {int(shape[axis])}", found=num_split)
    parts, at = [], 0
    each, more = divmod(int(shape[axis]), num_split)
    for k in range(num_split):
        start, size = np.zeros_like(shape), shape.copy()
        start[axis], size[axis] = at, each + (k < more)
        at += int(size[axis])
        parts.append(_part(indices, values, start, size))
    return [p[0] for p in parts], [p[1] for p in parts], [p[2] for p in parts]


# --- rows ---
@op(
    "SparseFillEmptyRows",
    gradient=back.sparse_fill_empty_rows,
    shape=inference_index.fill_empty_rows,
    host=_HOST,
)
def sparse_fill_empty_rows(xp: Any, indices: Array, values: Array, dense_shape: Array, default_value: Any) -> Any:
    """A sparse tensor with a default value, at column 0, in each row that has none."""
    check_sparse(indices, values, dense_shape)
    if np.ndim(default_value):
        raise refuse("the default value", expected="a scalar", found=list(np.shape(default_value)))
    if not len(dense_shape):
        raise refuse("a sparse tensor of rank 0 has no rows")
    count, rows = int(dense_shape[0]), indices[:, 0]
    if ((rows < 0) | (rows >= count)).any():
        bad = int(np.argmax((rows < 0) | (rows >= count)))
        raise refuse(f"row of coordinate {bad}", expected=f"0 to {count - 1}", found=int(rows[bad]))
    sizes = np.bincount(rows, minlength=dims([count])[0]) if count else np.zeros(0, np.int64)
    empty = sizes == 0
    missing = np.flatnonzero(empty)
    all_rows = np.concatenate([rows, missing])
    order = np.argsort(all_rows, kind="stable")
    out = np.zeros((len(all_rows), indices.shape[1]), np.int64)
    out[: len(rows)] = indices
    out[len(rows) :, 0] = missing
    filled = np.concatenate([values, np.full(len(missing), default_value, values.dtype)])
    back = np.empty(len(order), np.int64)
    back[order] = np.arange(len(order))
    return out[order], filled[order], empty, back[: len(rows)]


@op("SparseFillEmptyRowsGrad", shape="[n] [m] -> [n] []", host=_HOST)
def sparse_fill_empty_rows_grad(xp: Any, reverse_index_map: Array, grad_values: Array) -> Any:
    """What SparseFillEmptyRows's values and its default receive."""
    if reverse_index_map.ndim != 1 or grad_values.ndim != 1:
        raise refuse("ranks of map and gradient", expected=[1, 1], found=[reverse_index_map.ndim, grad_values.ndim])
    if ((reverse_index_map < 0) | (reverse_index_map >= len(grad_values))).any():
        raise refuse("`reverse_index_map`", expected=f"0 to {len(grad_values) - 1}", found=reverse_index_map.tolist())
    rest = np.ones(len(grad_values), bool)
    rest[reverse_index_map] = False
    return grad_values[reverse_index_map], grad_values[rest].sum(dtype=grad_values.dtype)


@op("RaggedFillEmptyRows", gradient=back.ragged_fill_empty_rows, shape="[n] [n] [] [] -> [?] [?] [?] [n]", host=_HOST)
def ragged_fill_empty_rows(xp: Any, value_rowids: Array, values: Array, nrows: Any, default_value: Any) -> Any:
    """Values by the numbers of their rows, with a default value in each row that has none."""
    if value_rowids.ndim != 1 or values.ndim != 1 or np.ndim(nrows):
        found = [value_rowids.ndim, values.ndim, np.ndim(nrows)]
        raise refuse("ranks of row numbers, values and the number of rows", expected=[1, 1, 0], found=found)
    shape = np.array([int(nrows)], np.int64)
    rows, *rest = sparse_fill_empty_rows.body(xp, value_rowids[:, None], values, shape, default_value)
    return rows[:, 0], *rest


ragged_fill_empty_rows_grad = alias("RaggedFillEmptyRowsGrad", sparse_fill_empty_rows_grad)


@op("SparseSoftmax", gradient=back.sparse_softmax, shape="[n, r] [n] [r] -> [n]", host=_HOST)
def sparse_softmax(xp: Any, sp_indices: Array, sp_values: Array, sp_shape: Array) -> Any:
    """The softmax of each row (the last dimension), of the values that are there."""
    check_sparse(sp_indices, sp_values, sp_shape)
    if len(sp_shape) < 2:
        raise refuse("the rank of a softmax", expected="2 or more", found=len(sp_shape))
    check_inside(sp_indices, sp_shape)
    if (compared(sp_indices[:-1], sp_indices[1:]) >= 0).any():
        raise refuse("coordinates are out of order or repeated", hint="SparseReorder sorts them")
    starts = starts_of(sp_indices[:, :-1])
    if not len(starts):
        return sp_values
    lengths = np.diff(np.append(starts, len(sp_values)))
    e = np.exp(sp_values - np.repeat(np.maximum.reduceat(sp_values, starts), lengths))
    return e / np.repeat(np.add.reduceat(e, starts), lengths)


# --- reductions ---
def _reduction(name: str, ufunc: Any, sparse: bool, doc: str) -> Op:
    def run(
        xp: Any, input_indices: Array, input_values: Array, input_shape: Array, reduction_axes: Any, *, keep_dims: bool
    ) -> Any:
        check_sparse(input_indices, input_values, input_shape)
        rank = len(input_shape)
        axes = [int(a) for a in np.ravel(reduction_axes)]
        if any(not -rank <= a < rank for a in axes):
            raise refuse("`reduction_axes`", expected=f"-{rank} to {rank - 1}", found=axes)
        kept = [a for a in range(rank) if a not in {a % rank for a in axes}]
        check_inside(input_indices, input_shape)
        order = row_major(input_indices[:, kept])
        keys, values = input_indices[order][:, kept], input_values[order]
        starts = starts_of(keys)
        reduced = ufunc.reduceat(values, starts, dtype=values.dtype) if len(starts) else values
        groups, shape = keys[starts], input_shape[kept]
        if keep_dims:
            shape = input_shape.copy()
            shape[[a for a in range(rank) if a not in kept]] = 1
        if sparse:
            at = groups
            if keep_dims:
                at = np.zeros((len(groups), rank), np.int64)
                at[:, kept] = groups
            return at, reduced, shape
        out = np.zeros(dims(input_shape[kept]), values.dtype)
        out[tuple(groups.T)] = reduced if kept or not len(reduced) else reduced[0]
        return out.reshape(dims(shape))

    run.__doc__ = doc
    return Op(
        name,
        run,
        rules=rules(gradient=back.REDUCTIONS.get(name)),
        shape="-> [?, ?] [?] [?]" if sparse else inference_math.sparse_reduce,
        host=_HOST,
    )


REDUCTIONS = [
    _reduction("SparseReduceSum", np.add, False, "Sums over dimensions of a sparse tensor, as a dense one"),
    _reduction("SparseReduceMax", np.maximum, False, "Largest values over dimensions, dense; 0 where there are none"),
    _reduction("SparseReduceSumSparse", np.add, True, "Sums over dimensions of a sparse tensor, sparse again"),
    _reduction("SparseReduceMaxSparse", np.maximum, True, "Largest values over dimensions, sparse again"),
]
