"""Stacks and optionals against TensorFlow."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import composite_tensor_variant_pb2
from tensorflow.python.ops import composite_tensor_ops
from tensorflow.python.saved_model import nested_structure_coder

from graph_oracle import OldGraph, check

r = tf.raw_ops


def new(max_size: int = -1) -> Any:
    return r.StackV2(max_size=max_size, elem_type=tf.float32, stack_name="s")


def push(handle: Any, value: float) -> Any:
    return r.StackPushV2(handle=handle, elem=tf.constant(value))


def pop(handle: Any, dtype: Any = tf.float32) -> Any:
    return r.StackPopV2(handle=handle, elem_type=dtype)


def after(*first: Any) -> Any:
    return tf.control_dependencies(list(first))


def test_last_in_first_out() -> None:
    def build() -> Any:
        handle = new()
        a = push(handle, 1.0)
        with after(a):
            b = push(handle, 2.0)
        with after(b):
            c = pop(handle)
        with after(c):
            d = pop(handle)
        return a, b, c, d

    check(build, runs=2)


def _full() -> Any:
    handle = new(1)
    with after(push(handle, 1.0)):
        return push(handle, 2.0)


def _closed() -> Any:
    handle = new()
    with after(r.StackCloseV2(handle=handle)):
        return push(handle, 2.0)


@pytest.mark.parametrize(
    ("message", "build"),
    [
        ("the stack is full", _full),
        ("the stack is empty", lambda: pop(new())),
        ("the stack holds another dtype", lambda: pop(new(), tf.int32)),
        ("the stack was closed", _closed),
    ],
)
def test_refusals(message: str, build: Any) -> None:
    check(build, refused=message)


def test_the_first_generation() -> None:
    g = OldGraph(15)
    g.node("s", "Stack", elem_type=tf.float32)
    g.node("a", "StackPush", "s", g.const("x", np.float32(3.5)), T=tf.float32)
    g.node("b", "StackPop", "s", "^a", elem_type=tf.float32)
    g.node("close", "StackClose", "s", "^b")
    check(lambda: (g.graph, ["b:0", "close"]))


def test_optionals() -> None:
    def build() -> Any:
        some = r.OptionalFromValue(components=[tf.constant([1.0, 2.0]), tf.constant(b"x")])
        none = r.OptionalNone()
        shapes = [tf.TensorShape([None]), tf.TensorShape([])]
        got = r.OptionalGetValue(optional=some, output_types=[tf.float32, tf.string], output_shapes=shapes)
        return r.OptionalHasValue(optional=some), r.OptionalHasValue(optional=none), *got

    check(build, runs=2)


def test_gradients_of_optionals_begin_with_zeros_and_add_up() -> None:
    def build() -> Any:
        some = r.OptionalFromValue(components=[tf.constant([1.0, 2.0]), tf.constant(3)])
        twice = r.AddN(inputs=[some, some, r.ZerosLike(x=some)])
        nothing = r.AddN(inputs=[r.OptionalNone(), r.ZerosLike(x=r.OptionalNone())])
        kinds: dict[str, Any] = {"output_types": [tf.float32, tf.int32], "output_shapes": [[2], []]}
        zeros = r.OptionalGetValue(optional=r.ZerosLike(x=some), **kinds)
        return *zeros, *r.OptionalGetValue(optional=twice, **kinds), r.OptionalHasValue(optional=nothing)

    check(build)


def test_optionals_that_do_not_add_up() -> None:
    def build() -> Any:
        total = r.AddN(inputs=[r.OptionalFromValue(components=[tf.constant([1.0, 2.0])]), r.OptionalNone()])
        return r.OptionalGetValue(optional=total, output_types=[tf.float32], output_shapes=[[2]])

    check(build, refused="of which one has no value")


@pytest.mark.parametrize(
    ("message", "make", "shape"),
    [
        ("no value", r.OptionalNone, []),
        ("other dtypes", lambda: r.OptionalFromValue(components=[tf.constant(1)]), []),
        ("component 0", lambda: r.OptionalFromValue(components=[tf.constant([1.0])]), []),
    ],
)
def test_optionals_without_the_value_asked_for(message: str, make: Any, shape: Any) -> None:
    def build() -> Any:
        return r.OptionalGetValue(optional=make(), output_types=[tf.float32], output_shapes=[tf.TensorShape(shape)])

    check(build, refused=message)


def _variant(value: Any) -> Any:
    return composite_tensor_ops.composite_tensor_to_variants(value)


def test_composite_tensors() -> None:
    def build() -> Any:
        ragged = tf.ragged.constant([[1, 2], [3]], dtype=tf.int64)
        sparse = tf.sparse.from_dense([[0.0, 2.0], [3.0, 0.0]])
        back = [composite_tensor_ops.composite_tensor_from_variant(_variant(v), v._type_spec) for v in (ragged, sparse)]
        return tf.nest.flatten(back, expand_composites=True)

    check(build, runs=2)


RAGGED = tf.RaggedTensorSpec([2, None], tf.int64)


@pytest.mark.parametrize(
    ("message", "spec", "kinds"),
    [
        ("the kind of the composite tensor", tf.SparseTensorSpec([2, 2], tf.int64), [tf.int64] * 3),
        ("the composite tensor has other dtypes", RAGGED, [tf.int32, tf.int64]),
        ("the composite tensor has other dtypes", RAGGED, [tf.int64]),
    ],
)
def test_a_composite_tensor_is_not_another(message: str, spec: Any, kinds: list[Any]) -> None:
    metadata = composite_tensor_variant_pb2.CompositeTensorVariantMetadata()
    metadata.type_spec_proto.CopyFrom(nested_structure_coder.encode_structure(spec).type_spec_value)

    def build() -> Any:
        made = _variant(tf.ragged.constant([[1, 2], [3]], dtype=tf.int64))
        return r.CompositeTensorVariantToComponents(
            encoded=made, metadata=metadata.SerializeToString(), Tcomponents=kinds
        )

    check(build, refused=message)


@pytest.mark.parametrize("names", [["CPU", "GPU"], ["GPU", "CPU"], ["GPU"], [], ["cpu"]])
def test_the_number_of_the_device(names: list[str]) -> None:
    check(lambda: [r.DeviceIndex(device_names=names)])
