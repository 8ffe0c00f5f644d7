"""Non-maximum suppression against TensorFlow."""

from typing import Any

import numpy as np
import pytest

from coldframe.errors import ExecutionError
from op_harness import NUMPY, Row, bound, check, rows

F32 = np.float32
rng = np.random.default_rng(3)


def random_boxes(n: int, d: str = "float32") -> Any:
    corner = rng.uniform(0, 1, (n, 2))
    b = np.concatenate([corner, corner + rng.uniform(0.05, 0.5, (n, 2))], 1)
    b[::3] = b[::3][:, [2, 3, 0, 1]]  # corners in any order
    return b.astype(d)


def random_scores(n: int, d: str = "float32") -> Any:
    return np.round(rng.uniform(0, 1, n), 1).astype(d)  # with many equal ones


BOXES, SCORES = random_boxes(40), random_scores(40)
BOTH = (False, True)
SPECIAL = np.array([0.5, np.nan, np.inf, -np.inf, 0.9, -1], F32)


def _nms(op: str, count: Any = 10, iou: Any = 0.4, *more: Any, refused: bool = False, boxes: Any = BOXES,
         scores: Any = SCORES, **attrs: Any) -> Row:  # fmt: skip
    inputs = [boxes, scores, np.asarray(count, np.int32)]
    if op == "NonMaxSuppression":
        attrs["iou_threshold"] = iou
    else:
        inputs += [np.asarray(v, scores.dtype) for v in (iou, *more)]
    return Row(op, inputs, attrs, refused=refused)


@rows(
    *[
        _nms(o, n, iou)
        for o in ("NonMaxSuppression", "NonMaxSuppressionV2")
        for n in (0, 3, 50)
        for iou in (0.0, 0.3, 1.0)
    ],
    *[_nms("NonMaxSuppressionV3", n, 0.3, s) for n in (3, 50) for s in (0.0, 0.5, 2.0)],
    *[
        _nms("NonMaxSuppressionV4", n, 0.3, s, pad_to_max_output_size=p)
        for n in (0, 3, 50)
        for s in (0.5, 2.0)
        for p in (False, True)
    ],
    *[
        _nms("NonMaxSuppressionV5", n, iou, s, sigma, pad_to_max_output_size=p)
        for n in (3, 50)
        for iou in (0.3, 1.0)
        for s, sigma in ((0.0, 0.5), (0.4, 0.2), (0.4, 0.0))
        for p in (False, True)
    ],
    _nms("NonMaxSuppressionV2", boxes=random_boxes(6), scores=SPECIAL),
    _nms("NonMaxSuppressionV3", 10, 0.5, -2.0, boxes=random_boxes(6), scores=SPECIAL),
    _nms("NonMaxSuppressionV3", 10, 0.5, 0.0, boxes=np.zeros((3, 4), F32), scores=np.ones(3, F32)),
    _nms("NonMaxSuppressionV3", 10, 0.5, 0.0, boxes=np.zeros((0, 4), F32), scores=np.ones(0, F32)),
    _nms("NonMaxSuppressionV2", boxes=random_boxes(20, "float16"), scores=random_scores(20, "float16")),
    _nms("NonMaxSuppressionV2", 3, 1.5, refused=True),
    _nms("NonMaxSuppressionV2", 3, -0.5, refused=True),
    _nms("NonMaxSuppressionV2", -3, 0.5, refused=True),
    _nms("NonMaxSuppressionV2", [3], 0.5, refused=True),
    _nms("NonMaxSuppressionV2", boxes=BOXES[:3], refused=True),
    _nms("NonMaxSuppressionV2", boxes=BOXES[:, :3], refused=True),
)
def test_suppression(row: Row) -> None:
    check(row)


def _combined(b: int, n: int, q: int, c: int, per_class: int, total: int, score: float, **attrs: Any) -> Row:
    boxes = np.stack([random_boxes(n * q).reshape(n, q, 4) for _ in range(b)]) if b else np.zeros((0, n, q, 4), F32)
    scores = rng.uniform(0, 1, (b, n, c)).astype(F32)
    limits = [np.int32(per_class), np.int32(total), F32(0.3), F32(score)]
    why = "its boxes are of each class apart" if q > 1 else ""
    return Row("CombinedNonMaxSuppression", [boxes, scores, *limits], attrs, lowers=b > 0 and q == 1, why=why,
               const=(2, 3, 4))  # fmt: skip


@rows(
    *[_combined(2, 20, q, 3, 4, 10, s, clip_boxes=clip) for q in (1, 3) for s in (0.0, 0.7, 2.0) for clip in BOTH],
    *[_combined(2, 20, 1, 3, n, 10, 0.1, pad_per_class=True) for n in (2, 5)],
    _combined(2, 20, 1, 3, 50, 100, 0.1),
    _combined(3, 90, 1, 1, 50, 20, 0.1),
    _combined(2, 20, 1, 3, 50, 100, 0.1, pad_per_class=True),
    _combined(0, 20, 1, 3, 5, 10, 0.1),
    Row("CombinedNonMaxSuppression", [np.zeros((1, 2, 2, 4), F32), np.zeros((1, 2, 3), F32), *_combined(
        1, 2, 1, 3, 4, 10, 0).inputs[2:]], refused=True),
    Row("CombinedNonMaxSuppression", [np.zeros((1, 2, 1, 4), F32), np.zeros((1, 2, 3), F32), np.int32(0), np.int32(1),
        F32(0.3), F32(0.3)], refused=True),
)  # fmt: skip
def test_combined(row: Row) -> None:
    check(row)


def test_messages() -> None:
    call, flat = bound(_nms("NonMaxSuppressionV2", 3, 1.5))
    with pytest.raises(ExecutionError, match=r"`iou_threshold`: expected 0 to 1, found 1\.5"):
        call.run(NUMPY, flat)
