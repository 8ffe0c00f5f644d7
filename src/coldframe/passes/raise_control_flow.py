"""Raise V1 control flow, which is dataflow with dead tensors, to While and If, whose bodies are functions.

Innermost first: a loop or a cond with no other control flow in it becomes one node, until nothing is left or nothing
more can be raised. Engines compile such nodes; what stays says why, and runs as dataflow. Exits and Merges stay under
their names, as Identities of what the new nodes give, so that whoever fetches or reads them finds them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from coldframe.graph.ir import Graph, Node
from coldframe.graph.names import TensorRef
from coldframe.graph.traverse import needed
from coldframe.passes.base import Context, has_flow
from coldframe.passes.carve import role
from coldframe.passes.flow_contexts import Flow, Unraisable
from coldframe.passes.library import Library
from coldframe.passes.raise_conds import find_conds, raise_cond
from coldframe.passes.raise_loops import find_loops, raise_loop
from coldframe.records import dataclass


@dataclass(frozen=True, slots=True)
class Raised:
    """A graph with functions in the place of V1 control flow.

    Attributes:
        graph: what the targets need; its library has the new functions beside the old ones.
        kept: by control-flow node that could not be raised: why.
    """

    graph: Graph
    kept: Mapping[str, str]


def raise_control_flow(graph: Graph, targets: Iterable[TensorRef | str], fed: Collection[TensorRef] = ()) -> Raised:
    """Raise what can be raised of what `targets` need.

    Args:
        graph: the graph; it is not changed.
        targets: tensors, and names of nodes to run.
        fed: tensors that are given: nothing behind them is needed.
    """
    wanted = {t if isinstance(t, str) else t.node for t in targets if isinstance(t, str) or t not in fed}
    library = Library({}, graph.functions)
    current = Graph(_live(graph, wanted, fed), library, producer=graph.producer, min_consumer=graph.min_consumer)
    kept: dict[str, str] = {}
    while has_flow(current):
        kept.clear()
        try:
            flow = Flow(current, fed, wanted)
        except Unraisable as e:
            flows = [n.name for n in current if has_flow([n])]
            return Raised(current, dict.fromkeys(flows, str(e)))
        made = _round(flow, library, kept)
        if not made:
            return Raised(_settled(flow), kept)
        nodes = {**current.nodes, **{n.name: n for n in made}}
        current = current.with_nodes(_live(current.with_nodes(nodes.values()), wanted, fed))
    return Raised(current, {})


def _live(graph: Graph, wanted: Iterable[str], fed: Collection[TensorRef]) -> list[Node]:
    names = needed(graph, wanted, fed)
    return [n for n in graph if n.name in names]


def _round(flow: Flow, library: Library, kept: dict[str, str]) -> list[Node]:
    """Raise what has no other control flow in it, and return the nodes that are new."""
    made: dict[str, Node] = {}
    taken = set(flow.graph.nodes)

    def fresh(base: str) -> str:
        name, k = base, 0
        while name in taken:
            k += 1
            name = f"{base}_{k}"
        taken.add(name)
        return name

    for loop in find_loops(flow):
        try:
            new = raise_loop(flow, loop, library, fresh(f"{loop.frames[-1]}/while"))
        except Unraisable as e:
            kept.update(dict.fromkeys((n.name for n in loop.by["merge"]), str(e)))
        else:
            made.update((n.name, n) for n in new)
    conds, refused = find_conds(flow)
    kept.update(refused)
    for cond in conds:
        joint = cond.joints[0].node.name
        try:
            new = raise_cond(flow, cond, conds, library, fresh(f"{joint}/if"))
        except Unraisable as e:
            kept.update((j.node.name, str(e)) for j in cond.joints)
        else:
            for n in new:  # a trigger may wait for branches of several predicates: one at a time
                made.setdefault(n.name, n)
    return list(made.values())


def _settled(flow: Flow) -> Graph:
    """Return the graph with triggers that wait for no branch any more as plain nodes."""
    nodes = []
    for n in flow.graph:
        if flow.control(n.name) == "trigger" and not any(flow.of(TensorRef(c)).branches for c in n.controls):
            n = Node(n.name, role("noop"), [], list(n.controls))
        nodes.append(n)
    return flow.graph.with_nodes(nodes)


@dataclass(frozen=True, slots=True)
class RaiseControlFlow:
    """The pass; its notes say what stays as it is, and why."""

    name: str = "raise control flow"

    def run(self, graph: Graph, context: Context, /) -> Graph:
        done = raise_control_flow(graph, context.targets, context.fed)
        for node, why in done.kept.items():
            context.note(f"control flow at `{node}` stays as it is: {why}")
        return done.graph
