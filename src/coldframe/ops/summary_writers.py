"""Writers of event files inside graphs, as TensorFlow 2's summaries and ``tf.contrib.summary`` make them.

::

    SummaryWriter ──► CreateSummaryFileWriter(logdir)   once; a writer that there is stays
                 ──► WriteScalarSummary, WriteSummary, ... ──► FlushSummaryWriter, CloseSummaryWriter

A writer belongs to the session, as a queue does, and its file is finished with the session. Files are written where
the session allows that. What readers see is up to date when more than `max_queue` events or `flush_millis`
milliseconds have gathered, and after a flush.
Source: ``summary_kernels.cc`` and ``summary_file_writer.cc``.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from coldframe import dtypes
from coldframe.errors import CancelledError, ColdframeError
from coldframe.formats import messages
from coldframe.formats.events import EventFile
from coldframe.ops import summary, summary_media
from coldframe.ops.state import Handle, State
from coldframe.ops.table import op
from coldframe.primitives.base import refuse
from coldframe.shapes import Shape

_KIND: Final = "summary writer"


class Writer:
    """A place for an event file, once there is one."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._lock = threading.Lock()
        self._file: EventFile | None = None
        self._most, self._seconds = 0, 0.0
        self._waiting, self._flushed = 0, 0.0
        self._cancelled = False

    def open(self, make: Callable[[], EventFile], most: int, seconds: float) -> None:
        """Begin a file, unless there is one."""
        with self._lock:
            if self._cancelled:
                raise CancelledError(f"{_KIND} `{self.name}`: the session is closed")
            if self._file is None:
                self._file = make()
                weakref.finalize(self, self._file.close)
                self._most, self._seconds = most, seconds
                self._waiting, self._flushed = 0, time.monotonic()

    def write(self, event: Any) -> None:
        """Append an `Event`."""
        with self._lock:
            file = self._there()
            file.write(event)
            self._waiting += 1
            if self._waiting > self._most or time.monotonic() - self._flushed > self._seconds:
                self._flush(file)

    def flush(self) -> None:
        """Let readers see what was written."""
        with self._lock:
            self._flush(self._there())

    def _flush(self, file: EventFile) -> None:
        file.flush()
        self._waiting, self._flushed = 0, time.monotonic()

    def close(self) -> None:
        """Finish the file; the next one that is made is another."""
        with self._lock:
            self._there().close()
            self._file = None

    def _there(self) -> EventFile:
        if self._file is None:
            raise refuse(f"{_KIND} `{self.name}` has no file", hint="run its initializer first")
        return self._file

    def cancel(self) -> None:
        """Finish the file: the session is being closed."""
        with self._lock:
            self._cancelled = True
            if self._file is not None:
                self._file.close()


def _writer(state: State, handle: Any) -> Writer:
    if not isinstance(handle, Handle) or handle.kind != _KIND:
        raise refuse(f"not a {_KIND}", found=type(handle).__name__)
    name = handle.name
    return state.live(f"{_KIND}/{name}", lambda: Writer(name))  # type: ignore[no-any-return]


def _text(what: str, value: Any) -> bytes:
    if np.ndim(value):
        raise refuse(f"`{what}`", expected="a scalar", found=f"shape {list(np.shape(value))}")
    return bytes(np.asarray(value, object).item())


# --- writers ------------------------------------------------------------------------------------------------------
@op("SummaryWriter", shape="-> []", stateful=True, ignores=("container",))
def summary_writer(xp: Any, state: State, *, shared_name: str) -> Any:
    """A writer of events."""
    return Handle(shared_name or state.node, _KIND, dtypes.resource, Shape(()))


@op("CreateSummaryFileWriter", stateful=True, effect=True)
def create_summary_file_writer(
    xp: Any, state: State, writer: Any, logdir: Any, max_queue: Any, flush_millis: Any, filename_suffix: Any
) -> None:
    """Begin an event file in a folder, which is made if need be; nothing happens where there is one already."""
    folder = state.writable(_text("logdir", logdir))
    suffix = _text("filename_suffix", filename_suffix).decode("utf-8", "replace")

    def make() -> EventFile:
        try:
            return EventFile(folder, suffix)
        except OSError as e:
            raise refuse(f"cannot write an event file in `{folder}`", found=e.strerror) from e

    _writer(state, writer).open(make, int(max_queue), int(flush_millis) / 1000)


@op("FlushSummaryWriter", stateful=True, effect=True)
def flush_summary_writer(xp: Any, state: State, writer: Any) -> None:
    """Let readers see the events that were written."""
    _writer(state, writer).flush()


@op("CloseSummaryWriter", stateful=True, effect=True)
def close_summary_writer(xp: Any, state: State, writer: Any) -> None:
    """Finish the event file."""
    _writer(state, writer).close()


# --- events -------------------------------------------------------------------------------------------------------
def _write(state: State, writer: Any, step: Any, **content: Any) -> None:
    _writer(state, writer).write(messages.Event(wall_time=time.time(), step=int(step), **content))


def _parsed(kind: str, data: bytes) -> Any:
    try:
        return messages.parse(kind, data, where="in a string")
    except ColdframeError as e:
        raise refuse("a string is not the message it should be", expected=kind, found=e.what) from e


def _summary(state: State, writer: Any, step: Any, serialized: Any) -> None:
    _write(state, writer, step, summary=messages.Summary.FromString(np.asarray(serialized, object).item()))


@op("WriteScalarSummary", stateful=True, effect=True)
def write_scalar_summary(xp: Any, state: State, writer: Any, step: Any, tag: Any, value: Any) -> None:
    """Write a number."""
    number = np.real(np.ravel(value)[:1])
    _summary(state, writer, step, summary.scalar_summary.body(xp, np.reshape(tag, 1), number))


@op("WriteHistogramSummary", stateful=True, effect=True)
def write_histogram_summary(xp: Any, state: State, writer: Any, step: Any, tag: Any, values: Any) -> None:
    """Write how many values fall into each bucket."""
    _summary(state, writer, step, summary.histogram_summary.body(xp, tag, np.real(values)))


@op("WriteImageSummary", stateful=True, effect=True)
def write_image_summary(
    xp: Any, state: State, writer: Any, step: Any, tag: Any, tensor: Any, bad_color: Any, *, max_images: int
) -> None:
    """Write the first images of a batch, as PNG."""
    made = summary_media.image_summary.body(xp, tag, tensor, max_images=max_images, bad_color=bad_color)
    _summary(state, writer, step, made)


@op("WriteAudioSummary", stateful=True, effect=True)
def write_audio_summary(
    xp: Any, state: State, writer: Any, step: Any, tag: Any, tensor: Any, sample_rate: Any, *, max_outputs: int
) -> None:
    """Write the first sounds of a batch, as WAV."""
    made = summary_media.audio_summary_v2.body(xp, tag, tensor, sample_rate, max_outputs=max_outputs)
    _summary(state, writer, step, made)


@op("WriteSummary", stateful=True, effect=True)
def write_summary(xp: Any, state: State, writer: Any, step: Any, tensor: Any, tag: Any, summary_metadata: Any) -> None:
    """Write a tensor, with a serialized SummaryMetadata that says how to show it."""
    made = messages.Summary.FromString(
        summary.tensor_summary_v2.body(xp, tensor=tensor, tag=tag, serialized_summary_metadata=summary_metadata).item()
    )
    if not _text("summary_metadata", summary_metadata):
        made.value[0].ClearField("metadata")
    _write(state, writer, step, summary=made)


@op("WriteRawProtoSummary", stateful=True, effect=True)
def write_raw_proto_summary(xp: Any, state: State, writer: Any, step: Any, tensor: Any) -> None:
    """Write the values of serialized summaries as one event."""
    made = messages.Summary()
    for data in np.ravel(np.asarray(tensor, object)).tolist():
        made.MergeFrom(_parsed("Summary", data))
    _write(state, writer, step, summary=made)


@op("WriteGraphSummary", stateful=True, effect=True)
def write_graph_summary(xp: Any, state: State, writer: Any, step: Any, tensor: Any) -> None:
    """Write a serialized GraphDef."""
    data = _text("tensor", tensor)
    _parsed("GraphDef", data)
    _write(state, writer, step, graph_def=data)


@op("ImportEvent", stateful=True, effect=True)
def import_event(xp: Any, state: State, writer: Any, event: Any) -> None:
    """Write a serialized Event."""
    _writer(state, writer).write(_parsed("Event", _text("event", event)))
