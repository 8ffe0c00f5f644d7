"""Verbs over sliding windows, channels first, on numpy arrays.

Tensors are [batch, channels, *spatial]; filters are [out channels, in channels / groups, *kernel]. Dense convolution is
one matrix product per image over its unfolded windows; depthwise convolution and pooling go tap by tap. Half precision
accumulates in float32. Geometry and padding: `windows`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from coldframe.primitives import windows
from coldframe.primitives.base import refuse
from coldframe.primitives.numpy_elementwise import widened
from coldframe.primitives.numpy_shape import dims
from coldframe.primitives.windows import Padding, Pads, extent

Array = npt.NDArray[Any]
Ints = Sequence[int]
_CHUNK = 1 << 24  # elements of unfolded windows held at once


class WindowsNumpy:
    """Convolution and pooling."""

    # --- convolution --------------------------------------------------------------------------------------------
    def conv(self, x: Array, w: Array, *, strides: Ints, padding: Padding, dilations: Ints, groups: int = 1) -> Any:
        """Correlate `x` [n, c, *s] with `w` [o, c / groups, *k]: [n, o, *t]."""
        pad = windows.pads(padding, x.shape[2:], w.shape[2:], strides, dilations)
        xp, ww = _padded(widened(x), pad, 0), widened(w)
        out = _out(x.shape[2:], w.shape[2:], strides, dilations, pad)
        if groups == x.shape[1] and w.shape[1] == 1:
            return _depthwise(xp, ww, out, strides, dilations).astype(x.dtype, copy=False)
        n, o = x.shape[0], w.shape[0]
        y = np.empty(dims([n, o, *out]), xp.dtype)
        flat = ww.reshape(groups, o // groups, math.prod(w.shape[1:]))
        for part in _chunks(n, x.shape[1] * math.prod(w.shape[2:]) * math.prod(out)):
            cols = _unfolded(xp[part], w.shape[2:], out, strides, dilations, groups)
            y[part] = np.matmul(flat, cols).reshape(len(cols), o, *out)
        return y.astype(x.dtype, copy=False)

    def conv_transpose(
        self, dy: Array, w: Array, sizes: Ints, *, strides: Ints, padding: Padding, dilations: Ints, groups: int = 1
    ) -> Any:
        """The gradient of `conv` for its input of spatial `sizes`: `dy` [n, o, *t] gives [n, c, *sizes]."""
        inner = dims(sizes)
        kernel, (n, o, *out) = w.shape[2:], dy.shape
        pad = windows.pads(padding, inner, kernel, strides, dilations)
        windows.fits(inner, out, _covers(kernel, dilations), strides, pad)
        c, dyw = w.shape[1] * groups, widened(dy)
        flat = widened(w).reshape(groups, o // groups, math.prod(w.shape[1:])).swapaxes(1, 2)
        full = np.zeros(dims([n, c, *_full(inner, kernel, strides, dilations, pad, out)]), dyw.dtype)
        for part in _chunks(n, c * math.prod(kernel) * math.prod(out)):
            some = dyw[part]
            cols = np.matmul(flat, some.reshape(len(some), groups, o // groups, math.prod(out)))
            cols = cols.reshape(len(some), c, *kernel, *out)
            for tap in np.ndindex(*kernel):
                full[part][_tap(tap, out, strides, dilations)] += cols[(slice(None), slice(None), *tap)]
        inside = tuple(slice(b, b + s) for (b, _), s in zip(pad, inner, strict=True))
        return full[(slice(None), slice(None), *inside)].astype(dy.dtype)

    def conv_filter(
        self, x: Array, dy: Array, kernel: Ints, *, strides: Ints, padding: Padding, dilations: Ints, groups: int = 1
    ) -> Any:
        """The gradient of `conv` for its filter of `kernel` taps: [o, c / groups, *kernel]."""
        (n, c, *inner), (_, o, *out), k = x.shape, dy.shape, dims(kernel)
        pad = windows.pads(padding, inner, k, strides, dilations)
        windows.fits(inner, out, _covers(k, dilations), strides, pad)
        xp, dyw = _padded(widened(x), pad, 0), widened(dy)
        total = np.zeros((groups, o // groups, c // groups * math.prod(k)), xp.dtype)
        for i in range(n):
            cols = _unfolded(xp[i : i + 1], k, out, strides, dilations, groups)[0]
            total += np.matmul(dyw[i].reshape(groups, o // groups, math.prod(out)), cols.swapaxes(1, 2))
        return total.reshape(o, c // groups, *k).astype(x.dtype)

    # --- pooling ------------------------------------------------------------------------------------------------
    def max_pool(self, x: Array, ksize: Ints, *, strides: Ints, padding: Padding) -> Any:
        """The largest value of each window, not looking at padding or NaN; at least the dtype's lowest finite one."""
        ones = (1,) * len(ksize)
        pad = windows.pads(padding, x.shape[2:], ksize, strides, ones)
        out = _out(x.shape[2:], ksize, strides, ones, pad)
        low = lowest(x.dtype)
        padded = _padded(x, pad, low)
        y = np.full(dims([*x.shape[:2], *out]), low, x.dtype)
        for _, tap in _taps(padded, ksize, out, strides, ones):
            np.fmax(y, tap, out=y)
        return y

    def max_pool_where(self, x: Array, ksize: Ints, *, strides: Ints, padding: Padding) -> Any:
        """Where the largest value of each window is, as a row-major position in the spatial plane, int64.

        The first position wins among equals. NaN is never larger, but keeps its place as a window's first cell.
        """
        ones = (1,) * len(ksize)
        pad = windows.pads(padding, x.shape[2:], ksize, strides, ones)
        out = _out(x.shape[2:], ksize, strides, ones, pad)
        best = np.full(dims([*x.shape[:2], *out]), lowest(x.dtype), x.dtype)
        where = np.full(best.shape, -1, np.int64)
        for tap, values in _taps(_padded(x, pad, 0), ksize, out, strides, ones):
            at, inside = _plane(tap, x.shape[2:], out, strides, pad)
            better = inside & ((values > best) | (where < 0))
            np.copyto(best, values, where=better)
            np.copyto(where, at, where=better)
        return where

    def plane_gather(self, x: Array, where: Array) -> Any:
        """The values of `x` [n, c, *s] at plane positions `where` [n, c, *t] (see `max_pool_where`)."""
        flat = x.reshape(*x.shape[:2], math.prod(x.shape[2:]))
        _inside(where, flat.shape[2])
        at = where.reshape(*where.shape[:2], math.prod(where.shape[2:]))
        return np.take_along_axis(flat, at, 2).reshape(where.shape)

    def plane_scatter(self, values: Array, where: Array, sizes: Ints) -> Any:
        """Add `values` [n, c, *t] into zeros [n, c, *sizes] at plane positions `where`."""
        n, c = values.shape[:2]
        inner = dims(sizes)
        shape = dims([n, c, *inner])
        size = math.prod(inner)
        _inside(where, size)
        at = where.reshape(n * c, math.prod(where.shape[2:])) + np.arange(n * c).reshape(n * c, 1) * size
        if values.dtype in (np.float32, np.float64):  # far faster than adding in place, and added up in float64
            return np.bincount(at.ravel(), values.ravel(), n * c * size).astype(values.dtype).reshape(shape)
        out = np.zeros(n * c * size, values.dtype)
        np.add.at(out, at.ravel(), values.ravel())
        return out.reshape(shape)

    def avg_pool(self, x: Array, ksize: Ints, *, strides: Ints, padding: Padding) -> Any:
        """The mean of the real cells of each window."""
        ones = (1,) * len(ksize)
        pad = windows.pads(padding, x.shape[2:], ksize, strides, ones)
        out = _out(x.shape[2:], ksize, strides, ones, pad)
        padded = _padded(widened(x), pad, 0)
        y = np.zeros(dims([*x.shape[:2], *out]), padded.dtype)
        for _, tap in _taps(padded, ksize, out, strides, ones):
            y += tap
        return (y / window_counts(x.shape[2:], ksize, out, strides, pad).astype(y.dtype)).astype(x.dtype)

    def avg_pool_grad(self, dy: Array, sizes: Ints, ksize: Ints, *, strides: Ints, padding: Padding) -> Any:
        """The gradient of `avg_pool` for its input of spatial `sizes`: [n, c, *sizes]."""
        ones, inner = (1,) * len(ksize), dims(sizes)
        pad = windows.pads(padding, inner, ksize, strides, ones)
        windows.fits(inner, dy.shape[2:], ksize, strides, pad)
        share = widened(dy) / window_counts(inner, ksize, dy.shape[2:], strides, pad).astype(widened(dy).dtype)
        full = np.zeros(dims([*dy.shape[:2], *_full(inner, ksize, strides, ones, pad, dy.shape[2:])]), share.dtype)
        for tap in np.ndindex(*ksize):
            full[_tap(tap, dy.shape[2:], strides, ones)] += share
        inside = tuple(slice(b, b + s) for (b, _), s in zip(pad, inner, strict=True))
        return full[(slice(None), slice(None), *inside)].astype(dy.dtype)

    # --- unfolding ----------------------------------------------------------------------------------------------
    def patches(self, x: Array, ksize: Ints, *, strides: Ints, padding: Padding, dilations: Ints, fill: Any = 0) -> Any:
        """The cells of each window, taps in row-major order: [n, c, taps, *t]; padding reads as `fill`."""
        pad = windows.pads(padding, x.shape[2:], ksize, strides, dilations)
        out = _out(x.shape[2:], ksize, strides, dilations, pad)
        padded = _padded(x, pad, fill)
        y = np.empty(dims([*x.shape[:2], math.prod(ksize), *out]), x.dtype)
        for i, (_, tap) in enumerate(_taps(padded, ksize, out, strides, dilations)):
            y[:, :, i] = tap
        return y


def lowest(dtype: np.dtype[Any]) -> Any:
    """Return the lowest finite value of a numeric dtype."""
    if dtype.kind in "iu":
        return np.iinfo(dtype).min
    return dtype.type(-3.3895314e38) if dtype.name == "bfloat16" else np.finfo(dtype).min


def window_counts(sizes: Ints, ksize: Ints, out: Ints, strides: Ints, pad: Pads) -> Array:
    """Return how many cells of each window are not padding."""
    total: Array = np.ones((1,) * len(sizes), np.int64)
    for i, (n, k, t, s, (before, _)) in enumerate(zip(sizes, ksize, out, strides, pad, strict=True)):
        start = np.arange(t) * s - before
        inside = np.minimum(start + k, n) - np.maximum(start, 0)
        total = total * inside.reshape([-1 if j == i else 1 for j in range(len(sizes))])
    return total


def _covers(kernel: Ints, dilations: Ints) -> list[int]:
    return [extent(k, d) for k, d in zip(kernel, dilations, strict=True)]


def _out(sizes: Ints, kernel: Ints, strides: Ints, dilations: Ints, pad: Pads) -> tuple[int, ...]:
    each = zip(sizes, _covers(kernel, dilations), strides, pad, strict=True)
    return tuple(windows.positions(n, c, s, p) for n, c, s, p in each)


def _full(sizes: Ints, kernel: Ints, strides: Ints, dilations: Ints, pad: Pads, out: Ints) -> list[int]:
    """What padded input a gradient is folded into: all of it, and all that the windows touch."""
    each = zip(sizes, pad, out, strides, _covers(kernel, dilations), strict=True)
    return [max(n + p[0] + p[1], (t - 1) * s + c) for n, p, t, s, c in each]


def _padded(x: Array, pad: Pads, fill: Any) -> Array:
    if not any(a or b for a, b in pad):
        return x
    sizes = [n + a + b for n, (a, b) in zip(x.shape[2:], pad, strict=True)]
    out = np.full(dims([*x.shape[:2], *sizes]), fill, x.dtype)
    inner = tuple(slice(a, a + n) for n, (a, _) in zip(x.shape[2:], pad, strict=True))
    out[(slice(None), slice(None), *inner)] = x
    return out


def _tap(tap: Ints, out: Ints, strides: Ints, dilations: Ints) -> tuple[slice, ...]:
    """The cells that tap number `tap` of all windows reads."""
    each = zip(tap, out, strides, dilations, strict=True)
    return (slice(None), slice(None), *(slice(k * d, k * d + max((t - 1) * s + 1, 0), s) for k, t, s, d in each))


def _taps(x: Array, kernel: Ints, out: Ints, strides: Ints, dilations: Ints) -> Iterator[tuple[tuple[int, ...], Array]]:
    if 0 in out:
        return
    for tap in itertools.product(*(range(k) for k in kernel)):
        yield tap, x[_tap(tap, out, strides, dilations)]


def _chunks(n: int, elements: int) -> Iterator[slice]:
    step = max(1, _CHUNK // max(elements, 1))
    return (slice(i, i + step) for i in range(0, n, step))


def _unfolded(x: Array, kernel: Ints, out: Ints, strides: Ints, dilations: Ints, groups: int) -> Array:
    """[n, groups, c / groups * taps, positions]; a view where the windows are single cells."""
    n, c = x.shape[:2]
    rows = c // groups * math.prod(kernel)
    if 0 in out or not n:
        return np.empty((n, groups, rows, math.prod(out)), x.dtype)
    view = np.lib.stride_tricks.as_strided(
        x,
        (n, c, *kernel, *out),
        (
            *x.strides[:2],
            *(st * d for st, d in zip(x.strides[2:], dilations, strict=True)),
            *(st * s for st, s in zip(x.strides[2:], strides, strict=True)),
        ),
        writeable=False,
    )
    return view.reshape(n, groups, rows, math.prod(out))


def _depthwise(x: Array, w: Array, out: Ints, strides: Ints, dilations: Ints) -> Array:
    """Each channel with its own filters: [n, c * multiplier, *out]."""
    n, c = x.shape[:2]
    x = np.ascontiguousarray(x)
    filters = np.moveaxis(w.reshape(c, -1, *w.shape[2:]), (0, 1), (-2, -1))
    y = np.zeros(dims([n, c, filters.shape[-1], *out]), x.dtype)
    term = np.empty_like(y)
    for tap, values in _taps(x, w.shape[2:], out, strides, dilations):
        weights = filters[tap].reshape(c, -1, *(1,) * len(out))
        y += np.multiply(values[:, :, None], weights, out=term)
    return y.reshape(n, -1, *out) if y.size else y.reshape(n, c * filters.shape[-1], *out)


def _plane(tap: Ints, sizes: Ints, out: Ints, strides: Ints, pad: Pads) -> tuple[Array, Array]:
    """The plane positions that a tap reads, and whether they are inside."""
    at: Array = np.zeros((1,) * len(sizes), np.int64)
    inside: Array = np.ones((1,) * len(sizes), np.bool_)
    for i, (k, n, t, s, (before, _)) in enumerate(zip(tap, sizes, out, strides, pad, strict=True)):
        cell = (np.arange(t) * s + k - before).reshape([-1 if j == i else 1 for j in range(len(sizes))])
        at, inside = at * n + cell, inside & (cell >= 0) & (cell < n)
    return at, inside


def _inside(where: Array, size: int) -> None:
    if where.size and (where.min() < 0 or where.max() >= size):
        raise refuse("a position lies outside its plane", expected=f"0 to {size - 1}", found=int(where.max()))
