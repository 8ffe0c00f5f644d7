"""Which engine compiles a plan, where the user leaves that to coldframe (``engine="auto"``).

ONNX Runtime compiles in milliseconds, for any batch. XLA takes seconds and compiles for one shape, so it gets the plans
that run often and that it runs faster. Where jax is not installed it gets none; jax is loaded when the first such plan
is made, not before::

    a training step with loops                                                      XLA
    a training step of dense work on `_DENSE` or more values, without variables
        of which it writes single rows alone                                        XLA
    loops that change no variable, without convolutions                             XLA, from a shape's third run on,
                                                                                    where it takes one of the loops,
                                                                                    and is found to be faster
    loops that are recurrent layers, of which ONNX Runtime makes one node           ONNX Runtime
    anything else: inference, initializers, small steps                             ONNX Runtime

Where variables are written the choice depends on the graph, the fetches and the feeds alone, never on what ran before:
a process that goes on training from a checkpoint computes the same bits as one that was never stopped.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from coldframe.engines.base import BoundNode
from coldframe.engines.functions import is_layer

_DENSE: Final = 200_000  # values of variables, slots among them; XLA runs smaller steps no faster
_RECURRENT: Final = 1_000  # the same of steps with loops
_TRIED: Final = 2  # runs of a shape on ONNX Runtime and numpy, before loops are compiled for it
_TIMED: Final = 3  # runs of each that are timed, where neither is twice as fast


class Choice(enum.Enum):
    """Who compiles a plan: ONNX Runtime, XLA, or XLA where the plan's feeds come again in the same shapes."""

    GENERAL = "general"
    EXACT = "exact"
    RECURRING = "recurring"


class Trial:
    """Which of two plans runs the feeds of one shape sooner: the general one, or one compiled for the shape.

    The general one runs first; then they take turns, until one is twice as fast or a few runs of each are timed.
    """

    __slots__ = ("_general", "_runs", "_shaped", "_verdict")

    def __init__(self) -> None:
        self._runs = 0
        self._general: list[float] = []
        self._shaped: list[float] = []
        self._verdict: bool | None = None

    def next(self) -> bool:
        """Count a run, and return whether it is the turn of the plan for the shape."""
        self._runs += 1
        if self._verdict is not None:
            return self._verdict
        return self._runs > _TRIED and len(self._shaped) <= len(self._general)

    def note(self, shaped: bool, seconds: float) -> None:
        """Take in how long a run took, in which nothing was compiled."""
        (self._shaped if shaped else self._general).append(seconds)
        if not self._shaped or not self._general:
            return
        ours, other = min(self._shaped), min(self._general)
        enough = min(len(self._shaped), len(self._general)) >= _TIMED
        if enough or ours * 2 < other or other * 2 < ours:
            self._verdict = ours < other


def choose(nodes: Sequence[BoundNode]) -> Choice:
    """Return what suits a plan of `nodes`."""
    work = [b.call.op for b in nodes]
    loops = any(op.role == "while" or (op.heavy and op.host and "jax" in op.rules) for op in work)
    if not _writes(nodes):
        slow = loops and not any(op.windows for op in work) and not all(map(_one_node, nodes))
        return Choice.RECURRING if slow else Choice.GENERAL
    if not _reads(nodes):  # an initializer
        return Choice.GENERAL
    size = _size(nodes)
    if loops:
        return Choice.EXACT if size >= _RECURRENT else Choice.GENERAL
    if not any(op.heavy for op in work) or size < _DENSE or _apart(nodes):
        return Choice.GENERAL
    open_sizes = varying(nodes)
    return Choice.EXACT if not any(b.call.op.heavy and b.name in open_sizes for b in nodes) else Choice.GENERAL


def _one_node(b: BoundNode) -> bool:
    """Whether ONNX Runtime takes a node as it is, or a loop as one node."""
    op = b.call.op
    return is_layer(b) if op.role == "while" else not (op.heavy and op.host and "jax" in op.rules)


def varying(nodes: Iterable[BoundNode]) -> set[str]:
    """Return the nodes, given in topological order, whose results are of sizes that depend on the data."""
    found: set[str] = set()
    for b in nodes:
        op = b.call.op
        if op.role == "distinct" or (op.role != "update" and any(r.node in found for r in b.node.inputs)):
            found.add(b.name)
    return found


def _apart(nodes: Iterable[BoundNode]) -> bool:
    """Whether rows are updated of a variable that is not written as a whole as well: XLA would copy all of it."""
    named = {b.name: b for b in nodes}
    rows: set[str] = set()
    whole: set[str] = set()
    for b in named.values():
        if b.call.op.role in ("assign", "update"):
            (whole if "values" in b.call.op.rules else rows).add(_variable(b, named))
    return not rows <= whole


def _variable(b: BoundNode, named: Mapping[str, BoundNode]) -> str:
    """Return the node that makes the variable which `b`, or what hands it to `b`, writes."""
    while b.call.op.role in ("assign", "update") and b.node.inputs[0].node in named:
        b = named[b.node.inputs[0].node]
    return b.name


def _writes(nodes: Iterable[BoundNode]) -> bool:
    return any(b.call.op.role in ("assign", "update") for b in nodes)


def _reads(nodes: Iterable[BoundNode]) -> bool:
    return any(b.deref or b.call.op.role in ("read", "update") for b in nodes)


def _size(nodes: Iterable[BoundNode]) -> int:
    return sum(b.call.attrs["shape"].size or 0 for b in nodes if b.call.op.variable)
