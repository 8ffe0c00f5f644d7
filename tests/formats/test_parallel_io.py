"""Saving and restoring by several threads at once: the same bytes, the same values, the same errors."""

from __future__ import annotations

import errno
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tf_saver
from coldframe import dtypes
from coldframe.checkpoint import open_checkpoint
from coldframe.errors import ChecksumError, CorruptError, MisuseError, NotFoundError
from coldframe.formats import bundle_restore, bundle_writer, crc32c, data_file
from coldframe.formats.bundle import BundleReader, data_path, index_path
from coldframe.formats.bundle_entry import Entry, Header, decode_entry, encode_entry
from coldframe.formats.bundle_writer import BundleWriter, write_bundle
from coldframe.formats.data_file import DataFile
from coldframe.formats.parallel import default_threads, each
from coldframe.formats.slices import TensorSlice
from coldframe.formats.sstable import Table, TableWriter, encode_table


@pytest.fixture
def small_pieces(monkeypatch):
    """Pieces of a few bytes instead of megabytes, so that small tensors take the ways of large ones."""
    monkeypatch.setattr(data_file, "BATCH_BYTES", 48)
    monkeypatch.setattr(bundle_writer, "BATCH_BYTES", 48)
    monkeypatch.setattr(bundle_writer, "_COPIED", 24)
    monkeypatch.setattr(data_file, "_RESERVE", 256)
    monkeypatch.setattr(bundle_restore, "_BATCH", 40)
    monkeypatch.setattr(bundle_restore, "_CACHED", 16)
    monkeypatch.setattr(bundle_restore, "_GAP", 3)
    monkeypatch.setattr(crc32c, "_WORTH_RELEASING", 8)


def objects(values: list[bytes]) -> np.ndarray:
    out = np.empty(len(values), object)
    out[:] = values
    return out


def tensors() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "a/large": rng.random((7, 11)),
        "b/flag": np.array(True),
        "c/misaligned": rng.random(100, np.float32),
        "d/none": np.zeros((0, 3), np.int64),
        "e/short": np.arange(9).astype(ml_dtypes.bfloat16),
        "f/strings": objects([b"x", b"", b"y" * 300]),
        "g/scalar": np.float32(2),
        **{f"h/{i}": np.arange(i, dtype=np.int16) for i in range(12)},
    }


def same(a: np.ndarray, b: np.ndarray) -> bool:
    a, b = np.asarray(a), np.asarray(b)
    equal = a.tolist() == b.tolist() if a.dtype == object else a.tobytes() == b.tobytes()
    return a.dtype == b.dtype and a.shape == b.shape and equal


# CRCs in pieces


@given(st.binary(max_size=200), st.integers(0, 200))
def test_crcs_of_pieces_are_put_together(data, cut):
    a, b = data[:cut], data[cut:]
    assert crc32c.combine(crc32c.value(a), crc32c.value(b), len(b)) == crc32c.value(data)


@given(st.lists(st.lists(st.binary(max_size=300), min_size=1, max_size=5), min_size=1, max_size=5))
def test_crcs_of_many_pieces_are_put_together(runs):
    pieces = [piece for run in runs for piece in run]
    behind = [sum(map(len, run[i + 1 :])) for run in runs for i in range(len(run))]
    firsts = np.cumsum([0, *map(len, runs[:-1])])
    crcs = np.array([crc32c.value(piece) for piece in pieces], np.uint32)
    assert crc32c.combine_all(crcs, np.array(behind), firsts) == [crc32c.value(b"".join(run)) for run in runs]


def test_a_crc_goes_on_over_a_large_piece():
    data = np.random.default_rng(0).integers(0, 256, 3_000_001, np.uint8)
    whole = crc32c.value(data.tobytes())
    assert crc32c.value(data) == crc32c.value(data.data) == whole
    cut = 1_234_567
    assert crc32c.extend(crc32c.value(data[:cut]), data[cut:]) == whole
    assert crc32c.combine(crc32c.value(data[:cut]), crc32c.value(data[cut:]), data.size - cut) == whole


def test_both_ways_to_the_library_agree(monkeypatch):
    data = np.random.default_rng(0).integers(0, 256, 1 << 19, np.uint8)
    released = crc32c.extend(7, data)
    monkeypatch.setattr(crc32c, "_released", None)
    assert crc32c.extend(7, data) == released


# Threads


def test_results_are_in_order_and_the_first_error_is_raised():
    assert each(lambda x: x * x, range(20), 4) == [x * x for x in range(20)]
    assert each(lambda x: x, [5], 4) == [5]
    assert 1 <= default_threads() <= 8

    def fail(x: int) -> int:
        if x % 7 == 3:
            raise ValueError(x)
        return x

    with pytest.raises(ValueError, match=r"^3$"):
        each(fail, range(20), 4)


# Reading


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("verify", [True, False])
@pytest.mark.usefixtures("small_pieces")
def test_many_at_once(tmp_path, threads, verify):
    wanted = tensors()
    write_bundle(tmp_path / "m", wanted)
    ckpt = open_checkpoint(tmp_path / "m", verify=verify)
    found = ckpt.read_many(threads=threads)
    assert list(found) == sorted(wanted)
    assert all(same(found[n], v) for n, v in wanted.items())
    assert all(v.flags.aligned for v in found.values())
    own = ckpt.read_many(threads=threads, copy=True)
    assert all(same(own[n], v) and own[n].flags.writeable for n, v in wanted.items())
    assert list(ckpt.read_many(["h/3", "a/large"], threads=threads)) == ["h/3", "a/large"]
    assert ckpt.read_many([]) == {}


@given(st.data())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.usefixtures("small_pieces")
def test_any_selection_in_any_order(tmp_path, data):
    wanted = tensors()
    if not (tmp_path / "m.index").exists():
        write_bundle(tmp_path / "m", wanted, shards=3)
    names = data.draw(st.lists(st.sampled_from(sorted(wanted)), unique=True))
    into = {n: np.empty_like(wanted[n]) for n in names}
    ckpt = open_checkpoint(tmp_path / "m")
    for found in (ckpt.read_many(names), ckpt.read_many(names, copy=True), ckpt.read_many(names, into=into)):
        assert list(found) == names
        assert all(same(found[n], wanted[n]) for n in names)


@pytest.mark.usefixtures("small_pieces")
def test_tensors_may_share_their_bytes_or_leave_holes(tmp_path):
    data = np.arange(60, dtype=np.uint8)
    write_bundle(tmp_path / "m", {"a": data})
    places = {"a": (0, 9), "b": (3, 4), "c": (3, 20), "d": (25, 0), "e": (26, 30)}
    entries = {
        name.encode(): encode_entry(Entry(4, (n,), 0, at, n, crc32c.masked(data[at : at + n])))
        for name, (at, n) in places.items()
    }
    entries[b""] = Header(1).encode()
    index_path(tmp_path / "m").write_bytes(encode_table(sorted(entries), [entries[k] for k in sorted(entries)]))
    ckpt = open_checkpoint(tmp_path / "m")
    into = {name: np.empty(n, np.uint8) for name, (_, n) in places.items()}
    for found in (ckpt.read_many(), ckpt.read_many(into=into)):
        assert {n: v.tolist() for n, v in found.items()} == {
            n: list(range(at, at + size)) for n, (at, size) in places.items()
        }
    raw = np.memmap(data_path(tmp_path / "m", 0, 1), np.uint8, "r+")
    raw[24] ^= 1  # belongs to none
    assert ckpt.read_many()["e"][0] == 26
    raw[22] ^= 1
    for options in ({}, {"into": into}):
        with pytest.raises(ChecksumError, match="of tensor `c` at byte 3"):
            ckpt.read_many(**options)


def test_an_offset_beyond_all_numbers_is_refused(tmp_path):
    write_bundle(tmp_path / "m", {"a": np.zeros(2, np.uint8), "b": np.zeros(2, np.uint8)})
    places = {b"a": 0, b"b": (1 << 63) - 1}
    entries = {b"": Header(1).encode()} | {k: encode_entry(Entry(4, (2,), 0, at, 2, 1)) for k, at in places.items()}
    index_path(tmp_path / "m").write_bytes(encode_table(list(entries), list(entries.values())))
    with pytest.raises(CorruptError, match="data file ends before the tensor does of tensor `b`"):
        open_checkpoint(tmp_path / "m", verify=False).read_many()


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.usefixtures("small_pieces")
def test_into_arrays_that_are_there(tmp_path, threads):
    wanted = tensors()
    write_bundle(tmp_path / "m", wanted, shards=2)
    into = {n: np.empty_like(v) for n, v in wanted.items() if n != "a/large"}
    found = open_checkpoint(tmp_path / "m").read_many(into=into, threads=threads)
    assert all(found[n] is into[n] and same(into[n], wanted[n]) for n in into)
    assert "a/large" not in found


@pytest.mark.parametrize(
    ("target", "why"),
    [
        (
            np.empty((7, 11), np.float32),
            r"array for tensor `a/large` does not fit: expected float64\[7, 11\], fo",
        ),
        (np.empty(77), r"does not fit: expected float64\[7, 11\], found float64\[77\]"),
        (np.empty((11, 7)).T, r"cannot be filled: expected a writeable array in row-major order, found strides"),
        (np.broadcast_to(0.0, (7, 11)), "found a read-only one"),
    ],
)
def test_arrays_that_do_not_fit(tmp_path, target, why):
    write_bundle(tmp_path / "m", tensors())
    with pytest.raises(MisuseError, match=why):
        open_checkpoint(tmp_path / "m").read_many(into={"a/large": target})


def with_partitions(prefix: Path) -> dict[str, np.ndarray]:
    whole = np.arange(40, dtype=np.float32).reshape(10, 4)
    with BundleWriter(prefix) as writer:
        writer.add_slice("p", (10, 4), TensorSlice.parse("0,3:-"), whole[:3])
        writer.add_slice("p", (10, 4), TensorSlice.parse("3,7:-"), whole[3:])
        writer.add("q", whole)
        writer.add("v", objects([b"m"]), dtype=dtypes.variant)
    return {"p": whole, "q": whole, "v": objects([b"m"])}


@pytest.mark.usefixtures("small_pieces")
def test_partitions_and_variants_among_them(tmp_path):
    wanted = with_partitions(tmp_path / "m")
    ckpt = open_checkpoint(tmp_path / "m")
    for found in (ckpt.read_many(), ckpt.read_many(into={n: np.empty_like(v) for n, v in wanted.items()})):
        assert all(same(found[n], v) for n, v in wanted.items())


@pytest.mark.usefixtures("small_pieces")
def test_big_endian_in_bulk(tmp_path):
    wanted = {"a": np.arange(60.0), "b": np.int16(5), "c": np.arange(5).astype(ml_dtypes.bfloat16)}
    write_bundle(tmp_path / "m", wanted)
    entries = dict(Table(index_path(tmp_path / "m").read_bytes(), where="in t"))
    raw = bytearray(data_path(tmp_path / "m", 0, 1).read_bytes())
    for key in set(entries) - {b""}:
        entry = decode_entry(entries[key], {}, name="", where="")
        width = dtypes.from_enum(entry.dtype).width
        cut = slice(entry.offset, entry.offset + entry.size)
        raw[cut] = np.frombuffer(bytes(raw[cut]), np.uint8).reshape(-1, width)[:, ::-1].tobytes()
        entries[key] = encode_entry(entry._replace(crc=crc32c.masked(bytes(raw[cut]))))
    entries[b""] = Header(1, "big").encode()
    data_path(tmp_path / "m", 0, 1).write_bytes(raw)
    with index_path(tmp_path / "m").open("wb") as file:
        table = TableWriter(file)
        for key in sorted(entries):
            table.add(key, entries[key])
        table.finish()
    ckpt = open_checkpoint(tmp_path / "m")
    into = {n: np.empty_like(v) for n, v in wanted.items()}
    for found in (ckpt.read_many(), ckpt.read_many(copy=True), ckpt.read_many(into=into)):
        assert all(same(found[n], v) for n, v in wanted.items())


@pytest.mark.usefixtures("small_pieces")
def test_every_flipped_byte_is_found_where_it_is(tmp_path):
    wanted = {n: v for n, v in tensors().items() if not n.startswith("h")}
    write_bundle(tmp_path / "m", wanted)
    path = data_path(tmp_path / "m", 0, 1)
    whole = path.read_bytes()
    reader = BundleReader(tmp_path / "m")
    places = {n: reader.entry(n) for n in wanted}
    into = {n: np.empty_like(v) for n, v in wanted.items()}
    for at in range(0, len(whole), 11):
        other = bytearray(whole)
        other[at] ^= 0x10
        path.write_bytes(other)
        name = next(n for n, e in places.items() if e.offset <= at < e.offset + e.size)
        for options in ({}, {"into": into}, {"copy": True, "threads": 1}):
            with pytest.raises(CorruptError, match=f"of tensor `{name}` at byte {places[name].offset} in"):
                open_checkpoint(tmp_path / "m").read_many(**options)
        assert (
            same(open_checkpoint(tmp_path / "m").read_many(verify=False)["g/scalar"], np.float32(2)) or name[0] == "g"
        )
    path.write_bytes(whole[:-1])
    with pytest.raises(CorruptError, match="data file ends before the tensor does of tensor `g/scalar`"):
        open_checkpoint(tmp_path / "m").read_many(copy=True)
    path.unlink()
    with pytest.raises(NotFoundError, match="data file of tensor `a/large` is missing"):
        open_checkpoint(tmp_path / "m").read_many()
    with pytest.raises(NotFoundError, match="no tensor is called `zz`"):
        open_checkpoint(tmp_path / "m").read_many(["zz"])


# Writing


def files_of(prefix: Path, shards: int = 1) -> list[bytes]:
    return [p.read_bytes() for p in (index_path(prefix), *(data_path(prefix, i, shards) for i in range(shards)))]


def saved_with_tensorflow(prefix: Path, wanted: dict[str, np.ndarray]) -> list[bytes]:
    tf_saver.save_v2(prefix, wanted)
    return files_of(prefix)


@pytest.mark.usefixtures("small_pieces")
def test_the_bytes_are_tensorflows_in_pieces_too(tmp_path):
    wanted = tensors()
    theirs = saved_with_tensorflow(tmp_path / "theirs", wanted)
    write_bundle(tmp_path / "ours", wanted)
    assert files_of(tmp_path / "ours") == theirs
    with BundleWriter(tmp_path / "lent") as writer:
        for name in sorted(wanted):
            value = np.array(wanted[name])
            writer.add(name, value)
            value[...] = 0 if value.dtype != object else b"changed"  # it was not lent
    assert files_of(tmp_path / "lent") == theirs


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(0, 200), max_size=12), st.integers(1, 4), st.booleans())
@pytest.mark.usefixtures("small_pieces")
def test_any_sizes_any_shards(tmp_path, sizes, shards, borrow):
    wanted = {f"{i:02d}": np.random.default_rng(i).integers(0, 256, n, np.uint8) for i, n in enumerate(sizes)}
    with BundleWriter(tmp_path / "m", shards=shards) as writer:
        for i, (name, value) in enumerate(wanted.items()):
            writer.add(name, value, shard=i % shards, borrow=borrow)
    found = open_checkpoint(tmp_path / "m").read_many()
    assert all(same(found[n], v) for n, v in wanted.items())
    assert sum(data_path(tmp_path / "m", i, shards).stat().st_size for i in range(shards)) == sum(sizes)


def test_all_at_once_is_as_one_after_the_other(tmp_path):
    wanted = tensors() | {
        "i/list": [1.5, 2],
        "j/turned": np.arange(6.0).reshape(2, 3).T,
        "k/big": np.array([1, 2], ">i4"),
    }
    known = {"c/misaligned": dtypes.float32, "k/big": dtypes.qint32, "b/flag": dtypes.bool_}
    with BundleWriter(tmp_path / "one") as writer:
        for name, value in wanted.items():
            writer.add(name, value, dtype=known.get(name), borrow=True)
    with BundleWriter(tmp_path / "all") as writer:
        writer.add_all(wanted.items(), dtype_of=known)
    assert files_of(tmp_path / "all") == files_of(tmp_path / "one")


@pytest.mark.parametrize(
    ("name", "dtype", "why"),
    [
        ("a", None, "tensor `a` is already in the checkpoint"),
        ("\0a", None, "not a tensor's name"),
        ("", None, "not a tensor's name"),
        ("b", dtypes.int32, "tensor `b` is not int32: expected int32, found float32"),
    ],
)
def test_all_at_once_refuses_what_one_would(tmp_path, name, dtype, why):
    value = np.ones(2, np.float32)
    with pytest.raises(MisuseError, match=why), BundleWriter(tmp_path / "m") as writer:
        writer.add_all([("a", value), (name, value)], dtype_of={name: dtype} if dtype else None)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def pool():
    with ThreadPoolExecutor(1) as made:
        yield made


@pytest.mark.usefixtures("small_pieces")
def test_the_system_may_write_less_than_it_was_given(tmp_path, monkeypatch, pool):
    write = os.pwritev

    def half(descriptor, buffers, at):
        joined = b"".join(bytes(b) for b in buffers)
        return write(descriptor, [joined[: len(joined) // 2 or 1]], at)

    monkeypatch.setattr(os, "pwritev", half)
    data = np.random.default_rng(0).integers(0, 256, 1000, np.uint8)
    file = DataFile(tmp_path / "f", pool)
    for part in np.split(data, [5, 5, 200, 900]):
        file.append(part.data)
    file.finish()()
    file.close()
    assert (tmp_path / "f").read_bytes() == data.tobytes()


@pytest.mark.parametrize("call", ["pwritev", "fsync"])
@pytest.mark.usefixtures("small_pieces")
def test_an_error_in_the_background_surfaces_and_leaves_no_trace(tmp_path, monkeypatch, call):
    write_bundle(tmp_path / "m", {"a": np.ones(3)})
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}

    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, call, full)
    with pytest.raises(OSError, match="No space left on device"):
        write_bundle(tmp_path / "m", {f"{i}": np.zeros(100) for i in range(20)})
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


@pytest.mark.usefixtures("small_pieces")
def test_reserved_space_is_given_back(tmp_path, monkeypatch, pool):
    asked: list[tuple[int, int]] = []

    def reserve(descriptor, mode, offset, length):
        asked.append((offset, length))
        os.ftruncate(descriptor, offset + length)
        return 0

    monkeypatch.setattr(data_file, "_fallocate", reserve)
    file = DataFile(tmp_path / "f", pool)
    file._reserves = True
    for _ in range(20):
        file.append(b"x" * 50)
    file.finish()()
    file.close()
    assert (tmp_path / "f").read_bytes() == b"x" * 1000
    assert asked == [(0, 256), (256, 256), (512, 256), (768, 256)]


@pytest.mark.usefixtures("small_pieces")
def test_a_system_that_cannot_reserve_is_not_asked_twice(tmp_path, monkeypatch, pool):
    asked = []
    monkeypatch.setattr(data_file, "_fallocate", lambda *args: asked.append(args) or -1)
    monkeypatch.setattr(data_file.ctypes, "get_errno", lambda: errno.EOPNOTSUPP)
    file = DataFile(tmp_path / "f", pool)
    file._reserves = True
    for _ in range(20):
        file.append(b"x" * 50)
    file.finish()()
    file.close()
    assert (tmp_path / "f").stat().st_size == 1000
    assert len(asked) == 1


@pytest.mark.usefixtures("small_pieces")
def test_a_full_disk_is_found_by_reserving(tmp_path, monkeypatch):
    monkeypatch.setattr(data_file, "_fallocate", lambda *args: -1)
    monkeypatch.setattr(data_file, "_RESERVE", 1)
    monkeypatch.setattr(data_file.ctypes, "get_errno", lambda: errno.ENOSPC)
    monkeypatch.setattr(data_file.sys, "platform", "linux")
    with pytest.raises(OSError, match="No space left on device"):
        write_bundle(tmp_path / "m", {"a": np.zeros(100)})
    assert list(tmp_path.iterdir()) == []


def test_a_large_save_takes_no_more_room_than_its_bytes(tmp_path):
    wanted = {"a": np.ones(5_000_000, np.float32), "b": np.arange(3)}
    write_bundle(tmp_path / "m", wanted)
    stat = data_path(tmp_path / "m", 0, 1).stat()
    assert stat.st_size == 20_000_024
    assert stat.st_blocks * 512 <= stat.st_size + 65536
    assert all(same(v, wanted[n]) for n, v in open_checkpoint(tmp_path / "m").read_many().items())
    raw = np.memmap(data_path(tmp_path / "m", 0, 1), np.uint8, "r+")
    raw[19_999_999] ^= 1
    with pytest.raises(ChecksumError, match="of tensor `a` at byte 0"):
        open_checkpoint(tmp_path / "m").read_many()
