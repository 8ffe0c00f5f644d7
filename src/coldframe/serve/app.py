"""Everything that is served over HTTP, put together.

::

    /v1/models/...                       `rest`: TensorFlow Serving's API, straight to its handler
    /v2...                               `open_inference`: KServe's protocol, likewise
    everything else                      Starlette routes: what is asked for seldom
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from coldframe.serve import overview
from coldframe.serve.access import AccessLayer
from coldframe.serve.batching import BatchRunner
from coldframe.serve.bodies import Receive, Scope, Send
from coldframe.serve.core import Core
from coldframe.serve.metrics import CONTENT_TYPE
from coldframe.serve.open_inference import OpenInference
from coldframe.serve.rest import RestApi

if TYPE_CHECKING:
    from coldframe.serve.server import ServeOptions


class _Application:
    """Sends requests for models to their handlers, without the layers that the others pass through."""

    def __init__(self, core: Core, limit: int, others: Starlette) -> None:
        self._rest, self._inference = RestApi(core, max_body=limit), OpenInference(core, max_body=limit)
        self._callers, self._others = core.callers, others

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"] if scope["type"] == "http" else ""
        if path[:4].lower() == "/v1/":
            self._callers.heard(scope.get("client"))
            await self._rest(scope, receive, send)
        elif path == "/v2" or path.startswith("/v2/"):
            self._callers.heard(scope.get("client"))
            await self._inference(scope, receive, send)
        else:
            await self._others(scope, receive, send)


def application(core: Core, options: ServeOptions) -> AccessLayer:
    """Return the ASGI application of a server."""

    async def metrics(request: Request) -> Response:
        if isinstance(core.runner, BatchRunner):
            core.metrics.waiting.set(core.runner.waiting())
        return Response(core.metrics.text(), media_type=CONTENT_TYPE)

    async def live(request: Request) -> PlainTextResponse:
        return PlainTextResponse("ok")

    async def ready(request: Request) -> PlainTextResponse:
        is_ready = core.catalog.is_ready()
        return PlainTextResponse("ready" if is_ready else "not ready", 200 if is_ready else 503)

    async def unknown(request: Request, error: Exception) -> JSONResponse:
        return JSONResponse({"error": "no such page"}, 404)

    routes = [Route("/healthz", live), Route("/readyz", ready), *overview.routes(core)]
    if options.metrics_path is not None:
        routes.append(Route(options.metrics_path, metrics))
    others = Starlette(routes=routes, exception_handlers={404: unknown})
    return AccessLayer(
        _Application(core, options.max_body, others),
        tokens=options.tokens,
        cors=options.cors,
        open_paths=(*overview.PAGES, *((options.metrics_path,) if options.metrics_path is not None else ())),
        max_in_flight=options.max_in_flight,
    )
