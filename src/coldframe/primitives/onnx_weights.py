"""Weights on their way from a file into a runtime: turned, scaled and copied once.

TensorFlow stores the filters of convolutions channels last, ONNX channels first; and what follows a convolution, a bias
and the scaling of a batch normalization, is part of its filters and its bias as well (`scaled`)::

    Conv(x, w) + b          │
    (...) * s               │  Conv(x, w * s, b * s + t)
    (...) + t               │

A turned filter is a view until somebody needs it. It is copied by blocks that fit the cache, which takes half as long
as in one go, several filters at a time.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias, TypeGuard

import numpy as np
import numpy.typing as npt

from coldframe.records import dataclass

Array: TypeAlias = npt.NDArray[Any]

_LINE: Final = 16  # elements that are written side by side
_LARGE: Final = 1 << 16  # bytes; less is copied in one go
_WORTH: Final = 1 << 22  # bytes; less is not worth a thread
_MOST: Final = 8  # threads
_ALIGNMENT: Final = 64  # bytes


@dataclass(frozen=True, slots=True, eq=False)
class Scaled:
    """An array times factors along its first axis, not computed yet."""

    array: Array
    factors: Array

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.array.dtype

    @property
    def nbytes(self) -> int:
        return self.array.nbytes

    def times(self, factors: Array) -> Scaled:
        """Return it with further factors."""
        return Scaled(self.array, self.factors * factors)


Weight: TypeAlias = "Array | Scaled"


def laid_out(weight: Weight, out: Array | None = None) -> Array:
    """Return a weight as an array whose elements lie in order; one that does already as it is.

    Args:
        weight: the weight.
        out: where to put it; left out, new memory.
    """
    if is_laid_out(weight):
        return weight
    out = np.empty(weight.shape, weight.dtype) if out is None else out
    if not isinstance(weight, Scaled):
        return _copied(weight, lambda part: part, out)
    array = weight.array
    factors = weight.factors.astype(array.dtype).reshape(-1, *(1,) * (array.ndim - 1))
    return _copied(array, lambda part: part * factors, out)


def is_laid_out(weight: Weight) -> TypeGuard[Array]:
    """Whether there is nothing to be done."""
    return not isinstance(weight, Scaled) and weight.flags.c_contiguous and weight.flags.aligned


def _copied(array: Array, made: Callable[[Array], Array], out: Array) -> Array:
    if array.nbytes < _LARGE or array.ndim < 2:
        out[...] = made(array)
        return out
    axis, inner = array.ndim - 1, 1
    while axis > 1 and inner * array.shape[axis] <= _LINE:  # the first axis stays whole: factors lie along it
        inner *= array.shape[axis]
        axis -= 1
    step = max(_LINE // inner, 1)
    for i in range(0, array.shape[axis], step):
        part = (*(slice(None),) * axis, slice(i, i + step))
        out[part] = made(array[part])
    return out


class Layout:
    """Weights that are being laid out, by threads that begin when this is made.

    Args:
        weights: by name.
        threads: how many at most; 0 for as many as there are processors.
    """

    def __init__(self, weights: Mapping[str, Weight], threads: int = 0) -> None:
        self._weights = weights
        self._done = {k: w for k, w in weights.items() if is_laid_out(w)}
        rest = {k: w for k, w in weights.items() if k not in self._done}
        size = sum(_rounded(w.nbytes) for w in rest.values())
        # In one piece, which the system hands out in large pages, in a fifth of the time.
        memory = np.empty(size + _ALIGNMENT, np.uint8)
        at = -memory.ctypes.data % _ALIGNMENT
        self._left: list[tuple[str, Array]] = []
        for name, w in sorted(rest.items(), key=lambda item: item[1].nbytes):
            self._left.append((name, memory[at : at + w.nbytes].view(w.dtype).reshape(w.shape)))
            at += _rounded(w.nbytes)
        count = min(threads or os.cpu_count() or 1, _MOST) - 1 if size >= _WORTH else 0
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(count)]
        for t in self._threads:
            t.start()

    def _work(self) -> None:
        while True:
            try:
                name, out = self._left.pop()  # in one go: threads take turns
            except IndexError:
                return
            self._done[name] = laid_out(self._weights[name], out)

    def arrays(self) -> dict[str, Array]:
        """Wait for all and return them, in the order in which they were given."""
        self._work()
        for t in self._threads:
            t.join()
        return {k: self._done[k] for k in self._weights}


def _rounded(size: int) -> int:
    return size + -size % _ALIGNMENT
