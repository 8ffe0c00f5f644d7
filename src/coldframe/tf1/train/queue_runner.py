"""`QueueRunner`: threads that fill a queue, each running an enqueue operation over and over.

::

    QueueRunner ──► a thread per enqueue op ──► queue          when the input ends, the last thread closes the queue
               └──► a thread that waits for coord.should_stop() and then cancels pending enqueues
"""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Sequence
from typing import Any

from coldframe.formats import messages
from coldframe.tf1 import errors
from coldframe.tf1.data_flow import QueueBase
from coldframe.tf1.framework.graph import get_default_graph
from coldframe.tf1.framework.keys import GraphKeys
from coldframe.tf1.session import get_default_session
from coldframe.tf1.train.coordinator import Coordinator

_LOG = logging.getLogger("coldframe")


class QueueRunner:
    """The enqueue operations of a queue, and the threads that run them.

    Args:
        queue: the queue.
        enqueue_ops: a thread for each; they may repeat.
        close_op, cancel_op: close the queue; without or with cancelling pending enqueues. Made where they are None.
        queue_closed_exception_types: errors that mean the end of the input.
        queue_runner_def: a `QueueRunnerDef` message, instead of all these.
        import_scope: the scope that the names in the message are to be looked for in.
    """

    def __init__(
        self, queue: QueueBase | None = None, enqueue_ops: Sequence[Any] | None = None, close_op: Any = None,
        cancel_op: Any = None, queue_closed_exception_types: Sequence[type[Exception]] | None = None,
        queue_runner_def: Any = None, import_scope: str | None = None,
    ) -> None:  # fmt: skip
        self._lock = threading.Lock()
        self._runs_per_session: weakref.WeakKeyDictionary[Any, int] = weakref.WeakKeyDictionary()
        self._exceptions_raised: list[BaseException] = []
        self._closed_types: tuple[type[Exception], ...] = (errors.OutOfRangeError,)
        if queue_runner_def is not None:
            if queue is not None or enqueue_ops:
                raise ValueError("queue_runner_def and queue are mutually exclusive.")
            self._from_def(queue_runner_def, import_scope)
            return
        if queue is None or not enqueue_ops:
            raise ValueError("Must provide queue and enqueue_ops.")
        self._queue: Any = queue
        self._enqueue_ops = list(enqueue_ops)
        self._close_op = queue.close() if close_op is None else close_op
        self._cancel_op = queue.close(cancel_pending_enqueues=True) if cancel_op is None else cancel_op
        if queue_closed_exception_types is not None:
            self._closed_types = tuple(queue_closed_exception_types)
            if not self._closed_types or not all(issubclass(t, errors.OpError) for t in self._closed_types):
                raise TypeError("queue_closed_exception_types, when provided, must be a tuple of tf.error types")

    def _from_def(self, proto: Any, import_scope: str | None) -> None:
        graph = get_default_graph()

        def find(name: str) -> Any:
            return graph.as_graph_element(f"{import_scope}/{name}" if import_scope else name)

        self._queue = find(proto.queue_name)
        self._enqueue_ops = [find(n) for n in proto.enqueue_op_name]
        self._close_op, self._cancel_op = find(proto.close_op_name), find(proto.cancel_op_name)
        codes = list(proto.queue_closed_exception_types)
        if codes:
            self._closed_types = tuple(errors.exception_type_from_error_code(c) for c in codes)

    @property
    def queue(self) -> Any:
        return self._queue

    @property
    def enqueue_ops(self) -> list[Any]:
        return self._enqueue_ops

    @property
    def close_op(self) -> Any:
        return self._close_op

    @property
    def cancel_op(self) -> Any:
        return self._cancel_op

    @property
    def queue_closed_exception_types(self) -> tuple[type[Exception], ...]:
        return self._closed_types

    @property
    def exceptions_raised(self) -> list[BaseException]:
        """The errors of threads that had no coordinator to report them to."""
        return self._exceptions_raised

    @property
    def name(self) -> str:
        """The queue's name."""
        return str(self._queue.name)

    # --- threads ---
    def create_threads(
        self, sess: Any, coord: Coordinator | None = None, daemon: bool = False, start: bool = False
    ) -> list[threading.Thread]:
        """Return the threads that fill the queue in session `sess`; none where they run there already.

        Args:
            sess: the session.
            coord: told about errors; asks the threads to stop.
            daemon: whether the program may end while they run.
            start: start them.
        """
        with self._lock:
            if self._runs_per_session.get(sess, 0) > 0:
                return []
            self._runs_per_session[sess] = len(self._enqueue_ops)
            self._exceptions_raised = []
        threads = [
            threading.Thread(
                target=self._run, args=(sess, op, coord), name=f"QueueRunnerThread-{self.name}-{_name(op)}"
            )
            for op in self._enqueue_ops
        ]
        if coord is not None:
            name = f"QueueRunnerThread-{self.name}-close_on_stop"
            threads.append(threading.Thread(target=self._close_on_stop, args=(sess, coord), name=name))
        for t in threads:
            if coord is not None:
                coord.register_thread(t)
            t.daemon = daemon or t.daemon
            if start:
                t.start()
        return threads

    def _run(self, sess: Any, enqueue_op: Any, coord: Coordinator | None) -> None:
        counted = True
        try:
            enqueue = sess.make_callable(enqueue_op)
            while coord is None or not coord.should_stop():
                try:
                    enqueue()
                except self._closed_types:
                    with self._lock:
                        self._runs_per_session[sess] -= 1
                        counted = False
                        last = not self._runs_per_session[sess]
                    if last:
                        _close(sess, self._close_op)
                    return
        except Exception as e:
            if coord is not None:
                coord.request_stop(e)
                if not isinstance(e, errors.CancelledError):
                    _LOG.debug("a thread of %s stopped: %s", self.name, e)
            else:
                with self._lock:
                    self._exceptions_raised.append(e)
                if not isinstance(e, errors.CancelledError) and not getattr(sess, "_closed", False):
                    _LOG.error("Exception in QueueRunner: %s", e)
                    raise  # there is nobody to tell: the thread ends with a traceback
        finally:
            if counted:
                with self._lock:
                    self._runs_per_session[sess] -= 1

    def _close_on_stop(self, sess: Any, coord: Coordinator) -> None:
        coord.wait_for_stop()
        _close(sess, self._cancel_op)

    # --- as a message ---
    def to_proto(self, export_scope: str | None = None) -> Any:
        """Return a `QueueRunnerDef` message, or None where the queue is not in `export_scope`."""
        if export_scope and not self.name.startswith(export_scope):
            return None

        def short(name: str) -> str:
            return name[len(export_scope) + 1 :] if export_scope and name.startswith(f"{export_scope}/") else name

        return messages.QueueRunnerDef(
            queue_name=short(self.name),
            enqueue_op_name=[short(_name(op)) for op in self._enqueue_ops],
            close_op_name=short(_name(self._close_op)),
            cancel_op_name=short(_name(self._cancel_op)),
            queue_closed_exception_types=[c for t in self._closed_types if (c := _code(t)) is not None],
        )

    @staticmethod
    def from_proto(queue_runner_def: Any, import_scope: str | None = None) -> QueueRunner:
        """Return the queue runner that a message describes, over the default graph."""
        return QueueRunner(queue_runner_def=queue_runner_def, import_scope=import_scope)


def _name(op: Any) -> str:
    return op if isinstance(op, str) else str(op.name)


def _code(kind: type[Exception]) -> int | None:
    return errors.error_code_from_exception_type(kind)


def _close(sess: Any, op: Any) -> None:
    try:
        sess.run(op)
    except (errors.OpError, RuntimeError) as e:  # the queue, or the session, is closed already
        _LOG.debug("closing a queue: %s", e)


def add_queue_runner(qr: QueueRunner, collection: str = GraphKeys.QUEUE_RUNNERS) -> None:
    """Add a queue runner to a collection of the default graph."""
    get_default_graph().add_to_collection(collection, qr)


def start_queue_runners(
    sess: Any = None, coord: Coordinator | None = None, daemon: bool = True, start: bool = True,
    collection: str = GraphKeys.QUEUE_RUNNERS,
) -> list[threading.Thread]:  # fmt: skip
    """Start the threads of all queue runners of the graph, and return them.

    Args:
        sess: the session; the default one otherwise.
        coord, daemon, start: as `QueueRunner.create_threads`.
        collection: where the queue runners are.

    Raises:
        ValueError: there is no session.
    """
    session = get_default_session() if sess is None else sess
    if session is None:
        raise ValueError(
            "Cannot start queue runners: No default session is registered. Use `with sess.as_default()` or pass an "
            "explicit session to tf.start_queue_runners(sess=sess)"
        )
    if not hasattr(session, "make_callable"):
        raise TypeError(f"sess must be a `tf.Session` object. Given class: {type(session)}")
    with session.graph.as_default():
        runners = session.graph.get_collection(collection)
    return [t for qr in runners for t in qr.create_threads(session, coord=coord, daemon=daemon, start=start)]


__all__ = ["QueueRunner", "add_queue_runner", "start_queue_runners"]
