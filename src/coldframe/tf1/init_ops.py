"""Initializers: callables ``(shape, dtype, partition_info) -> tensor`` that variables start from."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from coldframe import dtypes
from coldframe.tf1 import random_ops
from coldframe.tf1.framework.build import raw_op
from coldframe.tf1.framework.convert import constant
from coldframe.tf1.framework.dtype import as_dtype
from coldframe.tf1.framework.shape import as_static


class Initializer:
    """Base of all initializers."""

    def __call__(self, shape: Any, dtype: Any = None, partition_info: Any = None) -> Any:
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        """Return the arguments it was made with."""
        return {k.lstrip("_"): v.name if isinstance(v, dtypes.DType) else v for k, v in vars(self).items()}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Initializer:
        """Make one from what `get_config` returned."""
        return cls(**config)


class Zeros(Initializer):
    """Zeros."""

    def __init__(self, dtype: Any = dtypes.float32) -> None:
        self.dtype = as_dtype(dtype)

    def __call__(self, shape: Any, dtype: Any = None, partition_info: Any = None) -> Any:
        from coldframe.tf1.array_ops import zeros

        return zeros(shape, dtype or self.dtype)


class Ones(Initializer):
    """Ones."""

    def __init__(self, dtype: Any = dtypes.float32) -> None:
        self.dtype = as_dtype(dtype)

    def __call__(self, shape: Any, dtype: Any = None, partition_info: Any = None) -> Any:
        from coldframe.tf1.array_ops import ones

        return ones(shape, dtype or self.dtype)


class Constant(Initializer):
    """Given values: a number, or as many as the variable has elements."""

    def __init__(self, value: Any = 0, dtype: Any = dtypes.float32, verify_shape: bool = False) -> None:
        if not (np.isscalar(value) or isinstance(value, (list, tuple, np.ndarray))):
            raise TypeError(
                f"Invalid type for initial value: {type(value).__name__}. A number, list or array is needed."
            )
        self.value, self.dtype, self._verify_shape = value, as_dtype(dtype), verify_shape

    def __call__(
        self, shape: Any, dtype: Any = None, partition_info: Any = None, verify_shape: bool | None = None
    ) -> Any:
        verify = self._verify_shape if verify_shape is None else verify_shape
        return constant(self.value, dtype or self.dtype, shape=shape, verify_shape=verify)


class _Random(Initializer):
    _draw: Callable[..., Any] = staticmethod(random_ops.random_normal)

    def __init__(self, first: Any, second: Any, seed: int | None, dtype: Any) -> None:
        self._first, self._second, self.seed, self.dtype = first, second, seed, as_dtype(dtype)

    def __call__(self, shape: Any, dtype: Any = None, partition_info: Any = None) -> Any:
        return self._draw(shape, self._first, self._second, dtype or self.dtype, seed=self.seed)


class RandomUniform(_Random):
    """Numbers spread evenly over [minval, maxval)."""

    _draw = staticmethod(random_ops.random_uniform)

    def __init__(
        self, minval: Any = -0.05, maxval: Any = 0.05, seed: int | None = None, dtype: Any = dtypes.float32
    ) -> None:
        super().__init__(minval, maxval, seed, dtype)


class RandomUniformV1(RandomUniform):
    """``tf.random_uniform_initializer``: [0, 1) unless told otherwise."""

    def __init__(
        self, minval: Any = 0.0, maxval: Any = None, seed: int | None = None, dtype: Any = dtypes.float32
    ) -> None:
        super().__init__(minval, maxval, seed, dtype)


class RandomNormal(_Random):
    """Normally distributed numbers."""

    def __init__(
        self, mean: Any = 0.0, stddev: Any = 1.0, seed: int | None = None, dtype: Any = dtypes.float32
    ) -> None:
        super().__init__(mean, stddev, seed, dtype)


class TruncatedNormal(_Random):
    """Normally distributed numbers within two deviations."""

    _draw = staticmethod(random_ops.truncated_normal)

    def __init__(
        self, mean: Any = 0.0, stddev: Any = 1.0, seed: int | None = None, dtype: Any = dtypes.float32
    ) -> None:
        super().__init__(mean, stddev, seed, dtype)


class UniformUnitScaling(Initializer):
    """Uniform numbers scaled to keep the variance through a layer: ``factor * sqrt(3 / inputs)``."""

    def __init__(self, factor: float = 1.0, seed: int | None = None, dtype: Any = dtypes.float32) -> None:
        self.factor, self.seed, self.dtype = factor, seed, as_dtype(dtype)

    def __call__(self, shape: Any, dtype: Any = None, partition_info: Any = None) -> Any:
        dims = (partition_info.full_shape if partition_info is not None else None) or _dims(shape)
        inputs = 1.0
        for d in dims[:-1]:
            inputs *= float(d)
        limit = math.sqrt(3 / max(1.0, inputs)) * self.factor
        return random_ops.random_uniform(shape, -limit, limit, dtype or self.dtype, seed=self.seed)


class VarianceScaling(Initializer):
    """Random numbers of variance ``scale / n``, n the number of inputs, outputs, or their mean.

    Args:
        mode: ``fan_in``, ``fan_out`` or ``fan_avg``.
        distribution: ``truncated_normal`` (or ``normal``), ``untruncated_normal`` or ``uniform``.
    """

    def __init__(
        self, scale: float = 1.0, mode: str = "fan_in", distribution: str = "truncated_normal",
        seed: int | None = None, dtype: Any = dtypes.float32,
    ) -> None:  # fmt: skip
        if scale <= 0:
            raise ValueError(f"`scale` must be a positive number, not {scale}")
        if mode not in ("fan_in", "fan_out", "fan_avg"):
            raise ValueError(f"Invalid `mode` argument: {mode}")
        distribution = distribution.lower()
        if distribution not in ("normal", "uniform", "truncated_normal", "untruncated_normal"):
            raise ValueError(f"Invalid `distribution` argument: {distribution}")
        self.scale, self.mode, self.distribution = scale, mode, distribution
        self.seed, self.dtype = seed, as_dtype(dtype)

    def __call__(self, shape: Any, dtype: Any = None, partition_info: Any = None) -> Any:
        full = partition_info.full_shape if partition_info is not None else shape
        fan_in, fan_out = _fans(_dims(full))
        n = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2.0}[self.mode]
        scale = self.scale / max(1.0, n)
        kind = dtype or self.dtype
        if self.distribution in ("normal", "truncated_normal"):
            # The deviation of a normal distribution that is cut at two deviations.
            stddev = math.sqrt(scale) / 0.87962566103423978
            return random_ops.truncated_normal(shape, 0.0, stddev, kind, seed=self.seed)
        if self.distribution == "untruncated_normal":
            return random_ops.random_normal(shape, 0.0, math.sqrt(scale), kind, seed=self.seed)
        limit = math.sqrt(3.0 * scale)
        return random_ops.random_uniform(shape, -limit, limit, kind, seed=self.seed)


class GlorotUniform(VarianceScaling):
    """Uniform numbers of variance ``2 / (inputs + outputs)``; also called Xavier."""

    def __init__(self, seed: int | None = None, dtype: Any = dtypes.float32) -> None:
        super().__init__(1.0, "fan_avg", "uniform", seed, dtype)


class GlorotNormal(VarianceScaling):
    """Truncated normal numbers of variance ``2 / (inputs + outputs)``; also called Xavier."""

    def __init__(self, seed: int | None = None, dtype: Any = dtypes.float32) -> None:
        super().__init__(1.0, "fan_avg", "truncated_normal", seed, dtype)


class Orthogonal(Initializer):
    """An orthogonal matrix, or its first rows or columns, times `gain`."""

    def __init__(self, gain: float = 1.0, seed: int | None = None, dtype: Any = dtypes.float32) -> None:
        self.gain, self.seed, self.dtype = gain, seed, as_dtype(dtype)

    def __call__(self, shape: Any, dtype: Any = None, partition_info: Any = None) -> Any:
        from coldframe.tf1.array_ops import matrix_transpose, reshape

        dims = _dims(shape)
        if len(dims) < 2:
            raise ValueError("The tensor to initialize must be at least two-dimensional")
        rows, columns = int(np.prod(dims[:-1])), dims[-1]
        flat = (max(rows, columns), min(rows, columns))
        drawn = random_ops.random_normal(flat, dtype=dtype or self.dtype, seed=self.seed)
        q, r = raw_op("Qr", [drawn], {"full_matrices": False}, None)
        q = q * raw_op("Sign", [raw_op("DiagPart", [r], {}, None)], {}, None)
        if rows < columns:
            q = matrix_transpose(q)
        return self.gain * reshape(q, dims)


class Identity(Initializer):
    """The identity matrix times `gain`; two dimensions only."""

    def __init__(self, gain: float = 1.0, dtype: Any = dtypes.float32) -> None:
        self.gain, self.dtype = gain, as_dtype(dtype)

    def __call__(self, shape: Any, dtype: Any = None, partition_info: Any = None) -> Any:
        from coldframe.tf1.linalg_ops import eye

        dims = _dims(partition_info.full_shape if partition_info is not None else shape)
        if len(dims) != 2:
            raise ValueError("Identity matrix initializer can only be used for 2D matrices.")
        made = eye(dims[0], dims[1], dtype=dtype or self.dtype)
        return made if self.gain == 1.0 else self.gain * made


def _dims(shape: Any) -> list[int]:
    dims = as_static(shape).dims
    if dims is None or None in dims:
        raise ValueError(f"an initializer needs a shape that is fully known, not {shape}")
    return [int(d) for d in dims if d is not None]


def _fans(dims: list[int]) -> tuple[float, float]:
    """Return the numbers of inputs and outputs of a unit, for a weight of this shape."""
    if not dims:
        return 1, 1
    if len(dims) == 1:
        return dims[0], dims[0]
    if len(dims) == 2:
        return dims[0], dims[1]
    field = int(np.prod(dims[:-2]))
    return dims[-2] * field, dims[-1] * field


def lecun_normal(seed: int | None = None) -> VarianceScaling:
    """Return truncated normal numbers of variance ``1 / inputs``."""
    return VarianceScaling(1.0, "fan_in", "truncated_normal", seed)


def lecun_uniform(seed: int | None = None) -> VarianceScaling:
    """Return uniform numbers of variance ``1 / inputs``."""
    return VarianceScaling(1.0, "fan_in", "uniform", seed)


def he_normal(seed: int | None = None) -> VarianceScaling:
    """Return truncated normal numbers of variance ``2 / inputs``."""
    return VarianceScaling(2.0, "fan_in", "truncated_normal", seed)


def he_uniform(seed: int | None = None) -> VarianceScaling:
    """Return uniform numbers of variance ``2 / inputs``."""
    return VarianceScaling(2.0, "fan_in", "uniform", seed)


zeros_initializer, ones_initializer, constant_initializer = Zeros, Ones, Constant
random_uniform_initializer, random_normal_initializer = RandomUniformV1, RandomNormal
truncated_normal_initializer, uniform_unit_scaling_initializer = TruncatedNormal, UniformUnitScaling
variance_scaling_initializer, orthogonal_initializer = VarianceScaling, Orthogonal
glorot_uniform_initializer, glorot_normal_initializer = GlorotUniform, GlorotNormal
