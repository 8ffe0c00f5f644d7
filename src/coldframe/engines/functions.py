"""Functions of a graph, as engines trace them where they are called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

from coldframe.engines.base import BoundNode, FunctionBody
from coldframe.engines.reference import execute
from coldframe.errors import ColdframeError
from coldframe.graph.names import TensorRef
from coldframe.primitives.base import Unlowerable


class BodyView:
    """What patterns see of a function: see `coldframe.ops.patterns.View` and `coldframe.ops.recurrences.Function`."""

    def __init__(self, body: FunctionBody) -> None:
        self.inputs = body.inputs
        self.outputs = body.outputs
        self._constants = body.constants
        self._nodes = {b.name: b for b in body.nodes}
        self._behind: dict[TensorRef, frozenset[TensorRef] | None] = {}

    def made_by(self, ref: TensorRef) -> tuple[str, tuple[TensorRef, ...], Mapping[str, Any]] | None:
        """Return op, inputs and attributes of what makes a tensor; of several outputs, with the output's number."""
        made = self._nodes.get(ref.node)
        if made is None:
            return None
        call = made.call
        name = call.op.name if len(call.outputs) == 1 else f"{call.op.name}:{ref.slot}"
        return name, tuple(made.node.inputs), call.attrs

    def value(self, ref: TensorRef) -> Any:
        """Return the values of a tensor that is constant."""
        return self._constants.get(ref)

    def origin(self, ref: TensorRef) -> TensorRef:
        """Return the tensor that `ref` is the same as."""
        while (made := self._nodes.get(ref.node)) is not None and made.call.op.role == "identity":
            if len(made.node.inputs) != 1:
                break
            ref = made.node.inputs[0]
        return ref

    def behind(self, ref: TensorRef) -> frozenset[TensorRef] | None:
        """Return the arguments that a tensor is computed of; None where what computes it is not pure."""
        if ref not in self._behind:
            made = self._nodes.get(ref.node)
            found: frozenset[TensorRef] | None = frozenset((ref,)) if ref in self.inputs else frozenset()
            if made is not None:
                below = [self.behind(r) for r in made.node.inputs] if made.call.op.pure else [None]
                found = None if None in below else frozenset().union(*(b for b in below if b is not None))
            self._behind[ref] = found
        return self._behind[ref]

    def fold(self, ref: TensorRef, given: Mapping[TensorRef, Any]) -> Any:
        """Return a tensor's value, of values for arguments; None where one is missing."""
        known = self._constants.get(ref, given.get(ref))
        made = self._nodes.get(ref.node)
        if known is not None or made is None or not made.call.op.pure:
            return known
        values = [self.fold(r, given) for r in made.node.inputs]
        return None if any(v is None for v in values) else execute(made, values, None)[ref.slot]

    def ops(self) -> AbstractSet[str]:
        """Return the names of its ops."""
        return {b.call.op.name for b in self._nodes.values()}

    def pure(self) -> bool:
        """Return whether its results are all that it does, and depend on its arguments alone."""
        ops = [b.call.op for b in self._nodes.values()]
        reads = any(b.deref for b in self._nodes.values())
        return not (reads or any(op.random or op.stateful or op.effect for op in ops))


def body_of(function: Any) -> FunctionBody:
    """Return what a function of the graph, as ops receive it, computes.

    Raises:
        Unlowerable: V1 control flow that could not be raised is in it.
    """
    found = function.body()
    if not isinstance(found, FunctionBody):
        raise Unlowerable("a function with V1 control flow in it")
    return found


def handed_on(body: FunctionBody) -> list[bool]:
    """Return which of its arguments a function returns, in their places, as they are."""
    origin = {r: r for r in body.inputs}
    for b in body.nodes:
        if b.call.op.role == "identity" and b.node.inputs[0] in origin:
            origin[b.node.out()] = origin[b.node.inputs[0]]
    return [origin.get(out) == given for out, given in zip(body.outputs, body.inputs, strict=True)]


def refuse_effects(bound: BoundNode, aspect: str) -> None:
    """Refuse a node of a function that has state or effects, and no rule `aspect` for them."""
    op = bound.call.op
    if op.random:
        raise Unlowerable("it calls a function that draws random numbers")
    if (op.stateful or op.effect) and aspect not in op.rules:
        raise Unlowerable(f"it calls a function with state or effects, at `{bound.name}`")


def is_layer(loop: BoundNode) -> bool:
    """Return whether a loop is a recurrent layer (see `coldframe.ops.recurrences`)."""
    from coldframe.ops.recurrences import found  # here, since most graphs have no loops

    try:
        condition, body = (BodyView(body_of(loop.call.kwargs[k])) for k in ("cond", "body"))
    except (Unlowerable, ColdframeError):  # what is wrong with a function is for the run to tell
        return False
    return found(condition, body) is not None


class TracedFunctions:
    """Functions of the graph, traced where they are called.

    Args:
        trace: has `xp`, and lowers nodes.
    """

    def __init__(self, trace: Any) -> None:
        self._trace = trace

    def call(self, function: Any, args: Sequence[Any]) -> list[Any]:
        """Return the results of a function."""
        body, xp = body_of(function), self._trace.xp
        if len(args) != len(body.inputs):
            raise Unlowerable("a function is called with the wrong number of arguments")
        values = {r: xp.constant(a) for r, a in body.constants.items()} | dict(zip(body.inputs, args, strict=True))
        for bound in body.nodes:
            refuse_effects(bound, "onnx")
            try:
                outs = self._trace.lower(bound, [values[r] for r in bound.node.inputs])
            except (Unlowerable, ColdframeError) as e:
                raise Unlowerable(f"{e} (`{bound.name}`)") from e
            values.update(zip(bound.outputs(), outs, strict=True))
        return [values[r] for r in body.outputs]

    def invariant(self, body: Any) -> list[bool]:
        """Return which of its arguments `body` returns, in their places, as they are."""
        return handed_on(body_of(body))

    def seen(self, function: Any) -> BodyView:
        """Return what patterns see of `function`."""
        return BodyView(body_of(function))
