"""What stateful bodies see of a session: variables and other resources, by handle.

A body gets a `State`. What it assigns is seen by later reads of the same run; the session takes it over only when the
run succeeds, so nothing is half-written when a step fails.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Protocol

import numpy.typing as npt

from coldframe.dtypes import DType
from coldframe.shapes import Shape

Array = npt.NDArray[Any]


@dataclasses.dataclass(frozen=True, slots=True)
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


class State(Protocol):
    """A run's view of the session's state."""

    node: str
    """The node that is running."""

    def read(self, handle: Handle) -> Array:
        """Return a variable's value; raise `ExecutionError` where it has none yet."""

    def assign(self, handle: Handle, value: Array) -> None:
        """Give a variable a new value; raise `ExecutionError` where the handle's shape does not take it."""

    def is_initialized(self, handle: Handle) -> bool:
        """Whether the variable has a value."""

    def destroy(self, handle: Handle) -> None:
        """Forget a variable or resource; nothing happens where there is none."""

    def resource(self, handle: Handle) -> dict[Any, Any]:
        """Return the content of a resource (a table's entries) for changing it, made empty on first use."""

    def content(self, handle: Handle) -> Mapping[Any, Any] | None:
        """Return the content of a resource for reading it, or None where it does not exist."""

    def read_file(self, path: bytes) -> bytes:
        """Return the bytes of a file; raise `ExecutionError` unless it is one that the session allows."""
