"""The ends of a graph: which tensors to feed, and which to fetch.

A graph file does not say. What must be fed, the op table tells. What to fetch is guessed, each guess with its reason::

    image ─► ... ─► logits ─► probabilities          nothing reads it: an output
                       │
    label ─────────────┴────► loss ─► gradients/...  it needs more inputs: for training

Saving, gradients, updates of variables and summaries are machinery around the model, not part of it. What depends on
the inputs' shapes alone, such as the initial state of a recurrent network, is no output where something else is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from coldframe import dtypes
from coldframe.errors import GraphError
from coldframe.graph.ir import Graph, Node
from coldframe.graph.names import TensorRef
from coldframe.graph.signatures import expand, fill_defaults, known, signature
from coldframe.graph.values import AttrPlaceholder, TensorValue, base_type
from coldframe.ops import Op, OpTable, table
from coldframe.records import dataclass
from coldframe.shapes import Shape, TensorSpec

# Scopes that tf.gradients, Saver and optimizers open; the numbers make names unique.
_MACHINERY: Final = re.compile(
    r"(^|.*/)(gradients|save|Initializer|report_uninitialized_\w+|init_\w+)(_\d+)?/.*"
    r"|saver_filename"
)
_GRADIENTS: Final = re.compile(r"(^|.*/)gradients(_\d+)?/.*")
_OF_SHAPES: Final = ("shape", "size", "like")  # roles of ops that look at their inputs' shapes only
_INSIDE: Final = re.compile(r"(^|.*/)(while|cond)(_\d+)?/.*")
_MAX_ENDS: Final = 256
_LEAST_SHARE: Final = 20  # an end that takes less than 1/20 of the nodes of the largest is a by-product
_MAX_INPUTS: Final = 64  # of these it is followed what depends on them; a graph with more is no usual model


@dataclass(frozen=True, slots=True)
class End:
    """A tensor to feed or to fetch.

    Attributes:
        ref: the tensor.
        reason: why it is thought to be one.
    """

    ref: TensorRef
    reason: str


def inputs(graph: Graph) -> tuple[End, ...]:
    """Return the tensors that must, or may, be fed, in the graph's order."""
    return _inputs(graph, _Ops(graph))


def _inputs(graph: Graph, ops: _Ops) -> tuple[End, ...]:
    found = []
    for node in graph:
        op = ops[node.op]
        if op is None or not (op.placeholder or op.role == "default") or _MACHINERY.match(node.name):
            continue
        found.append(End(node.out(), "must be fed" if op.placeholder else "has a default"))
    return tuple(found)


def with_defaults(graph: Graph) -> frozenset[str]:
    """Return the names of the tensors that may be fed, and have a value where they are not."""
    return frozenset(str(n.out()) for n in _defaults(graph, _Ops(graph)))


def _defaults(graph: Graph, ops: _Ops) -> Iterator[Node]:
    for node in graph:
        op = ops[node.op]
        if op is not None and op.role == "default":
            yield node


def guess_outputs(graph: Graph) -> tuple[End, ...]:
    """Return the tensors that are probably the model's outputs, in the graph's order, with the reason for each.

    Raises:
        GraphError: an input names no node of the graph.
    """
    ops = _Ops(graph)
    found = [n for n in graph if (op := ops[n.op]) is not None and op.role == "result" and n.inputs]
    if found:  # the graph is the body of a function
        return tuple(End(n.inputs[0], "the function returns it") for n in sorted(found, key=_index))
    return _Guess(graph, ops).outputs()


def _index(node: Node) -> int:
    index = node.attrs.get("index")
    return index if isinstance(index, int) else 0


def _op(ops: OpTable, name: str) -> Op | None:
    return ops[name] if name in ops else None  # noqa: SIM401 (a miss raises UnsupportedOpError, so `get` would)


class _Ops(dict[str, Op | None]):
    """The ops of a graph's nodes by name, None for what the table does not have. Nodes are many, and ops are few."""

    def __init__(self, graph: Graph) -> None:
        ops = table()
        super().__init__((name, _op(ops, name)) for name in dict.fromkeys(n.op for n in graph))


class _Guess:
    def __init__(self, graph: Graph, ops: _Ops) -> None:
        self._graph, self._ops = graph, ops
        self._readers: dict[str, list[str]] = {}
        for node in graph:
            for ref in node.inputs:
                self._readers.setdefault(ref.node, []).append(node.name)
        self._awaited = {c for node in graph for c in node.controls}
        self._is_trained = any(_GRADIENTS.match(n.name) for n in graph)
        self._inputs = [e.ref.node for e in _inputs(graph, ops)]
        self._fed = set(self._inputs)
        self._has_default = {n.name for n in _defaults(graph, ops)}
        self._aside = {n.name for n in graph if self._is_machinery(n)}

    def outputs(self) -> tuple[End, ...]:
        sources = self._inputs[:_MAX_INPUTS]
        depends = self._dependence(sources, through_shapes=False)
        ends = self._all_ends(depends if sources else None)
        if not ends and sources:
            depends = self._dependence(sources, through_shapes=True)
            ends = self._all_ends(depends)
        ends = self._substantial([n for n in ends if not self._readers.get(n)] or ends)
        if self._is_trained:
            work = {n: self._work(n) for n in ends}
            whole = [n for n in ends if 2 * work[n] >= max(work.values())]  # not a loop's counter, nor a mask
            best = [n for n in whole if not any(depends[m] < depends[n] for m in whole if m in depends)]
            if 0 < len(best) < len(ends):
                return self._ends(best, "nothing reads it, and it needs fewer inputs than the loss")
            if len({depends.get(n) for n in best}) > 1:  # each needs what others do not: no label that all need
                return self._ends(best, "nothing reads it")
            label, before = self._before_labels(depends, ends, max(work.values(), default=0))
            if before:
                return self._ends(before, f"the last to do without `{label}`, which is for training")
        return self._ends(ends, "only training reads it" if ends and self._readers.get(ends[0]) else "nothing reads it")

    def _all_ends(self, depends: Mapping[str, frozenset[str]] | None) -> list[str]:
        return [n.name for n in self._graph if self._is_end(n) and (depends is None or depends.get(n.name))]

    def _before_labels(
        self, depends: Mapping[str, frozenset[str]], ends: list[str], most: int
    ) -> tuple[str, list[str]]:
        """Return the input that all ends need and that comes in last, and what it meets there: the predictions."""
        shared = frozenset.intersection(*(depends.get(n, frozenset()) for n in ends)) if ends else frozenset()
        found: tuple[int, str, list[str]] = (0, "", [])
        for label in sorted(shared - self._has_default):
            met = [n for n, d in depends.items() if label not in d and self._is_read_with(n, label, depends)]
            if len(met) > _MAX_ENDS:
                continue
            work = {n: self._work(n) for n in met if not _INSIDE.match(n)}
            least = max(work.values(), default=0)
            if least > found[0]:
                found = (least, label, [n.name for n in self._graph if 10 * work.get(n.name, 0) >= 9 * least])
        return (found[1], found[2]) if 2 * found[0] >= most else ("", [])

    def _is_read_with(self, name: str, label: str, depends: Mapping[str, frozenset[str]]) -> bool:
        return name not in self._aside and any(label in depends.get(r, ()) for r in self._readers.get(name, ()))

    def _ends(self, names: Iterable[str], reason: str) -> tuple[End, ...]:
        return tuple(End(TensorRef(n), reason) for n in names)

    def _substantial(self, names: list[str]) -> list[str]:
        """Leave out what branches and loops leave unread, and what little work goes into."""
        names = [n for n in names if not _INSIDE.match(n)] or names
        if not 1 < len(names) <= _MAX_ENDS:
            return names
        sizes = {n: self._work(n) for n in names}
        return [n for n in names if sizes[n] * _LEAST_SHARE >= max(sizes.values())]

    def _work(self, name: str) -> int:
        """Return how many nodes `name` needs."""
        seen, stack = {name}, [name]
        while stack:
            for ref in self._graph[stack.pop()].inputs:
                if ref.node not in self._graph.nodes:
                    raise GraphError(f"input `{ref}` names no node of the graph", where=f"of node `{name}`")
                if ref.node not in seen:
                    seen.add(ref.node)
                    stack.append(ref.node)
        return len(seen)

    def _dependence(self, sources: Iterable[str], *, through_shapes: bool) -> Mapping[str, frozenset[str]]:
        """Return, for each node of the model, the inputs that it depends on, be it only by their shapes or not."""
        stops = set(self._aside) if through_shapes else self._aside | {n.name for n in self._graph if self._looks(n)}
        reached: dict[str, set[str]] = {}
        for source in sources:
            stack = [source]
            while stack:
                for name in self._readers.get(stack.pop(), ()):
                    known_sources = reached.setdefault(name, set())
                    if source not in known_sources and name not in stops:
                        known_sources.add(source)
                        stack.append(name)
        return {n: frozenset(s) for n, s in reached.items() if s}

    def _looks(self, node: Node) -> bool:
        op = self._ops[node.op]
        return op is not None and op.role in _OF_SHAPES

    def _is_end(self, node: Node) -> bool:
        """Whether no part of the model reads `node`, and it makes something worth fetching."""
        if node.name in self._aside or any(r not in self._aside for r in self._readers.get(node.name, ())):
            return False
        if self._only_updates_read(node) or (node.name in self._awaited and not self._readers.get(node.name)):
            return False
        op = self._ops[node.op]
        if op is not None and (
            op.control == "switch" or (op.role == "identity" and any(r.node in self._fed for r in node.inputs))
        ):
            return False  # what is left where nothing needs a branch's condition
        if op is not None and (op.const or op.placeholder or op.variable or op.role in ("default", "noop", "assert")):
            return False
        outputs = output_dtypes(self._graph, node)
        return outputs is None or (bool(outputs) and outputs[0].kind != "o" and not self._is_summary(node, outputs))

    def _only_updates_read(self, node: Node) -> bool:
        readers = self._readers.get(node.name, ())
        return bool(readers) and not any(_GRADIENTS.match(r) for r in readers)

    def _is_machinery(self, node: Node) -> bool:
        if _MACHINERY.match(node.name):
            return True
        op = self._ops[node.op]
        if op is not None:
            return op.role in ("assign", "update")
        # An op without a body that takes a variable, and gives nothing or the variable back, changes it.
        if not known(node.op):
            return False
        sig = signature(node.op)
        takes = any(a.is_ref or a.type is dtypes.resource for a in sig.inputs)
        return takes and all(a.is_ref for a in sig.outputs)

    def _is_summary(self, node: Node, outputs: list[dtypes.DType]) -> bool:
        """Whether it makes one string of numbers that have names: a record for the event file."""
        if outputs != [dtypes.string] or not known(node.op):
            return False
        return any(a.name in ("tag", "tags") for a in signature(node.op).inputs) or (
            bool(node.inputs) and all(self._feeds_summary(r) for r in node.inputs)
        )

    def _feeds_summary(self, ref: TensorRef) -> bool:
        node = self._graph.nodes.get(ref.node)
        return node is not None and known(node.op) and any(a.name in ("tag", "tags") for a in signature(node.op).inputs)


def output_dtypes(graph: Graph, node: Node) -> list[dtypes.DType] | None:
    """Return the dtype of each output of a node, or None where its op or an attribute of it is not known."""
    if node.op in graph.functions:
        results = [base_type(r.dtype) for r in graph.functions[node.op].results]
        return None if any(isinstance(r, AttrPlaceholder) for r in results) else results
    if not known(node.op):
        return None
    sig = signature(node.op)
    try:
        attrs = {k: base_type(v) for k, v in node.attrs.items()}
        return [d for _, d in expand(sig.outputs, fill_defaults(sig, attrs))]
    except GraphError:
        return None


def output_shape(node: Node, slot: int) -> Shape:
    """Return what the node's own attributes tell of an output's shape."""
    shapes = node.attrs.get("_output_shapes")
    if isinstance(shapes, tuple) and slot < len(shapes) and isinstance(shapes[slot], Shape):
        return shapes[slot]  # type: ignore[return-value]
    if slot == 0:
        value = node.attrs.get("value")
        if isinstance(value, TensorValue):
            return value.shape
        shape = node.attrs.get("shape")
        op = _op(table(), node.op)
        if isinstance(shape, Shape) and op is not None and (op.placeholder or op.role == "default" or op.variable):
            return shape
    return Shape.unknown()


def output_specs(graph: Graph, node: Node) -> tuple[TensorSpec, ...]:
    """Return name, dtype and shape of each output of a node; none where its op is not known."""
    found = output_dtypes(graph, node) or []
    return tuple(TensorSpec(str(node.out(i)), d, output_shape(node, i)) for i, d in enumerate(found))


def specs_by_node(graph: Graph, found: Iterable[End]) -> dict[str, TensorSpec]:
    """Return the specs of ends by the names of their nodes; those of ops that are not known are left out."""
    specs = ((e.ref, output_specs(graph, graph[e.ref.node])) for e in found)
    return {ref.node: of[ref.slot] for ref, of in specs if ref.slot < len(of)}


__all__ = ["End", "guess_outputs", "inputs", "output_dtypes", "output_shape", "output_specs", "specs_by_node"]
