r"""Updates of rows: which of them are named twice is found once, and what they gain is summed in the same step.

Optimizers sum the gradients of equal rows before they update a table. In TensorFlow's ops that takes four nodes, and
the update cannot know that its rows are distinct now::

    ids --> [distinct] --rows----------------------------------------> update
                 |  \--which---------------> [sums] --sums of rows--> update
                 \--rows--> [shape] -> [n] ----/
    values --------------------------------------/

become, by the aspect ``distinct`` of the op that sums and of the update::

    values, ids --> [sums of equal rows] --sums, rows--> update, of rows that are distinct

How many rows are distinct is in the data, so that an engine that compiles for the very sizes cannot take them. For it
sums and rows are filled up to as many as there were ids, by the aspect ``padded`` (`pad_rows`), where all that follows
is elementwise and leads to updates that leave out what was filled in.

What is meant is found by the fields of ops' rows (`role`, `rules`) and by what nodes compute, never by names.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from coldframe.engines.base import BoundNode
from coldframe.engines.reference import execute
from coldframe.errors import ColdframeError
from coldframe.graph.names import TensorRef
from coldframe.records import dataclass

_SIZES: Final = (0, 1, 2, 17, 2**31 - 1)


def sum_equal_rows(
    bound: Mapping[str, BoundNode], constants: Mapping[TensorRef, Any], kept: Collection[TensorRef]
) -> dict[str, BoundNode]:
    """Return `bound` with sums of equal rows, and updates of them, as one node each.

    Args:
        bound: the nodes, by name.
        constants: values of constant nodes.
        kept: tensors that are fetched or fed.
    """
    found = dict(bound)
    for b in bound.values():
        if b.call.op.role == "distinct":
            _Pattern(found, constants, set(kept)).apply(b)
    return found


def pad_rows(nodes: Sequence[BoundNode], kept: Collection[TensorRef]) -> list[BoundNode]:
    """Return `nodes` with sums of equal rows of sizes that are known, where that is nobody's concern.

    Args:
        nodes: in topological order.
        kept: tensors that are fetched or fed.
    """
    found = {b.name: b for b in nodes}
    for b in nodes:
        if b.call.op.role == "distinct" and (padded := b.call.on_padded()) is not None:
            updates = _updates_after(b, nodes, {*kept})
            calls = {u.name: u.call.on_padded() for u in updates or ()}
            if updates and all(calls.values()):
                found[b.name] = BoundNode(b.node, padded, b.deref)
                found.update((u.name, BoundNode(u.node, c, u.deref)) for u in updates if (c := calls[u.name]))
    return [found[b.name] for b in nodes]


def _updates_after(sums: BoundNode, nodes: Sequence[BoundNode], kept: set[TensorRef]) -> list[BoundNode] | None:
    """Return what updates rows by `sums`, if whatever reads these does so, or makes other rows one by one."""
    rows = sums.node.out(1)
    made, updates = {sums.node.out(0)}, list[BoundNode]()
    for b in nodes:
        read = [r for r in b.node.inputs if r in made or r == rows]
        if not read or b is sums:
            continue
        if b.call.op.role == "update":
            named = {b.call.inputs[i][0].name: r for i, r in enumerate(b.node.inputs)}
            if named.get("indices") != rows or rows in made or read.count(rows) > 1:
                return None
            updates.append(b)
        elif b.call.op.elementwise and rows not in read:
            made.add(b.node.out())
        else:
            return None
    return None if (made | {rows}) & kept else updates


@dataclass(slots=True)
class _Pattern:
    nodes: dict[str, BoundNode]
    constants: Mapping[TensorRef, Any]
    kept: set[TensorRef]

    def apply(self, distinct: BoundNode) -> None:
        """Rewrite what follows from `distinct`, if it is the pattern."""
        ids = distinct.node.inputs[0]
        rows, which = distinct.node.out(0), distinct.node.out(1)
        sums = self._only_reader(which)
        if sums is None or sums.node.inputs[1:2] != [which] or not distinct.call.inputs[0][1].is_integer:
            return
        between = self._count(rows, sums)
        if between is None or self._leads(sums.node.inputs[0], distinct.name):
            return
        given = (sums.call.inputs[0], distinct.call.inputs[0])
        call = sums.call.on_distinct(given, (sums.call.outputs[0], distinct.call.outputs[0]))
        gone = [distinct, *between]
        if call is not None:
            call.op = dataclasses.replace(call.op, role=distinct.call.op.role, host=distinct.call.op.host)
        if call is None or not self._free(gone) or any(b.deref for b in (*gone, sums)):
            return
        node = sums.node.copy()
        node.inputs = [node.inputs[0], ids]
        node.controls = list(dict.fromkeys(c for b in (*gone, sums) for c in b.node.controls))
        for b in gone:
            del self.nodes[b.name]
        self.nodes[node.name] = BoundNode(node, call)
        for b in self._readers(rows):
            self.nodes[b.name] = _of_distinct(b, rows, node.out(1))

    def _readers(self, ref: TensorRef) -> list[BoundNode]:
        return [b for b in self.nodes.values() if ref in b.node.inputs]

    def _only_reader(self, ref: TensorRef) -> BoundNode | None:
        readers = self._readers(ref)
        return readers[0] if len(readers) == 1 and ref not in self.kept else None

    def _count(self, rows: TensorRef, sums: BoundNode) -> list[BoundNode] | None:
        """Return the nodes that tell `sums` how many `rows` there are, which they do for nobody else; or None."""
        for shape in self._readers(rows):
            if shape.call.op.role != "shape":
                continue
            cut = self._only_reader(shape.node.out())
            if cut is None or self._only_reader(cut.node.out()) is not sums:
                continue
            if sums.node.inputs[2:] == [cut.node.out()] and self._cuts(cut, shape):
                return [shape, cut]
        return None

    def _cuts(self, cut: BoundNode, shape: BoundNode) -> bool:
        """Whether `cut` turns the shape of a vector, [n], into n."""
        dtype = shape.call.outputs[0][1].numpy
        others = [r for r in cut.node.inputs if r != shape.node.out()]
        if not cut.call.op.pure or any(r not in self.constants for r in others):
            return False
        for n in _SIZES:
            known = {**self.constants, shape.node.out(): np.array([n], dtype)}
            try:
                [got] = execute(cut, [known[r] for r in cut.node.inputs], None)
            except ColdframeError:
                return False
            if not isinstance(got, np.ndarray) or got.shape or got != n:
                return False
        return True

    def _leads(self, ref: TensorRef, name: str) -> bool:
        """Whether `ref` is computed from the node called `name`."""
        seen: set[str] = set()
        ahead = [ref.node]
        while ahead:
            at = ahead.pop()
            if at == name:
                return True
            if at not in seen and at in self.nodes:
                seen.add(at)
                ahead += [r.node for r in self.nodes[at].node.inputs] + self.nodes[at].node.controls
        return False

    def _free(self, gone: Iterable[BoundNode]) -> bool:
        """Whether nobody waits for these nodes, nor is given what they make."""
        names = {b.name for b in gone}
        waits = any(not names.isdisjoint(b.node.controls) for b in self.nodes.values())
        return not waits and not any(r.node in names for r in self.kept)


def _of_distinct(reader: BoundNode, rows: TensorRef, now: TensorRef) -> BoundNode:
    """Return a reader of `rows`, which are `now` another tensor; one that updates them may rely on them."""
    node = reader.node.copy()
    named = [reader.call.inputs[i][0].name for i, r in enumerate(node.inputs) if r == rows]
    node.inputs = [now if r == rows else r for r in node.inputs]
    call = reader.call.on_distinct() if reader.call.op.role == "update" and named == ["indices"] else None
    return BoundNode(node, call or reader.call, reader.deref)
