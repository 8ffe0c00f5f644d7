"""``coldframe names GRAPH [PATTERN]``."""

from __future__ import annotations

import argparse

from coldframe.cli.terminal import say, say_json

HELP = "list a graph's tensor names: dtype, shape, op, what feeds them"
DESCRIPTION = (
    "List the tensor names of a graph, with dtype, shape, op and what feeds each. Inputs and likely outputs are marked."
)


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("graph", metavar="GRAPH", help="a .pb, .pbtxt, .meta or SavedModel")
    parser.add_argument("pattern", metavar="PATTERN", nargs="?", default="*", help="a glob, or a part of the name")
    parser.add_argument("-r", "--regex", action="store_true", help="PATTERN is a regular expression")
    parser.add_argument("--tags", metavar="A,B", type=lambda t: t.split(","), help="which meta graph of a SavedModel")
    parser.add_argument("--json", action="store_true", help="print JSON")


def command(args: argparse.Namespace) -> None:
    """Print the names."""
    from coldframe.runtime.inspection.naming import names
    from coldframe.runtime.inspection.text import columns

    found = names(args.graph, args.pattern, regex=args.regex, tags=args.tags)
    if args.json:
        say_json([t.to_json() for t in found])
        return
    rows = [[t.name, t.dtype, t.shape, t.op, t.mark, " ".join(t.sources)] for t in found]
    for line in columns([["tensor", "dtype", "shape", "op", "", "fed by"], *rows]):
        say(line)
