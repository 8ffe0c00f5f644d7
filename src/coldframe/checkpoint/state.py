"""The state file of a folder: which checkpoint is the latest, and which are listed with it.

Every change is made under the folder's lock, to the file as it is then, so that processes that save into one folder
lose none of each other's checkpoints. The new state is on the disk before any file that the old one named is deleted.
"""

from __future__ import annotations

import os
import re
import time
import warnings
from collections.abc import Collection, Iterable
from typing import Final

from coldframe.errors import CheckpointWarning, ColdframeError, CorruptError
from coldframe.formats.bundle import BundleReader
from coldframe.formats.checkpoint_state import (
    STATE_FILE,
    CheckpointState,
    exists,
    read_state,
    resolve,
    write_state,
)
from coldframe.formats.stores import LOCAL, Store
from coldframe.formats.v1 import v1_names

_DATA: Final = re.compile(r"\.data-\d{5,}-of-\d{5,}")


def listed_latest(folder: str, store: Store = LOCAL) -> str | None:
    """Return the latest checkpoint, as the state file tells, of which all files are there; None where there is none.

    Raises:
        CorruptError: the state file is damaged.
    """
    for prefix in listed(folder, store):
        if is_whole(prefix, store):
            return prefix
    return None


def listed(folder: str, store: Store = LOCAL) -> list[str]:
    """Return the prefixes that the state file of `folder` names, the latest first; none where there is no such file."""
    path = store.join(folder, STATE_FILE)
    if not store.is_file(path):
        return []
    state = read_state(path, store)
    named = dict.fromkeys((state.latest, *reversed(state.all)))
    return list(dict.fromkeys(resolve(p, folder, store) for p in named if p))


def is_whole(prefix: str, store: Store = LOCAL) -> bool:
    """Whether a checkpoint is there with all of its files; their content is not looked at."""
    if not store.is_file(f"{prefix}.index"):
        return exists(prefix, store)
    try:
        count = BundleReader(prefix, opener=store.open).header.num_shards
    except ColdframeError:
        return False
    return all(store.is_file(f"{prefix}.data-{i:05d}-of-{count:05d}") for i in range(count))


def record_checkpoint(
    prefix: str, *, max_to_keep: int | None = None, drop: Collection[str] = (), store: Store = LOCAL
) -> None:
    """Make `prefix` the latest in its folder's state file, then delete the oldest beyond `max_to_keep`, and `drop`.

    Only checkpoints of the folder that the state file lists are deleted; those of which not all files are there do not
    count as kept. Paths are written relative to the folder, so that it can move. A damaged state file is replaced.
    """
    folder, name = store.split(prefix)
    with store.locked(folder):
        old = current_state(folder, store)
        here = set(store.names(folder))

        def counts(found: str) -> bool:
            there = lies_in(found, folder, store) and f"{store.split(found)[1]}.index" in here
            return (there or exists(found, store)) and (not max_to_keep or is_whole(found, store))

        timed = len(old.timestamps) == len(old.all)
        kept = [
            (path, old.timestamps[i] if timed else 0.0)
            for i, path in enumerate(old.all)
            if not _same(found := resolve(path, folder, store), prefix) and found not in drop and is_whole(found, store)
        ]
        kept.append((name, time.time()))
        surplus = max(0, len(kept) - max_to_keep) if max_to_keep else 0
        dropped, kept = kept[:surplus], kept[surplus:]
        times = tuple(t for _, t in kept) if timed else ()
        state = CheckpointState(name, tuple(p for p, _ in kept), times, old.last_preserved)
        write_state(store.join(folder, STATE_FILE), state, store)
        surplus_here = (p for path, _ in dropped if lies_in(p := resolve(path, folder, store), folder, store))
        delete_all((*drop, *surplus_here), store)


def lies_in(prefix: str, folder: str, store: Store = LOCAL) -> bool:
    """Whether a checkpoint lies in a folder: a state file that was copied gives no right to delete where it was."""
    return _same(store.split(prefix)[0], folder)


def current_state(folder: str, store: Store = LOCAL, name: str = STATE_FILE) -> CheckpointState:
    """Return the state of a folder in which something is about to be recorded; an empty one where it is damaged."""
    path = store.join(folder, name)
    if not store.is_file(path):
        return CheckpointState("")
    try:
        return read_state(path, store)
    except CorruptError as e:
        warnings.warn(f"a damaged state file is replaced, and lists only what is new: {e}", CheckpointWarning, 2)
        return CheckpointState("")


BESIDE: Final = (".meta", ".json")
"""What else may lie beside a checkpoint: its meta graph, and what a `CheckpointManager` noted."""


def delete_all(prefixes: Iterable[str], store: Store = LOCAL, *, suffixes: Iterable[str] = BESIDE) -> None:
    """Delete checkpoints; what cannot be deleted is told by a `CheckpointWarning`."""
    for prefix in prefixes:
        try:
            delete_checkpoint(prefix, store, suffixes=suffixes)
        except OSError as e:
            warnings.warn(f"`{prefix}` is no longer listed, but could not be deleted: {e}", CheckpointWarning, 3)


def delete_checkpoint(prefix: str, store: Store = LOCAL, *, suffixes: Iterable[str] = BESIDE) -> None:
    """Delete the files of a checkpoint, and those beside it: the index first, so that it is never half there."""
    folder, name = store.split(prefix)
    index = f"{prefix}.index"
    if store.is_file(index):
        store.remove(index)
    else:
        for path in v1_names(prefix, store):
            store.remove(path)
    for other in store.names(folder):
        if other.startswith(name) and _DATA.fullmatch(other[len(name) :]):
            store.remove(store.join(folder, other))
    for suffix in suffixes:
        if suffix != ".json" or _is_metadata(prefix, store):
            store.remove(prefix + suffix)


def delete_leftovers(prefix: str, count: int, store: Store) -> None:
    """Delete data files of `prefix` other than those of its live index, which names `count`."""
    folder, name = store.split(prefix)
    for other in store.names(folder):
        if other.startswith(name) and _DATA.fullmatch(other[len(name) :]) and int(other.rpartition("-")[2]) != count:
            store.remove(store.join(folder, other))


def _is_metadata(prefix: str, store: Store) -> bool:
    """Whether the JSON file beside a checkpoint is what its manager wrote, and not somebody's own."""
    path = f"{prefix}.json"
    return store.is_file(path) and b'"coldframe_checkpoint"' in store.read(path)[:200]


def _same(a: str, b: str) -> bool:
    return a == b or ("://" not in a and os.path.abspath(a or ".") == os.path.abspath(b or "."))
