"""Gradients through several nodes: sparse ones handed on or made dense, names of nodes, what stops or forbids them."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.ops import composite_tensor_ops

from coldframe.graph.signatures import signature
from coldframe.tf1.framework.build import Raw, raw
from coldframe.tf1.framework.convert import IndexedSlices
from coldframe.tf1.framework.graph import Graph
from coldframe.tf1.gradients import gradients
from coldframe.tf1.session import Session
from gradient_harness import close, tensorflow_op

importlib.import_module("tensorflow.python.ops.map_ops")  # it registers the gradients of maps
v1 = tf.compat.v1
ROWS = np.random.default_rng(1).normal(size=(4, 3))
WEIGHTS = np.random.default_rng(2).normal(size=(3, 3))
AT = np.array([2, 0, 2], np.int32)
PLACES = np.array([[0, 1], [1, 0], [1, 2], [3, 2]])


class TensorFlow:
    """Builds nodes as `raw` does, in TensorFlow's default graph."""

    constant = staticmethod(tf.constant)

    def __getattr__(self, op: str) -> Callable[..., Any]:
        def build(*inputs: Any, name: str | None = None, **attrs: Any) -> Any:
            return tensorflow_op(op, [*inputs, *(attrs.pop(a.name) for a in signature(op).inputs if a.name in attrs)],
                                 attrs, name)  # fmt: skip

        return build


Program = Callable[[Any], tuple[Any, list[Any]]]


def picked(g: Any, params: Any) -> Any:
    return g.Gather(params, g.constant(AT, name="at"))


def fed(g: Any, name: str = "x") -> Any:
    return g.Placeholder(dtype=np.float64 if isinstance(g, Raw) else tf.float64, shape=[4, 3], name=name)


def through(op: Callable[[Any, Any], Any]) -> Program:
    """The gradient, for params, of picked rows of what `op` makes of params."""

    def program(g: Any) -> tuple[Any, list[Any]]:
        x = fed(g)
        return g.Mul(picked(g, op(g, x)), g.constant(WEIGHTS)), [x]

    return program


def two_readers(g: Any) -> tuple[Any, list[Any]]:
    x = fed(g)
    return g.AddV2(picked(g, x), picked(g, g.Identity(x))), [x]


def dense_and_sparse(g: Any) -> tuple[Any, list[Any]]:
    x = fed(g)
    return g.AddV2(g.Sum(picked(g, x), [0, 1]), g.Sum(g.Square(x), [0, 1])), [x]


def stitched(g: Any) -> tuple[Any, list[Any]]:
    x = fed(g)
    whole = g.DynamicStitch([[0, 2], [1, 3]], [g.Slice(x, [0, 0], [2, 3]), g.Slice(x, [2, 0], [2, 3])])
    return picked(g, whole), [x]


def joined(axis: int) -> Program:
    def program(g: Any) -> tuple[Any, list[Any]]:
        x, y = fed(g), fed(g, "y")
        return picked(g, g.ConcatV2([x, g.Neg(y)], axis)), [x, y]

    return program


def network(g: Any) -> tuple[Any, list[Any]]:
    x = fed(g)
    hidden = g.Tanh(g.AddV2(g.MatMul(x, g.constant(WEIGHTS, name="w")), g.constant(WEIGHTS[0], name="b")))
    return g.Mean(g.SquaredDifference(g.Reshape(hidden, [-1]), g.constant(1.0, "float64")), [0]), [x]


def stops(g: Any) -> tuple[Any, list[Any]]:
    x = fed(g)
    return g.Mul(g.StopGradient(g.Exp(x)), x), [x]


def drops_out(g: Any) -> tuple[Any, list[Any]]:
    x = fed(g)
    return g.Sub(x, g.Round(x)), [x]


def compressed(g: Any, x: Any, places: Any = PLACES) -> Any:
    return g.DenseToCSRSparseMatrix(x, g.constant(places))


def opened(g: Any, x: Any) -> Any:
    return g.CSRSparseMatrixToDense(x, type="float64")


def sparse_times_dense(turned: str, other: str) -> Program:
    """A sparse matrix made of one input, times a dense one made of another; each turned before, if so said."""

    def program(g: Any) -> tuple[Any, list[Any]]:
        x, y = fed(g), fed(g, "y")
        b = g.Transpose(y, [1, 0]) if bool(turned) == bool(other) else y
        flags = {f"{how}_{side}": True for side, how in (("a", turned), ("b", other)) if how}
        product = g.SparseMatrixMatMul(compressed(g, x), b, **flags)
        return g.Square(product), [x, y]

    return program


def sparse_times_sparse(turned: str, other: str) -> Program:
    def program(g: Any) -> tuple[Any, list[Any]]:
        x, y = fed(g), fed(g, "y")
        b = compressed(g, y, PLACES[1:])
        if bool(turned) == bool(other):
            b = g.SparseMatrixTranspose(b, type="float64")
        flags = {f"{how}_{side}": True for side, how in (("a", turned), ("b", other)) if how}
        product = g.SparseMatrixSparseMatMul(compressed(g, x), b, type="float64", **flags)
        return g.Square(opened(g, product)), [x, y]

    return program


def sparse_there_and_back(g: Any, x: Any) -> Any:
    values = g.GatherNd(x, g.constant(PLACES))
    matrix = g.SparseTensorToCSRSparseMatrix(g.constant(PLACES), values, g.constant(np.array([4, 3], np.int64)))
    indices, values, shape = g.CSRSparseMatrixToSparseTensor(matrix, type="float64")
    return g.ScatterNd(indices, g.Square(values), shape)


def kept_in_a_map(g: Any, x: Any) -> Any:
    """Two entries of a map, one of which was put over another, and one that was erased."""
    keys = [g.constant(np.int64(k), name=f"key{k}") for k in range(3)]
    m = g.EmptyTensorMap()
    for k, value in ((0, x), (1, g.Neg(x)), (2, x), (0, g.Square(x))):
        m = g.TensorMapInsert(m, keys[k], value)
    m = g.TensorMapErase(m, keys[2], value_dtype="float64")
    found = [g.TensorMapLookup(m, keys[k], value_dtype="float64") for k in (0, 1, 0)]
    return g.AddN(found)


TURNS = [("", ""), ("transpose", ""), ("adjoint", ""), ("", "transpose"), ("", "adjoint"), ("transpose", "adjoint")]


PROGRAMS: dict[str, Program] = {
    "identity": through(lambda g, x: g.Identity(x)),
    "identities": through(lambda g, x: g.IdentityN([x])[0]),
    "negative": through(lambda g, x: g.Neg(x)),
    "cast": through(lambda g, x: g.Cast(g.Cast(x, DstT="float32"), DstT="float64")),
    "sum": through(lambda g, x: g.AddN([x, x])),
    "add": through(lambda g, x: g.AddV2(x, g.constant(WEIGHTS[0]))),
    "subtract": through(lambda g, x: g.Sub(g.constant(WEIGHTS[:1]), x)),
    "tile": through(lambda g, x: g.Tile(x, [2, 1])),
    "tanh": through(lambda g, x: g.Tanh(x)),
    "times": through(lambda g, x: g.Mul(x, x)),
    "larger": through(lambda g, x: g.Maximum(x, g.constant(0.1, "float64"))),
    "reshape": through(lambda g, x: g.Reshape(g.Reshape(x, [3, 4]), [4, 3])),
    "gather twice": through(lambda g, x: g.Gather(x, [0, 1, 1])),
    "two readers": two_readers,
    "dense and sparse": dense_and_sparse,
    "stitched": stitched,
    "joined rows": joined(0),
    "joined rows from the end": joined(-2),
    "joined columns": joined(1),
    "network": network,
    "stops": stops,
    "pieces": drops_out,
    "compressed": through(lambda g, x: g.Square(opened(g, compressed(g, x)))),
    "in a map": through(kept_in_a_map),
    "compressed and back": through(sparse_there_and_back),
    **{f"sparse {a} times dense {b}": sparse_times_dense(a, b) for a, b in TURNS},
    **{f"sparse {a} times sparse {b}": sparse_times_sparse(a, b) for a, b in TURNS},
}


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=list(PROGRAMS))
def test_numbers(program: Program) -> None:
    got, _ = ours(program)
    want, _ = theirs(program)
    for g, w in zip(got, want, strict=True):
        assert isinstance(g, tuple) == isinstance(w, tuple)
        for a, b in zip(*(x if isinstance(x, tuple) else (x,) for x in (g, w)), strict=True):
            close("gradient", np.asarray(a), np.asarray(b), None)


# What is not the same: constants that TensorFlow names by the API function that makes them.
@pytest.mark.parametrize("name", ["network", "identity", "negative", "sum", "add", "stops", "gather twice"])
def test_names(name: str) -> None:
    _, got = ours(PROGRAMS[name])
    _, want = theirs(PROGRAMS[name])
    computing = {n: op for n, op in want.items() if op not in ("Const", "Shape")}
    assert {n: op for n, op in got.items() if n in computing} == computing


def feeds_of(names: list[str]) -> dict[str, Any]:
    return {f"{n}:0": ROWS + i for i, n in enumerate(names)}


def ours(program: Program) -> tuple[list[Any], dict[str, str]]:
    with Graph().as_default() as graph:
        y, xs = program(raw)
        found = gradients(y, xs)
        fetches = [(f.values, f.indices, f.dense_shape) if isinstance(f, IndexedSlices) else f for f in found]
        with Session(graph=graph, engine="reference") as session:
            values = session.run(fetches, feeds_of([x.op.name for x in xs]))
        return values, {op.name: op.type for op in graph.get_operations() if op.name.startswith("gradients")}


def theirs(program: Program) -> tuple[list[Any], dict[str, str]]:
    with tf.Graph().as_default() as graph, v1.Session() as session:
        y, xs = program(TensorFlow())
        found = tf.gradients(y, xs)
        fetches = [(f.values, f.indices, f.dense_shape) if isinstance(f, tf.IndexedSlices) else f for f in found]
        values = session.run(fetches, feeds_of([x.op.name for x in xs]))
        return values, {op.name: op.type for op in graph.get_operations() if op.name.startswith("gradients")}


def test_ragged_variants() -> None:
    splits, weights = np.array([0, 2, 2, 5]), np.arange(1.0, 6)

    def program(g: Any) -> tuple[Any, list[Any]]:
        x = g.Placeholder(dtype="float64", shape=[5], name="x")
        rows = g.RaggedTensorToVariant([g.constant(splits)], x, batched_input=True)
        back = g.RaggedTensorFromVariant(
            rows, input_ragged_rank=0, output_ragged_rank=1, Tvalues="float64", Tsplits="int64"
        )
        return g.Mul(back[1], g.constant(weights)), [x]

    with Graph().as_default() as graph:
        y, xs = program(raw)
        found = gradients(y, xs)
        with Session(graph=graph, engine="reference") as session:
            assert session.run(found, {"x:0": np.ones(5)})[0].tolist() == weights.tolist()


def test_through_composite_tensors() -> None:
    """As values of one kind of type spec, a ragged tensor: what flows back to its numbers, and not to its splits."""
    splits, weights = np.array([0, 2, 2, 5]), np.arange(1.0, 6)
    spec = tf.RaggedTensorSpec([3, None], tf.float64, 1, tf.int64)
    value = tf.RaggedTensor.from_row_splits(tf.zeros(5, tf.float64), splits)
    node = tf.function(lambda: composite_tensor_ops.composite_tensor_to_variants(value, spec)).get_concrete_function()
    [made] = [n for n in node.graph.as_graph_def().node if n.op == "CompositeTensorVariantFromComponents"]
    metadata = made.attr["metadata"].s

    def program(g: Any) -> tuple[Any, list[Any]]:
        x = g.Placeholder(dtype="float64", shape=[5], name="x")
        one = g.CompositeTensorVariantFromComponents(components=[x, g.constant(splits)], metadata=metadata)
        back = g.CompositeTensorVariantToComponents(
            encoded=one, metadata=metadata, Tcomponents=[x.dtype, g.constant(splits).dtype]
        )
        return g.Mul(back[0], g.constant(weights)), [x]

    with Graph().as_default() as graph:
        y, xs = program(raw)
        found = gradients(y, xs)
        with Session(graph=graph, engine="reference") as session:
            assert session.run(found, {"x:0": np.ones(5)})[0].tolist() == weights.tolist()


def test_a_forbidden_gradient_says_why() -> None:
    with Graph().as_default():
        x = raw.Placeholder(dtype="float32", name="x")
        y = raw.PreventGradient(x, message="not twice", name="once")
        with pytest.raises(
            LookupError, match=r"a gradient is asked for that the graph forbids at node `once`.*not twice"
        ):
            gradients(y, [x])


def test_a_missing_gradient_names_the_op() -> None:
    with Graph().as_default():
        x = raw.Placeholder(dtype="float32", name="x")
        y = raw.Mod(x, x, name="rest")
        with pytest.raises(LookupError, match=r"'rest' \(op type: Mod\)"):
            gradients(y, [x])


def test_xlas_einsum_is_differentiated_like_tensorflows() -> None:
    a, b = np.arange(6, dtype="f").reshape(2, 3), np.arange(12, dtype="f").reshape(3, 4)
    found = []
    for name, given in (("Einsum", lambda x, y: ([x, y],)), ("XlaEinsum", lambda x, y: (x, y))):
        with Graph().as_default() as graph:
            x, y = raw.Placeholder(dtype="float32", shape=[2, 3]), raw.Placeholder(dtype="float32", shape=[3, 4])
            made = gradients(getattr(raw, name)(*given(x, y), equation="ij,jk->ki"), [x, y])
            with Session(graph=graph, engine="reference") as session:
                found.append(session.run(made, {x: a, y: b}))
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)
