"""Moving averages of variables: shadow variables that follow them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from coldframe.tf1 import init_ops
from coldframe.tf1.dependencies import group
from coldframe.tf1.framework.build import raw
from coldframe.tf1.framework.convert import convert_to_tensor
from coldframe.tf1.framework.functions import outermost
from coldframe.tf1.framework.graph import colocate_with, get_default_graph, name_scope
from coldframe.tf1.framework.keys import GraphKeys
from coldframe.tf1.framework.tensor import Tensor
from coldframe.tf1.state_ops import assign_add, assign_sub
from coldframe.tf1.train import slots
from coldframe.tf1.variable_lists import moving_average_variables, trainable_variables
from coldframe.tf1.variable_scope import get_variable, variable_scope
from coldframe.tf1.variables import Variable


def assign_moving_average(
    variable: Any, value: Any, decay: Any, zero_debias: bool = True, name: str | None = None
) -> Any:
    """Return the variable after ``variable -= (1 - decay) * (variable - value)``.

    With `zero_debias` the average is corrected for its start at zero, by two more variables.
    """
    with name_scope(name, "AssignMovingAvg", [variable, value, decay]) as scope:
        decay = convert_to_tensor(1.0 - decay, name="decay")
        if decay.dtype is not variable.dtype:
            decay = raw.Cast(decay, DstT=variable.dtype)
        with colocate_with(variable):
            if zero_debias:
                return _debiased(variable, value, decay)
            step = (variable - value) * decay
            return assign_sub(variable, step, name=scope)


def _debiased(variable: Any, value: Any, decay: Any) -> Any:
    with variable_scope(variable.op.name, values=[variable, value, decay]):
        biased = get_variable(
            "biased", initializer=init_ops.zeros_initializer(), shape=variable.get_shape(), dtype=variable.dtype,
            trainable=False,
        )  # fmt: skip
        steps = get_variable(
            "local_step", shape=[], dtype=variable.dtype, initializer=init_ops.zeros_initializer(), trainable=False
        )
        lessened = assign_sub(biased, (biased - value) * decay, name=f"{get_default_graph().get_name_scope()}/")
        counted = assign_add(steps, 1)
        debiased = lessened / (1 - raw.Pow(1 - decay, counted))
        return variable.assign(debiased)


class ExponentialMovingAverage:
    """Keeps moving averages of variables (and tensors).

    Args:
        decay: how much of the average stays at each update.
        num_updates: a counter; the decay is at most ``(1 + n) / (10 + n)``.
        zero_debias: correct the averages of tensors for their start at zero.
        name: of the scope, and the last part of the averages' names.
    """

    def __init__(
        self, decay: Any, num_updates: Any = None, zero_debias: bool = False, name: str = "ExponentialMovingAverage"
    ) -> None:
        self._decay, self._num_updates, self._zero_debias, self._name = decay, num_updates, zero_debias, name
        self._averages: dict[str, Any] = {}

    @property
    def name(self) -> str:
        return self._name

    def apply(self, var_list: Sequence[Any] | None = None) -> Any:
        """Return an operation that brings the averages of the variables (the trainable ones) up to date."""
        variables = trainable_variables() if var_list is None else list(var_list)
        debiased: set[str] = set()
        graph = outermost(get_default_graph())
        for var in variables:
            if not var.dtype.is_float:
                raise TypeError(f"The variables must be half, float, or double: {var.name}")
            if _key(var) not in self._averages:
                with graph.as_default(), graph.control_dependencies(None):
                    self._averages[_key(var)] = self._shadow(var, debiased)
        with name_scope(self._name, None) as scope:
            decay = convert_to_tensor(self._decay, name="decay")
            if self._num_updates is not None:
                n = raw.Cast(self._num_updates, DstT=decay.dtype, name="num_updates")
                decay = raw.Minimum(decay, (1.0 + n) / (10.0 + n))
            updates = [
                assign_moving_average(self._averages[_key(v)], v, decay, zero_debias=_key(v) in debiased)
                for v in variables
            ]
            return group(*updates, name=scope)

    def _shadow(self, var: Any, debiased: set[str]) -> Any:
        if isinstance(var, Variable):
            with get_default_graph().name_scope(None):
                made = slots.create_slot(var, var.initialized_value(), self._name)
            get_default_graph().add_to_collection(GraphKeys.MOVING_AVERAGE_VARIABLES, var)
        else:
            made = slots.create_zeros_slot(var, self._name)
            if self._zero_debias:
                debiased.add(_key(var))
            get_default_graph().add_to_collection(GraphKeys.MOVING_AVERAGE_VARIABLES, made)
        return made

    def average(self, var: Any) -> Any:
        """Return the variable that holds the average of `var`, or None."""
        return self._averages.get(_key(var))

    def average_name(self, var: Any) -> str:
        """Return the name of the average of `var`, whether it exists or not."""
        found = self._averages.get(_key(var))
        if found is not None:
            return found.op.name  # type: ignore[no-any-return]
        graph = outermost(get_default_graph())
        return graph.unique_name(f"{var.op.name}/{self._name}", mark_as_used=False)

    def variables_to_restore(self, moving_avg_variables: Sequence[Any] | None = None) -> dict[str, Any]:
        """Return the names to restore variables from: averages where there are any, own names otherwise."""
        averaged = (
            [*trainable_variables(), *moving_average_variables()]
            if moving_avg_variables is None
            else list(moving_avg_variables)
        )
        names = {self.average_name(v): v for v in dict.fromkeys(averaged)}
        taken = {v.op.name for v in averaged}
        for v in [*get_default_graph().get_collection(GraphKeys.GLOBAL_VARIABLES)]:
            if v.op.name not in taken and v.op.name not in names:
                names[v.op.name] = v
        return names


def _key(var: Any) -> str:
    return f"{id(var.graph)}/{var.op.name}" if isinstance(var, Variable) else f"{id(var.graph)}/{_name(var)}"


def _name(tensor: Tensor) -> str:
    return tensor.name
