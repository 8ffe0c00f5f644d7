"""HTTP connections that end where a client is too slow, says too much, or takes no answer.

uvicorn waits without end for the rest of a request, and takes heads of any size. Here, looked at every so often::

    bytes of a request arrive ──► none for `patience` seconds, or on average fewer than `SLOWEST`: 408, closed
                              ──► a head of more than `MAX_HEAD` bytes: 431; bytes beyond all limits: closed
    bytes of a reply leave    ──► none for `patience` seconds: closed

so that what a client can hold by doing nothing is one socket, for a short while.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from coldframe.serve import json_tensors

MAX_HEAD: Final = 1 << 16  # bytes of a request's line and headers
SLOWEST: Final = 1024  # bytes a second that a request must arrive with on average, once `patience` is over
_FAREWELL: Final = 0.3  # seconds in which a request may still come once the server ends
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

    def on_message_complete(self) -> None:
        """Have a whole request: the parser's callback."""
        self._since = None
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


async def watch(connections: Iterable[Any], patience: float) -> None:
    """Check connections every so often, until cancelled."""
    while True:
        await asyncio.sleep(min(1.0, patience / 4))
        now = asyncio.get_running_loop().time()
        for connection in list(connections):
            if isinstance(connection, Connection):
                connection.check(now)
