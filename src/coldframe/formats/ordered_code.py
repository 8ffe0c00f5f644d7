"""OrderedCode: byte strings that sort like the values they hold, and the keys of tensor slices made of them.

::

    NumIncreasing   [n][n bytes, big-endian, minimal]              0 -> 00, 258 -> 02 01 02
    String          00 -> 00 ff, ff -> ff 00, then 00 01            "a" -> 61 00 01
    SignedNum       n bytes hold -2^(7n-1) <= v < 2^(7n-1): v in two's complement, big-endian, with its first
                    bits flipped by n ones                          0 -> 80, -1 -> 7f, 64 -> c0 40
    slice key       NumIncreasing(0) String(name) NumIncreasing(rank), then SignedNum(start) SignedNum(length) per
                    dimension, where length -1 is the whole dimension

Follows tensorflow/core/lib/strings/ordered_code.cc and tensorflow/core/util/saved_tensor_slice_util.cc.
Slice keys start with 00 and so sort before every printable tensor name, behind the header's empty key.
"""

from __future__ import annotations

import re
from typing import Final

from coldframe.errors import CorruptError, MisuseError

_MAX_SIGNED_BYTES: Final = 10
_TERMINATOR: Final = b"\x00\x01"
_ESCAPED: Final = re.compile(rb"[\x00\xff]")


def encode_num(value: int) -> bytes:
    """Encode an unsigned 64-bit integer (NumIncreasing)."""
    if not 0 <= value < 1 << 64:
        raise MisuseError("ordered code holds unsigned 64-bit integers", found=value)
    payload = value.to_bytes((value.bit_length() + 7) // 8, "big")
    return bytes((len(payload),)) + payload


def encode_string(value: bytes) -> bytes:
    """Encode bytes (String)."""
    return _ESCAPED.sub(lambda m: m[0] + (b"\xff" if m[0] == b"\x00" else b"\x00"), value) + _TERMINATOR


def encode_signed(value: int) -> bytes:
    """Encode a signed 64-bit integer (SignedNumIncreasing)."""
    if not -(1 << 63) <= value < 1 << 63:
        raise MisuseError("ordered code holds signed 64-bit integers", found=value)
    magnitude = value if value >= 0 else ~value
    length = magnitude.bit_length() // 7 + 1
    plain = value.to_bytes(length, "big", signed=True)
    return _flip_header(plain, length)


def _flip_header(data: bytes, length: int) -> bytes:
    ones = ((1 << length) - 1) << (8 * len(data) - length)
    return (int.from_bytes(data, "big") ^ ones).to_bytes(len(data), "big")


def decode_num(data: bytes, at: int) -> tuple[int, int]:
    """Return the NumIncreasing at offset `at` and the offset behind it; raise `CorruptError`."""
    if at >= len(data):
        raise _bad("number", data, at)
    length = data[at]
    payload = data[at + 1 : at + 1 + length]
    if length > 8 or len(payload) != length or (length and not payload[0]):
        raise _bad("number", data, at)
    return int.from_bytes(payload, "big"), at + 1 + length


def decode_string(data: bytes, at: int) -> tuple[bytes, int]:
    """Return the String at offset `at` and the offset behind it; raise `CorruptError`."""
    out = bytearray()
    i = at
    while i + 1 < len(data):
        byte, following = data[i], data[i + 1]
        if byte == 0 and following == 1:
            return bytes(out), i + 2
        out.append(byte)
        if byte not in (0, 0xFF):
            i += 1
        elif byte + following == 0xFF:  # 00 ff or ff 00
            i += 2
        else:
            break
    raise _bad("string", data, at)


def decode_signed(data: bytes, at: int) -> tuple[int, int]:
    """Return the SignedNum at offset `at` and the offset behind it; raise `CorruptError`."""
    if at >= len(data):
        raise _bad("signed number", data, at)
    head = int.from_bytes(data[at : at + 2].ljust(2, b"\0"), "big")
    flipped = head if head & 0x8000 else ~head & 0xFFFF
    length = 16 - (~flipped & 0xFFFF).bit_length()
    raw = data[at : at + length]
    if not 1 <= length <= _MAX_SIGNED_BYTES or len(raw) != length:
        raise _bad("signed number", data, at)
    value = int.from_bytes(_flip_header(raw, length), "big", signed=True)
    if not -(1 << 63) <= value < 1 << 63 or encode_signed(value) != raw:
        raise _bad("signed number", data, at)
    return value, at + length


def encode_slice_key(name: str, starts: tuple[int, ...], lengths: tuple[int, ...]) -> bytes:
    """Return the key of a slice of tensor `name`; a length of -1 is the whole dimension."""
    parts = [encode_num(0), encode_string(name.encode()), encode_num(len(starts))]
    for start, length in zip(starts, lengths, strict=True):
        parts += [encode_signed(start), encode_signed(length)]
    return b"".join(parts)


def decode_slice_key(key: bytes) -> tuple[str, tuple[int, ...], tuple[int, ...]]:
    """Return a slice key's tensor name, starts and lengths; raise `CorruptError` where it is not one."""
    zero, at = decode_num(key, 0)
    raw_name, at = decode_string(key, at)
    rank, at = decode_num(key, at)
    if zero or rank > len(key):
        raise _bad("slice key", key, 0)
    starts, lengths = [], []
    for _ in range(rank):
        start, at = decode_signed(key, at)
        length, at = decode_signed(key, at)
        starts.append(start)
        lengths.append(length)
    try:
        name = raw_name.decode()
    except UnicodeDecodeError:
        raise _bad("slice key", key, 0) from None
    if at != len(key):
        raise _bad("slice key", key, at)
    return name, tuple(starts), tuple(lengths)


def is_slice_key(key: bytes) -> bool:
    """Whether a checkpoint's key is that of a slice: tensor names do not start with a zero byte."""
    return key[:1] == b"\x00"


def _bad(what: str, data: bytes, at: int) -> CorruptError:
    return CorruptError(f"not an ordered code {what}", where=f"at byte {at} of key {data[:64]!r}")
