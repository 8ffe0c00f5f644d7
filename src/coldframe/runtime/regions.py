"""Finding V1 control flow: which nodes run only on a branch, or inside a loop's frame.

Each node has a context: the branches (predicate and side) and the loops (frame names) that it is in. A Switch adds
its predicate to what follows, a Merge keeps what its inputs agree on, Enter adds its frame, Exit goes back to the
context the loop was entered from. Nodes with a context, and the control-flow ops themselves, form regions; a region is
one step of a plan (`frames` runs it), while everything around it is compiled as usual.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from coldframe.engines.base import BoundNode
from coldframe.graph.ir import Node
from coldframe.graph.names import TensorRef
from coldframe.graph.traverse import topological
from coldframe.records import dataclass

Context = frozenset[tuple[str, Any]]
_NOWHERE: Context = frozenset()


class _Dead:
    def __repr__(self) -> str:
        return "a tensor of a branch that was not taken"


DEAD: Final = _Dead()


@dataclass(slots=True, eq=False)
class Region:
    """Nodes that run as dataflow with dead tensors.

    Attributes:
        name: of the step.
        members: the nodes.
        sources: tensors from outside that they read.
        controls: nodes outside that must have run before.
        reason: why it could not be raised to functions.
    """

    name: str
    members: list[BoundNode]
    sources: tuple[TensorRef, ...]
    controls: tuple[str, ...]
    reason: str = ""


def find_regions(bound: Mapping[str, BoundNode]) -> list[Region]:
    """Return the regions of a graph of bound nodes; none where it has no V1 control flow."""
    if not any(b.call.op.control for b in bound.values()):
        return []
    after = _contexts(bound)
    inside = {n for n, b in bound.items() if b.call.op.control or after[n]}
    group = _Groups(inside)
    for name in inside:
        node = bound[name].node
        for source in _sources(node):
            if source in inside and (after[source] or bound[source].call.op.control in ("switch", "next")):
                group.join(name, source)
    return _acyclic(bound, group)


def _sources(node: Node) -> list[str]:
    return [r.node for r in node.inputs] + node.controls


def _contexts(bound: Mapping[str, BoundNode]) -> dict[str, Context]:
    """The context of what each node hands on. A Switch's side is told apart by slot: see `_of_input`."""
    nodes = {n: b.node for n, b in bound.items()}
    order = topological(nodes, ignore=lambda _, r: r.node in bound and bound[r.node].call.op.control == "next")
    own: dict[str, Context] = {}
    outer: dict[Any, Context] = {}
    for node in order:
        control = bound[node.name].call.op.control
        found = [_of_input(r, bound, own) for r in node.inputs if r.node in own]
        found += [own[c] for c in node.controls if c in own]
        if control in ("merge", "trigger") and found:
            context = frozenset.intersection(*found)
        else:
            context = frozenset().union(*found)
        if control == "enter":
            frame = node.attrs.get("frame_name")
            outer[frame] = outer.get(frame, _NOWHERE) | context
            context |= {("frame", frame)}
        elif control == "exit":
            frames = [key for kind, key in context if kind == "frame"]
            innermost = max(frames, key=lambda f: len(outer[f]), default=None)
            context = outer.get(innermost, _NOWHERE)
        own[node.name] = context
    return own


def _of_input(ref: TensorRef, bound: Mapping[str, BoundNode], own: Mapping[str, Context]) -> Context:
    source = bound[ref.node]
    if source.call.op.control != "switch":
        return own[ref.node]
    return own[ref.node] | {("branch", (source.node.inputs[1], ref.slot))}


class _Groups:
    """Union-find over node names."""

    def __init__(self, names: set[str]) -> None:
        self._parent = {n: n for n in names}

    def find(self, name: str) -> str:
        while self._parent[name] != name:
            self._parent[name] = name = self._parent[self._parent[name]]
        return name

    def add(self, name: str) -> None:
        self._parent.setdefault(name, name)

    def join(self, a: str, b: str) -> None:
        self._parent[self.find(a)] = self.find(b)

    def members(self) -> dict[str, list[str]]:
        out: dict[str, list[str]] = {}
        for n in self._parent:
            out.setdefault(self.find(n), []).append(n)
        return out

    def __contains__(self, name: str) -> bool:
        return name in self._parent


def _acyclic(bound: Mapping[str, BoundNode], group: _Groups) -> list[Region]:
    """Join regions that depend on each other, with the nodes between them, until the regions can be put in order."""
    while True:
        owner = {n: group.find(n) if n in group else n for n in bound}
        edges: dict[str, set[str]] = {}
        for name, b in bound.items():
            edges.setdefault(owner[name], set()).update(
                owner[s] for s in _sources(b.node) if s in owner and owner[s] != owner[name]
            )
        cycle = _cyclic(edges)
        if not cycle:
            break
        for name in cycle:
            group.add(name)
            group.join(name, cycle[0])
    order = {n: i for i, n in enumerate(bound)}
    return [_region(sorted(names, key=order.__getitem__), bound) for names in group.members().values()]


def _cyclic(edges: Mapping[str, set[str]]) -> list[str]:
    """Return the owners on or between cycles: those that remain when sources and sinks are taken away for good."""
    rest = {k: set(v) for k, v in edges.items()}
    users: dict[str, set[str]] = {}
    for k, sources in rest.items():
        for s in sources:
            users.setdefault(s, set()).add(k)
    for inward, outward in ((rest, users), (users, rest)):
        ready = [k for k in edges if not inward.get(k)]
        gone = set(ready)
        while ready:
            k = ready.pop()
            for u in outward.pop(k, set()):
                if u in gone or u not in inward:
                    continue
                inward[u].discard(k)
                if not inward[u]:
                    gone.add(u)
                    ready.append(u)
        for k in gone:
            inward.pop(k, None)
            outward.pop(k, None)
        for k, v in inward.items():
            inward[k] = v - gone
    return [k for k in edges if rest.get(k)]


def _region(names: Sequence[str], bound: Mapping[str, BoundNode]) -> Region:
    inside = set(names)
    members = [bound[n] for n in names]
    sources = {r: None for b in members for r in b.node.inputs if r.node not in inside}
    controls = {c: None for b in members for c in b.node.controls if c not in inside}
    return Region(f"control flow of {names[0]}", members, tuple(sources), tuple(controls))
