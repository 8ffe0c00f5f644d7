"""Barriers against TensorFlow."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from coldframe.errors import ExecutionError
from coldframe.runtime.session import Session
from step_oracle import steps

r = tf.raw_ops


class Barrier:
    """The ops of a barrier of tuples of a float and two integers."""

    def __init__(self, **attrs: Any) -> None:
        self.types = [tf.float32, tf.int32]
        self.handle = r.Barrier(component_types=self.types, shapes=[[], [2]], **attrs)

    def insert(self, keys: list[str], values: Any, at: int) -> Any:
        names = tf.constant(keys, tf.string, [len(keys)])
        return r.BarrierInsertMany(handle=self.handle, keys=names, values=values, component_index=at)

    def take(self, n: int, **attrs: Any) -> list[Any]:
        made = r.BarrierTakeMany(handle=self.handle, num_elements=n, component_types=self.types, **attrs)
        every = [made[0], *made[2]]
        return [made[1], *(tf.cast(tf.reshape(t, [-1]), tf.float64) for t in every)]

    def together(self, n: int, **attrs: Any) -> Any:
        keys, *numbers = self.take(n, **attrs)
        return tf.concat([keys, *(tf.as_string(t) for t in numbers)], 0)

    def close(self, *, cancel: bool = False) -> Any:
        return r.BarrierClose(handle=self.handle, cancel_pending_enqueues=cancel)

    @property
    def ready(self) -> Any:
        return r.BarrierReadySize(handle=self.handle)

    @property
    def incomplete(self) -> Any:
        return r.BarrierIncompleteSize(handle=self.handle)


def test_tuples_come_together() -> None:
    def build() -> list[Any]:
        b = Barrier()
        ready, rest = b.ready, b.incomplete
        return [
            ready, b.insert(["a", "b", "c"], [1.0, 2.0, 3.0], 0), ready, rest,
            b.insert(["c", "a"], [[1, 2], [3, 4]], 1), ready, rest, b.together(1), ready,
            b.insert(["a"], [7.0], 0), b.insert(["a"], [7.0], 0),
            b.insert(["z"], [7], 0), b.insert(["z"], [7.0], 5), b.together(0),
            b.insert([], np.zeros([0], np.float32), 0),
            b.insert(["b"], [[3, 4]], 1), b.together(2), b.close(), b.insert(["new"], [1.0], 0),
            b.insert(["a"], [[3, 4]], 1), ready, rest, b.together(3, allow_small_batch=True),
            b.together(3, allow_small_batch=True), b.close(), b.insert(["a"], [1.0], 0),
        ]  # fmt: skip

    steps(build)


def test_what_is_in_the_making_is_given_up() -> None:
    def build() -> list[Any]:
        b = Barrier()
        return [
            b.insert(["x"], [[4, 5]], 1), b.insert(["y", "q"], [[4, 5], [6, 7]], 1), b.insert(["y"], [4.0], 0),
            b.close(cancel=True), b.incomplete, b.ready, b.insert(["x"], [4.0], 0),
            b.together(2), b.together(1, timeout_ms=5), b.together(1), b.together(1),
        ]  # fmt: skip

    steps(build)


@pytest.mark.parametrize("attrs", [{"capacity": 5}, {"shapes": []}, {"shapes": [[]]}], ids=str)
def test_barriers_that_cannot_be(attrs: dict[str, Any]) -> None:
    def build() -> list[Any]:
        given = {"shapes": [[], [2]], **attrs}
        return [r.BarrierReadySize(handle=r.Barrier(component_types=[tf.float32, tf.int32], **given))]

    steps(build)


def test_who_takes_waits() -> None:
    with tf.Graph().as_default() as g:
        b = Barrier()
        first, second = b.insert(["a", "b"], [1.0, 2.0], 0).name, b.insert(["b", "a"], [[1, 2], [3, 4]], 1).name
        keys = b.take(2)[0].name
    session = Session(g.as_graph_def())
    found: list[Any] = []
    taking = threading.Thread(target=lambda: found.append(session.run(keys).tolist()), daemon=True)
    taking.start()
    session.run(first)
    session.run(second)
    taking.join(20)
    assert found == [[b"b", b"a"]]


def test_messages() -> None:
    with tf.Graph().as_default() as g:
        b, other = Barrier(shared_name="b"), r.Barrier(component_types=[tf.int32], shapes=[[]], shared_name="b")
        bad = {
            "component 1: expected [2], found []": b.insert(["p"], [4], 1),
            "a component: expected below 2, found 5": b.insert(["p"], [4.0], 5),
            "component 0 has another dtype: expected float32, found int32": b.insert(["p"], [4], 0),
            "the number of tuples asked for: expected 0 or more, found -1": b.take(-1)[0],
            "is used with different components": r.BarrierReadySize(handle=other),
            "the timeout of a barrier: expected -1, found 3": b.take(1, timeout_ms=3)[0],
        }
        names = {k: v.name for k, v in bad.items()}
        ready = b.ready.name
    session = Session(g.as_graph_def(), "reference")
    session.run(ready)
    for text, name in names.items():
        with pytest.raises(ExecutionError) as caught:
            session.run(name)
        for part in text.split(": expected"):
            assert part.split(", found")[0].strip() in str(caught.value)
