"""``coldframe inspect PATH``."""

from __future__ import annotations

import argparse

from coldframe.cli.terminal import say, say_json

HELP = "say what a file or folder is, and what is in it"
DESCRIPTION = "Say what any TensorFlow file or folder is, and what is in it. Weights are not read."


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("path", metavar="PATH", help="a checkpoint's prefix, a .pb, .meta, SavedModel, folder, ...")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--all", action="store_true", help="show every row of long tables")


def command(args: argparse.Namespace) -> None:
    """Print the report."""
    from coldframe.runtime.inspection import inspect

    report = inspect(args.path)
    if args.json:
        say_json(report.to_json())
    else:
        say(report.text(all=args.all))
