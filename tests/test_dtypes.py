"""The dtype table against TensorFlow's and ONNX's own, and partial shapes."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st
from tensorflow.core.framework import types_pb2

from coldframe import dtypes
from coldframe.errors import MisuseError, UnsupportedAttributeError
from coldframe.shapes import Shape, TensorSpec, broadcast

every = pytest.mark.parametrize("d", dtypes.ALL, ids=lambda d: d.name)


@every
def test_rows_equal_tensorflows(d: dtypes.DType) -> None:
    theirs = tf.dtypes.as_dtype(d.enum)
    assert d.name == theirs.name
    assert d.proto_name == types_pb2.DataType.Name(d.enum)
    if d.kind not in "soq":
        assert d.numpy == theirs.as_numpy_dtype
        assert d.width == np.dtype(theirs.as_numpy_dtype).itemsize


@every
def test_rows_equal_onnxs(d: dtypes.DType) -> None:
    if d.onnx is not None and d.kind != "q":
        name = onnx.TensorProto.DataType.Name(d.onnx)
        aliases = {"FLOAT": "float32", "DOUBLE": "float64", "STRING": "string"}
        assert aliases.get(name, name.lower()) == d.name.replace("float8_", "float8")
        assert dtypes.from_onnx(d.onnx) is d


@every
def test_a_dtype_is_found_by_all_its_names(d: dtypes.DType) -> None:
    for value in (d, d.name, d.proto_name, d.enum, d.enum + dtypes.REF_OFFSET):
        assert dtypes.as_dtype(value) is d
    assert dtypes.is_ref_enum(d.enum + dtypes.REF_OFFSET)
    if d.kind not in "qo":
        assert dtypes.as_dtype(d.numpy) is d


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        ("flota32", MisuseError, "no dtype is called `flota32`\nhint: did you mean `float32`"),
        (0, UnsupportedAttributeError, "unknown dtype: expected a DataType from 1 to 33, found 0"),
        (99, UnsupportedAttributeError, "found 99"),
        (np.dtype("m8[s]"), MisuseError, "TensorFlow has no dtype for the numpy dtype: found timedelta64"),
    ],
)
def test_unknown_dtypes(value: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message.replace("[", r"\[")):
        dtypes.as_dtype(value)


DIMS = st.lists(st.none() | st.integers(0, 4), max_size=4)


SIZES = st.lists(st.none() | st.integers(1, 4), max_size=4)  # with 0, TensorFlow says less than it could


@given(SIZES, SIZES)
def test_broadcasting_agrees_with_tensorflow(a: list[int | None], b: list[int | None]) -> None:
    try:
        want = tf.broadcast_static_shape(tf.TensorShape(a), tf.TensorShape(b)).as_list()
    except ValueError:
        with pytest.raises(MisuseError, match="shapes do not broadcast"):
            broadcast(Shape.of(a), Shape.of(b))
        return
    assert list(broadcast(Shape.of(a), Shape.of(b))) == want


@given(DIMS, DIMS)
def test_merging_agrees_with_tensorflow(a: list[int | None], b: list[int | None]) -> None:
    left, right = Shape.of(a), Shape.of(b)
    assert left.accepts(b) == tf.TensorShape(a).is_compatible_with(b)
    if left.accepts(b):
        assert list(left.merge(right)) == tf.TensorShape(a).merge_with(b).as_list()
    else:
        with pytest.raises(MisuseError, match="shapes do not agree"):
            left.merge(right)


def test_shapes_print_as_people_read_them() -> None:
    assert str(Shape.of([None, 3, -1])) == "[?, 3, ?]"
    assert str(Shape.unknown()) == "?"
    assert str(TensorSpec.of("x:0", dtypes.float32, [2, None])) == "x:0 float32[2, ?]"
    assert TensorSpec.of("x", dtypes.float16, [2, 3]).nbytes == 12
    assert TensorSpec.of("x", dtypes.string, [2, 3]).nbytes is None
    assert Shape.unknown().merge(Shape.of([1])).dims == (1,)
    with pytest.raises(MisuseError, match="unknown rank"):
        len(Shape.unknown())


NAMED = ("as_datatype_enum", "is_floating", "is_integer", "is_complex", "is_bool", "is_unsigned", "size", "name")


@pytest.mark.parametrize("dtype", [d for d in dtypes.ALL if d.kind in "fiucb" and "float4" not in d.name], ids=str)
def test_programs_find_tensorflows_properties(dtype: dtypes.DType) -> None:
    theirs = tf.as_dtype(dtype.name)
    for name in NAMED:
        assert getattr(dtype, name) == getattr(theirs, name), name
    assert dtype.real_dtype.name == theirs.real_dtype.name
    assert dtype.is_compatible_with(dtype)
    if dtype.width and dtype.kind in "fiu" and not dtype.name.startswith(("float8", "int4", "uint4", "int2", "uint2")):
        assert dtype.min == theirs.min
        assert dtype.max == theirs.max


def test_strings_have_no_limits() -> None:
    with pytest.raises(TypeError, match="Cannot find minimum or maximum"):
        _ = dtypes.string.max
