"""Programs that feed themselves through queues: TensorFlow's nodes, the same batches, and threads that end."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow

import coldframe.tf1 as OURS  # noqa: N812 - beside TensorFlow's

v1 = tensorflow.compat.v1
Program = Callable[[Any], Any]


def nodes(tf: Any, program: Program) -> list[tuple[Any, ...]]:
    """Return the nodes that a program makes."""
    v1.disable_resource_variables()
    with tf.Graph().as_default() as g:
        program(tf)
        return [_described(n) for n in g.as_graph_def().node]


_ATTRS = ("shapes", "component_types", "capacity", "seed", "seed2", "min_after_dequeue", "cancel_pending_enqueues",
          "shared_name", "record_bytes", "header_bytes", "compression_type", "skip_header_lines")  # fmt: skip


def _described(n: Any) -> tuple[Any, ...]:
    return (n.name, n.op, tuple(n.input), *(n.attr[a].SerializeToString() for a in _ATTRS if a in n.attr))


def queues(tf: Any) -> None:
    q = tf.RandomShuffleQueue(10, 2, [tf.int32, tf.float32], [[], [2]], seed=5)
    q.enqueue([1, [2.0, 3.0]])
    q.enqueue_many([[1], [[2.0, 3.0]]])
    q.dequeue()
    q.dequeue_many(3)
    q.dequeue_up_to(3)
    q.size()
    q.is_closed()
    q.close()
    tf.PriorityQueue(3, [tf.string], [[]]).dequeue()
    tf.PaddingFIFOQueue(3, [tf.string], [[None]]).dequeue_many(2)
    tf.RandomShuffleQueue(10, 2, tf.int32, shared_name="shared")


def readers(tf: Any) -> None:
    q = tf.FIFOQueue(3, tf.string)
    r = tf.TextLineReader(skip_header_lines=1)
    r.read(q)
    r.read_up_to(q, 4)
    r.num_records_produced()
    r.num_work_units_completed()
    r.reset()
    tf.TFRecordReader()
    tf.WholeFileReader()
    tf.IdentityReader()
    tf.FixedLengthRecordReader(3, header_bytes=2)
    tf.read_file("x")
    tf.write_file("x", "y")
    tf.matching_files(["x"])


def two(tf: Any) -> list[Any]:
    return [tf.constant(1), tf.constant([1.0, 2.0])]


NODES: dict[str, Program] = {
    "queues": queues,
    "readers": readers,
    "string_input_producer": lambda tf: tf.train.string_input_producer(["a", "b"], seed=3),
    "limited": lambda tf: tf.train.string_input_producer(["a", "b"], num_epochs=2, shuffle=False, capacity=7),
    "slice_input_producer": lambda tf: tf.train.slice_input_producer([tf.constant([1, 2]), tf.constant([1.0, 2.0])]),
    "range_input_producer": lambda tf: tf.train.range_input_producer(5, name="mine"),
    "input_producer": lambda tf: tf.train.input_producer([[1.0], [2.0]], shuffle=False),
    "batch": lambda tf: tf.train.batch(two(tf), 5, num_threads=2),
    "batch of a dict": lambda tf: tf.train.batch(
        dict(zip("ba", two(tf), strict=True)), 5, dynamic_pad=True, allow_smaller_final_batch=True
    ),
    "shuffle_batch": lambda tf: tf.train.shuffle_batch([tf.constant([1])], 5, 100, 10, seed=4, enqueue_many=True),
    "batch_join": lambda tf: tf.train.batch_join([[tf.constant(1)], [tf.constant(2)]], 5),
    "shuffle_batch_join": lambda tf: tf.train.shuffle_batch_join([[tf.constant(1)], [tf.constant(2)]], 5, 100, 10),
    "maybe_batch": lambda tf: tf.train.maybe_batch([tf.constant([1])], tf.constant([True]), 5, enqueue_many=True),
    "match_filenames_once": lambda tf: tf.train.match_filenames_once("parts/*"),
}  # fmt: skip


@pytest.mark.parametrize("name", NODES)
def test_the_nodes_are_tensorflows(name: str) -> None:
    ours, theirs = nodes(OURS, NODES[name]), nodes(v1, NODES[name])
    assert [n[:2] for n in ours] == [n[:2] for n in theirs]
    assert ours == theirs


# --- running ---
def run_batches(tf: Any, program: Program, most: int = 20) -> list[Any]:
    """Return the batches that a program of queues makes until its input ends."""
    found: list[Any] = []
    with tf.Graph().as_default():
        tf.set_random_seed(3)
        fetch = program(tf)
        with tf.Session() as sess:
            sess.run([tf.global_variables_initializer(), tf.local_variables_initializer()])
            coord = tf.train.Coordinator()
            threads = tf.train.start_queue_runners(sess=sess, coord=coord)
            try:
                while not coord.should_stop() and len(found) < most:
                    found.append(sess.run(fetch))
            except tf.errors.OutOfRangeError:
                found.append("end")
            finally:
                coord.request_stop()
            coord.join(threads, stop_grace_period_secs=20)
            assert not any(t.is_alive() for t in threads)
    return found


def same_batches(program: Program, most: int = 20) -> list[Any]:
    ours, theirs = run_batches(OURS, program, most), run_batches(v1, program, most)
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        assert type(a) is type(b)
        if isinstance(a, dict):
            assert sorted(a) == sorted(b)
            a, b = [a[k] for k in sorted(a)], [b[k] for k in sorted(b)]
        for x, y in zip(a, b, strict=True):
            np.testing.assert_array_equal(x, y)
    return ours


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    for k in range(3):
        (tmp_path / f"{k}.csv").write_text("".join(f"{k},{i},{i * 0.5}\n" for i in range(5)))
    return [str(tmp_path / f"{k}.csv") for k in range(3)]


def csv(tf: Any, names: list[str], **options: Any) -> list[Any]:
    queue = tf.train.string_input_producer(names, num_epochs=2, **options)
    _, line = tf.TextLineReader().read(queue)
    return list(tf.decode_csv(line, [[0], [0], [0.0]]))


def test_batches_of_lines(files: list[str]) -> None:
    found = same_batches(lambda tf: tf.train.batch(csv(tf, files, shuffle=False), 4))
    assert [type(f) for f in found] == [list] * 7 + [str]  # 30 lines: 7 batches of 4, and a rest
    same_batches(lambda tf: tf.train.batch(csv(tf, files, seed=8), 4, allow_smaller_final_batch=True))


def test_files_that_match(files: list[str]) -> None:
    def program(tf: Any) -> Any:
        names = tf.train.match_filenames_once(f"{Path(files[0]).parent}/*.csv")
        queue = tf.train.string_input_producer(names, num_epochs=1, shuffle=False)
        return tf.train.batch(list(tf.WholeFileReader().read(queue)), 3)

    assert len(same_batches(program)) == 2


def test_batches_of_a_dict(files: list[str]) -> None:
    found = same_batches(lambda tf: tf.train.batch(dict(zip("xyz", csv(tf, files, seed=1), strict=True)), 3))
    assert sorted(found[0]) == ["x", "y", "z"]


def test_slices_in_random_order() -> None:
    def program(tf: Any) -> Any:
        x = tf.constant(np.arange(12).reshape(6, 2), tf.int64)
        slices = tf.train.slice_input_producer([x, tf.constant(list("abcdef"))], num_epochs=3, seed=2)
        return tf.train.batch(slices, 3)

    assert len(same_batches(program)) == 7


def test_shuffled_batches_hold_every_example_once() -> None:
    for tf in (OURS, v1):
        x = np.arange(50)

        def program(tf: Any, x: Any = x) -> Any:
            queue = tf.train.input_producer(tf.constant(x), num_epochs=1, shuffle=False)
            return tf.train.shuffle_batch([queue.dequeue()], 5, 30, 10, seed=3, num_threads=2)

        found = run_batches(tf, program)
        assert found.pop() == "end"
        flat = [int(v) for b in found for v in b]
        assert sorted(flat) == list(range(50))
        assert flat != list(range(50))


def test_padded_batches() -> None:
    def program(tf: Any) -> Any:
        number = tf.train.range_input_producer(9, num_epochs=1, shuffle=False).dequeue()
        text = tf.train.string_input_producer(["x"], shuffle=False).dequeue()
        row = tf.fill(tf.reshape(number, [1]), number)
        return tf.train.batch([row, text], 3, dynamic_pad=True)

    assert len(same_batches(program)) == 4


def test_batch_join(files: list[str]) -> None:
    for tf in (OURS, v1):
        found = run_batches(tf, lambda tf: tf.train.batch_join([csv(tf, [f], shuffle=False) for f in files], 10))
        assert sum(len(f[0]) for f in found if not isinstance(f, str)) == 30


def test_static_shapes() -> None:
    for tf in (OURS, v1):
        with tf.Graph().as_default():
            a, b = tf.train.batch(two(tf), 5)
            assert (a.get_shape().as_list(), b.get_shape().as_list()) == ([5], [5, 2])
            rows = tf.constant([[1.0]])
            c = tf.train.shuffle_batch([rows], 5, 9, 3, enqueue_many=True, allow_smaller_final_batch=True)
            assert c.get_shape().as_list() == [None, 1]
            q = tf.FIFOQueue(3, [tf.int32, tf.string], names=["n", "s"], shapes=[[], [2]])
            assert {k: v.get_shape().as_list() for k, v in q.dequeue().items()} == {"n": [], "s": [2]}
            assert tf.FIFOQueue(3, tf.int32).dequeue().get_shape().ndims is None


def test_a_queue_with_names() -> None:
    with OURS.Graph().as_default():
        q = OURS.FIFOQueue(9, [OURS.int32, OURS.string], shapes=[[], []], names=["n", "s"])
        put = q.enqueue({"s": "x", "n": 3})
        both, size = q.dequeue_many(2), q.size()
        with pytest.raises(ValueError, match="must enqueue a dictionary"):
            q.enqueue([1, "x"])
        with pytest.raises(ValueError, match="do not match names"):
            q.enqueue({"n": 1})
        with OURS.Session() as sess:
            for _ in range(3):
                sess.run(put)
            found = sess.run(both)
            assert found["n"].tolist() == [3, 3]
            assert found["s"].tolist() == [b"x", b"x"]
            assert sess.run(size) == 1


def test_errors_are_those_that_programs_catch() -> None:
    with OURS.Graph().as_default():
        q = OURS.FIFOQueue(3, OURS.int32, shapes=[])
        put, get, close = q.enqueue(1), q.dequeue(), q.close()
        with OURS.Session() as sess:
            sess.run(close)
            with pytest.raises(OURS.errors.OutOfRangeError, match="is closed and has insufficient elements") as caught:
                sess.run(get)
            assert caught.value.op is get.op
            with pytest.raises(OURS.errors.CancelledError, match="is closed"):
                sess.run(put)
        with pytest.raises(ValueError, match="incompatible"):
            q.enqueue([[1, 2]])
        with pytest.raises(ValueError, match="requested dtype int32"):
            q.enqueue(OURS.constant(1.0))
    with pytest.raises(ValueError, match="non-null input tensor"):
        OURS.train.string_input_producer([])


def test_a_run_that_takes_what_it_adds() -> None:
    for tf in (OURS, v1):
        with tf.Graph().as_default():
            q = tf.FIFOQueue(3, tf.int32, shapes=[])
            get = q.dequeue()
            put = q.enqueue(5)
            with tf.Session() as sess:
                for _ in range(3):
                    assert sess.run([get, put]) == [5, None]


def test_closing_a_session_ends_its_threads() -> None:
    with OURS.Graph().as_default():
        batch = OURS.train.batch([OURS.constant(1)], 2, capacity=4)
        sess = OURS.Session()
        threads = OURS.train.start_queue_runners(sess=sess)  # no coordinator: they fill the queue, and wait
        assert sess.run(batch).tolist() == [1, 1]
        sess.close()
        for t in threads:
            t.join(20)
            assert not t.is_alive()


# --- coordinators ---
def test_a_coordinator_raises_what_a_thread_reported() -> None:
    for tf in (OURS, v1):
        coord = tf.train.Coordinator()

        def work(coord: Any = coord) -> None:
            with coord.stop_on_exception():
                raise KeyError("lost")

        threads = [threading.Thread(target=work)] + [
            threading.Thread(target=lambda c=coord: c.wait_for_stop()) for _ in range(3)
        ]
        for t in threads:
            t.start()
        with pytest.raises(KeyError, match="lost"):
            coord.join(threads)
        assert coord.should_stop()
        assert coord.joined
        coord.clear_stop()
        assert not coord.should_stop()


def raised(error: BaseException) -> Any:
    try:
        raise error
    except type(error):
        return sys.exc_info()


def test_the_end_of_input_is_a_clean_stop() -> None:
    for tf in (OURS, v1):
        coord = tf.train.Coordinator()
        coord.request_stop(raised(tf.errors.OutOfRangeError(None, None, "no more")))
        coord.join([])
        coord = tf.train.Coordinator(clean_stop_exception_types=(KeyError,))
        coord.request_stop(raised(tf.errors.OutOfRangeError(None, None, "no more")))
        with pytest.raises(tf.errors.OutOfRangeError):
            coord.join([])
        with pytest.raises(ValueError, match="late"):
            coord.request_stop(raised(ValueError("late")))


def test_threads_that_go_on_are_told() -> None:
    for tf in (OURS, v1):
        coord, end = tf.train.Coordinator(), threading.Event()
        thread = threading.Thread(target=end.wait, name="deaf")
        thread.start()
        coord.register_thread(thread)
        coord.request_stop()
        with pytest.raises(RuntimeError, match="Coordinator stopped with threads still running: deaf"):
            coord.join(stop_grace_period_secs=0.1)
        end.set()


def test_a_looper_goes_round_until_it_is_stopped() -> None:
    for tf in (OURS, v1):
        coord, seen = tf.train.Coordinator(), []
        tf.train.LooperThread.loop(coord, 0.001, lambda s=seen: s.append(1))
        deadline = time.monotonic() + 20
        while len(seen) < 3 and time.monotonic() < deadline:
            time.sleep(0.005)
        coord.request_stop()
        coord.join()
        assert len(seen) >= 3


# --- messages ---
def test_queue_runners_as_messages() -> None:
    made = []
    for tf in (OURS, v1):
        with tf.Graph().as_default() as g:
            with tf.name_scope("scope"):
                tf.train.batch([tf.constant(1)], 2, num_threads=2)
            runner = g.get_collection("queue_runners")[0]
            made.append(runner.to_proto().SerializeToString(deterministic=True))
            made.append(runner.to_proto("scope").SerializeToString(deterministic=True))
            assert runner.to_proto("other") is None
            again = tf.train.QueueRunner.from_proto(runner.to_proto("scope"), import_scope="scope")
            assert again.name == runner.name
            assert [o.name for o in again.enqueue_ops] == [o.name for o in runner.enqueue_ops]
    assert made[:2] == made[2:]
