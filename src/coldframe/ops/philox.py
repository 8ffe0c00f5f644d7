"""TensorFlow's random number generator, and the distributions drawn from it, to the bit of its CPU kernels.

::

    block i = philox4x32-10(counter + i, key)    four 32-bit words: four floats, or two doubles

After tensorflow/core/lib/random/philox_random.h and random_distributions.h, and Salmon et al., "Parallel random
numbers: as easy as 1, 2, 3" (2011). Normal floats go through the C library's single-precision logarithm, sine and
cosine; numpy's round differently, so those three are here as glibc and musl compute them (Arm's optimized routines).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from coldframe import dtypes
from coldframe.dtypes import DType
from coldframe.records import dataclass

Array = npt.NDArray[Any]
RESERVED: Final = 256  # 32-bit words that a value which is drawn by trial may use
_LOW: Final = np.uint64(0xFFFFFFFF)
_WORD: Final = np.uint64(32)
_MASK: Final = 0xFFFFFFFFFFFFFFFF
_MULTIPLIERS: Final = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
_WEYL: Final = (0x9E3779B9, 0xBB67AE85)
_ROUNDS: Final = 10
_BLOCK: Final = 1 << 15  # weights of choices that are worked out at once
_FEW: Final = 4  # blocks that Python works out sooner than numpy
_PIECE: Final = 1 << 13  # blocks that are worked out together
_CUT: Final = 2  # standard deviations at which truncated normal values end


@dataclass(frozen=True, slots=True)
class Stream:
    """A place in a sequence of blocks.

    Attributes:
        key: 64 bits.
        counter: 128 bits.
    """

    key: int
    counter: int

    def skip(self, blocks: int) -> Stream:
        """Return the place so many blocks further on."""
        return Stream(self.key, (self.counter + blocks) & (_MASK << 64 | _MASK))

    def words(self, blocks: int) -> Array:
        """Return the next blocks, uint32[blocks, 4]."""
        return self.at(np.arange(blocks, dtype=np.uint64))

    def at(self, offsets: Array) -> Array:
        """Return the blocks at `offsets` (uint64) from here, uint32[len(offsets), 4]."""
        if len(offsets) <= _FEW:
            return np.array([self._block(at) for at in offsets.tolist()], np.uint32).reshape(-1, 4)
        out: Array = np.empty((len(offsets), 4), np.uint32)
        keys = [tuple(map(np.uint64, pair)) for pair in self._keys()]
        for k in range(0, len(out), _PIECE):
            self._blocks(offsets[k : k + _PIECE], keys, out[k : k + _PIECE])
        return out

    def _keys(self) -> list[tuple[int, ...]]:
        """Return the two words of the key of each round."""
        halves = self.key & 0xFFFFFFFF, self.key >> 32 & 0xFFFFFFFF
        return [tuple((k + i * w) & 0xFFFFFFFF for k, w in zip(halves, _WEYL, strict=True)) for i in range(_ROUNDS)]

    def _block(self, offset: int) -> tuple[int, int, int, int]:
        """Return one block, by Python's integers."""
        counter = self.counter + offset
        c0, c1, c2, c3 = (counter >> shift & 0xFFFFFFFF for shift in (0, 32, 64, 96))
        for k0, k1 in self._keys():
            a, b = c0 * 0xD2511F53, c2 * 0xCD9E8D57
            c0, c1, c2, c3 = b >> 32 ^ c1 ^ k0, b & 0xFFFFFFFF, a >> 32 ^ c3 ^ k1, a & 0xFFFFFFFF
        return c0, c1, c2, c3

    def _blocks(self, offsets: Array, keys: list[tuple[np.uint64, ...]], out: Array) -> None:
        """Write the blocks at `offsets` to `out`."""
        first = np.uint64(self.counter & _MASK)
        position = offsets + first
        upper = np.uint64(self.counter >> 64 & _MASK) + (position < first).astype(np.uint64)
        c0, c1, c2, c3 = position & _LOW, position >> _WORD, upper & _LOW, upper >> _WORD
        for k0, k1 in keys:
            a, b = c0 * _MULTIPLIERS[0], c2 * _MULTIPLIERS[1]
            for product, other, key, new in ((b, c1, k0, c0), (a, c3, k1, c2)):
                np.right_shift(product, _WORD, out=new)
                np.bitwise_xor(new, other, out=new)
                np.bitwise_xor(new, key, out=new)
                np.bitwise_and(product, _LOW, out=other)
        for word, c in enumerate((c0, c1, c2, c3)):
            out[:, word] = c


def _blocks(count: int, per_block: int) -> int:
    return -(-count // per_block)


def _in_pieces(run: Callable[[Array, Any], Array]) -> Callable[[Array, Any], Array]:
    """Make a function of many rows take some at a time, which the processor keeps in its cache."""

    @functools.wraps(run)
    def wrapper(rows: Array, kind: Any) -> Array:
        if len(rows) <= _PIECE:
            return run(rows, kind)
        return np.concatenate([run(rows[k : k + _PIECE], kind) for k in range(0, len(rows), _PIECE)])

    return wrapper


# --- integers and uniform values --------------------------------------------------------------------------------
def bits(stream: Stream, count: int, dtype: DType) -> Array:
    """Return unsigned integers of which every bit is random, as wide as `dtype`."""
    if dtype.width == 8:
        return _doubled(stream.words(_blocks(count, 2)))[:count]
    return stream.words(_blocks(count, 4)).ravel()[:count]


def _doubled(words: Array) -> Array:
    pairs = words[:, 0::2].astype(np.uint64) | (words[:, 1::2].astype(np.uint64) << _WORD)
    return pairs.ravel()


def integers(stream: Stream, count: int, low: int, high: int, dtype: DType) -> Array:
    """Return integers of [low, high)."""
    drawn = bits(stream, count, dtype)
    size, start = (drawn.dtype.type(v & _MASK >> 64 - 8 * drawn.itemsize) for v in (max(1, high - low), low))
    rest: Array = drawn - drawn // size * size  # as the remainder, which takes numpy longer
    rest += start
    return rest.astype(dtype.numpy)


def uniform(stream: Stream, count: int, dtype: DType) -> Array:
    """Return values of [0, 1)."""
    return fractions(stream.words(_blocks(count, 2 if dtype is dtypes.float64 else 4)), dtype)[:count]


@_in_pieces
def fractions(words: Array, dtype: DType) -> Array:
    """Return the words' low bits as the mantissa of a number in [1, 2), less one."""
    if dtype is dtypes.float64:
        high = (words[:, 0::2].astype(np.uint64) & np.uint64(0xFFFFF)) << _WORD
        exact: Array = (np.uint64(1023 << 52) | high | words[:, 1::2].astype(np.uint64)).view(np.float64)
        return exact.ravel() - 1.0
    if dtype is dtypes.float32:
        return ((words & np.uint32(0x7FFFFF)) | np.uint32(127 << 23)).view(np.float32).ravel() - np.float32(1)
    mantissa, exponent = (0x3FF, 15 << 10) if dtype is dtypes.float16 else (0x7F, 127 << 7)
    half = (words.astype(np.uint16) & np.uint16(mantissa)) | np.uint16(exponent)
    value: Array = half.view(dtype.numpy).ravel() - np.ones((), dtype.numpy)
    return value


# --- normal values ----------------------------------------------------------------------------------------------
def normal(stream: Stream, count: int, dtype: DType) -> Array:
    """Return values of the normal distribution of mean 0 and deviation 1."""
    wide = dtype is dtypes.float64
    return box_muller(stream.words(_blocks(count, 2 if wide else 4)), wide).ravel()[:count].astype(dtype.numpy)


def truncated(stream: Stream, count: int, dtype: DType) -> Array:
    """Return normal values, each drawn again until it is less than two deviations from the mean.

    Values come in groups, each with its own stretch of the sequence.
    """
    wide = dtype is dtypes.float64
    size = 2 if wide else 4
    groups = _blocks(count, size)
    out = np.zeros((groups, size), np.float64 if wide else np.float32)
    filled = np.zeros(groups, np.int64)
    open_, block = np.arange(groups), 0
    while len(open_):
        places = open_.astype(np.uint64) * np.uint64(size * RESERVED // 4) + np.uint64(block)
        drawn = box_muller(stream.at(places), wide)
        for column in drawn.T:
            taken = (np.abs(column) < _CUT) & (filled[open_] < size)
            at = open_[taken]
            out[at, filled[at]] = column[taken]
            filled[at] += 1
        open_, block = open_[filled[open_] < size], block + 1
    return out.ravel()[:count].astype(dtype.numpy)


@_in_pieces
def box_muller(words: Array, wide: bool) -> Array:
    """Return as many normal values for each block as it has uniform ones, by Box and Muller's method."""
    if wide:
        unit = fractions(words, dtypes.float64).reshape(-1, 2)
        radius = np.sqrt(-2 * np.log(np.maximum(unit[:, 0], 1e-7)))
        angle = 2 * math.pi * unit[:, 1]
        return np.stack([np.sin(angle) * radius, np.cos(angle) * radius], axis=1)
    unit = fractions(words, dtypes.float32).reshape(-1, 2)
    radius = np.sqrt(np.float32(-2) * logf(np.maximum(unit[:, 0], np.float32(1e-7))))
    sine, cosine = _sincosf((2 * math.pi * unit[:, 1].astype(np.float64)).astype(np.float32))
    return np.stack([sine * radius, cosine * radius], axis=1).reshape(-1, 4)


def _hex(text: str) -> list[float]:
    return [float.fromhex(x) for x in text.split()]


_LOG_TABLE: Final = np.array([_hex(row) for row in """
    0x1.661ec79f8f3bep+0 -0x1.57bf7808caadep-2
    0x1.571ed4aaf883dp+0 -0x1.2bef0a7c06ddbp-2
    0x1.49539f0f010bp+0 -0x1.01eae7f513a67p-2
    0x1.3c995b0b80385p+0 -0x1.b31d8a68224e9p-3
    0x1.30d190c8864a5p+0 -0x1.6574f0ac07758p-3
    0x1.25e227b0b8eap+0 -0x1.1aa2bc79c81p-3
    0x1.1bb4a4a1a343fp+0 -0x1.a4e76ce8c0e5ep-4
    0x1.12358f08ae5bap+0 -0x1.1973c5a611cccp-4
    0x1.0953f419900a7p+0 -0x1.252f438e10c1ep-5
    0x1p+0 0x0p+0
    0x1.e608cfd9a47acp-1 0x1.aa5aa5df25984p-5
    0x1.ca4b31f026aap-1 0x1.c5e53aa362eb4p-4
    0x1.b2036576afce6p-1 0x1.526e57720db08p-3
    0x1.9c2d163a1aa2dp-1 0x1.bc2860d22477p-3
    0x1.886e6037841edp-1 0x1.1058bc8a07ee1p-2
    0x1.767dcf5534862p-1 0x1.4043057b6ee09p-2
""".strip().splitlines()]).T.copy()  # fmt: skip
_LOG_POLY: Final = _hex("-0x1.00ea348b88334p-2 0x1.5575b0be00b6ap-2 -0x1.ffffef20a4123p-2")
_COS_POLY: Final = _hex("-0x1.ffffffd0c621cp-2 0x1.55553e1068f19p-5 -0x1.6c087e89a359dp-10 0x1.99343027bf8c3p-16")
_SIN_POLY: Final = _hex("-0x1.555545995a603p-3 0x1.1107605230bc4p-7 -0x1.994eb3774cf24p-13")


def logf(x: Array) -> Array:
    """Return the logarithm of positive normal floats: x = 2^k z, log x = k log 2 + log c + log(z / c)."""
    top = x.view(np.int32) - np.int32(0x3F330000)
    row = (top >> 19) & 15
    z = (x.view(np.int32) - (top & np.int32(-0x800000))).view(np.float32).astype(np.float64)
    r = z * _LOG_TABLE[0].take(row) - 1
    r2 = r * r
    y = _LOG_POLY[0] * r2 + (_LOG_POLY[1] * r + _LOG_POLY[2])
    out: Array = (y * r2 + (_LOG_TABLE[1].take(row) + (top >> 23) * math.log(2) + r)).astype(np.float32)
    return out


def _sincosf(x: Array) -> tuple[Array, Array]:
    """Return sine and cosine of floats of [0, 2 pi], by polynomials around the nearest multiple of a quarter turn."""
    wide = x.astype(np.float64)
    n = ((wide * (2 / math.pi * (1 << 24))).astype(np.int32) + 0x800000) >> 24
    r = wide - n * (math.pi / 2)
    r2 = r * r
    r4 = r2 * r2
    flip = np.where(n & 2, -1.0, 1.0)
    c = 1 + r2 * _COS_POLY[0] + r4 * _COS_POLY[1] + r4 * r2 * (_COS_POLY[2] + r2 * _COS_POLY[3])
    cosine = (flip * c).astype(np.float32)
    r = r * np.where((n & 3) % 3 == 0, 1.0, -1.0)
    s = r + r2 * r * _SIN_POLY[0] + r2 * r * r2 * (_SIN_POLY[1] + r2 * _SIN_POLY[2])
    sine = s.astype(np.float32)
    return np.where(n & 1, cosine, sine), np.where(n & 1, sine, cosine)


# --- choices ----------------------------------------------------------------------------------------------------
def permutation(stream: Stream, count: int) -> Array:
    """Return the numbers below `count` in random order, shuffled from the front."""
    order = list(range(count))
    rest = np.arange(count, 0, -1, dtype=np.uint32)  # how many are left to choose from
    others = np.arange(count) + stream.words(_blocks(count, 4)).ravel()[:count] % rest
    for i, k in enumerate(others.tolist()):
        order[i], order[k] = order[k], order[i]
    return np.array(order, np.int64)


def choices(stream: Stream, logits: Array, count: int) -> Array:
    """Return int64[batch, count]: classes drawn with the (unnormalised, logarithmic) weights of each row of `logits`.

    One sequence goes through all rows, as in TensorFlow where one thread does the work.
    """
    rows = logits.shape[0]
    draws = uniform(stream, rows * count, dtypes.float64).reshape(rows, count)
    out = np.zeros((rows, count), np.int64)
    step = max(1, _BLOCK // logits.shape[1])
    for at in range(0, rows, step):  # a block of rows, which fits into the processor's cache
        some = slice(at, at + step)
        x = logits[some].astype(np.float64)
        finite = np.isfinite(x)
        best = np.where(finite, x, np.finfo(np.float64).min).max(axis=1, keepdims=True)
        weights = np.cumsum(np.where(finite, np.exp(x - best), 0), axis=1)
        wanted = draws[some] * weights[:, -1:]
        if count == 1:
            out[some, 0] = np.count_nonzero(weights <= wanted, axis=1)
        else:
            for k, row in enumerate(weights):
                out[at + k] = np.searchsorted(row, wanted[k], side="right")
    return out
