"""The interpreters agree on their verbs, and the ONNX one knows what it may."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest

from coldframe import dtypes
from coldframe.formats import messages
from coldframe.ops import table
from coldframe.ops.call import bind
from coldframe.primitives.base import Unlowerable
from coldframe.primitives.numpy_xp import NumpyPrimitives
from coldframe.primitives.onnx_builder import Builder, OnnxValue, carrier
from coldframe.primitives.onnx_xp import OnnxPrimitives

# What `onnx` rules use, which run nowhere else: pieces, control flow and tensor lists.
FOR_RULES = {
    "vector", "pair", "indices", "told", "checked", "branch", "loop", "call", "count", "holds", "plain", "room", "seen",
    "traced", "promise", "held", "or_fail", "sees_to", "segment_sums", "recurrent", "first_rows", "list_add",
    "list_element_shape", "longer",
    "list_from", "list_gather", "list_get", "list_length", "list_make", "list_pop", "list_push", "list_resize",
    "list_scatter", "list_set", "list_stack",
    "axes", "counts", "named", "natural", "part", "same_size", "size_of", "terms",
}  # fmt: skip
BUILDER = {n for n, _ in inspect.getmembers(Builder, callable)}
VERBS = sorted(n for n, _ in inspect.getmembers(NumpyPrimitives, callable) if not n.startswith("_"))


@pytest.mark.parametrize("verb", VERBS)
def test_both_interpreters_take_the_same_arguments(verb: str) -> None:
    assert hasattr(OnnxPrimitives, verb), f"the ONNX interpreter lacks {verb}; say there why it cannot"
    mine = inspect.signature(getattr(NumpyPrimitives, verb))
    other = inspect.signature(inspect.unwrap(getattr(OnnxPrimitives, verb)))
    if any(p.kind is p.VAR_POSITIONAL for p in other.parameters.values()) and "kwargs" in other.parameters:
        return  # a verb that always refuses
    assert list(mine.parameters) == list(other.parameters)


def test_the_onnx_interpreter_has_no_verbs_of_its_own() -> None:
    own = {n for n, _ in inspect.getmembers(OnnxPrimitives, callable) if not n.startswith("_")}
    assert own - set(VERBS) - BUILDER <= FOR_RULES, "a body that uses it would fail on numpy"


def call(name: str, xp: Any, *inputs: Any, **attrs: Any) -> Any:
    out = bind(table()[name], attrs).run(xp, list(inputs), aspect="onnx")
    return out[0] if len(out) == 1 else out


def test_shape_arithmetic_keeps_what_is_known() -> None:
    """Reshape(x, Pack(StridedSlice(Shape(x), 0), 12)): the idiom by which graphs flatten a batch."""
    xp, f, i = OnnxPrimitives(), dtypes.float32, dtypes.int32
    x = xp.input("x", f, (None, 3, 4))
    shape = call("Shape", xp, x, T=f, out_type=i)
    assert shape.known() == (None, 3, 4)
    at = [np.array([v], np.int32) for v in (0, 1, 1)]
    batch = call("StridedSlice", xp, shape, *at, T=i, Index=i, shrink_axis_mask=1)
    assert batch.dims == ()
    packed = call("Pack", xp, batch, xp.constant(np.int32(12)), N=2, T=i, axis=0)
    assert packed.known() == (None, 12)
    flat = call("Reshape", xp, x, packed, T=f, Tshape=i)
    assert flat.dims == (None, 12)


def test_a_known_dimension_folds() -> None:
    xp, f, i = OnnxPrimitives(), dtypes.float32, dtypes.int32
    x = xp.input("x", f, (2, 5))
    shape = call("Shape", xp, x, T=f, out_type=i)
    np.testing.assert_array_equal(shape.const, [2, 5])
    assert not xp.nodes, "nothing is emitted for what is known"


@pytest.mark.parametrize(
    ("kernel", "dtype", "carried"),
    [
        ("Add", "int8", "int8"),
        ("ReduceSum", "int8", "int32"),
        ("Exp", "bfloat16", "float32"),
        ("Tile", "bfloat16", "float32"),
    ],
)
def test_missing_kernels_are_carried_by_wider_ones(kernel: str, dtype: str, carried: str) -> None:
    assert carrier(kernel, dtypes.from_name(dtype)).name == carried


@pytest.mark.parametrize(
    ("kernel", "dtype", "why"),
    [
        ("Tan", "float64", "ONNX Runtime has no Tan on float64"),
        ("Add", "complex64", "ONNX Runtime has no Add on complex64"),
        ("Concat", "string", "ONNX Runtime has no Concat on string"),
        ("Nope", "float32", "ONNX Runtime has no kernel `Nope`"),
    ],
)
def test_what_no_kernel_can_is_refused_with_the_reason(kernel: str, dtype: str, why: str) -> None:
    with pytest.raises(Unlowerable, match=why):
        carrier(kernel, dtypes.from_name(dtype))


def test_large_weights_stay_outside_the_model() -> None:
    xp = OnnxPrimitives()
    x = xp.input("x", dtypes.float32, (None, 1000))
    w = np.ones((1000, 50), np.float32)
    y = xp.matmul(x, xp.constant(w)) + xp.constant(np.ones(50, np.float32))
    model, weights = xp.model([("y", y)])
    assert [a is w for a in weights.values()] == [True], "the very array, without a copy"
    assert len(model) < 3000
    initializers = messages.parse(messages.onnx.ModelProto, model, where="").graph.initializer
    assert sorted(len(i.raw_data) for i in initializers) == [0, 200]


def test_a_divisor_that_may_be_zero_never_reaches_the_cpu() -> None:
    xp = OnnxPrimitives()
    x, y = (xp.input(n, dtypes.int32, (None,)) for n in "xy")
    for verb in (xp.trunc_divide, xp.floor_divide, xp.floor_mod, xp.trunc_mod):
        for divisor in (y, xp.constant(np.int32(0)), xp.constant(np.array([3, -1], np.int32))):
            with pytest.raises(Unlowerable, match="may be 0"):
                verb(x, divisor)
        assert isinstance(verb(x, xp.constant(np.int32(7))), OnnxValue)


def test_bodies_cannot_branch_on_what_is_not_known() -> None:
    xp = OnnxPrimitives()
    x = xp.input("x", dtypes.float32, (None,))
    with pytest.raises(Unlowerable, match="branches on a value"):
        bool(x > 0.0)
    with pytest.raises(Unlowerable, match="not known when compiling"):
        xp.static(x, "the axis")
