"""The steps of a plan: one node on numpy, an island of compiled nodes, V1 control flow.

What an engine computes for itself, new values of variables above all, may stay with the engine from run to run
(`Held`): an island hands it to the next run of an engine as it is. Other steps see arrays.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, Any, Final

from coldframe.engines.base import BoundNode, Compiled, EngineFailure, Held
from coldframe.engines.reference import execute, interpret
from coldframe.errors import ExecutionError
from coldframe.graph.names import TensorRef
from coldframe.ops.state import Handle
from coldframe.records import dataclass
from coldframe.runtime.draws import drawn
from coldframe.runtime.regions import DEAD
from coldframe.runtime.state import RunState

if TYPE_CHECKING:
    from coldframe.runtime.frames import RegionPlan

Env = dict[TensorRef, Any]
_Results = tuple[dict[TensorRef, Any], AbstractSet[TensorRef] | None]
VARIANTS: Final = 32  # compiled forms of one island, before it is left to the spare engine
_SPARES: Final = 4  # compiled forms that the spare engine may add, before the island is left to numpy
_VALUES: Final = 4  # values of an input that were compiled in, before it counts as one that varies


@dataclass(slots=True, eq=False)
class HostStep:
    """One node, run on numpy."""

    bound: BoundNode
    reason: str
    outputs: list[TensorRef]
    drop: tuple[TensorRef, ...] = ()

    def run(self, env: Env, state: RunState) -> None:
        state.node = self.bound.name
        values = [v if (v := env[r]) is not DEAD else live(v, r) for r in self.bound.node.inputs]
        for i in self.bound.deref:
            if isinstance(values[i], Handle):
                values[i] = state.read(values[i])
        env.update(zip(self.outputs, execute(self.bound, values, state), strict=True))


@dataclass(slots=True, eq=False)
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
        wired: the form that ran last, and where its inputs are among the sources.
        outputs: the tensors that it makes for other steps.
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
    wired: tuple[Compiled | None, list[int]] = (None, [])
    outputs: tuple[TensorRef, ...] = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        self.outputs = tuple(r for r in self.results if r not in self.writes)

    def run(self, env: Env, state: RunState) -> None:
        results, fresh = self._results(_lying(self.sources, env, state), state)
        for ref, handle in self.writes.items():
            value = results[ref]
            if value.shape != handle.shape.dims:
                _check_fit(ref, handle, value)
            (state.adopt if fresh is None or ref in fresh else state.assign)(handle, value)
        for ref in self.outputs:
            value = results[ref]
            env[ref] = value.array() if isinstance(value, Held) else value

    def _results(
        self, values: list[Any], state: RunState
    ) -> tuple[dict[TensorRef, Any], AbstractSet[TensorRef] | None]:
        """Return the results, and which of them are in memory that nobody else holds; None: all of them."""
        kinds = [(v.dtype, v.shape) for v in values]
        chosen = self.chosen if kinds == self.kinds else None
        if chosen is None or chosen.held is None:
            values = [_array(v) for v in values]
        if chosen is None:
            chosen = self._choose(dict(zip(self.sources, values, strict=True)), kinds)
        if chosen is not None:
            try:
                return self._made(chosen, values, state)
            except EngineFailure as e:
                self.failure = str(e)  # numpy answers, or says at which node and why it cannot be answered
        scope = {**self.constants, **{r: _array(v) for r, v in zip(self.sources, values, strict=True)}}
        return dict(zip(self.results, interpret(self.nodes, scope, self.results, state), strict=True)), frozenset()

    def _made(self, chosen: Compiled, values: list[Any], state: RunState) -> _Results:
        """Return the same of a compiled form.

        Raises:
            EngineFailure: the engine could not run it.
        """
        wired = self.wired
        if chosen is not wired[0]:
            places = {r: i for i, r in enumerate(self.sources)}
            self.wired = wired = chosen, [places[g.ref] for g in chosen.inputs]
        run = chosen.held or chosen.run
        given = [values[i] for i in wired[1]]
        if chosen.draws:
            with drawn(chosen.draws, state) as numbers:
                made = run([*numbers, *given])
        else:
            made = run(given)
        found = dict(zip(chosen.outputs, made, strict=True))
        if not chosen.constants:
            return found, None if chosen.fresh else frozenset()
        return {**chosen.constants, **found}, found.keys() if chosen.fresh else frozenset()

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


@dataclass(slots=True, eq=False)
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


def _lying(refs: Iterable[TensorRef], env: Env, state: RunState) -> list[Any]:
    """Return the same where they lie: values of variables may be with an engine."""
    found = [v if (v := env[r]) is not DEAD else live(v, r) for r in refs]
    at = [i for i, v in enumerate(found) if isinstance(v, Handle)]
    for i, value in zip(at, state.lying([found[i] for i in at]), strict=True):
        found[i] = value
    return found


def _check_fit(ref: TensorRef, handle: Handle, value: Any) -> None:
    if not handle.shape.accepts(value.shape):
        raise ExecutionError(
            f"variable `{handle.name}` cannot take the value", where=f"at node `{ref.node}`",
            expected=handle.shape, found=list(value.shape),
        )  # fmt: skip


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
