"""How a bundle stores tensors whose elements vary in size.

::

    string   [varint64 length] x n  [masked CRC of the lengths, uint32]  [bytes] x n
             The CRC runs over each length as uint32 (uint64 beyond 4 GiB). The entry's CRC goes on from it, over the
             four checksum bytes and all strings.
    variant  ([varint64 length] [VariantTensorDataProto] [masked CRC so far, uint32]) x n
             The CRC, also the entry's, runs over each length as uint64, the bytes, and the stored checksums.

Integers are in the bundle's byte order. Follows ``WriteStringTensor``, ``WriteVariantTensor`` and their readers in
tensorflow/core/util/tensor_bundle/tensor_bundle.cc. Variants stay opaque: their serialized messages are handed over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from coldframe.errors import CorruptError, TruncatedError
from coldframe.formats import crc32c
from coldframe.formats.bundle_entry import ByteOrder
from coldframe.formats.wire import decode_varint, encode_varint

_UINT32_MAX: Final = 0xFFFFFFFF
_MAX_VARINT: Final = 10
_CHUNK: Final = 1 << 20
_WORTH_SORTING: Final = 8  # strings of one length, for numpy to cut them out together
_Lengths: TypeAlias = npt.NDArray[np.int64]


def write_strings(values: Sequence[bytes], write: Callable[[bytes], object]) -> tuple[int, int]:
    """Write the elements of a string tensor; return the number of bytes and their CRC, not masked."""
    lengths = np.fromiter(map(len, values), np.int64, len(values))
    if lengths.max(initial=0) < 0x80:
        head = lengths.astype(np.uint8).tobytes()
    else:
        head = b"".join(map(encode_varint, lengths.tolist()))
    crc = _crc_of_lengths(lengths, "little")
    checksum = crc32c.mask(crc).to_bytes(4, "little")
    crc = crc32c.extend(crc, checksum)
    write(head + checksum)
    for chunk in _chunks(values, lengths):
        crc = crc32c.extend(crc, chunk)
        write(chunk)
    return len(head) + 4 + int(lengths.sum()), crc


def _chunks(values: Sequence[bytes], lengths: _Lengths) -> Iterator[bytes]:
    """Join small strings, so that neither calls nor copies add up."""
    ends = np.cumsum(lengths)
    start = done = 0
    while start < len(values):
        stop = max(start + 1, int(np.searchsorted(ends, done + _CHUNK, "right")))
        chunk = values[start] if stop == start + 1 else b"".join(values[start:stop])
        if chunk:
            yield chunk
        start, done = stop, int(ends[stop - 1])


def read_strings(
    data: memoryview, count: int, order: ByteOrder, *, verify: bool, stored_crc: int, where: str
) -> npt.NDArray[Any]:
    """Decode `count` strings into a flat object array of bytes; raise `CorruptError`."""
    if count + 4 > len(data):  # at least a byte of length each: nothing is allocated for what cannot be there
        raise TruncatedError(
            "string tensor is too small", where=where, expected=f"at least {count + 4} bytes", found=len(data)
        )
    lengths, total, at = _decoded_lengths(data, count, where)
    if at + 4 + total != len(data):
        raise CorruptError(
            "string tensor of another size", where=where, expected=f"{at + 4 + total} bytes", found=len(data)
        )
    body = bytes(data[at + 4 :])
    if verify:
        crc = _crc_of_lengths(lengths, order)
        crc32c.check(int.from_bytes(data[at : at + 4], order), crc, where=f"of the string lengths {where}")
        crc32c.check(stored_crc, crc32c.extend(crc32c.extend(crc, bytes(data[at : at + 4])), body), where=where)
    return _cut(body, lengths)


def _cut(body: bytes, lengths: _Lengths) -> npt.NDArray[Any]:
    """Return the strings that follow one another in `body`, as objects."""
    out = np.empty(len(lengths), object)
    ends = np.cumsum(lengths)
    starts = ends - lengths
    order = np.argsort(lengths, kind="stable")
    sizes, firsts = np.unique(lengths[order], return_index=True)
    if len(lengths) <= len(sizes) * _WORTH_SORTING:
        out[:] = [body[start:end] for start, end in zip(starts.tolist(), ends.tolist(), strict=True)]
        return out
    for size, chosen in zip(sizes.tolist(), np.split(order, firsts[1:]), strict=True):
        if not 0 < size <= _CHUNK:
            for i in chosen.tolist():
                out[i] = body[starts[i] : ends[i]]
            continue
        # Elements of a void dtype become bytes. Those of this array begin at each byte, and overlap.
        every = np.ndarray(len(body) - size + 1, np.dtype((np.void, size)), body, strides=(1,))
        out[chosen] = every[starts[chosen]]
    return out


def _decoded_lengths(data: memoryview, count: int, where: str) -> tuple[_Lengths, int, int]:
    """Return the lengths, none if they are together more than there is; their sum; and where they end."""
    head = np.frombuffer(data[: count * _MAX_VARINT], np.uint8)
    if not (head[:count] & 0x80).any():
        return head[:count].astype(np.int64), int(head[:count].sum(dtype=np.int64)), count
    lengths = []
    at = 0
    try:
        for _ in range(count):
            length, at = decode_varint(data, at, len(data))
            lengths.append(length)
    except ValueError:
        raise CorruptError("damaged string lengths", where=where) from None
    if at + 4 > len(data):
        raise TruncatedError("string tensor is too small", where=where, expected=f"{at + 4} bytes", found=len(data))
    total = sum(lengths)
    return np.array(lengths if total <= len(data) else [], np.int64), total, at


def _crc_of_lengths(lengths: _Lengths, order: ByteOrder) -> int:
    if lengths.max(initial=0) <= _UINT32_MAX:
        return crc32c.value(lengths.astype(np.dtype(np.uint32).newbyteorder("<" if order == "little" else ">")))
    return crc32c.value(b"".join(n.to_bytes(4 if n <= _UINT32_MAX else 8, order) for n in lengths.tolist()))


def write_variants(values: Sequence[bytes], write: Callable[[bytes], object]) -> tuple[int, int]:
    """Write serialized ``VariantTensorDataProto`` messages; return the number of bytes and their CRC, not masked."""
    crc = size = 0
    for value in values:
        head = encode_varint(len(value))
        crc = crc32c.extend(crc32c.extend(crc, len(value).to_bytes(8, "little")), value)
        checksum = crc32c.mask(crc).to_bytes(4, "little")
        crc = crc32c.extend(crc, checksum)
        write(head + value + checksum)
        size += len(head) + len(value) + 4
    return size, crc


def read_variants(data: memoryview, count: int, *, verify: bool, stored_crc: int, where: str) -> npt.NDArray[Any]:
    """Decode `count` variants into a flat object array of serialized messages; raise `CorruptError`."""
    if count * 5 > len(data):
        raise TruncatedError(
            "variant tensor is too small", where=where, expected=f"at least {count * 5} bytes", found=len(data)
        )
    out = np.empty(count, object)
    crc = at = 0
    for i in range(count):
        try:
            length, at = decode_varint(data, at, len(data))
        except ValueError:
            raise CorruptError("damaged variant length", where=f"of element {i} {where}") from None
        end = at + length
        if end + 4 > len(data):
            raise TruncatedError("variant beyond the end", where=f"of element {i} {where}", found=f"{length} bytes")
        out[i] = bytes(data[at:end])
        checksum = bytes(data[end : end + 4])
        if verify:
            crc = crc32c.extend(crc32c.extend(crc, length.to_bytes(8, "little")), out[i])
            crc32c.check(int.from_bytes(checksum, "little"), crc, where=f"of element {i} {where}")
            crc = crc32c.extend(crc, checksum)
        at = end + 4
    if at != len(data):
        raise CorruptError("variant tensor of another size", where=where, expected=f"{at} bytes", found=len(data))
    if verify:
        crc32c.check(stored_crc, crc, where=where)
    return out
