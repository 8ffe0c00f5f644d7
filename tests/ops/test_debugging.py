"""Summaries of tensors for a debugger, and what TensorFlow's own tests put into graphs, against TensorFlow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import coldframe as cf
from coldframe.errors import ExecutionError, UnsupportedError
from coldframe.runtime.files import AnyFile
from graph_oracle import OldGraph, check, in_tensorflow, same
from op_harness import FLOATS, INTS, Row, rows, sample
from op_harness import check as check_row

r, v1 = tf.raw_ops, tf.compat.v1
X = np.array([[1, -2, 0, np.nan], [np.inf, -np.inf, 3, 0.5]], np.float32)
SENT = {"device_name": "/job:localhost/replica:0/task:0/device:CPU:0", "tensor_name": "x:0"}
MODES = (2, 3, 4, 5, 8)


@pytest.fixture
def sent(tmp_path: Path) -> dict[str, Any]:
    """Where TensorFlow's debugger writes what it summed up."""
    return {**SENT, "debug_urls": [f"file://{tmp_path}"]}


@pytest.mark.parametrize("bounds", [(), (-1.5, 2.0), (-2.0, 0.5), (0.0, 0.0), (1.0, 0.0)], ids=str)
def test_summaries(sent: dict[str, Any], bounds: tuple[float, ...]) -> None:
    named = dict(zip(("lower_bound", "upper_bound"), bounds, strict=False))

    def build() -> Any:
        values = [
            X, X[:, :3], X[:1, :0], np.float32(7), X[0, 3:], np.array([[1, -2], [0, 7]], np.int32), X > 0,
            *(sample(d, 3, 4) for d in ("float64", "int8", "uint16", "int64", "uint8")),
        ]  # fmt: skip
        return [r.DebugNumericSummary(input=x, **named, **sent) for x in values]

    check(build, rtol=1e-12)


def test_how_many_are_not_numbers(sent: dict[str, Any]) -> None:
    def build() -> Any:
        return [r.DebugNanCount(input=x, **sent) for x in (X, X[:, :3], X.astype(np.float16), np.arange(3))]

    check(build)


def test_what_the_debugger_sees_passes_through(sent: dict[str, Any]) -> None:
    check(lambda: r.DebugIdentityV3(input=X, io_of_node="x", is_input=True, io_index=1, **sent))


VALUES = [
    X, np.float32(2), X[:, :0], X > 0, X.reshape(2, 1, 1, 2, 1, 2, 1, 1), *(sample(d, 2, 3) for d in (*FLOATS, *INTS)),
]  # fmt: skip


@rows(*[
    Row("DebugNumericSummaryV2", [x], {"tensor_debug_mode": mode, "tensor_id": 5, "output_dtype": out})
    for mode in MODES for x in VALUES for out in ("float32", "float64")
])  # fmt: skip
def test_second_summaries(row: Row) -> None:
    check_row(row)


@pytest.mark.parametrize(("attrs", "message"), [
    ({"tensor_debug_mode": 1}, "`tensor_debug_mode`"),
    ({"tensor_debug_mode": 2, "tensor_id": 1 << 25}, "`tensor_id`"),
])  # fmt: skip
def test_refused_summaries(attrs: dict[str, Any], message: str) -> None:
    check(lambda: r.DebugNumericSummaryV2(input=X, **attrs), refused=message)
    check(lambda: r.DebugNumericSummaryV2(input=X, tensor_debug_mode=2, tensor_id=1 << 25, output_dtype=tf.float64))


def test_what_computes_nothing() -> None:
    def build() -> Any:
        with tf.control_dependencies([r.SyncDevice()]):
            return r.Fact()

    check(build)
    switch = OldGraph(2474)
    switch.graph.node.add(name="y", op="IsTensorFloat32Enabled")
    check(lambda: (switch.graph, ["y:0"]))


@pytest.mark.parametrize("quietly", [False, True])
def test_a_graph_cannot_end_the_process(quietly: bool) -> None:
    """TensorFlow is not asked: it would."""
    with tf.Graph().as_default() as g:
        r.Abort(error_msg="enough", exit_without_error=quietly, name="end")
    session = cf.Session(g.as_graph_def())
    with pytest.raises(ExecutionError, match=r"(?s)the graph aborts.*end.*enough"):
        session.run("end")


def test_a_queue_of_an_old_graph() -> None:
    def build() -> Any:
        queue = r.FIFOQueueV2(component_types=[tf.int32], shared_name="q")
        with tf.control_dependencies([r.QueueEnqueueV2(handle=queue, components=[7])]):
            return r.QueueDequeueV2(handle=queue, component_types=[tf.int32])

    check(build)
    graph = OldGraph(20)
    node = graph.graph.node.add(name="q", op="FIFOQueueV2")
    node.attr["component_types"].list.type.append(tf.int32.as_datatype_enum)
    graph.node("fake", "FakeQueue", "q")
    graph.node("size", "QueueSize", "fake")
    check(lambda: (graph.graph, ["size:0"]))


def test_windows_of_given_elements() -> None:
    def build() -> Any:
        kinds: Any = {"output_types": [tf.int32, tf.string], "output_shapes": [[2], []]}
        handle = r.IteratorV2(shared_name="", container="", **kinds)
        dataset = r.WindowOp(inputs=[[1, 2], "a", [3, 4], "b"], **kinds)
        with tf.control_dependencies([r.MakeIterator(dataset=dataset, iterator=handle)]):
            first = r.IteratorGetNext(iterator=handle, **kinds)
        with tf.control_dependencies(first):
            second = r.IteratorGetNext(iterator=handle, **kinds)
        return [*first, *second]

    check(build)


def test_constants_in_files(tmp_path: Path) -> None:
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    path = tmp_path / "region"
    path.write_bytes(x.tobytes() + b"rest")

    def graph(*shape: int, name: str = str(path)) -> Any:
        return lambda: r.ImmutableConst(dtype=tf.float32, shape=shape, memory_region_name=name)

    proto, names, want = in_tensorflow(graph(2, 3))
    found = cf.Session(proto, files=AnyFile()).run(names)
    same(found[0], want[0][0], 0.0, "a file")
    same(found[0], x, 0.0, "a file")
    with pytest.raises(UnsupportedError, match="graphs may read only the files"):
        cf.Session(proto).run(names)
    proto, names, refused = in_tensorflow(graph(2, 4))
    assert isinstance(refused, tf.errors.OpError)
    with pytest.raises(ExecutionError, match=r"(?s)holds too little.*32 bytes.*28"):
        cf.Session(proto, files=AnyFile()).run(names)
    proto, names, refused = in_tensorflow(graph(2, name="memmapped_package://x"))
    assert isinstance(refused, tf.errors.OpError)
    with pytest.raises(UnsupportedError, match="constants in a memory-mapped package"):
        cf.Session(proto, files=AnyFile()).run(names)


def drawn(numbers: list[int], dtype: Any) -> Any:
    """A graph of the time before generators were told their algorithm: it is in the variable."""

    def build() -> Any:
        graph = OldGraph(27)
        handle = graph.graph.node.add(name="h", op="VarHandleOp")
        handle.attr["dtype"].type = tf.int64.as_datatype_enum
        handle.attr["shape"].shape.unknown_rank = True
        graph.node("init", "AssignVariableOp", "h", graph.const("s", np.array(numbers, np.int64)), dtype=tf.int64)
        shape = graph.const("shape", np.array([5], np.int64))
        graph.node("y", "StatefulStandardNormal", "h", shape, dtype=dtype, shape_dtype=tf.int64)
        return graph.graph, ["y:0"]

    return build


@pytest.mark.parametrize("dtype", [tf.float16, tf.float32, tf.float64])
def test_a_generator_of_old(dtype: Any) -> None:
    for numbers in ([1, 2, 3, 4], [1, -2, 3, 4, 5]):
        check(drawn(numbers, dtype), runs=3, init=["init"])
    check(drawn([1, 2, 3], dtype), init=["init"], refused="the state of a generator")


def test_tensors_are_kept_by_handles_that_are_resources() -> None:
    with tf.Graph().as_default() as g:
        x, h = v1.placeholder(tf.float32, name="x"), v1.placeholder(tf.string, [], name="h")
        r.GetSessionHandleV2(value=x, name="keep")
        tf.identity(r.GetSessionTensor(handle=h, dtype=tf.float32), name="read")
    ours, value = cf.Session(g.as_graph_def()), np.array([1, 2], np.float32)
    handle = ours.run("keep:0", {"x:0": value})
    np.testing.assert_array_equal(ours.run("read:0", {"h:0": handle}), value)
