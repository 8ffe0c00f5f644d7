"""Pooling: the maximum or mean over windows of pixels."""

from __future__ import annotations

from typing import Any

import numpy as np

from coldframe import dtypes
from coldframe.tf1.framework.build import raw
from coldframe.tf1.framework.convert import convert_to_tensor
from coldframe.tf1.framework.graph import name_scope
from coldframe.tf1.nn.conv_ops import dilated, per_dimension
from coldframe.tf1.shape_ops import expand_dims, squeeze
from coldframe.tf1.simple import either


def _channel(data_format: str | None, n: int) -> int:
    return 1 if data_format is not None and data_format.startswith("NC") else n + 1


def max_pool(
    value: Any, ksize: Any, strides: Any, padding: Any, data_format: str | None = "NHWC", name: str | None = None,
    input: Any = None,
) -> Any:  # fmt: skip
    """Return the maximum over windows of images.

    Args:
        value: ``[batch, height, width, channels]``.
        ksize, strides: the size of a window and the steps between windows: one number, two, or four.
        padding: ``"SAME"``, ``"VALID"`` or four pairs of numbers of rows.
    """
    value = either("input", input, "value", value)
    with name_scope(name, "MaxPool", [value]) as scope:
        data_format = data_format or "NHWC"
        channel = _channel(data_format, 2)
        explicit: list[int] = []
        if isinstance(padding, (list, tuple)):
            padding, explicit = "EXPLICIT", [int(p) for pair in padding for p in pair]
        if np.isscalar(ksize) and ksize == 0:
            raise ValueError("ksize cannot be zero")
        return raw.MaxPool(
            value, ksize=per_dimension(ksize, 2, channel, "ksize"),
            strides=per_dimension(strides, 2, channel, "strides"), padding=padding, explicit_paddings=explicit,
            data_format=data_format, name=scope,
        )  # fmt: skip


def avg_pool(
    value: Any, ksize: Any, strides: Any, padding: Any, data_format: str | None = "NHWC", name: str | None = None,
    input: Any = None,
) -> Any:  # fmt: skip
    """Return the mean over windows of images; see `max_pool`."""
    value = either("input", input, "value", value)
    with name_scope(name, "AvgPool", [value]) as scope:
        data_format = data_format or "NHWC"
        channel = _channel(data_format, 2)
        return raw.AvgPool(
            value, ksize=per_dimension(ksize, 2, channel, "ksize"),
            strides=per_dimension(strides, 2, channel, "strides"), padding=padding, data_format=data_format, name=scope,
        )  # fmt: skip


max_pool2d = max_pool_v1 = max_pool
avg_pool2d = avg_pool


def _pool1d(op: Any, default: str) -> Any:
    def function(
        input: Any, ksize: Any, strides: Any, padding: Any, data_format: str = "NWC", name: str | None = None
    ) -> Any:
        with name_scope(name, default, [input]) as scope:
            data_format = data_format or "NWC"
            channel = 1 if data_format.startswith("NC") else 2
            at = 2 if channel == 1 else 1
            result = op(
                expand_dims(input, at), ksize=[1, *per_dimension(ksize, 1, channel, "ksize")],
                strides=[1, *per_dimension(strides, 1, channel, "strides")], padding=padding,
                data_format="NHWC" if data_format == "NWC" else "NCHW", name=scope,
            )  # fmt: skip
            return squeeze(result, at)

    function.__doc__ = "Return the pooled windows of ``[batch, width, channels]``."
    return function


def _pool3d(op: Any, default: str) -> Any:
    def function(
        input: Any, ksize: Any, strides: Any, padding: Any, data_format: str = "NDHWC", name: str | None = None
    ) -> Any:
        with name_scope(name, default, [input]) as scope:
            data_format = data_format or "NDHWC"
            channel = _channel(data_format, 3)
            return op(
                input, ksize=per_dimension(ksize, 3, channel, "ksize"),
                strides=per_dimension(strides, 3, channel, "strides"), padding=padding, data_format=data_format,
                name=scope,
            )  # fmt: skip

    function.__doc__ = "Return the pooled windows of ``[batch, depth, height, width, channels]``."
    return function


max_pool1d, avg_pool1d = _pool1d(raw.MaxPool, "MaxPool1d"), _pool1d(raw.AvgPool, "AvgPool1D")
max_pool3d, avg_pool3d = _pool3d(raw.MaxPool3D, "MaxPool3D"), _pool3d(raw.AvgPool3D, "AvgPool3D")


def max_pool_v2(
    input: Any, ksize: Any, strides: Any, padding: Any, data_format: str | None = None, name: str | None = None
) -> Any:
    """Return the maximum over windows of ``[batch, ..., channels]`` with one to three dimensions of space."""
    return _by_rank((max_pool1d, max_pool, max_pool3d), input, ksize, strides, padding, data_format, name)


def avg_pool_v2(
    input: Any, ksize: Any, strides: Any, padding: Any, data_format: str | None = None, name: str | None = None
) -> Any:
    """Return the mean over windows of ``[batch, ..., channels]`` with one to three dimensions of space."""
    return _by_rank((avg_pool1d, avg_pool, avg_pool3d), input, ksize, strides, padding, data_format, name)


def _by_rank(
    pools: tuple[Any, ...], value: Any, ksize: Any, strides: Any, padding: Any, data_format: str | None,
    name: str | None,
) -> Any:  # fmt: skip
    value = convert_to_tensor(value)
    rank = value.static_shape.rank
    n = len(data_format) - 2 if data_format is not None else (rank or 0) - 2
    if not 1 <= n <= 3 or rank not in (None, n + 2):
        raise ValueError(f"`input.shape.rank` must be 3, 4 or 5, and fit `data_format`; received {rank}")
    return pools[n - 1](value, ksize, strides, padding, data_format or ("NWC", "NHWC", "NDHWC")[n - 1], name)


def max_pool_with_argmax(
    input: Any, ksize: Any, strides: Any, padding: str, data_format: str = "NHWC", Targmax: Any = None,
    name: str | None = None, output_dtype: Any = None, include_batch_in_index: bool = False,
) -> Any:  # fmt: skip
    """Return the maximum over windows, and where it is, as an index into the flattened image."""
    if data_format not in (None, "NHWC"):
        raise ValueError("Data formats other than 'NHWC' are not yet supported")
    kind = either("output_dtype", output_dtype, "Targmax", Targmax)
    return raw.MaxPoolWithArgmax(
        input, ksize=ksize, strides=strides, padding=padding, Targmax=dtypes.int64 if kind is None else kind,
        include_batch_in_index=include_batch_in_index, name=name,
    )  # fmt: skip


def _fractional(op: Any, what: str) -> Any:
    def function(
        value: Any, pooling_ratio: Any, pseudo_random: bool = False, overlapping: bool = False,
        deterministic: bool = False, seed: int = 0, seed2: int = 0, name: str | None = None,
    ) -> Any:  # fmt: skip
        return op(
            value, pooling_ratio=pooling_ratio, pseudo_random=pseudo_random, overlapping=overlapping,
            deterministic=deterministic, seed=seed, seed2=seed2, name=name,
        )  # fmt: skip

    function.__doc__ = f"""Return the {what} over windows of random sizes, `pooling_ratio` (4 numbers) on average.

    Returns:
        The pooled images, and the rows and columns that windows begin at.
    """
    return function


fractional_max_pool = _fractional(raw.FractionalMaxPool, "maximum")
fractional_avg_pool = _fractional(raw.FractionalAvgPool, "mean")


def pool(
    input: Any, window_shape: Any, pooling_type: str, padding: Any, dilation_rate: Any = None, strides: Any = None,
    name: str | None = None, data_format: str | None = None, dilations: Any = None,
) -> Any:  # fmt: skip
    """Return pooled windows of an input of 1 to 3 spatial dimensions.

    Args:
        window_shape, dilation_rate, strides: one number per spatial dimension.
        pooling_type: ``"MAX"`` or ``"AVG"``.
    """
    n = len(window_shape)
    if not 1 <= n <= 3:
        raise ValueError(f"`num_spatial_dims` must be 1, 2, or 3. Received: {n}")
    ops = {"MAX": (max_pool1d, max_pool, max_pool3d), "AVG": (avg_pool1d, avg_pool, avg_pool3d)}
    if pooling_type not in ops:
        raise ValueError(f"`pooling_type` must be one of 'MAX', 'AVG'. Received: pooling_type={pooling_type}.")
    op = ops[pooling_type][n - 1]
    rates = either("dilations", dilations, "dilation_rate", dilation_rate)
    scope_name = f"{pooling_type.lower()}_pool"
    with name_scope(name, scope_name, [input]) as scope:
        x = convert_to_tensor(input)
        first = data_format is not None and data_format.startswith("NC")
        steps = [1] * n if strides is None else list(strides)
        gaps = [1] * n if rates is None else list(rates)
        if any(s > 1 for s in steps) and any(g > 1 for g in gaps):
            raise ValueError("strides > 1 not supported in conjunction with dilation_rate > 1")
        formats = {"data_format": data_format} if data_format is not None else {}

        def around(numbers: list[int]) -> list[int]:
            return [1, 1, *numbers] if first else [1, *numbers, 1]

        def one(value: Any, padding: Any) -> Any:
            return op(value, around(list(window_shape)), around(steps), padding, name=scope, **formats)

        return dilated(x, gaps, padding, one, np.array(window_shape, np.int32), data_format)


__all__ = [
    "avg_pool", "avg_pool1d", "avg_pool2d", "avg_pool3d", "avg_pool_v2", "fractional_avg_pool", "fractional_max_pool",
    "max_pool", "max_pool1d", "max_pool2d", "max_pool3d", "max_pool_v1", "max_pool_v2", "max_pool_with_argmax",
    "pool",
]  # fmt: skip
