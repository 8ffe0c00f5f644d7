"""Losses of logits, one number per example (or element)."""

from __future__ import annotations

import math
from typing import Any

from coldframe import dtypes
from coldframe.tf1.arithmetic_ops import abs, exp, log, log1p
from coldframe.tf1.array_ops import ones_like, where, zeros_like
from coldframe.tf1.cast_ops import cast
from coldframe.tf1.check_ops import assert_equal
from coldframe.tf1.framework.build import raw
from coldframe.tf1.framework.convert import convert_to_tensor
from coldframe.tf1.framework.graph import control_dependencies, name_scope
from coldframe.tf1.nn.activation_ops import relu
from coldframe.tf1.shape_ops import concat, rank, reshape, shape, slice, stop_gradient, transpose
from coldframe.tf1.simple import either


def _named(function: str, **given: Any) -> None:
    sentinel = given.pop("_sentinel", None)
    if sentinel is not None:
        raise ValueError(f"Only call `{function}` with named arguments (labels=..., logits=..., ...)")
    for what, value in given.items():
        if value is None:
            raise ValueError(f"Argument `{what}` must be provided to `{function}`")


# --- sigmoid ------------------------------------------------------------------------------------------------------
def sigmoid_cross_entropy_with_logits(
    _sentinel: Any = None, labels: Any = None, logits: Any = None, name: str | None = None
) -> Any:
    """Return the cross entropy of each element's probability ``sigmoid(logits)`` and its label, between 0 and 1."""
    _named("sigmoid_cross_entropy_with_logits", _sentinel=_sentinel, labels=labels, logits=logits)
    with name_scope(name, "logistic_loss", [logits, labels]) as scope:
        x = convert_to_tensor(logits, name="logits")
        z = convert_to_tensor(labels, name="labels")
        _same_shape(x, z)
        zeros = zeros_like(x, dtype=x.dtype)
        positive = x >= zeros
        larger = where(positive, x, zeros)
        smaller = where(positive, -x, x)  # -|x|, whose gradient at 0 is that of x
        return raw.AddV2(larger - x * z, log1p(exp(smaller)), name=scope)


def weighted_cross_entropy_with_logits(
    labels: Any = None, logits: Any = None, pos_weight: Any = None, name: str | None = None, targets: Any = None
) -> Any:
    """Return the cross entropy as above, with the part of positive labels times `pos_weight`."""
    labels = either("labels", labels, "targets", targets)
    with name_scope(name, "logistic_loss", [logits, labels]) as scope:
        x = convert_to_tensor(logits, name="logits")
        z = convert_to_tensor(labels, name="labels")
        _same_shape(x, z)
        weight = 1 + (pos_weight - 1) * z
        return raw.AddV2((1 - z) * x, weight * (log1p(exp(-abs(x))) + relu(-x)), name=scope)


def _same_shape(x: Any, z: Any) -> None:
    if not z.shape.is_compatible_with(x.shape):
        raise ValueError(f"`logits` and `labels` must have the same shape, received ({x.shape} vs {z.shape}).")


def log_poisson_loss(targets: Any, log_input: Any, compute_full_loss: bool = False, name: str | None = None) -> Any:
    """Return the negative log likelihood of counts `targets` under Poisson distributions of mean ``exp(log_input)``.

    Args:
        compute_full_loss: add Stirling's approximation of ``log(targets!)``, which predictions do not change.
    """
    with name_scope(name, "log_poisson_loss", [log_input, targets]):
        x = convert_to_tensor(log_input, name="log_input")
        z = convert_to_tensor(targets, name="targets")
        _same_shape(x, z)
        result = exp(x) - x * z
        if compute_full_loss:
            half, circle = convert_to_tensor(0.5, x.dtype), convert_to_tensor(2 * math.pi, x.dtype)
            stirling = z * log(z) - z + half * log(circle * z)
            zeros, ones = zeros_like(z, dtype=z.dtype), ones_like(z, dtype=z.dtype)
            small = raw.LogicalAnd(z >= zeros, z <= ones)
            result += where(small, zeros, stirling)
        return result


# --- softmax ------------------------------------------------------------------------------------------------------
def softmax_cross_entropy_with_logits(
    _sentinel: Any = None, labels: Any = None, logits: Any = None, dim: Any = -1, name: str | None = None,
    axis: Any = None,
) -> Any:  # fmt: skip
    """Return the cross entropy of each row's ``softmax(logits)`` and its `labels`, which sum to 1.

    No gradient flows into the labels.
    """
    dim = dim if axis is None else axis
    _named("softmax_cross_entropy_with_logits", _sentinel=_sentinel, labels=labels, logits=logits)
    with name_scope(name, "softmax_cross_entropy_with_logits_sg", [logits, labels]) as scope:
        fixed = stop_gradient(labels, name="labels_stop_gradient")
        return softmax_cross_entropy_with_logits_v2(labels=fixed, logits=logits, axis=dim, name=scope)


def softmax_cross_entropy_with_logits_v2(
    labels: Any, logits: Any, axis: Any = None, name: str | None = None, dim: Any = None
) -> Any:
    """Return the cross entropy of each row's ``softmax(logits)`` and its `labels`, which sum to 1.

    Args:
        axis: the axis of the classes, the last by default; `dim` is its former name.
    """
    axis = either("axis", axis, "dim", dim)
    axis = -1 if axis is None else axis
    with name_scope(name, "softmax_cross_entropy_with_logits", [logits, labels]) as scope:
        x = convert_to_tensor(logits, name="logits")
        z = convert_to_tensor(labels, name="labels")
        narrow = x.dtype in (dtypes.float16, dtypes.bfloat16)
        precise = cast(x, dtypes.float32) if narrow else x
        z = cast(z, precise.dtype)
        count = rank(precise)
        whole = precise.shape
        if axis != -1:
            precise, z = _last(precise, axis, count), _last(z, axis, count)
        sizes = shape(precise)
        cost, _ = raw.SoftmaxCrossEntropyWithLogits(_matrix(precise), _matrix(z), name=scope)
        result = reshape(cost, slice(sizes, [0], [raw.Sub(count, 1)]))
        if whole.ndims is not None:
            dims = whole.as_list()
            del dims[axis]
            result.set_shape(dims)
        return cast(result, x.dtype) if narrow else result


def _last(x: Any, axis: int, count: Any) -> Any:
    from coldframe.tf1.arithmetic_ops import range

    return transpose(x, concat([range(axis), range(axis + 1, count), [axis]], 0))


def _matrix(x: Any) -> Any:
    """Return `x` with all axes but the last joined."""
    count = rank(x)
    last = slice(shape(x), [raw.Sub(count, 1)], [1])
    result = reshape(x, concat([[-1], last], 0))
    dims = x.static_shape.dims
    if dims is not None:
        known = None if None in dims[:-1] else _product(dims[:-1])
        result.set_shape([known, dims[-1]])
    return result


def _product(dims: Any) -> int:
    product = 1
    for d in dims:
        product *= d
    return product


def sparse_softmax_cross_entropy_with_logits(
    _sentinel: Any = None, labels: Any = None, logits: Any = None, name: str | None = None
) -> Any:
    """Return the cross entropy of each row's ``softmax(logits)`` and its class, an integer in `labels`.

    Raises:
        ValueError: `labels` does not have the shape of `logits` without the last axis.
    """
    _named("sparse_softmax_cross_entropy_with_logits", _sentinel=_sentinel, labels=labels, logits=logits)
    with name_scope(name, "SparseSoftmaxCrossEntropyWithLogits", [labels, logits]):
        z, x = convert_to_tensor(labels), convert_to_tensor(logits)
        narrow = x.dtype in (dtypes.float16, dtypes.bfloat16)
        precise = cast(x, dtypes.float32) if narrow else x
        classes, rows = z.shape, shape(z)
        matches = classes.is_fully_defined() and x.shape[:-1].is_fully_defined()
        if x.shape.ndims == 0:
            raise ValueError(f"`logits` cannot be a scalar. Received logits={x}`")
        if x.shape.ndims is not None and classes.ndims not in (None, x.shape.ndims - 1):
            raise ValueError(
                f"`labels.shape.rank` must equal `logits.shape.rank - 1`. Received: labels.shape={classes} of rank "
                f"{classes.ndims} and logits.shape={x.shape} of rank {x.shape.ndims}"
            )
        if matches and classes != x.shape[:-1]:
            raise ValueError(
                f"`labels.shape` must equal `logits.shape` except for the last dimension. Received: "
                f"labels.shape={classes} and logits.shape={x.shape}"
            )
        if x.shape.ndims == 2:
            cost, _ = raw.SparseSoftmaxCrossEntropyWithLogits(precise, z, name=name)
            return cast(cost, x.dtype) if narrow else cost
        checks = [] if matches else [assert_equal(shape(z), shape(x)[:-1])]
        with control_dependencies(checks):
            count = shape(precise)[rank(precise) - 1]
            flat = reshape(precise, [-1, count])
            z = reshape(z, [-1])
            cost, _ = raw.SparseSoftmaxCrossEntropyWithLogits(flat, z, name=name)
            cost = reshape(cost, rows)
            cost.set_shape(classes)
            return cast(cost, x.dtype) if narrow else cost


__all__ = [
    "log_poisson_loss", "sigmoid_cross_entropy_with_logits", "softmax_cross_entropy_with_logits",
    "softmax_cross_entropy_with_logits_v2", "sparse_softmax_cross_entropy_with_logits",
    "weighted_cross_entropy_with_logits",
]  # fmt: skip
