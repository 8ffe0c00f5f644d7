"""`MonitoredSession`: a session with hooks around each run, threads that end with it, and recovery where it is lost.

::

    MonitoredSession ──► _Attempt ──► Session          AbortedError, UnavailableError: a new attempt, restored from
      (the loop)          (hooks, coordinator,         the latest checkpoint, takes the place of the lost one
                           queue runners)
"""

from __future__ import annotations

import abc
import inspect
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import Any, Final, Self

from coldframe.formats import messages
from coldframe.tf1 import errors
from coldframe.tf1.framework.graph import Graph, get_default_graph
from coldframe.tf1.framework.keys import GraphKeys
from coldframe.tf1.platform import logging
from coldframe.tf1.train.coordinator import Coordinator
from coldframe.tf1.train.hooks import StepCounterHook
from coldframe.tf1.train.queue_runner import start_queue_runners
from coldframe.tf1.train.saving_hooks import CheckpointSaverHook, SummarySaverHook
from coldframe.tf1.train.scaffold import Scaffold
from coldframe.tf1.train.session_manager import SessionManager
from coldframe.tf1.train.session_run_hook import SessionRunArgs, SessionRunContext, SessionRunHook, SessionRunValues

USE_DEFAULT: Final = object()
_LOST: Final = (errors.AbortedError, errors.UnavailableError)
_QUIET: Final = (errors.OutOfRangeError, StopIteration)


# --- who makes sessions -------------------------------------------------------------------------------------------
class SessionCreator(abc.ABC):
    """Makes the sessions of a `MonitoredSession`."""

    @abc.abstractmethod
    def create_session(self) -> Any:
        """Return a session that is ready to train."""


class ChiefSessionCreator(SessionCreator):
    """Makes sessions by restoring or initialising.

    Args:
        scaffold: the parts of the graph that start a session; made where they are missing.
        master, config: as for `SessionManager.prepare_session`.
        checkpoint_dir: the folder whose latest checkpoint to restore.
        checkpoint_filename_with_path: the checkpoint to restore, instead.
    """

    def __init__(
        self, scaffold: Scaffold | None = None, master: str = "", config: Any = None, checkpoint_dir: Any = None,
        checkpoint_filename_with_path: Any = None,
    ) -> None:  # fmt: skip
        self._scaffold = scaffold or Scaffold()
        self._master, self._config = master, config
        self._folder, self._path = checkpoint_dir, checkpoint_filename_with_path

    def create_session(self) -> Any:
        s = self._scaffold.finalize()
        return _manager(s).prepare_session(
            self._master, init_op=s.init_op, saver=s.saver, checkpoint_dir=self._folder,
            checkpoint_filename_with_path=self._path, config=self._config, init_feed_dict=s.init_feed_dict,
            init_fn=s.init_fn,
        )  # fmt: skip


class WorkerSessionCreator(SessionCreator):
    """Makes sessions by waiting until the model is ready.

    Args:
        scaffold: the parts of the graph that start a session; made where they are missing.
        master, config: as for `SessionManager.wait_for_session`.
        max_wait_secs: how long to wait.
    """

    def __init__(
        self, scaffold: Scaffold | None = None, master: str = "", config: Any = None, max_wait_secs: float = 1800
    ) -> None:
        self._scaffold = scaffold or Scaffold()
        self._master, self._config, self._max_wait_secs = master, config, max_wait_secs

    def create_session(self) -> Any:
        manager = _manager(self._scaffold.finalize())
        return manager.wait_for_session(self._master, config=self._config, max_wait_secs=self._max_wait_secs)


def _manager(scaffold: Scaffold) -> SessionManager:
    return SessionManager(
        local_init_op=scaffold.local_init_op, local_init_feed_dict=scaffold.local_init_feed_dict,
        ready_op=scaffold.ready_op, ready_for_local_init_op=scaffold.ready_for_local_init_op,
    )  # fmt: skip


# --- one session, from its making to its end ----------------------------------------------------------------------
class _Attempt:
    """A session with its coordinator and hooks."""

    def __init__(self, creator: SessionCreator, hooks: Sequence[SessionRunHook], grace: float) -> None:
        self.session = creator.create_session()
        self._hooks, self._grace = hooks, grace
        self._ended = False
        self.coord = Coordinator(clean_stop_exception_types=[])
        if get_default_graph().get_collection(GraphKeys.QUEUE_RUNNERS):
            start_queue_runners(sess=self.session, coord=self.coord)
        for hook in hooks:
            hook.after_create_session(self.session, self.coord)

    def should_stop(self) -> bool:
        """Whether a hook or a thread asked for the end; raise what a thread failed with."""
        self.coord.raise_requested_exception()
        return self._ended or self.coord.should_stop()

    def run(self, fetches: Any, feed_dict: Any = None, options: Any = None, run_metadata: Any = None) -> Any:
        """Run once, with hooks around it; an error of a thread that lost the session goes before the run's own."""
        try:
            return self._run(fetches, feed_dict, options, run_metadata)
        except _LOST:
            raise
        except Exception as e:
            failed = self.coord.requested_exception
            if isinstance(failed, _LOST):
                raise failed from e
            raise

    def _run(self, fetches: Any, feed_dict: Any, options: Any, run_metadata: Any) -> Any:
        if self._ended:
            raise RuntimeError("Run called even after should_stop requested.")
        context = SessionRunContext(SessionRunArgs(fetches, feed_dict), self.session)
        options = messages.RunOptions() if options is None else options
        run_metadata = messages.RunMetadata() if run_metadata is None else run_metadata
        asked: list[Any] = [fetches]
        places: list[int | None] = []
        hook_feeds: dict[Any, Any] = {}
        for hook in self._hooks:
            request = hook.before_run(context)
            places.append(None)
            if request is None:
                continue
            if request.fetches is not None:
                places[-1] = len(asked)
                asked.append(request.fetches)
            if request.feed_dict:
                _refuse_both(hook_feeds, request.feed_dict, "Same tensor is fed by two hooks.")
                hook_feeds.update(request.feed_dict)
            if request.options:
                _merge_options(options, request.options)
        if hook_feeds and feed_dict:
            _refuse_both(feed_dict, hook_feeds, "Same tensor is fed by a SessionRunHook and user.")
        feeds = {**hook_feeds, **(feed_dict or {})}
        values = self.session.run(tuple(asked), feed_dict=feeds, options=options, run_metadata=run_metadata)
        for hook, at in zip(self._hooks, places, strict=True):
            hook.after_run(context, SessionRunValues(None if at is None else values[at], options, run_metadata))
        if context.stop_requested:
            self._ended = True
        return values[0]

    def close(self) -> None:
        """End the threads and the session; raise what a thread failed with."""
        self.coord.request_stop()
        try:
            self.coord.join(stop_grace_period_secs=self._grace, ignore_live_threads=True)
        finally:
            self.session.close()


def _refuse_both(feeds: Any, more: Any, what: str) -> None:
    both = [key for key in more if key in feeds]
    if both:
        raise RuntimeError(f"{what} Conflict(s): {both}")


def _merge_options(options: Any, more: Any) -> None:
    for field in ("trace_level", "timeout_in_ms", "inter_op_thread_pool", "output_partition_graphs",
                  "report_tensor_allocations_upon_oom"):  # fmt: skip
        setattr(options, field, max(getattr(options, field), getattr(more, field)))


# --- the loop's session -------------------------------------------------------------------------------------------
class StepContext:
    """What the function given to `run_step_fn` works with."""

    def __init__(self, session: Any, run_with_hooks: Callable[..., Any]) -> None:
        self._session, self._run = session, run_with_hooks

    @property
    def session(self) -> Any:
        """The session itself, for runs without hooks."""
        return self._session

    def run_with_hooks(self, *args: Any, **kwargs: Any) -> Any:
        """Run as `MonitoredSession.run` does."""
        return self._run(*args, **kwargs)

    def request_stop(self) -> None:
        """End the loop: leaves the function and the ``with`` block."""
        raise StopIteration("step_fn has requested the iterations to stop.")


class _Monitored:
    """What the two kinds of monitored sessions share; `recover` says whether lost sessions are replaced."""

    def __init__(
        self, creator: SessionCreator | None, hooks: Iterable[SessionRunHook] | None, grace: float, recover: bool
    ) -> None:
        self._graph = get_default_graph()
        self._was_finalized = self._graph.finalized
        self._creator = creator or ChiefSessionCreator()
        self._hooks = list(hooks or ())
        self._grace, self._recover = grace, recover
        for hook in self._hooks:
            hook.begin()
        self._attempt: _Attempt | None = self._new_attempt()

    def _new_attempt(self) -> _Attempt:
        while True:
            try:
                with self._graph.as_default():
                    return _Attempt(self._creator, self._hooks, self._grace)
            except _LOST as e:
                if not self._recover:
                    raise
                logging.info("A session was lost while it was made; another one is made. Error: %s", e)

    def _replace(self, lost: _Attempt, error: BaseException) -> None:
        """Put a new attempt in the place of one whose session is lost."""
        logging.info("The session was lost; a new one is made from the latest checkpoint. Error: %s", error)
        try:
            lost.close()
        except _LOST as e:
            logging.info("The same error ended a thread: %s", e)
        self._attempt = self._new_attempt()

    def _open(self) -> _Attempt:
        if self._attempt is None:
            raise RuntimeError("Session is already closed.")
        return self._attempt

    @property
    def graph(self) -> Graph | None:
        """The graph; None once closed."""
        return None if self._attempt is None else self._graph

    def run(self, fetches: Any, feed_dict: Any = None, options: Any = None, run_metadata: Any = None) -> Any:
        """Run as `Session.run`, with hooks around it.

        Raises:
            RuntimeError: it is closed, a hook has ended the loop, or a tensor is fed twice.
            tf.errors.OpError: as `Session.run`; where the session is lost, the run is repeated in a new one.
        """
        return self._repeated(lambda a: a.run(fetches, feed_dict, options, run_metadata))

    def run_step_fn(self, step_fn: Callable[..., Any]) -> Any:
        """Return what ``step_fn(step_context)`` returns, called again where the session is lost. See `StepContext`.

        Raises:
            ValueError: the function has other parameters.
        """
        names = list(inspect.signature(step_fn).parameters)
        if names not in (["step_context"], ["self", "step_context"]):
            raise ValueError(
                "`step_fn` may either have one `step_context` argument, or `self` and `step_context` arguments if it's "
                f"an instance method. Got {tuple(names)} instead."
            )
        return self._repeated(lambda a: step_fn(StepContext(a.session, a.run)))

    def _repeated(self, action: Callable[[_Attempt], Any]) -> Any:
        while True:
            attempt = self._open()
            try:
                return action(attempt)
            except _LOST as e:
                if not self._recover:
                    raise
                self._replace(attempt, e)

    def should_stop(self) -> bool:
        """Return whether the loop is to end: a hook or a thread asked for it, or the session is closed."""
        if self._attempt is None:
            return True
        if not self._recover:
            return self._attempt.should_stop()
        try:
            return self._attempt.should_stop()
        except _LOST as e:
            self._replace(self._attempt, e)
            return False
        except Exception as e:  # `close` raises it
            logging.debug("a thread failed: %s", e)
            return True

    def close(self) -> None:
        """Tell the hooks that the loop has ended, end threads and the session, and let the graph be changed again.

        Raises:
            RuntimeError: it is closed already.
            Exception: what a hook or a thread failed with.
        """
        self._close(failed=False)

    def _close(self, failed: bool) -> None:
        attempt = self._open()
        try:
            if not failed:
                with self._graph.as_default():
                    for hook in self._hooks:
                        hook.end(attempt.session)
        finally:
            try:
                attempt.close()
            finally:
                self._attempt = None
                if not self._was_finalized:
                    self._graph._unsafe_unfinalize()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        quiet = kind is None or issubclass(kind, _QUIET)  # the input, or the step function, ended the loop
        self._close(failed=not quiet)
        return quiet


class MonitoredSession(_Monitored):
    """A session with hooks around each run, replaced where it is lost; a context manager.

    The ``with`` block ends quietly where the input ends (`tf.errors.OutOfRangeError`) or a step function asks for it.

    Args:
        session_creator: makes the sessions; a `ChiefSessionCreator` otherwise.
        hooks: called in this order.
        stop_grace_period_secs: how long threads may go on once the loop has ended.
    """

    StepContext = StepContext

    def __init__(
        self, session_creator: SessionCreator | None = None, hooks: Iterable[SessionRunHook] | None = None,
        stop_grace_period_secs: float = 120,
    ) -> None:  # fmt: skip
        super().__init__(session_creator, hooks, stop_grace_period_secs, recover=True)


class SingularMonitoredSession(_Monitored):
    """A session with hooks around each run that is not replaced where it is lost; a context manager.

    Args:
        hooks: called in this order.
        scaffold, master, config, checkpoint_dir, checkpoint_filename_with_path: as for `ChiefSessionCreator`.
        stop_grace_period_secs: how long threads may go on once the loop has ended.
    """

    StepContext = StepContext

    def __init__(
        self, hooks: Iterable[SessionRunHook] | None = None, scaffold: Scaffold | None = None, master: str = "",
        config: Any = None, checkpoint_dir: Any = None, stop_grace_period_secs: float = 120,
        checkpoint_filename_with_path: Any = None,
    ) -> None:  # fmt: skip
        creator = ChiefSessionCreator(scaffold, master, config, checkpoint_dir, checkpoint_filename_with_path)
        super().__init__(creator, hooks, stop_grace_period_secs, recover=False)

    def raw_session(self) -> Any:
        """Return the session itself; None once closed."""
        return None if self._attempt is None else self._attempt.session


def MonitoredTrainingSession(
    master: str = "",
    is_chief: bool = True,
    checkpoint_dir: Any = None,
    scaffold: Scaffold | None = None,
    hooks: Iterable[SessionRunHook] | None = None,
    chief_only_hooks: Iterable[SessionRunHook] | None = None,
    save_checkpoint_secs: Any = USE_DEFAULT,
    save_summaries_steps: Any = USE_DEFAULT,
    save_summaries_secs: Any = USE_DEFAULT,
    config: Any = None,
    stop_grace_period_secs: float = 120,
    log_step_count_steps: int | None = 100,
    max_wait_secs: float = 7200,
    save_checkpoint_steps: Any = USE_DEFAULT,
    summary_dir: Any = None,
    save_graph_def: bool = True,
) -> MonitoredSession:
    """Return a `MonitoredSession` that goes on from the latest checkpoint, and writes checkpoints and summaries.

    Args:
        master: accepted for compatibility.
        is_chief: whether it restores, initialises and writes; others wait until the model is ready.
        checkpoint_dir: the folder of the checkpoints; none are written without.
        scaffold: the parts of the graph that start a session.
        hooks: called behind those that write.
        chief_only_hooks: called before those that write, if `is_chief`.
        save_checkpoint_secs, save_checkpoint_steps: how often to write a checkpoint: every 600 seconds unless one is
            given; both None or 0: never.
        save_summaries_secs, save_summaries_steps: how often to write summaries: every 100 steps unless one is given.
        config: the session's ``ConfigProto``.
        stop_grace_period_secs: how long threads may go on once the loop has ended.
        log_step_count_steps: how often to write the steps per second; None or 0: never.
        max_wait_secs: how long others wait.
        summary_dir: the folder of the event file; that of the checkpoints otherwise.
        save_graph_def: whether to write ``graph.pbtxt`` and ``.meta`` files.
    """
    summary_steps, summary_secs = _how_often(save_summaries_steps, save_summaries_secs, (100, None))
    steps, secs = _how_often(save_checkpoint_steps, save_checkpoint_secs, (None, 600))
    scaffold = scaffold or Scaffold()
    if not is_chief:
        worker = WorkerSessionCreator(scaffold, master, config, max_wait_secs)
        return MonitoredSession(worker, hooks, stop_grace_period_secs)
    chosen: list[SessionRunHook] = list(chief_only_hooks or ())
    events = summary_dir or checkpoint_dir
    if events and _positive(log_step_count_steps):
        chosen.append(StepCounterHook(output_dir=events, every_n_steps=log_step_count_steps))
    if events and (_positive(summary_steps) or _positive(summary_secs)):
        chosen.append(
            SummarySaverHook(scaffold=scaffold, save_steps=summary_steps, save_secs=summary_secs, output_dir=events)
        )
    if checkpoint_dir and (_positive(steps) or _positive(secs)):
        chosen.append(
            CheckpointSaverHook(
                checkpoint_dir, save_steps=steps, save_secs=secs, scaffold=scaffold, save_graph_def=save_graph_def
            )
        )
    chosen.extend(hooks or ())
    creator = ChiefSessionCreator(scaffold, master, config, checkpoint_dir)
    return MonitoredSession(creator, chosen, stop_grace_period_secs)


def _how_often(steps: Any, secs: Any, default: tuple[Any, Any]) -> tuple[Any, Any]:
    if steps is USE_DEFAULT and secs is USE_DEFAULT:
        return default
    return (None if steps is USE_DEFAULT else steps), (None if secs is USE_DEFAULT else secs)


def _positive(number: Any) -> bool:
    return number is not None and number > 0


__all__ = [
    "ChiefSessionCreator", "MonitoredSession", "MonitoredTrainingSession", "SessionCreator",
    "SingularMonitoredSession", "WorkerSessionCreator",
]  # fmt: skip
