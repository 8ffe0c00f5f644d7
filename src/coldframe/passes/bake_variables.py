"""Replace variables by the values that they have.

::

    w = VariableV2                     w = Const(value)             readers of references stay: see `repair_refs`
    w/read = Identity(w)        ──►    w/read = Identity(w)

    w = VarHandleOp                    w = Const(value)
    r = ReadVariableOp(w)       ──►    r = Identity(w)
    y = While(w, body=b)               y = While(w, body=b_frozen)  an argument that was a handle is now the value

A handle is followed wherever it goes: through identities, V1 control flow, and the arguments of branches, loops and
calls, whose functions are copied for it. What a graph does to a variable beyond reading it is dropped, and noted.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, Final

from coldframe.dtypes import DType, bool_
from coldframe.errors import GraphError, UnsupportedError
from coldframe.graph.ir import Function, FunctionArg, Graph, Node
from coldframe.graph.names import TensorRef
from coldframe.graph.signatures import ArgDef, expand, fill_defaults, signature
from coldframe.graph.traverse import topological
from coldframe.graph.values import AttrValue, FuncRef, TensorValue, base_type
from coldframe.ops import Op, table
from coldframe.passes.base import Context, loop_edge, row_of
from coldframe.passes.variables import handle_name
from coldframe.records import dataclass
from coldframe.shapes import Shape

ValueOf = Callable[[Node], TensorValue]
_DROPPED: Final = ("_output_shapes", "_handle_dtypes", "_handle_shapes", "_read_only_resource_inputs", "_class")


@dataclass(frozen=True, slots=True)
class BakeVariables:
    """Replace variables by constants.

    Attributes:
        value_of: gives the value for a variable node.
        bakes: tells which variable nodes to replace; all of them by default.
    """

    value_of: ValueOf
    bakes: Callable[[Node], bool] = lambda node: True
    name: str = "bake variables"

    def run(self, graph: Graph, context: Context, /) -> Graph:
        baker = _Baker(graph, self.value_of, self.bakes, context)
        nodes, _ = baker.body(graph.nodes, {}, graph)
        out = graph.with_nodes(nodes)
        out.functions = baker.functions
        return out


@dataclass(frozen=True, slots=True)
class _Value:
    """What flows where a handle did: a value of that dtype and shape."""

    dtype: DType
    shape: Shape


_Known = dict[TensorRef, _Value]


class _Baker:
    def __init__(self, graph: Graph, value_of: ValueOf, bakes: Callable[[Node], bool], context: Context) -> None:
        self.functions: dict[str, Function] = dict(graph.functions)
        self._value_of, self._bakes, self._context, self._ops = value_of, bakes, context, table()
        self._made: dict[tuple[str, tuple[tuple[int, _Value], ...]], tuple[Function, dict[int, _Value]] | None] = {}
        self._values: dict[str, TensorValue] = {}

    def body(self, nodes: Mapping[str, Node], known: _Known, owner: Graph) -> tuple[list[Node], bool]:
        """Return `nodes` without variables, and whether any changed; `known` grows by what they make."""
        done: dict[str, Node] = {}
        changed = False
        for node in topological(nodes, ignore=loop_edge(owner)):
            new = self._node(node, known)
            changed = changed or new is not node
            done[node.name] = new
        return [done[name] for name in nodes], changed

    def _node(self, node: Node, known: _Known) -> Node:
        row = row_of(node)
        if row is not None and row.variable and self._bakes(node):
            return self._constant(node, row, known)
        taken = {i: known[r] for i, r in enumerate(node.inputs) if r in known}
        if any(isinstance(v, (FuncRef, tuple)) for v in node.attrs.values()) or node.op in self.functions:
            return self._caller(node, row, taken, known)
        return node if not taken else self._reader(node, row, taken, known)

    def _constant(self, node: Node, row: Op, known: _Known) -> Node:
        name = handle_name(node)
        if name not in self._values:
            self._values[name] = self._value_of(node)
        value = self._values[name]
        if row.variable == "resource":
            known[node.out()] = _Value(value.dtype, value.shape)
        const = self._ops.named_role("const").name
        return Node(node.name, const, [], list(node.controls), {"dtype": value.dtype, "value": value})

    def _reader(self, node: Node, row: Op | None, taken: dict[int, _Value], known: _Known) -> Node:
        """Return what becomes of a node that takes handles."""
        if row is None:
            raise self._unsupported(node)
        sig = signature(node.op)
        if row.role in ("identity", "identity_n") or row.control:
            return self._passer(node, row, taken, known)
        if row.role == "read" and row.value_op:
            return _as_value_op(node, row.value_op, taken)
        if row.role == "initialized":
            true = TensorValue.of(True)
            return Node(node.name, self._ops.named_role("const").name, [], [], {"dtype": bool_, "value": true})
        if not sig.outputs:
            self._context.note(f"dropped `{node.name}` ({node.op}): it changes a variable, which is a constant now")
            return Node(node.name, self._ops.named_role("noop").name, [], list(node.controls))
        raise self._unsupported(node)

    @staticmethod
    def _unsupported(node: Node) -> UnsupportedError:
        return UnsupportedError(
            "a variable cannot become a constant",
            where=f"at node `{node.name}` ({node.op})",
            found="an op that needs the variable itself",
            hint="name outputs that do not need this node",
        )

    def _passer(self, node: Node, row: Op, taken: dict[int, _Value], known: _Known) -> Node:
        new = node.copy()
        _retype(new, "inputs", {i: v.dtype for i, v in taken.items()})
        if row.role == "identity_n":
            known.update({node.out(i): v for i, v in taken.items()})
        elif row.control == "switch":
            known.update({node.out(0): taken[0], node.out(1): taken[0]})
        else:
            known[node.out()] = taken[min(taken)]
        return new

    # --- functions ---------------------------------------------------------------------------------------------
    def _caller(self, node: Node, row: Op | None, taken: dict[int, _Value], known: _Known) -> Node:
        """Return a node that names functions, with those that its values need."""
        first = _first_argument(node)
        args = {i - first: v for i, v in taken.items()}
        if taken and (row is None or row.role not in ("if", "case", "while", "call")):
            if row is not None and not any(isinstance(v, FuncRef) for v in _flat(node.attrs)):
                return self._reader(node, row, taken, known)
            if node.op not in self.functions:
                raise self._unsupported(node)
        new = node.copy()
        results: dict[int, _Value] = {}
        for key, value in node.attrs.items():
            new.attrs[key] = self._in_attr(value, args, results)
        if node.op in self.functions:
            f, results = self.function(node.op, args)
            new.op = f.name
        if not taken and new.op == node.op and all(new.attrs[k] is v for k, v in node.attrs.items()):
            return node
        if row is not None:
            _retype(new, "inputs", {i: v.dtype for i, v in taken.items()})
            _retype(new, "outputs", {i: v.dtype for i, v in results.items()})
            _reshape(new, results)
        known.update({node.out(i): v for i, v in results.items()})
        return new

    def _in_attr(self, value: AttrValue, args: dict[int, _Value], results: dict[int, _Value]) -> AttrValue:
        if isinstance(value, FuncRef):
            f, found = self.function(value.name, args)
            results.update(found)
            return value if f.name == value.name else FuncRef(f.name, value.attrs)
        if isinstance(value, tuple) and value and isinstance(value[0], FuncRef):
            new = tuple(self._in_attr(v, args, results) for v in value)
            return value if all(a is b for a, b in zip(new, value, strict=True)) else new
        return value

    def function(self, name: str, args: dict[int, _Value]) -> tuple[Function, dict[int, _Value]]:
        """Return function `name` for arguments of which some were handles and are values now, and which results are."""
        key = (name, tuple(sorted(args.items())))
        if key in self._made:
            found = self._made[key]
            if found is None:
                raise GraphError(f"function `{name}` calls itself", hint="recursive functions cannot be frozen")
            return found
        if name not in self.functions:
            raise GraphError(f"the graph has no function called `{name}`")
        taken = len(self.functions[name].args)
        if any(i >= taken for i in args):
            raise GraphError(f"function `{name}` is given too many arguments", expected=taken, found=max(args) + 1)
        self._made[key] = None
        self._made[key] = made = self._copy(self.functions[name], args)
        return made

    def _copy(self, f: Function, args: dict[int, _Value]) -> tuple[Function, dict[int, _Value]]:
        known: _Known = {TensorRef(f.args[i].name): v for i, v in args.items() if i < len(f.args)}
        nodes, changed = self.body(f.body.nodes, known, f.body)
        results = {i: known[r] for i, r in enumerate(f.returns) if r in known}
        if not changed and not args:
            return f, results
        name = f"{f.name}_frozen"
        k = 0
        while name in self.functions:
            k += 1
            name = f"{f.name}_frozen_{k}"
        new = dataclasses.replace(
            f,
            name=name,
            args=tuple(_typed(a, args.get(i)) for i, a in enumerate(f.args)),
            results=tuple(_typed(a, results.get(i)) for i, a in enumerate(f.results)),
            body=f.body.with_nodes(nodes),
            attrs={k: v for k, v in f.attrs.items() if k != "_input_shapes"},
            extra=_signature(f.extra, name, args, results),
        )
        new.body.functions = self.functions
        self.functions[name] = new
        return new, results


def _flat(attrs: Mapping[str, AttrValue]) -> list[AttrValue]:
    return [v for value in attrs.values() for v in (value if isinstance(value, tuple) else (value,))]


def _typed(arg: FunctionArg, value: _Value | None) -> FunctionArg:
    return arg if value is None else FunctionArg(arg.name, value.dtype)


def _signature(proto: Any, name: str, args: Mapping[int, _Value], results: Mapping[int, _Value]) -> Any:
    """Return a copy of a function's signature message under another name and with other dtypes."""
    if proto is None:
        return None
    new = type(proto)()
    new.CopyFrom(proto)
    new.name = name
    for listed, types in ((new.input_arg, args), (new.output_arg, results)):
        for i, value in types.items():
            listed[i].ClearField("handle_data")
            listed[i].ClearField("type_attr")
            listed[i].type = value.dtype.enum
    return new


def _first_argument(node: Node) -> int:
    """Return the position of the input that is a function's first argument: branches come after their condition."""
    row = row_of(node)
    if row is None:
        return 0
    at = 0
    for arg in signature(node.op).inputs:
        if arg.is_list:
            break
        at += 1
    return at


def _retype(node: Node, side: str, types: Mapping[int, DType]) -> None:
    """Give inputs or outputs of `node` other dtypes by setting the attributes that tell them."""
    if not types:
        return
    sig = signature(node.op)
    attrs = fill_defaults(sig, {k: base_type(v) for k, v in node.attrs.items()})
    args: tuple[ArgDef, ...] = sig.inputs if side == "inputs" else sig.outputs
    at = 0
    for arg in args:
        count = len(expand((arg,), attrs)) if arg.is_list else 1
        mine = {i - at: d for i, d in types.items() if at <= i < at + count}
        at += count
        if not mine:
            continue
        if arg.type_list_attr is not None:
            listed = list(attrs[arg.type_list_attr])
            for i, d in mine.items():
                listed[i] = d
            node.attrs[arg.type_list_attr] = attrs[arg.type_list_attr] = tuple(listed)
        elif arg.type_attr is not None:
            node.attrs[arg.type_attr] = next(iter(mine.values()))
    node.extra = None  # the full type that newer versions of TensorFlow note there tells of the old dtypes
    for name in _DROPPED:
        node.attrs.pop(name, None)


def _reshape(node: Node, results: Mapping[int, _Value]) -> None:
    """Correct the shapes that a branch or loop declares for outputs that were handles."""
    shapes = node.attrs.get("output_shapes")
    if isinstance(shapes, tuple) and shapes:
        node.attrs["output_shapes"] = tuple(results[i].shape if i in results else s for i, s in enumerate(shapes))


def _as_value_op(node: Node, op: str, taken: Mapping[int, _Value]) -> Node:
    """Return `node` as an op on values in the place of variables; what the new op does not know is dropped."""
    old, sig = signature(node.op), signature(op)
    full = fill_defaults(old, node.attrs)
    attrs: dict[str, AttrValue] = {k: v for k, v in node.attrs.items() if k in sig.attrs}
    for name in full.keys() - sig.attrs.keys():
        spec = old.attrs.get(name)
        if spec is not None and spec.type == "int" and full[name] != spec.default:
            raise UnsupportedError(
                f"attribute `{name}` of node `{node.name}` ({node.op})", expected=spec.default, found=full[name]
            )
    new = Node(node.name, op, list(node.inputs), list(node.controls), attrs, node.device)
    _retype(new, "inputs", {i: v.dtype for i, v in taken.items()})
    return new


__all__ = ["BakeVariables"]
