"""Elements that a thread of their own makes ahead of time."""

from __future__ import annotations

import threading
import weakref
from typing import Any, ClassVar

from coldframe.errors import CancelledError
from coldframe.ops.dataset_core import Element, Elements, Saved, Work

_END = "end"  # what stands for the end among saved elements


class _Buffer:
    """Elements that one thread makes and another takes. Errors, and the end, come at their places.

    Attributes:
        made: elements that nobody has taken yet.
        making: held while an element is being made, or nobody is to make one.
    """

    def __init__(self, room: int) -> None:
        self._room = room
        self.made: list[Element | BaseException] = []
        self.making = threading.Lock()
        self._changed = threading.Condition()
        self._stopped = False

    def stop(self) -> None:
        """End the thread, and whoever waits for it."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def fill(self, source: Elements) -> None:
        """Make elements as long as there is room for them."""
        while True:
            with self._changed:
                while len(self.made) >= self._room and not self._stopped:
                    self._changed.wait()
                if self._stopped or (self.made and isinstance(self.made[-1], StopIteration)):
                    return
            with self.making:
                made = _attempt(source)
                with self._changed:
                    self.made.append(made)
                    self._changed.notify_all()
            if isinstance(made, StopIteration):
                return

    def take(self) -> Element:
        """Return the next element, waiting for it."""
        with self._changed:
            while not self.made and not self._stopped:
                self._changed.wait()
            if not self.made:
                raise CancelledError("the iterator was given up")
            made = self.made[0]
            if isinstance(made, StopIteration):
                raise StopIteration  # and again, whenever asked
            self.made.pop(0)
            self._changed.notify_all()
        if isinstance(made, BaseException):
            raise made
        return made


class Ahead(Elements):
    """Elements made by a thread of their own, some of them ahead of time. The thread ends when nobody holds this."""

    parts: ClassVar = {"source": Elements, "made": list}

    def __init__(self, source: Elements, room: int, work: Work) -> None:
        self.source = source
        self._begun = False
        self._buffer = _Buffer(room)
        weakref.finalize(self, self._buffer.stop).atexit = False
        work.own(self._buffer)

    def __next__(self) -> Element:
        if not self._begun:
            self._begun = True
            target = self._buffer.fill
            threading.Thread(target=target, args=(self.source,), daemon=True, name="coldframe-prefetch").start()
        return self._buffer.take()

    @property
    def made(self) -> list[Any]:
        """The elements that are at hand."""
        return [_END if isinstance(e, StopIteration) else e for e in self._buffer.made]

    @made.setter
    def made(self, elements: list[Any]) -> None:
        self._buffer.made = [StopIteration() if isinstance(e, str) else e for e in elements]

    def save(self) -> Saved:
        with self._buffer.making:
            return super().save()


def _attempt(source: Elements) -> Element | BaseException:
    """Return the next element, or why there is none, for another thread to raise."""
    try:
        return next(source)
    except BaseException as e:
        return e
