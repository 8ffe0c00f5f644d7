"""Partial runs: one run of a graph in several calls, each with more feeds.

A run that goes on must not do twice what it has done, draw other random numbers, or assign again. So a call also
computes what later calls will read of what it ran, and keeps it; a later call is fed that, and runs a graph in which
nobody waits for operations that are done. Such graphs are kept with their plans: a program that makes the same calls
for each step compiles them once.

Operations inside a condition are run by the call that asks for its result, and are not remembered; neither are those
that only name a resource.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from coldframe import dtypes
from coldframe.graph import ir
from coldframe.graph.names import TensorRef
from coldframe.graph.traverse import needed
from coldframe.ops import table
from coldframe.records import dataclass
from coldframe.tf1 import errors
from coldframe.tf1.framework.graph import Graph


@dataclass(slots=True)
class PartialRun:
    """A run that is under way.

    Attributes:
        tensors, targets: what was announced to be fetched, and has not been.
        feeds: what was announced to be fed, and has not been.
        values: what was fed or computed so far.
        done: names of the operations that ran.
    """

    tensors: set[TensorRef]
    targets: set[str]
    feeds: set[TensorRef]
    values: dict[TensorRef, Any] = dataclasses.field(default_factory=dict)
    done: frozenset[str] = frozenset()

    @property
    def is_over(self) -> bool:
        return not (self.tensors or self.targets or self.feeds)

    def check(self, tensors: Iterable[TensorRef], targets: Iterable[str], feeds: Iterable[TensorRef]) -> None:
        """Raise `tf.errors.InvalidArgumentError` where something was not announced, or was there before."""
        for ref in feeds:
            if ref not in self.feeds:
                raise _refused(f"The feed {ref} was not specified in partial_run_setup, or has already been fed.")
        for name in [*(t for t in tensors if t not in self.tensors), *(t for t in targets if t not in self.targets)]:
            raise _refused(f"The fetch {name} was not specified in partial_run_setup, or has already been fetched.")

    def note(self, step: Step, feeds: Mapping[TensorRef, Any], values: Mapping[TensorRef, Any]) -> None:
        """Note what a call was fed, and what it fetched and kept."""
        self.values |= {**feeds, **values}
        self.feeds -= feeds.keys()
        self.tensors -= set(step.tensors)
        self.targets -= set(step.targets)
        self.done |= step.ran


@dataclass(frozen=True, slots=True)
class Step:
    """One call of a partial run.

    Attributes:
        tensors, targets: what it fetches, what else it runs.
        kept: tensors that it computes for later calls.
        ran: the operations that are done after it.
    """

    tensors: tuple[TensorRef, ...]
    targets: tuple[str, ...]
    kept: tuple[TensorRef, ...]
    ran: frozenset[str]


def step_of(
    graph: Graph, rest: ir.Graph, run: PartialRun, tensors: tuple[TensorRef, ...], targets: tuple[str, ...],
    feeds: Iterable[TensorRef],
) -> Step:  # fmt: skip
    """Return what a call that fetches `tensors` and runs `targets` has to do.

    Args:
        graph: the whole graph.
        rest: the graph `without` what is done.
        run: the run so far.
        tensors, targets, feeds: what the call asks for, and what it is fed.

    Raises:
        tf.errors.InvalidArgumentError: something that has not been fed yet is needed.
    """
    known = {*run.values, *feeds}
    names = _needed(rest, tensors, targets, known)
    missing = sorted(str(r) for r in run.feeds - known if r.node in names)
    if missing:
        what = ", ".join(map(str, [*tensors, *targets]))
        raise _refused(f"Fetch {what} can't be computed from the feeds that have been fed so far: {missing} are not.")
    ran = frozenset(n for n in names if _is_remembered(graph, n))
    wanted = [t for t in run.tensors if t not in tensors]
    later = _needed(rest, wanted, [t for t in run.targets if t not in ran], {*known, *tensors})
    kept = dict.fromkeys(r for r in wanted if r.node in ran)
    for name in later - ran:
        kept |= dict.fromkeys(r for r in rest.nodes[name].inputs if r.node in ran and not _output(graph, r).is_ref)
    return Step(tensors, targets, tuple(r for r in kept if r not in known), ran)


def without(graph: Graph, done: frozenset[str]) -> ir.Graph:
    """Return the graph in which nobody waits for what is done; references go to the variables themselves."""
    nodes = []
    for node in graph.ir:
        copy = node.copy()
        copy.controls = [c for c in node.controls if c not in done]
        copy.inputs = [_variable(graph, r) if r.node in done and _output(graph, r).is_ref else r for r in node.inputs]
        nodes.append(copy)
    return graph.ir.with_nodes(nodes)


def _needed(graph: ir.Graph, tensors: Iterable[TensorRef], targets: Iterable[str], known: set[TensorRef]) -> set[str]:
    return needed(graph, [*(t.node for t in tensors if t not in known), *targets], known)


def _is_remembered(graph: Graph, name: str) -> bool:
    op = graph._operations[name]
    row = table().get(op.type)
    if op.context is not None or (row is not None and (row.variable or row.control == "switch")):
        return False
    return not any(t.dtype is dtypes.resource or (t.is_ref and t.dtype is dtypes.string) for t in op.outputs)


def _variable(graph: Graph, ref: TensorRef) -> TensorRef:
    """Return the variable that a reference is to."""
    while (row := table().get((node := graph.ir.nodes[ref.node]).op)) is None or not row.variable:
        ref = node.inputs[0]
    return ref


def _output(graph: Graph, ref: TensorRef) -> Any:
    return graph._operations[ref.node].outputs[ref.slot]


def _refused(text: str) -> Exception:
    return errors.InvalidArgumentError(None, None, text)


__all__: list[str] = []
