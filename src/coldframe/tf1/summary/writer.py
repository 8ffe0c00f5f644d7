"""`tf.summary.FileWriter`: events go to a file at once, and to readers of the file when it is flushed.

There is no thread: to write an event takes less time than to hand it to one, and an error is raised where it happens.
The file is flushed with the first event, when `max_queue` events or `flush_secs` seconds have gathered, on `flush` and
`close`, and when the program ends without either.
"""

from __future__ import annotations

import contextlib
import threading
import time
import warnings
import weakref
from collections.abc import Iterator
from typing import Any, Self

import numpy as np

from coldframe.errors import ColdframeError
from coldframe.formats import events, messages
from coldframe.tf1 import errors
from coldframe.tf1.framework.graph import Graph, get_default_graph
from coldframe.tf1.platform.compat import as_str, path_to_str
from coldframe.tf1.platform.file_io import local_path


def _ours(kind: Any, message: Any) -> Any:
    """Return `message` as one of our own classes; TensorFlow's, in the same process, are others."""
    return message if isinstance(message, kind) else kind.FromString(message.SerializeToString())


class FileWriter:
    """Writes summaries and other events into a new event file; a context manager.

    Args:
        logdir: the folder; made if it does not exist.
        graph: a graph to add at once.
        max_queue: after how many events to flush.
        flush_secs: after how many seconds to flush, if an event is added then.
        graph_def: a `GraphDef` to add at once, instead of `graph`.
        filename_suffix: what to end the file's name with.
        session: accepted; events are written directly.

    Raises:
        tf.errors.OpError: the folder or the file cannot be made.
    """

    def __init__(
        self,
        logdir: Any,
        graph: Any = None,
        max_queue: int = 10,
        flush_secs: float = 120,
        graph_def: Any = None,
        filename_suffix: str | None = None,
        session: Any = None,
    ) -> None:
        del session
        self._logdir = as_str(path_to_str(logdir))
        self._max_queue, self._flush_secs, self._suffix = max_queue, flush_secs, filename_suffix or ""
        self._lock = threading.RLock()
        self._shown_tags: set[str] = set()
        self._run_tags: set[str] = set()
        self._open()
        if graph is not None or graph_def is not None:
            self.add_graph(graph, graph_def=graph_def)
            definition = graph_def if graph is None else graph
            if isinstance(definition, Graph):
                definition = definition.as_graph_def(add_shapes=True)
            self.add_meta_graph(messages.MetaGraphDef(graph_def=_ours(messages.GraphDef, definition)))

    def _open(self) -> None:
        with _translated():
            self._file = events.EventFile(local_path(self._logdir), self._suffix)
        self._waiting, self._flush_at = 0, time.monotonic()
        self._at_exit = weakref.finalize(self, self._file.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def get_logdir(self) -> str:
        """Return the folder of the file."""
        return self._logdir

    # --- what to write --------------------------------------------------------------------------------------------
    def add_summary(self, summary: Any, global_step: Any = None) -> None:
        """Add a `Summary`, or the serialized one that running a summary node gives.

        Args:
            summary: the message, or its bytes. How a tag is shown (its metadata) is written once for each tag.
            global_step: the step that it belongs to.

        Raises:
            tf.errors.DataLossError: the bytes are no summary.
        """
        data = summary.item() if isinstance(summary, (np.ndarray, np.generic)) else summary
        data = data if isinstance(data, bytes) else data.SerializeToString()
        with _translated():
            message = messages.parse("Summary", data, where="given to add_summary")
        for value in message.value:
            if value.tag in self._shown_tags:
                value.ClearField("metadata")
            self._shown_tags.add(value.tag)
        self._add(messages.Event(summary=message), global_step)

    def add_graph(self, graph: Any, global_step: Any = None, graph_def: Any = None) -> None:
        """Add a graph, with the shapes that are known.

        Args:
            graph: a `Graph`, or a `GraphDef`.
            global_step: the step that it belongs to.
            graph_def: the same, by its older name.

        Raises:
            ValueError: both are given.
            TypeError: it is no graph.
        """
        if graph is not None and graph_def is not None:
            raise ValueError("Please pass only graph, or graph_def (deprecated), but not both.")
        given = graph if graph is not None else graph_def
        if isinstance(given, Graph):
            given = given.as_graph_def(add_shapes=True)
        elif getattr(getattr(given, "DESCRIPTOR", None), "full_name", "") != "tensorflow.GraphDef":
            raise TypeError("The passed graph must be an instance of `Graph` or the deprecated `GraphDef`")
        self._add(messages.Event(graph_def=given.SerializeToString()), global_step)

    def add_meta_graph(self, meta_graph_def: Any, global_step: Any = None) -> None:
        """Add a `MetaGraphDef`; `TypeError` for anything else."""
        if getattr(getattr(meta_graph_def, "DESCRIPTOR", None), "full_name", "") != "tensorflow.MetaGraphDef":
            raise TypeError(f"meta_graph_def must be type MetaGraphDef, saw type: {type(meta_graph_def)}")
        self._add(messages.Event(meta_graph_def=meta_graph_def.SerializeToString()), global_step)

    def add_session_log(self, session_log: Any, global_step: Any = None) -> None:
        """Add a `SessionLog`: that training began, stopped, or saved a checkpoint."""
        self._add(messages.Event(session_log=_ours(messages.SessionLog, session_log)), global_step)

    def add_run_metadata(self, run_metadata: Any, tag: str, global_step: Any = None) -> None:
        """Add the `RunMetadata` of one run, under a tag that is used once; `ValueError` if it was used before."""
        if tag in self._run_tags:
            raise ValueError("The provided tag was already used for this event type")
        self._run_tags.add(tag)
        tagged = messages.TaggedRunMetadata(tag=tag, run_metadata=run_metadata.SerializeToString())
        self._add(messages.Event(tagged_run_metadata=tagged), global_step)

    def _add(self, event: Any, step: Any) -> None:
        event.wall_time = time.time()
        if step is not None:
            event.step = int(step)
        self.add_event(event)

    def add_event(self, event: Any) -> None:
        """Add an `Event` as it is."""
        if not self._is_open():
            return
        with self._lock, _translated():
            self._file.write(_ours(messages.Event, event))
            self._waiting += 1
            if 0 < self._max_queue <= self._waiting or time.monotonic() >= self._flush_at:
                self._flush()

    # --- the file -------------------------------------------------------------------------------------------------
    def _is_open(self) -> bool:
        if self._file.closed:
            warnings.warn(
                "Attempting to use a closed FileWriter. "
                "The operation will be a noop unless the FileWriter is explicitly reopened.",
                stacklevel=4,
            )
        return not self._file.closed

    def _flush(self) -> None:
        self._file.flush()
        self._waiting, self._flush_at = 0, time.monotonic() + self._flush_secs

    def flush(self) -> None:
        """Let readers of the file see all that was added."""
        if self._is_open():
            with self._lock, _translated():
                self._flush()

    def close(self) -> None:
        """Finish the file; what is added later is lost, with a warning, unless the writer is reopened."""
        with self._lock, _translated():
            self._at_exit()

    def reopen(self) -> None:
        """Go on in a new file if the writer was closed."""
        with self._lock:
            if self._file.closed:
                self._open()


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    """Raise what the system, or coldframe, says as `tf.errors`."""
    try:
        yield
    except OSError as e:
        raise errors.from_system(e) from e
    except ColdframeError as e:
        raise errors.from_coldframe(e) from e


class FileWriterCache:
    """One writer for each folder, shared by all that log into it."""

    _cache: dict[str, FileWriter] = {}  # noqa: RUF012 - as TensorFlow has it
    _lock = threading.RLock()

    @staticmethod
    def clear() -> None:
        """Close all writers and forget them."""
        with FileWriterCache._lock:
            for writer in FileWriterCache._cache.values():
                writer.close()
            FileWriterCache._cache.clear()

    @staticmethod
    def get(logdir: Any) -> FileWriter:
        """Return the writer for a folder; the default graph is added to a new one."""
        folder = as_str(path_to_str(logdir))
        with FileWriterCache._lock:
            if folder not in FileWriterCache._cache:
                FileWriterCache._cache[folder] = FileWriter(folder, graph=get_default_graph())
            return FileWriterCache._cache[folder]


def summary_iterator(path: Any) -> Iterator[Any]:
    """Yield the `Event` messages of an event file.

    Raises:
        tf.errors.NotFoundError: there is no such file.
        tf.errors.DataLossError: it is damaged, or ends inside an event.
    """
    found = events.read_events(local_path(path))
    while True:
        with _translated():
            event = next(found, None)
        if event is None:
            return
        yield event
