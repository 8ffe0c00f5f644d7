"""Event files: TensorFlow reads ours, we read its, and no file takes another's place."""

from __future__ import annotations

import re
import struct
from pathlib import Path

import pytest
import tensorflow as tf

from coldframe.errors import ChecksumError, CorruptError, MisuseError, NotFoundError, TruncatedError
from coldframe.formats import messages
from coldframe.formats.content import Kind
from coldframe.formats.events import EventFile, read_events
from coldframe.formats.sniff import sniff
from coldframe.formats.tf_record import RecordWriter

tf1 = tf.compat.v1


def loss(step: int) -> object:
    summary = messages.Summary(value=[messages.Summary.Value(tag="loss", simple_value=1 / step)])
    return messages.Event(wall_time=5.5, step=step, summary=summary)


def test_tensorflow_reads_ours(tmp_path: Path) -> None:
    with EventFile(tmp_path / "new" / "folder", ".suffix") as file:
        for step in (1, 2):
            file.write(loss(step))
    assert re.fullmatch(r"events\.out\.tfevents\.\d{10}\..+\.suffix", file.path.name)
    assert sniff(file.path).kind is Kind.EVENTS
    first, *rest = tf1.train.summary_iterator(str(file.path))
    assert (first.file_version, first.source_metadata.writer) == ("brain.Event:2", "coldframe")
    assert [(e.wall_time, e.step, e.summary.value[0].tag, e.summary.value[0].simple_value) for e in rest] == [
        (5.5, 1, "loss", 1.0),
        (5.5, 2, "loss", 0.5),
    ]


def test_tensorflows_are_read(tmp_path: Path) -> None:
    with tf.Graph().as_default():
        tf1.placeholder(tf.float32, name="x")
        with tf1.summary.FileWriter(str(tmp_path), tf1.get_default_graph()) as writer:
            writer.add_summary(tf1.Summary(value=[tf1.Summary.Value(tag="a", simple_value=2.0)]), 7)
            writer.add_session_log(tf1.SessionLog(status=tf1.SessionLog.START), 8)
    (path,) = tmp_path.iterdir()
    version, graph, meta, summary, log = read_events(path)
    assert version.file_version == "brain.Event:2"
    assert messages.parse("GraphDef", graph.graph_def, where="").node[0].name == "x"
    assert messages.parse("MetaGraphDef", meta.meta_graph_def, where="").graph_def.node[0].name == "x"
    assert (summary.step, summary.summary.value[0].simple_value) == (7, 2.0)
    assert log.session_log.status == messages.SessionLog.START
    assert [e.SerializeToString() for e in tf1.train.summary_iterator(str(path))] == [
        e.SerializeToString() for e in read_events(path)
    ]


def test_files_begun_at_once_have_names_of_their_own(tmp_path: Path) -> None:
    files = [EventFile(tmp_path) for _ in range(3)]
    for step, file in enumerate(files, 1):
        file.write(loss(step))
        file.close()
    assert len({f.path for f in files}) == 3
    assert [list(read_events(p))[1].step for p in sorted(tmp_path.iterdir())] == [1, 2, 3]


def test_the_version_is_there_at_once(tmp_path: Path) -> None:
    file = EventFile(tmp_path)
    assert [e.file_version for e in read_events(file.path)] == ["brain.Event:2"]
    file.close()
    file.close()
    with pytest.raises(MisuseError, match=r"the writer of .*tfevents.* is closed"):
        file.write(loss(1))


def test_damage_names_the_byte(tmp_path: Path) -> None:
    path = tmp_path / "e"
    with RecordWriter(path) as records:
        records.write(messages.Event(step=1).SerializeToString())
        records.write(b"\xff")
    with pytest.raises(CorruptError, match=r"damaged tensorflow.Event in .*e, at byte 18: "):
        list(read_events(path))
    data = path.read_bytes()
    path.write_bytes(data[:-1])
    events = read_events(path)
    assert next(events).step == 1
    with pytest.raises(TruncatedError, match=r"a record is cut off in .*e, at byte 18"):
        next(events)
    path.write_bytes(struct.pack("<Q", 3) + data[8:])
    with pytest.raises(ChecksumError):
        list(read_events(path))
    with pytest.raises(NotFoundError):
        list(read_events(tmp_path / "none"))
