"""Files as tensors, and readers of records: `read_file`, `TextLineReader`, `TFRecordReader`, ..., `decode_csv`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from coldframe import dtypes
from coldframe.tf1.data_flow import QueueBase
from coldframe.tf1.framework.build import raw
from coldframe.tf1.framework.convert import as_array, constant, is_tensor_like
from coldframe.tf1.framework.tensor import Operation, Tensor


def read_file(filename: Any, name: str | None = None) -> Tensor:
    """Return the bytes of a file, a string scalar."""
    return raw.ReadFile(filename, name=name)  # type: ignore[no-any-return]


def write_file(filename: Any, contents: Any, name: str | None = None) -> Operation:
    """Return an operation that writes a file, and the folders it needs."""
    return raw.WriteFile(filename, contents, name=name)  # type: ignore[no-any-return]


def matching_files(pattern: Any, name: str | None = None) -> Tensor:
    """Return the files that match a pattern, or one of several, sorted."""
    return raw.MatchingFiles(pattern, name=name)  # type: ignore[no-any-return]


# --- readers ---
class ReaderBase:
    """What all readers do: they take names of files from a queue and give records, each with a key.

    Args:
        reader_ref: the reader's handle.
        supports_serialize: for compatibility; readers' states cannot be saved.
    """

    def __init__(self, reader_ref: Tensor, supports_serialize: bool = False) -> None:
        self._reader_ref = reader_ref
        self._supports_serialize = supports_serialize

    @property
    def reader_ref(self) -> Tensor:
        """The reader's handle."""
        return self._reader_ref

    @property
    def supports_serialize(self) -> bool:
        """Whether its state can be saved."""
        return self._supports_serialize

    def read(self, queue: Any, name: str | None = None) -> tuple[Tensor, Tensor]:
        """Return the key and the bytes of the next record, string scalars; `queue` holds names of files."""
        return raw.ReaderReadV2(self._reader_ref, _handle(queue), name=name)  # type: ignore[no-any-return]

    def read_up_to(self, queue: Any, num_records: Any, name: str | None = None) -> tuple[Tensor, Tensor]:
        """Return keys and bytes of the next records, at most `num_records`, string vectors."""
        return raw.ReaderReadUpToV2(  # type: ignore[no-any-return]
            self._reader_ref, _handle(queue), num_records, name=name
        )

    def num_records_produced(self, name: str | None = None) -> Tensor:
        """Return how many records were read, an int64 scalar."""
        return raw.ReaderNumRecordsProducedV2(self._reader_ref, name=name)  # type: ignore[no-any-return]

    def num_work_units_completed(self, name: str | None = None) -> Tensor:
        """Return how many files were read to their ends, an int64 scalar."""
        return raw.ReaderNumWorkUnitsCompletedV2(self._reader_ref, name=name)  # type: ignore[no-any-return]

    def reset(self, name: str | None = None) -> Operation:
        """Return an operation that lets the reader start anew."""
        return raw.ReaderResetV2(self._reader_ref, name=name)  # type: ignore[no-any-return]


def _handle(queue: Any) -> Tensor:
    return queue.queue_ref if isinstance(queue, QueueBase) else queue


class WholeFileReader(ReaderBase):
    """Records are whole files; the key is the name."""

    def __init__(self, name: str | None = None) -> None:
        super().__init__(raw.WholeFileReaderV2(name=name), True)


class TextLineReader(ReaderBase):
    """Records are lines, without their ends; the key is ``name:number``."""

    def __init__(self, skip_header_lines: int | None = None, name: str | None = None) -> None:
        super().__init__(raw.TextLineReaderV2(skip_header_lines=skip_header_lines, name=name))


class FixedLengthRecordReader(ReaderBase):
    """Records have one size; the key is ``name:number``."""

    def __init__(
        self, record_bytes: int, header_bytes: int | None = None, footer_bytes: int | None = None,
        hop_bytes: int | None = None, name: str | None = None, encoding: str | None = None,
    ) -> None:  # fmt: skip
        super().__init__(
            raw.FixedLengthRecordReaderV2(
                record_bytes=record_bytes,
                header_bytes=header_bytes,
                footer_bytes=footer_bytes,
                hop_bytes=hop_bytes,
                encoding=encoding,
                name=name,
            )
        )


class TFRecordReader(ReaderBase):
    """Records of TFRecord files; the key is ``name:offset``.

    Args:
        name: of the operation.
        options: `TFRecordOptions`, which tell how the files are compressed.
    """

    def __init__(self, name: str | None = None, options: Any = None) -> None:
        super().__init__(raw.TFRecordReaderV2(compression_type=compression_of(options), name=name))


class IdentityReader(ReaderBase):
    """Records are what the queue holds; the key is the same."""

    def __init__(self, name: str | None = None) -> None:
        super().__init__(raw.IdentityReaderV2(name=name), True)


def compression_of(options: Any) -> str:
    """Return ``""``, ``GZIP`` or ``ZLIB`` for `TFRecordOptions`, a kind of compression, a name, or None."""
    kind = getattr(options, "compression_type", options)
    if kind is None:
        return ""
    if isinstance(kind, str):
        return kind
    return ("", "ZLIB", "GZIP")[int(kind)]


# --- decoding ---
def decode_csv(
    records: Any, record_defaults: Sequence[Any], field_delim: str = ",", use_quote_delim: bool = True,
    name: str | None = None, na_value: str = "", select_cols: Sequence[int] | None = None,
) -> list[Tensor]:  # fmt: skip
    """Return the columns of lines of comma-separated values, each of the shape of `records`.

    Args:
        records: strings, a line each.
        record_defaults: for each column a vector: its default value, or empty where a value is required. Its dtype is
            that of the column (float32, float64, int32, int64, string). A dtype alone stands for an empty vector.
        field_delim: what is between fields.
        use_quote_delim: whether quotation marks hold a field together.
        na_value: what stands for no value, besides nothing.
        select_cols: numbers of the columns that are wanted, ascending; all otherwise.
    """
    if select_cols is not None and list(select_cols) != sorted(set(select_cols)):
        raise ValueError("select_cols is not strictly increasing.")
    if select_cols is not None and len(select_cols) != len(record_defaults):
        raise ValueError("Length of select_cols and record_defaults do not match.")
    defaults = [_default(d, i) for i, d in enumerate(record_defaults)]
    return raw.DecodeCSV(  # type: ignore[no-any-return]
        records, defaults, field_delim=field_delim, use_quote_delim=use_quote_delim, na_value=na_value,
        select_cols=select_cols, name=name,
    )  # fmt: skip


def _default(value: Any, i: int) -> Any:
    if isinstance(value, dtypes.DType):
        return constant(np.zeros(0, value.numpy), value, name=f"record_defaults_{i}")
    return value if is_tensor_like(value) else as_array(value)


def decode_raw(input_bytes: Any = None, out_type: Any = None, little_endian: bool = True, name: str | None = None,
               bytes: Any = None) -> Tensor:  # fmt: skip
    """Return the bytes of strings as numbers of `out_type`, with a last axis more."""
    value = input_bytes if input_bytes is not None else bytes
    return raw.DecodeRaw(value, out_type=out_type, little_endian=little_endian, name=name)  # type: ignore[no-any-return]


def decode_json_example(json_examples: Any, name: str | None = None) -> Tensor:
    """Return Example messages as bytes for those written as JSON."""
    return raw.DecodeJSONExample(json_examples, name=name)  # type: ignore[no-any-return]


def decode_compressed(bytes: Any, compression_type: str = "", name: str | None = None) -> Tensor:
    """Return strings decompressed: ``ZLIB``, ``GZIP`` or none."""
    return raw.DecodeCompressed(bytes, compression_type=compression_type, name=name)  # type: ignore[no-any-return]


def parse_tensor(serialized: Any, out_type: Any, name: str | None = None) -> Tensor:
    """Return the tensor of a serialized TensorProto."""
    return raw.ParseTensor(serialized, out_type=out_type, name=name)  # type: ignore[no-any-return]


def serialize_tensor(tensor: Any, name: str | None = None) -> Tensor:
    """Return a tensor as a serialized TensorProto, a string scalar."""
    return raw.SerializeTensor(tensor, name=name)  # type: ignore[no-any-return]


__all__ = [
    "FixedLengthRecordReader", "IdentityReader", "ReaderBase", "TFRecordReader", "TextLineReader", "WholeFileReader",
    "decode_compressed", "decode_csv", "decode_json_example", "decode_raw", "matching_files", "parse_tensor",
    "read_file", "serialize_tensor", "write_file",
]  # fmt: skip
