"""Optimizers around another one: averages of the variables, and norms of variables that stay below a limit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import coldframe.tf1 as tf
from coldframe.tf1.framework.build import raw_op
from coldframe.tf1.framework.convert import IndexedSlices
from coldframe.tf1.train.optimizer import Optimizer
from coldframe.tf1.variables import ResourceVariable


class MovingAverageOptimizer(Optimizer):
    """Trains with another optimizer and keeps moving averages of what it trains.

    Args:
        opt: the optimizer.
        average_decay, num_updates: of `tf.train.ExponentialMovingAverage`.
        sequential_update: update averages after variables, rather than at the same time.
    """

    def __init__(
        self, opt: Optimizer, average_decay: float = 0.9999, num_updates: Any = None, sequential_update: bool = True
    ) -> None:
        super().__init__(False, "MovingAverageOptimizer")
        self._optimizer, self._sequential_update = opt, sequential_update
        self._ema = tf.train.ExponentialMovingAverage(average_decay, num_updates=num_updates)
        self._averaged: list[Any] = []

    def compute_gradients(self, *args: Any, **kwargs: Any) -> list[tuple[Any, Any]]:
        return self._optimizer.compute_gradients(*args, **kwargs)

    def apply_gradients(self, grads_and_vars: Any, global_step: Any = None, name: str | None = None) -> Any:
        pairs = list(grads_and_vars)
        train = self._optimizer.apply_gradients(pairs, global_step=global_step, name=name)
        self._averaged = [v for g, v in pairs if g is not None]
        with tf.control_dependencies([train] if self._sequential_update else None):
            averages = self._ema.apply(self._averaged)
        return tf.group(train, averages, name="train_with_avg")

    def get_slot(self, var: Any, name: str) -> Any:
        return self._optimizer.get_slot(var, name)

    def get_slot_names(self) -> list[str]:
        return self._optimizer.get_slot_names()

    def variables(self) -> list[Any]:
        return self._optimizer.variables()

    def swapping_saver(self, var_list: Any = None, name: str = "swapping_saver", **kwargs: Any) -> Any:
        """Return a Saver that saves averages under the variables' names, and the other way round.

        Raises:
            RuntimeError: `apply_gradients` or `minimize` has not been called.
        """
        if not self._averaged:
            raise RuntimeError("Must call apply_gradients or minimize before creating the swapping_saver")
        averages = {v: self._ema.average(v) for v in self._averaged}
        swapped = {**averages, **{a: v for v, a in averages.items()}}
        if isinstance(var_list, Mapping):
            named = {n: swapped.get(v, v) for n, v in var_list.items()}
        else:
            listed = tf.global_variables() if var_list is None else var_list
            named = {v.op.name: swapped.get(v, v) for v in listed}
        return tf.train.Saver(named, name=name, **kwargs)


class VariableClippingOptimizer(Optimizer):
    """Trains with another optimizer and clips the norms of variables after each step.

    Args:
        opt: the optimizer.
        vars_to_clip_dims: for each variable to clip: along which axes its norms are taken.
        max_norm: the largest norm that is left.
        use_locking, colocate_clip_ops_with_vars: accepted for compatibility.
    """

    def __init__(
        self, opt: Optimizer, vars_to_clip_dims: Mapping[Any, Any], max_norm: float, use_locking: bool = False,
        colocate_clip_ops_with_vars: bool = False, name: str = "VariableClipping",
    ) -> None:  # fmt: skip
        super().__init__(use_locking, name)
        self._opt, self._dims, self._max_norm = opt, dict(vars_to_clip_dims), max_norm

    def compute_gradients(self, *args: Any, **kwargs: Any) -> list[tuple[Any, Any]]:
        return self._opt.compute_gradients(*args, **kwargs)

    def get_slot(self, var: Any, name: str) -> Any:
        return self._opt.get_slot(var, name)

    def get_slot_names(self) -> list[str]:
        return self._opt.get_slot_names()

    def apply_gradients(self, grads_and_vars: Any, global_step: Any = None, name: str | None = None) -> Any:
        pairs = list(grads_and_vars)
        with tf.name_scope(name, self._name) as scope:
            updated = self._opt.apply_gradients(pairs, global_step=global_step)
            clips = []
            with tf.control_dependencies([updated]):
                for grad, var in pairs:
                    if grad is not None and var in self._dims:
                        clips.append(self._clip(grad, var))
            return tf.group(*clips, name=scope)

    def _clip(self, grad: Any, var: Any) -> Any:
        dims = list(self._dims[var])
        if not isinstance(grad, IndexedSlices) or 0 in dims:
            return var.assign(tf.clip_by_norm(var.read_value(), self._max_norm, dims))
        rows = tf.gather(var.read_value(), grad.indices)
        clipped = tf.clip_by_norm(rows, self._max_norm, dims)
        scatter = "ResourceScatterUpdate" if isinstance(var, ResourceVariable) else "ScatterUpdate"
        return raw_op(scatter, [var, grad.indices, clipped], {}, None)


def clip_gradients_by_global_norm(gradients_variables: Any, clip_norm: float = 20.0) -> list[tuple[Any, Any]]:
    """Return pairs of gradients and variables, with gradients whose global norm is at most `clip_norm`."""
    grads, variables = zip(*gradients_variables, strict=True)
    clipped, _ = tf.clip_by_global_norm(list(grads), clip_norm)
    return list(zip(clipped, variables, strict=True))


__all__ = ["MovingAverageOptimizer", "VariableClippingOptimizer", "clip_gradients_by_global_norm"]
