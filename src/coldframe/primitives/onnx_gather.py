"""Gathering, scattering and selecting, as ONNX nodes. What they mean: `numpy_shape`.

ONNX Runtime wraps negative indices where TensorFlow refuses them, and ignores others: indices are checked here, or the
node is left to numpy. Those that are fed are looked at before the run.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from coldframe import dtypes
from coldframe.primitives.base import Unlowerable
from coldframe.primitives.onnx_builder import Dims, OnnxValue, carrier
from coldframe.primitives.onnx_elementwise import folds, product
from coldframe.primitives.onnx_layout import without
from coldframe.primitives.onnx_shape import ShapeOnnx
from coldframe.primitives.onnx_sizes import integers

_SCATTERED_WIDER = (dtypes.bool_, dtypes.int8, dtypes.int16, dtypes.uint8, dtypes.uint16)

_SCATTERS = ("float32", "float64", "int32", "int64")  # what ONNX Runtime's ScatterElements combines, checked by test


class GatherOnnx(ShapeOnnx):
    """Verbs that pick and place elements by index."""

    @folds
    def gather(self, x: OnnxValue, indices: Any, axis: int = 0) -> Any:
        at = int(axis) % x.ndim
        i = self.checked(self.lift(indices, dtype=dtypes.int64), x.dims[at])
        return self._take(x, i, at)

    def _take(self, x: OnnxValue, i: OnnxValue, at: int) -> Any:
        if x.turned is not None and not i.ndim:
            source, perm = x.turned
            return self._turn(self._take(source, i, perm[at]), without(perm, [at]))
        dims = x.dims[:at] + i.dims + x.dims[at + 1 :]
        n = self.counts(i)
        if n is not None and n == self.axes(x)[at]:  # all, in order
            return x
        picked, terms = None, self.terms(x)
        if terms is not None and x.ndim == 1 and i.const is not None and i.ndim < 2:
            picked = tuple(terms[int(k)] for k in i.const.ravel())
        known = self.told(picked, dims, x.dtype)
        if known is not None:
            return known
        if i.const is not None and i.dims == (1,) and (part := self.part(x, int(i.const[0]))) is not None:
            return part
        out = self.typed("Gather", [x], dims=dims, more=[i], axis=at)
        return dataclasses.replace(out, partial=integers(picked))

    @folds
    def pick(self, x: OnnxValue, index: Any, axis: int) -> Any:
        i = self.indices(self.lift(index, dtype=dtypes.int64))
        d = x.dims[axis]
        if i.const is not None and d is not None and not -d <= int(i.const) < d:
            raise Unlowerable("an index is out of range")
        return self._take(x, i, axis)

    def indices(self, i: OnnxValue) -> OnnxValue:
        """Return indices in a dtype that ONNX takes for them."""
        return i if i.dtype in (dtypes.int32, dtypes.int64) else self.cast(i, dtypes.int64)

    def checked(self, i: OnnxValue, size: int | None) -> OnnxValue:
        """Return indices of which negative ones are refused as TensorFlow does: ONNX counts those from the end."""
        if i.const is not None:
            if i.const.size and (i.const.min() < 0 or (size is not None and i.const.max() >= size)):
                raise Unlowerable("an index is out of range")
            return self.indices(i)
        wide = self.indices(i)
        if self.natural(i) or self.sees_to("natural", wide):
            return wide
        beyond = self.constant(np.array(np.iinfo(wide.dtype.numpy).max, wide.dtype.numpy))
        return self.node("Where", [self.less(wide, 0), beyond, wide], dtype=wide.dtype, dims=wide.dims)

    def sees_to(self, what: str, x: OnnxValue) -> bool:
        """See `Origins.see_to`."""
        return self.origins.see_to(what, x.name, [i.name for i in self.inputs])

    @folds
    def require(self, x: OnnxValue, ok: Any, what: str) -> Any:
        """Where `ok` fails a lookup fails: what it looks up is 0, and added to `x`."""
        if ok is True or (isinstance(ok, OnnxValue) and ok.const is not None and ok.const.all()):
            return x
        if not isinstance(ok, OnnxValue) or ok.const is not None:
            raise Unlowerable(what)
        nothing = self.constant(np.zeros(1, x.dtype.numpy), x.dtype)
        at = self.cast(self.logical_not(ok), dtypes.int32)
        return x + self.node("Gather", [nothing, at], dims=at.dims, axis=0)

    @folds
    def gather_nd(self, x: OnnxValue, indices: OnnxValue, batch_dims: int = 0) -> Any:
        k = indices.dims[-1]
        if k is None:
            raise Unlowerable("the length of coordinates is not known when compiling")
        if k == 0:
            raise Unlowerable("coordinates of length 0")
        dims = indices.dims[:-1] + x.dims[batch_dims + k :]
        at = self._coordinates(indices, x.dims[batch_dims : batch_dims + k])
        return self.typed("GatherND", [x], dims=dims, more=[at], batch_dims=batch_dims)

    def _coordinates(self, indices: OnnxValue, sizes: Dims) -> OnnxValue:
        if indices.const is None:
            return self.checked(self.cast(indices, dtypes.int64), None)
        for j, size in enumerate(sizes):
            self.checked(self.constant(indices.const[..., j]), size)
        return self.cast(indices, dtypes.int64)

    @folds
    def take_along_axis(self, x: OnnxValue, indices: OnnxValue, axis: int) -> Any:
        return self.typed(
            "GatherElements", [x], dims=indices.dims, more=[self.indices(indices)], axis=int(axis) % x.ndim
        )

    @folds
    def scatter_nd(self, x: OnnxValue, indices: OnnxValue, updates: OnnxValue, how: str = "update") -> Any:
        k = indices.dims[-1]
        if k is None or k == 0:
            raise Unlowerable("the length of coordinates is not known when compiling")
        at = self._coordinates(indices, x.dims[:k])
        if how == "update":  # repeated indices: any of the updates may win, as TensorFlow says too
            return self.typed(
                "ScatterND", [x], dims=x.dims, more=[at, self.cast(updates, carrier("ScatterND", x.dtype))]
            )
        if how == "subtract":
            updates, how = self.neg(updates), "add"
        reduction = {"add": "add", "multiply": "mul", "maximum": "max", "minimum": "min"}.get(how)
        if x.dtype in _SCATTERED_WIDER and reduction is not None:  # bool: some update is true; integers: modulo
            wide = self._scatter_rows(self.cast(x, dtypes.int32), at, self.cast(updates, dtypes.int32), k, reduction)
            return self.not_equal(wide, 0) if x.dtype is dtypes.bool_ else self.cast(wide, x.dtype)
        if reduction is None or x.dtype.name not in _SCATTERS:
            raise Unlowerable(f"ONNX Runtime does not scatter {x.dtype} by {how}")
        return self._scatter_rows(x, at, updates, k, reduction)

    def _scatter_rows(self, x: OnnxValue, at: OnnxValue, updates: OnnxValue, k: int, reduction: str) -> Any:
        """Combine rows by ScatterElements: ScatterND's threads lose updates where an index is repeated."""
        inner: Any = product(x.dims[k:])
        if inner is None:
            inner = self.prod(self.slice_axis(self.shape(x), 0, k, None), (0,))
        elif inner == 0 or (at.const is not None and not at.const.size):
            return x
        rows = self.reshape(self._linear(x, at, k), [-1, 1])
        table = self.reshape(x, [self.prod(self.slice_axis(self.shape(x), 0, 0, k), (0,)), inner])
        n = self.dim(rows, 0)
        new = self.reshape(updates, [n, inner])
        where = self.broadcast_to(rows, [n, inner])
        out = self.typed("ScatterElements", [table], more=[where, new], axis=0, reduction=reduction)
        return self.reshape(out, self.shape(x))

    def _linear(self, x: OnnxValue, at: OnnxValue, k: int) -> Any:
        """Row numbers from coordinates, each of which must be in range."""
        if k == 1:
            return at
        sizes = self.vector([self.dim(x, j) for j in range(k)])[0]
        at = self.require(at, self.less(at, sizes), "an index is out of range")
        row = self._take(at, self.constant(np.int64(0)), at.ndim - 1)
        for j in range(1, k):
            row = row * self.dim(x, j) + self._take(at, self.constant(np.int64(j)), at.ndim - 1)
        return row

    @folds
    def one_hot(self, indices: OnnxValue, depth: Any, axis: int = -1) -> Any:
        at = axis if axis >= 0 else indices.ndim + 1 + axis
        line = self.arange(self.constant(np.int64(0)), self.lift(depth, dtype=dtypes.int64), self.constant(np.int64(1)))
        line = self.reshape(line, [-1] + [1] * (indices.ndim - at))
        return self.equal(self.expand_dims(self.cast(indices, dtypes.int64), [at]), line)

    @folds
    def nonzero(self, x: OnnxValue) -> Any:
        if not x.ndim:
            raise Unlowerable("coordinates of a scalar")
        if not x.dtype.is_integer and x.dtype is not dtypes.bool_ and not x.dtype.is_float:
            raise Unlowerable(f"ONNX Runtime has no NonZero on {x.dtype}")
        flag = x if x.dtype is dtypes.bool_ else self.not_equal(x, 0)
        return self.transpose(self.node("NonZero", [flag], dtype=dtypes.int64, dims=(x.ndim, None)), [1, 0])

    @folds
    def top_k(self, x: OnnxValue, k: Any) -> tuple[Any, Any]:
        work = carrier("TopK", x.dtype)
        count, known = self.vector([k])
        dims = (*x.dims[:-1], known[0])
        values, where = self.nodes_out(
            "TopK", [self.cast(x, work), count], [(work, dims), (dtypes.int64, dims)], axis=-1
        )
        return self.cast(values, x.dtype), self.cast(where, dtypes.int32)


Cut = tuple[Any, Any, int, int | None]
