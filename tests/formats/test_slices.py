from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from coldframe.errors import CorruptError, MisuseError
from coldframe.formats import slices
from coldframe.formats.slices import Box, TensorSlice


@st.composite
def boxes(draw, rank=2, top=6):
    starts = draw(st.tuples(*[st.integers(0, top)] * rank))
    return Box(starts, tuple(draw(st.integers(0, top - s)) for s in starts))


def cells(box: Box) -> set[tuple[int, ...]]:
    return {tuple(int(j) + a for j, a in zip(i, box.starts, strict=True)) for i in np.ndindex(*box.sizes)}


@given(boxes(), boxes())
def test_boxes_are_sets_of_cells(a, b):
    common = a.intersect(b)
    assert (cells(common) if common else set()) == cells(a) & cells(b)
    pieces = a.minus(b)
    assert set().union(*map(cells, pieces)) == cells(a) - cells(b)
    assert sum(p.volume for p in pieces) == len(cells(a) - cells(b))


@given(boxes(), st.lists(boxes(), max_size=6))
def test_cover_means_every_cell_once(wanted, parts):
    together = [c for p in parts for c in cells(p)]
    disjoint = len(together) == len(set(together))
    if disjoint and cells(wanted) <= set(together):
        slices.require_cover(wanted, parts, name="v")
        return
    with pytest.raises(CorruptError) as caught:
        slices.require_cover(wanted, parts, name="v")
    assert ("overlap" in str(caught.value)) == (not disjoint)


def test_a_hole_is_named():
    parts = [Box((0, 0), (2, 4)), Box((3, 0), (1, 4))]
    with pytest.raises(CorruptError) as caught:
        slices.require_cover(Box.whole((4, 4)), parts, name="v", where="in f")
    assert str(caught.value) == (
        "the file does not have sufficient slices of tensor `v` in f: "
        "expected slices that cover [0:4, 0:4], found nothing for [2:3, 0:4]"
    )


def test_scalars():
    slices.require_cover(Box((), ()), [Box((), ())], name="v")
    with pytest.raises(CorruptError, match="overlap"):
        slices.require_cover(Box((), ()), [Box((), ())] * 2, name="v")
    with pytest.raises(CorruptError, match="sufficient"):
        slices.require_cover(Box((), ()), [], name="v")


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(-1, 9)), min_size=1, max_size=4))
def test_spelling_returns(extents):
    part = TensorSlice(tuple(0 if n < 0 else a for a, n in extents), tuple(n for _, n in extents))
    assert TensorSlice.parse(str(part)) == part
    shape = (20,) * len(extents)
    assert slices.parse_shape_and_slice(slices.format_shape_and_slice(shape, part)) == (shape, part)


def test_spelling():
    assert slices.parse_shape_and_slice("") is None
    assert slices.parse_shape_and_slice("4 8 0,2:-") == ((4, 8), TensorSlice((0, 0), (2, -1)))
    assert TensorSlice((0, 0), (2, -1)).resolve((4, 8)) == Box((0, 0), (2, 8))
    for bad in ("4 8 0,2", "4 x 0,2:-", "4 0;2", "4 ,", "4 1,2,3", "4 -1,2"):
        with pytest.raises(MisuseError, match="not a "):
            slices.parse_shape_and_slice(bad)


@pytest.mark.parametrize(
    ("starts", "lengths"), [((3,), (2,)), ((-1,), (1,)), ((0, 0), (1, 1)), ((1,), (-1,)), ((0,), (-2,))]
)
def test_slices_outside_their_tensor(starts, lengths):
    with pytest.raises(CorruptError, match="slice"):
        TensorSlice(starts, lengths).resolve((4,))
