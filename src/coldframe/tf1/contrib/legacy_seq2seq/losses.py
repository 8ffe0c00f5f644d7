"""Losses of sequences that are lists of steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import coldframe.tf1 as tf
from coldframe import dtypes

_TINY: Final = 1e-12  # added to a sum of weights, which may be 0


def sequence_loss_by_example(
    logits: Sequence[Any], targets: Sequence[Any], weights: Sequence[Any], average_across_timesteps: bool = True,
    softmax_loss_function: Callable[..., Any] | None = None, name: str | None = None,
) -> Any:  # fmt: skip
    """Return the weighted cross entropy of each sequence, ``[batch]``.

    Args:
        logits: by step, ``[batch, classes]``.
        targets: by step, ``[batch]``.
        weights: by step, ``[batch]``; 0 leaves a step of a sequence out.
        average_across_timesteps: divide by the weights.
        softmax_loss_function: from labels and logits to losses, in place of the whole softmax.

    Raises:
        ValueError: the three are not of one length.
    """
    if len(targets) != len(logits) or len(weights) != len(logits):
        raise ValueError(
            f"Lengths of logits, weights, and targets must be the same {len(logits)}, {len(weights)}, {len(targets)}."
        )
    with tf.name_scope(name, "sequence_loss_by_example", [*logits, *targets, *weights]):
        losses = []
        for step, target, weight in zip(logits, targets, weights, strict=True):
            if softmax_loss_function is None:
                flat = tf.reshape(target, [-1])
                loss = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=flat, logits=step)
            else:
                loss = softmax_loss_function(labels=target, logits=step)
            losses.append(loss * weight)
        total = tf.add_n(losses)
        return total / (tf.add_n(list(weights)) + _TINY) if average_across_timesteps else total


def sequence_loss(
    logits: Sequence[Any], targets: Sequence[Any], weights: Sequence[Any], average_across_timesteps: bool = True,
    average_across_batch: bool = True, softmax_loss_function: Callable[..., Any] | None = None,
    name: str | None = None,
) -> Any:  # fmt: skip
    """Return the weighted cross entropy of all sequences: see `sequence_loss_by_example`."""
    with tf.name_scope(name, "sequence_loss", [*logits, *targets, *weights]):
        cost = tf.reduce_sum(
            sequence_loss_by_example(logits, targets, weights, average_across_timesteps, softmax_loss_function)
        )
        return cost / tf.cast(tf.shape(targets[0])[0], dtypes.float32) if average_across_batch else cost


__all__ = ["sequence_loss", "sequence_loss_by_example"]
