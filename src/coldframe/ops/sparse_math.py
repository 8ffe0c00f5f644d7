"""Arithmetic of sparse tensors, with dense ones and with each other."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from coldframe.ops import inference_math
from coldframe.ops.backward import sparse as back
from coldframe.ops.counting import bins, counted
from coldframe.ops.sparse import check_inside, check_sparse, compared, row_major
from coldframe.ops.table import Op, op, rules
from coldframe.primitives.base import refuse
from coldframe.primitives.numpy_shape import dims

Array = npt.NDArray[Any]
_HOST: Final = "how many values a sparse tensor has is known only when running"
_NONE: Final = -1  # in a merge: this tensor has no value here


# --- sparse and dense ---
@op(
    "SparseTensorDenseMatMul",
    gradient=back.sparse_tensor_dense_mat_mul,
    shape=inference_math.sparse_mat_mul,
    host=_HOST,
)
def sparse_tensor_dense_matmul(
    xp: Any, a_indices: Array, a_values: Array, a_shape: Array, b: Array, *, adjoint_a: bool, adjoint_b: bool
) -> Any:
    """The product of a sparse and a dense matrix, each conjugate-transposed first if asked."""
    check_sparse(a_indices, a_values, a_shape)
    if len(a_shape) != 2 or b.ndim != 2:
        raise refuse("factors are matrices", expected=[2, 2], found=[len(a_shape), b.ndim])
    rows, columns, values, shape = a_indices[:, 0], a_indices[:, 1], a_values, [int(d) for d in a_shape]
    if adjoint_a:
        rows, columns, values, shape = columns, rows, np.conj(values), shape[::-1]
    if adjoint_b:
        b = np.conj(b.T)
    if shape[1] != len(b):
        raise refuse("matrices do not fit: columns of the first, rows of the second", expected=shape[1], found=len(b))
    if shape[0] < 0:
        raise refuse("the dense shape has a negative size", found=shape)
    check_inside(a_indices, a_shape)
    wide = np.float32 if values.dtype.itemsize == 2 else values.dtype
    out = np.zeros(dims([shape[0], b.shape[1]]), wide)
    if len(rows):
        if (rows[1:] < rows[:-1]).any():
            order = np.argsort(rows, kind="stable")
            rows, columns, values = rows[order], columns[order], values[order]
        starts = np.flatnonzero(np.concatenate([[True], rows[1:] != rows[:-1]]))
        terms = values[:, None].astype(wide, copy=False) * b[columns].astype(wide, copy=False)
        out[rows[starts]] = np.add.reduceat(terms, starts, axis=0)
    return out.astype(values.dtype, copy=False)


@op("SparseTensorDenseAdd", gradient=back.sparse_tensor_dense_add, shape="[n, r] [n] [r] x -> x", host=_HOST)
def sparse_tensor_dense_add(xp: Any, a_indices: Array, a_values: Array, a_shape: Array, b: Array) -> Any:
    """A dense tensor plus a sparse one of the same shape."""
    check_sparse(a_indices, a_values, a_shape)
    if a_shape.tolist() != list(b.shape):
        raise refuse("the shapes of the terms differ", expected=a_shape.tolist(), found=list(b.shape))
    check_inside(a_indices, a_shape)
    out = b.copy()
    np.add.at(out, tuple(a_indices.T), a_values)
    return out


def _elementwise(name: str, fn: Any, doc: str, divides: bool = False) -> Op:
    def run(xp: Any, sp_indices: Array, sp_values: Array, sp_shape: Array, dense: Array) -> Any:
        check_sparse(sp_indices, sp_values, sp_shape)
        shape, extra = [int(d) for d in sp_shape], len(sp_shape) - dense.ndim
        if extra < 0 or any(d not in (1, s) for d, s in zip(dense.shape, shape[extra:], strict=True)):
            raise refuse("the dense tensor does not broadcast to the sparse", expected=shape, found=list(dense.shape))
        check_inside(sp_indices, sp_shape)
        if divides and (dense == 0).any():
            raise refuse("sparse values are divided by a dense tensor that holds zeros")
        at = [np.zeros_like(i) if d == 1 else i for d, i in zip(dense.shape, sp_indices.T[extra:], strict=True)]
        return fn(xp, sp_values, dense[tuple(at)] if at else np.broadcast_to(dense, sp_values.shape))

    run.__doc__ = doc
    return Op(name, run, rules=rules(gradient=back.CWISE.get(name)), shape="[n, r] [n] [r] -> [n]", host=_HOST)


def _divided(xp: Any, a: Array, b: Array) -> Any:
    return xp.trunc_divide(a, b) if a.dtype.kind in "iu" else a / b


ELEMENTWISE = [
    _elementwise("SparseDenseCwiseMul", lambda xp, a, b: a * b, "Sparse values times a dense tensor that broadcasts"),
    _elementwise("SparseDenseCwiseAdd", lambda xp, a, b: a + b, "Sparse values plus a dense tensor that broadcasts"),
    _elementwise("SparseDenseCwiseDiv", _divided, "Sparse values by a dense tensor that broadcasts", divides=True),
]


# --- sparse and sparse ---
def _merged(a: Array, b: Array) -> tuple[Array, Array]:
    """Merge two lists of coordinates: which row of `a` and of `b` each result comes from, or `_NONE`."""
    if not ((compared(a[:-1], a[1:]) < 0).all() and (compared(b[:-1], b[1:]) < 0).all()):
        return _walked(a.tolist(), b.tolist())
    both = np.concatenate([a, b])
    order = row_major(both)
    twin = compared(both[order][:-1], both[order][1:]) == 0
    first = np.concatenate([[True], ~twin])[: len(order)]
    at = order[first]
    followed = np.append(twin, False)[: len(order)][first]
    second = np.append(order[1:], 0)[first] - len(a)
    from_a = np.where(at < len(a), at, _NONE)
    return from_a, np.where(at >= len(a), at - len(a), np.where(followed, second, _NONE))


def _walked(a: list[list[int]], b: list[list[int]]) -> tuple[Array, Array]:
    """Merge as TensorFlow does what is not in order: always the lesser of the two next ones."""
    i, j, left, right = 0, 0, [], []
    while i < len(a) or j < len(b):
        take_a = j == len(b) or (i < len(a) and a[i] <= b[j])
        take_b = i == len(a) or (j < len(b) and b[j] <= a[i])
        left.append(i if take_a else _NONE)
        right.append(j if take_b else _NONE)
        i, j = i + take_a, j + take_b
    return np.array(left, np.int64), np.array(right, np.int64)


def _pair(ai: Array, av: Array, ashape: Array, bi: Array, bv: Array, bshape: Array) -> None:
    check_sparse(ai, av, ashape, "the first")
    check_sparse(bi, bv, bshape, "the second")
    if ashape.tolist() != bshape.tolist():
        raise refuse("the dense shapes differ", expected=ashape.tolist(), found=bshape.tolist())


def _taken(values: Array, at: Array) -> Array:
    out = np.zeros(len(at), values.dtype)
    out[at >= 0] = values[at[at >= 0]]
    return out


def _coordinates(a: Array, b: Array, from_a: Array, from_b: Array) -> Array:
    out = np.empty((len(from_a), a.shape[1]), np.int64)
    has = from_a >= 0
    out[has], out[~has] = a[from_a[has]], b[from_b[~has]]
    return out


@op("SparseAdd", gradient=back.sparse_add, shape="[n, r] [n] [r] [m, r] [m] [r] -> [?, r] [?] [r]", host=_HOST)
def sparse_add(
    xp: Any, a_indices: Array, a_values: Array, a_shape: Array, b_indices: Array, b_values: Array, b_shape: Array,
    thresh: Any,
) -> Any:  # fmt: skip
    """The sum of two sparse tensors, without the sums smaller than `thresh`."""
    _pair(a_indices, a_values, a_shape, b_indices, b_values, b_shape)
    if np.ndim(thresh):
        raise refuse("`thresh`", expected="a scalar", found=list(np.shape(thresh)))
    from_a, from_b = _merged(a_indices, b_indices)
    total = _taken(a_values, from_a) + _taken(b_values, from_b)
    # TensorFlow's merge stops comparing with the threshold where one of the two tensors has ended.
    ends = [int(np.flatnonzero(at >= 0)[-1]) if (at >= 0).any() else -1 for at in (from_a, from_b)]
    keep = (np.abs(total) >= thresh) | (np.arange(len(total)) > min(ends))
    return _coordinates(a_indices, b_indices, from_a, from_b)[keep], total[keep], a_shape


@op("SparseAddGrad", no_gradient=True, shape="[k] [n, r] [m, r] -> [n] [m]", host=_HOST)
def sparse_add_grad(xp: Any, backprop_val_grad: Array, a_indices: Array, b_indices: Array, sum_indices: Array) -> Any:
    """What the values of SparseAdd's two inputs receive."""
    if any(i.ndim != 2 for i in (a_indices, b_indices, sum_indices)) or backprop_val_grad.ndim != 1:
        raise refuse("ranks of gradient and indices", expected=[1, 2, 2, 2])
    if len(sum_indices) != len(backprop_val_grad):
        raise refuse("gradients", expected=len(sum_indices), found=len(backprop_val_grad))
    grads = {tuple(r): g for r, g in zip(sum_indices.tolist(), backprop_val_grad, strict=True)}
    out = []
    for indices in (a_indices, b_indices):
        grad = np.zeros(len(indices), backprop_val_grad.dtype)
        for k, row in enumerate(indices.tolist()):
            grad[k] = grads.get(tuple(row), 0)
        out.append(grad)
    return tuple(out)


def _extreme(name: str, fn: Any, doc: str) -> Op:
    def run(
        xp: Any, a_indices: Array, a_values: Array, a_shape: Array, b_indices: Array, b_values: Array, b_shape: Array
    ) -> Any:
        _pair(a_indices, a_values, a_shape, b_indices, b_values, b_shape)
        from_a, from_b = _merged(a_indices, b_indices)
        values = fn(_taken(a_values, from_a), _taken(b_values, from_b))
        return _coordinates(a_indices, b_indices, from_a, from_b), values

    run.__doc__ = doc
    return Op(name, run, shape="[n, r] [n] [r] [m, r] [m] [r] -> [?, r] [?]", host=_HOST)


EXTREMES = [
    _extreme("SparseSparseMaximum", np.maximum, "The larger of two sparse tensors; what is missing counts as 0"),
    _extreme("SparseSparseMinimum", np.minimum, "The smaller of two sparse tensors; what is missing counts as 0"),
]


# --- counting ---
@op("SparseBincount", shape=inference_math.sparse_bincount, host=_HOST)
def sparse_bincount(
    xp: Any, indices: Array, values: Array, dense_shape: Array, size: Any, weights: Array, *, binary_output: bool
) -> Any:
    """How often each of 0 to size - 1 occurs among the values, in all or per row of a matrix.

    Negative values are refused, but left out where they are in a matrix, as TensorFlow's kernel does.
    """
    check_sparse(indices, values, dense_shape)
    check_inside(indices, dense_shape)
    if weights.size and weights.shape != values.shape:
        raise refuse("one weight per value", expected=len(values), found=list(weights.shape))
    if len(dense_shape) > 2 or not len(dense_shape):
        raise refuse("at most a matrix is counted", found=dense_shape.tolist())
    n = bins(size)
    if len(dense_shape) == 1:
        return counted(values, n, weights.ravel(), binary_output)
    return counted_rows(indices[:, 0], values, int(dense_shape[0]), n, weights.ravel(), binary_output)


def counted_rows(rows: Array, values: Array, count: int, size: int, weights: Array, binary: bool) -> Array:
    """Count `values` per row into `size` bins; larger and negative values are left out."""
    shape = dims([count, size])
    inside = (values >= 0) & (values < size)
    flat = rows[inside].astype(np.int64) * size + values[inside]
    counts = counted(flat, count * size, weights[inside] if weights.size else weights, binary)
    return counts.reshape(shape)
