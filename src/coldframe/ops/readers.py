"""Readers: records of the files whose names a queue hands out. And the ops that write and look for files.

::

    queue of names ──► reader: one file at a time, record by record ──► (key, value)

A key tells where a record was: the file, and the number of the line or record in it or its offset, as TensorFlow
writes it. A reader belongs to the session, as a queue does. Files are touched where the session allows that.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any, Final

import numpy as np

from coldframe import dtypes
from coldframe.formats.tf_record import RecordReader
from coldframe.formats.wire import bytes_field, fields, integer_field, signed
from coldframe.ops.queue_core import Queue
from coldframe.ops.queues import queue_of
from coldframe.ops.record_files import fixed_length, lines
from coldframe.ops.state import Handle, State
from coldframe.ops.table import Op, alias, op
from coldframe.primitives.base import refuse
from coldframe.records import dataclass
from coldframe.shapes import Shape

Record = tuple[bytes, bytes]
Opened = Callable[[State, bytes], Iterator[Record]]
_IGNORES: Final = ("container",)


@dataclass(frozen=True, slots=True)
class _Saved:
    """Where a reader is: TensorFlow's message ReaderBaseState."""

    started: int = 0
    finished: int = 0
    produced: int = 0
    name: bytes = b""

    def data(self) -> bytes:
        counts = (integer_field(k, v) for k, v in enumerate((self.started, self.finished, self.produced), 1))
        return b"".join(counts) + (bytes_field(4, self.name) if self.name else b"")

    @classmethod
    def of(cls, data: bytes) -> _Saved:
        try:  # what has another wire type is a field that nobody knows
            found: dict[int, Any] = {n: p for n, p in fields(data) if isinstance(p, bytes) == (n == 4)}
        except ValueError as e:
            raise refuse("the state of a reader", expected="a message", found=f"{len(data)} bytes") from e
        started, finished, produced = counts = tuple(signed(found.get(k, 0)) for k in (1, 2, 3))
        if min(counts) < 0:
            raise refuse("the state of a reader", expected="counts from 0", found=list(counts))
        return cls(started, finished, produced, found.get(4, b""))


_NOTHING: Final = _Saved()


class Reader:
    """Records of one file after the other; of `whole` files one each."""

    def __init__(self, open_: Opened, *, whole: bool = False) -> None:
        self._open = open_
        self._whole = whole
        self._started = 0
        self._name = b""
        self._lock = threading.Lock()
        self._records: Iterator[Record] | None = None
        self.produced = 0
        self.completed = 0
        self._queue: Queue | None = None

    def read(self, state: State, queue: Queue, most: int = 1) -> list[Record]:
        """Return the next records, at least one and at most `most`, all from one file.

        Raises:
            EndOfInputError: the queue is closed and has no more names.
        """
        with self._lock:
            while True:
                if self._records is None:
                    self._name = bytes(queue.dequeue(1)[0][0].item())
                    self._started += 1
                    self._records = self._open(state, self._name)
                found: list[Record] = []
                for record in self._records:
                    found.append(record)
                    if len(found) == most and not self._whole:
                        break
                else:
                    self._records = None
                    self.completed += 1
                self.produced += len(found)
                if found:
                    return found

    def reset(self) -> None:
        """Forget the file that is being read, and the counts."""
        with self._lock:
            self._restart(_NOTHING)

    def _restart(self, saved: _Saved) -> None:
        self._records, self._name = None, saved.name
        self._started, self.completed, self.produced = saved.started, saved.finished, saved.produced

    def saved(self) -> bytes:
        """Return where the reader is.

        Raises:
            ExecutionError: it may be in the middle of a file.
        """
        self._only_whole()
        with self._lock:
            return _Saved(self._started, self.completed, self.produced, self._name).data()

    def restore(self, data: bytes) -> None:
        """Go to where a reader was that `saved`.

        Raises:
            ExecutionError: the bytes are not what it returned, or were in the middle of a file.
        """
        self._only_whole()
        saved = _Saved.of(data)
        if saved.started > saved.finished:
            raise refuse("the state of a reader", expected="between two files", found="in the middle of one")
        with self._lock:
            self._restart(saved)

    def _only_whole(self) -> None:
        if not self._whole:
            raise refuse("the state of a reader", expected="a reader of whole files or of names", found="another one")

    def cancel(self) -> None:
        """Nothing waits here: the queue wakes whoever waits for a name."""


@dataclass(frozen=True, slots=True, eq=False)
class ReaderHandle(Handle):
    """A reader."""

    reader: Reader


def _handle(state: State, shared_name: str, open_: Opened, *, whole: bool = False) -> ReaderHandle:
    name = shared_name or state.node
    reader = state.live(f"reader/{name}", lambda: Reader(open_, whole=whole))
    return ReaderHandle(name, "reader", dtypes.resource, Shape(()), reader)


# --- making ---
@op("WholeFileReaderV2", shape="-> []", stateful=True, ignores=_IGNORES)
def whole_file_reader_v2(xp: Any, state: State, *, shared_name: str) -> Any:
    """A reader of files as one record each."""

    def open_(state: State, name: bytes) -> Iterator[Record]:
        yield name, state.read_file(name)

    return _handle(state, shared_name, open_, whole=True)


@op("IdentityReaderV2", shape="-> []", stateful=True, ignores=_IGNORES)
def identity_reader_v2(xp: Any, state: State, *, shared_name: str) -> Any:
    """A reader whose records are what the queue hands out."""
    return _handle(state, shared_name, lambda state, name: iter([(name, name)]), whole=True)


@op("TextLineReaderV2", shape="-> []", stateful=True, ignores=_IGNORES)
def text_line_reader_v2(xp: Any, state: State, *, skip_header_lines: int, shared_name: str) -> Any:
    """A reader of lines, without their ends; the first ones of each file are left out."""

    def open_(state: State, name: bytes) -> Iterator[Record]:
        for number, line in enumerate(lines(state.readable(name)), 1):
            if number > skip_header_lines:
                yield name + b":%d" % number, line

    return _handle(state, shared_name, open_)


@op("TFRecordReaderV2", shape="-> []", stateful=True, ignores=_IGNORES)
def tf_record_reader_v2(xp: Any, state: State, *, shared_name: str, compression_type: str) -> Any:
    """A reader of TFRecord files."""

    def open_(state: State, name: bytes) -> Iterator[Record]:
        with RecordReader(state.readable(name), compression_type) as reader:
            offset = 0
            for record in reader:
                yield name + b":%d" % offset, record
                offset = reader.offset

    return _handle(state, shared_name, open_)


@op("FixedLengthRecordReaderV2", shape="-> []", stateful=True, ignores=_IGNORES)
def fixed_length_record_reader_v2(
    xp: Any, state: State, *, header_bytes: int, record_bytes: int, footer_bytes: int, hop_bytes: int,
    shared_name: str, encoding: str,
) -> Any:  # fmt: skip
    """A reader of records of one size, each `hop_bytes` after the one before, between a header and a footer."""

    def open_(state: State, name: bytes) -> Iterator[Record]:
        sizes = record_bytes, header_bytes, footer_bytes, hop_bytes
        for number, record in enumerate(fixed_length(state.readable(name), *sizes, compression=encoding)):
            yield name + b":%d" % number, record

    return _handle(state, shared_name, open_)


# --- using ---
def _reader(handle: Any) -> Reader:
    if not isinstance(handle, ReaderHandle):
        raise refuse("not a reader", found=type(handle).__name__)
    return handle.reader


def _names(handle: Any) -> Queue:
    queue = queue_of(handle)
    if queue.spec.dtypes != (dtypes.string,):
        raise refuse(f"{queue.spec} holds no names of files", expected="one component of strings")
    return queue


@op("ReaderReadV2", shape="-> [] []", stateful=True, role="waits")
def reader_read_v2(xp: Any, state: State, reader_handle: Any, queue_handle: Any) -> tuple[Any, Any]:
    """The next record: where it was, and its bytes."""
    ((key, value),) = _reader(reader_handle).read(state, _names(queue_handle))
    return np.array(key, object), np.array(value, object)


@op("ReaderReadUpToV2", shape="-> [?] [?]", stateful=True, role="waits")
def reader_read_up_to_v2(
    xp: Any, state: State, reader_handle: Any, queue_handle: Any, num_records: Any
) -> tuple[Any, Any]:
    """The next records of a file, at most `num_records`."""
    count = int(num_records)
    if count <= 0:
        raise refuse("the number of records to read", expected="at least 1", found=count)
    found = _reader(reader_handle).read(state, _names(queue_handle), count)
    return _strings([k for k, _ in found]), _strings([v for _, v in found])


def _strings(values: list[bytes]) -> Any:
    out = np.empty(len(values), object)
    out[:] = values
    return out


@op("ReaderNumRecordsProducedV2", shape="-> []", stateful=True)
def reader_num_records_produced_v2(xp: Any, state: State, reader_handle: Any) -> Any:
    """How many records were read, an int64 scalar."""
    return np.array(_reader(reader_handle).produced, np.int64)


@op("ReaderNumWorkUnitsCompletedV2", shape="-> []", stateful=True)
def reader_num_work_units_completed_v2(xp: Any, state: State, reader_handle: Any) -> Any:
    """How many files were read to their ends, an int64 scalar."""
    return np.array(_reader(reader_handle).completed, np.int64)


@op("ReaderResetV2", stateful=True, effect=True)
def reader_reset_v2(xp: Any, state: State, reader_handle: Any) -> None:
    """Start anew with the next file."""
    _reader(reader_handle).reset()


@op("ReaderSerializeStateV2", shape="-> []", stateful=True)
def reader_serialize_state_v2(xp: Any, state: State, reader_handle: Any) -> Any:
    """Where a reader of whole files, or of names, is."""
    return np.array(_reader(reader_handle).saved(), object)


@op("ReaderRestoreStateV2", stateful=True, effect=True)
def reader_restore_state_v2(xp: Any, own: State, reader_handle: Any, state: Any) -> None:
    """Go to where a reader was."""
    _reader(reader_handle).restore(_scalar("state", state))


OLD: list[Op] = [
    alias(o.name.removesuffix("V2"), o, shape="-> [2]" if o.name.endswith("ReaderV2") else o.shape)
    for o in (
        whole_file_reader_v2, identity_reader_v2, text_line_reader_v2, tf_record_reader_v2, reader_read_v2,
        reader_read_up_to_v2, reader_num_records_produced_v2, reader_num_work_units_completed_v2, reader_reset_v2,
        reader_serialize_state_v2, reader_restore_state_v2,
    )
]  # fmt: skip


@op("FixedLengthRecordReader", shape="-> [2]", stateful=True, ignores=_IGNORES)
def fixed_length_record_reader(
    xp: Any, state: State, *, header_bytes: int, record_bytes: int, footer_bytes: int, hop_bytes: int, shared_name: str
) -> Any:
    """The same without compression."""
    return fixed_length_record_reader_v2.body(
        xp, state, header_bytes=header_bytes, record_bytes=record_bytes, footer_bytes=footer_bytes,
        hop_bytes=hop_bytes, shared_name=shared_name, encoding="",
    )  # fmt: skip


# --- files ---
@op("WriteFile", stateful=True, effect=True)
def write_file(xp: Any, state: State, filename: Any, contents: Any) -> None:
    """Write a file, and the folders it needs."""
    state.write_file(_scalar("filename", filename), _scalar("contents", contents))


@op("MatchingFiles", shape="-> [?]", stateful=True)
def matching_files(xp: Any, state: State, pattern: Any) -> Any:
    """The files that match one of the patterns, sorted."""
    return _strings(sorted(p for one in np.ravel(pattern).tolist() for p in state.match_files(one)))


def _scalar(what: str, value: Any) -> bytes:
    if np.ndim(value):
        raise refuse(f"`{what}`", expected="a scalar", found=f"shape {list(np.shape(value))}")
    return bytes(np.asarray(value, object).item())
