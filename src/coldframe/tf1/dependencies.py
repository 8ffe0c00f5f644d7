"""Ordering: groups of operations, and tensors that are passed on when something has happened."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from coldframe.tf1.framework.build import raw_op
from coldframe.tf1.framework.convert import IndexedSlices, convert_to_tensor
from coldframe.tf1.framework.graph import (
    colocate_with,
    control_dependencies,
    device,
    get_default_graph,
    graph_of,
    name_scope,
)
from coldframe.tf1.framework.tensor import Operation


def no_op(name: str | None = None) -> Operation:
    """Return an operation that does nothing; what it waits for makes it useful."""
    made: Operation = raw_op("NoOp", [], {}, name)
    return made


def group(*inputs: Any, **kwargs: Any) -> Operation:
    """Return an operation that has run when all of `inputs` (operations, tensors, nested lists, None) have."""
    name = kwargs.pop("name", None)
    if kwargs:
        raise ValueError(f"Unknown keyword arguments: {', '.join(kwargs)}")
    waits = [i for i in _flat(inputs) if i is not None]
    with graph_of(waits).as_default(), name_scope(name, "group_deps", waits) as scope:
        by_device: dict[str, list[Any]] = {}
        for item in waits:
            by_device.setdefault(getattr(item, "device", ""), []).append(item)
        if len(by_device) > 1:  # a group per device, and one of these
            waits = [_on_device(where, by_device[where], None) for where in sorted(by_device)]
            with control_dependencies(waits):
                return no_op(name=scope)
        return _on_device(next(iter(by_device), ""), waits, scope)


def _on_device(where: str, waits: list[Any], name: str | None) -> Operation:
    with control_dependencies(waits), device(where):
        return no_op(name=name)


def _flat(items: Any) -> Iterable[Any]:
    if isinstance(items, dict):
        items = [items[k] for k in sorted(items)]
    if isinstance(items, (list, tuple, set)) and not hasattr(items, "op"):
        for i in items:
            yield from _flat(i)
    else:
        yield items


def with_dependencies(dependencies: Any, output: Any, name: str | None = None) -> Any:
    """Return `output`, a tensor or slices, passed on when `dependencies` have run."""
    with (
        name_scope(name, "control_dependency", [*dependencies, output]) as scope,
        colocate_with(output),
        control_dependencies(dependencies),
    ):
        if isinstance(output, IndexedSlices):
            values = raw_op("Identity", [output.values], {}, scope)
            return IndexedSlices(values, output.indices, output.dense_shape)
        return raw_op("Identity", [convert_to_tensor(output)], {}, scope)


def tuple_(tensors: Any, name: str | None = None, control_inputs: Any = None) -> list[Any]:
    """Return each of `tensors` (None stays None), passed on when all of them, and `control_inputs`, are there."""
    with name_scope(name, "tuple", [t for t in tensors if t is not None]):
        waits = [t.op for t in tensors if t is not None] + list(control_inputs or ())
        if not waits:
            raise ValueError("Must have at least one Tensor to be grouped")
        gate = group(*waits)
        return [None if t is None else with_dependencies([gate], t) for t in tensors]


def identity(input: Any, name: str | None = None) -> Any:
    """Return a tensor of the same value."""
    made = raw_op("Identity", [input], {}, name)
    if hasattr(input, "known"):
        made.known = input.known
    return made


def add_to_collection(name: Any, value: Any) -> None:
    """Append `value` to a collection of the default graph."""
    get_default_graph().add_to_collection(name, value)


def add_to_collections(names: Any, value: Any) -> None:
    """Append `value` to several collections of the default graph."""
    get_default_graph().add_to_collections(names, value)


def get_collection(key: Any, scope: str | None = None) -> list[Any]:
    """Return the items of a collection of the default graph; of those names that match `scope` (a pattern)."""
    return get_default_graph().get_collection(key, scope)


def get_collection_ref(key: Any) -> list[Any]:
    """Return a collection of the default graph itself: changes to the list change it."""
    return get_default_graph().get_collection_ref(key)
