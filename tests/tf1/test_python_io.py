"""`tf.python_io` beside TensorFlow's: the same files, options and errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf

from coldframe.formats import messages
from coldframe.tf1 import errors
from coldframe.tf1.platform import python_io

THEIRS = tf.compat.v1.python_io
RECORDS = [b"one", b"", b"three" * 1000]


def example() -> Any:
    return messages.Example(
        features=messages.Features(
            feature={
                "label": messages.Feature(int64_list=messages.Int64List(value=[3, -1])),
                "name": messages.Feature(bytes_list=messages.BytesList(value=[b"a", b""])),
                "weight": messages.Feature(float_list=messages.FloatList(value=[0.5])),
            }
        )
    )


@pytest.mark.parametrize("kind", [None, "", 0, 1, 2, "ZLIB", "GZIP"])
@pytest.mark.parametrize("wrapped", [True, False])
def test_tensorflow_reads_what_is_written(kind: Any, wrapped: bool, tmp_path: Path) -> None:
    options = python_io.TFRecordOptions(kind) if wrapped else kind
    name = python_io.TFRecordOptions.get_compression_type_string(options)
    assert name == THEIRS.TFRecordOptions.get_compression_type_string(kind)
    with python_io.TFRecordWriter(tmp_path / "r", options) as writer:
        for record in RECORDS:
            writer.write(record)
    assert [r.numpy() for r in tf.data.TFRecordDataset(str(tmp_path / "r"), name)] == RECORDS
    assert list(python_io.tf_record_iterator(f"file://{tmp_path}/r", options)) == RECORDS


def test_examples_go_both_ways(tmp_path: Path) -> None:
    with python_io.TFRecordWriter(str(tmp_path / "r")) as writer:
        writer.write(example().SerializeToString())
    (record,) = tf.data.TFRecordDataset(str(tmp_path / "r"))
    theirs = tf.train.Example.FromString(record.numpy())
    assert list(theirs.features.feature["label"].int64_list.value) == [3, -1]
    with tf.io.TFRecordWriter(str(tmp_path / "t")) as their_writer:
        their_writer.write(theirs.SerializeToString())
    (record,) = python_io.tf_record_iterator(str(tmp_path / "t"))
    assert messages.Example.FromString(record) == example()


def test_options_reach_the_compressor(tmp_path: Path) -> None:
    sizes = []
    for level in (0, 9):
        options = python_io.TFRecordOptions("GZIP", compression_level=level, window_bits=-9, mem_level=1, flush_mode=0)
        with python_io.TFRecordWriter(tmp_path / "r", options) as writer:
            writer.write(b"x" * 10_000)
            writer.flush()
        sizes.append((tmp_path / "r").stat().st_size)
        assert list(python_io.tf_record_iterator(tmp_path / "r", options)) == [b"x" * 10_000]
    assert sizes[1] < sizes[0] / 10


def test_errors_are_tensorflows(tmp_path: Path) -> None:
    (tmp_path / "bad").write_bytes(b"no records at all")
    with pytest.raises(errors.NotFoundError, match="no file"):
        list(python_io.tf_record_iterator(tmp_path / "none"))
    with pytest.raises(errors.DataLossError, match=r"does not match its checksum in .*bad, at byte 0"):
        list(python_io.tf_record_iterator(tmp_path / "bad"))
    with pytest.raises(errors.NotFoundError):
        python_io.TFRecordWriter(tmp_path / "no" / "folder")
    for module in (python_io, THEIRS):
        with pytest.raises(ValueError, match='Not a valid compression_type: "LZ4"'):
            module.TFRecordOptions("LZ4")
    writer = python_io.TFRecordWriter(tmp_path / "w")
    with pytest.raises(TypeError, match="Expected binary or unicode string, got 3"):
        writer.write(3)
    writer.close()
    with pytest.raises(errors.FailedPreconditionError, match="Writer is closed"):
        writer.write(b"x")
