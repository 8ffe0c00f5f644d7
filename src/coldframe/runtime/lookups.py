"""Lookups of rows by sparse ids become one step on numpy each, where a run only reads (`coldframe.ops.sparse_lookups`).

The nodes are taken together only where nobody else reads what lies between them. What the step cannot answer, it lets
the nodes themselves answer, one after the other: errors come from the node at fault.

Before and after a lookup stand reshapes by shapes that are computed of the sparse tensor's own. Whether they change
nothing is found by computing them for some shapes of two dimensions (`_Joining.keeps`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from coldframe.engines.base import BoundNode
from coldframe.engines.reference import interpret
from coldframe.errors import ColdframeError
from coldframe.graph.names import TensorRef
from coldframe.graph.traverse import topological
from coldframe.ops.call import Call, Flow
from coldframe.ops.patterns import Any_, Found, find
from coldframe.ops.sparse_lookups import (
    ESSENTIAL,
    FILL,
    INDICES,
    NEW,
    RESHAPED,
    RETURNED,
    ROWS,
    SHAPE,
    TABLE,
    VALUES,
    Lookup,
    lookups,
)
from coldframe.ops.state import Handle
from coldframe.ops.table import Op
from coldframe.records import dataclass

_SHAPES: Final = ((1, 1), (3, 5), (7, 2))
_WHY: Final = "rows that sparse ids name are looked up in one step"


def join_lookups(
    bound: Mapping[str, BoundNode], constants: Mapping[TensorRef, Any], kept: Collection[TensorRef]
) -> dict[str, BoundNode]:
    """Return `bound` with the nodes of each lookup as one.

    Args:
        bound: the nodes, by name.
        constants: values of constant nodes.
        kept: tensors that are fetched or fed.
    """
    found = dict(bound)
    ops = {b.call.op.name for b in bound.values()}
    if ESSENTIAL not in ops or any(b.call.op.role in ("assign", "update") for b in bound.values()):
        return found
    ways: dict[str, list[Lookup]] = {}
    for way in lookups():
        ways.setdefault(way.pattern.op, []).append(way)
    graph = _Joining(found, constants, set(kept))
    for op in dict.fromkeys(way.pattern.op for way in lookups()):
        for b in [b for b in found.values() if b.call.op.name == op]:
            graph.join(b, ways[op])
    return found


@dataclass(slots=True)
class _Joining:
    nodes: dict[str, BoundNode]
    constants: Mapping[TensorRef, Any]
    kept: set[TensorRef]
    readers: dict[str, list[BoundNode]] = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        self.readers = {}
        for b in self.nodes.values():
            for name in {r.node for r in b.node.inputs} | set(b.node.controls):
                self.readers.setdefault(name, []).append(b)

    def join(self, last: BoundNode, ways: Iterable[Lookup]) -> None:
        """Put one node in the place of those of a lookup that ends with `last`, if it is one."""
        if last.name not in self.nodes or len(last.call.outputs) != 1:
            return
        for way in ways:
            found = find(way.pattern, last.node.out(), self)
            if found is not None:
                given = {k: found[k.name] for k in (TABLE, INDICES, VALUES, SHAPE, FILL)}
                for end, start in self._reaches(last, given):
                    if self._join(way, end, start):
                        return

    def _reaches(self, last: BoundNode, given: dict[Any_, TensorRef]) -> list[tuple[BoundNode, dict[Any_, TensorRef]]]:
        """Return how far a lookup may go, the farthest first: to which node, and from which tensors."""
        starts = [given]
        while (before := self._reshaped(starts[-1])) is not None:
            starts.append(before)
        ends = [(last, start) for start in reversed(starts)]
        after = self._returned(last, starts)
        return ends if after is None else [*((after, start) for start in reversed(starts)), *ends]

    def _reshaped(self, given: dict[Any_, TensorRef]) -> dict[Any_, TensorRef] | None:
        """Return the same from before a reshape of the coordinates that changes nothing."""
        at, shape = self.origin(given[INDICES]), self.origin(given[SHAPE])
        found = find(RESHAPED, TensorRef(at.node), self)
        if found is None or at.slot or shape != TensorRef(at.node, 1):
            return None
        return {**given, INDICES: found[INDICES.name], SHAPE: found[SHAPE.name]} if self._same(found) else None

    def _same(self, found: Found) -> bool:
        """Whether a sparse tensor of two dimensions gets the shape that it has: rows, and columns or -1."""
        for rows, columns in _SHAPES:
            new = self._computed(found[NEW.name], {found[SHAPE.name]: np.array([rows, columns], np.int64)})
            if new is None or new.tolist() not in ([rows, columns], [rows, -1]):
                return False
        return True

    def _returned(self, last: BoundNode, starts: Sequence[dict[Any_, TensorRef]]) -> BoundNode | None:
        """Return a reshape of the result, by the shapes there are, that changes nothing."""
        for b in self.readers.get(last.name, ()):
            found = find(RETURNED, b.node.out(), self) if len(b.call.outputs) == 1 else None
            if found is not None and found[ROWS.name] == last.node.out() and self._returns(found, last, starts):
                return b
        return None

    def _returns(self, found: Found, last: BoundNode, starts: Sequence[dict[Any_, TensorRef]]) -> bool:
        for rows, columns in _SHAPES:
            given = {s[SHAPE]: np.array([rows, columns], np.int64) for s in starts}
            result = np.zeros((rows, 6), last.call.outputs[0][1].numpy)
            new = self._computed(found[NEW.name], {**given, last.node.out(): result})
            if new is None or new.tolist() not in ([rows, 6], [-1, 6]):
                return False
        return True

    def _computed(self, ref: TensorRef, given: dict[TensorRef, Any]) -> Any:
        """Return what pure nodes make of values; None where others do, or where they refuse."""
        found = self._between(ref, given.keys())
        if found is None or any(not b.call.op.pure for b in found):
            return None
        try:
            return interpret(found, {**self.constants, **given}, [ref])[0]
        except ColdframeError:
            return None

    def _between(self, ref: TensorRef, given: Collection[TensorRef]) -> list[BoundNode] | None:
        """Return, in order, the nodes that compute a tensor of others; None where it takes more than these."""
        within: dict[str, BoundNode] = {}
        ahead = [ref]
        while ahead:
            at = ahead.pop()
            if at in given or at in self.constants or at.node in within:
                continue
            b = self.nodes.get(at.node)
            if b is None or not b.node.inputs or at in self.kept:
                return None
            within[b.name] = b
            ahead += b.node.inputs
        return [within[n.name] for n in topological({n: b.node for n, b in within.items()}, fed=given)]

    def _join(self, way: Lookup, last: BoundNode, given: dict[Any_, TensorRef]) -> bool:
        """Do it, if nobody else has to do with the nodes between `given` and `last`."""
        out = last.node.out()
        members = None if out in self.kept else self._between(out, given.values())
        if members is None or any(b.deref or b.call.op.effect or b.call.op.random for b in members):
            return False
        names = {b.name for b in members}
        outside = (b for n in names - {last.name} for b in self.readers.get(n, ()) if b.name in self.nodes)
        if any(b.name not in names for b in outside) or any(r.node in names for r in self.kept):
            return False
        node = last.node.copy()
        node.inputs = list(dict.fromkeys(given.values()))
        node.controls = [c for c in dict.fromkeys(c for b in members for c in b.node.controls) if c not in names]
        places = tuple(node.inputs.index(given[k]) for k in given)
        step = _Step(way, tuple(members), self.constants, tuple(node.inputs), out, places)
        call = Call(step.op(), last.call.attrs, self._flow(node.inputs, members), last.call.outputs, {},
                    tuple(range(len(node.inputs))), {})  # fmt: skip
        for name in names:
            del self.nodes[name]
        self.nodes[node.name] = BoundNode(node, call, members=tuple(members))
        return True

    @staticmethod
    def _flow(refs: Sequence[TensorRef], members: Sequence[BoundNode]) -> Flow:
        read = {r: b.call.inputs[i] for b in members for i, r in enumerate(b.node.inputs)}
        return tuple(read[r] for r in refs)

    # --- what patterns see --------------------------------------------------------------------------------------------
    def made_by(self, ref: TensorRef) -> tuple[str, tuple[TensorRef, ...], Mapping[str, Any]] | None:
        """See `coldframe.ops.patterns.View`."""
        made = self.nodes.get(ref.node)
        if made is None or ref.slot or ref in self.kept or made.members:
            return None
        return made.call.op.name, tuple(made.node.inputs), made.call.attrs

    def value(self, ref: TensorRef) -> Any:
        """See `coldframe.ops.patterns.View`."""
        return self.constants.get(ref)

    def origin(self, ref: TensorRef) -> TensorRef:
        """See `coldframe.ops.patterns.View`."""
        while (made := self.nodes.get(ref.node)) is not None and made.call.op.role == "identity":
            if ref in self.kept or len(made.node.inputs) != 1:
                break
            ref = made.node.inputs[0]
        return ref


@dataclass(frozen=True, slots=True)
class _Step:
    """What one lookup runs: `Lookup.run`, or its nodes one by one.

    Attributes:
        inputs: the tensors that it is given.
        result: what it makes.
        places: where among them are the table, coordinates, ids, shape and fill.
    """

    way: Lookup
    members: tuple[BoundNode, ...]
    constants: Mapping[TensorRef, Any]
    inputs: tuple[TensorRef, ...]
    result: TensorRef
    places: tuple[int, ...]

    def op(self) -> Op:
        """Return the row of the op table that it is like."""
        return Op(self.members[-1].call.op.name, self.run, host=_WHY, stateful=True)

    def run(self, xp: Any, state: Any, *given: Any) -> Any:
        table, *sparse = [given[i] for i in self.places]
        rows = self.way.run(state.read(table) if isinstance(table, Handle) else table, *sparse)
        if rows is None:
            values = dict(zip(self.inputs, given, strict=True))
            [rows] = interpret(self.members, {**self.constants, **values}, [self.result], state)
        return rows
