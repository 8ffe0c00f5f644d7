"""Hold gradient rules against TensorFlow's gradients of the same op, and against finite differences.

A `Row` is one call of an op. `tensorflow_answers` builds all rows into one TensorFlow graph and runs it once;
`coldframe_answer` builds one row with the rule from the op table and runs it on the reference engine.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.python.framework.op_def_library import apply_op

from coldframe import dtypes
from coldframe.graph.signatures import signature
from coldframe.ops import table
from coldframe.ops.call import Call, bind
from coldframe.primitives.numpy_xp import NumpyPrimitives
from coldframe.runtime.session import Session
from coldframe.shapes import Shape
from coldframe.tf1.framework.build import raw
from coldframe.tf1.framework.convert import IndexedSlices
from coldframe.tf1.framework.graph import Graph

TOLERANCE = {"float16": 1e-2, "bfloat16": 5e-2, "float32": 3e-5, "float64": 1e-9, "complex64": 3e-5, "complex128": 1e-9}
NUMPY = NumpyPrimitives()
v1 = tf.compat.v1


@dataclasses.dataclass(frozen=True)
class Open:
    """An input whose value is fed, and of which graph building knows only `dims` (None: not even the rank)."""

    value: Any
    dims: tuple[int | None, ...] | None = None


@dataclasses.dataclass(frozen=True)
class Variable:
    """An input that is a handle to a variable of this value."""

    value: Any


@dataclasses.dataclass
class Row:
    """One call of an op.

    Attributes:
        op: the op's name.
        inputs: one entry per argument: an array (floats are fed, of known shape; others are constants), an `Open`, a
            `Variable`, or a list of these for a list argument.
        attrs: attributes that the inputs do not tell.
        differences: whether finite differences are compared too, where all is float64.
        tol: relative tolerance where the dtype's default will not do.
        by_output: what arrives for an output is a multiple of the output, element by element. So vectors that are
            known but for their sign (or phase) have one gradient.
        name: tells rows of one op apart.
    """

    op: str
    inputs: list[Any]
    attrs: dict[str, Any] = dataclasses.field(default_factory=dict)
    differences: bool = True
    tol: float | None = None
    by_output: bool = False
    name: str = ""

    def __str__(self) -> str:
        extra = self.name or ",".join(f"{k}={v}" for k, v in self.attrs.items())
        shapes = [f"{value_of(x).dtype}{list(np.shape(value_of(x)))}" for x in self.flat]
        return f"{self.op}({', '.join(shapes)}){extra}".replace(" ", "")

    @property
    def flat(self) -> list[Any]:
        return [x for item in self.inputs for x in (item if isinstance(item, list) else [item])]

    def grouped(self, tensors: Sequence[Any]) -> list[Any]:
        """Tensors, one per flat input, as the op's arguments."""
        left = iter(tensors)
        return [[next(left) for _ in item] if isinstance(item, list) else next(left) for item in self.inputs]

    @property
    def wrt(self) -> list[int]:
        """Flat positions of the inputs that gradients are taken for."""
        return [i for i, x in enumerate(self.flat) if differentiable(x)]


@dataclasses.dataclass
class Answer:
    """What a gradient is: one entry per input of `Row.wrt`; None, an array, or slices of (values, indices, shape)."""

    gradients: list[Any]
    dys: list[Any] = dataclasses.field(default_factory=list)
    error: BaseException | None = None


def value_of(x: Any) -> np.ndarray[Any, Any]:
    return np.asarray(x.value if isinstance(x, (Open, Variable)) else x)


def is_floating(dtype: Any) -> bool:
    return np.dtype(dtype).kind in "fcV"


def differentiable(x: Any) -> bool:
    return is_floating(value_of(x).dtype)


def is_fed(x: Any) -> bool:
    return isinstance(x, Open) or differentiable(x)


def upstream(shape: Sequence[int], dtype: Any, seed: int) -> Any:
    """A gradient that arrives: numbers of either sign, none of them 0."""
    rng = np.random.default_rng(seed)
    sign = np.where(rng.random(tuple(shape)) < 0.5, -1.0, 1.0)
    x = sign * rng.uniform(0.5, 1.5, tuple(shape))
    if np.dtype(dtype).kind == "c":
        x = x + 1j * rng.uniform(0.5, 1.5, tuple(shape))
    return np.asarray(x).astype(dtype)


def _weights(row: Row, y: Any, seed: int) -> Any:
    if not is_floating(y.dtype):
        return None
    return upstream(y.shape, np.float64 if row.by_output else y.dtype, seed)


def arriving(row: Row, dys: Sequence[Any], outputs: Sequence[Any]) -> list[Any]:
    """What arrives for the outputs of a row."""
    if not row.by_output:
        return list(dys)
    return [None if dy is None else np.asarray(dy * y, np.asarray(y).dtype) for dy, y in zip(dys, outputs, strict=True)]


# --- TensorFlow ---------------------------------------------------------------------------------------------------
def tensorflow_answers(rows: Sequence[Row]) -> list[Answer]:
    """Ask TensorFlow for the gradients of all rows, for the gradients that `upstream` gives."""
    with tf.Graph().as_default(), v1.Session() as session:
        feeds: dict[Any, Any] = {}
        made = [tensorflow_forward(row, feeds, session) for row in rows]
        outputs = session.run([outs for _, outs in made], feeds)
        answers, fetches = [], []
        for i, (row, (inputs, outs), values) in enumerate(zip(rows, made, outputs, strict=True)):
            dys = [_weights(row, v, i) for v in map(np.asarray, values)]
            answer = Answer([], dys)
            answers.append(answer)
            dys = arriving(row, dys, values)
            try:
                fetches.append(_tf_backward(row, inputs, outs, dys, feeds))
            except (LookupError, ValueError, NotImplementedError, TypeError) as e:
                answer.error = e
                fetches.append([])
        for answer, found in zip(answers, session.run(fetches, feeds), strict=True):
            answer.gradients = [_as_answer(f) for f in found]
        return answers


_NONE = np.array("no gradient", object)


def _as_answer(found: Any) -> Any:
    if isinstance(found, list):
        return tuple(found)
    return None if isinstance(found, bytes) else found


def tensorflow_forward(row: Row, feeds: dict[Any, Any], session: Any) -> tuple[list[Any], list[Any]]:
    """Build a row's node in TensorFlow's default graph; return its inputs and outputs, and note what to feed."""
    inputs = []
    for x in row.flat:
        value = value_of(x)
        if isinstance(x, Variable):
            handle = tf.raw_ops.VarHandleOp(
                dtype=value.dtype, shape=value.shape, shared_name=v1.get_default_graph().unique_name("v")
            )
            session.run(tf.raw_ops.AssignVariableOp(resource=handle, value=value))
            inputs.append(handle)
        elif is_fed(x):
            dims = x.dims if isinstance(x, Open) else value.shape
            inputs.append(v1.placeholder(value.dtype, dims))
            feeds[inputs[-1]] = value
        else:
            inputs.append(tf.constant(value))
    out = tensorflow_op(row.op, row.grouped(inputs), row.attrs)
    flat = tf.nest.flatten(out)
    return inputs, list(flat[0].op.outputs)


def tensorflow_op(name: str, inputs: Sequence[Any], attrs: Mapping[str, Any], node: str | None = None) -> Any:
    """Build a node in TensorFlow's default graph: what `raw` does in coldframe's."""
    sig = signature(name)
    told = {n for a in sig.inputs for n in (a.type_attr, a.number_attr, a.type_list_attr)}
    full = {n: _tf_attr(a.default) for n, a in sig.attrs.items() if a.has_default and n not in told}
    full |= {k: v for k, v in attrs.items() if k not in told}
    named = dict(zip([a.name for a in sig.inputs], inputs, strict=True))
    return apply_op(name, name=node, **named, **full)


def _tf_attr(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_tf_attr(v) for v in value]
    if isinstance(value, Shape):
        return tf.TensorShape(value.dims)
    return tf.as_dtype(value.name) if isinstance(value, dtypes.DType) else value


def _tf_backward(row: Row, inputs: list[Any], outs: list[Any], dys: list[Any], feeds: dict[Any, Any]) -> list[Any]:
    ys = [(y, dy) for y, dy in zip(outs, dys, strict=True) if dy is not None]
    # some shape functions of TensorFlow are wrong: FusedBatchNormGrad's last outputs
    grads = [v1.placeholder(y.dtype, y.shape if y.shape.is_compatible_with(dy.shape) else None) for y, dy in ys]
    feeds.update({t: dy for t, (_, dy) in zip(grads, ys, strict=True)})
    found = tf.gradients([y for y, _ in ys], [inputs[i] for i in row.wrt], grads)
    out = []
    for f in found:
        if f is None:
            out.append(tf.constant("none"))
        else:
            out.append([f.values, f.indices, f.dense_shape] if isinstance(f, tf.IndexedSlices) else f)
    return out


# --- coldframe ------------------------------------------------------------------------------------------------------
def coldframe_answer(row: Row, dys: Sequence[Any], engine: str = "reference") -> Answer:
    """Build the gradients of a row with the rule from the table, and run them on an engine."""
    op = table()[row.op]
    with Graph().as_default() as graph:
        feeds: dict[str, Any] = {}
        variables: dict[str, Any] = {}
        _, node = coldframe_forward(row, feeds, variables, graph)
        grads: list[Any] = []
        outputs = call_of(row).run(NUMPY, [value_of(x) for x in row.flat]) if row.by_output else dys
        for y, dy in zip(node.outputs, arriving(row, dys, outputs), strict=True):
            shape = y.static_shape if dy is None or y.static_shape.accepts(dy.shape) else None
            grads.append(None if dy is None else raw.Placeholder(dtype=y.dtype, shape=shape))
            if dy is not None:
                feeds[grads[-1].name] = dy
        with graph.name_scope("gradients"):
            found = op.rules["gradient"](raw, node, *grads)
        found = list(found) if isinstance(found, (list, tuple)) else [found]
        assert len(found) == len(row.flat), (
            f"{row.op} has {len(row.flat)} inputs, its rule gives {len(found)} gradients"
        )
        picked = [found[i] for i in row.wrt]
        graph_def = graph.as_graph_def()
    session = Session(graph_def, engine=engine)
    session.set_variables(variables)
    fetches = {str(i): _fetch(f) for i, f in enumerate(picked) if f is not None}
    values = session.run(fetches, feeds) if fetches else {}
    return Answer([values.get(str(i)) for i in range(len(picked))], list(dys))


def coldframe_forward(row: Row, feeds: dict[str, Any], variables: dict[str, Any], graph: Any) -> tuple[list[Any], Any]:
    """Build a row's node in `graph`; return its inputs and itself, and note what to feed and to set."""
    inputs = [_input(x, feeds, variables) for x in row.flat]
    return inputs, _operation(getattr(raw, row.op)(*row.grouped(inputs), **row.attrs), graph)


def _input(x: Any, feeds: dict[str, Any], variables: dict[str, Any]) -> Any:
    value = value_of(x)
    dtype = dtypes.from_numpy(value.dtype)
    if isinstance(x, Variable):
        handle = raw.VarHandleOp(dtype=dtype, shape=value.shape, name="variable")
        variables[handle.op.name] = value
        return handle
    if not is_fed(x):
        return raw.constant(value, dtype)
    made = raw.Placeholder(dtype=dtype, shape=x.dims if isinstance(x, Open) else value.shape)
    feeds[made.name] = value
    return made


def _operation(result: Any, graph: Any) -> Any:
    while isinstance(result, (list, tuple)):
        result = result[0]
    return result.op


def _fetch(found: Any) -> Any:
    if isinstance(found, IndexedSlices):
        return (found.values.name, found.indices.name, found.dense_shape.name)
    return found.name


# --- comparison ------------------------------------------------------------------------------------------------------
def compare(row: Row, got: Answer, want: Answer) -> None:
    """Assert that two answers are the same: which inputs have gradients, which are sparse, and all numbers."""
    for at, g, w in zip(row.wrt, got.gradients, want.gradients, strict=True):
        where = f"{row}, input {at}"
        assert (g is None) == (w is None), f"{where}: expected {w}, found {g}"
        assert isinstance(g, tuple) == isinstance(w, tuple), f"{where}: one is sparse, the other is not"
        for a, b in zip(g if isinstance(g, tuple) else (g,), w if isinstance(w, tuple) else (w,), strict=True):
            if a is not None:
                close(where, np.asarray(a), np.asarray(b), row.tol)


def close(where: str, got: Any, want: Any, tol: float | None) -> None:
    assert got.dtype == want.dtype, f"{where}: {got.dtype}, not {want.dtype}"
    assert got.shape == want.shape, f"{where}: shape {got.shape}, not {want.shape}"
    tol = tol or TOLERANCE.get(want.dtype.name, 0)
    if want.dtype.kind == "V":
        got, want = got.astype(np.float32), want.astype(np.float32)
    scale = np.abs(want[np.isfinite(want)]).max(initial=0) if want.dtype.kind in "fc" else 0
    np.testing.assert_allclose(got, want, rtol=tol, atol=tol * max(float(scale), 1e-30), err_msg=where)


# --- finite differences -------------------------------------------------------------------------------------------
def has_differences(row: Row) -> bool:
    """Whether central differences tell something: all that floats is float64."""
    return row.differences and all(value_of(row.flat[i]).dtype == np.float64 for i in row.wrt)


def check_differences(row: Row, answer: Answer, step: float = 1e-5) -> None:
    """Compare the gradients with central differences of the sum of outputs times what arrives for them."""
    values = [value_of(x) for x in row.flat]
    call = call_of(row)
    for at, gradient in zip(row.wrt, answer.gradients, strict=True):
        if gradient is None:
            continue
        want = np.zeros(values[at].size)
        for i in range(want.size):
            ends = []
            for sign in (1, -1):
                moved = list(values)
                moved[at] = values[at].copy()
                moved[at].reshape(-1)[i] += sign * step
                ends.append(_weighted(row, call, moved, answer.dys))
            want[i] = (ends[0] - ends[1]) / (2 * step)
        got = _dense(gradient).reshape(-1)
        scale = np.abs(want).max(initial=1e-3)
        np.testing.assert_allclose(got, want, rtol=1e-4, atol=2e-5 * scale, err_msg=f"{row}, input {at}")


def _weighted(row: Row, call: Call, values: list[Any], dys: Sequence[Any]) -> float:
    total = 0.0
    for y, dy in zip(call.run(NUMPY, values), dys, strict=True):
        if dy is not None:
            total += float(np.real(np.sum(np.abs(y) ** 2 * dy / 2 if row.by_output else y * np.conj(dy))))
    return total


def call_of(row: Row) -> Call:
    """The op with the attributes of the node that graph building makes of the row."""
    with Graph().as_default() as graph:
        node = _operation(
            getattr(raw, row.op)(*row.grouped([raw.constant(value_of(x)) for x in row.flat]), **row.attrs), graph
        )
    return bind(table()[row.op], node.node.attrs)


def _dense(gradient: Any) -> Any:
    if not isinstance(gradient, tuple):
        return np.asarray(gradient)
    rows, indices, shape = gradient
    out = np.zeros(tuple(shape), np.asarray(rows).dtype)
    np.add.at(out, indices, rows)
    return out
