"""Resizing, cropping and colours against TensorFlow."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from coldframe.errors import ExecutionError
from coldframe.formats import messages
from coldframe.runtime.session import Session
from op_harness import NUMPY, Row, bound, check, each, rows, sample

IMAGES = ("uint8", "int8", "int16", "uint16", "int32", "int64", "float16", "bfloat16", "float32", "float64")
GRIDS = ({}, {"align_corners": True}, {"half_pixel_centers": True})
SIZES = ((5, 7), (10, 3), (2, 14), (1, 1), (13, 11), (5, 1), (1, 7), (15, 21))


def size(*hw: int) -> Any:
    return np.array(hw, np.int32)


def _resizes(op: str, grids: Any = GRIDS) -> list[Row]:
    x = sample("float32", 2, 5, 7, 3)
    return [
        *[Row(op, [x, size(*s)], g) for s in SIZES for g in grids],
        *[Row(op, [sample(d, 1, 4, 6, 2, low=-100, high=100), size(7, 5)], g) for d in IMAGES for g in grids[:2]],
        Row(op, [sample("float32", 0, 4, 6, 2), size(3, 3)]),
        Row(op, [sample("float32", 1, 1, 1, 1), size(3, 4)]),
        Row(op, [x[0], size(3, 3)], refused=True),
        Row(op, [x, size(3)], refused=True),
        Row(op, [x, size(0, 3)], refused=True),
        Row(op, [x, size(3, -1)], refused=True),
        Row(op, [sample("float32", 1, 0, 6, 2), size(3, 3)], refused=True),
    ]


@rows(
    *_resizes("ResizeNearestNeighbor"),
    *_resizes("ResizeBilinear"),
    *_resizes("ResizeBicubic"),
    *_resizes("ResizeArea", GRIDS[:2]),
    *[
        Row(op, [sample("float32", 1, 2, 2, 1), size(3, 3)], {"align_corners": True, "half_pixel_centers": True},
            refused=True)
        for op in ("ResizeNearestNeighbor", "ResizeBilinear", "ResizeBicubic")
    ],
)  # fmt: skip
def test_resize(row: Row) -> None:
    check(row)


@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_nearest_agrees_at_every_size(grid: dict[str, Any]) -> None:
    """The pixel that is nearest hangs on the last bit of float32 arithmetic."""
    for n, m in ((3, 7), (7, 3), (10, 29), (29, 10), (64, 63), (63, 200), (200, 63), (41, 123), (123, 41)):
        x = np.arange(n, dtype=np.float32).reshape(1, n, 1, 1)
        check(Row("ResizeNearestNeighbor", [x, size(m, 1)], grid))


BOXES = np.array(
    [
        [0, 0, 1, 1],
        [0.1, 0.2, 0.8, 0.7],
        [-0.3, 0.5, 1.2, 0.9],
        [0.9, 0.8, 0.1, 0.2],
        [0.5, 0.5, 0.5, 0.5],
        [2, 2, 3, 3],
    ],
    np.float32,
)
OWNERS = np.array([0, 1, 1, 0, 1, 0], np.int32)


def _crop(image: Any, boxes: Any, owners: Any, hw: tuple[int, ...], refused: bool = False, **attrs: Any) -> Row:
    return Row("CropAndResize", [image, boxes, np.array(owners, np.int32), size(*hw)], attrs, refused=refused)


IMAGE = sample("float32", 2, 6, 5, 3)


@rows(
    *[
        _crop(IMAGE, BOXES, OWNERS, hw, method=m)
        for hw in ((3, 4), (1, 1), (1, 5), (9, 8))
        for m in ("bilinear", "nearest")
    ],
    *each(
        ("uint8", "int8", "int16", "uint16", "int32", "int64", "float16", "float64"),
        lambda d: _crop(sample(d, 2, 6, 5, 3), BOXES, OWNERS, (3, 4), extrapolation_value=-7.5),
    ),
    *[_crop(sample("float32", 2, 6, 5, 20), BOXES, OWNERS, (3, 4), method=m) for m in ("bilinear", "nearest")],
    _crop(IMAGE, BOXES[:0], OWNERS[:0], (3, 4)),
    _crop(IMAGE, BOXES[:1], [2], (3, 4), refused=True),
    _crop(IMAGE, BOXES[:1], [-1], (3, 4), refused=True),
    _crop(IMAGE, BOXES[:2], [0], (3, 4), refused=True),
    _crop(IMAGE, BOXES[:1], [0], (0, 4), refused=True),
    _crop(IMAGE, BOXES[:1], [0], (4,), refused=True),
    _crop(IMAGE[0], BOXES[:1], [0], (4, 4), refused=True),
)
def test_crop_and_resize(row: Row) -> None:
    check(row)


def colors(d: str, *shape: int) -> Any:
    x = sample(d, *shape, 3, low=0, high=1)
    x.reshape(-1, 3)[:5] = [[0, 0, 0], [1, 1, 1], [0.5, 0.5, 0.25], [0.25, 0.75, 0.75], [1, 0, 1]]
    return x


F32 = np.float32
CHANGES = ("AdjustHue", "AdjustSaturation", "AdjustContrastv2")  # TensorFlow has float32 kernels only


@rows(
    *[Row(o, [colors("float32", 2, 4, 5), F32(v)]) for o in CHANGES for v in (0.3, 2.5, 0)],
    *[Row("AdjustHue", [colors("float32", 2, 4, 5), F32(v)]) for v in (-0.7, 1)],
    *each(("float32", "float64"), lambda d: [Row(o, [colors(d, 2, 4)]) for o in ("RGBToHSV", "HSVToRGB")]),
    *each(("float16", "bfloat16"), lambda d: [Row(o, [colors(d, 2, 4)], tol=5e-2) for o in ("RGBToHSV", "HSVToRGB")]),
    *[Row(o, [sample("float32", 3)]) for o in ("RGBToHSV", "HSVToRGB")],
    Row("AdjustHue", [sample("float32", 4, 5, 3), F32(0.2)]),
    Row("AdjustHue", [sample("float32", 0, 5, 3), F32(0.2)]),
    Row("AdjustSaturation", [sample("float32", 4, 5, 3), F32(0.2)]),
    Row("AdjustContrastv2", [sample("float32", 4, 5, 2), F32(0.2)]),
    Row("AdjustHue", [sample("float32", 4, 5, 2), F32(0.2)], refused=True),
    Row("AdjustSaturation", [sample("float32", 5, 3), F32(0.2)], refused=True),
    Row("AdjustContrastv2", [sample("float32", 5, 3), F32(0.2)], refused=True),
    *each(
        ("uint8", "int32", "float32", "float64"),
        lambda d: Row("AdjustContrast", [sample(d, 2, 4, 5, 3, high=20), F32(1.7), F32(-1), F32(9)]),
    ),
    Row("AdjustContrast", [sample("float32", 5, 3), F32(1.7), F32(-1), F32(9)], refused=True),
    Row("AdjustHue", [sample("float32", 4, 5, 3), np.ones(1, F32)], refused=True),
    Row("HSVToRGB", [F32(1)], refused=True),
)
def test_colors(row: Row) -> None:
    check(row)


def test_messages() -> None:
    call, flat = bound(Row("ResizeBilinear", [sample("float32", 2, 3, 1), size(3, 3)]))
    with pytest.raises(ExecutionError, match="`images` is not a batch of images: expected rank 4, found 3"):
        call.run(NUMPY, flat)
    call, flat = bound(Row("RGBToHSV", [sample("float32", 4, 2)]))
    with pytest.raises(ExecutionError, match="not one of colours: expected 3, found 2"):
        call.run(NUMPY, flat)


@pytest.mark.parametrize("op", ["CropAndResize", "ResizeBilinear", "ResizeArea"])
def test_images_of_a_size_that_a_file_only_claims_are_refused(op: str) -> None:
    huge = np.array([2065374891, 1145309325], np.int32)
    with tf.Graph().as_default() as graph:
        images = np.ones((1, 1, 1, 1), np.float32)
        if op == "CropAndResize":
            tf.raw_ops.CropAndResize(
                image=images, boxes=np.ones((2, 4), np.float32), box_ind=[0, 0], crop_size=huge, name="x"
            )
        else:
            getattr(tf.raw_ops, op)(images=images, size=huge, name="x")
    session = Session(messages.parse("GraphDef", graph.as_graph_def().SerializeToString(), where="in memory"))
    with pytest.raises(ExecutionError, match=r"an image of too many pixels.*found \[2065374891, 1145309325\]"):
        session.run("x:0")
