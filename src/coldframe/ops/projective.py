"""Projective transforms of images, as tf.image and Keras' augmentation layers write them.

Eight numbers ``a0 a1 a2 b0 b1 b2 c0 c1`` tell, for the pixel (x, y) of the output, where to read in the input::

    k = c0 x + c1 y + 1        input x = (a0 x + a1 y + a2) / k        input y = (b0 x + b1 y + b2) / k

Positions outside of the image are brought inside of it by the fill mode, or read as the fill value. All of it is
float32 arithmetic, whatever the dtype of the pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from coldframe.dtypes import float32
from coldframe.ops.backward import attrs_of, filled, shape_of
from coldframe.ops.image import sizes
from coldframe.ops.known import Attrs, Dims, Known, with_rank
from coldframe.ops.table import op
from coldframe.primitives.base import refuse
from coldframe.primitives.numpy_shape import dims

Array = npt.NDArray[Any]
_F32 = np.float32
_HOST: Final = "pixels are read at computed positions"


def _reflected(at: Array, n: int) -> Array:
    """Mirror at the edges: dcba|abcd|dcba."""
    period = _F32(2 * n)
    low = np.where(at < 0, period * np.trunc(-at / period) + at, at)
    low = np.where(low < -n, low + period, -low - 1)
    high = at - period * np.trunc(at / period)
    high = np.where(high >= n, period - high - 1, high)
    return np.where(at < 0, low, np.where(at > n - 1, high, at))


def _wrapped(at: Array, n: int) -> Array:
    """Begin anew at the edges: abcd|abcd|abcd."""
    low = at + _F32(n) * (np.trunc(-at / _F32(n - 1)) + 1)
    high = at - _F32(n) * np.trunc(at / _F32(n - 1))
    return np.where(at < 0, low, np.where(at > n - 1, high, at))


def _inside(at: Array, n: int, move: Callable[[Array, int], Array] | None) -> Array:
    """Bring positions into the image by `move`; an axis of one pixel has one position."""
    moved = move(at, n) if move is not None and n > 1 else at
    return np.clip(moved, 0, n - 1).astype(_F32)


_MODES: Final[dict[str, Callable[[Array, int], Array] | None]] = {
    "REFLECT": _reflected, "WRAP": _wrapped, "NEAREST": None,
}  # fmt: skip


class _Pixels:
    """The pixels of an image, [rows * columns + 1, depth], the last of which is the fill value."""

    def __init__(self, image: Array, fill: Array) -> None:
        self.rows, self.columns, depth = image.shape
        self.flat = np.empty((self.rows * self.columns + 1, depth), image.dtype)
        self.flat[:-1], self.flat[-1] = image.reshape(-1, depth), fill

    def at(self, y: Array, x: Array) -> Array:
        """Return the pixels at whole positions [height, width]; the fill value outside."""
        ok = (y >= 0) & (y < self.rows) & (x >= 0) & (x < self.columns)
        last = len(self.flat) - 1
        # In doubles: they hold every place exactly, and what is far outside does not overflow.
        place = np.where(ok, y.astype(np.float64) * self.columns + x, last)
        return self.flat.take(place.astype(np.int64), axis=0)


def _rounded(at: Array) -> Array:
    """Round half away from 0; in doubles, in which adding a half rounds nothing."""
    wide = at.astype(np.float64)
    return np.trunc(wide + np.copysign(0.5, wide))


def _bilinear(pixels: _Pixels, y: Array, x: Array) -> Array:
    top, left = np.floor(y), np.floor(x)
    right, down = (x - left)[..., None], (y - top)[..., None]
    rows = []
    for row in (top, top + 1):
        a, b = (pixels.at(row, column).astype(_F32, copy=False) for column in (left, left + 1))
        rows.append((_F32(1) - right) * a + right * b)
    return (_F32(1) - down) * rows[0] + down * rows[1]


def _check(images: Array, transforms: Array) -> None:
    if images.ndim != 4:
        raise refuse("`images` is not a batch of images", expected="rank 4", found=images.ndim)
    if transforms.ndim != 2 or transforms.shape[1] != 8 or len(transforms) not in (1, len(images)):
        raise refuse("`transforms`", expected=f"[1, 8] or [{len(images)}, 8]", found=list(transforms.shape))


def _positions(transforms: Array, height: int, width: int) -> tuple[Array, Array]:
    """Return where to read, y and x, each [transforms, height, width]; NaN where the plane lies at infinity."""
    y, x = np.meshgrid(np.arange(height, dtype=_F32), np.arange(width, dtype=_F32), indexing="ij")
    t = transforms.astype(_F32).T[:, :, None, None]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        k = t[6] * x + t[7] * y + _F32(1)
        k = np.where(k == 0, _F32(np.nan), k)
        return (t[3] * x + t[4] * y + t[5]) / k, (t[0] * x + t[1] * y + t[2]) / k


def _transformed(
    images: Array, transforms: Array, output_shape: Array, fill: Any, interpolation: str, fill_mode: str
) -> Array:
    _check(images, transforms)
    if interpolation.upper() not in ("NEAREST", "BILINEAR"):
        raise refuse("`interpolation`", expected="NEAREST or BILINEAR", found=interpolation)
    mode = fill_mode.upper()
    if mode not in ("CONSTANT", *_MODES):
        raise refuse("`fill_mode`", expected=f"CONSTANT, {', '.join(_MODES)}", found=fill_mode)
    height, width = sizes(output_shape)
    batch, rows, columns, depth = images.shape
    dims([batch, height, width, depth])
    fill = np.asarray(fill).astype(images.dtype)
    if not images.size:
        return np.full((batch, height, width, depth), fill, images.dtype)
    at = _positions(transforms, height, width)
    nowhere = ~(np.isfinite(at[0]) & np.isfinite(at[1]))
    y, x = (np.where(nowhere, _F32(0), v) for v in at)
    if mode != "CONSTANT":
        y, x = _inside(y, rows, _MODES[mode]), _inside(x, columns, _MODES[mode])
    nearest = interpolation.upper() == "NEAREST"
    if nearest:
        y, x = _rounded(y), _rounded(x)
    out = np.empty((batch, height, width, depth), images.dtype)
    for i, image in enumerate(images):  # one by one: what is worked out for one fits into the processor's cache
        k, pixels = i if len(y) > 1 else 0, _Pixels(image, fill)
        out[i] = pixels.at(y[k], x[k]) if nearest else _bilinear(pixels, y[k], x[k])
        out[i][nowhere[k]] = fill
    return out


def _shape(a: Attrs, images: Known, transforms: Known, size: Known, *fill: Known) -> Dims:
    batch, _, _, depth = with_rank(images.dims, 4)
    return (batch, None, None, depth)


@op("ImageProjectiveTransform", shape="x [n, 8] -> x", host=_HOST)
def image_projective_transform(xp: Any, images: Any, transforms: Any, *, interpolation: str) -> Any:
    """Images turned, moved, sheared or projected, of the same size; what lies outside of them is 0."""
    if images.ndim != 4:
        raise refuse("`images` is not a batch of images", expected="rank 4", found=images.ndim)
    return _transformed(images, transforms, np.array(images.shape[1:3]), 0, interpolation, "CONSTANT")


@op("ImageProjectiveTransformV2", shape=_shape, host=_HOST)
def image_projective_transform_v2(
    xp: Any, images: Any, transforms: Any, output_shape: Any, *, interpolation: str, fill_mode: str
) -> Any:
    """Images turned, moved, sheared or projected; what lies outside of them is 0, unless the fill mode moves it."""
    return _transformed(images, transforms, output_shape, 0, interpolation, fill_mode)


@op("ImageProjectiveTransformV3", shape=_shape, host=_HOST)
def image_projective_transform_v3(
    xp: Any, images: Any, transforms: Any, output_shape: Any, fill_value: Any, *, interpolation: str, fill_mode: str
) -> Any:
    """ImageProjectiveTransformV2 with the value of what lies outside."""
    if np.ndim(fill_value):
        raise refuse("`fill_value`", expected="a scalar", found=f"shape {list(np.shape(fill_value))}")
    return _transformed(images, transforms, output_shape, fill_value, interpolation, fill_mode)


def _turned_back(g: Any, op: Any, dy: Any) -> Any:
    """The gradients of pixels, taken by the inverse transforms."""
    images, transforms = op.inputs[:2]
    count = shape_of(g, transforms)[0]
    last = filled(g, g.Pack([count, 1], name="stack"), 1.0, float32, "ones")
    matrices = g.Reshape(g.ConcatV2([transforms, last], 1, name="concat"), [-1, 3, 3])
    flat = g.Reshape(g.MatrixInverse(matrices), [-1, 9])
    inverse = (flat / flat[:, 8:9])[:, :8]
    if op.type == "ImageProjectiveTransform":
        return g.ImageProjectiveTransform(dy, inverse, **attrs_of(op, "interpolation")), None
    size = shape_of(g, images)[1:3]
    same = attrs_of(op, "interpolation", "fill_mode")
    if len(op.inputs) == 3:
        return g.ImageProjectiveTransformV2(dy, inverse, size, **same), None, None
    return g.ImageProjectiveTransformV3(dy, inverse, size, g.constant(0.0, float32), **same), None, None, None


image_projective_transform.gradient(_turned_back)
image_projective_transform_v2.gradient(_turned_back)
image_projective_transform_v3.gradient(_turned_back)
