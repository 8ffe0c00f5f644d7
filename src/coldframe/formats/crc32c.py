"""CRC-32C (Castagnoli, RFC 3720 B.4) and the mask that TensorFlow's files put over it.

A CRC stored next to the bytes it covers is masked, ``rotr(crc, 15) + 0xa282ead8``, because the CRC of data that holds
its own CRC is a constant. The polynomial runs in hardware, inside `google_crc32c`.

Large buffers can be worked on by several threads: the library's own C function is called without Python's lock where it
can be reached, and the CRCs of pieces are put together by `combine`: a CRC is the remainder of a polynomial over bits,
so that appending n bytes multiplies it by x^(8n).
"""

from __future__ import annotations

import ctypes
import functools
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
_value: Final[Callable[[Any], int]] = google_crc32c.value
_COPY_CHUNK: Final = 1 << 20
_WORTH_RELEASING: Final = 1 << 18  # below, the call through ctypes costs more than threads gain
_POLYNOMIAL: Final = 0x82F63B78  # bit 31 stands for x^0


def _find_released() -> Callable[[int, int, int], int] | None:
    """Return the C library's ``crc32c_extend(crc, address, size)``, which needs no lock; None where it is hidden."""
    if not _IN_PLACE:
        return None
    from google_crc32c import _crc32c

    try:  # looked up in the extension and in what it is linked to
        function = ctypes.CDLL(_crc32c.__file__).crc32c_extend
    except (OSError, AttributeError):
        return None
    function.argtypes = (ctypes.c_uint32, ctypes.c_void_p, ctypes.c_size_t)
    function.restype = ctypes.c_uint32
    released: Callable[[int, int, int], int] = function
    return released


_released: Final = _find_released()


def value(data: Buffer) -> int:
    """Return the CRC-32C of `data`, any C-contiguous buffer, without copying it."""
    return extend(0, data)


def masked_array(array: npt.NDArray[Any]) -> int:
    """Return the masked CRC-32C of an array in row-major order, a small one, with as little around it as can be."""
    crc = _value(array) if _IN_PLACE else value(array)
    return (((crc >> 15) | (crc << 17)) + _MASK_DELTA) & 0xFFFFFFFF


def extend(crc: int, data: Buffer) -> int:
    """Return the CRC of ``earlier + data``, where `crc` is that of ``earlier``."""
    if isinstance(data, bytes):
        return int(google_crc32c.extend(crc, data))
    array = _as_bytes_array(data)
    if _released is not None and array.size >= _WORTH_RELEASING:
        return _released(crc, array.ctypes.data, array.size)
    if _IN_PLACE:
        return int(google_crc32c.extend(crc, array))
    for at in range(0, array.size, _COPY_CHUNK):
        crc = int(google_crc32c.extend(crc, array[at : at + _COPY_CHUNK].tobytes()))
    return crc


def combine(first: int, second: int, size: int) -> int:
    """Return the CRC of ``a + b``, where `first` is that of a, and `second` that of b, which has `size` bytes."""
    power = 1 << 31
    bit = 0
    while size >> bit:
        if size >> bit & 1:
            power = _multiplied(_byte_power(bit), power)
        bit += 1
    return _multiplied(power, first) ^ second


def combine_all(
    crcs: npt.NDArray[np.uint32], behind: npt.NDArray[np.int64], firsts: npt.NDArray[np.int64]
) -> list[int]:
    """Return the CRCs of several runs of bytes, each made up of pieces.

    Args:
        crcs: the CRCs of all pieces, run by run.
        behind: how many bytes of its run come behind each piece.
        firsts: the first piece of each run.
    """
    moved = crcs
    for bit in range(int(behind.max(initial=0)).bit_length()):
        table = _power_table(bit)
        low, high = moved & 0xFFFF, moved >> 16
        further = table[0, low & 0xFF] ^ table[1, low >> 8] ^ table[2, high & 0xFF] ^ table[3, high >> 8]
        moved = np.where(behind >> bit & 1, further, moved)
    return [int(crc) for crc in np.bitwise_xor.reduceat(moved, firsts)]


@functools.cache
def _power_table(exponent: int) -> npt.NDArray[np.uint32]:
    """Return what x^(8 * 2^exponent) makes of each value of each of the four bytes of a CRC, from the lowest on."""
    b: npt.NDArray[np.uint32] = np.arange(256, dtype=np.uint32) << np.array([[0], [8], [16], [24]], np.uint32)
    power, product = _byte_power(exponent), np.zeros((4, 256), np.uint32)
    for bit in range(31, -1, -1):
        if power >> bit & 1:
            product ^= b
        b = b >> np.uint32(1) ^ (b & np.uint32(1)) * np.uint32(_POLYNOMIAL)
    return product


@functools.cache
def _byte_power(exponent: int) -> int:
    """Return x^(8 * 2^exponent), modulo the polynomial."""
    if not exponent:
        return 1 << 23
    root = _byte_power(exponent - 1)
    return _multiplied(root, root)


def _multiplied(a: int, b: int) -> int:
    product = 0
    for bit in range(31, -1, -1):
        if a >> bit & 1:
            product ^= b
        b = b >> 1 ^ (_POLYNOMIAL if b & 1 else 0)
    return product


def _as_bytes_array(data: Buffer) -> npt.NDArray[np.uint8]:
    if isinstance(data, np.ndarray):
        if data.ndim == 1 and data.dtype == np.uint8 and data.flags.c_contiguous:
            return data
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


def unmask_all(stored: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return the CRCs that stored values stand for."""
    rotated = (stored - _MASK_DELTA) & 0xFFFFFFFF
    return ((rotated >> 17) | (rotated << 15)) & 0xFFFFFFFF


def check(stored: int, crc: int, *, where: str, hint: str = "") -> None:
    """Raise `ChecksumError` unless the masked value `stored` stands for `crc`."""
    if stored != mask(crc):
        raise ChecksumError(
            "checksum mismatch", where=where, expected=f"crc32c {unmask(stored):#010x}", found=f"{crc:#010x}", hint=hint
        )
