"""What TensorFlow Serving's documentation and tests of its REST API hold: their facts, as tables.

After ``g3doc/api_rest.md``, ``model_servers/http_rest_api_handler_test.cc``, ``http_rest_api_util_test.cc`` and
``tensorflow_model_server_test.py``. Those of ``util/json_tensor_test.cc`` are in `test_json_cases`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from coldframe.serve.config import ModelConfig, VersionPolicy
from coldframe.serve.server import ServeOptions
from serving import Running, running
from shared_data import model_path

TESTDATA = "tf-serving/servables/tensorflow/testdata"
TWO, THREE = "saved_model_half_plus_two_2_versions", "saved_model_half_plus_three"


@pytest.fixture(scope="module")
def rest() -> Iterator[httpx.Client]:
    """The models that TensorFlow Serving's tests ask, with the versions and labels that they give them."""
    policy = VersionPolicy("specific", versions=(123,))
    two = ModelConfig(TWO, model_path(f"{TESTDATA}/{TWO}"), policy=policy, labels={"Version_Label": 123})
    odd = ModelConfig("half plus", model_path(f"{TESTDATA}/{TWO}"), policy=policy, labels={"a!?@[]": 123})
    three = ModelConfig(THREE, model_path(f"{TESTDATA}/{THREE}"))
    with (
        running(ServeOptions(models=(two, odd, three), version_poll=0)) as server,
        httpx.Client(base_url=server.rest) as found,
    ):
        yield found


STATUS = {
    "model_version_status": [
        {"version": "123", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
    ]
}
ROWS = '{"instances": [1.0, 2.0]}'
CASES: list[tuple[str, str | None, Any]] = [
    (f"{TWO}:predict", '{"instances": [[1.0, 2.0], [3.0, 4.0]]}', {"predictions": [[2.5, 3.0], [3.5, 4.0]]}),
    (f"{TWO}/versions/123:predict", ROWS, {"predictions": [2.5, 3.0]}),
    (f"{TWO}/labels/Version_Label:predict", ROWS, {"predictions": [2.5, 3.0]}),
    (f"{TWO}/versions/123:predict", '{"signature_name": "serving_default", "instances": [3.0, 4.0]}',
     {"predictions": [3.5, 4.0]}),
    (f"{TWO}/versions/123:predict", '{"signature_name": "serving_default", "inputs": [3.0, 4.0]}',
     {"outputs": [3.5, 4.0]}),
    (f"{TWO}:predict", '{"instances": [2.0, 3.0, 4.0]}', {"predictions": [3.0, 3.5, 4.0]}),
    (f"{TWO}:predict", '{"inputs": [2.0, 3.0, 4.0]}', {"outputs": [3.0, 3.5, 4.0]}),
    (f"{TWO}:regress", '{"signature_name": "regress_x_to_y", "examples": [{"x": 80.0}]}', {"results": [42]}),
    (f"{TWO}/versions/123:regress", '{"signature_name": "regress_x_to_y", "examples": [{"x": 80.0}]}',
     {"results": [42]}),
    (f"{TWO}/labels/Version_Label:regress", '{"signature_name": "regress_x_to_y", "examples": [{"x": 80.0}]}',
     {"results": [42]}),
    (f"{TWO}:regress", '{"signature_name": "regress_x_to_y", "examples": [{"x": 2.0}]}', {"results": [3.0]}),
    (f"{TWO}:classify", '{"signature_name": "classify_x_to_y", "examples": [{"x": 20.0}]}', {"results": [[["", 12]]]}),
    (f"{TWO}/labels/Version_Label:classify", '{"signature_name": "classify_x_to_y", "examples": [{"x": 10.0}]}',
     {"results": [[["", 7]]]}),
    (f"{TWO}:classify", '{"signature_name": "classify_x_to_y", "examples": [{"x": 2.0}]}', {"results": [[["", 3.0]]]}),
    (TWO, None, STATUS),
    (f"{TWO}/versions/123", None, STATUS),
    (f"{TWO}/labels/Version_Label", None, STATUS),
    # names and labels with characters that URLs reserve
    ("half%20plus", None, STATUS),
    ("half%20plus/labels/a%21%3F%40%5B%5D:predict", ROWS, {"predictions": [2.5, 3.0]}),
    # the documentation's examples
    (THREE, None, STATUS),
    (f"{THREE}:predict", '{"instances": [1.0,2.0,5.0]}', {"predictions": [3.5, 4.0, 5.5]}),
    (f"{THREE}:regress", '{"signature_name": "tensorflow/serving/regress", "examples": [{"x": 1.0}, {"x": 2.0}]}',
     {"results": [3.5, 4.0]}),
]  # fmt: skip


def _ask(rest: httpx.Client, path: str, body: str | None) -> httpx.Response:
    url = f"/v1/models/{path}"
    found = rest.get(url) if body is None else rest.post(url, content=body)
    assert found.headers["content-type"] == "application/json"
    return found


@pytest.mark.parametrize(("path", "body", "expected"), CASES, ids=range(len(CASES)))
def test_replies(rest: httpx.Client, path: str, body: str | None, expected: Any) -> None:
    reply = _ask(rest, path, body)
    assert (reply.status_code, reply.json()) == (200, expected)


NOT_FINITE = [
    ("classify", "classify_x_to_y", b'{"results":[[["",NaN]],[["",Infinity]],[["",2.5]]]}'),
    ("regress", "regress_x_to_y", b'{"results":[NaN,Infinity,2.5]}'),
]


@pytest.mark.parametrize(("method", "signature", "expected"), NOT_FINITE, ids=["classify", "regress"])
def test_scores_that_are_no_numbers(rest: httpx.Client, method: str, signature: str, expected: bytes) -> None:
    examples = [{"x": float("nan")}, {"x": float("inf")}, {"x": 1.0}]
    body = json.dumps({"signature_name": signature, "examples": examples})
    assert _ask(rest, f"{TWO}:{method}", body).content == expected


def test_metadata(rest: httpx.Client) -> None:
    expected = json.loads(model_path(f"{TESTDATA}/{TWO}_metadata.json").read_text())
    for path in (f"{TWO}/metadata", f"{TWO}/versions/123/metadata", f"{TWO}/labels/Version_Label/metadata"):
        assert _ask(rest, path, None).json() == expected


REFUSED: list[tuple[str, str, int, str]] = [
    ("foo:predict", '{"instances": [1]}', 404, "Servable not found for request: Latest(foo)"),
    ("foo/versions/50:predict", '{"instances": [1]}', 404, "Servable not found for request: Specific(foo, 50)"),
    (f"{TWO}99:predict", '{"instances": [1]}', 404, f"Servable not found for request: Latest({TWO}99)"),
    (f"{TWO}/versions/99:predict", '{"instances": [1]}', 404, f"Servable not found for request: Specific({TWO}, 99)"),
    (f"{TWO}:predict", "", 400, "JSON Parse error: The document is empty"),
    (f"{TWO}:predict", "instances = [1, 2]", 400, "JSON Parse error: Invalid value. at offset: 0"),
    (f"{TWO}:predict", '{"instances": ["x", "y"]}', 400, "not of expected type: float"),
    (f"{TWO}/labels/Version_Nonexistent:predict", '{"instances": [1.0]}', 400,
     "Unrecognized servable version label: Version_Nonexistent"),
    (f"{TWO}:predict", '{"signature_name": 100}', 400, "'signature_name' key must be a string value."),
    ("half:predict", '{"instances": [1.0,5.0]}', 404, "Servable not found for request: Latest(half)"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "body", "status", "message"), REFUSED, ids=range(len(REFUSED)))
def test_refusals(rest: httpx.Client, path: str, body: str, status: int, message: str) -> None:
    reply = _ask(rest, path, body)
    assert reply.status_code == status
    assert list(reply.json()) == ["error"]
    assert message in reply.json()["error"]


PATHS: list[tuple[str, str, str]] = [
    *((method, "/v1/foo", "Malformed request") for method in ("GET", "POST")),
    ("GET", "/v1/models", "Missing model name"),
    ("GET", "/V1/Models", "Missing model name"),
    ("GET", "/v1/models/debug/model_name", "Malformed request"),
    ("POST", "/v1/models", "Malformed request"),
    ("GET", "/v1/models/foo:predict", "Malformed request"),
    ("DELETE", "/v1/models/foo", "Malformed request"),
    ("PUT", "/v1/models/foo:predict", "Malformed request"),
    *(("POST", f"/v1/models/foo{rest}", "Malformed request") for rest in (
        "/version/50:predict", "/version/50:regress", "/versions/HELLO:regress", "/metadata",
        "/label/some_label:regress", "/versions/50/labels/some_label:regress", "/versions/some_label:regress",
        "/versions/-1:predict", "/labels/:predict", "/labels/a/b:predict", ":explain", "")),
    ("POST", f"/v1/models/foo/versions/{2**64 - 1}:regress", f"Failed to convert version: {2**64 - 1} to numeric."),
    ("GET", f"/v1/models/foo/versions/{2**63}", f"Failed to convert version: {2**63} to numeric."),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path", "message"), PATHS, ids=range(len(PATHS)))
def test_paths(served: Running, method: str, path: str, message: str) -> None:
    reply = httpx.request(method, served.rest + path)
    assert reply.status_code == 400
    assert reply.headers["content-type"] == "application/json"
    expected = f"Malformed request: {method} {path}" if message == "Malformed request" else message
    assert expected in reply.json()["error"]
