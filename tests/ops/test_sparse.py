"""Sparse tensors against TensorFlow: shape, order, rows, reductions, arithmetic."""

from typing import Any

import numpy as np
import pytest

from coldframe.errors import ExecutionError
from op_harness import COMPLEX, FLOATS, INTS, NUMPY, Row, bound, check, each, rows, sample

NUMBERS = ("float32", "float64", "int32", "int64")


def sparse(d: str, *shape: int, seed: int = 0, share: float = 0.5) -> list[Any]:
    """Coordinates in order, values, and the shape."""
    at = np.argwhere(np.random.default_rng(seed).random(shape) < share)
    return [at.reshape(-1, len(shape)), sample(d, len(at), seed=seed), np.array(shape, np.int64)]


def i64(*v: Any) -> Any:
    return np.array(v, np.int64)


M = sparse("float32", 4, 5)
AT, VALUES, SHAPE = M
MIXED = [AT[::-1].copy(), VALUES[::-1].copy(), SHAPE]
EMPTY = [np.zeros((0, 2), np.int64), np.zeros(0, np.float32), SHAPE]
OUT = [i64([0, 0], [4, 0]), sample("float32", 2), SHAPE]  # the second is out of bounds
CUBE = sparse("float32", 2, 3, 4)


def text(parts: list[Any]) -> list[Any]:
    return [parts[0], np.array([b"v%d" % k for k in range(len(parts[0]))], object), parts[2]]


@rows(
    Row("SparseReshape", [AT, SHAPE, i64(2, 10)]),
    Row("SparseReshape", [AT, SHAPE, i64(2, -1, 5)]),
    Row("SparseReshape", [AT, SHAPE, i64(-1)]),
    Row("SparseReshape", [AT, SHAPE, SHAPE]),
    Row("SparseReshape", [MIXED[0], SHAPE, i64(20)]),
    Row("SparseReshape", [EMPTY[0], i64(0, 5), i64(0, 7)]),
    Row("SparseReshape", [EMPTY[0], i64(0, 5), i64(5, -1)]),
    Row("SparseReshape", [EMPTY[0], i64(0, 5), i64(0, -1)], refused=True),
    Row("SparseReshape", [AT, SHAPE, i64(3, -1)], refused=True),
    Row("SparseReshape", [AT, SHAPE, i64(-1, -1)], refused=True),
    Row("SparseReshape", [AT, SHAPE, i64(19)], refused=True),
    Row("SparseReshape", [AT, SHAPE, i64(-2, -10)], refused=True),
    Row("SparseReshape", [AT, i64(4), i64(20)], refused=True),
    Row("SparseReshape", [AT[0], SHAPE, i64(20)], refused=True),
    Row("SparseReorder", MIXED),
    Row("SparseReorder", text(MIXED)),
    Row("SparseReorder", EMPTY),
    Row("SparseReorder", [AT, VALUES[1:], SHAPE], refused=True),
)
def test_shape_and_order(row: Row) -> None:
    check(row)


def concat(parts: list[list[Any]], axis: int, refused: bool = False) -> Row:
    return Row("SparseConcat", [list(p) for p in zip(*parts, strict=True)], {"concat_dim": axis}, refused=refused)


def split(axis: Any, parts: list[Any], n: int, refused: bool = False) -> Row:
    return Row("SparseSplit", [np.array(axis, np.int64), *parts], {"num_split": n}, refused=refused)


ADDED = sparse("float32", 4, 2, seed=3)


@rows(
    concat([M, ADDED], 1),
    concat([M, ADDED, EMPTY], -1),
    concat([M, sparse("float32", 3, 5, seed=5)], 0),
    concat([MIXED, MIXED], 0),
    concat([text(M), text(ADDED)], 1),
    concat([EMPTY, EMPTY], 0),
    concat([M, ADDED], 0, refused=True),
    concat([M, CUBE], 0, refused=True),
    concat([M, M], 2, refused=True),
    split(0, M, 2),
    split(1, M, 2),
    split(1, M, 4),
    split(1, MIXED, 5),
    split(-1, text(M), 2),
    split([0], EMPTY, 2, refused=True),
    split(0, EMPTY, 2),
    split(0, M, 5, refused=True),
    split(2, M, 2, refused=True),
    Row("SparseSlice", [*M, i64(1, 1), i64(2, 3)]),
    Row("SparseSlice", [*M, i64(1, 1), i64(9, 9)]),
    Row("SparseSlice", [*M, i64(5, 0), i64(1, 1)]),
    Row("SparseSlice", [*text(M), i64(0, 0), i64(4, 0)]),
    Row("SparseSlice", [*M, i64(-1, 1), i64(3, 3)]),
    Row("SparseSlice", [*M, i64(1 << 62, -1), i64(1 << 62, 1 << 62)]),
    Row("SparseSlice", [*M, i64(0, 0), i64(-1, 3)], refused=True),
    Row("SparseSlice", [*M, i64(0), i64(2)], refused=True),
    Row("SparseSliceGrad", [sample("float32", 2), AT, i64(1, 1), AT[[3, 4]] - 1]),
)
def test_parts(row: Row) -> None:
    check(row)


def filled(parts: list[Any], default: Any, refused: bool = False) -> Row:
    return Row("SparseFillEmptyRows", [*parts, default], refused=refused)


GAPS = [i64([1, 2], [1, 3], [3, 0]), sample("float32", 3), i64(5, 5)]


@rows(
    filled(GAPS, np.float32(9)),
    filled([GAPS[0][::-1].copy(), *GAPS[1:]], np.float32(9)),
    filled(M, np.float32(9)),
    filled(MIXED, np.float32(9)),
    filled(EMPTY, np.float32(9)),
    filled([EMPTY[0], EMPTY[1], i64(0, 5)], np.float32(9)),
    filled(text(GAPS), np.array(b"none", object)),
    filled([i64([1, 2, 0]), sample("int64", 1), i64(2, 3, 4)], np.int64(9)),
    filled(OUT, np.float32(9), refused=True),
    filled([GAPS[0], GAPS[1], i64(0, 5)], np.float32(9), refused=True),
    filled(GAPS, sample("float32", 1), refused=True),
    Row("RaggedFillEmptyRows", [i64(0, 2, 2), sample("float32", 3), i64(4)[0], np.float32(9)]),
    Row("RaggedFillEmptyRows", [i64(0, 1), sample("int32", 2), i64(2)[0], np.int32(9)]),
    Row("RaggedFillEmptyRows", [i64(2, 0), sample("float64", 2), i64(3)[0], np.float64(9)]),
    Row("RaggedFillEmptyRows", [i64(), np.zeros(0, bool), i64(2)[0], np.array(True)]),
    Row("RaggedFillEmptyRows", [i64(1), np.array([b"v"], object), i64(2)[0], np.array(b"none", object)]),
    Row("RaggedFillEmptyRows", [i64(0, 5), sample("float32", 2), i64(2)[0], np.float32(9)], refused=True),
    Row("RaggedFillEmptyRows", [i64(-1), sample("float32", 1), i64(2)[0], np.float32(9)], refused=True),
    Row("RaggedFillEmptyRows", [i64(0), sample("float32", 1), i64(0)[0], np.float32(9)], refused=True),
    Row("RaggedFillEmptyRows", [i64(0), sample("float32", 1), i64(2), np.float32(9)], refused=True),
    Row("RaggedFillEmptyRowsGrad", [i64(2, 1), sample("float32", 4)]),
    Row("RaggedFillEmptyRowsGrad", [i64(4), sample("float32", 4)], refused=True),
    Row("SparseFillEmptyRowsGrad", [i64(2, 1), sample("float32", 4)]),
    Row("SparseFillEmptyRowsGrad", [i64(), sample("float32", 2)]),
    Row("SparseFillEmptyRowsGrad", [i64(4), sample("float32", 4)], refused=True),
)
def test_rows(row: Row) -> None:
    check(row)


def reduced(parts: list[Any], axes: list[int], **attrs: Any) -> list[Row]:
    ends = ("Sum", "Max", "SumSparse", "MaxSparse")
    return [Row(f"SparseReduce{e}", [*parts, np.array(axes, np.int32)], attrs) for e in ends]


@rows(
    *each(("float32", "float64", "int32", "int64", "uint8", "float16"), lambda d: reduced(sparse(d, 3, 4), [1])),
    *reduced(CUBE, [0]),
    *reduced(CUBE, [-1, 0], keep_dims=True),
    *reduced(CUBE, [1], keep_dims=True),
    *reduced(CUBE, [0, 1, 2]),
    *reduced(CUBE, [0, 1, 2], keep_dims=True),
    *reduced(M, [0], keep_dims=False),
    *reduced(EMPTY, [0]),
    *reduced([i64([0, 0]), -np.ones(1, np.float32), i64(3, 2)], [1]),
    *[
        Row(n, [*M, np.array([5], np.int32)], refused=True)
        for n in ("SparseReduceSum", "SparseReduceMax", "SparseReduceSumSparse")
    ],
    *[Row("SparseSoftmax", sparse(d, 3, 4)) for d in ("float16", "float32", "float64")],
    Row("SparseSoftmax", CUBE),
    Row("SparseSoftmax", EMPTY),
    Row("SparseSoftmax", [i64([0], [2]), sample("float32", 2), i64(3)], refused=True),
)
def test_reductions(row: Row) -> None:
    check(row)


def product(d: str, parts: list[Any], b: tuple[int, int], refused: bool = False, **attrs: Any) -> Row:
    return Row("SparseTensorDenseMatMul", [*parts, sample(d, *b, seed=7)], attrs, refused=refused)


@rows(
    *each(("float32", "float64", "int32", "bfloat16", *COMPLEX), lambda d: product(d, sparse(d, 4, 5), (5, 3))),
    *each(
        ("float32", "complex64"),
        lambda d: product(d, sparse(d, 4, 5), (3, 4), adjoint_a=True, adjoint_b=True),
    ),
    Row("SparseTensorDenseMatMul", [AT.astype(np.int32), VALUES, SHAPE, sample("float32", 5, 3)]),
    product("float32", MIXED, (5, 1)),
    product("float32", EMPTY, (5, 3)),
    product("float32", [np.repeat(AT, 2, 0), np.repeat(VALUES, 2), SHAPE], (5, 2)),
    product("float32", M, (4, 3), refused=True),
    product("float32", OUT, (5, 3), refused=True),
    product("float32", CUBE, (4, 3), refused=True),
    *each(NUMBERS, lambda d: Row("SparseTensorDenseAdd", [*sparse(d, 3, 4), sample(d, 3, 4, seed=2)])),
    Row("SparseTensorDenseAdd", [np.repeat(AT, 2, 0), np.repeat(VALUES, 2), SHAPE, sample("float32", 4, 5)]),
    Row("SparseTensorDenseAdd", [AT.astype("int32"), VALUES, SHAPE.astype("int32"), sample("float32", 4, 5)]),
    Row("SparseTensorDenseAdd", [*M, sample("float32", 4, 1)], refused=True),
    Row("SparseTensorDenseAdd", [*OUT, sample("float32", 4, 5)], refused=True),
)
def test_with_dense(row: Row) -> None:
    check(row)


CWISE = [f"SparseDenseCwise{n}" for n in ("Mul", "Add", "Div")]


def positive(d: str, *shape: int) -> Any:
    return sample(d, *shape, low=1, high=3) + np.ones((), sample(d).dtype)


@rows(
    *[Row(n, [*sparse(d, 3, 4), positive(d, 3, 4)]) for n in CWISE for d in (*FLOATS, "int32", "int64", "uint8")],
    *[Row(n, [*M, positive("float32", *s)]) for n in CWISE for s in ((5,), (4, 1), (1, 5), ())],
    Row(CWISE[0], [*CUBE, positive("float32", 3, 1)]),
    Row(CWISE[0], [*EMPTY, positive("float32", 4, 5)]),
    Row(CWISE[2], [*M, np.zeros((4, 5), np.float32)], refused=True),
    Row(CWISE[2], [*sparse("int32", 4, 5), np.zeros((4, 5), np.int32)], refused=True),
    Row(CWISE[0], [*M, positive("float32", 4)], refused=True),
    Row(CWISE[0], [*M, positive("float32", 1, 4, 5)], refused=True),
)
def test_cwise(row: Row) -> None:
    check(row)


def added(a: list[Any], b: list[Any], thresh: Any, refused: bool = False) -> Row:
    return Row("SparseAdd", [*a, *b, thresh], {"Treal": np.asarray(thresh).dtype.name}, refused=refused)


OTHER = sparse("float32", 4, 5, seed=11)


@rows(
    *each(NUMBERS, lambda d: added(sparse(d, 4, 5), sparse(d, 4, 5, seed=11), sample(d, low=0, high=0))),
    added(sparse("complex64", 4, 5), sparse("complex64", 4, 5, seed=11), np.float32(1)),
    added(M, OTHER, np.float32(1)),
    added(M, EMPTY, np.float32(0)),
    added(EMPTY, EMPTY, np.float32(0)),
    added(MIXED, OTHER, np.float32(0)),
    added(CUBE, sparse("float32", 2, 3, 4, seed=4), np.float32(0)),
    added(M, CUBE, np.float32(0), refused=True),
    added(M, [*OTHER[:2], i64(4, 6)], np.float32(0), refused=True),
    Row("SparseAddGrad", [sample("float32", 3), AT[:2], AT[2:3], AT[:3]]),
    Row("SparseAddGrad", [sample("float32", 2), AT[:2], AT[1:3], AT[[0, 2]]]),
    *[
        Row(n, [*sparse(d, 4, 5), *sparse(d, 4, 5, seed=11)])
        for n in ("SparseSparseMaximum", "SparseSparseMinimum")
        for d in (*FLOATS, *INTS)
    ],
    Row("SparseSparseMinimum", [*MIXED, *OTHER]),
    Row("SparseSparseMinimum", [*M, *EMPTY]),
    Row("SparseSparseMinimum", [*M, *OTHER[:2], i64(4, 6)], refused=True),
)
def test_pairs(row: Row) -> None:
    check(row)


def counted(parts: list[Any], size: int, weights: Any, refused: bool = False, **attrs: Any) -> Row:
    kind = parts[1].dtype.type
    return Row("SparseBincount", [*parts, kind(size), weights], attrs, refused=refused)


COUNTS = [AT, np.abs(sample("int64", len(AT), low=0, high=6)), SHAPE]
NO_WEIGHTS = np.zeros(0, np.int32)


@rows(
    counted(COUNTS, 4, NO_WEIGHTS),
    counted([AT, COUNTS[1].astype(np.int32), SHAPE], 8, np.zeros(0, np.float32), binary_output=True),
    counted(COUNTS, 8, sample("float64", len(AT))),
    counted([AT[:, :1], COUNTS[1], SHAPE[:1]], 5, np.zeros(0, np.int64)),
    counted(COUNTS, 0, NO_WEIGHTS),
    counted([EMPTY[0], i64(), SHAPE], 3, NO_WEIGHTS),
    counted(COUNTS, -1, NO_WEIGHTS, refused=True),
    counted([AT, COUNTS[1] - 2, SHAPE], 3, NO_WEIGHTS),
    counted([AT[:, :1], COUNTS[1] - 9, SHAPE[:1]], 5, NO_WEIGHTS, refused=True),
    counted([OUT[0], i64(1, 1), SHAPE], 3, NO_WEIGHTS, refused=True),
)
def test_bincount(row: Row) -> None:
    check(row)


def test_too_few_weights_are_refused() -> None:
    """TensorFlow 2.21 reads beyond their end."""
    call, flat = bound(counted(COUNTS, 4, sample("float32", 2)))
    with pytest.raises(ExecutionError, match="one weight per value: expected 8, found \\[2\\]"):
        call.run(NUMPY, flat)
