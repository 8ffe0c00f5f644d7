"""Gradient rules of elementwise mathematics, named after the ops."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from coldframe.dtypes import DType, complex64, complex128, float32
from coldframe.ops.backward import (
    conj,
    filled,
    negative,
    of_input,
    of_output,
    ones_like,
    same_shapes,
    shape_of,
    takes_slices,
    unbroadcast,
    unbroadcast_always,
    zeros_like,
)
from coldframe.ops.table import Body


def _one_of(g: Any, x: Any) -> Any:
    return g.constant(1, x.dtype)


def _zero_of(g: Any, x: Any) -> Any:
    return g.constant(0, x.dtype)


def _complex_of(x: Any) -> DType:
    return complex64 if x.dtype is float32 else complex128


def _square(g: Any, x: Any, dy: Any) -> Any:
    return g.Mul(dy, g.Mul(x, g.constant(2.0, x.dtype)))


def _over_root(g: Any, x: Any) -> Any:
    """1 / sqrt(1 - x squared)."""
    squared = g.Square(x)
    return g.Reciprocal(g.Sqrt(g.Sub(_one_of(g, x), squared)))


def _gauss(g: Any, x: Any, dy: Any, factor: float) -> Any:
    return dy * g.constant(factor, dy.dtype) * g.Exp(-g.Square(x))


def complex_abs(g: Any, op: Any, dy: Any) -> Any:
    y, wide = op.outputs[0], op.inputs[0].dtype
    return g.DivNoNan(
        g.Complex(dy, zeros_like(g, dy), Tout=wide) * op.inputs[0],
        g.Complex(y, zeros_like(g, y), Tout=wide),
        name="div_no_nan",
    )


def angle(g: Any, op: Any, dy: Any) -> Any:
    x = op.inputs[0]
    real, imag = g.Real(x, Tout=dy.dtype), g.Imag(x, Tout=dy.dtype)
    z = g.Reciprocal(g.Complex(imag, real, Tout=x.dtype))
    return -g.Complex(dy, _zero_of(g, dy), Tout=x.dtype) * z


def complex_(g: Any, op: Any, dy: Any) -> Any:
    return unbroadcast(
        g, op.inputs[0], op.inputs[1], g.Real(dy, Tout=op.inputs[0].dtype), g.Imag(dy, Tout=op.inputs[0].dtype)
    )


@takes_slices
def add(g: Any, op: Any, dy: Any) -> Any:
    x, y = op.inputs
    return (dy, dy) if same_shapes(dy, x, y) else unbroadcast(g, x, y, dy, dy)


@takes_slices
def sub(g: Any, op: Any, dy: Any) -> Any:
    x, y = op.inputs
    return (dy, negative(g, dy)) if same_shapes(dy, x, y) else unbroadcast(g, x, y, dy, negative(g, dy))


def mul(g: Any, op: Any, dy: Any) -> Any:
    x, y = op.inputs
    if same_shapes(dy, x, y) and dy.dtype.name in ("float32", "int32"):
        return g.Mul(dy, y), g.Mul(dy, x)
    return unbroadcast(g, x, y, g.Mul(dy, conj(g, y)), g.Mul(conj(g, x), dy))


def mul_no_nan(g: Any, op: Any, dy: Any) -> Any:
    x, y = op.inputs
    dx, dy = g.MulNoNan(dy, y), g.MulNoNan(x, dy)
    return (dx, dy) if same_shapes(dx, dy, x, y) else unbroadcast(g, x, y, dx, dy)


def _quotient(g: Any, op: Any, dy: Any, divide: Callable[[Any, Any], Any]) -> Any:
    x, y = (conj(g, v) for v in op.inputs)
    return unbroadcast(g, op.inputs[0], op.inputs[1], divide(dy, y), dy * divide(divide(-x, y), y))


def div(g: Any, op: Any, dy: Any) -> Any:
    return _quotient(g, op, dy, lambda x, y: x / y)


def real_div(g: Any, op: Any, dy: Any) -> Any:
    return _quotient(g, op, dy, g.RealDiv)


def div_no_nan(g: Any, op: Any, dy: Any) -> Any:
    return _quotient(g, op, dy, lambda x, y: g.DivNoNan(x, y, name="div_no_nan"))


def floor_mod(g: Any, op: Any, dy: Any) -> Any:
    x, y = (conj(g, v) for v in op.inputs)
    return unbroadcast(g, op.inputs[0], op.inputs[1], dy, dy * -g.FloorDiv(x, y))


def squared_difference(g: Any, op: Any, dy: Any) -> Any:
    x, y = op.inputs
    dx = g.Mul(g.constant(2.0, dy.dtype, name="scalar"), dy) * (x - y)
    return (dx, -dx) if same_shapes(dy, x, y) else unbroadcast(g, x, y, dx, -dx)


def _extreme(g: Any, op: Any, dy: Any, wins: Callable[[Any, Any], Any]) -> Any:
    """The gradient goes to the operand that wins; to the first where they are equal."""
    x, y = op.inputs
    zeros, first = zeros_like(g, dy), wins(x, y)
    return unbroadcast(g, x, y, g.SelectV2(first, dy, zeros), g.SelectV2(first, zeros, dy))


def atan2(g: Any, op: Any, dy: Any) -> Any:
    y, x = op.inputs
    scaled = dy / (g.Square(y) + g.Square(x))
    return unbroadcast(g, y, x, x * scaled, -y * scaled)


def _masked(g: Any, op: Any, dy: Any, by_x: Callable[[Any, Any], Any], by_y: Callable[[Any, Any], Any]) -> Any:
    """The gradients of f(x, y) that is 0 where x is 0; it is linear in x, so that df/dx is f(1, y) elsewhere."""
    x, y = op.inputs
    not_zero = g.Cast(g.NotEqual(x, _zero_of(g, x)), DstT=x.dtype)
    return unbroadcast_always(g, op.inputs, [by_x(not_zero, y) * dy, by_y(x, y) * dy])


def pow_(g: Any, op: Any, dy: Any) -> Any:
    """The logarithm is taken of positive x only: elsewhere no gradient goes to the exponent."""
    x, y = (conj(g, v) for v in op.inputs)
    dx = dy * y * g.Pow(x, y - 1)
    ok = g.NotEqual(x, 0) if x.dtype.is_complex else x > 0
    safe = g.Select(ok, x, ones_like(g, x))
    log = g.Select(ok, g.Log(safe), zeros_like(g, x))
    return unbroadcast(g, op.inputs[0], op.inputs[1], dx, dy * conj(g, op.outputs[0]) * log)


def next_after(g: Any, op: Any, dy: Any) -> Any:
    x1, x2 = op.inputs
    ones = filled(g, shape_of(g, x1), 1, x1.dtype, "ones")
    zeros = filled(g, shape_of(g, x2), 0, x2.dtype, "zeros")
    return unbroadcast_always(g, op.inputs, [ones * dy, zeros * dy])


def clip_by_value(g: Any, op: Any, dy: Any) -> Any:
    x, low, high = op.inputs
    zeros = zeros_like(g, dy)
    below, above = g.Less(x, low), g.Greater(x, high)
    dx = g.Select(g.LogicalOr(below, above), zeros, dy)
    d_low = unbroadcast_always(g, [x, low], [None, g.Select(below, dy, zeros)])[1]
    d_high = unbroadcast_always(g, [x, high], [None, g.Select(above, dy, zeros)])[1]
    return dx, d_low, d_high


def inverse_grad(g: Any, op: Any, dy: Any) -> Any:
    a, b = conj(g, op.inputs[0]), op.inputs[1]
    return conj(g, dy) * -2.0 * b * a, g.ReciprocalGrad(a, dy)


def sqrt_grad(g: Any, op: Any, dy: Any) -> Any:
    scaled = dy / op.inputs[0]
    return -conj(g, scaled) * op.outputs[0], 0.5 * scaled


def rsqrt_grad(g: Any, op: Any, dy: Any) -> Any:
    a, b = conj(g, op.inputs[0]), op.inputs[1]
    return -1.5 * conj(g, dy) * b * g.Square(a), g.RsqrtGrad(a, dy)


def sigmoid_grad(g: Any, op: Any, dy: Any) -> Any:
    a, b = (conj(g, v) for v in op.inputs)
    scaled = dy * b
    return scaled - 2.0 * scaled * a, g.SigmoidGrad(a, dy)


def tanh_grad(g: Any, op: Any, dy: Any) -> Any:
    a, b = (conj(g, v) for v in op.inputs)
    return dy * -2.0 * b * a, g.TanhGrad(a, dy)


# --- one input ---
square: Body = of_input(_square)
exp: Body = of_output(lambda g, y, dy: dy * y)
expm1: Body = of_input(lambda g, x, dy: dy * g.Exp(x))
log: Body = of_input(lambda g, x, dy: dy * g.Reciprocal(x))
log1p: Body = of_input(lambda g, x, dy: dy * g.Reciprocal(1 + x))
sin: Body = of_input(lambda g, x, dy: dy * g.Cos(x))
cos: Body = of_input(lambda g, x, dy: -dy * g.Sin(x))
tan: Body = of_input(lambda g, x, dy: g.Square(g.Reciprocal(g.Cos(x))) * dy)
asin: Body = of_input(lambda g, x, dy: dy * _over_root(g, x))
acos: Body = of_input(lambda g, x, dy: -dy * _over_root(g, x))
atan: Body = of_input(lambda g, x, dy: dy * g.Reciprocal(g.AddV2(_one_of(g, x), g.Square(x), name="Add")))
sinh: Body = of_input(lambda g, x, dy: dy * g.Cosh(x))
cosh: Body = of_input(lambda g, x, dy: dy * g.Sinh(x))
tanh: Body = of_output(lambda g, y, dy: g.TanhGrad(y, dy))
asinh: Body = of_output(lambda g, y, dy: dy / g.Cosh(y))
acosh: Body = of_output(lambda g, y, dy: dy / g.Sinh(y))
atanh: Body = of_input(lambda g, x, dy: dy * g.Reciprocal(g.Sub(_one_of(g, x), g.Square(x))))
erf: Body = of_input(lambda g, x, dy: _gauss(g, x, dy, 2 / math.sqrt(math.pi)))
erfc: Body = of_input(lambda g, x, dy: _gauss(g, x, dy, -2 / math.sqrt(math.pi)))


@takes_slices
def neg(g: Any, op: Any, dy: Any) -> Any:
    return negative(g, dy)


def abs_(g: Any, op: Any, dy: Any) -> Any:
    return dy * g.Sign(op.inputs[0])


def sign(g: Any, op: Any, dy: Any) -> Any:
    return zeros_like(g, op.inputs[0])


def sqrt(g: Any, op: Any, dy: Any) -> Any:
    return g.SqrtGrad(op.outputs[0], dy)


def rsqrt(g: Any, op: Any, dy: Any) -> Any:
    return g.RsqrtGrad(op.outputs[0], dy)


def reciprocal(g: Any, op: Any, dy: Any) -> Any:
    return g.ReciprocalGrad(op.outputs[0], dy)


def real(g: Any, op: Any, dy: Any) -> Any:
    return g.Complex(dy, _zero_of(g, dy), Tout=_complex_of(dy))


def imag(g: Any, op: Any, dy: Any) -> Any:
    return g.Complex(_zero_of(g, dy), dy, Tout=_complex_of(dy))


def conjugate(g: Any, op: Any, dy: Any) -> Any:
    return g.Conj(dy)


def maximum(g: Any, op: Any, dy: Any) -> Any:
    return _extreme(g, op, dy, g.GreaterEqual)


def minimum(g: Any, op: Any, dy: Any) -> Any:
    return _extreme(g, op, dy, g.LessEqual)


def xlogy(g: Any, op: Any, dy: Any) -> Any:
    return _masked(g, op, dy, g.Xlogy, g.Xdivy)


def xlog1py(g: Any, op: Any, dy: Any) -> Any:
    return _masked(g, op, dy, g.Xlog1py, lambda x, y: g.Xdivy(x, y + 1.0))


def xdivy(g: Any, op: Any, dy: Any) -> Any:
    return _masked(g, op, dy, g.Xdivy, lambda x, y: g.Xdivy(-x, y**2))
