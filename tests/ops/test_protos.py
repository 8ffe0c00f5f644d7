"""Fields of protocol buffers against TensorFlow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from hypothesis import given, settings
from hypothesis import strategies as st

import coldframe as cf
from coldframe import dtypes
from coldframe.errors import ExecutionError
from coldframe.runtime.session import Session
from graph_builder import graph, node, placeholder
from op_harness import NUMPY, Row, bound, check, rows

NAMES = [  # by number, from 1
    "double", "float", "int64", "uint64", "int32", "fixed64", "fixed32", "bool", "string", "group", "message", "bytes",
    "uint32", "enum", "sfixed32", "sfixed64", "sint32", "sint64",
]  # fmt: skip
VALUES: dict[str, Any] = {
    "double": 1.1, "float": 1.1, "int64": -3, "uint64": 2**64 - 2, "int32": -4, "fixed64": 2**63 + 1,
    "fixed32": 2**32 - 1, "bool": True, "string": "hi", "bytes": b"\xff\0", "uint32": 2**32 - 2, "enum": 5,
    "sfixed32": -7, "sfixed64": -8, "sint32": -9, "sint64": -(2**40),
}  # fmt: skip
TYPES = {
    "double": ["float64"], "float": ["float32", "float64"], "int64": ["int64"], "uint64": ["uint64"],
    "int32": ["int32", "int64"], "fixed64": ["uint64"], "fixed32": ["uint32", "uint64"], "bool": ["bool"],
    "string": ["string"], "bytes": ["string"], "message": ["string"], "uint32": ["uint32", "uint64"],
    "enum": ["int32"], "sfixed32": ["int32", "int64"], "sfixed64": ["int64"], "sint32": ["int32", "int64"],
    "sint64": ["int64"],
}  # fmt: skip


def _add(message: Any, name: str, number: int, kind: int, label: int = 1, of: str = "", **more: Any) -> None:
    field = message.field.add(name=name, number=number, type=kind, label=label, type_name=of or None)
    if "packed" in more:
        field.options.packed = more["packed"]
    if "default" in more:
        field.default_value = more["default"]


def _files() -> Any:
    """Messages with a field of every type: single ``o_``, repeated ``r_``, packed ``p_``, with a default ``d_``."""
    files = descriptor_pb2.FileDescriptorSet()
    file = files.file.add(name="t.proto", package="p")
    enum = file.enum_type.add(name="E")
    enum.value.add(name="A", number=3)
    enum.value.add(name="B", number=5)
    sub = file.message_type.add(name="Sub")
    _add(sub, "a", 1, 5)
    _add(sub, "b", 2, 9)
    m, number = file.message_type.add(name="M"), 0
    group = m.nested_type.add(name="O_group")
    _add(group, "z", 1, 5)
    for kind, name in enumerate(NAMES, 1):
        of = {"message": ".p.Sub", "enum": ".p.E", "group": ".p.M.O_group"}.get(name, "")
        for label, prefix in ((1, "o_"), (3, "r_")):
            if name != "group" or label == 1:
                number += 1
                _add(m, prefix + name, number, kind, label, of)
    for kind, name in ((5, "int32"), (2, "float"), (1, "double"), (8, "bool"), (3, "int64"), (14, "enum")):
        number += 1
        _add(m, f"p_{name}", number, kind, 3, ".p.E" if kind == 14 else "", packed=True)
    for kind, name, default in ((5, "int32", "7"), (9, "string", "hey"), (14, "enum", "B"), (8, "bool", "true")):
        number += 1
        _add(m, f"d_{name}", number, kind, 1, ".p.E" if kind == 14 else "", default=default)
    extended = m.extension_range.add()
    extended.start, extended.end = 500, 600
    file.extension.add(name="more", number=500, type=5, label=1, extendee=".p.M")
    required = file.message_type.add(name="R")
    _add(required, "needed", 1, 5, 2)
    new = files.file.add(name="n.proto", package="n", syntax="proto3")
    n = new.message_type.add(name="N")
    _add(n, "r", 1, 5, 3)
    _add(n, "s", 2, 9)
    _add(n, "u", 3, 5, 3, packed=False)
    return files


FILES = _files()
SOURCE = b"bytes://" + FILES.SerializeToString()
POOL = descriptor_pool.DescriptorPool()
for _file in FILES.file:
    POOL.Add(_file)
M: Any = message_factory.GetMessageClass(POOL.FindMessageTypeByName("p.M"))


def _full() -> bytes:
    m = M()
    for name, value in VALUES.items():
        setattr(m, f"o_{name}", value)
        getattr(m, f"r_{name}").extend([value, value])
    m.o_message.a = 3
    m.r_message.add().b = "q"
    m.r_message.add()
    m.p_int32.extend([1, -1, 300])
    m.p_float.extend([0.5])
    return bytes(m.SerializeToString())


FULL = _full()


def strings(*items: Any) -> Any:
    out: Any = np.empty(len(items), object)
    out[:] = items
    return out


def decode(data: Any, names: list[str], types: list[str], message: str = "p.M", **more: Any) -> Row:
    refused = more.pop("refused", False)
    data = data if isinstance(data, np.ndarray) else strings(data)
    attrs = {"message_type": message, "field_names": names, "output_types": types, "descriptor_source": SOURCE} | more
    return Row("DecodeProtoV2", [data], attrs, refused=refused, name=f"{names} {types} {data.ravel()[:1]} {more}"[:80])


def tag(name: str | int, wire: int) -> bytes:
    value = (name if isinstance(name, int) else M.DESCRIPTOR.fields_by_name[name].number) << 3 | wire
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


I, S = "int32", "string"


@rows(
    *[decode(FULL, [p + n], [t]) for n, types in TYPES.items() for t in types for p in ("o_", "r_")],
    *[decode(FULL, [f"o_{n}"], ["float16"], refused=True) for n in TYPES],
    *[decode(FULL, [f"o_{n}"], ["int64"], refused=True) for n in ("uint32", "fixed64", "enum", "bool", "string")],
    decode(FULL, ["p_int32", "p_float"], [I, "float64"]),
    decode(
        b"",
        ["o_int32", "r_int32", "o_string", "o_message", "o_enum", "r_enum", "d_int32", "d_string", "d_enum", "d_bool"],
        [I, I, S, S, I, I, I, S, I, "bool"],
    ),
    decode(
        np.array([[FULL, b""], [b"", FULL]], object), ["r_int32", "o_int32", "d_int32", "r_string", "r_enum"],
        [I, I, I, S, I],
    ),
    decode(np.array(FULL, object), ["r_int32"], [I]),
    decode(np.zeros((0, 2), object), ["r_int32"], [I], refused=True),
    decode(FULL, [], []),
    decode(FULL, ["r_int32", "r_int32"], [I, "int64"]),
    decode(FULL, ["d_int32", "d_int32"], [I, I]),
    decode(FULL, ["nope"], [I], refused=True),
    decode(FULL, ["o_int32"], [I, I], refused=True),
    decode(FULL, ["o_int32"], [I], "p.Nope", refused=True),
    decode(FULL, ["o_int32"], [I], message_format="json", refused=True),
    decode(FULL, ["o_int32"], [I], descriptor_source="bytes://abc", refused=True),
    decode(FULL, ["o_int32"], [I], descriptor_source="bytes://", refused=True),
    decode(tag(500, 0) + b"\x05", ["p.more"], [I]),
    decode(tag(500, 0) + b"\x05", ["more"], [I], refused=True),
    decode(tag("o_group", 3) + b"\x08\x05" + tag("o_group", 4), ["o_group", "o_int32"], [S, I]),
)  # fmt: skip
def test_decoding(row: Row) -> None:
    check(row)


ODD = {  # bytes, and the field that they are for
    "wrong wire type": (tag("d_int32", 5) + b"abcd", "d_int32", I),
    "wrong wire type of a string": (tag("d_string", 0) + b"\x05", "d_string", S),
    "one of several": (
        tag("r_int32", 0) + b"\5" + tag("r_int32", 5) + b"abcd" + tag("r_int32", 0) + b"\6", "r_int32", I,
    ),
    "the last": (tag("o_int32", 0) + b"\2" + tag("o_int32", 0) + b"\3", "o_int32", I),
    "the last message": (tag("o_message", 2) + b"\2\x08\1" + tag("o_message", 2) + b"\3\x12\1b", "o_message", S),
    "packed for a single one": (tag("d_int32", 2) + b"\2\5\6", "d_int32", I),
    "packed, empty": (tag("d_int32", 2) + b"\0", "d_int32", I),
    "packed and not": (
        tag("p_int32", 2) + b"\2\5\6" + tag("p_int32", 2) + b"\1\7" + tag("p_int32", 0) + b"\x08", "p_int32", I,
    ),
    "packed where not": (tag("r_int32", 2) + b"\2\1\2", "r_int32", I),
    "packed bools": (tag("p_bool", 2) + b"\3\0\1\5", "p_bool", "bool"),
    "skipped group": (tag(700, 3) + tag(701, 0) + b"\5" + tag(700, 4) + tag("o_int32", 0) + b"\6", "o_int32", I),
    "deep group": (tag(700, 3) * 90 + tag(700, 4) * 90, "o_int32", I),
    "no text": (tag("o_string", 2) + b"\1\xff", "o_string", S),
    "no submessage": (tag("o_message", 2) + b"\1\xff", "o_message", S),
    "wide int32": (tag("o_int32", 0) + b"\xff\xff\xff\xff\x1f", "o_int32", "int64"),
    "wide uint32": (tag("o_uint32", 0) + b"\x81\x80\x80\x80\x70", "o_uint32", "uint64"),
    "wide sint32": (tag("o_sint32", 0) + b"\x81\x80\x80\x80\x70", "o_sint32", "int64"),
    "wide bool": (tag("o_bool", 0) + b"\x80\x80\x80\x80\x10", "o_bool", "bool"),
    "unknown enum": (tag("o_enum", 0) + b"\x09", "o_enum", I),
}  # fmt: skip
BROKEN = {
    "ends": b"\xff\xff",
    "cut": FULL[:-1],
    "end of no group": b"\x0c",
    "other end": tag(700, 3) + tag(701, 4),
    "too deep": tag(700, 3) * 101 + tag(700, 4) * 101,
    "group without end": tag(700, 3),
    "zero": tag("o_int32", 0) + b"\6\0",
    "field 0": b"\2\0",
    "wire type 6": tag(700, 6),
    "long tag": b"\xff" * 5 + b"\1\1",
    "long varint": tag("o_int32", 0) + b"\xff" * 10 + b"\1",
    "cut varint": tag("o_int32", 0) + b"\xff",
    "cut float": tag("o_float", 5) + b"ab",
    "cut string": tag("o_string", 2) + b"\5ab",
    "cut packed": tag("p_int32", 2) + b"\x09\5\6",
    "cut packed varint": tag("p_int32", 2) + b"\2\1\x82",
    "packed size": tag("p_float", 2) + b"\3abc",
}
ALL = ["o_int32", "p_int32", "p_float", "o_string", "o_float"], [I, I, "float32", S, "float32"]


@rows(
    *[decode(data, [name], [kind]) for data, name, kind in ODD.values()],
    *[decode(data, *ALL, refused=True) for data in BROKEN.values()],
)
def test_odd_and_broken_bytes(row: Row) -> None:
    check(row)


TEXT = b"o_int32: 5 r_int32: [1,2] o_string: 'x' o_enum: B o_message { a: 4 } r_double: 1.5 [p.more]: 9"


@rows(
    decode(
        TEXT, ["o_int32", "r_int32", "o_string", "o_enum", "o_message", "r_double", "p.more"],
        [I, I, S, I, S, "float64", I], message_format="text",
    ),
    *[decode(t, ["o_int32"], [I], message_format="text", refused=True) for t in (b"o_int32: zz", b"zzz: 3", b"\xff")],
    decode(b"", ["needed"], [I], "p.R"),
    decode(b"", ["needed"], [I], "p.R", sanitize=True, refused=True),
    decode(b"", ["needed"], [I], "p.R", message_format="text", refused=True),
    decode(ODD["the last message"][0], ["o_message"], [S], sanitize=True),
    decode(ODD["no submessage"][0], ["o_message"], [S], sanitize=True, refused=True),
    decode(b"\x0a\2\1\2\x12\1\xff", ["r", "s"], [I, S], "n.N"),
    decode(b"\x0a\2\1\2\x12\1\xff", ["r", "s"], [I, S], "n.N", sanitize=True, refused=True),
)  # fmt: skip
def test_text_and_sanitized(row: Row) -> None:
    check(row)


@pytest.mark.parametrize("source", ["local://", ""])
def test_messages_of_tensorflow_are_known(source: str) -> None:
    data = tf.train.Int64List(value=[1, 2]).SerializeToString()
    check(decode(data, ["value"], ["int64"], "tensorflow.Int64List", descriptor_source=source))
    check(decode(b"", ["node"], [S], "tensorflow.GraphDef", descriptor_source=source))


def encode(sizes: Any, values: list[Any], names: list[str], message: str = "p.M", **more: Any) -> Row:
    refused = more.pop("refused", False)
    attrs = {"message_type": message, "field_names": names, "descriptor_source": SOURCE} | more
    name = f"{names} {[v.dtype.name for v in values]} {np.ravel(sizes)} {more}"[:80]
    return Row("EncodeProto", [np.array(sizes, np.int32), values], attrs, refused=refused, name=name)


def _tensor(name: str, dtype: str, repeated: bool) -> Any:
    value = {"string": b"ab", "bytes": b"\xfe", "message": b"\x08\1", "double": 1.5, "float": 2.5}.get(name, 3)
    items = [[value, value]] if repeated else [[value]]
    return np.array(items, dtypes.as_dtype(dtype).numpy)


def i32(*v: Any) -> Any:
    return np.array(v, np.int32)


@rows(
    *[
        encode([[1 + r]], [_tensor(n, t, r)], [("r_" if r else "o_") + n])
        for n, types in TYPES.items() for t in types for r in (False, True)
    ],
    *[
        encode([[1]], [_tensor(n, "float16", False)], [f"o_{n}"], refused=True)
        for n, types in TYPES.items() if "string" not in types
    ],
    encode([[1]], [i32([3])], ["o_string"], refused=True),
    encode([[1]], [np.array([[3]])], ["o_uint32"], refused=True),
    encode([[1]], [i32([-1])], ["o_int32"]),
    encode([[1]], [np.array([[2**40 + 2**31]])], ["o_int32"]),
    encode([[1]], [np.array([[-(2**40) - 5]])], ["o_sint32"]),
    encode([[1]], [np.array([[-5]])], ["o_sint64"]),
    encode([[1]], [np.array([[-(2**40) - 5]])], ["o_sfixed32"]),
    encode([[1]], [np.array([[2**40 + 5]], np.uint64)], ["o_fixed32"]),
    encode([[1, 1]], [i32([1]), i32([2])], ["r_int32", "o_int32"]),
    encode([[1, 1]], [i32([1]), i32([2])], ["o_int32", "o_int32"]),
    encode([[0]], [i32([1])], ["o_int32"]),
    encode([[-1]], [i32([1])], ["o_int32"]),
    encode([[2]], [i32([1, 2])], ["o_int32"]),
    encode([[2]], [i32([1])], ["r_int32"], refused=True),
    encode([[3]], [i32([1, 200, -1])], ["p_int32"]),
    encode([[0]], [i32([1, 200, -1])], ["p_int32"]),
    encode([[1, 2]], [np.array([[True, False]]), np.array([[1.5, 1e300]])], ["p_bool", "p_float"]),
    encode([[2]], [i32([3, 9])], ["p_enum"]),
    encode([[2, 1, 2]], [i32([1, 2]), np.array([[b"\xff"]], object), i32([1, 2])], ["r", "s", "u"], "n.N"),
    encode([[[1], [0]]], [i32([[1], [2]])], ["o_int32"]),
    encode([[0]], [np.zeros((1, 0), np.int32)], ["o_int32"]),
    encode(np.zeros((0, 1)), [np.zeros((0, 1), np.int32)], ["o_int32"]),
    encode([[1]], [np.array([[b"\xff"]], object)], ["o_message"]),
    encode([[1]], [np.array([[b"\x1b\x08\x05\x1c"]], object)], ["o_group"]),
    encode([[1]], [i32([7])], ["d_int32"]),
    encode([[1]], [i32([5])], ["p.more"], refused=True),
    encode([[1]], [i32([5])], ["nope"], refused=True),
    encode([[1]], [i32([5])], ["a"], "p.Nope", refused=True),
    encode([[1]], [i32([5])], ["o_int32", "r_int32"], refused=True),
    encode(1, [i32([5])], ["o_int32"], refused=True),
    encode([1], [i32(5)], ["o_int32"], refused=True),
    encode([[1, 1]], [i32([5])], ["o_int32"], refused=True),
    encode([[1], [1]], [i32([5])], ["o_int32"], refused=True),
    encode([[1, 1]], [i32([5]), i32([1], [2])], ["o_int32", "r_int32"], refused=True),
    encode([[2]], [np.array([[1, 2]])], ["value"], "tensorflow.Int64List", descriptor_source="local://"),
)  # fmt: skip
def test_encoding(row: Row) -> None:
    check(row)


def test_names_and_dtypes_that_are_wrong_are_told() -> None:
    for row, message in (
        (decode(FULL, ["o_int23"], [I]), r"`p.M` has no field `o_int23`\nhint: .*o_int32"),
        (decode(FULL, ["o_enum"], ["int64"]), "the dtype of field `p.M.o_enum`, a enum: expected int32, found int64"),
        (decode(FULL[:-1], ["o_enum"], [I]), "no `p.M` in binary at index 0: found"),
        (decode(FULL, ["x"], [I], "my.Own", descriptor_source="local://"), "hint: of other messages"),
    ):
        call, flat = bound(row)
        with pytest.raises(ExecutionError, match=message):
            call.run(NUMPY, flat)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=40), st.booleans())
def test_any_bytes_are_read_or_refused(data: bytes, sanitize: bool) -> None:
    call, flat = bound(decode(data, *ALL, sanitize=sanitize))
    try:
        sizes, *values = call.run(NUMPY, flat)
    except ExecutionError:
        return
    assert sizes.shape == (1, 5)
    assert all(v.shape[0] == 1 for v in values)


def test_descriptors_are_read_of_files_that_belong_to_the_model(tmp_path: Path) -> None:
    path = tmp_path / "descriptors.pb"
    path.write_bytes(FILES.SerializeToString())
    attrs = {"message_type": b"p.M", "field_names": (b"r_int32",), "descriptor_source": str(path).encode()}
    made = node("y = DecodeProtoV2(x)", output_types=(dtypes.int32,), **attrs)
    g = graph([placeholder("x", dtypes.string), made])
    with pytest.raises(cf.UnsupportedError, match="may read only the files"):
        Session(g).run("y:1", {"x:0": [FULL]})
    assert Session(g, files=[path]).run("y:1", {"x:0": [FULL]}).tolist() == [[-4, -4]]
