"""``tensor[...]``: from Python's slices to a StridedSlice node."""

from __future__ import annotations

from typing import Any

import numpy as np

from coldframe import dtypes
from coldframe.tf1.framework import build
from coldframe.tf1.framework.convert import constant, convert_to_tensor, is_tensor_like
from coldframe.tf1.framework.graph import name_scope
from coldframe.tf1.framework.shape import Dimension


class _Spec:
    """The arguments of StridedSlice, collected one element of the key after the other."""

    def __init__(self) -> None:
        self.begin: list[Any] = []
        self.end: list[Any] = []
        self.strides: list[Any] = []
        self.masks = dict.fromkeys(("begin_mask", "end_mask", "ellipsis_mask", "new_axis_mask", "shrink_axis_mask"), 0)

    def add(self, begin: Any, end: Any, stride: Any, *masks: str) -> None:
        bit = 1 << len(self.begin)
        for m in masks:
            self.masks[m] |= bit
        self.begin.append(begin)
        self.end.append(end)
        self.strides.append(stride)

    def take(self, item: Any) -> None:
        """Add one element of the key: a slice, an index, ``...`` or a new axis."""
        if isinstance(item, slice):
            masks = [m for m, part in (("begin_mask", item.start), ("end_mask", item.stop)) if part is None]
            parts = [None if p is None else _index(p) for p in (item.start, item.stop, item.step)]
            dtype = _dtype(parts)
            start, stop, step = (_like(d, dtype) if p is None else p for p, d in zip(parts, (0, 0, 1), strict=True))
            self.add(start, stop, step, *masks)
        elif item is Ellipsis:
            self.add(0, 0, 1, "ellipsis_mask")
        elif item is None:
            self.add(0, 0, 1, "new_axis_mask")
        else:
            begin = _index(item)
            wide = is_tensor_like(begin) and begin.dtype in (dtypes.int16, dtypes.int64)
            end = begin + 1
            self.add(begin, end, _like(1, begin.dtype if wide else None), "shrink_axis_mask")


def _dtype(parts: list[Any]) -> Any:
    """Return the widest dtype of the tensors in a slice, or None where it has only numbers."""
    found = {p.dtype for p in parts if is_tensor_like(p)}
    return next((d for d in (dtypes.int64, dtypes.int32, dtypes.int16) if d in found), None)


def _like(number: int, dtype: Any) -> Any:
    return number if dtype is None else constant(number, dtype)


def _index(item: Any) -> Any:
    if is_tensor_like(item):
        return convert_to_tensor(item)
    if isinstance(item, Dimension):
        item = item.value
    if isinstance(item, (bool, np.bool_)) or not hasattr(item, "__index__"):
        raise TypeError(
            f"Only integers, slices (`:`), ellipsis (`...`), tf.newaxis (`None`) and scalar int tensors are valid "
            f"indices, got {item!r}"
        )
    return int(item)


def slice_helper(tensor: Any, key: Any) -> Any:
    """Return ``tensor[key]``.

    Raises:
        TypeError: an element of `key` is no index.
    """
    if getattr(key, "dtype", None) is dtypes.bool_ and is_tensor_like(key):
        from coldframe.tf1.array_ops import boolean_mask

        return boolean_mask(tensor, key)
    items = key if isinstance(key, (list, tuple)) else (key,)
    spec = _Spec()
    for item in items:
        spec.take(item)
    with name_scope(None, "strided_slice", [tensor]) as scope:
        parts = [_packed(part) for part in (spec.begin, spec.end, spec.strides)]
        if any(p.dtype is dtypes.int64 for p in parts):
            parts = [p if p.dtype is dtypes.int64 else build.raw_op("Cast", [p], {"DstT": dtypes.int64}) for p in parts]
        return build.raw_op("StridedSlice", [tensor, *parts], spec.masks, scope)


def _packed(values: list[Any]) -> Any:
    wide = any(is_tensor_like(v) and v.dtype is dtypes.int64 for v in values)
    if not values:
        return convert_to_tensor(np.zeros(0, np.int32), name="stack")
    return convert_to_tensor(values, dtype=dtypes.int64 if wide else dtypes.int32, name="stack")
