"""Linear algebra: inverses, determinants, solvers and decompositions of batches of matrices, on LAPACK by numpy.

Where a decomposition leaves signs open (Svd, SelfAdjointEigV2 of larger matrices) LAPACK may choose others than
TensorFlow's.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from coldframe.dtypes import DType
from coldframe.ops import inference_math, tridiagonal_qr
from coldframe.ops.backward import linalg as back
from coldframe.ops.linear import turned
from coldframe.ops.table import alias, op
from coldframe.primitives.base import Unlowerable, refuse

Array = npt.NDArray[Any]
HOST = "ONNX Runtime has no linear algebra beyond products and determinants"
_STUCK = "the decomposition does not converge"
# Eigenvectors are turned as TensorFlow's are where that is not much work (the cube of the rows, for each matrix) and,
# in single precision, up to so many rows.
_ROWS, _WORK = 16, 1 << 16


def _matrices(x: Array, name: str = "input") -> None:
    if x.ndim < 2:
        raise refuse(f"`{name}` is not a batch of matrices", expected="rank 2 or more", found=x.ndim)


def _square(x: Array, name: str = "input") -> None:
    _matrices(x, name)
    if x.shape[-1] != x.shape[-2]:
        raise refuse(f"`{name}` is not square", expected="n x n", found=f"{x.shape[-2]} x {x.shape[-1]}")


def _lapack(why: str, fn: Callable[..., Any], *args: Any) -> Any:
    """Call LAPACK; where it gives up, TensorFlow does too."""
    try:
        return fn(*args)
    except np.linalg.LinAlgError as e:
        raise refuse(why, found=str(e)) from e


def _nothing(x: Array) -> Array:
    """What TensorFlow hands out in place of an output nobody asked for."""
    return np.zeros((), x.dtype)


@op("MatrixInverse", gradient=back.matrix_inverse, shape="[*b, n, n] -> [*b, n, n]", host=HOST)
def matrix_inverse(xp: Any, x: Array, *, adjoint: bool) -> Any:
    """The inverses of square matrices, or of their adjoints."""
    _square(x)
    return _lapack("the matrix is not invertible", np.linalg.inv, turned(xp, x) if adjoint else x)


@op("MatrixDeterminant", gradient=back.matrix_determinant, shape="[*b, n, n] -> [*b]", heavy=True)
def matrix_determinant(xp: Any, x: Array) -> Any:
    """The determinants of square matrices."""
    _square(x)
    return np.asarray(np.linalg.det(x), x.dtype)


@matrix_determinant.onnx
def _(xp: Any, x: Any) -> Any:
    if x.dtype.name != "float32" or x.ndim < 2 or None in x.dims or x.dims[-1] != x.dims[-2] or 0 in x.dims:
        raise Unlowerable("ONNX Runtime's determinants are of float32 matrices that are not empty")
    return xp.node("Det", [x], dims=x.dims[:-2])


@op("LogMatrixDeterminant", gradient=back.log_matrix_determinant, shape="[*b, n, n] -> [*b] [*b]", host=HOST)
def log_matrix_determinant(xp: Any, x: Array) -> Any:
    """The signs of the determinants and the logarithms of their absolute values."""
    _square(x)
    sign, log = np.linalg.slogdet(x)
    return np.asarray(sign, x.dtype), np.asarray(log, x.dtype)


def _right_hand(matrix: Array, rhs: Array) -> None:
    _matrices(matrix, "matrix")
    _matrices(rhs, "rhs")
    if matrix.shape[-2] != rhs.shape[-2]:
        raise refuse("`matrix` and `rhs` differ in rows", expected=matrix.shape[-2], found=rhs.shape[-2])


def _one_batch(matrix: Array, rhs: Array) -> None:
    if matrix.shape[:-2] != rhs.shape[:-2]:
        raise refuse("`matrix` and `rhs` differ in batch", expected=matrix.shape[:-2], found=rhs.shape[:-2])


@op("MatrixSolve", gradient=back.matrix_solve, shape=inference_math.matrix_solve, host=HOST)
def matrix_solve(xp: Any, matrix: Array, rhs: Array, *, adjoint: bool) -> Any:
    """X with matrix X = rhs, or with the adjoint of the matrix."""
    _right_hand(matrix, rhs)
    _square(matrix, "matrix")
    _one_batch(matrix, rhs)
    return _lapack("the matrix is not invertible", np.linalg.solve, turned(xp, matrix) if adjoint else matrix, rhs)


@op("MatrixTriangularSolve", gradient=back.matrix_triangular_solve, shape=inference_math.triangular_solve, host=HOST)
def matrix_triangular_solve(xp: Any, matrix: Array, rhs: Array, *, lower: bool, adjoint: bool) -> Any:
    """X with matrix X = rhs, reading one triangle of the matrix; batches broadcast."""
    return solve_triangle(xp, matrix, rhs, lower, adjoint)


def solve_triangle(xp: Any, matrix: Array, rhs: Array, lower: bool, adjoint: bool) -> Array:
    """Return X with matrix X = rhs, or with the adjoint of the matrix, of which one triangle counts."""
    _square(matrix, "matrix")
    _right_hand(matrix, rhs)
    if adjoint:
        matrix, lower = turned(xp, matrix), not lower
    try:
        batch = np.broadcast_shapes(matrix.shape[:-2], rhs.shape[:-2])
    except ValueError:
        raise refuse("batches do not broadcast", expected=matrix.shape[:-2], found=rhs.shape[:-2]) from None
    x = np.array(np.broadcast_to(rhs, (*batch, *rhs.shape[-2:])))
    n = matrix.shape[-1]
    for i in range(n) if lower else reversed(range(n)):
        done = slice(0, i) if lower else slice(i + 1, n)
        known = np.matmul(matrix[..., i : i + 1, done], x[..., done, :])[..., 0, :]
        x[..., i, :] = (x[..., i, :] - known) / matrix[..., i, i, None]
    return x


@op("MatrixSolveLs", gradient=back.matrix_solve_ls, shape=inference_math.solve_ls, host=HOST)
def matrix_solve_ls(xp: Any, matrix: Array, rhs: Array, l2_regularizer: Array, *, fast: bool) -> Any:
    """X that minimizes |matrix X - rhs|, the smallest such X, or with a penalty on its size where `fast`."""
    _right_hand(matrix, rhs)
    _one_batch(matrix, rhs)
    if l2_regularizer.ndim:
        raise refuse("`l2_regularizer` is not a scalar", found=f"shape {l2_regularizer.shape}")
    penalty = float(l2_regularizer)
    if penalty < 0:
        raise refuse("`l2_regularizer` is negative", found=penalty)
    if not matrix.size or not rhs.size:
        return np.zeros((*matrix.shape[:-2], matrix.shape[-1], rhs.shape[-1]), matrix.dtype)
    if not fast:
        sound, broken = _finite(matrix)
        inverse = _lapack(_STUCK, np.linalg.pinv, sound, np.finfo(matrix.dtype).eps * max(matrix.shape[-2:]))
        return np.matmul(_spoil(inverse, broken), rhs)
    a, h = matrix, turned(xp, matrix)
    tall = a.shape[-2] >= a.shape[-1]
    gram = np.matmul(h, a) if tall else np.matmul(a, h)
    gram = gram + (penalty * np.eye(gram.shape[-1])).astype(gram.dtype)
    _lapack("the matrix is not of full rank", np.linalg.cholesky, gram)
    solved = _lapack("the matrix is not of full rank", np.linalg.solve, gram, np.matmul(h, rhs) if tall else rhs)
    return solved if tall else np.matmul(h, solved)


@op("Cholesky", gradient=back.cholesky, shape="[*b, n, n] -> [*b, n, n]", host=HOST)
def cholesky(xp: Any, x: Array) -> Any:
    """Lower triangular L with L L* = x, from the lower triangle of x; NaN where x is not positive definite."""
    _square(x)
    try:
        return np.linalg.cholesky(x)
    except np.linalg.LinAlgError:  # of a batch, only the matrices that fail turn into NaN
        parts = [_cholesky_or_nan(m) for m in x.reshape(-1, *x.shape[-2:])]
        return np.reshape(parts, x.shape)


def _cholesky_or_nan(x: Array) -> Array:
    try:
        return np.linalg.cholesky(x)
    except np.linalg.LinAlgError:
        return np.tril(np.full_like(x, np.nan))


@op("Svd", gradient=back.svd, shape=inference_math.svd, host=HOST)
def svd(xp: Any, x: Array, *, compute_uv: bool, full_matrices: bool) -> Any:
    """Singular values in descending order, left and right singular vectors as columns."""
    _matrices(x)
    x, broken = _finite(x)
    if not compute_uv:
        values = _lapack(_STUCK, np.linalg.svdvals, x) if x.size else np.zeros((*x.shape[:-2], min(x.shape[-2:])))
        return _spoil(values.astype(x.dtype), broken), _nothing(x), _nothing(x)
    if not math.prod(x.shape[-2:]):
        return _svd_of_nothing(x, full_matrices)
    u, s, vh = _lapack(_STUCK, np.linalg.svd, x, full_matrices)
    return _spoil(s.astype(x.dtype), broken), _spoil(u, broken), _spoil(turned(xp, vh), broken)


def _finite(x: Array) -> tuple[Array, Array]:
    """Return `x` with zeros for the matrices that hold NaN or infinity, and which those are.

    LAPACK's singular values of them may take for ever; TensorFlow's are NaN.
    """
    broken: Array = np.asarray(~np.isfinite(x).all(axis=(-2, -1)))
    return (np.where(broken[..., None, None], np.zeros((), x.dtype), x) if broken.any() else x), broken


def _spoil(values: Array, broken: Array) -> Array:
    """Make NaN of what was computed for broken matrices."""
    if not broken.any():
        return values
    spoiled = values.copy()
    spoiled[broken] = np.nan
    return spoiled


def _svd_of_nothing(x: Array, full: bool) -> tuple[Array, Array, Array]:
    *batch, m, n = x.shape
    u = np.zeros((*batch, m, m if full else 0), x.dtype)
    v = np.zeros((*batch, n, n if full else 0), x.dtype)
    for vectors in (u, v):
        k = vectors.shape[-1]
        vectors[..., range(k), range(k)] = 1
    return np.zeros((*batch, 0), x.dtype), u, v


@op("Qr", gradient=back.qr, shape=inference_math.qr, host=HOST)
def qr(xp: Any, x: Array, *, full_matrices: bool) -> Any:
    """Q with orthonormal columns and upper triangular R with Q R = x."""
    _matrices(x)
    q, r = np.linalg.qr(x, mode="complete" if full_matrices else "reduced")
    return q, r


@op("SelfAdjointEigV2", gradient=back.self_adjoint_eig, shape=inference_math.eigen, host=HOST)
def self_adjoint_eig(xp: Any, x: Array, *, compute_v: bool) -> Any:
    """Eigenvalues in ascending order and eigenvectors as columns, from the lower triangle of x."""
    _square(x)
    if not compute_v:
        return _lapack(_STUCK, np.linalg.eigvalsh, x).astype(x.dtype), _nothing(x)
    values, vectors = _lapack(_STUCK, np.linalg.eigh, x)
    n = x.shape[-1]
    if n > 1 and n * x.size <= _WORK and (n <= _ROWS or x.real.dtype == np.float64):
        for i in np.ndindex(x.shape[:-2]):
            if (alike := tridiagonal_qr.eigenvectors(x[i])) is not None:
                values[i], vectors[i] = alike
    return values.astype(x.dtype), vectors


@op("Lu", shape="[*b, n, n] -> [*b, n, n] [*b, n]", host=HOST)
def lu(xp: Any, x: Array, *, output_idx_type: DType) -> Any:
    """L below and U on and above the diagonal of one matrix, and p with x[p] = L U; L has ones on its diagonal."""
    _square(x)
    n = x.shape[-1]
    work = x.reshape(math.prod(x.shape[:-2]), n, n).copy()
    perm = np.tile(np.arange(n), (len(work), 1))
    every = np.arange(len(work))
    for k in range(n):
        pivot = k + np.argmax(np.abs(work[:, k:, k]), axis=-1)
        for rows in (work, perm):
            rows[every, k], rows[every, pivot] = rows[every, pivot].copy(), rows[every, k].copy()
        if not np.all(np.abs(work[:, k, k]) > 0):
            raise refuse("the matrix is not invertible", found=f"a zero pivot in column {k}")
        work[:, k + 1 :, k] /= work[:, k, k, None]
        work[:, k + 1 :, k + 1 :] -= work[:, k + 1 :, k, None] * work[:, k, None, k + 1 :]
    return work.reshape(x.shape), perm.reshape(x.shape[:-1]).astype(output_idx_type.numpy)


@op("SelfAdjointEig", shape=inference_math.eigen_stacked, host=HOST)
def self_adjoint_eig_stacked(xp: Any, x: Array) -> Any:
    """Eigenvalues in ascending order as the first row, and below them the eigenvectors as columns."""
    values, vectors = self_adjoint_eig.body(xp, x, compute_v=True)
    return np.concatenate([values[..., None, :], vectors], axis=-2)


OLD = [
    alias("BatchMatrixInverse", matrix_inverse),
    alias("BatchMatrixDeterminant", matrix_determinant),
    alias("BatchMatrixSolve", matrix_solve),
    alias("BatchMatrixTriangularSolve", matrix_triangular_solve),
    alias("BatchMatrixSolveLs", matrix_solve_ls),
    alias("BatchCholesky", cholesky),
    alias("BatchSvd", svd),
    alias("BatchSelfAdjointEigV2", self_adjoint_eig),
    alias("BatchSelfAdjointEig", self_adjoint_eig_stacked),
]
