"""Requests that run together get what they would have got alone."""

from __future__ import annotations

import asyncio
import dataclasses
import re
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import httpx
import numpy as np
import pytest

from coldframe import dtypes
from coldframe.errors import MisuseError
from coldframe.runtime.source import Signature
from coldframe.serve.batching import BatchRunner
from coldframe.serve.config import BatchingOptions, read_batching_options
from coldframe.serve.core import DirectRunner
from coldframe.serve.status import Code, RequestError
from coldframe.shapes import Shape, TensorSpec
from serving import one_model, running

ROWS = Shape.of([None, None])


def spec(shape: Shape = ROWS) -> TensorSpec:
    return TensorSpec("x:0", dtypes.float32, shape)


@dataclasses.dataclass(eq=False)
class Doubling:
    """Stands for a servable: y = 2x. It notes the batches that it is given, and can be held up.

    Attributes:
        batches: the shapes that it ran.
        gate: it waits for this before it answers.
    """

    name: str = "m"
    batches: list[tuple[int, ...]] = dataclasses.field(default_factory=list)
    gate: threading.Event = dataclasses.field(default_factory=threading.Event)
    took: dict[tuple[str, int], deque[float]] = dataclasses.field(default_factory=dict)

    def run(self, signature: Signature, inputs: Mapping[str, Any], outputs: Sequence[str] = ()) -> dict[str, Any]:
        assert self.gate.wait(10)
        x = inputs["x"]
        self.batches.append(x.shape)
        if (x < 0).any():
            raise RequestError(Code.INVALID_ARGUMENT, "negative")
        return {"y": x.sum() if signature.name == "sum" else 2 * x}


SIGNATURE = Signature("s", {"x": spec()}, {"y": spec()})


def rows(*values: float, width: int = 1) -> Any:
    return np.repeat(np.array(values, np.float32)[:, None], width, axis=1)


def play(options: BatchingOptions, script: Callable[[BatchRunner, Doubling], Awaitable[None]]) -> Doubling:
    """Run a script of requests, and return what the servable saw."""
    servable = Doubling()

    async def work() -> None:
        runner = BatchRunner(options, DirectRunner(2))
        try:
            await asyncio.wait_for(script(runner, servable), 20)
        finally:
            servable.gate.set()
            runner.close()

    asyncio.run(work())
    return servable


def ask(runner: BatchRunner, servable: Any, x: Any, signature: Signature = SIGNATURE, within: float = 10.0) -> Any:
    return asyncio.ensure_future(runner.run(servable, signature, {"x": x}, (), time.monotonic() + within))


def test_what_gathers_while_threads_are_busy_goes_together() -> None:
    async def script(runner: BatchRunner, servable: Doubling) -> None:
        asked = [ask(runner, servable, rows(i, i)) for i in range(5)]
        await asyncio.sleep(0.05)
        servable.gate.set()
        for i, each in enumerate(asked):
            np.testing.assert_array_equal((await each)["y"], rows(2 * i, 2 * i))

    assert play(BatchingOptions(threads=1), script).batches == [(2, 1), (8, 1)]


def test_a_timeout_waits_for_company_and_a_full_batch_does_not() -> None:
    async def waits(runner: BatchRunner, servable: Doubling) -> None:
        servable.gate.set()
        first = ask(runner, servable, rows(1))
        await asyncio.sleep(0.05)
        assert not servable.batches
        await asyncio.gather(first, ask(runner, servable, rows(1)))

    assert play(BatchingOptions(max_batch_size=4, timeout_micros=200_000), waits).batches == [(2, 1)]

    async def full(runner: BatchRunner, servable: Doubling) -> None:
        servable.gate.set()
        await asyncio.gather(*(ask(runner, servable, rows(1, 1)) for _ in range(2)))

    # The script would be given up long before an hour.
    assert play(BatchingOptions(max_batch_size=4, timeout_micros=3_600_000_000), full).batches == [(4, 1)]


def test_allowed_sizes_are_filled_up() -> None:
    async def script(runner: BatchRunner, servable: Doubling) -> None:
        servable.gate.set()
        found = await ask(runner, servable, rows(1, 2, 3))
        np.testing.assert_array_equal(found["y"], rows(2, 4, 6))

    assert play(BatchingOptions(max_batch_size=8, allowed_sizes=(2, 4, 8)), script).batches == [(4, 1)]


def test_large_requests_are_split_or_refused() -> None:
    async def script(runner: BatchRunner, servable: Doubling) -> None:
        servable.gate.set()
        found = await ask(runner, servable, rows(*range(10)))
        np.testing.assert_array_equal(found["y"], rows(*range(0, 20, 2)))

    assert sorted(play(BatchingOptions(max_batch_size=4), script).batches) == [(2, 1), (4, 1), (4, 1)]

    async def refused(runner: BatchRunner, servable: Doubling) -> None:
        with pytest.raises(RequestError, match="Task size 10 is larger than maximum input batch size 4"):
            await ask(runner, servable, rows(*range(10)))

    play(BatchingOptions(max_batch_size=4, split_large=False), refused)


def test_variable_lengths() -> None:
    async def script(runner: BatchRunner, servable: Doubling) -> None:
        asked = [ask(runner, servable, rows(i, width=i)) for i in (1, 2, 3)]
        await asyncio.sleep(0.05)
        servable.gate.set()
        shapes = [(await each)["y"].shape for each in asked]
        assert shapes[0] == (1, 1)

    assert play(BatchingOptions(threads=1, pad_variable_lengths=True), script).batches == [(1, 1), (2, 3)]

    async def padded(runner: BatchRunner, servable: Doubling) -> None:
        asked = [ask(runner, servable, x) for x in (rows(9), rows(5, 6, width=1), rows(7, width=3))]
        await asyncio.sleep(0.05)
        servable.gate.set()
        await asked[0]
        np.testing.assert_array_equal((await asked[1])["y"], [[10, 10, 10], [12, 10, 10]])  # by its first element

    play(BatchingOptions(threads=1, pad_variable_lengths=True), padded)

    async def split(runner: BatchRunner, servable: Doubling) -> None:
        asked = [ask(runner, servable, x) for x in (rows(9), rows(1, 2, 3), rows(4, width=2))]
        await asyncio.sleep(0.05)
        servable.gate.set()
        for each in asked[::2]:
            await each
        np.testing.assert_array_equal((await asked[1])["y"], rows(2, 4, 6))  # though a part of it was padded

    play(BatchingOptions(threads=1, max_batch_size=2, pad_variable_lengths=True), split)
    assert play(BatchingOptions(threads=1), script).batches == [(1, 1), (1, 2), (1, 3)]


def test_a_bad_request_spoils_its_own_answer_only() -> None:
    async def script(runner: BatchRunner, servable: Doubling) -> None:
        first = ask(runner, servable, rows(1))
        asked = [ask(runner, servable, rows(v)) for v in (2, -1, 3)]
        await asyncio.sleep(0.05)
        servable.gate.set()
        found = await asyncio.gather(first, *asked, return_exceptions=True)
        assert isinstance(found[2], RequestError)
        assert [f["y"].item() for f in found if isinstance(f, dict)] == [2.0, 4.0, 6.0]

    play(BatchingOptions(threads=1), script)


def test_a_full_queue_answers_at_once() -> None:
    async def script(runner: BatchRunner, servable: Doubling) -> None:
        asked = [ask(runner, servable, rows(1, 1)) for _ in range(3)]
        await asyncio.sleep(0.05)
        with pytest.raises(RequestError, match="queue is full") as e:
            await ask(runner, servable, rows(1, 1))
        assert e.value.code is Code.RESOURCE_EXHAUSTED
        servable.gate.set()
        await asyncio.gather(*asked)

    play(BatchingOptions(max_batch_size=2, max_enqueued_batches=2, threads=1), script)


def test_late_and_cancelled_requests_leave_the_queue() -> None:
    async def script(runner: BatchRunner, servable: Doubling) -> None:
        first = ask(runner, servable, rows(1))
        late = ask(runner, servable, rows(2), within=0.02)
        gone = ask(runner, servable, rows(3))
        kept = ask(runner, servable, rows(4))
        await asyncio.sleep(0.05)
        gone.cancel()
        await asyncio.sleep(0)
        servable.gate.set()
        found = await asyncio.gather(first, late, gone, kept, return_exceptions=True)
        assert isinstance(found[1], RequestError)
        assert found[1].code is Code.DEADLINE_EXCEEDED
        assert isinstance(found[2], asyncio.CancelledError)
        assert runner.waiting() == 0

    assert play(BatchingOptions(threads=1), script).batches == [(1, 1), (1, 1)]


def test_signatures_that_do_not_work_row_by_row() -> None:
    total = Signature("sum", {"x": spec()}, {"y": TensorSpec("y:0", dtypes.float32, Shape.unknown())})
    closed = Signature("s", {"x": spec(Shape.of([2, None]))}, {"y": spec()})

    async def script(runner: BatchRunner, servable: Doubling) -> None:
        servable.gate.set()
        for _ in range(2):
            found = await asyncio.gather(*(ask(runner, servable, rows(v, v), total) for v in (1, 2, 3, 4)))
            assert [f["y"].item() for f in found] == [2.0, 4.0, 6.0, 8.0]
        servable.batches.clear()
        await asyncio.gather(*(ask(runner, servable, rows(1, 2), closed) for _ in range(4)))

    assert play(BatchingOptions(threads=1), script).batches == [(2, 1)] * 4


def test_through_a_server(base: Any) -> None:
    with running(one_model(base, batching=BatchingOptions(timeout_micros=2000))) as server:
        failed: list[Any] = []

        def work(number: int) -> None:
            with httpx.Client(base_url=server.rest) as client:
                for i in range(15):
                    reply = client.post("/v1/models/m:predict", json={"inputs": [float(number)] * (i % 3 + 1)})
                    if reply.json() != {"outputs": [number / 2 + 2] * (i % 3 + 1)}:
                        failed.append(reply.text)

        threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        assert not failed


def test_the_parameters_file(tmp_path: Any) -> None:
    path = tmp_path / "batching.txt"
    path.write_text(
        "max_batch_size { value: 8 } batch_timeout_micros { value: 500 } allowed_batch_sizes: 4 allowed_batch_sizes: 8"
        " enable_large_batch_splitting { value: false } pad_variable_length_inputs: true num_batch_threads { value: 3 }"
    )
    assert read_batching_options(path) == BatchingOptions(8, 500, 10, 3, (4, 8), True, False)
    path.write_text("max_batch_size { value: 8 } allowed_batch_sizes: 4")
    with pytest.raises(MisuseError, match="increasing numbers that end with 8"):
        read_batching_options(path)


ODD_PARAMETERS = [
    ({"max_batch_size": 0}, "wrong `max_batch_size`: expected at least 1, found 0"),
    ({"timeout_micros": -1}, "wrong `batch_timeout_micros`: expected at least 0, found -1"),
    ({"threads": -3}, "wrong `num_batch_threads`: expected at least 0, found -3"),
    ({"max_execution_batch_size": -1}, "wrong `max_execution_batch_size`: expected at least 0, found -1"),
    ({"max_batch_size": 8, "max_execution_batch_size": 9}, "expected at most `max_batch_size`, 8, found 9"),
    ({"max_batch_size": 8, "max_execution_batch_size": 4, "allowed_sizes": (2, 3)}, "that end with 4 or 8"),
    ({"max_batch_size": 8, "max_execution_batch_size": 4, "allowed_sizes": (4,), "split_large": False},
     "that end with 8"),
]  # fmt: skip


@pytest.mark.parametrize(("given", "told"), ODD_PARAMETERS, ids=range(len(ODD_PARAMETERS)))
def test_odd_parameters(given: dict[str, Any], told: str) -> None:
    with pytest.raises(MisuseError, match=re.escape(told)):
        BatchingOptions(**given)


def test_the_execution_size_counts_where_requests_are_split() -> None:
    async def script(runner: BatchRunner, servable: Doubling) -> None:
        servable.gate.set()
        np.testing.assert_array_equal((await ask(runner, servable, rows(*range(8))))["y"], rows(*range(0, 16, 2)))

    sizes = {"max_batch_size": 8, "max_execution_batch_size": 4}
    for allowed in ((2, 4), (4, 8)):  # TensorFlow Serving has a check that asks for each of them
        options = BatchingOptions(**sizes, allowed_sizes=allowed)  # type: ignore[arg-type]
        assert play(options, script).batches == [(4, 1), (4, 1)]
    assert play(BatchingOptions(**sizes, split_large=False), script).batches == [(8, 1)]  # type: ignore[arg-type]
