"""Walking a graph: what a fetch needs, in which order it can run, who consumes what. Nothing here recurses."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

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
    nodes = graph.nodes
    given = {r.node for r in fed}  # names alone, which most tensors are told by
    while stack:
        name = stack.pop()
        if name in seen:
            continue
        node = nodes.get(name)
        if node is None:
            raise GraphError(f"the graph has no node called `{name}`", hint=suggest(name, nodes))
        seen.add(name)
        for ref in node.inputs:
            source = ref[0]
            if source in seen or (source in given and ref in fed):
                continue
            if source not in nodes:
                raise dangling(node, str(ref), graph)
            stack.append(source)
        for c in node.controls:
            if c in given and TensorRef(c) in fed:
                continue  # a fed node counts as run
            if c not in nodes:
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
        if not functions:
            continue
        for name in (node.op, *handed_on(node)):
            function = functions.get(name)
            if function is not None and name not in seen:
                seen.add(name)
                waiting += [(f"{name}/", n) for n in _running(function)]


def handed_on(node: Node) -> list[str]:
    """Return the names of the functions that a node's attributes tell."""
    found: list[str] = []
    for value in node.attrs.values():
        if isinstance(value, FuncRef):
            found.append(value.name)
        elif type(value) is tuple:
            found += [v.name for v in value if isinstance(v, FuncRef)]
    return found


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
    consumers: dict[str, list[str]] = {name: [] for name in nodes}
    given = {r.node for r in fed}  # names alone, which most tensors are told by
    for node in nodes.values():
        name = node.name
        count = 0
        for r in node.inputs:
            readers = consumers.get(r[0])
            if readers is None or (readers and readers[-1] is name):
                continue  # outside, or counted already
            if (r[0] in given and r in fed) or (ignore is not None and ignore(node, r)):
                continue
            readers.append(name)
            count += 1
        for c in node.controls:
            readers = consumers.get(c)
            if readers is not None and not (readers and readers[-1] is name):
                readers.append(name)
                count += 1
        waiting[name] = count
    ready = [n for n, k in reversed(waiting.items()) if not k]
    order: list[Node] = []
    while ready:
        name = ready.pop()
        order.append(nodes[name])
        for c in reversed(consumers[name]):
            waiting[c] -= 1
            if not waiting[c]:
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
