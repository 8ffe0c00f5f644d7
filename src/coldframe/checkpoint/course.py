"""The course of training, as the checkpoints of a run tell it: how large each variable is, and how far it moves.

Two checkpoints are open at a time, and one chunk of a tensor of each is in memory. The norm is the square root of the
sum of squares; a change is the norm of the difference to the checkpoint before.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import math
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from coldframe.checkpoint.differing import Meter
from coldframe.checkpoint.folder import found_prefix
from coldframe.checkpoint.listing import of_folder
from coldframe.checkpoint.reader import Checkpoint, find_prefix, open_checkpoint
from coldframe.checkpoint.roles import step_name
from coldframe.checkpoint.select import Selection
from coldframe.checkpoint.stream import chunks
from coldframe.errors import MisuseError, NotFoundError
from coldframe.formats.bundle import index_path
from coldframe.formats.checkpoint_state import exists, read_state, resolve, state_path
from coldframe.formats.sniff import find_prefixes
from coldframe.formats.stores import is_url, place
from coldframe.records import dataclass

_STEP: Final = re.compile(r"-(\d+)$")
_BARS: Final = "▁▂▃▄▅▆▇█"


@dataclass(frozen=True, slots=True)
class Point:
    """One checkpoint of a run.

    Attributes:
        prefix: its path.
        step: its training step: of its name, else of its global step; None where neither tells.
    """

    prefix: str
    step: int | None


@dataclass(frozen=True, slots=True)
class Line:
    """The course of one variable; one value per checkpoint, None where the variable is not there.

    Attributes:
        name: the variable.
        norms: how large it is.
        changes: how far it moved since the checkpoint before.
        relative: the same, as a share of what it was there.
    """

    name: str
    norms: tuple[float | None, ...]
    changes: tuple[float | None, ...]
    relative: tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class Course:
    """The course of a run: its checkpoints, and a line per variable."""

    points: tuple[Point, ...]
    lines: tuple[Line, ...]

    def to_json(self) -> dict[str, Any]:
        points = [dataclasses.asdict(p) for p in self.points]
        fields = ("norms", "changes", "relative")
        lines = [{"name": v.name} | {f: [_plain(x) for x in getattr(v, f)] for f in fields} for v in self.lines]
        return {"checkpoints": points, "variables": lines}

    def to_csv(self) -> str:
        """Return a row per variable and checkpoint: variable, checkpoint, step, norm, change, relative change."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(["variable", "checkpoint", "step", "norm", "change", "relative"])
        for v in self.lines:
            for point, *values in zip(self.points, v.norms, v.changes, v.relative, strict=True):
                step = "" if point.step is None else point.step
                writer.writerow([v.name, point.prefix, step, *("" if x is None else repr(x) for x in values)])
        return out.getvalue()


def _plain(value: float | None) -> float | str | None:
    """Return a number as JSON has it, which has no infinity."""
    if value is None or math.isnan(value):
        return None
    return value if math.isfinite(value) else "infinite"


def checkpoints_of(paths: Sequence[str | os.PathLike[str]], *, last: int | None = None) -> list[str]:
    """Return the prefixes of checkpoints: those given, or all of a single folder, by their steps.

    Args:
        paths: checkpoints, by any path that `open_checkpoint` takes, in order; or one folder of a run.
        last: only the last so many.

    Raises:
        NotFoundError: there is no such checkpoint, or none in the folder.
        MisuseError: `last` is below 1.
    """
    if last is not None and last < 1:
        raise MisuseError("no checkpoint is meant", expected="1 or more", found=last)
    if any(map(is_url, paths)):
        found = [p for path in paths for p in _of_url(os.fspath(path), alone=len(paths) == 1)]
    elif len(paths) == 1 and os.path.isdir(paths[0]):
        found = _of_folder(Path(paths[0]))
        if not found:
            raise NotFoundError(f"no checkpoint in folder `{os.fspath(paths[0])}`", expected="an .index file")
    else:
        found = [find_prefix(p) for p in paths]
    return found if last is None else found[-last:]


def _of_url(path: str, *, alone: bool) -> list[str]:
    """Return the checkpoints of a folder in a store, or the one that is meant."""
    store, text = place(path)
    chain = path.partition("::")[1:] if "://" in path.partition("::")[0] else ("", "")  # zip://a::s3://b
    if not alone or not store.is_folder(text):
        return [found_prefix(text, store) + "".join(chain)]
    found = [c.prefix + "".join(chain) for c in of_folder(text, store) if c.complete]
    if not found:
        raise NotFoundError(f"no checkpoint in folder `{path}`", expected="an .index file")
    return found


def _of_folder(folder: Path) -> list[str]:
    state = read_state(state_path(folder)) if state_path(folder).is_file() else None
    listed = [resolve(p, folder) for p in state.all] if state is not None else []  # V1 checkpoints have no index
    found = dict.fromkeys([*map(str, find_prefixes(folder)), *(p for p in listed if exists(p))])

    def order(prefix: str) -> tuple[float, float, str]:
        step = _STEP.search(prefix)
        path = index_path(prefix) if index_path(prefix).is_file() else Path(prefix)
        time = path.stat().st_mtime if path.is_file() else 0.0
        return (float(step[1]) if step else math.inf, time, prefix)

    return sorted(found, key=order)


def compare(paths: Sequence[str | os.PathLike[str]], selection: Selection | None = None) -> Course:
    """Follow the floating-point variables through the checkpoints of a run.

    Args:
        paths: the checkpoints in order, or one folder of a run (see `checkpoints_of`).
        selection: which tensors; left out, all that are floating-point or complex.

    Raises:
        NotFoundError: there is no such checkpoint, or a pattern fits no tensor of the last one.
        CorruptError: a checkpoint is damaged.
    """
    prefixes = checkpoints_of(paths)
    with open_checkpoint(prefixes[-1]) as ckpt:
        meant = (selection or Selection()).pick(ckpt, where=f"in `{ckpt.prefix}`")
        names = [n for n in meant if ckpt.specs[n].dtype.is_float or ckpt.specs[n].dtype.is_complex]
    rows: dict[str, list[tuple[float | None, float | None, float | None]]] = {n: [] for n in names}
    points = []
    before: Checkpoint | None = None
    for prefix in prefixes:
        now = open_checkpoint(prefix)
        points.append(Point(prefix, _step(now)))
        for name in names:
            rows[name].append(_values(before, now, name))
        if before is not None:
            before.close()
        before = now
    if before is not None:
        before.close()
    return Course(tuple(points), tuple(_line(n, row) for n, row in rows.items()))


def _line(name: str, row: Sequence[tuple[float | None, float | None, float | None]]) -> Line:
    norms, changes, relative = zip(*row, strict=True)
    return Line(name, norms, changes, relative)


def _step(ckpt: Checkpoint) -> int | None:
    found = _STEP.search(ckpt.prefix)
    if found:
        return int(found[1])
    name = step_name(ckpt.specs)
    return int(ckpt.read(name).item()) if name else None


def _values(before: Checkpoint | None, now: Checkpoint, name: str) -> tuple[float | None, float | None, float | None]:
    if name not in now:
        return None, None, None
    meter = Meter()
    comparable = before is not None and before.specs.get(name) == now.specs[name]
    if not comparable or before is None:
        for chunk in chunks(now, name):
            meter.add(chunk, chunk)
        return meter.new_norm, None, None
    for old, new in zip(chunks(before, name), chunks(now, name), strict=True):
        meter.add(old, new)
    return meter.new_norm, meter.norm, meter.change().relative


def sparkline(values: Sequence[float | None]) -> str:
    """Return values as a row of bars, the lowest to the highest; a blank where there is none."""
    known = [v for v in values if v is not None and math.isfinite(v)]
    low, high = min(known, default=0.0), max(known, default=0.0)
    scale = (len(_BARS) - 1) / (high - low) if high > low else 0.0
    return "".join(" " if v is None or not math.isfinite(v) else _BARS[round((v - low) * scale)] for v in values)
