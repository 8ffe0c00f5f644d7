"""Normal values between bounds: each row of a tensor, or each place, has a mean, a deviation and two bounds of its own.

::

    the bounds are wide     draw normal values until one falls between them
    they are close          draw evenly between them, and accept with the density there
    they are far out        draw from an exponential that begins at the nearer one, and accept likewise

Everything is reckoned in the dtype of the values and drawn in the order of TensorFlow's kernels, as one thread goes
through them: where TensorFlow deals the work out to several threads, each begins elsewhere in the sequence.
Source: ``parameterized_truncated_normal_op.cc``; Robert, "Simulation of truncated normal variables" (1995).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from coldframe import dtypes
from coldframe.dtypes import DType
from coldframe.ops import inference_math, philox
from coldframe.ops.philox import Stream
from coldframe.ops.random import reserve, sizes
from coldframe.ops.state import State
from coldframe.ops.stateless import of_seed
from coldframe.ops.table import op
from coldframe.primitives.base import refuse

Array = npt.NDArray[Any]
_TRIES: Final = 1000
_WIDE: Final = 1.3  # deviations between the mean and a bound from which on normal values are drawn
_ROWS: Final = 100  # values that go together where all have the same parameters
_HOST: Final = "random numbers"


class _Draws:
    """A place in the sequence that moves on, block by block."""

    def __init__(self, stream: Stream, dtype: DType) -> None:
        self._stream, self._dtype = stream, dtype
        self.width = 2 if dtype is dtypes.float64 else 4

    def ahead(self, blocks: int, *, normal: bool) -> Array:
        """Return what the next blocks hold, [blocks, width], without moving on."""
        made = (philox.normal if normal else philox.uniform)(self._stream, blocks * self.width, self._dtype)
        return made.reshape(blocks, self.width)

    def move(self, blocks: int) -> None:
        self._stream = self._stream.skip(blocks)


def _exp(x: Array) -> Array:
    return np.exp(x.astype(np.float64)).astype(x.dtype)  # rounded once, as the C library's is


def _log(x: Array) -> Array:
    if x.dtype == np.float32:
        return np.where(x > 0, philox.logf(x), np.float32(-np.inf))
    return np.log(x.astype(np.float64)).astype(x.dtype)


Proposal = Callable[[_Draws, int], tuple[Array, Array]]
"""Looks so many rounds ahead: proposed values, [rounds, n], and which of them are accepted."""


def _proposal(low: Any, high: Any) -> tuple[Proposal, int]:
    """Return how to draw values between normalised bounds, and the blocks that a round takes."""
    kind = low.dtype.type
    span = high - low
    root = np.sqrt(low * low + kind(4))
    cutoff = kind(2) * _exp(kind(0.5) + low * (low - root) / kind(4)) / (low + root)
    if (low < -kind(_WIDE) and high >= 0) or (high > kind(_WIDE) and low <= 0):

        def normal(draws: _Draws, rounds: int) -> tuple[Array, Array]:
            z = draws.ahead(rounds, normal=True)
            return z, (z >= low) & (z <= high)

        return normal, 1
    if span < cutoff:
        plus = kind(0) if low < 0 else low * low

        def even(draws: _Draws, rounds: int) -> tuple[Array, Array]:
            drawn = draws.ahead(2 * rounds, normal=False)
            z = drawn[0::2] * span + low
            return z, drawn[1::2] <= _exp((plus - z * z) / kind(2))

        return even, 2
    alpha = (low + root) / kind(2)

    def exponential(draws: _Draws, rounds: int) -> tuple[Array, Array]:
        drawn = draws.ahead(rounds, normal=False)
        with np.errstate(divide="ignore", over="ignore"):
            z = -_log(drawn[:, 0::2]) / alpha + low
            x = alpha - z if low < alpha else np.full_like(z, low - alpha)
            return z, (drawn[:, 1::2] <= _exp(-x * x / kind(2))) & (z < high)

    return exponential, 1


def _between(draws: _Draws, count: int, mean: Any, deviation: Any, low: Any, high: Any) -> Array:
    """Return so many values, all with the same parameters."""
    if not (deviation > 0 and low < high and (np.isfinite(low) or np.isfinite(high))):
        raise refuse(
            "the parameters of a truncated normal distribution",
            expected="a positive deviation, and a lower bound below the upper one, one of them finite",
            found=f"deviation {deviation}, bounds {low} and {high}",
        )
    if (np.isinf(low) and low < 0) or high < mean:
        low, high, deviation = high, low, -deviation
    with np.errstate(all="ignore"):
        propose, blocks = _proposal((low - mean) / deviation, (high - mean) / deviation)
        kept: list[Array] = []
        missing, idle = count, 0
        while missing:
            z, accepted = propose(draws, rounds := -(-missing // 4) + 1)
            last = np.flatnonzero(accepted.ravel())[:missing]
            if len(last) == missing:
                rounds = int(last[-1]) // z.shape[1] + 1
            idle = 0 if len(last) else idle + z.size
            if idle > _TRIES:
                raise refuse(f"no value in {_TRIES} lies between the bounds of a truncated normal distribution")
            kept.append(z.ravel()[last] * deviation + mean)
            missing -= len(last)
            draws.move(rounds * blocks)
    return np.concatenate(kept) if kept else np.zeros(0, mean.dtype)


@op(
    "ParameterizedTruncatedNormal",
    no_gradient=True,
    shape=inference_math.random,
    stateful=True,
    random=True,
    host=_HOST,
)
def parameterized_truncated_normal(
    xp: Any, state: State, shape: Any, means: Any, stdevs: Any, minvals: Any, maxvals: Any, *, seed: int, seed2: int,
    dtype: DType,
) -> Any:  # fmt: skip
    """Normal values between bounds; each row along the first axis has its mean, deviation and bounds."""
    dims, count = sizes(shape)
    given = {"means": means, "stdevs": stdevs, "minvals": minvals, "maxvals": maxvals}
    if not dims:
        raise refuse("the shape of a truncated normal distribution", expected="at least one dimension", found=[])
    if any(np.ndim(v) > 1 for v in given.values()):
        found = [list(np.shape(v)) for v in given.values()]
        raise refuse("the parameters of rows", expected="scalars or vectors", found=found)
    rows, width = dims[0], math.prod(dims[1:])
    if np.size(means) == np.size(stdevs) == 1 and not np.ndim(minvals) and not np.ndim(maxvals):
        rows, width = -(-count // _ROWS), _ROWS
    for name, value in given.items():
        if np.ndim(value) and len(value) not in (1, rows):
            raise refuse(f"`{name}`", expected=f"1 or {rows} numbers", found=len(value))
    draws = _Draws(reserve(state, seed, seed2, rows * 2 * _TRIES * (width + 3) // 4), dtype)
    spread = [np.broadcast_to(np.ravel(v), rows) for v in given.values()]
    parts = [
        _between(draws, min(width, count - row * width), *parameters)
        for row, parameters in enumerate(zip(*spread, strict=True))
    ]
    return (np.concatenate(parts) if parts else np.zeros(0, dtype.numpy)).reshape(dims)


@op("StatelessParameterizedTruncatedNormal", shape=inference_math.random, host=_HOST)
def stateless_parameterized_truncated_normal(
    xp: Any, shape: Any, seed: Any, means: Any, stddevs: Any, minvals: Any, maxvals: Any, *, dtype: DType
) -> Any:
    """Normal values between bounds; the parameters are broadcast to the last axes."""
    dims, count = sizes(shape)
    try:
        inner = np.broadcast_shapes(*(np.shape(v) for v in (means, stddevs, minvals, maxvals)))
    except ValueError:
        found = [list(np.shape(v)) for v in (means, stddevs, minvals, maxvals)]
        raise refuse("the parameters do not go together", expected="shapes to broadcast", found=found) from None
    places = math.prod(inner)
    if len(inner) > len(dims) or dims[len(dims) - len(inner) :] != inner:
        raise refuse("the shape of the values", expected=f"one that ends with {list(inner)}", found=list(dims))
    if not count:
        return np.zeros(dims, dtype.numpy)
    draws = _Draws(of_seed(seed), dtype)
    spread = [np.broadcast_to(v, inner).ravel() for v in (means, stddevs, minvals, maxvals)]
    columns = [_between(draws, count // places, *parameters) for parameters in zip(*spread, strict=True)]
    return np.stack(columns, axis=1).reshape(dims)
