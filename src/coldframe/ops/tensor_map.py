"""Tensor maps: tensors by keys, which are tensors too. A map is a value, as a tensor list is: ops return a new one.

A key is found by its dtype, shape and elements. TensorFlow hands keys out in the order of its hash table, which changes
from process to process; here they come in the order in which they were put in.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from coldframe import dtypes
from coldframe.dtypes import DType
from coldframe.ops.table import op
from coldframe.primitives.base import refuse
from coldframe.records import dataclass

_HOST: Final = "tensor maps are not arrays"
Key = tuple[str, tuple[int, ...], tuple[Any, ...]]


@dataclass(frozen=True, slots=True, eq=False)
class TensorMap:
    """Tensors by key; beside each one the key's own tensor."""

    items: Mapping[Key, tuple[Any, Any]]

    def zeros_like(self) -> TensorMap:
        """Return an empty map; gradients begin with it."""
        return TensorMap({})

    def __add__(self, other: Any) -> TensorMap:
        """Put two maps together, and add up what both have; gradients do."""
        if not isinstance(other, TensorMap):
            raise refuse("not a tensor map to add", found=type(other).__name__)
        out = dict(self.items)
        for key, (tensor, value) in other.items.items():
            out[key] = (tensor, out[key][1] + value) if key in out else (tensor, value)
        return TensorMap(out)


def _map(value: Any) -> TensorMap:
    found = value.item() if isinstance(value, np.ndarray) and value.ndim == 0 else value
    if not isinstance(found, TensorMap):
        raise refuse("not a tensor map", found=type(found).__name__)
    return found


def _key(key: Any) -> Key:
    a = np.asarray(key)
    return a.dtype.name, a.shape, tuple(a.ravel().tolist())


def _entry(handle: Any, key: Any) -> tuple[Any, Any]:
    found = _map(handle).items.get(_key(key))
    if found is None:
        raise refuse("the key is not in the tensor map", found=np.asarray(key).tolist())
    return found


@op("EmptyTensorMap", no_gradient=True, shape="-> []", host=_HOST)
def empty_tensor_map(xp: Any) -> Any:
    """A map without entries."""
    return TensorMap({})


@op("TensorMapInsert", shape="-> []", host=_HOST)
def tensor_map_insert(xp: Any, input_handle: Any, key: Any, value: Any) -> Any:
    """The map with `value` at `key`, in place of what was there."""
    return TensorMap({**_map(input_handle).items, _key(key): (key, value)})


@tensor_map_insert.gradient
def _(g: Any, op: Any, dy: Any) -> Any:
    _, key, value = op.inputs
    blank = g.TensorMapInsert(g.EmptyTensorMap(), key, g.ZerosLike(value))
    both = g.AddN([dy, blank])  # has the key in any case, so that no branch is needed
    known = g.TensorMapLookup(both, key, value_dtype=value.dtype)
    return g.TensorMapErase(both, key, value_dtype=value.dtype), None, known


@op("TensorMapLookup", host=_HOST)
def tensor_map_lookup(xp: Any, input_handle: Any, key: Any, *, value_dtype: DType) -> Any:
    """What the map has at `key`."""
    value = _entry(input_handle, key)[1]
    found = _dtype(value)
    if found != value_dtype:
        raise refuse("the tensor map holds another dtype at the key", expected=found, found=value_dtype)
    return value


def _dtype(value: Any) -> DType:
    if isinstance(value, (np.ndarray, np.generic)) and value.dtype.kind != "O":
        return dtypes.from_numpy(value.dtype)
    first = value.ravel()[:1].tolist() if isinstance(value, np.ndarray) else [value]
    return dtypes.string if not first or isinstance(first[0], bytes) else dtypes.variant


@tensor_map_lookup.gradient
def _(g: Any, op: Any, dy: Any) -> Any:
    return g.TensorMapInsert(g.EmptyTensorMap(), op.inputs[1], dy), None


@op("TensorMapErase", shape="-> []", host=_HOST)
def tensor_map_erase(xp: Any, input_handle: Any, key: Any, *, value_dtype: DType) -> Any:
    """The map without what it has at `key`."""
    _entry(input_handle, key)
    wanted = _key(key)
    return TensorMap({k: v for k, v in _map(input_handle).items.items() if k != wanted})


@tensor_map_erase.gradient
def _(g: Any, op: Any, dy: Any) -> Any:
    return dy, None


@op("TensorMapHasKey", shape="-> []", host=_HOST)
def tensor_map_has_key(xp: Any, input_handle: Any, key: Any) -> Any:
    """Whether the map has something at `key`."""
    return np.bool_(_key(key) in _map(input_handle).items)


@op("TensorMapSize", shape="-> []", host=_HOST)
def tensor_map_size(xp: Any, input_handle: Any) -> Any:
    """How many keys the map has."""
    return np.array(len(_map(input_handle).items), np.int32)


@op("TensorMapStackKeys", host=_HOST)
def tensor_map_stack_keys(xp: Any, input_handle: Any, *, key_dtype: DType) -> Any:
    """The keys, stacked; of one dtype and shape."""
    keys = [np.asarray(tensor) for tensor, _ in _map(input_handle).items.values()]
    if not keys:
        raise refuse("an empty tensor map has no keys to stack")
    for k in keys:
        if k.dtype != key_dtype.numpy or k.shape != keys[0].shape:
            raise refuse(
                "the keys of the tensor map differ", expected=f"{key_dtype} of shape {list(keys[0].shape)}",
                found=f"{k.dtype} of shape {list(k.shape)}",
            )  # fmt: skip
    return np.stack(keys)
