"""Event files: what TensorBoard reads.

::

    <folder>/events.out.tfevents.<secs>.<host><suffix>      secs: when it was begun, ten digits
    file    TFRecord of Event*, the first of them file_version "brain.Event:2"

A writer appends, and never returns to what it wrote. Readers follow files as they grow and show them in the order of
their names, so two files begun in one second get different names: the later one counts as begun a second later.
Source: TensorFlow's ``core/util/event.proto`` and ``events_writer.cc``.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Self

from coldframe.formats import messages
from coldframe.formats.files import PathLike
from coldframe.formats.tf_record import RecordReader, RecordWriter

VERSION: Final = "brain.Event:2"
_WRITER: Final = "coldframe"


class EventFile:
    """Writes a new event file into a folder; a context manager.

    Args:
        folder: where; made if it does not exist.
        suffix: what to end the file's name with.

    Attributes:
        path: the file.

    Raises:
        OSError: the system refuses to make the folder or the file.
    """

    def __init__(self, folder: PathLike, suffix: str = "") -> None:
        self._records = _new_file(Path(folder), suffix)
        self.path = Path(self._records.name)
        self.write(messages.Event(wall_time=time.time(), file_version=VERSION, source_metadata={"writer": _WRITER}))
        self.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def closed(self) -> bool:
        """Whether the file is finished."""
        return self._records.closed

    def write(self, event: Any) -> None:
        """Append an `Event`.

        Raises:
            MisuseError: the file is closed.
            UnsupportedError: the event is larger than protobuf allows.
        """
        self._records.write(messages.serialize(event, where=f"for {self.path}"))

    def flush(self) -> None:
        """Hand what was written to the operating system, so that readers see it."""
        self._records.flush()

    def close(self) -> None:
        """Finish the file; a second call does nothing."""
        self._records.close()


def _new_file(folder: Path, suffix: str) -> RecordWriter:
    folder.mkdir(parents=True, exist_ok=True)
    seconds = int(time.time())
    while True:
        path = folder / f"events.out.tfevents.{seconds:010d}.{socket.gethostname()}{suffix}"
        try:
            return RecordWriter(path, mode="xb")
        except FileExistsError:
            seconds += 1


def read_events(path: PathLike) -> Iterator[Any]:
    """Yield the `Event` messages of an event file; it is opened at the first one.

    Raises:
        NotFoundError: there is no such file.
        TruncatedError: the file ends inside an event, as it does while, or after, a writer was killed.
        CorruptError: a checksum does not match, or a record is no event.
    """
    with RecordReader(path) as reader:
        while True:
            at = reader.offset
            record = next(reader, None)
            if record is None:
                return
            yield messages.parse("Event", record, where=f"in {os.fspath(path)}, at byte {at}")
