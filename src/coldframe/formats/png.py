"""PNG images, as summaries hold them.

::

    file    signature | IHDR | IDAT | IEND
    chunk   u32 size | 4 letters | data | u32 crc32 of letters and data      numbers are big-endian
    IDAT    zlib stream of rows, each behind a byte that names its filter

Rows are written by the filter "up", the difference to the row above: it costs one subtraction, and pictures gain by it.
Source: the PNG specification, third edition (W3C, 2025).
"""

from __future__ import annotations

import struct
import zlib
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from coldframe.errors import MisuseError

SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_COLOR_TYPES: Final = {1: 0, 2: 4, 3: 2, 4: 6}  # channels -> gray, gray and alpha, RGB, RGB and alpha
_UP: Final = 2


def encode(pixels: npt.NDArray[Any], level: int = -1) -> bytes:
    """Return an image as PNG.

    Args:
        pixels: uint8 or uint16, [height, width, channels]; 1 to 4 channels.
        level: how hard to compress, from 0 to 9; -1 is zlib's default.

    Raises:
        MisuseError: it is no image of that kind, or has no pixels.
    """
    if pixels.ndim != 3 or pixels.shape[2] not in _COLOR_TYPES or pixels.dtype not in (np.uint8, np.uint16):
        raise MisuseError(
            "no image that PNG can hold",
            expected="[height, width, 1 to 4 channels] of uint8 or uint16",
            found=f"{list(pixels.shape)} of {pixels.dtype}",
        )
    height, width, channels = pixels.shape
    if not pixels.size:
        raise MisuseError("an image without pixels", found=f"{height} x {width}")
    depth = 8 * pixels.dtype.itemsize
    rows = np.ascontiguousarray(pixels.astype(pixels.dtype.newbyteorder(">"))).view(np.uint8).reshape(height, -1)
    filtered = np.empty((height, rows.shape[1] + 1), np.uint8)
    filtered[:, 0] = _UP
    filtered[0, 1:] = rows[0]
    np.subtract(rows[1:], rows[:-1], out=filtered[1:, 1:])
    header = struct.pack(">IIBBBBB", width, height, depth, _COLOR_TYPES[channels], 0, 0, 0)
    data = zlib.compress(filtered.tobytes(), level)
    return SIGNATURE + _chunk(b"IHDR", header) + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return b"".join((struct.pack(">I", len(data)), kind, data, struct.pack(">I", zlib.crc32(data, zlib.crc32(kind)))))
