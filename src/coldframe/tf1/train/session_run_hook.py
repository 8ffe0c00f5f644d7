"""`SessionRunHook`: what a program adds to the runs of a `MonitoredSession`.

::

    begin()                              the graph may still be changed
    after_create_session(session, coord)        again for each session that replaces a lost one
        before_run(context)  ─►  SessionRunArgs         one run computes what all hooks and the caller ask for
        after_run(context, values)                      context.request_stop() ends the loop
    end(session)                         not where an error ends the loop
"""

from __future__ import annotations

from typing import Any, NamedTuple


class SessionRunArgs(NamedTuple):
    """What a hook adds to a run.

    Attributes:
        fetches: anything that `Session.run` takes; None for nothing.
        feed_dict: values to feed.
        options: `RunOptions`, merged with those of the caller and of other hooks.
    """

    fetches: Any
    feed_dict: Any = None
    options: Any = None


class SessionRunValues(NamedTuple):
    """What a run gave a hook.

    Attributes:
        results: the values of what the hook asked for, in its structure; None where it asked for nothing.
        options: the `RunOptions` of the run.
        run_metadata: its `RunMetadata`.
    """

    results: Any
    options: Any
    run_metadata: Any


class SessionRunContext:
    """One run, as hooks see it.

    Args:
        original_args: what the caller asked for, as `SessionRunArgs`.
        session: the session that runs.
    """

    def __init__(self, original_args: SessionRunArgs, session: Any) -> None:
        self._original_args, self._session, self._stop_requested = original_args, session, False

    @property
    def original_args(self) -> SessionRunArgs:
        """What the caller of `run` asked for."""
        return self._original_args

    @property
    def session(self) -> Any:
        """The session, for runs of the hook's own."""
        return self._session

    @property
    def stop_requested(self) -> bool:
        """Whether a hook has asked for the end of the loop."""
        return self._stop_requested

    def request_stop(self) -> None:
        """Ask for the end of the loop: `should_stop` is True from now on."""
        self._stop_requested = True


class SessionRunHook:
    """Base class of hooks; each method does nothing. See the head of this module for the order of calls."""

    def begin(self) -> None:
        """Called once, before the graph is finalized."""

    def after_create_session(self, session: Any, coord: Any) -> None:
        """Called with each new session, initialised or restored, and its `Coordinator`."""

    def before_run(self, run_context: SessionRunContext) -> SessionRunArgs | None:
        """Called before each run; returns what to add to it, or None."""
        return None

    def after_run(self, run_context: SessionRunContext, run_values: SessionRunValues) -> None:
        """Called after each run with the values that were asked for."""

    def end(self, session: Any) -> None:
        """Called when the loop has ended without an error; the session is still open."""


__all__ = ["SessionRunArgs", "SessionRunContext", "SessionRunHook", "SessionRunValues"]
