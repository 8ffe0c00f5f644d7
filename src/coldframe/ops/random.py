"""Random numbers: TensorFlow's Philox generator, to the bit of its CPU kernels for given seeds.

::

    key     = seed, 64 bits                      counter = position (64 bits), seed2 (64 bits)
    block i = philox4x32-10(counter + i, key)    four 32-bit words: four floats, or two doubles

Each node goes through its own sequence: a run takes up 256 blocks per value, whatever it needs of them, as
TensorFlow does. With both seeds zero the sequence begins somewhere else in each session. After
tensorflow/core/lib/random/philox_random.h and random_distributions.h, and Salmon et al., "Parallel random numbers: as
easy as 1, 2, 3" (2011).
"""

from __future__ import annotations

import math
import secrets
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from coldframe import dtypes
from coldframe.dtypes import DType
from coldframe.ops.state import Handle, State
from coldframe.ops.table import op
from coldframe.primitives.base import refuse
from coldframe.shapes import Shape

Array = npt.NDArray[Any]
_RESERVED: Final = 256  # blocks that a run takes up for each value
_MAX_VALUES: Final = 1 << 33
_LOW: Final = np.uint64(0xFFFFFFFF)
_MULTIPLIERS: Final = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
_WEYL: Final = (0x9E3779B9, 0xBB67AE85)
_ROUNDS: Final = 10
_WHY: Final = "random numbers"


def philox(key: int, high: int, first: int, blocks: int) -> Array:
    """Return words of the Philox4x32-10 sequence.

    Args:
        key: 64 bits.
        high: the upper 64 bits of the counter.
        first: the lower 64 bits at the first block.
        blocks: how many blocks.

    Returns:
        uint32[blocks, 4].
    """
    position = np.arange(blocks, dtype=np.uint64) + np.uint64(first & 0xFFFFFFFFFFFFFFFF)
    carried = position < np.uint64(first & 0xFFFFFFFFFFFFFFFF)
    upper = np.uint64(high & 0xFFFFFFFFFFFFFFFF) + carried.astype(np.uint64)
    c = [position & _LOW, position >> np.uint64(32), upper & _LOW, upper >> np.uint64(32)]
    k = [key & 0xFFFFFFFF, key >> 32 & 0xFFFFFFFF]
    for _ in range(_ROUNDS):
        a, b = c[0] * _MULTIPLIERS[0], c[2] * _MULTIPLIERS[1]
        c = [
            (b >> np.uint64(32)) ^ c[1] ^ np.uint64(k[0]),
            b & _LOW,
            (a >> np.uint64(32)) ^ c[3] ^ np.uint64(k[1]),
            a & _LOW,
        ]
        k = [(k[i] + _WEYL[i]) & 0xFFFFFFFF for i in range(2)]
    return np.stack(c, axis=1).astype(np.uint32)


def _words(state: State, shape: Any, seed: int, seed2: int, per_block: int) -> tuple[Array, tuple[int, ...], int]:
    """Return the words of a node's next run, the shape to fill, and the number of its values."""
    if np.ndim(shape) != 1:
        raise refuse("the shape is not a vector", found=f"rank {np.ndim(shape)}")
    dims = tuple(int(d) for d in np.asarray(shape))
    if any(d < 0 for d in dims):
        raise refuse("shape with a negative dimension", found=list(dims))
    count = math.prod(dims)
    if count > _MAX_VALUES:
        raise refuse("too many random values", expected=f"at most {_MAX_VALUES}", found=count)
    kept = state.resource(Handle(state.node, "random", dtypes.variant, Shape.unknown()))
    if not kept:
        chosen = (seed, seed2) if seed or seed2 else (secrets.randbits(64), secrets.randbits(64))
        kept.update(seeds=chosen, position=0)
    key, high = kept["seeds"]
    words = philox(key & 0xFFFFFFFFFFFFFFFF, high & 0xFFFFFFFFFFFFFFFF, kept["position"], -(-count // per_block))
    kept["position"] += count * _RESERVED
    return words, dims, count


def _unit(words: Array, dtype: DType) -> Array:
    """Return values of [0, 1): the words' low bits as the mantissa of a number in [1, 2), less one."""
    if dtype is dtypes.float64:
        high = (words[:, 0::2].astype(np.uint64) & np.uint64(0xFFFFF)) << np.uint64(32)
        bits = np.uint64(1023 << 52) | high | words[:, 1::2].astype(np.uint64)
        return bits.view(np.float64).ravel() - 1.0
    if dtype is dtypes.float32:
        return ((words & np.uint32(0x7FFFFF)) | np.uint32(127 << 23)).view(np.float32).ravel() - np.float32(1)
    mantissa, exponent = (0x3FF, 15 << 10) if dtype is dtypes.float16 else (0x7F, 127 << 7)
    half = (words.astype(np.uint16) & np.uint16(mantissa)) | np.uint16(exponent)
    value: Array = half.view(dtype.numpy).ravel() - np.ones((), dtype.numpy)
    return value


@op("RandomUniform", stateful=True, random=True, host=_WHY)
def random_uniform(xp: Any, state: State, shape: Any, *, seed: int, seed2: int, dtype: DType) -> Any:
    """Values of [0, 1), each equally likely."""
    words, dims, count = _words(state, shape, seed, seed2, 2 if dtype is dtypes.float64 else 4)
    return _unit(words, dtype)[:count].reshape(dims)


@op("RandomUniformInt", stateful=True, random=True, host=_WHY)
def random_uniform_int(xp: Any, state: State, shape: Any, minval: Any, maxval: Any, *, seed: int, seed2: int) -> Any:
    """Integers of [minval, maxval)."""
    dtype = np.asarray(minval).dtype
    low, high = int(minval), int(maxval)
    wide = dtype.itemsize == 8
    words, dims, count = _words(state, shape, seed, seed2, 2 if wide else 4)
    if count and low >= high:
        raise refuse("empty range of random integers", expected="minval < maxval", found=f"{low}, {high}")
    if wide:
        drawn = words[:, 0::2].astype(np.uint64) | (words[:, 1::2].astype(np.uint64) << np.uint64(32))
    else:
        drawn = words.astype(np.uint64)
    offset = drawn.ravel()[:count] % np.uint64(max(1, high - low))
    return (offset + np.uint64(low & 0xFFFFFFFFFFFFFFFF)).astype(dtype).reshape(dims)


@op("RandomStandardNormal", stateful=True, random=True, host=_WHY)
def random_standard_normal(xp: Any, state: State, shape: Any, *, seed: int, seed2: int, dtype: DType) -> Any:
    """Values of the normal distribution of mean 0 and deviation 1, by Box and Muller's method."""
    words, dims, count = _words(state, shape, seed, seed2, 2 if dtype is dtypes.float64 else 4)
    exact = dtypes.float64 if dtype is dtypes.float64 else dtypes.float32
    unit = _unit(words, exact).reshape(-1, 2)
    radius = np.sqrt(-2 * np.log(np.maximum(unit[:, 0], exact.numpy.type(1e-7))))
    angle = exact.numpy.type(2 * math.pi) * unit[:, 1]
    pairs = np.stack([np.sin(angle) * radius, np.cos(angle) * radius], axis=1)
    return pairs.ravel()[:count].astype(dtype.numpy).reshape(dims)
