"""Datasets in random order, TensorFlow's order for the same seeds.

A buffer is filled; then a random element of it is next, and its place is taken by the first one. The seeds of each pass
come from a generator of seeds, which belongs to the dataset.
"""

from __future__ import annotations

import collections
import itertools
import threading
from typing import Any, ClassVar, Final

import numpy as np

from coldframe import dtypes
from coldframe.ops.dataset_core import (
    HINTS,
    INFINITE,
    Dataset,
    Element,
    Elements,
    Savable,
    Saved,
    Words,
    Work,
    dataset_of,
    loaded_inner,
    number,
    with_inner,
    within,
)
from coldframe.ops.dataset_sources import Random
from coldframe.ops.queue_core import single_words
from coldframe.ops.state import Handle, State
from coldframe.ops.table import op
from coldframe.primitives.base import refuse
from coldframe.records import dataclass
from coldframe.shapes import Shape

_EPOCHS: Final = 3  # passes that may be in the buffer at once


class SeedGenerator(Savable):
    """Gives each pass over a dataset its two seeds: always the same, or new ones drawn from these."""

    parts: ClassVar = {"words": Words}

    def __init__(self, seed: int, seed2: int, *, fixed: bool) -> None:
        self.words, self._fixed = Words(seed, seed2), fixed
        self._lock = threading.Lock()

    def next(self) -> tuple[int, int]:
        """Return the seeds of the next pass."""
        with self._lock:
            words = self.words
            return (words.seed, words.seed2) if self._fixed else (next(words), next(words))


@dataclass(slots=True)
class _Slice:
    """The elements of one pass that are in the buffer: those with numbers from `start` up to `end`."""

    start: int
    end: int


class _Shuffled(Elements):
    """Elements of `count` passes over a dataset, each pass shuffled.

    The buffer holds elements by number. Of each pass that has some in it, `slices` has the first one's number and the
    last one's. The random words begin anew with each pass, at the element numbered `first`.
    """

    parts: ClassVar = {
        "seeds": SeedGenerator, "passes": int, "over": bool, "gave": bool, "key": list, "first": int, "numbers": list,
        "elements": list, "slices": list,
    }  # fmt: skip

    def __init__(self, source: Dataset, room: int, count: int, seeds: SeedGenerator, work: Work) -> None:
        self._source, self._room, self._count, self.seeds, self._work = source, room, count, seeds, work
        self._buffer: dict[int, Element] = {}
        self._slices: collections.deque[_Slice] = collections.deque()
        self._input: Elements | None = None
        self.over = True  # the pass of `_input`, which is kept for its seeds
        self.passes = 0
        self.gave = False  # whether any pass had an element
        self.first = 0
        self._reseed()

    def _reseed(self) -> None:
        self.key = list(self.seeds.next())
        self._words = single_words(*self.key, random=False)

    def __next__(self) -> Element:
        buffer = self._buffer
        if len(buffer) < self._room:
            self._fill()
        if not buffer:
            raise StopIteration
        while self._slices[0].start == self._slices[0].end:
            self._slices.popleft()
            self.first = self._slices[0].start
            self._reseed()
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
            if self.over and not self._begin():
                return
            now = self._slices[-1]
            end = now.end
            try:
                for element in itertools.islice(self._input or (), room - len(buffer)):
                    buffer[end] = element
                    end += 1
            finally:
                self.gave |= end > now.end
                now.end = end
            if len(buffer) < room:  # the pass is over
                self.over = True
                if self._count < 0 and not self.gave:
                    return

    def _begin(self) -> bool:
        """Begin another pass; return whether there is one."""
        if 0 <= self._count <= self.passes or (len(self._slices) > _EPOCHS and self._buffer):
            return False
        end = self._slices[-1].end if self._slices else 0
        self._slices.append(_Slice(end, end))
        self.passes += 1
        self._input, self.over = self._source.start(self._work), False
        return True

    @property
    def numbers(self) -> list[int]:
        """The numbers of the elements in the buffer."""
        return list(self._buffer)

    @property
    def elements(self) -> list[Element]:
        """The elements in the buffer."""
        return list(self._buffer.values())

    @property
    def slices(self) -> list[list[int]]:
        """Where the passes in the buffer start and end."""
        return [[s.start, s.end] for s in self._slices]

    def save(self) -> Saved:
        if self._input is None:
            self._begin()  # what is to be saved of the source (seeds) is saved by an iterator over it
        return with_inner(super().save(), self._input)

    def load(self, saved: Any) -> None:
        parts = self.opened(saved)
        self.seeds.load(parts["seeds"])
        self.passes, self.over, self.gave = parts["passes"], parts["over"], parts["gave"]
        self.key, self.first = [within(k, -1 << 63, 1 << 64) for k in parts["key"]], parts["first"]
        self._buffer = dict(zip(parts["numbers"], parts["elements"], strict=True))
        self._slices = collections.deque(_Slice(start, end) for start, end in parts["slices"])
        sizes = [s.end - s.start for s in self._slices]
        whole = min(sizes, default=0) >= 0 and sum(sizes) == len(self._buffer)
        if not whole or sorted(self._buffer) != [n for s in self._slices for n in range(s.start, s.end)]:
            raise refuse("the saved place of a shuffled dataset", expected="each element of its buffer once")
        drawn = self._slices[0].start - self.first if self._slices else 0
        self._words = single_words(*self.key, random=False, drawn=within(drawn, 0, 1 << 62))
        self._input = loaded_inner(saved, lambda: self._source.start(self._work))


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


@op("RandomDatasetV2", shape="-> []", stateful=True, ignores=HINTS)
def random_dataset_v2(
    xp: Any, state: State, seed: Any, seed2: Any, seed_generator: Any, *, rerandomize_each_iteration: bool
) -> Any:
    """Endless 32-bit random numbers, as int64: the same ones in each pass, or others."""
    own = SeedGenerator(int(seed), int(seed2), fixed=not rerandomize_each_iteration)
    seeds = _given(seed_generator) or own
    return Dataset(lambda work: _Numbers(seeds), INFINITE)


class _Numbers(Random):
    """Random words with the seeds of this pass."""

    parts: ClassVar = {"words": Words, "seeds": SeedGenerator}

    def __init__(self, seeds: SeedGenerator) -> None:
        super().__init__(Words(*seeds.next()))
        self.seeds = seeds


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
