"""Batch norms in training form, back to inference form: moving averages in the place of the batch's own statistics.

::

    y, mean, variance = norm(x, scale, offset, [], [], is_training=True)
    moving_mean -= (moving_mean - mean) * decay              ──►    y = norm(x, scale, offset, moving_mean,
    moving_variance -= (moving_variance - variance) * decay                  moving_variance, is_training=False)

The updates tell which variables hold the averages; where none, or several, do, the node stays as it is, and a note says
so. It must run before what only training needs is pruned.
"""

from __future__ import annotations

from typing import Final

from coldframe.graph.ir import Graph, Node
from coldframe.graph.names import TensorRef
from coldframe.graph.signatures import known, signature
from coldframe.graph.traverse import consumers
from coldframe.ops import table
from coldframe.passes.base import Context, row_of
from coldframe.passes.variables import source_of, variable_type
from coldframe.records import dataclass

_FAR: Final = 16  # nodes between a batch norm and the update of its averages; there are about three


@dataclass(frozen=True, slots=True)
class UseMovingStatistics:
    """Turn batch norms that train into ones that infer, where their moving averages can be told."""

    name: str = "use moving statistics"

    def run(self, graph: Graph, context: Context, /) -> Graph:
        norms = [n for n in graph if _trains(n)]
        if not norms:
            return graph
        readers = consumers(graph)
        out = graph.copy()
        for norm in norms:
            mean, variance = (_averaged(graph, readers, norm, slot) for slot in (1, 2))
            if mean is None or variance is None:
                continue
            node = out.nodes[norm.name]
            at = [a.name for a in signature(norm.op).inputs]
            node.inputs[at.index("mean")] = _read(out, mean)
            node.inputs[at.index("variance")] = _read(out, variance)
            node.attrs["is_training"] = False
            context.note(f"`{norm.name}` uses the moving averages `{mean}` and `{variance}`")
        return out


def _trains(node: Node) -> bool:
    if not known(node.op):
        return False
    sig = signature(node.op)
    spec = sig.attrs.get("is_training")
    names = [a.name for a in sig.inputs]
    if spec is None or not {"mean", "variance"} <= set(names) or len(names) != len(node.inputs):
        return False
    return bool(node.attrs.get("is_training", spec.default))


def _averaged(graph: Graph, readers: dict[TensorRef, list[Node]], norm: Node, slot: int) -> str | None:
    """Return the variable that is updated by output `slot` of a batch norm, or None unless there is exactly one."""
    found: set[str] = set()
    seen: set[str] = set()
    front: list[TensorRef] = [norm.out(slot)]
    for _ in range(_FAR):
        following = [n for ref in front for n in readers.get(ref, ()) if n.name not in seen]
        front = []
        for node in following:
            seen.add(node.name)
            row = row_of(node)
            if row is None or row.heavy or _trains(node):
                continue
            if row.role in ("assign", "update"):
                source = source_of(graph, node.inputs[0])
                owner = None if source is None else graph.nodes[source.node]
                owner_row = None if owner is None else row_of(owner)
                if owner is not None and owner_row is not None and owner_row.variable:
                    found.add(owner.name)
            else:
                front.append(node.out())
    return found.pop() if len(found) == 1 else None


def _read(graph: Graph, variable: str) -> TensorRef:
    """Return a tensor with the value of a variable."""
    node = graph.nodes[variable]
    row = row_of(node)
    if row is not None and row.variable == "ref":
        return node.out()
    read = Node(graph.unique_name(f"{variable}/moving"), table().named_role("read").name, [node.out()])
    read.attrs["dtype"] = variable_type(node)[0]
    return graph.add(read).out()
