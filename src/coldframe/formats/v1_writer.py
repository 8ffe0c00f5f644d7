"""V1 checkpoints, for writing: one file, byte for byte TensorFlow's; `v1` has the picture.

The metadata comes first, so all that is to be written is announced before; then values are asked for in the order of
their keys, one at a time. Numbers of fixed width are copied into the message as they are; the others become varints.
Follows tensorflow/core/util/tensor_slice_writer.cc.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from coldframe import dtypes
from coldframe.dtypes import DType
from coldframe.errors import MisuseError, UnsupportedFormatError
from coldframe.formats import files
from coldframe.formats.ordered_code import encode_slice_key
from coldframe.formats.slices import FULL, TensorSlice
from coldframe.formats.sstable import TableWriter
from coldframe.formats.v1 import VALUE_FIELDS
from coldframe.formats.wire import bytes_field, encode_varint, integer_field
from coldframe.records import dataclass

_VALUES: Final = {  # numbers of TensorProto's fields
    "half_val": 13, "float_val": 5, "double_val": 6, "int_val": 7, "string_val": 8, "scomplex_val": 9, "int64_val": 10,
    "bool_val": 11, "dcomplex_val": 12, "uint32_val": 16, "uint64_val": 17,
}  # fmt: skip
_AS_THEY_ARE: Final = ("float_val", "double_val", "scomplex_val", "dcomplex_val", "bool_val")
_MAX_RECORD: Final = (1 << 31) - 1
_VERSION: Final = bytes_field(2, integer_field(1, 1))  # VersionDef{producer: TF_CHECKPOINT_VERSION}


@dataclass(frozen=True, slots=True)
class V1Tensor:
    """A tensor to write.

    Attributes:
        name: its name.
        dtype: its dtype.
        shape: the shape of the full tensor.
        slices: the slices that are stored; of a whole tensor, the one that is full in each dimension.
    """

    name: str
    dtype: DType
    shape: tuple[int, ...]
    slices: tuple[TensorSlice, ...]

    @classmethod
    def whole(cls, name: str, dtype: DType, shape: tuple[int, ...]) -> V1Tensor:
        """Return a tensor that is stored in one piece."""
        return cls(name, dtype, shape, (TensorSlice.whole(len(shape)),))


ReadSlice = Callable[[V1Tensor, TensorSlice], npt.NDArray[Any]]


def write_v1(path: str | os.PathLike[str], tensors: Sequence[V1Tensor], read: ReadSlice) -> None:
    """Write a V1 checkpoint of one file, replacing what is there in one step.

    Args:
        path: the file, which is the checkpoint's prefix.
        tensors: what to write, in the order in which the metadata lists it.
        read: returns the value of a slice; each is asked for once, and let go.

    Raises:
        UnsupportedFormatError: V1 checkpoints hold no such dtype, or no slice as large as one; nothing is written.
        MisuseError: two tensors, or slices of one, have the same name, or a value does not fit.
        NotFoundError: the folder does not exist.
        OSError: the system refuses to write.
    """
    keyed: dict[bytes, tuple[V1Tensor, TensorSlice]] = {}
    for tensor in tensors:
        _refuse(tensor)
        for part in tensor.slices:
            key = encode_slice_key(tensor.name, part.starts, part.lengths)
            if key in keyed:
                raise MisuseError(f"tensor `{tensor.name}` is already in the checkpoint", found=f"slice `{part}` twice")
            keyed[key] = (tensor, part)
    files.write_atomic(path, _chunks(tensors, keyed, read))


def _refuse(tensor: V1Tensor) -> None:
    if tensor.dtype not in VALUE_FIELDS or tensor.dtype is dtypes.bfloat16:
        raise UnsupportedFormatError(
            f"{tensor.dtype} tensors do not exist in V1 checkpoints",
            where=f"`{tensor.name}`",
            hint="write the checkpoint as V2, or cast the tensor",
        )


class _Buffer:
    """Holds what a table has written until it is passed on."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def write(self, data: bytes, /) -> None:
        self._parts.append(data)

    def take(self) -> list[bytes]:
        parts, self._parts = self._parts, []
        return parts


def _chunks(
    tensors: Sequence[V1Tensor], keyed: dict[bytes, tuple[V1Tensor, TensorSlice]], read: ReadSlice
) -> Iterator[bytes]:
    buffer = _Buffer()
    table = TableWriter(buffer)
    meta = b"".join(bytes_field(1, _meta(t)) for t in tensors)
    table.add(b"", bytes_field(1, meta + _VERSION))
    for key in sorted(keyed):
        tensor, part = keyed[key]
        value = np.asarray(read(tensor, part))
        sizes = part.resolve(tensor.shape, where=f"of tensor `{tensor.name}`").sizes
        if value.shape != sizes:
            raise MisuseError(f"tensor `{tensor.name}` has another shape", expected=list(sizes), found=[*value.shape])
        data = bytes_field(3, _encode_values(tensor, value))
        saved = bytes_field(1, tensor.name.encode()) + bytes_field(2, _encode_slice(part)) + data
        if len(saved) > _MAX_RECORD:
            raise UnsupportedFormatError(
                "tensor is too large for a V1 checkpoint",
                where=f"`{tensor.name}`",
                expected=f"at most {_MAX_RECORD} bytes",
                found=len(saved),
                hint="write the checkpoint as V2, or partition the tensor",
            )
        table.add(key, bytes_field(2, saved))
        yield from buffer.take()
    table.finish()
    yield from buffer.take()


def _meta(tensor: V1Tensor) -> bytes:
    shape = b"".join(bytes_field(2, integer_field(1, d)) for d in tensor.shape)
    slices = b"".join(bytes_field(4, _encode_slice(part)) for part in tensor.slices)
    head = bytes_field(1, tensor.name.encode()) + bytes_field(2, shape)
    return head + integer_field(3, tensor.dtype.enum) + slices


def _encode_slice(part: TensorSlice) -> bytes:
    extents = []
    for start, length in zip(part.starts, part.lengths, strict=True):
        # `length` is in a oneof: zero is written too, and only its absence means the whole dimension.
        size = b"" if length == FULL else b"\x10" + encode_varint(length)
        extents.append(bytes_field(1, integer_field(1, start) + size))
    return b"".join(extents)


def _encode_values(tensor: V1Tensor, value: npt.NDArray[Any]) -> bytes:
    field = VALUE_FIELDS[tensor.dtype]
    number = _VALUES[field]
    if tensor.dtype is dtypes.string:
        strings = value.reshape(-1).tolist()
        return b"".join(bytes_field(number, s.encode() if isinstance(s, str) else s) for s in strings)
    flat = np.ascontiguousarray(value).reshape(-1)
    if flat.dtype != tensor.dtype.numpy:
        raise MisuseError(
            f"tensor `{tensor.name}` is not {tensor.dtype}", expected=tensor.dtype.numpy, found=flat.dtype
        )
    if not flat.size:
        return b""
    if field in _AS_THEY_ARE:
        if sys.byteorder == "big":
            flat = flat.byteswap()
        return bytes_field(number, flat.tobytes())
    if field == "half_val":
        flat = flat.view(np.uint16)
    return bytes_field(number, varints(flat))


def varints(values: npt.NDArray[Any]) -> bytes:
    """Encode integers, one behind the other; negative ones take ten bytes."""
    left = values.astype(np.int64).view(np.uint64) if values.dtype.kind == "i" else values.astype(np.uint64)
    if left.size and int(left.max()) < 0x80:
        return left.astype(np.uint8).tobytes()
    columns = np.empty((left.size, 10), np.uint8)
    used = np.zeros((left.size, 10), np.bool_)
    more = np.ones(left.size, np.bool_)
    for i in range(10):
        used[:, i] = more
        low = (left & np.uint64(0x7F)).astype(np.uint8)
        left = left >> np.uint64(7)
        more = left > 0
        columns[:, i] = low | (more.astype(np.uint8) << 7)
        if not more.any():
            break
        more &= used[:, i]
    return columns[used].tobytes()


__all__ = ["V1Tensor", "varints", "write_v1"]
