"""HTTP connections that end where a client is too slow, says too much, or takes no answer.

uvicorn waits without end for the rest of a request, and takes heads of any size. Here, looked at every so often::

    bytes of a request arrive ──► none for `patience` seconds, or on average fewer than `SLOWEST`: 408, closed
                              ──► a head of more than `MAX_HEAD` bytes: 431; bytes beyond all limits: closed
    bytes of a reply leave    ──► none for `patience` seconds: closed

so that what a client can hold by doing nothing is one socket, for a short while.

What arrives goes through uvicorn's parser, but for bodies of known size that a handler wants whole: the parser reads
the head, the socket fills the handler's memory, and a new parser reads the next head::

    READ_WHOLE in a request's scope ──► await it ──► Incoming: see there
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Iterable
from typing import Any, Final

from httptools import HttpRequestParser
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from coldframe.serve import json_tensors
from coldframe.serve.bodies import READ_WHOLE
from coldframe.serve.incoming import LEAST, Incoming
from coldframe.serve.status import Code, RequestError

MAX_HEAD: Final = 1 << 16  # bytes of a request's line and headers
SLOWEST: Final = 1024  # bytes a second that a request must arrive with on average, once `patience` is over
_FAREWELL: Final = 0.3  # seconds in which a request may still come once the server ends
_DIGITS: Final = 19
_CHUNK: Final = 1 << 13  # bytes read at once while a head may be among them: a body's go to their own place
_LARGE_CHUNK: Final = 1 << 16  # in bodies without a place
_REASONS: Final = {408: b"Request Timeout", 431: b"Request Header Fields Too Large"}


class Connection(HttpToolsProtocol):
    """uvicorn's protocol with a clock.

    Args:
        patience: seconds; see the head of the file.
        max_body: bytes that a body may have; what arrives beyond it, heads and chunks apart, ends the connection.
        settings: uvicorn's own.
    """

    def __init__(self, *, patience: float, max_body: int, **settings: Any) -> None:
        super().__init__(**settings)
        self._patience, self._limit = patience, 2 * max_body + 2 * MAX_HEAD  # chunks of one byte take several
        self._since: float | None = None  # when the request that is arriving began
        self._heard = 0.0
        self._chunk = 0
        self._received = 0  # bytes of that request
        self._in_head = True
        self._unsent, self._stuck = 0, 0.0
        self._is_ending = False
        self._small = self._room = memoryview(bytearray(_CHUNK))
        self._incoming: Incoming | None = None  # the body whose bytes arrive, past the parser
        self._whole = 0  # bytes of the body that is arriving, where a handler may want it whole; below 0: not looked at

    def get_buffer(self, sizehint: int) -> memoryview:
        """See `asyncio.BufferedProtocol`."""
        if self._incoming is not None:
            return self._incoming.room()
        self._room = self._small if self._in_head or self._since is None else memoryview(bytearray(_LARGE_CHUNK))
        return self._room

    def buffer_updated(self, nbytes: int) -> None:
        """See `asyncio.BufferedProtocol`."""
        if self._incoming is None:
            self.data_received(bytes(self._room[:nbytes]))
            return
        self._unset_keepalive_if_required()
        self._heard = self.loop.time()
        self._received += nbytes
        if self._incoming.filled(nbytes):
            self._end_incoming()

    def connection_made(self, transport: Any) -> None:
        """See `asyncio.Protocol`."""
        super().connection_made(transport)
        self._since = self._heard = self.loop.time()

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        self._heard = self.loop.time()
        if self._since is None:
            self._since, self._in_head, self._received = self._heard, True, 0
        self._chunk = len(data)
        self._received += self._chunk
        super().data_received(data)
        self._check_size()
        if self._whole:
            self._wait_amid_body()

    def _wait_amid_body(self) -> None:
        """Read no more of a large body until its handler, which has not begun yet, says where to."""
        cycle: Any = self.cycle  # None where the request was not taken
        if cycle is None or cycle.response_complete:
            return
        if self._whole < 0:
            size = next((v for k, v in self.headers if k == b"content-length"), b"")  # the parser takes but one
            self._whole = int(size) if size.isdigit() and len(size) <= _DIGITS and int(size) >= LEAST else 0
            if self._whole:
                scope: dict[str, Any] = self.scope  # type: ignore[assignment]
                scope["extensions"] = {READ_WHOLE: functools.partial(self._read_whole, cycle, self._whole)}
        if self._whole:
            self.flow.pause_reading()

    def on_message_begin(self) -> None:
        """Begin a request: the parser's callback."""
        self._since, self._in_head, self._received = self._heard, True, self._chunk
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header: the parser's callback. Those after a body are nothing to anybody, and may be many."""
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Begin to answer: the parser's callback."""
        self._in_head = False
        super().on_headers_complete()
        cycle: Any = self.cycle  # None where the request was not taken
        if self._is_ending and cycle is not None:
            cycle.keep_alive = False
        self._whole = -1

    def on_message_complete(self) -> None:
        """Have a whole request: the parser's callback."""
        self._since, self._whole = None, 0
        super().on_message_complete()

    def shutdown(self) -> None:
        """Close the connection after its next reply, which says so; or soon, where no request comes.

        At once would lose a request that a client has sent, or sends before it hears of the end.
        """
        self._is_ending = True
        cycle: Any = self.cycle  # None before the first request
        if cycle is not None and not cycle.response_complete:
            cycle.keep_alive = False
        else:
            self.loop.call_later(_FAREWELL, self._part)

    def _part(self) -> None:
        cycle: Any = self.cycle
        if (cycle is None or cycle.response_complete) and (self._since is None or not self._received):
            self.transport.close()

    async def _read_whole(self, cycle: Any, size: int, aligned: int, take: Callable[[int], None]) -> memoryview | None:
        """Return a request's body as it stays in memory; None where it has to be received as usual.

        Args:
            cycle: uvicorn's, of the request.
            size: the body's, as its head says.
            aligned: which of its bytes is to have an aligned address.
            take: told of bytes as they arrive.

        Raises:
            RequestError: `take` raised it, or the client went away (CANCELLED).
        """
        if not self._whole or cycle is not self.cycle or cycle.waiting_for_100_continue or cycle.disconnected:
            return None
        begun, cycle.body = cycle.body, bytearray()
        incoming = self._incoming = Incoming(size, aligned, take, self.loop.create_future())
        self._whole = 0
        incoming.put(begun)
        self.flow.resume_reading()
        try:
            return await incoming.done
        finally:
            incoming.fail(_gone())  # whoever waits no longer wants no more of it

    def _end_incoming(self) -> None:
        """Have a whole body; the parser knows nothing of it, so that a new one goes on."""
        self._incoming = None
        self.parser = HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self.on_message_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        if self._incoming is not None:
            self._incoming.fail(_gone())
        super().connection_lost(exc)

    def _check_size(self) -> None:
        if self._since is not None and self._received > (MAX_HEAD if self._in_head else self._limit):
            self._end(431 if self._in_head else 0)

    def check(self, now: float) -> None:
        """End the connection if its client is too slow."""
        if self.transport.is_closing():
            self._check_reply(now)
            return
        cycle: Any = self.cycle  # None before the first request
        busy = cycle is not None and not cycle.response_complete
        if self.flow.read_paused:  # we are the slow ones
            self._heard = now
            if self._since is not None:
                self._since, self._received = now, 0
        elif self._since is not None and not (busy and not cycle.more_body):
            idle, all_in_all = now - self._heard, now - self._since
            if idle > self._patience or all_in_all > self._patience + self._received / SLOWEST:
                self._end(408 if self._received else 0)
        self._check_reply(now)

    def _check_reply(self, now: float) -> None:
        unsent = self.transport.get_write_buffer_size()
        if not unsent or unsent != self._unsent:
            self._unsent, self._stuck = unsent, now
        elif now - self._stuck > self._patience:
            self.transport.abort()

    def _end(self, status: int) -> None:
        """Close the connection, after saying why where that can be said: 0 says nothing."""
        if self.transport.is_closing():
            return
        cycle: Any = self.cycle
        begun = cycle is not None and not cycle.response_complete and cycle.response_started
        if status and not begun:
            body = json_tensors.dump({"error": _REASONS[status].decode()})
            head = (
                b"HTTP/1.1 %d %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\nconnection: close\r\n\r\n"
            )
            self.transport.write(head % (status, _REASONS[status], len(body)) + body)
        self.transport.close()


def _gone() -> RequestError:
    return RequestError(Code.CANCELLED, "the client went away")


class Reader(asyncio.BufferedProtocol):
    """A connection, as event loops want what reads into memory of its own: it must be no `asyncio.Protocol`.

    Args:
        settings: those of `Connection`.
    """

    def __init__(self, **settings: Any) -> None:
        self._connection = Connection(**settings)
        self.connection_made = self._connection.connection_made  # type: ignore[method-assign]
        self.connection_lost = self._connection.connection_lost  # type: ignore[method-assign]
        self.get_buffer = self._connection.get_buffer  # type: ignore[method-assign]
        self.buffer_updated = self._connection.buffer_updated  # type: ignore[method-assign]
        self.pause_writing = self._connection.pause_writing  # type: ignore[method-assign]
        self.resume_writing = self._connection.resume_writing  # type: ignore[method-assign]


async def watch(connections: Iterable[Any], patience: float) -> None:
    """Check connections every so often, until cancelled."""
    while True:
        await asyncio.sleep(min(1.0, patience / 4))
        now = asyncio.get_running_loop().time()
        for connection in list(connections):
            if isinstance(connection, Connection):
                connection.check(now)
