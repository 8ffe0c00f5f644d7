"""Cutting nodes out of a graph, to be the body of a function.

The nodes keep their names: errors name what the user knows, and what a node's name stands for, such as its place in the
sequence of random numbers, stays the same. What they read from outside becomes arguments; constants are copied along,
so that they stay known inside.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from coldframe.graph.ir import Function, FunctionArg, Graph, Node
from coldframe.graph.names import TensorRef
from coldframe.graph.values import base_type
from coldframe.ops import table
from coldframe.ops.call import bind
from coldframe.passes.flow_contexts import Flow, Unraisable
from coldframe.passes.library import Library


class Captures:
    """The tensors from outside that functions take as arguments, the same for all functions of one node.

    Attributes:
        sources: the tensors, in the order of the arguments.
        types: their dtypes.
        controls: nodes outside that must have run before.
    """

    def __init__(self, flow: Flow) -> None:
        self._flow = flow
        self.sources: list[TensorRef] = []
        self.types: list[Any] = []
        self.controls: dict[str, None] = {}
        self._names: dict[TensorRef, str] = {}
        self._taken = set(flow.graph.nodes)

    def fresh(self) -> str:
        """Return a name for an argument."""
        k = len(self._taken) - len(self._flow.graph.nodes)
        while f"arg_{k}" in self._taken:
            k += 1
        self._taken.add(f"arg_{k}")
        return f"arg_{k}"

    def argument(self, source: TensorRef) -> TensorRef:
        """Return the argument that stands for `source`, a tensor outside."""
        if source not in self._names:
            self.types.append(dtype_of(self._flow, source))
            self._names[source] = self.fresh()
            self.sources.append(source)
        return TensorRef(self._names[source])

    def arguments(self) -> tuple[FunctionArg, ...]:
        """The arguments so far."""
        return tuple(FunctionArg(self._names[s], t) for s, t in zip(self.sources, self.types, strict=True))


def dtype_of(flow: Flow, ref: TensorRef) -> Any:
    """Return the dtype of a tensor.

    Raises:
        Unraisable: it cannot be told, or the tensor is a reference to a variable.
    """
    row = flow.row(ref.node)
    if row is not None:
        return bind(row, flow.graph.nodes[ref.node].attrs).outputs[ref.slot][1]
    for reader in flow.graph:  # it is given from outside
        own = flow.row(reader.name)
        if ref in reader.inputs and own is not None:
            return bind(own, reader.attrs).inputs[reader.inputs.index(ref)][1]
    raise Unraisable(f"the dtype of `{ref}` is not known")


def constant_behind(flow: Flow, ref: TensorRef) -> Node | None:
    """Return the constant that `ref` is a copy of, through the doors of loops; None where it is none."""
    while ref not in flow.fed:
        node, row = flow.graph.nodes.get(ref.node), flow.row(ref.node)
        if node is None or row is None:
            return None
        if row.const:
            return node
        entered = row.control == "enter" and bool(node.attrs.get("is_constant"))
        if node.controls or not (entered or row.role == "identity"):
            return None
        ref = node.inputs[0]
    return None


class Body:
    """A function's body in the making.

    Args:
        flow: the graph.
        captures: what it takes from outside.
        inside: whether a node is copied.
        own: whether a node belongs to the control flow that is taken apart: what waits for it needs not wait.
        stands: returns the tensor that a tensor is a copy of, as far as that control flow goes.
        given: arguments by the tensor that they are.
    """

    def __init__(
        self,
        flow: Flow,
        captures: Captures,
        *,
        inside: Callable[[str], bool],
        own: Callable[[str], bool],
        stands: Callable[[TensorRef], TensorRef],
        given: Mapping[TensorRef, TensorRef],
    ) -> None:
        self._flow, self._captures, self._inside, self._own = flow, captures, inside, own
        self._stands, self._given = stands, given
        self.nodes: dict[str, Node] = {}
        self._constants: dict[str, Node] = {}
        self._left: list[str] = []

    def returns(self, refs: Sequence[TensorRef]) -> tuple[TensorRef, ...]:
        """Copy what computes `refs`, and return where they are in the body."""
        found = tuple(self._resolved(r) for r in refs)
        self.musts(())
        return found

    def musts(self, names: Iterable[str]) -> None:
        """Copy nodes, and all that is needed for them."""
        self._left += names
        while self._left:
            name = self._left.pop()
            if name in self.nodes:
                continue
            node = self._flow.graph.nodes[name]
            self.nodes[name] = new = node.copy()
            new.inputs = [self._resolved(r) for r in node.inputs]
            new.controls = self.kept(node.controls)
            if self._flow.control(name) == "trigger":
                new.op = role("noop")
            self._left += new.controls

    def kept(self, controls: Iterable[str]) -> list[str]:
        """Return the control dependencies that are inside; those outside are noted for the whole."""
        out = []
        for c in controls:
            if self._inside(c):
                out.append(c)
            elif not self._own(c) and c in self._flow.graph.nodes:
                self._captures.controls[c] = None
        return out

    def graph(self, library: Library) -> Graph:
        """The body: its nodes in the order of the graph."""
        at, base = self._flow.position, self._flow.graph
        copied = sorted(self.nodes.values(), key=lambda n: at[n.name])
        constants = [n for n in self._constants.values() if n.name not in self.nodes]
        return Graph([*constants, *copied], library, producer=base.producer, min_consumer=base.min_consumer)

    def _resolved(self, ref: TensorRef) -> TensorRef:
        ref = self._stands(ref)
        if ref in self._given:
            return self._given[ref]
        if ref not in self._flow.fed and self._inside(ref.node):
            self._left.append(ref.node)
            return ref
        constant = constant_behind(self._flow, ref)
        if constant is None:
            return self._captures.argument(ref)
        if constant.name not in self._constants:
            self._constants[constant.name] = copy = constant.copy()
            copy.controls = []
        return constant.out()


def function(
    name: str,
    args: Sequence[FunctionArg],
    types: Sequence[Any],
    returns: Sequence[TensorRef],
    body: Graph,
    musts: Sequence[str] = (),
) -> Function:
    """Return a function whose results have the dtypes `types`; nodes that `musts` names run in any case."""
    results = tuple(FunctionArg(f"result_{k}", base_type(t)) for k, t in enumerate(types))
    return Function(name, tuple(args), results, tuple(returns), body, tuple(dict.fromkeys(musts)))


def role(name: str) -> str:
    """Return the name of the op of a role."""
    return table().named_role(name).name


def runs_freely(flow: Flow, name: str) -> bool:
    """Whether it makes no difference how often a node runs."""
    row = flow.row(name)
    return row is not None and row.pure
