"""Where the commands write to: results on stdout, progress and errors on stderr, colour only on a terminal."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterator
from typing import IO, Any


def say(text: str) -> None:
    """Write a line to stdout."""
    sys.stdout.write(text + "\n")


def say_json(value: Any) -> None:
    """Write a value to stdout as JSON."""
    say(json.dumps(value, indent=1, ensure_ascii=False))


def has_colour(stream: IO[str]) -> bool:
    """Whether `stream` is a terminal, and nobody asked for no colours (https://no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def complain(kind: str, text: str) -> None:
    """Write ``error: ...`` to stderr, its hint on a line of its own."""
    start, end = ("\x1b[1;31m", "\x1b[0m") if has_colour(sys.stderr) else ("", "")
    sys.stderr.write(f"{start}{kind}:{end} {text}\n")


@contextlib.contextmanager
def working(what: str) -> Iterator[None]:
    """Show on a terminal's stderr that `what` is being done; elsewhere, show nothing."""
    if not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        yield
        return
    from rich.console import Console  # only people at a terminal pay for it

    with Console(stderr=True, no_color=not has_colour(sys.stderr)).status(f"{what} ..."):
        yield
