"""Queues against TensorFlow: orders, closing, and threads that wait for each other."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from coldframe.errors import CancelledError, ExecutionError
from coldframe.runtime.session import Session
from step_oracle import outcome, steps

r = tf.raw_ops
v1 = tf.compat.v1


def test_first_in_first_out() -> None:
    def build() -> list[Any]:
        q = v1.FIFOQueue(10, [tf.int32, tf.string], [[], [2]])
        a = q.dequeue_many(2)
        one = q.dequeue()
        return [
            q.enqueue_many([[1, 2, 3], [["a", "b"]] * 3]), q.enqueue([4, ["c", "d"]]), q.size(), a[0], one[1],
            one[0], q.size(), q.is_closed(), q.close(), q.is_closed(), q.enqueue([4, ["c", "d"]]), q.close(),
            q.close(cancel_pending_enqueues=True), q.dequeue()[0], q.enqueue_many([[1], [["a", "b"]]]),
        ]  # fmt: skip

    steps(build)


def test_what_is_left_when_a_queue_closes() -> None:
    def build() -> list[Any]:
        q = v1.FIFOQueue(10, tf.int32, shapes=[])
        many, up_to = q.dequeue_many(3), q.dequeue_up_to(3)
        return [
            q.enqueue_many([[1, 2, 3, 4, 5]]), q.close(), q.dequeue(), many, many, up_to, up_to, q.size(), q.dequeue(),
            q.dequeue_many(0),
        ]  # fmt: skip

    steps(build)


@pytest.mark.parametrize("seeds", [(1, 2), (87654321, 5), (0, 3)])
def test_random_order(seeds: tuple[int, int]) -> None:
    def build() -> list[Any]:
        handle = r.RandomShuffleQueueV2(
            component_types=[tf.int64], shapes=[[]], capacity=100, min_after_dequeue=5, seed=seeds[0], seed2=seeds[1]
        )
        fill = r.QueueEnqueueManyV2(handle=handle, components=[np.arange(30)])
        one = r.QueueDequeueV2(handle=handle, component_types=[tf.int64])[0]
        many = r.QueueDequeueManyV2(handle=handle, n=7, component_types=[tf.int64])[0]
        most = r.QueueDequeueUpToV2(handle=handle, n=7, component_types=[tf.int64])[0]
        close = r.QueueCloseV2(handle=handle)
        return [fill, one, many, one, one, many, r.QueueSizeV2(handle=handle), fill, close, *[many] * 5, *[most] * 3]

    steps(build)


def test_padding() -> None:
    def build() -> list[Any]:
        q = v1.PaddingFIFOQueue(10, [tf.float32, tf.string], [[None, 2], [None]])
        fill = [q.enqueue([np.ones([n, 2], np.float32), ["x"] * n]) for n in (3, 1, 0, 2)]
        many = q.dequeue_many(3)
        return [
            *fill,
            tf.concat([tf.reshape(tf.as_string(many[0]), [-1]), tf.reshape(many[1], [-1])], 0),
            q.dequeue()[0],
        ]

    steps(build)


def test_priorities() -> None:
    def build() -> list[Any]:
        q = v1.PriorityQueue(10, [tf.string], [[]])
        fill = q.enqueue_many([np.array([5, -1, 7, 3]), ["five", "-one", "seven", "three"]])
        many = q.dequeue_many(2)
        return [fill, q.dequeue()[1], many[1], q.size(), q.dequeue()[0]]

    steps(build)


@pytest.mark.parametrize("count", [1, 2, 3, 8, 13, 40])
def test_equal_priorities_come_in_the_order_of_tensorflows_heap(count: int) -> None:
    priorities = np.random.default_rng(count).integers(0, 3, count)

    def build() -> list[Any]:
        q = v1.PriorityQueue(99, [tf.int64], [[]])
        fill = q.enqueue_many([priorities, np.arange(count)])
        return [fill, *[q.dequeue()[1]] * (count // 2), fill, q.dequeue_many(count + count - count // 2)[1]]

    steps(build)


REFUSED: dict[str, Callable[[Any], Any]] = {
    "component 0 has the wrong shape": lambda q: r.QueueEnqueueV2(handle=q.queue_ref, components=[tf.ones([3])]),
    "components of other dtypes": lambda q: r.QueueEnqueueV2(handle=q.queue_ref, components=[1]),
}


@pytest.mark.parametrize("message", REFUSED)
def test_refusals(message: str) -> None:
    def build() -> list[Any]:
        return [REFUSED[message](v1.FIFOQueue(10, tf.float32, shapes=[[2]]))]

    steps(build)
    with tf.Graph().as_default() as g:
        name = build()[0].name
    with pytest.raises(ExecutionError, match=message):
        Session(g.as_graph_def()).run(name)


def small() -> tuple[Session, dict[str, str]]:
    """A session with a queue of two places."""
    with tf.Graph().as_default() as g:
        q = v1.FIFOQueue(2, tf.int32, shapes=[])
        x = v1.placeholder(tf.int32, [], name="x")
        names = {
            "put": q.enqueue(x), "get": q.dequeue(), "many": q.dequeue_many(5), "close": q.close(),
            "cancel": q.close(cancel_pending_enqueues=True), "size": q.size(),
        }  # fmt: skip
        return Session(g.as_graph_def()), {k: v.name for k, v in names.items()}


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


def test_a_run_waits_for_another_thread() -> None:
    session, op = small()
    taker = Beside(lambda: [int(session.run(op["get"])) for _ in range(3)])
    for k in range(3):
        session.run(op["put"], {"x:0": k})
    assert taker.finish() == [0, 1, 2]
    many = Beside(lambda: session.run(op["many"]).tolist())  # more than the queue holds
    for k in range(5):
        session.run(op["put"], {"x:0": k})
    assert many.finish() == [0, 1, 2, 3, 4]


def test_closing_waits_for_pending_enqueues_or_cancels_them() -> None:
    for how, want in (("close", None), ("cancel", CancelledError)):
        session, op = small()
        for k in range(2):
            session.run(op["put"], {"x:0": k})
        third = Beside(lambda s=session, o=op: s.run(o["put"], {"x:0": 2}))
        time.sleep(0.05)
        closing = Beside(lambda s=session, o=op, h=how: s.run(o[h]))
        time.sleep(0.05)
        assert session.run(op["get"]) == 0
        assert third.finish() is want
        assert closing.finish() is None
        assert outcome(lambda s=session, o=op: s.run(o["put"], {"x:0": 2})) is CancelledError


def test_closing_the_session_wakes_whoever_waits() -> None:
    session, op = small()
    taker = Beside(lambda: session.run(op["get"]))
    time.sleep(0.05)
    assert taker.is_alive()
    session.state.close()
    assert taker.finish() is CancelledError
    with pytest.raises(CancelledError, match="session is closed"):
        session.run(op["get"])


def test_old_names_hand_out_references() -> None:
    g = v1.GraphDef()
    g.versions.producer = 20
    q = g.node.add(name="q", op="FIFOQueue")
    q.attr["component_types"].list.type.append(3)
    q.attr["capacity"].i = 5
    x = g.node.add(name="x", op="Const")
    x.attr["dtype"].type = 3
    x.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(7))
    put = g.node.add(name="put", op="QueueEnqueue", input=["q", "x"])
    put.attr["Tcomponents"].list.type.append(3)
    get = g.node.add(name="get", op="QueueDequeue", input=["q"])
    get.attr["component_types"].list.type.append(3)
    session = Session(g)
    session.run("put")
    assert session.run("get:0") == 7
