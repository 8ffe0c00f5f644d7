"""When a hook acts: every so many steps, or seconds."""

from __future__ import annotations

import time
from typing import Any

from coldframe.tf1.train.training_util import global_step_read


class SecondOrStepTimer:
    """Tells when it is time again; at once the first time.

    Args:
        every_secs: seconds from one time to the next.
        every_steps: steps from one time to the next.

    Raises:
        ValueError: not exactly one is given.
    """

    def __init__(self, every_secs: float | None = None, every_steps: int | None = None) -> None:
        if every_secs is None and every_steps is None:
            raise ValueError("Either every_secs or every_steps should be provided.")
        if every_secs is not None and every_steps is not None:
            raise ValueError("Can not provide both every_secs and every_steps.")
        self._every_secs, self._every_steps = every_secs, every_steps
        self.reset()

    def reset(self) -> None:
        """Forget the last time."""
        self._last: tuple[float, int] | None = None

    def should_trigger_for_step(self, step: int) -> bool:
        """Return whether it is time at `step`: never twice for the same step."""
        if self._last is None:
            return True
        at, last = self._last
        if step == last:
            return False
        if self._every_secs is not None:
            return time.time() >= at + self._every_secs
        return self._every_steps is not None and step >= last + self._every_steps

    def update_last_triggered_step(self, step: int) -> tuple[float | None, int | None]:
        """Say that the hook acts at `step`; return the seconds and steps since the last time, or two None."""
        before, self._last = self._last, (time.time(), step)
        if before is None:
            return None, None
        return self._last[0] - before[0], step - before[1]

    def last_triggered_step(self) -> int | None:
        """Return the step of the last time, or None."""
        return None if self._last is None else self._last[1]


class NeverTriggerTimer(SecondOrStepTimer):
    """A timer for which it is never time."""

    def __init__(self) -> None:
        super().__init__(every_steps=1)

    def should_trigger_for_step(self, step: int) -> bool:
        return False

    def update_last_triggered_step(self, step: int) -> tuple[float | None, int | None]:
        return None, None


def required_global_step(hook: str) -> Any:
    """Return the tensor that reads the global step.

    Raises:
        RuntimeError: the graph has none; `hook` is named.
    """
    step = global_step_read()
    if step is None:
        raise RuntimeError(
            f"Global step should be created to use {hook}.\n"
            "hint: call tf.train.get_or_create_global_step() while the graph is built"
        )
    return step


__all__ = ["SecondOrStepTimer"]
