"""Datasets of what is given: tensors and their slices, numbers, random ones, and what functions generate.

See `dataset_core`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from coldframe.dtypes import DType
from coldframe.errors import EndOfInputError, UnsupportedError
from coldframe.ops.dataset_core import (
    HINTS,
    INFINITE,
    Dataset,
    Element,
    Elements,
    Function,
    Rows,
    Saved,
    Words,
    Work,
    given,
    stacked,
)  # fmt: skip
from coldframe.ops.state import State
from coldframe.ops.table import alias, op
from coldframe.primitives.base import refuse


# --- sources ---
@op("TensorDataset", shape="-> []", stateful=True, ignores=HINTS)
def tensor_dataset(xp: Any, state: State, components: list[Any]) -> Any:
    """One element."""
    return given([tuple(components)])


@op("TensorSliceDataset", shape="-> []", stateful=True, ignores=HINTS)
def tensor_slice_dataset(xp: Any, state: State, components: list[Any]) -> Any:
    """The slices of tensors along their first axis."""
    sizes = {np.shape(c)[:1] for c in components}
    if len(sizes) != 1 or () in sizes:
        raise refuse(
            "tensors to slice", expected="one size along the first axis", found=[list(np.shape(c)) for c in components]
        )
    ((size,),) = sizes
    source = _Slices([np.asarray(c) for c in components])
    return Dataset(lambda work: Rows(source, range(size)), size)


class _Slices:
    """The slices of tensors along their first axis."""

    __slots__ = ("_tensors",)

    def __init__(self, tensors: list[Any]) -> None:
        self._tensors = tensors

    def row(self, at: int) -> tuple[Any, ...]:
        return tuple(t[at, ...] for t in self._tensors)

    def rows(self, at: list[int]) -> tuple[Any, ...]:
        return tuple(t.take(at, 0) for t in self._tensors)


@op("SparseTensorSliceDataset", shape="-> []", stateful=True, ignores=HINTS)
def sparse_tensor_slice_dataset(xp: Any, state: State, indices: Any, values: Any, dense_shape: Any) -> Any:
    """The slices of a sparse tensor: indices, values and shape of each."""
    source, size = _SparseSlices(indices, values, dense_shape), int(dense_shape[0])
    return Dataset(lambda work: Rows(source, range(size)), size)


class _SparseSlices:
    """The slices of a sparse tensor along its first axis: indices, values and shape of each."""

    __slots__ = ("_parts",)

    def __init__(self, *parts: Any) -> None:
        self._parts = parts

    def row(self, at: int) -> tuple[Any, ...]:
        indices, values, shape = self._parts
        here = indices[:, 0] == at
        return indices[here, 1:], values[here], shape[1:]

    def rows(self, at: list[int]) -> tuple[Any, ...]:
        return stacked([self.row(k) for k in at])  # type: ignore[no-any-return]


@op("RangeDataset", shape="-> []", stateful=True, ignores=("output_shapes", *HINTS[2:]))
def range_dataset(xp: Any, state: State, start: Any, stop: Any, step: Any, *, output_types: tuple[DType, ...]) -> Any:
    """Numbers from `start` up to but without `stop`."""
    if not int(step):
        raise refuse("`step`", expected="a number other than 0", found=0)
    numbers = range(int(start), int(stop), int(step))
    source = _Numbers(output_types[0])
    return Dataset(lambda work: Rows(source, numbers), len(numbers))


class _Numbers:
    """Scalars that are their own numbers."""

    __slots__ = ("_dtype",)

    def __init__(self, dtype: DType) -> None:
        self._dtype = dtype.numpy

    def row(self, at: int) -> tuple[Any, ...]:
        return (np.array(at, self._dtype),)

    def rows(self, at: list[int]) -> tuple[Any, ...]:
        return (np.array(at, self._dtype),)


@op("RandomDataset", shape="-> []", stateful=True, ignores=HINTS)
def random_dataset(xp: Any, state: State, seed: Any, seed2: Any) -> Any:
    """Endless 32-bit random numbers, as int64."""
    return Dataset(lambda work: Random(Words(int(seed), int(seed2))), INFINITE)


class Random(Elements):
    """Random words as elements."""

    parts: ClassVar = {"words": Words}

    def __init__(self, words: Words) -> None:
        self.words = words

    def __next__(self) -> Element:
        return (np.array(next(self.words), np.int64),)


@op(
    "GeneratorDataset",
    shape="-> []",
    stateful=True,
    ignores=(*HINTS, "Tinit_func_args", "Tnext_func_args", "Tfinalize_func_args"),
)
def generator_dataset(
    xp: Any, state: State, init_func_other_args: list[Any], next_func_other_args: list[Any],
    finalize_func_other_args: list[Any], *, init_func: Function, next_func: Function, finalize_func: Function,
) -> Any:  # fmt: skip
    """What `next_func` gives for what `init_func` made, until it says that the input has ended."""

    def start(work: Work) -> Elements:
        return _Generated(
            lambda: work.call(init_func, *init_func_other_args),
            lambda made: work.call(next_func, *made, *next_func_other_args),
            lambda made: work.call(finalize_func, *made, *finalize_func_other_args),
        )

    return Dataset(start)


class _Generated(Elements):
    """What `take` gives for what `begin` made, until it says that the input has ended; then `end` is called."""

    def __init__(
        self, begin: Callable[[], Element], take: Callable[[Element], Element], end: Callable[[Element], Element]
    ) -> None:
        self._begin, self._take, self._end = begin, take, end
        self._made: list[Element] = []
        self._finished = False

    def __next__(self) -> Element:
        if self._finished:
            raise StopIteration
        if not self._made:
            self._made.append(self._begin())
        try:
            return self._take(self._made[0])
        except EndOfInputError:
            self._finished = True
            self._end(self._made[0])
            raise StopIteration from None

    def save(self) -> Saved:
        raise UnsupportedError(
            "where a generator stands cannot be saved", hint="make the elements of tensors or files instead"
        )


experimental_random = alias("ExperimentalRandomDataset", random_dataset)
