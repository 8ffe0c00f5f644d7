"""The tensor names of a graph: the document that people need to feed, fetch and freeze by name."""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Iterable, Iterator
from typing import Any

from coldframe.errors import MisuseError, NotFoundError, near_names
from coldframe.graph.ir import Graph, Node
from coldframe.ops import table
from coldframe.records import dataclass
from coldframe.runtime import ends
from coldframe.runtime.inspection.report import plain
from coldframe.runtime.source import open_source


@dataclass(frozen=True, slots=True)
class NamedTensor:
    """One output of a node; a node without outputs gives one row of its name alone.

    Attributes:
        name: the tensor's name, ``dense/MatMul:0``.
        dtype: its dtype, or ``-`` where the node has no outputs or its op is not known.
        shape: what the node's attributes tell of its shape.
        op: the node's op.
        sources: what the node reads; control dependencies begin with ``^``.
        mark: ``input``, ``output`` (likely), ``variable``, ``constant``, or empty.
    """

    name: str
    dtype: str
    shape: str
    op: str
    sources: tuple[str, ...]
    mark: str

    def to_json(self) -> dict[str, Any]:
        """Return the row as what `json.dumps` takes."""
        found: dict[str, Any] = plain(self)
        return found


def names(
    source: str | os.PathLike[str],
    pattern: str = "*",
    *,
    regex: bool = False,
    tags: Iterable[str] | None = None,
) -> tuple[NamedTensor, ...]:
    """Return the tensors of a graph whose names match, in the graph's order.

    Args:
        source: a graph, ``.meta`` or SavedModel.
        pattern: with ``*``, ``?`` or ``[...]`` a glob for the whole name, of tensor or node; else a part of the name.
        regex: whether `pattern` is a regular expression, searched anywhere in the name.
        tags: which meta graph of a SavedModel.

    Raises:
        NotFoundError: nothing matches; near names are suggested.
        MisuseError: the regular expression is none.
    """
    opened = open_source(source, tags=tags)
    graph = opened.graph
    matches = _matcher(pattern, regex)
    marks = _marks(graph)
    # A signature says what the outputs are; only without one they are guessed.
    given = {s.name for sig in opened.signatures.values() for s in sig.outputs.values()}
    outputs = given or {str(e.ref) for e in ends.guess_outputs(graph)}
    marks |= dict.fromkeys(outputs, "output")
    found = tuple(r for node in graph for r in _rows(graph, node, marks) if matches(r.name))
    if not found:
        raise NotFoundError(
            f"no tensor matches `{pattern}`", where=f"in {source}", hint=near_names(pattern, graph.nodes)
        )
    return found


def _matcher(pattern: str, regex: bool) -> Any:
    if regex:
        try:
            return re.compile(pattern).search
        except re.error as e:
            raise MisuseError(f"`{pattern}` is no regular expression", found=str(e)) from None
    if any(c in pattern for c in "*?["):
        glob = re.compile(fnmatch.translate(pattern))
        return lambda name: glob.match(name) or glob.match(name.rpartition(":")[0])
    return lambda name: pattern in name


def _marks(graph: Graph) -> dict[str, str]:
    ops = table()
    found = {}
    for node in graph:
        op = ops[node.op] if node.op in ops else None  # noqa: SIM401 (a miss raises)
        if op is not None and (op.const or op.variable):
            found[str(node.out())] = "constant" if op.const else "variable"
    return found | {str(e.ref): "input" for e in ends.inputs(graph)}


def _rows(graph: Graph, node: Node, marks: dict[str, str]) -> Iterator[NamedTensor]:
    sources = (*(str(r) for r in node.inputs), *(f"^{c}" for c in node.controls))
    specs = ends.output_specs(graph, node)
    if not specs:
        yield NamedTensor(node.name, "-", "-", node.op, sources, "")
    for spec in specs:
        yield NamedTensor(spec.name, spec.dtype.name, str(spec.shape), node.op, sources, marks.get(spec.name, ""))
