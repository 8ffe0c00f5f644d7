"""Branches and loops as ONNX If and Loop: functions of the graph become their subgraphs.

A loop variable that the body hands on as it is stays outside; subgraphs read it from there. The body is traced until
the sizes of what it makes agree with what it takes: a size that changes becomes open, and a list to which the body
writes gets a tensor. A list that starts empty and of which iteration k writes element k, and does nothing else, is no
loop variable: the Loop stacks the elements.

What a node in a subgraph needs of the outside, it reads by name. Shared casts and transposes belong to the graph that
they were emitted in.

What must turn out true, such as the condition of an Assert, is a promise of the scope that it is in. A branch hands it
out as one more result; a loop stops with an error in the iteration that breaks it; the engine looks at those of the
model after each run.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

import numpy as np

from coldframe import dtypes
from coldframe.formats import messages
from coldframe.primitives.base import Unlowerable
from coldframe.primitives.onnx_builder import Dims, OnnxValue, graph_of
from coldframe.primitives.onnx_complex import ComplexValue
from coldframe.primitives.onnx_lists import ListsOnnx, OnnxList
from coldframe.primitives.onnx_nodes import live
from coldframe.records import dataclass

_ROUNDS: Final = 5  # of tracing a body until sizes agree

Values = list[Any]


class Functions(Protocol):
    """What an engine tells of functions of the graph, as ops receive them."""

    def call(self, function: Any, args: Sequence[Any]) -> list[Any]:
        """Return the results of `function`."""

    def invariant(self, body: Any) -> list[bool]:
        """Return which of its arguments `body` returns, in their places, as they are."""

    def seen(self, function: Any) -> Any:
        """Return what patterns see of `function`."""


class FlowOnnx(ListsOnnx):
    """Control flow.

    Attributes:
        functions: how functions of the graph are run on this interpreter.
        promises: what must turn out true, in the scope that is being traced: scalars.
    """

    def __init__(self) -> None:
        super().__init__()
        self.functions: Functions | None = None
        self.promises: list[OnnxValue] = []
        self.traps: set[str] = set()  # names of flags that are true, or computing them fails
        self._nested = 0  # in how many branches and loops what is traced is

    def sees_to(self, what: str, x: OnnxValue) -> bool:
        """See `Origins.see_to`. Not in branches and loops: a run may not get to what needs it."""
        return not self._nested and super().sees_to(what, x)

    def call(self, function: Any, args: Sequence[Any]) -> Values:
        """The results of a function of the graph."""
        return self._known().call(function, args)

    def seen(self, function: Any) -> Any:
        """What patterns see of a function of the graph."""
        return self._known().seen(function)

    def _known(self) -> Functions:
        if self.functions is None:
            raise Unlowerable("functions are traced by an engine only")
        return self.functions

    def holds(self, condition: OnnxValue) -> OnnxValue:
        """Whether a scalar is not zero."""
        if condition.ndim:
            raise Unlowerable("a condition that is no scalar")
        return self.cast(condition, dtypes.bool_)

    # --- promises ------------------------------------------------------------------------------------------------
    def promise(self, ok: Any) -> None:
        """Make sure that all of `ok` is true: where it is not, the engine fails, and numpy runs again to say why."""
        flag = self.lift(ok)
        if flag.const is None or not flag.const.all():
            self.promises.append(self.all(flag) if flag.ndim else flag)

    def held(self) -> OnnxValue:
        """Return whether all promises of this scope are true; a constant where that is known."""
        if not self.promises or any(p.const is not None for p in self.promises):
            return self.constant(np.array(not self.promises))
        return functools.reduce(self.logical_and, self.promises)

    def or_fail(self, flag: OnnxValue) -> OnnxValue:
        """Return `flag`; computing it fails where a promise of this scope is broken."""
        held = self.held()
        if _is_true(held):
            return flag
        if held.const is not None:
            raise Unlowerable("each iteration refuses the run")
        beyond = self.cast(self.logical_not(held), dtypes.int64)
        yes = self.node("Gather", [self.constant(np.ones(1, bool)), beyond], dims=(), axis=0)
        self.traps.add(yes.name)
        return self.node("And", [flag, yes], dims=())

    # --- branches ------------------------------------------------------------------------------------------------
    def branch(self, index: OnnxValue, functions: Sequence[Any], args: Sequence[Any]) -> Values:
        """The results of the function numbered `index`; out of range, of the last one."""
        if index.const is not None:
            k = int(index.const)
            return self.call(functions[k if 0 <= k < len(functions) else -1], args)
        if len(functions) != 2 or index.dtype is not dtypes.bool_:
            raise Unlowerable("more than two branches")
        held: list[bool] = []
        pairs = [self.traced([], functools.partial(self._tried, f, args, held)) for f in functions]
        promises = not all(held)
        made = (values if ok else values[:-1] for ok, (_, values) in zip(held, pairs, strict=True))
        need = [_elements(a, b) for a, b in zip(*made, strict=True)]
        if promises or any(n is not None for n in need):
            pairs = [self.traced([], functools.partial(self._branch, f, args, need, promises)) for f in functions]
        graphs = [graph for graph, _ in pairs]
        joined = [_joined_branches(a, b) for a, b in zip(pairs[0][1], pairs[1][1], strict=True)]
        forms = [(v.dtype, v.dims) for v in map(_tensor, joined) if v is not None]
        if not forms:
            return joined
        outs = iter(self.nodes_out("If", [index], forms, else_branch=graphs[0], then_branch=graphs[1]))
        results = [_with(v, next(outs)) if _tensor(v) is not None else v for v in joined]
        if promises:
            self.promise(results.pop())
        return results

    def _tried(self, function: Any, args: Sequence[Any], held: list[bool]) -> Values:
        """Return what a branch makes, and last, unless there is none, its promise; note down whether there is none."""
        made, promise = self.call(function, args), self.held()
        held.append(_is_true(promise))
        return made if held[-1] else [*made, promise]

    def _branch(self, function: Any, args: Sequence[Any], need: Sequence[Dims | None], promises: bool) -> Values:
        """Return what a branch makes; its lists have tensors where those of the other branch have.

        Where there are `promises` in a branch, whether they held is the last result.
        """
        made = self.call(function, args)
        for k, dims in enumerate(need):
            if dims is not None and isinstance(made[k], OnnxList) and _tensor(made[k]) is None:
                empty = self.plain(made[k])
                made[k] = dataclasses.replace(empty, buffer=self.room(empty, dims), length=None)
        return [*made, self.held()] if promises else made

    # --- loops ---------------------------------------------------------------------------------------------------
    def loop(self, condition: Any, body: Any, values: Sequence[Any]) -> Values:
        """`body` applied to `values` as long as `condition` holds; both are functions of the graph."""
        going = self.holds(self.call(condition, values)[0])
        if going.const is not None and not going.const:
            return list(values)
        moving = [i for i, stays in enumerate(self._known().invariant(body)) if not stays]
        start = [self.plain(v) if i in moving and isinstance(v, OnnxList) else v for i, v in enumerate(values)]
        return _Loop(self, condition, body, start, moving).run(going)

    def traced(self, given: Sequence[OnnxValue], run: Callable[[], Values]) -> tuple[Any, Values]:
        """Return what `run` emits, as a subgraph of the inputs `given`, and the values it returns, the outputs."""
        outer, self.nodes = self.nodes, []
        promises, self.promises = self.promises, []
        self._nested += 1
        try:
            results = run()
            tensors = [t for t in map(_tensor, results) if t is not None]
            names = [self.name_of(t) for t in tensors]
            mine = {o for n in self.nodes for o in n.output}
            for k, name in enumerate(names):
                if name not in mine or name in names[:k]:
                    names[k] = self.fresh("made")
                    self.nodes.append(messages.onnx.NodeProto(op_type="Identity", input=[name], output=[names[k]]))
            outputs = list(zip(names, tensors, strict=True))
            graph = graph_of(self.fresh("graph"), given, outputs, live(self.nodes, names))
        finally:
            inner, self.nodes, self.promises = self.nodes, outer, promises
            self._nested -= 1
            self.forget({o for n in inner for o in n.output})
        return graph, results


def _tensor(v: Any) -> OnnxValue | None:
    """Return the tensor that a value is; None of a list that has none."""
    if isinstance(v, OnnxList):
        return v.row if v.place else v.buffer
    if isinstance(v, ComplexValue):
        raise Unlowerable("complex numbers in branches and loops")
    if not isinstance(v, OnnxValue):
        raise Unlowerable("a value of another kind")
    return v


def _is_true(flag: OnnxValue) -> bool:
    return flag.const is not None and bool(flag.const)


def _with(v: Any, tensor: OnnxValue) -> Any:
    """Return a value with its tensor replaced."""
    return dataclasses.replace(v, buffer=tensor, length=None) if isinstance(v, OnnxList) else tensor


def _open(a: Dims, b: Dims) -> Dims:
    if len(a) != len(b):
        raise Unlowerable("branches or iterations make tensors of different ranks")
    return tuple(d if d == e else None for d, e in zip(a, b, strict=True))


def _elements(a: Any, b: Any) -> Dims | None:
    """Return the sizes of the elements of a list that has a tensor in one branch only."""
    tensors = [_tensor(a), _tensor(b)]
    found = [t for t in tensors if t is not None]
    return found[0].dims[1:] if len(found) == 1 else None


def _joined_branches(a: Any, b: Any) -> Any:
    x, y = _tensor(a), _tensor(b)
    if isinstance(a, OnnxList) != isinstance(b, OnnxList) or (x is None) != (y is None):
        raise Unlowerable("a list in one branch only")
    if x is None or y is None:
        return a
    if x.dtype is not y.dtype:
        raise Unlowerable("branches make tensors of different dtypes")
    return _with(a, dataclasses.replace(x, dims=_open(x.dims, y.dims), const=None, partial=None, turned=None, name="?"))


@dataclass(slots=True, eq=False)
class _Loop:
    """A loop being made.

    Attributes:
        xp: the interpreter.
        condition, body: its functions.
        values: what its variables start with.
        moving: the variables that the body changes.
        forms: of those that are tensors: the sizes.
        counters: those that count iterations, each one more than the last; whether from 0.
        stacked: the lists whose elements the Loop stacks; None before it was looked for them.
        turned: of those whose elements are transposes: by which permutation. The Loop stacks what they are made of.
    """

    xp: FlowOnnx
    condition: Any
    body: Any
    values: Values
    moving: list[int]
    forms: dict[int, Dims] = dataclasses.field(default_factory=dict)
    counters: dict[int, bool] = dataclasses.field(default_factory=dict)
    stacked: set[int] | None = None
    turned: dict[int, tuple[int, ...]] = dataclasses.field(default_factory=dict)

    def run(self, going: OnnxValue) -> Values:
        """Emit the loop; `going` tells whether it begins at all."""
        self.forms = {i: t.dims for i in self.moving if (t := _tensor(self.values[i])) is not None}
        for _ in range(_ROUNDS):
            args = self._arguments()
            given = [t for i in self._carried() if (t := _tensor(args[i])) is not None]
            turn = OnnxValue(self.xp, dtypes.int64, (), self.xp.fresh("turn"))
            before = OnnxValue(self.xp, dtypes.bool_, (), self.xp.fresh("before"))
            graph, made = self.xp.traced([turn, before, *given], functools.partial(self._step, args))
            loose = {i for i in self._stacks() if args[i].place in self.xp.disorder}
            if loose:
                self.stacked = {*self._stacks()} - loose
                continue
            new = dict(zip((*self._carried(), *self._stacks()), made[1:], strict=True))
            if not self._changed(args, new, graph):
                return self._emitted(graph, going, new)
        raise Unlowerable("the variables of a loop do not settle")

    def _carried(self) -> list[int]:
        return [i for i in self.moving if i not in self._stacks()]

    def _stacks(self) -> list[int]:
        return sorted(self.stacked or ())

    def _arguments(self) -> Values:
        """Return what stands for the variables in an iteration."""
        args = list(self.values)
        for i, dims in self.forms.items():
            start = _tensor(self.values[i])
            assert start is not None
            name = self.xp.fresh("variable")
            args[i] = _with(self.values[i], OnnxValue(self.xp, start.dtype, dims, name))
            if i in self.counters:
                self.xp.count([name])
        counters = frozenset(args[i].name for i, zero in self.counters.items() if zero)
        for i in self._stacks():
            args[i] = dataclasses.replace(self.values[i], place=self.xp.fresh("stack"), counters=counters)
        return args

    def _step(self, args: Values) -> Values:
        made = self.xp.call(self.body, args)
        if len(made) != len(args):
            raise Unlowerable("the loop body changes the number of variables")
        full = list(args)
        for i in self._carried():
            full[i] = made[i]
        going = self.xp.holds(self.xp.call(self.condition, full)[0])
        going = self.xp.or_fail(going)
        return [going, *(made[i] for i in self._carried()), *(self._upright(i, made[i]) for i in self._stacks())]

    def _upright(self, i: int, made: Any) -> Any:
        """Return a stacked list whose element is what it was the transpose of."""
        row = made.row if isinstance(made, OnnxList) else None
        self.turned.pop(i, None)
        if row is None or row.turned is None:
            return made
        source, self.turned[i] = row.turned
        return dataclasses.replace(made, row=source)

    def _changed(self, args: Values, new: Mapping[int, Any], graph: Any) -> bool:
        """Take over what an iteration told of the variables; whether that was anything new."""
        changed = False
        for i, made in new.items():
            old, tensor = self.values[i], _tensor(made)
            if i in self._stacks():
                if not isinstance(made, OnnxList) or made.row is None:
                    self.stacked = {k for k in self._stacks() if k != i}
                    changed = True
                continue
            if isinstance(old, OnnxList) != isinstance(made, OnnxList):
                raise Unlowerable("a loop variable changes from a list to something else")
            if self.stacked is None and isinstance(old, OnnxList) and old.buffer is None and tensor is not None:
                continue  # perhaps it need not be a variable
            changed |= self._widened(i, old, tensor)
        if self.stacked is None:
            self._count(args, new, graph)
            lists = {i for i in new if isinstance(self.values[i], OnnxList) and self.values[i].buffer is None}
            self.stacked = {i for i in lists if _tensor(new[i]) is not None} if any(self.counters.values()) else set()
            changed = changed or bool(self.counters) or bool(lists)
        return changed

    def _widened(self, i: int, old: Any, tensor: OnnxValue | None) -> bool:
        """Make a variable such that what an iteration made of it fits."""
        if tensor is None:
            return False
        start = _tensor(old)
        if start is None:
            buffer = self.xp.room(old, tensor.dims[1:])
            self.values[i], self.forms[i] = dataclasses.replace(old, buffer=buffer, length=None), buffer.dims
            self.forms[i] = _open(buffer.dims, tensor.dims)
            return True
        if start.dtype is not tensor.dtype:
            raise Unlowerable("a loop variable changes its dtype")
        dims = _open(self.forms[i], tensor.dims)
        changed = dims != self.forms[i]
        self.forms[i] = dims
        return changed

    def _count(self, args: Values, new: Mapping[int, Any], graph: Any) -> None:
        """Find the variables that count iterations."""
        makers = {o: n for n in graph.node for o in n.output}
        for i, made in new.items():
            start, maker = self.values[i], makers.get(getattr(made, "name", ""))
            if not isinstance(start, OnnxValue) or start.const is None or start.ndim or maker is None:
                continue
            if start.dtype not in (dtypes.int32, dtypes.int64) or start.const < 0 or maker.op_type != "Add":
                continue
            others = [n for n in maker.input if n != args[i].name]
            if len(others) == 1 and (one := self.xp.inline.get(others[0])) is not None and one.size == 1 and one == 1:
                self.counters[i] = bool(start.const == 0)

    def _emitted(self, graph: Any, going: OnnxValue, new: Mapping[int, Any]) -> Values:
        starts, forms = [], []
        for i in self._carried():
            t = _tensor(self.values[i])
            if t is not None:
                starts.append(t)
                forms.append((t.dtype, self.forms[i]))
        forms += [(row.dtype, (None, *row.dims)) for row in (new[i].row for i in self._stacks())]
        trips = self._trips(graph)
        begins = [None, going] if trips is None else [trips, None]
        made = iter(self.xp.nodes_out("Loop", [*begins, *starts], forms, body=graph))
        out = list(self.values)
        for i in self._carried():
            if _tensor(self.values[i]) is not None:
                out[i] = _with(self.values[i], next(made))
        for i in self._stacks():
            rows = self._filled(next(made), self.values[i].length, trips, grows=new[i].grows)
            if i in self.turned:
                rows = self.xp.transpose(rows, [0, *(1 + p for p in self.turned[i])])
            out[i] = dataclasses.replace(self.values[i], buffer=rows, length=None)
        return out

    def _trips(self, graph: Any) -> OnnxValue | None:
        """Return how often a loop goes round that ends when a counter from 0 reaches a limit; None of another loop.

        The comparison is taken out of `graph`, its body.
        """
        xp, makers = self.xp, {o: n for n in graph.node for o in n.output}
        carried = [i for i in self._carried() if _tensor(self.values[i]) is not None]
        counters = {graph.output[1 + k].name for k, i in enumerate(carried) if self.counters.get(i)}
        counters |= {makers[c].input[0] for c in counters if c in makers and makers[c].op_type == "Identity"}
        inside = {*makers, *(v.name for v in graph.input)}
        limits, traps, todo = set(), [], [graph.output[0].name]
        while todo:
            name = todo.pop()
            maker = makers.get(name)
            if name in xp.traps:
                traps.append(name)
            elif maker is not None and maker.op_type in ("And", "Identity"):
                todo += maker.input
            elif maker is not None and maker.op_type in ("Less", "Greater"):
                count, limit = maker.input if maker.op_type == "Less" else maker.input[::-1]
                if count not in counters or limit in inside:
                    return None
                limits.add(limit)
            else:
                return None
        if len(limits) != 1 or len(traps) > 1:
            return None
        found = xp.named(limits.pop())
        if found is None or found.ndim:
            return None
        if not traps:
            traps = [xp.fresh("again")]
            graph.node.append(messages.onnx.NodeProto(op_type="Identity", input=[graph.input[1].name], output=traps))
        graph.output[0].name = traps[0]
        nodes = live(graph.node, [o.name for o in graph.output])
        del graph.node[:]
        graph.node.extend(nodes)
        told = xp.told(xp.terms(found), (), dtypes.int64)
        return xp.cast(found, dtypes.int64) if told is None else told

    def _filled(self, rows: OnnxValue, length: OnnxValue, trips: OnnxValue | None, *, grows: bool) -> OnnxValue:
        """Return the elements that a loop stacked, with zeros for those that it did not come to.

        Of a list that `grows` there may be more than its `length` was.
        """
        xp = self.xp
        count = xp.terms(trips) if trips is not None and xp.natural(trips) else None
        if count is not None and isinstance(count[0], int):
            rows = dataclasses.replace(rows, dims=(count[0], *rows.dims[1:]))
        elif count is not None:
            xp.same_size(rows, 0, count[0])
        if None in rows.dims[1:]:  # of how large elements would be that no iteration made, numpy knows more
            xp.promise(xp.less(0, xp.lift(xp.dim(rows, 0), dtype=dtypes.int64)))
        if count is not None and None not in count and count == xp.terms(length):
            return rows
        if grows and length.const is not None and not length.const:
            return rows
        missing = xp.subtract(length, xp.lift(xp.dim(rows, 0), dtype=dtypes.int64))
        if grows:
            return xp.longer(rows, missing)
        none = xp.constant(np.zeros(rows.ndim, np.int64))
        more = xp.concat([none, xp.reshape(missing, [1]), xp.constant(np.zeros(rows.ndim - 1, np.int64))], 0)
        known = length.const
        dims = (None if known is None else int(known), *rows.dims[1:])
        return xp.typed("Pad", [rows], dims=dims, more=[more])
