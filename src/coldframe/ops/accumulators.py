"""Conditional accumulators: gradients of several workers, added up until there are enough of them.

Whoever applies a gradient says for which step it was computed; one that is older than the accumulator's step is
dropped. Taking waits for enough gradients, hands out their mean (or sum), starts anew and counts a step. After
tensorflow/core/kernels/conditional_accumulator_base.h and its subclasses.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from coldframe import dtypes
from coldframe.dtypes import DType
from coldframe.ops.shared import Shared
from coldframe.ops.state import Handle, State
from coldframe.ops.table import Op, alias, op
from coldframe.primitives.base import refuse
from coldframe.records import dataclass
from coldframe.shapes import Shape

Array = npt.NDArray[Any]
_IGNORES: Final = ("container",)


@dataclass(frozen=True, slots=True)
class _Spec:
    kind: str
    name: str
    dtype: DType
    shape: Shape
    mean: bool

    def __str__(self) -> str:
        return f"{self.kind} `{self.name}`"


class Accumulator(Shared):
    """What both kinds do: count gradients and steps."""

    def __init__(self, spec: _Spec) -> None:
        super().__init__(str(spec))
        self.spec = spec
        self.count = 0
        self.step = 0

    def _add(self, gradient: Any) -> None:
        raise NotImplementedError

    def _result(self) -> Any:
        raise NotImplementedError

    def apply(self, step: int, gradient: Any, dtype: DType) -> None:
        if dtype != self.spec.dtype:
            raise refuse(f"{self.spec} takes gradients of another dtype", expected=self.spec.dtype, found=dtype)
        with self.changed:
            if step < self.step:
                return
            self._add(gradient)
            self.count += 1
            self.changed.notify_all()

    def take(self, required: int, dtype: DType) -> Any:
        if dtype != self.spec.dtype:
            raise refuse(f"{self.spec} has gradients of another dtype", expected=self.spec.dtype, found=dtype)
        if required < 1:
            raise refuse(f"{self.spec}: `num_required`", expected="1 or more", found=required)
        with self.changed:
            self.wait(lambda: self.count >= required)
            made = self._result()
            self.count, self.step = 0, self.step + 1
            self.changed.notify_all()
            return made


class Dense(Accumulator):
    """Adds tensors of one shape."""

    total: Any = None

    def _add(self, gradient: Any) -> None:
        wanted = self.spec.shape if not self.count else Shape(self.total.shape)
        if not self.spec.shape.accepts(gradient.shape) or not wanted.accepts(gradient.shape):
            raise refuse(f"{self.spec}: the shape of a gradient", expected=wanted, found=list(gradient.shape))
        self.total = gradient.copy() if not self.count else self.total + gradient

    def _result(self) -> Any:
        if not self.spec.mean:
            return self.total
        return (self.total / self.total.dtype.type(self.count)).astype(self.total.dtype)


class Sparse(Accumulator):
    """Adds rows of tensors. Rows are looked for in order, as two sorted lists are merged; each has its own count."""

    rows: Array = np.zeros(0, np.int64)
    counts: Array = np.zeros(0, np.int64)
    total: Any = None

    def _add(self, gradient: Any) -> None:
        rows, values = gradient
        inner = Shape((None, *self.spec.shape.dims[1:])) if self.spec.shape.dims else Shape.unknown()
        fits = inner.accepts(values.shape) and (not self.count or self.total.shape[1:] == values.shape[1:])
        if not fits:
            wanted = list(self.total.shape[1:]) if self.count else list(inner)[1:]
            raise refuse(f"{self.spec}: the shape of a gradient's rows", expected=wanted, found=list(values.shape[1:]))
        if not self.count:
            self.rows, self.counts, self.total = rows, np.ones(len(rows), np.int64), values.copy()
            return
        places, order = _merged(self.rows, rows)
        merged = np.zeros(len(order), np.int64)
        total = np.zeros((len(order), *values.shape[1:]), values.dtype)
        counts = np.zeros(len(order), np.int64)
        for at, some, some_counts, theirs in (
            (places[0], self.total, self.counts, self.rows), (places[1], values, 1, rows),
        ):  # fmt: skip
            merged[at] = theirs
            total[at] += some
            counts[at] += some_counts
        self.rows, self.counts, self.total = merged, counts, total

    def _result(self) -> Any:
        first = self.spec.shape.dims[0] if self.spec.shape.dims else None
        shape = np.array([-1 if first is None else first, *self.total.shape[1:]], np.int64)
        total = self.total
        if self.spec.mean:
            counts = self.counts.reshape(-1, *[1] * (total.ndim - 1)).astype(total.dtype)
            total = (total / counts).astype(total.dtype)
        return self.rows, total, shape


def _merged(a: Array, b: Array) -> tuple[tuple[Array, Array], range]:
    """Where the entries of two lists go in the list that merging them gives, and its length."""
    if (a[1:] > a[:-1]).all() and (b[1:] > b[:-1]).all():
        both = np.union1d(a, b)
        return (np.searchsorted(both, a), np.searchsorted(both, b)), range(len(both))
    left, right = np.zeros(len(a), np.int64), np.zeros(len(b), np.int64)
    i = j = n = 0
    while i < len(a) or j < len(b):
        mine = j == len(b) or (i < len(a) and a[i] <= b[j])
        theirs = i == len(a) or (j < len(b) and b[j] <= a[i])
        if mine:
            left[i], i = n, i + 1
        if theirs:
            right[j], j = n, j + 1
        n += 1
    return (left, right), range(n)


@dataclass(frozen=True, slots=True, eq=False)
class AccumulatorHandle(Handle):
    """An accumulator."""

    accumulator: Accumulator


def _handle(state: State, make: Any, kind: str, dtype: DType, shape: Shape, shared_name: str, how: str) -> Any:
    if how not in ("MEAN", "SUM"):
        raise refuse("`reduction_type`", expected="MEAN or SUM", found=how)
    spec = _Spec(kind, shared_name or state.node, dtype, shape, how == "MEAN")
    found = state.live(f"accumulator/{spec.name}", lambda: make(spec))
    if found.spec != spec:
        raise refuse(f"{spec} is used with different settings", expected=found.spec, found=spec)
    return AccumulatorHandle(spec.name, "accumulator", dtypes.resource, Shape(()), found)


def _of(handle: Any, kind: type[Accumulator] = Accumulator) -> Accumulator:
    if not isinstance(handle, AccumulatorHandle) or not isinstance(handle.accumulator, kind):
        what = {Dense: "an accumulator of tensors", Sparse: "an accumulator of sparse rows"}
        raise refuse(f"not {what.get(kind, 'an accumulator')}", found=type(handle).__name__)
    return handle.accumulator


# --- making -----------------------------------------------------------------------------------------------------
@op("ConditionalAccumulator", shape="-> [2]", stateful=True, ignores=_IGNORES)
def conditional_accumulator(
    xp: Any, state: State, *, dtype: DType, shape: Shape, shared_name: str, reduction_type: str
) -> Any:
    """An accumulator of tensors."""
    return _handle(state, Dense, "ConditionalAccumulator", dtype, shape, shared_name, reduction_type)


@op("SparseConditionalAccumulator", shape="-> [2]", stateful=True, ignores=_IGNORES)
def sparse_conditional_accumulator(
    xp: Any, state: State, *, dtype: DType, shape: Shape, shared_name: str, reduction_type: str
) -> Any:
    """An accumulator of rows of tensors."""
    return _handle(state, Sparse, "SparseConditionalAccumulator", dtype, shape, shared_name, reduction_type)


# --- using ------------------------------------------------------------------------------------------------------
@op("AccumulatorApplyGradient", stateful=True, effect=True)
def accumulator_apply_gradient(
    xp: Any, state: State, handle: Any, local_step: Any, gradient: Any, *, dtype: DType
) -> None:
    """Add a gradient that was computed for a step, unless the accumulator is further on."""
    _of(handle, Dense).apply(int(local_step), np.asarray(gradient), dtype)


@op("SparseAccumulatorApplyGradient", stateful=True, effect=True)
def sparse_accumulator_apply_gradient(
    xp: Any, state: State, handle: Any, local_step: Any, gradient_indices: Array, gradient_values: Array,
    gradient_shape: Array, *, dtype: DType, has_known_shape: bool,
) -> None:  # fmt: skip
    """Add rows of a gradient that was computed for a step, unless the accumulator is further on."""
    target = _of(handle, Sparse)
    if gradient_indices.ndim != 1 or not gradient_values.ndim:
        found = [gradient_indices.ndim, gradient_values.ndim]
        raise refuse("ranks of a gradient's indices and rows", expected="1, and 1 or more", found=found)
    if len(gradient_indices) != len(gradient_values):
        raise refuse("rows of a gradient", expected=len(gradient_indices), found=len(gradient_values))
    if has_known_shape:
        shape = Shape.of(gradient_shape.tolist())
        if not Shape((None, *(shape.dims or ())[1:])).accepts(gradient_values.shape):
            raise refuse("rows of a gradient of a known shape", expected=shape, found=list(gradient_values.shape))
        if target.spec.shape.dims and not target.spec.shape.accepts(list(shape)):
            raise refuse(f"{target.spec}: the shape of a gradient", expected=target.spec.shape, found=shape)
    target.apply(int(local_step), (gradient_indices, gradient_values), dtype)


@op("AccumulatorTakeGradient", stateful=True, role="waits")
def accumulator_take_gradient(xp: Any, state: State, handle: Any, num_required: Any, *, dtype: DType) -> Any:
    """The mean, or the sum, of all gradients, once there are `num_required`."""
    return _of(handle, Dense).take(int(num_required), dtype)


@op("SparseAccumulatorTakeGradient", shape="-> [?] ? ?", stateful=True, role="waits")
def sparse_accumulator_take_gradient(xp: Any, state: State, handle: Any, num_required: Any, *, dtype: DType) -> Any:
    """Indices, rows and shape of the mean, or the sum, of all gradients, once there are `num_required`."""
    return _of(handle, Sparse).take(int(num_required), dtype)


@op("AccumulatorNumAccumulated", shape="-> []", stateful=True)
def accumulator_num_accumulated(xp: Any, state: State, handle: Any) -> Any:
    """How many gradients there are."""
    return np.array(_of(handle).count, np.int32)


@op("AccumulatorSetGlobalStep", stateful=True, effect=True)
def accumulator_set_global_step(xp: Any, state: State, handle: Any, new_global_step: Any) -> None:
    """Set the step below which gradients are dropped."""
    target = _of(handle)
    with target.changed:
        target.step = int(new_global_step)


RESOURCES: list[Op] = [
    alias(f"Resource{o.name}", o)
    for o in (
        conditional_accumulator, accumulator_apply_gradient, accumulator_take_gradient, accumulator_num_accumulated,
        accumulator_set_global_step,
    )
]  # fmt: skip
