"""Paired timing of whole processes: A B A B ..., medians, and their ratio.

Pairs are what makes timings on a shared machine comparable: whatever slows one side down slows its partner too.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Task:
    """One thing to do, by coldframe's command line and by a script that uses TensorFlow.

    Attributes:
        name: what is done.
        ours: the arguments of ``coldframe``.
        theirs: a Python program.
        at_most: the share of TensorFlow's time, or the seconds, that the project promises.
    """

    name: str
    ours: Sequence[str]
    theirs: str
    at_most: str = ""


@dataclass(frozen=True)
class Timing:
    """Seconds of each process, in the order they ran."""

    task: Task
    ours: tuple[float, ...]
    theirs: tuple[float, ...]

    @property
    def ratio(self) -> float:
        """How many times as long TensorFlow takes: the median over the pairs."""
        return statistics.median(b / a for a, b in zip(self.ours, self.theirs, strict=True))

    def __str__(self) -> str:
        a, b = statistics.median(self.ours), statistics.median(self.theirs)
        promise = f"  ({self.task.at_most})" if self.task.at_most else ""
        return f"{self.task.name:<40} {a:7.2f} s  {b:7.2f} s  {self.ratio:5.1f}x{promise}"


def measure(task: Task, pairs: int, folder: Path) -> Timing:
    """Run both sides `pairs` times, after one run of each that fills the caches of the disk."""
    commands = ([sys.executable, "-m", "coldframe", *task.ours], [sys.executable, "-c", task.theirs])
    times: tuple[list[float], list[float]] = ([], [])
    for i in range(pairs + 1):
        for side, command in enumerate(commands):
            took = _seconds(command, folder)
            if i:
                times[side].append(took)
    return Timing(task, tuple(times[0]), tuple(times[1]))


def _seconds(command: Sequence[str], folder: Path) -> float:
    env = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    env.pop("PYTHONDONTWRITEBYTECODE", None)  # both sides start from bytecode, as installed packages do
    started = time.perf_counter()
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)
    took = time.perf_counter() - started
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)[:200]} failed:\n{done.stderr[-2000:]}")
    return took
