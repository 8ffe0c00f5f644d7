"""Slices of tensors: rectangular regions, how they are spelled, and how they cover one another.

A `TensorSlice` may say "the whole dimension" (length -1), as TensorFlow's files do; a `Box` has resolved that against
a shape. The spelling follows tensorflow/core/framework/tensor_slice.h: ``start,length`` or ``-`` per dimension, joined
by colons; ``SaveV2`` and ``RestoreV2`` put the full shape before it: ``4 8 0,2:-``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from coldframe.errors import CorruptError, MisuseError, UnsupportedFormatError
from coldframe.records import dataclass

FULL: Final = -1
_MAX_SLICES: Final = 1 << 16  # the overlap test is quadratic at worst; TensorFlow partitions by the thousands at most
_MAX_PIECES: Final = 10_000


@dataclass(frozen=True, slots=True)
class Box:
    """A region with known bounds: ``starts[i] <= index[i] < starts[i] + sizes[i]``."""

    starts: tuple[int, ...]
    sizes: tuple[int, ...]

    @classmethod
    def whole(cls, shape: Sequence[int]) -> Box:
        return cls((0,) * len(shape), tuple(shape))

    @property
    def volume(self) -> int:
        """The number of elements."""
        return math.prod(self.sizes)

    @property
    def ends(self) -> tuple[int, ...]:
        return tuple(a + n for a, n in zip(self.starts, self.sizes, strict=True))

    def __str__(self) -> str:
        return f"[{', '.join(f'{a}:{b}' for a, b in zip(self.starts, self.ends, strict=True))}]"

    def intersect(self, other: Box) -> Box | None:
        """Return the common region, or None where there is none (or it is empty)."""
        starts = tuple(map(max, self.starts, other.starts))
        sizes = tuple(min(a, b) - s for a, b, s in zip(self.ends, other.ends, starts, strict=True))
        return Box(starts, sizes) if all(n > 0 for n in sizes) else None

    def index(self, origin: Box) -> tuple[slice, ...]:
        """Return this region as numpy indices into an array that holds `origin`."""
        return tuple(slice(a - o, b - o) for a, b, o in zip(self.starts, self.ends, origin.starts, strict=True))

    def minus(self, other: Box) -> list[Box]:
        """Return disjoint boxes that together are this region without `other`."""
        if self.intersect(other) is None:
            return [self]
        pieces = []
        starts, ends = list(self.starts), list(self.ends)
        for d, (low, high) in enumerate(zip(other.starts, other.ends, strict=True)):
            if starts[d] < low:
                pieces.append(_box(starts, [*ends[:d], low, *ends[d + 1 :]]))
                starts[d] = low
            if high < ends[d]:
                pieces.append(_box([*starts[:d], high, *starts[d + 1 :]], ends))
                ends[d] = high
        return pieces


def _box(starts: Sequence[int], ends: Sequence[int]) -> Box:
    return Box(tuple(starts), tuple(b - a for a, b in zip(starts, ends, strict=True)))


@dataclass(frozen=True, slots=True)
class TensorSlice:
    """A slice as files hold it: a start and a length per dimension, where length -1 is the whole dimension."""

    starts: tuple[int, ...]
    lengths: tuple[int, ...]

    @classmethod
    def whole(cls, rank: int) -> TensorSlice:
        return cls((0,) * rank, (FULL,) * rank)

    @classmethod
    def of(cls, box: Box) -> TensorSlice:
        return cls(box.starts, box.sizes)

    @classmethod
    def parse(cls, text: str) -> TensorSlice:
        """Read ``0,2:-``; raise `MisuseError`."""
        starts, lengths = [], []
        for part in text.split(":") if text else []:
            if part == "-":
                starts.append(0)
                lengths.append(FULL)
                continue
            numbers = part.split(",")
            if len(numbers) != 2 or not all(n.isdecimal() and n.isascii() for n in numbers):
                raise MisuseError(
                    f"not a slice: `{text}`", expected="`start,length` or `-` per dimension", found=f"`{part}`"
                )
            starts.append(int(numbers[0]))
            lengths.append(int(numbers[1]))
        return cls(tuple(starts), tuple(lengths))

    def __str__(self) -> str:
        return ":".join("-" if n == FULL else f"{a},{n}" for a, n in zip(self.starts, self.lengths, strict=True))

    def resolve(self, shape: Sequence[int], *, where: str = "") -> Box:
        """Return the region of a tensor of `shape`; raise `CorruptError` where it does not fit."""
        if len(self.starts) != len(shape):
            raise CorruptError("slice of another rank", where=where, expected=f"shape {list(shape)}", found=f"`{self}`")
        sizes = []
        for start, length, dim in zip(self.starts, self.lengths, shape, strict=True):
            size = dim - start if length == FULL else length
            if start < 0 or size < 0 or start + size > dim or (length == FULL and start):
                raise CorruptError(
                    "slice outside its tensor", where=where, expected=f"shape {list(shape)}", found=f"`{self}`"
                )
            sizes.append(size)
        return Box(self.starts, tuple(sizes))


def parse_shape_and_slice(text: str) -> tuple[tuple[int, ...], TensorSlice] | None:
    """Read an element of ``shape_and_slices``: the full shape and the slice, or None for the whole tensor (``""``)."""
    if not text:
        return None
    *dims, spec = text.split(" ")
    if not all(d.isdecimal() and d.isascii() for d in dims):
        raise MisuseError(f"not a shape and slice: `{text}`", expected="dimensions and then a slice: `4 8 0,2:-`")
    shape = tuple(map(int, dims))
    part = TensorSlice.parse(spec)
    if len(part.starts) != len(shape):
        raise MisuseError(
            f"not a shape and slice: `{text}`", expected=f"a slice of rank {len(shape)}", found=f"`{spec}`"
        )
    return shape, part


def format_shape_and_slice(shape: Sequence[int], part: TensorSlice) -> str:
    """Spell an element of ``shape_and_slices``: ``4 8 0,2:-``."""
    return " ".join([*map(str, shape), str(part)])  # of a scalar: "", the whole


def require_cover(wanted: Box, boxes: Sequence[Box], *, name: str, where: str = "") -> None:
    """Raise `CorruptError` unless `boxes`, which must not overlap, together cover `wanted`."""
    where = f"of tensor `{name}` {where}".rstrip()
    if len(boxes) > _MAX_SLICES:
        raise UnsupportedFormatError(
            "too many slices", where=where, expected=f"at most {_MAX_SLICES}", found=len(boxes)
        )
    _refuse_overlap(boxes, where)
    common = [c for b in boxes if (c := wanted.intersect(b)) is not None]
    if sum(c.volume for c in common) == wanted.volume:  # disjoint boxes: equal volume is equality
        return
    raise CorruptError(
        "the file does not have sufficient slices",
        where=where,
        expected=f"slices that cover {wanted}",
        found=f"nothing for {_first_hole(wanted, common)}",
    )


def row_blocks(whole: Box, count: int) -> Iterator[Box]:
    """Cut a region, in row-major order, into boxes of at most `count` elements that are contiguous in that order."""
    if whole.volume <= count or not whole.sizes:
        if whole.volume:
            yield whole
        return
    axis = next(d for d in range(len(whole.sizes)) if whole.sizes[d] > 1)
    step = max(1, count * whole.sizes[axis] // whole.volume)
    for at in range(0, whole.sizes[axis], step):
        starts, sizes = list(whole.starts), list(whole.sizes)
        starts[axis] += at
        sizes[axis] = min(step, sizes[axis] - at)
        yield from row_blocks(Box(tuple(starts), tuple(sizes)), count)


def _refuse_overlap(boxes: Sequence[Box], where: str) -> None:
    solid = [b for b in boxes if b.volume]
    if len(solid) < 2:
        return
    if not solid[0].sizes:
        raise CorruptError("slices overlap", where=where, found="several slices of a scalar")
    solid.sort(key=lambda b: b.starts)
    starts = np.array([b.starts for b in solid], np.int64)
    ends = np.array([b.ends for b in solid], np.int64)
    # Sorted by their first start, a box can only meet those that start before it ends.
    reach = np.searchsorted(starts[:, 0], ends[:, 0], side="left")
    for i, stop in enumerate(reach):
        low, high = starts[i + 1 : stop], ends[i + 1 : stop]
        meets = np.all((low < ends[i]) & (high > starts[i]), axis=1)
        if meets.any():
            other = solid[i + 1 + int(np.argmax(meets))]
            raise CorruptError("slices overlap", where=where, found=f"{solid[i]} and {other}")


def _first_hole(wanted: Box, boxes: Sequence[Box]) -> Box:
    holes = [wanted]
    for box in boxes:
        rest = [piece for hole in holes for piece in hole.minus(box)]
        if len(rest) > _MAX_PIECES:
            break
        holes = rest
    return holes[0]
