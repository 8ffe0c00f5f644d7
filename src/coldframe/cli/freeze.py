"""``coldframe freeze SOURCE -o FILE``."""

from __future__ import annotations

import argparse
from pathlib import Path

from coldframe.cli.terminal import complain, say, working

HELP = "turn a graph and its checkpoint into one .pb"
DESCRIPTION = (
    "Turn a .meta or GraphDef with its checkpoint, or a SavedModel, into one .pb that needs nothing else. Outputs that"
    " are not given are taken from the signature, or guessed; the guess is shown with its reason."
)


def _list(text: str) -> list[str]:
    return [part for part in text.split(",") if part]


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("source", metavar="SOURCE", help="a .meta, .pb or SavedModel")
    parser.add_argument("--checkpoint", metavar="P", help="the checkpoint; left out, the one beside a .meta")
    parser.add_argument("--outputs", metavar="A,B", type=_list, help="what the graph is for: tensor or node names")
    parser.add_argument("--inputs", metavar="A,B", type=_list, help="tensors that become the graph's inputs")
    parser.add_argument("--signature", metavar="S", help="the signature of a SavedModel to freeze")
    parser.add_argument("--tags", metavar="A,B", type=_list, help="which meta graph of a SavedModel")
    parser.add_argument("--inference", action="store_true", help="fix `is_training` and dropout to inference")
    parser.add_argument("-o", "--output", metavar="FILE", required=True, help="the .pb (or .pbtxt) to write")


def command(args: argparse.Namespace) -> None:
    """Freeze and save."""
    from coldframe.runtime.freezing import freeze
    from coldframe.runtime.inspection.text import human_bytes

    with working(f"freezing {args.source}"):
        frozen = freeze(
            args.source,
            checkpoint=args.checkpoint,
            outputs=args.outputs,
            inputs=args.inputs,
            signature=args.signature,
            tags=args.tags,
            training=False if args.inference else None,
        )
        frozen.save(args.output)
    for note in frozen.notes:
        complain("note", note)
    say(f"{args.output}: {len(frozen.graph):,} nodes, {human_bytes(Path(args.output).stat().st_size)}")
    for what, specs in (("input", frozen.inputs), ("output", frozen.outputs)):
        for key, spec in specs.items():
            say(
                f"  {what:<7} {spec}" + ("" if spec.name.partition(":")[0] == key or spec.name == key else f"  ({key})")
            )
