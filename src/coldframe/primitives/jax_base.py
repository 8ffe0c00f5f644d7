"""What the XLA interpreter's verbs share: known values, promises that are checked when running, and refusals.

Tensors are of two kinds. What is known when compiling is a numpy array, and verbs over known tensors are computed on
numpy at once, so that the arithmetic of shapes stays known. What flows in is a JAX tracer of known shape and dtype.

XLA never refuses values: it clamps indices and divides by zero. What the numpy interpreter would refuse by value is
therefore collected as a promise (`JaxBase.promise`), computed beside the results and looked at after the run; where it
was broken, numpy runs the nodes and says what is wrong.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from coldframe.dtypes import DType
from coldframe.primitives.base import Unlowerable
from coldframe.primitives.numpy_shape import dims
from coldframe.primitives.numpy_xp import NumpyPrimitives
from coldframe.records import dataclass
from coldframe.shapes import Shape

NUMPY = NumpyPrimitives()
_NARROW = ("float16", "bfloat16")
C = TypeVar("C", bound=type)
_KEPT: Final = 4096  # elements; larger tensors of one value are made when running


@dataclass(frozen=True, slots=True)
class Known:
    """A known tensor that can be compared."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    content: bytes

    @classmethod
    def of(cls, x: Any) -> Known:
        """Return a numpy array as one."""
        a = np.asarray(x)
        return cls(a.dtype, a.shape, a.tobytes())

    def array(self) -> Any:
        """Return it as a numpy array."""
        return np.frombuffer(self.content, self.dtype).reshape(self.shape)


@jax.tree_util.register_pytree_node_class
@dataclass(frozen=True, slots=True, eq=False)
class JaxList:
    """A tensor list: its elements lie in the rows of one buffer.

    Attributes:
        dtype: of the elements.
        shape: of the elements, as far as known before there is a buffer.
        most: how many elements it takes; None where that is not known.
        buffer: [capacity, *shape]; rows that were never written are zeros. None as long as none was written.
        length: how many rows count: an integer, or a scalar int32 value.
        every: what each element is, where all are one and the same known tensor; there is no buffer then. The shapes
            that a loop notes down for its gradient so stay known.
        single: where there is no buffer, the one row that was written, as (index, element): gradients of reading an
            element are added up, which must not cost a pass over the whole list.
        declared: what the graph says of the shape, which is what others that get the list go by; None for `shape`.
    """

    dtype: DType
    shape: Shape
    most: int | None
    buffer: Any
    length: Any
    every: Known | None = None
    single: tuple[Any, Any] | None = None
    declared: Shape | None = None

    @property
    def ndim(self) -> int:
        """Its rank: a list is one scalar."""
        return 0

    @property
    def capacity(self) -> int:
        """How many rows the buffer has."""
        return 0 if self.buffer is None else int(self.buffer.shape[0])

    def tree_flatten(self) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """Tell JAX what is traced, and what is known."""
        known = self.length if isinstance(self.length, int) else None
        leaves = (self.buffer, None if known is not None else self.length, self.single)
        return leaves, (self.dtype, self.shape, self.most, known, self.every)

    @classmethod
    def tree_unflatten(cls, known: tuple[Any, ...], leaves: tuple[Any, ...]) -> JaxList:
        """Make one of what `tree_flatten` gave."""
        dtype, shape, most, length, every = known
        return cls(dtype, shape, most, leaves[0], leaves[1] if length is None else length, every, leaves[2])


def traced(*values: Any) -> bool:
    """Whether any of `values`, or of the items of lists among them, is not known when compiling."""
    return any(isinstance(v, (jax.Array, JaxList)) or (isinstance(v, (list, tuple)) and traced(*v)) for v in values)


def folding(family: C) -> C:
    """Decorate a family of verbs: where all tensors are known, the numpy interpreter's verb of that name runs."""
    for name, verb in list(vars(family).items()):
        if inspect.isfunction(verb) and hasattr(NUMPY, name):
            setattr(family, name, _folded(name, verb))
    return family


def _folded(name: str, verb: Callable[..., Any]) -> Callable[..., Any]:
    known = getattr(NUMPY, name)

    @functools.wraps(verb)
    def run(self: Any, *args: Any, **kwargs: Any) -> Any:
        if traced(*args, *kwargs.values()):
            return verb(self, *args, **kwargs)
        return known(*args, **kwargs)

    return run


def fixed(x: Any, what: str) -> Any:
    """Return `x` as a numpy array; refuse where it, or an item of it, is not known when compiling."""
    if traced(x):
        raise Unlowerable(f"{what} is not known when compiling")
    return np.asarray(x)


def sizes(shape: Any) -> tuple[int, ...]:
    """Return a shape as integers; refuse one that is not known when compiling."""
    return dims(fixed(shape, "a shape"))


def widened(x: Any) -> Any:
    """Return half-precision `x` as float32, in which TensorFlow's kernels accumulate; others as they are."""
    return x.astype(jnp.float32) if x.dtype.name in _NARROW else x


def ints(values: Sequence[Any], what: str = "an axis") -> tuple[int, ...]:
    """Return integers that must be known when compiling."""
    return tuple(int(v) for v in fixed(values, what).ravel())


def uniform(value: Any, shape: Sequence[int], dtype: Any) -> Any:
    """Return a tensor of one known value: a numpy array where it is small, else one that is made when running."""
    if math.prod(shape) <= _KEPT:
        return np.full(shape, value, dtype)
    return jnp.broadcast_to(jnp.asarray(np.asarray(value, dtype)), tuple(shape))


def large(x: Any) -> Any:
    """Return a known tensor as a program should hold it: large ones of one value are made when running."""
    if isinstance(x, np.ndarray) and x.size > _KEPT and x.dtype.kind not in "OV" and (x == x.flat[0]).all():
        return uniform(x.flat[0], x.shape, x.dtype)
    return x


class Functions(Protocol):
    """What an engine tells of functions of the graph, as ops receive them."""

    def call(self, function: Any, args: Sequence[Any]) -> list[Any]:
        """Return the results of `function`."""

    def invariant(self, body: Any) -> list[bool]:
        """Return which of its arguments `body` returns, in their places, as they are."""

    def trips(self, condition: Any, body: Any, values: Sequence[Any]) -> int | None:
        """Return how often a loop runs at most, or None where nothing known bounds it."""


class JaxBase:
    """What is known of tensors, and promises about them.

    Attributes:
        functions: how functions of the graph are run on this interpreter.
        promises: what must turn out true, in the scope that is being traced: scalars.
    """

    name = "jax"

    def __init__(self, functions: Functions | None = None) -> None:
        self.functions = functions
        self.promises: list[Any] = []

    def promise(self, ok: Any) -> None:
        """Note that `ok` must be true everywhere. Where it is known to be false the op is not compiled."""
        if not traced(ok):
            if not np.all(ok):
                raise Unlowerable("it refuses its inputs")
            return
        self.promises.append(jnp.all(ok))
