"""GraphDef and Graph, both ways. The only module of this room that knows a file format.

Weights are not decoded here: a constant keeps its TensorProto until somebody asks for its values, and an untouched one
is written back as it was. Unknown parts of a node or function are kept beside it and written back too.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from typing import Any

from coldframe import dtypes
from coldframe.errors import CorruptError, GraphError
from coldframe.formats import messages, tensor_proto
from coldframe.formats.graph_weights import Contents
from coldframe.graph.ir import Function, FunctionArg, Graph, Node
from coldframe.graph.names import TensorRef, parse_tensor
from coldframe.graph.signatures import OpSignature, expand, fill_defaults, known, signature
from coldframe.graph.values import AttrPlaceholder, AttrValue, FuncRef, RefType, TensorValue, base_type
from coldframe.shapes import Shape

_KEPT = ("experimental_debug_info", "experimental_type")
_SCALARS = frozenset({"s", "i", "f", "b"})  # attributes that are one value of Python's
_DEPTH_LIMIT = 64  # functions as attributes of functions; deeper is an attack


def from_graph_def(proto: Any, *, where: str = "in the graph", contents: Contents | None = None) -> Graph:
    """Return the `Graph` of a GraphDef message.

    Args:
        proto: a ``GraphDef`` of coldframe's own message classes.
        where: the place, as errors name it: ``in model.pb``.
        contents: bytes of its tensors that were read apart from it (`graph_def.read_graph_apart`).

    Raises:
        CorruptError: an attribute or an input cannot be read.
        GraphError: two nodes of one name.
    """
    graph = Graph(
        (_node(n, where) for n in proto.node),
        producer=proto.versions.producer,
        min_consumer=proto.versions.min_consumer,
    )
    for (position, key), content in (contents or {}).items():
        n = proto.node[position]
        if n.attr[key].WhichOneof("value") == "tensor":
            here = f"attribute `{key}` of node `{n.name}` ({n.op}) {where}"
            graph.nodes[n.name].attrs[key] = _tensor(n.attr[key].tensor, here, content)
    graph.functions = _Library(proto.library.function, where)
    graph.extra = list(proto.library.gradient)
    return graph


def to_graph_def(graph: Graph) -> Any:
    """Return the GraphDef message of `graph`."""
    proto = messages.GraphDef()
    proto.node.extend(to_node_def(n) for n in graph)
    for f in graph.functions.values():
        proto.library.function.append(_function_def(f, graph.functions))
    if graph.extra and graph.functions:
        proto.library.gradient.extend(graph.extra)
    proto.versions.producer, proto.versions.min_consumer = graph.producer, graph.min_consumer
    return proto


# --- nodes ------------------------------------------------------------------------------------------------------
def _node(proto: Any, where: str) -> Node:
    name = proto.name
    inputs: list[TensorRef] = []
    controls: list[str] = []
    for text in proto.input:
        if text.startswith("^"):
            controls.append(text[1:])
        elif ":" in text:
            inputs.append(parse_tensor(text))
        else:
            inputs.append(TensorRef(text))
    given = proto.attr
    attrs: dict[str, AttrValue] = {}
    for k in given:  # a map of protobuf's gives its items by Python, key by key
        v = given[k]
        kind = v.WhichOneof("value")
        if kind == "type":
            attrs[k] = _type(v.type)
        elif kind in _SCALARS:
            attrs[k] = _scalar(v, kind)
        else:
            attrs[k] = from_attr(v, f"attribute `{k}` of node `{name}` ({proto.op}) {where}")
    kept = {f: getattr(proto, f) for f in _KEPT if proto.HasField(f)} or None
    return Node(name, proto.op, inputs, controls, attrs, proto.device, kept)


def to_node_def(node: Node) -> Any:
    """Return the NodeDef message of `node`."""
    inputs = [r.node if r.slot == 0 else f"{r.node}:{r.slot}" for r in node.inputs]
    proto = messages.NodeDef(
        name=node.name, op=node.op, device=node.device, input=[*inputs, *(f"^{c}" for c in node.controls)]
    )
    _fill_node(proto, node)
    return proto


def _fill_node(proto: Any, node: Node) -> None:
    for k, v in node.attrs.items():
        set_attr(proto.attr[k], v)
    if node.extra is not None:
        for field, message in node.extra.items():
            getattr(proto, field).CopyFrom(message)


# --- attributes -------------------------------------------------------------------------------------------------
def from_attr(proto: Any, where: str, depth: int = 0) -> AttrValue:
    """Return the Python value of an AttrValue message (`values` has the table)."""
    kind = proto.WhichOneof("value")
    if kind == "type":
        return _type(proto.type)
    if kind in _SCALARS:
        return _scalar(proto, kind)
    if kind == "shape":
        return tensor_proto.shape_of(proto.shape)
    if kind == "tensor":
        return _tensor(proto.tensor, where)
    if kind == "list":
        return _list(proto.list, where, depth)
    if kind == "func":
        return _func(proto.func, where, depth)
    if kind == "placeholder":
        return AttrPlaceholder(proto.placeholder)
    return _UNSET


def _scalar(proto: Any, kind: str) -> bytes | int | float | bool:
    value = getattr(proto, kind)
    assert isinstance(value, (bytes, int, float)), "protobuf checks the types of fields"
    return value


def _type(number: int) -> dtypes.DType | RefType | AttrPlaceholder:
    if not number:
        return _INVALID
    dtype = dtypes.from_enum(number)
    return RefType(dtype) if dtypes.is_ref_enum(number) else dtype


_INVALID = AttrPlaceholder("DT_INVALID")  # DataType 0: written by some tools for "not known"
_UNSET = AttrPlaceholder("no value")  # TensorFlow writes it: `_input_shapes` of a function without inputs


def _tensor(proto: Any, where: str, content: Any = None) -> TensorValue:
    if proto.tensor_shape.unknown_rank or any(d.size < 0 for d in proto.tensor_shape.dim):
        raise CorruptError("tensor of open shape", where=where, expected="known dimensions")
    if content is not None and not tensor_proto.written_alike(proto):
        proto.tensor_content, content = content.tobytes(), None
    load = functools.partial(tensor_proto.to_array, proto, where=where, content=content)
    source = proto if content is None else None
    return TensorValue(dtypes.from_enum(proto.dtype), tensor_proto.shape_of(proto.tensor_shape), load, source)


def _list(proto: Any, where: str, depth: int) -> AttrValue:
    if proto.type:
        return tuple(_type(t) for t in proto.type)
    if proto.shape:
        return tuple(tensor_proto.shape_of(s) for s in proto.shape)
    if proto.tensor:
        return tuple(_tensor(t, where) for t in proto.tensor)
    if proto.func:
        return tuple(_func(f, where, depth) for f in proto.func)
    return tuple(proto.s) or tuple(proto.i) or tuple(proto.f) or tuple(proto.b)


def _func(proto: Any, where: str, depth: int) -> FuncRef:
    if depth > _DEPTH_LIMIT:
        raise CorruptError("functions nested too deep", where=where, expected=f"at most {_DEPTH_LIMIT}")
    return FuncRef(proto.name, {k: from_attr(v, where, depth + 1) for k, v in proto.attr.items()})


def set_attr(proto: Any, value: AttrValue) -> None:
    """Write `value` into an AttrValue message."""
    if value is _UNSET:
        proto.Clear()
    elif isinstance(value, tuple):
        proto.list.SetInParent()
        for v in value:
            _append(proto.list, v)
    elif isinstance(value, bool):
        proto.b = value
    elif isinstance(value, int):
        proto.i = value
    elif isinstance(value, float):
        proto.f = value
    elif isinstance(value, bytes):
        proto.s = value
    elif isinstance(value, (dtypes.DType, RefType)) or value is _INVALID:
        proto.type = _enum(value)
    elif isinstance(value, Shape):
        proto.shape.CopyFrom(tensor_proto.shape_proto(value.dims))
    elif isinstance(value, TensorValue):
        proto.tensor.CopyFrom(_tensor_proto(value))
    elif isinstance(value, FuncRef):
        _set_func(proto.func, value)
    elif isinstance(value, AttrPlaceholder):
        proto.placeholder = value.name
    else:
        raise GraphError("not an attribute value", found=repr(value))


def _append(proto: Any, v: Any) -> None:
    if isinstance(v, bool):
        proto.b.append(v)
    elif isinstance(v, int):
        proto.i.append(v)
    elif isinstance(v, float):
        proto.f.append(v)
    elif isinstance(v, bytes):
        proto.s.append(v)
    elif isinstance(v, Shape):
        proto.shape.append(tensor_proto.shape_proto(v.dims))
    elif isinstance(v, TensorValue):
        proto.tensor.append(_tensor_proto(v))
    elif isinstance(v, FuncRef):
        _set_func(proto.func.add(), v)
    else:
        proto.type.append(_enum(v))


def _set_func(proto: Any, value: FuncRef) -> None:
    proto.name = value.name
    for k, v in value.attrs.items():
        set_attr(proto.attr[k], v)


def _enum(value: Any) -> int:
    if value is _INVALID:
        return 0
    return int(value.base.enum + dtypes.REF_OFFSET if isinstance(value, RefType) else value.enum)


def _tensor_proto(value: TensorValue) -> Any:
    return value.source if value.source is not None else tensor_proto.from_array(value.array, value.dtype)


# --- functions --------------------------------------------------------------------------------------------------
# In a FunctionDef an input is `arg`, `arg:i` (item i of a list argument), or `node:out:i` (item i of output `out`).
# Here it is a TensorRef whose slot counts over all outputs, as everywhere else.
class _Library(MutableMapping[str, Function]):
    """The functions of a graph, each converted when first asked for: a SavedModel carries many that nothing calls."""

    def __init__(self, protos: Iterable[Any], where: str) -> None:
        self._protos = {f.signature.name: f for f in protos}
        self._where = where
        self._done: dict[str, Function | None] = dict.fromkeys(self._protos)

    def __getitem__(self, name: str) -> Function:
        found = self._done[name]
        if found is None:
            found = self._done[name] = _function(self._protos[name], self, self._protos, self._where)
        return found

    def __setitem__(self, name: str, function: Function) -> None:
        self._done[name] = function

    def __delitem__(self, name: str) -> None:
        del self._done[name]

    def __contains__(self, name: object) -> bool:
        return name in self._done

    def __iter__(self) -> Iterator[str]:
        return iter(self._done)

    def __len__(self) -> int:
        return len(self._done)


def _function(proto: Any, library: MutableMapping[str, Function], protos: Mapping[str, Any], where: str) -> Function:
    sig = proto.signature
    here = f"in function `{sig.name}` {where}"
    args = tuple(_argument(a, proto.arg_attr.get(i)) for i, a in enumerate(sig.input_arg))
    body = Graph(functions=library)
    nodes = {n.name: n for n in proto.node_def}
    offsets = _Offsets(nodes, protos, here)
    for n in proto.node_def:
        node = _node_of_body(n, offsets, here)
        body.add(node)
    returns = tuple(offsets.resolve(proto.ret[a.name], here) for a in sig.output_arg if a.name in proto.ret)
    if len(returns) != len(sig.output_arg):
        raise CorruptError("a result has no source", where=here, expected=[a.name for a in sig.output_arg])
    return Function(
        sig.name,
        args,
        tuple(_argument(a, None) for a in sig.output_arg),
        returns,
        body,
        tuple(proto.control_ret.values()),
        _set_attrs(proto.attr, here),
        sig.is_stateful,
        sig,
    )


def _argument(arg: Any, attrs: Any) -> FunctionArg:
    dtype: Any = AttrPlaceholder(arg.type_attr) if arg.type_attr else _type(arg.type)
    return FunctionArg(arg.name, dtype, {} if attrs is None else _set_attrs(attrs.attr, f"argument `{arg.name}`"))


def _set_attrs(attrs: Any, where: str) -> dict[str, AttrValue]:
    """Return the attributes of a function or argument; TensorFlow writes some without a value: they mean nothing."""
    return {k: from_attr(v, f"attribute `{k}` {where}") for k, v in attrs.items() if v.WhichOneof("value") is not None}


class _Offsets:
    """Where each named output of the nodes of a body begins among all outputs of its node."""

    def __init__(self, nodes: Mapping[str, Any], protos: Mapping[str, Any], where: str) -> None:
        self._nodes, self._protos, self._where = nodes, protos, where
        self._cache: dict[str, dict[str, int]] = {}

    def resolve(self, text: str, where: str) -> TensorRef:
        parts = text.split(":")
        if len(parts) == 1 or (len(parts) == 2 and parts[0] not in self._nodes):
            return TensorRef(parts[0], int(parts[1]) if len(parts) == 2 and parts[1].isdigit() else 0)
        node, out = parts[0], parts[1]
        starts = self._starts(node)
        if out not in starts or (len(parts) > 2 and not parts[2].isdigit()):
            raise CorruptError(f"input `{text}` names no output", where=where, expected=" or ".join(starts) or "a node")
        return TensorRef(node, starts[out] + (int(parts[2]) if len(parts) > 2 else 0))

    def _starts(self, name: str) -> dict[str, int]:
        if name not in self._cache:
            proto = self._nodes.get(name)
            if proto is None:
                raise CorruptError(f"an input names `{name}`, which is no node", where=self._where)
            self._cache[name] = self._of(proto)
        return self._cache[name]

    def _of(self, proto: Any) -> dict[str, int]:
        if proto.op in self._protos:
            return {a.name: i for i, a in enumerate(self._protos[proto.op].signature.output_arg)}
        sig = signature(proto.op)
        return output_starts(sig, {k: base_type(from_attr(v, self._where)) for k, v in proto.attr.items()})


def output_starts(sig: OpSignature, attrs: Mapping[str, Any]) -> dict[str, int]:
    """Return the slot at which each output argument of an op begins."""
    starts: dict[str, int] = {}
    at = 0
    full = fill_defaults(sig, attrs)
    for arg in sig.outputs:
        starts[arg.name] = at
        at += len(expand((arg,), full)) if arg.is_list else 1
    return starts


def _node_of_body(proto: Any, offsets: _Offsets, where: str) -> Node:
    node = messages.NodeDef()
    node.CopyFrom(proto)
    del node.input[:]
    out = _node(node, where)
    for text in proto.input:
        if text.startswith("^"):
            out.controls.append(text[1:])
        else:
            out.inputs.append(offsets.resolve(text, f"of node `{proto.name}` {where}"))
    return out


def _function_def(f: Function, library: Mapping[str, Function]) -> Any:
    proto = messages.FunctionDef()
    if f.extra is not None:
        proto.signature.CopyFrom(f.extra)
    else:
        proto.signature.name, proto.signature.is_stateful = f.name, f.is_stateful
        for args, into in ((f.args, proto.signature.input_arg), (f.results, proto.signature.output_arg)):
            for a in args:
                into.add(name=a.name, type=_enum(a.dtype))
    for i, a in enumerate(f.args):
        for k, v in a.attrs.items():
            set_attr(proto.arg_attr[i].attr[k], v)
    for k, v in f.attrs.items():
        set_attr(proto.attr[k], v)
    for node in f.body:
        n = proto.node_def.add(name=node.name, op=node.op, device=node.device)
        n.input.extend(_name_in_body(r, f, library) for r in node.inputs)
        n.input.extend(f"^{c}" for c in node.controls)
        _fill_node(n, node)
    for result, ref in zip(f.results, f.returns, strict=True):
        proto.ret[result.name] = _name_in_body(ref, f, library)
    for name in f.control_returns:
        proto.control_ret[name] = name
    for name in proto.control_ret:
        if name not in proto.signature.control_output:
            proto.signature.control_output.append(name)
    return proto


def _name_in_body(ref: TensorRef, f: Function, library: Mapping[str, Function]) -> str:
    node = f.body.nodes.get(ref.node)
    if node is None:
        return ref.node if ref.slot == 0 else f"{ref.node}:{ref.slot}"
    for name, start in reversed(_ordered_starts(node, library)):
        if start <= ref.slot:
            return f"{ref.node}:{name}:{ref.slot - start}"
    raise GraphError(f"node `{node.name}` ({node.op}) has no output {ref.slot}")


def _ordered_starts(node: Node, library: Mapping[str, Function]) -> list[tuple[str, int]]:
    if node.op in library:
        return [(a.name, i) for i, a in enumerate(library[node.op].results)]
    if not known(node.op):
        raise GraphError(f"the outputs of `{node.name}` have no names: op `{node.op}` is unknown")
    return list(output_starts(signature(node.op), {k: base_type(v) for k, v in node.attrs.items()}).items())
