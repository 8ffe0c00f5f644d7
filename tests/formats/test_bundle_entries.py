"""Entries in columns: what they say is what is said one at a time, for entries of all kinds and for damaged ones."""

from __future__ import annotations

import os

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coldframe.errors import CorruptError, NotFoundError
from coldframe.formats.bundle import BundleReader, data_path, index_path
from coldframe.formats.bundle_entries import decode_entries, encode_entries
from coldframe.formats.bundle_entry import Entry, decode_entry, encode_entry
from coldframe.formats.bundle_writer import BundleWriter, write_bundle
from coldframe.formats.slices import TensorSlice
from coldframe.formats.sstable import Table, TableWriter, encode_table

NUMBERS = st.one_of(st.integers(0, 300), st.integers(0, (1 << 63) - 1))
ENTRIES = st.builds(
    Entry,
    st.integers(1, 200),
    st.lists(st.integers(0, 1 << 40), max_size=16).map(tuple),
    st.integers(0, 99999),
    NUMBERS,
    NUMBERS,
    st.integers(0, 0xFFFFFFFF),
    st.sampled_from([(), (), (), (TensorSlice((0,), (3,)),)]),
)


def singly(value: bytes) -> Entry | None:
    try:
        return decode_entry(value, {}, name="t", where="")
    except CorruptError:
        return None


@given(st.lists(ENTRIES, min_size=16, max_size=40))
@settings(max_examples=60, deadline=None)
def test_columns_agree_with_single_entries(entries):
    encoded = encode_entries(entries)
    assert encoded == [encode_entry(e) for e in entries]
    columns = decode_entries(encoded, {})
    for i, entry in enumerate(entries):
        plain = entry.dtype < 0x80 and not entry.slices and len(encode_entry(entry)) < 100
        assert columns.entry(i) == entry if columns.kinds[i] is not None else not plain


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_damaged_entries_are_never_decoded_otherwise(data):
    entries = [Entry(1, (3, i), 0, 12 * i << i, 12 * i, 0x12345678) for i in range(20)]
    values = [encode_entry(e) for e in entries]
    i = data.draw(st.integers(0, 19))
    raw = bytearray(values[i])
    for _ in range(data.draw(st.integers(1, 3))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    values[i] = bytes(raw[: data.draw(st.integers(0, len(raw)))])
    columns = decode_entries(values, {})
    found = [columns.entry(j) if kind is not None else None for j, kind in enumerate(columns.kinds)]
    assert found[i] is None or found[i] == singly(values[i])
    assert found[:i] + found[i + 1 :] == entries[:i] + entries[i + 1 :]


def test_many_are_read_as_few(tmp_path):
    tensors = {f"{'deep/' * (i % 7)}v{i:04d}": np.full(i % 5, i, np.float32) for i in range(400)}
    write_bundle(tmp_path / "m", tensors)
    reader = BundleReader(tmp_path / "m")
    backwards = list(reversed(tensors))
    into = {name: np.empty_like(value) for name, value in tensors.items()}
    for found in (reader.read_many(backwards), reader.read_many(backwards, into=into)):
        assert list(found) == backwards
        assert all(found[name].tolist() == tensors[name].tolist() for name in backwards)
    for odd in ("", "zzz", "\0", "v0001x"):
        with pytest.raises(NotFoundError, match="no tensor is called"):
            reader.read_many([*backwards, odd])


def test_a_damaged_one_of_many_is_named(tmp_path):
    names = [f"v{i:03d}" for i in range(100)]
    write_bundle(tmp_path / "m", {name: np.zeros(4, np.float32) for name in names})
    path = index_path(tmp_path / "m")
    entries = dict(Table(path.read_bytes(), where=""))
    entries[b"v042"] = entries[b"v042"][:-1]
    with path.open("wb") as file:
        table = TableWriter(file)
        for key, value in sorted(entries.items()):
            table.add(key, value)
        table.finish()
    with pytest.raises(CorruptError, match="damaged entry of tensor `v042`"):
        BundleReader(tmp_path / "m").read_many(names)


@pytest.mark.parametrize("size", [0, 1, 63, 64, 65, 500])
def test_tables_give_many_values_as_one(tmp_path, monkeypatch, size):
    monkeypatch.setattr("coldframe.formats.sstable._BLOCK_SIZE", 200)
    with (tmp_path / "t").open("wb") as file:
        writer = TableWriter(file)
        for i in range(300):
            writer.add(b"%04d" % i, b"value %d" % i)
        writer.finish()
    table = Table((tmp_path / "t").read_bytes(), where="")
    rng = np.random.default_rng(size)
    keys = [b"%04d" % i for i in rng.integers(0, 400, size)] + [b"", b"0100x", b"\xff"]
    expected = [b"value %d" % int(k) if k.isdigit() and int(k) < 300 else None for k in keys]
    assert table.get_many(keys) == expected
    assert table.get_many(sorted(keys)) == [e for _, e in sorted(zip(keys, expected, strict=True))]


@pytest.mark.skipif(not hasattr(os, "preadv"), reason="the system has no such calls")
def test_systems_may_do_less_than_asked(tmp_path, monkeypatch):
    tensors = {f"v{i:03d}": np.full((i % 4, 3), i, ml_dtypes.bfloat16 if i % 2 else np.float32) for i in range(50)}
    tensors["scalar"] = np.array(7, np.int64)
    write_bundle(tmp_path / "whole", tensors)
    write, read = os.pwritev, os.preadv
    with monkeypatch.context() as m:
        m.setattr(os, "pwritev", lambda fd, pieces, at: write(fd, [pieces[0].tobytes()[:5]], at))
        write_bundle(tmp_path / "m", tensors)
        m.setattr(os, "preadv", lambda fd, targets, at: read(fd, targets[:1], at))
        into = {name: np.zeros_like(value) for name, value in tensors.items()}
        BundleReader(tmp_path / "m").read_many(tensors, into=into)
    assert data_path(tmp_path / "m", 0, 1).read_bytes() == data_path(tmp_path / "whole", 0, 1).read_bytes()
    assert all(into[name].tobytes() == value.tobytes() for name, value in tensors.items())


def test_specs_of_all_are_those_of_each(tmp_path):
    with BundleWriter(tmp_path / "m") as writer:
        for i in range(40):
            writer.add(f"v{i}", np.zeros((i % 3, 2), np.float32))
        writer.add("s", np.array([b"x"], object))
        writer.add_slice("p", (4, 2), TensorSlice((0, 0), (4, 1)), np.zeros((4, 1)))
        writer.add_slice("p", (4, 2), TensorSlice((0, 1), (4, 1)), np.zeros((4, 1)))
    each, one = BundleReader(tmp_path / "m").specs, BundleReader(tmp_path / "m").specs
    assert list(each.values()) == [one[name] for name in one]
    assert list(each.items()) == list(zip(one, one.values(), strict=True))


def test_an_entry_that_is_damaged_spoils_no_other(tmp_path):
    write_bundle(tmp_path / "m", {f"v{i}": np.zeros(2, np.float32) for i in range(40)})
    entries = dict(Table(index_path(tmp_path / "m").read_bytes(), where=""))
    entries[b"v7"] = b"\x08\x63" + entries[b"v7"][2:]
    index_path(tmp_path / "m").write_bytes(encode_table(list(entries), list(entries.values())))
    specs = BundleReader(tmp_path / "m").specs
    with pytest.raises(CorruptError, match="unknown dtype of tensor `v7`"):
        list(specs.values())
    assert specs["v8"].name == "v8"
