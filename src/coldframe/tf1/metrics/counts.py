"""Metrics that count right and wrong answers to yes-or-no questions."""

from __future__ import annotations

from typing import Any

from coldframe import dtypes
from coldframe.tf1.arithmetic_ops import divide, equal, greater, logical_and, multiply
from coldframe.tf1.array_ops import identity, rank, where
from coldframe.tf1.cast_ops import cast
from coldframe.tf1.check_ops import assert_rank_in, assert_type
from coldframe.tf1.framework.graph import control_dependencies
from coldframe.tf1.metrics.base import assign_add, collect, fitted, metric_variable
from coldframe.tf1.reduce_ops import reduce_sum
from coldframe.tf1.variable_scope import variable_scope

Metric = tuple[Any, Any]


def _counted(values: Any, weights: Any, metrics: Any, updates: Any) -> Metric:
    assert_type(values, dtypes.bool_)
    count = metric_variable([], dtypes.float32, name="count")
    values = cast(values, dtypes.float32)
    if weights is not None:
        with control_dependencies([assert_rank_in(weights, (0, rank(values)))]):
            weights = cast(weights, dtypes.float32)
            values = multiply(values, weights)
    value = collect(metrics, identity(count))
    return value, collect(updates, assign_add(count, reduce_sum(values)))


def _metric(name: str, label: bool, prediction: bool) -> Any:
    default = name

    def function(
        labels: Any, predictions: Any, weights: Any = None, metrics_collections: Any = None,
        updates_collections: Any = None, name: str | None = None,
    ) -> Metric:  # fmt: skip
        with variable_scope(name, default, [predictions, labels, weights]):
            predictions, labels, weights = fitted(cast(predictions, dtypes.bool_), cast(labels, dtypes.bool_), weights)
            met = logical_and(equal(labels, label), equal(predictions, prediction))
            return _counted(met, weights, metrics_collections, updates_collections)

    function.__doc__ = f"Return how often the label is {label} and the prediction {prediction}."
    return function


true_positives, false_negatives = _metric("true_positives", True, True), _metric("false_negatives", True, False)
false_positives, true_negatives = _metric("false_positives", False, True), _metric("true_negatives", False, False)


def _share(name: str, other: Any, what: str) -> Any:
    default = name

    def function(
        labels: Any, predictions: Any, weights: Any = None, metrics_collections: Any = None,
        updates_collections: Any = None, name: str | None = None,
    ) -> Metric:  # fmt: skip
        with variable_scope(name, default, [predictions, labels, weights]):
            predictions, labels, weights = fitted(cast(predictions, dtypes.bool_), cast(labels, dtypes.bool_), weights)
            right, new_right = true_positives(labels, predictions, weights)
            wrong, new_wrong = other(labels, predictions, weights)
            value = collect(metrics_collections, _ratio(right, wrong, "value"))
            return value, collect(updates_collections, _ratio(new_right, new_wrong, "update_op"))

    function.__doc__ = f"Return {what}; 0 where there are none."
    return function


def _ratio(right: Any, wrong: Any, name: str) -> Any:
    return where(greater(right + wrong, 0), divide(right, right + wrong), 0, name)


precision = _share("precision", false_positives, "the share of right ones among positive predictions")
recall = _share("recall", false_negatives, "the share of positive labels that were predicted")

__all__ = ["false_negatives", "false_positives", "precision", "recall", "true_negatives", "true_positives"]
