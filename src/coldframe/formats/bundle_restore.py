"""Many tensors at once: how a whole checkpoint is restored.

::

    entries, by file and offset     |  a  |b|c|d|        e        | f |
    batches of about 16 MiB         |  a  |b|c|d|                 | f |     fetched, checked, by a thread each
    tensors larger than a batch                 |   e1   |   e2   |         checked in pieces, CRCs combined

What comes back are views of the mapped file, or arrays that are filled. In the latter case a piece is read straight to
where it belongs, and checked while it is in the processor's cache. Where tensors of a batch follow one another without
a gap, as writers put them, one CRC runs over all of it, and is held against what theirs come to when they are put
together; only where that differs is each looked at, to tell which it was.

All that is to be known of tens of thousands of tensors lies in columns (see `bundle_entries`), for numpy to look at.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from coldframe.dtypes import DType
from coldframe.formats import crc32c
from coldframe.formats.bundle_data import DataFiles
from coldframe.formats.bundle_entries import Columns
from coldframe.formats.bundle_entry import Entry
from coldframe.formats.checkpoint_file import require_fit
from coldframe.formats.parallel import each
from coldframe.formats.sources import MappedFile, Source
from coldframe.records import dataclass

_BATCH: Final = 16 << 20
_GAP: Final = 1 << 16  # bytes between two tensors that are read along
_RUN: Final = 1000  # arrays that are filled at a time; systems take 1024
_CACHED: Final = 1 << 20  # bytes that are still in the cache after they were read

_Arrays = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Kind:
    """What many tensors have in common.

    Attributes:
        dtype: their dtype, of fixed width.
        shape: their shape.
        size: their bytes.
    """

    dtype: DType
    shape: tuple[int, ...]
    size: int


@dataclass(frozen=True, slots=True)
class Plain:
    """Tensors that lie in one piece, with elements of fixed width, in the order in which they are stored.

    Attributes:
        names: their names.
        kinds: what they are.
        place: where they lie: a row for each.
        sources: the data files by shard.
    """

    names: list[str]
    kinds: list[Kind]
    place: Columns
    sources: Mapping[int, Source]

    def entry(self, i: int) -> Entry:
        """Return the entry of tensor number `i`."""
        return self.place.entry(i)

    def crcs(self) -> npt.NDArray[np.uint32]:
        """Return the tensors' CRCs, not masked; zero for those without bytes, whose entries need not tell."""
        return np.where(self.place.size > 0, crc32c.unmask_all(self.place.crc), 0).astype(np.uint32)

    def source(self, i: int) -> Source:
        """Return the file that holds tensor number `i`."""
        return self.sources[int(self.place.shard[i])]

    def select(self, chosen: npt.NDArray[np.bool_]) -> Plain:
        """Return some of the tensors."""
        if chosen.all():
            return self
        numbers = np.flatnonzero(chosen)
        names, kinds = [self.names[i] for i in numbers.tolist()], [self.kinds[i] for i in numbers.tolist()]
        return Plain(names, kinds, self.place.take(numbers), self.sources)


@dataclass(frozen=True, slots=True)
class _Range:
    """Bytes `start` to `stop` of tensor number `i`."""

    i: int
    start: int
    stop: int


def sorted_out(
    data: DataFiles, names: Sequence[str], columns: Columns, entry_of: Callable[[str], Entry], into: _Arrays | None
) -> tuple[Plain, list[str]]:
    """Return the tensors that can be read in bulk, and the names of the others.

    Args:
        data: the data files.
        names: the tensors' names.
        columns: their entries.
        entry_of: finds the entry of a name that is not in the columns.
        into: arrays to fill.

    Raises:
        CorruptError: an entry cannot be true.
        MisuseError: an array of `into` does not fit.
    """
    kinds = _kinds(data, names, columns)
    others = [name for name, kind in zip(names, kinds, strict=True) if kind is None]
    rest = {name: entry_of(name) for name in others}
    dtype_of = {name: data.dtype(name, entry) for name, entry in rest.items()}
    if into is not None:
        for name in others:
            require_fit(name, dtype_of[name], rest[name].shape, into[name])
        _require_fits(names, kinds, into)
    numbers = np.array([i for i, kind in enumerate(kinds) if kind is not None], np.int64)
    numbers = numbers[np.lexsort((columns.offset[numbers], columns.shard[numbers]))]
    chosen = [(names[i], kind) for i in numbers.tolist() if (kind := kinds[i]) is not None]
    plain = Plain([name for name, _ in chosen], [kind for _, kind in chosen], columns.take(numbers), {})
    return dataclasses.replace(plain, sources=_sources(data, plain)), others


def _kinds(data: DataFiles, names: Sequence[str], columns: Columns) -> list[Kind | None]:
    """Return what each tensor is, None for those that cannot be read in bulk."""
    first = dict(zip(reversed(columns.kinds), range(len(names) - 1, -1, -1), strict=True))
    known: dict[Any, Kind | None] = {None: None}
    for kind, i in sorted(first.items(), key=lambda item: item[1]):
        if kind is not None:
            known[kind] = _kind(data, names[i], columns.entry(i))
    return [known[kind] for kind in columns.kinds]


def _kind(data: DataFiles, name: str, entry: Entry) -> Kind | None:
    dtype = data.dtype(name, entry)
    if not dtype.width:
        return None
    data.fixed(name, entry, dtype)
    return Kind(dtype, entry.shape, entry.size)


def _require_fits(names: Sequence[str], kinds: Sequence[Kind | None], into: _Arrays) -> None:
    for name, kind in zip(names, kinds, strict=True):
        if kind is not None:
            target, flags = into[name], into[name].flags
            if (
                target.shape != kind.shape
                or target.dtype != kind.dtype.numpy
                or not (flags.c_contiguous and flags.writeable)
            ):
                require_fit(name, kind.dtype, kind.shape, target)


def _sources(data: DataFiles, plain: Plain) -> dict[int, Source]:
    """Return the data files by shard, having held each tensor against them."""
    names, kinds, place = plain.names, plain.kinds, plain.place
    shards, first, inverse = np.unique(place.shard, return_index=True, return_inverse=True)
    sources = {
        shard: data.located(names[i], place.entry(i)) for shard, i in zip(shards.tolist(), first.tolist(), strict=True)
    }
    limits = np.array([source.size for source in sources.values()], np.int64)[inverse]
    expected = np.fromiter((kind.size for kind in kinds), np.int64, len(kinds))
    for i in np.flatnonzero((place.size != expected) | (place.offset > limits - place.size)).tolist():
        data.fixed(names[i], place.entry(i), kinds[i].dtype)
    return sources


# --- batches ----------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class _Batch:
    """Tensors `first` to `last`, the latter not included, that lie between two bytes of a file.

    Attributes:
        crc: the CRC of the bytes between, as their entries have it; None where these do not cover it.
    """

    first: int
    last: int
    start: int
    stop: int
    crc: int | None = None


def _batches(plain: Plain) -> list[_Batch]:
    """Group tensors that lie close to one another; one that is large stays alone."""
    if not plain.names:
        return []
    place = plain.place
    cuts = np.zeros(len(plain.names), np.bool_)
    for shard in np.unique(place.shard).tolist():
        low, high = np.searchsorted(place.shard, (shard, shard + 1)).tolist()
        cuts[low:high] = _cuts(place.offset[low:high], place.size[low:high])
    firsts = np.flatnonzero(cuts)
    lasts = np.append(firsts[1:], len(cuts))
    ends = place.offset + place.size
    starts, stops = place.offset[firsts], np.maximum.reduceat(ends, firsts)
    holes = np.zeros(len(cuts), np.bool_)
    holes[1:] = (place.offset[1:] != ends[:-1]) & ~cuts[1:]
    crcs = crc32c.combine_all(plain.crcs(), np.repeat(stops, lasts - firsts) - ends, firsts)
    whole = ~np.logical_or.reduceat(holes, firsts)
    rows = zip(firsts.tolist(), lasts.tolist(), starts.tolist(), stops.tolist(), crcs, whole.tolist(), strict=True)
    return [_Batch(a, b, start, stop, crc if sound else None) for a, b, start, stop, crc, sound in rows]


def _cuts(offsets: npt.NDArray[np.int64], sizes: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Return which of the tensors of a file begin a batch."""
    large = sizes > _BATCH
    cuts = large.copy()
    cuts[0] = True
    cuts[1:] |= large[:-1] | (offsets[1:] - np.maximum.accumulate(offsets + sizes)[:-1] > _GAP)
    starts = offsets[np.maximum.accumulate(np.where(cuts, np.arange(len(cuts)), 0))]
    window = (offsets - starts) // _BATCH
    cuts[1:] |= window[1:] != window[:-1]
    return cuts


def _ranges(plain: Plain, i: int) -> list[_Range]:
    size = plain.kinds[i].size
    return [_Range(i, at, min(at + _BATCH, size)) for at in range(0, size, _BATCH)]


def _check_ranges(data: DataFiles, plain: Plain, ranges: Sequence[_Range], crcs: Sequence[int]) -> None:
    """Put the CRCs of pieces together, and hold them against what the index says."""
    whole = 0
    for piece, crc in zip(ranges, crcs, strict=True):
        whole = crc32c.combine(whole, crc, piece.stop - piece.start) if piece.start else crc
        if piece.stop == plain.kinds[piece.i].size:
            data.check_crc(plain.names[piece.i], plain.entry(piece.i), whole)


# --- views ------------------------------------------------------------------------------------------------------
def read_views(data: DataFiles, plain: Plain, verify: bool, threads: int) -> dict[str, npt.NDArray[Any]]:
    """Return the tensors, as views of their files where that is possible; raise `ChecksumError`."""
    found: dict[str, npt.NDArray[Any]] = {}
    large: dict[int, memoryview] = {}

    def view(batch: _Batch) -> None:
        block = plain.source(batch.first).read(batch.start, batch.stop - batch.start)
        if plain.kinds[batch.first].size > _BATCH:
            large[batch.first] = block
        elif verify:
            _check_block(data, plain, batch, block)
        _view_all(data, plain, batch, block, found)

    each(view, _batches(plain), threads)
    if verify:
        pieces = [piece for i in sorted(large) for piece in _ranges(plain, i)]
        crcs = each(lambda piece: crc32c.value(large[piece.i][piece.start : piece.stop]), pieces, threads)
        _check_ranges(data, plain, pieces, crcs)
    return found


def _check_block(data: DataFiles, plain: Plain, batch: _Batch, block: memoryview) -> None:
    if batch.crc is not None and crc32c.value(block) == batch.crc:
        return
    for i in range(batch.first, batch.last):
        if size := plain.kinds[i].size:
            at = int(plain.place.offset[i]) - batch.start
            data.check_crc(plain.names[i], plain.entry(i), crc32c.value(block[at : at + size]))


def _view_all(
    data: DataFiles, plain: Plain, batch: _Batch, block: memoryview, found: dict[str, npt.NDArray[Any]]
) -> None:
    names, kinds = plain.names[batch.first : batch.last], plain.kinds[batch.first : batch.last]
    places = (plain.place.offset[batch.first : batch.last] - batch.start).tolist()
    base = np.frombuffer(block, np.uint8).ctypes.data
    swaps, array = data.swaps, np.ndarray
    for name, kind, at in zip(names, kinds, places, strict=True):
        held = kind.dtype.numpy
        if not kind.size:
            found[name] = np.empty(kind.shape, held)
        elif swaps or (base + at) % held.alignment:
            found[name] = data.native(array(kind.shape, held, block, at))
        else:
            found[name] = array(kind.shape, held, block, at)


# --- into arrays ------------------------------------------------------------------------------------------------
def read_into(data: DataFiles, plain: Plain, into: _Arrays, verify: bool, threads: int) -> dict[str, npt.NDArray[Any]]:
    """Fill arrays, which fit, with the tensors, and return them; raise `ChecksumError`."""

    def copy(batch: _Batch) -> None:
        for first, last in _copied(few, batch, into):
            if verify:
                _check_arrays(data, few, first, last, into)

    def fill(piece: _Range) -> int:
        crc, target = 0, into[plain.names[piece.i]].reshape(-1).view(np.uint8)
        source, offset = plain.source(piece.i), int(plain.place.offset[piece.i])
        for at in range(piece.start, piece.stop, _CACHED):
            part = target[at : min(at + _CACHED, piece.stop)]
            source.read_into(offset + at, part.data)
            if verify:
                crc = crc32c.extend(crc, part)
        return crc

    small = plain.place.size <= _CACHED
    few = plain.select(small)
    each(copy, _batches(few), threads)
    large = [r for i in np.flatnonzero(~small).tolist() for r in _ranges(plain, i)]
    crcs = each(fill, large, threads)
    if verify:
        _check_ranges(data, plain, large, crcs)
    found = {name: into[name] for name in plain.names}
    if data.swaps:
        for array in found.values():
            data.swap_in_place(array)
    return found


def _copied(plain: Plain, batch: _Batch, into: _Arrays) -> Iterator[tuple[int, int]]:
    """Fill the arrays of a batch, straight from a local file where its tensors follow one another, as they do.

    Yields:
        The first tensor that was filled, and the one behind the last, while they are in the cache.
    """
    source = plain.source(batch.first)
    if isinstance(source, MappedFile):
        for first, last, start, size in _runs(plain, batch):
            targets = [into[plain.names[i]] for i in range(first, last) if plain.kinds[i].size]
            if targets:
                source.read_arrays(start, targets, size)
            yield first, last
        return
    block = source.read(batch.start, batch.stop - batch.start)
    for i in range(batch.first, batch.last):
        target = into[plain.names[i]]
        if plain.kinds[i].size:
            at = int(plain.place.offset[i]) - batch.start
            np.copyto(target, np.ndarray(target.shape, target.dtype, block, at))
    yield batch.first, batch.last


def _runs(plain: Plain, batch: _Batch) -> Iterator[tuple[int, int, int, int]]:
    """Group tensors of which each starts where the one before ends; up to as many as one call of the system takes.

    Yields:
        The first tensor, the one behind the last, where their bytes start, and how many these are.
    """
    offsets = plain.place.offset[batch.first : batch.last].tolist()
    first, start, end = batch.first, batch.start, batch.start
    for i, offset in enumerate(offsets, batch.first):
        if offset != end or i - first == _RUN or end - start >= _CACHED:
            yield first, i, start, end - start
            first, start, end = i, offset, offset
        end += plain.kinds[i].size
    yield first, batch.last, start, end - start


def _check_arrays(data: DataFiles, plain: Plain, first: int, last: int, into: _Arrays) -> None:
    stored = plain.place.crc[first:last].tolist()
    for i, name, kind, crc in zip(
        range(first, last), plain.names[first:last], plain.kinds[first:last], stored, strict=True
    ):
        if kind.size and crc32c.masked_array(into[name]) != crc:
            data.check_crc(name, plain.entry(i), crc32c.value(into[name]))


__all__ = ["Kind", "Plain", "read_into", "read_views", "sorted_out"]
