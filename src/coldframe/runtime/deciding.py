"""Fed values that decide what is computed: how much dropout keeps (`coldframe.ops.dropout`).

A plan is made for what comes in; where 1 comes in as the probability that a value is kept, it is another plan, without
random numbers. Only values that matter so, and only 0 and 1, tell plans apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from coldframe.graph.ir import Graph
from coldframe.graph.names import TensorRef
from coldframe.ops.dropout import Dropouts, has_dropout, settled
from coldframe.passes.inline import inline_calls

_KEPT: Final = 64  # sets of fetches and feeds for which is known what decides

Feeds = Mapping[TensorRef, Any]


class Deciding:
    """What decides in one graph."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._known: dict[Any, tuple[TensorRef, ...]] = {}
        self._drops: bool | None = None

    def values(self, fetches: tuple[TensorRef, ...], targets: tuple[str, ...], feeds: Feeds) -> tuple[Any, ...]:
        """Return the values that decide, None for one that is neither 0 nor 1; nothing where none does."""
        if self._drops is None:
            bodies = (self._graph, *(f.body for f in self._graph.functions.values()))
            self._drops = any(has_dropout({n.op for n in g}) for g in bodies)
        if not self._drops:
            return ()
        key = (fetches, targets, tuple(feeds))
        found = self._known.get(key)
        if found is None:
            inlined = inline_calls(self._graph, [*fetches, *targets], fed=feeds.keys())
            look = Dropouts(inlined.graph, dict.fromkeys(feeds))
            look.passed()
            if len(self._known) >= _KEPT:
                self._known.clear()
            found = self._known[key] = tuple(sorted(look.asked))
        return tuple(_settles(feeds[r]) for r in found)

    def settled(self, graph: Graph, feeds: Feeds) -> Graph:
        """Return `graph`, a part of the whole, without dropout that drops nothing for such feeds."""
        return settled(graph, {r: _settles(v) for r, v in feeds.items()}) if self._drops else graph


def _settles(value: Any) -> float | None:
    """Return 0 or 1 of a scalar that is one of these: what may make dropout drop nothing."""
    if not isinstance(value, np.ndarray) or value.ndim or value.dtype.kind not in "fV" or value not in (0, 1):
        return None
    return float(value)
