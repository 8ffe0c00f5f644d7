"""Gradients through tensor arrays, tensor lists, optionals, V1 conditions and whole networks, as `tf.gradients` gives.

A program is a function of `call(op, *inputs, **attrs)` and its inputs; it runs on TensorFlow and on coldframe.
"""

from __future__ import annotations

import contextlib
import itertools
import types
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.framework.op_def_library import apply_op
from tensorflow.python.framework.ops import gradient_registry

from coldframe import dtypes
from coldframe.graph.signatures import signature
from coldframe.ops import table
from coldframe.runtime.session import Session
from coldframe.tf1.cond import cond
from coldframe.tf1.framework.build import raw
from coldframe.tf1.framework.graph import Graph
from coldframe.tf1.gradients import gradients
from op_harness import sample

Call = Callable[..., Any]
Program = Callable[..., Any]
v1 = tf.compat.v1
INT, FLOAT = np.int32, np.float32


def in_tensorflow(op: str, *inputs: Any, **attrs: Any) -> Any:
    sig = signature(op)
    given: dict[str, Any] = {}
    for k, a in sig.attrs.items():
        if a.has_default and k not in attrs and not a.type.endswith("type)") and a.type != "type":
            given[k] = tf.TensorShape(a.default.dims) if a.type == "shape" else a.default
    for k, v in attrs.items():
        kinds = v if isinstance(v, list) else [v]
        if all(isinstance(d, dtypes.DType) for d in kinds):
            v = [tf.as_dtype(d.name) for d in kinds] if isinstance(v, list) else tf.as_dtype(v.name)
        given[k] = v
    return apply_op(op, **dict(zip([a.name for a in sig.inputs], inputs, strict=True)), **given)


def in_coldframe(op: str, *inputs: Any, **attrs: Any) -> Any:
    return getattr(raw, op)(*inputs, **attrs)


@contextlib.contextmanager
def first_generation() -> Iterator[None]:
    """TensorFlow's rules for tensor arrays are those of TensorFlow 1 only without the control flow of TensorFlow 2."""
    before = v1.control_flow_v2_enabled()
    v1.disable_control_flow_v2()
    try:
        yield
    finally:
        if before:
            v1.enable_control_flow_v2()


def tensorflow_gradients(program: Program, values: list[Any], order: int) -> list[Any]:
    with first_generation(), tf.Graph().as_default(), v1.Session() as session:
        xs = [v1.placeholder(v.dtype, v.shape) for v in values]
        ys = program(in_tensorflow, *xs)
        for _ in range(order):
            found = tf.gradients(ys, xs)
            ys = [tf.reduce_sum(f * f) for f in found if f is not None]
        return list(session.run([f for f in found if f is not None], dict(zip(xs, values, strict=True))))


def coldframe_gradients(program: Program, values: list[Any], order: int, engine: str) -> list[Any]:
    with Graph().as_default() as graph:
        xs = [raw.Placeholder(dtype=dtypes.from_numpy(v.dtype), shape=v.shape) for v in values]
        ys = program(in_coldframe, *xs)
        for _ in range(order):
            found = gradients(ys, xs)
            ys = [raw.Sum(f * f, list(range(f.static_shape.rank))) for f in found if f is not None]
        graph_def = graph.as_graph_def()
    feeds = {x.name: v for x, v in zip(xs, values, strict=True)}
    return list(Session(graph_def, engine=engine).run([f.name for f in found if f is not None], feeds))


X = sample("float32", 3, 2)


# --- tensor arrays ----------------------------------------------------------------------------------------------
def written_and_read(call: Call, x: Any) -> Any:
    array, flow = call("TensorArrayV3", INT(3), dtype=dtypes.float32, clear_after_read=False)
    for i, v in enumerate((x * 2.0, x * x, x + 1.0)):
        flow = call("TensorArrayWriteV3", array, INT(i), v, flow)
    return [call("TensorArrayReadV3", array, INT(i), flow, dtype=dtypes.float32) * float(i + 2) for i in (0, 1, 1)]


def scattered_and_gathered(call: Call, x: Any) -> Any:
    array, flow = call("TensorArrayV3", INT(4), dtype=dtypes.float32, clear_after_read=False)
    flow = call("TensorArrayScatterV3", array, np.array([2, 0, 3], INT), x * x, flow)
    return call("TensorArrayGatherV3", array, np.array([0, 3, 0], INT), flow, dtype=dtypes.float32) * 3.0


def split_and_joined(call: Call, x: Any) -> Any:
    array, flow = call("TensorArrayV3", INT(2), dtype=dtypes.float32, clear_after_read=False)
    flow = call("TensorArraySplitV3", array, x * x, np.array([1, 2], np.int64), flow)
    whole, _ = call("TensorArrayConcatV3", array, flow, dtype=dtypes.float32)
    return [whole * 3.0, call("TensorArrayReadV3", array, INT(1), flow, dtype=dtypes.float32)]


# --- tensor lists -----------------------------------------------------------------------------------------------
ROW = np.array([2], INT)


def list_of_rows(call: Call, x: Any) -> Any:
    rows = call("TensorListFromTensor", x * x, ROW)
    rows = call(
        "TensorListSetItem",
        rows,
        INT(1),
        call("TensorListGetItem", rows, INT(0), ROW, element_dtype=dtypes.float32) * 2.0,
    )
    return call("TensorListStack", rows, ROW, element_dtype=dtypes.float32, num_elements=3) * 3.0


def pushed_and_popped(call: Call, x: Any) -> Any:
    shape = np.array([3, 2], INT)
    items = call("EmptyTensorList", shape, INT(-1), element_dtype=dtypes.float32)
    for v in (x * 2.0, x * x):
        items = call("TensorListPushBack", items, v)
    items, last = call("TensorListPopBack", items, np.array([3, 2], INT), element_dtype=dtypes.float32)
    return [
        last * 5.0,
        call("TensorListStack", items, np.array([3, 2], INT), element_dtype=dtypes.float32, num_elements=1),
    ]


def list_of_pieces(call: Call, x: Any) -> Any:
    pieces = call("TensorListSplit", x * x, np.array([-1, 2], INT), np.array([1, 2], np.int64))
    whole, _ = call(
        "TensorListConcatV2", pieces, np.array([-1, 2], INT), np.zeros(0, np.int64), element_dtype=dtypes.float32
    )
    return whole * 3.0


def gathered_rows(call: Call, x: Any) -> Any:
    at = np.array([3, 0, 1], INT)
    rows = call("TensorListScatterV2", x * x, at, ROW, INT(5))
    first = call("MatMul", np.array([[1, 0, 0]], FLOAT), x)
    rows = call("TensorListScatterIntoExistingList", rows, first * 2.0, np.array([1], INT))
    rows = call("TensorListResize", rows, INT(4))
    return call("TensorListGather", rows, np.array([1, 0, 3], INT), ROW, element_dtype=dtypes.float32) * 3.0


def optional(call: Call, x: Any) -> Any:
    box = call("OptionalFromValue", [x * x, x * 2.0])
    return call(
        "OptionalGetValue", box, output_types=[dtypes.float32] * 2, output_shapes=[[3, 2], [3, 2]]
    )  # fmt: skip


# --- conditions -------------------------------------------------------------------------------------------------
def condition(call: Call, x: Any, y: Any, value: bool) -> Any:
    x_false, x_true = call("Switch", x, np.bool_(value))
    _, y_true = call("Switch", y, np.bool_(value))
    out, _ = call("Merge", [x_false * x_false, x_true * y_true])
    return out * 3.0


def nested(call: Call, x: Any, y: Any, outer: bool, inner: bool) -> Any:
    x_false, x_true = call("Switch", x, np.bool_(outer))
    _, y_true = call("Switch", y, np.bool_(outer))
    z_false, z_true = call("Switch", x_true * y_true, np.bool_(inner))
    within, _ = call("Merge", [z_false * 2.0, z_true * z_true])
    out, _ = call("Merge", [x_false * 5.0, within])
    return out * 3.0


# --- networks ---------------------------------------------------------------------------------------------------
def network(call: Call, image: Any, w: Any, b: Any, dense: Any) -> Any:
    h = call("Conv2D", image, w, strides=[1, 1, 1, 1], padding="SAME")
    h = call("Relu", call("BiasAdd", h, b))
    h = call("MaxPool", h, ksize=[1, 2, 2, 1], strides=[1, 2, 2, 1], padding="VALID")
    h = call("AvgPool", h, ksize=[1, 2, 2, 1], strides=[1, 1, 1, 1], padding="SAME")
    logits = call("MatMul", call("Reshape", call("Elu", h), np.array([2, 12], INT)), dense)
    loss, _ = call("SparseSoftmaxCrossEntropyWithLogits", logits, np.array([1, 0], INT))
    labels = call("Softmax", logits * 2.0)
    soft, _ = call("SoftmaxCrossEntropyWithLogits", logits, labels)
    return [loss, soft]


def normalized(call: Call, x: Any, scale: Any, offset: Any) -> Any:
    y, *_ = call("FusedBatchNormV3", x, scale, offset, np.zeros(0, FLOAT), np.zeros(0, FLOAT), epsilon=0.01)
    return call("Softplus", y)


NETWORK = [
    sample("float32", 2, 4, 4, 3), sample("float32", 3, 3, 3, 3, seed=1), sample("float32", 3, seed=2),
    sample("float32", 12, 2, seed=3),
]  # fmt: skip


def cases() -> Iterator[tuple[str, Program, list[Any], int]]:
    for program in (
        written_and_read, scattered_and_gathered, split_and_joined, list_of_rows, pushed_and_popped, list_of_pieces,
        gathered_rows, optional,
    ):  # fmt: skip
        yield program.__name__, program, [X], 1
    for value in (False, True):
        yield f"condition {value}", lambda c, x, y, v=value: condition(c, x, y, v), [X, X + 1], 1
    for a, b in itertools.product((False, True), repeat=2):
        yield f"nested {a} {b}", lambda c, x, y, a=a, b=b: nested(c, x, y, a, b), [X, X + 1], 1
    for order in (1, 2):
        yield f"network {order}", network, NETWORK, order
        norm = [sample("float32", 4, 3, 2, 2), sample("float32", 2, seed=1), sample("float32", 2, seed=2)]
        yield f"normalized {order}", normalized, norm, order


CASES = list(cases())


@pytest.mark.parametrize("engine", ["reference", "onnxruntime"])
@pytest.mark.parametrize(("name", "program", "values", "order"), CASES, ids=[c[0] for c in CASES])
def test_gradients_of_programs(name: str, program: Program, values: list[Any], order: int, engine: str) -> None:
    want = tensorflow_gradients(program, values, order)
    got = coldframe_gradients(program, values, order, engine)
    assert len(got) == len(want)
    for g, w in zip(got, want, strict=True):
        np.testing.assert_allclose(g, w, rtol=2e-3 if order > 1 else 1e-4, atol=1e-4 * max(1.0, np.abs(w).max()))


FIRST_ORDER = [c for c in CASES if c[3] == 1]


@pytest.mark.parametrize("case", FIRST_ORDER, ids=[c[0] for c in FIRST_ORDER])
def test_gradients_are_tensorflows_nodes(case: tuple[str, Program, list[Any], int]) -> None:
    """Names, ops and inputs, so that graphs and checkpoints of one fit the other's; dimensions of batches are open."""
    _, program, values, _ = case
    shapes = [(None, *v.shape[1:]) if k == 0 else v.shape for k, v in enumerate(values)]
    with first_generation(), tf.Graph().as_default() as theirs:
        xs = [v1.placeholder(v.dtype, s) for v, s in zip(values, shapes, strict=True)]
        tf.gradients(program(in_tensorflow, *xs), xs)
    with Graph().as_default() as ours:
        xs = [raw.Placeholder(dtype=dtypes.from_numpy(v.dtype), shape=s) for v, s in zip(values, shapes, strict=True)]
        gradients(program(in_coldframe, *xs), xs)
    assert nodes(ours.as_graph_def()) == nodes(theirs.as_graph_def())


def nodes(graph_def: Any) -> dict[str, tuple[str, list[str]]]:
    return {n.name: (n.op, [i for i in n.input if not i.startswith("^")]) for n in graph_def.node}


def test_each_call_keeps_its_own_gradients_of_an_array() -> None:
    with Graph().as_default() as graph:
        x = raw.Placeholder(dtype=dtypes.float32, shape=[3, 2])
        ys = written_and_read(in_coldframe, x)
        (first,), (second,) = gradients(ys[:1], x), gradients(ys, x)
        graph_def = graph.as_graph_def()
    sources = {n.attr["source"].s for n in graph_def.node if n.op == "TensorArrayGradV3"}
    assert sources == {b"gradients", b"gradients_1"}
    one, both = Session(graph_def).run([first.name, second.name], {x.name: X})
    np.testing.assert_allclose(one, np.full_like(X, 4))
    np.testing.assert_allclose(both, 4 + 12 * X, rtol=1e-5)


@pytest.mark.parametrize("taken", [False, True])
def test_conditions_of_programs(taken: bool) -> None:
    """`tf.cond` nested, with a constant side, and with a side that ignores an input."""

    def program(tf: Any, x: Any, y: Any, pred: Any) -> Any:
        inner = lambda: tf.cond(pred, lambda: x * y, lambda: x * 2.0)  # noqa: E731
        out = tf.cond(pred, inner, lambda: x * x * y)
        return tf.cond(pred, lambda: out * 3.0, lambda: tf.constant(np.ones_like(X)) * x)

    with first_generation(), tf.Graph().as_default(), v1.Session() as session:
        xs = [v1.placeholder(tf.float32, X.shape) for _ in range(2)]
        pred = v1.placeholder(tf.bool, [])
        grads = tf.gradients(program(v1, *xs, pred), xs)
        want = session.run(grads, {xs[0]: X, xs[1]: X + 1, pred: taken})
    with Graph().as_default() as graph:
        xs = [raw.Placeholder(dtype=dtypes.float32, shape=X.shape) for _ in range(2)]
        pred = raw.Placeholder(dtype=dtypes.bool_, shape=[])
        grads = gradients(program(coldframe_names, *xs, pred), xs)
        graph_def = graph.as_graph_def()
    assert any(n.name.endswith("Merge_grad/cond_grad") for n in graph_def.node)
    got = Session(graph_def).run([t.name for t in grads], {xs[0].name: X, xs[1].name: X + 1, pred.name: taken})
    for g, w in zip(got, want, strict=True):
        np.testing.assert_allclose(g, w, rtol=1e-5)


coldframe_names = types.SimpleNamespace(cond=cond, constant=raw.constant)


def test_frames_that_are_no_loops_say_that_they_have_none() -> None:
    with Graph().as_default():
        x = raw.Placeholder(dtype=dtypes.float32, shape=[])
        inside = raw.Enter(x, frame_name="loop")
        y = raw.Exit(inside)
        with pytest.raises(LookupError, match="No gradient defined for the loop of 'Exit'"):
            gradients(y, x)


# --- coverage ---------------------------------------------------------------------------------------------------
FAMILIES = (
    "activation", "boxes", "colors", "conv", "ctc", "flow_v1", "image", "image_gradients", "loss", "norm", "pool",
    "quantize", "rnn", "stacks", "tensor_array", "tensor_list",
)  # fmt: skip
MISSING: dict[str, str] = {}  # op -> why it has no rule


def test_every_op_that_tensorflow_differentiates_has_a_rule() -> None:
    ours = {n: o for n, o in table().items() if o.body.__module__.rpartition(".")[2] in FAMILIES}
    known = {n: gradient_registry.lookup(n) for n in gradient_registry.list() if n in ours}
    without = {n for n, rule in known.items() if rule is not None and "gradient" not in ours[n].rules}
    assert without - {n for n in without if ours[n].no_gradient} == set(MISSING)
    stopped = {n for n, rule in known.items() if rule is None}
    assert stopped == {n for n in stopped if ours[n].no_gradient}
