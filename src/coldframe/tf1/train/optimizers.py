"""The optimizers: hyperparameters, slots and update ops of each.

The update rules themselves are ops (`coldframe.ops.training`); sparse rules that TensorFlow composes of several ops are
composed here in the same way.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from coldframe.tf1 import init_ops
from coldframe.tf1.dependencies import group
from coldframe.tf1.framework.build import raw, raw_op
from coldframe.tf1.framework.convert import IndexedSlices, constant
from coldframe.tf1.framework.graph import colocate_with, control_dependencies, get_default_graph
from coldframe.tf1.state_ops import assign, assign_sub
from coldframe.tf1.train.optimizer import Optimizer
from coldframe.tf1.variables import ResourceVariable


def _like(var: Any, *tensors: Any) -> list[Any]:
    return [t if t.dtype is var.dtype else raw.Cast(t, DstT=var.dtype) for t in tensors]


class _OneOp(Optimizer):
    """An optimizer whose update is one op: ``Apply<X>(var, slots..., ...)``.

    Attributes:
        _op: X.
        _slot_names: the slots in the op's order.
    """

    _op = ""
    _slot_names: tuple[str, ...] = ()

    def _scalars(self, var: Any) -> tuple[list[Any], list[Any]]:
        """Return the op's inputs before and after the gradient."""
        raise NotImplementedError

    def _attrs(self) -> dict[str, Any]:
        return {}

    def _apply(self, prefix: str, grad: Any, var: Any, indices: Any) -> Any:
        before, after = self._scalars(var)
        held = [self.get_slot(var, name) for name in self._slot_names]
        rows = [] if indices is None else [indices]
        attrs = {"use_locking": self._use_locking, **self._attrs()}
        made = raw_op(f"{prefix}{self._op}", [var, *held, *before, grad, *rows, *after], attrs, None)
        return getattr(made, "op", made)

    def _apply_dense(self, grad: Any, var: Any) -> Any:
        return self._apply("Apply", grad, var, None)

    def _resource_apply_dense(self, grad: Any, handle: Any) -> Any:
        return self._apply("ResourceApply", grad, handle, None)

    def _apply_sparse(self, grad: IndexedSlices, var: Any) -> Any:
        return self._apply("SparseApply", grad.values, var, grad.indices)

    def _resource_apply_sparse(self, grad: Any, handle: Any, indices: Any) -> Any:
        return self._apply("ResourceSparseApply", grad, handle, indices)


class GradientDescentOptimizer(_OneOp):
    """``var -= learning_rate * gradient``."""

    _op = "GradientDescent"

    def __init__(self, learning_rate: Any, use_locking: bool = False, name: str = "GradientDescent") -> None:
        super().__init__(use_locking, name)
        self._learning_rate = learning_rate

    def _prepare(self) -> None:
        self._learning_rate_tensor = self._tensor(self._learning_rate, "learning_rate")

    def _scalars(self, var: Any) -> tuple[list[Any], list[Any]]:
        return _like(var, self._learning_rate_tensor), []

    def _apply_sparse_duplicate_indices(self, grad: IndexedSlices, var: Any) -> Any:
        step = grad.values * _like(var, self._learning_rate_tensor)[0]
        return var.scatter_sub(IndexedSlices(step, grad.indices, grad.dense_shape), use_locking=self._use_locking)

    def _resource_apply_sparse_duplicate_indices(self, grad: Any, handle: Any, indices: Any) -> Any:
        step = -grad * _like(handle, self._learning_rate_tensor)[0]
        return raw_op("ResourceScatterAdd", [handle, indices, step], {}, None)


class MomentumOptimizer(_OneOp):
    """``acc = momentum * acc + gradient; var -= learning_rate * acc``, or Nesterov's form."""

    _op, _slot_names = "Momentum", ("momentum",)

    def __init__(
        self, learning_rate: Any, momentum: Any, use_locking: bool = False, name: str = "Momentum",
        use_nesterov: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(use_locking, name)
        self._learning_rate, self._momentum, self._use_nesterov = learning_rate, momentum, use_nesterov

    def _create_slots(self, var_list: Sequence[Any]) -> None:
        for v in var_list:
            self._zeros_slot(v, "momentum", self._name)

    def _prepare(self) -> None:
        self._learning_rate_tensor = self._tensor(self._learning_rate, "learning_rate")
        self._momentum_tensor = self._tensor(self._momentum, "momentum")

    def _scalars(self, var: Any) -> tuple[list[Any], list[Any]]:
        return _like(var, self._learning_rate_tensor), _like(var, self._momentum_tensor)

    def _attrs(self) -> dict[str, Any]:
        return {"use_nesterov": self._use_nesterov}


class AdagradOptimizer(_OneOp):
    """``accumulator += gradient^2; var -= learning_rate * gradient / sqrt(accumulator)``."""

    _op, _slot_names = "Adagrad", ("accumulator",)

    def __init__(
        self, learning_rate: Any, initial_accumulator_value: float = 0.1, use_locking: bool = False,
        name: str = "Adagrad",
    ) -> None:  # fmt: skip
        if initial_accumulator_value <= 0.0:
            raise ValueError(f"initial_accumulator_value must be positive: {initial_accumulator_value}")
        super().__init__(use_locking, name)
        self._learning_rate, self._initial = learning_rate, initial_accumulator_value

    def _create_slots(self, var_list: Sequence[Any]) -> None:
        for v in var_list:
            start = init_ops.constant_initializer(self._initial, dtype=v.dtype)
            self._get_or_make_slot_with_initializer(v, start, v.get_shape(), v.dtype, "accumulator", self._name)

    def _prepare(self) -> None:
        self._learning_rate_tensor = self._tensor(self._learning_rate, "learning_rate")

    def _scalars(self, var: Any) -> tuple[list[Any], list[Any]]:
        return _like(var, self._learning_rate_tensor), []


class AdadeltaOptimizer(_OneOp):
    """Steps scaled by the ratio of the accumulated steps to the accumulated gradients."""

    _op, _slot_names = "Adadelta", ("accum", "accum_update")

    def __init__(
        self, learning_rate: Any = 0.001, rho: Any = 0.95, epsilon: Any = 1e-8, use_locking: bool = False,
        name: str = "Adadelta",
    ) -> None:  # fmt: skip
        super().__init__(use_locking, name)
        self._lr, self._rho, self._epsilon = learning_rate, rho, epsilon

    def _create_slots(self, var_list: Sequence[Any]) -> None:
        for v in var_list:
            self._zeros_slot(v, "accum", self._name)
            self._zeros_slot(v, "accum_update", self._name)

    def _prepare(self) -> None:
        self._lr_t = self._tensor(self._lr, "lr")
        self._rho_t = self._tensor(self._rho, "rho")
        self._epsilon_t = self._tensor(self._epsilon, "epsilon")

    def _scalars(self, var: Any) -> tuple[list[Any], list[Any]]:
        return _like(var, self._lr_t, self._rho_t, self._epsilon_t), []


class RMSPropOptimizer(_OneOp):
    """Steps divided by a moving average of the gradient's magnitude; `centered` subtracts the gradient's mean."""

    def __init__(
        self, learning_rate: Any, decay: Any = 0.9, momentum: Any = 0.0, epsilon: Any = 1e-10,
        use_locking: bool = False, centered: bool = False, name: str = "RMSProp",
    ) -> None:  # fmt: skip
        super().__init__(use_locking, name)
        self._learning_rate, self._decay, self._momentum, self._epsilon = learning_rate, decay, momentum, epsilon
        self._centered = centered
        self._op = "CenteredRMSProp" if centered else "RMSProp"
        self._slot_names = ("mg", "rms", "momentum") if centered else ("rms", "momentum")

    def _create_slots(self, var_list: Sequence[Any]) -> None:
        for v in var_list:
            ones = init_ops.ones_initializer(dtype=v.dtype)
            self._get_or_make_slot_with_initializer(v, ones, v.get_shape(), v.dtype, "rms", self._name)
            if self._centered:
                self._zeros_slot(v, "mg", self._name)
            self._zeros_slot(v, "momentum", self._name)

    def _prepare(self) -> None:
        self._learning_rate_tensor = self._tensor(self._learning_rate, "learning_rate")
        self._decay_tensor = self._tensor(self._decay, "decay")
        self._momentum_tensor = self._tensor(self._momentum, "momentum")
        self._epsilon_tensor = self._tensor(self._epsilon, "epsilon")

    def _scalars(self, var: Any) -> tuple[list[Any], list[Any]]:
        tensors = (self._learning_rate_tensor, self._decay_tensor, self._momentum_tensor, self._epsilon_tensor)
        return _like(var, *tensors), []


class AdamOptimizer(Optimizer):
    """Steps along moving averages of the gradient, divided by that of its square; both corrected for their start."""

    def __init__(
        self, learning_rate: Any = 0.001, beta1: Any = 0.9, beta2: Any = 0.999, epsilon: Any = 1e-8,
        use_locking: bool = False, name: str = "Adam",
    ) -> None:  # fmt: skip
        super().__init__(use_locking, name)
        self._lr, self._beta1, self._beta2, self._epsilon = learning_rate, beta1, beta2, epsilon

    def _get_beta_accumulators(self) -> tuple[Any, Any]:
        graph = get_default_graph()
        return self._get_non_slot_variable("beta1_power", graph), self._get_non_slot_variable("beta2_power", graph)

    def _create_slots(self, var_list: Sequence[Any]) -> None:
        first = min(var_list, key=lambda v: v.name)
        self._create_non_slot_variable(self._call_if_callable(self._beta1), "beta1_power", first)
        self._create_non_slot_variable(self._call_if_callable(self._beta2), "beta2_power", first)
        for v in var_list:
            self._zeros_slot(v, "m", self._name)
            self._zeros_slot(v, "v", self._name)

    def _prepare(self) -> None:
        self._lr_t = self._tensor(self._lr, "learning_rate")
        self._beta1_t = self._tensor(self._beta1, "beta1")
        self._beta2_t = self._tensor(self._beta2, "beta2")
        self._epsilon_t = self._tensor(self._epsilon, "epsilon")

    def _dense(self, op: str, grad: Any, var: Any) -> Any:
        m, v = self.get_slot(var, "m"), self.get_slot(var, "v")
        powers = self._get_beta_accumulators()
        if not isinstance(var, ResourceVariable):
            powers = (powers[0].value(), powers[1].value())
        scalars = _like(var, *powers, self._lr_t, self._beta1_t, self._beta2_t, self._epsilon_t)
        made = raw_op(op, [var, m, v, *scalars, grad], {"use_locking": self._use_locking}, None)
        return getattr(made, "op", made)

    def _apply_dense(self, grad: Any, var: Any) -> Any:
        return self._dense("ApplyAdam", grad, var)

    def _resource_apply_dense(self, grad: Any, handle: Any) -> Any:
        return self._dense("ResourceApplyAdam", grad, handle)

    def _rows(self, grad: Any, var: Any, indices: Any) -> Any:
        beta1_power, beta2_power = self._get_beta_accumulators()
        beta1_power, beta2_power = _like(var, beta1_power, beta2_power)
        lr, beta1, beta2, epsilon = _like(var, self._lr_t, self._beta1_t, self._beta2_t, self._epsilon_t)
        rate = lr * raw.Sqrt(1 - beta2_power) / (1 - beta1_power)
        m = self._average(self.get_slot(var, "m"), beta1, grad * (1 - beta1), indices)
        v = self._average(self.get_slot(var, "v"), beta2, (grad * grad) * (1 - beta2), indices)
        step = rate * m / (raw.Sqrt(v) + epsilon)
        return group(assign_sub(var, step, use_locking=self._use_locking), m, v)

    def _average(self, slot: Any, beta: Any, scaled: Any, indices: Any) -> Any:
        decayed = assign(slot, slot * beta, use_locking=self._use_locking)
        with control_dependencies([decayed]):
            if isinstance(slot, ResourceVariable):
                with control_dependencies([raw_op("ResourceScatterAdd", [slot, indices, scaled], {}, None)]):
                    return slot.value()
            return raw_op("ScatterAdd", [slot, indices, scaled], {"use_locking": self._use_locking}, None)

    def _apply_sparse(self, grad: IndexedSlices, var: Any) -> Any:
        return self._rows(grad.values, var, grad.indices)

    def _resource_apply_sparse(self, grad: Any, handle: Any, indices: Any) -> Any:
        return self._rows(grad, handle, indices)

    def _finish(self, update_ops: Sequence[Any], name_scope: str) -> Any:
        with control_dependencies(update_ops):
            powers = self._get_beta_accumulators()
            with colocate_with(powers[0]):
                done = [
                    p.assign(p * b, use_locking=self._use_locking)
                    for p, b in zip(powers, (self._beta1_t, self._beta2_t), strict=True)
                ]
        return group(*update_ops, *done, name=name_scope)


class FtrlOptimizer(_OneOp):
    """Follow the regularised leader, with L1, L2 and shrinkage."""

    _slot_names = ("accum", "linear")

    def __init__(
        self, learning_rate: Any, learning_rate_power: float = -0.5, initial_accumulator_value: float = 0.1,
        l1_regularization_strength: float = 0.0, l2_regularization_strength: float = 0.0, use_locking: bool = False,
        name: str = "Ftrl", accum_name: str | None = None, linear_name: str | None = None,
        l2_shrinkage_regularization_strength: float = 0.0, beta: float | None = None,
    ) -> None:  # fmt: skip
        super().__init__(use_locking, name)
        for what, value in (
            ("initial_accumulator_value", initial_accumulator_value),
            ("l1_regularization_strength", l1_regularization_strength),
            ("l2_regularization_strength", l2_regularization_strength),
            ("l2_shrinkage_regularization_strength", l2_shrinkage_regularization_strength),
        ):
            if value < 0.0:
                raise ValueError(f"{what} {value} needs to be greater than or equal to zero")
        if learning_rate_power > 0.0:
            raise ValueError(f"learning_rate_power {learning_rate_power} needs to be negative or zero")
        self._learning_rate, self._power, self._initial = learning_rate, learning_rate_power, initial_accumulator_value
        self._l1, self._l2, self._shrinkage = (
            l1_regularization_strength, l2_regularization_strength, l2_shrinkage_regularization_strength,
        )  # fmt: skip
        self._beta = 0.0 if beta is None else beta
        self._accum_name, self._linear_name = accum_name, linear_name
        self._op = "FtrlV2" if self._shrinkage > 0.0 else "Ftrl"

    def _create_slots(self, var_list: Sequence[Any]) -> None:
        for v in var_list:
            with colocate_with(v):
                start = constant(self._initial, v.dtype, shape=v.get_shape())
                self._get_or_make_slot(v, start, "accum", self._accum_name or self._name)
                self._zeros_slot(v, "linear", self._linear_name or self._name)

    def _prepare(self) -> None:
        self._rate = self._tensor(self._learning_rate, "learning_rate")
        self._l1_t = self._tensor(self._l1, "l1_regularization_strength")
        self._l2_t = self._tensor(self._l2 + self._beta / (2.0 * self._learning_rate) if self._beta else self._l2,
                                  "l2_regularization_strength")  # fmt: skip
        self._shrinkage_t = self._tensor(self._shrinkage, "l2_shrinkage_regularization_strength")
        self._power_t = self._tensor(self._power, "learning_rate_power")

    def _scalars(self, var: Any) -> tuple[list[Any], list[Any]]:
        more = [self._shrinkage_t] if self._shrinkage > 0.0 else []
        return [], _like(var, self._rate, self._l1_t, self._l2_t, *more, self._power_t)


class ProximalAdagradOptimizer(_OneOp):
    """Adagrad with L1 and L2 regularization, applied by a proximal step."""

    _op, _slot_names = "ProximalAdagrad", ("accumulator",)

    def __init__(
        self, learning_rate: Any, initial_accumulator_value: float = 0.1, l1_regularization_strength: float = 0.0,
        l2_regularization_strength: float = 0.0, use_locking: bool = False, name: str = "ProximalAdagrad",
    ) -> None:  # fmt: skip
        if initial_accumulator_value <= 0.0:
            raise ValueError(f"initial_accumulator_value must be positive: {initial_accumulator_value}")
        super().__init__(use_locking, name)
        self._learning_rate, self._initial = learning_rate, initial_accumulator_value
        self._l1, self._l2 = l1_regularization_strength, l2_regularization_strength

    def _create_slots(self, var_list: Sequence[Any]) -> None:
        for v in var_list:
            with colocate_with(v):
                start = constant(self._initial, v.dtype, shape=v.get_shape())
            self._get_or_make_slot(v, start, "accumulator", self._name)

    def _prepare(self) -> None:
        self._rate = self._tensor(self._learning_rate, "learning_rate")
        self._l1_t = self._tensor(self._l1, "l1_regularization_strength")
        self._l2_t = self._tensor(self._l2, "l2_regularization_strength")

    def _scalars(self, var: Any) -> tuple[list[Any], list[Any]]:
        return _like(var, self._rate, self._l1_t, self._l2_t), []


class ProximalGradientDescentOptimizer(_OneOp):
    """Gradient descent with L1 and L2 regularization, applied by a proximal step."""

    _op = "ProximalGradientDescent"

    def __init__(
        self, learning_rate: Any, l1_regularization_strength: float = 0.0, l2_regularization_strength: float = 0.0,
        use_locking: bool = False, name: str = "ProximalGradientDescent",
    ) -> None:  # fmt: skip
        super().__init__(use_locking, name)
        self._learning_rate = learning_rate
        self._l1, self._l2 = l1_regularization_strength, l2_regularization_strength

    def _prepare(self) -> None:
        self._rate = self._tensor(self._learning_rate, "learning_rate")
        self._l1_t = self._tensor(self._l1, "l1_regularization_strength")
        self._l2_t = self._tensor(self._l2, "l2_regularization_strength")

    def _scalars(self, var: Any) -> tuple[list[Any], list[Any]]:
        return _like(var, self._rate, self._l1_t, self._l2_t), []


class AdagradDAOptimizer(_OneOp):
    """Adagrad with dual averaging: regularization of features that are rarely seen."""

    _op, _slot_names = "AdagradDA", ("gradient_accumulator", "gradient_squared_accumulator")

    def __init__(
        self, learning_rate: Any, global_step: Any, initial_gradient_squared_accumulator_value: float = 0.1,
        l1_regularization_strength: float = 0.0, l2_regularization_strength: float = 0.0, use_locking: bool = False,
        name: str = "AdagradDA",
    ) -> None:  # fmt: skip
        super().__init__(use_locking, name)
        self._learning_rate, self._global_step = learning_rate, global_step
        self._initial = initial_gradient_squared_accumulator_value
        self._l1, self._l2 = l1_regularization_strength, l2_regularization_strength

    def _create_slots(self, var_list: Sequence[Any]) -> None:
        for v in var_list:
            with colocate_with(v):
                zeros = constant(0.0, v.dtype, shape=v.get_shape())
                start = constant(self._initial, v.dtype, shape=v.get_shape())
            self._get_or_make_slot(v, zeros, "gradient_accumulator", self._name)
            self._get_or_make_slot(v, start, "gradient_squared_accumulator", self._name)

    def _prepare(self) -> None:
        self._rate = self._tensor(self._learning_rate, "learning_rate")

    def _scalars(self, var: Any) -> tuple[list[Any], list[Any]]:
        strengths = [constant(s, var.dtype) for s in (self._l1, self._l2)]
        return [], [*_like(var, self._rate), *strengths, self._global_step]
