"""Files of lines, and of records of one size, read piece by piece; either may be compressed, with gzip or zlib."""

from __future__ import annotations

import contextlib
import gzip
import io
import zlib
from collections.abc import Iterator
from typing import BinaryIO, Final, cast

from coldframe.errors import CorruptError
from coldframe.formats.files import open_file, read_file
from coldframe.formats.tf_record import check_compression

_CHUNK: Final = 1 << 18


@contextlib.contextmanager
def opened(path: str, compression: str = "") -> Iterator[BinaryIO]:
    """Open the file, or what is compressed in it.

    Raises:
        NotFoundError: there is no such file.
        CorruptError: the compressed stream is damaged, or ends early.
    """
    check_compression(compression)
    try:
        with open_file(path) as file:
            if compression == "GZIP":
                yield cast(BinaryIO, gzip.GzipFile(fileobj=file))
            elif compression == "ZLIB":
                yield io.BytesIO(zlib.decompress(read_file(path)))
            else:
                yield cast(BinaryIO, file)
    except (zlib.error, EOFError, gzip.BadGzipFile) as e:
        raise CorruptError(f"damaged {compression} stream", where=f"in {path}", found=str(e)) from e


def lines(path: str, compression: str = "") -> Iterator[bytes]:
    r"""Yield lines without their ends, ``\n`` or ``\r\n``."""
    with opened(path, compression) as file:
        for line in file:
            end = line.endswith(b"\n")
            yield line[:-2] if line.endswith(b"\r\n") else line[:-1] if end else line


def fixed_length(
    path: str, size: int, header: int = 0, footer: int = 0, hop: int = 0, *, compression: str = ""
) -> Iterator[bytes]:
    """Yield records of `size` bytes, each starting `hop` after the one before (by default one after the other)."""
    hop = hop or size
    with opened(path, compression) as file:
        file.read(header)
        held = b""
        while True:
            while len(held) < size + footer:
                more = file.read(max(_CHUNK, hop))
                if not more:
                    return
                held += more
            at = 0
            while len(held) - at >= size + footer:
                yield held[at : at + size]
                at += hop
            file.read(max(at - len(held), 0))
            held = held[at:]
