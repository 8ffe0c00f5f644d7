"""V1 checkpoints, the format before tensor bundles, for reading.

::

    <prefix>, or <prefix>-00000-of-00002 and so on: each a sorted table (see `sstable`)
    ""         -> SavedTensorSlices{meta: SavedTensorSliceMeta{tensor: SavedSliceMeta{name, shape, type, slice...}}}
    slice key  -> SavedTensorSlices{data: SavedSlice{name, slice, data: TensorProto with only the typed values}}

Every tensor is stored as slices, a whole one as the slice that is full in each dimension. Values are protected by the
CRC of the table's block. Follows tensorflow/core/util/saved_tensor_slice.proto and tensor_slice_reader.cc.
"""

from __future__ import annotations

import functools
import math
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from coldframe import dtypes
from coldframe.errors import CorruptError, NotFoundError, UnsupportedFormatError
from coldframe.formats import files, messages
from coldframe.formats.checkpoint_file import (
    CHUNK_BYTES,
    assemble,
    flat_chunks,
    no_such_slice,
    no_such_tensor,
    requested_box,
    require_fit,
)
from coldframe.formats.ordered_code import encode_slice_key
from coldframe.formats.slices import FULL, Box, TensorSlice
from coldframe.formats.sstable import Table
from coldframe.formats.stores import LOCAL, Store
from coldframe.records import dataclass
from coldframe.shapes import TensorSpec

_CHECKPOINT_VERSION: Final = 1  # TF_CHECKPOINT_VERSION
_MAX_RANK: Final = 64
_SHARD_NAME: Final = re.compile(r"-(\d{5})-of-(\d{5})")
_ALL_SHARDS: Final = re.compile(r"-\?{5}-of-(\d{5})$")
VALUE_FIELDS: Final = {
    dtypes.float32: "float_val",
    dtypes.float64: "double_val",
    dtypes.int64: "int64_val",
    dtypes.uint32: "uint32_val",
    dtypes.uint64: "uint64_val",
    dtypes.bool_: "bool_val",
    dtypes.string: "string_val",
    dtypes.complex64: "scomplex_val",
    dtypes.complex128: "dcomplex_val",
    dtypes.float16: "half_val",
    dtypes.bfloat16: "half_val",
} | dict.fromkeys(
    [d for d in dtypes.ALL if d.kind == "q" or d.name in ("int32", "int16", "int8", "uint16", "uint8")], "int_val"
)


@dataclass(slots=True)
class _Stored:
    """A tensor: its spec, and in which table each of its slices lies."""

    spec: TensorSpec
    shape: tuple[int, ...]
    slices: list[tuple[TensorSlice, Table]]


def v1_files(prefix: str | os.PathLike[str], *, missing_ok: bool = False) -> tuple[Path, ...]:
    """Return the files of the V1 checkpoint called `prefix`, or none where there is no such checkpoint.

    TensorFlow names a sharded one by its pattern, ``model.ckpt-?????-of-00002``; ``model.ckpt`` will do too.

    Args:
        prefix: its path; see above.
        missing_ok: whether to return the shards that are there where some are missing.

    Raises:
        NotFoundError: some of its shards are missing.
    """
    return tuple(map(Path, v1_names(os.fspath(prefix), missing_ok=missing_ok)))


def v1_names(prefix: str, store: Store = LOCAL, *, missing_ok: bool = False) -> tuple[str, ...]:
    """Return the paths of the files of the V1 checkpoint called `prefix` in any store; see `v1_files`."""
    if store.is_file(prefix):
        return (prefix,)
    folder, name = store.split(prefix)
    pattern = _ALL_SHARDS.search(name)
    if pattern:
        name = name[: pattern.start()]
    if not name or (store is LOCAL and not os.path.isdir(folder or ".")):
        return ()  # shards of nothing, or a name too long for the system
    shards = {
        n: match[2]
        for n in store.names(folder)
        if n.startswith(name) and (match := _SHARD_NAME.fullmatch(n[len(name) :]))
    }
    if not shards:
        return ()
    count = int(pattern[1] if pattern else max(shards.values()))
    wanted = [f"{name}-{i:05d}-of-{count:05d}" for i in range(count)]
    lost = [store.join(folder, n) for n in wanted if n not in shards]
    if lost and not missing_ok:
        shown = ", ".join(lost[:5]) + (", ..." if len(lost) > 5 else "")
        path = store.join(folder, name)
        raise NotFoundError(f"shard of checkpoint `{path}` is missing", expected=f"a file {shown}")
    return tuple(store.join(folder, n) for n in wanted if n in shards)


class V1Reader:
    """A V1 checkpoint open for reading; see `CheckpointFile` for its methods.

    Args:
        prefix: the checkpoint's path: the file itself, or what its shards' names have in common.
        verify: whether to check the CRCs of the blocks that are read.
        store: where it is.

    Raises:
        NotFoundError: there is no such file.
        WrongFileError: the file is not a sorted table.
        CorruptError: it is damaged.
    """

    version: Final = "V1"

    def __init__(self, prefix: str | os.PathLike[str], *, verify: bool = True, store: Store = LOCAL) -> None:
        self.prefix = os.fspath(prefix)
        self._where = f"in {self.prefix}"
        names = v1_names(self.prefix, store)
        if not names:
            raise files.missing(self.prefix) if store is LOCAL else NotFoundError(f"no file `{self.prefix}`")
        self.files = tuple(map(Path, names))
        self._stored: dict[str, _Stored] = {}
        for path in names:
            source = store.open(path)
            try:
                table = Table(source.read(0, source.size), where=f"in {path}", verify=verify)
            finally:
                source.close()
            self._read_meta(table, f"in {path}")

    def _read_meta(self, table: Table, where: str) -> None:
        raw = table.get(b"")
        if raw is None:
            raise CorruptError("no checkpoint metadata", where=where, expected="an entry under the empty key")
        meta = messages.parse("SavedTensorSlices", raw, where=where).meta
        check_versions(meta, where)
        for tensor in meta.tensor:
            self._add(tensor, table, where)

    def _add(self, tensor: Any, table: Table, where: str) -> None:
        shape = tuple(int(d.size) for d in tensor.shape.dim)
        bad_shape = tensor.shape.unknown_rank or any(d < 0 for d in shape) or len(shape) > _MAX_RANK
        if bad_shape or math.prod(d or 1 for d in shape) >= 1 << 59:
            raise CorruptError("impossible shape", where=f"of tensor `{tensor.name}` {where}", found=list(shape))
        spec = TensorSpec.of(tensor.name, dtypes.from_enum(tensor.type), shape)
        stored = self._stored.setdefault(tensor.name, _Stored(spec, shape, []))
        if stored.spec != spec:
            raise CorruptError(
                "shards contradict each other",
                where=f"on tensor `{tensor.name}` {where}",
                expected=stored.spec,
                found=spec,
            )
        for part in tensor.slice:
            stored.slices.append((slice_of(part), table))

    @functools.cached_property
    def specs(self) -> Mapping[str, TensorSpec]:
        """Name, dtype and full shape of each tensor, sorted by name."""
        return {name: self._stored[name].spec for name in sorted(self._stored)}

    def __contains__(self, name: str, /) -> bool:
        return name in self._stored

    def read(self, name: str, *, verify: bool | None = None) -> npt.NDArray[Any]:
        """Return tensor `name`; see `CheckpointFile.read`. Checks are those that the file was opened with."""
        return self._read(name, Box.whole(self._find(name).shape))

    def read_many(
        self,
        names: Iterable[str],
        *,
        into: Mapping[str, npt.NDArray[Any]] | None = None,
        copy: bool = False,
        verify: bool | None = None,
        threads: int | None = None,
    ) -> dict[str, npt.NDArray[Any]]:
        """Return tensors, one after the other; see `CheckpointFile.read_many`."""
        found = {}
        for name in names:
            value = self.read(name, verify=verify)
            if into is None:
                found[name] = value
                continue
            require_fit(name, self._find(name).spec.dtype, value.shape, into[name])
            into[name][...] = value
            found[name] = into[name]
        return found

    def read_slice(self, name: str, starts: Sequence[int], sizes: Sequence[int]) -> npt.NDArray[Any]:
        """Return a region of tensor `name`; stored slices are decoded whole."""
        return self._read(name, requested_box(name, self._find(name).shape, starts, sizes))

    def slices(self, name: str) -> tuple[TensorSlice, ...]:
        """Return the slices that tensor `name` is stored in, none where it is whole; see `CheckpointFile.slices`."""
        stored = self._find(name)
        parts = tuple(part for part, _ in stored.slices)
        return () if parts in ((TensorSlice.whole(len(stored.shape)),), (TensorSlice((), ()),)) else parts

    def chunks(
        self, name: str, *, chunk_bytes: int = CHUNK_BYTES, verify: bool | None = None
    ) -> Iterator[npt.NDArray[Any]]:
        """Yield the elements of tensor `name`, which is decoded whole first; see `CheckpointFile.chunks`."""
        yield from flat_chunks(self.read(name, verify=verify), chunk_bytes)

    def slice_chunks(
        self, name: str, part: TensorSlice, *, chunk_bytes: int = CHUNK_BYTES, verify: bool | None = None
    ) -> Iterator[npt.NDArray[Any]]:
        """Yield the elements of a stored slice, which is decoded whole first; see `CheckpointFile.slice_chunks`."""
        if part not in self.slices(name):
            raise no_such_slice(name, part, self.slices(name))
        box = part.resolve(self._find(name).shape, where=f"of tensor `{name}` {self._where}")
        yield from flat_chunks(self._read(name, box), chunk_bytes)

    def verify(self, name: str) -> None:
        """Read tensor `name` and so check its blocks; raise `CorruptError`."""
        self.read(name)

    def close(self) -> None:
        """Let go of the files."""
        self._stored.clear()

    def _find(self, name: str) -> _Stored:
        try:
            return self._stored[name]
        except KeyError:
            raise no_such_tensor(name, self._stored, self._where) from None

    def _read(self, name: str, wanted: Box) -> npt.NDArray[Any]:
        stored = self._find(name)
        where = f"of tensor `{name}` {self._where}"
        boxes = [part.resolve(stored.shape, where=where) for part, _ in stored.slices]
        # Decoded before the result is allocated: a shape is only a claim until its values are there.
        values = {
            i: self._read_stored(stored.spec, part, boxes[i], table)
            for i, (part, table) in enumerate(stored.slices)
            if wanted.intersect(boxes[i]) is not None
        }

        def read_part(i: int, region: Box) -> npt.NDArray[Any]:
            return values[i] if region == boxes[i] else values[i][region.index(boxes[i])].copy()

        return assemble(name, stored.spec.dtype.numpy, wanted, boxes, read_part, where=self._where)

    def _read_stored(self, spec: TensorSpec, part: TensorSlice, box: Box, table: Table) -> npt.NDArray[Any]:
        where = f"of tensor `{spec.name}` {self._where}"
        raw = table.get(encode_slice_key(spec.name, part.starts, part.lengths))
        if raw is None:
            raise CorruptError("a slice is listed but not stored", where=where, found=f"slice `{part}`")
        data = messages.parse("SavedTensorSlices", raw, where=where).data
        if data.name != spec.name:
            raise CorruptError("a slice of another tensor is stored", where=where, found=f"`{data.name}`")
        field = VALUE_FIELDS.get(spec.dtype)
        if field is None:
            raise UnsupportedFormatError(f"{spec.dtype} tensors do not exist in V1 checkpoints", where=where)
        flat = decode_values(spec.dtype, getattr(data.data, field))
        if flat.size != box.volume:
            raise CorruptError(
                "slice holds another number of values", where=where, expected=box.volume, found=flat.size
            )
        return flat.reshape(box.sizes)


def check_versions(meta: Any, where: str) -> None:
    """Raise `UnsupportedFormatError` where a ``SavedTensorSliceMeta`` is not for this reader."""
    if meta.versions.min_consumer > _CHECKPOINT_VERSION or _CHECKPOINT_VERSION in meta.versions.bad_consumers:
        raise UnsupportedFormatError(
            "checkpoint is not for this reader",
            where=where,
            expected=f"consumers of version {_CHECKPOINT_VERSION}",
            found=f"at least version {meta.versions.min_consumer}",
        )


def slice_of(message: Any) -> TensorSlice:
    """Return what a ``TensorSliceProto`` means."""
    starts = tuple(int(e.start) for e in message.extent)
    lengths = tuple(int(e.length) if e.HasField("length") else FULL for e in message.extent)
    return TensorSlice(starts, lengths)


def decode_values(dtype: dtypes.DType, values: Any) -> npt.NDArray[Any]:
    """Return the typed values of a ``TensorProto`` as a flat array."""
    if dtype is dtypes.string:
        flat = np.empty(len(values), object)
        flat[:] = list(values)
        return flat
    if dtype in (dtypes.float16, dtypes.bfloat16):  # the bits, as integers
        return np.array(values, np.uint32).astype(np.uint16).view(dtype.numpy)
    if dtype.is_complex:  # pairs of real and imaginary part
        pairs = np.array(values, np.float32 if dtype is dtypes.complex64 else np.float64)
        return pairs[: pairs.size // 2 * 2].view(dtype.numpy)
    wide = {"i": np.int64, "u": np.uint64, "q": np.int64}.get(dtype.kind, dtype.numpy)
    return np.array(values, wide).astype(dtype.numpy, copy=False)
