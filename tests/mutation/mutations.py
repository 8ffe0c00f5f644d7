"""Damaged copies of a file, the same ones each time: truncations, and small changes of its bytes.

A mutation has a name from which it can be made again: ``cut:17`` is the first 17 bytes, ``change:5`` the sixth change
of the series that the file's own CRC seeds, ``intact`` no change at all.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable

INTACT = "intact"
_SMALL = 1 << 16  # bytes; of larger files, some lengths are left out
_EDGE = 1 << 12
_RUN = 64  # bytes that are moved, repeated or dropped at once, at most


def cuts(size: int) -> list[str]:
    """The truncations of a file of `size` bytes: each length, or for a large file its ends and a sample between."""
    if size <= _SMALL:
        return [f"cut:{n}" for n in range(size)]
    between = random.Random(size).sample(range(_EDGE, size - _EDGE), _EDGE)
    return [f"cut:{n}" for n in (*range(_EDGE), *sorted(between), *range(size - _EDGE, size))]


def changes(count: int) -> list[str]:
    """The first `count` changes."""
    return [f"change:{n}" for n in range(count)]


def sample(size: int, count: int) -> list[str]:
    """A sample of `count` mutations of a file of `size` bytes: a fifth are truncations."""
    every = cuts(size)
    return [INTACT, *random.Random(count).sample(every, min(len(every), count // 5)), *changes(count - count // 5)]


def mutated(data: bytes, name: str) -> bytes:
    """The mutation of `data` called `name`."""
    if name == INTACT:
        return data
    kind, _, number = name.partition(":")
    if kind == "cut":
        return data[: int(number)]
    rng = random.Random(f"{zlib.crc32(data)}:{number}")
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        data = rng.choice(_KINDS)(data, rng)
    return data


def _flip(data: bytes, rng: random.Random) -> bytes:
    at = _place(data, rng)
    old = data[at] if data else 0
    return data[:at] + bytes((old ^ 1 << rng.randrange(8),)) + data[at + 1 :]


def _set(data: bytes, rng: random.Random) -> bytes:
    at = _place(data, rng)
    return data[:at] + bytes((rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256))),)) + data[at + 1 :]


def _varint(data: bytes, rng: random.Random) -> bytes:
    """Make a byte that may be a length or a number a little or enormously other."""
    at = _place(data, rng)
    old = data[at] if data else 0
    huge = (b"\xff\xff\xff\xff\x07", b"\xff" * 9 + b"\x01", b"\x80\x80\x80\x80\x10", b"\x80" * 12)
    near = [bytes((max(0, min(127, old + step)),)) for step in (-1, 1, -8, 8)]
    return data[:at] + rng.choice((*huge, *near)) + data[at + 1 :]


def _swap(data: bytes, rng: random.Random) -> bytes:
    n = rng.randint(1, _RUN)
    a, b = sorted((_place(data, rng), _place(data, rng)))
    b = max(b, a + n)
    return data[:a] + data[b : b + n] + data[a + n : b] + data[a : a + n] + data[b + n :]


def _insert(data: bytes, rng: random.Random) -> bytes:
    at, n = _place(data, rng), rng.randint(1, _RUN)
    return data[:at] + rng.choice((bytes(n), b"\xff" * n, rng.randbytes(n))) + data[at:]


def _drop(data: bytes, rng: random.Random) -> bytes:
    at = _place(data, rng)
    return data[:at] + data[at + rng.randint(1, _RUN) :]


def _repeat(data: bytes, rng: random.Random) -> bytes:
    at, n = _place(data, rng), rng.randint(1, _RUN)
    return data[: at + n] + data[at : at + n] * rng.choice((1, 1, 2, 50)) + data[at + n :]


def _copy(data: bytes, rng: random.Random) -> bytes:
    """Overwrite a piece with another: for text, a word takes another's place."""
    a, b, n = _place(data, rng), _place(data, rng), rng.randint(1, _RUN)
    return data[:b] + data[a : a + n] + data[b + n :]


_KINDS: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    _flip, _flip, _set, _set, _varint, _varint, _swap, _insert, _drop, _repeat, _copy,
)  # fmt: skip


def _place(data: bytes, rng: random.Random) -> int:
    """A place in `data`; half of the time near an end, where headers and footers are."""
    size = len(data)
    if not size:
        return 0
    edge = min(size, 256)
    return rng.choice((rng.randrange(size), rng.randrange(size), rng.randrange(edge), size - 1 - rng.randrange(edge)))
