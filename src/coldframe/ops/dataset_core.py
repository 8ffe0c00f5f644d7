"""What a dataset is: an immutable description of elements, and iterators over it, made as often as wanted.

::

    Dataset.start(work) ──► iterator of elements, each a tuple of tensors

A dataset flows along edges like a tensor (dtype ``variant``). Elements are made when they are asked for. An iterator
goes on after an error, with the element behind the one that failed, as TensorFlow's do: so it is an object whose
``__next__`` is called again and again, not a generator, which an error would end. It can tell where it stands, and be
put back there (`Savable`).
"""

from __future__ import annotations

import functools
import itertools
import operator
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Final, Protocol

import numpy as np

from coldframe.ops.queue_core import single_words
from coldframe.ops.state import State
from coldframe.primitives.base import refuse
from coldframe.records import dataclass

Element = Any
"""A tuple of tensors, or a `Row` that stands for one."""
Function = Callable[..., list[Any]]
INFINITE: Final = -1
UNKNOWN: Final = -2
HINTS: Final = (
    "output_types", "output_shapes", "metadata", "Targuments", "Toutput_types", "use_inter_op_parallelism",
    "preserve_cardinality", "force_synchronous", "deterministic", "sloppy", "use_unbounded_threadpool",
    "parallel_copy", "replicate_on_split", "is_files", "slack_period", "legacy_autotune", "buffer_size_min",
    "log_warning", "use_default_device", "use_fallback", "cardinality_options",
)  # fmt: skip


class Ends(Protocol):
    """What ends with a pipeline."""

    def stop(self) -> None:
        """End it."""


class Work:
    """What the iterators of one pipeline share: the session they run functions in, and what ends with them."""

    def __init__(self, state: State) -> None:
        self.state = state.apart()
        self._buffers: weakref.WeakSet[Ends] = weakref.WeakSet()
        self._stopped = False
        self._random: dict[Function, dict[str, dict[Any, Any]]] = {}
        self._restored: dict[str, dict[str, dict[Any, Any]]] = {}

    def call(self, function: Function, *tensors: Any) -> Element:
        """Run a function of the graph. What it assigns is seen by all runs at once.

        Each function has random numbers of its own, which begin anew with the pipeline, as TensorFlow's do.
        """
        random = self._random.get(function)
        if random is None:
            random = self._random.setdefault(function, self._restored.pop(_name(function), {}))
        view = self.state.apart(random)
        made = tuple(function(view, *tensors))
        view.commit()
        return made

    def drawn(self) -> list[Any]:
        """Return where the functions are in their random numbers: name, node, two seeds and position of each."""
        found = self._restored | {_name(f): kept for f, kept in self._random.items()}
        return [
            [name, node, *place["seeds"], place["position"]]
            for name, nodes in found.items()
            for node, place in nodes.items()
            if "position" in place
        ]

    def draw_on(self, drawn: list[Any]) -> None:
        """Have the functions go on with random numbers where `drawn` tells."""
        self._random, self._restored = {}, {}
        for name, node, seed, seed2, position in drawn:
            place = {"seeds": (seed, seed2), "position": position}
            self._restored.setdefault(name, {})[node] = place

    def own(self, buffer: Ends) -> None:
        """Have a buffer stopped when the pipeline is given up."""
        self._buffers.add(buffer)
        if self._stopped:
            buffer.stop()

    def stop(self) -> None:
        """End the threads of the pipeline: it is given up."""
        self._stopped = True
        for buffer in list(self._buffers):
            buffer.stop()


def _name(function: Function) -> str:
    return str(getattr(function, "name", ""))


# --- where an iterator stands -----------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True, eq=False)
class Saved:
    """Where something stands: its kind, and its parts by name. Parts are values, elements, or `Saved` themselves."""

    kind: str
    parts: dict[str, Any]


class Savable:
    """What can tell where it stands, and be put back there when it is new.

    Attributes:
        parts: the names of the attributes that tell it, with the types of their values. They and the name of the class
            are in checkpoints.
    """

    __slots__ = ()
    parts: ClassVar[Mapping[str, Any]] = {}

    @classmethod
    def kind(cls) -> str:
        """Return its name in checkpoints."""
        return cls.__name__.lstrip("_")

    def save(self) -> Saved:
        """Return where it stands."""
        return Saved(self.kind(), {name: _snapshot(getattr(self, name)) for name in self.parts})

    def load(self, saved: Any) -> None:
        """Go to the place that `save` told; raise `ExecutionError` where it is one of something else."""
        for name, value in self.opened(saved).items():
            here = getattr(self, name)
            if isinstance(here, Savable):
                here.load(value)
            elif isinstance(here, list) and here and all(isinstance(h, Savable) for h in here):
                if len(here) != len(value):
                    raise refuse("the saved place is in another dataset", expected=len(here), found=len(value))
                for inner, v in zip(here, value, strict=True):
                    inner.load(v)
            else:
                setattr(self, name, value)

    def opened(self, saved: Any) -> dict[str, Any]:
        """Return the parts of a saved place, of the right types."""
        kind = saved.kind if isinstance(saved, Saved) else type(saved).__name__
        if kind != self.kind():
            raise refuse("the saved place is in another dataset", expected=f"`{self.kind()}`", found=f"`{kind}`")
        for name, wanted in self.parts.items():
            value = saved.parts.get(name)
            if not isinstance(value, Saved if isinstance(getattr(self, name, None), Savable) else wanted):
                raise refuse(f"`{name}` of the saved place of `{kind}`", expected=wanted, found=type(value).__name__)
        return {name: saved.parts[name] for name in self.parts}


def _snapshot(value: Any) -> Any:
    if isinstance(value, Savable):
        return value.save()
    if isinstance(value, list):
        return [_snapshot(v) for v in value]
    return dict(value) if isinstance(value, dict) else value


def with_inner(saved: Saved, now: Savable | None) -> Saved:
    """Return where something stands, together with the iterator that it has made, if there is one now."""
    return Saved(saved.kind, {**saved.parts, "now": None if now is None else now.save()})


def loaded_inner(saved: Saved, begin: Callable[[], Elements]) -> Elements | None:
    """Return the iterator that `with_inner` told of, made anew by `begin`."""
    place = saved.parts.get("now")
    if place is None:
        return None
    made = begin()
    made.load(place)
    return made


def within(value: int, least: int, most: int) -> int:
    """Return a number of a saved place, which is to be from `least` to `most`."""
    if not least <= value <= most:
        raise refuse("a number of the saved place", expected=f"{least} to {most}", found=value)
    return value


class Elements(Savable, Iterator[Element]):
    """An iterator over elements."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """Elements, described.

    Attributes:
        start: makes an iterator.
        size: how many elements there are, `INFINITE` or `UNKNOWN`.
        held: the elements, where they are at hand; then they are all there is to the dataset.
    """

    start: Callable[[Work], Elements]
    size: int = UNKNOWN
    held: list[Element] | None = None


def endless(source: Dataset) -> int:
    """Return how many elements there are of what is as endless as its source, and otherwise of any length."""
    return INFINITE if source.size == INFINITE else UNKNOWN


# --- common iterators -------------------------------------------------------------------------------------------
class Given(Elements):
    """Elements that are at hand."""

    parts: ClassVar = {"at": int}

    def __init__(self, elements: Sequence[Element]) -> None:
        self._elements, self.at = elements, 0

    def __next__(self) -> Element:
        if self.at >= len(self._elements):
            raise StopIteration
        self.at += 1
        return self._elements[self.at - 1]

    def load(self, saved: Any) -> None:
        self.at = within(self.opened(saved)["at"], 0, len(self._elements))


def given(elements: list[Element]) -> Dataset:
    """Return a dataset of elements that are at hand."""
    return Dataset(lambda work: Given(elements), len(elements), elements)


class Each(Elements):
    """What a function makes of each element."""

    parts: ClassVar = {"source": Elements}

    def __init__(self, source: Elements, make: Callable[[Element], Element]) -> None:
        self.source, self._make = source, make

    def __next__(self) -> Element:
        return self._make(next(self.source))


class Words(Savable, Iterator[int]):
    """Random words of 32 bits: `single_words`, of random seeds where both are 0."""

    parts: ClassVar = {"seed": int, "seed2": int, "drawn": int}

    def __init__(self, seed: int, seed2: int) -> None:
        if not seed and not seed2:
            seed, seed2 = (int(s) for s in np.random.default_rng().integers(1, 1 << 62, 2))
        self.seed, self.seed2, self.drawn = seed, seed2, 0
        self._words = single_words(seed, seed2)

    def __next__(self) -> int:
        self.drawn += 1
        return next(self._words)

    def load(self, saved: Any) -> None:
        super().load(saved)
        self._words = single_words(self.seed, self.seed2, random=False, drawn=self.drawn)


class Source(Protocol):
    """Tensors that elements are slices of."""

    def row(self, at: int) -> tuple[Any, ...]:
        """Return the element numbered `at`."""

    def rows(self, at: list[int]) -> tuple[Any, ...]:
        """Return the elements numbered so, stacked."""


class Row(Sequence[Any]):
    """An element that is cut out of its source only when it is looked at: shuffling moves numbers, not tensors."""

    __slots__ = ("at", "source")

    def __init__(self, source: Source, at: int) -> None:
        self.source, self.at = source, at

    def __iter__(self) -> Iterator[Any]:
        return iter(self.source.row(self.at))

    def __getitem__(self, key: Any) -> Any:
        return self.source.row(self.at)[key]

    def __len__(self) -> int:
        return len(self.source.row(self.at))


class Rows(Elements):
    """The elements of a source with these numbers."""

    parts: ClassVar = {"at": int}

    def __init__(self, source: Source, numbers: range) -> None:
        self._source, self._numbers = source, numbers
        self._left = iter(numbers)

    def __next__(self) -> Element:
        return Row(self._source, next(self._left))

    def __iter__(self) -> Any:
        """Return what gives the same elements, faster where many are wanted; both go on where the other is."""
        return map(functools.partial(Row, self._source), self._left)

    @property
    def at(self) -> int:
        """How many elements were given."""
        return len(self._numbers) - operator.length_hint(self._left)

    def load(self, saved: Any) -> None:
        self._left = iter(self._numbers[within(self.opened(saved)["at"], 0, len(self._numbers)) :])


# --- values -----------------------------------------------------------------------------------------------------
def dataset_of(value: Any) -> Dataset:
    """Return the dataset that flows along an edge."""
    found = value.item() if isinstance(value, np.ndarray) and value.ndim == 0 else value
    if not isinstance(found, Dataset):
        raise refuse("not a dataset", found=type(found).__name__)
    return found


def made_by(work: Work, function: Function, element: Element, others: Sequence[Any]) -> Elements:
    """Return an iterator over the dataset that a function makes of an element."""
    return dataset_of(work.call(function, *element, *others)[0]).start(work)


def number(what: str, value: Any, least: int | None = None) -> int:
    """Return an integer scalar, at least `least`."""
    if np.ndim(value):
        raise refuse(f"`{what}`", expected="a scalar", found=f"shape {list(np.shape(value))}")
    n = int(value)
    if least is not None and n < least:
        raise refuse(f"`{what}`", expected=f"at least {least}", found=n)
    return n


def taken(source: Iterator[Element], count: int) -> list[Element]:
    """Return the next elements, at most `count`."""
    return list(itertools.islice(source, count))


def stacked(elements: list[Element]) -> Element:
    """Return the elements as one, along a new first axis of each component."""
    first = elements[0]
    if type(first) is Row and all(type(e) is Row and e.source is first.source for e in elements):
        return first.source.rows([e.at for e in elements])
    return tuple(stack(column, i) for i, column in enumerate(zip(*elements, strict=True)))


def stack(values: Sequence[Any], i: int = 0) -> Any:
    """Return component `i` of several elements along a new first axis."""
    first = values[0]
    shape = first.shape
    for v in values:
        if v.shape != shape:
            raise refuse(
                f"a batch needs elements of one shape, but component {i} differs", expected=list(shape),
                found=list(v.shape), hint="pad them: padded_batch",
            )  # fmt: skip
    out = np.empty((len(values), *shape), first.dtype)
    if shape:
        for row, v in zip(out, values, strict=True):
            row[...] = v
    else:
        out[:] = [v.item() for v in values]
    return out
