"""Tensors piece by piece: read without holding them, and written so."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import fixtures_data
import tf_saver
from coldframe import dtypes
from coldframe.checkpoint import convert, open_checkpoint, reshard
from coldframe.errors import ChecksumError, CorruptError, MisuseError, NotFoundError, TruncatedError
from coldframe.formats.bundle import BundleReader, data_path, index_path
from coldframe.formats.bundle_entry import Entry, Header, encode_entry
from coldframe.formats.bundle_writer import BundleWriter, write_bundle
from coldframe.formats.checkpoint_file import even_chunks
from coldframe.formats.slices import Box, TensorSlice, row_blocks
from coldframe.formats.sources import MappedFile
from coldframe.formats.sstable import TableWriter


def objects(values: list[bytes]) -> np.ndarray:
    out = np.empty(len(values), object)
    out[:] = values
    return out


@pytest.mark.parametrize("chunk_bytes", [1, 4, 12, 40, 1 << 20])
def test_chunks_are_the_tensor_in_order(tmp_path, chunk_bytes):
    full = np.arange(30, dtype=np.float32).reshape(5, 6)
    write_bundle(tmp_path / "m", {"w": full, "s": np.int8(3), "none": np.zeros((0, 4)), "t": objects([b"a", b"bb"])})
    ckpt = open_checkpoint(tmp_path / "m")
    chunks = list(ckpt.chunks("w", chunk_bytes=chunk_bytes))
    assert {c.ndim for c in chunks} == {1}
    assert {c.size for c in chunks[:-1]} <= {max(1, chunk_bytes // 4)}
    assert np.concatenate(chunks).tolist() == full.ravel().tolist()
    assert all(c.flags.writeable and c.flags.owndata for c in chunks if c.base is None)
    assert [c.tolist() for c in ckpt.chunks("s", chunk_bytes=chunk_bytes)] == [[3]]
    assert list(ckpt.chunks("none", chunk_bytes=chunk_bytes)) == []
    assert np.concatenate(list(ckpt.chunks("t", chunk_bytes=chunk_bytes))).tolist() == [b"a", b"bb"]


CUTS = {
    "rows": ["0,2:-", "2,1:-", "3,2:-"],
    "columns": ["-:0,4", "-:4,2"],
    "both": ["0,3:0,2", "0,3:2,4", "3,2:0,5", "3,2:5,1"],
}


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("chunk_bytes", [4, 16, 28, 1 << 20])
def test_chunks_of_a_partitioned_tensor_are_those_of_a_whole_one(tmp_path, cut, chunk_bytes):
    full = np.arange(30, dtype=np.float32).reshape(5, 6)
    with BundleWriter(tmp_path / "m") as writer:
        for text in CUTS[cut]:
            part = TensorSlice.parse(text)
            writer.add_slice("w", (5, 6), part, full[part.resolve((5, 6)).index(Box.whole((5, 6)))])
        writer.add("whole", full)
    ckpt = open_checkpoint(tmp_path / "m")
    ours = [c.tolist() for c in ckpt.chunks("w", chunk_bytes=chunk_bytes)]
    assert ours == [c.tolist() for c in ckpt.chunks("whole", chunk_bytes=chunk_bytes)]


@given(
    st.lists(st.lists(st.integers(0, 9), max_size=7), max_size=6), st.integers(1, 9),
)  # fmt: skip
def test_pieces_are_cut_evenly(pieces, count):
    chunks = [c.tolist() for c in even_chunks((np.array(p, int) for p in pieces), count)]
    flat = [x for p in pieces for x in p]
    assert chunks == [flat[i : i + count] for i in range(0, len(flat), count)]


@given(st.lists(st.integers(0, 5), max_size=4), st.integers(1, 50))
def test_row_blocks_walk_a_region_in_order(sizes, count):
    whole = np.arange(int(np.prod(sizes))).reshape(sizes)
    boxes = list(row_blocks(Box.whole(sizes), count))
    assert all(0 < b.volume <= count for b in boxes)
    flat = [x for b in boxes for x in whole[b.index(Box.whole(sizes))].ravel().tolist()]
    assert flat == whole.ravel().tolist()


@pytest.mark.parametrize("f", [f for f in fixtures_data.fixtures(kind="checkpoint") if f.format == "v1"][:2], ids=str)
def test_chunks_of_v1_checkpoints(f):
    with open_checkpoint(f.path) as ckpt:
        assert ckpt.version == "V1"
        for name in ckpt:
            chunks = list(ckpt.chunks(name, chunk_bytes=8))
            assert [x for c in chunks for x in c.tolist()] == ckpt[name].ravel().tolist()


def flip(path: Path, at: int) -> None:
    raw = bytearray(path.read_bytes())
    raw[at] ^= 1
    path.write_bytes(raw)


def test_damage_is_found_before_the_last_chunk(tmp_path):
    write_bundle(tmp_path / "m", {"a": np.zeros(3), "w": np.zeros(100, np.float32)})
    flip(data_path(tmp_path / "m", 0, 1), 24 + 7)
    ckpt = open_checkpoint(tmp_path / "m")
    seen = []
    with pytest.raises(ChecksumError, match=r"checksum mismatch of tensor `w` at byte 24 in .*data-00000-of-00001"):
        seen += [c.size for c in ckpt.chunks("w", chunk_bytes=160)]
    assert len(list(ckpt.chunks("w", chunk_bytes=160, verify=False))) == 3
    with pytest.raises(NotFoundError, match="no tensor is called `v`"):
        list(ckpt.chunks("v"))


def test_a_file_that_shrinks_while_it_is_read(tmp_path):
    path = tmp_path / "f"
    path.write_bytes(b"x" * 100)
    source = MappedFile(path)
    buffer = memoryview(bytearray(100))
    with path.open("r+b") as file:
        file.truncate(40)
    with pytest.raises(TruncatedError, match=r"file has become shorter at byte 40 in .*f: expected 60 more bytes"):
        source.read_into(0, buffer)


def sparse(prefix: Path, rows: int, columns: int, known: dict[int, np.ndarray]) -> int:
    """A checkpoint that only claims to be there; return its size in bytes."""
    size = rows * columns * 4
    with data_path(prefix, 0, 1).open("wb") as file:
        for row, value in known.items():
            file.seek(row * columns * 4)
            file.write(value.tobytes())
        file.truncate(size + 8)
    with index_path(prefix).open("wb") as file:
        table = TableWriter(file)
        table.add(b"", Header(1).encode())
        table.add(b"big", encode_entry(Entry(1, (rows, columns), size=size)))
        table.add(b"small", encode_entry(Entry(1, (2,), offset=size, size=8, crc=0x8C28B28A + 0xA282EAD8 & 0xFFFFFFFF)))
        table.finish()
    return size


def test_a_checkpoint_larger_than_memory(tmp_path):
    """64 GiB, sparse: opened, listed, sliced, verified in part, and streamed for a while."""
    columns = 1 << 20
    known = {9000: np.arange(columns, dtype=np.float32)}
    sparse(tmp_path / "m", 1 << 14, columns, known)
    with open_checkpoint(tmp_path / "m") as ckpt:
        assert str(ckpt.specs["big"]) == f"big float32[16384, {columns}]"
        assert ckpt.read_slice("big", (9000, 5), (1, 3)).tolist() == [[5, 6, 7]]
        assert ckpt.read_slice("big", (8999, columns - 2), (2, 2)).tolist() == [[0, 0], [columns - 2, columns - 1]]
        first = next(iter(ckpt.chunks("big", chunk_bytes=1 << 20)))
        assert first.nbytes == 1 << 20
        assert ckpt.read("big", verify=False).shape == (1 << 14, columns)
        with pytest.raises(ChecksumError, match="of tensor `small` at byte 68719476736"):
            ckpt.read("small")


_STREAM = """
import resource, sys
from coldframe.checkpoint import convert, open_checkpoint, reshard
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
with open_checkpoint(sys.argv[1]) as ckpt:
    assert sum(c.size for c in ckpt.chunks("big", verify=False)) == 1 << 28
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="maxrss is in KiB there")
def test_memory_does_not_grow_with_the_tensor(tmp_path):
    sparse(tmp_path / "m", 1 << 8, 1 << 20, {})
    done = subprocess.run(
        [sys.executable, "-c", _STREAM, str(tmp_path / "m")], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 128 << 10  # of 1 GiB


# Writing


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(0, 40), max_size=4))
def test_written_in_chunks_is_written_whole(tmp_path, sizes):
    whole = np.arange(sum(sizes), dtype=np.int16)
    cuts = np.split(whole, np.cumsum(sizes)[:-1]) if sizes else []
    with BundleWriter(tmp_path / "a") as writer:
        writer.add_chunks("w", (sum(sizes),), iter(cuts), dtype=dtypes.int16)
        writer.add("x", np.float32(1))
    write_bundle(tmp_path / "b", {"w": whole, "x": np.float32(1)})
    for path in (index_path, lambda p: data_path(p, 0, 1)):
        assert path(tmp_path / "a").read_bytes() == path(tmp_path / "b").read_bytes()


def test_tensorflow_reads_what_was_written_in_chunks(tmp_path):
    whole = np.arange(60, dtype=np.float64).reshape(5, 12)
    with BundleWriter(tmp_path / "m") as writer:
        writer.add_chunks("w", whole.shape, (whole[i : i + 2] for i in range(0, 5, 2)), dtype=dtypes.float64)
    assert tf_saver.read(tmp_path / "m", "w").tolist() == whole.tolist()


@pytest.mark.parametrize(
    ("shape", "chunks", "dtype", "why"),
    [
        ((4,), [np.zeros(3, np.float32)], dtypes.float32, r"`w` hold another number .*: expected 4 for .*, found 3"),
        ((4,), [np.zeros(4)], dtypes.float32, "tensor `w` is not float32"),
        ((1,), [objects([b""])], dtypes.string, "string tensors cannot be written in chunks `w`"),
    ],
)
def test_chunks_that_do_not_fit_leave_nothing(tmp_path, shape, chunks, dtype, why):
    with pytest.raises(MisuseError, match=why), BundleWriter(tmp_path / "m") as writer:
        writer.add_chunks("w", shape, chunks, dtype=dtype)
    assert list(tmp_path.iterdir()) == []


class Remote:
    """A source that hands out copies, as one over a network does."""

    asked: list[tuple[str, int, int]]

    def __init__(self, path: str, asked: list[tuple[str, int, int]]) -> None:
        try:
            self._data = Path(path).read_bytes()
        except FileNotFoundError:
            raise NotFoundError(f"no {path}") from None
        self._name, self.asked = Path(path).name, asked

    @property
    def size(self) -> int:
        return len(self._data)

    def read(self, offset: int, size: int) -> memoryview:
        assert 0 <= offset <= offset + size <= self.size
        self.asked.append((self._name, offset, size))
        return memoryview(self._data[offset : offset + size])

    def read_into(self, offset: int, target: memoryview) -> None:
        target[:] = self.read(offset, len(target))

    def close(self) -> None:
        """Nothing to let go of."""


def test_files_may_be_elsewhere(tmp_path):
    full = np.arange(40, dtype=np.float32).reshape(10, 4)
    write_bundle(tmp_path / "m", {"a": np.int8(1), "w": full})
    asked: list[tuple[str, int, int]] = []
    reader = BundleReader(tmp_path / "m", opener=lambda path: Remote(path, asked))
    assert reader.read("w").tolist() == full.tolist()
    asked.clear()
    assert reader.read_slice("w", (3, 1), (2, 2)).tolist() == full[3:5, 1:3].tolist()
    assert asked == [("m.data-00000-of-00001", 1 + (3 * 4 + 1) * 4, (4 + 2) * 4)]  # from the first to the last element
    with pytest.raises(NotFoundError, match="no checkpoint is called"):
        BundleReader(tmp_path / "n", opener=lambda path: Remote(path, asked))
    flip(index_path(tmp_path / "m"), 3)
    with pytest.raises(CorruptError):
        BundleReader(tmp_path / "m", opener=lambda path: Remote(path, asked))


# Slices


def write_slices(prefix: Path, *, chunked: bool) -> np.ndarray:
    whole = np.arange(600, dtype=np.float32).reshape(20, 30)
    with BundleWriter(prefix) as writer:
        for spec, value in (("0,8:-", whole[:8]), ("8,12:0,10", whole[8:, :10]), ("8,12:10,20", whole[8:, 10:])):
            part = TensorSlice.parse(spec)
            if chunked:
                pieces = np.split(value.reshape(-1), [7, 50])
                writer.add_slice_chunks("t", (20, 30), part, pieces, dtype=dtypes.float32)
            else:
                writer.add_slice("t", (20, 30), part, value)
    return whole


def test_slices_in_chunks_are_the_same_bytes(tmp_path):
    for prefix, chunked in (("a", False), ("b", True)):
        write_slices(tmp_path / prefix, chunked=chunked)
    assert index_path(tmp_path / "a").read_bytes() == index_path(tmp_path / "b").read_bytes()
    assert data_path(tmp_path / "a", 0, 1).read_bytes() == data_path(tmp_path / "b", 0, 1).read_bytes()


@pytest.mark.parametrize("version", ["V2", "V1"])
def test_chunks_of_a_slice(tmp_path, version):
    whole = write_slices(tmp_path / "m", chunked=True)
    if version == "V1":
        convert(tmp_path / "m", tmp_path / "v", to="v1")
    ckpt = open_checkpoint(tmp_path / ("m" if version == "V2" else "v"))
    part = TensorSlice.parse("8,12:10,20")
    chunks = list(ckpt.slice_chunks("t", part, chunk_bytes=400))
    assert [c.size for c in chunks] == [100, 100, 40]
    assert np.concatenate(chunks).tolist() == whole[8:, 10:].reshape(-1).tolist()
    with pytest.raises(
        MisuseError, match=r"tensor `t` is not stored in such slices: expected `0,8:-`, .*found `0,1:-`"
    ):
        list(ckpt.slice_chunks("t", TensorSlice.parse("0,1:-")))


@pytest.mark.parametrize(
    ("spec", "count", "why"),
    [("0,8:-", 240, "already in the checkpoint"), ("8,12:-", 5, "hold another number of elements: expected 360 for")],
)
def test_slices_that_cannot_be_added(tmp_path, spec, count, why):
    chunk = np.zeros(count, np.float32)
    writer = BundleWriter(tmp_path / "m")
    writer.add_slice("t", (20, 30), TensorSlice.parse("0,8:-"), np.zeros((8, 30), np.float32))
    with pytest.raises(MisuseError, match=why):
        writer.add_slice_chunks("t", (20, 30), TensorSlice.parse(spec), [chunk], dtype=dtypes.float32)
    writer.abort()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("tool", [convert, lambda a, b: reshard(a, b, partition={"t": (1, 2)})])
def test_memory_does_not_grow_with_a_slice(tmp_path, tool):
    rows = 6_000
    with BundleWriter(tmp_path / "m") as writer:
        for i in range(2):
            part = TensorSlice.parse(f"{i * rows},{rows}:-")
            chunks = (np.full(1000 * 600, i * 10 + j, np.float32) for j in range(rows // 600))
            writer.add_slice_chunks("t", (2 * rows, 1000), part, (c for c in chunks), dtype=dtypes.float32)
    tracemalloc.start()
    tool(tmp_path / "m", tmp_path / "out")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 12_000_000 < data_path(tmp_path / "m", 0, 1).stat().st_size / 3
    assert open_checkpoint(tmp_path / "out").read_slice("t", (11_999, 998), (1, 2)).tolist() == [[19, 19]]
