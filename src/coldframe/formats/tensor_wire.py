"""TensorProtos straight to bytes, for replies by the thousand; `tensor_proto` is the general way.

::

    1 dtype | 2 tensor_shape { 2 dim { 1 size } * } | 4 tensor_content, or the list field of the dtype:
    5 float_val  6 double_val  7 int_val  8 string_val  10 int64_val  11 bool_val  13 half_val  16, 17 uint32/64_val

A packed list of floats or truth values is, byte for byte, the array in memory, so that nothing is converted.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from coldframe.dtypes import DType, from_numpy
from coldframe.formats import tensor_proto
from coldframe.formats.wire import bytes_field, encode_varint, integer_field

_AS_IN_MEMORY: Final = {"float32": 5, "float64": 6, "bool": 11}
_STRINGS: Final = 8
_CONTENT: Final = 4


def encode_tensor(array: npt.NDArray[Any], *, as_content: bool = False) -> bytes:
    """Return the serialized TensorProto of `array`.

    Args:
        array: any array; strings as bytes in an object array.
        as_content: whether numbers go into ``tensor_content``; else into the dtype's list, where clients that do not
            use TensorFlow's own functions look for them.
    """
    dtype = from_numpy(array.dtype)
    head = integer_field(1, dtype.enum) + bytes_field(2, _shape(array.shape))
    field = _AS_IN_MEMORY.get(dtype.name)
    if as_content and dtype.width:
        return head + (bytes_field(_CONTENT, array.tobytes()) if array.size else b"")
    if field is not None:
        return head + (bytes_field(field, array.tobytes()) if array.size else b"")
    if dtype.kind == "s":
        return head + b"".join(bytes_field(_STRINGS, v) for v in array.reshape(-1).tolist())
    return _by_message(array, dtype)


def _shape(dims: tuple[int, ...]) -> bytes:
    return b"".join(bytes_field(2, b"" if not n else b"\x08" + encode_varint(n)) for n in dims)


def _by_message(array: npt.NDArray[Any], dtype: DType) -> bytes:
    """Let protobuf write numbers that are stored in another form than in memory."""
    whole = np.asarray(array, order="C")  # `ascontiguousarray` would make a list of a scalar
    return bytes(tensor_proto.listed(whole, dtype).SerializeToString())
