"""What is wrong with a checkpoint, as records: every problem, with its place.

The severities draw one line: an `error` is something that cannot be restored as it was saved, a `warning` is something
that should not be as it is but costs no tensor, a `note` is worth knowing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any, Final, Literal

from coldframe.errors import ColdframeError
from coldframe.records import dataclass

Severity = Literal["error", "warning", "note"]
SEVERITIES: Final[tuple[Severity, ...]] = ("error", "warning", "note")


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong.

    Attributes:
        severity: how bad it is.
        text: what is wrong.
        file: the file in which it is, or that is missing.
        offset: the byte of the file where it is, where that is known.
        tensor: the tensor that it concerns, where it concerns one.
    """

    severity: Severity
    text: str
    file: str
    offset: int | None = None
    tensor: str | None = None

    def __str__(self) -> str:
        place = f"{self.file}, byte {self.offset}" if self.offset is not None else self.file
        tensor = f"tensor `{self.tensor}`: " if self.tensor is not None else ""
        return f"{self.severity}: {tensor}{self.text} ({place})"


@dataclass(frozen=True, slots=True)
class Checked:
    """A checkpoint that was looked at.

    Attributes:
        prefix: what names it.
        version: ``V2`` or ``V1``.
        tensors: how many tensors it lists.
        checked: how many of them were read.
        bytes: how many bytes of tensors were read.
    """

    prefix: str
    version: str
    tensors: int
    checked: int
    bytes: int


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What `verify` found.

    Attributes:
        path: what was verified.
        checkpoints: the checkpoints that were looked at.
        problems: all that is wrong, by checkpoint and file.
    """

    path: str
    checkpoints: tuple[Checked, ...]
    problems: tuple[Problem, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing is an error: every tensor that was checked can be restored as it was saved."""
        return not self.errors

    @property
    def errors(self) -> tuple[Problem, ...]:
        """The problems that are errors."""
        return tuple(p for p in self.problems if p.severity == "error")

    def text(self) -> str:
        """Return the report as people read it."""
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        for c in self.checkpoints:
            part = "" if c.checked == c.tensors else f", {c.checked} of them checked"
            yield f"{c.prefix}: {c.version}, {c.tensors} tensor{'s'[: c.tensors != 1]}{part}, {c.bytes} bytes read"
        for severity in SEVERITIES:
            yield from (f"  {p}" for p in self.problems if p.severity == severity)
        counts = [(s, sum(p.severity == s for p in self.problems)) for s in SEVERITIES]
        said = [f"{n} {s}{'s'[: n != 1]}" for s, n in counts if n]
        yield ("sound" if self.ok else "damaged") + (f": {', '.join(said)}" if said else "")

    def to_json(self) -> dict[str, Any]:
        """Return the report as plain values."""
        return {
            "path": self.path,
            "ok": self.ok,
            "checkpoints": [dataclasses.asdict(c) for c in self.checkpoints],
            "problems": [dataclasses.asdict(p) for p in self.problems],
        }


def told(error: Exception) -> str:
    """Return what an error says without its place and hint."""
    if not isinstance(error, ColdframeError):
        return str(error)
    return str(ColdframeError(error.what, expected=error.expected, found=error.found))


class Findings:
    """Collects problems.

    Args:
        file: the file that problems are in where nothing else is said.
    """

    def __init__(self, file: str) -> None:
        self.file = file
        self.problems: list[Problem] = []

    def add(
        self,
        severity: Severity,
        text: str,
        *,
        file: str | None = None,
        offset: int | None = None,
        tensor: str | None = None,
    ) -> None:
        """Note a problem."""
        self.problems.append(Problem(severity, text, self.file if file is None else file, offset, tensor))
