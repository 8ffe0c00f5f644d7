"""What runs a server asks for: metrics, health, tokens, TLS, limits, a graceful end."""

from __future__ import annotations

import http.client
import json
import logging
import re
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
import trustme
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from prometheus_client import parser

from coldframe.errors import CorruptError, MisuseError, NotFoundError
from coldframe.formats import tensor_proto
from coldframe.formats.messages import message_class
from coldframe.serve.access import is_allowed
from coldframe.serve.config import (
    TlsOptions,
    read_metrics_path,
    read_model_configs,
    read_tls_options,
    read_tokens,
)
from coldframe.serve.naming import host_and_port
from serving import Running, one_model, running, until

BODY = {"instances": [1.0]}
PREDICT = "/v1/models/m:predict"


def live(rpc: str, **more: Any) -> bool:
    credentials = more.pop("credentials", None)
    channel = grpc.insecure_channel(rpc) if credentials is None else grpc.secure_channel(rpc, credentials)
    with channel:
        call = channel.unary_unary(
            "/tensorflow.serving.ModelService/GetModelStatus",
            request_serializer=message_class("tensorflow.serving.GetModelStatusRequest").SerializeToString,
            response_deserializer=message_class("tensorflow.serving.GetModelStatusResponse").FromString,
        )
        request = message_class("tensorflow.serving.GetModelStatusRequest")(model_spec={"name": "m"})
        return bool(call(request, timeout=10, **more).model_version_status)


def test_metrics(base: Path) -> None:
    with running(one_model(base)) as server, httpx.Client(base_url=server.rest) as client:
        for _ in range(3):
            assert client.post(PREDICT, json=BODY).status_code == 200
        client.post(PREDICT, json={})
        client.post("/v1/models/made-up:predict", json=BODY)
        assert live(server.rpc)
        reply = client.get("/monitoring/prometheus/metrics")
    text = reply.text
    assert reply.headers["content-type"].startswith("text/plain; version=0.0.4")
    labels = 'method="predict",model="m",protocol="rest"'
    assert f'coldframe_requests_total{{code="OK",{labels}}} 3.0' in text
    assert f'coldframe_requests_total{{code="INVALID_ARGUMENT",{labels}}} 1.0' in text
    assert 'coldframe_requests_total{code="NOT_FOUND",method="predict",model="-",protocol="rest"} 1.0' in text
    assert f"coldframe_request_seconds_count{{{labels}}} 3.0" in text
    assert 'coldframe_version_state{model="m",version="2"} 30.0' in text
    for stage in ("read", "run", "write"):
        assert f'coldframe_stage_seconds_count{{model="m",stage="{stage}"}} 3.0' in text
    assert re.search(r"^process_resident_memory_bytes [\d.e+]+$", text, re.MULTILINE)
    theirs = ":tensorflow:serving:request_"  # what TensorFlow Serving calls it
    assert f'{theirs}count{{model_name="m",status="OK"}} 3\n' in text
    assert f'{theirs}count{{model_name="m",status="INVALID_ARGUMENT"}} 1\n' in text
    labels = 'model_name="m",API="predict",entrypoint="REST"'
    assert f"{theirs}latency_count{{{labels}}} 3\n" in text
    assert f'{theirs}latency_bucket{{{labels},le="+Inf"}} 3\n' in text
    assert f'{theirs}latency_bucket{{{labels},le="3e+07"}} 3\n' in text
    total = re.search(f"{theirs}latency_sum{{{labels}}} (\\d+)\n", text)
    assert total is not None
    assert 3 < int(total[1]) < 60e6  # microseconds
    families = {f.name for f in parser.text_string_to_metric_families(text)}
    assert {f"{theirs}count", f"{theirs}latency"} <= families
    with running(one_model(base, metrics_path=None)) as server:
        assert httpx.get(f"{server.rest}/monitoring/prometheus/metrics").status_code == 404


def test_health_and_reflection(served: Running) -> None:
    assert httpx.get(f"{served.rest}/healthz").text == "ok"
    assert httpx.get(f"{served.rest}/readyz").text == "ready"
    with grpc.insecure_channel(served.rpc) as channel:
        check = health_pb2_grpc.HealthStub(channel).Check  # type: ignore[no-untyped-call]
        for name in ("", "tensorflow.serving.PredictionService"):
            assert check(health_pb2.HealthCheckRequest(service=name)).status == health_pb2.HealthCheckResponse.SERVING
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)  # type: ignore[no-untyped-call]
        kind = reflection_pb2.ServerReflectionRequest
        asked = [kind(list_services=""), kind(file_containing_symbol="tensorflow.serving.PredictionService")]
        listed, file = stub.ServerReflectionInfo(iter(asked))
        names = {s.name for s in listed.list_services_response.service}
        assert {"tensorflow.serving.PredictionService", "inference.GRPCInferenceService"} <= names
        assert b"PredictRequest" in file.file_descriptor_response.file_descriptor_proto[0]


def test_tokens(base: Path) -> None:
    assert is_allowed("Bearer b", ("a", "b"))
    assert is_allowed("bearer  a ", ("a",))
    for wrong in ("", "b", "Basic b", "Bearer bb", "Bearer é"):
        assert not is_allowed(wrong, ("a", "b"))
    with running(one_model(base, tokens=("secret",))) as server, httpx.Client(base_url=server.rest) as client:
        reply = client.post(PREDICT, json=BODY)
        assert (reply.status_code, list(reply.json())) == (401, ["error"])
        assert client.post(PREDICT, json=BODY, headers={"Authorization": "Bearer secret"}).status_code == 200
        assert client.get("/readyz").status_code == 200
        with pytest.raises(grpc.RpcError) as e:
            live(server.rpc)
        assert e.value.code() is grpc.StatusCode.UNAUTHENTICATED
        assert live(server.rpc, metadata=[("authorization", "Bearer secret")])


def test_other_origins(base: Path) -> None:
    with running(one_model(base, cors=True)) as server, httpx.Client(base_url=server.rest) as client:
        reply = client.post(PREDICT, json=BODY)
        assert reply.headers["access-control-allow-origin"] == "*"
        allowed = client.options(PREDICT, headers={"Origin": "http://a"}).headers
        assert allowed["access-control-allow-methods"]
        for name in ("access-control-allow-headers", "access-control-expose-headers"):  # for tensors after the JSON
            assert "Inference-Header-Content-Length" in allowed[name]
        assert client.options(PREDICT).status_code == 400
    with running(one_model(base)) as server:
        assert "access-control-allow-origin" not in httpx.post(f"{server.rest}{PREDICT}", json=BODY).headers


def test_request_ids_and_the_log(served: Running, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "coldframe.serve.access")
    reply = httpx.post(f"{served.rest}{PREDICT}", json=BODY, headers={"X-Request-ID": "mine"})
    assert reply.headers["x-request-id"] == "mine"
    until(lambda: bool(caplog.records))  # it comes after the reply
    line = json.loads(caplog.records[-1].message)
    assert line.items() >= {"id": "mine", "method": "POST", "path": PREDICT, "status": 200}.items()
    assert re.fullmatch("[0-9a-f]{16}", httpx.get(f"{served.rest}/healthz").headers["x-request-id"])
    assert httpx.get(f"{served.rest}/healthz", headers={"X-Request-ID": "x" * 999}).headers["x-request-id"] != "x" * 999


def test_the_log_of_grpc(base: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "coldframe.serve.access")
    options = one_model(base, log_requests=True, tokens=("secret",))
    with running(options) as server, grpc.insecure_channel(server.rpc) as channel:
        path = "/tensorflow.serving.PredictionService/Predict"
        ask, token = channel.unary_unary(path), ("authorization", "Bearer secret")
        request = message_class("tensorflow.serving.PredictRequest")()
        request.model_spec.name = "m"
        request.inputs["x"].CopyFrom(tensor_proto.from_array(np.float32([1.0])))
        _, call = ask.with_call(request.SerializeToString(), metadata=[("x-request-id", "mine"), token])
        assert ("x-request-id", "mine") in call.trailing_metadata()
        request.model_spec.name = "n"
        for metadata, status in (([token], "NOT_FOUND"), ([("x-request-id", "a b")], "UNAUTHENTICATED")):
            with pytest.raises(grpc.RpcError) as e:
                ask(request.SerializeToString(), metadata=metadata)
            assert e.value.code().name == status
            assert re.fullmatch("[0-9a-f]{16}", dict(e.value.trailing_metadata())["x-request-id"])
        until(lambda: len(caplog.records) >= 3)
    lines = [json.loads(r.message) for r in caplog.records]
    assert [line["status"] for line in lines] == ["OK", "NOT_FOUND", "UNAUTHENTICATED"]
    assert lines[0].items() >= {"id": "mine", "method": "gRPC", "path": path, "client": "127.0.0.1"}.items()


def test_bodies_that_are_too_large(base: Path) -> None:
    with running(one_model(base, max_body=1000)) as server, httpx.Client(base_url=server.rest) as client:
        reply = client.post(PREDICT, content=b"[" + b" " * 1000)
        assert (reply.status_code, reply.json()["error"]) == (
            413, "the request's body is too large: expected at most 1000 bytes",
        )  # fmt: skip
        assert client.post(PREDICT, content=iter([b" " * 600] * 2)).status_code == 413
        assert client.post("/v2/models/m/infer", content=b" " * 1001).status_code == 413
        assert client.post(PREDICT, json=BODY).status_code == 200


def test_tls(base: Path) -> None:
    authority, stranger = trustme.CA(), trustme.CA()
    ours, theirs, wrong = (ca.issue_cert("localhost", "127.0.0.1") for ca in (authority, authority, stranger))
    root, key = authority.cert_pem.bytes(), ours.private_key_pem.bytes()
    chain = b"".join(c.bytes() for c in ours.cert_chain_pems)
    context = ssl.create_default_context(cadata=root.decode())
    with running(one_model(base, tls=TlsOptions(key, chain))) as server:
        url = server.rest.replace("http:", "https:") + PREDICT
        assert httpx.post(url, json=BODY, verify=context).json() == {"predictions": [2.5]}
        assert live(server.rpc, credentials=grpc.ssl_channel_credentials(root))
        with pytest.raises(httpx.HTTPError):
            httpx.post(server.rest + PREDICT, json=BODY)
    with running(one_model(base, tls=TlsOptions(key, chain, root, verify_client=True))) as server:
        url = server.rest.replace("http:", "https:") + PREDICT
        for issued, accepted in ((None, False), (wrong, False), (theirs, True)):
            context = ssl.create_default_context(cadata=root.decode())
            if issued is not None:
                issued.configure_cert(context)
            if accepted:
                assert httpx.post(url, json=BODY, verify=context).status_code == 200
                pair = issued.private_key_pem.bytes(), issued.cert_chain_pems[0].bytes()  # type: ignore[union-attr]
                assert live(server.rpc, credentials=grpc.ssl_channel_credentials(root, *pair))
            else:
                with pytest.raises(httpx.HTTPError):
                    httpx.post(url, json=BODY, verify=context)


def test_configuration_files(tmp_path: Path) -> None:
    path = tmp_path / "config.txt"
    path.write_text('prometheus_config { enable: true path: "/metrics" }')
    assert read_metrics_path(path) == "/metrics"
    path.write_text("prometheus_config { enable: false }")
    assert read_metrics_path(path) is None
    path.write_text('server_key: "k" server_cert: "c" client_verify: true')
    with pytest.raises(MisuseError, match="`client_verify` needs a `custom_ca`"):
        read_tls_options(path)
    path.write_text('server_key: "k" server_cert: "c" client_verfy: true')  # misspelt
    with pytest.raises(CorruptError, match="client_verfy"):
        read_tls_options(path)
    path.write_text("# who\n\n a \nb\n")
    assert read_tokens(path) == ("a", "b")
    path.write_text("#\n")
    with pytest.raises(MisuseError, match="no tokens in"):
        read_tokens(path)
    with pytest.raises(NotFoundError, match="no such file"):
        read_tokens(tmp_path / "none")
    path.write_text(
        'model_config_list { config { name: "a" base_path: "/x" model_platform: "tensorflow"'
        ' model_version_policy { specific { versions: 3 versions: 1 } } version_labels { key: "s" value: 3 } } }'
    )
    (config,) = read_model_configs(path)
    assert (config.name, config.policy.versions, config.labels) == ("a", (3, 1), {"s": 3})
    for wrong, message in (
        ('config { name: "a" }', "Expected model a to have an absolute path"),
        ('config { name: "a/b" base_path: "/x" }', "not a model's name"),
        ('config { name: "a" base_path: "/x" model_platform: "caffe" }', "Model a requests unsupported platform caffe"),
        (
            'config { name: "a" base_path: "/x" } config { name: "a" base_path: "/y" }',
            "Illegal to list model a multiple times",
        ),
    ):
        path.write_text(f"model_config_list {{ {wrong} }}")
        with pytest.raises(Exception, match=message):
            read_model_configs(path)


def test_the_command_and_its_graceful_end(base: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    line = [
        sys.executable,
        "-m",
        "coldframe",
        "serve",
        "--model",
        f"m={base}",
        "--rest_api_port",
        "18731",
        "--port",
        "0",
    ]
    with out.open("w") as file:
        process = subprocess.Popen(line, stdout=file, stderr=subprocess.STDOUT)
    try:
        end = time.monotonic() + 60
        while "REST  http" not in out.read_text():
            assert process.poll() is None, out.read_text()
            assert time.monotonic() < end
            time.sleep(0.05)
        assert httpx.post(f"http://127.0.0.1:18731{PREDICT}", json=BODY).json() == {"predictions": [2.5]}
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    finally:
        process.kill()
    assert "serving m\n" in out.read_text()


def test_addresses_of_ipv6(base: Path) -> None:
    assert (host_and_port("::1", 8), host_and_port("localhost", 8)) == ("[::1]:8", "localhost:8")
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6")
    with running(one_model(base, host="::1")) as server:
        reply = httpx.post(f"http://[::1]:{server.server.rest_port}{PREDICT}", json=BODY)
        assert reply.json() == {"predictions": [2.5]}
        assert live(f"[::1]:{server.server.grpc_port}")


def test_the_end_loses_no_request(base: Path) -> None:
    over, answered, lost = threading.Event(), Counter[str](), []
    request = message_class("tensorflow.serving.PredictRequest")()
    request.model_spec.name = "m"
    request.inputs["x"].CopyFrom(tensor_proto.from_array(np.float32([1.0])))

    def ask_http(port: int, keep: bool) -> None:
        client = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        while not over.is_set():
            try:
                client.request("POST", PREDICT, body=json.dumps(BODY))
                reply = client.getresponse()
                assert (reply.status, reply.read()) == (200, b'{"predictions":[2.5]}')
                answered[f"http {keep}"] += 1
            except ConnectionRefusedError:  # it never reached the server
                client.close()
                time.sleep(0.02)
            except Exception as e:
                lost.append(e)
            if not keep:
                client.close()
        client.close()

    def ask_rpc(address: str) -> None:
        with grpc.insecure_channel(address) as channel:
            predict = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
            while not over.is_set():
                try:
                    predict(request.SerializeToString(), timeout=10)
                    answered["grpc"] += 1
                except grpc.RpcError as e:
                    if e.code() is not grpc.StatusCode.UNAVAILABLE or "connect" not in (e.details() or ""):
                        lost.append(e)
                    time.sleep(0.02)

    with running(one_model(base)) as server:
        port = server.server.rest_port
        threads = [threading.Thread(target=ask_http, args=(port, keep)) for keep in (True, True, False, False)]
        threads += [threading.Thread(target=ask_rpc, args=(server.rpc,)) for _ in range(3)]
        for thread in threads:
            thread.start()
        until(lambda: min(answered[k] for k in ("http True", "http False", "grpc")) > 30)
    over.set()
    for thread in threads:
        thread.join()
    assert not [repr(e) for e in lost]


def test_wrong_command_lines(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    from coldframe.cli.main import main

    for words, message in (
        ([], "name a model: `--model NAME=PATH`"),
        (["--model", "m"], "a model has a name and a path"),
        (["--model", "m=/x", "--model", "m=/y"], "two models are called `m`"),
        (["--model", "m=/x", "--model-config-file", "f"], "models are named twice"),
        (["--model", "m=/x", "--batching-parameters-file", "f"], "without --enable-batching"),
        (["--model", f"m={tmp_path}/none"], "no model can be served"),
    ):
        assert main(["serve", *words]) == 1
        assert message in capfd.readouterr().err
