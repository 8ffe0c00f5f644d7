"""Random numbers that are a function of a seed, in both generations.

::

    first     shape, seed[2]                     the seed goes through the generator once, which gives key and counter
    second    shape, key[1], counter[2], alg     an op of its own has made key and counter of the seed
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from coldframe.dtypes import DType
from coldframe.ops import inference_math, philox
from coldframe.ops.philox import Stream
from coldframe.ops.random import limits, sizes, weights
from coldframe.ops.state import State
from coldframe.ops.table import Op, op
from coldframe.primitives.base import refuse

_WHY: Final = "random numbers"
_PHILOX, _AUTO = 1, 3
_MASK: Final = 0xFFFFFFFFFFFFFFFF
_SCRAMBLE: Final = 0x02461E293EC8F720

Draw = Callable[[Stream, int, DType], Any]


def of_seed(seed: Any) -> Stream:
    """Return the sequence of a seed, a vector of two integers."""
    if np.shape(seed) != (2,):
        raise refuse("a seed", expected="a vector of 2", found=f"shape {list(np.shape(seed))}")
    low, high = (int(s) & _MASK for s in seed)
    mixed = Stream(_SCRAMBLE, low | high << 64).words(1)[0].tolist()
    return Stream(mixed[0] | mixed[1] << 32, (mixed[2] | mixed[3] << 32) << 64)


def of_key(key: Any, counter: Any, alg: Any) -> Stream:
    if np.ndim(alg) or int(alg) not in (_PHILOX, _AUTO):
        raise refuse("the random number generator", expected="1 (Philox) or 3 (the usual one)", found=np.ravel(alg))
    if np.shape(key) != (1,) or np.ndim(counter) != 1 or len(counter) < 2:
        raise refuse("key and counter", expected="[1] and [2]", found=f"{np.shape(key)}, {np.shape(counter)}")
    return Stream(int(key[0]), int(counter[0]) | int(counter[1]) << 64)


# --- seeds ------------------------------------------------------------------------------------------------------
def _key_counter(seed: Any) -> tuple[Any, Any]:
    stream = of_seed(seed)
    counter = np.array([stream.counter & _MASK, stream.counter >> 64], np.uint64)
    return np.array([stream.key], np.uint64), counter


@op("StatelessRandomGetKeyCounter", shape="-> [1] [2]", host=_WHY)
def stateless_random_get_key_counter(xp: Any, seed: Any) -> Any:
    """Key and counter for a seed."""
    return _key_counter(seed)


@op("StatelessRandomGetAlg", shape="-> []", host=_WHY)
def stateless_random_get_alg(xp: Any) -> Any:
    """The generator that is used: Philox."""
    return np.int32(_PHILOX)


@op("StatelessRandomGetKeyCounterAlg", shape="-> [1] [2] []", host=_WHY)
def stateless_random_get_key_counter_alg(xp: Any, seed: Any) -> Any:
    """Key, counter and generator for a seed."""
    return (*_key_counter(seed), np.int32(_PHILOX))


# --- values -----------------------------------------------------------------------------------------------------
def _full(stream: Stream, count: int, dtype: DType) -> Any:
    return philox.bits(stream, count, dtype).view(dtype.numpy)


def _both(name: str, draw: Draw, doc: str) -> list[Op]:
    """Return the two generations of an op without limits."""

    def by_seed(xp: Any, shape: Any, seed: Any, *, dtype: DType) -> Any:
        dims, count = sizes(shape)
        return draw(of_seed(seed), count, dtype).reshape(dims)

    def by_key(xp: Any, shape: Any, key: Any, counter: Any, alg: Any, *, dtype: DType) -> Any:
        dims, count = sizes(shape)
        return draw(of_key(key, counter, alg), count, dtype).reshape(dims)

    by_seed.__doc__ = by_key.__doc__ = doc
    return [
        Op(name, by_seed, no_gradient=True, shape=inference_math.random, host=_WHY),
        Op(f"{name}V2", by_key, no_gradient=True, shape=inference_math.random, host=_WHY),
    ]


VALUES = [
    *_both("StatelessRandomUniform", philox.uniform, "Values of [0, 1), each equally likely."),
    *_both("StatelessRandomNormal", philox.normal, "Values of the normal distribution of mean 0 and deviation 1."),
    *_both("StatelessTruncatedNormal", philox.truncated, "Normal values that are less than 2 from the mean."),
    *_both("StatelessRandomUniformFullInt", _full, "Integers, each equally likely."),
]


@op("StatelessRandomUniformInt", no_gradient=True, shape=inference_math.random, host=_WHY)
def stateless_random_uniform_int(xp: Any, shape: Any, seed: Any, minval: Any, maxval: Any, *, dtype: DType) -> Any:
    """Integers of [minval, maxval)."""
    dims, count = sizes(shape)
    return philox.integers(of_seed(seed), count, *limits(minval, maxval, count), dtype).reshape(dims)


@op("StatelessRandomUniformIntV2", no_gradient=True, shape=inference_math.random, host=_WHY)
def stateless_random_uniform_int_v2(
    xp: Any, shape: Any, key: Any, counter: Any, alg: Any, minval: Any, maxval: Any, *, dtype: DType
) -> Any:
    """Integers of [minval, maxval)."""
    dims, count = sizes(shape)
    return philox.integers(of_key(key, counter, alg), count, *limits(minval, maxval, count), dtype).reshape(dims)


@op("StatelessMultinomial", no_gradient=True, shape=inference_math.multinomial, host=_WHY)
def stateless_multinomial(xp: Any, logits: Any, num_samples: Any, seed: Any, *, output_dtype: DType) -> Any:
    """Classes chosen with the logarithmic weights of each row of `logits`."""
    return philox.choices(of_seed(seed), logits, weights(logits, num_samples)).astype(output_dtype.numpy)


@op("StatelessShuffle", shape="x -> x", host=_WHY)
def stateless_shuffle(xp: Any, value: Any, key: Any, counter: Any, alg: Any) -> Any:
    """The rows of `value` in random order."""
    rows = np.shape(value)[0] if np.ndim(value) else 0
    stream = of_key(key, counter, alg)
    return value if np.size(value) == 0 or rows < 2 else value[philox.permutation(stream, rows)]


# --- numbers in random order --------------------------------------------------------------------------------------
def _round_keys(key: list[int], rounds: int, width: int) -> list[int]:
    mask = (1 << width) - 1
    keys = [k & mask for k in key]
    bits = 0x7369F885192C0EF5 & mask
    for i in range(3, rounds):
        last = keys[i - 1]
        turned = (last >> 3 | last << width - 3) ^ (last >> 4 | last << width - 4)
        keys.append(((0xFFFFFFFC & mask) ^ (bits & 1) ^ keys[i - 3] ^ turned) & mask)
        bits >>= 1
    return keys[:rounds]


def _ciphered(value: int, keys: list[int], width: int) -> int:
    """A block cipher of twice `width` bits, Simon: it maps numbers of so many bits onto each other."""
    mask = (1 << width) - 1

    def mixed(x: int) -> int:
        one, eight, two = ((x << n | x >> width - n) & mask for n in (1, 8, 2))
        return one & eight ^ two

    left, right = value >> width & mask, value & mask
    for a, b in zip(keys[::2], keys[1::2], strict=True):
        left ^= mixed(right) ^ a
        right ^= mixed(left) ^ b
    return left << width | right


@op("RandomIndexShuffle", host=_WHY)
def random_index_shuffle(xp: Any, index: Any, seed: Any, max_index: Any, *, rounds: int, dtype: DType) -> Any:
    """Where numbers up to `max_index` come to lie when they are shuffled, for a seed of three numbers."""
    if np.ndim(index) > 1 or np.ndim(max_index) > 1 or np.ndim(seed) not in (1, 2) or np.shape(seed)[-1] != 3:
        found = [list(np.shape(v)) for v in (index, seed, max_index)]
        raise refuse(
            "shapes of `index`, `seed` and `max_index`", expected="[] or [n], [3] or [n, 3], [] or [n]", found=found
        )
    if rounds < 4 or rounds % 2:
        raise refuse("`rounds`", expected="an even number from 4 on", found=rounds)
    lengths = {len(v) for v, rank in ((index, 1), (max_index, 1), (seed, 2)) if np.ndim(v) == rank}
    if len(lengths - {1}) > 1 or 0 in lengths:
        raise refuse("`index`, `seed` and `max_index` differ in length", found=sorted(lengths))
    n = max(lengths, default=1)
    spread = (
        np.broadcast_to(index, n).tolist(),
        np.broadcast_to(seed, (n, 3)).tolist(),
        np.broadcast_to(max_index, n).tolist(),
    )
    out = [_shuffled(i, key, most, rounds) for i, key, most in zip(*spread, strict=True)]
    return np.array(out, dtype.numpy) if lengths else dtype.numpy.type(out[0])


def _shuffled(index: int, key: list[int], most: int, rounds: int) -> int:
    if not 0 <= index <= most:
        raise refuse("an index is out of range", expected=f"0 to {most}", found=index)
    if not most:
        return 0
    size = math.ceil(math.log2(most))
    width = max(size + size % 2, 16) // 2
    keys = _round_keys([k & 0xFFFFFFFF for k in key], rounds, width)
    index = _ciphered(index, keys, width)
    while index > most:  # until it falls among the numbers that there are
        index = _ciphered(index, keys, width)
    return index


# --- generators that keep their place in a variable -------------------------------------------------------------
_STEP: Final = 256  # blocks that one number may use


def _skip(state: State, resource: Any, alg: Any, delta: Any) -> Any:
    """Return the state of a generator, int64[3] (counter, then key), and move it on."""
    if np.ndim(alg) or int(alg) not in (_PHILOX, _AUTO):
        raise refuse("the random number generator", expected="1 (Philox) or 3 (the usual one)", found=np.ravel(alg))
    return _skip_on(state, resource, int(delta))


def _skip_on(state: State, resource: Any, delta: int, at: int = 0) -> Any:
    """Return the state of a generator, which begins at number `at` of the variable, and move it on."""
    whole = state.read(resource)
    if whole.dtype != np.int64 or whole.ndim != 1 or len(whole) < at + 3:
        raise refuse("the state of a generator", expected=f"int64[{at + 3}]", found=f"{whole.dtype}{list(whole.shape)}")
    before = whole[at:]
    low, high = (int(v) & _MASK for v in before[:2])
    moved = Stream(0, low | high << 64).skip(delta * _STEP & _MASK).counter
    after = np.array([moved & _MASK, moved >> 64], np.uint64).view(np.int64)
    state.assign(resource, np.concatenate([whole[:at], after, before[2:]]))
    return before


@op("RngReadAndSkip", shape="[] [] [] -> [n]", stateful=True, no_gradient=True, role="draw")
def rng_read_and_skip(xp: Any, state: State, resource: Any, alg: Any, delta: Any) -> Any:
    """The state of a random number generator that a variable keeps, which is moved on by so many numbers."""
    return _skip(state, resource, alg, delta)


@op("RngSkip", stateful=True, no_gradient=True, role="update")
def rng_skip(xp: Any, state: State, resource: Any, algorithm: Any, delta: Any) -> None:
    """Move a random number generator that a variable keeps on by so many numbers."""
    _skip(state, resource, algorithm, delta)


def _kept(name: str, draw: Draw, doc: str) -> Op:
    """Return an op that draws from a generator of a variable, and moves it on."""

    def body(xp: Any, state: State, resource: Any, algorithm: Any, shape: Any, *, dtype: DType) -> Any:
        dims, count = sizes(shape)
        return draw(taken(state, resource, algorithm, count), count, dtype).reshape(dims)

    body.__doc__ = doc
    return Op(
        name,
        body,
        no_gradient=True,
        shape=inference_math.random_kept,
        stateful=True,
        random=True,
        host=_WHY,
        role="draw",
    )


def taken(state: State, resource: Any, algorithm: Any, count: int) -> Stream:
    """Return where the generator of a variable is, and move it on by so many numbers."""
    if np.ndim(algorithm) or int(algorithm) != _PHILOX:
        raise refuse("the random number generator", expected="1 (Philox)", found=np.ravel(algorithm))
    return _at(_skip(state, resource, algorithm, count))


def _at(before: Any) -> Stream:
    """Return the place that the state of a generator tells."""
    low, high, key = (int(v) & _MASK for v in before[:3])
    return Stream(key, low | high << 64)


KEPT = [
    _kept("StatefulUniform", philox.uniform, "Values of [0, 1), each equally likely."),
    _kept("StatefulUniformFullInt", _full, "Integers, each equally likely."),
    _kept("StatefulStandardNormalV2", philox.normal, "Values of the normal distribution of mean 0 and deviation 1."),
    _kept("StatefulTruncatedNormal", philox.truncated, "Normal values that are less than 2 from the mean."),
]


@op(
    "StatefulStandardNormal",
    no_gradient=True,
    shape="[?] [r] -> ?",
    stateful=True,
    random=True,
    host=_WHY,
    role="draw",
)
def stateful_standard_normal(xp: Any, state: State, resource: Any, shape: Any, *, dtype: DType) -> Any:
    """Values of the normal distribution, of a generator whose state begins with the number of its algorithm."""
    dims, count = sizes(shape)
    return philox.normal(_at(_skip_on(state, resource, count, 1)), count, dtype).reshape(dims)


@op(
    "StatefulUniformInt",
    no_gradient=True,
    shape=inference_math.random_kept,
    stateful=True,
    random=True,
    host=_WHY,
    role="draw",
)
def stateful_uniform_int(
    xp: Any, state: State, resource: Any, algorithm: Any, shape: Any, minval: Any, maxval: Any, *, dtype: DType
) -> Any:
    """Integers of [minval, maxval)."""
    dims, count = sizes(shape)
    low, high = limits(minval, maxval, count)
    return philox.integers(taken(state, resource, algorithm, count), count, low, high, dtype).reshape(dims)


@op("NonDeterministicInts", no_gradient=True, shape=inference_math.random, random=True, host=_WHY)
def non_deterministic_ints(xp: Any, shape: Any, *, dtype: DType) -> Any:
    """Integers that nobody can foresee."""
    dims, count = sizes(shape)
    return np.frombuffer(os.urandom(count * dtype.numpy.itemsize), dtype.numpy).reshape(dims)
