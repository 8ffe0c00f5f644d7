"""Dropout that drops nothing: layers whose keep probability is 1, as graphs that were exported carry them.

::

    u = RandomUniform(Shape(x)) * (1 - 0) + 0
    x / keep * Floor(keep + u)                                  until TensorFlow 1.12
    x * (1 / (1 - rate)) * Cast(u >= rate)                      since
    SelectV2(u >= rate, x * (1 / (1 - rate)), 0)                in TensorFlow 2

`u` has as many bits as its dtype's fraction and lies in [0, 1). So ``1 + u`` is exact and its floor is 1, and
``u >= 0`` always holds: the result is `x`, bit for bit, and what is drawn does not matter. Draws with a seed are left
alone, since the next run goes on where they stopped.

What the probability is may be a constant, a default, or a value that a run is fed; `Dropouts` tells which of the fed
values decide.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any, Final

import numpy as np

from coldframe.graph.ir import Graph, Node
from coldframe.graph.names import TensorRef
from coldframe.graph.values import TensorValue
from coldframe.records import dataclass

_DRAW: Final = "RandomUniform"
_SAME: Final = frozenset(("Identity", "Enter", "StopGradient", "PreventGradient", "CheckNumerics"))
_KNOWN: Final = frozenset(("Const", "Add", "AddV2", "Sub", "Mul", "RealDiv", "PlaceholderWithDefault", *_SAME))
_DEEP: Final = 16  # nodes between a probability and where it is used


def has_dropout(ops: Iterable[str]) -> bool:
    """Whether there may be dropout among nodes of such ops."""
    return _DRAW in ops


@dataclass(slots=True)
class Dropouts:
    """The dropout in a graph.

    Attributes:
        graph: where.
        given: fed tensors, with their value where it is known.
        asked: of those, the ones that decide.
    """

    graph: Graph
    given: Mapping[TensorRef, float | None]
    asked: set[TensorRef] = dataclasses.field(default_factory=set)

    def passed(self) -> dict[str, TensorRef]:
        """Return the nodes whose result is a tensor as it is, and which."""
        found: dict[str, TensorRef] = {}
        for node in self.graph:
            kept = self._kept(node)
            if kept is not None:
                found[node.name] = kept
        return found

    def _node(self, ref: TensorRef) -> Node | None:
        return None if ref in self.given or ref.slot else self.graph.nodes.get(ref.node)

    def _kept(self, node: Node) -> TensorRef | None:
        """Return what dropout leaves as it is, where `node` is the end of one that drops nothing."""
        if node.op == "Mul" and len(node.inputs) == 2:
            for x, mask in (node.inputs, node.inputs[::-1]):
                shape = self._ones(mask)
                if shape is not None:
                    return self._scaled(x, shape)
        elif node.op in ("SelectV2", "Select") and len(node.inputs) == 3:
            shape = self._always(node.inputs[0])
            if shape is not None and (node.op == "Select" or self._number(node.inputs[2]) is not None):
                return self._scaled(node.inputs[1], shape)
        return None

    def _scaled(self, x: TensorRef, shape: TensorRef) -> TensorRef | None:
        """Return what `x` is but for factors of 1, where `shape` is its shape."""
        sized = self._origin(shape)
        made = self._node(sized)
        if made is None or made.op != "Shape":
            return None
        whole = self._origin(made.inputs[0])
        for _ in range(_DEEP):
            x = self._origin(x)
            if x == whole:
                return x
            node = self._node(x)
            if node is None or node.op not in ("Mul", "RealDiv") or len(node.inputs) != 2:
                return None
            if self._number(node.inputs[1]) == 1:
                x = node.inputs[0]
            elif node.op == "Mul" and self._number(node.inputs[0]) == 1:
                x = node.inputs[1]
            else:
                return None
        return None

    def _ones(self, ref: TensorRef) -> TensorRef | None:
        """Return the shape of a tensor of ones that is made of random numbers; None of any other."""
        node = self._node(self._origin(ref))
        if node is None:
            return None
        if node.op == "Cast":
            return self._always(node.inputs[0])
        if node.op != "Floor":
            return None
        total = self._node(self._origin(node.inputs[0]))
        if total is None or total.op not in ("Add", "AddV2"):
            return None
        for keep, uniform in (total.inputs, total.inputs[::-1]):
            shape = self._uniform(uniform)
            if shape is not None:
                return shape if self._number(keep) == 1 else None
        return None

    def _always(self, ref: TensorRef) -> TensorRef | None:
        """Return the shape of what tells of random numbers that they are not below 0; None of any other."""
        node = self._node(self._origin(ref))
        if node is None or node.op != "GreaterEqual":
            return None
        shape = self._uniform(node.inputs[0])
        return shape if shape is not None and self._number(node.inputs[1]) == 0 else None

    def _uniform(self, ref: TensorRef) -> TensorRef | None:
        """Return the shape of random numbers from [0, 1) that no seed fixes."""
        node = self._node(self._origin(ref))
        if node is None:
            return None
        if node.op in ("Add", "AddV2", "Mul") and len(node.inputs) == 2:
            neutral = 1 if node.op == "Mul" else 0
            for x, y in (node.inputs, node.inputs[::-1]):
                shape = self._uniform(x)
                if shape is not None:
                    return shape if self._number(y) == neutral else None
        if node.op != _DRAW or node.attrs.get("seed", 0) or node.attrs.get("seed2", 0):
            return None
        return node.inputs[0]

    def _origin(self, ref: TensorRef) -> TensorRef:
        while (node := self._node(ref)) is not None and node.op in _SAME and node.inputs:
            ref = node.inputs[0]
        return ref

    def _number(self, ref: TensorRef, depth: int = 0) -> float | None:
        """Return the value of a scalar that is known."""
        if ref in self.given:
            self.asked.add(ref)
            return self.given[ref]
        node = self._node(ref)
        if node is None or node.op not in _KNOWN or depth > _DEEP:
            return None
        if node.op == "Const":
            return _scalar(node.attrs.get("value"))
        if len(node.inputs) == 1:
            return self._number(node.inputs[0], depth + 1)
        values = [self._number(r, depth + 1) for r in node.inputs]
        if len(values) != 2 or values[0] is None or values[1] is None:
            return None
        return _result(node.op, values[0], values[1])


def _scalar(value: Any) -> float | None:
    if not isinstance(value, TensorValue) or value.shape.dims != () or value.dtype.kind != "f":
        return None
    return float(value.array)


def _result(op: str, a: float, b: float) -> float | None:
    """Return what an op makes of 0 and 1, of which every dtype computes the same."""
    if not {a, b} <= {0.0, 1.0} or (op == "RealDiv" and not b):
        return None
    return float({"Sub": np.subtract, "Mul": np.multiply, "RealDiv": np.divide}.get(op, np.add)(a, b))


def settled(graph: Graph, given: Mapping[TensorRef, float | None]) -> Graph:
    """Return `graph` with identities in the places of dropout that drops nothing.

    Args:
        graph: the graph.
        given: the tensors that are fed; those that are scalars of which the value is known, with that.
    """
    passed = Dropouts(graph, given).passed()
    if not passed:
        return graph
    nodes = []
    for node in graph:
        kept = passed.get(node.name)
        types = {k: v for k, v in node.attrs.items() if k == "T"}
        nodes.append(node if kept is None else Node(node.name, "Identity", [kept], list(node.controls), types))
    return graph.with_nodes(nodes)
