"""Image files: PNG, JPEG, GIF, BMP and WebP to pixels, and back.

Reading them takes Pillow (the extra ``images``), which uses the libraries that TensorFlow uses too; a JPEG may differ
by a level or two. Boxes drawn into images are here as well.
"""

from __future__ import annotations

import io
import math
import warnings
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from coldframe import dtypes
from coldframe.dtypes import DType
from coldframe.errors import CorruptError, MisuseError, UnsupportedError
from coldframe.formats import bmp, png
from coldframe.ops.known import Attrs, Dims, Known
from coldframe.ops.table import op
from coldframe.primitives.base import refuse

Array = npt.NDArray[Any]
_HOST: Final = "image files are bytes"
_MODES: Final = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
_MAX_PIXELS: Final = 1 << 28
_COLORS: Final = np.array(
    [[1, 1, 0, 1], [0, 0, 1, 1], [1, 0, 0, 1], [0, 1, 0, 1], [0.5, 0, 0.5, 1], [0.5, 0.5, 0, 1], [0.5, 0, 0, 1],
     [0, 0, 0.5, 1], [0, 1, 1, 1], [1, 0, 1, 1]], np.float32,
)  # fmt: skip


def _pillow() -> Any:
    try:
        from PIL import Image
    except ImportError:
        raise UnsupportedError(
            "decoding and encoding JPEG, GIF, BMP and WebP, and decoding PNG, need Pillow, which is not installed",
            hint="pip install 'coldframe[images]'",
        ) from None
    return Image


# --- reading ------------------------------------------------------------------------------------------------------
def _kind(data: bytes) -> str:
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if data.startswith(png.SIGNATURE):
        return "PNG"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "GIF"
    if data.startswith(b"BM"):
        return "BMP"
    raise refuse("Unknown image file format. One of JPEG, PNG, GIF, BMP required.", found=data[:8])


def _data(contents: Any) -> bytes:
    if np.ndim(contents):
        raise refuse("`contents` is not a scalar", found=f"rank {np.ndim(contents)}")
    return bytes(np.asarray(contents).item())


def _opened(data: bytes, kind: str) -> Any:
    module = _pillow()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = module.open(io.BytesIO(data), formats=[kind])
    except Exception:  # Pillow raises what its decoders raise
        raise refuse(f"no {kind} image that can be read", found=f"{len(data)} bytes") from None
    if image.width * image.height > _MAX_PIXELS:
        raise refuse(
            "the image is too large", expected=f"{_MAX_PIXELS} pixels", found=f"{image.width} x {image.height}"
        )
    return image


def _loaded(image: Any, mode: str) -> Array:
    try:
        return np.asarray(image if image.mode == mode else image.convert(mode))
    except (OSError, SyntaxError, ValueError, EOFError) as e:
        raise refuse(f"the image cannot be read: {e}", found=f"{image.width} x {image.height} {image.format}") from None


def _pixels(image: Any, channels: int) -> Array:
    pixels = _loaded(image, _MODES[channels])
    return pixels[:, :, None] if pixels.ndim == 2 else pixels


def _own_channels(image: Any) -> int:
    clear = "transparency" in image.info
    if image.mode in ("1", "L", "I", "I;16", "I;16B", "F"):
        return 2 if clear else 1
    if image.mode in ("LA", "La"):
        return 2
    return 4 if clear or image.mode in ("RGBA", "PA", "RGBa") else 3


def _png(data: bytes, channels: int, wide: bool) -> Array:
    image = _opened(data, "PNG")
    deep = len(data) > 24 and data[24] == 16
    count = channels or _own_channels(image)
    if not deep:
        pixels = _gray(_pixels(image, 3)) if channels == 1 and _own_channels(image) > 2 else _pixels(image, count)
        if count in (2, 4) and _own_channels(image) in (1, 3) and data[24] < 8:
            pixels = pixels.copy()
            pixels[:, :, -1] = (1 << data[24]) - 1  # TensorFlow's opaque alpha has as many bits as the file's pixels
        return pixels.astype(np.uint16) * 257 if wide else pixels
    if image.mode not in ("I;16", "I", "I;16B"):
        if wide:
            raise UnsupportedError(
                "a PNG with 16 bits per colour cannot be decoded to uint16", hint="decode it to uint8, or store gray"
            )
        return _pixels(image, count)
    gray = np.asarray(image).astype(np.uint16)[:, :, None]
    pixels = np.repeat(gray, 1 if count < 3 else 3, 2)
    if count in (2, 4):
        pixels = np.concatenate([pixels, np.full_like(gray, 0xFFFF)], 2)
    return pixels if wide else (pixels >> 8).astype(np.uint8)


def _gray(rgb: Array) -> Array:
    """Return brightness as libpng works it out: weights in 1/32768, cut off."""
    r, g, b = (rgb[:, :, i].astype(np.uint32) for i in range(3))
    gray: Array = np.where((r == g) & (g == b), r, (r * 9797 + g * 19234 + b * 3737) >> 15).astype(np.uint8)
    return gray[:, :, None]


def _jpeg(data: bytes, channels: int, ratio: int) -> Array:
    image = _opened(data, "JPEG")
    count = channels or (1 if image.mode == "L" else 3)
    if count == 1 or ratio > 1:
        image.draft("L" if count == 1 else image.mode, (max(1, image.width // ratio), max(1, image.height // ratio)))
    return _pixels(image, count)


def _gif(data: bytes, single: bool = False) -> Array:
    return _frames(_opened(data, "GIF"), 3, single)


def _frames(image: Any, channels: int, single: bool = False) -> Array:
    frames = []
    total = 1 if single else getattr(image, "n_frames", 1)
    if total * image.width * image.height > _MAX_PIXELS:
        raise refuse("the animation is too large", expected=f"{_MAX_PIXELS} pixels", found=f"{total} frames")
    for i in range(total):
        image.seek(i)
        frames.append(_pixels(image, channels))
    return np.stack(frames)


def _bmp(data: bytes, channels: int) -> Array:
    try:
        pixels = bmp.read(data, _MAX_PIXELS)
    except CorruptError as e:
        raise refuse(str(e)) from None
    own = pixels.shape[2]
    if channels in (0, own) and channels != 1:
        return pixels
    if channels not in (3, 4):
        raise refuse("the number of channels of a BMP file", expected="0, 3 or 4", found=channels)
    if own == 4:
        return pixels[:, :, :3]
    colours = np.repeat(pixels, 3, 2) if own == 1 else pixels
    opaque = np.full((*pixels.shape[:2], 1), 255, np.uint8)
    return colours if channels == 3 else np.concatenate([colours, opaque], 2)


def _flat_shape(a: Attrs, contents: Known) -> list[Dims]:
    return [(None, None, a["channels"] or None)]


@op("DecodePng", shape=_flat_shape, host=_HOST)
def decode_png(xp: Any, contents: Any, *, channels: int, dtype: DType) -> Any:
    """Return the pixels of a PNG file; of another kind of image file too."""
    return _decoded(_data(contents), channels, dtype, animated=False)


@op("DecodeJpeg", shape=_flat_shape, host=_HOST)
def decode_jpeg(
    xp: Any, contents: Any, *, channels: int, ratio: int, fancy_upscaling: bool, try_recover_truncated: bool,
    acceptable_fraction: float, dct_method: str,
) -> Any:  # fmt: skip
    """Return the pixels of a JPEG file, made smaller by `ratio`; of another kind of image file too."""
    data = _data(contents)
    if ratio not in (1, 2, 4, 8):
        raise refuse("the ratio is out of range", expected="1, 2, 4 or 8", found=ratio)
    if _kind(data) == "JPEG":
        return _jpeg(data, channels, ratio)
    return _decoded(data, channels, dtypes.uint8, animated=False)


@op("DecodeAndCropJpeg", shape=_flat_shape, host=_HOST)
def decode_and_crop_jpeg(
    xp: Any, contents: Any, crop_window: Any, *, channels: int, ratio: int, fancy_upscaling: bool,
    try_recover_truncated: bool, acceptable_fraction: float, dct_method: str,
) -> Any:  # fmt: skip
    """Return a part of a JPEG file: ``[y, x, height, width]``."""
    y, x, height, width = (int(v) for v in np.asarray(crop_window))
    pixels = _jpeg(_data(contents), channels, ratio)
    if min(y, x) < 0 or min(height, width) < 1 or y + height > pixels.shape[0] or x + width > pixels.shape[1]:
        raise refuse("Invalid crop window", expected=f"inside {pixels.shape[:2]}", found=[y, x, height, width])
    return pixels[y : y + height, x : x + width]


@op("DecodeGif", shape=lambda a, contents: [(None, None, None, 3)], host=_HOST)
def decode_gif(xp: Any, contents: Any) -> Any:
    """Return the frames of a GIF file."""
    data = _data(contents)
    return _gif(data) if _kind(data) == "GIF" else _decoded(data, 3, dtypes.uint8, animated=False)[None]


@op("DecodeBmp", shape=_flat_shape, host=_HOST)
def decode_bmp(xp: Any, contents: Any, *, channels: int) -> Any:
    """Return the pixels of a BMP file."""
    return _decoded(_data(contents), channels, dtypes.uint8, animated=False)


@op("DecodeWebP", shape=lambda a, contents: [(None, None, None, a["channels"] or None)], host=_HOST)
def decode_webp(xp: Any, contents: Any, *, channels: int, dtype: DType) -> Any:
    """Return the frames of a WebP file, with as many channels as it has."""
    if channels not in (0, 3, 4):
        raise refuse("the number of channels of a WebP file", expected="0, 3 or 4", found=channels)
    image = _opened(_data(contents), "WEBP")
    own = 4 if image.mode == "RGBA" else 3
    if channels not in (0, own):
        raise refuse("the number of channels of a WebP file", expected=own, found=channels)
    return _frames(image, own)


def _image_shape(a: Attrs, contents: Known) -> list[Dims]:
    return [None if a["expand_animations"] else (None, None, a["channels"] or None)]


@op("DecodeImage", shape=_image_shape, host=_HOST)
def decode_image(xp: Any, contents: Any, *, channels: int, dtype: DType, expand_animations: bool) -> Any:
    """Return the pixels of an image file of any kind; all frames of a GIF where `expand_animations`."""
    return _decoded(_data(contents), channels, dtype, animated=expand_animations)


def _decoded(data: bytes, channels: int, dtype: DType, *, animated: bool) -> Array:
    if channels not in (0, 1, 2, 3, 4):
        raise refuse("the number of channels is out of range", expected="0 to 4", found=channels)
    kind = _kind(data)
    if kind == "PNG":
        wide = dtype is not dtypes.uint8
        pixels = _png(data, channels, wide)
        return pixels if dtype is not dtypes.float32 else pixels.astype(np.float32) / np.float32(65535)
    if kind == "GIF":
        frames = _gif(data, single=not animated)
        pixels = frames if animated else frames[0]
    else:
        pixels = _jpeg(data, channels, 1) if kind == "JPEG" else _bmp(data, channels)
    if dtype is dtypes.uint16:
        return pixels.astype(np.uint16) * 256
    return pixels if dtype is dtypes.uint8 else pixels.astype(np.float32) / np.float32(255)


@op("ExtractJpegShape", shape=lambda a, contents: [(3,)], host=_HOST)
def extract_jpeg_shape(xp: Any, contents: Any, *, output_type: DType) -> Any:
    """Return height, width and channels of a JPEG file."""
    image = _opened(_data(contents), "JPEG")
    return np.array([image.height, image.width, 1 if image.mode == "L" else 3], output_type.numpy)


# --- writing ------------------------------------------------------------------------------------------------------
@op("EncodePng", shape=lambda a, image: [() if image.dims is None else image.dims[:-3]], host=_HOST)
def encode_png(xp: Any, image: Array, *, compression: int) -> Any:
    """Return images as PNG files."""
    if image.ndim < 3:
        raise refuse("no image", expected="[..., height, width, channels]", found=list(image.shape))
    out = np.empty(image.shape[:-3], object)
    flat = out.reshape(-1)
    for i, pixels in enumerate(image.reshape(-1, *image.shape[-3:])):
        try:
            flat[i] = png.encode(pixels, compression)
        except MisuseError as e:
            raise refuse(e.what, expected=e.expected, found=e.found) from None
    return flat.reshape(out.shape)


@op("EncodeJpeg", shape="[?, ?, ?] -> []", host=_HOST)
def encode_jpeg(
    xp: Any, image: Array, *, format: str, quality: int, progressive: bool, optimize_size: bool,
    chroma_downsampling: bool, density_unit: str, x_density: int, y_density: int, xmp_metadata: str,
) -> Any:  # fmt: skip
    """Return an image as a JPEG file."""
    return _as_jpeg(image, format, quality, progressive, optimize_size, chroma_downsampling, (x_density, y_density))


@op("EncodeJpegVariableQuality", shape="[?, ?, ?] [] -> []", host=_HOST)
def encode_jpeg_variable_quality(xp: Any, images: Array, quality: Any) -> Any:
    """Return an image as a JPEG file."""
    return _as_jpeg(images, "", int(quality), False, False, True, (300, 300))


def _as_jpeg(
    image: Array, form: str, quality: int, progressive: bool, optimize: bool, downsample: bool, dpi: tuple[int, int]
) -> Array:
    if image.ndim != 3 or image.shape[2] not in (1, 3) or not image.size:
        raise refuse("no image that JPEG can hold", expected="[height, width, 1 or 3]", found=list(image.shape))
    if form not in ("", "grayscale", "rgb") or (form and image.shape[2] != (1 if form == "grayscale" else 3)):
        raise refuse("the format does not fit the channels", expected=form, found=image.shape[2])
    if not 0 <= quality <= 100:
        raise refuse("the quality is out of range", expected="0 to 100", found=quality)
    out = io.BytesIO()
    picture = _pillow().fromarray(image[:, :, 0] if image.shape[2] == 1 else image)
    picture.save(
        out, "JPEG", quality=max(1, quality), progressive=progressive, optimize=optimize, dpi=dpi,
        subsampling=2 if downsample else 0,
    )  # fmt: skip
    result = np.empty((), object)
    result[()] = out.getvalue()
    return result


# --- boxes --------------------------------------------------------------------------------------------------------
def _with_boxes(images: Array, boxes: Array, colors: Array) -> Array:
    if images.ndim != 4 or boxes.ndim != 3 or boxes.shape[2] != 4 or boxes.shape[0] != images.shape[0]:
        raise refuse("images and boxes do not fit", expected="[n, height, width, channels] and [n, boxes, 4]",
                     found=f"{list(images.shape)} and {list(boxes.shape)}")  # fmt: skip
    out = images.copy()
    height, width, channels = images.shape[1:]
    paint = np.array(colors[:, :channels], np.float32)
    if channels == 1 and colors is _COLORS:
        paint[:] = 1
    for n in range(len(boxes)):
        for i, box in enumerate(boxes[n]):
            scaled = box.astype(np.float32) * np.array([height - 1, width - 1] * 2, np.float32)
            if not np.isfinite(scaled).all():
                raise refuse("a box is not finite", found=box.tolist())
            _draw(out[n], [math.trunc(v) for v in scaled.tolist()], paint[i % len(paint)].astype(out.dtype))
    return out


def _draw(image: Array, box: list[int], color: Array) -> None:
    (top, left, bottom, right), (height, width) = box, image.shape[:2]
    if top > bottom or left > right or top >= height or bottom < 0 or left >= width or right < 0:
        return
    rows, columns = slice(max(top, 0), min(bottom, height - 1) + 1), slice(max(left, 0), min(right, width - 1) + 1)
    if top >= 0:
        image[top, columns] = color
    if bottom < height:
        image[bottom, columns] = color
    if left >= 0:
        image[rows, left] = color
    if right < width:
        image[rows, right] = color


@op("DrawBoundingBoxes", no_gradient=True, shape="x [?, ?, 4] -> x", host="it writes into pixels")
def draw_bounding_boxes(xp: Any, images: Array, boxes: Array) -> Any:
    """Draw the edges of boxes (``[y_min, x_min, y_max, x_max]`` from 0 to 1), in ten colours by turns."""
    return _with_boxes(images, boxes, _COLORS)


@op("DrawBoundingBoxesV2", shape="x [?, ?, 4] -> x", host="it writes into pixels")
def draw_bounding_boxes_v2(xp: Any, images: Array, boxes: Array, colors: Array) -> Any:
    """Draw the edges of boxes in the colours given, ``[n, channels]``; the ten usual ones where that is empty."""
    return _with_boxes(images, boxes, colors if colors.size else _COLORS)
