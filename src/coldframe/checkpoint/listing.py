"""What checkpoints there are: of a folder, or of all folders below one. Reads indexes, and no tensor but the step.

Checkpoints are found by their files, so those that no state file lists are there too, and those that are not whole.
"""

from __future__ import annotations

import dataclasses
import os
from typing import Any, Final

from coldframe.checkpoint.folder import canonical, find_checkpoints, format_of, locate, step_of
from coldframe.checkpoint.reader import open_in
from coldframe.errors import ColdframeError, CorruptError, NotFoundError
from coldframe.formats.checkpoint_state import STATE_FILE, CheckpointState, read_state, resolve
from coldframe.formats.stores import LOCAL, Options, Store, place
from coldframe.formats.v1 import v1_names
from coldframe.records import dataclass

_STEPS: Final = ("global_step", "global_step/.ATTRIBUTES/VARIABLE_VALUE", "save_counter/.ATTRIBUTES/VARIABLE_VALUE")


@dataclass(frozen=True, slots=True)
class Listed:
    """A checkpoint, seen from outside.

    Attributes:
        prefix: what names it.
        version: ``V2`` or ``V1``.
        step: the step that its name or its global step tells, or None.
        time: when it was saved, in seconds since 1970.
        nbytes: the size of its files, the meta graph included.
        tensors: how many tensors it lists, or None where its index cannot be read.
        shards: how many data files it has.
        mark: ``latest`` or ``listed`` by the state file, or empty.
        problem: why it is not whole, or empty. Tensors are not read for it: see `verify`.
    """

    prefix: str
    version: str
    step: int | None
    time: float
    nbytes: int
    tensors: int | None
    shards: int
    mark: str
    problem: str

    @property
    def complete(self) -> bool:
        """Whether its index can be read and all files are there."""
        return not self.problem

    def to_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {**dataclasses.asdict(self), "complete": self.complete}


def list_checkpoints(
    path: str | os.PathLike[str], *, recursive: bool = False, storage_options: Options | None = None
) -> list[Listed]:
    """Return the checkpoints of a folder, by steps, or the one that a prefix names.

    Args:
        path: a folder, or a checkpoint's prefix or file; or a URL.
        recursive: whether to look into folders below it too.
        storage_options: what the store of a URL is to be told, such as credentials.

    Raises:
        NotFoundError: there is neither such a folder nor such a checkpoint.
        OSError: the system refuses to read the folder.
        StoreError: the store of a URL does not answer.
    """
    store, top = place(path, storage_options)
    if not store.is_folder(top):
        prefix = locate(top, store)
        return [describe(prefix, _marks(store.split(prefix)[0] or ".", store), store)]
    folders = store.folders(top) if recursive else [top]
    return [c for folder in folders for c in of_folder(folder, store)]


def describe(prefix: str, marks: dict[str, str], store: Store = LOCAL) -> Listed:
    """Return what is known of a checkpoint; `marks` says what the state file calls it, by canonical prefix."""
    problem, tensors, step, shards = "", None, step_of(prefix), 0
    paths: list[str] = []
    try:
        with open_in(store, prefix) as ckpt:
            folder = store.split(prefix)[0]
            paths = [store.join(folder, p.name) for p in ckpt.files]
            tensors = len(ckpt.specs)
            shards = len(paths) - (ckpt.version == "V2")
            missing = [store.split(p)[1] for p in paths if not store.is_file(p)]
            if missing:
                problem = f"missing: {', '.join(missing)}"
            elif step is None:
                key = next((k for k in _STEPS if k in ckpt and ckpt.specs[k].nbytes in (4, 8)), None)
                step = int(ckpt[key].item()) if key is not None else None
    except (ColdframeError, OSError) as e:
        problem = str(e).splitlines()[0]
        if format_of(prefix, store) == "V2" and not store.is_file(f"{prefix}.index"):
            problem = "no index: the save was never completed"
    there = [p for p in (*_files(prefix, paths, store), f"{_stem(prefix)}.meta") if store.is_file(p)]
    return Listed(
        prefix,
        format_of(prefix, store),
        step,
        saved_at(prefix, store),
        sum(store.size(p) for p in there),
        tensors,
        shards,
        marks.get(canonical(prefix), ""),
        problem,
    )


def saved_at(prefix: str, store: Store = LOCAL) -> float:
    """Return when a checkpoint was committed, in seconds since 1970: the time of its index, or of its youngest file."""
    index = f"{prefix}.index"
    if store.is_file(index):
        return store.modified(index)
    return max(map(store.modified, _files(prefix, [], store)), default=0.0)


def _files(prefix: str, known: list[str], store: Store) -> list[str]:
    """Return the files of a checkpoint, also where its index does not tell them."""
    if known:
        return known
    folder, stem = store.split(prefix)
    names = [n for n in store.names(folder) if n.startswith(f"{stem}.data-") or n == f"{stem}.index"]
    return [store.join(folder, n) for n in names] or list(v1_names(prefix, store, missing_ok=True))


def _stem(prefix: str) -> str:
    return canonical(prefix) if "-?????-of-" in prefix else prefix


def of_folder(folder: str, store: Store = LOCAL) -> list[Listed]:
    """Return the checkpoints of a folder, by steps."""
    marks = _marks(folder, store)
    found = [describe(prefix, marks, store) for prefix in find_checkpoints(folder, store)]
    return sorted(found, key=lambda c: (c.step is not None, c.step or 0, c.time))


def _marks(folder: str, store: Store) -> dict[str, str]:
    state = old_state(folder, store)
    if state is None:
        return {}
    marks = {canonical(resolve(p, folder, store)): "listed" for p in state.all}
    return marks | {canonical(resolve(state.latest, folder, store)): "latest"}


def old_state(folder: str, store: Store = LOCAL) -> CheckpointState | None:
    """Return what the state file of a folder says; None where there is none that can be read."""
    try:
        return read_state(store.join(folder, STATE_FILE), store)
    except (NotFoundError, CorruptError):
        return None
