"""Restoring: values from a checkpoint become those of a session's variables, all of them or, with an error, none.

Checkpoints of objects (``tf.train.Checkpoint``, Keras) are read by the variables' names too, through their object
graph.
"""

from __future__ import annotations

import collections
import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np

from coldframe.checkpoint.reader import Checkpoint
from coldframe.errors import near_names
from coldframe.formats.object_graph import OBJECT_GRAPH_KEY
from coldframe.records import dataclass
from coldframe.tf1 import errors
from coldframe.tf1.train.saver_plan import Restored

RANDOM_STATE: Final = "_COLDFRAME_RANDOM_STATE"
"""The tensor in which a checkpoint keeps where random nodes are in their sequences. TensorFlow does not ask for it."""

_SHOWN: Final = 10
_OPTIMIZER: Final = re.compile(
    r"/(Adam|Momentum|Adagrad|Adadelta|RMSProp|Ftrl|ExponentialMovingAverage|AdaMax|Nadam)(_\d+)?$"
    r"|(^|/)beta[12]_power(_\d+)?$"
)
_NUMBERED: Final = re.compile(r"_\d+(?=/|$)")


@dataclass(frozen=True, slots=True)
class RestoreReport:
    """What `Saver.restore(..., partial=True)` did.

    Attributes:
        prefix: the checkpoint.
        restored: names of tensors that were restored.
        missing: names that the checkpoint does not have; their variables are as they were.
        mismatched: names of another shape or dtype in the checkpoint, and what the difference is.
        unused: names in the checkpoint that nothing asked for.
    """

    prefix: str
    restored: tuple[str, ...]
    missing: tuple[str, ...]
    mismatched: Mapping[str, str]
    unused: tuple[str, ...]

    def __str__(self) -> str:
        lines = [f"restored {len(self.restored)} tensors from {self.prefix}"]
        if self.missing:
            lines.append(f"missing in the checkpoint ({len(self.missing)}): {_listed(self.missing)}")
        lines += [f"not restored: {name}: {why}" for name, why in self.mismatched.items()]
        if self.unused:
            lines.append(f"unused of the checkpoint ({len(self.unused)}): {_listed(self.unused)}")
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class Found:
    """What a checkpoint has of what is wanted: values by variable, and what is wrong with the rest."""

    values: Mapping[str, Any]
    restored: tuple[str, ...]
    missing: tuple[str, ...]
    mismatched: Mapping[str, str]
    shapes_differ: bool


def collect(checkpoint: Checkpoint, wanted: Sequence[Restored]) -> Found:
    """Read what is wanted of a checkpoint, verified."""
    by_name = checkpoint.by_full_name if OBJECT_GRAPH_KEY in checkpoint else {}
    restored: list[str] = []
    missing: list[str] = []
    mismatched: dict[str, str] = {}
    shapes = False
    fitting: list[tuple[str, Restored]] = []
    for item in wanted:
        key = item.name if item.name in checkpoint else by_name.get(item.name, item.name)
        if key not in checkpoint:
            missing.append(item.name)
            continue
        wrong = _difference(checkpoint, key, item)
        if wrong:
            mismatched[item.name] = wrong
            shapes = shapes or "shape" in wrong
            continue
        fitting.append((key, item))
        restored.append(item.name)
    read = checkpoint.read_many(key for key, item in fitting if item.part is None)
    values = {item.variable: _value(checkpoint, key, item, read) for key, item in fitting}
    names = [tuple(dict.fromkeys(n)) for n in (restored, missing)]
    return Found(values, names[0], names[1], mismatched, shapes)


def _difference(checkpoint: Checkpoint, key: str, item: Restored) -> str:
    spec = checkpoint.specs[key]
    if spec.dtype is not item.dtype:
        return f"expected dtype {item.dtype.name}, found {spec.dtype.name} in the checkpoint"
    stored = tuple(spec.shape)
    if item.part is not None:
        if stored != item.part.shape:
            return f"expected shape {list(item.part.shape)}, found shape {list(stored)} in the checkpoint"
        return ""
    if item.reshape:
        if item.shape.size is not None and item.shape.size != spec.shape.size:
            return f"cannot reshape the checkpoint's shape {list(stored)} to shape {list(item.shape)}"
        return ""
    dims = item.shape.dims
    fits = dims is None or (len(dims) == len(stored) and all(d in (None, n) for d, n in zip(dims, stored, strict=True)))
    return "" if fits else f"expected shape {list(dims or ())}, found shape {list(stored)} in the checkpoint"


def _value(checkpoint: Checkpoint, key: str, item: Restored, read: Mapping[str, Any]) -> Any:
    if item.part is not None:
        box = item.part.box
        return checkpoint.read_slice(key, box.starts, box.sizes)
    value = read[key]
    if item.reshape and item.shape.is_static:
        return value.reshape(tuple(item.shape))
    return value


# --- errors -----------------------------------------------------------------------------------------------------
def missing_error(checkpoint: Checkpoint, missing: Sequence[str], op: Any = None) -> Exception:
    """Return the error for names that a checkpoint does not have: with near names, and the likely cause."""
    names = [n for n in (*checkpoint.specs, *_full_names(checkpoint)) if n != RANDOM_STATE]
    lines = [f"Key {missing[0]} not found in checkpoint"]
    if len(missing) > 1:
        lines = [f"{len(missing)} keys not found in checkpoint: {_listed(missing)}"]
    lines[0] += f" `{checkpoint.prefix}`, which has {len(names)} others"
    if near := near_names(missing[0], names):
        lines.append(f"instead of `{missing[0]}`, {near}")
    if cause := likely_cause(missing, names):
        lines.append(f"likely cause: {cause}")
    lines.append("hint: Saver.restore(sess, path, partial=True) restores what is there and reports the rest; "
                 "`coldframe inspect` lists a checkpoint's names")  # fmt: skip
    return errors.NotFoundError(getattr(op, "node_def", None), op, "\n".join(lines))


def mismatch_error(checkpoint: Checkpoint, found: Found, op: Any = None) -> Exception:
    """Return the error for tensors of another shape or dtype."""
    shown = [f"  {name}: {why}" for name, why in list(found.mismatched.items())[:_SHOWN]]
    more = len(found.mismatched) - len(shown)
    hint = "the graph is not the one that the checkpoint was saved from"
    if found.shapes_differ:
        hint += "; Saver(reshape=True) takes tensors of the same size in another shape"
    text = "\n".join([
        f"{len(found.mismatched)} variables do not fit checkpoint `{checkpoint.prefix}`:", *shown,
        *([f"  ... and {more} more"] if more > 0 else []), f"hint: {hint}; partial=True leaves them as they are",
    ])  # fmt: skip
    return errors.InvalidArgumentError(getattr(op, "node_def", None), op, text)


def _full_names(checkpoint: Checkpoint) -> Iterable[str]:
    return () if OBJECT_GRAPH_KEY not in checkpoint else (n for n in checkpoint.by_full_name if n not in checkpoint)


def likely_cause(missing: Sequence[str], names: Collection[str]) -> str:
    """Return why `missing` are probably not among the `names` of a checkpoint, or an empty string."""
    if all(_OPTIMIZER.search(n) for n in missing):
        return (
            "these belong to an optimizer (or moving averages), and the checkpoint was saved without it, or with "
            "another one; give Saver a var_list without them, and run their initializers"
        )
    prefix = _common(_longer(missing, names))
    if prefix:
        return (
            f"the checkpoint has these names with `{prefix}` before them; restore with "
            f"Saver({{'{prefix}' + v.op.name: v for v in ...}})"
        )
    prefix = _common(_shorter(missing, names))
    if prefix:
        return f"the checkpoint has these names without `{prefix}`; restore with Saver({{name_there: variable, ...}})"
    plain = [n for n in missing if _NUMBERED.search(n) and _NUMBERED.sub("", n) in names]
    if plain and 2 * len(plain) >= len(missing):
        return (
            f"names such as `{plain[0]}` come from building the model more than once in a graph; "
            "call tf.reset_default_graph() before building it"
        )
    if OBJECT_GRAPH_KEY in names:
        return "the checkpoint was saved by objects (tf.train.Checkpoint, Keras), whose variables have other names"
    if len(missing) < len(names) // 4 and len(missing) <= _SHOWN:
        return "these variables were added to the graph after the checkpoint was saved"
    return ""


def _longer(missing: Sequence[str], names: Collection[str]) -> list[str]:
    ends: dict[str, str] = {}
    wanted = set(missing)
    for name in names:
        for at, letter in enumerate(name):
            if letter == "/" and name[at + 1 :] in wanted:
                ends.setdefault(name[at + 1 :], name[: at + 1])
    return [ends.get(n, "") for n in missing]


def _shorter(missing: Sequence[str], names: Collection[str]) -> list[str]:
    known = set(names)
    found = []
    for name in missing:
        cuts = [at + 1 for at, letter in enumerate(name) if letter == "/" and name[at + 1 :] in known]
        found.append(name[: cuts[0]] if cuts else "")
    return found


def _common(prefixes: Sequence[str]) -> str:
    """Return the prefix that most of them are, or an empty string."""
    [(prefix, count)] = collections.Counter(prefixes).most_common(1)
    return prefix if 2 * count > len(prefixes) else ""


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(f"`{n}`" for n in names[:_SHOWN])
    return f"{shown} and {len(names) - _SHOWN} more" if len(names) > _SHOWN else shown


# --- where random nodes are -------------------------------------------------------------------------------------
def encode_random_state(places: Mapping[str, tuple[int, int, int]]) -> Any:
    """Return the tensor that keeps them: a string scalar, JSON of ``{node: [seed, seed2, position]}``."""
    text = json.dumps({"version": 1, "nodes": {n: list(places[n]) for n in sorted(places)}}, separators=(",", ":"))
    return np.array(text.encode(), object)


def decode_random_state(checkpoint: Checkpoint) -> dict[str, tuple[int, int, int]] | None:
    """Return where random nodes were when the checkpoint was saved, or None where it does not tell."""
    if RANDOM_STATE not in checkpoint:
        return None
    try:
        told = json.loads(bytes(checkpoint.read(RANDOM_STATE).item()))
        return {str(n): (int(a), int(b), int(c)) for n, (a, b, c) in told["nodes"].items()}
    except (ValueError, TypeError, KeyError, AttributeError) as e:
        raise errors.DataLossError(
            None, None, f"tensor `{RANDOM_STATE}` of checkpoint `{checkpoint.prefix}` is damaged: {e}"
        ) from e


__all__ = ["RANDOM_STATE", "Found", "RestoreReport", "collect", "likely_cause", "mismatch_error", "missing_error"]
