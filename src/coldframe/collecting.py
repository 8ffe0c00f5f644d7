"""Letting the garbage collector rest while something is built that stays.

A graph of thousands of nodes is tens of thousands of Python objects. Python looks for garbage after every 700 new ones,
and at times at all there are, of which none is garbage yet: a tenth of the time it takes to load such a graph and to
plan a run of it.
"""

from __future__ import annotations

import gc
import threading
from types import TracebackType
from typing import Final

_MANY: Final = 10_000  # objects; looking at the hundred thousand that a process has takes ten milliseconds


class Resting:
    """A context in which no garbage is collected; `RESTING` is the one there is.

    It can be entered again, and by several threads at once: the last to leave turns collecting on again, if it was on
    when the first came. What was made by then counts as old: the next look at all there is takes it in, while one at
    what is new does not walk through a whole graph first. Python does not know of what was made so when it decides
    whether such a look is due: who begins another graph asks for it by `look`, so that graphs that are made and dropped
    one after the other do not pile up, with the files that they map. Only what takes a bounded time and makes little
    garbage belongs in it, never a run of a graph.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._was_on = False
        self._made: int | None = None  # objects that came to be inside since the last look; None before the first graph

    def look(self) -> None:
        """Look for garbage among all there is, if much was made inside since the last time and the collector is on.

        Called before a graph is built; the first one of a process costs no look.
        """
        if self._made is None:
            self._made = 0
        elif self._made > _MANY and gc.isenabled():
            gc.collect()
            self._made = 0

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._was_on = gc.isenabled()
                gc.disable()
            self._inside += 1

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside and self._was_on:
                if self._made is not None:
                    self._made += gc.get_count()[0]
                if not gc.get_freeze_count():  # nobody keeps objects from the collector for good
                    gc.freeze()
                    gc.unfreeze()  # all that was frozen is of the oldest generation now
                gc.enable()


RESTING: Final = Resting()
