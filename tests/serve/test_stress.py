"""Everything at once: two protocols, models that count, new versions, deadlines, cancellations, nonsense.

The consistency check: a counter gives each number once, to whoever gets an answer; a model's answers are those of a
version that was there, none older than the same thread has seen before; and in the end nothing is held.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import numpy as np
import pytest

import coldframe.tf1 as tf
from coldframe.formats.messages import message_class
from coldframe.formats.tensor_wire import encode_tensor
from coldframe.serve.config import BatchingOptions, ModelConfig
from coldframe.serve.naming import ModelSpec
from coldframe.serve.server import ServeOptions
from serving import Running, children, half_plus, running, spawned, until

PREDICT = "/tensorflow.serving.PredictionService/Predict"
REQUEST, RESPONSE = (message_class(f"tensorflow.serving.{n}") for n in ("PredictRequest", "PredictResponse"))
FINE = (grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED)
CLEAN = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)


def counter(folder: Path) -> Path:
    """Write a SavedModel that adds to a variable, and gives its new value."""
    with tf.Graph().as_default(), tf.Session() as sess:
        by = tf.placeholder(tf.int64, [], name="by")
        count = tf.get_variable("count", [], tf.int64, tf.zeros_initializer())
        now = tf.identity(tf.assign_add(count, by), name="now")
        sess.run(tf.global_variables_initializer())
        tf.saved_model.simple_save(sess, str(folder), {"by": by}, {"now": now})
    return folder


def _message(model: str, **inputs: Any) -> bytes:
    request = REQUEST()
    request.model_spec.name = model
    for key, value in inputs.items():
        request.inputs[key].ParseFromString(encode_tensor(np.asarray(value)))
    return bytes(request.SerializeToString())


class Asker:
    """One thread that asks, at random, and notes what it was told.

    Attributes:
        counts: the numbers that it got from the counter.
        asked: how often it asked the counter.
        wrong: what should not have been.
    """

    def __init__(self, server: Running, seed: int, newest: list[int]) -> None:
        self.counts: list[int] = []
        self.asked, self.answered, self.wrong = 0, 0, list[str]()
        self._random, self._server, self._newest, self._seen = random.Random(seed), server, newest, 0
        self._over_rest = seed % 2 == 0

    def run(self, ending: threading.Event) -> None:
        """Ask until the end."""
        try:
            with httpx.Client(base_url=self._server.rest) as rest, grpc.insecure_channel(self._server.rpc) as channel:
                call = channel.unary_unary(PREDICT)
                while not ending.is_set():
                    what = self._random.random()
                    if what < 0.06:
                        self._leave()
                    elif self._over_rest:
                        self._ask_rest(rest, what)
                    else:
                        self._ask_rpc(call, what)
        except Exception as e:
            self.wrong.append(repr(e))

    def _ask_rest(self, rest: httpx.Client, what: float) -> None:
        if what < 0.1:
            reply = rest.post("/v1/models/m:predict", content=b'{"instances": [[1.0], "x"]}')
            self._check(reply.status_code == 400, reply.text)
        elif what < 0.5:
            self.asked += 1
            reply = rest.post("/v1/models/counter:predict", json={"inputs": 1})
            self._check(reply.status_code == 200, reply.text)
            self.counts.append(reply.json()["outputs"])
        else:
            x = [[float(i)] for i in range(self._random.randint(1, 5))]
            before = self._newest[0]
            reply = rest.post("/v1/models/m:predict", json={"inputs": x})
            self._check(reply.status_code == 200, reply.text)
            self._check_version([row[0] for row in reply.json()["outputs"]], x, before)

    def _ask_rpc(self, call: Any, what: float) -> None:
        timeout = self._random.choice((None, None, 20.0, 0.05, 0.002, 0.0001))
        counts = what < 0.5
        x = [[float(i)] for i in range(self._random.randint(1, 5))]
        before = self._newest[0]
        self.asked += counts
        data = _message("counter", by=np.int64(1)) if counts else _message("m", x=np.array(x, np.float32))
        future = call.future(data, timeout=timeout)
        if self._random.random() < 0.15:
            time.sleep(self._random.random() * 0.002)
            future.cancel()
        try:
            response = RESPONSE.FromString(future.result())
        except grpc.RpcError as e:
            self._check(e.code() in FINE, str(e))
            return
        except grpc.FutureCancelledError:
            return
        if counts:
            self.counts.append(response.outputs["now"].int64_val[0])
        else:
            self._check_version(list(response.outputs["y"].float_val), x, before)
            self._check(response.model_spec.version.value == self._seen, "another version than it says")

    def _check_version(self, found: list[float], x: list[list[float]], before: int) -> None:
        version = round(found[0] - x[0][0] / 2)
        self._check(found == [row[0] / 2 + version for row in x], f"{found} is of no version")
        self._check(version >= max(self._seen, before), f"version {version} after {self._seen}, {before}")
        self._seen = max(version, self._seen)
        self.answered += 1

    def _leave(self) -> None:
        """Go away in the middle of a request, or before its answer."""
        host, _, port = self._server.rest.removeprefix("http://").partition(":")
        body = b'{"inputs": [[1.0]]}'
        head = b"POST /v1/models/m:predict HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body)
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            connection.sendall((head + body)[: self._random.choice((20, len(head) + 5, len(head) + len(body)))])

    def _check(self, good: bool, what: str) -> None:
        if not good:
            self.wrong.append(what)


def _swap(base: Path, made: Callable[[int], Path], pause: float, newest: list[int], server: Running) -> Iterator[None]:
    """Put one new version after the other into a base path; each `next` is one."""
    number = newest[0]
    while True:
        number += 1
        os.rename(made(number), base / str(number))
        until(lambda number=number: _latest(server) >= number)  # type: ignore[misc]
        newest[0] = number
        time.sleep(pause)
        yield


def _latest(server: Running) -> int:
    with server.server.catalog.lease(ModelSpec("m")) as servable:
        return servable.version


def stress(folder: Path, seconds: float, batching: BatchingOptions | None) -> None:
    """Ask with eight threads while versions change."""
    base = folder / "m"
    base.mkdir()
    half_plus(base / "1", 1.0)
    models = (ModelConfig("m", base), ModelConfig("counter", counter(folder / "counter")))
    options = ServeOptions(models=models, version_poll=0.02, batching=batching, threads=4, grace=5)
    newest, ending = [1], threading.Event()
    ahead = {n: half_plus(folder / f"v{n}", float(n)) for n in range(2, 6)}

    def made(number: int) -> Path:
        return ahead.pop(number, None) or half_plus(folder / f"v{number}", float(number))

    with running(options) as server:
        askers = [Asker(server, seed, newest) for seed in range(8)]
        threads = [threading.Thread(target=a.run, args=(ending,)) for a in askers]
        for t in threads:
            t.start()
        end = time.monotonic() + seconds
        try:
            for _ in _swap(base, made, seconds / 20, newest, server):
                if time.monotonic() > end or any(a.wrong for a in askers):
                    break
        finally:
            ending.set()
            for t in threads:
                t.join(60)
        assert [a.wrong for a in askers if a.wrong] == []
        counts = sorted(n for a in askers for n in a.counts)
        assert len(set(counts)) == len(counts) > 0
        assert counts[-1] <= sum(a.asked for a in askers)
        assert all(a.answered for a in askers)
        assert newest[0] > 2
        _check_at_rest(server, counts[-1], sum(a.asked for a in askers))


def _check_at_rest(server: Running, least: int, most: int) -> None:
    """Fail if anything is still held once nobody asks, or an increment was lost or made up."""
    core, metrics = server.server.core, server.server.metrics
    until(lambda: core.budget.held == 0 and metrics.inside == 0)
    until(lambda: not any(v.leases for m in server.server.catalog._models.values() for v in m.versions.values()))
    reply = httpx.post(f"{server.rest}/v1/models/counter:predict", json={"inputs": 0})
    assert least <= reply.json()["outputs"] <= most
    states = httpx.get(f"{server.rest}/v1/models/m").json()["model_version_status"]
    assert [s["state"] for s in states].count("AVAILABLE") == 1


@pytest.mark.parametrize("batching", [None, BatchingOptions(max_batch_size=8)], ids=["alone", "together"])
def test_everything_at_once(tmp_path: Path, batching: BatchingOptions | None) -> None:
    stress(tmp_path, 4, batching)


@pytest.mark.slow
@pytest.mark.parametrize("batching", [None, BatchingOptions(max_batch_size=8)], ids=["alone", "together"])
def test_everything_at_once_for_long(tmp_path: Path, batching: BatchingOptions | None) -> None:
    stress(tmp_path, 100, batching)


def workers_die(folder: Path, deaths: int) -> None:
    """Kill one worker after the other while both protocols are asked."""
    half_plus(folder / "m" / "1", 1.0)
    ending, wrong, answered = threading.Event(), list[str](), [0] * 4

    def ask_rest(which: int, url: str) -> None:
        while not ending.is_set():
            with contextlib.suppress(httpx.TransportError), httpx.Client(base_url=url, timeout=20) as client:
                reply = client.post("/v1/models/m:predict", json={"inputs": [[2.0]]})
                if (reply.status_code, reply.json()) != (200, {"outputs": [[2.0]]}):
                    wrong.append(reply.text)
                answered[which] += 1

    def ask_rpc(which: int, address: str) -> None:
        data = _message("m", x=np.array([[2.0]], np.float32))
        while not ending.is_set():
            options = [("grpc.use_local_subchannel_pool", 1)]
            with grpc.insecure_channel(address, options) as channel:
                try:
                    response = RESPONSE.FromString(channel.unary_unary(PREDICT)(data, timeout=20))  # type: ignore[call-arg]
                except grpc.RpcError as e:
                    if e.code() not in CLEAN:
                        wrong.append(str(e))
                    continue
                if list(response.outputs["y"].float_val) != [2.0]:
                    wrong.append(str(response))
                answered[which] += 1

    words = ["--model", f"m={folder / 'm'}", "--workers", "2"]
    with spawned(folder / "log", *words) as server:
        places = [(ask_rest, server.rest), (ask_rpc, server.rpc)] * 2
        threads = [threading.Thread(target=ask, args=(i, place)) for i, (ask, place) in enumerate(places)]
        for t in threads:
            t.start()
        try:
            for _ in range(deaths):
                until(lambda: len(children(server.process.pid)) == 2)
                victim = children(server.process.pid)[0]
                os.kill(victim, signal.SIGKILL)
                until(lambda victim=victim: victim not in children(server.process.pid))  # type: ignore[misc]
                before = list(answered)
                until(lambda before=before: all(a > b for a, b in zip(answered, before, strict=True)))  # type: ignore[misc]
        finally:
            ending.set()
            for t in threads:
                t.join(60)
        assert wrong == []
        assert server.process.poll() is None


@pytest.mark.slow
def test_workers_die_again_and_again(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    workers_die(tmp_path, 8)
