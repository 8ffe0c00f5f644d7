"""Queues: first in first out, in random order, padded, by priority. They block until they can serve.

A queue belongs to the session, outside the transaction of a run: its content changes at once, for all threads that run
the session. See `queue_core` for how they wait.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from coldframe import dtypes
from coldframe.dtypes import DType
from coldframe.ops.queue_core import PaddingQueue, Queue, QueueSpec, RandomQueue, SortedQueue
from coldframe.ops.state import Handle, State
from coldframe.ops.table import Op, alias, op
from coldframe.primitives.base import refuse
from coldframe.records import dataclass
from coldframe.shapes import Shape

_IGNORES: Final = ("container",)


@dataclass(frozen=True, slots=True, eq=False)
class QueueHandle(Handle):
    """A queue."""

    queue: Queue


def _handle(state: State, spec: QueueSpec, make: Any) -> QueueHandle:
    queue = state.live(f"queue/{spec.name}", lambda: make(spec))
    if queue.spec != spec:
        raise refuse(f"queue `{spec.name}` is used with different settings", expected=queue.spec, found=spec)
    return QueueHandle(spec.name, "queue", dtypes.resource, Shape(()), queue)


def _spec(
    kind: str, state: State, types: tuple[DType, ...], shapes: tuple[Shape, ...], capacity: int, shared_name: str
) -> QueueSpec:
    if shapes and len(shapes) != len(types):
        raise refuse(f"the shapes of a {kind}", expected=f"none or {len(types)}", found=len(shapes))
    return QueueSpec(kind, shared_name or state.node, types, shapes, capacity if capacity >= 0 else None)


# --- making ---
@op("FIFOQueueV2", shape="-> []", stateful=True, ignores=_IGNORES)
def fifo_queue_v2(
    xp: Any, state: State, *, component_types: tuple[DType, ...], shapes: tuple[Shape, ...], capacity: int,
    shared_name: str,
) -> Any:  # fmt: skip
    """A queue that gives its elements in the order they came."""
    return _handle(state, _spec("FIFOQueue", state, component_types, shapes, capacity, shared_name), Queue)


@op("PaddingFIFOQueueV2", shape="-> []", stateful=True, ignores=_IGNORES)
def padding_fifo_queue_v2(
    xp: Any, state: State, *, component_types: tuple[DType, ...], shapes: tuple[Shape, ...], capacity: int,
    shared_name: str,
) -> Any:  # fmt: skip
    """A queue whose elements may differ in size; where several are taken, they are filled up with zeros."""
    return _handle(
        state, _spec("PaddingFIFOQueue", state, component_types, shapes, capacity, shared_name), PaddingQueue
    )


@op("RandomShuffleQueueV2", shape="-> []", stateful=True, ignores=_IGNORES)
def random_shuffle_queue_v2(
    xp: Any, state: State, *, component_types: tuple[DType, ...], shapes: tuple[Shape, ...], capacity: int,
    min_after_dequeue: int, seed: int, seed2: int, shared_name: str,
) -> Any:  # fmt: skip
    """A queue that gives a random one of its elements, in TensorFlow's order for the same seeds."""
    spec = _spec("RandomShuffleQueue", state, component_types, shapes, capacity, shared_name)
    return _handle(state, spec, lambda s: RandomQueue(s, min_after_dequeue, seed, seed2))


@op("PriorityQueueV2", shape="-> []", stateful=True, ignores=_IGNORES)
def priority_queue_v2(
    xp: Any, state: State, *, component_types: tuple[DType, ...], shapes: tuple[Shape, ...], capacity: int,
    shared_name: str,
) -> Any:  # fmt: skip
    """A queue that gives the element with the smallest first component, an int64 scalar that it adds to the types."""
    types = (dtypes.int64, *component_types)
    full = (Shape(()), *shapes) if shapes or not component_types else ()
    return _handle(state, _spec("PriorityQueue", state, types, full, capacity, shared_name), SortedQueue)


# --- using ---
def queue_of(handle: Any) -> Queue:
    """Return the queue behind a handle."""
    if not isinstance(handle, QueueHandle):
        raise refuse("not a queue", found=type(handle).__name__)
    return handle.queue


def _same_types(queue: Queue, types: tuple[DType, ...]) -> None:
    if types != queue.spec.dtypes:
        held, given = (", ".join(map(str, t)) for t in (queue.spec.dtypes, types))
        raise refuse(f"{queue.spec} has components of other dtypes", expected=held, found=given)


@op("QueueEnqueueV2", stateful=True, effect=True)
def queue_enqueue_v2(
    xp: Any, state: State, handle: Any, components: list[Any], *, Tcomponents: tuple[DType, ...]
) -> None:
    """Add an element, waiting for room."""
    queue = queue_of(handle)
    _same_types(queue, Tcomponents)
    queue.enqueue([tuple(np.asarray(c) for c in components)])


@op("QueueEnqueueManyV2", stateful=True, effect=True)
def queue_enqueue_many_v2(
    xp: Any, state: State, handle: Any, components: list[Any], *, Tcomponents: tuple[DType, ...]
) -> None:
    """Add the elements along the first axis, waiting for room."""
    queue = queue_of(handle)
    _same_types(queue, Tcomponents)
    sizes = {np.shape(c)[:1] for c in components}
    if len(sizes) != 1 or () in sizes:
        found = [list(np.shape(c)) for c in components]
        raise refuse("components of several elements", expected="one size along the first axis", found=found)
    queue.enqueue([tuple(c[i, ...] for c in components) for i in range(len(components[0]))])


@op("QueueDequeueV2", stateful=True, role="waits")
def queue_dequeue_v2(xp: Any, state: State, handle: Any, *, component_types: tuple[DType, ...]) -> list[Any]:
    """The next element, once there is one."""
    queue = queue_of(handle)
    _same_types(queue, component_types)
    return list(queue.dequeue(1)[0])


@op("QueueDequeueManyV2", stateful=True, role="waits")
def queue_dequeue_many_v2(
    xp: Any, state: State, handle: Any, n: Any, *, component_types: tuple[DType, ...]
) -> list[Any]:
    """The next `n` elements, stacked, once they are there."""
    return _several(handle, n, component_types, fewer=False)


@op("QueueDequeueUpToV2", stateful=True, role="waits")
def queue_dequeue_up_to_v2(
    xp: Any, state: State, handle: Any, n: Any, *, component_types: tuple[DType, ...]
) -> list[Any]:
    """The next `n` elements, stacked; fewer only where the queue is closed."""
    return _several(handle, n, component_types, fewer=True)


def _several(handle: Any, n: Any, types: tuple[DType, ...], *, fewer: bool) -> list[Any]:
    queue = queue_of(handle)
    _same_types(queue, types)
    queue.stack(())  # refuses before anything is taken
    return queue.stack(queue.dequeue(int(n), fewer=fewer))


@op("QueueCloseV2", stateful=True, effect=True)
def queue_close_v2(xp: Any, state: State, handle: Any, *, cancel_pending_enqueues: bool) -> None:
    """Close a queue: what is in it can still be taken."""
    queue_of(handle).close(cancel_pending=cancel_pending_enqueues)


@op("QueueSizeV2", shape="-> []", stateful=True)
def queue_size_v2(xp: Any, state: State, handle: Any) -> Any:
    """How many elements are in the queue now, an int32 scalar."""
    return np.array(queue_of(handle).size, np.int32)


@op("QueueIsClosedV2", shape="-> []", stateful=True)
def queue_is_closed_v2(xp: Any, state: State, handle: Any) -> Any:
    """Whether the queue is closed."""
    return np.array(queue_of(handle).closed)


@op("FakeQueue", shape="-> [2]", stateful=True)
def fake_queue(xp: Any, state: State, resource: Any) -> Any:
    """A queue, as the handle that the ops of old graphs take."""
    queue_of(resource)
    return resource


OLD: list[Op] = [
    alias(o.name.removesuffix("V2"), o, shape="-> [2]" if o.name.endswith("QueueV2") else o.shape)
    for o in (
        fifo_queue_v2, padding_fifo_queue_v2, random_shuffle_queue_v2, priority_queue_v2, queue_enqueue_v2,
        queue_enqueue_many_v2, queue_dequeue_v2, queue_dequeue_many_v2, queue_dequeue_up_to_v2, queue_close_v2,
        queue_size_v2, queue_is_closed_v2,
    )
]  # fmt: skip
