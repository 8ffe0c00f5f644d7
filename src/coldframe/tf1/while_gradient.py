"""Gradients of ops that call functions: loops, conditions and calls.

A loop is differentiated by a second loop that runs backwards. Its body runs one iteration of the forward body again,
from the loop variables that the iteration began with, and backpropagates through it. Only those loop variables, and
random numbers, which a second run would not draw again, are kept by the forward loop: in TensorLists that it gets as
additional loop variables when its gradient is asked for.

The backward loop counts up to the rounds that the forward loop took: its first two loop variables are those of any
loop built here, so that it can be differentiated in turn.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

from coldframe import dtypes
from coldframe.dtypes import DType
from coldframe.graph import ir
from coldframe.graph.ir import Function, FunctionArg, Node
from coldframe.graph.names import TensorRef
from coldframe.graph.traverse import needed, reached
from coldframe.graph.values import FuncRef, base_type
from coldframe.ops import table
from coldframe.ops.inference import Known
from coldframe.records import dataclass
from coldframe.shapes import Shape
from coldframe.tf1.framework.build import raw, raw_op
from coldframe.tf1.framework.convert import constant, convert_to_tensor
from coldframe.tf1.framework.functions import FuncGraph, _free_name
from coldframe.tf1.framework.graph import get_default_graph
from coldframe.tf1.framework.importing import copy_nodes, inline_function
from coldframe.tf1.framework.tensor import Operation, Tensor
from coldframe.tf1.while_loop import COUNTER, LIMIT

_READING: Final = ("TensorArrayReadV3", "TensorArrayGatherV3")
_WRITING: Final = ("TensorArrayWriteV3", "TensorArrayScatterV3", "TensorArraySplitV3")
_OTHER: Final = ("TensorArrayConcatV3",)
"""Accesses of tensor arrays, which imported loops have; those made here use lists."""


@dataclass(slots=True)
class _Saved:
    """A tensor of the forward body that the backward body needs as it was."""

    ref: TensorRef  # in the forward body
    dtype: DType
    shape: Shape
    argument: Tensor  # the list, in the backward body
    popped: Tensor  # the list without its last element, in the backward body


class _Backward:
    """The backward loop of one forward loop, while it is built."""

    def __init__(self, op: Operation) -> None:
        self.op = op
        self.graph = get_default_graph()
        self.library = self.graph.ir.functions
        self.forward: Function = self.library[op.node.attrs["body"].name]  # type: ignore[union-attr]
        self.args = [TensorRef(a.name) for a in self.forward.args]
        self.fixed = [r == a for r, a in zip(self.forward.returns, self.args, strict=True)]
        if not self.args or op.inputs[0].dtype is not dtypes.int32 or op.inputs[0].static_shape.rank != 0:
            raise LookupError(
                f"No gradient defined for the loop '{op.name}': its first loop variable is no counter. Loops made by "
                f"tf.while_loop have one."
            )

    def moving(self) -> list[int]:
        """The loop variables that change and that gradients flow through."""
        return [i for i, t in enumerate(self.op.inputs) if i > 0 and not self.fixed[i] and t.dtype.kind in "fco"]

    def constant(self) -> list[int]:
        """The loop variables that never change and that gradients flow through."""
        return [i for i, t in enumerate(self.op.inputs) if self.fixed[i] and _takes_gradient(t)]

    def run(self, dys: Sequence[Any]) -> list[Any]:
        moving, fixed = self.moving(), self.constant()
        body = FuncGraph(f"{self.op.name.replace('/', '_')}_grad_body", self.graph)
        body.gradient_source = self.graph.gradient_source or self._source()
        count = body.argument(COUNTER, dtypes.int32, [])
        limit = body.argument(LIMIT, dtypes.int32, [])
        arriving = [self._argument(body, f"grad_{i}", dys[i]) for i in moving]
        zeros = [_zeros_like(self.op.inputs[i]) for i in fixed]
        sums = [self._argument(body, f"sum_{i}", z) for i, z in zip(fixed, zeros, strict=True)]
        with body.as_default():
            saved, results = self._body(body, moving, fixed, arriving, sums)
            counted = raw.AddV2(count, constant(1))
        saved = self._prune(body, [counted, *results], saved)
        body.outputs = [counted, limit, *results, *(s.popped for s in saved)]
        lists = self._keep(saved)
        first = [constant(0), raw.Identity(self.op.outputs[0]), *(dys[i] for i in moving), *zeros, *lists]
        outputs = self._loop(body, first)
        grads: list[Any] = [None] * len(self.op.inputs)
        for i, t in zip([*moving, *fixed], outputs[2:], strict=False):
            grads[i] = t
        return grads

    def _source(self) -> str:
        """Return the name of the call of ``tf.gradients`` that this is done for."""
        parts = self.graph.get_name_scope().split("/")
        marks = [i for i, p in enumerate(parts) if p.startswith("gradients")]
        return "/".join(parts[: marks[-1] + 1]) if marks else ""

    def _argument(self, body: FuncGraph, name: str, like: Tensor) -> Tensor:
        return body.argument(name, like.dtype, like.static_shape, like.known)

    # --- the body ---------------------------------------------------------------------------------------------
    def _body(
        self, body: FuncGraph, moving: list[int], fixed: list[int], arriving: list[Tensor], sums: list[Tensor]
    ) -> tuple[list[_Saved], list[Tensor]]:
        from coldframe.tf1.gradients import gradients

        given: dict[TensorRef, Tensor] = {}
        saved: list[_Saved] = []
        for i, ref in enumerate(self.args):
            if self.fixed[i]:
                given[ref] = body.capture(self.op.inputs[i])
            else:
                s = self._pop(body, ref, self.op.inputs[i].dtype, self.op.outputs[i].static_shape)
                saved.append(s)
                given[ref] = s.popped.op.outputs[1]
        for ref, dtype in self._drawn():
            s = self._pop(body, ref, dtype, Shape.unknown())
            saved.append(s)
            given[ref] = s.popped.op.outputs[1]
        read = [
            (made_by, self._pop(body, made_by.out(), base_type(made_by.attrs["dtype"]), Shape.unknown()))
            for made_by in self._array_nodes(_READING)
        ]
        saved += [s for _, s in read]
        made = copy_nodes(body, self.forward.body, given, lambda n: body.unique_name(f"again/{n}"))
        ends = [_at(self.forward.returns[i], given, made) for i in moving]
        starts = [given[self.args[i]] for i in (*moving, *fixed)]
        found = gradients(ends, starts, arriving) if ends else [None] * len(starts)
        for node, s in read:
            _become_identity(made[node.name], s.popped.op.outputs[1])
        for node in self._array_nodes(_WRITING):
            _become_identity(made[node.name], made[node.name].inputs[-1])
        results = []
        for x, g in zip(starts[: len(moving)], found[: len(moving)], strict=True):
            results.append(raw.ZerosLike(x) if g is None else convert_to_tensor(g))
        for total, g in zip(sums, found[len(moving) :], strict=True):
            results.append(total if g is None else raw.AddN([total, convert_to_tensor(g)]))
        return saved, results

    def _pop(self, body: FuncGraph, ref: TensorRef, dtype: DType, shape: Shape) -> _Saved:
        argument = body.argument(f"kept_{ref.node.replace('/', '_')}", dtypes.variant, [])
        popped, value = raw.TensorListPopBack(argument, _shape_tensor(shape), element_dtype=dtype)
        value.known = Known(dtype, shape, None, None, value.known.handle)
        return _Saved(ref, dtype, shape, argument, popped)

    def _drawn(self) -> list[tuple[TensorRef, DType]]:
        """The random numbers of the forward body."""
        ops = table()
        found = []
        for node in self.forward.body:
            row = ops.get(node.op)
            if row is not None and row.random:
                dtype = node.attrs.get("dtype", node.attrs.get("output_dtype", node.attrs.get("Tout", dtypes.float32)))
                found.append((TensorRef(node.name), dtype))
        return found  # type: ignore[return-value]

    def _array_nodes(self, kinds: Sequence[str]) -> list[Node]:
        """Return the accesses of tensor arrays in the forward body: what they did must not be done again.

        Raises:
            LookupError: a function that the body calls has some too.
        """
        inside = [n for place, n in reached(self.forward.body, self.library) if place]
        odd = next((n for n in inside if n.op in (*_READING, *_WRITING, *_OTHER)), None)
        odd = odd or next((n for n in self.forward.body if n.op in _OTHER), None)
        if odd is not None:
            raise LookupError(
                f"No gradient defined for the loop '{self.op.name}': '{odd.name}' ({odd.op}) in it would run twice"
            )
        return [n for n in self.forward.body if n.op in kinds]

    def _prune(self, body: FuncGraph, results: list[Tensor], saved: list[_Saved]) -> list[_Saved]:
        """Leave out what the gradients do not need, effects of the forward body among it."""
        names = needed(body.ir, [t.op.name for t in results])
        used = [s for s in saved if s.popped.op.name in names]
        names |= {t.op.name for t in body.inputs if t not in {s.argument for s in saved} - {s.argument for s in used}}
        dropped = {s.argument for s in saved} - {s.argument for s in used}
        body.inputs = [t for t in body.inputs if t not in dropped]
        body.ir.nodes = {n: node for n, node in body.ir.nodes.items() if n in names}
        for node in body.ir:
            node.controls = [c for c in node.controls if c in body.ir.nodes]
        return used

    # --- the forward loop, which keeps what is needed ------------------------------------------------------------
    def _keep(self, saved: list[_Saved]) -> list[Tensor]:
        """Let the forward loop keep tensors in lists, and return the lists."""
        if not saved:
            return []
        limit = self.op.inputs[1] if len(self.op.inputs) > 1 and self._limited() else constant(-1)
        empties = [
            raw.EmptyTensorList(_shape_tensor(s.shape), limit, element_dtype=s.dtype, name="kept") for s in saved
        ]
        self._extend(saved)
        op = self.op
        first = len(op.outputs)
        for k, empty in enumerate(empties):
            op.inputs.append(empty)
            op.node.inputs.append(empty.ref)
            empty.consumer_ops.append(op)
            op.outputs.append(Tensor(op, first + k, Known(dtypes.variant, Shape(()))))
        return op.outputs[first:]

    def _limited(self) -> bool:
        return self.forward.args[1].name.startswith("maximum_iterations")

    def _extend(self, saved: list[_Saved]) -> None:
        attrs = self.op.node.attrs
        condition = self.library[attrs["cond"].name]  # type: ignore[union-attr]
        lists = tuple(
            FunctionArg(_fresh(f"kept_{k}", self.forward, condition), dtypes.variant) for k in range(len(saved))
        )
        pushes = [
            Node(
                _fresh(f"keep_{k}", self.forward), "TensorListPushBack",
                [TensorRef(a.name), s.ref], [], {"element_dtype": s.dtype},
            )
            for k, (s, a) in enumerate(zip(saved, lists, strict=True))
        ]  # fmt: skip
        body = self.forward.body.with_nodes([*self.forward.body, *pushes])
        attrs["body"] = self._add(self.forward, lists, body, tuple(p.out() for p in pushes))
        attrs["cond"] = self._add(condition, lists, condition.body, ())
        attrs["T"] = (*attrs["T"], *(dtypes.variant,) * len(saved))  # type: ignore[misc]
        attrs["output_shapes"] = (*attrs["output_shapes"], *(Shape(()),) * len(saved))  # type: ignore[misc]

    def _add(
        self, function: Function, more: tuple[FunctionArg, ...], body: ir.Graph, returns: tuple[TensorRef, ...]
    ) -> FuncRef:
        name = _free_name(f"{function.name}_kept", self.library)
        results = (*function.results, *(FunctionArg(f"kept_out_{k}", dtypes.variant) for k in range(len(returns))))
        self.library[name] = dataclasses.replace(
            function, name=name, args=(*function.args, *more), body=body, results=results,
            returns=(*function.returns, *returns), extra=None,
        )  # fmt: skip
        return FuncRef(name, {})

    # --- the backward loop --------------------------------------------------------------------------------------
    def _loop(self, body: FuncGraph, first: list[Tensor]) -> list[Tensor]:
        count = len(first)
        # Arguments come before captures, and lists before what was captured while the body was built.
        captured = list(body.captures)
        own = [t for t in body.inputs if t not in set(body.captures.values())]
        body.inputs = [*own, *(body.captures[t] for t in captured)]
        body.outputs = [*body.outputs, *body.inputs[count:]]
        sources = [body._sources[t] for t in captured]
        inputs = [*first, *sources]
        condition = FuncGraph(f"{self.op.name.replace('/', '_')}_grad_cond", self.graph)
        for t in body.inputs:
            condition.argument(t.op.name, t.dtype, t.static_shape)
        with condition.as_default():
            more = raw.Less(condition.inputs[0], condition.inputs[1])
        condition_ref, body_ref = condition.finish([more]), body.finish(body.outputs)
        attrs = {
            "cond": condition_ref, "body": body_ref, "output_shapes": [t.static_shape for t in inputs],
            "parallel_iterations": self.op.node.attrs.get("parallel_iterations", 10),
        }  # fmt: skip
        kind = "While" if self.library[body_ref.name].is_stateful else "StatelessWhile"
        outputs: list[Tensor] = raw_op(kind, [inputs], attrs, "While")
        return outputs


def _become_identity(op: Operation, tensor: Tensor) -> None:
    """Let an operation, whose gradient has been built, pass on `tensor` rather than run again."""
    op.node.op, op.node.attrs, op.node.controls = "Identity", {"T": tensor.dtype}, []
    for t in op.inputs:
        t.consumer_ops.remove(op)
    op.inputs, op.node.inputs = [tensor], [tensor.ref]
    tensor.consumer_ops.append(op)


def _takes_gradient(tensor: Tensor) -> bool:
    """Whether gradients flow to a tensor; to a resource they do if it is a variable (those of arrays have flows)."""
    if tensor.dtype is dtypes.resource:
        return tensor.known.handle is not None and tensor.static_shape.rank == 0
    return tensor.dtype.kind in "fco"


def _at(ref: TensorRef, given: dict[TensorRef, Tensor], made: dict[str, Operation]) -> Tensor:
    return given[ref] if ref in given else made[ref.node].outputs[ref.slot]


def _fresh(name: str, *functions: Function) -> str:
    """Return a name that no node and no argument of `functions` has."""
    taken = {n for f in functions for n in (*f.body.nodes, *(a.name for a in f.args))}
    n = 0
    while f"{name}_{n}" in taken:
        n += 1
    return f"{name}_{n}"


def _shape_tensor(shape: Shape) -> Tensor:
    """Return a shape as TensorList ops take it: a vector with -1 for what is open, or the scalar -1."""
    if shape.dims is None:
        return constant(-1, dtypes.int32)
    return constant(np.array([-1 if d is None else d for d in shape.dims], np.int32))


def _zeros_like(tensor: Tensor) -> Tensor:
    """Return zeros to sum the gradients of `tensor` in; of a resource variable, of its value."""
    if tensor.dtype is dtypes.resource:
        made: Tensor = raw.ZerosLike(raw.ReadVariableOp(tensor, dtype=tensor.known.handle[0]))  # type: ignore[index]
        return made
    zeros: Tensor = raw.ZerosLike(tensor)
    zeros.known = Known(tensor.dtype, tensor.static_shape, None, None, tensor.known.handle)
    return zeros


def while_gradient(op: Operation, *dys: Any) -> list[Any]:
    """Build the backward loop of a While node."""
    return _Backward(op).run(dys)


def call_gradient(op: Operation, *dys: Any) -> list[Any]:
    """Backpropagate through a copy of the called function's body, or call the function that is to be its gradient."""
    from coldframe.tf1.gradients import gradients
    from coldframe.tf1.symbolic_gradients import registered

    function = op.node.attrs["f"].name if "f" in op.node.attrs else op.type  # type: ignore[union-attr]
    own = registered(op.graph, function)
    if own is not None:
        given = [raw.ZerosLike(y) if dy is None else dy for y, dy in zip(op.outputs, dys, strict=True)]
        made = raw.PartitionedCall([*op.inputs, *given], Tout=[t.dtype for t in op.inputs], f=FuncRef(own, {}))
        return list(made) if isinstance(made, (list, tuple)) else [made]
    inputs = [raw.Identity(t) for t in op.inputs]
    outputs, _ = inline_function(get_default_graph(), function, inputs, "again")
    pairs = [(y, dy) for y, dy in zip(outputs, dys, strict=True) if dy is not None]
    return gradients([y for y, _ in pairs], inputs, [dy for _, dy in pairs])


def if_gradient(op: Operation, *dys: Any) -> list[Any]:
    """Backpropagate through a copy of the branch that was taken."""
    from coldframe.tf1.cond import cond

    graph = get_default_graph()
    wanted = [i for i, t in enumerate(op.inputs) if i > 0 and _takes_gradient(t)]
    branches = [op.node.attrs[k].name for k in ("then_branch", "else_branch")]  # type: ignore[union-attr]
    _refuse_random(op, branches)
    if not wanted:
        return [None] * len(op.inputs)
    then, other = (functools.partial(_branch_gradient, graph, f, op, wanted, dys) for f in branches)
    found = cond(op.inputs[0], then, other, strict=True)
    grads: list[Any] = [None] * len(op.inputs)
    for i, g in zip(wanted, found, strict=True):
        grads[i] = g
    return grads


def _branch_gradient(graph: Any, name: str, op: Operation, wanted: list[int], dys: Sequence[Any]) -> list[Any]:
    from coldframe.tf1.gradients import gradients

    inputs = [raw.Identity(t) for t in op.inputs[1:]]
    outputs, _ = inline_function(graph, name, inputs, "again")
    pairs = [(y, dy) for y, dy in zip(outputs, dys, strict=True) if dy is not None]
    xs = [inputs[i - 1] for i in wanted]
    found = gradients([y for y, _ in pairs], xs, [dy for _, dy in pairs])
    return [_zeros_like(x) if g is None else convert_to_tensor(g) for x, g in zip(xs, found, strict=True)]


def _refuse_random(op: Operation, functions: list[str]) -> None:
    """Refuse branches with random numbers: a second run of them would draw others."""
    ops, library = table(), op.graph.ir.functions
    for _, node in reached((n for f in functions for n in library[f].body), library):
        row = ops.get(node.op)
        if row is not None and row.random:
            raise LookupError(
                f"No gradient defined for the condition '{op.name}': '{node.name}' in it draws random numbers"
            )


RULES: Final[dict[str, Callable[..., Any]]] = {
    "While": while_gradient,
    "StatelessWhile": while_gradient,
    "If": if_gradient,
    "StatelessIf": if_gradient,
    "PartitionedCall": call_gradient,
    "StatefulPartitionedCall": call_gradient,
}
