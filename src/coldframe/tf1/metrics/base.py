"""What metrics share: their variables, and shapes that fit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from coldframe.tf1.array_ops import expand_dims, rank, squeeze, zeros
from coldframe.tf1.control_flow import cond
from coldframe.tf1.counting_ops import remove_squeezable_dimensions
from coldframe.tf1.framework.build import raw
from coldframe.tf1.framework.convert import convert_to_tensor
from coldframe.tf1.framework.graph import get_default_graph
from coldframe.tf1.framework.keys import GraphKeys
from coldframe.tf1.variables import Variable


def metric_variable(shape: Any, dtype: Any, validate_shape: bool = True, name: str | None = None) -> Any:
    """Return a local variable that starts at 0."""
    return Variable(
        lambda: zeros(shape, dtype), trainable=False, validate_shape=validate_shape, name=name,
        collections=[GraphKeys.LOCAL_VARIABLES, GraphKeys.METRIC_VARIABLES],
    )  # fmt: skip


def collect(collections: Any, value: Any) -> Any:
    """Add `value` to collections, if any are given, and return it."""
    if collections:
        get_default_graph().add_to_collections(collections, value)
    return value


def assign_add(variable: Any, value: Any, name: str | None = None) -> Any:
    """Return the variable after `value` was added."""
    return variable.assign_add(value, name=name)


def fitted(predictions: Any, labels: Any, weights: Any) -> tuple[Any, Any, Any]:
    """Return all three, with last axes of size 1 dropped or added where one has them and another has not.

    Args:
        labels, weights: may be None.
    """
    predictions = convert_to_tensor(predictions)
    if labels is not None:
        labels, predictions = remove_squeezable_dimensions(labels, predictions)
        predictions.get_shape().assert_is_compatible_with(labels.get_shape())
    if weights is None:
        return predictions, labels, None
    weights = convert_to_tensor(weights)
    n, m = predictions.get_shape().ndims, weights.get_shape().ndims
    if m == 0:
        return predictions, labels, weights
    if n is not None and m is not None:
        if m - n == 1:
            weights = squeeze(weights, [-1])
        elif n - m == 1:
            weights = expand_dims(weights, [-1])
        return predictions, labels, weights
    return predictions, labels, _fitted_weights(predictions, weights)


def _fitted_weights(predictions: Any, weights: Any) -> Any:
    n = rank(weights)
    diff = n - rank(predictions)
    known = weights.get_shape()
    fixed = known.ndims is not None and not known[-1].is_compatible_with(1)

    def expanded() -> Any:
        return cond(raw.Equal(diff, -1), lambda: expand_dims(weights, [-1]), lambda: weights)

    squeezed: Callable[[], Any] = (lambda: weights) if fixed else (lambda: squeeze(weights, [-1]))
    return cond(raw.Equal(n, 0), lambda: weights, lambda: cond(raw.Equal(diff, 1), squeezed, expanded))
