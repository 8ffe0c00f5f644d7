"""Uniformly quantized numbers: integers with a scale and a zero point, of the whole tensor or per index of one axis.

``x = (q - zero_point) * scale``, clamped to a range that the attributes tell. Scales change by fixed-point
arithmetic: the ratio of two is a 32-bit fraction and a shift. See tensorflow/core/kernels/uniform_quant_ops.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from coldframe.dtypes import DType
from coldframe.ops.table import op
from coldframe.primitives.base import refuse
from coldframe.records import dataclass

Array = npt.NDArray[Any]
_HOST: Final = "ONNX Runtime has no quantized integers in TensorFlow's ranges"


@dataclass(frozen=True, slots=True)
class Scheme:
    """Scales and zero points, in a shape that broadcasts over the tensor."""

    scales: Array
    zeros: Array


def scheme(name: str, scales: Array, zeros: Array, axis: int, dims: tuple[int, ...]) -> Scheme:
    """Check scales and zero points: scalars where `axis` is -1, else as many as the tensor of `dims` has there."""
    if scales.shape != zeros.shape:
        raise refuse(f"scales and zero points of {name}", expected=list(scales.shape), found=list(zeros.shape))
    if not (scales > 0).all():
        raise refuse(f"scales of {name}", expected="more than 0", found=scales.tolist())
    if axis == -1:
        if scales.ndim:
            raise refuse(f"scales of {name}", expected="a scalar", found=f"shape {list(scales.shape)}")
        return Scheme(scales, zeros)
    if not 0 <= axis < len(dims):
        raise refuse(f"the quantization axis of {name}", expected=f"below {len(dims)}", found=axis)
    if scales.shape != (dims[axis],):
        raise refuse(f"scales of {name}", expected=[dims[axis]], found=list(scales.shape))
    shape = [1] * len(dims)
    shape[axis] = dims[axis]
    return Scheme(scales.reshape(shape), zeros.reshape(shape))


def _fraction(ratio: float) -> tuple[int, int]:
    """A ratio as a fraction of 31 bits and a shift to the left."""
    mantissa, shift = math.frexp(ratio)
    fixed = math.floor(mantissa * (1 << 31) + 0.5)
    if fixed == 1 << 31:
        fixed, shift = fixed // 2, shift + 1
    return (fixed, shift) if shift >= -31 else (0, 0)


def moved(x: Array, ratio: Array, zeros: Array, low: int, high: int) -> Array:
    """Whole numbers (zero points taken off) times ratios of scales, in the new range; int64."""
    pairs = [_fraction(float(r)) for r in ratio.ravel().tolist()]
    fixed = np.array([p[0] for p in pairs], np.int64).reshape(ratio.shape)
    shift = np.array([p[1] for p in pairs], np.int64).reshape(ratio.shape)
    total = 31 - shift
    out = (x.astype(np.int64) * fixed + (np.int64(1) << (total - 1))) >> total
    clipped: Array = np.clip(out + zeros, low, high)
    return clipped


def ratios(old: Array, new: Array) -> Array:
    """Return scales as multiples of others."""
    return old.astype(np.float64) / new.astype(np.float64)


@op("UniformQuantize", shape="x ? ? -> x", host=_HOST)
def uniform_quantize(
    xp: Any, input: Array, scales: Array, zero_points: Array, *, Tout: DType, quantization_axis: int,
    quantization_min_val: int, quantization_max_val: int,
) -> Any:  # fmt: skip
    """Floats as integers."""
    s = scheme("the output", scales, zero_points, quantization_axis, input.shape)
    out = np.floor(input * (np.float32(1) / s.scales) + s.zeros.astype(np.float32) + np.float32(0.5))
    return np.clip(out.astype(np.float64), quantization_min_val, quantization_max_val).astype(Tout.numpy)


@op("UniformDequantize", shape="x ? ? -> x", host=_HOST, ignores=("quantization_min_val", "quantization_max_val"))
def uniform_dequantize(
    xp: Any, input: Array, scales: Array, zero_points: Array, *, Tout: DType, quantization_axis: int
) -> Any:
    """The floats that integers stand for."""
    s = scheme("the input", scales, zero_points, quantization_axis, input.shape)
    return (input.astype(np.int64) - s.zeros).astype(np.float32) * s.scales


@op(
    "UniformRequantize", shape="x ? ? ? ? -> x", host=_HOST,
    ignores=("input_quantization_min_val", "input_quantization_max_val"),
)  # fmt: skip
def uniform_requantize(
    xp: Any, input: Array, input_scales: Array, input_zero_points: Array, output_scales: Array,
    output_zero_points: Array, *, Tout: DType, input_quantization_axis: int, output_quantization_axis: int,
    output_quantization_min_val: int, output_quantization_max_val: int,
) -> Any:  # fmt: skip
    """Integers with other scales and zero points."""
    if -1 not in (input_quantization_axis, output_quantization_axis) and (
        input_quantization_axis != output_quantization_axis
    ):
        raise refuse("quantization axes", expected=input_quantization_axis, found=output_quantization_axis)
    old = scheme("the input", input_scales, input_zero_points, input_quantization_axis, input.shape)
    new = scheme("the output", output_scales, output_zero_points, output_quantization_axis, input.shape)
    x = input.astype(np.int64) - old.zeros
    low, high = output_quantization_min_val, output_quantization_max_val
    return moved(x, ratios(old.scales, new.scales), new.zeros, low, high).astype(Tout.numpy)


_SIDES: Final = tuple(f"{side}_quantization_{end}_val" for side in ("lhs", "rhs") for end in ("min", "max"))


@op("UniformQuantizedAdd", host=_HOST, ignores=_SIDES)
def uniform_quantized_add(
    xp: Any, lhs: Array, rhs: Array, lhs_scales: Array, lhs_zero_points: Array, rhs_scales: Array,
    rhs_zero_points: Array, output_scales: Array, output_zero_points: Array, *, T: DType,
    lhs_quantization_axis: int, rhs_quantization_axis: int, output_quantization_axis: int,
    output_quantization_min_val: int, output_quantization_max_val: int,
) -> Any:  # fmt: skip
    """The sum of quantized numbers, broadcast."""
    try:
        dims = np.broadcast_shapes(lhs.shape, rhs.shape)
    except ValueError as e:
        raise refuse("the tensors do not broadcast", found=f"{list(lhs.shape)} and {list(rhs.shape)}") from e
    new = scheme("the output", output_scales, output_zero_points, output_quantization_axis, dims)
    low, high = output_quantization_min_val, output_quantization_max_val
    parts = []
    for name, x, scales, zeros, axis in (
        ("the first", lhs, lhs_scales, lhs_zero_points, lhs_quantization_axis),
        ("the second", rhs, rhs_scales, rhs_zero_points, rhs_quantization_axis),
    ):
        old = scheme(name, scales, zeros, axis, x.shape)
        parts.append(moved(x.astype(np.int64) - old.zeros, ratios(old.scales, new.scales), new.zeros, low, high))
    return np.clip(parts[0] + parts[1] - new.zeros, low, high).astype(T.numpy)


@op(
    "UniformQuantizedClipByValue", shape="x ? ? ? ? -> x", host=_HOST,
    ignores=("quantization_min_val", "quantization_max_val"),
)  # fmt: skip
def uniform_quantized_clip_by_value(
    xp: Any, operand: Array, min: Array, max: Array, scales: Array, zero_points: Array, *, quantization_axis: int
) -> Any:
    """Quantized numbers, none below `min` or above `max`, which are quantized likewise."""
    scheme("the tensor", scales, zero_points, quantization_axis, operand.shape)
    low, high = (_scheme_like(v, scales, quantization_axis, operand.ndim) for v in (min, max))
    return np.minimum(np.maximum(operand, low), high)


def _scheme_like(v: Array, scales: Array, axis: int, rank: int) -> Array:
    if v.shape != scales.shape:
        raise refuse("limits have the shape of the scales", expected=list(scales.shape), found=list(v.shape))
    return v.reshape([-1 if k == axis else 1 for k in range(rank)]) if axis >= 0 else v


def _check_matrices(lhs: Array, rhs: Array) -> None:
    if lhs.ndim != 2 or rhs.ndim != 2 or lhs.shape[1] != rhs.shape[0]:
        raise refuse("the matrices do not fit", found=f"{list(lhs.shape)} and {list(rhs.shape)}")


@op("UniformQuantizedDot", shape="[m, k] [k, n] ? ? ? ? ? ? -> [m, n]", host=_HOST, heavy=True, ignores=_SIDES)
def uniform_quantized_dot(
    xp: Any, lhs: Array, rhs: Array, lhs_scales: Array, lhs_zero_points: Array, rhs_scales: Array,
    rhs_zero_points: Array, output_scales: Array, output_zero_points: Array, *, Tout: DType,
    lhs_quantization_axis: int, rhs_quantization_axis: int, output_quantization_axis: int,
    output_quantization_min_val: int, output_quantization_max_val: int,
) -> Any:  # fmt: skip
    """The product of two matrices of quantized numbers."""
    _check_matrices(lhs, rhs)
    dims = (lhs.shape[0], rhs.shape[1])
    a = scheme("the first", lhs_scales, lhs_zero_points, lhs_quantization_axis, lhs.shape)
    b = scheme("the second", rhs_scales, rhs_zero_points, rhs_quantization_axis, rhs.shape)
    new = scheme("the output", output_scales, output_zero_points, output_quantization_axis, dims)
    sums = (lhs.astype(np.float64) - a.zeros) @ (rhs.astype(np.float64) - b.zeros)  # whole numbers, exact
    ratio = ratios(a.scales.astype(np.float64) * b.scales, new.scales)
    low, high = output_quantization_min_val, output_quantization_max_val
    return moved(sums.astype(np.int64), ratio, new.zeros, low, high).astype(Tout.numpy)


@op(
    "UniformQuantizedDotHybrid", shape="[m, k] [k, n] ? ? -> [m, n]", host=_HOST, heavy=True,
    ignores=("rhs_quantization_min_val", "rhs_quantization_max_val", "Tout"),
)  # fmt: skip
def uniform_quantized_dot_hybrid(
    xp: Any, lhs: Array, rhs: Array, rhs_scales: Array, rhs_zero_points: Array, *, rhs_quantization_axis: int
) -> Any:
    """The product of a matrix of floats, quantized on the way row by row, and one of quantized numbers."""
    _check_matrices(lhs, rhs)
    s = scheme("the second", rhs_scales, rhs_zero_points, rhs_quantization_axis, rhs.shape)
    q, scales, zeros = by_rows(lhs)
    sums = (q - zeros) @ (rhs.astype(np.float64) - s.zeros)
    return (sums * scales * np.asarray(s.scales, np.float64).reshape(1, -1)).astype(np.float32)


def by_rows(x: Array) -> tuple[Array, Array, Array]:
    """Each row as whole numbers of 8 bits over its own range, with its scale and zero point."""
    flat = x.reshape(len(x), -1)
    low = np.minimum(flat.min(axis=1, initial=0), 0).astype(np.float64)
    high = np.maximum(flat.max(axis=1, initial=0), 0).astype(np.float64)
    scales = np.where(high > low, (high - low) / 255, 1.0)
    from_low, from_high = -128 - low / scales, 127 - high / scales
    errors = 128 + np.abs(low / scales), 127 + np.abs(high / scales)
    zeros = np.clip(np.rint(np.where(errors[0] < errors[1], from_low, from_high)), -128, 127)
    shape = (-1,) + (1,) * (x.ndim - 1)
    scales, zeros = (v.reshape(shape) for v in (scales.astype(np.float32), zeros))
    inverse = (np.float32(1) / scales).astype(np.float32)
    out = np.floor(x * inverse + zeros.astype(np.float32) + np.float32(0.5))
    return np.clip(out, -128, 127).astype(np.float64), scales.astype(np.float64), zeros
