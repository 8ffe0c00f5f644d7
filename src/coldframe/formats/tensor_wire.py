"""TensorProtos straight to bytes, for replies by the thousand, and the large ones among requests without a copy.

`tensor_proto` is the general way.

::

    1 dtype | 2 tensor_shape { 2 dim { 1 size } * } | 4 tensor_content, or the list field of the dtype:
    5 float_val  6 double_val  7 int_val  8 string_val  10 int64_val  11 bool_val  13 half_val  16, 17 uint32/64_val

A packed list of floats or truth values is, byte for byte, the array in memory, so that nothing is converted.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from coldframe.dtypes import DType, from_numpy
from coldframe.formats import tensor_proto
from coldframe.formats.wire import bytes_field, delimited, encode_varint, integer_field, spans

_AS_IN_MEMORY: Final = {"float32": 5, "float64": 6, "bool": 11}
_STRINGS: Final = 8
_CONTENT: Final = 4
LARGE: Final = 1 << 14  # bytes of ``tensor_content`` that are worth more than the looking for them
_FIELDS: Final = 64  # of a message that is looked at: one of more is left to protobuf, which is quicker


def encode_tensor(array: npt.NDArray[Any], *, as_content: bool = False) -> bytes:
    """Return the serialized TensorProto of `array`.

    Args:
        array: any array; strings as bytes in an object array.
        as_content: whether numbers go into ``tensor_content``; else into the dtype's list, where clients that do not
            use TensorFlow's own functions look for them.
    """
    return b"".join(_parts(array, as_content))


def tensor_entry(number: int, key: str, array: npt.NDArray[Any], *, as_content: bool = False) -> list[Any]:
    """Return an entry of the field `number`, a ``map<string, TensorProto>``, in pieces to be joined.

    Numbers are among them as they are in memory: they are copied once, when the message is put together.

    Args:
        number: of the field.
        key: of the entry.
        array: as `encode_tensor` takes it.
        as_content: likewise.
    """
    parts = _parts(array, as_content)
    size = sum(map(len, parts))
    named = bytes_field(1, key.encode()) + encode_varint(delimited(2)) + encode_varint(size)
    return [encode_varint(delimited(number)) + encode_varint(len(named) + size) + named, *parts]


def _parts(array: npt.NDArray[Any], as_content: bool) -> list[Any]:
    """Return a TensorProto in pieces: bytes, and the array's memory."""
    dtype = from_numpy(array.dtype)
    head = integer_field(1, dtype.enum) + bytes_field(2, _shape(array.shape))
    field = _CONTENT if as_content and dtype.width else _AS_IN_MEMORY.get(dtype.name)
    if field is not None:
        if not array.size:
            return [head]
        memory = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        return [head + encode_varint(delimited(field)) + encode_varint(memory.nbytes), memory.data]
    if dtype.kind == "s":
        return [head, *(bytes_field(_STRINGS, v) for v in array.reshape(-1).tolist())]
    return [_by_message(array, dtype)]


def _shape(dims: tuple[int, ...]) -> bytes:
    return b"".join(bytes_field(2, b"" if not n else b"\x08" + encode_varint(n)) for n in dims)


def _by_message(array: npt.NDArray[Any], dtype: DType) -> bytes:
    """Let protobuf write numbers that are stored in another form than in memory."""
    whole = np.asarray(array, order="C")  # `ascontiguousarray` would make a list of a scalar
    return bytes(tensor_proto.listed(whole, dtype).SerializeToString())


def contents_apart(data: bytes, number: int, *, least: int = LARGE) -> tuple[bytes, dict[str, memoryview]]:
    """Cut large ``tensor_content`` out of a message whose field `number` maps names to TensorProtos.

    A message holds a copy of such bytes, and hands out another one; here they stay where they are.

    Args:
        data: the serialized message.
        number: of the field, a ``map<string, TensorProto>``.
        least: bytes from which on contents are large.

    Returns:
        The message without them, and those that were cut out, by the name of their tensor. What is not as clients
        write it, malformed bytes included, comes back as it is, and nothing apart from it: that is protobuf's to judge.
    """
    if len(data) < least:
        return data, {}
    try:
        return _without_contents(memoryview(data), delimited(number), least)
    except ValueError:
        return data, {}


def _without_contents(view: memoryview, inputs: int, least: int) -> tuple[bytes, dict[str, memoryview]]:
    parts: list[bytes | memoryview] = []
    names: set[bytes] = set()
    apart = {}
    for tag, start, at, end in spans(view, 0, len(view), _FIELDS):
        cut = _content(view, at, end, names, least) if tag == inputs else None
        if cut is None:
            parts.append(view[start:end])
            continue
        key, tensor, content = cut
        parts.append(bytes_field(inputs >> 3, bytes_field(1, key) + bytes_field(2, tensor)))
        apart[key.decode()] = content
    return b"".join(parts), apart


def _content(
    view: memoryview, at: int, end: int, names: set[bytes], least: int
) -> tuple[bytes, bytes, memoryview] | None:
    """Return an entry's key, its tensor without content, and the content, if that is large."""
    (key, _, key_at, key_end), (value, _, start, stop) = spans(view, at, end, _FIELDS)
    name = bytes(view[key_at:key_end])
    if (key, value) != (delimited(1), delimited(2)) or name in names:  # of two with the same name, the last one counts
        raise ValueError("entry")
    names.add(name)
    contents = [span for span in spans(view, start, stop, _FIELDS) if span[0] == delimited(_CONTENT)]
    if all(last - first < least for _, _, first, last in contents):
        return None
    ((_, begin, first, last),) = contents  # of two, the last one counts
    return name, bytes(view[start:begin]) + bytes(view[last:stop]), view[first:last]


def blobs_apart(data: bytes, number: int, *, least: int = LARGE) -> tuple[bytes, list[memoryview]]:
    """Cut the field `number`, a ``repeated bytes``, out of a large message; see `contents_apart`.

    Returns:
        The message without it, and its values; none where it stays in the message.
    """
    if len(data) < least:
        return data, []
    view, tag = memoryview(data), delimited(number)
    try:
        found = spans(view, 0, len(view), _FIELDS)
    except ValueError:
        return data, []
    kept = b"".join(view[start:end] for field, start, _, end in found if field != tag)
    return kept, [view[at:end] for field, _, at, end in found if field == tag]
