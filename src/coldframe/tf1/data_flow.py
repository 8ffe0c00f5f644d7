"""Queues as TF1 programs make them: `FIFOQueue`, `RandomShuffleQueue`, `PaddingFIFOQueue`, `PriorityQueue`.

A queue holds elements; an element is a tuple of tensors, its components. A run that takes elements waits until other
runs, in other threads, have added them; see `coldframe.ops.queue_core`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from coldframe import dtypes
from coldframe.dtypes import DType
from coldframe.shapes import Shape
from coldframe.tf1.framework.build import raw, raw_op
from coldframe.tf1.framework.convert import constant_value, convert_to_tensor
from coldframe.tf1.framework.dtype import as_dtype
from coldframe.tf1.framework.graph import name_scope
from coldframe.tf1.framework.shape import TensorShape, as_static
from coldframe.tf1.framework.tensor import Operation, Tensor
from coldframe.tf1.random_ops import get_seed


class QueueBase:
    """What all queues do.

    Args:
        dtypes: of the components of an element.
        shapes: of the components, or None where they are not known.
        names: of the components, which are given as a dict then; or None.
        queue_ref: the queue's handle.
    """

    def __init__(self, dtypes: Any, shapes: Any, names: Any, queue_ref: Tensor) -> None:
        self._dtypes = [as_dtype(d) for d in dtypes]
        if shapes is not None and len(shapes) != len(self._dtypes):
            raise ValueError(f"Queue shapes must have the same length as dtypes, received len(shapes)={len(shapes)}, "
                             f"len(dtypes)={len(self._dtypes)}")  # fmt: skip
        unknown = [TensorShape(None)] * len(self._dtypes)
        self._shapes = unknown if shapes is None else [TensorShape(s) for s in shapes]
        if names is not None and len(names) != len(self._dtypes):
            raise ValueError(f"Queue names must have the same length as dtypes, received len(names)={len(names)}, "
                             f"len(dtypes)={len(self._dtypes)}")  # fmt: skip
        self._names = list(names) if names is not None else None
        self._queue_ref = queue_ref

    @staticmethod
    def from_list(index: Any, queues: Sequence[QueueBase]) -> QueueBase:
        """Return the queue numbered `index`, which must be known before the graph runs."""
        at = constant_value(convert_to_tensor(index))
        if at is None:
            raise NotImplementedError("a queue that is chosen while the graph runs is not supported")
        return queues[int(at)]

    @property
    def queue_ref(self) -> Tensor:
        """The queue's handle."""
        return self._queue_ref

    @property
    def name(self) -> str:
        """The name of the queue's operation."""
        return self._queue_ref.op.name

    @property
    def dtypes(self) -> list[DType]:
        """Of the components."""
        return self._dtypes

    @property
    def shapes(self) -> list[TensorShape]:
        """Of the components."""
        return self._shapes

    @property
    def names(self) -> list[str] | None:
        """Of the components, if they have any."""
        return self._names

    @property
    def _short(self) -> str:
        return self._queue_ref.op.name.split("/")[-1]

    # --- adding ---
    def _components(self, vals: Any) -> list[Any]:
        if isinstance(vals, dict):
            if self._names is None:
                raise ValueError("Queue must have names to enqueue a dictionary")
            if sorted(self._names) != sorted(vals):
                raise ValueError(
                    f"Keys in dictionary to enqueue do not match names of Queue.  Dictionary: {sorted(vals)},"
                    f"Queue: {sorted(self._names)}"
                )
            vals = [vals[k] for k in self._names]
        elif self._names is not None:
            raise ValueError("You must enqueue a dictionary in a Queue with names")
        elif not isinstance(vals, (list, tuple)):
            vals = [vals]
        if len(vals) != len(self._dtypes):
            raise ValueError(f"Expected {len(self._dtypes)} components to enqueue, got {len(vals)}")
        pairs = zip(vals, self._dtypes, strict=True)
        return [convert_to_tensor(v, d, name=f"component_{i}") for i, (v, d) in enumerate(pairs)]

    def enqueue(self, vals: Any, name: str | None = None) -> Operation:
        """Return an operation that adds one element, waiting for room.

        Args:
            vals: a tensor, or a list, tuple or dict of the element's components.
            name: the operation's name.
        """
        with name_scope(name, f"{self._short}_enqueue", _flat(vals)) as scope:
            tensors = self._components(vals)
            for t, shape in zip(tensors, self._shapes, strict=True):
                t.get_shape().assert_is_compatible_with(shape)
            return raw.QueueEnqueueV2(self._queue_ref, tensors, name=scope)  # type: ignore[no-any-return]

    def enqueue_many(self, vals: Any, name: str | None = None) -> Operation:
        """Return an operation that adds the elements along the first axis of `vals`, waiting for room."""
        with name_scope(name, f"{self._short}_EnqueueMany", _flat(vals)) as scope:
            tensors = self._components(vals)
            batch = tensors[0].get_shape().with_rank_at_least(1)[0]
            for t, shape in zip(tensors, self._shapes, strict=True):
                batch = batch.merge_with(t.get_shape().with_rank_at_least(1)[0])
                t.get_shape()[1:].assert_is_compatible_with(shape)
            return raw.QueueEnqueueManyV2(self._queue_ref, tensors, name=scope)  # type: ignore[no-any-return]

    # --- taking ---
    def _taken(self, tensors: Sequence[Tensor], *front: int | None) -> Any:
        for t, shape in zip(tensors, self._shapes, strict=True):
            t.set_shape(TensorShape(front).concatenate(shape) if front else shape)
        if self._names is not None:
            return dict(zip(self._names, tensors, strict=True))
        return tensors[0] if len(tensors) == 1 else list(tensors)

    def _take(self, op: str, name: str | None, *inputs: Any) -> Any:
        attrs = {"component_types": self._dtypes}
        return raw_op(op, [self._queue_ref, *inputs], attrs, name)

    def dequeue(self, name: str | None = None) -> Any:
        """Return the next element, which a run waits for: a tensor, or a list or dict of the components."""
        return self._taken(self._take("QueueDequeueV2", name or f"{self._short}_Dequeue"))

    def dequeue_many(self, n: Any, name: str | None = None) -> Any:
        """Return the next `n` elements, each component stacked along a new first axis."""
        made = self._take("QueueDequeueManyV2", name or f"{self._short}_DequeueMany", n)
        n = constant_value(made[0].op.inputs[1])
        return self._taken(made, None if n is None else int(n))

    def dequeue_up_to(self, n: Any, name: str | None = None) -> Any:
        """Return the next `n` elements; fewer, but at least one, where the queue was closed."""
        made = self._take("QueueDequeueUpToV2", name or f"{self._short}_DequeueUpTo", n)
        return self._taken(made, None)

    # --- the queue itself ---
    def close(self, cancel_pending_enqueues: bool = False, name: str | None = None) -> Operation:
        """Return an operation that lets the queue take no more elements."""
        return raw.QueueCloseV2(  # type: ignore[no-any-return]
            self._queue_ref, cancel_pending_enqueues=cancel_pending_enqueues, name=name or f"{self._short}_Close"
        )

    def is_closed(self, name: str | None = None) -> Tensor:
        """Return whether the queue is closed, a bool scalar."""
        return raw.QueueIsClosedV2(self._queue_ref, name=name or f"{self._short}_Is_Closed")  # type: ignore[no-any-return]

    def size(self, name: str | None = None) -> Tensor:
        """Return how many elements are in the queue, an int32 scalar."""
        return raw.QueueSizeV2(self._queue_ref, name=name or f"{self._short}_Size")  # type: ignore[no-any-return]


def _flat(vals: Any) -> list[Any]:
    if isinstance(vals, dict):
        return list(vals.values())
    return list(vals) if isinstance(vals, (list, tuple)) else [vals]


def _types(kinds: Any) -> list[DType]:
    return [as_dtype(k) for k in (kinds if isinstance(kinds, (list, tuple)) else [kinds])]


def _known_shapes(shapes: Any, count: int, *, partial: bool) -> list[Shape] | None:
    if shapes is None:
        return None
    if isinstance(shapes, TensorShape) or (count == 1 and not _nested(shapes)):
        shapes = [shapes]
    made = [as_static(s) for s in shapes]
    for s in made:
        if s.dims is None or (not partial and None in s.dims):
            raise ValueError(f"All shapes must be fully defined: {[TensorShape(m) for m in made]}")
    return made


def _nested(shapes: Any) -> bool:
    if not isinstance(shapes, (list, tuple)) or not shapes:
        return not isinstance(shapes, (int, type(None))) and len(shapes) > 0
    return all(isinstance(s, (list, tuple, TensorShape, Shape)) for s in shapes)


def _strings(names: Any) -> list[str] | None:
    return [names] if isinstance(names, str) else names


class FIFOQueue(QueueBase):
    """A queue that gives its elements in the order they came.

    Args:
        capacity: the most elements it holds; more have to wait.
        dtypes: of the components.
        shapes: of the components; needed for taking several elements at once.
        names: of the components, if they come as dicts.
        shared_name: the name under which other nodes of the session share it.
        name: of its operation.
    """

    def __init__(
        self, capacity: int, dtypes: Any, shapes: Any = None, names: Any = None, shared_name: str | None = None,
        name: str | None = "fifo_queue",
    ) -> None:  # fmt: skip
        types = _types(dtypes)
        known = _known_shapes(shapes, len(types), partial=False)
        ref = raw.FIFOQueueV2(
            component_types=types, shapes=known or [], capacity=capacity, shared_name=shared_name, name=name
        )
        super().__init__(types, known, _strings(names), ref)


class PaddingFIFOQueue(QueueBase):
    """A queue whose elements may differ in size: several taken at once are filled up with zeros.

    Args:
        capacity, dtypes, names, shared_name, name: as `FIFOQueue`.
        shapes: of the components; dimensions may be None.
    """

    def __init__(
        self, capacity: int, dtypes: Any, shapes: Any, names: Any = None, shared_name: str | None = None,
        name: str = "padding_fifo_queue",
    ) -> None:  # fmt: skip
        types = _types(dtypes)
        known = _known_shapes(shapes, len(types), partial=True)
        if known is None or len(known) != len(types):
            raise ValueError("Shapes must be provided for all components of a PaddingFIFOQueue")
        ref = raw.PaddingFIFOQueueV2(
            component_types=types, shapes=known, capacity=capacity, shared_name=shared_name, name=name
        )
        super().__init__(types, known, _strings(names), ref)


class RandomShuffleQueue(QueueBase):
    """A queue that gives a random one of its elements.

    Args:
        capacity, dtypes, shapes, names, shared_name, name: as `FIFOQueue`.
        min_after_dequeue: how many elements must stay, so that there is something to choose from.
        seed: makes the order repeat; it is TensorFlow's.
    """

    def __init__(
        self, capacity: int, min_after_dequeue: int, dtypes: Any, shapes: Any = None, names: Any = None,
        seed: int | None = None, shared_name: str | None = None, name: str = "random_shuffle_queue",
    ) -> None:  # fmt: skip
        types = _types(dtypes)
        known = _known_shapes(shapes, len(types), partial=False)
        seed1, seed2 = get_seed(seed)
        if seed1 is None and seed2 is None:
            seed1, seed2 = 0, 0
        elif seed is None and shared_name is not None:
            text = f"{seed1}{shared_name}".encode()
            seed2 = int(hashlib.md5(text, usedforsecurity=False).hexdigest()[:8], 16) & 0x7FFFFFFF
        ref = raw.RandomShuffleQueueV2(
            component_types=types, shapes=known or [], capacity=capacity, min_after_dequeue=min_after_dequeue,
            seed=seed1, seed2=seed2, shared_name=shared_name, name=name,
        )  # fmt: skip
        super().__init__(types, known, _strings(names), ref)


class PriorityQueue(QueueBase):
    """A queue that gives the element with the smallest priority: its first component, an int64 scalar.

    Args:
        capacity, names, shared_name, name: as `FIFOQueue`.
        types, shapes: of the components behind the priority.
    """

    def __init__(
        self, capacity: int, types: Any, shapes: Any = None, names: Any = None, shared_name: str | None = None,
        name: str = "priority_queue",
    ) -> None:  # fmt: skip
        kinds = _types(types)
        known = _known_shapes(shapes, len(kinds), partial=False)
        ref = raw.PriorityQueueV2(
            component_types=kinds, shapes=known or [], capacity=capacity, shared_name=shared_name, name=name
        )
        full = None if known is None else [Shape(()), *known]
        super().__init__([dtypes.int64, *kinds], full, _strings(names), ref)


__all__ = ["FIFOQueue", "PaddingFIFOQueue", "PriorityQueue", "QueueBase", "RandomShuffleQueue"]
