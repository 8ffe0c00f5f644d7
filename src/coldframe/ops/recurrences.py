"""Loops that are recurrent layers: the While that `dynamic_rnn` and Keras make of an LSTM or a GRU, found to be one.

Layers are found in the functions of the loop alone (`found`), and each loop variable must be accounted for::

    clock, other counters    one more in each step; the clock reads and writes
    h, c                     what a cell makes of them, and of row `clock` of lists that stay as they are, or of what
                             another cell makes in this step (`recurrent_cells`)
    lists                    `h` written at the clock, or always at 0 (by Keras, where the last one is wanted)
    anything else            handed on

With lengths, a row's steps from `lengths[row]` on change nothing: every state goes through ``Select(clock >= lengths,
before, after)``, and what is written is zeros from there on, or whatever tensor stands there.

The steps are those that the condition leaves: all its comparisons are of a counter with a limit that stays. What does
not match to the last op (peepholes, projections, dropout that drops, other activations) is no layer, and stays a loop.
`recurrent_layers` computes what was found.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np

from coldframe.graph.names import TensorRef
from coldframe.ops.recurrent_cells import Cell, Cells, Function
from coldframe.records import dataclass

_READ: Final = "TensorListGetItem"
_NEEDED: Final = frozenset(("MatMul", _READ))
Operand = int | np.ndarray[Any, Any] | None  # the number of a loop variable that stays, or a constant
Source = tuple[str, int]  # ("rows", the variable that is a list) or ("cell", which of the cells)


@dataclass(frozen=True, slots=True)
class Written:
    """A list that outputs are written into.

    Attributes:
        variable: the list.
        cell: which cell's output it is.
        beyond: what is written where a row's steps are over; None where there are no lengths.
    """

    variable: int
    cell: int
    beyond: Operand = None


@dataclass(frozen=True, slots=True)
class Step:
    """A cell in the loop.

    Attributes:
        cell: what it computes.
        sources: where its inputs come from.
        states: the variables for h, and for c where it has one.
    """

    cell: Cell
    sources: tuple[Source, ...]
    states: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Layers:
    """A loop that is one or more recurrent layers; its variables are told by their numbers.

    Attributes:
        body: the function that it repeats.
        clock: the variable that reads and writes.
        counters: those that count, the clock among them.
        limits: a counter, and what it stays below.
        steps: the cells, those first that others read.
        lists: the lists of outputs.
        lasts: the lists of the last output alone.
        lengths: how many steps of each row count; None: all.
    """

    body: Function
    clock: int
    counters: tuple[int, ...]
    limits: tuple[tuple[int, Operand], ...]
    steps: tuple[Step, ...]
    lists: tuple[Written, ...]
    lasts: tuple[Written, ...]
    lengths: Operand


def found(condition: Function, body: Function) -> Layers | None:
    """Return the layers that a loop of these functions is; None where it is none."""
    if not (body.ops() >= _NEEDED and body.pure() and condition.pure()):
        return None
    made = [body.origin(r) for r in body.outputs]
    if len(made) != len(body.inputs) or len(body.inputs) != len(condition.inputs):
        return None
    return _Search(body, condition, made).run()


@dataclass(slots=True)
class _Search:
    body: Function
    condition: Function
    made: Sequence[TensorRef]
    clock: int = -1
    lengths: Operand = None
    masks: dict[TensorRef, bool] = dataclasses.field(default_factory=dict)

    def run(self) -> Layers | None:
        counters = tuple(i for i in range(len(self.made)) if self._counts(i))
        limits = list(self._limits(self.condition.outputs[0], counters))
        if not limits or any(k is None for k in limits):
            return None
        for self.clock in counters:
            found = self._layers(counters, tuple(k for k in limits if k is not None))
            if found is not None:
                return found
        return None

    def _layers(self, counters: tuple[int, ...], limits: tuple[tuple[int, Operand], ...]) -> Layers | None:
        self.lengths, self.masks = None, {}
        others = [i for i in range(len(self.made)) if i not in counters and not self._stays(i)]
        updates = {i: self._update(i) for i in others}
        steps = self._steps({i: u[0] for i, u in updates.items() if u is not None})
        known = {i for s in steps for i in s.states}
        masked = {updates[i][1] for i in known}  # type: ignore[index]
        if not steps or len(masked) > 1:
            return None
        outputs = {s.cell.h: k for k, s in enumerate(steps)}
        written = {i: self._written(i, outputs, masked == {True}) for i in others if i not in known}
        if any(w is None for w in written.values()):
            return None
        lists = tuple(w[0] for w in written.values() if w is not None and w[1])
        lasts = tuple(w[0] for w in written.values() if w is not None and not w[1])
        if lasts and masked == {True}:
            return None
        lengths = self.lengths if masked == {True} else None
        return Layers(self.body, self.clock, counters, limits, steps, lists, lasts, lengths)

    # --- cells ---------------------------------------------------------------------------------------------------
    def _steps(self, news: Mapping[int, TensorRef]) -> tuple[Step, ...]:
        """Return the cells, in an order in which they can be computed; `news` is what becomes of each state."""
        cells = Cells(self.body, frozenset(r for i, r in enumerate(self.body.inputs) if self._stays(i)))
        found = {i: c for i, new in news.items() if (c := cells.find(new, self.body.inputs[i])) is not None}
        steps: list[Step] = []
        at: dict[TensorRef, int] = {}
        while True:
            ready = []
            for i, cell in found.items():
                known = tuple(s for x in cell.xs if (s := self._source(x, at)) is not None)
                if cell.h not in at and len(known) == len(cell.xs):
                    ready.append((i, cell, known))
            for i, cell, sources in ready:
                states = tuple(self.body.inputs.index(r) for r in cell.states)
                if states[0] != i or (cell.c is not None and news.get(states[1]) != cell.c):
                    return ()
                at[cell.h] = len(steps)
                steps.append(Step(cell, sources, states))
            if not ready:
                return tuple(steps)

    def _source(self, x: TensorRef, at: Mapping[TensorRef, int]) -> Source | None:
        if x in at:
            return "cell", at[x]
        node = self.body.made_by(x)
        if node is None or node[0] != _READ:
            return None
        rows, index = (self.body.origin(r) for r in node[1][:2])
        i = self._variable(rows)
        return ("rows", i) if i is not None and self._stays(i) and index == self.body.inputs[self.clock] else None

    def _update(self, i: int) -> tuple[TensorRef, bool] | None:
        """Return what a variable becomes in the steps that count, and whether there are others."""
        node = self.body.made_by(self.made[i])
        if node is None:
            return None
        if node[0] in ("Select", "SelectV2"):
            over, before, after = (self.body.origin(r) for r in node[1])
            if before == self.body.inputs[i] and self._over(over, node[0]):
                return after, True
        return self.made[i], False

    def _over(self, ref: TensorRef, op: str) -> bool:
        """Whether `ref` tells of each row that its steps are over, in a form that `op` takes for rows."""
        if op != "Select":
            return False
        if ref not in self.masks:
            node = self.body.made_by(ref)
            clock, lengths = (None, None) if node is None else (self.body.origin(node[1][0]), node[1][-1])
            known = self._operand(lengths) if node is not None and node[0] == "GreaterEqual" else None
            fits = known is not None and clock == self.body.inputs[self.clock]
            if fits and self.lengths is None:
                self.lengths = known
            self.masks[ref] = fits and _same(known, self.lengths)
        return self.masks[ref]

    # --- variables -----------------------------------------------------------------------------------------------
    def _variable(self, ref: TensorRef) -> int | None:
        return self.body.inputs.index(ref) if ref in self.body.inputs else None

    def _stays(self, i: int) -> bool:
        return self.made[i] == self.body.inputs[i]

    def _operand(self, ref: TensorRef | None) -> Operand:
        if ref is None:
            return None
        ref = self.body.origin(ref)
        i = self._variable(ref)
        return self.body.value(ref) if i is None else i if self._stays(i) else None

    def _counts(self, i: int) -> bool:
        node = self.body.made_by(self.made[i])
        if node is None or node[0] not in ("Add", "AddV2"):
            return False
        terms = [self.body.origin(r) for r in node[1]]
        others = [r for r in terms if r != self.body.inputs[i]]
        one = self.body.value(others[0]) if len(others) == 1 else None
        return one is not None and one.ndim == 0 and one.dtype.kind == "i" and int(one) == 1

    def _written(self, i: int, outputs: Mapping[TensorRef, int], masked: bool) -> tuple[Written, bool] | None:
        """Return what is written into variable `i`, a list, and whether at the clock; if not, it is at 0."""
        node = self.body.made_by(self.made[i])
        if node is None or node[0] != "TensorListSetItem" or node[2]["resize_if_index_out_of_bounds"]:
            return None
        old, at, item = (self.body.origin(r) for r in node[1])
        clocked = at == self.body.inputs[self.clock]
        index = self.body.value(at)
        if old != self.body.inputs[i] or not (clocked or (index is not None and index.ndim == 0 and int(index) == 0)):
            return None
        beyond: Operand = None
        if masked:
            chosen = self.body.made_by(item)
            if chosen is None or chosen[0] != "Select" or not self._over(self.body.origin(chosen[1][0]), "Select"):
                return None
            beyond = self._operand(chosen[1][1])
            item = self.body.origin(chosen[1][2])
            if beyond is None:
                return None
        return (Written(i, outputs[item], beyond), clocked) if item in outputs else None

    def _limits(self, ref: TensorRef, counters: tuple[int, ...]) -> Iterator[tuple[int, Operand] | None]:
        """Yield what `ref` compares; None for anything else in it."""
        node = self.condition.made_by(self.condition.origin(ref))
        if node is None or node[0] not in ("LogicalAnd", "Less"):
            yield None
        elif node[0] == "LogicalAnd":
            for r in node[1]:
                yield from self._limits(r, counters)
        else:
            counter, limit = (self.condition.origin(r) for r in node[1])
            given = self.condition.inputs
            i = given.index(counter) if counter in given else -1
            j = given.index(limit) if limit in given else -1
            bound: Operand = self.condition.value(limit) if j < 0 else j if self._stays(j) else None
            yield (i, bound) if i in counters and bound is not None else None


def _same(a: Operand, b: Operand) -> bool:
    if isinstance(a, int) or isinstance(b, int) or a is None or b is None:
        return a is b or a == b
    return np.array_equal(a, b)
