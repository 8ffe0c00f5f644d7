"""Metrics of probabilities that become answers by comparing them with thresholds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from coldframe import dtypes
from coldframe.tf1.arithmetic_ops import abs as absolute
from coldframe.tf1.arithmetic_ops import (
    argmax,
    argmin,
    cumsum,
    div_no_nan,
    divide,
    equal,
    greater,
    log,
    logical_and,
    logical_not,
    maximum,
    minimum,
    multiply,
)
from coldframe.tf1.array_ops import (
    expand_dims,
    identity,
    ones_like,
    reshape,
    shape,
    stack,
    tile,
    transpose,
    where,
)
from coldframe.tf1.cast_ops import cast
from coldframe.tf1.check_ops import assert_greater_equal, assert_less_equal
from coldframe.tf1.framework.convert import constant, convert_to_tensor
from coldframe.tf1.framework.graph import control_dependencies
from coldframe.tf1.metrics.base import assign_add, collect, fitted, metric_variable
from coldframe.tf1.reduce_ops import reduce_min, reduce_sum
from coldframe.tf1.variable_scope import variable_scope
from coldframe.tf1.weights_broadcast import broadcast_weights

Metric = tuple[Any, Any]
_TINY = 1e-7
_NAMES = {"tp": "true_positives", "fn": "false_negatives", "tn": "true_negatives", "fp": "false_positives"}


def _counts(
    labels: Any, predictions: Any, thresholds: Sequence[float], weights: Any = None,
    includes: Sequence[str] = ("tp", "fn", "tn", "fp"),
) -> tuple[dict[str, Any], dict[str, Any]]:  # fmt: skip
    """Return the entries of the confusion matrix at each threshold: variables, and these after a batch."""
    predictions = convert_to_tensor(predictions)
    checks = [
        assert_greater_equal(predictions, cast(0.0, predictions.dtype), message="predictions must be in [0, 1]"),
        assert_less_equal(predictions, cast(1.0, predictions.dtype), message="predictions must be in [0, 1]"),
    ]
    with control_dependencies(checks):
        predictions, labels, weights = fitted(cast(predictions, dtypes.float32), cast(labels, dtypes.bool_), weights)
    n = len(thresholds)
    column, row = reshape(predictions, [-1, 1]), reshape(cast(labels, dtypes.bool_), [1, -1])
    count = column.get_shape().as_list()[0]
    if count is None:
        count = shape(column)[0]
    limits = tile(expand_dims(constant(list(thresholds)), [1]), stack([1, count]))
    said: dict[bool, Any] = {True: greater(tile(transpose(column), [n, 1]), limits)}
    if {"fn", "tn"} & set(includes):
        said[False] = logical_not(said[True])
    meant: dict[bool, Any] = {True: tile(row, [n, 1])}
    if {"fp", "tn"} & set(includes):
        meant[False] = logical_not(meant[True])
    if weights is not None:
        weights = broadcast_weights(cast(weights, dtypes.float32), predictions)
        weights = tile(reshape(weights, [1, -1]), [n, 1])
    values, updates = {}, {}
    for key in _NAMES:
        if key in includes:
            values[key] = metric_variable([n], dtypes.float32, name=_NAMES[key])
            met = cast(logical_and(meant[key in ("tp", "fn")], said[key in ("tp", "fp")]), dtypes.float32)
            if weights is not None:
                met = met * weights
            updates[key] = assign_add(values[key], reduce_sum(met, 1))
    return values, updates


def _between(count: int, end: float = 1.0 + _TINY) -> list[float]:
    inner = [(i + 1) * 1.0 / (count - 1) for i in range(count - 2)]
    return [0.0 - _TINY, *inner, end]


# --- the area under a curve ---------------------------------------------------------------------------------------
def auc(
    labels: Any, predictions: Any, weights: Any = None, num_thresholds: int = 200, metrics_collections: Any = None,
    updates_collections: Any = None, curve: str = "ROC", name: str | None = None,
    summation_method: str = "trapezoidal", thresholds: Any = None,
) -> Metric:  # fmt: skip
    """Return the area under a curve, approximated at `num_thresholds` points.

    Args:
        curve: ``"ROC"`` or ``"PR"``.
        summation_method: ``"trapezoidal"``, ``"careful_interpolation"`` (for ``"PR"``), ``"minoring"`` or
            ``"majoring"``.
        thresholds: the points instead, between 0 and 1.
    """
    if curve not in ("ROC", "PR"):
        raise ValueError(f"curve must be either ROC or PR, {curve} unknown")
    if summation_method not in ("trapezoidal", "careful_interpolation", "minoring", "majoring"):
        raise ValueError(f"Invalid summation_method: {summation_method}")
    with variable_scope(name, "auc", [labels, predictions, weights]):
        points = _between(num_thresholds)
        if thresholds is not None:
            points = [0.0 - _TINY, *sorted(thresholds), 1.0 + _TINY]
        values, updates = _counts(labels, predictions, points, weights)
        value = collect(metrics_collections, _area(values, len(points), curve, summation_method, "value"))
        return value, collect(updates_collections, _area(updates, len(points), curve, summation_method, "update_op"))


def _area(counts: dict[str, Any], n: int, curve: str, method: str, name: str) -> Any:
    tp, fn, tn, fp = (counts[k] for k in ("tp", "fn", "tn", "fp"))
    epsilon = 1.0e-6
    if curve == "PR" and method == "careful_interpolation":
        return _interpolated(tp, fp, fn, n)
    recall = divide(tp + epsilon, tp + fn + epsilon)
    if curve == "ROC":
        x, y = divide(fp, fp + tn + epsilon), recall
    else:
        x, y = recall, divide(tp + epsilon, tp + fp + epsilon)
    width = x[: n - 1] - x[1:]
    if method in ("trapezoidal", "careful_interpolation"):
        return reduce_sum(multiply(width, (y[: n - 1] + y[1:]) / 2.0), name=name)
    edge = minimum if method == "minoring" else maximum
    return reduce_sum(multiply(width, edge(y[: n - 1], y[1:])), name=name)


def _interpolated(tp: Any, fp: Any, fn: Any, n: int) -> Any:
    """Davis and Goadrich: between two points the counts change in a straight line, the precision does not."""
    step = tp[: n - 1] - tp[1:]
    p = tp + fp
    slope = div_no_nan(step, maximum(p[: n - 1] - p[1:], 0), name="prec_slope")
    intercept = tp[1:] - multiply(slope, p[1:])
    ratio = where(
        logical_and(p[: n - 1] > 0, p[1:] > 0),
        div_no_nan(p[: n - 1], maximum(p[1:], 0), name="recall_relative_ratio"),
        ones_like(p[1:]),
    )
    parts = div_no_nan(slope * (step + intercept * log(ratio)), maximum(tp[1:] + fn[1:], 0), name="pr_auc_increment")
    return reduce_sum(parts, name="interpolate_pr_auc")


# --- one rate where another has a value ---------------------------------------------------------------------------
def sensitivity_at_specificity(
    labels: Any, predictions: Any, specificity: float, weights: Any = None, num_thresholds: int = 200,
    metrics_collections: Any = None, updates_collections: Any = None, name: str | None = None,
) -> Metric:  # fmt: skip
    """Return the sensitivity at the threshold whose specificity is nearest to the one given."""
    if not 0 <= specificity <= 1:
        raise ValueError(f"`specificity` must be in the range [0, 1]. Currently, `specificity` got {specificity}")

    def compute(c: dict[str, Any], name: str) -> Any:
        rates = divide(c["tn"], c["tn"] + c["fp"] + _TINY)
        at = cast(argmin(absolute(rates - specificity), 0), dtypes.int32)
        return divide(c["tp"][at], c["tp"][at] + c["fn"][at] + _TINY, name)

    with variable_scope(name, "sensitivity_at_specificity", [predictions, labels, weights]):
        values, updates = _counts(labels, predictions, _between(num_thresholds), weights)
        value = collect(metrics_collections, compute(values, "value"))
        return value, collect(updates_collections, compute(updates, "update_op"))


def specificity_at_sensitivity(
    labels: Any, predictions: Any, sensitivity: float, weights: Any = None, num_thresholds: int = 200,
    metrics_collections: Any = None, updates_collections: Any = None, name: str | None = None,
) -> Metric:  # fmt: skip
    """Return the specificity at the last threshold whose sensitivity is nearest to the one given."""
    if not 0 <= sensitivity <= 1:
        raise ValueError(f"`sensitivity` must be in the range [0, 1]. Currently, `sensitivity` got {sensitivity}")

    def compute(c: dict[str, Any], name: str) -> Any:
        rates = divide(c["tp"], c["tp"] + c["fn"] + _TINY)
        nearest = reduce_min(absolute(rates - sensitivity))
        found = cast(equal(absolute(rates - sensitivity), nearest), dtypes.int64)
        at = cast(argmax(cumsum(found), 0), dtypes.int32)
        return divide(c["tn"][at], c["tn"][at] + c["fp"][at] + _TINY, name)

    with variable_scope(name, "specificity_at_sensitivity", [predictions, labels, weights]):
        values, updates = _counts(labels, predictions, _between(num_thresholds, 1.0 - _TINY), weights)
        value = collect(metrics_collections, compute(values, "value"))
        return value, collect(updates_collections, compute(updates, "update_op"))


# --- at given thresholds ------------------------------------------------------------------------------------------
def _share(what: str, other: str) -> Any:
    default = f"{what}_at_thresholds"

    def function(
        labels: Any, predictions: Any, thresholds: Sequence[float], weights: Any = None,
        metrics_collections: Any = None, updates_collections: Any = None, name: str | None = None,
    ) -> Metric:  # fmt: skip
        def compute(c: dict[str, Any], name: str) -> Any:
            return divide(c["tp"], _TINY + c["tp"] + c[other], name=f"{what}_{name}")

        with variable_scope(name, default, [predictions, labels, weights]):
            values, updates = _counts(labels, predictions, thresholds, weights, ("tp", other))
            value = collect(metrics_collections, compute(values, "value"))
            return value, collect(updates_collections, compute(updates, "update_op"))

    function.__doc__ = f"Return the {what} at each of `thresholds`."
    return function


precision_at_thresholds, recall_at_thresholds = _share("precision", "fp"), _share("recall", "fn")


def _counting(key: str) -> Any:
    def function(
        labels: Any, predictions: Any, thresholds: Sequence[float], weights: Any = None,
        metrics_collections: Any = None, updates_collections: Any = None, name: str | None = None,
    ) -> Metric:  # fmt: skip
        with variable_scope(name, _NAMES[key], [predictions, labels, weights]):
            values, updates = _counts(labels, predictions, thresholds, weights, (key,))
            value = collect(metrics_collections, identity(values[key]))
            return value, collect(updates_collections, updates[key])

    function.__doc__ = f"Return the number of {_NAMES[key].replace('_', ' ')} at each of `thresholds`."
    return function


true_positives_at_thresholds, false_negatives_at_thresholds = _counting("tp"), _counting("fn")
true_negatives_at_thresholds, false_positives_at_thresholds = _counting("tn"), _counting("fp")

__all__ = [
    "auc", "false_negatives_at_thresholds", "false_positives_at_thresholds", "precision_at_thresholds",
    "recall_at_thresholds", "sensitivity_at_specificity", "specificity_at_sensitivity", "true_negatives_at_thresholds",
    "true_positives_at_thresholds",
]  # fmt: skip
