"""The short way through a run: a plan that is one compiled island, without variables, is called with the feeds at hand.

Tiny models run in less time than it takes to look up names, plans and environments. So whoever runs the same fetches
from the same feeds again asks for a `Direct` once. It takes only what the island was compiled for, arrays of the right
dtypes and shapes; for all else it answers None, and the run goes the long way, which converts, compiles or refuses.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from coldframe.engines.base import Compiled, Dims, EngineFailure
from coldframe.graph.names import TensorRef
from coldframe.runtime.plan import Plan
from coldframe.runtime.steps import IslandStep


class Direct:
    """Runs a plan of one island.

    Args:
        step: the island.
        fed: the tensors that are fed, in the order in which `run` gets their values.
        fetches: the tensors wanted.
    """

    __slots__ = ("_fed", "_fetches", "_forms", "_step", "_variants")

    def __init__(self, step: IslandStep, fed: Sequence[TensorRef], fetches: Sequence[TensorRef]) -> None:
        self._step, self._fed, self._fetches = step, tuple(fed), tuple(fetches)
        self._forms: list[_Form] = []
        self._variants = 0

    @classmethod
    def of(cls, plan: Plan, fed: Sequence[TensorRef], fetches: Sequence[TensorRef]) -> Direct | None:
        """Return the short way through `plan`, or None where there is none."""
        if len(plan.steps) != 1 or plan.skip or plan.seen is not None or len({*fed}) != len(fed):
            return None
        step = plan.steps[0]
        if not isinstance(step, IslandStep) or step.writes or not set(step.sources) <= set(fed):
            return None
        return cls(step, fed, fetches) if set(fetches) <= set(step.results) else None

    def run(self, values: Sequence[Any]) -> list[Any] | None:
        """Return the fetched values; None where the plan itself has to be run."""
        if self._variants != len(self._step.variants):
            self._look()
        for form in self._forms:
            if form.accepts(values):
                try:
                    return form.run(values)
                except EngineFailure:
                    return None
        return None

    def _look(self) -> None:
        """Take over what was compiled since."""
        variants = list(self._step.variants)
        self._forms = [_Form(c, self._fed, self._fetches) for c in variants if self._plain(c)]
        self._variants = len(variants)

    def _plain(self, compiled: Compiled) -> bool:
        """Whether its results depend on the feeds alone, all of which it checks."""
        if (
            compiled.draws
            or compiled.constants
            or not compiled.fresh
            or {g.ref for g in compiled.inputs} != {*self._fed}
        ):
            return False
        return all(g.pinned is None and g.dtype.kind not in "so" for g in compiled.inputs)


class _Form:
    """One compiled form of the island, and where its inputs and the fetches are."""

    __slots__ = ("_checks", "_fetches", "_given", "_run")

    def __init__(self, compiled: Compiled, fed: Sequence[TensorRef], fetches: Sequence[TensorRef]) -> None:
        at = {r: i for i, r in enumerate(fed)}
        self._run = compiled.run
        self._checks = [(at[g.ref], g.dtype.numpy, *_sizes(g.dims)) for g in compiled.inputs]
        self._given = [at[g.ref] for g in compiled.inputs]
        self._fetches = [compiled.outputs.index(r) for r in fetches]

    def accepts(self, values: Sequence[Any]) -> bool:
        """Whether it was compiled for such values."""
        for i, dtype, rank, first, tail, dims in self._checks:
            v = values[i]
            if type(v) is not np.ndarray or (v.dtype is not dtype and v.dtype != dtype):
                return False
            shape = v.shape
            if len(shape) != rank or shape[first:] != tail:
                return False
            if dims and any(d is not None and d != n for n, d in zip(shape, dims, strict=False)):
                return False
        return True

    def run(self, values: Sequence[Any]) -> list[Any]:
        made = self._run([values[i] for i in self._given])
        return [_own(made[i]) for i in self._fetches]


def _sizes(dims: Dims) -> tuple[int, int, Dims, Dims]:
    """Return the rank, from where on all sizes are fixed, those, and the sizes before where any of them is, too."""
    first = max((i + 1 for i, d in enumerate(dims) if d is None), default=0)
    before = dims[:first]
    return len(dims), first, dims[first:], before if any(d is not None for d in before) else ()


def _own(value: Any) -> Any:
    """Return a result as the caller may keep it: its own to write, a scalar unwrapped."""
    if value.ndim == 0:
        return value[()]
    return value if value.flags.writeable else value.copy()
