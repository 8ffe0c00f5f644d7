"""Datasets in random order, TensorFlow's order for the same seeds.

A buffer is filled; then a random element of it is next, and its place is taken by the first one. The seeds of each pass
come from a generator of seeds, which belongs to the dataset.
"""

from __future__ import annotations

import collections
import itertools
import threading
from collections.abc import Iterator
from typing import Any, Final

import numpy as np

from coldframe import dtypes
from coldframe.ops.dataset_core import INFINITE, Dataset, Element, Elements, Work, dataset_of, number
from coldframe.ops.datasets import HINTS
from coldframe.ops.queue_core import single_words
from coldframe.ops.state import Handle, State
from coldframe.ops.table import op
from coldframe.primitives.base import refuse
from coldframe.records import dataclass
from coldframe.shapes import Shape

_EPOCHS: Final = 3  # passes that may be in the buffer at once


class SeedGenerator:
    """Gives each pass over a dataset its two seeds: always the same, or new ones drawn from these."""

    def __init__(self, seed: int, seed2: int, *, fixed: bool) -> None:
        if not seed and not seed2:
            seed, seed2 = (int(s) for s in np.random.default_rng().integers(1, 1 << 62, 2))
        self._seeds, self._fixed = (seed, seed2), fixed
        self._words = single_words(seed, seed2)
        self._lock = threading.Lock()

    def next(self) -> tuple[int, int]:
        """Return the seeds of the next pass."""
        with self._lock:
            return self._seeds if self._fixed else (next(self._words), next(self._words))


@dataclass(slots=True)
class _Slice:
    """The elements of one pass that are in the buffer: those with numbers from `start` up to `end`."""

    start: int
    end: int


class _Shuffled(Iterator[Element]):
    """Elements of `count` passes over a dataset, each pass shuffled."""

    def __init__(self, source: Dataset, room: int, count: int, seeds: SeedGenerator, work: Work) -> None:
        self._source, self._room, self._count, self._seeds, self._work = source, room, count, seeds, work
        self._buffer: dict[int, Element] = {}
        self._slices: collections.deque[_Slice] = collections.deque()
        self._input: Elements | None = None
        self._passes = 0
        self._gave = False  # whether any pass had an element
        self._words: Iterator[int] = self._reseeded()

    def _reseeded(self) -> Iterator[int]:
        seed, seed2 = self._seeds.next()
        return single_words(seed, seed2, random=False)

    def __next__(self) -> Element:
        buffer = self._buffer
        if len(buffer) < self._room:
            self._fill()
        if not buffer:
            raise StopIteration
        while self._slices[0].start == self._slices[0].end:
            self._slices.popleft()
            self._words = self._reseeded()
        now = self._slices[0]
        first = now.start
        now.start = first + 1
        at = first + next(self._words) % (now.end - first)
        if at == first:
            return buffer.pop(first)
        element = buffer[at]
        buffer[at] = buffer.pop(first)
        return element

    def _fill(self) -> None:
        buffer, room = self._buffer, self._room
        while len(buffer) < room:
            if self._input is None and not self._begin():
                return
            now = self._slices[-1]
            end = now.end
            try:
                for element in itertools.islice(self._input or (), room - len(buffer)):
                    buffer[end] = element
                    end += 1
            finally:
                self._gave |= end > now.end
                now.end = end
            if len(buffer) < room:  # the pass is over
                self._input = None
                if self._count < 0 and not self._gave:
                    return

    def _begin(self) -> bool:
        """Begin another pass; return whether there is one."""
        if 0 <= self._count <= self._passes or (len(self._slices) > _EPOCHS and self._buffer):
            return False
        end = self._slices[-1].end if self._slices else 0
        self._slices.append(_Slice(end, end))
        self._passes += 1
        self._input = self._source.start(self._work)
        return True


@dataclass(frozen=True, slots=True, eq=False)
class SeedsHandle(Handle):
    """A generator of seeds; None where the dataset is to make its own."""

    seeds: SeedGenerator | None


def _shuffled(source: Dataset, buffer_size: Any, count: int, seeds: SeedGenerator) -> Dataset:
    room = number("buffer_size", buffer_size)
    if room < 1 and room != -1:
        raise refuse("`buffer_size`", expected="at least 1, or -1 for all elements", found=room)
    most = room if room > 0 else 1 << 62
    size = source.size if count == 1 or source.size == 0 else INFINITE if count < 0 else count * source.size
    return Dataset(lambda work: _Shuffled(source, most, count, seeds, work), size if source.size >= 0 else source.size)


@op("ShuffleDataset", shape="-> []", stateful=True, ignores=HINTS)
def shuffle_dataset(
    xp: Any, state: State, input_dataset: Any, buffer_size: Any, seed: Any, seed2: Any, *,
    reshuffle_each_iteration: bool,
) -> Any:  # fmt: skip
    """The elements in random order; another one in each pass, unless that is turned off."""
    seeds = SeedGenerator(int(seed), int(seed2), fixed=not reshuffle_each_iteration)
    return _shuffled(dataset_of(input_dataset), buffer_size, 1, seeds)


@op("ShuffleDatasetV2", shape="-> []", stateful=True, ignores=HINTS)
def shuffle_dataset_v2(xp: Any, state: State, input_dataset: Any, buffer_size: Any, seed_generator: Any) -> Any:
    """The elements in random order, with the seeds of a generator."""
    return _shuffled(
        dataset_of(input_dataset), buffer_size, 1, _given(seed_generator) or SeedGenerator(0, 0, fixed=False)
    )


@op("ShuffleDatasetV3", shape="-> []", stateful=True, ignores=HINTS)
def shuffle_dataset_v3(
    xp: Any, state: State, input_dataset: Any, buffer_size: Any, seed: Any, seed2: Any, seed_generator: Any, *,
    reshuffle_each_iteration: bool,
) -> Any:  # fmt: skip
    """The elements in random order, with the seeds of a generator, or with these where it is a dummy."""
    own = SeedGenerator(int(seed), int(seed2), fixed=not reshuffle_each_iteration)
    return _shuffled(dataset_of(input_dataset), buffer_size, 1, _given(seed_generator) or own)


@op("ShuffleAndRepeatDataset", shape="-> []", stateful=True, ignores=HINTS)
def shuffle_and_repeat_dataset(
    xp: Any, state: State, input_dataset: Any, buffer_size: Any, seed: Any, seed2: Any, count: Any, *,
    reshuffle_each_iteration: bool,
) -> Any:  # fmt: skip
    """The elements over and over, in another random order each time."""
    seeds = SeedGenerator(int(seed), int(seed2), fixed=not reshuffle_each_iteration)
    return _shuffled(dataset_of(input_dataset), buffer_size, number("count", count), seeds)


@op("ShuffleAndRepeatDatasetV2", shape="-> []", stateful=True, ignores=HINTS)
def shuffle_and_repeat_dataset_v2(
    xp: Any, state: State, input_dataset: Any, buffer_size: Any, seed: Any, seed2: Any, count: Any,
    seed_generator: Any, *, reshuffle_each_iteration: bool,
) -> Any:  # fmt: skip
    """The elements over and over, in another random order each time."""
    own = SeedGenerator(int(seed), int(seed2), fixed=not reshuffle_each_iteration)
    return _shuffled(dataset_of(input_dataset), buffer_size, number("count", count), _given(seed_generator) or own)


def _given(handle: Any) -> SeedGenerator | None:
    if not isinstance(handle, SeedsHandle):
        raise refuse("not a generator of seeds", found=type(handle).__name__)
    return handle.seeds


def _seeds_handle(state: State, seeds: SeedGenerator | None) -> SeedsHandle:
    return SeedsHandle(state.node, "seeds", dtypes.resource, Shape(()), seeds)


@op("DummySeedGenerator", shape="-> []", stateful=True)
def dummy_seed_generator(xp: Any, state: State) -> Any:
    """No generator: the dataset makes its own."""
    return _seeds_handle(state, None)


@op("AnonymousSeedGenerator", shape="-> []", stateful=True)
def anonymous_seed_generator(xp: Any, state: State, seed: Any, seed2: Any, reshuffle: Any) -> Any:
    """A new generator of seeds."""
    return _seeds_handle(state, SeedGenerator(int(seed), int(seed2), fixed=not bool(reshuffle))), np.array(0, object)


@op("AnonymousRandomSeedGenerator", shape="-> []", stateful=True)
def anonymous_random_seed_generator(xp: Any, state: State, seed: Any, seed2: Any) -> Any:
    """A new generator of seeds."""
    return _seeds_handle(state, SeedGenerator(int(seed), int(seed2), fixed=False)), np.array(0, object)
