"""Monitored sessions: started, stopped, replaced and closed as TensorFlow's; a killed training goes on where it was."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import coldframe.tf1 as tf1
from monitored_programs import both, counting, files, logged, plain, recorder, refusal, train

Program = Callable[[Any, str], Any]
SRC = Path(__file__).parents[2] / "src"


def step_functions(tf: Any, folder: str) -> Any:
    step, count = counting(tf)
    trace: list[Any] = []

    def step_fn(step_context: Any) -> Any:
        before = plain(step_context.session.run(step))
        after = plain(step_context.run_with_hooks(count))
        if after == 2:
            step_context.request_stop()
        return before, after

    class Holder:
        def method(self, step_context: Any) -> Any:
            return step_fn(step_context)

    def wrong(context: Any) -> None:
        """Has a parameter of another name."""

    with tf.train.MonitoredSession(hooks=[recorder(tf, trace, "r")]) as sess:
        values = [sess.run_step_fn(step_fn)]
        refused = refusal(lambda: sess.run_step_fn(wrong))[0]
        sess.run_step_fn(Holder().method)
        values.append("not reached")
    return values, refused, trace, sess.should_stop(), sess.graph is None


def end_of_input(tf: Any, folder: str) -> Any:
    batches = tf.data.Dataset.range(3).make_one_shot_iterator().get_next()
    trace: list[Any] = []
    seen = []
    with tf.train.MonitoredSession(hooks=[recorder(tf, trace, "r", batches)]) as sess:
        while not sess.should_stop():
            sess.run(batches)
            seen.append(1)
    return len(seen), trace


def other_errors(tf: Any, folder: str) -> Any:
    trace: list[Any] = []
    x = tf.placeholder(tf.float32, [])

    def program() -> None:
        with tf.train.MonitoredSession(hooks=[recorder(tf, trace, "r")]) as sess:
            sess.run(bad, {x: 0.0})

    bad = tf.check_numerics(1.0 / x, "is infinite")
    return refusal(program)[0], [t[1] for t in trace], tf.get_default_graph().finalized


def queues(tf: Any, folder: str) -> Any:
    names = tf.train.string_input_producer(["a", "b", "c"], num_epochs=2, shuffle=False)
    batch = tf.train.batch([names.dequeue()], 2)
    seen = []
    with tf.train.MonitoredSession() as sess:
        while not sess.should_stop():
            seen.append(plain(sess.run(batch)))
    return seen


def failing_queue(tf: Any, folder: str) -> Any:
    queue = tf.FIFOQueue(10, [tf.float32], [[]])
    values = tf.train.limit_epochs(tf.constant(2.0), num_epochs=1)
    bad = tf.check_numerics(values / tf.constant(0.0), "is infinite")
    tf.train.add_queue_runner(tf.train.QueueRunner(queue, [queue.enqueue([bad])]))
    out = queue.dequeue()

    def program() -> None:
        with tf.train.MonitoredSession() as sess:
            while not sess.should_stop():
                sess.run(out)

    return refusal(program)[0]


def lost_sessions(tf: Any, folder: str) -> Any:
    step, count = counting(tf)
    trace: list[Any] = []

    class Loses(tf.train.SessionRunHook):  # type: ignore[misc]
        left = 2

        def after_run(self, run_context: Any, run_values: Any) -> None:
            if plain(run_context.session.run(step)) == 5 and self.left:
                self.left -= 1
                kind = tf.errors.AbortedError if self.left else tf.errors.UnavailableError
                raise kind(None, None, "gone")

    hooks = [Loses(), recorder(tf, trace, "r", step), tf.train.StopAtStepHook(last_step=7)]
    with tf.train.MonitoredTrainingSession(
        checkpoint_dir=folder, save_checkpoint_steps=2, hooks=hooks, log_step_count_steps=0
    ) as sess:
        runs = train(sess, count)
    calls = [t[1] for t in trace]
    return runs, calls.count("after_create_session"), calls.count("before_run"), calls.count("end"), files(folder)


def single_sessions(tf: Any, folder: str) -> Any:
    step, count = counting(tf)

    class Loses(tf.train.SessionRunHook):  # type: ignore[misc]
        def after_run(self, run_context: Any, run_values: Any) -> None:
            raise tf.errors.AbortedError(None, None, "gone")

    with tf.train.SingularMonitoredSession() as sess:
        raw = sess.raw_session()
        values = [plain(raw.run(step)), plain(sess.run(count)), type(raw).__name__, sess.should_stop()]

    def program() -> None:
        with tf.train.SingularMonitoredSession(hooks=[Loses()]) as sess:
            sess.run(count)

    return values, sess.raw_session(), refusal(program)


def stopping(tf: Any, folder: str) -> Any:
    _, count = counting(tf)
    sess = tf.train.MonitoredSession(hooks=[tf.train.StopAtStepHook(num_steps=1)])
    before = sess.should_stop()
    sess.run(count)
    after = [sess.should_stop(), refusal(lambda: sess.run(count)), tf.get_default_graph().finalized]
    sess.close()
    return before, after, sess.should_stop(), tf.get_default_graph().finalized, refusal(sess.close)[0]


def scaffolds(tf: Any, folder: str) -> Any:
    x = tf.placeholder(tf.float32, [])
    v = tf.get_variable("v", initializer=x)
    local = tf.get_variable("local", initializer=x + 1.0, collections=["local_variables"])
    plainly = tf.train.Scaffold()
    scaffold = tf.train.Scaffold(
        init_feed_dict={x: 3.0}, local_init_feed_dict={x: 4.0},
        init_fn=lambda s, session: session.run(doubled), copy_from_scaffold=plainly,
    )  # fmt: skip
    doubled = tf.assign(v, v * 2.0)
    with tf.train.MonitoredSession(tf.train.ChiefSessionCreator(scaffold)) as sess:
        values = [plain(a) for a in sess.run([v, local])]
        refused = refusal(lambda: tf.constant(1))
    graph = tf.get_default_graph()
    keys = ["init_op", "ready_op", "ready_for_local_init_op", "local_init_op", "summary_op", "savers"]
    counts = [len(graph.get_collection(k)) for k in keys]
    graph.add_to_collection("ready_op", tf.constant(1))
    names = [scaffold.init_op.name, scaffold.ready_op.name, scaffold.local_init_op.name]
    return values, refused, counts, names, refusal(lambda: tf.train.Scaffold().finalize())[0]


def unready(tf: Any, folder: str) -> Any:
    tf.get_variable("a", [], initializer=tf.zeros_initializer())
    b = tf.get_variable("b", [], initializer=tf.zeros_initializer())
    creator = tf.train.ChiefSessionCreator(tf.train.Scaffold(init_op=b.initializer))
    kind, text = refusal(lambda: tf.train.MonitoredSession(creator))
    return kind, text.rpartition("error: ")[2]


def managers(tf: Any, folder: str) -> Any:
    v = tf.get_variable("v", [], initializer=tf.ones_initializer())
    saver, init = tf.train.Saver(), tf.global_variables_initializer()
    ready = tf.report_uninitialized_variables()
    manager = tf.train.SessionManager(ready_op=ready, recovery_wait_secs=0.01)
    seen: list[Any] = [refusal(lambda: manager.prepare_session(""))]
    sess, there = manager.recover_session("", saver, checkpoint_dir=folder)
    seen.append(there)
    sess = manager.prepare_session("", init_op=init, saver=saver, checkpoint_dir=folder)
    sess.run(tf.assign(v, 5.0))
    path = saver.save(sess, folder + "/m", global_step=7)
    sess.close()
    sess, there = manager.recover_session("", saver, checkpoint_dir=folder)
    seen += [there, plain(sess.run(v)), [p[-3:] for p in saver.last_checkpoints]]
    sess = manager.prepare_session("", init_op=init, saver=saver, checkpoint_filename_with_path=path)
    seen.append(plain(sess.run(v)))
    seen.append(refusal(lambda: manager.prepare_session(
        "", init, saver, checkpoint_dir=folder, checkpoint_filename_with_path=path)))  # fmt: skip
    seen.append(refusal(lambda: manager.wait_for_session("", max_wait_secs=0.1)))
    seen.append(refusal(lambda: tf.train.SessionManager(ready_for_local_init_op=ready))[0])
    local = tf.train.SessionManager(local_init_op=tf.no_op(), ready_for_local_init_op=ready, recovery_wait_secs=0.01)
    seen.append(refusal(lambda: local.prepare_session("", init_op=tf.no_op()))[0])
    initialised = tf.train.SessionManager(local_init_op=init, ready_op=ready)
    seen.append(plain(initialised.wait_for_session("").run(v)))
    return seen


def from_collections(tf: Any, folder: str) -> Any:
    """Tables and saved-model initializers are run where the graph has some."""
    step, _count = counting(tf)
    n = tf.get_variable("n", [], initializer=tf.zeros_initializer(), collections=["local_variables"])
    tf.add_to_collection("table_initializer", tf.assign_add(step, 10))
    with tf.train.MonitoredSession() as sess:
        return [plain(v) for v in sess.run([step, n])]


PROGRAMS: list[Program] = [
    step_functions, end_of_input, other_errors, queues, failing_queue, lost_sessions, single_sessions, stopping,
    scaffolds, unready, managers, from_collections,
]  # fmt: skip


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.__name__)
def test_sessions_do_what_tensorflows_do(program: Program, tmp_path: Path) -> None:
    ours, theirs = both(program, tmp_path)
    assert ours == theirs
    assert ours


def graph_of_training(tf: Any, folder: str) -> Any:
    _, count = counting(tf)
    tf.get_variable("v", [2], initializer=tf.zeros_initializer())
    tf.get_variable("l", [], initializer=tf.zeros_initializer(), collections=["local_variables"])
    with tf.train.MonitoredTrainingSession(checkpoint_dir=folder, hooks=[tf.train.StopAtStepHook(1)]) as sess:
        train(sess, count)
    nodes = tf.get_default_graph().as_graph_def().node
    # How the step is read differs: TensorFlow looks each time whether it has a value, which it has.
    return [(n.name, n.op) for n in nodes if not n.name.startswith("global_step/")]


def test_nodes_are_tensorflows(tmp_path: Path) -> None:
    ours, theirs = both(graph_of_training, tmp_path)
    assert ours == theirs


def test_checkpoints_go_from_one_to_the_other(tmp_path: Path) -> None:
    from monitored_programs import model, v1

    v1.disable_resource_variables()
    curve = []
    for turn, tf in enumerate((tf1, v1, tf1, v1)):
        with tf.Graph().as_default():
            op = model(tf)
            with tf.train.MonitoredTrainingSession(
                checkpoint_dir=str(tmp_path), save_checkpoint_steps=2, hooks=[tf.train.StopAtStepHook(num_steps=2)]
            ) as sess:
                while not sess.should_stop():
                    curve.append(plain(sess.run([op, "the_loss:0"])[1]))
        assert tf1.train.latest_checkpoint(str(tmp_path)) == f"{tmp_path}/model.ckpt-{2 * turn + 2}"
    with tf1.Graph().as_default():
        op = model(tf1)
        with tf1.train.MonitoredSession() as sess:
            whole = [plain(sess.run([op, "the_loss:0"])[1]) for _ in range(8)]
    assert curve == pytest.approx(whole, rel=1e-5, abs=1e-9)


def test_a_damaged_checkpoint_is_passed_over(tmp_path: Path) -> None:
    def session() -> Any:
        return tf1.train.MonitoredTrainingSession(
            checkpoint_dir=str(tmp_path), save_checkpoint_steps=2, hooks=[tf1.train.StopAtStepHook(num_steps=2)]
        )

    for _ in range(2):
        with tf1.Graph().as_default():
            _, count = counting(tf1)
            with session() as sess:
                train(sess, count)
    data = tmp_path / "model.ckpt-4.data-00000-of-00001"
    data.write_bytes(bytes(len(data.read_bytes())))
    with tf1.Graph().as_default(), logged(tf1) as lines:
        step, count = counting(tf1)
        with session() as sess:
            assert sess.run(step) == 2
    assert [line for line in lines if "is damaged" in line and "model.ckpt-2 is restored instead" in line]
    for file in tmp_path.glob("model.ckpt-*.data*"):
        file.write_bytes(b"\xff" * 8)
    with tf1.Graph().as_default():
        counting(tf1)
        with pytest.raises(tf1.errors.DataLossError):
            session()


def test_another_graph_than_the_checkpoints_is_refused(tmp_path: Path) -> None:
    for more in (False, True):
        with tf1.Graph().as_default():
            _, count = counting(tf1)
            if more:
                tf1.get_variable("more", [])
                with pytest.raises(tf1.errors.NotFoundError, match="more"):
                    tf1.train.MonitoredTrainingSession(checkpoint_dir=str(tmp_path))
            else:
                with tf1.train.MonitoredTrainingSession(checkpoint_dir=str(tmp_path)) as sess:
                    sess.run(count)


_ENDLESS = """
import sys
import coldframe.tf1 as tf
folder, last = sys.argv[1], int(sys.argv[2])
tf.set_random_seed(3)
v = tf.get_variable("v", [1000], initializer=tf.zeros_initializer())
step = tf.train.get_or_create_global_step()
noise = tf.random_normal([1000])
loss = tf.reduce_mean(tf.square(v - noise))
op = tf.train.AdamOptimizer(0.01).minimize(loss, global_step=step)
with tf.train.MonitoredTrainingSession(checkpoint_dir=folder, save_checkpoint_steps=3, log_step_count_steps=0,
                                       hooks=[tf.train.StopAtStepHook(last_step=last)]) as sess:
    while not sess.should_stop():
        sess.run(op)
        print("step", flush=True)
"""


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(SRC), "COLDFRAME_ENGINE": "reference"}


def test_a_training_that_is_killed_goes_on_to_the_same_end(tmp_path: Path) -> None:
    """Killed with SIGKILL again and again, wherever it is, it ends with the weights of one that was not."""
    last = 60
    program = [sys.executable, "-c", _ENDLESS]
    subprocess.run([*program, str(tmp_path / "whole"), str(last)], env=_environment(), check=True, capture_output=True)
    folder, kills = tmp_path / "killed", 0
    for steps, wait in ((4, 0.0), (7, 0.004), (11, 0.01)):
        with subprocess.Popen(
            [*program, str(folder), str(last)], env=_environment(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        ) as child:
            assert child.stdout is not None
            for _ in range(steps):
                child.stdout.readline()
            time.sleep(wait)
            if child.poll() is None:
                child.send_signal(signal.SIGKILL)
                kills += 1
    assert kills
    subprocess.run([*program, str(folder), str(last)], env=_environment(), check=True, capture_output=True)
    names = [name for name, _ in tf1.train.list_variables(str(tmp_path / "whole"))]
    assert {"v", "v/Adam", "v/Adam_1", "global_step"} <= set(names)
    for name in names:
        ours, whole = (tf1.train.load_variable(str(tmp_path / d), name) for d in ("killed", "whole"))
        assert plain(ours) == plain(whole), name
    assert len(list(folder.glob("*.index"))) <= 5
