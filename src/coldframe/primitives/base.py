"""What all interpreters share: how one says that it cannot."""

from __future__ import annotations

from coldframe.errors import ExecutionError


class Unlowerable(Exception):  # noqa: N818 - a signal between a body and its engine, never seen by users
    """This interpreter cannot express the op for these dtypes or shapes; the reason is for the engine's report."""


def refuse(what: str, *, expected: object = None, found: object = None, hint: str = "") -> ExecutionError:
    """Return the error for inputs that TensorFlow's kernel refuses too; the engine adds the node's name."""
    return ExecutionError(what, expected=expected, found=found, hint=hint)
