"""Losses under their former names: predictions come before labels."""

from __future__ import annotations

from typing import Any

from coldframe.tf1 import losses


def softmax_cross_entropy(
    logits: Any, onehot_labels: Any, weights: Any = 1.0, label_smoothing: float = 0, scope: Any = None
) -> Any:
    """Return the mean cross entropy of softmax; see `tf.losses.softmax_cross_entropy`."""
    return losses.softmax_cross_entropy(onehot_labels, logits, weights, label_smoothing, scope)


def sparse_softmax_cross_entropy(logits: Any, labels: Any, weights: Any = 1.0, scope: Any = None) -> Any:
    """Return the mean cross entropy of softmax, for class numbers."""
    return losses.sparse_softmax_cross_entropy(labels, logits, weights, scope)


def sigmoid_cross_entropy(
    logits: Any, multi_class_labels: Any, weights: Any = 1.0, label_smoothing: float = 0, scope: Any = None
) -> Any:
    """Return the mean cross entropy of sigmoids."""
    return losses.sigmoid_cross_entropy(multi_class_labels, logits, weights, label_smoothing, scope)


def mean_squared_error(predictions: Any, labels: Any = None, weights: Any = 1.0, scope: Any = None) -> Any:
    """Return the mean of the squares of differences."""
    return losses.mean_squared_error(labels, predictions, weights, scope)


def absolute_difference(predictions: Any, labels: Any = None, weights: Any = 1.0, scope: Any = None) -> Any:
    """Return the mean of the absolute differences."""
    return losses.absolute_difference(labels, predictions, weights, scope)


def log_loss(predictions: Any, labels: Any = None, weights: Any = 1.0, epsilon: float = 1e-7, scope: Any = None) -> Any:
    """Return the mean cross entropy of probabilities."""
    return losses.log_loss(labels, predictions, weights, epsilon, scope)


def hinge_loss(logits: Any, labels: Any = None, scope: Any = None) -> Any:
    """Return the mean of how far scores are on the wrong side."""
    return losses.hinge_loss(labels, logits, scope=scope)


def cosine_distance(predictions: Any, labels: Any = None, axis: Any = None, weights: Any = 1.0, scope: Any = None,
                    dim: Any = None) -> Any:  # fmt: skip
    """Return 1 less the mean cosine of the angles between vectors."""
    return losses.cosine_distance(labels, predictions, axis if axis is not None else dim, weights, scope)


def mean_pairwise_squared_error(predictions: Any, labels: Any = None, weights: Any = 1.0, scope: Any = None) -> Any:
    """Return the mean of the squares of how differences between elements differ."""
    return losses.mean_pairwise_squared_error(labels, predictions, weights, scope)


def add_loss(loss: Any, loss_collection: str = "losses") -> None:
    """Note a loss."""
    losses.add_loss(loss, loss_collection)


def get_losses(scope: Any = None, loss_collection: str = "losses") -> Any:
    """Return the losses that are noted."""
    return losses.get_losses(scope, loss_collection)


def get_regularization_losses(scope: Any = None) -> Any:
    """Return the losses of regularizers."""
    return losses.get_regularization_losses(scope)


def get_total_loss(add_regularization_losses: bool = True, name: str = "total_loss") -> Any:
    """Return the sum of all losses that are noted."""
    return losses.get_total_loss(add_regularization_losses, name)


def compute_weighted_loss(losses_: Any, weights: Any = 1.0, scope: Any = None) -> Any:
    """Return the weighted mean of losses."""
    return losses.compute_weighted_loss(losses_, weights, scope)


__all__ = [
    "absolute_difference", "add_loss", "compute_weighted_loss", "cosine_distance", "get_losses",
    "get_regularization_losses", "get_total_loss", "hinge_loss", "log_loss", "mean_pairwise_squared_error",
    "mean_squared_error",
    "sigmoid_cross_entropy", "softmax_cross_entropy", "sparse_softmax_cross_entropy",
]  # fmt: skip
