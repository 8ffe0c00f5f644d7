"""Regularizers: functions that make a loss of weights."""

from __future__ import annotations

import numbers
from collections.abc import Callable
from typing import Any

from coldframe.tf1.arithmetic_ops import abs as absolute
from coldframe.tf1.arithmetic_ops import add_n
from coldframe.tf1.framework.build import raw
from coldframe.tf1.framework.convert import constant, convert_to_tensor
from coldframe.tf1.framework.graph import get_default_graph, name_scope
from coldframe.tf1.framework.keys import GraphKeys
from coldframe.tf1.math_ops import reduce_sum

Regularizer = Callable[[Any], Any]


def _checked(scale: Any) -> Any:
    if isinstance(scale, numbers.Integral):
        raise ValueError(f"scale cannot be an integer: {scale}")  # noqa: TRY004 - as TensorFlow
    if isinstance(scale, numbers.Real) and scale < 0.0:
        raise ValueError(f"Setting a scale less than 0 on a regularizer: {scale:g}")
    return scale


def _scaled(scale: Any, scope: Any, name: str, measure: Regularizer) -> Regularizer:
    if isinstance(_checked(scale), numbers.Real) and scale == 0.0:
        return lambda _: None

    def regularizer(weights: Any) -> Any:
        with name_scope(scope, name, [weights]) as opened:
            factor = convert_to_tensor(scale, weights.dtype, name="scale")
            return raw.Mul(factor, measure(weights), name=opened)

    return regularizer


def l1_regularizer(scale: Any, scope: str | None = None) -> Regularizer:
    """Return a function from weights to `scale` times the sum of their absolute values."""
    return _scaled(scale, scope, "l1_regularizer", lambda w: reduce_sum(absolute(w)))


def l2_regularizer(scale: Any, scope: str | None = None) -> Regularizer:
    """Return a function from weights to `scale` times half the sum of their squares."""
    return _scaled(scale, scope, "l2_regularizer", lambda w: raw.L2Loss(w))


def l1_l2_regularizer(scale_l1: Any = 1.0, scale_l2: Any = 1.0, scope: str | None = None) -> Regularizer:
    """Return a function from weights to the sum of both losses."""
    parts = [l1_regularizer(scale_l1), l2_regularizer(scale_l2)]
    both: Regularizer = sum_regularizer(parts, scope or "l1_l2_regularizer")
    return both


def sum_regularizer(regularizer_list: Any, scope: str | None = None) -> Any:
    """Return a function from weights to the sum of several regularizers' losses; None for no regularizers."""
    chosen = [r for r in regularizer_list if r is not None]
    if not chosen:
        return None

    def regularizer(weights: Any) -> Any:
        with name_scope(scope, "sum_regularizer", [weights]) as opened:
            losses = [loss for loss in (r(weights) for r in chosen) if loss is not None]
            return add_n(losses, name=opened) if len(losses) > 1 else losses[0]

    return regularizer


def apply_regularization(regularizer: Regularizer, weights_list: Any = None) -> Any:
    """Return the sum of the losses of all weights (the collection ``WEIGHTS`` for None), noted as a loss."""
    weights = weights_list or get_default_graph().get_collection(GraphKeys.WEIGHTS)
    if not weights:
        raise ValueError("No weights to regularize.")
    with name_scope("get_regularization_penalty", None, weights) as scope:
        losses = [constant(0.0) if loss is None else loss for loss in map(regularizer, weights)]
        total = add_n(losses, name=scope)
        get_default_graph().add_to_collection(GraphKeys.REGULARIZATION_LOSSES, total)
        return total


__all__ = ["apply_regularization", "l1_l2_regularizer", "l1_regularizer", "l2_regularizer", "sum_regularizer"]
