"""Reshapes to the shape that a tensor has are left out; those that might be to another stay, and say when they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from coldframe.errors import ExecutionError
from coldframe.runtime.session import Session
from graphs import case, same
from onnx_models import compiled

__all__ = ["compiled"]
X = np.arange(20, dtype=np.float32).reshape(5, 4)
CASES: list[tuple[Callable[[Any], Any], int]] = [
    (lambda x: tf.reshape(x, [-1, 4]), 0),
    (lambda x: tf.reshape(x, [-1, 2]), 1),
    (lambda x: tf.reshape(x, [-1]), 1),
    (lambda x: tf.reshape(tf.reshape(x, [-1, 2, 2]), [-1, 2, 2]), 1),
    (lambda x: tf.reshape(x[:, :2], [-1, 2]), 0),
]


@pytest.mark.parametrize(("build", "most"), CASES)
def test_a_reshape_that_changes_nothing_is_no_node(
    build: Callable[[Any], Any], most: int, compiled: list[Counter[str]]
) -> None:
    c = case(
        lambda: [build(tf.compat.v1.placeholder(tf.float32, [None, 4], name="x")) * 2.0], {"x:0": X}, {"x:0": X[:3]}
    )
    session = Session(c.graph, "onnxruntime")
    for feeds, answers in zip(c.feeds, c.answers, strict=True):
        same(session.run(c.fetches, feeds), answers)
    assert compiled
    assert all(n["Reshape"] <= most for n in compiled)


def test_a_size_that_is_fed_is_held_against_the_tensor() -> None:
    def build() -> Any:
        x = tf.compat.v1.placeholder(tf.float32, [None, 4], name="x")
        return [tf.reshape(x, tf.stack([tf.compat.v1.placeholder(tf.int32, [], name="n"), 4])) + 1.0]

    c = case(build, {"x:0": X, "n:0": np.int32(5)})
    session = Session(c.graph, "onnxruntime")
    for feeds in c.feeds * 2:
        same(session.run(c.fetches, feeds), c.answers[0])
    same(session.run(c.fetches, {"x:0": X[:2], "n:0": np.array(2, np.int32)}), [X[:2] + 1])
    with pytest.raises(ExecutionError):
        session.run(c.fetches, {"x:0": X[:2], "n:0": np.array(3, np.int32)})
