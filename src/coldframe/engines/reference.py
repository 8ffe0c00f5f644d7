"""The reference engine: numpy, node by node. The oracle, the folder of constants, and what runs host steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from coldframe.dtypes import DType, resource, variant
from coldframe.engines.base import BoundNode, Compiled, Island
from coldframe.errors import ColdframeError, ExecutionError
from coldframe.graph.names import TensorRef
from coldframe.ops.state import Handle, State
from coldframe.primitives.numpy_xp import NumpyPrimitives

XP = NumpyPrimitives()
REFUSALS = (ValueError, IndexError, TypeError, ArithmeticError, MemoryError, KeyError)
"""What numpy and Python raise in a body that is given inputs which no kernel takes."""


def execute(bound: BoundNode, inputs: Sequence[Any], state: State | None) -> list[Any]:
    """Run one node on numpy and return its outputs.

    Raises:
        ExecutionError: the op refuses its inputs; the message names node and op.
    """
    call = bound.call
    try:
        values = call.run(XP, inputs, state=state)
    except ColdframeError as e:
        if e.where:
            raise
        raise type(e)(e.what, where=_where(bound), expected=e.expected, found=e.found, hint=e.hint) from e
    except REFUSALS as e:
        shapes = ", ".join(f"{getattr(i, 'dtype', '?')}{list(getattr(i, 'shape', []))}" for i in inputs)
        raise ExecutionError(str(e) or type(e).__name__, where=_where(bound), found=f"inputs {shapes}") from e
    if len(values) != len(call.outputs):  # a function that is called may return what it likes
        raise ExecutionError(
            "wrong number of outputs", where=_where(bound), expected=len(call.outputs), found=len(values)
        )
    return [_as_array(v, dtype, bound) for v, (_, dtype) in zip(values, call.outputs, strict=True)]


def _as_array(value: Any, dtype: DType, bound: BoundNode) -> Any:
    if type(value) is np.ndarray and value.dtype == dtype.numpy:
        return value
    if dtype is resource or isinstance(value, Handle):
        return value
    if dtype.numpy.kind == "O":
        return _boxed(value) if dtype is variant or isinstance(value, bytes) else value
    a = value if isinstance(value, np.ndarray) else np.asarray(value)
    if a.dtype != dtype.numpy:
        raise ExecutionError("wrong dtype", where=_where(bound), expected=dtype.numpy, found=a.dtype)
    return a


def _boxed(value: Any) -> Any:
    """Return an object as the content of an array of rank 0; an array as it is."""
    if isinstance(value, np.ndarray):
        return value
    out = np.empty((), object)
    out[()] = value
    return out


def _where(bound: BoundNode) -> str:
    return f"at node `{bound.name}` ({bound.call.op.name})"


class _Nowhere:
    """A state in which random sequences begin anew."""

    node = ""

    def resource(self, handle: Handle) -> dict[Any, Any]:
        return {}


def sample(bound: BoundNode, inputs: Sequence[Any]) -> Any:
    """Return random numbers of the shape that a node draws; no sequence goes on for it.

    Raises:
        ExecutionError: as `execute`.
    """
    state: Any = _Nowhere()
    return execute(bound, inputs, state)[0]


def read_only(array: Any) -> Any:
    """Return a view of `array` that cannot be written: plans keep constants, callers get copies of such views."""
    view = array.view()
    view.setflags(write=False)
    return view


class ReferenceEngine:
    """Runs islands on numpy."""

    name = "reference"
    exact_shapes = False

    def declines(self, bound: BoundNode) -> str:
        """Everything is a host step already."""
        return "the reference engine runs on numpy"

    def compile(self, island: Island) -> Compiled:
        """Return a program that runs the nodes one after the other."""
        names = {b.name for b in island.nodes}
        outputs = tuple(r for b in island.nodes for r in b.outputs() if island.needed(r, names))
        inputs = tuple(island.inputs.values())

        def run(values: list[Any]) -> list[Any]:
            env: dict[TensorRef, Any] = dict(island.constants)
            env.update(zip((g.ref for g in inputs), values, strict=True))
            return interpret(island.nodes, env, outputs)

        return Compiled(list(island.nodes), {}, inputs, outputs, {}, run)


def interpret(
    nodes: Sequence[BoundNode], env: dict[TensorRef, Any], outputs: Sequence[TensorRef], state: State | None = None
) -> list[Any]:
    """Run `nodes` in order over `env`, which gains what they make, and return `outputs`."""
    with np.errstate(all="ignore"):
        for b in nodes:
            if state is not None:
                state.node = b.name
            made = execute(b, [env[r] for r in b.node.inputs], state)
            env.update(zip(b.outputs(), made, strict=True))
    return [env[r] for r in outputs]
