"""Hold whole small graphs against TensorFlow, on every engine: for ops that only make sense together, or keep state."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from coldframe.errors import ExecutionError
from coldframe.runtime.session import Session

Build = Callable[[], Any]
ENGINES = ("reference", "auto")


def in_tensorflow(
    build: Build, *, runs: int = 1, feeds: Mapping[str, Any] | None = None, init: Sequence[str] = ()
) -> tuple[Any, list[str], list[list[Any]] | tf.errors.OpError]:
    """Return the GraphDef that `build` makes, its fetches, and TensorFlow's values run by run; or its error."""
    with tf.Graph().as_default() as graph:
        made = build()
        proto = None
        if isinstance(made, tuple) and isinstance(made[0], tf.compat.v1.GraphDef):
            proto, names = made
            tf.import_graph_def(proto, name="")
        else:
            outputs = [made] if isinstance(made, (tf.Tensor, tf.Operation)) else list(made)
            names = [o.name for o in outputs]
        config = tf.compat.v1.ConfigProto(intra_op_parallelism_threads=1, inter_op_parallelism_threads=1)
        config.graph_options.rewrite_options.disable_meta_optimizer = True
        config.graph_options.optimizer_options.opt_level = -1
        with tf.compat.v1.Session(graph=graph, config=config) as session:
            try:
                for name in init:
                    session.run(graph.get_operation_by_name(name))
                values = [session.run(names, dict(feeds or {})) for _ in range(runs)]
            except tf.errors.OpError as e:
                values = e
        return proto or graph.as_graph_def(), names, values


def check(
    build: Build, *, runs: int = 1, feeds: Mapping[str, Any] | None = None, init: Sequence[str] = (),
    refused: str = "", rtol: float = 0.0,
) -> None:  # fmt: skip
    """Assert that coldframe gives TensorFlow's values for the graph that `build` makes, on each engine.

    Args:
        build: adds nodes to the default graph and returns the tensors (or ops) to fetch.
        runs: how often to run in one session.
        feeds: values by tensor name.
        init: ops to run once, before.
        refused: part of coldframe's message where TensorFlow refuses to run the graph.
        rtol: the relative tolerance; 0 for bits.
    """
    graph, names, want = in_tensorflow(build, runs=runs, feeds=feeds, init=init)
    for engine in ENGINES:
        session = Session(graph, engine)
        if isinstance(want, tf.errors.OpError):
            assert refused, f"TensorFlow refuses this graph; say so: {_reason(want)}"
            with pytest.raises(ExecutionError, match=refused):
                _run(session, init, names, feeds)
            continue
        assert not refused, f"TensorFlow does not refuse this graph: {want}"
        for k, expected in enumerate(want):
            found = _run(session, init if k == 0 else (), names, feeds)
            for name, g, w in zip(names, found, expected, strict=True):
                same(g, w, rtol, f"{name} in run {k} on {engine}")


def _reason(error: tf.errors.OpError) -> str:
    lines = [line.strip() for line in error.message.split("\n")]
    return " ".join(line for line in lines if line and not line.startswith(("File", "Detected", "Graph exec")))


class OldGraph:
    """A GraphDef written by hand: for ops that today's TensorFlow runs only in graphs that say they are old."""

    def __init__(self, version: int) -> None:
        self.graph = tf.compat.v1.GraphDef()
        self.graph.versions.producer = version

    def node(self, name: str, op: str, *inputs: str, **attrs: Any) -> str:
        """Add a node; attributes are dtypes, arrays, bools or bytes."""
        n = self.graph.node.add(name=name, op=op, input=inputs)
        for k, v in attrs.items():
            if isinstance(v, tf.DType):
                n.attr[k].type = v.as_datatype_enum
            elif isinstance(v, bool):
                n.attr[k].b = v
            elif isinstance(v, bytes):
                n.attr[k].s = v
            else:
                n.attr[k].tensor.CopyFrom(tf.make_tensor_proto(v))
        return name

    def const(self, name: str, value: Any) -> str:
        """Add a constant."""
        return self.node(name, "Const", dtype=tf.as_dtype(np.asarray(value).dtype), value=value)


def _run(session: Session, init: Sequence[str], names: list[str], feeds: Mapping[str, Any] | None) -> Any:
    for name in init:
        session.run(name)
    return session.run(names, feeds)


def same(got: Any, want: Any, rtol: float, where: str) -> None:
    """Assert equal dtypes, shapes and values."""
    if want is None:
        assert got is None, where
        return
    g, w = np.asarray(got), np.asarray(want)
    assert g.shape == w.shape, f"{where}: shape {g.shape}, expected {w.shape}"
    if w.dtype.kind in "OSU":
        assert g.ravel().tolist() == w.ravel().tolist(), f"{where}: {g}, expected {w}"
        return
    assert g.dtype == w.dtype, f"{where}: {g.dtype}, expected {w.dtype}"
    if rtol:
        np.testing.assert_allclose(g, w, rtol=rtol, err_msg=where)
    else:
        np.testing.assert_array_equal(g, w, err_msg=where)


__all__ = ["OldGraph", "check", "in_tensorflow", "same"]
