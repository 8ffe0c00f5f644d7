"""Many damaged files through the worker: what killed it, hung it, or made it answer wrongly.

>>> failures, counts = sweep([(target.name, mutations.sample(size, 300))])
"""

from __future__ import annotations

import collections
import json
import os
import select
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

WALL = 60.0  # seconds without a sign of life; processor time is bounded by the worker itself
Job = tuple[str, Sequence[str]]


@dataclass(frozen=True, slots=True)
class Failure:
    """A mutation that coldframe did not stand, with what it did."""

    target: str
    mutation: str
    what: str

    def __str__(self) -> str:
        return f"{self.target} {self.mutation}: {self.what}"


def sweep(jobs: Iterable[Job]) -> tuple[list[Failure], collections.Counter[str]]:
    """Try all mutations; return the failures, and how often each outcome was seen."""
    left = collections.deque((t, m) for t, names in jobs for m in names)
    failures: list[Failure] = []
    counts: collections.Counter[str] = collections.Counter()
    while left:
        with tempfile.TemporaryFile() as log:
            done, status = _batch(left, failures, counts, log)
            if done and not status:
                break
            target, mutation = left.popleft()
            log.seek(0)
            said = log.read()[-4000:].decode(errors="replace")
            failures.append(Failure(target, mutation, f"the process ended with {status}\n{said}"))
    return failures, counts


def _batch(
    left: collections.deque[tuple[str, str]],
    failures: list[Failure],
    counts: collections.Counter[str],
    log: IO[bytes],
) -> tuple[bool, int | str]:
    """Run a worker over what is left, until it is through or ends."""
    tests = Path(__file__).parents[1]
    worker = subprocess.Popen(
        [sys.executable, "-m", "mutation.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        env={**os.environ, "PYTHONPATH": os.pathsep.join((str(tests), str(tests.parent / "src")))},
    )
    assert worker.stdin is not None
    assert worker.stdout is not None
    jobs: list[dict[str, Any]] = []
    for target, mutation in left:
        if not jobs or jobs[-1]["target"] != target:
            jobs.append({"target": target, "mutations": []})
        jobs[-1]["mutations"].append(mutation)
    worker.stdin.write(json.dumps(jobs).encode())
    worker.stdin.close()
    try:
        while select.select([worker.stdout], [], [], WALL)[0]:
            line = worker.stdout.readline()
            if not line:
                status = worker.wait(WALL)
                return not left, status
            told = json.loads(line)
            assert left.popleft() == (told["target"], told["mutation"])
            if told["failure"]:
                failures.append(Failure(told["target"], told["mutation"], told["failure"]))
            else:
                counts[told["did"]] += 1
        return False, f"no sign of life for {WALL} s"
    finally:
        worker.kill()
        worker.wait()
        worker.stdout.close()
