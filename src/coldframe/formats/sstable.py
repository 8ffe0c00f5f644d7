"""The sorted string table under every checkpoint: a sorted map of byte strings, derived from LevelDB's.

::

    [data block][trailer] ... [metaindex block][trailer] [index block][trailer] [footer, 48 bytes]

    block    entries, each [varint32 shared][varint32 unshared][varint32 value size][unshared key bytes][value],
             then the offsets of the restart points (entries with shared = 0), uint32 each, and their count, uint32
    trailer  [type: 0 plain, 1 snappy][masked CRC-32C of block and type, uint32]
    footer   [metaindex handle][index handle], zero padded to 40 bytes, then the magic number, uint64
    handle   [varint64 offset][varint64 size without trailer]

All integers are little-endian. The index block maps a key that is >= every key of a data block, and < every key of the
next one, to the block's handle. Follows tensorflow/core/lib/io/{table_builder,format,block}.cc: data blocks of 256 KiB,
a restart every 16 entries (every entry in the index block), no filter, no compression when writing.
"""

from __future__ import annotations

import bisect
import io
import itertools
import operator
from collections.abc import Iterator, Sequence
from typing import Final, NoReturn, Protocol

import numpy as np

from coldframe.errors import CorruptError, MisuseError, TruncatedError, UnsupportedFormatError, WrongFileError
from coldframe.formats import crc32c, snappy
from coldframe.formats.wire import decode_varint, encode_varint

MAGIC: Final = 0xDB4775248B80FB57
FOOTER_SIZE: Final = 48
_TRAILER_SIZE: Final = 5
_BLOCK_SIZE: Final = 262144
_RESTART_INTERVAL: Final = 16
# Keys share prefixes, so they take more room in memory than in the file: up to 16 times with TensorFlow's restart
# interval. Far beyond that is an attack.
_MAX_KEY_EXPANSION: Final = 64
_SEARCHES: Final = 64  # in a block, after which it is decoded as a whole
_COMPARED: Final = 4096  # keys that are compared with their neighbours at a time
_WIDE: Final = 512  # bytes of a key, beyond which a table of so many takes too much memory


class Writable(Protocol):
    """A binary file that takes bytes in order."""

    def write(self, data: bytes, /) -> object:
        """Append `data`."""


class Table:
    """A sorted table, read from a buffer block by block as it is asked.

    Args:
        data: the whole file, usually a memory map.
        where: the file, as errors name it: ``in model.ckpt.index``.
        verify: whether to check each block's CRC when it is first read.

    Raises:
        WrongFileError: the buffer is not a sorted table.
        CorruptError: it is one, but damaged. Blocks are checked when they are first read.
    """

    def __init__(self, data: bytes | memoryview, *, where: str, verify: bool = True) -> None:
        self._data, self._where, self._verify = data, where, verify
        footer_at = len(data) - FOOTER_SIZE
        if footer_at < 0:
            raise TruncatedError(
                "not a sorted table", where=where, expected=f"at least {FOOTER_SIZE} bytes", found=len(data)
            )
        magic = int.from_bytes(data[-8:], "little")
        if magic != MAGIC:
            raise WrongFileError(
                "not a sorted table",
                where=where,
                expected=f"magic number {MAGIC:#018x} at byte {len(data) - 8}",
                found=f"{magic:#018x}",
                hint="a checkpoint's index ends with it; the file may be cut short, or a data file or other thing",
            )
        footer = bytes(data[footer_at:])
        _, at = self._handle(footer, 0)
        index, _ = self._handle(footer, at)
        entries = self._parse_block(self._read_block(index), index[0])
        self._index_keys = list(entries)
        self._handles = [self._handle(value, 0)[0] for value in entries.values()]
        self._plain: dict[int, bytes] = {}
        self._searched: dict[int, int] = {}
        self._blocks: dict[int, dict[bytes, bytes]] = {}

    def get(self, key: bytes) -> bytes | None:
        """Return the value under `key`, or None. One data block is read, once.

        A few entries are decoded for it; who asks a lot of one block has all of that decoded.
        """
        i = bisect.bisect_left(self._index_keys, key)
        if i >= len(self._handles):
            return None
        block = self._blocks.get(i)
        if block is None:
            searched = self._searched[i] = self._searched.get(i, 0) + 1
            if searched <= _SEARCHES:
                return self._search(self._plain_block(i), key, self._handles[i][0])
            block = self._block(i)
        return block.get(key)

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the values under many keys, None where there is none; sorted keys take the least time."""
        if len(keys) <= _SEARCHES:
            return list(map(self.get, keys))
        low, high = b"", b""  # the block holds keys above the one, up to the other
        block: dict[bytes, bytes] = {}
        found: list[bytes | None] = []
        for key in keys:
            if not low < key <= high:
                i = bisect.bisect_left(self._index_keys, key)
                if i >= len(self._handles):
                    found.append(None)
                    continue
                block = self._block(i)
                low, high = self._index_keys[i - 1] if i else b"", self._index_keys[i]
            found.append(block.get(key))
        return found

    def __iter__(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield all keys and values in order."""
        for i in range(len(self._handles)):
            yield from self._block(i).items()

    def _block(self, i: int) -> dict[bytes, bytes]:
        block = self._blocks.get(i)
        if block is None:
            block = self._parse_block(self._plain_block(i), self._handles[i][0])
            if block:
                first, last = next(iter(block)), next(reversed(block))
                if last > self._index_keys[i] or (i and first <= self._index_keys[i - 1]):
                    self._bad("block holds keys outside its range", self._handles[i][0])
            self._blocks[i] = block
            self._plain.pop(i, None)
        return block

    def _plain_block(self, i: int) -> bytes:
        plain = self._plain.get(i)
        if plain is None:
            plain = self._plain[i] = self._read_block(self._handles[i])
        return plain

    def _handle(self, data: bytes, at: int) -> tuple[tuple[int, int], int]:
        """Return the offset and size at `at`, checked against the file, and the position behind them."""
        try:
            offset, at = decode_varint(data, at, len(data))
            size, at = decode_varint(data, at, len(data))
        except ValueError:
            self._bad("damaged block handle", len(self._data) - FOOTER_SIZE)
        if offset + size + _TRAILER_SIZE > len(self._data) - FOOTER_SIZE:
            raise TruncatedError(
                "block beyond the end",
                where=f"at byte {offset} {self._where}",
                expected=f"{size} bytes",
                found=f"{max(0, len(self._data) - FOOTER_SIZE - offset)} bytes",
            )
        return (offset, size), at

    def _read_block(self, handle: tuple[int, int]) -> bytes:
        offset, size = handle
        raw = bytes(self._data[offset : offset + size + _TRAILER_SIZE])
        if self._verify:
            stored = int.from_bytes(raw[-4:], "little")
            crc32c.check(stored, crc32c.value(raw[:-4]), where=f"of the block at byte {offset} {self._where}")
        kind = raw[size]
        plain = raw[:size]
        if kind == 1:
            plain = snappy.decompress(plain, where=f"of the block at byte {offset} {self._where}")
        elif kind != 0:
            raise UnsupportedFormatError(
                "unknown block compression",
                where=f"at byte {offset} {self._where}",
                expected="0 (none) or 1 (snappy)",
                found=kind,
            )
        return plain

    def _search(self, data: bytes, wanted: bytes, offset: int) -> bytes | None:
        """Return the value under a key of a block: a binary search over restart points, then a walk from one."""
        count, limit = self._restarts(data, offset)
        low, high = 0, count - 1
        while low < high:
            middle = (low + high + 1) // 2
            key, _, _ = self._entry(data, self._restart(data, limit, middle, offset), b"", limit, offset)
            if key <= wanted:
                low = middle
            else:
                high = middle - 1
        at = self._restart(data, limit, low, offset) if count else limit
        key, key_bytes = b"", 0
        while at < limit:
            key, value_at, at = self._entry(data, at, key, limit, offset)
            if key >= wanted:
                return data[value_at:at] if key == wanted else None
            key_bytes += len(key)
            if key_bytes > _MAX_KEY_EXPANSION * len(data):
                self._bad("block's keys expand beyond measure", offset)
        return None

    def _restarts(self, data: bytes, offset: int) -> tuple[int, int]:
        """Return the number of restart points of a block, and where its entries end."""
        count = int.from_bytes(data[-4:], "little")
        limit = len(data) - 4 - 4 * count
        if limit < 0:
            self._bad("block is too small for its restart points", offset)
        return count, limit

    def _restart(self, data: bytes, limit: int, i: int, offset: int) -> int:
        at = int.from_bytes(data[limit + 4 * i : limit + 4 * i + 4], "little")
        if at >= limit and limit:
            self._bad("restart point beyond the block's entries", offset)
        return at

    def _entry(self, data: bytes, at: int, last: bytes, limit: int, offset: int) -> tuple[bytes, int, int]:
        """Return the key of the entry at `at`, where its value starts, and where it ends."""
        shared, unshared, size, key_at = self._entry_head(data, at, limit, offset)
        value_at = key_at + unshared
        if value_at + size > limit or shared > len(last):
            self._bad(f"entry at byte {at} of the block exceeds it", offset)
        return last[:shared] + data[key_at:value_at], value_at, value_at + size

    def _parse_block(self, data: bytes, offset: int) -> dict[bytes, bytes]:
        _, limit = self._restarts(data, offset)
        keys: list[bytes] = []
        values: list[bytes] = []
        key = b""
        at = 0
        key_bytes = 0
        allowed = _MAX_KEY_EXPANSION * len(data)
        while at < limit:
            # `limit` leaves at least the count's four bytes behind it, so these reads stay inside.
            shared, unshared, size = data[at], data[at + 1], data[at + 2]
            if shared | unshared | size < 0x80:
                at += 3
            else:
                shared, unshared, size, at = self._entry_head(data, at, limit, offset)
            value_at = at + unshared
            end = value_at + size
            if end > limit or shared > len(key):
                self._bad(f"entry at byte {at} of the block exceeds it", offset)
            key = key[:shared] + data[at:value_at]
            keys.append(key)
            values.append(data[value_at:end])
            at = end
            key_bytes += len(key)
            if key_bytes > allowed:
                self._bad("block's keys expand beyond measure", offset)
        entries = dict(zip(keys, values, strict=True))
        if len(entries) != len(keys) or keys != sorted(keys):
            self._bad("block's keys are out of order", offset)
        return entries

    def _entry_head(self, data: bytes, at: int, limit: int, offset: int) -> tuple[int, int, int, int]:
        try:
            shared, at = decode_varint(data, at, limit)
            unshared, at = decode_varint(data, at, limit)
            size, at = decode_varint(data, at, limit)
        except ValueError:
            self._bad(f"damaged entry at byte {at} of the block", offset)
        return shared, unshared, size, at

    def _bad(self, what: str, offset: int) -> NoReturn:
        raise CorruptError(what, where=f"at byte {offset} {self._where}")


class _BlockWriter:
    """Collects the entries of one block."""

    def __init__(self, restart_interval: int) -> None:
        self._interval = restart_interval
        self.clear()

    def clear(self) -> None:
        self._parts: list[bytes] = []
        self._restarts = [0]
        self._since_restart = 0
        self._last_key = b""
        self._size = 0

    @property
    def is_empty(self) -> bool:
        return not self._parts

    def add(self, key: bytes, value: bytes) -> int:
        """Append an entry; return the number of bytes that the finished block would have now."""
        shared = 0
        if self._since_restart < self._interval:
            shared = _common_prefix(self._last_key, key)
            self._since_restart += 1
        else:
            self._restarts.append(self._size)
            self._since_restart = 1
        unshared, size = len(key) - shared, len(value)
        if shared | unshared | size < 0x80:
            entry = bytes((shared, unshared, size)) + key[shared:] + value
        else:
            entry = encode_varint(shared) + encode_varint(unshared) + encode_varint(size) + key[shared:] + value
        self._parts.append(entry)
        self._size += len(entry)
        self._last_key = key
        return self._size + 4 * len(self._restarts) + 4

    def fill(self, keys: Sequence[bytes], values: Sequence[bytes], shared: Sequence[int], start: int) -> int:
        """Append entries from number `start` on, as `add` does, until the block is large enough.

        Args:
            keys: the keys of all entries.
            values: their values.
            shared: how many bytes each key has in common with the one before it.
            start: the first to append, to a block that is empty.

        Returns:
            The number of the entry that comes next.
        """
        parts, restarts, since, size, at = self._parts, self._restarts, 0, 0, start
        while at < len(keys) and size + 4 * len(restarts) + 4 < _BLOCK_SIZE:
            key, value, same = keys[at], values[at], shared[at] if size else 0
            if since == self._interval:
                restarts.append(size)
                same = since = 0
            unshared, length = len(key) - same, len(value)
            if same | unshared | length < 0x80:
                head = bytes((same, unshared, length))
            else:
                head = encode_varint(same) + encode_varint(unshared) + encode_varint(length)
            parts += (head, key[same:], value)
            size += len(head) + unshared + length
            since += 1
            at += 1
        self._size, self._since_restart, self._last_key = size, since, keys[at - 1]
        return at

    def finish(self) -> bytes:
        numbers = [*self._restarts, len(self._restarts)]
        return b"".join(self._parts) + b"".join(n.to_bytes(4, "little") for n in numbers)


class TableWriter:
    """Writes a sorted table, byte for byte as TensorFlow does.

    Args:
        file: where to write; nothing is written before the table, and the caller closes it.
    """

    def __init__(self, file: Writable) -> None:
        self._file = file
        self._offset = 0
        self._data = _BlockWriter(_RESTART_INTERVAL)
        self._index = _BlockWriter(1)
        self._last_key: bytes | None = None
        self._pending: bytes | None = None  # the handle of a block whose index key waits for the key that follows

    def add(self, key: bytes, value: bytes) -> None:
        """Append an entry; raise `MisuseError` unless `key` follows all earlier ones."""
        if self._last_key is not None and key <= self._last_key:
            raise MisuseError(
                "keys of a sorted table must increase", expected=f"more than {self._last_key!r}", found=key
            )
        if self._pending is not None and self._last_key is not None:
            self._index.add(shortest_separator(self._last_key, key), self._pending)
            self._pending = None
        self._last_key = key
        if self._data.add(key, value) >= _BLOCK_SIZE:
            self._flush()

    def add_all(self, keys: Sequence[bytes], values: Sequence[bytes]) -> None:
        """Append all entries of a table at once, as `add` does each, in a fraction of the time."""
        if any(map(operator.ge, keys, itertools.islice(keys, 1, None))):
            raise MisuseError("keys of a sorted table must increase")
        shared = _shared_with_last(keys)
        at = 0
        while at < len(keys):
            if self._pending is not None:
                self._index.add(shortest_separator(keys[at - 1], keys[at]), self._pending)
            at = self._data.fill(keys, values, shared, at)
            self._last_key = keys[at - 1]
            self._flush()

    def finish(self) -> None:
        """Write what is left, the index and the footer."""
        self._flush()
        metaindex = self._write_block(_BlockWriter(_RESTART_INTERVAL))
        if self._pending is not None and self._last_key is not None:
            self._index.add(short_successor(self._last_key), self._pending)
        index = self._write_block(self._index)
        self._file.write((metaindex + index).ljust(FOOTER_SIZE - 8, b"\0") + MAGIC.to_bytes(8, "little"))

    def _flush(self) -> None:
        if not self._data.is_empty:
            self._pending = self._write_block(self._data)
            self._data.clear()

    def _write_block(self, block: _BlockWriter) -> bytes:
        """Write a block and return its encoded handle."""
        body = block.finish()
        handle = encode_varint(self._offset) + encode_varint(len(body))
        covered = body + b"\0"
        self._file.write(covered + crc32c.masked(covered).to_bytes(4, "little"))
        self._offset += len(body) + _TRAILER_SIZE
        return handle


def encode_table(keys: Sequence[bytes], values: Sequence[bytes]) -> bytes:
    """Return a sorted table of many entries, what a `TableWriter` writes; raise `MisuseError` unless keys increase."""
    file = io.BytesIO()
    table = TableWriter(file)
    table.add_all(keys, values)
    table.finish()
    return file.getvalue()


def _shared_with_last(keys: Sequence[bytes]) -> list[int]:
    """Return how many bytes each key has in common with the one before it, 0 for the first."""
    found = [0]
    for at in range(0, len(keys) - 1, _COMPARED):
        part = keys[at : at + _COMPARED + 1]
        lengths = np.fromiter(map(len, part), np.int64, len(part))
        width = max(1, int(lengths.max()))
        if width > _WIDE:
            found += map(_common_prefix, part, part[1:])
            continue
        rows = np.array(part, f"S{width}").view(np.uint8).reshape(-1, width)
        differ = rows[1:] != rows[:-1]
        first = np.where(differ.any(1), differ.argmax(1), width)
        found += np.minimum(first, np.minimum(lengths[1:], lengths[:-1])).tolist()
    return found


def _common_prefix(a: bytes, b: bytes) -> int:
    n = min(len(b), len(a))
    differing = int.from_bytes(a[:n], "big") ^ int.from_bytes(b[:n], "big")
    return n - (differing.bit_length() + 7) // 8


def shortest_separator(start: bytes, limit: bytes) -> bytes:
    """Return a short key with ``start <= key < limit`` (``FindShortestSeparator``)."""
    at = _common_prefix(start, limit)
    if at < min(len(start), len(limit)) and start[at] < 0xFF and start[at] + 1 < limit[at]:
        return start[:at] + bytes((start[at] + 1,))
    return start


def short_successor(key: bytes) -> bytes:
    """Return a short key >= `key` (``FindShortSuccessor``)."""
    for i, byte in enumerate(key):
        if byte != 0xFF:
            return key[:i] + bytes((byte + 1,))
    return key
