"""Kinds of Adam: on the rows that gradients touch alone, with Nesterov's look ahead, with the maximum norm."""

from __future__ import annotations

from typing import Any

import coldframe.tf1 as tf
from coldframe.tf1.dependencies import group
from coldframe.tf1.framework.build import raw, raw_op
from coldframe.tf1.framework.graph import control_dependencies
from coldframe.tf1.train.optimizers import AdamOptimizer, _like
from coldframe.tf1.variables import ResourceVariable


def _write_rows(var: Any, indices: Any, rows: Any, locking: bool) -> Any:
    """Return the operation that replaces rows of a variable."""
    if isinstance(var, ResourceVariable):
        return raw_op("ResourceScatterUpdate", [var, indices, rows], {}, None)
    return raw_op("ScatterUpdate", [var, indices, rows], {"use_locking": locking}, None)


def _take_from_rows(var: Any, indices: Any, rows: Any, locking: bool) -> Any:
    if isinstance(var, ResourceVariable):
        return raw_op("ResourceScatterSub", [var, indices, rows], {}, None)
    return raw_op("ScatterSub", [var, indices, rows], {"use_locking": locking}, None)


class LazyAdamOptimizer(AdamOptimizer):
    """Adam that leaves alone the averages of rows of tables that a step does not touch."""

    def _rows(self, grad: Any, var: Any, indices: Any) -> Any:
        beta1_power, beta2_power = _like(var, *self._get_beta_accumulators())
        lr, beta1, beta2, epsilon = _like(var, self._lr_t, self._beta1_t, self._beta2_t, self._epsilon_t)
        rate = lr * raw.Sqrt(1 - beta2_power) / (1 - beta1_power)
        m, v = self.get_slot(var, "m"), self.get_slot(var, "v")
        m_rows = beta1 * tf.gather(m, indices) + (1 - beta1) * grad
        v_rows = beta2 * tf.gather(v, indices) + (1 - beta2) * tf.square(grad)
        step = rate * m_rows / (tf.sqrt(v_rows) + epsilon)
        return group(
            _take_from_rows(var, indices, step, self._use_locking),
            _write_rows(m, indices, m_rows, self._use_locking),
            _write_rows(v, indices, v_rows, self._use_locking),
        )


class NadamOptimizer(AdamOptimizer):
    """Adam with Nesterov momentum: the step looks at where the average will be."""

    def _dense(self, op: str, grad: Any, var: Any) -> Any:
        m, v = self.get_slot(var, "m"), self.get_slot(var, "v")
        powers = self._get_beta_accumulators()
        if not isinstance(var, ResourceVariable):
            powers = (powers[0].value(), powers[1].value())
        scalars = _like(var, *powers, self._lr_t, self._beta1_t, self._beta2_t, self._epsilon_t)
        attrs = {"use_locking": self._use_locking, "use_nesterov": True}
        made = raw_op(op, [var, m, v, *scalars, grad], attrs, None)
        return getattr(made, "op", made)

    def _rows(self, grad: Any, var: Any, indices: Any) -> Any:
        beta1_power, beta2_power = _like(var, *self._get_beta_accumulators())
        lr, beta1, beta2, epsilon = _like(var, self._lr_t, self._beta1_t, self._beta2_t, self._epsilon_t)
        rate = lr * raw.Sqrt(1 - beta2_power) / (1 - beta1_power)
        scaled = grad * (1 - beta1)
        m = self._average(self.get_slot(var, "m"), beta1, scaled, indices)
        v = self._average(self.get_slot(var, "v"), beta2, (grad * grad) * (1 - beta2), indices)
        with control_dependencies([m]):
            ahead = tf.scatter_nd(tf.expand_dims(indices, 1), scaled, tf.shape(var, out_type=indices.dtype))
            m_bar = ahead + beta1 * m
        step = rate * m_bar / (raw.Sqrt(v) + epsilon)
        return group(tf.assign_sub(var, step, use_locking=self._use_locking), m_bar, v)


class AdaMaxOptimizer(AdamOptimizer):
    """Adam whose second average is the largest gradient so far, which decays."""

    def __init__(
        self, learning_rate: Any = 0.001, beta1: Any = 0.9, beta2: Any = 0.999, epsilon: Any = 1e-8,
        use_locking: bool = False, name: str = "AdaMax",
    ) -> None:  # fmt: skip
        super().__init__(learning_rate, beta1, beta2, epsilon, use_locking, name)

    def _get_beta_accumulators(self) -> Any:
        return self._get_non_slot_variable("beta1_power", tf.get_default_graph())

    def _create_slots(self, var_list: Any) -> None:
        first = min(var_list, key=lambda v: v.name)
        self._create_non_slot_variable(self._call_if_callable(self._beta1), "beta1_power", first)
        for v in var_list:
            self._zeros_slot(v, "m", self._name)
            self._zeros_slot(v, "v", self._name)

    def _rate(self, var: Any, lr: Any) -> Any:
        return lr / (1 - _like(var, self._get_beta_accumulators())[0])

    def _apply_dense(self, grad: Any, var: Any) -> Any:
        return self._step(grad, var)

    def _resource_apply_dense(self, grad: Any, handle: Any) -> Any:
        return self._step(grad, handle)

    def _step(self, grad: Any, var: Any) -> Any:
        lr, beta1, beta2, epsilon = _like(var, self._lr_t, self._beta1_t, self._beta2_t, self._epsilon_t)
        m, v = self.get_slot(var, "m"), self.get_slot(var, "v")
        new_m = tf.assign(m, m * beta1 + grad * (1 - beta1), use_locking=self._use_locking)
        new_v = tf.assign(v, tf.maximum(v * beta2, tf.abs(grad)), use_locking=self._use_locking)
        step = self._rate(var, lr) * (new_m / (new_v + epsilon))
        return tf.assign_sub(var, step, use_locking=self._use_locking).op

    def _rows(self, grad: Any, var: Any, indices: Any) -> Any:
        lr, beta1, beta2, epsilon = _like(var, self._lr_t, self._beta1_t, self._beta2_t, self._epsilon_t)
        m, v = self.get_slot(var, "m"), self.get_slot(var, "v")
        m_rows = tf.gather(m, indices) * beta1 + grad * (1 - beta1)
        v_rows = tf.maximum(tf.gather(v, indices) * beta2, tf.abs(grad))
        step = self._rate(var, lr) * (m_rows / (v_rows + epsilon))
        return group(
            _take_from_rows(var, indices, step, self._use_locking),
            _write_rows(m, indices, m_rows, self._use_locking),
            _write_rows(v, indices, v_rows, self._use_locking),
        )

    def _finish(self, update_ops: Any, name_scope: str) -> Any:
        with control_dependencies(update_ops):
            power = self._get_beta_accumulators()
            with tf.get_default_graph().colocate_with(power):
                grown = power.assign(power * self._beta1_t, use_locking=self._use_locking)
        return group(*update_ops, grown, name=name_scope)


__all__ = ["AdaMaxOptimizer", "LazyAdamOptimizer", "NadamOptimizer"]
