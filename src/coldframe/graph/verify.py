"""What makes a graph sound: every input names an output that exists, with the dtype that its reader takes; no cycles.

Ops that are neither TensorFlow's nor functions of the graph are taken at their word.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

from coldframe.dtypes import DType
from coldframe.errors import GraphError
from coldframe.graph.ir import Graph, Node
from coldframe.graph.names import TensorRef, suggest
from coldframe.graph.signatures import ArgDef, expand, fill_defaults, known, signature
from coldframe.graph.traverse import dangling, topological
from coldframe.graph.values import base_type

BackEdge = Callable[[Node, TensorRef], bool]
Flow = list[tuple[ArgDef, DType]]


def verify(
    graph: Graph,
    *,
    targets: Iterable[TensorRef | str] = (),
    fed: Collection[TensorRef] = (),
    back_edge: BackEdge | None = None,
    references: bool = True,
) -> None:
    """Raise for the first thing that is wrong with the nodes of `graph`.

    Args:
        graph: the graph; bodies of functions are not looked into.
        targets: tensors and nodes that must be there.
        fed: tensors that are given from outside.
        back_edge: tells the edges that close a loop of V1 control flow; they are no cycle.
        references: whether ops on references to variables must be given some; graphs frozen badly give them values.

    Raises:
        GraphError: an input or target names no node or output, a node has too few or too many inputs or one of a wrong
            dtype, an attribute that gives a dtype is missing, or the nodes form a cycle.
    """
    outputs = {n.name: _flow(n, inputs=False) for n in graph}
    for t in targets:
        ref = TensorRef(t) if isinstance(t, str) else t
        if ref not in fed and ref.node not in graph.nodes:
            raise GraphError(f"target `{t}` is no longer in the graph", hint=suggest(ref.node, graph.nodes))
    for node in graph:
        _controls(graph, node)
        _inputs(graph, node, outputs, fed, references)
    topological(graph.nodes, fed=fed, ignore=back_edge)


def _controls(graph: Graph, node: Node) -> None:
    for c in node.controls:
        if c not in graph.nodes:
            raise dangling(node, f"^{c}", graph)


def _inputs(
    graph: Graph, node: Node, outputs: dict[str, Flow | None], fed: Collection[TensorRef], references: bool
) -> None:
    wanted = _flow(node, inputs=True)
    if wanted is not None and len(wanted) != len(node.inputs):
        raise GraphError(_of(node, "has the wrong number of inputs"), expected=len(wanted), found=len(node.inputs))
    for i, ref in enumerate(node.inputs):
        if ref in fed:
            continue
        if ref.node not in graph.nodes:
            raise dangling(node, str(ref), graph)
        flow = outputs[ref.node]
        if flow is None:
            continue
        if ref.slot >= len(flow):
            raise GraphError(_of(node, f"reads `{ref}`"), expected=f"an output below {len(flow)}", found=ref.slot)
        if wanted is None:
            continue
        (arg, dtype), (source, given) = wanted[i], flow[ref.slot]
        if dtype != given:
            raise GraphError(_of(node, f"reads `{ref}` as `{arg.name}`"), expected=dtype.name, found=given.name)
        if references and arg.is_ref and not source.is_ref:
            raise GraphError(
                _of(node, f"reads `{ref}` as `{arg.name}`"),
                expected=f"a reference to a {dtype.name} variable",
                found=f"a {given.name} value",
                hint="a graph frozen while it was training: freeze it again, or `coldframe optimize` it",
            )


def _of(node: Node, what: str) -> str:
    return f"node `{node.name}` ({node.op}) {what}"


def _flow(node: Node, *, inputs: bool) -> Flow | None:
    """Return what flows in or out of a node, or None where its op is not known."""
    if not known(node.op):
        return None
    sig = signature(node.op)
    attrs = fill_defaults(sig, {k: base_type(v) for k, v in node.attrs.items()})
    try:
        return expand(sig.inputs if inputs else sig.outputs, attrs)
    except GraphError as e:
        e.add_note(f"in node `{node.name}` ({node.op})")
        raise


__all__ = ["verify"]
