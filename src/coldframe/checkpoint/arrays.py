"""Named arrays in a ``.npz`` archive or a folder of ``.npy`` files, written and read in chunks.

::

    layer/kernel.npy    a member of the archive, or a file below the folder
    tensors.json        {name: dtype} of what numpy has no dtype for; only where there is such a tensor

Names become paths: the parts of a name between slashes are folders. Characters that not every file system takes, and
parts such as ``..``, are written as %XX in a folder; in an archive, names stay as they are.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import json
import os
import secrets
import shutil
import struct
import urllib.parse
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
import numpy.typing as npt

from coldframe.errors import CorruptError, MisuseError, NotFoundError
from coldframe.formats import files
from coldframe.records import dataclass

_DTYPES: Final = "tensors.json"
_SAFE: Final = " !#$&'()+,;=@[]{}^~-_."
_CHUNK: Final = 1 << 20  # elements
Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Npy:
    """An array as a ``.npy`` file holds it.

    Attributes:
        name: its name.
        held: numpy's dtype.
        shape: its shape.
        dtype: TensorFlow's name for what the bits mean; None where `held` says it.
        read: yields its elements, flat, in row-major order.
    """

    name: str
    held: np.dtype[Any]
    shape: tuple[int, ...]
    dtype: str | None
    read: Callable[[], Iterator[Array]]


# --- writing ----------------------------------------------------------------------------------------------------
def write_npz(path: Path, items: Sequence[Npy]) -> None:
    """Write an archive, replacing what is there in one step; it is not compressed."""
    temporary = files.write_temporary(path, ())
    try:
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
            for item in items:
                member = zipfile.ZipInfo(f"{item.name}.npy")  # of 1980, so that equal tensors are equal bytes
                with archive.open(member, "w", force_zip64=True) as file:
                    _write_npy(file, item)
            if odd := {i.name: i.dtype for i in items if i.dtype is not None}:
                archive.writestr(zipfile.ZipInfo(_DTYPES), json.dumps(odd, indent=1))
        _sync(temporary)
    except BaseException:
        files.discard(temporary)
        raise
    files.commit(temporary, path)


def write_folder(path: Path, items: Sequence[Npy]) -> None:
    """Write a folder, which is there when it is complete; raise `MisuseError` where there is one already."""
    if path.exists():
        raise MisuseError("the folder exists already", where=f"`{path}`", expected="a new name")
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    temporary.mkdir()
    try:
        for item in items:
            target = temporary.joinpath(*map(_quoted, f"{item.name}.npy".split("/")))
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("xb") as file:
                _write_npy(file, item)
                file.flush()
                os.fsync(file.fileno())
        if odd := {i.name: i.dtype for i in items if i.dtype is not None}:
            files.write_atomic(temporary / _DTYPES, [json.dumps(odd, indent=1).encode()])
        os.rename(temporary, path)
        files.sync_folder(path.parent)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def _quoted(part: str) -> str:
    if not part.strip("."):
        return part.replace(".", "%2E") or "%"
    return urllib.parse.quote(part, safe=_SAFE, errors="surrogateescape")


def _unquoted(part: str) -> str:
    return "" if part == "%" else urllib.parse.unquote(part, errors="surrogateescape")


def _write_npy(file: IO[bytes], item: Npy) -> None:
    held = item.held.newbyteorder("<") if item.held.itemsize > 1 and item.held.kind != "S" else item.held
    fact = {"descr": np.lib.format.dtype_to_descr(held), "fortran_order": False, "shape": item.shape}
    np.lib.format.write_array_header_1_0(file, fact)
    for chunk in item.read():
        file.write(np.ascontiguousarray(chunk, held).reshape(-1).view(np.uint8).data)


def _sync(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


# --- reading ----------------------------------------------------------------------------------------------------
@contextlib.contextmanager
def open_arrays(path: Path) -> Iterator[list[Npy]]:
    """Open an archive or a folder; what it holds can be read inside the context.

    Raises:
        NotFoundError: there is none, or no array is in it.
        CorruptError: it is damaged.
    """
    if path.is_dir():
        yield _listed(_of_folder(path), _dtypes_of_folder(path), path)
        return
    files.open_file(path).close()  # says what is near where it is missing
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, NotImplementedError, ValueError, struct.error) as e:
        raise CorruptError("not a numpy archive", where=f"in {path}", found=str(e)) from e
    with archive:
        with _reading(f"in {path}"):
            told = _json(archive.read(_DTYPES), path) if _DTYPES in archive.namelist() else {}
        yield _listed(_of_archive(archive), told, path)


@contextlib.contextmanager
def _reading(where: str) -> Iterator[None]:
    """Tell of what `zipfile` and numpy raise for damaged files as our own errors do."""
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, struct.error, ValueError) as e:
        raise CorruptError("damaged archive", where=where, found=str(e) or type(e).__name__) from e
    except OSError as e:
        if e.errno != errno.EINVAL:  # a place before the beginning of the file
            raise
        raise CorruptError("damaged archive", where=where, found="a place that is not in it") from e


Open = Callable[[], contextlib.AbstractContextManager[IO[bytes]]]


def _of_folder(path: Path) -> Iterator[tuple[str, int, Open]]:
    for file in sorted(path.rglob("*.npy")):
        parts = file.relative_to(path).with_suffix("").parts
        yield "/".join(map(_unquoted, parts)), file.stat().st_size, _opener(file)


def _opener(path: Path) -> Open:
    return lambda: path.open("rb")


def _of_archive(archive: zipfile.ZipFile) -> Iterator[tuple[str, int, Open]]:
    for info in archive.infolist():
        if info.filename.endswith(".npy"):
            yield info.filename.removesuffix(".npy"), info.file_size, functools.partial(archive.open, info)


def _dtypes_of_folder(path: Path) -> dict[str, str]:
    file = path / _DTYPES
    return _json(file.read_bytes(), path) if file.is_file() else {}


def _json(text: bytes, path: Path) -> dict[str, str]:
    try:
        found = json.loads(text)
    except ValueError as e:
        raise CorruptError("dtypes are no JSON", where=f"in {_DTYPES} of {path}", found=str(e)) from None
    if not isinstance(found, dict) or not all(isinstance(v, str) for v in found.values()):
        raise CorruptError("dtypes are not names", where=f"in {_DTYPES} of {path}")
    return found


def _listed(found: Iterator[tuple[str, int, Open]], told: dict[str, str], path: Path) -> list[Npy]:
    items = [_npy(name, size, start, told.get(name), path) for name, size, start in found]
    if not items:
        raise NotFoundError(f"no arrays in `{path}`", expected=".npy files")
    return items


def _npy(name: str, size: int, start: Open, dtype: str | None, path: Path) -> Npy:
    where = f"of tensor `{name}` in {path}"
    with _reading(where), start() as file:
        shape, fortran, held = _header(file, where)
        at = file.tell()
    if held.hasobject or (held.kind not in "biufcS" and held.isbuiltin != 1):
        raise CorruptError("array of another kind", where=where, expected="numbers or bytes", found=str(held))
    count = int(np.prod(shape, dtype=object)) if shape else 1
    if at + count * held.itemsize != size:
        raise CorruptError("array of another size", where=where, expected=at + count * held.itemsize, found=size)

    def read() -> Iterator[Array]:
        with _reading(where), start() as file:
            file.seek(at)
            if fortran and len(shape) > 1:
                whole = np.frombuffer(file.read(count * held.itemsize), held).reshape(shape, order="F")
                yield _native(np.ascontiguousarray(whole).reshape(-1))
                return
            left = count if held.itemsize else 0
            while left:
                data = file.read(min(left, _CHUNK) * held.itemsize)
                if not data or len(data) % held.itemsize:
                    raise CorruptError("array ends too early", where=where)
                left -= len(data) // held.itemsize
                yield _native(np.frombuffer(data, held))

    return Npy(name, held.newbyteorder("=") if held.kind != "S" else held, shape, dtype, read)


def _native(array: Array) -> Array:
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def _header(file: IO[bytes], where: str) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    try:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, held = read(file)
    except (ValueError, OSError, zipfile.BadZipFile) as e:
        raise CorruptError("not a .npy file", where=where, found=str(e)) from e
    return shape, fortran, held
