"""Staging areas against TensorFlow, and threads that wait for them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from coldframe.errors import CancelledError, ExecutionError
from coldframe.runtime.session import Session
from step_oracle import outcome, steps

r = tf.raw_ops
ONE = {"shared_name": "one"}
PAIR: dict[str, Any] = {"dtypes": [tf.float32, tf.string], **ONE}


def put(*values: Any, **attrs: Any) -> Any:
    return r.Stage(values=[tf.convert_to_tensor(v) for v in values], **{**ONE, **attrs})


def test_in_order() -> None:
    def build() -> list[Any]:
        peek = r.StagePeek(index=1, **PAIR)
        take = r.Unstage(**PAIR)
        return [
            put(1.0, "a"), put([2.0, 3.0], "b"), r.StageSize(**PAIR), *peek, take[0], take[1], r.StageSize(**PAIR),
            put(4.0, "c"), r.StageClear(**PAIR), r.StageSize(**PAIR), put(5.0, "d"), take[1],
        ]  # fmt: skip

    steps(build)


def test_areas_without_a_shared_name_are_apart() -> None:
    def build() -> list[Any]:
        return [r.Stage(values=[1.0]), r.StageSize(dtypes=[tf.float32])]

    steps(build)


def indices(*at: int) -> Any:
    return tf.constant(at, tf.int32, [len(at)])


THREE: dict[str, Any] = {"dtypes": [tf.float32, tf.int32, tf.string], "shared_name": "by key"}


class ByKey:
    """The ops of areas with keys."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix

    def __getattr__(self, name: str) -> Any:
        return getattr(r, f"{self.prefix}{name}")

    def put(self, key: int, at: list[int], *values: Any) -> Any:
        return self.Stage(key=np.int64(key), indices=indices(*at), values=list(values), **THREE)

    def peek(self, key: int, *at: int) -> Any:
        return self.Peek(key=np.int64(key), indices=indices(*at), **self.of(at))

    def take(self, key: int, *at: int) -> Any:
        return self.Unstage(key=np.int64(key), indices=indices(*at), **self.of(at))

    @staticmethod
    def of(at: tuple[int, ...]) -> Any:
        return {**THREE, "dtypes": [THREE["dtypes"][i] for i in at]}


@pytest.mark.parametrize("prefix", ["Map", "OrderedMap"])
def test_by_key(prefix: str) -> None:
    def build() -> list[Any]:
        m = ByKey(prefix)
        size, parts = m.Size(**THREE), m.IncompleteSize(**THREE)
        whole = m.UnstageNoKey(indices=indices(0, 1, 2), **THREE)
        return [
            m.put(9, [0, 1, 2], 1.0, 2, "nine"), m.put(3, [0], 4.0), size, parts, m.put(3, [2, 1], "x", 5),
            m.put(3, [1, 2], 5, "three"), size, parts, *m.peek(9, 0, 1, 2), *m.peek(9, 2), whole.key, whole.values[2],
            size, m.put(9, [0, 1, 2], 0.0, 0, "again"), m.put(2, [0, 1, 2], [1.0, 2.0], [3], "two"),
            *m.take(2, 2), size, *m.take(2, 0), *m.take(2, 1), size, m.put(5, [0], 4.0), m.put(5, [0], 4.0),
            m.put(6, [5], 4.0), parts, m.Clear(**THREE), size, parts, m.put(7, [0, 0], 1.0, 1.0), parts,
            m.put(8, [0, 1, 2], 1.0, 2, "eight"), *m.take(8, 0), *m.peek(8, 0),
        ]  # fmt: skip

    steps(build)


def test_what_is_taken_has_other_dtypes() -> None:
    with tf.Graph().as_default() as g:
        names = [put(1.0, "a").name, r.Unstage(dtypes=[tf.int32, tf.string], **ONE)[0].name]
        low = r.StagePeek(index=-1, **PAIR)[0].name
    session = Session(g.as_graph_def())
    session.run(names[0])
    with pytest.raises(ExecutionError, match="staging area `one` holds other dtypes"):
        session.run(names[1])
    with pytest.raises(ExecutionError, match=r"the place to look at.*expected 0 or more, found -1"):
        session.run(low)


class Beside(threading.Thread):
    """Does something in another thread, and keeps what came of it."""

    def __init__(self, work: Callable[[], Any]) -> None:
        super().__init__(daemon=True)
        self._work, self.result = work, None
        self.start()

    def run(self) -> None:
        self.result = outcome(self._work)

    def finish(self) -> Any:
        self.join(20)
        assert not self.is_alive(), "still waiting"
        return self.result


BOUNDS = {"tuples": {"capacity": 1}, "bytes": {"memory_limit": 10}}


@pytest.mark.parametrize("bounds", BOUNDS.values(), ids=list(BOUNDS))
def test_who_puts_waits_for_room_and_who_takes_for_something(bounds: dict[str, int]) -> None:
    with tf.Graph().as_default() as g:
        x = tf.compat.v1.placeholder(tf.int64, [], name="x")
        add = put(x, **bounds).name
        take = r.Unstage(dtypes=[tf.int64], **ONE, **bounds)[0].name
        keyed = r.MapStage(key=x, indices=indices(0), values=[x], dtypes=[tf.int64], **ONE, **bounds).name
        by_key = r.MapUnstage(key=x, indices=indices(0), dtypes=[tf.int64], **ONE, **bounds)[0].name
    session = Session(g.as_graph_def())
    for first, second in ((add, take), (keyed, by_key)):
        putting = Beside(lambda f=first: [session.run(f, {"x:0": k}) for k in range(3)])
        assert [int(session.run(second, {"x:0": k})) for k in range(3)] == [0, 1, 2]
        putting.finish()
        taking = Beside(lambda s=second: int(session.run(s, {"x:0": 7})))
        session.run(first, {"x:0": 7})
        assert taking.finish() == 7
    waiting = Beside(lambda: session.run(take))
    session.state.close()
    assert waiting.finish() is CancelledError
    with pytest.raises(CancelledError, match="the session is closed"):
        session.run(take)


def test_a_tuple_that_never_fits_is_refused() -> None:
    def build() -> list[Any]:
        return [put([1.0, 2.0, 3.0], memory_limit=8), put([1.0, 2.0], memory_limit=8)]

    steps(build)


def test_a_wait_that_nobody_can_end_is_refused() -> None:
    assert threading.active_count() == 1
    with tf.Graph().as_default() as g:
        name = r.Unstage(**PAIR)[0].name
    with pytest.raises(ExecutionError, match="staging area `one`: nothing can end the wait"):
        Session(g.as_graph_def(), "reference").run(name)
