"""Gradient rules of reductions and running totals, named after the ops."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np

from coldframe.dtypes import int32
from coldframe.ops.backward import (
    cast,
    conj,
    kept_dims,
    rank_of,
    reduced_shape,
    shape_of,
    size_along,
    size_of,
    take,
    value_of,
)

_ENDS: Any = ml_dtypes.finfo  # knows numpy's floating dtypes too, and has no annotations


def sum_(g: Any, op: Any, dy: Any) -> Any:
    """Repeat the gradient along the axes that were summed."""
    x, axes = op.inputs
    dims, known = x.static_shape.dims, value_of(axes)
    if dims is not None and known is not None:
        if np.array_equal(known, np.arange(len(dims))):
            dy = g.Reshape(dy, np.ones(len(dims), np.int32))
            sizes = g.constant(np.array(dims, np.int32)) if x.static_shape.is_static else shape_of(g, x)
            return g.Tile(dy, sizes), None
        if x.static_shape.is_static:
            kept = reduced_shape(g, x, axes)
            return g.Tile(g.Reshape(dy, kept), np.array(dims, np.int32) // np.maximum(kept, 1)), None
    shape = shape_of(g, x)
    if not op.get_attr("keep_dims"):
        dy = g.Reshape(dy, kept_dims(g, shape, axes))
    return g.BroadcastTo(dy, shape), None


def mean(g: Any, op: Any, dy: Any) -> Any:
    """The gradient of the sum over the number of elements in each average."""
    total, _ = sum_(g, op, dy)
    x, y = op.inputs[0].static_shape, op.outputs[0].static_shape
    if x.is_static and y.is_static:
        return total / g.constant(x.size // max(y.size, 1), total.dtype), None
    shape = shape_of(g, op.inputs[0])
    rank = size_of(g, shape)
    axes = (cast(g, op.inputs[1], int32) + rank) % rank
    return total / cast(g, size_along(g, shape, axes), total.dtype), None


def extreme(g: Any, op: Any, dy: Any) -> Any:
    """Max and Min: elements that are equal to the result share the gradient."""
    x, axes = op.inputs
    y = op.outputs[0]
    if op.get_attr("keep_dims"):
        kept = shape_of(g, y)
    else:
        kept = reduced_shape(g, x, axes)
        y, dy = g.Reshape(y, kept), g.Reshape(dy, kept)
    chosen = cast(g, g.Equal(y, x), dy.dtype)
    number = g.Reshape(g.Sum(chosen, axes), kept)
    return chosen / number * dy, None


def prod(g: Any, op: Any, dy: Any) -> Any:
    """For each element the product of the others: running products from both sides, so that zeros do no harm."""
    x, axes = op.inputs
    shape = shape_of(g, x)
    if not op.get_attr("keep_dims"):
        dy = g.Reshape(dy, reduced_shape(g, x, axes))
    dy = g.BroadcastTo(dy, shape)
    rank = rank_of(g, x)
    reduced = (cast(g, g.Reshape(axes, [-1]), int32) + rank) % rank
    others = g.ListDiff(g.Range(0, rank, 1, name="range"), reduced)[0]
    perm = g.ConcatV2([reduced, others], 0, name="concat")
    sizes = [g.Prod(take(g, shape, part), 0) for part in (reduced, others)]
    moved = g.Transpose(x, perm, name="transpose")
    flat = g.Reshape(moved, sizes)
    left = g.Cumprod(flat, 0, exclusive=True)
    right = g.Cumprod(flat, 0, exclusive=True, reverse=True)
    y = g.Reshape(conj(g, left) * conj(g, right), shape_of(g, moved))
    out = dy * g.Transpose(y, g.InvertPermutation(perm), name="transpose")
    return g.Reshape(out, shape), None


def euclidean_norm(g: Any, op: Any, dy: Any) -> Any:
    x, axes = op.inputs
    y = op.outputs[0]
    if not op.get_attr("keep_dims"):
        kept = reduced_shape(g, x, axes)
        y, dy = g.Reshape(y, kept), g.Reshape(dy, kept)
    return x / (y / dy), None


def l2_loss(g: Any, op: Any, dy: Any) -> Any:
    return op.inputs[0] * dy


def cumsum(g: Any, op: Any, dy: Any) -> Any:
    exclusive, reverse = op.get_attr("exclusive"), op.get_attr("reverse")
    return g.Cumsum(dy, op.inputs[1], exclusive=exclusive, reverse=not reverse), None


def cumprod(g: Any, op: Any, dy: Any) -> Any:
    """The running sum of products and gradients over each element; 0 where an element is 0."""
    x, axis = op.inputs
    exclusive, reverse = op.get_attr("exclusive"), op.get_attr("reverse")
    product = g.Cumprod(x, axis, exclusive=exclusive, reverse=reverse)
    out = g.Cumsum(product * dy, axis, exclusive=exclusive, reverse=not reverse)
    return g.DivNoNan(out, x, name="div_no_nan"), None


def cumulative_logsumexp(g: Any, op: Any, dy: Any) -> Any:
    """Positive and negative gradients are summed apart, as both are summed by their logarithms."""
    x, axis = op.inputs
    y = op.outputs[0]
    lowest = g.constant(_ENDS(dy.dtype.numpy).min, dy.dtype)
    attrs = {"exclusive": op.get_attr("exclusive"), "reverse": not op.get_attr("reverse")}

    def summed(chosen: Any, magnitude: Any) -> Any:
        log = g.SelectV2(chosen, g.Log(magnitude), lowest)
        return g.Exp(g.CumulativeLogsumexp(log - y, axis, **attrs) + x)

    return summed(g.Greater(dy, 0), dy) - summed(g.Less(dy, 0), -dy), None
