"""Safetensors files: named arrays behind a JSON header.

::

    [uint64 size of the header] [header: JSON, padded with spaces to a multiple of 8] [data]
    {"name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [begin, end]}, ..., "__metadata__": {"key": "text"}}

Offsets count from the end of the header; tensors lie one behind the other without holes, little-endian and row-major.
Follows https://github.com/huggingface/safetensors#format. The package of that name takes all tensors as bytes at once
to write a file, and knows no chunks; here neither end holds more than a piece of one.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from coldframe import dtypes
from coldframe.dtypes import DType
from coldframe.errors import CorruptError, MisuseError, TruncatedError, UnsupportedFormatError
from coldframe.formats import files
from coldframe.formats.sources import Source
from coldframe.records import dataclass

METADATA: Final = "__metadata__"
_MAX_HEADER: Final = 100_000_000  # as the package allows
_CODES: Final = {
    "BOOL": dtypes.bool_, "U8": dtypes.uint8, "I8": dtypes.int8, "U16": dtypes.uint16, "I16": dtypes.int16,
    "U32": dtypes.uint32, "I32": dtypes.int32, "U64": dtypes.uint64, "I64": dtypes.int64, "F16": dtypes.float16,
    "BF16": dtypes.bfloat16, "F32": dtypes.float32, "F64": dtypes.float64, "C64": dtypes.complex64,
    "F8_E5M2": dtypes.as_dtype("float8_e5m2"), "F8_E4M3": dtypes.as_dtype("float8_e4m3fn"),
}  # fmt: skip
CODE_OF: Final = {dtype: code for code, dtype in _CODES.items()}


@dataclass(frozen=True, slots=True)
class Stored:
    """A tensor of a safetensors file.

    Attributes:
        name: its name.
        dtype: its dtype.
        shape: its shape.
        offset: where its bytes begin in the file.
        size: how many bytes.
    """

    name: str
    dtype: DType
    shape: tuple[int, ...]
    offset: int = 0
    size: int = 0


def write(
    path: str | os.PathLike[str],
    tensors: Sequence[Stored],
    chunks: Callable[[str], Iterable[bytes | memoryview]],
    *,
    metadata: Mapping[str, str],
) -> None:
    """Write a safetensors file, replacing what is there in one step.

    Args:
        path: the file; its folder must exist.
        tensors: names, dtypes and shapes, in the order in which they are written.
        chunks: yields a tensor's bytes by its name, little-endian.
        metadata: texts by key.

    Raises:
        UnsupportedFormatError: a dtype does not exist in such files; nothing is written.
        MisuseError: a name is taken, or chunks hold another number of bytes than the shape asks for.
        OSError: the system refuses to write.
    """
    header: dict[str, Any] = {METADATA: dict(metadata)} if metadata else {}
    at = 0
    sizes: dict[str, int] = {}
    for t in tensors:
        if t.dtype not in CODE_OF:
            raise UnsupportedFormatError(f"{t.dtype} tensors do not exist in safetensors files", where=f"`{t.name}`")
        if t.name in sizes or t.name == METADATA:
            raise MisuseError(f"the name `{t.name}` is taken", where=f"in {path}")
        size = sizes[t.name] = math.prod(t.shape) * t.dtype.width
        header[t.name] = {"dtype": CODE_OF[t.dtype], "shape": list(t.shape), "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    if len(text) > _MAX_HEADER:
        raise UnsupportedFormatError(
            "safetensors header is too large", where=f"in {path}", expected=f"at most {_MAX_HEADER}", found=len(text)
        )

    def pieces() -> Iterator[bytes | memoryview]:
        yield len(text).to_bytes(8, "little") + text
        for t in tensors:
            written = 0
            for chunk in chunks(t.name):
                written += len(chunk)
                yield chunk
            if written != sizes[t.name]:
                raise MisuseError(f"`{t.name}` has another size", expected=sizes[t.name], found=written)

    files.write_atomic(path, pieces())


def read_header(source: Source, *, where: str) -> tuple[list[Stored], dict[str, str]]:
    """Return the tensors of a safetensors file, in the order in which they lie, and the metadata.

    Raises:
        CorruptError: it is damaged, or not such a file.
        UnsupportedFormatError: a dtype is not known here.
    """
    if source.size < 8:
        raise TruncatedError("not a safetensors file", where=where, expected="at least 8 bytes", found=source.size)
    size = int.from_bytes(source.read(0, 8), "little")
    if size > min(_MAX_HEADER, source.size - 8):
        raise CorruptError(
            "safetensors header is too large", where=where, expected=f"at most {source.size - 8} bytes", found=size
        )
    try:
        header = json.loads(bytes(source.read(8, size)).decode())
    except ValueError as e:
        raise CorruptError("safetensors header is no JSON", where=where, found=str(e)) from None
    except RecursionError:
        raise CorruptError("safetensors header is nested too deeply", where=where) from None
    if not isinstance(header, dict):
        raise CorruptError("safetensors header is no object", where=where, found=type(header).__name__)
    metadata = header.pop(METADATA, {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise CorruptError("safetensors metadata is not text by key", where=where)
    found = sorted((_stored(name, fact, 8 + size, where) for name, fact in header.items()), key=lambda t: t.offset)
    at = 8 + size
    for t in found:
        if t.offset != at and t.size:
            raise CorruptError(
                "tensors do not lie one behind the other", where=f"of tensor `{t.name}` {where}", expected=at,
                found=t.offset,
            )  # fmt: skip
        at += t.size
    if at != source.size:
        raise CorruptError("safetensors file of another size", where=where, expected=at, found=source.size)
    return found, metadata


def _stored(name: str, fact: Any, start: int, where: str) -> Stored:
    place = f"of tensor `{name}` {where}"
    if not isinstance(fact, dict):
        raise CorruptError("damaged entry", where=place, found=repr(fact)[:80])
    shape, offsets, code = _counts(fact.get("shape")), _counts(fact.get("data_offsets")), fact.get("dtype")
    if shape is None or offsets is None or len(offsets) != 2 or not isinstance(code, str):
        raise CorruptError("damaged entry", where=place, found=repr(fact)[:80])
    if code not in _CODES:
        raise UnsupportedFormatError(
            "dtype is not known", where=place, expected=f"one of {', '.join(_CODES)}", found=code[:40]
        )
    dtype, size = _CODES[code], offsets[1] - offsets[0]
    if size != math.prod(shape) * dtype.width:
        expected = f"{math.prod(shape) * dtype.width} bytes for {dtype}{list(shape)}"
        raise CorruptError("tensor of another size", where=place, expected=expected, found=size)
    return Stored(name, dtype, tuple(shape), start + offsets[0], size)


def _counts(value: Any) -> list[int] | None:
    fits = isinstance(value, list) and all(type(v) is int and 0 <= v < 1 << 62 for v in value)
    return value if fits else None
