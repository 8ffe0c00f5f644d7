"""Runs in several calls: numbers and errors as TensorFlow's, nothing twice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import coldframe.tf1 as cf
from tf1_programs import Program, run_both, same_error


def _partly(build: Callable[[Any, Any], Any], *calls: tuple[int, dict[int, float]]) -> Program:
    """A program that fetches what `build` returns of two scalars, by number, fed as `calls` say."""

    def program(tf: Any) -> Any:
        fed = [tf.placeholder(tf.float32, [], name="a"), tf.placeholder(tf.float32, [], name="b")]
        results = build(tf, fed)
        with tf.Session() as sess:
            out = []
            for _ in range(2):
                sess.run(tf.global_variables_initializer())
                handle = sess.partial_run_setup(list(results), fed)
                for fetch, feeds in calls:
                    out.append(sess.partial_run(handle, results[fetch], {fed[i]: v for i, v in feeds.items()}))
            return out

    return program


def _sums(tf: Any, x: Any) -> Any:
    return x[0] + 1.0, (x[0] + 1.0) * x[1]


def _random(tf: Any, x: Any) -> Any:
    drawn = tf.random_uniform([3], seed=1) + 0.0
    return drawn, drawn * x[0], drawn - drawn * x[0] / 2.0


def _assigning(tf: Any, x: Any) -> Any:
    v, w = tf.Variable(1.0), tf.Variable(1.0, use_resource=True)
    first, second = tf.assign_add(v, 1.0), w.assign_add(1.0).read_value()
    with tf.control_dependencies([first, second]):
        total = v.read_value() + w.read_value() + x[0]
    return first + 0.0, second, total, first * x[1]


def _condition(tf: Any, x: Any) -> Any:
    y = tf.cond(x[0] > 0.0, lambda: tf.exp(x[0]), lambda: x[0] * 3.0)
    return y, y + x[1], tf.cond(x[1] > 0.0, lambda: y * 2.0, lambda: y)


PROGRAMS: dict[str, Program] = {
    "two": _partly(_sums, (0, {0: 1.0}), (1, {1: 3.0})),
    "all at once, then the rest": _partly(_sums, (1, {0: 1.0, 1: 3.0}), (0, {})),
    "random": _partly(_random, (0, {}), (1, {0: 2.0}), (2, {})),
    "random, kept": _partly(_random, (1, {0: 2.0}), (2, {}), (0, {})),
    "assigning": _partly(_assigning, (0, {}), (1, {}), (2, {0: 1.0}), (3, {1: 5.0})),
    "condition": _partly(_condition, (0, {0: 1.0}), (1, {1: 2.0})),
    "condition, the rest of it": _partly(_condition, (0, {0: -1.0}), (2, {1: 2.0}), (1, {})),
    "early": _partly(_sums, (1, {0: 1.0})),
    "fetched again": _partly(_sums, (0, {0: 1.0}), (0, {})),
    "fed again": _partly(_sums, (0, {0: 1.0}), (1, {0: 1.0, 1: 1.0})),
    "over": _partly(_sums, (0, {0: 1.0}), (1, {1: 1.0}), (1, {})),
}  # fmt: skip


def _unannounced(fetch: bool) -> Program:
    def program(tf: Any) -> Any:
        a, b = tf.placeholder(tf.float32, []), tf.placeholder(tf.float32, [])
        y, z = a + 1.0, a * 2.0
        with tf.Session() as sess:
            handle = sess.partial_run_setup([y], [a])
            return sess.partial_run(handle, z if fetch else y, {a if fetch else b: 1.0})

    return program


def _no_handle(tf: Any) -> Any:
    x = tf.constant(1.0)
    return tf.Session().partial_run("none", x)


def _no_name(tf: Any) -> Any:
    tf.constant(1.0)
    return tf.Session().partial_run_setup("nothing:0")


WRONG: dict[str, tuple[Program, str]] = {
    **{n: (PROGRAMS.pop(n), says) for n, says in {
        "early": "mul:0 can't be computed from the feeds that have been fed so far: ['b:0']",
        "fetched again": "fetched", "fed again": "been fed", "over": "Must run 'setup'"}.items()},
    "fetch that was not announced": (_unannounced(True), "not specified in partial_run_setup"),
    "feed that was not announced": (_unannounced(False), "not specified in partial_run_setup"),
    "no handle": (_no_handle, "Must run 'setup' before performing partial runs!"),
    "no such name": (_no_name, "nothing"),
}  # fmt: skip


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_run_in_parts_gives_what_it_does_in_tensorflow(name: str) -> None:
    run_both(PROGRAMS[name], graph=False)


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_told(name: str) -> None:
    same_error(*WRONG[name])


def test_operations_run_once_and_structures_are_kept() -> None:
    with cf.Graph().as_default(), cf.Session() as sess:
        calls: list[int] = []

        def counted(x: Any) -> Any:
            calls.append(1)
            return x

        a = cf.placeholder(cf.float32, [2], name="a")
        y = cf.py_func(counted, [a], cf.float32)
        v = cf.Variable(0.0)
        add = v.assign_add(1.0)
        with cf.control_dependencies([add.op]):
            after = y * 2.0
        sess.run(v.initializer)
        handle = sess.partial_run_setup({"y": y, "rest": [after, add.op]}, a)
        assert sess.partial_run(handle, {"y": y, "op": [add.op]}, {a: [1.0, 2.0]})["op"] == [None]
        np.testing.assert_array_equal(sess.partial_run(handle, [after])[0], [2.0, 4.0])
        assert (len(calls), sess.run(v)) == (1, 1.0)


def test_a_call_that_fails_changes_nothing_and_can_be_made_again() -> None:
    with cf.Graph().as_default(), cf.Session() as sess:
        a, b = cf.placeholder(cf.int32, []), cf.placeholder(cf.int32, [])
        v = cf.Variable(1)
        first = v.assign_add(a)
        y = first // b
        sess.run(v.initializer)
        handle = sess.partial_run_setup([first, y], [a, b])
        assert sess.partial_run(handle, first, {a: 5}) == 6
        with pytest.raises(cf.errors.InvalidArgumentError):
            sess.partial_run(handle, y, {b: 0})
        assert sess.partial_run(handle, y, {b: 3}) == 2
