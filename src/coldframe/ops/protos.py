"""Fields of protocol buffers as tensors, and tensors as protocol buffers.

The type of the messages is told by attributes: its full name, and where its descriptor is. ``local://`` is TensorFlow's
own messages; ``bytes://`` is followed by a serialized FileDescriptorSet; anything else is the path of a file that holds
one. Such descriptors get a pool of their own.

A field becomes two things: in `sizes`, how many values each message has, and a tensor of as many columns as the message
with the most has, at least one; where a message has fewer, the rest is the field's default. As in TensorFlow messages
are read off the wire: submessages stay bytes that nobody looks into, and the last value of a field counts.
After tensorflow/core/ops/{decode,encode}_proto_ops.cc and https://protobuf.dev/programming-guides/encoding/.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from coldframe import dtypes
from coldframe.dtypes import DType
from coldframe.errors import ColdframeError, near_names
from coldframe.formats import messages
from coldframe.formats.wire import decode_varint, encode_varint, signed
from coldframe.ops.state import State
from coldframe.ops.table import op
from coldframe.primitives.base import refuse
from coldframe.primitives.numpy_shape import dims
from coldframe.records import dataclass

Array = npt.NDArray[Any]
Payload = int | bytes
_HOST: Final = "protocol buffers"
_LOCAL: Final = ("", "local://")
_BYTES: Final = "bytes://"
_FORMATS: Final = ("binary", "text")
_DEPTH: Final = 100  # groups within groups
_VARINT, _EIGHT, _SIZED, _GROUP, _END, _FOUR = range(6)


# --- kinds of fields --------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class _Kind:
    """How values of a protobuf type lie on the wire.

    Attributes:
        name: of the type.
        wire: the wire type.
        dtypes: those that tensors of them can have.
        read: a value of its payload.
        write: the bytes of a value, without the tag.
    """

    name: str
    wire: int
    dtypes: tuple[DType, ...]
    read: Callable[[Payload], Any]
    write: Callable[[Any], bytes]


def _narrow(value: Any) -> int:
    """The low 32 bits, with their sign."""
    low = int(value) & 0xFFFFFFFF
    return low - (low >> 31 << 32)


def _unzigzag(value: Any) -> int:
    bits = int(value)
    return (bits >> 1) ^ -(bits & 1)


def _varint(value: Any) -> bytes:
    return encode_varint(int(value) & 0xFFFFFFFFFFFFFFFF)


def _fixed(code: str) -> tuple[Callable[[Payload], Any], Callable[[Any], bytes]]:
    pack = struct.Struct(f"<{code}")
    mask = (1 << 8 * pack.size) - 1

    def read(p: Payload) -> Any:
        return pack.unpack((int(p) & mask).to_bytes(pack.size, "little"))[0]

    def write(value: Any) -> bytes:
        return (int(value) & mask).to_bytes(pack.size, "little")

    return read, write


def _floating(code: str, kind: Any) -> tuple[Callable[[Payload], Any], Callable[[Any], bytes]]:
    def write(value: Any) -> bytes:
        with np.errstate(over="ignore"):
            return kind(value).tobytes()  # type: ignore[no-any-return]

    return _fixed(code)[0], write


def _sized(value: Any) -> bytes:
    return encode_varint(len(value)) + bytes(value)


_I32, _I64 = (dtypes.int32, dtypes.int64), (dtypes.int64,)
_U32, _U64 = (dtypes.uint32, dtypes.uint64), (dtypes.uint64,)
_TEXT: Final = (dtypes.string,)
_KINDS: Final = {
    1: _Kind("double", _EIGHT, (dtypes.float64,), *_floating("d", np.float64)),
    2: _Kind("float", _FOUR, (dtypes.float32, dtypes.float64), *_floating("f", np.float32)),
    3: _Kind("int64", _VARINT, _I64, lambda p: signed(int(p)), _varint),
    4: _Kind("uint64", _VARINT, _U64, lambda p: p, _varint),
    5: _Kind("int32", _VARINT, _I32, _narrow, lambda v: _varint(_narrow(v))),
    6: _Kind("fixed64", _EIGHT, _U64, *_fixed("Q")),
    7: _Kind("fixed32", _FOUR, _U32, *_fixed("I")),
    8: _Kind("bool", _VARINT, (dtypes.bool_,), bool, _varint),
    9: _Kind("string", _SIZED, _TEXT, lambda p: p, _sized),
    10: _Kind("group", _GROUP, _TEXT, lambda p: p, bytes),
    11: _Kind("message", _SIZED, _TEXT, lambda p: p, _sized),
    12: _Kind("bytes", _SIZED, _TEXT, lambda p: p, _sized),
    13: _Kind("uint32", _VARINT, _U32, lambda p: int(p) & 0xFFFFFFFF, lambda v: _varint(int(v) & 0xFFFFFFFF)),
    14: _Kind("enum", _VARINT, (dtypes.int32,), _narrow, _varint),
    15: _Kind("sfixed32", _FOUR, _I32, *_fixed("i")),
    16: _Kind("sfixed64", _EIGHT, _I64, *_fixed("q")),
    17: _Kind(
        "sint32", _VARINT, _I32, lambda p: _unzigzag(int(p) & 0xFFFFFFFF),
        lambda v: _varint((_narrow(v) << 1 ^ _narrow(v) >> 31) & 0xFFFFFFFF),
    ),
    18: _Kind("sint64", _VARINT, _I64, _unzigzag, lambda v: _varint(int(v) << 1 ^ int(v) >> 63)),
}  # fmt: skip


# --- descriptors ------------------------------------------------------------------------------------------------
@functools.lru_cache(maxsize=16)
def _pool(data: bytes) -> Any:
    """The descriptors of a serialized FileDescriptorSet, in which files follow those that they import."""
    try:
        files = descriptor_pb2.FileDescriptorSet.FromString(data)
        pool = descriptor_pool.DescriptorPool()
        for file in files.file:
            pool.AddSerializedFile(file.SerializeToString())
    except Exception as e:  # protobuf's own errors have no common class
        raise refuse("`descriptor_source` is no set of file descriptors", found=f"{type(e).__name__}: {e}") from e
    return pool


def _source(state: State, descriptor_source: str) -> Any:
    if descriptor_source in _LOCAL:
        return messages.pool()
    if descriptor_source.startswith(_BYTES):
        return _pool(descriptor_source.removeprefix(_BYTES).encode("utf-8", "surrogateescape"))
    return _pool(state.read_file(descriptor_source.encode("utf-8", "surrogateescape")))


def _descriptor(state: State, descriptor_source: str, message_type: str) -> tuple[Any, Any]:
    """The pool, and the descriptor of the message type in it."""
    pool = _source(state, descriptor_source)
    try:
        return pool, pool.FindMessageTypeByName(message_type)
    except KeyError:
        hint = "of other messages, the descriptors must come along" if descriptor_source in _LOCAL else ""
        raise refuse(f"no message type is called `{message_type}`", hint=hint) from None


def _fields(descriptor: Any, names: Sequence[str], pool: Any = None) -> list[Any]:
    """The descriptors of fields; those of extensions too, by their full names, where there is a `pool`."""
    found = []
    for name in names:
        field = descriptor.fields_by_name.get(name)
        if field is None and pool is not None:
            field = _extension(pool, descriptor, name)
        if field is None:
            raise refuse(
                f"`{descriptor.full_name}` has no field `{name}`", hint=near_names(name, descriptor.fields_by_name)
            )
        found.append(field)
    return found


def _extension(pool: Any, descriptor: Any, name: str) -> Any:
    try:
        field = pool.FindExtensionByName(name)
    except KeyError:
        return None
    return field if field.containing_type.full_name == descriptor.full_name else None


def _repeated(field: Any) -> bool:
    return isinstance(field.default_value, list)


def _kind(field: Any, dtype: DType) -> _Kind:
    kind = _KINDS[field.type]
    if dtype not in kind.dtypes:
        some = " or ".join(str(d) for d in kind.dtypes)
        raise refuse(f"the dtype of field `{field.full_name}`, a {kind.name}", expected=some, found=dtype)
    return kind


def _default(field: Any, kind: _Kind) -> Any:
    if field.enum_type is not None:
        return field.enum_type.values[0].number if _repeated(field) else field.default_value
    if kind.dtypes is _TEXT:
        value = b"" if _repeated(field) else field.default_value
        return value.encode() if isinstance(value, str) else value or b""
    return 0 if _repeated(field) else field.default_value


# --- reading ----------------------------------------------------------------------------------------------------
def _tag(data: bytes, at: int, end: int) -> tuple[int, int]:
    tag, at = decode_varint(data, at, end)
    if tag >> 32 or not tag >> 3:
        raise ValueError("tag")
    return tag, at


def _payload(data: bytes, at: int, end: int, tag: int, depth: int = 0) -> tuple[Payload, int]:
    """The payload behind a tag, and the offset behind it; of a group the bytes with its tags."""
    wire = tag & 7
    if wire == _VARINT:
        number, at = decode_varint(data, at, end)
        return number & 0xFFFFFFFFFFFFFFFF, at
    if wire == _GROUP:
        inside = _group(data, at, end, tag, depth + 1)
        return encode_varint(tag) + data[at:inside], inside
    if wire not in (_EIGHT, _SIZED, _FOUR):
        raise ValueError("wire type")
    size, at = decode_varint(data, at, end) if wire == _SIZED else (8 if wire == _EIGHT else 4, at)
    if size > end - at:
        raise ValueError("truncated")
    payload = data[at : at + size]
    return (payload if wire == _SIZED else int.from_bytes(payload, "little")), at + size


def _group(data: bytes, at: int, end: int, start: int, depth: int) -> int:
    """The offset behind a group's end."""
    if depth > _DEPTH:
        raise ValueError("too deep")
    while True:
        tag, at = _tag(data, at, end)
        if tag & 7 == _END:
            if tag >> 3 != start >> 3:
                raise ValueError("group")
            return at
        _, at = _payload(data, at, end, tag, depth)


def _packed(data: bytes, kind: _Kind) -> Iterator[Any]:
    at, end = 0, len(data)
    width = {_EIGHT: 8, _FOUR: 4}.get(kind.wire, 1)
    if end % width:
        raise ValueError("packed values")
    while at < end:
        payload, at = _payload(data, at, end, kind.wire)
        yield kind.read(payload)


@dataclass(frozen=True, slots=True)
class _Column:
    """A field that is read: where its values go."""

    kind: _Kind
    repeated: bool
    default: Any


def _read(data: bytes, columns: dict[int, _Column]) -> dict[int, list[Any]]:
    """The values of fields by number; raise `ValueError` where the bytes are no message."""
    found: dict[int, list[Any]] = {number: [] for number in columns}
    at, end = 0, len(data)
    while at < end:
        tag, at = _tag(data, at, end)
        payload, at = _payload(data, at, end, tag)
        column = columns.get(tag >> 3)
        if column is None:
            continue
        values, wire = found[tag >> 3], tag & 7
        if wire == column.kind.wire:
            if not column.repeated:
                values.clear()
            values.append(column.kind.read(payload))
        elif wire == _SIZED and column.kind.wire in (_VARINT, _EIGHT, _FOUR):
            more = list(_packed(bytes(payload), column.kind))
            if column.repeated:
                values.extend(more)
            elif more and not values:
                values.append(column.default)  # it counts, but no single value is taken of packed ones
    return found


def _binary(data: bytes, cls: Any, message_format: str, sanitize: bool, where: str) -> bytes:
    """A message in binary, which was parsed where it is text, or where that is wanted."""
    if message_format == "binary" and not sanitize:
        return data
    if message_format == "text":
        message = messages.parse_text(cls, data, where=where, strict=True)
    else:
        message = messages.parse(cls, data, where=where)
    return messages.serialize(message, where=where)


@op("DecodeProtoV2", host=_HOST, stateful=True)
def decode_proto_v2(
    xp: Any, state: State, bytes: Array, *, message_type: str, field_names: Sequence[str],
    output_types: Sequence[DType], descriptor_source: str, message_format: str, sanitize: bool,
) -> Any:  # fmt: skip
    """Fields of serialized messages: how many values each has, and the values."""
    if len(field_names) != len(output_types):
        raise refuse("`output_types`", expected=f"{len(field_names)} dtypes", found=len(output_types))
    if message_format not in _FORMATS:
        raise refuse("`message_format`", expected=" or ".join(_FORMATS), found=message_format)
    if not bytes.size:
        raise refuse("no messages to decode", found=f"shape {list(bytes.shape)}")
    pool, descriptor = _descriptor(state, descriptor_source, message_type)
    fields = _fields(descriptor, field_names, pool)
    kinds = [_kind(f, d) for f, d in zip(fields, output_types, strict=True)]
    defaults = [_default(f, k) for f, k in zip(fields, kinds, strict=True)]
    columns: dict[int, _Column] = {}
    of: list[int] = []  # the number to take each output's values from; a field that is asked for again has none
    for f, k, d in zip(fields, kinds, defaults, strict=True):
        of.append(f.number if f.number not in columns else -1)
        columns.setdefault(f.number, _Column(k, _repeated(f), d))
    cls = message_factory.GetMessageClass(descriptor)
    rows = []
    for i, data in enumerate(bytes.ravel().tolist()):
        try:
            rows.append(_read(_binary(data, cls, message_format, sanitize, f"at index {i}"), columns))
        except (ValueError, ColdframeError) as e:
            why = e.what if isinstance(e, ColdframeError) else str(e)
            raise refuse(f"no `{message_type}` in {message_format} at index {i}", found=why) from e
    lists = [[row.get(number, []) for row in rows] for number in of]
    sizes = np.array([[len(v) for v in column] for column in lists], np.int32).T.reshape(*bytes.shape, len(of))
    values = [_table(c, d, t).reshape(*bytes.shape, -1) for c, d, t in zip(lists, defaults, output_types, strict=True)]
    return sizes, values


def _table(column: list[list[Any]], default: Any, dtype: DType) -> Array:
    """Values of messages [messages, most], `default` where a message has fewer."""
    out = np.empty(dims([len(column), max(1, *map(len, column))]), dtype.numpy)
    out[...] = default
    for row, values in zip(out, column, strict=True):
        row[: len(values)] = values
    return out


# --- writing ----------------------------------------------------------------------------------------------------
def _is_packed(field: Any) -> bool:
    """Whether several values share one tag: asked of protobuf, whose versions tell it in different ways."""
    if not _repeated(field) or _KINDS[field.type].dtypes is _TEXT:
        return False
    sample = message_factory.GetMessageClass(field.containing_type)()
    getattr(sample, field.name).append(_default(field, _KINDS[field.type]))
    tag, _ = decode_varint(sample.SerializePartialToString(), 0, 5)
    return tag & 7 == _SIZED


def _written(values: Sequence[Any], kind: _Kind, number: int, packed: bool) -> bytes:
    parts = [kind.write(v) for v in values]
    if packed:
        return encode_varint(number << 3 | _SIZED) + _sized(b"".join(parts)) if parts else b""
    tag = encode_varint(number << 3 | kind.wire)
    end = encode_varint(number << 3 | _END) if kind.wire == _GROUP else b""
    return b"".join(tag + p + end for p in parts)


@op("EncodeProto", host=_HOST, stateful=True)
def encode_proto(
    xp: Any, state: State, sizes: Array, values: list[Array],
    *, field_names: Sequence[str], message_type: str, descriptor_source: str, Tinput_types: Sequence[DType],
) -> Any:  # fmt: skip
    """Serialized messages [*batch] of the values [*batch, most] of their fields, ordered by the fields' numbers."""
    if len(field_names) != len(values):
        raise refuse("`field_names`", expected=f"{len(values)} names", found=len(field_names))
    batch = _batch(sizes, values, field_names)
    _, descriptor = _descriptor(state, descriptor_source, message_type)
    fields = _fields(descriptor, field_names)
    kinds = [_kind(f, d) for f, d in zip(fields, Tinput_types, strict=True)]
    packed = [_is_packed(f) for f in fields]
    order = sorted(range(len(fields)), key=lambda k: int(fields[k].number))
    counts = sizes.reshape(-1, len(fields)).tolist()
    rows = [v.reshape(len(counts), v.shape[-1]).tolist() for v in values]
    out: Array = np.empty(len(counts), object)
    for i, count in enumerate(counts):
        out[i] = b"".join(
            _written(rows[k][i][: max(count[k], 0)], kinds[k], fields[k].number, packed[k]) for k in order
        )
    return out.reshape(batch)


def _batch(sizes: Array, values: list[Array], names: Sequence[str]) -> tuple[int, ...]:
    """The shape of the batch, which sizes and values have in common."""
    for name, v in zip(names, values, strict=True):
        if v.ndim < 2:
            raise refuse(f"values of field `{name}`", expected="rank 2 or more", found=f"shape {list(v.shape)}")
        if v.shape[:-1] != values[0].shape[:-1]:
            raise refuse(
                f"values of field `{name}`", expected=f"shape {[*values[0].shape[:-1], '?']}", found=list(v.shape)
            )
    batch = values[0].shape[:-1]
    if sizes.shape != (*batch, len(values)):
        raise refuse("`sizes`", expected=f"shape {[*batch, len(values)]}", found=list(sizes.shape))
    for k, v in enumerate(values):
        if sizes.size and sizes[..., k].max() > v.shape[-1]:
            raise refuse(f"sizes of field `{names[k]}`", expected=f"at most {v.shape[-1]}", found=sizes[..., k].max())
    return batch
