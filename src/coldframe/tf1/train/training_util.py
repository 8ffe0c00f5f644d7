"""The global step: how many training steps have been taken."""

from __future__ import annotations

from typing import Any, Final

from coldframe import dtypes
from coldframe.tf1.framework.functions import outermost
from coldframe.tf1.framework.graph import Graph, get_default_graph, name_scope
from coldframe.tf1.framework.keys import GraphKeys
from coldframe.tf1.init_ops import zeros_initializer
from coldframe.tf1.variable_scope import get_variable
from coldframe.tf1.variables import Variable

_READ: Final = "global_step_read_op_cache"  # TensorFlow's collection for what `global_step_read` makes


def get_global_step(graph: Graph | None = None) -> Any:
    """Return the global step of `graph` (the default one otherwise), or None.

    Raises:
        RuntimeError: the graph has several.
        TypeError: what is called ``global_step`` cannot be one.
    """
    graph = graph or outermost(get_default_graph())
    found = graph.get_collection(GraphKeys.GLOBAL_STEP)
    if len(found) > 1:
        raise RuntimeError("Multiple items in the global_step collection.")
    if found:
        step = found[0]
    else:
        named = [v for v in graph.get_collection(GraphKeys.GLOBAL_VARIABLES) if v.name == "global_step:0"]
        if not named:
            return None
        step = named[0]
    assert_global_step(step)
    return step


def assert_global_step(global_step_tensor: Any) -> None:
    """Raise `TypeError` unless `global_step_tensor` is an integer scalar variable."""
    step = global_step_tensor
    if not hasattr(step, "dtype") or not step.dtype.is_integer:
        raise TypeError(f"Existing 'global_step' does not have integer type: {getattr(step, 'dtype', step)}")
    if step.get_shape().ndims not in (0, None) and step.get_shape().is_fully_defined():
        raise TypeError(f"Existing 'global_step' is not scalar: {step.get_shape()}")


def create_global_step(graph: Graph | None = None) -> Any:
    """Return a new global step, an int64 that starts at 0; raise `ValueError` where there is one."""
    graph = graph or outermost(get_default_graph())
    if get_global_step(graph) is not None:
        raise ValueError('"global_step" already exists.')
    with graph.as_default(), graph.name_scope(None):
        return get_variable(
            GraphKeys.GLOBAL_STEP, shape=[], dtype=dtypes.int64, initializer=zeros_initializer(), trainable=False,
            collections=[GraphKeys.GLOBAL_VARIABLES, GraphKeys.GLOBAL_STEP],
        )  # fmt: skip


def get_or_create_global_step(graph: Graph | None = None) -> Any:
    """Return the global step, made where there is none."""
    graph = graph or outermost(get_default_graph())
    step = get_global_step(graph)
    return create_global_step(graph) if step is None else step


def global_step_read(graph: Graph | None = None) -> Any:
    """Return the tensor by which hooks read the global step, a copy of it made once per graph; None without a step."""
    graph = graph or outermost(get_default_graph())
    found = graph.get_collection(_READ)
    if found:
        return found[0]
    step = get_global_step(graph)
    if step is None:
        return None
    with graph.as_default(), graph.name_scope(None), graph.name_scope(f"{step.op.name}/"):
        value = step.read_value() if hasattr(step, "read_value") else step
        read = value + 0
    graph.add_to_collection(_READ, read)
    return read


def global_step(sess: Any, global_step_tensor: Any) -> int:
    """Return the value of the global step in a session."""
    return int(sess.run(global_step_tensor))


def increment_global_step(by: int = 1) -> Any:
    """Return the global step after `by` was added."""
    step = get_or_create_global_step()
    with name_scope("increment_global_step", None):
        return step.assign_add(by) if isinstance(step, Variable) else step
