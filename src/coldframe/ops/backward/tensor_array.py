"""Gradient rules of tensor arrays.

Gradients of an array's elements are kept in another array (TensorArrayGrad), one per call of ``tf.gradients``: its
`source`, the outermost part of the gradients' names, tells them apart. What reads an element adds its gradient there;
what writes one reads it there. The flow puts all additions before that: a rule passes on, as the gradient of the
flow, the flow of its own access.
"""

from __future__ import annotations

from typing import Any

from coldframe.dtypes import int64
from coldframe.errors import GraphError


def source_of(dy: Any) -> str:
    """The name of the call of ``tf.gradients`` that made `dy`; within a loop or a branch, of the one outside."""
    if dy.graph.gradient_source:
        return str(dy.graph.gradient_source)
    for name in (dy.name, dy.graph.get_name_scope()):
        parts = name.split("/")
        marks = [i for i, p in enumerate(parts) if p.startswith("gradients")]
        if marks:
            return "/".join(parts[: marks[-1] + 1])
    raise GraphError(
        "cannot tell which call of `tf.gradients` a tensor array's gradient belongs to",
        where=f"for `{dy.name}`",
        expected="a name below `gradients`",
        hint="let the `name` given to `tf.gradients` begin with `gradients`",
    )


class _Gradients:
    """The array of gradients for the array that an access `op` is for, in the op's generation."""

    def __init__(self, g: Any, op: Any, dy: Any, flow: Any) -> None:
        self.g, self.generation = g, op.type[-2:] if op.type[-2:] in ("V2", "V3") else ""
        at = f"TensorArrayGrad/TensorArrayGrad{self.generation}"
        make = getattr(g, f"TensorArrayGrad{self.generation}")
        made = make(op.inputs[0], flow, source=source_of(dy), name=at)
        self.handle = made[0] if isinstance(made, tuple) else made
        with dy.graph.control_dependencies([self.handle]):
            self.flow = g.Identity(flow, name="TensorArrayGrad/gradient_flow")

    def access(self, what: str, *inputs: Any, scope: bool = False, **attrs: Any) -> Any:
        """Add an access of the array of gradients; those that write have a scope of their own in TensorFlow."""
        name = f"TensorArray{what}{self.generation}"
        place = f"TensorArray{what}/{name}" if scope else None
        return getattr(self.g, name)(self.handle, *inputs, self.flow, name=place, **attrs)


def read(g: Any, op: Any, dy: Any) -> Any:
    """Reading an element: add to its gradient."""
    _, index, flow = op.inputs
    return None, None, _Gradients(g, op, dy, flow).access("Write", index, dy, scope=True)


def gather(g: Any, op: Any, dy: Any) -> Any:
    """Reading some elements: add to their gradients."""
    _, indices, flow = op.inputs
    return None, None, _Gradients(g, op, dy, flow).access("Scatter", indices, dy, scope=True)


def concat(g: Any, op: Any, dy: Any, _: Any) -> Any:
    """Reading all elements in one: add to their gradients."""
    lengths = op.outputs[1]
    lengths = lengths if lengths.dtype is int64 else g.Cast(lengths, DstT=int64)
    return None, _Gradients(g, op, dy, op.inputs[1]).access("Split", dy, lengths, scope=True)


def _written(g: Any, op: Any, dflow: Any) -> tuple[_Gradients, Any]:
    """The gradients of what was written; not before it was, as the array must have its final size."""
    out = g.Identity(op.outputs[0], name="flow_out")
    with dflow.graph.control_dependencies([out]):
        flow = g.Identity(dflow, name="write_barrier")
    return _Gradients(g, op, dflow, flow), flow


def write(g: Any, op: Any, dflow: Any) -> Any:
    """Writing an element: read its gradient."""
    grads, flow = _written(g, op, dflow)
    return None, None, grads.access("Read", op.inputs[1], dtype=op.get_attr("T")), flow


def scatter(g: Any, op: Any, dflow: Any) -> Any:
    """Writing some elements: read their gradients."""
    grads, flow = _written(g, op, dflow)
    return None, None, grads.access("Gather", op.inputs[1], dtype=op.get_attr("T")), flow


def split(g: Any, op: Any, dflow: Any) -> Any:
    """Writing all elements: read their gradients in one."""
    grads, flow = _written(g, op, dflow)
    return None, grads.access("Concat", dtype=op.get_attr("T"))[0], None, flow
