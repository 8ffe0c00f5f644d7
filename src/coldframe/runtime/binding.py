"""Binding nodes to rows of the op table, and what is wrong with nodes that bind to none."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from coldframe.dtypes import DType
from coldframe.engines.base import BoundNode
from coldframe.errors import ColdframeError, FeedError, GraphError, UnsupportedAttributeError
from coldframe.graph.ir import Node
from coldframe.graph.names import TensorRef
from coldframe.graph.traverse import handed_on
from coldframe.graph.values import FuncRef
from coldframe.ops import OpTable
from coldframe.ops.call import Call, bind

_TOLD: Final = 10  # attributes that one message names


def bind_all(
    nodes: Sequence[Node],
    table: OpTable,
    functions: Callable[[FuncRef], Callable[..., list[Any]]],
    known: Mapping[str, BoundNode] | None = None,
) -> dict[str, BoundNode]:
    """Bind `nodes` to their ops; those among `known`, and not changed since, are bound already.

    Raises:
        UnsupportedAttributeError: some attributes are not understood; all such nodes are named.
        FeedError: a placeholder is among them: it must be fed.
    """
    bound: dict[str, BoundNode] = {}
    refused: list[UnsupportedAttributeError] = []
    for n in nodes:
        before = known.get(n.name) if known else None
        if before is not None and before.node is n and not handed_on(n):  # a pass may have made other functions
            bound[n.name] = BoundNode(n, before.call)
            continue
        try:
            bound[n.name] = bind_node(n, table, functions)
        except UnsupportedAttributeError as e:
            refused.append(e)
    if refused:
        raise refused[0] if len(refused) == 1 else _refused(refused)
    for b in bound.values():
        if b.call.op.placeholder:
            raise FeedError(f"placeholder `{b.name}` must be fed", expected=_described(b))
        derefs: tuple[int, ...] = ()
        for i, (arg, dtype) in enumerate(b.call.inputs):
            name, slot = b.node.inputs[i]
            source = bound.get(name)
            if source is None:
                continue
            outputs = source.call.outputs
            if slot >= len(outputs) or outputs[slot][1] is not dtype:
                raise _misread(source, b, i, dtype)
            if outputs[slot][0].is_ref and not arg.is_ref:
                derefs = (*derefs, i)
        b.deref = derefs
    return bound


def _misread(source: BoundNode, reader: BoundNode, position: int, dtype: DType) -> GraphError:
    """Return the error for an input that reads an output which is not there, or has another dtype than the input."""
    ref = reader.node.inputs[position]
    if ref.slot >= len(source.call.outputs):
        return GraphError(
            f"input {position} of node `{reader.name}` ({reader.call.op.name}) reads `{ref}`, which does not exist",
            expected=f"an output of {source.call.op.name} below {len(source.call.outputs)}",
        )
    return GraphError(
        f"input {position} of node `{reader.name}` ({reader.call.op.name}) has the wrong dtype",
        where=f"from `{ref}`", expected=dtype, found=source.call.outputs[ref.slot][1],
    )  # fmt: skip


def require_outputs(wanted: Sequence[TensorRef], bound: Mapping[str, BoundNode]) -> None:
    """Refuse what a function returns, or a caller fetches, from an output that its node does not have."""
    for r in wanted:
        b = bound.get(r.node)
        if b is not None and r.slot >= len(b.call.outputs):
            raise GraphError(
                f"tensor `{r}` does not exist",
                expected=f"an output of {b.call.op.name} below {len(b.call.outputs)}", found=r.slot,
            )  # fmt: skip


def _refused(errors: Sequence[UnsupportedAttributeError]) -> UnsupportedAttributeError:
    """Return one error for all attributes that are not understood."""
    shown = "; ".join(f"{e.what} {e.where}" for e in errors[:_TOLD])
    more = f"; and {len(errors) - _TOLD} more" if len(errors) > _TOLD else ""
    return UnsupportedAttributeError(f"the graph has attributes that coldframe does not support: {shown}{more}")


def bind_node(node: Node, table: OpTable, functions: Callable[[FuncRef], Callable[..., list[Any]]]) -> BoundNode:
    """Bind one node; errors name it."""
    try:
        call = bind(table[node.op], node.attrs, functions=functions)
    except ColdframeError as e:
        raise type(e)(
            e.what, where=f"at node `{node.name}` ({node.op})", expected=e.expected, found=e.found, hint=e.hint
        ) from e
    if len(call.inputs) != len(node.inputs):
        raise GraphError(
            f"node `{node.name}` ({node.op}) has the wrong number of inputs",
            expected=len(call.inputs),
            found=len(node.inputs),
        )
    return BoundNode(node, call)


def _described(b: BoundNode) -> str:
    return f"{b.call.outputs[0][1].name}{b.call.attrs.get('shape', '')}"


def constant_of(call: Call) -> Any:
    """Return the array of a constant op, in the dtype it declares."""
    array = call.attrs["value"].array
    dtype = call.outputs[0][1].numpy
    if array.dtype != dtype:
        raise GraphError("a constant's value and dtype disagree", expected=dtype, found=array.dtype)
    return array
