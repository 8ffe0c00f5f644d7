"""Metrics of the classes that are ranked highest."""

from __future__ import annotations

from typing import Any

from coldframe import dtypes
from coldframe.tf1.arithmetic_ops import add, cumsum, div_no_nan, divide, equal, greater_equal, minimum, multiply
from coldframe.tf1.arithmetic_ops import range as range_
from coldframe.tf1.array_ops import (
    concat,
    dynamic_stitch,
    expand_dims,
    fill,
    identity,
    ones,
    ones_like,
    rank,
    reshape,
    shape,
    size,
    tile,
    where_v2,
    zeros_like,
)
from coldframe.tf1.array_ops import slice as slice_
from coldframe.tf1.cast_ops import cast
from coldframe.tf1.control_flow import cond
from coldframe.tf1.framework.convert import SparseTensor, convert_to_tensor
from coldframe.tf1.framework.graph import control_dependencies, name_scope
from coldframe.tf1.metrics.base import assign_add, collect, metric_variable
from coldframe.tf1.nn.activation_ops import top_k
from coldframe.tf1.reduce_ops import reduce_max, reduce_sum
from coldframe.tf1.sets import set_difference, set_intersection, set_size
from coldframe.tf1.sparse_ops import sparse_concat, sparse_reshape, sparse_retain
from coldframe.tf1.weights_broadcast import assert_broadcastable, broadcast_weights

Metric = tuple[Any, Any]


def _name(what: str, k: int | None = None, class_id: int | None = None) -> str:
    name = f"{what}_at_k" if k is None else f"{what}_at_{k}"
    return name if class_id is None else f"{name}_class{class_id}"


def _labels(labels: Any, predictions: Any) -> Any:
    """Return labels with a last axis of their own, where there is one label per example."""
    with name_scope(None, "expand_labels", [labels, predictions]) as scope:
        m = predictions.get_shape().ndims
        if isinstance(labels, SparseTensor):
            n = labels.get_shape().ndims
            if n is None or m is None:
                return _expanded(labels, predictions, scope)
            return sparse_reshape(labels, concat((labels.dense_shape, (1,)), 0), name=scope) if m == n + 1 else labels
        labels = convert_to_tensor(labels)
        n = labels.get_shape().ndims
        if n is None or m is None:
            return cond(
                equal(rank(predictions), rank(labels) + 1), lambda: expand_dims(labels, -1, name=scope), lambda: labels
            )
        if m == n + 1:
            return expand_dims(labels, -1, name=scope)
        if m != n:
            raise ValueError(
                f"Unexpected labels shape {labels.get_shape()} for predictions shape {predictions.get_shape()}."
            )
        return labels


def _expanded(labels: SparseTensor, predictions: Any, name: str) -> SparseTensor:
    """Return sparse labels with a last axis of their own where only a run tells whether they have one."""
    lacks = equal(rank(predictions), size(labels.dense_shape) + 1)
    indices, dims = cond(
        lacks,
        lambda: (_with_zeros(labels.indices), concat((labels.dense_shape, (1,)), 0)),
        lambda: (identity(labels.indices), identity(labels.dense_shape)),
        name=name,
    )
    return SparseTensor(indices, labels.values, dims)


def _with_zeros(indices: Any) -> Any:
    return concat((indices, zeros_like(indices[:, :1])), 1)


def _only(ids: Any, class_id: int | None) -> Any:
    """Return `ids` with all but one class left out."""
    if class_id is None:
        return ids
    if isinstance(ids, SparseTensor):
        return sparse_retain(ids, equal(ids.values, class_id))
    dims = shape(ids, out_type=dtypes.int64)
    last = size(dims) - 1
    axes = reshape(last, [1])
    n = size(dims)
    axes = (axes + n) % n
    collapsed = dynamic_stitch([range_(n), axes], [cast(dims, dtypes.int32), ones(shape(axes), dtypes.int32)])
    found = set_intersection(fill(collapsed, cast(class_id, dtypes.int64)), ids)
    return SparseTensor(found.indices, found.values, dims)


# --- counts -------------------------------------------------------------------------------------------------------
def _hits(labels: Any, top: Any, class_id: int | None, weights: Any, kind: str, name: str | None = None) -> Any:
    """Return how many classes of each example are labels, or are not, among those ranked highest (or not)."""
    with name_scope(name, f"{kind}s", [top, labels, weights]):
        labels, top = _only(labels, class_id), _only(top, class_id)
        if kind == "true_positive":
            found = set_intersection(top, labels)
        else:
            found = set_difference(top, labels, aminusb=kind == "false_positive")
        count = cast(set_size(found), dtypes.float64)
        if weights is not None:
            with control_dependencies([assert_broadcastable(weights, count)]):
                count = multiply(count, cast(weights, dtypes.float64))
        return count


def _streamed(labels: Any, top: Any, k: int | None, class_id: int | None, weights: Any, kind: str) -> Metric:
    with name_scope(None, _name(kind, k, class_id), [top, labels, weights]) as scope:
        batch = cast(reduce_sum(_hits(labels, top, class_id, weights, kind)), dtypes.float64)
        total = metric_variable([], dtypes.float64, name=scope)
        return total, assign_add(total, batch, name="update")


def _share(what: str, other: str) -> tuple[Any, Any]:
    def at_top_k(
        labels: Any, predictions_idx: Any, k: int | None = None, class_id: int | None = None, weights: Any = None,
        metrics_collections: Any = None, updates_collections: Any = None, name: str | None = None,
    ) -> Metric:  # fmt: skip
        with name_scope(name, _name(what, k, class_id), [predictions_idx, labels, weights]) as scope:
            labels = _labels(labels, predictions_idx)
            top = cast(predictions_idx, dtypes.int64)
            right, new_right = _streamed(labels, top, k, class_id, weights, "true_positive")
            wrong, new_wrong = _streamed(labels, top, k, class_id, weights, other)
            value = collect(metrics_collections, divide(right, add(right, wrong), name=scope))
            return value, collect(updates_collections, divide(new_right, add(new_right, new_wrong), name="update"))

    def at_k(
        labels: Any, predictions: Any, k: int, class_id: int | None = None, weights: Any = None,
        metrics_collections: Any = None, updates_collections: Any = None, name: str | None = None,
    ) -> Metric:  # fmt: skip
        with name_scope(name, _name(what, k, class_id), [predictions, labels, weights]) as scope:
            _, top = top_k(predictions, k)
            return at_top_k(labels, top, k, class_id, weights, metrics_collections, updates_collections, scope)

    at_top_k.__doc__ = f"""Return the {what} of the classes ranked highest, of which `predictions_idx` has the numbers.

    Args:
        labels: int64 ``[..., num_labels]``, dense or sparse.
        class_id: look at this class only.
    """
    at_k.__doc__ = f"""Return the {what} of the `k` classes with the highest `predictions`.

    Args:
        labels: int64 ``[..., num_labels]``, dense or sparse.
        class_id: look at this class only.
    """
    return at_top_k, at_k


precision_at_top_k, precision_at_k = _share("precision", "false_positive")
recall_at_top_k, recall_at_k = _share("recall", "false_negative")
sparse_precision_at_k = precision_at_k


# --- average precision --------------------------------------------------------------------------------------------
def average_precision_at_k(
    labels: Any, predictions: Any, k: int, weights: Any = None, metrics_collections: Any = None,
    updates_collections: Any = None, name: str | None = None,
) -> Metric:  # fmt: skip
    """Return the mean over examples of the average of the precisions at each relevant one of the `k` highest."""
    if k < 1:
        raise ValueError(f"Invalid k={k}.")
    with name_scope(name, _name("average_precision", k), [predictions, labels, weights]) as scope:
        _, top = top_k(predictions, k)
        labels = _in_range(_labels_of(labels), shape(predictions)[-1])
        return _average(labels, top, weights, metrics_collections, updates_collections, scope)


sparse_average_precision_at_k = average_precision_at_k


def _labels_of(labels: Any) -> Any:
    return labels if isinstance(labels, SparseTensor) else convert_to_tensor(labels)


def _in_range(labels: Any, classes: Any) -> Any:
    """Return labels with those that are no class set to -1."""
    values = labels.values if isinstance(labels, SparseTensor) else labels
    classes = cast(classes, dtypes.int64)

    def cleaned() -> Any:
        clean = where_v2(greater_equal(values, classes), -1 * ones_like(values), values)
        return SparseTensor(labels.indices, clean, labels.dense_shape) if values is not labels else clean

    return cond(greater_equal(reduce_max(values), classes), cleaned, lambda: labels)


def _average(labels: Any, top: Any, weights: Any, metrics: Any, updates: Any, name: str) -> Metric:
    with name_scope(name, "average_precision_at_top_k", [top, labels, weights]) as scope:
        average = _averages(labels, top)
        if weights is not None:
            weights = broadcast_weights(cast(weights, dtypes.float64), average)
            average = multiply(average, weights)
        with name_scope(None, "max", [average]) as inner:
            most = metric_variable([], dtypes.float64, name=inner)
            if weights is None:
                batch = cast(size(average, name="batch_max"), dtypes.float64)
            else:
                batch = reduce_sum(weights, name="batch_max")
            new_most = assign_add(most, batch, name="update")
        with name_scope(None, "total", [average]) as inner:
            total = metric_variable([], dtypes.float64, name=inner)
            new_total = assign_add(total, reduce_sum(average, name="batch_total"), name="update")
        value = collect(metrics, div_no_nan(total, most, name="mean"))
        return value, collect(updates, div_no_nan(new_total, new_most, name=scope))


def _averages(labels: Any, top: Any) -> Any:
    with name_scope(None, "average_precision", [top, labels]) as scope:
        top = cast(top, dtypes.int64, name="predictions_idx")
        k = top.get_shape().as_list()[-1]
        if k is None:
            raise ValueError("The last dimension of predictions_idx must be known.")
        each = expand_dims(top, -1, name="predictions_idx_per_k")
        relevant = _hits(_repeated(labels, k), each, None, None, "true_positive", name="relevant_per_k")
        hits = cumsum(relevant, axis=-1, name="tp_per_k")
        seen = cumsum(ones_like(relevant), axis=-1, name="retrieved_per_k")
        precisions = divide(hits, seen, name="precision_per_k")
        counted = multiply(precisions, relevant, name="relevant_precision_per_k")
        total = reduce_sum(counted, axis=(-1,), name="precision_sum")
        return divide(total, cast(_relevant(labels, k), dtypes.float64), name=scope)


def _repeated(labels: Any, k: int) -> Any:
    """Return the labels `k` times along a new axis before the last."""
    with name_scope("labels_per_k", None, [labels]) as scope:
        if isinstance(labels, SparseTensor):
            at = reshape(size(labels.dense_shape) - 1, [1])
            parts = (slice_(labels.dense_shape, [0], at), [1], slice_(labels.dense_shape, at, [-1]))
            wide = sparse_reshape(labels, concat(parts, 0, name="expanded_shape"), name="expand")
            return wide if k == 1 else sparse_concat(-2, [wide] * k, name=scope)
        wide = expand_dims(labels, -2, name="expand")
        if k == 1:
            return wide
        once = ones_like(shape(labels))
        return tile(wide, concat((once[:-1], (k,), once[-1:]), 0, name="multiples"), name=scope)


def _relevant(labels: Any, k: int) -> Any:
    with name_scope(None, "num_relevant", [labels]) as scope:
        if isinstance(labels, SparseTensor):
            return minimum(set_size(labels), k, name=scope)
        valid = where_v2(greater_equal(labels, 0), ones_like(labels), zeros_like(labels))
        return minimum(reduce_sum(valid, axis=-1), k, name=scope)


__all__ = [
    "average_precision_at_k", "precision_at_k", "precision_at_top_k", "recall_at_k", "recall_at_top_k",
    "sparse_average_precision_at_k", "sparse_precision_at_k",
]  # fmt: skip
