"""Small graphs made by TensorFlow, with its answers, as coldframe's graphs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from coldframe.formats import messages
from coldframe.graph.convert import from_graph_def
from coldframe.graph.ir import Graph

tf1 = tf.compat.v1


@dataclasses.dataclass
class Case:
    """A graph, feeds for it, and what TensorFlow answered to each."""

    graph: Graph
    fetches: list[str]
    feeds: list[dict[str, Any]]
    answers: list[list[Any]]


def case(build: Callable[[], Any], *feeds: dict[str, Any], v2: bool = False) -> Case:
    """Build a graph, run it once for each of `feeds` in one session (variables initialized), and keep the answers.

    `build` returns the tensors to fetch. `v2` makes conds and loops of the second generation, and resource variables.
    """
    graph = tf.Graph()
    flow = tf1.enable_control_flow_v2 if v2 else tf1.disable_control_flow_v2
    with graph.as_default():
        flow()
        try:
            fetches = tf.nest.flatten(build())
            start = tf1.global_variables_initializer()
            with tf1.Session() as session:
                session.run(start)
                answers = [session.run(fetches, f) for f in feeds]
        finally:
            tf1.disable_control_flow_v2()
    proto = messages.parse("GraphDef", graph.as_graph_def(add_shapes=False).SerializeToString(), where="in a test")
    made = from_graph_def(proto)
    return Case(made, [f.name for f in fetches], list(feeds), answers)


def same(got: Any, want: Any, *, tol: float = 1e-5) -> None:
    """Assert that two flat lists of values agree in shape, dtype and numbers."""
    for g, w in zip(got, want, strict=True):
        g, w = np.asarray(g), np.asarray(w)
        assert g.shape == w.shape
        assert g.dtype == w.dtype or w.dtype.kind in "SO"
        if w.dtype.kind in "SO":
            assert g.tolist() == w.tolist()
        else:
            np.testing.assert_allclose(g, w, rtol=tol, atol=tol)
