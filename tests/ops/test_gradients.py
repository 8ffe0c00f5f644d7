"""Gradients that only training graphs have."""

from __future__ import annotations

import numpy as np

from op_harness import FLOATS, NUMPY, Row, bound, check, each, rows, sample

INDICES = np.array([3, 0, 3, 1], np.int32)
IDS = np.array([0, 0, 2, 2], np.int64)


def segments(dtype: str) -> list[Row]:
    grad = sample(dtype, 3, 2)
    out: list[Row] = []
    for name in ("Sum", "Mean", "SqrtN"):
        out += [
            Row(f"SparseSegment{name}Grad", [grad, INDICES, IDS, np.int32(5)]),
            Row(f"SparseSegment{name}GradV2", [grad, INDICES.astype(np.int64), IDS.astype(np.int32), np.int32(5)]),
        ]
    return out


@rows(
    *each(FLOATS, segments),
    Row("SparseSegmentMeanGrad", [sample("float32", 3, 2), INDICES, IDS, np.int32(3)], refused=True),
    Row("SparseSegmentMeanGrad", [sample("float32", 2, 2), INDICES, IDS, np.int32(5)], refused=True),
    Row("SparseSegmentSumGrad", [sample("float32", 3, 2), INDICES, IDS[:2], np.int32(5)], refused=True),
    Row("SparseSegmentSumGradV2", [sample("float32", 3, 2), INDICES, IDS - 1, np.int32(5)], refused=True),
)
def test_segments(row: Row) -> None:
    check(row)


@rows(
    *each(
        (*FLOATS, "int32", "complex64"),
        lambda d: [
            Row("MirrorPadGrad", [sample(d, 6, 7), np.array([[1, 2], [0, 3]])], {"mode": m})
            for m in ("SYMMETRIC", "REFLECT")
        ],
    ),
    Row("MirrorPadGrad", [sample("float32", 6), np.array([[2, 2]], np.int32)], {"mode": "SYMMETRIC"}),
    Row("MirrorPadGrad", [sample("float32", 6), np.array([[2, 2]], np.int32)], {"mode": "REFLECT"}, refused=True),
    Row("MirrorPadGrad", [sample("float32", 6), np.array([[-1, 2]], np.int32)], {"mode": "REFLECT"}, refused=True),
)
def test_mirrored_borders(row: Row) -> None:
    check(row)


def dilations(dtype: str) -> list[Row]:
    out: list[Row] = []
    for padding, stride, rate, size in (
        ("SAME", 1, 1, (5, 6)), ("VALID", 1, 1, (3, 4)), ("SAME", 2, 2, (3, 3)), ("VALID", 2, 2, (1, 1)),
    ):  # fmt: skip
        inputs = [sample(dtype, 2, 5, 6, 3), sample(dtype, 3, 3, 3, seed=1), sample(dtype, 2, *size, 3, seed=2)]
        attrs = {"strides": [1, stride, stride, 1], "rates": [1, rate, rate, 1], "padding": padding}
        out += [Row(f"Dilation2DBackprop{w}", inputs, attrs) for w in ("Input", "Filter")]
    return out


ATTRS = {"strides": [1, 1, 1, 1], "rates": [1, 1, 1, 1], "padding": "VALID"}


@rows(
    *each((*FLOATS, "int32", "uint8"), dilations),
    Row(
        "Dilation2DBackpropInput",
        [sample("float32", 1, 5, 5, 2), sample("float32", 3, 3, 2), sample("float32", 1, 4, 4, 2)], ATTRS, refused=True,
    ),
    Row(
        "Dilation2DBackpropFilter",
        [sample("float32", 1, 5, 5, 2), sample("float32", 3, 3, 3), sample("float32", 1, 3, 3, 2)], ATTRS, refused=True,
    ),
)  # fmt: skip
def test_dilation(row: Row) -> None:
    check(row)


def test_no_segments_give_no_gradient() -> None:
    """TensorFlow leaves its answer uninitialized here."""
    call, flat = bound(Row("SparseSegmentSumGrad", [sample("float32", 3, 2), INDICES[:0], IDS[:0], np.int32(2)]))
    [out] = call.run(NUMPY, flat)
    np.testing.assert_array_equal(out, np.zeros((2, 2), np.float32))
