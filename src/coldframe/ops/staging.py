"""Staging areas: tuples of tensors put down by one run and taken by another, in order or by key.

An area belongs to the session and has no handle: ops of one `shared_name` mean the same one, an op without it one
of its own. Bounded areas let who puts wait until there is room; who takes waits until there is something.
"""

from __future__ import annotations

import collections
import itertools
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from coldframe import dtypes
from coldframe.dtypes import DType
from coldframe.ops.shared import Shared
from coldframe.ops.state import State
from coldframe.ops.table import Op, op
from coldframe.primitives.base import refuse
from coldframe.records import dataclass

Array = npt.NDArray[Any]
Types = tuple[DType, ...]
_IGNORES: Final = ("container",)


@dataclass(frozen=True, slots=True)
class _Bounds:
    """What fits in: so many tuples, so many bytes; 0 for any number."""

    capacity: int
    memory: int


def _bytes(value: Any) -> int:
    a = np.asarray(value)
    return sum(len(v) for v in a.ravel().tolist()) if a.dtype.kind == "O" else a.nbytes


def _checked(values: Sequence[Any], types: Types, title: str) -> None:
    found = tuple(_dtype(v) for v in values)
    if found != types:
        raise refuse(f"{title} holds other dtypes", expected=list(map(str, found)), found=list(map(str, types)))


def _dtype(value: Any) -> DType:
    a = np.asarray(value)
    return dtypes.string if a.dtype.kind == "O" else dtypes.from_numpy(a.dtype)


class _Area(Shared):
    """What areas of both kinds do: keep within their bounds."""

    def __init__(self, title: str, bounds: _Bounds) -> None:
        super().__init__(title)
        self.bounds = bounds
        self.bytes = 0

    def check_size(self, size: int) -> None:
        """Refuse a tuple for which there will never be room."""
        if self.bounds.memory and size > self.bounds.memory:
            raise refuse(
                f"{self.title}: a tuple is larger than all there may be", expected=self.bounds.memory, found=size
            )

    def full(self, count: int, size: int) -> bool:
        """Whether there is no room for a tuple of `size` bytes beside `count` others."""
        bounds = self.bounds
        return bool(
            (bounds.capacity and count >= bounds.capacity) or (bounds.memory and self.bytes + size > bounds.memory)
        )


# --- in order ---------------------------------------------------------------------------------------------------
class Stage(_Area):
    """Tuples; who came first goes first."""

    def __init__(self, title: str, bounds: _Bounds) -> None:
        super().__init__(title, bounds)
        self.items: collections.deque[list[Any]] = collections.deque()

    def put(self, values: list[Any]) -> None:
        size = sum(map(_bytes, values))
        with self.changed:
            self.check_size(size)
            self.wait(lambda: not self.full(len(self.items), size))
            self.items.append(values)
            self.bytes += size
            self.changed.notify_all()

    def take(self, types: Types) -> list[Any]:
        with self.changed:
            self.wait(lambda: bool(self.items))
            _checked(self.items[0], types, self.title)
            values = self.items.popleft()
            self.bytes -= sum(map(_bytes, values))
            self.changed.notify_all()
            return values

    def peek(self, index: int, types: Types) -> list[Any]:
        if index < 0:
            raise refuse(f"{self.title}: the place to look at", expected="0 or more", found=index)
        with self.changed:
            self.wait(lambda: len(self.items) > index)
            _checked(self.items[index], types, self.title)
            return list(self.items[index])

    def clear(self) -> None:
        with self.changed:
            self.items.clear()
            self.bytes = 0
            self.changed.notify_all()


def _stage(state: State, capacity: int, memory_limit: int, shared_name: str) -> Stage:
    name = shared_name or state.node
    title, bounds = f"the staging area `{name}`", _Bounds(max(capacity, 0), max(memory_limit, 0))
    return state.live(f"stage/{name}", lambda: Stage(title, bounds))  # type: ignore[no-any-return]


@op("Stage", stateful=True, effect=True, ignores=_IGNORES)
def stage(xp: Any, state: State, values: list[Any], *, capacity: int, memory_limit: int, shared_name: str) -> None:
    """Put a tuple of tensors down, waiting for room."""
    _stage(state, capacity, memory_limit, shared_name).put([np.asarray(v) for v in values])


@op("Unstage", stateful=True, role="waits", ignores=_IGNORES)
def unstage(xp: Any, state: State, *, capacity: int, memory_limit: int, dtypes: Types, shared_name: str) -> list[Any]:
    """The tuple that was put down first, once there is one; it is gone then."""
    return _stage(state, capacity, memory_limit, shared_name).take(dtypes)


@op("StagePeek", stateful=True, role="waits", ignores=_IGNORES)
def stage_peek(
    xp: Any, state: State, index: Any, *, capacity: int, memory_limit: int, dtypes: Types, shared_name: str
) -> list[Any]:
    """The tuple at `index`, once there are as many; it stays."""
    return _stage(state, capacity, memory_limit, shared_name).peek(int(index), dtypes)


@op("StageSize", shape="-> []", stateful=True, ignores=(*_IGNORES, "dtypes"))
def stage_size(xp: Any, state: State, *, capacity: int, memory_limit: int, shared_name: str) -> Any:
    """How many tuples there are."""
    return np.array(len(_stage(state, capacity, memory_limit, shared_name).items), np.int32)


@op("StageClear", stateful=True, effect=True, ignores=(*_IGNORES, "dtypes"))
def stage_clear(xp: Any, state: State, *, capacity: int, memory_limit: int, shared_name: str) -> None:
    """Forget all tuples."""
    _stage(state, capacity, memory_limit, shared_name).clear()


# --- by key -----------------------------------------------------------------------------------------------------
class MapStage(_Area):
    """Tuples by key. Their tensors may come in parts; a tuple is there once it has all of them.

    Where any tuple will do, it is the one with the smallest key; of areas without an order TensorFlow says nothing.
    """

    def __init__(self, title: str, bounds: _Bounds, width: int) -> None:
        super().__init__(title, bounds)
        self.width = width
        self.items: dict[int, dict[int, Any]] = {}
        self.parts: dict[int, dict[int, Any]] = {}

    def put(self, key: int, indices: list[int], values: list[Any]) -> None:
        size = sum(map(_bytes, values))
        with self.changed:
            self.check_size(size)
            if len(indices) != len(values) or not values:
                raise refuse(f"{self.title}: one index per value", expected=len(values), found=len(indices))
            self._check_order(indices)
            part = self.parts.get(key, {})
            for i in indices:
                if not 0 <= i < self.width:
                    raise refuse(
                        f"{self.title}: index of a value of key {key}", expected=f"below {self.width}", found=i
                    )
                if i in part:
                    raise refuse(f"{self.title}: the value at an index is there already, of key {key}", found=i)
            complete = len(part) + len(values) == self.width
            self.wait(lambda: not self.full(len(self.items) if complete else -1, size))
            part = {**self.parts.pop(key, {}), **dict(zip(indices, values, strict=True))}
            self.bytes += size
            if complete:
                self.items.setdefault(key, part)
            else:
                self.parts[key] = part
            self.changed.notify_all()

    def _check_order(self, indices: list[int]) -> None:
        if any(b <= a for a, b in itertools.pairwise(indices)):
            raise refuse(f"{self.title}: indices of values", expected="an ascending order", found=indices)

    def look(self, key: int | None, indices: list[int], types: Types, *, take: bool) -> tuple[int, list[Any]]:
        """Return the key and the values at `indices`; take them away where asked."""
        with self.changed:
            self._check_order(indices)
            self.wait(lambda: bool(self.items) if key is None else key in self.items)
            at = min(self.items) if key is None else key
            found = self.items[at]
            for i in indices:
                if i not in found:
                    raise refuse(
                        f"{self.title}: index of a value of key {at}", expected=sorted(found), found=i,
                        hint="values that were taken are gone",
                    )  # fmt: skip
            values = [found[i] for i in indices]
            _checked(values, types, self.title)
            if take:
                for i in indices:
                    del found[i]
                self.bytes -= sum(map(_bytes, values))
                if not found:
                    del self.items[at]
                self.changed.notify_all()
            return at, values

    def clear(self) -> None:
        with self.changed:
            self.items, self.parts, self.bytes = {}, {}, 0
            self.changed.notify_all()


def _family(prefix: str) -> list[Op]:
    """The ops of areas with keys; those in order and those in none are the same here."""

    def area(state: State, capacity: int, memory_limit: int, types: Types, shared_name: str) -> MapStage:
        name = shared_name or state.node
        title, bounds = f"the staging area `{name}`", _Bounds(max(capacity, 0), max(memory_limit, 0))
        key = f"{prefix.lower()}stage/{name}"
        return state.live(key, lambda: MapStage(title, bounds, len(types)))  # type: ignore[no-any-return]

    def map_stage(
        xp: Any, state: State, key: Any, indices: Array, values: list[Any], *, capacity: int, memory_limit: int,
        dtypes: Types, shared_name: str,
    ) -> None:  # fmt: skip
        """Put tensors down at a key: those of a tuple that `indices` number, waiting for room."""
        _checked(values, tuple(dtypes[i] if 0 <= i < len(dtypes) else _dtype(v)
                               for i, v in zip(indices.tolist(), values, strict=False)), "a tuple")  # fmt: skip
        target = area(state, capacity, memory_limit, dtypes, shared_name)
        target.put(int(key), indices.tolist(), [np.asarray(v) for v in values])

    def peek(
        xp: Any, state: State, key: Any, indices: Array, *, capacity: int, memory_limit: int, dtypes: Types,
        shared_name: str,
    ) -> list[Any]:  # fmt: skip
        """The tensors at a key, once they are there; they stay."""
        target = area(state, capacity, memory_limit, dtypes, shared_name)
        return target.look(int(key), indices.tolist(), dtypes, take=False)[1]

    def unstage(
        xp: Any, state: State, key: Any, indices: Array, *, capacity: int, memory_limit: int, dtypes: Types,
        shared_name: str,
    ) -> list[Any]:  # fmt: skip
        """The tensors at a key, once they are there; they are gone then."""
        target = area(state, capacity, memory_limit, dtypes, shared_name)
        return target.look(int(key), indices.tolist(), dtypes, take=True)[1]

    def unstage_no_key(
        xp: Any, state: State, indices: Array, *, capacity: int, memory_limit: int, dtypes: Types, shared_name: str
    ) -> Any:
        """A key, the smallest one, and the tensors there, once there are any; they are gone then."""
        target = area(state, capacity, memory_limit, dtypes, shared_name)
        key, values = target.look(None, indices.tolist(), dtypes, take=True)
        return np.array(key, np.int64), values

    def counted(count: Callable[[MapStage], int], doc: str) -> Callable[..., Any]:
        def size(xp: Any, state: State, *, capacity: int, memory_limit: int, dtypes: Types, shared_name: str) -> Any:
            return np.array(count(area(state, capacity, memory_limit, dtypes, shared_name)), np.int32)

        size.__doc__ = doc
        return size

    def clear(xp: Any, state: State, *, capacity: int, memory_limit: int, dtypes: Types, shared_name: str) -> None:
        """Forget all tuples, whole or not."""
        area(state, capacity, memory_limit, dtypes, shared_name).clear()

    waits: dict[str, Any] = {"stateful": True, "role": "waits", "ignores": _IGNORES}
    plain: dict[str, Any] = {"stateful": True, "ignores": _IGNORES}
    return [
        Op(f"{prefix}Stage", map_stage, effect=True, stateful=True, ignores=(*_IGNORES, "fake_dtypes")),
        Op(f"{prefix}Peek", peek, **waits),
        Op(f"{prefix}Unstage", unstage, **waits),
        Op(f"{prefix}UnstageNoKey", unstage_no_key, **waits),
        Op(f"{prefix}Size", counted(lambda a: len(a.items), "How many tuples are there."), shape="-> []", **plain),
        Op(
            f"{prefix}IncompleteSize", counted(lambda a: len(a.parts), "How many tuples lack tensors."),
            shape="-> []", **plain,
        ),
        Op(f"{prefix}Clear", clear, effect=True, **plain),
    ]  # fmt: skip


MAPS = _family("Map")
ORDERED_MAPS = _family("OrderedMap")
