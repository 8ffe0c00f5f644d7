"""The contract of passes, and pipelines of them.

A pass is a value with a name and ``run(graph, context) -> graph``. It changes neither the graph it is given nor its
nodes; all tensors and nodes that the context names as targets are still there, under their names, when it is done.

The pipeline checks the graph after each pass (`coldframe.graph.verify`), so that a mistake is found where it is made,
and an error says in which pass it came up and what had run before.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Protocol

from coldframe.errors import ColdframeError
from coldframe.graph.ir import Graph, Node
from coldframe.graph.names import TensorRef
from coldframe.graph.verify import verify
from coldframe.ops import Op, table
from coldframe.records import dataclass


@dataclass(slots=True)
class Context:
    """What passes know of the use of a graph, and where they tell what they did.

    Attributes:
        targets: the tensors and nodes that are wanted of the graph.
        fed: tensors that are given from outside.
        notes: what was changed or guessed, and why, for people to read.
    """

    targets: tuple[TensorRef | str, ...]
    fed: frozenset[TensorRef] = frozenset()
    notes: list[str] = dataclasses.field(default_factory=list)

    @property
    def target_nodes(self) -> list[str]:
        """The nodes to run for the targets."""
        return [t if isinstance(t, str) else t.node for t in self.targets if isinstance(t, str) or t not in self.fed]

    def note(self, what: str) -> None:
        """Tell what was done, once."""
        if what not in self.notes:
            self.notes.append(what)


class Pass(Protocol):
    """One rewriting of a graph."""

    @property
    def name(self) -> str:
        """The name, as errors give it."""

    def run(self, graph: Graph, context: Context, /) -> Graph:
        """Return the rewritten graph; the one given is left as it is."""


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Passes that run one after the other, checked."""

    name: str
    passes: Sequence[Pass]

    def run(self, graph: Graph, context: Context) -> Graph:
        """Return `graph` after all passes.

        Raises:
            ColdframeError: what a pass raises, or `GraphError` where it leaves a graph that is not sound; a note says
                which pass, and which had run before.
        """
        done: list[str] = []
        for p in self.passes:
            try:
                graph = p.run(graph, context)
                last = len(done) + 1 == len(self.passes)  # before, references may still be in need of repair
                edges = loop_edge(graph)
                verify(graph, targets=context.targets, fed=context.fed, back_edge=edges, references=last)
            except ColdframeError as e:
                before = f", after {', '.join(f'`{d}`' for d in done)}" if done else ""
                e.add_note(f"in pass `{p.name}` of pipeline `{self.name}`{before}")
                raise
            done.append(p.name)
        return graph


class loop_edge:  # noqa: N801 - called like the function that it stands for
    """Tell the edges of `graph` that lead from one iteration of a V1 loop to the next."""

    def __init__(self, graph: Graph) -> None:
        ops = table()
        kinds = {kind for kind in {n.op for n in graph} if kind in ops and ops[kind].control == "next"}
        self._next = {n.name for n in graph if n.op in kinds} if kinds else set()

    def __call__(self, node: Node, ref: TensorRef) -> bool:
        return ref.node in self._next


def row_of(node: Node) -> Op | None:
    """Return the op-table row of `node`, or None where the table has none."""
    row: Op | None = table().get(node.op)
    return row


def has_flow(nodes: Iterable[Node]) -> bool:
    """Whether there is V1 control flow among `nodes`."""
    ops = table()
    return any(kind in ops and ops[kind].control for kind in {n.op for n in nodes})
