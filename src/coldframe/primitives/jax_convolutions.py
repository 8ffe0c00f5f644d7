"""Convolutions that XLA's kernels for processors are slow at, as products of matrices and sums over taps.

Channels come first, as in all verbs over windows; inside they are last, where the elements of a row lie side by side:

- a window of one cell is a product of matrices,
- one filter per channel (depthwise) is a sum over taps, each of which is one multiplication,
- the gradient for filters over few channels is one product for all taps: the windows' cells, written out, are small.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from coldframe.primitives.base import Unlowerable
from coldframe.primitives.windows import Pads, positions
from coldframe.records import dataclass

Ints = Sequence[int]
_MOST_TAPS = 200  # of a window that is walked tap by tap
_FEW_TAPS = 30  # of one filter per channel
_FEW_CELLS = 64  # channels times taps, that are written out


@dataclass(frozen=True, slots=True)
class Slide:
    """How windows of one filter slide over [n, c, *s]: the filter is [o, c / groups, *k], the result [n, o, *t]."""

    strides: Ints
    pad: Pads
    dilations: Ints
    groups: int

    def own(self, filters: Ints, dtype: Any) -> bool:
        """Whether `conv` and `transposed` are faster than XLA's own."""
        return dtype.kind in "fc" and (self._pointwise(filters) or self._depthwise(filters))

    def own_filter(self, filters: Ints, dtype: Any) -> bool:
        """Whether `filter` is."""
        few = self.groups == 1 and math.prod(filters[1:]) <= _FEW_CELLS
        return self.own(filters, dtype) or (few and dtype.kind in "fc")

    def _pointwise(self, filters: Ints) -> bool:
        still = all(s == 1 for s in self.strides) and not any(a or b for a, b in self.pad)
        return self.groups == 1 and math.prod(filters[2:]) == 1 and still

    def _depthwise(self, filters: Ints) -> bool:
        return self.groups > 1 and filters[1] == 1 and math.prod(filters[2:]) <= _FEW_TAPS

    def conv(self, x: Any, w: Any) -> Any:
        """Return the correlation of `x` with `w`."""
        last = channels_last(x)
        if self._pointwise(w.shape):
            return channels_first(jnp.matmul(last, w.reshape(w.shape[:2]).T))
        wide = self._repeated(padded(channels_last(x), self.pad, 0, 1), w.shape[0])
        out = self._out(x.shape[2:], w.shape[2:])
        total = sum(tap_of(wide, t, out, self.strides, self.dilations, 1) * _at(w, t) for t in taps(w.shape[2:]))
        return channels_first(total)

    def transposed(self, dy: Any, w: Any, sizes: Ints) -> Any:
        """Return the gradient for the input, of spatial `sizes`."""
        last = channels_last(dy)
        if self._pointwise(w.shape):
            return channels_first(jnp.matmul(last, w.reshape(w.shape[:2])))
        around = [n + a + b for n, (a, b) in zip(sizes, self.pad, strict=True)]
        total = jnp.zeros((dy.shape[0], *around, self.groups), dy.dtype)
        zero = np.zeros((), dy.dtype)
        for tap in taps(w.shape[2:]):
            spread = [(k * d, m - k * d - (t - 1) * s - 1, s - 1) for k, d, m, t, s
                      in zip(tap, self.dilations, around, dy.shape[2:], self.strides, strict=True)]  # fmt: skip
            total = total + lax.pad(self._gathered(last * _at(w, tap)), zero, [(0, 0, 0), *spread, (0, 0, 0)])
        inner = tuple(slice(a, a + n) for (a, _), n in zip(self.pad, sizes, strict=True))
        return channels_first(total[(slice(None), *inner)])

    def filter(self, x: Any, dy: Any, kernel: Ints) -> Any:
        """Return the gradient for the filter, of `kernel` taps."""
        wide, last = self._repeated(padded(channels_last(x), self.pad, 0, 1), dy.shape[1]), channels_last(dy)
        out, rows = dy.shape[2:], math.prod(last.shape[:-1])
        cells = [tap_of(wide, t, out, self.strides, self.dilations, 1) for t in taps(kernel)]
        if self.groups > 1:
            sums = [(c * last).reshape(rows, -1).sum(0) for c in cells]
            return jnp.stack(sums, -1).reshape(-1, 1, *kernel)
        right = jnp.stack(cells, -1)  # [n, *t, c, taps]
        product = jnp.matmul(last.reshape(rows, last.shape[-1]).T, right.reshape(rows, x.shape[1] * len(cells)))
        return product.reshape(last.shape[-1], x.shape[1], *kernel)

    def _repeated(self, last: Any, channels: int) -> Any:
        """[n, *s, groups] as [n, *s, channels]: each as often as it has filters."""
        return last if self.groups in (1, channels) else jnp.repeat(last, channels // self.groups, -1)

    def _gathered(self, last: Any) -> Any:
        """[n, *t, o] as [n, *t, groups]: the sum of each group."""
        if last.shape[-1] == self.groups:
            return last
        return last.reshape(*last.shape[:-1], self.groups, last.shape[-1] // self.groups).sum(-1)

    def _out(self, inner: Ints, kernel: Ints) -> tuple[int, ...]:
        covers = [(k - 1) * d + 1 for k, d in zip(kernel, self.dilations, strict=True)]
        each = zip(inner, covers, self.strides, self.pad, strict=True)
        return tuple(positions(n, c, s, p) for n, c, s, p in each)


def channels_last(x: Any) -> Any:
    """[n, c, *s] as [n, *s, c]."""
    return jnp.moveaxis(x, 1, -1)


def channels_first(x: Any) -> Any:
    """[n, *s, c] as [n, c, *s]."""
    return jnp.moveaxis(x, -1, 1)


def _at(w: Any, tap: Ints) -> Any:
    """The numbers of all filters, one per channel, at a tap: [o]."""
    return w[(slice(None), 0, *tap)]


def padded(x: Any, pad: Pads, fill: Any, first: int = 2) -> Any:
    """Return `x` with `fill` around; `first` is the first spatial dimension."""
    around = [(0, 0, 0)] * x.ndim
    around[first : first + len(pad)] = [(a, b, 0) for a, b in pad]
    return lax.pad(x, np.asarray(fill, x.dtype), around)


def taps(kernel: Ints) -> Iterator[tuple[int, ...]]:
    """Return the positions in a window, in row-major order."""
    if math.prod(kernel) > _MOST_TAPS:
        raise Unlowerable(f"a window of more than {_MOST_TAPS} taps")
    return itertools.product(*(range(k) for k in kernel))


def tap_of(x: Any, tap: Ints, out: Ints, strides: Ints, dilations: Ints, first: int = 2) -> Any:
    """The cells that tap number `tap` of all windows reads; `first` is the first spatial dimension."""
    each = zip(tap, out, strides, dilations, strict=True)
    cells = [slice(k * d, k * d + max((t - 1) * s + 1, 0), s) for k, t, s, d in each]
    return x[(slice(None),) * first + tuple(cells)]
