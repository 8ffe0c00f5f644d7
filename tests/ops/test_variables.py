"""Variables of both generations, held against TensorFlow step by step in one session."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import coldframe as cf
from coldframe.graph.signatures import signature
from coldframe.ops import table
from coldframe.runtime.session import Session
from graphs import case, same, tf1

START = np.arange(12, dtype=np.float32).reshape(4, 3) + 1
ROWS = np.array([2, 0, 2], np.int32)
NEW = np.array([[1, 2, 3], [4, 5, 6], [7, 8, 9]], np.float32)
CELLS = np.array([[0, 1], [3, 2]], np.int32)


def ref() -> Any:
    return tf1.get_variable("v", initializer=START, use_resource=False)


def resource() -> Any:
    return tf1.get_variable("v", initializer=START, use_resource=True)


def by_ref(name: str, *args: Any, **attrs: Any) -> Callable[[], Any]:
    """A step that runs the op called `name` on a ref variable, then reads the variable."""

    def build() -> Any:
        v = ref()
        raw = getattr(tf.raw_ops, name)
        names = [a.name for a in signature(name).inputs]
        out = raw(**dict(zip(names, [v._variable, *map(tf.constant, args)], strict=True)), **attrs)
        with tf.control_dependencies([out]):
            return v.read_value()

    return build


def by_resource(name: str, *args: Any, **attrs: Any) -> Callable[[], Any]:
    """The same on a resource variable."""

    def build() -> Any:
        v = resource()
        raw = getattr(tf.raw_ops, name)
        names = [a.name for a in signature(name).inputs]
        out = raw(**dict(zip(names, [v.handle, *map(tf.constant, args)], strict=True)), **attrs)
        with tf.control_dependencies([out]):
            return v.read_value()

    return build


HOWS = ("Update", "Add", "Sub", "Mul", "Div", "Min", "Max")
STEPS = {
    "Assign": by_ref("Assign", START * 2),
    "AssignAdd": by_ref("AssignAdd", START),
    "AssignSub": by_ref("AssignSub", START),
    "AssignVariableOp": by_resource("AssignVariableOp", START * 2),
    "AssignAddVariableOp": by_resource("AssignAddVariableOp", START),
    "AssignSubVariableOp": by_resource("AssignSubVariableOp", START),
    **{f"Scatter{h}": by_ref(f"Scatter{h}", ROWS, NEW) for h in HOWS if h != "Update"},
    "ScatterUpdate": by_ref("ScatterUpdate", ROWS[:2], NEW[:2]),
    "ScatterAdd of a scalar": by_ref("ScatterAdd", ROWS, np.float32(10)),
    **{f"ResourceScatter{h}": by_resource(f"ResourceScatter{h}", ROWS, NEW) for h in HOWS if h != "Update"},
    "ResourceScatterUpdate": by_resource("ResourceScatterUpdate", ROWS[:2], NEW[:2]),
    **{f"ScatterNd{h}": by_ref(f"ScatterNd{h}", CELLS, NEW[0, :2]) for h in ("Update", "Add", "Sub", "Min", "Max")},
    **{
        f"ResourceScatterNd{h}": by_resource(f"ResourceScatterNd{h}", CELLS, NEW[0, :2])
        for h in ("Update", "Add", "Sub", "Min", "Max")
    },
    "StridedSliceAssign": by_ref("StridedSliceAssign", [0, 1], [4, 2], [2, 1], NEW[:2, :1]),
    "ResourceStridedSliceAssign": by_resource(
        "ResourceStridedSliceAssign", [1, 0], [2, 3], [1, 1], NEW[0], shrink_axis_mask=1
    ),
}


@pytest.mark.parametrize("name", STEPS)
def test_updates_are_seen_by_later_reads_and_by_the_next_run(name: str) -> None:
    c = case(STEPS[name], {}, {}, {})
    session = Session(c.graph)
    session.set_variables({"v": START})
    for want in c.answers:
        same(session.run(c.fetches), want)


def reads() -> Any:
    v, w = ref(), tf1.get_variable("w", initializer=START, use_resource=True)
    missing = tf1.get_variable("m", initializer=1.0, use_resource=True)
    old = tf1.get_variable("old", initializer=1.0, use_resource=False)
    rows = tf.constant([[0, 2], [1, 1]])
    return [
        tf.raw_ops.ResourceGather(resource=w.handle, indices=rows, dtype=tf.float32),
        tf.raw_ops.ResourceGather(resource=w.handle, indices=[[0], [2], [1], [1]], dtype=tf.float32, batch_dims=1),
        tf.raw_ops.ResourceGatherNd(resource=w.handle, indices=CELLS, dtype=tf.float32),
        tf.raw_ops.VariableShape(input=w.handle, out_type=tf.int64),
        tf.raw_ops.VarIsInitializedOp(resource=missing.handle),
        tf.raw_ops.IsVariableInitialized(ref=old._variable),
        tf.raw_ops.Gather(params=v, indices=rows),
        tf.identity(v) * 2.0,
    ]


def test_reads() -> None:
    c = case(reads, {})
    session = Session(c.graph)
    session.set_variables({"v": START, "w": START, "m": np.float32(1), "old": np.float32(1)})
    same(session.run(c.fetches), c.answers[0])


def test_initialized_or_not() -> None:
    c = case(reads, {})
    session = Session(c.graph)
    assert session.run("VarIsInitializedOp:0") == np.False_
    session.set_variables({"m": np.float32(3), "old": np.float32(1)})
    assert session.run(["VarIsInitializedOp:0", "IsVariableInitialized:0"]) == [True, True]


def test_counting_up_to_a_limit() -> None:
    def build() -> Any:
        return tf.raw_ops.CountUpTo(ref=tf1.get_variable("n", initializer=1, use_resource=False)._variable, limit=3)

    c = case(build, {}, {})
    session = Session(c.graph)
    session.set_variables({"n": np.int32(1)})
    for want in c.answers:
        same(session.run(c.fetches), want)
    with pytest.raises(cf.ExecutionError, match=r"variable `n` reached its limit at node `CountUpTo` .*found 3"):
        session.run(c.fetches)


def test_a_temporary_variable_lives_for_one_run() -> None:
    def build() -> Any:
        t = tf.raw_ops.TemporaryVariable(shape=[2], dtype=tf.float32, var_name="t")
        full = tf.raw_ops.Assign(ref=t, value=[1.0, 2.0])
        twice = tf.raw_ops.AssignAdd(ref=full, value=[1.0, 1.0])
        return tf.raw_ops.DestroyTemporaryVariable(ref=twice, var_name="t")

    c = case(build, {}, {})
    session = Session(c.graph)
    for want in c.answers:
        same(session.run(c.fetches), want)
    assert not session.state.variables


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: tf1.assign(ref(), tf.zeros([2, 3]), validate_shape=True), None),
        (by_ref("ScatterAdd", [9], NEW[:1]), r"index 9 at \[0(, 0)?\] is out of range .*ScatterAdd"),
        (by_resource("ResourceScatterNdAdd", [[9, 0]], [1.0]), "is out of range"),
    ],
)
def test_refusals(build: Any, message: str | None) -> None:
    if message is None:  # TensorFlow does not even build it: make the graph with a shape it accepts, then change that
        c = case(by_ref("Assign", START), {})
        value = next(n for n in c.graph if n.name == "Const")
        value.attrs["value"] = type(value.attrs["value"]).of(np.zeros((2, 3), np.float32))
        message = r"variable `v` cannot take the value .*: expected \[4, 3\], found \[2, 3\]"
    else:
        graph = tf.Graph()
        with graph.as_default():
            fetch = build()
        c = case(lambda: tf.constant(0), {})
        from coldframe.formats import messages
        from coldframe.graph.convert import from_graph_def

        proto = messages.parse("GraphDef", graph.as_graph_def().SerializeToString(), where="")
        c.graph, c.fetches = from_graph_def(proto), [fetch.name]
    session = Session(c.graph)
    session.set_variables({"v": START})
    with pytest.raises(cf.ExecutionError, match=message):
        session.run(c.fetches)
    np.testing.assert_array_equal(session.state.variables["v"], START)


def test_every_variable_op_is_exercised_here() -> None:
    text = Path(__file__).read_text()
    ours = {n for n, o in table().items() if o.body.__module__ == "coldframe.ops.variables"}
    expanded = {f"{p}{h}" for p in ("Scatter", "ResourceScatter", "ScatterNd", "ResourceScatterNd") for h in HOWS}
    by_api = {"Variable", "VariableV2", "VarHandleOp", "ReadVariableOp", "DestroyResourceOp", "DisableCopyOnRead",
              "ResourceCountUpTo"}  # fmt: skip
    assert {n for n in ours - by_api - expanded if n not in text} == set()
