"""``coldframe ops [NAME|GRAPH]``."""

from __future__ import annotations

import argparse
import collections
import os

from coldframe.cli.terminal import say, say_json

HELP = "which ops coldframe runs, and where"
DESCRIPTION = "List the ops that coldframe runs; of one op, its signature; of a graph, which of its ops run where."


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("what", metavar="NAME|GRAPH", nargs="?", help="an op's name, or a graph's path")
    parser.add_argument("--json", action="store_true", help="print JSON")


def command(args: argparse.Namespace) -> None:
    """Print the table, the op or the graph's ops."""
    from coldframe.runtime.inspection.coverage import RUNS, OpFact, covered, describe, graph_ops, op_fact
    from coldframe.runtime.inspection.text import columns

    facts: tuple[OpFact, ...]
    if args.what and not os.path.exists(args.what) and os.sep not in args.what and "." not in args.what:
        text = describe(args.what)
        if args.json:
            say_json(op_fact(args.what).to_json())
        else:
            say(text)
        return
    facts = graph_ops(args.what) if args.what else covered()
    if args.json:
        say_json([f.to_json() for f in facts])
        return
    rows = [[f.name, str(f.count) if f.count else "", f.runs, f.reason] for f in facts]
    for line in columns(rows, right=(1,)):
        say(line)
    where = collections.Counter(f.runs for f in facts)
    say(f"{len(facts)} ops: " + ", ".join(f"{where[k]} {k}" for k in RUNS))
