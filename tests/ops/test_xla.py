"""XLA's ops, as JAX and compiled functions leave them in graphs, against TensorFlow, which compiles them one by one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf.message import Message
from tensorflow.compiler.tf2xla.ops import gen_xla_ops
from tensorflow.compiler.tf2xla.python import xla
from tensorflow.compiler.xla import xla_data_pb2 as data

from coldframe import dtypes
from coldframe.errors import ExecutionError
from coldframe.runtime.session import Session
from graph_oracle import check as check_graph
from op_harness import NUMPY, Row, bound, check, rows, sample

F32 = np.float32


def numbers(message: Message) -> bytes:
    return message.SerializeToString()


def _dot(lhs: Any, rhs: Any, contract: tuple[list[int], list[int]], batch: tuple[list[int], list[int]]) -> Row:
    n = data.DotDimensionNumbers(
        lhs_contracting_dimensions=contract[0], rhs_contracting_dimensions=contract[1],
        lhs_batch_dimensions=batch[0], rhs_batch_dimensions=batch[1],
    )  # fmt: skip
    return Row("XlaDot", [lhs, rhs], {"dimension_numbers": numbers(n), "precision_config": b""}, name=str(contract))


@rows(
    _dot(sample("float32", 2, 3), sample("float32", 3, 4, seed=1), ([1], [0]), ([], [])),
    _dot(sample("float32", 3, 2, 4), sample("float32", 4, 3, 5, seed=1), ([0, 2], [1, 0]), ([], [])),
    _dot(sample("float32", 4, 2, 3), sample("float32", 5, 3, 2, seed=1), ([1], [2]), ([2], [1])),
    _dot(sample("float32", 2, 5, 3), sample("float32", 4, 3, 2, seed=1), ([2], [1]), ([0], [2])),
    _dot(sample("float32", 2), sample("float32", 3, seed=1), ([], []), ([], [])),
    _dot(sample("int32", 4, 2), sample("int32", 2, 3, seed=1), ([1], [0]), ([], [])),
    _dot(sample("float32", 2, 0), sample("float32", 0, 3), ([1], [0]), ([], [])),
    _dot(sample("complex64", 2, 3), sample("complex64", 3, 4), ([1], [0]), ([], [])),
)
def test_dot(row: Row) -> None:
    check(row)


def test_a_dot_of_other_dtypes_is_computed_in_the_one_of_the_result() -> None:
    n = numbers(data.DotDimensionNumbers(lhs_contracting_dimensions=[1], rhs_contracting_dimensions=[0]))
    a, b = np.full([2, 40], 100, np.int8), np.full([40, 3], -100, np.int8)
    attrs = {"dimension_numbers": n, "precision_config": b"", "preferred_element_type": dtypes.int32}
    check(Row("XlaDotV2", [a, b], attrs))


def test_einsum() -> None:
    check(Row("XlaEinsum", [sample("float32", 2, 3, 4), sample("float32", 4, 5)], {"equation": "abc,cd->abd"}))


def _conv(
    x: Any, w: Any, layout: str, *, strides: Any, padding: Any, inner: Any, outer: Any, groups: int = 1,
    **more: Any,
) -> Row:  # fmt: skip
    """`layout` as JAX writes it: ``NHWC,HWIO,NHWC``."""
    a, k, o = layout.split(",")
    space = [c for c in k if c not in "IO"]
    n = data.ConvolutionDimensionNumbers(
        input_batch_dimension=a.index("N"), input_feature_dimension=a.index("C"),
        input_spatial_dimensions=[a.index(c) for c in space],
        kernel_output_feature_dimension=k.index("O"), kernel_input_feature_dimension=k.index("I"),
        kernel_spatial_dimensions=[k.index(c) for c in space],
        output_batch_dimension=o.index("N"), output_feature_dimension=o.index("C"),
        output_spatial_dimensions=[o.index(c) for c in space],
    )  # fmt: skip
    settings = [np.array(v, np.int32) for v in (strides, np.reshape(padding, [-1, 2]), inner, outer, groups)]
    attrs = {"dimension_numbers": numbers(n), "precision_config": b""} | more
    return Row("XlaConvV2" if more else "XlaConv", [x, w, *settings], attrs, const=(2, 3, 4, 5, 6))


@rows(
    _conv(sample("float32", 1, 1, 5), sample("float32", 1, 1, 2), "NCH,OIH,NCH", strides=[1], padding=[[2, 1]],
          inner=[1], outer=[2]),
    _conv(sample("float32", 2, 6, 5, 3), sample("float32", 3, 2, 3, 4), "NHWC,HWIO,NHWC", strides=[2, 1],
          padding=[[1, 1], [0, 1]], inner=[1, 1], outer=[1, 2]),
    _conv(sample("float32", 2, 4, 4, 2), sample("float32", 3, 3, 2, 3), "NHWC,HWIO,NHWC", strides=[1, 1],
          padding=[[2, 2], [1, 2]], inner=[2, 3], outer=[1, 1]),
    _conv(sample("float32", 5, 4, 2, 3), sample("float32", 2, 1, 4, 3), "HWNC,HWOI,NHWC", strides=[1, 1],
          padding=[[-1, 0], [1, -2]], inner=[1, 1], outer=[1, 1]),
    _conv(sample("float32", 2, 6, 5), sample("float32", 9, 2, 2), "NCH,OIH,NCH", strides=[1], padding=[[0, 0]],
          inner=[1], outer=[1], groups=3),
    _conv(sample("float32", 4, 3, 5), sample("float32", 6, 3, 2), "NCH,OIH,NCH", strides=[1], padding=[[0, 0]],
          inner=[1], outer=[1], preferred_element_type=dtypes.float32, batch_group_count=2),
)  # fmt: skip
def test_conv(row: Row) -> None:
    check(row)


def _pad(x: Any, low: Any, high: Any, inner: Any, **more: Any) -> Row:
    amounts = [np.array(v, np.int32) for v in (low, high, inner)]
    return Row("XlaPad", [x, np.array(7, np.asarray(x).dtype), *amounts], const=(2, 3, 4), **more)


@rows(
    *[_pad(sample(d, 2, 3), [2, 1], [1, 2], [1, 0]) for d in ("float32", "int32", "bool", "complex64", "int8")],
    _pad(sample("float32", 3, 4), [-1, 2], [1, -3], [0, 2]),
    _pad(sample("float32", 0, 2), [1, 0], [0, 0], [2, 1]),
    _pad(sample("float32"), [], [], []),
    _pad(sample("float32", 2), [0], [0], [-1], refused=True),
)
def test_pad(row: Row) -> None:
    check(row)


@rows(
    *[Row("XlaDynamicSlice", [sample(d, 4, 5), np.array(at, np.int64), np.array([2, 3], np.int64)], const=(2,))
      for d, at in (("float32", [1, 2]), ("float32", [3, -4]), ("int32", [9, 9]), ("bool", [0, 1]))],
    *[Row("XlaDynamicUpdateSlice", [sample(d, 4, 5), sample(d, 2, 3, seed=1), np.array(at, np.int32)])
      for d, at in (("float32", [1, 2]), ("float32", [3, -4]), ("int32", [9, 9]), ("complex64", [0, 1]))],
    Row("XlaDynamicUpdateSlice", [sample("float32", 4), sample("float32", 0), np.array([1], np.int32)]),
    Row("XlaDynamicUpdateSlice", [np.float32(1), np.float32(2), np.zeros([0], np.int32)]),
)  # fmt: skip
def test_slices(row: Row) -> None:
    check(row)


def _gather(x: Any, at: Any, sizes: Any, **n: Any) -> Row:
    message = numbers(data.GatherDimensionNumbers(**n))
    attrs = {"dimension_numbers": message, "indices_are_sorted": False}
    return Row("XlaGather", [x, np.array(at, np.int32), np.array(sizes, np.int32)], attrs, const=(2,))


@rows(
    _gather(sample("float32", 5, 3), [1, 4, 9, -2], [1, 3], offset_dims=[1], collapsed_slice_dims=[0],
            start_index_map=[0], index_vector_dim=1),
    _gather(sample("float32", 4, 5, 3), [[0, 1], [3, 4], [2, 9]], [2, 1, 3], offset_dims=[0, 2],
            collapsed_slice_dims=[1], start_index_map=[1, 0], index_vector_dim=1),
    _gather(sample("int32", 4, 5), [[0, 3, 1], [1, 2, 0]], [2, 2], offset_dims=[1, 2], start_index_map=[0, 1],
            index_vector_dim=0),
    _gather(sample("float32", 3, 2), np.zeros([2, 0]), [3, 2], offset_dims=[1, 2], index_vector_dim=1),
    _gather(sample("float32", 2, 5, 3), [[[1], [4]], [[0], [2]]], [1, 1, 3], offset_dims=[2],
            collapsed_slice_dims=[1], start_index_map=[1], index_vector_dim=2, operand_batching_dims=[0],
            start_indices_batching_dims=[0]),
)  # fmt: skip
def test_gather(row: Row) -> None:
    check(row)


@rows(
    *[Row("XlaBroadcastHelper", [sample("float32", *a), sample("float32", *b), np.array(at, np.int64)], const=(2,),
          refused=refused)
      for a, b, at, refused in (
          ((3,), (3,), [], False), ((), (2, 3), [], False), ((2,), (2, 3), [0], False), ((4, 2, 3), (3,), [2], False),
          ((2,), (2, 3), [], True), ((2,), (2, 3), [4], True))],
    Row("XlaSharding", [sample("float32", 2)], {"sharding": b""}),
)  # fmt: skip
def test_broadcast_and_marks(row: Row) -> None:
    check(row)


@rows(
    *[Row("XlaSort", [sample(d, 3, 9)]) for d in ("float32", "int32", "float16", "uint8")],
    Row("XlaSort", [np.array([3, np.nan, -np.inf, 1], F32)]),
    Row("XlaKeyValueSort", [np.array([[3, 1, 2], [6, 5, 4]], F32), sample("int32", 2, 3)]),
    *[Row("XlaReducePrecision", [np.array([1.2345678, -1e30, 1e-30, 65504, np.inf, np.nan, 0], F32)],
          {"exponent_bits": e, "mantissa_bits": m}) for e, m in ((8, 7), (5, 10), (8, 23), (4, 3))],
)  # fmt: skip
def test_sorts_and_precision(row: Row) -> None:
    check(row)


# --- ops that take functions --------------------------------------------------------------------------------------
def _function(dtype: Any, f: Any, n: int = 2) -> Any:
    spec = [tf.TensorSpec([], d) for d in (dtype if isinstance(dtype, list) else [dtype] * n)]
    return tf.function(f, autograph=False).get_concrete_function(*spec)


X = sample("float32", 4, 5, 3)


def _fed(name: str, value: Any) -> Any:
    return tf.compat.v1.placeholder(np.asarray(value).dtype, np.shape(value), name=name)


@pytest.mark.parametrize("dims", [[0], [1, 2], [0, 1, 2], []], ids=str)
def test_reduce(dims: list[int]) -> None:
    def build() -> Any:
        x = _fed("x", X)
        add = _function(tf.float32, lambda a, b: a + b)
        least = _function(tf.float32, lambda a, b: tf.minimum(a, b))
        return [xla.reduce(x, 1.0, dims, add), xla.reduce(x, np.float32(0.2), dims, least)]

    check_graph(build, feeds={"x:0": X}, rtol=1e-5)


def test_a_variadic_reduction_finds_the_largest_element_and_its_place() -> None:
    at = np.broadcast_to(np.arange(5, dtype=np.int32)[None, :, None], X.shape)

    def larger(a: Any, i: Any, b: Any, j: Any) -> Any:
        first = tf.logical_or(a > b, tf.logical_and(tf.equal(a, b), i < j))
        return tf.where(first, a, b), tf.where(first, i, j)

    def build() -> Any:
        f = _function([tf.float32, tf.int32, tf.float32, tf.int32], larger)
        return gen_xla_ops.xla_variadic_reduce_v2(
            inputs=[_fed("x", X), tf.constant(at)], init_values=[tf.constant(-np.inf), tf.constant(0)],
            dimensions_to_reduce=[1], reducer=f,
        )  # fmt: skip

    check_graph(build, feeds={"x:0": X})


@pytest.mark.parametrize(
    "given",
    [
        {"window_dimensions": [1, 2, 2], "window_strides": [1, 1, 1]},
        {"window_dimensions": [2, 3, 1], "window_strides": [2, 1, 1], "padding": [[1, 0], [0, 2], [-1, 1]]},
        {"window_dimensions": [2, 2, 1], "window_strides": [1, 2, 1], "base_dilations": [2, 1, 3],
             "window_dilations": [1, 2, 1]},
    ],
    ids=["plain", "padded", "dilated"],
)  # fmt: skip
def test_reduce_window(given: dict[str, Any]) -> None:
    def build() -> Any:
        x = _fed("x", X)
        given.setdefault("padding", np.zeros([3, 2], np.int32))
        some = {k: np.array(v, np.int32) for k, v in given.items()}
        some = {"base_dilations": np.ones(3, np.int32), "window_dilations": np.ones(3, np.int32)} | some
        most = _function(tf.float32, lambda a, b: tf.maximum(a, b))
        return [
            gen_xla_ops.xla_reduce_window(input=x, init_value=tf.constant(-9.0), computation=most, **some),
            gen_xla_ops.xla_reduce_window(
                input=x, init_value=tf.constant(0.0), computation=_function(tf.float32, lambda a, b: a + b), **some
            ),
        ]

    check_graph(build, feeds={"x:0": X}, rtol=1e-5)


def test_select_and_scatter_is_the_gradient_of_a_pooling() -> None:
    x, dy = sample("float32", 5, 6), sample("float32", 3, 3, seed=2)

    def build() -> Any:
        return gen_xla_ops.xla_select_and_scatter(
            operand=_fed("x", x), window_dimensions=[2, 3], window_strides=[2, 2], padding=[[1, 0], [0, 1]],
            source=tf.constant(dy), init_value=tf.constant(0.5),
            select=_function(tf.float32, lambda a, b: a >= b), scatter=_function(tf.float32, lambda a, b: a + b),
        )  # fmt: skip

    check_graph(build, feeds={"x:0": x}, rtol=1e-6)


@pytest.mark.parametrize("how", ["add", "replace", "multiply"])
@pytest.mark.parametrize("kind", ["rows", "windows"])
def test_scatter(kind: str, how: str) -> None:
    if kind == "rows":
        x, at, new = sample("float32", 5, 3), np.array([1, 4, 1, 7, -1]), sample("float32", 5, 3, seed=1)
        n = data.ScatterDimensionNumbers(
            update_window_dims=[1], inserted_window_dims=[0], scatter_dims_to_operand_dims=[0], index_vector_dim=1
        )
    else:
        x, at, new = sample("float32", 5, 6), np.array([[0, 1], [3, 4], [4, 0]]), sample("float32", 2, 3, 2, seed=1)
        n = data.ScatterDimensionNumbers(
            update_window_dims=[0, 2], scatter_dims_to_operand_dims=[0, 1], index_vector_dim=1
        )
    functions = {"add": lambda a, b: a + b, "replace": lambda a, b: b, "multiply": lambda a, b: a * b}

    def build() -> Any:
        return gen_xla_ops.xla_scatter(
            operand=_fed("x", x), scatter_indices=tf.constant(at, tf.int32), updates=tf.constant(new),
            update_computation=_function(tf.float32, functions[how]), dimension_numbers=numbers(n),
            indices_are_sorted=False,
        )  # fmt: skip

    check_graph(build, feeds={"x:0": x}, rtol=1e-6)


@pytest.mark.parametrize("axis", [0, 1])
def test_variadic_sort_is_stable(axis: int) -> None:
    keys, values = np.array([[3, 1, 2, 1, 3], [0, 0, 5, 4, 0]], F32), np.arange(10, dtype=np.int32).reshape(2, 5)

    def build() -> Any:
        f = _function([tf.float32, tf.float32, tf.int32, tf.int32], lambda a, b, i, j: a > b)
        return gen_xla_ops.xla_variadic_sort(
            inputs=[_fed("x", keys), tf.constant(values)], dimension=axis, comparator=f, is_stable=True
        )

    check_graph(build, feeds={"x:0": keys})


def test_loops() -> None:
    def build() -> Any:
        i, x = _fed("i", np.int32(0)), _fed("x", F32(0))
        cond = _function([tf.int32, tf.float32], lambda i, x: i < 7)
        body = _function([tf.int32, tf.float32], lambda i, x: (i + 1, x + 1.5))
        n, total = gen_xla_ops.xla_while(input=[i, x], cond=cond, body=body)
        return [n, total]

    check_graph(build, feeds={"i:0": np.int32(0), "x:0": F32(2)})


@pytest.mark.parametrize("x", [2.0, -3.0])
def test_branches(x: float) -> None:
    """TensorFlow has no kernel for them: it compiles what is around them too."""
    with tf.Graph().as_default() as graph:
        fed = _fed("x", F32(0))
        then, other = _function(tf.float32, lambda x: x * 2, 1), _function(tf.float32, lambda x: x - 1, 1)
        gen_xla_ops.xla_if(cond=fed > 0, inputs=[fed], then_branch=then, else_branch=other, Tout=[tf.float32], name="y")
    assert Session(graph.as_graph_def()).run("y:0", {"x:0": F32(x)}) == (4 if x > 0 else -4)


def test_numbers_that_are_no_message_are_refused() -> None:
    attrs = {"dimension_numbers": b"\x0a\xff", "precision_config": b""}
    call, flat = bound(Row("XlaDot", [sample("float32", 2, 2), sample("float32", 2, 2)], attrs))
    with pytest.raises(ExecutionError, match="no message of dimension numbers"):
        call.run(NUMPY, flat)
