"""Files of records: TensorFlow's read here, ours read there, and every damaged byte refused."""

from __future__ import annotations

import contextlib
import struct
import zlib
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from coldframe.errors import (
    ChecksumError,
    ColdframeError,
    CorruptError,
    MisuseError,
    NotFoundError,
    TruncatedError,
    WrongFileError,
)
from coldframe.formats import crc32c, tf_record
from coldframe.formats.tf_record import RecordReader, RecordWriter, encode_record, read_records

RECORDS = [b"", b"a", b"\0" * 300, bytes(range(256)) * 5000, b"last"]
COMPRESSIONS = ["", "GZIP", "ZLIB"]


def written(path: Path, records: list[bytes], compression: str = "", **options: Any) -> str:
    with RecordWriter(path, compression, **options) as writer:
        for r in records:
            writer.write(r)
    return str(path)


def theirs(path: str, compression: str = "") -> list[bytes]:
    return [r.numpy() for r in tf.data.TFRecordDataset(path, compression)]


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_tensorflow_reads_ours(compression: str, tmp_path: Path) -> None:
    assert theirs(written(tmp_path / "r", RECORDS, compression), compression) == RECORDS


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_tensorflows_are_read(compression: str, tmp_path: Path) -> None:
    path = str(tmp_path / "r")
    with tf.io.TFRecordWriter(path, compression) as writer:
        for r in RECORDS:
            writer.write(r)
    assert list(read_records(path, compression)) == RECORDS


def test_bytes_equal_tensorflows(tmp_path: Path) -> None:
    with tf.io.TFRecordWriter(str(tmp_path / "theirs")) as writer:
        for r in RECORDS:
            writer.write(r)
    written(tmp_path / "ours", RECORDS)
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()


@pytest.mark.parametrize("compression", COMPRESSIONS)
@settings(max_examples=50)
@given(records=st.lists(st.binary(max_size=50) | st.just(b"x" * 70_000)))
def test_what_is_written_is_read(compression: str, records: list[bytes], tmp_path_factory: Any) -> None:
    path = tmp_path_factory.mktemp("records") / "r"
    assert list(read_records(written(path, records, compression), compression)) == records


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_appended_records_follow(compression: str, tmp_path: Path) -> None:
    path = tmp_path / "r"
    written(path, RECORDS[:2], compression)
    written(path, RECORDS[2:], compression, mode="ab")
    assert list(read_records(path, compression)) == RECORDS
    if compression != "ZLIB":  # TensorFlow reads the first zlib stream only
        assert theirs(str(path), compression) == RECORDS


def test_options_of_the_compressor(tmp_path: Path) -> None:
    best = written(tmp_path / "a", RECORDS, "GZIP", level=9, memory_level=9, strategy=zlib.Z_FILTERED)
    none = written(tmp_path / "b", RECORDS, "ZLIB", level=0, window_bits=9)
    assert list(read_records(best, "GZIP")) == list(read_records(none, "ZLIB")) == RECORDS
    assert Path(best).stat().st_size < Path(none).stat().st_size / 10


def test_reading_is_lazy(tmp_path: Path) -> None:
    path = tmp_path / "r"
    first = encode_record(b"first")
    path.write_bytes(first + b"damage that nobody reaches")
    assert next(read_records(path)) == b"first"
    later = read_records(tmp_path / "none")
    with pytest.raises(NotFoundError, match="no file"):
        next(later)


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_flushed_records_can_be_read(compression: str, tmp_path: Path) -> None:
    with RecordWriter(tmp_path / "r", compression) as writer:
        writer.write(b"seen")
        writer.flush()
        with RecordReader(tmp_path / "r", compression) as reader:
            assert next(reader) == b"seen"


def test_a_reader_waits_at_a_record_that_is_being_written(tmp_path: Path) -> None:
    path = tmp_path / "r"
    data = encode_record(b"one") + encode_record(b"two" * 200_000)
    path.write_bytes(data[:-3])
    with RecordReader(path) as reader:
        assert next(reader) == b"one"
        for _ in range(2):
            with pytest.raises(TruncatedError, match=r"a record is cut off in .*r, at byte 19: expected 600016 bytes"):
                next(reader)
        path.write_bytes(data)
        assert next(reader) == b"two" * 200_000
        assert reader.offset == len(data)
        with pytest.raises(StopIteration):
            next(reader)


# --- damage ---
DAMAGED = [b"first", b"second one", b""]


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_every_changed_bit_is_found(compression: str, tmp_path: Path) -> None:
    path = tmp_path / "r"
    data = Path(written(path, DAMAGED, compression)).read_bytes()
    for at in range(len(data)):
        for bit in range(8):
            path.write_bytes(data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :])
            if not compression:
                with pytest.raises((CorruptError, WrongFileError)):
                    list(read_records(path))
                continue
            with contextlib.suppress(CorruptError):  # streams have bits without a meaning: a time, padding
                assert list(read_records(path, compression)) == DAMAGED


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_every_truncation_is_found_or_between_records(compression: str, tmp_path: Path) -> None:
    path = tmp_path / "r"
    data = Path(written(path, DAMAGED, compression)).read_bytes()
    ends = {0, 21, 47} if not compression else {0}
    for size in range(len(data)):
        path.write_bytes(data[:size])
        if size in ends:
            assert list(read_records(path, compression)) == DAMAGED[: sorted(ends).index(size)]
        else:
            with pytest.raises(TruncatedError, match=r"in .*r, at byte \d+"):
                list(read_records(path, compression))


@settings(max_examples=100)
@given(data=st.binary(max_size=80), compression=st.sampled_from(COMPRESSIONS))
def test_any_bytes_give_records_or_our_error(data: bytes, compression: str, tmp_path_factory: Any) -> None:
    path = tmp_path_factory.getbasetemp() / "any"
    path.write_bytes(data)
    with contextlib.suppress(ColdframeError):
        assert all(isinstance(r, bytes) for r in read_records(path, compression))


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_a_size_is_not_believed(compression: str, tmp_path: Path) -> None:
    size = struct.pack("<Q", 2**63)
    data = size + struct.pack("<I", crc32c.masked(size)) + b"few"
    packed = zlib.compressobj(wbits=31 if compression == "GZIP" else 15)
    path = tmp_path / "r"
    path.write_bytes(packed.compress(data) + packed.flush() if compression else data)
    with pytest.raises(TruncatedError, match=rf"a record is cut off .*: expected {2**63 + 16} bytes, found 15"):
        list(read_records(path, compression))


def test_checksum_errors_say_where(tmp_path: Path) -> None:
    path = tmp_path / "r"
    data = bytearray(encode_record(b"one") + encode_record(b"two"))
    data[-5] ^= 1
    path.write_bytes(data)
    with pytest.raises(ChecksumError) as info:
        list(read_records(path))
    assert f"checksum mismatch of a record of 3 bytes in {path}, at byte 19: expected crc32c 0x" in str(info.value)
    data[19] ^= 1
    path.write_bytes(data)
    with pytest.raises(
        ChecksumError, match=r"the size of a record does not match its checksum in .*r, at byte 19: exp"
    ):
        list(read_records(path))
    path.write_bytes(b"some other file altogether")
    with pytest.raises(ChecksumError, match="hint: is it a file of records, and not compressed"):
        list(read_records(path))


def test_the_wrong_compression_is_named(tmp_path: Path) -> None:
    packed = written(tmp_path / "packed", DAMAGED, "GZIP")
    with pytest.raises(WrongFileError, match='found a gzip stream\nhint: pass the compression "GZIP"'):
        list(read_records(packed))
    with pytest.raises(CorruptError, match=r"damaged ZLIB stream in .*from 0 on: found .*\nhint: is the file compre"):
        list(read_records(packed, "ZLIB"))
    for use in (RecordReader, RecordWriter):
        with pytest.raises(MisuseError, match="unknown compression: expected ``, `GZIP` or `ZLIB`, found `SNAPPY`"):
            use(tmp_path / "x", "SNAPPY")
    assert not (tmp_path / "x").exists()


def test_a_closed_writer_refuses(tmp_path: Path) -> None:
    writer = RecordWriter(tmp_path / "r", "GZIP")
    writer.close()
    writer.close()
    writer.flush()
    with pytest.raises(MisuseError, match=r"the writer of .*r` is closed"):
        writer.write(b"x")


def test_sizes_beyond_a_chunk(tmp_path: Path) -> None:
    records = [bytes([i]) * (tf_record._CHUNK * i + i) for i in range(4)]
    for compression in COMPRESSIONS:
        assert list(read_records(written(tmp_path / "r", records, compression), compression)) == records
