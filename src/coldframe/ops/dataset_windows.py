"""Datasets of what several elements make together: windows, and groups by key. See `dataset_core`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from coldframe.dtypes import DType
from coldframe.ops.dataset_core import (
    HINTS,
    Dataset,
    Element,
    Elements,
    Function,
    Saved,
    Work,
    dataset_of,
    endless,
    given,
    loaded_inner,
    made_by,
    number,
    stacked,
    with_inner,
)
from coldframe.ops.state import State
from coldframe.ops.table import Op, alias, op
from coldframe.primitives.base import refuse


# --- windows ---
@op("WindowDataset", shape="-> []", stateful=True, ignores=HINTS)
def window_dataset(
    xp: Any, state: State, input_dataset: Any, size: Any, shift: Any, stride: Any, drop_remainder: Any
) -> Any:
    """Datasets of `size` elements, every `stride`-th one, each starting `shift` behind the one before."""
    source, drop = dataset_of(input_dataset), bool(drop_remainder)
    n, by, every = number("size", size, 1), number("shift", shift, 1), number("stride", stride, 1)
    reach = (n - 1) * every + 1

    of = range(0, reach, every)
    known = source.size if source.size < 0 else -(-max(source.size - (reach - 1) * drop, 0) // by)
    return Dataset(lambda work: _Windows(source.start(work), of, by, n if drop else 1, _columns), known)


@op("WindowOp", shape="-> []", ignores=("output_shapes", "Tinputs"), host="a dataset is no array")
def window_op(xp: Any, inputs: list[Any], *, output_types: tuple[DType, ...]) -> Any:
    """A dataset of elements that are given, one component after the other."""
    n = len(output_types)
    if len(inputs) % n:
        raise refuse("components of elements", expected=f"a multiple of {n}", found=len(inputs))
    return given([tuple(inputs[at : at + n]) for at in range(0, len(inputs), n)])


def _columns(elements: list[Element]) -> Element:
    """Return a dataset for each component."""
    return tuple(given([(c,) for c in column]) for column in zip(*elements, strict=True))


class _Windows(Elements):
    """What `make` makes of the elements with the numbers `of`, counted from the beginning of each window.

    A window begins `shift` behind the one before. One with fewer than `least` elements is left out, and the last.
    """

    parts: ClassVar = {"source": Elements, "held": list, "skip": int}

    def __init__(
        self, source: Elements, of: range, shift: int, least: int, make: Callable[[list[Element]], Element]
    ) -> None:
        self.source, self._of, self._shift, self._least, self._make = source, of, shift, least, make
        self.held: list[Element] = []
        self.skip = 0

    def __next__(self) -> Element:
        reach = self._of[-1] + 1
        while self.skip > 0 or len(self.held) < reach:
            try:
                element = next(self.source)
            except StopIteration:
                break
            if self.skip > 0:
                self.skip -= 1
            else:
                self.held.append(element)
        window = self.held[: reach : self._of.step]
        if len(window) < self._least:
            raise StopIteration
        self.skip = max(self._shift - len(self.held), 0)
        del self.held[: self._shift]
        return self._make(window)


@op("SlidingWindowDataset", shape="-> []", stateful=True, ignores=HINTS)
def sliding_window_dataset(
    xp: Any, state: State, input_dataset: Any, window_size: Any, window_shift: Any, window_stride: Any,
    *, drop_remainder: bool,
) -> Any:  # fmt: skip
    """Batches of `window_size` elements, each `window_stride` behind the other, that begin every `window_shift`."""
    source = dataset_of(input_dataset)
    size, shift = number("window_size", window_size, 1), number("window_shift", window_shift, 1)
    stride = number("window_stride", window_stride, 1)
    if not drop_remainder:
        raise refuse("`drop_remainder`", expected="True", found=False)

    of = range(0, (size - 1) * stride + 1, stride)
    return Dataset(lambda work: _Windows(source.start(work), of, shift, size, stacked))


# --- groups ---
@op("GroupByWindowDataset", shape="-> []", stateful=True, ignores=(
    *HINTS, "Tkey_func_other_arguments", "Treduce_func_other_arguments", "Twindow_size_func_other_arguments"
))  # fmt: skip
def group_by_window_dataset(
    xp: Any, state: State, input_dataset: Any, key_func_other_arguments: list[Any],
    reduce_func_other_arguments: list[Any], window_size_func_other_arguments: list[Any], *, key_func: Function,
    reduce_func: Function, window_size_func: Function,
) -> Any:  # fmt: skip
    """The datasets that `reduce_func` makes of elements with the same key, so many at a time, one after the other."""
    source = dataset_of(input_dataset)

    def start(work: Work) -> Elements:
        def key_of(element: Element) -> int:
            return int(work.call(key_func, *element, *key_func_other_arguments)[0])

        def size_of(key: int) -> int:
            made = work.call(window_size_func, np.array(key, np.int64), *window_size_func_other_arguments)
            return number("the size of a window", made[0], 1)

        def reduced(key: int, group: list[Element]) -> Elements:
            return made_by(work, reduce_func, (np.array(key, np.int64), given(group)), reduce_func_other_arguments)

        return _Grouped(source.start(work), key_of, size_of, reduced)

    return Dataset(start, endless(source))


class _Grouped(Elements):
    """The elements of what `reduced` makes of elements with the same key, `size_of` of them at a time."""

    parts: ClassVar = {"source": Elements, "groups": dict, "sizes": dict, "of": list}

    def __init__(
        self, source: Elements, key_of: Callable[[Element], int], size_of: Callable[[int], int],
        reduced: Callable[[int, list[Element]], Elements],
    ) -> None:  # fmt: skip
        self.source, self._key_of, self._size_of, self._reduced = source, key_of, size_of, reduced
        self.groups: dict[int, list[Element]] = {}
        self.sizes: dict[int, int] = {}
        self.of: list[Any] = []
        """The key and the elements of the group that is being given."""
        self._now: Elements | None = None

    def __next__(self) -> Element:
        while True:
            if self._now is not None:
                try:
                    return next(self._now)
                except StopIteration:
                    self.of, self._now = [], None
            try:
                element = next(self.source)
            except StopIteration:
                if not self.groups:
                    raise
                self._close(min(self.groups))
                continue
            self._add(element)

    def _add(self, element: Element) -> None:
        key = self._key_of(element)
        self.groups.setdefault(key, []).append(element)
        if key not in self.sizes:
            self.sizes[key] = self._size_of(key)
        if len(self.groups[key]) >= self.sizes[key]:
            self._close(key)

    def _close(self, key: int) -> None:
        group = self.groups.pop(key)
        self._now = self._reduced(key, group)
        self.of = [key, group]

    def save(self) -> Saved:
        return with_inner(super().save(), self._now)

    def load(self, saved: Any) -> None:
        super().load(saved)
        self._now = loaded_inner(saved, lambda: self._reduced(*self.of))


@op(
    "GroupByReducerDataset",
    shape="-> []",
    stateful=True,
    ignores=(
        *HINTS, "Tkey_func_other_arguments", "Tinit_func_other_arguments", "Treduce_func_other_arguments",
        "Tfinalize_func_other_arguments",
    ),
)  # fmt: skip
def group_by_reducer_dataset(
    xp: Any, state: State, input_dataset: Any, key_func_other_arguments: list[Any],
    init_func_other_arguments: list[Any], reduce_func_other_arguments: list[Any],
    finalize_func_other_arguments: list[Any],
    *, key_func: Function, init_func: Function, reduce_func: Function, finalize_func: Function,
) -> Any:  # fmt: skip
    """What becomes of all elements with the same key, one element per key, in the order of the keys."""
    source = dataset_of(input_dataset)

    def start(work: Work) -> Elements:
        def key_of(element: Element) -> int:
            return int(work.call(key_func, *element, *key_func_other_arguments)[0])

        def begin(key: int) -> Element:
            return work.call(init_func, np.array(key, np.int64), *init_func_other_arguments)

        def add(held: Element, element: Element) -> Element:
            return work.call(reduce_func, *held, *element, *reduce_func_other_arguments)

        def end(held: Element) -> Element:
            return work.call(finalize_func, *held, *finalize_func_other_arguments)

        return _Reduced(source.start(work), key_of, (begin, add, end))

    return Dataset(start)


class _Reduced(Elements):
    """What becomes of the elements with each key: `begin` of the key, then `add`, then `end`, in order of the keys."""

    parts: ClassVar = {"source": Elements, "groups": dict, "whole": bool}

    def __init__(
        self, source: Elements, key_of: Callable[[Element], int],
        steps: tuple[Callable[[int], Element], Callable[[Element, Element], Element], Callable[[Element], Element]],
    ) -> None:  # fmt: skip
        self.source, self._key_of, (self._start, self._add, self._finish) = source, key_of, steps
        self.groups: dict[int, Element] = {}
        self.whole = False

    def __next__(self) -> Element:
        if not self.whole:
            for element in self.source:
                key = self._key_of(element)
                if key not in self.groups:
                    self.groups[key] = self._start(key)
                self.groups[key] = self._add(self.groups[key], element)
            self.whole = True
        if not self.groups:
            raise StopIteration
        return self._finish(self.groups.pop(min(self.groups)))


OTHERS: list[Op] = [
    alias("ExperimentalGroupByWindowDataset", group_by_window_dataset),
    alias("ExperimentalGroupByReducerDataset", group_by_reducer_dataset),
    alias("ExperimentalSlidingWindowDataset", sliding_window_dataset),
]
