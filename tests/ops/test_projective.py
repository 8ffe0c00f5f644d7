"""Projective transforms of images against TensorFlow."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from coldframe.errors import ExecutionError
from op_harness import NUMPY, Row, bound, check, each, rows, sample

F = np.float32
MODES = ("CONSTANT", "REFLECT", "WRAP", "NEAREST")
TURN = [[0.8, -0.6, 1.3, 0.6, 0.8, -1.7, 0, 0]]
FAR = [[2.5, 0.1, -13.2, 0.2, -3.1, 17.4, 0, 0]]
LENS = [[1.1, 0.2, -0.7, 0.1, 0.9, 0.3, 0.01, -0.02], [0.9, 0, 2.2, 0, 1.2, -1.1, 0.05, 0.1]]
HORIZON = [[1, 0, 0, 0, 1, 0, -1, 0]]  # infinitely far at x = 1


def size(height: int, width: int) -> Any:
    return np.array([height, width], np.int32)


def move(images: Any, by: Any, to: Any, fill: Any = None, how: str = "BILINEAR", **fields: Any) -> Row:
    mode = fields.pop("mode", "CONSTANT")
    more = [] if fill is None else [F(fill)]
    inputs = [images, np.array(by, F), to, *more]
    attrs = {"interpolation": how, "fill_mode": mode}
    return Row(f"ImageProjectiveTransformV{2 + len(more)}", inputs, attrs, **fields)


X = sample("float32", 2, 6, 5, 3)


@rows(
    *[
        move(X, by, size(7, 4), fill, how, mode=mode)
        for mode in MODES
        for how in ("NEAREST", "BILINEAR")
        for by in (TURN, FAR, LENS, HORIZON)
        for fill in (None, 1.5)
    ],
    *each(
        ("uint8", "int32", "int64", "float16", "bfloat16", "float64"),
        lambda d: [move(sample(d, 2, 6, 5, 3, high=100), TURN, size(6, 5), 7, how) for how in ("NEAREST", "BILINEAR")],
    ),
    *[move(sample("float32", 1, 1, 1, 2), TURN, size(3, 3), 0.5, mode=mode) for mode in MODES],
    move(X, TURN[0], size(3, 3), refused=True),
    move(X, [TURN[0][:7]], size(3, 3), refused=True),
    move(X, TURN * 3, size(3, 3), refused=True),
    move(X[0], TURN, size(3, 3), refused=True),
    move(X, TURN, size(3, 0), refused=True),
    move(X, TURN, np.array([3], np.int32), refused=True),
)
def test_projective_transform(row: Row) -> None:
    check(row)


@pytest.mark.parametrize(
    ("message", "fields"),
    [("expected NEAREST or BILINEAR, found CUBIC", {"how": "CUBIC"}), ("`fill_mode`: expected", {"mode": "FOLD"})],
)
def test_unknown_modes_are_refused(message: str, fields: dict[str, Any]) -> None:
    """TensorFlow logs an error and goes on."""
    call, flat = bound(move(X, TURN, size(3, 3), **fields))
    with pytest.raises(ExecutionError, match=message):
        call.run(NUMPY, flat)


@pytest.mark.parametrize("how", ["NEAREST", "BILINEAR"])
def test_the_first_kind_keeps_the_size(how: str) -> None:
    """ImageProjectiveTransform is of tf.contrib: what the second kind is where nothing else is said."""
    call, flat = bound(Row("ImageProjectiveTransform", [X, np.array(TURN, F)], {"interpolation": how}))
    second, inputs = bound(move(X, TURN, size(6, 5), how=how))
    np.testing.assert_array_equal(call.run(NUMPY, flat)[0], second.run(NUMPY, inputs)[0])
    with pytest.raises(ExecutionError, match="expected rank 4, found 3"):
        call.run(NUMPY, [flat[0][0], flat[1]])
