"""The kernels of TensorFlow 1's quantized graphs: integers that stand for the floats of a range, beside that range.

A range [min, max] is spread over all integers of a dtype, of which the lowest stands for min; steps are counted from 0,
so that 0.0 is (nearly) an integer. Products are summed in 32 bits and get a range of their own; Requantize brings them
back to 8. See TensorFlow's guide to quantization and the kernels' headers for the arithmetic, which is followed to the
bit: floats where the kernels have floats, doubles where they have doubles.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from coldframe.dtypes import DType, qint8, qint32, quint8
from coldframe.ops import conv, image, pool, quantized_fused
from coldframe.ops.layouts import check_rank
from coldframe.ops.table import Op, op
from coldframe.primitives.base import refuse

Array = npt.NDArray[Any]
Ints = Sequence[int]
_F32 = np.float32
_HOST = "ONNX Runtime has no quantized integers in TensorFlow's ranges"


# --- floats and integers ----------------------------------------------------------------------------------------
def _ends(kind: DType) -> tuple[int, int]:
    info = np.iinfo(kind.numpy)
    return int(info.min), int(info.max)


def _scalar(name: str, v: Array) -> np.float32:
    if v.size != 1:
        raise refuse(f"`{name}` is not a scalar", found=f"shape {list(v.shape)}")
    return _F32(v.reshape(())[()])


def _rounded(x: Any) -> Any:
    """Round half away from 0."""
    return np.copysign(np.floor(np.abs(x) + 0.5), x)


def _width(kind: DType, low: np.float32, high: np.float32) -> tuple[float, float]:
    """How many integers there are, and the width of the range of as many steps, which is a bit wider than given."""
    least, most = _ends(kind)
    steps = float(most - least + 1)
    return steps, float(high - low) * (steps / (steps - 1.0))


def _integer(x: Any, kind: DType, low: np.float32, high: np.float32) -> Any:
    """The integer for a float, not clamped."""
    if low == high:
        return np.zeros(np.shape(x))
    steps, width = _width(kind, low, high)
    scale = steps / width
    return _rounded(np.asarray(x, np.float64) * scale) - _rounded(float(low) * scale) + _ends(kind)[0]


def _clamped(x: Any, kind: DType) -> Array:
    least, most = _ends(kind)
    return np.asarray(np.clip(x, least, most)).astype(np.int64).astype(kind.numpy)


def _float(x: Array, kind: DType, low: np.float32, high: np.float32) -> Array:
    """The floats that integers stand for."""
    if low == high:
        return np.full(x.shape, low, _F32)
    steps, width = _width(kind, low, high)
    step = width / steps
    origin = _rounded(_F32(low / _F32(step))) * _F32(step)
    return np.asarray(float(origin) + (x.astype(np.float64) - _ends(kind)[0]) * step).astype(_F32)


def _zero(kind: DType, low: np.float32, high: np.float32) -> int:
    """The integer that stands for 0."""
    return int(_integer(0.0, kind, low, high))


def _product_range(a: DType, low_a: Any, high_a: Any, b: DType, low_b: Any, high_b: Any) -> tuple[Array, Array]:
    """The range of 32-bit sums of products."""
    steps = [
        _F32(high - low) / _F32(np.diff(_ends(kind))[0]) for kind, low, high in ((a, low_a, high_a), (b, low_b, high_b))
    ]
    step = _F32(steps[0] * steps[1])
    least, most = _ends(qint32)
    return np.asarray(step * _F32(least)), np.asarray(step * _F32(most))


def _wrapped(x: Array) -> Array:
    """Whole numbers as the 32-bit integers that sums of them become."""
    return x.astype(np.int64).astype(np.int32)


def _in_floats(x: Array, kind: DType, old: Sequence[np.float32], to: DType, new: Sequence[np.float32]) -> Array:
    """Numbers of one range in another one, computed in float32 throughout."""
    (least, most), (bottom, top) = _ends(kind), _ends(to)
    step, scale = _F32(float(old[1] - old[0]) / (most - least)), _F32((top - bottom) / float(new[1] - new[0]))
    origin = old[0] if old[0] == old[1] else _F32(_rounded(old[0] / step)) * step
    real = (x.astype(_F32) - _F32(least)) * step + origin
    shift = _F32(_rounded(new[0] * scale)) - _F32(bottom)
    return _clamped(_rounded(real * scale).astype(_F32) - shift, to)


# --- products ---------------------------------------------------------------------------------------------------
@op("QuantizedMatMul", host=_HOST, heavy=True, ignores=("Tactivation",))
def quantized_matmul(
    xp: Any, a: Array, b: Array, min_a: Array, max_a: Array, min_b: Array, max_b: Array,
    *, T1: DType, T2: DType, Toutput: DType, transpose_a: bool, transpose_b: bool,
) -> Any:  # fmt: skip
    """The product of two matrices of quantized numbers, in 32 bits."""
    la, ha, lb, hb = _wide(min_a=min_a, max_a=max_a, min_b=min_b, max_b=max_b)
    for name, m in (("a", a), ("b", b)):
        if m.ndim != 2:
            raise refuse(f"`{name}` is not a matrix", found=f"shape {list(m.shape)}")
    x, y = (a.T if transpose_a else a), (b.T if transpose_b else b)
    if x.shape[1] != y.shape[0]:
        raise refuse("the matrices do not fit", found=f"{list(x.shape)} and {list(y.shape)}")
    out = (x.astype(np.float64) - _zero(T1, la, ha)) @ (y.astype(np.float64) - _zero(T2, lb, hb))
    return _wrapped(out), *_product_range(T1, la, ha, T2, lb, hb)


def _ranges(**ends: Array) -> list[np.float32]:
    return [_scalar(name, v) for name, v in ends.items()]


def _wide(**ends: Array) -> list[np.float32]:
    """Ranges, in pairs of ends, of which none is empty."""
    found = _ranges(**ends)
    for name, low, high in zip(list(ends)[1::2], found[::2], found[1::2], strict=True):
        if not low < high:
            raise refuse(f"`{name}` is not above the least value", expected=f"more than {low}", found=high)
    return found


@op("QuantizedConv2D", host=_HOST, heavy=True, windows=True)
def quantized_conv2d(
    xp: Any, input: Array, filter: Array, min_input: Array, max_input: Array, min_filter: Array, max_filter: Array,
    *, Tinput: DType, Tfilter: DType, out_type: DType, strides: Ints, padding: str, dilations: Ints,
) -> Any:  # fmt: skip
    """Correlate quantized images with quantized filters, in 32 bits; filters with signs have symmetric ranges."""
    if Tfilter is qint8:
        inputs = (input, filter, min_input, max_input, min_filter, max_filter)
        return quantized_fused.convolution(
            xp, inputs, quantized_fused.Fusion(), depthwise=False, Tinput=Tinput, Tfilter=Tfilter, out_type=out_type,
            strides=strides, padding=padding, dilations=dilations,
        )  # fmt: skip
    lx, hx, lw, hw = _ranges(min_input=min_input, max_input=max_input, min_filter=min_filter, max_filter=max_filter)
    if set(dilations) != {1}:
        raise refuse("a quantized convolution has no dilations", expected=[1, 1, 1, 1], found=list(dilations))
    x, w = input.astype(np.float64) - _zero(Tinput, lx, hx), filter.astype(np.float64) - _zero(Tfilter, lw, hw)
    out = conv.conv2d.body(
        xp, x, w, strides=strides, padding=padding, explicit_paddings=(), data_format="NHWC", dilations=dilations
    )  # fmt: skip
    return _wrapped(out), *_product_range(Tinput, lx, hx, Tfilter, lw, hw)


@op("QuantizedMul", host=_HOST)
def quantized_mul(
    xp: Any, x: Array, y: Array, min_x: Array, max_x: Array, min_y: Array, max_y: Array,
    *, T1: DType, T2: DType, Toutput: DType,
) -> Any:  # fmt: skip
    """The product of quantized numbers, in 32 bits."""
    lx, hx, ly, hy = _wide(min_x=min_x, max_x=max_x, min_y=min_y, max_y=max_y)
    out = (x.astype(np.int64) - _zero(T1, lx, hx)) * (y.astype(np.int64) - _zero(T2, ly, hy))
    return _wrapped(out), *_product_range(T1, lx, hx, T2, ly, hy)


# --- sums -------------------------------------------------------------------------------------------------------
def _room(doublings: int, ranges: Sequence[np.float32]) -> tuple[np.float32, np.float32]:
    """A range around 0 with room for many sums."""
    lx, hx, ly, hy = ranges
    most = _F32(max(hx, -lx, hy, -ly) * _F32(2**doublings))
    return _F32(-most), most


def _moved(x: Array, kind: DType, low: np.float32, high: np.float32, room: Sequence[np.float32], exact: bool) -> Array:
    """Numbers in the 32 bits of `room`; not exactly: by a whole number of its steps for each step of their range."""
    if exact:
        return _clamped(_integer(_float(x, kind, low, high), qint32, *room), qint32).astype(np.int64)
    zero, one = (int(_integer(_float(np.array(v), kind, low, high), qint32, *room)) for v in (0, 1))
    return np.clip(zero + x.astype(np.int64) * (one - zero), *_ends(qint32))


@op("QuantizedAdd", host=_HOST)
def quantized_add(
    xp: Any, x: Array, y: Array, min_x: Array, max_x: Array, min_y: Array, max_y: Array,
    *, T1: DType, T2: DType, Toutput: DType,
) -> Any:  # fmt: skip
    """The sum of quantized numbers, in 32 bits."""
    lx, hx, ly, hy = ranges = _wide(min_x=min_x, max_x=max_x, min_y=min_y, max_y=max_y)
    room = _room(14, ranges)
    out = _wrapped(_moved(x, T1, lx, hx, room, x.size == 1) + _moved(y, T2, ly, hy, room, y.size == 1))
    return out, np.asarray(room[0]), np.asarray(room[1])


@op("QuantizedBiasAdd", shape="x [n] [] [] [] [] -> x [] []", host=_HOST)
def quantized_bias_add(
    xp: Any, input: Array, bias: Array, min_input: Array, max_input: Array, min_bias: Array, max_bias: Array,
    *, T1: DType, T2: DType, out_type: DType,
) -> Any:  # fmt: skip
    """Quantized numbers plus one bias per index of the last dimension, in 32 bits."""
    if input.ndim < 2 or bias.shape != input.shape[-1:]:
        raise refuse(
            "one bias per index of the last dimension", expected=list(input.shape[-1:]), found=list(bias.shape)
        )
    lx, hx, ly, hy = ranges = _ranges(min_input=min_input, max_input=max_input, min_bias=min_bias, max_bias=max_bias)
    room = _room(17, ranges)
    moved = _in_floats(input, T1, (lx, hx), qint32, room).astype(np.int64)
    out = _wrapped(moved + _moved(bias, T2, ly, hy, room, True))
    return out, np.asarray(room[0]), np.asarray(room[1])


# --- activations and pools --------------------------------------------------------------------------------------
def _rectifier(name: str, most: float | None) -> Op:
    def run(xp: Any, features: Array, min_features: Array, max_features: Array, *, Tinput: DType) -> Any:
        low, high = _ranges(min_features=min_features, max_features=max_features)
        out = np.maximum(features, _clamped(_integer(0.0, Tinput, low, high), Tinput))
        if most is not None:
            out = np.minimum(out, _clamped(_integer(most, Tinput, low, high), Tinput))
        return out, np.asarray(low), np.asarray(high)

    run.__doc__ = "Quantized numbers, those below 0 as 0" + ("" if most is None else f", those above {most:g} as that")
    return Op(name, run, shape="x [] [] -> x [] []", host=_HOST, ignores=("out_type",))


RECTIFIERS = [_rectifier("QuantizedRelu", None), _rectifier("QuantizedRelu6", 6.0)]


@op("QuantizedMaxPool", host=_HOST, heavy=True, windows=True)
def quantized_max_pool(
    xp: Any, input: Array, min_input: Array, max_input: Array, *, ksize: Ints, strides: Ints, padding: str
) -> Any:
    """The largest quantized number of each window."""
    low, high = _ranges(min_input=min_input, max_input=max_input)
    out = pool.max_pool.body(
        xp, input.astype(np.float32), ksize=ksize, strides=strides, padding=padding, explicit_paddings=(),
        data_format="NHWC",
    )  # fmt: skip
    return out.astype(input.dtype), np.asarray(low), np.asarray(high)


@op("QuantizedAvgPool", host=_HOST, heavy=True, windows=True)
def quantized_avg_pool(
    xp: Any, input: Array, min_input: Array, max_input: Array, *, ksize: Ints, strides: Ints, padding: str
) -> Any:
    """The average of the quantized numbers of each window, rounded down."""
    low, high = _ranges(min_input=min_input, max_input=max_input)
    out = pool.avg_pool.body(
        xp, input.astype(np.float64), ksize=ksize, strides=strides, padding=padding, data_format="NHWC"
    )
    return np.trunc(out + 1e-9 * np.sign(out)).astype(input.dtype), np.asarray(low), np.asarray(high)


# --- ranges -----------------------------------------------------------------------------------------------------
def _used(x: Array, kind: DType, low: np.float32, high: np.float32) -> tuple[np.float32, np.float32]:
    """The part of a range that numbers take, which includes 0."""
    if not x.size:
        raise refuse("no numbers to take the range of", found=f"shape {list(x.shape)}")
    ends = _float(np.array([x.min(), x.max()]), kind, low, high)
    return _F32(min(ends[0], _F32(0))), _F32(ends[1])


@op("RequantizationRange", shape="x [] [] -> [] []", host=_HOST)
def requantization_range(xp: Any, input: Array, input_min: Array, input_max: Array, *, Tinput: DType) -> Any:
    """The range that quantized numbers take."""
    low, high = _used(input, Tinput, *_ranges(input_min=input_min, input_max=input_max))
    return np.asarray(low), np.asarray(high)


_SHIFT = 16  # bits of the fraction in the fixed-point numbers of `_requantized`


def _requantized(x: Array, kind: DType, old: Sequence[np.float32], to: DType, new: Sequence[np.float32]) -> Array:
    if (kind, to) != (qint32, quint8):
        return _clamped(_integer(_float(x, kind, *old), to, *new), to)
    if new[0] == new[1]:
        return np.zeros(x.shape, np.uint8)
    width, one = _F32(new[1] - new[0]), float(1 << _SHIFT)
    scale = int(255.0 * one * float(_F32(old[1] - old[0])) / float(width))
    middle = int(_F32(float(_F32(old[0] + old[1])) / 2) * _F32(255.0 / float(width)) * _F32(one))
    origin = int(one * (float(new[0]) * 255.0) / float(width))
    fixed = ((x.astype(np.int64) * scale) >> 32) + middle - origin
    out: Array = np.clip((fixed + (1 << (_SHIFT - 1))) >> _SHIFT, 0, 255).astype(np.uint8)
    return out


@op("Requantize", shape="x [] [] [] [] -> x [] []", host=_HOST)
def requantize(
    xp: Any, input: Array, input_min: Array, input_max: Array, requested_output_min: Array,
    requested_output_max: Array, *, Tinput: DType, out_type: DType,
) -> Any:  # fmt: skip
    """Quantized numbers in another range and dtype."""
    old = _ranges(input_min=input_min, input_max=input_max)
    new = _ranges(requested_output_min=requested_output_min, requested_output_max=requested_output_max)
    if new[0] > 0 or new[1] < new[0]:
        raise refuse("the requested range", expected="min <= 0 and min <= max", found=f"{new[0]} to {new[1]}")
    return _requantized(input, Tinput, old, out_type, new), np.asarray(new[0]), np.asarray(new[1])


@op("QuantizeDownAndShrinkRange", shape="x [] [] -> x [] []", host=_HOST)
def quantize_down(xp: Any, input: Array, input_min: Array, input_max: Array, *, Tinput: DType, out_type: DType) -> Any:
    """Quantized numbers in the range that they take."""
    old = _ranges(input_min=input_min, input_max=input_max)
    new = _used(input, Tinput, *old)
    return _requantized(input, Tinput, old, out_type, new), np.asarray(new[0]), np.asarray(new[1])


# --- shapes -----------------------------------------------------------------------------------------------------
@op("QuantizedReshape", host=_HOST)
def quantized_reshape(
    xp: Any, tensor: Array, shape: Array, input_min: Array, input_max: Array, *, T: DType, Tshape: DType
) -> Any:
    """Quantized numbers in another shape."""
    low, high = _ranges(input_min=input_min, input_max=input_max)
    return xp.reshape(tensor, shape), np.asarray(low), np.asarray(high)


def _joined(xp: Any, axis: Array, values: list[Array], mins: list[Array], maxes: list[Array], T: DType) -> Any:
    lows, highs = ([_scalar(name, v) for v in vs] for name, vs in (("input_mins", mins), ("input_maxes", maxes)))
    low, high = min(_F32(0), *lows), max(highs)
    if _ends(T)[0]:  # as far below 0 as above, so that 0 stays 0
        high = max(high, _F32(-low))
        low = _F32(-high)
    if axis.ndim:
        raise refuse("the dimension to join is not a scalar", found=f"shape {list(axis.shape)}")
    parts = [
        v if (a, b) == (low, high) else _in_floats(v, T, (a, b), T, (low, high))
        for v, a, b in zip(values, lows, highs, strict=True)
    ]
    ranks = {p.ndim for p in parts}
    if len(ranks) != 1 or not 0 <= int(axis) < min(ranks):
        raise refuse("tensors that cannot be joined", found=f"ranks {sorted(ranks)}, dimension {int(axis)}")
    return xp.concat(parts, int(axis)), np.asarray(low), np.asarray(high)


@op("QuantizedConcat", host=_HOST)
def quantized_concat(
    xp: Any, concat_dim: Array, values: list[Array], input_mins: list[Array], input_maxes: list[Array], *, T: DType
) -> Any:
    """Quantized tensors joined along a dimension, in a range that holds them all."""
    return _joined(xp, concat_dim, values, input_mins, input_maxes, T)


@op("QuantizedConcatV2", host=_HOST)
def quantized_concat_v2(
    xp: Any, values: list[Array], axis: Array, input_mins: list[Array], input_maxes: list[Array], *, T: DType
) -> Any:
    """Quantized tensors joined along a dimension, in a range that holds them all."""
    return _joined(xp, axis, values, input_mins, input_maxes, T)


# --- norms and images -------------------------------------------------------------------------------------------
@op("QuantizedBatchNormWithGlobalNormalization", host=_HOST, shape="x -> x [] []")
def quantized_batch_norm(
    xp: Any, t: Array, t_min: Array, t_max: Array, m: Array, m_min: Array, m_max: Array, v: Array, v_min: Array,
    v_max: Array, beta: Array, beta_min: Array, beta_max: Array, gamma: Array, gamma_min: Array, gamma_max: Array,
    *, Tinput: DType, out_type: DType, variance_epsilon: float, scale_after_normalization: bool,
) -> Any:  # fmt: skip
    """Batch normalisation of quantized images in fixed-point numbers of a range that is always [-2^20, 2^20]."""
    ends = _ranges(t_min=t_min, t_max=t_max, m_min=m_min, m_max=m_max, v_min=v_min, v_max=v_max, beta_min=beta_min,
                   beta_max=beta_max, gamma_min=gamma_min, gamma_max=gamma_max)  # fmt: skip
    if t.ndim != 4:
        raise refuse("`t` is not a batch of images", expected="rank 4", found=t.ndim)
    for name, channels in (("m", m), ("v", v), ("beta", beta), ("gamma", gamma)):
        if channels.shape != t.shape[3:]:
            raise refuse(f"`{name}`", expected=f"one value for each of {t.shape[3]} channels", found=channels.shape)
    mean, variance, offset, scale = (
        _float(x, Tinput, *ends[2 * k : 2 * k + 2]) for k, x in enumerate((m, v, beta, gamma), start=1)
    )
    factor = _F32(1) / np.sqrt(variance + _F32(variance_epsilon))
    if scale_after_normalization:
        factor = factor * scale
    room = _F32(-(1 << 20)), _F32(1 << 20)
    x, by, plus, one = (
        _clamped(_integer(part, out_type, *room), out_type).astype(np.int64)
        for part in (_float(t, Tinput, *ends[:2]), factor, offset - mean * factor, _F32(1))
    )
    product = (x * by).astype(np.int32).astype(np.int64)  # as 32 bits hold it
    whole = np.sign(product) * (np.abs(product) // one)
    return (whole + plus).astype(np.int32), np.asarray(room[0]), np.asarray(room[1])


@op("QuantizedInstanceNorm", shape="x [] [] -> x [] []", host=_HOST)
def quantized_instance_norm(
    xp: Any, x: Array, x_min: Array, x_max: Array, *, T: DType, output_range_given: bool, given_y_min: float,
    given_y_max: float, variance_epsilon: float, min_separation: float,
) -> Any:  # fmt: skip
    """Quantized images, each channel of each normalised to mean 0 and variance 1."""
    low, high = _ranges(x_min=x_min, x_max=x_max)
    check_rank(xp, x, [4], "the images")
    real = _float(x, T, low, high).astype(np.float64)
    mean, variance = real.mean((1, 2), keepdims=True), real.var((1, 2), keepdims=True)
    out = ((real - mean) / np.sqrt(variance + variance_epsilon)).astype(_F32)
    if output_range_given:
        least, most = _F32(given_y_min), _F32(given_y_max)
    else:
        least, most = out.min(), out.max()
        most = max(most, _F32(least + _F32(min_separation)))
    return _clamped(_integer(out, T, least, most), T), np.asarray(least), np.asarray(most)


_LERP = 7  # bits of the fraction between two pixels


def _fixed_bilinear(x: Array, size: Sequence[int], align_corners: bool, half_pixel_centers: bool) -> Array:
    """Interpolate integers between four pixels, in fixed point."""
    (y0, y1, dy), (x0, x1, dx) = (
        _between(x.shape[axis], size[axis - 1], align_corners, half_pixel_centers) for axis in (1, 2)
    )
    wide, dx, dy = x.astype(np.int64), dx.reshape(1, 1, -1, 1), dy.reshape(1, -1, 1, 1)
    rows = [wide[:, at] for at in (y0, y1)]
    top, bottom = ((r[:, :, x0] << _LERP) + (r[:, :, x1] - r[:, :, x0]) * dx for r in rows)
    out = top + np.trunc((bottom - top) / (1 << _LERP)).astype(np.int64) * dy  # the kernel drops that fraction too
    return ((out + (1 << (_LERP - 1))) >> _LERP).astype(x.dtype)


def _between(n: int, m: int, align_corners: bool, half_pixel_centers: bool) -> tuple[Array, Array, Array]:
    """For each of `m` pixels, its two neighbours among `n`, and how far it is from the first, in 2**_LERP parts."""
    at = image.grid(n, m, align_corners, half_pixel_centers)
    down = np.floor(at)
    low, high = np.maximum(down, 0).astype(np.int64), np.minimum(np.ceil(at), n - 1).astype(np.int64)
    return low, high, ((at - down) * _F32(1 << _LERP)).astype(np.int64)


@op("QuantizedResizeBilinear", host=_HOST)
def quantized_resize(
    xp: Any, images: Array, size: Array, min: Array, max: Array, *, T: DType, align_corners: bool,
    half_pixel_centers: bool,
) -> Any:  # fmt: skip
    """Quantized images of another size."""
    low, high = _ranges(min=min, max=max)
    if T.numpy.kind == "f":
        out = image.resize_bilinear.body(
            xp, images, size, align_corners=align_corners, half_pixel_centers=half_pixel_centers
        )
    else:
        image.check_resize(xp, images, size, align_corners, half_pixel_centers)
        out = _fixed_bilinear(images, [int(v) for v in size], align_corners, half_pixel_centers)
    return out, np.asarray(low), np.asarray(high)
