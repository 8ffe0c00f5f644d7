"""Keep what the targets need: nodes, and functions. Everything before a fed tensor goes."""

from __future__ import annotations

from collections.abc import Iterable

from coldframe.graph.ir import Function, Graph, Node
from coldframe.graph.traverse import needed
from coldframe.graph.values import AttrValue, FuncRef
from coldframe.passes.base import Context
from coldframe.records import dataclass


@dataclass(frozen=True, slots=True)
class Prune:
    """Drop the nodes and functions that the targets do not need.

    Attributes:
        keep_fed: whether the nodes of fed tensors stay, without what is behind them.
    """

    name: str = "prune"
    keep_fed: bool = True

    def run(self, graph: Graph, context: Context, /) -> Graph:
        keep = needed(graph, context.target_nodes, context.fed)
        if self.keep_fed:
            keep |= {r.node for r in context.fed if r.node in graph.nodes}
        kept = graph.with_nodes(n for n in graph if n.name in keep)
        kept.functions = used_functions(kept)
        kept.extra = [g for g in graph.extra or () if {g.function_name, g.gradient_func} <= kept.functions.keys()]
        return kept


def used_functions(graph: Graph) -> dict[str, Function]:
    """Return the functions that the nodes of `graph` name or call, and those that these need in turn."""
    found: dict[str, Function] = {}
    stack = _named(graph, graph)
    while stack:
        name = stack.pop()
        if name not in found and name in graph.functions:
            found[name] = graph.functions[name]
            stack += _named(found[name].body, graph)
    return {name: found[name] for name in graph.functions if name in found}


def _named(nodes: Iterable[Node], graph: Graph) -> list[str]:
    names: list[str] = []
    for node in nodes:
        if node.op in graph.functions:
            names.append(node.op)
        for value in node.attrs.values():
            names += _in_value(value)
    return names


def _in_value(value: AttrValue) -> list[str]:
    if isinstance(value, FuncRef):
        return [value.name, *(n for v in value.attrs.values() for n in _in_value(v))]
    if isinstance(value, tuple) and value and isinstance(value[0], FuncRef):
        return [n for v in value for n in _in_value(v)]
    return []
