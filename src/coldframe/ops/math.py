"""Elementwise mathematics: arithmetic, powers, exponentials, trigonometry, rounding.

Integers wrap on overflow; their division and remainder refuse a zero divisor and their powers refuse a negative
exponent, as TensorFlow's kernels do. Half precision rounds after every step of a formula.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from coldframe.ops import inference_math
from coldframe.ops.backward import math as back
from coldframe.ops.backward import stopped
from coldframe.ops.families import binary, unary
from coldframe.ops.table import op
from coldframe.primitives.base import refuse


def _quotient(xp: Any, x: Any, y: Any) -> Any:
    return xp.trunc_divide(x, y) if xp.dtype(x).kind in "iu" else xp.divide(x, y)


def _truncated_quotient(xp: Any, x: Any, y: Any) -> Any:
    return xp.trunc_divide(x, y) if xp.dtype(x).kind in "iu" else xp.trunc(xp.divide(x, y))


def _round(xp: Any, x: Any) -> Any:
    return x if xp.dtype(x).kind in "iu" else xp.round(x)


def _square(xp: Any, x: Any) -> Any:
    return xp.multiply(x, x)


def _squared_difference(xp: Any, x: Any, y: Any) -> Any:
    d = xp.subtract(x, y)
    return xp.multiply(d, _conj(xp, d))


def _masked(xp: Any, test: Any, value: Any) -> Any:
    """`value`, but 0 where `test` is 0, whatever the other operand is."""
    zero = xp.dtype(test).type(0)
    return xp.where(xp.equal(test, zero), zero, value)


def _add(xp: Any, x: Any, y: Any) -> Any:
    total = xp.add(x, y)
    return np.asarray(total, object) if xp.dtype(x).kind == "O" else total  # two scalars would give a bare string


UNARY = [
    unary("Neg", lambda xp, x: xp.neg(x), "-x; the lowest integer stays itself", gradient=back.neg),
    unary("Abs", lambda xp, x: xp.abs(x), "the magnitude of x; the lowest integer stays itself", gradient=back.abs_),
    unary("ComplexAbs", lambda xp, x: xp.abs(x), "the magnitude of complex x", gradient=back.complex_abs),
    unary("Sign", lambda xp, x: xp.sign(x), "-1, 0 or 1; for complex numbers x / |x|", gradient=back.sign),
    unary("Square", _square, "x * x", gradient=back.square),
    unary("Sqrt", lambda xp, x: xp.sqrt(x), "the square root of x", gradient=back.sqrt),
    unary("Rsqrt", lambda xp, x: xp.reciprocal(xp.sqrt(x)), "1 / sqrt(x)", gradient=back.rsqrt),
    unary("Reciprocal", lambda xp, x: xp.reciprocal(x), "1 / x", gradient=back.reciprocal),
    unary("Inv", lambda xp, x: xp.reciprocal(x), "1 / x", gradient=back.reciprocal),
    unary("Exp", lambda xp, x: xp.exp(x), "e to the power of x", gradient=back.exp),
    unary("Expm1", lambda xp, x: xp.expm1(x), "exp(x) - 1, exact near 0", gradient=back.expm1),
    unary("Log", lambda xp, x: xp.log(x), "the natural logarithm of x", gradient=back.log),
    unary("Log1p", lambda xp, x: xp.log1p(x), "log(1 + x), exact near 0", gradient=back.log1p),
    unary("Sin", lambda xp, x: xp.sin(x), "the sine of x radians", gradient=back.sin),
    unary("Cos", lambda xp, x: xp.cos(x), "the cosine of x radians", gradient=back.cos),
    unary("Tan", lambda xp, x: xp.tan(x), "the tangent of x radians", gradient=back.tan),
    unary("Asin", lambda xp, x: xp.asin(x), "the angle in radians whose sine is x", gradient=back.asin),
    unary("Acos", lambda xp, x: xp.acos(x), "the angle in radians whose cosine is x", gradient=back.acos),
    unary("Atan", lambda xp, x: xp.atan(x), "the angle in radians whose tangent is x", gradient=back.atan),
    unary("Sinh", lambda xp, x: xp.sinh(x), "the hyperbolic sine of x", gradient=back.sinh),
    unary("Cosh", lambda xp, x: xp.cosh(x), "the hyperbolic cosine of x", gradient=back.cosh),
    unary("Tanh", lambda xp, x: xp.tanh(x), "the hyperbolic tangent of x", gradient=back.tanh),
    unary("Asinh", lambda xp, x: xp.asinh(x), "the inverse hyperbolic sine of x", gradient=back.asinh),
    unary("Acosh", lambda xp, x: xp.acosh(x), "the inverse hyperbolic cosine of x", gradient=back.acosh),
    unary("Atanh", lambda xp, x: xp.atanh(x), "the inverse hyperbolic tangent of x", gradient=back.atanh),
    unary("Floor", lambda xp, x: xp.floor(x), "the largest whole number not above x", gradient=stopped),
    unary("Ceil", lambda xp, x: xp.ceil(x), "the smallest whole number not below x", gradient=stopped),
    unary("Round", _round, "the nearest whole number, the even one at a tie", gradient=stopped),
    unary("Rint", lambda xp, x: xp.round(x), "the nearest whole number, the even one at a tie", gradient=stopped),
    unary("Erf", lambda xp, x: xp.erf(x), "the Gauss error function", gradient=back.erf),
    unary("Erfc", lambda xp, x: xp.erfc(x), "1 - erf(x), exact in the tail", gradient=back.erfc),
    unary("Real", lambda xp, x: xp.real(x), "the real part of x", gradient=back.real),
    unary("Imag", lambda xp, x: xp.imag(x), "the imaginary part of x", gradient=back.imag),
    unary("Conj", lambda xp, x: xp.conj(x), "the complex conjugate of x", gradient=back.conjugate),
    unary("Angle", lambda xp, x: xp.angle(x), "the angle of complex x in radians, in (-pi, pi]", gradient=back.angle),
]

BINARY = [
    binary("Add", _add, "x + y; strings are joined", gradient=back.add),
    binary("AddV2", lambda xp, x, y: xp.add(x, y), "x + y", gradient=back.add),
    binary("Sub", lambda xp, x, y: xp.subtract(x, y), "x - y", gradient=back.sub),
    binary("Mul", lambda xp, x, y: xp.multiply(x, y), "x * y", gradient=back.mul),
    binary(
        "MulNoNan",
        lambda xp, x, y: _masked(xp, y, xp.multiply(x, y)),
        "x * y, but 0 where y is 0",
        gradient=back.mul_no_nan,
    ),
    binary("Div", _quotient, "x / y; integers round towards zero", gradient=back.div),
    binary(
        "DivNoNan",
        lambda xp, x, y: _masked(xp, y, xp.divide(x, y)),
        "x / y, but 0 where y is 0",
        gradient=back.div_no_nan,
    ),
    binary("RealDiv", lambda xp, x, y: xp.divide(x, y), "x / y of floating or complex numbers", gradient=back.real_div),
    binary(
        "FloorDiv", lambda xp, x, y: xp.floor_divide(x, y), "x / y rounded towards minus infinity", gradient=stopped
    ),
    binary("TruncateDiv", _truncated_quotient, "x / y rounded towards zero", gradient=stopped),
    binary("Mod", lambda xp, x, y: xp.trunc_mod(x, y), "the remainder of x / y with the sign of x"),
    binary(
        "FloorMod",
        lambda xp, x, y: xp.floor_mod(x, y),
        "the remainder of x / y with the sign of y",
        gradient=back.floor_mod,
    ),
    binary("TruncateMod", lambda xp, x, y: xp.trunc_mod(x, y), "the remainder of x / y with the sign of x"),
    binary(
        "SquaredDifference",
        _squared_difference,
        "(x - y) squared; for complex numbers |x - y| squared",
        gradient=back.squared_difference,
    ),
    binary("Maximum", lambda xp, x, y: xp.maximum(x, y), "the larger of x and y; a NaN wins", gradient=back.maximum),
    binary("Minimum", lambda xp, x, y: xp.minimum(x, y), "the smaller of x and y; a NaN wins", gradient=back.minimum),
    binary("Atan2", lambda xp, y, x: xp.atan2(y, x), "the angle in radians of the point (x, y)", gradient=back.atan2),
    binary("Complex", lambda xp, re, im: xp.complex(re, im), "re + i * im", gradient=back.complex_),
    binary(
        "Xlogy",
        lambda xp, x, y: _masked(xp, x, xp.multiply(x, xp.log(y))),
        "x * log(y), but 0 where x is 0",
        gradient=back.xlogy,
    ),
    binary(
        "Xlog1py",
        lambda xp, x, y: _masked(xp, x, xp.multiply(x, xp.log1p(y))),
        "x * log(1 + y), 0 where x is 0",
        gradient=back.xlog1py,
    ),
    binary("Xdivy", lambda xp, x, y: _masked(xp, x, xp.divide(x, y)), "x / y, but 0 where x is 0", gradient=back.xdivy),
]

# The gradients take the op's output y and the gradient dy that arrives there.
GRADIENTS = [
    binary("InvGrad", lambda xp, y, dy: _inverse_grad(xp, y, dy), "the gradient of 1 / x", gradient=back.inverse_grad),
    binary(
        "ReciprocalGrad",
        lambda xp, y, dy: _inverse_grad(xp, y, dy),
        "the gradient of 1 / x",
        gradient=back.inverse_grad,
    ),
    binary(
        "SqrtGrad",
        lambda xp, y, dy: dy * _half(xp, y) / _conj(xp, y),
        "the gradient of sqrt(x)",
        gradient=back.sqrt_grad,
    ),
    binary(
        "RsqrtGrad", lambda xp, y, dy: _rsqrt_grad(xp, y, dy), "the gradient of 1 / sqrt(x)", gradient=back.rsqrt_grad
    ),
    binary(
        "SigmoidGrad",
        lambda xp, y, dy: dy * y * (_one(xp, y) - y),
        "the gradient of sigmoid(x)",
        gradient=back.sigmoid_grad,
    ),
    binary(
        "TanhGrad", lambda xp, y, dy: dy * (_one(xp, y) - y * y), "the gradient of tanh(x)", gradient=back.tanh_grad
    ),
]


def _inverse_grad(xp: Any, y: Any, dy: Any) -> Any:
    c = _conj(xp, y)
    return xp.neg(dy) * c * c


def _rsqrt_grad(xp: Any, y: Any, dy: Any) -> Any:
    c = _conj(xp, y)
    return xp.neg(_half(xp, y) * dy) * (c * c) * c


def _conj(xp: Any, x: Any) -> Any:
    return xp.conj(x) if xp.dtype(x).kind == "c" else x


def _half(xp: Any, x: Any) -> Any:
    return xp.dtype(x).type(0.5)


def _one(xp: Any, x: Any) -> Any:
    return xp.dtype(x).type(1)


@op("Pow", shape=inference_math.broadcast_two, gradient=back.pow_)
def pow_(xp: Any, x: Any, y: Any) -> Any:
    """X to the power of y; integers wrap and refuse a negative exponent."""
    if xp.dtype(y).kind == "i" and bool(xp.any(xp.less(y, xp.dtype(y).type(0)))):
        raise refuse("an integer to a negative power", hint="cast to a floating dtype first")
    return xp.power(x, y)


@op(
    "NextAfter",
    shape=inference_math.broadcast_two,
    gradient=back.next_after,
    host="ONNX has no next representable number",
)
def next_after(xp: Any, x1: Any, x2: Any) -> Any:
    """Give the number next to x1 in the direction of x2."""
    return np.nextafter(x1, x2)


@op("ClipByValue", shape=inference_math.clip, gradient=back.clip_by_value)
def clip_by_value(xp: Any, t: Any, low: Any, high: Any) -> Any:
    """Bound t from above by `high`, then from below by `low`; a NaN in t stays."""
    return xp.maximum(xp.minimum(t, high), low)


@op(
    "BroadcastGradientArgs",
    shape=inference_math.gradient_args,
    no_gradient=True,
    host="the lengths of its outputs depend on values",
)
def broadcast_gradient_args(xp: Any, s0: Any, s1: Any) -> Any:
    """List the axes over which each operand's gradient is summed, for operands of shapes s0 and s1."""
    a, b = _aligned(s0, s1)
    r0: list[int] = []
    r1: list[int] = []
    if s0.tolist() == s1.tolist():  # nothing was broadcast; ones are listed only where shapes differ
        return np.array(r0, s0.dtype), np.array(r1, s0.dtype)
    for i, (m, n) in enumerate(zip(a, b, strict=True)):
        if m != n and 1 not in (m, n):
            raise refuse("shapes do not broadcast", expected=s0.tolist(), found=s1.tolist())
        if m == 1:
            r0.append(i)
        if n == 1:
            r1.append(i)
    return np.array(r0, s0.dtype), np.array(r1, s0.dtype)


def _aligned(s0: Any, s1: Any) -> tuple[list[int], list[int]]:
    """Two shapes, the shorter one filled up with ones in front."""
    a, b = s0.tolist(), s1.tolist()
    rank = max(len(a), len(b))
    return [1] * (rank - len(a)) + a, [1] * (rank - len(b)) + b
