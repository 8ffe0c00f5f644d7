"""Random numbers that are drawn by trial, each from its own stretch of the sequence: gamma and Poisson.

::

    gamma     a normal and a uniform value, until they accept: Marsaglia and Tsang, "A simple method for generating
              gamma variables" (2000); below 1, of alpha + 1, times a power of one more
    Poisson   below 10, uniform values until their product is small (Knuth); from there on, Hormann, "The transformed
              rejection method for generating Poisson random variables" (1993)

Value `i` takes its blocks from ``256 * i`` on: two doubles of each, the second one first. After
tensorflow/core/kernels/random_op.cc, random_poisson_op.cc and stateless_random_gamma_op.cc.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from coldframe import dtypes
from coldframe.dtypes import DType
from coldframe.ops import philox
from coldframe.ops.backward import filled, rank_of, shape_of, size_of
from coldframe.ops.philox import RESERVED, Stream
from coldframe.ops.random import reserve, sizes
from coldframe.ops.state import State
from coldframe.ops.stateless import of_key, of_seed
from coldframe.ops.table import op
from coldframe.primitives.base import refuse

Array = npt.NDArray[Any]
_WHY: Final = "random numbers"
_SMALL: Final = 10  # rates below which values are multiplied


class Pairs:
    """Values that a block has two of, for many places at once."""

    def __init__(self, stream: Stream, starts: Array, position: Array, make: Callable[[Array], Array]) -> None:
        self._stream, self._starts, self._position, self._make = stream, starts, position, make
        self._held = np.zeros((len(starts), 2))
        self._left = np.zeros(len(starts), np.int64)

    def take(self, at: Array) -> Array:
        """Return one value for each of the places `at`."""
        empty = at[self._left[at] == 0]
        if len(empty):
            words = self._stream.at(self._starts[empty] + self._position[empty])
            self._held[empty] = self._make(words)
            self._position[empty] += np.uint64(1)
            self._left[empty] = 2
        self._left[at] -= 1
        return self._held[at, self._left[at]]


def _draws(stream: Stream, count: int) -> tuple[Pairs, Pairs]:
    """Return uniform and normal values, which take turns in the stretches of `count` results."""
    starts = np.arange(count, dtype=np.uint64) * np.uint64(RESERVED)
    position = np.zeros(count, np.uint64)
    return (
        Pairs(stream, starts, position, lambda w: philox.fractions(w, dtypes.float64).reshape(-1, 2)),
        Pairs(stream, starts, position, lambda w: philox.box_muller(w, True)),
    )


def gamma(stream: Stream, alpha: Array, samples: int) -> Array:
    """Return values of gamma distributions, float64[samples, number of alphas]."""
    flat = np.repeat(alpha.ravel().astype(np.float64), samples)
    out = np.zeros(len(flat))
    uniform, normal = _draws(stream, len(flat))
    less = flat < 1
    d = flat + np.where(less, 2 / 3, -1 / 3)
    with np.errstate(all="ignore"):
        c = 1 / 3 / np.sqrt(d)
    open_ = np.flatnonzero((d > 0) & (flat != 1) & np.isfinite(flat))
    ones = np.flatnonzero(flat == 1)
    out[ones] = -np.log1p(-uniform.take(ones))
    out[~(d > 0)] = math.nan  # no distribution has such a shape; TensorFlow's kernel goes on as well
    out[flat == math.inf] = math.inf
    while len(open_):
        x = normal.take(open_)
        v = 1 + c[open_] * x
        tried = v > 0
        at, x, v = open_[tried], x[tried], v[tried] ** 3
        u = uniform.take(at)
        with np.errstate(divide="ignore"):
            good = (u < 1 - 0.0331 * (x * x) * (x * x)) | (np.log(u) < 0.5 * x * x + d[at] * (1 - v + np.log(v)))
        done = at[good]
        out[done] = d[done] * v[good]
        low = done[less[done]]
        with np.errstate(divide="ignore", over="ignore"):
            out[low] *= uniform.take(low) ** (1 / flat[low])
        open_ = np.setdiff1d(open_, done, assume_unique=True)
    return out.reshape(alpha.size, samples).T


def poisson(stream: Stream, rate: Array, samples: int, most: float) -> Array:
    """Return values of Poisson distributions, float64[samples, number of rates], none above `most` but infinities."""
    flat = np.repeat(rate.ravel().astype(np.float64), samples)
    if np.isnan(flat).any():
        raise refuse("the rate of a Poisson distribution", expected="a number", found=math.nan)
    endless = flat == math.inf
    out = np.where(endless, math.inf, 0.0)
    flat = np.where(np.isinf(flat), 0.0, flat)
    uniform, _ = _draws(stream, len(flat))
    _multiplied(uniform, flat, out)
    _transformed(uniform, flat, out, most)
    out[endless] = math.inf
    return out.reshape(rate.size, samples).T


def _multiplied(uniform: Pairs, rate: Array, out: Array) -> None:
    open_ = np.flatnonzero(rate < _SMALL)
    limit, product = np.exp(-np.minimum(rate, _SMALL)), np.ones(len(rate))
    while len(open_):
        product[open_] *= uniform.take(open_)
        open_ = open_[product[open_] > limit[open_]]
        out[open_] += 1


def _transformed(uniform: Pairs, rates: Array, out: Array, most: float) -> None:
    open_ = np.flatnonzero(rates >= _SMALL)
    while len(open_):
        rate = rates[open_]
        b = 0.931 + 2.53 * np.sqrt(rate)
        a = -0.059 + 0.02483 * b
        scale = 1.1239 + 1.1328 / (b - 3.4)
        u = uniform.take(open_) - 0.5
        v = uniform.take(open_)
        inner = 0.5 - np.abs(u)
        with np.errstate(all="ignore"):
            k = np.floor((2 * a / inner + b) * u + rate + 0.43)
            good = (inner >= 0.07) & (v <= 0.9277 - 3.6224 / (b - 2))
            off = (k < 0) | ((inner < 0.013) & (v > inner))
            s = np.log(v * scale / (a / (inner * inner) + b))
            logs = np.array([math.lgamma(max(n, 0) + 1) if np.isfinite(n) else math.inf for n in k.tolist()])
            good |= ~off & (s <= -rate + k * np.log(rate) - logs)
        good &= k <= most
        out[open_[good]] = k[good]
        open_ = open_[~good]


def _rounded(values: Array, dtype: np.dtype[Any]) -> Array:
    """Return doubles in another dtype; floats too small to be normal are 0, as in TensorFlow's threads."""
    if dtype == np.float32:
        values = np.where(values < np.finfo(np.float32).tiny, 0, values)
    return values.astype(dtype)


def _counts(values: Array, dtype: DType) -> Array:
    """Return values of Poisson distributions in another dtype; as integers, TensorFlow's infinities are 0."""
    return (values if dtype.is_float else np.where(np.isinf(values), 0, values)).astype(dtype.numpy)


def _most(dtype: DType) -> float:
    return float(dtype.max)


# --- with state -------------------------------------------------------------------------------------------------
def _given(shape: Any, per: Any) -> tuple[tuple[int, ...], int]:
    dims, samples = sizes(shape)
    return (*dims, *np.shape(per)), samples


@op("RandomGamma", stateful=True, random=True, host=_WHY)
def random_gamma(xp: Any, state: State, shape: Any, alpha: Any, *, seed: int, seed2: int) -> Any:
    """Values of the gamma distributions of each alpha."""
    dims, samples = _given(shape, alpha)
    stream = reserve(state, seed, seed2, samples * np.size(alpha) * RESERVED)
    return _rounded(gamma(stream, alpha, samples).reshape(dims), alpha.dtype)


def _for_alpha(g: Any, alpha: Any, sample: Any, leading: Any, dy: Any) -> Any:
    """The sum over all values that were drawn with each alpha; `leading` is the number of dimensions before alpha's."""
    spread = g.ConcatV2(
        [filled(g, g.ExpandDims(leading, 0), 1, dtypes.int32, "ones"), shape_of(g, alpha)], 0, name="concat"
    )
    slope = g.RandomGammaGrad(g.Reshape(alpha, spread), sample)
    return g.Sum(dy * slope, g.Range(0, leading, 1, name="range"))


@random_gamma.gradient
def _(g: Any, op: Any, dy: Any) -> Any:
    shape, alpha = op.inputs
    return None, _for_alpha(g, alpha, op.outputs[0], size_of(g, shape), dy)


@op("RandomPoissonV2", no_gradient=True, stateful=True, random=True, host=_WHY)
def random_poisson_v2(xp: Any, state: State, shape: Any, rate: Any, *, seed: int, seed2: int, dtype: DType) -> Any:
    """Values of the Poisson distributions of each rate."""
    dims, samples = _given(shape, rate)
    stream = reserve(state, seed, seed2, samples * np.size(rate) * RESERVED)
    return _counts(poisson(stream, rate, samples, _most(dtype)).reshape(dims), dtype)


@op("RandomPoisson", no_gradient=True, stateful=True, random=True, host=_WHY)
def random_poisson(xp: Any, state: State, shape: Any, rate: Any, *, seed: int, seed2: int, dtype: DType) -> Any:
    """Values of the Poisson distributions of each rate, in the rates' dtype."""
    return random_poisson_v2.body(xp, state, shape, rate, seed=seed, seed2=seed2, dtype=dtype)


# --- without ----------------------------------------------------------------------------------------------------
def _ends(shape: Any, per: Any) -> tuple[tuple[int, ...], int]:
    """Return the dimensions of the result, and how many values there are of each distribution."""
    dims, count = sizes(shape)
    own = np.shape(per)
    if dims[len(dims) - len(own) :] != own:
        raise refuse("the shape does not end with that of the parameters", expected=list(own), found=list(dims))
    return dims, count // max(np.size(per), 1)


@op("StatelessRandomGammaV2", host=_WHY)
def stateless_random_gamma_v2(xp: Any, shape: Any, seed: Any, alpha: Any) -> Any:
    """Values of the gamma distributions of each alpha, for a seed."""
    dims, samples = _ends(shape, alpha)
    return _rounded(gamma(of_seed(seed), alpha, samples).reshape(dims), alpha.dtype)


@op("StatelessRandomGammaV3", host=_WHY)
def stateless_random_gamma_v3(xp: Any, shape: Any, key: Any, counter: Any, alg: Any, alpha: Any) -> Any:
    """Values of the gamma distributions of each alpha, for a key and a counter."""
    dims, samples = _ends(shape, alpha)
    return _rounded(gamma(of_key(key, counter, alg), alpha, samples).reshape(dims), alpha.dtype)


def _ends_with_alpha(g: Any, op: Any, dy: Any) -> Any:
    shape, alpha = op.inputs[0], op.inputs[-1]
    leading = size_of(g, shape) - rank_of(g, alpha)
    return [*[None] * (len(op.inputs) - 1), _for_alpha(g, alpha, op.outputs[0], leading, dy)]


stateless_random_gamma_v2.gradient(_ends_with_alpha)
stateless_random_gamma_v3.gradient(_ends_with_alpha)


@op("StatelessRandomPoisson", no_gradient=True, host=_WHY)
def stateless_random_poisson(xp: Any, shape: Any, seed: Any, lam: Any, *, dtype: DType) -> Any:
    """Values of the Poisson distributions of each rate, for a seed."""
    dims, samples = _ends(shape, lam)
    return _counts(poisson(of_seed(seed), lam, samples, _most(dtype)).reshape(dims), dtype)
