"""The switches by which programs of the years between TensorFlow 1 and 2 ask for TensorFlow 1.

``import tensorflow.compat.v1 as tf; tf.disable_v2_behavior()``: here nothing has to be switched off. What would need
TensorFlow 2's behaviour is refused, with what to use instead; `tf.enable_resource_variables` is the one real switch.
"""

from __future__ import annotations

from typing import Any

from coldframe.tf1.framework.graph import DEFAULTS

__all__ = [
    "control_flow_v2_enabled", "disable_control_flow_v2", "disable_eager_execution", "disable_resource_variables",
    "disable_tensor_equality", "disable_v2_behavior", "disable_v2_tensorshape", "enable_control_flow_v2",
    "enable_resource_variables", "enable_v2_tensorshape", "executing_eagerly", "executing_eagerly_outside_functions",
    "resource_variables_enabled",
]  # fmt: skip


def disable_v2_behavior() -> None:
    """Behave as TensorFlow 1, as coldframe always does. Variables are made as references again."""
    DEFAULTS.resource_variables = False


def disable_eager_execution() -> None:
    """Build graphs, as coldframe always does."""


def executing_eagerly() -> bool:
    """Return False: nodes are added to a graph, and run by a session."""
    return False


def executing_eagerly_outside_functions() -> bool:
    """Return False; see `executing_eagerly`."""
    return False


def enable_resource_variables() -> None:
    """Make resource variables where neither a variable nor its scope says which kind it is."""
    DEFAULTS.resource_variables = True


def disable_resource_variables() -> None:
    """Make variables of references, TensorFlow 1's kind, where nothing else is said."""
    DEFAULTS.resource_variables = False


def resource_variables_enabled() -> bool:
    """Return whether resource variables are made where nothing else is said."""
    return DEFAULTS.resource_variables


def disable_control_flow_v2() -> None:
    """Build conditions and loops of Switch and Merge, as coldframe always does."""


def enable_control_flow_v2() -> None:
    """Do nothing: conditions and loops are built of Switch and Merge; they give the same values."""


def control_flow_v2_enabled() -> bool:
    """Return False; see `enable_control_flow_v2`."""
    return False


def disable_tensor_equality() -> None:
    """Compare tensors by identity, as coldframe always does."""


def disable_v2_tensorshape() -> None:
    """Give dimensions of shapes as `Dimension`, as coldframe always does."""


def enable_v2_tensorshape() -> Any:
    """Refuse: dimensions of shapes are `Dimension`; ``shape.as_list()`` and `tf.dimension_value` give numbers."""
    raise NotImplementedError("dimensions are tf.Dimension here: use shape.as_list() or tf.dimension_value(dim)")
