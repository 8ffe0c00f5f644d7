"""Learning rates that change with the global step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from coldframe.tf1.framework.build import raw, raw_op
from coldframe.tf1.framework.convert import constant, convert_to_tensor
from coldframe.tf1.framework.graph import name_scope


def _cast(value: Any, dtype: Any) -> Any:
    tensor = convert_to_tensor(value)
    return tensor if tensor.dtype is dtype else raw.Cast(tensor, DstT=dtype)


def _need_step(global_step: Any, what: str) -> None:
    if global_step is None:
        raise ValueError(f"global_step is required for {what}.")


def exponential_decay(
    learning_rate: Any, global_step: Any, decay_steps: Any, decay_rate: Any, staircase: bool = False,
    name: str | None = None,
) -> Any:  # fmt: skip
    """Return ``learning_rate * decay_rate ^ (global_step / decay_steps)``; whole powers only where `staircase`."""
    _need_step(global_step, "exponential_decay")
    with name_scope(name, "ExponentialDecay", [learning_rate, global_step, decay_steps, decay_rate]) as scope:
        rate = convert_to_tensor(learning_rate, name="initial_learning_rate")
        steps, base = _cast(decay_steps, rate.dtype), _cast(decay_rate, rate.dtype)
        power = _cast(global_step, rate.dtype) / steps
        if staircase:
            power = raw.Floor(power)
        return raw_op("Mul", [rate, raw.Pow(base, power)], {}, scope)


def natural_exp_decay(
    learning_rate: Any, global_step: Any, decay_steps: Any, decay_rate: Any, staircase: bool = False,
    name: str | None = None,
) -> Any:  # fmt: skip
    """Return ``learning_rate * exp(-decay_rate * global_step / decay_steps)``."""
    factor = math.exp(-decay_rate) if isinstance(decay_rate, (int, float)) else raw.Exp(raw.Neg(decay_rate))
    return exponential_decay(learning_rate, global_step, decay_steps, factor, staircase, name or "NaturalExpDecay")


def inverse_time_decay(
    learning_rate: Any, global_step: Any, decay_steps: Any, decay_rate: Any, staircase: bool = False,
    name: str | None = None,
) -> Any:  # fmt: skip
    """Return ``learning_rate / (1 + decay_rate * global_step / decay_steps)``."""
    _need_step(global_step, "inverse_time_decay")
    with name_scope(name, "InverseTimeDecay", [learning_rate, global_step, decay_rate]) as scope:
        rate = convert_to_tensor(learning_rate, name="initial_learning_rate")
        share = _cast(global_step, rate.dtype) / _cast(decay_steps, rate.dtype)
        if staircase:
            share = raw.Floor(share)
        below = raw.AddV2(constant(1, rate.dtype), raw.Mul(_cast(decay_rate, rate.dtype), share))
        return raw_op("RealDiv", [rate, below], {}, scope)


def polynomial_decay(
    learning_rate: Any, global_step: Any, decay_steps: Any, end_learning_rate: Any = 0.0001, power: Any = 1.0,
    cycle: bool = False, name: str | None = None,
) -> Any:  # fmt: skip
    """Return a rate that falls to `end_learning_rate` in `decay_steps`, as a polynomial of that power."""
    _need_step(global_step, "polynomial_decay")
    with name_scope(name, "PolynomialDecay", [learning_rate, global_step, decay_steps, end_learning_rate]) as scope:
        rate = convert_to_tensor(learning_rate, name="initial_learning_rate")
        end, exponent = _cast(end_learning_rate, rate.dtype), _cast(power, rate.dtype)
        step, steps = _cast(global_step, rate.dtype), _cast(decay_steps, rate.dtype)
        if cycle:
            zero = raw.Equal(step, 0)
            multiplier = raw.Select(zero, constant(1.0, rate.dtype), raw.Ceil(step / decay_steps))
            steps = raw.Mul(steps, multiplier)
        else:
            step = raw.Minimum(step, steps)
        share = raw.RealDiv(step, steps)
        left = raw.Mul(rate - end, raw.Pow(1 - share, exponent))
        return raw_op("AddV2", [left, end], {}, scope)


def piecewise_constant(x: Any, boundaries: Sequence[Any], values: Sequence[Any], name: str | None = None) -> Any:
    """Return ``values[i]`` where `x` lies in the i-th interval between `boundaries` (the right ends belong to it)."""
    if len(boundaries) != len(values) - 1:
        raise ValueError("The length of boundaries should be 1 less than the length of values")
    with name_scope(name, "PiecewiseConstant", [x, *boundaries, *values]) as scope:
        at = convert_to_tensor(x, name="x")
        ends = [_cast(b, at.dtype) for b in boundaries]
        levels = [convert_to_tensor(v, name=f"values_{i}") for i, v in enumerate(values)]
        chosen = levels[-1]
        for end, level in zip(reversed(ends), reversed(levels[:-1]), strict=True):
            chosen = raw.Select(raw.LessEqual(at, end), level, chosen)
        return raw_op("Identity", [chosen], {}, scope)


def cosine_decay(
    learning_rate: Any, global_step: Any, decay_steps: Any, alpha: Any = 0.0, name: str | None = None
) -> Any:
    """Return a rate that falls to ``alpha * learning_rate`` along half a cosine."""
    _need_step(global_step, "cosine_decay")
    with name_scope(name, "CosineDecay", [learning_rate, global_step]) as scope:
        rate = convert_to_tensor(learning_rate, name="initial_learning_rate")
        share = _share(global_step, decay_steps, rate.dtype)
        curve = 0.5 * (1.0 + raw.Cos(constant(math.pi, rate.dtype) * share))
        return raw_op("Mul", [rate, (1 - alpha) * curve + alpha], {}, scope)


def _share(global_step: Any, decay_steps: Any, dtype: Any) -> Any:
    steps = _cast(decay_steps, dtype)
    return raw.Minimum(_cast(global_step, dtype), steps) / steps


def cosine_decay_restarts(
    learning_rate: Any, global_step: Any, first_decay_steps: Any, t_mul: float = 2.0, m_mul: float = 1.0,
    alpha: float = 0.0, name: str | None = None,
) -> Any:  # fmt: skip
    """Return cosine decays one after the other, each `t_mul` times as long and `m_mul` times as high."""
    _need_step(global_step, "cosine_decay_restarts")
    with name_scope(name, "SGDRDecay", [learning_rate, global_step]) as scope:
        rate = convert_to_tensor(learning_rate, name="initial_learning_rate")
        share = _cast(global_step, rate.dtype) / _cast(first_decay_steps, rate.dtype)
        if t_mul == 1.0:
            restart = raw.Floor(share)
            inside = share - restart
        else:
            restart = raw.Floor(raw.Log(1.0 - share * (1.0 - t_mul)) / math.log(t_mul))
            grown = raw.Pow(constant(t_mul, rate.dtype), restart)
            inside = (share - (1.0 - grown) / (1.0 - t_mul)) / grown
        height = raw.Pow(constant(m_mul, rate.dtype), restart)
        curve = 0.5 * height * (1.0 + raw.Cos(constant(math.pi, rate.dtype) * inside))
        return raw_op("Mul", [rate, (1 - alpha) * curve + alpha], {}, scope)


def linear_cosine_decay(
    learning_rate: Any, global_step: Any, decay_steps: Any, num_periods: float = 0.5, alpha: float = 0.0,
    beta: float = 0.001, name: str | None = None,
) -> Any:  # fmt: skip
    """Return a linear decay times a cosine."""
    _need_step(global_step, "linear_cosine_decay")
    with name_scope(name, "LinearCosineDecay", [learning_rate, global_step]) as scope:
        rate = convert_to_tensor(learning_rate, name="initial_learning_rate")
        share = _share(global_step, decay_steps, rate.dtype)
        curve = 0.5 * (1.0 + raw.Cos(constant(math.pi, rate.dtype) * (2.0 * num_periods * share)))
        return raw_op("Mul", [rate, (alpha + (1.0 - share)) * curve + beta], {}, scope)


def noisy_linear_cosine_decay(
    learning_rate: Any, global_step: Any, decay_steps: Any, initial_variance: float = 1.0,
    variance_decay: float = 0.55, num_periods: float = 0.5, alpha: float = 0.0, beta: float = 0.001,
    name: str | None = None,
) -> Any:  # fmt: skip
    """Return a linear decay with noise that dies away, times a cosine."""
    from coldframe.tf1.random_ops import random_normal

    _need_step(global_step, "noisy_linear_cosine_decay")
    with name_scope(name, "NoisyLinearCosineDecay", [learning_rate, global_step]) as scope:
        rate = convert_to_tensor(learning_rate, name="initial_learning_rate")
        step = raw.Minimum(_cast(global_step, rate.dtype), _cast(decay_steps, rate.dtype))
        share = step / _cast(decay_steps, rate.dtype)
        deviation = raw.Sqrt(initial_variance / raw.Pow(1.0 + step, variance_decay))
        noisy = (1.0 - share) + random_normal([], stddev=1.0, dtype=rate.dtype) * deviation
        curve = 0.5 * (1.0 + raw.Cos(constant(math.pi, rate.dtype) * (2.0 * num_periods * share)))
        return raw_op("Mul", [rate, (alpha + noisy) * curve + beta], {}, scope)


piecewise_constant_decay = piecewise_constant
