"""Image files to tensors, and back. Decoding takes Pillow: ``pip install 'coldframe[images]'``."""

from __future__ import annotations

from typing import Any

from coldframe import dtypes
from coldframe.tf1.framework.build import raw
from coldframe.tf1.framework.dtype import as_dtype
from coldframe.tf1.framework.graph import name_scope
from coldframe.tf1.image.colors import convert_image_dtype
from coldframe.tf1.simple import simple

decode_png = simple("decode_png(contents, channels=0, dtype='uint8') -> DecodePng")
decode_bmp = simple("decode_bmp(contents, channels=0) -> DecodeBmp")
decode_gif = simple("decode_gif(contents) -> DecodeGif")
encode_png = simple("encode_png(image, compression=-1) -> EncodePng")
decode_jpeg = simple(
    "decode_jpeg(contents, channels=0, ratio=1, fancy_upscaling=True, try_recover_truncated=False, "
    "acceptable_fraction=1, dct_method='') -> DecodeJpeg"
)
decode_and_crop_jpeg = simple(
    "decode_and_crop_jpeg(contents, crop_window, channels=0, ratio=1, fancy_upscaling=True, "
    "try_recover_truncated=False, acceptable_fraction=1, dct_method='') -> DecodeAndCropJpeg"
)
extract_jpeg_shape = simple("extract_jpeg_shape(contents, output_type=int32) -> ExtractJpegShape")
encode_jpeg = simple(
    "encode_jpeg(image, format='', quality=95, progressive=False, optimize_size=False, chroma_downsampling=True, "
    "density_unit='in', x_density=300, y_density=300, xmp_metadata='') -> EncodeJpeg"
)


def decode_image(
    contents: Any, channels: int | None = None, dtype: Any = dtypes.uint8, name: str | None = None,
    expand_animations: bool = True,
) -> Any:  # fmt: skip
    """Return the pixels of a PNG, JPEG, BMP or GIF file.

    Args:
        contents: the file, a string scalar.
        channels: 1, 3 or 4; None or 0 for those of the file.
        dtype: of the pixels; floats are from 0 to 1.
        expand_animations: return all frames of a GIF, with one dimension more.
    """
    kind = as_dtype(dtype)
    with name_scope(name, "decode_image"):
        direct = kind in (dtypes.float32, dtypes.uint8, dtypes.uint16)
        pixels = raw.DecodeImage(
            contents, channels=channels or 0, expand_animations=expand_animations,
            dtype=kind if direct else dtypes.uint16,
        )  # fmt: skip
        return pixels if direct else convert_image_dtype(pixels, kind)


def is_jpeg(contents: Any, name: str | None = None) -> Any:
    """Return whether a file begins as JPEG files do."""
    with name_scope(name, "is_jpeg"):
        return raw.Equal(raw.Substr(contents, 0, 3), b"\xff\xd8\xff", name=name)


__all__ = [
    "decode_and_crop_jpeg", "decode_bmp", "decode_gif", "decode_image", "decode_jpeg", "decode_png", "encode_jpeg",
    "encode_png", "extract_jpeg_shape", "is_jpeg",
]  # fmt: skip
