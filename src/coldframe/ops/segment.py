"""Reductions over segments: rows that share an id fall into one row of the result.

Sorted ids (Segment*), any ids (UnsortedSegment*, where a negative one drops its row), and rows picked by an index first
(SparseSegment*). Shapes are ``data [n, ...]``, ``segment_ids [n]``, result ``[segments, ...]``; unsorted ids may have
several leading dimensions of the data. Sums and means, and all of unsorted ids, run on ONNX Runtime too, the others on
numpy: they scatter.
"""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt

from coldframe import dtypes
from coldframe.ops import inference_index
from coldframe.ops.backward import index as back
from coldframe.ops.table import Op, rules
from coldframe.primitives.base import Unlowerable, refuse
from coldframe.primitives.numpy_elementwise import ElementwiseNumpy, widened
from coldframe.primitives.numpy_shape import NO_ROW, combine_cells, dims, sum_equal
from coldframe.records import dataclass

Array = npt.NDArray[Any]
_SORTED = "the number of segments is in the data"
_MANY = 1 << 14  # values that are worth going through by columns
_ENDS: Any = ml_dtypes.finfo  # knows numpy's floating dtypes too, and has no annotations


@dataclass(frozen=True, slots=True)
class _Fold:
    """How the rows of a segment become one.

    Attributes:
        ufunc: what combines two rows.
        end: what it starts from: a number, or ``lowest`` or ``highest`` of the dtype.
        average: the exponent of the number of rows that divides the result (0: none, 1: mean, 0.5: sqrt(n)).
    """

    ufunc: Any
    end: int | str = 0
    average: float = 0

    def start(self, dtype: np.dtype[Any]) -> Any:
        if isinstance(self.end, int):
            return dtype.type(self.end)
        info = np.iinfo(dtype) if dtype.kind in "iu" else _ENDS(dtype)
        return info.min if self.end == "lowest" else info.max

    def over(self, data: Array, ids: Array, segments: int) -> Array:
        """Fold the rows of `data` (first dimension) into `segments` rows; ids are in range."""
        if self.ufunc is np.add and data.dtype.kind == "f" and data.size >= _MANY and segments <= 4 * len(data):
            return self._by_columns(data, ids, segments)
        wide = widened(data)
        out = np.full(dims([segments, *data.shape[1:]]), self.start(data.dtype), wide.dtype)
        if isinstance(self.end, str) and data.dtype.kind in "fV" and np.isnan(data).any():
            self._row_by_row(out, wide, ids)
        else:
            combine_cells(self.ufunc, out, (ids,), wide)
        if self.average:
            count = np.maximum(np.bincount(ids, minlength=segments), 1).reshape([-1] + [1] * (data.ndim - 1))
            out = _divided(out, count**self.average if self.average != 1 else count)
        return out.astype(data.dtype)

    def _by_columns(self, data: Array, ids: Array, segments: int) -> Array:
        """Sums of many rows, column by column: numpy adds up weights faster than it finds rows, and in float64."""
        columns = np.ascontiguousarray(data.reshape(len(data), -1).T)
        out = np.empty(dims([segments, len(columns)]), data.dtype)
        share = np.maximum(np.bincount(ids, minlength=segments), 1) ** self.average
        for j, column in enumerate(columns):
            out[:, j] = np.bincount(ids, column, segments) / share
        return out.reshape(segments, *data.shape[1:])

    def _row_by_row(self, out: Array, data: Array, ids: Array) -> None:
        """Like TensorFlow's kernels, which forget what they had at a NaN, and the NaN at the next number."""
        better = np.greater if self.end == "lowest" else np.less
        for i, row in zip(ids.tolist(), data, strict=True):
            out[i] = np.where(better(out[i], row), out[i], row)


def _divided(total: Array, count: Array) -> Array:
    divisor = count.astype(total.dtype)
    if total.dtype.kind in "iu":
        return ElementwiseNumpy().trunc_divide(total, divisor)  # type: ignore[no-any-return]
    return np.asarray(total / divisor)


FOLDS = {
    "Sum": _Fold(np.add),
    "Mean": _Fold(np.add, average=1),
    "SqrtN": _Fold(np.add, average=0.5),
    "Prod": _Fold(np.multiply, 1),
    "Max": _Fold(np.maximum, "lowest"),
    "Min": _Fold(np.minimum, "highest"),
}
_WHAT = {
    "Sum": "sum", "Mean": "average", "SqrtN": "sum over the root of their number", "Prod": "product",
    "Max": "largest", "Min": "smallest",
}  # fmt: skip


def _sorted(data: Array, ids: Array, segments: int | None, fold: _Fold) -> Array:
    _check_sorted(ids, segments)
    if data.ndim == 0 or len(ids) != len(data):
        raise refuse("one segment id per row", expected=f"{list(data.shape[:1])} ids", found=list(ids.shape))
    n = int(ids[-1]) + 1 if segments is None and len(ids) else segments or 0
    out = fold.over(data, ids, n)
    if isinstance(fold.end, str):  # here segments without rows are 0, not the end of the dtype
        out[np.bincount(ids, minlength=n) == 0] = 0
    return out


def _check_sorted(ids: Array, segments: int | None) -> None:
    if ids.ndim != 1:
        raise refuse("segment ids are a vector", found=f"shape {list(ids.shape)}")
    if len(ids) and (np.any(ids[1:] < ids[:-1]) or ids[0] < 0):
        raise refuse("segment ids do not decrease and are not negative", found=ids[:8].tolist())
    if segments is not None and len(ids) and ids[-1] >= segments:
        raise refuse("a segment id is too large", expected=f"less than {segments}", found=int(ids[-1]))


def _count(segments: Any) -> int:
    if np.ndim(segments):
        raise refuse("the number of segments is a scalar", found=f"shape {list(np.shape(segments))}")
    n = int(segments)
    if n < 0:
        raise refuse("the number of segments is negative", found=n)
    return n


def _on_onnx(xp: Any, data: Any, ids: Any, segments: Any, fold: _Fold) -> Any:
    """Sums, or what averages make of them, where numpy would not refuse the ids; it says why where it does."""
    if data.ndim == 0 or ids.ndim != 1:
        raise Unlowerable("one segment id per row")
    at = xp.cast(ids, dtypes.int64)
    xp.promise(xp.equal(xp.dim(at, 0), xp.dim(data, 0)))
    xp.promise(xp.greater_equal(at, 0))
    xp.promise(xp.greater_equal(xp.slice_axis(at, 0, 1, None), xp.slice_axis(at, 0, 0, -1)))
    if segments is None:
        segments = xp.max(xp.concat([at, xp.constant(np.array([-1], np.int64))], 0), (0,)) + 1
    sums = xp.segment_sums(data, at, segments)
    if not fold.average:
        return sums
    count = xp.maximum(xp.segment_sums(xp.ones_like(at), at, segments), 1)
    count = xp.cast(xp.reshape(count, [-1, *[1] * (data.ndim - 1)]), data.dtype)
    if data.dtype.kind != "f":
        return xp.typed("Div", [sums, count], dims=sums.dims)  # of integers, towards 0
    return sums / (count if fold.average == 1 else xp.sqrt(count))


def _lowered(name: str, run: Any) -> dict[str, Any]:
    """Return the rule for ONNX of what adds up."""
    return {"onnx": run} if FOLDS[name].ufunc is np.add else {}


def _why(name: str) -> str:
    return "" if FOLDS[name].ufunc is np.add else _SORTED


def _segment(name: str) -> Op:
    fold = FOLDS[name]

    def on_onnx(xp: Any, data: Any, ids: Any) -> Any:
        return _on_onnx(xp, data, ids, None, fold)

    def run(xp: Any, data: Any, ids: Any) -> Any:
        return _sorted(data, ids, None, fold)

    run.__doc__ = f"The {_WHAT[name]} of the rows of each segment; 0 (or 1) where there are none."
    return Op(
        f"Segment{name}",
        run,
        rules=rules(gradient=back.SORTED[name]) | _lowered(name, on_onnx),
        shape=inference_index.segment,
        host=_why(name),
    )


def _segment_v2(name: str) -> Op:
    fold = FOLDS[name]

    def on_onnx(xp: Any, data: Any, ids: Any, num_segments: Any) -> Any:
        return _on_onnx(xp, data, ids, num_segments, fold)

    def run(xp: Any, data: Any, ids: Any, num_segments: Any) -> Any:
        return _sorted(data, ids, _count(num_segments), fold)

    run.__doc__ = f"The {_WHAT[name]} of the rows of each of a given number of segments."
    return Op(f"Segment{name}V2", run, rules=_lowered(name, on_onnx), shape=inference_index.segment_v2, host=_why(name))


def _unsorted(name: str) -> Op:
    fold = FOLDS[name]

    def run(xp: Any, data: Any, ids: Any, num_segments: Any) -> Any:
        n = _count(num_segments)
        if data.shape[: ids.ndim] != ids.shape:
            raise refuse("segment ids go with the leading dimensions", expected=list(data.shape), found=list(ids.shape))
        if ids.size and ids.max() >= n:
            raise refuse("a segment id is too large", expected=f"less than {n}", found=int(ids.max()))
        flat, rows = ids.ravel(), data.reshape(ids.size, *data.shape[ids.ndim :])
        if ids.size and ids.min() < 0:
            keep = flat >= 0
            flat, rows = flat[keep], rows[keep]
        return fold.over(rows, flat, n)

    def on_xla(xp: Any, data: Any, ids: Any, num_segments: Any) -> Any:
        n = _count(xp.static(num_segments, "the number of segments"))
        if data.shape[: ids.ndim] != ids.shape:
            raise refuse("segment ids go with the leading dimensions", expected=list(data.shape), found=list(ids.shape))
        return xp.segments(data, ids, n, fold.ufunc.__name__, fold.start(np.dtype(data.dtype)))

    def on_onnx(xp: Any, data: Any, ids: Any, num_segments: Any) -> Any:
        start = fold.start(np.dtype(data.dtype.numpy))
        return xp.segment_sums(data, ids, num_segments, fold.ufunc.__name__, start)

    run.__doc__ = f"The {_WHAT[name]} of the rows of each segment, in any order; negative ids drop rows."
    made = Op(
        f"UnsortedSegment{name}",
        run,
        rules=rules(gradient=back.UNSORTED[name]),
        shape=inference_index.segment_v2,
    )
    made.rules["jax"], made.rules["onnx"] = on_xla, on_onnx
    if name == "Sum":
        made.rules["distinct"] = _sum_of_equal
        made.rules |= {"padded": _sum_of_equal_padded, "padded jax": _sum_of_equal_on_xla}
    return made


def _sum_of_equal(xp: Any, data: Any, ids: Any) -> tuple[Array, Array]:
    """The sums of the rows that have the same id, of any size or sign, and the ids in order of appearance."""
    if ids.ndim != 1 or data.shape[:1] != ids.shape:
        raise refuse("one id per row", expected=f"{list(data.shape[:1])} ids", found=list(ids.shape))
    sums, distinct = sum_equal(ids, widened(data))
    return sums.astype(data.dtype, copy=False), distinct


def _sum_of_equal_padded(xp: Any, data: Any, ids: Any) -> tuple[Array, Array]:
    """The same, with rows of zeros behind, of the id `NO_ROW`, so that there are as many as before."""
    sums, distinct = _sum_of_equal(xp, data, ids)
    more = len(ids) - len(distinct)
    zeros = np.zeros((more, *sums.shape[1:]), sums.dtype)
    return np.concatenate([sums, zeros]), np.concatenate([distinct, np.full(more, NO_ROW, ids.dtype)])


def _sum_of_equal_on_xla(xp: Any, data: Any, ids: Any) -> tuple[Any, Any]:
    if ids.ndim != 1 or data.shape[:1] != ids.shape:
        raise refuse("one id per row", expected=f"{list(data.shape[:1])} ids", found=list(ids.shape))
    return xp.equal_rows(data, ids)  # type: ignore[no-any-return]


def _picked(data: Array, indices: Array, ids: Array) -> Array:
    if indices.ndim != 1 or indices.shape != ids.shape:
        raise refuse("one segment id per index", expected=list(indices.shape), found=list(ids.shape))
    if data.ndim == 0:
        raise refuse("rows of a scalar", expected="at least a vector")
    bad = (indices < 0) | (indices >= len(data))
    if bad.any():
        raise refuse("an index is out of range", expected=f"0 to {len(data) - 1}", found=int(indices[bad][0]))
    return data[indices]


def _sparse(name: str) -> list[Op]:
    fold = FOLDS[name]

    def run(xp: Any, data: Any, indices: Any, ids: Any) -> Any:
        return _sorted(_picked(data, indices, ids), ids, None, fold)

    def run_counted(xp: Any, data: Any, indices: Any, ids: Any, num_segments: Any) -> Any:
        return _sorted(_picked(data, indices, ids), ids, _count(num_segments), fold)

    def on_onnx(xp: Any, data: Any, indices: Any, ids: Any, num_segments: Any = None) -> Any:
        if data.ndim == 0 or indices.ndim != 1:
            raise Unlowerable("rows of a scalar, or one segment id per index")
        return _on_onnx(xp, xp.gather(data, indices, 0), ids, num_segments, fold)

    run.__doc__ = f"The {_WHAT[name]} of the rows at `indices` of each segment."
    run_counted.__doc__ = f"The {_WHAT[name]} of the rows at `indices` of each of a given number of segments."
    hints = ("sparse_gradient",)
    return [
        Op(
            f"SparseSegment{name}",
            run,
            rules=rules(gradient=back.SPARSE[name]) | _lowered(name, on_onnx),
            shape=inference_index.sparse_segment,
            ignores=hints,
        ),
        Op(
            f"SparseSegment{name}WithNumSegments",
            run_counted,
            rules=rules(gradient=back.SPARSE[name]) | _lowered(name, on_onnx),
            shape=inference_index.sparse_segment,
            ignores=hints,
        ),
    ]


SEGMENT = [_segment(n) for n in ("Sum", "Mean", "Prod", "Max", "Min")]
SEGMENT_V2 = [_segment_v2(n) for n in ("Sum", "Prod", "Max", "Min")]
UNSORTED = [_unsorted(n) for n in ("Sum", "Prod", "Max", "Min")]
SPARSE = [o for n in ("Sum", "Mean", "SqrtN") for o in _sparse(n)]
