"""Several workers on the same ports: one may die, all are reconfigured, all end."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest

from coldframe.formats.messages import message_class
from coldframe.serve.client import connect
from coldframe.serve.status import RequestError
from coldframe.serve.workers import _reserved
from serving import children, half_plus, until

X = {"x": np.zeros(1, np.float32)}


@contextlib.contextmanager
def command(out: Path, *words: str) -> Iterator[tuple[subprocess.Popen[bytes], str, str]]:
    """Run `coldframe serve`, on any ports; yield the process, and where REST and gRPC are."""
    line = [sys.executable, "-m", "coldframe", "serve", "--rest_api_port", "18741", "--port", "18740", *words]
    with out.open("w") as file:
        process = subprocess.Popen(line, stdout=file, stderr=subprocess.STDOUT)
    try:
        until(lambda: "REST  http" in out.read_text() or process.poll() is not None)
        assert process.poll() is None, out.read_text()
        yield process, "http://127.0.0.1:18741", "grpc://127.0.0.1:18740"
    finally:
        process.terminate()
        try:
            process.wait(30)
        finally:
            process.kill()


def metric(rest: str, protocol: str) -> float:
    """Return how many requests were answered over a protocol."""
    text = httpx.get(f"{rest}/monitoring/prometheus/metrics").text
    found = re.search(rf'coldframe_requests_total\{{code="OK",.*protocol="{protocol}"\}} (.*)', text)
    return float(found[1]) if found else 0.0


def test_workers(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    half_plus(tmp_path / "m" / "1", 1.0)
    (tmp_path / "n").mkdir()
    half_plus(tmp_path / "n" / "1", 5.0)
    out = tmp_path / "out"
    with command(out, "--model", f"m={tmp_path}/m", "--workers", "2") as (process, rest, rpc):
        first = children(process.pid)
        assert len(first) == 2
        for _ in range(8):  # each connection may go to another worker
            with connect(rpc) as client:
                assert client.predict("m", X)["y"].tolist() == [1.0]
            assert httpx.post(f"{rest}/v1/models/m:predict", json={"inputs": [0.0]}).json() == {"outputs": [1.0]}
        until(lambda: metric(rest, "rest") == metric(rest, "grpc") == 8)  # of all workers
        assert httpx.get(f"{rest}/page/models").json()[0]["requests"] == 16

        os.kill(first[0], signal.SIGKILL)  # the others go on, and it is replaced
        for _ in range(20):
            with connect(rest, retries=20) as client:
                assert client.predict("m", X)["y"].tolist() == [1.0]
        until(lambda: len(set(children(process.pid)) - {first[0]}) == 2)
        until(lambda: out.read_text().count("Started server process") == 3)

        half_plus(tmp_path / "m" / "2", 2.0)  # every worker sees new versions
        until(lambda: all(httpx.get(f"{rest}/v1/models/m/versions/2").status_code == 200 for _ in range(10)))
        until(lambda: all(answer(rest, "m") == [2.0] for _ in range(10)))

        reload(rpc, tmp_path / "n")  # a configuration that one of them is told is for all
        for _ in range(10):
            assert answer(rest, "n") == [5.0]
            with pytest.raises(RequestError, match="Servable not found"):
                answer(rest, "m")
        workers = children(process.pid)
        os.kill(workers[0], signal.SIGKILL)  # its successor has the new configuration
        until(lambda: out.read_text().count("Started server process") == 4)
        until(lambda: all(answer(rest, "n") == [5.0] for _ in range(10)))
    until(lambda: not children(process.pid))
    assert process.returncode == 0


def answer(url: str, model: str) -> list[float]:
    with connect(url, retries=20) as client:
        return client.predict(model, X)["y"].tolist()  # type: ignore[no-any-return]


def reload(rpc: str, path: Path) -> None:
    import grpc

    kinds = [message_class(f"tensorflow.serving.ReloadConfig{k}") for k in ("Request", "Response")]
    request = kinds[0]()
    request.config.model_config_list.config.add(name="n", base_path=str(path))
    with grpc.insecure_channel(rpc.removeprefix("grpc://")) as channel:
        call = channel.unary_unary(
            "/tensorflow.serving.ModelService/HandleReloadConfigRequest",
            request_serializer=kinds[0].SerializeToString,
            response_deserializer=kinds[1].FromString,
        )
        assert not call(request, timeout=60).status.error_code


def test_workers_that_cannot_start(tmp_path: Path) -> None:
    (tmp_path / "1").mkdir()
    line = [sys.executable, "-m", "coldframe", "serve", "--model", f"m={tmp_path}", "--workers", "2", "--port", "0"]
    done = subprocess.run([*line, "--rest_api_port", "18742"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert "no model can be served" in done.stderr


def test_a_port_with_ending_connections_can_be_reserved() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as client:
            listening.accept()[0].close()  # who closes first keeps the connection for a minute
            assert client.recv(1) == b""
    _reserved("127.0.0.1", port).close()
