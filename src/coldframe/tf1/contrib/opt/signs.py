"""Steps that are larger where the gradient's sign agrees with that of its average: AddSign, PowerSign; and LARS."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import coldframe.tf1 as tf
from coldframe.tf1.framework.build import raw_op
from coldframe.tf1.framework.convert import convert_to_tensor
from coldframe.tf1.train.optimizer import Optimizer
from coldframe.tf1.train.optimizers import MomentumOptimizer, _like


class _SignOptimizer(Optimizer):
    """Steps along the gradient, scaled by how its sign agrees with that of its average."""

    def __init__(
        self, learning_rate: Any, beta: Any, sign_decay_fn: Callable[[Any], Any] | None, use_locking: bool, name: str
    ) -> None:
        super().__init__(use_locking, name)
        self._lr, self._beta, self._sign_decay_fn = learning_rate, beta, sign_decay_fn

    def apply_gradients(self, grads_and_vars: Any, global_step: Any = None, name: str | None = None) -> Any:
        if self._sign_decay_fn is not None:
            if global_step is None:
                raise ValueError("global_step is required for sign_decay_fn.")
            self._sign_decay_t = convert_to_tensor(self._sign_decay_fn(global_step), name="sign_decay")
        return super().apply_gradients(grads_and_vars, global_step, name)

    def _create_slots(self, var_list: Any) -> None:
        for v in var_list:
            self._zeros_slot(v, "m", self._name)

    def _prepare(self) -> None:
        self._lr_t = self._tensor(self._lr, "learning_rate")
        self._beta_t = self._tensor(self._beta, "beta")
        if self._sign_decay_fn is None:
            self._sign_decay_t = convert_to_tensor(1.0, name="sign_decay")

    def _scale(self, agreement: Any, var: Any) -> Any:
        raise NotImplementedError

    def _apply_dense(self, grad: Any, var: Any) -> Any:
        return self._step(grad, var)

    def _resource_apply_dense(self, grad: Any, handle: Any) -> Any:
        return self._step(grad, handle)

    def _step(self, grad: Any, var: Any) -> Any:
        lr, beta, decay = _like(var, self._lr_t, self._beta_t, self._sign_decay_t)
        m = self.get_slot(var, "m")
        new = tf.assign(m, m * beta + grad * (1 - beta), use_locking=self._use_locking)
        scale = self._scale(decay * tf.sign(grad) * tf.sign(new), var)
        return tf.assign_sub(var, lr * scale * grad, use_locking=self._use_locking).op

    def _apply_sparse(self, grad: Any, var: Any) -> Any:
        return self._step(convert_to_tensor(grad), var)

    def _resource_apply_sparse(self, grad: Any, handle: Any, indices: Any) -> Any:
        return self._step(convert_to_tensor(tf.IndexedSlices(grad, indices, tf.shape(handle))), handle)


class AddSignOptimizer(_SignOptimizer):
    """``var -= learning_rate * (alpha + decay * sign(g) * sign(m)) * g``."""

    def __init__(
        self, learning_rate: Any = 0.1, alpha: Any = 1.0, beta: Any = 0.9,
        sign_decay_fn: Callable[[Any], Any] | None = None, use_locking: bool = False, name: str = "AddSignOptimizer",
    ) -> None:  # fmt: skip
        super().__init__(learning_rate, beta, sign_decay_fn, use_locking, name)
        self._alpha = alpha

    def _prepare(self) -> None:
        super()._prepare()
        self._alpha_t = self._tensor(self._alpha, "alpha")

    def _scale(self, agreement: Any, var: Any) -> Any:
        return _like(var, self._alpha_t)[0] + agreement


class PowerSignOptimizer(_SignOptimizer):
    """``var -= learning_rate * base^(decay * sign(g) * sign(m)) * g``."""

    def __init__(
        self, learning_rate: Any = 0.1, base: Any = math.e, beta: Any = 0.9,
        sign_decay_fn: Callable[[Any], Any] | None = None, use_locking: bool = False, name: str = "PowerSignOptimizer",
    ) -> None:  # fmt: skip
        super().__init__(learning_rate, beta, sign_decay_fn, use_locking, name)
        self._logbase = math.log(base)

    def _scale(self, agreement: Any, var: Any) -> Any:
        return tf.exp(self._logbase * agreement)


def get_linear_decay_fn(decay_steps: int) -> Callable[[Any], Any]:
    """Return a function of the step that falls from 1 to 0 on a line, within `decay_steps`."""
    return lambda step: tf.maximum(1.0 - _part(step, decay_steps), 0.0)


def get_cosine_decay_fn(decay_steps: int, num_periods: float = 0.5, zero_after: float | None = None) -> Any:
    """Return a function of the step that falls from 1 along a cosine of so many periods in `decay_steps`.

    Args:
        zero_after: after so many periods, 0.
    """

    def decay(step: Any) -> Any:
        done = 2.0 * num_periods * _part(step, decay_steps)
        value = 0.5 * (1.0 + tf.cos(math.pi * done))
        return value if zero_after is None else tf.where(done >= 2.0 * zero_after, tf.zeros_like(value), value)

    return decay


def get_restart_decay_fn(decay_steps: int, num_periods: float = 1, zero_after: float | None = None) -> Any:
    """Return a function of the step that falls from 1 along half a cosine, so many times in `decay_steps`."""

    def decay(step: Any) -> Any:
        done = num_periods * _part(step, decay_steps)
        value = 0.5 * (1.0 + tf.cos(math.pi * (done % 1.0)))
        return value if zero_after is None else tf.where(done >= zero_after, tf.zeros_like(value), value)

    return decay


def _part(step: Any, steps: int) -> Any:
    return tf.minimum(tf.cast(step, tf.float32) / float(steps), 1.0)


class LARSOptimizer(MomentumOptimizer):
    """Momentum with a learning rate per variable: by the ratio of its norm to that of its gradient.

    Args:
        weight_decay: added to the gradient, times the variable.
        eeta: of that ratio.
        epsilon: added to norms.
        skip_list: parts of names of variables that get neither.
    """

    def __init__(
        self, learning_rate: Any, momentum: Any = 0.9, weight_decay: float = 0.0001, eeta: float = 0.001,
        epsilon: float = 0.0, name: str = "LARSOptimizer", skip_list: Any = None, use_nesterov: bool = False,
    ) -> None:  # fmt: skip
        if momentum < 0.0:
            raise ValueError(f"momentum should be positive: {momentum}")
        if weight_decay < 0.0:
            raise ValueError(f"weight_decay should be positive: {weight_decay}")
        super().__init__(learning_rate, momentum, False, name, use_nesterov)
        self._weight_decay, self._eeta, self._lars_epsilon = weight_decay, eeta, epsilon
        self._skip_list = list(skip_list or ())

    def _apply(self, prefix: str, grad: Any, var: Any, indices: Any) -> Any:
        if indices is not None or any(part in var.op.name for part in self._skip_list):
            return super()._apply(prefix, grad, var, indices)
        w_norm, g_norm = tf.norm(var), tf.norm(grad)
        ratio = self._eeta * w_norm / (g_norm + self._weight_decay * w_norm + self._lars_epsilon)
        one = tf.ones_like(w_norm)
        trust = tf.where(w_norm > 0, tf.where(g_norm > 0, ratio, one), one)
        rate, momentum = _like(var, self._learning_rate_tensor, self._momentum_tensor)
        grad = grad + self._weight_decay * var
        inputs = [var, self.get_slot(var, "momentum"), rate * trust, grad, momentum]
        attrs = {"use_locking": self._use_locking, **self._attrs()}
        done = raw_op(f"{prefix}{self._op}", inputs, attrs, None)
        return getattr(done, "op", done)


__all__ = [
    "AddSignOptimizer", "LARSOptimizer", "PowerSignOptimizer", "get_cosine_decay_fn", "get_linear_decay_fn",
    "get_restart_decay_fn",
]  # fmt: skip
