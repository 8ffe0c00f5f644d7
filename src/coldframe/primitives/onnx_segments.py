"""Sums and extremes over segments in any order, as ONNX nodes.

ONNX Runtime adds up rows that share an index in two ways, ScatterElements, which takes ten times as long as to write
them, and ScatterND, whose threads lose some. So rows of some length are sorted by id, gathered to blocks of a row of
blocks per id, and summed; what does not fit in a block is scattered after it::

    ids     2 0 2 2 0            ids present  0 2
    rows    a b c d e            blocks       b e .    -> sums, written to rows 0 and 2
                                              a c d
                                 (d, were a block two rows long, would be added to row 2 afterwards)

The order of additions within a segment is that of the rows, as TensorFlow's. Products and extremes are made in the same
way, with what they begin with in the places of zeros.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from typing import Any, Final

import numpy as np

from coldframe import dtypes
from coldframe.primitives.base import Unlowerable
from coldframe.primitives.onnx_builder import OnnxValue
from coldframe.primitives.onnx_elementwise import product
from coldframe.primitives.onnx_recurrent import RecurrentOnnx
from coldframe.records import dataclass

_SUMMED: Final = ("float32", "float64", "int32", "int64")  # what ScatterElements combines and ReduceSum takes
_SHORT: Final = 8  # elements of a row; shorter ones are scattered in less time than their ids are sorted


@dataclass(frozen=True, slots=True)
class _How:
    """How rows become one.

    Attributes:
        blocks: the op type that reduces an axis.
        scatter: what ScatterElements calls it.
        pair: the op type that takes in what it begins with, where rows may be beyond that.
        start: what it begins with, by which a row without any is filled.
    """

    blocks: str
    scatter: str
    pair: str
    start: Any


_HOW: Final = {
    "add": ("ReduceSum", "add", ""), "multiply": ("ReduceProd", "mul", ""),
    "maximum": ("ReduceMax", "max", "Max"), "minimum": ("ReduceMin", "min", "Min"),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Blocks:
    """Where the rows of segments are, one more row than were given counted in, which is zeros and of no segment.

    Attributes:
        present: the segments that have rows, int64[p].
        places: by such a segment the numbers of its rows, int64[p, length]; of the zeros where it has fewer.
        rest: the numbers of the rows that did not fit, int64[r].
        segments: the segments of those, int64[r].
    """

    present: OnnxValue
    places: OnnxValue
    rest: OnnxValue
    segments: OnnxValue


class SegmentsOnnx(RecurrentOnnx):
    """Reductions over segments."""

    def __init__(self) -> None:
        super().__init__()
        self._spares: dict[tuple[str, Any], OnnxValue] = {}
        self._blocks: dict[str, _Blocks] = {}

    def segment_sums(self, data: OnnxValue, ids: OnnxValue, segments: Any, ufunc: str = "add", start: Any = 0) -> Any:
        """Sums of the rows of `data` that share an id, or what a `ufunc` makes; those with a negative id are left out.

        Args:
            data: [n, ...]; the dimensions of `ids` come first.
            ids: integers [n], or of any shape; each must be less than `segments`.
            segments: how many rows the result has, a scalar.
            ufunc: the name of what combines two rows.
            start: the number that it begins with.
        """
        how = _How(*_HOW[ufunc], start)
        if data.dtype.name not in _SUMMED:
            raise Unlowerable(f"ONNX Runtime does not scatter {data.dtype} by {how.scatter}")
        if any(d is not None and e is not None and d != e for d, e in zip(data.dims, ids.dims, strict=False)):
            raise Unlowerable("segment ids go with the leading dimensions")
        count = self.cast(self.lift(segments, dtype=dtypes.int64), dtypes.int64)
        if count.ndim or data.ndim < ids.ndim or (count.const is not None and int(count.const) < 0):
            raise Unlowerable("a number of segments, or ids, that numpy refuses")
        known = None if count.const is None else int(count.const)
        dims, length = (known, *data.dims[ids.ndim :]), product(data.dims[ids.ndim :])
        shape = self.concat([self.reshape(count, [1]), self._inner_sizes(data, ids.ndim)], 0)
        spare = self._with_spare(ids, count)
        if length == 0 or product(data.dims) == 0:
            return dataclasses.replace(self.full(shape, self._start(data, how), data.dtype), dims=dims)
        inner: Any = self.prod(self._inner_sizes(data, ids.ndim), (0,)) if length is None else length
        rows = self.reshape(data, [self.size(ids), inner])
        whole = count + 1
        empty = self.full([whole, inner], self._start(data, how), data.dtype)
        if length is not None and length < _SHORT:
            made = self._gathered(empty, self.expand_dims(spare, (1,)), rows, how)
        else:
            made = self._block_sums(empty, rows, self._blocks_of(spare, count), how)
        out = self.node("Slice", [made, *(self._ends(count))], dims=(None, length))
        return dataclasses.replace(self.reshape(out, shape), dims=dims)

    def _with_spare(self, ids: OnnxValue, count: OnnxValue) -> OnnxValue:
        """Return ids as a vector, where negative ones are the row after the last; others must be in range."""
        key = self.name_of(ids), self.name_of(count) if count.const is None else int(count.const)
        if key not in self._spares:
            flat = self.cast(self.reshape(ids, [self.size(ids)]), dtypes.int64)
            self.promise(self.less(flat, count))
            self._spares[key] = self.where(self.less(flat, 0), count, flat)
        return self._spares[key]

    def _inner_sizes(self, data: OnnxValue, first: int) -> Any:
        return self.slice_axis(self.shape(data), 0, first, None)

    def _ends(self, count: OnnxValue) -> list[OnnxValue]:
        zero = self.constant(np.zeros(1, np.int64))
        return [zero, self.reshape(count, [1]), zero]

    def _start(self, data: OnnxValue, how: _How) -> Any:
        return np.asarray(how.start, data.dtype.numpy)

    def _gathered(self, table: OnnxValue, at: OnnxValue, rows: OnnxValue, how: _How) -> OnnxValue:
        where = self.node("Expand", [at, self.shape(rows)], dims=rows.dims)
        return self.node("ScatterElements", [table, where, rows], axis=0, reduction=how.scatter)

    def _block_sums(self, empty: OnnxValue, rows: OnnxValue, blocks: _Blocks, how: _How) -> OnnxValue:
        none = self.full([1, self.dim(rows, 1)], self._start(rows, how), rows.dtype)
        padded = self.concat([rows, none], 0)
        gathered = self.node("Gather", [padded, blocks.places], dims=(None, None, rows.dims[1]), axis=0)
        axis = self.constant(np.array([1], np.int64))
        sums = self.node(how.blocks, [gathered, axis], dims=(None, rows.dims[1]), keepdims=0)
        if how.pair:  # the largest of rows of -inf is what it begins with
            sums = self.node(how.pair, [sums, self.constant(self._start(rows, how))], dims=sums.dims)
        at = self.expand_dims(blocks.present, (1,))
        table = self.node("ScatterND", [empty, at, sums])
        rest = self.node("Gather", [padded, blocks.rest], dims=(None, rows.dims[1]), axis=0)
        return self._gathered(table, self.expand_dims(blocks.segments, (1,)), rest, how)

    def _blocks_of(self, ids: OnnxValue, count: OnnxValue) -> _Blocks:
        """Return where rows are, the same for all sums with these ids."""
        key = self.name_of(ids)
        if key not in self._blocks:
            self._blocks[key] = self._found(ids, count)
        return self._blocks[key]

    def _found(self, given: OnnxValue, count: OnnxValue) -> _Blocks:
        i64 = dtypes.int64
        ids = self.concat([given, self.reshape(count, [1])], 0)
        n = self.size(ids)
        forms = [(i64, ids.dims), (i64, ids.dims)]
        ordered, order = self.nodes_out("TopK", [ids, self.reshape(n, [1])], forms, largest=0, sorted=1)  # stable
        first = self.not_equal(self.slice_axis(ordered, 0, 1, None), self.slice_axis(ordered, 0, 0, -1))
        first = self.concat([self.constant(np.ones(1, bool)), first], 0)
        starts = self.node("Squeeze", [self.node("NonZero", [first], dtype=i64, dims=(1, None)),
                                       self.constant(np.zeros(1, np.int64))], dims=(None,))  # fmt: skip
        number = self.cumsum(self.cast(first, i64), 0) - 1
        position = self.arange(0, n, 1) - self._take(starts, number, 0)
        p = self.size(starts)
        length = self.node("Div", [n + n + p - 1, p], dtype=i64, dims=())  # twice as long as they are on average
        length = self.minimum(length, self.max(position, (0,)) + 1)
        cells = p * length
        inside = self.less(position, length)
        at = self.where(inside, number * length + position, cells)
        last = n - 1
        empty = self.node("Expand", [self.reshape(last, [1]), self.reshape(cells + 1, [1])], dims=(None,))
        filled = self.node("ScatterND", [empty, self.expand_dims(at, (1,)), order])
        places = self.reshape(self.node("Slice", [filled, *self._ends(cells)], dims=(None,)), [p, length])
        more = self.node("NonZero", [self.logical_not(inside)], dtype=i64, dims=(1, None))
        over = self.reshape(more, [-1])
        return _Blocks(self._take(ordered, starts, 0), places, self._take(order, over, 0), self._take(ordered, over, 0))

    def forget(self, gone: Collection[str]) -> None:
        """Forget shared nodes that made the tensors `gone`."""
        super().forget(gone)
        self._spares = {k: v for k, v in self._spares.items() if v.name not in gone}
        self._blocks = {k: b for k, b in self._blocks.items() if b.places.name not in gone}
