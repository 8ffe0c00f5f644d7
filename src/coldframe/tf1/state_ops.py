"""Assigning and scattering, as functions of a variable or its reference."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from coldframe.tf1.framework.build import raw_op
from coldframe.tf1.framework.convert import IndexedSlices, convert_to_tensor
from coldframe.tf1.variables import ResourceVariable, Variable


def assign(
    ref: Any, value: Any, validate_shape: bool | None = None, use_locking: bool | None = None, name: str | None = None
) -> Any:
    """Return the reference `ref` after it got `value`."""
    if isinstance(ref, ResourceVariable):
        return ref.assign(value, name=name)
    validate = True if validate_shape is None else validate_shape
    locking = True if use_locking is None else use_locking
    return raw_op("Assign", [ref, value], {"validate_shape": validate, "use_locking": locking}, name)


def assign_add(ref: Any, value: Any, use_locking: bool | None = None, name: str | None = None) -> Any:
    """Return the reference `ref` after `value` was added."""
    if isinstance(ref, ResourceVariable):
        return ref.assign_add(value, name=name)
    return raw_op("AssignAdd", [ref, value], {"use_locking": bool(use_locking)}, name)


def assign_sub(ref: Any, value: Any, use_locking: bool | None = None, name: str | None = None) -> Any:
    """Return the reference `ref` after `value` was subtracted."""
    if isinstance(ref, ResourceVariable):
        return ref.assign_sub(value, name=name)
    return raw_op("AssignSub", [ref, value], {"use_locking": bool(use_locking)}, name)


def _scatter(op: str, locking: bool = False) -> Callable[..., Any]:
    def function(ref: Any, indices: Any, updates: Any, use_locking: bool = locking, name: str | None = None) -> Any:
        if isinstance(ref, ResourceVariable):
            return ref._scatter(op, IndexedSlices(convert_to_tensor(updates, ref.dtype), indices),
                                use_locking, name)  # fmt: skip
        return raw_op(op, [ref, indices, updates], {"use_locking": use_locking}, name)

    function.__doc__ = f"Return the reference `ref` after rows changed ({op})."
    return function


scatter_update, scatter_add, scatter_sub = (
    _scatter("ScatterUpdate", True),
    _scatter("ScatterAdd"),
    _scatter("ScatterSub"),
)
scatter_mul, scatter_div = _scatter("ScatterMul"), _scatter("ScatterDiv")
scatter_min, scatter_max = _scatter("ScatterMin"), _scatter("ScatterMax")
scatter_nd_update, scatter_nd_add = _scatter("ScatterNdUpdate", True), _scatter("ScatterNdAdd")
scatter_nd_sub = _scatter("ScatterNdSub")


def count_up_to(ref: Any, limit: int, name: str | None = None) -> Any:
    """Return the value of `ref` before adding 1 to it."""
    return ref.count_up_to(limit) if isinstance(ref, Variable) else raw_op("CountUpTo", [ref], {"limit": limit}, name)


__all__ = [
    "assign", "assign_add", "assign_sub", "count_up_to", "scatter_add", "scatter_div", "scatter_max", "scatter_min",
    "scatter_mul", "scatter_nd_add", "scatter_nd_sub", "scatter_nd_update", "scatter_sub", "scatter_update",
]  # fmt: skip
