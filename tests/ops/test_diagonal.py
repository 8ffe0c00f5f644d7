"""Diagonals and bands of matrices against TensorFlow."""

import numpy as np
import pytest

from op_harness import COMPLEX, FLOATS, INTS, NUMPY, Row, bound, check, each, rows, sample

ALL = (*FLOATS, *INTS, *COMPLEX, "bool")
ALIGN = ("RIGHT_LEFT", "LEFT_RIGHT", "LEFT_LEFT", "RIGHT_RIGHT")
TALL = sample("float32", 2, 5, 3)
WIDE = sample("float32", 2, 3, 5)
ONE = np.float32(9)


def i32(*values: object) -> np.ndarray:
    return np.array(values, np.int32)


@rows(
    *each(ALL, lambda d: Row("MatrixDiagPart", [sample(d, 2, 3, 4)])),
    *each(ALL, lambda d: Row("MatrixDiagPartV2", [sample(d, 2, 3, 4), i32(-1, 2), sample(d, seed=3)])),
    *each(("float32", "int64"), lambda d: Row("MatrixDiagPartV3", [sample(d, 3, 4), i32(-1), sample(d, seed=3)])),
    *(
        Row("MatrixDiagPartV3", [x, i32(*k), ONE], {"align": a})
        for x in (TALL, WIDE)
        for k in ((-2, 2), (1, 2), (-2, -1), (0, 0))
        for a in ALIGN
    ),
    Row("MatrixDiagPartV3", [TALL, np.int32(-4), ONE]),
    Row("MatrixDiagPart", [sample("float32", 2, 0, 3)]),
    Row("MatrixDiagPart", [sample("float32", 3)], refused=True),
    Row("MatrixDiagPartV3", [TALL, np.int32(-5), ONE], refused=True),
    Row("MatrixDiagPartV3", [TALL, np.int32(3), ONE], refused=True),
    Row("MatrixDiagPartV3", [TALL, i32(1, 0), ONE], refused=True),
    Row("MatrixDiagPartV3", [TALL, i32(0, 1, 2), ONE], refused=True),
)
def test_taking(row: Row) -> None:
    check(row)


FREE = [np.int32(-1), np.int32(-1)]


@rows(
    *each(ALL, lambda d: Row("MatrixDiag", [sample(d, 2, 3)])),
    *each(ALL, lambda d: Row("MatrixDiagV2", [sample(d, 2, 3), np.int32(1), *FREE, sample(d, seed=3)])),
    *(
        Row("MatrixDiagV3", [sample("float32", 2, k[1] - k[0] + 1, 3), i32(*k), *FREE, ONE], {"align": a})
        for k in ((-2, 2), (1, 2), (-2, -1))
        for a in ALIGN
    ),
    Row("MatrixDiagV3", [sample("float32", 3), np.int32(-1), np.int32(4), np.int32(5), ONE]),
    Row("MatrixDiagV3", [sample("float32", 3), np.int32(2), np.int32(-1), np.int32(5), ONE]),
    Row("MatrixDiagV3", [sample("float32", 3), np.int32(2), np.int32(3), np.int32(-1), ONE]),
    Row("MatrixDiagV3", [sample("float32", 3), np.int32(-1), np.int32(3), np.int32(-1), ONE], refused=True),
    Row("MatrixDiagV3", [sample("float32", 3), np.int32(-1), np.int32(5), np.int32(5), ONE], refused=True),
    Row("MatrixDiagV3", [sample("float32", 3, 3), i32(0, 1), *FREE, ONE], refused=True),
    Row("MatrixDiag", [np.float32(1)], refused=True),
    *each(("float32", "float64", "int32", "int64", *COMPLEX), lambda d: Row("Diag", [sample(d, 2, 3)])),
    *each(("float32", "float64", "int32", "int64", *COMPLEX), lambda d: Row("DiagPart", [sample(d, 2, 3, 2, 3)])),
    Row("Diag", [np.float32(1)], refused=True),
    Row("DiagPart", [sample("float32", 2, 3)], refused=True),
    Row("DiagPart", [sample("float32", 2, 2, 2)], refused=True),
)  # fmt: skip
def test_making(row: Row) -> None:
    check(row)


@rows(
    *each(ALL, lambda d: Row("MatrixSetDiag", [sample(d, 2, 3, 4), sample(d, 2, 3, seed=1)])),
    *each(("float32", "int32"),
          lambda d: Row("MatrixSetDiagV2", [sample(d, 2, 3, 4), sample(d, 2, 2, 3, seed=1), i32(0, 1)])),
    *(
        Row("MatrixSetDiagV3", [x, sample("float32", 2, k[1] - k[0] + 1, n, seed=1), i32(*k)], {"align": a})
        for x, k, n in ((TALL, (-2, 2), 3), (WIDE, (-2, 2), 3), (WIDE, (1, 2), 3), (TALL, (-2, -1), 3))
        for a in ALIGN
    ),
    Row("MatrixSetDiagV3", [TALL, sample("float32", 2, 1, seed=1), np.int32(2)]),
    Row("MatrixSetDiag", [TALL, sample("float32", 2, 5)], refused=True),
    Row("MatrixSetDiagV3", [TALL, sample("float32", 2, 3, 3), i32(0, 1)], refused=True),
    Row("MatrixSetDiagV3", [TALL, sample("float32", 2, 1), np.int32(3)], refused=True),
)  # fmt: skip
def test_setting(row: Row) -> None:
    check(row)


def band(x: np.ndarray, lower: int, upper: int, **more: object) -> Row:
    return Row("MatrixBandPart", [x, np.int64(lower), np.int64(upper)], **more)  # type: ignore[arg-type]


@rows(
    *each(ALL, lambda d: band(sample(d, 2, 3, 4), 1, 0)),
    *(band(TALL, lower, upper) for lower in (-1, 0, 2, 5) for upper in (-1, 0, 1, 3)),
    Row("MatrixBandPart", [TALL, np.int32(-1), np.int32(0)]),
    band(sample("float32", 0, 3), -1, 0),
    band(TALL, 6, 0, refused=True),
    band(TALL, 0, 4, refused=True),
    band(sample("float32", 3), 0, 0, refused=True),
)
def test_band(row: Row) -> None:
    check(row)


@pytest.mark.parametrize(
    ("name", "inputs"),
    [
        ("MatrixDiag", [WIDE]),
        ("MatrixDiagPart", [WIDE]),
        ("MatrixSetDiag", [WIDE, sample("float32", 2, 3, seed=1)]),
        ("MatrixBandPart", [WIDE, np.int64(0), np.int64(-1)]),
    ],
)
def test_old_names_mean_the_same(name: str, inputs: list[np.ndarray]) -> None:
    """TensorFlow 2 knows the Batch* ops only in old graphs."""
    (new, flat), (old, _) = bound(Row(name, inputs)), bound(Row(f"Batch{name}", inputs))
    np.testing.assert_array_equal(old.run(NUMPY, flat)[0], new.run(NUMPY, flat)[0])


@pytest.mark.parametrize("align", ALIGN)
def test_a_band_that_is_set_is_the_band_that_is_taken(align: str) -> None:
    k = i32(-1, 3)
    take, flat = bound(Row("MatrixDiagPartV3", [WIDE, k, np.float32(0)], {"align": align}))
    (part,) = take.run(NUMPY, flat)
    put, flat = bound(Row("MatrixSetDiagV3", [WIDE, part, k], {"align": align}))
    np.testing.assert_array_equal(put.run(NUMPY, flat)[0], WIDE)
