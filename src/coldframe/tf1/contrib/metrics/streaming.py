"""Metrics under their former names, with predictions before labels: ``streaming_accuracy(predictions, labels)``."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import coldframe.tf1 as tf
from coldframe.tf1 import metrics

Metric = tuple[Any, Any]


def _swapped(name: str) -> Callable[..., Metric]:
    measure = getattr(metrics, name)

    @functools.wraps(measure)
    def streaming(predictions: Any, labels: Any, *args: Any, **kwargs: Any) -> Metric:
        found: Metric = measure(labels, predictions, *args, **kwargs)
        return found

    return streaming


streaming_accuracy = _swapped("accuracy")
streaming_auc = _swapped("auc")
streaming_false_negatives = _swapped("false_negatives")
streaming_false_negatives_at_thresholds = _swapped("false_negatives_at_thresholds")
streaming_false_positives = _swapped("false_positives")
streaming_false_positives_at_thresholds = _swapped("false_positives_at_thresholds")
streaming_mean_absolute_error = _swapped("mean_absolute_error")
streaming_mean_cosine_distance = _swapped("mean_cosine_distance")
streaming_mean_iou = _swapped("mean_iou")
streaming_mean_relative_error = _swapped("mean_relative_error")
streaming_mean_squared_error = _swapped("mean_squared_error")
streaming_precision = _swapped("precision")
streaming_precision_at_thresholds = _swapped("precision_at_thresholds")
streaming_recall = _swapped("recall")
streaming_recall_at_thresholds = _swapped("recall_at_thresholds")
streaming_root_mean_squared_error = _swapped("root_mean_squared_error")
streaming_sensitivity_at_specificity = _swapped("sensitivity_at_specificity")
streaming_sparse_average_precision_at_k = _swapped("average_precision_at_k")
streaming_sparse_precision_at_k = _swapped("precision_at_k")
streaming_sparse_recall_at_k = streaming_recall_at_k = _swapped("recall_at_k")
streaming_specificity_at_sensitivity = _swapped("specificity_at_sensitivity")
streaming_true_negatives = _swapped("true_negatives")
streaming_true_negatives_at_thresholds = _swapped("true_negatives_at_thresholds")
streaming_true_positives = _swapped("true_positives")
streaming_true_positives_at_thresholds = _swapped("true_positives_at_thresholds")
streaming_mean, streaming_mean_tensor = metrics.mean, metrics.mean_tensor
streaming_percentage_less = metrics.percentage_below


def accuracy(predictions: Any, labels: Any, weights: Any = None, name: str | None = None) -> Any:
    """Return the share of predictions that are right, of this batch alone.

    Raises:
        ValueError: the dtypes differ, or they are floats.
    """
    if not (labels.dtype.is_integer or labels.dtype in (tf.bool, tf.string)) or labels.dtype != predictions.dtype:
        raise ValueError(
            f"Labels and predictions should be of one type: integers, bools or strings, but are {labels.dtype.name} "
            f"and {predictions.dtype.name}"
        )
    with tf.name_scope(name, "accuracy", [predictions, labels]):
        right = tf.cast(tf.equal(predictions, labels), tf.float32)
        if weights is None:
            return tf.reduce_mean(right)
        weights = tf.cast(weights, tf.float32)
        return tf.div(tf.reduce_sum(right * weights), tf.reduce_sum(tf.ones_like(right) * weights))


def aggregate_metrics(*value_update_tuples: Metric) -> tuple[list[Any], list[Any]]:
    """Return the values and the updates of several metrics, as two lists."""
    if not value_update_tuples:
        raise ValueError("Expected at least one value_tensor/update_op pair")
    values, updates = zip(*value_update_tuples, strict=True)
    return list(values), list(updates)


def aggregate_metric_map(names_to_tuples: Mapping[str, Metric]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the values and the updates of several metrics, as two dicts by name."""
    values = {n: v for n, (v, _) in names_to_tuples.items()}
    return values, {n: u for n, (_, u) in names_to_tuples.items()}


__all__ = [
    "accuracy", "aggregate_metric_map", "aggregate_metrics", "streaming_accuracy", "streaming_auc",
    "streaming_false_negatives", "streaming_false_negatives_at_thresholds", "streaming_false_positives",
    "streaming_false_positives_at_thresholds", "streaming_mean", "streaming_mean_absolute_error",
    "streaming_mean_cosine_distance", "streaming_mean_iou", "streaming_mean_relative_error",
    "streaming_mean_squared_error", "streaming_mean_tensor", "streaming_percentage_less", "streaming_precision",
    "streaming_precision_at_thresholds", "streaming_recall", "streaming_recall_at_k",
    "streaming_recall_at_thresholds", "streaming_root_mean_squared_error", "streaming_sensitivity_at_specificity",
    "streaming_sparse_average_precision_at_k", "streaming_sparse_precision_at_k", "streaming_sparse_recall_at_k",
    "streaming_specificity_at_sensitivity", "streaming_true_negatives", "streaming_true_negatives_at_thresholds",
    "streaming_true_positives", "streaming_true_positives_at_thresholds",
]  # fmt: skip
