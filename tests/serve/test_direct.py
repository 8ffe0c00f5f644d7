"""Where requests run that run by themselves: quick ones in the event loop, others in threads."""

from __future__ import annotations

import asyncio
import dataclasses
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from coldframe import dtypes
from coldframe.runtime.source import Signature
from coldframe.serve import core
from coldframe.serve.callers import Callers
from coldframe.serve.core import DirectRunner
from coldframe.serve.status import Code, RequestError
from coldframe.shapes import Shape, TensorSpec

SPEC = TensorSpec("x:0", dtypes.float32, Shape.of([None]))
SIGNATURE = Signature("s", {"x": SPEC}, {"y": SPEC})
LOOP = threading.main_thread().name


@dataclasses.dataclass(eq=False)
class Noting:
    """Stands for a servable that takes some time; it notes the threads that it ran in."""

    name: str = "m"
    seconds: float = 0.0
    threads: list[str] = dataclasses.field(default_factory=list)
    callers: Callers = dataclasses.field(default_factory=Callers)
    took: dict[tuple[str, int], deque[float]] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        self.runner = DirectRunner(2, callers=self.callers)

    def run(self, signature: Signature, inputs: Mapping[str, Any], outputs: Sequence[str] = ()) -> dict[str, Any]:
        self.threads.append(threading.current_thread().name)
        time.sleep(self.seconds)
        return {"y": inputs["x"]}


def ask(servable: Any, times: int, *, size: int = 1, within: float = 10.0, clients: tuple[Any, ...] = (None,)) -> None:
    """Ask for so many runs, one after the other, `clients` in turns."""

    async def work() -> None:
        for i in range(times):
            servable.callers.heard(clients[i % len(clients)])
            await servable.runner.run(
                servable, SIGNATURE, {"x": np.zeros(size, np.float32)}, (), time.monotonic() + within
            )

    asyncio.run(work())


def test_quick_ones_run_in_the_event_loop_once_known() -> None:
    servable = Noting()
    ask(servable, 40)
    assert servable.threads[0] != LOOP
    assert servable.threads[-1] == LOOP


def test_slow_and_large_ones_run_in_threads() -> None:
    servable = Noting(seconds=0.002)
    ask(servable, 12)
    ask(servable, 12, size=1 << 16)
    assert LOOP not in servable.threads


def test_what_becomes_slow_goes_back_to_threads() -> None:
    servable = Noting()
    ask(servable, 40)
    servable.seconds = 0.002
    ask(servable, 12)
    assert servable.threads[-1] != LOOP


def test_sizes_are_judged_apart() -> None:
    servable = Noting()
    ask(servable, 40)
    ask(servable, 1, size=1000)
    assert servable.threads[-1] != LOOP


@pytest.mark.parametrize("size", [1, 1 << 16])
def test_short_ones_of_a_client_alone_run_in_the_event_loop(size: int) -> None:
    servable = Noting(seconds=0.002)
    ask(servable, 12, size=size, clients=("a",))
    assert servable.threads[0] != LOOP
    assert servable.threads[-1] == LOOP
    ask(servable, 1, size=size, clients=("b",))
    assert servable.threads[-1] != LOOP
    ask(servable, 24, size=size, clients=("a", "b"))
    assert LOOP not in servable.threads[-24:]
    ask(servable, 12, size=size, clients=("b",))
    assert servable.threads[-1] == LOOP


def test_others_do_not_wait_for_long_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(core, "_SHORT", 0.004)  # a busy machine takes its time
    servable = Noting(seconds=0.005)
    ask(servable, 12, clients=("a",))
    assert LOOP not in servable.threads


def test_while_another_runs_nobody_is_alone() -> None:
    """One that came before the row began may still be in a thread."""
    servable = Noting(seconds=0.002)
    ask(servable, 12, clients=("a",))
    assert servable.threads[-1] == LOOP

    async def work() -> None:
        leave = threading.Event()
        waiting = asyncio.ensure_future(servable.runner.call(leave.wait, time.monotonic() + 10))
        await asyncio.sleep(0)
        await servable.runner.run(servable, SIGNATURE, {"x": np.zeros(1, np.float32)}, (), time.monotonic() + 10)  # type: ignore[arg-type]
        leave.set()
        assert await waiting

    asyncio.run(work())
    assert servable.threads[-1] != LOOP


def test_late_ones_are_refused_wherever_they_would_run() -> None:
    servable = Noting()
    for _ in range(2):
        seen = len(servable.threads)
        with pytest.raises(RequestError) as e:
            ask(servable, 1, within=-1.0)
        assert e.value.code is Code.DEADLINE_EXCEEDED
        assert len(servable.threads) == seen
        ask(servable, 40)
