"""Images sampled at given places, between the pixels: ``tf.contrib.resampler``, as spatial transformers use it.

An image lies in zeros without end. A place (x, y) takes from the four pixels around it, the nearer the more::

    left, top = floor(x), floor(y)        pixel (left, top) counts (left + 1 - x) (top + 1 - y), and so on
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from coldframe.ops.known import Attrs, Dims, Known
from coldframe.ops.table import op
from coldframe.primitives.base import refuse

Array = npt.NDArray[Any]
_HOST = "pixels are read at computed positions"


class _Samples(NamedTuple):
    """Which pixels samples take, of images with a border of zeros, and how much of them.

    Attributes:
        at: the batch, row and column of the pixel at the upper left of each sample, int64[batch, n] and [batch, 1].
        near: how much of the left column and of the upper row counts, [batch, n, 1] each.
        inside: which samples touch the image, bool[batch, n, 1].
    """

    at: tuple[Array, Array, Array]
    near: tuple[Array, Array]
    inside: Array

    def corner(self, down: int, right: int) -> tuple[Array, Array, Array]:
        """Return where one of the four pixels is."""
        batch, row, column = self.at
        return batch, row + down, column + right

    def share(self, down: int, right: int) -> Array:
        """Return how much of that pixel counts."""
        x, y = self.near
        one = x.dtype.type(1)
        return np.where(self.inside, (one - x if right else x) * (one - y if down else y), 0).astype(x.dtype)


def _samples(data: Array, warp: Array) -> _Samples:
    if data.ndim != 4:
        raise refuse("`data` is not a batch of images", expected="rank 4", found=f"shape {list(data.shape)}")
    if warp.ndim < 2 or warp.shape[-1] != 2 or len(warp) != len(data):
        raise refuse("`warp`", expected=f"[{len(data)}, ..., 2]", found=f"shape {list(warp.shape)}")
    places = warp.reshape(len(warp), -1, 2)
    x, y = places[..., 0], places[..., 1]
    inside = (x > -1) & (y > -1) & (x < data.shape[2]) & (y < data.shape[1])
    x, y = (np.where(inside, v, v.dtype.type(0)) for v in (x, y))
    left, top = np.floor(x), np.floor(y)
    near = (left + left.dtype.type(1) - x)[..., None], (top + top.dtype.type(1) - y)[..., None]
    batch = np.arange(len(data))[:, None]
    return _Samples((batch, top.astype(np.int64) + 1, left.astype(np.int64) + 1), near, inside[..., None])


def _bordered(data: Array) -> Array:
    return np.pad(data, ((0, 0), (1, 1), (1, 1), (0, 0)))


def _sampled(a: Attrs, data: Known, warp: Known) -> Dims:
    if warp.dims is None or data.dims is None or not (warp.dims and data.dims):
        return None
    return (*warp.dims[:-1], data.dims[-1])


@op("Resampler", shape=_sampled, host=_HOST)
def resampler(xp: Any, data: Array, warp: Array) -> Any:
    """Images [b, h, w, c] at the places [b, ..., 2], x before y: [b, ..., c]."""
    samples, pixels = _samples(data, warp), _bordered(data)
    parts = [samples.share(*k) * pixels[samples.corner(*k)] for k in ((0, 0), (1, 1), (1, 0), (0, 1))]
    return (parts[0] + parts[1] + parts[2] + parts[3]).reshape(*warp.shape[:-1], data.shape[-1])


@op("ResamplerGrad", shape="x y * -> x y", host=_HOST, no_gradient=True)
def resampler_grad(xp: Any, data: Array, warp: Array, grad_output: Array) -> Any:
    """The gradients of images and places."""
    samples, pixels = _samples(data, warp), _bordered(data)
    count, channels = samples.inside.shape[1], data.shape[-1]
    if grad_output.shape != (*warp.shape[:-1], channels):
        raise refuse("`grad_output`", expected=[*warp.shape[:-1], channels], found=list(grad_output.shape))
    grad = grad_output.reshape(len(data), count, channels)
    of_pixels = np.zeros_like(pixels)
    for k in ((0, 0), (1, 1), (1, 0), (0, 1)):
        np.add.at(of_pixels, samples.corner(*k), grad * samples.share(*k))
    x, y = samples.near
    one = x.dtype.type(1)
    here, right, below, across = (pixels[samples.corner(*k)] for k in ((0, 0), (0, 1), (1, 0), (1, 1)))
    along_x = (y * (right - here) + (one - y) * (across - below)) * grad
    along_y = (x * (below - here) + (one - x) * (across - right)) * grad
    of_places = np.stack([along_x.sum(-1), along_y.sum(-1)], axis=-1)
    of_warp = np.where(samples.inside, of_places, 0).astype(warp.dtype).reshape(warp.shape)
    return np.ascontiguousarray(of_pixels[:, 1:-1, 1:-1]), of_warp


@resampler.gradient
def _(g: Any, op: Any, dy: Any) -> Any:
    return g.ResamplerGrad(op.inputs[0], op.inputs[1], dy)
