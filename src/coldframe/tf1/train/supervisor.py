"""`Supervisor`: the older way to train with checkpoints; threads write checkpoints and summaries every few seconds."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final

from coldframe.formats import messages
from coldframe.tf1.dependencies import group
from coldframe.tf1.framework.graph import Graph, get_default_graph
from coldframe.tf1.framework.keys import GraphKeys
from coldframe.tf1.platform import logging
from coldframe.tf1.train.coordinator import Coordinator, LooperThread
from coldframe.tf1.train.scaffold import tables_initializer
from coldframe.tf1.train.session_manager import SessionManager
from coldframe.tf1.train.training_util import global_step as read_step
from coldframe.tf1.variable_lists import (
    global_variables,
    global_variables_initializer,
    local_variables_initializer,
    report_uninitialized_variables,
)

_DEFAULT: Final = 0


class Supervisor:
    """Makes sessions that go on from the latest checkpoint, and threads that write while a program trains.

    ::

        sv = Supervisor(logdir=folder)              the graph is complete, and finalized
        with sv.managed_session() as sess:
            while not sv.should_stop():
                sess.run(train_op)

    Args:
        graph: the graph; the default one otherwise.
        ready_op, ready_for_local_init_op, init_op, init_feed_dict, local_init_op, init_fn: as for `SessionManager`; 0:
            found in the graph's collections, or made.
        is_chief: whether it restores, initialises and writes.
        logdir: the folder of checkpoints and events; nothing is written without.
        summary_op: all summaries; 0: found, or made; None: the program writes its own.
        saver: the `Saver`; 0: found, or made.
        global_step: an integer scalar tensor; 0: found.
        save_summaries_secs, save_model_secs: how often to write; 0: never.
        recovery_wait_secs: seconds between looks at what is waited for.
        stop_grace_secs: how long threads may go on once a stop is requested.
        checkpoint_basename: of the files.
        session_manager: makes the sessions.
        summary_writer: 0: made in `logdir`; None: nothing is written.
        local_init_run_options: `RunOptions` for `local_init_op`.
    """

    USE_DEFAULT = _DEFAULT

    def __init__(
        self,
        graph: Graph | None = None,
        ready_op: Any = _DEFAULT,
        ready_for_local_init_op: Any = _DEFAULT,
        is_chief: bool = True,
        init_op: Any = _DEFAULT,
        init_feed_dict: Any = None,
        local_init_op: Any = _DEFAULT,
        logdir: Any = None,
        summary_op: Any = _DEFAULT,
        saver: Any = _DEFAULT,
        global_step: Any = _DEFAULT,
        save_summaries_secs: float = 120,
        save_model_secs: float = 600,
        recovery_wait_secs: float = 30,
        stop_grace_secs: float = 120,
        checkpoint_basename: str = "model.ckpt",
        session_manager: SessionManager | None = None,
        summary_writer: Any = _DEFAULT,
        init_fn: Callable[[Any], Any] | None = None,
        local_init_run_options: Any = None,
    ) -> None:
        from coldframe.tf1.meta_graph import export_meta_graph
        from coldframe.tf1.summary.nodes import merge_all
        from coldframe.tf1.summary.writer import FileWriter

        self._graph = get_default_graph() if graph is None else graph
        with self._graph.as_default():
            self._ready_op = self._part(ready_op, GraphKeys.READY_OP, report_uninitialized_variables)
            self._ready_for_local_init_op = self._part(
                ready_for_local_init_op, GraphKeys.READY_FOR_LOCAL_INIT_OP, lambda: None
            )
            self._init_op = self._part(init_op, GraphKeys.INIT_OP, global_variables_initializer)
            self._local_init_op = self._part(
                local_init_op, GraphKeys.LOCAL_INIT_OP,
                lambda: group(local_variables_initializer(), tables_initializer()),
            )  # fmt: skip
            self._saver = self._part(saver, GraphKeys.SAVERS, _new_saver)
            self._summary_op = self._part(summary_op, GraphKeys.SUMMARY_OP, merge_all)
            self._global_step = self._part(global_step, GraphKeys.GLOBAL_STEP, self._named_step)
            self._meta_graph_def = export_meta_graph(
                saver_def=self._saver.saver_def if self._saver else None, graph=self._graph
            )
        self._init_feed_dict, self._init_fn = init_feed_dict, init_fn
        self._coord, self._grace = Coordinator(), stop_grace_secs
        self._is_chief = is_chief
        self._logdir = os.fspath(logdir) if is_chief and logdir else None
        self._save_summaries_secs = save_summaries_secs if is_chief else None
        self._save_model_secs = save_model_secs if is_chief else None
        self._save_path = os.path.join(self._logdir, checkpoint_basename) if self._logdir else None
        self._writer: Any = None
        if is_chief and summary_writer is not _DEFAULT:
            self._writer = summary_writer
        elif self._logdir:
            self._writer = FileWriter(self._logdir)
        self._graph_added = False
        self._manager = session_manager or SessionManager(
            local_init_op=self._local_init_op, ready_op=self._ready_op,
            ready_for_local_init_op=self._ready_for_local_init_op, graph=self._graph,
            recovery_wait_secs=recovery_wait_secs, local_init_run_options=local_init_run_options,
        )  # fmt: skip
        if not is_chief:
            _check_devices(self._graph)
        self._graph.finalize()

    def _part(self, given: Any, key: str, make: Callable[[], Any]) -> Any:
        """Return a part of the graph: as given, else the first of a collection, else made and added to it."""
        if not (isinstance(given, int) and given == _DEFAULT):
            return given
        found = self._graph.get_collection(key)
        if found:
            return found[0]
        made = make()
        if made is not None:
            self._graph.add_to_collection(key, made)
        return made

    def _named_step(self) -> Any:
        try:
            step = self._graph.get_tensor_by_name("global_step:0")
        except KeyError:
            return None
        if not step.dtype.is_integer:
            logging.warning("Found 'global_step' is not an int type: %s", step.dtype)
            return None
        return step

    # --- its parts ------------------------------------------------------------------------------------------------
    @property
    def is_chief(self) -> bool:
        return self._is_chief

    @property
    def session_manager(self) -> SessionManager:
        return self._manager

    @property
    def coord(self) -> Coordinator:
        """The coordinator of its threads."""
        return self._coord

    @property
    def init_op(self) -> Any:
        return self._init_op

    @property
    def init_feed_dict(self) -> Any:
        return self._init_feed_dict

    @property
    def ready_op(self) -> Any:
        return self._ready_op

    @property
    def ready_for_local_init_op(self) -> Any:
        return self._ready_for_local_init_op

    @property
    def summary_writer(self) -> Any:
        return self._writer

    @property
    def summary_op(self) -> Any:
        return self._summary_op

    @property
    def save_summaries_secs(self) -> float | None:
        return self._save_summaries_secs

    @property
    def global_step(self) -> Any:
        return self._global_step

    @property
    def saver(self) -> Any:
        return self._saver

    @property
    def save_model_secs(self) -> float | None:
        return self._save_model_secs

    @property
    def save_path(self) -> str | None:
        """Where checkpoints are saved to; None without `logdir`."""
        return self._save_path

    # --- sessions -------------------------------------------------------------------------------------------------
    def prepare_or_wait_for_session(
        self, master: str = "", config: Any = None, wait_for_checkpoint: bool = False, max_wait_secs: float = 7200,
        start_standard_services: bool = True,
    ) -> Any:  # fmt: skip
        """Return a session that is ready to train, and start the threads that write and the queue runners.

        Args:
            master, config, wait_for_checkpoint, max_wait_secs: as for `SessionManager.prepare_session`.
            start_standard_services: whether to start threads.
        """
        self._coord.clear_stop()
        if self._writer is not None:
            self._writer.reopen()
        if self._is_chief:
            session = self._manager.prepare_session(
                master, init_op=self._init_op, saver=self._saver, checkpoint_dir=self._logdir,
                wait_for_checkpoint=wait_for_checkpoint, max_wait_secs=max_wait_secs, config=config,
                init_feed_dict=self._init_feed_dict, init_fn=self._init_fn,
            )  # fmt: skip
            self._write_graph()
            if start_standard_services:
                self.start_standard_services(session)
        else:
            session = self._manager.wait_for_session(master, config=config, max_wait_secs=max_wait_secs)
        if start_standard_services:
            self.start_queue_runners(session)
        return session

    @contextlib.contextmanager
    def managed_session(
        self, master: str = "", config: Any = None, start_standard_services: bool = True,
        close_summary_writer: bool = True,
    ) -> Iterator[Any]:  # fmt: skip
        """Give a session for a ``with`` block; at its end threads and the session end. Errors of threads are raised.

        The end of the input (`tf.errors.OutOfRangeError`) ends the block quietly.
        """
        session = None
        try:
            session = self.prepare_or_wait_for_session(
                master, config=config, start_standard_services=start_standard_services
            )
            yield session
        except Exception as e:
            self.request_stop(e)
        finally:
            try:
                self.stop(close_summary_writer=close_summary_writer)
            finally:
                if session is not None:
                    session.close()

    def _write_graph(self) -> None:
        from coldframe.tf1.graph_io import write_graph  # TextFormat is slow to import

        if self._logdir:
            write_graph(self._graph.as_graph_def(add_shapes=True), self._logdir, "graph.pbtxt")
        if self._writer is not None and not self._graph_added:
            self._writer.add_graph(self._graph)
            self._writer.add_meta_graph(self._meta_graph_def)
            self._graph_added = True

    # --- threads --------------------------------------------------------------------------------------------------
    def start_standard_services(self, sess: Any) -> list[LooperThread] | None:
        """Start the threads that write checkpoints, summaries and steps per second; return them.

        Raises:
            RuntimeError: `is_chief` is False.
        """
        if not self._is_chief:
            raise RuntimeError("Only chief supervisor can start standard services: others write nothing.")
        if not self._logdir:
            logging.warning("Standard services need a 'logdir' passed to the Supervisor")
            return None
        if self._global_step is not None and self._writer is not None:
            note = messages.SessionLog(status=messages.SessionLog.START)
            self._writer.add_session_log(note, read_step(sess, self._global_step))
        threads: list[LooperThread] = []
        if self._save_summaries_secs and self._writer is not None:
            if self._summary_op is not None:
                threads.append(SVSummaryThread(self, sess))
            if self._global_step is not None:
                threads.append(SVStepCounterThread(self, sess))
        if self._saver is not None and self._save_model_secs:
            threads.append(SVTimerCheckpointThread(self, sess))
        for t in threads:
            t.start()
        return threads

    def start_queue_runners(self, sess: Any, queue_runners: Sequence[Any] | None = None) -> list[Any]:
        """Start the threads of queue runners, those of the graph by default; return them."""
        runners = self._graph.get_collection(GraphKeys.QUEUE_RUNNERS) if queue_runners is None else queue_runners
        return [t for qr in runners for t in qr.create_threads(sess, coord=self._coord, daemon=True, start=True)]

    def loop(
        self, timer_interval_secs: float | None, target: Callable[..., Any], args: Any = None, kwargs: Any = None
    ) -> LooperThread:
        """Start a thread that calls `target` over and over, every so many seconds; return it."""
        looper = LooperThread(self._coord, timer_interval_secs, target=target, args=args, kwargs=kwargs)
        looper.start()
        return looper

    def stop(
        self, threads: Iterable[Any] | None = None, close_summary_writer: bool = True, ignore_live_threads: bool = False
    ) -> None:
        """End all threads and the event file.

        Raises:
            RuntimeError: threads go on, unless `ignore_live_threads` is said.
            Exception: what a thread failed with.
        """
        self._coord.request_stop()
        try:
            self._coord.join(threads, stop_grace_period_secs=self._grace, ignore_live_threads=ignore_live_threads)
        finally:
            if close_summary_writer and self._writer is not None:
                self._writer.add_session_log(messages.SessionLog(status=messages.SessionLog.STOP))
                self._writer.close()
                self._graph_added = False

    def request_stop(self, ex: Any = None) -> None:
        """Ask all threads to stop; `ex` is raised by `stop`. See `Coordinator.request_stop`."""
        self._coord.request_stop(ex)

    def should_stop(self) -> bool:
        """Return whether a stop was requested."""
        return self._coord.should_stop()

    def stop_on_exception(self) -> contextlib.AbstractContextManager[None]:
        """Request a stop where the ``with`` block raises."""
        return self._coord.stop_on_exception()

    def wait_for_stop(self) -> None:
        """Wait until a stop is requested."""
        self._coord.wait_for_stop()

    def summary_computed(self, sess: Any, summary: Any, global_step: Any = None) -> None:
        """Write a summary that the program computed, at the present step unless another is given.

        Raises:
            RuntimeError: there is no writer.
        """
        if self._writer is None:
            raise RuntimeError("Writing a summary requires a summary writer.")
        if global_step is None and self._global_step is not None:
            global_step = read_step(sess, self._global_step)
        self._writer.add_summary(summary, global_step)

    PrepareSession = prepare_or_wait_for_session
    StartQueueRunners = start_queue_runners
    StartStandardServices = start_standard_services
    Stop = stop
    RequestStop = request_stop
    Loop = loop
    ShouldStop = should_stop
    StopOnException = stop_on_exception
    WaitForStop = wait_for_stop
    SummaryComputed = summary_computed


def _new_saver() -> Any:
    from coldframe.tf1.train.saver import Saver

    return Saver() if global_variables() else None


def _check_devices(graph: Graph) -> None:
    for variable in graph.get_collection(GraphKeys.GLOBAL_VARIABLES):
        if not variable.op.device:
            raise ValueError(f"When using replicas, all Variables must have their device set: {variable.op.name}")


class SVSummaryThread(LooperThread):
    """Writes summaries every so many seconds."""

    def __init__(self, sv: Supervisor, sess: Any) -> None:
        super().__init__(sv.coord, sv.save_summaries_secs)
        self._sv, self._sess = sv, sess

    def run_loop(self) -> None:
        sv = self._sv
        wanted = [sv.summary_op] if sv.global_step is None else [sv.summary_op, sv.global_step]
        summary, *step = self._sess.run(wanted)
        if sv.summary_writer is not None:
            sv.summary_writer.add_summary(summary, *step)


class SVStepCounterThread(LooperThread):
    """Writes the steps per second every so many seconds."""

    def __init__(self, sv: Supervisor, sess: Any, step_counter: Any = None) -> None:
        super().__init__(sv.coord, sv.save_summaries_secs)
        self._sv, self._sess = sv, sess
        self._counter = sv.global_step if step_counter is None else step_counter
        self._tag = f"{self._counter.op.name}/sec"

    def start_loop(self) -> None:
        self._at, self._last = time.time(), read_step(self._sess, self._counter)

    def run_loop(self) -> None:
        at, step = time.time(), read_step(self._sess, self._counter)
        rate = (step - self._last) / (at - self._at) if at > self._at else float("inf")
        self._at, self._last = at, step
        if self._sv.summary_writer is not None:
            value = messages.Summary.Value(tag=self._tag, simple_value=rate)
            self._sv.summary_writer.add_summary(messages.Summary(value=[value]), step)
        logging.info("%s: %g", self._tag, rate)


class SVTimerCheckpointThread(LooperThread):
    """Writes a checkpoint every so many seconds."""

    def __init__(self, sv: Supervisor, sess: Any) -> None:
        super().__init__(sv.coord, sv.save_model_secs)
        self._sv, self._sess = sv, sess

    def run_loop(self) -> None:
        sv = self._sv
        logging.info("Saving checkpoint to path %s", sv.save_path)
        sv.saver.save(self._sess, sv.save_path, global_step=sv.global_step)
        if sv.summary_writer is not None and sv.global_step is not None:
            note = messages.SessionLog(status=messages.SessionLog.CHECKPOINT, checkpoint_path=sv.save_path)
            sv.summary_writer.add_session_log(note, read_step(self._sess, sv.global_step))


__all__ = ["Supervisor"]
