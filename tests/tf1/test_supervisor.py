"""Supervisors: sessions that go on, threads that write and end, as TensorFlow's."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import coldframe.tf1 as tf1
from monitored_programs import both, counting, events, files, model, plain, refusal

pytestmark = pytest.mark.filterwarnings("ignore:Attempting to use a closed FileWriter")
Program = Callable[[Any, str], Any]


def trains_and_goes_on(tf: Any, folder: str) -> Any:
    steps = []
    for _ in range(2):
        with tf.Graph().as_default() as graph:
            op = model(tf)
            sv = tf.train.Supervisor(logdir=folder, save_model_secs=0, save_summaries_secs=0)
            with sv.managed_session() as sess:
                while not sv.should_stop():
                    step = plain(sess.run([op, sv.global_step])[1])
                    steps.append(plain(sess.run(sv.global_step)))
                    if steps[-1] % 3 == 0:
                        path = sv.saver.save(sess, sv.save_path, global_step=sv.global_step)
                        sv.request_stop()
            assert step >= 0
            steps.append((path.rpartition("/")[2], graph.finalized, sv.should_stop()))
    return steps, [f for f in files(folder) if "events" not in f]


def queue_feeds(tf: Any, folder: str) -> Any:
    names = tf.train.string_input_producer(["a", "b"], num_epochs=1, shuffle=False)
    item = names.dequeue()
    sv = tf.train.Supervisor()
    seen = []
    with sv.managed_session() as sess:
        while not sv.should_stop():
            seen.append(plain(sess.run(item)))
    return [str(s) for s in seen], sv.save_path, sv.summary_writer


def raises_what_failed(tf: Any, folder: str) -> Any:
    counting(tf)
    sv = tf.train.Supervisor(logdir=folder, save_summaries_secs=0, save_model_secs=0)

    def program() -> None:
        with sv.managed_session():
            raise KeyError("of the program")

    return refusal(program), sv.should_stop()


def own_summaries(tf: Any, folder: str) -> Any:
    _, count = counting(tf)
    summary = tf.summary.scalar("mine", 1.0)
    sv = tf.train.Supervisor(logdir=folder, summary_op=None, save_model_secs=0, save_summaries_secs=0)
    with sv.managed_session() as sess:
        sess.run(count)
        sv.summary_computed(sess, sess.run(summary))
        sv.summary_computed(sess, sess.run(summary), 9)
    none = tf.train.Supervisor(graph=sess.graph, summary_op=None)
    return events(tf, folder), refusal(lambda: none.summary_computed(None, b"")), sv.summary_op


def workers(tf: Any, folder: str) -> Any:
    with tf.device("/cpu:0"):
        step = tf.train.get_or_create_global_step()
    tf.add_to_collection("init_op", tf.no_op(name="mine"))
    sv = tf.train.Supervisor(is_chief=False, local_init_op=step.initializer, ready_for_local_init_op=None)
    with sv.managed_session() as sess:
        value = plain(sess.run(step))
        refused = refusal(lambda: sv.start_standard_services(sess))[0]
    return value, refused, sv.init_op.name, sv.is_chief, sv.save_model_secs, sv.save_summaries_secs


PROGRAMS: list[Program] = [
    trains_and_goes_on, queue_feeds, raises_what_failed, own_summaries, workers
]  # fmt: skip


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.__name__)
def test_supervisors_do_what_tensorflows_do(program: Program, tmp_path: Path) -> None:
    ours, theirs = both(program, tmp_path)
    assert ours == theirs
    assert ours


def test_threads_write_at_once_and_every_so_many_seconds(tmp_path: Path) -> None:
    """TensorFlow's threads cannot be asked where eager execution is on: facts of its code."""
    tf, folder, calls = tf1, str(tmp_path), []
    with tf.Graph().as_default():
        op = model(tf)
        sv = tf.train.Supervisor(logdir=folder, save_model_secs=1000, save_summaries_secs=1000)
        with sv.managed_session() as sess:
            sv.loop(None, lambda: (calls.append(1), time.sleep(0.01)))
            names = sorted(type(t).__name__ for t in sv.coord._registered)
            sess.run(op)
            for _ in range(500):
                if calls and tf.train.latest_checkpoint(folder):
                    break
                time.sleep(0.01)
            sv.request_stop()
            sv.wait_for_stop()
    assert names == ["LooperThread", "SVStepCounterThread", "SVSummaryThread", "SVTimerCheckpointThread"]
    assert calls
    assert "model.ckpt-1.index" in files(folder) or "model.ckpt-0.index" in files(folder)
    kinds = {(kind, str(detail)) for _, kind, detail in events(tf, folder)}
    assert {("graph_def", "None"), ("session_log", "(1, '')"), ("session_log", "(2, '')"), ("summary", "['loss']"),
            ("session_log", "(3, 'model.ckpt')"), ("summary", "['global_step/sec']")} <= kinds  # fmt: skip


def test_without_a_folder_nothing_is_written() -> None:
    with tf1.Graph().as_default():
        counting(tf1)
        sv = tf1.train.Supervisor()
        with sv.managed_session() as sess:
            assert sv.start_standard_services(sess) is None


def test_replicas_need_devices() -> None:
    with tf1.Graph().as_default():
        counting(tf1)
        with pytest.raises(ValueError, match="must have their device set: global_step"):
            tf1.train.Supervisor(is_chief=False)


def test_it_has_the_older_names_too() -> None:
    sv = tf1.train.Supervisor
    assert (sv.PrepareSession, sv.Stop, sv.ShouldStop) == (sv.prepare_or_wait_for_session, sv.stop, sv.should_stop)
