"""``coldframe checkpoint repair PATH [-o PREFIX]``."""

from __future__ import annotations

import argparse

from coldframe.cli.terminal import say, say_json, working
from coldframe.errors import MisuseError

HELP = "save what is intact of a damaged checkpoint; or right a folder's state file"
DESCRIPTION = (
    "Save every intact tensor of a damaged checkpoint as a new V2 checkpoint, and say what is lost. Of a folder: write "
    "its state file anew, listing the sound checkpoints. Exit code 4 where something is lost."
)


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("path", metavar="PATH", help="a checkpoint's prefix or one of its files; or a folder")
    parser.add_argument("-o", "--output", metavar="PREFIX", help="the new checkpoint")
    parser.add_argument("--keep-damaged", action="store_true", help="also save tensors whose CRC does not match")
    parser.add_argument("--dry-run", action="store_true", help="of a folder: say what the state file would list")
    parser.add_argument("--json", action="store_true", help="print JSON")


def command(args: argparse.Namespace) -> int:
    """Repair, and print the report."""
    from coldframe.checkpoint.repairing import RepairReport, StateReport, repair, repair_state
    from coldframe.formats.stores import place

    report: RepairReport | StateReport
    store, path = place(args.path)
    with working(f"repairing {args.path}"):
        if args.output is None and store.is_folder(path):
            report = repair_state(args.path, dry_run=args.dry_run)
        elif args.output is None:
            raise MisuseError("a repaired checkpoint is a new one", expected="-o PREFIX", found="nothing")
        else:
            report = repair(args.path, args.output, keep_damaged=args.keep_damaged)
    if args.json:
        say_json(report.to_json())
    else:
        say(report.text())
    return 4 if isinstance(report, RepairReport) and report.lost else 0
