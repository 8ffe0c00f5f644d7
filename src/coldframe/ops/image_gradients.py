"""Gradients of resizing and cropping of images: what each output pixel read gets its share back.

Resizing is a product with one matrix per axis, ``y = H x W``; its gradient is the product with their transposes. The
matrices come from the sampling grids of `image`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from coldframe import dtypes
from coldframe.dtypes import DType
from coldframe.ops import image, inference_nn
from coldframe.ops.layouts import known
from coldframe.ops.table import op
from coldframe.primitives.base import Unlowerable, refuse

Array = npt.NDArray[Any]
_F32 = np.float32
_ADDS = "it adds several pixels into one"


def _check_images(xp: Any, x: Any, what: str) -> None:
    if xp.rank(x) != 4:
        raise refuse(f"`{what}` is not a batch of images", expected="rank 4", found=xp.rank(x))


def _check_grid(align_corners: bool, half_pixel_centers: bool) -> None:
    if align_corners and half_pixel_centers:
        raise refuse("`half_pixel_centers` and `align_corners` exclude each other")


# --- resizing ---------------------------------------------------------------------------------------------------
@op("ResizeNearestNeighborGrad", shape=inference_nn.resize_grad, host=_ADDS, heavy=True)
def resize_nearest_grad(xp: Any, grads: Array, size: Array, *, align_corners: bool, half_pixel_centers: bool) -> Any:
    """The gradient of ResizeNearestNeighbor for images of `size`: pixels get all that copied them."""
    _check_images(xp, grads, "grads")
    _check_grid(align_corners, half_pixel_centers)
    out = grads
    for axis, n in enumerate(image.sizes(size), start=1):
        at = image.nearest(xp, n, np.int32(grads.shape[axis]), align_corners, half_pixel_centers)
        out = _added(out, at, n, axis)
    return out


def _added(x: Array, at: Array, n: int, axis: int) -> Array:
    """Add the slices of `x` along `axis` into `n` slices, at the rising positions `at`."""
    shape = list(x.shape)
    shape[axis] = n
    out = np.zeros(shape, x.dtype)
    if x.size:
        places, starts = np.unique(at, return_index=True)
        index: list[Any] = [slice(None)] * x.ndim
        index[axis] = places
        out[tuple(index)] = np.add.reduceat(x, starts, axis=axis, dtype=x.dtype)
    return out


@op("ResizeBilinearGrad", shape=inference_nn.resized_from, no_gradient=True, heavy=True)
def resize_bilinear_grad(
    xp: Any, grads: Any, original_image: Any, *, align_corners: bool, half_pixel_centers: bool, T: DType
) -> Any:
    """The gradient of ResizeBilinear for an image of the shape of `original_image`."""
    _check_images(xp, grads, "grads")
    _check_images(xp, original_image, "original_image")
    _check_grid(align_corners, half_pixel_centers)
    weights = [
        _hats(xp, xp.dim(original_image, i), xp.dim(grads, i), align_corners, half_pixel_centers) for i in (1, 2)
    ]
    return _transposed(xp, grads, weights[0], weights[1], T)


def _hats(xp: Any, n: Any, m: Any, align_corners: bool, half_pixel_centers: bool) -> Any:
    """The weight of each of `n` input pixels in each of `m` output pixels, [m, n]: 1 less the distance, from 0 up."""
    f32, i64 = dtypes.float32, dtypes.int64
    zero, one, half = (xp.asarray(v, f32) for v in (0.0, 1.0, 0.5))
    have, want = (xp.cast(xp.asarray(v, i64), f32) for v in (n, m))
    scale = xp.divide(have, want)
    if align_corners:
        several = xp.divide(xp.subtract(have, one), xp.maximum(xp.subtract(want, one), one))
        scale = xp.where(xp.greater(want, one), several, scale)
    i, j = (xp.cast(xp.arange(*(xp.asarray(v, i64) for v in (0, end, 1))), f32) for end in (m, n))
    at = xp.subtract(xp.multiply(xp.add(i, half), scale), half) if half_pixel_centers else xp.multiply(i, scale)
    at = xp.maximum(xp.minimum(at, xp.subtract(have, one)), zero)
    apart = xp.abs(xp.subtract(xp.expand_dims(at, [1]), xp.expand_dims(j, [0])))
    return xp.maximum(xp.subtract(one, apart), zero)


def _transposed(xp: Any, grads: Any, rows: Any, columns: Any, T: DType) -> Any:
    """``rows.T @ grads @ columns`` for each channel, [n, height, width, channels], added up in float64 if T is that."""
    work = dtypes.float64 if T is dtypes.float64 else dtypes.float32
    grads, rows, columns = (xp.cast(v, work) for v in (grads, rows, columns))
    first = xp.transpose(grads, [0, 3, 1, 2])
    out = xp.matmul(xp.matmul(xp.transpose(rows, [1, 0]), first), columns)
    return xp.cast(xp.transpose(out, [0, 2, 3, 1]), T)


@op("ResizeBicubicGrad", shape=inference_nn.resized_from, heavy=True)
def resize_bicubic_grad(
    xp: Any, grads: Any, original_image: Any, *, align_corners: bool, half_pixel_centers: bool, T: DType
) -> Any:
    """The gradient of ResizeBicubic for an image of the shape of `original_image`."""
    _check_images(xp, grads, "grads")
    _check_images(xp, original_image, "original_image")
    _check_grid(align_corners, half_pixel_centers)
    weights = []
    for axis in (1, 2):
        n, m = known(xp.dim(original_image, axis)), known(xp.dim(grads, axis))
        if n is None or m is None:
            raise Unlowerable("the sizes of the images are not known when compiling")
        matrix = _matrix(image.cubic(n, m, align_corners, half_pixel_centers), n)
        weights.append(xp.asarray(matrix, dtypes.float32))
    return _transposed(xp, grads, weights[0], weights[1], T)


def _matrix(taps: image.Taps, n: int) -> Array:
    """What `taps` read of `n` pixels, as a matrix [outputs, n]."""
    m = taps.indices.shape[1]
    out = np.zeros((m, n), _F32)
    np.add.at(out, (np.arange(m)[None], taps.indices), taps.weights)
    return out


# --- crops ------------------------------------------------------------------------------------------------------
class _Crops:
    """Where the pixels of all crops read: positions [boxes, size] per axis, and between which pixels."""

    def __init__(self, boxes: Array, box_ind: Array, grads: Array, sizes: tuple[int, ...]) -> None:
        if grads.ndim != 4 or boxes.ndim != 2 or boxes.shape[1:] != (4,) or box_ind.shape != boxes.shape[:1]:
            found = [list(grads.shape), list(boxes.shape), list(box_ind.shape)]
            raise refuse("crops", expected="`grads` of rank 4, `boxes` [n, 4] and `box_ind` [n]", found=found)
        if len(grads) != len(boxes) or grads.shape[3] != sizes[3]:
            raise refuse("gradients of crops", expected=[len(boxes), "*", "*", sizes[3]], found=list(grads.shape))
        if min(grads.shape[1:3]) < 1 or min(sizes[1:3]) < 1:
            raise refuse("crops or images are empty", found=[list(grads.shape), list(sizes)])
        bad = (box_ind < 0) | (box_ind >= sizes[0])
        if bad.any():
            raise refuse("`box_ind` names no image", expected=f"0 to {sizes[0] - 1}", found=int(box_ind[bad][0]))
        self.y, self.y_in = self._positions(boxes[:, 0], boxes[:, 2], sizes[1], grads.shape[1])
        self.x, self.x_in = self._positions(boxes[:, 1], boxes[:, 3], sizes[2], grads.shape[2])
        self.sizes, self.images = sizes, box_ind.astype(np.int64)

    @staticmethod
    def _positions(low: Array, high: Array, n: int, m: int) -> tuple[Array, Array]:
        low, high, last = low[:, None], high[:, None], _F32(n - 1)
        if m > 1:
            at = low * last + np.arange(m, dtype=_F32) * ((high - low) * last / _F32(m - 1))
        else:
            at = _F32(0.5) * (low + high) * last
        inside = (at >= 0) & (at <= last)
        return np.where(inside, at, _F32(0)), inside

    @property
    def inside(self) -> Array:
        """Which pixels of the crops read the image, [boxes, height, width, 1]."""
        return np.asarray(self.y_in[:, :, None, None] & self.x_in[:, None, :, None])

    def rows(self, y: Array, x: Array) -> Array:
        """The rows of the flattened images [batch * height * width] that whole positions name."""
        _, height, width, _ = self.sizes
        row = self.images[:, None] * height + y.astype(np.int64)
        return np.asarray(row[:, :, None] * width + x.astype(np.int64)[:, None, :])


@op("CropAndResizeGradImage", shape=inference_nn.crop_image_grad, host=_ADDS, heavy=True)
def crop_and_resize_grad_image(
    xp: Any, grads: Array, boxes: Array, box_ind: Array, image_size: Array, *, method: str, T: DType
) -> Any:
    """The gradient of CropAndResize for its images, of `image_size`."""
    if image_size.shape != (4,) or (image_size < 0).any():
        raise refuse("`image_size`", expected="batch, height, width and depth", found=image_size.tolist())
    crops = _Crops(boxes, box_ind, grads, tuple(int(v) for v in image_size))
    work = T.numpy if T is dtypes.float64 else _F32  # what the shares are added up in
    given = np.where(crops.inside, grads, _F32(0))
    out = np.zeros((int(np.prod(crops.sizes[:3])), crops.sizes[3]), work)
    if method == "nearest":
        _add_rows(out, crops.rows(np.floor(crops.y + _F32(0.5)), np.floor(crops.x + _F32(0.5))), given)
        return out.reshape(crops.sizes).astype(T.numpy)
    top, left = np.floor(crops.y), np.floor(crops.x)
    down, right = (crops.y - top)[:, :, None, None], (crops.x - left)[:, None, :, None]
    for y, dy in ((top, given * (1 - down)), (np.ceil(crops.y), given * down)):
        for x, share in ((left, dy * (1 - right)), (np.ceil(crops.x), dy * right)):
            _add_rows(out, crops.rows(y, x), share)
    return out.reshape(crops.sizes).astype(T.numpy)


def _add_rows(out: Array, at: Array, rows: Array) -> None:
    """Add rows of channels at positions that repeat: sorted first, which is far faster than one by one."""
    flat = at.ravel()
    if not flat.size:
        return
    order = np.argsort(flat, kind="stable")
    places, starts = np.unique(flat[order], return_index=True)
    out[places] += np.add.reduceat(rows.reshape(flat.size, -1)[order], starts, axis=0, dtype=out.dtype)


@op("CropAndResizeGradBoxes", shape="[n, h, w, c] [b, x, y, c] [n, 4] [n] -> [n, 4]", host=_ADDS, heavy=True)
def crop_and_resize_grad_boxes(
    xp: Any, grads: Array, image: Array, boxes: Array, box_ind: Array, *, method: str
) -> Any:
    """The gradient of CropAndResize for the corners of its boxes."""
    _check_images(xp, image, "image")
    crops = _Crops(boxes, box_ind, grads, image.shape)
    flat = image.reshape(-1, image.shape[3]).astype(_F32)
    top, left, bottom, right = np.floor(crops.y), np.floor(crops.x), np.ceil(crops.y), np.ceil(crops.x)
    tl, tr, bl, br = (flat[crops.rows(y, x)] for y, x in ((top, left), (top, right), (bottom, left), (bottom, right)))
    down, across = (crops.y - top)[:, :, None, None], (crops.x - left)[:, None, :, None]
    given = np.where(crops.inside, grads, _F32(0))
    dy = (given * ((bl - tl) * (1 - across) + (br - tr) * across)).sum(axis=(2, 3))
    dx = (given * ((tr - tl) * (1 - down) + (br - bl) * down)).sum(axis=(1, 3))
    y1, y2 = _ends(dy, image.shape[1])
    x1, x2 = _ends(dx, image.shape[2])
    return np.stack([y1, x1, y2, x2], axis=1)


def _ends(d: Array, n: int) -> tuple[Array, Array]:
    """The gradients of both ends of the boxes along an axis, from those of the positions, [boxes, size]."""
    last, m = _F32(n - 1), d.shape[1]
    part = np.arange(m, dtype=_F32) * (last / _F32(m - 1)) if m > 1 else np.full(1, _F32(0.5) * last, _F32)
    return (d * (last - part)).sum(axis=1), (d * part).sum(axis=1)
