"""Sizes that are known by name: few nodes ask for them, and graphs give TensorFlow's answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import coldframe as cf
from coldframe.runtime.session import Session
from graphs import case, same
from onnx_models import everywhere

__all__ = ["everywhere"]
tf1 = tf.compat.v1
RNG = np.random.default_rng(0)
IMAGE = RNG.normal(size=(3, 8, 8, 3)).astype(np.float32)
ROWS = RNG.normal(size=(3, 4)).astype(np.float32)


def _conv(x: Any) -> Any:
    w = RNG.normal(size=(3, 3, int(x.shape[-1]), 4)).astype(np.float32)
    return tf.nn.relu(tf.nn.conv2d(x, w, 1, "SAME"))


def heads() -> Any:
    """What detectors make of each layer: rows of boxes and of classes, for as many examples as there are."""
    x = tf1.placeholder(tf.float32, [None, 8, 8, 3], name="x")
    h = _conv(x)
    made = []
    for layer in (h, _conv(h)):
        made.append(tf.reshape(layer, tf.stack([tf.shape(layer)[0], -1, 1, 4])))
        made.append(tf.reshape(_conv(layer), [tf.shape(layer)[0], -1, 2]))
    return made


def tiled() -> Any:
    """Anchors for each example, decoded in one list of rows."""
    x = tf1.placeholder(tf.float32, [None, 4], name="x")
    anchors = tf.constant(RNG.normal(size=(4,)).astype(np.float32))
    each = tf.tile(tf.expand_dims(anchors, 0), tf.stack([tf.shape(x)[0], 1]))
    y, z, h, w = tf.unstack(tf.transpose(tf.reshape(each, [-1, 4]) + x), axis=0)
    back = tf.transpose(tf.stack([y - h, z - w, y + h, z + w]))
    return [tf.reshape(back, [tf.shape(x)[0], 4]), tf.zeros_like(x), tf.fill(tf.shape(x)[:1], 2.0)]


def mapped() -> Any:
    """A loop over examples, with arrays of what it reads and of what it makes."""
    x = tf1.placeholder(tf.float32, [None, 4], name="x")
    doubled, summed = tf1.map_fn(lambda r: (r * 2.0, tf.reduce_sum(r)), x, (tf.float32, tf.float32))
    return [doubled + 1.0, summed]


def two_inputs() -> Any:
    """Arrays that are as long as another tensor says: what is read of the second is not known to be there."""
    x = tf1.placeholder(tf.float32, [None, 4], name="x")
    y = x[: tf.shape(x)[0] - 1]
    return [tf1.map_fn(lambda i: y[i // 2] + x[i], tf.range(tf.shape(x)[0] - 1), tf.float32)]


def picked() -> Any:
    x = tf1.placeholder(tf.float32, [None, 4], name="x")
    _, at = tf.nn.top_k(x, 2)
    return [
        tf.gather(tf.range(4.0), at), tf.gather(x, tf.range(tf.shape(x)[0])), tf.gather(tf.range(4.0), tf.argmax(x, 1)),
        tf.gather(x, tf.reshape(tf.where(x[:, 0] > 0.0), [-1])), tf.range(tf.shape(x)[0]) < 1,
    ]  # fmt: skip


CASES: list[tuple[Callable[[], Any], Any, str, dict[str, int]]] = [
    (heads, IMAGE, "Shape Gather Concat Cast Squeeze Unsqueeze", {"Reshape": 4}),
    (tiled, ROWS, "Gather", {"Shape": 2}),
    (mapped, ROWS, "Less LessOrEqual Not Pad Range ScatterND Where", {"Loop": 1, "Gather": 2}),
    (two_inputs, ROWS, "", {"Loop": 1}),
    (picked, ROWS, "LessOrEqual Not", {"Gather": 4, "Where": 1}),
]


@pytest.mark.parametrize(("build", "fed", "none", "most"), CASES, ids=lambda v: getattr(v, "__name__", ""))
def test_gives_tensorflows_answers(
    build: Callable[[], Any], fed: Any, none: str, most: dict[str, int], everywhere: list[Counter[str]]
) -> None:
    c = case(build, {"x:0": fed}, {"x:0": fed[:1] * 2}, {"x:0": fed[:2] * -1})
    session = Session(c.graph, "onnxruntime")
    for feeds, answers in zip(c.feeds, c.answers, strict=True):
        same(session.run(c.fetches, feeds), answers, tol=1e-4)
    assert len(everywhere) == 1
    (counts,) = everywhere
    assert not {op: n for op, n in counts.items() if op in none.split()}
    assert not {op: counts[op] for op, n in most.items() if counts[op] > n}


def test_nothing_at_all() -> None:
    """Loops over no examples, and reshapes of none where nothing is to be inferred."""
    c = case(mapped, {"x:0": ROWS}, {"x:0": ROWS[:0]})
    session = Session(c.graph, "onnxruntime")
    for feeds, answers in zip(c.feeds, c.answers, strict=True):
        same(session.run(c.fetches, feeds), answers)

    def reshaped() -> Any:
        x = tf1.placeholder(tf.float32, [None, 4], name="x")
        return [tf.reshape(x, [tf.shape(x)[0], 2, 2]) * 2.0]

    c = case(reshaped, {"x:0": ROWS}, {"x:0": ROWS[:0]})
    session = Session(c.graph, "onnxruntime")
    for feeds, answers in zip(c.feeds, c.answers, strict=True):
        same(session.run(c.fetches, feeds), answers)


def test_a_box_whose_size_comes_late(everywhere: list[Counter[str]]) -> None:
    """-1 reaches to the end; what is out of range is refused."""

    def build() -> Any:
        x = tf1.placeholder(tf.float32, [None, 4], name="x")
        n = tf1.placeholder(tf.int32, [], name="n")
        rows = tf.slice(x, [1, 0], tf.stack([n, -1]))
        return [rows, tf.slice(x, [0, 1], [n, 2]), tf.slice(x, [0, 1], tf.stack([tf.shape(x)[0], 2]))]

    c = case(build, {"x:0": ROWS, "n:0": 2}, {"x:0": ROWS, "n:0": -1}, {"x:0": ROWS, "n:0": 0})
    session = Session(c.graph, "onnxruntime")
    for feeds, answers in zip(c.feeds, c.answers, strict=True):
        same(session.run(c.fetches, feeds), answers)
    assert everywhere[0]["Slice"] <= 5
    for n in (3, -2):
        with pytest.raises(cf.ExecutionError):
            session.run(c.fetches, {"x:0": ROWS, "n:0": n})


def test_a_number_that_becomes_negative_is_no_index() -> None:
    """It is not negative before it is cut to 32 bits."""

    def build() -> Any:
        x = tf1.placeholder(tf.float32, [None, 4], name="x")
        n = tf1.placeholder(tf.int64, [None], name="n")
        return [tf.gather(x * 2.0, tf.cast(tf.maximum(n, 0), tf.int32))]

    c = case(build, {"x:0": ROWS, "n:0": np.array([1, -5])})
    session = Session(c.graph, "onnxruntime")
    same(session.run(c.fetches, c.feeds[0]), c.answers[0])
    with pytest.raises(cf.ExecutionError, match="index"):
        session.run(c.fetches, {"x:0": ROWS, "n:0": np.array([1, 2**32 - 1])})


@pytest.mark.parametrize("limit", ["n", "n - 1 + m", "maximum"])
def test_loops_that_count_to_a_limit(limit: str, everywhere: list[Counter[str]]) -> None:
    """The limit may be fed, negative, and shorter than what the loop is to fill."""

    def build() -> Any:
        x = tf1.placeholder(tf.float32, [None, 4], name="x")
        n = tf1.placeholder(tf.int32, [], name="n")
        end = {"n": n, "n - 1 + m": n - 1 + tf.shape(x)[1] // 4, "maximum": tf.maximum(n, 1)}[limit]
        out = tf.TensorArray(tf.float32, tf.shape(x)[0], element_shape=[4])
        last, total, out = tf1.while_loop(
            lambda i, s, a: i < end, lambda i, s, a: (i + 1, s + x[i], a.write(i, x[i] * 2.0)), (0, tf.zeros([4]), out)
        )
        return [last, total, out.stack()]

    c = case(build, *({"x:0": ROWS, "n:0": n} for n in (2, 3, 0, -4)))
    session = Session(c.graph, "onnxruntime")
    for feeds, answers in zip(c.feeds, c.answers, strict=True):
        same(session.run(c.fetches, feeds), answers)
    assert everywhere[0]["Loop"] == 1
    assert everywhere[0]["Pad"] == 1


def test_an_image_of_few_channels_is_resized_with_channels_first(everywhere: list[Counter[str]]) -> None:
    def build() -> Any:
        x = tf1.placeholder(tf.float32, [None, 8, 8, 3], name="x")
        each = tf1.map_fn(lambda i: tf1.image.resize_bilinear(i[None], [6, 11])[0], x)
        return [_conv(each * 0.5 - 1.0), tf1.image.resize_bilinear(x, [5, 4], align_corners=True)]

    c = case(build, {"x:0": IMAGE}, {"x:0": IMAGE[:1]})
    session = Session(c.graph, "onnxruntime")
    for feeds, answers in zip(c.feeds, c.answers, strict=True):
        same(session.run(c.fetches, feeds), answers, tol=1e-4)
    assert everywhere[0]["Transpose"] == 4  # of each image, of the images, and of each result
