"""Checkpoints in stores of objects, which replace one object as a whole and rename none.

A save is made in the folder for temporary files, by the same code as any other, and uploaded::

    upload the data objects, under names that no live index names ─ put the index object: the commit ─ remove the others

An index names its data by how many there are. Where the live one says n, and n is what is to be written, the new one
says n+1, the last of them empty (see formats/bundle_commit.py); the next save goes back to n. Before the commit, all
sizes are held against what was sent. docs/decisions/0014-the-index-object-is-the-commit.md has the reasons.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy.typing as npt

from coldframe.checkpoint.state import delete_leftovers, listed_latest
from coldframe.dtypes import DType
from coldframe.errors import ColdframeError, NotFoundError, StoreError, WrongFileError, near_names
from coldframe.formats.bundle import BundleReader
from coldframe.formats.bundle_entry import Header
from coldframe.formats.bundle_writer import write_bundle
from coldframe.formats.checkpoint_file import CheckpointFile
from coldframe.formats.checkpoint_state import STATE_FILE
from coldframe.formats.files import read_file
from coldframe.formats.remote import RemoteStore
from coldframe.formats.sstable import Table, encode_table
from coldframe.formats.stores import Store
from coldframe.formats.v1 import V1Reader, v1_names

_INDEX: Final = ".index"


def open_remote(store: Store, path: str, *, verify: bool) -> CheckpointFile:
    """Open the checkpoint that a path in a store means; raises as `open_checkpoint`."""
    prefix = find_remote(store, path)
    if store.is_file(prefix + _INDEX):
        return BundleReader(prefix, verify=verify, opener=store.open)
    return V1Reader(prefix, verify=verify, store=store)


def find_remote(store: Store, path: str) -> str:
    """Return the prefix of the checkpoint that `path` means: a prefix, a file of it, a folder or a state file.

    Raises:
        NotFoundError: there is none.
        WrongFileError: the folder holds several, and no state file says which is the latest.
    """
    folder, name = store.split(path)
    stem = path.removesuffix(_INDEX).removesuffix(".meta")
    if ".data-" in name:
        stem = store.join(folder, name[: name.rindex(".data-")])
    if store.is_file(stem + _INDEX):
        return stem
    if name == STATE_FILE:
        path = folder
    elif v1_names(path, store):
        return path
    if latest := listed_latest(path, store):
        return latest
    names = store.names(path)
    for candidate in ("variables/variables", "variables"):
        if store.is_file(store.join(path, candidate + _INDEX)):
            return store.join(path, candidate)
    found = sorted(n.removesuffix(_INDEX) for n in names if n.endswith(_INDEX))
    if len(found) == 1:
        return store.join(path, found[0])
    if found:
        raise WrongFileError(
            f"folder `{path}` holds several checkpoints and no state file",
            expected=f"a file `{STATE_FILE}` that names the latest",
            found=", ".join(f"`{n}`" for n in found[:5]) + (", ..." if len(found) > 5 else ""),
            hint=f"open one by its prefix: `{store.join(path, found[-1])}`",
        )
    beside = [n.removesuffix(_INDEX) for n in store.names(folder) if n.endswith(_INDEX)]
    raise NotFoundError(
        f"no checkpoint is called `{path}`", expected=f"a file {stem}{_INDEX}", hint=near_names(name, beside)
    )


def upload_bundle(
    store: Store,
    prefix: str,
    tensors: Mapping[str, npt.ArrayLike],
    *,
    shards: int = 1,
    dtype_of: Mapping[str, DType] | None = None,
) -> None:
    """Write a checkpoint of whole tensors into a store; arguments as `write_bundle`.

    Raises:
        MisuseError: a tensor cannot be saved.
        StoreError: the store failed. What was there under this prefix still is.
        OSError: there is no room for temporary files.
    """
    with tempfile.TemporaryDirectory(prefix="coldframe-") as folder:
        local = os.path.join(folder, "save")
        write_bundle(local, tensors, shards=shards, dtype_of=dtype_of)
        upload(store, prefix, local)


def upload(store: Store, prefix: str, local: str) -> int:
    """Copy a V2 checkpoint of this machine into a store, commit it there, and return the size of its files.

    Raises:
        StoreError: the store failed. What was there under this prefix still is.
    """
    assert isinstance(store, RemoteStore)
    shards = BundleReader(local).header.num_shards
    store.make_folder(store.split(prefix)[0])
    live = live_shards(store, prefix)
    count = shards + 1 if live == shards else shards
    index = with_shards(Path(local + _INDEX), count)
    sent, size = [], len(index)
    try:
        for i in range(count):
            source = f"{local}.data-{i:05d}-of-{shards:05d}"
            if i == shards:
                Path(source).touch()
            sent.append(f"{prefix}.data-{i:05d}-of-{count:05d}")
            store.upload(source, sent[-1])
            size += os.path.getsize(source)
        store.replace(prefix + _INDEX, index)
    except BaseException:
        if live_shards(store, prefix) != count:  # else the commit was heard, though its answer was not
            for path in sent:
                store.remove(path)
        raise
    delete_leftovers(prefix, count, store)
    return size


def live_shards(store: Store, prefix: str) -> int | None:
    """Return how many data files the index in a store names; None where there is none, or it is damaged."""
    try:
        return BundleReader(prefix, opener=store.open).header.num_shards
    except StoreError:
        raise
    except ColdframeError:
        return None


def with_shards(index: Path, count: int) -> bytes:
    """Return an index that says `count` data files, and is otherwise as `index`."""
    entries = dict(Table(memoryview(read_file(index)), where=f"in {index}", verify=True))
    entries[b""] = Header(count).encode()
    return encode_table(list(entries), list(entries.values()))
