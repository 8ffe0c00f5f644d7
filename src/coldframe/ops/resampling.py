"""Images scaled and moved, each pixel a weighted sum under a kernel: what `tf.image.resize` does where it antialiases.

An output pixel at ``x + 0.5`` lies at ``(x + 0.5) / scale - translation / scale`` in the input; the kernel, widened
when an image shrinks, weighs the input pixels around it, and the weights sum to 1. Along a dimension that is one
matrix. After ``tensorflow/core/kernels/image/scale_and_translate_op.cc`` and ``sampling_kernels.h``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from coldframe import dtypes
from coldframe.ops.backward import attrs_of
from coldframe.ops.table import op
from coldframe.primitives.base import Unlowerable, refuse
from coldframe.records import dataclass

Array = npt.NDArray[Any]
_F32 = np.float32
_TINY = 1000 * float(np.finfo(np.float32).tiny)  # a sum of weights below it is left as it is


@dataclass(frozen=True, slots=True)
class _Kernel:
    """How much a pixel counts, by its distance (not negative), up to a radius."""

    radius: float
    weight: Callable[[Array], Array]


def _lanczos(radius: float) -> _Kernel:
    def weight(x: Array) -> Array:
        with np.errstate(divide="ignore", invalid="ignore"):
            value = radius * np.sin(np.pi * x) * np.sin(np.pi * x / radius) / (np.pi * np.pi * x * x)
        return np.where(x > radius, 0, np.where(x < 1e-3, 1, value))

    return _Kernel(radius, weight)


def _gaussian(x: Array) -> Array:
    sigma = 0.5  # a third of the radius
    return np.where(x >= 1.5, 0, np.exp(-x * x / (2 * sigma * sigma)))


def _keys(x: Array) -> Array:
    outer, inner = ((-0.5 * x + 2.5) * x - 4) * x + 2, ((1.5 * x - 2.5) * x) * x + 1
    return np.where(x >= 2, 0, np.where(x >= 1, outer, inner))


def _mitchell(x: Array) -> Array:
    outer = ((-7 / 18 * x + 2) * x - 10 / 3) * x + 16 / 9
    return np.where(x >= 2, 0, np.where(x >= 1, outer, ((7 / 6 * x - 2) * x) * x + 8 / 9))


_KERNELS: Mapping[str, _Kernel] = {
    "lanczos1": _lanczos(1),
    "lanczos3": _lanczos(3),
    "lanczos5": _lanczos(5),
    "gaussian": _Kernel(1.5, _gaussian),
    "box": _Kernel(0.5, lambda x: np.where(x < 0.5, 1.0, np.where(x == 0.5, 0.5, 0.0))),
    "triangle": _Kernel(1, lambda x: np.maximum(1 - x, 0)),
    "keyscubic": _Kernel(2, _keys),
    "mitchellcubic": _Kernel(2, _mitchell),
}


def _matrix(n: int, m: int, scale: float, shift: float, kernel: _Kernel, antialias: bool) -> Array:
    """The weights of `n` input pixels in each of `m` output pixels, [m, n]."""
    inverse = _F32(1) / _F32(scale)
    wide = max(float(inverse), 1.0) if antialias else 1.0
    at = (np.arange(m, dtype=_F32) + _F32(0.5)) * inverse - inverse * _F32(shift)
    reach = _F32(kernel.radius * wide)
    first = np.clip(np.ceil(at - reach - _F32(0.5)), 0, n - 1)[:, None]
    last = np.clip(np.floor(at + reach - _F32(0.5)), 0, n - 1)[:, None]
    pixels = np.arange(n, dtype=_F32)
    distance = np.abs(pixels + _F32(0.5) - at[:, None]) * _F32(1 / wide)
    weights = np.where((pixels >= first) & (pixels <= last), kernel.weight(distance.astype(np.float64)), 0)
    total = weights.sum(1, keepdims=True)
    weights = np.where(np.abs(total) >= _TINY, weights / np.where(total == 0, 1, total), weights)
    outside = (at < 0) | (at > n)
    weights[outside] = 0
    return weights.astype(_F32)


def _matrices(
    height: Any, width: Any, size: Array, scale: Array, translation: Array, kernel_type: str, antialias: bool
) -> tuple[Array, Array]:
    for name, v in (("size", size), ("scale", scale), ("translation", translation)):
        if np.shape(v) != (2,):
            raise refuse(f"`{name}` is not one value for height and one for width", found=f"shape {list(np.shape(v))}")
    if kernel_type not in _KERNELS:
        raise refuse("`kernel_type` is not known", expected=", ".join(_KERNELS), found=kernel_type)
    if min(size) <= 0 or not all(v > 0 and math.isfinite(v) for v in scale):
        raise refuse("`size` and `scale` are not positive", found=f"{list(size)} and {list(scale)}")
    if not (isinstance(height, int) and isinstance(width, int)):
        raise Unlowerable("the size of the images is not known when compiling")
    kernel = _KERNELS[kernel_type]
    rows, columns = (
        _matrix(n, int(m), float(s), float(t), kernel, antialias)
        for n, m, s, t in zip((height, width), size, scale, translation, strict=True)
    )
    return rows, columns


def _applied(xp: Any, x: Any, rows: Array, columns: Array) -> Any:
    """Multiply height and width of float32 images by a matrix each."""
    batch, width, depth = (xp.dim(x, i) for i in (0, 2, 3))
    tall, wide = rows.shape[0], columns.shape[0]
    flat = xp.reshape(x, [batch, rows.shape[1], width * depth])
    x = xp.matmul(xp.asarray(rows, dtypes.float32), flat)
    x = xp.reshape(x, [batch, tall, columns.shape[1], depth])
    return xp.reshape(xp.matmul(xp.asarray(columns, dtypes.float32), x), [batch, tall, wide, depth])


_STATIC = ("size", "scale", "translation")


@op("ScaleAndTranslate", static=_STATIC, heavy=True)
def scale_and_translate(
    xp: Any, images: Any, size: Array, scale: Array, translation: Array, *, kernel_type: str, antialias: bool
) -> Any:
    """Images of another size, scaled and moved under a sampling kernel, in float32."""
    if xp.rank(images) != 4:
        raise refuse("the images", expected="[batch, height, width, channels]", found=f"rank {xp.rank(images)}")
    dims = xp.dim(images, 1), xp.dim(images, 2)
    if 0 in [d for d in dims if isinstance(d, int)]:
        raise refuse("images without pixels", found=dims)
    rows, columns = _matrices(*dims, size, scale, translation, kernel_type, antialias)
    return _applied(xp, xp.cast(images, dtypes.float32), rows, columns)


@scale_and_translate.gradient
def _(g: Any, op: Any, dy: Any) -> Any:
    x, _, scale, translation = op.inputs
    same = attrs_of(op, "kernel_type", "antialias")
    return g.ScaleAndTranslateGrad(dy, x, scale, translation, **same), None, None, None


@op("ScaleAndTranslateGrad", shape="* x [2] [2] -> x", static=("scale", "translation"), heavy=True, no_gradient=True)
def scale_and_translate_grad(
    xp: Any, grads: Any, original_image: Any, scale: Array, translation: Array, *, kernel_type: str, antialias: bool
) -> Any:
    """The gradient of ScaleAndTranslate for its images."""
    if xp.rank(grads) != 4 or xp.rank(original_image) != 4:
        raise refuse("images and gradient", expected="rank 4", found=[xp.rank(original_image), xp.rank(grads)])
    size = [xp.dim(grads, 1), xp.dim(grads, 2)]
    if not all(isinstance(n, int) for n in size):
        raise Unlowerable("the size of the gradient is not known when compiling")
    dims = xp.dim(original_image, 1), xp.dim(original_image, 2)
    rows, columns = _matrices(*dims, np.array(size), scale, translation, kernel_type, antialias)
    return _applied(xp, grads, np.ascontiguousarray(rows.T), np.ascontiguousarray(columns.T))
