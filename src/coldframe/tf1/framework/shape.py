"""`TensorShape` and `Dimension`, as TF1 programs use them.

coldframe's own partial shapes are `coldframe.shapes.Shape`; these classes put TF1's interface on them, in which an
element of a shape is an object with a ``value`` that may be None.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from coldframe.errors import MisuseError
from coldframe.shapes import Shape


class Dimension:
    """The size of one axis: ``value`` is an int, or None while it is unknown. Arithmetic with unknown is unknown."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        if isinstance(value, Dimension):
            value = value.value
        self.value: int | None = None if value is None else int(value)
        if self.value is not None and self.value < 0:
            raise ValueError(f"Dimension {value} must be >= 0")

    def __repr__(self) -> str:
        return f"Dimension({self.value})"

    def __str__(self) -> str:
        return "?" if self.value is None else str(self.value)

    def __int__(self) -> int:
        return self.__index__()

    def __index__(self) -> int:
        if self.value is None:
            raise TypeError("the size of this dimension is not known before the graph runs; use tf.shape(x)[i]")
        return self.value

    def __hash__(self) -> int:
        return hash(self.value)

    def __eq__(self, other: object) -> Any:
        value = _value(other)
        if value is NotImplemented or self.value is None or value is None:
            return NotImplemented if value is NotImplemented else None
        return self.value == value

    def __ne__(self, other: object) -> Any:
        equal = self.__eq__(other)
        return equal if equal is None or equal is NotImplemented else not equal

    def _with(self, other: Any, fn: Any) -> Any:
        value = _value(other)
        if value is NotImplemented:
            return NotImplemented
        return Dimension(None if self.value is None or value is None else fn(self.value, value))

    def _compare(self, other: Any, fn: Any) -> Any:
        value = _value(other)
        if value is NotImplemented:
            return NotImplemented
        return None if self.value is None or value is None else fn(self.value, value)

    def __add__(self, other: Any) -> Any:
        return self._with(other, lambda a, b: a + b)

    __radd__ = __add__

    def __sub__(self, other: Any) -> Any:
        return self._with(other, lambda a, b: a - b)

    def __rsub__(self, other: Any) -> Any:
        return self._with(other, lambda a, b: b - a)

    def __mul__(self, other: Any) -> Any:
        return self._with(other, lambda a, b: a * b)

    __rmul__ = __mul__

    def __floordiv__(self, other: Any) -> Any:
        return self._with(other, lambda a, b: a // b)

    __div__ = __truediv__ = __floordiv__

    def __rfloordiv__(self, other: Any) -> Any:
        return self._with(other, lambda a, b: b // a)

    def __mod__(self, other: Any) -> Any:
        return self._with(other, lambda a, b: a % b)

    def __rmod__(self, other: Any) -> Any:
        return self._with(other, lambda a, b: b % a)

    def __lt__(self, other: Any) -> Any:
        return self._compare(other, lambda a, b: a < b)

    def __le__(self, other: Any) -> Any:
        return self._compare(other, lambda a, b: a <= b)

    def __gt__(self, other: Any) -> Any:
        return self._compare(other, lambda a, b: a > b)

    def __ge__(self, other: Any) -> Any:
        return self._compare(other, lambda a, b: a >= b)

    def is_compatible_with(self, other: Any) -> bool:
        """Whether the two may be the same size."""
        value = Dimension(other).value
        return self.value is None or value is None or self.value == value

    def merge_with(self, other: Any) -> Dimension:
        """Return what both together tell; raise `ValueError` where they contradict."""
        other = Dimension(other)
        if not self.is_compatible_with(other):
            raise ValueError(f"Dimensions {self} and {other} are not compatible")
        return other if self.value is None else self

    def assert_is_compatible_with(self, other: Any) -> None:
        """Raise `ValueError` unless the two may be the same size."""
        self.merge_with(other)


def _value(other: Any) -> Any:
    if isinstance(other, Dimension):
        return other.value
    if other is None or isinstance(other, int):
        return other
    return int(other) if hasattr(other, "__index__") else NotImplemented


def dimension_value(dimension: Any) -> int | None:
    """Return the int of a `Dimension`, an int or None."""
    return dimension.value if isinstance(dimension, Dimension) else dimension


class TensorShape:
    """A shape of which the rank or single dimensions may be unknown.

    Args:
        dims: None for an unknown rank; else dimensions (ints, None, -1 or `Dimension`), a shape, or a single int.
    """

    __slots__ = ("static",)

    def __init__(self, dims: Any) -> None:
        self.static = as_static(dims)

    @property
    def ndims(self) -> int | None:
        """The rank, or None while it is unknown."""
        return self.static.rank

    rank = ndims

    @property
    def dims(self) -> list[Dimension] | None:
        """The dimensions, or None while the rank is unknown."""
        return None if self.static.dims is None else [Dimension(d) for d in self.static.dims]

    def as_list(self) -> list[int | None]:
        """Return the sizes, None where unknown; raise `ValueError` while the rank is unknown."""
        if self.static.dims is None:
            raise ValueError("as_list() is not defined on an unknown TensorShape.")
        return list(self.static.dims)

    def num_elements(self) -> int | None:
        """Return the number of elements, or None while it is unknown."""
        return self.static.size

    def is_fully_defined(self) -> bool:
        """Whether every size is known."""
        return self.static.is_static

    def is_compatible_with(self, other: Any) -> bool:
        """Whether one tensor may have both shapes."""
        other = as_static(other)
        return self.static.dims is None or other.dims is None or self.static.accepts(other.dims)

    def assert_is_compatible_with(self, other: Any) -> None:
        """Raise `ValueError` unless one tensor may have both shapes."""
        if not self.is_compatible_with(other):
            raise ValueError(f"Shapes {self} and {TensorShape(other)} are incompatible")

    def assert_has_rank(self, rank: int) -> None:
        """Raise `ValueError` unless the rank is `rank` or unknown."""
        if self.ndims not in (None, rank):
            raise ValueError(f"Shape {self} must have rank {rank}")

    def assert_is_fully_defined(self) -> None:
        """Raise `ValueError` unless every size is known."""
        if not self.is_fully_defined():
            raise ValueError(f"Shape {self} is not fully defined")

    def assert_same_rank(self, other: Any) -> None:
        """Raise `ValueError` where the ranks differ."""
        other = TensorShape(other)
        if self.ndims is not None and other.ndims is not None and self.ndims != other.ndims:
            raise ValueError(f"Shapes {self} and {other} must have the same rank")

    def merge_with(self, other: Any) -> TensorShape:
        """Return what both shapes together tell; raise `ValueError` where they contradict."""
        try:
            return TensorShape(self.static.merge(as_static(other)))
        except MisuseError:
            raise ValueError(f"Shapes {self} and {TensorShape(other)} are not compatible") from None

    def concatenate(self, other: Any) -> TensorShape:
        """Return the dimensions of both, one after the other."""
        other = as_static(other)
        if self.static.dims is None or other.dims is None:
            return TensorShape(None)
        return TensorShape(self.static.dims + other.dims)

    def with_rank(self, rank: int) -> TensorShape:
        """Return the shape with that rank; raise `ValueError` where it has another."""
        return self.merge_with([None] * rank)

    def with_rank_at_least(self, rank: int) -> TensorShape:
        """Return the shape; raise `ValueError` where its rank is lower."""
        if self.ndims is not None and self.ndims < rank:
            raise ValueError(f"Shape {self} must have rank at least {rank}")
        return self

    def with_rank_at_most(self, rank: int) -> TensorShape:
        """Return the shape; raise `ValueError` where its rank is higher."""
        if self.ndims is not None and self.ndims > rank:
            raise ValueError(f"Shape {self} must have rank at most {rank}")
        return self

    def as_proto(self) -> Any:
        """Return the TensorShapeProto message."""
        from coldframe.formats import messages

        proto = messages.TensorShapeProto(unknown_rank=self.static.dims is None)
        for d in self.static.dims or ():
            proto.dim.add(size=-1 if d is None else d)
        return proto

    def __len__(self) -> int:
        if self.static.dims is None:
            raise ValueError("Cannot take the length of shape with unknown rank.")
        return len(self.static.dims)

    def __bool__(self) -> bool:
        return self.static.dims is not None

    def __iter__(self) -> Iterator[Dimension]:
        if self.static.dims is None:
            raise ValueError("Cannot iterate over a shape with unknown rank.")
        return iter(Dimension(d) for d in self.static.dims)

    def __getitem__(self, key: Any) -> Any:
        dims = self.static.dims
        if isinstance(key, slice):
            if dims is not None:
                return TensorShape(dims[key])
            known = key.stop is not None and (key.start or 0) >= 0 and key.stop >= 0
            return TensorShape([None] * (key.stop - (key.start or 0)) if known else None)
        return Dimension(None if dims is None else dims[key])

    def __eq__(self, other: object) -> bool:
        try:
            return self.static == as_static(other)
        except TypeError:
            return NotImplemented

    def __hash__(self) -> int:
        return hash(self.static)

    def __add__(self, other: Any) -> TensorShape:
        return self.concatenate(other)

    def __radd__(self, other: Any) -> TensorShape:
        return TensorShape(other).concatenate(self)

    def __str__(self) -> str:
        dims = self.static.dims
        if dims is None:
            return "<unknown>"
        shown = ["?" if d is None else str(d) for d in dims]
        return f"({shown[0]},)" if len(shown) == 1 else f"({', '.join(shown)})"

    def __repr__(self) -> str:
        return f"TensorShape({None if self.static.dims is None else self.dims})"


def as_static(dims: Any) -> Shape:
    """Return a `Shape` for whatever TF1 programs give as a shape."""
    if isinstance(dims, Shape):
        return dims
    if isinstance(dims, TensorShape):
        return dims.static
    if dims is None:
        return Shape.unknown()
    if hasattr(dims, "unknown_rank"):  # a TensorShapeProto
        return Shape.unknown() if dims.unknown_rank else Shape.of([d.size for d in dims.dim])
    if isinstance(dims, Dimension) or (hasattr(dims, "__index__") and not getattr(dims, "ndim", 0)):
        return Shape.of([dimension_value(dims)])
    if not isinstance(dims, Iterable) or isinstance(dims, (str, bytes)):
        raise TypeError(f"{dims!r} is no shape")
    return Shape.of([_dim(d) for d in dims])


def _dim(d: Any) -> int | None:
    d = dimension_value(d)
    return None if d is None else int(d)


def as_shape(shape: Any) -> TensorShape:
    """Return `shape` as a `TensorShape`."""
    return shape if isinstance(shape, TensorShape) else TensorShape(shape)


def unknown_shape(rank: int | None = None) -> TensorShape:
    """Return a shape of which only the rank is known, if that."""
    return TensorShape(None if rank is None else [None] * rank)
