"""Control flow of the second generation: branches, loops and calls whose bodies are functions of the graph.

Bodies receive their functions as callables ``f(state, *tensors) -> list of tensors``; the runtime runs them as programs
of their own, compiled like any other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from coldframe.dtypes import DType
from coldframe.ops import inference_state
from coldframe.ops.recurrences import found
from coldframe.ops.recurrent_layers import run_layers
from coldframe.ops.state import State
from coldframe.ops.table import alias, op
from coldframe.primitives.base import refuse
from coldframe.shapes import Shape

Branch = Callable[..., list[Any]]
_SHAPES = ("output_shapes",)


def _holds(cond: Any) -> bool:
    """A scalar holds when it is not zero (a string: not empty), any other tensor when it has elements."""
    a = np.asarray(cond)
    if a.ndim:
        return a.size > 0
    return bool(a.item()) if a.dtype.kind != "O" else len(a.item()) > 0


@op("If", shape=inference_state.of_function, stateful=True, role="if", ignores=_SHAPES)
def if_(xp: Any, state: State, cond: Any, input: list[Any], *, then_branch: Branch, else_branch: Branch) -> list[Any]:
    """One of two functions of the inputs."""
    return (then_branch if _holds(cond) else else_branch)(state, *input)


@if_.rule("jax", "onnx")
def _(xp: Any, state: State, cond: Any, input: list[Any], *, then_branch: Branch, else_branch: Branch) -> Any:
    return xp.branch(xp.holds(cond), [else_branch, then_branch], input)


stateless_if = alias("StatelessIf", if_)
lowered_if = alias("_If", if_)


@op("Case", shape=inference_state.of_function, stateful=True, role="case", ignores=_SHAPES)
def case(xp: Any, state: State, branch_index: Any, input: list[Any], *, branches: tuple[Branch, ...]) -> list[Any]:
    """The function numbered `branch_index`; out of range, the last one."""
    k = int(branch_index)
    return branches[k if 0 <= k < len(branches) else -1](state, *input)


@case.rule("jax", "onnx")
def _(xp: Any, state: State, branch_index: Any, input: list[Any], *, branches: tuple[Branch, ...]) -> Any:
    return xp.branch(branch_index, list(branches), input)


stateless_case = alias("StatelessCase", case)


@op("While", shape=inference_state.while_, stateful=True, role="while", ignores=(*_SHAPES, "parallel_iterations"))
def while_(xp: Any, state: State, input: list[Any], *, cond: Branch, body: Branch) -> list[Any]:
    """`body` applied to the loop variables as long as `cond` holds for them."""
    values = list(input)
    while _holds(cond(state, *values)[0]):
        values = body(state, *values)
        if len(values) != len(input):
            raise refuse("the loop body changes the number of variables", expected=len(input), found=len(values))
    return values


@while_.rule("jax")
def _(xp: Any, state: State, input: list[Any], *, cond: Branch, body: Branch) -> Any:
    return xp.loop(cond, body, input)


@while_.rule("onnx")
def _(xp: Any, state: State, input: list[Any], *, cond: Branch, body: Branch) -> Any:
    layers = found(xp.seen(cond), xp.seen(body))
    made = None if layers is None else run_layers(xp, layers, input)
    return xp.loop(cond, body, input) if made is None else made


stateless_while = alias("StatelessWhile", while_)
lowered_while = alias("_While", while_)


@op("PartitionedCall", stateful=True, role="call", ignores=("config", "config_proto", "executor_type"))
def partitioned_call(xp: Any, state: State, args: list[Any], *, f: Branch) -> list[Any]:
    """A function of the inputs."""
    return f(state, *args)


@partitioned_call.rule("jax", "onnx")
def _(xp: Any, state: State, args: list[Any], *, f: Branch) -> Any:
    return xp.call(f, args)


stateful_partitioned_call = alias("StatefulPartitionedCall", partitioned_call)


@op("BatchFunction", stateful=True, role="call", ignores=(
    "num_batch_threads", "max_batch_size", "batch_timeout_micros", "max_enqueued_batches", "allowed_batch_sizes",
    "container", "shared_name", "batching_queue", "low_priority_max_batch_size", "low_priority_batch_timeout_micros",
    "low_priority_allowed_batch_sizes", "low_priority_max_enqueued_batches", "mixed_priority_policy",
    "batch_padding_policy", "enable_large_batch_splitting",
))  # fmt: skip
def batch_function(xp: Any, state: State, in_tensors: list[Any], captured_tensors: list[Any], *, f: Branch) -> Any:
    """A function of the inputs, at once: TensorFlow waits for other requests, whose rows come along."""
    return f(state, *in_tensors, *captured_tensors)


@batch_function.rule("jax", "onnx")
def _(xp: Any, state: State, in_tensors: list[Any], captured_tensors: list[Any], *, f: Branch) -> Any:
    return xp.call(f, [*in_tensors, *captured_tensors])


@op("RemoteCall", stateful=True)
def remote_call(xp: Any, state: State, target: Any, args: list[Any], *, f: Branch) -> list[Any]:
    """A function of the inputs, here, whatever device `target` names."""
    return f(state, *args)


@op("For", stateful=True)
def for_(xp: Any, state: State, start: Any, limit: Any, delta: Any, input: list[Any], *, body: Branch) -> list[Any]:
    """`body` applied to a counter and the loop variables, for each number from `start` on before `limit`."""
    low, high, step = (_integer(name, v) for name, v in (("start", start), ("limit", limit), ("delta", delta)))
    if not step or (high - low) * step < 0:
        raise refuse("`delta` does not lead from `start` to `limit`", found=f"{low}, {high}, {step}")
    values = list(input)
    for i in range(low, high, step):
        values = body(state, np.int32(i), *values)
        if len(values) != len(input):
            raise refuse("the loop body changes the number of variables", expected=len(input), found=len(values))
    return values


def _integer(name: str, v: Any) -> int:
    if np.ndim(v):
        raise refuse(f"`{name}` is not a scalar", found=f"shape {list(np.shape(v))}")
    return int(v)


@op("MapDefun", shape=inference_state.map_defun, stateful=True, ignores=("max_intra_op_parallelism",))
def map_defun(
    xp: Any, state: State, arguments: list[Any], captured_inputs: list[Any],
    *, f: Branch, output_types: tuple[DType, ...], output_shapes: tuple[Shape, ...],
) -> list[Any]:  # fmt: skip
    """A function of each row of the arguments, and of what is the same for all; its results as rows."""
    counts = {np.shape(a)[0] if np.ndim(a) else None for a in arguments}
    if len(counts) != 1 or None in counts:
        raise refuse("arguments with equally many rows", found=[list(np.shape(a)) for a in arguments])
    made = [f(state, *(np.asarray(a[i]) for a in arguments), *captured_inputs) for i in range(counts.pop() or 0)]
    if not made:
        sizes = [tuple(d or 0 for d in s.dims or ()) for s in output_shapes]
        return [np.zeros((0, *s), t.numpy) for s, t in zip(sizes, output_types, strict=True)]
    columns = []
    for k, rows in enumerate(zip(*made, strict=True)):
        shapes = {np.shape(r) for r in rows}
        if len(shapes) != 1:
            raise refuse(f"the rows of output {k} differ in shape", found=sorted(map(list, shapes)))
        columns.append(np.stack([np.asarray(r) for r in rows]))
    return columns
