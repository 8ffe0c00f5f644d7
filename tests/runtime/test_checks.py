"""Assertions that others wait for: they cut no island, and still come before whatever acts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from coldframe.errors import ExecutionError
from coldframe.runtime.session import Session
from graphs import case, same, tf1

SMALL, LARGE = (np.full((2, 3), v, np.float32) for v in (1, 9))


def _waiting(told: bool = False, host: bool = False, plain: bool = False) -> list[Any]:
    """What waits for an assertion about what is computed beside it."""
    x = tf1.placeholder(tf.float32, [None, 3], name="x")
    y = x * 2.0
    sums = tf.reduce_sum(y, axis=1)
    if host:  # what no engine compiles
        text = tf.strings.reduce_join(tf.strings.as_string(tf.cast(sums, tf.int32)), separator=",")
        check = tf1.Assert(tf.strings.regex_full_match(text, "[0-9],[0-9]"), ["too much", sums])
    elif plain:
        check = tf.raw_ops.Assert(condition=tf.reduce_all(sums < 20.0), data=["too much"])
    else:
        check = tf1.assert_less(sums, 20.0, message="too much")
    with tf.control_dependencies([check]):
        y = tf.identity(y)
    for _ in range(6):
        y = tf.tanh(tf.matmul(y, tf.eye(3)))
    return [tf1.Print(y, [y], message="it came to this") if told else y]


@pytest.mark.parametrize("engine", ["onnxruntime", "reference", "auto"])
@pytest.mark.parametrize("host", [False, True])
def test_a_run_is_refused_all_the_same(engine: str, host: bool) -> None:
    c = case(lambda: _waiting(host=host), {"x:0": SMALL})
    session = Session(c.graph, engine)
    for _ in range(3):
        same(session.run(c.fetches, c.feeds[0]), c.answers[0])
    for again in (False, True):
        fresh = session if again else Session(c.graph, engine)
        with pytest.raises(ExecutionError, match="too much"):
            fresh.run(c.fetches, {"x:0": LARGE})


@pytest.mark.parametrize(("plain", "v2"), [(True, False), (False, False), (False, True)])
def test_it_cuts_no_island(plain: bool, v2: bool) -> None:
    c = case(lambda: _waiting(plain=plain), {"x:0": SMALL}, v2=v2)
    session = Session(c.graph, "onnxruntime")
    session.run(c.fetches, c.feeds[0])
    assert [s["engine"] for s in session.report()[0]] == ["onnxruntime"]


@pytest.mark.parametrize("host", [False, True])
def test_nothing_acts_before(host: bool, capfd: pytest.CaptureFixture[str]) -> None:
    c = case(lambda: _waiting(told=True, host=host), {"x:0": SMALL})
    session = Session(c.graph, "onnxruntime")
    capfd.readouterr()
    for _ in range(2):
        session.run(c.fetches, c.feeds[0])
    assert capfd.readouterr().err.count("it came to this") == 2
    for fresh in (session, Session(c.graph, "onnxruntime")):
        with pytest.raises(ExecutionError, match="too much"):
            fresh.run(c.fetches, {"x:0": LARGE})
    assert "it came to this" not in capfd.readouterr().err


def _inside(v2: bool) -> list[Any]:
    """Assertions in a loop that an engine compiles."""
    x = tf1.placeholder(tf.float32, [None, 3], name="x")

    def body(i: Any, y: Any) -> Any:
        with tf.control_dependencies([tf1.assert_less(tf.reduce_max(y), 20.0, message="too much")]):
            return i + 1, tf.identity(y) * 1.5

    return list(tf1.while_loop(lambda i, y: i < 3, body, (0, x)))


@pytest.mark.parametrize("v2", [False, True])
def test_assertions_in_loops(v2: bool) -> None:
    c = case(lambda: _inside(v2), {"x:0": SMALL}, v2=v2)
    session = Session(c.graph, "onnxruntime")
    same(session.run(c.fetches, c.feeds[0]), c.answers[0])
    assert [s["engine"] for s in session.report()[0]] == ["onnxruntime"]
    with pytest.raises(ExecutionError, match="too much"):
        session.run(c.fetches, {"x:0": LARGE})
    same(session.run(c.fetches, c.feeds[0]), c.answers[0])


@pytest.mark.parametrize(
    "op", [tf.debugging.check_numerics, lambda x, m: tf.raw_ops.CheckNumericsV2(tensor=x, message=m)]
)
def test_numbers_are_checked_beside_what_is_computed(op: Any) -> None:
    def build() -> list[Any]:
        y = tf1.placeholder(tf.float32, [None, 3], name="x")
        for _ in range(6):
            y = tf.tanh(tf.matmul(op(y, "no numbers"), tf.eye(3)))
        return [y]

    c = case(build, {"x:0": SMALL})
    session = Session(c.graph, "onnxruntime")
    same(session.run(c.fetches, c.feeds[0]), c.answers[0])
    assert [s["engine"] for s in session.report()[0]] == ["onnxruntime"]
    with pytest.raises(ExecutionError, match="no numbers"):
        session.run(c.fetches, {"x:0": SMALL * np.float32("nan")})
