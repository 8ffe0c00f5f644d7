"""Iterators: places in datasets. They belong to the session, as queues do: each run that asks gets the next element.

::

    IteratorV2 ──► MakeIterator(dataset) ──► IteratorGetNext, IteratorGetNext, ... ──► EndOfInputError

A string handle is an iterator's name, by which another node of the same session finds it.
"""

from __future__ import annotations

import threading
import weakref
from typing import Any, Final

import numpy as np

from coldframe import dtypes
from coldframe.dtypes import DType
from coldframe.errors import CancelledError, EndOfInputError, NotInitializedError
from coldframe.ops.dataset_core import Dataset, Element, Elements, Work, dataset_of
from coldframe.ops.datasets import Function
from coldframe.ops.known import Attrs, Dims
from coldframe.ops.stacks import Optional
from coldframe.ops.state import Handle, State
from coldframe.ops.table import Op, alias, op
from coldframe.primitives.base import refuse
from coldframe.records import dataclass
from coldframe.shapes import Shape

_KINDS: Final = ("output_types", "output_shapes", "container")


class Place:
    """A place in a dataset, once there is a dataset."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.once = threading.Lock()
        self._lock = threading.Lock()
        self._elements: Elements | None = None
        self._work: Work | None = None
        self._cancelled = False

    @property
    def begun(self) -> bool:
        """Whether there is a dataset."""
        return self._elements is not None

    def begin(self, dataset: Dataset, state: State) -> None:
        """Go to the beginning of a dataset."""
        if self._cancelled:
            raise CancelledError(f"iterator `{self._name}`: the session is closed")
        if self._work is not None:
            self._work.stop()
        with self._lock:
            self._work = Work(state)
            weakref.finalize(self, self._work.stop).atexit = False
            self._elements = dataset.start(self._work)

    def next(self) -> Element:
        """Return the next element.

        Raises:
            EndOfInputError: there is none.
            NotInitializedError: there is no dataset yet.
        """
        with self._lock:
            if self._cancelled:
                raise CancelledError(f"iterator `{self._name}`: the session is closed")
            if self._elements is None:
                raise NotInitializedError(
                    f"iterator `{self._name}` has no dataset yet",
                    hint="run its initializer first; or feed what this node hands out, since any tensor can be fed",
                )
            try:
                return next(self._elements)
            except StopIteration:
                raise EndOfInputError("End of sequence", where=f"of iterator `{self._name}`") from None

    def cancel(self) -> None:
        """Give the dataset up: the session is being closed."""
        self._cancelled = True
        if self._work is not None:
            self._work.stop()


@dataclass(frozen=True, slots=True, eq=False)
class IteratorHandle(Handle):
    """An iterator."""

    place: Place


def _handle(state: State, name: str) -> IteratorHandle:
    place = state.live(f"iterator/{name}", lambda: Place(name))
    return IteratorHandle(name, "iterator", dtypes.resource, Shape(()), place)


def _place(handle: Any) -> Place:
    if not isinstance(handle, IteratorHandle):
        raise refuse("not an iterator", found=type(handle).__name__)
    return handle.place


def _held(a: Attrs, *inputs: Any) -> list[Dims]:
    """The shapes that the node's attributes tell of elements."""
    return [s.dims for s in a["output_shapes"]]


# --- making ---
@op("IteratorV2", shape="-> []", stateful=True, ignores=_KINDS)
def iterator_v2(xp: Any, state: State, *, shared_name: str) -> Any:
    """An iterator."""
    return _handle(state, shared_name or state.node)


@op("OneShotIterator", shape="-> []", stateful=True, ignores=_KINDS)
def one_shot_iterator(xp: Any, state: State, *, dataset_factory: Function, shared_name: str) -> Any:
    """An iterator over the dataset that a function makes, from its beginning to its end, once."""
    handle = _handle(state, shared_name or state.node)
    with handle.place.once:
        if not handle.place.begun:
            handle.place.begin(dataset_of(dataset_factory(state)[0]), state)
    return handle


@op("AnonymousIteratorV3", shape="-> []", stateful=True, ignores=_KINDS)
def anonymous_iterator_v3(xp: Any, state: State) -> Any:
    """An iterator that is gone with its handle."""
    return IteratorHandle(state.node, "iterator", dtypes.resource, Shape(()), Place(state.node))


@op("AnonymousIteratorV2", shape="-> []", stateful=True, ignores=_KINDS)
def anonymous_iterator_v2(xp: Any, state: State) -> Any:
    """An iterator that is gone with its handle."""
    return anonymous_iterator_v3.body(xp, state), np.array(0, object)


@op("MakeIterator", stateful=True, effect=True)
def make_iterator(xp: Any, state: State, dataset: Any, iterator: Any) -> None:
    """Go to the beginning of a dataset."""
    _place(iterator).begin(dataset_of(dataset), state)


# --- using ---
@op("IteratorGetNext", shape=_held, stateful=True, ignores=("output_shapes", "output_types"))
def iterator_get_next(xp: Any, state: State, iterator: Any) -> list[Any]:
    """The next element."""
    return list(_place(iterator).next())


@op("IteratorGetNextAsOptional", shape="-> []", stateful=True, ignores=("output_shapes",))
def iterator_get_next_as_optional(xp: Any, state: State, iterator: Any, *, output_types: tuple[DType, ...]) -> Any:
    """The next element as an optional, which has no value where there is none."""
    try:
        return Optional(tuple(_place(iterator).next()), output_types)
    except EndOfInputError:
        return Optional(None)


@op("IteratorToStringHandle", shape="-> []", stateful=True)
def iterator_to_string_handle(xp: Any, state: State, resource_handle: Any) -> Any:
    """The iterator's name, a string."""
    _place(resource_handle)
    return np.array(resource_handle.name.encode(), object)


@op("IteratorFromStringHandleV2", shape="-> []", stateful=True, ignores=("output_types", "output_shapes"))
def iterator_from_string_handle_v2(xp: Any, state: State, string_handle: Any) -> Any:
    """The iterator with a name."""
    name = bytes(np.asarray(string_handle, object).item()).decode("utf-8", "replace")
    place = state.living(f"iterator/{name}")
    if place is None:
        raise refuse(f"no iterator of this session is called `{name}`")
    return IteratorHandle(name, "iterator", dtypes.resource, Shape(()), place)


@op("DeleteIterator", stateful=True, effect=True)
def delete_iterator(xp: Any, state: State, handle: Any, deleter: Any) -> None:
    """Give up the iterator's dataset."""
    _place(handle).cancel()


# --- whole datasets ---
@op("DatasetToSingleElement", shape=_held, stateful=True, ignores=("output_types", "output_shapes", "metadata"))
def dataset_to_single_element(xp: Any, state: State, dataset: Any) -> list[Any]:
    """The only element."""
    work = Work(state)
    try:
        source = dataset_of(dataset).start(work)
        found = [e for e, _ in zip(source, range(2), strict=False)]
    finally:
        work.stop()
    if len(found) != 1:
        raise refuse("a dataset of a single element", expected=1, found="none" if not found else "more")
    return list(found[0])


@op("ReduceDataset", shape=_held, stateful=True, ignores=(
    "output_types", "output_shapes", "metadata", "Targuments", "Tstate", "use_inter_op_parallelism"
))  # fmt: skip
def reduce_dataset(
    xp: Any, state: State, input_dataset: Any, initial_state: list[Any], other_arguments: list[Any], *, f: Function
) -> list[Any]:
    """What a function of a state and an element makes of all elements, one after the other."""
    work, held = Work(state), list(initial_state)
    try:
        for element in dataset_of(input_dataset).start(work):
            held = f(state, *held, *element, *other_arguments)
    finally:
        work.stop()
    return held


@op("DatasetCardinality", shape="-> []", stateful=True, ignores=("cardinality_options",))
def dataset_cardinality(xp: Any, state: State, input_dataset: Any) -> Any:
    """How many elements there are, an int64 scalar; -1 for no end, -2 where that is not known."""
    return np.array(dataset_of(input_dataset).size, np.int64)


OTHERS: list[Op] = [
    alias("Iterator", iterator_v2),
    alias("AnonymousIterator", anonymous_iterator_v3),
    alias("IteratorGetNextSync", iterator_get_next),
    alias("IteratorFromStringHandle", iterator_from_string_handle_v2),
    alias("ExperimentalDatasetCardinality", dataset_cardinality, ignores=()),
]
