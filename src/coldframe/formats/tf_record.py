"""Files of records (TFRecord): what input pipelines read, and what event files are made of.

::

    file    record*                      whole, or inside one zlib or gzip stream (several in a row are read as one)
    record  u64 size | u32 masked crc of the 8 bytes before | payload: size bytes | u32 masked crc of the payload

Numbers are little-endian; the mask is that of `coldframe.formats.crc32c`. There is no index and no end mark: a file
that ends between records is whole. Offsets in errors count bytes of the records, decompressed.

A size is believed only as far as the file, or what the stream really gives, goes. Source: TensorFlow's
``core/lib/io/record_writer.h`` and ``zlib_compression_options.h``.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final, Literal, Protocol, Self, TypeAlias

from coldframe.errors import ChecksumError, CorruptError, MisuseError, TruncatedError, WrongFileError
from coldframe.formats import crc32c
from coldframe.formats.files import Chunk, PathLike, open_file

Compression: TypeAlias = Literal["", "GZIP", "ZLIB"]

_HEADER: Final = struct.Struct("<QI")
_FOOTER: Final = struct.Struct("<I")
_WBITS: Final = {"GZIP": zlib.MAX_WBITS | 16, "ZLIB": zlib.MAX_WBITS}
_CHUNK: Final = 1 << 18  # bytes read, or inflated, at once
_GZIP_MAGIC: Final = b"\x1f\x8b"


def encode_record(payload: Chunk) -> bytes:
    """Return `payload` framed as one record."""
    size = len(payload).to_bytes(8, "little")
    return b"".join((size, _FOOTER.pack(crc32c.masked(size)), payload, _FOOTER.pack(crc32c.masked(payload))))


class _Source(Protocol):
    def more(self, size: int) -> bytes:
        """Return the next bytes, `size` of them or some other number; none at the end. Allocate no more than exist."""


class _Plain:
    """Bytes of a file as they are."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def more(self, size: int) -> bytes:
        if size > _CHUNK:  # a file object allocates what it is asked for
            size = min(size, os.fstat(self._file.fileno()).st_size - self._file.tell())
        return self._file.read(max(size, _CHUNK))


class _Inflated:
    """Bytes of the streams that a file is made of, inflated as they are asked for."""

    def __init__(self, file: IO[bytes], compression: str, name: str) -> None:
        self._file, self._compression, self._name = file, compression, name
        self._inflater = zlib.decompressobj(_WBITS[compression])
        self._pending = b""  # read, not inflated
        self._inside = False  # a stream has begun and not ended

    def more(self, size: int) -> bytes:
        del size
        while True:
            if not self._pending:
                self._pending = self._file.read(_CHUNK)
            at_end = not self._pending
            if at_end and not self._inside:
                return b""
            out = self._inflate()
            if self._inflater.eof:
                self._pending, self._inside = self._inflater.unused_data, False
                self._inflater = zlib.decompressobj(_WBITS[self._compression])
            if out:
                return out
            if at_end:
                raise TruncatedError(
                    f"a {self._compression} stream ends early",
                    where=f"in {self._name}, at byte {self._file.tell()}",
                    hint="was the program that wrote it stopped before it closed the file?",
                )

    def _inflate(self) -> bytes:
        try:
            out = self._inflater.decompress(self._pending, _CHUNK)
        except zlib.error as e:
            begins = self._file.tell() - len(self._pending)
            raise CorruptError(
                f"damaged {self._compression} stream",
                where=f"in {self._name}, in the bytes from {begins} on",
                found=str(e),
                hint=f"is the file compressed, and with {self._compression}?",
            ) from e
        self._pending, self._inside = self._inflater.unconsumed_tail, True
        return out


class RecordReader:
    """The records of a file, one after the other; a context manager, and an iterator of bytes.

    Args:
        path: the file.
        compression: `""`, `"GZIP"` or `"ZLIB"`.

    Attributes:
        offset: where the next record begins, in bytes of the (decompressed) records.

    Raises:
        NotFoundError: there is no such file.
        MisuseError: `compression` is none of the three.
    """

    def __init__(self, path: PathLike, compression: str = "") -> None:
        check_compression(compression)
        self.name = os.fspath(path)
        self.offset = 0
        self._compression = compression
        self._file = open_file(path)
        self._buffer, self._at = b"", 0  # bytes of records, and where in them the next record begins
        self._source: _Source = _Inflated(self._file, compression, self.name) if compression else _Plain(self._file)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; reading on is an error then."""
        self._file.close()

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        """Return the payload of the next record.

        Raises:
            TruncatedError: the file ends inside the record. Once it has grown, the same call gives the record.
            ChecksumError: a checksum does not match.
            CorruptError: the compressed stream is damaged.
            WrongFileError: the file is compressed, and the reader was not told.
        """
        if not self._have(_HEADER.size):
            if self._at == len(self._buffer):
                raise StopIteration
            raise self._truncated("the header of a record", _HEADER.size)
        size, stored = _HEADER.unpack_from(self._buffer, self._at)
        header = self._buffer[self._at : self._at + 8]
        if crc32c.masked(header) != stored:
            raise self._not_a_header(header, stored)
        if not self._have(_HEADER.size + size + _FOOTER.size):
            raise self._truncated("a record", _HEADER.size + size + _FOOTER.size)
        begin = self._at + _HEADER.size
        payload = self._buffer[begin : begin + size]
        (stored,) = _FOOTER.unpack_from(self._buffer, begin + size)
        if crc32c.masked(payload) != stored:
            where = f"of a record of {size} bytes in {self.name}, at byte {self.offset}"
            crc32c.check(stored, crc32c.value(payload), where=where)
        self._at = begin + size + _FOOTER.size
        self.offset += _HEADER.size + size + _FOOTER.size
        return payload

    def at_hand(self) -> Iterator[bytes]:
        """Yield the next records as long as they are sound and no more of the file must be read; never raises."""
        buffer, at = self._buffer, self._at
        last = len(buffer) - _HEADER.size - _FOOTER.size
        unpack, masked = _HEADER.unpack_from, crc32c.masked
        while at <= last:
            size, stored = unpack(buffer, at)
            begin = at + 12
            end = begin + size
            if size > last - at or masked(buffer[at : at + 8]) != stored:
                return
            payload = buffer[begin:end]
            if masked(payload).to_bytes(4, "little") != buffer[end : end + 4]:
                return
            self.offset += end + 4 - at
            self._at = at = end + 4
            yield payload
            if self._buffer is not buffer or self._at != at:
                return  # somebody read on meanwhile

    def _have(self, size: int) -> bool:
        """Fill the buffer until it has `size` bytes of the next record; say whether there are as many."""
        have = len(self._buffer) - self._at
        if have >= size:
            return True
        parts = [self._buffer[self._at :]]
        try:
            while have < size and (part := self._source.more(size - have)):
                parts.append(part)
                have += len(part)
        finally:
            self._buffer, self._at = b"".join(parts), 0
        return have >= size

    def _truncated(self, what: str, size: int) -> TruncatedError:
        return TruncatedError(
            f"{what} is cut off",
            where=f"in {self.name}, at byte {self.offset}",
            expected=f"{size} bytes",
            found=len(self._buffer) - self._at,
        )

    def _not_a_header(self, header: bytes, stored: int) -> Exception:
        if not self._compression and self.offset == 0 and header.startswith(_GZIP_MAGIC):
            return WrongFileError(
                f"`{self.name}` is compressed",
                expected="records that are not",
                found="a gzip stream",
                hint='pass the compression "GZIP"',
            )
        return ChecksumError(
            "the size of a record does not match its checksum",
            where=f"in {self.name}, at byte {self.offset}",
            expected=f"crc32c {crc32c.unmask(stored):#010x}",
            found=f"{crc32c.value(header):#010x}",
            hint="is it a file of records, and not compressed?" if self.offset == 0 and not self._compression else "",
        )


def read_records(path: PathLike, compression: str = "") -> Iterator[bytes]:
    """Yield the payloads of the records in a file; it is opened at the first one. Raises as `RecordReader`."""
    with RecordReader(path, compression) as reader:
        while True:
            yield from reader.at_hand()
            record = next(reader, None)
            if record is None:
                return
            yield record


def check_compression(compression: str) -> None:
    """Raise `MisuseError` unless `compression` is one that files of records can have."""
    if compression and compression not in _WBITS:
        raise MisuseError("unknown compression", expected="``, `GZIP` or `ZLIB`", found=f"`{compression}`")


class RecordWriter:
    """Writes records to a file; a context manager. What is written is in the file for sure after `flush` or `close`.

    Args:
        path: the file.
        compression: `""`, `"GZIP"` or `"ZLIB"`.
        level: how hard to compress, from 0 to 9; -1 is zlib's default.
        mode: what to do where the file exists: `"wb"` replaces it, `"ab"` goes on behind it, `"xb"` raises.
        window_bits, memory_level, strategy: as zlib's `deflateInit2` takes them; the format is `compression`'s.

    Raises:
        MisuseError: `compression` is none of the three.
        OSError: the system refuses to create the file; `FileExistsError` for `"xb"`.
    """

    def __init__(
        self,
        path: PathLike,
        compression: str = "",
        *,
        level: int = -1,
        mode: Literal["wb", "ab", "xb"] = "wb",
        window_bits: int = zlib.MAX_WBITS,
        memory_level: int = zlib.DEF_MEM_LEVEL,
        strategy: int = zlib.Z_DEFAULT_STRATEGY,
    ) -> None:
        check_compression(compression)
        self.name = os.fspath(path)
        self._deflater = None
        if compression:
            bits = window_bits | 16 if compression == "GZIP" else window_bits
            self._deflater = zlib.compressobj(level, zlib.DEFLATED, bits, memory_level, strategy)
        self._file: IO[bytes] = Path(path).open(mode)  # noqa: SIM115 - closed by `close`

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def closed(self) -> bool:
        """Whether the file is finished."""
        return self._file.closed

    def write(self, payload: Chunk) -> None:
        """Append one record.

        Raises:
            MisuseError: the writer is closed.
        """
        if self._file.closed:
            raise MisuseError(f"the writer of `{self.name}` is closed")
        record = encode_record(payload)
        self._file.write(record if self._deflater is None else self._deflater.compress(record))

    def flush(self) -> None:
        """Hand all that was written to the operating system, so that readers see it."""
        if self._file.closed:
            return
        if self._deflater is not None:
            self._file.write(self._deflater.flush(zlib.Z_SYNC_FLUSH))
        self._file.flush()

    def close(self) -> None:
        """Finish the file; a second call does nothing."""
        if self._file.closed:
            return
        with self._file as file:
            if self._deflater is not None:
                file.write(self._deflater.flush())
