"""The process that opens damaged files. Run by `sweep`; may be killed by a file, which is the finding.

Standard input is a list of jobs, ``{"target": name, "mutations": [name, ...]}``, as JSON. A target is a file
(`targets`), an op (``op/Conv2D``: `odd_ops`) or a graph to rewire (``wiring/frozen_functions``: `wiring`). Each
mutation that has been tried is a line of JSON on standard output. Per step a mutation has `SECONDS` of processor
time, after which the kernel ends the process; a run, which may loop for as long as its graph says, is interrupted a
second before.
"""

from __future__ import annotations

import faulthandler
import functools
import io
import json
import os
import resource
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

from coldframe.runtime.session import Session
from mutation import odd_ops, targets, wiring
from mutation.mutations import INTACT, mutated
from mutation.targets import Target

SECONDS = 2.0
ALLOWANCE = 48 << 20  # bytes beyond four times the file: buffers, caches, the message classes
RUN_MEMORY = 2 << 30  # bytes of address space that running a graph may add
NODE_MEMORY = 1 << 29  # and a single node, so that what it may compute takes no second either
_STATUS = Path("/proc/self/status")


class _OutOfBudgetError(BaseException):
    """A run takes longer than the harness waits."""


def main() -> None:
    """Work through the jobs."""
    jobs = json.load(sys.stdin)
    report = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # a graph may print
    faulthandler.enable()
    faulthandler.register(signal.SIGPROF, chain=True)
    signal.signal(signal.SIGVTALRM, _interrupt)
    known = {t.name: t for t in targets.targets()}
    for job in jobs:
        kind, _, rest = job["target"].partition("/")
        if kind in _ODD:
            _odd_work(job["target"], functools.partial(_ODD[kind], rest), job["mutations"], report)
        else:
            _work(known[job["target"]], job["mutations"], report)


def _interrupt(signum: int, frame: object) -> None:
    raise _OutOfBudgetError


def _work(target: Target, names: list[str], report: TextIO) -> None:
    data = target.file.read_bytes()
    with targets.copy_folder(target) as folder:
        victim = Path(folder) / target.file.relative_to(target.folder)
        path = Path(folder) / target.opened
        truth = _prepare(target, path, victim)
        for name in names:
            victim.unlink()  # a new file: the old one may still be mapped
            victim.write_bytes(mutated(data, name))
            _tell(report, target.name, name, lambda n=name: _try(target, path, victim, truth, n))  # type: ignore[misc]


def _tell(report: TextIO, target: str, name: str, attempt: Callable[[], str]) -> None:
    failure, did = "", ""
    try:
        did = attempt()
    except (Exception, _OutOfBudgetError):
        failure = "".join(traceback.format_exc().splitlines(keepends=True)[-30:])
    report.write(json.dumps({"target": target, "mutation": name, "did": did, "failure": failure}) + "\n")


def _prepare(target: Target, path: Path, victim: Path) -> targets.Answer | None:
    """Read the intact files, so that what is loaded once is there, and bound the address space."""
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    truth = targets.read_checkpoint(path) if target.kind == "checkpoint" else None
    targets.refuses(lambda: targets.inspected(victim))
    if target.kind == "graph":
        targets.refuses(lambda: targets.read_graph(path))
    for run in target.runs:
        for engine in ("reference", "onnxruntime"):
            targets.refuses(lambda r=run, e=engine: targets.run_graph(path, r, e))  # type: ignore[misc]
    _limit_memory(RUN_MEMORY)
    return truth


def _limit_memory(more: int) -> None:
    if size := _kib("VmSize") << 10:
        resource.setrlimit(resource.RLIMIT_AS, (size + more, resource.RLIM_INFINITY))


def _try(target: Target, path: Path, victim: Path, truth: targets.Answer | None, name: str) -> str:
    with _bounded(4 * target.size + ALLOWANCE):
        did = "inspect " + ("refused" if targets.refuses(lambda: targets.inspected(victim)) else "answered")
    if target.kind == "state":
        with _bounded(4 * target.size + ALLOWANCE):
            return did + ", read " + ("refused" if targets.refuses(lambda: _latest(path)) else "answered")
    if target.kind == "checkpoint":
        with _bounded(4 * target.size + ALLOWANCE):
            return did + ", read " + ("refused" if targets.refuses(lambda: _same(path, truth)) else "same")
    with _bounded(4 * target.size + ALLOWANCE):
        refused = targets.refuses(lambda: targets.read_graph(path))
    if refused and name == INTACT:
        raise AssertionError("the intact graph is refused")
    return did + ", read " + ("refused" if refused else "answered") + ("" if refused else _runs(target, path, name))


def _runs(target: Target, path: Path, name: str) -> str:
    number = int(name.partition(":")[2] or 0)
    runs = target.runs[number % 3 : number % 3 + 1] or target.runs[:1]
    return "".join(", run " + _run(functools.partial(targets.run_graph, path, r, _engine(number))) for r in runs)


def _engine(number: int) -> str:
    return "onnxruntime" if number % 4 == 0 else "reference"


def _run(step: Callable[[], object]) -> str:
    """Run a graph, for a second at most: what it asks for may be endless."""
    try:
        with _bounded(None):
            signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS / 2)
            refused = targets.refuses(step)
        return "refused" if refused else "answered"
    except _OutOfBudgetError:
        return "endless"
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)


# --- odd graphs -------------------------------------------------------------------------------------------------
def _odd_work(target: str, attempt: Callable[[int], str], names: list[str], report: TextIO) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    _tell(io.StringIO(), target, "", functools.partial(attempt, 0))  # loads what is loaded once
    _limit_memory(NODE_MEMORY)
    for name in names:
        _tell(report, target, name, functools.partial(attempt, int(name.partition(":")[2])))


def _odd_op(op: str, number: int) -> str:
    graph, feeds, fetches = odd_ops.case(op, number)
    engine = "reference" if number % 3 == 0 else "onnxruntime"
    did = _run(lambda: targets.run(Session(graph, engine, threads=1), feeds, fetches))
    if did == "endless":
        raise AssertionError("a single node runs for more than a second")
    return did


def _odd_wiring(fixture: str, number: int) -> str:
    proto, runs = targets.graph_of(fixture)
    wiring.rewired(proto, number)
    with _bounded(4 * proto.ByteSize() + ALLOWANCE):
        refused = targets.refuses(lambda: targets.convert(proto))
    if refused or not runs:
        return "refused" if refused else "converted"
    feeds, fetches = runs[number % len(runs)]
    return _run(lambda: targets.run(Session(proto, _engine(number), threads=1), feeds, fetches))


def _trap(_: str, number: int) -> str:
    """What no target should do, for the test of this harness."""
    with _bounded(ALLOWANCE):
        if number == 1:
            os.kill(os.getpid(), signal.SIGSEGV)
        while number == 2:
            pass
        if number == 3:
            raise ZeroDivisionError
        bytearray(2 * ALLOWANCE if number == 4 else 1)
    return "stood"


_ODD: dict[str, Callable[[str, int], str]] = {"op": _odd_op, "wiring": _odd_wiring, "trap": _trap}


def _same(path: Path, truth: targets.Answer | None) -> None:
    got = targets.read_checkpoint(path)
    if got != truth:
        wrong = [k for k in {*got, *(truth or {})} if got.get(k) != (truth or {}).get(k)]
        raise AssertionError(f"read other tensors without an error: {wrong[:5]}")


def _latest(folder: Path) -> None:
    import coldframe as cf

    cf.latest_checkpoint(folder)
    cf.open_checkpoint(folder)


@contextmanager
def _bounded(memory: int | None) -> Iterator[None]:
    """Let the kernel end the process after `SECONDS` of processor time; refuse a peak of more than `memory` bytes."""
    before = _reset_peak() if memory is not None else 0
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    if memory is not None:
        grown = (_kib("VmHWM") - before) << 10
        if grown > memory:
            raise AssertionError(f"took {grown >> 20} MiB of memory, at most {memory >> 20} are allowed")


def _reset_peak() -> int:
    with suppress(OSError):  # not Linux, or not allowed: the peak is then that of all mutations so far
        Path("/proc/self/clear_refs").write_text("5")
    return _kib("VmHWM")


def _kib(field: str) -> int:
    if not _STATUS.exists():
        return 0
    line: Any = next(x for x in _STATUS.read_text().splitlines() if x.startswith(field))
    return int(line.split()[1])


if __name__ == "__main__":
    main()
