"""Resizing and cropping of images, channels last, with the sampling grids of TensorFlow's CPU kernels.

An output pixel ``i`` of an axis with ``n`` input and ``m`` output pixels reads near ``i * scale``, or near
``(i + 0.5) * scale - 0.5`` with `half_pixel_centers`; the scale is ``n / m``, or ``(n - 1) / (m - 1)`` with
`align_corners`. All of it is float32 arithmetic, which decides what pixel is nearest.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
import numpy.typing as npt

from coldframe import dtypes
from coldframe.ops import inference_nn
from coldframe.ops.backward import attrs_of, shape_of
from coldframe.ops.table import op
from coldframe.primitives.base import refuse
from coldframe.records import dataclass

Array = npt.NDArray[Any]
_F32 = np.float32
_GRID = ("align_corners", "half_pixel_centers")
_MAX_PIXELS = 1 << 32  # more would be a file that claims them


def check_resize(xp: Any, images: Any, size: Any, align_corners: bool, half_pixel_centers: bool) -> None:
    if xp.rank(images) != 4:
        raise refuse("`images` is not a batch of images", expected="rank 4", found=xp.rank(images))
    if size.ndim != 1:
        raise refuse("`size` is not a height and a width", found=f"rank {size.ndim}")
    if align_corners and half_pixel_centers:
        raise refuse("`half_pixel_centers` and `align_corners` exclude each other")
    if any(isinstance(d, int) and d == 0 for d in (xp.dim(images, 1), xp.dim(images, 2), xp.dim(images, 3))):
        raise refuse("the images are empty", found=[xp.dim(images, i) for i in range(4)])


def sizes(size: Array) -> tuple[int, int]:
    if size.shape != (2,):
        raise refuse("the size is not a height and a width", expected="shape [2]", found=list(size.shape))
    height, width = (int(v) for v in size)
    if height <= 0 or width <= 0:
        raise refuse("`size` is not positive", found=[height, width])
    if height * width > _MAX_PIXELS:
        raise refuse("an image of too many pixels", expected=f"at most {_MAX_PIXELS}", found=[height, width])
    return height, width


def _scale(n: int, m: int, align_corners: bool) -> Any:
    return _F32(n - 1) / _F32(m - 1) if align_corners and m > 1 else _F32(n) / _F32(m)


def grid(n: int, m: int, align_corners: bool, half_pixel_centers: bool) -> Array:
    """Where each of `m` output pixels lies among `n` input pixels, float32."""
    i, scale = np.arange(m, dtype=_F32), _scale(n, m, align_corners)
    at: Array = (i + _F32(0.5)) * scale - _F32(0.5) if half_pixel_centers else i * scale
    return at


# --- nearest ----------------------------------------------------------------------------------------------------
@op("ResizeNearestNeighbor", shape=inference_nn.resize, lenient="a size that is not positive", heavy=True)
def resize_nearest(xp: Any, images: Any, size: Any, *, align_corners: bool, half_pixel_centers: bool) -> Any:
    """Resize images, each pixel a copy of the nearest one."""
    check_resize(xp, images, size, align_corners, half_pixel_centers)
    sizes(size)
    return _nearest_pixels(xp, images, size, align_corners, half_pixel_centers)


@resize_nearest.onnx
def _(xp: Any, images: Any, size: Any, *, align_corners: bool, half_pixel_centers: bool) -> Any:
    check_resize(xp, images, size, align_corners, half_pixel_centers)
    if size.const is not None:
        sizes(size.const)
    return _nearest_pixels(xp, images, size, align_corners, half_pixel_centers)


@resize_nearest.gradient
def _(g: Any, op: Any, dy: Any) -> Any:
    x = op.inputs[0]
    dims = x.static_shape.dims
    if dims is not None and None not in dims[1:3]:
        size: Any = list(dims[1:3])
    else:
        size = g.Shape(x)[1:3]
    return g.ResizeNearestNeighborGrad(dy, size, **attrs_of(op, *_GRID)), None


def _nearest_pixels(xp: Any, images: Any, size: Any, align_corners: bool, half_pixel_centers: bool) -> Any:
    for axis in (1, 2):
        m = xp.gather(size, xp.asarray(axis - 1, dtypes.int64))
        at = nearest(xp, xp.dim(images, axis), m, align_corners, half_pixel_centers)
        images = xp.gather(images, at, axis=axis)
    return images


def nearest(xp: Any, n: Any, m: Any, align_corners: bool, half_pixel_centers: bool) -> Any:
    """The indices to read; in float32 over `xp`, since `n` and `m` may be known only when the graph runs."""
    f32 = dtypes.float32
    i = xp.cast(xp.arange(xp.asarray(0, dtypes.int32), m, xp.asarray(1, dtypes.int32)), f32)
    have, want = (xp.cast(xp.asarray(v, dtypes.int64), f32) for v in (n, m))
    scale = xp.divide(have, want)
    if align_corners:
        one = xp.asarray(1.0, f32)
        several = xp.divide(xp.subtract(have, one), xp.maximum(xp.subtract(want, one), one))
        scale = xp.where(xp.greater(want, one), several, scale)
    half = xp.asarray(0.5, f32)
    at = xp.multiply(xp.add(i, half), scale) if half_pixel_centers else xp.multiply(i, scale)
    down = xp.floor(at)
    if align_corners:  # round half up, as roundf does above 0; adding a half and flooring would round twice
        down = xp.where(xp.greater_equal(xp.subtract(at, down), half), xp.add(down, xp.asarray(1.0, f32)), down)
    last = xp.subtract(have, xp.asarray(1.0, f32))
    return xp.cast(xp.minimum(down, last), dtypes.int64)


# --- weighted sums of neighbours --------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True, eq=False)
class Taps:
    """What the output pixels of an axis read: ``sum(weights[k] * x[indices[k]])``; both are [taps, outputs]."""

    indices: Array
    weights: Array


def _resample(xp: Any, x: Any, axis: int, taps: Taps) -> Any:
    """Apply `taps` along `axis`; a tap of weight 0 reads nothing, be it infinite."""
    column = [-1 if i == axis else 1 for i in range(4)]
    total = None
    for at, weight in zip(taps.indices, taps.weights, strict=True):
        term = xp.gather(x, xp.asarray(at, dtypes.int64), axis=axis)
        term = xp.multiply(term, xp.asarray(weight.reshape(column), dtypes.float32))
        if not weight.all():
            zero = xp.asarray(0, dtypes.float32)
            term = xp.where(xp.asarray(weight.reshape(column) != 0, dtypes.bool_), term, zero)
        total = term if total is None else xp.add(total, term)
    return total


@op("ResizeBilinear", shape=inference_nn.resize, heavy=True)
def resize_bilinear(xp: Any, images: Array, size: Array, *, align_corners: bool, half_pixel_centers: bool) -> Any:
    """Resize images by linear interpolation between four pixels, in float32."""
    check_resize(xp, images, size, align_corners, half_pixel_centers)
    x = images.astype(_F32)
    for axis, m in reversed(list(enumerate(sizes(size), start=1))):
        n = images.shape[axis]
        if n == m and x.shape[1:3] == tuple(size):
            continue
        at = grid(n, m, align_corners, half_pixel_centers)
        down = np.floor(at)
        low, high = np.maximum(down, 0).astype(np.int64), np.minimum(np.ceil(at), n - 1).astype(np.int64)
        lerp = (at - down).reshape([-1 if i == axis else 1 for i in range(4)])
        first = np.take(x, low, axis)
        x = first + (np.take(x, high, axis) - first) * lerp
    return x


@resize_bilinear.onnx
def _(xp: Any, images: Any, size: Any, *, align_corners: bool, half_pixel_centers: bool) -> Any:
    check_resize(xp, images, size, align_corners, half_pixel_centers)
    if size.const is not None:
        sizes(size.const)
    x = xp.cast(images, dtypes.float32)
    mode = "align_corners" if align_corners else "half_pixel" if half_pixel_centers else "asymmetric"
    height, width = size.known() or (None, None)
    dims = (x.dims[0], height, width, x.dims[3])
    wanted = xp.cast(size, dtypes.int64)
    if size.dims != (2,):  # ONNX Runtime takes a vector of unknown length for one of none
        wanted = xp.reshape(wanted, [2])
    how = {"mode": "linear", "coordinate_transformation_mode": mode}
    # All four sizes: what ONNX Runtime makes of a transpose beside a Resize does not look at its axes.
    batch, channels = (xp.dim(x, i) if x.dims[i] is None else x.dims[i] for i in (0, 3))
    if x.dims[3] is None or x.dims[3] > _FEW_CHANNELS:
        every = xp.concat([xp.vector([batch])[0], wanted, xp.vector([channels])[0]], 0)
        return xp.node("Resize", [x, None, None, every], dims=dims, **how)
    every = xp.concat([xp.vector([batch, channels])[0], wanted], 0)
    first, dims = xp.transpose(x, [0, 3, 1, 2]), (dims[0], dims[3], height, width)
    return xp.transpose(xp.node("Resize", [first, None, None, every], dims=dims, **how), [0, 2, 3, 1])


@resize_bilinear.gradient
def _(g: Any, op: Any, dy: Any) -> Any:
    return g.ResizeBilinearGrad(dy, op.inputs[0], **attrs_of(op, *_GRID)), None


@op("ResizeBicubic", shape=inference_nn.resize, heavy=True, static=("size",))
def resize_bicubic(xp: Any, images: Any, size: Array, *, align_corners: bool, half_pixel_centers: bool) -> Any:
    """Resize images by cubic convolution over 16 pixels, in float32."""
    check_resize(xp, images, size, align_corners, half_pixel_centers)
    x = xp.cast(images, dtypes.float32)
    for axis, m in reversed(list(enumerate(sizes(size), start=1))):
        n = int(xp.dim(images, axis))
        x = _resample(xp, x, axis, cubic(n, m, align_corners, half_pixel_centers))
    return x


@resize_bicubic.gradient
def _(g: Any, op: Any, dy: Any) -> Any:
    x = op.inputs[0]
    if x.dtype not in (dtypes.float32, dtypes.float64):
        return None, None
    return g.ResizeBicubicGrad(dy, x, **attrs_of(op, *_GRID)), None


_FEW_CHANNELS = 4
"""Up to so many, ONNX Runtime resizes each channel in less time than pixels of channels, transposing included."""
_STEPS = 1024  # the kernel looks its weights up in a table


@functools.cache
def _cubic_table(a: float) -> tuple[Array, Array]:
    """The weights of pixels less than 1 and less than 2 away, by distance in steps."""
    near = np.arange(_STEPS + 1, dtype=np.float64) / _STEPS
    far = near + 1
    return (
        (((a + 2) * near - (a + 3)) * near * near + 1).astype(_F32),
        (((a * far - 5 * a) * far + 8 * a) * far - 4 * a).astype(_F32),
    )


def cubic(n: int, m: int, align_corners: bool, half_pixel_centers: bool) -> Taps:
    at = grid(n, m, align_corners, half_pixel_centers)
    base = np.floor(at)
    step = np.rint((at - base) * _F32(_STEPS)).astype(np.int64)
    near, far = _cubic_table(-0.5 if half_pixel_centers else -0.75)
    weights = np.stack([far[step], near[step], near[_STEPS - step], far[_STEPS - step]])
    reach = base.astype(np.int64) + np.arange(-1, 3)[:, None]
    indices = np.clip(reach, 0, n - 1)
    if half_pixel_centers:  # what lies outside counts nothing, and the others make up for it
        weights = np.where(indices == reach, weights, _F32(0))
        weights = weights * (_F32(1) / weights.sum(0))
    return Taps(indices, weights)


@op("ResizeArea", shape=inference_nn.resize, heavy=True, static=("size",))
def resize_area(xp: Any, images: Any, size: Array, *, align_corners: bool) -> Any:
    """Resize images, each pixel the mean over the area that it covers, in float32."""
    check_resize(xp, images, size, align_corners, False)
    x = xp.cast(images, dtypes.float32)
    for axis, m in reversed(list(enumerate(sizes(size), start=1))):
        x = _resample(xp, x, axis, _area(int(xp.dim(images, axis)), m, align_corners))
    return x


def _area(n: int, m: int, align_corners: bool) -> Taps:
    scale = _scale(n, m, align_corners)
    begin = np.arange(m, dtype=_F32) * scale
    end = np.arange(1, m + 1, dtype=_F32) * scale
    first, last = np.floor(begin).astype(np.int64), np.ceil(end).astype(np.int64)
    reach = first + np.arange(int((last - first).max()))[:, None]
    covered = np.minimum(reach + 1, end) - np.maximum(reach, begin)
    weights = np.where(reach < last, covered, 0).astype(_F32) / scale
    return Taps(np.clip(reach, 0, n - 1), weights.astype(_F32))


# --- crops ------------------------------------------------------------------------------------------------------
@op("CropAndResize", shape=inference_nn.crop_and_resize, heavy=True, static=("crop_size",))
def crop_and_resize(
    xp: Any, image: Any, boxes: Any, box_ind: Any, crop_size: Array, *, method: str, extrapolation_value: float
) -> Any:
    """Cut boxes out of images and resize each to one size; outside of the image is `extrapolation_value`."""
    _check_crop(xp, image, boxes, box_ind)
    height, width = sizes(crop_size)
    sides = xp.split(boxes, [1, 1, 1, 1], 1)  # y1, x1, y2, x2, each [boxes, 1]
    y = _positions(xp, sides[0], sides[2], xp.dim(image, 1), height)
    x = _positions(xp, sides[1], sides[3], xp.dim(image, 2), width)
    pixels = _Pixels(xp, image, box_ind)
    if method == "nearest":
        out = pixels.at(_round(xp, y.at), _round(xp, x.at))
    else:
        top, left = xp.floor(y.at), xp.floor(x.at)
        bottom, right = xp.ceil(y.at), xp.ceil(x.at)
        dx, dy = pixels.across(xp.subtract(x.at, left)), pixels.down(xp.subtract(y.at, top))
        upper = _lerp(xp, pixels.at(top, left), pixels.at(top, right), dx)
        out = _lerp(xp, upper, _lerp(xp, pixels.at(bottom, left), pixels.at(bottom, right), dx), dy)
    inside = xp.logical_and(pixels.down(y.inside), pixels.across(x.inside))
    out = xp.where(inside, out, xp.asarray(extrapolation_value, dtypes.float32))
    return xp.reshape(out, [xp.dim(boxes, 0), height, width, xp.dim(image, 3)]) if pixels.joined else out


@crop_and_resize.gradient
def _(g: Any, op: Any, dy: Any) -> Any:
    image, boxes, index, _ = op.inputs
    dimage = None
    if image.dtype in (dtypes.float16, dtypes.float32, dtypes.float64):
        dimage = g.CropAndResizeGradImage(dy, boxes, index, shape_of(g, image), **attrs_of(op, "T", "method"))
    return dimage, g.CropAndResizeGradBoxes(dy, image, boxes, index), None, None


def _check_crop(xp: Any, image: Any, boxes: Any, box_ind: Any) -> None:
    if xp.rank(image) != 4:
        raise refuse("`image` is not a batch of images", expected="rank 4", found=xp.rank(image))
    if xp.rank(boxes) != 2 or xp.dim(boxes, 1) not in (4, None) or xp.rank(box_ind) != 1:
        raise refuse("boxes", expected="`boxes` [n, 4] and `box_ind` [n]", found=f"rank {xp.rank(boxes)}")
    n, k = xp.dim(boxes, 0), xp.dim(box_ind, 0)
    if isinstance(n, int) and isinstance(k, int) and n != k:
        raise refuse("`boxes` and `box_ind` differ in length", expected=n, found=k)
    if any(isinstance(d, int) and d == 0 for d in (xp.dim(image, 1), xp.dim(image, 2))):
        raise refuse("the images are empty")


_JOINED = 16  # channels that numbers of a pixel are repeated for


@dataclass(frozen=True, slots=True, eq=False)
class _Positions:
    """Where crops sample an axis: positions [boxes, m], kept inside the image, and whether they were."""

    at: Any
    inside: Any


def _positions(xp: Any, low: Any, high: Any, n: Any, m: int) -> _Positions:
    f32 = dtypes.float32
    last = xp.cast(xp.asarray(n, dtypes.int64) - xp.asarray(1, dtypes.int64), f32)
    if m > 1:
        scale = xp.divide(xp.multiply(xp.subtract(high, low), last), xp.asarray(m - 1, f32))
        steps = xp.asarray(np.arange(m, dtype=_F32)[None], f32)
        at = xp.add(xp.multiply(low, last), xp.multiply(steps, scale))
    else:
        at = xp.multiply(xp.multiply(xp.asarray(0.5, f32), xp.add(low, high)), last)
    zero = xp.asarray(0, f32)
    inside = xp.logical_and(xp.greater_equal(at, zero), xp.less_equal(at, last))
    return _Positions(xp.where(inside, at, zero), inside)


class _Pixels:
    """Gathers pixels of the image that each box names, as float32 [boxes, height, width, channels].

    Where channels are few, the last two dimensions are one: ONNX Runtime takes its time over numbers that are the same
    for a few numbers next to each other.
    """

    def __init__(self, xp: Any, image: Any, box_ind: Any) -> None:
        self.xp = xp
        batch, self.rows, self.columns, self.depth = (xp.dim(image, i) for i in range(4))
        self.joined = isinstance(self.depth, int) and self.depth <= _JOINED
        index = xp.cast(box_ind, dtypes.int64)
        ok = xp.logical_and(
            xp.greater_equal(index, xp.asarray(0, dtypes.int64)), xp.less(index, xp.asarray(batch, dtypes.int64))
        )
        # A gather counts negative indices from the end; one beyond any image is refused, as TensorFlow does.
        self.batch = xp.expand_dims(xp.where(ok, index, xp.asarray(2**40, dtypes.int64)), [1, 2])
        self.flat = xp.reshape(xp.cast(image, dtypes.float32), [_times(xp, batch, self.rows, self.columns), self.depth])

    def at(self, y: Any, x: Any) -> Any:
        """The pixels at whole positions y [boxes, height] and x [boxes, width]."""
        xp, i64 = self.xp, dtypes.int64
        rows, columns = xp.asarray(self.rows, i64), xp.asarray(self.columns, i64)
        row = xp.add(xp.multiply(self.batch, rows), xp.expand_dims(xp.cast(y, i64), [2]))
        where = xp.add(xp.multiply(row, columns), xp.expand_dims(xp.cast(x, i64), [1]))
        pixels = xp.gather(self.flat, where)
        return self._lines(pixels, xp.dim(y, 1), xp.dim(x, 1)) if self.joined else pixels

    def down(self, y: Any) -> Any:
        """What is told for each row [boxes, height], to go with the pixels."""
        return self.xp.expand_dims(y, [2] if self.joined else [2, 3])

    def across(self, x: Any) -> Any:
        """What is told for each column [boxes, width], to go with the pixels."""
        xp = self.xp
        if not self.joined:
            return xp.expand_dims(x, [1, 3])
        wide = xp.broadcast_to(xp.expand_dims(x, [2]), [xp.dim(x, 0), xp.dim(x, 1), self.depth])
        return self._lines(wide, 1, xp.dim(x, 1))

    def _lines(self, x: Any, height: Any, width: Any) -> Any:
        return self.xp.reshape(x, [self.xp.dim(x, 0), height, _times(self.xp, width, self.depth)])


def _times(xp: Any, *sizes: Any) -> Any:
    if all(isinstance(s, int) for s in sizes):
        return math.prod(sizes)
    return functools.reduce(xp.multiply, [xp.asarray(s, dtypes.int64) for s in sizes])


def _lerp(xp: Any, a: Any, b: Any, t: Any) -> Any:
    return xp.add(a, xp.multiply(xp.subtract(b, a), t))


def _round(xp: Any, at: Any) -> Any:
    """Half up: roundf above 0."""
    down, f32 = xp.floor(at), dtypes.float32
    up = xp.greater_equal(xp.subtract(at, down), xp.asarray(0.5, f32))
    return xp.where(up, xp.add(down, xp.asarray(1, f32)), down)
