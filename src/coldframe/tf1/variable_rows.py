"""Methods of variables that read or write some of their rows, for both kinds of variables."""

from __future__ import annotations

from typing import Any

from coldframe.tf1.framework.build import raw_op
from coldframe.tf1.framework.convert import IndexedSlices, convert_to_tensor


class Rows:
    """The methods; `Variable` inherits them.

    ``sparse_delta`` is an `IndexedSlices`: row ``indices[i]`` gets ``values[i]``. ``indices`` of the scatter_nd methods
    are of shape [..., k], positions in the first k dimensions. All return the variable after the update.
    """

    def _scatter(self, op: str, slices: IndexedSlices, use_locking: bool, name: str | None) -> Any:
        raise NotImplementedError

    def _scatter_nd(self, op: str, indices: Any, updates: Any, name: str | None) -> Any:
        raise NotImplementedError

    def scatter_sub(self, sparse_delta: IndexedSlices, use_locking: bool = False, name: str | None = None) -> Any:
        """Subtract from rows."""
        return self._scatter("ScatterSub", sparse_delta, use_locking, name)

    def scatter_add(self, sparse_delta: IndexedSlices, use_locking: bool = False, name: str | None = None) -> Any:
        """Add to rows."""
        return self._scatter("ScatterAdd", sparse_delta, use_locking, name)

    def scatter_update(self, sparse_delta: IndexedSlices, use_locking: bool = False, name: str | None = None) -> Any:
        """Set rows."""
        return self._scatter("ScatterUpdate", sparse_delta, use_locking, name)

    def scatter_max(self, sparse_delta: IndexedSlices, use_locking: bool = False, name: str | None = None) -> Any:
        """Keep the larger of a row and what is given."""
        return self._scatter("ScatterMax", sparse_delta, use_locking, name)

    def scatter_min(self, sparse_delta: IndexedSlices, use_locking: bool = False, name: str | None = None) -> Any:
        """Keep the smaller of a row and what is given."""
        return self._scatter("ScatterMin", sparse_delta, use_locking, name)

    def scatter_mul(self, sparse_delta: IndexedSlices, use_locking: bool = False, name: str | None = None) -> Any:
        """Multiply rows."""
        return self._scatter("ScatterMul", sparse_delta, use_locking, name)

    def scatter_div(self, sparse_delta: IndexedSlices, use_locking: bool = False, name: str | None = None) -> Any:
        """Divide rows."""
        return self._scatter("ScatterDiv", sparse_delta, use_locking, name)

    def scatter_nd_sub(self, indices: Any, updates: Any, name: str | None = None) -> Any:
        """Subtract at positions."""
        return self._scatter_nd("ScatterNdSub", indices, updates, name)

    def scatter_nd_add(self, indices: Any, updates: Any, name: str | None = None) -> Any:
        """Add at positions."""
        return self._scatter_nd("ScatterNdAdd", indices, updates, name)

    def scatter_nd_update(self, indices: Any, updates: Any, name: str | None = None) -> Any:
        """Set positions."""
        return self._scatter_nd("ScatterNdUpdate", indices, updates, name)

    def gather_nd(self, indices: Any, name: str | None = None) -> Any:
        """Return what is at positions."""
        return raw_op("GatherNd", [convert_to_tensor(self), indices], {}, name)

    def ref(self) -> Reference:
        """Return what stands for this variable in dicts and sets."""
        return Reference(self)

    experimental_ref = ref


class Reference:
    """A variable or tensor by identity: hashable, equal only to references of the same one."""

    def __init__(self, wrapped: Any) -> None:
        self._wrapped = wrapped

    def deref(self) -> Any:
        """Return the variable or tensor."""
        return self._wrapped

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Reference) and self._wrapped is other._wrapped

    def __hash__(self) -> int:
        return id(self._wrapped)

    def __repr__(self) -> str:
        return f"<Reference wrapping {self._wrapped!r}>"
