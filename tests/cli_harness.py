"""Run the command line in this process, and hold what it says against a kept text.

Texts are in tests/cli/expected; ``COLDFRAME_UPDATE=1`` writes them anew, for a person to read the difference.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from coldframe.cli.main import main

ROOT = Path(__file__).parents[1]
DIGITS = "examples/digits"
EXPECTED = Path(__file__).parent / "cli" / "expected"


@dataclass(frozen=True)
class Said:
    """What a command line did."""

    code: int
    out: str
    err: str


class Command:
    """``command("inspect", path)`` runs it in the repository's root."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *args: object) -> Said:
        self._capsys.readouterr()
        code = main([str(a) for a in args])
        captured = self._capsys.readouterr()
        return Said(code, captured.out, captured.err)


def expect_text(name: str, text: str) -> None:
    """Compare `text` with the kept one called `name`."""
    path = EXPECTED / f"{name}.txt"
    if os.environ.get("COLDFRAME_UPDATE"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    assert text == path.read_text()
