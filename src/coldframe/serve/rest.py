"""TensorFlow Serving's REST API, as an ASGI application.

::

    POST /v1/models/M[/versions/N | /labels/L]:predict | :classify | :regress
    GET  /v1/models/M[/versions/N | /labels/L]            the states of versions
    GET  /v1/models/M[/versions/N | /labels/L]/metadata   signatures

Bodies are in `coldframe.serve.json_tensors`. An error is ``{"error": message}`` with the status of its code. After
``tensorflow_serving/g3doc/api_rest.md`` and ``model_servers/http_rest_api_handler.cc``.
"""

from __future__ import annotations

import logging
import re
import time
from typing import Any, Final
from urllib.parse import unquote

import numpy as np

from coldframe.serve import json_tensors
from coldframe.serve.bodies import Receive, Scope, Send, TooLargeError, read_body
from coldframe.serve.core import Core
from coldframe.serve.naming import ModelSpec
from coldframe.serve.servable import Servable
from coldframe.serve.status import Code, Redacted, code_of, invalid

_VERSION: Final = r"(?:/versions/(?P<version>\d+)|/labels/(?P<label>[^/:]+))?"
_CALL: Final = re.compile(rf"/v1/models/(?P<name>[^/:]+){_VERSION}:(?P<method>classify|regress|predict)", re.IGNORECASE)
_LOOK: Final = re.compile(rf"/v1/models(?:/(?P<name>[^/:]+))?{_VERSION}(?:/(?P<what>metadata))?", re.IGNORECASE)
_JSON: Final = (b"content-type", b"application/json")
_MAX_VERSION: Final = 2**63 - 1
_DIGITS: Final = 20  # a number of more is beyond 64 bits, or has zeros before it
_TOLD: Final = Redacted()

log = logging.getLogger("coldframe.serve")


class RestApi:
    """The ASGI application.

    Args:
        core: what answers.
        max_body: bytes that a request's body may have, inflated.
    """

    def __init__(self, core: Core, *, max_body: int = 1 << 30) -> None:
        self._core, self._max_body = core, max_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request."""
        try:
            status, body = 200, await self._answer(scope, receive)
        except TooLargeError as e:
            status, body = 413, json_tensors.dump({"error": str(e)})
        except Exception as e:  # whatever it is, the client gets a reply, and the server goes on
            code = code_of(e)
            if code is Code.INTERNAL:
                log.exception("%s %s failed", scope["method"], scope["path"])
            status, body = code.http, json_tensors.dump({"error": _TOLD(e)})
        await respond(send, status, body)

    async def _answer(self, scope: Scope, receive: Receive) -> bytes:
        method, path = scope["method"], scope.get("raw_path", b"").partition(b"?")[0].decode("latin-1") or scope["path"]
        if method == "POST" and (found := _CALL.fullmatch(path)):
            spec, what = _spec(found), found["method"].lower()
            with self._core.budget.holding() as holding:
                body = await read_body(scope, dict(scope["headers"]), receive, self._max_body, holding)
                with self._core.metrics.request(spec.name, what, "rest"):
                    return await self._call(spec, what, body)
        if method in ("GET", "HEAD") and (found := _LOOK.fullmatch(path)):
            spec = _spec(found)
            if not spec.name:
                raise invalid("Missing model name in request.")
            return self._metadata(spec) if found["what"] else self._status(spec)
        raise invalid(f"Malformed request: {method} {path}")

    async def _call(self, spec: ModelSpec, method: str, body: bytes | memoryview) -> bytes:
        deadline = self._core.deadline()
        request = json_tensors.parse_object(body)
        name = json_tensors.signature_name(request)
        if method == "predict":
            return await self._predict(spec, name, request, deadline)
        examples = json_tensors.read_examples(request)
        if method == "classify":
            classes = await self._core.classify(spec, name, examples, deadline=deadline)
            rows = [[[label, np.float32(score)] for label, score in row] for row in classes.rows]
            return json_tensors.dump({"results": rows})
        values = await self._core.regress(spec, name, examples, deadline=deadline)
        return json_tensors.dump({"results": [np.float32(v) for v in values.rows]})

    async def _predict(self, spec: ModelSpec, name: str | None, request: dict[str, Any], deadline: float) -> bytes:
        by_row = False

        def read(servable: Servable) -> Any:
            nonlocal by_row
            signature = servable.signature(name)
            inputs, by_row = json_tensors.read_predict(request, signature.inputs, servable.optional[signature.name])
            return signature, inputs

        answer = await self._core.predict(spec, read, deadline=deadline)
        started = time.perf_counter()
        written = json_tensors.write_predict(answer.outputs, by_row)
        self._core.metrics.stage(spec.name, "write", time.perf_counter() - started)
        return written

    def _status(self, spec: ModelSpec) -> bytes:
        return json_tensors.dump(
            {
                "model_version_status": [
                    {
                        "version": str(s.version),
                        "state": s.phase.name,
                        "status": {"error_code": s.code.name, "error_message": s.message},
                    }
                    for s in self._core.catalog.statuses(spec)
                ]
            }
        )

    def _metadata(self, spec: ModelSpec) -> bytes:
        from google.protobuf import json_format  # slow to import, rarely needed

        with self._core.catalog.lease(spec) as servable:
            signatures = json_format.MessageToDict(
                servable.signature_defs, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
            )
            return json_tensors.dump(
                {
                    "model_spec": {"name": spec.name, "signature_name": "", "version": str(servable.version)},
                    "metadata": {"signature_def": signatures},
                }
            )


def _spec(found: re.Match[str]) -> ModelSpec:
    version = None if found["version"] is None else version_number(found["version"])
    label = None if found["label"] is None else unquote(found["label"])
    return ModelSpec(unquote(found["name"] or ""), version, label)


def version_number(text: str) -> int:
    """Return the number of a version, as a request says it.

    Raises:
        RequestError: it is none that a version can have (INVALID_ARGUMENT).
    """
    if len(text) > _DIGITS or not (text.isascii() and text.isdigit()) or int(text) > _MAX_VERSION:
        raise invalid(f"Failed to convert version: {text[:_DIGITS]} to numeric.")
    return int(text)


async def respond(send: Send, status: int, body: bytes, *headers: tuple[bytes, bytes]) -> None:
    """Send a reply: JSON, unless one of the headers says otherwise."""
    kind = () if any(name == b"content-type" for name, _ in headers) else (_JSON,)
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [*kind, (b"content-length", b"%d" % len(body)), *headers],
        }
    )
    await send({"type": "http.response.body", "body": body})
