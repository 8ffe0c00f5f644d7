"""Objects that the runs of a session share, and wait for each other by: staging areas, accumulators, barriers.

They are outside the transaction of a run, as queues are (`queue_core`): what changes is seen by all threads at once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from coldframe.errors import CancelledError, ExecutionError


class Shared:
    """Something with a lock that callers wait by.

    Attributes:
        title: what errors call it.
        changed: its lock, and who waits for it to change.
    """

    def __init__(self, title: str) -> None:
        self.title = title
        self.changed = threading.Condition()
        self._cancelled = False

    def cancel(self) -> None:
        """Wake whoever waits: the session is being closed."""
        with self.changed:
            self._cancelled = True
            self.changed.notify_all()

    def wait(self, ready: Callable[[], bool]) -> None:
        """Wait, with the lock held, until `ready`, which may raise.

        Raises:
            CancelledError: the session is closed.
            ExecutionError: there is no other thread that could change anything.
        """
        while True:
            if self._cancelled:
                raise CancelledError(f"{self.title}: the session is closed")
            if ready():
                return
            if threading.active_count() == 1:
                raise ExecutionError(
                    f"{self.title}: nothing can end the wait, since no other thread runs",
                    hint="run first what this waits for; or feed what this node hands out, since any tensor can be fed",
                )
            self.changed.wait()
