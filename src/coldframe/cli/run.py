"""``coldframe run MODEL --input NAME=VALUE ...``."""

from __future__ import annotations

import argparse
import io
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np

from coldframe.cli.terminal import say, working
from coldframe.errors import FeedError, MisuseError, near_names

HELP = "run a model on files or literals"
DESCRIPTION = (
    "Run a .pb, SavedModel, or .meta with its checkpoint. Inputs and fetches are names of the signature, or of tensors."
)
_SHOWN = 10  # values of an output on the terminal


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    parser.add_argument("model", metavar="MODEL", help="a .pb, .pbtxt, .meta or SavedModel")
    parser.add_argument(
        "--input",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="VALUE is FILE.npy, FILE.npz:KEY, FILE.npz (its array NAME, or its only one) or JSON;"
        " FILE.npz without NAME feeds all its arrays",
    )
    parser.add_argument("--fetch", metavar="NAME", action="append", help="an output or tensor; left out, all outputs")
    parser.add_argument("--signature", metavar="S", help="the signature to run")
    parser.add_argument("--tags", metavar="A,B", type=lambda t: t.split(","), help="which meta graph of a SavedModel")
    parser.add_argument(
        "--engine", metavar="E", default="auto", help="auto (default), onnxruntime, openvino, xla or reference"
    )
    parser.add_argument("--threads", metavar="N", type=int, default=0, help="threads within an op; 0: as many as fit")
    parser.add_argument("--explain", action="store_true", help="tell which parts ran where, and why")
    parser.add_argument("--checkpoint", metavar="P", help="the checkpoint of a .meta or .pb with variables")
    parser.add_argument("-o", "--output", metavar="OUT.npz", help="write the outputs here instead of showing them")


def command(args: argparse.Namespace) -> None:
    """Run the model, and write or show its outputs."""
    from coldframe.runtime.model import load

    feeds: dict[str, Any] = {}
    for text in args.input:
        feeds |= read_input(text)
    with working(f"running {args.model}"):
        model = load(args.model, checkpoint=args.checkpoint, tags=args.tags, engine=args.engine, threads=args.threads)
        outputs = model.run(feeds, args.fetch, signature=args.signature)
    if args.output:
        _save(Path(args.output), outputs)
    else:
        _show(outputs)
    if args.explain:
        _explain(model.engine_report())


def _explain(plans: list[list[dict[str, Any]]]) -> None:
    from coldframe.runtime.reporting import described

    for line in itertools.chain.from_iterable(described(p) for p in plans):
        say(line)


def read_input(text: str) -> dict[str, Any]:
    """Return the arrays, or the lists of a JSON literal, that an ``--input`` means, by name.

    Raises:
        MisuseError: it is neither a file nor JSON.
        NotFoundError: there is no such file.
    """
    name, equals, value = text.partition("=")
    if text.endswith(".npz") and (not equals or Path(text).is_file()):
        return _archive(Path(text))
    if not equals or not name:
        raise MisuseError(
            f"cannot read the input `{text}`", expected="NAME=FILE.npy, NAME=FILE.npz:KEY, NAME=JSON, FILE.npz"
        )
    if value.endswith(".npy"):
        return {name: _load(Path(value))}
    path, _, key = value.rpartition(":") if ".npz:" in value else (value, "", name)
    if path.endswith(".npz"):
        return {name: _member(_archive(Path(path)), key, path)}
    try:
        return {name: json.loads(value)}
    except json.JSONDecodeError as e:
        raise MisuseError(
            f"cannot read the value of input `{name}`",
            expected="a .npy or .npz file, or JSON",
            found=f"`{value}` ({e.msg} at character {e.pos + 1})",
            hint=f"text is quoted in JSON: --input '{name}=\"{value}\"'" if value.isalnum() else "",
        ) from None


def _load(path: Path) -> Any:
    from coldframe.formats.files import read_file

    try:
        return np.load(io.BytesIO(read_file(path)), allow_pickle=False)
    except (ValueError, EOFError, OSError) as e:
        raise MisuseError(f"cannot read `{path}` as a numpy file", found=str(e)) from e


def _archive(path: Path) -> dict[str, Any]:
    found = _load(path)
    if not isinstance(found, np.lib.npyio.NpzFile):
        raise MisuseError(f"`{path}` is no archive of arrays", expected="a .npz that numpy.savez wrote")
    with found:
        return dict(found)


def _member(arrays: dict[str, Any], name: str, path: str) -> Any:
    for key in (name, name.removesuffix(":0")):
        if key in arrays:
            return arrays[key]
    if len(arrays) == 1:
        return next(iter(arrays.values()))
    raise FeedError(
        f"`{path}` has no array `{name}`",
        found=", ".join(f"`{k}`" for k in arrays),
        hint=near_names(name, arrays) or f"--input {path} feeds all of its arrays by their names",
    )


def _save(path: Path, outputs: dict[str, Any]) -> None:
    from coldframe.formats.files import write_atomic

    buffer = io.BytesIO()
    np.savez(buffer, **{name: _storable(np.asarray(v)) for name, v in outputs.items()})
    write_atomic(path, [buffer.getvalue()])
    for name, value in outputs.items():
        a = np.asarray(value)
        say(f"{name}  {_dtype(a)}{list(a.shape)}")
    say(f"written to {path}")


def _storable(a: Any) -> Any:
    """Return `a` as numpy's files hold it: strings of fixed width, float types that numpy lacks as float32."""
    if a.dtype == object:
        return a.astype(bytes)
    return a.astype(np.float32) if a.dtype.kind == "V" else a


def _dtype(a: Any) -> str:
    return "string" if a.dtype.kind in "OSU" else str(a.dtype)


def _show(outputs: dict[str, Any]) -> None:
    for name, value in outputs.items():
        a = np.asarray(value)
        say(f"{name}  {_dtype(a)}{list(a.shape)}")
        if a.size:
            say(f"  {_values(a)}")


def _values(a: Any) -> str:
    flat = a.ravel()[:_SHOWN].tolist()
    shown = [v.decode(errors="replace") if isinstance(v, bytes) else v for v in flat]
    texts = [f"{v:.6g}" if isinstance(v, float) else repr(v) if isinstance(v, str) else str(v) for v in shown]
    return "  ".join(texts) + (f"  ... {a.size - _SHOWN} more" if a.size > _SHOWN else "")
