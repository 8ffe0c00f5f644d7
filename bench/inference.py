"""``python bench/inference.py FOLDER``: inference from a ``.pb``, coldframe beside TensorFlow, OpenVINO and tf2onnx.

Each peer runs in a process of its own, and they take turns: A B C D B C D A ... Four things are measured:

- *cold start*: from the start of a process to its first result. tf2onnx's has the conversion in it;
- *latency*: a run at batch 1; *throughput*: examples per second at batch 32;
- *memory*: the peak of the resident memory, after the runs at batch 1. tf2onnx's is without the conversion.

``--peers coldframe,coldframe+onnxruntime,coldframe+openvino`` compares coldframe's engines.

FOLDER keeps the graphs that TensorFlow makes once, and what tf2onnx makes of them. Prints tables of medians, and what
coldframe's share of the others is; asserts nothing about time. Results that differ from TensorFlow's are marked.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import select
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np

HERE = Path(__file__).parent
OURS, ORACLE = "coldframe", "tensorflow"
PEERS: Final = (OURS, ORACLE, "openvino", "tf2onnx")
ENGINES: Final = ("coldframe+onnxruntime", "coldframe+openvino")  # engines by name, where coldframe chooses itself
PATIENCE = 120  # seconds that a peer may take for anything
PAUSE = 0.1  # seconds between the turns of two peers
TURN = 0.25  # seconds that a peer's turn lasts, at least; a run where one takes longer


@dataclass(frozen=True)
class Model:
    """A graph to time.

    Attributes:
        outputs: what is fetched.
        path: under the folder of graphs that others made; the cache's NAME.pb where it is empty.
        batches: whether it runs at batch 32.
        ordered: whether results are compared in order. Detections of nearly equal scores may come in any.
    """

    outputs: Sequence[str] = ("out:0",)
    path: str = ""
    batches: bool = True
    ordered: bool = True


MODELS: Final[Mapping[str, Model]] = {
    "mobilenet_v2": Model(),
    "resnet50": Model(),
    "wide_deep": Model(),
    "columns": Model(),
    "lstm": Model(),
    "encoder": Model(),
    "detector": Model(),
    "ssd": Model(
        ("detection_boxes:0", "detection_scores:0", "num_detections:0"),
        "handtracking-ssd/synth_frozen_inference_graph.pb",
        ordered=False,
    ),
    "poets": Model(("final_result:0",), "mobilenet-0.25-poets/retrained_graph.pb", batches=False),
    "cutkum": Model(("probs:0",), "cutkum-lstm/frozen_model.pb", batches=False),
    "glassy": Model(
        ("Graph_1/graph_independent_1/node_model/mlp_1/linear_2/add:0",), "glassy-gnn-ckpt/fwd.frozen.pb", batches=False
    ),
}


class PeerError(Exception):
    """A peer does not run a model."""


class Process:
    """A peer that has one model loaded."""

    def __init__(self, peer: str, model: Path, feeds: Path, outputs: Sequence[str], folder: Path) -> None:
        command = [sys.executable, str(HERE / "inference_peers.py"), peer, str(model), str(feeds), *outputs]
        env = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
        env.pop("PYTHONDONTWRITEBYTECODE", None)  # all start from bytecode, as installed packages do
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        started = time.perf_counter()
        self._process = subprocess.Popen(
            [*command, "--", str(folder)], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors
        )
        try:
            self._answer()
        except PeerError:
            self.close()
            raise
        self.start = time.perf_counter() - started

    def ask(self, command: str) -> str:
        """Send a command and return the answer."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(command.encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise PeerError(self._reason()) from None
        return self._answer()

    def _answer(self) -> str:
        assert self._process.stdout is not None
        if not select.select([self._process.stdout], [], [], PATIENCE)[0]:
            self._process.kill()
            raise PeerError(f"no answer in {PATIENCE} s")
        line = self._process.stdout.readline()
        if not line:
            raise PeerError(self._reason())
        return line.decode().strip()

    def _reason(self) -> str:
        code = self._process.wait()
        self._errors.seek(0)
        lines = [s for s in self._errors.read().decode(errors="replace").splitlines() if s.strip()]
        said = next((s for s in reversed(lines) if "Error" in s or "Exception" in s), lines[-1] if lines else "")
        return f"exit {code}: {said.strip()[:150]}"

    def run(self, least: float) -> list[float]:
        """Return the milliseconds of one run, and of as many more as fill `least` seconds."""
        times = [float(self.ask("run 1"))]
        more = min(int(least * 1e3 / times[0]), 2000)
        return times[1:] + [float(t) for t in self.ask(f"run {more}").split()] if more > 1 else times

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()
        self._errors.close()


@dataclass
class Result:
    """What was measured of one peer on one model.

    Attributes:
        cold: seconds of each start.
        latency, batch32: milliseconds of the turns' runs, medians.
        memory: MiB.
        difference: of the results from TensorFlow's, the largest, relative to their size.
        failure: why it did not run.
    """

    cold: list[float] = field(default_factory=list)
    latency: list[float] = field(default_factory=list)
    batch32: list[float] = field(default_factory=list)
    memory: float = 0.0
    difference: float = 0.0
    failure: str = ""

    def numbers(self) -> tuple[float | None, ...]:
        """Return cold start, latency, examples per second and memory; None for what was not measured."""
        cold = statistics.median(self.cold) if self.cold else None
        latency = statistics.median(self.latency) if self.latency else None
        rate = 32e3 / statistics.median(self.batch32) if self.batch32 else None
        return cold, latency, rate, self.memory or None


def measure(
    name: str, peers: Sequence[str], turns: int, starts: int, cache: Path, shared: Path, batches: bool
) -> dict[str, Result]:
    """Time all peers on one model."""
    model = MODELS[name]
    path = shared / model.path if model.path else cache / f"{name}.pb"
    feeds = {1: cache / f"{name}.1.npz", 32: cache / f"{name}.32.npz"}
    if model.path:
        _recorded(path, feeds)
    results = {p: Result() for p in peers}
    with contextlib.ExitStack() as stack, tempfile.TemporaryDirectory() as scratch:
        for turn in range(starts):
            for p in peers:
                if not results[p].failure and (p != "tf2onnx" or not turn):  # converting takes long
                    _start(results[p], p, path, feeds[1], model.outputs, cache, convert=True)
        running: dict[str, Process] = {}
        for p in peers:
            process = _start(results[p], p, path, feeds[1], model.outputs, cache, keep=True)
            if process is not None:
                stack.callback(process.close)
                running[p] = process
        for turn in _turns(running, turns, results):
            for p, process in _in_turn(running, turn):
                results[p].latency.append(statistics.median(process.run(TURN)))
        for p, process in running.items():
            results[p].memory = float(process.ask("memory"))
        _compare(running, results, Path(scratch), model.ordered)
        if batches and model.batches:
            for p in list(running):
                _try(running, results, p, f"feeds {feeds[32]}")
            for turn in _turns(running, min(turns, 3), results):
                for p, process in _in_turn(running, turn):
                    results[p].batch32.append(statistics.median(process.run(TURN / 2)))
    return results


def _turns(running: dict[str, Process], count: int, results: Mapping[str, Result]) -> Iterator[int]:
    for p in list(running):
        _try(running, results, p, "run 2")  # warm
    yield from range(count)


def _in_turn(running: Mapping[str, Process], turn: int) -> Iterator[tuple[str, Process]]:
    """Give the processes, another one first in each turn, and none while threads of the one before still spin."""
    peers = list(running)
    for p in (*peers[turn % len(peers) :], *peers[: turn % len(peers)]):
        time.sleep(PAUSE)
        yield p, running[p]


def _try(running: dict[str, Process], results: Mapping[str, Result], peer: str, command: str) -> None:
    try:
        running[peer].ask(command)
    except PeerError as e:
        results[peer].failure = str(e)
        del running[peer]


def _start(
    result: Result, peer: str, model: Path, feeds: Path, outputs: Sequence[str], cache: Path, *,
    convert: bool = False, keep: bool = False,
) -> Process | None:  # fmt: skip
    if result.failure:
        return None
    if convert:
        (cache / f"{model.name}.onnx").unlink(missing_ok=True) if peer == "tf2onnx" else None
    try:
        process = Process(peer, model, feeds, outputs, cache)
    except PeerError as e:
        result.failure = str(e)
        return None
    if convert:
        result.cold.append(process.start)
    if keep:
        return process
    process.close()
    return None


def _recorded(path: Path, feeds: Mapping[int, Path]) -> None:
    """Write the feeds that came with a graph, and 32 of them."""
    with np.load(f"{path}.inputs.npz") as archive:
        arrays = dict(archive)
    np.savez(feeds[1], **arrays)
    np.savez(feeds[32], **{k: np.repeat(v, 32, 0) if v.ndim else v for k, v in arrays.items()})


def _compare(running: Mapping[str, Process], results: Mapping[str, Result], scratch: Path, ordered: bool) -> None:
    if ORACLE not in running:
        return
    found: dict[str, list[np.ndarray]] = {}
    for p, process in running.items():
        process.ask(f"save {scratch / p}.npz")
        with np.load(scratch / f"{p}.npz") as archive:
            found[p] = [archive[k] if ordered else np.sort(archive[k], None) for k in archive]
    for p, arrays in found.items():
        results[p].difference = max(map(_difference, arrays, found[ORACLE]))


def _difference(a: np.ndarray, b: np.ndarray) -> float:
    if a.shape != b.shape:
        return float("inf")
    return float(np.abs(a.astype(float) - b).max(initial=0) / max(np.abs(b.astype(float)).max(initial=0), 1e-12))


# --- tables -------------------------------------------------------------------------------------------------------
_HEADS = (
    ("cold start, s", "{:.2f}"),
    ("latency, ms", "{:.3g}"),
    ("batch 32, 1/s", "{:.4g}"),
    ("memory, MiB", "{:.0f}"),
)


def show(name: str, results: Mapping[str, Result]) -> None:
    """Print what was measured on one model."""
    print(f"\n{name:<23}" + "".join(f"{head:>16}" for head, _ in _HEADS) + f"{'difference':>14}")
    for p, r in results.items():
        cells = ["-" if n is None else form.format(n) for n, (_, form) in zip(r.numbers(), _HEADS, strict=True)]
        far = "  wrong?" if r.difference > 1e-3 else ""
        print(f"  {p:<21}" + "".join(f"{c:>16}" for c in cells) + f"{r.difference:>14.1e}{far}")
        if r.failure:
            print(f"  {'':<21}  fails: {r.failure}")
    sys.stdout.flush()


def summary(found: Mapping[str, Mapping[str, Result]]) -> None:
    """Print, per model, how coldframe compares with TensorFlow and with the best of the others."""
    print(f"\n{'coldframe beside':<14}{'TensorFlow':>33}{'best of the others (which)':>46}")
    print(f"{'':<14}{'cold':>9}{'latency':>9}{'rate':>7}{'memory':>8}{'cold':>16}{'latency':>22}")
    ahead = []
    for name, results in found.items():
        ours, theirs = results[OURS].numbers(), results.get(ORACLE, Result()).numbers()
        shares = [None if a is None or b is None else a / b for a, b in zip(ours, theirs, strict=True)]
        cells = [f"{'-' if s is None else f'{s:.2f}':>8}" for s in shares]
        print(f"{name:<14} {cells[0]}{cells[1]} {cells[2]}{cells[3]}{_best(results, 0):>16}{_best(results, 1):>22}")
        if shares[1]:
            ahead.append(1 / shares[1])
    if ahead:
        print(f"latency: {statistics.geometric_mean(ahead):.2f} times as fast as TensorFlow in the geometric mean")


def _best(results: Mapping[str, Result], column: int) -> str:
    others = {p: n for p, r in results.items() if p.partition("+")[0] != OURS and not r.failure
              and r.difference < 1e-2 and (n := r.numbers()[column]) is not None}  # fmt: skip
    ours = results[OURS].numbers()[column]
    if not others or ours is None:
        return "-"
    peer = min(others, key=others.__getitem__)
    return f"{ours / others[peer]:.2f} ({peer})"


def _chosen(text: str, known: Sequence[str], more: Sequence[str] = ()) -> list[str]:
    names = text.split(",") if text else list(known)
    unknown = [n for n in names if n not in (*known, *more)]
    if unknown:
        raise SystemExit(f"unknown: {', '.join(unknown)}; known: {', '.join((*known, *more))}")
    return names


def main() -> None:
    """Time the models, and print tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="keeps generated graphs; made where it does not exist")
    parser.add_argument("--models", default="", help=f"some of {','.join(MODELS)}; left out, all that are there")
    parser.add_argument("--peers", default="", help=f"some of {','.join((*PEERS, *ENGINES))}")
    parser.add_argument("--turns", type=int, default=8, help="of latency, per peer")
    parser.add_argument("--starts", type=int, default=3, help="cold starts per peer; 0 for none")
    parser.add_argument("--no-batches", action="store_true", help="leave throughput out")
    parser.add_argument("--shared", type=Path, default=HERE.parent.parent / "shared" / "models",
                        help="graphs that others made; left out where it is not there")  # fmt: skip
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    there = [n for n, m in MODELS.items() if not m.path or (args.shared / m.path).exists()]
    names, peers = _chosen(args.models, there), _chosen(args.peers, PEERS, ENGINES)
    missing = [n for n in names if not MODELS[n].path and not (args.folder / f"{n}.pb").exists()]
    if missing:
        script = [sys.executable, str(HERE / "inference_models.py"), str(args.folder), *missing]
        subprocess.run(script, check=True, stderr=subprocess.DEVNULL)
    found = {}
    for name in names:
        found[name] = measure(name, peers, args.turns, args.starts, args.folder, args.shared, not args.no_batches)
        show(name, found[name])
    if OURS in peers:
        summary(found)


if __name__ == "__main__":
    main()
