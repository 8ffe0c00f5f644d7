"""Which engine `auto` compiles a plan with, and that the choice does not depend on what ran before."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import coldframe.tf1 as tf
from coldframe.runtime import choice, steps
from coldframe.runtime import plan as plans

Built = tuple[Any, dict[Any, Any]]
SIZE = 300
RNG = np.random.default_rng(0)


def batch(rows: int) -> Any:
    return RNG.normal(size=(rows, SIZE)).astype("f")


def training(optimizer: Any = None, size: int = SIZE) -> Built:
    x = tf.placeholder(tf.float32, [None, size], name="x")
    w = tf.get_variable("w", [size, size])
    loss = tf.reduce_mean(tf.square(tf.tanh(tf.matmul(x, w)) - x))
    step = (optimizer or tf.train.AdamOptimizer(0.01)).minimize(loss)
    return [step, loss], {x: batch(4)[:, :size]}


def dense() -> Built:
    return training()


def small() -> Built:
    return training(size=8)


def convolutional() -> Built:
    fetches, feeds = training()
    image = tf.constant(RNG.normal(size=(1, 8, 8, 1)).astype("f"))
    kernel = tf.get_variable("kernel", [3, 3, 1, 2])
    convolved = tf.raw_ops.Conv2D(image, kernel, strides=[1, 1, 1, 1], padding="SAME")
    loss = tf.reduce_sum(convolved)
    return [*fetches, tf.train.AdamOptimizer(0.01).minimize(loss)], feeds


def depthwise() -> Built:
    fetches, feeds = training()
    image = tf.constant(RNG.normal(size=(1, 8, 8, 1)).astype("f"))
    loss = tf.reduce_sum(tf.nn.depthwise_conv2d(image, tf.get_variable("kernel", [3, 3, 1, 2]), [1, 1, 1, 1], "SAME"))
    return [*fetches, tf.train.AdamOptimizer(0.01).minimize(loss)], feeds


def rows() -> Built:
    ids = tf.placeholder(tf.int32, [None], name="ids")
    table = tf.get_variable("table", [2000, 100])
    loss = tf.reduce_sum(tf.matmul(tf.gather(table, ids), tf.ones([100, 1])))
    return [tf.train.AdagradOptimizer(0.1).minimize(loss), loss], {ids: np.array([1, 3, 1], "i")}


def table() -> Built:
    """Adam writes all rows of the slots, and adds to some of them."""
    ids = tf.placeholder(tf.int32, [None], name="ids")
    table = tf.get_variable("table", [5000, 64])
    loss = tf.reduce_sum(tf.square(tf.matmul(tf.gather(table, ids), tf.ones([64, 1]))))
    return [tf.train.AdamOptimizer(1e-5).minimize(loss), loss], {ids: np.array([1, 3, 1, 4999], "i")}


def recurrent() -> Built:
    x = tf.placeholder(tf.float32, [None, 32], name="x")
    w = tf.get_variable("w", [32, 32])
    _, h = tf.while_loop(lambda i, h: i < 3, lambda i, h: (i + 1, tf.tanh(tf.matmul(h, w))), [0, x])
    loss = tf.reduce_mean(tf.square(h))
    return [tf.train.GradientDescentOptimizer(0.1).minimize(loss), loss], {x: batch(2)[:, :32]}


def engines(session: Any) -> set[str]:
    """Return the engines of the newest plan's compiled steps."""
    return {s["engine"] for s in session.runtime.report()[-1]} - {"numpy"}


@pytest.mark.parametrize(
    ("build", "engine"),
    [
        (dense, "xla"),
        (recurrent, "xla"),
        (small, "onnxruntime"),
        (convolutional, "xla"),
        (depthwise, "xla"),
        (rows, "onnxruntime"),
        (table, "xla"),
    ],
)
def test_training_steps(build: Callable[[], Built], engine: str) -> None:
    with tf.Graph().as_default():
        fetches, feeds = build()
        with tf.Session() as session:
            session.run(tf.global_variables_initializer())
            assert "xla" not in engines(session)
            losses = [session.run(fetches, feeds)[1] for _ in range(3)]
            assert engines(session) == {engine}
            assert losses[2] < losses[0]


def test_without_jax(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with tf.Graph().as_default():
        fetches, feeds = dense()
        with tf.Session() as session:
            session.run(tf.global_variables_initializer())
            session.run(fetches, feeds)
            assert engines(session) == {"onnxruntime"}


def test_loops_are_compiled_when_a_shape_comes_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice.Trial, "note", lambda trial, shaped, seconds: None)
    with tf.Graph().as_default(), tf.Session() as session:
        x = tf.placeholder(tf.float32, [None], name="x")
        out = tf.while_loop(lambda i, v: i < 5, lambda i, v: (i + 1, v * 1.5), [0, x])[1]
        first, later = {"onnxruntime"}, {"xla"}
        for count, engine in ((2, first), (3, first), (2, first), (2, later), (2, later)):
            value = np.arange(count, dtype="f")
            np.testing.assert_allclose(session.run(out, {x: value}), value * 1.5**5)
            assert engines(session) == engine
        session.run(out, {x: np.ones(3, "f")})
        assert engines(session) == first


@pytest.mark.parametrize(
    ("general", "shaped", "turns"),
    [(10.0, 1.0, "gGsSSSSSSSS"), (1.0, 10.0, "gGsSGGGGGGG"), (1.0, 0.9, "gGsSSGSGSSS"), (0.9, 1.0, "gGsSSGSGGGG")],
)
def test_the_faster_of_two_plans_stays(general: float, shaped: float, turns: str) -> None:
    trial, played = choice.Trial(), ""
    for _ in turns:
        plan = "S" if trial.next() else "G"
        first = plan.lower() not in played  # a plan is made by running it, which is not timed
        played += plan.lower() if first else plan
        if not first:
            trial.note(plan == "S", shaped if plan == "S" else general)
    assert played == turns


def test_convolutions_beside_loops_stay_with_onnx_runtime() -> None:
    with tf.Graph().as_default(), tf.Session() as session:
        x = tf.placeholder(tf.float32, [1, 6, 6, 1], name="x")
        h = tf.raw_ops.Conv2D(x, tf.ones([3, 3, 1, 2]), strides=[1, 1, 1, 1], padding="SAME")
        out = tf.while_loop(lambda i, v: i < 5, lambda i, v: (i + 1, v * 1.5), [0, h])[1]
        for _ in range(5):
            session.run(out, {x: np.ones((1, 6, 6, 1), "f")})
        assert "xla" not in engines(session)


def test_what_xla_takes_no_loop_of_stays_with_onnx_runtime(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plans.Plan, "compiles_loops", False)
    with tf.Graph().as_default(), tf.Session() as session:
        x = tf.placeholder(tf.float32, [None], name="x")
        out = tf.while_loop(lambda i, v: i < 5, lambda i, v: (i + 1, v * 1.5), [0, x])[1]
        for _ in range(5):
            np.testing.assert_allclose(session.run(out, {x: np.ones(2, "f")}), 1.5**5)
        assert "xla" not in engines(session)


def test_inference_does_not_load_jax() -> None:
    program = """
import sys, numpy as np, coldframe.tf1 as tf
x = tf.placeholder(tf.float32, [None, 300])
y = tf.matmul(x, tf.get_variable("w", [300, 300]))
with tf.Session() as session:
    session.run(tf.global_variables_initializer())
    for _ in range(5):
        session.run(y, {x: np.ones((2, 300), "f")})
print("jax" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout == "False\n"


def test_too_many_shapes_go_on_with_onnx_runtime(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> Any:
        raise AssertionError("numpy ran the step")

    for module in (plans, steps):
        monkeypatch.setattr(module, "VARIANTS", 2)
    monkeypatch.setattr(steps, "interpret", refuse)
    with tf.Graph().as_default():
        [step, loss], feeds = dense()
        [x] = feeds
        with tf.Session() as session:
            session.run(tf.global_variables_initializer())
            losses = [session.run([step, loss], {x: batch(count)})[1] for count in (1, 2, 3, 4, 5, 1)]
            assert np.isfinite(losses).all()


def test_a_step_gives_the_same_bits_whatever_ran_before() -> None:
    with tf.Graph().as_default():
        fetches, feeds = dense()
        [x] = feeds
        batches = [batch(4), batch(4), batch(3), batch(4)]
        variables = tf.global_variables()
        with tf.Session() as first, tf.Session() as second:
            first.run(tf.global_variables_initializer())
            for data in batches[:2]:
                first.run(fetches, {x: data})
            kept = first.run(variables)
            for variable, value in zip(variables, kept, strict=True):
                variable.load(value, second)
            for data in batches[2:]:
                assert first.run(fetches, {x: data})[1].tobytes() == second.run(fetches, {x: data})[1].tobytes()
            for a, b in zip(first.run(variables), second.run(variables), strict=True):
                assert a.tobytes() == b.tobytes()


@pytest.mark.parametrize("within", [True, False])
def test_rows_of_what_xla_made_are_updated_and_given_back(within: bool) -> None:
    """Within the program or, where somebody wants the sums of equal rows, in place on numpy."""
    with tf.Graph().as_default() as graph:
        fetches, feeds = table()
        if not within:
            fetches = [*fetches, next(n.outputs[0] for n in graph.get_operations() if n.type == "UnsortedSegmentSum")]
        [ids] = feeds
        variables = tf.global_variables()
        batches = [RNG.integers(0, 5000, 6), np.array([7, 7, 7, 7, 8, 8]), np.arange(6), RNG.integers(0, 5000, 6)]
        with tf.Session() as session, tf.Session(engine="onnxruntime") as other:
            for each in (session, other):
                each.run(tf.global_variables_initializer())
            for variable, value in zip(variables, session.run(variables), strict=True):
                variable.load(value, other)
            compiled = 0
            for n, data in enumerate(batches):
                kept = session.run(variables)
                copies = [k.copy() for k in kept]
                for bad in (np.array([0, 1, 2, 3, 4, 5000]), np.array([-1, 1, 2, 3, 4, 4])):
                    with pytest.raises(tf.errors.InvalidArgumentError):
                        session.run(fetches, {ids: bad})
                for value, before in zip(session.run(variables), kept, strict=True):
                    np.testing.assert_array_equal(value, before)
                losses = [each.run(fetches, {ids: data})[1] for each in (session, other)]
                np.testing.assert_allclose(*losses, rtol=1e-5)
                for value, before in zip(kept, copies, strict=True):
                    np.testing.assert_array_equal(value, before)
                for value, expected in zip(session.run(variables), other.run(variables), strict=True):
                    np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-7)
                every = [s for p in session.runtime._program.plans() for s in p.steps]
                forms = sum(len(s.variants) for s in every if isinstance(s, steps.IslandStep) and s.engine == "xla")
                assert forms == (compiled if n else forms), "how many rows are distinct changes nothing"
                compiled = forms
            assert compiled == (1 if within else 2)
