"""What every engine must do. A test class for an engine inherits `EngineConformance` and names the engine."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import coldframe as cf
from coldframe.runtime.session import Session
from graphs import case, same, tf1


def dense() -> Any:
    x = tf1.placeholder(tf.float32, [None, 6, 6, 2], name="x")
    w = tf.constant(np.random.default_rng(0).normal(size=(3, 3, 2, 4)).astype("f"))
    y = tf.nn.relu(tf.nn.conv2d(x, w, 2, "SAME") + 0.5)
    flat = tf.reshape(y, [tf.shape(y)[0], -1])
    return [tf.nn.softmax(flat @ tf.ones([36, 3])), tf.argmax(flat, 1), y]


def mixed() -> Any:
    """Dense work, then strings (numpy only), then dense work again."""
    x = tf1.placeholder(tf.float32, [None, 3], name="x")
    h = tf.tanh(x @ tf.eye(3))
    text = tf.strings.as_string(tf.reduce_sum(h), precision=3)
    n = tf.strings.to_number(text)
    return [h * n @ tf.ones([3, 2]), text]


def odd_shapes() -> Any:
    x = tf1.placeholder(tf.int64, None, name="x")
    rows = tf.where(tf.greater(x, 0))
    return [tf.gather_nd(x, rows), tf.size(rows), tf.reduce_sum(x), tf.transpose(rows)]


def half() -> Any:
    x = tf1.placeholder(tf.bfloat16, [None], name="x")
    return [tf.cast(x * x + tf.constant(1.5, tf.bfloat16), tf.float32), x * 2]


class EngineConformance:
    """The tests."""

    engine = ""

    @pytest.mark.parametrize("build", [dense, mixed], ids=lambda f: f.__name__)
    def test_gives_tensorflows_answers_for_any_batch(self, build: Any) -> None:
        rng = np.random.default_rng(1)
        shape = (6, 6, 2) if build is dense else (3,)
        c = case(build, *({"x:0": rng.normal(size=(n, *shape)).astype("f")} for n in (1, 3, 2)))
        session = Session(c.graph, self.engine)
        for feeds, want in zip(c.feeds, c.answers, strict=True):
            same(session.run(c.fetches, feeds), want)

    def test_ranks_may_change_between_runs(self) -> None:
        feeds = [np.array(v, np.int64) for v in ([1, -2, 3], [[0, 5], [6, -1]], [[[7]]], [[]])]
        c = case(odd_shapes, *({"x:0": f} for f in feeds))
        session = Session(c.graph, self.engine)
        for feed, want in zip(c.feeds, c.answers, strict=True):
            same(session.run(c.fetches, feed), want)

    def test_windows_may_be_larger_than_what_they_slide_over(self) -> None:
        def build() -> Any:
            x = tf1.placeholder(tf.float32, [None, None, None, 1], name="x")
            return [tf.nn.max_pool2d(x, 3, 2, "VALID"), tf.nn.avg_pool2d(x, 3, 2, "VALID")]

        c = case(build, *({"x:0": np.ones((1, n, n, 1), "f")} for n in (2, 3, 6, 1)))
        session = Session(c.graph, self.engine)
        for feed, want in zip(c.feeds, c.answers, strict=True):
            same(session.run(c.fetches, feed), want)

    def test_bfloat16_goes_in_and_out(self) -> None:
        x = np.array([1, 2.5, -3]).astype(tf.bfloat16.as_numpy_dtype)
        c = case(half, {"x:0": x})
        got = Session(c.graph, self.engine).run(c.fetches, c.feeds[0])
        assert got[1].dtype == x.dtype
        same([g.astype("f") for g in got], [np.asarray(w).astype("f") for w in c.answers[0]])

    def test_variables_are_written_once_per_run(self) -> None:
        def build() -> Any:
            v = tf1.get_variable("v", initializer=[1.0, 2.0])
            r = tf1.get_variable("r", initializer=10.0, use_resource=True)
            with tf.control_dependencies([tf1.assign_add(v, [1.0, 1.0])]):
                total = tf.reduce_sum(v.read_value()) * 2.0
            with tf.control_dependencies([r.assign_sub(1.0)]):
                left = r.read_value() + 0.0
            return [total, left]

        c = case(build, {}, {}, {})
        session = Session(c.graph, self.engine)
        session.set_variables({"v": np.array([1.0, 2.0], "f"), "r": np.float32(10)})
        for want in c.answers:
            same(session.run(c.fetches), want)

    def test_a_failed_run_writes_nothing(self) -> None:
        def build() -> Any:
            v = tf1.get_variable("v", initializer=[1.0, 2.0])
            x = tf1.placeholder(tf.int32, [None], name="x")
            with tf.control_dependencies([tf1.assign_add(v, [1.0, 1.0])]):
                bad = tf.gather(v.read_value(), x)
            return [bad, v.read_value()]

        c = case(build, {"x:0": [0]})
        session = Session(c.graph, self.engine)
        session.set_variables({"v": np.array([1.0, 2.0], "f")})
        with pytest.raises(cf.ExecutionError, match=r"out of range .*GatherV2"):
            session.run(c.fetches[0], {"x:0": [9]})
        same([session.run(c.fetches[1])], [np.array([1.0, 2.0], "f")])

    def test_errors_name_node_and_op(self) -> None:
        def build() -> Any:
            x = tf1.placeholder(tf.float32, [None, None], name="x")
            return [tf.matmul(x, tf.ones([3, 2]), name="project")]

        c = case(build, {"x:0": np.ones((2, 3), "f")})
        session = Session(c.graph, self.engine)
        same(session.run(c.fetches, c.feeds[0]), c.answers[0])
        with pytest.raises(cf.ExecutionError, match=r"node `project` \(MatMul\)"):
            session.run(c.fetches, {"x:0": np.ones((2, 4), "f")})

    def test_two_threads_run_one_session(self) -> None:
        feeds = [{"x:0": np.full((n, 6, 6, 2), n, "f")} for n in (1, 2, 3, 4)]
        c = case(dense, *feeds)
        session = Session(c.graph, self.engine)
        failures: list[BaseException] = []

        def work(k: int) -> None:
            try:
                for _ in range(5):
                    same(session.run(c.fetches, c.feeds[k]), c.answers[k])
            except BaseException as e:
                failures.append(e)

        threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        assert not failures

    def test_what_is_returned_belongs_to_the_caller(self) -> None:
        def build() -> Any:
            x = tf1.placeholder(tf.float32, [2], name="x")
            return [tf.identity(x), tf.constant([1.0, 2.0]) + 0.0, tf.reshape(x, [2, 1])]

        c = case(build, {"x:0": np.array([1, 2], "f")})
        session = Session(c.graph, self.engine)
        fed = np.array([1, 2], "f")
        for value in session.run(c.fetches, {"x:0": fed}):
            value[...] = 99
        np.testing.assert_array_equal(fed, [1, 2])
        same(session.run(c.fetches, {"x:0": fed}), c.answers[0])
