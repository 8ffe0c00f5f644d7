"""`tf.summary` against TensorFlow's: the same nodes, the same events, and TensorBoard reads them."""

from __future__ import annotations

import gc
import json
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from coldframe import dtypes
from coldframe.errors import ColdframeError
from coldframe.formats import messages
from coldframe.tf1 import errors, summary
from coldframe.tf1.framework.build import raw
from coldframe.tf1.framework.convert import constant
from coldframe.tf1.framework.graph import Graph, get_default_graph, name_scope
from coldframe.tf1.session import Session
from coldframe.tf1.summary import FileWriter, FileWriterCache, summary_iterator

tf1 = tf.compat.v1
OURS = SimpleNamespace(
    summary=summary, constant=constant, name_scope=name_scope, Graph=Graph, Session=Session,
    get_default_graph=get_default_graph,
    placeholder=lambda dtype, shape: raw.Placeholder(dtype=dtype, shape=shape), float32=dtypes.float32,
    uint8=dtypes.uint8, SummaryMetadata=messages.SummaryMetadata,
)  # fmt: skip
THEIRS = SimpleNamespace(
    summary=tf1.summary, constant=tf1.constant, name_scope=tf1.name_scope, Graph=tf1.Graph, Session=tf1.Session,
    get_default_graph=tf1.get_default_graph, placeholder=tf1.placeholder, float32=tf.float32, uint8=tf.uint8,
    SummaryMetadata=tf1.SummaryMetadata,
)  # fmt: skip


# --- nodes ---
def _scalars(tf: Any) -> None:
    tf.summary.scalar("loss", tf.constant(1.0))
    tf.summary.scalar("loss", tf.constant(2))
    with tf.name_scope("scope"):
        tf.summary.scalar("loss", tensor=tf.constant(1.0))
        tf.summary.scalar("l m/x", tf.constant(1.0), family="fam")
    tf.summary.scalar("/a b:c", 3.0, collections=["mine", "other"])
    tf.summary.scalar("none", 3.0, collections=[])


def _histograms(tf: Any) -> None:
    tf.summary.histogram("h", tf.constant([1.0]))
    tf.summary.histogram("h", values=[1, 2], family="f g")


def _images(tf: Any) -> None:
    tf.summary.image("im", tf.placeholder(tf.float32, [None, 2, 2, 3]), max_outputs=1)
    with tf.name_scope("s"):
        tf.summary.image("x", tf.placeholder(tf.uint8, [2, 2, 2, 1]), family="fam")


def _sounds(tf: Any) -> None:
    tf.summary.audio("au", tf.placeholder(tf.float32, [None, 2, 2]), sample_rate=8000.0)
    tf.summary.audio("au", tf.placeholder(tf.float32, [2, 2]), 44100, max_outputs=1, family="f")


def _tensors(tf: Any) -> None:
    tf.summary.text("t", tf.constant("hi"))
    tf.summary.tensor_summary("ts", tf.constant([1, 2]), summary_description="d", display_name="disp", family="f")
    metadata = tf.SummaryMetadata(plugin_data={"plugin_name": "p", "content": b"c"}, display_name="old")
    tf.summary.tensor_summary("ts", tf.constant(["a"]), summary_metadata=metadata, display_name="new")


def _merged(tf: Any) -> None:
    a = tf.summary.scalar("x", 1.0)
    b = tf.summary.scalar("y", 1.0)
    tf.summary.merge_all()
    tf.summary.merge_all(scope="x")
    tf.summary.merge([a, b], collections=["q"], name="m m")
    assert tf.summary.merge_all("nothing") is None
    assert tf.summary.merge_all(scope="zz") is None
    tf.summary.merge_all(name="all")


@pytest.mark.parametrize("build", [_scalars, _histograms, _images, _sounds, _tensors, _merged])
def test_nodes_are_tensorflows(build: Callable[[Any], None]) -> None:
    facts = []
    for module in (THEIRS, OURS):
        graph = module.Graph()
        with graph.as_default():
            build(module)
        nodes = messages.GraphDef.FromString(graph.as_graph_def().SerializeToString()).node
        collections = {k: [t.name for t in graph.get_collection(k)] for k in graph.get_all_collection_keys()}
        facts.append(([_node(n) for n in nodes], collections))
    assert facts[1] == facts[0]


def _node(node: Any) -> Any:
    node.attr.pop("_output_shapes", None)
    attrs = {k: _plain(v) for k, v in sorted(node.attr.items())}
    return node.name, node.op, list(node.input), attrs


def _plain(attr: Any) -> Any:
    if not attr.HasField("tensor"):
        return str(attr)
    array = tf.make_ndarray(tf1.AttrValue.FromString(attr.SerializeToString()).tensor)
    return str(array.dtype), array.shape, array.tolist()


def test_what_is_refused() -> None:
    with Graph().as_default():
        with pytest.raises(ValueError, match="Expected tensor Const:0 to have dtype string, got"):
            summary.text("t", constant(1.0))
        with pytest.raises(ValueError, match="List argument 'inputs' to 'MergeSummary' Op with length 0"):
            summary.merge([])
        with pytest.raises((TypeError, ColdframeError), match="ScalarSummary"):
            summary.scalar("s", "text")


# --- events ---
def _train(tf: Any, folder: Path) -> None:
    """What a training program logs."""
    with tf.Graph().as_default():
        x = tf.placeholder(tf.float32, [4])
        tf.summary.scalar("loss", raw_sum(x) if tf is OURS else tf1.reduce_sum(x))
        tf.summary.histogram("weights", x)
        tf.summary.image("picture", tf.constant(np.arange(24, dtype=np.uint8).reshape(2, 2, 2, 3)))
        tf.summary.text("note", tf.constant("hello"))
        merged = tf.summary.merge_all()
        with tf.Session() as sess, tf.summary.FileWriter(str(folder), sess.graph, filename_suffix=".x") as writer:
            for step in range(3):
                writer.add_summary(sess.run(merged, {x: np.full(4, step, np.float32)}), step)
            by_hand = tf.summary.Summary(value=[tf.summary.Summary.Value(tag="by_hand", simple_value=1.5)])
            writer.add_summary(by_hand, global_step=np.int64(7))
            writer.add_session_log(tf.summary.SessionLog(status=1, checkpoint_path="p"), 8)


def raw_sum(x: Any) -> Any:
    return raw.Sum(x, constant([0]))


def _facts(path: Path) -> list[Any]:
    facts = []
    for event in tf1.train.summary_iterator(str(path)):
        e = messages.Event.FromString(event.SerializeToString())
        assert 1e9 < e.wall_time < 1e11
        for v in e.summary.value:
            if v.HasField("image"):
                v.image.encoded_image_string = tf.io.decode_png(v.image.encoded_image_string).numpy().tobytes()
        graph = [n.name.split("/")[0] for n in messages.GraphDef.FromString(e.graph_def).node]
        facts.append((e.step, e.WhichOneof("what"), str(e.summary), str(e.session_log), len(graph) > 3))
    return facts


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folders = tmp_path_factory.mktemp("ours"), tmp_path_factory.mktemp("theirs")
    _train(OURS, folders[0])
    _train(THEIRS, folders[1])
    return folders


def test_events_are_tensorflows(logs: tuple[Path, Path]) -> None:
    ours, theirs = (next(f.iterdir()) for f in logs)
    assert re.fullmatch(r"events\.out\.tfevents\.\d{10}\..*\.x", ours.name)
    assert _facts(ours) == _facts(theirs)
    assert [e.SerializeToString() for e in summary_iterator(ours)] == [
        e.SerializeToString() for e in tf1.train.summary_iterator(str(ours))
    ]


def test_tensorboard_reads_them(logs: tuple[Path, Path]) -> None:
    code = (
        "import sys, json\n"
        "from tensorboard.backend.event_processing.event_accumulator import EventAccumulator\n"
        "a = EventAccumulator(sys.argv[1], {'histograms': 0}); a.Reload(); t = a.Tags()\n"
        "print(json.dumps([t['scalars'], t['histograms'], t['images'], t['tensors'], t['graph'], t['meta_graph'],\n"
        "  [(s.step, s.value) for s in a.Scalars('loss')], a.Histograms('weights')[2].histogram_value.num,\n"
        "  len(a.Graph().node) > 3, a.Images('picture/image/0')[0].width]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(logs[0])], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == [
        ["loss", "by_hand"], ["weights"], ["picture/image/0", "picture/image/1"], ["note"], True, True,
        [[0, 0.0], [1, 4.0], [2, 8.0]], 4.0, True, 2,
    ]  # fmt: skip


# --- the writer ---
def _value(tag: str, number: float) -> Any:
    return summary.Summary(value=[summary.Summary.Value(tag=tag, simple_value=number)])


def _steps(folder: Path) -> list[list[int]]:
    return [[e.step for e in summary_iterator(p)][1:] for p in sorted(folder.iterdir())]


def test_readers_see_events_when_they_are_flushed(tmp_path: Path) -> None:
    writer = FileWriter(tmp_path, max_queue=3, flush_secs=1000)
    seen = []
    for step in range(1, 9):
        writer.add_summary(_value("a", 1), step)
        seen.append(len(_steps(tmp_path)[0]))
    assert seen == [1, 1, 1, 4, 4, 4, 7, 7]
    writer.flush()
    assert len(_steps(tmp_path)[0]) == 8
    writer.close()
    quick = FileWriter(tmp_path / "quick", flush_secs=0, max_queue=0)
    quick.add_summary(_value("a", 1), 1)
    quick.add_summary(_value("a", 1), 2)
    assert _steps(tmp_path / "quick") == [[1, 2]]
    quick.close()


def test_reopened_writers_begin_a_file_of_their_own(tmp_path: Path) -> None:
    """In TensorFlow, a writer that is reopened within a second writes over its first file."""
    writer = FileWriter(tmp_path)
    for step in range(3):
        writer.add_summary(_value("a", 1), step)
        writer.close()
        writer.reopen()
        writer.reopen()
    writer.close()
    assert _steps(tmp_path) == [[0], [1], [2], []]
    with pytest.warns(UserWarning, match="Attempting to use a closed FileWriter"):
        writer.add_summary(_value("a", 1), 9)
    with pytest.warns(UserWarning, match="Attempting to use a closed FileWriter"):
        writer.flush()
    assert _steps(tmp_path) == [[0], [1], [2], []]


def test_forgotten_writers_lose_nothing(tmp_path: Path) -> None:
    writer = FileWriter(tmp_path / "a", max_queue=100)
    for step in (1, 2, 3):
        writer.add_summary(_value("a", 1), step)
    del writer
    gc.collect()
    assert _steps(tmp_path / "a") == [[1, 2, 3]]
    code = (
        "import sys\nfrom coldframe.tf1 import summary as s\nw = s.FileWriter(sys.argv[1])\n"
        "for i in (1, 2, 3): w.add_summary(s.Summary(value=[s.Summary.Value(tag='a', simple_value=1)]), i)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "b")], check=True, timeout=60)
    assert _steps(tmp_path / "b") == [[1, 2, 3]]


def test_metadata_is_written_once_for_each_tag(tmp_path: Path) -> None:
    metadata = messages.SummaryMetadata(display_name="shown")
    with FileWriter(tmp_path) as writer:
        for _ in range(2):
            value = summary.Summary.Value(tag="t", simple_value=1.0, metadata=metadata)
            writer.add_summary(summary.Summary(value=[value]).SerializeToString())
    events = list(summary_iterator(next(tmp_path.iterdir())))[1:]
    assert [e.summary.value[0].metadata.display_name for e in events] == ["shown", ""]


def test_graphs_and_runs(tmp_path: Path) -> None:
    with FileWriter(tmp_path) as writer:
        writer.add_graph(messages.GraphDef(node=[{"name": "n", "op": "NoOp"}]), 1)
        writer.add_graph(None, graph_def=tf1.GraphDef(), global_step=2)
        writer.add_run_metadata(messages.RunMetadata(), "run", 3)
        writer.add_event(summary.Event(step=4, wall_time=5.0))
        writer.add_summary(tf1.Summary(value=[tf1.Summary.Value(tag="theirs", simple_value=1)]), 5)
        with pytest.raises(ValueError, match="already used"):
            writer.add_run_metadata(messages.RunMetadata(), "run")
        with pytest.raises(ValueError, match="not both"):
            writer.add_graph(Graph(), graph_def=messages.GraphDef())
        with pytest.raises(TypeError, match="must be an instance of `Graph`"):
            writer.add_graph("graph")
        with pytest.raises(TypeError, match="must be type MetaGraphDef"):
            writer.add_meta_graph(messages.GraphDef())
        with pytest.raises(errors.DataLossError, match=r"damaged tensorflow.Summary given to add_summary"):
            writer.add_summary(b"\xff")
        assert writer.get_logdir() == str(tmp_path)
    assert _steps(tmp_path) == [[1, 2, 3, 4, 5]]


def test_threads_share_a_writer(tmp_path: Path) -> None:
    with FileWriter(tmp_path) as writer:

        def log(k: int) -> None:
            for i in range(50):
                writer.add_summary(_value("a", 1), 100 * k + i)

        threads = [threading.Thread(target=log, args=[k]) for k in range(4)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
    assert sorted(_steps(tmp_path)[0]) == [100 * k + i for k in range(4) for i in range(50)]


def test_one_writer_for_each_folder(tmp_path: Path) -> None:
    with Graph().as_default():
        writer = FileWriterCache.get(str(tmp_path / "a"))
        assert FileWriterCache.get(str(tmp_path / "a")) is writer
        assert FileWriterCache.get(tmp_path / "b") is not writer
    FileWriterCache.clear()
    with pytest.warns(UserWarning, match="closed"):
        writer.flush()


def test_errors_are_tensorflows(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"text, not events")
    with pytest.raises(errors.OpError):
        FileWriter(tmp_path / "file" / "below")
    with pytest.raises(errors.DataLossError, match=r"at byte 0"):
        list(summary_iterator(tmp_path / "file"))
    with pytest.raises(errors.NotFoundError):
        list(summary_iterator(tmp_path / "none"))


def test_descriptions_of_old_nodes() -> None:
    node = messages.NodeDef(op="TensorSummary")
    node.attr["description"].s = b'{"typeHint": "image"}'
    assert summary.get_summary_description(node).type_hint == "image"
    with pytest.raises(ValueError, match="Can't get_summary_description on NoOp"):
        summary.get_summary_description(messages.NodeDef(op="NoOp"))


def test_names_are_tensorflows() -> None:
    names = {n for n in dir(tf1.summary) if not n.startswith("_")} - {"initialize"}
    assert names <= set(summary.__all__)
    assert summary.all_v2_summary_ops() == []
