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
import math
import re
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import unquote

import ml_dtypes
import numpy as np
import numpy.typing as npt

from coldframe import __version__, dtypes
from coldframe.formats import messages
from coldframe.formats.tensor_proto import numbers
from coldframe.formats.tensor_wire import blobs_apart
from coldframe.serve import json_tensors
from coldframe.serve.bodies import Receive, Scope, Send, TooLargeError, read_body
from coldframe.serve.core import Answer, Core
from coldframe.serve.naming import ModelSpec
from coldframe.serve.rest import respond, version_number
from coldframe.serve.rpc import service
from coldframe.serve.servable import Servable
from coldframe.serve.status import Code, Redacted, RequestError, code_of, invalid
from coldframe.shapes import Shape, TensorSpec

Array = npt.NDArray[Any]
SERVICE: Final = "inference.GRPCInferenceService"
_PATH: Final = re.compile(r"/v2/models/(?P<name>[^/]+)(?:/versions/(?P<version>\d+))?(?:/(?P<what>ready|infer))?")
_TOLD: Final = Redacted()
_EXTENSIONS: Final = ["binary_tensor_data"]
_HEADER_SIZE: Final = b"inference-header-content-length"
_BINARY: Final = (b"content-type", b"application/octet-stream")
_NOT_THERE: Final = {
    "shared_memory_region": "shared memory",
    "shared_memory_offset": "shared memory",
    "shared_memory_byte_size": "shared memory",
    "classification": "a classification",
}
"""Parameters of extensions that would change where a tensor is or what it means, and so cannot be passed over."""
_RAW: Final = 7  # a ModelInferRequest's raw_input_contents
_DIGITS: Final = 19
_MAX_RANK: Final = 64  # numpy's
_MAX_ELEMENTS: Final = 1 << 40
_MAX_HOLLOW: Final = 1 << 25  # what the other dimensions may come to where one is 0: sums over that one have as many

log = logging.getLogger("coldframe.serve")

# The protocol's name of each dtype, and the field of its gRPC messages that lists values.
_NAMES: Final = {
    "bool": ("BOOL", "bool_contents"),
    "uint8": ("UINT8", "uint_contents"),
    "uint16": ("UINT16", "uint_contents"),
    "uint32": ("UINT32", "uint_contents"),
    "uint64": ("UINT64", "uint64_contents"),
    "int8": ("INT8", "int_contents"),
    "int16": ("INT16", "int_contents"),
    "int32": ("INT32", "int_contents"),
    "int64": ("INT64", "int64_contents"),
    "float16": ("FP16", ""),
    "float32": ("FP32", "fp32_contents"),
    "float64": ("FP64", "fp64_contents"),
    "bfloat16": ("BF16", ""),
    "string": ("BYTES", "bytes_contents"),
}
_BY_NAME: Final = {name: (key, field) for key, (name, field) in _NAMES.items()}


def datatype(array: Array) -> str:
    """Return the protocol's name of an array's dtype.

    Raises:
        RequestError: it has none (UNIMPLEMENTED would be no help: the model gives what it gives).
    """
    name = "string" if array.dtype == object else dtypes.from_numpy(array.dtype).name
    if name not in _NAMES:
        raise invalid(f"{name} tensors have no name in the Open Inference Protocol")
    return _NAMES[name][0]


def _dtype(name: str) -> dtypes.DType:
    if name not in _BY_NAME:
        raise invalid("unknown datatype", expected=", ".join(_BY_NAME), found=name)
    return dtypes.from_name(_BY_NAME[name][0])


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
        found = _PATH.fullmatch(path)
        if found is None:
            raise RequestError(Code.NOT_FOUND, f"no such endpoint: {method} {path}")
        if (found["what"] == "infer") == reading:
            raise invalid(f"Malformed request: {method} {path}")
        spec = _spec(unquote(found["name"]), found["version"] or "")
        if found["what"] == "infer":
            with self._core.budget.holding() as holding:
                headers = dict(scope["headers"])
                size = headers.get(_HEADER_SIZE, b"")
                tensors = int(size) if size.isdigit() and len(size) <= _DIGITS else 0  # where they begin
                body = await read_body(scope, receive, self._max_body, holding, tensors)
                with self._core.metrics.request(spec.name, "infer", "rest"):
                    return await self._infer_http(spec, body, headers)
        if found["what"] == "ready":
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
                "inputs": [_tensor_metadata(k, s) for k, s in signature.inputs.items()],
                "outputs": [_tensor_metadata(k, s) for k, s in signature.outputs.items()],
            }

    async def _infer_http(
        self, spec: ModelSpec, body: bytes | memoryview, headers: Mapping[bytes, bytes]
    ) -> tuple[int, bytes, tuple[tuple[bytes, bytes], ...]]:
        deadline = self._core.deadline()
        size = headers.get(_HEADER_SIZE)
        if size is not None and (not size.isdigit() or len(size) > _DIGITS or int(size) > len(body)):
            raise invalid(
                "Inference-Header-Content-Length does not fit the body", found=size[:_DIGITS].decode("latin-1")
            )
        end = len(body) if size is None else int(size)
        request = json_tensors.parse_object(body[:end])
        raw = _Raw(body, end)
        inputs = _by_name(_input(t, raw) for t in _list(request, "inputs", True))
        raw.expect_end()
        wanted = [_name(t) for t in _list(request, "outputs", False)]
        for tensor in _list(request, "outputs", False):
            _refuse_extensions(_name(tensor), _parameters(tensor))
        answer = await self._core.predict(spec, _reading(_signature(request), inputs), wanted, deadline=deadline)
        reply: dict[str, Any] = {"model_name": spec.name, "model_version": str(answer.version)}
        if "id" in request:
            reply["id"] = str(request["id"])
        binary = _binary_outputs(request, answer)
        reply["outputs"] = [_output(k, v, binary.get(k)) for k, v in answer.outputs.items()]
        head = json_tensors.dump(reply)
        if not binary:
            return 200, head, ()
        return 200, b"".join((head, *binary.values())), (_BINARY, (_HEADER_SIZE, b"%d" % len(head)))

    # gRPC

    def handler(self) -> Any:
        """Return what a `grpc.aio.Server` takes."""
        return service(SERVICE, self._core.budget, {
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
            _refuse_extensions(tensor.name, tensor.parameters)
        contents: Sequence[bytes | memoryview | None] = raw or [None] * len(request.inputs)
        inputs = _by_name(
            (t.name, _message_array(t, content)) for t, content in zip(request.inputs, contents, strict=True)
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
        outputs = [{"name": k, "datatype": datatype(v), "shape": list(v.shape)} for k, v in answer.outputs.items()]
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


def _reading(signature: str | None, inputs: Mapping[str, Array]) -> Callable[[Servable], Any]:
    return lambda servable: (servable.signature(signature), inputs)


def _tensor_metadata(key: str, spec: TensorSpec) -> dict[str, Any]:
    name = _NAMES.get(spec.dtype.name, (spec.dtype.name.upper(), ""))[0]
    dims = (-1,) if spec.shape.dims is None else spec.shape.dims
    return {"name": key, "datatype": name, "shape": [-1 if d is None else d for d in dims]}


# Tensors in JSON, or after it


class _Raw:
    """What follows the JSON of a request."""

    def __init__(self, body: bytes | memoryview, at: int) -> None:
        self._body, self._at = memoryview(body), at

    def take(self, size: int, name: str) -> memoryview:
        if size < 0 or size > len(self._body) - self._at:
            raise invalid(
                f"input `{name}` claims more bytes than follow", expected=size, found=len(self._body) - self._at
            )
        found = self._body[self._at : self._at + size]
        self._at += size
        return found

    def expect_end(self) -> None:
        if self._at != len(self._body):
            raise invalid("bytes that no input claims follow the JSON", found=len(self._body) - self._at)


def _list(request: Mapping[str, Any], key: str, needed: bool) -> list[dict[str, Any]]:
    found = request.get(key, [])
    if not isinstance(found, list) or not all(isinstance(t, dict) for t in found) or (needed and not found):
        raise invalid(f"`{key}` must be a list of tensors")
    return found


def _name(tensor: Mapping[str, Any]) -> str:
    name = tensor.get("name")
    if not isinstance(name, str):
        raise invalid("a tensor without a name")
    return name


def _parameters(holder: Mapping[str, Any]) -> dict[str, Any]:
    found = holder.get("parameters", {})
    if not isinstance(found, dict):
        raise invalid("`parameters` must be an object")
    return found


def _parameter(holder: Mapping[str, Any], key: str) -> Any:
    return _parameters(holder).get(key)


def _refuse_extensions(name: str, parameters: Iterable[str]) -> None:
    """Refuse a tensor that is elsewhere, or is to be something else, by an extension that this server has not."""
    for key in parameters:
        if key in _NOT_THERE:
            raise invalid(f"tensor `{name}` asks for {_NOT_THERE[key]}, which this server has not", found=key)


def _by_name(tensors: Iterable[tuple[str, Array]]) -> dict[str, Array]:
    found: dict[str, Array] = {}
    for name, value in tensors:
        if name in found:
            raise invalid(f"input `{name}` is given twice")
        found[name] = value
    return found


def _signature(request: Mapping[str, Any]) -> str | None:
    name = _parameter(request, "signature_name")
    if name is not None and not isinstance(name, str):
        raise invalid("`signature_name` must be a string")
    return name


def _input(tensor: Mapping[str, Any], raw: _Raw) -> tuple[str, Array]:
    name, dims = _name(tensor), tensor.get("shape")
    if not isinstance(dims, list) or not all(type(d) is int and d >= 0 for d in dims):
        raise invalid(f"input `{name}` needs a shape of whole numbers", found=dims)
    _refuse_extensions(name, _parameters(tensor))
    dtype, count = _dtype(str(tensor.get("datatype"))), _count(dims, name)
    size = _parameter(tensor, "binary_data_size")
    if size is not None:
        if type(size) is not int:
            raise invalid(f"binary_data_size of input `{name}` must be a whole number")
        return name, from_raw(raw.take(size, name), dtype, dims, name)
    data = _flat(tensor.get("data"))
    if len(data) != count:
        raise invalid(f"input `{name}` has another number of elements", expected=count, found=len(data))
    spec = TensorSpec(name, dtypes.float64 if dtype.kind == "f" else dtype, Shape.unknown())
    with np.errstate(over="ignore"):
        return name, json_tensors.to_array(data, spec, name).astype(dtype.numpy).reshape(dims)


def _flat(data: Any) -> list[Any]:
    if not isinstance(data, list):
        raise invalid("a tensor needs `data`, a list", found=type(data).__name__)
    if not any(isinstance(v, list) for v in data):
        return data
    flat: list[Any] = []
    waiting = [iter(data)]
    while waiting:  # each element is looked at once, however deep the lists are
        for value in waiting[-1]:
            if isinstance(value, list):
                waiting.append(iter(value))
                break
            flat.append(value)
        else:
            waiting.pop()
    return flat


def _count(dims: Sequence[int], name: str) -> int:
    """Return how many elements a shape has."""
    if len(dims) > _MAX_RANK:
        raise invalid(f"input `{name}` has too many dimensions", expected=f"at most {_MAX_RANK}", found=len(dims))
    if math.prod(d or 1 for d in dims) > (_MAX_ELEMENTS if all(dims) else _MAX_HOLLOW):
        raise invalid(f"input `{name}` has an impossible shape", found=list(dims))
    return math.prod(dims)


def from_raw(data: bytes | memoryview, dtype: dtypes.DType, dims: Iterable[int], name: str) -> Array:
    """Return the array of raw bytes: little-endian, row-major; strings each after its length, four bytes.

    Raises:
        RequestError: the bytes do not fill the shape (INVALID_ARGUMENT).
    """
    dims = tuple(dims)
    count = _count(dims, name)
    if dtype.kind == "s":
        return _raw_strings(bytes(data), count, name).reshape(dims)
    if len(data) != count * dtype.width:
        raise invalid(f"input `{name}` has another size", expected=f"{count * dtype.width} bytes", found=len(data))
    if dtype is dtypes.bool_:
        truth: Array = np.frombuffer(data, np.uint8) != 0
        return truth.reshape(dims)
    array: Array = np.frombuffer(data, dtype.numpy).reshape(dims)
    return array if array.flags.aligned else array.copy()


def _raw_strings(data: bytes, count: int, name: str) -> Array:
    found: list[bytes] = []
    at = 0
    while at + 4 <= len(data) and len(found) < count:
        (size,) = struct.unpack_from("<I", data, at)
        found.append(data[at + 4 : at + 4 + size])
        at += 4 + size
    if at != len(data) or len(found) != count:
        raise invalid(f"input `{name}` does not hold {count} strings, each after its length")
    out = np.empty(count, object)
    out[:] = found
    return out


def raw_bytes(array: Array) -> bytes:
    """Return an array's raw bytes, as `from_raw` reads them."""
    if array.dtype != object:
        return array.tobytes()
    return b"".join(struct.pack("<I", len(v)) + v for v in array.reshape(-1).tolist())


def _binary_outputs(request: Mapping[str, Any], answer: Answer) -> dict[str, bytes]:
    everything = _parameter(request, "binary_data_output") is True
    asked = {_name(t): _parameter(t, "binary_data") for t in _list(request, "outputs", False)}
    return {k: raw_bytes(v) for k, v in answer.outputs.items() if asked.get(k, everything) is True}


def _output(key: str, value: Array, raw: bytes | None) -> dict[str, Any]:
    out: dict[str, Any] = {"name": key, "datatype": datatype(value), "shape": list(value.shape)}
    if raw is not None:
        out["parameters"] = {"binary_data_size": len(raw)}
    else:
        out["data"] = json_tensors.plain(value.reshape(-1))
    return out


def _message_array(tensor: Any, raw: bytes | memoryview | None) -> Array:
    dtype, dims = _dtype(tensor.datatype), list(tensor.shape)
    if any(d < 0 for d in dims):
        raise invalid(f"input `{tensor.name}` has a negative dimension", found=dims)
    if raw is not None:
        return from_raw(raw, dtype, dims, tensor.name)
    field = _BY_NAME[tensor.datatype][1]
    if not field:
        raise invalid(f"{tensor.datatype} tensors come in raw_input_contents only", found=f"input `{tensor.name}`")
    values, count = getattr(tensor.contents, field), _count(dims, tensor.name)
    if len(values) != count:
        raise invalid(f"input `{tensor.name}` has another number of elements", expected=count, found=len(values))
    if dtype.kind == "s":
        out = np.empty(count, object)
        out[:] = list(values)
        return out.reshape(dims)
    wide = numbers(values, np.int64 if dtype.kind == "i" else np.uint64 if dtype.kind == "u" else dtype.numpy)
    if dtype.kind in "iu" and count:
        limits = ml_dtypes.iinfo(dtype.numpy)  # type: ignore[no-untyped-call]
        if wide.min() < limits.min or wide.max() > limits.max:
            raise invalid(f"input `{tensor.name}` has a number that {tensor.datatype} cannot hold")
    return wide.astype(dtype.numpy).reshape(dims)
