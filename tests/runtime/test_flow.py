"""Control flow of both generations against TensorFlow, on every engine."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import coldframe as cf
from coldframe import dtypes
from coldframe.graph.ir import FunctionArg
from coldframe.runtime.session import ENGINES, Session
from graph_builder import FuncRef, const, function, graph, node, placeholder
from graphs import case, same, tf1


def conds() -> Any:
    x = tf1.placeholder(tf.float32, [None], name="x")
    p = tf1.placeholder(tf.bool, [], name="p")
    q = tf1.placeholder(tf.float32, [], name="q")
    y = tf1.cond(p, lambda: x + 1.0, lambda: tf1.cond(q > 0, lambda: x * 2.0, lambda: tf.constant([7.0])))
    z = tf1.cond(p, lambda: tf.constant(1.0), lambda: tf.constant(2.0))
    return [y * 3.0, z, tf1.cond(z > 1.5, lambda: y * z, lambda: y - z)]


def loops() -> Any:
    """A loop in a loop with a cond, and a loop that only one branch of a cond runs."""
    x = tf1.placeholder(tf.float32, [], name="x")
    n = tf1.placeholder(tf.int32, [], name="n")

    def body(i: Any, a: Any) -> Any:
        _, b = tf1.while_loop(lambda j, _: j < i, lambda j, b: (j + 1, b * 1.1 + tf.exp(-x)), (0, a))
        return i + 1, tf1.cond(b > 100.0, lambda: b / 2.0, lambda: b + 1.0)

    i, a = tf1.while_loop(lambda i, _: i < n, body, (0, x))
    c = tf1.cond(n > 3, lambda: tf1.while_loop(lambda k: k < 1000.0, lambda k: k * x + 1.0, [a]), lambda: a)
    return [i, a, c]


def uneven() -> Any:
    """The counter of this loop runs far ahead of its long body."""
    n = tf1.placeholder(tf.int32, [], name="n")

    def body(i: Any, a: Any) -> Any:
        for _ in range(30):
            a = tf.tanh(a) + 0.1
        return i + 1, a

    return list(tf1.while_loop(lambda i, _: i < n, body, (0, tf.constant([0.5, 2.0]))))


COND_FEEDS = [{"x:0": [1.0, 2.0], "p:0": p, "q:0": q} for p, q in ((True, 1.0), (False, 1.0), (False, -1.0))]
LOOP_FEEDS = [{"x:0": x, "n:0": n} for x, n in ((1.5, 0), (1.5, 3), (2.5, 9))]


@pytest.mark.parametrize("v2", [False, True], ids=["v1", "v2"])
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("build", "feeds"),
    [(conds, COND_FEEDS), (loops, LOOP_FEEDS), (uneven, [{"n:0": 0}, {"n:0": 25}])],
    ids=["conds", "loops", "uneven"],
)
def test_answers(build: Any, feeds: Any, engine: str, v2: bool) -> None:
    c = case(build, *feeds, v2=v2)
    session = Session(c.graph, engine)
    for feed, want in zip(c.feeds, c.answers, strict=True):
        same(session.run(c.fetches, feed), want)


def test_a_dead_tensor_cannot_be_fetched() -> None:
    c = case(conds, COND_FEEDS[0])
    branch = next(n.name for n in c.graph if n.op == "Switch")
    session = Session(c.graph)
    with pytest.raises(cf.ExecutionError, match="on a branch that was not taken"):
        session.run(f"{branch}:0", COND_FEEDS[0])


def test_case_of_functions() -> None:
    def build() -> Any:
        k = tf1.placeholder(tf.int32, [], name="k")
        return [tf.switch_case(k, [lambda: tf.constant(10), lambda: tf.constant(20), lambda: tf.constant(30)])]

    feeds = [{"k:0": k} for k in (0, 1, 2, 7, -1)]
    c = case(build, *feeds, v2=True)
    session = Session(c.graph)
    for feed, want in zip(c.feeds, c.answers, strict=True):
        same(session.run(c.fetches, feed), want)


def test_variables_change_inside_functions() -> None:
    def build() -> Any:
        v = tf1.get_variable("v", initializer=1.0, use_resource=True)

        @tf.function
        def double(times: Any) -> Any:
            for _ in tf.range(times):
                v.assign(v * 2.0)
            return v.read_value()

        return [double(tf1.placeholder(tf.int32, [], name="n"))]

    c = case(build, {"n:0": 3}, {"n:0": 0}, {"n:0": 2}, v2=True)
    session = Session(c.graph)
    session.set_variables({"v": np.float32(1)})
    for feed, want in zip(c.feeds, c.answers, strict=True):
        same(session.run(c.fetches, feed), want)


@pytest.mark.parametrize(("below", "message"), [(0, "calls itself too often"), (500, "Python's stack is full")])
def test_endless_recursion_is_refused(below: int, message: str) -> None:
    """Also where the caller stands on a stack of many frames itself."""

    def build() -> Any:
        @tf.function
        def leaf(x: Any) -> Any:
            return tf1.cond(x > 0, lambda: x - 1.0, lambda: x)

        return [leaf(tf1.placeholder(tf.float32, [], name="x"))]

    c = case(build, {"x:0": 1.0}, v2=True)
    for f in list(c.graph.functions):
        for inner in c.graph.function(f).body:
            for key, value in inner.attrs.items():
                if key in ("then_branch", "else_branch"):
                    inner.attrs[key] = type(value)(f, value.attrs)
    session = Session(c.graph)

    def on_top_of(frames: int) -> None:
        if frames:
            on_top_of(frames - 1)
        else:
            session.run(c.fetches, {"x:0": 1.0})

    with pytest.raises(cf.ColdframeError, match=message):
        on_top_of(below)


@pytest.mark.parametrize("engine", ENGINES)
def test_branches_and_loops_as_the_runtime_lowers_them(engine: str) -> None:
    f = dtypes.float32
    double = function("double", "v", [node("y = Add(v, v)", T=f)], "y:0")
    negate = function("negate", "v", [node("y = Neg(v)", T=f)], "y:0")
    small = function("small", "v", [const("ten", np.float32(10)), node("y = Less(v, ten)", T=f)], "y:0")
    small = dataclasses.replace(small, results=(FunctionArg("out0", dtypes.bool_),))
    branches = {"Tcond": dtypes.bool_, "then_branch": FuncRef("double", {}), "else_branch": FuncRef("negate", {})}
    loop = {"cond": FuncRef("small", {}), "body": FuncRef("double", {})}
    nodes = [
        placeholder("x"),
        placeholder("p", dtypes.bool_),
        node("i = _If(p, x)", Tin=(f,), Tout=(f,), **branches),
        node("w = _While(x)", T=(f,), **loop),
    ]
    session = Session(graph(nodes, double, negate, small), engine=engine)
    assert session.run(["i:0", "w:0"], {"x:0": 3.0, "p:0": True}) == [6, 12]
    assert session.run("i:0", {"x:0": 3.0, "p:0": False}) == -3
