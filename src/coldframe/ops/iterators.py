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
from coldframe.errors import CancelledError, EndOfInputError, NotInitializedError, UnsupportedError
from coldframe.ops.dataset_core import Dataset, Element, Elements, Function, Saved, Work, dataset_of
from coldframe.ops.dataset_state import decoded, encoded
from coldframe.ops.known import Attrs, Dims
from coldframe.ops.stacks import Optional
from coldframe.ops.state import Handle, State
from coldframe.ops.table import Op, alias, op
from coldframe.primitives.base import refuse
from coldframe.records import dataclass
from coldframe.shapes import Shape

KINDS: Final = ("output_types", "output_shapes", "container")
_DEVICE: Final = b"/job:localhost/replica:0/task:0/device:CPU:0"
_POLICIES: Final = (0, 1, 2)  # warn of, ignore or refuse what is drawn in functions: it is saved here


class Place:
    """A place in a dataset, once there is a dataset."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.once = threading.Lock()
        self._lock = threading.Lock()
        self._dataset: Dataset | None = None
        self._elements: Elements | None = None
        self._work: Work | None = None
        self._cancelled = False

    @property
    def begun(self) -> bool:
        """Whether there is a dataset."""
        return self._elements is not None

    def begin(self, dataset: Dataset, state: State) -> None:
        """Go to the beginning of a dataset."""
        self._require_open()
        if self._work is not None:
            self._work.stop()
        with self._lock:
            work = Work(state)
            self._go(dataset, dataset.start(work), work)

    def _go(self, dataset: Dataset, elements: Elements, work: Work) -> None:
        weakref.finalize(self, work.stop).atexit = False
        self._dataset, self._elements, self._work = dataset, elements, work

    def _require_open(self) -> None:
        if self._cancelled:
            raise CancelledError(f"iterator `{self._name}`: the session is closed")

    def _begun(self) -> tuple[Dataset, Elements, Work]:
        self._require_open()
        if self._dataset is None or self._elements is None or self._work is None:
            raise NotInitializedError(
                f"iterator `{self._name}` has no dataset yet",
                hint="run its initializer first; or feed what this node hands out, since any tensor can be fed",
            )
        return self._dataset, self._elements, self._work

    def next(self) -> Element:
        """Return the next element.

        Raises:
            EndOfInputError: there is none.
            NotInitializedError: there is no dataset yet.
        """
        with self._lock:
            _, elements, _ = self._begun()
            try:
                return next(elements)
            except StopIteration:
                raise EndOfInputError("End of sequence", where=f"of iterator `{self._name}`") from None

    def save(self) -> list[bytes]:
        """Return where it is, as variants: of all datasets of the pipeline, with what they hold.

        Raises:
            NotInitializedError: there is no dataset yet.
            UnsupportedError: a dataset cannot tell.
        """
        with self._lock:
            _, elements, work = self._begun()
            try:
                return encoded(Saved("Place", {"elements": elements.save(), "random": work.drawn()}))
            except RecursionError:
                raise UnsupportedError("a place in datasets that are nested so deep cannot be saved") from None

    def load(self, variants: Any, state: State) -> None:
        """Go where `save` was, in the dataset that there is; where that fails, it stays where it is.

        Raises:
            NotInitializedError: there is no dataset yet.
            ExecutionError: it was another dataset; or not `save` made the variants.
            CorruptError: they are damaged.
        """
        with self._lock:
            dataset, _, before = self._begun()
        saved, work = decoded(variants), Work(state)
        try:
            elements = dataset.start(work)
            elements.load(saved.parts.get("elements"))
            work.draw_on(saved.parts.get("random", []))
        except BaseException:
            work.stop()
            raise
        before.stop()
        with self._lock:
            self._go(dataset, elements, work)

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


def held(a: Attrs, *inputs: Any) -> list[Dims]:
    """The shapes that the node's attributes tell of elements."""
    return [s.dims for s in a["output_shapes"]]


# --- making ---
@op("IteratorV2", shape="-> []", stateful=True, ignores=KINDS)
def iterator_v2(xp: Any, state: State, *, shared_name: str) -> Any:
    """An iterator."""
    return _handle(state, shared_name or state.node)


@op("OneShotIterator", shape="-> []", stateful=True, ignores=KINDS)
def one_shot_iterator(xp: Any, state: State, *, dataset_factory: Function, shared_name: str) -> Any:
    """An iterator over the dataset that a function makes, from its beginning to its end, once."""
    handle = _handle(state, shared_name or state.node)
    with handle.place.once:
        if not handle.place.begun:
            handle.place.begin(dataset_of(dataset_factory(state)[0]), state)
    return handle


@op("AnonymousIteratorV3", shape="-> []", stateful=True, ignores=KINDS)
def anonymous_iterator_v3(xp: Any, state: State) -> Any:
    """An iterator that is gone with its handle."""
    return IteratorHandle(state.node, "iterator", dtypes.resource, Shape(()), Place(state.node))


@op("AnonymousIteratorV2", shape="-> []", stateful=True, ignores=KINDS)
def anonymous_iterator_v2(xp: Any, state: State) -> Any:
    """An iterator that is gone with its handle."""
    return anonymous_iterator_v3.body(xp, state), np.array(0, object)


@op("MakeIterator", stateful=True, effect=True)
def make_iterator(xp: Any, state: State, dataset: Any, iterator: Any) -> None:
    """Go to the beginning of a dataset."""
    _place(iterator).begin(dataset_of(dataset), state)


# --- using ---
@op("IteratorGetNext", shape=held, stateful=True, ignores=("output_shapes", "output_types"))
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


# --- saving ---
@op("SerializeIterator", shape="-> [?]", stateful=True)
def serialize_iterator(xp: Any, state: State, resource_handle: Any, *, external_state_policy: int) -> Any:
    """Where the iterator is, as a vector of variants, for a checkpoint."""
    if external_state_policy not in _POLICIES:
        raise refuse("`external_state_policy`", expected=_POLICIES, found=external_state_policy)
    variants = _place(resource_handle).save()
    out = np.empty(len(variants), object)
    out[:] = variants
    return out


@op("DeserializeIterator", stateful=True, effect=True)
def deserialize_iterator(xp: Any, state: State, resource_handle: Any, serialized: Any) -> None:
    """Go where the iterator was when it was serialized."""
    _place(resource_handle).load(serialized, state)


# --- whole datasets ---
@op("IteratorGetDevice", shape="-> []", stateful=True)
def iterator_get_device(xp: Any, state: State, resource: Any) -> Any:
    """Where the iterator is: on the only CPU."""
    _place(resource)
    return np.array(_DEVICE, object)


@op("DatasetToSingleElement", shape=held, stateful=True, ignores=("output_types", "output_shapes", "metadata"))
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


@op("ReduceDataset", shape=held, stateful=True, ignores=(
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
    alias("ExperimentalIteratorGetDevice", iterator_get_device),
    alias("Iterator", iterator_v2),
    alias("AnonymousIterator", anonymous_iterator_v3),
    alias("IteratorGetNextSync", iterator_get_next),
    alias("IteratorFromStringHandle", iterator_from_string_handle_v2),
    alias("ExperimentalDatasetCardinality", dataset_cardinality, ignores=()),
]
