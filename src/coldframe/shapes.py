"""Partial shapes: what is known of a tensor's shape before it exists, and specs that carry them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from coldframe.dtypes import DType
from coldframe.errors import MisuseError
from coldframe.records import dataclass


@dataclass(frozen=True, slots=True)
class Shape:
    """A shape of which the rank (`dims` is None) or single dimensions (None) may be unknown.

    ``Shape.of([None, 3])`` prints as ``[?, 3]``; ``Shape.unknown()`` as ``?``.
    """

    dims: tuple[int | None, ...] | None

    @classmethod
    def of(cls, dims: Iterable[int | None] | None) -> Shape:
        """Build a shape; -1 counts as unknown, as in TensorFlow's files."""
        if dims is None:
            return cls(None)
        return cls(tuple(None if d is None or d < 0 else int(d) for d in dims))

    @classmethod
    def unknown(cls) -> Shape:
        return cls(None)

    @property
    def rank(self) -> int | None:
        return None if self.dims is None else len(self.dims)

    @property
    def is_static(self) -> bool:
        """Whether every dimension is known."""
        return self.dims is not None and None not in self.dims

    @property
    def size(self) -> int | None:
        """The number of elements, or None while a dimension is unknown."""
        if self.dims is None:
            return None
        n = 1
        for d in self.dims:
            if d is None:
                return None
            n *= d
        return n

    def __iter__(self) -> Iterator[int | None]:
        if self.dims is None:
            raise MisuseError("a shape of unknown rank has no dimensions to list")
        return iter(self.dims)

    def __len__(self) -> int:
        if self.dims is None:
            raise MisuseError("a shape of unknown rank has no length")
        return len(self.dims)

    def __str__(self) -> str:
        if self.dims is None:
            return "?"
        return f"[{', '.join('?' if d is None else str(d) for d in self.dims)}]"

    def accepts(self, shape: Iterable[int | None]) -> bool:
        """Whether a tensor of `shape` fits this shape."""
        if self.dims is None:
            return True
        other = tuple(shape)
        return len(other) == len(self.dims) and all(
            a is None or b is None or a == b for a, b in zip(self.dims, other, strict=True)
        )

    def merge(self, other: Shape) -> Shape:
        """Return what both shapes together tell; raise `MisuseError` where they contradict."""
        if self.dims is None:
            return other
        if other.dims is None:
            return self
        if not self.accepts(other.dims):
            raise MisuseError("shapes do not agree", expected=self, found=other)
        return Shape(tuple(b if a is None else a for a, b in zip(self.dims, other.dims, strict=True)))


def broadcast(a: Shape, b: Shape) -> Shape:
    """Return the shape of `a` and `b` broadcast by numpy's rules; raise `MisuseError` where they do not fit."""
    if a.dims is None or b.dims is None:
        return Shape.unknown()
    n = max(len(a.dims), len(b.dims))
    left = (1,) * (n - len(a.dims)) + a.dims
    right = (1,) * (n - len(b.dims)) + b.dims
    out: list[int | None] = []
    for x, y in zip(left, right, strict=True):
        if x == 1 or x == y:
            out.append(y)
        elif y == 1:
            out.append(x)
        elif x is None or y is None:
            out.append(y if x is None else x)
        else:
            raise MisuseError("shapes do not broadcast", expected=a, found=b)
    return Shape(tuple(out))


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """A tensor by name, dtype and shape, without its values."""

    name: str
    dtype: DType
    shape: Shape

    @classmethod
    def of(cls, name: str, dtype: DType, dims: Iterable[int | None] | None) -> TensorSpec:
        return cls(name, dtype, Shape.of(dims))

    @property
    def nbytes(self) -> int | None:
        """Bytes in a checkpoint, or None where the shape or the width is open."""
        n = self.shape.size
        return None if n is None or not self.dtype.width else n * self.dtype.width

    def __str__(self) -> str:
        return f"{self.name} {self.dtype.name}{self.shape}"

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "dtype": self.dtype.name,
            "shape": None if self.shape.dims is None else list(self.shape.dims),
        }
