"""Brightness, contrast, colours and value ranges of images."""

from __future__ import annotations

from typing import Any

import numpy as np

from coldframe import dtypes
from coldframe.tf1.array_ops import concat, rank, shape, tile
from coldframe.tf1.cast_ops import cast, saturate_cast
from coldframe.tf1.framework.build import raw
from coldframe.tf1.framework.convert import constant, convert_to_tensor
from coldframe.tf1.framework.dtype import as_dtype
from coldframe.tf1.framework.graph import name_scope
from coldframe.tf1.math_ops import tensordot
from coldframe.tf1.random_ops import random_crop, random_uniform
from coldframe.tf1.reduce_ops import reduce_mean, reduce_prod
from coldframe.tf1.simple import simple

rgb_to_hsv = simple("rgb_to_hsv(images) -> RGBToHSV")
hsv_to_rgb = simple("hsv_to_rgb(images) -> HSVToRGB")
_GRAY = [0.2989, 0.5870, 0.1140]


def convert_image_dtype(image: Any, dtype: Any, saturate: bool = False, name: str | None = None) -> Any:
    """Return an image with another dtype: floats go from 0 to 1, integers from 0 to their greatest value.

    Args:
        saturate: values that do not fit become the nearest that do.
    """
    image = convert_to_tensor(image, name="image")
    to = as_dtype(dtype)
    if image.dtype is to:
        return raw.Identity(image, name=name)
    with name_scope(name, "convert_image", [image]) as scope:
        if image.dtype.is_integer and to.is_integer:
            return _integers(image, to, saturate, scope)
        if image.dtype.is_float and to.is_float:
            return cast(image, to, name=scope)
        if image.dtype.is_integer:
            return raw.Mul(cast(image, to), 1.0 / _top(image.dtype), name=scope)
        scaled = image * (_top(to) + 0.5)
        return saturate_cast(scaled, to, name=scope) if saturate else cast(scaled, to, name=scope)


def _top(dtype: Any) -> int:
    return int(np.iinfo(dtype.numpy).max)


def _integers(image: Any, to: Any, saturate: bool, scope: str) -> Any:
    top_in, top_out = _top(image.dtype), _top(to)
    if top_in > top_out:
        narrowed = raw.FloorDiv(image, (top_in + 1) // (top_out + 1))
        return saturate_cast(narrowed, to, name=scope) if saturate else cast(narrowed, to, name=scope)
    wide = saturate_cast(image, to) if saturate else cast(image, to)
    return raw.Mul(wide, (top_out + 1) // (top_in + 1), name=scope)


# --- gray ---------------------------------------------------------------------------------------------------------
def rgb_to_grayscale(images: Any, name: str | None = None) -> Any:
    """Return the brightness of RGB images, ``[..., 1]``."""
    with name_scope(name, "rgb_to_grayscale", [images]) as scope:
        images = convert_to_tensor(images, name="images")
        as_float = convert_image_dtype(images, dtypes.float32)
        gray = tensordot(as_float, _GRAY, [-1, -1])
        gray = raw.ExpandDims(gray, -1)
        return convert_image_dtype(gray, images.dtype, name=scope)


def grayscale_to_rgb(images: Any, name: str | None = None) -> Any:
    """Return gray images ``[..., 1]`` with three equal channels."""
    with name_scope(name, "grayscale_to_rgb", [images]) as scope:
        images = convert_to_tensor(images, name="images")
        last = raw.ExpandDims(rank(images) - 1, 0)
        times = concat([raw.Fill(last, 1), [3]], 0)
        result = tile(images, times, name=scope)
        if images.get_shape().ndims is not None:
            result.set_shape([*images.get_shape().as_list()[:-1], 3])
        return result


def _floats(image: Any) -> Any:
    return image if image.dtype in (dtypes.float16, dtypes.float32) else convert_image_dtype(image, dtypes.float32)


# --- adjusting ----------------------------------------------------------------------------------------------------
def adjust_brightness(image: Any, delta: Any) -> Any:
    """Return an image with `delta` added, in units of a float image."""
    with name_scope(None, "adjust_brightness", [image, delta]):
        image = convert_to_tensor(image, name="image")
        original = image.dtype
        floats = _floats(image)
        return convert_image_dtype(raw.Add(floats, cast(delta, floats.dtype)), original, saturate=True)


def adjust_contrast(images: Any, contrast_factor: Any) -> Any:
    """Return images with the difference to each channel's mean times `contrast_factor`."""
    with name_scope(None, "adjust_contrast", [images, contrast_factor]):
        images = convert_to_tensor(images, name="images")
        original = images.dtype
        floats = _floats(images)
        adjusted = raw.AdjustContrastv2(floats, contrast_factor)
        return convert_image_dtype(adjusted, original, saturate=True)


def _in_color(op: Any, what: str) -> Any:
    def function(image: Any, factor: Any, name: str | None = None) -> Any:
        with name_scope(name, what, [image]):
            image = convert_to_tensor(image, name="image")
            original = image.dtype
            floats = _floats(image)
            return convert_image_dtype(op(floats, factor), original)

    return function


_hue, _saturation = _in_color(raw.AdjustHue, "adjust_hue"), _in_color(raw.AdjustSaturation, "adjust_saturation")


def adjust_hue(image: Any, delta: Any, name: str | None = None) -> Any:
    """Return RGB images with their hue turned by `delta`, from -1 to 1."""
    return _hue(image, delta, name)


def adjust_saturation(image: Any, saturation_factor: Any, name: str | None = None) -> Any:
    """Return RGB images with their saturation times a factor."""
    return _saturation(image, saturation_factor, name)


def adjust_gamma(image: Any, gamma: Any = 1, gain: Any = 1) -> Any:
    """Return ``gain * image ** gamma``, of values from 0 to 1."""
    with name_scope(None, "adjust_gamma", [image, gamma, gain]):
        image = convert_to_tensor(image, name="image")
        original = image.dtype
        if not hasattr(gamma, "op") and gamma < 0:
            raise ValueError("Gamma should be a non-negative real number.")
        floats = _floats(image)
        return convert_image_dtype(gain * floats**gamma, original, saturate=True)


def adjust_jpeg_quality(image: Any, jpeg_quality: Any, name: str | None = None) -> Any:
    """Return an RGB image as it is after having been a JPEG of that quality."""
    with name_scope(name, "adjust_jpeg_quality", [image]):
        image = convert_to_tensor(image, name="image")
        channels = image.get_shape().as_list()[-1]
        original = image.dtype
        small = convert_image_dtype(image, dtypes.uint8, saturate=True)
        quality = convert_to_tensor(jpeg_quality, dtypes.int32)
        decoded = raw.DecodeJpeg(raw.EncodeJpegVariableQuality(small, quality), channels=channels)
        return convert_image_dtype(decoded, original, saturate=True)


# --- at random ----------------------------------------------------------------------------------------------------
def random_brightness(image: Any, max_delta: float, seed: int | None = None) -> Any:
    """Return an image made brighter or darker by up to `max_delta`."""
    if max_delta < 0:
        raise ValueError("max_delta must be non-negative.")
    return adjust_brightness(image, random_uniform([], -max_delta, max_delta, seed=seed))


def random_contrast(image: Any, lower: float, upper: float, seed: int | None = None) -> Any:
    """Return an image with a contrast factor from `lower` to `upper`."""
    if upper <= lower:
        raise ValueError("upper must be > lower.")
    if lower < 0:
        raise ValueError("lower must be non-negative.")
    return adjust_contrast(image, random_uniform([], lower, upper, seed=seed))


def random_hue(image: Any, max_delta: float, seed: int | None = None) -> Any:
    """Return an RGB image with its hue turned by up to `max_delta`, at most 0.5."""
    if not 0 <= max_delta <= 0.5:
        raise ValueError("max_delta must be within [0, 0.5].")
    return adjust_hue(image, random_uniform([], -max_delta, max_delta, seed=seed))


def random_saturation(image: Any, lower: float, upper: float, seed: int | None = None) -> Any:
    """Return an RGB image with a saturation factor from `lower` to `upper`."""
    if upper <= lower:
        raise ValueError("upper must be > lower.")
    if lower < 0:
        raise ValueError("lower must be non-negative.")
    return adjust_saturation(image, random_uniform([], lower, upper, seed=seed))


# --- standards ----------------------------------------------------------------------------------------------------
def per_image_standardization(image: Any) -> Any:
    """Return each image with mean 0 and variance 1; the deviation counts as at least ``1 / sqrt(pixels)``."""
    with name_scope(None, "per_image_standardization", [image]) as scope:
        image = convert_to_tensor(image, name="image")
        original = image.dtype
        if original not in (dtypes.float16, dtypes.float32):
            image = cast(image, dtypes.float32)
        count = reduce_prod(shape(image)[-3:])
        mean = reduce_mean(image, axis=[-1, -2, -3], keepdims=True)
        deviation = _deviation(image)
        least = raw.Rsqrt(cast(count, image.dtype))
        return raw.RealDiv(image - mean, raw.Maximum(deviation, least), name=scope)


def _deviation(image: Any) -> Any:
    mean = reduce_mean(image, axis=[-1, -2, -3], keepdims=True)
    return raw.Sqrt(reduce_mean(raw.Square(image - mean), axis=[-1, -2, -3], keepdims=True))


_TO_YIQ = [[0.299, 0.59590059, 0.2115], [0.587, -0.27455667, -0.52273617], [0.114, -0.32134392, 0.31119955]]
_TO_YUV = [[0.299, -0.14714119, 0.61497538], [0.587, -0.28886916, -0.51496512], [0.114, 0.43601035, -0.10001026]]
_FROM_YIQ = [[1.0, 1.0, 1.0], [0.95598634, -0.27201283, -1.10674021], [0.6208248, -0.64720424, 1.70423049]]
_FROM_YUV = [[1.0, 1.0, 1.0], [0.0, -0.394642334, 2.03206185], [1.13988303, -0.58062185, 0.0]]


def _by_matrix(kernel: list[list[float]], what: str) -> Any:
    def function(images: Any) -> Any:
        images = convert_to_tensor(images, name="images")
        n = images.get_shape().ndims
        return tensordot(images, constant(kernel, images.dtype, name="kernel"), axes=[[n - 1], [0]])

    function.__doc__ = f"Return images with their three channels changed: {what}."
    return function


rgb_to_yiq, yiq_to_rgb = _by_matrix(_TO_YIQ, "RGB to YIQ"), _by_matrix(_FROM_YIQ, "YIQ to RGB")
rgb_to_yuv, yuv_to_rgb = _by_matrix(_TO_YUV, "RGB to YUV"), _by_matrix(_FROM_YUV, "YUV to RGB")

__all__ = [
    "adjust_brightness", "adjust_contrast", "adjust_gamma", "adjust_hue", "adjust_jpeg_quality", "adjust_saturation",
    "convert_image_dtype", "grayscale_to_rgb", "hsv_to_rgb", "per_image_standardization", "random_brightness",
    "random_contrast", "random_crop", "random_hue", "random_saturation", "rgb_to_grayscale", "rgb_to_hsv",
    "rgb_to_yiq", "rgb_to_yuv", "yiq_to_rgb", "yuv_to_rgb",
]  # fmt: skip
