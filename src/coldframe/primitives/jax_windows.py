"""Verbs over sliding windows, channels first, on XLA. What they mean: `numpy_windows`.

XLA folds the transposes between channels first and channels last into its convolutions. Pools slide channels last:
there the transposes around them cancel in graphs of TensorFlow's default layout. Gradients are the transposes of the
linear maps whose gradients they are. What XLA's convolutions are slow at goes other ways: `jax_convolutions`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from coldframe.primitives import windows
from coldframe.primitives.base import Unlowerable
from coldframe.primitives.jax_base import JaxBase, folding, sizes, widened
from coldframe.primitives.jax_convolutions import Slide, channels_first, channels_last, padded, tap_of, taps
from coldframe.primitives.numpy_windows import lowest, window_counts
from coldframe.primitives.windows import Padding, Pads, extent

Ints = Sequence[int]


@folding
class WindowsJax(JaxBase):
    """Convolution and pooling."""

    # --- convolution --------------------------------------------------------------------------------------------
    def conv(self, x: Any, w: Any, *, strides: Ints, padding: Padding, dilations: Ints, groups: int = 1) -> Any:
        """Correlate `x` [n, c, *s] with `w` [o, c / groups, *k]: [n, o, *t]."""
        pad = windows.pads(padding, x.shape[2:], w.shape[2:], strides, dilations)
        if not w.size:
            raise Unlowerable("a filter without elements")
        _positions(x.shape[2:], w.shape[2:], strides, dilations, pad)
        xw, ww, slide = widened(x), widened(w), Slide(strides, pad, dilations, groups)
        out = slide.conv(xw, ww) if slide.own(w.shape, xw.dtype) else _conv(xw, ww, strides, pad, dilations, groups)
        return out.astype(x.dtype)

    def conv_transpose(
        self, dy: Any, w: Any, sizes: Ints, *, strides: Ints, padding: Padding, dilations: Ints, groups: int = 1
    ) -> Any:
        """The gradient of `conv` for its input of spatial `sizes`: `dy` [n, o, *t] gives [n, c, *sizes]."""
        inner, kernel = _sizes(sizes), w.shape[2:]
        pad = windows.pads(padding, inner, kernel, strides, dilations)
        windows.fits(inner, dy.shape[2:], _covers(kernel, dilations), strides, pad)
        ww, dyw = widened(w), widened(dy)
        slide = Slide(strides, pad, dilations, groups)
        if slide.own(w.shape, dyw.dtype):
            return slide.transposed(dyw, ww, inner).astype(dy.dtype)
        shape = (dy.shape[0], w.shape[1] * groups, *inner)
        return _transposed(lambda x: _conv(x, ww, strides, pad, dilations, groups), shape, dyw).astype(dy.dtype)

    def conv_filter(
        self, x: Any, dy: Any, kernel: Ints, *, strides: Ints, padding: Padding, dilations: Ints, groups: int = 1
    ) -> Any:
        """The gradient of `conv` for its filter of `kernel` taps: [o, c / groups, *kernel]."""
        k = _sizes(kernel)
        pad = windows.pads(padding, x.shape[2:], k, strides, dilations)
        windows.fits(x.shape[2:], dy.shape[2:], _covers(k, dilations), strides, pad)
        xw, dyw = widened(x), widened(dy)
        shape = (dy.shape[1], x.shape[1] // groups, *k)
        slide = Slide(strides, pad, dilations, groups)
        if slide.own_filter(shape, xw.dtype):
            return slide.filter(xw, dyw, k).astype(x.dtype)
        return _transposed(lambda w: _conv(xw, w, strides, pad, dilations, groups), shape, dyw).astype(x.dtype)

    # --- pooling ------------------------------------------------------------------------------------------------
    def max_pool(self, x: Any, ksize: Ints, *, strides: Ints, padding: Padding) -> Any:
        """The largest value of each window, not looking at padding or NaN; at least the dtype's lowest finite one."""
        pad, _ = _pool(x.shape[2:], ksize, strides, padding)
        low = np.asarray(lowest(x.dtype), x.dtype)
        last = channels_last(x)
        real = jnp.where(jnp.isnan(last), low, last) if x.dtype.kind in "fV" else last
        return channels_first(_window(real, low, lax.max, ksize, strides, pad))

    def max_pool_where(self, x: Any, ksize: Ints, *, strides: Ints, padding: Padding) -> Any:
        """Where the largest value of each window is, as a row-major position in the spatial plane, int64."""
        pad, out = _pool(x.shape[2:], ksize, strides, padding)
        best = jnp.full((*x.shape[:2], *out), lowest(x.dtype), x.dtype)
        where = jnp.full(best.shape, -1, np.int64)
        around = padded(x, pad, 0)
        for tap in taps(ksize):
            values = tap_of(around, tap, out, strides, (1,) * len(ksize))
            at, inside = _plane(tap, x.shape[2:], out, strides, pad)
            better = inside & ((values > best) | (where < 0))
            best, where = jnp.where(better, values, best), jnp.where(better, at, where)
        return where

    def max_pool_grad(self, x: Any, dy: Any, ksize: Ints, *, strides: Ints, padding: Padding) -> Any:
        """The gradient of `max_pool`, for the op's ``jax`` rule: it goes to the first largest cell of each window.

        Tap by tap, since XLA scatters one element at a time.
        """
        pad, out = _pool(x.shape[2:], ksize, strides, padding)
        if dy.shape != (*x.shape[:2], *out):
            raise Unlowerable("the gradient has not the shape of the pooled result")
        dy = channels_last(dy)
        best = jnp.full(dy.shape, lowest(x.dtype), x.dtype)
        won = jnp.full(best.shape, -1, np.int32)
        around = padded(channels_last(x), pad, 0, 1)
        for n, tap in enumerate(taps(ksize)):
            values = tap_of(around, tap, out, strides, (1,) * len(ksize), 1)
            _, inside = _plane(tap, x.shape[2:], out, strides, pad)
            better = inside[..., None] & ((values > best) | (won < 0))
            best, won = jnp.where(better, values, best), jnp.where(better, np.int32(n), won)
        zero = np.zeros((), dy.dtype)
        parts = [jnp.where(won == n, dy, zero) for n in range(math.prod(ksize))]
        total = channels_first(_put(parts, around.shape[1:-1], out, ksize, strides))
        inner = tuple(slice(a, a + n) for (a, _), n in zip(pad, x.shape[2:], strict=True))
        return total[(slice(None), slice(None), *inner)]

    def plane_gather(self, x: Any, where: Any) -> Any:
        """The values of `x` [n, c, *s] at plane positions `where` [n, c, *t] (see `max_pool_where`)."""
        flat = x.reshape(*x.shape[:2], -1)
        self.promise((where >= 0) & (where < flat.shape[2]))
        at = where.reshape(*where.shape[:2], -1)
        return jnp.take_along_axis(flat, at, 2, mode="clip").reshape(where.shape)

    def plane_scatter(self, values: Any, where: Any, sizes: Ints) -> Any:
        """Add `values` [n, c, *t] into zeros [n, c, *sizes] at plane positions `where`."""
        n, c = values.shape[:2]
        inner = _sizes(sizes)
        size = math.prod(inner)
        self.promise((where >= 0) & (where < size))
        at = where.reshape(n * c, -1) + np.arange(n * c, dtype=np.int64)[:, None] * size
        flat = jnp.zeros(n * c * size, values.dtype).at[at.ravel()].add(values.ravel(), mode="promise_in_bounds")
        return flat.reshape(n, c, *inner)

    def avg_pool(self, x: Any, ksize: Ints, *, strides: Ints, padding: Padding) -> Any:
        """The mean of the real cells of each window."""
        pad, out = _pool(x.shape[2:], ksize, strides, padding)
        wide = widened(x)
        total = channels_first(_window(channels_last(wide), np.zeros((), wide.dtype), lax.add, ksize, strides, pad))
        return (total / window_counts(x.shape[2:], ksize, out, strides, pad).astype(wide.dtype)).astype(x.dtype)

    def avg_pool_grad(self, dy: Any, sizes: Ints, ksize: Ints, *, strides: Ints, padding: Padding) -> Any:
        """The gradient of `avg_pool` for its input of spatial `sizes`: [n, c, *sizes]."""
        inner = _sizes(sizes)
        pad = windows.pads(padding, inner, ksize, strides, (1,) * len(ksize))
        windows.fits(inner, dy.shape[2:], ksize, strides, pad)
        wide = widened(dy)
        share = wide / window_counts(inner, ksize, dy.shape[2:], strides, pad).astype(wide.dtype)
        zero = np.zeros((), wide.dtype)

        def total(x: Any) -> Any:
            return channels_first(_window(channels_last(x), zero, lax.add, ksize, strides, pad))

        return _transposed(total, (*dy.shape[:2], *inner), share).astype(dy.dtype)

    # --- unfolding ----------------------------------------------------------------------------------------------
    def patches(self, x: Any, ksize: Ints, *, strides: Ints, padding: Padding, dilations: Ints, fill: Any = 0) -> Any:
        """The cells of each window, taps in row-major order: [n, c, taps, *t]; padding reads as `fill`."""
        pad = windows.pads(padding, x.shape[2:], ksize, strides, dilations)
        out = _positions(x.shape[2:], ksize, strides, dilations, pad)
        around = padded(x, pad, fill)
        return jnp.stack([tap_of(around, tap, out, strides, dilations) for tap in taps(ksize)], 2)


def _sizes(values: Ints) -> tuple[int, ...]:
    return sizes(list(values))


def _covers(kernel: Ints, dilations: Ints) -> list[int]:
    return [extent(k, d) for k, d in zip(kernel, dilations, strict=True)]


def _positions(inner: Ints, kernel: Ints, strides: Ints, dilations: Ints, pad: Pads) -> tuple[int, ...]:
    each = zip(inner, _covers(kernel, dilations), strides, pad, strict=True)
    return tuple(windows.positions(n, c, s, p) for n, c, s, p in each)


def _pool(inner: Ints, ksize: Ints, strides: Ints, padding: Padding) -> tuple[Pads, tuple[int, ...]]:
    ones = (1,) * len(ksize)
    pad = windows.pads(padding, inner, ksize, strides, ones)
    return pad, _positions(inner, ksize, strides, ones, pad)


def _conv(x: Any, w: Any, strides: Ints, pad: Pads, dilations: Ints, groups: int) -> Any:
    if x.dtype.kind in "iub":
        raise Unlowerable("XLA's convolutions of integers give truth values on processors")
    return lax.conv_general_dilated(
        x, w, tuple(strides), list(pad), rhs_dilation=tuple(dilations), feature_group_count=groups
    )


def _transposed(linear: Callable[[Any], Any], shape: tuple[int, ...], dy: Any) -> Any:
    return jax.linear_transpose(linear, jax.ShapeDtypeStruct(shape, dy.dtype))(dy)[0]


def _window(x: Any, start: Any, reduce: Any, ksize: Ints, strides: Ints, pad: Pads) -> Any:
    return lax.reduce_window(x, start, reduce, (1, *ksize, 1), (1, *strides, 1), [(0, 0), *pad, (0, 0)])


def _put(parts: Sequence[Any], inner: Ints, out: Ints, ksize: Ints, strides: Ints) -> Any:
    """Add up what goes to each tap of all windows, [n, *out, c], where the taps are: [n, *inner, c]."""
    n, c = parts[0].shape[0], parts[0].shape[-1]
    zero = np.zeros((), parts[0].dtype)
    if list(ksize) == list(strides) and [t * k for t, k in zip(out, ksize, strict=True)] == list(inner):
        # Windows that lie side by side: each cell is one tap of one window.
        whole = jnp.stack(parts, -2).reshape(n, *out, *ksize, c)
        d = len(ksize)
        order = [0, *(i for k in range(d) for i in (1 + k, 1 + d + k)), 1 + 2 * d]
        return whole.transpose(order).reshape(n, *inner, c)
    total = jnp.zeros((n, *inner, c), zero.dtype)
    for part, tap in zip(parts, taps(ksize), strict=True):
        spread = [(k, m - k - (t - 1) * s - 1, s - 1) for k, m, t, s in zip(tap, inner, out, strides, strict=True)]
        total = total + lax.pad(part, zero, [(0, 0, 0), *spread, (0, 0, 0)])
    return total


def _plane(tap: Ints, inner: Ints, out: Ints, strides: Ints, pad: Pads) -> tuple[Any, Any]:
    """The plane positions that a tap reads, and whether they are inside."""
    at: Any = np.zeros((1,) * len(inner), np.int64)
    inside: Any = np.ones((1,) * len(inner), np.bool_)
    for i, (k, n, t, s, (before, _)) in enumerate(zip(tap, inner, out, strides, pad, strict=True)):
        cell = (np.arange(t) * s + k - before).reshape([-1 if j == i else 1 for j in range(len(inner))])
        at, inside = at * n + cell, inside & (cell >= 0) & (cell < n)
    return at, inside
