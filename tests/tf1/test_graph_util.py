"""Freezing a session, cutting graphs down, and writing them: what TensorFlow makes and reads."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow
from tensorflow.python.framework import graph_util_impl

import coldframe.tf1 as cf

v1 = tensorflow.compat.v1
BOTH = {"tensorflow": v1, "coldframe": cf}
X = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)


@pytest.fixture(autouse=True, scope="module")
def reference_variables() -> Iterator[None]:
    before = v1.resource_variables_enabled()
    v1.disable_resource_variables()
    yield
    if before:
        v1.enable_resource_variables()


def model(tf: Any) -> Any:
    x = tf.placeholder(tf.float32, [None, 4], name="x")
    w = tf.get_variable("w", [4, 3], initializer=tf.constant_initializer(0.3))
    r = tf.get_variable("r", [3], initializer=tf.constant_initializer(0.1), use_resource=True)
    y = tf.identity(tf.matmul(x, w) + r, name="y")
    tf.train.AdamOptimizer(0.1).minimize(tf.reduce_sum(tf.square(y)))
    return y


def frozen(tf: Any, **arguments: Any) -> tuple[Any, Any]:
    with tf.Graph().as_default() as graph:
        model(tf)
        with tf.Session() as sess:
            sess.run(tf.global_variables_initializer())
            expected = sess.run("y:0", {"x:0": X})
            return tf.graph_util.convert_variables_to_constants(
                sess, graph.as_graph_def(), ["y"], **arguments
            ), expected


def run(tf: Any, graph_def: Any) -> Any:
    with tf.Graph().as_default():
        tf.import_graph_def(tf.GraphDef.FromString(graph_def.SerializeToString()), name="")
        with tf.Session() as sess:
            return sess.run("y:0", {"x:0": X})


def test_a_frozen_session_runs_everywhere() -> None:
    graph_def, expected = frozen(cf)
    theirs, _ = frozen(v1)
    assert {n.name: n.op for n in graph_def.node} == {n.name: n.op for n in theirs.node}
    for tf in BOTH.values():
        np.testing.assert_allclose(run(tf, graph_def), expected, rtol=1e-6)
    np.testing.assert_allclose(run(cf, theirs), expected, rtol=1e-6)


@pytest.mark.parametrize(
    "arguments", [{"variable_names_whitelist": ["w"]}, {"variable_names_blacklist": ["r"]}], ids=str
)
def test_only_some_variables(arguments: Any) -> None:
    graph_def, _ = frozen(cf, **arguments)
    ops = {n.name: n.op for n in graph_def.node}
    assert (ops["w"], ops["r"]) == ("Const", "VarHandleOp")


@pytest.mark.parametrize("name", ["y:0", "y"])
def test_tensor_names_will_do(name: str) -> None:
    with cf.Graph().as_default() as graph:
        model(cf)
        with cf.Session() as sess:
            sess.run(cf.global_variables_initializer())
            assert cf.graph_util.convert_variables_to_constants(sess, graph.as_graph_def(), [name]).node


def test_a_wrong_output_answers_with_near_names_and_likely_outputs() -> None:
    with cf.Graph().as_default() as graph:
        model(cf)
        cf.nn.softmax(graph.get_tensor_by_name("y:0"), name="probabilities")
        with cf.Session() as sess:
            sess.run(cf.global_variables_initializer())
            with pytest.raises(AssertionError) as info:
                cf.graph_util.convert_variables_to_constants(sess, graph.as_graph_def(), ["probabilites"])
    text = str(info.value)
    assert text.startswith("probabilites is not in graph; did you mean `probabilities`")
    assert re.search("likely outputs of this graph: .*`probabilities`", text)


def test_variables_without_values_are_named() -> None:
    with cf.Graph().as_default() as graph:
        model(cf)
        with cf.Session() as sess, pytest.raises(cf.errors.FailedPreconditionError, match="uninitialized value w, r"):
            cf.graph_util.convert_variables_to_constants(sess, graph.as_graph_def(), ["y"])


def test_the_second_and_third_program(tmp_path: Path) -> None:
    """Frozen, written through gfile, read back, imported into the session's graph, and run."""
    graph_def, expected = frozen(cf)
    with cf.gfile.FastGFile(str(tmp_path / "model.pb"), "wb") as f:
        f.write(graph_def.SerializeToString())
    with cf.Session(graph=cf.Graph()) as sess, cf.gfile.FastGFile(str(tmp_path / "model.pb"), "rb") as f:
        read = cf.GraphDef()
        read.ParseFromString(f.read())
        sess.graph.as_default()
        cf.import_graph_def(read, name="")
        y = sess.graph.get_tensor_by_name("y:0")
        np.testing.assert_array_equal(sess.run(y, feed_dict={"x:0": X}), expected)
        with pytest.raises(KeyError, match=r"`y`.*Likely outputs of this graph: y:0"):
            sess.graph.get_tensor_by_name("yy:0")


# --- cutting ----------------------------------------------------------------------------------------------------
def checked(tf: Any) -> Any:
    with tf.Graph().as_default() as graph:
        a = tf.placeholder(tf.float32, [], name="a")
        with tf.control_dependencies([tf.check_numerics(a, "bad", name="check")]):
            b = tf.identity(tf.identity(a, name="one"), name="two")
        with tf.control_dependencies([tf.identity(b, name="awaited")]):
            c = tf.identity(b, name="waits")
        tf.add(b, c, name="y")
        tf.negative(a, name="aside")
        return graph.as_graph_def()


def spelled(graph_def: Any) -> Any:
    return [(n.name, n.op, list(n.input)) for n in graph_def.node]


@pytest.mark.parametrize("protected", [None, ["one"]])
def test_training_nodes_are_removed(protected: Any) -> None:
    theirs = graph_util_impl.remove_training_nodes(checked(v1), protected)
    assert spelled(cf.graph_util.remove_training_nodes(checked(cf), protected)) == spelled(theirs)


def test_sub_graphs() -> None:
    for names in (["one"], ["waits", "aside"]):
        theirs = v1.graph_util.extract_sub_graph(checked(v1), names)
        assert spelled(cf.graph_util.extract_sub_graph(checked(cf), names)) == spelled(theirs)
    with pytest.raises(TypeError, match="dest_nodes must be an iterable of strings"):
        cf.graph_util.extract_sub_graph(checked(cf), "one")
    with pytest.raises(AssertionError, match="onne is not in graph"):
        cf.graph_util.extract_sub_graph(checked(cf), ["onne"])


def test_questions() -> None:
    for tf in BOTH.values():
        with tf.Graph().as_default() as graph:
            tf.constant(1, name="i")
            tf.constant(1.0, name="f")
            tf.get_variable("v", [2, 3])
            tf.cast(tf.constant(1), tf.float32, name="c")
            ops = [graph.get_operation_by_name(n) for n in ("i", "f", "v", "c")]
            assert [tf.graph_util.must_run_on_cpu(o) for o in ops] == [True, False, False, True]
            assert [tf.graph_util.must_run_on_cpu(o, True) for o in ops] == [True, False, True, True]
            for name in ("v", "v:0"):
                assert tf.graph_util.tensor_shape_from_node_def_name(graph, name).as_list() == [2, 3]


@pytest.mark.parametrize("as_text", [False, True])
def test_graphs_are_written(tmp_path: Path, as_text: bool) -> None:
    with cf.Graph().as_default() as graph:
        cf.constant([1.0, 2.0], name="c")
        path = cf.train.write_graph(graph, str(tmp_path / "new"), "graph.pb", as_text=as_text)
        assert path == str(tmp_path / "new" / "graph.pb")
        cf.train.write_graph(graph.as_graph_def(), str(tmp_path), "again", as_text=as_text)
    assert (tmp_path / "again").read_bytes() == Path(path).read_bytes()
    read = v1.GraphDef()
    if as_text:
        from google.protobuf import text_format

        text_format.Parse(Path(path).read_text(), read)
    else:
        read.ParseFromString(Path(path).read_bytes())
    assert [n.name for n in read.node] == ["c"]
