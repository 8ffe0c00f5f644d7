"""Changing dtypes, with TF1's Python arguments."""

from __future__ import annotations

from typing import Any

import numpy as np

from coldframe import dtypes
from coldframe.dtypes import DType
from coldframe.tf1.framework.build import raw
from coldframe.tf1.framework.convert import IndexedSlices, SparseTensor, constant, convert_to_tensor
from coldframe.tf1.framework.dtype import as_dtype
from coldframe.tf1.framework.graph import name_scope
from coldframe.tf1.framework.tensor import Tensor


def cast(x: Any, dtype: Any, name: str | None = None) -> Any:
    """Return `x` (a tensor, sparse tensor or slices) with elements of another dtype."""
    to = as_dtype(dtype)
    if (isinstance(x, Tensor) or hasattr(x, "handle")) and x.dtype is to:
        return x
    with name_scope(name, "Cast", [x]) as scope:
        if isinstance(x, SparseTensor):
            return SparseTensor(x.indices, cast(x.values, to, scope), x.dense_shape)
        if isinstance(x, IndexedSlices):
            return IndexedSlices(cast(x.values, to, scope), x.indices, x.dense_shape)
        x = convert_to_tensor(x, name="x")
        return x if x.dtype is to else raw.Cast(x, DstT=to, name=scope)


def to_float(x: Any, name: str = "ToFloat") -> Any:
    """Cast to float32."""
    return cast(x, dtypes.float32, name)


def to_double(x: Any, name: str = "ToDouble") -> Any:
    """Cast to float64."""
    return cast(x, dtypes.float64, name)


def to_int32(x: Any, name: str = "ToInt32") -> Any:
    """Cast to int32."""
    return cast(x, dtypes.int32, name)


def to_int64(x: Any, name: str = "ToInt64") -> Any:
    """Cast to int64."""
    return cast(x, dtypes.int64, name)


def to_bfloat16(x: Any, name: str = "ToBFloat16") -> Any:
    """Cast to bfloat16."""
    return cast(x, dtypes.bfloat16, name)


def to_complex64(x: Any, name: str = "ToComplex64") -> Any:
    """Cast to complex64."""
    return cast(x, dtypes.complex64, name)


def to_complex128(x: Any, name: str = "ToComplex128") -> Any:
    """Cast to complex128."""
    return cast(x, dtypes.complex128, name)


def saturate_cast(value: Any, dtype: Any, name: str | None = None) -> Any:
    """Cast, with values beyond the range of `dtype` set to its ends."""
    with name_scope(name, "saturate_cast", [value]) as scope:
        x = convert_to_tensor(value, name="value")
        to = as_dtype(dtype)
        low, high = _limits(x.dtype, to)
        clamped = raw.ClipByValue(x, constant(low), constant(high), name="clamp")
        return cast(clamped, to, name=scope)


def _limits(source: DType, to: DType) -> tuple[Any, Any]:
    """Return the ends of what both dtypes hold, as values of `source` that are not beyond `to`."""
    info = {d: np.iinfo(d.numpy) if d.is_integer else np.finfo(d.numpy) for d in (source, to)}
    ends = []
    for pick, end in ((max, "min"), (min, "max")):
        bound = getattr(info[to], end)
        value = source.numpy.type(pick(getattr(info[source], end), bound))
        beyond = value < bound if end == "min" else value > bound
        if beyond or (to.is_integer and source.is_float and int(value) not in _whole(info[to])):
            value = np.nextafter(value, source.numpy.type(0))
        ends.append(value)
    return ends[0], ends[1]


def _whole(info: Any) -> Any:
    return range(int(info.min), int(info.max) + 1)


__all__ = [
    "cast",
    "saturate_cast",
    "to_bfloat16",
    "to_complex64",
    "to_complex128",
    "to_double",
    "to_float",
    "to_int32",
    "to_int64",
]  # fmt: skip
