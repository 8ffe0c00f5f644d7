"""Programs that train in monitored sessions; run with TensorFlow and with coldframe, they leave the same trace."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow

import coldframe.tf1 as ours

v1 = tensorflow.compat.v1


def both(program: Any, folder: Path) -> tuple[Any, Any]:
    """Return what `program(tf, folder)` returns with coldframe, and with TensorFlow."""
    v1.disable_resource_variables()
    results = []
    for tf, name in ((ours, "ours"), (v1, "theirs")):
        place = folder / name
        place.mkdir(parents=True)
        with tf.Graph().as_default():
            results.append(program(tf, str(place)))
    return results[0], results[1]


def recorder(tf: Any, trace: list[Any], name: str, fetches: Any = None) -> Any:
    """Return a hook that writes its calls into `trace`."""

    class Recorder(tf.train.SessionRunHook):  # type: ignore[misc]
        def begin(self) -> None:
            trace.append((name, "begin", tf.get_default_graph().finalized))

        def after_create_session(self, session: Any, coord: Any) -> None:
            trace.append((name, "after_create_session", tf.get_default_graph().finalized, coord.should_stop()))

        def before_run(self, run_context: Any) -> Any:
            trace.append((name, "before_run", run_context.stop_requested, run_context.original_args.feed_dict))
            return None if fetches is None else tf.train.SessionRunArgs(fetches)

        def after_run(self, run_context: Any, run_values: Any) -> None:
            trace.append((name, "after_run", plain(run_values.results)))

        def end(self, session: Any) -> None:
            trace.append((name, "end"))

    return Recorder()


def listener(tf: Any, trace: list[Any], stop_at: int = -1) -> Any:
    """Return a listener of checkpoints that writes its calls into `trace`."""

    class Listener(tf.train.CheckpointSaverListener):  # type: ignore[misc]
        def begin(self) -> None:
            trace.append("begin")

        def before_save(self, session: Any, global_step_value: int) -> None:
            trace.append(("before_save", int(global_step_value)))

        def after_save(self, session: Any, global_step_value: int) -> Any:
            trace.append(("after_save", int(global_step_value)))
            return global_step_value == stop_at

        def end(self, session: Any, global_step_value: int) -> None:
            trace.append(("end", int(global_step_value)))

    return Listener()


def counting(tf: Any) -> tuple[Any, Any]:
    """Return the global step, and an operation that counts it up."""
    step = tf.train.get_or_create_global_step()
    with tf.control_dependencies([late(tf)]):
        return step, tf.assign_add(step, 1)


def late(tf: Any) -> Any:
    """Return an operation that takes a while: TensorFlow's hooks read the step at any time while a run counts it up."""
    return tf.py_func(lambda: (time.sleep(0.003), np.float32(0))[1], [], tf.float32, name="late")


def model(tf: Any) -> Any:
    """Return the training operation of a small model, with a summary of its loss."""
    x = tf.constant([[1.0, 2.0]])
    w = tf.get_variable("w", [2, 1], initializer=tf.zeros_initializer())
    loss = tf.reduce_mean(tf.square(tf.matmul(x, w) - 3.0), name="the_loss")
    tf.summary.scalar("loss", loss)
    step = tf.train.get_or_create_global_step()
    with tf.control_dependencies([late(tf)]):
        return tf.train.GradientDescentOptimizer(0.05).minimize(loss, global_step=step)


def train(session: Any, op: Any, most: int = 100) -> int:
    """Run `op` until the session says stop; return how often."""
    for count in range(most):
        if session.should_stop():
            return count
        session.run(op)
    return most


def plain(value: Any) -> Any:
    """Return a value as Python's own types."""
    return value.tolist() if hasattr(value, "tolist") else value


def files(folder: str) -> list[str]:
    """Return the names of files, those of events without their time."""
    return sorted(n.partition("tfevents")[0] for n in os.listdir(folder))


def events(tf: Any, folder: str) -> list[tuple[Any, ...]]:
    """Return the events of the one event file in a folder: step, kind, tags or status."""
    [name] = [n for n in os.listdir(folder) if "tfevents" in n]
    found: list[tuple[Any, ...]] = []
    for e in tf.train.summary_iterator(os.path.join(folder, name)):
        kind = e.WhichOneof("what")
        detail: Any = {
            "summary": lambda e=e: [v.tag for v in e.summary.value],
            "session_log": lambda e=e: (e.session_log.status, os.path.basename(e.session_log.checkpoint_path)),
        }.get(kind, lambda: None)()
        found.append((e.step, kind, detail))
    return found


def refusal(action: Any) -> tuple[str, str]:
    """Return the class and the first line of what `action` raises."""
    try:
        action()
    except Exception as e:
        return type(e).__name__, str(e).splitlines()[0]
    return "", ""


@contextlib.contextmanager
def logged(tf: Any) -> Iterator[list[str]]:
    """Collect what is logged inside."""
    import logging

    lines: list[str] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage())

    logger, handler = logging.getLogger("tensorflow"), Handler()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield lines
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
