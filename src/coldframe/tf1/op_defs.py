"""OpDef messages from signatures: what a meta graph tells of the ops that it uses, so that older readers can follow."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any

from coldframe.dtypes import DType
from coldframe.formats import messages
from coldframe.graph import ir
from coldframe.graph.convert import set_attr
from coldframe.graph.signatures import ArgDef, AttrDef, known, signature
from coldframe.graph.values import FuncRef, TensorValue


def op_list(graph: ir.Graph) -> Any:
    """Return the ``OpList`` of the ops in a graph and its functions, sorted by name."""
    bodies = [f.body for f in graph.functions.values()]
    used = {n.op for g in (graph, *bodies) for n in g}
    return messages.OpList(op=[op_def(name) for name in sorted(used) if known(name)])


@functools.cache
def op_def(name: str) -> Any:
    """Return the ``OpDef`` of an op; raise `UnsupportedOpError` where TensorFlow has no such op."""
    sig = signature(name)
    proto = messages.OpDef(
        name=name, input_arg=_args(sig.inputs), output_arg=_args(sig.outputs), is_stateful=sig.is_stateful,
        is_commutative=sig.is_commutative, is_aggregate=sig.is_aggregate,
        allows_uninitialized_input=sig.allows_uninitialized_input,
    )  # fmt: skip
    for attr in sig.attrs.values():
        _add_attr(proto, attr)
    if sig.deprecated is not None:
        proto.deprecation.version = sig.deprecated
    return proto


def _args(args: Iterable[ArgDef]) -> list[Any]:
    made = []
    for a in args:
        arg = {"name": a.name, "type_attr": a.type_attr, "number_attr": a.number_attr, "is_ref": a.is_ref or None,
               "type_list_attr": a.type_list_attr, "type": a.type.enum if a.type is not None else None}  # fmt: skip
        made.append({k: v for k, v in arg.items() if v is not None})
    return made


def _add_attr(proto: Any, attr: AttrDef) -> None:
    made = proto.attr.add(name=attr.name, type=attr.type)
    if attr.minimum is not None:
        made.has_minimum, made.minimum = True, attr.minimum
    if attr.has_default:
        set_attr(made.default_value, as_ir(attr))
    for allowed in attr.allowed:
        if isinstance(allowed, DType):
            made.allowed_values.list.type.append(allowed.enum)
        else:
            made.allowed_values.list.s.append(allowed.encode("latin-1"))


def as_ir(attr: AttrDef) -> Any:
    """Return an attribute's default as the graph's IR holds values."""
    value = attr.default
    if attr.type.startswith("list("):
        return tuple(_single(attr.type[5:-1], v) for v in value)
    return _single(attr.type, value)


def _single(kind: str, value: Any) -> Any:
    match kind:
        case "string":
            return value if isinstance(value, bytes) else value.encode("latin-1")
        case "tensor":
            return value if isinstance(value, TensorValue) else TensorValue.of(value)
        case "func":
            return value if isinstance(value, FuncRef) else FuncRef(value, {})
        case _:
            return value


__all__ = ["as_ir", "op_def", "op_list"]
