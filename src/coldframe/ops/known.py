"""What graph building knows of a tensor before any run: `Known`, and the arithmetic on partial shapes that rules use.

A **shape rule** (the field `shape` of an `Op`) is a function ``rule(a, *inputs)``: `a` holds the node's attributes by
name (defaults filled in, strings as bytes), `inputs` one `Known` per input (a list input is one argument, a list).
It returns the dimensions of the output, or a list with one item per output. Dimensions are a tuple in which None
stands for an open one, or None where even the rank is open; a `Known` in their place tells more (values, handles).
Rules of one line are written in the notation of `coldframe.ops.notation`.

The facts that rules state are those of TensorFlow's shape functions: they refuse what TensorFlow refuses when a node is
added to a graph, and leave open what it leaves open, or less.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from coldframe import dtypes
from coldframe.dtypes import DType
from coldframe.errors import GraphError
from coldframe.records import dataclass
from coldframe.shapes import Shape

Dim = int | None
Dims = tuple[int | None, ...] | None
Attrs = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a tensor.

    Attributes:
        dtype: its dtype.
        shape: its shape, as far as it is known.
        value: its value where that is constant and small.
        partial: of an integer vector whose value is known in parts: its entries, None where open.
        handle: of a resource or variant: the dtype and shape of what it holds (a variable, a list's elements).
    """

    dtype: DType
    shape: Shape
    value: np.ndarray[Any, Any] | None = None
    partial: tuple[int | None, ...] | None = None
    handle: tuple[DType, Shape] | None = None

    @property
    def dims(self) -> Dims:
        """The dimensions of `shape`."""
        return self.shape.dims


Result = Known | Dims | list["Known | Dims"]
Rule = Callable[..., Any]


def of_value(value: Any, dtype: DType) -> Known:
    """Return what is known of a constant."""
    array = np.asarray(value, dtype.numpy)
    return Known(dtype, Shape(array.shape), array)


def of_entries(entries: Sequence[int | None], dtype: DType) -> Known:
    """Return what is known of an integer vector of which some entries are."""
    if None in entries:
        return Known(dtype, Shape((len(entries),)), None, tuple(entries))
    return of_value(entries, dtype)


def entries_of(x: Known) -> tuple[int | None, ...] | None:
    """Return the entries of a vector as far as they are known; None where not even their number is."""
    if x.value is not None:
        return tuple(x.value.tolist()) if x.value.ndim == 1 else None
    if x.partial is not None:
        return x.partial
    if x.dims is not None and len(x.dims) == 1 and x.dims[0] is not None and x.dims[0] <= 254:
        return (None,) * x.dims[0]
    return None


def described(x: Known) -> Dims:
    """Return the dimensions that a vector of sizes describes; -1 is an open one, as is a scalar -1 an open rank."""
    if x.value is not None and x.value.ndim == 0 and int(x.value) == -1:
        return None
    with_rank(x.dims, 1)
    entries = entries_of(x)
    if entries is None:
        return None
    for e in entries:
        if e is not None and e < -1:
            raise GraphError("a shape has a negative dimension", expected="-1 or more", found=e)
    return tuple(None if e is None or e == -1 else e for e in entries)


def scalar_of(x: Known) -> int | None:
    """Return the value of an integer of one element, where it is known."""
    if x.value is None or x.value.size != 1:
        return None
    return int(x.value.reshape(()))


def vector_of(x: Known) -> list[int] | None:
    """Return all elements of an integer tensor, where they are known."""
    return None if x.value is None else [int(v) for v in x.value.ravel().tolist()]


# --- dimensions ---------------------------------------------------------------------------------------------------
def merge_dim(a: Dim, b: Dim) -> Dim:
    """Return what both tell of one dimension.

    Raises:
        GraphError: they contradict.
    """
    if a is None:
        return b
    if b is None or a == b:
        return a
    raise GraphError(f"dimensions must be equal, but are {a} and {b}")


def merge(a: Dims, b: Dims) -> Dims:
    """Return what both tell of one shape.

    Raises:
        GraphError: they contradict.
    """
    if a is None or a is b:
        return b
    if b is None:
        return a
    if len(a) != len(b):
        raise GraphError("shapes must be of equal rank", expected=Shape(a), found=Shape(b))
    return tuple([merge_dim(m, n) for m, n in zip(a, b, strict=True)])


def with_rank(dims: Dims, rank: int) -> tuple[Dim, ...]:
    """Return `dims`, open ones where the rank is open.

    Raises:
        GraphError: the rank is another.
    """
    if dims is None:
        return (None,) * rank
    if len(dims) != rank:
        raise GraphError(f"shape must be of rank {rank}", found=f"rank {len(dims)}")
    return dims


def at_least(dims: Dims, rank: int) -> Dims:
    """Return `dims`; refuse a rank below `rank`."""
    if dims is not None and len(dims) < rank:
        raise GraphError(f"shape must be of at least rank {rank}", found=f"rank {len(dims)}")
    return dims


def axis_of(axis: int, rank: int) -> int:
    """Return an axis counted from the front; refuse one that is not there."""
    if not -rank <= axis < max(rank, 1) or (not rank and axis not in (0, -1)):
        raise GraphError("no such axis", expected=f"{-rank} to {rank - 1}", found=axis)
    return axis + rank if axis < 0 else axis


def add(a: Dim, b: Dim) -> Dim:
    """Return the sum of two sizes."""
    return None if a is None or b is None else a + b


def sub(a: Dim, b: Dim) -> Dim:
    """Return the difference of two sizes; refuse a negative one."""
    if a is None or b is None:
        return None
    if b > a:
        raise GraphError(f"negative dimension size caused by subtracting {b} from {a}")
    return a - b


def mul(a: Dim, b: Dim) -> Dim:
    """Return the product of two sizes; nothing of anything is nothing."""
    if a == 0 or b == 0:
        return 0
    return None if a is None or b is None else a * b


def div(a: Dim, b: Dim) -> Dim:
    """Return the quotient of two sizes; refuse one that is not whole."""
    if a is None or b is None:
        return None
    if a % b:
        raise GraphError(f"dimension size must be evenly divisible by {b} but is {a}")
    return a // b


def broadcast(a: Dims, b: Dims) -> Dims:
    """Return the shape of two tensors broadcast.

    Raises:
        GraphError: they do not fit.
    """
    if a is None or b is None:
        return None
    if a == b and None not in a:
        return a
    if len(a) < len(b):
        a, b = b, a
    head = len(a) - len(b)
    return a[:head] + tuple([_broadcast_dim(m, n) for m, n in zip(a[head:], b, strict=True)])


def _broadcast_dim(m: Dim, n: Dim) -> Dim:
    if m == n or n == 1:
        return m
    if m == 1:
        return n
    if m is None or n is None:
        return n if m is None else m
    raise GraphError(f"dimensions must be equal, but are {m} and {n}")


def dtype_named(a: Attrs, name: str) -> DType:
    """Return an attribute that is a dtype."""
    value = a[name]
    assert isinstance(value, DType), "attributes are checked when an op is called"
    return value


INT32 = dtypes.int32
