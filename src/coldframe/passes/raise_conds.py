"""Branches of the first generation as an If.

::

    x ─► Switch(p) ─┬─ false ─► ... ─► Merge        Merge = If(p, x, then_branch=..., else_branch=...)
                    └─ true ──► ... ─►

The Merges of one predicate, in one place, are one If, as long as none depends on another. Where one does, such as in a
gradient, it is a second If; what both need of a branch is computed in both.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from coldframe.dtypes import int32
from coldframe.graph.ir import FunctionArg, Node
from coldframe.graph.names import TensorRef
from coldframe.graph.values import AttrValue, FuncRef, TensorValue, base_type
from coldframe.passes.carve import Body, Captures, dtype_of, function, role, runs_freely
from coldframe.passes.flow_contexts import Flow, Unraisable, Where
from coldframe.passes.library import Library
from coldframe.records import dataclass


@dataclass(slots=True, eq=False)
class Joint:
    """Where both sides of a predicate meet: a Merge, or a ControlTrigger that waits for what they do.

    Attributes:
        node: the Merge.
        sides: by branch: what it takes; None of a trigger.
        inside: by branch: the nodes on it.
        waits: by branch: what it waits for there; where that is not run, it runs all the same.
    """

    node: Node
    sides: tuple[TensorRef, TensorRef] | None
    inside: tuple[set[str], set[str]]
    waits: tuple[list[str], list[str]] = dataclasses.field(default_factory=lambda: ([], []))


@dataclass(slots=True, eq=False)
class Cond:
    """What one predicate decides in one place."""

    pred: TensorRef
    where: Where
    joints: list[Joint]


def find_conds(flow: Flow) -> tuple[list[Cond], dict[str, str]]:
    """Return the conds with no other loops and branches in them, and by Merge why it is in none of them."""
    found: dict[tuple[TensorRef, Where], Cond] = {}
    refused: dict[str, str] = {}
    for node in flow.order:
        control = flow.control(node.name)
        if control not in ("merge", "trigger"):
            continue
        waits = _pending(flow, node)
        if waits is None and (control != "merge" or flow.merges_rounds(node)):
            continue
        try:
            pred, joint = _merge(flow, node) if waits is None else (waits, _trigger(flow, node, waits))
        except Unraisable as e:
            refused[node.name] = str(e)
            continue
        place = flow.where[node.name]
        found.setdefault((pred, place), Cond(pred, place, [])).joints.append(joint)
    return [part for cond in found.values() for part in _parts(flow, cond)], refused


def _merge(flow: Flow, node: Node) -> tuple[TensorRef, Joint]:
    place = flow.where[node.name]
    if len(node.inputs) != 2:
        raise Unraisable("it merges more than two branches")
    pairs = []
    for r in node.inputs:
        more = flow.of(r).branches - place.branches
        if flow.of(r).frames != place.frames or len(more) != 1:
            raise Unraisable(f"`{r}` is not on one branch more than `{node.name}`")
        pairs.append(next(iter(more)))
    (pred, first), (other, second) = pairs
    if pred != other or {first, second} != {0, 1}:
        raise Unraisable(f"`{node.name}` does not merge the two sides of one predicate")
    sides = (node.inputs[first], node.inputs[second])  # `first` is 0 where the first input is the false side
    waits = _waits(flow, node, pred)
    insides = tuple(_inside(flow, pred, b, place, [sides[b].node, *waits[b]]) for b in (0, 1))
    return pred, Joint(node, sides, (insides[0], insides[1]), waits)


def _waits(flow: Flow, node: Node, pred: TensorRef, others: bool = False) -> tuple[list[str], list[str]]:
    """Return what `node` waits for on each branch of `pred`; on another's branch it may only where `others`."""
    place = flow.where[node.name]
    waits: tuple[list[str], list[str]] = ([], [])
    for c in node.controls:
        more = flow.where[c].branches - place.branches
        if not more:
            continue
        other, side = next(iter(more))
        if len(more) > 1 or flow.where[c].frames != place.frames or (other != pred and not others):
            raise Unraisable(f"`{c}` is not on one branch more than `{node.name}`")
        if other == pred:
            waits[side].append(c)
    return waits


def _pending(flow: Flow, node: Node) -> TensorRef | None:
    """Return the predicate of a branch that a trigger waits for nodes of; None of a node that is no trigger."""
    if flow.control(node.name) != "trigger":
        return None
    place = flow.where[node.name]
    for c in node.controls:
        for pred, _ in flow.where[c].branches - place.branches:
            return pred
    return None


def _trigger(flow: Flow, node: Node, pred: TensorRef) -> Joint:
    place, waits = flow.where[node.name], _waits(flow, node, pred, others=True)
    insides = tuple(_inside(flow, pred, b, place, waits[b]) for b in (0, 1))
    return Joint(node, None, (insides[0], insides[1]), waits)


def _inside(flow: Flow, pred: TensorRef, side: int, place: Where, starts: Iterable[str]) -> set[str]:
    """Return the nodes on one branch that `starts` need."""
    branch = Where(place.frames, place.branches | {(pred, side)})
    found: set[str] = set()
    stack = list(starts)
    while stack:
        name = stack.pop()
        if name in found or flow.where.get(name) != branch:
            continue
        if flow.control(name) not in ("", "trigger") or _pending(flow, flow.graph.nodes[name]) is not None:
            raise Unraisable(f"`{name}` on one of its branches cannot be raised")
        found.add(name)
        stack += flow.sources(flow.graph.nodes[name])
    return found


def _parts(flow: Flow, cond: Cond) -> list[Cond]:
    """Return the cond in parts, such that within a part nothing depends on another Merge of it."""
    names = {j.node.name for j in cond.joints}
    if len(names) == 1:
        return [cond]
    # A Merge that has nothing on its branches may come before all that the others have on theirs.
    inside = {n for j in cond.joints for s in j.inside for n in s}
    return _levels(flow, cond, min(flow.position[n] for n in names | inside))


def _levels(flow: Flow, cond: Cond, first: int) -> list[Cond]:
    names = {j.node.name for j in cond.joints}
    last = max(flow.position[n] for n in names)
    depth: dict[str, int] = {}
    for node in flow.order[first : last + 1]:
        level = max((depth.get(s, 0) for s in flow.sources(node)), default=0)
        depth[node.name] = level + (node.name in names)
    parts: dict[int, list[Joint]] = {}
    for j in cond.joints:
        parts.setdefault(depth[j.node.name], []).append(j)
    return [Cond(cond.pred, cond.where, joints) for joints in parts.values()]


def raise_cond(flow: Flow, cond: Cond, others: Sequence[Cond], library: Library, name: str) -> list[Node]:
    """Return the If, called `name`, and what takes the places of the Merges; its functions go to `library`.

    Args:
        flow: the graph.
        cond: what is raised.
        others: all that are raised with it.
        library: takes the functions.
        name: of the new node.

    Raises:
        Unraisable: why it must stay as it is.
    """
    return _Raising(flow, cond, others).run(library, name)


class _Raising:
    def __init__(self, flow: Flow, cond: Cond, others: Sequence[Cond]) -> None:
        self._flow, self._cond = flow, cond
        self._nodes = flow.graph.nodes
        self._inside = _inside_of(cond)
        self._siblings = [
            _inside_of(c) for c in others if c is not cond and c.pred == cond.pred and c.where == cond.where
        ]
        self._captures = Captures(flow)
        self._merges = [j for j in cond.joints if j.sides is not None]
        self._counted = [
            j for j in self._merges if TensorRef(j.node.name, 1) in flow.read or j.node.name in flow.wanted
        ]

    def run(self, library: Library, name: str) -> list[Node]:
        self._check()
        types = [base_type(j.node.attrs["T"]) for j in self._merges]
        bodies = [self._body(b) for b in (0, 1)]
        returned = [body.returns([j.sides[b] for j in self._merges if j.sides]) for b, body in enumerate(bodies)]
        for b, body in enumerate(bodies):
            body.musts(self._waits(b))
        args = self._captures.arguments()
        types += [int32] * len(self._counted)
        parts = zip(("else", "then"), bodies, returned, strict=True)
        functions = [self._function(library, f"{name}_{w}", args, types, r, body) for w, body, r in parts]
        attrs: dict[str, AttrValue] = {
            "Tcond": dtype_of(self._flow, self._cond.pred), "Tin": tuple(self._captures.types), "Tout": tuple(types),
            "else_branch": functions[0], "then_branch": functions[1],
        }  # fmt: skip
        made = Node(name, role("if"), [self._cond.pred, *self._captures.sources], list(self._captures.controls), attrs)
        return [made, *(self._ended(j, made) for j in self._cond.joints)]

    def _waits(self, side: int) -> list[str]:
        return [c for j in self._cond.joints for c in j.waits[side]]

    def _function(
        self, library: Library, base: str, args: Sequence[FunctionArg], types: Sequence[Any],
        returned: Sequence[TensorRef], body: Body,
    ) -> FuncRef:  # fmt: skip
        side = int(base.endswith("then"))
        graph = body.graph(library)
        refs = list(returned)
        for j in self._counted:
            assert j.sides is not None
            at = np.array(j.node.inputs.index(j.sides[side]), np.int32)
            number = Node(graph.unique_name(f"{j.node.name}/taken"), role("const"), attrs={"dtype": int32})
            number.attrs["value"] = TensorValue.of(at)
            refs.append(graph.add(number).out())
        return FuncRef(library.add(base, lambda n: function(n, args, types, refs, graph, self._waits(side))).name, {})

    def _check(self) -> None:
        """Refuse what would then run more often or less often."""
        names = {j.node.name for j in self._cond.joints}
        for side in (0, 1):
            for name in self._inside[side]:
                if runs_freely(self._flow, name):
                    continue
                readers = {r.name for r in self._flow.readers.get(name, ())} - names - self._inside[side]
                if readers or name in self._flow.wanted or any(name in s[side] for s in self._siblings):
                    seen = f"by `{min(readers)}`" if readers else "for itself"
                    raise Unraisable(f"`{name}`, on one of its branches, is needed {seen}")
        for j in self._cond.joints:
            if self._flow.refers(j.node.name):
                raise Unraisable(f"a reference to a variable flows through `{j.node.name}`")
        inside = self._inside[0] | self._inside[1]
        if self._flow.reaches(names, inside, inside | names):
            raise Unraisable("one of its branches depends on what it gives")

    def _body(self, side: int) -> Body:
        def stands(ref: TensorRef) -> TensorRef:
            return self._stands(ref, side)

        inside = self._inside[side]
        return Body(self._flow, self._captures, inside=inside.__contains__, own=self._is_own, stands=stands, given={})

    def _is_own(self, name: str) -> bool:
        """Whether a node is one of the Switches that are taken apart."""
        if self._flow.control(name) != "switch" or self._flow.loops(name):
            return False
        place, mine = self._flow.where[name], self._cond.where
        same = self._flow.predicate(name) == self._cond.pred
        return same and place.frames == mine.frames and place.branches <= mine.branches

    def _stands(self, ref: TensorRef, side: int) -> TensorRef:
        while ref not in self._flow.fed and self._is_own(ref.node):
            switch = self._nodes[ref.node]
            if ref.slot != side:
                raise Unraisable(f"`{ref}` is read on the other branch")
            if self._flow.refers(switch.name):
                raise Unraisable(f"a reference to a variable flows through `{switch.name}`")
            for c in switch.controls:
                self._captures.controls[c] = None
            ref = switch.inputs[0]
        if ref.node not in self._inside[side] and ref not in self._flow.fed:
            place, mine = self._flow.of(ref), self._cond.where
            if place.frames == mine.frames and not place.branches <= mine.branches:
                raise Unraisable(f"`{ref}`, of another branch, is read on one of its branches")
        return ref

    def _ended(self, joint: Joint, made: Node) -> Node:
        """Return what takes the place of a Merge, or of a trigger."""
        old = joint.node
        gone = {*joint.waits[0], *joint.waits[1]}
        controls = [c for c in old.controls if c not in gone]
        if joint.sides is None:
            new = old.copy()
            new.controls = [*controls, made.name]
            return new
        t = base_type(old.attrs["T"])
        inputs = [made.out(self._merges.index(joint))]
        if joint not in self._counted:
            return Node(old.name, role("identity"), inputs, controls, {"T": t}, old.device)
        inputs.append(made.out(len(self._merges) + self._counted.index(joint)))
        return Node(old.name, role("identity_n"), inputs, controls, {"T": (t, int32)}, old.device)


def _inside_of(cond: Cond) -> tuple[set[str], set[str]]:
    return set().union(*(j.inside[0] for j in cond.joints)), set().union(*(j.inside[1] for j in cond.joints))
