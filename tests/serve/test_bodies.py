"""The bodies of all requests together have a limit, which no client can use up for long."""

from __future__ import annotations

import contextlib
import gzip
import json
import socket
from collections.abc import Iterator
from pathlib import Path

import grpc
import httpx
import numpy as np
import pytest

from coldframe.serve import memory
from coldframe.serve.bodies import Budget
from coldframe.serve.client import connect
from coldframe.serve.server import ServeOptions
from coldframe.serve.status import Code, RequestError
from serving import Running, one_model, running, until

MEGABYTE = 1 << 20
LIMIT = 4 * MEGABYTE
PATH = "/v1/models/m:predict"
SMALL = b'{"instances": [2.0]}'


@pytest.fixture(scope="module")
def small(base: Path) -> Iterator[Running]:
    """A server that takes 4 MB of requests."""
    with running(one_model(base, max_body=2 * MEGABYTE, max_bodies=LIMIT, patience=1.5)) as found:
        yield found


def _held(server: Running) -> int:
    return server.server.core.budget.held


@contextlib.contextmanager
def _unfinished(server: Running, size: int, count: int, claim: int) -> Iterator[None]:
    """Hold connections that claim a body, and have sent a part of it."""
    host, _, port = server.rest.removeprefix("http://").partition(":")
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            connection = stack.enter_context(socket.create_connection((host, int(port))))
            head = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: {claim}\r\n\r\n".encode()
            connection.sendall(head + b" " * size)
        yield


def test_a_budget() -> None:
    budget = Budget(10)
    with budget.holding() as one, budget.holding() as other:
        one.take(4)
        other.take(6)
        with pytest.raises(RequestError, match=r"too many bytes of requests at once.*at most 10") as caught:
            one.take(1)
        assert caught.value.code is Code.RESOURCE_EXHAUSTED
        assert budget.held == 10
    assert budget.held == 0
    with pytest.raises(RequestError, match="over"):  # a thread that is late
        one.take(1)


def test_the_default_is_a_share_of_the_memory() -> None:
    options = ServeOptions(max_body=MEGABYTE)
    assert MEGABYTE <= options.budget <= memory.available() // 8
    assert ServeOptions(max_body=1 << 60).budget == 1 << 60  # a single request that is allowed always fits
    assert ServeOptions(max_bodies=LIMIT, workers=2).budget == LIMIT // 2


def test_claims_hold_nothing(small: Running) -> None:
    with _unfinished(small, 0, 50, 2 * MEGABYTE):
        assert httpx.post(small.rest + PATH, content=SMALL).status_code == 200
        assert _held(small) == 0


def test_too_much_at_once_is_refused_and_the_small_ones_go_on(small: Running) -> None:
    with _unfinished(small, 3 * MEGABYTE // 2, 2, 2 * MEGABYTE):
        until(lambda: _held(small) >= 3 * MEGABYTE)
        large = b" " * (3 * MEGABYTE // 2) + SMALL
        for content in (large, gzip.compress(large)):
            headers = {"Content-Encoding": "gzip"} if content is not large else {}
            reply = httpx.post(small.rest + PATH, content=content, headers=headers)
            assert reply.status_code == 429
            assert "too many bytes of requests at once" in reply.json()["error"]
        assert httpx.post(small.rest + PATH, content=SMALL).json() == {"predictions": [3.0]}
        with connect(f"grpc://{small.rpc}", retries=0) as client:
            assert client.predict("m", {"x": np.array([[2.0]], np.float32)})["y"].tolist() == [[3.0]]
            with pytest.raises(RequestError) as caught:
                client.predict("m", {"x": np.zeros((3 * MEGABYTE // 8, 1), np.float32)})
            assert caught.value.code is Code.RESOURCE_EXHAUSTED
        until(lambda: _held(small) == 0)  # the slow ones lose their connections
        assert httpx.post(small.rest + PATH, content=large).status_code == 200


def test_what_went_wrong_holds_nothing(small: Running) -> None:
    bomb = gzip.compress(bytes(64 * MEGABYTE))
    for content, headers, status in (
        (bomb, {"Content-Encoding": "gzip"}, 413), (bomb[:-20], {"Content-Encoding": "gzip"}, 413),
        (gzip.compress(SMALL)[:-4], {"Content-Encoding": "gzip"}, 400), (b"x" * MEGABYTE, {}, 400),
        (b"x" * (2 * MEGABYTE + 1), {}, 413),
    ):  # fmt: skip
        assert httpx.post(small.rest + PATH, content=content, headers=headers).status_code == status
    with grpc.insecure_channel(small.rpc) as channel, pytest.raises(grpc.RpcError):
        channel.unary_unary("/tensorflow.serving.PredictionService/Predict")(b"x" * MEGABYTE)  # type: ignore[call-arg]
    until(lambda: _held(small) == 0)
    assert httpx.post(small.rest + "/v2/models/m/infer", content=json.dumps({"inputs": []})).status_code == 400


def test_it_takes_as_many_as_fit(small: Running) -> None:
    """What is refused at one moment is answered at another."""
    body = b" " * MEGABYTE + SMALL
    with connect(small.rest, retries=50) as client:
        client.wait_until_ready("m")
    for _ in range(10):
        assert httpx.post(small.rest + PATH, content=body).status_code == 200
