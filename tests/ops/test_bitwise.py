"""Bits of integers against TensorFlow."""

import numpy as np

from op_harness import INTS, Row, check, each, rows


def ends(d: str) -> np.ndarray:
    """Numbers of all signs and sizes."""
    info = np.iinfo(d)
    return np.array([info.min, info.max, 0, 1, 5, info.max // 3, info.min // 3 + 7], d)


def shifts(d: str) -> np.ndarray:
    """Numbers of bits, also below 0 and beyond the width."""
    low = 0 if d[0] == "u" else -3
    return np.array([[low], [0], [1], [7], [np.iinfo(d).bits - 1], [np.iinfo(d).bits], [100]], d)


@rows(
    *each(INTS, lambda d: [Row(n, [ends(d), ends(d)[:, None]]) for n in ("BitwiseAnd", "BitwiseOr", "BitwiseXor")]),
    *each(INTS, lambda d: [Row(n, [ends(d), shifts(d)]) for n in ("LeftShift", "RightShift")]),
    *each(INTS, lambda d: [Row(n, [ends(d)]) for n in ("Invert", "PopulationCount")]),
    Row("LeftShift", [np.int32(3), np.int32(2)]),
    Row("RightShift", [np.zeros((0, 2), "int64"), np.ones((2,), "int64")]),
)
def test_bits(row: Row) -> None:
    check(row)
