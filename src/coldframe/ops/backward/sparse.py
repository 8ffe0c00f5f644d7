"""Gradient rules of sparse and ragged tensors, named after the ops."""

from __future__ import annotations

from typing import Any

import numpy as np

from coldframe.dtypes import int32, int64
from coldframe.errors import UnsupportedError
from coldframe.ops.backward import (
    adjoint,
    cast,
    filled,
    kept_dims,
    matmul,
    rank_of,
    reshaped_like,
    shape_of,
    size_of,
    take,
    value_of,
    zeros_like,
)
from coldframe.ops.table import Body


# --- the same elements, in another order or fewer -----------------------------------------------------------------
def sparse_reorder(g: Any, op: Any, _: Any, dy: Any) -> Any:
    indices, _, shape = op.inputs
    places = g.Range(0, shape_of(g, indices)[0], 1, name="range")
    ordered = g.SparseReorder(indices, places, shape)[1]
    return None, take(g, dy, g.InvertPermutation(ordered)), None


def sparse_slice(g: Any, op: Any, _: Any, dy: Any, __: Any) -> Any:
    indices, _, _, start, _ = op.inputs
    return None, g.SparseSliceGrad(dy, indices, start, op.outputs[0]), None, None, None


def sparse_fill_empty_rows(g: Any, op: Any, _: Any, dy: Any, *__: Any) -> Any:
    d_values, d_default = g.SparseFillEmptyRowsGrad(op.outputs[3], dy)
    return None, d_values, None, d_default


def ragged_fill_empty_rows(g: Any, op: Any, _: Any, dy: Any, *__: Any) -> Any:
    d_values, d_default = g.RaggedFillEmptyRowsGrad(op.outputs[3], dy)
    return None, d_values, None, d_default


# --- arithmetic ---------------------------------------------------------------------------------------------------
def sparse_add(g: Any, op: Any, _: Any, dy: Any, __: Any) -> Any:
    a_indices, b_indices = op.inputs[0], op.inputs[3]
    da, db = g.SparseAddGrad(dy, a_indices, b_indices, op.outputs[0])
    return None, da, None, None, db, None, None


def sparse_tensor_dense_add(g: Any, op: Any, dy: Any) -> Any:
    return None, g.GatherNd(dy, op.inputs[0]), None, dy


def sparse_reduce_sum(g: Any, op: Any, dy: Any) -> Any:
    """Each element gets the gradient of the sum that it went into."""
    indices, _, shape, axes = op.inputs
    kept = cast(g, _reduced(g, shape, axes), int64)
    sums = g.Reshape(dy, kept)
    return None, g.GatherNd(sums, indices // (shape // kept)), None, None


def _reduced(g: Any, shape: Any, axes: Any) -> Any:
    known, at = value_of(shape), value_of(axes)
    if known is None or at is None:
        return kept_dims(g, shape, axes)
    kept = np.array(known)
    kept[at] = 1
    return g.constant(kept, int64)


def sparse_tensor_dense_mat_mul(g: Any, op: Any, dy: Any) -> Any:
    """For each sparse element the product of a row of the gradient and a row of the dense matrix."""
    indices, values, shape, b = op.inputs
    adj_a, adj_b = op.get_attr("adjoint_a"), op.get_attr("adjoint_b")
    db = g.SparseTensorDenseMatMul(indices, values, shape, dy, adjoint_a=not adj_a)
    if adj_b:
        db = adjoint(g, db)
    rows, columns = indices[:, 0], indices[:, 1]
    of_dy = take(g, dy, columns if adj_a else rows)
    of_b = take(g, g.Transpose(b, [1, 0], name="transpose") if adj_b else b, rows if adj_a else columns)
    x = g.ExpandDims(of_dy, -1 if adj_a else -2)
    y = g.ExpandDims(of_b, -1 if adj_a != adj_b else -2)
    products = matmul(g, x, y, adjoint_a=adj_a, adjoint_b=adj_a == adj_b)
    return None, g.Squeeze(products, squeeze_dims=[-2, -1]), None, db


def sparse_dense_cwise_mul(g: Any, op: Any, dy: Any) -> Any:
    return _cwise(g, op, lambda values, dense: (dy * dense, dy * values))


def sparse_dense_cwise_div(g: Any, op: Any, dy: Any) -> Any:
    return _cwise(g, op, lambda values, dense: (dy / dense, dy * (-values / g.Square(dense))))


def _cwise(g: Any, op: Any, formula: Any) -> Any:
    """The dense operand broadcasts: its gradient adds up what the elements that met it give."""
    indices, values, shape, y = op.inputs
    y_shape = cast(g, shape_of(g, y), int64)
    added = g.ExpandDims(size_of(g, shape) - size_of(g, y_shape), 0)
    wide = g.ConcatV2([filled(g, added, 1, int64, "ones"), y_shape], 0, name="concat")
    places = g.Slice(indices // (shape // wide), g.ConcatV2([[0], added], 0, name="concat"), [-1, -1])
    d_values, each = formula(values, g.GatherNd(y, places))
    return None, d_values, None, g.SparseTensorDenseAdd(places, each, y_shape, zeros_like(g, y))


def sparse_softmax(g: Any, op: Any, dy: Any) -> Any:
    indices, _, shape = op.inputs
    y = op.outputs[0]
    total = -g.SparseReduceSum(indices, y * dy, shape, [-1], keep_dims=True)
    return None, g.SparseDenseCwiseAdd(indices, dy, shape, total) * y, None


CWISE: dict[str, Body] = {"SparseDenseCwiseMul": sparse_dense_cwise_mul, "SparseDenseCwiseDiv": sparse_dense_cwise_div}
REDUCTIONS: dict[str, Body] = {"SparseReduceSum": sparse_reduce_sum}


# --- ragged tensors -----------------------------------------------------------------------------------------------
def ragged_gather(g: Any, op: Any, *dys: Any) -> Any:
    """The rows that were picked are ranges of the innermost values."""
    *splits, values, indices = op.inputs
    ends = splits[0]
    for inner in splits[1:]:
        ends = take(g, inner, ends)
    flat = g.Reshape(indices, [-1])
    one = g.constant(1, ends.dtype)
    picked = g.RaggedRange(take(g, ends, flat), take(g, ends[1:], flat), one, Tsplits=int64)[1]
    return [*[None] * len(splits), g.IndexedSlices(dys[-1], picked, shape_of(g, values)), None]


def ragged_tensor_to_sparse(g: Any, op: Any, *dys: Any) -> Any:
    return [*[None] * (len(op.inputs) - 1), reshaped_like(g, dys[1], op.inputs[-1])]


def ragged_tensor_to_variant(g: Any, op: Any, dy: Any) -> Any:
    """Through the op that adds up the values of the rows."""
    values = op.inputs[-1]
    splits = op.inputs[0] if len(op.inputs) > 1 else g.constant(0, op.get_attr("Tsplits"))
    made = g.RaggedTensorToVariantGradient(dy, splits, shape_of(g, values), Tvalues=values.dtype)
    return [*[None] * (len(op.inputs) - 1), made]


def ragged_tensor_from_variant(g: Any, op: Any, *dys: Any) -> Any:
    rank = op.inputs[0].static_shape.rank
    if rank is not None and rank > 1:
        raise UnsupportedError("the gradient of ragged tensors from a matrix of variants", where=f"at node `{op.name}`")
    batched = op.get_attr("output_ragged_rank") > 0 if rank is None else rank == 1
    return g.RaggedTensorToVariant(list(op.outputs[:-1]), dys[-1], batched_input=batched)


def ragged_tensor_to_tensor(g: Any, op: Any, dy: Any) -> Any:
    """A tensor of positions is padded as the values were: it tells where each value went, and what is padding."""
    _, values, default, *partitions = op.inputs
    types = op.get_attr("row_partition_types")
    ragged_rank = sum(kind not in (b"FIRST_DIM_SIZE", "FIRST_DIM_SIZE") for kind in types)
    shape = shape_of(g, values)
    places = g.RaggedTensorToTensor(
        shape_of(g, dy)[: 1 + ragged_rank], g.Range(0, shape[0], 1, name="range"), g.constant(-1, int32),
        list(partitions), row_partition_types=types,
    )  # fmt: skip
    from_values = g.NotEqual(places, -1)
    d_values = g.IndexedSlices(
        _masked(g, dy, from_values, 1 + ragged_rank), _masked(g, places, from_values, 1 + ragged_rank), shape
    )
    rest = _masked(g, dy, g.LogicalNot(from_values), 1 + ragged_rank)
    axes = g.Range(0, rank_of(g, rest) - _inner_rank(g, default), 1, name="range")
    d_default = reshaped_like(g, g.Sum(rest, axes), default)
    return [None, d_values, d_default, *[None] * len(partitions)]


def _masked(g: Any, x: Any, mask: Any, rank: int) -> Any:
    """The elements of x, of which the first `rank` dimensions are the mask's, where it holds."""
    shape = shape_of(g, x)
    flat = g.Reshape(x, g.ConcatV2([[-1], shape[rank:]], 0, name="concat"))
    return take(g, flat, g.Squeeze(g.Where(g.Reshape(mask, [-1])), squeeze_dims=[1]))


def _inner_rank(g: Any, x: Any) -> Any:
    """The rank of x without leading dimensions of 1."""
    dims = x.static_shape.dims
    if dims is not None:
        ones = next((i for i, d in enumerate(dims) if d != 1), len(dims))
        if ones == len(dims) or dims[ones] is not None:
            return len(dims) - ones
    is_one = cast(g, g.Equal(shape_of(g, x), 1), int32)
    return rank_of(g, x) - g.Sum(g.Cumprod(is_one, 0), [0])
