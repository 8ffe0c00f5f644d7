"""What nodes tell before any run: which give the same each time, and which must know values to be compiled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from coldframe.engines.base import BoundNode
from coldframe.graph.names import TensorRef
from coldframe.ops.call import Call


def fixed(nodes: Sequence[BoundNode], constants: Mapping[TensorRef, Any], fed: Mapping[TensorRef, Any]) -> set[str]:
    """Return the nodes that compute the same in every run: pure ones, of constants."""
    names: set[str] = set()
    known: dict[int, bool] = {}  # by the call, which alike nodes share
    for b in nodes:
        plain = known.get(id(b.call))
        if plain is None:
            plain = b.call.op.pure and not any(d.kind == "o" for _, d in b.call.inputs + b.call.outputs)
            known[id(b.call)] = plain
        if plain and all(r not in fed and (r in constants or r.node in names) for r in b.node.inputs):
            names.add(b.name)
    return names


def needed_values(nodes: Sequence[BoundNode]) -> frozenset[TensorRef]:
    """Return the tensors whose values `nodes` need when they are compiled."""
    return frozenset(b.node.inputs[i] for b in nodes for i in b.call.static_inputs())


def is_draw(call: Call) -> bool:
    """Return whether an op draws numbers, which an engine may be handed."""
    return call.op.random and call.op.stateful and [d.kind not in "so" for _, d in call.outputs] == [True]
