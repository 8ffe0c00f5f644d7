"""What the save and restore nodes of a graph do, read off the graph, so that it can be done without running them.

::

    save/SaveV2(names, slices, w, b/read)             ─►  Saved("w", variable w), Saved("b", variable b), ...
    save/Assign(w, Identity(save/RestoreV2:3))        ─►  Restored(name 3, slice 3, variable w)

This works for Savers that are built here and for those of any imported meta graph alike. Nodes of another kind are
listed as they are; they take part by being run.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from coldframe.dtypes import DType
from coldframe.formats.slices import Box, TensorSlice, parse_shape_and_slice
from coldframe.ops import Op, table
from coldframe.passes.variables import handle_name
from coldframe.records import dataclass
from coldframe.shapes import Shape
from coldframe.tf1.framework.graph import Graph
from coldframe.tf1.framework.tensor import Operation, Tensor


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a saved tensor: the shape of all of it, and the slice."""

    shape: tuple[int, ...]
    slice: TensorSlice

    @property
    def box(self) -> Box:
        return self.slice.resolve(self.shape)


@dataclass(frozen=True, slots=True)
class Saved:
    """A tensor that is saved.

    Attributes:
        name: its name in the checkpoint.
        part: which part of the tensor of that name it is; None for all of it.
        dtype: its dtype.
        shard: the data file it goes to.
        variable: the variable it is the value of, by handle name; or None:
        tensor: what has to be computed for it.
    """

    name: str
    part: Part | None
    dtype: DType
    shard: int
    variable: str | None
    tensor: Tensor


@dataclass(frozen=True, slots=True)
class Restored:
    """A variable that is restored.

    Attributes:
        name: the tensor's name in the checkpoint.
        part: which part of it.
        dtype, shape: of the variable; the shape is open where the value may have any.
        variable: its handle name.
        reshape: whether the value is brought into that shape.
    """

    name: str
    part: Part | None
    dtype: DType
    shape: Shape
    variable: str
    reshape: bool


@dataclass(frozen=True, slots=True)
class SavePlan:
    """What a save does: the tensors, over so many data files; None in place of it where only a run can tell."""

    tensors: tuple[Saved, ...]
    shards: int


@dataclass(frozen=True, slots=True)
class RestorePlan:
    """What a restore does.

    Attributes:
        variables: the variables that get values.
        others: names in the checkpoint of what gets its value by running nodes only.
    """

    variables: tuple[Restored, ...]
    others: tuple[str, ...]


def save_plan(graph: Graph, save_tensor: str) -> SavePlan | None:
    """Return what running `save_tensor` does, or None where the graph computes the names that it saves under."""
    nodes = [o for o in _ancestors([graph.get_tensor_by_name(save_tensor).op]) if _role(o) == "save" and _data(o)]
    nodes.sort(key=lambda o: o._id)
    tensors: list[Saved] = []
    for shard, node in enumerate(nodes):
        names, parts = _strings(node.inputs[1]), _strings(node.inputs[2])
        if names is None or parts is None or len(node.inputs) != 3 + len(names):
            return None
        for name, part, tensor in zip(names, parts, node.inputs[3:], strict=True):
            tensors.append(Saved(name, _part(part), tensor.dtype, shard, _variable(tensor), tensor))
    return SavePlan(tuple(tensors), max(1, len(nodes)))


def restore_plan(graph: Graph, restore_op: str) -> RestorePlan | None:
    """Return what running `restore_op` does, or None where the graph computes the names that it restores."""
    within = _ancestors([graph.get_operation_by_name(restore_op)])
    reached = set(within)
    variables: list[Restored] = []
    others: list[str] = []
    for node in sorted((o for o in within if _role(o) == "restore"), key=lambda o: o._id):
        names = _strings(node.inputs[1])
        parts = _strings(node.inputs[2]) if len(node.inputs) > 2 else [""] * len(node.outputs)
        if names is None or parts is None or len(names) != len(node.outputs):
            return None
        for name, part, tensor in zip(names, parts, node.outputs, strict=True):
            found = [r for r in _assigned(tensor, name, _part(part), reached, False) if r is not None]
            variables += found
            if not found:
                others.append(name)
    return RestorePlan(tuple(variables), tuple(others))


# --- walking ----------------------------------------------------------------------------------------------------
def _ancestors(ops: Iterable[Operation]) -> list[Operation]:
    found: dict[Operation, None] = {}
    open_ = list(ops)
    while open_:
        op = open_.pop()
        if op not in found:
            found[op] = None
            open_ += [t.op for t in op.inputs]
            open_ += op.control_inputs
    return list(found)


def _row(op: Operation) -> Op | None:
    row: Op | None = table().get(op.type)
    return row


def _role(op: Operation) -> str:
    row = _row(op)
    return row.role if row is not None else ""


def _data(op: Operation) -> bool:
    """Whether a node of the role `save` writes tensors (and not merges checkpoints)."""
    return len(op.inputs) > 2


def _strings(tensor: Tensor) -> list[str] | None:
    row = _row(tensor.op)
    if row is None or not row.const:
        return None
    value: Any = tensor.op.node.attrs["value"]
    return [v.decode("utf-8", "surrogateescape") for v in value.array.reshape(-1).tolist()]


def _part(text: str) -> Part | None:
    parsed = parse_shape_and_slice(text)
    return None if parsed is None else Part(*parsed)


def _variable(tensor: Tensor) -> str | None:
    """Return the variable that `tensor` is the value of, or None."""
    while True:
        row = _row(tensor.op)
        if row is None:
            return None
        if row.variable:
            return handle_name(tensor.op.node)
        if row.role not in ("identity", "read"):
            return None
        tensor = tensor.op.inputs[0]


def _assigned(
    tensor: Tensor, name: str, part: Part | None, within: set[Operation], reshaped: bool
) -> Iterator[Restored | None]:
    """Yield the variables that get `tensor`, and None where something else does."""
    for op in tensor.consumers():
        if op not in within:
            continue
        role = _role(op)
        if role == "identity":
            yield from _assigned(op.outputs[0], name, part, within, reshaped)
        elif op.type == "Reshape" and op.inputs[0] is tensor:
            yield from _assigned(op.outputs[0], name, part, within, True)
        elif role == "assign" and len(op.inputs) > 1 and op.inputs[1] is tensor:
            yield _restored(op, name, part, tensor.dtype, reshaped)
        else:
            yield None


def _restored(op: Operation, name: str, part: Part | None, dtype: DType, reshaped: bool) -> Restored | None:
    target = op.inputs[0]
    while _role(target.op) == "identity":
        target = target.op.inputs[0]
    row = _row(target.op)
    if row is None or not row.variable:
        return None
    declared: Any = target.op.node.attrs.get("shape")
    shape = declared if isinstance(declared, Shape) else Shape.unknown()
    free = op.node.attrs.get("validate_shape") is False and row.variable == "ref" and not reshaped
    return Restored(name, part, dtype, Shape.unknown() if free else shape, handle_name(target.op.node), reshaped)


def names_of(tensors: Sequence[Saved]) -> list[str]:
    """Return the names that a save writes, each once."""
    return list(dict.fromkeys(t.name for t in tensors))


__all__ = ["Part", "RestorePlan", "Restored", "SavePlan", "Saved", "names_of", "restore_plan", "save_plan"]
