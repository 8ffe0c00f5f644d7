"""Meta graphs: a training written by TensorFlow goes on here without its Python code, and the other way round."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow

import coldframe.tf1 as cf
from coldframe.formats import messages
from coldframe.formats.meta_graph import read_meta_graph

v1 = tensorflow.compat.v1
BOTH = {"tensorflow": v1, "coldframe": cf}


@pytest.fixture(autouse=True, scope="module")
def first_generation() -> Iterator[None]:
    before = v1.resource_variables_enabled(), v1.control_flow_v2_enabled()
    v1.disable_resource_variables()
    v1.disable_control_flow_v2()
    yield
    if before[0]:
        v1.enable_resource_variables()
    if before[1]:
        v1.enable_control_flow_v2()


# --- programs ---------------------------------------------------------------------------------------------------
def dense(tf: Any, x: Any) -> Any:
    w = tf.get_variable("w", [4, 3], initializer=tf.constant_initializer(0.3))
    table = tf.get_variable("p", [5, 3], partitioner=tf.fixed_size_partitioner(2), initializer=tf.ones_initializer())
    r = tf.get_variable("r", [3], use_resource=True, initializer=tf.constant_initializer(0.1))
    return tf.nn.relu(tf.matmul(x, w)) * tf.reduce_mean(tf.convert_to_tensor(table), 0) + r


def loop(tf: Any, x: Any) -> Any:
    w = tf.get_variable("w", [4, 4], initializer=tf.constant_initializer(0.2))
    _, y = tf.while_loop(lambda i, _: i < 3, lambda i, y: (i + 1, tf.tanh(tf.matmul(y, w))), [tf.constant(0), x])
    return tf.cond(tf.reduce_sum(x) > 0, lambda: y * 2.0, lambda: y)


PROGRAMS: dict[str, Callable[[Any, Any], Any]] = {"dense": dense, "loop": loop}


def build(tf: Any, program: str) -> None:
    x = tf.placeholder(tf.float32, [None, 4], name="x")
    loss = tf.reduce_mean(tf.square(PROGRAMS[program](tf, x) - 1.0), name="loss")
    step = tf.train.get_or_create_global_step()
    train = tf.train.AdamOptimizer(0.05).minimize(loss, global_step=step, name="train")
    tf.add_to_collection("train_op", train)
    tf.add_to_collection("losses", loss)
    tf.add_to_collection("numbers", 3)
    tf.add_to_collection("fractions", 0.5)
    tf.add_to_collection("words", "hello")


def batch(i: int) -> Any:
    return np.random.default_rng(i).normal(size=(6, 4)).astype(np.float32)


def trained(sess: Any, numbers: range) -> list[float]:
    return [float(sess.run(["loss:0", "train"], {"x:0": batch(i)})[0]) for i in numbers]


def begun(tf: Any, prefix: Path, program: str, steps: int) -> list[float]:
    """Train for some steps, save, and return the losses of the same number of steps more."""
    with tf.Graph().as_default():
        build(tf, program)
        with tf.Session() as sess:
            sess.run(tf.global_variables_initializer())
            trained(sess, range(steps))
            tf.train.Saver().save(sess, str(prefix))
            return trained(sess, range(steps, 2 * steps))


def resumed(tf: Any, prefix: Path, steps: int, **arguments: Any) -> list[float]:
    with tf.Graph().as_default():
        saver = tf.train.import_meta_graph(f"{prefix}.meta", **arguments)
        with tf.Session() as sess:
            saver.restore(sess, str(prefix))
            return trained(sess, range(steps, 2 * steps))


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize(
    ("writer", "reader"), [("tensorflow", "coldframe"), ("coldframe", "tensorflow"), ("coldframe", "coldframe")]
)
def test_training_goes_on_from_files_alone(tmp_path: Path, writer: str, reader: str, program: str) -> None:
    expected = begun(BOTH[writer], tmp_path / "m", program, 8)
    np.testing.assert_allclose(resumed(BOTH[reader], tmp_path / "m", 8), expected, rtol=1e-5)


@pytest.mark.parametrize(
    "arguments", [{"strip_default_attrs": True}, {"clear_devices": True}, {"as_text": True}], ids=str
)
def test_other_forms_go_to_tensorflow(tmp_path: Path, arguments: dict[str, Any]) -> None:
    with cf.Graph().as_default():
        with cf.device("/job:worker/gpu:3"):
            build(cf, "dense")
        saver = cf.train.Saver()
        with cf.Session() as sess:
            sess.run(cf.global_variables_initializer())
            saver.save(sess, str(tmp_path / "m"), write_meta_graph=False)
            saver.export_meta_graph(str(tmp_path / "m.meta"), **arguments)
            expected = trained(sess, range(4, 8))
    meta = read_meta_graph(tmp_path / "m.meta")
    assert meta.meta_info_def.stripped_default_attrs is arguments.get("strip_default_attrs", False)
    assert any(n.device for n in meta.graph_def.node) is not arguments.get("clear_devices", False)
    found = resumed(v1, tmp_path / "m", 4, clear_devices=True)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


# --- what is in them --------------------------------------------------------------------------------------------
def exported(tf: Any, **arguments: Any) -> Any:
    with tf.Graph().as_default():
        build(tf, "dense")
        raw = tf.train.export_meta_graph(**arguments).SerializeToString()
    return messages.parse("MetaGraphDef", raw, where="")


def test_collections_are_tensorflows() -> None:
    theirs, ours = exported(v1), exported(cf)
    assert sorted(ours.collection_def) == sorted(theirs.collection_def)
    for key, collection in theirs.collection_def.items():
        mine = ours.collection_def[key]
        if key not in ("variables", "trainable_variables", "global_step"):
            assert mine == collection, key
            continue
        for one, other in zip(mine.bytes_list.value, collection.bytes_list.value, strict=True):
            a, b = messages.parse("VariableDef", one, where=""), messages.parse("VariableDef", other, where="")
            b.ClearField("aggregation")
            b.ClearField("synchronization")
            assert a == b


def test_ops_are_described_as_tensorflow_does() -> None:
    metas = [exported(tf) for tf in (v1, cf)]
    theirs, ours = [{o.name: o for o in m.meta_info_def.stripped_op_list.op} for m in metas]
    assert sorted(ours) == sorted({n.op for n in metas[1].graph_def.node})
    both = ours.keys() & theirs.keys()
    assert len(both) > 20
    for name in both:
        theirs[name].ClearField("is_distributed_communication")
        for arg in theirs[name].output_arg:
            arg.ClearField("experimental_full_type")
        assert ours[name] == theirs[name], name


def test_only_some_collections() -> None:
    assert sorted(exported(cf, collection_list=["variables", "words"]).collection_def) == ["variables", "words"]


def test_what_cannot_be_written_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    with cf.Graph().as_default():
        cf.add_to_collection("things", object())
        cf.add_to_collection("mixed", 3)
        cf.add_to_collection("mixed", cf.constant(1.0))
        meta = cf.train.export_meta_graph()
    assert not meta.collection_def
    assert "collection `mixed` is not written to the meta graph" in caplog.text


def test_collections_come_back() -> None:
    meta = exported(v1)
    with cf.Graph().as_default() as graph:
        cf.train.import_meta_graph(meta)
        assert cf.get_collection("train_op") == [graph.get_operation_by_name("train")] * 2
        assert cf.get_collection("losses") == [graph.get_tensor_by_name("loss:0")]
        assert cf.get_collection("numbers") == [3]
        assert cf.get_collection("fractions") == [0.5]
        assert cf.get_collection("words") == [b"hello"]
        variables = cf.global_variables()
        assert [v.name for v in cf.trainable_variables()] == ["w:0", "p/part_0:0", "p/part_1:0", "r:0"]
        assert all(any(v is w for w in variables) for v in cf.trainable_variables()), "one object for each variable"
        assert variables[1]._get_save_slice_info().spec == "5 3 0,3:0,3"
        assert cf.train.get_global_step() is next(v for v in variables if v.name == "global_step:0")


def test_queue_runners_come_back() -> None:
    with v1.Graph().as_default():
        queue = v1.train.string_input_producer(["a", "b"], shuffle=False, num_epochs=None)
        v1.identity(queue.dequeue(), name="out")
        meta = v1.train.export_meta_graph()
    with cf.Graph().as_default():
        assert cf.train.import_meta_graph(meta) is None
        coordinator = cf.train.Coordinator()
        with cf.Session() as sess:
            threads = cf.train.start_queue_runners(sess, coordinator)
            assert [sess.run("out:0") for _ in range(3)] == [b"a", b"b", b"a"]
            coordinator.request_stop()
            coordinator.join(threads)


# --- scopes -----------------------------------------------------------------------------------------------------
def test_an_import_under_a_scope(tmp_path: Path) -> None:
    expected = begun(v1, tmp_path / "m", "dense", 3)
    with cf.Graph().as_default() as graph:
        saver = cf.train.import_meta_graph(f"{tmp_path / 'm'}.meta", import_scope="old")
        again = cf.train.import_meta_graph(f"{tmp_path / 'm'}.meta", import_scope="old")
        assert saver.as_saver_def().restore_op_name == "old/save/restore_all"
        assert again.as_saver_def().restore_op_name == "old_1/save/restore_all"
        assert graph.get_operation_by_name("old_1/w/read").get_attr("_class") == [b"loc:@old_1/w"]
        with cf.Session() as sess:
            saver.restore(sess, str(tmp_path / "m"))
            feeds = [{"old/x:0": batch(i)} for i in range(3, 6)]
            losses = [sess.run(["old/loss:0", "old/train"], f)[0] for f in feeds]
    np.testing.assert_allclose(losses, expected, rtol=1e-5)


def scoped(tf: Any) -> Any:
    with tf.Graph().as_default():
        outside = tf.placeholder(tf.float32, [2], name="outside")
        with tf.variable_scope("net"):
            w = tf.get_variable("w", [2], initializer=tf.zeros_initializer())
            tf.add(w * 2.0, outside, name="y")
        raw = tf.train.export_meta_graph(export_scope="net").SerializeToString()
    return messages.parse("MetaGraphDef", raw, where="")


def test_an_export_of_a_scope() -> None:
    theirs, ours = scoped(v1), scoped(cf)
    assert [(n.name, list(n.input)) for n in ours.graph_def.node] == [
        (n.name, list(n.input)) for n in theirs.graph_def.node
    ]
    assert ours.collection_def["unbound_inputs"] == theirs.collection_def["unbound_inputs"]
    assert ours.collection_def["variables"] == theirs.collection_def["variables"]
    with cf.Graph().as_default():
        with pytest.raises(ValueError, match=r"unbound inputs: \['\$unbound_inputs_outside'\]"):
            cf.train.import_meta_graph(theirs)
        given = cf.constant([1.0, 2.0])
        cf.train.import_meta_graph(theirs, import_scope="copy", input_map={"$unbound_inputs_outside": given})
        with cf.Session() as sess:
            sess.run(cf.global_variables_initializer())
            assert sess.run("copy/y:0").tolist() == [1.0, 2.0]


def test_other_savers_are_left_out() -> None:
    with cf.Graph().as_default():
        cf.get_variable("w", [2])
        first, second = cf.train.Saver(), cf.train.Saver()
        cf.add_to_collection(cf.GraphKeys.SAVERS, first)
        cf.add_to_collection(cf.GraphKeys.SAVERS, second)
        everything = second.export_meta_graph()
        meta = second.export_meta_graph(clear_extraneous_savers=True)
    assert len(everything.collection_def["savers"].bytes_list.value) == 2
    assert len(meta.collection_def["savers"].bytes_list.value) == 1
    names = {n.name for n in meta.graph_def.node}
    assert "save_1/SaveV2" in names
    assert not {n for n in names if n.startswith("save/")}
    with v1.Graph().as_default():
        v1.train.import_meta_graph(v1.MetaGraphDef.FromString(meta.SerializeToString()))


def test_a_file_that_is_not_there() -> None:
    with cf.Graph().as_default(), pytest.raises(OSError, match="File does not exist"):
        cf.train.import_meta_graph("nowhere.meta")


def test_savers_as_messages() -> None:
    with cf.Graph().as_default():
        cf.get_variable("w", [2])
        saver = cf.train.Saver(name="a/save")
        proto = saver.to_proto("a")
        assert proto.filename_tensor_name == "save/Const:0"
        assert saver.to_proto("elsewhere") is None
        assert cf.train.Saver.from_proto(proto, import_scope="a").saver_def == saver.saver_def
