"""Connectionist temporal classification, and the edit distance.

`inputs` are logits [time, batch, classes]; the last class is the blank unless an attribute says otherwise. A path of
one class per step spells a text: repeated classes are one, then blanks are left out.
"""

from __future__ import annotations

import bisect
import math
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from coldframe.ops import inference_text
from coldframe.ops.sparse import check_inside, check_sparse, starts_of
from coldframe.ops.table import op
from coldframe.primitives.base import refuse
from coldframe.primitives.numpy_shape import dims

Array = npt.NDArray[Any]
_HOST: Final = "texts differ in length"
_MARGIN: Final = 1e-12  # more than what a sum is rounded by, relative to its parts
_LEAST: Final = float(np.finfo(np.float64).min)
_AT_ONCE: Final = 1 << 16  # numbers of texts whose losses are computed together
_NEVER: Final = -math.inf  # the logarithm of a probability of 0
_ONCE: Final = "the loss comes with its gradient; that gradient has none of its own"


def _check(inputs: Array, sequence_length: Array) -> tuple[int, int, int]:
    if inputs.ndim != 3:
        raise refuse("logits", expected="rank 3: time, batch, classes", found=f"shape {list(inputs.shape)}")
    steps, batch, classes = inputs.shape
    if not inputs.size:
        raise refuse("logits are empty", found=list(inputs.shape))
    if sequence_length.shape != (batch,):
        raise refuse("`sequence_length`", expected=f"{batch} lengths", found=f"shape {list(sequence_length.shape)}")
    if sequence_length.max(initial=0) > steps or sequence_length.min(initial=0) < 0:
        raise refuse("`sequence_length`", expected=f"0 to {steps}", found=sequence_length.tolist())
    return steps, batch, classes


def _texts(texts: list[list[int]]) -> tuple[Array, Array, Array]:
    """Return a sparse matrix of one text per row."""
    at = [(row, k) for row, text in enumerate(texts) for k in range(len(text))]
    values = np.array([label for text in texts for label in text], np.int64)
    shape = np.array([len(texts), max(map(len, texts), default=0)], np.int64)
    return np.array(at, np.int64).reshape(-1, 2), values, shape


@op("CTCGreedyDecoder", shape="[t, b, c] [b] -> [?, 2] [?] [2] [b, 1]", host=_HOST, no_gradient=True)
def ctc_greedy_decoder(
    xp: Any, inputs: Array, sequence_length: Array, *, merge_repeated: bool, blank_index: int
) -> Any:
    """The text of the likeliest class at each step, and minus the sum of these classes' logits."""
    steps, batch, classes = _check(inputs, sequence_length)
    if not -classes <= blank_index < classes:
        raise refuse("`blank_index`", expected=f"-{classes} to {classes - 1}", found=blank_index)
    blank = blank_index % classes
    best = inputs.argmax(axis=2)
    score = np.take_along_axis(inputs, best[..., None], 2)[..., 0]
    path, sums = best.T, np.zeros((batch, 1), inputs.dtype)
    for b, n in enumerate(sequence_length.tolist()):
        sums[b] = -score[:n, b].sum()
    keep = (path != blank) & (np.arange(steps) < sequence_length[:, None])
    if merge_repeated:
        keep[:, 1:] &= path[:, 1:] != path[:, :-1]
    rows, lengths = np.nonzero(keep)[0], np.count_nonzero(keep, axis=1)
    places = np.arange(len(rows)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    shape = np.array([batch, lengths.max(initial=0)], np.int64)
    return np.stack([rows, places], axis=1), path[keep].astype(np.int64), shape, sums


# --- beam search ---
class _Beam:
    """A text in the search: log probabilities of its paths that end in a blank, in its last label, and of both."""

    __slots__ = ("blank", "children", "label", "labelled", "old_blank", "old_total", "parent", "total")

    def __init__(self, parent: _Beam | None, label: int) -> None:
        self.parent, self.label = parent, label
        self.children: dict[int, _Beam] = {}
        self.old_blank = self.old_total = _NEVER
        self.reset()

    def reset(self) -> None:
        self.blank = self.labelled = self.total = _NEVER


def _either(a: float, b: float) -> float:
    """Return log(exp(a) + exp(b))."""
    high, low = (a, b) if a > b else (b, a)
    return high if low == _NEVER else high + math.log1p(math.exp(low - high))


def _searched(log_probs: list[list[float]], width: int) -> list[_Beam]:
    """Return the likeliest texts, best first. The last class is the blank."""
    root = _Beam(None, -1)
    root.blank = root.total = 0.0
    leaves = [root]
    for row in log_probs:
        leaves = _stepped(leaves, row, width)
    return leaves


def _stepped(branches: list[_Beam], row: list[float], width: int) -> list[_Beam]:
    for b in branches:
        b.old_blank, b.old_total = b.blank, b.total
    for b in branches:
        parent = b.parent
        if parent is not None:
            if parent.total != _NEVER:
                before = parent.old_blank if b.label == parent.label else parent.old_total
                b.labelled = _either(b.labelled, before)
            b.labelled += row[b.label]
        b.blank = b.old_total + row[-1]
        b.total = _either(b.blank, b.labelled)
    leaves = sorted(branches, key=_total)  # the worst first
    likeliest = sorted(range(len(row) - 1), key=row.__getitem__)
    known = [row[label] for label in likeliest]
    lost: dict[_Beam, list[int]] = {}  # labels of those that have dropped out: whom their parents come back to
    for b in branches:
        if not _wanted(b.old_total, leaves, width):
            continue
        labels = sorted({*likeliest[_hopeless(known, b.old_total, leaves, width) :], *lost.get(b, ())})
        for label in labels:
            child = b.children.get(label)
            if child is None:
                child = b.children[label] = _Beam(b, label)
            if child.total != _NEVER:
                continue
            total = row[label] + (b.old_blank if label == b.label else b.old_total)
            if not _wanted(total, leaves, width):
                child.old_blank = child.old_total = _NEVER
                continue
            child.blank, child.labelled, child.total = _NEVER, total, total
            if len(leaves) == width:
                out = leaves.pop(0)
                out.reset()
                if out.parent is b and out.label > label and out.label not in labels:
                    bisect.insort(labels, out.label)
                elif out.parent is not None:
                    lost.setdefault(out.parent, []).append(out.label)
            leaves.insert(bisect.bisect_left(leaves, total, key=_total), child)
    return leaves[::-1]


def _hopeless(known: list[float], before: float, leaves: list[_Beam], width: int) -> int:
    """Return how many of the ascending `known` are too little to be wanted behind a beam of `before`."""
    if len(leaves) < width:
        return 0
    worst = leaves[0].total  # it only gets better
    return bisect.bisect_left(known, worst - before - _MARGIN * (1 + abs(worst) + abs(before)))


def _total(beam: _Beam) -> float:
    return beam.total


def _wanted(total: float, leaves: list[_Beam], width: int) -> bool:
    return total > _NEVER and (len(leaves) < width or total > leaves[0].total)


def _spelled(beam: _Beam, merge: bool) -> list[int]:
    out: list[int] = []
    last, at = -1, beam
    while at.parent is not None:
        if not merge or at.label != last:
            out.append(at.label)
        last, at = at.label, at.parent
    return out[::-1]


@op("CTCBeamSearchDecoder", shape=inference_text.beam_search, host=_HOST, no_gradient=True)
def ctc_beam_search_decoder(
    xp: Any, inputs: Array, sequence_length: Array, *, beam_width: int, top_paths: int, merge_repeated: bool
) -> Any:
    """The likeliest texts that a beam search finds, and the logarithms of their probabilities."""
    _, batch, _ = _check(inputs, sequence_length)
    if top_paths > beam_width:
        raise refuse("`top_paths`", expected=f"at most `beam_width`, {beam_width}", found=top_paths)
    logs = _log_softmax(inputs.astype(np.float64))
    texts: list[list[list[int]]] = [[] for _ in range(top_paths)]
    sums = np.zeros((batch, top_paths), inputs.dtype)
    for b, n in enumerate(sequence_length.tolist()):
        found = _searched(logs[:n, b].tolist(), beam_width)
        if len(found) < top_paths:
            raise refuse(f"texts found for batch {b}", expected=top_paths, found=len(found))
        for k, beam in enumerate(found[:top_paths]):
            texts[k].append(_spelled(beam, merge_repeated))
            sums[b, k] = beam.total
    parts = [_texts(t) for t in texts]
    return [p[0] for p in parts], [p[1] for p in parts], [p[2] for p in parts], sums


def _log_softmax(x: Array) -> Array:
    low = x - x.max(axis=-1, keepdims=True)
    out: Array = low - np.log(np.exp(low).sum(axis=-1, keepdims=True))
    return out


# --- loss ---
@op("CTCLoss", shape="[t, b, c] [?, 2] [l] [b] -> [b] [t, b, c]", host=_HOST)
def ctc_loss(
    xp: Any, inputs: Array, labels_indices: Array, labels_values: Array, sequence_length: Array,
    *, preprocess_collapse_repeated: bool, ctc_merge_repeated: bool, ignore_longer_outputs_than_inputs: bool,
) -> Any:  # fmt: skip
    """Minus the log probability of each text, and its gradient with respect to the logits."""
    _, batch, classes = _check(inputs, sequence_length)
    texts = _labels(labels_indices, labels_values, batch, classes, preprocess_collapse_repeated)
    steps = sequence_length.astype(np.int64)
    lengths = np.array([len(text) for text in texts])
    if not ignore_longer_outputs_than_inputs and (lengths > steps).any():
        b = int(np.argmax(lengths > steps))
        raise refuse(
            f"the text of batch {b} is longer than its steps", expected=f"at most {steps[b]}", found=int(lengths[b])
        )
    loss, gradient = np.zeros(batch, inputs.dtype), np.zeros_like(inputs)
    wanted = np.flatnonzero((lengths <= steps) & (steps > 0))
    size = max(_AT_ONCE // (int(steps.max()) * (2 * int(lengths.max()) + 1)), 1)
    for some in (wanted[k : k + size] for k in range(0, len(wanted), size)):
        n = steps[some]
        logits = inputs[: n.max(), some]
        low = logits - logits.max(axis=2, keepdims=True)
        y = np.exp(low)
        y /= y.sum(axis=2, keepdims=True)
        totals, share = _shares(y, n, [texts[b] for b in some.tolist()], ctc_merge_repeated)
        loss[some] = -totals
        past = np.arange(len(y))[:, None] >= n
        gradient[: len(y), some] = np.where(past[..., None], 0, y - share)
    return loss, gradient


@ctc_loss.gradient
def _(g: Any, op: Any, dloss: Any, _: Any) -> Any:
    once = g.PreventGradient(op.outputs[1], message=_ONCE)
    return g.ExpandDims(dloss, -1) * once, None, None, None


def _labels(indices: Array, values: Array, batch: int, classes: int, collapse: bool) -> list[list[int]]:
    if indices.ndim != 2 or indices.shape[1] != 2 or values.shape != (len(indices),):
        raise refuse("labels", expected="a sparse matrix", found=[list(indices.shape), list(values.shape)])
    out: list[list[int]] = [[] for _ in range(batch)]
    for (row, _), label in zip(indices.tolist(), values.tolist(), strict=True):
        if not 0 <= row < batch:
            raise refuse("row of a label", expected=f"0 to {batch - 1}", found=row)
        if label < 0:
            raise refuse("a label is negative", found=label)
        out[row].append(label)
    return [_text(text, row, classes - 1, collapse) for row, text in enumerate(out)]


def _text(labels: list[int], row: int, blank: int, collapse: bool) -> list[int]:
    """Return a text without what fills its end, which is labels from the blank on."""
    end = next((k for k, label in enumerate(labels) if label >= blank), len(labels))
    if any(label < blank for label in labels[end:]):
        raise refuse(f"text of batch {row}", expected=f"labels below {blank}, then only fillers", found=labels)
    if not end:  # TensorFlow refuses no labels at all, and reads beyond its memory with nothing but fillers
        raise refuse(f"the text of batch {row} is empty")
    kept = labels[:end]
    return [label for k, label in enumerate(kept) if not (collapse and k and kept[k - 1] == label)]


def _shares(y: Array, steps: Array, texts: list[list[int]], merge: bool) -> tuple[Array, Array]:
    """Return log probabilities of texts, and how much of them each class has at each step: [time, batch, classes].

    A path goes through places, a blank around every label. It stays at its place, goes to the next, or leaves out a
    blank between two labels; where repeated labels are not merged it cannot stay at a label, but may leave out any
    blank. Read backwards, from the end of each text, it does the same, so that both ways are taken together.

    Args:
        y: probabilities of classes [time, batch, classes], of which the last is the blank. Those that are rounded to 0
            are impossible.
        steps: how many steps each text has.
        texts: the labels.
        merge: whether repeated labels are merged.
    """
    time, batch, classes = y.shape
    places = np.array([2 * len(text) + 1 for text in texts])
    spaced = np.full((batch, places.max()), classes - 1)
    for row, text in zip(spaced, texts, strict=True):
        row[1 : 2 * len(text) : 2] = text
    backwards = (
        np.maximum(steps - 1 - np.arange(time)[:, None], 0)[..., None],
        np.arange(batch)[:, None],
        np.maximum(places[:, None] - 1 - np.arange(spaced.shape[1]), 0),
    )
    logs = np.log(np.take_along_axis(y, spaced[None], 2).astype(np.float64))
    classes_of = np.concatenate([spaced, spaced[backwards[1:]]])
    before = _reached(np.concatenate([logs, logs[backwards]], axis=1), classes_of, classes - 1, merge)
    both = before[:, :batch] + logs + before[:, batch:][backwards]
    outside = (np.arange(time)[:, None] >= steps)[..., None] | (np.arange(spaced.shape[1]) >= places[:, None])
    both[outside] = _NEVER
    totals = np.logaddexp.reduce(both[0], axis=1)
    at = np.arange(time * batch).reshape(time, batch, 1) * classes + spaced
    share = np.exp(both - np.where(totals > _NEVER, totals, 0)[:, None])
    return totals, np.bincount(at.ravel(), share.ravel(), y.size).reshape(y.shape)


def _reached(logs: Array, classes: Array, blank: int, merge: bool) -> Array:
    """Return log probabilities [time, row, place] of coming to a place, without that of being there.

    Args:
        logs: those of the class of each place.
        classes: of each place [row, place].
        blank: the class of blanks.
        merge: whether repeated labels are merged.
    """
    stays = np.where((classes == blank) | merge, 0, _NEVER)
    skips = np.full(classes.shape, _NEVER)
    skips[:, 2:][(classes[:, 2:] != blank) & ((classes[:, 2:] != classes[:, :-2]) | (not merge))] = 0
    out = np.full(logs.shape, _NEVER)
    out[0, :, :2] = 0
    last = np.full((len(classes), classes.shape[1] + 2), _NEVER)  # two places before the first that nobody is at
    for t in range(1, len(logs)):
        np.add(out[t - 1], logs[t - 1], out=last[:, 2:])
        here, next_, third = last[:, 2:] if merge else last[:, 2:] + stays, last[:, 1:-1], last[:, :-2] + skips
        most = np.maximum(np.maximum(here, next_), third)
        np.maximum(most, _LEAST, out=most)  # a difference of infinities were no number
        total = np.exp(here - most)
        total += np.exp(next_ - most)
        total += np.exp(third - most)
        np.add(most, np.log(total, out=total), out=out[t])
    return out


# --- edit distance ---
@op("EditDistance", shape=inference_text.edit_distance, host=_HOST, no_gradient=True)
def edit_distance(
    xp: Any, hypothesis_indices: Array, hypothesis_values: Array, hypothesis_shape: Array, truth_indices: Array,
    truth_values: Array, truth_shape: Array, *, normalize: bool,
) -> Any:  # fmt: skip
    """How many insertions, deletions and replacements make the truth of a row of the hypothesis."""
    rows = [
        _rows(hypothesis_indices, hypothesis_values, hypothesis_shape, "the hypothesis"),
        _rows(truth_indices, truth_values, truth_shape, "the truth"),
    ]
    if len(hypothesis_shape) != len(truth_shape):
        raise refuse("the rank of the truth", expected=len(hypothesis_shape), found=len(truth_shape))
    outer = np.maximum(hypothesis_shape[:-1], truth_shape[:-1])
    out = np.zeros(dims(outer), np.float32)
    for place in rows[0].keys() | rows[1].keys():
        made, truth = rows[0].get(place, []), rows[1].get(place, [])
        distance = _distance(made, truth)
        out[place] = distance / len(truth) if normalize and truth else math.inf if normalize and made else distance
    return out


def _rows(indices: Array, values: Array, shape: Array, what: str) -> dict[tuple[int, ...], list[Any]]:
    check_sparse(indices, values, shape, what)
    if len(shape) < 2:
        raise refuse(f"the rank of {what}", expected="2 or more", found=len(shape))
    check_inside(indices[:, :-1], shape[:-1], what)  # places within a row are not looked at, as in TensorFlow
    starts = starts_of(indices[:, :-1]).tolist()
    return {
        tuple(indices[a, :-1].tolist()): values[a:b].tolist()
        for a, b in zip(starts, [*starts[1:], len(values)][: len(starts)], strict=True)
    }


def _distance(a: list[Any], b: list[Any]) -> int:
    """Return the edit distance of two texts, by the algorithm of Myers and Hyyrö.

    A row of the table of distances, a number for each place in the longer text, differs by 1 at most from one place to
    the next: `more` and `less` have a bit for each place where it does. An element of the shorter text is a few
    operations on such integers, however long they are.
    """
    if len(a) > len(b):
        a, b = b, a
    found: dict[Any, int] = {}
    for j, y in enumerate(b):
        found[y] = found.get(y, 0) | 1 << j
    whole, last, distance = (1 << len(b)) - 1, 1 << len(b) >> 1, len(b)
    more, less = whole, 0
    for x in a:
        equal = found.get(x, 0)
        same = (((equal & more) + more) ^ more) | equal | less  # as up and to the left
        up, down = less | (whole & ~(same | more)), same & more  # from the row before to this one
        distance += bool(up & last) - bool(down & last)
        up, down = up << 1 | 1, down << 1
        more, less = (down | ~(same | up)) & whole, up & same & whole
    return distance
