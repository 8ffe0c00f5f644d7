"""First values of variables that are computed from other variables, which may have no values yet."""

from __future__ import annotations

from collections.abc import Callable

from coldframe.graph.signatures import signature
from coldframe.tf1.framework.build import add_node
from coldframe.tf1.framework.convert import convert_to_tensor
from coldframe.tf1.framework.keys import GraphKeys
from coldframe.tf1.framework.tensor import Operation, Tensor


def guarded(name: str, value: Tensor) -> Tensor:
    """Return a first value that can be computed while the variables it is computed from have no values yet.

    Where it reads variables, a copy of the nodes on the way reads their own first values instead.
    """
    made: dict[Operation, Operation] = {}

    def guarded_op(op: Operation) -> Operation:
        if op not in made:
            made[op] = op
            made[op] = _guarded_op(op, guarded_op, name)
        return made[op]

    return guarded_op(value.op).outputs[value.value_index]


_KEPT = ("IsVariableInitialized", "VarIsInitializedOp", "ReadVariableOp", "If")
_MAKERS = ("Variable", "VariableV2", "VarHandleOp")


def _guarded_op(op: Operation, guarded_op: Callable[[Operation], Operation], name: str) -> Operation:
    if op.type in _KEPT:
        return op
    if op.type in _MAKERS:
        known = [
            *op.graph.get_collection(GraphKeys.GLOBAL_VARIABLES),
            *op.graph.get_collection(GraphKeys.LOCAL_VARIABLES),
        ]
        found = next((v for v in known if v.name == f"{op.name}:0"), None)
        return op if found is None else convert_to_tensor(found.initialized_value()).op
    inputs = [guarded_op(t.op).outputs[t.value_index] for t in op.inputs]
    if inputs == op.inputs:
        return op
    kind = "Switch" if op.type == "RefSwitch" else op.type
    with op.graph.name_scope(None):
        full = op.graph.unique_name(f"{op.name}_{name}".replace(":", "_"))
    return add_node(op.graph, signature(kind), inputs, dict(op.node.attrs), f"{full}/")
