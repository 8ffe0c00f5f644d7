"""HTTP connections that end where a client is too slow, says too much, or takes no answer.

uvicorn waits without end for the rest of a request, and takes heads of any size. Here, looked at every so often::

    bytes of a request arrive ──► none for `patience` seconds, or on average fewer than `SLOWEST`: 408, closed
                              ──► a head of more than `MAX_HEAD` bytes: 431; bytes beyond all limits: closed
    bytes of a reply leave    ──► none for `patience` seconds: closed

so that what a client can hold by doing nothing is one socket, for a short while.

What arrives goes through uvicorn's parser, but for bodies of known size: the parser reads the head, the socket fills
memory that stays, and a new parser reads the next head::

    READ_WHOLE in a request's scope ──► await it ──► the body, see `incoming`
    who asks as ASGI has it, or answers without ──► what has come goes through the parser after all

The head of a reply leaves together with the first of its body: the client wakes once. Where one client asks again at
once, the loop stays awake, see `Lookout`.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final

from httptools import HttpRequestParser
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from coldframe.serve import json_tensors
from coldframe.serve.bodies import RAW_FROM, READ_WHOLE
from coldframe.serve.callers import Lookout
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
        lookout: stays awake for the next request.
        settings: uvicorn's own.
    """

    def __init__(self, *, patience: float, max_body: int, lookout: Lookout, **settings: Any) -> None:
        super().__init__(**settings)
        self._lookout = lookout
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
        self._parsed = 0  # how many of its bytes the parser has seen
        self._is_new = False  # whether a head has come, and its body is to be looked at
        self._is_spent = False  # whether the parser waits for a body that has come past it

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
        self._incoming.filled(nbytes)
        self._look_at_incoming(self._incoming)

    def connection_made(self, transport: Any) -> None:
        """See `asyncio.Protocol`."""
        super().connection_made(transport)
        self._since = self._heard = self.loop.time()

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        self._heard = self.loop.time()
        if self._since is None:
            self._since, self._in_head, self._received = self._heard, True, 0
            self._lookout.asked()
        self._chunk = len(data)
        self._received += self._chunk
        self._renew()
        super().data_received(data)
        self._check_size()
        if self._is_new:
            self._expect_body()

    def _expect_body(self) -> None:
        """Have the rest of a large body go to its place from now on."""
        self._is_new = False
        cycle: Any = self.cycle  # None where the request was not taken
        if cycle is None or cycle.response_complete or cycle.waiting_for_100_continue:
            return
        scope: dict[str, Any] = self.scope  # type: ignore[assignment]
        size, aligned = _sizes(scope["headers"])
        if size < LEAST:
            return
        incoming = self._incoming = Incoming(size, aligned)
        incoming.put(cycle.body)
        self._parsed = len(cycle.body)
        scope["extensions"] = {READ_WHOLE: functools.partial(self._read_whole, cycle, incoming)}
        cycle.receive = functools.partial(self._receive, incoming, cycle.receive)

    def on_message_begin(self) -> None:
        """Begin a request: the parser's callback."""
        self._since, self._in_head, self._received = self._heard, True, self._chunk
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Begin to answer: the parser's callback."""
        self._in_head = False
        super().on_headers_complete()
        self.headers = _Dropped()
        cycle: Any = self.cycle  # None where the request was not taken
        if cycle is not None:
            if self._is_ending:
                cycle.keep_alive = False
            cycle.transport = _Together(self.transport, cycle)
            cycle.on_response = functools.partial(self._answered, cycle)
        self._is_new = True

    def on_message_complete(self) -> None:
        """Have a whole request: the parser's callback."""
        self._since, self._is_new = None, False
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

    async def _read_whole(self, cycle: Any, incoming: Incoming, take: Callable[[int], None]) -> memoryview | None:
        """Return a request's body as it stays in memory; None where it has to be received as usual.

        Args:
            cycle: uvicorn's, of the request.
            incoming: the body.
            take: told of bytes as they arrive.

        Raises:
            RequestError: `take` raised it, or the client went away (CANCELLED).
        """
        if self._incoming is not incoming or cycle.disconnected:
            return None
        cycle.body = bytearray()
        body = incoming.ask(take, self.loop.create_future())
        self._look_at_incoming(incoming)
        self.flow.resume_reading()
        try:
            return await body
        finally:
            if not body.done():  # whoever waits no longer wants no more of it
                incoming.fail(_gone())

    async def _receive(self, incoming: Incoming, receive: Callable[[], Awaitable[Any]]) -> Any:
        """Receive as ASGI has it."""
        self._let_go(incoming)
        return await receive()

    def _look_at_incoming(self, incoming: Incoming) -> None:
        """End a body that is whole; wait where it may not grow before a handler asks for it."""
        if not incoming.is_asked_for:
            if not incoming.has_room:
                self.flow.pause_reading()
        elif incoming.is_whole:
            self._incoming, self._is_spent = None, True
            self.on_message_complete()

    def _renew(self) -> None:
        """Have a parser for the next head."""
        if self._is_spent:
            self.parser, self._is_spent = HttpRequestParser(self), False
            self.parser.set_dangerous_leniencies(lenient_data_after_close=True)

    def _let_go(self, incoming: Incoming) -> None:
        """Leave a body that no handler has asked for to the parser."""
        if self._incoming is incoming and not incoming.is_asked_for:
            self._incoming = None
            come = bytes(incoming.since(self._parsed))
            incoming.fail(_gone())  # which lets go of its memory
            if not self.transport.is_closing():
                super().data_received(come)
                self.flow.resume_reading()

    def _answered(self, cycle: Any) -> None:
        """Hear that a request's reply was sent."""
        cycle.transport.flush()
        self._lookout.answered(self.loop)
        self._renew()  # now that nobody waits
        if cycle is self.cycle and self._incoming is not None:
            self._let_go(self._incoming)
        self.on_response_complete()

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


class _Dropped(list[tuple[bytes, bytes]]):
    """The headers after a body, which are nothing to anybody, and may be many."""

    def append(self, header: tuple[bytes, bytes]) -> None:
        """See `list`."""


class _Together:
    """The transport of one reply: its head waits for what follows.

    Args:
        transport: the connection's.
        cycle: uvicorn's, of the request.
    """

    __slots__ = ("_cycle", "_head", "_transport")

    def __init__(self, transport: Any, cycle: Any) -> None:
        self._transport, self._cycle = transport, cycle
        self._head: bytes | None = None  # None before there is one, empty once it is gone

    def write(self, data: bytes) -> None:
        """Send bytes: the first of a reply are its head."""
        if self._head is None and self._cycle.response_started:
            self._head = data
        elif self._head:
            self._transport.writelines((self._head, data))
            self._head = b""
        else:
            self._transport.write(data)

    def flush(self) -> None:
        """Send a head that nothing followed."""
        if self._head:
            self._transport.write(self._head)
            self._head = b""

    def close(self) -> None:
        """Close the connection, once all has left."""
        self.flush()
        self._transport.close()

    def is_closing(self) -> bool:
        """Whether the connection is closing, or closed."""
        return bool(self._transport.is_closing())


def _sizes(headers: Iterable[tuple[bytes, bytes]]) -> tuple[int, int]:
    """Return how many bytes a body has, 0 where its head does not say, and which one wants an aligned address."""
    size = aligned = 0
    for name, value in headers:
        if name == b"content-length":
            size = _number(value)
        elif name == RAW_FROM:
            aligned = _number(value)
    return size, aligned


def _number(value: bytes) -> int:
    return int(value) if value.isdigit() and len(value) <= _DIGITS else 0


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
