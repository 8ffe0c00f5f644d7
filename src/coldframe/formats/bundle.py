"""V2 checkpoints, "tensor bundles", for reading.

::

    <prefix>.index                 a sorted table (see `sstable`): "" -> header, name -> entry, slice key -> entry
    <prefix>.data-00000-of-00002   tensors one behind the other, row-major, packed without alignment
    <prefix>.data-00001-of-00002

The index says where each tensor lies; a partitioned tensor's entry lists slices instead, each with an entry of its own
under its slice key (see `ordered_code`). Files are memory-mapped, and entries decoded when asked for, so that opening
costs the same for ten and for a hundred thousand tensors. Follows
tensorflow/core/util/tensor_bundle/tensor_bundle.cc; `bundle_writer` is the other half.
"""

from __future__ import annotations

import bisect
import functools
import os
from collections.abc import ItemsView, Iterable, Iterator, Mapping, Sequence, ValuesView
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from coldframe import dtypes
from coldframe.dtypes import DType
from coldframe.errors import CorruptError, NotFoundError, UnsupportedAttributeError
from coldframe.formats.bundle_data import DataFiles
from coldframe.formats.bundle_entries import Columns, decode_entries
from coldframe.formats.bundle_entry import Entry, Header, decode_entry
from coldframe.formats.bundle_restore import read_into, read_views, sorted_out
from coldframe.formats.checkpoint_file import (
    CHUNK_BYTES,
    assemble,
    even_chunks,
    no_such_slice,
    no_such_tensor,
    requested_box,
)
from coldframe.formats.ordered_code import encode_slice_key
from coldframe.formats.parallel import default_threads
from coldframe.formats.slices import Box, TensorSlice, require_cover, row_blocks
from coldframe.formats.sources import Opener, open_mapped
from coldframe.formats.sstable import Table
from coldframe.shapes import Shape, TensorSpec

_FIRST: Final = b"\1"  # no tensor's key is less: a slice's starts with a zero byte, the header's is empty


def index_path(prefix: str | os.PathLike[str]) -> Path:
    """Return the index file of the bundle called `prefix`."""
    return Path(f"{os.fspath(prefix)}.index")


def data_path(prefix: str | os.PathLike[str], shard: int, num_shards: int) -> Path:
    """Return a data file of the bundle called `prefix`."""
    return Path(f"{os.fspath(prefix)}.data-{shard:05d}-of-{num_shards:05d}")


class BundleReader:
    """A V2 checkpoint open for reading; see `CheckpointFile` for its methods.

    Arrays may be read-only views of the mapped file. Writers replace checkpoint files by renaming, which leaves such
    views whole; a program that truncates a data file in place breaks them.

    Args:
        prefix: the checkpoint's path, without ``.index``.
        verify: whether to check CRCs: of index blocks when they are read, of tensors when they are.
        opener: opens the files, by names that begin with `prefix`; local files are mapped.

    Raises:
        NotFoundError: there is no index file.
        CorruptError: the index is damaged.
        UnsupportedFormatError: the bundle demands a newer reader.
    """

    version: Final = "V2"

    def __init__(self, prefix: str | os.PathLike[str], *, verify: bool = True, opener: Opener = open_mapped) -> None:
        self.prefix = os.fspath(prefix)
        self._verify = verify
        path = f"{self.prefix}.index"
        self._where = f"in {path}"
        try:
            index = opener(path)
        except NotFoundError:
            raise NotFoundError(f"no checkpoint is called `{self.prefix}`", expected=f"a file {path}") from None
        try:
            self._table = Table(index.read(0, index.size), where=self._where, verify=verify)
        finally:
            index.close()
        header = self._table.get(b"")
        if header is None:
            raise CorruptError("no bundle header", where=self._where, expected="an entry under the empty key")
        self.header = Header.decode(header, where=self._where)
        self._shapes: dict[bytes, tuple[int, ...]] = {}
        self._known_shapes: dict[tuple[int, ...], Shape] = {}
        self._data = DataFiles(self.prefix, self.header.num_shards, self.header.endianness, opener, where=self._where)

    @property
    def files(self) -> tuple[Path, ...]:
        """The index, then the data files."""
        n = self.header.num_shards
        return (index_path(self.prefix), *(data_path(self.prefix, i, n) for i in range(n)))

    @functools.cached_property
    def specs(self) -> Mapping[str, TensorSpec]:
        """Name, dtype and full shape of each tensor, sorted by name; no data file is opened for it.

        Names are decoded at once, the rest when asked for, and damage of an entry is found then.
        """
        return _Specs(self)

    @functools.cached_property
    def names(self) -> list[str]:
        """The tensors' names, sorted."""
        keys = [key for key, _ in self._table]
        first = bisect.bisect_left(keys, _FIRST)  # behind the header and the slices
        return [key.decode("utf-8", "surrogateescape") for key in keys[first:]]

    def __contains__(self, name: str, /) -> bool:
        return self._find(name) is not None

    def entry(self, name: str) -> Entry:
        """Return where and how tensor `name` is stored; raise `NotFoundError`."""
        value = self._find(name)
        if value is None:
            raise no_such_tensor(name, self.names, self._where)
        return decode_entry(value, self._shapes, name=name, where=self._where)

    def _columns(self, names: Sequence[str]) -> Columns:
        """Return the entries of many tensors, left open for those that are not found."""
        keys = [name.encode("utf-8", "surrogateescape") for name in names]
        values = [value or b"" for value in self._table.get_many(keys)]
        if min(keys, default=_FIRST) < _FIRST:
            values = [value if key >= _FIRST else b"" for key, value in zip(keys, values, strict=True)]
        return decode_entries(values, self._shapes)

    def _find(self, name: str) -> bytes | None:
        key = name.encode("utf-8", "surrogateescape")
        return self._table.get(key) if key >= _FIRST else None  # below are the header and the slices

    def _spec(self, name: str) -> TensorSpec | None:
        value = self._find(name)
        if value is None:
            return None
        entry = decode_entry(value, self._shapes, name=name, where=self._where)
        shape = self._known_shapes.get(entry.shape)
        if shape is None:
            shape = self._known_shapes[entry.shape] = Shape(entry.shape)
        return TensorSpec(name, self._data.dtype(name, entry), shape)

    def slices(self, name: str) -> tuple[TensorSlice, ...]:
        """Return the slices that tensor `name` is stored in; see `CheckpointFile.slices`."""
        return self.entry(name).slices

    def _slice_entry(self, key: bytes, name: str) -> Entry:
        value = self._table.get(key)
        if value is None:
            raise CorruptError("a slice is listed but not stored", where=f"of tensor `{name}` {self._where}")
        return decode_entry(value, self._shapes, name=name, where=self._where)

    def read(self, name: str, *, verify: bool | None = None) -> npt.NDArray[Any]:
        """Return tensor `name`; see `CheckpointFile.read`."""
        entry = self.entry(name)
        verify = self._verify if verify is None else verify
        if entry.slices:
            return self._read_sliced(name, entry, Box.whole(entry.shape), verify)
        return self._data.read(name, entry, verify)

    def read_many(
        self,
        names: Iterable[str],
        *,
        into: Mapping[str, npt.NDArray[Any]] | None = None,
        copy: bool = False,
        verify: bool | None = None,
        threads: int | None = None,
    ) -> dict[str, npt.NDArray[Any]]:
        """Return tensors, read and checked in parallel; see `CheckpointFile.read_many`."""
        verify = self._verify if verify is None else verify
        threads = default_threads() if threads is None else threads
        names = list(dict.fromkeys(names))
        plain, others = sorted_out(self._data, names, self._columns(names), self.entry, into)
        # All bytes are known to be there now, so that arrays may be allocated for them.
        if into is not None or copy:
            targets = into or {
                name: np.empty(kind.shape, kind.dtype.numpy)
                for name, kind in zip(plain.names, plain.kinds, strict=True)
            }
            found = read_into(self._data, plain, targets, verify, threads)
        else:
            found = read_views(self._data, plain, verify, threads)
        for name in others:
            value = self.read(name, verify=verify)
            if into is not None:
                into[name][...] = value
                value = into[name]
            found[name] = value if value.flags.writeable or not copy else value.copy()
        return {name: found[name] for name in names}

    def read_slice(self, name: str, starts: Sequence[int], sizes: Sequence[int]) -> npt.NDArray[Any]:
        """Return a region of tensor `name`; see `CheckpointFile.read_slice`."""
        entry = self.entry(name)
        wanted = requested_box(name, entry.shape, starts, sizes)
        if entry.slices:
            return self._read_sliced(name, entry, wanted, self._verify)
        return self._data.read_region(name, entry, Box.whole(entry.shape), wanted, self._verify)

    def chunks(
        self, name: str, *, chunk_bytes: int = CHUNK_BYTES, verify: bool | None = None
    ) -> Iterator[npt.NDArray[Any]]:
        """Yield the elements of tensor `name` piece by piece; see `CheckpointFile.chunks`."""
        entry = self.entry(name)
        verify = self._verify if verify is None else verify
        if entry.slices:
            width = self._data.dtype(name, entry).width or 8
            pieces = self._sliced_chunks(name, entry, chunk_bytes, verify)
            yield from even_chunks(pieces, max(1, chunk_bytes // width))
        else:
            yield from self._data.stream(name, entry, chunk_bytes, verify)

    def slice_chunks(
        self, name: str, part: TensorSlice, *, chunk_bytes: int = CHUNK_BYTES, verify: bool | None = None
    ) -> Iterator[npt.NDArray[Any]]:
        """Yield the elements of a stored slice piece by piece; see `CheckpointFile.slice_chunks`."""
        entry = self.entry(name)
        if part not in entry.slices:
            raise no_such_slice(name, part, entry.slices)
        _, stored = self._stored_slices(name, entry)[entry.slices.index(part)]
        yield from self._data.stream(name, stored, chunk_bytes, self._verify if verify is None else verify)

    def verify(self, name: str) -> None:
        """Check the CRC of each byte of tensor `name`; raise `CorruptError`."""
        entry = self.entry(name)
        for part in [e for _, e in self._stored_slices(name, entry)] if entry.slices else [entry]:
            for _ in self._data.stream(name, part, CHUNK_BYTES, verify=True):
                pass

    def close(self) -> None:
        """Let go of the files. Arrays that were read stay valid."""
        self._data.close()

    def _stored_slices(self, name: str, entry: Entry) -> list[tuple[Box, Entry]]:
        where = f"of tensor `{name}` {self._where}"
        found = []
        for part in entry.slices:
            box = part.resolve(entry.shape, where=where)
            stored = self._slice_entry(encode_slice_key(name, part.starts, part.lengths), name)
            if stored.shape != box.sizes or stored.dtype != entry.dtype or stored.slices:
                raise CorruptError(
                    f"slice `{part}` does not fit its tensor",
                    where=where,
                    expected=f"dtype {entry.dtype}, shape {list(box.sizes)}",
                    found=f"dtype {stored.dtype}, shape {list(stored.shape)}",
                )
            found.append((box, stored))
        return found

    def _read_sliced(self, name: str, entry: Entry, wanted: Box, verify: bool) -> npt.NDArray[Any]:
        stored = self._stored_slices(name, entry)
        for box, part in stored:
            if wanted.intersect(box) is not None:
                self._data.check(name, part)

        def read_part(i: int, region: Box) -> npt.NDArray[Any]:
            box, part = stored[i]
            return self._data.read_region(name, part, box, region, verify)

        dtype = self._data.dtype(name, entry).numpy
        return assemble(name, dtype, wanted, [box for box, _ in stored], read_part, where=self._where)

    def _sliced_chunks(self, name: str, entry: Entry, chunk_bytes: int, verify: bool) -> Iterator[npt.NDArray[Any]]:
        stored = sorted(self._stored_slices(name, entry), key=lambda s: s[0].starts)
        whole = Box.whole(entry.shape)
        require_cover(whole, [box for box, _ in stored], name=name, where=self._where)
        if all(box.sizes[1:] == entry.shape[1:] for box, _ in stored):  # stacked: one behind the other is the order
            for _, part in stored:
                yield from self._data.stream(name, part, chunk_bytes, verify)
            return
        if verify:
            self.verify(name)
        width = max(1, self._data.dtype(name, entry).width)
        for box in row_blocks(whole, max(1, chunk_bytes // width)):
            yield self._read_sliced(name, entry, box, verify=False).reshape(-1)


def _known_dtype(number: int) -> DType | None:
    try:
        return dtypes.from_enum(number)
    except UnsupportedAttributeError:
        return None


class _Specs(Mapping[str, TensorSpec]):
    """The specs of a bundle, each decoded when it is asked for."""

    __slots__ = ("_known", "_reader")

    def __init__(self, reader: BundleReader) -> None:
        self._reader = reader
        self._known: dict[str, TensorSpec] = {}

    def __getitem__(self, name: str) -> TensorSpec:
        spec = self._known.get(name)
        if spec is None:
            spec = self._reader._spec(name)
            if spec is None:
                raise KeyError(name)
            self._known[name] = spec
        return spec

    def items(self) -> ItemsView[str, TensorSpec]:
        self._decode_all()
        return super().items()

    def values(self) -> ValuesView[TensorSpec]:
        self._decode_all()
        return super().values()

    def _decode_all(self) -> None:
        """Decode what is as writers put it all at once; what is left is decoded, or refused, when it is asked for."""
        names = self._reader.names
        if len(self._known) == len(names):
            return
        kinds = self._reader._columns(names).kinds
        known = {kind: (dtype, Shape(kind[1])) for kind in set(kinds) if kind and (dtype := _known_dtype(kind[0]))}
        for name, kind in zip(names, kinds, strict=True):
            if kind in known and name not in self._known:
                self._known[name] = TensorSpec(name, *known[kind])

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name in self._reader

    def __iter__(self) -> Iterator[str]:
        return iter(self._reader.names)

    def __len__(self) -> int:
        return len(self._reader.names)

    def __repr__(self) -> str:
        return f"<specs of {len(self)} tensors>"
