"""Linear algebra against TensorFlow; decompositions with free signs are put together again."""

from typing import Any

import numpy as np
import pytest

from coldframe.errors import ExecutionError
from coldframe.ops import tridiagonal_qr
from op_harness import COMPLEX, NUMPY, Row, bound, check, each, from_tensorflow, rows, sample

REALS = ("float32", "float64")
DTYPES = (*REALS, *COMPLEX)
TOL = {"float32": 2e-4, "complex64": 2e-4}
SINGULAR = np.array([[1, 2], [2, 4]], np.float32)


def regular(d: str, *shape: int, seed: int = 0) -> Any:
    """Well-conditioned square matrices."""
    return (sample(d, *shape, seed=seed) + 4 * np.eye(shape[-1])).astype(d)


def definite(d: str, *shape: int) -> Any:
    a = regular(d, *shape)
    return (a @ np.conj(np.swapaxes(a, -1, -2))).astype(d)


def _square(op: str, attrs: dict[str, Any] | None = None) -> list[Row]:
    return each(DTYPES, lambda d: Row(op, [regular(d, 2, 3, 3)], attrs or {}, tol=TOL.get(d)))


@rows(
    *_square("MatrixInverse"),
    *_square("MatrixInverse", {"adjoint": True}),
    *_square("MatrixDeterminant"),
    *_square("LogMatrixDeterminant"),
    *_square("Lu"),
    *_square("Lu", {"output_idx_type": "int64"}),
    *_square("Qr"),
    *each(DTYPES, lambda d: Row("Cholesky", [definite(d, 2, 3, 3)], tol=TOL.get(d))),
    *[
        Row(o, [np.zeros(s, np.float32)])
        for o in ("MatrixInverse", "LogMatrixDeterminant", "Cholesky", "Lu")
        for s in ((0, 0), (2, 0, 0), (0, 3, 3))
    ],
    *[
        Row("MatrixDeterminant", [np.zeros(s, np.float32)], lowers=False, why="ONNX's Det of nothing is undefined")
        for s in ((0, 0), (2, 0, 0), (0, 3, 3))
    ],
    Row("MatrixDeterminant", [np.zeros((2, 2), np.float32)]),
    Row("LogMatrixDeterminant", [np.zeros((2, 2), np.float32)]),
    Row("MatrixDeterminant", [np.full((1, 1), -7, np.float32)]),
    Row("Lu", [np.array([[0, 1, 2], [3, 4, 5], [3, 9, 1]], np.float32)]),
    Row("Qr", [sample("float32", 5, 3)]),
    Row("Qr", [sample("float32", 5, 3)], {"full_matrices": True}),
    Row("Qr", [sample("float32", 2, 3, 5)]),
    Row("Qr", [np.zeros((0, 3), np.float32)]),
    *[
        Row(o, [sample("float32", *s)], refused=True)
        for o in ("MatrixInverse", "MatrixDeterminant", "LogMatrixDeterminant", "Cholesky", "Lu", "SelfAdjointEigV2")
        for s in ((2, 3), (3,))
    ],
    Row("MatrixInverse", [SINGULAR], refused=True),
    Row("Lu", [SINGULAR], refused=True),
)
def test_square(row: Row) -> None:
    check(row)


def _solve(op: str, d: str, **attrs: Any) -> Row:
    return Row(op, [regular(d, 2, 3, 3), sample(d, 2, 3, 4, seed=1)], attrs, tol=TOL.get(d))


@rows(
    *each(DTYPES, lambda d: [_solve("MatrixSolve", d, adjoint=a) for a in (False, True)]),
    *each(
        DTYPES,
        lambda d: [
            _solve("MatrixTriangularSolve", d, adjoint=a, lower=l) for a in (False, True) for l in (False, True)
        ],
    ),
    Row("MatrixTriangularSolve", [regular("float32", 3, 1, 2, 2), sample("float32", 4, 2, 5)]),
    Row("MatrixTriangularSolve", [regular("float32", 2, 2), sample("float32", 4, 2, 5)]),
    Row("MatrixSolve", [np.zeros((0, 0), np.float32), np.zeros((0, 3), np.float32)]),
    Row("MatrixTriangularSolve", [regular("float32", 2, 2), np.zeros((2, 0), np.float32)]),
    Row("MatrixSolve", [SINGULAR, SINGULAR], refused=True),
    Row("MatrixSolve", [regular("float32", 3, 2, 2), sample("float32", 2, 5)], refused=True),
    Row("MatrixSolve", [regular("float32", 2, 2), sample("float32", 2)], refused=True),
    Row("MatrixSolve", [regular("float32", 2, 2), sample("float32", 3, 2)], refused=True),
    Row("MatrixTriangularSolve", [regular("float32", 3, 2, 2), sample("float32", 2, 2, 5)], refused=True),
    Row("MatrixTriangularSolve", [sample("float32", 2, 3), sample("float32", 2, 5)], refused=True),
)
def test_solve(row: Row) -> None:
    check(row)


@rows(
    *[
        Row(
            "MatrixSolveLs", [sample(d, 2, *s), sample(d, 2, s[0], 2, seed=1), np.float64(l2)], {"fast": fast}, tol=1e-3
        )
        for d in DTYPES
        for s in ((5, 3), (3, 5))
        for l2, fast in ((0.1, True), (0.0, False))
    ],
    Row("MatrixSolveLs", [sample("float32", 5, 3), sample("float32", 5, 0), np.float64(0)]),
    Row("MatrixSolveLs", [np.ones((4, 2), np.float32), sample("float32", 4, 1), np.float64(0)], {"fast": False}),
    Row("MatrixSolveLs", [sample("float32", 5, 3), sample("float32", 4, 2), np.float64(0)], refused=True),
    Row("MatrixSolveLs", [sample("float32", 5, 3), sample("float32", 5, 2), np.float64(-1)], refused=True),
)
def test_least_squares(row: Row) -> None:
    check(row)


def outputs(row: Row) -> tuple[list[Any], list[Any]]:
    """TensorFlow's outputs and ours, of equal shapes and dtypes."""
    call, flat = bound(row)
    want, got = from_tensorflow(row), call.run(NUMPY, flat)
    assert want is not None
    for g, w in zip(got, want, strict=True):
        assert (g.shape, g.dtype) == (w.shape, w.dtype)
    return got, want


@pytest.mark.parametrize("d", DTYPES)
@pytest.mark.parametrize("shape", [(2, 3, 5), (5, 3), (3, 3), (2, 0, 5), (4, 0)])
@pytest.mark.parametrize("full", [False, True])
def test_svd(d: str, shape: tuple[int, ...], full: bool) -> None:
    x = sample(d, *shape)
    (s, u, v), (values, _, _) = outputs(Row("Svd", [x], {"full_matrices": full}))
    tol = {"rtol": 1e-4, "atol": 1e-5}
    np.testing.assert_allclose(s, values, **tol)
    k = s.shape[-1]
    np.testing.assert_allclose((u[..., :k] * s[..., None, :]) @ np.conj(np.swapaxes(v[..., :k], -1, -2)), x, **tol)
    for m in (u, v):
        eye = np.broadcast_to(np.eye(m.shape[-1]), (*m.shape[:-2], m.shape[-1], m.shape[-1]))
        np.testing.assert_allclose(np.conj(np.swapaxes(m, -1, -2)) @ m, eye, **tol)


@pytest.mark.parametrize("d", DTYPES)
def test_self_adjoint_eig(d: str) -> None:
    x = definite(d, 2, 3, 3)
    lower = np.tril(x)  # the upper triangle is not read
    (e, v), (values, _) = outputs(Row("SelfAdjointEigV2", [lower]))
    np.testing.assert_allclose(e, values, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose((v * e[..., None, :]) @ np.conj(np.swapaxes(v, -1, -2)), x, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("d", DTYPES)
@pytest.mark.parametrize("n", [1, 2, 3, 7, 16])
def test_small_matrices_have_tensorflows_eigenvectors_signs_and_all(n: int, d: str) -> None:
    x = sample(d, 4, n, n)
    x = x + np.conj(np.swapaxes(x, -1, -2))
    x[1] = np.diag(np.diagonal(x[1]).round())  # nothing to turn, and values may be equal
    x[2] = 0
    x[3, 0] = x[3, :, 0] = 0  # a block of its own
    (e, v), (values, vectors) = outputs(Row("SelfAdjointEigV2", [x]))
    np.testing.assert_allclose(e, values, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(v, vectors, rtol=1e-2, atol=2e-3 if d in ("float32", "complex64") else 1e-8)


def test_matrices_that_are_no_numbers_have_no_eigenvectors() -> None:
    assert tridiagonal_qr.eigenvectors(np.array([[1, np.nan], [np.nan, 1]])) is None


@pytest.mark.parametrize(
    "row",
    [
        Row("Svd", [sample("float32", 2, 3, 5)], {"compute_uv": False}),
        Row("Svd", [sample("complex64", 3, 0)], {"compute_uv": False}),
        Row("SelfAdjointEigV2", [definite("float32", 2, 3, 3)], {"compute_v": False}),
        Row("SelfAdjointEigV2", [definite("complex64", 3, 3)], {"compute_v": False}),
        Row("SelfAdjointEigV2", [np.zeros((2, 0, 0), np.float32)]),
    ],
    ids=str,
)
def test_values_alone(row: Row) -> None:
    got, want = outputs(row)  # of the vectors that are not asked for TensorFlow leaves the memory as it was
    np.testing.assert_allclose(got[0], want[0], rtol=1e-4, atol=1e-4)


@rows(*[Row(o, [sample("float32", 3)], refused=True) for o in ("Svd", "Qr")])
def test_vectors_are_refused(row: Row) -> None:
    check(row)


def test_cholesky_of_what_is_not_definite() -> None:
    x = np.stack([definite("float32", 3, 3), -np.eye(3, dtype=np.float32)])
    (got,), (want,) = outputs(Row("Cholesky", [x]))  # above the diagonal TensorFlow leaves the memory as it was
    np.testing.assert_allclose(np.tril(got), np.tril(want), rtol=1e-4)
    assert np.isnan(got[1][np.tril_indices(3)]).all()
    assert not np.triu(got, 1).any()


def test_messages() -> None:
    call, flat = bound(Row("MatrixInverse", [SINGULAR]))
    with pytest.raises(ExecutionError, match="the matrix is not invertible"):
        call.run(NUMPY, flat)
    call, flat = bound(Row("Lu", [sample("float32", 2, 3)]))
    with pytest.raises(ExecutionError, match="`input` is not square: expected n x n, found 2 x 3"):
        call.run(NUMPY, flat)


@pytest.mark.parametrize("full", [False, True])
def test_singular_values_of_what_is_not_finite_are_nan(full: bool) -> None:
    """LAPACK alone would search for those of the second matrix without end."""
    x = np.stack([regular("float32", 3, 3), np.full((3, 3), np.nan, np.float32)])
    x[1, 0, 0] = np.inf
    for row in (Row("Svd", [x], {"full_matrices": full}), Row("Svd", [x], {"compute_uv": False})):
        (s, *_), _ = outputs(row)
        assert np.isfinite(s[0]).all()
        assert np.isnan(s[1]).all()


OLD_REALS = [regular("float32", 2, 3, 3), sample("float32", 2, 3, 2, seed=1)]


@rows(
    *[Row(name, [regular(d, 2, 3, 3)], tol=2e-4) for name in ("BatchMatrixInverse", "BatchMatrixDeterminant")
      for d in REALS],
    *[Row(name, OLD_REALS, tol=2e-4) for name in ("BatchMatrixSolve", "BatchMatrixTriangularSolve")],
    Row("BatchMatrixSolveLs", [*OLD_REALS, np.float64(0.1)], tol=2e-4),
    Row("BatchCholesky", [definite("float64", 2, 3, 3)]),
    Row("BatchMatrixInverse", [sample("float32", 2, 3)], refused=True),
    Row("BatchCholesky", [sample("float32", 2, 3)], refused=True),
)  # fmt: skip
def test_names_of_old_graphs(row: Row) -> None:
    check(row)


@pytest.mark.parametrize("name", ["BatchSelfAdjointEig", "SelfAdjointEig"])
def test_eigenvalues_above_vectors(name: str) -> None:
    a = definite("float64", 3, 3) if name == "SelfAdjointEig" else definite("float64", 2, 3, 3)
    row = Row(name, [a])
    want = from_tensorflow(row)
    assert want is not None
    call, flat = bound(row)
    (got,) = call.run(NUMPY, flat)
    assert got.shape == want[0].shape
    np.testing.assert_allclose(got[..., 0, :], want[0][..., 0, :], rtol=1e-10)
    np.testing.assert_allclose(np.abs(got[..., 1:, :]), np.abs(want[0][..., 1:, :]), rtol=1e-7)


@pytest.mark.parametrize("name", ["Svd", "SelfAdjointEigV2"])
def test_decompositions_of_old_graphs(name: str) -> None:
    (new, flat), (old, _) = (
        bound(Row(name, [definite("float64", 2, 3, 3)])),
        bound(Row(f"Batch{name}", [definite("float64", 2, 3, 3)])),
    )
    for a, b in zip(new.run(NUMPY, flat), old.run(NUMPY, flat), strict=True):
        np.testing.assert_array_equal(a, b)
