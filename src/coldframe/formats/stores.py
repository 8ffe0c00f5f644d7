"""Where files are: this machine's disks, or any store that a URL names.

::

    "runs/7/model.ckpt"            ─► LocalStore     disks: locks, renames, memory maps
    "s3://bucket/7/model.ckpt"     ─► RemoteStore    fsspec: ranges are fetched, an object is replaced as a whole

What is written by whole small files (state files, metadata) and asked by names goes through a `Store`, so that the code
above knows one kind of place. Tensors are read from `Store.open`, a `sources.Opener`. Paths are strings that begin with
their folder; `join` and `split` put them together and take them apart.
"""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Final, Protocol, TypeAlias

from coldframe.errors import MisuseError
from coldframe.formats import files, locks
from coldframe.formats.sources import ReadAhead, Source, open_mapped

Options: TypeAlias = Mapping[str, Any]
_FETCHED: Final = 16 << 20  # bytes at a time
_URL: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*(://|::)")


class Store(Protocol):
    """A place for files."""

    def join(self, folder: str, name: str) -> str:
        """Return the path of `name` in `folder`."""

    def split(self, path: str) -> tuple[str, str]:
        """Return the folder of a path, and its name there."""

    def is_file(self, path: str) -> bool:
        """Whether there is a file of that name."""

    def is_folder(self, path: str) -> bool:
        """Whether there is a folder of that name."""

    def names(self, folder: str) -> list[str]:
        """Return the names of the files in a folder, sorted; none where there is no such folder."""

    def folders(self, top: str) -> list[str]:
        """Return a folder and all folders below it, each before those below it."""

    def size(self, path: str) -> int:
        """Return the number of bytes of a file; raise `NotFoundError` where there is none."""

    def modified(self, path: str) -> float:
        """Return when a file was last written, in seconds since 1970; 0 where nobody knows."""

    def open(self, path: str) -> Source:
        """Open a file for reading ranges of it; raise `NotFoundError` where there is none."""

    def read(self, path: str) -> bytes:
        """Return all bytes of a file; raise `NotFoundError` where there is none."""

    def replace(self, path: str, data: bytes) -> None:
        """Write a file as a whole: who looks sees what was there before, or the new bytes."""

    def remove(self, path: str) -> None:
        """Remove a file; one that is gone already is no error."""

    def locked(self, folder: str) -> AbstractContextManager[None]:
        """Keep other processes from changing the folder's state, where the place has locks."""

    def make_folder(self, folder: str) -> None:
        """Make a folder where it is missing and the place has folders."""


class LocalStore:
    """This machine's file systems; see `Store`."""

    def join(self, folder: str, name: str) -> str:
        return os.path.join(folder, name)

    def split(self, path: str) -> tuple[str, str]:
        return os.path.split(path)

    def is_file(self, path: str) -> bool:
        return os.path.isfile(path)

    def is_folder(self, path: str) -> bool:
        return os.path.isdir(path)

    def names(self, folder: str) -> list[str]:
        try:
            with os.scandir(folder or ".") as entries:
                return sorted(e.name for e in entries if e.is_file())
        except (FileNotFoundError, NotADirectoryError):
            return []

    def folders(self, top: str) -> list[str]:
        found = []
        for folder, below, _ in os.walk(top):
            below.sort()
            found.append(folder)
        return found

    def size(self, path: str) -> int:
        try:
            return os.path.getsize(path)
        except FileNotFoundError:
            raise files.missing(path) from None

    def modified(self, path: str) -> float:
        try:
            return os.path.getmtime(path)
        except FileNotFoundError:
            return 0.0

    def open(self, path: str) -> Source:
        return open_mapped(path)

    def read(self, path: str) -> bytes:
        return files.read_file(path)

    def replace(self, path: str, data: bytes) -> None:
        files.write_atomic(path, [data])

    def remove(self, path: str) -> None:
        files.discard(path)

    def locked(self, folder: str) -> AbstractContextManager[None]:
        return locks.locked(folder or ".")

    def make_folder(self, folder: str) -> None:
        files.make_folder(Path(folder or "."))


LOCAL: Final = LocalStore()


def read_on(store: Store, path: str) -> Source:
    """Open a file that is read from its start to its end, a bit at a time, by one thread; raises as `Store.open`."""
    source = store.open(path)
    return source if store is LOCAL else ReadAhead(source)


@contextlib.contextmanager
def fetched(store: Store, path: str) -> Iterator[Path]:
    """Give a file of any store a place on this machine, of the same name, as long as the context lasts.

    Raises:
        NotFoundError: there is none.
        OSError: there is no room for temporary files.
    """
    if store is LOCAL:
        yield Path(path)
        return
    with tempfile.TemporaryDirectory(prefix="coldframe-") as folder:
        local = Path(folder, store.split(path)[1])
        fetch_to(store, path, local)
        yield local


def fetch_to(store: Store, path: str, local: Path) -> None:
    """Copy a file of a store to this machine, where there is none of that name; raises as `fetched`."""
    source = store.open(path)
    try:
        with local.open("xb") as file:
            for at in range(0, source.size, _FETCHED):
                file.write(source.read(at, min(_FETCHED, source.size - at)))
    finally:
        source.close()


def is_url(path: str | os.PathLike[str]) -> bool:
    """Whether a path is a URL, as ``s3://bucket/name`` is; ``file://`` too."""
    return isinstance(path, str) and _URL.match(path) is not None


def place(path: str | os.PathLike[str], options: Options | None = None) -> tuple[Store, str]:
    """Return the store of a path, and what the path is called there.

    Args:
        path: a path, or a URL that fsspec knows.
        options: what the store is to be told, such as credentials: fsspec's ``storage_options``.

    Raises:
        MisuseError: options are given for a path of this machine, or fsspec, or its part for such URLs, is missing.
    """
    text = os.fspath(path)
    if text.startswith("file://") and "::" not in text:
        text = text.removeprefix("file://")
    elif is_url(path):
        from coldframe.formats.remote import connect

        return connect(text, options or {})
    if options:
        raise MisuseError("a local path has no storage options", where=f"`{text}`", found=sorted(options))
    return LOCAL, text
