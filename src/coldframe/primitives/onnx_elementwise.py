"""Elementwise verbs and reductions, as ONNX nodes. What they mean: `numpy_elementwise`."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from coldframe import dtypes
from coldframe.dtypes import DType
from coldframe.primitives.base import Unlowerable
from coldframe.primitives.numpy_xp import NumpyPrimitives
from coldframe.primitives.onnx_builder import Builder, Dims, OnnxValue, carrier
from coldframe.primitives.onnx_layout import without
from coldframe.primitives.onnx_sizes import SizesOnnx
from coldframe.shapes import Shape, broadcast

_NUMPY = NumpyPrimitives()
Axes = Sequence[int] | None


def folds(verb: Callable[..., Any]) -> Callable[..., Any]:
    """Let numpy compute `verb` where all tensors it takes are constants."""

    @functools.wraps(verb)
    def folding(self: Builder, *args: Any, **kwargs: Any) -> Any:
        if _constant(args) and _constant(kwargs.values()):
            same = getattr(_NUMPY, verb.__name__)
            return _lifted(self, same(*_arrays(args), **{k: _arrays(v) for k, v in kwargs.items()}))
        return verb(self, *args, **kwargs)

    return folding


def _constant(args: Any) -> bool:
    return all(
        a.const is not None if isinstance(a, OnnxValue) else _constant(a) if isinstance(a, (list, tuple)) else True
        for a in args
    )


def _arrays(a: Any) -> Any:
    if isinstance(a, OnnxValue):
        return a.const
    return type(a)(_arrays(v) for v in a) if type(a) in (list, tuple) else a


def _lifted(b: Builder, result: Any) -> Any:
    if isinstance(result, (list, tuple)):
        return type(result)(_lifted(b, r) for r in result)
    return b.constant(result)


def joined(x: OnnxValue, y: OnnxValue) -> Dims:
    """The dims of an elementwise result."""
    return broadcast(Shape(x.dims), Shape(y.dims)).dims or ()


def _unary(name: str, kernel: str, dtype: DType | None = None) -> Any:
    def verb(self: Builder, x: OnnxValue) -> OnnxValue:
        return self.typed(kernel, [x], dtype=dtype)

    verb.__name__ = name
    return folds(verb)


def _binary(name: str, kernel: str, dtype: DType | None = None, *, modular: bool = False) -> Any:
    def verb(self: Any, x: Any, y: Any) -> OnnxValue:
        a, b = self.pair(x, y)
        return self.typed(kernel, [a, b], dims=joined(a, b), dtype=dtype, modular=modular)  # type: ignore[no-any-return]

    verb.__name__ = name
    return folds(verb)


def _comparison(name: str, kernel: str, told: Callable[[SizesOnnx, OnnxValue, OnnxValue], bool | None]) -> Any:
    """A comparison; `told` says what is known of all elements before there are values."""

    def verb(self: Any, x: Any, y: Any) -> OnnxValue:
        a, b = self.pair(x, y)
        dims, n = joined(a, b), product(joined(a, b))
        known = told(self, a, b) if a.dtype.is_integer and n is not None and n <= _FEW else None
        if known is not None:
            return self.constant(np.full([d or 0 for d in dims], known))  # type: ignore[no-any-return]
        return self.typed(kernel, [a, b], dims=dims, dtype=dtypes.bool_)  # type: ignore[no-any-return]

    verb.__name__ = name
    return folds(verb)


def _less(xp: SizesOnnx, a: OnnxValue, b: OnnxValue) -> bool | None:
    return False if _at_most(b, 0) and xp.natural(a) else None


def _less_equal(xp: SizesOnnx, a: OnnxValue, b: OnnxValue) -> bool | None:
    known = xp.terms(a)
    same = known is not None and None not in known and known == xp.terms(b)
    return True if same or (_at_most(a, 0) and xp.natural(b)) else None


def _equal(xp: SizesOnnx, a: OnnxValue, b: OnnxValue) -> bool | None:
    known = xp.terms(a)
    if known is not None and None not in known and known == xp.terms(b):
        return True
    return False if (_at_most(b, -1) and xp.natural(a)) or (_at_most(a, -1) and xp.natural(b)) else None


def _at_most(x: OnnxValue, most: int) -> bool:
    return x.const is not None and bool((x.const <= most).all())


def _missing(name: str, why: str) -> Any:
    def verb(self: Builder, *args: Any, **kwargs: Any) -> OnnxValue:
        raise Unlowerable(why)

    verb.__name__ = name
    return folds(verb)


_FEW = 64  # elements of a comparison that is known before
_CHAIN = 16  # how many multiplications a product of integers may become

# erfc(x) = t * exp(-x * x + p(t)) with t = 1 / (1 + x / 2) and x >= 0, to 1.2e-7 relative: W. H. Press et al.,
# Numerical Recipes, section 6.2. Highest power first.
_ERFC = (
    0.17087277, -0.82215223, 1.48851587, -1.13520398, 0.27886807, -0.18628806, 0.09678418, 0.37409196, 1.00002368,
    -1.26551223,
)  # fmt: skip


class ElementwiseOnnx(SizesOnnx):
    """Elementwise verbs."""

    neg = _unary("neg", "Neg")
    abs = _unary("abs", "Abs")
    exp = _unary("exp", "Exp")
    log = _unary("log", "Log")
    sqrt = _unary("sqrt", "Sqrt")
    sin = _unary("sin", "Sin")
    cos = _unary("cos", "Cos")
    tan = _unary("tan", "Tan")
    asin = _unary("asin", "Asin")
    acos = _unary("acos", "Acos")
    atan = _unary("atan", "Atan")
    sinh = _unary("sinh", "Sinh")
    cosh = _unary("cosh", "Cosh")
    tanh = _unary("tanh", "Tanh")
    asinh = _unary("asinh", "Asinh")
    acosh = _unary("acosh", "Acosh")
    atanh = _unary("atanh", "Atanh")
    floor = _unary("floor", "Floor")
    ceil = _unary("ceil", "Ceil")
    round = _unary("round", "Round")
    isnan = _unary("isnan", "IsNaN", dtypes.bool_)
    isinf = _unary("isinf", "IsInf", dtypes.bool_)
    logical_not = _unary("logical_not", "Not", dtypes.bool_)
    invert = _unary("invert", "BitwiseNot")
    erf = _unary("erf", "Erf")

    subtract = _binary("subtract", "Sub", modular=True)
    multiply = _binary("multiply", "Mul", modular=True)
    equal = _comparison("equal", "Equal", _equal)
    less = _comparison("less", "Less", _less)
    less_equal = _comparison("less_equal", "LessOrEqual", _less_equal)
    greater = _comparison("greater", "Greater", lambda xp, a, b: _less(xp, b, a))
    greater_equal = _comparison("greater_equal", "GreaterOrEqual", lambda xp, a, b: _less_equal(xp, b, a))
    logical_or = _binary("logical_or", "Or", dtypes.bool_)
    logical_xor = _binary("logical_xor", "Xor", dtypes.bool_)
    bitwise_and = _binary("bitwise_and", "BitwiseAnd")
    bitwise_or = _binary("bitwise_or", "BitwiseOr")
    bitwise_xor = _binary("bitwise_xor", "BitwiseXor")
    maximum = _binary("maximum", "Max")
    minimum = _binary("minimum", "Min")

    @folds
    def add(self, x: Any, y: Any) -> Any:
        a, b = self.pair(x, y)
        for v, zero in ((a, b), (b, a)):
            if v.dtype.is_integer and zero.const is not None and not zero.const.any() and joined(a, b) == v.dims:
                return v
        return self.typed("Add", [a, b], dims=joined(a, b), modular=True)

    @folds
    def logical_and(self, x: Any, y: Any) -> Any:
        a, b = self.pair(x, y)
        dims = joined(a, b)
        for v, other in ((a, b), (b, a)):
            if v is other or (v.name and v.name == other.name) or (_all(other, True) and dims == v.dims):
                return v
        return self.typed("And", [a, b], dims=dims, dtype=dtypes.bool_)

    def pair(self, x: Any, y: Any) -> tuple[OnnxValue, OnnxValue]:
        """Lift two operands; a Python scalar takes the other's dtype."""
        a = self.lift(x, like=y if isinstance(y, OnnxValue) else None)
        b = self.lift(y, like=a)
        if a.dtype is not b.dtype:
            raise Unlowerable(f"operands of {a.dtype} and {b.dtype}")
        return a, b

    @folds
    def expm1(self, x: OnnxValue) -> Any:
        return self.tanh(x * 0.5) * (self.exp(x) + 1.0)  # exp(x) - 1 would cancel near 0

    @folds
    def log1p(self, x: OnnxValue) -> Any:
        u = x + 1.0  # what rounding took from 1 + x is put back by x / (u - 1)
        small = self.where(self.equal(u, 1.0), x, self.log(u) * (x / (u - 1.0)))
        return self.where(self.isinf(u), self.log(u), small)

    @folds
    def sign(self, x: OnnxValue) -> Any:
        if x.dtype in (dtypes.float16, dtypes.bfloat16):  # whose kernels turn a NaN into 0
            return self.cast(self.sign(self.cast(x, dtypes.float32)), x.dtype)
        return self.typed("Sign", [x])

    @folds
    def erfc(self, x: OnnxValue) -> Any:
        if x.dtype in (dtypes.float16, dtypes.bfloat16):
            return self.cast(self.erfc(self.cast(x, dtypes.float32)), x.dtype)
        if x.dtype is not dtypes.float32:
            raise Unlowerable(f"ONNX Runtime has no erf on {x.dtype}")
        z = self.abs(x)
        t = self.reciprocal(z * 0.5 + 1.0)
        p = t * _ERFC[0] + _ERFC[1]
        for c in _ERFC[2:]:
            p = p * t + c
        tail = t * self.exp(p - z * z)
        # 2 - tail where x < 0, else tail: to choose between them costs three times as much
        return self.abs(self.cast(self.less(x, 0.0), x.dtype) * 2.0 - tail)

    @folds
    def isfinite(self, x: OnnxValue) -> Any:
        return self.logical_not(self.logical_or(self.isnan(x), self.isinf(x)))

    @folds
    def trunc(self, x: OnnxValue) -> Any:
        return self.where(self.less(x, 0.0), self.ceil(x), self.floor(x))

    @folds
    def not_equal(self, x: Any, y: Any) -> Any:
        return self.logical_not(self.equal(x, y))

    @folds
    def divide(self, x: Any, y: Any) -> Any:
        a, b = self.pair(x, y)
        if not a.dtype.is_float:
            raise Unlowerable("true division of integers")
        return self.typed("Div", [a, b], dims=joined(a, b))

    @folds
    def power(self, x: Any, y: Any) -> Any:
        a, b = self.pair(x, y)
        if not a.dtype.is_float:
            raise Unlowerable("integer powers refuse negative exponents, which ONNX does not")
        return self.typed("Pow", [a, b], dims=joined(a, b))

    @folds
    def atan2(self, x: Any, y: Any) -> Any:
        b, a = self.pair(x, y)
        if a.dtype in (dtypes.float16, dtypes.bfloat16):
            return self.cast(self.atan2(*(self.cast(v, dtypes.float32) for v in (b, a))), a.dtype)
        ratio = self.where(self.logical_and(self.isinf(a), self.isinf(b)), self.sign(a) * self.sign(b), b / a)
        ratio = self.where(self.logical_and(self.equal(a, 0.0), self.equal(b, 0.0)), b, ratio)
        half, angle = self.constant(math.pi, a.dtype), self.atan(ratio)
        return self.where(self._minus(a), angle + self.where(self._minus(b), self.neg(half), half), angle)

    def _minus(self, x: OnnxValue) -> Any:
        """Whether the sign is minus, of -0 too."""
        return self.less(self.where(self.equal(x, 0.0), self.reciprocal(x), x), 0.0)

    @folds
    def reciprocal(self, x: OnnxValue) -> Any:
        return self.typed("Reciprocal", [x]) if x.dtype.is_float else self.trunc_divide(1, x)

    @folds
    def floor_divide(self, x: Any, y: Any) -> Any:
        a, b = self.pair(x, y)
        if a.dtype.is_float:
            return self.floor(self.divide(a, b))
        q = self.trunc_divide(a, b)
        down = self.logical_and(self.less(a, 0), self.not_equal(q * b, a))
        return q - self.cast(down, a.dtype) if a.dtype.kind == "i" else q

    @folds
    def trunc_divide(self, x: Any, y: Any) -> Any:
        a, b = self.pair(x, y)
        _safe_divisor(b)
        return self.typed("Div", [a, b], dims=joined(a, b))

    @folds
    def floor_mod(self, x: Any, y: Any) -> Any:
        a, b = self.pair(x, y)
        if not a.dtype.is_float:
            _safe_divisor(b)
            return self.typed("Mod", [a, b], dims=joined(a, b))
        m = self.trunc_mod(a, b)
        other_sign = self.logical_xor(self.less(m, 0.0), self.less(b, 0.0))
        return self.where(self.logical_and(self.not_equal(m, 0.0), other_sign), m + b, m)

    @folds
    def trunc_mod(self, x: Any, y: Any) -> Any:
        a, b = self.pair(x, y)
        if not a.dtype.is_float:
            _safe_divisor(b)
        return self.typed("Mod.fmod", [a, b], dims=joined(a, b), fmod=1)

    @folds
    def left_shift(self, x: Any, y: Any) -> Any:
        a, b = self.pair(x, y)
        return self._shift(a, b, "LEFT")

    @folds
    def right_shift(self, x: Any, y: Any) -> Any:
        a, b = self.pair(x, y)
        if a.dtype.kind == "u":
            return self._shift(a, b, "RIGHT")
        sign = self.less(a, 0)  # ~x is not negative where x is, and shifts in zeros as x shifts in ones
        shifted = self._shift(self.where(sign, self.invert(a), a), b, "RIGHT")
        return self.where(sign, self.invert(shifted), shifted)

    def _shift(self, a: OnnxValue, b: OnnxValue, direction: str) -> OnnxValue:
        """Shift as unsigned numbers, the only ones that ONNX shifts."""
        unsigned = dtypes.from_numpy(f"u{a.dtype.width}")
        bits = [self.cast(v, unsigned) for v in (a, b)]
        return self.cast(self.typed("BitShift", bits, dims=joined(a, b), direction=direction), a.dtype)

    @folds
    def where(self, c: OnnxValue, x: Any, y: Any) -> Any:
        a, b = self.pair(x, y)
        work = carrier("Where", a.dtype, modular=True)
        dims = broadcast(Shape(c.dims), Shape(joined(a, b))).dims
        chosen = a if _all(c, True) else b if _all(c, False) else None
        if chosen is not None and chosen.dims == dims and None not in dims:
            return chosen
        out = self.node("Where", [c, self.cast(a, work), self.cast(b, work)], dtype=work, dims=dims)
        return self.narrowed(out, a.dtype) if a.dtype.is_float else self.cast(out, a.dtype)

    @folds
    def clip(self, x: OnnxValue, low: Any, high: Any) -> Any:
        return self.minimum(self.maximum(x, low), high)

    def cast(self, x: OnnxValue, dtype: DType) -> OnnxValue:
        """C's conversion."""
        if x.const is not None:
            return self.constant(_NUMPY.cast(x.const, dtype), dtype)
        if "c" in (x.dtype.kind, dtype.kind):
            raise Unlowerable("ONNX Runtime has no complex numbers")
        return super().cast(x, dtype)


def _all(x: OnnxValue, value: bool) -> bool:
    return x.const is not None and bool((x.const == value).all())


def _safe_divisor(b: OnnxValue) -> None:
    """Integer division traps on 0, and on the lowest number by -1: only known, positive divisors may reach the CPU."""
    if b.const is None or not np.all(b.const > 0):
        raise Unlowerable("integer division by what may be 0")


class ReduceOnnx(ElementwiseOnnx):
    """Reductions."""

    def _reduce(self, kernel: str, x: OnnxValue, axis: Axes, keepdims: bool) -> OnnxValue:
        axes = sorted({int(a) % x.ndim for a in (range(x.ndim) if axis is None else axis)}) if x.ndim else []
        if not axes:
            return x
        if x.turned is not None:
            source, perm = x.turned
            out = self._reduce(kernel, source, [perm[a] for a in axes], keepdims)
            return self._turn(out, perm if keepdims else without(perm, axes))
        kept = [1 if i in axes else d for i, d in enumerate(x.dims)]
        dims = tuple(kept if keepdims else [d for i, d in enumerate(x.dims) if i not in axes])
        where = self.constant(np.array(axes, np.int64))
        return self.typed(kernel, [x], dims=dims, more=[where], keepdims=keepdims)

    @folds
    def sum(self, x: OnnxValue, axis: Axes = None, keepdims: bool = False) -> Any:
        return self._reduce("ReduceSum", x, axis, keepdims)

    @folds
    def prod(self, x: OnnxValue, axis: Axes = None, keepdims: bool = False) -> Any:
        if x.dtype.is_float:
            return self._reduce("ReduceProd", x, axis, keepdims)
        # ONNX Runtime multiplies integers as doubles and so neither wraps nor keeps their last digits.
        for a in sorted({int(a) % x.ndim for a in (range(x.ndim) if axis is None else axis)}, reverse=True):
            x = self._product(x, a, keepdims)
        return x

    def _product(self: Any, x: OnnxValue, axis: int, keepdims: bool) -> Any:
        """The product of integers along one short axis, as a chain of multiplications."""
        n = x.dims[axis]
        if n is None or not 0 < n <= _CHAIN:
            raise Unlowerable("a long product of integers")
        parts: list[OnnxValue] = self.split(x, [1] * n, axis)
        out = functools.reduce(self.multiply, parts)
        return out if keepdims else self.squeeze(out, [axis])

    @folds
    def max(self, x: OnnxValue, axis: Axes = None, keepdims: bool = False) -> Any:
        return self._extreme("ReduceMax", x, axis, keepdims)

    @folds
    def min(self, x: OnnxValue, axis: Axes = None, keepdims: bool = False) -> Any:
        return self._extreme("ReduceMin", x, axis, keepdims)

    def _extreme(self, kernel: str, x: OnnxValue, axis: Axes, keepdims: bool) -> OnnxValue:
        carried = carrier(kernel, x.dtype)
        if x.dtype.is_integer and carried is not x.dtype and not all(x.dims):
            # Of nothing it is the limit of the dtype, not of the wider one that ONNX Runtime computes in.
            out = self._reduce(kernel, self.cast(x, carried), axis, keepdims)
            limits = self.maximum(self.minimum(out, int(x.dtype.max)), int(x.dtype.min))
            return self.cast(limits, x.dtype)
        out = self._reduce(kernel, x, axis, keepdims)
        if out is x or not x.dtype.is_float:
            return out
        lost = self.any(self.isnan(x), axis, keepdims)  # ONNX Runtime's reductions may drop a NaN
        return self.where(lost, self.constant(np.nan, x.dtype), out)  # type: ignore[no-any-return]

    @folds
    def mean(self: Any, x: OnnxValue, axis: Axes = None, keepdims: bool = False) -> Any:
        if not x.dtype.is_float:
            raise Unlowerable("the mean of integers divides towards zero")
        n = product([x.dims[int(a)] for a in (range(x.ndim) if axis is None else axis)])
        if n:
            return self._reduce("ReduceMean", x, axis, keepdims)
        if n is None:  # of nothing it is NaN, where ReduceMean says 0
            total = self.sum(self.cast(x, carrier("Div", x.dtype)), axis, keepdims)
            count = self.prod(self.gather(self.shape(x), [int(a) for a in (range(x.ndim) if axis is None else axis)]))
            return self.cast(total / self.cast(count, total.dtype), x.dtype)
        total = self.sum(x, axis, keepdims)
        return self.full(self.shape(total), self.constant(np.nan, x.dtype))

    @folds
    def all(self, x: OnnxValue, axis: Axes = None, keepdims: bool = False) -> Any:
        return self.equal(self.sum(self.cast(self.logical_not(x), dtypes.int32), axis, keepdims), 0)

    @folds
    def any(self, x: OnnxValue, axis: Axes = None, keepdims: bool = False) -> Any:
        return self.greater(self.sum(self.cast(x, dtypes.int32), axis, keepdims), 0)

    @folds
    def argmax(self, x: OnnxValue, axis: int) -> Any:
        return self._arg("ArgMax", x, int(axis))

    @folds
    def argmin(self, x: OnnxValue, axis: int) -> Any:
        return self._arg("ArgMin", x, int(axis))

    def _arg(self, kernel: str, x: OnnxValue, axis: int) -> OnnxValue:
        at = axis % x.ndim
        dims = x.dims[:at] + x.dims[at + 1 :]
        if x.dtype.is_float:  # a NaN is passed over
            worst = self.constant(-np.inf if kernel == "ArgMax" else np.inf, x.dtype)
            x = self.where(self.isnan(x), worst, x)
        return self.typed(kernel, [x], dtype=dtypes.int64, dims=dims, axis=at, keepdims=0)

    @folds
    def cumsum(self, x: OnnxValue, axis: int, exclusive: bool = False, reverse: bool = False) -> Any:
        where = self.constant(np.array(int(axis) % x.ndim, np.int64))
        return self.typed("CumSum", [x], more=[where], exclusive=exclusive, reverse=reverse)

    cumprod = _missing("cumprod", "ONNX has no cumulative product")


def product(dims: Sequence[int | None]) -> int | None:
    """The product of dims, None where one is open."""
    return None if None in dims else math.prod(d for d in dims if d is not None)
