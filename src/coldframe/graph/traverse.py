"""Walking a graph: what a fetch needs, in which order it can run, who consumes what. Nothing here recurses."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any

from coldframe.errors import GraphError
from coldframe.graph.ir import Function, Graph, Node
from coldframe.graph.names import TensorRef, suggest
from coldframe.graph.values import FuncRef


def needed(graph: Graph, targets: Iterable[str], fed: Collection[TensorRef] = ()) -> set[str]:
    """Return the names of the nodes that must run for the nodes `targets`, given tensors that are `fed`.

    Raises:
        GraphError: a node's input names no node of the graph.
    """
    seen: set[str] = set()
    stack = list(targets)
    while stack:
        name = stack.pop()
        if name in seen:
            continue
        node = graph.nodes.get(name)
        if node is None:
            raise GraphError(f"the graph has no node called `{name}`", hint=suggest(name, graph.nodes))
        seen.add(name)
        for ref in node.inputs:
            if ref in fed or ref.node in seen:
                continue
            if ref.node not in graph.nodes:
                raise dangling(node, str(ref), graph)
            stack.append(ref.node)
        for c in node.controls:
            if TensorRef(c) in fed:
                continue  # a fed node counts as run
            if c not in graph.nodes:
                raise dangling(node, f"^{c}", graph)
            stack.append(c)
    return seen


def reached(nodes: Iterable[Node], functions: Mapping[str, Function]) -> Iterator[tuple[str, Node]]:
    """Yield `nodes`, and those that run in the functions which they call or hand on, each function once.

    With each node comes its place: the function's name and ``/``; nothing for `nodes` themselves.
    """
    seen: set[str] = set()
    waiting: list[tuple[str, Node]] = [("", n) for n in nodes]
    while waiting:
        place, node = waiting.pop()
        yield place, node
        for name in [node.op, *_handed_on(node.attrs.values())]:
            function = functions.get(name)
            if function is not None and name not in seen:
                seen.add(name)
                waiting += [(f"{name}/", n) for n in _running(function)]


def _handed_on(values: Iterable[Any]) -> Iterator[str]:
    for value in values:
        if isinstance(value, FuncRef):
            yield value.name
        elif isinstance(value, tuple):
            yield from _handed_on(value)


def _running(function: Function) -> list[Node]:
    """Return the nodes of a function that its results or effects need."""
    nodes, arguments = function.body.nodes, {a.name for a in function.args}
    found: dict[str, Node] = {}
    waiting = [*(r.node for r in function.returns), *function.control_returns]
    while waiting:
        name = waiting.pop()
        if name in found or name in arguments or name not in nodes:  # what names nothing is told when it is bound
            continue
        node = found[name] = nodes[name]
        waiting += [r.node for r in node.inputs] + list(node.controls)
    return list(found.values())


def dangling(node: Node, ref: str, graph: Graph) -> GraphError:
    """Return the error for an input of `node` that names nothing."""
    return GraphError(
        f"input `{ref}` of node `{node.name}` ({node.op}) names no node of the graph",
        hint=suggest(ref.removeprefix("^").partition(":")[0], graph.nodes),
    )


def topological(
    nodes: Mapping[str, Node],
    *,
    fed: Collection[TensorRef] = (),
    ignore: Callable[[Node, TensorRef], bool] | None = None,
) -> list[Node]:
    """Return `nodes` so that each follows its inputs and controls; inputs outside `nodes` or `fed` count as there.

    Among nodes that are ready, the order of `nodes` is kept. `ignore` tells edges that do not
    count (a loop's back edge).

    Raises:
        GraphError: the nodes form a cycle; the message names one.
    """
    waiting: dict[str, int] = {}
    consumers: dict[str, list[str]] = {}
    for node in nodes.values():
        sources = {
            r.node
            for r in node.inputs
            if r.node in nodes and r not in fed and not (ignore is not None and ignore(node, r))
        }
        sources.update(c for c in node.controls if c in nodes)
        waiting[node.name] = len(sources)
        for s in sources:
            consumers.setdefault(s, []).append(node.name)
    ready = [n for n, k in reversed(waiting.items()) if k == 0]
    order: list[Node] = []
    while ready:
        name = ready.pop()
        order.append(nodes[name])
        for c in reversed(consumers.get(name, ())):
            waiting[c] -= 1
            if waiting[c] == 0:
                ready.append(c)
    if len(order) < len(nodes):
        raise GraphError("the graph has a cycle", where=f"through {_a_cycle(nodes, {n.name for n in order})}")
    return order


def _a_cycle(nodes: Mapping[str, Node], done: Collection[str]) -> str:
    name = next(n for n in nodes if n not in done)
    path: list[str] = []
    while name not in path:
        path.append(name)
        node = nodes[name]
        sources = [r.node for r in node.inputs] + node.controls
        name = next(s for s in sources if s in nodes and s not in done)
    loop = [*path[path.index(name) :], name]
    shown = loop if len(loop) <= 8 else [*loop[:4], "...", *loop[-3:]]
    return " <- ".join(f"`{n}`" if n != "..." else n for n in shown)


def consumers(nodes: Iterable[Node]) -> dict[TensorRef, list[Node]]:
    """Return, for each tensor that is an input of some of `nodes`, the nodes that read it."""
    out: dict[TensorRef, list[Node]] = {}
    for node in nodes:
        for ref in node.inputs:
            out.setdefault(ref, []).append(node)
    return out
