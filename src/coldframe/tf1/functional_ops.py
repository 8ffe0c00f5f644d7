"""Loops over the first axis: map, fold, scan."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from coldframe import dtypes
from coldframe.shapes import Shape
from coldframe.tf1.framework import nest
from coldframe.tf1.framework.build import raw
from coldframe.tf1.framework.convert import constant, convert_to_tensor
from coldframe.tf1.framework.graph import name_scope
from coldframe.tf1.framework.tensor import Tensor
from coldframe.tf1.tensor_array import TensorArray
from coldframe.tf1.while_loop import while_loop


class _Rows:
    """The elements to go over: nested tensors, unpacked along their first axis."""

    def __init__(self, elems: Any) -> None:
        self.structure = elems
        self.tensors: list[Tensor] = [convert_to_tensor(e, name="elem") for e in nest.flatten(elems)]
        if not self.tensors:
            raise ValueError("elems must contain at least one tensor")
        self.count = self._count()
        self.arrays = [TensorArray(t.dtype, size=self.count).unstack(t) for t in self.tensors]

    def _count(self) -> Any:
        for t in self.tensors:
            dims = t.static_shape.dims
            if dims == ():
                raise ValueError("Elements in elems must be 1+ dimensional Tensors, not scalars")
            if dims is not None and dims[0] is not None:
                return constant(dims[0], dtypes.int32, name="num_elems")
        return raw.Shape(self.tensors[0])[0]

    @property
    def static_count(self) -> int | None:
        value = self.count.known.value
        return None if value is None else int(value)

    def at(self, index: Any) -> Any:
        return nest.pack_sequence_as(self.structure, [a.read(index) for a in self.arrays])

    def stacked(self, structure: Any, arrays: list[TensorArray]) -> Any:
        """Return what was written, one tensor per array, in a structure."""
        results = []
        for a in arrays:
            t = a.stack()
            dims = t.static_shape.dims
            if dims is not None:
                t.set_shape(Shape((self.static_count, *dims[1:])))
            results.append(t)
        return nest.pack_sequence_as(structure, results)


def map_fn(
    fn: Callable[..., Any], elems: Any, dtype: Any = None, parallel_iterations: int | None = None,
    back_prop: bool = True, swap_memory: bool = False, infer_shape: bool = True, name: str | None = None,
    fn_output_signature: Any = None,
) -> Any:  # fmt: skip
    """Return `fn` of each element along the first axis, stacked.

    Args:
        elems: a tensor, or a nested structure of tensors of the same first size.
        dtype: the dtypes of what `fn` returns, in its structure; those of `elems` otherwise.
    """
    if not callable(fn):
        raise TypeError(f"fn must be callable: {fn!r}")
    dtype = fn_output_signature if dtype is None else dtype
    with name_scope(name, "map", nest.flatten(elems)):
        rows = _Rows(elems)
        kinds = dtype if dtype is not None else nest.map_structure(lambda e: convert_to_tensor(e).dtype, elems)
        arrays = [TensorArray(d, size=rows.count, infer_shape=infer_shape) for d in nest.flatten(kinds)]

        def step(i: Any, written: Any) -> Any:
            values = fn(rows.at(i))
            nest.assert_same_structure(kinds, values)
            return i + 1, [a.write(i, v) for a, v in zip(written, nest.flatten(values), strict=True)]

        _, done = while_loop(
            lambda i, _: raw.Less(i, rows.count), step, (constant(0), arrays), maximum_iterations=rows.count
        )
        return rows.stacked(kinds, done)


def foldl(
    fn: Callable[..., Any], elems: Any, initializer: Any = None, parallel_iterations: int = 10,
    back_prop: bool = True, swap_memory: bool = False, name: str | None = None,
) -> Any:  # fmt: skip
    """Return ``fn(... fn(fn(initializer, elems[0]), elems[1]) ...)``; without one, it starts from the first element."""
    return _fold("foldl", fn, elems, initializer, name, False)


def foldr(
    fn: Callable[..., Any], elems: Any, initializer: Any = None, parallel_iterations: int = 10,
    back_prop: bool = True, swap_memory: bool = False, name: str | None = None,
) -> Any:  # fmt: skip
    """Return what `foldl` returns for the elements in reverse order."""
    return _fold("foldr", fn, elems, initializer, name, True)


def _fold(kind: str, fn: Callable[..., Any], elems: Any, initializer: Any, name: str | None, reverse: bool) -> Any:
    with name_scope(name, kind, nest.flatten(elems)):
        rows = _Rows(elems)
        last = rows.count - 1
        start, first = constant(0), initializer
        if initializer is None:
            first, start = rows.at(last if reverse else constant(0)), constant(1)
        first = nest.map_structure(convert_to_tensor, first)

        def step(i: Any, total: Any) -> Any:
            return i + 1, fn(total, rows.at(last - i if reverse else i))

        loop = while_loop(lambda i, _: raw.Less(i, rows.count), step, (start, first), maximum_iterations=rows.count)
        return loop[1]


def scan(
    fn: Callable[..., Any], elems: Any, initializer: Any = None, parallel_iterations: int = 10,
    back_prop: bool = True, swap_memory: bool = False, infer_shape: bool = True, reverse: bool = False,
    name: str | None = None,
) -> Any:  # fmt: skip
    """Return all the totals that `foldl` goes through, stacked."""
    with name_scope(name, "scan", nest.flatten(elems)):
        rows = _Rows(elems)
        last = rows.count - 1

        def place(i: Any) -> Any:
            return last - i if reverse else i

        start, first = constant(0), initializer
        if initializer is None:
            first, start = rows.at(place(constant(0))), constant(1)
        first = nest.map_structure(convert_to_tensor, first)
        flat = nest.flatten(first)
        arrays = [
            TensorArray(t.dtype, size=rows.count, element_shape=t.static_shape if infer_shape else None,
                        infer_shape=infer_shape)
            for t in flat
        ]  # fmt: skip
        if initializer is None:
            arrays = [a.write(place(constant(0)), t) for a, t in zip(arrays, flat, strict=True)]

        def step(i: Any, total: Any, written: Any) -> Any:
            following = fn(total, rows.at(place(i)))
            nest.assert_same_structure(first, following)
            pairs = zip(written, nest.flatten(following), strict=True)
            return i + 1, following, [a.write(place(i), t) for a, t in pairs]

        loop = while_loop(
            lambda i, *_: raw.Less(i, rows.count), step, (start, first, arrays), maximum_iterations=rows.count
        )
        return rows.stacked(first, loop[2])


__all__ = ["foldl", "foldr", "map_fn", "scan"]
