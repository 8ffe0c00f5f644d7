"""Ops that only training graphs have: gradients of ops whose own family runs in inference.

They add several results into one cell, so they run on numpy.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from coldframe.ops import inference_array, inference_index, inference_nn
from coldframe.ops.backward import array as back
from coldframe.ops.table import Op, op
from coldframe.primitives import windows
from coldframe.primitives.base import refuse
from coldframe.primitives.numpy_elementwise import widened
from coldframe.primitives.numpy_shape import combine_cells
from coldframe.primitives.numpy_windows import lowest

Array = npt.NDArray[Any]
Ints = Sequence[int]
_ADDS = "it adds several cells into one"


# --- rows picked and summed by segment --------------------------------------------------------------------------
def _rows(grad: Array, indices: Array, ids: Array, average: float) -> Array:
    """The gradient of each row that was picked: that of its segment, over the (root of the) number of rows in it."""
    if indices.ndim != 1 or indices.shape != ids.shape:
        raise refuse("one segment id per index", expected=list(indices.shape), found=list(ids.shape))
    if grad.ndim == 0:
        raise refuse("gradients of segments", expected="at least a vector", found="a scalar")
    _within(ids, len(grad), "a segment id")
    rows = widened(grad)[ids]
    if average:
        count = np.bincount(ids, minlength=len(grad))[ids] ** average
        rows = rows / count.astype(rows.dtype).reshape([-1] + [1] * (grad.ndim - 1))
    return np.asarray(rows)


def _within(numbers: Array, size: int, what: str) -> None:
    bad = (numbers < 0) | (numbers >= size)
    if bad.any():
        raise refuse(f"{what} is out of range", expected=f"0 to {size - 1}", found=int(numbers[bad][0]))


def _added(rows: Array, at: Array, size: int, dtype: Any) -> Array:
    out = np.zeros((size, *rows.shape[1:]), rows.dtype)
    combine_cells(np.add, out, (at,), rows)
    return out.astype(dtype)


def _size(x: Any) -> int:
    if np.ndim(x) or int(x) < 0:
        raise refuse("the number of rows is a scalar from 0 up", found=np.asarray(x).tolist())
    return int(x)


def _segment_gradients(name: str, average: float) -> list[Op]:
    def dense(xp: Any, grad: Any, indices: Any, segment_ids: Any, output_dim0: Any) -> Any:
        size = _size(output_dim0)
        _within(indices, size, "an index")
        return _added(_rows(grad, indices, segment_ids, average), indices, size, grad.dtype)

    def compact(xp: Any, grad: Any, indices: Any, segment_ids: Any, dense_output_dim0: Any) -> Any:
        _within(indices, _size(dense_output_dim0), "an index")
        rows = _rows(grad, indices, segment_ids, average)
        found, at = np.unique(indices, return_inverse=True)
        return _added(rows, at, len(found), grad.dtype), found

    dense.__doc__ = f"The gradient of SparseSegment{name} for its data."
    compact.__doc__ = f"The rows of the gradient of SparseSegment{name} that are not zero, and where they are."
    prefix = f"SparseSegment{name}Grad"
    return [
        Op(prefix, dense, shape=inference_index.sparse_segment_grad, host=_ADDS),
        Op(f"{prefix}V2", compact, shape=inference_index.sparse_segment_grad_v2, host=_ADDS),
    ]


SEGMENTS = [o for n, a in (("Sum", 0.0), ("Mean", 1.0), ("SqrtN", 0.5)) for o in _segment_gradients(n, a)]


# --- mirrored borders -------------------------------------------------------------------------------------------
@op("MirrorPadGrad", gradient=back.mirror_pad_grad, shape=inference_array.mirror_pad_grad, host=_ADDS)
def mirror_pad_grad(xp: Any, dy: Any, paddings: Any, *, mode: str) -> Any:
    """The gradient of MirrorPad: what the border got is added to what it is an image of."""
    widths = np.asarray(paddings)
    if widths.shape != (dy.ndim, 2) or (widths.size and widths.min() < 0):
        raise refuse("`paddings`", expected=f"{dy.ndim} pairs of numbers from 0 up", found=widths.tolist())
    skip = int(mode == "REFLECT")  # the outermost cell has no image
    for axis, (before, after) in enumerate(widths.tolist()):
        n = dy.shape[axis] - before - after
        if n < max(before, after) + skip:
            raise refuse(f"paddings of dimension {axis}", expected=f"at most {n - skip}", found=[before, after])
        x = np.moveaxis(dy, axis, 0)
        inner = x[before : before + n].copy()
        inner[skip : skip + before] += x[:before][::-1]
        inner[n - skip - after : n - skip] += x[before + n :][::-1]
        dy = np.moveaxis(inner, 0, axis)
    return dy


# --- dilation ---------------------------------------------------------------------------------------------------
class _Dilation:
    """Which tap gave the largest sum in each window of a Dilation2D; the first one, row by row, among equals."""

    def __init__(self, x: Array, taps: Array, dy: Array, strides: Ints, rates: Ints, padding: str) -> None:
        for a, rank, what in ((x, 4, "the input"), (taps, 3, "the filter"), (dy, 4, "the gradient")):
            if a.ndim != rank:
                raise refuse(what, expected=f"rank {rank}", found=f"rank {a.ndim}")
        if x.shape[3] != taps.shape[2]:
            raise refuse("the channels of input and filter", expected=taps.shape[2], found=x.shape[3])
        sizes, kernel, self.strides, self.rates = x.shape[1:3], taps.shape[:2], strides[1:3], rates[1:3]
        covers = [windows.extent(k, r) for k, r in zip(kernel, self.rates, strict=True)]
        self.pads = windows.pads(padding, sizes, kernel, self.strides, self.rates)
        windows.fits(sizes, dy.shape[1:3], covers, self.strides, self.pads)
        if (dy.shape[0], dy.shape[3]) != (x.shape[0], x.shape[3]):
            raise refuse("the gradient does not fit the input", expected=list(x.shape), found=list(dy.shape))
        self.x, self.taps, self.dy = x, taps, dy
        # a strided slice may end behind the last window
        self.room = [(a, b + s) for (a, b), s in zip(self.pads, self.strides, strict=True)]
        self.best = self._best()

    def _cells(self, padded: Array, i: int, j: int) -> Array:
        """The cell under tap (i, j) of each window: a view."""
        (h, w), (sh, sw) = (i * self.rates[0], j * self.rates[1]), self.strides
        oh, ow = self.dy.shape[1:3]
        return padded[:, h : h + oh * sh : sh, w : w + ow * sw : sw]

    def _pad(self, x: Array) -> Array:
        return np.pad(x, [(0, 0), *self.room, (0, 0)])

    def _best(self) -> Array:
        padded, inside = self._pad(self.x), self._pad(np.ones_like(self.x, np.bool_))
        most = np.full(self.dy.shape, lowest(self.x.dtype), self.x.dtype)
        best = np.full(self.dy.shape, -1, np.int64)
        for n, (i, j) in enumerate(np.ndindex(self.taps.shape[:2])):
            total = self._cells(padded, i, j) + self.taps[i, j]
            better = self._cells(inside, i, j) & (total > most)
            most, best = np.where(better, total, most), np.where(better, n, best)
        return best

    def winners(self) -> Iterator[tuple[int, int, Array]]:
        """Each tap with the gradients of the windows it won."""
        for n, (i, j) in enumerate(np.ndindex(self.taps.shape[:2])):
            yield i, j, np.where(self.best == n, self.dy, self.dy.dtype.type(0))

    def for_input(self) -> Array:
        out = self._pad(np.zeros_like(self.x))
        for i, j, won in self.winners():
            self._cells(out, i, j)[...] += won
        (top, _), (left, _) = self.pads
        return out[:, top : top + self.x.shape[1], left : left + self.x.shape[2]]

    def for_filter(self) -> Array:
        out = np.zeros_like(self.taps)
        for i, j, won in self.winners():
            out[i, j] = won.sum((0, 1, 2), dtype=out.dtype)
        return out


@op("Dilation2DBackpropInput", shape="x -> x", host=_ADDS)
def dilation2d_backprop_input(
    xp: Any, input: Any, filter: Any, out_backprop: Any, *, strides: Ints, rates: Ints, padding: str
) -> Any:
    """The gradient of Dilation2D for its input."""
    return _Dilation(input, filter, out_backprop, strides, rates, padding).for_input()


@op("Dilation2DBackpropFilter", shape=inference_nn.like_second, host=_ADDS)
def dilation2d_backprop_filter(
    xp: Any, input: Any, filter: Any, out_backprop: Any, *, strides: Ints, rates: Ints, padding: str
) -> Any:
    """The gradient of Dilation2D for its filter."""
    return _Dilation(input, filter, out_backprop, strides, rates, padding).for_filter()
