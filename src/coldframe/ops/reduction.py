"""Reductions over axes, positions of extremes, running totals, and sums of many tensors.

Axes are known when a graph is compiled; naming one twice, or one that is not there, is refused. Half precision adds up
in float32. A NaN wins in Max and Min, and is passed over by ArgMax and ArgMin.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from coldframe import dtypes
from coldframe.dtypes import DType
from coldframe.ops import inference_math
from coldframe.ops.backward import reduction as back
from coldframe.ops.backward import stopped, to_each
from coldframe.ops.table import Body, Op, op, rules
from coldframe.primitives.base import refuse


def axes_of(xp: Any, x: Any, axes: Any) -> list[int]:
    """Return the axes to reduce, counted from the front; refuse strangers and repetitions."""
    rank, out = xp.rank(x), []
    for a in np.asarray(axes).ravel().tolist():
        at = axis_of(xp, x, a)
        if at in out:
            raise refuse("an axis is named twice", expected="different axes", found=f"{a} of {rank} dimensions")
        out.append(at)
    return out


def axis_of(xp: Any, x: Any, axis: Any) -> int:
    """Return one axis counted from the front; refuse one that `x` does not have."""
    rank: int = xp.rank(x)
    a = np.asarray(axis)
    if a.ndim:
        raise refuse("an axis is a scalar", found=f"shape {list(a.shape)}")
    if not -rank <= int(a) < rank:
        raise refuse("no such axis", expected=f"{-rank} to {rank - 1}", found=int(a))
    return int(a) % rank


def _reduction(
    name: str, verb: Callable[[Any, Any, list[int], bool], Any], doc: str, gradient: Body | None = None
) -> Op:
    def run(xp: Any, x: Any, axes: Any, *, keep_dims: bool) -> Any:
        at = axes_of(xp, x, axes)
        return verb(xp, x, at, keep_dims)

    run.__doc__ = doc
    return Op(name, run, shape=inference_math.reduce, rules=rules(gradient=gradient), static=("reduction_indices",))


def _norm(xp: Any, x: Any, axes: list[int], keep: bool) -> Any:
    kind = xp.dtype(x).kind
    squares = xp.multiply(x, xp.conj(x) if kind == "c" else x)
    total = xp.sum(squares, axes, keep)
    if kind in "iu":
        return xp.cast(xp.sqrt(xp.cast(total, dtypes.float64)), dtypes.from_numpy(xp.dtype(x)))
    return xp.sqrt(total)


REDUCTIONS = [
    _reduction("Sum", lambda xp, x, a, k: xp.sum(x, a, k), "the sum over axes; integers wrap", back.sum_),
    _reduction("Prod", lambda xp, x, a, k: xp.prod(x, a, k), "the product over axes; integers wrap", back.prod),
    _reduction(
        "Max", lambda xp, x, a, k: xp.max(x, a, k), "the largest over axes; of nothing the lowest number", back.extreme
    ),
    _reduction(
        "Min",
        lambda xp, x, a, k: xp.min(x, a, k),
        "the smallest over axes; of nothing the highest number",
        back.extreme,
    ),
    _reduction(
        "Mean", lambda xp, x, a, k: xp.mean(x, a, k), "the average over axes; integers round towards zero", back.mean
    ),
    _reduction("All", lambda xp, x, a, k: xp.all(x, a, k), "whether all along the axes are true"),
    _reduction("Any", lambda xp, x, a, k: xp.any(x, a, k), "whether one along the axes is true"),
    _reduction("EuclideanNorm", _norm, "the root of the sum of squared magnitudes over axes", back.euclidean_norm),
]


@op("ArgMax", shape=inference_math.arg_extreme, gradient=stopped, static=("dimension",))
def arg_max(xp: Any, x: Any, dimension: Any, *, output_type: DType) -> Any:
    """Give the first position of the largest along one axis."""
    return xp.cast(xp.argmax(x, _filled_axis(xp, x, dimension)), output_type)


@op("ArgMin", shape=inference_math.arg_extreme, gradient=stopped, static=("dimension",))
def arg_min(xp: Any, x: Any, dimension: Any, *, output_type: DType) -> Any:
    """Give the first position of the smallest along one axis."""
    return xp.cast(xp.argmin(x, _filled_axis(xp, x, dimension)), output_type)


def _filled_axis(xp: Any, x: Any, dimension: Any) -> int:
    axis = axis_of(xp, x, dimension)
    size = xp.dim(x, axis)
    if isinstance(size, int) and size == 0:
        raise refuse("the largest of nothing", expected=f"elements along axis {axis}", found=0)
    return axis


@op("L2Loss", shape="-> []", gradient=back.l2_loss)
def l2_loss(xp: Any, t: Any) -> Any:
    """Half the sum of all squares."""
    return xp.multiply(xp.sum(xp.multiply(t, t)), xp.dtype(t).type(0.5))


@op(
    "AddN",
    role="add_n",
    shape="x -> x",
    gradient=to_each,
    lenient="sizes that do not fit each other, where they are open when compiling",
)
def add_n(xp: Any, inputs: list[Any]) -> Any:
    """Add tensors of one shape."""
    total = inputs[0]
    for x in inputs[1:]:
        _same_shape(xp, inputs[0], x)
        total = xp.add(total, x)
    return total


@op("AccumulateNV2", shape=inference_math.accumulate_n, gradient=to_each, ignores=("shape",))
def accumulate_n(xp: Any, inputs: list[Any]) -> Any:
    """Add tensors of one shape."""
    return add_n.body(xp, inputs)


def _same_shape(xp: Any, x: Any, y: Any) -> None:
    if isinstance(x, np.ndarray) and isinstance(y, np.ndarray) and x.shape == y.shape:
        return
    a, b = ([xp.dim(v, i) for i in range(xp.rank(v))] for v in (x, y))
    known = [(m, n) for m, n in zip(a, b, strict=False) if isinstance(m, int) and isinstance(n, int)]
    if len(a) != len(b) or any(m != n for m, n in known):
        raise refuse("the terms of a sum differ in shape", expected=a, found=b)


@op("Cumsum", shape="x -> x", gradient=back.cumsum, static=("axis",))
def cumsum(xp: Any, x: Any, axis: Any, *, exclusive: bool, reverse: bool) -> Any:
    """Running sums along one axis, without the element itself where `exclusive`, from the end where `reverse`."""
    return xp.cumsum(x, axis_of(xp, x, axis), exclusive, reverse)


@op("Cumprod", shape="x -> x", gradient=back.cumprod, static=("axis",))
def cumprod(xp: Any, x: Any, axis: Any, *, exclusive: bool, reverse: bool) -> Any:
    """Running products along one axis, options as for Cumsum."""
    return xp.cumprod(x, axis_of(xp, x, axis), exclusive, reverse)


@op(
    "CumulativeLogsumexp",
    shape="x -> x",
    gradient=back.cumulative_logsumexp,
    static=("axis",),
    host="ONNX has no running logarithm of sums",
)
def cumulative_logsumexp(xp: Any, x: Any, axis: Any, *, exclusive: bool, reverse: bool) -> Any:
    """The logarithm of the running sums of exp(x), options as for Cumsum."""
    at = axis_of(xp, x, axis)
    wide = x if x.dtype.itemsize == 8 else x.astype(np.float32)
    wide = np.flip(wide, at) if reverse else wide
    if exclusive and x.shape[at]:
        first = np.full_like(np.take(wide, [0], at), -np.inf)
        wide = np.concatenate([first, np.take(wide, range(x.shape[at] - 1), at)], at)
    out = np.logaddexp.accumulate(wide, axis=at).astype(x.dtype)
    return np.flip(out, at) if reverse else out
