"""``python bench/serving.py FOLDER``: serving, coldframe beside LitServe, BentoML, MLServer, and TensorFlow.

For each model all servers run, and take turns at being asked: A B C D A B C D ... Four things are measured:

- *closed loop*: so many connections, each asks again when it has its answer; *CPU* is the processor time that the
  server and its workers take for a request, which other programs on the machine hardly change;
- *open loop*: requests fall due at random at a given rate, and their latency counts from when they were due;
- *ladder*, of small models: the highest rate, of the same ones for all, at which 99 of 100 requests are answered within
  20 ms;
- *overhead*: one request at a time through each of coldframe's protocols, beside the same model called in a process
  without a server; with threads that sleep while they wait, as servers have them, and with threads that spin.

All peers run with the workers that they have by default: coldframe, BentoML and the handler on TensorFlow compute in
one process, LitServe and MLServer in a second one. LitServe, BentoML and MLServer run the model on ONNX Runtime; where
the handler on TensorFlow is slower, that is TensorFlow's share as well. Images go as raw bytes (V2's binary data to
coldframe, the body to TensorFlow's handler, base64 to the others), other tensors as JSON.

FOLDER keeps the models, and environments, each its own, that LitServe, BentoML and MLServer are installed into once.
Prints tables, and at the end lines of JSON that begin with SUMMARY; asserts nothing about time. Answers that differ
from those of the model called without a server are errors.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from coldframe.formats import messages
from coldframe.formats.tensor_wire import encode_tensor

HERE = Path(__file__).parent
OURS = "coldframe"
PEERS: Final = (OURS, "litserve", "bentoml", "mlserver", "tensorflow")
INSTALLED: Final = {
    "litserve": ("litserve", "onnxruntime"),
    "bentoml": ("bentoml", "onnxruntime"),
    "mlserver": ("mlserver", "onnxruntime", "uvloop<0.22"),  # MLServer 1.7 does not start with newer ones
}
PARTS: Final = ("loops", "ladder", "overhead")
PREDICT: Final = "/tensorflow.serving.PredictionService/Predict"
GOOD_P99: Final = 20.0  # ms, which a rung of the ladder must keep to
RUNGS: Final = tuple(round(100 * 1.12**i) for i in range(42))  # requests per second, to some 10000
TARGETS: Final = {"ratio": 2.0, "overhead": 0.15}
DATATYPES: Final = {"float32": "FP32", "int64": "INT64"}
PATIENCE = 120  # seconds that a server may take to start
TICK = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Model:
    """A model to serve.

    Attributes:
        raw: whether its input goes as raw bytes rather than as JSON.
        connections: of the closed loops.
        rates: requests per second of the open loops.
    """

    raw: bool = False
    connections: Sequence[int] = (1, 4, 16)
    rates: Sequence[float] = (100, 400)


MODELS: Final[Mapping[str, Model]] = {
    "half_plus_two": Model(),
    "wide_deep": Model(),
    "mobilenet_v2": Model(raw=True, connections=(1, 4), rates=(10, 20)),
}


class ServerError(Exception):
    """A server does not start, or answers wrongly."""


# --- requests -----------------------------------------------------------------------------------------------------
def _http(path: str, body: bytes, kind: str = "application/json", *more: str) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", f"Content-Type: {kind}", f"Content-Length: {len(body)}", *more]
    return "\r\n".join((*lines, "", "")).encode() + body


def _columns(feeds: Mapping[str, np.ndarray]) -> bytes:
    return json.dumps({"inputs": {k: v.tolist() for k, v in feeds.items()}}, separators=(",", ":")).encode()


def rest(name: str, feeds: Mapping[str, np.ndarray]) -> bytes:
    """Return a request of TensorFlow Serving's REST API."""
    return _http(f"/v1/models/{name}:predict", _columns(feeds))


def binary(name: str, feeds: Mapping[str, np.ndarray]) -> bytes:
    """Return a request of the Open Inference Protocol with raw tensors, which asks for a reply of that kind."""
    inputs = [
        {"name": k, "datatype": DATATYPES[v.dtype.name], "shape": v.shape, "parameters": {"binary_data_size": v.nbytes}}
        for k, v in feeds.items()
    ]
    head = json.dumps({"inputs": inputs, "parameters": {"binary_data_output": True}}).encode()
    size = f"Inference-Header-Content-Length: {len(head)}"
    raw = b"".join(v.tobytes() for v in feeds.values())
    return _http(f"/v2/models/{name}/infer", head + raw, "application/octet-stream", size)


def rpc(name: str, feeds: Mapping[str, np.ndarray]) -> bytes:
    """Return a PredictRequest whose tensors are in ``tensor_content``."""
    request: Any = messages.message_class("tensorflow.serving.PredictRequest")()
    request.model_spec.name = name
    for key, value in feeds.items():
        request.inputs[key].ParseFromString(encode_tensor(value, as_content=True))
    return bytes(request.SerializeToString())


def _tensors(feeds: Mapping[str, np.ndarray], raw: bool) -> list[dict[str, Any]]:
    """Return inputs as the Open Inference Protocol has them in JSON; raw bytes as base64."""
    if raw:
        coded = {k: base64.b64encode(v.tobytes()).decode() for k, v in feeds.items()}
        told = {"datatype": "BYTES", "shape": [1], "parameters": {"content_type": "base64"}}
        return [{"name": k, **told, "data": [text]} for k, text in coded.items()]
    return [
        {"name": k, "datatype": DATATYPES[v.dtype.name], "shape": v.shape, "data": v.ravel().tolist()}
        for k, v in feeds.items()
    ]


def request_of(peer: str, name: str, feeds: Mapping[str, np.ndarray]) -> bytes:
    """Return what a peer is asked in the closed and open loops."""
    raw = MODELS[name].raw
    if peer == OURS:
        return (binary if raw else rest)(name, feeds)
    if peer == "mlserver":
        return _http("/v2/models/served/infer", json.dumps({"inputs": _tensors(feeds, raw)}).encode())
    if not raw:
        return _http("/predict", _columns(feeds))
    (content,) = (v.tobytes() for v in feeds.values())
    if peer == "tensorflow":
        return _http("/predict", content, "application/octet-stream")
    body = {"inputs": {k: {"b64": base64.b64encode(content).decode()} for k in feeds}}
    return _http("/predict", json.dumps(body).encode())


def answer_in(reply: bytes, method: str) -> np.ndarray:
    """Return the numbers of a reply, flat."""
    if method:
        response: Any = messages.message_class("tensorflow.serving.PredictResponse").FromString(reply)
        tensor = response.outputs["out"]
        return np.array(tensor.float_val) if tensor.float_val else np.frombuffer(tensor.tensor_content, np.float32)
    head, _, body = reply.partition(b"\r\n\r\n")
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"inference-header-content-length:"):
            return np.frombuffer(body[int(line.partition(b":")[2]) :], np.float32)
    outputs = json.loads(body)["outputs"]
    if outputs and isinstance(outputs[0], dict):  # MLServer's
        outputs = outputs[0]["data"]
    return np.array(outputs, np.float32).ravel()


# --- processes ----------------------------------------------------------------------------------------------------
class Server:
    """A server that has one model loaded."""

    def __init__(self, peer: str, name: str, folder: Path, *words: str) -> None:
        self._words = words
        self.peer, self.port, self.grpc_port = peer, _free_port(), _free_port()
        models = folder / "models"
        env = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONPATH": f"{HERE}:{os.environ.get('PYTHONPATH', '')}"}
        env |= {"MODEL": str(models / f"{name}.onnx"), "BENTOML_DO_NOT_TRACK": "true"}
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        self._process = subprocess.Popen(
            self._command(name, models, folder), env=env, cwd=HERE, start_new_session=True, stdin=subprocess.DEVNULL,
            stdout=self._log, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def _command(self, name: str, models: Path, folder: Path) -> list[str]:
        saved, onnx, port = str(models / name), str(models / f"{name}.onnx"), str(self.port)
        python = str(_environment(folder, self.peer) / "bin" / "python") if self.peer in INSTALLED else sys.executable
        if self.peer == OURS:
            ports = ["--rest-api-port", port, "--port", str(self.grpc_port)]
            return [python, "-m", "coldframe", "serve", "--model", f"{name}={saved}", *ports, *self._words]
        if self.peer == "mlserver":
            settings = folder / f"mlserver-{name}"
            settings.mkdir(exist_ok=True)
            ports = {"http_port": self.port, "grpc_port": self.grpc_port, "metrics_port": _free_port()}
            (settings / "settings.json").write_text(json.dumps({"host": "127.0.0.1", **ports}))
            (settings / "model-settings.json").write_text('{"name": "served", "implementation": "serving_ml.Served"}')
            return [str(Path(python).with_name("mlserver")), "start", str(settings)]
        if self.peer == "bentoml":
            return [python, "-m", "bentoml", "serve", "serving_bento:Served", "--host", "127.0.0.1", "--port", port]
        if self.peer == "litserve":
            return [python, "serving_lit.py", onnx, port]
        return [python, "serving_peers.py", str(Path(saved) / "1"), port]

    def wait(self, until: float) -> None:
        """Wait until it listens."""
        while time.monotonic() < until and self._process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            time.sleep(0.1)
        self._log.seek(0)
        raise ServerError(f"{self.peer} does not start:\n{self._log.read().decode(errors='replace')[-2000:]}")

    def cpu(self) -> float:
        """Return the seconds of processor time that it and its workers have taken."""
        parents, ticks = {}, {}
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                parts = stat.read_text().rpartition(")")[2].split()
                pid = int(stat.parent.name)
                parents[pid], ticks[pid] = int(parts[1]), int(parts[11]) + int(parts[12])

        def is_ours(pid: int) -> bool:
            return pid == self._process.pid or (pid in parents and is_ours(parents[pid]))

        return sum(t for pid, t in ticks.items() if is_ours(pid)) / TICK

    def close(self) -> None:
        """End it and its workers."""
        for number, patience in ((signal.SIGTERM, 10), (signal.SIGKILL, 10)):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(patience)
        self._log.close()


def _free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def _environment(folder: Path, peer: str) -> Path:
    """Return the environment of a peer, made if it is not there."""
    place = folder / f"venv-{peer}"
    done = place / "complete"
    if not done.exists():
        print(f"installing {' '.join(INSTALLED[peer])} into {place}", flush=True)
        subprocess.run([sys.executable, "-m", "venv", str(place)], check=True)
        subprocess.run([place / "bin" / "python", "-m", "pip", "install", "-q", *INSTALLED[peer]], check=True)
        done.touch()
    return place


class Client:
    """The process that asks."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / "serving_load.py")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ask(
        self, port: int, request: bytes, seconds: float, *, connections: int = 1, rate: float = 0.0, method: str = ""
    ) -> tuple[dict[str, float], np.ndarray, bytes]:
        """Return how it went, the latencies in seconds, and the last reply."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        names = {k: str(self._folder / k) for k in ("request", "reply", "latencies")}
        Path(names["request"]).write_bytes(request)
        names["latencies"] += ".npy"
        order = {"port": port, "seconds": seconds, "connections": connections, "rate": rate or None, "method": method}
        print(json.dumps(order | names), file=self._process.stdin, flush=True)
        said = self._process.stdout.readline()
        if not said:
            raise ServerError("the client failed")
        return json.loads(said), np.load(names["latencies"]), Path(names["reply"]).read_bytes()

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.communicate()


# --- measuring ----------------------------------------------------------------------------------------------------
@dataclass
class Result:
    """What was measured of one server in one way, over all its turns.

    Attributes:
        latencies: of the requests, in seconds, an array for each turn.
        rates: answers per second, in each turn.
        cpu: seconds of processor time for an answer, in each turn.
        busy: the share of time that the client was busy.
        bad: requests that were not answered well, or not in time.
    """

    latencies: list[np.ndarray] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    busy: float = 0.0
    bad: int = 0

    def add(self, said: Mapping[str, float], latencies: np.ndarray, cpu: float) -> None:
        """Add a turn."""
        answers = max(1.0, len(latencies) - said["late"])
        self.latencies.append(latencies)
        self.rates.append((answers - said["errors"]) / said["seconds"])
        self.cpu.append(cpu / answers)
        self.busy = max(self.busy, said["busy"])
        self.bad += int(said["errors"] + said["late"])

    @property
    def rate(self) -> float:
        """Answers per second, the median of the turns."""
        return statistics.median(self.rates)

    def at(self, percent: float) -> float:
        """Return a percentile of the latency, in ms, over all turns."""
        return float(np.percentile(np.concatenate(self.latencies), percent)) * 1e3

    def cells(self) -> str:
        """Return the columns of a table."""
        numbers = "".join(f"{self.at(p):>9.2f}" for p in (50, 99, 99.9))
        return f"{self.rate:>9.0f}{numbers}{statistics.median(self.cpu) * 1e3:>9.2f}{self.busy:>8.0%}{self.bad:>6}"


_HEAD = f"{'1/s':>9}{'p50':>9}{'p99':>9}{'p99.9':>9}{'CPU':>9}{'client':>8}{'bad':>6}"


@contextlib.contextmanager
def running(peers: Sequence[str], name: str, folder: Path) -> Iterator[list[Server]]:
    """Run a model's servers; those that do not start are reported and left out."""
    with contextlib.ExitStack() as stack:
        servers = [Server(p, name, folder) for p in peers]
        for s in servers:
            stack.callback(s.close)
        until, started = time.monotonic() + PATIENCE, []
        for s in servers:
            try:
                s.wait(until)
                started.append(s)
            except ServerError as e:
                print(e)
        yield started


@dataclass(frozen=True)
class Bench:
    """What all measurements of a run share."""

    client: Client
    seconds: float
    turns: int

    def turns_of(
        self, servers: Sequence[Server], requests: Mapping[str, bytes], connections: int, rate: float = 0.0
    ) -> dict[str, Result]:
        """Ask all servers in turns."""
        found = {s.peer: Result() for s in servers}
        for turn in range(self.turns):
            for s in servers[turn % len(servers) :] + servers[: turn % len(servers)]:
                before = s.cpu()
                said, latencies, _ = self.client.ask(
                    s.port, requests[s.peer], self.seconds, connections=connections, rate=rate
                )
                found[s.peer].add(said, latencies, s.cpu() - before)
        return found

    def warm(self, server: Server, request: bytes, expected: np.ndarray, method: str = "") -> None:
        """Ask a server for a while, and look at its answer."""
        port = server.grpc_port if method else server.port
        until = time.monotonic() + PATIENCE
        while True:
            said, _, reply = self.client.ask(port, request, 0.5, method=method)
            if reply and not said["errors"]:
                break
            time.sleep(0.1)
            if time.monotonic() > until:
                raise ServerError(f"{server.peer} does not answer: {reply[:300]!r}")
        found = answer_in(reply, method)
        if found.shape != expected.shape or np.abs(found - expected).max() > 1e-3 * np.abs(expected).max():
            raise ServerError(f"{server.peer} answers wrongly: {found[:4]} instead of {expected[:4]}")


@contextlib.contextmanager
def ready(
    bench: Bench, name: str, peers: Sequence[str], folder: Path
) -> Iterator[tuple[list[Server], dict[str, bytes]]]:
    """Run the servers of a model that answer rightly, warmed up; give what to ask each, too."""
    feeds = _feeds(folder, name)
    expected = _engine(folder, name)(feeds).ravel()
    requests = {p: request_of(p, name, feeds) for p in peers}
    with running(peers, name, folder) as servers:
        good = []
        for s in servers:
            try:
                bench.warm(s, requests[s.peer], expected)
                good.append(s)
            except ServerError as e:
                print(e)
        yield good, requests


def loops(bench: Bench, name: str, peers: Sequence[str], folder: Path) -> str:
    """Measure the closed and open loops of one model; return a line that sums them up."""
    model = MODELS[name]
    closed: dict[int, dict[str, Result]] = {}
    with ready(bench, name, peers, folder) as (good, requests):
        for count in model.connections:
            closed[count] = bench.turns_of(good, requests, count)
            _table(f"{name}, closed loop, {count} connection{'s' * (count > 1)}", closed[count])
        for rate in model.rates:
            _table(f"{name}, open loop, {rate:g} requests/s", bench.turns_of(good, requests, 0, rate))
    return _summary(name, closed)


def _table(title: str, results: Mapping[str, Result]) -> None:
    print(f"\n{title:<44}\n{'':<14}{_HEAD}")
    for peer, r in results.items():
        print(f"  {peer:<12}{r.cells()}", flush=True)


def _summary(name: str, closed: Mapping[int, Mapping[str, Result]]) -> str:
    """Return by how much coldframe answers more than the best peer, at a p99 that is no higher."""
    others = [(r, p, c) for c, results in closed.items() for p, r in results.items() if p != OURS]
    if not others:
        return f"{name:<16}no peers"
    best, peer, count = max(others, key=lambda found: found[0].rate)
    ours = [(results[OURS].rate, c) for c, results in closed.items() if results[OURS].at(99) <= best.at(99)]
    if not ours:
        return f"{name:<16}slower than {peer} at its best: {best.rate:.0f}/s, p99 {best.at(99):.2f} ms"
    rate, at = max(ours)
    last = closed[max(closed)]
    least, thrifty = min((statistics.median(r.cpu), p) for p, r in last.items() if p != OURS)
    cpu = statistics.median(last[OURS].cpu)
    return (
        f"{name:<16}{rate / best.rate:5.2f} times the requests of the best peer, at no higher p99 "
        f"({rate:.0f}/s at {at} connections; {peer} {best.rate:.0f}/s at {count}, p99 {best.at(99):.2f} ms)"
        f"\n{'':<16}{least / cpu:5.2f} times as little processor time for a request as the most thrifty peer, {thrifty}"
    )


# --- ladder -------------------------------------------------------------------------------------------------------
def ladder(bench: Bench, name: str, peers: Sequence[str], folder: Path) -> dict[str, Any]:
    """Find the highest rate that each server keeps up with, by halving; they take turns."""
    with ready(bench, name, peers, folder) as (good, requests):
        found: dict[str, list[int]] = {s.peer: [] for s in good}
        for _ in range(bench.turns):
            span = {s.peer: (-1, len(RUNGS)) for s in good}  # the highest that holds, the lowest that does not
            while any(high - low > 1 for low, high in span.values()):
                for s in good:
                    low, high = span[s.peer]
                    if high - low > 1:
                        at = (low + high) // 2
                        holds = _holds(bench, s, requests[s.peer], RUNGS[at])
                        span[s.peer] = (at, high) if holds else (low, at)
            for peer, (low, _) in span.items():
                found[peer].append(RUNGS[low] if low >= 0 else 0)
    rates = {peer: statistics.median(each) for peer, each in found.items()}
    print(f"\n{name}, the highest rate with a p99 of at most {GOOD_P99:g} ms, requests/s")
    for peer, rate in rates.items():
        print(f"  {peer:<12}{rate:>9.0f}   (of {', '.join(map(str, found[peer]))})", flush=True)
    python = {p: r for p, r in rates.items() if p in INSTALLED}
    best = max(python, key=lambda p: python[p], default=None)
    ratio = rates[OURS] / python[best] if best is not None and OURS in rates and python[best] else None
    return {"model": name, "p99_ms": GOOD_P99, "rates": rates, "best_peer": best, "ratio": ratio,
            "target": TARGETS["ratio"]}  # fmt: skip


def _holds(bench: Bench, server: Server, request: bytes, rate: float) -> bool:
    """Whether a server keeps up with a rate. What is only now and then too slow gets a second chance."""
    for _ in range(2):
        said, latencies, _ = bench.client.ask(server.port, request, bench.seconds, rate=rate)
        answered = len(latencies) - said["late"]
        if (
            not said["errors"]
            and answered >= 0.9 * rate * bench.seconds
            and np.percentile(latencies, 99) * 1e3 <= GOOD_P99
        ):
            return True
        if np.median(latencies) * 1e3 > GOOD_P99:  # no matter of chance
            return False
    return False


# --- overhead -----------------------------------------------------------------------------------------------------
def _feeds(folder: Path, name: str) -> dict[str, np.ndarray]:
    with np.load(folder / "models" / f"{name}.npz") as archive:
        return dict(archive)


def _engine(folder: Path, name: str, *, spin: bool = False) -> Any:
    import coldframe as cf

    model = cf.load(folder / "models" / name / "1", spin=spin)  # servers load models without, unless told to
    return lambda feeds: model.run(feeds)["out"]


def overhead(bench: Bench, name: str, folder: Path) -> dict[str, Any]:
    """Time one request at a time through each protocol, and the model without a server."""
    feeds = _feeds(folder, name)
    alone = {"no server": _engine(folder, name), "no server, spinning": _engine(folder, name, spin=True)}
    expected = alone["no server"](feeds).ravel()
    ways = {"gRPC, tensor_content": (rpc, PREDICT), "V2, binary": (binary, ""), "REST, JSON": (rest, "")}
    times: dict[str, list[float]] = {w: [] for w in alone}
    with contextlib.ExitStack() as stack:
        servers = {"": Server(OURS, name, folder), ", --spin": Server(OURS, name, folder, "--spin")}
        for server in servers.values():
            stack.callback(server.close)
        for how, server in servers.items():
            server.wait(time.monotonic() + PATIENCE)
            for way, (make, method) in ways.items():
                bench.warm(server, make(name, feeds), expected, method)
                times[way + how] = []
        for _ in range(2 * bench.turns):
            for what, engine in alone.items():
                times[what].append(_alone(engine, feeds, bench.seconds / 3))
            for how, server in servers.items():
                for way, (make, method) in ways.items():
                    port, request = (server.grpc_port if method else server.port), make(name, feeds)
                    _, latencies, _ = bench.client.ask(port, request, bench.seconds / 3, method=method)
                    times[way + how].append(float(np.median(latencies)))
    return _compared(name, times, list(alone))


def _compared(name: str, times: Mapping[str, list[float]], alone: Sequence[str]) -> dict[str, Any]:
    """Print how much more than the model alone each way takes, and return it."""
    print(f"\n{name + ', one request at a time':<34}{'p50, ms':>9}", *(f"{'over ' + a:>29}" for a in alone))
    shares: dict[str, dict[str, float]] = {}
    for way, found in times.items():
        cells = ""
        for base in alone if way not in alone else ():
            pairs = list(zip(found, times[base], strict=True))
            more, share = statistics.median(a - b for a, b in pairs), statistics.median(a / b for a, b in pairs) - 1
            shares.setdefault(way, {})[base] = round(share, 4)
            cells += f"{more * 1e3:>19.3f} ms{share:>8.1%}"
        print(f"  {way:<32}{statistics.median(found) * 1e3:>9.3f}{cells}", flush=True)
    return {"model": name, "overhead": shares, "target": TARGETS["overhead"]}


def _alone(engine: Any, feeds: Mapping[str, np.ndarray], seconds: float) -> float:
    times = []
    end = time.perf_counter() + seconds
    while (started := time.perf_counter()) < end:
        engine(feeds)
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def _chosen(text: str, known: Sequence[str]) -> list[str]:
    names = text.split(",") if text else list(known)
    if unknown := [n for n in names if n not in known]:
        raise SystemExit(f"unknown: {', '.join(unknown)} (known: {', '.join(known)})")
    return names


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="keeps models and environments")
    parser.add_argument("--models", default="", help=f"of {','.join(MODELS)}")
    parser.add_argument("--peers", default="", help=f"of {','.join(PEERS)}")
    parser.add_argument("--parts", default="", help=f"of {','.join(PARTS)}")
    parser.add_argument("--seconds", type=float, default=1.0, help="of a turn")
    parser.add_argument("--turns", type=int, default=2)
    args = parser.parse_args()
    names, peers = _chosen(args.models, list(MODELS)), _chosen(args.peers, PEERS)
    parts = _chosen(args.parts, PARTS)
    folder = args.folder.resolve()
    (folder / "models").mkdir(parents=True, exist_ok=True)
    missing = [n for n in names if not (folder / "models" / f"{n}.npz").exists()]
    if missing:
        subprocess.run([sys.executable, HERE / "serving_models.py", folder / "models", *missing], check=True)
    print("latencies and CPU in ms; client: the share of time that the asking process was busy")
    with tempfile.TemporaryDirectory() as scratch, contextlib.closing(Client(Path(scratch))) as client:
        bench = Bench(client, args.seconds, args.turns)
        lines: list[str] = []
        summaries: list[dict[str, Any]] = []
        for name in names:
            if "loops" in parts:
                lines.append(loops(bench, name, peers, folder))
            if "ladder" in parts and not MODELS[name].raw:
                summaries.append(ladder(bench, name, peers, folder))
            if "overhead" in parts:
                summaries.append(overhead(bench, name, folder))
    print("\n" + "\n".join(lines))
    for each in summaries:
        print("SUMMARY", json.dumps(each))


if __name__ == "__main__":
    main()
