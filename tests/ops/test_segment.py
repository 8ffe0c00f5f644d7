"""Reductions over segments against TensorFlow."""

import numpy as np
import pytest

from op_harness import COMPLEX, FLOATS, INTS, NUMPY, Row, bound, check, rows, sample

NAN = np.nan
SUMS = ("Sum", "Mean", "Prod")
ENDS = ("Max", "Min")
MATRIX = np.arange(8, dtype="f").reshape(4, 2) + 1


def ids(*values: int, dtype: str = "int32") -> np.ndarray:
    """Segment ids."""
    return np.array(values, dtype)


@rows(
    *[Row(f"Segment{n}", [sample(d, 4, 2), ids(0, 0, 2, 2)]) for n in SUMS for d in FLOATS + INTS + COMPLEX],
    *[Row(f"Segment{n}", [sample(d, 4, 2), ids(0, 0, 2, 2)]) for n in ENDS for d in FLOATS + INTS],
    *[Row(f"Segment{n}", [MATRIX, ids(1, 1, 3, 3, dtype="int64")]) for n in SUMS + ENDS],
    *[Row(f"Segment{n}", [MATRIX[:0], ids()]) for n in SUMS + ENDS],
    *[Row(f"Segment{n}", [MATRIX[:, 0], ids(0, 1, 1, 1)]) for n in SUMS + ENDS],
    *[Row(f"Segment{n}", [np.array([1, NAN, NAN, 2], "f"), ids(0, 0, 1, 1)]) for n in SUMS + ENDS],
    Row("SegmentMean", [np.array([-7, 0, 250, 3], "int32"), ids(0, 0, 2, 2)]),
    *[
        Row(f"Segment{n}", [MATRIX, i], refused=True)
        for n in ("Sum", "Max")
        for i in (ids(1, 0, 2, 2), ids(-1, 0, 2, 2), ids(0, 0, 2), np.zeros((4, 2), "int32"))
    ],
    Row("SegmentSum", [np.float32(1), ids(0)], refused=True),
)
def test_sorted(row: Row) -> None:
    check(row)


def test_v2_has_as_many_rows_as_asked() -> None:  # TensorFlow has no CPU kernel for it
    call, flat = bound(Row("SegmentMaxV2", [MATRIX, ids(0, 0, 2, 2), np.int32(4)]))
    assert call.run(NUMPY, flat)[0].tolist() == [[3, 4], [0, 0], [7, 8], [0, 0]]


@rows(
    *[
        Row(f"UnsortedSegment{n}", [sample(d, 4, 2), ids(2, 0, 2, -1), np.int32(4)])
        for n, kinds in (("Sum", FLOATS + INTS + COMPLEX), ("Prod", FLOATS + INTS + COMPLEX))
        for d in kinds
    ],
    *[
        Row(f"UnsortedSegment{n}", [sample(d, 4, 2), ids(2, 0, 2, -1), np.int32(4)])
        for n in ENDS
        for d in FLOATS + INTS
    ],
    *[
        row
        for n in ("Sum", "Prod", "Max", "Min")
        for row in (
            Row(f"UnsortedSegment{n}", [MATRIX, np.array([[2, 0], [2, -1], [0, 0], [0, 0]], "int64"), np.int64(3)]),
            Row(f"UnsortedSegment{n}", [np.float32(2), np.int32(0), np.int32(2)]),
            Row(f"UnsortedSegment{n}", [np.array([1, NAN, NAN, 2], "f"), ids(0, 0, 1, 1), np.int32(2)]),
            Row(f"UnsortedSegment{n}", [MATRIX[:0], ids(), np.int32(2)]),
            Row(f"UnsortedSegment{n}", [MATRIX, ids(5, 0, 2, -1), np.int32(4)], refused=True),
            Row(f"UnsortedSegment{n}", [MATRIX, ids(0, 0, 0, 0), np.int32(-1)], refused=True),
            Row(f"UnsortedSegment{n}", [MATRIX, ids(0, 0, 0), np.int32(1)], refused=True),
            Row(f"UnsortedSegment{n}", [MATRIX, ids(0, 0, 0, 0), ids(1)], refused=True),
        )
    ],
)
def test_unsorted(row: Row) -> None:
    check(row)


OWNERS = np.random.default_rng(0).integers(-1, 6, 40).astype("int32")
ENDLESS = np.full((5, 9), -np.inf, "f")


@rows(
    *[
        Row(f"UnsortedSegment{n}", [sample(d, 40, 10), OWNERS, np.int32(8)], tol=1e-4)
        for n in ("Sum", "Prod", "Max", "Min")
        for d in ("float32", "float64", "int32", "int64")
    ],
    *[
        Row(f"UnsortedSegment{n}", [sign * rows, ids(0, 1, 1, 0, 3), np.int32(5)])
        for n in ENDS
        for rows in (ENDLESS, ENDLESS[:, 0])
        for sign in (np.float32(1), np.float32(-1))
    ],
)
def test_long_rows(row: Row) -> None:
    """Rows that are gathered to blocks; and infinite ones, which are no larger than what a row without any is."""
    check(row)


@rows(
    *[Row("SparseSegmentSum", [sample(d, 4, 2), ids(0, 1, 3), ids(0, 0, 2)]) for d in FLOATS + INTS],
    *[
        Row(f"SparseSegment{n}", [sample(d, 4, 2), ids(0, 1, 3), ids(0, 0, 2)])
        for n in ("Mean", "SqrtN")
        for d in FLOATS
    ],
    *[
        row
        for n in ("Sum", "Mean", "SqrtN")
        for row in (
            Row(f"SparseSegment{n}", [MATRIX, ids(3, 0, 3, dtype="int64"), ids(1, 1, 2, dtype="int64")]),
            Row(f"SparseSegment{n}", [MATRIX, ids(), ids()]),
            Row(f"SparseSegment{n}", [MATRIX, ids(0, 1, 7), ids(0, 0, 2)], refused=True),
            Row(f"SparseSegment{n}", [MATRIX, ids(0, 1, 3), ids(1, 0, 2)], refused=True),
            Row(f"SparseSegment{n}", [MATRIX, ids(0, 1, 3), ids(-1, 0, 2)], refused=True),
            Row(f"SparseSegment{n}", [MATRIX, ids(0, 1), ids(0, 0, 2)], refused=True),
            Row(f"SparseSegment{n}WithNumSegments", [MATRIX, ids(0, 1, 3), ids(0, 0, 2), np.int32(5)]),
            Row(f"SparseSegment{n}WithNumSegments", [MATRIX, ids(), ids(), np.int64(2)]),
            Row(f"SparseSegment{n}WithNumSegments", [MATRIX, ids(0, 1, 3), ids(0, 0, 2), np.int32(2)], refused=True),
        )
    ],
)
def test_sparse(row: Row) -> None:
    check(row)


@pytest.mark.parametrize("name", ["UnsortedSegmentSum", "SegmentSum", "SegmentMean"])
def test_many_rows_are_summed_by_columns(name: str) -> None:
    rng = np.random.default_rng(3)
    ids = rng.integers(0, 300, 5000)
    ids = np.sort(ids) if name.startswith("Segment") else np.where(ids == 7, -1, ids)
    data = rng.normal(size=(5000, 2, 3)).astype(np.float32)
    data[11, 1, 2] = np.nan
    check(Row(name, [data, ids.astype("int32"), *([np.int32(301)] if name.startswith("Unsorted") else [])]))


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "int64"])
@pytest.mark.parametrize("of_one", [0, 400])
def test_long_rows_are_summed_in_blocks(dtype: str, of_one: int) -> None:
    """Ids in any order, some negative, some missing, one perhaps far more often than the others."""
    rng = np.random.default_rng(5)
    at = rng.permutation(np.concatenate([rng.integers(-2, 60, 300), np.full(of_one, 9)]))
    at[at == 12] = 13
    data = rng.integers(-99, 99, (at.size, 3, 4)).astype(dtype)
    check(Row("UnsortedSegmentSum", [data, at.astype("int32"), np.int32(60)]))
    check(Row("UnsortedSegmentSum", [data[:0], np.array([], "int32"), np.int32(3)]))
    check(Row("UnsortedSegmentSum", [data[:2], np.array([-1, -5], "int32"), np.int32(3)]))
    check(Row("UnsortedSegmentSum", [data[:2], np.array([1, 70], "int32"), np.int32(60)], refused=True))
