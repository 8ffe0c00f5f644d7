"""Random tensors that depend on their seed alone: `tf.random.stateless_uniform` and its like.

`seed` is a tensor of two integers. The numbers are those of TensorFlow's CPU kernels.
"""

from __future__ import annotations

from typing import Any

from coldframe import dtypes
from coldframe.tf1.framework.build import raw
from coldframe.tf1.framework.convert import convert_to_tensor
from coldframe.tf1.framework.dtype import as_dtype
from coldframe.tf1.framework.graph import name_scope
from coldframe.tf1.random_ops import _shape


def stateless_random_uniform(
    shape: Any, seed: Any, minval: Any = 0, maxval: Any = None, dtype: Any = dtypes.float32, name: str | None = None
) -> Any:
    """Return numbers from `minval` up to, but not with, `maxval` (1 where left out).

    Raises:
        ValueError: integers without `maxval`, where `minval` is given; all integers come where both are None.
    """
    kind = as_dtype(dtype)
    with name_scope(name, "stateless_random_uniform", [shape, seed, minval, maxval]) as scope:
        if kind.is_integer:
            if (minval is None) != (maxval is None):
                raise ValueError(f"For integer dtype {kind!r}, minval and maxval must be both None or both non-None.")
            if minval is None:
                return raw.StatelessRandomUniformFullInt(_shape(shape), seed, dtype=kind, name=scope)
            low, high = convert_to_tensor(minval, kind, name="min"), convert_to_tensor(maxval, kind, name="max")
            return raw.StatelessRandomUniformInt(_shape(shape), seed, low, high, name=scope)
        low = convert_to_tensor(minval, kind, name="min")
        high = convert_to_tensor(1 if maxval is None else maxval, kind, name="max")
        drawn = raw.StatelessRandomUniform(_shape(shape), seed, dtype=kind)
        return raw.AddV2(drawn * (high - low), low, name=scope)


def stateless_random_normal(
    shape: Any, seed: Any, mean: Any = 0.0, stddev: Any = 1.0, dtype: Any = dtypes.float32, name: str | None = None
) -> Any:
    """Return numbers of a normal distribution."""
    return _normal(raw.StatelessRandomNormal, "stateless_random_normal", shape, seed, mean, stddev, dtype, name)


def stateless_truncated_normal(
    shape: Any, seed: Any, mean: Any = 0.0, stddev: Any = 1.0, dtype: Any = dtypes.float32, name: str | None = None
) -> Any:
    """Return numbers of a normal distribution, none farther than two deviations from the mean."""
    return _normal(raw.StatelessTruncatedNormal, "stateless_truncated_normal", shape, seed, mean, stddev, dtype, name)


def _normal(
    op: Any, default: str, shape: Any, seed: Any, mean: Any, stddev: Any, dtype: Any, name: str | None
) -> Any:  # fmt: skip
    kind = as_dtype(dtype)
    with name_scope(name, default, [shape, seed, mean, stddev]) as scope:
        drawn = op(_shape(shape), seed, dtype=kind)
        scaled = drawn * convert_to_tensor(stddev, kind, name="stddev")
        return raw.AddV2(scaled, convert_to_tensor(mean, kind, name="mean"), name=scope)


def stateless_multinomial(
    logits: Any, num_samples: Any, seed: Any, output_dtype: Any = dtypes.int64, name: str | None = None
) -> Any:
    """Return classes drawn by their unnormalised log-probabilities.

    Args:
        logits: shape [batch, classes].
        num_samples: how many to draw for each row.

    Returns:
        Shape [batch, num_samples].
    """
    with name_scope(name, "stateless_multinomial", [logits, seed]):
        return raw.StatelessMultinomial(logits, num_samples, seed, output_dtype=as_dtype(output_dtype))


def stateless_categorical(
    logits: Any, num_samples: Any, seed: Any, dtype: Any = dtypes.int64, name: str | None = None
) -> Any:
    """Return classes drawn by their unnormalised log-probabilities; as `stateless_multinomial`."""
    with name_scope(name, "stateless_categorical", [logits, seed]):
        return raw.StatelessMultinomial(logits, num_samples, seed, output_dtype=as_dtype(dtype))


__all__ = [
    "stateless_categorical", "stateless_multinomial", "stateless_random_normal", "stateless_random_uniform",
    "stateless_truncated_normal",
]  # fmt: skip
