"""What a server does with what it should never have been sent: a 4xx, or the end of the connection; and goes on."""

from __future__ import annotations

import base64
import dataclasses
import functools
import gzip
import json
import random
import socket
import struct
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import httpx
import hypothesis
import numpy as np
import pytest

from coldframe.formats import tensor_proto
from coldframe.formats.messages import message_class
from coldframe.serve import infer_requests
from coldframe.serve.client import connect
from serving import Spawned, spawned

PREDICT = "/v1/models/m:predict"
INFER = "/v2/models/m/infer"
LEAKS = (b"Traceback", b"site-packages", b"/root", b"coldframe/serve", b'File "')
MEGABYTE = 1 << 20
PATIENCE = 1.2
REFUSED = (
    "INVALID_ARGUMENT",
    "NOT_FOUND",
    "FAILED_PRECONDITION",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "RESOURCE_EXHAUSTED",
)


@dataclasses.dataclass(frozen=True)
class Victim:
    """A server in a process of its own, and what its replies may not tell."""

    server: Spawned
    secrets: tuple[bytes, ...]

    def check_reply(self, data: bytes) -> None:
        """Fail if a reply tells of this machine."""
        for secret in self.secrets:
            assert secret not in data, data[:500]

    def post(self, path: str, body: bytes, **headers: str) -> tuple[int, str]:
        """Send a body; return the status and the error."""
        with httpx.Client(base_url=self.server.rest, timeout=30) as client:
            reply = client.post(path, content=body, headers={k.replace("_", "-"): v for k, v in headers.items()})
        self.check_reply(reply.content)
        return reply.status_code, str(reply.json().get("error", ""))

    def connection(self, timeout: float = 10) -> socket.socket:
        host, _, port = self.server.rest.removeprefix("http://").partition(":")
        return socket.create_connection((host, int(port)), timeout=timeout)

    def raw(self, data: bytes, *, end: bool = False, timeout: float = 10) -> bytes:
        """Send bytes, and return all that comes back until the connection ends."""
        with self.connection(timeout) as connection:
            found = b""
            try:
                connection.sendall(data)
                if end:
                    connection.shutdown(socket.SHUT_WR)
                while chunk := connection.recv(1 << 16):
                    found += chunk
            except ConnectionError:
                pass
        self.check_reply(found)
        return found

    def call(self, channel: grpc.Channel, method: str, data: bytes) -> str:
        """Call a gRPC method with bytes; return the status."""
        try:
            channel.unary_unary(method)(data, timeout=20)  # type: ignore[call-arg]
        except grpc.RpcError as e:
            self.check_reply(str(e.details()).encode())
            return str(e.code().name)
        return "OK"

    def is_well(self) -> None:
        """Fail unless it answers as it should, over both protocols."""
        for url in (self.server.rest, f"grpc://{self.server.rpc}"):
            with connect(url) as client:
                assert client.predict("m", {"x": np.array([[2.0]], np.float32)})["y"].tolist() == [[3.0]]


@pytest.fixture(scope="module")
def victim(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Victim]:
    words = ["--model", f"m={base}", "--threads", "2", "--slow-client-timeout", str(PATIENCE)]
    words += ["--max-body-bytes", str(32 * MEGABYTE), "--max-expansion-bytes", str(16 * MEGABYTE)]
    with spawned(tmp_path_factory.mktemp("hostile") / "log", *words) as server:
        found = Victim(server, (*LEAKS, str(base).encode(), str(base.parent).encode()))
        found.is_well()
        yield found
        found.is_well()
    log = server.log.read_text()
    assert "/coldframe/" not in log.replace(str(base), ""), log[-4000:]  # no trace of an error of ours
    assert server.process.returncode == 0


@pytest.fixture(scope="module")
def channel(victim: Victim) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(victim.server.rpc) as found:
        yield found


# JSON


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()


BODIES = [
    b"", b"null", b"[]", b"1", b'"x"', b"{", b"\xff\xfe", b"\x00" * 100, b'{"instances"', b'{"instances": }', b"{} {}",
    b"[" * 100_000, b'{"a":' * 100_000, b'{"instances": NaN', b'{"instances": [NaN], "signature_name": "\\ud800"}',
    b'{"instances": [NaN, ' + b"[" * 100_000, b'{"instances": [Infinity, ' + b"9" * 10_000 + b"]}",
    b'{"instances": [1e999999]}', b'{"instances": [' + b"9" * 5000 + b"]}", b'{"instances": [NaN, {"b64": 1}]}',
    b'{"instances": ' + b"[" * 900 + b"1" + b"]" * 900 + b"}",
    b'{"instances": ' + b"[" * 65 + b"1" + b"]" * 65 + b"}",
    b'{"signature_name": "text", "instances": ' + b"[" * 900 + b'"a"' + b"]" * 900 + b"}",
    b'{"signature_name": "text", "instances": ' + b"[" * 65 + b'"a"' + b"]" * 65 + b"}",
    b'{"signature_name": "text", "instances": [{"b64": "' + b"!" * 1000 + b'"}]}',
    b'{"signature_name": {"a": 1}, "instances": [1.0]}', b'{"signature_name": "no such one", "instances": [1.0]}',
    _json({"instances": ["x" * MEGABYTE, *["y"] * 10_000]}), _json({"instances": [1.0, ["x" * MEGABYTE]]}),
    _json({"instances": [[1.0], [1.0, 2.0]]}), _json({"instances": [{"x": 1.0}, 2.0]}),
    _json({"instances": [{"x": 1.0, "\x00": 2}]}), _json({"inputs": {"x" * 100_000: 1}}),
    _json({"instances": [True]}), _json({"instances": [None]}), _json({"instances": [{}]}),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(BODIES)))
def test_bodies(victim: Victim, number: int) -> None:
    status, error = victim.post(PREDICT, BODIES[number])
    assert (status, error != "") == (400, True)
    assert len(error) < 2000
    for path in ("/v1/models/m:classify", "/v1/models/m:regress", INFER):
        assert victim.post(path, BODIES[number])[0] == 400


def _tensor(shape: Any, data: Any = (1.0,), datatype: str = "FP32", **more: Any) -> bytes:
    return _json({"inputs": [{"name": "x", "shape": shape, "datatype": datatype, "data": data, **more}]})


@pytest.mark.parametrize("body", [
    _tensor([1 << 60]), _tensor([1 << 20, 1 << 20, 1 << 20]), _tensor([10**30]), _tensor([-1]), _tensor([1.5]),
    _tensor([1] * 65), _tensor([1] * 100_000), _tensor([1 << 40, 0], []), _tensor([0, 1 << 62], []), _tensor("x"),
    _tensor([True]), _tensor([1 << 62] * 60), _tensor([1], {}), _tensor([1], "ab"), _tensor([1], [[[]]]),
    _tensor([1], parameters={"binary_data_size": 1 << 62}), _tensor([1], parameters={"binary_data_size": -1}),
    _tensor([1], parameters=[]), _tensor([1 << 40], ["x"], "BYTES"), _tensor([1], [10**400], "FP64"),
    _tensor([1], ["x"], "INT8"), _tensor([1], [1], "COMPLEX"), _json({"inputs": [1]}), _json({"inputs": [{"name": 1}]}),
    _json({"inputs": [], "outputs": 1}), _json({"inputs": [{}], "parameters": {"signature_name": {}}}),
], ids=range(26))  # fmt: skip
def test_tensors_of_the_open_inference_protocol(victim: Victim, body: bytes) -> None:
    status, error = victim.post(INFER, body)
    assert (status, error != "") == (400, True)


def test_signatures_that_are_no_names(victim: Victim) -> None:
    for name in ([], {}, 1, "no such one"):
        body = {"inputs": [{"name": "x", "shape": [1], "datatype": "FP32", "data": [1.0]}]}
        status, _ = victim.post(INFER, _json({**body, "parameters": {"signature_name": name}}))
        assert status == 400


def test_sizes_that_headers_claim(victim: Victim) -> None:
    for claimed in ("9" * 5000, "-1", "x", "1e3", "1000000"):
        status, _ = victim.post(INFER, _tensor([1]), Inference_Header_Content_Length=claimed)
        assert status == 400
    for path in (f"/v1/models/m/versions/{'9' * 5000}", f"/v2/models/m/versions/{'9' * 5000}/infer"):
        assert victim.post(path, b"{}")[0] == 400
        assert victim.post(f"{path}:predict", b"{}")[0] == (400 if path.startswith("/v1") else 404)


def test_nested_lists_are_read_once(victim: Victim) -> None:
    """Looked at again on each level, it would be 30 million elements."""
    deep: Any = list(range(60_000))
    for _ in range(500):
        deep = [deep]
    looked = 0

    def count(frame: Any, event: str, arg: Any) -> Any:
        nonlocal looked
        looked += event == "line"
        return count

    before = sys.gettrace()
    sys.settrace(count)
    try:
        flat = infer_requests._flat(deep)
    finally:
        sys.settrace(before)
    assert (len(flat), looked < 10 * 60_000) == (60_000, True)
    assert victim.post(INFER, _tensor([1], deep))[0] == 400


@functools.cache
def _bomb() -> bytes:
    return gzip.compress(b" " * (160 * MEGABYTE))


def test_compression_bombs(victim: Victim) -> None:
    bomb = _bomb()
    victim.server.forget_peak()
    before = victim.server.memory()
    for _ in range(3):
        assert victim.post(PREDICT, bomb, Content_Encoding="gzip")[0] == 413
        assert victim.post(INFER, bomb, Content_Encoding="gzip")[0] == 413
    assert victim.server.memory("VmHWM") - before < 150 * MEGABYTE
    for wrong in (b"", b"x" * 100, bomb[: len(bomb) // 2][:1000], gzip.compress(b"{}")[:-4]):
        assert victim.post(PREDICT, wrong, Content_Encoding="gzip")[0] == 400
    assert victim.post(PREDICT, b"{}", Content_Encoding="br, gzip")[0] == 400


def test_strings_among_numbers_take_no_room(victim: Victim) -> None:
    victim.server.forget_peak()
    before = victim.server.memory()
    body = _json({"instances": ["x" * (4 * MEGABYTE), *["y"] * 1000]})  # 16 GB, as numpy would have it
    assert victim.post(PREDICT, body)[0] == 400
    body = _json({"signature_name": "text", "instances": [{"b64": base64.b64encode(bytes(MEGABYTE)).decode()}]})
    assert victim.post(PREDICT, body)[0] == 200
    assert victim.server.memory("VmHWM") - before < 150 * MEGABYTE


@pytest.fixture
def schema(victim: Victim) -> Any:
    """The OpenAPI page, as schemathesis reads it."""
    import schemathesis

    return schemathesis.openapi.from_url(f"{victim.server.rest}/openapi.json")


def explore(victim: Victim, schema: Any, examples: int) -> int:
    """Send requests that fit the OpenAPI page, and some that do not, to every operation; return how many were sent."""
    from schemathesis.checks import not_a_server_error
    from schemathesis.specs.openapi.checks import response_schema_conformance, status_code_conformance

    checks = [not_a_server_error, status_code_conformance, response_schema_conformance]
    sent = 0
    for result in schema.get_all_operations():
        operation = result.ok()

        @hypothesis.given(case=operation.as_strategy())
        @hypothesis.seed(1)
        @hypothesis.settings(
            max_examples=examples, deadline=None, database=None, suppress_health_check=list(hypothesis.HealthCheck)
        )
        def ask(case: Any) -> None:
            nonlocal sent
            if "model" in case.path_parameters and sent % 2:  # else hardly any would get to a model
                case.path_parameters["model"] = "m"
            reply = case.call()
            sent += 1
            victim.check_reply(reply.content)
            case.validate_response(reply, checks=checks)

        ask()
    return sent


def test_the_openapi_page(victim: Victim, schema: Any) -> None:
    assert explore(victim, schema, 5) > 50


@pytest.mark.slow
def test_the_openapi_page_thoroughly(victim: Victim, schema: Any) -> None:
    assert explore(victim, schema, 300) > 3000


# HTTP

HEAD = b"POST /v1/models/m:predict HTTP/1.1\r\nHost: x\r\n"
BODY = b'{"instances": [[2.0]]}'
LENGTH = b"Content-Length: %d\r\n" % len(BODY)


@pytest.mark.parametrize("data", [
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),  # a TLS greeting
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\x00" * 1000, b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n",
    b"BREW /v1/models/m HTTP/1.1\r\nHost: x\r\n\r\n", b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
    HEAD + b"Content-Length: 99999999999999999999999\r\n\r\n", HEAD + b"Content-Length: -1\r\n\r\n",
    HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n{}", HEAD + b"a b: c\r\n\r\n", HEAD + b": c\r\n\r\n",
    HEAD + b"Transfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFFF\r\n",
    HEAD + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n",
    HEAD + LENGTH + b"Transfer-Encoding: chunked\r\n\r\n" + BODY, HEAD + b"X: " + bytes(10) + b"\r\n\r\n",
], ids=range(16))  # fmt: skip
def test_what_is_no_http(victim: Victim, data: bytes) -> None:
    reply = victim.raw(data)
    assert reply == b"" or reply.startswith((b"HTTP/1.1 4", b"HTTP/1.0 4"))


def test_heads_without_end(victim: Victim) -> None:
    for data in (
        HEAD + b"X: " + b"x" * (4 * MEGABYTE),
        b"GET /" + b"x" * (4 * MEGABYTE),
        HEAD + b"a: b\r\n" * MEGABYTE,
    ):
        reply = victim.raw(data)
        assert reply == b"" or reply.startswith(b"HTTP/1.1 431")
    victim.server.forget_peak()
    before = victim.server.memory()
    endless = HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n" + b"a: b\r\n" * (20 * MEGABYTE)
    victim.raw(endless)
    assert victim.server.memory("VmHWM") - before < 200 * MEGABYTE


SLOW = [  # what comes first, what comes now and then, the status
    (b"", b"", b""),
    (b"POST /v1/mo", b"", b"408"),
    (HEAD, b"", b"408"),
    (HEAD, b"a: b\r\n", b"408"),
    (HEAD + LENGTH + b"\r\n", b"", b"408"),
    (HEAD + LENGTH + b"\r\n" + BODY[:5], b"", b"408"),
    (HEAD + b"Content-Length: 10000\r\n\r\n", b" ", b"408"),
    (b"", b"\r\n", b"408"),
    (b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", b"\r\n", b"200"),
    (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n", b"408"),
]


def _linger(victim: Victim, data: bytes, drip: bytes) -> bytes:
    """Send some bytes, and more now and then; return what comes back until the connection ends."""
    started, found = time.monotonic(), b""
    with victim.connection(0.3) as connection:
        connection.sendall(data)
        while time.monotonic() - started < 5 * PATIENCE:
            try:
                chunk = connection.recv(4096)
                if not chunk:
                    return found
                found += chunk
            except TimeoutError:
                if drip:
                    connection.sendall(drip)
            except ConnectionError:
                return found
    return b"HTTP/1.1 still open"


def test_slow_clients(victim: Victim) -> None:
    with ThreadPoolExecutor(len(SLOW)) as pool:
        found = pool.map(lambda case: _linger(victim, case[0], case[1])[9:12], SLOW)
    assert list(found) == [answer for _, _, answer in SLOW]


def test_clients_that_take_no_answer(victim: Victim) -> None:
    body = _json({"signature_name": "text", "instances": ["x" * (8 * MEGABYTE)]})
    with victim.connection() as connection:
        connection.sendall(HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        time.sleep(3 * PATIENCE)
        found = 0
        with pytest.raises((ConnectionError, AssertionError)):  # noqa: PT012
            while chunk := connection.recv(1 << 20):
                found += len(chunk)
            assert found >= 16 * MEGABYTE
    assert found < 16 * MEGABYTE


def test_requests_that_come_at_once(victim: Victim) -> None:
    one = HEAD + LENGTH + b"\r\n" + BODY
    last = HEAD + LENGTH + b"Connection: close\r\n\r\n" + BODY
    reply = victim.raw(one * 50 + last)
    assert reply.count(b"HTTP/1.1 200") == 51
    assert reply.count(b'{"predictions":[[3.0]]}') == 51
    reply = victim.raw(one + b"garbage\r\n\r\n")
    assert reply.count(b"HTTP/1.1 200") <= 1
    assert victim.raw(HEAD + LENGTH + b"\r\n" + BODY[:4], end=True)[:12] in (b"", b"HTTP/1.1 408", b"HTTP/1.1 400")


@pytest.mark.parametrize("kind", ["text/plain", "application/x-protobuf", "multipart/form-data", "x" * 1000, ""])
def test_content_types(victim: Victim, kind: str) -> None:
    """They say nothing, as with TensorFlow Serving: the body does."""
    assert victim.post(PREDICT, BODY, Content_Type=kind)[0] == 200
    assert victim.post(PREDICT, b"a=b&c=d", Content_Type=kind)[0] == 400


ODD_PATHS = (
    "/v1/models/../../etc/passwd", "/v1/models/%2e%2e%2f:predict", "/page/../../server.py", "/v2/models/%00/infer",
    "/page/%2e%2e/rest.py", "/v1/models/m/versions/x:predict", "/v1/models/m%00", "//", "/v2/x", "/%ff",
)  # fmt: skip


def test_paths_and_methods(victim: Victim) -> None:
    with httpx.Client(base_url=victim.server.rest) as client:
        for path in ODD_PATHS:
            for method in ("GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"):
                reply = client.request(method, path)
                assert 400 <= reply.status_code < 500 or (path == "//" and reply.status_code < 400), (method, path)
                victim.check_reply(reply.content)
        for method in ("PUT", "DELETE", "PATCH"):
            assert client.request(method, PREDICT, content=BODY).status_code == 400


# gRPC


def _predict_request(**tensors: Any) -> Any:
    out = message_class("tensorflow.serving.PredictRequest")()
    out.model_spec.name = "m"
    for key, value in tensors.items():
        out.inputs[key].CopyFrom(tensor_proto.from_array(value) if isinstance(value, np.ndarray) else value)
    return out


def _proto(dims: list[int], dtype: int = 1, **values: Any) -> Any:
    out = message_class("tensorflow.TensorProto")(dtype=dtype, **values)
    for d in dims:
        out.tensor_shape.dim.add(size=d)
    return out


ONE = {"float_val": [1.0]}


@pytest.mark.parametrize("tensor", [
    _proto([1 << 60], **ONE), _proto([1 << 31], **ONE), _proto([1 << 20, 1 << 20], **ONE), _proto([5_000_000], **ONE),
    _proto([5_000_000], float_val=[1.0, 2.0]), _proto([1 << 40, 0]), _proto([0, 1 << 59]), _proto([-1], **ONE),
    _proto([1] * 65, **ONE), _proto([1 << 62] * 64, **ONE), _proto([1], 999, **ONE), _proto([1], 0), _proto([1], 20),
    _proto([1], 21), _proto([4], tensor_content=b"abc"), _proto([1 << 40], 7, string_val=[b"x"]),
    _proto([1 << 40], 7, tensor_content=b"\x01" * 100), _proto([3], 7, tensor_content=b"\xff" * 100),
    _proto([3], 8, scomplex_val=[1.0]),
], ids=range(19))  # fmt: skip
def test_tensors(victim: Victim, channel: grpc.Channel, tensor: Any) -> None:
    victim.server.forget_peak()
    before = victim.server.memory()
    predict = _predict_request(x=tensor)
    run = message_class("tensorflow.serving.SessionRunRequest")(fetch=["y:0"])
    run.model_spec.name = "m"
    run.feed.add(name="x:0").tensor.CopyFrom(tensor)
    many = _predict_request(**{f"x{i}": tensor for i in range(20)})
    for method, request in (("Prediction", predict), ("Prediction", many), ("Session", run)):
        name = f"/tensorflow.serving.{method}Service/{'Predict' if method == 'Prediction' else 'SessionRun'}"
        assert victim.call(channel, name, request.SerializeToString()) in REFUSED
    assert victim.server.memory("VmHWM") - before < 100 * MEGABYTE


def test_what_a_few_bytes_may_stand_for(victim: Victim) -> None:
    """Below the limit it is answered, and beyond it where all values are there."""
    name = "/tensorflow.serving.PredictionService/Predict"
    with grpc.insecure_channel(victim.server.rpc, [("grpc.max_receive_message_length", -1)]) as channel:
        for tensor in (_proto([1_000_000, 1], **ONE), tensor_proto.from_array(np.ones((5_000_000, 1), np.float32))):
            assert victim.call(channel, name, _predict_request(x=tensor).SerializeToString()) == "OK"


def _infer_request(**fields: Any) -> Any:
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, 1], **fields.pop("tensor", {})}
    return message_class("inference.ModelInferRequest")(model_name="m", inputs=[tensor], **fields)


@pytest.mark.parametrize("request_", [
    _infer_request(), _infer_request(tensor={"shape": [1 << 60]}), _infer_request(tensor={"shape": [-5]}),
    _infer_request(tensor={"shape": [1] * 65, "contents": {"fp32_contents": [1.0]}}),
    _infer_request(tensor={"shape": [1 << 50, 0]}), _infer_request(tensor={"datatype": "x"}),
    _infer_request(raw_input_contents=[b"abc"]), _infer_request(raw_input_contents=[b"", b""]),
    _infer_request(tensor={"datatype": "BYTES", "shape": [1 << 40]}, raw_input_contents=[struct.pack("<I", 1 << 31)]),
    _infer_request(tensor={"datatype": "INT8", "contents": {"int_contents": [1000]}}),
    _infer_request(model_version="9" * 5000, raw_input_contents=[bytes(4)]),
    _infer_request(parameters={"signature_name": {"string_param": "none"}}, raw_input_contents=[bytes(4)]),
], ids=range(12))  # fmt: skip
def test_open_inference_messages(victim: Victim, channel: grpc.Channel, request_: Any) -> None:
    name = "/inference.GRPCInferenceService/ModelInfer"
    assert victim.call(channel, name, request_.SerializeToString()) in REFUSED


def _valid() -> dict[str, bytes]:
    """Return a valid request of each gRPC method."""
    spec = {"name": "m"}

    def make(kind: str, **fields: Any) -> bytes:
        return bytes(message_class(kind)(**fields).SerializeToString())

    def ours(kind: str, signature: str = "", **fields: Any) -> bytes:
        return make(f"tensorflow.serving.{kind}", model_spec={**spec, "signature_name": signature}, **fields)

    example = message_class("tensorflow.Example")()
    example.features.feature["x"].float_list.value.append(1.0)
    given = {"example_list": {"examples": [example]}}
    tasks = [
        {"model_spec": {**spec, "signature_name": s}, "method_name": f"tensorflow/serving/{s}"}
        for s in ("classify", "regress")
    ]
    feed = [{"name": "x:0", "tensor": tensor_proto.from_array(np.ones((1, 1), np.float32))}]
    prediction, kserve = "/tensorflow.serving.PredictionService", "/inference.GRPCInferenceService"
    return {
        f"{prediction}/Predict": _predict_request(x=np.ones((2, 1), np.float32)).SerializeToString(),
        f"{prediction}/Classify": ours("ClassificationRequest", "classify", input=given),
        f"{prediction}/Regress": ours("RegressionRequest", "regress", input=given),
        f"{prediction}/MultiInference": make("tensorflow.serving.MultiInferenceRequest", tasks=tasks, input=given),
        f"{prediction}/GetModelMetadata": ours("GetModelMetadataRequest", metadata_field=["signature_def"]),
        "/tensorflow.serving.ModelService/GetModelStatus": ours("GetModelStatusRequest"),
        "/tensorflow.serving.SessionService/SessionRun": ours("SessionRunRequest", feed=feed, fetch=["y:0"]),
        f"{kserve}/ModelInfer": _infer_request(raw_input_contents=[bytes(4)]).SerializeToString(),
        f"{kserve}/ModelMetadata": make("inference.ModelMetadataRequest", name="m"),
        f"{kserve}/ModelReady": make("inference.ModelReadyRequest", name="m"),
    }


def mutated(data: bytes, dice: random.Random) -> bytes:
    """Return `data` with some bytes changed, put in, taken out or repeated."""
    out = bytearray(data)
    for _ in range(dice.randint(1, 4)):
        at = dice.randrange(len(out) + 1)
        kind = dice.randrange(5)
        if kind == 0 and out:
            out[at % len(out)] ^= 1 << dice.randrange(8)
        elif kind == 1:
            out[at:at] = dice.randbytes(dice.randint(1, 8))
        elif kind == 2:
            del out[at : at + dice.randint(1, 8)]
        elif kind == 3:
            out[at:at] = out[at : at + 30]
        else:
            out[at:at] = b"\xff" * 9 + b"\x01"  # a varint of 64 bits
    return bytes(out)


def sweep(victim: Victim, channel: grpc.Channel, count: int, seed: int) -> dict[str, int]:
    """Send mutated requests to every method; return how often each status came."""
    found: dict[str, int] = {}
    dice = random.Random(seed)
    for method, data in _valid().items():
        assert victim.call(channel, method, data) == "OK", method
        for _ in range(count):
            sent = mutated(data, dice)
            status = victim.call(channel, method, sent)
            assert status == "OK" or status in REFUSED, (method, status, sent.hex())
            found[status] = found.get(status, 0) + 1
    return found


def test_mutated_messages(victim: Victim, channel: grpc.Channel) -> None:
    before = victim.server.memory()
    found = sweep(victim, channel, 60, 1)
    assert found["INVALID_ARGUMENT"] > 100
    assert victim.server.memory() - before < 100 * MEGABYTE
    for method in (
        "/tensorflow.serving.PredictionService/Predict",
        "/inference.GRPCInferenceService/ModelInfer",
        "/x.Y/Z",
    ):
        for data in (b"", b"\x00", b"\xff" * 100, b"\x0a" * 10_000):
            assert victim.call(channel, method, data) in REFUSED


@pytest.mark.slow
def test_many_mutated_messages(victim: Victim, channel: grpc.Channel) -> None:
    for seed in range(2, 12):
        sweep(victim, channel, 500, seed)


def test_compressed_messages(victim: Victim) -> None:
    """A few bytes that inflate to many."""
    victim.server.forget_peak()
    before = victim.server.memory()
    request = _predict_request(x=np.zeros((200 * MEGABYTE // 4, 1), np.float32)).SerializeToString()
    options = [("grpc.max_send_message_length", -1)]
    with grpc.insecure_channel(victim.server.rpc, options=options, compression=grpc.Compression.Gzip) as channel:
        status = victim.call(channel, "/tensorflow.serving.PredictionService/Predict", request)
    assert status in REFUSED
    assert victim.server.memory("VmHWM") - before < 150 * MEGABYTE


# The others


def test_the_others_are_served_meanwhile(victim: Victim) -> None:
    """Slow bodies, bombs and large claims do not hold up who asks for little."""
    ending = threading.Event()
    bomb = _bomb()
    deep = b'{"instances": ' + b"[" * 900 + b"1" + b"]" * 900 + b"}"

    def attack(path: str, body: bytes, **headers: str) -> None:
        while not ending.is_set():
            victim.post(path, body, **headers)

    def linger() -> None:
        with victim.connection() as connection:
            connection.sendall(HEAD + LENGTH + b"\r\n{")
            ending.wait(20)

    attacks = [threading.Thread(target=attack, args=(PREDICT, bomb), kwargs={"Content_Encoding": "gzip"})]
    attacks += [threading.Thread(target=attack, args=(INFER, deep))]
    attacks += [threading.Thread(target=linger) for _ in range(50)]
    for each in attacks:
        each.start()
    try:
        with httpx.Client(base_url=victim.server.rest) as client:
            end = time.monotonic() + 2
            while time.monotonic() < end:
                assert client.post(PREDICT, content=BODY).status_code == 200  # in time, or the client gives up
                time.sleep(0.01)
    finally:
        ending.set()
        for each in attacks:
            each.join()
