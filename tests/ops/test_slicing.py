"""Boxes and strided slices against TensorFlow."""

import itertools

import numpy as np

from op_harness import COMPLEX, FLOATS, INTS, Row, check, each, rows, sample

ALL = (*FLOATS, *INTS, *COMPLEX, "bool")
WORDS = np.array([["ab", "", "c"], ["d", "ef", "g"]])


def i32(*values: object) -> np.ndarray:
    return np.array(values, np.int32)


@rows(
    *each(ALL, lambda d: Row("Slice", [sample(d, 3, 4), i32(1, 0), i32(2, -1)])),
    Row("Slice", [WORDS, np.int64([0, 1]), np.int64([2, 1])]),
    Row("Slice", [sample("int8", 4), i32(1), i32(2)], {"T": "qint8"}),
    Row("Slice", [sample("float32", 3, 4), i32(3, 4), i32(-1, 0)]),
    Row("Slice", [sample("float32"), np.zeros(0, np.int32), np.zeros(0, np.int32)]),
    Row("Slice", [sample("float32", 3), i32(2), i32(2)], refused=True),
    Row("Slice", [sample("float32", 3), i32(-1), i32(1)], refused=True),
    Row("Slice", [sample("float32", 3), i32(0), i32(-2)], refused=True),
    Row("Slice", [sample("float32", 3), i32(4), i32(-1)], refused=True),
    Row("Slice", [sample("float32", 3, 2), i32(0), i32(1)], refused=True),
)
def test_slice(row: Row) -> None:
    check(row)


def cut(x: object, begins: object, ends: object, strides: object, **masks: object) -> Row:
    refused = bool(masks.pop("refused", False))
    kind = masks.pop("index", np.int32)
    const = () if masks.pop("fed", False) else (1, 2)
    vectors = [np.array(v, kind) for v in (begins, ends, strides)]  # type: ignore[call-overload]
    return Row("StridedSlice", [x, *vectors], {f"{k}_mask": v for k, v in masks.items()}, refused=refused, const=const)


CUBE = sample("float32", 2, 3, 4)
LINE = sample("float32", 5)
ENDS = (-9, -5, -2, -1, 0, 1, 4, 5, 9)


@rows(
    *each(ALL, lambda d: cut(sample(d, 3, 4), [1, 3], [3, 0], [1, -2])),
    cut(WORDS, [0, 2], [2, 0], [1, -1]),
    cut(WORDS, [1, 2], [0, 0], [1, 1], shrink_axis=3),
    cut(CUBE, [0, 1, 1], [2, 3, 4], [1, 1, 2], index=np.int64),
    cut(CUBE, [0, 1, 1], [2, 3, 4], [1, 1, 2], index=np.int16),
    cut(CUBE, [1], [2], [1]),
    cut(CUBE, [], [], []),
    cut(sample("float32"), [], [], []),
    cut(sample("float32"), [0, 0], [0, 0], [1, 1], new_axis=3),
    cut(sample("float32", 0, 3), [0, -1], [5, 0], [1, 1], shrink_axis=2),
    cut(LINE, [2], [0], [1], shrink_axis=1, begin=1, end=1),
    cut(LINE, [-5], [3], [2], shrink_axis=1),
    cut(CUBE, [0, -1], [0, 0], [1, 1], shrink_axis=2, begin=1, end=1),
    cut(CUBE, [1, 2], [1, 3], [1, 1], ellipsis=1, shrink_axis=2),
    cut(CUBE, [1, 0, 2], [2, 0, 3], [1, 1, 1], ellipsis=2),
    cut(CUBE, [1, 0, 0, 2], [2, 0, 0, 4], [1, 1, 1, 1], ellipsis=2, new_axis=4, shrink_axis=8),
    cut(CUBE, [0, 0, 1, 0], [0, 0, 1, 0], [1, 1, 1, 1], new_axis=9, end=2, shrink_axis=4),
    cut(CUBE, [0, 1, 0], [0, 0, 0], [1, 1, 1], new_axis=2, shrink_axis=2, ellipsis=1),
    cut(CUBE, [1, 1], [2, 2], [1, 1], ellipsis=1, new_axis=1, shrink_axis=1),
    cut(CUBE, [0, 0, 0, 0], [2, 0, 3, 4], [1, 1, 1, 1], ellipsis=2),
    cut(CUBE, [1] * 6, [2] * 6, [1] * 6, new_axis=63),
    cut(CUBE, [0, 0, 0], [0, 0, 0], [-1, -1, -1], begin=7, end=7),
    cut(CUBE, [5, -9, 2], [-9, 9, 2], [-1, 2, 1]),
    cut(LINE, [5], [6], [1], shrink_axis=1, refused=True),
    cut(LINE, [-6], [6], [1], shrink_axis=1, refused=True),
    cut(LINE, [2], [3], [-1], shrink_axis=1, refused=True),
    cut(LINE, [2], [3], [0], refused=True),
    cut(LINE, [2, 0], [3, 1], [1, 1], refused=True),
    cut(CUBE, [0, 0], [1, 1], [1, 1], ellipsis=3, refused=True),
    cut(CUBE, [0, 0], [1], [1, 1], refused=True),
)
def test_strided_slice(row: Row) -> None:
    check(row)


@rows(
    *(
        cut(LINE, [b], [e], [s], begin=m & 1, end=m >> 1)
        for b, e, s, m in itertools.islice(itertools.product(ENDS, ENDS, (1, 2, -1, -3), range(4)), 0, None, 13)
    )
)
def test_every_end(row: Row) -> None:
    """Begins and ends before, in and after the dimension, forwards and backwards, masked or not."""
    check(row)


@rows(
    *(cut(LINE, [b], [e], [2], fed=True) for b, e in itertools.product(ENDS, ENDS)),
    cut(CUBE, [0, 1, 1], [2, 3, 4], [1, 1, 2], index=np.int64, fed=True),
    cut(CUBE, [0, -1], [0, 0], [1, 1], shrink_axis=2, begin=1, end=1, fed=True),
    cut(CUBE, [1, 0, 0, 2], [2, 0, 0, 4], [1, 1, 1, 1], ellipsis=2, new_axis=4, shrink_axis=8, fed=True),
    cut(sample("int64", 5), [1], [2], [1], index=np.int16, shrink_axis=1, fed=True),
)
def test_ends_that_are_fed(row: Row) -> None:
    """Begin and end that only the run knows."""
    check(row)


MASKS = {"begin_mask": 0, "end_mask": 2, "shrink_axis_mask": 1}


@rows(
    *each(
        ("float32", "float64", "int32", "complex64", "bool"),
        lambda d: Row("StridedSliceGrad",
                      [i32(3, 4), i32(1, 0), i32(2, 0), i32(1, 2), sample(d, 2)], MASKS, const=(0,)),
    ),
    Row("StridedSliceGrad", [i32(5), i32(4), i32(0), i32(-2), sample("float32", 2)], const=(0,)),
    Row("StridedSliceGrad", [np.int64([2, 3]), np.int64([0]), np.int64([2]), np.int64([1]), sample("float32", 2, 3)],
        const=(0,)),
    Row("StridedSliceGrad", [i32(3, 4), i32(0, 1), i32(0, 3), i32(1, 1), sample("float32", 3, 2)], {"begin_mask": 1,
        "end_mask": 1}, const=(0,)),
    Row("StridedSliceGrad", [i32(3, 4, 2), i32(0, -1, 0), i32(0, 0, 0), i32(1, 1, 1), sample("float32", 3, 1, 2)],
        {"begin_mask": 1, "end_mask": 1, "shrink_axis_mask": 2, "new_axis_mask": 4}, const=(0,)),
    Row("StridedSliceGrad", [i32(3, 4), i32(0), i32(2), i32(1), sample("int32", 2, 4)], const=(0,)),
    Row("StridedSliceGrad", [i32(3, 4), i32(2), i32(1), i32(1), sample("float32", 0, 4)], const=(0,)),
    Row("StridedSliceGrad", [i32(3, 4), i32(-1), i32(0), i32(-2), sample("float32", 1, 4)], const=(0,)),
    *each(
        ("float32", "int64", "complex64", "bool"),
        lambda d: Row("TensorStridedSliceUpdate",
                      [sample(d, 3, 4), i32(1, 0), i32(2, 0), i32(1, 2), sample(d, 2, seed=1)], MASKS),
    ),
    Row("TensorStridedSliceUpdate", [WORDS, i32(1), i32(2), i32(1), np.array([["x", "y", "z"]])]),
    Row("TensorStridedSliceUpdate", [LINE, i32(1), i32(1), i32(1), np.zeros(0, np.float32)]),
    Row("TensorStridedSliceUpdate", [LINE, i32(1), i32(3), i32(1), sample("float32", 3)], refused=True),
)  # fmt: skip
def test_writing(row: Row) -> None:
    check(row)
