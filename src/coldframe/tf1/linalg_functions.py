"""Functions of `tf.linalg` that are made of several nodes, and are no names of `tf` itself."""

from __future__ import annotations

from typing import Any

import numpy as np

from coldframe import dtypes
from coldframe.tf1.arithmetic_ops import matmul
from coldframe.tf1.cast_ops import cast
from coldframe.tf1.framework.build import raw
from coldframe.tf1.framework.convert import convert_to_tensor
from coldframe.tf1.framework.graph import name_scope
from coldframe.tf1.index_ops import argsort, gather
from coldframe.tf1.linalg_ops import lu_solve, norm, svd
from coldframe.tf1.reduce_ops import reduce_max, reduce_sum
from coldframe.tf1.shape_ops import invert_permutation, matrix_diag_part, ones_like, squeeze


def lu_reconstruct(lower_upper: Any, perm: Any, validate_args: bool = False, name: str | None = None) -> Any:
    """Return the matrix, or each of a batch, of its LU factors and permutation."""
    with name_scope(name, "lu_reconstruct", [lower_upper, perm]):
        factors, perm = convert_to_tensor(lower_upper), convert_to_tensor(perm)
        unit = raw.MatrixSetDiagV3(raw.MatrixBandPart(factors, -1, 0), ones_like(matrix_diag_part(factors)), 0)
        product = matmul(unit, raw.MatrixBandPart(factors, 0, -1))
        batch = (perm.static_shape.rank or 1) - 1
        if not batch:
            return gather(product, invert_permutation(perm))
        return gather(product, argsort(perm), axis=batch, batch_dims=batch)


def lu_matrix_inverse(lower_upper: Any, perm: Any, validate_args: bool = False, name: str | None = None) -> Any:
    """Return the inverse of the matrix, or of each of a batch, of its LU factors and permutation."""
    with name_scope(name, "lu_matrix_inverse", [lower_upper, perm]):
        factors = convert_to_tensor(lower_upper)
        return lu_solve(factors, perm, raw.MatrixDiag(ones_like(matrix_diag_part(factors))))


def matvec(
    a: Any, b: Any, transpose_a: bool = False, adjoint_a: bool = False, a_is_sparse: bool = False,
    b_is_sparse: bool = False, name: str | None = None,
) -> Any:  # fmt: skip
    """Return the products of matrices, [..., m, n], and vectors, [..., n]."""
    with name_scope(name, "MatVec", [a, b]):
        column = raw.ExpandDims(b, -1)
        made = matmul(
            a, column, transpose_a=transpose_a, adjoint_a=adjoint_a, a_is_sparse=a_is_sparse, b_is_sparse=b_is_sparse
        )
        return squeeze(made, axis=-1)


def normalize(tensor: Any, ord: Any = "euclidean", axis: Any = None, name: str | None = None) -> tuple[Any, Any]:
    """Return a tensor divided by its norm, as `norm` has it, and the norm, with the axes kept."""
    with name_scope(name, "normalize", [tensor]):
        tensor = convert_to_tensor(tensor)
        size = cast(norm(tensor, ord, axis, keepdims=True), tensor.dtype)
        return tensor / size, size


def matrix_rank(a: Any, tol: Any = None, validate_args: bool = False, name: str | None = None) -> Any:
    """Return how many singular values of matrices are above `tol`: rounding errors where left out, as in numpy."""
    with name_scope(name, "matrix_rank", [a, tol]):
        a = convert_to_tensor(a)
        values = svd(a, compute_uv=False)
        if tol is None:
            tol = _rounding(a) * reduce_max(values, axis=-1, keepdims=True)
        return reduce_sum(cast(values > tol, dtypes.int32), axis=-1)


def _rounding(a: Any) -> Any:
    largest = reduce_max(raw.Shape(a)[-2:])
    return cast(largest, a.dtype) * np.finfo(a.dtype.numpy).eps


def pinv(a: Any, rcond: Any = None, validate_args: bool = False, name: str | None = None) -> Any:
    """Return the Moore-Penrose inverse of matrices.

    Args:
        a: shape [..., m, n], floating.
        rcond: singular values up to this share of the largest count as zero; ten times the rounding error times the
            larger of m and n where left out.
    """
    with name_scope(name, "pinv", [a, rcond]):
        a = convert_to_tensor(a, name="a")
        if rcond is None:
            rcond = 10.0 * _rounding(a)
        rcond = convert_to_tensor(rcond, a.dtype, name="rcond")
        s, u, v = svd(a, full_matrices=False)
        cutoff = rcond * reduce_max(s, axis=-1)
        inverses = raw.SelectV2(s > raw.ExpandDims(cutoff, -1), 1.0 / s, raw.ZerosLike(s))
        return matmul(v * raw.ExpandDims(inverses, -2), u, adjoint_b=True)


__all__ = ["lu_matrix_inverse", "lu_reconstruct", "matrix_rank", "matvec", "normalize", "pinv"]
