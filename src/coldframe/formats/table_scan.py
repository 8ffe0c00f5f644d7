"""Reading a sorted table that may be damaged: what is wrong with it, and every entry that can still be had.

`sstable` stops at the first thing that is wrong. Here each block is looked at on its own::

    footer, index block sound     the data blocks are where the index says
    one of them damaged           blocks are recognised by their ends: restart points, type and CRC come one behind the
                                  other, and the next block starts right there

    block sound                   its CRC matches
    block corrected               one byte (in a large block, one bit) put right makes the CRC match; a CRC tells which
    block damaged                 entries are read from each restart point on; whether to believe them, the caller knows

A CRC of 32 bits names the wrong byte beyond reasonable doubt only while there are few candidates, hence the limits.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from typing import Final, Literal

from coldframe.errors import CorruptError
from coldframe.formats import crc32c, snappy
from coldframe.formats.sources import Source
from coldframe.formats.sstable import FOOTER_SIZE, MAGIC
from coldframe.formats.wire import decode_varint
from coldframe.records import dataclass

_TRAILER_SIZE: Final = 5
_MAX_KEY_EXPANSION: Final = 64
_MAX_CANDIDATES: Final = 1 << 24  # single errors that a 32-bit CRC may be asked to tell apart: 1 in 256 to be fooled
_RUN_END: Final = re.compile(rb"(?=\0\0\0\0(?!\0\0\0\0))")  # where restart points may begin: the first is 0

State = Literal["sound", "corrected", "damaged"]
Handle = tuple[int, int]
Entries = list[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Flaw:
    """Something wrong.

    Attributes:
        at: the byte of the file where the wrong thing begins.
        text: what is wrong.
        is_damage: whether readers stumble over it; otherwise it is only odd.
    """

    at: int
    text: str
    is_damage: bool = True


@dataclass(frozen=True, slots=True)
class Block:
    """A data block.

    Attributes:
        offset: where it starts in the file.
        size: its bytes, without the trailer.
        entries: keys and values, in the order in which they are stored.
        state: how far they can be believed.
    """

    offset: int
    size: int
    entries: Entries
    state: State


class TableScan:
    """A sorted table, looked at block by block. `flaws` grows as `blocks` goes on, and is complete when that ends."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.flaws: list[Flaw] = []

    def blocks(self) -> Iterator[Block]:
        """Yield the data blocks in order; one is in memory at a time."""
        handles = self._handles()
        if handles is None:
            yield from self._recognised()
            return
        last_key: bytes | None = None
        for bound, handle in handles:
            block = self._block(handle, "block")
            yield block
            if block.state == "damaged" or not block.entries:
                continue
            keys = [key for key, _ in block.entries]
            if last_key is not None and keys[0] <= last_key:
                self._flaw(block.offset, f"keys are out of order: {keys[0]!r} follows {last_key!r}")
            if keys[-1] > bound:
                self._flaw(block.offset, f"block holds keys beyond {bound!r}, which the index block gives as its bound")
            last_key = max(bound, keys[-1])

    def block_at(self, offset: int, size: int) -> Block:
        """Return a block that `blocks` has yielded, once more."""
        told = len(self.flaws)
        block = self._block((offset, size), "block")
        del self.flaws[told:]
        return block

    # --- where the blocks are -----------------------------------------------------------------------------------
    def _handles(self) -> list[tuple[bytes, Handle]] | None:
        """Return the data blocks' bounds and handles; None where footer or index block do not tell."""
        end = self._source.size - FOOTER_SIZE
        if end < 0:
            self._flaw(0, f"not a sorted table: expected at least {FOOTER_SIZE} bytes, found {self._source.size}")
            return None
        footer = bytes(self._source.read(end, FOOTER_SIZE))
        magic = int.from_bytes(footer[-8:], "little")
        if magic != MAGIC:
            self._flaw(end + 40, f"not a sorted table's end: expected magic number {MAGIC:#018x}, found {magic:#018x}")
            return None
        metaindex = self._handle(footer, 0, end, "the metaindex block")
        index = self._handle(footer, metaindex[2], end, "the index block") if metaindex else None
        if metaindex is None or index is None:
            return None
        if footer[index[2] : 40].strip(b"\0"):
            self._flaw(end + index[2], "footer is not padded with zeros", is_damage=False)
        found = self._block(index[:2], "index block")
        if found.state == "damaged":
            return None
        meta = self._block(metaindex[:2], "metaindex block")
        if meta.entries:
            self._flaw(meta.offset, "metaindex block is not empty", is_damage=False)
        handles = []
        for bound, value in found.entries:
            handle = self._handle(value, 0, found.offset, f"the block of {bound!r}")
            if handle is not None:
                handles.append((bound, handle[:2]))
        self._check_layout([h for _, h in handles] + [metaindex[:2], index[:2]], end)
        return handles

    def _handle(self, data: bytes, at: int, place: int, what: str) -> tuple[int, int, int] | None:
        """Return offset and size at `at`, and the position behind them."""
        try:
            offset, at = decode_varint(data, at, min(len(data), 40))
            size, at = decode_varint(data, at, min(len(data), 40))
        except ValueError:
            self._flaw(place, f"damaged handle of {what}")
            return None
        if offset + size + _TRAILER_SIZE > self._source.size - FOOTER_SIZE:
            room = max(0, self._source.size - FOOTER_SIZE - offset)
            self._flaw(place, f"{what} lies beyond the end: expected {size} bytes at byte {offset}, found {room}")
            return None
        return offset, size, at

    def _check_layout(self, handles: list[Handle], end: int) -> None:
        at = 0
        for offset, size in sorted(handles):
            if offset > at:
                self._flaw(at, f"bytes {at} to {offset} belong to no block", is_damage=False)
            elif offset < at:
                self._flaw(offset, "block overlaps the one before it")
            at = max(at, offset + size + _TRAILER_SIZE)
        if at < end:
            self._flaw(at, f"bytes {at} to {end} belong to no block", is_damage=False)

    # --- blocks without an index --------------------------------------------------------------------------------
    def _recognised(self) -> Iterator[Block]:
        data = self._source.read(0, self._source.size)
        at, found = 0, set[Handle]()
        while at < len(data):
            size = _proven_size(data, at)
            if size is None:
                size = _likely_size(data, at)
                if size is None:
                    tail = bytes(data[at:])
                    if len(tail) != FOOTER_SIZE and tail:
                        self._flaw(at, f"no block is recognised from here to the end, {len(tail)} bytes")
                        yield Block(at, len(tail), _lenient_entries(tail, len(tail), ()), "damaged")
                    return
            block = self._block((at, size), "block")
            if block.entries and not _is_index(block.entries, found):
                yield block
            found.add((at, size))
            at += size + _TRAILER_SIZE

    # --- one block ----------------------------------------------------------------------------------------------
    def _block(self, handle: Handle, what: str) -> Block:
        offset, size = handle
        room = bytearray(size + _TRAILER_SIZE)
        self._source.read_into(offset, memoryview(room))
        raw = bytes(room)
        state: State = "sound"
        stored, crc = crc32c.unmask(int.from_bytes(raw[-4:], "little")), crc32c.value(raw[:-4])
        if stored != crc:
            right = corrected(raw)
            text = f"checksum mismatch of the {what}: expected crc32c {stored:#010x}, found {crc:#010x}"
            if right is None:
                self._flaw(offset, text)
                state = "damaged"
            else:
                wrong = next((i for i, (a, b) in enumerate(zip(raw, right, strict=True)) if a != b), 0)
                self._flaw(offset, f"{text}; the byte at {offset + wrong} is wrong")
                raw, state = right, "corrected"
        try:
            plain = _plain(raw, f"of the {what} at byte {offset}")
        except CorruptError as e:
            self._flaw(offset, str(e))
            return Block(offset, size, [], "damaged")
        entries, flaws = _entries(plain)
        if state == "damaged":
            entries = _lenient_entries(plain, *_restarts(plain))
        elif flaws:
            for text in flaws:
                self._flaw(offset, f"{text} of the {what}")
            state = "damaged"
        return Block(offset, size, entries, state)

    def _flaw(self, at: int, text: str, *, is_damage: bool = True) -> None:
        self.flaws.append(Flaw(at, text, is_damage))


def _plain(raw: bytes, where: str) -> bytes:
    kind = raw[-_TRAILER_SIZE]
    if kind == 1:
        return snappy.decompress(raw[:-_TRAILER_SIZE], where=where)
    if kind:
        raise CorruptError("unknown block compression", where=where, expected="0 (none) or 1 (snappy)", found=kind)
    return raw[:-_TRAILER_SIZE]


def _restarts(data: bytes) -> tuple[int, tuple[int, ...]]:
    """Return where the restart points of a block begin, and those that may be believed."""
    count = int.from_bytes(data[-4:], "little")
    limit = len(data) - 4 - 4 * count
    if len(data) < 8 or limit < 0:
        return len(data), ()
    points = [int.from_bytes(data[i : i + 4], "little") for i in range(limit, len(data) - 4, 4)]
    return limit, tuple(p for p in points if p < limit)


def _entries(data: bytes) -> tuple[Entries, list[str]]:
    """Return the entries of a block and all that is wrong with them, where the bytes are those that were written."""
    count = int.from_bytes(data[-4:], "little")
    limit, points = _restarts(data)
    if limit == len(data):
        return [], ["restart points do not fit into the bytes"]
    flaws: list[str] = []
    found: Entries = []
    starts = {0}
    key, at, key_bytes = b"", 0, 0
    while at < limit:
        entry = _entry(data, at, limit, key)
        if entry is None:
            flaws.append(f"damaged entry at byte {at}")
            break
        shared, following, value, end = entry
        if found and following <= key:
            flaws.append(f"{'duplicate key' if following == key else 'key out of order,'} {following!r}")
        if not shared:
            starts.add(at)
        key, at = following, end
        key_bytes += len(key)
        if key_bytes > _MAX_KEY_EXPANSION * len(data):
            flaws.append("keys expand beyond measure")
            break
        found.append((key, value))
    ordered = list(points) == sorted(set(points))
    if (len(points) != count and found) or not ordered or not starts.issuperset(points) or points[:1] not in ((0,), ()):
        flaws.append("restart points do not lead to entries")
    return found, flaws


def _lenient_entries(data: bytes, limit: int, points: tuple[int, ...]) -> Entries:
    """Return the entries that can be read, going on at the next restart point where one cannot."""
    found: Entries = []
    budget = _MAX_KEY_EXPANSION * len(data)
    resume = sorted({0, *points})
    for i, at in enumerate(resume):
        stop = resume[i + 1] if i + 1 < len(resume) else limit
        key = b""
        while at < stop and budget > 0:
            entry = _entry(data, at, limit, key)
            if entry is None:
                break
            _, key, value, at = entry
            budget -= len(key)
            found.append((key, value))
    return found


def _entry(data: bytes | memoryview, at: int, limit: int, key: bytes) -> tuple[int, bytes, bytes, int] | None:
    """Return how much key an entry shares, its key and value, and where it ends; None where it is none."""
    try:
        shared, at = decode_varint(data, at, limit)
        unshared, at = decode_varint(data, at, limit)
        size, at = decode_varint(data, at, limit)
    except ValueError:
        return None
    value_at = at + unshared
    if shared > len(key) or value_at + size > limit:
        return None
    return shared, key[:shared] + bytes(data[at:value_at]), bytes(data[value_at : value_at + size]), value_at + size


def _is_index(entries: Entries, found: set[Handle]) -> bool:
    """Whether the values of a block are handles of blocks that came before it."""
    for _, value in entries:
        try:
            offset, at = decode_varint(value, 0, len(value))
            size, at = decode_varint(value, at, len(value))
        except ValueError:
            return False
        if (offset, size) not in found or at != len(value):
            return False
    return True


# --- recognising blocks -----------------------------------------------------------------------------------------
def _proven_size(data: memoryview, start: int) -> int | None:
    """Return the size of the block at `start` whose CRC matches; None where its entries do not lead to one."""
    at, end = start, len(data)
    while at + 8 <= end:
        if bytes(data[at : at + 4]) == b"\0\0\0\0" and (size := _size_by_restarts(data, start, at)) is not None:
            stored = int.from_bytes(data[start + size + 1 : start + size + 5], "little")
            if stored == crc32c.masked(bytes(data[start : start + size + 1])):
                return size
        try:  # over the entry
            _, at = decode_varint(data, at, end)
            unshared, at = decode_varint(data, at, end)
            value, at = decode_varint(data, at, end)
        except ValueError:
            return None
        at += unshared + value
    return None


def _likely_size(data: memoryview, start: int) -> int | None:
    """Return the size of a damaged block at `start`: it ends as a block does, and a sound one or the footer follows."""
    for match in _RUN_END.finditer(data, start):
        size = _size_by_restarts(data, start, match.start())
        if size is None:
            continue
        following = start + size + _TRAILER_SIZE
        if following + FOOTER_SIZE >= len(data) or _proven_size(data, following) is not None:
            return size
    return None


def _size_by_restarts(data: memoryview, start: int, at: int) -> int | None:
    """Return the size of the block at `start` if its restart points begin at `at`: 0, rising, and their count."""
    last, count = -1, 0
    for i in range(at, len(data) - 3, 4):
        number = int.from_bytes(data[i : i + 4], "little")
        if count and number == count:
            return i + 4 - start if i + 4 + _TRAILER_SIZE <= len(data) else None
        if number <= last or number > at - start:
            return None
        last, count = number, count + 1
    return None


# --- putting one wrong byte right -------------------------------------------------------------------------------
def corrected(raw: bytes) -> bytes | None:
    """Return a block, with its trailer, whose CRC one wrong byte belies, as it was; None where that is not clear."""
    covered, stored = raw[:-4], raw[-4:]
    crc = crc32c.value(covered)
    right = crc32c.mask(crc).to_bytes(4, "little")
    if sum(a != b for a, b in zip(right, stored, strict=True)) == 1:
        return covered + right
    single = {value: byte for byte, value in enumerate(_crc_table()) if byte}
    if len(covered) * 255 > _MAX_CANDIDATES:
        single = {value: byte for value, byte in single.items() if byte.bit_count() == 1}
    if len(covered) * len(single) > _MAX_CANDIDATES:
        return None
    # The CRC is linear: what an error in the last byte does to it is in the table, and what one further ahead does is
    # that, shifted on. So the difference is shifted back byte by byte, and each time looked up.
    table, by_top = _crc_table(), {value >> 24: byte for byte, value in enumerate(_crc_table())}
    difference = crc ^ crc32c.unmask(int.from_bytes(stored, "little"))
    found = []
    for at in range(len(covered) - 1, -1, -1):
        if (byte := single.get(difference)) is not None:
            found.append((at, byte))
        low = by_top[difference >> 24]
        difference = ((difference ^ table[low]) << 8 | low) & 0xFFFFFFFF
    if len(found) != 1:
        return None
    at, byte = found[0]
    return covered[:at] + bytes((covered[at] ^ byte,)) + covered[at + 1 :] + stored


@functools.cache
def _crc_table() -> tuple[int, ...]:
    """The effect on a CRC-32C of each value of the last byte: the reflected polynomial 0x82f63b78, bit by bit."""
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return tuple(table)
