"""Quantization: simulated in floating point (FakeQuant, QuantizeAndDequantize), and to and from quantized integers.

A range [min, max] is mapped on the integers of some bits. FakeQuant moves ("nudges") the range so that 0 is an integer;
MIN_COMBINED and MIN_FIRST stretch it over all integers; SCALED keeps 0 at 0 and takes the wider side.
"""

from __future__ import annotations

import functools
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt

from coldframe import dtypes
from coldframe.dtypes import DType
from coldframe.ops import inference_nn
from coldframe.ops.backward import attrs_of, passed
from coldframe.ops.layouts import known
from coldframe.ops.table import Op, alias, op
from coldframe.primitives.base import Unlowerable, refuse
from coldframe.records import dataclass

Array = npt.NDArray[Any]
_ENDS: Any = ml_dtypes.finfo  # knows numpy's floating dtypes too, and has no annotations
_F32 = np.float32


# --- FakeQuant --------------------------------------------------------------------------------------------------
def _bits(num_bits: int, least: int = 2, most: int = 16) -> None:
    if not least <= num_bits <= most:
        raise refuse("`num_bits`", expected=f"{least} to {most}", found=num_bits)


def _nudged(xp: Any, low: Any, high: Any, num_bits: int, narrow_range: bool) -> tuple[Any, Any, Any, Any]:
    """The ends of the nudged range, the width of a step, and how many steps the whole range has."""
    _bits(num_bits)
    f32 = dtypes.float32
    first, last = (xp.asarray(float(v), f32) for v in (int(narrow_range), 2**num_bits - 1))
    scale = xp.divide(xp.subtract(high, low), xp.subtract(last, first))
    origin = xp.subtract(first, xp.divide(low, scale))
    rounded = xp.floor(xp.add(origin, xp.asarray(0.5, f32)))
    rounded = xp.where(xp.less(origin, first), first, xp.where(xp.greater(origin, last), last, rounded))
    least = xp.multiply(xp.subtract(first, rounded), scale)
    return least, xp.multiply(xp.subtract(last, rounded), scale), scale, xp.subtract(last, first)


def _nothing(xp: Any, low: Any, high: Any) -> Any:
    """Where the range is [0, 0]."""
    zero = xp.asarray(0.0, dtypes.float32)
    return xp.logical_and(xp.equal(low, zero), xp.equal(high, zero))


def _fake_quant(xp: Any, x: Any, low: Any, high: Any, num_bits: int, narrow_range: bool, divides: bool = False) -> Any:
    """Round `x` to the steps of the nudged range; a range of [0, 0] gives 0."""
    least, most, scale, count = _nudged(xp, low, high, num_bits, narrow_range)
    half = xp.asarray(0.5, dtypes.float32)
    steps = xp.divide(count, xp.subtract(high, low))
    shift = xp.floor(xp.add(xp.multiply(xp.neg(least), steps), half))
    level = xp.subtract(xp.maximum(xp.minimum(x, most), least), least)
    level = xp.divide(level, scale) if divides else xp.multiply(level, steps)  # as the kernels do; it decides ties
    level = xp.floor(xp.add(xp.subtract(level, shift), half))
    return xp.where(_nothing(xp, low, high), xp.zeros_like(x), xp.multiply(level, scale))


@op("FakeQuantWithMinMaxArgs", shape="x -> x")
def fake_quant_args(xp: Any, inputs: Any, *, min: float, max: float, num_bits: int, narrow_range: bool) -> Any:
    """Simulate quantization to a fixed range."""
    if min >= max:
        raise refuse("`min` is not less than `max`", found=f"{min} and {max}")
    low, high = (xp.asarray(v, dtypes.float32) for v in (min, max))
    return _fake_quant(xp, inputs, low, high, num_bits, narrow_range)


@fake_quant_args.gradient
def _(g: Any, op: Any, dy: Any) -> Any:
    same = attrs_of(op, "min", "max", "num_bits", "narrow_range")
    return g.FakeQuantWithMinMaxArgsGradient(dy, op.inputs[0], **same)


@op("FakeQuantWithMinMaxVars", shape="x -> x")
def fake_quant_vars(xp: Any, inputs: Any, min: Any, max: Any, *, num_bits: int, narrow_range: bool) -> Any:
    """Simulate quantization to a range that is computed."""
    for name, v in (("min", min), ("max", max)):
        if xp.rank(v):
            raise refuse(f"`{name}` is not a scalar", found=f"rank {xp.rank(v)}")
    return _fake_quant(xp, inputs, min, max, num_bits, narrow_range, divides=True)


@fake_quant_vars.gradient
def _(g: Any, op: Any, dy: Any) -> Any:
    return g.FakeQuantWithMinMaxVarsGradient(dy, *op.inputs, **attrs_of(op, "num_bits", "narrow_range"))


def _per_channel(xp: Any, inputs: Any, min: Any, max: Any) -> None:
    """Refuse ranges that are not one per index of the last dimension."""
    if not xp.rank(inputs):
        raise refuse("`inputs` is a scalar", expected="a dimension of channels")
    depth = xp.dim(inputs, -1)
    for name, v in (("min", min), ("max", max)):
        n = xp.dim(v, 0) if xp.rank(v) == 1 else -1
        if isinstance(n, int) and isinstance(depth, int) and n != depth:
            raise refuse(f"`{name}` is not one value per channel", expected=[depth], found=f"{n}")


@op("FakeQuantWithMinMaxVarsPerChannel", shape="[*b, d] [d] [d] -> [*b, d]")
def fake_quant_channels(xp: Any, inputs: Any, min: Any, max: Any, *, num_bits: int, narrow_range: bool) -> Any:
    """Simulate quantization to a range per index of the last dimension."""
    _per_channel(xp, inputs, min, max)
    return _fake_quant(xp, inputs, min, max, num_bits, narrow_range)


@fake_quant_channels.gradient
def _(g: Any, op: Any, dy: Any) -> Any:
    return g.FakeQuantWithMinMaxVarsPerChannelGradient(dy, *op.inputs, **attrs_of(op, "num_bits", "narrow_range"))


def _by_the_last_bit(quantizer: Op) -> None:
    """Keep `quantizer` from XLA, which divides by multiplying and fuses products into sums."""

    @functools.wraps(quantizer.body)  # for its keyword-only parameters
    def refused(*_: Any, **__: Any) -> Any:
        raise Unlowerable("the last bit decides what is rounded up, and XLA reorders arithmetic")

    quantizer.rules["jax"] = refused


_by_the_last_bit(fake_quant_args)
_by_the_last_bit(fake_quant_vars)
_by_the_last_bit(fake_quant_channels)


# --- FakeQuant's gradients --------------------------------------------------------------------------------------
@op("FakeQuantWithMinMaxArgsGradient", shape="x x -> x", no_gradient=True)
def fake_quant_args_gradient(
    xp: Any, gradients: Any, inputs: Any, *, min: float, max: float, num_bits: int, narrow_range: bool
) -> Any:
    """The gradient where the input lies in the range, 0 elsewhere."""
    if min >= max:
        raise refuse("`min` is not less than `max`", found=f"{min} and {max}")
    _same_shape(xp, gradients, inputs)
    low, high = (xp.asarray(v, dtypes.float32) for v in (min, max))
    return _limited(xp, gradients, inputs, low, high, num_bits, narrow_range)[0]


def _same_shape(xp: Any, a: Any, b: Any) -> None:
    if xp.rank(a) != xp.rank(b):
        raise refuse("the rank of gradients and inputs", expected=xp.rank(b), found=xp.rank(a))
    for i in range(xp.rank(a)):
        m, n = known(xp.dim(a, i)), known(xp.dim(b, i))
        if m is not None and n is not None and m != n:
            raise refuse(f"dimension {i} of the gradients", expected=n, found=m)


def _limited(xp: Any, dy: Any, x: Any, low: Any, high: Any, num_bits: int, narrow_range: bool) -> tuple[Any, Any, Any]:
    """The gradient where `x` is inside of the nudged range, below it and above it; all inside of [0, 0]."""
    least, most, _, _ = _nudged(xp, low, high, num_bits, narrow_range)
    nothing, zero = _nothing(xp, low, high), xp.zeros_like(dy)
    below = xp.logical_and(xp.less(x, least), xp.logical_not(nothing))
    above = xp.logical_and(xp.greater(x, most), xp.logical_not(nothing))
    inside = xp.where(xp.logical_or(below, above), zero, dy)
    return inside, xp.where(below, dy, zero), xp.where(above, dy, zero)


@op("FakeQuantWithMinMaxVarsGradient", shape="x x [] [] -> x [] []", no_gradient=True)
def fake_quant_vars_gradient(
    xp: Any, gradients: Any, inputs: Any, min: Any, max: Any, *, num_bits: int, narrow_range: bool
) -> Any:
    """The gradient of FakeQuantWithMinMaxVars for its input and the ends of its range."""
    _same_shape(xp, gradients, inputs)
    for name, v in (("min", min), ("max", max)):
        if xp.rank(v):
            raise refuse(f"`{name}` is not a scalar", found=f"rank {xp.rank(v)}")
    inside, below, above = _limited(xp, gradients, inputs, min, max, num_bits, narrow_range)
    return inside, xp.sum(below), xp.sum(above)


@op("FakeQuantWithMinMaxVarsPerChannelGradient", shape="[*b, d] [*b, d] [d] [d] -> [*b, d] [d] [d]", no_gradient=True)
def fake_quant_channels_gradient(
    xp: Any, gradients: Any, inputs: Any, min: Any, max: Any, *, num_bits: int, narrow_range: bool
) -> Any:
    """The gradient of FakeQuantWithMinMaxVarsPerChannel for its input and the ends of its ranges."""
    _same_shape(xp, gradients, inputs)
    _per_channel(xp, inputs, min, max)
    others = list(range(xp.rank(inputs) - 1))
    inside, below, above = _limited(xp, gradients, inputs, min, max, num_bits, narrow_range)
    return inside, xp.sum(below, axis=others), xp.sum(above, axis=others)


# --- QuantizeAndDequantize --------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Grid:
    """What to round to: `bits`, with or without sign, symmetric if `narrow`, per index of `axis` unless it is -1."""

    bits: int
    signed: bool
    narrow: bool
    axis: int
    half_up: bool = False

    @property
    def ends(self) -> tuple[float, float]:
        """The least and the largest integer."""
        if not self.signed:
            return 0.0, float(2**self.bits - 1)
        return float(int(self.narrow) - 2 ** (self.bits - 1)), float(2 ** (self.bits - 1) - 1)


def _simulate(xp: Any, x: Any, low: Any, high: Any, range_given: bool, grid: Grid) -> Any:
    _bits(grid.bits, least=2 if grid.signed else 1, most=63)
    axis, rank = grid.axis, xp.rank(x)
    if not -1 <= axis < rank:
        raise refuse("`axis`", expected=f"-1 to {rank - 1}", found=axis)
    shape = [-1 if i == axis else 1 for i in range(rank)]
    if range_given:
        _check_range(xp, low, high)
        low, high = (xp.reshape(v, shape) if axis >= 0 else v for v in (low, high))
    else:
        others = [i for i in range(rank) if i != axis]
        low, high = xp.min(x, axis=others, keepdims=axis >= 0), xp.max(x, axis=others, keepdims=axis >= 0)
    kind = dtypes.from_numpy(xp.dtype(x))
    least, most = (xp.asarray(v, kind) for v in grid.ends)
    zero, huge = xp.asarray(0, kind), xp.asarray(_ENDS(kind.numpy).max, kind)
    from_low, from_high = (
        xp.where(xp.greater(xp.multiply(end, side), zero), xp.divide(end, side), huge)
        for end, side in ((least, low), (most, high))
    )
    by_low = xp.less(from_low, from_high)
    scale = xp.where(by_low, from_low, from_high)
    step = xp.where(by_low, xp.divide(low, least), xp.divide(high, most))
    if range_given:
        top, bottom = xp.where(by_low, xp.multiply(most, step), high), xp.where(by_low, low, xp.multiply(least, step))
        x = xp.maximum(xp.minimum(x, top), bottom)
    level = xp.multiply(x, scale)
    level = xp.floor(xp.add(level, xp.asarray(0.5, kind))) if grid.half_up else xp.round(level)
    return xp.multiply(level, step)


def _check_range(xp: Any, low: Any, high: Any) -> None:
    if isinstance(low, (np.ndarray, np.generic)) and np.any(low > high):
        raise refuse("`input_min` is larger than `input_max`", found=f"{low} and {high}")


@op("QuantizeAndDequantizeV2", shape="x -> x", lenient="a least value above the greatest")
def quantize_and_dequantize(
    xp: Any, input: Any, input_min: Any, input_max: Any, *, signed_input: bool, num_bits: int, range_given: bool,
    round_mode: str, narrow_range: bool, axis: int,
) -> Any:  # fmt: skip
    """Round to what quantized numbers can express, in the range given or in that of the input."""
    grid = Grid(num_bits, signed_input, narrow_range, axis, round_mode == "HALF_UP")
    return _simulate(xp, input, input_min, input_max, range_given, grid)


@op("QuantizeAndDequantize", shape="x -> x", lenient="a least value above the greatest", gradient=passed)
def quantize_and_dequantize_v1(
    xp: Any, input: Any, *, signed_input: bool, num_bits: int, range_given: bool, input_min: float, input_max: float
) -> Any:
    """QuantizeAndDequantizeV2 with its range as attributes."""
    kind = dtypes.from_numpy(xp.dtype(input))
    low, high = (xp.asarray(v, kind) for v in (input_min, input_max))
    return _simulate(xp, input, low, high, range_given, Grid(num_bits, signed_input, False, -1))


quantize_and_dequantize_v4 = alias("QuantizeAndDequantizeV4", quantize_and_dequantize)
quantize_and_dequantize.gradient(passed)  # as if nothing were rounded


@quantize_and_dequantize_v4.gradient
def _(g: Any, op: Any, dy: Any) -> Any:
    return g.QuantizeAndDequantizeV4Grad(dy, *op.inputs, **attrs_of(op, "axis"))


@op("QuantizeAndDequantizeV4Grad", shape=inference_nn.quantized_grad)
def quantize_and_dequantize_v4_grad(
    xp: Any, gradients: Any, input: Any, input_min: Any, input_max: Any, *, axis: int
) -> Any:
    """The gradient where the input lies in the range, 0 elsewhere; nothing for the ends of the range."""
    _same_shape(xp, gradients, input)
    shape = [-1 if i == axis else 1 for i in range(xp.rank(input))] if axis >= 0 else []
    low, high = (xp.reshape(v, shape) for v in (input_min, input_max))
    inside = xp.logical_and(xp.greater_equal(input, low), xp.less_equal(input, high))
    return (
        xp.where(inside, gradients, xp.zeros_like(gradients)),
        xp.zeros_like(input_min),
        xp.zeros_like(input_max),
    )


@quantize_and_dequantize_v4_grad.gradient
def _(g: Any, op: Any, d2y: Any, *_: Any) -> Any:
    return g.QuantizeAndDequantizeV4Grad(d2y, *op.inputs[1:], **attrs_of(op, "axis"))[0], None, None, None


@op("QuantizeAndDequantizeV3", shape="x -> x", lenient="a least value above the greatest", static=("num_bits",))
def quantize_and_dequantize_v3(
    xp: Any, input: Any, input_min: Any, input_max: Any, num_bits: Array, *, signed_input: bool, range_given: bool,
    narrow_range: bool, axis: int,
) -> Any:  # fmt: skip
    """QuantizeAndDequantizeV2 with the number of bits as an input."""
    if num_bits.size != 1:
        raise refuse("`num_bits` is not a scalar", found=f"shape {list(num_bits.shape)}")
    grid = Grid(int(num_bits.item()), signed_input, narrow_range, axis)
    return _simulate(xp, input, input_min, input_max, range_given, grid)


quantize_and_dequantize_v3.gradient(passed)


# --- quantized integers -----------------------------------------------------------------------------------------
_HOST = "ONNX Runtime has no quantized integers in TensorFlow's ranges"


@dataclass(frozen=True, slots=True, eq=False)
class Range:
    """The floats that quantized integers of a dtype stand for: `low` to `high`, arrays that broadcast."""

    low: Any
    high: Any
    kind: DType

    @property
    def ends(self) -> tuple[int, int]:
        info = np.iinfo(self.kind.numpy)
        return int(info.min), int(info.max)

    @property
    def half(self) -> float:
        """How far signed integers are shifted against unsigned ones."""
        least, most = self.ends
        return (most - least + 1) / 2 if least else 0.0

    @property
    def scale(self) -> Any:
        """MIN_FIRST: the float width of a step, of 2**bits of them."""
        least, most = self.ends
        steps = float(most - least + 1)
        return (np.float64(self.high) - self.low) * (steps / (steps - 1)) / steps


def _per_axis(v: Array, rank: int, axis: int) -> Array:
    return v.reshape([-1 if i == axis else 1 for i in range(rank)]) if axis >= 0 else v.reshape(())


def _given_range(x: Array, low: Array, high: Array, axis: int) -> tuple[Array, Array]:
    if not -1 <= axis < x.ndim:
        raise refuse("`axis`", expected=f"-1 to {x.ndim - 1}", found=axis)
    want = x.shape[axis] if axis >= 0 else 1
    for name, v in (("min_range", low), ("max_range", high)):
        if v.size != want or (axis >= 0 and v.ndim != 1):
            raise refuse(f"`{name}`", expected=f"{want} values", found=f"shape {list(v.shape)}")
    if np.any(low > high):
        raise refuse("`min_range` is larger than `max_range`", found=f"{low} and {high}")
    return low, high


def _round(x: Array, mode: str) -> Array:
    even: Array = np.rint(x)
    return even if mode == "HALF_TO_EVEN" else np.copysign(np.floor(np.abs(x) + x.dtype.type(0.5)), x)


@op("QuantizeV2", shape=inference_nn.quantize, host=_HOST)
def quantize(
    xp: Any, input: Array, min_range: Array, max_range: Array, *, T: DType, mode: str, round_mode: str,
    narrow_range: bool, axis: int, ensure_minimum_range: float,
) -> Any:  # fmt: skip
    """Quantized integers for floats, and the range that they cover."""
    if round_mode == "HALF_TO_EVEN" and mode != "SCALED":
        raise refuse("`round_mode` HALF_TO_EVEN", expected="`mode` SCALED", found=mode)
    low, high = _given_range(input, min_range, max_range, axis)
    least = np.minimum(low, _F32(0))
    margin = np.maximum(_F32(1), np.maximum(np.abs(low), np.abs(high))) * _F32(ensure_minimum_range)
    most = np.maximum(np.maximum(high, least + margin), _F32(0))
    if mode == "SCALED":
        return _quantize_scaled(input, Range(least, most, T), round_mode, narrow_range, axis)
    given = Range(_per_axis(least, input.ndim, axis), _per_axis(most, input.ndim, axis), T)
    out = _combined(input, given, round_mode) if mode == "MIN_COMBINED" else _min_first(input, given)
    return out.astype(T.numpy), least, most


def _combined(x: Array, r: Range, round_mode: str) -> Array:
    least, most = r.ends
    scale = _F32(most - least) / (r.high - r.low)
    return _round((np.clip(x, r.low, r.high) - r.low) * scale - _F32(r.half), round_mode)


def _min_first(x: Array, r: Range) -> Array:
    least, most = r.ends
    if r.kind.width == 4:
        return _min_first_in_floats(x, r)
    steps = 1 / r.scale
    shifted = _round(x * steps, "") - (_round(np.asarray(r.low * steps), "") - least)
    top = float(np.nextafter(_F32(most), _F32(0))) if most == 2**31 - 1 else float(most)
    out: Array = np.clip(shifted, least, top)
    return out


def _min_first_in_floats(x: Array, r: Range) -> Array:
    """Of 32 bits, in floats throughout: neighbours that are closer than floats of this size fall together."""
    least, most = (_F32(e) for e in r.ends)
    low, high = np.asarray(r.low, _F32), np.asarray(r.high, _F32)
    scale = ((2.0**32 - 1) / (high - low).astype(np.float64)).astype(_F32)
    shifted = _whole((np.clip(x, low, high) * scale).astype(_F32)) - (_whole(low * scale) - least)
    return np.asarray(np.clip(shifted, least, np.nextafter(most, _F32(0))).astype(np.int64))


def _whole(v: Array) -> Array:
    """Floats rounded half away from 0."""
    return np.copysign(np.floor(np.abs(v).astype(np.float64) + 0.5), v).astype(_F32)


def _quantize_scaled(x: Array, r: Range, round_mode: str, narrow: bool, axis: int) -> tuple[Array, Array, Array]:
    bottom, most = r.ends
    least = bottom + int(narrow)
    huge = np.finfo(_F32).max
    from_low = np.where(_F32(least) * r.low > 0, _F32(least) / r.low, huge)
    from_high = np.where(_F32(most) * r.high > 0, _F32(most) / r.high, huge)
    scale = np.minimum(from_low, from_high).astype(_F32)
    low, high = (_F32(least) / scale).astype(_F32), (_F32(most) / scale).astype(_F32)
    low, high = (np.where(np.abs(v) < np.finfo(_F32).tiny, _F32(0), v) for v in (low, high))  # as kernels flush them
    inner = np.clip(x, _per_axis(low, x.ndim, axis), _per_axis(high, x.ndim, axis))
    return _round(inner * _per_axis(scale, x.ndim, axis), round_mode).astype(r.kind.numpy), low, high


@op("Dequantize", shape=inference_nn.dequantize, host=_HOST)
def dequantize(
    xp: Any, input: Array, min_range: Array, max_range: Array, *, T: DType, mode: str, narrow_range: bool,
    axis: int, dtype: DType,
) -> Any:  # fmt: skip
    """The floats that quantized integers stand for."""
    if dtype is dtypes.bfloat16 and mode != "MIN_COMBINED":
        raise refuse("`mode` for bfloat16", expected="MIN_COMBINED", found=mode)
    low, high = _given_range(input, min_range, max_range, axis)
    r = Range(_per_axis(low, input.ndim, axis), _per_axis(high, input.ndim, axis), T)
    least, most = r.ends
    if mode == "MIN_COMBINED":
        scale = (r.high - r.low) / _F32(most - least)
        out = (input.astype(_F32) + _F32(r.half)) * scale + r.low
    elif mode == "MIN_FIRST":
        step = r.scale
        origin = _round(np.asarray(r.low / step.astype(_F32)), "") * step.astype(_F32)  # in floats, which decides ties
        out = (input.astype(np.float64) - least) * step + origin
    else:
        scale = r.high / _F32(most)
        if least:
            scale = np.maximum(r.low / _F32(least + int(narrow_range)), scale)
        out = input.astype(_F32) * scale
    return np.asarray(out).astype(dtype.numpy)
