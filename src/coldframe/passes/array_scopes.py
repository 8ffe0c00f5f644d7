"""What `arrays_to_lists` keeps of a graph, of a function's body, and of a loop or a branch, while it rewrites them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from coldframe.graph.ir import Function, FunctionArg, Node
from coldframe.graph.names import TensorRef
from coldframe.graph.values import FuncRef, TensorValue
from coldframe.ops.call import bind
from coldframe.passes.base import row_of
from coldframe.passes.carve import role
from coldframe.passes.library import Library
from coldframe.records import dataclass
from coldframe.shapes import Shape

MAKES: Final = ("array", "stack")  # the roles of what makes one


@dataclass(frozen=True, slots=True)
class Array:
    """A tensor array or a stack.

    Attributes:
        place: the functions that lead to the node that makes it.
        name: that node's.
        source: of an array of gradients, whose gradients.
    """

    place: tuple[str, ...]
    name: str
    source: bytes | None = None

    def gradients(self, source: bytes) -> Array:
        """Return its array of gradients for `source`."""
        return Array(self.place, self.name, source)


@dataclass(slots=True)
class Scope:
    """A graph, or the body of a function, while it is rewritten.

    Attributes:
        place: the functions that lead here.
        nodes: those made so far.
        arrays: by handle: the array.
        now: by array: the list that it is.
        refs: by tensor of the old nodes: what it is now, where that changed.
        fresh: by list that nothing was written to: how long it is.
    """

    place: tuple[str, ...]
    nodes: dict[str, Node]
    arrays: dict[TensorRef, Array]
    now: dict[Array, TensorRef]
    refs: dict[TensorRef, TensorRef] = dataclasses.field(default_factory=dict)
    fresh: dict[TensorRef, TensorRef] = dataclasses.field(default_factory=dict)

    def ref(self, old: TensorRef) -> TensorRef:
        return self.refs.get(old, old)

    def add(self, node: Node) -> Node:
        self.nodes[node.name] = node
        return node

    def new(self, name: str, op: str, inputs: Sequence[TensorRef], controls: Sequence[str] = (), **attrs: Any) -> Node:
        """Add a node."""
        return self.add(Node(name, op, list(inputs), list(controls), attrs))

    def constant(self, name: str, value: Any) -> TensorRef:
        """Return a new constant."""
        held = TensorValue.of(np.asarray(value))
        return self.new(name, role("const"), (), dtype=held.dtype, value=held).out()


@dataclass(slots=True)
class Call:
    """A loop or a branch that uses arrays.

    Attributes:
        handles: by argument: the array whose handle it was. It takes the list instead.
        extra: arrays whose lists are arguments besides.
        args: all arguments.
        inputs: what they are given.
        inner: its functions, rewritten.
    """

    handles: dict[int, Array]
    extra: list[Array]
    args: list[FunctionArg]
    inputs: list[TensorRef] = dataclasses.field(default_factory=list)
    inner: list[tuple[Scope, Function]] = dataclasses.field(default_factory=list)

    @property
    def slots(self) -> dict[Array, int]:
        """By array: the argument that is its list; where a handle was given twice, the first."""
        found: dict[Array, int] = {}
        for k, a in self.handles.items():
            found.setdefault(a, k)
        first = len(self.args) - len(self.extra)
        return found | {a: first + j for j, a in enumerate(self.extra)}

    def argument(self, array: Array) -> TensorRef:
        """Return the argument that is the list of an array."""
        return TensorRef(self.args[self.slots[array]].name)


def free(name: str, taken: set[str]) -> str:
    """Return `name`, or one like it that is not taken, and take it."""
    k, base = 0, name
    while name in taken:
        k += 1
        name = f"{base}_{k}"
    taken.add(name)
    return name


def makes(f: Function, library: Library) -> bool:
    """Whether an array is made in a function, or in one that it uses."""
    for node in f.body:
        row = row_of(node)
        if row is not None and row.role in MAKES:
            return True
        if any(
            isinstance(v, FuncRef) and v.name in library and makes(library[v.name], library)
            for v in node.attrs.values()
        ):
            return True
    return False


def attributes(node: Node) -> Mapping[str, Any]:
    row = row_of(node)
    assert row is not None
    return bind(row, node.attrs).attrs


def as_tensor(shape: Shape) -> Any:
    """Return a shape as a tensor, -1 for what is not known."""
    return np.array(-1 if shape.dims is None else [-1 if d is None else d for d in shape.dims], np.int32)


def moved(node: Node, scope: Scope) -> Node:
    """Return a node with its inputs as they are now."""
    if scope.refs.keys().isdisjoint(node.inputs):
        return node
    new = node.copy()
    new.inputs = [scope.ref(r) for r in node.inputs]
    return new
