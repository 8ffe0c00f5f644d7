"""Plans: the steps that compute some fetches from some feeds.

A plan is made by running: nodes whose inputs are there go to the engine as one island, which is compiled for the dtypes
and ranks that are now known; what the engine refuses becomes host steps on numpy. The steps are kept and replayed. An
island whose assumptions do not hold for a later run is compiled again for it.
"""

from __future__ import annotations

import collections
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from coldframe.dtypes import from_numpy, resource
from coldframe.engines.base import NOT_COMPILED, BoundNode, Compiled, Engine, EngineFailure, Guard, Island
from coldframe.engines.reference import read_only
from coldframe.errors import GraphError
from coldframe.graph.names import TensorRef
from coldframe.ops.state import Handle
from coldframe.records import dataclass
from coldframe.runtime.choice import Trial, varying
from coldframe.runtime.foreseen import fixed, is_draw, needed_values
from coldframe.runtime.functional import Functional, Variables
from coldframe.runtime.regions import Region
from coldframe.runtime.reporting import LITTLE, VARYING
from coldframe.runtime.state import RunState
from coldframe.runtime.steps import VARIANTS, Env, HostStep, IslandStep, RegionStep, Step, contents, live, read_by

_PINNED: Final = 64  # elements; larger inputs are not compiled in
_FREE: Final = ("identity", "read", "assign", "noop")  # roles of nodes that move values at most
_LARGE: Final = 100_000  # elements of a variable; to write all of a larger one is worth an island, too
_KEPT: Final = 1 << 24  # bytes that a step's constant results may take in memory
_CLOSES: Final = ("array_close", "stack_close")  # roles of nodes that nothing may follow which they do not precede
_WORTH: Final = 10  # nodes; a smaller island without dense work starts and runs faster on numpy


def _value(v: Any, state: RunState) -> Any:
    return state.read(v) if isinstance(v, Handle) and v.is_ref else v


@dataclass(slots=True, eq=False)
class Plan:
    """Steps in order, and what they leave in the environment.

    Attributes:
        seen: by shapes of feeds that came: whether a plan for the shape runs them sooner; None where it would not.
    """

    steps: list[Step]
    fetches: tuple[TensorRef, ...]
    constants: Mapping[TensorRef, Any]
    skip: frozenset[TensorRef]
    seen: dict[Any, Trial] | None = None

    @property
    def wavers(self) -> bool:
        """Whether an input whose values are compiled in keeps changing."""
        return any(isinstance(s, IslandStep) and s.wavers for s in self.steps)

    def run(self, feeds: Mapping[TensorRef, Any], state: RunState) -> list[Any]:
        """Run all steps and return the fetched values."""
        env: Env = {**self.constants, **feeds}
        with np.errstate(all="ignore"):
            for step in self.steps:
                step.run(env, state)
                if self.skip:
                    env.update((r, feeds[r]) for r in self.skip)
                for r in step.drop:
                    del env[r]
        return [_fetched(env[r], r, state) for r in self.fetches]

    @property
    def compiles_loops(self) -> bool:
        """Whether a compiled part has a loop in it."""
        compiled = [b.call.op for s in self.steps if isinstance(s, IslandStep) for b in s.nodes]
        return any(op.role == "while" or (op.heavy and "jax" in op.rules and op.host) for op in compiled)

    def report(self) -> list[dict[str, Any]]:
        """Return what runs where, see `coldframe.runtime.reporting`."""
        return [_reported(s) for s in self.steps]


def _reported(s: Step) -> dict[str, Any]:
    if isinstance(s, HostStep):
        return {"op": s.bound.call.op.name, **_part("numpy", s.bound.members or [s.bound], s.reason)}
    if isinstance(s, IslandStep):
        last = s.variants[-1].runner
        return _part(last.engine if last else s.engine, s.nodes, s.failure or (last.reason if last else ""))
    return _part("numpy", s.region.region.members, s.region.region.reason)


def _part(engine: str, nodes: Sequence[BoundNode], reason: str) -> dict[str, Any]:
    ops = dict(collections.Counter(b.call.op.name for b in nodes).most_common())
    return {"engine": engine, "nodes": [b.name for b in nodes], "ops": ops, "reason": reason}


def _fetched(v: Any, ref: TensorRef, state: RunState) -> Any:
    return _value(live(v, ref), state)


@dataclass(slots=True, eq=False)
class Task:
    """What a plan is made for.

    Attributes:
        nodes: what must run, in topological order, constants and regions left out.
        regions: V1 control flow.
        constants: the values of constant nodes.
        fetches: tensors wanted.
        feeds: fed tensors, with what may be assumed of each (dims None where any will do).
        engine: what compiles.
        selective: leave small islands to numpy.
        pin: compile variables' values in, for as long as nobody assigns them.
        spare: what compiles islands that come in too many shapes for `engine`.
        by_value: compile the values of inputs in where ops need them, such as the axes of a transposition, for as long
            as they stay the same.
    """

    nodes: Sequence[BoundNode]
    regions: Sequence[Region]
    constants: Mapping[TensorRef, Any]
    fetches: tuple[TensorRef, ...]
    feeds: Mapping[TensorRef, tuple[int | None, ...] | None]
    engine: Engine
    selective: bool
    pin: bool
    spare: Engine | None = None
    by_value: bool = True


class PlanBuilder:
    """Runs a task for the first time and keeps the steps."""

    def __init__(self, task: Task, feeds: Mapping[TensorRef, Any], state: RunState) -> None:
        self._task, self._state = task, state
        self._feeds, self._inner = feeds, state.depth > 0
        self._variables = Variables(task.nodes, feeds, state, writes=not task.pin)
        self._constants: Env = dict(task.constants)
        self._fixed = fixed(task.nodes, task.constants, feeds)
        self._known: Env = {**task.constants, **self._variables.handles}
        self._env: Env = {**self._known, **feeds}
        self._steps: list[Step] = []
        made = self._variables.made()
        self._left = {b.name: b for b in task.nodes if b.name not in made}
        self._regions = list(task.regions)
        # Nodes that have not run yet, those of regions too.
        self._pending = {*self._left, *(b.name for r in task.regions for b in r.members)}
        self._host = {b.name: why for b in self._left.values() if (why := self._declined(b))}
        if task.selective and task.engine.exact_shapes:
            self._host.update(dict.fromkeys(varying(self._left.values()) - self._host.keys(), VARYING))
        self._wanted = set(task.fetches)
        self._consumers: dict[TensorRef, set[str]] = {}
        for b in [*task.nodes, *(b for r in task.regions for b in r.members)]:
            for r in b.node.inputs:
                self._consumers.setdefault(r, set()).add(b.name)
        # What these hand out depends on a variable alone: the very same array until somebody assigns it.
        self._stateful = {b.name: b.node.out() for b in task.nodes if b.call.op.variable}
        self._stateful |= {
            b.name: b.node.inputs[0] for b in task.nodes if b.call.op.role == "read" and len(b.call.inputs) == 1
        }

    def build(self) -> tuple[Plan, list[Any]]:
        """Run everything and return the plan and the fetched values."""
        python = [b for b in self._task.nodes if b.call.op.role == "python"]
        self._state.require_functions({b.call.attrs["token"].decode("utf-8", "replace"): b.name for b in python})
        with np.errstate(all="ignore"):
            while self._pending:
                before = len(self._pending), len(self._host)
                self._host_round()
                self._island_round()
                if (len(self._pending), len(self._host)) == before:
                    self._close()
                assert (len(self._pending), len(self._host)) != before, "every round runs or refuses something"
        results = [_fetched(self._env[r], r, self._state) for r in self._task.fetches]
        made = {r for s in self._steps for r in s.outputs}
        _release(self._steps, self._wanted | self._feeds.keys() | self._known.keys())
        skip = frozenset(r for r in self._feeds if r in made)
        self._env, self._feeds = {}, {}  # recompiling islands keep this builder, not the tensors of its run
        read = {r for s in self._steps for r in read_by(s)} | {*self._task.fetches}
        return Plan(self._steps, self._task.fetches, {r: v for r, v in self._known.items() if r in read}, skip), results

    def _declined(self, bound: BoundNode) -> str:
        """Return why the engine would not try a node.

        Gradients ask for shapes and compute with them on numpy. Where steps train, islands are compiled for the sizes
        that they get, and so most of this is folded: the engine is to try. Random numbers become inputs of the island
        there: they would split it.
        """
        b = self._variables.call(bound)
        why = self._task.engine.declines(b)
        if self._variables.written and why in ("random", b.call.op.host) and (b.call.op.pure or is_draw(b.call)):
            return ""
        if bound.name in self._fixed and why in (b.call.op.host, NOT_COMPILED):
            return ""  # constants are folded, whatever computes them
        return why

    def _ready(self, inputs: Iterable[TensorRef], controls: Iterable[str], also: set[str]) -> bool:
        for r in inputs:
            if r.node in self._pending and r not in self._feeds and r.node not in also:
                return False
        return all(c not in self._pending or c in also for c in controls)

    def _host_round(self) -> None:
        # What may wait for another thread comes last: the same run may have something to hand to that thread.
        for bound in sorted(self._left.values(), key=lambda b: b.call.op.role == "waits"):
            if bound.name in self._host and bound.call.op.role not in _CLOSES and self._runs_now(bound):
                self._do(self._host_step(bound), [bound])
        for region in list(self._regions):
            if self._ready(region.sources, region.controls, set()):
                from coldframe.runtime.frames import RegionPlan  # here, since most graphs have no such regions

                names = {b.name for b in region.members}
                outputs = tuple(r for b in region.members for r in b.outputs() if self._needed(r, names))
                self._do(RegionStep(RegionPlan(region), outputs), region.members)
                self._regions.remove(region)

    def _close(self) -> None:
        """Close one array or stack, now that nothing else can run: what is left waits for one being closed.

        A graph need not say that closing comes last; TensorFlow's executor comes to it late.
        """
        ready = [b for b in self._left.values() if b.call.op.role in _CLOSES and self._runs_now(b)]
        awaited = {c for b in self._left.values() for c in b.node.controls}
        for bound in sorted(ready, key=lambda b: b.name not in awaited)[:1]:
            self._do(self._host_step(bound), [bound])

    def _runs_now(self, bound: BoundNode) -> bool:
        return self._ready(bound.node.inputs, bound.node.controls, set())

    def _host_step(self, bound: BoundNode) -> HostStep:
        self._require_handles(bound)
        return HostStep(bound, self._host[bound.name], bound.outputs())

    def _require_handles(self, bound: BoundNode) -> None:
        """Refuse arrays where an op takes resources, as where variables were made constants but not what reads them.

        Raises:
            GraphError: the node has one.
        """
        for i in bound.call.handles():
            ref = bound.node.inputs[i]
            if bound.call.inputs[i][1] is resource and isinstance(self._env.get(ref), np.ndarray | np.generic):
                raise GraphError(
                    f"`{ref}` is no resource",
                    where=f"at node `{bound.name}` ({bound.call.op.name})", expected="a handle of a variable or table",
                    found=f"a tensor of {from_numpy(self._env[ref].dtype)}",
                )  # fmt: skip

    def _do(self, step: Step, nodes: Sequence[BoundNode]) -> None:
        step.run(self._env, self._state)
        self._env.update(self._feeds)
        acts = step.outputs or any(b.call.op.role != "noop" for b in nodes)
        if acts and not self._settled(step, nodes):
            self._steps.append(step)
        for b in nodes:
            self._pending.discard(b.name)
            self._left.pop(b.name, None)

    def _settled(self, step: Step, nodes: Sequence[BoundNode]) -> bool:
        """Keep what a step made where it is the same in every run: then the step need not run again."""
        made = {r: self._env[r] for r in step.outputs}
        if any(b.name not in self._fixed for b in nodes) or not all(isinstance(v, np.ndarray) for v in made.values()):
            return False
        if sum(v.nbytes for v in made.values()) > _KEPT:
            return False
        kept = {r: read_only(v) for r, v in made.items()}
        for known in (self._known, self._constants, self._env):
            known.update(kept)
        return True

    def _island_round(self) -> None:
        names: set[str] = set()
        nodes: list[BoundNode] = []
        for bound in self._left.values():
            if bound.name not in self._host and self._ready(bound.node.inputs, bound.node.controls, names):
                if self._takes_objects(bound):
                    self._host[bound.name] = NOT_COMPILED
                    continue
                names.add(bound.name)
                nodes.append(bound)
        if not nodes:
            return
        if self._task.selective and not self._worth_compiling(nodes):
            self._host.update(dict.fromkeys(names, LITTLE))
            return
        pure = self._variables.functional(nodes)
        sources = self._sources(pure.nodes, names)
        try:
            compiled = self._compile(pure, contents(sources, self._env, self._state), self._task.engine)
            taken = [self._left[b.name] for b in compiled.nodes]
            little = bool(compiled.refused) and self._task.selective and not self._worth_compiling(taken)
            if taken and not little:
                compiled.start()
        except EngineFailure as e:
            self._host.update(dict.fromkeys(names, f"{self._task.engine.name} failed: {e}"))
            return
        self._host.update(compiled.refused)
        if little:
            self._host.update(dict.fromkeys((b.name for b in taken), LITTLE))
        elif taken:
            self._do(self._island(pure, compiled), taken)
            self._constants.update((r, c) for r, c in compiled.constants.items() if r.node in self._fixed)

    def _island(self, pure: Functional, compiled: Compiled) -> IslandStep:
        covered = {b.name for b in compiled.nodes}
        return IslandStep(
            compiled.nodes,
            self._sources(compiled.nodes, covered),
            tuple(compiled.constants) + compiled.outputs,
            self._constants,
            [compiled],
            self._recompiler(Functional(compiled.nodes, pure.writes), compiled),
            pure.last(covered),
            engine=self._task.engine.name,
        )

    def _takes_objects(self, bound: BoundNode) -> bool:
        """Whether a node is given a variant that is no list, which dtypes do not tell: a dataset, an optional."""
        variants = [r for r, (_, d) in zip(bound.node.inputs, bound.call.inputs, strict=False) if d.kind == "o"]
        return any(r in self._env and not hasattr(self._env[r], "dtype") for r in variants)

    def _sources(self, nodes: Sequence[BoundNode], names: set[str]) -> tuple[TensorRef, ...]:
        found: dict[TensorRef, None] = {}
        for b in nodes:
            for r in b.node.inputs:
                if (r.node not in names or r in self._feeds) and r not in self._constants:
                    found[r] = None
        return tuple(found)

    def _compile(
        self, pure: Functional, values: dict[TensorRef, Any], engine: Engine, *, exact: bool = False, near: bool = True
    ) -> Compiled:
        """Compile for the sizes of `values` where `exact`; where `near`, for all but their first."""
        # An engine that compiles for seconds is not to do so for each value.
        asked = needed_values(pure.nodes) if self._task.by_value and not engine.exact_shapes else frozenset()
        sizes = 0 if exact or engine.exact_shapes else 1 if near else None
        inputs = {r: self._guard(r, v, sizes, r in asked) for r, v in values.items()}

        def leaves(ref: TensorRef, names: set[str]) -> bool:
            return ref in pure.last(names) if ref in pure.writes else self._needed(ref, names)

        trains, whole = bool(pure.writes), self._is_whole(pure.nodes)
        compiled = engine.compile(Island(pure.nodes, inputs, self._constants, leaves, trains, whole))
        if compiled.refused and not exact and any(None in g.dims for g in inputs.values()):
            closer = self._compile(pure, values, engine, exact=True)  # sizes that are known may help
            if len(closer.nodes) > len(compiled.nodes):
                return closer
        return compiled

    def _is_whole(self, nodes: Sequence[BoundNode]) -> bool:
        """Whether the plan is one island of `nodes`, and no part of another."""
        before = not self._steps and len(nodes) == len(self._pending)
        return not self._inner and (before if self._pending else len(self._steps) == 1)

    def _recompiler(self, pure: Functional, first: Compiled) -> Callable[[dict[TensorRef, Any], int], Compiled | None]:
        covered = {b.name for b in first.nodes}
        outputs = {*first.constants, *first.outputs}

        def again(values: dict[TensorRef, Any], number: int) -> Compiled | None:
            engine = self._task.engine if number < VARIANTS else self._task.spare
            if engine is None:
                return None
            try:
                compiled = self._compile(pure, values, engine, near=False)  # sizes do vary
                same = {b.name for b in compiled.nodes} == covered
                if not same or outputs != {*compiled.constants, *compiled.outputs}:
                    return None
                compiled.start()
            except EngineFailure:
                return None
            return compiled

        return again

    def _guard(self, ref: TensorRef, value: Any, sizes: int | None, asked: bool) -> Guard:
        """Return what may be assumed of `value`: the sizes from dimension `sizes` on, those that the graph fixes."""
        dtype = from_numpy(value.dtype)
        if ref.node in self._stateful:
            # The values of one that each run changes, such as the state of a random generator, would never come again.
            changes = self._variables.changes(self._stateful[ref.node])
            return Guard(ref, dtype, value.shape, value if self._task.pin and not changes else None)
        if asked and value.size <= _PINNED:
            return Guard(ref, dtype, value.shape, value, by_value=True)
        known = self._task.feeds.get(ref)
        dims = known if known is not None else (None,) * value.ndim
        if sizes is not None and (value.size or not sizes):
            dims = (*dims[:sizes], *value.shape[sizes:])
        return Guard(ref, dtype, dims, rows=value.shape[0] if value.ndim else None)

    def _worth_compiling(self, nodes: Sequence[BoundNode]) -> bool:
        work = [b for b in nodes if b.call.op.role not in _FREE]
        if len(work) >= _WORTH or any(b.call.op.heavy or b.call.op.role == "while" for b in work):
            return True
        written = (self._variables.handles.get(b.node.inputs[0]) for b in work if b.call.op.role == "update")
        return any(h is not None and (h.shape.size or 0) >= _LARGE for h in written)

    def _needed(self, ref: TensorRef, names: set[str]) -> bool:
        return ref in self._wanted or not self._consumers.get(ref, set()) <= names


def _release(steps: Sequence[Step], keep: set[TensorRef]) -> None:
    """Note, at each step, the tensors that nobody reads after it."""
    last: dict[TensorRef, Step] = {}
    for step in steps:
        for r in step.outputs:
            last[r] = step
        for r in read_by(step):
            last[r] = step
    drops: dict[int, list[TensorRef]] = {}
    for r, step in last.items():
        if r not in keep:
            drops.setdefault(id(step), []).append(r)
    for step in steps:
        step.drop = tuple(drops.get(id(step), ()))
