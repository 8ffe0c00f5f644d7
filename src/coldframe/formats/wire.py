"""Protocol buffer wire format by hand, where messages come by the hundred thousand, or are large.

::

    field   [varint: number << 3 | type][payload]
    type    0 varint, 1 eight bytes, 2 [varint size][bytes], 5 four bytes

Everything that is not on a hot path uses `coldframe.formats.messages`. Follows
https://protobuf.dev/programming-guides/encoding/.
"""

from __future__ import annotations

from collections.abc import Iterator

_SMALL = tuple(bytes((i,)) for i in range(0x80))


def encode_varint(value: int) -> bytes:
    """Encode an unsigned integer, seven bits per byte, low bits first."""
    if value < 0x80:
        return _SMALL[value]
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def decode_varint(data: bytes | memoryview, at: int, end: int) -> tuple[int, int]:
    """Return the unsigned 64-bit varint at offset `at`, and the offset behind it; raise `ValueError` beyond `end`."""
    value = shift = 0
    while at < end and shift < 70:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise ValueError("varint")


def signed(value: int) -> int:
    """Return a 64-bit varint as the signed integer that ``int32`` and ``int64`` fields mean by it."""
    value &= 0xFFFFFFFFFFFFFFFF
    return value - (1 << 64) if value >> 63 else value


def fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield number and payload of each field, integers unsigned; raise `ValueError` where the bytes are no message."""
    at, end = 0, len(data)
    while at < end:
        tag, at = decode_varint(data, at, end)
        kind = tag & 7
        if kind == 0:
            number, at = decode_varint(data, at, end)
            yield tag >> 3, number
            continue
        if kind == 2:
            size, at = decode_varint(data, at, end)
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
        else:
            raise ValueError("wire type")
        payload = data[at : at + size]
        if len(payload) != size:
            raise ValueError("truncated")
        at += size
        yield tag >> 3, payload if kind == 2 else int.from_bytes(payload, "little")


def spans(view: memoryview, at: int, end: int, most: int) -> list[tuple[int, int, int, int]]:
    """Return of each field between two offsets its tag, where it begins, and where its payload begins and ends.

    Raises:
        ValueError: the bytes are no message, or there are more than `most` fields.
    """
    found: list[tuple[int, int, int, int]] = []
    while at < end:
        start = at
        tag, at = decode_varint(view, at, end)
        kind = tag & 7
        if kind == 0:
            _, last = decode_varint(view, at, end)
        elif kind == 2:
            size, at = decode_varint(view, at, end)
            last = at + size
        elif kind in (1, 5):
            last = at + (8 if kind == 1 else 4)
        else:
            raise ValueError("wire type")
        if last > end or not 8 <= tag < 1 << 32:
            raise ValueError("truncated")
        if len(found) == most:
            raise ValueError("many fields")
        found.append((tag, start, at, last))
        at = last
    return found


def delimited(number: int) -> int:
    """Return the tag of a length-delimited field."""
    return number << 3 | 2


def integer_field(number: int, value: int) -> bytes:
    """Encode a varint field, or nothing for zero, proto3's default."""
    return encode_varint(number << 3) + encode_varint(value) if value else b""


def bytes_field(number: int, value: bytes) -> bytes:
    """Encode a length-delimited field, empty or not."""
    return encode_varint(number << 3 | 2) + encode_varint(len(value)) + value
