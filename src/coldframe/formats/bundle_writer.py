"""V2 checkpoints, "tensor bundles", for writing; `bundle` has the picture.

::

    <prefix>.data-00000-of-00001.saving<random>   written as tensors arrive (see `data_file`), synced
    <prefix>.index.saving<random>                 written at the end, synced
    rename data files, rename the index (the commit); see `bundle_commit`

The bytes are TensorFlow's for the same tensors in the same order: ``BundleWriter::Add`` and ``AddSlice``, and for
several shards what ``MergeBundles`` makes of one bundle per shard.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import math
import os
import secrets
import sys
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from coldframe import dtypes
from coldframe.errors import MisuseError
from coldframe.formats import bundle_commit, crc32c, files
from coldframe.formats.bundle import data_path, index_path
from coldframe.formats.bundle_entries import encode_entries
from coldframe.formats.bundle_entry import Entry, Header
from coldframe.formats.bundle_strings import write_strings, write_variants
from coldframe.formats.data_file import BATCH_BYTES, DataFile
from coldframe.formats.ordered_code import encode_slice_key
from coldframe.formats.parallel import default_threads
from coldframe.formats.slices import TensorSlice
from coldframe.formats.sstable import encode_table

_SIGN_EXTENDED: Final = (dtypes.int4, dtypes.int2)  # TensorFlow's files hold them as whole signed bytes
_FIRST_KEY: Final = b"\1"  # below are the keys of slices, and the header's
_COPIED: Final = 1 << 16  # bytes, below which a copy costs less than to wait until the system has them


class BundleWriter:
    """Writes a checkpoint, one tensor after the other, and commits it as a whole.

    Used as a context manager, it commits where the block ends, and leaves no trace where the block raises.

    Args:
        prefix: the checkpoint's path, without ``.index``; its folder is made.
        shards: how many data files to write.
    """

    def __init__(self, prefix: str | os.PathLike[str], *, shards: int = 1) -> None:
        if not 1 <= shards <= 99999:
            raise MisuseError("a checkpoint has 1 to 99999 shards", found=shards)
        self.prefix = os.fspath(prefix)
        if not os.path.basename(self.prefix):
            raise MisuseError("a checkpoint needs a name", expected="`folder/name`", found=f"`{self.prefix}`")
        self._entries: dict[bytes, Entry] = {}
        self._suffix = f".saving{secrets.token_hex(8)}"
        self._shards: list[DataFile] = []
        threads = 1 if sys.platform == "win32" else min(shards, default_threads())
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="coldframe-save")
        files.make_folder(index_path(self.prefix).parent)
        try:
            for i in range(shards):
                final = data_path(self.prefix, i, shards)
                self._shards.append(DataFile(final.with_name(final.name + self._suffix), self._pool))
        except BaseException:
            self.abort()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.finish()
        else:
            self.abort()

    def add(
        self,
        name: str,
        value: npt.ArrayLike,
        *,
        dtype: dtypes.DType | None = None,
        shard: int = 0,
        borrow: bool = False,
    ) -> None:
        """Write a tensor.

        Args:
            name: its name; each may be added once.
            value: its value; numpy's dtype counts, so Python floats are float64.
            dtype: where numpy's does not tell: quantized types; ``variant``, for serialized messages as bytes.
            shard: the data file to write to.
            borrow: whether the array stays as it is until `finish`. It need not be waited for then.
        """
        key = _name_key(name)
        if key in self._entries:
            raise MisuseError(f"tensor `{name}` is already in the checkpoint", where=f"`{self.prefix}`")
        self._entries[key] = self._write(name, value, dtype, shard, borrow)

    def add_all(
        self,
        tensors: Iterable[tuple[str, npt.ArrayLike]],
        *,
        dtype_of: Mapping[str, dtypes.DType] | None = None,
        shard: int = 0,
    ) -> None:
        """Write tensors that stay as they are until `finish`: as `add` does each, in less time for small ones.

        Args:
            tensors: names and values.
            dtype_of: dtypes by name where numpy's do not tell.
            shard: the data file to write to.
        """
        target, entries, known = self._shard("", shard), self._entries, dtype_of or {}
        append, crc_of, kinds = target.append_sized, crc32c.masked_array, dict[Any, int]()
        for name, value in tensors:
            dtype = known.get(name)
            if type(value) is np.ndarray and 0 < (size := value.nbytes) < _COPIED and value.flags.c_contiguous:
                kind = kinds.get(value.dtype)
                if kind is None:
                    kind = kinds[value.dtype] = _stored_as_held(value.dtype)
                key = name.encode("utf-8", "surrogateescape")
                if kind and key >= _FIRST_KEY and key not in entries and (dtype is None or dtype.enum == kind):
                    entries[key] = Entry(kind, value.shape, shard, target.size, size, crc_of(value))
                    append(value, size)
                    continue
            self.add(name, value, dtype=dtype, shard=shard, borrow=True)

    def add_chunks(
        self,
        name: str,
        shape: Iterable[int],
        chunks: Iterable[npt.NDArray[Any]],
        *,
        dtype: dtypes.DType,
        shard: int = 0,
    ) -> None:
        """Write a tensor that comes piece by piece, so that it need not fit into memory.

        Args:
            name: its name; each may be added once.
            shape: its shape.
            chunks: its elements in row-major order, as arrays of any shape; each is let go before the next is asked
                for.
            dtype: its dtype, and that of the chunks; a fixed-width one.
            shard: the data file to write to.

        Raises:
            MisuseError: the chunks hold another number of elements than `shape`, or another dtype. The tensor is not
                in the checkpoint then.
        """
        key, shape = _name_key(name), tuple(shape)
        if key in self._entries:
            raise MisuseError(f"tensor `{name}` is already in the checkpoint", where=f"`{self.prefix}`")
        self._entries[key] = self._write_chunks(name, shape, chunks, dtype, shard)

    def add_slice(
        self,
        name: str,
        shape: Iterable[int],
        part: TensorSlice,
        value: npt.ArrayLike,
        *,
        dtype: dtypes.DType | None = None,
        shard: int = 0,
        borrow: bool = False,
    ) -> None:
        """Write a slice of a partitioned tensor.

        Args:
            name: the name of the full tensor, whose slices are added one by one.
            shape: the shape of the full tensor.
            part: which slice.
            value: the slice's value.
            dtype: as for `add`.
            shard: the data file to write to.
            borrow: as for `add`.
        """
        shape, array = tuple(shape), np.asarray(value)
        sizes = self._sizes_of_slice(name, shape, part)
        if array.shape != sizes:
            raise MisuseError(
                f"slice `{part}` of `{name}` has another shape", expected=list(sizes), found=list(array.shape)
            )
        self._enter_slice(name, shape, part, self._write(name, array, dtype, shard, borrow))

    def add_slice_chunks(
        self,
        name: str,
        shape: Iterable[int],
        part: TensorSlice,
        chunks: Iterable[npt.NDArray[Any]],
        *,
        dtype: dtypes.DType,
        shard: int = 0,
    ) -> None:
        """Write a slice of a partitioned tensor that comes piece by piece; arguments as for `add_slice`, `add_chunks`.

        Raises:
            MisuseError: the chunks hold another number of elements than the slice, or another dtype.
        """
        shape = tuple(shape)
        sizes = self._sizes_of_slice(name, shape, part)
        self._enter_slice(name, shape, part, self._write_chunks(name, sizes, chunks, dtype, shard))

    def _sizes_of_slice(self, name: str, shape: tuple[int, ...], part: TensorSlice) -> tuple[int, ...]:
        """Return the shape of a slice; raise `MisuseError` where it cannot be added."""
        full = self._entries.get(_name_key(name))
        if full is not None and (not full.slices or full.shape != shape):
            found = f"slices of {list(full.shape)}" if full.slices else "a whole tensor"
            raise MisuseError(
                f"tensor `{name}` is already in the checkpoint", expected=f"slices of {list(shape)}", found=found
            )
        if encode_slice_key(name, part.starts, part.lengths) in self._entries:
            raise MisuseError(f"slice `{part}` of `{name}` is already in the checkpoint")
        return part.resolve(shape, where=f"of tensor `{name}`").sizes

    def _enter_slice(self, name: str, shape: tuple[int, ...], part: TensorSlice, entry: Entry) -> None:
        key = _name_key(name)
        full = self._entries.get(key)
        if full is not None and full.dtype != entry.dtype:
            raise MisuseError(f"slice `{part}` of `{name}` has another dtype", found=dtypes.from_enum(entry.dtype))
        self._entries[encode_slice_key(name, part.starts, part.lengths)] = entry
        earlier = full.slices if full is not None else ()
        self._entries[key] = Entry(entry.dtype, shape, slices=(*earlier, part))

    def _write_chunks(
        self, name: str, shape: tuple[int, ...], chunks: Iterable[npt.NDArray[Any]], dtype: dtypes.DType, shard: int
    ) -> Entry:
        if not dtype.width:
            raise MisuseError(f"{dtype} tensors cannot be written in chunks", where=f"`{name}`")
        target = self._shard(name, shard)
        start = target.size
        crc = 0
        for chunk in chunks:
            crc = _append(target, _file_bytes(_typed(name, chunk, dtype), dtype), crc, borrow=False)
        size = target.size - start
        if size != math.prod(shape) * dtype.width:
            raise MisuseError(
                f"chunks of `{name}` hold another number of elements",
                expected=f"{math.prod(shape)} for shape {list(shape)}",
                found=size // dtype.width,
            )
        return Entry(dtype.enum, shape, shard, start, size, crc32c.mask(crc))

    def _write(self, name: str, value: npt.ArrayLike, dtype: dtypes.DType | None, shard: int, borrow: bool) -> Entry:
        target = self._shard(name, shard)
        array = np.asarray(value)
        start = target.size
        if dtype is None:
            stored = _stored_as_held(array.dtype)
            if stored and 0 < array.nbytes < _COPIED and array.flags.c_contiguous:  # one of very many, perhaps
                crc = crc32c.masked_array(array)
                if borrow:
                    target.append_array(array)
                else:
                    target.append(array.tobytes())
                return Entry(stored, array.shape, shard, start, array.nbytes, crc)
            dtype = dtypes.from_numpy(array.dtype)
        if dtype.width:
            crc = _append(target, _file_bytes(_typed(name, array, dtype), dtype), 0, borrow)
        elif dtype is dtypes.string:
            _, crc = write_strings(_byte_strings(name, array), target.append)
        elif dtype is dtypes.variant:
            _, crc = write_variants(_byte_strings(name, array), target.append)
        else:
            raise MisuseError(f"{dtype} tensors cannot be saved", where=f"`{name}`")
        return Entry(dtype.enum, array.shape, shard, start, target.size - start, crc32c.mask(crc))

    def _shard(self, name: str, shard: int) -> DataFile:
        if not 0 <= shard < len(self._shards):
            raise MisuseError(
                "no such shard", where=f"for tensor `{name}`", expected=f"below {len(self._shards)}", found=shard
            )
        return self._shards[shard]

    def finish(self) -> None:
        """Commit the checkpoint: after this it is there as a whole, or an error says why not and nothing changed."""
        try:
            for shard in self._shards:
                shard.flush()
            keys = sorted(self._entries)  # meanwhile
            values = encode_entries([self._entries[key] for key in keys])
            index = _Index(keys, values, len(self._shards))
            for wait in [shard.finish() for shard in self._shards]:
                wait()
            bundle_commit.commit(self.prefix, [s.path for s in self._shards], lambda n: self._write_index(n, index))
        finally:
            self.abort()

    def _write_index(self, shards: int, entries: _Index) -> Path:
        """Write the index of a checkpoint of so many shards, and return its temporary name."""
        index = index_path(self.prefix)
        temporary = index.with_name(index.name + self._suffix)
        try:
            with temporary.open("xb") as file:
                file.write(entries.of_shards(shards))
                file.flush()
                os.fsync(file.fileno())
        except BaseException:
            files.discard(temporary)
            raise
        return temporary

    def abort(self) -> None:
        """Remove what was written and not committed; a checkpoint of that name is as it was."""
        for shard in self._shards:
            with contextlib.suppress(OSError):  # what was not written does not matter any more
                shard.close()
        for shard in self._shards:
            files.discard(shard.path)
        self._pool.shutdown()


class _Index:
    """The bytes of an index, put together for a number of shards before it is known that there are so many."""

    def __init__(self, keys: Sequence[bytes], values: Sequence[bytes], shards: int) -> None:
        self._keys, self._values = (b"", *keys), values
        self._likely = {shards: self._encode(shards)}

    def of_shards(self, shards: int) -> bytes:
        """Return the index of a checkpoint of so many shards."""
        return self._likely.get(shards) or self._encode(shards)

    def _encode(self, shards: int) -> bytes:
        return encode_table(self._keys, (Header(shards).encode(), *self._values))


def write_bundle(
    prefix: str | os.PathLike[str],
    tensors: Mapping[str, npt.ArrayLike],
    *,
    shards: int = 1,
    dtype_of: Mapping[str, dtypes.DType] | None = None,
) -> None:
    """Write a checkpoint of whole tensors, sorted by name, over `shards` files of about equal size.

    With one shard, both files are byte for byte those that TensorFlow's Saver writes.

    Args:
        prefix: the checkpoint's path, without ``.index``.
        tensors: arrays by name. Each is asked for when its turn comes, and let go when it is written; none may change
            before.
        shards: how many data files to write.
        dtype_of: dtypes of tensors whose numpy dtype does not tell, as for `BundleWriter.add`.
    """
    names = sorted(tensors, key=lambda n: n.encode("utf-8", "surrogateescape"))
    with BundleWriter(prefix, shards=shards) as writer:
        for shard, chosen in enumerate(_shares(names, tensors, shards)):
            writer.add_all(((name, tensors[name]) for name in chosen), dtype_of=dtype_of, shard=shard)


def _shares(names: Sequence[str], tensors: Mapping[str, npt.ArrayLike], shards: int) -> list[Sequence[str]]:
    """Cut the names into runs whose tensors take about the same room."""
    if shards == 1:
        return [names]
    sizes = [int(getattr(tensors[name], "nbytes", 0)) for name in names]
    share = max(1, -(-sum(sizes) // shards))
    before = itertools.accumulate(sizes, initial=0)
    shard_of = [min(written // share, shards - 1) for written, _ in zip(before, names, strict=False)]
    return [[n for n, s in zip(names, shard_of, strict=True) if s == shard] for shard in range(shards)]


def _name_key(name: str) -> bytes:
    key = name.encode("utf-8", "surrogateescape")
    if not key or key[0] == 0:
        raise MisuseError(
            "not a tensor's name", expected="a name that is not empty and starts with no zero byte", found=repr(name)
        )
    return key


@functools.lru_cache(256)
def _stored_as_held(dtype: np.dtype[Any]) -> int:
    """Return the DataType number whose elements memory holds as files do, 0 where they have to be converted."""
    swapped = dtype.byteorder == ">" or (dtype.byteorder == "=" and sys.byteorder == "big")
    found = dtypes.from_numpy(dtype)
    return 0 if swapped or not found.width or found in _SIGN_EXTENDED else found.enum


def _typed(name: str, array: npt.NDArray[Any], dtype: dtypes.DType) -> npt.NDArray[Any]:
    if array.dtype != dtype.numpy and array.dtype.newbyteorder("=") != dtype.numpy:
        raise MisuseError(f"tensor `{name}` is not {dtype}", expected=dtype.numpy, found=array.dtype)
    return array


def _file_bytes(array: npt.NDArray[Any], dtype: dtypes.DType) -> npt.NDArray[np.uint8]:
    """Return the array's bytes as files hold them; its own memory where that is possible."""
    if dtype in _SIGN_EXTENDED:
        array = array.astype(np.int8)
    if array.dtype.byteorder == ">" or (array.dtype.byteorder == "=" and sys.byteorder == "big"):
        array = array.astype(array.dtype.newbyteorder("<"))
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)


def _append(target: DataFile, data: npt.NDArray[np.uint8], crc: int, borrow: bool) -> int:
    """Append bytes; return the CRC that goes on from `crc` over them. Unless borrowed, they may change afterwards."""
    if data.size < _COPIED:
        target.append(data.data if borrow else data.tobytes())
        return crc32c.extend(crc, data)
    for at in range(0, data.size, BATCH_BYTES):
        piece = data[at : at + BATCH_BYTES]
        target.append(piece.data)  # first, so that it is written while its CRC is computed
        crc = crc32c.extend(crc, piece)
    if not borrow:
        target.wait()
    return crc


def _byte_strings(name: str, array: npt.NDArray[Any]) -> list[bytes]:
    found = array.reshape(-1).tolist()
    if set(map(type, found)) <= {bytes}:
        return found
    values = []
    for value in found:
        if isinstance(value, str):
            values.append(value.encode("utf-8", "surrogateescape"))
        elif isinstance(value, bytes):
            values.append(value)
        else:
            raise MisuseError(f"tensor `{name}` holds a {type(value).__name__}", expected="only str and bytes")
    return values
