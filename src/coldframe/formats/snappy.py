"""Snappy's block format, decoding only: TensorFlow's tables may hold such blocks, though no TensorFlow writes them.

::

    [varint length of the plain bytes] then elements, by the low two bits of their first byte:
    00  literal   length-1 in the high six bits, or 60..63: in the next 1..4 bytes, little-endian
    01  copy      length 4 + bits 2-4, offset: bits 5-7 and the next byte
    10  copy      length 1 + bits 2-7, offset: the next 2 bytes
    11  copy      length 1 + bits 2-7, offset: the next 4 bytes

Follows https://github.com/google/snappy/blob/main/format_description.txt.
"""

from __future__ import annotations

from typing import Final

from coldframe.errors import CorruptError

# The densest element, a copy of 64 bytes, takes three: no honest block claims more than this many bytes per byte.
_MAX_RATIO: Final = 22


def decompress(data: bytes, *, where: str = "") -> bytes:
    """Return the plain bytes of a snappy block; raise `CorruptError` before allocating what it cannot hold."""
    claimed, at = _claimed_length(data, where)
    if claimed > _MAX_RATIO * len(data):
        raise CorruptError(
            "snappy block claims more bytes than it can hold",
            where=where,
            expected=f"at most {_MAX_RATIO * len(data)}",
            found=claimed,
        )
    out = bytearray()
    end = len(data)
    while at < end:
        tag = data[at]
        at += 1
        if tag & 3 == 0:
            length, at = _literal_length(data, at, tag >> 2)
            if at + length > end:
                raise _bad("literal beyond the end", at, where)
            out += data[at : at + length]
            at += length
        else:
            length, offset, at = _copy(data, at, tag, where)
            _repeat(out, length, offset, at, where)
        if len(out) > claimed:
            raise _bad("more bytes than announced", at, where)
    if len(out) != claimed:
        raise CorruptError("snappy block has another length", where=where, expected=claimed, found=len(out))
    return bytes(out)


def _claimed_length(data: bytes, where: str) -> tuple[int, int]:
    value = 0
    for i, byte in enumerate(data[:5]):
        value |= (byte & 0x7F) << (7 * i)
        if byte < 0x80:
            return value, i + 1
    raise _bad("length is not a varint32", 0, where)


def _literal_length(data: bytes, at: int, code: int) -> tuple[int, int]:
    if code < 60:
        return code + 1, at
    width = code - 59
    return int.from_bytes(data[at : at + width], "little") + 1, at + width


def _copy(data: bytes, at: int, tag: int, where: str) -> tuple[int, int, int]:
    kind = tag & 3
    width = (1, 2, 4)[kind - 1]
    raw = data[at : at + width]
    if len(raw) != width:
        raise _bad("copy beyond the end", at, where)
    offset = int.from_bytes(raw, "little")
    if kind == 1:
        return 4 + (tag >> 2 & 7), (tag >> 5) << 8 | offset, at + width
    return (tag >> 2) + 1, offset, at + width


def _repeat(out: bytearray, length: int, offset: int, at: int, where: str) -> None:
    """Append `length` bytes from `offset` back; where they overlap the end, the pattern repeats."""
    start = len(out) - offset
    if offset == 0 or start < 0:
        raise _bad(f"copy from offset {offset} of {len(out)} bytes", at, where)
    if offset >= length:
        out += out[start : start + length]
    else:
        pattern = bytes(out[start:])
        out += (pattern * (length // offset + 1))[:length]


def _bad(what: str, at: int, where: str) -> CorruptError:
    return CorruptError(f"snappy block is damaged, {what}", where=f"at byte {at} {where}".rstrip())
