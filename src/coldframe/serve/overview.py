"""The page that shows what is served, and the API's description.

::

    /                 page/index.html, which asks /page/models once a second
    /page/models      models, versions, signatures, how many requests and how long they took
    /openapi.json     the API, for tools; /docs shows it to people

Nothing is loaded from elsewhere: it works without a network.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from coldframe import __version__
from coldframe.errors import ColdframeError
from coldframe.serve import json_tensors
from coldframe.serve.core import Core
from coldframe.serve.lifecycle import VersionStatus
from coldframe.serve.naming import ModelSpec
from coldframe.serve.openapi import description
from coldframe.shapes import TensorSpec

PAGES: Final = ("/", "/page.css", "/page.js", "/docs", "/docs.js", "/openapi.json")
_FOLDER: Final = Path(__file__).parent / "page"
_KINDS: Final = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
_POLICY: Final = (
    "default-src 'none'; connect-src 'self'; script-src 'self'; style-src 'self'; img-src data:; base-uri 'none';"
    " form-action 'none'; frame-ancestors 'none'"
)


def routes(core: Core) -> list[BaseRoute]:
    """Return the routes of the page and of the API's description."""

    async def models(request: Request) -> Response:
        return _json([_model(core, name) for name in sorted(core.catalog.models())])

    async def openapi(request: Request) -> Response:
        return _json(description(__version__))

    return [
        Route("/", _file("index.html")),
        Route("/page.css", _file("page.css")),
        Route("/page.js", _file("page.js")),
        Route("/docs", _file("docs.html")),
        Route("/docs.js", _file("docs.js")),
        Route("/page/models", models),
        Route("/openapi.json", openapi),
    ]


def _file(name: str) -> Any:
    path = _FOLDER / name
    headers = {"Content-Security-Policy": _POLICY, "X-Content-Type-Options": "nosniff", "Cache-Control": "no-cache"}

    async def answer(request: Request) -> Response:
        return Response(path.read_bytes(), media_type=_KINDS[path.suffix], headers=headers)

    return answer


def _json(value: Any) -> Response:
    return Response(json_tensors.dump(value), media_type="application/json")


def _model(core: Core, name: str) -> dict[str, Any]:
    labels = core.catalog.labels(name)
    count, seconds = core.metrics.totals(name)
    return {
        "name": name,
        "versions": [_version(s, labels) for s in _statuses(core, name)],
        "signatures": _signatures(core, name),
        "requests": count,
        "seconds": seconds,
    }


def _statuses(core: Core, name: str) -> list[VersionStatus]:
    try:
        return core.catalog.statuses(ModelSpec(name))
    except ColdframeError:
        return []  # no version yet


def _version(status: VersionStatus, labels: dict[str, int]) -> dict[str, Any]:
    return {
        "version": status.version,
        "state": status.phase.name,
        "message": status.message,
        "labels": sorted(label for label, number in labels.items() if number == status.version),
    }


def _signatures(core: Core, name: str) -> dict[str, Any]:
    try:
        with core.catalog.lease(ModelSpec(name)) as servable:
            return {
                key: {
                    "method": signature.method.rpartition("/")[2] or "predict",
                    "inputs": {k: _tensor(s) for k, s in signature.inputs.items()},
                    "outputs": {k: _tensor(s) for k, s in signature.outputs.items()},
                }
                for key, signature in servable.signatures.items()
            }
    except ColdframeError:
        return {}  # no version serves


def _tensor(spec: TensorSpec) -> dict[str, Any]:
    dims = (None,) if spec.shape.dims is None else spec.shape.dims
    return {"dtype": spec.dtype.name, "shape": list(dims)}
