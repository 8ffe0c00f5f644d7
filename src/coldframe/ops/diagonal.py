"""Diagonals of matrices: making, taking, setting them, and bands.

A band is the diagonals from k[0] (below the main one: negative) to k[1]. As a tensor it has one row per diagonal, the
uppermost first, each as long as the longest; `align` says at which end shorter ones are padded. A mask sets the main
diagonal; everything else is a lookup in the flattened input with the padding behind it, at positions that shapes alone
decide.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from coldframe.dtypes import bool_, int64
from coldframe.ops import inference_index
from coldframe.ops.backward import diagonal as back
from coldframe.ops.shape import dtype_of, scalar
from coldframe.ops.table import alias, op
from coldframe.primitives.base import Unlowerable, refuse
from coldframe.records import dataclass

Positions = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Band:
    """The diagonals `low` to `high` of a matrix of `rows` x `cols`, and where short ones are padded."""

    low: int
    high: int
    rows: int
    cols: int
    align: str = "LEFT_LEFT"

    @property
    def count(self) -> int:
        return self.high - self.low + 1

    def length(self, d: int) -> int:
        """The length of diagonal d."""
        return max(min(self.rows + min(d, 0), self.cols - max(d, 0)), 0)

    @property
    def longest(self) -> int:
        return min(self.rows + min(self.high, 0), self.cols - max(self.low, 0))

    def check(self) -> Band:
        """Refuse a band that the matrix does not have."""
        if self.low > self.high:
            raise refuse("a band of diagonals", expected="k[0] up to k[1]", found=[self.low, self.high])
        for k in (self.low, self.high):
            if not -self.rows < k < self.cols and (k or (self.rows and self.cols)):
                raise refuse(f"diagonal {k}", expected=f"{1 - self.rows} to {self.cols - 1}", found=k)
        return self

    def offset(self, d: int) -> int:
        """Where diagonal d begins in its row."""
        above, below = self.align.split("_")
        right = above == "RIGHT" if d > 0 else below == "RIGHT" if d < 0 else "RIGHT" in (above, below)
        return self.longest - self.length(d) if right else 0

    def taken(self) -> Positions:
        """For each place in the band, the position in the flat matrix, or rows * cols where there is none."""
        out = np.full((self.count, max(self.longest, 0)), self.rows * self.cols, np.int64)
        for row, d in enumerate(range(self.high, self.low - 1, -1)):
            i = np.arange(self.length(d))
            out[row, self.offset(d) + i] = (i - min(d, 0)) * self.cols + i + max(d, 0)
        return out

    def placed(self, width: int) -> Positions:
        """For each place in the matrix, the position in the flat band of `width`, or -1 outside of it."""
        out = np.full((self.rows, self.cols), -1, np.int64)
        for row, d in enumerate(range(self.high, self.low - 1, -1)):
            i = np.arange(self.length(d))
            out[i - min(d, 0), i + max(d, 0)] = row * width + self.offset(d) + i
        return out


def _fixed(xp: Any, x: Any, axis: int) -> int:
    d = xp.dim(x, axis)
    if not isinstance(d, int):
        raise Unlowerable("the size of the matrices is not known when compiling")
    return d


def _lookup(xp: Any, xs: list[Any], batch: list[Any], where: Positions) -> Any:
    """For each entry of the batch, the elements at `where` of what follows in `xs`, flat and one after another."""
    flat = []
    for x in xs:
        size = int(np.prod([_fixed(xp, x, i) for i in range(len(batch), xp.rank(x))]))
        flat.append(xp.reshape(x, [*batch, size]))
    joined = xp.concat(flat, len(batch)) if len(flat) > 1 else flat[0]
    return xp.gather(joined, xp.asarray(where, int64), len(batch))


def _crossed(xp: Any, diagonal: Any, rows: int, cols: int, others: Any) -> Any:
    """The main diagonal alone needs no lookup: it is spread along the longer side and shows where the mask is true."""
    spread = xp.expand_dims(diagonal, [xp.rank(diagonal) - (rows > cols)])
    return xp.where(xp.asarray(np.eye(rows, cols, dtype=np.bool_), bool_), spread, others)


def _batch(xp: Any, x: Any, inner: int, name: str) -> list[Any]:
    n = xp.rank(x) - inner
    if n < 0:
        raise refuse(f"rank of `{name}`", expected=f"at least {inner}", found=xp.rank(x))
    return [xp.dim(x, i) for i in range(n)]


def _zero(xp: Any, x: Any) -> Any:
    kind = dtype_of(xp, x)
    return xp.asarray(b"" if kind.kind == "s" else 0, kind)


def _limits(k: Any) -> tuple[int, int]:
    """The lowest and highest diagonal of an input `k`: a scalar, or a vector of one or two."""
    a = np.asarray(k)
    if a.ndim > 1 or a.size not in (1, 2):
        raise refuse("`k`", expected="a scalar or a vector of one or two", found=f"shape {list(a.shape)}")
    low, high = int(a.ravel()[0]), int(a.ravel()[-1])
    if low > high:
        raise refuse("a band of diagonals", expected="k[0] up to k[1]", found=[low, high])
    return low, high


# --- making matrices ---
def _made(xp: Any, diagonal: Any, low: int, high: int, rows: int, cols: int, padding: Any, align: str) -> Any:
    inner = 1 if low == high else 2
    batch = _batch(xp, diagonal, inner, "diagonal")
    width = _fixed(xp, diagonal, xp.rank(diagonal) - 1)
    least_rows, least_cols = width - min(high, 0), width + max(low, 0)
    if rows == -1 and cols == -1:
        rows = cols = max(least_rows, least_cols)
    rows, cols = (least_rows if rows == -1 else rows), (least_cols if cols == -1 else cols)
    band = Band(low, high, rows, cols, align)
    if inner == 2 and _fixed(xp, diagonal, len(batch)) != band.count:
        raise refuse("the number of diagonals", expected=band.count, found=xp.dim(diagonal, len(batch)))
    if rows < least_rows or cols < least_cols or (rows != least_rows and cols != least_cols):
        raise refuse("size of the matrix", expected=f"{least_rows} rows or {least_cols} columns", found=[rows, cols])
    band.check()
    if low == high == 0:
        return _crossed(xp, diagonal, rows, cols, padding)
    where = band.placed(width)
    where[where < 0] = band.count * width
    return _lookup(xp, [diagonal, xp.full([*batch, 1], padding)], batch, where)


@op("MatrixDiag", gradient=back.matrix_diag, shape="[*b, n] -> [*b, n, n]")
def matrix_diag(xp: Any, diagonal: Any) -> Any:
    """Square matrices with a given main diagonal, zero elsewhere."""
    return _made(xp, diagonal, 0, 0, -1, -1, _zero(xp, diagonal), "LEFT_LEFT")


@op(
    "MatrixDiagV2",
    gradient=back.matrix_diag_v2,
    shape=inference_index.matrix_diag_v2,
    static=("k", "num_rows", "num_cols"),
)
def matrix_diag_v2(xp: Any, diagonal: Any, k: Any, num_rows: Any, num_cols: Any, padding_value: Any) -> Any:
    """Matrices with a given band of diagonals, padded with a value elsewhere."""
    size = scalar(num_rows, "num_rows"), scalar(num_cols, "num_cols")
    return _made(xp, diagonal, *_limits(k), *size, padding_value, "LEFT_LEFT")


@op(
    "MatrixDiagV3",
    gradient=back.matrix_diag_v3,
    shape=inference_index.matrix_diag_v2,
    static=("k", "num_rows", "num_cols"),
)
def matrix_diag_v3(
    xp: Any, diagonal: Any, k: Any, num_rows: Any, num_cols: Any, padding_value: Any, *, align: str
) -> Any:
    """Matrices with a given band of diagonals, whose short ones are aligned, padded with a value elsewhere."""
    size = scalar(num_rows, "num_rows"), scalar(num_cols, "num_cols")
    return _made(xp, diagonal, *_limits(k), *size, padding_value, align)


@op("Diag", gradient=back.diag, shape=inference_index.diag)
def diag(xp: Any, diagonal: Any) -> Any:
    """A tensor of twice the rank that holds x where both halves of the coordinates are equal."""
    sizes = [_fixed(xp, diagonal, i) for i in range(xp.rank(diagonal))]
    if not sizes:
        raise refuse("`diagonal`", expected="at least a vector", found="a scalar")
    made = _made(xp, xp.reshape(diagonal, [int(np.prod(sizes))]), 0, 0, -1, -1, _zero(xp, diagonal), "LEFT_LEFT")
    return xp.reshape(made, sizes * 2)


# --- taking diagonals ---
def _part(xp: Any, x: Any, low: int, high: int, padding: Any, align: str) -> Any:
    batch = _batch(xp, x, 2, "input")
    n = len(batch)
    band = Band(low, high, _fixed(xp, x, n), _fixed(xp, x, n + 1), align).check()
    where = band.taken()
    missing = bool((where == band.rows * band.cols).any())
    if low == high:
        where = where[0]
    return _lookup(xp, [x, xp.full([*batch, 1], padding)] if missing else [x], batch, where)


@op("MatrixDiagPart", gradient=back.matrix_diag_part, shape=inference_index.matrix_diag_part)
def matrix_diag_part(xp: Any, x: Any) -> Any:
    """The main diagonals of matrices."""
    return _part(xp, x, 0, 0, _zero(xp, x), "LEFT_LEFT")


@op("MatrixDiagPartV2", gradient=back.matrix_diag_part_v2, shape=inference_index.matrix_diag_part_v2, static=("k",))
def matrix_diag_part_v2(xp: Any, x: Any, k: Any, padding_value: Any) -> Any:
    """A band of diagonals of matrices, short ones padded at their end."""
    return _part(xp, x, *_limits(k), _single(xp, padding_value), "LEFT_LEFT")


@op("MatrixDiagPartV3", gradient=back.matrix_diag_part_v3, shape=inference_index.matrix_diag_part_v2, static=("k",))
def matrix_diag_part_v3(xp: Any, x: Any, k: Any, padding_value: Any, *, align: str) -> Any:
    """A band of diagonals of matrices, short ones aligned and padded."""
    return _part(xp, x, *_limits(k), _single(xp, padding_value), align)


def _single(xp: Any, padding: Any) -> Any:
    if xp.rank(padding):
        raise refuse("`padding_value`", expected="a scalar", found=f"rank {xp.rank(padding)}")
    return padding


@op("DiagPart", gradient=back.diag_part, shape=inference_index.diag_part)
def diag_part(xp: Any, x: Any) -> Any:
    """The elements of x where both halves of the coordinates are equal."""
    sizes = [_fixed(xp, x, i) for i in range(xp.rank(x))]
    half = len(sizes) // 2
    if not sizes or sizes[:half] != sizes[half:]:
        raise refuse("shape of `input`", expected="two equal halves", found=sizes)
    n = int(np.prod(sizes[:half]))
    part = _part(xp, xp.reshape(x, [n, n]), 0, 0, _zero(xp, x), "LEFT_LEFT")
    return xp.reshape(part, sizes[:half])


# --- setting diagonals, and bands ---
def _set(xp: Any, x: Any, diagonal: Any, low: int, high: int, align: str) -> Any:
    batch = _batch(xp, x, 2, "input")
    n = len(batch)
    band = Band(low, high, _fixed(xp, x, n), _fixed(xp, x, n + 1), align).check()
    want = [*batch, *([] if low == high else [band.count]), band.longest]
    have = [xp.dim(diagonal, i) for i in range(xp.rank(diagonal))]
    pairs = zip(want, have, strict=False)
    if len(want) != len(have) or any(isinstance(a, int) and isinstance(b, int) and a != b for a, b in pairs):
        raise refuse("shape of `diagonal`", expected=want, found=have)
    if low == high == 0:
        return _crossed(xp, diagonal, band.rows, band.cols, x)
    where, own = band.placed(band.longest), np.arange(band.rows * band.cols).reshape(band.rows, band.cols)
    return _lookup(xp, [x, diagonal], batch, np.where(where < 0, own, where + band.rows * band.cols))


@op("MatrixSetDiag", gradient=back.matrix_set_diag, shape=inference_index.matrix_set_diag)
def matrix_set_diag(xp: Any, x: Any, diagonal: Any) -> Any:
    """Matrices with another main diagonal."""
    return _set(xp, x, diagonal, 0, 0, "LEFT_LEFT")


@op("MatrixSetDiagV2", gradient=back.matrix_set_diag_v2, shape=inference_index.matrix_set_diag, static=("k",))
def matrix_set_diag_v2(xp: Any, x: Any, diagonal: Any, k: Any) -> Any:
    """Matrices with another band of diagonals."""
    return _set(xp, x, diagonal, *_limits(k), "LEFT_LEFT")


@op("MatrixSetDiagV3", gradient=back.matrix_set_diag_v3, shape=inference_index.matrix_set_diag, static=("k",))
def matrix_set_diag_v3(xp: Any, x: Any, diagonal: Any, k: Any, *, align: str) -> Any:
    """Matrices with another band of diagonals, whose short ones are aligned."""
    return _set(xp, x, diagonal, *_limits(k), align)


@op(
    "MatrixBandPart",
    gradient=back.matrix_band_part,
    shape="x -> x",
    lenient="more diagonals than there are, where sizes are open when compiling",
    static=("num_lower", "num_upper"),
)
def matrix_band_part(xp: Any, x: Any, num_lower: Any, num_upper: Any) -> Any:
    """Matrices with zeros outside of a band; a negative number of diagonals keeps all of that side."""
    lower, upper = scalar(num_lower, "num_lower"), scalar(num_upper, "num_upper")
    n = len(_batch(xp, x, 2, "input"))
    rows, cols = xp.dim(x, n), xp.dim(x, n + 1)
    for name, k, d in (("num_lower", lower, rows), ("num_upper", upper, cols)):
        if isinstance(d, int) and k > d:
            raise refuse(name, expected=f"at most {d}", found=k)
    zero = xp.asarray(0, int64)
    i = xp.expand_dims(xp.arange(zero, xp.asarray(rows, int64), xp.asarray(1, int64)), [1])
    below = i - xp.arange(zero, xp.asarray(cols, int64), xp.asarray(1, int64))
    keep = [xp.less_equal(below, xp.asarray(lower, int64))] if lower >= 0 else []
    keep += [xp.greater_equal(below, xp.asarray(-upper, int64))] if upper >= 0 else []
    for k in keep:
        x = xp.where(k, x, _zero(xp, x))
    return x


OLD = [
    alias("BatchMatrixDiag", matrix_diag),
    alias("BatchMatrixDiagPart", matrix_diag_part),
    alias("BatchMatrixSetDiag", matrix_set_diag),
    alias("BatchMatrixBandPart", matrix_band_part),
]
