"""Where each node of a graph with V1 control flow is: in which loops, and on which branches.

A Switch puts what reads its sides on a branch, a Merge of both sides ends it; Enter leads into a loop's frame, Exit out
of it. Branches are told per frame: inside a loop they begin anew, and the frame itself is on the branches of what
enters it.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterable

from coldframe.graph.ir import Graph, Node
from coldframe.graph.names import TensorRef
from coldframe.graph.signatures import signature
from coldframe.graph.traverse import topological
from coldframe.ops import Op, table
from coldframe.records import dataclass

Frames = tuple[str, ...]
Branch = tuple[TensorRef, int]  # the predicate, and the switch's output


class Unraisable(Exception):  # noqa: N818 - a signal between passes, never seen by users
    """What this part of the graph does cannot be said with functions; the message says why."""


@dataclass(frozen=True, slots=True)
class Where:
    """The place of a node.

    Attributes:
        frames: the frames it is in, outermost first.
        branches: the branches it is on within the innermost frame.
    """

    frames: Frames = ()
    branches: frozenset[Branch] = frozenset()


OUTSIDE = Where()


class Flow:
    """A graph with the place of each of its nodes.

    Args:
        graph: the nodes that run, all of them.
        fed: tensors that are given: what makes them does not count.
        wanted: names of the nodes that are fetched, or are to run.

    Attributes:
        order: the nodes, each after what it reads, but for the edges that lead back in loops.
        position: where in `order` a node is.
        where: the places.
        entered: by frame: the place that it was entered from.
        readers: by the node's name: the nodes that read it or wait for it.
    """

    def __init__(self, graph: Graph, fed: Collection[TensorRef], wanted: Iterable[str]) -> None:
        ops = table()
        self.graph, self.fed, self.wanted = graph, fed, frozenset(wanted)
        self._rows: dict[str, Op] = {op: ops[op] for op in {n.op for n in graph} if op in ops}
        controls = {op: row.control for op, row in self._rows.items() if row.control}
        self._controls = {n.name: controls[n.op] for n in graph if n.op in controls}  # asked for over and over
        rounds = {name for name, control in self._controls.items() if control == "next"}
        self.order = topological(graph.nodes, fed=fed, ignore=lambda _, r: r.node in rounds)
        self.position = {n.name: k for k, n in enumerate(self.order)}
        self.where: dict[str, Where] = {}
        self.entered: dict[Frames, Where] = {}
        self.readers: dict[str, list[Node]] = {}
        switches = {name for name, control in self._controls.items() if control == "switch"}
        inside: set[str] = set()  # what is in a frame or on a branch, or leads there
        for n in self.order:
            sources = dict.fromkeys(self.sources(n))
            for s in sources:
                self.readers.setdefault(s, []).append(n)
            if n.name not in self._controls and inside.isdisjoint(sources):  # most nodes
                self.where[n.name] = OUTSIDE
                continue
            place = self._place(n)
            self.where[n.name] = place = OUTSIDE if place == OUTSIDE else place
            if place is not OUTSIDE or n.name in switches:
                inside.add(n.name)

    @functools.cached_property
    def read(self) -> frozenset[TensorRef]:
        """All tensors that are read."""
        return frozenset(r for n in self.graph for r in n.inputs)

    def row(self, name: str) -> Op | None:
        """Return the op of a node; None for a tensor that is given, and for ops that the table lacks."""
        node = self.graph.nodes.get(name)
        return None if node is None else self._rows.get(node.op)

    def control(self, name: str) -> str:
        """Return what a node is to V1 control flow."""
        return self._controls.get(name, "")

    def inputs(self, node: Node) -> list[TensorRef]:
        """Return the inputs that are not given from outside."""
        nodes, fed = self.graph.nodes, self.fed
        return [r for r in node.inputs if r[0] in nodes and r not in fed]

    def sources(self, node: Node) -> list[str]:
        """Return the nodes that `node` reads or waits for."""
        nodes, fed = self.graph.nodes, self.fed
        found = [r[0] for r in node.inputs if r[0] in nodes and r not in fed]
        return found + [c for c in node.controls if c in nodes] if node.controls else found

    def loops(self, switch: str) -> bool:
        """Whether a Switch is one of a loop's."""
        return self.control(self.graph.nodes[switch].inputs[1].node) == "loopcond"

    def merges_rounds(self, merge: Node) -> bool:
        """Whether a Merge is one of a loop's."""
        return any(self.control(r.node) == "next" for r in merge.inputs)

    def of(self, ref: TensorRef) -> Where:
        """Return the place of a tensor: for a Switch's output, that of its side."""
        w = self.where.get(ref.node, OUTSIDE)
        if self._controls.get(ref.node) != "switch" or self.loops(ref.node):
            return w
        return Where(w.frames, w.branches | {(self.predicate(ref.node), ref.slot)})

    def predicate(self, switch: str) -> TensorRef:
        """Return the tensor that decides which output of a Switch is alive; copies of it are the same."""
        ref = self.graph.nodes[switch].inputs[1]
        while ref not in self.fed:
            row = self.row(ref.node)
            if row is None or row.role != "identity" or self.graph.nodes[ref.node].controls:
                break
            ref = self.graph.nodes[ref.node].inputs[0]
        return ref

    def _place(self, node: Node) -> Where:
        control = self.control(node.name)
        merges = control == "merge"
        found = [self.of(r) for r in self.inputs(node) if not (merges and self.control(r.node) == "next")]
        if merges and not self.merges_rounds(node):
            return self._merged(found)
        found += [self.where[c] for c in node.controls if c in self.where]
        if control == "trigger":
            return self._merged(found)
        place = self._together(found)
        if control == "enter":
            frames = (*place.frames, _text(node.attrs.get("frame_name")))
            before = self.entered.get(frames, Where(place.frames))
            self.entered[frames] = Where(place.frames, before.branches | place.branches)
            return Where(frames)
        if control == "exit":
            if not place.frames:
                raise Unraisable(f"`{node.name}` leaves a loop that nothing enters")
            return self.entered[place.frames]
        return place

    def _together(self, found: Iterable[Where]) -> Where:
        """Return the place of what needs tensors from several places: the innermost, on all the branches."""
        found = list(found)
        if all(w is found[0] for w in found):  # of most nodes
            return found[0] if found else OUTSIDE
        inner = max((w.frames for w in found), key=len, default=())
        branches: frozenset[Branch] = frozenset()
        for w in found:
            if w.frames == inner:
                branches |= w.branches
            elif w.frames != inner[: len(w.frames)]:
                raise Unraisable("a node reads tensors of two loops")
            elif w.branches:  # read from inside a loop without being entered
                frames = inner[: len(w.frames) + 1]
                before = self.entered[frames]
                self.entered[frames] = Where(before.frames, before.branches | w.branches)
        return Where(inner, branches)

    def _merged(self, found: list[Where]) -> Where:
        inner = max((w.frames for w in found), key=len, default=())
        sides = [w.branches if w.frames == inner else frozenset() for w in found]
        return Where(inner, frozenset.intersection(*sides) if sides else frozenset())

    def reaches(self, starts: Collection[str], ends: Collection[str], around: Collection[str] = ()) -> bool:
        """Whether something that reads `starts` is among `ends`, or leads there, without going through `around`."""
        last = max((self.position[e] for e in ends), default=-1)
        seen: set[str] = set()
        stack = [r.name for s in starts for r in self.readers.get(s, ()) if r.name not in around]
        while stack:
            name = stack.pop()
            if name in ends:
                return True
            if name not in seen and self.position[name] < last and self.control(name) != "next":
                seen.add(name)
                stack += [r.name for r in self.readers.get(name, ()) if r.name not in around]
        return False

    def refers(self, name: str) -> bool:
        """Whether a variable, not its value, flows through a control-flow op."""
        row = self.row(name)
        return row is not None and any(a.is_ref for a in signature(row.name).outputs)


def _text(value: object) -> str:
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else str(value)
