"""Loops, branches and tensor lists in ONNX Runtime: one island, and TensorFlow's answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import coldframe as cf
from coldframe.runtime.session import Session
from flow_programs import (
    PROGRAMS,
    fetched_flows,
    gradient_of_loops_over_one_array,
    gradient_of_map_in_branch,
    gradient_of_map_in_map,
    merge_that_waits_for_a_branch,
    merges_that_wait_for_one_branch,
    references,
    references_beside_an_array,
    steps,
    strings,
)
from graphs import Case, case, same, tf1

NOT_COMPILED = (  # arrays that are fetched, variables, strings, loops that stay V1, stacks of arrays
    fetched_flows, references, references_beside_an_array, steps, strings,
    gradient_of_map_in_branch, gradient_of_map_in_map, gradient_of_loops_over_one_array,
    merge_that_waits_for_a_branch, merges_that_wait_for_one_branch,
)  # fmt: skip
ROWS = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)


def _in_one_island(c: Case) -> Session:
    session = Session(c.graph, "onnxruntime")
    for feeds, want in zip(c.feeds, c.answers, strict=True):
        same(session.run(c.fetches, feeds), want)
    for plan in session.report():
        assert {step["engine"] for step in plan} == {"onnxruntime"}, [s for s in plan if s["engine"] == "numpy"]
        assert not [step["reason"] for step in plan if step["reason"]]
    return session


@pytest.mark.parametrize(
    ("build", "feeds"), [p for p in PROGRAMS if p[0] not in NOT_COMPILED], ids=lambda v: getattr(v, "__name__", "")
)
def test_first_generation(build: Callable[[], Any], feeds: Any) -> None:
    _in_one_island(case(build, *feeds))


def _inputs() -> tuple[Any, Any]:
    return tf1.placeholder(tf.float32, [None, 3], name="x"), tf1.placeholder(tf.int32, [], name="n")


def _array(n: Any, **more: Any) -> tf.TensorArray:
    return tf.TensorArray(tf.float32, n, **more)


def in_order() -> Any:
    """Each iteration reads its row and writes its element."""
    x, n = _inputs()
    rows = _array(5).unstack(x)
    _, a = tf1.while_loop(lambda i, _: i < 5, lambda i, a: (i + 1, a.write(i, rows.read(i) * 2.0)), (0, _array(5)))
    return [a.stack(), a.size(), n + 0]


def stopped_early() -> Any:
    """What the loop did not come to is zeros."""
    x, n = _inputs()
    made = _array(5, element_shape=[3])
    _, a = tf1.while_loop(lambda i, _: i < n, lambda i, a: (i + 1, a.write(i, x[i])), (0, made))
    return [a.stack()]


def out_of_order() -> Any:
    x, n = _inputs()
    made = _array(5, element_shape=[3])
    _, a = tf1.while_loop(lambda i, _: i < n, lambda i, a: (i + 1, a.write(4 - i, x[i])), (0, made))
    return [a.stack()]


def read_back() -> Any:
    """Each element depends on the one that was written before."""
    x, n = _inputs()
    made = _array(5, element_shape=[3], clear_after_read=False).write(0, x[0])
    _, a = tf1.while_loop(
        lambda i, _: i <= n, lambda i, a: (i + 1, a.write(i, tf.sin(a.read(i - 1)) + x[i])), (1, made)
    )
    return [a.stack()]


def in_one_branch() -> Any:
    x, n = _inputs()
    made = _array(5, element_shape=[3])

    def body(i: Any, a: Any) -> Any:
        return i + 1, tf1.cond(x[i, 0] > 0, lambda: a.write(i, x[i]), lambda: a)

    _, a = tf1.while_loop(lambda i, _: i < n, body, (0, made))
    return [a.stack()]


def two_at_once() -> Any:
    """Two counters, two arrays, and a value that grows from iteration to iteration."""
    x, n = _inputs()

    def body(i: Any, j: Any, a: Any, b: Any, s: Any) -> Any:
        return i + 1, j + 2, a.write(i, s), b.write(i, tf.reduce_sum(x[i])), s + tf.cast(j, tf.float32)

    start = (0, 1, _array(n), _array(n), tf.constant(0.5))
    _, j, a, b, s = tf1.while_loop(lambda i, *_: i < n, body, start)
    return [j, s, a.stack(), b.stack()]


def lists_of_lists() -> Any:
    x, n = _inputs()

    def row(i: Any, a: Any) -> Any:
        inner = _array(3, element_shape=[])
        _, inner = tf1.while_loop(lambda j, _: j < 3, lambda j, b: (j + 1, b.write(j, x[i, j] * 2.0)), (0, inner))
        return i + 1, a.write(i, inner.stack())

    _, a = tf1.while_loop(lambda i, _: i < n, row, (0, _array(n, element_shape=[3])))
    return [a.stack()]


def resized_before_writing() -> Any:
    """The way that TensorFlow 2.0 let lists grow; cut off in the end."""
    x, n = _inputs()
    r = tf.raw_ops
    made = r.TensorListReserve(element_shape=[3], num_elements=0, element_dtype=tf.float32)

    def body(i: Any, a: Any) -> Any:
        more = lambda: r.TensorListResize(input_handle=a, size=i + 1)  # noqa: E731
        a = tf1.cond(i >= r.TensorListLength(input_handle=a), more, lambda: a)
        return i + 1, r.TensorListSetItem(input_handle=a, index=i, item=x[i] * 2.0)

    _, a = tf1.while_loop(lambda i, _: i < n, body, (0, made))
    cut = [r.TensorListResize(input_handle=a, size=k) for k in (n - 2, n + 1)]
    return [r.TensorListStack(input_handle=v, element_shape=[3], element_dtype=tf.float32) for v in (a, *cut)]


LISTS = [
    resized_before_writing,
    in_order,
    stopped_early,
    out_of_order,
    read_back,
    in_one_branch,
    two_at_once,
    lists_of_lists,
]


@pytest.mark.parametrize("v2", [False, True], ids=["v1", "v2"])
@pytest.mark.parametrize("build", LISTS)
def test_lists(build: Callable[[], Any], v2: bool) -> None:
    _in_one_island(case(build, {"x:0": ROWS, "n:0": 4}, {"x:0": ROWS * 2, "n:0": 3}, v2=v2))


@pytest.mark.parametrize("size", [-1, 1 << 40])
def test_a_list_is_not_resized_to_that(size: int) -> None:
    def build() -> Any:
        x = tf1.placeholder(tf.float32, [None, 3], name="x")
        k = tf1.placeholder(tf.int32, [], name="k") if size < 0 else tf1.placeholder(tf.int64, [], name="k")
        r = tf.raw_ops
        made = r.TensorListFromTensor(tensor=x, element_shape=[3])
        if size < 0:
            made = r.TensorListResize(input_handle=made, size=k)
        else:
            n = tf.cast(k // 1024, tf.int32)
            made = r.TensorListSetItem(input_handle=made, index=n, item=x[0], resize_if_index_out_of_bounds=True)
        return [r.TensorListStack(input_handle=made, element_shape=[3], element_dtype=tf.float32)]

    c = case(build, {"x:0": ROWS, "k:0": 3})
    session = _in_one_island(c)
    with pytest.raises(cf.ExecutionError, match=r"the length of a list|a list of that length"):
        session.run(c.fetches, {"x:0": ROWS, "k:0": size})


def test_a_list_leaves_an_island() -> None:
    """What the engine refuses reads a list that it made."""

    def build() -> Any:
        x, n = _inputs()
        made = tf.raw_ops.TensorListFromTensor(tensor=x * 2.0 + 1.0, element_shape=[3])
        empty = tf.raw_ops.TensorListReserve(element_shape=[3], num_elements=n + 0, element_dtype=tf.float32)
        lists = [tf.raw_ops.TensorListConcatLists(input_a=a, input_b=made, element_dtype=tf.float32)
                 for a in (made, empty)]  # fmt: skip
        shape = tf.constant([3])
        stack = tf.raw_ops.TensorListStack
        return [stack(input_handle=v, element_shape=shape, element_dtype=tf.float32) for v in lists]

    c = case(build, {"x:0": ROWS, "n:0": 2}, {"x:0": ROWS[:2], "n:0": 0})
    session = Session(c.graph, "onnxruntime")
    for feeds, want in zip(c.feeds, c.answers, strict=True):
        same(session.run(c.fetches, feeds), want)


@pytest.mark.parametrize("n", [9, -1])
def test_an_index_out_of_range_is_refused(n: int) -> None:
    def build() -> Any:
        x, n = _inputs()
        rows = _array(5, clear_after_read=False).unstack(x)
        return [tf1.while_loop(lambda i, _: i < 3, lambda i, s: (i + 1, s + rows.read(n)), (0, tf.zeros([3])))[1]]

    c = case(build, {"x:0": ROWS, "n:0": 1}, v2=True)
    session = _in_one_island(c)
    with pytest.raises(cf.ExecutionError, match="index"):
        session.run(c.fetches, {"x:0": ROWS, "n:0": n})


# --- assertions -----------------------------------------------------------------------------------------------------
def _checked(x: Any) -> Any:
    with tf.control_dependencies([tf1.Assert(x[0] > 0, ["below zero:", x])]):
        return x * 2.0


def in_the_graph() -> Any:
    x, n = _inputs()
    return [_checked(x[n])]


def in_a_branch() -> Any:
    x, n = _inputs()
    return [tf1.cond(n > 0, lambda: _checked(x[n]), lambda: x[0])]


def in_a_loop() -> Any:
    x, n = _inputs()
    return [tf1.while_loop(lambda i, _: i < n, lambda i, s: (i + 1, s + _checked(x[i])), (0, tf.zeros([3])))[1]]


def in_a_branch_of_a_loop() -> Any:
    x, n = _inputs()

    def body(i: Any, s: Any) -> Any:
        return i + 1, s + tf1.cond(i > 0, lambda: _checked(x[i]), lambda: x[0])

    return [tf1.while_loop(lambda i, _: i <= n, body, (0, tf.zeros([3])))[1]]


@pytest.mark.parametrize("v2", [False, True], ids=["v1", "v2"])
@pytest.mark.parametrize("build", [in_the_graph, in_a_branch, in_a_loop, in_a_branch_of_a_loop])
def test_assertions_do_not_leave_the_island(build: Callable[[], Any], v2: bool) -> None:
    """A broken one is told as numpy tells it, with its strings; the next run is fine."""
    c = case(build, {"x:0": abs(ROWS), "n:0": 4}, v2=v2)
    session = _in_one_island(c)
    with pytest.raises(cf.ExecutionError, match=r"assertion failed .*found below zero:; -"):
        session.run(c.fetches, {"x:0": -abs(ROWS), "n:0": 4})
    same(session.run(c.fetches, c.feeds[0]), c.answers[0])


# --- elements of sizes that come with the data ------------------------------------------------------------------------
def rows_of_one_length() -> Any:
    x, n = _inputs()
    made = _array(n, infer_shape=False)
    _, a = tf1.while_loop(lambda i, _: i < n, lambda i, a: (i + 1, a.write(i, x[i, : n - 2])), (0, made))
    return [a.stack()]


def unstacked() -> Any:
    x, n = _inputs()
    rows = _array(n).unstack(x[:n, :n])
    return [tf1.while_loop(lambda i, _: i < n, lambda i, s: (i + 1, s + rows.read(i)), (0, x[0, :n]))[1]]


@pytest.mark.parametrize("build", [rows_of_one_length, unstacked])
def test_elements_may_be_of_any_size(build: Callable[[], Any]) -> None:
    _in_one_island(case(build, {"x:0": ROWS, "n:0": 3}, {"x:0": ROWS, "n:0": 3 if build is unstacked else 4}))


def test_a_list_without_elements_has_no_size() -> None:
    c = case(rows_of_one_length, {"x:0": ROWS, "n:0": 3})
    session = _in_one_island(c)
    with pytest.raises(cf.ExecutionError, match="shape"):
        session.run(c.fetches, {"x:0": ROWS, "n:0": 0})


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64", "int8", "uint8", "int16", "uint16", "bool"])
def test_elements_of_any_size_are_written_in_any_order(dtype: str) -> None:
    """ONNX Runtime writes into tensors of few dtypes; others are written as wider ones."""

    def build() -> Any:
        x = tf1.placeholder(tf.float32, [None, 3], name="x")
        rows = tf.cast(x, dtype)
        backwards = tf.TensorArray(dtype, 5, element_shape=[3])
        _, filled = tf1.while_loop(lambda i, _: i < 5, lambda i, a: (i + 1, a.write(4 - i, rows[i])), (0, backwards))
        return [tf.cast(filled.stack(), tf.float32)]

    _in_one_island(case(build, {"x:0": np.abs(ROWS) * 50}, v2=True))
