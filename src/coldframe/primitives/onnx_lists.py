"""Tensor lists as ONNX tensors: a list is its elements, stacked. What the verbs mean: the ops on tensor lists.

A list to which nothing was written has a length and no tensor yet: the first element tells the shape. In a loop, a list
of which each iteration writes the next element needs no tensor at all: the Loop itself stacks what it is handed (see
`onnx_flow`).
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from coldframe import dtypes
from coldframe.dtypes import DType
from coldframe.primitives.base import Unlowerable
from coldframe.primitives.onnx_builder import Dims, OnnxValue
from coldframe.primitives.onnx_complex import ComplexOnnx
from coldframe.records import dataclass
from coldframe.shapes import Shape

_MOST = 1 << 24  # elements
_SCATTERED = {d: d for d in (dtypes.float32, dtypes.float64, dtypes.int32, dtypes.int64, dtypes.bool_)} | {
    dtypes.float16: dtypes.float32, dtypes.bfloat16: dtypes.float32, dtypes.int8: dtypes.int32,
    dtypes.uint8: dtypes.int32, dtypes.int16: dtypes.int32, dtypes.uint16: dtypes.int32, dtypes.uint32: dtypes.int64,
}  # fmt: skip
"""What ONNX Runtime writes into tensors, and as what it can write others without loss."""


@dataclass(frozen=True, slots=True, eq=False)
class OnnxList:
    """A tensor list.

    Attributes:
        element: the dtype of the elements.
        shape: their shape, as far as known before there is a tensor.
        declared: what the graph says of it, which is what others that get the list go by; None for `shape`.
        buffer: the elements, stacked; None where none was written.
        length: how many there are, int64, where there is no buffer.
        place: in a loop each iteration of which is to write the element of its number, and to do nothing else: what the
            list is called there. Empty of other lists.
        counters: the names of the loop variables that hold that number.
        row: the element that this iteration wrote.
        grows: whether writing that made the list longer where it was too short.
    """

    element: DType
    shape: Shape
    buffer: OnnxValue | None = None
    length: OnnxValue | None = None
    place: str = ""
    counters: frozenset[str] = frozenset()
    row: OnnxValue | None = None
    grows: bool = False
    declared: Shape | None = None
    const: None = None

    @property
    def dtype(self) -> DType:
        """A list's dtype."""
        return dtypes.variant

    @property
    def ndim(self) -> int:
        """Its rank: a list is one scalar."""
        return 0


def _of_one_length(a: OnnxList, b: OnnxList) -> None:
    """Refuse to add lists of which it is known that one is longer."""
    m, n = (_known_length(x) for x in (a, b))
    if m is not None and n is not None and m != n:
        raise Unlowerable("lists to add up differ in length")


def _known_length(x: OnnxList) -> int | None:
    if x.buffer is not None:
        return x.buffer.dims[0]
    return None if x.length is None or x.length.const is None else int(x.length.const)


class ListsOnnx(ComplexOnnx):
    """Verbs on tensor lists.

    Attributes:
        disorder: the places of lists with which a loop does more than to write one element after the other.
    """

    def __init__(self) -> None:
        super().__init__()
        self.disorder: set[str] = set()

    def lift(self, x: Any, like: OnnxValue | None = None, dtype: DType | None = None) -> Any:
        """Return `x` as a value; lists are values."""
        return x if isinstance(x, OnnxList) else super().lift(x, like, dtype)

    def add(self, x: Any, y: Any) -> Any:
        """Add tensors, or lists element by element."""
        return self.list_add(x, y) if isinstance(x, OnnxList) else super().add(x, y)

    def list_make(self, element_shape: Any, length: Any, most: Any, dtype: DType) -> OnnxList:
        """A list of `length` zeros; a limit is for numpy to keep."""
        if most is not None and int(self.static(self.lift(most), "the limit of a list")) >= 0:
            raise Unlowerable("a list with a limit")
        n = self.cast(self.lift(length, dtype=dtypes.int64), dtypes.int64)
        if n.const is not None and not 0 <= int(n.const) <= _MOST:
            raise Unlowerable("the length of a list")
        shape = self._shape(element_shape)
        return OnnxList(dtype, shape, length=n, declared=shape)

    def list_from(self, tensor: OnnxValue, element_shape: Any, dtype: DType) -> OnnxList:
        """A list of the rows of `tensor`."""
        if not tensor.ndim:
            raise Unlowerable("the rows do not fit the list")
        return OnnxList(dtype, Shape(tensor.dims[1:]), tensor, declared=self._declared(element_shape))

    def list_length(self, x: Any) -> Any:
        """How many elements there are, int32."""
        found = self.plain(x)
        if found.buffer is None:
            assert found.length is not None
            return self.cast(found.length, dtypes.int32)
        return self.cast(self.lift(self.dim(found.buffer, 0), dtype=dtypes.int64), dtypes.int32)

    def list_element_shape(self, x: Any, dtype: DType) -> Any:
        """The shape that all elements agree with."""
        found = self.plain(x)
        shape = found.shape
        if not shape.is_static or found.buffer is not None:  # of tensors it holds, more is known than was declared
            raise Unlowerable("the shape of the elements of a list is not known when compiling")
        return self.constant(np.array(shape.dims, dtype.numpy), dtype)

    def list_get(self, x: Any, index: Any, element_shape: Any) -> Any:
        """The element at `index`."""
        return self.gather(self._allocated(self.plain(x), element_shape), index, 0)

    def list_set(self, x: Any, index: OnnxValue, item: Any, resize: bool) -> OnnxList:
        """The list with `item` at `index`; where it may `resize`, it gets as long as that takes."""
        if isinstance(item, OnnxList):
            raise Unlowerable("a list of lists")
        if isinstance(x, OnnxList) and x.place and x.row is None and index.name in x.counters:
            return dataclasses.replace(x, row=item, grows=resize)
        found = self.plain(x)
        buffer = self._room_for(found, item)
        if resize:
            buffer = self._long_enough(buffer, index)
        at = self.reshape(self.cast(index, dtypes.int64), [1, 1])
        at = self.checked(at, buffer.dims[0])
        made = self._scattered(buffer, at, self.expand_dims(item, (0,)))
        return dataclasses.replace(found, shape=Shape(made.dims[1:]), buffer=made, length=None)

    def list_push(self, x: Any, item: Any) -> OnnxList:
        """The list with one more element."""
        if isinstance(item, OnnxList):
            raise Unlowerable("a list of lists")
        found = self.plain(x)
        rows = self.concat([self._room_for(found, item), self.expand_dims(item, (0,))], 0)
        return dataclasses.replace(found, shape=Shape(rows.dims[1:]), buffer=rows, length=None)

    def list_pop(self, x: Any, element_shape: Any) -> tuple[OnnxList, Any]:
        """The list without its last element, and that element."""
        found = self.plain(x)
        buffer = self._allocated(found, element_shape)
        last = self.constant(np.array(-1, np.int64))
        item = self.typed("Gather", [buffer], dims=buffer.dims[1:], more=[last], axis=0)
        return dataclasses.replace(found, buffer=self.slice_axis(buffer, 0, 0, -1)), item

    def list_add(self, x: Any, y: Any) -> OnnxList:
        """The sums of the elements of two lists of one length."""
        a, b = self.plain(x), self.plain(y)
        if a.buffer is None or b.buffer is None:
            _of_one_length(a, b)
            return a if b.buffer is None else b
        return dataclasses.replace(a, buffer=super().add(a.buffer, b.buffer))

    def list_resize(self, x: Any, size: Any) -> OnnxList:
        """The list, cut off or made longer."""
        found = self.plain(x)
        n = self.cast(self.lift(size, dtype=dtypes.int64), dtypes.int64)
        if found.buffer is None:
            return dataclasses.replace(found, length=n)
        held = self.lift(self.dim(found.buffer, 0), dtype=dtypes.int64)
        return dataclasses.replace(found, buffer=self._cut_or_filled(found.buffer, self.subtract(n, held)))

    def list_stack(self, x: Any, element_shape: Any, expected: int) -> Any:
        """All elements, stacked."""
        buffer = self._allocated(self.plain(x), element_shape)
        if expected >= 0 and buffer.dims[0] not in (None, expected):
            raise Unlowerable("the list has another length")
        return buffer

    def list_gather(self, x: Any, indices: OnnxValue, element_shape: Any) -> Any:
        """The elements at `indices`, stacked."""
        return self.gather(self._allocated(self.plain(x), element_shape), indices, 0)

    def list_scatter(self, tensor: OnnxValue, indices: Any, element_shape: Any, length: Any, dtype: DType) -> Any:
        """A list of `length` elements with the rows of `tensor` at `indices`."""
        n = self.cast(self.lift(length, dtype=dtypes.int64), dtypes.int64)
        count = None if n.const is None else int(n.const)
        if count is not None and count < 0:
            raise Unlowerable("the length of a list is not told")
        whole = count is not None and tensor.dims[0] == count and indices.const is not None
        if whole and indices.const.tolist() == list(range(count or 0)):
            return self.list_from(tensor, element_shape, dtype)
        rows = self.axes(tensor)[:1]
        if rows == self.terms(n) == (self.counts(indices),):
            return self.list_from(tensor, element_shape, dtype)
        buffer = self.room(OnnxList(dtype, Shape.unknown(), length=n), tensor.dims[1:], tensor)
        at = self.checked(self.expand_dims(self.cast(indices, dtypes.int64), (1,)), count)
        shape, declared = Shape(tensor.dims[1:]), self._declared(element_shape)
        return OnnxList(dtype, shape, self._scattered(buffer, at, tensor), declared=declared)

    # --- pieces --------------------------------------------------------------------------------------------------
    def plain(self, x: Any) -> OnnxList:
        """Return a list as one that anything may be done with."""
        if not isinstance(x, OnnxList):
            raise Unlowerable("a tensor list from outside")
        if not x.place:
            return x
        self.disorder.add(x.place)
        return dataclasses.replace(x, place="", row=None)

    def _shape(self, value: Any) -> Shape:
        a = self.static(self.lift(value), "the shape of the elements of a list")
        return Shape.unknown() if a.ndim == 0 else Shape.of(a.tolist())

    def _declared(self, value: Any) -> Shape | None:
        """Return the shape that is given for elements, where it is known when compiling."""
        return self._shape(value) if self.lift(value).const is not None else None

    def _room_for(self, x: OnnxList, item: OnnxValue) -> OnnxValue:
        """Return the buffer of a list whose elements have the sizes of `item`."""
        sized = x.buffer is not None or None not in item.dims
        return self.room(x, item.dims, None if sized else self.expand_dims(item, (0,)))

    def room(self, x: OnnxList, dims: Dims, rows: OnnxValue | None = None) -> OnnxValue:
        """Return the buffer of a list whose elements have the sizes `dims`; those not known, of `rows`."""
        if x.buffer is not None:
            if len(x.buffer.dims) != len(dims) + 1:
                raise Unlowerable("the elements of a list differ in rank")
            return x.buffer
        assert x.length is not None
        if None not in dims:
            sizes = self.constant(np.array(dims, np.int64))
        elif rows is not None:
            sizes = self.slice_axis(self.shape(rows), 0, 1, None)
        else:
            raise Unlowerable("the sizes of the elements of a list are not known when compiling")
        shape = self.concat([self.reshape(x.length, [1]), sizes], 0) if dims else self.reshape(x.length, [1])
        made: OnnxValue = self.full(shape, np.zeros((), x.element.numpy), x.element)
        return dataclasses.replace(made, dims=(made.dims[0], *dims))

    def longer(self, rows: OnnxValue, missing: OnnxValue) -> OnnxValue:
        """Return stacked elements with zeros for `missing` more of them; with none more where that is negative."""
        return self._cut_or_filled(rows, self.maximum(missing, self.constant(np.array(0, np.int64))))

    def _cut_or_filled(self, rows: OnnxValue, more: OnnxValue) -> OnnxValue:
        """Return stacked elements with zeros for `more` of them, or without the last ones where that is negative."""
        before = self.constant(np.zeros(rows.ndim, np.int64))
        pads = self.concat([before, self.reshape(more, [1]), self.constant(np.zeros(rows.ndim - 1, np.int64))], 0)
        made: OnnxValue = self.typed("Pad", [rows], dims=(None, *rows.dims[1:]), more=[pads])
        return made

    def _long_enough(self, buffer: OnnxValue, index: OnnxValue) -> OnnxValue:
        """Return the buffer with room at `index`, unless that is absurd: then writing there fails."""
        at = self.cast(index, dtypes.int64)
        last = self.where(
            self.less(at, self.constant(np.array(_MOST, np.int64))), at, self.constant(np.array(-1, np.int64))
        )
        return self.longer(
            buffer, self.subtract(last, self.subtract(self.lift(self.dim(buffer, 0), dtype=dtypes.int64), 1))
        )

    def _allocated(self, x: OnnxList, element_shape: Any) -> OnnxValue:
        if x.buffer is not None:
            return x.buffer
        shape = x.shape if element_shape is None else x.shape.merge(self._shape(element_shape))
        if shape.dims is None:
            raise Unlowerable("the shape of the elements of a list is not known when compiling")
        return self.room(x, shape.dims)

    def _scattered(self, buffer: OnnxValue, at: OnnxValue, rows: OnnxValue) -> OnnxValue:
        """Write rows; ONNX Runtime refuses indices that are out of range, and knows few dtypes here."""
        wide = _SCATTERED.get(buffer.dtype)
        if wide is None:
            raise Unlowerable(f"lists of {buffer.dtype} in ONNX Runtime")
        made = self.node("ScatterND", [self.cast(buffer, wide), at, self.cast(rows, wide)], dims=buffer.dims)
        return self.cast(made, buffer.dtype)
