"""Tensors of the Open Inference Protocol: how it names dtypes, and raw bytes."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Sequence
from typing import Any, Final

import ml_dtypes
import numpy as np
import numpy.typing as npt

from coldframe import dtypes
from coldframe.formats.tensor_proto import numbers
from coldframe.serve.status import invalid
from coldframe.shapes import TensorSpec

Array = npt.NDArray[Any]
_NOT_THERE: Final = {
    "shared_memory_region": "shared memory",
    "shared_memory_offset": "shared memory",
    "shared_memory_byte_size": "shared memory",
    "classification": "a classification",
}
"""Parameters of extensions that would change where a tensor is or what it means, and so cannot be passed over."""
_MAX_RANK: Final = 64  # numpy's
_MAX_ELEMENTS: Final = 1 << 40
_MAX_HOLLOW: Final = 1 << 25  # what the other dimensions may come to where one is 0: sums over that one have as many

# The protocol's name of each dtype, and the field of its gRPC messages that lists values.
_NAMES: Final = {
    "bool": ("BOOL", "bool_contents"),
    "uint8": ("UINT8", "uint_contents"),
    "uint16": ("UINT16", "uint_contents"),
    "uint32": ("UINT32", "uint_contents"),
    "uint64": ("UINT64", "uint64_contents"),
    "int8": ("INT8", "int_contents"),
    "int16": ("INT16", "int_contents"),
    "int32": ("INT32", "int_contents"),
    "int64": ("INT64", "int64_contents"),
    "float16": ("FP16", ""),
    "float32": ("FP32", "fp32_contents"),
    "float64": ("FP64", "fp64_contents"),
    "bfloat16": ("BF16", ""),
    "string": ("BYTES", "bytes_contents"),
}
_BY_NAME: Final = {name: (key, field) for key, (name, field) in _NAMES.items()}


def datatype(dtype: np.dtype[Any]) -> str:
    """Return the protocol's name of an array's dtype.

    Raises:
        RequestError: it has none (UNIMPLEMENTED would be no help: the model gives what it gives).
    """
    name = "string" if dtype.kind == "O" else dtypes.from_numpy(dtype).name
    if name not in _NAMES:
        raise invalid(f"{name} tensors have no name in the Open Inference Protocol")
    return _NAMES[name][0]


def dtype_of(name: str) -> dtypes.DType:
    if name not in _BY_NAME:
        raise invalid("unknown datatype", expected=", ".join(_BY_NAME), found=name)
    return dtypes.from_name(_BY_NAME[name][0])


def tensor_metadata(key: str, spec: TensorSpec) -> dict[str, Any]:
    name = _NAMES.get(spec.dtype.name, (spec.dtype.name.upper(), ""))[0]
    dims = (-1,) if spec.shape.dims is None else spec.shape.dims
    return {"name": key, "datatype": name, "shape": [-1 if d is None else d for d in dims]}


def refuse_extensions(name: str, parameters: Iterable[str]) -> None:
    """Refuse a tensor that is elsewhere, or is to be something else, by an extension that this server has not."""
    for key in parameters:
        if key in _NOT_THERE:
            raise invalid(f"tensor `{name}` asks for {_NOT_THERE[key]}, which this server has not", found=key)


def by_name(tensors: Iterable[tuple[str, Array]]) -> dict[str, Array]:
    found: dict[str, Array] = {}
    for name, value in tensors:
        if name in found:
            raise invalid(f"input `{name}` is given twice")
        found[name] = value
    return found


def count_of(dims: Sequence[int], name: str) -> int:
    """Return how many elements a shape has."""
    if len(dims) > _MAX_RANK:
        raise invalid(f"input `{name}` has too many dimensions", expected=f"at most {_MAX_RANK}", found=len(dims))
    if math.prod(d or 1 for d in dims) > (_MAX_ELEMENTS if all(dims) else _MAX_HOLLOW):
        raise invalid(f"input `{name}` has an impossible shape", found=list(dims))
    return math.prod(dims)


def from_raw(data: bytes | memoryview, dtype: dtypes.DType, dims: Iterable[int], name: str) -> Array:
    """Return the array of raw bytes: little-endian, row-major; strings each after its length, four bytes.

    Raises:
        RequestError: the bytes do not fill the shape (INVALID_ARGUMENT).
    """
    dims = tuple(dims)
    count = count_of(dims, name)
    if dtype.kind == "s":
        return _raw_strings(bytes(data), count, name).reshape(dims)
    if len(data) != count * dtype.width:
        raise invalid(f"input `{name}` has another size", expected=f"{count * dtype.width} bytes", found=len(data))
    if dtype is dtypes.bool_:
        truth: Array = np.frombuffer(data, np.uint8) != 0
        return truth.reshape(dims)
    array: Array = np.frombuffer(data, dtype.numpy).reshape(dims)
    return array if array.flags.aligned else array.copy()


def _raw_strings(data: bytes, count: int, name: str) -> Array:
    found: list[bytes] = []
    at = 0
    while at + 4 <= len(data) and len(found) < count:
        (size,) = struct.unpack_from("<I", data, at)
        found.append(data[at + 4 : at + 4 + size])
        at += 4 + size
    if at != len(data) or len(found) != count:
        raise invalid(f"input `{name}` does not hold {count} strings, each after its length")
    out = np.empty(count, object)
    out[:] = found
    return out


def raw_bytes(array: Array) -> bytes:
    """Return an array's raw bytes, as `from_raw` reads them."""
    if array.dtype != object:
        return array.tobytes()
    return b"".join(struct.pack("<I", len(v)) + v for v in array.reshape(-1).tolist())


def message_array(tensor: Any, raw: bytes | memoryview | None) -> Array:
    dtype, dims = dtype_of(tensor.datatype), list(tensor.shape)
    if any(d < 0 for d in dims):
        raise invalid(f"input `{tensor.name}` has a negative dimension", found=dims)
    if raw is not None:
        return from_raw(raw, dtype, dims, tensor.name)
    field = _BY_NAME[tensor.datatype][1]
    if not field:
        raise invalid(f"{tensor.datatype} tensors come in raw_input_contents only", found=f"input `{tensor.name}`")
    values, count = getattr(tensor.contents, field), count_of(dims, tensor.name)
    if len(values) != count:
        raise invalid(f"input `{tensor.name}` has another number of elements", expected=count, found=len(values))
    if dtype.kind == "s":
        out = np.empty(count, object)
        out[:] = list(values)
        return out.reshape(dims)
    wide = numbers(values, np.int64 if dtype.kind == "i" else np.uint64 if dtype.kind == "u" else dtype.numpy)
    if dtype.kind in "iu" and count:
        limits = ml_dtypes.iinfo(dtype.numpy)  # type: ignore[no-untyped-call]
        if wide.min() < limits.min or wide.max() > limits.max:
            raise invalid(f"input `{tensor.name}` has a number that {tensor.datatype} cannot hold")
    return wide.astype(dtype.numpy).reshape(dims)
