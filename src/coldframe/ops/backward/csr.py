"""Gradient rules of sparse matrices in compressed rows. The gradient of a matrix has entries where the matrix has."""

from __future__ import annotations

from typing import Any

from coldframe.dtypes import int64
from coldframe.ops.backward import adjoint, attrs_of, conj, matrix_transpose, shape_of

_FLAGS = ("transpose_a", "transpose_b", "adjoint_a", "adjoint_b")


def dense_to_csr(g: Any, op: Any, dy: Any) -> Any:
    return g.CSRSparseMatrixToDense(dy, type=op.get_attr("T")), None


def csr_to_dense(g: Any, op: Any, dy: Any) -> Any:
    indices = g.CSRSparseMatrixToSparseTensor(op.inputs[0], type=dy.dtype)[0]
    return g.SparseTensorToCSRSparseMatrix(indices, g.GatherNd(dy, indices), shape_of(g, dy, int64))


def sparse_to_csr(g: Any, op: Any, dy: Any) -> Any:
    return None, g.CSRSparseMatrixToSparseTensor(dy, type=op.get_attr("T"))[1], None


def csr_to_sparse(g: Any, op: Any, _: Any, dy: Any, __: Any) -> Any:
    return g.SparseTensorToCSRSparseMatrix(op.outputs[0], dy, op.outputs[2])


def transpose(g: Any, op: Any, dy: Any) -> Any:
    return g.SparseMatrixTranspose(dy, conjugate=op.get_attr("conjugate"), type=op.get_attr("type"))


def mat_mul(g: Any, op: Any, dy: Any) -> Any:
    """The gradient of an entry of `a` at (i, j) is row i of the product's gradient times row j of what it met."""
    a, b = op.inputs
    flags = attrs_of(op, *_FLAGS)
    dy = conj(g, dy) if op.get_attr("conjugate_output") else dy
    dy = matrix_transpose(g, dy) if op.get_attr("transpose_output") else dy
    turned = flags["transpose_a"] or flags["adjoint_a"]
    met = adjoint(g, b) if flags["adjoint_b"] else matrix_transpose(g, b) if flags["transpose_b"] else b
    indices, _, shape = g.CSRSparseMatrixToSparseTensor(a, type=op.get_attr("T"))
    front, rows, columns = indices[:, :-2], indices[:, -2:-1], indices[:, -1:]
    rows, columns = (columns, rows) if turned else (rows, columns)
    left = g.GatherNd(dy, g.ConcatV2([front, rows], 1))
    right = g.GatherNd(met, g.ConcatV2([front, columns], 1))
    values = g.Sum(left * conj(g, right), -1)
    values = conj(g, values) if flags["adjoint_a"] else values
    if flags["transpose_a"]:
        db = conj(g, g.SparseMatrixMatMul(a, conj(g, dy)))
    else:
        db = g.SparseMatrixMatMul(a, dy, adjoint_a=not flags["adjoint_a"])
    db = adjoint(g, db) if flags["adjoint_b"] else matrix_transpose(g, db) if flags["transpose_b"] else db
    return g.SparseTensorToCSRSparseMatrix(indices, values, shape), db


def sparse_mat_mul(g: Any, op: Any, dy: Any) -> Any:
    """Products with the other factor, of which only the entries that a factor has are kept."""
    a, b = op.inputs
    kind, flags = op.get_attr("type"), attrs_of(op, *_FLAGS)

    def turned(x: Any, conjugate: bool) -> Any:
        return g.SparseMatrixTranspose(x, conjugate=conjugate, type=kind)

    def adjoint_of(x: Any, side: str) -> Any:
        if flags[f"adjoint_{side}"]:
            return x
        return turned(turned(x, True), False) if flags[f"transpose_{side}"] else turned(x, True)

    def kept(x: Any, dx: Any, side: str) -> Any:
        if flags[f"transpose_{side}"] or flags[f"adjoint_{side}"]:
            dx = turned(dx, flags[f"adjoint_{side}"])
        indices = g.CSRSparseMatrixToSparseTensor(x, type=kind)[0]
        return g.DenseToCSRSparseMatrix(g.CSRSparseMatrixToDense(dx, type=kind), indices)

    da = g.SparseMatrixSparseMatMul(dy, adjoint_of(b, "b"), type=kind)
    db = g.SparseMatrixSparseMatMul(adjoint_of(a, "a"), dy, type=kind)
    return kept(a, da, "a"), kept(b, db, "b")
