"""The latest checkpoint of a folder, and the state file that names it."""

from __future__ import annotations

import os
import time
from pathlib import Path

from coldframe.formats import files
from coldframe.formats.bundle import index_path
from coldframe.formats.checkpoint_state import CheckpointState, exists, read_state, resolve, state_path, write_state
from coldframe.formats.v1 import v1_files


def latest_checkpoint(folder: str | os.PathLike[str]) -> str | None:
    """Return the prefix of the latest checkpoint of `folder` that is still there, or None.

    The state file ``checkpoint`` tells; paths in a folder that has moved are found again beside it.

    Raises:
        CorruptError: the state file is damaged.
    """
    path = state_path(folder)
    if not path.is_file():
        return None
    state = read_state(path)
    for candidate in (state.latest, *reversed(state.all)):
        if candidate and exists(prefix := resolve(candidate, folder)):
            return prefix
    return None


def record_checkpoint(prefix: str, *, max_to_keep: int | None) -> None:
    """Make `prefix` the latest in its folder's state file, then delete the oldest beyond `max_to_keep`.

    Only checkpoints that the state file lists are deleted. Paths are written relative to the folder, so it can move.
    """
    folder = Path(prefix).parent
    path = state_path(folder)
    old = read_state(path) if path.is_file() else CheckpointState("")
    has_times = len(old.timestamps) == len(old.all)
    kept = [
        (listed, old.timestamps[i] if has_times else 0.0)
        for i, listed in enumerate(old.all)
        if not _same(resolve(listed, folder), prefix)
    ]
    kept.append((os.path.basename(prefix), time.time()))
    surplus = len(kept) - max_to_keep if max_to_keep else 0
    dropped, kept = kept[: max(0, surplus)], kept[max(0, surplus) :]
    times = tuple(t for _, t in kept) if has_times else ()
    write_state(path, CheckpointState(kept[-1][0], tuple(p for p, _ in kept), times, old.last_preserved))
    for listed, _ in dropped:
        delete_checkpoint(resolve(listed, folder))


def _same(a: str, b: str) -> bool:
    return os.path.abspath(a) == os.path.abspath(b)


def delete_checkpoint(prefix: str) -> None:
    """Delete the files of a checkpoint, and its meta graph: the index first, so that it is never half there."""
    path = Path(prefix)
    victims = [index_path(prefix)] if index_path(prefix).is_file() else list(v1_files(prefix))
    start = f"{path.name}.data-"
    victims += [
        p for p in path.parent.iterdir() if p.name.startswith(start) and p.name[len(start) :].count("-of-") == 1
    ]
    for victim in (*victims, path.with_name(path.name + ".meta")):
        files.discard(victim)
