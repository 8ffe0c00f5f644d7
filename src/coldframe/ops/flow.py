"""Control flow of the second generation: branches, loops and calls whose bodies are functions of the graph.

Bodies receive their functions as callables ``f(state, *tensors) -> list of tensors``; the runtime runs them as programs
of their own, compiled like any other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from coldframe.ops import inference_state
from coldframe.ops.recurrences import found
from coldframe.ops.recurrent_layers import run_layers
from coldframe.ops.state import State
from coldframe.ops.table import alias, op
from coldframe.primitives.base import refuse

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


@op("PartitionedCall", stateful=True, role="call", ignores=("config", "config_proto", "executor_type"))
def partitioned_call(xp: Any, state: State, args: list[Any], *, f: Branch) -> list[Any]:
    """A function of the inputs."""
    return f(state, *args)


@partitioned_call.rule("jax", "onnx")
def _(xp: Any, state: State, args: list[Any], *, f: Branch) -> Any:
    return xp.call(f, args)


stateful_partitioned_call = alias("StatefulPartitionedCall", partitioned_call)
