"""The ends of a graph: what must be fed, and guesses of what to fetch, on graphs that TensorFlow builds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import tensorflow as tf

from coldframe import dtypes
from coldframe.errors import FeedError
from coldframe.formats import messages
from coldframe.graph.convert import from_graph_def
from coldframe.graph.ir import Graph
from coldframe.runtime import ends
from coldframe.runtime.session import Session
from graph_builder import graph as built
from graph_builder import node

v1 = tf.compat.v1


def graph_of(build: Callable[[], Any]) -> Graph:
    with v1.Graph().as_default() as graph:
        build()
    return from_graph_def(messages.parse("GraphDef", graph.as_graph_def().SerializeToString(), where="in memory"))


def dense(x: Any, units: int, name: str) -> Any:
    return tf.matmul(x, v1.get_variable(f"{name}/kernel", [x.shape[-1], units]), name=name)


def classifier() -> None:
    x = v1.placeholder(tf.float32, [None, 4], name="x")
    labels = v1.placeholder(tf.int64, [None], name="labels")
    hidden = tf.nn.relu(dense(x, 8, "hidden"))
    logits = dense(hidden, 3, "logits")
    tf.nn.softmax(logits, name="probabilities")
    loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=logits), name="loss")
    v1.summary.scalar("loss_summary", loss)
    v1.train.AdamOptimizer().minimize(loss, global_step=v1.train.get_or_create_global_step())
    v1.summary.merge_all()
    v1.train.Saver()


def with_accuracy() -> None:
    """Nothing reads the accuracy either, and it needs the labels."""
    classifier()
    get = v1.get_default_graph().get_tensor_by_name
    right = tf.equal(tf.argmax(get("logits:0"), 1), get("labels:0"))
    tf.reduce_mean(tf.cast(right, tf.float32), name="accuracy")


def masked_policy() -> None:
    """The prediction needs a mask and the loss the action that was right; a loop has counted on the way."""
    x = v1.placeholder(tf.float32, [None, 4], name="x")
    keep = v1.placeholder_with_default(1.0, [], name="keep")
    mask = v1.placeholder(tf.float32, [None, 3], name="mask")
    right = v1.placeholder(tf.int64, [None], name="right")
    logits = dense(tf.nn.relu(dense(x * keep, 8, "hidden")), 3, "logits")
    tf.argmax(logits * mask, axis=1, name="prediction")
    loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=right, logits=logits))
    v1.train.AdamOptimizer().minimize(loss)
    tf.identity(loss, name="loss")


def regression() -> None:
    x = v1.placeholder(tf.float32, [], name="x")
    y = v1.placeholder(tf.float32, [], name="y")
    w = v1.get_variable("w", [])
    loss = tf.square(w * x - y, name="loss")
    v1.train.GradientDescentOptimizer(0.1).minimize(loss)


def two_heads() -> None:
    x = v1.placeholder(tf.float32, [None, 4], name="x")
    body = tf.nn.relu(x + 1.0)
    tf.identity(body * 2.0, name="boxes")
    tf.reduce_max(body, axis=1, name="scores")


def loop() -> None:
    n = v1.placeholder(tf.int32, [], name="n")
    with v1.control_dependencies([tf.debugging.assert_positive(n)]):
        count, total = v1.while_loop(lambda i, t: i < n, lambda i, t: (i + 1, t + i), [0, 0])
    tf.identity(total, name="total")
    tf.identity(count, name="count")


def recurrent() -> None:
    """Its initial state, which nothing reads any more, has the batch's size."""
    x = v1.placeholder(tf.float32, [None, 3], name="x")
    rows = tf.fill([tf.shape(x)[0], 3], 0.0, name="zero_state")
    tf.expand_dims(tf.expand_dims(tf.expand_dims(rows, 0), 0), 0, name="state_shape")
    tf.identity(tf.zeros_like(x) + 1.0, name="ones")
    tf.tanh(x, name="y")


def of_a_shape_alone() -> None:
    x = v1.placeholder(tf.float32, [None, 3], name="x")
    tf.add(tf.shape(x)[0], 1, name="rows")


def without_inputs() -> None:
    tf.add(tf.constant(1.0), tf.constant(2.0), name="three")


@pytest.mark.parametrize(
    ("build", "outputs"),
    [
        (classifier, ["probabilities:0"]),
        (regression, ["mul:0"]),
        (two_heads, ["boxes:0", "scores:0"]),
        (loop, ["total:0", "count:0"]),
        (masked_policy, ["prediction:0", "loss:0"]),
        (recurrent, ["y:0"]),
        (of_a_shape_alone, ["rows:0"]),
        (without_inputs, ["three:0"]),
    ],
    ids=lambda a: getattr(a, "__name__", ""),
)
@pytest.mark.parametrize("v2_control_flow", [False, True], ids=["v1", "v2"])
def test_guesses(build: Callable[[], Any], outputs: list[str], v2_control_flow: bool) -> None:
    (v1.enable_control_flow_v2 if v2_control_flow else v1.disable_control_flow_v2)()
    try:
        graph = graph_of(build)
    finally:
        v1.enable_control_flow_v2()
    found = ends.guess_outputs(graph)
    assert [str(e.ref) for e in found] == outputs
    assert all(e.reason for e in found)


def test_inputs_leave_out_the_saver_s() -> None:
    found = ends.inputs(graph_of(classifier))
    assert [(str(e.ref), e.reason) for e in found] == [("x:0", "must be fed"), ("labels:0", "must be fed")]


def test_the_reason_for_leaving_the_loss_out() -> None:
    (end,) = ends.guess_outputs(graph_of(with_accuracy))
    assert str(end.ref) == "probabilities:0"
    assert end.reason == "nothing reads it, and it needs fewer inputs than the loss"


def test_the_reason_for_stopping_before_the_loss() -> None:
    (end,) = ends.guess_outputs(graph_of(regression))
    assert end.reason == "the last to do without `y`, which is for training"


def test_specs_by_node() -> None:
    graph = graph_of(two_heads)
    (spec,) = ends.specs_by_node(graph, ends.inputs(graph)).values()
    assert str(spec) == "x:0 float32[?, 4]"


def test_the_ends_of_a_function_whose_body_is_the_graph() -> None:
    one = {"T": dtypes.float32}
    g = built(
        [
            node("b = _Arg()", index=1, **one),
            node("a = _Arg()", index=0, **one),
            node("sum = Add(a, b)", **one),
            node("product = Mul(a, b)", **one),
            node("second = _Retval(sum)", index=1, **one),
            node("first = _Retval(product)", index=0, **one),
        ]
    )
    assert [str(e.ref) for e in ends.inputs(g)] == ["b:0", "a:0"]
    assert [(str(e.ref), e.reason) for e in ends.guess_outputs(g)] == [
        ("product:0", "the function returns it"),
        ("sum:0", "the function returns it"),
    ]
    session = Session(g)
    assert session.run(["product:0", "sum:0", "first"], {"a:0": 2.0, "b:0": 3.0}) == [6, 5, None]
    with pytest.raises(FeedError, match=r"placeholder `a` must be fed: expected float32$"):
        session.run("first", {"b:0": 3.0})
