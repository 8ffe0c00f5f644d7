"""A body of known size, which the socket fills in place.

::

    socket ──recv_into──► [ padding | JSON | tensor ]        one copy, out of the kernel
                                           ▲ at an address that vector instructions like

instead of five: the event loop's bytes, the parser's, a growing bytearray, its bytes, and the bytes of all of them.
Room is made as bytes arrive: what a header only claims takes none.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import numpy as np

from coldframe.serve.status import RequestError

LEAST: Final = 1 << 14  # bytes of a body from which on that is worth it
_FIRST: Final = 1 << 20  # bytes there is room for at first; untouched ones take no memory
_ALIGNED: Final = 64
_REST: Final = 1 << 16  # bytes of unwanted bodies that are read at once


class Incoming:
    """A body that arrives.

    Args:
        size: its bytes.
        aligned: which of its bytes is to have an aligned address.
        take: told of bytes as they arrive; raises RequestError where they are too many.
        done: gets the body, or why it does not come.
    """

    __slots__ = ("_aligned", "_at", "_room", "_size", "_take", "done")

    def __init__(self, size: int, aligned: int, take: Callable[[int], None], done: asyncio.Future[memoryview]) -> None:
        self._size, self._aligned, self._take, self.done = size, aligned, take, done
        self._at = 0
        self._room = _room(min(size, _FIRST), aligned)

    def room(self) -> memoryview:
        """Return where the next bytes go; nowhere in particular where nobody wants them any more."""
        if self.done.done():
            return memoryview(bytearray(min(_REST, self._size - self._at)))
        if self._at == len(self._room):
            grown = _room(min(self._size, 2 * len(self._room)), self._aligned)
            grown[: self._at] = self._room
            self._room = grown
        return self._room[self._at :]

    def put(self, data: bytes | bytearray) -> None:
        """Take bytes that were read elsewhere."""
        while data:
            room = self.room()
            room[: len(data)] = data[: len(room)]
            self.filled(min(len(data), len(room)))
            data = data[len(room) :]

    def filled(self, count: int) -> bool:
        """Say that so many bytes have come where `room` said; return whether they were the last."""
        self._at += count
        if not self.done.done():
            try:
                self._take(count)
            except RequestError as e:
                self.fail(e)
            else:
                if self._at == self._size:
                    self.done.set_result(self._room.toreadonly())
        return self._at == self._size

    def fail(self, error: RequestError) -> None:
        """Say why the body does not come; what still arrives of it is dropped."""
        self._room = memoryview(b"")
        if not self.done.done():
            self.done.set_exception(error)


def _room(size: int, aligned: int) -> memoryview:
    """Return uninitialized memory, whose byte number `aligned` has an aligned address."""
    raw = np.empty(size + _ALIGNED, np.uint8)
    start = -(raw.__array_interface__["data"][0] + aligned) % _ALIGNED
    return raw.data[start : start + size]
