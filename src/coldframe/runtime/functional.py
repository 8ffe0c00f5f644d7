"""Variables inside compiled islands: reads become inputs, updates pure functions, new values outputs.

An island knows no state. So a node that reads or writes variables is replaced by one that takes their values and
returns the new ones (the op's aspect ``values``); every later read of the variable, in the order of the nodes, takes
those::

    w (a handle)                                w:0 (an input: the value before)
    y = MatMul(x, w)                            y = MatMul(x, w:0)
    t = ApplyGradientDescent(w, lr, dw)         t = w:0 - lr * dw            version 1 of w, an output
    u = AssignSub(w, decay)                     u = t - decay                version 2, an output in place of version 1

After the island has run the last versions are assigned. Only variables whose handles are constants of the plan take
part: two handles that arguments bring might be the same variable.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from coldframe.engines.base import BoundNode
from coldframe.engines.reference import execute
from coldframe.graph.names import TensorRef
from coldframe.ops.call import Call
from coldframe.ops.state import Handle
from coldframe.records import dataclass
from coldframe.runtime.state import RunState

_WRITERS: Final = ("assign", "update", "draw")


@dataclass(slots=True, eq=False)
class Functional:
    """Nodes with values in the places of handles.

    Attributes:
        nodes: the nodes, in the same order and under the same names.
        writes: by each tensor that holds a new value of a variable: the variable.
    """

    nodes: list[BoundNode]
    writes: dict[TensorRef, Handle]

    def last(self, names: Iterable[str]) -> dict[TensorRef, Handle]:
        """The last value of each variable, where only the nodes called `names` run."""
        found: dict[str, TensorRef] = {}
        run = set(names)
        for ref, handle in self.writes.items():
            if ref.node in run:
                found[handle.name] = ref
        return {ref: self.writes[ref] for ref in found.values()}


class Variables:
    """The variables of a plan whose handles are known before it runs.

    Args:
        nodes: what the plan runs, in topological order.
        fed: tensors whose values the run is given.
        state: a run's state, to make handles in.
        writes: whether islands may write variables.

    Attributes:
        handles: by tensor: those that variable ops make, and those that updates hand on.
        written: whether any node may write variables in an island.
    """

    def __init__(self, nodes: Sequence[BoundNode], fed: Iterable[TensorRef], state: RunState, *, writes: bool) -> None:
        self.handles: dict[TensorRef, Handle] = {}
        self._calls: dict[str, Call] = {}
        self._first: dict[str, TensorRef] = {}
        self.written = False
        self._changing: set[str] = set()
        self._writes = writes
        skip = set(fed)
        for b in nodes:
            if b.call.op.variable and not b.node.controls:
                self._make(b, skip, state)
            else:
                self._pass_on(b, skip)

    def _make(self, b: BoundNode, skip: set[TensorRef], state: RunState) -> None:
        ref = b.node.out()
        if ref not in skip:
            state.node = b.name
            [handle] = execute(b, [], state)
            self.handles[ref] = handle
            self._first.setdefault(handle.name, ref)

    def _pass_on(self, b: BoundNode, skip: set[TensorRef]) -> None:
        at = b.call.handles()
        known = [self.handles.get(b.node.inputs[i]) for i in at]
        handles = [h for h in known if h is not None]
        if b.call.op.role in _WRITERS:
            self._changing.update(h.name for h in handles)
        if not at or len(handles) < len(at):
            return
        call = b.call.on_values([h.dtype for h in handles])
        if call is None or not (self._writes or b.call.op.role == "read"):
            return
        self._calls[b.name] = call
        self.written = self.written or b.call.op.role == "update"
        for slot, (arg, _) in enumerate(b.call.outputs):
            ref = b.node.out(slot)
            if arg.is_ref and ref not in skip:
                self.handles[ref] = handles[0]

    def made(self) -> set[str]:
        """The names of the nodes that need not run, since all they do is to make these handles."""
        return {r.node for r in self._first.values()} | {r.node for r in self.handles if r.node not in self._calls}

    def changes(self, ref: TensorRef) -> bool:
        """Whether a node of the plan writes the variable that `ref` is a handle of."""
        handle = self.handles.get(ref)
        return handle is not None and handle.name in self._changing

    def call(self, b: BoundNode) -> BoundNode:
        """Return `b` as an engine would see it, to ask whether it takes the node."""
        return BoundNode(b.node, self._calls[b.name]) if b.name in self._calls else b

    def functional(self, nodes: Iterable[BoundNode]) -> Functional:
        """Return `nodes` with values in the places of variables."""
        out = Functional([], {})
        now: dict[str, TensorRef] = dict(self._first)
        for b in nodes:
            out.nodes.append(self._pure(b, now, out.writes))
        return out

    def _pure(self, b: BoundNode, now: dict[str, TensorRef], writes: dict[TensorRef, Handle]) -> BoundNode:
        at = b.call.handles()
        call = self._calls.get(b.name)
        reads = at if call is not None else b.deref
        if call is None and not any(b.node.inputs[i] in self.handles for i in reads):
            return b
        node = b.node.copy()
        for i in reads:
            handle = self.handles.get(node.inputs[i])
            if handle is not None:
                node.inputs[i] = now[handle.name]
        if call is None:
            return BoundNode(node, b.call)
        if len(call.inputs) < len(node.inputs):  # what is overwritten is not read
            node.inputs = [r for i, r in enumerate(node.inputs) if i not in at]
        if b.call.op.role != "read":
            first = len(call.outputs) - len(at)
            for k, i in enumerate(at):
                handle, ref = self.handles[b.node.inputs[i]], b.node.out(first + k)
                now[handle.name] = ref
                writes[ref] = handle
        return BoundNode(node, call)
