"""Metrics that are means: of values, of errors, of right answers."""

from __future__ import annotations

from typing import Any

from coldframe import dtypes
from coldframe.tf1.arithmetic_ops import abs as absolute
from coldframe.tf1.arithmetic_ops import (
    div_no_nan,
    divide,
    equal,
    greater,
    less,
    maximum,
    multiply,
    not_equal,
    sqrt,
    squared_difference,
    subtract,
)
from coldframe.tf1.array_ops import diag_part, ones, ones_like, reshape, size, where, zeros_like
from coldframe.tf1.cast_ops import cast
from coldframe.tf1.counting_ops import confusion_matrix, remove_squeezable_dimensions
from coldframe.tf1.framework.convert import convert_to_tensor
from coldframe.tf1.framework.graph import control_dependencies
from coldframe.tf1.metrics.base import assign_add, collect, fitted, metric_variable
from coldframe.tf1.reduce_ops import reduce_mean, reduce_sum
from coldframe.tf1.state_ops import scatter_add
from coldframe.tf1.variable_scope import variable_scope
from coldframe.tf1.weights_broadcast import broadcast_weights

Metric = tuple[Any, Any]


def _ratio(total: Any, count: Any, name: str) -> Any:
    return div_no_nan(total, maximum(count, 0), name=name)


def mean(
    values: Any, weights: Any = None, metrics_collections: Any = None, updates_collections: Any = None,
    name: str | None = None,
) -> Metric:  # fmt: skip
    """Return the mean of all elements of all batches."""
    with variable_scope(name, "mean", [values, weights]):
        values = cast(values, dtypes.float32)
        total = metric_variable([], dtypes.float32, name="total")
        count = metric_variable([], dtypes.float32, name="count")
        if weights is None:
            number = cast(size(values), dtypes.float32)
        else:
            values, _, weights = fitted(values, None, weights)
            weights = broadcast_weights(cast(weights, dtypes.float32), values)
            values = multiply(values, weights)
            number = reduce_sum(weights)
        new_total = assign_add(total, reduce_sum(values))
        with control_dependencies([values]):
            new_count = assign_add(count, number)
        value = collect(metrics_collections, _ratio(total, count, "value"))
        return value, collect(updates_collections, _ratio(new_total, new_count, "update_op"))


def mean_tensor(
    values: Any, weights: Any = None, metrics_collections: Any = None, updates_collections: Any = None,
    name: str | None = None,
) -> Metric:  # fmt: skip
    """Return the mean over batches, element by element."""
    with variable_scope(name, "mean", [values, weights]):
        values = cast(values, dtypes.float32)
        total = metric_variable(values.get_shape(), dtypes.float32, name="total_tensor")
        count = metric_variable(values.get_shape(), dtypes.float32, name="count_tensor")
        number = ones_like(values)
        if weights is not None:
            values, _, weights = fitted(values, None, weights)
            weights = broadcast_weights(cast(weights, dtypes.float32), values)
            values = multiply(values, weights)
            number = multiply(number, weights)
        new_total = assign_add(total, values)
        with control_dependencies([values]):
            new_count = assign_add(count, number)
        value = collect(metrics_collections, _ratio(total, count, "value"))
        return value, collect(updates_collections, _ratio(new_total, new_count, "update_op"))


def accuracy(
    labels: Any, predictions: Any, weights: Any = None, metrics_collections: Any = None,
    updates_collections: Any = None, name: str | None = None,
) -> Metric:  # fmt: skip
    """Return how often `predictions` equal `labels`."""
    predictions, labels, weights = fitted(predictions, labels, weights)
    predictions.get_shape().assert_is_compatible_with(labels.get_shape())
    if labels.dtype is not predictions.dtype:
        predictions = cast(predictions, labels.dtype)
    right = cast(equal(predictions, labels), dtypes.float32)
    return mean(right, weights, metrics_collections, updates_collections, name or "accuracy")


def percentage_below(
    values: Any, threshold: Any, weights: Any = None, metrics_collections: Any = None,
    updates_collections: Any = None, name: str | None = None,
) -> Metric:  # fmt: skip
    """Return which fraction of the values is below `threshold`."""
    below = cast(less(values, threshold), dtypes.float32)
    return mean(below, weights, metrics_collections, updates_collections, name or "percentage_below_threshold")


# --- errors -------------------------------------------------------------------------------------------------------
def mean_absolute_error(
    labels: Any, predictions: Any, weights: Any = None, metrics_collections: Any = None,
    updates_collections: Any = None, name: str | None = None,
) -> Metric:  # fmt: skip
    """Return the mean of ``|predictions - labels|``."""
    predictions, labels, weights = fitted(predictions, labels, weights)
    errors = absolute(predictions - labels)
    return mean(errors, weights, metrics_collections, updates_collections, name or "mean_absolute_error")


def mean_squared_error(
    labels: Any, predictions: Any, weights: Any = None, metrics_collections: Any = None,
    updates_collections: Any = None, name: str | None = None,
) -> Metric:  # fmt: skip
    """Return the mean of ``(predictions - labels) ** 2``."""
    predictions, labels, weights = fitted(predictions, labels, weights)
    errors = squared_difference(labels, predictions)
    return mean(errors, weights, metrics_collections, updates_collections, name or "mean_squared_error")


def root_mean_squared_error(
    labels: Any, predictions: Any, weights: Any = None, metrics_collections: Any = None,
    updates_collections: Any = None, name: str | None = None,
) -> Metric:  # fmt: skip
    """Return the square root of the mean squared error."""
    predictions, labels, weights = fitted(predictions, labels, weights)
    value, update = mean_squared_error(labels, predictions, weights, None, None, name or "root_mean_squared_error")
    root = collect(metrics_collections, sqrt(value))
    return root, collect(updates_collections, sqrt(update))


def mean_relative_error(
    labels: Any, predictions: Any, normalizer: Any, weights: Any = None, metrics_collections: Any = None,
    updates_collections: Any = None, name: str | None = None,
) -> Metric:  # fmt: skip
    """Return the mean of ``|labels - predictions| / normalizer``; 0 where the normalizer is 0."""
    predictions, labels, weights = fitted(predictions, labels, weights)
    predictions, normalizer = remove_squeezable_dimensions(predictions, normalizer)
    predictions.get_shape().assert_is_compatible_with(normalizer.get_shape())
    errors = where(equal(normalizer, 0.0), zeros_like(labels), divide(absolute(labels - predictions), normalizer))
    return mean(errors, weights, metrics_collections, updates_collections, name or "mean_relative_error")


def mean_cosine_distance(
    labels: Any, predictions: Any, dim: int, weights: Any = None, metrics_collections: Any = None,
    updates_collections: Any = None, name: str | None = None,
) -> Metric:  # fmt: skip
    """Return the mean of ``1 - sum(labels * predictions)`` along `dim`, both of length 1 already."""
    predictions, labels, weights = fitted(predictions, labels, weights)
    products = reduce_sum(multiply(predictions, labels), axis=[dim], keepdims=True)
    value, update = mean(products, weights, None, None, name or "mean_cosine_distance")
    value, update = subtract(1.0, value), subtract(1.0, update)
    return collect(metrics_collections, value), collect(updates_collections, update)


# --- classes ------------------------------------------------------------------------------------------------------
def _flat(x: Any) -> Any:
    n = x.get_shape().ndims
    return reshape(x, [-1]) if n is not None and n > 1 else x


def mean_iou(
    labels: Any, predictions: Any, num_classes: int, weights: Any = None, metrics_collections: Any = None,
    updates_collections: Any = None, name: str | None = None,
) -> Metric:  # fmt: skip
    """Return the mean over classes of intersection over union; the update returns the confusion matrix."""
    with variable_scope(name, "mean_iou", [predictions, labels, weights]):
        predictions, labels = convert_to_tensor(predictions), convert_to_tensor(labels)
        predictions.get_shape().assert_is_compatible_with(labels.get_shape())
        total = metric_variable([num_classes, num_classes], dtypes.float64, name="total_confusion_matrix")
        predictions, labels = cast(predictions, dtypes.int64), cast(labels, dtypes.int64)
        classes = cast(num_classes, dtypes.int64)
        predictions, labels = _flat(predictions), _flat(labels)
        weights = None if weights is None else _flat(convert_to_tensor(weights))
        batch = confusion_matrix(labels, predictions, classes, weights=weights, dtype=dtypes.float64)
        update = assign_add(total, batch)
        value = collect(metrics_collections, _iou(total))
        return value, collect(updates_collections, update)


def _iou(matrix: Any) -> Any:
    rows = cast(reduce_sum(matrix, 0), dtypes.float32)
    columns = cast(reduce_sum(matrix, 1), dtypes.float32)
    both = cast(diag_part(matrix), dtypes.float32)
    either = rows + columns - both
    valid = reduce_sum(cast(not_equal(either, 0), dtypes.float32))
    either = where(greater(either, 0), either, ones_like(either))
    ratio = divide(both, either)
    return where(greater(valid, 0), reduce_sum(ratio, name="mean_iou") / valid, 0)


def mean_per_class_accuracy(
    labels: Any, predictions: Any, num_classes: int, weights: Any = None, metrics_collections: Any = None,
    updates_collections: Any = None, name: str | None = None,
) -> Metric:  # fmt: skip
    """Return the mean over classes of how often a class is recognised; the update returns these, per class."""
    with variable_scope(name, "mean_accuracy", [predictions, labels, weights]):
        predictions = convert_to_tensor(predictions)
        labels = cast(labels, dtypes.int64)
        labels, predictions = _flat(labels), _flat(predictions)
        predictions.get_shape().assert_is_compatible_with(labels.get_shape())
        total = metric_variable([num_classes], dtypes.float32, name="total")
        count = metric_variable([num_classes], dtypes.float32, name="count")
        number = ones([size(labels)], dtypes.float32)
        if labels.dtype is not predictions.dtype:
            predictions = cast(predictions, labels.dtype)
        right = cast(equal(predictions, labels), dtypes.float32)
        if weights is not None:
            weights = cast(_flat(convert_to_tensor(weights)), dtypes.float32)
            right, number = right * weights, number * weights
        new_total = scatter_add(total, labels, number, use_locking=False)
        new_count = scatter_add(count, labels, right, use_locking=False)
        per_class = div_no_nan(count, maximum(total, 0), name=None)
        value = collect(metrics_collections, reduce_mean(per_class, name="mean_accuracy"))
        return value, collect(updates_collections, _ratio(new_count, new_total, "update_op"))


__all__ = [
    "accuracy", "mean", "mean_absolute_error", "mean_cosine_distance", "mean_iou", "mean_per_class_accuracy",
    "mean_relative_error", "mean_squared_error", "mean_tensor", "percentage_below", "root_mean_squared_error",
]  # fmt: skip
