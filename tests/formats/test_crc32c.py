from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from coldframe.errors import ChecksumError
from coldframe.formats import crc32c

RFC_3720_B4 = [
    (bytes(32), 0x8A9136AA),
    (b"\xff" * 32, 0x62A8AB43),
    (bytes(range(32)), 0x46DD794E),
    (bytes(range(31, -1, -1)), 0x113FDB5C),
    (
        bytes.fromhex(
            "01c00000000000000000000000000000 14000000000004000000001400000018 28000000000000000200000000000000"
        ),
        0xD9963A56,
    ),
    (b"123456789", 0xE3069283),
    (b"", 0),
]


@pytest.mark.parametrize(("data", "crc"), RFC_3720_B4)
@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, lambda b: np.frombuffer(b, np.uint8)])
def test_vectors(data, crc, kind):
    assert crc32c.value(kind(data)) == crc


def test_extend_is_the_crc_of_the_whole():
    data = bytes(range(256)) * 5
    for at in (0, 1, 100, len(data)):
        assert crc32c.extend(crc32c.value(data[:at]), memoryview(data)[at:]) == crc32c.value(data)


def test_arrays_of_any_dtype_count_as_their_bytes():
    for array in (np.arange(7, dtype=np.float64), np.ones((2, 3), ml_dtypes.bfloat16), np.array(5), np.eye(4)[:, ::2]):
        assert crc32c.value(array) == crc32c.value(array.tobytes())


def test_the_stand_in_without_c_extension(monkeypatch):
    monkeypatch.setattr(crc32c, "_IN_PLACE", False)
    monkeypatch.setattr(crc32c, "_COPY_CHUNK", 5)
    for data, crc in RFC_3720_B4:
        assert crc32c.value(memoryview(data)) == crc


def test_mask_and_unmask():
    crc = crc32c.value(b"foo")
    assert crc32c.mask(crc) not in (crc, crc32c.mask(crc32c.mask(crc)))
    assert crc32c.mask(0) == 0xA282EAD8
    for value in (0, 1, crc, 0xFFFFFFFF):
        assert crc32c.unmask(crc32c.mask(value)) == value
    assert crc32c.masked(b"foo") == crc32c.mask(crc)


def test_check_names_both_values():
    crc32c.check(crc32c.masked(b"foo"), crc32c.value(b"foo"), where="in a")
    with pytest.raises(ChecksumError, match=r"checksum mismatch of x: expected crc32c 0x[0-9a-f]{8}, found 0x00000000"):
        crc32c.check(crc32c.masked(b"foo"), 0, where="of x")
