"""Initializers whose spread depends on a weight's numbers of inputs and outputs."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from coldframe import dtypes
from coldframe.tf1 import random_ops
from coldframe.tf1.framework.dtype import as_dtype
from coldframe.tf1.framework.shape import TensorShape


def variance_scaling_initializer(
    factor: float = 2.0,
    mode: str = "FAN_IN",
    uniform: bool = False,
    seed: int | None = None,
    dtype: Any = dtypes.float32,
) -> Callable[..., Any]:
    """Return an initializer of variance `factor` by the number of inputs (``FAN_IN``), outputs, or their mean."""
    if not as_dtype(dtype).is_float:
        raise TypeError("Cannot create initializer for non-floating point type.")
    if mode not in ("FAN_IN", "FAN_OUT", "FAN_AVG"):
        raise TypeError(f"Unknown mode {mode} [FAN_IN, FAN_OUT, FAN_AVG]")

    def initializer(shape: Any, dtype: Any = dtype, partition_info: Any = None) -> Any:
        sizes = [int(d) for d in TensorShape(shape).as_list() if d is not None]
        fan_in = float(sizes[-2] if len(sizes) > 1 else sizes[-1]) if sizes else 1.0
        fan_out = float(sizes[-1]) if sizes else 1.0
        field = math.prod(sizes[:-2])
        count = {"FAN_IN": fan_in * field, "FAN_OUT": fan_out * field, "FAN_AVG": (fan_in + fan_out) * field / 2}[mode]
        if uniform:
            limit = math.sqrt(3.0 * factor / count)
            return random_ops.random_uniform(shape, -limit, limit, dtype, seed=seed)
        return random_ops.truncated_normal(shape, 0.0, math.sqrt(1.3 * factor / count), dtype, seed=seed)

    return initializer


def xavier_initializer(
    uniform: bool = True, seed: int | None = None, dtype: Any = dtypes.float32
) -> Callable[..., Any]:
    """Return an initializer that keeps the scale of gradients about the same in all layers (Glorot and Bengio)."""
    return variance_scaling_initializer(1.0, "FAN_AVG", uniform, seed, dtype)


xavier_initializer_conv2d = xavier_initializer

__all__ = ["variance_scaling_initializer", "xavier_initializer", "xavier_initializer_conv2d"]
