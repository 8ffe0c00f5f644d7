"""Elementwise mathematics against TensorFlow."""

from op_harness import COMPLEX, FLOATS, INTS, Row, check, each, rows, sample


@rows(*each(FLOATS + INTS + COMPLEX, lambda d: Row("AddV2", [sample(d, 3, 4), sample(d, 4, seed=1)])))
def test_binary(row: Row) -> None:
    check(row)


@rows(*each(FLOATS + COMPLEX, lambda d: Row("Exp", [sample(d, 3, 4)])))
def test_unary(row: Row) -> None:
    check(row)
