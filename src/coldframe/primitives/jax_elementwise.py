"""Elementwise verbs and reductions, on XLA. What they mean: `numpy_elementwise`."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from coldframe.dtypes import DType
from coldframe.primitives.jax_base import JaxBase, folding, ints, traced, widened

Axes = Sequence[int] | None
Verb = Callable[..., Any]


def _unary(name: str, fn: Callable[[Any], Any]) -> Verb:
    def verb(self: Any, x: Any) -> Any:
        return fn(x)

    verb.__name__ = name
    return verb


def _binary(name: str, fn: Callable[[Any, Any], Any]) -> Verb:
    def verb(self: Any, x: Any, y: Any) -> Any:
        return fn(x, y)

    verb.__name__ = name
    return verb


def _narrow(fn: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Compute half precision in float32, as the numpy interpreter's kernels do."""
    return lambda x: fn(widened(x)).astype(x.dtype)


@folding
class ElementwiseJax(JaxBase):
    """Elementwise verbs: one tensor in, or two that broadcast."""

    neg = _unary("neg", jnp.negative)
    abs = _unary("abs", jnp.abs)
    sign = _unary("sign", jnp.sign)
    exp = _unary("exp", jnp.exp)
    expm1 = _unary("expm1", jnp.expm1)
    log = _unary("log", jnp.log)
    log1p = _unary("log1p", jnp.log1p)
    sqrt = _unary("sqrt", jnp.sqrt)
    sin = _unary("sin", jnp.sin)
    cos = _unary("cos", jnp.cos)
    tan = _unary("tan", jnp.tan)
    asin = _unary("asin", jnp.arcsin)
    acos = _unary("acos", jnp.arccos)
    atan = _unary("atan", jnp.arctan)
    sinh = _unary("sinh", jnp.sinh)
    cosh = _unary("cosh", jnp.cosh)
    tanh = _unary("tanh", jnp.tanh)
    asinh = _unary("asinh", jnp.arcsinh)
    acosh = _unary("acosh", jnp.arccosh)
    atanh = _unary("atanh", jnp.arctanh)
    floor = _unary("floor", jnp.floor)
    ceil = _unary("ceil", jnp.ceil)
    round = _unary("round", jnp.rint)  # half to even
    trunc = _unary("trunc", jnp.trunc)
    isnan = _unary("isnan", jnp.isnan)
    isinf = _unary("isinf", jnp.isinf)
    isfinite = _unary("isfinite", jnp.isfinite)
    logical_not = _unary("logical_not", jnp.logical_not)
    invert = _unary("invert", jnp.invert)
    conj = _unary("conj", jnp.conj)
    erf = _unary("erf", _narrow(lax.erf))
    erfc = _unary("erfc", _narrow(lax.erfc))
    real = _unary("real", jnp.real)
    imag = _unary("imag", jnp.imag)
    angle = _unary("angle", jnp.angle)

    add = _binary("add", jnp.add)
    subtract = _binary("subtract", jnp.subtract)
    multiply = _binary("multiply", jnp.multiply)
    divide = _binary("divide", jnp.true_divide)  # floating and complex only
    atan2 = _binary("atan2", jnp.arctan2)
    equal = _binary("equal", jnp.equal)
    not_equal = _binary("not_equal", jnp.not_equal)
    less = _binary("less", jnp.less)
    less_equal = _binary("less_equal", jnp.less_equal)
    greater = _binary("greater", jnp.greater)
    greater_equal = _binary("greater_equal", jnp.greater_equal)
    logical_and = _binary("logical_and", jnp.logical_and)
    logical_or = _binary("logical_or", jnp.logical_or)
    logical_xor = _binary("logical_xor", jnp.logical_xor)
    bitwise_and = _binary("bitwise_and", jnp.bitwise_and)
    bitwise_or = _binary("bitwise_or", jnp.bitwise_or)
    bitwise_xor = _binary("bitwise_xor", jnp.bitwise_xor)
    left_shift = _binary("left_shift", jnp.left_shift)
    right_shift = _binary("right_shift", jnp.right_shift)
    maximum = _binary("maximum", jnp.maximum)  # a NaN on either side wins
    minimum = _binary("minimum", jnp.minimum)

    def power(self, x: Any, y: Any) -> Any:
        if _kind(y) == "i":
            self.promise(y >= 0)
        return jnp.power(x, y)

    def reciprocal(self, x: Any) -> Any:
        """1 / x; integers divide towards zero."""
        one = np.ones((), x.dtype)
        return self.trunc_divide(one, x) if x.dtype.kind in "iu" else one / x

    def complex(self, re: Any, im: Any) -> Any:
        """Re + i*im; float32 gives complex64, float64 complex128."""
        return lax.complex(*jnp.broadcast_arrays(re, im))

    def floor_divide(self, x: Any, y: Any) -> Any:
        """X / y rounded towards minus infinity; integers promise a divisor that is not zero."""
        if _kind(x) not in "iu":
            return jnp.floor(x / y)
        self._no_zero(y)
        return jnp.floor_divide(x, y)

    def trunc_divide(self, x: Any, y: Any) -> Any:
        """X / y rounded towards zero, on integers."""
        self._no_zero(y)
        return lax.div(*jnp.broadcast_arrays(x, y))

    def floor_mod(self, x: Any, y: Any) -> Any:
        """X - floor(x / y) * y: the sign of y."""
        self._no_zero(y)
        return jnp.mod(x, y)

    def trunc_mod(self, x: Any, y: Any) -> Any:
        """The remainder with the sign of x."""
        self._no_zero(y)
        return jnp.fmod(x, y)

    def where(self, c: Any, x: Any, y: Any) -> Any:
        return jnp.where(c, x, y)

    def clip(self, x: Any, low: Any, high: Any) -> Any:
        return jnp.minimum(jnp.maximum(x, low), high)

    def cast(self, x: Any, dtype: DType) -> Any:
        """C's conversion, as processors do it: integers wrap, and floats beyond an integer give its lowest value."""
        target = dtype.numpy
        if x.dtype.kind == "c" and target.kind != "c":
            x = jnp.real(x)
        if target == np.bool_:
            return x != np.zeros((), x.dtype)
        if x.dtype == np.bool_:  # XLA drops what is multiplied by a converted truth value, NaN too
            return jnp.where(x, np.ones((), target), np.zeros((), target))
        if x.dtype.kind in "fV" and target.kind in "iu":
            return _truncated(x, target)
        return x.astype(target)

    def _no_zero(self, y: Any) -> None:
        if _kind(y) in "iu":
            self.promise(y != 0)


def _kind(x: Any) -> str:
    return str(x.dtype.kind) if traced(x) else np.asarray(x).dtype.kind


def _truncated(x: Any, target: np.dtype[Any]) -> Any:
    """Floats as integers: by way of int32 or int64, whose lowest value stands for what they cannot hold."""
    if target == np.uint64:  # its upper half has no signed carrier
        low = _truncated(x, np.dtype(np.int64)).astype(target)
        return low if x.dtype == np.float16 else jnp.where(x >= np.asarray(2.0**63, x.dtype), x.astype(target), low)
    carrier = np.int64 if target in (np.int64, np.uint32) else np.int32
    wide = x.astype(np.float32) if x.dtype.itemsize < 4 else x
    low = np.iinfo(carrier).min
    edge = np.asarray(-float(low), wide.dtype)
    inside = (wide >= -edge) & (wide < edge)
    return jnp.where(inside, wide.astype(carrier), np.asarray(low, carrier)).astype(target)


@folding
class ReduceJax(ElementwiseJax):
    """Reductions. `axis` is a sequence of axes, or None for all of them."""

    def sum(self, x: Any, axis: Axes = None, keepdims: bool = False) -> Any:
        wide = widened(x)
        return jnp.sum(wide, axis=_axes(axis), keepdims=keepdims, dtype=wide.dtype).astype(x.dtype)

    def prod(self, x: Any, axis: Axes = None, keepdims: bool = False) -> Any:
        wide = widened(x)
        return jnp.prod(wide, axis=_axes(axis), keepdims=keepdims, dtype=wide.dtype).astype(x.dtype)

    def max(self, x: Any, axis: Axes = None, keepdims: bool = False) -> Any:
        return jnp.max(x, axis=_axes(axis), keepdims=keepdims, **_initial(x, "low"))

    def min(self, x: Any, axis: Axes = None, keepdims: bool = False) -> Any:
        return jnp.min(x, axis=_axes(axis), keepdims=keepdims, **_initial(x, "high"))

    def mean(self, x: Any, axis: Axes = None, keepdims: bool = False) -> Any:
        """The average; integers divide towards zero; of nothing it is NaN, or 0 for integers."""
        axes = _axes(axis)
        n = math.prod(x.shape if axes is None else [x.shape[a] for a in axes])
        if x.dtype.kind in "iu":
            whole = jnp.sum(x, axis=axes, keepdims=keepdims, dtype=np.dtype(f"{x.dtype.kind}8"))
            return self.trunc_divide(whole, whole.dtype.type(max(n, 1))).astype(x.dtype)
        wide = widened(x)
        total = jnp.sum(wide, axis=axes, keepdims=keepdims, dtype=wide.dtype)
        return (total / np.asarray(n, total.dtype)).astype(x.dtype)

    def all(self, x: Any, axis: Axes = None, keepdims: bool = False) -> Any:
        return jnp.all(x, axis=_axes(axis), keepdims=keepdims)

    def any(self, x: Any, axis: Axes = None, keepdims: bool = False) -> Any:
        return jnp.any(x, axis=_axes(axis), keepdims=keepdims)

    def argmax(self, x: Any, axis: int) -> Any:
        """The first position of the largest value along `axis`, int64; a NaN is passed over."""
        return lax.argmax(_comparable(x, -np.inf), _at(axis, x), np.int64)

    def argmin(self, x: Any, axis: int) -> Any:
        """The first position of the smallest value along `axis`, int64; a NaN is passed over."""
        return lax.argmin(_comparable(x, np.inf), _at(axis, x), np.int64)

    def cumsum(self, x: Any, axis: int, exclusive: bool = False, reverse: bool = False) -> Any:
        return _scan(lax.cumsum, 0, x, axis, exclusive, reverse)

    def cumprod(self, x: Any, axis: int, exclusive: bool = False, reverse: bool = False) -> Any:
        return _scan(lax.cumprod, 1, x, axis, exclusive, reverse)


def _at(axis: int, x: Any) -> int:
    return int(axis) % x.ndim if x.ndim else 0


def _comparable(x: Any, worst: float) -> Any:
    if x.dtype == np.bool_:
        return x.astype(np.int8)
    return jnp.where(jnp.isnan(x), np.asarray(worst, x.dtype), x) if x.dtype.kind in "fV" else x


def _axes(axis: Axes) -> tuple[int, ...] | None:
    return None if axis is None else ints(axis)


def _initial(x: Any, end: str) -> dict[str, Any]:
    """What a reduction of nothing gives: the identity of max or min."""
    if x.size or x.dtype.kind == "b":
        return {}
    if x.dtype.kind in "iu":
        info = np.iinfo(x.dtype)
        return {"initial": info.min if end == "low" else info.max}
    return {"initial": np.asarray(-np.inf if end == "low" else np.inf, x.dtype)}


def _scan(scan: Callable[..., Any], start: int, x: Any, axis: int, exclusive: bool, reverse: bool) -> Any:
    at = _at(axis, x)
    out = scan(widened(x), axis=at, reverse=bool(reverse)).astype(x.dtype)
    n = x.shape[at]
    if not exclusive or not n:
        return out
    inner = lax.slice_in_dim(out, 1, n, axis=at) if reverse else lax.slice_in_dim(out, 0, n - 1, axis=at)
    pads = [(0, 0, 0)] * x.ndim
    pads[at] = (0, 1, 0) if reverse else (1, 0, 0)
    return lax.pad(inner, np.asarray(start, x.dtype), pads)
