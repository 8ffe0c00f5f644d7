"""Ops that a graph needs and the table lacks: told all at once, before anything runs, those inside of functions too."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from coldframe.errors import UnsupportedOpError, near_names
from coldframe.graph.ir import Function, Node
from coldframe.graph.signatures import known
from coldframe.graph.traverse import reached
from coldframe.ops import OpTable

_SHOWN: Final = 10  # ops that a message names
_EXAMPLES: Final = 2  # nodes that it names for each


def refuse_missing(nodes: Iterable[Node], functions: Mapping[str, Function], table: OpTable) -> None:
    """Check that the table has the ops of `nodes`, and of the functions that they call or hand on.

    Raises:
        UnsupportedOpError: it lacks some; all of them are named, with nodes that have them.
    """
    missing: dict[str, list[str]] = {}
    there: set[str] = set()
    for place, node in reached(nodes, functions):
        if node.op in there:
            continue
        if node.op in table or node.op in functions:
            there.add(node.op)
        else:
            missing.setdefault(node.op, []).append(place + node.name)
    if missing:
        raise unsupported(missing, table)


def unsupported(missing: Mapping[str, list[str]], table: OpTable) -> UnsupportedOpError:
    """Return the error that names all ops the table lacks, each with nodes that have it."""
    shown = ", ".join(f"{op} ({_examples(sorted(names))})" for op, names in sorted(missing.items())[:_SHOWN])
    more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
    only = next(iter(missing))
    if len(missing) == 1 and not known(only):
        hint = near_names(only, table) or "it is no op of TensorFlow's: it comes from a library of custom ops"
    else:
        hint = "any tensor can be fed: feed what they hand out, or fetch what comes before them"
    return UnsupportedOpError(f"the graph needs ops that coldframe does not have: {shown}{more}", hint=hint)


def _examples(names: list[str]) -> str:
    if len(names) == 1:
        return f"node `{names[0]}`"
    some = ", ".join(f"`{n}`" for n in names[:_EXAMPLES])
    return f"{len(names)} nodes: {some}{', ...' if len(names) > _EXAMPLES else ''}"
