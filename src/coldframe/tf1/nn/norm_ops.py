"""Normalisation, and the moments it needs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from coldframe import dtypes
from coldframe.tf1.arithmetic_ops import (
    add,
    div_no_nan,
    maximum,
    multiply,
    reciprocal,
    rsqrt,
    square,
    squared_difference,
    subtract,
)
from coldframe.tf1.array_ops import gather, zeros_like
from coldframe.tf1.cast_ops import cast
from coldframe.tf1.framework.build import raw
from coldframe.tf1.framework.convert import constant, convert_to_tensor
from coldframe.tf1.framework.graph import name_scope
from coldframe.tf1.reduce_ops import reduce_mean, reduce_prod, reduce_sum
from coldframe.tf1.shape_ops import rank, shape, squeeze, stop_gradient
from coldframe.tf1.simple import either, simple

local_response_normalization = lrn = simple(
    "local_response_normalization(input, depth_radius=5, bias=1.0, alpha=1.0, beta=0.5) -> LRN"
)


# --- moments ------------------------------------------------------------------------------------------------------
def moments(
    x: Any, axes: Sequence[int], shift: Any = None, name: str | None = None, keep_dims: Any = None,
    keepdims: Any = None,
) -> tuple[Any, Any]:  # fmt: skip
    """Return the mean and the variance of `x` along `axes`.

    Args:
        shift: not used.
        keep_dims: keep the axes, of size 1.
    """
    keep = either("keepdims", keepdims, "keep_dims", keep_dims)
    with name_scope(name, "moments", [x, axes]):
        x = convert_to_tensor(x)
        y = cast(x, dtypes.float32) if x.dtype is dtypes.float16 else x
        mean = reduce_mean(y, axes, keepdims=True, name="mean")
        variance = reduce_mean(squared_difference(y, stop_gradient(mean)), axes, keepdims=True, name="variance")
        if not keep:
            mean, variance = squeeze(mean, axes), squeeze(variance, axes)
        if x.dtype is dtypes.float16:
            return cast(mean, dtypes.float16), cast(variance, dtypes.float16)
        return mean, variance


def weighted_moments(
    x: Any, axes: Any, frequency_weights: Any, name: str | None = None, keep_dims: Any = None, keepdims: Any = None
) -> tuple[Any, Any]:
    """Return the mean and the variance of `x` along `axes`, each element counted as often as its weight says."""
    keep = either("keepdims", keepdims, "keep_dims", keep_dims)
    with name_scope(name, "weighted_moments", [x, frequency_weights, axes]):
        x = convert_to_tensor(x, name="x")
        weights = convert_to_tensor(frequency_weights, name="frequency_weights")
        narrow = x.dtype is dtypes.float16
        if narrow:
            x = cast(x, dtypes.float32)
        weights = cast(weights, x.dtype)
        total = reduce_sum(weights * x, axes, name="weighted_input_sum", keepdims=True)
        everywhere = weights + zeros_like(x)
        count = reduce_sum(everywhere, axes, name="sum_of_weights", keepdims=True)
        mean = div_no_nan(total, count)
        distances = weights * squared_difference(x, mean)
        variance = div_no_nan(reduce_sum(distances, axes, name="weighted_distsq", keepdims=True), count)
        if not keep:
            mean, variance = squeeze(mean, axis=axes), squeeze(variance, axis=axes)
        return (cast(mean, dtypes.float16), cast(variance, dtypes.float16)) if narrow else (mean, variance)


def sufficient_statistics(
    x: Any, axes: Sequence[int], shift: Any = None, keep_dims: Any = None, name: str | None = None,
    keepdims: Any = None,
) -> tuple[Any, Any, Any, Any]:  # fmt: skip
    """Return what moments are made of: the number of elements, their sum, the sum of their squares, and `shift`.

    Args:
        shift: subtracted from `x` first, for accuracy.
    """
    keep = bool(either("keepdims", keepdims, "keep_dims", keep_dims))
    axes = list(set(axes))
    with name_scope(name, "sufficient_statistics", [x, shift]):
        x = convert_to_tensor(x, name="x")
        dims = x.static_shape.dims
        if dims is not None and all(dims[a] is not None for a in axes):
            product = 1
            for a in axes:
                product *= dims[a]
            count = constant(product, x.dtype)
        else:
            n = rank(x)
            sizes = gather(cast(shape(x), x.dtype), [a + n if a < 0 else a for a in axes])
            count = reduce_prod(sizes, name="count")
        if shift is None:
            first, second = x, square(x)
        else:
            shift = convert_to_tensor(shift, name="shift")
            first, second = subtract(x, shift), squared_difference(x, shift)
        first = reduce_sum(first, axes, keepdims=keep, name="mean_ss")
        second = reduce_sum(second, axes, keepdims=keep, name="var_ss")
        return count, first, second, shift


def normalize_moments(
    counts: Any, mean_ss: Any, variance_ss: Any, shift: Any, name: str | None = None
) -> tuple[Any, Any]:
    """Return the mean and the variance that `sufficient_statistics` give."""
    with name_scope(name, "normalize", [counts, mean_ss, variance_ss, shift]):
        divisor = reciprocal(counts, name="divisor")
        if shift is None:
            shifted = mean = multiply(mean_ss, divisor, name="mean")
        else:
            shifted = multiply(mean_ss, divisor, name="shifted_mean")
            mean = add(shifted, shift, name="mean")
        return mean, subtract(multiply(variance_ss, divisor), square(shifted), name="variance")


# --- batch normalisation ------------------------------------------------------------------------------------------
def batch_normalization(
    x: Any, mean: Any, variance: Any, offset: Any, scale: Any, variance_epsilon: Any, name: str | None = None
) -> Any:
    """Return ``(x - mean) / sqrt(variance + variance_epsilon) * scale + offset``; scale and offset may be None."""
    with name_scope(name, "batchnorm", [x, mean, variance, scale, offset]):
        factor = rsqrt(variance + variance_epsilon)
        if scale is not None:
            factor = factor * scale
        x = convert_to_tensor(x)
        scaled = x * cast(factor, x.dtype)
        moved = offset - mean * factor if offset is not None else -mean * factor
        return scaled + cast(moved, x.dtype)


def fused_batch_norm(
    x: Any, scale: Any, offset: Any, mean: Any = None, variance: Any = None, epsilon: float = 0.001,
    data_format: str = "NHWC", is_training: bool = True, name: str | None = None, exponential_avg_factor: float = 1.0,
) -> tuple[Any, Any, Any]:  # fmt: skip
    """Return images with each channel normalised, scaled and moved, and the channels' means and variances: one node.

    Args:
        mean, variance: of the channels, where they are not taken from `x`.
        exponential_avg_factor: how much of the batch's moments goes into the running ones; 1 means all.
    """
    if (not is_training or exponential_avg_factor != 1.0) and (mean is None or variance is None):
        raise ValueError(
            "Both `mean` and `variance` must be a 1D tensor when `is_training` is False or `exponential_avg_factor` != "
            "1.0."
        )
    x = convert_to_tensor(x, name="input")
    scale = convert_to_tensor(scale, name="scale")
    offset = convert_to_tensor(offset, name="offset")
    mean = constant([]) if mean is None else mean
    variance = constant([]) if variance is None else variance
    result = raw.FusedBatchNormV3(
        x, scale, offset, mean, variance, epsilon=epsilon, data_format=data_format,
        is_training=is_training, exponential_avg_factor=exponential_avg_factor, name=name,
    )  # fmt: skip
    return result[0], result[1], result[2]


def batch_norm_with_global_normalization(
    t: Any = None, m: Any = None, v: Any = None, beta: Any = None, gamma: Any = None, variance_epsilon: Any = None,
    scale_after_normalization: Any = None, name: str | None = None, input: Any = None, mean: Any = None,
    variance: Any = None,
) -> Any:  # fmt: skip
    """Return `batch_normalization` of `t`, scaled by `gamma` where `scale_after_normalization`."""
    return batch_normalization(
        either("input", input, "t", t), either("mean", mean, "m", m), either("variance", variance, "v", v), beta,
        gamma if scale_after_normalization else None, variance_epsilon, name,
    )  # fmt: skip


def l2_normalize(x: Any, axis: Any = None, epsilon: float = 1e-12, name: str | None = None, dim: Any = None) -> Any:
    """Return `x` scaled to a Euclidean norm of 1 along `axis`; norms below ``sqrt(epsilon)`` count as that."""
    axis = either("axis", axis, "dim", dim)
    with name_scope(name, "l2_normalize", [x]) as scope:
        x = convert_to_tensor(x, name="x")
        total = reduce_sum(square(x), axis, keepdims=True)
        return multiply(x, rsqrt(maximum(total, epsilon)), name=scope)


__all__ = [
    "batch_norm_with_global_normalization", "batch_normalization", "fused_batch_norm", "l2_normalize",
    "local_response_normalization", "lrn", "moments", "normalize_moments", "sufficient_statistics", "weighted_moments",
]  # fmt: skip
