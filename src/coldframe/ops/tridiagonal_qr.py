"""Eigenvectors of self-adjoint matrices with the signs that TensorFlow's have.

An eigenvector may be turned by any number of modulus 1, and LAPACK turns it otherwise than Eigen, which TensorFlow
calls. The sign comes of the way: here a matrix takes the way that Eigen documents for its ``SelfAdjointEigenSolver``
(Golub and Van Loan, "Matrix Computations", sections 8.3.1 and 8.3.3):

    A --Householder reflections--> tridiagonal T --implicit QR steps, Wilkinson's shift--> diagonal --sorted-->

It ends where the precision of the matrix says so, and computes in float64. Signs of float32 matrices of more than some
twenty rows hang on rounding. It is a loop of Python, for small matrices.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
_TINY = float(np.finfo(np.float32).tiny)
_STEPS = 30  # of QR for each row, as many as Eigen takes


def eigenvectors(a: Array) -> tuple[Array, Array] | None:
    """Return the eigenvalues of one matrix, rising, and its eigenvectors as columns; None where QR does not converge.

    Args:
        a: [n, n], of which the lower triangle counts.
    """
    wide = np.complex128 if a.dtype.kind == "c" else np.float64
    m = np.tril(a).astype(wide)
    if not len(m) or not np.isfinite(m).all():
        return None
    scale = float(np.abs(m).max()) or 1.0
    diag, sub, q = _tridiagonal(m / scale)
    if not _diagonalize(diag, sub, q, float(np.finfo(a.dtype).eps)):
        return None
    order = _selection(diag)
    return np.array(diag)[order] * scale, q[:, order]


def _reflector(x: Array) -> tuple[Array, Any, float]:
    """Return v (v[0] is 1), tau and beta with (1 - conj(tau) v v^H) x = (beta, 0, ...)."""
    c, tail = x[0], float(np.sum(np.abs(x[1:]) ** 2))
    v = np.zeros_like(x)
    v[0] = 1
    if tail <= _TINY and c.imag**2 <= _TINY:
        return v, 0.0, float(c.real)
    beta = math.sqrt(abs(c) ** 2 + tail)
    beta = -beta if c.real >= 0 else beta
    v[1:] = x[1:] / (c - beta)
    return v, np.conj((beta - c) / beta), beta


def _tridiagonal(m: Array) -> tuple[list[float], list[float], Array]:
    n = len(m)
    full = np.tril(m) + np.conj(np.tril(m, -1)).T
    q, sub, made = np.eye(n, dtype=m.dtype), [], []
    for i in range(n - 1):
        v, tau, beta = _reflector(full[i + 1 :, i].copy())
        rest = full[i + 1 :, i + 1 :]
        w = rest @ (np.conj(tau) * v)
        w = w - 0.5 * np.conj(tau) * np.vdot(w, v) * v
        full[i + 1 :, i + 1 :] = rest - np.outer(v, np.conj(w)) - np.outer(w, np.conj(v))
        sub.append(beta)
        made.append((v, tau))
    for i in reversed(range(n - 1)):
        v, tau = made[i]
        part = q[i + 1 :, i + 1 :]
        q[i + 1 :, i + 1 :] = part - np.conj(tau) * np.outer(v, np.conj(v) @ part)
    return [float(d) for d in np.diagonal(full).real], sub, q


def _diagonalize(diag: list[float], sub: list[float], q: Array, eps: float) -> bool:
    end, start, steps = len(diag) - 1, 0, 0
    while end > 0:
        for i in range(start, end):
            scaled = sub[i] / eps
            if abs(sub[i]) < _TINY or scaled * scaled <= abs(diag[i]) + abs(diag[i + 1]):
                sub[i] = 0.0
        while end > 0 and sub[end - 1] == 0:
            end -= 1
        if end <= 0:
            break
        steps += 1
        if steps > _STEPS * len(diag):
            return False
        start = end - 1
        while start > 0 and sub[start - 1] != 0:
            start -= 1
        _step(diag, sub, start, end, q)
    return True


def _shift(diag: list[float], sub: list[float], end: int) -> float:
    """Wilkinson's: the eigenvalue of the last two rows that is nearer to the last number."""
    half, e = (diag[end - 1] - diag[end]) * 0.5, sub[end - 1]
    if half == 0:
        return diag[end] - abs(e)
    far = half + math.copysign(math.hypot(half, e), half)
    return diag[end] - (e * e / far if e * e else e / (far / e))


def _rotation(p: float, q: float) -> tuple[float, float]:
    """Return cosine and sine of Givens' rotation that turns (p, q) to the first axis."""
    if q == 0:
        return (-1.0 if p < 0 else 1.0), 0.0
    if p == 0:
        return 0.0, (1.0 if q < 0 else -1.0)
    if abs(p) > abs(q):
        t = q / p
        c = 1 / math.copysign(math.sqrt(1 + t * t), p)
        return c, -t * c
    t = p / q
    s = -1 / math.copysign(math.sqrt(1 + t * t), q)
    return -t * s, s


def _step(diag: list[float], sub: list[float], start: int, end: int, q: Array) -> None:
    x, z = diag[start] - _shift(diag, sub, end), sub[start]
    for k in range(start, end):
        if z == 0:
            break
        c, s = _rotation(x, z)
        below = s * diag[k] + c * sub[k]
        last = s * sub[k] + c * diag[k + 1]
        diag[k] = c * (c * diag[k] - s * sub[k]) - s * (c * sub[k] - s * diag[k + 1])
        diag[k + 1] = s * below + c * last
        sub[k] = c * below - s * last
        if k > start:
            sub[k - 1] = c * sub[k - 1] - s * z
        x = sub[k]
        if k < end - 1:
            z = -s * sub[k + 1]
            sub[k + 1] *= c
        left, right = q[:, k].copy(), q[:, k + 1]
        q[:, k] = c * left - s * right
        q[:, k + 1] = s * left + c * right


def _selection(diag: list[float]) -> list[int]:
    """Return the order that a selection sort leaves: where values are equal, it is not that of a stable sort."""
    values, order = list(diag), list(range(len(diag)))
    for i in range(len(values) - 1):
        k = min(range(i, len(values)), key=values.__getitem__)
        values[i], values[k] = values[k], values[i]
        order[i], order[k] = order[k], order[i]
    return order
