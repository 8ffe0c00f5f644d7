"""Datasets that several workers or devices share: pieces of batches, shards, and iterators with one end per device.

An iterator of n devices deals its elements out: number i goes to device ``i % n``, whoever asks first::

    MultiDeviceIterator ──► Init(dataset) ──► incarnation
                       └──► GetNextFromShard(device, incarnation)
"""

from __future__ import annotations

import collections
import threading
from typing import Any, ClassVar, Final

import numpy as np

from coldframe import dtypes
from coldframe.errors import ColdframeError, UnsupportedError
from coldframe.ops import dataset_order
from coldframe.ops.dataset_core import HINTS, Dataset, Element, Elements, dataset_of, number
from coldframe.ops.dataset_groups import rows_of
from coldframe.ops.iterators import KINDS, Place, held
from coldframe.ops.state import Handle, State
from coldframe.ops.table import Op, alias, op
from coldframe.primitives.base import refuse
from coldframe.records import dataclass
from coldframe.shapes import Shape

_OFF, _AUTO, _FILES, _DATA, _HINTED = -1, 0, 1, 2, 3


# --- shares of elements -----------------------------------------------------------------------------------------
@op("RebatchDataset", shape="-> []", stateful=True, ignores=(*HINTS, "use_fallback"))
def rebatch_dataset(xp: Any, state: State, input_dataset: Any, num_replicas: Any) -> Any:
    """Each batch in so many pieces of one size; the last ones may be smaller, or empty."""
    source, count = dataset_of(input_dataset), number("num_replicas", num_replicas, 1)
    return Dataset(lambda work: _Pieces(source.start(work), count))


class _Pieces(Elements):
    """Pieces of batches; those to come are held, the last one first."""

    parts: ClassVar = {"source": Elements, "held": list}

    def __init__(self, source: Elements, count: int) -> None:
        self.source, self._count = source, count
        self.held: list[Element] = []

    def __next__(self) -> Element:
        if not self.held:
            element = tuple(next(self.source))
            size = -(-rows_of(element) // self._count)
            starts = [k * size for k in reversed(range(self._count))]
            self.held = [tuple(c[at : at + size] for c in element) for at in starts]
        return self.held.pop()


@op("AutoShardDataset", shape="-> []", stateful=True, ignores=(*HINTS, "num_replicas"))
def auto_shard_dataset(
    xp: Any, state: State, input_dataset: Any, num_workers: Any, index: Any, *, auto_shard_policy: int
) -> Any:
    """The elements for one of several workers; all of them, where there is one."""
    workers, at = number("num_workers", num_workers, 1), number("index", index, 0)
    if at >= workers:
        raise refuse("`index`", expected=f"below {workers}", found=at)
    if workers == 1 or auto_shard_policy in (_OFF, _HINTED):
        return dataset_of(input_dataset)
    if auto_shard_policy == _DATA:
        return dataset_order.shard_dataset.body(xp, state, input_dataset, num_workers, index)
    if auto_shard_policy not in (_AUTO, _FILES):
        raise refuse("`auto_shard_policy`", expected=f"{_OFF} to {_HINTED}", found=auto_shard_policy)
    raise UnsupportedError(
        "which files a worker reads is not found out here", found=f"{workers} workers",
        hint="shard the dataset itself: `dataset.shard(num_workers, index)`, or `AutoShardPolicy.DATA`",
    )  # fmt: skip


# --- one iterator for several devices ---------------------------------------------------------------------------
_NAMED: Final = (*KINDS, "devices")


class Dealer:
    """A place in a dataset the elements of which go to devices by turns."""

    def __init__(self, name: str, devices: int) -> None:
        self._place, self._lock = Place(name), threading.Lock()
        self._waiting: list[collections.deque[Element | ColdframeError]] = [collections.deque() for _ in range(devices)]
        self._turn = self._incarnation = 0

    def cancel(self) -> None:
        """Give the dataset up: the session is being closed."""
        self._place.cancel()

    def begin(self, dataset: Dataset, state: State) -> int:
        """Go to the beginning of a dataset; return which time this is."""
        with self._lock:
            self._place.begin(dataset, state)
            for waiting in self._waiting:
                waiting.clear()
            self._turn = 0
            self._incarnation += 1
            return self._incarnation

    def next(self, device: int, incarnation: int) -> Element:
        """Return the next element for a device."""
        if not 0 <= device < len(self._waiting):
            raise refuse("`shard_num`", expected=f"0 to {len(self._waiting) - 1}", found=device)
        with self._lock:
            if incarnation != self._incarnation:
                raise refuse("`incarnation_id`", expected=self._incarnation, found=incarnation)
            while not self._waiting[device]:
                turn = self._turn % len(self._waiting)
                self._waiting[turn].append(self._made())
                self._turn += 1
            found = self._waiting[device].popleft()
        if isinstance(found, ColdframeError):
            raise found
        return found

    def _made(self) -> Element | ColdframeError:
        """Return the next element, or why there is none: that is for the device whose turn it is."""
        try:
            return self._place.next()
        except ColdframeError as e:
            return e


@dataclass(frozen=True, slots=True, eq=False)
class DealerHandle(Handle):
    """An iterator for several devices."""

    dealer: Dealer


def _dealer(handle: Any) -> Dealer:
    if not isinstance(handle, DealerHandle):
        raise refuse("not an iterator for devices", found=type(handle).__name__)
    return handle.dealer


def _handle(name: str, dealer: Dealer) -> DealerHandle:
    return DealerHandle(name, "iterator for devices", dtypes.resource, Shape(()), dealer)


@op("MultiDeviceIterator", shape="-> []", stateful=True, ignores=KINDS)
def multi_device_iterator(xp: Any, state: State, *, devices: tuple[str, ...], shared_name: str) -> Any:
    """An iterator that deals elements out to devices."""
    name = shared_name or state.node
    return _handle(name, state.live(f"iterator for devices/{name}", lambda: Dealer(name, len(devices))))


@op("AnonymousMultiDeviceIteratorV3", shape="-> []", stateful=True, ignores=KINDS)
def anonymous_multi_device_iterator_v3(xp: Any, state: State, *, devices: tuple[str, ...]) -> Any:
    """An iterator that deals elements out to devices, and is gone with its handle."""
    return _handle(state.node, Dealer(state.node, len(devices)))


@op("AnonymousMultiDeviceIterator", shape="-> []", stateful=True, ignores=KINDS)
def anonymous_multi_device_iterator(xp: Any, state: State, *, devices: tuple[str, ...]) -> Any:
    """An iterator that deals elements out to devices, and is gone with its handle."""
    return anonymous_multi_device_iterator_v3.body(xp, state, devices=devices), np.array(0, object)


@op("MultiDeviceIteratorInit", shape="-> []", stateful=True, effect=True)
def multi_device_iterator_init(
    xp: Any, state: State, dataset: Any, multi_device_iterator: Any, max_buffer_size: Any
) -> Any:
    """Go to the beginning of a dataset; which time this is, an int64 scalar."""
    return np.array(_dealer(multi_device_iterator).begin(dataset_of(dataset), state), np.int64)


@op("MultiDeviceIteratorGetNextFromShard", shape=held, stateful=True, ignores=("output_shapes", "output_types"))
def multi_device_iterator_get_next_from_shard(
    xp: Any, state: State, multi_device_iterator: Any, shard_num: Any, incarnation_id: Any
) -> list[Any]:
    """The next element for a device."""
    return list(_dealer(multi_device_iterator).next(number("shard_num", shard_num), int(incarnation_id)))


@op("MultiDeviceIteratorToStringHandle", shape="-> []", stateful=True)
def multi_device_iterator_to_string_handle(xp: Any, state: State, multi_device_iterator: Any) -> Any:
    """The iterator's name, a string."""
    _dealer(multi_device_iterator)
    return np.array(multi_device_iterator.name.encode(), object)


@op("MultiDeviceIteratorFromStringHandle", shape="-> []", stateful=True, ignores=("output_types", "output_shapes"))
def multi_device_iterator_from_string_handle(xp: Any, state: State, string_handle: Any) -> Any:
    """The iterator with a name."""
    name = bytes(np.asarray(string_handle, object).item()).decode("utf-8", "replace")
    dealer = state.living(f"iterator for devices/{name}")
    if dealer is None:
        raise refuse(f"no iterator for devices of this session is called `{name}`")
    return _handle(name, dealer)


@op("DeleteMultiDeviceIterator", stateful=True, effect=True)
def delete_multi_device_iterator(
    xp: Any, state: State, multi_device_iterator: Any, iterators: list[Any], deleter: Any
) -> None:
    """Give the iterator's dataset up."""
    _dealer(multi_device_iterator).cancel()


OTHERS: list[Op] = [
    alias("ExperimentalRebatchDataset", rebatch_dataset),
    alias("ExperimentalAutoShardDataset", auto_shard_dataset, ignores=HINTS),
]
