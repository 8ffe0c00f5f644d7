"""Which checkpoints of a folder to keep, and letting go of the others.

A checkpoint stays if any rule says so::

    --last N         the N latest
    --every H        the oldest, and from each that this rule keeps, the next that is at least H hours younger
    --best N         the N best by a metric
    --pin PATTERN    whose names match; and those whose metadata says so
    always           the latest by the state file, and one that is sound: the newest that verifies

The state file stops listing what goes, and then files are deleted, each checkpoint's index first. A process killed
meanwhile leaves no state file that names what is gone, and no checkpoint that looks whole and is not.
"""

from __future__ import annotations

import csv
import fnmatch
import json
import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

from coldframe.checkpoint.folder import canonical
from coldframe.checkpoint.listing import Listed, of_folder, old_state
from coldframe.checkpoint.report import Problem
from coldframe.checkpoint.retention import Keep, ranked, spaced
from coldframe.checkpoint.state import delete_all
from coldframe.checkpoint.verify_bundle import Scope
from coldframe.checkpoint.verifying import verify_checkpoint
from coldframe.errors import NotFoundError, WrongFileError, near_names
from coldframe.formats import crc32c, files
from coldframe.formats.checkpoint_state import STATE_FILE, CheckpointState, resolve, write_state
from coldframe.formats.stores import LOCAL, Options, Store, place
from coldframe.records import dataclass


@dataclass(frozen=True, slots=True)
class Pruned:
    """What `prune` did, or would do.

    Attributes:
        folder: the folder.
        kept: the checkpoints that stay, each with the reasons.
        removed: those that go.
        nbytes: what that makes free.
        done: whether it was done.
    """

    folder: str
    kept: tuple[tuple[Listed, tuple[str, ...]], ...]
    removed: tuple[Listed, ...]
    nbytes: int
    done: bool

    def to_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {
            "folder": self.folder,
            "kept": [{**c.to_json(), "why": list(why)} for c, why in self.kept],
            "removed": [c.to_json() for c in self.removed],
            "nbytes": self.nbytes,
            "done": self.done,
        }


def prune(
    folder: str | os.PathLike[str],
    keep: Keep,
    *,
    metrics: Mapping[int, float] | None = None,
    dry_run: bool = True,
    storage_options: Options | None = None,
) -> Pruned:
    """Delete the checkpoints of a folder that no rule keeps. The last sound one is never deleted.

    Checkpoints that are not whole are left alone, for they may be on their way; they do not count.

    Args:
        folder: the folder, or the URL of one.
        keep: the rules.
        metrics: the metric by step. Left out, it is read from the metadata beside each checkpoint, ``<prefix>.json``:
            ``{"metrics": {"loss": 0.5}, "pinned": true}``.
        dry_run: whether only to say what would go.
        storage_options: what the store of a URL is to be told, such as credentials.

    Raises:
        NotFoundError: the folder does not exist, or no checkpoint has the metric.
        OSError: the system refuses to read or delete.
    """
    store, here = place(folder, storage_options)
    if not store.is_folder(here):
        raise NotFoundError(f"no folder `{here}`")
    found = [c for c in of_folder(here, store) if c.complete]
    notes = {c.prefix: metadata(c.prefix, store) for c in found}
    why: dict[str, list[str]] = {c.prefix: [] for c in found}
    for c in found[-keep.last :] if keep.last else ():
        why[c.prefix].append("last")
    for c in spaced(found, keep.every_hours * 3600) if keep.every_hours else ():
        why[c.prefix].append("every")
    for c in _best(found, keep, metrics, notes) if keep.best else ():
        why[c.prefix].append("best")
    for c in found:
        name = store.split(c.prefix)[1]
        if notes[c.prefix].get("pinned") is True or any(fnmatch.fnmatchcase(name, p) for p in keep.pinned):
            why[c.prefix].append("pinned")
        if c.mark == "latest":
            why[c.prefix].append("latest")
    removed = [c for c in found if not why[c.prefix]]
    if removed and (sound := _a_sound_one(found, why, store)) is not None:
        why[sound.prefix].append("sound")
        removed = [c for c in removed if c is not sound]
    elif removed:
        why = {prefix: reasons or ["none is sound"] for prefix, reasons in why.items()}
        removed = []
    if removed and not dry_run:
        _delete(here, removed, store)
    kept = tuple((c, tuple(why[c.prefix])) for c in found if why[c.prefix])
    return Pruned(here, kept, tuple(removed), sum(c.nbytes for c in removed), not dry_run)


def _best(
    found: Sequence[Listed], keep: Keep, metrics: Mapping[int, float] | None, notes: Mapping[str, dict[str, Any]]
) -> list[Listed]:
    values: dict[str, float] = {}
    for c in found:
        told = metrics.get(c.step) if metrics is not None and c.step is not None else None
        if metrics is None:
            told = _metrics(notes[c.prefix]).get(keep.metric)
        if isinstance(told, int | float) and not math.isnan(told):
            values[c.prefix] = float(told)
    if not values:
        known = sorted({name for n in notes.values() for name in _metrics(n)})
        raise NotFoundError(
            f"no checkpoint has the metric `{keep.metric}`", hint=near_names(keep.metric, known) or _where_from(known)
        )
    return ranked(found, values, smaller_is_better=keep.smaller_is_better)[: keep.best]


def _where_from(known: Sequence[str]) -> str:
    if known:
        return f"there are {', '.join(f'`{n}`' for n in known)}"
    return "metrics are read from `<prefix>.json` beside a checkpoint, or from a file with steps"


def _metrics(note: Mapping[str, Any]) -> Mapping[str, Any]:
    found = note.get("metrics")
    return found if isinstance(found, dict) else {}


def metadata(prefix: str, store: Store = LOCAL) -> dict[str, Any]:
    """Return the metadata beside a checkpoint, ``<prefix>.json``; empty where there is none, or another save's.

    Raises:
        WrongFileError: it is no JSON object.
    """
    path = f"{prefix}.json"
    if not store.is_file(path):
        return {}
    try:
        found = json.loads(store.read(path))
    except ValueError as e:
        raise WrongFileError("metadata is no JSON", where=f"in {path}", found=str(e)) from e
    if not isinstance(found, dict):
        raise WrongFileError("metadata is no JSON object", where=f"in {path}", found=type(found).__name__)
    index, belongs_to = f"{prefix}.index", found.get("index_crc32c")
    if belongs_to is not None and store.is_file(index) and crc32c.value(store.read(index)) != belongs_to:
        return {}
    return found


def read_metrics(path: str | os.PathLike[str], metric: str) -> dict[int, float]:
    """Return a metric by step from a CSV file with a header, or from JSON: a list of objects, or one object a line.

    Raises:
        NotFoundError: there is no such file, or it has no such metric.
        WrongFileError: it is of another kind, or has no steps.
    """
    text = files.read_file(path).decode("utf-8", "replace")
    rows: list[Any]
    try:
        if text.lstrip()[:1] == "[":
            rows = json.loads(text)
        elif text.lstrip()[:1] == "{":
            rows = [json.loads(line) for line in text.splitlines() if line.strip()]
        else:
            rows = list(csv.DictReader(text.splitlines()))
        known = {name for row in rows for name in row}
    except (ValueError, TypeError) as e:
        raise WrongFileError("not a file of metrics", where=f"`{path}`", found=str(e)) from e
    if "step" not in known:
        raise WrongFileError("metrics have no steps", where=f"in {path}", expected="`step` beside each value")
    if metric not in known:
        raise NotFoundError(f"no metric is called `{metric}`", where=f"in {path}", hint=near_names(metric, known))
    try:
        return {int(row["step"]): float(row[metric]) for row in rows if row.get(metric) not in (None, "")}
    except (ValueError, TypeError) as e:
        raise WrongFileError("a metric is no number", where=f"in {path}", found=str(e)) from e


def _a_sound_one(found: Sequence[Listed], why: Mapping[str, Sequence[str]], store: Store) -> Listed | None:
    """Return the newest sound checkpoint among those that stay, or else among all; None where none is sound."""
    for c in sorted(found, key=lambda c: (bool(why[c.prefix]), found.index(c)), reverse=True):
        problems: list[Problem] = []
        verify_checkpoint(c.prefix, Scope(), problems, graphs=False, store=store)
        if not any(p.severity == "error" for p in problems):
            return c
    return None


def _delete(folder: str, removed: Sequence[Listed], store: Store) -> None:
    gone = {canonical(c.prefix) for c in removed}
    with store.locked(folder):
        state = old_state(folder, store)
        if state is not None:
            places = [i for i, p in enumerate(state.all) if canonical(resolve(p, folder, store)) not in gone]
            has_times = len(state.timestamps) == len(state.all)
            times = tuple(state.timestamps[i] for i in places) if has_times else ()
            listed = tuple(state.all[i] for i in places)
            state = CheckpointState(state.latest, listed, times, state.last_preserved)
            write_state(store.join(folder, STATE_FILE), state, store)
        delete_all((c.prefix for c in removed), store)
