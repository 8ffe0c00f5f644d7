from __future__ import annotations

import contextlib
import os
import tracemalloc
import zlib
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import fixtures_data
import tf_saver
from coldframe import dtypes
from coldframe.errors import (
    CheckpointWarning,
    ChecksumError,
    ColdframeError,
    CorruptError,
    MisuseError,
    NotFoundError,
    TruncatedError,
    UnsupportedFormatError,
)
from coldframe.formats import bundle_strings, crc32c, files
from coldframe.formats.bundle import BundleReader, data_path, index_path
from coldframe.formats.bundle_entry import Entry, Header, decode_entry, encode_entry
from coldframe.formats.bundle_writer import BundleWriter, write_bundle
from coldframe.formats.slices import TensorSlice
from coldframe.formats.sstable import Table, TableWriter

SAVED = [d for d in dtypes.ALL if d.width and d.kind != "q"]


def objects(values: list[bytes], shape: tuple[int, ...] = (-1,)) -> np.ndarray:
    out = np.empty(len(values), object)
    out[:] = values
    return out.reshape(shape)


def same(a: np.ndarray, b: np.ndarray) -> bool:
    a, b = np.asarray(a), np.asarray(b)
    if a.dtype != b.dtype or a.shape != b.shape:
        return False
    return a.tolist() == b.tolist() if a.dtype == object else a.tobytes() == b.tobytes()


def everything() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    tensors = {d.name: rng.integers(0, 2, (3, 5)).astype(d.numpy) for d in SAVED}
    return tensors | {
        "scalar": np.float32(3.5),
        "empty": np.zeros((0, 4), np.float64),
        "strings": objects([b"", b"abc", b"x" * 200, b"\0\xff"], (2, 2)),
        "string_scalar": np.array(b"text", object),
        "no_strings": objects([], (0,)),
        "ünïcode/name": np.arange(6, dtype=np.int32).reshape(1, 2, 3),
    }


def files_of(prefix: Path, shards: int = 1) -> list[bytes]:
    return [p.read_bytes() for p in (index_path(prefix), *(data_path(prefix, i, shards) for i in range(shards)))]


def test_both_read_what_both_write_byte_for_byte(tmp_path):
    tensors = everything()
    write_bundle(tmp_path / "ours", tensors)
    tf_saver.save_v2(tmp_path / "theirs", tensors)
    assert files_of(tmp_path / "ours") == files_of(tmp_path / "theirs")
    for prefix in ("ours", "theirs"):
        reader = BundleReader(tmp_path / prefix)
        assert list(reader.specs) == sorted(tensors, key=str.encode)
        for name, value in tensors.items():
            assert same(reader.read(name), value), name
            assert reader.specs[name].shape.dims == np.shape(value)
    assert tf_saver.read(tmp_path / "ours", "scalar") == np.float32(3.5)


ARRAYS = hnp.arrays(
    st.sampled_from([np.float32, np.float64, np.int8, np.int64, np.bool_, np.uint16, np.complex64]),
    hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4),
) | st.lists(st.binary(max_size=300), max_size=5).map(objects)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.dictionaries(
        st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=9),
        ARRAYS,
        min_size=1,
        max_size=8,
    )
)
def test_any_tensors_byte_for_byte(tmp_path, tensors):
    write_bundle(tmp_path / "ours", tensors)
    tf_saver.save_v2(tmp_path / "theirs", tensors)
    assert files_of(tmp_path / "ours") == files_of(tmp_path / "theirs")
    reader = BundleReader(tmp_path / "ours")
    assert all(same(reader.read(name), value) for name, value in tensors.items())


def test_an_index_of_several_blocks_byte_for_byte(tmp_path):
    tensors = {f"{i:04d}/{'x' * 400}/{i}": np.array([i], np.int32) for i in range(1400)}
    write_bundle(tmp_path / "ours", tensors)
    tf_saver.save_v2(tmp_path / "theirs", tensors)
    ours = files_of(tmp_path / "ours")
    assert len(ours[0]) > 262144
    assert ours == files_of(tmp_path / "theirs")
    reader = BundleReader(tmp_path / "ours")
    assert len(reader.specs) == 1400
    assert all(reader.read(n)[0] == v[0] for n, v in list(tensors.items())[::37])


def test_shards_are_those_of_a_merge(tmp_path):
    tensors = [{"a": np.arange(5.0), "c": objects([b"s"])}, {"b": np.arange(3)}, {"d": np.float32(1)}]
    for i, part in enumerate(tensors):
        tf_saver.save_v2(tmp_path / f"part{i}", part)
    tf_saver.merge_v2([tmp_path / f"part{i}" for i in range(3)], tmp_path / "theirs")
    with BundleWriter(tmp_path / "ours", shards=3) as writer:
        for i, part in enumerate(tensors):
            for name, value in part.items():
                writer.add(name, value, shard=i)
    assert files_of(tmp_path / "ours", 3) == files_of(tmp_path / "theirs", 3)
    assert BundleReader(tmp_path / "ours").read("c").tolist() == [b"s"]


def test_shards_share_the_bytes(tmp_path):
    tensors = {f"t{i}": np.zeros(1000, np.float32) for i in range(8)}
    write_bundle(tmp_path / "m", tensors, shards=4)
    assert [data_path(tmp_path / "m", i, 4).stat().st_size for i in range(4)] == [8000] * 4
    assert tf_saver.names(tmp_path / "m") == set(tensors)


PIECES = [("p", "7 4 0,3:0,4", slice(0, 3)), ("p", "7 4 3,2:0,4", slice(3, 5)), ("p", "7 4 5,2:0,4", slice(5, 7))]


def test_partitioned_tensors(tmp_path):
    full = np.arange(28, dtype=np.float32).reshape(7, 4)
    tf_saver.save_v2(tmp_path / "theirs", {"q": np.arange(3)}, [(n, s, full[c]) for n, s, c in PIECES])
    with BundleWriter(tmp_path / "ours") as writer:
        for _, spec, cut in PIECES:
            writer.add_slice("p", (7, 4), TensorSlice.parse(spec.split()[-1]), full[cut])
        writer.add("q", np.arange(3))
    assert files_of(tmp_path / "ours") == files_of(tmp_path / "theirs")
    reader = BundleReader(tmp_path / "ours")
    assert list(reader.specs) == ["p", "q"]
    assert same(reader.read("p"), full)
    reader.verify("p")
    for r0, r1, c0, c1 in [(0, 7, 0, 4), (0, 3, 0, 4), (2, 6, 1, 3), (4, 5, 0, 1), (1, 1, 0, 4), (5, 7, 3, 4)]:
        assert same(reader.read_slice("p", (r0, c0), (r1 - r0, c1 - c0)), full[r0:r1, c0:c1])
    assert same(tf_saver.read(tmp_path / "ours", "p"), full)


@given(st.lists(st.binary(max_size=3) | st.sampled_from([b"", b"x" * 40, b"\0" * 9]), max_size=60))
@settings(max_examples=40, deadline=None)
def test_any_strings(values):
    parts: list[bytes] = []
    _, crc = bundle_strings.write_strings(values, parts.append)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bundle_strings, "_CHUNK", 20)
        found = bundle_strings.read_strings(
            memoryview(b"".join(parts)), len(values), "little", verify=True, stored_crc=crc32c.mask(crc), where=""
        )
    assert found.tolist() == values
    assert set(map(type, found)) <= {bytes}


def test_partitioned_strings(tmp_path):
    full = objects([b"a", b"bb", b"", b"dddd"])
    with BundleWriter(tmp_path / "m") as writer:
        writer.add_slice("p", (4,), TensorSlice((0,), (1,)), full[:1])
        writer.add_slice("p", (4,), TensorSlice((1,), (3,)), full[1:])
    reader = BundleReader(tmp_path / "m")
    assert same(reader.read("p"), full)
    assert same(reader.read_slice("p", (0,), (3,)), full[:3])


def test_a_hole_and_an_overlap_are_corrupt(tmp_path):
    for name, cuts in {"hole": [(0, 2), (3, 1)], "overlap": [(0, 3), (2, 2)]}.items():
        with BundleWriter(tmp_path / name) as writer:
            for start, length in cuts:
                writer.add_slice("p", (4,), TensorSlice((start,), (length,)), np.zeros(length, np.int8))
    with pytest.raises(CorruptError, match=r"does not have sufficient slices of tensor `p` .* nothing for \[2:3\]"):
        BundleReader(tmp_path / "hole").read("p")
    assert BundleReader(tmp_path / "hole").read_slice("p", (0,), (2,)).shape == (2,)
    with pytest.raises(CorruptError, match=r"slices overlap of tensor `p` .*: found \[0:3\] and \[2:4\]"):
        BundleReader(tmp_path / "overlap").read("p")


def rewrite_index(prefix: Path, change) -> None:
    entries = dict(Table(index_path(prefix).read_bytes(), where="in t"))
    change(entries)
    with index_path(prefix).open("wb") as file:
        table = TableWriter(file)
        for key in sorted(entries):
            table.add(key, entries[key])
        table.finish()


def test_big_endian(tmp_path):
    tensors = everything()
    tensors = {n: v for n, v in tensors.items() if np.asarray(v).dtype != object}
    tensors["empty_too"] = np.zeros(0, ml_dtypes.bfloat16)
    shapes: dict[bytes, tuple[int, ...]] = {}
    write_bundle(tmp_path / "m", tensors)
    raw = bytearray(data_path(tmp_path / "m", 0, 1).read_bytes())

    def swap(entries):
        entries[b""] = Header(1, "big").encode()
        for key in set(entries) - {b""}:
            entry = decode_entry(entries[key], shapes, name="", where="")
            part = np.frombuffer(bytes(raw[entry.offset : entry.offset + entry.size]), np.uint8)
            width = dtypes.from_enum(entry.dtype).width
            width = width // 2 if dtypes.from_enum(entry.dtype).is_complex else width
            other = part.reshape(-1, width)[:, ::-1].tobytes()
            raw[entry.offset : entry.offset + entry.size] = other
            entries[key] = encode_entry(entry._replace(crc=crc32c.masked(other)))

    rewrite_index(tmp_path / "m", swap)
    data_path(tmp_path / "m", 0, 1).write_bytes(raw)
    reader = BundleReader(tmp_path / "m")
    assert all(same(reader.read(name), value) for name, value in tensors.items())
    assert same(reader.read_slice("float32", (1, 0), (1, 5)), tensors["float32"][1:2])
    assert same(tf_saver.read(tmp_path / "m", "int64"), tensors["int64"])


def test_slices_of_whole_tensors(tmp_path):
    full = np.arange(120, dtype=np.int16).reshape(2, 3, 4, 5)
    write_bundle(tmp_path / "m", {"a": np.int8(1), "t": full, "s": objects([b"a", b"b", b"c"])})
    reader = BundleReader(tmp_path / "m")
    got = reader.read_slice("t", (1, 0, 1, 2), (1, 3, 2, 3))
    assert same(got, full[1:2, :, 1:3, 2:5])
    assert got.flags.c_contiguous
    assert reader.read_slice("s", (1,), (2,)).tolist() == [b"b", b"c"]
    assert reader.read_slice("a", (), ()) == 1
    with pytest.raises(MisuseError, match=r"slice outside its tensor `t`: expected starts and sizes within shape"):
        reader.read_slice("t", (1, 0, 1, 2), (1, 3, 2, 4))


def test_a_slice_of_a_large_tensor_costs_its_own_bytes(tmp_path):
    prefix = tmp_path / "big"
    rows, columns = 50_000, 1000  # 200 MB, that only claim to be there: the file is sparse
    with data_path(prefix, 0, 1).open("wb") as file:
        file.seek(12_345 * 4 * columns)
        file.write(np.arange(columns, dtype=np.float32).tobytes())
        file.truncate(rows * columns * 4)
    with index_path(prefix).open("wb") as file:
        table = TableWriter(file)
        table.add(b"", Header(1).encode())
        table.add(b"w", encode_entry(Entry(1, (rows, columns), size=rows * columns * 4)))
        table.finish()
    tracemalloc.start()
    got = BundleReader(prefix).read_slice("w", (12_344, 0), (3, columns))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert same(got[1], np.arange(columns, dtype=np.float32))
    assert not got[[0, 2]].any()
    assert peak < 2_000_000


def test_views_where_the_bytes_are_aligned(tmp_path):
    write_bundle(tmp_path / "m", {"a": np.arange(4.0), "b": np.int8(1), "c": np.arange(4.0)})
    reader = BundleReader(tmp_path / "m")
    assert not reader.read("a").flags.owndata
    assert not reader.read("a").flags.writeable
    assert reader.read("c").flags.aligned
    array = reader.read("a")
    reader.close()
    assert array.tolist() == [0, 1, 2, 3]


def test_variants_and_quantized_types_come_back(tmp_path):
    values = objects([b"one message", b"", b"x" * 300])
    with BundleWriter(tmp_path / "m") as writer:
        writer.add("v", values, dtype=dtypes.variant)
        writer.add("q", np.arange(4, dtype=np.int8), dtype=dtypes.qint8)
    reader = BundleReader(tmp_path / "m")
    assert same(reader.read("v"), values)
    assert [s.dtype for s in reader.specs.values()] == [dtypes.qint8, dtypes.variant]


@pytest.mark.parametrize("f", [f for f in fixtures_data.fixtures(kind="checkpoint") if f.format != "v1"], ids=str)
def test_golden_files(f):
    reader = BundleReader(f.path)
    facts = f.tensors()
    for name, fact in facts.items():
        value = reader.read(name)
        assert value.shape == fact.shape
        assert reader.specs[name].dtype.name == fact.dtype
        if fact.crc32 is not None:
            # TensorFlow hands out a scalar string as plain bytes
            crc = zlib.crc32(value.item()) if value.dtype == object and not value.shape else fixtures_data.crc32(value)
            assert crc == fact.crc32, name
    assert set(reader.specs) == set(facts)


# Damage


def small(prefix: Path) -> dict[str, np.ndarray]:
    tensors = {"a/w": np.arange(6, dtype=np.float32).reshape(2, 3), "b": objects([b"text", b""]), "c": np.int64(7)}
    full = np.arange(4, dtype=np.int16)
    with BundleWriter(prefix) as writer:
        for name, value in tensors.items():
            writer.add(name, value)
        writer.add_slice("p", (4,), TensorSlice((0,), (2,)), full[:2])
        writer.add_slice("p", (4,), TensorSlice((2,), (2,)), full[2:])
        writer.add("v", objects([b"m"]), dtype=dtypes.variant)
    return tensors | {"p": full, "v": objects([b"m"])}


def survives(prefix: Path, tensors: dict[str, np.ndarray], *, verify: bool = True) -> None:
    """Read all: a ColdframeError, or what was written."""
    try:
        reader = BundleReader(prefix, verify=verify)
        names = list(reader.specs)
    except ColdframeError:
        return
    for name in {*names, *tensors}:
        try:
            value = reader.read(name)
        except ColdframeError:
            continue
        assert not verify or same(value, tensors[name])


def test_every_truncation(tmp_path):
    tensors = small(tmp_path / "m")
    for path in (index_path(tmp_path / "m"), data_path(tmp_path / "m", 0, 1)):
        whole = path.read_bytes()
        for cut in range(len(whole)):
            path.write_bytes(whole[:cut])
            survives(tmp_path / "m", tensors)
        path.write_bytes(whole)


@pytest.mark.parametrize("verify", [True, False])
def test_byte_changes(tmp_path, verify):
    tensors = small(tmp_path / "m")
    rng = np.random.default_rng(1)
    for path in (index_path(tmp_path / "m"), data_path(tmp_path / "m", 0, 1)):
        whole = path.read_bytes()
        for _ in range(1200):
            other = bytearray(whole)
            for at in rng.integers(0, len(other), rng.integers(1, 4)):
                other[at] = rng.integers(256)
            path.write_bytes(other)
            survives(tmp_path / "m", tensors, verify=verify)
        path.write_bytes(whole)


def test_damaged_entries_behind_a_good_crc(tmp_path):
    """The attacks that checksums do not stop: whoever writes the file writes those too."""
    small(tmp_path / "m")
    whole = index_path(tmp_path / "m").read_bytes()
    keys = list(dict(Table(whole, where="in t")))
    rng = np.random.default_rng(2)
    for _ in range(1500):

        def change(entries):
            key = keys[rng.integers(len(keys))]
            value = bytearray(entries[key])
            for at in rng.integers(0, len(value), rng.integers(1, 3)):
                value[at] = rng.choice([0, 1, 0x7F, 0x80, 0xFF, rng.integers(256)])
            entries[key] = bytes(value)

        rewrite_index(tmp_path / "m", change)
        survives(tmp_path / "m", {}, verify=False)
        index_path(tmp_path / "m").write_bytes(whole)


def with_entry(prefix: Path, entry: Entry | bytes, header: bytes = Header(1).encode()) -> BundleReader:
    data_path(prefix, 0, 1).write_bytes(bytes(64))
    with index_path(prefix).open("wb") as file:
        table = TableWriter(file)
        table.add(b"", header)
        table.add(b"x", entry if isinstance(entry, bytes) else encode_entry(entry))
        table.finish()
    return BundleReader(prefix)


@pytest.mark.parametrize(
    ("entry", "error", "why"),
    [
        (
            Entry(1, (16,), offset=1, size=64),
            TruncatedError,
            "data file ends before the tensor does of tensor `x` at byte 1",
        ),
        (
            Entry(1, (16,), size=60),
            CorruptError,
            r"tensor of another size .*: expected 64 bytes for float32\[16\], found 60",
        ),
        (
            Entry(1, (16,), size=64, crc=5),
            ChecksumError,
            "checksum mismatch of tensor `x` at byte 0 in .*data-00000-of-00001",
        ),
        (
            Entry(1, (16,), shard=3, size=64),
            CorruptError,
            "data file that does not exist `x` .* a shard below 1, found 3",
        ),
        (Entry(99, (16,), size=64), CorruptError, "unknown dtype of tensor `x`"),
        (Entry(20, (1,), size=64), CorruptError, "resource tensors are never saved"),
        (Entry(1, (0, 1 << 62, 1 << 62)), CorruptError, "impossible shape"),
        (Entry(1, (1 << 62,), size=1 << 64), CorruptError, "tensor"),
        (Entry(1, (1,) * 70, size=4), ColdframeError, "too many dimensions `x` .* at most 64, found 70"),
        (Entry(7, (1 << 40,), size=64), TruncatedError, "string tensor is too small"),
        (Entry(7, (4,), size=64), CorruptError, "string tensor of another size"),
        (Entry(21, (1 << 40,), size=64), TruncatedError, "variant tensor is too small"),
        (Entry(1, (1 << 40,), slices=(TensorSlice((0,), (-1,)),)), CorruptError, "a slice is listed but not stored"),
        (Entry(1, (4,), slices=(TensorSlice((3,), (2,)),)), CorruptError, "slice outside its tensor"),
        (b"\x08\x01\x12\x04\x12\x02\x08", CorruptError, "damaged entry of tensor `x`"),
        (b"\x08\x01\x12\x02\x18\x01", CorruptError, "damaged entry"),
        (b"\x08\x01\x12\x0d\x12\x0b\x08" + b"\xff" * 9 + b"\x01", CorruptError, "damaged entry"),
    ],
)
def test_entries_that_lie(tmp_path, entry, error, why):
    with pytest.raises(error, match=why):
        with_entry(tmp_path / "m", entry).read("x")


def test_unknown_fields_of_an_entry_are_skipped(tmp_path):
    entry = encode_entry(Entry(1, (2,), size=8, crc=crc32c.masked(bytes(8)))) + b"\x7a\x01z"
    assert with_entry(tmp_path / "m", entry).read("x").tolist() == [0, 0]


@pytest.mark.parametrize(
    ("header", "error", "why"),
    [
        (b"", CorruptError, "damaged header .* expected at least 1 shard, found 0"),
        (b"\x08", CorruptError, "damaged header"),
        (b"\x08\x01\x10\x02", UnsupportedFormatError, "unknown endianness"),
        (b"\x08\x01\x1a\x02\x10\x02", UnsupportedFormatError, "at least version 2\nhint: it was written by a newer"),
        (b"\x08\x01\x1a\x02\x18\x01", UnsupportedFormatError, r"all but versions \[1\]"),
    ],
)
def test_headers_that_are_refused(tmp_path, header, error, why):
    with pytest.raises(error, match=why):
        with_entry(tmp_path / "m", Entry(1, ()), header)


def test_missing_things_are_named(tmp_path):
    with pytest.raises(NotFoundError, match=r"no checkpoint is called .*: expected a file .*m.index"):
        BundleReader(tmp_path / "m")
    write_bundle(tmp_path / "m", {"layer/weights": np.ones(2)})
    reader = BundleReader(tmp_path / "m")
    with pytest.raises(
        NotFoundError, match=r"no tensor is called `layer/weigths` in .*\nhint: did you mean `layer/weights`\?"
    ):
        reader.read("layer/weigths")
    data_path(tmp_path / "m", 0, 1).unlink()
    assert list(reader.specs) == ["layer/weights"]
    with pytest.raises(
        NotFoundError, match=r"data file of tensor `layer/weights` is missing: expected a file .*data-00000"
    ):
        reader.read("layer/weights")


# Writing


def test_a_save_that_fails_leaves_what_was_there(tmp_path):
    write_bundle(tmp_path / "m", {"a": np.ones(3)})
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    with pytest.raises(MisuseError, match="tensor `b` holds a int: expected only str and bytes"):
        write_bundle(tmp_path / "m", {"a": np.zeros(3), "b": objects([3])})
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


@pytest.mark.parametrize("shards", [1, 2])
@pytest.mark.parametrize("stop", range(12))
def test_a_save_cut_off_at_any_step_leaves_one_whole_checkpoint(tmp_path, monkeypatch, stop, shards):
    """Each file operation of the commit in turn is the last one that happens."""
    old, new = {"a": np.zeros(9), "b": np.zeros(9)}, {"a": np.ones(9), "b": np.ones(9)}
    write_bundle(tmp_path / "m", old, shards=shards)

    class CutOffError(BaseException):
        pass

    left = stop

    def counted(operation):
        def run(*args):
            nonlocal left
            if left <= 0:
                raise CutOffError
            left -= 1
            return operation(*args)

        return run

    with monkeypatch.context() as patch:
        for name in ("replace", "link"):
            patch.setattr(os, name, counted(getattr(os, name)))
        patch.setattr(files, "discard", counted(files.discard))
        with contextlib.suppress(CutOffError):
            write_bundle(tmp_path / "m", new, shards=shards)
    reader = BundleReader(tmp_path / "m")
    assert sorted({float(v) for n in "ab" for v in reader.read(n)}) in ([0.0], [1.0])
    write_bundle(tmp_path / "m", new, shards=shards)
    assert {float(v) for n in "ab" for v in BundleReader(tmp_path / "m").read(n)} == {1.0}
    assert sorted(p.name for p in tmp_path.iterdir() if "saving" not in p.name) == [
        *(f"m.data-{i:05d}-of-{shards:05d}" for i in range(shards)),
        "m.index",
    ]


def test_an_error_while_renaming_puts_the_old_checkpoint_back(tmp_path, monkeypatch):
    write_bundle(tmp_path / "m", {"a": np.zeros(3)})
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    replace = os.replace

    def refuse(source, target):
        if str(target).endswith("m.index") and not refused:
            refused.append(target)
            raise PermissionError("no")
        replace(source, target)

    refused: list[str] = []
    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(PermissionError):
        write_bundle(tmp_path / "m", {"a": np.ones(3)})
    assert refused
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_a_file_system_without_hard_links(tmp_path, monkeypatch):
    """The names of the data files tell: those of a live index are never replaced."""

    def refuse(*_):
        raise PermissionError("no hard links")

    monkeypatch.setattr(os, "link", refuse)
    for step in range(3):
        write_bundle(tmp_path / "m", {"a": np.full(3, step)})
        assert BundleReader(tmp_path / "m").read("a").tolist() == [step] * 3
        shards = 1 + step % 2
        names = [f"m.data-{i:05d}-of-{shards:05d}" for i in range(shards)]
        assert sorted(p.name for p in tmp_path.iterdir()) == [*names, "m.index"]


def test_what_a_killed_process_left_is_removed(tmp_path):
    """But neither what another process is writing, nor what TensorFlow may be."""
    dead = tmp_path / f"n.data-00000-of-00001.saving{'0' * 16}"
    fresh, theirs = dead.with_name(dead.name[:-1] + "1"), tmp_path / "n.data-00000-of-00001.tempstate123456"
    with BundleWriter(tmp_path / "alive") as alive:
        alive.add("a", np.ones(3))
        for path in (dead, fresh, theirs):
            path.touch()
        for path in tmp_path.iterdir():
            if path != fresh:
                os.utime(path, (1, 1))
        write_bundle(tmp_path / "m", {"a": np.ones(3)})
        assert [p.exists() for p in (dead, fresh, theirs)] == [False, True, True]
    assert BundleReader(tmp_path / "alive").read("a").tolist() == [1] * 3


def test_what_cannot_be_removed_is_told(tmp_path, monkeypatch):
    write_bundle(tmp_path / "m", {"a": np.ones(3)}, shards=2)
    unlink = os.unlink

    def refuse(path):
        if str(path).endswith("of-00002"):
            raise PermissionError(13, "no", os.fspath(path))
        unlink(path)

    monkeypatch.setattr(os, "unlink", refuse)
    with pytest.warns(CheckpointWarning, match=r"`.*m` was saved, but what it replaces could not all be .*of-00002"):
        write_bundle(tmp_path / "m", {"a": np.zeros(3)})
    assert BundleReader(tmp_path / "m").read("a").tolist() == [0] * 3


def test_fewer_shards_leave_no_orphans(tmp_path):
    write_bundle(tmp_path / "m", {"a": np.ones(3), "b": np.ones(3)}, shards=2)
    write_bundle(tmp_path / "m", {"a": np.zeros(3)})
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m.data-00000-of-00001", "m.index"]


def test_misuse_is_named(tmp_path):
    with BundleWriter(tmp_path / "m") as writer:
        writer.add("a", np.ones(2))
        writer.add_slice("p", (4,), TensorSlice((0,), (2,)), np.ones(2))
        for call, why in [
            (lambda: writer.add("a", 1), "tensor `a` is already in the checkpoint"),
            (lambda: writer.add("", 1), "not a tensor's name"),
            (lambda: writer.add("\0x", 1), "not a tensor's name"),
            (lambda: writer.add("b", 1, shard=1), "no such shard for tensor `b`: expected below 1, found 1"),
            (
                lambda: writer.add("b", np.ones(1), dtype=dtypes.int32),
                "tensor `b` is not int32: expected int32, found float64",
            ),
            (lambda: writer.add("b", np.array("2020", "M8[s]")), "no dtype"),
            (lambda: writer.add("b", objects([b""]), dtype=dtypes.resource), "resource tensors cannot be saved"),
            (lambda: writer.add_slice("a", (2,), TensorSlice((0,), (1,)), np.ones(1)), "found a whole tensor"),
            (lambda: writer.add_slice("p", (5,), TensorSlice((2,), (2,)), np.ones(2)), "expected slices of"),
            (lambda: writer.add_slice("p", (4,), TensorSlice((0,), (2,)), np.ones(2)), "slice `0,2` of `p` is already"),
            (lambda: writer.add_slice("p", (4,), TensorSlice((2,), (2,)), np.ones(3)), "another shape: expected"),
            (lambda: writer.add_slice("p", (4,), TensorSlice((2,), (2,)), np.ones(2, int)), "another dtype"),
        ]:
            with pytest.raises(MisuseError, match=why):
                call()
    with pytest.raises(MisuseError, match="1 to 99999 shards"):
        BundleWriter(tmp_path / "m", shards=0)
    with pytest.raises(MisuseError, match="needs a name"):
        BundleWriter(f"{tmp_path}/")
