"""`tf.import_graph_def`: names, inputs and errors as TensorFlow has them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import tensorflow

import coldframe.tf1 as cf

v1 = tensorflow.compat.v1
BOTH = [v1, cf]


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


def abc(tf: Any = v1) -> Any:
    with tf.Graph().as_default() as graph:
        a, b = tf.placeholder(tf.float32, name="a"), tf.constant(2.0, name="b")
        tf.add(a, b, name="c")
        return graph.as_graph_def()


def outcome(tf: Any, program: Callable[[Any, Any], Any]) -> Any:
    """Return the names in the graph and what came back, or the error."""
    with tf.Graph().as_default() as graph:
        try:
            back = program(tf, abc(tf))
        except (ValueError, TypeError) as e:
            return type(e).__name__, str(e)
        names = [(o.name, o.type, [t.name for t in o.inputs], [c.name for c in o.control_inputs], o.device)
                 for o in graph.get_operations()]  # fmt: skip
        return names, None if back is None else [b.name for b in back]


def twice(tf: Any, g: Any, **arguments: Any) -> Any:
    tf.import_graph_def(g, **arguments)
    return tf.import_graph_def(g, return_elements=["c"], **arguments)


def inside(tf: Any, g: Any, **arguments: Any) -> Any:
    with tf.name_scope("out"):
        return tf.import_graph_def(g, return_elements=["c:0", "a"], **arguments)


def mapped(tf: Any, g: Any, key: str, value: Any = None) -> Any:
    given = tf.constant(1.0) if value is None else value
    return tf.import_graph_def(g, {key: given}, ["c"], name="m")


def under(tf: Any, g: Any, scope: Callable[[Any], Any]) -> Any:
    with scope(tf):
        return tf.import_graph_def(g, return_elements=["c", "a"])


SAME: dict[str, Callable[[Any, Any], Any]] = {
    "once": lambda tf, g: tf.import_graph_def(g),
    "twice": twice,
    "twice under no name": lambda tf, g: twice(tf, g, name=""),
    "twice under a name": lambda tf, g: twice(tf, g, name="n"),
    "in a scope": inside,
    "in a scope, under no name": lambda tf, g: inside(tf, g, name=""),
    "in a scope that is there": lambda tf, g: inside(tf, g, name="t/"),
    "an input": lambda tf, g: mapped(tf, g, "a:0"),
    "an input by its node": lambda tf, g: mapped(tf, g, "a"),
    "a number as an input": lambda tf, g: mapped(tf, g, "a:0", 1.0),
    "on a device": lambda tf, g: under(tf, g, lambda tf: tf.device("/cpu:0")),
    "after something": lambda tf, g: under(tf, g, lambda tf: tf.control_dependencies([tf.no_op(name="first")])),
}


@pytest.mark.parametrize("case", SAME)
def test_as_tensorflow_does(case: str) -> None:
    theirs, ours = (outcome(tf, SAME[case]) for tf in BOTH)
    assert ours == theirs


REFUSED: dict[str, Callable[[Any, Any], Any]] = {
    "no such tensor": lambda tf, g: tf.import_graph_def(g, return_elements=["nope:0"]),
    "no such node": lambda tf, g: tf.import_graph_def(g, return_elements=["nope"]),
    "no such output": lambda tf, g: tf.import_graph_def(g, return_elements=["c:3"]),
    "no such input": lambda tf, g: mapped(tf, g, "zz:0"),
    "an input of another dtype": lambda tf, g: mapped(tf, g, "a:0", tf.constant(1)),
    "no GraphDef": lambda tf, g: tf.import_graph_def(3),
    "no mapping": lambda tf, g: tf.import_graph_def(g, input_map=3),
    "no names": lambda tf, g: tf.import_graph_def(g, return_elements=[3]),
    "no scope": lambda tf, g: tf.import_graph_def(g, name="bad scope!"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_as_tensorflow_does(case: str) -> None:
    theirs, ours = (outcome(tf, REFUSED[case]) for tf in BOTH)
    assert ours[0] == theirs[0]
    start = re.split(r"[.,] | proto|\. A root", theirs[1])[0].rstrip(".")
    assert ours[1].startswith(start), f"{ours[1]!r} does not begin with {start!r}"


def test_near_names_are_suggested() -> None:
    with cf.Graph().as_default():
        with pytest.raises(ValueError, match="'cc' not found in graph def: did you mean `c`"):
            cf.import_graph_def(abc(cf), return_elements=["cc"])
        with pytest.raises(ValueError, match=r"not found in graph_def: .* did you mean `a`"):
            cf.import_graph_def(abc(cf), input_map={"aa:0": 1.0})


def test_a_dangling_input() -> None:
    graph_def = abc(cf)
    graph_def.node[2].input[1] = "bb"
    with cf.Graph().as_default(), pytest.raises(ValueError, match=r"input `bb:0` of node `c` .* did you mean `b`"):
        cf.import_graph_def(graph_def)


def test_unknown_ops_are_named_together() -> None:
    graph_def = abc(cf)
    graph_def.node.add(name="x", op="MatMull")
    graph_def.node.add(name="y", op="Foo")
    message = "Op type not registered 'Foo', 'MatMull'"
    with cf.Graph().as_default(), pytest.raises(cf.errors.NotFoundError, match=message):
        cf.import_graph_def(graph_def)


def test_old_graphs_have_placeholders_of_any_shape() -> None:
    graph_def = abc(cf)
    graph_def.node[0].attr["shape"].shape.unknown_rank = False
    for producer, rank in ((23, None), (24, 0)):
        graph_def.versions.producer = producer
        with cf.Graph().as_default():
            [a] = cf.import_graph_def(graph_def, return_elements=["a:0"])
            assert a.get_shape().ndims == rank


def test_what_the_file_leaves_out_is_completed() -> None:
    graph_def = cf.GraphDef()
    graph_def.node.add(name="x", op="Placeholder").attr["dtype"].type = 1
    graph_def.node.add(name="y", op="MatMul", input=["x", "x"]).attr["T"].type = 1
    with cf.Graph().as_default():
        [y] = cf.import_graph_def(graph_def, return_elements=["y"])
        assert y.get_attr("transpose_a") is False


def test_names_that_differ_in_case_only() -> None:
    graph_def = cf.GraphDef()
    for name in ("x", "X"):
        graph_def.node.add(name=name, op="NoOp")
    with cf.Graph().as_default() as graph:
        cf.import_graph_def(graph_def, name="")
        assert [o.name for o in graph.get_operations()] == ["x", "X"]
        assert cf.no_op(name="X").name == "X_1"


def test_bytes_and_messages_of_tensorflow() -> None:
    with cf.Graph().as_default():
        cf.import_graph_def(abc(v1).SerializeToString())
        cf.import_graph_def(abc(v1))
        with cf.Session() as sess:
            assert sess.run("import_1/c:0", {"import_1/a:0": 1.0}) == 3.0


def test_functions_come_along() -> None:
    @tensorflow.function(input_signature=[tensorflow.TensorSpec([], tensorflow.float32)])
    def twice_of(x: Any) -> Any:
        return x * 2.0

    with v1.Graph().as_default() as graph:
        x = v1.placeholder(v1.float32, [], name="x")
        v1.identity(twice_of(x), name="y")
        graph_def = graph.as_graph_def()
    with cf.Graph().as_default():
        for name in ("a", "b"):
            cf.import_graph_def(graph_def, name=name)
        with cf.Session() as sess:
            assert sess.run(["a/y:0", "b/y:0"], {"a/x:0": 3.0, "b/x:0": 4.0}) == [6.0, 8.0]


def test_another_function_of_the_same_name() -> None:
    made = []
    for factor in (2.0, 3.0):
        with v1.Graph().as_default() as graph:

            @tensorflow.function(input_signature=[tensorflow.TensorSpec([], tensorflow.float32)])
            def scaled(x: Any, factor: float = factor) -> Any:
                return x * factor if factor == 2.0 else x + x * factor

            v1.identity(scaled(v1.placeholder(v1.float32, [], name="x")), name="y")
            graph_def = graph.as_graph_def()
        for f in graph_def.library.function:
            f.signature.name = "same"
        made.append(graph_def)
    with cf.Graph().as_default():
        cf.import_graph_def(made[0].SerializeToString()) if made[0].library.function else None
        with pytest.raises(ValueError, match="a different function with the same name already exists"):
            cf.import_graph_def(made[1])


def test_a_loop_with_its_gradient_runs() -> None:
    with v1.Graph().as_default() as graph:
        x = v1.placeholder(v1.float32, [], name="x")
        _, y = v1.while_loop(lambda i, _: i < 4, lambda i, y: (i + 1, y * x), [v1.constant(0), v1.constant(1.0)])
        v1.identity(v1.gradients(y, x)[0], name="slope")
        graph_def = graph.as_graph_def()
    with cf.Graph().as_default():
        cf.import_graph_def(graph_def, name="")
        with cf.Session() as sess:
            np.testing.assert_allclose(sess.run("slope:0", {"x:0": 2.0}), 32.0)
