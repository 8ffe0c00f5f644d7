"""Slots: variables that an optimizer or a moving average keeps beside another variable, named after it."""

from __future__ import annotations

import contextlib
from typing import Any

from coldframe.tf1 import init_ops
from coldframe.tf1.framework.graph import colocate_with
from coldframe.tf1.partitions import SaveSliceInfo
from coldframe.tf1.variable_scope import get_variable, get_variable_scope, variable_scope
from coldframe.tf1.variables import ResourceVariable


def create_slot(primary: Any, value: Any, name: str, colocate: bool = True) -> Any:
    """Return a variable called ``<primary>/<name>`` that starts as the tensor `value`."""
    return _create(primary, name, colocate, initializer=value, shape=None, dtype=value.dtype)


def create_slot_with_initializer(
    primary: Any, initializer: Any, shape: Any, dtype: Any, name: str, colocate: bool = True
) -> Any:
    """Return a variable called ``<primary>/<name>`` of that shape, started by `initializer`."""
    return _create(primary, name, colocate, initializer=initializer, shape=shape, dtype=dtype)


def create_zeros_slot(primary: Any, name: str, dtype: Any = None, colocate: bool = True) -> Any:
    """Return a variable called ``<primary>/<name>`` of the primary's shape, full of zeros."""
    kind = primary.dtype if dtype is None else dtype
    return create_slot_with_initializer(
        primary, init_ops.zeros_initializer(), primary.get_shape(), kind, name, colocate
    )


def _create(primary: Any, name: str, colocate: bool, *, initializer: Any, shape: Any, dtype: Any) -> Any:
    with (
        variable_scope(None, f"{primary.op.name}/{name}"),
        colocate_with(primary) if colocate else contextlib.nullcontext(),
    ):
        scope = get_variable_scope()
        partitioner, scope.partitioner = scope.partitioner, None
        slot = get_variable(
            "", shape, dtype, initializer, trainable=False, use_resource=isinstance(primary, ResourceVariable)
        )
        scope.partitioner = partitioner
    part = getattr(primary, "_save_slice", None)
    if part is not None:
        own = slot.op.name.removeprefix(f"{primary.op.name}/")
        slot._set_save_slice_info(
            SaveSliceInfo(f"{part.full_name}/{own}", part.full_shape, part.var_offset, part.var_shape)
        )
    return slot
