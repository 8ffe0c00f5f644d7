"""Drop what only checks or prints: assertions, numeric checks, prints and summaries that outputs merely wait for.

A check that passes its input on, and is read, becomes an identity, so that its name and its readers stay.
"""

from __future__ import annotations

from coldframe.graph.ir import Graph, Node
from coldframe.graph.signatures import known, signature
from coldframe.ops import table
from coldframe.passes.base import Context, row_of
from coldframe.records import dataclass

_ROLES = ("assert", "check", "print")


@dataclass(frozen=True, slots=True)
class StripChecks:
    """Drop assertions and the like.

    Attributes:
        identities: whether identities that nothing but the graph itself names go, too.
    """

    identities: bool = False
    name: str = "strip checks"

    def run(self, graph: Graph, context: Context, /) -> Graph:
        kept = {t if isinstance(t, str) else t.node for t in context.targets}
        gone = {n.name for n in graph if _only_acts(n) and n.name not in kept}
        nodes = [_without(n, gone) for n in graph if n.name not in gone]
        if gone:
            context.note(f"dropped {len(gone)} nodes that only check or print, such as `{min(gone)}`")
        out = graph.with_nodes([_passing(n) for n in nodes])
        return _short(out, kept) if self.identities else out


def _only_acts(node: Node) -> bool:
    row = row_of(node)
    return row is not None and row.role in _ROLES and known(node.op) and not signature(node.op).outputs


def _passing(node: Node) -> Node:
    row = row_of(node)
    if row is None or row.role not in _ROLES or not signature(node.op).outputs:
        return node
    attrs = {k: v for k, v in node.attrs.items() if k == "T"}
    return Node(node.name, table().named_role("identity").name, node.inputs[:1], list(node.controls), attrs)


def _without(node: Node, gone: set[str]) -> Node:
    if gone.isdisjoint(node.controls):
        return node
    new = node.copy()
    new.controls = [c for c in node.controls if c not in gone]
    return new


def _short(graph: Graph, kept: set[str]) -> Graph:
    """Return `graph` without identities that no control dependency and no target names."""
    awaited = {c for n in graph for c in n.controls}
    sources = {}
    for node in graph:
        row = row_of(node)
        plain = row is not None and row.role == "identity" and not node.controls and len(node.inputs) == 1
        if plain and node.name not in kept and node.name not in awaited:
            sources[node.name] = node.inputs[0]
    nodes = []
    for node in graph:
        if node.name in sources:
            continue
        if any(r.node in sources for r in node.inputs):
            node = node.copy()
            for i, ref in enumerate(node.inputs):
                while ref.node in sources:
                    ref = sources[ref.node]
                node.inputs[i] = ref
        nodes.append(node)
    return graph.with_nodes(nodes)


__all__ = ["StripChecks"]
