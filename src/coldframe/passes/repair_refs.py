"""Repair graphs that were frozen while they were training: ops on references to variables that are constants now.

::

    w = Const                                     w = Const
    s = RefSwitch(w, training)            ──►     s = Switch(w, training)
    u = AssignSub(s:1, delta)                     u = Sub(s:1, delta)       or dropped where nothing reads its output
    y = Identity(mean, ^u)                        y = Identity(mean)
    i = IsVariableInitialized(w)                  i = Const(True)

TensorFlow refuses to import such a graph ("was passed float from w:0 incompatible with expected float_ref"), typically
one with batch norms in training mode. What an update computed is the value it would have written, so that is what the
repaired node computes.
"""

from __future__ import annotations

from collections.abc import Mapping

from coldframe.dtypes import bool_
from coldframe.graph.ir import Graph, Node
from coldframe.graph.names import TensorRef
from coldframe.graph.signatures import OpSignature, expand, fill_defaults, known, signature
from coldframe.graph.traverse import topological
from coldframe.graph.values import AttrValue, RefType, TensorValue, base_type
from coldframe.ops import table
from coldframe.passes.base import Context, loop_edge, row_of
from coldframe.records import dataclass

_LOCATION = b"loc:@"


@dataclass(frozen=True, slots=True)
class RepairRefs:
    """Replace ops on references by ops on values where there is no variable behind the reference."""

    name: str = "repair references"

    def run(self, graph: Graph, context: Context, /) -> Graph:
        broken = _broken(graph, context)
        dropped = _droppable(graph, broken, context)
        nodes: list[Node] = []
        for node in graph:
            if node.name in dropped:
                context.note(f"dropped `{node.name}` ({node.op}): it updates a variable that is a constant")
                continue
            new = _as_value(node, context) if node.name in broken else node
            nodes.append(_clean(new, graph, dropped, node.name in broken))
        return graph.with_nodes(nodes)


def _broken(graph: Graph, context: Context) -> set[str]:
    """Return the nodes that take a reference, or pass one on, with no variable behind it."""
    real: set[TensorRef] = set(context.fed)
    broken: set[str] = set()
    for node in topological(graph.nodes, fed=context.fed, ignore=loop_edge(graph)):
        if not known(node.op):
            continue
        sig = signature(node.op)
        takes = [i for i, is_ref in enumerate(_is_ref(node, sig, inputs=True)) if is_ref and i < len(node.inputs)]
        if not takes:  # a variable, or a table of old
            real |= {node.out(i) for i, is_ref in enumerate(_is_ref(node, sig, inputs=False)) if is_ref}
        elif any(node.inputs[i] not in real for i in takes):
            broken.add(node.name)
        else:
            real |= {node.out(i) for i, is_ref in enumerate(_is_ref(node, sig, inputs=False)) if is_ref}
    return broken


def _is_ref(node: Node, sig: OpSignature, *, inputs: bool) -> list[bool]:
    args = sig.inputs if inputs else sig.outputs
    if not any(a.is_ref for a in args):
        return []
    attrs = fill_defaults(sig, {k: base_type(v) for k, v in node.attrs.items()})
    return [a.is_ref for a, _ in expand(args, attrs)]


def _droppable(graph: Graph, broken: set[str], context: Context) -> set[str]:
    """Return the broken updates whose output nothing reads, unless a node would be left waiting for nothing."""
    read = {r.node for n in graph for r in n.inputs} | set(context.target_nodes)
    alone: set[str] = set()  # what nodes wait for that have no other way to know their branch or loop
    for node in graph:
        if not node.inputs:
            alone.update(node.controls)
    found = set()
    for name in broken - read - alone:
        row = row_of(graph.nodes[name])
        if row is not None and row.role in ("assign", "update"):
            found.add(name)
    return found


def _as_value(node: Node, context: Context) -> Node:
    ops, row = table(), row_of(node)
    new = node.copy()
    if row is None:
        return new
    if row.control:
        new.op = ops.named_role(row.control).name
    elif row.role in ("identity", "assign"):
        new.op = ops.named_role("identity").name
        new.inputs = [node.inputs[-1]]
    elif row.value_op:
        new.op = row.value_op
    elif row.role == "initialized":
        new.op, new.inputs = ops.named_role("const").name, []
        new.attrs = {"dtype": bool_, "value": TensorValue.of(True)}
    else:
        return new
    new.attrs = _known_attrs(new.attrs, signature(new.op))
    context.note(f"`{node.name}`: {node.op} became {new.op}, as its variable is a constant")
    return new


def _known_attrs(attrs: Mapping[str, AttrValue], sig: OpSignature) -> dict[str, AttrValue]:
    return {k: v for k, v in attrs.items() if k in sig.attrs or k.startswith("_")}


def _clean(node: Node, graph: Graph, dropped: set[str], repaired: bool) -> Node:
    """Return `node` without reference dtypes where it was repaired, and without mention of nodes that are gone."""
    attrs: dict[str, AttrValue] = dict(node.attrs)
    if repaired or not _has_variable_type(node):
        attrs = {k: base_type(v) if isinstance(v, (RefType, tuple)) else v for k, v in attrs.items()}
    places = attrs.get("_class")
    if isinstance(places, tuple):
        kept = tuple(p for p in places if not _is_gone(p, graph, dropped))
        if kept != places:
            attrs["_class"] = kept
        if not kept:
            del attrs["_class"]
    controls = [c for c in node.controls if c not in dropped]
    if controls == node.controls and all(attrs.get(k) is v for k, v in node.attrs.items()):
        return node
    new = node.copy()
    new.attrs, new.controls = attrs, controls
    return new


def _has_variable_type(node: Node) -> bool:
    row = row_of(node)
    return row is not None and bool(row.variable)


def _is_gone(place: AttrValue, graph: Graph, dropped: set[str]) -> bool:
    if not isinstance(place, bytes) or not place.startswith(_LOCATION):
        return False
    name = place.removeprefix(_LOCATION).decode("utf-8", "replace")
    return name not in graph.nodes or name in dropped


def needs_repair(graph: Graph) -> bool:
    """Whether TensorFlow would refuse `graph` for its references."""
    return bool(_broken(graph, Context(())))


__all__ = ["RepairRefs", "needs_repair"]
