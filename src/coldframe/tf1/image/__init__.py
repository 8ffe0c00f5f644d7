"""`tf.image`: decoding, resizing, cropping, flipping, colours, boxes, and how alike images are."""

from __future__ import annotations

from typing import Final

from coldframe.tf1.lazy import namespace

_HERE: Final = "coldframe.tf1.image"
_SOURCES: Final = [f"{_HERE}.{m}" for m in ("codecs", "resize", "geometry", "colors", "boxes", "quality")]
_ALIASES: Final = {
    "extract_image_patches": "coldframe.tf1.layout_ops:extract_image_patches",
    "transpose": "coldframe.tf1.image.geometry:transpose_image",
}

__getattr__, __dir__ = namespace(__name__, "tf.image", _SOURCES, _ALIASES)
