"""Nested structures: lists, tuples, namedtuples and dicts of tensors, flattened and packed again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any


def is_nested(value: Any) -> bool:
    """Whether `value` is a structure rather than a leaf."""
    return isinstance(value, (list, tuple, Mapping)) and not hasattr(value, "_is_leaf")


def _items(structure: Any) -> list[Any]:
    if isinstance(structure, Mapping):
        return [structure[k] for k in sorted(structure)]
    return list(structure)


def flatten(structure: Any) -> list[Any]:
    """Return the leaves, depth first; dicts in the order of their sorted keys."""
    if not is_nested(structure):
        return [structure]
    return [leaf for item in _items(structure) for leaf in flatten(item)]


def pack_sequence_as(structure: Any, flat: Any) -> Any:
    """Return the leaves `flat` in the form of `structure`.

    Raises:
        ValueError: there are too many or too few.
    """
    leaves = iter(flat)
    try:
        packed = _packed(structure, leaves)
    except StopIteration:
        raise ValueError(f"too few leaves for the structure {structure!r}") from None
    if next(leaves, leaves) is not leaves:
        raise ValueError(f"too many leaves for the structure {structure!r}")
    return packed


def _packed(structure: Any, leaves: Iterator[Any]) -> Any:
    if not is_nested(structure):
        return next(leaves)
    if isinstance(structure, Mapping):
        made = {k: _packed(structure[k], leaves) for k in sorted(structure)}
        return type(structure)((k, made[k]) for k in structure)  # type: ignore[call-arg]
    items = [_packed(item, leaves) for item in structure]
    return type(structure)(*items) if hasattr(structure, "_fields") else type(structure)(items)


def map_structure(fn: Callable[..., Any], *structures: Any) -> Any:
    """Return `fn` of corresponding leaves, in the form of the first structure."""
    flat = [flatten(s) for s in structures]
    for other, leaves in zip(structures[1:], flat[1:], strict=True):
        if len(leaves) != len(flat[0]):
            raise ValueError(f"The two structures don't have the same nested structure: {structures[0]!r}, {other!r}")
    return pack_sequence_as(structures[0], [fn(*leaves) for leaves in zip(*flat, strict=True)])


def assert_same_structure(a: Any, b: Any) -> None:
    """Raise `ValueError` where the structures differ, `TypeError` where their kinds do."""
    if is_nested(a) != is_nested(b):
        raise ValueError(f"The two structures don't have the same nested structure.\n\nFirst: {a!r}\n\nSecond: {b!r}")
    if not is_nested(a):
        return
    if isinstance(a, Mapping) != isinstance(b, Mapping):
        raise TypeError(f"The two namedtuples or sequences don't have the same type: {type(a)}, {type(b)}")
    if len(a) != len(b) or (isinstance(a, Mapping) and set(a) != set(b)):
        raise ValueError(f"The two structures don't have the same number of elements.\n\nFirst: {a!r}\n\nSecond: {b!r}")
    for x, y in zip(_items(a), _items(b), strict=True):
        assert_same_structure(x, y)
