"""`tf.python_io`: files of records from Python, without a graph."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Final, Self

from coldframe.errors import ColdframeError
from coldframe.formats.tf_record import RecordWriter, read_records
from coldframe.records import dataclass
from coldframe.tf1 import errors
from coldframe.tf1.platform.compat import as_bytes
from coldframe.tf1.platform.file_io import local_path

_NAMES: Final = {0: "", 1: "ZLIB", 2: "GZIP"}


class TFRecordCompressionType:
    """How a file of records is compressed."""

    NONE = 0
    ZLIB = 1
    GZIP = 2


@dataclass
class TFRecordOptions:
    """How a file of records is written; all but the first concern its compression, and are zlib's when None.

    Attributes:
        compression_type: `""`, `"GZIP"`, `"ZLIB"`, or a number of `TFRecordCompressionType`.
        flush_mode, input_buffer_size, output_buffer_size: accepted; they do not change what a file holds.
        window_bits, compression_level, compression_method, mem_level, compression_strategy: see zlib's manual.
    """

    compression_type_map: ClassVar[dict[int, str]] = _NAMES

    compression_type: Any = None
    flush_mode: int | None = None
    input_buffer_size: int | None = None
    output_buffer_size: int | None = None
    window_bits: int | None = None
    compression_level: int | None = None
    compression_method: int | None = None
    mem_level: int | None = None
    compression_strategy: int | None = None

    def __post_init__(self) -> None:
        self.get_compression_type_string(self.compression_type)

    @classmethod
    def get_compression_type_string(cls, options: Any) -> str:
        """Return `""`, `"GZIP"` or `"ZLIB"` for options, a number or a name.

        Raises:
            ValueError: it is none of them.
        """
        kind = options.compression_type if isinstance(options, TFRecordOptions) else options
        if not kind:
            return ""
        if kind in _NAMES:
            return _NAMES[kind]
        if kind in _NAMES.values():
            return str(kind)
        raise ValueError(f'Not a valid compression_type: "{kind}"')

    def writer_arguments(self) -> dict[str, int]:
        """Return what `RecordWriter` takes of these, by its names."""
        named = {
            "level": self.compression_level,
            "window_bits": abs(self.window_bits) if self.window_bits is not None else None,
            "memory_level": self.mem_level,
            "strategy": self.compression_strategy,
        }
        return {k: v for k, v in named.items() if v is not None}


class TFRecordWriter:
    """Writes records to a file; a context manager.

    Args:
        path: the file; one that exists is replaced.
        options: a `TFRecordOptions`, or a compression.

    Raises:
        tf.errors.OpError: the file cannot be made, such as `NotFoundError` where the folder does not exist.
        ValueError: the compression is unknown.
    """

    def __init__(self, path: Any, options: Any = None) -> None:
        compression = TFRecordOptions.get_compression_type_string(options)
        arguments: dict[str, Any] = options.writer_arguments() if isinstance(options, TFRecordOptions) else {}
        try:
            self._writer = RecordWriter(local_path(path), compression, **arguments)
        except OSError as e:
            raise errors.from_system(e) from e

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def write(self, record: Any) -> None:
        """Append one record; text is encoded as UTF-8.

        Raises:
            FailedPreconditionError: the writer is closed.
        """
        if self._writer.closed:
            raise errors.FailedPreconditionError(None, None, "Writer is closed.")
        self._writer.write(as_bytes(record))

    def flush(self) -> None:
        """Hand what was written to the system."""
        self._writer.flush()

    def close(self) -> None:
        """Finish the file."""
        self._writer.close()


def tf_record_iterator(path: Any, options: Any = None) -> Iterator[bytes]:
    """Yield the records of a file.

    Args:
        path: the file.
        options: a `TFRecordOptions`, or a compression.

    Raises:
        tf.errors.NotFoundError: there is no such file.
        tf.errors.DataLossError: the file is damaged, or not of records. Where, says the message.
    """
    compression = TFRecordOptions.get_compression_type_string(options)
    try:
        yield from read_records(local_path(path), compression)
    except errors.OpError:
        raise
    except ColdframeError as e:
        raise errors.from_coldframe(e) from e
    except OSError as e:
        raise errors.from_system(e) from e
