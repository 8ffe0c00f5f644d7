"""Event files that graphs write, event by event as TensorFlow writes them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import coldframe as cf
from coldframe.formats import messages
from coldframe.formats.events import read_events
from coldframe.runtime.files import AnyFile

r, v1 = tf.raw_ops, tf.compat.v1
STEP = np.int64(7)


def _metadata() -> bytes:
    data: bytes = v1.SummaryMetadata(display_name="shown", plugin_data={"plugin_name": "scalars"}).SerializeToString()
    return data


def _graph() -> bytes:
    with tf.Graph().as_default() as graph:
        tf.constant(3, name="three")
    data: bytes = graph.as_graph_def().SerializeToString()
    return data


def _image(dtype: str) -> Any:
    return tf.constant(np.linspace(-1, 3, 2 * 3 * 4 * 3).reshape(2, 3, 4, 3), dtype)


WRITES: dict[str, Callable[[Any], Any]] = {
    "scalars": lambda w: [
        r.WriteScalarSummary(writer=w, step=STEP, tag=f"a/{t}", value=tf.cast(3.7, t))
        for t in ("float32", "float64", "int32", "int64", "uint8", "float16")
    ],
    "a histogram": lambda w: [
        r.WriteHistogramSummary(writer=w, step=STEP, tag="h", values=tf.constant([1.5, -2.0, 1e20, 0.0, 1.5])),
        r.WriteHistogramSummary(writer=w, step=STEP, tag="h", values=tf.constant([[3, 4], [-5, 6]])),
    ],
    "tensors": lambda w: [
        r.WriteSummary(writer=w, step=STEP, tensor=tf.constant([[1.0, 2.0]]), tag="t", summary_metadata=_metadata()),
        r.WriteSummary(writer=w, step=STEP, tensor=tf.constant([b"a", b"bc"]), tag="s", summary_metadata=b""),
        r.WriteSummary(writer=w, step=STEP, tensor=tf.constant(True), tag="b", summary_metadata=b""),
    ],
    "sound": lambda w: r.WriteAudioSummary(
        writer=w, step=STEP, tag="s", tensor=np.linspace(-1, 1, 24, dtype=np.float32).reshape(2, 6, 2),
        sample_rate=8000.0, max_outputs=3,
    ),
    "raw": lambda w: r.WriteRawProtoSummary(
        writer=w, step=STEP, tensor=tf.stack([v1.summary.scalar("x", 1.0), v1.summary.scalar("y", 2.0)])
    ),
    "a graph": lambda w: r.WriteGraphSummary(writer=w, step=STEP, tensor=_graph()),
    "an event": lambda w: r.ImportEvent(writer=w, event=v1.Event(wall_time=3.5, step=9).SerializeToString()),
}  # fmt: skip


def _built(folder: Path, write: Callable[[Any], Any]) -> tuple[Any, list[str]]:
    with tf.Graph().as_default() as graph:
        writer = r.SummaryWriter(shared_name="w")
        made = r.CreateSummaryFileWriter(
            writer=writer, logdir=str(folder), max_queue=10, flush_millis=60_000, filename_suffix=".v2"
        )
        with tf.control_dependencies([made]):
            written = write(writer)
        flush = r.FlushSummaryWriter(writer=writer)
        close = r.CloseSummaryWriter(writer=writer)
    steps = written if isinstance(written, list) else [written]
    return graph, [*(s.name for s in steps), flush.name, close.name]


def _events(folder: Path) -> list[Any]:
    (file,) = folder.iterdir()
    assert file.name.endswith(".v2")
    first, *events = read_events(file)
    assert first.file_version == "brain.Event:2"
    for event in events:
        assert event.wall_time > 3
        event.ClearField("wall_time")
        if event.graph_def:  # TensorFlow writes it anew, its maps in another order
            event.graph_def = v1.GraphDef.FromString(event.graph_def).SerializeToString(deterministic=True)
    return events


def _session(graph: Any) -> cf.Session:
    return cf.Session(
        messages.parse("GraphDef", graph.as_graph_def().SerializeToString(), where="in the test"), files=AnyFile()
    )


def _run(who: str, graph: Any, steps: list[str]) -> None:
    session = v1.Session(graph=graph) if who == "theirs" else _session(graph)
    with contextlib.closing(session):
        for step in steps:
            session.run(graph.get_operation_by_name(step) if who == "theirs" else step)


@pytest.mark.parametrize("name", WRITES)
def test_events_are_what_tensorflow_writes(name: str, tmp_path: Path) -> None:
    files = []
    for who in ("theirs", "ours"):
        graph, steps = _built(tmp_path / who, WRITES[name])
        _run(who, graph, steps)
        files.append(_events(tmp_path / who))
    theirs, ours = files
    assert len(theirs) == len(ours) > 0
    assert [str(e) for e in ours] == [str(e) for e in theirs]


@pytest.mark.parametrize("dtype", ["uint8", "float32", "float16"])
def test_images_are_what_tensorflow_writes(dtype: str, tmp_path: Path) -> None:
    def write(writer: Any) -> Any:
        return r.WriteImageSummary(
            writer=writer, step=STEP, tag="i", tensor=_image(dtype), bad_color=np.uint8([255, 0, 0, 255]), max_images=2
        )

    found = []
    for who in ("theirs", "ours"):
        graph, (step, _, close) = _built(tmp_path / who, write)
        _run(who, graph, [step, close])
        (event,) = _events(tmp_path / who)
        found.append([
            (v.tag, v.image.height, v.image.width, tf.io.decode_png(v.image.encoded_image_string).numpy().tolist())
            for v in event.summary.value
        ])  # fmt: skip
    assert found[0] == found[1]
    assert len(found[0]) == 2


def test_events_are_seen_once_the_queue_is_full_or_the_session_ends(tmp_path: Path) -> None:
    with tf.Graph().as_default() as graph:
        writer = r.SummaryWriter()
        made = r.CreateSummaryFileWriter(
            writer=writer, logdir=str(tmp_path / "a" / "b"), max_queue=2, flush_millis=60_000, filename_suffix=".v2"
        )
        write = r.WriteScalarSummary(writer=writer, step=v1.placeholder(tf.int64, [], "step"), tag="x", value=1.0)
    with contextlib.closing(_session(graph)) as session:
        session.run(made.name)
        session.run(made.name)  # a writer that there is stays
        seen = []
        for step in range(4):
            session.run(write.name, {"step:0": step})
            seen.append(len(_events(tmp_path / "a" / "b")))
    assert seen == [0, 0, 3, 3]
    assert [e.step for e in _events(tmp_path / "a" / "b")] == [0, 1, 2, 3]


def test_a_writer_without_a_file_says_what_to_run(tmp_path: Path) -> None:
    graph, (write, flush, close) = _built(tmp_path, WRITES["a graph"])
    session = _session(graph)
    for step in (flush, close):
        with pytest.raises(cf.ExecutionError, match=r"summary writer `w` has no file[^!]*run its initializer"):
            session.run(step)
    session.run(write)
    session.run(close)
    with pytest.raises(cf.ExecutionError, match="has no file"):
        session.run(flush)


def test_graphs_of_a_model_write_no_events(tmp_path: Path) -> None:
    graph, (write, *_) = _built(tmp_path, WRITES["a graph"])
    session = cf.Session(messages.parse("GraphDef", graph.as_graph_def().SerializeToString(), where="in the test"))
    with pytest.raises(cf.UnsupportedError, match="graphs of a model may not write files"):
        session.run(write)
    assert not list(tmp_path.iterdir())


def test_strings_that_are_no_messages_are_refused(tmp_path: Path) -> None:
    for name, write in {
        "Summary": lambda w: r.WriteRawProtoSummary(writer=w, step=STEP, tensor=b"\xff"),
        "GraphDef": lambda w: r.WriteGraphSummary(writer=w, step=STEP, tensor=b"\xff"),
        "Event": lambda w: r.ImportEvent(writer=w, event=b"\xff"),
    }.items():
        graph, (step, *_) = _built(tmp_path, write)
        with pytest.raises(cf.ExecutionError, match=f"a string is not the message it should be.*expected {name}"):
            _session(graph).run(step)
