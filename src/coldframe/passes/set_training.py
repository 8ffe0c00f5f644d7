"""Choose between training and inference for good: ``is_training`` becomes a constant, and its branches are folded.

::

    p = Placeholder (is_training)          p = Const(False)
    s = Switch(x, p)                 ──►   (gone: what read s:0 reads x, what read s:1 is dead and goes)
    y = Merge(f(s:0), g(s:1))              y = Identity(f(x))
    z = If(p, x, then=t, else=e)           (the body of e)
"""

from __future__ import annotations

import dataclasses
import re
from typing import Any, Final

import numpy as np

from coldframe import dtypes
from coldframe.errors import GraphError
from coldframe.graph.ir import Graph, Node
from coldframe.graph.names import TensorRef
from coldframe.graph.traverse import topological
from coldframe.graph.values import AttrValue, TensorValue, base_type
from coldframe.ops import table
from coldframe.passes.base import Context, loop_edge, row_of
from coldframe.passes.inline import InlineCalls
from coldframe.records import dataclass
from coldframe.shapes import Shape

# What people and Keras call the switch. Only booleans of no dimensions count.
_TRAINING: Final = re.compile(
    r"(^|.*[/_])(is_?train(ing)?|train(ing)?(_?(phase|mode|flag))?|(keras_)?learning_phase|phase(_train)?|train_?phase)"
    r"(/input)?(_\d+)?",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class SetTraining:
    """Set the switches between training and inference.

    Attributes:
        value: True for training.
        nodes: the nodes to set; left out, those whose name says that they are such a switch.
    """

    value: bool = False
    nodes: tuple[str, ...] | None = None
    name: str = "set training"

    def run(self, graph: Graph, context: Context, /) -> Graph:
        found = self.nodes if self.nodes is not None else tuple(n.name for n in graph if _is_switch(n))
        if not found:
            context.note("no input that switches between training and inference was found")
        const = table().named_role("const").name
        out = graph.copy()
        for name in found:
            value = TensorValue.of(np.array(self.value))
            out.nodes[name] = Node(name, const, [], [], {"dtype": dtypes.bool_, "value": value})
            context.note(f"`{name}` is {self.value}: what it switches off is gone")
        folded = InlineCalls().run(fold_branches(out, context), context)
        for node in folded:
            if node.attrs.get("is_training") is True and not self.value:
                context.note(
                    f"`{node.name}` still normalizes each batch by its own statistics: no update of moving averages "
                    "tells which variables hold them"
                )
        return folded


def _is_switch(node: Node) -> bool:
    row = row_of(node)
    if row is None or _TRAINING.fullmatch(node.name) is None:
        return False
    shape = node.attrs.get("shape")
    if row.placeholder or row.role == "default":
        fits = base_type(node.attrs.get("dtype")) is dtypes.bool_
    else:
        value = node.attrs.get("value")
        return row.const and isinstance(value, TensorValue) and value.dtype is dtypes.bool_ and not value.shape.rank
    return fits and (not isinstance(shape, Shape) or not shape.rank)


def fold_branches(graph: Graph, context: Context) -> Graph:
    """Return `graph` without the sides of conditionals that constants switch off.

    Raises:
        GraphError: a target is on such a side.
    """
    work = _Folding(graph)
    for node in topological(graph.nodes, fed=context.fed, ignore=work.back):
        work.visit(node)
    for t in context.targets:
        ref = TensorRef(t) if isinstance(t, str) else t
        if ref.node in work.dead_nodes or ref in work.dead:
            raise GraphError(f"output `{ref}` is on the side that is switched off", hint="name another output")
    return work.result()


class _Folding:
    def __init__(self, graph: Graph) -> None:
        self.graph, self.ops, self.back = graph, table(), loop_edge(graph)
        self.truth: dict[TensorRef, bool] = {}
        self.dead: set[TensorRef] = set()
        self.dead_nodes: set[str] = set()
        self.now: dict[TensorRef, TensorRef] = {}
        self.new: dict[str, Node] = {}

    def visit(self, node: Node) -> None:
        row = row_of(node)
        control = row.control if row is not None else ""
        inputs = [self.now.get(r, r) for r in node.inputs]
        dead = [self._is_dead(r) for r in inputs]
        if control == "merge":  # what comes round a loop has not been seen yet: it is as dead as what enters
            entering = [d for d, r in zip(dead, inputs, strict=True) if not self.back(node, r)]
            is_dead = all(entering)
        else:
            is_dead = any(dead)
        if is_dead or any(c in self.dead_nodes for c in node.controls):
            self.dead_nodes.add(node.name)
            return
        if control == "merge" and any(dead) and dead.count(False) == 1:
            self._merge(node, dead.index(False), inputs)
            return
        self._learn(node, row, inputs)
        if control == "switch" and inputs[1] in self.truth:
            self._switch(node, inputs)
        if row is not None and row.role == "if" and inputs[0] in self.truth:
            self.new[node.name] = self._branch(node, inputs, self.truth[inputs[0]])
            return
        same = inputs == node.inputs
        self.new[node.name] = node if same else dataclasses.replace(node, inputs=inputs)

    def _is_dead(self, ref: TensorRef) -> bool:
        return ref in self.dead or ref.node in self.dead_nodes

    def _learn(self, node: Node, row: Any, inputs: list[TensorRef]) -> None:
        value = node.attrs.get("value")
        if row is None:
            return
        if row.const and isinstance(value, TensorValue) and value.dtype is dtypes.bool_ and not value.shape.rank:
            self.truth[node.out()] = bool(value.array)
        elif row.role == "identity" and inputs[0] in self.truth:
            self.truth[node.out()] = self.truth[inputs[0]]
        elif row.role == "not" and inputs[0] in self.truth:
            self.truth[node.out()] = not self.truth[inputs[0]]

    def _switch(self, node: Node, inputs: list[TensorRef]) -> None:
        alive = int(self.truth[inputs[1]])
        self.dead.add(node.out(1 - alive))
        self.now[node.out(alive)] = inputs[0]
        if inputs[0] in self.truth:
            self.truth[node.out(alive)] = self.truth[inputs[0]]

    def _branch(self, node: Node, inputs: list[TensorRef], truth: bool) -> Node:
        """Return a call of the branch that is taken."""
        attrs: dict[str, AttrValue] = {k: v for k, v in node.attrs.items() if k in ("Tin", "Tout")}
        attrs["f"] = node.attrs["then_branch" if truth else "else_branch"]
        call = self.ops.named_role("call").name
        return Node(node.name, call, inputs[1:], list(node.controls), attrs, node.device)

    def _merge(self, node: Node, alive: int, inputs: list[TensorRef]) -> None:
        attrs = {"T": base_type(node.attrs.get("T"))}
        identity = self.ops.named_role("identity").name
        self.new[node.name] = Node(node.name, identity, [inputs[alive]], list(node.controls), attrs, node.device)
        if any(node.out(1) in n.inputs for n in self.graph):
            name = self.graph.unique_name(f"{node.name}/value_index")
            value = TensorValue.of(np.int32(alive))
            const = self.ops.named_role("const").name
            self.new[name] = Node(name, const, [], [], {"dtype": dtypes.int32, "value": value})
            self.now[node.out(1)] = TensorRef(name)

    def result(self) -> Graph:
        nodes = []
        for node in self.new.values():
            if any(c in self.dead_nodes for c in node.controls):
                continue
            nodes.append(node)
        return self.graph.with_nodes(nodes)
