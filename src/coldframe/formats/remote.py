"""Files in any store that fsspec speaks to: S3, GCS, HDFS, memory, zip archives.

Only asked ranges are fetched. What fails for a moment (a connection that breaks, an error of the server, an answer that
takes too long) is asked again a few times; what is refused is not. How long one answer may take is the store's own
setting, such as s3fs's ``config_kwargs={"read_timeout": 5}``.

A chained URL, ``zip://model.ckpt::s3://bucket/models.zip``, is called ``zip://model.ckpt`` inside its store.
"""

from __future__ import annotations

import contextlib
import datetime
import os
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Final, TypeVar

from coldframe.errors import AccessError, MisuseError, NotFoundError, StoreError, TruncatedError, near_names
from coldframe.formats.stores import Options, Store

T = TypeVar("T")

_PAUSES: Final = (0.1, 0.4, 1.6)
"""How long to wait before asking again, in seconds."""

_NO_FOLDERS: Final = {"s3", "gs", "abfs", "memory"}
"""Stores whose folders are the beginnings of names; making one might make a bucket."""

_REFUSED: Final = {
    "NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError", "DefaultCredentialsError",
    "TokenRetrievalError", "ClientAuthenticationError", "RefreshError",
}  # fmt: skip
"""Names of exceptions of stores' clients that say the same as `PermissionError`."""


def connect(url: str, options: Options) -> tuple[Store, str]:
    """Return the store that a URL names, and what the URL is called there; raises as `stores.place`."""
    try:
        import fsspec
    except ImportError as e:
        raise MisuseError(
            f"`{url}` is read through fsspec, which is not installed", hint="pip install 'coldframe[remote]'"
        ) from e
    first, _, rest = url.partition("::")
    if rest and "://" not in first:  # filecache::s3://...: the name is the other's
        first = rest.partition("::")[0]
    try:
        system, _ = fsspec.core.url_to_fs(url, **options)
    except ImportError as e:
        raise MisuseError(f"`{url}` needs a package that is not installed", hint=str(e)) from e
    except ValueError as e:
        raise MisuseError(f"`{url}` names no store that fsspec knows", hint=str(e)) from e
    except Exception as e:
        raise told(e, url) from e
    scheme, _, name = first.partition("://")
    return RemoteStore(system), f"{scheme}://{name.rstrip('/')}"


class RemoteStore:
    """A file system of fsspec; see `Store`. Paths keep their ``scheme://``."""

    def __init__(self, system: Any) -> None:
        self._system = system

    def join(self, folder: str, name: str) -> str:
        return f"{folder}{name}" if folder.endswith("/") else f"{folder}/{name}"

    def split(self, path: str) -> tuple[str, str]:
        scheme, _, rest = path.partition("://")
        folder, _, name = rest.rpartition("/")
        return f"{scheme}://{folder}", name

    def is_file(self, path: str) -> bool:
        try:
            return str(self._info(path)["type"]) == "file"
        except NotFoundError:
            return False

    def is_folder(self, path: str) -> bool:
        try:
            return str(self._info(path)["type"]) == "directory"
        except NotFoundError:
            return False

    def names(self, folder: str) -> list[str]:
        try:
            listed = self._ask(folder, lambda p: self._system.ls(p, detail=True, refresh=True))
        except NotFoundError:
            return []
        return sorted(e["name"].rstrip("/").rpartition("/")[2] for e in listed if e["type"] == "file")

    def folders(self, top: str) -> list[str]:
        listed = self._ask(top, lambda p: self._system.ls(p, detail=True, refresh=True))
        below = sorted(e["name"].rstrip("/").rpartition("/")[2] for e in listed if e["type"] == "directory")
        return [top, *(f for name in below for f in self.folders(self.join(top, name)))]

    def size(self, path: str) -> int:
        return int(self._info(path)["size"])

    def modified(self, path: str) -> float:
        try:
            info = self._info(path)
        except NotFoundError:
            return 0.0
        for key in ("LastModified", "mtime", "modified", "updated", "last_modified", "created", "date_time"):
            if (found := _seconds(info.get(key))) is not None:
                return found
        return 0.0

    def open(self, path: str) -> RemoteFile:
        return RemoteFile(self, path, int(self._info(path)["size"]))

    def read(self, path: str) -> bytes:
        return bytes(self._ask(path, self._system.cat_file))

    def fetch(self, path: str, start: int, stop: int) -> bytes:
        """Return the bytes `start` to `stop` of a file."""
        return bytes(self._ask(path, lambda p: self._system.cat_file(p, start=start, end=stop)))

    def replace(self, path: str, data: bytes) -> None:
        self._ask(path, lambda p: self._system.pipe_file(p, data))

    def upload(self, local: str, path: str) -> None:
        """Copy a file of this machine into the store, piece by piece, and see that all of it is there."""
        self._ask(path, lambda p: self._system.put_file(local, p))
        sent, there = os.path.getsize(local), int(self._info(path)["size"])
        if there != sent:
            raise StoreError(f"`{path}` arrived in another size", expected=f"{sent} bytes", found=there)

    def remove(self, path: str) -> None:
        with contextlib.suppress(NotFoundError):
            self._ask(path, self._system.rm_file)

    def locked(self, folder: str) -> AbstractContextManager[None]:
        del folder  # object stores have no locks
        return contextlib.nullcontext()

    def make_folder(self, folder: str) -> None:
        protocol = self._system.protocol
        if _NO_FOLDERS.isdisjoint((protocol,) if isinstance(protocol, str) else protocol):
            self._ask(folder, lambda p: self._system.makedirs(p, exist_ok=True))

    def _info(self, path: str) -> dict[str, Any]:
        def ask(inner: str) -> dict[str, Any]:
            self._system.invalidate_cache(self._system._parent(inner))  # another process may have written since
            return dict(self._system.info(inner))

        return self._ask(path, ask)

    def _ask(self, path: str, call: Callable[[str], T]) -> T:
        inner = self._system._strip_protocol(path)
        for pause in (*_PAUSES, None):
            try:
                return call(inner)
            except FileNotFoundError:
                raise NotFoundError(f"no file `{path}`", hint=self._hint(path)) from None
            except Exception as e:
                if pause is None or not _may_pass(e):
                    raise told(e, path) from e
            time.sleep(pause)
        raise AssertionError("the last attempt returns or raises")

    def _hint(self, path: str) -> str:
        folder, name = self.split(path)
        try:
            found = self._system.ls(self._system._strip_protocol(folder), detail=False)
        except Exception:  # a hint is not worth another error
            return ""
        return near_names(name, (str(f).rpartition("/")[2] for f in found))


class RemoteFile:
    """A file in a store, read by ranges; see `sources.Source`."""

    def __init__(self, store: RemoteStore, path: str, size: int) -> None:
        self._store, self._path, self._size = store, path, size

    @property
    def size(self) -> int:
        return self._size

    def read(self, offset: int, size: int) -> memoryview:
        if not size:
            return memoryview(b"")
        data = self._store.fetch(self._path, offset, offset + size)
        if len(data) != size:
            raise TruncatedError(
                "file has become shorter",
                where=f"at byte {offset} in {self._path}",
                expected=f"{size} bytes",
                found=len(data),
            )
        return memoryview(data)

    def read_into(self, offset: int, target: memoryview) -> None:
        target[:] = self.read(offset, len(target))

    def close(self) -> None:
        pass  # nothing is held


def told(error: Exception, path: str) -> StoreError:
    """Return the error that tells what a store's client raised."""
    text = f"{type(error).__name__}: {error}"
    if isinstance(error, PermissionError) or type(error).__name__ in _REFUSED:
        return AccessError(
            f"access to `{path}` was refused",
            found=text,
            hint="check the credentials: the environment's, the store's configuration, or storage_options=",
        )
    return StoreError(f"the store of `{path}` did not do what it was asked", found=text)


def _may_pass(error: Exception) -> bool:
    """Whether another attempt may succeed: not where the store, or its client, refuses."""
    refused = (PermissionError, IsADirectoryError, NotADirectoryError, FileExistsError, ValueError, TypeError)
    return not isinstance(error, (*refused, NotImplementedError)) and type(error).__name__ not in _REFUSED


def _seconds(value: Any) -> float | None:
    if isinstance(value, datetime.datetime):
        return value.timestamp()
    if isinstance(value, int | float):
        return float(value)
    if isinstance(value, tuple) and len(value) == 6:  # of a zip archive, in whatever zone it was made
        return datetime.datetime(*value).timestamp()
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            return datetime.datetime.fromisoformat(value).timestamp()
    return None
