"""Attribute values: what TensorFlow's ``AttrValue`` can hold, as Python values.

=============  =======================================
in the file    here
=============  =======================================
s              bytes
i, f, b        int, float, bool
type           `DType`, or `RefType` for ``DT_*_REF``
shape          `Shape`
tensor         `TensorValue`
func           `FuncRef`
placeholder    `AttrPlaceholder` (inside function bodies)
list           a tuple of the above
=============  =======================================
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from coldframe.dtypes import DType, from_numpy
from coldframe.records import dataclass
from coldframe.shapes import Shape

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class RefType:
    """A reference dtype such as ``DT_FLOAT_REF``: the tensor is a variable's own buffer."""

    base: DType


@dataclass(frozen=True, slots=True)
class FuncRef:
    """A function by name, with the attributes it is instantiated with."""

    name: str
    attrs: Mapping[str, AttrValue]


@dataclass(frozen=True, slots=True)
class AttrPlaceholder:
    """Inside a function body: the value of the function's own attribute `name`."""

    name: str


class TensorValue:
    """A constant tensor whose bytes are decoded when first asked for.

    Attributes:
        dtype: its dtype.
        shape: its shape, always static.
        source: what it was read from, so that an untouched value is written back as it was; None otherwise.
    """

    __slots__ = ("_array", "_load", "dtype", "shape", "source")

    def __init__(
        self, dtype: DType, shape: Shape, load: Callable[[], Array], source: Any = None, array: Array | None = None
    ) -> None:
        self.dtype, self.shape, self.source = dtype, shape, source
        self._load, self._array = load, array

    @classmethod
    def of(cls, array: Any, dtype: DType | None = None) -> TensorValue:
        """Hold `array`; `dtype` tells what numpy cannot (quantized types)."""
        value = np.asarray(array)
        return cls(dtype or from_numpy(value.dtype), Shape(value.shape), lambda: value, array=value)

    @property
    def array(self) -> Array:
        """The values; do not write into them."""
        if self._array is None:
            self._array = self._load()
        return self._array

    def __repr__(self) -> str:
        return f"TensorValue({self.dtype.name}{self.shape})"


AttrValue: TypeAlias = (
    "int | float | bool | bytes | DType | RefType | Shape | TensorValue | FuncRef | AttrPlaceholder"
    " | tuple[AttrValue, ...]"
)


def base_type(value: Any) -> Any:
    """Return a `RefType`'s dtype, in lists too; anything else as it is."""
    if isinstance(value, RefType):
        return value.base
    if isinstance(value, tuple) and any(isinstance(v, RefType) for v in value):
        return tuple(base_type(v) for v in value)
    return value
