"""Verbs that move elements without computing, as ONNX nodes. What they mean: `numpy_shape`.

A shape argument is a vector value, an array, or a sequence that mixes integers and symbolic scalars. Its length must be
known, since the rank of the result depends on it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from coldframe import dtypes
from coldframe.dtypes import DType
from coldframe.primitives.base import Unlowerable
from coldframe.primitives.numpy_shape import inferred
from coldframe.primitives.onnx_builder import Dims, OnnxValue, carrier
from coldframe.primitives.onnx_elementwise import ReduceOnnx, folds, product
from coldframe.primitives.onnx_layout import without
from coldframe.primitives.onnx_sizes import integers

_END = np.iinfo(np.int64).max

Cut = tuple[Any, Any, int, int | None]


class AskOnnx(ReduceOnnx):
    """What is known of a tensor, and shapes as vectors."""

    def asarray(self, value: Any, dtype: DType) -> OnnxValue:
        """Make a constant."""
        return value if isinstance(value, OnnxValue) else self.constant(value, dtype)

    def static(self, x: Any, why: str = "") -> npt.NDArray[Any]:
        """Return the values of `x`, or raise `Unlowerable` where they are not known."""
        if not isinstance(x, OnnxValue):
            return np.asarray(x)
        if x.const is None:
            raise Unlowerable(f"{why or 'an input'} is not known when compiling")
        return x.const

    def dtype(self, x: OnnxValue) -> np.dtype[Any]:
        """The numpy dtype of `x`."""
        return x.dtype.numpy

    def rank(self, x: OnnxValue) -> int:
        return x.ndim

    def shape(self, x: OnnxValue) -> OnnxValue:
        """The shape as an int64 vector."""
        if None not in x.dims:
            return self.constant(np.array(x.dims, np.int64))
        if x.turned is not None:  # asking for sizes is no reason to move elements
            order = self.constant(np.array(x.turned[1], np.int64))
            out = self.node("Gather", [self.shape(x.turned[0]), order], dims=(x.ndim,), axis=0)
        else:
            out = self.node("Shape", [x], dtype=dtypes.int64, dims=(x.ndim,))
        return dataclasses.replace(out, partial=x.dims)

    def dim(self, x: OnnxValue, axis: int) -> Any:
        """One dimension: an integer where known, else a symbolic int64 scalar."""
        known = x.dims[axis]
        if known is not None:
            return known
        return self.told((self.axes(x)[axis % x.ndim],), (), dtypes.int64)

    def size(self, x: OnnxValue) -> OnnxValue:
        if x.ndim == 1:
            return self.lift(self.dim(x, 0), dtype=dtypes.int64)
        n = product(x.dims)
        return self.constant(np.int64(n)) if n is not None else self.node("Size", [x], dtype=dtypes.int64, dims=())

    def vector(self, shape: Any) -> tuple[OnnxValue, Dims]:
        """Return a shape argument as an int64 vector and its elements as far as known (-1 stays)."""
        if isinstance(shape, OnnxValue):
            if shape.ndim != 1 or shape.dims[0] is None:
                raise Unlowerable("the length of a shape is not known when compiling")
            return self.cast(shape, dtypes.int64), shape.known() or (None,) * shape.dims[0]
        items = shape.tolist() if isinstance(shape, np.ndarray) else list(shape)
        known = tuple(_known(i) for i in items)
        if None not in known:
            return self.constant(np.array(known, np.int64)), known
        parts = [
            self._as_part(i)
            if isinstance(i, OnnxValue) and i.const is None
            else self.constant(np.array([int(i)], np.int64))
            for i in items
        ]
        out = parts[0] if len(parts) == 1 else self.node("Concat", parts, dims=(len(parts),), axis=0)
        return dataclasses.replace(out, partial=known), known

    def _as_part(self, i: OnnxValue) -> OnnxValue:
        """Return a scalar, or a vector of one element, as an int64 vector."""
        found = self.told(self.terms(i), (1,), dtypes.int64)
        one = self.constant(np.array([1], np.int64))
        return self.node("Reshape", [self.cast(i, dtypes.int64), one], dims=(1,)) if found is None else found


def _known(item: Any) -> int | None:
    if isinstance(item, OnnxValue):
        k = item.known()
        return k[0] if k else None
    return int(item)


class ShapeOnnx(AskOnnx):
    """Shape and layout verbs."""

    # --- making -------------------------------------------------------------------------------------------------
    @folds
    def full(self, shape: Any, value: Any, dtype: DType | None = None) -> Any:
        v = self.lift(value, dtype=dtype)
        vector, known = self.vector(shape)
        out = self.typed("Expand", [v], dims=known, more=[vector])
        if v.const is not None and not v.const.any():
            self.zeros.add(out.name)
        return out

    @folds
    def zeros_like(self, x: OnnxValue) -> Any:
        return self.full(self.shape(x), self.constant(0, x.dtype))

    @folds
    def ones_like(self, x: OnnxValue) -> Any:
        return self.full(self.shape(x), self.constant(1, x.dtype))

    @folds
    def arange(self, start: Any, limit: Any, delta: Any) -> Any:
        like = next(v for v in (start, limit, delta) if isinstance(v, OnnxValue))
        a, b, d = (self.lift(v, like=like) for v in (start, limit, delta))
        if a.dtype in (dtypes.float16, dtypes.bfloat16):
            raise Unlowerable("ONNX Runtime does not round between the operations that count half-precision steps")
        if a.dtype.is_float:  # ONNX counts the steps in float64, TensorFlow in the dtype itself
            steps = self.cast(self.ceil(self.abs((b - a) / d)), dtypes.int64)
            return self.cast(self.arange(self.constant(np.int64(0)), steps, 1), a.dtype) * d + a
        if d.const is not None and not d.const.all():  # ONNX Runtime refuses steps of 0 by itself
            raise Unlowerable("a range with a step of 0")
        return self.typed("Range", [a, b, d], dims=(None,))

    # --- layout -------------------------------------------------------------------------------------------------
    @folds
    def reshape(self, x: OnnxValue, shape: Any) -> Any:
        vector, known = self.vector(shape)
        if -1 in known and 0 in known:
            if None in x.dims:
                raise Unlowerable("what -1 stands for beside a size of 0 is not known when compiling")
            known = inferred(tuple(d or 0 for d in x.dims), tuple(k or 0 for k in known))
            vector = self.constant(np.array(known, np.int64))
        total, rest = product(x.dims), product([k for k in known if k != -1])
        if total is not None and rest is not None and (total % rest if -1 in known and rest else total != rest):
            raise Unlowerable(f"{total} elements do not fill {list(known)}")
        same = ((k == d and k is not None) or (k == -1 and rest) for k, d in zip(known, x.dims, strict=False))
        if len(known) == x.ndim and all(same):
            return x  # the shape that it has
        open_ = total // rest if total is not None and rest else None
        dims = tuple(open_ if k == -1 else k for k in known)
        copied = self._copied(x, vector) if None in known else None
        if copied is not None:
            out = self.typed("Reshape", [x], dims=dims, more=[copied], allowzero=0)
            for k, size in enumerate(self.terms(vector) or ()):
                self.same_size(out, k, size)
            return out
        zero = 1 if any(k is None or k == 0 for k in known) else 0  # 0 is a size in TensorFlow, "copy" in ONNX
        out = self.typed("Reshape", [x], dims=dims, more=[vector], allowzero=zero)
        return dataclasses.replace(out, partial=x.partial) if x.partial is not None and len(dims) <= 1 else out

    def _copied(self, x: OnnxValue, shape: OnnxValue) -> OnnxValue | None:
        """Return a constant for a shape whose open sizes are those that `x` has in their places: ONNX's 0."""
        wanted, axes = self.terms(shape), self.axes(x)
        if wanted is None or None in wanted or 0 in wanted:
            return None
        kept = [t if isinstance(t, int) else 0 for t in wanted]
        if any(k == 0 and t not in axes[i : i + 1] for i, (k, t) in enumerate(zip(kept, wanted, strict=True))):
            return None
        return self.constant(np.array(kept, np.int64))

    @folds
    def transpose(self, x: OnnxValue, perm: Sequence[int]) -> Any:
        p = [int(i) for i in perm]
        if p == list(range(x.ndim)):
            return x
        return self._turn(x, p)

    @folds
    def expand_dims(self, x: OnnxValue, axes: Sequence[int]) -> Any:
        rank = x.ndim + len(axes)
        at = sorted(int(a) % rank for a in axes)
        if not at:
            return x
        known = self.told(self.terms(x), (1,), x.dtype) if rank == 1 else None
        if known is not None:
            return known
        dims = list(x.dims)
        for a in at:
            dims.insert(a, 1)
        out = self.typed("Unsqueeze", [x], dims=tuple(dims), more=[self.constant(np.array(at, np.int64))])
        return dataclasses.replace(out, partial=x.partial) if rank == 1 else out

    @folds
    def squeeze(self, x: OnnxValue, axes: Sequence[int]) -> Any:
        at = sorted(int(a) % x.ndim for a in axes)
        if not at:
            return x
        if x.turned is not None:
            source, perm = x.turned
            return self._turn(self.squeeze(source, [perm[a] for a in at]), without(perm, at))
        dims = tuple(d for i, d in enumerate(x.dims) if i not in at)
        known = None if dims else self.told(self.terms(x), dims, x.dtype)
        if known is not None:
            return known
        out = self.typed("Squeeze", [x], dims=dims, more=[self.constant(np.array(at, np.int64))])
        return dataclasses.replace(out, partial=x.partial) if not dims else out

    @folds
    def broadcast_to(self, x: OnnxValue, shape: Any) -> Any:
        vector, known = self.vector(shape)
        return self.typed("Expand", [x], dims=known, more=[vector])

    @folds
    def concat(self, xs: Sequence[OnnxValue], axis: int) -> Any:
        if len(xs) == 1:
            return xs[0]
        at = int(axis) % xs[0].ndim
        along = [x.dims[at] for x in xs]
        total = None if None in along else sum(d for d in along if d is not None)
        partial = _concat_known(xs, along)
        known = self.told(partial, (total,), xs[0].dtype)
        if known is not None:
            return known
        dims = [next((x.dims[i] for x in xs if x.dims[i] is not None), None) for i in range(xs[0].ndim)]
        dims[at] = total
        inner, perm = self._inside(xs)
        if perm is not None and all(v.turned is not None for v in xs):
            return self._turn(self.concat(inner, perm[at]), perm)
        out = self.typed("Concat", list(xs), dims=tuple(dims), axis=at)
        return dataclasses.replace(out, partial=partial)

    @folds
    def stack(self, xs: Sequence[OnnxValue], axis: int) -> Any:
        return self.concat([self.expand_dims(x, [axis]) for x in xs], axis)

    @folds
    def split(self, x: OnnxValue, sizes: Sequence[int], axis: int) -> list[Any]:
        at = int(axis) % x.ndim
        if x.turned is not None:
            source, perm = x.turned
            return [self._turn(p, perm) for p in self.split(source, sizes, perm[at])]
        parts, known = self.vector(sizes)
        if len(known) == 1 and (known == (x.dims[at],) and None not in known):
            return [x]
        work = carrier("Split", x.dtype)
        outs = [(work, (*x.dims[:at], n, *x.dims[at + 1 :])) for n in known]
        return [self.cast(o, x.dtype) for o in self.nodes_out("Split", [self.cast(x, work), parts], outs, axis=at)]

    @folds
    def pad(self, x: OnnxValue, paddings: Any, value: Any = 0) -> Any:
        known = paddings.const if isinstance(paddings, OnnxValue) else np.asarray(paddings)
        each = None if known is None else known.reshape(-1, 2)
        if each is not None and x.turned is not None:
            source, perm = x.turned
            return self._turn(self.pad(source, each[np.argsort(perm)], value), perm)
        if each is not None and x.dtype.is_float and each.any(1).tolist() == [False, True, True, False]:
            first = self._turn(x, (0, 3, 1, 2))  # an image, of which a convolution will want the channels first
            return self._turn(self._padded(first, each[[0, 3, 1, 2]], value), (0, 2, 3, 1))
        return self._padded(x, paddings, value)

    def _padded(self, x: OnnxValue, paddings: Any, value: Any) -> OnnxValue:
        ends, known = self._pads(x, paddings)
        fill = self.lift(value, like=x)
        return self.typed("Pad", [x], dims=known, more=[ends, self._filler(fill, x)])

    def _filler(self, fill: OnnxValue, x: OnnxValue) -> OnnxValue:
        return self.cast(fill, carrier("Pad", x.dtype))

    @folds
    def mirror_pad(self, x: OnnxValue, paddings: Any, symmetric: bool) -> Any:
        if symmetric:
            raise Unlowerable("ONNX has no symmetric padding")
        ends, known = self._pads(x, paddings)
        return self.typed("Pad.reflect", [x], dims=known, more=[ends], mode="reflect")

    def _pads(self, x: OnnxValue, paddings: Any) -> tuple[OnnxValue, Dims]:
        """ONNX wants all the befores, then all the afters, in one vector."""
        if isinstance(paddings, OnnxValue) and paddings.const is None:
            turned = self.transpose(self.cast(paddings, dtypes.int64), [1, 0])
            return self.reshape(turned, [-1]), (None,) * x.ndim
        p = np.asarray(paddings.const if isinstance(paddings, OnnxValue) else paddings, np.int64).reshape(-1, 2)
        known = tuple(None if d is None else d + int(a + b) for d, (a, b) in zip(x.dims, p, strict=True))
        return self.constant(p.T.ravel()), known

    @folds
    def tile(self, x: OnnxValue, multiples: Any) -> Any:
        vector, known = self.vector(multiples)
        dims = tuple(None if d is None or m is None else d * m for d, m in zip(x.dims, known, strict=True))
        return self.typed("Tile", [x], dims=dims, more=[vector])

    @folds
    def slice(self, x: OnnxValue, starts: Any, sizes: Any) -> Any:
        begin, from_ = self.vector(starts)
        size, n = self.vector(sizes)
        if None in n:
            ends = self.where(self.equal(size, -1), self.constant(np.int64(_END)), begin + size)
        elif -1 in n:
            ends = self.where(self.constant(np.array(n) == -1), self.constant(np.int64(_END)), begin + size)
        else:
            ends = begin + size
        dims = tuple(_box(d, b, k) for d, b, k in zip(x.dims, from_, n, strict=True))
        picked, terms = None, self.terms(x)
        if terms is not None and x.ndim == 1 and dims[0] is not None and from_[0] is not None:
            picked = terms[from_[0] : from_[0] + dims[0]]
        known = self.told(picked, dims, x.dtype)
        if known is not None:
            return known
        cut = [k for k in range(x.ndim) if from_[k] != 0 or (n[k] != -1 and (n[k] is None or n[k] != x.dims[k]))]
        if not cut:
            return x
        whole = len(cut) == x.ndim
        begin, ends = (v if whole else self._chosen(v, cut) for v in (begin, ends))
        out = self.typed("Slice", [x], dims=dims, more=[begin, ends, self.constant(np.array(cut, np.int64))])
        return dataclasses.replace(out, partial=integers(picked))

    def _chosen(self, v: OnnxValue, which: Sequence[int]) -> OnnxValue:
        """Return some elements of a vector."""
        at = np.array(which, np.int64)
        if v.const is not None:
            return self.constant(v.const[at])
        return self.node("Gather", [v, self.constant(at)], dims=at.shape, axis=0)

    @folds
    def slice_axis(self, x: OnnxValue, axis: int, start: int, stop: int | None, step: int = 1) -> Any:
        at = int(axis) % x.ndim
        end = (_END if step > 0 else -_END) if stop is None else int(stop)
        d = x.dims[at]
        n = None if d is None else len(range(*slice(start, stop, step).indices(d)))
        terms = self.terms(x)
        picked = terms[start:stop:step] if terms is not None and x.ndim == 1 else None
        known = self.told(picked, (n,), x.dtype)
        if known is not None:
            return known
        vectors = [self.constant(np.array([v], np.int64)) for v in (start, end, at, step)]
        out = self.typed("Slice", [x], dims=(*x.dims[:at], n, *x.dims[at + 1 :]), more=vectors)
        return dataclasses.replace(out, partial=integers(picked))

    @folds
    def strided(self, x: OnnxValue, cuts: Sequence[tuple[Any, Any, int]]) -> Any:
        work = [(axis, *c) for axis, c in enumerate(_cut(d, *c) for d, c in zip(x.dims, cuts, strict=True)) if c]
        if not work:
            return x
        dims = list(x.dims)
        for axis, *_, n in work:
            dims[axis] = n
        picked, terms = None, self.terms(x)
        if terms is not None and x.ndim == 1 and all(isinstance(v, int) for v in work[0][1:4]):
            picked = terms[slice(*cuts[0])]
        known = self.told(picked, tuple(dims), x.dtype)
        if known is not None:
            return known
        axes, begins, ends, strides, _ = zip(*work, strict=True)
        vectors = [self.vector(v)[0] for v in (begins, ends, axes, strides)]
        out = self.typed("Slice", [x], dims=tuple(dims), more=vectors)
        return dataclasses.replace(out, partial=integers(picked))

    @folds
    def reverse(self, x: OnnxValue, axes: Sequence[int]) -> Any:
        if not len(axes):
            return x
        at = np.array([int(a) % x.ndim for a in axes], np.int64)
        vectors = [
            np.full(len(at), -1, np.int64),
            np.full(len(at), -_END, np.int64),
            at,
            np.full(len(at), -1, np.int64),
        ]
        return self.typed("Slice", [x], more=[self.constant(v) for v in vectors])


def _cut(d: int | None, begin: Any, end: Any, stride: int) -> Cut | None:
    """A range of a dimension in ONNX's terms: begin, end, stride, and the size that is left; None for all of it.

    ONNX takes a begin before the first element of a backward slice for the first element; Python's answer is nothing.
    """
    begin, end = (int(v) if isinstance(v, OnnxValue) and v.const is not None else v for v in (begin, end))
    fixed = not isinstance(begin, OnnxValue) and not isinstance(end, OnnxValue)
    if fixed and d is not None:
        r = range(*slice(begin, end, stride).indices(d))
        if len(r) == d and stride == 1:
            return None
        return (r.start, r.stop if r.stop >= 0 else -_END, stride, len(r)) if r else (0, 0, 1, 0)
    if stride < 0 and begin is not None and (not fixed or begin < -1):
        raise Unlowerable("a backward slice from a position that is not known when compiling")
    if fixed and stride == 1 and begin in (None, 0) and end is None:
        return None
    start = begin if begin is not None else 0 if stride > 0 else _END
    stop = end if end is not None else _END if stride > 0 else -_END
    return start, stop, stride, None


def _box(d: int | None, begin: int | None, size: int | None) -> int | None:
    if size is not None and size >= 0:
        return size
    return None if size is None or d is None or begin is None else d - begin


def _concat_known(xs: Sequence[OnnxValue], along: Sequence[int | None]) -> tuple[int | None, ...] | None:
    """The known elements of concatenated integer vectors."""
    if xs[0].ndim != 1 or not xs[0].dtype.is_integer or None in along:
        return None
    out: list[int | None] = []
    for x, n in zip(xs, along, strict=True):
        out.extend(x.known() or (None,) * (n or 0))
    return tuple(out)
