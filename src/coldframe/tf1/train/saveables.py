"""What a Saver saves: tensors under names in the checkpoint, and how each gets its value back.

``var_list`` may hold variables (references or resources), partitioned variables or lists of their parts, and
`SaveableObject`s, by themselves or under names of the program's choice. All become `SaveableObject`s, sorted by name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from coldframe.ops import table
from coldframe.tf1.framework.build import raw_op
from coldframe.tf1.framework.dtype import as_dtype
from coldframe.tf1.framework.graph import colocate_with, device
from coldframe.tf1.framework.tensor import Tensor
from coldframe.tf1.partitions import PartitionedVariable
from coldframe.tf1.variables import ResourceVariable, Variable


class SaveSpec:
    """One tensor to save.

    Args:
        tensor: the tensor, or a function that adds it to the graph.
        slice_spec: which part of the saved tensor it is, ``"4 8 0,2:0,8"``; empty for all of it.
        name: the tensor's name in the checkpoint.
        dtype: its dtype; needed where `tensor` is a function.
        device: where it is.
    """

    def __init__(self, tensor: Any, slice_spec: str, name: str, dtype: Any = None, device: Any = None) -> None:
        if callable(tensor) and dtype is None:
            raise ValueError("When passing a callable `tensor` to a SaveSpec, an explicit dtype must be provided.")
        self._tensor, self.slice_spec, self.name = tensor, slice_spec, name
        self.dtype = as_dtype(dtype) if dtype is not None else tensor.dtype
        self._device = device

    @property
    def tensor(self) -> Any:
        """The tensor, made now where it is given as a function."""
        return self._tensor() if callable(self._tensor) else self._tensor

    @property
    def device(self) -> str:
        given = self._device
        return str(given() if callable(given) else given if given is not None else self._tensor.device)


class SaveableObject:
    """Something to save; programs derive from it for what is no variable.

    Args:
        op: what it is about: a tensor, a handle, an operation.
        specs: what is saved of it.
        name: its name.
    """

    def __init__(self, op: Any, specs: Sequence[SaveSpec] | Callable[[], Sequence[SaveSpec]], name: str) -> None:
        self.op, self._specs, self.name = op, specs, name

    @property
    def specs(self) -> Sequence[SaveSpec]:
        if callable(self._specs):
            self._specs = self._specs()
        return self._specs

    @specs.setter
    def specs(self, specs: Sequence[SaveSpec]) -> None:
        self._specs = specs

    @property
    def optional_restore(self) -> bool:
        return False

    @property
    def device(self) -> str:
        """Where it is: decides the shard it is saved to."""
        return self.specs[0].device

    def restore(self, restored_tensors: Sequence[Any], restored_shapes: Sequence[Any] | None) -> Any:
        """Return an operation that gives it the values of `restored_tensors`, one per spec."""
        raise NotImplementedError("Calling an abstract method.")


class ReferenceSaveable(SaveableObject):
    """A reference variable, or a part of one."""

    def __init__(self, variable: Any, slice_spec: str, name: str) -> None:
        self._ref = variable._ref if isinstance(variable, Variable) else variable
        saved = variable.value() if slice_spec and isinstance(variable, Variable) else self._ref
        super().__init__(variable, [SaveSpec(saved, slice_spec, name, self._ref.dtype, self._ref.device)], name)

    def restore(self, restored_tensors: Sequence[Any], restored_shapes: Sequence[Any] | None) -> Any:
        value = restored_tensors[0]
        if restored_shapes is not None:
            value = raw_op("Reshape", [value, restored_shapes[0]], {}, None)
        validate = restored_shapes is None and self._ref.get_shape().is_fully_defined()
        with colocate_with(self._ref.op, ignore_existing=True):
            return raw_op("Assign", [self._ref, value], {"validate_shape": validate, "use_locking": True}, None).op


class ResourceSaveable(SaveableObject):
    """A resource variable, or a part of one."""

    def __init__(self, variable: ResourceVariable, slice_spec: str, name: str) -> None:
        self._variable = variable
        saved: Any = self._read if slice_spec else variable._snapshot
        super().__init__(variable, [SaveSpec(saved, slice_spec, name, variable.dtype, variable.device)], name)

    def _read(self) -> Any:
        value = self._variable.read_value()
        with device("/device:CPU:0"):
            return raw_op("Identity", [value], {}, None)

    def restore(self, restored_tensors: Sequence[Any], restored_shapes: Sequence[Any] | None) -> Any:
        value = restored_tensors[0]
        if restored_shapes is not None:
            value = raw_op("Reshape", [value, restored_shapes[0]], {}, None)
        with device(self._variable.device or None):
            value = raw_op("Identity", [value], {}, None)
            return raw_op("AssignVariableOp", [self._variable.handle, value], {}, None)


# --- from a program's list --------------------------------------------------------------------------------------
def saveables_of(var_list: Any) -> list[SaveableObject]:
    """Return what a Saver's `var_list` means, sorted by name in the checkpoint.

    Raises:
        ValueError: two of one name, or parts that do not make a whole.
        TypeError: something is no variable.
    """
    named = var_list if isinstance(var_list, Mapping) else _by_name(var_list)
    found: list[SaveableObject] = []
    seen: dict[int, str] = {}
    for name in sorted(named):
        if not isinstance(name, str):
            raise TypeError(
                f"names_to_saveables must be a dict mapping string names to Tensors/Variables, not {name!r}"
            )
        for saveable in _saveables(name, named[name]):
            key = id(saveable.op) if isinstance(saveable.op, (Variable, Tensor)) else id(saveable)
            if key in seen:
                raise ValueError(f"The same saveable will be restored with two names: {name}")
            seen[key] = name
            found.append(saveable)
    return found


def checkpoint_name(variable: Any) -> str:
    """Return the name under which a variable is saved by default: a part is saved under the name of its whole."""
    part = variable._get_save_slice_info() if hasattr(variable, "_get_save_slice_info") else None
    if part is not None:
        return str(part.full_name)
    return str(variable._shared_name if isinstance(variable, ResourceVariable) else variable.op.name)


def _by_name(items: Iterable[Any]) -> dict[str, Any]:
    if not isinstance(items, (list, tuple, set)):
        raise TypeError(f"Variables to save should be passed in a dict or a list: {items}")
    named: dict[str, Any] = {}
    for item in sorted(items, key=lambda v: str(v.name)):
        if isinstance(item, (SaveableObject, PartitionedVariable)):
            _add(named, item.name, item)
        else:
            if not isinstance(item, Variable) and not _is_variable_tensor(item):
                raise TypeError(f"Variable to save is not a Variable: {item}")
            name = checkpoint_name(item)
            if isinstance(item, Variable) and item._get_save_slice_info() is not None:
                parts = named.setdefault(name, [])
                if not isinstance(parts, list):
                    raise ValueError(f"Mixing slices and non-slices with the same name: {name}")
                parts.append(item)
            else:
                _add(named, name, item)
    return named


def _add(named: dict[str, Any], name: str, item: Any) -> None:
    if name in named:
        raise ValueError(f"At least two variables have the same name: {name}")
    named[name] = item


def _is_variable_tensor(item: Any) -> bool:
    row = table().get(item.op.type) if isinstance(item, Tensor) else None
    return row is not None and row.variable == "ref"


def _saveables(name: str, item: Any) -> Iterable[SaveableObject]:
    if isinstance(item, SaveableObject):
        return [item]
    if isinstance(item, (list, tuple, PartitionedVariable)):
        return list(_parts(name, item))
    if isinstance(item, ResourceVariable):
        return [ResourceSaveable(item, "", name)]
    if isinstance(item, Variable) or _is_variable_tensor(item):
        return [ReferenceSaveable(item, "", name)]
    raise TypeError(
        f"names_to_saveables must be a dict mapping string names to Tensors/Variables. Not a variable: {item}"
    )


def _parts(name: str, parts: Iterable[Any]) -> Iterable[SaveableObject]:
    whole = None
    for part in sorted(parts, key=lambda v: _offset(v, name)):
        info = part._get_save_slice_info()
        whole = whole or info.full_name
        if info.full_name != whole:
            raise ValueError(f"Slices must all be from the same tensor: {whole} != {info.full_name}")
        kind = ResourceSaveable if isinstance(part, ResourceVariable) else ReferenceSaveable
        yield kind(part, info.spec, name)


def _offset(part: Any, name: str) -> list[int]:
    if not isinstance(part, Variable):
        raise TypeError(f"Slices must all be Variables: {part}")
    info = part._get_save_slice_info()
    if info is None:
        raise ValueError(f"Slices must all be slices: {part} (under the name `{name}`)")
    return list(info.var_offset)


def static_shape(saveable: SaveableObject) -> Any:
    """Return what ``reshape=True`` reshapes to: the shape, computed in the graph where it is not known before.

    It is None for what has no shape of its own, such as tables.
    """
    if not hasattr(saveable.op, "get_shape"):
        return None
    shape = saveable.op.get_shape()
    if shape.is_fully_defined():
        return np.array(shape.as_list(), np.int32)
    return raw_op("Shape", [saveable.op], {}, None)


__all__ = ["SaveSpec", "SaveableObject", "checkpoint_name", "saveables_of", "static_shape"]
