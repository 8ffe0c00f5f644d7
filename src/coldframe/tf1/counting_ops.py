"""Counts: of values, of labels and predictions, of what falls between bounds; with TF1's Python arguments."""

from __future__ import annotations

from typing import Any

from coldframe import dtypes
from coldframe.tf1.arithmetic_ops import truediv
from coldframe.tf1.cast_ops import cast
from coldframe.tf1.check_ops import Assert, assert_less, assert_non_negative
from coldframe.tf1.clip_ops import clip_by_value
from coldframe.tf1.dependencies import with_dependencies
from coldframe.tf1.framework.build import raw
from coldframe.tf1.framework.convert import constant, convert_to_tensor
from coldframe.tf1.framework.dtype import as_dtype
from coldframe.tf1.framework.graph import name_scope
from coldframe.tf1.index_ops import scatter_nd
from coldframe.tf1.reduce_ops import reduce_max
from coldframe.tf1.shape_ops import ones_like, rank, reshape, shape, size, squeeze, stack


def bincount(
    arr: Any, weights: Any = None, minlength: Any = None, maxlength: Any = None, dtype: Any = dtypes.int32
) -> Any:
    """Return how often each number from 0 on occurs in `arr`, or the sum of the `weights` of its occurrences.

    Args:
        minlength, maxlength: bounds of the length of the result; greater numbers are left out.
        dtype: of the result, without weights.
    """
    with name_scope("bincount"):
        arr = convert_to_tensor(arr, name="arr")
        weights = None if weights is None else convert_to_tensor(weights, name="weights")
        if not arr.dtype.is_integer:
            arr = cast(arr, dtypes.int32)
        length = cast(size(arr) > 0, arr.dtype) * (reduce_max(arr) + 1)
        if minlength is not None:
            length = raw.Maximum(convert_to_tensor(minlength, arr.dtype, name="minlength"), length)
        if maxlength is not None:
            length = raw.Minimum(convert_to_tensor(maxlength, arr.dtype, name="maxlength"), length)
        weights = constant([], dtype) if weights is None else reshape(weights, [-1])
        return raw.DenseBincount(reshape(arr, [-1]), length, weights)


def remove_squeezable_dimensions(
    labels: Any, predictions: Any, expected_rank_diff: int = 0, name: str | None = None
) -> tuple[Any, Any]:
    """Return both, without the last dimension of the one that has a last dimension of 1 too many.

    Args:
        expected_rank_diff: by how much the rank of `predictions` should exceed that of `labels`.
    """
    with name_scope(name, "remove_squeezable_dimensions", [labels, predictions]):
        predictions, labels = convert_to_tensor(predictions), convert_to_tensor(labels)
        p, q = predictions.static_shape.rank, labels.static_shape.rank
        if p is None or q is None:
            return _squeeze_by_rank(labels, predictions, expected_rank_diff)
        if p - q == expected_rank_diff + 1 and predictions.shape[-1].is_compatible_with(1):
            predictions = squeeze(predictions, [-1])
        elif p - q == expected_rank_diff - 1 and labels.shape[-1].is_compatible_with(1):
            labels = squeeze(labels, [-1])
        return labels, predictions


def _squeeze_by_rank(labels: Any, predictions: Any, expected: int) -> tuple[Any, Any]:
    from coldframe.tf1.control_flow import cond

    diff = rank(predictions) - rank(labels)
    if predictions.static_shape.rank is None or predictions.shape[-1].is_compatible_with(1):
        wide = predictions
        predictions = cond(raw.Equal(expected + 1, diff), lambda: squeeze(wide, [-1]), lambda: wide)
    if labels.static_shape.rank is None or labels.shape[-1].is_compatible_with(1):
        deep = labels
        labels = cond(raw.Equal(expected - 1, diff), lambda: squeeze(deep, [-1]), lambda: deep)
    return labels, predictions


def confusion_matrix(
    labels: Any,
    predictions: Any,
    num_classes: Any = None,
    dtype: Any = dtypes.int32,
    name: str | None = None,
    weights: Any = None,
) -> Any:
    """Return ``[num_classes, num_classes]``: how often each label (row) was predicted as each class (column)."""
    with name_scope(name, "confusion_matrix", [predictions, labels, num_classes, weights]):
        labels, predictions = remove_squeezable_dimensions(
            convert_to_tensor(labels, name="labels"), convert_to_tensor(predictions, name="predictions")
        )
        predictions, labels = cast(predictions, dtypes.int64), cast(labels, dtypes.int64)
        labels = with_dependencies([assert_non_negative(labels, message="`labels` contains negative values")], labels)
        predictions = with_dependencies(
            [assert_non_negative(predictions, message="`predictions` contains negative values")], predictions
        )
        if num_classes is None:
            num_classes = raw.Maximum(reduce_max(predictions), reduce_max(labels)) + 1
        else:
            bound = cast(num_classes, dtypes.int64)
            labels = with_dependencies([assert_less(labels, bound, message="`labels` out of bound")], labels)
            predictions = with_dependencies(
                [assert_less(predictions, bound, message="`predictions` out of bound")], predictions
            )
        if weights is not None:
            weights = convert_to_tensor(weights, name="weights")
            predictions.shape.assert_is_compatible_with(weights.shape)
            weights = cast(weights, dtype)
        sizes = stack([num_classes, num_classes])
        indices = stack([labels, predictions], axis=1)
        values = ones_like(predictions, dtype) if weights is None else weights
        return scatter_nd(indices, values, cast(sizes, dtypes.int64))


def histogram_fixed_width(
    values: Any, value_range: Any, nbins: Any = 100, dtype: Any = dtypes.int32, name: str | None = None
) -> Any:
    """Return how many values fall into each of `nbins` parts of `value_range`; the ends hold what is beyond them."""
    with name_scope(name, "histogram_fixed_width", [values, value_range, nbins]) as scope:
        return raw.HistogramFixedWidth(values, value_range, nbins, dtype=as_dtype(dtype), name=scope)


def histogram_fixed_width_bins(
    values: Any, value_range: Any, nbins: Any = 100, dtype: Any = dtypes.int32, name: str | None = None
) -> Any:
    """Return the part of `value_range`, from 0 to ``nbins - 1``, that each value falls into."""
    with name_scope(name, "histogram_fixed_width_bins", [values, value_range, nbins]):
        values = convert_to_tensor(values, name="values")
        dims = shape(values)
        values = reshape(values, [-1])
        value_range = convert_to_tensor(value_range, name="value_range")
        nbins = convert_to_tensor(nbins, dtypes.int32, name="nbins")
        check = Assert(raw.Greater(nbins, 0), [f"nbins {nbins} must > 0"])
        count = cast(with_dependencies([check], nbins), values.dtype)
        scaled = truediv(values - value_range[0], value_range[1] - value_range[0], name="scaled_values")
        indices = raw.Floor(count * scaled, name="indices")
        return reshape(cast(clip_by_value(indices, 0, count - 1), dtypes.int32), dims)


__all__ = [
    "bincount", "confusion_matrix", "histogram_fixed_width", "histogram_fixed_width_bins",
    "remove_squeezable_dimensions",
]  # fmt: skip
