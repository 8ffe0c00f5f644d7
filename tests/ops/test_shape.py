"""Shapes, reshaping and broadcasting against TensorFlow."""

import numpy as np
import pytest

from coldframe import dtypes
from coldframe.ops import table
from coldframe.ops.call import bind
from coldframe.primitives.onnx_builder import OnnxValue
from coldframe.primitives.onnx_xp import OnnxPrimitives
from coldframe.shapes import Shape
from op_harness import COMPLEX, FLOATS, INTS, NUMPY, Row, bound, check, each, from_tensorflow, rows, sample

ALL = (*FLOATS, *INTS, *COMPLEX, "bool")
WORDS = np.array([["ab", "", "c"], ["d", "ef", "g"]])


def i32(*values: object) -> np.ndarray:
    return np.array(values, np.int32)


@rows(
    *each(("float32", "bool", "complex64", "bfloat16", "uint16"), lambda d: Row("Shape", [sample(d, 2, 3)])),
    Row("Shape", [WORDS]),
    Row("Shape", [sample("float32")], {"out_type": "int64"}),
    Row("Shape", [sample("float32", 0, 3)], {"out_type": "int64"}),
    Row("ShapeN", [[sample("float32", 2, 3), sample("float32")]]),
    Row("ShapeN", [[sample("float32", 2, 3), sample("float32", 4)]], {"out_type": "int64"}),
    Row("Size", [sample("float32", 2, 3)]),
    Row("Size", [sample("float32")], {"out_type": "int64"}),
    Row("Size", [sample("int32", 0, 3)]),
    Row("Rank", [sample("float32", 2, 3)]),
    Row("Rank", [WORDS]),
)
def test_asking(row: Row) -> None:
    check(row)


@rows(
    *each(ALL, lambda d: Row("Reshape", [sample(d, 2, 3), i32(3, -1)])),
    Row("Reshape", [WORDS, i32(3, 2)]),
    Row("Reshape", [sample("int8", 6), i32(2, 3)], {"T": "qint8"}),
    Row("Reshape", [sample("float32", 6), np.int64([1, 6, 1])]),
    Row("Reshape", [sample("float32", 1), np.zeros(0, np.int32)]),
    Row("Reshape", [sample("float32", 6), np.int32(6)]),
    Row("Reshape", [sample("float32", 0, 3), i32(-1, 3)]),
    Row("Reshape", [sample("float32", 0, 3), i32(3, 0)]),
    Row("Reshape", [sample("float32", 6), i32(4, 2)], refused=True),
    Row("Reshape", [sample("float32", 6), i32(4, -1)], refused=True),
    Row("Reshape", [sample("float32", 6), i32(-1, -1)], refused=True),
    Row("Reshape", [sample("float32", 6), i32(-2, 3)], refused=True),
    Row("Reshape", [sample("float32", 0, 3), i32(-1, 0)]),
    Row("Reshape", [sample("float32", 2, 3), i32(-1, 0)], refused=True),
    Row("Reshape", [sample("float32", 6), i32([2, 3])], refused=True),
    *each(("float32", "bool", "complex64", "uint16"), lambda d: Row("Squeeze", [sample(d, 1, 2, 1)])),
    Row("Squeeze", [sample("float32", 1, 2, 1)], {"squeeze_dims": [0]}),
    Row("Squeeze", [sample("float32", 1, 2, 1)], {"squeeze_dims": [-1, 2, 0]}),
    Row("Squeeze", [sample("float32")]),
    Row("Squeeze", [sample("float32", 1, 2, 1)], {"squeeze_dims": [1]}, refused=True),
    Row("Squeeze", [sample("float32", 1, 2, 1)], {"squeeze_dims": [3]}, refused=True),
    *each(("float32", "bool", "complex64", "uint16"), lambda d: Row("ExpandDims", [sample(d, 2, 3), np.int32(1)])),
    Row("ExpandDims", [sample("float32", 2, 3), np.int64(-1)]),
    Row("ExpandDims", [sample("float32", 2, 3), i32(-3)]),
    Row("ExpandDims", [sample("float32"), np.int32(0)]),
    Row("ExpandDims", [sample("float32", 2), np.int32(2)], refused=True),
    Row("ExpandDims", [sample("float32", 2), i32(0, 1)], refused=True),
    Row("EnsureShape", [sample("float32", 2, 3)], {"shape": [None, 3]}),
    Row("EnsureShape", [sample("float32", 2, 3)], {"shape": None}),
    Row("EnsureShape", [sample("complex64", 2, 3)], {"shape": [2, 3]}),
    Row("EnsureShape", [WORDS], {"shape": [2, 3]}),
    Row("EnsureShape", [sample("float32", 2, 3)], {"shape": [None, 4]}, refused=True),
    Row("EnsureShape", [sample("float32", 2, 3)], {"shape": [2]}, refused=True),
)
def test_reshape(row: Row) -> None:
    check(row)


def test_minus_one_beside_zero() -> None:
    """Sizes of 0 count as if they were not there; ONNX Runtime stops here, so only numpy is asked."""
    row = Row("Reshape", [sample("float32", 0, 3), i32(-1, 0, 4)])
    (want,) = from_tensorflow(row) or []
    call, flat = bound(row)
    (got,) = call.run(NUMPY, flat)
    assert got.shape == want.shape == (0, 0, 4)


@rows(
    *each(ALL, lambda d: Row("BroadcastTo", [sample(d, 2, 1), i32(3, 2, 4)])),
    Row("BroadcastTo", [sample("float32"), np.int64([2, 2])]),
    Row("BroadcastTo", [sample("float32", 1), i32(0)]),
    Row("BroadcastTo", [WORDS, i32(2, 2, 3)]),
    Row("BroadcastTo", [sample("float32", 2), i32(1)], refused=True),
    Row("BroadcastTo", [sample("float32", 2, 1), i32(2)], refused=True),
    Row("BroadcastTo", [sample("float32", 2), i32(-1, 2)], refused=True),
    Row("BroadcastArgs", [i32(2, 1), i32(3)]),
    Row("BroadcastArgs", [np.int64([1, 5]), np.int64([7, 1, 1])]),
    Row("BroadcastArgs", [i32(0, 2), i32(1)]),
    Row("BroadcastArgs", [np.zeros(0, np.int32), i32(4)]),
    Row("BroadcastArgs", [i32(2, 2), i32(3)], refused=True),
    Row("BroadcastArgs", [np.int32(2), i32(3)], refused=True),
    *each(ALL, lambda d: Row("Transpose", [sample(d, 2, 3, 4), i32(2, 0, 1)])),
    Row("Transpose", [WORDS, i32(1, 0)]),
    Row("Transpose", [sample("float32", 2, 3), np.int64([0, 1])]),
    Row("Transpose", [sample("float32", 2, 3), i32(-1, 0)]),
    Row("Transpose", [sample("float32"), np.zeros(0, np.int32)]),
    Row("Transpose", [sample("float32", 0, 3), i32(1, 0)]),
    Row("Transpose", [sample("float32", 2, 3), i32(0, 0)], refused=True),
    Row("Transpose", [sample("float32", 2, 3), i32(0, 2)], refused=True),
    Row("Transpose", [sample("float32", 2, 3), i32(0)], refused=True),
    *each(("float32", *COMPLEX), lambda d: Row("ConjugateTranspose", [sample(d, 2, 3, 4), i32(2, 0, 1)])),
)
def test_broadcast_and_transpose(row: Row) -> None:
    check(row)


@rows(
    *each(ALL, lambda d: Row("Fill", [i32(2, 3), sample(d, seed=1)])),
    Row("Fill", [np.int64([2, 0]), sample("float32")]),
    Row("Fill", [np.zeros(0, np.int32), np.array("ab")]),
    Row("Fill", [np.int32(2), sample("float32")]),
    Row("Fill", [i32(-1), sample("float32")], refused=True),
    Row("Fill", [i32(2), sample("float32", 1)]),
    Row("Fill", [i32(2), sample("float32", 2)], refused=True),
    *each(ALL, lambda d: [Row("ZerosLike", [sample(d, 2, 3)]), Row("OnesLike", [sample(d, 2, 3)])]),
    Row("ZerosLike", [WORDS]),
    Row("ZerosLike", [sample("float32", 0)]),
    Row("OnesLike", [sample("float32")]),
    Row("Empty", [i32(2, 3)], {"dtype": "float32", "init": True}),
    Row("Empty", [i32(2)], {"dtype": "string", "init": True}),
    Row("Empty", [i32(-2)], {"dtype": "float32", "init": True}, refused=True),
)
def test_making(row: Row) -> None:
    check(row)


def steps(d: str, start: float, limit: float, delta: float, **more: object) -> Row:
    kind = dtypes.as_dtype(d).numpy
    return Row("Range", [np.array(v, kind) for v in (start, limit, delta)], **more)  # type: ignore[arg-type]


@rows(
    *each(FLOATS, lambda d: [steps(d, 0, 1, 0.1), steps(d, 1.5, -2, -0.5), steps(d, 0, 0.3, 0.1)]),
    *each(("int32", "int64"), lambda d: steps(d, 2, 11, 3)),
    steps("int32", 5, -5, -3),
    steps("int32", 3, 3, 1),
    steps("float16", 0, 1, 0.125),
    steps("float32", 0, 100, 0.1),
    Row("Range", [i32(3), np.int32(9), i32(2)]),
    steps("int32", 3, 1, 1, refused=True),
    steps("int32", 3, 1, 0, refused=True),
    steps("float32", 0, np.inf, 1, refused=True),
    Row("Range", [i32(3, 4), np.int32(9), np.int32(2)], refused=True),
    *each(("float32", "float64"), lambda d: Row("LinSpace", [np.array(-1, d), np.array(2, d), np.int32(7)])),
    Row("LinSpace", [np.float32(2), np.float32(1), np.int64(1)]),
    Row("LinSpace", [np.float32(2), np.float32(1), np.int32(0)], refused=True),
    Row("LinSpace", [np.float32([2]), np.float32(1), np.int32(3)], refused=True),
)
def test_lines(row: Row) -> None:
    check(row)


# --- shapes that are known in part ---
def lower(xp: OnnxPrimitives, name: str, *inputs: OnnxValue, **attrs: object) -> OnnxValue:
    call = bind(table()[name], {k: dtypes.as_dtype(v) if isinstance(v, str) else v for k, v in attrs.items()})
    known = call.static_inputs()
    flat = [v.const if k in known and isinstance(v, OnnxValue) else v for k, v in enumerate(inputs)]
    return xp.lift(call.run(xp, flat, aspect="onnx")[0])


@pytest.mark.parametrize("out_type", ["int32", "int64"])
def test_a_packed_shape_keeps_what_is_known(out_type: str) -> None:
    """Reshape(x, Pack(StridedSlice(Shape(x))[0], 12)) knows its rank and the 12."""
    xp = OnnxPrimitives()
    x = xp.input("x", dtypes.float32, (None, 3, 4))
    number = dtypes.as_dtype(out_type).numpy.type
    vector = [xp.constant(np.array([v], number)) for v in (0, 1, 1)]
    shape = lower(xp, "Shape", x, T="float32", out_type=out_type)
    assert shape.partial == (None, 3, 4)
    first = lower(xp, "StridedSlice", shape, *vector, T=out_type, Index=out_type, shrink_axis_mask=1)
    packed = lower(xp, "Pack", first, xp.constant(number(12)), T=out_type, N=2)
    assert packed.partial == (None, 12)
    assert lower(xp, "Reshape", x, packed, T="float32", Tshape=out_type).dims == (None, 12)


def test_the_known_rest_of_a_shape_is_a_constant() -> None:
    """Shape(x)[1:] needs no node where only the batch is open."""
    xp = OnnxPrimitives()
    x = xp.input("x", dtypes.float32, (None, 3, 4))
    vector = [xp.constant(np.array([v], np.int32)) for v in (1, 0, 1)]
    shape = lower(xp, "Shape", x, T="float32", out_type="int32")
    rest = lower(xp, "StridedSlice", shape, *vector, T="int32", Index="int32", end_mask=1)
    assert rest.const is not None
    assert rest.const.tolist() == [3, 4]
    gathered = lower(xp, "GatherV2", shape, xp.constant(np.int32([2, 1])), np.int32(0), Tparams="int32",
                    Tindices="int32", Taxis="int32")  # fmt: skip
    assert gathered.known() == (4, 3)
    joined = lower(xp, "ConcatV2", rest, shape, np.int32(0), T="int32", N=2, Tidx="int32")
    assert joined.partial == (3, 4, None, 3, 4)
    sizes = lower(xp, "Slice", joined, xp.constant(np.int32([1])), xp.constant(np.int32([2])), T="int32", Index="int32")
    assert sizes.partial == (4, None)
    parts = bind(table()["Unpack"], {"T": dtypes.int32, "num": 3}).run(xp, [shape], aspect="onnx")
    assert [p.known() for p in parts] == [(None,), (3,), (4,)]
    wide = lower(xp, "BroadcastArgs", shape, xp.constant(np.int32([1, 1, 4])), T="int32")
    assert wide.partial == (None, 3, 4)
    assert lower(xp, "EnsureShape", x, T="float32", shape=Shape.of([5, None, None])).dims == (5, 3, 4)
