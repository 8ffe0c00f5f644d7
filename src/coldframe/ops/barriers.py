"""Barriers: tuples whose components come one by one, under a key; a tuple is there once it has all of them.

Tuples are taken in the order in which their keys were first seen. After tensorflow/core/kernels/barrier_ops.cc.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from coldframe import dtypes
from coldframe.dtypes import DType
from coldframe.errors import CancelledError, EndOfInputError
from coldframe.ops.shared import Shared
from coldframe.ops.state import Handle, State
from coldframe.ops.table import op
from coldframe.primitives.base import refuse
from coldframe.records import dataclass
from coldframe.shapes import Shape

Array = npt.NDArray[Any]
_IGNORES: Final = ("container",)
_FIRST: Final = -(1 << 63)


@dataclass(slots=True, eq=False)
class _Entry:
    """A tuple in the making: the number of its insertion, its key, its components by place."""

    index: int
    key: bytes
    parts: dict[int, Any]


class Barrier(Shared):
    """Tuples by key."""

    def __init__(self, name: str, types: tuple[DType, ...], shapes: tuple[Shape, ...]) -> None:
        super().__init__(f"barrier `{name}`")
        self.types, self.shapes = types, shapes
        self.incomplete: dict[bytes, _Entry] = {}
        self.ready: list[tuple[int, int, _Entry]] = []
        self._next = _FIRST
        self._order = itertools.count()
        self._closed = False
        self._stopped = False  # closed, and what was in the making is given up

    def insert(self, keys: list[bytes], values: Array, at: int) -> None:
        """Give tuples their component number `at`.

        Raises:
            CancelledError: the barrier is closed and does not know a key.
        """
        with self.changed:
            fresh = False
            for key, value in zip(keys, values, strict=True):
                entry = self.incomplete.get(key)
                if entry is None:
                    if self._closed:
                        raise CancelledError(f"{self.title} is closed and takes no new key", found=repr(key))
                    entry = self.incomplete[key] = _Entry(self._next, key, {})
                    fresh = True
                if at in entry.parts:
                    raise refuse(f"{self.title}: component {at} is there already", found=f"key {key!r}")
                entry.parts[at] = value
                if len(entry.parts) == len(self.types):
                    heapq.heappush(self.ready, (entry.index, next(self._order), self.incomplete.pop(key)))
            self._next += fresh
            self.changed.notify_all()

    def take(self, count: int, *, fewer: bool) -> list[_Entry]:
        """Take `count` tuples, waiting for them; `fewer`: what there is will do once the barrier is closed.

        Raises:
            EndOfInputError: the barrier is closed and will not have as many.
        """
        with self.changed:
            self.wait(lambda: len(self.ready) >= self._wanted(count, fewer))
            return [heapq.heappop(self.ready)[2] for _ in range(self._wanted(count, fewer))]

    def _wanted(self, count: int, fewer: bool) -> int:
        if not self._closed:
            return count
        available, wanted = len(self.ready), count
        if fewer:
            wanted = min(count, available)
        else:
            available += len(self.incomplete)
        if available < max(wanted, 1):
            raise EndOfInputError(
                f"{self.title} is closed and has insufficient elements (requested {count}, total size {available})"
            )
        return wanted

    def close(self, *, give_up: bool) -> None:
        """Take no more keys; `give_up`: nor more components of those that are there."""
        with self.changed:
            if self._stopped or (self._closed and not give_up):
                raise CancelledError(f"{self.title} is already closed")
            self._closed = True
            if give_up:
                self._stopped = True
                self.incomplete.clear()
            self.changed.notify_all()


@dataclass(frozen=True, slots=True, eq=False)
class BarrierHandle(Handle):
    """A barrier."""

    barrier: Barrier


def _of(handle: Any) -> Barrier:
    if not isinstance(handle, BarrierHandle):
        raise refuse("not a barrier", found=type(handle).__name__)
    return handle.barrier


@op("Barrier", shape="-> [2]", stateful=True, ignores=_IGNORES)
def barrier(
    xp: Any, state: State, *, component_types: tuple[DType, ...], shapes: tuple[Shape, ...], capacity: int,
    shared_name: str,
) -> Any:  # fmt: skip
    """Tuples of tensors that come component by component."""
    if capacity != -1:
        raise refuse("the capacity of a barrier", expected=-1, found=capacity)
    if len(shapes) != len(component_types):
        raise refuse("the shapes of a barrier", expected=len(component_types), found=len(shapes))
    name = shared_name or state.node
    found: Barrier = state.live(f"barrier/{name}", lambda: Barrier(name, component_types, shapes))
    if (found.types, found.shapes) != (component_types, shapes):
        raise refuse(f"{found.title} is used with different components")
    return BarrierHandle(name, "barrier", dtypes.resource, Shape(()), found)


@op("BarrierInsertMany", stateful=True, effect=True)
def barrier_insert_many(
    xp: Any, state: State, handle: Any, keys: Array, values: Array, *, T: DType, component_index: int
) -> None:
    """Give each key its component number `component_index`."""
    target = _of(handle)
    if not 0 <= component_index < len(target.types):
        raise refuse(f"{target.title}: a component", expected=f"below {len(target.types)}", found=component_index)
    if target.types[component_index] != T:
        expected = target.types[component_index]
        raise refuse(f"{target.title}: component {component_index} has another dtype", expected=expected, found=T)
    if keys.ndim != 1 or not values.ndim or len(keys) != len(values):
        raise refuse("as many values as keys", expected=list(keys.shape), found=list(values.shape))
    shape = target.shapes[component_index]
    if not shape.accepts(values.shape[1:]):
        raise refuse(f"{target.title}: component {component_index}", expected=shape, found=list(values.shape[1:]))
    target.insert(keys.tolist(), values, component_index)


@op("BarrierTakeMany", shape=lambda a, *inputs: [(None,), (None,), *[None] * len(a["component_types"])],
    stateful=True, role="waits", ignores=("wait_for_incomplete",))  # fmt: skip
def barrier_take_many(
    xp: Any, state: State, handle: Any, num_elements: Any, *, component_types: tuple[DType, ...],
    allow_small_batch: bool, timeout_ms: int,
) -> Any:  # fmt: skip
    """Insertion numbers, keys and components, stacked, of the next tuples, once there are as many."""
    target = _of(handle)
    if timeout_ms != -1:
        raise refuse("the timeout of a barrier", expected=-1, found=timeout_ms)
    if component_types != target.types:
        held, given = (", ".join(map(str, t)) for t in (target.types, component_types))
        raise refuse(f"{target.title} has components of other dtypes", expected=held, found=given)
    if int(num_elements) < 0:
        raise refuse(f"{target.title}: the number of tuples asked for", expected="0 or more", found=int(num_elements))
    taken = target.take(int(num_elements), fewer=allow_small_batch)
    keys: Array = np.empty(len(taken), object)
    keys[:] = [e.key for e in taken]
    indices = np.array([e.index for e in taken], np.int64)
    return indices, keys, [_stacked([e.parts[i] for e in taken], t, s)
                           for i, (t, s) in enumerate(zip(target.types, target.shapes, strict=True))]  # fmt: skip


def _stacked(values: Sequence[Any], dtype: DType, shape: Shape) -> Array:
    sizes = values[0].shape if values else tuple(d or 0 for d in shape.dims or ())
    if any(v.shape != sizes for v in values):
        raise refuse("components to stack differ in shape", expected=list(sizes))
    out: Array = np.empty((len(values), *sizes), dtype.numpy)
    for k, v in enumerate(values):
        out[k] = v
    return out


@op("BarrierClose", stateful=True, effect=True)
def barrier_close(xp: Any, state: State, handle: Any, *, cancel_pending_enqueues: bool) -> None:
    """Take no more keys; what is in the making may be completed, or is given up."""
    _of(handle).close(give_up=cancel_pending_enqueues)


@op("BarrierReadySize", shape="-> []", stateful=True)
def barrier_ready_size(xp: Any, state: State, handle: Any) -> Any:
    """How many tuples are complete."""
    return np.array(len(_of(handle).ready), np.int32)


@op("BarrierIncompleteSize", shape="-> []", stateful=True)
def barrier_incomplete_size(xp: Any, state: State, handle: Any) -> Any:
    """How many tuples lack components."""
    return np.array(len(_of(handle).incomplete), np.int32)
