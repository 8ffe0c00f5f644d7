"""A session's state, and a run's view of it.

A run writes into a view of its own; `RunState.commit` hands the new values to the session in one step. A run that fails
is simply forgotten, so nothing is half-written.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any, BinaryIO, Final

import numpy as np
import numpy.typing as npt

from coldframe.dtypes import DType
from coldframe.errors import CancelledError, NotInitializedError, UnsupportedError
from coldframe.ops.state import Handle, Live
from coldframe.runtime.files import Files, NamedFiles

Array = npt.NDArray[Any]
_MISSING: Final = object()


class SessionState:
    """Variables and resources by handle name. Arrays in it are never written into: a new value is a new array.

    Attributes:
        variables: the values that were set or assigned.
        stored: values that are read when first asked for (a checkpoint's).
        files: the files that the graph may touch: a model's own assets, for reading, or any (`AnyFile`).
        functions: the program's own Python functions, by token; never from a file.
        alive: queues, readers and iterators, shared by all runs.
    """

    def __init__(
        self,
        stored: Mapping[str, Array] | None = None,
        files: Iterable[str | os.PathLike[str]] | Files = (),
        functions: Mapping[str, Callable[..., Any]] | None = None,
    ) -> None:
        self.variables: dict[str, Array] = {}
        self.stored: Mapping[str, Array] = {} if stored is None else stored
        self.resources: dict[str, dict[Any, Any]] = {}
        self.files: Files = NamedFiles(files) if isinstance(files, Iterable) else files
        self.functions: Mapping[str, Callable[..., Any]] = {} if functions is None else functions
        self.alive: dict[str, Live] = {}
        self.closed = False
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

    def live(self, key: str, make: Callable[[], Live]) -> Live:
        """Return the object called `key`, made on first use.

        Raises:
            CancelledError: the session is closed.
        """
        found = self.alive.get(key)
        if found is None or self.closed:
            with self._lock:
                if self.closed:
                    raise CancelledError("the session is closed")
                found = self.alive.setdefault(key, make())
        return found

    def close(self) -> None:
        """Cancel whatever waits for a queue, in any thread; nothing can be made alive afterwards."""
        with self._lock:
            self.closed = True
            living = list(self.alive.values())
        for each in living:
            each.cancel()

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
            raise NotInitializedError(
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
        return self._session.files.read(path, self.node)

    def open_file(self, path: bytes) -> BinaryIO:
        """Open one of the files that the session allows."""
        return self._session.files.open(path, self.node)

    def write_file(self, path: bytes, data: bytes) -> None:
        """Write a file, where the session allows that."""
        self._session.files.write(path, data, self.node)

    def match_files(self, pattern: bytes) -> list[bytes]:
        """Return the paths that match a pattern, sorted, where the session allows that."""
        return self._session.files.match(pattern, self.node)

    def live(self, key: str, make: Callable[[], Live]) -> Any:
        """Return the session's own object called `key`, made on first use."""
        return self._session.live(key, make)

    def living(self, key: str) -> Any:
        """Return the object that `live` made under `key`, or None."""
        return self._session.alive.get(key)

    def python_function(self, token: str) -> Callable[..., Any]:
        """Return the program's own function called `token`."""
        found = self._session.functions.get(token)
        if found is None:
            raise UnsupportedError(
                f"the graph calls the Python function `{token}`, which is not in the file",
                where=f"at node `{self.node}`",
                hint="functions of Python run only in the program that made the graph",
            )
        return found

    def apart(self) -> RunState:
        """Return another view of the same session."""
        view = RunState(self._session)
        view.node = self.node
        return view

    def commit(self) -> None:
        """Hand everything written to the session."""
        if self._written or self._resources:
            self._session.merge(self._written, self._resources)
