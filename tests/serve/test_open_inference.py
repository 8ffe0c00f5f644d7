"""The Open Inference Protocol, over HTTP and gRPC."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest

import coldframe.tf1 as tf
from coldframe import __version__
from coldframe.formats.messages import message_class
from coldframe.serve.infer_tensors import from_raw, raw_bytes
from serving import Running, one_model, running


@pytest.fixture(scope="module")
def client(served: Running) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=served.rest) as found:
        yield found


@pytest.fixture(scope="module")
def channel(served: Running) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(served.rpc) as found:
        yield found


def tensor(name: str, datatype: str, shape: list[int], data: Any) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": shape, "data": data}


X = tensor("x", "FP32", [2, 1], [1.0, 3])


def infer(client: httpx.Client, path: str = "m", **request: Any) -> tuple[int, Any]:
    reply = client.post(f"/v2/models/{path}/infer", json=request)
    return reply.status_code, reply.json()


def test_server_and_models(client: httpx.Client) -> None:
    assert client.get("/v2").json() == {
        "name": "coldframe", "version": __version__, "extensions": ["binary_tensor_data"],
    }  # fmt: skip
    assert client.get("/v2/health/live").json() == {"live": True}
    assert client.get("/v2/health/ready").json() == {"ready": True}
    assert client.get("/v2/models/m").json() == {
        "name": "m",
        "versions": ["2"],
        "platform": "tensorflow_savedmodel",
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 1]}],
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 1]}],
    }
    assert client.get("/v2/models/m/versions/2/ready").json() == {"name": "m", "ready": True}
    assert client.get("/v2/models/m/versions/1/ready").status_code == 404
    assert client.get("/v2/models/n").status_code == 404
    assert client.get("/v2/models/m/infer").status_code == 400
    missing = client.post("/v2/repository/index", json={})
    assert (missing.status_code, missing.json()) == (404, {"error": "no such endpoint: POST /v2/repository/index"})


def test_the_shape_of_a_scalar_is_empty(tmp_path: Path) -> None:
    with tf.Graph().as_default(), tf.Session() as session:
        x = tf.placeholder(tf.float32, [], name="x")
        tf.saved_model.simple_save(session, str(tmp_path / "1"), {"x": x}, {"y": tf.stack([x, x])})
    with running(one_model(tmp_path)) as server:
        found = httpx.get(f"{server.rest}/v2/models/m").json()
        request = {"inputs": [tensor("x", "FP32", [], [3.0])]}
        (output,) = httpx.post(f"{server.rest}/v2/models/m/infer", json=request).json()["outputs"]
    assert [t["shape"] for t in found["inputs"] + found["outputs"]] == [[], [2]]
    assert output == tensor("y", "FP32", [2], [3.0, 3.0])


def test_infer(client: httpx.Client) -> None:
    assert infer(client, inputs=[X], id="7") == (
        200,
        {"model_name": "m", "model_version": "2", "id": "7", "outputs": [tensor("y", "FP32", [2, 1], [2.5, 3.5])]},
    )
    nested = tensor("x", "FP32", [2, 1], [[1.0], [3.0]])
    assert infer(client, "m/versions/2", inputs=[nested])[1]["outputs"] == [tensor("y", "FP32", [2, 1], [2.5, 3.5])]
    both = [X, tensor("n", "INT32", [1, 2], [1, 2])]
    found = infer(client, inputs=both, parameters={"signature_name": "both"}, outputs=[{"name": "total"}])[1]
    assert found["outputs"] == [tensor("total", "INT32", [1], [3])]
    text = tensor("text", "BYTES", [1], ["a"])
    found = infer(client, inputs=[text], parameters={"signature_name": "text"}, outputs=[{"name": "upper"}])[1]
    assert found["outputs"] == [tensor("upper", "BYTES", [1], ["A"])]


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no inputs": ({}, "`inputs` must be a list of tensors"),
    "no name": ({"inputs": [{"datatype": "FP32"}]}, "a tensor without a name"),
    "no shape": ({"inputs": [{"name": "x", "datatype": "FP32"}]}, "needs a shape"),
    "a negative shape": ({"inputs": [tensor("x", "FP32", [-1], [1.0])]}, "needs a shape"),
    "an impossible shape": ({"inputs": [tensor("x", "FP32", [1 << 40, 1 << 40], [1.0])]}, "an impossible shape"),
    "another count": ({"inputs": [tensor("x", "FP32", [3], [1.0])]}, "another number of elements: expected 3, found 1"),
    "an unknown datatype": ({"inputs": [tensor("x", "FP31", [1], [1.0])]}, "unknown datatype"),
    "another datatype": ({"inputs": [tensor("x", "INT32", [1], [1])]}, "expected float32"),
    "no data": ({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1]}]}, "needs `data`"),
    "text in numbers": ({"inputs": [tensor("x", "FP32", [1], ["1"])]}, "Type: String"),
    "an unknown output": ({"inputs": [X], "outputs": [{"name": "yy"}]}, "did you mean `y`"),
    "an input twice": ({"inputs": [X, X]}, "input `x` is given twice"),
    "an input in shared memory": (
        {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1], "parameters": {"shared_memory_region": "r"}}]},
        "tensor `x` asks for shared memory, which this server has not"),
    "an output in shared memory": (
        {"inputs": [X], "outputs": [{"name": "y", "parameters": {"shared_memory_region": "r"}}]},
        "tensor `y` asks for shared memory, which this server has not"),
    "an output as classes": (
        {"inputs": [X], "outputs": [{"name": "y", "parameters": {"classification": 2}}]},
        "tensor `y` asks for a classification, which this server has not"),
    "more bytes than follow": (
        {"inputs": [{**X, "parameters": {"binary_data_size": 8}}]}, "claims more bytes than follow: expected 8"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refusals(client: httpx.Client, case: str) -> None:
    request, message = REFUSED[case]
    status, reply = infer(client, **request)
    assert status == 400
    assert message in reply["error"]


def test_binary_tensors(client: httpx.Client) -> None:
    data = np.array([1.0, 3.0], np.float32)
    head = json.dumps({
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [2, 1], "parameters": {"binary_data_size": 8}}],
        "outputs": [{"name": "y", "parameters": {"binary_data": True}}],
    }).encode()  # fmt: skip
    sizes = {"Inference-Header-Content-Length": str(len(head))}
    reply = client.post("/v2/models/m/infer", content=head + data.tobytes(), headers=sizes)
    end = int(reply.headers["inference-header-content-length"])
    (output,) = json.loads(reply.content[:end])["outputs"]
    assert output["parameters"] == {"binary_data_size": 8}
    assert np.frombuffer(reply.content[end:], np.float32).tolist() == [2.5, 3.5]
    assert reply.headers["content-type"] == "application/octet-stream"
    for wrong in (head + data.tobytes() + b"x", head):
        assert client.post("/v2/models/m/infer", content=wrong, headers=sizes).status_code == 400
    sizes["Inference-Header-Content-Length"] = "99999"
    assert client.post("/v2/models/m/infer", content=head, headers=sizes).status_code == 400


@pytest.mark.parametrize("named", [True, False])
def test_outputs_are_raw_where_all_are_or_they_say_so(client: httpx.Client, named: bool) -> None:
    said = {"inputs": [X], "outputs": [{"name": "y"}] if named else []}
    cases = ((True, None, True), (False, True, named), (True, False, not named), (None, None, False))
    for everything, own, raw in cases:
        parameters = {} if everything is None else {"binary_data_output": everything}
        outputs = [{**t, "parameters": {} if own is None else {"binary_data": own}} for t in said["outputs"]]
        reply = client.post("/v2/models/m/infer", json={**said, "outputs": outputs, "parameters": parameters})
        assert reply.status_code == 200
        assert ("inference-header-content-length" in reply.headers) == raw


def test_the_same_json_again_and_again(client: httpx.Client) -> None:
    """It is remembered; what follows it, the model and the version are not."""
    head = json.dumps({
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 1], "parameters": {"binary_data_size": 4}}],
        "id": "7",
    }).encode()  # fmt: skip
    sizes = {"Inference-Header-Content-Length": str(len(head))}
    for value in (2.0, 4.0, 6.0):
        reply = client.post("/v2/models/m/infer", content=head + np.float32(value).tobytes(), headers=sizes).json()
        assert (reply["id"], reply["outputs"][0]["data"]) == ("7", [value / 2 + 2])
    assert client.post("/v2/models/n/infer", content=head + bytes(4), headers=sizes).status_code == 404
    plain = {"inputs": [X], "parameters": {"signature_name": "serving_default"}}
    first = infer(client, **plain)
    assert infer(client, **plain) == first
    assert first[0] == 200


@pytest.mark.parametrize(
    "array", [np.arange(6).astype(d).reshape(2, 3) for d in "bBhHiIqQefd?"], ids=lambda a: a.dtype.name
)
def test_raw_bytes_and_back(array: Any) -> None:
    from coldframe.dtypes import from_numpy

    np.testing.assert_array_equal(from_raw(raw_bytes(array), from_numpy(array.dtype), (2, 3), "x"), array)


def call(channel: grpc.Channel, method: str, **fields: Any) -> Any:
    kinds = (message_class(f"inference.{method}{part}") for part in ("Request", "Response"))
    request, response = kinds
    return channel.unary_unary(
        f"/inference.GRPCInferenceService/{method}",
        request_serializer=request.SerializeToString,
        response_deserializer=response.FromString,
    )(request(**fields))


def test_grpc(channel: grpc.Channel) -> None:
    assert call(channel, "ServerLive").live
    assert call(channel, "ServerReady").ready
    assert call(channel, "ModelReady", name="m").ready
    assert not call(channel, "ModelReady", name="n").ready
    assert call(channel, "ServerMetadata").name == "coldframe"
    assert call(channel, "ModelMetadata", name="m", version="2").inputs[0].shape == [-1, 1]
    x = {"name": "x", "datatype": "FP32", "shape": [2, 1]}
    listed = call(channel, "ModelInfer", model_name="m", id="7", inputs=[{**x, "contents": {"fp32_contents": [1, 3]}}])
    raw = np.array([1.0, 3.0], np.float32).tobytes()
    given = call(channel, "ModelInfer", model_name="m", id="7", inputs=[x], raw_input_contents=[raw])
    assert listed == given
    assert (given.model_version, given.id, given.outputs[0].shape) == ("2", "7", [2, 1])
    assert np.frombuffer(given.raw_output_contents[0], np.float32).tolist() == [2.5, 3.5]
    for wrong in (
        {"inputs": [x], "raw_input_contents": [b"1"]},
        {"inputs": [x]},
        {"inputs": [x], "model_version": "a"},
        {"inputs": [x, x], "raw_input_contents": [raw, raw]},
        {"inputs": [{**x, "parameters": {"shared_memory_region": {"string_param": "r"}}}]},
        {
            "inputs": [x],
            "raw_input_contents": [raw],
            "outputs": [{"name": "y", "parameters": {"shared_memory_region": {"string_param": "r"}}}],
        },
    ):
        with pytest.raises(grpc.RpcError) as e:
            call(channel, "ModelInfer", **{"model_name": "m", **wrong})
        assert e.value.code() is grpc.StatusCode.INVALID_ARGUMENT
