"""A body of known size, which the socket fills in place.

::

    socket ──recv_into──► [ padding | JSON | tensor ]        one copy, out of the kernel
                                           ▲ at an address that vector instructions like

instead of five: the event loop's bytes, the parser's, a growing bytearray, its bytes, and the bytes of all of them.
Room is made as bytes arrive: what a header only claims takes none. Until a handler asks for the body, there is room for
the first `_FIRST` bytes.
"""

from __future__ import annotations

import asyncio
import ctypes
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
    """

    __slots__ = ("_aligned", "_asked", "_at", "_error", "_room", "_size", "_take")

    def __init__(self, size: int, aligned: int) -> None:
        self._size, self._aligned = size, aligned
        self._at = 0
        self._room = _room(min(size, _FIRST), aligned)
        self._take: Callable[[int], None] | None = None
        self._asked: asyncio.Future[memoryview] | None = None
        self._error: RequestError | None = None

    @property
    def is_asked_for(self) -> bool:
        """Whether a handler has asked for it."""
        return self._take is not None

    @property
    def is_whole(self) -> bool:
        """Whether its last byte has come."""
        return self._at == self._size

    @property
    def has_room(self) -> bool:
        """Whether bytes may come before a handler asks for them."""
        return self._at < len(self._room)

    def ask(self, take: Callable[[int], None], future: asyncio.Future[memoryview]) -> asyncio.Future[memoryview]:
        """Ask for it.

        Args:
            take: told of bytes, those that are there and others as they arrive; raises RequestError where they are too
                many.
            future: gets the body, or why it does not come; this is returned.
        """
        self._take, self._asked = take, future
        if self._error is None:
            self._count(self._at)
        else:
            future.set_exception(self._error)
        return future

    def room(self) -> memoryview:
        """Return where the next bytes go; nowhere in particular where nobody wants them any more."""
        if self._error is not None:
            return memoryview(bytearray(min(_REST, self._size - self._at)))
        if self._at == len(self._room):
            grown = _room(min(self._size, 2 * len(self._room)), self._aligned)
            grown[: self._at] = self._room
            self._room = grown
        return self._room[self._at :]

    def since(self, start: int) -> memoryview:
        """Return the bytes that have come, from one on."""
        return self._room[start : self._at]

    def put(self, data: bytes | bytearray) -> None:
        """Take bytes that were read elsewhere."""
        while data:
            room = self.room()
            room[: len(data)] = data[: len(room)]
            self.filled(min(len(data), len(room)))
            data = data[len(room) :]

    def filled(self, count: int) -> None:
        """Say that so many bytes have come where `room` said."""
        self._at += count
        if self._asked is not None and self._error is None:
            self._count(count)

    def _count(self, count: int) -> None:
        assert self._take is not None
        assert self._asked is not None
        try:
            self._take(count)
        except RequestError as e:
            self.fail(e)
        else:
            if self.is_whole:
                self._asked.set_result(self._room.toreadonly())
                # It is the handler's alone now: a connection that waits for its next request keeps this one's objects.
                self._room, self._asked = memoryview(b""), None

    def fail(self, error: RequestError) -> None:
        """Say why the body does not come; what still arrives of it is dropped."""
        self._room, self._error = memoryview(b""), error
        if self._asked is not None and not self._asked.done():
            self._asked.set_exception(error)


def _room(size: int, aligned: int) -> memoryview:
    """Return uninitialized memory, whose byte number `aligned` has an aligned address."""
    raw = np.empty(size + _ALIGNED, np.uint8).data
    start = -(ctypes.addressof(ctypes.c_char.from_buffer(raw)) + aligned) % _ALIGNED
    return raw[start : start + size]
