"""Gradients through V1 loops of imported graphs: each becomes a While node first, in its place.

::

    Enter ─► Merge ─► Switch ─► body ─► NextIteration          While(counter, limit, variables, what it reads)
                        └────► Exit ─► readers         becomes    └─► Identity, called as the Exit ─► readers

The loop runs once either way, so random numbers and side effects are the same. The nodes of the old loop stay in the
graph, where nothing reads them any more. `coldframe.tf1.while_gradient` differentiates the While; what it must have,
a counter as the first loop variable, is given to loops within it as well.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable
from typing import Any, Final

import numpy as np

from coldframe import dtypes
from coldframe.graph.ir import FunctionArg, Node
from coldframe.graph.ir import Graph as NodeGraph
from coldframe.graph.names import TensorRef
from coldframe.graph.values import FuncRef, TensorValue
from coldframe.ops import table
from coldframe.passes.raise_control_flow import Raised, raise_control_flow
from coldframe.shapes import Shape
from coldframe.tf1.framework.build import raw_op
from coldframe.tf1.framework.convert import constant
from coldframe.tf1.framework.functions import _free_name
from coldframe.tf1.framework.graph import Graph, control_dependencies
from coldframe.tf1.framework.tensor import Operation, Tensor
from coldframe.tf1.while_loop import COUNTER, LIMIT

_ADDED: Final = 2  # loop variables that are put in front


def raise_loops(graph: Graph, between: Iterable[Operation]) -> bool:
    """Replace the loops that the Exits among `between` leave; return whether there were any.

    Raises:
        LookupError: a loop has no form that functions can have; the message says why.
    """
    found = False
    for op in list(between):
        if _control(op) == "exit":  # not those that an earlier turn has replaced
            _replace(graph, op)
            found = True
    return found


def _control(op: Operation) -> str:
    row = table().get(op.type)
    return "" if row is None else row.control


# --- one loop ---------------------------------------------------------------------------------------------------
def _replace(graph: Graph, exit_: Operation) -> None:
    members, exits = _members(exit_)
    entered = {o.inputs[0].ref for o in members if _control(o) == "enter" and o.inputs[0].op not in members}
    raised = raise_control_flow(graph.ir, [o.name for o in exits], entered)
    loop = _while_of(raised, exits, exit_)
    names = _Functions(graph, raised)
    made = _counted(loop, names)
    tensors = [graph.operation(r.node).outputs[r.slot] for r in loop.inputs]
    shapes = _shapes(loop, raised.graph, exits, tensors)
    attrs: dict[str, Any] = {
        "cond": made["cond"], "body": made["body"], "output_shapes": [Shape(()), Shape(()), *shapes],
        "parallel_iterations": 10,
    }  # fmt: skip
    outer = exit_.context
    before, graph.control_flow_context = graph.control_flow_context, outer
    try:
        with control_dependencies(None), graph.as_default(), graph.name_scope(f"{loop.name}/"):
            first = [constant(0, dtypes.int32, name=COUNTER), constant(-1, dtypes.int32, name=LIMIT)]
            outputs = raw_op("While", [[*first, *tensors]], attrs, "raised")
    finally:
        graph.control_flow_context = before
    outputs[0].op.add_control_inputs([graph.operation(c) for c in loop.controls])
    forgotten = exit_.inputs[0].op.context
    if forgotten is not None:
        forgotten.forget()
    for op in exits:
        slot = raised.graph.nodes[op.name].inputs[0].slot + _ADDED
        _become_identity(op, outputs[slot])


def _members(exit_: Operation) -> tuple[set[Operation], list[Operation]]:
    """Return the nodes of a loop, found by walking back from one of its Exits, and all of its Exits."""
    frame = _frame(exit_.inputs[0].op)
    exits = [exit_]
    members: set[Operation] = set()
    open_ = [exit_]
    while open_:
        op = open_.pop()
        if op in members:
            continue
        members.add(op)
        control = _control(op)
        if control == "enter" and op.node.attrs.get("frame_name") == frame:
            continue
        open_ += [t.op for t in op.inputs]
        open_ += op.control_inputs
        if control == "loopcond":
            open_ += [c for c in op.outputs[0].consumer_ops if _control(c) == "switch"]
        if control == "switch" and _frame(op) == frame:
            leaving = [c for c in op.outputs[0].consumer_ops if _control(c) == "exit"]
            exits += [c for c in leaving if c not in exits]
    return members, exits


def _frame(switch: Operation) -> Any:
    """Return the frame of a loop's Switch; None for another Switch."""
    if _control(switch) != "switch" or _control(switch.inputs[0].op) != "merge":
        return None
    doors = [t.op for t in switch.inputs[0].op.inputs if _control(t.op) == "enter"]
    return doors[0].node.attrs.get("frame_name") if doors else None


def _while_of(raised: Raised, exits: Collection[Operation], exit_: Operation) -> Node:
    """Return the While that the Exits read now."""
    made = {raised.graph.nodes[o.name].inputs[0].node for o in exits}
    loops = [raised.graph.nodes[n] for n in made]
    if len(loops) != 1 or loops[0].op != table().named_role("while").name:
        reasons = dict.fromkeys(raised.kept.values())
        raise LookupError(
            f"No gradient defined for the loop of '{exit_.name}': it cannot be written as a While, "
            f"because {'; '.join(reasons) or 'it has another form than the loops of tf.while_loop'}"
        )
    return loops[0]


def _shapes(loop: Node, graph: NodeGraph, exits: Iterable[Operation], tensors: list[Tensor]) -> list[Shape]:
    """Return what is known of the loop variables' shapes: those of the Exits; what never changes is as it enters."""
    shapes = [Shape.unknown() for _ in tensors]
    body = graph.functions[loop.attrs["body"].name]  # type: ignore[union-attr]
    for i, (arg, ref) in enumerate(zip(body.args, body.returns, strict=True)):
        if ref == TensorRef(arg.name):
            shapes[i] = tensors[i].static_shape
    for op in exits:
        shapes[graph.nodes[op.name].inputs[0].slot] = op.outputs[0].static_shape
    return shapes


def _become_identity(op: Operation, tensor: Tensor) -> None:
    op.node.op = table().named_role("identity").name
    op.node.attrs = {"T": tensor.dtype}
    op.update_input(0, tensor)


# --- functions --------------------------------------------------------------------------------------------------
class _Functions:
    """Takes functions over into the graph's library, under names that TensorFlow takes too."""

    def __init__(self, graph: Graph, raised: Raised) -> None:
        self.library, self.taken = graph.ir.functions, graph.function_names
        self.source = raised.graph.functions
        self.done: dict[str, FuncRef] = {}

    def adopt(self, name: str, part: str = "") -> FuncRef:
        """Return a function that does what `name` does.

        Args:
            name: the function.
            part: ``cond`` or ``body`` of a loop that gets a counter and a limit: two arguments more.
        """
        if name in self.library and not part:
            return FuncRef(name, {})
        key = f"{name}/{part}"
        if key not in self.done:
            self.done[key] = FuncRef(self._add(name, part), {})
        return self.done[key]

    def _add(self, name: str, part: str) -> str:
        function = self.source[name]
        nodes, moved = _with_counters(function.body, self)
        returns = tuple(moved.get(r, r) for r in function.returns)
        args, results = function.args, function.results
        if part:
            taken = {*function.body.nodes, *(a.name for a in args)}
            count, limit = _fresh(COUNTER, taken), _fresh(LIMIT, taken)
            front = (FunctionArg(count, dtypes.int32), FunctionArg(limit, dtypes.int32))
            args = (*front, *args)
            if part == "body":
                one, sum_ = _fresh("one", taken), _fresh("counted", taken)
                nodes = [*nodes, _constant(one, 1), Node(sum_, "AddV2", [TensorRef(count), TensorRef(one)], [],
                                                         {"T": dtypes.int32})]  # fmt: skip
                returns = (TensorRef(sum_), TensorRef(limit), *returns)
                results = (*(FunctionArg(f"{a.name}_out", a.dtype) for a in front), *results)
        made = _free_name(name.replace("/", "_"), {*self.library, *self.taken})
        self.taken.add(made)
        body = NodeGraph(nodes, self.library, producer=function.body.producer)
        self.library[made] = dataclasses.replace(
            function, name=made, args=args, results=results, returns=returns, body=body, extra=None
        )
        return made


def _counted(loop: Node, names: _Functions) -> dict[str, FuncRef]:
    """Return the functions of a While with a counter and a limit in front of its variables."""
    return {k: names.adopt(loop.attrs[k].name, k) for k in ("cond", "body")}  # type: ignore[union-attr]


def _with_counters(body: NodeGraph, names: _Functions) -> tuple[list[Node], dict[TensorRef, TensorRef]]:
    """Return the nodes of a function, in which loops have counters, and where the outputs of those have moved."""
    loop = table().named_role("while").name
    moved: dict[TensorRef, TensorRef] = {}
    for node in body:
        if node.op == loop:
            moved |= {node.out(i): node.out(i + _ADDED) for i in range(len(node.inputs))}
    nodes: list[Node] = []
    for old in body:
        node = old.copy()
        node.inputs = [moved.get(r, r) for r in old.inputs]
        node.attrs = {k: names.adopt(v.name) if isinstance(v, FuncRef) and old.op != loop else v
                      for k, v in old.attrs.items()}  # fmt: skip
        if old.op == loop:
            first = [_constant(_fresh(f"{n}_{old.name.replace('/', '_')}", body.nodes), v)
                     for n, v in ((COUNTER, 0), (LIMIT, -1))]  # fmt: skip
            nodes += first
            node.inputs = [*(c.out() for c in first), *node.inputs]
            types: Any = old.attrs["T"]
            node.attrs = {**old.attrs, **_counted(old, names), "T": (dtypes.int32, dtypes.int32, *types)}
            node.attrs["output_shapes"] = (Shape(()), Shape(()), *(Shape.unknown() for _ in types))
        nodes.append(node)
    return nodes, moved


def _constant(name: str, value: int) -> Node:
    held = TensorValue.of(np.array(value, np.int32), dtypes.int32)
    return Node(name, "Const", attrs={"dtype": dtypes.int32, "value": held})


def _fresh(name: str, taken: Collection[str]) -> str:
    n = 0
    while f"{name}_{n}" in taken:
        n += 1
    return f"{name}_{n}"


__all__: list[str] = []
