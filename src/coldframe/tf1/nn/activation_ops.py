"""Activations, and the small functions that layers are made of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from coldframe import dtypes
from coldframe.tf1.arithmetic_ops import in_top_k, log_sigmoid, range, sigmoid, softplus, softsign, tanh, top_k
from coldframe.tf1.cast_ops import cast
from coldframe.tf1.control_flow import cond
from coldframe.tf1.framework.build import raw
from coldframe.tf1.framework.convert import convert_to_tensor, is_tensor_like
from coldframe.tf1.framework.graph import name_scope
from coldframe.tf1.framework.shape import TensorShape
from coldframe.tf1.math_ops import matmul, not_equal, reduce_sum
from coldframe.tf1.random_ops import get_seed, random_uniform
from coldframe.tf1.shape_ops import concat, identity, rank, shape, size, transpose, zeros
from coldframe.tf1.simple import either, simple

relu = simple("relu(features) -> Relu")
selu = simple("selu(features) -> Selu")
elu = simple("elu(features) -> Elu")
l2_loss = simple("l2_loss(t) -> L2Loss")


def relu6(features: Any, name: str | None = None) -> Any:
    """Return ``min(max(features, 0), 6)``."""
    with name_scope(name, "Relu6", [features]) as scope:
        return raw.Relu6(convert_to_tensor(features, name="features"), name=scope)


def leaky_relu(features: Any, alpha: Any = 0.2, name: str | None = None) -> Any:
    """Return `features`, those below 0 times `alpha`."""
    with name_scope(name, "LeakyRelu", [features, alpha]) as scope:
        x = convert_to_tensor(features, name="features")
        if x.dtype.is_integer:
            x = cast(x, dtypes.float32)
        if is_tensor_like(alpha):
            return raw.Maximum(alpha * x, x, name=scope)
        return raw.LeakyRelu(x, alpha=float(alpha), name=scope)


def crelu(features: Any, name: str | None = None, axis: int = -1) -> Any:
    """Return the positive parts of `features` and of ``-features``, one after the other along `axis`."""
    with name_scope(name, "CRelu", [features]) as scope:
        x = convert_to_tensor(features, name="features")
        return relu(concat([x, -x], axis, name=scope))


def swish(features: Any, beta: Any = 1.0, name: str | None = None) -> Any:
    """Return ``features * sigmoid(beta * features)``."""
    with name_scope(name, "swish", [features]) as scope:
        x = convert_to_tensor(features, name="features")
        inner = x if isinstance(beta, (int, float)) and beta == 1 else convert_to_tensor(beta, x.dtype, "beta") * x
        return raw.Mul(x, raw.Sigmoid(inner), name=scope)


silu = swish


# --- softmax ------------------------------------------------------------------------------------------------------
def softmax(logits: Any, axis: Any = None, name: str | None = None, dim: Any = None) -> Any:
    """Return ``exp(logits)`` scaled to a sum of 1 along `axis`, the last by default (`dim` is its former name)."""
    return _along(raw.Softmax, logits, either("axis", axis, "dim", dim), name)


def log_softmax(logits: Any, axis: Any = None, name: str | None = None, dim: Any = None) -> Any:
    """Return the logarithm of `softmax`."""
    return _along(raw.LogSoftmax, logits, either("axis", axis, "dim", dim), name)


def _along(op: Callable[..., Any], logits: Any, axis: Any, name: str | None) -> Any:
    """Apply an op of the last axis to another one, by turning that to the end and back."""
    axis = -1 if axis is None else axis
    x = convert_to_tensor(logits)
    n = x.static_shape.rank
    if not is_tensor_like(axis):
        if n is not None and not -n <= axis < n:
            raise ValueError(
                f"`axis` must be in the range [{-n}, {n}) where {n} is the number of dimensions, not {axis}"
            )
        if axis == -1 or (n is not None and axis % n == n - 1 and axis >= 0):
            return op(x, name=name)
    dims = rank(x)
    if is_tensor_like(axis):
        axis = raw.SelectV2(raw.Less(axis, 0), axis + dims, axis)
    elif axis < 0:
        axis = axis + dims
    count = rank(x)
    if is_tensor_like(axis) and n is not None:
        axis = axis % n
    turned = _swapped(x, axis, raw.Sub(count, 1), None)
    result = _swapped(op(turned), axis, raw.Sub(count, 1), name)
    result.set_shape(x.shape)
    return result


def _swapped(x: Any, axis: Any, last: Any, name: str | None) -> Any:
    perm = concat([range(axis), [last], range(axis + 1, last), [axis]], 0)
    return transpose(x, perm, name=name or "transpose")


# --- linear -------------------------------------------------------------------------------------------------------
def bias_add(value: Any, bias: Any, data_format: str | None = None, name: str | None = None) -> Any:
    """Return `value` with `bias` (a vector) added along its channels.

    Args:
        data_format: ``"N..C"`` (channels last, the default) or ``"NC.."``.
    """
    with name_scope(name, "BiasAdd", [value, bias]) as scope:
        if data_format is not None:
            if not data_format.startswith("N"):
                raise ValueError(f"`data_format` must be of the form `N...C` or `NC...`, not {data_format}")
            data_format = "NCHW" if data_format.startswith("NC") else "NHWC"
        x = convert_to_tensor(value, name="input")
        return raw.BiasAdd(x, convert_to_tensor(bias, x.dtype, "bias"), data_format=data_format, name=scope)


def xw_plus_b(x: Any, weights: Any, biases: Any, name: str | None = None) -> Any:
    """Return ``matmul(x, weights) + biases``."""
    with name_scope(name, "xw_plus_b", [x, weights, biases]) as scope:
        x, weights, biases = _layer(x, weights, biases)
        return bias_add(matmul(x, weights), biases, name=scope)


def relu_layer(x: Any, weights: Any, biases: Any, name: str | None = None) -> Any:
    """Return ``relu(matmul(x, weights) + biases)``."""
    with name_scope(name, "relu_layer", [x, weights, biases]) as scope:
        x, weights, biases = _layer(x, weights, biases)
        return relu(bias_add(matmul(x, weights), biases), name=scope)


def _layer(x: Any, weights: Any, biases: Any) -> tuple[Any, Any, Any]:
    return (
        convert_to_tensor(x, name="x"), convert_to_tensor(weights, name="weights"),
        convert_to_tensor(biases, name="biases"),
    )  # fmt: skip


# --- dropout ------------------------------------------------------------------------------------------------------
def dropout(
    x: Any, keep_prob: Any = None, noise_shape: Any = None, seed: int | None = None, name: str | None = None,
    rate: Any = None,
) -> Any:  # fmt: skip
    """Return `x` with elements set to 0 at random, the others scaled up so that the expected sum stays.

    Args:
        keep_prob: the probability that an element is kept.
        noise_shape: the shape of the random decisions, where several elements share one.
        rate: the probability that an element is dropped: ``1 - keep_prob``.

    Raises:
        ValueError: neither or both are given, or one is out of range, or `x` has no floats.
    """
    if rate is None and keep_prob is None:
        raise ValueError("`rate` must be a scalar tensor or a float in the range [0, 1).")
    rate = either("rate", rate, "keep_prob", None if keep_prob is None else 1 - keep_prob)
    with name_scope(name, "dropout", [x]):
        fixed = isinstance(rate, (int, float, np.number))
        if fixed and not 0 <= rate < 1:
            raise ValueError(f"`rate` must be a scalar tensor or a float in the range [0, 1). Received: rate={rate}")
        x = convert_to_tensor(x, name="x")
        if not x.dtype.is_float:
            raise ValueError(f"`x.dtype` must be a floating point tensor as `x` will be scaled. Received: {x.dtype}")
        if fixed and rate == 0:
            get_seed(seed)  # the numbers of later ops do not depend on the rate
            return x
        if fixed:
            scaled = raw.Mul(x, convert_to_tensor(1 / (1 - rate), x.dtype))
        else:
            rate = convert_to_tensor(rate)
            if rate.dtype is not x.dtype:
                raise ValueError(
                    f"Tensor dtype {rate.dtype.name} of `rate` is incompatible with that of `x`: {x.dtype.name}"
                )
            scaled = raw.RealDiv(x, raw.Sub(convert_to_tensor(1, x.dtype), rate))
        drawn = random_uniform(_noise_shape(x, noise_shape), seed=seed, dtype=x.dtype)
        result = raw.SelectV2(drawn >= rate, scaled, convert_to_tensor(0, x.dtype))
        result.set_shape(x.shape)
        return result


def _noise_shape(x: Any, given: Any) -> Any:
    """Return the shape given, its open dimensions those of `x`."""
    if given is None:
        return shape(x)
    if is_tensor_like(given) or any(is_tensor_like(d) for d in given):
        return given
    dims, known = TensorShape(given).as_list(), x.static_shape.dims
    if known is None or len(known) != len(dims):
        return given
    return TensorShape([k if d is None else d for d, k in zip(dims, known, strict=True)])


def zero_fraction(value: Any, name: str | None = None) -> Any:
    """Return how many of the elements are 0, as a fraction."""
    with name_scope(name, "zero_fraction", [value]):
        x = convert_to_tensor(value, name="value")
        count = size(x, out_type=dtypes.int64)
        nonzero = cond(
            count <= np.iinfo(np.int32).max,
            lambda: cast(_count_nonzero(x, dtypes.int32), dtypes.int64),
            lambda: _count_nonzero(x, dtypes.int64),
        )
        with name_scope("counts_to_fraction"):
            zeros_found = count - nonzero
            fraction = cast(zeros_found, dtypes.float32) / cast(count, dtypes.float32)
        return identity(fraction, "fraction")


def _count_nonzero(x: Any, dtype: Any) -> Any:
    with name_scope("count_nonzero", None, [x]):
        return reduce_sum(cast(not_equal(x, zeros([], x.dtype)), dtype), name="nonzero_count")


__all__ = [
    "bias_add", "crelu", "dropout", "elu", "in_top_k", "l2_loss", "leaky_relu", "log_sigmoid", "log_softmax", "relu",
    "relu6", "relu_layer", "selu", "sigmoid", "silu", "softmax", "softplus", "softsign", "swish", "tanh", "top_k",
    "xw_plus_b", "zero_fraction",
]  # fmt: skip
