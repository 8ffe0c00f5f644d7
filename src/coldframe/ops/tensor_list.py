"""Tensor lists: what loops of the second generation read from and write to.

A list is a value like any other: ops return a new one and leave the old one as it was. Along the edges it
flows as the one object of a numpy array of rank 0, so that whatever moves tensors about moves lists about too.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from coldframe.dtypes import DType
from coldframe.errors import MisuseError
from coldframe.ops import inference_state
from coldframe.ops.backward import tensor_list as back
from coldframe.ops.table import op
from coldframe.ops.tensor_array import scalar, stacked, zeros
from coldframe.primitives.base import refuse
from coldframe.primitives.numpy_xp import NumpyPrimitives
from coldframe.records import dataclass
from coldframe.shapes import Shape

_XP: Final = NumpyPrimitives()
_HOST: Final = "tensor lists are not arrays"
_MOST: Final = 1 << 24  # elements; a graph that claims more would only exhaust the memory


@dataclass(frozen=True, slots=True, eq=False)
class TensorList:
    """Tensors of one dtype.

    Attributes:
        dtype: of the elements.
        shape: what all elements' shapes agree with.
        items: the elements; None where there is none yet.
        most: how many it takes; None for any number.
    """

    dtype: DType
    shape: Shape
    items: tuple[Any, ...]
    most: int | None = None

    def with_items(self, items: Sequence[Any]) -> TensorList:
        """Return the list with other elements."""
        return dataclasses.replace(self, items=tuple(items))

    def zeros_like(self) -> TensorList:
        """Return the list with zeros in place of its elements; gradients begin with it."""
        return self.with_items([None if i is None else _XP.zeros_like(np.asarray(i)) for i in self.items])

    def __add__(self, other: Any) -> TensorList:
        """Add up two lists of one length, element by element; gradients do."""
        if not isinstance(other, TensorList) or self.dtype != other.dtype or len(self.items) != len(other.items):
            raise refuse("lists to add up differ in dtype or length")
        pairs = zip(self.items, other.items, strict=True)
        items = [b if a is None else a if b is None else a + b for a, b in pairs]
        return dataclasses.replace(self, shape=_merged(self.shape, other.shape), items=tuple(items))


def _list(value: Any, dtype: DType | None = None) -> TensorList:
    found = value.item() if isinstance(value, np.ndarray) and value.ndim == 0 else value
    if not isinstance(found, TensorList):
        raise refuse("not a tensor list", found=type(found).__name__)
    if dtype is not None and found.dtype != dtype:
        raise refuse("the list holds another dtype", expected=found.dtype, found=dtype)
    return found


def _shape(value: Any) -> Shape:
    """Return the shape that a tensor tells: a vector, -1 for unknown dimensions, or the scalar -1."""
    a = np.asarray(value)
    if a.ndim == 0:
        if int(a) != -1:
            raise refuse("an element shape that is a scalar", expected=-1, found=int(a))
        return Shape.unknown()
    if a.ndim != 1 or (a < -1).any():
        raise refuse("an element shape", expected="a vector of sizes, -1 where unknown", found=a.tolist())
    return Shape.of(a.tolist())


def _merged(a: Shape, b: Shape) -> Shape:
    try:
        return a.merge(b)
    except MisuseError as e:
        raise refuse("the shapes of the list and the op differ", expected=e.expected, found=e.found) from e


def _fits(shape: Shape, value: Any) -> None:
    if not shape.accepts(np.shape(value)):
        raise refuse("the tensor does not fit the list", expected=shape, found=list(np.shape(value)))


def _static(shape: Shape, what: str) -> tuple[int, ...]:
    if not shape.is_static:
        raise refuse(f"{what} and the element shape is not known", found=shape)
    return tuple(d for d in shape if d is not None)


def _inferred(found: TensorList, shape: Shape) -> Shape:
    """Return `shape`, narrowed by the elements there are unless it is known already."""
    if not shape.is_static:
        for item in found.items:
            if item is not None:
                shape = _merged(shape, Shape(tuple(np.shape(item))))
    return shape


def _sized(n: int) -> int:
    if n > _MOST:
        raise refuse("a list of that length", expected=f"at most {_MOST}", found=n)
    return n


# --- making -----------------------------------------------------------------------------------------------------
@op("EmptyTensorList", role="list_empty", shape=inference_state.empty_list, host=_HOST)
def empty_tensor_list(xp: Any, element_shape: Any, max_num_elements: Any, *, element_dtype: DType) -> Any:
    """A list without elements, for at most `max_num_elements` unless that is negative."""
    most = scalar("max_num_elements", max_num_elements)
    return TensorList(element_dtype, _shape(element_shape), (), most if most >= 0 else None)


@empty_tensor_list.rule("jax", "onnx")
def _(xp: Any, element_shape: Any, max_num_elements: Any, *, element_dtype: DType) -> Any:
    return xp.list_make(element_shape, 0, max_num_elements, element_dtype)


@op("TensorListReserve", role="list_reserve", shape=inference_state.list_reserve, host=_HOST)
def tensor_list_reserve(xp: Any, element_shape: Any, num_elements: Any, *, element_dtype: DType) -> Any:
    """A list of `num_elements` places without elements."""
    n = scalar("num_elements", num_elements)
    if n < 0:
        raise refuse("the length of a list", expected="0 or more", found=n)
    return TensorList(element_dtype, _shape(element_shape), (None,) * _sized(n))


@tensor_list_reserve.rule("jax", "onnx")
def _(xp: Any, element_shape: Any, num_elements: Any, *, element_dtype: DType) -> Any:
    return xp.list_make(element_shape, num_elements, -1, element_dtype)


def _rows(tensor: Any, shape: Shape) -> list[Any]:
    if not np.ndim(tensor):
        raise refuse("a tensor to take apart has at least one dimension", found="a scalar")
    if not shape.accepts(np.shape(tensor)[1:]):
        raise refuse("the rows do not fit the list", expected=shape, found=list(np.shape(tensor)[1:]))
    return list(tensor)


@op("TensorListFromTensor", shape=inference_state.list_of, host=_HOST)
def tensor_list_from_tensor(xp: Any, tensor: Any, element_shape: Any, *, element_dtype: DType) -> Any:
    """A list of the rows of `tensor`."""
    shape = _shape(element_shape)
    return TensorList(element_dtype, shape, tuple(_rows(tensor, shape)))


@tensor_list_from_tensor.rule("jax", "onnx")
def _(xp: Any, tensor: Any, element_shape: Any, *, element_dtype: DType) -> Any:
    return xp.list_from(tensor, element_shape, element_dtype)


tensor_list_from_tensor.gradient(back.from_tensor)


def _scattered(items: list[Any], rows: list[Any], indices: Any) -> list[Any]:
    if np.ndim(indices) != 1 or len(indices) != len(rows):
        raise refuse("as many rows as indices", expected=list(np.shape(indices)), found=len(rows))
    places = indices.tolist()
    if any(i < 0 for i in places):
        raise refuse("indices into a list", expected="0 or more", found=min(places))
    items.extend([None] * (_sized(max(places, default=-1) + 1) - len(items)))
    for i, row in zip(places, rows, strict=True):
        items[i] = row
    return items


@op("TensorListScatter", shape=inference_state.list_of, host=_HOST)
def tensor_list_scatter(xp: Any, tensor: Any, indices: Any, element_shape: Any, *, element_dtype: DType) -> Any:
    """A list with the rows of `tensor` at `indices`."""
    shape = _shape(element_shape)
    return TensorList(element_dtype, shape, tuple(_scattered([], _rows(tensor, shape), indices)))


tensor_list_scatter.gradient(back.gathered)


@op("TensorListScatterV2", role="list_scatter", shape=inference_state.list_of, host=_HOST)
def tensor_list_scatter_v2(
    xp: Any, tensor: Any, indices: Any, element_shape: Any, num_elements: Any, *, element_dtype: DType
) -> Any:
    """A list of `num_elements` places (-1: as many as needed) with the rows of `tensor` at `indices`."""
    shape, n = _shape(element_shape), scalar("num_elements", num_elements)
    if n < -1:
        raise refuse("the length of a list", expected="-1 or more", found=n)
    items = _scattered([None] * _sized(max(n, 0)), _rows(tensor, shape), indices)
    if n >= 0 and len(items) > n:
        raise refuse("index beyond the list", expected=f"below {n}", found=len(items) - 1)
    return TensorList(element_dtype, shape, tuple(items))


@tensor_list_scatter_v2.rule("jax", "onnx")
def _(xp: Any, tensor: Any, indices: Any, element_shape: Any, num_elements: Any, *, element_dtype: DType) -> Any:
    return xp.list_scatter(tensor, indices, element_shape, num_elements, element_dtype)


tensor_list_scatter_v2.gradient(back.gathered)


@op("TensorListScatterIntoExistingList", shape=inference_state.list_updated, host=_HOST)
def tensor_list_scatter_into_existing_list(
    xp: Any, input_handle: Any, tensor: Any, indices: Any, *, element_dtype: DType
) -> Any:
    """The list with the rows of `tensor` at `indices`, longer where they need it."""
    old = _list(input_handle, element_dtype)
    return old.with_items(_scattered(list(old.items), _rows(tensor, old.shape), indices))


tensor_list_scatter_into_existing_list.gradient(back.scatter_into_existing_list)


@op("TensorListSplit", shape=inference_state.split_list, host=_HOST)
def tensor_list_split(xp: Any, tensor: Any, element_shape: Any, lengths: Any, *, element_dtype: DType) -> Any:
    """A list of pieces of `tensor`, of `lengths` along its first dimension."""
    shape = _shape(element_shape)
    if np.ndim(lengths) != 1:
        raise refuse("lengths must be a vector", found=f"shape {list(np.shape(lengths))}")
    if shape.dims == () or not Shape(shape.dims and (None, *shape.dims[1:])).accepts(np.shape(tensor)):
        raise refuse("the tensor does not fit the list", expected=shape, found=list(np.shape(tensor)))
    rows = _rows(tensor, Shape.unknown())
    if any(n < 0 for n in lengths.tolist()) or int(lengths.sum()) != len(rows):
        raise refuse("lengths must add up to the rows", expected=len(rows), found=int(lengths.sum()))
    ends = np.cumsum(lengths).tolist()
    items = tuple(tensor[end - n : end] for end, n in zip(ends, lengths.tolist(), strict=True))
    for item in items:
        _fits(shape, item)
    return TensorList(element_dtype, shape, items)


tensor_list_split.gradient(back.split)


# --- what it is -------------------------------------------------------------------------------------------------
@op("TensorListLength", role="list_length", no_gradient=True, shape="-> []", host=_HOST)
def tensor_list_length(xp: Any, input_handle: Any) -> Any:
    """How many places the list has."""
    return np.int32(len(_list(input_handle).items))


@tensor_list_length.rule("jax", "onnx")
def _(xp: Any, input_handle: Any) -> Any:
    return xp.list_length(input_handle)


@op("TensorListElementShape", shape=inference_state.list_shape, no_gradient=True, host=_HOST)
def tensor_list_element_shape(xp: Any, input_handle: Any, *, shape_type: DType) -> Any:
    """The shape that all elements agree with, -1 for what is not known of it."""
    dims = _list(input_handle).shape.dims
    return np.array(-1 if dims is None else [-1 if d is None else d for d in dims], shape_type.numpy)


@tensor_list_element_shape.rule("jax", "onnx")
def _(xp: Any, input_handle: Any, *, shape_type: DType) -> Any:
    return xp.list_element_shape(input_handle, shape_type)


# --- single elements --------------------------------------------------------------------------------------------
@op("TensorListGetItem", role="list_get", shape=inference_state.list_item, host=_HOST)
def tensor_list_get_item(xp: Any, input_handle: Any, index: Any, element_shape: Any, *, element_dtype: DType) -> Any:
    """The element at `index`; zeros where there is none yet and the shape is known."""
    source, i = _list(input_handle, element_dtype), scalar("an index", index)
    if not 0 <= i < len(source.items):
        raise refuse("index beyond the list", expected=f"below {len(source.items)}", found=i)
    if source.items[i] is not None:
        return source.items[i]
    shape = _inferred(source, _merged(source.shape, _shape(element_shape)))
    return zeros(_static(shape, f"there is no element {i} yet"), element_dtype)


@tensor_list_get_item.rule("jax", "onnx")
def _(xp: Any, input_handle: Any, index: Any, element_shape: Any, *, element_dtype: DType) -> Any:
    return xp.list_get(input_handle, index, element_shape)


tensor_list_get_item.gradient(back.get_item)


@op("TensorListSetItem", role="list_set", shape=inference_state.list_updated, host=_HOST)
def tensor_list_set_item(
    xp: Any, input_handle: Any, index: Any, item: Any, *, element_dtype: DType, resize_if_index_out_of_bounds: bool
) -> Any:
    """The list with `item` at `index`."""
    old, i = _list(input_handle, element_dtype), scalar("an index", index)
    if i < 0 or (i >= len(old.items) and not resize_if_index_out_of_bounds):
        raise refuse("index beyond the list", expected=f"below {len(old.items)}", found=i)
    _fits(old.shape, item)
    items = list(old.items)
    items.extend([None] * (_sized(i + 1) - len(items)))
    items[i] = item
    return old.with_items(items)


@tensor_list_set_item.rule("jax", "onnx")
def _(
    xp: Any, input_handle: Any, index: Any, item: Any, *, element_dtype: DType, resize_if_index_out_of_bounds: bool
) -> Any:
    return xp.list_set(input_handle, index, item, resize_if_index_out_of_bounds)


tensor_list_set_item.gradient(back.set_item)


@op("TensorListPushBack", role="list_push", shape=inference_state.list_updated, host=_HOST)
def tensor_list_push_back(xp: Any, input_handle: Any, tensor: Any, *, element_dtype: DType) -> Any:
    """The list with `tensor` as one more element at its end."""
    return _pushed(_list(input_handle, element_dtype), tensor)


@tensor_list_push_back.rule("jax", "onnx")
def _(xp: Any, input_handle: Any, tensor: Any, *, element_dtype: DType) -> Any:
    return xp.list_push(input_handle, tensor)


tensor_list_push_back.gradient(back.push_back)


def _pushed(old: TensorList, tensor: Any) -> TensorList:
    _fits(old.shape, tensor)
    if old.most is not None and len(old.items) >= old.most:
        raise refuse("the list is full", expected=f"at most {old.most} elements")
    return old.with_items((*old.items, tensor))


@op("TensorListPopBack", role="list_pop", shape=inference_state.list_pop, host=_HOST)
def tensor_list_pop_back(xp: Any, input_handle: Any, element_shape: Any, *, element_dtype: DType) -> Any:
    """The list without its last element, and that element."""
    old = _list(input_handle, element_dtype)
    if not old.items:
        raise refuse("the list is empty")
    item = old.items[-1]
    if item is None:
        shape = _merged(old.shape, _shape(element_shape))
        item = zeros(_static(shape, "there is no last element yet"), element_dtype)
    return old.with_items(old.items[:-1]), item


@tensor_list_pop_back.rule("jax", "onnx")
def _(xp: Any, input_handle: Any, element_shape: Any, *, element_dtype: DType) -> Any:
    return xp.list_pop(input_handle, element_shape)


tensor_list_pop_back.gradient(back.pop_back)


@op("TensorListPushBackBatch", shape="x -> x", no_gradient=True, host=_HOST)
def tensor_list_push_back_batch(xp: Any, input_handles: Any, tensor: Any, *, element_dtype: DType) -> Any:
    """Each list with one more element: lists and elements are the rows of the inputs."""
    if np.ndim(tensor) < 1 or np.shape(tensor)[:1] != np.shape(input_handles):
        raise refuse("as many lists as rows", expected=list(np.shape(tensor)[:1]), found=list(np.shape(input_handles)))
    out = np.empty(len(tensor), object)
    for i, row in enumerate(tensor):
        out[i] = _pushed(_list(input_handles[i], element_dtype), row)
    return out


@op("TensorListResize", shape=inference_state.list_updated, host=_HOST)
def tensor_list_resize(xp: Any, input_handle: Any, size: Any) -> Any:
    """The list, cut off or with places added so that there are `size`."""
    old, n = _list(input_handle), scalar("size", size)
    if n < 0:
        raise refuse("the length of a list", expected="0 or more", found=n)
    return old.with_items(old.items[:n] + (None,) * (_sized(n) - len(old.items)))


@tensor_list_resize.rule("jax", "onnx")
def _(xp: Any, input_handle: Any, size: Any) -> Any:
    return xp.list_resize(input_handle, size)


tensor_list_resize.gradient(back.resize)


# --- all elements at once ---------------------------------------------------------------------------------------
def _stack(source: TensorList, items: Sequence[Any], element_shape: Any, dtype: DType) -> Any:
    shape = _merged(source.shape, _shape(element_shape))
    if not shape.is_static:
        shape = _inferred(dataclasses.replace(source, items=tuple(items)), shape)
    dims = _static(shape, "no elements to stack")
    for item in items:
        if item is not None and np.shape(item) != dims:
            raise refuse("the elements' shapes differ", expected=list(dims), found=list(np.shape(item)))
    return stacked([zeros(dims, dtype) if i is None else i for i in items], dims, dtype)


@op("TensorListStack", shape=inference_state.list_stack, host=_HOST)
def tensor_list_stack(
    xp: Any, input_handle: Any, element_shape: Any, *, element_dtype: DType, num_elements: int
) -> Any:
    """All elements, stacked; zeros where there is none yet."""
    source = _list(input_handle, element_dtype)
    if num_elements != -1 and num_elements != len(source.items):
        raise refuse("the list has another length", expected=num_elements, found=len(source.items))
    return _stack(source, source.items, element_shape, element_dtype)


@tensor_list_stack.rule("jax", "onnx")
def _(xp: Any, input_handle: Any, element_shape: Any, *, element_dtype: DType, num_elements: int) -> Any:
    return xp.list_stack(input_handle, element_shape, num_elements)


tensor_list_stack.gradient(back.stack)


@op("TensorListGather", role="list_gather", shape=inference_state.list_gather, host=_HOST)
def tensor_list_gather(xp: Any, input_handle: Any, indices: Any, element_shape: Any, *, element_dtype: DType) -> Any:
    """The elements at `indices`, stacked; zeros where there is none yet."""
    source = _list(input_handle, element_dtype)
    places = np.ravel(indices).tolist()
    for i in places:
        if not 0 <= i < len(source.items):
            raise refuse("index beyond the list", expected=f"below {len(source.items)}", found=i)
    return _stack(source, [source.items[i] for i in places], element_shape, element_dtype)


@tensor_list_gather.rule("jax", "onnx")
def _(xp: Any, input_handle: Any, indices: Any, element_shape: Any, *, element_dtype: DType) -> Any:
    return xp.list_gather(input_handle, indices, element_shape)


tensor_list_gather.gradient(back.gather)


def _joined(source: TensorList, element_shape: Shape, leading: Sequence[int], dtype: DType) -> Any:
    shape = _merged(source.shape, element_shape)
    if shape.dims == ():
        raise refuse("elements to concatenate have at least one dimension")
    first = None if shape.dims is None else shape.dims[0]
    rest = Shape(None if shape.dims is None else shape.dims[1:])
    found = [i for i in source.items if i is not None]
    for item in found:
        if not np.ndim(item):
            raise refuse("elements to concatenate have at least one dimension")
        rest = _merged(rest, Shape(tuple(np.shape(item)[1:])))
    dims = _static(rest, "no elements to concatenate")
    lengths = {np.shape(i)[0] for i in found}
    if first is None and len(lengths) == 1:
        first = lengths.pop()
    parts: list[Any] = []
    for k, item in enumerate(source.items):
        if item is None:
            n = leading[k] if k < len(leading) else first
            if n is None:
                raise refuse(f"there is no element {k} yet and its length is not known")
            item = zeros((n, *dims), dtype)
        parts.append(item)
    whole = np.concatenate(parts) if parts else zeros((0, *dims), dtype)
    return whole, np.array([len(p) for p in parts], np.int64)


@op("TensorListConcat", shape=inference_state.list_concat_v1, host=_HOST)
def tensor_list_concat(xp: Any, input_handle: Any, *, element_dtype: DType, element_shape: Shape) -> Any:
    """All elements, one after the other along their first dimension, and how long each is."""
    return _joined(_list(input_handle, element_dtype), element_shape, (), element_dtype)


tensor_list_concat.gradient(back.cut)


@op("TensorListConcatV2", shape=inference_state.list_concat, host=_HOST)
def tensor_list_concat_v2(
    xp: Any, input_handle: Any, element_shape: Any, leading_dims: Any, *, element_dtype: DType
) -> Any:
    """All elements, one after the other, and how long each is; `leading_dims` for those not there yet."""
    leading = np.ravel(leading_dims).tolist()
    return _joined(_list(input_handle, element_dtype), _shape(element_shape), leading, element_dtype)


tensor_list_concat_v2.gradient(back.cut)


@op("TensorListConcatLists", shape="x -> x", no_gradient=True, host=_HOST)
def tensor_list_concat_lists(xp: Any, input_a: Any, input_b: Any, *, element_dtype: DType) -> Any:
    """Lists with the elements of both, element by element of the inputs."""
    if np.shape(input_a) != np.shape(input_b):
        raise refuse("lists of lists differ", expected=list(np.shape(input_a)), found=list(np.shape(input_b)))
    out = np.empty(np.shape(input_a), object)
    flat = out.reshape(-1)
    for i, (a, b) in enumerate(zip(np.ravel(input_a), np.ravel(input_b), strict=True)):
        flat[i] = _both(a, b, element_dtype)
    return flat.reshape(out.shape)


def _both(a: Any, b: Any, dtype: DType) -> TensorList:
    left, right = _list(a, dtype), _list(b, dtype)
    if left.shape != right.shape:
        raise refuse("the lists' element shapes differ", expected=left.shape, found=right.shape)
    return left.with_items(left.items + right.items)
