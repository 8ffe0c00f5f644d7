"""Programs: a graph, or one of its functions, with the plans made for it so far."""

from __future__ import annotations

import collections
import dataclasses
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final

import numpy as np

from coldframe.collecting import RESTING
from coldframe.engines.base import BoundNode, Engine, FunctionBody
from coldframe.engines.reference import read_only
from coldframe.errors import ExecutionError, FeedError
from coldframe.graph.ir import Function, Graph, Node, substitute
from coldframe.graph.names import TensorRef
from coldframe.graph.signatures import known
from coldframe.graph.traverse import needed, topological
from coldframe.graph.values import AttrValue, FuncRef, RefType
from coldframe.ops import OpTable
from coldframe.ops.state import Handle
from coldframe.passes.base import has_flow
from coldframe.passes.hoist_reads import hoist_reads
from coldframe.passes.inline import inline_calls
from coldframe.passes.library import Library
from coldframe.records import dataclass
from coldframe.runtime.binding import bind_all, bind_node, constant_of, require_outputs
from coldframe.runtime.choice import Choice, Trial, choose
from coldframe.runtime.deciding import Deciding
from coldframe.runtime.direct import Direct
from coldframe.runtime.equals import join_equal
from coldframe.runtime.lookups import join_lookups
from coldframe.runtime.missing import refuse_missing
from coldframe.runtime.plan import Plan, PlanBuilder, Task
from coldframe.runtime.regions import Region, find_regions
from coldframe.runtime.rows import pad_rows, sum_equal_rows
from coldframe.runtime.state import RunState

_PLANS: Final = 64  # kept per program; the least recently used goes first
_SHAPES: Final = 1000  # of feeds, that are counted per plan
_DEPTH: Final = 80  # functions that call functions while running
_UNKNOWN_SCALARS: Final = 24  # before this producer version a placeholder of shape [] meant any shape

Feeds = Mapping[TensorRef, Any]


class Settings:
    """What all programs of a session share.

    Attributes:
        table: the op table.
        engine: what compiles islands.
        exact: makes the engine for plans that `choose` finds worth compiling for their very shapes; None: there is no
            choice.
        selective: whether small islands stay on numpy.
        pin: whether variables' values are compiled in.
        raises: whether V1 control flow is raised to functions where it can be.
        lists: whether the tensor arrays that it uses are turned into lists, which can be compiled.
    """

    def __init__(
        self,
        table: OpTable,
        engine: Engine,
        *,
        selective: bool,
        pin: bool,
        exact: Callable[[], Engine] | None = None,
        raises: bool = True,
        lists: bool = True,
    ) -> None:
        self.table, self.engine, self.selective, self.pin, self.exact = table, engine, selective, pin, exact
        self.raises, self.lists = raises, lists
        self.functions: dict[Any, Callable[..., list[Any]]] = {}


@dataclass(frozen=True, slots=True, eq=False)
class _Last:
    """The plan that ran last, and what for: most runs are of the same kind as the run before."""

    fetches: tuple[TensorRef, ...]
    targets: tuple[str, ...]
    fed: tuple[TensorRef, ...]
    kinds: list[Any]
    plan: Plan

    def takes(self, fetches: tuple[TensorRef, ...], targets: tuple[str, ...], feeds: Feeds) -> bool:
        """Whether the plan is the one for such a run."""
        return (
            fetches is self.fetches
            and targets is self.targets
            and tuple(feeds) == self.fed
            and [_kind(v) for v in feeds.values()] == self.kinds
            and not self.plan.wavers
        )


class Program:
    """Runs fetches of one graph. Safe to use from several threads."""

    def __init__(self, graph: Graph, settings: Settings, arguments: frozenset[str] = frozenset()) -> None:
        self.graph, self._settings, self._arguments = graph, settings, arguments
        self._feeds: dict[TensorRef, tuple[Any, tuple[int | None, ...] | None]] = {}
        self._plans: collections.OrderedDict[Any, Plan] = collections.OrderedDict()
        self._lock = threading.Lock()
        self._deciding = Deciding(graph)
        self._last: _Last | None = None

    def run(self, fetches: tuple[TensorRef, ...], targets: tuple[str, ...], feeds: Feeds, state: RunState) -> list[Any]:
        """Return the values of `fetches`; `targets` are nodes that must run as well.

        Args:
            fetches: tensors of the graph.
            targets: names of nodes.
            feeds: values for tensors of the graph, arrays of the right dtype (or handles).
            state: the run's state.
        """
        last = self._last
        if last is not None and last.takes(fetches, targets, feeds):
            return last.plan.run(feeds, state)
        key: Any = (fetches, targets, tuple((r, _kind(v)) for r, v in sorted(feeds.items())))
        decided = self._deciding.values(fetches, targets, feeds)
        key += decided
        plan = general = self._made(key)
        again, trial = False, None
        if plan is not None and plan.seen is not None:
            shapes = _shapes(feeds)
            with self._lock:
                if len(plan.seen) > _SHAPES:
                    plan.seen.clear()
                trial = plan.seen[shapes]
                again = trial.next()
            if again:
                key = (key, shapes)
                plan = self._made(key)
        if plan is not None and not plan.wavers:
            started = time.perf_counter()
            values = plan.run(feeds, state)
            if trial is not None:
                with self._lock:
                    trial.note(again, time.perf_counter() - started)
            elif not decided:
                self._last = _Last(fetches, targets, tuple(feeds), [_kind(v) for v in feeds.values()], plan)
            return values
        plan, values = self._build(fetches, targets, feeds, state, again, by_value=plan is None)
        if again and general is not None and not plan.compiles_loops:
            general.seen, plan = None, general  # the loops are what another engine was asked for
        with self._lock:
            self._plans[key] = plan
            if len(self._plans) > _PLANS:
                self._plans.popitem(last=False)
        return values

    def direct(self, fetches: Mapping[str, TensorRef], fed: Mapping[str, TensorRef], feeds: Feeds) -> Direct | None:
        """Return the short way of running `fetches` with such feeds once more; None without one.

        Args:
            fetches: tensors by the names under which the short way returns them.
            fed: those fed by the names under which it gets them.
            feeds: as they were run.
        """
        wanted = tuple(fetches.values())
        key = (wanted, (), tuple((r, _kind(v)) for r, v in sorted(feeds.items())))
        plan = None if self._deciding.values(wanted, (), feeds) else self._made(key)
        return None if plan is None else Direct.of(plan, fed, dict(zip(fetches, plan.fetches, strict=True)))

    def _made(self, key: Any) -> Plan | None:
        with self._lock:
            plan = self._plans.get(key)
            if plan is not None:
                self._plans.move_to_end(key)
        return plan

    def _build(
        self,
        fetches: tuple[TensorRef, ...],
        targets: tuple[str, ...],
        feeds: Feeds,
        state: RunState,
        again: bool,
        by_value: bool,
    ) -> tuple[Plan, list[Any]]:
        """Make a plan by running it; `again` where feeds of these shapes have come before, `by_value` as in `Task`."""
        with RESTING:
            task = dataclasses.replace(self._task(fetches, targets, feeds), by_value=by_value)
        wish = choose(task.nodes) if not task.regions else Choice.GENERAL
        exact = self._settings.exact
        if exact is not None and (wish is Choice.EXACT or (wish is Choice.RECURRING and again)):
            task = dataclasses.replace(task, engine=exact(), spare=task.engine)
        if task.engine.exact_shapes and not task.regions:
            task = dataclasses.replace(task, nodes=pad_rows(task.nodes, {*task.fetches, *task.feeds}))
        plan, values = PlanBuilder(task, feeds, state).build()
        if exact is not None and wish is Choice.RECURRING and not again:
            plan.seen = collections.defaultdict(Trial)
            plan.seen[_shapes(feeds)].next()
        return plan, values

    def plans(self) -> list[Plan]:
        """The plans made so far."""
        with self._lock:
            return list(self._plans.values())

    def _task(self, fetches: tuple[TensorRef, ...], targets: tuple[str, ...], feeds: Feeds) -> Task:
        inlined = inline_calls(self.graph, [*fetches, *targets], fed=feeds.keys())
        wanted = tuple(inlined.alias(r) for r in fetches)
        goals = [t for name in targets for t in inlined.nodes(name)]
        graph = hoist_reads(self._deciding.settled(inlined.graph, feeds), {*wanted, *feeds})
        names = needed(graph, [r.node for r in wanted if r not in feeds] + goals, {*feeds, *self._argument_refs(feeds)})
        nodes = [graph.nodes[n] for n in graph.nodes if n in names]
        refuse_missing(nodes, graph.functions, self._settings.table)
        bound = bind_all(nodes, self._settings.table, self._binder(graph))
        require_outputs([r for r in wanted if r not in feeds], bound)
        kept: Mapping[str, str] = {}
        if self._settings.raises and has_flow(nodes):
            from coldframe.passes.arrays_to_lists import arrays_to_lists  # here, since most graphs have no such flow
            from coldframe.passes.raise_control_flow import raise_control_flow

            raised = raise_control_flow(graph.with_nodes(nodes), [*wanted, *goals], feeds.keys())
            flat, kept = raised.graph, raised.kept
            if self._settings.lists:
                flat = arrays_to_lists(flat, [*(r.node for r in wanted), *goals], feeds.keys())
            flat = hoist_reads(flat, {*wanted, *feeds})
            bound = bind_all(list(flat), self._settings.table, self._binder(flat), bound)
        regions = [dataclasses.replace(r, reason=_why(r, kept)) for r in find_regions(bound)]
        inside = {b.name for r in regions for b in r.members}
        constants = {
            b.node.out(): read_only(constant_of(b.call))
            for b in bound.values()
            if b.call.op.const and b.name not in inside and b.node.out() not in feeds
        }
        regions = _pass_on_waits(bound, inside, {r.node for r in constants}, regions)
        if not regions:
            bound = sum_equal_rows(bound, constants, {*wanted, *feeds})
            if self._settings.selective:
                bound = join_lookups(join_equal(bound, {*wanted, *feeds}), constants, {*wanted, *feeds})
        outside = {n: b.node for n, b in bound.items() if n not in inside and b.node.out() not in constants}
        return Task(
            [bound[n.name] for n in topological(outside, fed=feeds)],
            regions,
            constants,
            wanted,
            {r: self._dims(r, self.graph) for r in feeds},
            self._settings.engine,
            self._settings.selective,
            self._settings.pin,
        )

    def _argument_refs(self, feeds: Feeds) -> list[TensorRef]:
        return [r for r in feeds if r.node in self._arguments]

    def _dims(self, ref: TensorRef, graph: Graph) -> tuple[int | None, ...] | None:
        node = graph.nodes.get(ref.node)
        if node is None or not self._is_placeholder(node):
            return None
        shape = node.attrs.get("shape")
        dims = getattr(shape, "dims", None)
        return None if dims == () and graph.producer < _UNKNOWN_SCALARS else dims

    def _is_placeholder(self, node: Node) -> bool:
        return node.op in self._settings.table and self._settings.table[node.op].placeholder

    def body(
        self, args: Sequence[str], returns: tuple[TensorRef, ...], targets: tuple[str, ...]
    ) -> FunctionBody | None:
        """Return what computes `returns` of a function's body; None where V1 control flow does."""
        inputs = tuple(TensorRef(n) for n in args)
        task = self._task(returns, targets, dict.fromkeys(inputs))
        if task.regions:
            return None
        return FunctionBody(task.nodes, task.constants, inputs, task.fetches)

    # --- feeds --------------------------------------------------------------------------------------------------
    @property
    def settings(self) -> Settings:
        return self._settings

    def feed(self, ref: TensorRef, value: Any) -> Any:
        """Return `value` as an array of the dtype that tensor `ref` has.

        Raises:
            FeedError: its dtype or shape does not fit.
        """
        dtype, dims = self.fed_as(ref)
        array = as_feed(value, dtype, ref)
        if dims is not None and (
            len(dims) != array.ndim or any(d is not None and d != n for d, n in zip(dims, array.shape, strict=True))
        ):
            shown = [("?" if d is None else d) for d in dims]
            raise FeedError(f"the value fed to `{ref}` has the wrong shape", expected=shown, found=list(array.shape))
        return array

    def fed_as(self, ref: TensorRef) -> tuple[Any, tuple[int | None, ...] | None]:
        """Return the dtype and the sizes that values fed to a tensor must have; None for what is not known."""
        found = self._feeds.get(ref)
        if found is None:
            dtype = self._dtype(ref, self.graph.nodes[ref.node])
            base = dtype.base if isinstance(dtype, RefType) else dtype
            found = self._feeds[ref] = base, self._dims(ref, self.graph)
        return found

    def _dtype(self, ref: TensorRef, node: Node) -> Any:
        if node.op in self.graph.functions or not known(node.op):
            return None
        call = bind_node(node, self._settings.table, self._function).call if node.op in self._settings.table else None
        if call is None:
            return None
        if ref.slot >= len(call.outputs):
            raise FeedError(
                f"`{ref}` does not exist", expected=f"{len(call.outputs)} outputs", found=f"slot {ref.slot}"
            )
        return call.outputs[ref.slot][1]

    # --- functions ----------------------------------------------------------------------------------------------
    def _function(self, ref: FuncRef) -> Callable[..., list[Any]]:
        return self._binder(self.graph)(ref)

    def _binder(self, graph: Graph) -> Callable[[FuncRef], Callable[..., list[Any]]]:
        """Return what finds the functions of `graph`; those of a pass live as long as the plan that was made of it."""
        library = graph.functions
        cache = library.made if isinstance(library, Library) else self._settings.functions

        def find(ref: FuncRef) -> Callable[..., list[Any]]:
            key = (ref.name, repr(sorted(ref.attrs.items())), id(library))
            if key not in cache:
                cache[key] = _callable(graph.function(ref.name), ref.attrs, self._settings)
            return cache[key]

        return find


def _callable(function: Function, attrs: Mapping[str, AttrValue], settings: Settings) -> Callable[..., list[Any]]:
    """Return a function as Python sees it: ``f(state, *tensors) -> list of tensors``."""
    body = function.body
    if attrs:
        nodes = []
        for n in body:
            copy = n.copy()
            copy.attrs = {k: substitute(v, attrs) for k, v in n.attrs.items()}
            nodes.append(copy)
        body = body.with_nodes(nodes)
    args = tuple(a.name for a in function.args)
    program = Program(body, settings, frozenset(args))
    acting = [n.name for n in body if n.op in settings.table and _acts(settings.table, n.op)]
    targets = tuple(dict.fromkeys((*function.control_returns, *acting)))

    return FunctionCall(function.name, program, args, tuple(function.returns), targets)


@dataclass(slots=True, eq=False)
class FunctionCall:
    """A function as ops receive it: ``f(state, *tensors) -> list of tensors``."""

    name: str
    program: Program
    args: tuple[str, ...]
    returns: tuple[TensorRef, ...]
    targets: tuple[str, ...]
    traced: FunctionBody | None = None

    def __call__(self, state: RunState, *tensors: Any) -> list[Any]:
        """Run it as a program of its own."""
        if len(tensors) != len(self.args):
            raise ExecutionError(f"function `{self.name}`", expected=f"{len(self.args)} inputs", found=len(tensors))
        if state.depth >= _DEPTH:
            raise ExecutionError(f"function `{self.name}` calls itself too often", expected=f"depth {_DEPTH}")
        state.depth += 1
        try:
            feeds = {TensorRef(n): t for n, t in zip(self.args, tensors, strict=True)}
            return self.program.run(self.returns, self.targets, feeds, state)
        except RecursionError:
            raise ExecutionError(
                f"function `{self.name}` is called so deep that Python's stack is full",
                hint="sys.setrecursionlimit makes room; a function that calls itself without end is refused then",
            ) from None
        finally:
            state.depth -= 1

    def body(self) -> FunctionBody | None:
        """Return what it computes, for engines that compile its callers; None where V1 control flow is in it."""
        if self.traced is None:
            self.traced = self.program.body(self.args, self.returns, self.targets)
        return self.traced


def _why(region: Region, kept: Mapping[str, str]) -> str:
    """Return what the report says of V1 control flow that is not raised to functions."""
    found = next(((b.name, kept[b.name]) for b in region.members if b.name in kept), None)
    return region.name if found is None else f"control flow that cannot be compiled: at `{found[0]}`, {found[1]}"


def _acts(table: OpTable, name: str) -> bool:
    op = table[name]
    return op.effect or op.role in ("assign", "update")


def _pass_on_waits(
    bound: dict[str, BoundNode], inside: Collection[str], constants: Collection[str], regions: list[Region]
) -> list[Region]:
    """Let the readers of constants wait for what those wait for, since constants are there from the start.

    TensorFlow orders steps that way: the increment of ``global_step`` waits for a training step through its constant.
    """
    waits: dict[str, list[str]] = {}
    for node in topological({n: bound[n].node for n in constants if bound[n].node.controls}):
        waits[node.name] = [w for c in node.controls for w in ([c] if c not in constants else waits.get(c, []))]
    if not waits:
        return regions
    for name, b in bound.items():
        more = [w for s in (*(r.node for r in b.node.inputs), *b.node.controls) for w in waits.get(s, ())]
        if more and name not in inside and name not in constants:
            b.node = b.node.copy()
            b.node.controls = list(dict.fromkeys([*b.node.controls, *more]))
    return [_later(region, waits) for region in regions]


def _later(region: Region, waits: Mapping[str, list[str]]) -> Region:
    more = [w for s in (*(r.node for r in region.sources), *region.controls) for w in waits.get(s, ())]
    return dataclasses.replace(region, controls=tuple(dict.fromkeys([*region.controls, *more])))


def _kind(value: Any) -> Any:
    return (value.dtype, value.ndim) if isinstance(value, np.ndarray) else type(value).__name__


def _shapes(feeds: Feeds) -> Any:
    return tuple((r, getattr(v, "shape", None)) for r, v in sorted(feeds.items()))


def as_feed(value: Any, dtype: Any, ref: TensorRef) -> Any:
    """Return `value` as an array of `dtype`; numbers convert where their kind allows it: int to float, not back."""
    if isinstance(value, Handle) or dtype is None:
        return value if isinstance(value, Handle) else np.asarray(value)
    if dtype.kind == "s":
        return _strings(value, ref)
    array = np.asarray(value)
    if array.dtype != dtype.numpy:
        plain = isinstance(value, (bool, int, float, complex, list, tuple))
        if not (np.can_cast(array.dtype, dtype.numpy, "same_kind") or (plain and not array.size)):
            raise FeedError(f"the value fed to `{ref}` has the wrong dtype", expected=dtype, found=array.dtype)
        array = array.astype(dtype.numpy)
    return read_only(array)  # the caller's own memory is never written, nor handed back as a result


def _strings(value: Any, ref: TensorRef) -> Any:
    array = np.asarray(value, object) if not isinstance(value, np.ndarray) else value
    out = np.empty(array.shape, object)
    flat, items = out.reshape(-1), array.ravel().tolist()
    if set(map(type, items)) == {bytes}:  # as nearly all are
        flat[:] = items
        return out
    for i, v in enumerate(items):
        if not isinstance(v, (str, bytes)):
            raise FeedError(f"the value fed to `{ref}` has the wrong dtype", expected="string", found=type(v).__name__)
        flat[i] = v.encode() if isinstance(v, str) else v
    return flat.reshape(array.shape)
