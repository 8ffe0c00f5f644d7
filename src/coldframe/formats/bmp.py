"""BMP images, as TensorFlow reads them: rows of bytes, whatever the header says of palettes and compression.

::

    file      "BM" | u32 size | 4 bytes | u32 start of the pixels | u32 size of what follows | i32 width | i32 height
              | u16 planes | u16 bits per pixel | ...              numbers are little-endian
    pixels    rows from the bottom up, from the top down where the height is negative; each padded to 4 bytes
              1 byte a pixel: gray; 3: blue, green, red; 4: blue, green, red, alpha

The size in the header is not looked at: encoders are careless with it. A palette is passed over, so that pixels of one
byte are their numbers in it. Source: TensorFlow's documentation of DecodeBmp, and what it answers.
"""

from __future__ import annotations

import struct
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from coldframe.errors import CorruptError

_HEADER: Final = struct.Struct("<10xi4xiihh")


def read(data: bytes, most: int) -> npt.NDArray[Any]:
    """Return the pixels of a BMP file: uint8 [height, width, 1, 3 or 4 channels], colours as red, green, blue, alpha.

    Args:
        data: the file.
        most: refuse images of more pixels.

    Raises:
        CorruptError: it is no BMP file, or has another size than its header tells, or other pixels.
    """
    if len(data) < 32 or not data.startswith(b"BM"):
        raise CorruptError("no BMP image", expected="`BM` and at least 32 bytes", found=f"{len(data)} bytes")
    start, width, height, _, bits = _HEADER.unpack_from(data)
    rows, channels = abs(height), bits // 8
    if start < 0 or width <= 0 or not rows or rows * width > most:
        raise CorruptError(
            "the header of a BMP image", where="at byte 10", expected=f"a start, and 1 to {most} pixels",
            found=f"start {start}, {width} x {height} pixels",
        )  # fmt: skip
    if channels not in (1, 3, 4):
        raise CorruptError("the pixels of a BMP image", where="at byte 28", expected="8, 24 or 32 bits", found=bits)
    stride = -(-width * channels // 4) * 4
    if len(data) != start + rows * stride:
        raise CorruptError(
            "the size of a BMP image", expected=f"{start + rows * stride} bytes", found=f"{len(data)} bytes"
        )
    table = np.frombuffer(data, np.uint8, rows * stride, start).reshape(rows, stride)
    pixels = table[:, : width * channels].reshape(rows, width, channels)
    pixels = pixels if height < 0 else pixels[::-1]
    return np.ascontiguousarray(pixels[:, :, [2, 1, 0, 3][:channels]] if channels > 1 else pixels)
