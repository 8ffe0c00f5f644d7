"""Special functions: gamma and its relatives, inverse error functions, Bessel functions.

They run on numpy in float64 whatever the dtype, rounded once at the end. Formulas: M. Abramowitz, I. Stegun, Handbook
of Mathematical Functions (the numbers in comments are theirs) and the NIST Digital Library of Mathematical Functions.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from coldframe.ops import inference_math
from coldframe.ops.backward.special import RULES
from coldframe.ops.table import Op, rules

Array = npt.NDArray[Any]
_NONE = "ONNX has no such function"
# B(2k) / (2k)!, k = 1.. : the tails of Euler and Maclaurin's summation.
_TAILS = tuple(
    b / math.factorial(2 * k)
    for k, b in enumerate((1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6, -3617 / 510), start=1)
)
_SHIFT = 10  # recurrences carry arguments beyond this, where asymptotic series have all digits
_STEPS = 5000  # bound of the iterations
_STEP = 1e-20  # of derivatives, in the imaginary direction
_CLOSE = 3e-16  # relative changes that rounding alone makes
Number = Any  # float or complex


def _lgamma(v: float) -> float:
    """The logarithm of |gamma(v)|; infinite at the poles and where it overflows."""
    if v <= 0 and (math.isinf(v) or v == math.floor(v)):
        return math.inf
    try:
        return math.lgamma(v)
    except OverflowError:
        return math.inf


def lgamma(x: Array) -> Array:
    """Log |gamma|, elementwise."""
    return np.fromiter(map(_lgamma, x.ravel().tolist()), np.float64, x.size).reshape(x.shape)


def digamma(x: Array) -> Array:
    """The derivative of log gamma: reflection (6.3.7), recurrence (6.3.5), asymptotic series (6.3.18)."""
    pole = (x <= 0) & (x == np.floor(x))
    reflected = x < 0
    z = np.where(reflected, 1 - x, np.where(pole, 1.0, x))
    out = np.zeros_like(z)
    for _ in range(_SHIFT):
        small = z < _SHIFT
        out -= np.where(small, 1 / z, 0)
        z = z + small
    w = 1 / (z * z)
    series = w * (1 / 12 - w * (1 / 120 - w * (1 / 252 - w * (1 / 240 - w * (1 / 132 - w * 691 / 32760)))))
    out += np.log(z) - 0.5 / z - series
    fraction = x - np.floor(x)
    out = np.where(reflected, out - math.pi / np.tan(math.pi * fraction), out)
    return np.where(pole, np.nan, out)


def zeta(x: Array, q: Array) -> Array:
    """Hurwitz's zeta function, the sum of (q + k)^-x (23.2.7 with the tail by Euler and Maclaurin)."""
    x, q = np.broadcast_arrays(x, q)
    out = np.zeros(x.shape)
    z = q.astype(np.float64)
    for _ in range(_SHIFT + 2):
        out += z**-x
        z = z + 1
    out += z ** (1 - x) / (x - 1) + 0.5 * z**-x
    rising, power = x.astype(np.float64), z ** (-x - 1)
    for k, tail in enumerate(_TAILS):
        out += tail * rising * power
        rising = rising * (x + 2 * k + 1) * (x + 2 * k + 2)
        power = power / (z * z)
    # At a pole it is infinite for even powers; a negative base has no other power than a whole one.
    at_pole = (q <= 0) & (q == np.floor(q))
    even = (x == np.floor(x)) & (np.mod(x, 2) == 0)
    out = np.where(at_pole, np.where(even, np.inf, np.nan), out)
    out = np.where((q < 0) & (x != np.floor(x)), np.nan, out)
    return np.where(x < 1, np.nan, np.where(x == 1, np.inf, out))


def polygamma(a: Array, x: Array) -> Array:
    """The a-th derivative of digamma, by zeta (6.4.10)."""
    a, x = np.broadcast_arrays(a, x)
    whole = (a == np.floor(a)) & (a >= 0)
    n = np.where(whole, a, 1.0)
    value = np.where(np.mod(n, 2) == 0, -1.0, 1.0) * np.exp(lgamma(n + 1)) * zeta(n + 1, x)
    return np.where(whole, np.where(n == 0, digamma(x), value), np.nan)


def _igamma(a: float, x: float) -> float:
    """The regularized lower incomplete gamma function: series (6.5.29) below, continued fraction (6.5.31) above."""
    if x < 0 or a <= 0 or math.isnan(a) or math.isnan(x):
        return math.nan
    if x == 0 or math.isinf(a):
        return math.nan if math.isinf(x) and math.isinf(a) else 0.0
    if math.isinf(x):
        return 1.0
    scale = _scale(a, x)
    part: float = _lower_series(a, x) * scale if x <= 1 or x <= a else 1 - _upper_fraction(a, x) * scale
    return part


def _igammac(a: float, x: float) -> float:
    """One minus `_igamma`, exact in its tail."""
    if x < 0 or a <= 0 or math.isnan(a) or math.isnan(x):
        return math.nan
    if x == 0 or math.isinf(a):
        return math.nan if math.isinf(x) and math.isinf(a) else 1.0
    if math.isinf(x):
        return 0.0
    scale = _scale(a, x)
    part: float = 1 - _lower_series(a, x) * scale if x < 1 or x < a else _upper_fraction(a, x) * scale
    return part


def _igamma_slope(a: float, x: float) -> float:
    """The derivative of `_igamma` for a: that of the series and of the fraction by a complex step, which is exact."""
    if x < 0 or a <= 0 or math.isnan(a) or math.isnan(x):
        return math.nan
    if x == 0 or math.isinf(a) or math.isinf(x):
        return math.nan if math.isinf(x) and math.isinf(a) else 0.0
    below = x <= 1 or x <= a
    moved = (_lower_series if below else _upper_fraction)(complex(a, _STEP), x)
    of_scale = math.log(x) - float(digamma(np.array([a]))[0])
    slope: float = _scale(a, x) * (moved.real * of_scale + moved.imag / _STEP)
    return slope if below else -slope


def _gamma_slope(a: float, x: float) -> float:
    """The derivative for a of the value x that is drawn from the gamma distribution of a: where `_igamma` stays."""
    if x < 0 or a <= 0 or not math.isfinite(a) or not math.isfinite(x):
        return math.nan
    if x == 0:
        return 0.0
    below = x <= 1 or x <= a
    moved = (_lower_series if below else _upper_fraction)(complex(a, _STEP), x)
    of_scale = math.log(x) - float(digamma(np.array([a]))[0])
    slope: float = x * (moved.real * of_scale + moved.imag / _STEP)
    return -slope if below else slope


def _scale(a: float, x: float) -> float:
    return math.exp(max(a * math.log(x) - x - math.lgamma(a), -745.0))


def _lower_series(a: Number, x: float) -> Number:
    """The function over `_scale`."""
    term = total = 1 / a
    for k in range(1, _STEPS):
        term *= x / (a + k)
        total += term
        if abs(term) < abs(total) * 1e-17:
            break
    return total


def _upper_fraction(a: Number, x: float) -> Number:
    """The function's complement over `_scale`, by Lentz's method."""
    b = x + 1 - a
    c: Any = 1e300
    d: Any = 1 / b
    h = d
    for k in range(1, _STEPS):
        n = -k * (k - a)
        b += 2
        d = 1 / (n * d + b or 1e-300)
        c = b + n / c or 1e-300
        last, h = h, h * (d * c)
        # Where `a` is whole, the real part is done after `a` steps, and the imaginary one, the derivative, is not.
        if abs(h.real - last.real) <= _CLOSE * abs(h.real) and abs(h.imag - last.imag) <= _CLOSE * abs(h.imag):
            break
    return h


def _betainc(a: float, b: float, x: float) -> float:
    """The regularized incomplete beta function, by its continued fraction (26.5.8)."""
    if not (a > 0 and b > 0 and 0 <= x <= 1):
        return math.nan
    if x in (0.0, 1.0):
        return x
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x))
    if x < (a + 1) / (a + b + 2):
        return front * _beta_fraction(a, b, x) / a
    return 1 - front * _beta_fraction(b, a, 1 - x) / b


def _beta_fraction(a: float, b: float, x: float) -> float:
    """By Lentz's method."""
    c, d = 1.0, 1 / (1 - (a + b) * x / (a + 1) or 1e-300)
    h = d
    for m in range(1, _STEPS):
        for n in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1 / (1 + n * d or 1e-300)
            c = 1 + n / c or 1e-300
            h *= d * c
        if abs(d * c - 1) < 1e-16:
            break
    return h


def ndtri(p: Array) -> Array:
    """The quantile of the normal distribution; infinite at 0 and 1, NaN outside."""
    from statistics import NormalDist

    inside = (p > 0) & (p < 1)
    # Above a half the distance from 1 counts, which the other tail keeps exactly.
    mirrored = p > 0.5
    tail = np.where(inside, np.where(mirrored, 1 - p, p), 0.5)
    value = np.fromiter(map(NormalDist().inv_cdf, tail.ravel().tolist()), np.float64, p.size).reshape(p.shape)
    value = np.where(mirrored, -value, value)
    return np.where(inside, value, np.where(p == 0, -np.inf, np.where(p == 1, np.inf, np.nan)))


def erfinv(x: Array) -> Array:
    """The inverse of erf: a normal quantile, with a step of Newton's where that cancels."""
    value = np.where(x < 0, 1.0, -1.0) * ndtri((1 - np.abs(x)) / 2) / math.sqrt(2)
    small = np.abs(x) < 0.5
    guess = np.where(small, value, 0.0)
    erf = np.fromiter(map(math.erf, guess.ravel().tolist()), np.float64, x.size).reshape(x.shape)
    slope = 2 / math.sqrt(math.pi) * np.exp(-guess * guess)
    return np.where(small, guess - (erf - np.where(small, x, 0.0)) / slope, value)


def _bessel_i(order: int) -> Callable[[Array], Array]:
    """exp(-|x|) I_order(x) for orders 0 and 1: power series (9.6.10), asymptotic series (9.7.1) beyond 30."""

    def scaled(x: Array) -> Array:
        z = np.abs(x)
        near, far = np.minimum(z, 30.0), np.maximum(z, 30.0)
        quarter = near * near / 4
        term = total = np.ones_like(z)
        for k in range(1, 100):
            term = term * quarter / (k * (k + order))
            total = total + term
        close = total * np.exp(-near) * (near / 2 if order else 1)
        term = tail = np.ones_like(z)
        for k in range(1, 25):
            term = term * ((2 * k - 1) ** 2 - 4 * order * order) / (8 * k * far)
            tail = tail + term
        value = np.where(z <= 30, close, tail / np.sqrt(2 * math.pi * far))
        return value * np.sign(x) if order else value

    return scaled


def _each(fn: Callable[..., float]) -> Callable[..., Array]:
    """`fn` of numbers as a function of arrays that broadcast."""

    def over(*xs: Array) -> Array:
        same = np.broadcast_arrays(*xs)
        values = map(fn, *(x.ravel().tolist() for x in same))
        return np.fromiter(values, np.float64, same[0].size).reshape(same[0].shape)

    return over


def _special(name: str, fn: Callable[..., Array], inputs: int, doc: str) -> Op:
    def wide(*xs: Any) -> Any:
        return np.asarray(fn(*(x.astype(np.float64) for x in xs))).astype(xs[0].dtype)

    def one(xp: Any, x: Any) -> Any:
        return wide(x)

    def two(xp: Any, x: Any, y: Any) -> Any:
        return wide(x, y)

    def three(xp: Any, a: Any, b: Any, x: Any) -> Any:
        return wide(a, b, x)

    body: Callable[..., Any] = (one, two, three)[inputs - 1]
    body.__doc__ = doc
    return Op(name, body, rules=rules(gradient=RULES.get(name)), shape=_SHAPES[inputs - 1], host=_NONE)


_SHAPES = ("x -> x", inference_math.broadcast_two, inference_math.broadcast_three)
_I0E, _I1E = _bessel_i(0), _bessel_i(1)

SPECIAL = [
    _special("Lgamma", lgamma, 1, "the logarithm of the magnitude of gamma(x)"),
    _special("Digamma", digamma, 1, "the derivative of the logarithm of gamma"),
    _special("Polygamma", polygamma, 2, "the a-th derivative of digamma at x"),
    _special("Zeta", zeta, 2, "Hurwitz's zeta function of x and q"),
    _special("Igamma", _each(_igamma), 2, "the regularized lower incomplete gamma function of a and x"),
    _special("Igammac", _each(_igammac), 2, "the regularized upper incomplete gamma function of a and x"),
    _special("IgammaGradA", _each(_igamma_slope), 2, "the derivative of Igamma for a"),
    _special("RandomGammaGrad", _each(_gamma_slope), 2, "the derivative for alpha of a gamma value drawn with it"),
    _special("Betainc", _each(_betainc), 3, "the regularized incomplete beta function of a, b and x"),
    _special("Ndtri", ndtri, 1, "the quantile of the standard normal distribution"),
    _special("Erfinv", erfinv, 1, "the inverse of the error function"),
    _special("BesselI0", lambda x: _I0E(x) * np.exp(np.abs(x)), 1, "the modified Bessel function of order 0"),
    _special("BesselI0e", _I0E, 1, "the modified Bessel function of order 0 times exp(-|x|)"),
    _special("BesselI1", lambda x: _I1E(x) * np.exp(np.abs(x)), 1, "the modified Bessel function of order 1"),
    _special("BesselI1e", _I1E, 1, "the modified Bessel function of order 1 times exp(-|x|)"),
]
