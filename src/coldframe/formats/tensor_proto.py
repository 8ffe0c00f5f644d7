"""TensorProto to numpy and back.

::

    dtype, tensor_shape, then one of
      tensor_content   raw little-endian elements, row-major
      <type>_val       a list; a shorter one than the shape needs repeats its last value, an empty one means zeros

A file may claim any shape: an array is allocated only as far as its bytes back it. One repeated value is a broadcast
view without memory of its own; a list that repeats its tail is expanded up to `EXPANSION_LIMIT` bytes.

After tensorflow/core/framework/tensor.proto; `from_array` chooses the encoding that ``tf.make_tensor_proto`` chooses.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from coldframe import dtypes
from coldframe.errors import CorruptError, MisuseError, UnsupportedAttributeError, UnsupportedError
from coldframe.formats import messages
from coldframe.shapes import Shape

if TYPE_CHECKING:
    from coldframe.dtypes import DType

Array: TypeAlias = npt.NDArray[Any]

EXPANSION_LIMIT: Final = 2**30  # bytes that a list of values may be expanded to by repeating its last one
MAX_RANK: Final = 64  # numpy's
_POINTER: Final = 8  # bytes of an element of an object array

_VAL_FIELDS: Final = {
    dtypes.float32: "float_val",
    dtypes.float64: "double_val",
    dtypes.string: "string_val",
    dtypes.complex64: "scomplex_val",
    dtypes.complex128: "dcomplex_val",
    dtypes.int64: "int64_val",
    dtypes.bool_: "bool_val",
    dtypes.float16: "half_val",
    dtypes.bfloat16: "half_val",
    dtypes.resource: "resource_handle_val",
    dtypes.variant: "variant_val",
    dtypes.uint32: "uint32_val",
    dtypes.uint64: "uint64_val",
}
_INT_VAL: Final = frozenset(
    d for d in dtypes.ALL if d.kind in "iuq" and d not in {dtypes.int64, dtypes.uint32, dtypes.uint64}
)
_FLOAT8: Final = frozenset(d for d in dtypes.ALL if d.kind == "f" and d.width == 1)
_SUB_BYTE: Final = frozenset({dtypes.int4, dtypes.uint4, dtypes.int2, dtypes.uint2})
# What TensorFlow stores as tensor_content once there are two elements.
_CONTENT: Final = frozenset(d for d in dtypes.ALL if d.kind in "fiuq") - _SUB_BYTE - {dtypes.uint16}


def val_field(dtype: DType) -> str:
    """Return the TensorProto field that lists values of `dtype`: ``float_val`` for float32."""
    if dtype in _INT_VAL:
        return "int_val"
    if dtype in _FLOAT8:
        return "float8_val"
    return _VAL_FIELDS[dtype]


def shape_of(proto: Any) -> Shape:
    """Return the `Shape` in a TensorShapeProto; a size of -1 is an unknown dimension."""
    return Shape.unknown() if proto.unknown_rank else Shape.of(d.size for d in proto.dim)


def shape_proto(dims: Iterable[int | None] | None) -> Any:
    """Return the TensorShapeProto of `dims`: None, or -1, for an unknown dimension; None for an unknown rank."""
    proto = messages.TensorShapeProto()
    if dims is None:
        proto.unknown_rank = True
        return proto
    for d in dims:
        proto.dim.add(size=-1 if d is None else int(d))
    return proto


def to_array(proto: Any, *, where: str, content: bytes | memoryview | Array | None = None) -> Array:
    """Return the values of a TensorProto; read-only where that saves a copy.

    Args:
        proto: the TensorProto.
        where: the place, as errors name it: ``in node `w` of model.pb``.
        content: its ``tensor_content``, bytes, where that was read apart from the proto, or is at hand: a message
            copies it each time that it is asked.

    Returns:
        An array of the proto's shape and its dtype's numpy type. Strings are an object array of bytes; resources and
        variants are an object array of ResourceHandleProto and VariantTensorDataProto.

    Raises:
        CorruptError: the shape is open or negative, or the values do not fill it.
        UnsupportedError: the values would take too much memory, or more than 64 dimensions.
    """
    dtype = _dtype_of(proto, where)
    shape = _static_shape(proto, where)
    raw = proto.tensor_content if content is None else content
    if len(raw):
        return _from_content(raw, dtype, shape, where)
    return _fill(_listed(proto, dtype, where), dtype, shape, where)


def expansion(proto: Any, content: bytes | memoryview | None = None) -> int:
    """Return the bytes that a TensorProto's array has, or lets others have, beyond those that are sent with it.

    One value stands for as many as the shape wants, and a shape without elements for results of any size: a sum over
    ``[2**40, 0]`` has ``2**40`` elements. Nothing is made to find out. `content` is as `to_array` takes it.
    """
    claimed = 1
    for dim in proto.tensor_shape.dim[:MAX_RANK]:  # one of more dimensions is refused by `to_array`
        claimed *= dim.size or 1
    try:
        dtype = dtypes.from_enum(proto.dtype)
    except UnsupportedAttributeError:
        return 0  # so is this
    width, content = dtype.width or _POINTER, proto.tensor_content if content is None else content
    sent = len(content) // width if content else len(getattr(proto, val_field(dtype)))
    return max(0, claimed - max(sent, 1)) * width


def _dtype_of(proto: Any, where: str) -> DType:
    try:
        return dtypes.from_enum(proto.dtype)
    except UnsupportedAttributeError as e:
        raise UnsupportedAttributeError("tensor of unknown dtype", where=where, found=proto.dtype) from e


def _static_shape(proto: Any, where: str) -> tuple[int, ...]:
    shape = proto.tensor_shape
    dims = tuple([d.size for d in shape.dim])
    if shape.unknown_rank or (dims and min(dims) < 0):
        raise CorruptError("tensor of open shape", where=where, expected="known dimensions", found=list(dims))
    if len(dims) > MAX_RANK:
        raise UnsupportedError("tensor of too many dimensions", where=where, expected=MAX_RANK, found=len(dims))
    if dims and math.prod(filter(None, dims)) >= 2**63 // 16:  # beyond what an index can count, in the widest dtype
        raise CorruptError("tensor of impossible shape", where=where, found=list(dims))
    return dims


def written_alike(proto: Any) -> bool:
    """Whether a proto, without its ``tensor_content``, is what `from_array` makes beside that, given the values."""
    plain = messages.TensorProto(dtype=proto.dtype, tensor_shape=shape_proto(shape_of(proto.tensor_shape).dims))
    alike = plain.SerializeToString(deterministic=True) == proto.SerializeToString(deterministic=True)
    return alike and any(d.enum == proto.dtype for d in _CONTENT)


def _from_content(content: bytes | memoryview | Array, dtype: DType, shape: tuple[int, ...], where: str) -> Array:
    count = math.prod(shape)
    if dtype is dtypes.string:
        return _string_content(bytes(content), count, where).reshape(shape)
    if not dtype.width:
        raise UnsupportedError(f"{dtype} tensor in raw bytes", where=where, hint=f"it should be in {val_field(dtype)}")
    if len(content) != count * dtype.width:
        raise CorruptError(
            f"{dtype}{list(shape)} tensor of the wrong size",
            where=where,
            expected=f"{count * dtype.width} bytes",
            found=len(content),
        )
    if dtype in _SUB_BYTE:  # one byte per element; only its low bits count
        narrow: Array = np.frombuffer(content, np.int8).astype(dtype.numpy)
        return narrow.reshape(shape)
    if dtype is dtypes.bool_:
        truth: Array = np.frombuffer(content, np.uint8) != 0
        return truth.reshape(shape)
    return np.frombuffer(content, dtype.numpy).reshape(shape)


def _string_content(content: bytes, count: int, where: str) -> Array:
    """Decode ``varint length`` times `count`, then the strings on end."""
    ends, at, total = [], 0, 0
    for _ in range(min(count, len(content) + 1)):
        length, shift = 0, 0
        while True:
            byte = content[at] if at < len(content) and shift < 35 else -1
            if byte < 0:
                raise CorruptError("string tensor cut short", where=where, found=f"{len(content)} bytes")
            length |= (byte & 0x7F) << shift
            at, shift = at + 1, shift + 7
            if byte < 0x80:
                break
        total += length
        ends.append(total)
    if at + total != len(content):
        raise CorruptError(
            "string tensor of the wrong size", where=where, expected=f"{at + total} bytes", found=len(content)
        )
    out = np.empty(count, object)
    out[:] = [content[at + start : at + end] for start, end in zip([0, *ends], ends, strict=False)]
    return out


def _listed(proto: Any, dtype: DType, where: str) -> Array:
    """Return the values of the dtype's list field, as many as there are."""
    field = val_field(dtype)
    values = getattr(proto, field)
    if dtype.kind in "so":
        out = np.empty(len(values), object)
        out[:] = list(values)
        return out
    if field == "float8_val":
        return np.frombuffer(values, np.uint8).view(dtype.numpy)
    if field == "half_val":
        return numbers(values, np.int32).astype(np.uint16).view(dtype.numpy)
    if field == "int_val":  # like TensorFlow's, values beyond a narrow type's range wrap
        return (
            numbers(values, np.int32)
            .astype(np.int8 if dtype in _SUB_BYTE else dtype.numpy)
            .astype(dtype.numpy, copy=False)
        )
    if dtype.is_complex:
        if len(values) % 2:
            raise CorruptError(f"{dtype} tensor with half a number", where=where, expected="pairs", found=len(values))
        part = np.float32 if dtype is dtypes.complex64 else np.float64
        return numbers(values, part).view(dtype.numpy)
    return numbers(values, dtype.numpy)


def numbers(values: Any, dtype: np.dtype[Any] | type) -> Array:
    """Return a list field as an array: as a whole where protobuf can (since 2024), else number by number."""
    if hasattr(values, "__array__"):
        return np.array(values, dtype)
    return np.fromiter(values, dtype, len(values))


def _fill(values: Array, dtype: DType, shape: tuple[int, ...], where: str) -> Array:
    """Spread `values` over `shape`, repeating the last; surplus ones are dropped, as TensorFlow does."""
    count = math.prod(shape)
    if len(values) >= count:
        return values[:count].reshape(shape)
    if len(values) <= 1:
        return np.broadcast_to(values.reshape(()) if len(values) else _zero(dtype, where), shape)
    size = count * values.itemsize
    if size > EXPANSION_LIMIT:
        raise UnsupportedError(
            f"{dtype}{list(shape)} tensor takes {size} bytes when expanded from {len(values)} values",
            where=where,
            expected=f"at most {EXPANSION_LIMIT} bytes",
        )
    out = np.empty(count, values.dtype)
    out[: len(values)] = values
    out[len(values) :] = values[-1]
    return out.reshape(shape)


def _zero(dtype: DType, where: str) -> Any:
    if dtype is dtypes.string:
        return np.array(b"", object)
    if dtype.kind in "so":
        raise CorruptError(f"{dtype} tensor without values", where=where, expected=f"a {val_field(dtype)}")
    return np.zeros((), dtype.numpy)


def from_array(array: npt.ArrayLike, dtype: DType | None = None) -> Any:
    """Return the TensorProto of `array`, in the bytes that ``tf.make_tensor_proto`` would give.

    Args:
        array: any array; strings as bytes or str (written as UTF-8). For dtypes resource and variant, an object array
            of messages.
        dtype: what to store it as; left out, what the array's numpy dtype means (quantized dtypes have to be named).

    Raises:
        MisuseError: TensorFlow has no dtype for the array, or a string element is neither bytes nor str.
        UnsupportedError: 2 GiB or more.
    """
    a = np.asarray(array)
    dtype = dtypes.from_numpy(a.dtype) if dtype is None else dtype
    if dtype.kind not in "so":
        a = a.astype(dtype.numpy, copy=False)
    proto = messages.TensorProto(dtype=dtype.enum, tensor_shape=shape_proto(a.shape))
    if a.nbytes > messages.SIZE_LIMIT:
        raise UnsupportedError(
            f"{dtype}{list(a.shape)} is too large for a TensorProto",
            expected=f"at most {messages.SIZE_LIMIT} bytes",
            found=a.nbytes,
            hint="keep it in a checkpoint or a SavedModel instead of in the graph",
        )
    if dtype in _CONTENT and a.size > 1:
        proto.tensor_content = a.tobytes()
        return proto
    _list_values(proto, dtype, a.ravel())
    return proto


def listed(array: Array, dtype: DType) -> Any:
    """Return the TensorProto of `array` with its values in the dtype's list field, never in ``tensor_content``."""
    proto = messages.TensorProto(dtype=dtype.enum, tensor_shape=shape_proto(array.shape))
    _list_values(proto, dtype, array.ravel())
    return proto


def _list_values(proto: Any, dtype: DType, flat: Array) -> None:
    field = val_field(dtype)
    if field == "float8_val":
        proto.float8_val = flat.tobytes()
        return
    if dtype is dtypes.string:
        values: list[Any] = [_as_bytes(v) for v in flat.tolist()]
    elif field == "half_val":
        values = flat.view(np.uint16).tolist()
    elif field == "int_val":
        values = flat.astype(np.int32).tolist()
    elif dtype.is_complex:
        values = flat.view(flat.real.dtype).tolist()
    else:
        values = flat.tolist()
    getattr(proto, field).extend(values)


def _as_bytes(value: object) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return value.encode()
    raise MisuseError("element of a string tensor", expected="bytes or str", found=type(value).__name__)
