"""bfloat16 on ONNX Runtime, which computes it in float32: rounded where TensorFlow rounds, and nowhere else."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from coldframe.runtime.session import Session
from graphs import case, same
from onnx_models import compiled

__all__ = ["compiled"]
tf1 = tf.compat.v1
RNG = np.random.default_rng(0)
IMAGE = RNG.normal(size=(2, 9, 8, 3)).astype(tf.bfloat16.as_numpy_dtype)
IMAGE[0, 0, 0] = [np.inf, -np.inf, -0.0]

# What is computed, and casts: a rounding is two; `Erfc` makes numbers of truths besides.
CASES: dict[str, tuple[Callable[[Any], Any], int]] = {
    "nothing rounds": (lambda x: tf.nn.relu6(tf.abs(-x)), 0),
    "windows": (lambda x: tf.nn.max_pool2d(tf.nn.relu(x), 2, 2, "SAME"), 0),
    "bounds": (lambda x: tf.maximum(tf.minimum(x, 1), -1), 0),
    "whole numbers": (lambda x: tf.floor(x) + tf.math.ceil(x), 2),
    "one rounding": (lambda x: tf.nn.relu6(x * 1.5), 2),
    "two roundings": (lambda x: tf.nn.relu(tf.nn.relu(x * 1.5) + 0.3), 4),
    "computed in float32": (lambda x: tf.cast(tf.cast(x, tf.float32) * 1.7, tf.bfloat16) + 1, 4),
    "tail": (tf.math.erfc, 3),
}


@pytest.mark.parametrize("name", CASES)
def test_roundings(name: str, compiled: list[Counter[str]]) -> None:
    build, casts = CASES[name]
    c = case(lambda: [build(tf1.placeholder(tf.bfloat16, [None, 9, 8, 3], name="x"))], {"x:0": IMAGE})
    session = Session(c.graph, engine="onnxruntime")
    same(session.run(c.fetches, c.feeds[0]), c.answers[0], tol=0)
    assert sum(compiled, Counter[str]())["Cast"] == casts
