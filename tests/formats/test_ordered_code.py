from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coldframe.errors import CorruptError, MisuseError
from coldframe.formats import ordered_code as oc

NUMS = st.integers(0, 2**64 - 1)
SIGNED = st.integers(-(2**63), 2**63 - 1) | st.integers(-300, 300)
TRICKY = st.binary(max_size=12) | st.lists(st.sampled_from([b"\0", b"\xff", b"\1", b"a"]), max_size=8).map(b"".join)


@given(NUMS, NUMS)
def test_numbers_sort_and_return(a, b):
    assert (a < b) == (oc.encode_num(a) < oc.encode_num(b))
    assert oc.decode_num(b"x" + oc.encode_num(a), 1) == (a, 1 + len(oc.encode_num(a)))


@given(SIGNED, SIGNED)
def test_signed_numbers_sort_and_return(a, b):
    assert (a < b) == (oc.encode_signed(a) < oc.encode_signed(b))
    assert oc.decode_signed(oc.encode_signed(a) + b"\xff\0", 0) == (a, len(oc.encode_signed(a)))


@given(TRICKY, TRICKY)
def test_strings_sort_and_return(a, b):
    assert (a < b) == (oc.encode_string(a) < oc.encode_string(b))
    assert oc.decode_string(oc.encode_string(a) + b, 0) == (a, len(oc.encode_string(a)))


@given(st.text(max_size=8), st.lists(st.tuples(SIGNED, SIGNED), max_size=4))
def test_slice_keys_return(name, extents):
    starts, lengths = tuple(a for a, _ in extents), tuple(n for _, n in extents)
    assert oc.decode_slice_key(oc.encode_slice_key(name, starts, lengths)) == (name, starts, lengths)


@given(st.binary(max_size=24))
def test_any_bytes_are_decoded_or_corrupt(data):
    for decode in (oc.decode_num, oc.decode_string, oc.decode_signed):
        try:
            value, at = decode(data, 0)
        except CorruptError:
            continue
        encode = {oc.decode_num: oc.encode_num, oc.decode_string: oc.encode_string}.get(decode, oc.encode_signed)
        assert encode(value) == data[:at]
    try:
        name, starts, lengths = oc.decode_slice_key(b"\0" + data)
    except CorruptError:
        return
    assert oc.encode_slice_key(name, starts, lengths) == b"\0" + data


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (0, "80"),
        (3, "83"),
        (-1, "7f"),
        (63, "bf"),
        (-64, "40"),
        (64, "c040"),
        (-65, "3fbf"),
        (8191, "dfff"),
        (8192, "e02000"),
    ],
)
def test_signed_codes(value, code):
    assert oc.encode_signed(value).hex() == code


def test_the_key_that_tensorflow_writes():
    key = bytes.fromhex("00 70 00 01 01 02 80 83 80 84")
    assert oc.encode_slice_key("p", (0, 0), (3, 4)) == key
    assert oc.is_slice_key(key)
    assert not oc.is_slice_key(b"p")
    assert oc.encode_slice_key("p", (0,), (-1,)).endswith(b"\x80\x7f")


def test_messages():
    with pytest.raises(CorruptError, match="not an ordered code number at byte 0 of key"):
        oc.decode_num(b"\x02\x01", 0)
    with pytest.raises(MisuseError, match="unsigned 64-bit"):
        oc.encode_num(-1)
    with pytest.raises(MisuseError, match="signed 64-bit"):
        oc.encode_signed(2**63)
