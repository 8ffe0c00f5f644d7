"""Weight decay beside the gradient: variables shrink before each update, whatever the optimizer makes of gradients."""

from __future__ import annotations

from typing import Any

import coldframe.tf1 as tf
from coldframe.tf1.framework.build import raw, raw_op
from coldframe.tf1.framework.convert import IndexedSlices
from coldframe.tf1.train.optimizers import AdamOptimizer, MomentumOptimizer
from coldframe.tf1.variables import ResourceVariable


class DecoupledWeightDecayExtension:
    """A base to put in front of an optimizer: ``class AdamW(DecoupledWeightDecayExtension, AdamOptimizer)``.

    Args:
        weight_decay: the share by which variables shrink in each step: a number, tensor or function.
        **kwargs: of the optimizer.
    """

    def __init__(self, weight_decay: Any, **kwargs: Any) -> None:
        self._weight_decay = weight_decay
        self._decay_var_list: Any = None
        super().__init__(**kwargs)

    def minimize(self, loss: Any, *args: Any, decay_var_list: Any = None, **kwargs: Any) -> Any:
        """Return an operation that takes one step; see `tf.train.Optimizer.minimize`.

        Args:
            decay_var_list: the variables that shrink; all otherwise.
        """
        self._decay_var_list = None if decay_var_list is None else list(decay_var_list)
        return super().minimize(loss, *args, **kwargs)  # type: ignore[misc]

    def apply_gradients(
        self, grads_and_vars: Any, global_step: Any = None, name: str | None = None, decay_var_list: Any = None
    ) -> Any:
        """Return an operation that updates the variables; see `tf.train.Optimizer.apply_gradients`.

        Args:
            decay_var_list: the variables that shrink; all otherwise.
        """
        if decay_var_list is not None:
            self._decay_var_list = list(decay_var_list)
        return super().apply_gradients(grads_and_vars, global_step, name)  # type: ignore[misc]

    def _prepare(self) -> None:
        decay = self._weight_decay() if callable(self._weight_decay) else self._weight_decay
        self._weight_decay_tensor = tf.convert_to_tensor(decay, name="weight_decay")
        super()._prepare()  # type: ignore[misc]

    def _update(self, grad: Any, var: Any) -> Any:
        if self._decay_var_list is not None and not any(v is var for v in self._decay_var_list):
            return super()._update(grad, var)  # type: ignore[misc]
        decay = tf.cast(self._weight_decay_tensor, var.dtype.base_dtype)
        if isinstance(grad, IndexedSlices):
            rows = raw.Unique(grad.indices)[0]
            scatter = "ResourceScatterSub" if isinstance(var, ResourceVariable) else "ScatterSub"
            shrunk = raw_op(scatter, [var, rows, decay * tf.gather(var, rows)], {}, None)
        else:
            shrunk = tf.assign_sub(var, decay * var)
        with tf.control_dependencies([shrunk]):
            return super()._update(grad, var)  # type: ignore[misc]


def extend_with_decoupled_weight_decay(base_optimizer: Any) -> Any:
    """Return a subclass of an optimizer whose first argument is the weight decay."""

    class OptimizerWithDecoupledWeightDecay(DecoupledWeightDecayExtension, base_optimizer):  # type: ignore[misc]
        """An optimizer with decoupled weight decay."""

        def __init__(self, weight_decay: Any, *args: Any, **kwargs: Any) -> None:
            self._weight_decay = weight_decay
            self._decay_var_list = None
            base_optimizer.__init__(self, *args, **kwargs)

    return OptimizerWithDecoupledWeightDecay


class MomentumWOptimizer(DecoupledWeightDecayExtension, MomentumOptimizer):
    """Momentum with decoupled weight decay."""

    def __init__(
        self, weight_decay: Any, learning_rate: Any, momentum: Any, use_locking: bool = False, name: str = "MomentumW",
        use_nesterov: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(
            weight_decay, learning_rate=learning_rate, momentum=momentum, use_locking=use_locking, name=name,
            use_nesterov=use_nesterov,
        )  # fmt: skip


class AdamWOptimizer(DecoupledWeightDecayExtension, AdamOptimizer):
    """Adam with decoupled weight decay."""

    def __init__(
        self, weight_decay: Any, learning_rate: Any = 0.001, beta1: Any = 0.9, beta2: Any = 0.999,
        epsilon: Any = 1e-8, use_locking: bool = False, name: str = "AdamW",
    ) -> None:  # fmt: skip
        super().__init__(
            weight_decay, learning_rate=learning_rate, beta1=beta1, beta2=beta2, epsilon=epsilon,
            use_locking=use_locking, name=name,
        )  # fmt: skip


__all__ = [
    "AdamWOptimizer", "DecoupledWeightDecayExtension", "MomentumWOptimizer", "extend_with_decoupled_weight_decay",
]  # fmt: skip
