"""Who asks: whether requests come from one client, each after the answer to the last."""

from __future__ import annotations

from typing import Any, Final

_ENOUGH: Final = 8  # requests in a row after which a client counts as alone


class Callers:
    """Hears of every request for a model."""

    def __init__(self) -> None:
        self._last: Any = None
        self._row = 0

    def heard(self, client: Any) -> None:
        """Hear of a request.

        Args:
            client: what tells connections apart, such as an address with its port; None: it cannot be told.
        """
        if client is not None and client == self._last:
            self._row += 1
        else:
            self._last, self._row = client, 0

    @property
    def is_one(self) -> bool:
        """Whether nobody but one client has asked of late."""
        return self._row >= _ENOUGH
