"""Who may ask: tokens, pages of other origins, how much at once.

An ASGI layer around the application, and an interceptor for gRPC. A token is sent as ``Authorization: Bearer TOKEN``;
health, readiness and metrics are answered without one. Every reply carries the request's id (``X-Request-ID``, the
client's own if it sent one), which is in the log as well.
"""

from __future__ import annotations

import hmac
import logging
import random
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final
from urllib.parse import unquote

import grpc

from coldframe.serve import json_tensors
from coldframe.serve.bodies import Receive, Scope, Send
from coldframe.serve.rest import respond

log = logging.getLogger("coldframe.serve.access")

_OPEN: Final = ("/healthz", "/readyz", "/v2/health/live", "/v2/health/ready")
_OPEN_RPC: Final = ("/grpc.health.v1.Health/", "/inference.GRPCInferenceService/Server")
_ID: Final = b"x-request-id"
_CORS: Final = (
    (b"access-control-allow-origin", b"*"),
    (b"access-control-allow-methods", b"POST, GET, OPTIONS"),
    (
        b"access-control-allow-headers",
        b"Content-Type, Content-Encoding, Authorization, X-Request-ID, Inference-Header-Content-Length",
    ),
    (b"access-control-expose-headers", b"X-Request-ID, Inference-Header-Content-Length"),
)
_ID_LENGTH: Final = 128
_STATUS_NAMES: Final = {key: status.name for status in grpc.StatusCode for key in (status, status.value[0])}


def is_allowed(authorization: str, tokens: tuple[str, ...]) -> bool:
    """Whether an ``Authorization`` header has one of the tokens; compared in constant time."""
    kind, _, given = authorization.partition(" ")
    found = [hmac.compare_digest(given.strip().encode(), token.encode()) for token in tokens]
    return kind.lower() == "bearer" and any(found)


class AccessLayer:
    """The ASGI layer.

    Args:
        app: what answers.
        tokens: who may ask; none: everybody.
        cors: whether pages of other origins may.
        open_paths: paths that need no token, besides health and readiness.
        max_in_flight: requests that are worked on at the same time; beyond, 429.
    """

    def __init__(
        self,
        app: Callable[[Scope, Receive, Send], Awaitable[None]],
        *,
        tokens: tuple[str, ...] = (),
        cors: bool = False,
        open_paths: tuple[str, ...] = (),
        max_in_flight: int = 0,
    ) -> None:
        self._app, self._tokens, self._cors = app, tokens, cors
        self._open = frozenset((*_OPEN, *open_paths))
        self._max_in_flight, self._in_flight = max_in_flight, 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or refuse to."""
        if scope["type"] != "http":
            return
        headers = dict(scope["headers"])
        number = _request_id(headers.get(_ID, b""))
        status, started = 0, time.perf_counter()
        more = ((_ID, number), *(_CORS if self._cors else ()))

        async def sending(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), *more]
            await send(message)

        self._in_flight += 1
        try:
            refusal = self._refusal(scope, headers)
            if refusal is not None:
                await respond(sending, *refusal)
            else:
                await self._app(scope, receive, sending)
        finally:
            self._in_flight -= 1
            if log.isEnabledFor(logging.INFO):
                took = (time.perf_counter() - started) * 1000
                line = {"id": number.decode(), "method": scope["method"], "path": scope["path"], "status": status,
                        "ms": round(took, 3), "client": (scope.get("client") or ("",))[0]}  # fmt: skip
                log.info("%s", json_tensors.dump(line).decode())

    def _refusal(self, scope: Scope, headers: dict[bytes, bytes]) -> tuple[int, bytes] | None:
        if scope["method"] == "OPTIONS" and self._cors:
            if headers.get(b"origin", b"").startswith((b"http://", b"https://")):
                return 200, b"{}"
            return 400, _error("Origin header is missing in CORS preflight")
        if scope["path"] in self._open:
            return None
        if self._tokens and not is_allowed(headers.get(b"authorization", b"").decode("latin-1"), self._tokens):
            return 401, _error("a token is needed: Authorization: Bearer TOKEN")
        if self._max_in_flight and self._in_flight > self._max_in_flight:
            return 429, _error("too many requests at once")
        return None


def _error(message: str) -> bytes:
    return json_tensors.dump({"error": message})


def _request_id(given: bytes) -> bytes:
    """Return the client's id if it is one that can be logged, else a new one."""
    if 0 < len(given) <= _ID_LENGTH and all(33 <= c < 127 for c in given):
        return given
    return b"%016x" % random.getrandbits(64)


class LogInterceptor(grpc.aio.ServerInterceptor):
    """Writes a line of JSON for each gRPC request; its id goes back as trailing metadata, ``x-request-id``."""

    async def intercept_service(self, continuation: Any, details: Any) -> Any:
        """See `grpc.aio.ServerInterceptor`."""
        handler = await continuation(details)
        if handler is None or handler.unary_unary is None:  # unknown, or a stream: reflection, watching health
            return handler
        given = dict(details.invocation_metadata).get(_ID.decode(), "")
        number = _request_id(given.encode() if isinstance(given, str) else given).decode()
        answer = handler.unary_unary

        async def logged(request: Any, context: Any) -> Any:
            context.set_trailing_metadata(((_ID.decode(), number),))
            started, ended = time.perf_counter(), "CANCELLED"
            try:
                reply = await answer(request, context)
                ended = "OK"
                return reply
            except grpc.aio.AbortError:
                ended = _STATUS_NAMES.get(context.code(), "UNKNOWN")
                raise
            finally:
                took = (time.perf_counter() - started) * 1000
                line = {"id": number, "method": "gRPC", "path": details.method, "status": ended,
                        "ms": round(took, 3), "client": _host(context.peer())}  # fmt: skip
                log.info("%s", json_tensors.dump(line).decode())

        return handler._replace(unary_unary=logged)


def _host(peer: str) -> str:
    """Return the address in gRPC's name of a client: ``ipv4:127.0.0.1:40000``, ``ipv6:%5B::1%5D:40000``, ``unix:``."""
    kind, _, rest = peer.partition(":")
    return unquote(rest).rpartition(":")[0].strip("[]") if kind.startswith("ipv") else kind


class TokenInterceptor(grpc.aio.ServerInterceptor):
    """Asks gRPC clients for a token."""

    def __init__(self, tokens: tuple[str, ...]) -> None:
        self._tokens = tokens

        async def refuse(request: Any, context: Any) -> None:
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, "a token is needed: authorization: Bearer TOKEN")

        self._refusal: Any = grpc.unary_unary_rpc_method_handler(refuse)

    async def intercept_service(self, continuation: Any, details: Any) -> Any:
        """See `grpc.aio.ServerInterceptor`."""
        given = dict(details.invocation_metadata).get("authorization", "")
        if details.method.startswith(_OPEN_RPC) or is_allowed(given, self._tokens):
            return await continuation(details)
        return self._refusal
