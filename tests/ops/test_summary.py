"""Summaries, byte for byte TensorFlow's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from coldframe.runtime.session import Session
from graphs import case, same
from op_harness import FLOATS, INTS, Row, check, each, rows, sample

TAG = np.array(b"loss", object)
NOTHING = np.array(b"", object)
WIDE = np.array([1, -2, 0, 0.5, 1e-13, 1e25, -1e-12, 1e20, 1e-12, 3e-5, 3e-5], np.float32)


def histogram(values: Any, **more: Any) -> Row:
    return Row("HistogramSummary", [TAG, values], **more)


@rows(
    *each((*FLOATS, *INTS), lambda d: [
        Row("ScalarSummary", [TAG, sample(d)]),
        Row("ScalarSummary", [np.array([b"a", b"b"], object), sample(d, 2)]),
        histogram(sample(d, 4, 5)),
    ]),
    Row("ScalarSummary", [np.array([b"a", b"b"], object), sample("float32", 1)], refused=True),
    Row("ScalarSummary", [np.zeros([0], object), np.zeros([0], np.float32)]),
    histogram(WIDE), histogram(np.random.default_rng(0).normal(size=999)), histogram(np.zeros([0], np.float32)),
    histogram(np.float32(3)), histogram(np.full(7, -2.5)),
    histogram(np.array([1, np.nan], np.float32), refused=True), histogram(np.float32(np.inf), refused=True),
    Row("HistogramSummary", [np.array([b"a", b"b"], object), WIDE], refused=True),
)  # fmt: skip
def test_numbers(row: Row) -> None:
    check(row)


@rows(
    *each((*FLOATS, *INTS, "bool", "complex64"), lambda d: Row("TensorSummaryV2", [TAG, sample(d, 2, 3), NOTHING])),
    Row("TensorSummaryV2", [TAG, np.array([b"x", b"\xff"], object), np.array(b"\x12\x04name", object)]),
    Row("TensorSummaryV2", [np.array([b"a"], object), np.float32(1), NOTHING], refused=True),
)
def test_tensors(row: Row) -> None:
    check(row)


def summary(tag: bytes, value: float) -> Any:
    return np.array(tf.raw_ops.ScalarSummary(tags=tag, values=value).numpy(), object)


@rows(
    Row("MergeSummary", [[summary(b"a", 1.0), summary(b"b", 2.0)]]),
    Row("MergeSummary", [[summary(b"a", 1.0), NOTHING]]),
    Row("MergeSummary", [[np.array([summary(b"a", 1.0).item(), summary(b"b", 2.0).item()], object)]]),
    Row("MergeSummary", [[summary(b"", 1.0), summary(b"", 2.0)]]),
    Row("MergeSummary", [[summary(b"a", 1.0), summary(b"a", 2.0)]], refused=True),
    Row("MergeSummary", [[np.array(b"\xff\xff", object)]], refused=True),
)
def test_merging(row: Row) -> None:
    check(row)


@pytest.mark.parametrize("value", [np.float32(1), np.arange(4), np.array([b"a", b"bc"])])
def test_a_tensor_under_the_name_of_its_node(value: Any) -> None:
    c = case(lambda: tf.raw_ops.TensorSummary(tensor=value, description="d", display_name="x", name="weights"), {})
    same(Session(c.graph).run(c.fetches), c.answers[0])
