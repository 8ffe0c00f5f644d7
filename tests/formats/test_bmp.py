"""BMP files: what TensorFlow reads of them, and what it refuses."""

from __future__ import annotations

import struct

import numpy as np
import pytest
import tensorflow as tf

from coldframe.errors import CorruptError
from coldframe.formats import bmp


def file_of(width: int, height: int, bits: int, pixels: bytes, *, start: int = 54, between: bytes = b"") -> bytes:
    header = struct.pack("<IHHI", 61, 0, 0, start)  # the size is wrong on purpose: nobody looks at it
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, 0, len(pixels), 0, 0, 0, 0)
    return b"BM" + header + info + between + pixels


GOOD = {
    "gray": file_of(2, 2, 8, b"\0\xff\0\0\xff\0\0\0"),
    "from the top": file_of(2, -2, 8, b"\0\xff\0\0\xff\0\0\0"),
    "numbers in a palette": file_of(2, 1, 8, b"\7\3\0\0", start=54 + 1024, between=bytes(1024)),
    "colours": file_of(1, 2, 24, b"abc\0def\0"),
    "padded": file_of(3, 2, 24, bytes(range(24))),
    "alpha": file_of(1, 2, 32, b"abcddefg"),
    "something between": file_of(1, 2, 24, b"abc\0def\0", start=58, between=b"1234"),
}
BAD = {
    "nothing": b"",
    "another kind": b"XX" + GOOD["gray"][2:],
    "a header cut off": GOOD["gray"][:31],
    "a byte short": GOOD["colours"][:-1],
    "a byte long": GOOD["colours"] + b"x",
    "no width": file_of(0, 2, 24, b""),
    "a negative width": file_of(-1, 2, 24, b"abc\0def\0"),
    "no height": file_of(1, 0, 24, b""),
    "two bytes a pixel": file_of(1, 2, 16, b"abc\0def\0"),
    "one bit a pixel": file_of(8, 1, 1, b"\xaa\0\0\0"),
    "a start before the file": file_of(1, 2, 24, b"abc\0def\0", start=0xFFFFFFFF),
    "more pixels than there can be": file_of(1 << 30, 1 << 30, 24, b"abc\0"),
    "the lowest height": file_of(1, -(1 << 31), 24, b"abc\0"),
}


@pytest.mark.parametrize("name", GOOD)
def test_pixels_are_tensorflows(name: str) -> None:
    got = bmp.read(GOOD[name], 1 << 20)
    np.testing.assert_array_equal(got, tf.io.decode_bmp(GOOD[name]).numpy())
    assert got.dtype == np.uint8


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_image_is_refused(name: str) -> None:
    with pytest.raises(tf.errors.InvalidArgumentError):
        tf.io.decode_bmp(BAD[name])
    with pytest.raises(CorruptError, match="BMP image"):
        bmp.read(BAD[name], 1 << 20)


def test_the_message_tells_what_was_expected() -> None:
    with pytest.raises(CorruptError, match="the size of a BMP image: expected 62 bytes, found 61 bytes"):
        bmp.read(BAD["a byte short"], 1 << 20)
