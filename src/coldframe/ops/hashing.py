"""Strings to numbers by hashing: the feature columns of text and wide models.

Three hashes, each as its authors published it, all over 64-bit arithmetic: FarmHash's 64-bit fingerprint (the ``Fast``
op), SipHash-2-4 (``Strong``, with a key), and MurmurHash64A with TensorFlow's seed (the oldest op).

Fingerprints of many strings of one length are computed at once: their functions take the bytes of one string, and words
as Python's integers, or a matrix of bytes, a row for each string, and words as arrays of uint64.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from coldframe.ops.table import op
from coldframe.primitives.base import refuse

_MASK: Final = (1 << 64) - 1
_K0: Final = 0xC3A5C85C97CB3127
_K1: Final = 0xB492B66FBE98F273
_K2: Final = 0x9AE16A3B2F90404F
_MANY: Final = 16  # strings of one length that are worth numpy's calls
_BATCH: Final = 512  # strings; in fewer, most are categories that have come before
_KEPT: Final = 1 << 14  # strings whose fingerprints are remembered
_WORDS: Final = 64  # bytes; longer strings are hashed one by one

Bytes = Any  # of one string, or a matrix of those of many
Word = Any  # an integer, or many


def _u8(s: Bytes, at: int) -> Word:
    return s[at] if isinstance(s, bytes) else s[:, at].astype(np.uint64)


def _u64(s: Bytes, at: int) -> Word:
    return int.from_bytes(s[at : at + 8], "little") if isinstance(s, bytes) else _words(s[:, at : at + 8], "<u8")


def _u32(s: Bytes, at: int) -> Word:
    return int.from_bytes(s[at : at + 4], "little") if isinstance(s, bytes) else _words(s[:, at : at + 4], "<u4")


def _rest(s: Bytes, at: int) -> Word:
    """Return what is left behind `at`, fewer than 8 bytes, as one word."""
    if isinstance(s, bytes):
        return int.from_bytes(s[at:], "little")
    padded = np.zeros((len(s), 8), np.uint8)
    padded[:, : s.shape[1] - at] = s[:, at:]
    return _words(padded, "<u8")


def _length(s: Bytes) -> int:
    return len(s) if isinstance(s, bytes) else int(s.shape[1])


def _words(s: npt.NDArray[np.uint8], kind: str) -> npt.NDArray[np.uint64]:
    return np.ascontiguousarray(s).view(kind)[:, 0].astype(np.uint64)


def _rotate(v: Word, n: int) -> Word:
    """Rotate a word to the right."""
    v = v & _MASK
    return ((v >> n) | (v << (64 - n))) & _MASK


def _mix(v: Word) -> Word:
    return v ^ (v >> 47)


def _pair(u: Word, v: Word, mul: int) -> Word:
    """Hash two words."""
    u, v = u & _MASK, v & _MASK
    a = _mix(((u ^ v) * mul) & _MASK)
    return _mix(((v ^ a) * mul) & _MASK) * mul & _MASK


def fingerprint64(s: bytes) -> int:
    """FarmHash's 64-bit fingerprint of `s`."""
    n = len(s)
    return _remembered(s) if n <= _WORDS else _long(s, n)


@functools.lru_cache(_KEPT)
def _remembered(s: bytes) -> int:
    return int(_short(s, len(s)))


def fingerprints64(strings: Sequence[bytes]) -> npt.NDArray[np.uint64]:
    """FarmHash's 64-bit fingerprints of `strings`."""
    short = max(map(len, strings), default=0) <= _WORDS
    return _all(strings, _remembered if short else fingerprint64, lambda same: _short(same, same.shape[1]))


def _all(
    strings: Sequence[bytes], one: Callable[[bytes], int], many: Callable[[Bytes], Word]
) -> npt.NDArray[np.uint64]:
    """Return the hashes of strings: one by one, or of many of one length at once."""
    if len(strings) < _BATCH:
        return np.fromiter(map(one, strings), np.uint64, len(strings))
    out = np.empty(len(strings), np.uint64)
    lengths = np.fromiter(map(len, strings), np.int64, len(strings))
    for n in set(lengths.tolist()):
        at = np.flatnonzero(lengths == n)
        same = [strings[i] for i in at.tolist()]
        if 0 < n <= _WORDS and len(same) >= _MANY:
            out[at] = many(np.frombuffer(b"".join(same), np.uint8).reshape(-1, n))
        else:
            out[at] = [one(s) for s in same]
    return out


def _short(s: Bytes, n: int) -> Word:
    if n <= 16:
        return _to_16(s, n)
    return _to_32(s, n) if n <= 32 else _to_64(s, n)


def _to_16(s: Bytes, n: int) -> Word:
    mul = _K2 + n * 2
    if n >= 8:
        a, b = (_u64(s, 0) + _K2) & _MASK, _u64(s, n - 8)
        return _pair(_rotate(b, 37) * mul + a, (_rotate(a, 25) + b) * mul, mul)
    if n >= 4:
        return _pair(n + (_u32(s, 0) << 3), _u32(s, n - 4), mul)
    if not n:
        return _K2
    y, z = _u8(s, 0) + (_u8(s, n >> 1) << 8), n + (_u8(s, n - 1) << 2)
    return _mix((y * _K2 ^ z * _K0) & _MASK) * _K2 & _MASK


def _to_32(s: Bytes, n: int) -> Word:
    mul = _K2 + n * 2
    a, b = _u64(s, 0) * _K1, _u64(s, 8)
    c, d = _u64(s, n - 8) * mul, _u64(s, n - 16) * _K2
    return _pair(_rotate(a + b, 43) + _rotate(c, 30) + d, a + _rotate(b + _K2, 18) + c, mul)


def _to_64(s: Bytes, n: int) -> Word:
    mul = _K2 + n * 2
    a, b = _u64(s, 0) * _K2, _u64(s, 8)
    c, d = _u64(s, n - 8) * mul, _u64(s, n - 16) * _K2
    y = _rotate(a + b, 43) + _rotate(c, 30) + d
    z = _pair(y, a + _rotate(b + _K2, 18) + c, mul)
    e, f = _u64(s, 16) * mul, _u64(s, 24)
    g, h = (y + _u64(s, n - 32)) * mul, (z + _u64(s, n - 24)) * mul
    return _pair(_rotate(e + f, 43) + _rotate(g, 30) + h, e + _rotate(f + a, 18) + g, mul)


def _weak(s: bytes, at: int, a: int, b: int) -> tuple[int, int]:
    w, x, y, z = (_u64(s, at + 8 * i) for i in range(4))
    a += w
    b = _rotate(b + a + z, 21)
    c = a
    a += x + y
    b += _rotate(a, 44)
    return (a + z) & _MASK, (b + c) & _MASK


def _long(s: bytes, n: int) -> int:
    """Strings of more than 64 bytes: 64 at a time, the last ones twice if need be."""
    x, y = 81, (81 * _K1 + 113) & _MASK
    z = _mix((y * _K2 + 113) & _MASK) * _K2 & _MASK
    v = w = (0, 0)
    x = (x * _K2 + _u64(s, 0)) & _MASK
    for at in range(0, (n - 1) // 64 * 64, 64):
        x, y, z, v, w = _round(s, at, x, y, z, v, w, _K1, 1)
    mul = _K1 + ((z & 0xFF) << 1)
    w0 = w[0] + ((n - 1) & 63)
    v0 = v[0] + w0
    x, y, z, v, w = _round(s, n - 64, x, y, z, (v0, v[1]), (w0 + v0, w[1]), mul, 9)
    return int(_pair(_pair(v[0], w[0], mul) + _mix(y & _MASK) * _K0 + z, _pair(v[1], w[1], mul) + x, mul))


def _round(
    s: bytes, at: int, x: int, y: int, z: int, v: tuple[int, int], w: tuple[int, int], mul: int, weight: int
) -> tuple[int, int, int, tuple[int, int], tuple[int, int]]:
    x = _rotate(x + y + v[0] + _u64(s, at + 8), 37) * mul & _MASK
    y = _rotate(y + v[1] + _u64(s, at + 48), 42) * mul
    x ^= w[1] * weight & _MASK
    y = (y + v[0] * weight + _u64(s, at + 40)) & _MASK
    z = _rotate(z + w[0], 33) * mul & _MASK
    v = _weak(s, at, v[1] * mul, x + w[0])
    w = _weak(s, at + 32, z + w[1], y + _u64(s, at + 16))
    return z, y, x, v, w


def murmur64(s: Bytes, seed: int = 0xDECAFCAFFE) -> Word:
    """MurmurHash64A of `s`."""
    mul, n = 0xC6A4A7935BD1E995, _length(s)
    h: Word = seed ^ (n * mul & _MASK)
    whole = n // 8 * 8
    for at in range(0, whole, 8):
        k = _u64(s, at) * mul & _MASK
        k = (k ^ (k >> 47)) * mul & _MASK
        h = (h ^ k) * mul & _MASK
    if whole < n:
        h = (h ^ _rest(s, whole)) * mul & _MASK
    h = (h ^ (h >> 47)) * mul & _MASK
    return h ^ (h >> 47)


def siphash64(s: Bytes, k0: int, k1: int) -> Word:
    """SipHash-2-4 of `s` under the key (k0, k1)."""
    n = _length(s)
    v: list[Word] = [k0 ^ 0x736F6D6570736575, k1 ^ 0x646F72616E646F6D, k0 ^ 0x6C7967656E657261, k1 ^ 0x7465646279746573]
    whole = n // 8 * 8
    last = _rest(s, whole) | (n & 0xFF) << 56
    for word in [*(_u64(s, at) for at in range(0, whole, 8)), last]:
        v[3] = v[3] ^ word
        _sip_rounds(v, 2)
        v[0] = v[0] ^ word
    v[2] = v[2] ^ 0xFF
    _sip_rounds(v, 4)
    return v[0] ^ v[1] ^ v[2] ^ v[3]


def siphashes64(strings: Sequence[bytes], k0: int, k1: int) -> npt.NDArray[np.uint64]:
    """SipHash-2-4 of `strings` under the key (k0, k1)."""
    return _all(strings, lambda s: _keyed(s, k0, k1), lambda same: siphash64(same, k0, k1))


@functools.lru_cache(_KEPT)
def _kept(s: bytes, k0: int, k1: int) -> int:
    return int(siphash64(s, k0, k1))


def _keyed(s: bytes, k0: int, k1: int) -> int:
    return _kept(s, k0, k1) if len(s) <= _WORDS else int(siphash64(s, k0, k1))


def _sip_rounds(v: list[Word], count: int) -> None:
    a, b, c, d = v
    for _ in range(count):
        a, c = (a + b) & _MASK, (c + d) & _MASK
        b, d = _rotate(b, 64 - 13) ^ a, _rotate(d, 64 - 16) ^ c
        a, c = (_rotate(a, 32) + d) & _MASK, (c + b) & _MASK
        d, b = _rotate(d, 64 - 21) ^ a, _rotate(b, 64 - 17) ^ c
        c = _rotate(c, 32)
    v[:] = a, b, c, d


def _buckets(strings: Any, count: int, hashed: Callable[[Sequence[bytes]], npt.NDArray[np.uint64]]) -> Any:
    a = np.asarray(strings, object)
    return (hashed(a.ravel().tolist()) % np.uint64(count)).astype(np.int64).reshape(a.shape)


@op("StringToHashBucketFast", shape="x -> x", host="strings")
def string_to_hash_bucket_fast(xp: Any, input: Any, *, num_buckets: int) -> Any:
    """The fingerprint of each string, modulo the number of buckets."""
    return _buckets(input, num_buckets, fingerprints64)


@op("StringToHashBucketStrong", shape="x -> x", host="strings")
def string_to_hash_bucket_strong(xp: Any, input: Any, *, num_buckets: int, key: tuple[int, int]) -> Any:
    """The keyed hash of each string, modulo the number of buckets."""
    k0, k1 = (k & _MASK for k in key)
    return _buckets(input, num_buckets, lambda strings: siphashes64(strings, k0, k1))


@op("StringToHashBucket", shape="x -> x", host="strings")
def string_to_hash_bucket(xp: Any, string_tensor: Any, *, num_buckets: int) -> Any:
    """The oldest hash of each string, modulo the number of buckets."""
    return _buckets(string_tensor, num_buckets, lambda strings: _all(strings, murmur64, murmur64))


def _fingerprint_shape(a: dict[str, Any], data: Any, method: Any) -> Any:
    return (None if data.dims is None else data.dims[0], 8)


@op("Fingerprint", shape=_fingerprint_shape, host="strings")
def fingerprint(xp: Any, data: Any, method: Any) -> Any:
    """The fingerprints, 8 bytes each, of the rows of a tensor; of a row of several strings, that of theirs."""
    if method.item() != b"farmhash64":
        raise refuse("`method` is not known", expected="farmhash64", found=method.item())
    if not data.ndim:
        raise refuse("`data` is a scalar", expected="rank 1 or more")
    rows = len(data)
    if data.dtype == object:
        parts = [_eight_bytes(s) for s in data.ravel().tolist()]
        each = data.size // rows if rows else 1
        if each != 1:
            parts = [_eight_bytes(b"".join(parts[i * each : (i + 1) * each])) for i in range(rows)]
    else:
        parts = [_eight_bytes(np.ascontiguousarray(row).tobytes()) for row in data]
    return np.frombuffer(b"".join(parts), np.uint8).reshape(rows, 8)


def _eight_bytes(data: bytes) -> bytes:
    return fingerprint64(data).to_bytes(8, "little")
