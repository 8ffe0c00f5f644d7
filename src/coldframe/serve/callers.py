"""Who asks: whether requests come from one client, each after the answer to the last, and how soon."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final

_ENOUGH: Final = 8  # requests in a row after which a client counts as alone
_SOON: Final = 0.3e-3  # seconds after an answer


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


class Lookout:
    """Stays awake for the next request where one client asks again at once.

    A thread that sleeps takes some 30 us to wake, and longer where the processor sleeps as well. So while there is one
    client whose last request came within `_SOON` of the answer to the one before, the event loop looks for the next
    one instead of sleeping, for as long at most.

    Args:
        callers: who asks.
        clock: tells seconds.
    """

    def __init__(self, callers: Callers, clock: Callable[[], float] = time.perf_counter) -> None:
        self._callers, self._clock = callers, clock
        self._since = self._until = 0.0  # when it was answered, until when to look
        self._is_prompt = self._is_awake = False

    def asked(self) -> None:
        """Hear that a request begins to arrive."""
        self._is_prompt, self._until = self._clock() - self._since < _SOON, 0.0

    def answered(self, loop: asyncio.AbstractEventLoop) -> None:
        """Hear that a reply was sent."""
        self._since = self._clock()
        if not self._is_prompt or not self._callers.is_one:
            return
        self._until = self._since + _SOON
        if not self._is_awake:
            self._is_awake = True
            loop.call_soon(self._look, loop)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        """Have the loop look, without sleeping, until it is time."""
        if self._clock() < self._until:
            loop.call_soon(self._look, loop)
        else:
            self._is_awake = False
