"""Strings that hold other data: raw numbers, CSV records, compressed bytes, serialized tensors."""

from __future__ import annotations

import json
import struct
import zlib
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from coldframe import dtypes
from coldframe.dtypes import DType
from coldframe.errors import ColdframeError
from coldframe.formats import messages, tensor_proto, wire
from coldframe.ops import inference_text
from coldframe.ops.strings import numbers
from coldframe.ops.table import op
from coldframe.primitives.base import refuse
from coldframe.primitives.numpy_shape import dims

Array = npt.NDArray[Any]
_HOST: Final = "strings"
_MOST: Final = 1 << 30  # bytes that one compressed string may become: 1 MiB of zeros takes 1 KiB
_WINDOWS: Final = {"ZLIB": zlib.MAX_WBITS, "GZIP": zlib.MAX_WBITS | 16}


def _numbers(data: bytes, out_type: DType, little_endian: bool) -> Array:
    kind = out_type.numpy
    if not little_endian and kind.itemsize > 1:
        part = kind.itemsize // (2 if kind.kind == "c" else 1)
        data = np.frombuffer(data, f"V{part}").view(np.uint8).reshape(-1, part)[:, ::-1].tobytes()
    return np.frombuffer(data, kind)


@op("DecodeRaw", shape=inference_text.decode_raw, host=_HOST)
def decode_raw(xp: Any, bytes: Array, *, out_type: DType, little_endian: bool) -> Any:
    """The numbers whose bytes the strings are, all of one length, along a new last dimension."""
    items = bytes.ravel().tolist()
    lengths = {len(b) for b in items}
    if len(lengths) > 1:
        raise refuse("strings to decode differ in length", expected=len(items[0]), found=sorted(lengths))
    size = lengths.pop() if lengths else 0
    if size % out_type.width:
        raise refuse(f"a string is no {out_type} numbers", expected=f"a multiple of {out_type.width} bytes", found=size)
    values = _numbers(b"".join(items), out_type, little_endian)
    return values.reshape(*bytes.shape, size // out_type.width)


@op("DecodePaddedRaw", shape=inference_text.decode_padded_raw, host=_HOST)
def decode_padded_raw(xp: Any, input_bytes: Array, fixed_length: Any, *, out_type: DType, little_endian: bool) -> Any:
    """The numbers whose bytes the strings are, each cut or filled with zeros to `fixed_length` bytes."""
    if np.ndim(fixed_length):
        raise refuse("`fixed_length`", expected="a scalar", found=f"shape {list(np.shape(fixed_length))}")
    size = int(fixed_length)
    if size <= 0 or size % out_type.width:
        raise refuse("`fixed_length`", expected=f"a positive multiple of {out_type.width}", found=size)
    dims([input_bytes.size, size])
    data = b"".join(b[:size].ljust(size, b"\0") for b in input_bytes.ravel().tolist())
    return _numbers(data, out_type, little_endian).reshape(*input_bytes.shape, size // out_type.width)


@op("DecodeCompressed", shape="x -> x", host=_HOST)
def decode_compressed(xp: Any, bytes: Array, *, compression_type: str) -> Any:
    """Strings decompressed: `ZLIB`, `GZIP`, or nothing to do."""
    if not compression_type:
        return bytes
    if compression_type not in _WINDOWS:
        raise refuse("`compression_type`", expected="``, `ZLIB` or `GZIP`", found=compression_type)
    out = np.empty(bytes.shape, object)
    for i, data in enumerate(bytes.flat):
        out.flat[i] = _decompressed(data, compression_type)
    return out


def _decompressed(data: bytes, kind: str) -> bytes:
    reader = zlib.decompressobj(_WINDOWS[kind])
    try:
        out = reader.decompress(data, _MOST)
    except zlib.error as e:
        raise refuse(f"a string is not {kind} data", found=f"{len(data)} bytes: {e}") from e
    if reader.unconsumed_tail:
        raise refuse("a string decompresses to too much", expected=f"at most {_MOST} bytes")
    return out


# --- tensors ---
@op("ParseTensor", host=_HOST)
def parse_tensor(xp: Any, serialized: Array, *, out_type: DType) -> Any:
    """The tensor of a serialized TensorProto."""
    if serialized.ndim:
        raise refuse("a serialized tensor", expected="a scalar", found=f"shape {list(serialized.shape)}")
    return parsed_tensor(serialized.item(), out_type)


def parsed_tensor(data: bytes, dtype: DType) -> Array:
    """Return the tensor of a serialized TensorProto, which is to be of `dtype`."""
    try:
        proto = messages.parse("TensorProto", data, where="in a string")
        if proto.dtype != dtype.enum:
            raise refuse("a serialized tensor has another dtype", expected=dtype, found=dtypes.from_enum(proto.dtype))
        return tensor_proto.to_array(proto, where="in a string")
    except ColdframeError as e:
        raise refuse("a string is not a serialized tensor", expected=dtype, found=e.what) from e


def serialized_tensor(value: Array, *, content: bool = False) -> bytes:
    """Return the bytes of a TensorProto; numbers, even a single one, are in its ``tensor_content``.

    Strings are listed, or with `content` there too: their lengths as varints, then all of them end to end.
    """
    dtype = dtypes.from_numpy(value.dtype)
    if dtype is dtypes.string and not content:
        return messages.serialize(tensor_proto.from_array(value), where="for a string")
    proto = messages.TensorProto(dtype=dtype.enum, tensor_shape=tensor_proto.shape_proto(value.shape))
    if dtype is dtypes.string:
        items = value.ravel().tolist()
        proto.tensor_content = b"".join([*(_varint(len(i)) for i in items), *items])
    else:
        proto.tensor_content = value.tobytes()
    return messages.serialize(proto, where="for a string")


def _varint(n: int) -> bytes:
    out = bytearray()
    while n >= 0x80:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    out.append(n)
    return bytes(out)


@op("SerializeTensor", shape="-> []", host=_HOST)
def serialize_tensor(xp: Any, tensor: Array) -> Any:
    """A tensor as a serialized TensorProto."""
    out = np.empty((), object)
    out[()] = serialized_tensor(np.asarray(tensor))
    return out


# --- records ---
@op("DecodeCSV", shape=inference_text.decode_csv, host=_HOST)
def decode_csv(
    xp: Any, records: Array, record_defaults: list[Array],
    *, OUT_TYPE: Any, field_delim: str, use_quote_delim: bool, na_value: str, select_cols: Any,
) -> Any:  # fmt: skip
    """The columns of comma-separated records; an empty field takes its column's default."""
    if len(field_delim) != 1 or field_delim in '"\n\r':
        raise refuse("`field_delim`", expected="one character, no quote or end of line", found=field_delim)
    if select_cols and (len(select_cols) != len(OUT_TYPE) or list(select_cols) != sorted(set(select_cols))):
        raise refuse("`select_cols`", expected=f"{len(OUT_TYPE)} increasing numbers", found=list(select_cols))
    if select_cols and select_cols[0] < 0:
        raise refuse("`select_cols`", expected="no negative number", found=list(select_cols))
    for i, d in enumerate(record_defaults):
        if d.ndim > 1 or d.size > 1:
            raise refuse(f"default {i}", expected="at most one value", found=f"shape {list(d.shape)}")
    missing = na_value.encode("utf-8", "surrogateescape")
    columns = _columns(records.ravel().tolist(), field_delim.encode(), use_quote_delim, select_cols, len(OUT_TYPE))
    return [
        _column(fields, c, dtype, missing, default.ravel()).reshape(records.shape)
        for c, (fields, dtype, default) in enumerate(zip(columns, OUT_TYPE, record_defaults, strict=True))
    ]


def _column(fields: list[bytes], c: int, dtype: DType, missing: bytes, default: Array) -> Array:
    """Return column `c`; empty fields, and those that say so, are missing."""
    out: Array = np.empty(len(fields), dtype.numpy)
    given = [r for r, field in enumerate(fields) if field and field != missing]
    if len(given) < len(fields):
        if not default.size:
            r = next(r for r, field in enumerate(fields) if not field or field == missing)
            raise refuse(f"field {c} of record {r} is required but missing")
        out[:] = default[0]
        fields = [fields[r] for r in given]
    out[given if len(given) < len(out) else slice(None)] = fields if dtype is dtypes.string else numbers(fields, dtype)
    return out


def _columns(records: list[bytes], delim: bytes, quotes: bool, selected: Any, count: int) -> list[list[bytes]]:
    """Return the fields of each column, `count` of them; records with another number of fields are refused."""
    everything = delim.join(records)
    plain = b"\n" not in everything and b"\r" not in everything and not (quotes and b'"' in everything)
    width = records[0].count(delim) + 1 if records else 0
    if plain and all(records) and all(record.count(delim) + 1 == width for record in records):
        places = selected or range(width)
        if len(places) == count and places[-1] < width:
            fields = everything.split(delim)
            return [fields[k::width] for k in places]
    rows = [_fields(record, delim, quotes, selected) for record in records]
    for r, found in enumerate(rows):
        if len(found) != count:
            raise refuse(f"record {r}", expected=f"{count} fields", found=len(found))
    return [[row[c] for row in rows] for c in range(count)]


def _fields(record: bytes, delim: bytes, quotes: bool, selected: Any) -> list[bytes]:
    """Split a record; line ends between fields are skipped, a quoted field may hold anything."""
    out: list[bytes] = []
    at, count = 0, 0
    while at < len(record):
        if record[at] in b"\r\n":
            at += 1
            continue
        if quotes and record[at : at + 1] == b'"':
            field, at = _quoted(record, at + 1, delim)
        else:
            end = record.find(delim, at)
            end = len(record) if end < 0 else end
            field, at = record[at:end], end + 1
            if (quotes and b'"' in field) or b"\n" in field or b"\r" in field:
                raise refuse("a field that is not quoted holds a quote or an end of line", found=field[:64])
        if not selected or count in selected:
            out.append(field)
            if len(out) == len(selected):
                return out
        count += 1
    if record.endswith(delim) and (not selected or count in selected):
        out.append(b"")
    return out


def _quoted(record: bytes, at: int, delim: bytes) -> tuple[bytes, int]:
    parts = []
    while True:
        end = record.find(b'"', at)
        if end < 0:
            raise refuse("a quoted field has no end", found=record[at : at + 64])
        parts.append(record[at:end])
        if end + 1 == len(record) or record[end + 1 : end + 2] == delim:
            return b'"'.join(parts), end + 2
        if record[end + 1 : end + 2] != b'"':
            raise refuse("a quote inside a quoted field is not doubled", found=record[at : at + 64])
        at = end + 2


@op("DecodeJSONExample", shape="x -> x", host="protocol buffers", no_gradient=True)
def decode_json_example(xp: Any, json_examples: Any) -> Any:
    """Example protos, serialized, of what is one in JSON."""
    from google.protobuf import json_format  # here: few graphs have it

    out = np.empty(json_examples.shape, object)
    for i, text in enumerate(json_examples.ravel().tolist()):
        try:
            told = json.loads(text)
            if not isinstance(told, dict):
                raise refuse(f"not an Example in JSON at index {i}", found=type(told).__name__)
            made = json_format.ParseDict(told, messages.message_class("tensorflow.Example")())
        except (json_format.ParseError, ValueError, RecursionError) as e:
            raise refuse(f"not an Example in JSON at index {i}", found=str(e)) from e
        out.reshape(-1)[i] = _serialized(made, told)
    return out


def _serialized(example: Any, told: dict[str, Any]) -> bytes:
    """Return an Example as TensorFlow writes what it reads from JSON: features in that order, numbers not packed."""
    if told.get("features") is None:
        return b""
    features = b"".join(
        wire.bytes_field(1, wire.bytes_field(1, name.encode()) + wire.bytes_field(2, _feature(example, name)))
        for name in told["features"].get("feature") or ()
    )
    return wire.bytes_field(1, features)


def _feature(example: Any, name: str) -> bytes:
    feature = example.features.feature[name]
    match feature.WhichOneof("kind"):
        case "bytes_list":
            return wire.bytes_field(1, b"".join(wire.bytes_field(1, v) for v in feature.bytes_list.value))
        case "float_list":
            return wire.bytes_field(2, b"".join(b"\r" + struct.pack("<f", v) for v in feature.float_list.value))
        case "int64_list":
            values = (b"\x08" + wire.encode_varint(v & (1 << 64) - 1) for v in feature.int64_list.value)
            return wire.bytes_field(3, b"".join(values))
    return b""
