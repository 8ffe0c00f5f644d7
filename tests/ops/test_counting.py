"""Counting into bins and searching against TensorFlow."""

from typing import Any

import numpy as np

from op_harness import FLOATS, INTS, NUMPY, Row, bound, check, rows, run_onnx, sample

WEIGHTED = ("int32", "int64", "float32", "float64")
NAN, INF = np.nan, np.inf
VALUES = np.array([1, 1, 5, 2], "int32")


def none(d: str = "float32") -> np.ndarray:
    """No weights."""
    return np.zeros(0, d)


@rows(
    *[Row("Bincount", [VALUES, np.int32(4), w]) for d in WEIGHTED for w in (none(d), np.array([2, 1, 2, 3], d))],
    Row("Bincount", [VALUES.reshape(2, 2), np.int32(9), none()]),
    Row("Bincount", [VALUES[:0], np.int32(2), none()]),
    Row("Bincount", [VALUES, np.int32(0), none()]),
    Row("Bincount", [-VALUES, np.int32(4), none()], refused=True),
    Row("Bincount", [VALUES, np.int32(-1), none()], refused=True),
    Row("Bincount", [VALUES, np.int32(4), np.ones(2, "f")], refused=True),
    Row("Bincount", [VALUES, np.array([4], "int32"), none()], refused=True),
)
def test_bincount(row: Row) -> None:
    check(row)


@rows(
    *[
        Row("DenseBincount", [x, x.dtype.type(4), w], {"binary_output": b})
        for b in (False, True)
        for d in WEIGHTED
        for x, w in (
            (VALUES, none(d)),
            (VALUES.astype("int64"), np.array([2, 1, 2, 3], d)),
            (VALUES.reshape(2, 2), none(d)),
            (VALUES.reshape(2, 2), np.array([[2, 1], [2, 3]], d)),
        )
    ],
    Row("DenseBincount", [np.int32(1), np.int32(3), none()]),
    Row("DenseBincount", [-VALUES, np.int32(4), none()], refused=True),
    Row("DenseBincount", [VALUES, np.int32(-4), none()], refused=True),
    Row("DenseBincount", [VALUES, np.int32(4), np.ones(1, "f")], refused=True),
    Row("DenseBincount", [VALUES.reshape(2, 2), np.int32(4), np.ones(4, "f")], refused=True),
    Row("DenseBincount", [VALUES.reshape(1, 2, 2), np.int32(4), none()], refused=True),
)
def test_dense_bincount(row: Row) -> None:
    check(row)


@rows(
    *[
        Row("HistogramFixedWidth", [np.arange(-3, 20).astype(d), np.array([0, 10], d), np.int32(n)], {"dtype": o})
        for d in WEIGHTED
        for n in (1, 5, 7)
        for o in ("int32", "int64")
    ],
    Row("HistogramFixedWidth", [np.array([[INF, -INF], [1, 4]], "f"), np.array([0, 10], "f"), np.int32(2)]),
    Row("HistogramFixedWidth", [np.array([NAN, 1], "f"), np.array([0, 5], "f"), np.int32(5)], refused=True),
    Row("HistogramFixedWidth", [np.ones(2, "f"), np.array([5, 5], "f"), np.int32(5)], refused=True),
    Row("HistogramFixedWidth", [np.ones(2, "f"), np.array([0, 5, 6], "f"), np.int32(5)], refused=True),
    Row("HistogramFixedWidth", [np.ones(2, "f"), np.array([0, 5], "f"), np.int32(0)], refused=True),
)
def test_histogram(row: Row) -> None:
    check(row)


EDGES = {"boundaries": [0.0, 10.0, 10.0, 100.0]}


@rows(
    *[Row("Bucketize", [np.array([[0, 10], [150, -3]], d)], EDGES) for d in WEIGHTED],
    Row("Bucketize", [np.array([NAN, INF, -INF, 9.999], "f")], EDGES),
    Row("Bucketize", [np.array([0.1, np.float32(0.1)])], {"boundaries": [0.1]}),
    Row("Bucketize", [np.float32(3)], EDGES),
    Row("Bucketize", [np.zeros((0, 2), "f")], EDGES),
    Row("Bucketize", [np.array([1, 2, 3], "int32")], {"boundaries": [1.5, 2.0]}),
    Row("Bucketize", [np.ones(2, "f")], {"boundaries": []}, lowers=False, why="nothing to compare with"),
    Row("Bucketize", [np.ones(2, "f")], {"boundaries": [float(i) for i in range(65)]}, lowers=False, why="too many"),
    Row("Bucketize", [np.ones(2, "f")], {"boundaries": [3.0, 1.0]}, refused=True),
)
def test_bucketize(row: Row) -> None:
    check(row)


@rows(
    *[
        Row(n, [np.sort(sample(d, 2, 5), axis=1), sample(d, 2, 3, seed=1)], {"out_type": o})
        for n in ("LowerBound", "UpperBound")
        for d, o in [(d, "int32") for d in FLOATS + INTS] + [("float32", "int64")]
    ],
    Row("LowerBound", [np.array([[1, 2, 2, 3]], "f"), np.array([[2, 0, 9]], "f")]),
    Row("UpperBound", [np.array([[1, 2, 2, 3]], "f"), np.array([[2, 0, 9]], "f")]),
    Row("LowerBound", [np.array([[1, 2]], "f"), np.array([[2], [1]], "f")], refused=True),
    Row("UpperBound", [np.array([1, 2], "f"), np.array([2], "f")], refused=True),
)
def test_bounds(row: Row) -> None:
    check(row)


def counts(op: str, *inputs: Any, binary: bool = False, **fields: Any) -> Row:
    lengths = {k: fields.pop(k) for k in ("minlength", "maxlength") if k in fields}
    return Row(op, list(inputs), {"binary_output": binary} | lengths, **fields)


AT = np.array([[0, 1], [0, 3], [2, 0], [2, 1]], "int64")
SIZE = np.array([3, 4], "int64")
SPLITS = np.array([0, 1, 1, 4], "int64")
MATRIX = VALUES.reshape(2, 2)


@rows(
    *[
        row
        for d in WEIGHTED
        for w in (none(d), np.array([2, 1, 2, 3], d))
        for binary in (False, True)
        for row in (
            counts("DenseCountSparseOutput", VALUES, w, binary=binary),
            counts("DenseCountSparseOutput", MATRIX.astype("int64"), w.reshape(-1, 2), binary=binary),
            counts("SparseCountSparseOutput", AT, VALUES, SIZE, w, binary=binary),
            counts("RaggedCountSparseOutput", SPLITS, VALUES.astype("int64"), w, binary=binary),
        )
    ],
    *[
        counts("DenseCountSparseOutput", MATRIX, none(), **lengths)
        for lengths in ({"minlength": 9}, {"maxlength": 3}, {"minlength": 9, "maxlength": 2}, {"maxlength": 0})
    ],
    counts("DenseCountSparseOutput", VALUES[:0], none()),
    counts("DenseCountSparseOutput", MATRIX[:, :0], none(), minlength=2),
    counts("DenseCountSparseOutput", MATRIX[:0], none(), refused=True),
    counts("DenseCountSparseOutput", np.int32(3), none(), refused=True),
    counts("DenseCountSparseOutput", MATRIX, np.ones(4, "f"), refused=True),
    counts("SparseCountSparseOutput", AT[:, 1:], VALUES, SIZE[1:], none()),
    counts("SparseCountSparseOutput", AT[:0], VALUES[:0], SIZE, none("int64")),
    counts("SparseCountSparseOutput", AT, VALUES, SIZE, np.ones(3, "f"), refused=True),
    counts("SparseCountSparseOutput", AT, VALUES, SIZE - 1, none(), refused=True),
    counts("SparseCountSparseOutput", AT, VALUES[:3], SIZE, none(), refused=True),
    counts("SparseCountSparseOutput", AT, VALUES, SIZE[:1], none(), refused=True),
    counts("RaggedCountSparseOutput", SPLITS, VALUES, none(), maxlength=3),
    counts("RaggedCountSparseOutput", SPLITS[:1], VALUES[:0], none(), refused=True),
    counts("RaggedCountSparseOutput", SPLITS + 1, VALUES, none(), refused=True),
    counts("RaggedCountSparseOutput", SPLITS, VALUES, np.ones(3, "f"), refused=True),
)
def test_sparse_counts(row: Row) -> None:
    check(row)


@rows(
    counts("DenseCountSparseOutput", -VALUES, none(), refused=True),
    counts("SparseCountSparseOutput", AT, -VALUES, SIZE, none(), refused=True),
    counts("RaggedCountSparseOutput", SPLITS, -VALUES, none(), refused=True),
)
def test_sparse_counts_of_negative_values(row: Row) -> None:
    check(row)


def test_buckets_of_boosted_trees() -> None:
    """TensorFlow 2 has no kernel for it; TensorFlow 1's takes the lower bound, and the last bucket for all above."""
    values, edges = np.array([-1, 0.5, 0.50001, 2, 9], "f"), np.array([0, 0.5, 2, 3], "f")
    call, flat = bound(Row("BoostedTreesBucketize", [[values, values[:2]], [edges, edges[:1]]]))
    want = [[0, 1, 2, 2, 3], [0, 0]]
    for made in (call.run(NUMPY, flat), run_onnx(call, flat, open_dims=True)):
        assert [m.tolist() for m in made] == want
        assert all(m.dtype == np.int32 for m in made)
