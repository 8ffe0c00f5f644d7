"""A loop of the first generation as a While.

::

    Enter ─► Merge ─► Switch(LoopCond) ─┬► body ─► NextIteration ─► the Merge again
                │                       └► Exit
                └► condition ─► LoopCond

The Merges are the loop variables. What leads from them to the LoopCond is the condition, what leads from the Switches
to the NextIterations is the body; what Enter brings in for all iterations, and whatever else comes from outside,
becomes a loop variable that the body hands on as it is.
"""

from __future__ import annotations

from collections.abc import Mapping

from coldframe.graph.ir import FunctionArg, Node
from coldframe.graph.names import TensorRef
from coldframe.graph.values import AttrValue, FuncRef, base_type
from coldframe.passes.carve import Body, Captures, dtype_of, function, role, runs_freely
from coldframe.passes.flow_contexts import Flow, Frames, Unraisable
from coldframe.passes.library import Library
from coldframe.records import dataclass


@dataclass(slots=True, eq=False)
class Loop:
    """The nodes of one frame.

    Attributes:
        frames: the frame, and those around it.
        members: all its nodes.
        by: the control-flow ops among them, by kind.
        plain: the others.
    """

    frames: Frames
    members: set[str]
    by: Mapping[str, list[Node]]
    plain: list[Node]


def find_loops(flow: Flow) -> list[Loop]:
    """Return the loops that have no other loop and no branch in them."""
    nodes: dict[Frames, list[Node]] = {frames: [] for frames in flow.entered}
    for n in flow.order:
        frames = flow.where[n.name].frames
        if flow.control(n.name) == "exit":  # its place is where it leads to
            frames = flow.where[n.inputs[0].node].frames
        if frames:
            nodes[frames].append(n)
    outer = {frames[:k] for frames in nodes for k in range(len(frames))}
    return [made for frames, own in nodes.items() if frames not in outer and (made := _loop(flow, frames, own))]


def _loop(flow: Flow, frames: Frames, own: list[Node]) -> Loop | None:
    kinds = ("enter", "merge", "switch", "exit", "next", "loopcond")
    by: dict[str, list[Node]] = {kind: [] for kind in kinds}
    plain: list[Node] = []
    for n in own:
        control = flow.control(n.name)
        if (control == "merge" and not flow.merges_rounds(n)) or (control == "switch" and not flow.loops(n.name)):
            return None
        by.get(control, plain).append(n)
    return Loop(frames, {n.name for n in own}, by, plain)


def raise_loop(flow: Flow, loop: Loop, library: Library, name: str) -> list[Node]:
    """Return the While, called `name`, and what takes the places of the loop's Exits; its functions go to `library`.

    Raises:
        Unraisable: why the loop must stay as it is.
    """
    return _Raising(flow, loop).run(library, name)


class _Raising:
    def __init__(self, flow: Flow, loop: Loop) -> None:
        self._flow, self._loop, self._by = flow, loop, loop.by
        self._nodes = flow.graph.nodes
        self._plain = {n.name for n in loop.plain}
        self._captures = Captures(flow)
        self._starts: list[TensorRef] = []
        self._next: list[TensorRef] = []
        self._musts: list[str] = []

    def run(self, library: Library, name: str) -> list[Node]:
        self._check()
        merges = self._by["merge"]
        for merge in merges:
            self._variable(merge)
        given = {m.out(): TensorRef(self._captures.fresh()) for m in merges}
        types = [base_type(m.attrs["T"]) for m in merges]
        [loopcond] = self._by["loopcond"]
        test, body = self._body(given), self._body(given)
        tested = test.returns([loopcond.inputs[0]])
        test_musts = test.kept(loopcond.controls)
        test.musts(test_musts)
        stepped = body.returns(self._next)
        body_musts = body.kept(self._musts)
        body.musts(body_musts)
        self._cover(test, body)
        args = [FunctionArg(given[m.out()].node, t) for m, t in zip(merges, types, strict=True)]
        args += self._captures.arguments()
        types += self._captures.types
        passed = tuple(TensorRef(a.name) for a in self._captures.arguments())
        bools = [dtype_of(self._flow, loopcond.inputs[0])]
        condition = library.add(
            f"{name}_cond",
            lambda n: function(n, args, bools, tested, test.graph(library), test_musts),
        )
        step = library.add(
            f"{name}_body",
            lambda n: function(n, args, types, (*stepped, *passed), body.graph(library), body_musts),
        )
        attrs: dict[str, AttrValue] = {
            "T": tuple(types),
            "cond": FuncRef(condition.name, {}),
            "body": FuncRef(step.name, {}),
        }
        made = Node(name, role("while"), [*self._starts, *self._captures.sources], list(self._captures.controls), attrs)
        return [made, *(self._exit(e, made, merges) for e in self._by["exit"])]

    def _check(self) -> None:
        """Refuse what does not have the form of a loop."""
        if len(self._by["loopcond"]) != 1 or not self._by["merge"]:
            raise Unraisable("it has no single condition")
        ends = {e.name for e in self._by["exit"]}
        seen = (self._loop.members - ends) & self._flow.wanted
        if seen:
            raise Unraisable(f"`{min(seen)}`, inside of it, is fetched")
        given = {r.node for r in self._flow.fed} & self._loop.members
        if given:
            raise Unraisable(f"`{min(given)}`, inside of it, is fed")
        refs = [n.name for kind in self._by.values() for n in kind if self._flow.refers(n.name)]
        if refs:
            raise Unraisable(f"a reference to a variable flows through `{refs[0]}`")
        for node in (*self._by["merge"], *self._by["switch"], *self._by["exit"]):
            if any(c in self._loop.members for c in node.controls):
                raise Unraisable(f"`{node.name}` waits for other nodes of it")
        if self._flow.reaches(ends, {n.name for n in self._by["enter"]}):
            raise Unraisable("something that enters it depends on what leaves it")

    def _variable(self, merge: Node) -> None:
        """Note what a loop variable is before the first iteration, and after each."""
        found = {self._flow.control(r.node): self._nodes[r.node] for r in merge.inputs}
        if len(merge.inputs) != 2 or found.keys() != {"enter", "next"}:
            raise Unraisable(f"`{merge.name}` does not merge what enters and what the last iteration made")
        self._starts.append(found["enter"].inputs[0])
        self._next.append(found["next"].inputs[0])
        self._musts += found["next"].controls
        for c in (*merge.controls, *found["enter"].controls):
            self._captures.controls[c] = None

    def _body(self, given: Mapping[TensorRef, TensorRef]) -> Body:
        return Body(
            self._flow, self._captures,
            inside=self._plain.__contains__, own=self._loop.members.__contains__, stands=self._stands, given=given,
        )  # fmt: skip

    def _stands(self, ref: TensorRef) -> TensorRef:
        """Return what a tensor is within an iteration: an output of a Merge or a plain node, or one from outside."""
        while ref.node in self._loop.members and ref.node not in self._plain:
            node, control = self._nodes[ref.node], self._flow.control(ref.node)
            if control == "merge" and ref.slot == 0:
                return ref
            if (control == "switch" and ref.slot == 1) or control == "loopcond":
                ref = node.inputs[0]
            elif control == "enter" and node.attrs.get("is_constant"):
                for c in node.controls:
                    self._captures.controls[c] = None
                ref = node.inputs[0]
            else:
                raise Unraisable(f"`{ref}` is read in it")
        return ref

    def _cover(self, test: Body, body: Body) -> None:
        """See to it that all nodes run as often as before."""
        twice = [n for n in test.nodes.keys() & body.nodes.keys() if not runs_freely(self._flow, n)]
        if twice:
            raise Unraisable(f"`{min(twice)}` belongs to the condition and to the body")
        left = self._plain - test.nodes.keys() - body.nodes.keys()
        if left:
            raise Unraisable(f"`{min(left)}` has no part in the condition nor in the body")

    def _exit(self, node: Node, made: Node, merges: list[Node]) -> Node:
        switch = self._nodes[node.inputs[0].node]
        if self._flow.control(switch.name) != "switch" or node.inputs[0].slot != 0:
            raise Unraisable(f"`{node.name}` does not take what a loop variable ends with")
        ref = switch.inputs[0]
        at = next((k for k, m in enumerate(merges) if m.out() == ref), None)
        if at is None:
            raise Unraisable(f"`{node.name}` does not take what a loop variable ends with")
        attrs: dict[str, AttrValue] = {"T": base_type(node.attrs["T"])}
        return Node(node.name, role("identity"), [made.out(at)], list(node.controls), attrs, node.device)
