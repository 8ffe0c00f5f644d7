"""`tf.data.experimental.Optional`: an element that may not be there, such as the next one of an iterator at its end."""

from __future__ import annotations

from typing import Any

from coldframe.tf1.data.iterator import Iterator
from coldframe.tf1.data.structure import (
    Structure,
    attrs_of,
    components,
    declared,
    mapped,
    normalized,
    rebuilt,
    structure_of,
)  # fmt: skip
from coldframe.tf1.framework.build import raw
from coldframe.tf1.framework.graph import colocate_with
from coldframe.tf1.framework.tensor import Tensor


class Optional:
    """A value, or none.

    Args:
        variant: the tensor that holds it.
        structure: of the value.
    """

    def __init__(self, variant: Tensor, structure: Structure) -> None:
        self._variant, self._structure = variant, structure

    @staticmethod
    def from_value(value: Any) -> Optional:
        """Return one that has a value: a tensor, or a structure of tensors."""
        element = normalized(value)
        return Optional(raw.OptionalFromValue(components(element)), structure_of(element))

    @staticmethod
    def empty(element_spec: Any) -> Optional:
        """Return one without a value, which would be as `element_spec` tells: dtypes and shapes of tensors."""
        found = declared(mapped(lambda s: s.dtype, element_spec), mapped(lambda s: s.shape, element_spec))
        return Optional(raw.OptionalNone(), found)

    none_from_structure = empty

    def has_value(self, name: str | None = None) -> Tensor:
        """Return whether there is a value, a bool scalar."""
        with colocate_with(self._variant):
            return raw.OptionalHasValue(self._variant, name=name)  # type: ignore[no-any-return]

    def get_value(self, name: str | None = None) -> Any:
        """Return the value; running it is an error where there is none."""
        with colocate_with(self._variant):
            return rebuilt(self._structure, raw.OptionalGetValue(self._variant, name=name, **attrs_of(self._structure)))

    @property
    def element_spec(self) -> Any:
        """Dtype and shape of each tensor of the value, in its structure."""
        return mapped(lambda leaf: leaf.spec, self._structure)

    value_structure = element_spec


def get_next_as_optional(iterator: Iterator) -> Optional:
    """Return the next element of an iterator, or none at its end, instead of an error."""
    with colocate_with(iterator._resource):
        made = raw.IteratorGetNextAsOptional(iterator._resource, **attrs_of(iterator._structure))
    return Optional(made, iterator._structure)


__all__ = ["Optional", "get_next_as_optional"]
