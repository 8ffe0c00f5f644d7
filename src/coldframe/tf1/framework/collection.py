"""The collections of a graph: lists of whatever programs put there, by name; and whether it may still grow."""

from __future__ import annotations

import re
from typing import Any


class Collections:
    """What a graph keeps by name besides its nodes, until it is finalized."""

    def __init__(self) -> None:
        self._collections: dict[Any, list[Any]] = {}
        self._finalized = False

    def finalize(self) -> None:
        """Refuse further nodes."""
        self._finalized = True

    @property
    def finalized(self) -> bool:
        return self._finalized

    def _unsafe_unfinalize(self) -> None:
        self._finalized = False

    def _check_not_finalized(self) -> None:
        if self._finalized:
            raise RuntimeError("Graph is finalized and cannot be modified.")

    def add_to_collection(self, name: Any, value: Any) -> None:
        """Append `value` to the collection called `name`."""
        self._check_not_finalized()
        self._collections.setdefault(name, []).append(value)

    def add_to_collections(self, names: Any, value: Any) -> None:
        """Append `value` to each of the collections, a name or several."""
        for name in (names,) if isinstance(names, str) else tuple(dict.fromkeys(names)):
            self.add_to_collection(name, value)

    def get_collection_ref(self, name: Any) -> list[Any]:
        """Return the collection itself, made empty where there is none."""
        return self._collections.setdefault(name, [])

    def get_collection(self, name: Any, scope: str | None = None) -> list[Any]:
        """Return a copy of the collection; with `scope`, the items whose name matches that regular expression."""
        items = self._collections.get(name, [])
        if scope is None:
            return list(items)
        match = re.compile(scope).match
        return [i for i in items if hasattr(i, "name") and match(i.name)]

    def get_all_collection_keys(self) -> list[Any]:
        """Return the names of all collections."""
        return [k for k in self._collections if isinstance(k, str) and not k.startswith("_")]

    @property
    def collections(self) -> list[Any]:
        """The names of all collections."""
        return list(self._collections)

    def clear_collection(self, name: Any) -> None:
        """Empty a collection."""
        self._check_not_finalized()
        self._collections.pop(name, None)
