"""Tensor arrays, of all three generations: what V1 loops read from and write to, one element per iteration.

What flows along the edges is the `TensorArray` itself. It belongs to the run that made it and is gone when nothing
refers to it; each time the making node runs there is a fresh one. The scalar ``flow`` carries no value: it puts writes
and reads in order, as edges of the graph.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Final

import numpy as np

from coldframe.dtypes import DType
from coldframe.errors import MisuseError
from coldframe.ops import inference_state
from coldframe.ops.backward import tensor_array as back
from coldframe.ops.state import State
from coldframe.ops.table import Body, Op, alias, op
from coldframe.primitives.base import refuse
from coldframe.records import dataclass
from coldframe.shapes import Shape

_MOST: Final = 1 << 24  # elements; a graph that claims more would only exhaust the memory
_NAME: Final = ("tensor_array_name",)


@dataclass(slots=True, eq=False)
class _Element:
    """One slot.

    Attributes:
        value: what was written; None before that, after clearing, and where only the shape is known.
        shape: of a slot that counts as written without a value: zeros of that shape.
        read, cleared: whether it was read; whether reading also cleared it.
    """

    value: Any = None
    shape: tuple[int, ...] | None = None
    read: bool = False
    cleared: bool = False

    @property
    def written(self) -> bool:
        return self.value is not None or self.shape is not None


@dataclass(slots=True, eq=False)
class TensorArray:
    """An array of tensors of one dtype.

    Attributes:
        dtype: of the elements.
        shape: what all elements' shapes agree with.
        size: how many elements it has.
        elements: the slots that were used, by index: a graph may claim any size.
        dynamic: whether writing beyond the end makes it longer.
        clear: whether an element can be read only once.
        identical: whether the first element written settles the shape.
        sums: whether writing twice adds up: an array of gradients.
        packed: how many elements its value had when it was cut into them, if it was; gradients have as many.
        gradients: the arrays of gradients made for it, by source.
        closed: whether it was closed.
    """

    dtype: DType
    shape: Shape
    size: int
    elements: dict[int, _Element] = dataclasses.field(default_factory=dict)
    dynamic: bool = False
    clear: bool = True
    identical: bool = False
    sums: bool = False
    packed: int | None = None
    gradients: dict[str, TensorArray] = dataclasses.field(default_factory=dict)
    closed: bool = False

    @property
    def whole(self) -> int:
        """How many elements reading all of it takes."""
        return self.packed if self.sums and self.packed is not None else self.size

    def cut_into(self, count: int) -> None:
        """Take note that a value was cut into so many elements; an array of gradients knows it from its array."""
        if not self.sums:
            self.packed = count

    def narrow(self, shape: Shape) -> None:
        """Take note of what an op knows of the elements' shape."""
        try:
            self.shape = self.shape.merge(shape)
        except MisuseError as e:
            raise refuse(
                "the elements' shape differs from the tensor array's", expected=e.expected, found=e.found
            ) from e

    def grow(self, size: int) -> None:
        """Make it at least `size` long."""
        if size > _MOST:
            raise refuse("a tensor array of that size", expected=f"at most {_MOST}", found=size)
        self.size = max(self.size, size)

    def write(self, index: int, value: Any) -> None:
        """Write an element; refused where it was written or read before, unless writes add up."""
        if index < 0 or (index >= self.size and not self.dynamic):
            raise refuse(
                f"cannot write to index {index} of a tensor array",
                expected=f"an index below {self.size}" + ("" if self.dynamic else "; it cannot grow"),
                found=index,
            )
        shape = np.shape(value)
        if not self.shape.accepts(shape):
            raise refuse(
                f"cannot write to index {index} of a tensor array", expected=f"shape {self.shape}", found=list(shape)
            )
        self.grow(index + 1)
        if self.identical and not self.shape.is_static:
            self.shape = Shape(shape)
        e = self.elements.setdefault(index, _Element())
        if e.read:
            raise refuse(f"cannot write to index {index} of a tensor array: it was read before")
        if e.written:
            value = self._sum(index, e, value)
        e.value, e.shape = value, None

    def _sum(self, index: int, e: _Element, value: Any) -> Any:
        if not self.sums:
            raise refuse(f"cannot write to index {index} of a tensor array: it was written before")
        old = np.shape(e.value) if e.value is not None else e.shape
        if old != np.shape(value):
            raise refuse(f"cannot add to index {index}", expected=list(old or ()), found=list(np.shape(value)))
        if e.value is None:
            return value
        if self.dtype.kind not in "fciuq":
            raise refuse("elements of this dtype cannot be added up", found=self.dtype)
        return e.value + value

    def read(self, index: int) -> Any:
        """Return an element; one that was never written is zeros where its shape is known."""
        if not 0 <= index < self.size:
            raise refuse(f"cannot read index {index} of a tensor array", expected=f"below {self.size}", found=index)
        e = self.elements.setdefault(index, _Element())
        if e.cleared:
            raise refuse(
                f"cannot read index {index} of a tensor array twice: reading cleared it",
                hint="set clear_after_read to false when the array is made",
            )
        value = e.value if e.value is not None else self._zeros(index, e)
        e.read, e.cleared = True, self.clear
        if self.clear:
            e.value, e.shape = None, tuple(np.shape(value))  # gradients still ask for the shape
        return value

    def _zeros(self, index: int, e: _Element) -> Any:
        shape = e.shape
        if shape is None:
            if not self.shape.is_static:
                raise refuse(
                    f"cannot read index {index} of a tensor array: it was never written and its shape is not known",
                    found=f"element shape {self.shape}",
                )
            shape = tuple(d for d in self.shape if d is not None)
        if self.dtype.kind == "s":
            raise refuse(f"cannot read index {index} of a tensor array: it was never written", found=self.dtype)
        return zeros(shape, self.dtype)


def zeros(shape: tuple[int, ...], dtype: DType) -> Any:
    """Return zeros; of strings, empty ones."""
    return np.full(shape, b"", object) if dtype.kind == "s" else np.zeros(shape, dtype.numpy)


def stacked(values: list[Any], shape: tuple[int, ...], dtype: DType) -> Any:
    """Return `values`, all of `shape`, one under the other."""
    out = np.empty((len(values), *shape), dtype.numpy)
    for i, v in enumerate(values):
        out[i, ...] = v  # with the ellipsis an object of rank 0 is taken out of its array
    return out


def _opened(handle: Any, dtype: DType | None = None) -> TensorArray:
    if not isinstance(handle, TensorArray):
        raise refuse("not a tensor array", found=type(handle).__name__)
    if handle.closed:
        raise refuse("the tensor array was closed")
    if dtype is not None and dtype != handle.dtype:
        raise refuse("the tensor array holds another dtype", expected=handle.dtype, found=dtype)
    return handle


def scalar(what: str, value: Any) -> int:
    """Return the integer that `value`, a tensor, must be."""
    if np.ndim(value):
        raise refuse(f"{what} must be a scalar", found=f"shape {list(np.shape(value))}")
    return int(value)


# --- making -----------------------------------------------------------------------------------------------------
def _made(
    size: Any, dtype: DType, element_shape: Shape, dynamic_size: bool, clear_after_read: bool, identical: bool
) -> TensorArray:
    n = scalar("the size of a tensor array", size)
    if n < 0:
        raise refuse("the size of a tensor array", expected="0 or more", found=n)
    made = TensorArray(dtype, element_shape, 0, {}, dynamic_size, clear_after_read, identical)
    made.grow(n)
    return made


@op("TensorArrayV3", no_gradient=True, shape=inference_state.tensor_array, stateful=True, role="array", ignores=_NAME)
def tensor_array_v3(
    xp: Any, state: State, size: Any, *, dtype: DType, element_shape: Shape, dynamic_size: bool,
    clear_after_read: bool, identical_element_shapes: bool,
) -> Any:  # fmt: skip
    """A new array of `size` elements, none of them written."""
    made = _made(size, dtype, element_shape, dynamic_size, clear_after_read, identical_element_shapes)
    return made, np.float32(0)


@op("TensorArrayV2", no_gradient=True, shape="-> [2]", stateful=True, ignores=_NAME)
def tensor_array_v2(
    xp: Any, state: State, size: Any, *, dtype: DType, element_shape: Shape, dynamic_size: bool, clear_after_read: bool
) -> Any:
    """A new array of `size` elements, none of them written."""
    return _made(size, dtype, element_shape, dynamic_size, clear_after_read, False)


tensor_array = alias("TensorArray", tensor_array_v2, no_gradient=True)


def _gradient_of(handle: Any, source: str, prepend: tuple[int, ...] = ()) -> TensorArray:
    array = _opened(handle)
    if array.sums:
        raise refuse("a tensor array of gradients has no gradients of its own")
    array.dynamic = False  # it must keep the size its gradients have
    if source not in array.gradients:
        dims = array.shape.dims
        shape = Shape(None if dims is None else (*prepend, *dims))
        copies = {i: _Element(shape=(*prepend, *_shape(e))) for i, e in array.elements.items() if e.written}
        array.gradients[source] = TensorArray(
            array.dtype, shape, array.size, copies, identical=array.identical, sums=True, packed=array.packed
        )
    return array.gradients[source]


def _shape(e: _Element) -> tuple[int, ...]:
    return e.shape if e.shape is not None else tuple(np.shape(e.value))


@op("TensorArrayGradV3", shape=inference_state.tensor_array_grad, no_gradient=True, stateful=True, role="array_grad")
def tensor_array_grad_v3(xp: Any, state: State, handle: Any, flow_in: Any, *, source: str) -> Any:
    """The array of gradients of an array, one per `source`; made when first asked for."""
    return _gradient_of(handle, source), flow_in


@op("TensorArrayGradV2", shape="-> [2]", no_gradient=True, stateful=True)
def tensor_array_grad_v2(xp: Any, state: State, handle: Any, flow_in: Any, *, source: str) -> Any:
    """The array of gradients of an array, one per `source`; made when first asked for."""
    return _gradient_of(handle, source)


tensor_array_grad = alias("TensorArrayGrad", tensor_array_grad_v2, no_gradient=True)


@op("TensorArrayGradWithShape", shape=inference_state.tensor_array_grad, no_gradient=True, stateful=True)
def tensor_array_grad_with_shape(
    xp: Any, state: State, handle: Any, flow_in: Any, shape_to_prepend: Any, *, source: str
) -> Any:
    """The array of gradients of an array, whose elements have more dimensions in front."""
    return _gradient_of(handle, source, tuple(int(d) for d in shape_to_prepend)), flow_in


# --- single elements --------------------------------------------------------------------------------------------
def _write(xp: Any, state: State, handle: Any, index: Any, value: Any, flow_in: Any, *, T: DType) -> Any:
    """Write one element; into an array of gradients, add to it."""
    _opened(handle, T).write(scalar("an index", index), value)
    return flow_in


def _read(xp: Any, state: State, handle: Any, index: Any, flow_in: Any, *, dtype: DType) -> Any:
    """One element."""
    return _opened(handle, dtype).read(scalar("an index", index))


def _size(xp: Any, state: State, handle: Any, flow_in: Any) -> Any:
    """How many elements the array has."""
    return np.int32(_opened(handle).size)


def _close(xp: Any, state: State, handle: Any) -> None:
    """Forget the elements."""
    array = _opened(handle)
    array.closed, array.elements, array.gradients = True, {}, {}


# --- all elements at once ---------------------------------------------------------------------------------------
def _picked(array: TensorArray, indices: list[int], element_shape: Shape) -> Any:
    array.narrow(element_shape)
    if not indices:
        if not element_shape.is_static:
            raise refuse("no elements to stack and their shape is not known", found=f"element shape {element_shape}")
        return zeros((0, *(d for d in element_shape if d is not None)), array.dtype)
    values = [array.read(i) for i in indices]
    shape = np.shape(values[0])
    for i, v in enumerate(values):
        if np.shape(v) != shape or not array.shape.accepts(np.shape(v)):
            raise refuse(f"the elements' shapes differ at index {i}", expected=list(shape), found=list(np.shape(v)))
    return stacked(values, shape, array.dtype)


def _gather(
    xp: Any, state: State, handle: Any, indices: Any, flow_in: Any, *, dtype: DType, element_shape: Shape
) -> Any:
    """The elements at `indices`, stacked."""
    if np.ndim(indices) != 1:
        raise refuse("indices must be a vector", found=f"shape {list(np.shape(indices))}")
    return _picked(_opened(handle, dtype), indices.tolist(), element_shape)


@op("TensorArrayPack", stateful=True)
def tensor_array_pack(xp: Any, state: State, handle: Any, flow_in: Any, *, dtype: DType, element_shape: Shape) -> Any:
    """All elements, stacked."""
    array = _opened(handle, dtype)
    count = array.whole
    return _picked(array, list(range(count)), element_shape)


def _scattered(array: TensorArray, indices: list[int], value: Any) -> None:
    last = max(indices, default=-1)
    if last >= array.size and not array.dynamic:
        raise refuse("index beyond the tensor array", expected=f"below {array.size}", found=last)
    for i, v in zip(indices, value, strict=True):
        array.write(i, v)


def _rows(value: Any) -> int:
    if not np.ndim(value):
        raise refuse("a tensor to take apart has at least one dimension", found="a scalar")
    return int(np.shape(value)[0])


def _scatter(xp: Any, state: State, handle: Any, indices: Any, value: Any, flow_in: Any, *, T: DType) -> Any:
    """Write the rows of `value` to the elements at `indices`."""
    if np.ndim(indices) != 1:
        raise refuse("indices must be a vector", found=f"shape {list(np.shape(indices))}")
    if _rows(value) != len(indices):
        raise refuse("as many rows as indices", expected=len(indices), found=_rows(value))
    _scattered(_opened(handle, T), indices.tolist(), value)
    return flow_in


@op("TensorArrayUnpack", shape="-> []", stateful=True)
def tensor_array_unpack(xp: Any, state: State, handle: Any, value: Any, flow_in: Any, *, T: DType) -> Any:
    """Write the rows of `value` to all elements."""
    array, rows = _opened(handle, T), _rows(value)
    if rows != array.size and not array.dynamic:
        raise refuse("as many rows as the array has elements", expected=array.size, found=rows)
    array.cut_into(rows)
    _scattered(array, list(range(rows)), value)
    return flow_in


def _concat(xp: Any, state: State, handle: Any, flow_in: Any, *, dtype: DType, element_shape_except0: Shape) -> Any:
    """All elements, one after the other along their first dimension, and how long each is."""
    array = _opened(handle, dtype)
    rest = element_shape_except0.dims
    array.narrow(Shape(None if rest is None else (None, *rest)))
    count = array.whole
    if not count:
        if rest is None or None in rest:
            raise refuse("no elements to concatenate and their shape is not known", found=element_shape_except0)
        return zeros((0, *(d for d in rest if d is not None)), dtype), np.zeros(0, np.int64)
    values = [np.asarray(array.read(i)) for i in range(count)]
    for i, v in enumerate(values):
        if not v.ndim:
            raise refuse(f"elements to concatenate have at least one dimension; element {i} has none")
        if v.shape[1:] != values[0].shape[1:]:
            raise refuse(f"the elements' shapes differ at index {i}", expected=values[0].shape[1:], found=v.shape[1:])
    return np.concatenate(values), np.array([len(v) for v in values], np.int64)


def _split(xp: Any, state: State, handle: Any, value: Any, lengths: Any, flow_in: Any, *, T: DType) -> Any:
    """Write pieces of `value`, of `lengths` along its first dimension, to the elements."""
    array = _opened(handle, T)
    if np.ndim(lengths) != 1:
        raise refuse("lengths must be a vector", found=f"shape {list(np.shape(lengths))}")
    rows, ends = _rows(value), np.cumsum(lengths)
    if any(n < 0 for n in lengths.tolist()) or int(lengths.sum()) != rows:
        raise refuse("lengths must add up to the rows", expected=rows, found=int(lengths.sum()))
    if len(lengths) != array.size and not array.dynamic:
        raise refuse("as many pieces as the array has elements", expected=array.size, found=len(lengths))
    array.cut_into(len(lengths))
    for i, (end, n) in enumerate(zip(ends.tolist(), lengths.tolist(), strict=True)):
        array.write(i, value[end - n : end])
    return flow_in


def _generations(body: Any, shape: Any, rule: Body | None, what: str) -> list[Op]:
    """The ops of an access, newest first; without a rule nothing flows back through it."""
    rules = {} if rule is None else {"gradient": rule}
    roles = {"V3": f"array_{what.lower()}", "V2": "", "": ""}  # passes know the newest
    return [
        Op(
            f"TensorArray{what}{v}", body, dict(rules),
            shape=shape, stateful=True, role=role, no_gradient=rule is None,
        )
        for v, role in roles.items()
    ]  # fmt: skip


ACCESS = [
    *_generations(_write, "-> []", back.write, "Write"),
    *_generations(_read, inference_state.read_element, back.read, "Read"),
    *_generations(_size, "-> []", None, "Size"),
    *_generations(_close, "-> []", None, "Close"),
    *_generations(_gather, inference_state.tensor_array_gather, back.gather, "Gather"),
    *_generations(_scatter, "-> []", back.scatter, "Scatter"),
    *_generations(_concat, inference_state.tensor_array_concat, back.concat, "Concat"),
    *_generations(_split, "-> []", back.split, "Split"),
]
