"""Running V1 control flow as TensorFlow does: dataflow over tagged tensors, some of them dead.

A tensor belongs to a frame (a running loop) and an iteration. A node runs when all its inputs of one frame and
iteration are there; where one is dead it does not run and its outputs are dead. A Merge runs on its first live input.
Every node runs on numpy. Tensors from outside the region, constants above all, count as present in every frame.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from coldframe.engines.base import BoundNode
from coldframe.engines.reference import execute
from coldframe.errors import ExecutionError, GraphError
from coldframe.graph.names import TensorRef
from coldframe.graph.traverse import topological
from coldframe.ops.state import Handle
from coldframe.records import dataclass
from coldframe.runtime.regions import DEAD, Region
from coldframe.runtime.state import RunState


@dataclass(slots=True, eq=False)
class _Waiting:
    """What has arrived for one node in one frame and iteration."""

    left: int
    inputs: list[Any]
    dead: bool = False
    dead_inputs: int = 0
    live: int = -1  # a Merge's first live input
    done: bool = False


@dataclass(slots=True, eq=False)
class _Frame:
    """A running loop, or the region itself."""

    parent: _Frame | None
    parent_iteration: int
    iterations: list[dict[str, _Waiting]] = dataclasses.field(default_factory=lambda: [{}])
    children: dict[tuple[Any, int], _Frame] = dataclasses.field(default_factory=dict)
    invariants: list[tuple[BoundNode, Any]] = dataclasses.field(default_factory=list)
    dead_exits: dict[str, BoundNode] = dataclasses.field(default_factory=dict)
    live_exits: set[str] = dataclasses.field(default_factory=set)


class RegionPlan:
    """A region with its edges looked up once."""

    def __init__(self, region: Region) -> None:
        self.region = region
        _require_ends(region)
        inside = {b.name for b in region.members}
        self.readers: dict[TensorRef, list[tuple[BoundNode, int]]] = {}
        self.followers: dict[str, list[BoundNode]] = {}
        self.counts: dict[str, int] = {}
        self.outside: dict[str, list[tuple[int, TensorRef]]] = {}
        for b in region.members:
            for i, r in enumerate(b.node.inputs):
                if r.node in inside:
                    self.readers.setdefault(r, []).append((b, i))
                else:
                    self.outside.setdefault(b.name, []).append((i, r))
            for c in b.node.controls:
                if c in inside:
                    self.followers.setdefault(c, []).append(b)
            data = sum(r.node in inside for r in b.node.inputs)
            controls = sum(c in inside for c in b.node.controls)
            # A Merge waits for one input only; that one is counted when it arrives.
            self.counts[b.name] = controls if b.call.op.control == "merge" else data + controls
        self.starts = [
            b
            for b in region.members
            if not self.counts[b.name] and (b.call.op.control != "merge" or b.name in self.outside)
        ]

    def run(self, values: Mapping[TensorRef, Any], wanted: set[TensorRef], state: RunState) -> dict[TensorRef, Any]:
        """Run the region over tensors from outside; return the `wanted` ones it makes, or `DEAD` for each."""
        return _Run(self, values, wanted, state).run()


def _require_ends(region: Region) -> None:
    """Refuse a loop without a Switch on its way round: nothing in it can die, so that it would never end.

    Raises:
        GraphError: there is one; the message names its nodes.
    """
    try:
        topological({b.name: b.node for b in region.members if b.call.op.control != "switch"})
    except GraphError as e:
        raise GraphError("a loop never ends, since no Switch leaves it,", where=e.where) from e


class _Run:
    """One run of a region."""

    def __init__(
        self, plan: RegionPlan, values: Mapping[TensorRef, Any], wanted: set[TensorRef], state: RunState
    ) -> None:
        self._plan, self._values, self._wanted, self._state = plan, values, wanted, state
        self._root = _Frame(None, 0)
        self._frames = [self._root]
        self._queue: collections.deque[tuple[BoundNode, _Frame, int]] = collections.deque()
        self._made: dict[TensorRef, Any] = dict.fromkeys(wanted, DEAD)

    def run(self) -> dict[TensorRef, Any]:
        for b in self._plan.starts:
            self._waiting(b, self._root, 0)
            self._queue.append((b, self._root, 0))
        while True:
            while self._queue:
                self._fire(*self._queue.popleft())
            if not self._release_dead_exits():
                return self._made

    # --- arriving -----------------------------------------------------------------------------------------------
    def _waiting(self, b: BoundNode, frame: _Frame, iteration: int) -> _Waiting:
        table = frame.iterations[iteration]
        w = table.get(b.name)
        if w is None:
            w = table[b.name] = _Waiting(self._plan.counts[b.name], [None] * len(b.node.inputs))
            for i, r in self._plan.outside.get(b.name, ()):
                w.inputs[i] = self._values[r]
                w.live = i if w.live < 0 else w.live
        return w

    def _arrive(self, b: BoundNode, at: int, value: Any, frame: _Frame, iteration: int, source: BoundNode) -> None:
        w = self._waiting(b, frame, iteration)
        if b.call.op.control == "merge":
            if value is DEAD:
                w.dead_inputs += 1
                w.dead = w.dead_inputs == len(w.inputs) or source.call.op.control == "enter"
            elif w.live < 0:
                w.inputs[at], w.live = value, at
        else:
            w.inputs[at] = value
            w.dead = w.dead or value is DEAD
            w.left -= 1
        self._check(b, w, frame, iteration)

    def _check(self, b: BoundNode, w: _Waiting, frame: _Frame, iteration: int) -> None:
        if w.done or w.left:
            return
        if b.call.op.control == "merge" and w.live < 0 and not w.dead:
            return
        w.done = True
        self._queue.append((b, frame, iteration))

    def _send(self, b: BoundNode, outputs: list[Any], frame: _Frame, iteration: int, *, dead: bool) -> None:
        for slot, value in enumerate(outputs):
            ref = TensorRef(b.name, slot)
            if frame is self._root and ref in self._wanted:
                self._made[ref] = value
            for reader, at in self._plan.readers.get(ref, ()):
                self._arrive(reader, at, value, frame, iteration, b)
        for follower in self._plan.followers.get(b.name, ()):
            w = self._waiting(follower, frame, iteration)
            w.left -= 1
            if follower.call.op.control != "merge":
                w.dead = w.dead or dead
            self._check(follower, w, frame, iteration)

    # --- running ------------------------------------------------------------------------------------------------
    def _fire(self, b: BoundNode, frame: _Frame, iteration: int) -> None:
        w = frame.iterations[iteration].pop(b.name)
        inputs, dead = w.inputs, w.dead and w.live < 0 if b.call.op.control == "merge" else w.dead
        w.inputs = []
        act = getattr(self, f"_{b.call.op.control or 'plain'}")
        act(b, inputs, w, frame, iteration, dead)

    def _plain(self, b: BoundNode, inputs: list[Any], w: _Waiting, frame: _Frame, iteration: int, dead: bool) -> None:
        if dead:
            outputs: list[Any] = [DEAD] * len(b.call.outputs)
        else:
            self._state.node = b.name
            for i in b.deref:
                if isinstance(inputs[i], Handle):
                    inputs[i] = self._state.read(inputs[i])
            outputs = execute(b, inputs, self._state)
        self._send(b, outputs, frame, iteration, dead=dead)

    _loopcond = _plain

    def _trigger(self, b: BoundNode, inputs: list[Any], w: _Waiting, frame: _Frame, iteration: int, dead: bool) -> None:
        self._send(b, [], frame, iteration, dead=False)

    def _switch(self, b: BoundNode, inputs: list[Any], w: _Waiting, frame: _Frame, iteration: int, dead: bool) -> None:
        outputs = [DEAD] * len(b.call.outputs)
        if not dead:
            data, pred = inputs
            if isinstance(data, Handle) and 0 in b.deref:
                data = self._state.read(data)
            if isinstance(pred, Handle):
                pred = self._state.read(pred)
            if np.ndim(pred):
                raise ExecutionError(
                    "a switch needs a scalar predicate",
                    where=f"at node `{b.name}`",
                    found=f"shape {list(np.shape(pred))}",
                )
            side = int(pred)
            outputs[side if 0 <= side < len(outputs) else -1] = data
        self._send(b, outputs, frame, iteration, dead=dead)

    def _merge(self, b: BoundNode, inputs: list[Any], w: _Waiting, frame: _Frame, iteration: int, dead: bool) -> None:
        live = w.live
        outputs = [DEAD, DEAD] if dead else [inputs[live], np.array(live, np.int32)]
        self._send(b, outputs, frame, iteration, dead=dead)

    def _enter(self, b: BoundNode, inputs: list[Any], w: _Waiting, frame: _Frame, iteration: int, dead: bool) -> None:
        key = (b.node.attrs.get("frame_name"), iteration)
        child = frame.children.get(key)
        if child is None:
            child = frame.children[key] = _Frame(frame, iteration)
            self._frames.append(child)
        value = DEAD if dead else inputs[0]
        if b.node.attrs.get("is_constant"):
            child.invariants.append((b, value))
            for k in range(len(child.iterations)):
                self._send(b, [value], child, k, dead=dead)
        else:
            self._send(b, [value], child, 0, dead=dead)

    def _exit(self, b: BoundNode, inputs: list[Any], w: _Waiting, frame: _Frame, iteration: int, dead: bool) -> None:
        if frame.parent is None:
            raise GraphError(f"node `{b.name}` ({b.call.op.name}) leaves a loop that nothing enters")
        if dead:
            frame.dead_exits[b.name] = b
            return
        frame.live_exits.add(b.name)
        self._send(b, [inputs[0]], frame.parent, frame.parent_iteration, dead=False)

    def _next(self, b: BoundNode, inputs: list[Any], w: _Waiting, frame: _Frame, iteration: int, dead: bool) -> None:
        if dead:
            return  # the loop ends here
        if iteration + 1 == len(frame.iterations):
            frame.iterations.append({})
            for source, value in frame.invariants:
                self._send(source, [value], frame, iteration + 1, dead=value is DEAD)
        self._send(b, [inputs[0]], frame, iteration + 1, dead=False)

    def _release_dead_exits(self) -> bool:
        """A loop that never ran hands on dead tensors, once nothing else can happen in it."""
        for frame in reversed(self._frames):
            waiting = [b for name, b in frame.dead_exits.items() if name not in frame.live_exits]
            frame.dead_exits.clear()
            if waiting and frame.parent is not None:
                for b in waiting:
                    self._send(b, [DEAD], frame.parent, frame.parent_iteration, dead=True)
                return True
        return False
