"""Verifying a V2 checkpoint: its index, each entry, each data file, each tensor's bytes.

Everything is judged on its own, so that one problem does not hide another: entries of a damaged block are still looked
at, a tensor whose file is cut short does not end the walk. Tensors are read in chunks; the index alone is in memory.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from typing import Final

import numpy as np
import numpy.typing as npt

from coldframe import dtypes
from coldframe.checkpoint.report import Checked, Findings, told
from coldframe.checkpoint.select import matcher
from coldframe.errors import ColdframeError, CorruptError, UnsupportedAttributeError
from coldframe.formats import crc32c
from coldframe.formats.bundle_commit import TEMPORARY
from coldframe.formats.bundle_data import DataFiles
from coldframe.formats.bundle_entry import Entry, Header, decode_entry
from coldframe.formats.bundle_strings import read_strings, read_variants
from coldframe.formats.ordered_code import decode_slice_key, encode_slice_key, is_slice_key
from coldframe.formats.slices import Box, require_cover
from coldframe.formats.sources import Source
from coldframe.formats.stores import LOCAL, Store, read_on
from coldframe.formats.table_scan import TableScan
from coldframe.records import dataclass

_CHUNK: Final = 8 << 20  # bytes of a tensor that are looked at together; a multiple of every element's width
_MAX_RANK: Final = 254
_DATA_NAME: Final = re.compile(r"\.data-(\d{5})-of-(\d{5})")


@dataclass(frozen=True, slots=True)
class Scope:
    """What to verify.

    Attributes:
        wanted: says of a tensor's name whether its bytes are to be read.
        finite: whether to look for NaN and infinity.
    """

    wanted: Callable[[str], bool] = lambda name: True
    finite: bool = False

    @classmethod
    def of(cls, only: str | None, *, finite: bool) -> Scope:
        """Return the scope of the tensors that a pattern means, as `select` has it; all of them for None."""
        if only is None:
            return cls(finite=finite)
        fits = matcher(only)
        return cls(lambda name: name == only or fits(name), finite)


@dataclass(frozen=True, slots=True)
class _Stored:
    """Bytes of a tensor, or of a slice of it, that the index speaks of."""

    name: str
    entry: Entry


def read_index(prefix: str, findings: Findings, store: Store = LOCAL) -> dict[bytes, bytes]:
    """Return all entries of a checkpoint's index, from damaged blocks too; what is wrong goes to `findings`."""
    scan = TableScan(store.open(f"{prefix}.index"))
    table: dict[bytes, bytes] = {}
    for block in scan.blocks():
        for key, value in block.entries:
            table.setdefault(key, value)
    for flaw in scan.flaws:
        findings.add("error" if flaw.is_damage else "warning", flaw.text, offset=flaw.at)
    return table


class BundleVerifier:
    """Verifies one V2 checkpoint.

    Args:
        prefix: its prefix.
        scope: what to verify.
        findings: where problems go.
        store: where it is.
    """

    def __init__(self, prefix: str, scope: Scope, findings: Findings, store: Store = LOCAL) -> None:
        self._prefix, self._scope, self.findings, self._store = prefix, scope, findings, store
        self.entries: dict[str, Entry] = {}  # of tensors, by name
        self.pieces: dict[bytes, tuple[str, Entry]] = {}  # of slices, by key
        self._shapes: dict[bytes, tuple[int, ...]] = {}
        self._sources: dict[int, Source | None] = {}
        self._names: dict[int, str] = {}
        self.header = Header(1)

    def run(self) -> Checked:
        """Verify everything; return what was looked at."""
        findings = self.findings
        table = read_index(self._prefix, findings, self._store)
        self.take(table)
        stored = [_Stored(n, e) for n, e in self.entries.items() if not e.slices]
        stored += [_Stored(n, e) for n, e in self.pieces.values()]
        self._check_slices()
        there = [s for s in stored if self._check_place(s)]
        self._check_layout(there)
        self._check_folder()
        wanted = sorted((s for s in there if self._scope.wanted(s.name)), key=lambda s: (s.entry.shard, s.entry.offset))
        for s in wanted:
            self._check_bytes(s)
        checked = sum(self._scope.wanted(name) for name in self.entries)
        size = sum(s.entry.size for s in wanted)
        return Checked(self._prefix, "V2", len(self.entries), checked, size)

    def string(self, name: str) -> bytes | None:
        """Return the value of a scalar string tensor, or None where it is damaged, which `run` has told."""
        header = self.header
        data = DataFiles(self._prefix, header.num_shards, header.endianness, self._store.open, where="")
        try:
            value = data.read(name, self.entries[name], True)
        except ColdframeError:
            return None
        finally:
            data.close()
        return value.item() if value.dtype == object and value.shape == () else None

    def take(self, table: dict[bytes, bytes]) -> None:
        """Take over header and entries."""
        self._read_header(table.get(b""))
        for key, value in table.items():
            if key:
                self._read_entry(key, value)

    # --- the index ----------------------------------------------------------------------------------------------
    def _read_header(self, raw: bytes | None) -> None:
        if raw is None:
            self.findings.add("error", "no bundle header: expected an entry under the empty key")
            folder, stem = self._store.split(self._prefix)
            names = self._store.names(folder)
            counts = {int(m[2]) for n in names if n.startswith(stem) and (m := _DATA_NAME.fullmatch(n[len(stem) :]))}
            self.header = Header(max(counts, default=1))
            return
        try:
            self.header = Header.decode(raw, where="")
        except ColdframeError as e:
            self.findings.add("error", told(e))

    def _read_entry(self, key: bytes, value: bytes) -> None:
        try:
            if is_slice_key(key):
                name, *_ = decode_slice_key(key)
                self.pieces[key] = (name, decode_entry(value, self._shapes, name=name, where=""))
                return
            name = key.decode("utf-8", "surrogateescape")
            self.entries[name] = decode_entry(value, self._shapes, name=name, where="")
        except CorruptError as e:
            self.findings.add("error", told(e), tensor=None if is_slice_key(key) else name)

    def _check_slices(self) -> None:
        used: set[bytes] = set()
        for name, entry in self.entries.items():
            boxes = []
            for part in entry.slices:
                key = encode_slice_key(name, part.starts, part.lengths)
                if key in used:
                    self.findings.add("error", f"slice `{part}` is listed twice", tensor=name)
                    continue
                used.add(key)
                try:
                    box = part.resolve(entry.shape)
                except CorruptError as e:
                    self.findings.add("error", told(e), tensor=name)
                    continue
                if key not in self.pieces:
                    self.findings.add("error", f"slice `{part}` is listed but not stored", tensor=name)
                    continue
                boxes.append(box)
                piece = self.pieces[key][1]
                if (piece.shape, piece.dtype, piece.slices) != (box.sizes, entry.dtype, ()):
                    self.findings.add(
                        "error",
                        f"slice `{part}` does not fit its tensor: expected dtype {entry.dtype}, shape "
                        f"{list(box.sizes)}, found dtype {piece.dtype}, shape {list(piece.shape)}",
                        tensor=name,
                    )
            if entry.slices:
                check_cover(name, entry.shape, boxes, self.findings)
        for key in self.pieces.keys() - used:
            name, *_ = self.pieces[key]
            self.findings.add("warning", "a slice is stored that no entry lists", tensor=name)

    # --- where things lie ---------------------------------------------------------------------------------------
    def _check_place(self, s: _Stored) -> bool:
        """Whether the bytes of an entry are there to be read."""
        say, entry = self.findings.add, s.entry
        try:
            dtype = dtypes.from_enum(entry.dtype)
        except UnsupportedAttributeError:
            say("error", f"unknown dtype {entry.dtype}", tensor=s.name)
            return False
        if not dtype.width and dtype not in (dtypes.string, dtypes.variant):
            say("error", f"{dtype} tensors are never saved", tensor=s.name)
            return False
        count = math.prod(entry.shape)
        if len(entry.shape) > _MAX_RANK or math.prod(d or 1 for d in entry.shape) >= 1 << 59:
            say("error", f"impossible shape {list(entry.shape)}", tensor=s.name)
            return False
        size = count * dtype.width
        if (dtype.width and entry.size != size) or entry.size < count:
            expected = f"{size} bytes" if dtype.width else f"at least {count} bytes"
            spec = f"{dtype}{list(entry.shape)}"
            say("error", f"tensor of another size: expected {expected} for {spec}, found {entry.size}", tensor=s.name)
            return False
        if entry.shard >= self.header.num_shards:
            say("error", f"tensor in data file {entry.shard} of {self.header.num_shards}", tensor=s.name)
            return False
        source = self._source(entry.shard)
        if source is None:
            return False
        if entry.offset + entry.size > source.size:
            say(
                "error",
                f"data file ends before the tensor does: expected {entry.offset + entry.size} bytes or more, "
                f"found {source.size}",
                file=self._data_name(entry.shard),
                offset=entry.offset,
                tensor=s.name,
            )
            return False
        return True

    def _source(self, shard: int) -> Source | None:
        if shard not in self._sources:
            path = self._data_name(shard)
            self._sources[shard] = read_on(self._store, path) if self._store.is_file(path) else None
            if self._sources[shard] is None:
                self.findings.add("error", "data file is missing", file=path)
        return self._sources[shard]

    def _data_name(self, shard: int) -> str:
        name = self._names.get(shard)
        if name is None:
            name = self._names[shard] = f"{self._prefix}.data-{shard:05d}-of-{self.header.num_shards:05d}"
        return name

    def _check_layout(self, stored: Iterable[_Stored]) -> None:
        """Look for bytes of data files that several tensors claim, and for bytes that none does."""
        by_shard: dict[int, list[_Stored]] = {i: [] for i, source in self._sources.items() if source is not None}
        for s in stored:
            by_shard[s.entry.shard].append(s)
        for shard, found in by_shard.items():
            file, source = self._data_name(shard), self._source(shard)
            at, last = 0, ""
            for s in sorted(found, key=lambda s: (s.entry.offset, s.entry.size)):
                start, end = s.entry.offset, s.entry.offset + s.entry.size
                if start < at and s.entry.size:
                    text = f"its bytes {start} to {min(at, end)} are also those of `{last}`"
                    self.findings.add("error", text, file=file, offset=start, tensor=s.name)
                self._gap(file, at, start)
                if end > at:
                    at, last = end, s.name
            self._gap(file, at, source.size if source else at)

    def _gap(self, file: str, start: int, end: int) -> None:
        if start < end:
            self.findings.add("warning", f"bytes {start} to {end} belong to no tensor", file=file, offset=start)

    def _check_folder(self) -> None:
        """Look for data files that are missing, though no tensor lies in them, and for files that do not belong."""
        if self.header.num_shards <= 99999:
            for shard in range(self.header.num_shards):
                self._source(shard)
        folder, stem = self._store.split(self._prefix)
        mine = {self._store.split(self._data_name(i))[1] for i in self._sources}
        for name in self._store.names(folder):
            rest = name[len(stem) :] if name.startswith(stem) else ""
            if _DATA_NAME.fullmatch(rest) and name not in mine:
                text = f"data file of another save: this checkpoint has {self.header.num_shards}"
                self.findings.add("warning", text, file=self._store.join(folder, name))
            elif ".tempstate" in rest or TEMPORARY.search(rest):
                self.findings.add("note", "left over from a save that was cut off", file=self._store.join(folder, name))

    # --- what is in them ----------------------------------------------------------------------------------------
    def _check_bytes(self, s: _Stored) -> None:
        source, dtype = self._source(s.entry.shard), dtypes.from_enum(s.entry.dtype)
        if source is None:
            return
        file, entry = self._data_name(s.entry.shard), s.entry
        if not dtype.width:
            try:
                self._check_elements(source, entry, dtype)
            except ColdframeError as e:
                self.findings.add("error", told(e), file=file, offset=entry.offset, tensor=s.name)
            return
        crc, odd = 0, NonFinite()
        buffer = memoryview(bytearray(min(_CHUNK, entry.size)))  # not mapped: what is mapped stays counted to us
        for at in range(entry.offset, entry.offset + entry.size, _CHUNK):
            chunk = buffer[: min(_CHUNK, entry.offset + entry.size - at)]
            source.read_into(at, chunk)
            crc = crc32c.extend(crc, chunk)
            if self._scope.finite and (dtype.is_float or dtype.is_complex):
                odd.count(in_native_order(chunk, dtype, self.header.endianness))
        if crc32c.mask(crc) != entry.crc:
            text = f"checksum mismatch: expected crc32c {crc32c.unmask(entry.crc):#010x}, found {crc:#010x}"
            self.findings.add("error", text, file=file, offset=entry.offset, tensor=s.name)
        if odd:
            self.findings.add("error", str(odd), file=file, offset=entry.offset, tensor=s.name)

    def _check_elements(self, source: Source, entry: Entry, dtype: dtypes.DType) -> None:
        raw, count, order = source.read(entry.offset, entry.size), math.prod(entry.shape), self.header.endianness
        if dtype is dtypes.string:
            read_strings(raw, count, order, verify=True, stored_crc=entry.crc, where="")
        elif order == "little":  # TensorFlow refuses to read variants of the other byte order
            read_variants(raw, count, verify=True, stored_crc=entry.crc, where="")


def check_cover(name: str, shape: tuple[int, ...], boxes: list[Box], findings: Findings) -> None:
    """Note where slices overlap or leave a part of their tensor out."""
    try:
        require_cover(Box.whole(shape), boxes, name=name)
    except ColdframeError as e:
        findings.add("error", told(e), tensor=name)


def in_native_order(chunk: memoryview, dtype: dtypes.DType, order: str) -> npt.NDArray[np.generic]:
    """Return bytes of a file as an array."""
    array = np.frombuffer(chunk, dtype.numpy)
    if order == "little" or array.dtype.itemsize == 1:
        return array
    plain = array.view(np.uint16) if array.dtype.kind == "V" else array  # bfloat16 cannot swap its own bytes
    return plain.byteswap().view(array.dtype)


class NonFinite:
    """Counts of NaN and infinity."""

    def __init__(self) -> None:
        self.nan = self.infinite = 0

    def count(self, values: npt.NDArray[np.generic]) -> None:
        """Count those among `values`, floats or complex numbers of any kind."""
        if values.dtype.kind == "V" or values.dtype.itemsize == 1:
            values = values.astype(np.float32)
        self.nan += int(np.count_nonzero(np.isnan(values)))
        self.infinite += int(np.count_nonzero(np.isinf(values)))

    def __bool__(self) -> bool:
        return bool(self.nan or self.infinite)

    def __str__(self) -> str:
        return f"{self.nan} values are NaN, {self.infinite} are infinite"
