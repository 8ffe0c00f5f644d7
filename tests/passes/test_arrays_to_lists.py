"""Tensor arrays and stacks as lists; that the values are right is held in `test_raise_control_flow`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from coldframe.graph.ir import Graph
from coldframe.graph.names import TensorRef
from coldframe.ops import table
from coldframe.passes.arrays_to_lists import arrays_to_lists
from coldframe.passes.raise_control_flow import raise_control_flow
from coldframe.runtime.session import Session
from flow_programs import grown_array, scan
from graphs import Case, case, same, tf1

ROWS = {"x:0": np.random.default_rng(1).normal(size=(5, 3)).astype(np.float32)}


def _roles(c: Case, *more: str) -> set[str]:
    """The roles that are left when the pass has run, in functions that are used too."""
    names = [f.split(":")[0] for f in (*c.fetches, *more)]
    fed = {TensorRef(f.split(":")[0]) for f in c.feeds[0]}
    raised = raise_control_flow(c.graph, names, fed).graph
    done = arrays_to_lists(raised, names, fed)
    return _used(done, done)


def _used(graph: Graph, whole: Graph) -> set[str]:
    found = set()
    for n in graph:
        found.add(table()[n.op].role)
        for name in (getattr(v, "name", None) for v in n.attrs.values()):
            if isinstance(name, str) and name in whole.functions:
                found |= _used(whole.functions[name].body, whole)
    return found


def nested() -> Any:
    """An array in a function of its own, for each iteration of another loop."""
    x = tf1.placeholder(tf.float32, [None, 3], name="x")
    return [tf1.map_fn(lambda r: tf.reduce_sum(tf1.map_fn(lambda e: e * e, r)), x)]


def twice() -> Any:
    """One array, which two loops write and one branch reads."""
    x = tf1.placeholder(tf.float32, [None, 3], name="x")
    a = tf.TensorArray(tf.float32, 4, clear_after_read=False, element_shape=[])
    _, a = tf1.while_loop(lambda i, _: i < 2, lambda i, a: (i + 1, a.write(i, x[i, 0])), (0, a))
    _, a = tf1.while_loop(lambda i, _: i < 4, lambda i, a: (i + 1, a.write(i, a.read(i - 2) * 2.0)), (2, a))
    return [tf1.cond(x[0, 0] > 0, lambda: a.read(1), lambda: a.read(3)), a.size(), a.gather([3, 0])]


@pytest.mark.parametrize("build", [scan, nested, twice])
def test_arrays_become_lists(build: Any) -> None:
    c = case(build, ROWS)
    left = _roles(c)
    assert not {r for r in left if r.startswith(("array", "stack"))}
    assert "list_set" in left
    for engine in ("onnxruntime", "xla"):
        same(Session(c.graph, engine).run(c.fetches, ROWS), c.answers[0])


def test_the_gradient_of_a_loop_is_one_island() -> None:
    c = case(scan, ROWS)
    session = Session(c.graph, "xla")
    same(session.run(c.fetches, ROWS), c.answers[0])
    assert [step["engine"] for step in session.report()[0]] == ["xla"]


def test_an_array_that_grows_becomes_a_list_that_grows() -> None:
    c = case(grown_array, {"n:0": 3})
    assert not {r for r in _roles(c) if r.startswith("array")}
    session = Session(c.graph, "onnxruntime")
    same(session.run(c.fetches, {"n:0": 3}), c.answers[0])
    assert [step["engine"] for step in session.report()[0]] == ["onnxruntime"]


def _grown_and_filled() -> Any:
    rows = tf1.placeholder(tf.float32, [None, 3], name="x")
    return [tf1.TensorArray(tf.float32, size=1, dynamic_size=True).unstack(rows).stack()]


def test_an_array_that_grows_stays_where_rows_are_scattered_to_it() -> None:
    assert "array_scatter" in _roles(case(_grown_and_filled, ROWS))


def test_an_array_stays_whose_handle_is_fetched() -> None:
    c = case(twice, ROWS)
    handle = next(n.name for n in c.graph if n.op == "TensorArrayV3")
    assert "array_write" in _roles(c, handle)
