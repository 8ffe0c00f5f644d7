"""``tf.while_loop``: a While node whose condition and body are functions of the graph.

That is the form TensorFlow gives loops with its second-generation control flow. It can be compiled, run by any engine,
and differentiated (`coldframe.tf1.while_gradient`).

The loop variables of the node are: a counter, the greatest number of iterations (-1: any), the program's own, and what
condition and body read from outside.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from coldframe import dtypes
from coldframe.ops.inference import Known
from coldframe.tf1.framework import nest
from coldframe.tf1.framework.build import raw, raw_op
from coldframe.tf1.framework.convert import constant, convert_to_tensor
from coldframe.tf1.framework.functions import FuncGraph
from coldframe.tf1.framework.graph import get_default_graph, name_scope
from coldframe.tf1.framework.shape import TensorShape, as_static
from coldframe.tf1.framework.tensor import Operation, Tensor

COUNTER, LIMIT = "loop_counter", "maximum_iterations"
"""Names of the arguments that every loop built here has first."""


def while_loop(
    cond: Callable[..., Any],
    body: Callable[..., Any],
    loop_vars: Any,
    shape_invariants: Any = None,
    parallel_iterations: int = 10,
    back_prop: bool = True,
    swap_memory: bool = False,
    name: str | None = None,
    maximum_iterations: Any = None,
    return_same_structure: bool = False,
) -> Any:
    """Return `loop_vars` after `body` was applied to them as long as `cond` holds.

    Args:
        cond: from the loop variables to a scalar bool.
        body: from the loop variables to as many of the same dtypes.
        loop_vars: tensors, TensorArrays, or nested structures of them.
        shape_invariants: shapes that hold in every iteration, in the structure of `loop_vars`; those of the first
            values otherwise.
        maximum_iterations: stop after so many iterations.
        return_same_structure: return a list of one as a list.

    Raises:
        ValueError: the body's results have another number, dtype or shape than the loop variables.
    """
    _check_callables(cond, body)
    single = not isinstance(loop_vars, (list, tuple))
    structure = [loop_vars] if single else loop_vars
    if not structure:
        raise ValueError("No loop variables provided")
    with name_scope(name, "while", nest.flatten(structure)) as scope:
        loop = _Loop(structure, shape_invariants, scope)
        counter = constant(0, dtypes.int32, name=COUNTER)
        limit = convert_to_tensor(-1 if maximum_iterations is None else maximum_iterations, dtypes.int32, LIMIT)
        condition = loop.condition(cond, maximum_iterations is not None)
        step = loop.body(body)
        op = loop.build(condition, step, [counter, limit], parallel_iterations)
        results = loop.unpacked(op.outputs[2 : 2 + len(loop.values)])
    packed = nest.pack_sequence_as(structure, results)
    return packed if return_same_structure or len(structure) > 1 else packed[0]


def _check_callables(*fns: Any) -> None:
    if not all(callable(fn) for fn in fns):
        raise TypeError("cond and body must be callable")


class _Loop:
    """A loop that is being built."""

    def __init__(self, structure: Any, invariants: Any, scope: str) -> None:
        self.structure, self.scope = structure, scope
        self.leaves = nest.flatten(structure)
        self.values: list[Tensor] = [_as_value(v, i) for i, v in enumerate(self.leaves)]
        self.shapes = [v.static_shape for v in self.values]
        if invariants is not None:
            given = _flat_shapes(structure, invariants)
            self.shapes = [s if g is None else as_static(g) for s, g in zip(self.shapes, given, strict=True)]
        self.prefix = scope.rstrip("/").replace("/", "_")

    def _graph(self, kind: str) -> tuple[FuncGraph, list[Tensor]]:
        graph = FuncGraph(f"{self.prefix}_{kind}")
        graph.argument(COUNTER, dtypes.int32, [])
        graph.argument(LIMIT, dtypes.int32, [])
        args = []
        for v, shape in zip(self.values, self.shapes, strict=True):
            known = Known(v.dtype, shape, None, None, v.known.handle)
            name = v.op.name.rpartition("/")[2] or "loop_var"
            args.append(graph.argument(name, v.dtype, shape, known))
        return graph, args

    def unpacked(self, tensors: Sequence[Tensor]) -> list[Any]:
        """Return loop variables as the program knows them: TensorArrays again, where they were."""
        return [
            leaf._with_flow(t) if hasattr(leaf, "_with_flow") else t
            for leaf, t in zip(self.leaves, tensors, strict=True)
        ]

    def condition(self, cond: Callable[..., Any], limited: bool) -> FuncGraph:
        graph, args = self._graph("cond")
        with graph.as_default():
            holds = convert_to_tensor(cond(*nest.pack_sequence_as(self.structure, self.unpacked(args))))
            if holds.static_shape.rank not in (0, None):
                holds = raw.Squeeze(holds)
            if limited:
                holds = raw.LogicalAnd(raw.Less(graph.inputs[0], graph.inputs[1]), holds)
            graph.outputs = [raw.Identity(holds) if holds in graph.inputs else holds]
        return graph

    def body(self, body: Callable[..., Any]) -> FuncGraph:
        graph, args = self._graph("body")
        with graph.as_default():
            results = body(*nest.pack_sequence_as(self.structure, self.unpacked(args)))
            if not isinstance(results, (list, tuple)) or (len(self.structure) == 1 and not _is_one(results)):
                results = [results]
            if isinstance(results, tuple) and isinstance(self.structure, list):
                results = list(results)
            flat = nest.flatten(results)
            if len(flat) != len(args):
                raise ValueError(
                    f"The body of a while_loop returns {len(flat)} values for {len(args)} loop variables: {results!r}"
                )
            counted = raw.AddV2(graph.inputs[0], constant(1))
            outputs = [self._result(v, a, s) for v, a, s in zip(flat, args, self.shapes, strict=True)]
            graph.outputs = [counted, graph.inputs[1], *outputs]
        return graph

    def _result(self, value: Any, arg: Tensor, shape: Any) -> Tensor:
        if isinstance(value, Operation) or value is None:
            raise TypeError(f"The body of a while_loop must return tensors, not {value!r}")
        tensor = convert_to_tensor(_flow(value), preferred_dtype=arg.dtype)
        if tensor.dtype is not arg.dtype:
            raise TypeError(f"loop variable {arg.op.name} has dtype {arg.dtype.name}, but its next value {tensor}")
        if shape.dims is not None and not _no_wider(tensor.static_shape, shape):
            raise ValueError(
                f"The shape for {arg.op.name} is not an invariant for the loop. It enters the loop with shape "
                f"{TensorShape(shape)}, but has shape {tensor.shape} after one iteration. Provide shape invariants "
                "using the `shape_invariants` argument of tf.while_loop or set_shape() on the loop variables."
            )
        return tensor

    def build(self, condition: FuncGraph, body: FuncGraph, first: list[Tensor], parallel: int) -> Operation:
        outer = get_default_graph()
        captured = list(dict.fromkeys([*condition.captures, *body.captures]))
        count = 2 + len(self.values)
        for graph in (condition, body):
            graph.inputs = [*graph.inputs[:count], *(graph.capture(t) for t in captured)]
        body.outputs = [*body.outputs, *body.inputs[count:]]
        sources = [body._sources[t] for t in captured]
        condition_ref = condition.finish(condition.outputs)
        body_ref = body.finish(body.outputs)
        stateful = any(outer.ir.functions[r.name].is_stateful for r in (condition_ref, body_ref))
        inputs = [*first, *self.values, *sources]
        shapes = [*(t.static_shape for t in first), *self.shapes, *(t.static_shape for t in sources)]
        attrs = {
            "cond": condition_ref, "body": body_ref, "output_shapes": shapes, "parallel_iterations": parallel,
        }  # fmt: skip
        results = raw_op("While" if stateful else "StatelessWhile", [inputs], attrs, self.scope)
        op: Operation = results[0].op
        for t, source in zip(op.outputs, inputs, strict=True):
            if source.known.handle is not None:
                t.known = Known(t.dtype, t.static_shape, None, None, source.known.handle)
        return op


def _as_value(value: Any, index: int) -> Tensor:
    return convert_to_tensor(_flow(value), name=f"loop_var_{index}")


def _flow(value: Any) -> Any:
    return value.flow if hasattr(value, "_with_flow") else value


def _is_one(results: Any) -> bool:
    return len(results) == 1


def _flat_shapes(structure: Any, invariants: Any) -> list[Any]:
    if not nest.is_nested(structure):
        return [invariants]
    items = [structure[k] for k in sorted(structure)] if isinstance(structure, dict) else list(structure)
    shapes = [invariants[k] for k in sorted(invariants)] if isinstance(invariants, dict) else list(invariants)
    return [shape for item, given in zip(items, shapes, strict=True) for shape in _flat_shapes(item, given)]


def _no_wider(shape: Any, invariant: Any) -> bool:
    """Whether all that `invariant` says holds for a tensor of which `shape` is known."""
    if shape.dims is None:
        return invariant.dims is None
    return len(shape.dims) == len(invariant.dims) and all(
        i is None or i == s for s, i in zip(shape.dims, invariant.dims, strict=True)
    )


__all__ = ["while_loop"]
