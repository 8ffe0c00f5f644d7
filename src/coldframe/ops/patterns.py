"""Patterns of several ops that compute one thing, and how they are found in a graph.

A pattern is written like the expression that it finds, of `N` (a node), `Any_` (a tensor, the same wherever its name
stands), `Number` (a constant scalar), `Constant` (integers), `Slot` (another output of a node than the first) and
`Either` (one of several)::

    X = Any_("x")
    N("Mul", X, N("Sigmoid", X))

Inputs of ops that commute are tried both ways. What passes a tensor on unchanged is looked through. Finding a pattern
changes nothing: whoever uses it computes the result in a better way, and the nodes in between stay for who reads them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Protocol

import numpy as np

from coldframe.graph.names import TensorRef
from coldframe.records import dataclass

_COMMUTE: Final = frozenset(("Add", "AddV2", "Mul", "SquaredDifference"))
SAME: Final = {"AddV2": "Add", "RealDiv": "Div"}  # ops that patterns call by one name
_NEAR: Final = 2e-6  # relative; constants are written with seven digits at least
Found = Mapping[Any, TensorRef]  # by name, and by node of the pattern


class View(Protocol):
    """What a matcher sees of a graph."""

    def made_by(self, ref: TensorRef) -> tuple[str, tuple[TensorRef, ...], Mapping[str, Any]] | None:
        """Return op, inputs and attributes of what makes a tensor as its only output; None where that is not there.

        A view for patterns with `Slot` knows nodes of several outputs by their first.
        """

    def value(self, ref: TensorRef) -> np.ndarray[Any, Any] | None:
        """Return the values of a tensor that is constant."""

    def origin(self, ref: TensorRef) -> TensorRef:
        """Return the tensor that `ref` is the same as."""


@dataclass(frozen=True, slots=True)
class Any_:  # noqa: N801 - it stands for any tensor, which the builtin would hide
    """Any tensor."""

    name: str


@dataclass(frozen=True, slots=True)
class Number:
    """A constant of one element: `value`, or any, under `name`."""

    value: float | None = None
    name: str = ""


@dataclass(frozen=True, slots=True)
class Constant:
    """Constant integers: these, in this order, whatever the shape; None stands for any."""

    values: tuple[int | None, ...]

    def takes(self, value: np.ndarray[Any, Any] | None) -> bool:
        """Whether `value` holds them."""
        if value is None or value.dtype.kind not in "iu" or value.size != len(self.values):
            return False
        return all(want is None or want == v for want, v in zip(self.values, value.ravel().tolist(), strict=True))


@dataclass(frozen=True, slots=True, eq=False)
class Slot:
    """An output of a node that has several."""

    node: N
    index: int


@dataclass(frozen=True, slots=True, eq=False)
class Either:
    """What any one of several patterns finds; the first that fits."""

    patterns: tuple[Pattern, ...]


@dataclass(frozen=True, slots=True, eq=False)
class N:
    """A node. The same object in two places is the same node.

    Attributes:
        op: its op; ops that do the same count as one.
        inputs: patterns of its inputs.
        attrs: attributes that it must have.
    """

    op: str
    inputs: tuple[Pattern, ...]
    attrs: Mapping[str, Any]

    def __init__(self, op: str, *inputs: Pattern, **attrs: Any) -> None:
        object.__setattr__(self, "op", op)
        object.__setattr__(self, "inputs", inputs)
        object.__setattr__(self, "attrs", attrs)


Pattern = N | Any_ | Number | Constant | Slot | Either


def find(pattern: N, root: TensorRef, view: View) -> Found | None:
    """Return what the names in `pattern` stand for where `root` is its result, or None where it is not."""
    found: Found | None = _match(pattern, root, view, {})
    return found


_State = dict[Any, TensorRef]


def _match(pattern: Pattern, ref: TensorRef, view: View, state: _State) -> Any:
    ref = view.origin(ref)
    if isinstance(pattern, Number):
        return _number(pattern, ref, view, state)
    if isinstance(pattern, Constant):
        return state if pattern.takes(view.value(ref)) else None
    if isinstance(pattern, Either):
        return next((s for p in pattern.patterns if (s := _match(p, ref, view, state)) is not None), None)
    if isinstance(pattern, Slot):
        return _match(pattern.node, TensorRef(ref.node), view, state) if ref.slot == pattern.index else None
    key = pattern.name if isinstance(pattern, Any_) else pattern
    if key in state:
        return state if state[key] == ref else None
    if isinstance(pattern, Any_):
        return {**state, key: ref}
    made = view.made_by(ref)
    if made is None or SAME.get(made[0], made[0]) != pattern.op or len(made[1]) != len(pattern.inputs):
        return None
    op, inputs, attrs = made
    if any(attrs.get(k) != v for k, v in pattern.attrs.items()):
        return None
    for order in (inputs, inputs[::-1]) if op in _COMMUTE else (inputs,):
        found: Any = {**state, key: ref}
        for p, r in zip(pattern.inputs, order, strict=True):
            found = None if found is None else _match(p, r, view, found)
        if found is not None:
            return found
    return None


def _number(pattern: Number, ref: TensorRef, view: View, state: _State) -> _State | None:
    value = view.value(ref)
    if value is None or value.size != 1 or value.dtype.kind != "f":
        return None
    near = pattern.value is None or abs(float(value.ravel()[0]) - pattern.value) <= _NEAR * abs(pattern.value)
    return ({**state, pattern.name: ref} if pattern.name else state) if near else None
