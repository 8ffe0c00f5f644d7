"""CRC-32C (Castagnoli, RFC 3720 B.4) and the mask that TensorFlow's files put over it.

A CRC stored next to the bytes it covers is masked, ``rotr(crc, 15) + 0xa282ead8``, because the CRC of data that holds
its own CRC is a constant. The polynomial runs in hardware, inside `google_crc32c`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeAlias

import google_crc32c
import numpy as np
import numpy.typing as npt

from coldframe.errors import ChecksumError

Buffer: TypeAlias = "bytes | bytearray | memoryview | npt.NDArray[Any]"

_MASK_DELTA: Final = 0xA282EAD8
# The C extension reads any numpy array in place, but refuses memoryviews; its pure Python stand-in wants bytes.
_IN_PLACE: Final = google_crc32c.implementation == "c"
_value: Final[Callable[[bytes], int]] = google_crc32c.value
_COPY_CHUNK: Final = 1 << 20


def value(data: Buffer) -> int:
    """Return the CRC-32C of `data`, any C-contiguous buffer, without copying it."""
    return extend(0, data)


def extend(crc: int, data: Buffer) -> int:
    """Return the CRC of ``earlier + data``, where `crc` is that of ``earlier``."""
    if isinstance(data, bytes):
        return int(google_crc32c.extend(crc, data))
    array = _as_bytes_array(data)
    if _IN_PLACE:
        return int(google_crc32c.extend(crc, array))
    for at in range(0, array.size, _COPY_CHUNK):
        crc = int(google_crc32c.extend(crc, array[at : at + _COPY_CHUNK].tobytes()))
    return crc


def _as_bytes_array(data: Buffer) -> npt.NDArray[np.uint8]:
    if isinstance(data, np.ndarray):
        # Views of custom dtypes (bfloat16) do not export a plain buffer; their bytes do.
        return np.ascontiguousarray(data).reshape(-1).view(np.uint8)
    return np.frombuffer(data, np.uint8)


def mask(crc: int) -> int:
    """Return `crc` as it is stored in a file."""
    return (((crc >> 15) | (crc << 17)) + _MASK_DELTA) & 0xFFFFFFFF


def unmask(stored: int) -> int:
    """Return the CRC that a stored value stands for."""
    rotated = (stored - _MASK_DELTA) & 0xFFFFFFFF
    return ((rotated >> 17) | (rotated << 15)) & 0xFFFFFFFF


def masked(data: Buffer) -> int:
    """Return the stored form of the CRC of `data`."""
    crc = _value(data) if type(data) is bytes else extend(0, data)  # records are many and short: no call more
    return (((crc >> 15) | (crc << 17)) + _MASK_DELTA) & 0xFFFFFFFF


def check(stored: int, crc: int, *, where: str, hint: str = "") -> None:
    """Raise `ChecksumError` unless the masked value `stored` stands for `crc`."""
    if stored != mask(crc):
        raise ChecksumError(
            "checksum mismatch", where=where, expected=f"crc32c {unmask(stored):#010x}", found=f"{crc:#010x}", hint=hint
        )
