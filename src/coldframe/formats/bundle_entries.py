"""Entries of an index by the thousand: decoded and encoded in columns.

::

    08 dtype 12 size shape [18 shard] [20 offset] [28 size] [35 crc32c]     as every writer known puts them
     ^ numpy looks at this byte of all entries at once, then at the next field of all, ...

What looks otherwise (slices, unknown fields, another order, damage) is left to `bundle_entry`, which has the picture of
the messages, one entry at a time. Both agree on every entry.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from coldframe.formats.bundle_entry import Entry, decode_shape, encode_entry, encode_head
from coldframe.records import dataclass

Numbers: TypeAlias = npt.NDArray[np.int64]
_PADDING: Final = bytes(32)  # so that all may be looked at as far as the longest goes
_VARINT: Final = 9  # bytes of a varint below 2^63
_WORTH_COLUMNS: Final = 16


@dataclass(frozen=True, slots=True)
class Columns:
    """The fields of many entries.

    Attributes:
        kinds: DataType number and shape; None stands for an entry that `decode_entry` has to look at, whose other
            fields mean nothing.
        shard: the number of the data file.
        offset: where the bytes start in it.
        size: how many bytes.
        crc: their masked CRC-32C.
    """

    kinds: list[tuple[int, tuple[int, ...]] | None]
    shard: Numbers
    offset: Numbers
    size: Numbers
    crc: Numbers

    def entry(self, i: int) -> Entry:
        """Return entry number `i`, one that is decoded."""
        kind = self.kinds[i]
        assert kind is not None
        return Entry(*kind, int(self.shard[i]), int(self.offset[i]), int(self.size[i]), int(self.crc[i]))

    def take(self, numbers: Numbers) -> Columns:
        """Return entries by their numbers."""
        kinds = [self.kinds[i] for i in numbers.tolist()]
        return Columns(kinds, self.shard[numbers], self.offset[numbers], self.size[numbers], self.crc[numbers])


def decode_entries(values: Sequence[bytes], shapes: dict[bytes, tuple[int, ...]]) -> Columns:
    """Decode entries.

    Args:
        values: the entries.
        shapes: remembers encoded shapes, as for `decode_entry`.
    """
    data = np.frombuffer(b"".join((*values, _PADDING)), np.uint8)
    sizes = np.fromiter(map(len, values), np.int64, len(values))
    ends = np.cumsum(sizes)
    at = ends - sizes
    head_sizes = 4 + data[at + 3].astype(np.int64)
    good = (data[at] == 0x08) & (data[at + 2] == 0x12) & ((data[at + 1] | data[at + 3]) < 0x80)
    at += head_sizes
    good &= at <= ends
    at = np.where(good, at, ends)
    shard, at, whole = _varints(data, at, ends, 0x18)
    good &= whole
    offset, at, whole = _varints(data, at, ends, 0x20)
    good &= whole
    size, at, whole = _varints(data, at, ends, 0x28)
    good &= whole
    has = (data[at] == 0x35) & (at < ends)
    crc = sum(data[at + 1 + i].astype(np.int64) << 8 * i for i in range(4)) * has
    good &= at + 5 * has == ends
    heads = [value[:n] for value, n in zip(values, np.where(good, head_sizes, 0).tolist(), strict=True)]
    kinds = {head: _kind(head, shapes) for head in set(heads)}
    return Columns([kinds[head] for head in heads], shard, offset, size, crc)


def _kind(head: bytes, shapes: dict[bytes, tuple[int, ...]]) -> tuple[int, tuple[int, ...]] | None:
    """Return the DataType number and the shape that an entry begins with; None where it does not."""
    if not head:
        return None
    raw = head[4:]
    if (shape := shapes.get(raw)) is None:
        try:
            shape = shapes[raw] = decode_shape(raw)
        except ValueError:
            return None
    return head[1], shape


def _varints(
    data: npt.NDArray[np.uint8], at: Numbers, ends: Numbers, tag: int
) -> tuple[Numbers, Numbers, npt.NDArray[np.bool_]]:
    """Return the varints under a tag, zero where it is absent; where the next field starts; and where that is sound."""
    more = (data[at] == tag) & (at < ends)
    at = at + more
    number = np.zeros(len(at), np.int64)
    for i in range(_VARINT):
        if not more.any():
            break
        byte = data[at].astype(np.int64)
        number |= np.where(more, byte & 0x7F, 0) << 7 * i
        at = at + more
        more = more & (byte >= 0x80)
    whole = ~more & (at <= ends)
    return number, np.minimum(at, ends), whole


def encode_entries(entries: Sequence[Entry]) -> list[bytes]:
    """Encode entries as `encode_entry` does each."""
    if len(entries) < _WORTH_COLUMNS:
        return list(map(encode_entry, entries))
    dtypes, shapes, shards, offsets, sizes, crcs, slices = zip(*entries, strict=True)
    fields = [_varint_columns(0x18, shards), _varint_columns(0x20, offsets), _varint_columns(0x28, sizes)]
    fields.append(_fixed_columns(0x35, crcs))
    rows = np.concatenate([f.bytes for f in fields], 1)
    written = np.concatenate([f.written for f in fields], 1)
    places = rows[written].tobytes()
    ends = np.cumsum(written.sum(1)).tolist()
    heads = map(_heads(dtypes, shapes).__getitem__, zip(dtypes, shapes, strict=True))
    found = [head + places[at:end] for head, at, end in zip(heads, (0, *ends[:-1]), ends, strict=True)]
    for i, parts in enumerate(slices):
        if parts:
            found[i] = encode_entry(entries[i])
    return found


def _heads(dtypes: Iterable[int], shapes: Iterable[tuple[int, ...]]) -> dict[tuple[int, tuple[int, ...]], bytes]:
    return {kind: encode_head(*kind) for kind in set(zip(dtypes, shapes, strict=True))}


class _Field(NamedTuple):
    """A field of many entries: a row of bytes each, and which of them are written."""

    bytes: npt.NDArray[np.uint8]
    written: npt.NDArray[np.bool_]


def _varint_columns(tag: int, values: Sequence[int]) -> _Field:
    """Encode integers below 2^63 as varints under a tag; zeros are left out."""
    numbers = np.array(values, np.int64)
    width = max(1, -(-int(numbers.max()).bit_length() // 7))
    rows = np.full((len(numbers), 1 + width), tag, np.uint8)
    written = np.empty(rows.shape, np.bool_)
    written[:, 0] = written[:, 1] = numbers > 0
    for i in range(width):
        rows[:, 1 + i] = numbers & 0x7F
        numbers >>= 7
        more = numbers > 0
        rows[:, 1 + i] |= more.view(np.uint8) << 7
        if i + 1 < width:
            written[:, 2 + i] = more
    return _Field(rows, written)


def _fixed_columns(tag: int, values: Sequence[int]) -> _Field:
    """Encode 32-bit integers under a tag; zeros are left out."""
    numbers = np.array(values, "<u4")
    rows = np.full((len(numbers), 5), tag, np.uint8)
    rows[:, 1:] = numbers.view(np.uint8).reshape(-1, 4)
    return _Field(rows, np.repeat(numbers[:, None] > 0, 5, 1))
