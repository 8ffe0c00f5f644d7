"""The Open Inference Protocol (KServe's V2), over HTTP and gRPC.

::

    GET  /v2  /v2/health/live  /v2/health/ready
    GET  /v2/models/M[/versions/N]  and  .../ready
    POST /v2/models/M[/versions/N]/infer      {"inputs": [{"name", "datatype", "shape", "data"}], "outputs": [{"name"}]}
    gRPC inference.GRPCInferenceService

Tensors may follow a request's JSON as raw bytes (the binary data extension: ``Inference-Header-Content-Length``, and a
``binary_data_size`` for each), and come so in the reply where ``binary_data`` is asked for. A ``signature_name`` among
the parameters chooses another signature than the default one.

After https://kserve.github.io/website/docs/concepts/architecture/data-plane/v2-protocol.
"""

from __future__ import annotations

import functools
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import unquote

import numpy as np

from coldframe import __version__
from coldframe.formats import messages
from coldframe.formats.tensor_wire import blobs_apart
from coldframe.serve import infer_requests, json_tensors
from coldframe.serve.bodies import RAW_FROM, Receive, Scope, Send, TooLargeError, read_body
from coldframe.serve.core import Core
from coldframe.serve.infer_tensors import (
    Array,
    by_name,
    datatype,
    message_array,
    raw_bytes,
    refuse_extensions,
    tensor_metadata,
)
from coldframe.serve.naming import ModelSpec
from coldframe.serve.rest import respond, version_number
from coldframe.serve.rpc import service
from coldframe.serve.servable import Servable
from coldframe.serve.status import Code, Redacted, RequestError, code_of, invalid

SERVICE: Final = "inference.GRPCInferenceService"
_PATH: Final = re.compile(r"/v2/models/(?P<name>[^/]+)(?:/versions/(?P<version>\d+))?(?:/(?P<what>ready|infer))?")
_PATHS: Final = 64  # that are remembered; each may have the length of a request's head
_HEADS: Final = 64  # of replies that are remembered
_TOLD: Final = Redacted()
_EXTENSIONS: Final = ["binary_tensor_data"]
_BINARY: Final = (b"content-type", b"application/octet-stream")
_DIGITS: Final = 19
_RAW: Final = 7  # a ModelInferRequest's raw_input_contents
log = logging.getLogger("coldframe.serve")


class OpenInference:
    """The protocol's HTTP side, an ASGI application, and its gRPC service.

    Args:
        core: what answers.
        max_body: bytes of a request.
    """

    def __init__(self, core: Core, *, max_body: int = 1 << 30) -> None:
        self._core, self._max_body = core, max_body

    # HTTP

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request."""
        headers: tuple[tuple[bytes, bytes], ...] = ()
        try:
            status, body, headers = await self._answer(scope, receive)
        except TooLargeError as e:
            status, body = 413, json_tensors.dump({"error": str(e)})
        except Exception as e:  # whatever it is, the client gets a reply, and the server goes on
            code = code_of(e)
            if code is Code.INTERNAL:
                log.exception("%s %s failed", scope["method"], scope["path"])
            status, body = code.http, json_tensors.dump({"error": _TOLD(e)})
        await respond(send, status, body, *headers)

    async def _answer(self, scope: Scope, receive: Receive) -> tuple[int, bytes, tuple[tuple[bytes, bytes], ...]]:
        method = scope["method"]
        path = (scope.get("raw_path", b"").partition(b"?")[0].decode("latin-1") or scope["path"]).rstrip("/")
        reading = method in ("GET", "HEAD")
        if reading and path == "/v2":
            return 200, json_tensors.dump(self._server()), ()
        if reading and path == "/v2/health/live":
            return 200, json_tensors.dump({"live": True}), ()
        if reading and path == "/v2/health/ready":
            ready = self._core.catalog.is_ready()
            return 200 if ready else 503, json_tensors.dump({"ready": ready}), ()
        found = _meant(path)
        if found is None:
            raise RequestError(Code.NOT_FOUND, f"no such endpoint: {method} {path}")
        what, spec = found
        if (what == "infer") == reading:
            raise invalid(f"Malformed request: {method} {path}")
        if what == "infer":
            with self._core.budget.holding() as holding:
                headers = dict(scope["headers"])
                body = await read_body(scope, headers, receive, self._max_body, holding)
                with self._core.metrics.request(spec.name, "infer", "rest"):
                    return await self._infer_http(spec, body, headers.get(RAW_FROM))
        if what == "ready":
            ready = self._ready(spec)
            return 200 if ready else 404, json_tensors.dump({"name": spec.name, "ready": ready}), ()
        return 200, json_tensors.dump(self._metadata(spec)), ()

    @staticmethod
    def _server() -> dict[str, Any]:
        return {"name": "coldframe", "version": __version__, "extensions": _EXTENSIONS}

    def _ready(self, spec: ModelSpec) -> bool:
        try:
            with self._core.catalog.lease(spec):
                return True
        except RequestError:
            return False

    def _metadata(self, spec: ModelSpec) -> dict[str, Any]:
        with self._core.catalog.lease(spec) as servable:
            signature = servable.signature(None)
            served = [
                s.version for s in self._core.catalog.statuses(ModelSpec(spec.name)) if s.phase.name == "AVAILABLE"
            ]
            return {
                "name": spec.name,
                "versions": [str(v) for v in served],
                "platform": "tensorflow_savedmodel",
                "inputs": [tensor_metadata(k, s) for k, s in signature.inputs.items()],
                "outputs": [tensor_metadata(k, s) for k, s in signature.outputs.items()],
            }

    async def _infer_http(
        self, spec: ModelSpec, body: bytes | memoryview, size: bytes | None
    ) -> tuple[int, bytes, tuple[tuple[bytes, bytes], ...]]:
        deadline = self._core.deadline()
        if size is not None and (not size.isdigit() or len(size) > _DIGITS or int(size) > len(body)):
            raise invalid(
                "Inference-Header-Content-Length does not fit the body", found=size[:_DIGITS].decode("latin-1")
            )
        end = len(body) if size is None else int(size)
        request = infer_requests.parse(body[:end])
        reading = _reading(request.signature, request.arrays(body, end))
        answer = await self._core.predict(spec, reading, request.wanted, deadline=deadline)
        raw = {k: raw_bytes(v) for k, v in answer.outputs.items() if request.is_raw(k)}
        if len(raw) == len(answer.outputs):
            told = tuple((k, v.dtype, v.shape, len(raw[k])) for k, v in answer.outputs.items())
            head = _raw_head(spec.name, answer.version, request.number, told)
        else:
            outputs = [_output(k, v, raw.get(k)) for k, v in answer.outputs.items()]
            head = json_tensors.dump(_reply(spec.name, answer.version, request.number, outputs))
        if not raw:
            return 200, head, ()
        return 200, b"".join((head, *raw.values())), (_BINARY, (RAW_FROM, b"%d" % len(head)))

    # gRPC

    def handler(self) -> Any:
        """Return what a `grpc.aio.Server` takes."""
        return service(SERVICE, self._core, {
            "ServerLive": (self._server_live, "ServerLiveRequest"),
            "ServerReady": (self._server_ready, "ServerReadyRequest"),
            "ModelReady": (self._model_ready, "ModelReadyRequest"),
            "ServerMetadata": (self._server_metadata, "ServerMetadataRequest"),
            "ModelMetadata": (self._model_metadata, "ModelMetadataRequest"),
            "ModelInfer": (self._model_infer, "ModelInferRequest"),
        }, {"ModelInfer": functools.partial(blobs_apart, number=_RAW)})  # fmt: skip

    async def _server_live(self, request: Any, context: Any) -> bytes:
        return _bytes("ServerLiveResponse", live=True)

    async def _server_ready(self, request: Any, context: Any) -> bytes:
        return _bytes("ServerReadyResponse", ready=self._core.catalog.is_ready())

    async def _model_ready(self, request: Any, context: Any) -> bytes:
        return _bytes("ModelReadyResponse", ready=self._ready(_spec(request.name, request.version)))

    async def _server_metadata(self, request: Any, context: Any) -> bytes:
        return _bytes("ServerMetadataResponse", **self._server())

    async def _model_metadata(self, request: Any, context: Any) -> bytes:
        return _bytes("ModelMetadataResponse", **self._metadata(_spec(request.name, request.version)))

    async def _model_infer(self, request: Any, context: Any, apart: Sequence[memoryview]) -> bytes:
        with self._core.metrics.request(request.model_name, "infer", "grpc"):
            return await self._infer_message(request, context, apart or list(request.raw_input_contents))

    async def _infer_message(self, request: Any, context: Any, raw: Sequence[bytes | memoryview]) -> bytes:
        if raw and len(raw) != len(request.inputs):
            raise invalid(
                "raw_input_contents is for all inputs or for none", expected=len(request.inputs), found=len(raw)
            )
        for tensor in (*request.inputs, *request.outputs):
            refuse_extensions(tensor.name, tensor.parameters)
        contents: Sequence[bytes | memoryview | None] = raw or [None] * len(request.inputs)
        inputs = by_name(
            (t.name, message_array(t, content)) for t, content in zip(request.inputs, contents, strict=True)
        )
        signature = (
            request.parameters["signature_name"].string_param if "signature_name" in request.parameters else None
        )
        answer = await self._core.predict(
            _spec(request.model_name, request.model_version),
            _reading(signature, inputs),
            [t.name for t in request.outputs],
            deadline=self._core.deadline(context.time_remaining()),
        )
        outputs = [_told(k, v.dtype, v.shape, None) for k, v in answer.outputs.items()]
        return _bytes(
            "ModelInferResponse",
            model_name=answer.model,
            model_version=str(answer.version),
            id=request.id,
            outputs=outputs,
            raw_output_contents=[raw_bytes(v) for v in answer.outputs.values()],
        )


def _bytes(kind: str, **fields: Any) -> bytes:
    return bytes(messages.message_class(f"inference.{kind}")(**fields).SerializeToString())


def _spec(name: str, version: str) -> ModelSpec:
    if not name:
        raise invalid("no model is named")
    return ModelSpec(name, version_number(version) if version else None)


@functools.lru_cache(_PATHS)
def _meant(path: str) -> tuple[str, ModelSpec] | None:
    """Return what a path asks for, and of which model; None where it is no path of models."""
    found = _PATH.fullmatch(path)
    return None if found is None else (found["what"] or "", _spec(unquote(found["name"]), found["version"] or ""))


def _reading(signature: str | None, inputs: Mapping[str, Array]) -> Callable[[Servable], Any]:
    return lambda servable: (servable.signature(signature), inputs)


@functools.lru_cache(_HEADS)
def _raw_head(
    model: str, version: int, number: str | None, outputs: tuple[tuple[str, np.dtype[Any], tuple[int, ...], int], ...]
) -> bytes:
    """Return the JSON of a reply whose outputs all follow it: of each the key, dtype, shape and bytes."""
    return json_tensors.dump(_reply(model, version, number, [_told(*output) for output in outputs]))


def _reply(model: str, version: int, number: str | None, outputs: list[dict[str, Any]]) -> dict[str, Any]:
    named = {} if number is None else {"id": number}
    return {"model_name": model, "model_version": str(version), **named, "outputs": outputs}


def _told(key: str, dtype: np.dtype[Any], shape: tuple[int, ...], size: int | None) -> dict[str, Any]:
    said = {} if size is None else {"parameters": {"binary_data_size": size}}
    return {"name": key, "datatype": datatype(dtype), "shape": list(shape), **said}


def _output(key: str, value: Array, raw: bytes | None) -> dict[str, Any]:
    if raw is not None:
        return _told(key, value.dtype, value.shape, len(raw))
    return {**_told(key, value.dtype, value.shape, None), "data": json_tensors.plain(value.reshape(-1))}
