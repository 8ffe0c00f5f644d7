"""Normalization: over batches, and over neighbouring channels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np

from coldframe.dtypes import DType, float32, int64
from coldframe.ops import inference_nn
from coldframe.ops.backward import attrs_of, cast
from coldframe.ops.layouts import channels_last, check_rank, from_first, known, to_first
from coldframe.ops.table import Op
from coldframe.ops.table import op as define
from coldframe.primitives.base import refuse
from coldframe.records import dataclass


# --- over batches -------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class _Axes:
    """Where the channels of a tensor are."""

    rank: int
    channel: int

    @classmethod
    def of(cls, xp: Any, x: Any, data_format: str) -> _Axes:
        rank = check_rank(xp, x, [4, 5], "the input")
        return cls(rank, rank - 1 if channels_last(data_format) else 1)

    @property
    def others(self) -> tuple[int, ...]:
        return tuple(i for i in range(self.rank) if i != self.channel)

    def spread(self, xp: Any, v: Any) -> Any:
        """A vector over channels, to broadcast."""
        return xp.reshape(v, [-1 if i == self.channel else 1 for i in range(self.rank)])

    def check(self, xp: Any, x: Any, **vectors: Any) -> None:
        """Refuse vectors that have not one entry per channel."""
        want = known(xp.dim(x, self.channel))
        for name, v in vectors.items():
            check_rank(xp, v, [1], f"`{name}`")
            found = known(xp.dim(v, 0))
            if want is not None and found is not None and want != found:
                raise refuse(f"the number of entries of `{name}`", expected=f"{want}, one per channel", found=found)


def _moments(xp: Any, x: Any, axes: _Axes) -> tuple[Any, Any, Any]:
    """Mean, biased variance (over channels), and `x` less its mean."""
    mean = xp.mean(x, axis=axes.others)
    centred = x - axes.spread(xp, mean)
    return mean, xp.mean(centred * centred, axis=axes.others), centred


def _cells(xp: Any, x: Any, axes: _Axes) -> Any:
    """How many cells each channel has, a float32 scalar."""
    total = xp.asarray(1.0, float32)
    for i in axes.others:
        total = total * xp.cast(xp.asarray(xp.dim(x, i), int64), float32)
    return total


def _rsqrt(xp: Any, v: Any, epsilon: float) -> Any:
    return xp.reciprocal(xp.sqrt(v + epsilon))


def _batch_norm(name: str, *, reserves: int) -> Op:
    @define(name, shape=inference_nn.batch_norm, heavy=True)
    def run(
        xp: Any, x: Any, scale: Any, offset: Any, mean: Any, variance: Any,
        *, epsilon: float, exponential_avg_factor: float, data_format: str, is_training: bool, T: DType,
    ) -> Any:  # fmt: skip
        """Normalize each channel by its moments, those of the batch when training, then scale and shift."""
        axes = _Axes.of(xp, x, data_format)
        axes.check(xp, x, scale=scale, offset=offset)
        wide = xp.cast(x, float32)
        if not is_training:
            axes.check(xp, x, mean=mean, variance=variance)
            factor = scale * _rsqrt(xp, variance, epsilon)
            y = (wide - axes.spread(xp, mean)) * axes.spread(xp, factor) + axes.spread(xp, offset)
            return _with_reserves(xp, xp.cast(y, T), mean, variance, mean, variance, reserves)
        now, biased, centred = _moments(xp, wide, axes)
        y = centred * axes.spread(xp, scale * _rsqrt(xp, biased, epsilon)) + axes.spread(xp, offset)
        n = _cells(xp, x, axes)
        unbiased = biased * (n / xp.maximum(n - 1.0, 1.0))
        keep = 1.0 - exponential_avg_factor
        kept_mean, kept_variance = now, unbiased
        if keep:
            axes.check(xp, x, mean=mean, variance=variance)
            kept_mean = mean * keep + now * exponential_avg_factor
            kept_variance = variance * keep + unbiased * exponential_avg_factor
        return _with_reserves(xp, xp.cast(y, T), kept_mean, kept_variance, now, biased, reserves)

    @run.onnx
    def _(
        xp: Any, x: Any, scale: Any, offset: Any, mean: Any, variance: Any,
        *, epsilon: float, exponential_avg_factor: float, data_format: str, is_training: bool, T: DType,
    ) -> Any:  # fmt: skip
        if is_training:
            return run.body(
                xp, x, scale, offset, mean, variance, epsilon=epsilon, exponential_avg_factor=exponential_avg_factor,
                data_format=data_format, is_training=is_training, T=T,
            )  # fmt: skip
        axes = _Axes.of(xp, x, data_format)
        axes.check(xp, x, scale=scale, offset=offset, mean=mean, variance=variance)
        first = to_first(xp, xp.cast(x, float32), data_format)
        y = xp.node("BatchNormalization", [first, scale, offset, mean, variance], epsilon=epsilon)
        y = xp.cast(from_first(xp, y, data_format), T)
        return _with_reserves(xp, y, mean, variance, mean, variance, reserves)

    @run.gradient
    def _(g: Any, op: Any, dy: Any, *_: Any) -> Any:
        x, scale, _, mean, variance = op.inputs
        first, same = _channels_first(op), attrs_of(op, "epsilon", "is_training", "data_format")
        reserved = list(op.outputs[3:])
        if not op.get_attr("is_training"):
            reserved[:2] = mean, variance
            if first:  # TensorFlow's kernels know only channels last here
                same["data_format"] = "NHWC" if first == 4 else "NDHWC"
                x, dy = (g.Transpose(v, [0, *range(2, first), 1], name="transpose") for v in (x, dy))
        dx, dscale, doffset, *_ = getattr(g, name.replace("Norm", "NormGrad"))(dy, x, scale, *reserved, **same)
        if first and not op.get_attr("is_training"):
            dx = g.Transpose(dx, [0, first - 1, *range(1, first - 1)], name="transpose")
        return dx, dscale, doffset, None, None

    return run


def _channels_first(op: Any) -> int:
    """The rank of the tensors that an operation normalizes, 0 where their channels are last."""
    return {b"NCHW": 4, b"NCDHW": 5}.get(op.get_attr("data_format"), 0)


def _with_reserves(xp: Any, y: Any, mean: Any, variance: Any, r1: Any, r2: Any, reserves: int) -> tuple[Any, ...]:
    """What the gradient needs: TensorFlow's CPU kernels keep mean and biased variance, and nothing in the third."""
    return (y, mean, variance, r1, r2, *([xp.asarray(0.0, float32)] if reserves == 3 else []))


FORWARD = [
    _batch_norm("FusedBatchNorm", reserves=2),
    _batch_norm("FusedBatchNormV2", reserves=2),
    _batch_norm("FusedBatchNormV3", reserves=3),
]


def _gradient(
    xp: Any, dy: Any, x: Any, scale: Any, mean: Any, variance: Any,
    epsilon: float, data_format: str, is_training: bool, T: DType,
) -> Any:  # fmt: skip
    axes = _Axes.of(xp, x, data_format)
    axes.check(xp, x, scale=scale, mean=mean, variance=variance)
    dy, centred = xp.cast(dy, float32), xp.cast(x, float32) - axes.spread(xp, mean)
    rstd = _rsqrt(xp, variance, epsilon)
    along = xp.sum(dy * centred, axis=axes.others)
    total = xp.sum(dy, axis=axes.others)
    factor = axes.spread(xp, scale * rstd)
    if is_training:
        n = _cells(xp, x, axes)
        dy = dy - axes.spread(xp, total / n) - centred * axes.spread(xp, along / n * rstd * rstd)
    nothing = xp.asarray([], float32)
    return xp.cast(dy * factor, T), along * rstd, total, nothing, nothing


def _second(g: Any, op: Any, d2x: Any, dds: Any, ddb: Any, *_: Any) -> Any:
    """The gradient of a batch normalization's gradient, for `y_backprop`, `x` and `scale`.

    With ``P(v) = v - mean(v) - n mean(v n)`` over the cells of a channel, `n` being the normalized input, the
    gradient is ``dx = scale r P(dy)`` for a reciprocal deviation `r`, ``dscale = sum(dy n)``, ``doffset = sum(dy)``.
    """
    dy, x, scale, mean, variance, *_ = op.inputs
    dtype, first, training = x.dtype, _channels_first(op), op.get_attr("is_training")
    dy, x, d2x = (cast(g, v, float32) for v in (dy, x, d2x))
    rank = first or (5 if op.get_attr("data_format") == b"NDHWC" else 4)
    axes = [0, *range(2, rank)] if first else list(range(rank - 1))
    vector = [1, -1, *[1] * (rank - 2)] if first else [-1]

    def spread(v: Any) -> Any:
        return g.Reshape(v, vector) if first else v

    if training:
        mean = g.Mean(x, axes, keep_dims=True)
        variance = g.Mean(g.SquaredDifference(x, mean), axes, keep_dims=True)
    else:
        mean, variance = spread(mean), spread(variance)
    r = g.Rsqrt(variance + op.get_attr("epsilon"))
    n, wide_scale, dds, ddb = (x - mean) * r, spread(scale), spread(dds), spread(ddb)

    def project(v: Any) -> Any:
        if not training:
            return v
        return v - g.Mean(v, axes, keep_dims=True) - n * g.Mean(v * n, axes, keep_dims=True)

    along = g.Sum(d2x * project(dy), axes, keep_dims=True)
    ddy = wide_scale * r * project(d2x) + dds * n + ddb
    dx = r * dds * dy
    if training:
        mixed = d2x * g.Mean(dy * n, axes, keep_dims=True) + dy * g.Mean(d2x * n, axes, keep_dims=True)
        part = wide_scale * r * r
        dx = project(dx) - part * (project(mixed) + n * g.Mean(d2x * project(dy), axes, keep_dims=True))
    dscale = g.Reshape(along * r, [-1])
    return cast(g, ddy, dtype), cast(g, dx, dtype), dscale, *[None] * (len(op.inputs) - 3)


def _batch_norm_grad(name: str, *, reserves: int) -> Op:
    if reserves == 3:

        @define(name, shape=inference_nn.batch_norm_grad, heavy=True, gradient=_second)
        def run(
            xp: Any, y_backprop: Any, x: Any, scale: Any, reserve_space_1: Any, reserve_space_2: Any,
            reserve_space_3: Any, *, epsilon: float, data_format: str, is_training: bool, T: DType,
        ) -> Any:  # fmt: skip
            """The gradient of batch normalization for its input, scale and offset."""
            return _gradient(
                xp, y_backprop, x, scale, reserve_space_1, reserve_space_2, epsilon, data_format, is_training, T
            )

        return run

    @define(name, shape=inference_nn.batch_norm_grad, heavy=True, gradient=_second)
    def run_two(
        xp: Any, y_backprop: Any, x: Any, scale: Any, reserve_space_1: Any, reserve_space_2: Any,
        *, epsilon: float, data_format: str, is_training: bool, T: DType,
    ) -> Any:  # fmt: skip
        """The gradient of batch normalization for its input, scale and offset."""
        return _gradient(
            xp, y_backprop, x, scale, reserve_space_1, reserve_space_2, epsilon, data_format, is_training, T
        )

    return run_two


BACKWARD = [
    _batch_norm_grad("FusedBatchNormGrad", reserves=2),
    _batch_norm_grad("FusedBatchNormGradV2", reserves=2),
    _batch_norm_grad("FusedBatchNormGradV3", reserves=3),
]


@define("BatchNormWithGlobalNormalization", shape="x -> x", heavy=True)
def batch_norm_with_global_normalization(
    xp: Any, t: Any, m: Any, v: Any, beta: Any, gamma: Any,
    *, variance_epsilon: float, scale_after_normalization: bool, T: DType,
) -> Any:  # fmt: skip
    """Normalize each channel by given moments, then scale if asked to, and shift: graphs of 2015 and 2016."""
    axes = _Axes.of(xp, t, "NHWC")
    axes.check(xp, t, m=m, v=v, beta=beta)
    t, m, v, beta, gamma = (xp.cast(a, float32) if T.width == 2 else a for a in (t, m, v, beta, gamma))
    factor = _rsqrt(xp, v, variance_epsilon)
    if scale_after_normalization:
        axes.check(xp, t, gamma=gamma)
        factor = factor * gamma
    return xp.cast((t - axes.spread(xp, m)) * axes.spread(xp, factor) + axes.spread(xp, beta), T)


@batch_norm_with_global_normalization.gradient
def _(g: Any, op: Any, dy: Any) -> Any:
    t, m, v, _, gamma = op.inputs
    same = attrs_of(op, "variance_epsilon", "scale_after_normalization")
    return g.BatchNormWithGlobalNormalizationGrad(t, m, v, gamma, dy, **same)


@define("BatchNormWithGlobalNormalizationGrad", shape=inference_nn.global_norm_grad, heavy=True)
def batch_norm_with_global_normalization_grad(
    xp: Any, t: Any, m: Any, v: Any, gamma: Any, backprop: Any,
    *, variance_epsilon: float, scale_after_normalization: bool, T: DType,
) -> Any:  # fmt: skip
    """The gradient of that normalization for its input, moments, shift and scale."""
    axes = _Axes.of(xp, t, "NHWC")
    axes.check(xp, t, m=m, v=v)
    t, m, v, gamma, dy = (xp.cast(a, float32) if T.width == 2 else a for a in (t, m, v, gamma, backprop))
    rstd = _rsqrt(xp, v, variance_epsilon)
    factor = rstd * gamma if scale_after_normalization else rstd
    along, db = xp.sum(dy * (t - axes.spread(xp, m)), axis=axes.others), xp.sum(dy, axis=axes.others)
    dv = along * factor * (-0.5 / (v + variance_epsilon))
    dg = along * rstd if scale_after_normalization else xp.zeros_like(db)
    return tuple(xp.cast(d, T) for d in (dy * axes.spread(xp, factor), -db * factor, dv, db, dg))


# --- over neighbouring channels -----------------------------------------------------------------------------------
def _near(xp: Any, x: Any, radius: int) -> Any:
    """The sums over the channels at most `radius` away, channels last."""
    channels = int(xp.dim(x, 3))
    r = min(radius, max(channels - 1, 0))
    padded = xp.pad(x, [(0, 0), (0, 0), (0, 0), (r, r)])
    total = xp.slice_axis(padded, 3, 0, channels)
    for i in range(1, 2 * r + 1):
        total = total + xp.slice_axis(padded, 3, i, i + channels)
    return total


@define("LRN", shape="x -> x", heavy=True)
def lrn(xp: Any, input: Any, *, depth_radius: int, bias: float, alpha: float, beta: float, T: DType) -> Any:
    """Divide by (bias + alpha * the sum of squares of the near channels) to the power of beta."""
    check_rank(xp, input, [4], "the input")
    x = xp.cast(input, float32)
    norm = _near(xp, x * x, depth_radius) * alpha + bias
    return xp.cast(x * xp.power(norm, xp.asarray(-beta, float32)), T)


@lrn.onnx
def _(xp: Any, input: Any, *, depth_radius: int, bias: float, alpha: float, beta: float, T: DType) -> Any:
    if bias <= 0 or alpha < 0:  # ONNX Runtime takes roots of what is negative
        return lrn.body(xp, input, depth_radius=depth_radius, bias=bias, alpha=alpha, beta=beta, T=T)
    check_rank(xp, input, [4], "the input")
    first, channels = to_first(xp, xp.cast(input, float32), "NHWC"), input.dims[3]
    if beta in _ROOTS and channels is not None and channels <= _MOST:
        near = np.abs(np.subtract.outer(np.arange(channels), np.arange(channels))) <= depth_radius
        weights = xp.constant((near * alpha).astype(np.float32)[:, :, None, None])
        norm = xp.node("Conv", [first * first, weights, xp.constant(np.full(channels, bias, np.float32))])
        y = first / _ROOTS[beta](xp, norm)
    else:
        size = 2 * depth_radius + 1
        y = xp.node("LRN", [first], size=size, alpha=alpha * size, beta=beta, bias=bias)
    return xp.cast(from_first(xp, y, "NHWC"), T)


_MOST = 1024  # channels up to which ONNX Runtime multiplies by a matrix of them in less time than it takes one power
_ROOTS: Final[dict[float, Callable[[Any, Any], Any]]] = {
    0.5: lambda xp, x: xp.sqrt(x),
    0.75: lambda xp, x: xp.sqrt(x) * xp.sqrt(xp.sqrt(x)),
    1.0: lambda xp, x: x,
}


@lrn.gradient
def _(g: Any, op: Any, dy: Any) -> Any:
    same = attrs_of(op, "depth_radius", "bias", "alpha", "beta")
    return g.LRNGrad(dy, op.inputs[0], op.outputs[0], **same)


@define("LRNGrad", shape="x x x -> x", heavy=True)
def lrn_grad(
    xp: Any, input_grads: Any, input_image: Any, output_image: Any,
    *, depth_radius: int, bias: float, alpha: float, beta: float, T: DType,
) -> Any:  # fmt: skip
    """The gradient of LRN."""
    check_rank(xp, input_image, [4], "the input")
    dy, x, y = (xp.cast(v, float32) for v in (input_grads, input_image, output_image))
    norm = _near(xp, x * x, depth_radius) * alpha + bias
    shared = _near(xp, dy * y / norm, depth_radius)
    return xp.cast(dy * xp.power(norm, xp.asarray(-beta, float32)) - shared * x * (2.0 * alpha * beta), T)
