"""Which tensor of a checkpoint belongs to which variable of a graph. The graph itself tells: its restore op.

::

    Const (tensor_names, shape_and_slices) ─► restore ─ output k ─► identities ─► assign ─► variable

This holds for the references and partitions of TF1, for resource variables, and for the restore function of a TF2
SavedModel, whose variables are the arguments that it was called with.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from coldframe.errors import GraphError
from coldframe.formats.slices import Box, parse_shape_and_slice
from coldframe.graph.ir import Graph, Node
from coldframe.graph.names import TensorRef, find_node
from coldframe.graph.values import TensorValue, base_type
from coldframe.ops import table
from coldframe.passes.base import row_of
from coldframe.passes.inline import inline_calls
from coldframe.records import dataclass
from coldframe.shapes import Shape

_REFILLS: Final = ("refill", "refill_trees", "refill_streams")


@dataclass(frozen=True, slots=True)
class Binding:
    """Where a variable's value is kept.

    Attributes:
        key: the tensor's name in the checkpoint.
        full_shape: where the variable is one part of that tensor: the tensor's shape.
        part: and the part; None for the whole tensor.
    """

    key: str
    full_shape: tuple[int, ...] | None = None
    part: Box | None = None


def handle_name(node: Node) -> str:
    """Return the name of the variable that a variable node stands for: its shared name, else its own."""
    shared = node.attrs.get("shared_name", b"")
    return shared.decode("utf-8", "replace") if isinstance(shared, bytes) and shared else node.name


def variables_of(graph: Graph) -> Iterator[Node]:
    """Yield the nodes that make variables, in the graph's order."""
    for node in graph:
        row = row_of(node)
        if row is not None and row.variable:
            yield node


def variable_type(node: Node) -> tuple[Any, Shape]:
    """Return the dtype and the shape that a variable node declares."""
    shape = node.attrs.get("shape")
    return base_type(node.attrs.get("dtype")), shape if isinstance(shape, Shape) else Shape.unknown()


def restore_bindings(graph: Graph, restore_op: str) -> dict[str, Binding]:
    """Return where the variables that a restore op assigns are kept, by handle name.

    Args:
        graph: the graph with the restore op, of a meta graph or SavedModel.
        restore_op: ``SaverDef.restore_op_name``: ``save/restore_all``, ``StatefulPartitionedCall_2``.

    Raises:
        NotFoundError: the graph has no such node.
        GraphError: the names that it restores are not constants.
    """
    name = find_node(restore_op, graph.nodes)
    inlined = inline_calls(graph, [name]).graph
    found: dict[str, Binding] = {}
    for variable, value in assignments(inlined):
        origin = inlined.nodes[value.node]
        row = row_of(origin)
        if row is not None and row.role == "restore":
            found[variable] = _binding(inlined, origin, value.slot)
    return found


@dataclass(frozen=True, slots=True, eq=False)
class Refills:
    """What a restore op does to tables.

    Attributes:
        graph: the graph, with the restore op's calls in it.
        nodes: names of the nodes in it that fill tables, each with all that the table holds.
        bindings: where what they fill them with is kept.
    """

    graph: Graph
    nodes: tuple[str, ...]
    bindings: Mapping[TensorRef, Binding]


def restored_tables(graph: Graph, restore_op: str) -> Refills | None:
    """Return how a restore op fills the tables that programs change; None where it fills none.

    Args:
        graph: as for `restore_bindings`.
        restore_op: likewise.

    Raises:
        NotFoundError, GraphError: likewise.
    """
    used = {n.op for n in graph}
    if all(table().kin(role).isdisjoint(used) for role in _REFILLS):
        return None  # where no table is, as is the rule, nothing is looked through
    inlined = inline_calls(graph, [find_node(restore_op, graph.nodes)]).graph
    bindings: dict[TensorRef, Binding] = {}
    nodes: list[str] = []
    for node in inlined:
        row = row_of(node)
        if row is None or row.role not in _REFILLS:
            continue
        for given in node.inputs[1:]:
            ref = source_of(inlined, given)
            origin = inlined.nodes[ref.node] if ref is not None else None
            kind = row_of(origin) if origin is not None else None
            if ref is not None and origin is not None and kind is not None and kind.role == "restore":
                bindings[ref] = _binding(inlined, origin, ref.slot)
        nodes.append(node.name)
    return Refills(inlined, tuple(nodes), bindings) if nodes else None


def assignments(graph: Graph) -> Iterator[tuple[str, TensorRef]]:
    """Yield the handle names of variables that nodes assign, and where the values come from; no calls are entered."""
    for node in graph:
        row = row_of(node)
        if row is None or row.role != "assign" or len(node.inputs) < 2:
            continue
        variable = source_of(graph, node.inputs[0])
        value = source_of(graph, node.inputs[1])
        if variable is None or value is None:
            continue
        owner = graph.nodes[variable.node]
        owner_row = row_of(owner)
        if owner_row is not None and owner_row.variable:
            yield handle_name(owner), value


def source_of(graph: Graph, ref: TensorRef) -> TensorRef | None:
    """Return where `ref` comes from through nodes that only pass it on; None where a node is missing or they loop."""
    for _ in range(len(graph) + 1):
        node = graph.nodes.get(ref.node)
        if node is None:
            return None
        row = row_of(node)
        if row is None or row.role not in ("identity", "identity_n") or ref.slot >= len(node.inputs):
            return ref
        ref = node.inputs[ref.slot]
    return None


def _binding(graph: Graph, restore: Node, slot: int) -> Binding:
    names = _strings(graph, restore, 1)
    if slot >= len(names):
        raise GraphError(f"output {slot} of `{restore.name}` restores nothing", expected=f"below {len(names)}")
    spec = _strings(graph, restore, 2)[slot] if len(restore.inputs) > 2 else ""
    parsed = parse_shape_and_slice(spec)
    if parsed is None:
        return Binding(names[slot])
    full, part = parsed
    box = part.resolve(full, where=f"of `{names[slot]}` in node `{restore.name}`")
    return Binding(names[slot], full, None if box == Box.whole(full) else box)


def _strings(graph: Graph, restore: Node, position: int) -> list[str]:
    source = source_of(graph, restore.inputs[position]) if position < len(restore.inputs) else None
    node = graph.nodes[source.node] if source is not None else None
    row = row_of(node) if node is not None else None
    value = node.attrs.get("value") if node is not None and row is not None and row.const else None
    if not isinstance(value, TensorValue):
        raise GraphError(f"node `{restore.name}` ({restore.op}) does not say in a constant what it restores")
    return [v.decode("utf-8", "replace") if isinstance(v, bytes) else str(v) for v in value.array.ravel().tolist()]


def match_names(names: Iterable[str], keys: Mapping[str, str]) -> dict[str, Binding]:
    """Return bindings of the variables whose name a checkpoint knows, for graphs without a saver.

    Args:
        names: handle names.
        keys: tensor name by variable name, as `Checkpoint.by_full_name` has them.
    """
    return {n: Binding(keys[n]) for n in names if n in keys}
