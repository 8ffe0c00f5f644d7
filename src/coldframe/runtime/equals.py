"""Nodes on numpy that compute the same of the same are computed once.

Feature columns write each column's nodes anew wherever a column is used: one string is hashed for the linear model, for
the embedding and for what is crossed. Engines find such nodes among those that they compile; these are the others.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from coldframe.engines.base import BoundNode
from coldframe.graph.names import TensorRef


def join_equal(bound: Mapping[str, BoundNode], kept: Collection[TensorRef]) -> dict[str, BoundNode]:
    """Return `bound` with one node in the place of equal ones whose ops run on numpy.

    Args:
        bound: the nodes, by name.
        kept: tensors that are fetched or fed: their nodes stay.
    """
    found = dict(bound)
    stay = {r.node for r in kept}
    ours = {b.name: b for b in bound.values() if b.call.op.host and b.call.op.pure and not b.deref and b.node.inputs}
    while gone := _twins(ours, stay):
        for name in gone:
            del found[name], ours[name]
        for b in list(found.values()):
            if any(r.node in gone for r in b.node.inputs) or not gone.keys().isdisjoint(b.node.controls):
                found[b.name] = _reading(b, gone)
        ours = {name: found[name] for name in ours}  # whose inputs are one now may be equal
    return found


def _twins(nodes: Mapping[str, BoundNode], kept: Collection[str]) -> dict[str, str]:
    """Return the names of nodes that may go, and of the equal ones that stay."""
    first: dict[tuple[object, ...], str] = {}
    gone: dict[str, str] = {}
    for name in sorted(nodes, key=kept.__contains__, reverse=True):
        b = nodes[name]
        # One call is shared by nodes of one op with equal attributes.
        stays = first.setdefault((id(b.call), tuple(b.node.inputs), tuple(b.node.controls)), name)
        if stays != name and name not in kept:
            gone[name] = stays
    return gone


def _reading(b: BoundNode, gone: Mapping[str, str]) -> BoundNode:
    """Return a node that reads those that stay."""
    node = b.node.copy()
    node.inputs = [TensorRef(gone.get(r.node, r.node), r.slot) for r in node.inputs]
    node.controls = list(dict.fromkeys(gone.get(c, c) for c in node.controls))
    return BoundNode(node, b.call, b.deref, b.members)
