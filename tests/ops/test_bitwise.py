"""Bits of integers against TensorFlow."""

import numpy as np
import pytest

from coldframe.errors import ExecutionError
from op_harness import INTS, NUMPY, Row, bound, check, each, rows, sample


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


@pytest.mark.parametrize("kind", ["float16", "float32", "float64", "int8", "int16", "int32", "int64"])
def test_eight_comparisons_in_a_byte(kind: str) -> None:
    """TensorFlow has had no CompareAndBitpack since 2.x; this is what it was."""
    x = sample(kind, 3, 2, 16)
    x[0, 0, :8] = [1, 2, 3, 1, 0, 1, 2, 1]
    call, flat = bound(Row("CompareAndBitpack", [x, x.dtype.type(1)]))
    (out,) = call.run(NUMPY, flat)
    assert out.dtype == np.uint8
    assert out[0, 0, 0] == 0b01100010
    want = sum((x.reshape(3, 2, 2, 8)[..., k] > 1).astype(int) << 7 - k for k in range(8))
    np.testing.assert_array_equal(out, want)


def test_bools_are_packed_as_they_are() -> None:
    bits = np.array([True, False, False, True, False, False, False, True])
    call, flat = bound(Row("CompareAndBitpack", [bits, np.bool_(True)]))
    np.testing.assert_array_equal(call.run(NUMPY, flat)[0], [0b10010001])


@pytest.mark.parametrize(
    ("x", "threshold", "message"),
    [
        (np.zeros(7, np.float32), np.float32(0), "multiple of 8 elements, found shape .7."),
        (np.float32(0), np.float32(0), "multiple of 8 elements, found shape .."),
        (np.zeros(8, np.float32), np.zeros(1, np.float32), "`threshold`: expected a scalar, found shape .1."),
    ],
)
def test_what_cannot_be_packed_is_refused(x: np.ndarray, threshold: np.ndarray, message: str) -> None:
    call, flat = bound(Row("CompareAndBitpack", [x, threshold]))
    with pytest.raises(ExecutionError, match=message):
        call.run(NUMPY, flat)
