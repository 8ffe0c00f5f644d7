"""Tensor lists on XLA: stacked buffers. What the verbs mean: the ops on tensor lists.

Where XLA knows how many elements a list can take, its buffer is made at once; other lists grow by one row at a time,
which a loop can only do when it is known how often it runs.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Final

import jax.numpy as jnp
import numpy as np
from jax import lax

from coldframe.dtypes import DType
from coldframe.errors import MisuseError
from coldframe.primitives.base import Unlowerable
from coldframe.primitives.jax_base import JaxList, Known, fixed, traced
from coldframe.primitives.jax_elementwise import ReduceJax
from coldframe.shapes import Shape

_MOST: Final = 1 << 24  # elements
_KNOWN: Final = 4096  # elements of a tensor that a list only notes once


class ListsJax(ReduceJax):
    """Verbs on tensor lists; no other interpreter has them."""

    def add(self, x: Any, y: Any) -> Any:
        return self.list_add(x, y) if isinstance(x, JaxList) else super().add(x, y)

    def list_make(self, element_shape: Any, length: Any, most: Any, dtype: DType) -> JaxList:
        """A list of `length` zeros, for at most `most` elements, -1 for any number."""
        n, limit = int(fixed(length, "the length of a list")), int(fixed(most, "the length of a list"))
        if n < 0 or n > _MOST or limit > _MOST:
            raise Unlowerable("the length of a list")
        shape = _shape(element_shape)
        return JaxList(dtype, shape, limit if limit >= 0 else None, None, n, declared=shape)

    def list_from(self, tensor: Any, element_shape: Any, dtype: DType) -> JaxList:
        """A list of the rows of `tensor`."""
        shape = _shape(element_shape)
        if not tensor.ndim or not shape.accepts(tensor.shape[1:]):
            raise Unlowerable("the rows do not fit the list")
        n = int(tensor.shape[0])
        return JaxList(dtype, Shape(tuple(tensor.shape[1:])), None, jnp.asarray(tensor), n, declared=shape)

    def list_length(self, x: Any) -> Any:
        length = _list(x).length
        return np.asarray(length, np.int32) if isinstance(length, int) else length

    def list_element_shape(self, x: Any, dtype: DType) -> Any:
        """The shape that all elements agree with, -1 for what is not known of it."""
        dims = _list(x).shape.dims
        return np.array(-1 if dims is None else [-1 if d is None else d for d in dims], dtype.numpy)

    def list_get(self, x: Any, index: Any, element_shape: Any) -> Any:
        """The element at `index`."""
        found = _allocated(_list(x), element_shape)
        self._within(index, found)
        return _row(found.buffer, index)

    def list_set(self, x: Any, index: Any, item: Any, resize: bool) -> JaxList:
        """The list with `item` at `index`."""
        old = _list(x)
        if resize:
            raise Unlowerable("how long the list gets depends on a value")
        _check(old, item)
        if old.buffer is None and old.every is None:
            self._within(index, old)
            return dataclasses.replace(old, single=(index, item), shape=Shape(tuple(item.shape)))
        found = _allocated(old, item.shape)
        self._within(index, found)
        return dataclasses.replace(found, buffer=_written(found.buffer, item, index))

    def list_push(self, x: Any, item: Any) -> JaxList:
        """The list with one more element."""
        old = _list(x)
        _check(old, item)
        if old.most is not None:
            self._or_unlowerable(old.length < old.most, "the list is full")
        if not traced(item) and item.size <= _KNOWN and old.buffer is None and _alike(old, Known.of(item)):
            return dataclasses.replace(old, every=Known.of(item), length=old.length + 1, shape=Shape(item.shape))
        found = written_out(old)
        if isinstance(found.length, int) and found.length and found.buffer is None:
            found = _allocated(found, item.shape)
        if found.most is None:
            if not isinstance(found.length, int):
                raise Unlowerable("how long the list gets is not known when compiling")
            rows = [] if found.buffer is None else [found.buffer[: found.length]]
            grown = jnp.concatenate([*rows, jnp.asarray(item)[None]])
            return dataclasses.replace(found, buffer=grown, length=found.length + 1, shape=Shape(tuple(item.shape)))
        if found.capacity < found.most:
            found = _sized(found, item.shape, found.most)
        buffer = _written(found.buffer, item, found.length)
        return dataclasses.replace(found, buffer=buffer, length=found.length + 1)

    def list_pop(self, x: Any, element_shape: Any) -> tuple[JaxList, Any]:
        """The list without its last element, and that element."""
        found = _list(x)
        self._or_unlowerable(found.length > 0, "the list is empty")
        left = found.length - 1
        if found.every is not None:
            return dataclasses.replace(found, length=left), found.every.array()
        found = _allocated(found, element_shape)
        return dataclasses.replace(found, length=left), _row(found.buffer, left)

    def _or_unlowerable(self, ok: Any, why: str) -> None:
        if not traced(ok) and not ok:
            raise Unlowerable(why)
        self.promise(ok)

    def list_add(self, x: Any, y: Any) -> JaxList:
        """The sums of the elements of two lists of one length; gradients add up."""
        if not isinstance(x, JaxList) or not isinstance(y, JaxList) or x.dtype != y.dtype:
            raise Unlowerable("lists to add up differ")
        if isinstance(x.length, int) and isinstance(y.length, int):
            self._or_unlowerable(x.length == y.length, "lists to add up differ in length")
        else:
            self.promise(x.length == y.length)
        if x.every is not None and y.every is not None:
            return dataclasses.replace(x, every=Known.of(x.every.array() + y.every.array()))
        pair: tuple[JaxList, JaxList] = written_out(x), written_out(y)
        for a, b in (pair, pair[::-1]):
            if b.buffer is None and b.single is None:  # zeros
                return a
            if b.single is not None and a.buffer is not None:
                index, item = b.single
                return dataclasses.replace(a, buffer=_written(a.buffer, _row(a.buffer, index) + item, index))
        first, second = whole(pair[0]), whole(pair[1])
        if first.buffer.shape != second.buffer.shape:
            raise Unlowerable("the buffers of lists to add up differ")
        return dataclasses.replace(first, buffer=first.buffer + second.buffer)

    def list_resize(self, x: Any, size: Any) -> JaxList:
        """The list, cut off or with zeros added so that there are `size`."""
        old, n = written_out(_list(x)), int(fixed(size, "the length of a list"))
        if old.buffer is None:
            return dataclasses.replace(old, length=n)
        have = self._length(old)
        rows = old.buffer[: min(n, have)]
        more = [(0, max(n - have, 0), 0)] + [(0, 0, 0)] * (rows.ndim - 1)
        return dataclasses.replace(old, buffer=lax.pad(rows, np.zeros((), rows.dtype), more), length=n)

    def list_stack(self, x: Any, element_shape: Any, expected: int) -> Any:
        """All elements, stacked; `expected` is how many there must be, -1 for any number."""
        found = _allocated(_list(x), element_shape)
        n = self._length(found, expected)
        return found.buffer if found.capacity == n else found.buffer[:n]

    def list_gather(self, x: Any, indices: Any, element_shape: Any) -> Any:
        """The elements at `indices`, stacked."""
        found = _allocated(_list(x), element_shape)
        self._within(indices, found)
        return jnp.take(found.buffer, indices.ravel(), axis=0, mode="clip")

    def list_scatter(self, tensor: Any, indices: Any, element_shape: Any, length: Any, dtype: DType) -> JaxList:
        """A list of `length` elements with the rows of `tensor` at `indices`."""
        places = fixed(indices, "where the rows go")
        n = int(fixed(length, "the length of a list"))
        n = max([n, *(int(p) + 1 for p in places)]) if n < 0 else n
        empty = _allocated(self.list_make(np.asarray(tensor.shape[1:]), n, -1, dtype), tensor.shape[1:])
        if len(places) != tensor.shape[0] or any(not 0 <= p < n for p in places):
            raise Unlowerable("the rows do not fit the list")
        if not len(places):
            return empty
        if places.tolist() == list(range(n)):
            return dataclasses.replace(empty, buffer=jnp.asarray(tensor))
        return dataclasses.replace(empty, buffer=jnp.asarray(empty.buffer).at[places].set(tensor))

    def _length(self, x: JaxList, expected: int = -1) -> int:
        if isinstance(x.length, int):
            if expected not in (-1, x.length):
                raise Unlowerable("the list has another length")
            return x.length
        if not 0 <= expected <= x.capacity:
            raise Unlowerable("the length of a list is not known when compiling")
        self.promise(x.length == expected)
        return expected

    def _within(self, index: Any, x: JaxList) -> None:
        self.promise((index >= 0) & (index < x.length))


def _list(x: Any) -> JaxList:
    if not isinstance(x, JaxList):
        raise Unlowerable("a tensor list from outside")
    return whole(x)


def whole(x: JaxList) -> JaxList:
    """Return the list with a buffer in place of a single row."""
    if x.single is None:
        return x
    index, item = x.single
    made = _allocated(dataclasses.replace(x, single=None), item.shape)
    return dataclasses.replace(made, buffer=_written(made.buffer, item, index))


def _shape(value: Any) -> Shape:
    a = fixed(value, "the shape of the elements of a list")
    return Shape.unknown() if a.ndim == 0 else Shape.of(a.tolist())


def _check(x: JaxList, item: Any) -> None:
    if not x.shape.accepts(tuple(item.shape)) or item.dtype != x.dtype.numpy:
        raise Unlowerable("the tensor does not fit the list")


def _sized(x: JaxList, shape: Any, capacity: int | None = None) -> JaxList:
    """Return the list with a buffer for `capacity` rows (None: its length), once its elements' shape is known."""
    if shape is None or any(d is None or d < 0 for d in shape):
        return x
    dims = tuple(int(d) for d in shape)
    n = x.length if capacity is None else capacity
    rows = jnp.zeros((n, *dims), x.dtype.numpy)
    if x.buffer is not None and x.capacity:
        rows = lax.dynamic_update_slice(rows, x.buffer, (0,) * rows.ndim)
    return dataclasses.replace(x, shape=Shape(dims), buffer=rows)


def _alike(x: JaxList, item: Known) -> bool:
    """Whether all elements there are, if any, are `item`."""
    return x.every == item if x.every is not None else isinstance(x.length, int) and x.length == 0


def written_out(x: JaxList, capacity: int | None = None) -> JaxList:
    """Return the list with a buffer in place of a known tensor that each element is."""
    if x.every is None:
        return x
    n = capacity if capacity is not None else x.most if x.most is not None else x.length
    if traced(n):
        raise Unlowerable("how long the list gets is not known when compiling")
    value = x.every.array()
    return dataclasses.replace(x, every=None, buffer=jnp.broadcast_to(jnp.asarray(value), (n, *value.shape)))


def _allocated(x: JaxList, element_shape: Any) -> JaxList:
    x = written_out(x)
    if x.buffer is not None:
        return x
    try:
        shape = x.shape if element_shape is None else x.shape.merge(_shape(np.asarray(element_shape)))
    except MisuseError as e:
        raise Unlowerable("the shapes of the list and the op differ") from e
    made = _sized(x, shape.dims)
    if made.buffer is None or traced(made.length):
        raise Unlowerable("the shape of the elements of a list is not known when compiling")
    return made


def _row(buffer: Any, index: Any) -> Any:
    return lax.dynamic_index_in_dim(buffer, index, 0, keepdims=False)


def _written(buffer: Any, item: Any, index: Any) -> Any:
    return lax.dynamic_update_index_in_dim(buffer, jnp.asarray(item), index, 0)
