"""Convolutions of uniformly quantized numbers, with all of XLA's options: any layout, dilated inputs, groups.

Where the dimensions lie, a message tells (UniformQuantizedConvolutionDimensionNumbersAttr, whose fields are read here),
else batch and features come first: NCHW, OIHW, NCHW. What is padded stands for 0.0. See the ops' documentation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from coldframe.dtypes import DType
from coldframe.formats.wire import decode_varint, fields
from coldframe.ops.table import op
from coldframe.ops.uniform_quantize import by_rows, moved, ratios, scheme
from coldframe.primitives.base import refuse
from coldframe.records import dataclass

Array = npt.NDArray[Any]
Ints = Sequence[int]
_HOST: Final = "ONNX Runtime has no quantized integers in TensorFlow's ranges"
_SIDES: Final = tuple(f"{side}_quantization_{end}_val" for side in ("lhs", "rhs") for end in ("min", "max"))


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where dimensions lie: batch, features and space of input and output; of the kernel output and input features."""

    input: tuple[int, ...]
    kernel: tuple[int, ...]
    output: tuple[int, ...]

    @classmethod
    def of(cls, text: str, rank: int) -> _Layout:
        """Read the message; an empty one is the default."""
        if not text:
            plain = tuple(range(rank))
            return cls(plain, plain, plain)
        one: dict[int, list[int]] = {n: [] for n in range(1, 10)}
        try:
            for number, payload in fields(text.encode("utf-8", "surrogateescape")):
                one.setdefault(number, []).extend(_numbers(payload))
        except ValueError as e:
            raise refuse("`dimension_numbers` is no message", found=repr(text)) from e
        single = {n: (one[n] or [0])[-1] for n in (1, 2, 4, 5, 7, 8)}
        made = cls(
            (single[1], single[2], *one[3]), (single[5], single[4], *one[6]), (single[7], single[8], *one[9])
        )  # fmt: skip
        for order in (made.input, made.kernel, made.output):
            if sorted(order) != list(range(rank)):
                raise refuse("`dimension_numbers`", expected=f"each of {rank} dimensions once", found=list(order))
        return made


def _numbers(payload: int | bytes) -> list[int]:
    """A number, or several that are packed."""
    if isinstance(payload, int):
        return [payload]
    found, at = [], 0
    while at < len(payload):
        number, at = decode_varint(payload, at, len(payload))
        found.append(number)
    return found


@dataclass(frozen=True, slots=True, eq=False)
class _Convolution:
    """The attributes of a call, checked against the shapes."""

    layout: _Layout
    strides: Ints
    padding: Any
    lhs_dilation: Ints
    rhs_dilation: Ints
    batch_groups: int
    feature_groups: int

    @classmethod
    def of(
        cls, lhs: Array, rhs: Array, *, window_strides: Ints, padding: str, explicit_padding: Ints, lhs_dilation: Ints,
        rhs_dilation: Ints, batch_group_count: int, feature_group_count: int, dimension_numbers: str,
    ) -> _Convolution:  # fmt: skip
        """Check the attributes of a call.

        Raises:
            ExecutionError: they do not fit the tensors, or each other.
        """
        if lhs.ndim != rhs.ndim or lhs.ndim < 3:
            raise refuse("ranks of input and kernel", expected="the same, 3 or more", found=[lhs.ndim, rhs.ndim])
        space = lhs.ndim - 2
        lists = {"window_strides": window_strides, "lhs_dilation": lhs_dilation, "rhs_dilation": rhs_dilation}
        for name, given in lists.items():
            if given and (len(given) != space or min(given) < 1):
                raise refuse(f"`{name}`", expected=f"{space} positive numbers", found=list(given))
        if padding not in ("EXPLICIT", "SAME", "VALID"):
            raise refuse("`padding`", expected="EXPLICIT, SAME or VALID", found=padding)
        is_explicit = padding == "EXPLICIT"
        if len(explicit_padding) != (2 * space if is_explicit else 0) or min(explicit_padding, default=0) < 0:
            expected = f"{2 * space} numbers, none below 0" if is_explicit else "none"
            raise refuse("`explicit_padding`", expected=expected, found=list(explicit_padding))
        pairs = tuple(zip(explicit_padding[::2], explicit_padding[1::2], strict=True))
        ones = (1,) * space
        made = cls(
            _Layout.of(dimension_numbers, lhs.ndim), window_strides or ones, pairs if is_explicit else padding,
            lhs_dilation or ones, rhs_dilation or ones, batch_group_count, feature_group_count,
        )  # fmt: skip
        made._check_groups(lhs, rhs)
        return made

    def _check_groups(self, lhs: Array, rhs: Array) -> None:
        batch, features = (lhs.shape[self.layout.input[k]] for k in (0, 1))
        outputs, inputs = (rhs.shape[self.layout.kernel[k]] for k in (0, 1))
        groups = {"batch_group_count": self.batch_groups, "feature_group_count": self.feature_groups}
        if min(groups.values()) < 1:
            raise refuse("counts of groups", expected="positive numbers", found=groups)
        if min(self.batch_groups, self.feature_groups) > 1:
            raise refuse("counts of groups", expected="one of them 1", found=groups)
        if features != inputs * self.feature_groups or batch % self.batch_groups:
            raise refuse(
                "input and kernel do not fit", expected=f"{inputs * self.feature_groups} features", found=features
            )
        if outputs % (self.batch_groups * self.feature_groups):
            raise refuse("output features", expected="a multiple of the number of groups", found=outputs)

    def run(self, xp: Any, lhs: Array, rhs: Array) -> Array:
        """Correlate whole numbers, in float64; the result has batch and features first."""
        x, w = lhs.transpose(self.layout.input), rhs.transpose(self.layout.kernel)
        if any(d > 1 for d in self.lhs_dilation):
            x = _dilated(x, self.lhs_dilation)
        options = {"strides": self.strides, "padding": self.padding, "dilations": self.rhs_dilation}
        if self.batch_groups == 1:
            return np.asarray(xp.conv(x, w, groups=self.feature_groups, **options))
        parts = zip(np.split(x, self.batch_groups), np.split(w, self.batch_groups), strict=True)
        return np.concatenate([xp.conv(a, b, groups=1, **options) for a, b in parts], axis=1)

    def placed(self, out: Array) -> Array:
        """The result in the order of the layout."""
        return out.transpose(np.argsort(self.layout.output))


def _dilated(x: Array, steps: Ints) -> Array:
    """Zeros put between the elements of the spatial dimensions."""
    space = [(n - 1) * d + 1 if n else 0 for n, d in zip(x.shape[2:], steps, strict=True)]
    out = np.zeros((*x.shape[:2], *space), x.dtype)
    out[(slice(None), slice(None), *(slice(None, None, d) for d in steps))] = x
    return out


@op("UniformQuantizedConvolution", host=_HOST, heavy=True, windows=True, ignores=_SIDES)
def uniform_quantized_convolution(
    xp: Any, lhs: Array, rhs: Array, lhs_scales: Array, lhs_zero_points: Array, rhs_scales: Array,
    rhs_zero_points: Array, output_scales: Array, output_zero_points: Array, *, Tout: DType, window_strides: Ints,
    padding: str, explicit_padding: Ints, lhs_dilation: Ints, rhs_dilation: Ints, batch_group_count: int,
    feature_group_count: int, dimension_numbers: str, lhs_quantization_axis: int, rhs_quantization_axis: int,
    output_quantization_axis: int, output_quantization_min_val: int, output_quantization_max_val: int,
) -> Any:  # fmt: skip
    """Correlate quantized images with quantized filters."""
    made = _Convolution.of(
        lhs, rhs, window_strides=window_strides, padding=padding, explicit_padding=explicit_padding,
        lhs_dilation=lhs_dilation, rhs_dilation=rhs_dilation, batch_group_count=batch_group_count,
        feature_group_count=feature_group_count, dimension_numbers=dimension_numbers,
    )  # fmt: skip
    a = scheme("the input", lhs_scales, lhs_zero_points, lhs_quantization_axis, lhs.shape)
    b = scheme("the kernel", rhs_scales, rhs_zero_points, rhs_quantization_axis, rhs.shape)
    _only_features(rhs_quantization_axis, made.layout.kernel[0], "the kernel")
    _only_features(output_quantization_axis, made.layout.output[1], "the output")
    sums = made.placed(made.run(xp, lhs.astype(np.float64) - a.zeros, rhs.astype(np.float64) - b.zeros))
    new = scheme("the output", output_scales, output_zero_points, output_quantization_axis, sums.shape)
    per_feature = [1] * sums.ndim
    per_feature[made.layout.output[1]] = -1
    kernel_scales = b.scales if b.scales.ndim == 0 else b.scales.reshape(per_feature)
    ratio = ratios(a.scales.astype(np.float64) * kernel_scales, new.scales)
    low, high = output_quantization_min_val, output_quantization_max_val
    return moved(sums.astype(np.int64), ratio, new.zeros, low, high).astype(Tout.numpy)


def _only_features(axis: int, wanted: int, name: str) -> None:
    if axis not in (-1, wanted):
        raise refuse(f"the quantization axis of {name}", expected=f"-1 or {wanted}, the features", found=axis)


@op(
    "UniformQuantizedConvolutionHybrid", host=_HOST, heavy=True, windows=True,
    ignores=("rhs_quantization_min_val", "rhs_quantization_max_val", "Tout"),
)  # fmt: skip
def uniform_quantized_convolution_hybrid(
    xp: Any, lhs: Array, rhs: Array, rhs_scales: Array, rhs_zero_points: Array, *, window_strides: Ints, padding: str,
    explicit_padding: Ints, lhs_dilation: Ints, rhs_dilation: Ints, batch_group_count: int, feature_group_count: int,
    dimension_numbers: str, rhs_quantization_axis: int,
) -> Any:  # fmt: skip
    """Correlate images of floats, quantized on the way one by one, with quantized filters."""
    made = _Convolution.of(
        lhs, rhs, window_strides=window_strides, padding=padding, explicit_padding=explicit_padding,
        lhs_dilation=lhs_dilation, rhs_dilation=rhs_dilation, batch_group_count=batch_group_count,
        feature_group_count=feature_group_count, dimension_numbers=dimension_numbers,
    )  # fmt: skip
    b = scheme("the kernel", rhs_scales, rhs_zero_points, rhs_quantization_axis, rhs.shape)
    _only_features(rhs_quantization_axis, made.layout.kernel[0], "the kernel")
    if made.batch_groups > 1:
        raise refuse("`batch_group_count` of floats that are quantized image by image", expected=1)
    back = np.argsort(made.layout.input)
    q, scales, zeros = by_rows(lhs.transpose(made.layout.input))
    sums = made.run(xp, (q - zeros).transpose(back), rhs.astype(np.float64) - b.zeros)
    kernel_scales = b.scales if b.scales.ndim == 0 else b.scales.reshape([1, -1] + [1] * (lhs.ndim - 2))
    return made.placed((sums * scales * kernel_scales.astype(np.float64)).astype(np.float32))
