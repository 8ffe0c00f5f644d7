"""The error for a name that a graph does not have."""

from __future__ import annotations

from coldframe.errors import NotFoundError


class MissingName(KeyError, NotFoundError):  # noqa: N818 - it is both errors that callers catch
    """A tensor or operation name that the graph does not have."""

    def __init__(self, message: str) -> None:
        NotFoundError.__init__(self, message)

    def __str__(self) -> str:
        return self.what
