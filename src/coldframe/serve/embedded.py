"""The application without its own server: to mount in another ASGI server, or in Ray Serve.

::

    app = create_app({"m": "models/m"})        # uvicorn module:app, hypercorn, ...
    app = ray_app({"m": "models/m"})           # serve run module:app

It speaks HTTP only: REST and the Open Inference Protocol, the page and the metrics.
"""

from __future__ import annotations

import asyncio
import dataclasses
import os
from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import Any

from coldframe.errors import UnsupportedError
from coldframe.serve.app import application
from coldframe.serve.bodies import Receive, Scope, Send
from coldframe.serve.config import ModelConfig
from coldframe.serve.server import ServeOptions, Server


class EmbeddedApp:
    """An ASGI application that loads its models when its server starts, or else with the first request.

    Attributes:
        server: what it consists of; it listens nowhere.
    """

    def __init__(self, options: ServeOptions) -> None:
        self.server = Server(dataclasses.replace(options, rest_port=None, grpc_port=None, grpc_socket=None))
        self._app = application(self.server.core, options)
        self._started: asyncio.Task[None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or the server's word that it starts or ends."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        await self.start()
        await self._app(scope, receive, send)

    async def start(self) -> None:
        """Load the models, once.

        Raises:
            MisuseError: no model can be served.
        """
        if self._started is None:
            self._started = asyncio.ensure_future(self.server.start())
        await asyncio.shield(self._started)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            await self.start()
        except Exception as e:
            await send({"type": "lifespan.startup.failed", "message": str(e)})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.server.stop()
        await send({"type": "lifespan.shutdown.complete"})


def create_app(models: Mapping[str, str | os.PathLike[str]], options: ServeOptions | None = None) -> EmbeddedApp:
    """Return the ASGI application that serves `models`.

    Args:
        models: base paths by name.
        options: everything else.
    """
    configs = tuple(ModelConfig(name, Path(path)) for name, path in models.items())
    return EmbeddedApp(dataclasses.replace(options or ServeOptions(), models=configs))


def ray_app(
    models: Mapping[str, str | os.PathLike[str]], options: ServeOptions | None = None, **deployment: Any
) -> Any:
    """Return a Ray Serve application whose replicas each serve `models`.

    Args:
        models: base paths by name, the same on every machine.
        options: everything else.
        deployment: as ``ray.serve.deployment`` takes it: ``num_replicas``, ``autoscaling_config``, ...

    Raises:
        UnsupportedError: Ray Serve is not installed.
    """
    try:
        from ray import serve
    except ModuleNotFoundError as e:
        raise UnsupportedError("Ray Serve is not installed", hint="pip install 'ray[serve]'") from e

    class Replica:
        """One process of Ray's that serves all models."""

        def __init__(self) -> None:
            self._app = create_app(models, options)

        async def __call__(self, request: Any) -> Any:
            """Answer a Starlette request."""
            return await _answered(self._app, request)

        async def check_health(self) -> None:
            """Be well once the models are loaded."""
            await self._app.start()

    return serve.deployment(**{"name": "coldframe", **deployment})(Replica).bind()


async def _answered(app: EmbeddedApp, request: Any) -> Any:
    """Return what `app` sends as one Starlette response."""
    from starlette.responses import Response

    start: MutableMapping[str, Any] = {}
    parts: list[bytes] = []

    async def send(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            start.update(message)
        else:
            parts.append(message.get("body", b""))

    await app(request.scope, request.receive, send)
    response = Response(b"".join(parts), status_code=start["status"])
    response.raw_headers = list(start["headers"])
    return response
