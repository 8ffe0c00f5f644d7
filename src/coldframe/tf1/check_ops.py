"""Assertions: conditions that are checked while the graph is built where they can be, else when it runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from coldframe import dtypes
from coldframe.dtypes import DType
from coldframe.tf1.dependencies import no_op, with_dependencies
from coldframe.tf1.errors import InvalidArgumentError
from coldframe.tf1.framework.build import raw
from coldframe.tf1.framework.convert import SparseTensor, constant_value, convert_to_tensor, is_tensor_like
from coldframe.tf1.framework.dtype import as_dtype
from coldframe.tf1.framework.graph import colocate_with, name_scope
from coldframe.tf1.framework.shape import TensorShape, as_static
from coldframe.tf1.framework.tensor import Tensor
from coldframe.tf1.index_ops import strided_slice
from coldframe.tf1.reduce_ops import reduce_all
from coldframe.tf1.shape_ops import check_numerics, rank, reshape, shape, size
from coldframe.tf1.simple import either


def Assert(condition: Any, data: Any, summarize: int | None = None, name: str | None = None) -> Any:
    """Return an operation that fails unless `condition` holds, with `data`, a list of tensors, in its message.

    Data other than strings and int32 is computed only where the condition fails.
    """
    with name_scope(name, "Assert", [condition, data]):
        values = [convert_to_tensor(d) for d in data]
        if all(v.dtype in (dtypes.string, dtypes.int32) for v in values):
            return raw.Assert(condition, list(data), summarize=summarize, name="Assert")
        from coldframe.tf1.control_flow import cond

        holds = convert_to_tensor(condition, name="Condition")
        guarded = cond(
            holds, no_op, lambda: raw.Assert(condition, list(data), summarize=summarize, name="Assert"),
            name="AssertGuard",
        )  # fmt: skip
        return guarded.op


def _prefix(message: str | None) -> str:
    return f"{message}.  " if message else ""


# --- of two tensors -----------------------------------------------------------------------------------------------
def _comparison(symbol: str, op: Any, holds: Callable[[Any, Any], Any], name: str) -> Any:
    default = name

    def function(
        x: Any, y: Any, data: Any = None, summarize: int | None = None, message: str | None = None,
        name: str | None = None,
    ) -> Any:  # fmt: skip
        with name_scope(name, default, [x, y, *(data or ())]):
            x, y = convert_to_tensor(x, name="x"), convert_to_tensor(y, name="y")
            if data is None:
                data = [
                    f"Condition x {symbol} y did not hold element-wise:", f"x ({x.name}) = ", x, f"y ({y.name}) = ", y
                ]  # fmt: skip
            if message is not None:
                data = [message, *data]
            condition = reduce_all(op(x, y))
            _check_now(holds, x, y, data)
            return Assert(condition, data, summarize=summarize)

    function.__doc__ = f"""Return an operation that fails unless ``x {symbol} y`` holds for all elements.

    Raises:
        InvalidArgumentError: both are constants, and it does not hold.
    """
    return function


def _check_now(holds: Callable[[Any, Any], Any], x: Tensor, y: Tensor, data: Any) -> None:
    a, b = constant_value(x), constant_value(y)
    if a is not None and b is not None and not np.all(holds(a, b)):
        raise InvalidArgumentError(None, None, "\n".join(_shown(d) for d in data))


def _shown(item: Any) -> str:
    value = constant_value(item) if isinstance(item, Tensor) else None
    return str(item if value is None else value)


_assert_equal = _comparison("==", raw.Equal, np.equal, "assert_equal")
assert_none_equal = _comparison("!=", raw.NotEqual, np.not_equal, "assert_none_equal")
assert_less = _comparison("<", raw.Less, np.less, "assert_less")
assert_less_equal = _comparison("<=", raw.LessEqual, np.less_equal, "assert_less_equal")
assert_greater = _comparison(">", raw.Greater, np.greater, "assert_greater")
assert_greater_equal = _comparison(">=", raw.GreaterEqual, np.greater_equal, "assert_greater_equal")


def assert_equal(
    x: Any,
    y: Any,
    data: Any = None,
    summarize: int | None = None,
    message: str | None = None,
    name: str | None = None,
) -> Any:
    """Return an operation that fails unless ``x == y`` holds for all elements.

    Raises:
        InvalidArgumentError: both are constants, and it does not hold.
    """
    with name_scope(name, "assert_equal", [x, y, *(data or ())]):
        if x is y:
            return no_op()
    return _assert_equal(x, y, data, summarize, message, name)


def assert_near(
    x: Any,
    y: Any,
    rtol: Any = None,
    atol: Any = None,
    data: Any = None,
    summarize: int | None = None,
    message: str | None = None,
    name: str | None = None,
) -> Any:
    """Return an operation that fails unless ``|x - y| < atol + rtol * |y|`` holds for all elements."""
    with name_scope(name, "assert_near", [x, y, rtol, atol, *(data or ())]):
        x = convert_to_tensor(x, name="x")
        y = convert_to_tensor(y, x.dtype, name="y")
        real = {dtypes.complex64: dtypes.float32, dtypes.complex128: dtypes.float64}.get(x.dtype, x.dtype)
        eps = 10 * np.finfo(real.numpy).eps
        rtol = convert_to_tensor(eps if rtol is None else rtol, real, name="rtol")
        atol = convert_to_tensor(eps if atol is None else atol, real, name="atol")
        if data is None:
            data = [
                _prefix(message), f"x and y not equal to tolerance rtol = {rtol}, atol = {atol}",
                f"x ({x.name}) = ", x, f"y ({y.name}) = ", y,
            ]  # fmt: skip
        from coldframe.tf1.arithmetic_ops import abs as magnitude

        tolerance = atol + rtol * magnitude(y)
        return Assert(reduce_all(raw.Less(magnitude(x - y), tolerance)), data, summarize=summarize)


# --- of one tensor ------------------------------------------------------------------------------------------------
def _sign(text: str, check: Any, zero_first: bool, name: str) -> Any:
    default = name

    def function(
        x: Any, data: Any = None, summarize: int | None = None, message: str | None = None, name: str | None = None
    ) -> Any:
        with name_scope(name, default, [x, *(data or ())]):
            x = convert_to_tensor(x, name="x")
            if data is None:
                head = f"Condition {text} did not hold element-wise:"
                tail = f"x ({x.name}) = "
                data = [_prefix(message), *([head + tail] if text == "x <= 0" else [head, tail]), x]
            zero = convert_to_tensor(0, x.dtype)
            return check(zero, x, data, summarize) if zero_first else check(x, zero, data, summarize)

    function.__doc__ = f"Return an operation that fails unless ``{text}`` holds for all elements."
    return function


assert_negative = _sign("x < 0", assert_less, False, "assert_negative")
assert_positive = _sign("x > 0", assert_less, True, "assert_positive")
assert_non_negative = _sign("x >= 0", assert_less_equal, True, "assert_non_negative")
assert_non_positive = _sign("x <= 0", assert_less_equal, False, "assert_non_positive")


def is_non_decreasing(x: Any, name: str | None = None) -> Any:
    """Return whether no element is less than the one before it."""
    with name_scope(name, "is_non_decreasing", [x]):
        return reduce_all(_steps(x, raw.GreaterEqual))


def is_strictly_increasing(x: Any, name: str | None = None) -> Any:
    """Return whether each element is greater than the one before it."""
    with name_scope(name, "is_strictly_increasing", [x]):
        return reduce_all(_steps(x, raw.Greater))


def _steps(x: Any, compare: Any) -> Any:
    from coldframe.tf1.control_flow import cond

    flat = reshape(x, [-1])
    if not is_numeric_tensor(flat):
        raise TypeError(f"Expected x to be numeric, instead found: {flat}")
    short = raw.Less(size(flat), 2)
    length = shape(flat) - 1
    return cond(
        short,
        lambda: convert_to_tensor([], dtypes.bool_),
        lambda: compare(strided_slice(flat, [1], [1] + length), strided_slice(flat, [0], length)),  # noqa: RUF005
    )


# --- shapes and dtypes --------------------------------------------------------------------------------------------
def _tensor(x: Any) -> Any:
    return x if isinstance(x, SparseTensor) else convert_to_tensor(x, name="x")


def _ranks(x: Any, ranks: list[Any], holds: Any, dynamic: Any, what: str, data: Any, summarize: Any) -> Any:
    """Assert on the rank: at once where it and `ranks` are known, else by nodes."""
    for r in ranks:
        assert_type(r, dtypes.int32)
    known = [constant_value(r) for r in ranks]
    if all(k is not None for k in known):
        if any(k.ndim for k in known):
            raise ValueError("Rank must be a scalar.")
        actual = x.get_shape().ndims
        if actual is not None:
            wanted = [int(k) for k in known]
            if not holds(actual, wanted):
                shown = tuple(wanted) if what.endswith("in") else wanted[0]
                name = getattr(x, "name", "")
                raise ValueError(
                    f"Tensor {name} must have {what} {shown}. Received rank {actual}, shape {x.get_shape()}"
                )
            return no_op(name="static_checks_determined_all_ok")
    condition = dynamic(rank(x), ranks)
    for r, k in zip(ranks, known, strict=True):
        if k is None:
            check = assert_rank(r, 0, data=["Rank must be a scalar. Received rank: ", r])
            condition = with_dependencies([check], condition)
    return Assert(condition, data, summarize=summarize)


def _rank_assertion(what: str, holds: Any, op: Any, name: str) -> Any:
    default = name

    def function(
        x: Any, rank: Any, data: Any = None, summarize: int | None = None, message: str | None = None,
        name: str | None = None,
    ) -> Any:  # fmt: skip
        with name_scope(name, default, [x, rank, *(data or ())]):
            x, wanted = _tensor(x), convert_to_tensor(rank, name="rank")
            if data is None:
                name_of = getattr(x, "name", "")
                data = [_prefix(message), f"Tensor {name_of} must have {what}", wanted, "Received shape: ", shape(x)]
            return _ranks(x, [wanted], holds, lambda a, r: op(a, r[0]), what, data, summarize)

    function.__doc__ = f"Return an operation that fails unless `x` has {what} `rank`; raise `ValueError` if known."
    return function


assert_rank = _rank_assertion("rank", lambda a, r: a == r[0], raw.Equal, "assert_rank")
assert_rank_at_least = _rank_assertion("rank at least", lambda a, r: a >= r[0], raw.GreaterEqual,
                                       "assert_rank_at_least")  # fmt: skip


def assert_rank_in(
    x: Any,
    ranks: Any,
    data: Any = None,
    summarize: int | None = None,
    message: str | None = None,
    name: str | None = None,
) -> Any:
    """Return an operation that fails unless `x` has one of `ranks`; raise `ValueError` where that is known."""
    with name_scope(name, "assert_rank_in", [x, *ranks, *(data or ())]):
        x = _tensor(x)
        wanted = [convert_to_tensor(r, name="rank") for r in ranks]
        if data is None:
            name_of = getattr(x, "name", "")
            data = [_prefix(message), f"Tensor {name_of} must have rank in", *wanted, "Received shape: ", shape(x)]
        return _ranks(x, wanted, lambda a, r: a in r, _any_rank, "rank in", data, summarize)


def _any_rank(actual: Any, wanted: list[Any]) -> Any:
    if not wanted:
        return convert_to_tensor(False)
    result = raw.Equal(wanted[0], actual)
    for r in wanted[1:]:
        result = raw.LogicalOr(result, raw.Equal(r, actual))
    return result


def assert_type(tensor: Any, tf_type: Any, message: str | None = None, name: str | None = None) -> Any:
    """Return an operation that does nothing; raise `TypeError` unless the tensor has this dtype."""
    want = as_dtype(tf_type)
    with name_scope(name, "assert_type", [tensor]):
        x = tensor if isinstance(tensor, SparseTensor) else convert_to_tensor(tensor, name="tensor")
        if x.dtype is not want:
            name_of = getattr(x, "name", "tensor")
            raise TypeError(f"{_prefix(message)}{name_of} must be of type {want!r}; got {x.dtype!r}")
        return no_op("statically_determined_correct_type")


def assert_integer(x: Any, message: str | None = None, name: str | None = None) -> Any:
    """Return an operation that does nothing; raise `TypeError` unless the tensor holds integers."""
    with name_scope(name, "assert_integer", [x]):
        x = convert_to_tensor(x, name="x")
        if not x.dtype.is_integer:
            raise TypeError(f'{_prefix(message)}Expected "x" to be integer type.  Found: {x.name} of dtype {x.dtype}')
        return no_op("statically_determined_was_integer")


def assert_scalar(tensor: Any, name: str | None = None, message: str | None = None) -> Any:
    """Return the tensor; raise `ValueError` unless it is known to be a scalar."""
    with name_scope(name, "assert_scalar", [tensor]) as scope:
        x = convert_to_tensor(tensor, name=scope)
        if x.static_shape.rank != 0:
            raise ValueError(f"{_prefix(message)}Expected scalar shape for {x.name}, saw shape: {x.shape}.")
        return x


def assert_same_float_dtype(tensors: Any = None, dtype: Any = None) -> DType:
    """Return the floating point dtype that all tensors have, float32 for none; raise `ValueError` for others."""
    found = None if dtype is None else as_dtype(dtype)
    for t in tensors or ():
        if t is not None:
            found = found or t.dtype
            if t.dtype is not found:
                raise ValueError(f"{t.name}, type={t.dtype}, must be of the same type ({found}).")
    if found is not None and not found.is_float:
        raise ValueError(f"Expected floating point type, got {found}.")
    return found or dtypes.float32


def assert_proper_iterable(values: Any) -> None:
    """Raise `TypeError` for what can be iterated over but is one value: a tensor, an array, a string."""
    if isinstance(values, (SparseTensor, np.ndarray, bytes, str)) or is_tensor_like(values):
        raise TypeError(f'Expected argument "values" to be a "proper" iterable.  Found: {type(values)}')
    if not hasattr(values, "__iter__"):
        raise TypeError(f'Expected argument "values" to be iterable.  Found: {type(values)}')


def is_numeric_tensor(tensor: Any) -> bool:
    """Whether it is a tensor of numbers."""
    return isinstance(tensor, Tensor) and (tensor.dtype.is_numeric or tensor.dtype.kind == "q")


def ensure_shape(x: Any, shape: Any, name: str | None = None) -> Any:
    """Return the tensor with what `shape` tells of its shape known; it fails where it has another when it runs."""
    return raw.EnsureShape(x, shape=TensorShape(as_static(shape)), name=name)


def verify_tensor_all_finite(
    t: Any = None, msg: Any = None, name: str | None = None, x: Any = None, message: str | None = None
) -> Any:
    """Return the tensor; it fails where it holds an infinity or no number when it runs."""
    x = either("x", x, "t", t)
    message = either("message", message, "msg", msg)
    with name_scope(name, "VerifyFinite", [x]):
        x = convert_to_tensor(x, name="x")
        with colocate_with(x):
            return with_dependencies([check_numerics(x, message)], x)


assert_all_finite = verify_tensor_all_finite


__all__ = [
    "Assert", "assert_all_finite", "assert_equal", "assert_greater", "assert_greater_equal", "assert_integer",
    "assert_less", "assert_less_equal", "assert_near", "assert_negative", "assert_non_negative",
    "assert_non_positive", "assert_none_equal", "assert_positive", "assert_proper_iterable", "assert_rank",
    "assert_rank_at_least", "assert_rank_in", "assert_same_float_dtype", "assert_scalar", "assert_type",
    "ensure_shape", "is_non_decreasing", "is_numeric_tensor", "is_strictly_increasing", "verify_tensor_all_finite",
]  # fmt: skip
