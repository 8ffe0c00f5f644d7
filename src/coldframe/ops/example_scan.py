"""Features of many Examples at once, from their bytes.

Programs that write Examples write them alike, and numpy reads what is alike in all of them in one go::

    Example          0a size  Features
    Features         0a size  entry, and so on                  an entry: 0a size key, 12 size Feature
    Feature          0a size  BytesList, or 12 .. FloatList, or 1a .. Int64List, or nothing
    BytesList        0a size  value, and so on                  FloatList, Int64List: 0a size packed values, or nothing
    SequenceExample  0a size  Features, 12 size FeatureLists    an entry of FeatureLists: 0a size key, 12 size list
    list of steps    0a size  Feature, and so on

That is protocol buffers' format as every serializer writes it. What is allowed besides (fields in another order, twice,
or unknown ones, numbers that are not packed), and what is damaged, is left to the parser of protocol buffers: then
there is no answer here.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from coldframe import dtypes
from coldframe.dtypes import DType
from coldframe.records import dataclass

Array = npt.NDArray[Any]
_KINDS: Final = {dtypes.string: 0x0A, dtypes.float32: 0x12, dtypes.int64: 0x1A}  # fields of a Feature
_FIRST, _SECOND = 0x0A, 0x12  # fields 1 and 2, of a size each
_PAST: Final = bytes(16)  # behind all, so that no header needs a check that it is there
_FEW: Final = 16  # runs of bytes that are walked faster one by one
_SHORT: Final = 8  # bytes per run, on average, that are gathered faster than joined
_LONGEST: Final = 10  # bytes of a varint


@dataclass(frozen=True, slots=True)
class Column:
    """The values of one key.

    Attributes:
        lengths: how many values each example has.
        values: those of all examples, one after another.
        missing: which examples lack the key; None where none does.
        single: whether each example has one value.
    """

    lengths: Array
    values: Array
    missing: Array | None = None
    single: bool = False


@dataclass(frozen=True, slots=True)
class ListColumn:
    """The feature lists of one key.

    Attributes:
        lengths: how many steps each example has.
        steps: a column in which each step counts as an example.
        missing: which examples lack the key; None where none does.
    """

    lengths: Array
    steps: Column
    missing: Array | None = None


class _Spans(NamedTuple):
    """Runs of bytes, each part of something: `owner` counts what."""

    owner: Array
    start: Array
    end: Array


class _UnusualError(Exception):
    """The bytes are not as serializers write them."""


def examples(serialized: Sequence[bytes], wanted: Mapping[str, DType]) -> dict[str, Column] | None:
    """Return the columns of Examples; None if their bytes are not as serializers write them."""
    try:
        return _Reader(serialized).examples(wanted)
    except _UnusualError:
        return None


def sequences(
    serialized: Sequence[bytes], context: Mapping[str, DType], lists: Mapping[str, DType]
) -> tuple[dict[str, Column], dict[str, ListColumn]] | None:
    """Return the columns of SequenceExamples; None if their bytes are not as serializers write them."""
    try:
        return _Reader(serialized).sequences(context, lists)
    except _UnusualError:
        return None


def _require(ok: Any) -> None:
    if not ok:
        raise _UnusualError


def _present(entries: _Spans, low: int, high: int, count: int) -> tuple[Array | slice, Array | None]:
    """Return the examples that entries are of, and which of all lack one."""
    if high - low == count:  # there are no two of one example
        return slice(None), None
    missing = np.ones(count, bool)
    missing[entries.owner[low:high]] = False
    return entries.owner[low:high], missing


class _Features:
    """The values of Features that lie one after another, in runs of one dtype each."""

    def __init__(self, reader: _Reader, spans: _Spans, ends: Sequence[int], kinds: Sequence[DType]) -> None:
        """Read; `ends` tell where the run of each of `kinds` begins, and where the last one ends."""
        empty = spans.start == spans.end
        wanted = np.repeat(np.array([_KINDS[k] for k in kinds], np.uint8), np.diff(ends))
        _require((empty | (reader.bytes[spans.start] == wanted)).all())
        size, at = reader.sizes(np.where(empty, 0, spans.start + 1))
        _require((empty | (at + size == spans.end)).all())
        self.ends, self.kinds, self.empty = ends, kinds, empty
        self.counts = np.zeros(len(at), np.int64)
        self.flat: dict[DType, Array] = {}
        self.offsets: dict[DType, list[int]] = {}
        for dtype, kind in _KINDS.items():
            own = np.flatnonzero((wanted == kind) & ~empty)
            if len(own):
                self.counts[own], self.flat[dtype] = reader.values(dtype, at[own], spans.end[own])
                self.offsets[dtype] = _sums(np.where(wanted == kind, self.counts, 0), ends)
        self.empties, self.others = _sums(empty, ends), _sums(self.counts != 1, ends)

    def column(self, k: int) -> Column:
        """Return the features of run `k`."""
        low, high, dtype = self.ends[k], self.ends[k + 1], self.kinds[k]
        counts, missing = self.counts[low:high], None
        if self.empties[k] != self.empties[k + 1]:
            missing = self.empty[low:high]
        if dtype in self.flat:
            values = self.flat[dtype][self.offsets[dtype][k] : self.offsets[dtype][k + 1]]
        else:
            values = np.empty(0, dtype.numpy)
        return Column(counts, values, missing, low < high and self.others[k] == self.others[k + 1])

    def of_examples(self, k: int, entries: _Spans, count: int) -> Column:
        """Return run `k` as the column of `count` examples, of which some have one of `entries`."""
        column = self.column(k)
        owners, missing = _present(entries, self.ends[k], self.ends[k + 1], count)
        if missing is None:
            return column
        lengths = np.zeros(count, np.int64)
        lengths[owners] = column.lengths
        if column.missing is not None:
            missing[owners] = column.missing
        return Column(lengths, column.values, missing)


def _sums(x: Array, ends: Sequence[int]) -> list[int]:
    """Return how much of `x` lies before each of `ends`."""
    sums: list[int] = np.concatenate([[0], np.cumsum(x)])[ends].tolist()
    return sums


class _Reader:
    """Bytes of many messages, end to end.

    Attributes:
        raw: the bytes.
        bytes: the same as numbers.
        whole: where each message lies.
    """

    def __init__(self, serialized: Sequence[bytes]) -> None:
        self.raw = b"".join([*serialized, _PAST])
        self.bytes: npt.NDArray[np.uint8] = np.frombuffer(self.raw, np.uint8)
        ends = np.cumsum(np.fromiter(map(len, serialized), np.int64, len(serialized)))
        starts = np.concatenate([[0], ends[:-1]]) if len(ends) else ends
        self.whole = _Spans(np.arange(len(ends)), starts, ends)

    # --- messages ---
    def examples(self, wanted: Mapping[str, DType]) -> dict[str, Column]:
        """See the function `examples`."""
        features = self.parts(self.whole)
        _require(not (features.owner[1:] == features.owner[:-1]).any())
        return self._features(features, wanted)

    def sequences(
        self, context: Mapping[str, DType], lists: Mapping[str, DType]
    ) -> tuple[dict[str, Column], dict[str, ListColumn]]:
        """See the function `sequences`."""
        first, rest = self._field(self.whole, _FIRST)
        second, rest = self._field(rest, _SECOND)
        _require((rest.start == rest.end).all())
        return self._features(first, context), self._lists(second, lists)

    def _features(self, spans: _Spans, wanted: Mapping[str, DType]) -> dict[str, Column]:
        ends, entries = self._entries(spans, list(wanted))
        values = _Features(self, entries, ends, list(wanted.values()))
        count = len(self.whole.owner)
        return {key: values.of_examples(k, entries, count) for k, key in enumerate(wanted)}

    def _lists(self, spans: _Spans, wanted: Mapping[str, DType]) -> dict[str, ListColumn]:
        ends, entries = self._entries(spans, list(wanted))
        steps = self.parts(entries)
        lengths = np.bincount(steps.owner, minlength=len(entries.owner))
        values = _Features(self, steps, _sums(lengths, ends), list(wanted.values()))
        count = len(self.whole.owner)
        out: dict[str, ListColumn] = {}
        for k, key in enumerate(wanted):
            owners, missing = _present(entries, ends[k], ends[k + 1], count)
            own = np.zeros(count, np.int64)
            own[owners] = lengths[ends[k] : ends[k + 1]]
            column = values.column(k)
            out[key] = ListColumn(own, dataclasses.replace(column, missing=None), missing)
        return out

    def _field(self, spans: _Spans, tag: int) -> tuple[_Spans, _Spans]:
        """Return what a field holds, where spans begin with it, and what comes behind it in each."""
        has = (self.bytes[spans.start] == tag) & (spans.start < spans.end)
        size, at = self.sizes(np.where(has, spans.start + 1, len(self.raw) - len(_PAST)))
        end = np.where(has, at + size, spans.start)
        _require((end <= spans.end).all())
        return _Spans(spans.owner[has], at[has], end[has]), _Spans(spans.owner, end, spans.end)

    def _entries(self, spans: _Spans, keys: Sequence[str]) -> tuple[list[int], _Spans]:
        """Return the values of a map's entries that are wanted, key by key, and where those of each key end.

        Of two with one key in a message the last counts.
        """
        found = self.parts(spans)
        _require((self.bytes[found.start] == _FIRST).all())
        size, at = self.sizes(found.start + 1)
        end = at + size
        _require((end <= found.end).all() and (self.bytes[end] == _SECOND).all())
        size, start = self.sizes(end + 1)
        _require((start + size == found.end).all())
        raw = self.raw
        names = [raw[a:b] for a, b in zip(at.tolist(), end.tolist(), strict=True)]
        _require(b"".join(names).isascii())  # others may not be UTF-8
        index = {key.encode("utf-8", "surrogateescape"): k for k, key in enumerate(keys)}
        which = np.array(list(map(index.get, names, itertools.repeat(-1))), np.int64)
        owner, count = found.owner, max(len(self.whole.owner), 1)
        place = which * count + spans.owner[owner]
        order = np.argsort(place, kind="stable")
        place = place[order]
        last = np.ones(len(place), bool)
        last[:-1] = place[1:] != place[:-1]
        order = order[last & (place >= 0)]
        kept = _Spans(spans.owner[owner[order]], start[order], found.end[order])
        return np.searchsorted(which[order], np.arange(len(keys) + 1)).tolist(), kept

    # --- the format ---
    def sizes(self, at: Array) -> tuple[Array, Array]:
        """Return the sizes that stand at some places, and where what has them begins."""
        size = self.bytes[at].astype(np.int64)
        at = at + 1
        more = size > 0x7F
        if not more.any():
            return size, at
        size &= 0x7F
        for shift in (7, 14, 21):
            byte = np.where(more, self.bytes[np.minimum(at, len(self.raw) - 1)], 0).astype(np.int64)
            size |= (byte & 0x7F) << shift
            at = at + more
            more = byte > 0x7F
            if not more.any():
                return size, at
        raise _UnusualError

    def parts(self, spans: _Spans) -> _Spans:
        """Return the parts of spans that hold nothing but fields 1 of a size each, owners in order."""
        owner = np.flatnonzero(spans.start < spans.end)
        at, limit = spans.start[owner], spans.end[owner]
        found: list[tuple[Array, Array, Array]] = []
        while len(owner) > _FEW:
            _require((self.bytes[at] == _FIRST).all())
            size, at = self.sizes(at + 1)
            end = at + size
            more = end < limit
            found.append((owner, at, end))
            if more.all():
                at = end
                continue
            _require((end <= limit).all())
            owner, at, limit = owner[more], end[more], limit[more]
        if len(owner):
            found.append(self._walked(owner.tolist(), at.tolist(), limit.tolist()))
        if not found:
            return _Spans(*np.zeros((3, 0), np.int64))
        owners, starts, ends = (np.concatenate(column) for column in zip(*found, strict=True))
        if len(found) == 1:
            return _Spans(owners, starts, ends)
        order = np.argsort(owners, kind="stable")
        return _Spans(owners[order], starts[order], ends[order])

    def _walked(self, owner: list[int], at: list[int], limit: list[int]) -> tuple[Array, Array, Array]:
        """Return owners, starts and ends of parts, found one by one."""
        raw, owners, starts, ends = self.raw, [], [], []
        for o, i, end in zip(owner, at, limit, strict=True):
            while i < end:
                _require(raw[i] == _FIRST)
                size, i = raw[i + 1], i + 2
                if size > 0x7F:
                    size, i = self._long(i - 1)
                owners.append(o)
                starts.append(i)
                i += size
                ends.append(i)
            _require(i == end)
        return np.array(owners, np.int64), np.array(starts, np.int64), np.array(ends, np.int64)

    def _long(self, at: int) -> tuple[int, int]:
        size, start = self.sizes(np.array([at]))
        return int(size[0]), int(start[0])

    # --- values ---
    def values(self, dtype: DType, start: Array, end: Array) -> tuple[Array, Array]:
        """Return how many values each list from `start` to `end` has, and all values."""
        if dtype is dtypes.string:
            found = self.parts(_Spans(start, start, end))
            raw = self.raw
            out = np.empty(len(found.owner), object)
            out[:] = [raw[a:b] for a, b in zip(found.start.tolist(), found.end.tolist(), strict=True)]
            return np.bincount(found.owner, minlength=len(start)), out
        some = start < end
        _require((self.bytes[start[some]] == _FIRST).all())
        size, at = self.sizes(start[some] + 1)
        _require((at + size == end[some]).all())
        data, counts = self._gathered(at, size), np.zeros(len(start), np.int64)
        if dtype is dtypes.float32:
            _require(not (size & 3).any())
            counts[some] = size >> 2
            return counts, data.view("<f4")
        counts[some], numbers = _varints(data, size)
        return counts, numbers

    def _gathered(self, start: Array, size: Array) -> Array:
        """Return the bytes of runs, end to end."""
        total = int(size.sum())
        if total > _SHORT * len(size):
            ends = (start + size).tolist()
            raw = self.raw
            return np.frombuffer(
                bytearray().join([raw[a:b] for a, b in zip(start.tolist(), ends, strict=True)]), np.uint8
            )
        shift = start - (np.cumsum(size) - size)
        out: Array = self.bytes[np.arange(total) + np.repeat(shift, size)]
        return out


def _varints(data: Array, sizes: Array) -> tuple[Array, Array]:
    """Return how many varints each of the runs that `data` consists of has, and all of them as int64."""
    last = data < 0x80
    ends = np.flatnonzero(last)
    first = np.concatenate([[0], ends[:-1] + 1]) if len(ends) else ends
    length = ends - first + 1
    longest = int(length.max(initial=0))
    edges = np.cumsum(sizes)
    _require(longest <= _LONGEST and last[edges[sizes > 0] - 1].all())
    out = np.zeros(len(ends), np.uint64)
    for k in range(longest):
        at = slice(None) if k == 0 else np.flatnonzero(length > k)
        out[at] |= (data[first[at] + k].astype(np.uint64) & np.uint64(0x7F)) << np.uint64(7 * k)
    before = np.concatenate([[0], np.cumsum(last)])
    return before[edges] - before[edges - sizes], out.view(np.int64)
