"""Hooks that stop, watch, count and report."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from coldframe.formats import messages
from coldframe.tf1 import errors
from coldframe.tf1.framework.graph import get_default_graph
from coldframe.tf1.platform import logging
from coldframe.tf1.summary.writer import FileWriterCache
from coldframe.tf1.train.hook_timer import NeverTriggerTimer, SecondOrStepTimer, required_global_step
from coldframe.tf1.train.session_run_hook import SessionRunArgs, SessionRunContext, SessionRunHook, SessionRunValues
from coldframe.tf1.train.training_util import get_global_step

_WAIT_SECS = 0.5  # between looks at the global step while another thread trains
_WAIT_LOG_STEPS = 1000


class StopAtStepHook(SessionRunHook):
    """Ends the loop at a step.

    Args:
        num_steps: how many steps to take from where the first session stands.
        last_step: the global step to end at.

    Raises:
        ValueError: not exactly one is given.
    """

    def __init__(self, num_steps: int | None = None, last_step: int | None = None) -> None:
        if num_steps is None and last_step is None:
            raise ValueError("One of num_steps or last_step must be specified.")
        if num_steps is not None and last_step is not None:
            raise ValueError("Only one of num_steps or last_step can be specified.")
        self._num_steps, self._last_step = num_steps, last_step

    def begin(self) -> None:
        self._step = required_global_step("StopAtStepHook")

    def after_create_session(self, session: Any, coord: Any) -> None:
        if self._last_step is None:
            self._last_step = int(session.run(self._step)) + (self._num_steps or 0)

    def before_run(self, run_context: SessionRunContext) -> SessionRunArgs:
        return SessionRunArgs(self._step)

    def after_run(self, run_context: SessionRunContext, run_values: SessionRunValues) -> None:
        # What the run read may be from before its own step, so near the end it is read again.
        last = self._last_step or 0
        if run_values.results + 1 >= last and run_context.session.run(self._step) >= last:
            run_context.request_stop()


class LoggingTensorHook(SessionRunHook):
    """Logs the values of tensors.

    Args:
        tensors: names or tensors, in a list or by the tags to log them under.
        every_n_iter: log every so many runs.
        every_n_secs: log every so many seconds.
        at_end: log when the loop has ended, too, or only then where neither of the others is given.
        formatter: makes the text of a dict of values by tag.

    Raises:
        ValueError: both of `every_n_iter` and `every_n_secs` are given, or none of the three, or no positive number.
    """

    def __init__(
        self, tensors: Any, every_n_iter: int | None = None, every_n_secs: float | None = None, at_end: bool = False,
        formatter: Callable[[dict[Any, Any]], str] | None = None,
    ) -> None:  # fmt: skip
        only_at_end = at_end and every_n_iter is None and every_n_secs is None
        if not only_at_end and (every_n_iter is None) == (every_n_secs is None):
            raise ValueError("either at_end and/or exactly one of every_n_iter and every_n_secs must be provided.")
        if every_n_iter is not None and every_n_iter <= 0:
            raise ValueError(f"invalid every_n_iter={every_n_iter}.")
        self._tensors = dict(tensors) if isinstance(tensors, Mapping) else {t: t for t in tensors}
        self._order = sorted(tensors) if isinstance(tensors, Mapping) else list(tensors)
        self._formatter, self._at_end = formatter, at_end
        self._timer = (
            NeverTriggerTimer() if only_at_end else SecondOrStepTimer(every_secs=every_n_secs, every_steps=every_n_iter)
        )

    def begin(self) -> None:
        self._timer.reset()
        self._runs = 0
        self._current = {tag: _one_tensor(tensor) for tag, tensor in self._tensors.items()}

    def before_run(self, run_context: SessionRunContext) -> SessionRunArgs | None:
        self._due = self._timer.should_trigger_for_step(self._runs)
        return SessionRunArgs(self._current) if self._due else None

    def after_run(self, run_context: SessionRunContext, run_values: SessionRunValues) -> None:
        if self._due:
            self._log(run_values.results)
        self._runs += 1

    def end(self, session: Any) -> None:
        if self._at_end:
            self._log(session.run(self._current))

    def _log(self, values: dict[Any, Any]) -> None:
        seconds, _ = self._timer.update_last_triggered_step(self._runs)
        with np.printoptions(suppress=True):
            if self._formatter:
                logging.info(self._formatter(values))
                return
            text = ", ".join(f"{tag} = {values[tag]}" for tag in self._order)
        logging.info("%s", text if seconds is None else f"{text} ({seconds:.3f} sec)")


def _one_tensor(item: Any) -> Any:
    """Return the tensor or operation that a program names; the name of an operation stands for its one output.

    Raises:
        ValueError: it is of another graph, or an operation of several outputs.
    """
    graph = get_default_graph()
    if not isinstance(item, str):
        if getattr(item, "graph", None) is not graph:
            raise ValueError(f"Passed {item} should have graph attribute that is equal to current graph {graph}.")
        return item
    if ":" in item:
        return graph.as_graph_element(item)
    tensor = graph.as_graph_element(f"{item}:0")
    if len(tensor.op.outputs) > 1:
        raise ValueError(f"Name {item} is ambiguous, as this `Operation` has multiple outputs (at least 2).")
    return tensor


class NanLossDuringTrainingError(RuntimeError):
    """The loss is not a number."""

    def __str__(self) -> str:
        return "NaN loss during training."


class NanTensorHook(SessionRunHook):
    """Ends the loop when the loss is not a number.

    Args:
        loss_tensor: the loss, a scalar.
        fail_on_nan_loss: raise `NanLossDuringTrainingError`, instead of only ending the loop.
    """

    def __init__(self, loss_tensor: Any, fail_on_nan_loss: bool = True) -> None:
        self._loss, self._fail = loss_tensor, fail_on_nan_loss

    def before_run(self, run_context: SessionRunContext) -> SessionRunArgs:
        return SessionRunArgs(self._loss)

    def after_run(self, run_context: SessionRunContext, run_values: SessionRunValues) -> None:
        if not np.isnan(run_values.results):
            return
        logging.log(logging.ERROR if self._fail else logging.WARN, "Model diverged with loss = NaN.")
        if self._fail:
            raise NanLossDuringTrainingError
        run_context.request_stop()


class StepCounterHook(SessionRunHook):
    """Logs how many steps are taken per second, and writes it as a summary called ``global_step/sec``.

    Args:
        every_n_steps, every_n_secs: how often; exactly one, every 100 steps by default.
        output_dir: the folder of the event file.
        summary_writer: the writer, instead of `output_dir`.

    Raises:
        ValueError: both are given, or none.
    """

    def __init__(
        self, every_n_steps: int | None = 100, every_n_secs: float | None = None, output_dir: Any = None,
        summary_writer: Any = None,
    ) -> None:  # fmt: skip
        if (every_n_steps is None) == (every_n_secs is None):
            raise ValueError("exactly one of every_n_steps and every_n_secs should be provided.")
        self._timer = SecondOrStepTimer(every_steps=every_n_steps, every_secs=every_n_secs)
        self._writer, self._folder = summary_writer, output_dir
        self._last_step: int | None = None
        self._warned = 0

    def begin(self) -> None:
        if self._writer is None and self._folder:
            self._writer = FileWriterCache.get(self._folder)
        self._step = required_global_step("StepCounterHook")
        self._tag = f"{get_global_step().op.name}/sec"

    def before_run(self, run_context: SessionRunContext) -> SessionRunArgs:
        return SessionRunArgs(self._step)

    def after_run(self, run_context: SessionRunContext, run_values: SessionRunValues) -> None:
        read = run_values.results
        if self._timer.should_trigger_for_step(read + 1):
            step = run_context.session.run(self._step)
            if self._timer.should_trigger_for_step(step):
                seconds, steps = self._timer.update_last_triggered_step(step)
                if seconds is not None and steps is not None:
                    self._log_and_record(steps, seconds, step)
        if read == self._last_step and self._warned < 5:
            self._warned += 1
            logging.warning(
                "The global step stands at %s: pass tf.train.get_global_step() to Optimizer.minimize or "
                "Optimizer.apply_gradients to count steps.", read,
            )  # fmt: skip
        self._last_step = read

    def _log_and_record(self, elapsed_steps: int, elapsed_time: float, global_step: int) -> None:
        rate = elapsed_steps / elapsed_time if elapsed_time else float("inf")
        if self._writer is not None:
            value = messages.Summary.Value(tag=self._tag, simple_value=rate)
            self._writer.add_summary(messages.Summary(value=[value]), global_step)
        logging.info("%s: %g", self._tag, rate)


class GlobalStepWaiterHook(SessionRunHook):
    """Lets the first run wait until the global step, which something else counts, has come to a number.

    Args:
        wait_until_step: the number; 0 or less: do not wait.
    """

    def __init__(self, wait_until_step: int) -> None:
        self._until = wait_until_step

    def begin(self) -> None:
        self._started = self._until <= 0
        self._step = required_global_step("GlobalStepWaiterHook")

    def before_run(self, run_context: SessionRunContext) -> None:
        logged: int | None = None
        while not self._started:
            step = run_context.session.run(self._step)
            if step >= self._until:
                self._started = True
                return
            if logged is None or step - logged > _WAIT_LOG_STEPS:
                logging.info("Waiting for global step %d; it is %d.", self._until, step)
                logged = step
            time.sleep(_WAIT_SECS)


class FinalOpsHook(SessionRunHook):
    """Runs something when the loop has ended; `final_ops_values` has the values.

    Args:
        final_ops: what to run.
        final_ops_feed_dict: values to feed.
    """

    def __init__(self, final_ops: Any, final_ops_feed_dict: Any = None) -> None:
        self._ops, self._feeds = final_ops, final_ops_feed_dict
        self._values: Any = None

    @property
    def final_ops_values(self) -> Any:
        """The values, once the loop has ended."""
        return self._values

    def end(self, session: Any) -> None:
        if self._ops is None:
            return
        try:
            self._values = session.run(self._ops, feed_dict=self._feeds)
        except (errors.OutOfRangeError, StopIteration):
            logging.warning(
                "What FinalOpsHook runs reads from an input that has ended. The value of a metric should depend on "
                "variables only, and its update on the input."
            )
            raise


class FeedFnHook(SessionRunHook):
    """Feeds each run with what a function returns.

    Args:
        feed_fn: a function without arguments that returns a feed dict.
    """

    def __init__(self, feed_fn: Callable[[], Any]) -> None:
        self.feed_fn = feed_fn

    def before_run(self, run_context: SessionRunContext) -> SessionRunArgs:
        return SessionRunArgs(fetches=None, feed_dict=self.feed_fn())


class ProfilerHook(SessionRunHook):
    """Takes the place of TensorFlow's: says that it records nothing, and lets programs run on.

    Args:
        save_steps, save_secs: how often; exactly one.
        output_dir, show_dataflow, show_memory: not used.
    """

    def __init__(
        self, save_steps: int | None = None, save_secs: float | None = None, output_dir: Any = "",
        show_dataflow: bool = True, show_memory: bool = False,
    ) -> None:  # fmt: skip
        SecondOrStepTimer(every_secs=save_secs, every_steps=save_steps)

    def begin(self) -> None:
        required_global_step("ProfilerHook")
        logging.warning("ProfilerHook writes no timeline: runs of coldframe keep no RunMetadata.")


__all__ = [
    "FeedFnHook", "FinalOpsHook", "GlobalStepWaiterHook", "LoggingTensorHook", "NanLossDuringTrainingError",
    "NanTensorHook", "ProfilerHook", "StepCounterHook", "StopAtStepHook",
]  # fmt: skip
