"""Gradients of whole functions: nodes of TensorFlow 1 that say "the gradient of this function", and leave it at that.

`tf.gradients` wrote one for each call of a ``Defun``. When such a graph is imported, the node becomes the call of a
function that has the gradient's nodes::

    y = F(x)                                    y = F(x)
    dx = SymbolicGradient(x, dy, f=F)     ─►    dx = PartitionedCall(x, dy, f=F_gradient)

`F_gradient` is the function that the library names as the gradient of F (``Defun(grad_func=...)``), or is made here.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from coldframe.dtypes import DType
from coldframe.errors import ColdframeError
from coldframe.graph.ir import Node
from coldframe.graph.signatures import known
from coldframe.graph.values import FuncRef
from coldframe.tf1.framework.build import raw, raw_op
from coldframe.tf1.framework.convert import convert_to_tensor
from coldframe.tf1.framework.functions import FuncGraph, outermost
from coldframe.tf1.framework.graph import Graph
from coldframe.tf1.framework.importing import inline_function
from coldframe.tf1.framework.tensor import Tensor

_OP = "SymbolicGradient"


def registered(graph: Graph, name: str) -> str | None:
    """Return the name of the function that the library gives as the gradient of the function called `name`."""
    return next((g.gradient_func for g in outermost(graph).ir.extra or () if g.function_name == name), None)


def expand_gradients(nodes: Iterable[Node], graph: Graph) -> None:
    """Turn nodes that stand for the gradient of a function into calls; the functions are those of `graph`'s library.

    Where something in the function has no gradient the node stays what it is, and whoever runs it is refused.
    """
    for node in nodes:
        if node.op == _OP:
            _expand(node, graph)


def _expand(node: Node, graph: Graph) -> None:
    f: Any = node.attrs["f"]
    arguments: Any = node.attrs["Tin"]
    results: Any = node.attrs["Tout"]
    try:
        name = registered(graph, f.name) or _made(f, tuple(arguments), len(results), graph)
    except (LookupError, ValueError, TypeError, NotImplementedError, ColdframeError):
        return
    kept = {k: v for k, v in node.attrs.items() if k.startswith("_")}
    node.op = "PartitionedCall"
    node.attrs = {"Tin": arguments, "Tout": results, "f": FuncRef(name, {}), **kept}


def _made(f: FuncRef, types: tuple[DType, ...], count: int, graph: Graph) -> str:
    """Return the name of a function of `count` arguments of `f` and the gradients of its results: those of the former.

    It is made once for each function.
    """
    made: dict[Any, str] = graph.__dict__.setdefault("_gradients_of_functions", {})
    key = f.name, repr(sorted(f.attrs.items())), types
    if key not in made:
        body = FuncGraph(f"{f.name}_gradient", graph)
        with body.as_default():
            arguments = [body.argument(f"argument_{i}", t) for i, t in enumerate(types)]
            results = _gradients(f, arguments[:count], arguments[count:], body)
        made[key] = body.finish(results).name
    return made[key]


def _gradients(f: FuncRef, inputs: list[Tensor], dys: list[Tensor], body: FuncGraph) -> list[Tensor]:
    from coldframe.tf1.gradients import gradients

    if f.name in body.ir.functions:
        outputs, _ = inline_function(body, f.name, inputs, "forward")
    elif known(f.name):
        attrs = {k: v for k, v in f.attrs.items() if not k.startswith("_")}
        outputs = raw_op(f.name, inputs, attrs, None).op.outputs
    else:
        raise LookupError(f"there is no function `{f.name}`")
    if len(outputs) != len(dys):
        raise LookupError(f"it has {len(outputs)} results, but {len(dys)} gradients are given")
    pairs = [(y, dy) for y, dy in zip(outputs, dys, strict=True) if y.dtype.kind in "fc"]
    found = gradients([y for y, _ in pairs], inputs, [dy for _, dy in pairs]) if pairs else [None] * len(inputs)
    return [raw.ZerosLike(x) if g is None else convert_to_tensor(g) for x, g in zip(inputs, found, strict=True)]


__all__: list[str] = []
