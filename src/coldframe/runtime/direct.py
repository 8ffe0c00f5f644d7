"""The short way through a run: a plan that is one compiled island, without variables, is called with the feeds at hand.

Tiny models run in less time than it takes to look up names, plans and environments. So whoever runs the same fetches
from the same feeds again asks for a `Direct` once. It takes only what the island was compiled for, arrays of the right
dtypes and shapes; for all else it answers None, and the run goes the long way, which converts, compiles or refuses.

Between the runs of a model of 20 us, what Python needs has left the processor's caches: each function called, each
tuple and each dictionary made takes half a microsecond. So there is one function, which an engine may make.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from coldframe.engines.base import Compiled, Dims, EngineFailure, Short
from coldframe.graph.names import TensorRef
from coldframe.runtime.plan import Plan
from coldframe.runtime.steps import IslandStep

Names = Mapping[str, TensorRef]


class Direct:
    """Runs a plan of one island.

    Args:
        step: the island.
        fed: the tensors that are fed, by the names under which it gets their values.
        fetches: the tensors wanted, by the names under which it returns them.

    Attributes:
        run: takes what is fed and returns what is fetched; None where the plan itself has to be run.
    """

    __slots__ = ("_fed", "_fetches", "_step", "_variants", "run")
    run: Short

    def __init__(self, step: IslandStep, fed: Names, fetches: Names) -> None:
        self._step, self._fed, self._fetches = step, fed, fetches
        self._variants = -1
        self.look()

    @classmethod
    def of(cls, plan: Plan, fed: Names, fetches: Names) -> Direct | None:
        """Return the short way through `plan`, or None where there is none."""
        if len(plan.steps) != 1 or plan.skip or plan.seen is not None or len({*fed.values()}) != len(fed):
            return None
        step = plan.steps[0]
        if not isinstance(step, IslandStep) or step.writes or not set(step.sources) <= {*fed.values()}:
            return None
        return cls(step, fed, fetches) if {*fetches.values()} <= set(step.results) else None

    def look(self) -> None:
        """Take over what was compiled since: to be called after the plan was run."""
        variants = list(self._step.variants)
        if len(variants) != self._variants:
            plain = [c for c in variants if self._plain(c)]
            self.run = way(plain, self._fed, self._fetches)
            self._variants = len(variants)

    def _plain(self, compiled: Compiled) -> bool:
        """Whether its results depend on the feeds alone, all of which it checks."""
        if (
            compiled.draws
            or compiled.constants
            or not compiled.fresh
            or {g.ref for g in compiled.inputs} != {*self._fed.values()}
        ):
            return False
        return all(g.pinned is None and g.dtype.kind not in "so" for g in compiled.inputs)


def way(variants: Sequence[Compiled], fed: Names, fetches: Names) -> Short:
    """Return a function of the values of `fed`: it gives those of `fetches`, or None where nothing is made for such.

    Args:
        variants: compiled forms of an island, which read all of `fed` and nothing else.
        fed: tensors by name.
        fetches: some of their outputs by name.
    """
    if len(variants) == 1:
        own = _engines_own(variants[0], fed, fetches)
        if own is not None:
            return own
    forms = [(_checks(c, fed), _call(c, fed, fetches)) for c in variants]

    def run(feeds: Mapping[str, Any]) -> dict[str, Any] | None:
        if len(feeds) != len(fed):
            return None
        values = [feeds.get(name) for name in fed]
        for checks, call in forms:
            if all(map(_fits, values, checks)):
                try:
                    return call(feeds)
                except EngineFailure:  # the long way says what is wrong, or has numpy answer
                    return None
        return None

    return run


def _engines_own(compiled: Compiled, fed: Names, fetches: Names) -> Short | None:
    """Return what the engine has for this. It checks values by itself, which takes long where they do not fit."""
    if compiled.runner is None:
        return None
    names = {ref: name for name, ref in fed.items()}
    dtypes = {names[g.ref]: g.dtype.numpy for g in compiled.inputs}
    return compiled.runner.short(dtypes, {name: compiled.outputs.index(r) for name, r in fetches.items()})


def _call(compiled: Compiled, fed: Names, fetches: Names) -> Short:
    """Return what takes the values of `fed`, which fit, and gives those of `fetches` as callers may keep them."""
    own = _engines_own(compiled, fed, fetches)
    if own is not None:
        return own
    names = {ref: name for name, ref in fed.items()}
    given = [names[g.ref] for g in compiled.inputs]
    wanted = [(name, compiled.outputs.index(r)) for name, r in fetches.items()]
    run = compiled.run

    def call(feeds: Mapping[str, Any]) -> dict[str, Any]:
        made = run([feeds[name] for name in given])
        return {name: _own(made[i]) for name, i in wanted}

    return call


_Check = tuple[Any, int, int, Dims, Dims]


def _checks(compiled: Compiled, fed: Names) -> list[_Check]:
    """Return what is checked of each value: its dtype, and what `_sizes` says."""
    guards = {g.ref: g for g in compiled.inputs}
    return [(g.dtype.numpy, *_sizes(g.dims)) for g in (guards[r] for r in fed.values())]


def _fits(v: Any, check: _Check) -> bool:
    dtype, rank, first, tail, dims = check
    if type(v) is not np.ndarray or (v.dtype is not dtype and v.dtype != dtype):
        return False
    shape = v.shape
    if len(shape) != rank or shape[first:] != tail:
        return False
    return not dims or all(d is None or d == n for n, d in zip(shape, dims, strict=False))


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
