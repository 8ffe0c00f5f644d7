"""Colours: contrast, hue, saturation, and the conversion between RGB and HSV, channels last.

Written without branches, so that every pixel takes the same path. Hue counts sixths of the circle inside.
"""

from __future__ import annotations

from typing import Any

from coldframe import dtypes
from coldframe.ops.table import op
from coldframe.primitives.base import refuse


def _pixels(xp: Any, images: Any, least: int) -> None:
    if xp.rank(images) < least:
        raise refuse("`images` has too few dimensions", expected=f"rank {least} or more", found=xp.rank(images))
    channels = xp.dim(images, -1)
    if isinstance(channels, int) and channels != 3:
        raise refuse("the last dimension is not one of colours", expected=3, found=channels)


def _scalar(xp: Any, x: Any, name: str) -> None:
    if xp.rank(x):
        raise refuse(f"`{name}` is not a scalar", found=f"rank {xp.rank(x)}")


def _channels(xp: Any, images: Any) -> list[Any]:
    return xp.split(images, [1, 1, 1], xp.rank(images) - 1)  # type: ignore[no-any-return]


@op("AdjustContrastv2")
def adjust_contrast(xp: Any, images: Any, contrast_factor: Any) -> Any:
    """Move pixels away from the mean of their channel by a factor."""
    _scalar(xp, contrast_factor, "contrast_factor")
    if xp.rank(images) < 3:
        raise refuse("`images` has too few dimensions", expected="rank 3 or more", found=xp.rank(images))
    x = xp.cast(images, dtypes.float32)
    mean = xp.mean(x, axis=[xp.rank(x) - 3, xp.rank(x) - 2], keepdims=True)
    return xp.cast(xp.add(xp.multiply(xp.subtract(x, mean), contrast_factor), mean), _dtype(xp, images))


def _dtype(xp: Any, x: Any) -> dtypes.DType:
    return dtypes.from_numpy(xp.dtype(x))


def _wide(xp: Any, x: Any) -> Any:
    """Half precision as float32, others as they are."""
    return xp.cast(x, dtypes.float32) if xp.dtype(x).itemsize == 2 else x


def _hue(xp: Any, r: Any, g: Any, b: Any, top: Any, spread: Any) -> Any:
    """Hue in sixths, from -1 to 5; 0 for grey."""
    zero, one = xp.zeros_like(spread), xp.ones_like(spread)
    grey = xp.equal(spread, zero)
    width = xp.where(grey, one, spread)
    at_red, at_green = xp.equal(r, top), xp.equal(g, top)
    from_red, from_green = xp.divide(xp.subtract(g, b), width), xp.divide(xp.subtract(b, r), width)
    from_blue = xp.divide(xp.subtract(r, g), width)
    h = xp.where(at_green, xp.add(from_green, xp.add(one, one)), xp.add(from_blue, xp.multiply(one, 4.0)))
    return xp.where(grey, zero, xp.where(at_red, from_red, h))


def _mixed(xp: Any, h: Any, top: Any, spread: Any) -> Any:
    """The colours of hue `h`, in sixths from 0 to 6, whose channels reach from ``top - spread`` to `top`."""
    last = xp.rank(h) - 1
    away = (
        xp.clip(xp.subtract(xp.abs(xp.subtract(h, 3.0)), 1.0), 0.0, 1.0),
        xp.clip(xp.subtract(2.0, xp.abs(xp.subtract(h, 2.0))), 0.0, 1.0),
        xp.clip(xp.subtract(2.0, xp.abs(xp.subtract(h, 4.0))), 0.0, 1.0),
    )
    low = xp.subtract(top, spread)
    return xp.concat([xp.add(low, xp.multiply(spread, a)) for a in away], last)


@op("AdjustHue")
def adjust_hue(xp: Any, images: Any, delta: Any) -> Any:
    """Turn the hue by `delta`, a part of the whole circle."""
    _pixels(xp, images, 3)
    _scalar(xp, delta, "delta")
    x = xp.cast(images, dtypes.float32)
    r, g, b = _channels(xp, x)
    top = xp.maximum(xp.maximum(r, g), b)
    spread = xp.subtract(top, xp.minimum(xp.minimum(r, g), b))
    h = xp.add(_hue(xp, r, g, b, top, spread), xp.multiply(delta, xp.asarray(6.0, dtypes.float32)))
    h = xp.floor_mod(h, xp.asarray(6.0, dtypes.float32))
    return xp.cast(_mixed(xp, h, top, spread), _dtype(xp, images))


@op("AdjustSaturation")
def adjust_saturation(xp: Any, images: Any, scale: Any) -> Any:
    """Multiply the saturation by `scale`, at most to full saturation."""
    _pixels(xp, images, 3)
    _scalar(xp, scale, "scale")
    x = xp.cast(images, dtypes.float32)
    r, g, b = _channels(xp, x)
    h, s, v = _hsv(xp, r, g, b)
    s = xp.clip(xp.multiply(s, scale), 0.0, 1.0)
    return xp.cast(_mixed(xp, h, v, xp.multiply(v, s)), _dtype(xp, images))


def _hsv(xp: Any, r: Any, g: Any, b: Any) -> tuple[Any, Any, Any]:
    """Hue in sixths from 0 to 6, saturation and value."""
    top = xp.maximum(xp.maximum(r, g), b)
    spread = xp.subtract(top, xp.minimum(xp.minimum(r, g), b))
    zero = xp.zeros_like(top)
    bright = xp.greater(top, zero)
    s = xp.where(bright, xp.divide(spread, xp.where(bright, top, xp.ones_like(top))), zero)
    h = _hue(xp, r, g, b, top, spread)
    return xp.where(xp.less(h, zero), xp.add(h, xp.multiply(xp.ones_like(h), 6.0)), h), s, top


@op("RGBToHSV")
def rgb_to_hsv(xp: Any, images: Any) -> Any:
    """Hue, saturation and value of colours; hue is 0 to 1."""
    _pixels(xp, images, 1)
    x = _wide(xp, images)
    h, s, v = _hsv(xp, *_channels(xp, x))
    out = xp.concat([xp.divide(h, xp.multiply(xp.ones_like(h), 6.0)), s, v], xp.rank(x) - 1)
    return xp.cast(out, _dtype(xp, images))


@op("HSVToRGB")
def hsv_to_rgb(xp: Any, images: Any) -> Any:
    """Colours of a hue of 0 to 1, a saturation and a value."""
    _pixels(xp, images, 1)
    h, s, v = _channels(xp, _wide(xp, images))
    return xp.cast(_mixed(xp, xp.multiply(h, 6.0), v, xp.multiply(v, s)), _dtype(xp, images))
