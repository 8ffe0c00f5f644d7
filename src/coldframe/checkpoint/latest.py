"""The latest good checkpoint of a folder, and what is wrong with those that are later.

::

    the state file's latest, then the others it lists, newest first
    checkpoints of the folder that it does not list:  newer than all of those -> before them, else after
                          │
                          ▼
    the first that is complete and (verify=True) whose every CRC matches; what was passed over is told
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator

from coldframe.checkpoint.folder import by_number
from coldframe.checkpoint.state import is_whole, listed, listed_latest
from coldframe.errors import CheckpointWarning, ColdframeError, StoreError
from coldframe.formats.bundle import BundleReader
from coldframe.formats.checkpoint_file import CheckpointFile
from coldframe.formats.checkpoint_state import STATE_FILE, exists
from coldframe.formats.stores import Options, Store, place
from coldframe.formats.v1 import V1Reader
from coldframe.records import dataclass


@dataclass(frozen=True, slots=True)
class Skipped:
    """A checkpoint that was passed over.

    Attributes:
        prefix: which; or the state file, where that is damaged.
        reason: what is wrong with it.
    """

    prefix: str
    reason: str

    def __str__(self) -> str:
        return f"`{self.prefix}`: {self.reason}"


@dataclass(frozen=True, slots=True)
class Latest:
    """The latest good checkpoint of a folder.

    Attributes:
        prefix: its prefix, or None where no checkpoint is good.
        skipped: what is later, or would be, and why it was passed over; the latest first.
    """

    prefix: str | None
    skipped: tuple[Skipped, ...]

    def __str__(self) -> str:
        head = f"`{self.prefix}` is the latest good checkpoint" if self.prefix else "no checkpoint is good"
        return "\n".join([head, *(f"  skipped {s}" for s in self.skipped)])


def latest_checkpoint(
    folder: str | os.PathLike[str], *, verify: bool = False, storage_options: Options | None = None
) -> str | None:
    """Return the prefix of the latest checkpoint of a folder, or None where it has none.

    The state file ``checkpoint`` tells; paths in a folder that has moved are found again beside it. A checkpoint that
    lacks a file is passed over for the one before.

    Args:
        folder: a folder, or the URL of one.
        verify: read all of it and check every CRC, and fall back to the newest checkpoint that is sound, listed or
            not. What was passed over is told by a `CheckpointWarning`; `find_latest` returns it.
        storage_options: what the store of a URL is to be told.

    Raises:
        CorruptError: the state file is damaged, without `verify`.
        StoreError: the store of a URL does not answer.
    """
    if verify:
        found = find_latest(folder, storage_options=storage_options)
        for skipped in found.skipped:
            instead = f"; `{found.prefix}` is used" if found.prefix else ""
            warnings.warn(f"skipped {skipped}{instead}", CheckpointWarning, stacklevel=2)
        return found.prefix
    store, path = place(folder, storage_options)
    return listed_latest(path, store)


def find_latest(folder: str | os.PathLike[str], *, storage_options: Options | None = None) -> Latest:
    """Return the newest checkpoint of a folder that is complete and sound, and what was passed over for it.

    Every byte of those that are looked at is read. Nothing is changed.

    Args:
        folder: a folder, or the URL of one.
        storage_options: what the store of a URL is to be told.

    Raises:
        StoreError: the store of a URL does not answer.
    """
    store, path = place(folder, storage_options)
    skipped: list[Skipped] = []
    for prefix in candidates(path, store, skipped):
        if reason := fault(prefix, store):
            skipped.append(Skipped(prefix, reason))
        else:
            return Latest(prefix, tuple(skipped))
    return Latest(None, tuple(skipped))


def candidates(folder: str, store: Store, skipped: list[Skipped]) -> Iterator[str]:
    """Yield the prefixes of a folder's checkpoints, the latest first; a damaged state file is told in `skipped`."""
    try:
        named = listed(folder, store)
    except ColdframeError as e:
        skipped.append(Skipped(store.join(folder, STATE_FILE), str(e)))
        named = []
    newest = max((store.modified(f"{p}.index") for p in named), default=0.0)
    known = {store.split(p)[1] for p in named}
    others = [store.join(folder, name) for name in prefixes(folder, store) if name not in known]
    others.sort(key=lambda p: (store.modified(f"{p}.index"), by_number(p)), reverse=True)
    yield from (p for p in others if store.modified(f"{p}.index") > newest)
    yield from named
    yield from (p for p in others if store.modified(f"{p}.index") <= newest)


def prefixes(folder: str, store: Store) -> list[str]:
    """Return the names of a folder's V2 checkpoints that have an index."""
    return [n.removesuffix(".index") for n in store.names(folder) if n.endswith(".index") and n != ".index"]


def fault(prefix: str, store: Store) -> str:
    """Return what is wrong with a checkpoint, having read all of it; nothing where it is sound.

    Raises:
        StoreError: its store does not answer, which says nothing about the checkpoint.
    """
    try:
        if not exists(prefix, store):
            return "it is not there"
        file = open_file(prefix, store)
        if not is_whole(prefix, store):
            return "a data file is missing"
        for name in file.specs:
            file.verify(name)
    except StoreError:
        raise
    except (ColdframeError, OSError) as e:
        return str(e)
    return ""


def open_file(prefix: str, store: Store, *, verify: bool = True) -> CheckpointFile:
    """Open the checkpoint of a prefix, V2 or V1."""
    if store.is_file(f"{prefix}.index"):
        return BundleReader(prefix, verify=verify, opener=store.open)
    return V1Reader(prefix, verify=verify)
