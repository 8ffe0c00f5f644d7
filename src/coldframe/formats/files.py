"""Files on disk: mapped for reading, replaced in one step for writing.

A write goes to a temporary name in the target's own folder, is synced, and is then renamed over the target::

    write_temporary(path, chunks) ─► .name.<random>.tmp ─ fsync ─► commit(temporary, path) ─ rename ─ fsync folder

A reader, or a process killed at any instant, sees the old file or the new one, whole. Writers of several files write
all temporaries first and commit them in the order in which a reader depends on them.
"""

from __future__ import annotations

import contextlib
import mmap
import os
from collections.abc import Iterable
from pathlib import Path
from typing import IO, TypeAlias

from coldframe.errors import NotFoundError, WrongFileError, near_names

PathLike: TypeAlias = str | os.PathLike[str]
Chunk: TypeAlias = bytes | bytearray | memoryview


def open_file(path: PathLike) -> IO[bytes]:
    """Open a file for reading bytes.

    Raises:
        NotFoundError: there is none; files of a similar name beside it are suggested.
        WrongFileError: it is a folder.
        OSError: the system refuses for another reason, such as permissions.
    """
    path = Path(path)
    try:
        return path.open("rb")
    except (FileNotFoundError, NotADirectoryError):
        raise missing(path) from None
    except IsADirectoryError:
        raise WrongFileError(f"`{path}` is of the wrong kind", expected="a file", found="a folder") from None


def missing(path: PathLike) -> NotFoundError:
    """Return the error to raise for a path that does not exist, with near names from its folder."""
    path = Path(path)
    folder = path.parent
    if not folder.is_dir():
        return NotFoundError(f"no file `{path}`", hint=f"the folder `{folder}` does not exist either")
    return NotFoundError(f"no file `{path}`", hint=near_names(path.name, (p.name for p in folder.iterdir())))


def read_file(path: PathLike) -> bytes:
    """Return all bytes of a file; raises as `open_file`."""
    with open_file(path) as file:
        return file.read()


def read_head(path: PathLike, size: int) -> bytes:
    """Return the first `size` bytes of a file, or fewer where it is shorter; raises as `open_file`."""
    with open_file(path) as file:
        return file.read(size)


def map_file(path: PathLike) -> memoryview:
    """Map a file into memory, read-only; pages are loaded as they are touched. Raises as `open_file`.

    The mapping lives as long as the view, or an array made from it, does. The file must not be cut short meanwhile:
    replace files (`write_atomic`), never rewrite them in place.
    """
    with open_file(path) as file:
        return map_open_file(file)


def map_open_file(file: IO[bytes]) -> memoryview:
    """Map an open file into memory; see `map_file`. The file may be closed then."""
    if os.fstat(file.fileno()).st_size == 0:
        return memoryview(b"")  # an empty mapping is an error to the system
    return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def write_temporary(path: PathLike, chunks: Iterable[Chunk], *, sync: bool = True) -> Path:
    """Write `chunks` to a new hidden file beside `path` and return its name. Nothing is left behind on failure.

    Raises:
        NotFoundError: the folder does not exist.
        OSError: the disk is full, or the system refuses for another reason.
    """
    target = Path(os.path.realpath(path))  # a link stays a link: what it points to is replaced
    temporary = target.with_name(f".{target.name}.{os.urandom(8).hex()}.tmp")
    try:
        file = temporary.open("xb")
    except FileNotFoundError:
        raise NotFoundError(f"no folder `{target.parent}` to write `{target.name}` into") from None
    try:
        with file:
            for chunk in chunks:
                file.write(chunk)
            if sync:
                file.flush()
                os.fsync(file.fileno())
    except BaseException:
        discard(temporary)
        raise
    return temporary


def commit(temporary: PathLike, path: PathLike, *, sync: bool = True) -> None:
    """Rename `temporary` to `path`, replacing what is there; the temporary is removed if that fails."""
    target = Path(os.path.realpath(path))
    try:
        os.replace(temporary, target)
    except BaseException:
        discard(temporary)
        raise
    if sync:
        sync_folder(target.parent)


def discard(temporary: PathLike) -> None:
    """Remove a temporary that will not be committed; one that is gone already is no error."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(temporary)


def make_folder(folder: PathLike) -> None:
    """Make a folder and those above it that are missing, so that they survive a crash of the machine."""
    path = Path(folder)
    missing_ones = [p for p in (path, *path.parents) if not p.exists()]
    if missing_ones:
        path.mkdir(parents=True, exist_ok=True)
    for made in missing_ones:
        sync_folder(made.parent)


def sync_folder(folder: PathLike) -> None:
    """Make renames inside `folder` survive a crash of the machine."""
    if os.name == "nt":
        return  # Windows cannot open a folder; its file system journals renames
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_atomic(path: PathLike, chunks: Iterable[Chunk], *, sync: bool = True) -> None:
    """Replace the file at `path` by `chunks` in one step. On failure the old file is still there, untouched.

    Args:
        path: the file; its folder must exist. Where it is a link, the file it points to is replaced.
        chunks: the bytes, in order.
        sync: whether to wait until the data is on the disk; off, a crash of the machine may lose it.

    Raises:
        NotFoundError: the folder does not exist.
        OSError: the disk is full, or the system refuses for another reason.
    """
    commit(write_temporary(path, chunks, sync=sync), path, sync=sync)
