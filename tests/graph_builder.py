"""Small graphs by hand, for tests of passes."""

from __future__ import annotations

from typing import Any

import numpy as np

from coldframe import dtypes
from coldframe.dtypes import DType
from coldframe.formats import messages
from coldframe.graph.convert import to_graph_def
from coldframe.graph.ir import Function, FunctionArg, Graph, Node
from coldframe.graph.names import TensorRef, parse_tensor
from coldframe.graph.values import FuncRef, TensorValue
from coldframe.shapes import Shape

F32 = dtypes.float32


def node(text: str, **attrs: Any) -> Node:
    """Make a node from ``name = Op(input, input:1, ^control)``."""
    name, _, call = text.partition(" = ")
    op, _, rest = call.rstrip(")").partition("(")
    parts = [p.strip() for p in rest.split(",") if p.strip()]
    inputs = [parse_tensor(p) for p in parts if not p.startswith("^")]
    return Node(name, op, inputs, [p[1:] for p in parts if p.startswith("^")], attrs)


def const(name: str, value: Any, *, controls: list[str] | None = None) -> Node:
    value = TensorValue.of(np.asarray(value))
    return Node(name, "Const", [], controls or [], {"dtype": value.dtype, "value": value})


def placeholder(name: str, dtype: DType = F32) -> Node:
    return Node(name, "Placeholder", attrs={"dtype": dtype, "shape": Shape.unknown()})


def function(
    name: str, args: str, body: list[Node], returns: str, *, control_returns: str = "", dtype: Any = F32
) -> Function:
    """Make a function of float32 arguments; `args` and `returns` are words."""
    refs = tuple(parse_tensor(r) for r in returns.split())
    return Function(
        name,
        tuple(FunctionArg(a, dtype) for a in args.split()),
        tuple(FunctionArg(f"out{i}", dtype) for i in range(len(refs))),
        refs,
        Graph(body),
        tuple(control_returns.split()),
    )


def graph(nodes: list[Node], *functions: Function) -> Graph:
    library = {f.name: f for f in functions}
    for f in functions:
        f.body.functions = library
    return Graph(nodes, library, producer=1882)


def call(text: str, f: str, count: int = 1, outputs: int = 1) -> Node:
    return node(text, f=FuncRef(f, {}), Tin=(F32,) * count, Tout=(F32,) * outputs)


def run_tf(g: Graph, feeds: dict[str, Any], fetches: list[str], before: list[str] | None = None) -> list[Any]:
    """Run a graph in TensorFlow."""
    import tensorflow as tf

    data = messages.serialize(to_graph_def(g), where="in a test")
    proto = tf.compat.v1.GraphDef.FromString(data)
    with tf.Graph().as_default() as made:
        tf.import_graph_def(proto, name="")
        with tf.compat.v1.Session(graph=made) as session:
            for name in before or []:
                session.run(made.get_operation_by_name(name))
            return list(session.run(fetches, feeds))


__all__ = ["F32", "FuncRef", "TensorRef", "call", "const", "function", "graph", "node", "placeholder", "run_tf"]
