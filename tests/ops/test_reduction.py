"""Reductions, positions of extremes and running totals against TensorFlow."""

from typing import Any

import numpy as np
import tensorflow as tf

from op_harness import COMPLEX, FLOATS, INTS, NUMPY, Row, bound, check, rows, sample

REDUCE = ("Sum", "Prod", "Max", "Min", "Mean", "EuclideanNorm")
NAN, INF = np.nan, np.inf
NANS = np.array([[NAN, 1, 2], [1, NAN, 2], [3, NAN, 2], [NAN, NAN, NAN], [2, 1, NAN]])
HOST_MEAN: dict[str, Any] = {"lowers": False, "why": "the mean of integers divides towards zero"}


def reduced(name: str, x: np.ndarray, axes: object, keep: bool = False, **fields: Any) -> Row:
    """A reduction row; the axes become int32."""
    if name == "Mean" and x.dtype.kind in "iu":
        fields |= HOST_MEAN
    if name == "Prod" and x.dtype.kind in "iu" and not x.size:
        fields |= {"lowers": False, "why": "ONNX Runtime multiplies integers as doubles; only short chains are safe"}
    if name == "EuclideanNorm" and x.dtype.kind in "iu":
        fields |= {"lowers": None}
    return Row(name, [x, np.array(axes, "i")], {"keep_dims": keep}, **fields)


@rows(
    *[reduced(n, sample(d, 2, 3, 4), [1]) for n in REDUCE for d in FLOATS + INTS],
    *[reduced(n, sample(d, 2, 3), [1]) for n in ("Sum", "Prod", "Mean", "EuclideanNorm") for d in COMPLEX],
    *[
        reduced(n, sample("float32", 2, 3, 4), a, k)
        for n in REDUCE
        for a, k in (([0, 2], True), ([-1], False), (1, True), ([], False), ([0, 1, 2], False))
    ],
    *[reduced(n, sample("float32"), []) for n in REDUCE],
    *[Row(n, [sample("float32", 2, 3), np.array([1], "int64")]) for n in REDUCE],
    *[reduced(n, sample("bool", 2, 3, 4), a, k) for n in ("All", "Any") for a, k in (([1], True), ([0, 2], False))],
    *[reduced(n, np.zeros((0, 2), "bool"), [0]) for n in ("All", "Any")],
)
def test_reductions(row: Row) -> None:
    check(row)


@rows(
    *[reduced(n, np.zeros((0, 2), sample(d).dtype), [0]) for n in REDUCE for d in (*FLOATS, "int32", "uint8", "int64")],
    *[reduced(n, np.zeros((0, 2), d), [0]) for n in ("Sum", "Prod", "Max", "Min") for d in ("int8", "int16", "uint16")],
    *[reduced(n, np.zeros((0, 2), "f"), [1]) for n in REDUCE],
    *[
        reduced(n, np.array([[1, NAN, 2], [NAN, 1, 3], [-INF, 2, INF]]).astype(sample(d).dtype), [1])
        for n in REDUCE
        for d in FLOATS
    ],
    *[
        reduced(n, np.array([np.iinfo(d).max, np.iinfo(d).max, np.iinfo(d).max - 1, 3], d), [0])
        for n in ("Sum", "Prod", "Max", "Min", "Mean")
        for d in INTS
    ],
    *[reduced("Mean", np.array([-7, 0], d), [0]) for d in ("int8", "int16", "int32", "int64")],
    *[reduced("Sum", np.full(3000, 0.1).astype(sample(d).dtype), [0]) for d in FLOATS],
    *[reduced("Mean", np.full(3000, 0.1).astype(sample(d).dtype), [0]) for d in FLOATS],
)
def test_reduction_ends(row: Row) -> None:
    check(row)


@rows(
    *[reduced("Sum", sample("float32", 2, 3), a, refused=True) for a in ([0, 0], [1, -1], [2], [-3])],
    reduced("Max", sample("float32"), [0], refused=True),
    Row("ArgMax", [np.zeros((0, 3), "f"), np.int32(0)], refused=True),
    Row("ArgMax", [np.zeros((2, 3), "f"), np.int32(2)], refused=True),
    Row("ArgMin", [np.float32(1), np.int32(0)], refused=True),
    Row("ArgMin", [np.zeros((2, 3), "f"), np.array([0], "i")], refused=True),
    Row("AddN", [[sample("float32", 2, 3), sample("float32", 1, 3)]], refused=True),
    Row("Cumsum", [sample("float32", 2, 3), np.int32(2)], refused=True),
    Row("Cumprod", [sample("float32"), np.int32(0)], refused=True),
)
def test_refusals(row: Row) -> None:
    check(row)


@rows(
    *[Row(n, [sample(d, 3, 5), np.int32(1)]) for n in ("ArgMax", "ArgMin") for d in (*FLOATS, *INTS, "bool")],
    *[
        Row("ArgMax", [sample("float32", 3, 5), np.array(-2, t)], {"output_type": o})
        for t in ("int32", "int64")
        for o in ("int16", "uint16", "int32", "int64")
    ],
    *[Row("ArgMin", [sample("float32", 3, 5), np.int64(0)], {"output_type": o}) for o in ("int32", "int64")],
    *[Row(n, [np.array([3, 1, 3, 1], "f"), np.int32(0)]) for n in ("ArgMax", "ArgMin")],
    *[Row(n, [np.zeros((0, 3), "f"), np.int32(1)]) for n in ("ArgMax", "ArgMin")],
    *[Row(n, [NANS.astype(sample(d).dtype), np.int32(1)]) for n in ("ArgMax", "ArgMin") for d in FLOATS],
)
def test_arg(row: Row) -> None:
    check(row)


SCAN_HOST: dict[str, Any] = {"lowers": False, "why": "ONNX has no cumulative product"}


@rows(
    *[Row("Cumsum", [sample(d, 3, 4), np.int32(1)]) for d in FLOATS + INTS + COMPLEX],
    *[Row("Cumprod", [sample(d, 3, 4), np.int32(1)], **SCAN_HOST) for d in FLOATS + INTS + COMPLEX],
    *[
        Row(n, [sample("float32", 2, 3, 4), np.int64(a)], {"exclusive": e, "reverse": r}, **why)
        for n, why in (("Cumsum", {}), ("Cumprod", SCAN_HOST), ("CumulativeLogsumexp", {}))
        for a in (0, -1)
        for e in (False, True)
        for r in (False, True)
    ],
    *[Row("Cumsum", [np.zeros((2, 0), "f"), np.int32(1)], {"exclusive": e}) for e in (False, True)],
    *[Row("CumulativeLogsumexp", [sample(d, 3, 4), np.int32(0)]) for d in FLOATS],
    Row("CumulativeLogsumexp", [np.array([-INF, -INF, 1, INF, 2], "f"), np.int32(0)]),
    *[Row("CumulativeLogsumexp", [np.zeros((2, 0), "f"), np.int32(1)], {"exclusive": e}) for e in (False, True)],
)
def test_scans(row: Row) -> None:
    check(row)


@rows(
    *[Row("AddN", [[sample(d, 2, 3, seed=i) for i in range(3)]]) for d in FLOATS + INTS + COMPLEX],
    Row("AddN", [[sample("float32")]]),
    *[Row("L2Loss", [sample(d, 3, 4)]) for d in FLOATS],
    Row("L2Loss", [np.zeros((0, 2), "f")]),
)
def test_sums(row: Row) -> None:
    check(row)


def test_accumulate_n_adds() -> None:  # TensorFlow rewrites it in graphs, and has no kernel for it
    x = sample("float32", 2, 3)
    with tf.Graph().as_default() as graph:
        y = tf.raw_ops.AccumulateNV2(inputs=[tf.constant(x), tf.constant(x)], shape=[2, 3])
    with tf.compat.v1.Session(graph=graph) as session:
        want = session.run(y)
    call, flat = bound(Row("AccumulateNV2", [[x, x]], {"shape": [2, 3]}))
    np.testing.assert_array_equal(call.run(NUMPY, flat)[0], want)
