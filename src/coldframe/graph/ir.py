"""Graph, Node and Function.

Nodes refer to each other by name, as in the file, so that rewriting is renaming. A function's body is a `Graph` too;
its arguments are not nodes: a `TensorRef` to an argument's name reads that argument, exactly as a fed tensor is read.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from typing import Any

from coldframe.errors import GraphError, NotFoundError, near_names
from coldframe.graph.names import TensorRef, find_node
from coldframe.graph.values import AttrPlaceholder, AttrValue, FuncRef
from coldframe.records import dataclass


@dataclass(slots=True, eq=False)
class Node:
    """One operation.

    Attributes:
        name: unique in its graph.
        op: the op's name in the op table, or a function's name.
        inputs: data inputs in the op's order, lists expanded.
        controls: names of nodes that must have run before.
        attrs: attributes by name; defaults may be absent.
        device: where TensorFlow would place it; kept, not used.
        extra: what the file format knows beyond this, kept for writing back.
    """

    name: str
    op: str
    inputs: list[TensorRef] = dataclasses.field(default_factory=list)
    controls: list[str] = dataclasses.field(default_factory=list)
    attrs: dict[str, AttrValue] = dataclasses.field(default_factory=dict)
    device: str = ""
    extra: Any = None

    def out(self, slot: int = 0) -> TensorRef:
        """Return the reference to output `slot`."""
        return TensorRef(self.name, slot)

    def copy(self) -> Node:
        return Node(
            self.name, self.op, list(self.inputs), list(self.controls), dict(self.attrs), self.device, self.extra
        )

    def __repr__(self) -> str:
        ins = [str(i) for i in self.inputs] + [f"^{c}" for c in self.controls]
        return f"{self.name} = {self.op}({', '.join(ins)})"


class Graph:
    """Nodes in the order of the file, functions, and the versions of the graph's producer.

    The mapping of functions is kept, not copied: graphs derived from each other, and bodies, share one library.

    Iterating gives the nodes; ``graph["x"]`` is the node called x.
    """

    def __init__(
        self,
        nodes: Iterable[Node] = (),
        functions: MutableMapping[str, Function] | None = None,
        *,
        producer: int = 0,
        min_consumer: int = 0,
        extra: Any = None,
    ) -> None:
        listed = list(nodes)
        self.nodes: dict[str, Node] = {n.name: n for n in listed}
        self.functions: MutableMapping[str, Function] = {} if functions is None else functions
        self.producer, self.min_consumer, self.extra = producer, min_consumer, extra
        if len(self.nodes) < len(listed):
            self.nodes = {}
            for n in listed:
                self.add(n)  # tells which name is taken

    def add(self, node: Node) -> Node:
        """Append `node`; raise `GraphError` where its name is taken."""
        if node.name in self.nodes:
            raise GraphError(
                f"two nodes are called `{node.name}`", where=f"(ops {self.nodes[node.name].op}, {node.op})"
            )
        self.nodes[node.name] = node
        return node

    def __getitem__(self, name: str) -> Node:
        node = self.nodes.get(name)
        return node if node is not None else self.nodes[find_node(name, self.nodes)]

    def __contains__(self, name: object) -> bool:
        return name in self.nodes

    def __iter__(self) -> Iterator[Node]:
        return iter(self.nodes.values())

    def __len__(self) -> int:
        return len(self.nodes)

    def with_nodes(self, nodes: Iterable[Node]) -> Graph:
        """Return a graph of `nodes` with this graph's functions and versions."""
        return Graph(nodes, self.functions, producer=self.producer, min_consumer=self.min_consumer, extra=self.extra)

    def copy(self) -> Graph:
        """Return a graph whose nodes can be changed without changing this one."""
        return self.with_nodes(n.copy() for n in self)

    def function(self, name: str) -> Function:
        """Return the function called `name`; raise `NotFoundError` with near names."""
        try:
            return self.functions[name]
        except KeyError:
            raise NotFoundError(
                f"the graph has no function called `{name}`", hint=near_names(name, self.functions)
            ) from None

    def unique_name(self, base: str) -> str:
        """Return `base`, or `base` with the first free ``_1``, ``_2``, ... as TensorFlow appends them."""
        if base not in self.nodes:
            return base
        k = 1
        while f"{base}_{k}" in self.nodes:
            k += 1
        return f"{base}_{k}"


@dataclass(frozen=True, slots=True)
class FunctionArg:
    """An argument or a result of a function. `dtype` is a `DType`, a `RefType` or an `AttrPlaceholder`."""

    name: str
    dtype: Any
    attrs: Mapping[str, AttrValue] = dataclasses.field(default_factory=dict)


@dataclass(slots=True, eq=False)
class Function:
    """A function of a graph's library.

    Attributes:
        name: unique in the library.
        args: its arguments; the body refers to them by name.
        results: names and dtypes of what it returns.
        returns: where in the body each result comes from.
        body: its nodes. `Graph.functions` of a body is the library it belongs to.
        control_returns: nodes of the body that must run even where no result needs them.
        attrs: attributes of the function itself, e.g. ``_noinline``.
        is_stateful: whether it has side effects.
        extra: the signature as the file has it, for writing back.
    """

    name: str
    args: tuple[FunctionArg, ...]
    results: tuple[FunctionArg, ...]
    returns: tuple[TensorRef, ...]
    body: Graph
    control_returns: tuple[str, ...] = ()
    attrs: dict[str, AttrValue] = dataclasses.field(default_factory=dict)
    is_stateful: bool = False
    extra: Any = None


def substitute(value: AttrValue, attrs: Mapping[str, AttrValue]) -> AttrValue:
    """Return `value` with each `AttrPlaceholder` replaced by the attribute it names.

    Raises:
        GraphError: an attribute it names is missing.
    """
    if isinstance(value, AttrPlaceholder):
        if value.name not in attrs:
            raise GraphError(f"a function body uses the attribute `{value.name}`, which its caller does not give")
        return attrs[value.name]
    if isinstance(value, FuncRef):
        return FuncRef(value.name, {k: substitute(v, attrs) for k, v in value.attrs.items()})
    if isinstance(value, tuple):
        return tuple(substitute(v, attrs) for v in value)
    return value
