"""Loops that were found to be recurrent layers (`coldframe.ops.recurrences`), computed by one node each."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from coldframe.dtypes import float32, int32, int64
from coldframe.graph.names import TensorRef
from coldframe.ops.recurrences import Layers, Step, Written
from coldframe.ops.recurrent_cells import Array, Cell, Unknown
from coldframe.records import dataclass


def run_layers(xp: Any, layers: Layers, values: Sequence[Any]) -> list[Any] | None:
    """Return what the loop makes of `values`; None where they are not of the kind that layers take."""
    starts = [values[i].const for i in layers.counters]
    if any(s is None or s.ndim or s.dtype.kind != "i" for s in starts) or values[layers.clock].const:
        return None
    try:
        return _Run(xp, layers, values).run()
    except Unknown:
        return None


@dataclass(slots=True, eq=False)
class _Run:
    """Layers being computed.

    Attributes:
        made: the outputs of the cells, float32[steps, batch, size].
        lasts: what they leave.
        sizes: columns of what their weights are multiplied with.
    """

    xp: Any
    layers: Layers
    values: Sequence[Any]
    made: list[Any] = dataclasses.field(default_factory=list)
    lasts: list[tuple[Any, ...]] = dataclasses.field(default_factory=list)
    sizes: dict[TensorRef, int] = dataclasses.field(default_factory=dict)
    rows: dict[int, Any] = dataclasses.field(default_factory=dict)

    def run(self) -> list[Any] | None:
        xp, layers = self.xp, self.layers
        steps = self._steps()
        lengths = self._lengths(steps)
        for step in layers.steps:
            self._compute(step, steps, lengths)
        out = list(self.values)
        for step, lasts in zip(layers.steps, self.lasts, strict=True):
            for i, last in zip(step.states, lasts, strict=True):
                out[i] = last
        for i in layers.counters:
            out[i] = xp.cast(xp.add(xp.cast(self.values[i], int64), steps), self.values[i].dtype)
        for w in layers.lists:
            out[w.variable] = _list(xp, self.values[w.variable], self._beyond(w, steps, lengths), steps)
        for w in layers.lasts:
            out[w.variable] = _last(xp, self.values[w.variable], self.lasts[w.cell][0], steps)
        return out

    # --- what weights ask ----------------------------------------------------------------------------------------
    def value(self, ref: TensorRef) -> Array:
        """See `coldframe.ops.recurrent_cells.Given`."""
        given = {r: v.const for r, v in zip(self.layers.body.inputs, self.values, strict=True) if _constant(v)}
        found = self.layers.body.fold(ref, given)
        if found is None:
            raise Unknown
        return found

    def size(self, ref: TensorRef) -> int:
        """See `coldframe.ops.recurrent_cells.Given`."""
        if ref not in self.sizes:
            raise Unknown
        return self.sizes[ref]

    # --- cells ---------------------------------------------------------------------------------------------------
    def _compute(self, step: Step, steps: Any, lengths: Any) -> None:
        xp, cell = self.xp, step.cell
        state = [self.values[i] for i in step.states]
        size = state[0].dims[1] if state[0].ndim == 2 else None
        if size is None or any(v.dtype is not float32 or v.ndim != 2 or v.dims[1] != size for v in state):
            raise Unknown
        xs = [self._source(s, steps) for s in step.sources]
        for ref, x in zip(cell.xs, xs, strict=True):
            if x.dtype is not float32 or x.ndim != 3 or not x.dims[2]:
                raise Unknown
            self.sizes[ref] = x.dims[2]
        for r in (cell.states[0], cell.reset, cell.h):
            if r is not None:
                self.sizes[r] = size
        x = xs[0] if len(xs) == 1 else xp.concat(xs, 2)
        weights = [xp.constant(w[None]) for w in self._weights(cell, size)]
        linear = cell.inner is not None
        made, *lasts = xp.recurrent(
            cell.kind, x, *weights, state, lengths, activation=cell.activation, linear_before_reset=linear
        )
        self.made.append(made)
        self.lasts.append(tuple(lasts))

    def _source(self, source: tuple[str, int], steps: Any) -> Any:
        kind, i = source
        if kind == "cell":
            return self.made[i]
        if i not in self.rows:
            self.rows[i] = _taken(self.xp, self.xp.list_stack(self.values[i], None, -1), steps)
        return self.rows[i]

    def _weights(self, cell: Cell, size: int) -> tuple[Array, Array, Array]:
        """Return the kernel, the recurrent kernel and the biases of both, as ONNX takes them, for one direction."""
        hidden = cell.states[:1]
        w = [g.matrix(cell.xs, self, size).T for g in cell.gates]
        r = [g.matrix(hidden, self, size).T for g in cell.gates]
        biases = [g.bias(self, size) for g in cell.gates]
        more = [np.zeros(size, np.float32)] * len(biases)
        if cell.reset is not None:
            r[-1] = cell.gates[-1].matrix((cell.reset,), self, size).T
        if cell.inner is not None:
            r[-1], more[-1] = cell.inner.matrix(hidden, self, size).T, cell.inner.bias(self, size)
        kernels = [np.ascontiguousarray(np.concatenate(a)) for a in (w, r)]
        return kernels[0], kernels[1], np.concatenate([*biases, *more])

    # --- steps ---------------------------------------------------------------------------------------------------
    def _steps(self) -> Any:
        """Return how many steps the condition leaves, int64."""
        xp, left = self.xp, []
        for i, operand in self.layers.limits:
            limit = self._operand(operand)
            if limit.ndim or limit.dtype not in (int32, int64):
                raise Unknown
            left.append(xp.subtract(xp.cast(limit, int64), xp.cast(self.values[i], int64)))
        return xp.maximum(functools.reduce(xp.minimum, left), xp.constant(np.array(0, np.int64)))

    def _operand(self, operand: Any) -> Any:
        return self.values[operand] if isinstance(operand, int) else self.xp.constant(operand)

    def _lengths(self, steps: Any) -> Any:
        """Return how many steps of each row count, int32[batch], none more than there are; None where all do."""
        if self.layers.lengths is None:
            return None
        xp = self.xp
        lengths = self._operand(self.layers.lengths)
        if lengths.ndim != 1 or lengths.dtype not in (int32, int64):
            raise Unknown
        none = xp.constant(np.array(0, np.int64))
        return xp.cast(xp.minimum(xp.maximum(xp.cast(lengths, int64), none), steps), int32)

    def _beyond(self, w: Written, steps: Any, lengths: Any) -> Any:
        """Return a cell's outputs, with what is written where a row's steps are over."""
        made = self.made[w.cell]
        if w.beyond is None:
            return made
        xp = self.xp
        beyond = self._operand(w.beyond)
        if beyond.dtype is not float32 or beyond.ndim != 2:
            raise Unknown
        if beyond.const is not None and not beyond.const.any():
            return made  # ONNX writes zeros there, too
        one = xp.constant(np.array(1, np.int64))
        clock = xp.reshape(xp.arange(xp.subtract(one, one), steps, one), [-1, 1, 1])
        counts = xp.less(clock, xp.reshape(xp.cast(lengths, int64), [1, -1, 1]))
        return xp.where(counts, made, xp.expand_dims(beyond, (0,)))


def _constant(v: Any) -> bool:
    return getattr(v, "const", None) is not None


def _taken(xp: Any, rows: Any, steps: Any) -> Any:
    """Return the first rows; where there are fewer, the loop has to tell, or ONNX Runtime will."""
    if steps.const is None or rows.dims[0] is None:
        return xp.first_rows(rows, steps)
    n = int(steps.const)
    if n > rows.dims[0]:
        raise Unknown
    return rows if n == rows.dims[0] else xp.slice_axis(rows, 0, 0, n)


def _list(xp: Any, old: Any, made: Any, steps: Any) -> Any:
    """Return a list into which `made` was written, where nothing was in it yet."""
    if not _empty(old):
        raise Unknown
    length = old.length
    if length.const is None or steps.const is None:
        more = xp.reshape(xp.subtract(length, steps), [1])
    else:
        missing = int(length.const) - int(steps.const)
        if missing < 0:
            raise Unknown
        if not missing:
            return xp.list_from(made, None, float32)
        more = xp.constant(np.array([missing], np.int64))
    sizes = xp.concat([more, xp.slice_axis(xp.shape(made), 0, 1, None)], 0)
    return xp.list_from(xp.concat([made, xp.full(sizes, np.float32(0))], 0), None, float32)


def _last(xp: Any, old: Any, h: Any, steps: Any) -> Any:
    """Return a list of one element into which `h` was written if there was a step."""
    if not _empty(old) or old.length.const is None or int(old.length.const) != 1:
        raise Unknown
    if steps.const is None:
        h = xp.where(xp.greater(steps, xp.constant(np.array(0, np.int64))), h, xp.zeros_like(h))
    elif not steps.const:
        raise Unknown
    return xp.list_from(xp.expand_dims(h, (0,)), None, float32)


def _empty(x: Any) -> bool:
    """Whether nothing was written into a list of floats."""
    return x.element is float32 and x.buffer is None and not x.place
