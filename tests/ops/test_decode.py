"""Strings that hold numbers, records, compressed bytes and tensors, against TensorFlow."""

import gzip
import zlib
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from coldframe import dtypes
from coldframe.errors import ExecutionError
from coldframe.ops import decode
from op_harness import COMPLEX, FLOATS, NUMPY, Row, bound, check, rows, sample

RAW = (
    *FLOATS[:1], *FLOATS[2:], "int32", "uint16", "uint8", "int16", "int8", "int64", *COMPLEX, "bool", "bfloat16",
)  # fmt: skip


def strings(*items: Any) -> Any:
    """An array of bytes: numpy's own strings lose zeros at their ends."""
    return np.array([i.encode() if isinstance(i, str) else i for i in items], object)


def raw(d: str, n: int) -> bytes:
    return bytes(sample(d, n).tobytes())


@rows(
    *[Row("DecodeRaw", [strings(raw(d, 3), raw(d, 3))], {"out_type": d}) for d in RAW],
    *[Row("DecodeRaw", [strings(raw(d, 3))], {"out_type": d, "little_endian": False}) for d in RAW],
    Row("DecodeRaw", [np.zeros((2, 0), object)], {"out_type": "int32"}),
    Row("DecodeRaw", [[b"", b""]], {"out_type": "int32"}),
    Row("DecodeRaw", [[b"abcd", b"ab"]], {"out_type": "uint8"}, refused=True),
    Row("DecodeRaw", [[b"abcde"]], {"out_type": "int32"}, refused=True),
    Row("DecodePaddedRaw", [[b"abcdef", b"ab", b""], np.int32(4)], {"out_type": "uint8"}),
    Row("DecodePaddedRaw", [[[b"abcdef"]], np.int32(4)], {"out_type": "int16"}),
    Row("DecodePaddedRaw", [[b"abcdef"], np.int32(8)], {"out_type": "int32", "little_endian": False}),
    Row("DecodePaddedRaw", [[b"abcdef"], np.int32(3)], {"out_type": "int32"}, refused=True),
    Row("DecodePaddedRaw", [[b"abcdef"], np.int32(-4)], {"out_type": "int32"}, refused=True),
)
def test_raw(row: Row) -> None:
    check(row)


BYTES = bytes(range(256)) * 40


@rows(
    Row("DecodeCompressed", [[b"ab", b""]]),
    Row("DecodeCompressed", [[zlib.compress(BYTES), zlib.compress(b"")]], {"compression_type": "ZLIB"}, name="zlib"),
    Row("DecodeCompressed", [gzip.compress(BYTES)], {"compression_type": "GZIP"}, name="gzip"),
    Row("DecodeCompressed", [b"not so"], {"compression_type": "GZIP"}, refused=True),
    Row("DecodeCompressed", [b"ab"], {"compression_type": "LZMA"}, refused=True),
)
def test_compressed(row: Row) -> None:
    check(row)


def test_a_small_string_cannot_exhaust_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode, "_MOST", 1000)
    call, flat = bound(Row("DecodeCompressed", [zlib.compress(bytes(5000))], {"compression_type": "ZLIB"}))
    with pytest.raises(ExecutionError, match="decompresses to too much"):
        call.run(NUMPY, flat)


TENSORS: list[Any] = [
    np.float32(1.5), sample("int64", 2, 3), sample("bfloat16", 2), sample("bool", 3), sample("complex64", 2),
    np.array([[b"a", b"bc"]], object), np.array(b"x", object), sample("float64", 0, 2), sample("uint8", 1),
]  # fmt: skip


@rows(
    *[Row("SerializeTensor", [t]) for t in TENSORS],
    *[
        Row("ParseTensor", [tf.io.serialize_tensor(t).numpy()], {"out_type": dtypes.from_numpy(np.asarray(t).dtype)})
        for t in TENSORS
    ],
    *[Row("ParseTensor", [tf.make_tensor_proto(t).SerializeToString()], {"out_type": "float32"}) for t in (0.5, [2.5])],
    Row("ParseTensor", [tf.io.serialize_tensor([1]).numpy()], {"out_type": "float32"}, refused=True),
    Row("ParseTensor", [b"\xff\xff"], {"out_type": "float32"}, refused=True),
    Row("ParseTensor", [[b""]], {"out_type": "float32"}, refused=True),
)
def test_tensor(row: Row) -> None:
    check(row)


NO_FLOAT, NO_STRING = np.zeros(0, np.float32), np.zeros(0, object)
DEFAULTS: Any = [np.array([7], np.float32), np.array([8], np.int32), np.array([b"d"], object)]


def text(records: Any) -> Any:
    a = np.array(records, object)
    return strings(*a.ravel()).reshape(a.shape)


def csv(records: Any, defaults: Any = DEFAULTS, refused: bool = False, **attrs: Any) -> Row:
    name = f"{records} {attrs} {len(defaults)}"
    return Row("DecodeCSV", [text(records), defaults], attrs, refused=refused, name=name)


@rows(
    csv(["1.5,2,abc", "-inf,-3,", ",,x"]),
    csv([["1,2,3"], [" 4 , 5 , 6 "]]),
    csv("1,2,3"),
    csv(['1,2,"a,b"', '"1.5","2","say ""hi"""', '1,2,""']),
    csv(['1,2,"a\nb"', "\r\n1,2,c"]),
    csv(["1,2,a\n"], refused=True),
    csv(['1,2,"a\n"\n'], refused=True),
    csv(['1,2,a"b'], refused=True),
    csv(['1,2,a"b'], use_quote_delim=False),
    csv(['1,2,"ab'], refused=True),
    csv(['1,2,"a"b"'], refused=True),
    csv(["1,2"], refused=True),
    csv(["1,2,3,4"], refused=True),
    csv(["x,2,3"], refused=True),
    csv(["1,2.5,3"], refused=True),
    csv(["1,3000000000,3"], refused=True),
    csv(["1;2;a,b"], field_delim=";"),
    csv(["1;2;a,b"], field_delim=";;", refused=True),
    csv(["NA,NA,NA"], na_value="NA"),
    csv(["a,1.5,b,2,c,d", "a,1.5,b,2,c,"], select_cols=[1, 3, 5]),
    csv(["a,1.5,b,2,c,d"], select_cols=[1, 5, 3], refused=True),
    csv(["a,1.5,b,2"], select_cols=[1, 3, 5], refused=True),
    csv(["1.5,1,b,2", "2.5,2,d,3,e,f", "3.5,3,h,4,"], select_cols=[0, 1, 2]),
    csv(["1,2,3", "1,2"], refused=True),
    csv(["1,2,3", "1,2,3,4", "1,2"], refused=True),
    csv([",,"], [NO_FLOAT, *DEFAULTS[1:]], refused=True),
    csv(["1,,"], [NO_FLOAT, *DEFAULTS[1:]]),
    csv([",,"], [np.float32(3), *DEFAULTS[1:]]),
    csv([""], [DEFAULTS[2]], refused=True),
    csv(["1,2"], [np.array([1.5]), np.array([2], np.int64)]),
    csv(np.zeros(0, object)),
)
def test_csv(row: Row) -> None:
    check(row)


JSON = '{"features": {"feature": {"a": {"int64List": {"value": ["1", 2]}}, "b": {"bytesList": {"value": ["aGk="]}}}}}'


def _json(features: str) -> str:
    return f'{{"features": {{"feature": {{{features}}}}}}}'


@pytest.mark.parametrize(
    "text",
    [
        JSON, "{}", '{"features": {}}', '{"features": null}', _json(""),
        _json('"c": {"floatList": {"value": [1.5, "NaN"]}}'),
        _json('"z": {"int64List": {"value": [0, "-3", 300]}}, "b": {}'),
        _json('"y": {"float_list": {}}, "a": {"bytesList": {}}'),
    ],
)  # fmt: skip
def test_examples_in_json(text: str) -> None:
    want = tf.io.decode_json_example([[text]])
    call, flat = bound(Row("DecodeJSONExample", [np.array([[text.encode()]], object)]))
    [got] = call.run(NUMPY, flat)
    assert got.shape == (1, 1)
    assert got.item() == want.numpy().item()


@pytest.mark.parametrize("text", [b"", b"[]", b'{"feature": 1}', b'{"features": ', b"\xff"])
def test_what_is_no_example_in_json(text: bytes) -> None:
    call, flat = bound(Row("DecodeJSONExample", [np.array(text, object)]))
    with pytest.raises(ExecutionError, match="not an Example in JSON at index 0"):
        call.run(NUMPY, flat)
