"""Elementwise verbs and reductions, on numpy arrays."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from coldframe.dtypes import DType, bfloat16, float16
from coldframe.primitives.base import refuse

Array = npt.NDArray[Any]
Axes = Sequence[int] | None

_NARROW = (float16.numpy, bfloat16.numpy)


def widened(x: Array) -> Array:
    """Return half-precision `x` as float32, in which TensorFlow's kernels accumulate; others as they are."""
    return x.astype(np.float32) if x.dtype in _NARROW else x


def _vectorized(fn: Any) -> Any:
    def verb(self: Any, x: Array) -> Array:
        values = map(fn, x.ravel().astype(np.float64).tolist())
        return np.fromiter(values, np.float64, x.size).reshape(x.shape).astype(x.dtype)

    return verb


def _unary(name: str) -> Any:
    ufunc = getattr(np, name)

    def verb(self: Any, x: Array) -> Any:
        return ufunc(x)

    verb.__name__ = name
    return verb


def _binary(name: str) -> Any:
    ufunc = getattr(np, name)

    def verb(self: Any, x: Any, y: Any) -> Any:
        return ufunc(x, y)

    verb.__name__ = name
    return verb


class ElementwiseNumpy:
    """Elementwise verbs: one tensor in, or two that broadcast."""

    neg = _unary("negative")
    abs = _unary("abs")
    sign = _unary("sign")
    exp = _unary("exp")
    expm1 = _unary("expm1")
    log = _unary("log")
    log1p = _unary("log1p")
    sqrt = _unary("sqrt")
    sin = _unary("sin")
    cos = _unary("cos")
    tan = _unary("tan")
    asin = _unary("arcsin")
    acos = _unary("arccos")
    atan = _unary("arctan")
    sinh = _unary("sinh")
    cosh = _unary("cosh")
    tanh = _unary("tanh")
    asinh = _unary("arcsinh")
    acosh = _unary("arccosh")
    atanh = _unary("arctanh")
    floor = _unary("floor")
    ceil = _unary("ceil")
    round = _unary("rint")  # half to even
    trunc = _unary("trunc")
    isnan = _unary("isnan")
    isinf = _unary("isinf")
    isfinite = _unary("isfinite")
    logical_not = _unary("logical_not")
    invert = _unary("invert")
    conj = _unary("conj")
    erf = _vectorized(math.erf)
    erfc = _vectorized(math.erfc)

    add = _binary("add")
    subtract = _binary("subtract")
    multiply = _binary("multiply")
    divide = _binary("true_divide")  # floating and complex only
    power = _binary("power")
    atan2 = _binary("arctan2")
    equal = _binary("equal")
    not_equal = _binary("not_equal")
    less = _binary("less")
    less_equal = _binary("less_equal")
    greater = _binary("greater")
    greater_equal = _binary("greater_equal")
    logical_and = _binary("logical_and")
    logical_or = _binary("logical_or")
    logical_xor = _binary("logical_xor")
    bitwise_and = _binary("bitwise_and")
    bitwise_or = _binary("bitwise_or")
    bitwise_xor = _binary("bitwise_xor")
    left_shift = _binary("left_shift")
    right_shift = _binary("right_shift")
    maximum = _binary("maximum")  # a NaN on either side wins
    minimum = _binary("minimum")

    def reciprocal(self, x: Array) -> Any:
        """1 / x; integers divide towards zero."""
        one = x.dtype.type(1)
        return self.trunc_divide(one, x) if x.dtype.kind in "iu" else one / x

    def real(self, x: Array) -> Any:
        return np.real(x)

    def imag(self, x: Array) -> Any:
        return np.imag(x)

    def angle(self, x: Array) -> Any:
        return np.angle(x).astype(x.real.dtype)

    def complex(self, re: Array, im: Array) -> Any:
        """Re + i*im; float32 gives complex64, float64 complex128."""
        out = np.empty(
            np.broadcast_shapes(re.shape, im.shape), np.complex64 if re.dtype == np.float32 else np.complex128
        )
        out.real, out.imag = re, im
        return out

    def floor_divide(self, x: Any, y: Any) -> Any:
        """X / y rounded towards minus infinity; integers refuse a zero divisor, as TensorFlow does."""
        _no_zero(x, y)
        return np.floor(x / y) if np.asarray(x).dtype.kind not in "iu" else np.floor_divide(x, y)

    def trunc_divide(self, x: Any, y: Any) -> Any:
        """X / y rounded towards zero, on integers."""
        _no_zero(x, y)
        q = np.floor_divide(x, y)
        return q + ((q < 0) & (q * y != x)).astype(q.dtype) if q.dtype.kind == "i" else q

    def floor_mod(self, x: Any, y: Any) -> Any:
        """X - floor(x / y) * y: the sign of y."""
        _no_zero(x, y)
        return np.mod(x, y)

    def trunc_mod(self, x: Any, y: Any) -> Any:
        """The remainder with the sign of x."""
        _no_zero(x, y)
        return np.fmod(x, y)

    def where(self, c: Array, x: Any, y: Any) -> Any:
        return np.where(c, x, y)

    def clip(self, x: Array, low: Any, high: Any) -> Any:
        return np.minimum(np.maximum(x, low), high)

    def cast(self, x: Array, dtype: DType) -> Any:
        """C's conversion: floats to integers truncate, integers wrap, anything to bool asks whether it is not zero."""
        target = dtype.numpy
        if x.dtype.kind == "c" and target.kind != "c":
            x = x.real
        if target == np.bool_ and x.dtype.kind != "O":
            return x != x.dtype.type(0)
        return x.astype(target, copy=False)


def _no_zero(x: Any, y: Any) -> None:
    if np.asarray(y).dtype.kind in "iu" and not np.all(y) and np.size(x):  # dividing nothing by zero is nothing
        raise refuse("integer division by zero")


class ReduceNumpy:
    """Reductions. `axis` is a sequence of axes, or None for all of them."""

    def sum(self, x: Array, axis: Axes = None, keepdims: bool = False) -> Any:
        return np.sum(widened(x), axis=_axes(axis), keepdims=keepdims, dtype=_wide(x)).astype(x.dtype)

    def prod(self, x: Array, axis: Axes = None, keepdims: bool = False) -> Any:
        return np.prod(widened(x), axis=_axes(axis), keepdims=keepdims, dtype=_wide(x)).astype(x.dtype)

    def max(self, x: Array, axis: Axes = None, keepdims: bool = False) -> Any:
        return np.max(x, axis=_axes(axis), keepdims=keepdims, **_initial(x, "low"))

    def min(self, x: Array, axis: Axes = None, keepdims: bool = False) -> Any:
        return np.min(x, axis=_axes(axis), keepdims=keepdims, **_initial(x, "high"))

    def mean(self, x: Array, axis: Axes = None, keepdims: bool = False) -> Any:
        """The average; integers divide towards zero; of nothing it is NaN, or 0 for integers."""
        axes = _axes(axis)
        n = math.prod(x.shape if axes is None else [x.shape[a] for a in axes])
        if x.dtype.kind in "iu":
            whole = np.asarray(np.sum(x, axis=axes, keepdims=keepdims, dtype=f"{x.dtype.kind}8"))
            return ElementwiseNumpy().trunc_divide(whole, whole.dtype.type(max(n, 1))).astype(x.dtype)
        total = np.sum(widened(x), axis=axes, keepdims=keepdims, dtype=_wide(x))
        return (total / total.dtype.type(n)).astype(x.dtype)

    def all(self, x: Array, axis: Axes = None, keepdims: bool = False) -> Any:
        return np.all(x, axis=_axes(axis), keepdims=keepdims)

    def any(self, x: Array, axis: Axes = None, keepdims: bool = False) -> Any:
        return np.any(x, axis=_axes(axis), keepdims=keepdims)

    def argmax(self, x: Array, axis: int) -> Any:
        """The first position of the largest value along `axis`, int64; a NaN is passed over."""
        return _first(np.argmax, x, axis, -np.inf)

    def argmin(self, x: Array, axis: int) -> Any:
        """The first position of the smallest value along `axis`, int64; a NaN is passed over."""
        return _first(np.argmin, x, axis, np.inf)

    def cumsum(self, x: Array, axis: int, exclusive: bool = False, reverse: bool = False) -> Any:
        return _scan(np.add, 0, x, axis, exclusive, reverse)

    def cumprod(self, x: Array, axis: int, exclusive: bool = False, reverse: bool = False) -> Any:
        return _scan(np.multiply, 1, x, axis, exclusive, reverse)


def _first(find: Any, x: Array, axis: int, worst: float) -> Any:
    out = np.asarray(find(x, axis=axis), np.int64)
    if x.dtype.kind in "fV" and np.isnan(np.take_along_axis(x, np.expand_dims(out, axis), axis)).any():
        out = np.asarray(find(np.where(np.isnan(x), x.dtype.type(worst), x), axis=axis), np.int64)
    return out


def _axes(axis: Axes) -> tuple[int, ...] | None:
    return None if axis is None else tuple(int(a) for a in axis)


def _wide(x: Array) -> Any:
    return np.float32 if x.dtype.name in _NARROW else x.dtype


def _initial(x: Array, end: str) -> dict[str, Any]:
    """What a reduction of nothing gives: the identity of max or min."""
    if x.size or x.dtype.kind in "bO":
        return {}
    if x.dtype.kind in "iu":
        info = np.iinfo(x.dtype)
        return {"initial": info.min if end == "low" else info.max}
    return {"initial": x.dtype.type(-np.inf if end == "low" else np.inf)}


def _scan(ufunc: Any, start: int, x: Array, axis: int, exclusive: bool, reverse: bool) -> Any:
    if reverse:
        x = np.flip(x, axis)
    out = np.asarray(ufunc.accumulate(widened(x), axis=axis, dtype=_wide(x))).astype(x.dtype)
    if exclusive and x.shape[axis]:
        out = np.roll(out, 1, axis)
        first: list[Any] = [slice(None)] * x.ndim
        first[axis] = 0
        out[tuple(first)] = start
    return np.flip(out, axis) if reverse else out
