"""Rules for which checkpoints stay: what `CheckpointManager` keeps, and what `prune` does not delete."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol, TypeVar

from coldframe.errors import MisuseError
from coldframe.records import dataclass


class Timed(Protocol):
    """A checkpoint as the rules see it."""

    @property
    def prefix(self) -> str:
        """What names it."""

    @property
    def time(self) -> float:
        """When it was saved, in seconds since 1970."""


T = TypeVar("T", bound=Timed)


@dataclass(frozen=True, slots=True)
class Keep:
    """What to keep; what no rule keeps goes.

    Attributes:
        last: how many of the latest.
        every_hours: one per so many hours.
        best: how many of the best by `metric`.
        metric: the metric's name.
        smaller_is_better: whether the best are those with the least value, such as a loss.
        pinned: globs of names that stay.
    """

    last: int | None = None
    every_hours: float | None = None
    best: int | None = None
    metric: str = ""
    smaller_is_better: bool = False
    pinned: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for what, value in (("last", self.last), ("every_hours", self.every_hours), ("best", self.best)):
            if value is not None and not value > 0:
                raise MisuseError(f"`{what}` keeps at least one", expected="more than 0", found=value)
        if self.last is self.every_hours is self.best is None:
            raise MisuseError("no rule says what to keep", expected="last, every_hours or best")
        if self.best is not None and not self.metric:
            raise MisuseError("the best by which metric", expected="its name, as the metadata or the file calls it")


def spaced(found: Iterable[T], seconds: float) -> list[T]:
    """Return the oldest and, from each that is returned, the next that is at least `seconds` younger."""
    kept: list[T] = []
    for c in sorted(found, key=lambda c: c.time):
        if not kept or c.time - kept[-1].time >= seconds:
            kept.append(c)
    return kept


def ranked(found: Sequence[T], values: Mapping[str, float], *, smaller_is_better: bool) -> list[T]:
    """Return those that have a value by their prefix, the best first, of equals the latest; NaN is no value."""
    rated = [c for c in reversed(found) if c.prefix in values and not math.isnan(values[c.prefix])]
    return sorted(rated, key=lambda c: values[c.prefix] if smaller_is_better else -values[c.prefix])
