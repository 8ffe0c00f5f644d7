"""Complex numbers as ONNX nodes: two real tensors each, since ONNX Runtime has no complex kernels.

A `ComplexValue` is known by its parts. The verbs below act on the parts; any other verb refuses it, because it has no
name that a node could read. It enters and leaves a model as real numbers with one more dimension, of size 2.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from coldframe import dtypes
from coldframe.dtypes import DType
from coldframe.primitives.base import Unlowerable
from coldframe.primitives.onnx_builder import Dims, OnnxValue
from coldframe.primitives.onnx_elementwise import folds, joined
from coldframe.primitives.onnx_weights import Weight
from coldframe.primitives.onnx_windows import WindowsOnnx
from coldframe.records import dataclass

_PART = {dtypes.complex64: dtypes.float32, dtypes.complex128: dtypes.float64}
_WHOLE = {part: whole for whole, part in _PART.items()}


@dataclass(slots=True, eq=False)
class ComplexValue(OnnxValue):
    """A complex tensor, as two real ones of its dims."""

    re: OnnxValue = dataclasses.field(kw_only=True)
    im: OnnxValue = dataclasses.field(kw_only=True)


def _split(xp: Any, x: OnnxValue) -> tuple[OnnxValue, OnnxValue]:
    if isinstance(x, ComplexValue):
        return x.re, x.im
    if x.const is None:
        raise Unlowerable("ONNX Runtime has no complex numbers")
    return xp.constant(np.asarray(x.const.real, order="C")), xp.constant(np.asarray(x.const.imag, order="C"))


def _whole(xp: Any, re: Any, im: Any) -> Any:
    if isinstance(re, list):
        return [_whole(xp, r, i) for r, i in zip(re, im, strict=True)]
    return ComplexValue(xp, _WHOLE[re.dtype], re.dims, re=re, im=im)


def _by_parts(name: str) -> Any:
    """The verb `name`, which does the same to both parts of its first operand."""
    base = getattr(WindowsOnnx, name)

    @functools.wraps(base)
    def verb(self: Any, x: Any, *args: Any, **kwargs: Any) -> Any:
        if not isinstance(x, ComplexValue):
            return base(self, x, *args, **kwargs)
        return _whole(self, *(base(self, part, *args, **kwargs) for part in (x.re, x.im)))

    return verb


def _of_list(name: str) -> Any:
    """The verb `name`, which joins tensors."""
    base = getattr(WindowsOnnx, name)

    @functools.wraps(base)
    def verb(self: Any, xs: Sequence[OnnxValue], axis: int) -> Any:
        if not any(isinstance(x, ComplexValue) for x in xs):
            return base(self, xs, axis)
        res, ims = zip(*(_split(self, x) for x in xs), strict=True)
        return _whole(self, base(self, res, axis), base(self, ims, axis))

    return verb


def _binary(name: str) -> Any:
    """The verb `name` of two operands, with the rule of `ComplexOnnx` called ``_name`` for complex ones."""
    base = getattr(WindowsOnnx, name)

    @functools.wraps(base)
    def verb(self: Any, x: Any, y: Any) -> Any:
        if not (isinstance(x, ComplexValue) or isinstance(y, ComplexValue)):
            return base(self, x, y)
        a, b = self.pair(x, y)
        return getattr(self, f"_{name}")(*_split(self, a), *_split(self, b))

    return verb


class ComplexOnnx(WindowsOnnx):
    """The verbs that know complex numbers."""

    neg = _by_parts("neg")
    reshape = _by_parts("reshape")
    transpose = _by_parts("transpose")
    expand_dims = _by_parts("expand_dims")
    squeeze = _by_parts("squeeze")
    broadcast_to = _by_parts("broadcast_to")
    split = _by_parts("split")
    tile = _by_parts("tile")
    slice = _by_parts("slice")
    slice_axis = _by_parts("slice_axis")
    strided = _by_parts("strided")
    reverse = _by_parts("reverse")
    gather = _by_parts("gather")
    pick = _by_parts("pick")
    sum = _by_parts("sum")
    concat = _of_list("concat")
    stack = _of_list("stack")

    add = _binary("add")
    subtract = _binary("subtract")
    multiply = _binary("multiply")
    divide = _binary("divide")
    equal = _binary("equal")

    def _add(self, a: OnnxValue, b: OnnxValue, c: OnnxValue, d: OnnxValue) -> Any:
        return _whole(self, a + c, b + d)

    def _subtract(self, a: OnnxValue, b: OnnxValue, c: OnnxValue, d: OnnxValue) -> Any:
        return _whole(self, a - c, b - d)

    def _multiply(self, a: OnnxValue, b: OnnxValue, c: OnnxValue, d: OnnxValue) -> Any:
        return _whole(self, a * c - b * d, a * d + b * c)

    def _divide(self, a: OnnxValue, b: OnnxValue, c: OnnxValue, d: OnnxValue) -> Any:
        raise Unlowerable("complex division overflows where numpy's does not")

    def _equal(self, a: OnnxValue, b: OnnxValue, c: OnnxValue, d: OnnxValue) -> Any:
        return self.logical_and(self.equal(a, c), self.equal(b, d))

    @folds
    def abs(self, x: OnnxValue) -> Any:
        if not isinstance(x, ComplexValue):
            return super().abs(x)
        re, im = super().abs(x.re), super().abs(x.im)
        most, least = self.maximum(re, im), self.minimum(re, im)
        small = self.where(self.equal(most, 0.0), most, least / most)  # squares of large numbers would overflow
        return self.where(self.isinf(most), most, most * self.sqrt(small * small + 1.0))

    @folds
    def real(self, x: OnnxValue) -> Any:
        return x.re if isinstance(x, ComplexValue) else x

    @folds
    def imag(self, x: OnnxValue) -> Any:
        return x.im if isinstance(x, ComplexValue) else self.zeros_like(x)

    @folds
    def conj(self, x: OnnxValue) -> Any:
        return _whole(self, x.re, self.neg(x.im)) if isinstance(x, ComplexValue) else x

    @folds
    def angle(self, x: OnnxValue) -> Any:
        re, im = _split(self, x)
        return self.atan2(im, re)

    @folds
    def complex(self, re: Any, im: Any) -> Any:
        a, b = self.pair(re, im)
        if a.dims != b.dims or None in a.dims:
            dims, both = joined(a, b), self.logical_or(self.equal(a, a), self.equal(b, b))
            a, b = self.where(both, a, a), self.where(both, b, b)  # of one shape
            a, b = (dataclasses.replace(v, dims=dims) for v in (a, b))
        return _whole(self, a, b)

    @folds
    def where(self, c: OnnxValue, x: Any, y: Any) -> Any:
        if not (isinstance(x, ComplexValue) or isinstance(y, ComplexValue)):
            return super().where(c, x, y)
        (a, b), (d, e) = (_split(self, v) for v in self.pair(x, y))
        return _whole(self, super().where(c, a, d), super().where(c, b, e))

    @folds
    def full(self, shape: Any, value: Any, dtype: DType | None = None) -> Any:
        v = self.lift(value, dtype=dtype)
        if v.dtype not in _PART:
            return super().full(shape, value, dtype)
        return _whole(self, *(super(ComplexOnnx, self).full(shape, part) for part in _split(self, v)))

    @folds
    def matmul(self, x: OnnxValue, y: OnnxValue) -> Any:
        if not (isinstance(x, ComplexValue) or isinstance(y, ComplexValue)):
            return super().matmul(x, y)
        (a, b), (c, d) = _split(self, x), _split(self, y)
        times = super().matmul
        return _whole(self, times(a, c) - times(b, d), times(a, d) + times(b, c))

    def shape(self, x: OnnxValue) -> OnnxValue:
        """See `ShapeOnnx`."""
        return super().shape(x.re if isinstance(x, ComplexValue) else x)

    def size(self, x: OnnxValue) -> OnnxValue:
        """See `ShapeOnnx`."""
        return super().size(x.re if isinstance(x, ComplexValue) else x)

    def cast(self, x: OnnxValue, dtype: DType) -> OnnxValue:
        """C's conversion."""
        if x.dtype is dtype:
            return x
        if isinstance(x, ComplexValue):
            if dtype not in _PART:
                return super().cast(x.re, dtype)
            return _whole(self, *(super(ComplexOnnx, self).cast(p, _PART[dtype]) for p in (x.re, x.im)))  # type: ignore[no-any-return]
        if x.const is None and dtype in _PART:
            part = super().cast(x, _PART[dtype])
            return _whole(self, part, self.zeros_like(part))  # type: ignore[no-any-return]
        return super().cast(x, dtype)

    # --- the model ----------------------------------------------------------------------------------------------
    def input(self, name: str, dtype: DType, dims: Dims) -> OnnxValue:
        """Declare a model input."""
        if dtype not in _PART:
            return super().input(name, dtype, dims)
        both = super().input(name, _PART[dtype], (*dims, 2))
        re, im = (super(ComplexOnnx, self).pick(both, i, len(dims)) for i in (0, 1))
        return _whole(self, re, im)  # type: ignore[no-any-return]

    def model(self, outputs: Any) -> tuple[bytes, dict[str, Weight]]:
        """See `Builder`."""
        return super().model([(name, self._packed(v)) for name, v in outputs])

    def _packed(self, v: OnnxValue) -> OnnxValue:
        if not isinstance(v, ComplexValue):
            if v.const is None or v.dtype not in _PART:
                return v
            return self.constant(np.stack([v.const.real, v.const.imag], -1))  # of a list that was made of a constant
        return super().stack([v.re, v.im], v.ndim)  # type: ignore[no-any-return]
