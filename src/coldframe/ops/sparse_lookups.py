"""Rows of a table looked up by the ids of a sparse tensor: forty small nodes that are one step on numpy.

``tf.nn.safe_embedding_lookup_sparse``, and with it every embedding and linear model on sparse feature columns, is
written like this, around a table, ids at coordinates (example, place), and the number of examples::

    ids below 0 are left out         GreaterEqual, Where, two GatherV2
    examples without ids get one     SparseFillEmptyRows
    distinct ids are looked up       Unique, GatherV2; or no such nodes, and the next looks up
    an example's rows are combined   StridedSlice, SparseSegmentSum (or Mean, SqrtN)
    examples without ids are zeros   Reshape, Tile, ZerosLike, Select

Around it stand reshapes that change nothing where there are two dimensions. `LOOKUPS` are the patterns, and
`looked_up` does the same in a few calls of numpy, or says that it cannot.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from coldframe.ops.patterns import Any_, Constant, Either, N, Pattern, Slot
from coldframe.ops.segment import FOLDS
from coldframe.records import dataclass

Array = npt.NDArray[Any]
INDICES: Final = Any_("indices")
VALUES: Final = Any_("values")
SHAPE: Final = Any_("shape")
TABLE: Final = Any_("table")
FILL: Final = Any_("fill")
ROWS: Final = Any_("rows")
NEW: Final = Any_("new")
_AXIS: Final = Constant((0,))
_FEW: Final = 1024  # examples, whose numbers are kept
_SIZES: Final = 16  # of batches, for which they are
_INT64: Final = np.dtype(np.int64)
_UNSIGNED: Final[dict[Any, Any]] = {_INT64: np.dtype(np.uint64), np.dtype(np.int32): np.dtype(np.uint32)}


@dataclass(frozen=True, slots=True)
class Lookup:
    """One way to write it.

    Attributes:
        pattern: the nodes, over `INDICES`, `VALUES` and `SHAPE` of the sparse tensor, `TABLE`, and `FILL`, the id that
            examples without ids get.
        combiner: what becomes of an example's rows: Sum, Mean or SqrtN.
        filters: ids below 0 are left out.
        zeros: examples without ids become zeros rather than the row of the fill.
    """

    pattern: N
    combiner: str
    filters: bool
    zeros: bool

    def run(self, table: Array, indices: Array, values: Array, shape: Array, fill: Array) -> Array | None:
        """Return the combined rows, [examples, ...]; None where the nodes themselves are to answer or to refuse.

        Args:
            table: the rows, float32 or float64, [n, ...].
            indices: coordinates, int64 [k, 2], in the order of examples.
            values: ids, int32 or int64 [k].
            shape: the shape of the sparse tensor, int64 [2].
            fill: an id, a scalar.
        """
        if indices.ndim != 2 or shape.shape != (2,) or values.shape != indices.shape[:1] or fill.ndim:
            return None
        if not table.ndim or table.dtype.kind != "f" or table.itemsize < 4 or not 0 <= fill.item() < len(table):
            return None
        examples, at = shape.item(0), indices[:, 0]
        if not 1 <= examples <= 1024 + 64 * len(values):  # for more, the nodes are to say what they think of it
            return None
        if not _inside(values, len(table)):
            if not self.filters:
                return None
            kept = values >= 0
            at, values = at[kept], values[kept]
            if not _inside(values, len(table)):
                return None
        if len(at) == examples and _counts_up(at):
            return table.take(values, 0)
        return self._combined(table, at, values, examples, int(fill)) if _in_order(at, examples) else None

    def _combined(self, table: Array, at: Array, values: Array, examples: int, fill: int) -> Array:
        out: Array = FOLDS[self.combiner].over(table[values], at, examples)
        empty = np.bincount(at, minlength=examples) == 0
        if empty.any():
            out[empty] = 0 if self.zeros else table[fill]
        return out


def _counts_up(at: Array) -> bool:
    """Whether it is 0, 1, 2, ..."""
    count = len(at)
    return at.tobytes() == _counted(count) if count <= _FEW else bool((at == np.arange(count)).all())


@functools.lru_cache(_SIZES)
def _counted(count: int) -> bytes:
    return np.arange(count, dtype=_INT64).tobytes()


def _inside(values: Array, rows: int) -> bool:
    # Those below 0 are large.
    return not len(values) or bool(np.maximum.reduce(values.view(_UNSIGNED[values.dtype])) < rows)


def _in_order(at: Array, examples: int) -> bool:
    return not len(at) or bool(at[0] >= 0 and at[-1] < examples and (at[1:] >= at[:-1]).all())


def _gathered(table: Pattern, ids: Pattern) -> Either:
    ways = N("ResourceGather", table, ids, batch_dims=0), N("GatherV2", table, ids, _AXIS, batch_dims=0)
    return Either((*ways, N("Gather", table, ids)))


def _column(indices: Pattern) -> Either:
    """The first numbers of coordinates, as int64 or cast to int32."""
    cut = N(
        "StridedSlice", indices, Constant((0, 0)), Constant((None, 1)), Constant((1, 1)),
        begin_mask=1, end_mask=1, shrink_axis_mask=2, ellipsis_mask=0, new_axis_mask=0,
    )  # fmt: skip
    return Either((cut, N("Cast", cut)))


def _written(combiner: str, filters: bool, zeros: bool, distinct: bool) -> N:
    indices: Pattern = INDICES
    values: Pattern = VALUES
    if filters:
        kept = N("Reshape", N("Where", N("GreaterEqual", VALUES, Constant((0,)))), Constant((-1,)))
        indices, values = _gathered(INDICES, kept), _gathered(VALUES, kept)
    filled = N("SparseFillEmptyRows", indices, values, SHAPE, FILL)
    rows: Pattern = TABLE
    ids = Slot(filled, 1)
    if distinct:
        unique = N("Unique", ids)
        rows, ids = _gathered(TABLE, Slot(unique, 0)), Slot(unique, 1)
    sums = N(f"SparseSegment{combiner}", rows, ids, _column(Slot(filled, 0)))
    if not zeros:
        return sums
    empty = N("Reshape", Slot(filled, 2), Constant((-1, 1)))
    wide = Either((N("Pack", Constant((1,)), Any_("width")), Constant((1, None))))
    return N("Select", N("Tile", empty, wide), N("ZerosLike", sums), sums)


def _all() -> Iterator[Lookup]:
    yes_no = (True, False)
    for zeros, combiner, filters, distinct in itertools.product(yes_no, ("Sum", "Mean", "SqrtN"), yes_no, yes_no):
        yield Lookup(_written(combiner, filters, zeros, distinct), combiner, filters, zeros)


@functools.cache
def lookups() -> tuple[Lookup, ...]:
    """Return the ways to write it; those that are parts of others come later."""
    return tuple(_all())


ESSENTIAL: Final = "SparseFillEmptyRows"
"""The op that every lookup has."""

RESHAPED: Final = N("SparseReshape", INDICES, SHAPE, NEW)
"""What may stand before a lookup, with both its outputs, and change nothing."""

RETURNED: Final = N("Reshape", ROWS, NEW)
"""What may stand after a lookup and change nothing."""
