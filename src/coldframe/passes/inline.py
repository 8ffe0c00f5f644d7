"""Replace calls of functions by the functions' bodies.

::

    y = PartitionedCall(x, f=F)          y/mul = Mul(x, y/two)
    z = Neg(y)                   ──►     z = Neg(y/mul)              alias: y:0 ─► y/mul:0

A call is a node whose op has the role ``call``, or whose op is the name of a function of the library. Functions that
are attributes of branches and loops stay functions. A call in TensorFlow is one step: what it waits for, all of its
body waits for, and what waits for it, or reads it, waits for all that its body does beyond its results. Control
dependencies keep that where it can be told from outside, that is for nodes with side effects; others stay free of them
so that they can still be folded.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final

from coldframe.errors import GraphError
from coldframe.graph import signatures
from coldframe.graph.convert import from_attr
from coldframe.graph.ir import Function, Graph, Node, substitute
from coldframe.graph.names import TensorRef
from coldframe.graph.traverse import needed, topological
from coldframe.graph.values import AttrPlaceholder, AttrValue, FuncRef, base_type
from coldframe.ops import OpTable, table
from coldframe.passes.base import Context, row_of
from coldframe.records import dataclass

MAX_DEPTH: Final = 100
MAX_NODES: Final = 2_000_000
_JOIN: Final = 2  # more control dependencies than this, for several nodes, go through a node of their own
_KEPT: Final = {"DT_INVALID": AttrPlaceholder("DT_INVALID")}  # `convert` reads a missing dtype as this


@dataclass(frozen=True, slots=True)
class Inlined:
    """A graph without calls.

    Attributes:
        graph: what the targets need. Nodes that no call touches are shared with the original graph.
        outputs: by the name of each call that was replaced: where its outputs come from now, by slot.
        steps: by the name of each call: the nodes that have run when the call would have run.
    """

    graph: Graph
    outputs: Mapping[str, Mapping[int, TensorRef]]
    steps: Mapping[str, Sequence[str]]

    def alias(self, ref: TensorRef) -> TensorRef:
        """Return the tensor that `ref` of the original graph is now."""
        found = self.outputs.get(ref.node)
        return ref if found is None else found.get(ref.slot, ref)

    def nodes(self, name: str) -> Sequence[str]:
        """Return the nodes to run where the node `name` of the original graph was to be run."""
        return self.steps.get(name, (name,))


def inline_calls(
    graph: Graph, targets: Iterable[TensorRef | str] | None = None, fed: Collection[TensorRef] = ()
) -> Inlined:
    """Replace the calls that `targets` need by what they call, and what those call in turn.

    Args:
        graph: the graph; it is not changed.
        targets: tensors, and names of nodes to run; None for all nodes.
        fed: tensors that are given: nothing behind them is needed.

    Returns:
        A graph of what the targets need, in topological order, and what became of the calls.

    Raises:
        GraphError: functions call each other without end, nested deeper than 100, or grow beyond 2,000,000 nodes; a
            call does not fit its function; an input names no node.
        NotFoundError: the library has no function of that name.
    """
    wanted = list(graph.nodes if targets is None else targets)
    names = [t if isinstance(t, str) else t.node for t in wanted if isinstance(t, str) or t not in fed]
    keep = needed(graph, names, fed)
    nodes = {n.name: n for n in graph if n.name in keep}
    work = _Inliner(graph, table(), frozenset(fed))
    kinds = {kind for kind in {n.op for n in nodes.values()} if work.may_call(kind)}
    if not any(n.op in kinds and work.called(n) for n in nodes.values()):
        return Inlined(graph.with_nodes(nodes.values()), {}, {})
    root = _Frame("", nodes, {}, {}, (), (), any(work.is_flow(n) for n in nodes.values()))
    work.used.update(nodes)
    work.used.update(graph.nodes)
    work.expand(root, wanted)
    outputs = {name: c.outputs for name, c in root.calls.items()}
    steps = {name: c.steps for name, c in root.calls.items()}
    return Inlined(graph.with_nodes(work.out.values()), outputs, steps)


@dataclass(slots=True)
class _Called:
    """What became of a call: where its outputs come from, and what has run when it has run."""

    outputs: dict[int, TensorRef]
    steps: tuple[str, ...]
    joined: str = ""  # the node that waits for all steps, once one was made


@dataclass(slots=True)
class _Frame:
    """One body being copied: the graph's own nodes, or those of a function for one call.

    Attributes:
        prefix: what its names begin with; empty for the graph itself.
        nodes: what is needed of the body.
        args: what the function's arguments are in the new graph.
        attrs: the attributes that the function was called with.
        before: what nodes with side effects wait for.
        anchors: what nodes without inputs wait for: they must be dead, or in a loop, where the call would have been.
        flow: whether V1 control flow is here or around.
        chain: the functions being expanded, outermost first.
        device: where the call was placed.
    """

    prefix: str
    nodes: dict[str, Node]
    args: Mapping[str, list[TensorRef]]
    attrs: Mapping[str, AttrValue]
    before: tuple[str, ...]
    anchors: tuple[str, ...]
    flow: bool
    chain: tuple[str, ...] = ()
    device: str = ""
    names: dict[str, str] = dataclasses.field(default_factory=dict)
    calls: dict[str, _Called] = dataclasses.field(default_factory=dict)


class _Inliner:
    def __init__(self, graph: Graph, ops: OpTable, fed: frozenset[TensorRef]) -> None:
        self.graph, self.ops, self.fed = graph, ops, fed
        self.out: dict[str, Node] = {}
        self.used: set[str] = set()
        self._musts: dict[str, tuple[str, ...]] = {}

    # --- asking ------------------------------------------------------------------------------------------------
    def may_call(self, op: str) -> bool:
        """Whether nodes of this op may be calls."""
        return self.ops[op].role == "call" if op in self.ops else op in self.graph.functions

    def called(self, node: Node) -> FuncRef | None:
        """Return the function that `node` calls, or None."""
        if node.op in self.ops:
            f = node.attrs.get("f")
            return f if self.ops[node.op].role == "call" and isinstance(f, FuncRef) else None
        return FuncRef(node.op, node.attrs) if node.op in self.graph.functions else None

    def is_flow(self, node: Node) -> bool:
        row = row_of(node)
        return row is not None and bool(row.control)

    def has_effect(self, node: Node) -> bool:
        """Whether running `node` can be noticed other than by its outputs."""
        row = row_of(node)
        if row is not None and (row.role == "read" or row.variable):
            return False
        bodies = [v for v in node.attrs.values() if isinstance(v, FuncRef)]
        bodies += [f for v in node.attrs.values() if isinstance(v, tuple) for f in v if isinstance(f, FuncRef)]
        if node.op in self.graph.functions:
            bodies.append(FuncRef(node.op, {}))
        if bodies and (row is None or row.role in ("if", "case", "while", "call")):
            return any(self.musts(f.name) for f in bodies)
        return not signatures.known(node.op) or signatures.signature(node.op).is_stateful

    def musts(self, name: str) -> tuple[str, ...]:
        """Return the nodes of a function's body that run even where no result needs them."""
        found = self._musts.get(name)
        if found is None:
            self._musts[name] = ()  # what a function adds by calling itself
            f = self.graph.function(name)
            effects = [n.name for n in f.body if self.has_effect(n)]
            last = [c for c in f.control_returns if c in f.body.nodes and not self._is_read(f.body.nodes[c])]
            found = self._musts[name] = tuple(last or effects) if effects else ()
        return found

    def _is_read(self, node: Node) -> bool:
        row = row_of(node)
        return row is not None and row.role == "read"

    # --- copying -----------------------------------------------------------------------------------------------
    def expand(self, frame: _Frame, wanted: Iterable[TensorRef | str]) -> None:
        """Copy the nodes of `frame` into the new graph, and the bodies of the calls among them."""
        calls = {n.name: f for n in frame.nodes.values() if (f := self.called(n)) is not None}
        slots: dict[str, set[int]] = {name: set() for name in calls}
        stepped: set[str] = set()
        for t in wanted:
            self._use(t, slots, stepped)
        for n in frame.nodes.values():
            for ref in n.inputs:
                self._use(ref, slots, stepped)
            stepped.update(n.controls)
        order = topological(frame.nodes, fed=self.fed if not frame.prefix else (), ignore=self._is_back_edge(frame))
        for node in order:
            if node.name in calls:
                self._call(frame, node, calls[node.name], slots[node.name], node.name in stepped)
            else:
                self._copy(frame, node)

    @staticmethod
    def _use(target: TensorRef | str, slots: Mapping[str, set[int]], stepped: set[str]) -> None:
        if isinstance(target, str):
            stepped.add(target)
        elif target.node in slots:
            slots[target.node].add(target.slot)

    def _is_back_edge(self, frame: _Frame) -> Any:
        if not frame.flow:
            return None

        def back(_: Node, ref: TensorRef) -> bool:
            source = frame.nodes[ref.node]
            row = row_of(source)
            return row is not None and row.control == "next"

        return back

    def resolve(self, frame: _Frame, ref: TensorRef) -> TensorRef:
        """Return what `ref` inside `frame` is in the new graph."""
        if not frame.prefix and ref in self.fed:
            return ref
        called = frame.calls.get(ref.node)
        if called is not None:
            if ref.slot not in called.outputs:
                raise GraphError(f"call `{ref.node}` has no output {ref.slot}", expected=f"below {len(called.outputs)}")
            return called.outputs[ref.slot]
        if ref.node in frame.nodes:
            return TensorRef(frame.names.get(ref.node, ref.node), ref.slot)
        values = frame.args.get(ref.node)
        if values is None or ref.slot >= len(values):
            raise GraphError(f"`{ref}` is neither a node nor an argument", where=_in(frame.chain))
        return values[ref.slot]

    def controls(self, frame: _Frame, names: Iterable[str]) -> list[str]:
        """Return the control dependencies `names` as they are in the new graph."""
        out: list[str] = []
        for name in names:
            called = frame.calls.get(name)
            if called is None:
                given = None if name in frame.nodes else frame.args.get(name)
                # To wait for an argument is to wait for what makes it; what is fed is there.
                out += [frame.names.get(name, name)] if given is None else [r.node for r in given if r not in self.fed]
                continue
            if len(called.steps) > _JOIN and not called.joined:
                base = frame.names.get(name, name)
                called.joined = self.add(Node(self.fresh(f"{base}/done"), self._noop, [], list(called.steps)))
            out += [called.joined] if called.joined else called.steps
        return list(dict.fromkeys(out))

    @property
    def _noop(self) -> str:
        return self.ops.named_role("noop").name

    def fresh(self, base: str) -> str:
        """Return a name like `base` that is free in the old graph and in the new, and take it."""
        name, k = base, 0
        while name in self.used:
            k += 1
            name = f"{base}_{k}"
        self.used.add(name)
        return name

    def add(self, node: Node) -> str:
        if len(self.out) >= MAX_NODES:
            raise GraphError("the functions of the graph grow without bound", expected=f"at most {MAX_NODES} nodes")
        self.out[node.name] = node
        return node.name

    def _copy(self, frame: _Frame, node: Node) -> None:
        if not frame.prefix:
            if any(r.node in frame.calls for r in node.inputs) or any(c in frame.calls for c in node.controls):
                new = node.copy()
                new.inputs = [self.resolve(frame, r) for r in node.inputs]
                new.controls = self.controls(frame, node.controls)
                node = new
            self.add(node)
            return
        inputs = [self.resolve(frame, r) for r in node.inputs]
        controls = self.controls(frame, node.controls)
        if frame.before and self.has_effect_or_reads(node):
            controls += [c for c in frame.before if c not in controls]
        if frame.anchors and not inputs and not controls:
            controls = list(frame.anchors)
        attrs = _substituted(node.attrs, frame.attrs)
        self.add(
            Node(frame.names[node.name], node.op, inputs, controls, attrs, node.device or frame.device, node.extra)
        )

    def has_effect_or_reads(self, node: Node) -> bool:
        return self._is_read(node) or self.has_effect(node)

    # --- calling -----------------------------------------------------------------------------------------------
    def _call(self, frame: _Frame, node: Node, ref: FuncRef, slots: set[int], stepped: bool) -> None:
        f = self.graph.function(ref.name)
        if f.name in frame.chain:
            raise GraphError(f"function `{f.name}` calls itself without end", where=_in((*frame.chain, f.name)))
        if len(frame.chain) >= MAX_DEPTH:
            raise GraphError(f"calls nested deeper than {MAX_DEPTH}", where=_in((*frame.chain, f.name)))
        bad = [s for s in slots if s >= len(f.returns)]
        if bad:
            raise GraphError(
                f"call `{node.name}` has no output {bad[0]}", expected=f"below {len(f.returns)}, as `{f.name}` returns"
            )
        attrs = {**_KEPT, **_defaults(f), **{k: substitute(v, {**_KEPT, **frame.attrs}) for k, v in ref.attrs.items()}}
        musts = self.musts(f.name)
        returned = range(len(f.returns)) if stepped else sorted(slots)
        inside = _needed_inside(f, [f.returns[k] for k in returned], musts)
        name = frame.names.get(node.name, node.name)
        before, anchors = self._waits(frame, node, f, attrs, inside, name)
        inner = _Frame(
            prefix=name,
            nodes=inside,
            args=self._arguments(frame, node, f, attrs),
            attrs=attrs,
            before=before,
            anchors=anchors,
            flow=frame.flow or any(map(self.is_flow, inside.values())),
            chain=(*frame.chain, f.name),
            device=node.device or frame.device,
        )
        inner.names = {n: self.fresh(f"{name}/{n}") for n in inside}
        self.expand(inner, [*(f.returns[k] for k in returned), *musts])
        after = self.controls(inner, musts)
        if after and any(map(self.is_flow, inside.values())):
            after = [self._trigger(name, after, anchors)]
        outputs = {k: self.resolve(inner, f.returns[k]) for k in returned}
        if after:
            outputs = {k: self._after(r, after, f, k, attrs, name) for k, r in outputs.items()}
        steps = dict.fromkeys((*after, *(r.node for r in outputs.values())))
        frame.calls[node.name] = _Called(outputs, tuple(steps))

    def _trigger(self, name: str, steps: list[str], anchors: Iterable[str]) -> str:
        """Return a node that waits for `steps`, also for those that are dead: on a branch that was not taken.

        It stands where the call is, as its dependency on `anchors` tells, not on the branch that its steps are on.
        """
        places = list(anchors) or [self.add(Node(self.fresh(f"{name}/place"), self._noop))]
        waits = list(dict.fromkeys((*steps, *places)))
        return self.add(Node(self.fresh(f"{name}/done"), self.ops.named_role("trigger").name, [], waits))

    def _after(
        self, ref: TensorRef, steps: list[str], f: Function, k: int, attrs: Mapping[str, AttrValue], name: str
    ) -> TensorRef:
        """Return `ref` as it is once `steps` have run."""
        dtype = base_type(substitute(f.results[k].dtype, attrs))
        new = Node(self.fresh(f"{name}/{f.results[k].name}"), self.ops.named_role("identity").name, [ref], list(steps))
        new.attrs["T"] = dtype
        return TensorRef(self.add(new), 0)

    def _arguments(
        self, frame: _Frame, node: Node, f: Function, attrs: Mapping[str, AttrValue]
    ) -> dict[str, list[TensorRef]]:
        values = [self.resolve(frame, r) for r in node.inputs]
        args: dict[str, list[TensorRef]] = {}
        at = 0
        for i, arg in enumerate(f.args):
            n = _length(f, i, attrs)
            args[arg.name] = values[at : at + n]
            at += n
        if at != len(values):
            raise GraphError(
                f"call `{node.name}` does not fit function `{f.name}`", expected=f"{at} inputs", found=len(values)
            )
        return args

    def _waits(
        self, frame: _Frame, node: Node, f: Function, attrs: Mapping[str, AttrValue], inside: dict[str, Node], name: str
    ) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Return what the body's nodes with side effects, and those without inputs, wait for."""
        before = list(dict.fromkeys((*frame.before, *self.controls(frame, node.controls))))
        acting = sum(map(self.has_effect_or_reads, inside.values()))
        if len(before) > _JOIN and acting > 1:
            before = [self.add(Node(self.fresh(f"{name}/start"), self._noop, [], before))]
        if not frame.flow:
            return tuple(before), ()
        anchors = tuple(before) or frame.anchors
        if node.inputs and f.args:
            dtype = base_type(substitute(f.args[0].dtype, attrs))
            # A control dependency on a switch would not tell its sides apart: it needs the tensor itself.
            anchor = Node(self.fresh(f"{name}/anchor"), self.ops.named_role("identity").name)
            anchor.inputs, anchor.attrs = [self.resolve(frame, node.inputs[0])], {"T": dtype}
            anchors = (*anchors, self.add(anchor))
        return tuple(before), anchors


@dataclass(frozen=True, slots=True)
class InlineCalls:
    """The pass: calls that are targets themselves stay as nodes that pass on what the body returns."""

    name: str = "inline"

    def run(self, graph: Graph, context: Context, /) -> Graph:
        done = inline_calls(graph, context.targets, context.fed)
        wanted = {t if isinstance(t, str) else t.node for t in context.targets} & done.outputs.keys()
        if not wanted:
            return done.graph
        out = done.graph.copy()
        for name in sorted(wanted):
            out.add(_stand_in(graph, name, done))
        return out


def _stand_in(graph: Graph, name: str, done: Inlined) -> Node:
    """Return a node called like the call `name` with the call's outputs."""
    outputs = done.outputs[name]
    if not outputs:
        return Node(name, table().named_role("noop").name, [], list(done.steps[name]))
    node = graph[name]
    count = max(outputs) + 1
    inputs = [outputs.get(k, next(iter(outputs.values()))) for k in range(count)]
    types = _result_types(graph, node)
    read = {r.node for r in inputs}
    controls = [s for s in done.steps[name] if s not in read]
    used = tuple(types[k if k in outputs else next(iter(outputs))] for k in range(count))
    if count == 1:
        return Node(name, table().named_role("identity").name, inputs, controls, {"T": used[0]})
    return Node(name, table().named_role("identity_n").name, inputs, controls, {"T": used})


def _result_types(graph: Graph, node: Node) -> list[Any]:
    """Return the dtypes of the results of a call."""
    ref = node.attrs.get("f")
    ref = ref if isinstance(ref, FuncRef) and node.op not in graph.functions else FuncRef(node.op, node.attrs)
    f = graph.function(ref.name)
    attrs = {**_KEPT, **_defaults(f), **ref.attrs}
    return [base_type(substitute(r.dtype, attrs)) for r in f.results]


def _needed_inside(f: Function, returns: Iterable[TensorRef], musts: Iterable[str]) -> dict[str, Node]:
    """Return the nodes of a body that `returns` and `musts` need, in the body's order."""
    args = {a.name for a in f.args}
    fed = _Arguments(args - f.body.nodes.keys())
    wanted = [r.node for r in returns if r not in fed]
    keep = needed(f.body, [*wanted, *musts], fed)
    return {n.name: n for n in f.body if n.name in keep}


class _Arguments(Collection[TensorRef]):
    """All the tensors of a function's arguments, however long lists among them are."""

    def __init__(self, names: Collection[str]) -> None:
        self._names = names

    def __contains__(self, ref: object) -> bool:
        return isinstance(ref, TensorRef) and ref.node in self._names

    def __iter__(self) -> Any:
        return (TensorRef(n, 0) for n in self._names)

    def __len__(self) -> int:
        return len(self._names)


def _length(f: Function, i: int, attrs: Mapping[str, AttrValue]) -> int:
    """Return how many tensors argument `i` stands for."""
    if f.extra is None or i >= len(f.extra.input_arg):
        return 1
    arg = f.extra.input_arg[i]
    if arg.number_attr:
        n = attrs.get(arg.number_attr)
        return n if isinstance(n, int) and n >= 0 else 0
    if arg.type_list_attr:
        types = attrs.get(arg.type_list_attr)
        return len(types) if isinstance(types, tuple) else 0
    return 1


def _defaults(f: Function) -> dict[str, AttrValue]:
    if f.extra is None:
        return {}
    here = f"of function `{f.name}`"
    return {a.name: from_attr(a.default_value, here) for a in f.extra.attr if a.HasField("default_value")}


def _substituted(given: dict[str, AttrValue], attrs: Mapping[str, AttrValue]) -> dict[str, AttrValue]:
    plain = (int, float, bytes)  # the common ones, which hold no placeholder
    return {k: v if isinstance(v, plain) else substitute(v, attrs) for k, v in given.items()}


def _in(chain: Sequence[str]) -> str:
    shown = chain if len(chain) <= 8 else (*chain[:4], "...", *chain[-3:])
    return "in " + " > ".join(f"`{c}`" if c != "..." else c for c in shown) if chain else ""
