"""The loss of sequences."""

from __future__ import annotations

from typing import Any

from coldframe.tf1.framework.build import raw
from coldframe.tf1.framework.graph import name_scope
from coldframe.tf1.math_ops import reduce_sum
from coldframe.tf1.shape_ops import reshape, shape


def sequence_loss(
    logits: Any, targets: Any, weights: Any, average_across_timesteps: bool = True, average_across_batch: bool = True,
    softmax_loss_function: Any = None, name: str | None = None, sum_over_timesteps: bool = False,
    sum_over_batch: bool = False,
) -> Any:  # fmt: skip
    """Return the weighted cross entropy of sequences.

    Args:
        logits: float ``[batch, time, classes]``.
        targets: int ``[batch, time]``.
        weights: float ``[batch, time]``; 0 leaves a step out.
        average_across_timesteps, average_across_batch: divide by the weights; with neither, one loss per step.
        softmax_loss_function: from labels and logits to losses, in place of the whole softmax.
        sum_over_timesteps, sum_over_batch: divide by the number of steps that count instead.

    Raises:
        ValueError: ranks do not fit, or a sum and a mean are asked for along one axis.
    """
    from coldframe.tf1 import nn

    if len(logits.shape) != 3:
        raise ValueError("Logits must be a [batch_size x sequence_length x logits] tensor")
    if len(targets.shape) != 2:
        raise ValueError("Targets must be a [batch_size x sequence_length] tensor")
    if len(weights.shape) != 2:
        raise ValueError("Weights must be a [batch_size x sequence_length] tensor")
    if average_across_timesteps and sum_over_timesteps:
        raise ValueError("average_across_timesteps and sum_over_timesteps cannot be set to True at same time.")
    if average_across_batch and sum_over_batch:
        raise ValueError("average_across_batch and sum_over_batch cannot be set to True at the same time.")
    with name_scope(name, "sequence_loss", [logits, targets, weights]):
        classes = shape(logits)[2]
        flat = reshape(logits, [-1, classes])
        targets = reshape(targets, [-1])
        if softmax_loss_function is None:
            losses = nn.sparse_softmax_cross_entropy_with_logits(labels=targets, logits=flat)
        else:
            losses = softmax_loss_function(labels=targets, logits=flat)
        losses = losses * reshape(weights, [-1])
        if average_across_timesteps and average_across_batch:
            return raw.RealDiv(reduce_sum(losses), reduce_sum(weights) + 1e-12)
        if sum_over_timesteps and sum_over_batch:
            total = raw.Cast(raw.Sum(raw.Cast(raw.NotEqual(weights, 0.0), DstT="int32"), [0, 1]), DstT=losses.dtype)
            return raw.DivNoNan(reduce_sum(losses), total)
        losses = reshape(losses, shape(logits)[0:2])
        if average_across_timesteps:
            losses = raw.RealDiv(reduce_sum(losses, axis=[1]), reduce_sum(weights, axis=[1]) + 1e-12)
        if average_across_batch:
            losses = raw.RealDiv(reduce_sum(losses, axis=[0]), reduce_sum(weights, axis=[0]) + 1e-12)
        counts = raw.Cast(raw.NotEqual(weights, 0.0), DstT=losses.dtype)
        if sum_over_timesteps:
            losses = raw.DivNoNan(reduce_sum(losses, axis=[1]), reduce_sum(counts, axis=[1]))
        if sum_over_batch:
            losses = raw.DivNoNan(reduce_sum(losses, axis=[0]), reduce_sum(counts, axis=[0]))
        return losses


__all__ = ["sequence_loss"]
