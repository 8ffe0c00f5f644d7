"""What ONNX Runtime's own passes make of a model: the model is such that they do it no harm."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
import tensorflow as tf

from coldframe.engines.onnxruntime import OnnxProgram
from coldframe.runtime.session import Session
from graphs import case, same, tf1

IMAGE = {"x:0": np.random.default_rng(0).normal(size=(1, 13, 13, 8)).astype(np.float32)}
_KERNEL = np.random.default_rng(1).normal(size=(1, 1, 8, 8)).astype(np.float32)


def _pooled_branch() -> Any:
    """Pixels beside their mean, as in DeepLab's pyramid: transposes are pushed through the Resize."""
    x = tf1.placeholder(tf.float32, [1, 13, 13, 8], name="x")
    pooled = tf.nn.relu(tf.nn.conv2d(tf.reduce_mean(x, [1, 2], keepdims=True), _KERNEL, 1, "SAME"))
    spread = tf1.image.resize_bilinear(pooled, [13, 13], align_corners=True)
    both = tf.concat([tf.nn.relu(tf.nn.conv2d(x, _KERNEL, 1, "SAME")), spread], 3)
    return [tf.nn.relu(tf.nn.conv2d(both[..., 4:12], _KERNEL, 1, "SAME"))]


def _compiled() -> None:
    c = case(_pooled_branch, IMAGE)
    session = Session(c.graph, "onnxruntime")
    same(session.run(c.fetches, IMAGE), c.answers[0])
    assert [step["engine"] for step in session.report()[0]] == ["onnxruntime"]


def test_transposes_pass_a_resize(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []
    whole = OnnxProgram._made

    def note(self: OnnxProgram, model: Any, arrays: Any, options: Any = None) -> Any:
        made.append(options)
        return whole(self, model, arrays, options)

    monkeypatch.setattr(OnnxProgram, "_made", note)
    _compiled()
    assert made == [None]


def test_a_model_that_they_break_runs_without_them(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = OnnxProgram._made

    def breaks(self: OnnxProgram, model: Any, arrays: Any, options: Any = None) -> Any:
        if options is None or options.graph_optimization_level != ort.GraphOptimizationLevel.ORT_DISABLE_ALL:
            raise RuntimeError("a pass broke the model")
        return whole(self, model, arrays, options)

    monkeypatch.setattr(OnnxProgram, "_made", breaks)
    _compiled()


def test_of_a_model_that_does_not_run_either_way_the_first_message_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    messages = iter(["the first", "the second"])

    def breaks(*_: Any) -> Any:
        raise RuntimeError(next(messages))

    monkeypatch.setattr(OnnxProgram, "_made", breaks)
    c = case(_pooled_branch, IMAGE)
    session = Session(c.graph, "onnxruntime")
    same(session.run(c.fetches, IMAGE), c.answers[0])
    assert "the first" in session.report()[0][0]["reason"]
