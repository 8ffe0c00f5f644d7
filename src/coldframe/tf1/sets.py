"""`tf.sets`: sets in the last dimension of tensors."""

from __future__ import annotations

from typing import Any

from coldframe.tf1.framework.build import raw
from coldframe.tf1.framework.convert import SparseTensor, convert_to_tensor


def _value(x: Any, name: str) -> Any:
    return x if isinstance(x, SparseTensor) else convert_to_tensor(x, name=name)


def set_size(a: SparseTensor, validate_indices: bool = True) -> Any:
    """Return the number of different elements per row of a sparse tensor, int32."""
    if not isinstance(a, SparseTensor):
        raise TypeError(f"Expected `SparseTensor`, got {a}.")
    return raw.SetSize(a.indices, a.values, a.dense_shape, validate_indices=validate_indices)


def _operation(a: Any, b: Any, operation: str, validate: bool) -> SparseTensor:
    attrs = {"set_operation": operation, "validate_indices": validate}
    if isinstance(a, SparseTensor) and isinstance(b, SparseTensor):
        parts = raw.SparseToSparseSetOperation(
            a.indices, a.values, a.dense_shape, b.indices, b.values, b.dense_shape, **attrs
        )
    elif isinstance(b, SparseTensor):
        parts = raw.DenseToSparseSetOperation(a, b.indices, b.values, b.dense_shape, **attrs)
    else:
        parts = raw.DenseToDenseSetOperation(a, b, **attrs)
    return SparseTensor(*parts)


def _pair(a: Any, b: Any) -> tuple[Any, Any, bool]:
    """Return both, and whether they changed places: there is no op of a sparse and a dense set in this order."""
    a, b = _value(a, "a"), _value(b, "b")
    if isinstance(a, SparseTensor) and not isinstance(b, SparseTensor):
        return b, a, True
    return a, b, False


def set_intersection(a: Any, b: Any, validate_indices: bool = True) -> SparseTensor:
    """Return what is in the rows of both, each a set in the last dimension."""
    a, b, _ = _pair(a, b)
    return _operation(a, b, "intersection", validate_indices)


def set_union(a: Any, b: Any, validate_indices: bool = True) -> SparseTensor:
    """Return what is in the rows of either."""
    a, b, _ = _pair(a, b)
    return _operation(a, b, "union", validate_indices)


def set_difference(a: Any, b: Any, aminusb: bool = True, validate_indices: bool = True) -> SparseTensor:
    """Return what is in the rows of `a` but not of `b`; the other way round unless `aminusb`."""
    a, b, turned = _pair(a, b)
    return _operation(a, b, "a-b" if aminusb != turned else "b-a", validate_indices)


size, intersection, union, difference = set_size, set_intersection, set_union, set_difference

__all__ = [
    "difference", "intersection", "set_difference", "set_intersection", "set_size", "set_union", "size", "union",
]  # fmt: skip
