"""Comparison, logic and selection against TensorFlow."""

import numpy as np

from op_harness import COMPLEX, FLOATS, INTS, Row, check, each, rows, sample

SPECIAL = [np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0]
BOOLS = [np.array([[True], [False]]), np.array([True, False])]


def grid(d: str) -> list[np.ndarray]:
    """All pairs of special values."""
    return [a.astype(sample(d).dtype) for a in np.meshgrid(SPECIAL, SPECIAL)]


@rows(
    *[
        Row(n, [sample(d, 3, 4), sample(d, 4, seed=1)])
        for n in ("Less", "LessEqual", "Greater", "GreaterEqual")
        for d in FLOATS + INTS
    ],
    *[Row(n, grid(d)) for n in ("Less", "LessEqual", "Greater", "GreaterEqual", "Equal", "NotEqual") for d in FLOATS],
    *[Row(n, [sample(d, 3, 4), sample(d, 4, seed=1)]) for n in ("Equal", "NotEqual") for d in FLOATS + INTS + COMPLEX],
    *[Row(n, [sample(d, 0, 4), sample(d)]) for n in ("Equal", "Less") for d in ("float32", "int32")],
    *[Row(n, BOOLS) for n in ("Equal", "NotEqual", "LogicalAnd", "LogicalOr")],
    Row("LogicalNot", [BOOLS[0]]),
    *[Row(n, [["a", "b"], "a"]) for n in ("Equal", "NotEqual")],
    *[
        Row(n, [sample("float32", *a), sample("float32", *b)], {"incompatible_shape_error": False})
        for n in ("Equal", "NotEqual")
        for a, b in (((3,), (2,)), ((3,), (3,)), ((3, 1), (2,)), ((2, 3), (2, 2)))
    ],
    *[Row(n, [sample("float32", 3), sample("float32", 2)], refused=True) for n in ("Equal", "NotEqual", "Less")],
)
def test_compare(row: Row) -> None:
    check(row)


@rows(
    *each(
        FLOATS, lambda d: [Row(n, [np.array(SPECIAL).astype(sample(d).dtype)]) for n in ("IsNan", "IsInf", "IsFinite")]
    )
)
def test_floating(row: Row) -> None:
    check(row)


@rows(
    *[
        Row(
            "ApproximateEqual", [np.array([1, 1, 1, np.inf, np.nan], d), np.array([1.00001, 1.1, 1, np.inf, np.nan], d)]
        )
        for d in ("float32", "float64")
    ],
    Row("ApproximateEqual", [np.zeros(3, "f"), np.array([0.25, 0.5, 0.75], "f")], {"tolerance": 0.5}),
    Row("ApproximateEqual", [np.zeros(3, "f"), np.zeros((), "f")], refused=True),
)
def test_approximate(row: Row) -> None:
    check(row)


MASK = np.array([[True, False, True], [False, False, True]])


@rows(
    *[
        Row(n, [MASK, sample(d, 2, 3), sample(d, 2, 3, seed=1)])
        for n in ("Select", "SelectV2")
        for d in (*FLOATS, *INTS, *COMPLEX, "bool")
    ],
    *[Row(n, [MASK[0], ["a", "b", "c"], ["d", "e", "f"]]) for n in ("Select", "SelectV2")],
    Row("SelectV2", [MASK[:, :1], sample("float32"), sample("float32", 3)]),
    Row("SelectV2", [np.array(True), sample("int64", 0, 2), sample("int64", 2)]),
    Row("SelectV2", [MASK, sample("float32", 2), sample("float32", 2)], refused=True),
    Row("Select", [np.array(True), sample("float32", 2, 3), sample("float32", 2, 3, seed=1)]),
    Row("Select", [np.array(True), sample("float32"), sample("float32", seed=1)]),
    Row("Select", [np.array([True, False]), sample("float32", 2, 3), sample("float32", 2, 3, seed=1)]),
    Row("Select", [np.array([True, False]), sample("float32", 2), sample("float32", 2, seed=1)]),
    Row("Select", [MASK[0], sample("float32", 2, 3), sample("float32", 2, 3)], refused=True),
    Row("Select", [np.array([True]), sample("float32", 2, 3), sample("float32", 2, 3)], refused=True),
    Row("Select", [MASK[:1], sample("float32", 2, 3), sample("float32", 2, 3)], refused=True),
    Row("Select", [MASK[0], sample("float32"), sample("float32", 3)], refused=True),
    Row("Select", [np.array([True]), sample("float32"), sample("float32")], refused=True),
)
def test_select(row: Row) -> None:
    check(row)
