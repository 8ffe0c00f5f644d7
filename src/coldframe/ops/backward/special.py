"""Gradient rules of special functions, named after the ops."""

from __future__ import annotations

import math
from typing import Any

from coldframe.ops.backward import unbroadcast_always
from coldframe.ops.table import Body


def _exponential(factor: float, divisor: float) -> Body:
    """The rule of a quantile: a factor times exp(y squared / divisor)."""

    def rule(g: Any, op: Any, dy: Any) -> Any:
        squared = g.Square(op.outputs[0])
        return dy * g.constant(factor, dy.dtype) * g.Exp(squared if divisor == 1 else squared / divisor)

    return rule


def lgamma(g: Any, op: Any, dy: Any) -> Any:
    return dy * g.Digamma(op.inputs[0])


def digamma(g: Any, op: Any, dy: Any) -> Any:
    x = op.inputs[0]
    return dy * g.Polygamma(g.constant(1, x.dtype), x)


def polygamma(g: Any, op: Any, dy: Any) -> Any:
    n, x = op.inputs
    return unbroadcast_always(g, [n, x], [None, g.Polygamma(n + 1, x) * dy])


def zeta(g: Any, op: Any, dy: Any) -> Any:
    x, q = op.inputs
    return unbroadcast_always(g, [x, q], [None, -x * g.Zeta(x + 1, q) * dy])


def igamma(g: Any, op: Any, dy: Any) -> Any:
    a, x = op.inputs
    da = g.IgammaGradA(a, x)
    dx = g.Exp(-x + (a - 1) * g.Log(x) - g.Lgamma(a))
    return unbroadcast_always(g, [a, x], [da * dy, dx * dy])


def igammac(g: Any, op: Any, dy: Any) -> Any:
    da, dx = igamma(g, op, dy)
    return -da, -dx


def betainc(g: Any, op: Any, dy: Any) -> Any:
    """For x alone."""
    a, b, x = op.inputs
    log_beta = g.Lgamma(a) + g.Lgamma(b) - g.Lgamma(a + b)
    dx = g.Exp(g.Xlog1py(b - 1, -x) + g.Xlogy(a - 1, x) - log_beta)
    return None, None, unbroadcast_always(g, [a, x], [None, dx * dy])[1]


def bessel_i0(g: Any, op: Any, dy: Any) -> Any:
    return dy * g.BesselI1(op.inputs[0])


def bessel_i0e(g: Any, op: Any, dy: Any) -> Any:
    x = op.inputs[0]
    return dy * (g.BesselI1e(x) - g.Sign(x) * op.outputs[0])


def bessel_i1(g: Any, op: Any, dy: Any) -> Any:
    x, y = op.inputs[0], op.outputs[0]
    slope = g.BesselI0(x) - g.RealDiv(y, x, name="div")
    return dy * g.SelectV2(g.Equal(x, 0.0), g.constant(1, x.dtype, name="Cast"), slope)


def bessel_i1e(g: Any, op: Any, dy: Any) -> Any:
    x, y = op.inputs[0], op.outputs[0]
    slope = g.BesselI0e(x) - y * (g.Sign(x) + g.Reciprocal(x))
    return dy * g.SelectV2(g.Equal(x, 0.0), g.constant(0.5, x.dtype, name="Cast"), slope)


RULES: dict[str, Body] = {
    "Lgamma": lgamma,
    "Digamma": digamma,
    "Polygamma": polygamma,
    "Zeta": zeta,
    "Igamma": igamma,
    "Igammac": igammac,
    "Betainc": betainc,
    "Ndtri": _exponential(math.sqrt(2 * math.pi), 2.0),
    "Erfinv": _exponential(math.sqrt(math.pi) / 2, 1),
    "BesselI0": bessel_i0,
    "BesselI0e": bessel_i0e,
    "BesselI1": bessel_i1,
    "BesselI1e": bessel_i1e,
}


# --- integrals ----------------------------------------------------------------------------------------------------
def _slope(of: Body) -> Body:
    """The rule of a function whose derivative is `of(g, x, y)`."""

    def rule(g: Any, op: Any, dy: Any) -> Any:
        return dy * of(g, op.inputs[0], op.outputs[0])

    return rule


def _bessel_j1(g: Any, x: Any, y: Any) -> Any:
    at_zero = g.Equal(x, g.constant(0, x.dtype))
    return g.SelectV2(at_zero, g.constant(0.5, x.dtype), g.BesselJ0(x) - y / x)


def _spence(g: Any, x: Any, y: Any) -> Any:
    one = g.constant(1, x.dtype)
    return g.SelectV2(g.Equal(x, one), -one, g.Log(x) / (one - x))


INTEGRALS: dict[str, Body] = {
    "BesselJ0": _slope(lambda g, x, y: -g.BesselJ1(x)),
    "BesselJ1": _slope(_bessel_j1),
    "BesselY0": _slope(lambda g, x, y: -g.BesselY1(x)),
    "BesselY1": _slope(lambda g, x, y: g.BesselY0(x) - y / x),
    "BesselK0": _slope(lambda g, x, y: -g.BesselK1(x)),
    "BesselK0e": _slope(lambda g, x, y: y - g.BesselK1e(x)),
    "BesselK1": _slope(lambda g, x, y: -g.BesselK0(x) - y / x),
    "BesselK1e": _slope(lambda g, x, y: y * (g.constant(1, x.dtype) - g.Reciprocal(x)) - g.BesselK0e(x)),
    "Dawsn": _slope(lambda g, x, y: g.constant(1, x.dtype) - g.constant(2, x.dtype) * x * y),
    "Expint": _slope(lambda g, x, y: g.Exp(x) / x),
    "FresnelCos": _slope(lambda g, x, y: g.Cos(g.constant(math.pi / 2, x.dtype) * g.Square(x))),
    "FresnelSin": _slope(lambda g, x, y: g.Sin(g.constant(math.pi / 2, x.dtype) * g.Square(x))),
    "Spence": _slope(_spence),
}
