"""Hooks of monitored sessions: called in TensorFlow's order, writing at the same steps, stopping by the same rules."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import coldframe.tf1 as tf1
from monitored_programs import (
    both,
    counting,
    events,
    files,
    listener,
    logged,
    model,
    plain,
    recorder,
    refusal,
    train,
)

Program = Callable[[Any, str], Any]


def order_of_calls(tf: Any, folder: str) -> Any:
    _step, count = counting(tf)
    trace: list[Any] = []
    hooks = [recorder(tf, trace, "a"), recorder(tf, trace, "b", {"two": tf.constant(2), "list": [tf.constant(3.0)]})]
    with tf.train.MonitoredSession(hooks=[*hooks, tf.train.StopAtStepHook(last_step=2)]) as sess:
        train(sess, count)
    return trace


def order_of_training_session(tf: Any, folder: str) -> Any:
    _, count = counting(tf)
    trace: list[Any] = []
    with tf.train.MonitoredTrainingSession(
        checkpoint_dir=folder, save_checkpoint_steps=2, log_step_count_steps=None,
        hooks=[tf.train.StopAtStepHook(3), recorder(tf, trace, "usual")],
        chief_only_hooks=[recorder(tf, trace, "chief")],
    ) as sess:  # fmt: skip
        train(sess, count)
    return trace, files(folder)


def checkpoints_and_events(tf: Any, folder: str) -> Any:
    op = model(tf)
    with tf.train.MonitoredTrainingSession(
        checkpoint_dir=folder, save_checkpoint_steps=4, save_summaries_steps=3, log_step_count_steps=2,
        hooks=[tf.train.StopAtStepHook(last_step=10)],
    ) as sess:  # fmt: skip
        runs = train(sess, op)
    state = tf.train.get_checkpoint_state(folder)
    kept = [p.rpartition("/")[2] for p in state.all_model_checkpoint_paths]
    return runs, files(folder), events(tf, folder), kept


def goes_on(tf: Any, folder: str) -> Any:
    runs = []
    for _ in range(3):
        with tf.Graph().as_default():
            op = model(tf)
            with tf.train.MonitoredTrainingSession(
                checkpoint_dir=folder, save_checkpoint_steps=2, hooks=[tf.train.StopAtStepHook(num_steps=3)],
            ) as sess:  # fmt: skip
                runs.append(train(sess, op))
    state = tf.train.get_checkpoint_state(folder)
    value = tf.train.load_variable(folder, "w").round(4).tolist()
    return runs, [p.rpartition("/")[2] for p in state.all_model_checkpoint_paths], value


def no_graph_files(tf: Any, folder: str) -> Any:
    _, count = counting(tf)
    with tf.train.MonitoredTrainingSession(
        checkpoint_dir=folder, save_checkpoint_steps=2, save_graph_def=False, save_summaries_steps=0,
        log_step_count_steps=0, hooks=[tf.train.StopAtStepHook(2)],
    ) as sess:  # fmt: skip
        train(sess, count)
    return files(folder)


def listeners(tf: Any, folder: str) -> Any:
    _step, count = counting(tf)
    trace: list[Any] = []
    hook = tf.train.CheckpointSaverHook(
        folder, save_steps=2, saver=tf.train.Saver(), listeners=[listener(tf, trace, stop_at=4)],
        checkpoint_basename="other",
    )  # fmt: skip
    with tf.train.SingularMonitoredSession(hooks=[hook]) as sess:
        runs = train(sess, count)
    return runs, trace, files(folder)


def saver_of_collection(tf: Any, folder: str) -> Any:
    _, count = counting(tf)
    hook = tf.train.CheckpointSaverHook(folder, save_steps=5)
    with tf.train.MonitoredSession(hooks=[hook, tf.train.StopAtStepHook(1)]) as sess:
        train(sess, count)
    return files(folder)


def logs_tensors(tf: Any, folder: str) -> Any:
    step, count = counting(tf)
    tf.multiply(tf.to_float(step.read_value() if hasattr(step, "read_value") else step), 0.0, name="zero")
    shown: list[Any] = []
    hooks = [
        tf.train.LoggingTensorHook({"z": "zero", "a": tf.constant([1.0, 2.5])}, every_n_iter=2, at_end=True),
        tf.train.LoggingTensorHook(["zero:0"], at_end=True),
        tf.train.LoggingTensorHook({"b": tf.constant(1)}, every_n_iter=3, formatter=lambda v: f"formatted {v['b']}"),
    ]  # fmt: skip
    with logged(tf) as lines, tf.train.MonitoredSession(hooks=[*hooks, tf.train.StopAtStepHook(5)]) as sess:
        train(sess, count)
    shown = [line.partition(" (")[0] for line in lines]
    return [line for line in shown if " = " in line or "formatted" in line]


def not_a_number(tf: Any, folder: str) -> Any:
    _step, count = counting(tf)
    loss = tf.where(tf.equal(count, 2), tf.constant(float("nan")), tf.constant(1.0))
    with tf.train.MonitoredSession(hooks=[tf.train.NanTensorHook(loss, fail_on_nan_loss=False)]) as sess:
        stopped = train(sess, count)
    trace: list[Any] = []

    def failing() -> None:
        hooks = [tf.train.NanTensorHook(loss), recorder(tf, trace, "other")]
        with tf.train.MonitoredSession(hooks=hooks) as sess:
            train(sess, count)

    return stopped, refusal(failing), [t[1] for t in trace]


def final_ops(tf: Any, folder: str) -> Any:
    _, count = counting(tf)
    x = tf.placeholder(tf.float32, [])
    hook = tf.train.FinalOpsHook({"y": x * 2, "n": count}, {x: 4.0})
    with tf.train.MonitoredSession(hooks=[hook, tf.train.StopAtStepHook(3)]) as sess:
        train(sess, count)
    return {k: plain(v) for k, v in hook.final_ops_values.items()}


def feeds(tf: Any, folder: str) -> Any:
    x = tf.placeholder(tf.float32, [], name="x")
    y = tf.placeholder(tf.float32, [], name="y")
    fed = iter([1.0, 2.0, 3.0])
    hook = tf.train.FeedFnHook(lambda: {x: next(fed)})
    with tf.train.MonitoredSession(hooks=[hook]) as sess:
        values = [plain(sess.run(x)), plain(sess.run([x, y], {y: 7.0})), refusal(lambda: sess.run(x, {x: 1.0}))]
    same = [tf.train.FeedFnHook(lambda: {x: 1.0}), tf.train.FeedFnHook(lambda: {x: 1.0})]
    with tf.train.MonitoredSession(hooks=same) as sess:
        kinds = [values[2], refusal(lambda: sess.run(x))]
    return values[:2], [(kind, text.partition(" Conflict")[0]) for kind, text in kinds]


def summaries(tf: Any, folder: str) -> Any:
    _, count = counting(tf)
    ops = [tf.summary.scalar("a", 1.0), tf.summary.scalar("b", 2.0)]
    hook = tf.train.SummarySaverHook(save_steps=2, output_dir=folder, summary_op=ops)
    with tf.train.MonitoredSession(hooks=[hook, tf.train.StopAtStepHook(5)]) as sess:
        train(sess, count)
    return events(tf, folder)


def waits(tf: Any, folder: str) -> Any:
    step, count = counting(tf)
    scaffold = tf.train.Scaffold(init_fn=lambda scaffold, session: step.load(5, session))
    trace: list[Any] = []
    creator = tf.train.ChiefSessionCreator(scaffold)
    hooks = [tf.train.GlobalStepWaiterHook(5), tf.train.GlobalStepWaiterHook(0), recorder(tf, trace, "r", step)]
    with tf.train.MonitoredSession(creator, hooks=[*hooks, tf.train.StopAtStepHook(num_steps=2)]) as sess:
        runs = train(sess, count)
    return runs, len(trace)


PROGRAMS: list[Program] = [
    order_of_calls, order_of_training_session, checkpoints_and_events, goes_on, no_graph_files, listeners,
    saver_of_collection, logs_tensors, not_a_number, final_ops, feeds, summaries, waits,
]  # fmt: skip


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.__name__)
def test_hooks_do_what_tensorflows_do(program: Program, tmp_path: Path) -> None:
    ours, theirs = both(program, tmp_path)
    assert ours == theirs
    assert ours


def refusals(tf: Any, folder: str) -> Any:
    t, s, op = tf.train, tf.train.Scaffold(), tf.constant(b"")
    no_step = [t.StopAtStepHook(1), t.CheckpointSaverHook(folder, save_steps=1), t.StepCounterHook(),
               t.SummarySaverHook(save_steps=1, summary_op=op)]  # fmt: skip
    two = tf.split([1, 2], 2, name="two")
    del two
    return [
        refusal(lambda: t.StopAtStepHook()),
        refusal(lambda: t.StopAtStepHook(1, 2)),
        refusal(lambda: t.LoggingTensorHook([])),
        refusal(lambda: t.LoggingTensorHook([], every_n_iter=1, every_n_secs=1)),
        refusal(lambda: t.LoggingTensorHook([], every_n_iter=0)),
        refusal(lambda: t.LoggingTensorHook(["two"], every_n_iter=1).begin()),
        refusal(lambda: t.CheckpointSaverHook(folder)),
        refusal(lambda: t.CheckpointSaverHook(folder, 1, 1)),
        refusal(lambda: t.CheckpointSaverHook(folder, 1, saver=1, scaffold=2)),
        refusal(lambda: t.StepCounterHook(None)),
        refusal(lambda: t.StepCounterHook(1, 1)),
        refusal(lambda: t.SummarySaverHook(1)),
        refusal(lambda: t.SummarySaverHook(1, scaffold=s, summary_op=op)),
        refusal(lambda: t.SummarySaverHook(summary_op=op)),
        *(refusal(h.begin) for h in no_step),
    ]


def test_arguments_are_refused_as_tensorflow_refuses_them(tmp_path: Path) -> None:
    ours, theirs = both(refusals, tmp_path)
    assert ours == theirs
    assert all(kind for kind, _ in ours)


def test_a_timer_tells_when_it_is_time() -> None:
    timer = tf1.train.SecondOrStepTimer(every_steps=3)
    assert timer.should_trigger_for_step(1)
    assert timer.update_last_triggered_step(1) == (None, None)
    assert [timer.should_trigger_for_step(s) for s in (1, 2, 3, 4, 5)] == [False, False, False, True, True]
    assert timer.update_last_triggered_step(5)[1] == 4
    assert timer.last_triggered_step() == 5
    by_time = tf1.train.SecondOrStepTimer(every_secs=1000.0)
    by_time.update_last_triggered_step(1)
    assert not by_time.should_trigger_for_step(10**6)
    at_once = tf1.train.SecondOrStepTimer(every_secs=0.0)
    at_once.update_last_triggered_step(1)
    assert at_once.should_trigger_for_step(2)
    at_once.reset()
    assert at_once.last_triggered_step() is None


def test_a_step_that_does_not_move_is_reported(tmp_path: Path) -> None:
    with tf1.Graph().as_default():
        counting(tf1)
        still = tf1.constant(1)
        with logged(tf1) as lines, tf1.train.MonitoredSession(hooks=[tf1.train.StepCounterHook()]) as sess:
            for _ in range(3):
                sess.run(still)
    assert [line for line in lines if "stands at 0" in line]


def test_the_profiler_says_that_it_records_nothing(tmp_path: Path) -> None:
    with tf1.Graph().as_default():
        _, count = counting(tf1)
        hooks = [tf1.train.ProfilerHook(save_steps=1, output_dir=str(tmp_path)), tf1.train.StopAtStepHook(2)]
        with logged(tf1) as lines, tf1.train.MonitoredSession(hooks=hooks) as sess:
            assert train(sess, count) == 2
    assert [line for line in lines if "ProfilerHook writes no timeline" in line]
    with pytest.raises(ValueError, match="Either every_secs or every_steps"):
        tf1.train.ProfilerHook()


def test_a_hook_is_given_the_savers_it_needs(tmp_path: Path) -> None:
    with tf1.Graph().as_default() as graph:
        counting(tf1)
        hook = tf1.train.CheckpointSaverHook(str(tmp_path), save_steps=1)
        with pytest.raises(RuntimeError, match="No items in collection savers"):
            hook._chosen_saver()
        for _ in range(2):
            graph.add_to_collection("savers", tf1.train.Saver())
        with pytest.raises(RuntimeError, match="More than one item in collection savers"):
            hook._chosen_saver()
        with pytest.raises(RuntimeError, match="More than one item in collection savers"):
            tf1.train.Scaffold().finalize()
