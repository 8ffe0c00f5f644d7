"""Sparse tensors as rows of three elements: indices, values, shape; each a string (a TensorProto) or a variant.

A variant that holds a tensor is a `Boxed`: an array inside an array of objects would be taken apart by numpy.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from coldframe import dtypes
from coldframe.dtypes import DType
from coldframe.ops.decode import parsed_tensor, serialized_tensor
from coldframe.ops.known import Attrs, Dims, Known
from coldframe.ops.sparse import check_sparse
from coldframe.ops.table import op
from coldframe.primitives.base import refuse
from coldframe.primitives.numpy_shape import dims
from coldframe.records import dataclass

Array = npt.NDArray[Any]
Parts = tuple[Array, Array, Array]
_HOST: Final = "serialized tensors"


@dataclass(frozen=True, slots=True, eq=False)
class Boxed:
    """A variant that holds a tensor."""

    value: Array


def _row(parts: Parts, out_type: DType) -> Array:
    out: Array = np.empty(3, object)
    for k, part in enumerate(parts):
        out[k] = serialized_tensor(part, content=True) if out_type is dtypes.string else Boxed(part)
    return out


def _opened(element: Any, dtype: DType) -> Array:
    if isinstance(element, Boxed):
        if dtypes.from_numpy(element.value.dtype) != dtype:
            raise refuse("a variant holds another dtype", expected=dtype, found=element.value.dtype)
        return element.value
    if not isinstance(element, bytes):
        raise refuse("not a serialized sparse tensor", found=type(element).__name__)
    return parsed_tensor(element, dtype)


@op("SerializeSparse", shape="-> [3]", host=_HOST)
def serialize_sparse(
    xp: Any, sparse_indices: Array, sparse_values: Array, sparse_shape: Array, *, out_type: DType
) -> Any:
    """A sparse tensor as three strings or variants; whether the parts fit is for who reads them to find."""
    ranks = [sparse_indices.ndim, sparse_values.ndim, sparse_shape.ndim]
    if ranks != [2, 1, 1]:
        raise refuse("ranks of indices, values and shape", expected=[2, 1, 1], found=ranks)
    return _row((sparse_indices, sparse_values, sparse_shape), out_type)


@op("SerializeManySparse", shape="[n, r] -> [?, 3]", host=_HOST)
def serialize_many_sparse(
    xp: Any, sparse_indices: Array, sparse_values: Array, sparse_shape: Array, *, out_type: DType
) -> Any:
    """The slices of a sparse tensor along its first dimension, three strings or variants each."""
    parts = slices(sparse_indices, sparse_values, sparse_shape)
    out: Array = np.empty((len(parts), 3), object)
    for k, part in enumerate(parts):
        out[k] = _row(part, out_type)
    return out


def slices(sparse_indices: Array, sparse_values: Array, sparse_shape: Array) -> list[Parts]:
    """Return the slices of a sparse tensor along its first dimension."""
    check_sparse(sparse_indices, sparse_values, sparse_shape)
    if len(sparse_shape) < 2:
        raise refuse("the rank of a sparse tensor of many", expected="2 or more", found=len(sparse_shape))
    count = dims(sparse_shape[:1])[0]
    rows = sparse_indices[:, 0]
    if len(rows) and not 0 <= rows.min() <= rows.max() < count:
        raise refuse("a coordinate is out of bounds", expected=sparse_shape.tolist())
    if (rows[1:] < rows[:-1]).any():
        raise refuse("the rows of the sparse tensor are out of order", hint="SparseReorder sorts them")
    ends = np.searchsorted(rows, np.arange(count + 1))
    cuts = [slice(ends[k], ends[k + 1]) for k in range(count)]
    return [(sparse_indices[at, 1:], sparse_values[at], sparse_shape[1:]) for at in cuts]


@op("DeserializeSparse", shape="-> [?, ?] [?] [?]", host=_HOST)
def deserialize_sparse(xp: Any, serialized_sparse: Array, *, dtype: DType) -> Any:
    """Serialized sparse tensors in one, with the dimensions they lie in before their own."""
    return _joined(serialized_sparse, dtype)


@op("DeserializeManySparse", shape="[n, 3] -> [?, ?] [?] [?]", host=_HOST)
def deserialize_many_sparse(xp: Any, serialized_sparse: Array, *, dtype: DType) -> Any:
    """A vector of serialized sparse tensors in one, with a dimension more."""
    return _joined(serialized_sparse, dtype)


def _joined(serialized: Array, dtype: DType) -> Parts:
    if not serialized.ndim or serialized.shape[-1] != 3:
        raise refuse("serialized sparse tensors", expected="rows of 3", found=f"shape {list(serialized.shape)}")
    outer = serialized.shape[:-1]
    if not serialized.size:
        raise refuse("no serialized sparse tensor", found=f"shape {list(serialized.shape)}")
    parts: list[Parts] = []
    for row in serialized.reshape(-1, 3):
        kinds = (dtypes.int64, dtype, dtypes.int64)
        indices, values, shape = (_opened(e, d) for e, d in zip(row, kinds, strict=True))
        parts.append((indices, values, shape))
    return joined_parts(parts, outer)


def joined_parts(parts: list[Parts], outer: tuple[int, ...]) -> Parts:
    """Return sparse tensors of one rank as one, with the dimensions `outer` that they lie in before their own."""
    for k, (indices, values, shape) in enumerate(parts):
        check_sparse(indices, values, shape, f"sparse tensor {k}")
        if len(shape) != (rank := len(parts[0][2])):
            raise refuse(f"the rank of sparse tensor {k}", expected=rank, found=len(shape))
    if not outer:
        return parts[0]
    places = np.argwhere(np.ones(outer, bool))
    moved = [
        np.concatenate([np.broadcast_to(at, (len(i), len(outer))), i], axis=1)
        for at, (i, _, _) in zip(places, parts, strict=True)
    ]
    shape = np.concatenate([np.array(outer, np.int64), np.max([s for _, _, s in parts], axis=0)])
    return np.concatenate(moved), np.concatenate([v for _, v, _ in parts]), shape


# --- elements of datasets, compressed ---------------------------------------------------------------------------
@dataclass(frozen=True, slots=True, eq=False)
class Compressed:
    """The components of an element. TensorFlow keeps them compressed; here that would only cost time."""

    components: tuple[Array, ...]


@op("CompressElement", shape="-> []", ignores=("input_types",), host=_HOST)
def compress_element(xp: Any, components: list[Any]) -> Any:
    """The components of an element as one variant."""
    return Compressed(tuple(components))


def _told(a: Attrs, compressed: Known) -> list[Dims]:
    """The shapes that the node's attributes tell of components."""
    return [s.dims for s in a["output_shapes"]]


@op("UncompressElement", shape=_told, ignores=("output_shapes",), host=_HOST)
def uncompress_element(xp: Any, compressed: Any, *, output_types: tuple[DType, ...]) -> Any:
    """The components of an element that is one variant."""
    found = compressed.item() if isinstance(compressed, np.ndarray) and not compressed.ndim else compressed
    if not isinstance(found, Compressed):
        raise refuse("not a compressed element", found=type(found).__name__)
    held = tuple(dtypes.from_numpy(c.dtype) if c.dtype.kind != "O" else dtypes.string for c in found.components)
    if held != tuple(output_types):
        raise refuse("the components of a compressed element", expected=list(output_types), found=list(held))
    return list(found.components)
