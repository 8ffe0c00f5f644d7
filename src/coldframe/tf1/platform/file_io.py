"""`tf.io.gfile`: files by name, as `tf.gfile` offers them too under its older names.

Files are those of this machine: `file://` before a path is allowed, another scheme (`gs://`, `hdfs://`) raises
`UnimplementedError`. What the system refuses raises `tf.errors`, as programs expect, never `OSError`. A file is opened
when it is first read or written, not before.
"""

from __future__ import annotations

import contextlib
import glob as _glob
import os
import re
import shutil
import stat as _stat
from collections.abc import Callable, Iterator
from typing import IO, Any, Final, Self

from coldframe.records import dataclass
from coldframe.tf1 import errors
from coldframe.tf1.platform.compat import as_bytes, as_str, as_str_any, path_to_str

_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9.+-]*)://")
_MODES: Final = ("r", "w", "a", "r+", "w+", "a+")


def local_path(path: Any) -> str:
    """Return the path on this machine that a name stands for.

    Raises:
        UnimplementedError: the name has the scheme of a remote file system.
    """
    name = as_str(path_to_str(path))
    found = _SCHEME.match(name)
    if found is None:
        return name
    if found[1] == "file":
        return name[found.end() :]
    raise errors.UnimplementedError(None, None, f"File system scheme '{found[1]}' not implemented (file: '{name}')")


@contextlib.contextmanager
def _system(name: str = "") -> Iterator[None]:
    """Turn what the system says into `tf.errors`."""
    try:
        yield
    except OSError as e:
        raise errors.from_system(e, name) from e


class GFile:
    """A file for reading, writing or appending; a context manager, and an iterator of lines.

    Args:
        name: its path.
        mode: `r`, `w`, `a`, `r+`, `w+` or `a+`, with `b` for bytes instead of text.
        encoding: that of the text.

    Raises:
        InvalidArgumentError: the mode is none of these.
    """

    def __init__(self, name: Any, mode: str = "r", encoding: str = "utf-8") -> None:
        self._name, self._mode, self._encoding = name, mode, encoding
        self._binary, self._kind = "b" in mode, mode.replace("b", "")
        if self._kind not in _MODES:
            raise errors.InvalidArgumentError(None, None, f"mode is not {' or '.join(map(repr, _MODES))}")
        self._reader: IO[bytes] | None = None
        self._writer: IO[bytes] | None = None

    @property
    def name(self) -> Any:
        """The path, as it was given."""
        return self._name

    @property
    def mode(self) -> str:
        """The mode, as it was given."""
        return self._mode

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _reading(self) -> IO[bytes]:
        if self._reader is None:
            if self._kind in ("w", "a"):
                raise errors.PermissionDeniedError(None, None, "File isn't open for reading")
            with _system(as_str(path_to_str(self._name))):
                self._reader = open(local_path(self._name), "rb")  # noqa: SIM115 - closed by `close`
        return self._reader

    def _writing(self) -> IO[bytes]:
        if self._writer is None:
            if self._kind == "r":
                raise errors.PermissionDeniedError(None, None, "File isn't open for writing")
            mode = {"w": "wb", "a": "ab", "r": "r+b"}[self._kind[0]]
            with _system(as_str(path_to_str(self._name))):
                self._writer = open(local_path(self._name), mode)  # noqa: SIM115 - closed by `close`
        return self._writer

    def _value(self, data: bytes) -> Any:
        return data if self._binary else data.decode(self._encoding)

    def size(self) -> int:
        """Return the size of the file in bytes."""
        return stat(self._name).length

    def write(self, file_content: Any) -> None:
        """Write bytes, or text encoded."""
        data = as_bytes(file_content, self._encoding)
        with _system(as_str_any(path_to_str(self._name))):
            self._writing().write(data)

    def read(self, n: int = -1) -> Any:
        """Return the next `n` bytes, all for -1; as text, unless the mode has `b`."""
        with _system(as_str_any(path_to_str(self._name))):
            return self._value(self._reading().read(n))

    def readline(self) -> Any:
        """Return the next line with its end; nothing at the end of the file."""
        with _system(as_str_any(path_to_str(self._name))):
            return self._value(self._reading().readline())

    def readlines(self) -> list[Any]:
        """Return all lines that are left."""
        return list(self)

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        line = self.readline()
        if not line:
            raise StopIteration
        return line

    next = __next__

    def seek(self, offset: int | None = None, whence: int = 0, position: int | None = None) -> None:
        """Go to a place: `offset` bytes from the start, from here (`whence` 1), or from the end (2)."""
        reader = self._reading()
        if (offset is None) == (position is None):
            raise TypeError("seek(): give one of `offset` and `position`")
        if whence not in (0, 1, 2):
            raise errors.InvalidArgumentError(
                None, None, f"Invalid whence argument: {whence}. Valid values are 0, 1, or 2."
            )
        with _system(as_str_any(path_to_str(self._name))):
            reader.seek(offset if offset is not None else position or 0, whence)

    def tell(self) -> int:
        """Return the place, in bytes, at which the next read or, where nothing can be read, the next write is."""
        return (self._writing() if self._kind in ("w", "a") else self._reading()).tell()

    def seekable(self) -> bool:
        """Return that one can `seek`."""
        return True

    def flush(self) -> None:
        """Hand what was written to the system."""
        if self._writer is not None:
            with _system(as_str_any(path_to_str(self._name))):
                self._writer.flush()

    def close(self) -> None:
        """Close the file; what is read or written later opens it again."""
        files, self._reader, self._writer = (self._reader, self._writer), None, None
        with _system(as_str_any(path_to_str(self._name))):
            for file in files:
                if file is not None:
                    file.close()


@dataclass(frozen=True, slots=True)
class FileStatistics:
    """What `stat` tells.

    Attributes:
        length: bytes.
        mtime_nsec: when the file was last written, in nanoseconds since 1970.
        is_directory: whether it is a folder.
    """

    length: int
    mtime_nsec: int
    is_directory: bool


def exists(path: Any) -> bool:
    """Return whether there is such a file or folder."""
    return os.path.exists(local_path(path))


def isdir(path: Any) -> bool:
    """Return whether there is such a folder."""
    return os.path.isdir(local_path(path))


def stat(path: Any) -> FileStatistics:
    """Return the facts about a file or folder; `NotFoundError` if there is none."""
    with _system(as_str_any(path_to_str(path))):
        found = os.stat(local_path(path))
    return FileStatistics(found.st_size, found.st_mtime_ns, _stat.S_ISDIR(found.st_mode))


def remove(path: Any) -> None:
    """Delete a file; `NotFoundError` if there is none."""
    with _system(as_str_any(path_to_str(path))):
        os.remove(local_path(path))


def rmtree(path: Any) -> None:
    """Delete a folder and all in it, or a file; `NotFoundError` if there is none."""
    name = local_path(path)
    if not os.path.lexists(name):
        raise errors.NotFoundError(None, None, f"{as_str_any(path_to_str(path))} not found")
    with _system():
        if os.path.isdir(name) and not os.path.islink(name):
            shutil.rmtree(name)
        else:
            os.remove(name)


def glob(pattern: Any) -> list[str]:
    """Return the names that match a pattern, or one of several: `*` and `?` do not match `/`."""
    patterns = pattern if isinstance(pattern, (list, tuple)) else [pattern]
    found: list[str] = []
    for one in patterns:
        local = local_path(one)
        prefix = as_str(path_to_str(one))[: -len(local)] if local else ""
        found += [prefix + name for name in sorted(_glob.glob(local, include_hidden=True))]
    return found


def mkdir(path: Any) -> None:
    """Make a folder; one that exists is none the worse. `NotFoundError` if the folder around it does not exist."""
    name = local_path(path)
    if not os.path.isdir(name):
        with _system(as_str_any(path_to_str(path))):
            os.mkdir(name)


def makedirs(path: Any) -> None:
    """Make a folder, and those around it; `FailedPreconditionError` if one of them is a file."""
    name = local_path(path)
    if not name:
        return
    try:
        with _system(as_str_any(path_to_str(path))):
            os.makedirs(name, exist_ok=True)
    except errors.AlreadyExistsError as e:
        raise errors.FailedPreconditionError(None, None, f"{as_str_any(path_to_str(path))} is not a directory") from e


def _refuse_existing(dst: Any, overwrite: bool) -> None:
    if not overwrite and exists(dst):
        raise errors.AlreadyExistsError(None, None, f"file already exists: {as_str_any(path_to_str(dst))}")


def copy(src: Any, dst: Any, overwrite: bool = False) -> None:
    """Copy a file; `AlreadyExistsError` if the new name is taken, unless `overwrite`."""
    _refuse_existing(dst, overwrite)
    with _system():
        shutil.copyfile(local_path(src), local_path(dst))


def rename(src: Any, dst: Any, overwrite: bool = False) -> None:
    """Give a file or folder another name; `AlreadyExistsError` if that is taken, unless `overwrite`."""
    _refuse_existing(dst, overwrite)
    with _system(as_str_any(path_to_str(src))):
        os.replace(local_path(src), local_path(dst))


def listdir(path: Any) -> list[str]:
    """Return the names in a folder; `NotFoundError` if there is no such folder."""
    if not isdir(path):
        raise errors.NotFoundError(None, None, f"Could not find directory {as_str_any(path_to_str(path))}")
    with _system(as_str_any(path_to_str(path))):
        return sorted(os.listdir(local_path(path)))


def walk(
    top: Any, topdown: bool = True, onerror: Callable[[Exception], object] | None = None
) -> Iterator[tuple[str, list[str], list[str]]]:
    """Yield each folder below `top` with the names of its folders and files.

    Args:
        top: where to begin.
        topdown: whether a folder comes before those in it.
        onerror: called with the error where a folder cannot be listed; without it, that folder is left out.
    """
    folder = as_str(path_to_str(top))
    try:
        names = listdir(folder)
    except errors.OpError as e:
        if onerror is not None:
            onerror(e)
        return
    folders = [n for n in names if isdir(join(folder, n))]
    here = (folder, folders, [n for n in names if n not in folders])
    if topdown:
        yield here
    for name in folders:
        yield from walk(join(folder, name), topdown, onerror)
    if not topdown:
        yield here


def join(path: Any, *paths: Any) -> str:
    """Return the parts of a path joined by `/`."""
    return os.path.join(as_str(path_to_str(path)), *(as_str(path_to_str(p)) for p in paths))


def get_registered_schemes() -> list[str]:
    """Return the schemes that a path may begin with."""
    return ["", "file"]
