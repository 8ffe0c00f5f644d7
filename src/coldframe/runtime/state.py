"""A session's state, and a run's view of it.

A run writes into a view of its own; `RunState.commit` hands the new values to the session in one step. A run that fails
is forgotten, so nothing is half-written.

Rows of a large variable (an embedding table) are the exception, since a copy of the table would cost more than the
step. They are changed in place, in an array that the session alone holds, and what they were is noted::

    lent[name] = [(run, rows, values before), ...]    commit forgets the run's notes, rollback writes the values back;
                                                       meanwhile other runs read a copy with the values before
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from coldframe.dtypes import DType
from coldframe.engines.base import Held
from coldframe.errors import CancelledError, NotInitializedError, UnsupportedError
from coldframe.ops.state import Handle, Live
from coldframe.records import dataclass
from coldframe.runtime.files import Files, NamedFiles

Array = npt.NDArray[Any]
_SHOWN: Final = 10  # functions that a message names
_MISSING: Final = object()


def _references(holder: Mapping[str, Any], name: str) -> int:
    return sys.getrefcount(holder[name])


_ALONE: Final = _references({"x": object()}, "x")


def _only_here(holder: Mapping[str, Any], name: str) -> bool:
    """Whether `holder` alone refers to its array called `name` and to that memory: views count as references."""
    if _references(holder, name) > _ALONE:
        return False
    array = holder[name]
    return array.base is None or (not isinstance(array.base, np.ndarray) and array.flags.writeable)


def _fetch(holder: dict[str, Any], name: str) -> None:
    """Have `holder` hold an array, which nobody else does if nobody did before."""
    if isinstance(holder[name], Held):
        holder[name] = holder[name].array()


def _write(array: Array, rows: Any, values: Any) -> None:
    locked = not array.flags.writeable
    if locked:
        array.setflags(write=True)
    array[rows] = values
    if locked:
        array.setflags(write=False)


@dataclass(frozen=True, slots=True, eq=False)
class _Loan:
    """Rows of a variable that a run changed in place, and what they were."""

    run: RunState
    rows: Any
    before: Array


def _restore(array: Array, loans: Sequence[_Loan]) -> None:
    """Undo changes, the last one first."""
    for loan in reversed(loans):
        _write(array, loan.rows, loan.before)


class SessionState:
    """Variables and resources by handle name. Arrays that anybody else may hold are never written into.

    Attributes:
        variables: the values that were set or assigned: arrays, or results that an engine keeps where it made them.
        stored: values that are read when first asked for (a checkpoint's).
        files: the files that the graph may touch: a model's own assets, for reading, or any (`AnyFile`).
        functions: the program's own Python functions, by token; never from a file.
        alive: queues, readers and iterators, shared by all runs.
        mapped: whether stored values stay where their file is mapped, if it is, rather than being copied.
    """

    def __init__(
        self,
        stored: Mapping[str, Array] | None = None,
        files: Iterable[str | os.PathLike[str]] | Files = (),
        functions: Mapping[str, Callable[..., Any]] | None = None,
    ) -> None:
        self.variables: dict[str, Any] = {}
        self.stored: Mapping[str, Array] = {} if stored is None else stored
        self.resources: dict[str, dict[Any, Any]] = {}
        self.files: Files = NamedFiles(files) if isinstance(files, Iterable) else files
        self.functions: Mapping[str, Callable[..., Any]] = {} if functions is None else functions
        self.alive: dict[str, Live] = {}
        self.closed = False
        self.mapped = False
        self._lent: dict[str, list[_Loan]] = {}
        self._lock = threading.Lock()

    def set(self, name: str, value: Any, dtype: DType | None = None) -> None:
        """Give the variable called `name` a value."""
        self._put(name, frozen(np.asarray(value, dtype.numpy if dtype is not None else None)))

    def _put(self, name: str, value: Array) -> None:
        with self._lock:
            self._lent.pop(name, None)
            self.variables[name] = value

    def value(self, name: str, run: RunState | None = None) -> Any:
        """Return the value of a variable as `run` may see it, or `None` where it has none."""
        with self._lock:
            found = self.variables.get(name)
            if found is not None:
                loans = self._lent.get(name, [])
                others = [loan for loan in loans if loan.run is not run]
                if not others:
                    return found.array() if isinstance(found, Held) else found
                seen = found.copy()
                _restore(seen, others)
                for own in (loan for loan in loans if loan.run is run):
                    seen[own.rows] = found[own.rows]
                seen.setflags(write=False)
                return seen
        if name in self.stored:
            value = self.stored[name]
            self._put(name, value if self.mapped and not value.flags.writeable else frozen(value))
            return self.variables[name]
        return None

    def lying(self, names: Iterable[str]) -> list[Any]:
        """Return the values of variables where they lie; None for those that have none, or that a run is changing."""
        with self._lock:
            return [None if name in self._lent else self.variables.get(name) for name in names]

    def write_rows(self, name: str, rows: Any, values: Array, run: RunState, before: Array | None = None) -> bool:
        """Change rows of a variable where it is, or where nobody holds a copy of it; return whether there is one."""
        with self._lock:
            if name not in self.variables:
                return False
            _fetch(self.variables, name)
            if not _only_here(self.variables, name):
                self.variables[name] = frozen(self.variables[name])  # whoever reads it goes on reading what it was
            array = self.variables[name]
            if before is None:
                before = array.take(rows, 0) if isinstance(rows, np.ndarray) else array[rows]
            self._lent.setdefault(name, []).append(_Loan(run, rows, before))
            _write(array, rows, values)
            return True

    def roll_back(self, run: RunState) -> None:
        """Undo what `run` changed in place."""
        with self._lock:
            for name, loans in self._lent.items():
                _restore(self.variables[name], [loan for loan in loans if loan.run is run])
            self._forget(run)

    def _forget(self, run: RunState) -> None:
        """Forget what rows were before `run` changed them."""
        left = ((name, [loan for loan in loans if loan.run is not run]) for name, loans in self._lent.items())
        self._lent = {name: loans for name, loans in left if loans}

    def random_state(self) -> dict[str, tuple[int, int, int]]:
        """Return where nodes are in their random sequences: the two seeds and the position, by node."""
        with self._lock:
            found = {n: r for n, r in self.resources.items() if "seeds" in r and "position" in r}
            return {n: (*r["seeds"], r["position"]) for n, r in found.items()}

    def set_random_state(self, positions: Mapping[str, tuple[int, int, int] | None]) -> None:
        """Put nodes back to a place in their random sequences, as `random_state` told it; None: to their start."""
        with self._lock:
            for name, place in positions.items():
                if place is None:
                    self.resources.pop(name, None)
                else:
                    self.resources[name] = {"seeds": (place[0], place[1]), "position": place[2]}

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

    def merge(self, run: RunState, variables: dict[str, Any], resources: dict[str, dict[Any, Any]]) -> None:
        """Take over what a run wrote."""
        with self._lock:
            for name, value in variables.items():
                self._lent.pop(name, None)
                if value is _MISSING:
                    self.variables.pop(name, None)
                    self.resources.pop(name, None)
                else:
                    self.variables[name] = value
            self.resources.update(resources)
            if self._lent:
                self._forget(run)


def frozen(value: Array) -> Array:
    """Return `value` as an array of its own that nobody can write into."""
    own = np.array(value, copy=True)
    own.setflags(write=False)
    return own


class RunState:
    """What stateful ops of one run see; implements `coldframe.ops.state.State`.

    As a context manager it commits at the end, or rolls back. Only then are rows changed in place.
    """

    __slots__ = ("_managed", "_random", "_resources", "_session", "_written", "depth", "node")

    def __init__(self, session: SessionState) -> None:
        self._session = session
        self._written: dict[str, Any] = {}
        self._resources: dict[str, dict[Any, Any]] = {}
        self._managed = False
        self._random: dict[str, dict[Any, Any]] | None = None
        self.node = ""
        self.depth = 0  # of function calls

    def __enter__(self) -> Self:
        self._managed = True
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._managed = False
        if kind is None:
            self.commit()
        else:
            self._session.roll_back(self)

    def read(self, handle: Handle) -> Array:
        """Return the variable's value as this run sees it."""
        value: Any = self._written.get(handle.name)
        if value is None:
            value = self._session.value(handle.name, self)
        elif isinstance(value, Held):
            value = value.array()
        if value is None or value is _MISSING:
            raise NotInitializedError(
                f"variable `{handle.name}` has no value",
                hint="restore a checkpoint or run the graph's initializer before reading it",
            )
        if value.flags.writeable:
            value = value.view()
            value.setflags(write=False)
        return value  # type: ignore[no-any-return]

    def lying(self, handles: Collection[Handle]) -> list[Any]:
        """Return the same of variables, as `Held` where an engine holds them."""
        found = self._session.lying([h.name for h in handles])
        if self._written:
            found = [self._written.get(h.name, v) for h, v in zip(handles, found, strict=True)]
        for i, (handle, value) in enumerate(zip(handles, found, strict=True)):
            if not isinstance(value, Held) and (value is None or value is _MISSING or value.flags.writeable):
                found[i] = self.read(handle)
        return found

    def assign(self, handle: Handle, value: Array) -> None:
        """Note a new value; it is copied, since what flows along edges may be shared."""
        self._written[handle.name] = frozen(value)

    def adopt(self, handle: Handle, value: Any) -> None:
        """Note a new value that nobody else holds: an array, or a `Held`."""
        if isinstance(value, Held):
            self._written[handle.name] = value
            return
        if value.base is None or isinstance(value.base, np.ndarray):  # an engine's memory could not be unlocked again
            value.setflags(write=False)
        self._written[handle.name] = value

    def assign_rows(self, handle: Handle, rows: Any, values: Array, before: Array | None = None) -> None:
        """Give rows of a variable new values, in place where only this run can see that.

        Args:
            handle: the variable.
            rows: their numbers, each once.
            values: the new values.
            before: a copy of what they are now, where there is one.
        """
        name = handle.name
        if name not in self._written:
            if self._managed and self._session.write_rows(name, rows, values, self, before):
                return
            self._written[name] = frozen(self.read(handle))
        else:
            _fetch(self._written, name)
            if not _only_here(self._written, name):
                self._written[name] = frozen(self.read(handle))
        _write(self._written[name], rows, values)

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
        if self._random is not None and handle.kind == "random":
            return self._random.setdefault(handle.name, {})
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

    def readable(self, path: bytes) -> str:
        """Return the path of one of the files that the session allows."""
        return self._session.files.readable(path, self.node)

    def write_file(self, path: bytes, data: bytes) -> None:
        """Write a file, where the session allows that."""
        self._session.files.write(path, data, self.node)

    def writable(self, path: bytes) -> str:
        """Return the path of what is to be written, where the session allows that."""
        return self._session.files.writable(path, self.node)

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
        self.require_functions({token: self.node})
        return self._session.functions[token]

    def require_functions(self, calls: Mapping[str, str]) -> None:
        """Refuse calls of functions that the program does not have: tokens, each with a node that has it.

        Raises:
            UnsupportedError: there are such; all are named.
        """
        gone = [token for token in calls if token not in self._session.functions]
        if gone:
            many = "s" if len(gone) > 1 else ""
            raise UnsupportedError(
                f"the graph calls the Python function{many} {', '.join(f'`{t}`' for t in gone[:_SHOWN])}"
                f"{' and others' if len(gone) > _SHOWN else ''}, which {'are' if many else 'is'} not in the file",
                where=f"at node{many} {', '.join(f'`{calls[t]}`' for t in gone[:_SHOWN])}",
                hint="functions of Python run only in the program that made the graph; any tensor can be fed: feed "
                "what they hand out",
            )

    def apart(self, random: dict[str, dict[Any, Any]] | None = None) -> RunState:
        """Return another view of the same session; with `random`, random numbers go on from where that is."""
        view = RunState(self._session)
        view.node, view._random = self.node, random
        return view

    def commit(self) -> None:
        """Hand everything written to the session."""
        self._session.merge(self, self._written, self._resources)
