"""Where a dense hash table's entries lie: TensorFlow saves such a table as all its places, the free ones included.

It also loads them as they are and goes on probing there, so that each entry must lie where the hash of its key leads
(``lookup_table_op.cc``): at ``hash mod places``, or, where that is taken, 1, then 2, then 3 ... places further on.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any, Final

from coldframe.ops.hashing import murmur64
from coldframe.primitives.base import refuse
from coldframe.records import dataclass

_WORD: Final = (1 << 64) - 1
_GOLDEN: Final = 0x9E3779B97F4A7800
_LEAST: Final = 4


@dataclass(frozen=True, slots=True)
class Places:
    """How many places a table begins with, a power of 2, and which part of them may be taken before it grows."""

    count: int
    most: float

    def __post_init__(self) -> None:
        if self.count < _LEAST or self.count & (self.count - 1):
            raise refuse("the number of places", expected=f"a power of 2 of at least {_LEAST}", found=self.count)
        if not 0 < self.most < 1:
            raise refuse("`max_load_factor`", expected="a number between 0 and 1", found=self.most)

    def enough(self, entries: int) -> int:
        """Return how many places a table with `entries` entries has."""
        count = self.count
        while entries > count * self.most:
            count *= 2
        return count


def laid_out(keys: Iterable[Any], count: int) -> list[int]:
    """Return the place of each key, added one after the other, of `count`."""
    taken: set[int] = set()
    places = []
    for key in keys:
        place, step = _hash(key) & (count - 1), 0
        while place in taken:
            step += 1
            place = (place + step) & (count - 1)
        taken.add(place)
        places.append(place)
    return places


def _hash(key: Any) -> int:
    """The hash of an integer, of bytes, or of a tuple of such."""
    if isinstance(key, tuple):
        return functools.reduce(_combined, map(_hash, key), 0)
    return murmur64(key) if isinstance(key, bytes) else int(key) & _WORD


def _combined(a: int, b: int) -> int:
    return a ^ ((b + _GOLDEN + (a << 10) + (a >> 4)) & _WORD)
