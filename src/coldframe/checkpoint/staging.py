"""Files of a store on this machine for a while: for tools that have to look at files from all sides.

::

    fetched(store, path)     one file                                             formats/stores
    brought(url)             a checkpoint, all files of it           ─► repair
    outlined(url)            what names and shapes are read from     ─► inspect: the rest is holes in sparse files
    made(url)                a name to write to; it is uploaded when the context ends well      ─► extract, convert

A path of this machine is handed through as it is.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from coldframe.checkpoint.folder import locate
from coldframe.errors import ColdframeError, MisuseError
from coldframe.formats.bundle import BundleReader
from coldframe.formats.checkpoint_state import STATE_FILE
from coldframe.formats.remote import RemoteStore
from coldframe.formats.stores import LOCAL, Store, fetch_to, is_url, place

_WHOLE: Final = (".index", ".meta", ".pb", ".pbtxt", ".json")
"""Endings of files that are small beside tensors, and say what these are."""


@contextlib.contextmanager
def brought(path: str | os.PathLike[str]) -> Iterator[str]:
    """Give the files of a checkpoint a place on this machine, and return its prefix there.

    Raises:
        NotFoundError: there is no such checkpoint.
        StoreError: the store does not answer.
        OSError: there is no room for temporary files.
    """
    store, text = place(path)
    if store is LOCAL:
        yield text
        return
    prefix = locate(text, store)
    folder, stem = store.split(prefix)
    with tempfile.TemporaryDirectory(prefix="coldframe-") as here:
        for name in store.names(folder):
            if name.startswith((f"{stem}.", f"{stem}-")) or name == stem:
                fetch_to(store, store.join(folder, name), Path(here, name))
        yield os.path.join(here, stem)


@contextlib.contextmanager
def made(destination: str | os.PathLike[str]) -> Iterator[Path]:
    """Return a path to write a file to, which is uploaded to `destination` if the context ends without an error.

    Raises:
        StoreError: the store does not take it.
        OSError: there is no room for temporary files.
    """
    store, text = place(destination)
    if not isinstance(store, RemoteStore):
        yield Path(text)
        return
    folder, name = store.split(text)
    with tempfile.TemporaryDirectory(prefix="coldframe-") as here:
        local = Path(here, name)
        yield local
        if local.is_dir():
            raise MisuseError("a folder is not uploaded", where=f"to `{text}`", expected="the URL of a file")
        store.make_folder(folder)
        store.upload(os.fspath(local), text)


@contextlib.contextmanager
def outlined(url: str) -> Iterator[tuple[Path, str, str]]:
    """Give what a URL names a place on this machine, without the bytes of its tensors.

    Files of tensors have their sizes, and in them what strings and scalars a checkpoint holds.

    Yields:
        The path there; the folder for temporary files that it is in; and the URL that this folder stands for.

    Raises:
        NotFoundError: there is no such file, folder or checkpoint.
        StoreError: the store does not answer.
    """
    store, text = place(url)
    with tempfile.TemporaryDirectory(prefix="coldframe-") as here:
        if store.is_folder(text):
            for folder in dict.fromkeys((text, store.join(text, "variables"))):
                below = Path(here, folder.removeprefix(text).strip("/"))
                below.mkdir(exist_ok=True)
                for name in store.names(folder):
                    _outline(store, store.join(folder, name), below / name)
            with contextlib.suppress(ColdframeError):  # no checkpoint, or a damaged one: that is for the report to say
                _fill(store, locate(text, store), text, Path(here))
            yield Path(here), here, text
            return
        folder, name = store.split(text)
        if store.is_file(text) and not name.endswith((".index", ".meta")) and ".data-" not in name:
            fetch_to(store, text, Path(here, name))
            yield Path(here, name), here, folder
            return
        prefix = locate(text, store)
        stem = store.split(prefix)[1]
        for other in store.names(folder):
            if other.startswith((f"{stem}.", f"{stem}-")):
                _outline(store, store.join(folder, other), Path(here, other))
        with contextlib.suppress(ColdframeError):
            _fill(store, prefix, folder, Path(here))
        yield Path(here, name), here, folder


def _outline(store: Store, path: str, local: Path) -> None:
    """Fetch a file that says what there is; of another, only its size."""
    if path.endswith((*_WHOLE, f"/{STATE_FILE}")):
        fetch_to(store, path, local)
        return
    with local.open("xb") as file:
        file.truncate(store.size(path))


def _fill(store: Store, prefix: str, folder: str, here: Path) -> None:
    """Write strings and scalars into the data files, which are holes so far."""
    reader = BundleReader(prefix, opener=store.open)
    for name, spec in reader.specs.items():
        entry = reader.entry(name)
        if not entry.slices and (spec.shape.rank == 0 or not spec.dtype.width):
            path = f"{prefix}.data-{entry.shard:05d}-of-{reader.header.num_shards:05d}"
            source = store.open(path)
            with Path(here, path.removeprefix(folder).strip("/")).open("rb+") as file:
                file.seek(entry.offset)
                file.write(source.read(entry.offset, entry.size))


__all__ = ["brought", "is_url", "made", "outlined"]
