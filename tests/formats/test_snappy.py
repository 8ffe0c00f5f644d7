from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coldframe.errors import CorruptError
from coldframe.formats import snappy
from coldframe.formats.wire import encode_varint


def literal(data: bytes) -> bytes:
    n = len(data) - 1
    if n < 60:
        return bytes([n << 2]) + data
    width = (n.bit_length() + 7) // 8
    return bytes([(59 + width) << 2]) + n.to_bytes(width, "little") + data


def copy(length: int, offset: int) -> bytes:
    if 4 <= length <= 11 and offset < 2048:
        return bytes([1 | (length - 4) << 2 | offset >> 8 << 5, offset & 0xFF])
    if offset < 1 << 16:
        return bytes([2 | (length - 1) << 2]) + offset.to_bytes(2, "little")
    return bytes([3 | (length - 1) << 2]) + offset.to_bytes(4, "little")


@given(st.lists(st.binary(min_size=1, max_size=300) | st.tuples(st.integers(1, 64), st.integers(1, 3000)), max_size=30))
def test_elements_against_a_naive_decoder(parts):
    plain, body = bytearray(), b""
    for part in parts:
        if isinstance(part, bytes):
            plain += part
            body += literal(part)
        elif plain:
            length, offset = part[0], min(part[1], len(plain))
            body += copy(length, offset)
            for _ in range(length):
                plain.append(plain[-offset])
    assert snappy.decompress(encode_varint(len(plain)) + body) == plain


@given(st.binary(max_size=60))
def test_any_bytes_are_decoded_or_corrupt(data):
    try:
        snappy.decompress(data)
    except CorruptError:
        return


def test_far_copies():
    data = bytes(range(256)) * 300
    stored = encode_varint(len(data) + 4) + literal(data) + copy(4, 70_000)
    assert snappy.decompress(stored)[-4:] == data[-70_000:][:4]


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "not a varint32"),
        (b"\xff" * 6, "not a varint32"),
        (encode_varint(1 << 30) + b"\0a", r"claims more bytes .*: expected at most \d+, found 1073741824"),
        (b"\x05\x00a", "another length in x: expected 5, found 1"),
        (b"\x01\x04ab", "more bytes than announced"),
        (b"\x05\x10ab", "literal beyond the end"),
        (b"\x05\x00a\x01", "copy beyond the end"),
        (b"\x05\x00a\x01\x05", "copy from offset 5 of 1 bytes"),
        (b"\x05\x00a\x01\x00", "copy from offset 0"),
    ],
)
def test_damage_is_named(data, why):
    with pytest.raises(CorruptError, match=why):
        snappy.decompress(data, where="in x")
