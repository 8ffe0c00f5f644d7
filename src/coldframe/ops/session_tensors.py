"""Tensors that a session keeps between runs, by handles; locks; and batches of requests.

::

    handle    GetSessionHandle;<number>;/job:localhost/...    a string: the node that made it, and a number

A run that fails keeps nothing and deletes nothing. What a run writes, the session takes over in one go, so that a lock
has nobody to keep out. Batches are of one request: the server puts requests together before the graph runs.
"""

from __future__ import annotations

import threading
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from coldframe import dtypes
from coldframe.dtypes import DType
from coldframe.ops.state import Handle, State
from coldframe.ops.table import alias, op
from coldframe.primitives.base import refuse
from coldframe.shapes import Shape

Array = npt.NDArray[Any]
_DEVICE: Final = "/job:localhost/replica:0/task:0/device:CPU:0"
_NEXT: Final = "next"
_KEPT: Final = Handle("session tensors", "session tensors", dtypes.variant, Shape.unknown())


# --- tensors by handles -----------------------------------------------------------------------------------------
@op("GetSessionHandle", shape="-> []", stateful=True, effect=True)
def get_session_handle(xp: Any, state: State, value: Any) -> Any:
    """The handle under which the session keeps a tensor."""
    kept = state.resource(_KEPT)
    number = kept.get(_NEXT, 0)
    handle = f"{state.node};{number};{_DEVICE}".encode()
    kept.update({_NEXT: number + 1, handle: np.array(value)})
    return np.array(handle, object)


get_session_handle_v2 = alias("GetSessionHandleV2", get_session_handle)


def _handle(value: Any) -> bytes:
    found = np.asarray(value, object)
    if found.ndim or not isinstance(found.item(), bytes):
        raise refuse("the handle of a session's tensor", expected="a string", found=f"shape {list(found.shape)}")
    return found.item()  # type: ignore[no-any-return]


@op("GetSessionTensor", stateful=True)
def get_session_tensor(xp: Any, state: State, handle: Any, *, dtype: DType) -> Any:
    """The tensor that the session keeps under a handle."""
    found = (state.content(_KEPT) or {}).get(_handle(handle))
    if found is None:
        raise refuse("the session keeps no tensor under this handle", found=_handle(handle).decode("utf-8", "replace"))
    held = dtypes.string if found.dtype.kind == "O" else dtypes.from_numpy(found.dtype)
    if held != dtype:
        raise refuse("the dtype of a session's tensor", expected=dtype, found=held)
    return found


@op("DeleteSessionTensor", stateful=True, effect=True)
def delete_session_tensor(xp: Any, state: State, handle: Any) -> None:
    """Forget the tensor that the session keeps under a handle."""
    if state.resource(_KEPT).pop(_handle(handle), None) is None:
        raise refuse("the session keeps no tensor under this handle", found=_handle(handle).decode("utf-8", "replace"))


# --- locks ------------------------------------------------------------------------------------------------------
@op("MutexV2", shape="-> []", stateful=True, ignores=("container",))
def mutex_v2(xp: Any, state: State, *, shared_name: str) -> Any:
    """A lock."""
    return Handle(shared_name or state.node, "mutex", dtypes.variant, Shape(()))


class Locked:
    """What stands for a lock that is held."""

    def __init__(self, mutex: Any) -> None:
        self.mutex = mutex


@op("MutexLock", shape="-> []", stateful=True, effect=True)
def mutex_lock(xp: Any, state: State, mutex: Any) -> Any:
    """The lock, held: the changes of a run come all together anyway."""
    if not isinstance(mutex, Handle) or mutex.kind != "mutex":
        raise refuse("not a lock", found=type(mutex).__name__)
    return Locked(mutex)


@op("ConsumeMutexLock", stateful=True, effect=True)
def consume_mutex_lock(xp: Any, state: State, mutex_lock: Any) -> None:
    """Let a lock go."""
    found = mutex_lock.item() if isinstance(mutex_lock, np.ndarray) and not mutex_lock.ndim else mutex_lock
    if not isinstance(found, Locked):
        raise refuse("not a lock that is held", found=type(found).__name__)


# --- batches of requests ----------------------------------------------------------------------------------------
_BATCH: Final = (
    "num_batch_threads", "max_enqueued_batches", "batch_timeout_micros", "allowed_batch_sizes", "grad_timeout_micros",
    "container", "shared_name", "batching_queue",
)  # fmt: skip


class Counter:
    """Numbers of batches."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = 0

    def cancel(self) -> None:
        """Nobody waits for it."""

    def next(self) -> int:
        """Return a number that was not given before."""
        with self._lock:
            self._last += 1
            return self._last


@op("Batch", stateful=True, effect=True, ignores=_BATCH)
def batch(xp: Any, state: State, in_tensors: list[Array], *, max_batch_size: int) -> Any:
    """The inputs as a batch of one request, where its rows are, and its number."""
    sizes = {t.shape[0] if t.ndim else None for t in in_tensors}
    if len(sizes) != 1 or None in sizes:
        raise refuse("tensors with equally many rows", found=[list(t.shape) for t in in_tensors])
    rows = sizes.pop() or 0
    if rows > max_batch_size:
        raise refuse("a request is larger than a batch may be", expected=f"at most {max_batch_size} rows", found=rows)
    number = state.live("batches", Counter).next()
    return list(in_tensors), np.array([[number, 0, rows]], np.int64), np.int64(number)


def _part(tensor: Array, batch_index: Array, id: Any) -> Array:
    """The rows of a batch that belong to the request with a number."""
    if batch_index.ndim != 2 or batch_index.shape[1] != 3:
        raise refuse("`batch_index`", expected="rows of 3", found=f"shape {list(batch_index.shape)}")
    for number, first, end in batch_index.tolist():
        if number == int(id):
            if not tensor.ndim or not 0 <= first <= end <= len(tensor):
                raise refuse("rows of a request", expected=f"{first} to {end}", found=f"shape {list(tensor.shape)}")
            return tensor[first:end]
    raise refuse("the batch does not hold the request", found=int(id))


@op("Unbatch", stateful=True, ignores=("timeout_micros", "container", "shared_name"))
def unbatch(xp: Any, state: State, batched_tensor: Array, batch_index: Array, id: Any) -> Any:
    """The rows of a batch's result that belong to a request."""
    return _part(batched_tensor, batch_index, id)


@op("UnbatchGrad", stateful=True, ignores=("container", "shared_name"))
def unbatch_grad(xp: Any, state: State, original_input: Array, batch_index: Array, grad: Array, id: Any) -> Any:
    """The gradient of a batch of one request, from that of its rows."""
    if _part(original_input, batch_index, id).shape != grad.shape:
        raise refuse("the gradient of a request's rows", expected=list(original_input.shape), found=list(grad.shape))
    return grad
