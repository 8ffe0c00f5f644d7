"""`Coordinator`: ends a set of threads together, and hands the error of one of them to whoever waits for all."""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import TracebackType
from typing import Any, Final

from coldframe.tf1 import errors

_LOG = logging.getLogger("coldframe")
_PAUSE: Final = 0.05  # seconds between looks at the threads: they may end without asking for a stop
ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None]


class Coordinator:
    """Ends threads together.

    ::

        coord = Coordinator()
        threads = start_queue_runners(coord=coord)      each thread works until coord.should_stop()
        ...
        coord.request_stop()
        coord.join(threads)

    Args:
        clean_stop_exception_types: errors that count as a request to stop, not as failures; `OutOfRangeError`
            unless given.
    """

    def __init__(self, clean_stop_exception_types: Sequence[type[BaseException]] | None = None) -> None:
        kinds = clean_stop_exception_types
        self._clean = (errors.OutOfRangeError,) if kinds is None else tuple(kinds)
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._error: ExcInfo | None = None
        self._joined = False
        self._registered: set[threading.Thread] = set()

    @property
    def joined(self) -> bool:
        """Whether `join` has come to its end."""
        return self._joined

    def should_stop(self) -> bool:
        """Return whether a stop was requested."""
        return self._stop.is_set()

    def request_stop(self, ex: Any = None) -> None:
        """Ask the threads to stop.

        Args:
            ex: an exception, or what `sys.exc_info()` gave, that `join` raises again, unless it is one of those that
                count as a clean stop.

        Raises:
            the exception, where `join` is over already and can raise it no more.
        """
        with self._lock:
            info = _exc_info(ex)
            if info is not None and isinstance(info[1], self._clean):
                _LOG.info("%s counts as a request to stop", info[0].__name__)
                info = None
            if info is not None and self._joined:
                raise info[1].with_traceback(info[2])
            if not self._stop.is_set():
                if info is not None:
                    self._error = info
                    _LOG.info("Error reported to Coordinator: %s, %s", info[0], info[1])
                self._stop.set()

    def clear_stop(self) -> None:
        """Forget the request to stop, and the error that came with it."""
        with self._lock:
            self._joined = False
            self._error = None
            self._stop.clear()

    def wait_for_stop(self, timeout: float | None = None) -> bool:
        """Wait until a stop is requested; return whether it was within `timeout` seconds."""
        return self._stop.wait(timeout)

    @contextlib.contextmanager
    def stop_on_exception(self) -> Iterator[None]:
        """Request a stop with the exception that is raised inside the ``with`` block, if one is."""
        try:
            yield
        except BaseException:
            self.request_stop(sys.exc_info())

    def register_thread(self, thread: threading.Thread) -> None:
        """Have `join` wait for `thread`."""
        with self._lock:
            self._registered.add(thread)

    def join(
        self, threads: Iterable[threading.Thread] | None = None, stop_grace_period_secs: float = 120,
        ignore_live_threads: bool = False,
    ) -> None:  # fmt: skip
        """Wait for the registered threads, and for `threads`.

        Args:
            threads: more threads to wait for.
            stop_grace_period_secs: how long they may go on once a stop is requested.
            ignore_live_threads: do not complain about threads that do go on.

        Raises:
            RuntimeError: threads go on after that time.
            Exception: what a thread requested the stop with.
        """
        with self._lock:
            waited = [*self._registered, *(t for t in threads or () if t not in self._registered)]
        while any(t.is_alive() for t in waited) and not self.wait_for_stop(_PAUSE):
            pass
        deadline = time.monotonic() + stop_grace_period_secs
        for t in waited:
            while t.is_alive() and time.monotonic() < deadline:
                t.join(_PAUSE)
        stragglers = [t.name for t in waited if t.is_alive()]
        with self._lock:
            self._joined = True
            self._registered.clear()
            if self._error is not None:
                raise self._error[1].with_traceback(self._error[2])
        if stragglers:
            message = f"Coordinator stopped with threads still running: {' '.join(stragglers)}"
            if not ignore_live_threads:
                raise RuntimeError(message)
            _LOG.info(message)

    @property
    def requested_exception(self) -> BaseException | None:
        """What a thread requested the stop with, or None."""
        return None if self._error is None else self._error[1]

    def raise_requested_exception(self) -> None:
        """Raise what a thread requested the stop with, if anything."""
        with self._lock:
            if self._error is not None:
                raise self._error[1].with_traceback(self._error[2])


def _exc_info(ex: Any) -> ExcInfo | None:
    if ex is None:
        return None
    if isinstance(ex, tuple):
        return None if ex[1] is None else ex
    return type(ex), ex, ex.__traceback__


class LooperThread(threading.Thread):
    """A thread that does something over and over, until its coordinator asks for a stop.

    Args:
        coord: the coordinator, which it is registered with.
        timer_interval_secs: seconds from one beginning to the next; None: without pauses.
        target: called with `args` and `kwargs`; subclasses may define `run_loop` instead.
    """

    def __init__(
        self, coord: Coordinator, timer_interval_secs: float | None, target: Callable[..., Any] | None = None,
        args: Any = None, kwargs: Any = None,
    ) -> None:  # fmt: skip
        if not isinstance(coord, Coordinator):
            raise ValueError(f"'coord' argument must be a Coordinator: {coord}")  # noqa: TRY004 - TensorFlow's class
        super().__init__(daemon=True)
        self._coord, self._interval, self._call = coord, timer_interval_secs, target
        self._call_args, self._call_kwargs = args or (), kwargs or {}
        if self._call is None and type(self).run_loop is LooperThread.run_loop:
            self._call = _nothing
        coord.register_thread(self)

    @staticmethod
    def loop(
        coord: Coordinator, timer_interval_secs: float | None, target: Callable[..., Any], args: Any = None,
        kwargs: Any = None,
    ) -> LooperThread:  # fmt: skip
        """Return a thread that calls `target` over and over; it is started."""
        looper = LooperThread(coord, timer_interval_secs, target=target, args=args, kwargs=kwargs)
        looper.start()
        return looper

    def run(self) -> None:
        with self._coord.stop_on_exception():
            self.start_loop()
            next_time = time.monotonic()
            while not self._coord.should_stop():
                self.run_loop()
                if self._interval is not None:
                    next_time += self._interval
                    if self._coord.wait_for_stop(max(next_time - time.monotonic(), 0)):
                        break
            self.stop_loop()

    def start_loop(self) -> None:
        """Called when the thread starts."""

    def stop_loop(self) -> None:
        """Called when the thread stops."""

    def run_loop(self) -> None:
        """Called over and over."""
        if self._call is not None:
            self._call(*self._call_args, **self._call_kwargs)


def _nothing(*args: Any, **kwargs: Any) -> None:
    """Do nothing."""


__all__ = ["Coordinator", "LooperThread"]
