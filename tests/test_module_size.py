"""Modules are read from top to bottom by people: none is longer than 500 lines."""

from __future__ import annotations

from pathlib import Path

import pytest

from source_tree import SRC, dotted, modules

LIMIT = 500
EXCEPTIONS: dict[str, str] = {}  # module -> why it is better in one piece


@pytest.mark.parametrize("path", modules(), ids=dotted)
def test_is_short_enough_to_read(path: Path) -> None:
    lines = len(path.read_text().splitlines())
    assert lines <= LIMIT or dotted(path) in EXCEPTIONS, f"{path.relative_to(SRC)} has {lines} lines"


def test_exceptions_are_still_needed() -> None:
    long = {dotted(p) for p in modules() if len(p.read_text().splitlines()) > LIMIT}
    assert set(EXCEPTIONS) <= long
