"""Special functions that are integrals: Bessel's, Dawson's, Fresnel's, exponential integrals, the dilogarithm.

They run on numpy in float64 whatever the dtype, rounded once at the end. Formulas: M. Abramowitz, I. Stegun, Handbook
of Mathematical Functions (the numbers in comments are theirs). Where no series serves, the integral is computed: the
trapezoid rule of a function that falls off doubly exponentially, or of a periodic one, has all digits.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from coldframe.ops.backward.special import INTEGRALS
from coldframe.ops.table import Op, rules

Array = npt.NDArray[Any]
_NONE = "ONNX has no such function"
_EULER = 0.5772156649015328606
_FAR = 25.0  # beyond it Hankel's series have all digits
_ORDERS = 90  # where recurrences downwards begin


def _bessel_orders(x: Array) -> Array:
    """J_0, J_1, ... of 0 <= x <= 25, by Miller's recurrence downwards (9.12), shape [orders, *x.shape]."""
    found = np.zeros((_ORDERS + 2, *x.shape))
    found[_ORDERS] = 1e-280
    z = np.where(x == 0, 1.0, x)
    for k in range(_ORDERS, 0, -1):
        found[k - 1] = 2 * k / z * found[k] - found[k + 1]
        large = np.abs(found[k - 1]) > 1e200
        found[:, large] *= 1e-200
    found /= found[0] + 2 * found[2::2].sum(0)
    found[:, x == 0] = 0
    found[0, x == 0] = 1
    return found


def _hankel(x: Array, order: int) -> tuple[Array, Array]:
    """P and Q of Hankel's asymptotic expansions (9.2.9, 9.2.10), for large x."""
    p, q, term = np.ones_like(x), np.zeros_like(x), np.ones_like(x)
    for k in range(1, 30):
        term = term * (4 * order * order - (2 * k - 1) ** 2) / (k * 8 * x)
        if k % 2:
            q += term * (1 if k % 4 == 1 else -1)
        else:
            p += term * (-1 if k % 4 == 2 else 1)
    return p, q


def _j(order: int) -> Callable[[Array], Array]:
    def bessel(x: Array) -> Array:
        z = np.abs(x)
        near = _bessel_orders(np.minimum(np.nan_to_num(z), _FAR))[order]
        far = np.where((z > _FAR) & np.isfinite(z), z, 2 * _FAR)
        p, q = _hankel(far, order)
        angle = far - (order / 2 + 0.25) * math.pi
        large = np.sqrt(2 / (math.pi * far)) * (p * np.cos(angle) - q * np.sin(angle))
        value = np.where(np.isfinite(x), np.where(z > _FAR, large, near), np.nan)
        return value * np.sign(x) if order else value

    return bessel


def _y(order: int) -> Callable[[Array], Array]:
    def bessel(x: Array) -> Array:
        near = np.clip(np.where(np.isfinite(x), x, 1.0), 1e-300, _FAR)
        js = _bessel_orders(near)
        k = np.arange(1, (_ORDERS - 2) // 2)[(slice(None),) + (None,) * x.ndim]
        sign = np.where(k % 2, -1.0, 1.0)
        if order:  # 9.1.88
            tail = (sign * (2 * k + 1) / (k * (k + 1.0)) * js[3 : 2 * len(k) + 2 : 2]).sum(0)
            logs = (np.log(near / 2) + _EULER - 1) * js[1]
            small = 2 / math.pi * (logs - js[0] / near - tail)
        else:  # 9.1.89
            tail = (sign / k * js[2 : 2 * len(k) + 1 : 2]).sum(0)
            small = 2 / math.pi * (np.log(near / 2) + _EULER) * js[0] - 4 / math.pi * tail
        far = np.where((x > _FAR) & np.isfinite(x), x, 2 * _FAR)
        p, q = _hankel(far, order)
        angle = far - (order / 2 + 0.25) * math.pi
        large = np.sqrt(2 / (math.pi * far)) * (p * np.sin(angle) + q * np.cos(angle))
        value = np.where(np.isfinite(x), np.where(x > _FAR, large, small), np.nan)
        return np.where(x <= 0, -np.inf, value)

    return bessel


def _k(order: int, scaled: bool) -> Callable[[Array], Array]:
    """K_n by its integral (9.6.24), times exp(x) or not."""

    def bessel(x: Array) -> Array:
        z = np.where((x > 0) & np.isfinite(x), x, 1.0)
        tiny = z < 1e-12
        safe = np.where(tiny, 1.0, z)
        end = np.arccosh(1 + 800 / safe)
        t = np.linspace(0, 1, 700)[(slice(None),) + (None,) * x.ndim] * end
        # cosh(t) - 1, without what cancels
        values = np.exp(-safe * 2 * np.sinh(t / 2) ** 2) * (np.cosh(t) if order else 1)
        value = (values.sum(0) - values[0] / 2) * end / 699
        value = np.where(tiny, 1 / z if order else -np.log(z / 2) - _EULER, value)
        with np.errstate(under="ignore"):
            value = value if scaled else value * np.exp(-z)
        edge = np.where(np.isposinf(x), 0.0, np.where(x <= 0, np.inf, np.nan))
        return np.where((x > 0) & np.isfinite(x), value, edge)

    return bessel


def dawsn(x: Array) -> Array:
    """exp(-x^2) times the integral of exp(t^2) from 0 to x, by a sum of Gaussians at odd steps (Rybicki's)."""
    step, near = 0.2, np.abs(np.nan_to_num(x))
    far = near > 1e8
    near = np.where(far, 1.0, near)
    middle = 2 * np.round(near / (2 * step))
    odd = np.arange(-45, 46, 2.0)[(slice(None),) + (None,) * x.ndim]
    value = (np.exp(-((near - (middle + odd) * step) ** 2)) / (middle + odd)).sum(0) / math.sqrt(math.pi)
    z = np.abs(x)
    value = np.where(far, 0.5 / np.where(z == 0, 1.0, z), value)
    return np.where(np.isnan(x), np.nan, np.sign(x) * value)


def expint(x: Array) -> Array:
    """The exponential integral Ei of positive numbers: a series (5.1.10), an asymptotic one (5.1.51) beyond 40."""
    near = np.where((x > 0) & (x <= 40), x, 1.0)
    total, term = np.zeros_like(near), np.ones_like(near)
    for k in range(1, 200):
        term = term * near / k
        total += term / k
    far = np.where((x > 40) & np.isfinite(x), x, 50.0)
    series, term = np.ones_like(far), np.ones_like(far)
    for k in range(1, 40):
        term = term * k / far
        series += term
    value = np.where(x > 40, np.exp(far) / far * series, _EULER + np.log(near) + total)
    return np.where((x < 0) | ~np.isfinite(x), np.nan, np.where(x == 0, -np.inf, value))


_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(110)


def _fresnel(of: Callable[[Array], Array], is_sine: bool) -> Callable[[Array], Array]:
    """The integral of cos or sin of pi/2 t^2 from 0 to x: Gauss's rule, or 7.3.9 and 7.3.10 with 7.3.27 and 7.3.28."""

    def fresnel(x: Array) -> Array:
        z = np.abs(np.nan_to_num(x))
        near, far = np.minimum(z, 6.0), np.clip(z, 6.0, 1e8)
        at = (_NODES[(slice(None),) + (None,) * x.ndim] + 1) / 2 * near
        weights = _WEIGHTS[(slice(None),) + (None,) * x.ndim]
        close = (weights * of(math.pi / 2 * at * at)).sum(0) * near / 2
        square = math.pi * far * far
        f, g, term = np.zeros_like(far), np.zeros_like(far), np.ones_like(far)
        for k in range(12):
            f += term * (1 if k % 2 == 0 else -1)
            g += term * (4 * k + 1) / square * (1 if k % 2 == 0 else -1)
            term = term * (4 * k + 1) * (4 * k + 3) / square**2
        f, g = f / (math.pi * far), g / (math.pi * far)
        angle = math.pi / 2 * np.mod(far, 4) * np.mod(far, 4) + math.pi * (far - np.mod(far, 4)) * np.mod(far, 4)
        s, c = np.sin(angle), np.cos(angle)
        large = 0.5 - f * c - g * s if is_sine else 0.5 + f * s - g * c
        value = np.where(z > 1e8, 0.5, np.where(z > 6, large, close))
        return np.where(np.isnan(x), np.nan, np.sign(x) * value)

    return fresnel


def spence(x: Array) -> Array:
    """The integral of log(t) / (1 - t) from 1 to x: the dilogarithm of 1 - x (27.7.2, with 27.7.3 and 27.7.5)."""
    valid = (x >= 0) & ~np.isnan(x)
    z = np.where(valid, x, 1.0)
    inverted = z > 1.5
    w = np.where(inverted, 1 / np.where(inverted, z, 1.0), z)
    reflected = w < 0.5
    v = np.where(reflected, 1 - w, w)
    series, power = np.zeros_like(v), np.ones_like(v)
    for k in range(1, 80):
        power = power * (1 - v)
        series += power / (k * k)
    safe = np.where(reflected & (w > 0), w, 0.25)
    mirrored = math.pi**2 / 6 - np.where(w > 0, np.log(safe) * np.log1p(-safe), 0.0) - series
    value = np.where(reflected, mirrored, series)
    value = np.where(inverted, -0.5 * np.log(z + (z == 0)) ** 2 - value, value)
    return np.where(valid, np.where(np.isposinf(x), np.nan, value), np.nan)


def _integral(name: str, fn: Callable[[Array], Array], doc: str) -> Op:
    def body(xp: Any, x: Any) -> Any:
        with np.errstate(all="ignore"):
            return np.asarray(fn(x.astype(np.float64))).astype(x.dtype)

    body.__doc__ = doc
    return Op(name, body, rules=rules(gradient=INTEGRALS.get(name)), shape="x -> x", host=_NONE)


INTEGRAL = [
    _integral("BesselJ0", _j(0), "the Bessel function of the first kind, of order 0"),
    _integral("BesselJ1", _j(1), "the Bessel function of the first kind, of order 1"),
    _integral("BesselY0", _y(0), "the Bessel function of the second kind, of order 0"),
    _integral("BesselY1", _y(1), "the Bessel function of the second kind, of order 1"),
    _integral("BesselK0", _k(0, False), "the modified Bessel function of the second kind, of order 0"),
    _integral("BesselK0e", _k(0, True), "BesselK0 times exp(x)"),
    _integral("BesselK1", _k(1, False), "the modified Bessel function of the second kind, of order 1"),
    _integral("BesselK1e", _k(1, True), "BesselK1 times exp(x)"),
    _integral("Dawsn", dawsn, "Dawson's integral"),
    _integral("Expint", expint, "the exponential integral Ei"),
    _integral("FresnelCos", _fresnel(np.cos, False), "Fresnel's cosine integral"),
    _integral("FresnelSin", _fresnel(np.sin, True), "Fresnel's sine integral"),
    _integral("Spence", spence, "Spence's integral, the dilogarithm of 1 - x"),
]
