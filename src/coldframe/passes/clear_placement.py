"""Forget devices, and which node is to be on the device of which other.

TensorFlow refuses to import a node that is to be beside one that is gone, or on a device that the machine lacks.
"""

from __future__ import annotations

import dataclasses

from coldframe.graph.ir import Graph, Node
from coldframe.passes.base import Context
from coldframe.records import dataclass


@dataclass(frozen=True, slots=True)
class ClearPlacement:
    """Clear the device and the colocations of every node."""

    name: str = "clear placement"

    def run(self, graph: Graph, context: Context, /) -> Graph:
        return graph.with_nodes(_unplaced(n) if n.device or "_class" in n.attrs else n for n in graph)


def _unplaced(node: Node) -> Node:
    return dataclasses.replace(node, device="", attrs={k: v for k, v in node.attrs.items() if k != "_class"})


__all__ = ["ClearPlacement"]
