"""Bodies of requests, and how much of them there may be at the same time.

::

    bytes arrive ──► Holding.take ──► fits: kept, until there is a reply
                                  └─► more than all requests together may hold: 429, RESOURCE_EXHAUSTED, at once

What has not been read from a connection is not counted: it stops at 64 KiB of what no handler has asked for. A gRPC
message is counted once it is whole, since gRPC hands it over as a whole.
"""

from __future__ import annotations

import asyncio
import threading
import zlib
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from types import TracebackType
from typing import Any, Final, Self

from coldframe.serve.status import Code, RequestError, invalid

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
READ_WHOLE: Final = "coldframe.read_whole"
"""Among the extensions of a request's scope: reads its body straight to memory, see `connections`."""
RAW_FROM: Final = b"inference-header-content-length"
"""The header that tells after how many bytes of JSON raw tensors begin, of KServe's protocol."""
_STEP: Final = 1 << 20  # bytes that are inflated before they are counted


class Budget:
    """Bytes that the bodies of all requests may have together.

    Args:
        limit: how many.

    Attributes:
        held: how many there are.
        pause: what gRPC requests wait for before they are answered; None: for nothing.
    """

    def __init__(self, limit: int = 1 << 62) -> None:
        self.limit, self.held, self.lock = limit, 0, threading.Lock()
        self.pause: asyncio.Event | None = None

    def holding(self) -> Holding:
        """Return what one request holds, to be entered by ``with``: it gives all back at the end."""
        return Holding(self)


class Holding:
    """What one request holds of a budget."""

    __slots__ = ("_budget", "_held", "_is_over")

    def __init__(self, budget: Budget) -> None:
        self._budget, self._held, self._is_over = budget, 0, False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: TracebackType | None) -> None:
        with self._budget.lock:
            self._budget.held -= self._held
            self._held, self._is_over = 0, True

    def take(self, size: int) -> None:
        """Hold so many bytes more; in any thread.

        Raises:
            RequestError: all requests together would hold too many (RESOURCE_EXHAUSTED), or this one is over
                (CANCELLED).
        """
        with self._budget.lock:
            if self._is_over:
                raise RequestError(Code.CANCELLED, "the request is over")
            if self._budget.held + size > self._budget.limit:
                raise RequestError(
                    Code.RESOURCE_EXHAUSTED,
                    "too many bytes of requests at once",
                    expected=f"at most {self._budget.limit} of all requests that are being answered",
                    hint="ask again later, or with less",
                )
            self._budget.held += size
            self._held += size


class TooLargeError(RequestError):
    """A body of more bytes than the server takes."""

    def __init__(self, limit: int) -> None:
        super().__init__(Code.INVALID_ARGUMENT, "the request's body is too large", expected=f"at most {limit} bytes")


async def read_body(
    scope: Scope, headers: Mapping[bytes, bytes], receive: Receive, limit: int, holding: Holding
) -> bytes | memoryview:
    """Return a request's body, inflated where it is compressed.

    Args:
        scope: ASGI's.
        headers: those in it.
        receive: ASGI's.
        limit: bytes that it may have.
        holding: takes what it has; what a header only claims takes nothing.

    Raises:
        TooLargeError: it has more than `limit` bytes.
        RequestError: the client went away, it is compressed in an unknown way, or there are too many bytes of bodies at
            the moment (RESOURCE_EXHAUSTED).
    """
    claimed = headers.get(b"content-length", b"")
    if claimed.isdigit() and int(claimed) > limit:
        raise TooLargeError(limit)
    read = scope.get("extensions", {}).get(READ_WHOLE)
    body = None if read is None else await read(holding.take)
    if body is None:
        body = await _received(receive, limit, holding)
    encoding = headers.get(b"content-encoding", b"identity").strip().lower()
    if encoding == b"identity":
        return body
    # In a thread: others are answered meanwhile.
    return await asyncio.to_thread(_inflated, body, encoding, limit, holding)


async def _received(receive: Receive, limit: int, holding: Holding) -> bytes:
    chunks, size, more = [], 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise RequestError(Code.CANCELLED, "the client went away")
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > limit:
            raise TooLargeError(limit)
        holding.take(len(chunk))
        chunks.append(chunk)
        more = message.get("more_body", False)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _inflated(body: bytes | memoryview, encoding: bytes, limit: int, holding: Holding) -> bytes:
    if encoding not in (b"gzip", b"deflate"):
        raise invalid("unknown Content-Encoding", expected="gzip or deflate", found=encoding.decode("latin-1"))
    inflater = zlib.decompressobj(zlib.MAX_WBITS | (16 if encoding == b"gzip" else 0))
    out, left = bytearray(), body
    while not inflater.eof:
        try:
            part = inflater.decompress(left, _STEP)
        except zlib.error as e:
            raise invalid(f"the body is not what its Content-Encoding says: {encoding.decode()}") from e
        left = inflater.unconsumed_tail
        if not part and not left and not inflater.eof:
            raise invalid("the compressed body is cut short")
        if len(out) + len(part) > limit:
            raise TooLargeError(limit)
        holding.take(len(part))
        out += part
    return bytes(out)
