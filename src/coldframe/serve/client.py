"""Asking a server: numpy in, numpy out, over REST or gRPC, without TensorFlow.

It asks coldframe's server and TensorFlow Serving's own alike::

    client = connect("grpc://localhost:8500")            # or http://localhost:8501, https://..., grpcs://...
    client.predict("half_plus_two", {"x": x})            # -> {"y": array}

Calls that find the server away, ending or overloaded (UNAVAILABLE, CANCELLED, RESOURCE_EXHAUSTED; HTTP 503, 429) are
tried again, with growing pauses, for as long as the call's time lasts.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol, Self, TypeVar
from urllib.parse import quote, urlsplit

import grpc
import numpy as np
import numpy.typing as npt
import orjson
import urllib3

from coldframe import dtypes
from coldframe.errors import MisuseError
from coldframe.formats import messages, tensor_proto
from coldframe.formats.tensor_wire import tensor_entry
from coldframe.formats.wire import bytes_field, integer_field
from coldframe.serve import json_tensors
from coldframe.serve.naming import ModelSpec
from coldframe.serve.status import Code, RequestError

Array = npt.NDArray[Any]
T = TypeVar("T")
Example = Mapping[str, Any]

# gRPC cancels what reaches a server in the instant of its end.
_AGAIN: Final = (Code.UNAVAILABLE, Code.RESOURCE_EXHAUSTED, Code.CANCELLED)
_FIRST_PAUSE: Final = 0.05  # seconds; each is twice the one before, less a random part
_LONGEST_PAUSE: Final = 2.0
_FROM_HTTP: Final = {
    400: Code.INVALID_ARGUMENT,
    401: Code.UNAUTHENTICATED,
    403: Code.PERMISSION_DENIED,
    404: Code.NOT_FOUND,
    409: Code.ALREADY_EXISTS,
    413: Code.INVALID_ARGUMENT,
    429: Code.RESOURCE_EXHAUSTED,
    499: Code.CANCELLED,
    501: Code.UNIMPLEMENTED,
    503: Code.UNAVAILABLE,
    504: Code.DEADLINE_EXCEEDED,
}
_SERVICE: Final = "/tensorflow.serving.PredictionService/"
_MODELS: Final = "/tensorflow.serving.ModelService/"


class Transport(Protocol):
    """One of the two ways to ask. Each call is made once, within `seconds`, and raises RequestError."""

    def predict(
        self, spec: ModelSpec, signature: str, inputs: Mapping[str, Array], outputs: Sequence[str], seconds: float
    ) -> dict[str, Array]:
        """Run a signature."""

    def classify(
        self, spec: ModelSpec, signature: str, examples: Sequence[Example], seconds: float
    ) -> list[list[tuple[str, float]]]:
        """Classify examples."""

    def regress(self, spec: ModelSpec, signature: str, examples: Sequence[Example], seconds: float) -> list[float]:
        """Regress examples."""

    def status(self, spec: ModelSpec, seconds: float) -> dict[int, str]:
        """Return the states of versions."""

    def metadata(self, spec: ModelSpec, seconds: float) -> Any:
        """Return the signatures, a SignatureDefMap message."""

    def close(self) -> None:
        """Close connections."""


class Client:
    """A client of one server; threads may share it.

    Args:
        transport: how to ask.
        timeout: seconds that a call may take, all its tries together.
        retries: how often a call is tried again.
    """

    def __init__(self, transport: Transport, *, timeout: float = 30.0, retries: int = 5) -> None:
        self._transport, self._timeout, self._retries = transport, timeout, retries

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close connections."""
        self._transport.close()

    def predict(
        self,
        model: str,
        inputs: Mapping[str, npt.ArrayLike],
        *,
        version: int | None = None,
        label: str | None = None,
        signature: str = "",
        outputs: Sequence[str] = (),
        timeout: float | None = None,
    ) -> dict[str, Array]:
        """Run a signature of a model.

        Args:
            model: the model's name.
            inputs: arrays by input name. Their dtypes count: a model of float32 refuses float64.
            version: which version; left out, the latest.
            label: which version, by its label.
            signature: left out, ``serving_default``.
            outputs: names of the wanted outputs; none for all. REST gives all and drops the others.
            timeout: seconds, instead of the client's.

        Returns:
            Arrays by output name; strings as bytes in object arrays.

        Raises:
            RequestError: the server refused; its `code` says how.
        """
        arrays = {k: as_array(v) for k, v in inputs.items()}
        spec = ModelSpec(model, version, label)
        return self._again(lambda left: self._transport.predict(spec, signature, arrays, outputs, left), timeout)

    def classify(
        self,
        model: str,
        examples: Sequence[Example],
        *,
        version: int | None = None,
        label: str | None = None,
        signature: str = "",
        timeout: float | None = None,
    ) -> list[list[tuple[str, float]]]:
        """Classify examples, each a mapping from feature names to values; return labels with scores for each.

        Raises:
            RequestError: the server refused.
        """
        spec = ModelSpec(model, version, label)
        return self._again(lambda left: self._transport.classify(spec, signature, examples, left), timeout)

    def regress(
        self,
        model: str,
        examples: Sequence[Example],
        *,
        version: int | None = None,
        label: str | None = None,
        signature: str = "",
        timeout: float | None = None,
    ) -> list[float]:
        """Regress examples, each a mapping from feature names to values; return a value for each.

        Raises:
            RequestError: the server refused.
        """
        spec = ModelSpec(model, version, label)
        return self._again(lambda left: self._transport.regress(spec, signature, examples, left), timeout)

    def status(self, model: str, *, timeout: float | None = None) -> dict[int, str]:
        """Return the states of a model's versions: ``{2: "AVAILABLE"}``.

        Raises:
            RequestError: there is no such model.
        """
        return self._again(lambda left: self._transport.status(ModelSpec(model), left), timeout)

    def signatures(self, model: str, *, version: int | None = None, timeout: float | None = None) -> Any:
        """Return the signatures of a model, SignatureDef messages by name.

        Raises:
            RequestError: there is no such model.
        """
        spec = ModelSpec(model, version)
        return self._again(lambda left: self._transport.metadata(spec, left), timeout).signature_def

    def wait_until_ready(self, model: str, *, timeout: float | None = None) -> None:
        """Wait until a version of a model is available.

        Raises:
            RequestError: none is within the time (DEADLINE_EXCEEDED).
        """
        end = time.monotonic() + (self._timeout if timeout is None else timeout)
        while True:
            try:
                if "AVAILABLE" in self._transport.status(ModelSpec(model), max(0.01, end - time.monotonic())).values():
                    return
            except RequestError as e:
                if e.code not in (*_AGAIN, Code.NOT_FOUND, Code.DEADLINE_EXCEEDED):
                    raise
            if time.monotonic() >= end:
                raise RequestError(Code.DEADLINE_EXCEEDED, f"model `{model}` is not ready")
            time.sleep(_FIRST_PAUSE)

    def _again(self, ask: Callable[[float], T], timeout: float | None) -> T:
        end = time.monotonic() + (self._timeout if timeout is None else timeout)
        pauses = _pauses(self._retries)
        while True:
            try:
                return ask(max(0.001, end - time.monotonic()))
            except RequestError as e:
                pause = next(pauses, None)
                if e.code not in _AGAIN or pause is None or time.monotonic() + pause >= end:
                    raise
                time.sleep(pause)


def _pauses(count: int) -> Iterator[float]:
    for i in range(count):
        yield min(_LONGEST_PAUSE, _FIRST_PAUSE * 2**i) * random.uniform(0.5, 1.0)


def connect(
    url: str,
    *,
    token: str | None = None,
    authorities: str | Path | None = None,
    timeout: float = 30.0,
    retries: int = 5,
) -> Client:
    """Return a client of the server at `url`; nothing is sent yet.

    Args:
        url: ``http://host:port`` and ``https://...`` for REST, ``grpc://host:port`` and ``grpcs://...`` for gRPC.
        token: sent with each call.
        authorities: a PEM file of who signs the server's certificate; left out, the system's.
        timeout: seconds that a call may take, all its tries together.
        retries: how often a call is tried again.

    Raises:
        MisuseError: the URL is of no known kind.
    """
    parts = urlsplit(url)
    kinds: dict[str, Callable[[], Transport]] = {
        "http": lambda: RestTransport(url, token, None),
        "https": lambda: RestTransport(url, token, authorities),
        "grpc": lambda: GrpcTransport(grpc.insecure_channel(parts.netloc, _OPTIONS), token),
        "grpcs": lambda: GrpcTransport(_secure(parts.netloc, authorities), token),
    }
    if parts.scheme not in kinds or not parts.netloc:
        raise MisuseError("not the address of a server", expected="http://host:port or grpc://host:port", found=url)
    return Client(kinds[parts.scheme](), timeout=timeout, retries=retries)


_OPTIONS: Final = (("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1))


def _secure(address: str, authorities: str | Path | None) -> grpc.Channel:
    root = None if authorities is None else Path(authorities).read_bytes()
    return grpc.secure_channel(address, grpc.ssl_channel_credentials(root), _OPTIONS)


def as_array(value: npt.ArrayLike) -> Array:
    """Return an array as it is sent: strings as bytes in an object array."""
    array = np.asarray(value)
    if array.dtype.kind not in "USO":
        return array
    flat = [v.encode() if isinstance(v, str) else v for v in array.reshape(-1).tolist()]
    if not all(isinstance(v, bytes) for v in flat):
        raise MisuseError("an array of objects must hold bytes or str", found=type(flat[0]).__name__)
    out = np.empty(len(flat), object)
    out[:] = flat
    return out.reshape(array.shape)


class RestTransport:
    """Asks over TensorFlow Serving's REST API."""

    def __init__(self, url: str, token: str | None, authorities: str | Path | None) -> None:
        self._url = url.rstrip("/")
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
        more = {"ca_certs": str(authorities)} if authorities is not None else {}
        self._pool = urllib3.PoolManager(headers=headers, maxsize=16, retries=False, **more)  # type: ignore[arg-type]
        self._dtypes: dict[tuple[ModelSpec, str], dict[str, dtypes.DType]] = {}

    def predict(
        self, spec: ModelSpec, signature: str, inputs: Mapping[str, Array], outputs: Sequence[str], seconds: float
    ) -> dict[str, Array]:
        """See `Transport`."""
        given = {k: json_tensors.plain(v, as_bytes=True) for k, v in inputs.items()}
        body = {"inputs": given} | ({"signature_name": signature} if signature else {})
        found = self._ask("POST", f"{_path(spec)}:predict", seconds, json_tensors.dump(body))["outputs"]
        kinds = self._output_dtypes(spec, signature, seconds)
        named = {next(iter(kinds)): found} if len(kinds) == 1 else found
        return {k: _from_json(v, kinds[k]) for k, v in named.items() if not outputs or k in outputs}

    def classify(
        self, spec: ModelSpec, signature: str, examples: Sequence[Example], seconds: float
    ) -> list[list[tuple[str, float]]]:
        """See `Transport`."""
        found = self._examples(spec, "classify", signature, examples, seconds)
        return [[(label, score) for label, score in row] for row in found]

    def regress(self, spec: ModelSpec, signature: str, examples: Sequence[Example], seconds: float) -> list[float]:
        """See `Transport`."""
        return list(self._examples(spec, "regress", signature, examples, seconds))

    def status(self, spec: ModelSpec, seconds: float) -> dict[int, str]:
        """See `Transport`."""
        found = self._ask("GET", _path(spec), seconds)["model_version_status"]
        return {int(s["version"]): s["state"] for s in found}

    def metadata(self, spec: ModelSpec, seconds: float) -> Any:
        """See `Transport`."""
        from google.protobuf import json_format

        found = self._ask("GET", f"{_path(spec)}/metadata", seconds)["metadata"]["signature_def"]
        return json_format.ParseDict(found, messages.message_class("tensorflow.serving.SignatureDefMap")())

    def close(self) -> None:
        """See `Transport`."""
        self._pool.clear()

    def _examples(
        self, spec: ModelSpec, method: str, signature: str, examples: Sequence[Example], seconds: float
    ) -> Any:
        rows = [{k: _feature(v) for k, v in e.items()} for e in examples]
        body: dict[str, Any] = {"examples": rows} | ({"signature_name": signature} if signature else {})
        return self._ask("POST", f"{_path(spec)}:{method}", seconds, json_tensors.dump(body))["results"]

    def _output_dtypes(self, spec: ModelSpec, signature: str, seconds: float) -> dict[str, dtypes.DType]:
        """Return the dtypes of a signature's outputs, which JSON does not tell; asked for once."""
        key = spec, signature or "serving_default"
        found = self._dtypes.get(key)
        if found is None:
            outputs = self.metadata(spec, seconds).signature_def[key[1]].outputs
            found = self._dtypes[key] = {k: dtypes.from_enum(outputs[k].dtype) for k in outputs}
        return found

    def _ask(self, method: str, path: str, seconds: float, body: bytes | None = None) -> Any:
        try:
            reply = self._pool.request(method, self._url + path, body=body, timeout=urllib3.Timeout(total=seconds))
        except urllib3.exceptions.TimeoutError as e:
            code = Code.UNAVAILABLE if isinstance(e, urllib3.exceptions.ConnectTimeoutError) else Code.DEADLINE_EXCEEDED
            raise RequestError(code, "no reply in time", where=f"from {self._url}") from e
        except urllib3.exceptions.SSLError as e:
            raise RequestError(Code.UNAUTHENTICATED, "no trusted connection", where=f"to {self._url}", found=e) from e
        except urllib3.exceptions.HTTPError as e:
            raise RequestError(Code.UNAVAILABLE, "no connection", where=f"to {self._url}", found=e) from e
        found = _json(reply.data)
        if reply.status != 200:
            told = found.get("error") if isinstance(found, dict) else None
            raise RequestError(_FROM_HTTP.get(reply.status, Code.INTERNAL), str(told or f"HTTP status {reply.status}"))
        return found


def _json(data: bytes) -> Any:
    try:
        return json_tensors.parse_object(data)
    except (RequestError, orjson.JSONDecodeError):
        return None


def _path(spec: ModelSpec) -> str:
    path = f"/v1/models/{quote(spec.name, safe='')}"
    if spec.version is not None:
        return f"{path}/versions/{spec.version}"
    return path if spec.label is None else f"{path}/labels/{quote(spec.label, safe='')}"


def _from_json(value: Any, dtype: dtypes.DType) -> Array:
    if dtype.kind != "s":
        return np.array(value).astype(dtype.numpy)
    array = np.array(value, object)
    out = np.empty(array.size, object)
    out[:] = [json_tensors.to_bytes(v, "the reply") for v in array.reshape(-1)]
    return out.reshape(array.shape)


def _feature(value: Any) -> Any:
    """Return a feature's value as JSON has it."""
    array = as_array(value)
    return json_tensors.plain(array.reshape(-1), as_bytes=True)


class GrpcTransport:
    """Asks over TensorFlow Serving's gRPC API."""

    def __init__(self, channel: grpc.Channel, token: str | None) -> None:
        self._channel = channel
        self._metadata = (("authorization", f"Bearer {token}"),) if token else ()

    def predict(
        self, spec: ModelSpec, signature: str, inputs: Mapping[str, Array], outputs: Sequence[str], seconds: float
    ) -> dict[str, Array]:
        """See `Transport`."""
        parts: list[Any] = [bytes_field(1, _spec(spec, signature))]
        for key, value in inputs.items():
            parts += tensor_entry(2, key, value, as_content=True)
        parts += [bytes_field(3, key.encode()) for key in outputs]
        reply = self._ask(f"{_SERVICE}Predict", b"".join(parts), "PredictResponse", seconds)
        return {k: tensor_proto.to_array(reply.outputs[k], where=f"in output `{k}`") for k in reply.outputs}

    def classify(
        self, spec: ModelSpec, signature: str, examples: Sequence[Example], seconds: float
    ) -> list[list[tuple[str, float]]]:
        """See `Transport`."""
        body = bytes_field(1, _spec(spec, signature)) + bytes_field(2, _input(examples))
        reply = self._ask(f"{_SERVICE}Classify", body, "ClassificationResponse", seconds)
        return [[(c.label, c.score) for c in row.classes] for row in reply.result.classifications]

    def regress(self, spec: ModelSpec, signature: str, examples: Sequence[Example], seconds: float) -> list[float]:
        """See `Transport`."""
        body = bytes_field(1, _spec(spec, signature)) + bytes_field(2, _input(examples))
        reply = self._ask(f"{_SERVICE}Regress", body, "RegressionResponse", seconds)
        return [r.value for r in reply.result.regressions]

    def status(self, spec: ModelSpec, seconds: float) -> dict[int, str]:
        """See `Transport`."""
        reply = self._ask(
            f"{_MODELS}GetModelStatus", bytes_field(1, _spec(spec, "")), "GetModelStatusResponse", seconds
        )
        names = messages.message_class("tensorflow.serving.ModelVersionStatus").State
        return {s.version: names.Name(s.state) for s in reply.model_version_status}

    def metadata(self, spec: ModelSpec, seconds: float) -> Any:
        """See `Transport`."""
        body = bytes_field(1, _spec(spec, "")) + bytes_field(2, b"signature_def")
        reply = self._ask(f"{_SERVICE}GetModelMetadata", body, "GetModelMetadataResponse", seconds)
        return messages.unpack_any(reply.metadata["signature_def"], where="in the reply")

    def close(self) -> None:
        """See `Transport`."""
        self._channel.close()

    def _ask(self, method: str, body: bytes, reply: str, seconds: float) -> Any:
        kind = messages.message_class(f"tensorflow.serving.{reply}")
        call: Any = self._channel.unary_unary(method, response_deserializer=kind.FromString)
        try:
            return call(body, timeout=seconds, metadata=self._metadata)
        except grpc.RpcError as e:
            raise RequestError(Code(e.code().value[0]), e.details() or e.code().name) from e


def _spec(spec: ModelSpec, signature: str) -> bytes:
    """Return the bytes of a ModelSpec: 1 name, 2 version { 1 value }, 3 signature_name, 4 version_label."""
    out = bytes_field(1, spec.name.encode())
    if spec.version is not None:
        out += bytes_field(2, integer_field(1, spec.version))
    if signature:
        out += bytes_field(3, signature.encode())
    return out if spec.label is None else out + bytes_field(4, spec.label.encode())


def _input(examples: Sequence[Example]) -> bytes:
    out = messages.message_class("tensorflow.serving.Input")()
    for example in examples:
        features = out.example_list.examples.add().features.feature
        for key, value in example.items():
            array = as_array(value).reshape(-1)
            kind = {"O": "bytes_list", "f": "float_list"}.get(array.dtype.kind, "int64_list")
            getattr(features[key], kind).value.extend(array.tolist())
    return bytes(out.SerializeToString())
