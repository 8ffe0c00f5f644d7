"""Connectionist temporal classification and the edit distance against TensorFlow."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from coldframe.errors import ExecutionError
from op_harness import NUMPY, Row, bound, check, rows, sample

LOGITS = sample("float32", 8, 3, 5)
# With noise, so that no two texts are equally likely: which one TensorFlow prefers is for its heap to know.
ONES = np.eye(4, dtype=np.float32)[[0, 0, 3, 0, 1, 1, 3, 2]][:, None] * 3 + sample("float32", 8, 2, 4, low=0, high=1)


# TensorFlow takes logarithms of sums in float32, of float64 too.
ROUGH = 1e-7


def i32(*v: int) -> Any:
    return np.array(v, np.int32)


def i64(*v: Any) -> Any:
    return np.array(v, np.int64)


LENGTHS = i32(8, 5, 0)


@rows(
    *[Row("CTCGreedyDecoder", [x, n], {"merge_repeated": m}) for m in (False, True) for x, n in (
        (LOGITS, LENGTHS), (ONES, i32(8, 6)), (LOGITS.astype("float64"), i32(3, 8, 1)),
    )],
    Row("CTCGreedyDecoder", [ONES, i32(8, 8)], {"blank_index": 0}),
    Row("CTCGreedyDecoder", [ONES, i32(8, 8)], {"blank_index": -2, "merge_repeated": True}),
    Row("CTCGreedyDecoder", [ONES, i32(8, 8)], {"blank_index": 4}, refused=True),
    Row("CTCGreedyDecoder", [LOGITS, i32(9, 5, 0)], refused=True),
    Row("CTCGreedyDecoder", [LOGITS, i32(1, 5)], refused=True),
    Row("CTCGreedyDecoder", [LOGITS[0], i32(1, 1, 1)], refused=True),
    Row("CTCGreedyDecoder", [LOGITS[:0], i32(0, 0, 0)], refused=True),
)  # fmt: skip
def test_greedy(row: Row) -> None:
    check(row)


def beam(x: Any, lengths: Any, width: int, top: int, refused: bool = False, **attrs: Any) -> Row:
    attrs |= {"beam_width": width, "top_paths": top}
    return Row(
        "CTCBeamSearchDecoder", [x, lengths], attrs, refused=refused, tol=ROUGH if x.dtype == np.float64 else None
    )


@rows(
    beam(LOGITS, i32(8, 5, 3), 10, 3),
    beam(LOGITS, i32(8, 5, 3), 3, 2, merge_repeated=False),
    beam(LOGITS, LENGTHS, 1, 1),
    beam(ONES, i32(8, 8), 20, 4),
    beam(ONES, i32(8, 8), 20, 4, merge_repeated=False),
    beam(sample("float32", 20, 4, 8, seed=3), i32(20, 18, 11, 2), 12, 5),
    beam(sample("float64", 20, 2, 8, seed=4), i32(20, 7), 6, 1),
    beam(LOGITS, LENGTHS, 10, 3, refused=True),
    beam(LOGITS, i32(8, 5, 3), 2, 3, refused=True),
    beam(LOGITS, i32(9, 5, 3), 2, 1, refused=True),
)
def test_beam_search(row: Row) -> None:
    check(row)


def loss(x: Any, texts: list[list[int]], lengths: Any, refused: bool = False, **attrs: Any) -> Row:
    at = [(b, k) for b, text in enumerate(texts) for k in range(len(text))]
    labels = [i64(*at).reshape(-1, 2), i32(*(label for text in texts for label in text))]
    tol = ROUGH if x.dtype == np.float64 else None
    return Row(
        "CTCLoss", [x, *labels, lengths], attrs, refused=refused, tol=tol, name=f"{texts} {lengths} {attrs} {x.dtype}"
    )


TEXTS = [[0, 1, 1, 3], [2, 2], [1]]


def loss_of_many(**attrs: Any) -> Row:
    """More texts than are computed at once, so long that TensorFlow's sums in float32 are rough."""
    texts = [np.random.default_rng(b).integers(5, size=1 + b * 7 % 20).tolist() for b in range(40)]
    row = loss(sample("float32", 60, 40, 6), texts, np.arange(60, 20, -1, dtype=np.int32), **attrs)
    return dataclasses.replace(row, tol=1e-4, name=f"many {attrs}")


@rows(
    loss(LOGITS, TEXTS, i32(8, 5, 3)),
    loss(LOGITS.astype("float64"), TEXTS, i32(8, 8, 1)),
    loss(LOGITS, TEXTS, i32(8, 5, 3), ctc_merge_repeated=False),
    loss(LOGITS, TEXTS, i32(8, 5, 3), preprocess_collapse_repeated=True),
    loss(LOGITS, [[0, 1, 1, 3], [2, 2], []], i32(8, 2, 3), refused=True),
    loss(LOGITS, TEXTS, i32(8, 1, 3), refused=True),
    loss(LOGITS, TEXTS, i32(8, 1, 3), ignore_longer_outputs_than_inputs=True),
    loss(LOGITS, [[0], [1], []], i32(8, 8, 0), refused=True),
    loss(LOGITS, [[0], [1], [2]], i32(8, 8, 0), ignore_longer_outputs_than_inputs=True),
    loss(LOGITS, [[0], [1], [2]], i32(8, 8, 0), refused=True),
    loss(LOGITS, [[0], [2, 2], [1]], i32(8, 2, 3)),
    loss(LOGITS * 50, TEXTS, i32(8, 5, 3)),
    loss_of_many(),
    loss_of_many(ctc_merge_repeated=False),
    loss(LOGITS, [[0, 4], [1], [1, 5]], i32(8, 5, 3)),
    loss(LOGITS, [[0, 7, 4], [1], [2]], i32(8, 5, 3)),
    loss(LOGITS, [[0, 4, 1], [1], [2]], i32(8, 5, 3), refused=True),
    loss(LOGITS, [[0, -1], [1], [2]], i32(8, 5, 3), refused=True),
    loss(LOGITS, TEXTS, i32(9, 5, 3), refused=True),
    loss(LOGITS, TEXTS, i32(8, 5), refused=True),
    loss(LOGITS, [*TEXTS, [1]], i32(8, 5, 3), refused=True),
)
def test_loss(row: Row) -> None:
    check(row)


def test_says_which_text_is_too_long() -> None:
    call, flat = bound(loss(LOGITS, TEXTS, i32(8, 1, 3)))
    with pytest.raises(ExecutionError, match="the text of batch 1 is longer than its steps: expected at most 1"):
        call.run(NUMPY, flat)


def sparse(rows_: dict[Any, Any], shape: tuple[int, ...], kind: Any) -> list[Any]:
    at = [(*place, k) for place, text in rows_.items() for k in range(len(text))]
    values = np.array([v for text in rows_.values() for v in text], kind)
    return [i64(*at).reshape(-1, len(shape)), values, i64(*shape)]


def distance(made: dict[Any, Any], truth: dict[Any, Any], kind: Any = np.int64, **attrs: Any) -> Row:
    inputs = [*sparse(made, (3, 6), kind), *sparse(truth, (4, 5), kind)]
    return Row("EditDistance", inputs, attrs, name=f"{made} {truth} {attrs}")


LONG = [
    sparse({(row,): np.random.default_rng(seed + row).integers(4, size=70 * row) for row in range(4)}, (4, 210), int)
    for seed in (0, 10)
]
MADE = {(0,): [1, 2, 3], (1,): [1, 1, 1, 1], (2,): [5]}
TRUTH = {(0,): [1, 3, 4], (1,): [2], (3,): [7, 8]}


@rows(
    distance(MADE, TRUTH),
    distance(MADE, TRUTH, normalize=False),
    distance(MADE, MADE),
    Row("EditDistance", [*LONG[0], *LONG[1]], name="long"),
    distance({}, TRUTH),
    distance(MADE, {}),
    distance(MADE, {}, normalize=False),
    distance({(0,): [b"a", b"b"]}, {(0,): [b"b", b"c"]}, object),
    distance({(0,): [1.5, 2]}, {(0,): [2, 1.5]}, np.float32),
    distance({(0,): [1, 2]}, {(0,): [2, 1]}, np.uint8),
    Row("EditDistance", [*sparse(MADE, (3, 1), int), *sparse(TRUTH, (4, 2), int)], name="rows longer than the shape"),
    Row("EditDistance", [*sparse({(5,): [1]}, (3, 6), int), *sparse(TRUTH, (4, 2), int)], refused=True),
    Row("EditDistance", [*sparse(MADE, (3, 6), int), *sparse({(0, 1): [1]}, (4, 2, 5), int)], refused=True),
    Row("EditDistance", [*sparse({(0, 1): [1, 2]}, (2, 2, 5), int), *sparse({(0, 1): [1]}, (2, 3, 5), int)]),
    Row("EditDistance", [*sparse({(): [1]}, (4,), int), *sparse({(): [1]}, (4,), int)], refused=True),
)
def test_edit_distance(row: Row) -> None:
    check(row)
