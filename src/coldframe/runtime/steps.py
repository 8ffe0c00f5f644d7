"""The steps of a plan: one node on numpy, an island of compiled nodes, V1 control flow.

What an engine computes for itself, new values of variables above all, may stay with the engine from run to run
(`Held`): an island hands it to the next run of an engine as it is. Other steps see arrays.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, Final

from coldframe.engines.base import BoundNode, Compiled, EngineFailure, Held
from coldframe.engines.reference import execute, interpret
from coldframe.errors import ExecutionError
from coldframe.graph.names import TensorRef
from coldframe.ops.state import Handle
from coldframe.runtime.draws import drawn
from coldframe.runtime.frames import DEAD, RegionPlan
from coldframe.runtime.state import RunState

Env = dict[TensorRef, Any]
VARIANTS: Final = 32  # compiled forms of one island, before it is left to the spare engine
_SPARES: Final = 4  # compiled forms that the spare engine may add, before the island is left to numpy
_VALUES: Final = 4  # values of an input that were compiled in, before it counts as one that varies


@dataclasses.dataclass(slots=True, eq=False)
class HostStep:
    """One node, run on numpy."""

    bound: BoundNode
    reason: str
    outputs: list[TensorRef]
    drop: tuple[TensorRef, ...] = ()

    def run(self, env: Env, state: RunState) -> None:
        state.node = self.bound.name
        values = [live(env[r], r) for r in self.bound.node.inputs]
        for i in self.bound.deref:
            if isinstance(values[i], Handle):
                values[i] = state.read(values[i])
        env.update(zip(self.outputs, execute(self.bound, values, state), strict=True))


@dataclasses.dataclass(slots=True, eq=False)
class IslandStep:
    """Compiled nodes.

    Attributes:
        nodes: the nodes.
        sources: the tensors from outside that they read.
        results: what they compute.
        constants: of the plan.
        variants: the compiled forms so far.
        compile: makes another one, of a given number; None where it cannot be made.
        writes: the results that are new values of variables; the others are tensors for other steps.
        kinds, chosen: dtypes and shapes of the last run, and the form that took them.
        failure: the engine's last refusal of a run, which numpy then answered.
        engine: what the engine is called.
        tries: how often it was compiled again.
        wavers: an input whose values are compiled in keeps changing: the plan should be made without doing so.
    """

    nodes: list[BoundNode]
    sources: tuple[TensorRef, ...]
    results: tuple[TensorRef, ...]
    constants: Mapping[TensorRef, Any]
    variants: list[Compiled]
    compile: Callable[[dict[TensorRef, Any], int], Compiled | None]
    writes: Mapping[TensorRef, Handle]
    drop: tuple[TensorRef, ...] = ()
    failure: str = ""
    engine: str = ""
    tries: int = 0
    kinds: list[Any] = dataclasses.field(default_factory=list)
    chosen: Compiled | None = None
    wavers: bool = False

    @property
    def outputs(self) -> tuple[TensorRef, ...]:
        """The tensors that it makes for other steps."""
        return tuple(r for r in self.results if r not in self.writes)

    def run(self, env: Env, state: RunState) -> None:
        results, fresh = self._results(_lying(self.sources, env, state), state)
        for ref, handle in self.writes.items():
            self._assign(ref, handle, results[ref], state, fresh)
        for ref, value in results.items():
            if ref not in self.writes:
                env[ref] = _array(value)

    def _assign(
        self, ref: TensorRef, handle: Handle, value: Any, state: RunState, fresh: AbstractSet[TensorRef]
    ) -> None:
        if value.shape != handle.shape.dims and not handle.shape.accepts(value.shape):
            raise ExecutionError(
                f"variable `{handle.name}` cannot take the value", where=f"at node `{ref.node}`",
                expected=handle.shape, found=list(value.shape),
            )  # fmt: skip
        (state.adopt if ref in fresh else state.assign)(handle, value)

    def _results(
        self, values: dict[TensorRef, Any], state: RunState
    ) -> tuple[dict[TensorRef, Any], AbstractSet[TensorRef]]:
        """Return the outputs, and which of them are in memory that nobody else holds."""
        kinds = [(v.dtype, v.shape) for v in values.values()]
        chosen = self.chosen if kinds == self.kinds else None
        if chosen is None or chosen.held is None:
            values = {r: _array(v) for r, v in values.items()}
        if chosen is None:
            chosen = self._choose(values, kinds)
        if chosen is not None:
            run = chosen.held or chosen.run
            try:
                if chosen.draws:
                    with drawn(chosen.draws, state) as given:
                        made = run([*given, *[values[g.ref] for g in chosen.inputs]])
                else:
                    made = run([values[g.ref] for g in chosen.inputs])
                found = dict(zip(chosen.outputs, made, strict=True))
                fresh = found.keys() if chosen.fresh else frozenset[TensorRef]()
                return ({**chosen.constants, **found} if chosen.constants else found), fresh
            except EngineFailure as e:
                self.failure = str(e)  # numpy answers, or says at which node and why it cannot be answered
        scope = {**self.constants, **{r: _array(v) for r, v in values.items()}}
        return dict(zip(self.results, interpret(self.nodes, scope, self.results, state), strict=True)), frozenset()

    def _choose(self, values: dict[TensorRef, Any], kinds: list[Any]) -> Compiled | None:
        """Return the compiled form that takes such values, made now if need be; None where there can be none."""
        chosen = next((c for c in self.variants if all(g.accepts(values[g.ref]) for g in c.inputs)), None)
        if chosen is None and self.tries < VARIANTS + _SPARES:
            self.tries += 1
            self.wavers = self.tries >= _VALUES and any(g.by_value for c in self.variants for g in c.inputs)
            chosen = self.compile(values, self.tries)
            if chosen is not None:
                self.variants.append(chosen)
        if chosen is not None and all(g.pinned is None for g in chosen.inputs):
            self.kinds, self.chosen = kinds, chosen
        return chosen


@dataclasses.dataclass(slots=True, eq=False)
class RegionStep:
    """V1 control flow, run as dataflow on numpy."""

    region: RegionPlan
    outputs: tuple[TensorRef, ...]
    drop: tuple[TensorRef, ...] = ()

    @property
    def sources(self) -> tuple[TensorRef, ...]:
        """The tensors from outside that it reads."""
        return self.region.region.sources

    def run(self, env: Env, state: RunState) -> None:
        env.update(self.region.run({r: env[r] for r in self.sources}, set(self.outputs), state))


Step = HostStep | IslandStep | RegionStep


def contents(refs: Iterable[TensorRef], env: Env, state: RunState) -> Env:
    """Return the arrays that tensors are, or that the variables hold which they name."""
    return {r: state.read(v) if isinstance(v := live(env[r], r), Handle) else v for r in refs}


def _lying(refs: Iterable[TensorRef], env: Env, state: RunState) -> Env:
    """Return the same where they lie: values of variables may be with an engine."""
    found = {r: live(env[r], r) for r in refs}
    handles = {r: v for r, v in found.items() if isinstance(v, Handle)}
    found.update(zip(handles, state.lying(handles.values()), strict=True))
    return found


def _array(value: Any) -> Any:
    return value.array() if isinstance(value, Held) else value


def live(v: Any, ref: TensorRef) -> Any:
    """Return a value that is there; refuse one that is not."""
    if v is DEAD:
        raise ExecutionError(f"`{ref}` has no value: it is on a branch that was not taken, or inside a loop")
    return v


def read_by(step: Step) -> Sequence[TensorRef]:
    """Return the tensors that a step reads."""
    return step.bound.node.inputs if isinstance(step, HostStep) else step.sources
