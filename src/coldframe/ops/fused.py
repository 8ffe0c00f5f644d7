"""What TensorFlow 1's graph transforms join to a convolution: the padding and the resizing of its input.

Of a batch, TensorFlow's kernel gives the first image's result for all; here each image has its own.
"""

from __future__ import annotations

from typing import Any

from coldframe.dtypes import from_numpy
from coldframe.ops import conv, image, layout
from coldframe.ops.table import op

Ints = tuple[int, ...]


def _padded_conv(
    xp: Any, aspect: str, x: Any, paddings: Any, filter: Any, mode: str, strides: Ints, padding: str
) -> Any:
    pad, convolve = (o.rules.get(aspect, o.body) for o in (layout.mirror_pad, conv.conv2d))
    return convolve(
        xp, pad(xp, x, paddings, mode=mode), filter,
        strides=strides, padding=padding, explicit_paddings=(), data_format="NHWC", dilations=(1, 1, 1, 1),
    )  # fmt: skip


@op("FusedPadConv2D", heavy=True, windows=True, static=("paddings",))
def fused_pad_conv2d(xp: Any, input: Any, paddings: Any, filter: Any, *, mode: str, strides: Ints, padding: str) -> Any:
    """Correlate mirror-padded images with filters."""
    return _padded_conv(xp, "", input, paddings, filter, mode, strides, padding)


@op("FusedResizeAndPadConv2D", heavy=True, windows=True, static=("size", "paddings"))
def fused_resize_and_pad_conv2d(
    xp: Any, input: Any, size: Any, paddings: Any, filter: Any,
    *, resize_align_corners: bool, mode: str, strides: Ints, padding: str,
) -> Any:  # fmt: skip
    """Correlate images, resized by linear interpolation and mirror-padded, with filters."""
    x = image.resize_bilinear.body(xp, input, size, align_corners=resize_align_corners, half_pixel_centers=False)
    return _padded_conv(xp, "", xp.cast(x, from_numpy(input.dtype)), paddings, filter, mode, strides, padding)


@fused_resize_and_pad_conv2d.onnx
def _(
    xp: Any, input: Any, size: Any, paddings: Any, filter: Any,
    *, resize_align_corners: bool, mode: str, strides: Ints, padding: str,
) -> Any:  # fmt: skip
    resize = image.resize_bilinear.rules["onnx"]
    x = resize(xp, input, xp.constant(size), align_corners=resize_align_corners, half_pixel_centers=False)
    return _padded_conv(xp, "onnx", xp.cast(x, input.dtype), paddings, filter, mode, strides, padding)
