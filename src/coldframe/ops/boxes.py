"""Boxes of object detectors: non-maximum suppression.

Candidates above the score threshold are taken by descending score, the lower index first among equals; one that
overlaps a selected box by more than the threshold (intersection over union) is dropped, or, in soft suppression, loses
score. Corners may come in any order. All in float32.
"""

from __future__ import annotations

import dataclasses
import heapq
from typing import Any

import numpy as np
import numpy.typing as npt

from coldframe import dtypes
from coldframe.ops import inference_nn
from coldframe.ops.table import op
from coldframe.primitives.base import Unlowerable, refuse
from coldframe.records import dataclass

Array = npt.NDArray[Any]
_LOWEST = float(np.finfo(np.float32).min)
_BLOCK = 32


@dataclass(frozen=True, slots=True)
class Limits:
    """What to keep: at most `count` boxes above `score`, overlapping by at most `iou`; `sigma` > 0 is soft."""

    count: int
    iou: float
    score: float = _LOWEST
    sigma: float = 0.0


def _scalar(x: Any, name: str) -> Any:
    if np.ndim(x):
        raise refuse(f"`{name}` is not a scalar", found=f"rank {np.ndim(x)}")
    return x


def _limits(count: Array, iou: Any, score: Any = _LOWEST, sigma: Any = 0.0) -> Limits:
    out = Limits(
        int(_scalar(count, "max_output_size")), float(_scalar(iou, "iou_threshold")),
        float(_scalar(score, "score_threshold")), float(_scalar(sigma, "soft_nms_sigma")),
    )  # fmt: skip
    if not 0 <= out.iou <= 1:
        raise refuse("`iou_threshold`", expected="0 to 1", found=out.iou)
    if out.sigma < 0:
        raise refuse("`soft_nms_sigma` is negative", found=out.sigma)
    if out.count < 0:
        raise refuse("`max_output_size` is negative", found=out.count)
    return out


def _check(xp: Any, boxes: Any, scores: Any) -> None:
    if xp.rank(boxes) != 2 or xp.dim(boxes, 1) not in (4, None) or xp.rank(scores) != 1:
        raise refuse(
            "boxes", expected="`boxes` [n, 4] and `scores` [n]", found=f"ranks {xp.rank(boxes)}, {xp.rank(scores)}"
        )
    n, k = xp.dim(boxes, 0), xp.dim(scores, 0)
    if isinstance(n, int) and isinstance(k, int) and n != k:
        raise refuse("`boxes` and `scores` differ in length", expected=n, found=k)


class Overlaps:
    """Intersection over union of boxes [n, 4]; boxes without area overlap nothing."""

    def __init__(self, boxes: Array) -> None:
        b = boxes.astype(np.float32)
        self.low = np.minimum(b[:, :2], b[:, 2:])
        self.high = np.maximum(b[:, :2], b[:, 2:])
        self.area = np.prod(self.high - self.low, axis=1, dtype=np.float32)
        self.solid = bool((self.area > 0).all())

    def of(self, i: int, others: Array) -> Array:
        """Overlap of box `i` with each of `others`."""
        side = np.minimum(self.high[i], self.high[others]) - np.maximum(self.low[i], self.low[others])
        np.maximum(side, 0, out=side)
        return self._shares(side[:, 0] * side[:, 1], self.area[i], self.area[others])

    def _shares(self, inner: Array, own: Array, area: Array) -> Array:
        union = own + area - inner
        if self.solid:
            share: Array = inner / union
            return share
        solid = (own > 0) & (area > 0)
        return np.where(solid, inner / np.where(solid, union, 1), 0)

    def between(self, some: Array, others: Array) -> Array:
        """Overlap of each of `some` boxes with each of `others`: a matrix."""
        high, low = self.high[some].T[:, :, None], self.low[some].T[:, :, None]
        side = np.minimum(high, self.high[others].T[:, None]) - np.maximum(low, self.low[others].T[:, None])
        np.maximum(side, 0, out=side)
        return self._shares(side[0] * side[1], self.area[some][:, None], self.area[others])


def suppress(boxes: Array, scores: Array, limits: Limits, overlaps: Overlaps | None = None) -> tuple[Array, Array]:
    """Return the indices of the selected boxes, int32, and their scores.

    Candidates are looked at a block at a time: who overlaps whom in it is one matrix, which numpy makes as fast as a
    few of its rows. `overlaps` are those of the boxes, where they are known.
    """
    if limits.sigma > 0:
        return _suppress_softly(boxes, scores, limits)
    candidates = np.flatnonzero(scores > limits.score)
    rest = candidates[np.argsort(-scores[candidates], kind="stable")]
    overlaps = overlaps or Overlaps(boxes)
    most = np.float32(limits.iou)
    index = np.zeros(0, np.int64)
    while len(rest) and len(index) < limits.count:
        wanted = limits.count - len(index)
        size = min(max(_BLOCK, wanted + wanted // 2), 8 * _BLOCK)
        block, rest = rest[:size], rest[size:]
        if len(index):
            block = block[~(overlaps.between(index, block) > most).any(axis=0)]
        index = np.concatenate([index, block[_greedy(overlaps.between(block, block) > most, wanted)]])
    return index.astype(np.int32), scores[index]


def _greedy(drops: Array, wanted: int) -> list[int]:
    """Return the first `wanted` that none before them drops; `drops` [n, n] tells which drops which."""
    gone = np.zeros(len(drops), bool)
    taken: list[int] = []
    for i in range(len(drops)):
        if not gone[i]:
            taken.append(i)
            if len(taken) == wanted:
                break
            gone |= drops[i]
    return taken


def _suppress_softly(boxes: Array, scores: Array, limits: Limits) -> tuple[Array, Array]:
    """Overlaps lower the scores of what is left, by exp(-overlap^2 / (2 sigma)), whatever the threshold."""
    overlaps, decay = Overlaps(boxes), np.float32(-0.5) / np.float32(limits.sigma)
    high = scores.astype(np.float32)
    candidates = np.flatnonzero(high > limits.score)
    queue = [(-s, i, 0) for s, i in zip(high[candidates].tolist(), candidates.tolist(), strict=True)]
    heapq.heapify(queue)
    selected = np.empty(min(limits.count, len(queue)), np.int64)
    kept: list[float] = []
    while queue and len(kept) < limits.count:
        negated, i, seen = heapq.heappop(queue)
        score = -negated
        if seen < len(kept):
            overlap = overlaps.of(i, selected[seen : len(kept)][::-1])
            factors = np.exp(decay * overlap * overlap)
            left = np.multiply.accumulate(np.concatenate([[np.float32(score)], factors], dtype=np.float32))
            low = np.flatnonzero(left[1:] <= limits.score)  # where TensorFlow's kernel stops
            score = float(left[low[0] + 1] if len(low) else left[-1])
        if score == -negated:
            selected[len(kept)] = i
            kept.append(score)
        elif score > limits.score:
            heapq.heappush(queue, (-score, i, len(kept)))
    return selected[: len(kept)].astype(np.int32), np.array(kept, np.float32)


@op("NonMaxSuppressionWithOverlaps", shape="[n, n] [n] -> [?]", host="ONNX computes overlaps itself", no_gradient=True)
def non_max_suppression_with_overlaps(
    xp: Any, overlaps: Array, scores: Array, max_output_size: Array, overlap_threshold: Array, score_threshold: Array
) -> Any:
    """The indices of the best boxes, of which it is given how much each two of them overlap."""
    n = len(scores) if scores.ndim == 1 else -1
    if overlaps.shape != (n, n):
        raise refuse("`overlaps` do not fit `scores`", expected=f"[{n}, {n}]", found=list(overlaps.shape))
    count = int(_scalar(max_output_size, "max_output_size"))
    most, least = (float(_scalar(x, k)) for x, k in ((overlap_threshold, "overlap_threshold"),
                                                     (score_threshold, "score_threshold")))  # fmt: skip
    order = np.argsort(-scores, kind="stable")
    order = order[: int(np.argmin(np.append(scores[order] > least, False)))]
    gone, chosen = np.zeros(n, bool), list[int]()
    for i in order.tolist():
        if len(chosen) >= count:
            break
        if not gone[i]:
            chosen.append(i)
            gone |= overlaps[:, i] > most
    return np.array(chosen, np.int32)


def _padded(x: Array, n: int) -> Array:
    return np.concatenate([x, np.zeros(n - len(x), x.dtype)]) if len(x) < n else x


def _emit(xp: Any, boxes: Any, scores: Any, count: Any, iou: Any, score: Any) -> Any:
    """The ONNX op for one batch of one class; the indices of its third column, int32."""
    _check(xp, boxes, scores)
    if boxes.dtype is not dtypes.float32:
        raise Unlowerable("ONNX suppresses float32 boxes only")
    if xp.rank(count):
        raise Unlowerable("`max_output_size` is no scalar")
    f32, one = dtypes.float32, xp.constant(np.array([1], np.int64))
    count = xp.require(xp.cast(count, dtypes.int64), xp.greater_equal(count, 0), "a negative `max_output_size`")
    limits = [xp.reshape(xp.cast(v, d), one) for v, d in ((count, dtypes.int64), (iou, f32), (score, f32))]
    batch = [xp.expand_dims(boxes, [0]), xp.expand_dims(scores, [0, 1])]
    chosen = xp.node("NonMaxSuppression", [*batch, *limits], dtype=dtypes.int64, dims=(None, 3))
    return xp.cast(xp.squeeze(xp.slice_axis(chosen, 1, 2, 3), [1]), dtypes.int32)


@op("NonMaxSuppressionV2", no_gradient=True, shape="[n, 4] [n] -> [?]", heavy=True)
def non_max_suppression(xp: Any, boxes: Array, scores: Array, max_output_size: Array, iou_threshold: Array) -> Any:
    """The indices of the best boxes that overlap little."""
    _check(xp, boxes, scores)
    return suppress(boxes, scores, _limits(max_output_size, iou_threshold))[0]


@non_max_suppression.onnx
def _(xp: Any, boxes: Any, scores: Any, max_output_size: Any, iou_threshold: Any) -> Any:
    return _emit(xp, boxes, scores, max_output_size, iou_threshold, xp.constant(np.float32(_LOWEST)))


@op("NonMaxSuppression", no_gradient=True, shape="[n, 4] [n] -> [?]", heavy=True)
def non_max_suppression_v1(
    xp: Any, boxes: Array, scores: Array, max_output_size: Array, *, iou_threshold: float
) -> Any:
    """The indices of the best boxes that overlap little."""
    return non_max_suppression.body(xp, boxes, scores, max_output_size, np.float32(iou_threshold))


@non_max_suppression_v1.onnx
def _(xp: Any, boxes: Any, scores: Any, max_output_size: Any, *, iou_threshold: float) -> Any:
    limit = xp.constant(np.float32(iou_threshold))
    return non_max_suppression.rules["onnx"](xp, boxes, scores, max_output_size, limit)


@op("NonMaxSuppressionV3", shape="[n, 4] [n] -> [?]", heavy=True)
def non_max_suppression_v3(
    xp: Any, boxes: Array, scores: Array, max_output_size: Array, iou_threshold: Array, score_threshold: Array
) -> Any:
    """The indices of the best boxes that overlap little and score above a threshold."""
    _check(xp, boxes, scores)
    return suppress(boxes, scores, _limits(max_output_size, iou_threshold, score_threshold))[0]


@non_max_suppression_v3.onnx
def _(xp: Any, boxes: Any, scores: Any, max_output_size: Any, iou_threshold: Any, score_threshold: Any) -> Any:
    return _emit(xp, boxes, scores, max_output_size, iou_threshold, score_threshold)


@op("NonMaxSuppressionV4", shape=inference_nn.suppression, heavy=True)
def non_max_suppression_v4(
    xp: Any, boxes: Array, scores: Array, max_output_size: Array, iou_threshold: Array, score_threshold: Array,
    *, pad_to_max_output_size: bool,
) -> Any:  # fmt: skip
    """NonMaxSuppressionV3, padded with zeros if asked, and the number of boxes selected."""
    _check(xp, boxes, scores)
    limits = _limits(max_output_size, iou_threshold, score_threshold)
    index = suppress(boxes, scores, limits)[0]
    return _padded(index, limits.count) if pad_to_max_output_size else index, np.int32(len(index))


@non_max_suppression_v4.onnx
def _(
    xp: Any, boxes: Any, scores: Any, max_output_size: Any, iou_threshold: Any, score_threshold: Any,
    *, pad_to_max_output_size: bool,
) -> Any:  # fmt: skip
    index = _emit(xp, boxes, scores, max_output_size, iou_threshold, score_threshold)
    n = xp.dim(index, 0)
    if pad_to_max_output_size:
        missing = xp.reshape(xp.subtract(xp.cast(max_output_size, dtypes.int64), n), [1])
        index = xp.concat([index, xp.full(missing, xp.constant(np.int32(0)))], 0)
        if max_output_size.const is not None:
            index = dataclasses.replace(index, dims=(int(max_output_size.const),))
    return index, xp.cast(n, dtypes.int32)


@op("NonMaxSuppressionV5", shape=inference_nn.suppression, host="ONNX has no soft suppression")
def non_max_suppression_v5(
    xp: Any, boxes: Array, scores: Array, max_output_size: Array, iou_threshold: Array, score_threshold: Array,
    soft_nms_sigma: Array, *, pad_to_max_output_size: bool,
) -> Any:  # fmt: skip
    """NonMaxSuppressionV4 with soft suppression where sigma is positive, and the scores it leaves."""
    _check(xp, boxes, scores)
    limits = _limits(max_output_size, iou_threshold, score_threshold, soft_nms_sigma)
    index, left = suppress(boxes, scores, limits)
    n, left = np.int32(len(index)), left.astype(scores.dtype)
    return (
        (_padded(index, limits.count), _padded(left, limits.count), n) if pad_to_max_output_size else (index, left, n)
    )


@op("CombinedNonMaxSuppression", shape=inference_nn.combined_suppression, heavy=True)
def combined_non_max_suppression(
    xp: Any, boxes: Array, scores: Array, max_output_size_per_class: Array, max_total_size: Array,
    iou_threshold: Array, score_threshold: Array, *, pad_per_class: bool, clip_boxes: bool,
) -> Any:  # fmt: skip
    """Suppression per image and class, then the best boxes of each image over all classes, padded with zeros."""
    if boxes.ndim != 4 or boxes.shape[3] != 4 or scores.ndim != 3:
        raise refuse(
            "boxes", expected="`boxes` [b, n, q, 4] and `scores` [b, n, c]", found=f"{boxes.shape}, {scores.shape}"
        )
    if boxes.shape[:2] != scores.shape[:2] or boxes.shape[2] not in (1, scores.shape[2]):
        raise refuse("`boxes` and `scores` do not belong together", expected=boxes.shape, found=scores.shape)
    limits = _limits(max_output_size_per_class, iou_threshold, score_threshold)
    total, classes = int(_scalar(max_total_size, "max_total_size")), scores.shape[2]
    if limits.count <= 0 or total <= 0:
        raise refuse("sizes are not positive", found=[limits.count, total])
    if pad_per_class:
        total = min(total, limits.count * classes)
    parts = [_best(b, s, limits, total, clip_boxes) for b, s in zip(boxes, scores, strict=True)]
    if not parts:
        return _no_detections(total)
    return tuple(np.stack(column) for column in zip(*parts, strict=True))


@combined_non_max_suppression.onnx
def _(
    xp: Any, boxes: Any, scores: Any, max_output_size_per_class: Any, max_total_size: Any, iou_threshold: Any,
    score_threshold: Any, *, pad_per_class: bool, clip_boxes: bool,
) -> Any:  # fmt: skip
    """ONNX chooses per class; among all, the best are those of a table of scores in which others are -inf."""
    per_class, total, iou = (v.const for v in (max_output_size_per_class, max_total_size, iou_threshold))
    if boxes.ndim != 4 or scores.ndim != 3 or boxes.dims[2:] != (1, 4) or not scores.dims[0] != 0:
        raise Unlowerable("boxes of each class apart")
    n, classes = scores.dims[1:]
    if not n or not classes or boxes.dims[1] != n or boxes.dtype is not dtypes.float32:
        raise Unlowerable("how many boxes there are is not known when compiling")
    if per_class is None or total is None or iou is None or min(per_class, total) <= 0 or not 0 <= iou <= 1:
        raise Unlowerable("how many boxes are wanted is not known when compiling")
    total = min(int(total), int(per_class) * classes) if pad_per_class else int(total)
    f32, i64, one = dtypes.float32, dtypes.int64, xp.constant(np.array([1], np.int64))
    limits = [xp.constant(np.array([per_class], np.int64)), xp.constant(np.array([iou], np.float32)),
              xp.reshape(xp.cast(score_threshold, f32), one)]  # fmt: skip
    boxes, table = xp.squeeze(boxes, [2]), xp.transpose(scores, [0, 2, 1])
    chosen = xp.node("NonMaxSuppression", [boxes, table, *limits], dtype=i64, dims=(None, 3))
    left = xp.node("GatherND", [table, chosen], dtype=f32, dims=(None,))
    none = xp.full(xp.shape(table), xp.constant(np.float32(-np.inf)))
    table = xp.reshape(xp.node("ScatterND", [none, chosen, left], dtype=f32, dims=table.dims), [-1, n * classes])
    values, where = xp.top_k(table, min(total, n * classes))
    valid = xp.greater(values, xp.constant(np.float32(-np.inf)))
    which = xp.floor_mod(where, xp.constant(np.int32(n)))
    places = xp.expand_dims(xp.cast(which, i64), [2])
    found = xp.node("GatherND", [boxes, places], dtype=f32, dims=(*values.dims, 4), batch_dims=1)
    found = xp.clip(found, 0.0, 1.0) if clip_boxes else found
    label = xp.cast(xp.floor_divide(xp.subtract(where, which), xp.constant(np.int32(n))), f32)
    nothing, missing = xp.constant(np.float32(0)), total - min(total, n * classes)
    out = [
        xp.where(xp.expand_dims(valid, [2]), found, nothing),
        *(xp.where(valid, v, nothing) for v in (values, label)),
    ]
    if missing:
        out = [xp.pad(v, [(0, 0), (0, missing), (0, 0)][: v.ndim]) for v in out]
    return *out, xp.sum(xp.cast(valid, dtypes.int32), (1,))


def _no_detections(total: int) -> tuple[Array, ...]:
    return np.zeros((0, total, 4), np.float32), *(np.zeros((0, total), np.float32),) * 2, np.zeros(0, np.int32)


def _best(boxes: Array, scores: Array, limits: Limits, total: int, clip: bool) -> tuple[Any, ...]:
    """Boxes [total, 4], scores, classes and the number of one image's detections."""
    found: list[tuple[Array, Array, Array]] = []
    shared = Overlaps(boxes[:, 0]) if boxes.shape[1] == 1 else None
    for c in range(scores.shape[1]):
        own = boxes[:, c if boxes.shape[1] > 1 else 0]
        index, left = suppress(own, scores[:, c], limits, shared)
        found.append((own[index], left, np.full(len(index), c, np.float32)))
    coordinates, values, classes = (np.concatenate(column) for column in zip(*found, strict=True))
    order = np.argsort(-values, kind="stable")[:total]
    chosen = np.clip(coordinates[order], 0, 1) if clip else coordinates[order]
    n = len(order)
    out = np.zeros((total, 4), np.float32)
    out[:n] = chosen
    return out, _padded(values[order], total), _padded(classes[order], total), np.int32(n)
