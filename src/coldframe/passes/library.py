"""The functions of a graph, with those that a pass makes."""

from __future__ import annotations

import collections
from collections.abc import Callable
from typing import Any

from coldframe.graph.ir import Function


class Library(collections.ChainMap[str, Function]):
    """A graph's functions with more that a pass made.

    Attributes:
        made: for those who run them: what they keep for each function.
    """

    def __init__(self, *maps: Any) -> None:
        super().__init__(*maps)
        self.made: dict[Any, Any] = {}

    def add(self, base: str, make: Callable[[str], Function]) -> Function:
        """Add a function under a name like `base`."""
        name, k = base, 0
        while name in self:
            k += 1
            name = f"{base}_{k}"
        self[name] = make(name)
        return self[name]
