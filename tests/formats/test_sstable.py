from __future__ import annotations

import contextlib
import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coldframe.errors import (
    ChecksumError,
    ColdframeError,
    CorruptError,
    MisuseError,
    TruncatedError,
    UnsupportedFormatError,
    WrongFileError,
)
from coldframe.formats import crc32c, sstable
from coldframe.formats.sstable import Table, TableWriter, encode_table
from coldframe.formats.wire import encode_varint


def table_bytes(entries: dict[bytes, bytes]) -> bytes:
    file = io.BytesIO()
    writer = TableWriter(file)
    for key in sorted(entries):
        writer.add(key, entries[key])
    writer.finish()
    return file.getvalue()


def with_block(block: bytes, kind: int = 0) -> bytes:
    """Build a table around one data block's bytes."""

    def trailed(body: bytes, kind: int) -> bytes:
        covered = body + bytes([kind])
        return covered + crc32c.masked(covered).to_bytes(4, "little")

    handle = encode_varint(0) + encode_varint(len(block))
    entry = encode_varint(0) + encode_varint(1) + encode_varint(len(handle)) + b"\xff" + handle
    index = entry + (0).to_bytes(4, "little") + (1).to_bytes(4, "little")
    out = trailed(block, kind)
    index_handle = encode_varint(len(out)) + encode_varint(len(index))
    return out + trailed(index, 0) + (handle + index_handle).ljust(40, b"\0") + sstable.MAGIC.to_bytes(8, "little")


KEYS = st.binary(max_size=6) | st.lists(st.sampled_from([b"a", b"\xff", b"\0"]), max_size=5).map(b"".join)


@settings(max_examples=60)
@given(st.dictionaries(KEYS, st.binary(max_size=300), max_size=80), st.integers(10, 400), st.data())
def test_a_table_is_a_sorted_dict(entries, block_size, data):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sstable, "_BLOCK_SIZE", block_size)
        raw = table_bytes(entries)
    table = Table(memoryview(raw), where="in t")
    for key in [*data.draw(st.lists(KEYS, max_size=5)), *entries]:
        assert table.get(key) == entries.get(key)
    assert list(table) == sorted(entries.items())
    assert list(Table(raw, where="in t")) == sorted(entries.items())


@given(KEYS, KEYS)
def test_index_keys_separate(a, b):
    low, high = sorted((a, b))
    if low < high:
        assert low <= sstable.shortest_separator(low, high) < high
    assert sstable.short_successor(a) >= a


@pytest.mark.parametrize(
    ("start", "limit", "key"),
    [(b"abcx", b"abfz", b"abd"), (b"abc", b"abd", b"abc"), (b"a\xff", b"b", b"a\xff"), (b"", b"a", b"")],
)
def test_separators(start, limit, key):
    assert sstable.shortest_separator(start, limit) == key


def test_successors():
    assert [sstable.short_successor(k) for k in (b"s9", b"\xffa", b"\xff\xff", b"")] == [
        b"t",
        b"\xffb",
        b"\xff\xff",
        b"",
    ]


def test_a_snappy_block_is_read():
    plain = bytes([0, 1, 2]) + b"k" + b"vw" + (0).to_bytes(4, "little") + (1).to_bytes(4, "little")
    packed = encode_varint(len(plain)) + bytes([(len(plain) - 1) << 2]) + plain
    assert list(Table(with_block(packed, kind=1), where="in t")) == [(b"k", b"vw")]


def test_an_unknown_compression():
    with pytest.raises(UnsupportedFormatError, match=r"unknown block compression at byte 0 in t: .* found 2"):
        Table(with_block(b"\0" * 8, kind=2), where="in t").get(b"")


def block_of(*entries: bytes) -> bytes:
    return b"".join(entries) + (0).to_bytes(4, "little") + (1).to_bytes(4, "little")


@pytest.mark.parametrize(
    ("block", "why"),
    [
        (block_of(b"\x01\x01\x00a"), "exceeds it"),
        (block_of(b"\x00\x09\x00a"), "exceeds it"),
        (block_of(b"\x00\x01\x00b", b"\x00\x01\x00a"), "out of order"),
        (block_of(b"\x00\x01\x00a", b"\x00\x01\x00a"), "out of order"),
        (block_of(b"\x80\x80"), "damaged entry"),
        (b"\xff\xff\xff\xff", "too small for its restart points"),
        (block_of(b"\x00\x01\x00\xff", b"\x01\x01\x00a"), "outside its range"),
        # 128 bytes of key, then a thousand entries that share them: memory must not follow
        (block_of(b"\x00\x7f\x00" + b"a" * 127, *[b"\x7f\x02\x00" + i.to_bytes(2, "big") for i in range(20000)]), ""),
        (
            block_of(
                b"\x00\xff\x7f\x00" + b"a" * 16383, *[b"\xff\x7f\x02\x00" + i.to_bytes(2, "big") for i in range(20000)]
            ),
            "beyond measure",
        ),
    ],
)
def test_damaged_blocks(block, why):
    table = Table(with_block(block), where="in t")
    if not why:
        assert len(list(table)) == 20001
        return
    with pytest.raises(CorruptError, match=why):
        list(table)


def test_other_files():
    with pytest.raises(TruncatedError, match="not a sorted table in t: expected at least 48 bytes, found 3"):
        Table(b"abc", where="in t")
    with pytest.raises(WrongFileError, match="expected magic number 0xdb4775248b80fb57 at byte 92"):
        Table(bytes(100), where="in t")


def test_checks_can_be_left_out():
    raw = bytearray(table_bytes({b"k": b"value"}))
    raw[raw.index(b"value")] ^= 1
    with pytest.raises(ChecksumError, match="checksum mismatch of the block at byte 0 in t"):
        Table(raw, where="in t").get(b"k")
    assert Table(bytes(raw), where="in t", verify=False).get(b"k") == b"walue"


def test_keys_must_increase():
    writer = TableWriter(io.BytesIO())
    writer.add(b"b", b"")
    with pytest.raises(MisuseError, match="must increase"):
        writer.add(b"b", b"")

    with pytest.raises(MisuseError, match="must increase"):
        encode_table([b"b", b"b"], [b"", b""])


@given(st.dictionaries(st.binary(max_size=6) | st.binary(max_size=600), st.binary(max_size=200), max_size=60))
@settings(max_examples=60, deadline=None)
def test_many_entries_at_once_are_the_same_bytes(entries):
    keys = sorted(entries)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sstable, "_BLOCK_SIZE", 400)
        patch.setattr(sstable, "_COMPARED", 7)
        assert encode_table(keys, [entries[key] for key in keys]) == table_bytes(entries)


def test_blocks_of_many_entries_end_where_tensorflows_do():
    entries = {b"scope_%d/variable_%06d" % (i % 3, i): b"v" * (i % 40) for i in range(40_000)}
    entries[b"big"] = b"x" * 300_000
    keys = sorted(entries)
    assert encode_table(keys, [entries[key] for key in keys]) == table_bytes(entries)
    assert encode_table([], []) == table_bytes({})


def test_every_truncation_and_byte_change_is_refused_or_harmless():
    entries = {b"": b"h", **{b"name/%d" % i: b"v" * i for i in range(20)}}
    raw = table_bytes(entries)
    for cut in range(len(raw)):
        with pytest.raises(ColdframeError):
            list(Table(raw[:cut], where="in t"))
    for at in range(len(raw)):
        for change in (1, 0x80, 0xFF):
            other = bytearray(raw)
            other[at] ^= change
            for verify in (True, False):
                try:
                    found = dict(Table(bytes(other), where="in t", verify=verify))
                except ColdframeError:
                    continue
                assert found == entries or not verify


# A few of many


@pytest.mark.parametrize("count", [0, 1, 15, 16, 17, 300])
def test_single_keys_are_found_without_decoding_their_block(count):
    entries = {b"%04d/key" % (3 * i): b"v" * (i % 200) for i in range(count)}
    file = io.BytesIO()
    writer = TableWriter(file)
    for key, value in entries.items():
        writer.add(key, value)
    writer.finish()
    asked = [b"", b"\xff", *entries, *(key + b"x" for key in entries), *(key[:-1] for key in entries)]
    for key in asked:
        assert Table(file.getvalue(), where="in t").get(key) == entries.get(key)
    table = Table(file.getvalue(), where="in t")  # and when the block is decoded as a whole after a while
    assert [table.get(key) for key in asked] == [entries.get(key) for key in asked]
    assert dict(table) == entries


def test_any_damage_of_a_block_that_is_searched_is_an_error_or_an_answer():
    file = io.BytesIO()
    writer = TableWriter(file)
    for i in range(60):
        writer.add(b"%03d" % i, b"value")
    writer.finish()
    whole = file.getvalue()
    rng = np.random.default_rng(0)
    for _ in range(1500):
        other = bytearray(whole)
        for at in rng.integers(0, len(whole) - 48, rng.integers(1, 4)):
            other[at] = rng.choice([0, 1, 0x7F, 0x80, 0xFF, rng.integers(256)])
        with contextlib.suppress(ColdframeError):
            Table(bytes(other), where="in t", verify=False).get(b"%03d" % rng.integers(60))
