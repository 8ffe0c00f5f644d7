"""Quantized convolutions and products with what follows them, as Intel's quantization tools write them for oneDNN.

::

    quint8 | qint8  x  qint8 filters  ─►  sums  ─►  + bias  ─►  + summand  ─►  relu  ─►  qint32 | quint8 | qint8

Ranges are symmetric here, unlike elsewhere in TensorFlow: 0 stands for 0, and the largest integer (255, or 127) for the
end of the range that is farther from 0. Filters may have a range per output channel. Without requantization the sums
stay 32-bit integers, of the steps of input times filter; with it they become 8 bits of the range `freezed_output`.

After the comments of tensorflow/core/kernels/mkl/mkl_{conv_ops,qmatmul_op}.cc. In three places TensorFlow 2.21's own
kernels do not compute what those say, and older ones did; here it is computed: 32-bit sums with ranges per channel are
those of their own channel's steps (2.21 brings all to the widest), a signed summand may lead up to 255 (2.21 stops at
127), and MIN_FIRST's correction for the least input is in the steps of the product (2.21 takes it for floats).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from coldframe.dtypes import DType, qint8, qint32, quint8
from coldframe.ops import conv
from coldframe.ops.table import Op
from coldframe.primitives.base import refuse
from coldframe.records import dataclass

Array = npt.NDArray[Any]
Ints = Sequence[int]
_F32 = np.float32
_HOST: Final = "ONNX Runtime has no quantized integers in TensorFlow's ranges"
_MOST: Final = {quint8: 255, qint8: 127}
_SPAN: Final = {quint8: 255, qint8: 254}  # steps of a range from end to end


@dataclass(frozen=True, slots=True)
class Range:
    """The ends of a range, or of one per channel: float32, scalars or vectors."""

    low: Array
    high: Array

    @classmethod
    def of(cls, name: str, low: Array, high: Array, *, channels: int = 0) -> Range:
        """Check that the ends are scalars, or, where there are `channels`, vectors of one or of as many.

        Raises:
            ExecutionError: they are not.
        """
        for v in (low, high):
            if v.ndim and not (channels and v.ndim == 1 and v.size in (1, channels)):
                expected = f"a scalar, or {channels} values" if channels else "a scalar"
                raise refuse(f"the range of {name}", expected=expected, found=f"shape {list(v.shape)}")
        return cls(low, high)

    def step(self, kind: DType) -> Array:
        """What one step stands for, in float32."""
        return np.asarray(np.maximum(np.abs(self.low), np.abs(self.high)) / _F32(_MOST[kind]), _F32)

    def span(self, kind: DType) -> Array:
        """One step of the range from end to end."""
        return np.asarray((self.high - self.low) / _F32(_SPAN[kind]), _F32)


def _product_range(x: Range, x_kind: DType, w: Range, w_kind: DType) -> tuple[Array, Array]:
    """The range of 32-bit sums, scalars or one per channel."""
    step = np.asarray(x.span(x_kind) * w.span(w_kind), _F32)
    return np.asarray(step * _F32(-(2**31))), np.asarray(step * _F32(2**31))


def _rounded(x: Array, kind: DType) -> Array:
    info = np.iinfo(kind.numpy)
    whole = np.rint(np.nan_to_num(x.astype(np.float64), posinf=2.0**40, neginf=-(2.0**40)))
    return np.asarray(np.clip(whole, info.min, info.max)).astype(np.int64).astype(kind.numpy)


@dataclass(frozen=True, slots=True)
class Fusion:
    """What follows the sums.

    Attributes:
        bias: whether a bias per channel is added: of floats, or of integers in the steps of the sums.
        summand: whether a tensor is added.
        relu: whether what is below 0 becomes 0.
        requantize: whether the result is 8 bits.
        dequantize: whether it is floats.
    """

    bias: bool = False
    summand: bool = False
    relu: bool = False
    requantize: bool = False
    dequantize: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class _Rest:
    """What comes in beside the product: bias, ranges of 8-bit results, summand and its range."""

    bias: Array | None
    output: Range | None
    summand: Array | None
    summand_range: Range | None


def _finish(sums: Array, step: Array, rest: _Rest, fusion: Fusion, out_type: DType, summand_type: DType | None) -> Any:
    """Sums, whole numbers in float64, with all that follows; `step` is what 1 of a sum stands for."""
    if not (fusion.requantize or fusion.dequantize):
        return _finish_wide(sums, step, rest, fusion)
    real = np.asarray(sums.astype(_F32) * step, _F32)
    if rest.bias is not None:
        real = real + (rest.bias if rest.bias.dtype == _F32 else rest.bias.astype(_F32) * step)
    if fusion.dequantize:
        return np.maximum(real, 0) if fusion.relu else real
    assert rest.output is not None
    with np.errstate(divide="ignore", invalid="ignore"):
        out = real * (_F32(1) / rest.output.step(out_type))
        if rest.summand is not None and rest.summand_range is not None:
            ratio = rest.summand_range.step(summand_type or quint8) / rest.output.step(out_type)
            out = out + rest.summand.astype(_F32) * ratio
    return _rounded(np.maximum(out, 0) if fusion.relu else out, out_type)


def _finish_wide(sums: Array, step: Array, rest: _Rest, fusion: Fusion) -> Array:
    if rest.bias is None and rest.summand is None:
        out = sums
    elif rest.bias is not None and rest.bias.dtype == np.int32:
        out = sums + rest.bias
    else:
        real = np.asarray(sums.astype(_F32) * step + (0 if rest.bias is None else rest.bias), _F32)
        with np.errstate(divide="ignore", invalid="ignore"):
            added = 0 if rest.summand is None else np.rint(rest.summand / step)
            out = np.rint(real * (_F32(1) / step) + added)
    return _rounded(np.maximum(out, 0) if fusion.relu else out, qint32)


def _bias(bias: Array | None, channels: int) -> None:
    if bias is not None and bias.shape != (channels,):
        raise refuse("one bias per output channel", expected=[channels], found=list(bias.shape))


# --- convolutions -----------------------------------------------------------------------------------------------
def convolution(
    xp: Any, inputs: Sequence[Array], fusion: Fusion,
    *, depthwise: bool, Tinput: DType, Tfilter: DType, out_type: DType, strides: Ints, padding: str, dilations: Ints,
    padding_list: Ints = (), Tsummand: DType | None = None,
) -> Any:  # fmt: skip
    """Correlate quantized images with qint8 filters, and do what follows; `inputs` as the ops list them."""
    left = list(inputs)
    x, w = left.pop(0), left.pop(0)
    bias = left.pop(0) if fusion.bias else None
    if w.ndim != 4:
        raise refuse("the filter", expected="rank 4", found=f"shape {list(w.shape)}")
    channels = w.shape[2] * w.shape[3] if depthwise else w.shape[3]
    x_range = Range.of("the input", left.pop(0), left.pop(0))
    w_range = Range.of("the filter", left.pop(0), left.pop(0), channels=channels)
    output = Range.of("the output", left.pop(0), left.pop(0)) if fusion.requantize else None
    summand = left.pop(0) if fusion.summand else None
    summand_range = Range.of("the summand", left.pop(0), left.pop(0)) if left else None
    _bias(bias, channels)
    op = conv.depthwise_conv2d if depthwise else conv.conv2d
    sums = np.asarray(
        op.body(
            xp, x.astype(np.float64), w.astype(np.float64), strides=strides, dilations=dilations, data_format="NHWC",
            padding="EXPLICIT" if padding_list else padding, explicit_paddings=padding_list,
        )
    )  # fmt: skip
    if summand is not None and summand.shape != sums.shape:
        raise refuse("the summand", expected=f"shape {list(sums.shape)}", found=list(summand.shape))
    step = np.asarray(x_range.step(Tinput) * w_range.step(Tfilter), _F32)
    rest = _Rest(bias, output, summand, summand_range)
    out = _finish(sums, step, rest, fusion, out_type, Tsummand)
    if output is not None:
        return out, output.low, output.high
    return out, *_product_range(x_range, Tinput, w_range, Tfilter)


def _convolution(name: str, doc: str, *, depthwise: bool = False, **flags: bool) -> Op:
    fusion = Fusion(**flags)

    def run(
        xp: Any, *inputs: Array, Tinput: DType, Tfilter: DType, out_type: DType, strides: Ints, padding: str,
        dilations: Ints, padding_list: Ints = (), Tsummand: DType | None = None,
    ) -> Any:  # fmt: skip
        return convolution(
            xp, inputs, fusion, depthwise=depthwise, Tinput=Tinput, Tfilter=Tfilter, out_type=out_type,
            strides=strides, padding=padding, dilations=dilations, padding_list=padding_list, Tsummand=Tsummand,
        )  # fmt: skip

    run.__doc__ = doc
    return Op(name, run, host=_HOST, heavy=True, windows=True, ignores=("Tbias",))


_THEN: Final = {  # what names say, and what they mean
    "AndRelu": "rectified",
    "AndRequantize": "in 8 bits",
    "AndReluAndRequantize": "rectified, in 8 bits",
    "SumAndRelu": "plus a tensor of floats, rectified",
    "SumAndReluAndRequantize": "plus a quantized tensor, rectified, in 8 bits",
    "SignedSumAndReluAndRequantize": "plus a tensor quantized with signs, rectified, in 8 bits",
    "AndDequantize": "as floats",
    "": "in 32 bits",
}


def _flags(then: str) -> dict[str, bool]:
    return {"summand": "Sum" in then, "relu": "Relu" in then, "requantize": "Requantize" in then}


CONVOLUTIONS = [
    _convolution("QuantizedConv2DPerChannel", "Correlate quantized images, with ranges per channel, in 32 bits."),
    *[
        _convolution(f"QuantizedConv2D{then}", f"Correlate images with filters; {_THEN[then]}.", **_flags(then))
        for then in ("AndRelu", "AndRequantize", "AndReluAndRequantize")
    ],
    *[
        _convolution(
            f"QuantizedConv2DWithBias{then}", f"Correlate quantized images with filters, plus a bias; {_THEN[then]}.",
            bias=True, **_flags(then),
        )
        for then in (
            "", "AndRelu", "AndRequantize", "AndReluAndRequantize", "SumAndRelu", "SumAndReluAndRequantize",
            "SignedSumAndReluAndRequantize",
        )
    ],
    _convolution(
        "QuantizedDepthwiseConv2D", "Correlate each channel of quantized images with filters of its own, in 32 bits.",
        depthwise=True,
    ),
    *[
        _convolution(
            f"QuantizedDepthwiseConv2DWithBias{then}",
            f"Correlate each channel of quantized images with filters of its own, plus a bias; {_THEN[then]}.",
            depthwise=True, bias=True, **_flags(then),
        )
        for then in ("", "AndRelu", "AndReluAndRequantize")
    ],
]  # fmt: skip


# --- products ---------------------------------------------------------------------------------------------------
def _product(name: str, doc: str, fusion: Fusion) -> Op:
    def run(
        xp: Any, a: Array, b: Array, bias: Array, min_a: Array, max_a: Array, min_b: Array, max_b: Array,
        *ends: Array, T1: DType, T2: DType, Toutput: DType, transpose_a: bool, transpose_b: bool,
        input_quant_mode: str,
    ) -> Any:  # fmt: skip
        for which, m in (("a", a), ("b", b)):
            if m.ndim != 2:
                raise refuse(f"`{which}` is not a matrix", found=f"shape {list(m.shape)}")
        x, y = (a.T if transpose_a else a), (b.T if transpose_b else b)
        if x.shape[1] != y.shape[0]:
            raise refuse("the matrices do not fit", found=f"{list(x.shape)} and {list(y.shape)}")
        _bias(bias, y.shape[1])
        a_range, b_range = Range.of("`a`", min_a, max_a), Range.of("`b`", min_b, max_b)
        output = Range.of("the output", *ends) if ends else None
        sums = x.astype(np.float64) @ y.astype(np.float64)
        from_least = input_quant_mode == "MIN_FIRST"
        if from_least and bias.dtype == _F32:  # integers count from the least input; a bias of integers knows that
            with np.errstate(divide="ignore", invalid="ignore"):
                sums = np.rint(sums + y.sum(axis=0, dtype=np.float64) * (a_range.low / a_range.span(T1)))
        step = np.asarray((a_range.span(T1) if from_least else a_range.step(T1)) * b_range.step(T2), _F32)
        out = _finish(sums, step, _Rest(bias, output, None, None), fusion, Toutput, None)
        if fusion.dequantize:
            return out
        if fusion.requantize and output is not None:
            return out, output.low, output.high
        return out, *_product_range(a_range, T1, b_range, T2)

    run.__doc__ = doc
    return Op(name, run, host=_HOST, heavy=True, ignores=("Tbias",))


PRODUCTS = [
    _product(
        f"QuantizedMatMulWithBias{then}", f"The product of quantized matrices, plus a bias; {_THEN[then]}.",
        Fusion(bias=True, dequantize="Dequantize" in then, **_flags(then)),
    )
    for then in ("", "AndRelu", "AndReluAndRequantize", "AndRequantize", "AndDequantize")
]  # fmt: skip
