"""Tensor arrays against TensorFlow: alone, in loops, and their gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from coldframe.errors import ExecutionError
from coldframe.formats import messages
from coldframe.graph.convert import from_graph_def
from coldframe.runtime.session import Session
from graph_oracle import OldGraph, check

r = tf.raw_ops
X = np.arange(12, dtype=np.float32).reshape(4, 3)


def new(size: int = 4, dtype: Any = tf.float32, shape: Any = None, **kwargs: Any) -> Any:
    handle, flow = r.TensorArrayV3(size=size, dtype=dtype, element_shape=tf.TensorShape(shape), **kwargs)
    return handle, flow


def scattered(value: Any = X, **kwargs: Any) -> Any:
    value = np.asarray(value)
    handle, flow = new(len(value), tf.as_dtype(value.dtype), **kwargs)
    return handle, r.TensorArrayScatterV3(handle=handle, indices=list(range(len(value))), value=value, flow_in=flow)


def gather(handle: Any, flow: Any, indices: Any, dtype: Any = tf.float32, shape: Any = None) -> Any:
    indices = tf.constant(indices, tf.int32)
    return r.TensorArrayGatherV3(
        handle=handle, indices=indices, flow_in=flow, dtype=dtype, element_shape=tf.TensorShape(shape)
    )


def write(handle: Any, index: Any, value: Any, flow: Any) -> Any:
    return r.TensorArrayWriteV3(handle=handle, index=index, value=tf.constant(value), flow_in=flow)


def read(handle: Any, index: Any, flow: Any, dtype: Any = tf.float32) -> Any:
    return r.TensorArrayReadV3(handle=handle, index=index, flow_in=flow, dtype=dtype)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int8", "int32", "int64", "bool", "complex64"])
def test_scatter_then_read_and_gather(dtype: str) -> None:
    def build() -> Any:
        handle, flow = scattered(X.astype(dtype), clear_after_read=False)
        t = tf.as_dtype(dtype)
        return (
            read(handle, 2, flow, t),
            gather(handle, flow, [3, 0], t),
            r.TensorArraySizeV3(handle=handle, flow_in=flow),
        )

    check(build, runs=2)


def test_strings() -> None:
    def build() -> Any:
        words = np.array([b"a", b"bc", b""], object)
        handle, flow = new(4, tf.string, [])
        flow = r.TensorArrayScatterV3(handle=handle, indices=[0, 1, 2], value=tf.constant(words), flow_in=flow)
        flow = write(handle, 3, b"last", flow)
        with tf.control_dependencies([gather(handle, flow, [2, 1], tf.string)]):
            return read(handle, 3, flow, tf.string), read(handle, 0, flow, tf.string)

    check(build)


def test_never_written_elements_are_zeros_where_the_shape_is_known() -> None:
    def build() -> Any:
        handle, flow = new(3, shape=[2], clear_after_read=False)
        flow = write(handle, 1, [1.0, 2.0], flow)
        return gather(handle, flow, [0, 1, 2]), read(handle, 2, flow)

    check(build)


def test_identical_element_shapes_settle_with_the_first_write() -> None:
    def build() -> Any:
        handle, flow = new(3, identical_element_shapes=True)
        flow = write(handle, 1, [1.0, 2.0], flow)
        return gather(handle, flow, [0, 1, 2])

    check(build)


def test_growing() -> None:
    def build() -> Any:
        handle, flow = new(0, shape=[], dynamic_size=True, clear_after_read=False)
        flow = write(handle, 5, 7.0, flow)
        flow = r.TensorArrayScatterV3(handle=handle, indices=[1, 7], value=[1.0, 2.0], flow_in=flow)
        return r.TensorArraySizeV3(handle=handle, flow_in=flow), gather(handle, flow, list(range(8)))

    check(build)


def test_growing_beyond_the_pieces() -> None:
    """What is written after the pieces counts, but their gradient has as many as there were pieces."""

    def build() -> Any:
        handle, flow = new(2, shape=[1], dynamic_size=True, clear_after_read=False)
        lengths = tf.constant([1, 1], tf.int64)
        flow = r.TensorArraySplitV3(handle=handle, value=tf.constant([1.0, 2.0]), lengths=lengths, flow_in=flow)
        flow = write(handle, 2, [3.0], flow)
        whole = r.TensorArrayConcatV3(handle=handle, flow_in=flow, dtype=tf.float32)
        back, flow = r.TensorArrayGradV3(handle=handle, flow_in=flow, source="a")
        flow = r.TensorArraySplitV3(handle=back, value=whole.value * 2.0, lengths=whole.lengths, flow_in=flow)
        return whole.value, whole.lengths, r.TensorArrayConcatV3(handle=back, flow_in=flow, dtype=tf.float32).value

    check(build)


@pytest.mark.parametrize("dtype", ["float32", "int64", "string"])
def test_split_and_concat(dtype: str) -> None:
    def build() -> Any:
        value = X.astype(dtype) if dtype != "string" else X.astype("S").astype(object)
        t = tf.as_dtype(dtype)
        handle, flow = new(3, t, clear_after_read=False)
        lengths = tf.constant([1, 0, 3], tf.int64)
        flow = r.TensorArraySplitV3(handle=handle, value=tf.constant(value), lengths=lengths, flow_in=flow)
        whole = r.TensorArrayConcatV3(handle=handle, flow_in=flow, dtype=t)
        return whole.value, whole.lengths, read(handle, 1, flow, t), read(handle, 2, flow, t)

    check(build)


def test_nothing_to_stack_or_concatenate() -> None:
    def build() -> Any:
        handle, flow = new(0, shape=[2, 3])
        whole = r.TensorArrayConcatV3(handle=handle, flow_in=flow, dtype=tf.float32, element_shape_except0=[3])
        return gather(handle, flow, [], shape=[2, 3]), whole.value, whole.lengths

    check(build)


REFUSALS: dict[str, Any] = {
    "cannot write to index 4": lambda h, f: write(h, 4, [1.0], f),
    "cannot write to index -1": lambda h, f: write(h, -1, [1.0], f),
    "cannot read index 9": lambda h, f: read(h, 9, f),
    "cannot read index 0 of a tensor array: it was never written": lambda h, f: read(h, 0, f),
    "it was written before": lambda h, f: write(h, 1, [1.0], write(h, 1, [1.0], f)),
    "reading cleared it": lambda h, f: _then(read(h, 1, write(h, 1, [1.0], f)), lambda: read(h, 1, f)),
    "it was read before": lambda h, f: _then(read(h, 1, write(h, 1, [1.0], f)), lambda: write(h, 1, [1.0], f)),
    "the tensor array was closed": lambda h, f: _then(r.TensorArrayCloseV3(handle=h), lambda: write(h, 1, [1.0], f)),
    "another dtype": lambda h, f: r.TensorArrayWriteV3(handle=h, index=0, value=tf.constant(1), flow_in=f),
    "no elements to stack": lambda h, f: gather(h, f, []),
    "the elements' shapes differ at index 1": lambda h, f: gather(
        h, write(h, 0, [1.0], write(h, 1, [1.0, 2.0], f)), [0, 1]
    ),
    "the elements' shape differs from": lambda h, f: _after_narrowing(h, f),
    "as many rows as indices": lambda h, f: r.TensorArrayScatterV3(
        handle=h, indices=tf.compat.v1.placeholder_with_default([0], [None]), value=X, flow_in=f
    ),
    "index beyond the tensor array": lambda h, f: r.TensorArrayScatterV3(
        handle=h, indices=[0, 1, 2, 4], value=X, flow_in=f
    ),
    "lengths must add up": lambda h, f: r.TensorArraySplitV3(
        handle=h, value=X, lengths=tf.constant([1, 1, 1, 2], tf.int64), flow_in=f
    ),
    "as many pieces": lambda h, f: r.TensorArraySplitV3(
        handle=h, value=X, lengths=tf.constant([1, 3], tf.int64), flow_in=f
    ),
    "have at least one dimension; element 0": lambda h, f: (
        r.TensorArrayConcatV3(handle=h, flow_in=_all(h, f), dtype=tf.float32).value
    ),
}


def _then(first: Any, make: Any) -> Any:
    with tf.control_dependencies([first]):
        return make()


def _all(h: Any, f: Any) -> Any:
    return r.TensorArrayScatterV3(handle=h, indices=[0, 1, 2, 3], value=[1.0, 2.0, 3.0, 4.0], flow_in=f)


def _after_narrowing(h: Any, f: Any) -> Any:
    f = r.TensorArrayScatterV3(handle=h, indices=[0, 1, 2, 3], value=X, flow_in=f)
    return _then(gather(h, f, [0], shape=[3]), lambda: gather(h, f, [1], shape=[4]))


@pytest.mark.parametrize("message", REFUSALS)
def test_refusals(message: str) -> None:
    check(lambda: REFUSALS[message](*new(4)), refused=message)


def _of_two_arrays(awaited: bool) -> Any:
    """Arrays closed by nodes that come before all others and need their handles alone."""
    with tf.Graph().as_default() as graph:
        first, flow = new(2, shape=[1], clear_after_read=False)
        second, later = new(2, shape=[1], clear_after_read=False)
        closed = [r.TensorArrayCloseV3(handle=second), r.TensorArrayCloseV3(handle=first)]
        whole = gather(first, write(first, 1, [2.0], write(first, 0, [1.0], flow)), [0, 1])
        with tf.control_dependencies(closed[1:] if awaited else []):
            other = read(second, 0, write(second, 0, [5.0], later))
        tf.identity(whole * 2.0, "whole")
        tf.identity(other, "other")
    return graph, [c.name for c in closed]


@pytest.mark.parametrize("awaited", [False, True])
@pytest.mark.parametrize("engine", ["reference", "auto", "onnxruntime"])
def test_closing_comes_last(engine: str, awaited: bool) -> None:
    """As in TensorFlow, where it usually does; no edge of the graph says so."""
    graph, closed = _of_two_arrays(awaited)
    made = from_graph_def(messages.parse("GraphDef", graph.as_graph_def().SerializeToString(), where=""))
    session = Session(made, engine)
    for _ in range(2):
        whole, other, *_rest = session.run(["whole:0", "other:0", *closed])
        np.testing.assert_array_equal(whole, [[2.0], [4.0]])
        np.testing.assert_array_equal(other, [5.0])


def test_a_new_array_for_each_iteration_of_a_loop() -> None:
    def build() -> Any:
        tf.compat.v1.disable_control_flow_v2()

        def body(i: Any, total: Any) -> Any:
            handle, flow = r.TensorArrayV3(size=2, dtype=tf.float32)
            flow = r.TensorArrayWriteV3(handle=handle, index=0, value=total + 1.0, flow_in=flow)
            flow = r.TensorArrayWriteV3(handle=handle, index=1, value=total, flow_in=flow)
            return i + 1, tf.reduce_sum(gather(handle, flow, [0, 1]))

        return tf.compat.v1.while_loop(lambda i, t: i < 4, body, [0, tf.constant(1.0)])

    check(build, runs=2)


def _recurrent(steps: int) -> Any:
    tf.compat.v1.disable_control_flow_v2()
    x = tf.constant(np.linspace(-1, 1, steps * 6, dtype=np.float32).reshape(steps, 2, 3))
    w = tf.constant(np.linspace(-1, 1, 9, dtype=np.float32).reshape(3, 3))
    inputs = tf.TensorArray(tf.float32, steps).unstack(x)
    outputs = tf.TensorArray(tf.float32, steps)

    def body(i: Any, h: Any, out: Any) -> Any:
        h = tf.tanh(inputs.read(i) + tf.matmul(h, w))
        return i + 1, h, out.write(i, h)

    _, h, outputs = tf.compat.v1.while_loop(lambda i, *_: i < steps, body, [0, tf.zeros([2, 3]), outputs])
    return x, w, h, outputs.stack()


@pytest.mark.parametrize("steps", [0, 1, 7])
def test_a_recurrent_loop(steps: int) -> None:
    def build() -> Any:
        _, _, h, out = _recurrent(steps)
        return (h, out) if steps else (h,)

    check(build, runs=2, rtol=1e-5)


def test_the_gradients_of_a_recurrent_loop() -> None:
    def build() -> Any:
        x, w, h, out = _recurrent(5)
        return tf.compat.v1.gradients(tf.reduce_sum(out * out) + tf.reduce_sum(h), [x, w])

    check(build, rtol=1e-4)


def test_gradient_arrays() -> None:
    def build() -> Any:
        handle, flow = scattered(clear_after_read=False)
        first, g = r.TensorArrayGradV3(handle=handle, flow_in=flow, source="a")
        again, _ = r.TensorArrayGradV3(handle=handle, flow_in=g, source="a")
        other, o = r.TensorArrayGradV3(handle=handle, flow_in=flow, source="b")
        g = write(first, 1, [1.0, 2.0, 3.0], g)
        g = write(again, 1, [10.0, 20.0, 30.0], g)
        return gather(first, g, [0, 1, 2, 3]), gather(other, o, [1])

    check(build)


def test_gradient_arrays_with_more_dimensions() -> None:
    def build() -> Any:
        handle, flow = scattered(clear_after_read=False)
        more, g = r.TensorArrayGradWithShape(handle=handle, flow_in=flow, shape_to_prepend=[2], source="a")
        g = r.TensorArrayWriteV3(handle=more, index=1, value=tf.ones([2, 3]), flow_in=g)
        return gather(more, g, [0, 1])

    check(build)


def test_an_array_with_gradients_does_not_grow() -> None:
    def build() -> Any:
        handle, flow = new(1, shape=[1], dynamic_size=True)
        _, g = r.TensorArrayGradV3(handle=handle, flow_in=flow, source="a")
        with tf.control_dependencies([g]):
            return write(handle, 1, [1.0], flow)

    check(build, refused="it cannot grow")


def test_a_size_below_zero() -> None:
    check(lambda: new(-1)[1], refused="the size of a tensor array .*: expected 0 or more, found -1")


def test_strings_have_no_zeros() -> None:
    check(lambda: read(*_string_pair(), tf.string), refused="it was never written .*: found string")


def _string_pair() -> Any:
    handle, flow = new(2, tf.string, [1])
    return handle, 0, flow


def test_the_second_generation() -> None:
    g = OldGraph(20)
    size = g.const("size", np.int32(4))
    flow = g.const("flow", np.float32(0))
    g.node("array", "TensorArrayV2", size, dtype=tf.float32)
    g.node(
        "in",
        "TensorArrayScatterV2",
        "array",
        g.const("at", np.arange(4, dtype=np.int32)),
        g.const("x", X),
        flow,
        T=tf.float32,
    )
    g.node("grad", "TensorArrayGradV2", "array", "in", source=b"a")
    one = g.const("one", np.int32(1))
    g.node("add", "TensorArrayWriteV2", "grad", one, g.const("row", X[1]), "in", T=tf.float32)
    g.node("again", "TensorArrayWriteV2", "grad", one, "row", "add", T=tf.float32)
    g.node("sum", "TensorArrayReadV2", "grad", one, "again", dtype=tf.float32)
    g.node("got", "TensorArrayGatherV2", "array", g.const("some", np.array([2, 1], np.int32)), "in", dtype=tf.float32)
    g.node("count", "TensorArraySizeV2", "array", "in")
    check(lambda: (g.graph, ["sum:0", "got:0", "count:0"]))


def test_the_first_generation() -> None:
    g = OldGraph(15)
    flow = g.const("flow", np.float32(0))
    g.node("array", "TensorArray", g.const("size", np.int32(4)), dtype=tf.float32, clear_after_read=False)
    g.node("in", "TensorArrayUnpack", "array", g.const("x", X), flow, T=tf.float32)
    g.node("packed", "TensorArrayPack", "array", "in", dtype=tf.float32)
    g.node("grad", "TensorArrayGrad", "array", "in", source=b"a")
    g.node("add", "TensorArrayWrite", "grad", g.const("one", np.int32(1)), g.const("row", X[1]), "in", T=tf.float32)
    g.node("sums", "TensorArrayPack", "grad", "add", dtype=tf.float32)
    g.node("got", "TensorArrayRead", "array", "one", "in", dtype=tf.float32)
    g.node("count", "TensorArraySize", "array", "in")
    g.node("close", "TensorArrayClose", "array", "^packed", "^got", "^sums", "^count")
    check(lambda: (g.graph, ["packed:0", "got:0", "count:0", "sums:0", "close"]), runs=2)


def test_a_size_that_a_graph_merely_claims_takes_no_memory() -> None:
    check(lambda: new(1 << 20)[1] * 0)
    g = OldGraph(1087)
    g.node("array", "TensorArrayV3", g.const("size", np.int32(2**31 - 1)), dtype=tf.float32)
    with pytest.raises(ExecutionError, match=r"a tensor array of that size .*: expected at most 16777216"):
        Session(g.graph).run("array:1")
