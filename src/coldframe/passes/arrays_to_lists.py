"""Turn tensor arrays and stacks, which change in place, into tensor lists, which are values.

::

    a = TensorArrayV3(n)                        a = TensorListReserve(n)
    w = TensorArrayWriteV3(a, i, x, flow)       w = TensorListSetItem(a, i, x)
    y = TensorArrayReadV3(a, j, w)              y = TensorListGetItem(w, j)
    While(a, ...)                               While(w, ...) has the list as a loop variable

Each array has a current list, in the order of the nodes, which respects the flow that orders them; a loop or a branch
whose functions use the array takes the list, and hands out what became of it. So engines compile what they cannot
compile while it changes in place. An array of gradients begins as zeros, and what is written to it is added.

An array stays as it is where its handle goes anywhere else, where a flow is fetched, or where it may grow and is
written to otherwise than element by element. A list does not refuse what an array refuses: writing an element twice,
and reading one again that reading has cleared.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from coldframe.dtypes import DType, int32, variant
from coldframe.graph.ir import Function, FunctionArg, Graph, Node
from coldframe.graph.names import TensorRef
from coldframe.graph.traverse import topological
from coldframe.graph.values import AttrValue, FuncRef
from coldframe.ops import table
from coldframe.passes.array_scopes import MAKES, Array, Call, Scope, as_tensor, attributes, free, makes, moved
from coldframe.passes.base import loop_edge, row_of
from coldframe.passes.carve import function, role
from coldframe.passes.library import Library
from coldframe.shapes import Shape

_BRANCHES: Final = ("then_branch", "else_branch")


class _Stays(Exception):  # noqa: N818 - a signal within this module
    """An array must stay as it is."""

    def __init__(self, array: Array) -> None:
        super().__init__()
        self.array = Array(array.place, array.name)


class _Missed(Exception):  # noqa: N818 - a signal within this module
    """An array of gradients was found whose list must be made before."""

    def __init__(self, array: Array) -> None:
        super().__init__()
        self.array = array


def arrays_to_lists(graph: Graph, wanted: Iterable[str], fed: Iterable[TensorRef] = ()) -> Graph:
    """Return `graph` with lists in the places of arrays and stacks.

    Args:
        graph: the graph; where its library is one that a pass made, it takes the new functions, else nothing is done.
        wanted: names of nodes that are fetched or are to run.
        fed: tensors that are given.
    """
    library = graph.functions
    if not isinstance(library, Library) or not _has_arrays(graph):
        return graph
    keep: set[Array] = set()
    gradients: set[Array] = set()
    while True:
        work = _Work(library, keep, gradients, frozenset(wanted), frozenset(fed))
        try:
            nodes = work.whole(graph)
        except _Stays as e:
            keep.add(e.array)
        except _Missed as e:
            gradients.add(e.array)
        else:
            library.update(work.functions)
            return graph.with_nodes(nodes)


def _has_arrays(graph: Graph) -> bool:
    bodies = [graph, *(f.body for f in graph.functions.values())]
    ops = table()
    return any(kind in ops and ops[kind].role in MAKES for kind in {n.op for body in bodies for n in body})


class _Work:
    def __init__(
        self,
        library: Library,
        keep: set[Array],
        gradients: set[Array],
        wanted: frozenset[str],
        fed: frozenset[TensorRef],
    ) -> None:
        self._library, self._keep, self._gradients = library, keep, gradients
        self._wanted, self._fed = wanted, fed
        self._growing: set[Array] = set()
        self.functions: dict[str, Function] = {}
        self._uses = {
            "array_write": self._write, "array_read": self._read, "array_gather": self._gather,
            "array_scatter": self._scatter, "array_size": self._size, "array_close": self._close,
            "array_grad": self._gradient, "stack_push": self._push, "stack_pop": self._pop, "stack_close": self._close,
        }  # fmt: skip

    def whole(self, graph: Graph) -> list[Node]:
        """Return the nodes of a graph, rewritten."""
        scope = Scope((), {}, {}, {})
        self._rewrite(graph, scope)
        for ref, array in scope.arrays.items():
            if ref.node in self._wanted:
                raise _Stays(array)
        return list(scope.nodes.values())

    def _rewrite(self, graph: Graph, scope: Scope) -> None:
        for node in topological(graph.nodes, fed=self._fed, ignore=loop_edge(graph)):
            row = row_of(node)
            kind = "" if row is None else row.role
            if kind == "while":
                self._while(node, scope)
            elif kind == "if":
                self._if(node, scope)
            elif kind in MAKES and Array(scope.place, node.name) not in self._keep:
                self._make(node, scope, kind)
            elif kind == "identity" and node.inputs[0] in scope.arrays:
                scope.arrays[node.out()] = scope.arrays[node.inputs[0]]
                scope.new(node.name, role("noop"), (), node.controls)
            elif not scope.arrays.keys().isdisjoint(node.inputs):
                handles = [k for k, r in enumerate(node.inputs) if r in scope.arrays]
                array = scope.arrays[node.inputs[handles[0]]]
                if kind not in self._uses or handles != [0]:  # it may be pushed on a stack, too
                    raise _Stays(array)
                self._uses[kind](node, scope, array)
                if not scope.place and node.name in self._wanted and node.out() in scope.refs:
                    raise _Stays(array)  # whose flow is fetched, or what a stack passes on
            else:
                scope.add(moved(node, scope))

    # --- making --------------------------------------------------------------------------------------------------
    def _make(self, node: Node, scope: Scope, kind: str) -> None:
        array = Array(scope.place, node.name)
        attrs = attributes(node)
        if attrs.get("dynamic_size"):
            self._growing.add(array)
        shape = attrs.get("element_shape", Shape.unknown())
        kinds: dict[str, Any] = {"element_dtype": attrs.get("dtype", attrs.get("elem_type")), "shape_type": int32}
        size = scope.ref(node.inputs[0])
        form = scope.constant(f"{node.name}/element_shape", as_tensor(shape))
        scope.arrays[node.out()] = array
        made = scope.new(
            node.name, role("list_empty" if kind == "stack" else "list_reserve"), [form, size], node.controls, **kinds
        )
        scope.now[array] = made.out()
        if kind == "stack":
            return
        scope.fresh[made.out()] = size
        scope.refs[node.out(1)] = scope.constant(f"{node.name}/flow", np.float32(0))
        for g in sorted(self._gradients, key=str):
            if (g.place, g.name) == (array.place, array.name):
                more = scope.new(f"{node.name}/{g.source!r}", made.op, [form, size], node.controls, **kinds)
                scope.now[g] = more.out()
                scope.fresh[more.out()] = size

    # --- using ---------------------------------------------------------------------------------------------------
    def _write(self, node: Node, scope: Scope, array: Array) -> None:
        _, index, value, flow = map(scope.ref, node.inputs)
        dtype, last = attributes(node)["T"], scope.now[array]
        if array.source is None:
            made = scope.new(
                node.name, role("list_set"), [last, index, value], node.controls,
                element_dtype=dtype, resize_if_index_out_of_bounds=array in self._growing,
            )  # fmt: skip
        else:
            empty = self._empty(node, scope, last, dtype)
            one = scope.new(
                f"{node.name}/item", role("list_set"), [empty, index, value],
                element_dtype=dtype, resize_if_index_out_of_bounds=False,
            )  # fmt: skip
            made = scope.new(node.name, role("add_n"), [last, one.out()], node.controls, N=2, T=variant)
        scope.now[array] = made.out()
        scope.refs[node.out()] = flow

    def _empty(self, node: Node, scope: Scope, like: TensorRef, dtype: DType) -> TensorRef:
        """Return a list without elements, as long as another one."""
        length = scope.new(f"{node.name}/length", role("list_length"), [like])
        form = scope.constant(f"{node.name}/element_shape", np.int32(-1))
        op = role("list_reserve")
        return scope.new(f"{node.name}/empty", op, [form, length.out()], element_dtype=dtype, shape_type=int32).out()

    def _read(self, node: Node, scope: Scope, array: Array) -> None:
        _, index, _ = map(scope.ref, node.inputs)
        form = scope.constant(f"{node.name}/element_shape", np.int32(-1))
        dtype = attributes(node)["dtype"]
        scope.new(node.name, role("list_get"), [scope.now[array], index, form], node.controls, element_dtype=dtype)

    def _gather(self, node: Node, scope: Scope, array: Array) -> None:
        _, indices, _ = map(scope.ref, node.inputs)
        attrs = attributes(node)
        form = scope.constant(f"{node.name}/element_shape", as_tensor(attrs["element_shape"]))
        inputs = [scope.now[array], indices, form]
        scope.new(node.name, role("list_gather"), inputs, node.controls, element_dtype=attrs["dtype"])

    def _scatter(self, node: Node, scope: Scope, array: Array) -> None:
        _, indices, value, flow = map(scope.ref, node.inputs)
        dtype, last = attributes(node)["T"], scope.now[array]
        size = scope.fresh.get(last)
        name, controls = node.name, node.controls
        if array in self._growing:
            raise _Stays(array)
        if size is None:
            if array.source is None:
                raise _Stays(array)
            size = scope.new(f"{name}/length", role("list_length"), [last]).out()
            name, controls = f"{name}/items", []
        form = scope.constant(f"{node.name}/element_shape", np.int32(-1))
        made = scope.new(
            name, role("list_scatter"), [value, indices, form, size], controls, element_dtype=dtype, shape_type=int32
        )
        if name != node.name:
            made = scope.new(node.name, role("add_n"), [last, made.out()], node.controls, N=2, T=variant)
        scope.now[array] = made.out()
        scope.refs[node.out()] = flow

    def _size(self, node: Node, scope: Scope, array: Array) -> None:
        scope.new(node.name, role("list_length"), [scope.now[array]], node.controls)

    def _close(self, node: Node, scope: Scope, array: Array) -> None:
        scope.new(node.name, role("noop"), (), node.controls)

    def _gradient(self, node: Node, scope: Scope, array: Array) -> None:
        g = array.gradients(attributes(node)["source"])
        if array.source is not None or array in self._growing:
            raise _Stays(array)
        if g not in self._gradients:
            raise _Missed(g)
        scope.arrays[node.out()] = g
        scope.refs[node.out(1)] = scope.ref(node.inputs[1])
        scope.new(node.name, role("noop"), (), node.controls)

    def _push(self, node: Node, scope: Scope, array: Array) -> None:
        value = scope.ref(node.inputs[1])
        dtype = attributes(node)["T"]
        made = scope.new(node.name, role("list_push"), [scope.now[array], value], node.controls, element_dtype=dtype)
        scope.now[array] = made.out()
        scope.refs[node.out()] = value

    def _pop(self, node: Node, scope: Scope, array: Array) -> None:
        form = scope.constant(f"{node.name}/element_shape", np.int32(-1))
        dtype = attributes(node)["elem_type"]
        made = scope.new(node.name, role("list_pop"), [scope.now[array], form], node.controls, element_dtype=dtype)
        scope.now[array] = made.out()
        scope.refs[node.out()] = made.out(1)

    # --- functions -----------------------------------------------------------------------------------------------
    def _while(self, node: Node, scope: Scope) -> None:
        call = self._call(node, scope, node.inputs, (node.attrs["cond"], node.attrs["body"]))
        if call is None:
            scope.add(moved(node, scope))
            return
        (test, tested), (step, stepped) = call.inner
        stays = next((a for a in call.slots if test.now[a] != call.argument(a)), None)
        if stays is not None:
            raise _Stays(stays)
        for k, a in call.handles.items():
            if step.arrays.get(stepped.returns[k]) != a:
                raise _Stays(step.arrays.get(stepped.returns[k], a))
        types = [variant if k in call.handles else r.dtype for k, r in enumerate(stepped.results)]
        types += [variant] * len(call.extra)
        returns = [step.ref(r) for r in stepped.returns] + [step.now[a] for a in call.extra]
        for k, a in call.handles.items():
            returns[k] = step.now[a] if call.slots[a] == k else TensorRef(call.args[k].name)
        bools = [r.dtype for r in tested.results]
        new = moved(node, scope).copy()
        new.inputs = call.inputs
        new.attrs["T"] = tuple(types)
        new.attrs["cond"] = self._add(tested, call, bools, [test.ref(r) for r in tested.returns], test)
        new.attrs["body"] = self._add(stepped, call, types, returns, step)
        scope.add(new)
        for k, a in call.handles.items():
            scope.arrays[node.out(k)] = a
        for a, k in call.slots.items():
            if step.now[a] != call.argument(a):
                scope.now[a] = node.out(k)

    def _if(self, node: Node, scope: Scope) -> None:
        call = self._call(node, scope, node.inputs[1:], tuple(node.attrs[b] for b in _BRANCHES))
        if call is None:
            scope.add(moved(node, scope))
            return
        types: list[Any] = [r.dtype for r in call.inner[0][1].results]
        handed: dict[int, Array] = {}
        for k in range(len(types)):
            found = {inner.arrays.get(f.returns[k]) for inner, f in call.inner}
            some = next((a for a in found if a is not None), None)
            if some is not None:
                if len(found) > 1 or some not in call.slots:
                    raise _Stays(some)
                handed[k], types[k] = some, variant
        changed = [a for a in call.slots if any(inner.now[a] != call.argument(a) for inner, _ in call.inner)]
        types += [variant] * len(changed)
        new = moved(node, scope).copy()
        new.inputs = [scope.ref(node.inputs[0]), *call.inputs]
        new.attrs |= {"Tin": tuple(a.dtype for a in call.args), "Tout": tuple(types)}
        for key, (inner, f) in zip(_BRANCHES, call.inner, strict=True):
            returns = [inner.now[handed[k]] if k in handed else inner.ref(r) for k, r in enumerate(f.returns)]
            new.attrs[key] = self._add(f, call, types, returns + [inner.now[a] for a in changed], inner)
        scope.add(new)
        scope.arrays.update((node.out(k), a) for k, a in handed.items())
        for j, a in enumerate(changed):
            scope.now[a] = node.out(len(types) - len(changed) + j)

    def _call(self, node: Node, scope: Scope, inputs: Sequence[TensorRef], refs: Sequence[AttrValue]) -> Call | None:
        """Rewrite the functions of a loop or a branch; None where there is nothing to rewrite."""
        functions = [self._library[r.name] for r in refs if isinstance(r, FuncRef) and not r.attrs]
        handles = {k: scope.arrays[r] for k, r in enumerate(inputs) if r in scope.arrays}
        if len(functions) != len(refs):
            for a in handles.values():
                raise _Stays(a)
            return None
        used: dict[Array, None] = {}
        for f in functions:
            used |= self._used(f, {TensorRef(f.args[k].name): a for k, a in handles.items()})
        if not handles and not any(makes(f, self._library) for f in functions):
            return None
        extra = [a for a in used if a not in handles.values()]
        missing = next((a for a in extra if a not in scope.now), None)
        if missing is not None:
            raise _Missed(missing)
        first = functions[0]
        args = [FunctionArg(a.name, variant) if k in handles else a for k, a in enumerate(first.args)]
        taken = {a.name for f in functions for a in f.args} | {n.name for f in functions for n in f.body}
        for j, _ in enumerate(extra):
            args.append(FunctionArg(free(f"list_{j}", taken), variant))
        call = Call(handles, extra, args)
        call.inputs = [scope.now[handles[k]] if k in handles else scope.ref(r) for k, r in enumerate(inputs)]
        call.inputs += [scope.now[a] for a in extra]
        for f in functions:
            if [a.name for a in f.args] != [a.name for a in first.args]:
                raise _Stays(next(iter((*handles.values(), *extra)), Array(scope.place, node.name)))
            arrays = {TensorRef(args[k].name): a for k, a in handles.items()}
            inner = Scope((*scope.place, f.name), {}, arrays, {a: call.argument(a) for a in call.slots})
            self._rewrite(f.body, inner)
            call.inner.append((inner, f))
        return call

    def _used(self, f: Function, given: Mapping[TensorRef, Array]) -> dict[Array, None]:
        """Return the arrays among `given` that a function uses, and their arrays of gradients."""
        arrays, out = dict(given), dict[Array, None]()
        for node in topological(f.body.nodes) if given else ():
            row = row_of(node)
            handles = {k: arrays[r] for k, r in enumerate(node.inputs) if r in arrays}
            if row is None or not handles:
                continue
            if row.role == "identity":
                arrays[node.out()] = handles[0]
            elif row.role == "array_grad":
                g = handles[0].gradients(attributes(node)["source"])
                arrays[node.out()], out[g] = g, None
            elif row.role in ("while", "if"):
                before = int(row.role == "if")
                for r in (v for v in node.attrs.values() if isinstance(v, FuncRef)):
                    inner = self._library[r.name]
                    out |= self._used(inner, {TensorRef(inner.args[k - before].name): a for k, a in handles.items()})
                if row.role == "while":
                    arrays |= {node.out(k): a for k, a in handles.items()}
            else:
                out |= dict.fromkeys(handles.values())
        return out

    def _add(
        self, f: Function, call: Call, types: Sequence[Any], returns: Sequence[TensorRef], inner: Scope
    ) -> FuncRef:
        name = free(f.name, {*self._library, *self.functions})
        body = Graph(inner.nodes.values(), self._library, producer=f.body.producer, min_consumer=f.body.min_consumer)
        self.functions[name] = function(name, call.args, types, returns, body, f.control_returns)
        return FuncRef(name, {})
