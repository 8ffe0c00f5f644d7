"""The two messages of a bundle's index: the header, and an entry per tensor or slice.

::

    BundleHeaderProto  num_shards 1, endianness 2 (0 little, 1 big), version 3
    VersionDef         producer 1, min_consumer 2, bad_consumers 3
    BundleEntryProto   dtype 1, shape 2, shard_id 3, offset 4, size 5, crc32c 6 (fixed32, masked), slices 7
    TensorShapeProto   dim 2 {size 1}, unknown_rank 3
    TensorSliceProto   extent 1 {start 1, length 2; without a length: the whole dimension}

An index may hold hundreds of thousands of entries, so they are coded by hand (see `wire`). Follows
tensorflow/core/protobuf/tensor_bundle.proto; fields unknown to it are skipped.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Final, Literal, NamedTuple, TypeAlias

from coldframe.errors import CorruptError, UnsupportedFormatError
from coldframe.formats.slices import FULL, TensorSlice
from coldframe.formats.wire import bytes_field, decode_varint, encode_varint, fields, integer_field, signed
from coldframe.records import dataclass

ByteOrder: TypeAlias = Literal["little", "big"]

_VERSION: Final = 1  # kTensorBundleVersion, as producer and as consumer
_ENDIANNESS: Final[tuple[ByteOrder, ByteOrder]] = ("little", "big")


@dataclass(frozen=True, slots=True)
class Header:
    """What a bundle says of itself, under the empty key.

    Attributes:
        num_shards: the number of data files.
        endianness: ``little`` or ``big``, of the tensors' bytes.
        producer: the version of the writer.
    """

    num_shards: int
    endianness: ByteOrder = "little"
    producer: int = _VERSION

    @classmethod
    def decode(cls, data: bytes, *, where: str) -> Header:
        """Raise `CorruptError` where it is damaged and `UnsupportedFormatError` where it is not for this reader."""
        shards, endianness, producer, min_consumer = 0, 0, 0, 0
        bad: list[int] = []
        try:
            for number, payload in fields(data):
                if number == 1 and isinstance(payload, int):
                    shards = payload
                elif number == 2 and isinstance(payload, int):
                    endianness = payload
                elif number == 3 and isinstance(payload, bytes):
                    producer, min_consumer, bad = _decode_version(payload)
        except ValueError:
            raise CorruptError("damaged header", where=where, found=data[:64]) from None
        if not 1 <= shards < 1 << 31:
            raise CorruptError("damaged header", where=where, expected="at least 1 shard", found=signed(shards))
        if endianness >= len(_ENDIANNESS):
            raise UnsupportedFormatError("unknown endianness", where=where, expected="0 or 1", found=endianness)
        if min_consumer > _VERSION or _VERSION in bad:
            raise UnsupportedFormatError(
                "checkpoint is not for this reader",
                where=where,
                expected=f"consumers of version {_VERSION}",
                found=f"at least version {min_consumer}" if min_consumer > _VERSION else f"all but versions {bad}",
                hint="it was written by a newer TensorFlow",
            )
        return cls(shards, _ENDIANNESS[endianness], producer)

    def encode(self) -> bytes:
        version = bytes_field(3, integer_field(1, self.producer))
        return integer_field(1, self.num_shards) + integer_field(2, _ENDIANNESS.index(self.endianness)) + version


def _decode_version(data: bytes) -> tuple[int, int, list[int]]:
    producer, min_consumer = 0, 0
    bad: list[int] = []
    for number, payload in fields(data):
        if number == 1 and isinstance(payload, int):
            producer = payload
        elif number == 2 and isinstance(payload, int):
            min_consumer = payload
        elif number == 3 and isinstance(payload, int):
            bad.append(payload)
        elif number == 3 and isinstance(payload, bytes):  # packed
            at = 0
            while at < len(payload):
                value, at = decode_varint(payload, at, len(payload))
                bad.append(value)
    return producer, min_consumer, bad


class Entry(NamedTuple):
    """Where a tensor or a slice lies. `slices` is filled for a partitioned tensor, which has no bytes of its own.

    Attributes:
        dtype: the DataType number.
        shape: dimensions, all known.
        shard: the number of the data file.
        offset: where the bytes start in it.
        size: how many bytes.
        crc: their masked CRC-32C.
        slices: the stored slices of a partitioned tensor.
    """

    dtype: int
    shape: tuple[int, ...]
    shard: int = 0
    offset: int = 0
    size: int = 0
    crc: int = 0
    slices: tuple[TensorSlice, ...] = ()


def decode_entry(data: bytes, shapes: dict[bytes, tuple[int, ...]], *, name: str, where: str) -> Entry:
    """Decode an entry; `shapes` remembers encoded shapes, which repeat a lot.

    Raises:
        CorruptError: it is not one.
    """
    dtype = shard = offset = size = crc = 0
    shape: tuple[int, ...] = ()
    slices: list[TensorSlice] = []
    at, end = 0, len(data)
    try:
        while at < end:
            tag = data[at]
            if tag == 0x35:
                crc = int.from_bytes(data[at + 1 : at + 5], "little")
                at += 5
                continue
            if tag not in _KNOWN_TAGS:
                return _decode_odd_entry(data, shapes)
            value = data[at + 1]
            if value < 0x80:
                at += 2
            else:
                value, at = decode_varint(data, at + 1, end)
            if tag == 0x08:
                dtype = value
            elif tag == 0x20:
                offset = value
            elif tag == 0x28:
                size = value
            elif tag == 0x18:
                shard = value
            else:
                raw = data[at : at + value]
                at += value
                if tag == 0x3A:
                    slices.append(_decode_slice(raw))
                elif (known := shapes.get(raw)) is not None:
                    shape = known
                else:
                    shape = shapes[raw] = decode_shape(raw)
    except (ValueError, IndexError):
        at = -1
    if at != end:
        raise CorruptError("damaged entry", where=f"of tensor `{name}` {where}", found=data[:64])
    return Entry(dtype, shape, shard, offset, size, crc, tuple(slices))


_KNOWN_TAGS: Final = frozenset({0x08, 0x12, 0x18, 0x20, 0x28, 0x3A})


def _decode_odd_entry(data: bytes, shapes: dict[bytes, tuple[int, ...]]) -> Entry:
    """Decode an entry with unknown fields or unusual tags."""
    numbers = dict.fromkeys((1, 3, 4, 5, 6), 0)
    shape: tuple[int, ...] = ()
    slices: list[TensorSlice] = []
    for number, payload in fields(data):
        if number in numbers and isinstance(payload, int):
            numbers[number] = payload
        elif number == 2 and isinstance(payload, bytes):
            shape = decode_shape(payload)
        elif number == 7 and isinstance(payload, bytes):
            slices.append(_decode_slice(payload))
        elif number in numbers or number in (0, 2, 7):
            raise ValueError("wire type")
    return Entry(numbers[1], shape, numbers[3], numbers[4], numbers[5], numbers[6] & 0xFFFFFFFF, tuple(slices))


def decode_shape(data: bytes) -> tuple[int, ...]:
    """Decode a shape; raise `ValueError` unless it is one, and known."""
    dims = []
    for number, payload in fields(data):
        if number == 2 and isinstance(payload, bytes):
            sizes = [signed(v) for n, v in fields(payload) if n == 1 and isinstance(v, int)]
            dims.append(sizes[-1] if sizes else 0)
        elif number in (2, 3) and payload:
            raise ValueError("a stored tensor has a known shape")
    if any(d < 0 for d in dims):
        raise ValueError("negative dimension")
    return tuple(dims)


def _decode_slice(data: bytes) -> TensorSlice:
    starts, lengths = [], []
    for number, payload in fields(data):
        if number != 1 or not isinstance(payload, bytes):
            continue
        start, length = 0, FULL
        for n, value in fields(payload):
            if n == 1 and isinstance(value, int):
                start = signed(value)
            elif n == 2 and isinstance(value, int):
                length = signed(value)
        if start < 0 or length < FULL:
            raise ValueError("negative extent")
        starts.append(start)
        lengths.append(length)
    return TensorSlice(tuple(starts), tuple(lengths))


def encode_entry(entry: Entry) -> bytes:
    """Encode an entry as TensorFlow does: fields in order, zeros left out, the shape always there."""
    out = encode_head(entry.dtype, entry.shape)
    if entry.shard:
        out += b"\x18" + encode_varint(entry.shard)
    if entry.offset:
        out += b"\x20" + encode_varint(entry.offset)
    if entry.size:
        out += b"\x28" + encode_varint(entry.size)
    if entry.crc:
        out += b"\x35" + entry.crc.to_bytes(4, "little")
    if entry.slices:
        out += b"".join(bytes_field(7, _encode_slice(s)) for s in entry.slices)
    return out


@functools.lru_cache(4096)  # dtypes and shapes repeat a lot
def encode_head(dtype: int, shape: tuple[int, ...]) -> bytes:
    """Encode the fields of an entry that say what it is, before those that say where."""
    return integer_field(1, dtype) + bytes_field(2, _encode_shape(shape))


def _encode_shape(shape: Sequence[int]) -> bytes:
    return b"".join(bytes_field(2, integer_field(1, d)) for d in shape)


def _encode_slice(part: TensorSlice) -> bytes:
    extents = []
    for start, length in zip(part.starts, part.lengths, strict=True):
        # `length` is in a oneof: zero is written too, and only its absence means the whole dimension.
        size = b"" if length == FULL else b"\x10" + (integer_field(2, length)[1:] or b"\0")
        extents.append(bytes_field(1, integer_field(1, start) + size))
    return b"".join(extents)
