"""What differs between two checkpoints: names, dtypes, shapes, values.

Values are compared chunk by chunk, so that two checkpoints larger than memory can be compared. Two NaNs in one place
are the same value; a NaN or an infinity that faces another value is an infinite change. A tensor that went is held
against those that came: one with the same values is suggested as its new name.
"""

from __future__ import annotations

import dataclasses
import difflib
import enum
import hashlib
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import numpy as np

from coldframe.checkpoint.reader import Checkpoint, open_checkpoint
from coldframe.checkpoint.select import Selection, scope_of
from coldframe.checkpoint.stream import Array, chunks, dims
from coldframe.records import dataclass
from coldframe.shapes import TensorSpec

LOWEST: Final = -12  # decades of the histogram: below 10^-12, ... , 10^4 and above
HIGHEST: Final = 4
_COMPARED: Final = 2500  # pairs of names that are compared letter by letter


class State(enum.Enum):
    """What became of a tensor."""

    ADDED = "added"
    REMOVED = "removed"
    RETYPED = "retyped"  # another dtype or shape: values cannot be held against each other
    CHANGED = "changed"
    SAME = "same"


@dataclass(frozen=True, slots=True)
class Change:
    """How far the values of one tensor, or of the tensors of a scope, have moved.

    Attributes:
        elements: how many were compared.
        different: how many of them differ.
        max: the greatest absolute change; infinite where a NaN or an infinity came or went.
        mean: the mean absolute change.
        relative: the norm of the change over the norm of the old values; infinite where those are all 0.
        histogram: how many elements changed by how much: not at all, by less than 10^-12, up to each power of 10 to
            10^4, and by more; empty where it was not asked for.
    """

    elements: int
    different: int
    max: float
    mean: float
    relative: float
    histogram: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class TensorDiff:
    """One tensor in two checkpoints.

    Attributes:
        name: its name.
        state: what became of it.
        old: its dtype and shape in the first checkpoint; None where it is not there.
        new: the same in the second.
        change: how far its values moved; None where they cannot be compared. Strings count differences only.
    """

    name: str
    state: State
    old: TensorSpec | None
    new: TensorSpec | None
    change: Change | None = None

    def to_json(self) -> dict[str, Any]:
        specs = {"old": self.old, "new": self.new}
        kinds = {k: None if s is None else {"dtype": s.dtype.name, "shape": list(s.shape)} for k, s in specs.items()}
        change = None if self.change is None else _finite(dataclasses.asdict(self.change))
        return {"name": self.name, "state": self.state.value, **kinds, "change": change}


@dataclass(frozen=True, slots=True)
class Diff:
    """What differs between two checkpoints.

    Attributes:
        old: the prefix of the first.
        new: the prefix of the second.
        tensors: all that were compared, by name.
        renames: likely renames: the new name by the old one, with the same values.
    """

    old: str
    new: str
    tensors: tuple[TensorDiff, ...]
    renames: Mapping[str, str]

    @property
    def same(self) -> bool:
        """Whether nothing differs."""
        return all(t.state is State.SAME for t in self.tensors)

    def of(self, state: State) -> list[TensorDiff]:
        """Return the tensors in a state."""
        return [t for t in self.tensors if t.state is state]

    def by_scope(self, depth: int = 1) -> dict[str, list[TensorDiff]]:
        """Return the tensors by the first `depth` scopes of their names."""
        found: dict[str, list[TensorDiff]] = {}
        for t in self.tensors:
            found.setdefault(scope_of(t.name, depth), []).append(t)
        return found

    def to_json(self) -> dict[str, Any]:
        return {
            "old": self.old,
            "new": self.new,
            "same": self.same,
            "counts": {s.value: len(self.of(s)) for s in State},
            "renames": dict(self.renames),
            "tensors": [t.to_json() for t in self.tensors],
        }


def diff(
    old: str | os.PathLike[str],
    new: str | os.PathLike[str],
    selection: Selection | None = None,
    *,
    histogram: bool = False,
    values: bool = True,
) -> Diff:
    """Compare two checkpoints.

    Args:
        old: the first, by any path that `open_checkpoint` takes.
        new: the second.
        selection: which tensors to compare; left out, all.
        histogram: whether to count how many elements changed by how much.
        values: whether to read values; else only names, dtypes and shapes are compared.

    Raises:
        NotFoundError: there is no such checkpoint; a pattern fits no tensor of either.
        CorruptError: a checkpoint is damaged.
    """
    with open_checkpoint(old) as a, open_checkpoint(new) as b:
        names = (selection or Selection()).pick(
            sorted({*a, *b}, key=lambda n: n.encode("utf-8", "surrogateescape")),
            where=f"in `{a.prefix}` or `{b.prefix}`",
        )
        tensors = tuple(_compare(a, b, name, histogram=histogram, values=values) for name in names)
        gone = [t.name for t in tensors if t.state is State.REMOVED]
        came = [t.name for t in tensors if t.state is State.ADDED]
        renames = _renames(a, gone, b, came) if values else {}
        return Diff(a.prefix, b.prefix, tensors, renames)


def _compare(a: Checkpoint, b: Checkpoint, name: str, *, histogram: bool, values: bool) -> TensorDiff:
    old, new = a.specs.get(name), b.specs.get(name)
    if old is None or new is None:
        return TensorDiff(name, State.ADDED if old is None else State.REMOVED, old, new)
    if old != new:
        return TensorDiff(name, State.RETYPED, old, new)
    if not values:
        return TensorDiff(name, State.SAME, old, new)
    meter = Meter(numeric=old.dtype.width > 0, histogram=histogram)
    for x, y in zip(chunks(a, name), chunks(b, name), strict=True):
        meter.add(x, y)
    change = meter.change()
    return TensorDiff(name, State.CHANGED if change.different else State.SAME, old, new, change)


class Meter:
    """Measures how far values move, chunk by chunk.

    Args:
        numeric: whether the values are numbers; of others, only differences are counted.
        histogram: whether to count how many elements changed by how much.
    """

    def __init__(self, *, numeric: bool = True, histogram: bool = False) -> None:
        self._numeric = numeric
        self._counts = np.zeros(HIGHEST - LOWEST + 3, np.int64) if histogram and numeric else None
        self._elements = self._different = 0
        self._max = self._sum = self._squares = self._old_squares = self._new_squares = 0.0

    def add(self, old: Array, new: Array) -> None:
        """Take in a chunk of old values and the same one of new values."""
        self._elements += old.size
        if not self._numeric:
            self._different += sum(x != y for x, y in zip(old.tolist(), new.tolist(), strict=True))
            return
        with np.errstate(over="ignore", invalid="ignore"):
            x = _wide(old)
            squares = _squares(x)
            self._old_squares += squares
            if _identical(old, new):
                self._new_squares += squares
                moved = np.zeros(old.size) if self._counts is not None else None
            else:
                y = _wide(new)
                self._new_squares += _squares(y)
                moved = self._measure(old, new, x, y)
        if self._counts is not None and moved is not None:
            self._count(moved)

    def _measure(self, old: Array, new: Array, x: Array, y: Array) -> Array:
        """Return how far each value moved: 0 where it is the same, even if it is not a number."""
        moved: Array = np.abs(y - x)
        total = float(moved.sum())
        if old.dtype.kind in "iub" or not math.isfinite(total):
            # Large integers are not the same only because floats cannot tell them apart.
            exact = old.dtype.kind in "iub"
            same = old == new if exact else (x == y) | (np.isnan(x) & np.isnan(y))
            moved[np.isnan(moved)] = np.inf
            moved[same] = 0
            self._different += old.size - int(np.count_nonzero(same))
            total = float(moved.sum())
        else:
            self._different += int(np.count_nonzero(moved))
        self._sum += total
        self._max = max(self._max, float(moved.max(initial=0.0)))
        self._squares += _squares(moved)
        return moved

    def _count(self, moved: Array) -> None:
        assert self._counts is not None
        changed = moved[moved > 0]
        self._counts[0] += moved.size - changed.size
        decades = np.floor(np.log10(changed))
        bins = np.clip(np.nan_to_num(decades, posinf=HIGHEST), LOWEST - 1, HIGHEST)
        np.add.at(self._counts, bins.astype(int) - LOWEST + 2, 1)

    def change(self) -> Change:
        """Return the result so far."""
        if not self._numeric:
            return Change(self._elements, self._different, *((math.nan,) * 3))
        known = self._old_squares and math.isfinite(self._old_squares)
        relative = math.sqrt(self._squares / self._old_squares) if known else math.inf
        return Change(
            self._elements,
            self._different,
            self._max,
            self._sum / self._elements if self._elements else 0.0,
            relative if self._different else 0.0,
            tuple(self._counts.tolist()) if self._counts is not None else (),
        )

    @property
    def new_norm(self) -> float:
        """The norm of the new values."""
        return math.sqrt(self._new_squares)

    @property
    def norm(self) -> float:
        """The norm of the change."""
        return math.sqrt(self._squares)


def _wide(values: Array) -> Array:
    """Return numbers in the precision that they are compared in."""
    if values.dtype.kind == "c":
        return values.astype(np.complex128)
    return values.astype(np.float64)


def _identical(old: Array, new: Array) -> bool:
    """Whether two arrays are the same to the byte."""
    a, b = np.ascontiguousarray(old), np.ascontiguousarray(new)
    return bool(np.array_equal(a.view(np.uint8), b.view(np.uint8)))


def _squares(values: Array) -> float:
    return float(np.vdot(values, values).real)


def _renames(a: Checkpoint, gone: list[str], b: Checkpoint, came: list[str]) -> dict[str, str]:
    """Return the new name of each tensor that went, where one that came has its values."""
    kinds = {_kind(b.specs[n]) for n in came}
    candidates = {_kind(a.specs[n]) for n in gone} & kinds
    there: dict[bytes, list[str]] = {}
    for name in came:
        if _kind(b.specs[name]) in candidates:
            there.setdefault(_digest(b, name), []).append(name)
    groups: dict[bytes, list[str]] = {}
    for name in gone:
        if there and _kind(a.specs[name]) in candidates:
            groups.setdefault(_digest(a, name), []).append(name)
    found: dict[str, str] = {}
    for digest, names in groups.items():
        found |= _pairs(names, there.get(digest, []))
    return {name: found[name] for name in gone if name in found}


def _pairs(gone: list[str], came: list[str]) -> dict[str, str]:
    """Pair names of tensors with the same values, such as zeros: each goes to the one that is called most like it."""
    found: dict[str, str] = {}
    if len(gone) * len(came) <= _COMPARED:
        left = list(came)
        for name in gone[: len(came)]:
            found[name] = max(left, key=lambda n: difflib.SequenceMatcher(None, name, n).ratio())
            left.remove(found[name])
        return found
    # Too many to compare letters: those that share their last parts with no other.
    ends: dict[str, list[str]] = {}
    for name in came:
        for end in _ends(name):
            ends.setdefault(end, []).append(name)
    taken: set[str] = set()
    for name in gone:
        option = next((ends[end] for end in _ends(name) if end in ends), [])
        if len(option) == 1 and option[0] not in taken:
            found[name] = option[0]
            taken.add(option[0])
    return found


def _ends(name: str) -> Iterator[str]:
    """Yield the last parts of a name, the longest first: ``a/b/c``, ``b/c``, ``c``."""
    while name:
        yield name
        name = name.partition("/")[2]


def _kind(spec: TensorSpec) -> tuple[int, tuple[int, ...]]:
    return spec.dtype.enum, dims(spec)


def _digest(ckpt: Checkpoint, name: str) -> bytes:
    found = hashlib.blake2b(repr(_kind(ckpt.specs[name])).encode())
    for chunk in chunks(ckpt, name):
        found.update(_bytes_of(chunk))
    return found.digest()


def _bytes_of(chunk: Array) -> bytes:
    if chunk.dtype == object:
        return b"".join(len(v).to_bytes(8, "little") + v for v in chunk.tolist())
    if chunk.dtype.itemsize == 1 and chunk.dtype.kind == "V":  # of narrow integers, some bits mean nothing
        return chunk.astype(np.float32).tobytes()
    return chunk.tobytes()


def decades() -> Iterator[str]:
    """Yield what each count of a histogram is of."""
    yield "0"
    yield f"< 1e{LOWEST}"
    yield from (f"1e{d}" for d in range(LOWEST, HIGHEST))
    yield f">= 1e{HIGHEST}"


def _finite(values: dict[str, Any]) -> dict[str, Any]:
    """Return values as JSON has them: infinities as text, what is not a number as null."""
    return {k: _json_number(v) if isinstance(v, float) else v for k, v in values.items()}


def _json_number(value: float) -> float | str | None:
    if math.isnan(value):
        return None
    return value if math.isfinite(value) else "infinite"


def total(changes: Iterable[Change]) -> Change:
    """Return the change of several tensors together; `relative` is the greatest of theirs."""
    found = [c for c in changes if not math.isnan(c.max)]
    elements = sum(c.elements for c in found)
    return Change(
        elements,
        sum(c.different for c in found),
        max((c.max for c in found), default=0.0),
        sum(c.mean * c.elements for c in found) / elements if elements else 0.0,
        max((c.relative for c in found), default=0.0),
        tuple(map(sum, zip(*(c.histogram for c in found if c.histogram), strict=True))),
    )
