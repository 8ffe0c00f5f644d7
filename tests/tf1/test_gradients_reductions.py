"""Gradients of reductions whose sizes are known only at run time: the nodes and numbers of TensorFlow."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import coldframe.tf1 as ours
from tf1_graphs import IGNORED, same_graph
from tf1_graphs import oracle as theirs

ROWS: dict[str, Callable[[Any, Any], Any]] = {
    "mean over one axis": lambda tf, x: tf.reduce_mean(x, axis=2),
    "mean over the last axis": lambda tf, x: tf.reduce_mean(x, axis=-1),
    "mean over a vector of one axis": lambda tf, x: tf.reduce_mean(x, axis=[1]),
    "mean over two axes": lambda tf, x: tf.reduce_mean(x, axis=[0, 2]),
    "mean over all": lambda tf, x: tf.reduce_mean(x),
    "mean, axis kept": lambda tf, x: tf.reduce_mean(x, axis=1, keepdims=True),
    "sum over one axis": lambda tf, x: tf.reduce_sum(x, axis=2),
    "sum over two axes": lambda tf, x: tf.reduce_sum(x, axis=[0, 2]),
    "max over one axis": lambda tf, x: tf.reduce_max(x, axis=0),
}


@pytest.mark.parametrize("row", ROWS)
def test_nodes_and_numbers_are_those_of_tensorflow(row: str) -> None:
    graphs, numbers = [], []
    for tf in (ours, theirs):
        with tf.Graph().as_default() as graph, tf.Session() as session:
            x = tf.placeholder(tf.float32, [None, 3, 4], name="x")
            y = ROWS[row](tf, x)
            (dx,) = tf.gradients(y * y, x)
            numbers.append(session.run(dx, {x: np.arange(24, dtype=np.float32).reshape(2, 3, 4) % 7}))
            graphs.append(graph.as_graph_def())
    same_graph(*graphs, ignored_attrs=IGNORED | {"_class"})  # which nodes to place together is a hint
    np.testing.assert_allclose(*numbers, rtol=1e-6)
