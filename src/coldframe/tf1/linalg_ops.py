"""Linear algebra, with TF1's Python arguments."""

from __future__ import annotations

from typing import Any

import numpy as np

from coldframe import dtypes
from coldframe.tf1.arithmetic_ops import abs as magnitude
from coldframe.tf1.arithmetic_ops import conj, matmul, pow, real
from coldframe.tf1.framework.build import raw
from coldframe.tf1.framework.convert import convert_to_tensor, is_tensor_like
from coldframe.tf1.framework.graph import name_scope
from coldframe.tf1.reduce_ops import reduce_max, reduce_sum
from coldframe.tf1.shape_ops import eye, matrix_diag_part, matrix_transpose, shape, squeeze, transpose
from coldframe.tf1.simple import either, simple

# --- one node each ------------------------------------------------------------------------------------------------
cholesky = simple("cholesky(input) -> Cholesky")
matrix_determinant = simple("matrix_determinant(input) -> MatrixDeterminant")
matrix_inverse = simple("matrix_inverse(input, adjoint=False) -> MatrixInverse")
matrix_solve = simple("matrix_solve(matrix, rhs, adjoint=False) -> MatrixSolve")
matrix_square_root = simple("matrix_square_root(input) -> MatrixSquareRoot")
matrix_logarithm = simple("matrix_logarithm(input) -> MatrixLogarithm")
qr = simple("qr(input, full_matrices=False) -> Qr")
lu = simple("lu(input, output_idx_type=int32) -> Lu")
log_matrix_determinant = simple("log_matrix_determinant(input) -> LogMatrixDeterminant")


# --- solving ------------------------------------------------------------------------------------------------------
def matrix_triangular_solve(
    matrix: Any, rhs: Any, lower: bool = True, adjoint: bool = False, name: str | None = None
) -> Any:
    """Return x where ``matrix @ x = rhs``, of triangular matrices."""
    with name_scope(name, "triangular_solve", [matrix, rhs]):
        return raw.MatrixTriangularSolve(matrix, rhs, lower=lower, adjoint=adjoint)


def cholesky_solve(chol: Any, rhs: Any, name: str | None = None) -> Any:
    """Return x where ``A @ x = rhs``, of the Cholesky factors of A."""
    with name_scope(name, "cholesky_solve", [chol, rhs]):
        y = raw.MatrixTriangularSolve(chol, rhs, adjoint=False, lower=True)
        return raw.MatrixTriangularSolve(chol, y, adjoint=True, lower=True)


def matrix_solve_ls(
    matrix: Any, rhs: Any, l2_regularizer: Any = 0.0, fast: bool = True, name: str | None = None
) -> Any:
    """Return x for which ``matrix @ x`` is nearest to `rhs`.

    Args:
        l2_regularizer: how much the square of x counts.
        fast: solve by the Cholesky factors of the Gramian; else by a complete orthogonal decomposition.
    """
    matrix = convert_to_tensor(matrix, name="matrix")
    if not _by_gramian(matrix, fast):
        return raw.MatrixSolveLs(matrix, rhs, l2_regularizer, fast=fast, name=name)
    with name_scope(name, "matrix_solve_ls", [matrix, rhs, l2_regularizer]):
        dims = matrix.shape[-2:]
        if dims.is_fully_defined():
            solve = _overdetermined if int(dims[0]) >= int(dims[1]) else _underdetermined
            return solve(matrix, rhs, l2_regularizer)
        from coldframe.tf1.control_flow import cond

        sizes = shape(matrix)[-2:]
        return cond(
            sizes[-2] >= sizes[-1],
            lambda: _overdetermined(matrix, rhs, l2_regularizer),
            lambda: _underdetermined(matrix, rhs, l2_regularizer),
        )


_CACHE = 256_000  # bytes; beyond, a batch of many small matrices is solved one matrix after the other


def _by_gramian(matrix: Any, fast: bool) -> bool:
    dims = matrix.static_shape
    if not fast or not dims.is_static:
        return fast
    batch = int(np.prod(dims.dims[:-2], dtype=np.int64))
    return not (dims.size * matrix.dtype.width > _CACHE and batch > min(dims.dims[-2:]))


def _overdetermined(matrix: Any, rhs: Any, l2: Any) -> Any:
    factors = _gramian_factors(matrix, l2, True)
    return cholesky_solve(factors, matmul(matrix, rhs, adjoint_a=True))


def _underdetermined(matrix: Any, rhs: Any, l2: Any) -> Any:
    factors = _gramian_factors(matrix, l2, False)
    return matmul(matrix, cholesky_solve(factors, rhs), adjoint_a=True)


def _gramian_factors(matrix: Any, l2: Any, first_kind: bool) -> Any:
    gramian = matmul(matrix, matrix, adjoint_a=first_kind, adjoint_b=not first_kind)
    if is_tensor_like(l2) or l2 != 0:
        sizes = shape(matrix)
        batch, small = sizes[:-2], sizes[-1 if first_kind else -2]
        unit = eye(small, batch_shape=batch, dtype=matrix.dtype)
        known = matrix.shape[-1 if first_kind else -2]
        unit.set_shape(matrix.shape[:-2].concatenate([known, known]))
        gramian = gramian + l2 * unit
    return raw.Cholesky(gramian)


def lu_solve(lower_upper: Any, perm: Any, rhs: Any, name: str | None = None) -> Any:
    """Return x where ``A @ x = rhs``, of the LU factors and the permutation of A (of one matrix, or of each)."""
    from coldframe.tf1.index_ops import gather

    with name_scope(name, "lu_solve", [lower_upper, perm, rhs]):
        factors = convert_to_tensor(lower_upper, name="lower_upper")
        perm, rhs = convert_to_tensor(perm, name="perm"), convert_to_tensor(rhs, factors.dtype, name="rhs")
        batch = (perm.static_shape.rank or 1) - 1
        ordered = gather(rhs, perm, axis=batch, batch_dims=batch) if batch else gather(rhs, perm)
        unit = raw.MatrixSetDiagV3(raw.MatrixBandPart(factors, -1, 0), _ones_diagonal(factors), 0)
        return raw.MatrixTriangularSolve(factors, raw.MatrixTriangularSolve(unit, ordered), lower=False)


def _ones_diagonal(matrix: Any) -> Any:
    from coldframe.tf1.shape_ops import ones_like

    return ones_like(matrix_diag_part(matrix))


# --- decompositions -----------------------------------------------------------------------------------------------
def svd(tensor: Any, full_matrices: bool = False, compute_uv: bool = True, name: str | None = None) -> Any:
    """Return the singular values s, and u and v where ``tensor = u @ diag(s) @ v^H``; without `compute_uv`, s alone."""
    s, u, v = raw.Svd(tensor, compute_uv=compute_uv, full_matrices=full_matrices, name=name)
    return (real(s), u, v) if compute_uv else real(s)


def self_adjoint_eig(tensor: Any, name: str | None = None) -> Any:
    """Return the eigenvalues, from the smallest on, and the eigenvectors in columns, of symmetric matrices."""
    return raw.SelfAdjointEigV2(tensor, compute_v=True, name=name)


def self_adjoint_eigvals(tensor: Any, name: str | None = None) -> Any:
    """Return the eigenvalues of symmetric matrices, from the smallest on."""
    return raw.SelfAdjointEigV2(tensor, compute_v=False, name=name)[0]


def _eig(tensor: Any, compute_v: bool, name: str | None) -> Any:
    x = convert_to_tensor(tensor)
    to = dtypes.complex64 if x.dtype in (dtypes.float32, dtypes.complex64) else dtypes.complex128
    return raw.Eig(x, Tout=to, compute_v=compute_v, name=name)


def eig(tensor: Any, name: str | None = None) -> Any:
    """Return the eigenvalues and eigenvectors of square matrices, complex numbers."""
    return _eig(tensor, True, name)


def eigvals(tensor: Any, name: str | None = None) -> Any:
    """Return the eigenvalues of square matrices, complex numbers."""
    return _eig(tensor, False, name)[0]


# --- properties ---------------------------------------------------------------------------------------------------
def logdet(matrix: Any, name: str | None = None) -> Any:
    """Return the logarithm of the determinant of positive definite matrices."""
    with name_scope(name, "logdet", [matrix]):
        diagonal = matrix_diag_part(raw.Cholesky(matrix))
        return 2.0 * reduce_sum(raw.Log(real(diagonal)), [-1])


def adjoint(matrix: Any, name: str | None = None) -> Any:
    """Return the last two dimensions transposed and conjugated."""
    with name_scope(name, "adjoint", [matrix]):
        return matrix_transpose(convert_to_tensor(matrix, name="matrix"), conjugate=True)


def norm(
    tensor: Any,
    ord: Any = "euclidean",
    axis: Any = None,
    keepdims: Any = None,
    name: str | None = None,
    keep_dims: Any = None,
) -> Any:
    """Return the norm of vectors, of matrices, or (no `axis`) of all elements.

    Args:
        ord: ``"euclidean"``, 1, 2, ``np.inf`` or another positive number; of matrices also ``"fro"``.
        axis: one axis, or two for matrices.
    """
    keepdims = bool(either("keepdims", keepdims, "keep_dims", keep_dims))
    of_matrices = isinstance(axis, (tuple, list)) and len(axis) == 2
    axis = _norm_axis(ord, axis, of_matrices)
    with name_scope(name, "norm", [tensor]):
        x = convert_to_tensor(tensor)
        if ord == 2 and of_matrices:
            result = _spectral_norm(x, axis)
        elif ord in ("fro", "euclidean", 2):
            result = raw.Sqrt(reduce_sum(x * conj(x), axis, True))
        else:
            result = _p_norm(magnitude(x), ord, axis, of_matrices)
        return result if keepdims else squeeze(result, axis)


def _norm_axis(ord: Any, axis: Any, of_matrices: bool) -> Any:
    if of_matrices:
        if axis[0] == axis[1]:
            raise ValueError(f"'axis' must be None, an integer, or a tuple of 2 unique integers, got {axis}")
        if ord not in ("euclidean", "fro", 1, 2, np.inf):
            raise ValueError(f"'ord' must be a supported matrix norm, got {ord}")
        return tuple(axis)
    if axis is not None and not hasattr(axis, "__index__"):
        raise ValueError(f"'axis' must be None, an integer, or a tuple of 2 unique integers, got {axis}")
    if ord != "euclidean" and (isinstance(ord, str) or ord <= 0):
        raise ValueError(f"'ord' must be a supported vector norm, got {ord}")
    return None if axis is None else (axis,)


def _p_norm(x: Any, ord: Any, axis: Any, of_matrices: bool) -> Any:
    first = None if axis is None else axis[0]
    if ord == 1:
        total = reduce_sum(x, first, True)
        return reduce_max(total, axis[-1], True) if of_matrices else total
    if ord == np.inf:
        return reduce_max(reduce_sum(x, axis[1], True) if of_matrices else x, first, True)
    return pow(reduce_sum(pow(x, ord), axis, True), 1.0 / ord)


def _spectral_norm(x: Any, axis: tuple[int, int]) -> Any:
    n = x.static_shape.rank
    if n is None:
        raise ValueError("the 2-norm of matrices needs a tensor of known rank")
    last = [a % n for a in axis]
    perm = [a for a in range(n) if a not in last] + last
    top = reduce_max(raw.Svd(transpose(x, perm), compute_uv=False)[0], -1, True)
    return transpose(raw.ExpandDims(top, -1), np.argsort(perm).astype(np.int32))


__all__ = [
    "adjoint", "cholesky", "cholesky_solve", "eig", "eigvals", "eye", "log_matrix_determinant", "logdet", "lu",
    "lu_solve", "matrix_determinant", "matrix_inverse", "matrix_logarithm",
    "matrix_solve", "matrix_solve_ls", "matrix_square_root", "matrix_triangular_solve",
    "norm", "qr", "self_adjoint_eig", "self_adjoint_eigvals", "svd",
]  # fmt: skip
