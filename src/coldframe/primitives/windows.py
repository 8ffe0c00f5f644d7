"""The geometry of sliding windows, which all interpreters share.

A window of `kernel` taps, `dilation` cells apart, covers ``extent`` cells and moves by `stride`:

    before |<------------- size ------------->| after
    [pad]  x x x x x x x x x x x x x x x x x x  [pad]
    |-extent-|
       |--stride-->|-extent-|

``VALID`` pads nothing. ``SAME`` pads so that the result has ceil(size / stride) cells, the odd cell after. Otherwise
the padding is given as (before, after) per spatial dimension.
"""

from __future__ import annotations

from collections.abc import Sequence

from coldframe.primitives.base import refuse

Pads = Sequence[tuple[int, int]]
Padding = str | Pads


def extent(kernel: int, dilation: int = 1) -> int:
    """Return how many cells a window covers."""
    return (kernel - 1) * dilation + 1


def same(size: int, covers: int, stride: int) -> tuple[int, int]:
    """Return the padding of ``SAME`` for a window that covers `covers` cells."""
    total = max((-(-size // stride) - 1) * stride + covers - size, 0)
    return total // 2, total - total // 2


def pads(
    padding: Padding, sizes: Sequence[int], kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int]
) -> list[tuple[int, int]]:
    """Return the padding of each spatial dimension."""
    if padding == "VALID":
        return [(0, 0)] * len(sizes)
    if padding == "SAME":
        each = zip(sizes, kernel, strides, dilations, strict=True)
        return [same(n, extent(k, d), s) for n, k, s, d in each]
    return [(int(p[0]), int(p[1])) for p in padding]


def positions(size: int, covers: int, stride: int, pad: tuple[int, int]) -> int:
    """Return how many windows fit into a padded dimension; refuse where TensorFlow does."""
    room = size + pad[0] + pad[1] - covers + stride
    n = room // stride if room >= 0 else -(-room // stride)  # towards zero, as TensorFlow counts
    if n < 0:
        raise refuse(
            "the window is larger than what it slides over", expected=f"at most {size + sum(pad)} cells", found=covers
        )
    return n


def fits(sizes: Sequence[int], out: Sequence[int], covers: Sequence[int], strides: Sequence[int], pad: Pads) -> None:
    """Refuse a gradient whose spatial sizes `out` are not those of the forward op."""
    want = [positions(n, c, s, p) for n, c, s, p in zip(sizes, covers, strides, pad, strict=True)]
    if want != list(out):
        raise refuse("the gradient has not the spatial sizes of the forward result", expected=want, found=list(out))
