"""Verbs that move elements without computing: shape, layout, gather and scatter, on numpy arrays."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from coldframe.dtypes import DType
from coldframe.primitives.base import refuse

Array = npt.NDArray[Any]
LIMIT = 2**40  # elements; a shape beyond it is a mistake or an attack, not a tensor
_FEW = 2048  # numbers that are sorted as quickly as the largest of them are found
_WIDE = 4096  # numbers of a cell from which on numpy's own way with cells is as fast


def dims(shape: Any) -> tuple[int, ...]:
    """Return a shape given as array or sequence as Python integers; refuse sizes no machine holds."""
    out = tuple(int(d) for d in (shape.tolist() if isinstance(shape, np.ndarray) else shape))
    n = 1
    for d in out:
        n *= max(d, 1)
    if n > LIMIT:
        raise refuse("the shape is too large", expected=f"at most {LIMIT} elements", found=list(out))
    return out


def inferred(shape: tuple[int, ...], wanted: tuple[int, ...]) -> tuple[int, ...]:
    """Replace the -1 in a shape that also has a 0, for a tensor of `shape`: as if sizes of 0 were not there."""
    have = math.prod(d for d in shape if d)
    rest = math.prod(d for d in wanted if d > 0)
    if wanted.count(-1) > 1 or 0 not in shape:
        raise refuse("elements do not fill the shape", expected=list(wanted), found=list(shape))
    return tuple(have // rest if d == -1 else d for d in wanted)


def refusing(verb: Callable[..., Any]) -> Callable[..., Any]:
    """Turn numpy's complaints about shapes into our refusal."""

    @functools.wraps(verb)
    def run(*args: Any, **kwargs: Any) -> Any:
        try:
            return verb(*args, **kwargs)
        except (ValueError, IndexError) as e:
            raise refuse(f"{verb.__name__}: {e}") from None

    return run


class ShapeNumpy:
    """Shape and layout verbs."""

    name = "numpy"

    # --- asking -------------------------------------------------------------------------------------------------
    def asarray(self, value: Any, dtype: DType) -> Any:
        """Make a constant."""
        return np.asarray(value, dtype.numpy)

    def static(self, x: Any, why: str = "") -> Array:
        """Return the values of `x`; other interpreters may not know them and so refuse."""
        return np.asarray(x)

    def dtype(self, x: Array) -> np.dtype[Any]:
        """The numpy dtype of `x`."""
        return x.dtype

    def rank(self, x: Array) -> int:
        return x.ndim

    def shape(self, x: Array) -> Any:
        """The shape as an int64 vector."""
        return np.array(x.shape, np.int64)

    def dim(self, x: Array, axis: int) -> Any:
        """One dimension, as an integer (or a symbolic scalar)."""
        return x.shape[axis]

    def size(self, x: Array) -> Any:
        """The number of elements, an int64 scalar."""
        return np.int64(x.size)

    # --- making -------------------------------------------------------------------------------------------------
    @refusing
    def full(self, shape: Any, value: Any, dtype: DType | None = None) -> Any:
        """A tensor of `shape` filled with the scalar `value`."""
        return np.full(dims(shape), value, dtype.numpy if dtype else np.asarray(value).dtype)

    def zeros_like(self, x: Array) -> Any:
        """Zeros; of strings, empty ones; of variants, what they say."""
        out = np.zeros(x.shape, x.dtype)
        if x.dtype.kind == "O":
            for at, v in np.ndenumerate(x):
                out[at] = b"" if isinstance(v, bytes) else v.zeros_like()
        return out

    def ones_like(self, x: Array) -> Any:
        return np.ones(x.shape, x.dtype)

    def arange(self, start: Any, limit: Any, delta: Any) -> Any:
        """start, start + delta, ... before limit, in the dtype of `start`, in which floats count their steps too."""
        a, b, d = np.asarray(start), np.asarray(limit), np.asarray(delta)
        if d == 0:
            raise refuse("range with a delta of 0")
        if (a < b) != (d > 0) and a != b:
            raise refuse("range runs away from its limit", found=f"start {start}, limit {limit}, delta {delta}")
        if a.dtype.kind in "iu":
            n = max(-((int(a) - int(b)) // int(d)), 0)
        else:
            steps = np.ceil(np.abs((b - a) / d))
            if not np.isfinite(steps):
                raise refuse("a range without end", found=f"start {start}, limit {limit}, delta {delta}")
            n = int(steps)
        dims([n])
        return (a + np.arange(n).astype(a.dtype) * d).astype(a.dtype)

    def require(self, x: Any, ok: Any, what: str) -> Any:
        """`x`, an integer tensor, provided that `ok` (which broadcasts to it) is true everywhere."""
        if not np.all(ok):
            raise refuse(what)
        return x

    # --- layout -------------------------------------------------------------------------------------------------
    @refusing
    def reshape(self, x: Array, shape: Any) -> Any:
        """Row-major reshape; one dimension may be -1."""
        wanted = dims(shape)
        if wanted and min(wanted) < -1:
            raise refuse("a negative dimension", expected="sizes, one of which may be -1", found=list(wanted))
        if 0 in wanted and -1 in wanted:
            wanted = inferred(x.shape, wanted)
        return np.reshape(x, wanted)

    @refusing
    def transpose(self, x: Array, perm: Sequence[int]) -> Any:
        return np.transpose(x, tuple(int(p) for p in perm))

    @refusing
    def expand_dims(self, x: Array, axes: Sequence[int]) -> Any:
        return np.expand_dims(x, tuple(int(a) for a in axes))

    @refusing
    def squeeze(self, x: Array, axes: Sequence[int]) -> Any:
        return np.squeeze(x, tuple(int(a) for a in axes))

    @refusing
    def broadcast_to(self, x: Array, shape: Any) -> Any:
        return np.broadcast_to(x, dims(shape))

    @refusing
    def concat(self, xs: Sequence[Array], axis: int) -> Any:
        return np.concatenate(xs, axis=int(axis))

    @refusing
    def stack(self, xs: Sequence[Array], axis: int) -> Any:
        return np.stack(xs, axis=int(axis))

    @refusing
    def split(self, x: Array, sizes: Sequence[int], axis: int) -> list[Any]:
        """Cut `x` along `axis` into parts of `sizes`."""
        parts, index, at = [], [slice(None)] * x.ndim, 0
        for n in sizes:
            index[axis] = slice(at, at := at + int(n))
            parts.append(x[tuple(index)])
        if at != x.shape[axis]:
            raise refuse("the parts do not fill the dimension", expected=x.shape[axis], found=at)
        return parts

    @refusing
    def pad(self, x: Array, paddings: Any, value: Any = 0) -> Any:
        """Add constant `value`s: `paddings` is [rank, 2], before and after each dimension."""
        widths = [(int(a), int(b)) for a, b in np.asarray(paddings)]
        out = np.full(dims([d + a + b for d, (a, b) in zip(x.shape, widths, strict=True)]), value, x.dtype)
        out[tuple(slice(a, a + d) for d, (a, _) in zip(x.shape, widths, strict=True))] = x
        return out

    @refusing
    def mirror_pad(self, x: Array, paddings: Any, symmetric: bool) -> Any:
        """Pad with the mirrored content, repeating the border (`symmetric`) or not."""
        widths = [(int(a), int(b)) for a, b in np.asarray(paddings)]
        return np.pad(x, widths, mode="symmetric" if symmetric else "reflect")

    @refusing
    def tile(self, x: Array, multiples: Any) -> Any:
        m = dims(multiples)
        if len(m) != x.ndim or (m and min(m) < 0):
            raise refuse("tile multiples", expected=f"{x.ndim} numbers from 0 up", found=list(m))
        dims([a * b for a, b in zip(x.shape, m, strict=True)])
        return np.tile(x, m)

    def slice(self, x: Array, starts: Any, sizes: Any) -> Any:
        """A box: `starts` and `sizes` per dimension; a size of -1 reaches to the end."""
        begin, size = np.asarray(starts).tolist(), np.asarray(sizes).tolist()
        if len(begin) != x.ndim or len(size) != x.ndim:
            raise refuse(
                "a slice has begin and size for each dimension", expected=x.ndim, found=[len(begin), len(size)]
            )
        ends = [d if n == -1 else b + n for d, b, n in zip(x.shape, begin, size, strict=True)]
        if not all(0 <= b <= e <= d for d, b, e in zip(x.shape, begin, ends, strict=True)):
            raise refuse(f"a slice from {begin} of {size} is out of range", expected=f"within {list(x.shape)}")
        return x[tuple(slice(b, e) for b, e in zip(begin, ends, strict=True))]

    def slice_axis(self, x: Array, axis: int, start: int, stop: int | None, step: int = 1) -> Any:
        """Python's ``x[..., start:stop:step, ...]`` along `axis`."""
        index: list[Any] = [slice(None)] * x.ndim
        index[axis] = slice(start, stop, step)
        return x[tuple(index)]

    def strided(self, x: Array, cuts: Sequence[tuple[Any, Any, int]]) -> Any:
        """Python's ``x[begin:end:stride, ...]``, one cut per dimension; None for no begin or end."""
        return x[tuple(slice(*(None if v is None else int(v) for v in c)) for c in cuts)]

    def reverse(self, x: Array, axes: Sequence[int]) -> Any:
        return np.flip(x, tuple(int(a) for a in axes))

    # --- gather and scatter -------------------------------------------------------------------------------------
    def gather(self, x: Array, indices: Any, axis: int = 0) -> Any:
        """X's slices along `axis` at `indices`; out of range is refused."""
        indices = np.asarray(indices)
        check_range(indices, x.shape[axis], axis)
        return np.take(x, indices, axis=axis)

    @refusing
    def pick(self, x: Array, index: Any, axis: int) -> Any:
        """X's slice at one position along `axis`; a negative one counts from the end."""
        return np.take(x, np.asarray(index), axis=axis)

    def gather_nd(self, x: Array, indices: Array, batch_dims: int = 0) -> Any:
        """The slices of `x` at the coordinates in the last dimension of `indices`."""
        k = indices.shape[-1]
        for j in range(k):
            check_range(indices[..., j], x.shape[batch_dims + j], batch_dims + j)
        lead = tuple(
            np.arange(n).reshape((-1,) + (1,) * (indices.ndim - 2 - i)) for i, n in enumerate(x.shape[:batch_dims])
        )
        if not k and not lead:
            return np.broadcast_to(x, indices.shape[:-1] + x.shape)
        return x[lead + tuple(indices[..., j] for j in range(k))]

    @refusing
    def take_along_axis(self, x: Array, indices: Array, axis: int) -> Any:
        return np.take_along_axis(x, indices, axis)

    def scatter_nd(self, x: Array, indices: Array, updates: Array, how: str = "update") -> Any:
        """A copy of `x` with `updates` at `indices`; repeated indices combine by `how`.

        `how` is one of update, add, subtract, multiply, divide, maximum, minimum.
        """
        out = x.copy()
        k = indices.shape[-1]
        for j in range(k):
            check_range(indices[..., j], x.shape[j], j)
        at = tuple(indices[..., j] for j in range(k))
        if how == "update":
            out[at] = updates
        else:
            ufunc = np.true_divide if how == "divide" and x.dtype.kind not in "iu" else getattr(np, _UFUNCS[how])
            combine_cells(ufunc, out, at, updates.astype(x.dtype))
        return out

    def one_hot(self, indices: Array, depth: int, axis: int = -1) -> Any:
        """A bool tensor with a new dimension of `depth` at `axis`, true where the index points."""
        at = axis if axis >= 0 else indices.ndim + 1 + axis
        dims([*indices.shape, depth])
        line = np.arange(int(depth), dtype=np.int64).reshape((-1,) + (1,) * (indices.ndim - at))
        return np.expand_dims(indices, at).astype(np.int64) == line

    def nonzero(self, x: Array) -> Any:
        """The coordinates of what is not zero, [n, rank] int64, in row-major order."""
        return np.argwhere(x).astype(np.int64)

    def top_k(self, x: Array, k: int) -> tuple[Any, Any]:
        """The `k` largest of the last dimension in descending order, the lower index first among equals, and where."""
        keys, k = _descending(x), int(k)
        if x.size < _FEW or not 0 < 4 * k <= x.shape[-1]:
            order = np.argsort(keys, axis=-1, kind="stable")[..., :k]
        else:
            among = _lowest(keys, k)
            found = np.argsort(np.take_along_axis(keys, among, -1), axis=-1, kind="stable")
            order = np.take_along_axis(among, found, -1)
        return np.take_along_axis(x, order, -1), order.astype(np.int32)


_UFUNCS = {
    "add": "add", "subtract": "subtract", "multiply": "multiply", "divide": "floor_divide", "maximum": "maximum",
    "minimum": "minimum",
}  # fmt: skip


def _descending(x: Array) -> Array:
    """Keys that grow where `x` falls; no lowest number overflows, and NaN stays last."""
    if x.dtype.kind in "iub":
        return ~x
    wide: Array = x.astype(np.float64 if x.dtype.itemsize > 4 else np.float32)
    return -wide


def _lowest(keys: Array, k: int) -> Array:
    """Return where the `k` lowest of each row are, the first among equals, in ascending order of place."""
    last = np.partition(keys, k - 1, axis=-1)[..., k - 1 : k]
    taken = keys <= last
    if np.count_nonzero(taken) != k * (keys.size // keys.shape[-1]):  # several equal the last, or it is not a number
        none = np.isnan(last)
        below = (keys < last) | none & ~np.isnan(keys)
        alike = (taken | none) & ~below
        taken = below | alike & (np.cumsum(alike, axis=-1) <= k - np.count_nonzero(below, -1, keepdims=True))
    places: Array = np.flatnonzero(taken).reshape(*keys.shape[:-1], k) % keys.shape[-1]
    return places


def combine_cells(ufunc: Any, out: Array, at: tuple[Array, ...], values: Array) -> None:
    """``ufunc.at(out, at, values)``, in order, which numpy does fast for single numbers only.

    Args:
        ufunc: what combines two numbers.
        out: a contiguous array, written into.
        at: indices of its first dimensions, in range.
        values: what is combined with each cell, of the full shape.
    """
    k = len(at)
    if not values.size:
        return
    width = values.size // at[0].size if k else 1
    if not k or width >= _WIDE:
        ufunc.at(out, at, values)
        return
    cells = at[0].ravel() if k == 1 else np.ravel_multi_index(at, out.shape[:k]).ravel()
    if width > 1:
        cells = (cells.astype(np.int64)[:, None] * width + np.arange(width)).ravel()
    ufunc.at(out.reshape(-1), cells, values.reshape(-1))


NO_ROW: Final = -(2**31)
"""The number of rows that are none: they fill up what might have more rows. No table has such a row."""


def sum_equal(ids: Array, rows: Array) -> tuple[Array, Array]:
    """Sum the rows that have the same id, in order: the first one, the second one, ...

    Few ids, or none, are expected to occur twice, so that what is not the first of its id is added one by one.

    Args:
        ids: integers, [n].
        rows: numbers, [n, ...].

    Returns:
        The sums, [m, ...], and their ids in order of appearance, [m].
    """
    order = ids.argsort(kind="stable")
    ordered = ids.take(order)
    fresh = np.empty(len(ids), np.bool_)
    fresh[:1] = True
    np.not_equal(ordered[1:], ordered[:-1], out=fresh[1:])
    if fresh.all():
        return rows + rows.dtype.type(0), ids
    starts = np.flatnonzero(fresh)
    first = order.take(starts)
    kept = np.sort(first)
    sums = rows.take(kept, 0) + rows.dtype.type(0)
    again = np.flatnonzero(~fresh)
    to = kept.searchsorted(first.take(starts.searchsorted(again, "right") - 1))
    combine_cells(np.add, sums, (to,), rows.take(order.take(again), 0))
    return sums, ids.take(kept)


def largest(indices: Array) -> int:
    """Return the largest of some integers, or a larger number where one is negative."""
    if indices.dtype.kind == "i":
        indices = indices.view(indices.dtype.str.replace("i", "u"))
    return int(indices.max())


def check_range(indices: Array, size: int, axis: int) -> None:
    """Refuse indices outside ``[0, size)``, naming the first."""
    if indices.size and largest(indices) >= size:
        bad = (indices < 0) | (indices >= size)
        at = tuple(int(i) for i in np.argwhere(np.atleast_1d(bad))[0])
        value = np.atleast_1d(indices)[at]
        raise refuse(
            f"index {value} at {list(at)} is out of range for dimension {axis}", expected=f"0 to {size - 1}",
            found=int(value),
        )  # fmt: skip
