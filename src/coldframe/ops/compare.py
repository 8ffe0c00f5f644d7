"""Comparison, logic, and choosing between tensors by a condition."""

from __future__ import annotations

from typing import Any

from coldframe import dtypes
from coldframe.ops import inference_math
from coldframe.ops.backward import array as back
from coldframe.ops.families import binary, unary
from coldframe.ops.table import op
from coldframe.primitives.base import Unlowerable, refuse

LOGIC = [
    unary("LogicalNot", lambda xp, x: xp.logical_not(x), "not x", role="not", no_gradient=True),
    binary("LogicalAnd", lambda xp, x, y: xp.logical_and(x, y), "x and y", no_gradient=True),
    binary("LogicalOr", lambda xp, x, y: xp.logical_or(x, y), "x or y", no_gradient=True),
]

ORDER = [
    binary("Less", lambda xp, x, y: xp.less(x, y), "x < y; false where one is NaN", no_gradient=True),
    binary("LessEqual", lambda xp, x, y: xp.less_equal(x, y), "x <= y; false where one is NaN", no_gradient=True),
    binary("Greater", lambda xp, x, y: xp.greater(x, y), "x > y; false where one is NaN", no_gradient=True),
    binary("GreaterEqual", lambda xp, x, y: xp.greater_equal(x, y), "x >= y; false where one is NaN", no_gradient=True),
]

FLOATING = [
    unary("IsNan", lambda xp, x: xp.isnan(x), "whether x is not a number", no_gradient=True),
    unary("IsInf", lambda xp, x: xp.isinf(x), "whether x is infinite", no_gradient=True),
    unary("IsFinite", lambda xp, x: xp.isfinite(x), "whether x is a finite number", no_gradient=True),
]


@op("Equal", no_gradient=True, shape=inference_math.compare)
def equal(xp: Any, x: Any, y: Any, *, incompatible_shape_error: bool) -> Any:
    """X == y; where shapes do not broadcast, refuse or answer a scalar false."""
    return xp.equal(x, y) if _comparable(xp, x, y, incompatible_shape_error) else xp.asarray(False, dtypes.bool_)


@op("NotEqual", no_gradient=True, shape=inference_math.compare)
def not_equal(xp: Any, x: Any, y: Any, *, incompatible_shape_error: bool) -> Any:
    """X != y; where shapes do not broadcast, refuse or answer a scalar true."""
    return xp.not_equal(x, y) if _comparable(xp, x, y, incompatible_shape_error) else xp.asarray(True, dtypes.bool_)


def _comparable(xp: Any, x: Any, y: Any, refuses: bool) -> bool:
    """Whether the shapes broadcast, as far as they are known."""
    if refuses:
        return True
    a, b = ([xp.dim(v, i) for i in range(xp.rank(v))] for v in (x, y))
    pairs = zip(reversed(a), reversed(b), strict=False)
    return not any(isinstance(m, int) and isinstance(n, int) and m != n and 1 not in (m, n) for m, n in pairs)


@equal.onnx
def _(xp: Any, x: Any, y: Any, *, incompatible_shape_error: bool) -> Any:
    _known_shapes(x, y, incompatible_shape_error)
    return equal.body(xp, x, y, incompatible_shape_error=incompatible_shape_error)


@not_equal.onnx
def _(xp: Any, x: Any, y: Any, *, incompatible_shape_error: bool) -> Any:
    _known_shapes(x, y, incompatible_shape_error)
    return not_equal.body(xp, x, y, incompatible_shape_error=incompatible_shape_error)


def _known_shapes(x: Any, y: Any, refuses: bool) -> None:
    if not refuses and None in (*x.dims, *y.dims):
        raise Unlowerable("whether the shapes broadcast is not known when compiling")


@op("ApproximateEqual", no_gradient=True, shape="x x -> x")
def approximate_equal(xp: Any, x: Any, y: Any, *, tolerance: float) -> Any:
    """Whether x and y, of one shape, differ by at most `tolerance`."""
    _one_shape(xp, x, y, "x and y")
    return xp.less_equal(xp.abs(xp.subtract(x, y)), xp.dtype(x).type(tolerance))


@op("SelectV2", gradient=back.select_v2, shape=inference_math.broadcast_three)
def select_v2(xp: Any, condition: Any, t: Any, e: Any) -> Any:
    """T where the condition holds, else e; all three broadcast."""
    return xp.where(condition, t, e)


@op(
    "Select",
    gradient=back.select,
    shape=inference_math.select,
    lenient="a condition that only broadcasts, where sizes are open when compiling",
)
def select(xp: Any, condition: Any, t: Any, e: Any) -> Any:
    """T where the condition holds, else e: of one shape, or a condition for all (scalar) or for each row (vector)."""
    _one_shape(xp, t, e, "`then` and `else`")
    rank, n = xp.rank(t), xp.rank(condition)
    if n == 1 != rank:
        if rank == 0:
            raise refuse("a condition for each row of a scalar", expected="at least a vector")
        _one_dim(xp.dim(condition, 0), xp.dim(t, 0), "the condition has as many elements as there are rows")
        condition = xp.expand_dims(condition, list(range(1, rank)))
    elif n:
        _one_shape(xp, t, condition, "`then` and the condition")
    return xp.where(condition, t, e)


def _one_shape(xp: Any, x: Any, y: Any, who: str) -> None:
    if xp.rank(x) != xp.rank(y):
        raise refuse(f"{who} differ in rank", expected=xp.rank(x), found=xp.rank(y))
    for i in range(xp.rank(x)):
        _one_dim(xp.dim(x, i), xp.dim(y, i), f"{who} have the same shape")


def _one_dim(m: Any, n: Any, rule: str) -> None:
    """Refuse two sizes that are known to differ."""
    if isinstance(m, int) and isinstance(n, int) and m != n:
        raise refuse(rule, expected=m, found=n)
