"""How smooth images are, and how alike two are."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from coldframe import dtypes
from coldframe.tf1.array_ops import concat, expand_dims, pad, reshape, shape, stack, tile
from coldframe.tf1.cast_ops import cast
from coldframe.tf1.framework.build import raw
from coldframe.tf1.framework.convert import constant, convert_to_tensor
from coldframe.tf1.framework.graph import name_scope
from coldframe.tf1.image.colors import convert_image_dtype
from coldframe.tf1.nn.activation_ops import relu, softmax
from coldframe.tf1.nn.conv_ops import depthwise_conv2d
from coldframe.tf1.nn.pool_ops import avg_pool
from coldframe.tf1.reduce_ops import reduce_mean, reduce_prod, reduce_sum

_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)


def total_variation(images: Any, name: str | None = None) -> Any:
    """Return the sum of the absolute differences of neighbouring pixels, per image."""
    with name_scope(name, "total_variation"):
        images = convert_to_tensor(images)
        n = images.get_shape().ndims
        if n == 3:
            down, right, axes = images[1:] - images[:-1], images[:, 1:] - images[:, :-1], None
        elif n == 4:
            down, right, axes = images[:, 1:] - images[:, :-1], images[:, :, 1:] - images[:, :, :-1], [1, 2, 3]
        else:
            raise ValueError("'images' must be either 3 or 4-dimensional.")
        return reduce_sum(raw.Abs(down), axis=axes) + reduce_sum(raw.Abs(right), axis=axes)


def _floats(a: Any, b: Any, max_val: Any) -> tuple[Any, Any, Any]:
    a, b = convert_to_tensor(a), convert_to_tensor(b)
    top = convert_image_dtype(cast(max_val, a.dtype), dtypes.float32)
    return convert_image_dtype(a, dtypes.float32), convert_image_dtype(b, dtypes.float32), top


def psnr(a: Any, b: Any, max_val: Any, name: str | None = None) -> Any:
    """Return the peak signal-to-noise ratio of images, in decibels; `max_val` is the range of values."""
    with name_scope(name, "PSNR", [a, b]):
        a, b, top = _floats(a, b, max_val)
        error = reduce_mean(raw.SquaredDifference(a, b), [-3, -2, -1])
        return raw.Sub(20 * raw.Log(top) / math.log(10.0), np.float32(10 / np.log(10)) * raw.Log(error), name="psnr")


# --- structural similarity ----------------------------------------------------------------------------------------
def ssim(
    img1: Any, img2: Any, max_val: Any, filter_size: int = 11, filter_sigma: float = 1.5, k1: float = 0.01,
    k2: float = 0.03,
) -> Any:  # fmt: skip
    """Return the structural similarity of images (Wang et al., 2004), 1 for equal ones."""
    with name_scope(None, "SSIM", [img1, img2]):
        a, b, top = _floats(img1, img2, max_val)
        similar, _ = _per_channel(a, b, top, filter_size, filter_sigma, k1, k2)
        return reduce_mean(similar, [-1])


def ssim_multiscale(
    img1: Any, img2: Any, max_val: Any, power_factors: Any = _WEIGHTS, filter_size: int = 11,
    filter_sigma: float = 1.5, k1: float = 0.01, k2: float = 0.03,
) -> Any:  # fmt: skip
    """Return the structural similarity over several sizes of the images, each half the one before."""
    with name_scope(None, "MS-SSIM", [img1, img2]):
        a, b, top = _floats(img1, img2, max_val)
        lead, last = shape(a)[:-3], a.get_shape().as_list()[-3:]
        images = [reshape(x, concat([[-1], shape(x)[-3:]], 0)) for x in (a, b)]
        for x in images:
            x.set_shape([None, *last])
        contrasts = []
        similar: Any = None
        for k in range(len(power_factors)):
            if k:
                images = [_halved(x) for x in images]
            similar, contrast = _per_channel(images[0], images[1], top, filter_size, filter_sigma, k1, k2)
            contrasts.append(relu(contrast))
        parts = stack([*contrasts[:-1], relu(similar)], axis=-1)
        result = reduce_prod(raw.Pow(parts, constant(list(power_factors))), [-1])
        return reshape(reduce_mean(result, [-1]), lead)


def _halved(x: Any) -> Any:
    sides = shape(x)[1:3]
    odd = sides % 2
    around = concat([[[0, 0]], stack([raw.ZerosLike(odd), odd], axis=1), [[0, 0]]], 0)
    return avg_pool(pad(x, around, "SYMMETRIC"), [1, 2, 2, 1], [1, 2, 2, 1], "VALID")


def _kernel(size: int, sigma: float) -> Any:
    at = cast(raw.Range(0, size, 1), dtypes.float32) - (size - 1) / 2.0
    g = raw.Square(at) * (-0.5 / sigma**2)
    grid = reshape(g, [1, -1]) + reshape(g, [-1, 1])
    return reshape(softmax(reshape(grid, [1, -1])), [size, size, 1, 1])


def _per_channel(a: Any, b: Any, top: Any, size: int, sigma: float, k1: float, k2: float) -> tuple[Any, Any]:
    """Return similarity and contrast, ``[..., channels]``."""
    kernel = tile(_kernel(size, sigma), [1, 1, shape(a)[-1], 1])

    def blurred(x: Any) -> Any:
        dims = shape(x)
        y = depthwise_conv2d(reshape(x, concat([[-1], dims[-3:]], 0)), kernel, [1, 1, 1, 1], "VALID")
        return reshape(y, concat([dims[:-3], shape(y)[1:]], 0))

    c1, c2 = raw.Square(k1 * top), raw.Square(k2 * top)
    mean_a, mean_b = blurred(a), blurred(b)
    product = mean_a * mean_b * 2.0
    squares = raw.Square(mean_a) + raw.Square(mean_b)
    light = (product + c1) / (squares + c1)
    both, each = blurred(a * b) * 2.0, blurred(raw.Square(a) + raw.Square(b))
    contrast = (both - product + c2) / (each - squares + c2)
    axes = constant([-3, -2], dtypes.int32)
    return reduce_mean(light * contrast, axes), reduce_mean(contrast, axes)


# --- gradients ----------------------------------------------------------------------------------------------------
def image_gradients(image: Any) -> tuple[Any, Any]:
    """Return the differences of a batch's pixels to the next row and to the next column; 0 at the end."""
    if image.get_shape().ndims != 4:
        raise ValueError(f"image_gradients expects a 4D tensor [batch_size, h, w, d], not {image.get_shape()}.")
    dims = shape(image)
    n, height, width, depth = (dims[i] for i in range(4))
    down, right = image[:, 1:, :, :] - image[:, :-1, :, :], image[:, :, 1:, :] - image[:, :, :-1, :]
    zeros = [raw.Fill(stack(s), np.zeros((), image.dtype.numpy)) for s in ([n, 1, width, depth], [n, height, 1, depth])]
    return reshape(concat([down, zeros[0]], 1), dims), reshape(concat([right, zeros[1]], 2), dims)


def sobel_edges(image: Any) -> Any:
    """Return the gradients by Sobel's filters, ``[batch, height, width, channels, 2]``: down, and to the right."""
    image = convert_to_tensor(image)
    known, dims = image.get_shape(), shape(image)
    filters = np.array([[[-1, -2, -1], [0, 0, 0], [1, 2, 1]], [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]], np.float32)
    kernel = expand_dims(constant(np.transpose(filters, (1, 2, 0))), -2)
    kernel = tile(kernel, [1, 1, dims[-1], 1])
    padded = pad(image, [[0, 0], [1, 1], [1, 1], [0, 0]], mode="REFLECT")
    edges = depthwise_conv2d(padded, kernel, [1, 1, 1, 1], "VALID")
    result = reshape(edges, concat([dims, [2]], 0))
    result.set_shape(known.concatenate([2]))
    return result


__all__ = ["image_gradients", "psnr", "sobel_edges", "ssim", "ssim_multiscale", "total_variation"]
