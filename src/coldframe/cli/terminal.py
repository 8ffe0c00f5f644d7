"""Where the commands write to: results on stdout, progress and errors on stderr, colour only on a terminal."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterator
from typing import Any, Final, TextIO

# What a file calls its tensors is not trusted: no name may steer the terminal.
_CONTROLS: Final = {c: f"\\x{c:02x}" for c in (*range(32), *range(127, 160)) if chr(c) not in "\t\n"}


def printable(text: str, stream: TextIO) -> str:
    """Return `text` with what `stream` cannot show, and control characters, as backslash escapes."""
    encoding = stream.encoding or "utf-8"
    return text.translate(_CONTROLS).encode(encoding, "backslashreplace").decode(encoding)


def say(text: str) -> None:
    """Write a line to stdout."""
    sys.stdout.write(printable(text, sys.stdout) + "\n")


def say_json(value: Any) -> None:
    """Write a value to stdout as JSON."""
    say(json.dumps(value, indent=1, ensure_ascii=False))


def has_colour(stream: TextIO) -> bool:
    """Whether `stream` is a terminal, and nobody asked for no colours (https://no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def complain(kind: str, text: str) -> None:
    """Write ``error: ...`` to stderr, its hint on a line of its own."""
    start, end = ("\x1b[1;31m", "\x1b[0m") if has_colour(sys.stderr) else ("", "")
    sys.stderr.write(f"{start}{kind}:{end} {printable(text, sys.stderr)}\n")


@contextlib.contextmanager
def working(what: str) -> Iterator[None]:
    """Show on a terminal's stderr that `what` is being done; elsewhere, show nothing."""
    if not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        yield
        return
    from rich.console import Console  # only people at a terminal pay for it

    with Console(stderr=True, no_color=not has_colour(sys.stderr)).status(f"{what} ..."):
        yield
