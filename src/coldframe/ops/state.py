"""What stateful bodies see of a session: variables and other resources, by handle.

A body gets a `State`. What it assigns is seen by later reads of the same run; the session takes it over only when the
run succeeds, so nothing is half-written when a step fails.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy.typing as npt

from coldframe.dtypes import DType
from coldframe.records import dataclass
from coldframe.shapes import Shape

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Handle:
    """What flows along an edge that carries a variable or resource: its name, never its value.

    Attributes:
        name: TensorFlow's shared name, else the node's name.
        kind: ``ref`` (``VariableV2``), ``resource`` (``VarHandleOp``), ``table``, ...
        dtype, shape: of a variable.
    """

    name: str
    kind: str
    dtype: DType
    shape: Shape

    @property
    def is_ref(self) -> bool:
        """Whether an input that is no reference reads the variable instead of taking the handle."""
        return self.kind == "ref"


class Live(Protocol):
    """What a session keeps beside its variables: a queue, a reader, an iterator. It has its own lock."""

    def cancel(self) -> None:
        """Wake whoever waits, with a `CancelledError`: the session is being closed."""


class State(Protocol):
    """A run's view of the session's state."""

    node: str
    """The node that is running."""

    def read(self, handle: Handle) -> Array:
        """Return a variable's value; raise `ExecutionError` where it has none yet."""

    def assign(self, handle: Handle, value: Array) -> None:
        """Give a variable a new value; raise `ExecutionError` where the handle's shape does not take it."""

    def adopt(self, handle: Handle, value: Array) -> None:
        """Like `assign`, of an array that was just made: nobody else holds it, so it need not be copied."""

    def assign_rows(self, handle: Handle, rows: Array, values: Array, before: Array | None = None) -> None:
        """Give some rows of a variable new values: ``variable[rows] = values``, in place where nobody can see that.

        `before` is what the rows are now, a copy, where the caller has one.
        """

    def is_initialized(self, handle: Handle) -> bool:
        """Whether the variable has a value."""

    def destroy(self, handle: Handle) -> None:
        """Forget a variable or resource; nothing happens where there is none."""

    def resource(self, handle: Handle) -> dict[Any, Any]:
        """Return the content of a resource (a table's entries) for changing it, made empty on first use."""

    def content(self, handle: Handle) -> Mapping[Any, Any] | None:
        """Return the content of a resource for reading it, or None where it does not exist."""

    def read_file(self, path: bytes) -> bytes:
        """Return the bytes of a file; raise `UnsupportedError` unless it is one that the session allows."""

    def readable(self, path: bytes) -> str:
        """Return the path of a file that is to be read piece by piece, on the same terms."""

    def write_file(self, path: bytes, data: bytes) -> None:
        """Write a file, and the folders it needs, on the same terms."""

    def writable(self, path: bytes) -> str:
        """Return the path of what is to be written piece by piece, on the same terms."""

    def match_files(self, pattern: bytes) -> list[bytes]:
        """Return the paths that match a pattern, sorted, on the same terms."""

    def live(self, key: str, make: Callable[[], Live]) -> Any:
        """Return the session's own object called `key`, made on first use.

        It is outside the transaction of a run: all runs share it and see its changes at once, as with queues.
        """

    def living(self, key: str) -> Any:
        """Return the object that `live` made under `key`, or None."""

    def python_function(self, token: str) -> Callable[..., Any]:
        """Return the program's own function called `token`; raise `UnsupportedError` where there is none."""

    def apart(self, random: dict[str, dict[Any, Any]] | None = None) -> State:
        """Return another view of the same session, for work that outlives the run or goes on beside it.

        Args:
            random: where the view's random numbers are in their sequences, instead of where the session's are.
        """

    def commit(self) -> None:
        """Hand everything that was written through this view to the session."""
