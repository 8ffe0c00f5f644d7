"""Read variables before loops that only read them: a loop of values is one that engines compile.

::

    While(i, w)  body(i, w): y = ReadVariableOp(w)       v = ReadVariableOp(w)
                                                   ──►   While(i, v)  body(i, v): y = Identity(v)

Keras's recurrent layers, in the SavedModels of TensorFlow 2, hand the handles of their weights to a loop, whose body
reads them in each iteration. Where nothing in the loop writes a variable, whatever it calls included, each of these
reads gives what a read before it gives. A handle stays a handle where the loop does anything else with it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from typing import Any, Final

from coldframe.dtypes import resource
from coldframe.graph.ir import Function, FunctionArg, Graph, Node
from coldframe.graph.names import TensorRef
from coldframe.graph.values import FuncRef
from coldframe.ops import table
from coldframe.passes.base import row_of
from coldframe.passes.library import Library
from coldframe.records import dataclass

_PARTS: Final = ("cond", "body")


def hoist_reads(graph: Graph, wanted: Collection[TensorRef] = ()) -> Graph:
    """Return `graph` with the variables that its loops only read given to them as values.

    Args:
        graph: the graph; it is not changed. Where a loop is, the new one has a library of its own.
        wanted: tensors that are fetched.
    """
    ops = table()
    kinds = {kind for kind in {n.op for n in graph} if kind in ops and ops[kind].role == "while"}
    loops = [n for n in graph if n.op in kinds and _is_loop(n)] if kinds else []
    loops = [n for n in loops if any(n.out(k) not in wanted for k in range(len(n.inputs)))]
    if not loops:
        return graph
    work = _Work(graph, Library({}, graph.functions), frozenset(wanted))
    for loop in loops:
        work.rewrite(loop)
    if not work.loops:
        return graph
    nodes = [n for node in graph for n in work.nodes_for(node)]
    return Graph(nodes, work.library, producer=graph.producer, min_consumer=graph.min_consumer, extra=graph.extra)


def _is_loop(node: Node) -> bool:
    row = row_of(node)
    return row is not None and row.role == "while" and all(isinstance(node.attrs.get(p), FuncRef) for p in _PARTS)


def _is_read(node: Node) -> bool:
    """Whether a node reads a variable's value; one that reads its shape has no `dtype`."""
    row = row_of(node)
    return row is not None and row.role == "read" and len(node.inputs) == 1 and "dtype" in node.attrs


@dataclass(slots=True)
class _Work:
    """The rewriting of one graph.

    Attributes:
        graph, wanted: see `hoist_reads`.
        library: the functions, new ones too.
        loops: by name: the reads that come before a loop, and the new loop.
        handles: what stands for the handles that a loop handed on.
    """

    graph: Graph
    library: Library
    wanted: frozenset[TensorRef]
    loops: dict[str, list[Node]] = dataclasses.field(default_factory=dict)
    handles: dict[TensorRef, TensorRef] = dataclasses.field(default_factory=dict)

    def rewrite(self, loop: Node) -> None:
        """Make a loop one of values, as far as it only reads."""
        functions = self._functions(loop)
        if not functions:  # what is wrong with it is told when it is bound
            return
        if any(loop.attrs[p].attrs for p in _PARTS) or any(self._writes(f, set()) for f in functions):  # type: ignore[union-attr]
            return
        reads: dict[int, Node] = {}
        for k, ref in enumerate(loop.inputs):
            found = self._read(functions, k)
            if found is not None and loop.out(k) not in self.wanted:
                read = Node(f"{loop.name}/{k}/read", found.op, [ref], list(loop.controls), dict(found.attrs))
                if read.name not in self.graph:
                    reads[k] = read
        if not reads:
            return
        new = loop.copy()
        types: list[Any] = list(new.attrs["T"])  # type: ignore[arg-type]
        for k, read in reads.items():
            self.handles[loop.out(k)] = loop.inputs[k]
            new.inputs[k], types[k] = read.out(), read.attrs["dtype"]
        new.attrs["T"] = tuple(types)
        for part, f in zip(_PARTS, functions, strict=True):
            made = self.library.add(f"{f.name}_of_values", lambda name, f=f: self._of_values(name, f, reads))  # type: ignore[misc]
            new.attrs[part] = FuncRef(made.name, {})
        self.loops[loop.name] = [*reads.values(), new]

    def _functions(self, loop: Node) -> list[Function]:
        """Return condition and body; nothing where they do not fit the loop."""
        found = [self.library.get(loop.attrs[p].name) for p in _PARTS]  # type: ignore[union-attr]
        functions = [f for f in found if f is not None and len(f.args) == len(loop.inputs)]
        types = loop.attrs.get("T")
        fits = len(functions) == len(_PARTS) and len(functions[1].returns) == len(loop.inputs)
        return functions if fits and isinstance(types, tuple) and len(types) == len(loop.inputs) else []

    def nodes_for(self, node: Node) -> list[Node]:
        """Return what stands in the place of a node."""
        nodes = self.loops.get(node.name, [node])
        if not any(r in self.handles for n in nodes for r in n.inputs):
            return nodes
        out = []
        for n in nodes:
            moved = n.copy()
            for i, ref in enumerate(moved.inputs):
                while ref in self.handles:
                    ref = self.handles[ref]
                moved.inputs[i] = ref
            out.append(moved)
        return out

    def _read(self, functions: Sequence[Function], k: int) -> Node | None:
        """Return a node that reads argument `k`, where it is a handle and nothing else is done with it."""
        found: list[Node] = []
        for f in functions:
            ref = TensorRef(f.args[k].name)
            if f.args[k].dtype is not resource:
                return None
            if any(r == ref for i, r in enumerate(f.returns) if i != k):
                return None
            users = [n for n in f.body if ref in n.inputs]
            if not all(map(_is_read, users)):
                return None
            found += users
        stays = functions[1].returns[k] == TensorRef(functions[1].args[k].name)
        same = len({n.attrs.get("dtype") for n in found}) == 1
        return found[0] if stays and same else None

    def _writes(self, f: Function, seen: set[str]) -> bool:
        """Whether a function, or one that it calls, may write a variable."""
        if f.name in seen:
            return False
        seen.add(f.name)
        for node in f.body:
            called = [v.name for v in node.attrs.values() if isinstance(v, FuncRef)]
            called += [r.name for v in node.attrs.values() if isinstance(v, tuple) for r in v if isinstance(r, FuncRef)]
            row = row_of(node)
            if row is None:
                called.append(node.op)
            elif row.role in ("assign", "update") or (row.stateful and row.role != "read" and not called):
                return True
            if any(name not in self.library or self._writes(self.library[name], seen) for name in called):
                return True
        return False

    def _of_values(self, name: str, f: Function, reads: dict[int, Node]) -> Function:
        given: dict[TensorRef, Any] = {TensorRef(f.args[k].name): r.attrs["dtype"] for k, r in reads.items()}
        same = table().named_role("identity").name
        nodes = []
        for n in f.body:
            if n.inputs and n.inputs[0] in given:
                n = Node(n.name, same, [n.inputs[0]], list(n.controls), {"T": given[n.inputs[0]]})
            nodes.append(n)
        args = [FunctionArg(a.name, given.get(TensorRef(a.name), a.dtype)) for a in f.args]
        results = list(f.results)
        if len(results) == len(args):
            results = [
                dataclasses.replace(r, dtype=reads[k].attrs["dtype"]) if k in reads else r
                for k, r in enumerate(results)
            ]
        body = Graph(nodes, self.library, producer=f.body.producer, min_consumer=f.body.min_consumer)
        return Function(
            name, tuple(args), tuple(results), f.returns, body, f.control_returns, dict(f.attrs), f.is_stateful, None
        )
