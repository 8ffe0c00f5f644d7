"""A session's state, and a run's view of it.

A run writes into a view of its own; `RunState.commit` hands the new values to the session in one step. A run that fails
is simply forgotten, so nothing is half-written.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from coldframe.dtypes import DType
from coldframe.errors import UnsupportedError
from coldframe.ops.state import Handle
from coldframe.primitives.base import refuse

Array = npt.NDArray[Any]
_MISSING: Final = object()


class SessionState:
    """Variables and resources by handle name. Arrays in it are never written into: a new value is a new array.

    Attributes:
        variables: the values that were set or assigned.
        stored: values that are read when first asked for (a checkpoint's).
        files: the files that the graph may read, as absolute paths: a model's own assets, and no others.
    """

    def __init__(self, stored: Mapping[str, Array] | None = None, files: Iterable[str | os.PathLike[str]] = ()) -> None:
        self.variables: dict[str, Array] = {}
        self.stored: Mapping[str, Array] = {} if stored is None else stored
        self.resources: dict[str, dict[Any, Any]] = {}
        self.files = frozenset(os.path.abspath(f) for f in files)
        self._lock = threading.Lock()

    def set(self, name: str, value: Any, dtype: DType | None = None) -> None:
        """Give the variable called `name` a value."""
        with self._lock:
            self.variables[name] = frozen(np.asarray(value, dtype.numpy if dtype is not None else None))

    def value(self, name: str) -> Any:
        """Return the value of a variable, or `None` where it has none."""
        found = self.variables.get(name)
        if found is None and name in self.stored:
            self.set(name, self.stored[name])
            found = self.variables[name]
        return found

    def begin(self) -> RunState:
        """Return a view for one run."""
        return RunState(self)

    def merge(self, variables: dict[str, Any], resources: dict[str, dict[Any, Any]]) -> None:
        """Take over what a run wrote."""
        with self._lock:
            for name, value in variables.items():
                if value is _MISSING:
                    self.variables.pop(name, None)
                    self.resources.pop(name, None)
                else:
                    self.variables[name] = value
            self.resources.update(resources)


def frozen(value: Array) -> Array:
    """Return `value` as an array of its own that nobody can write into."""
    own = np.array(value, copy=True)
    own.setflags(write=False)
    return own


class RunState:
    """What stateful ops of one run see; implements `coldframe.ops.state.State`."""

    __slots__ = ("_resources", "_session", "_written", "depth", "node")

    def __init__(self, session: SessionState) -> None:
        self._session = session
        self._written: dict[str, Any] = {}
        self._resources: dict[str, dict[Any, Any]] = {}
        self.node = ""
        self.depth = 0  # of function calls

    def read(self, handle: Handle) -> Array:
        """Return the variable's value as this run sees it."""
        value: Any = self._written.get(handle.name)
        if value is None:
            value = self._session.value(handle.name)
        if value is None or value is _MISSING:
            raise refuse(
                f"variable `{handle.name}` has no value",
                hint="restore a checkpoint or run the graph's initializer before reading it",
            )
        return value  # type: ignore[no-any-return]

    def assign(self, handle: Handle, value: Array) -> None:
        """Note a new value; it is copied, since what flows along edges may be shared."""
        self._written[handle.name] = frozen(value)

    def is_initialized(self, handle: Handle) -> bool:
        """Whether the variable has a value."""
        value = self._written.get(handle.name)
        if value is None:
            known = self._session
            names: list[Mapping[str, Any]] = [known.variables, known.stored, known.resources, self._resources]
            return any(handle.name in n for n in names)
        return value is not _MISSING

    def destroy(self, handle: Handle) -> None:
        """Forget the variable or resource."""
        self._written[handle.name] = _MISSING
        self._resources.pop(handle.name, None)

    def resource(self, handle: Handle) -> dict[Any, Any]:
        """Return a copy of the resource's content that belongs to this run."""
        if handle.name not in self._resources:
            self._resources[handle.name] = dict(self.content(handle) or {})
        return self._resources[handle.name]

    def content(self, handle: Handle) -> Mapping[Any, Any] | None:
        """Return the resource's content as this run sees it, or None."""
        if handle.name in self._resources:
            return self._resources[handle.name]
        if self._written.get(handle.name) is _MISSING:
            return None
        return self._session.resources.get(handle.name)

    def read_file(self, path: bytes) -> bytes:
        """Return the bytes of one of the files that the session allows."""
        name = os.path.abspath(os.fsdecode(path))
        if name not in self._session.files:
            raise UnsupportedError(
                "graphs may read only the files that belong to their model",
                where=f"at node `{self.node}`",
                found=repr(os.fsdecode(path)),
                hint="if you trust the graph, allow the file: Session(graph, files=[...])",
            )
        try:
            return Path(name).read_bytes()
        except OSError as e:
            raise refuse(f"cannot read `{name}`", found=e.strerror) from e

    def commit(self) -> None:
        """Hand everything written to the session."""
        if self._written or self._resources:
            self._session.merge(self._written, self._resources)
