"""Running graphs that coldframe.tf1 built in TensorFlow too, with the same values of variables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

import coldframe.tf1 as tf
from tf1_graphs import oracle


def feeds_for(graph: Any) -> dict[str, Any]:
    """Return numbers for each placeholder of a graph; 2 where a size is open."""
    rng, made = np.random.default_rng(1), {}
    for op in graph.get_operations():
        if op.type == "Placeholder":
            out = op.outputs[0]
            dims = [2 if d is None else d for d in out.shape.as_list()]
            made[out.name] = rng.standard_normal(dims).astype(out.dtype.as_numpy_dtype) if out.dtype.is_floating \
                else np.ones(dims, out.dtype.as_numpy_dtype)  # fmt: skip
    return made


def both(fetches: Sequence[Any], feeds: dict[str, Any] | None = None, steps: int = 1) -> tuple[list[Any], list[Any]]:
    """Return what our session and TensorFlow's compute, of the default graph after its variables were initialised.

    Args:
        fetches: tensors and operations.
        feeds: by tensor name; `feeds_for` the graph for None.
        steps: how often to run; the last results count.
    """
    graph = tf.get_default_graph()
    variables = tf.global_variables()
    initialise = tf.global_variables_initializer()
    feeds = feeds_for(graph) if feeds is None else feeds
    names = [f.name for f in fetches]
    with tf.Session() as session:
        session.run(initialise)
        values = session.run(variables)
        for _ in range(steps):
            ours = session.run(names, feeds)
    proto = oracle.GraphDef.FromString(graph.as_graph_def().SerializeToString())
    with oracle.Graph().as_default() as imported, oracle.Session() as session:
        oracle.import_graph_def(proto, name="")
        for variable, value in zip(variables, values, strict=True):
            assign = imported.get_operation_by_name(variable.initializer.name)
            session.run(assign, {assign.inputs[1].name: value})
        for _ in range(steps):
            theirs = session.run(names, feeds)
    return ours, theirs


def same(fetches: Sequence[Any], feeds: dict[str, Any] | None = None, steps: int = 1) -> list[Any]:
    """Assert that both compute the same; return it."""
    ours, theirs = both(fetches, feeds, steps)
    for fetch, x, y in zip(fetches, ours, theirs, strict=True):
        assert (x is None) == (y is None)
        if y is not None:
            np.testing.assert_allclose(x, y, rtol=2e-5, atol=2e-6, err_msg=fetch.name)
    return ours


def names() -> list[str]:
    """Return the nodes of the default graph, except placeholders, variables' own, and bounds of slices."""
    skipped = ("/Assign", "/read", "/stack_1", "/stack_2", "/strided_slice/stack")
    return [op.name for op in tf.get_default_graph().get_operations()
            if op.type not in ("VariableV2", "Placeholder") and "/Initializer/" not in op.name
            and not op.name.endswith(skipped)]  # fmt: skip


def variables() -> dict[str, list[int]]:
    """Return the shapes of the default graph's variables by name."""
    return {v.op.name: v.shape.as_list() for v in tf.global_variables()}
