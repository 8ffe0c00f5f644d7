"""`tf.app`: start a program with its flags read."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any, Final, NoReturn

from coldframe.tf1.platform import flags

__all__ = ["flags", "run"]

_HELP: Final = frozenset({"--help", "-help", "-h", "-?", "--helpshort", "--helpfull", "--help-xml", "--helpxml"})


def run(main: Callable[[list[str]], Any] | None = None, argv: Sequence[str] | None = None) -> NoReturn:
    """Read the flags, call `main` with the program's name and what no flag took, and exit with what it returns.

    Args:
        main: what to call; by default the function `main` of the program.
        argv: the arguments, program name first; by default those of the command line.

    Raises:
        SystemExit: always. Status 1 where a flag has a wrong value, or is missing; the reason is on standard error.
    """
    call = main or sys.modules["__main__"].main
    args = list(sys.argv if argv is None else argv)
    if not _HELP.isdisjoint(args):
        from absl import app  # it brings a debugger and its own logging

        app.define_help_flags()
    try:
        rest = flags.FLAGS(args, known_only=True)
    except flags.Error as e:
        sys.stderr.write(f"FATAL Flags parsing error: {e}\nPass --helpshort or --helpfull to see help on flags.\n")
        sys.exit(1)
    sys.exit(call(rest))
