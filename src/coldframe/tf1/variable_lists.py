"""The variables of a graph by collection, and what gives them their first values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from coldframe.tf1.dependencies import group
from coldframe.tf1.framework.build import raw_op
from coldframe.tf1.framework.convert import convert_to_tensor
from coldframe.tf1.framework.dtype import as_dtype
from coldframe.tf1.framework.graph import device, get_default_graph, name_scope
from coldframe.tf1.framework.keys import GraphKeys
from coldframe.tf1.framework.tensor import Operation
from coldframe.tf1.variables import is_variable_initialized


def variables_of(key: str) -> Callable[..., list[Any]]:
    """Return the function that lists one collection of variables."""

    def listed(scope: str | None = None) -> list[Any]:
        return get_default_graph().get_collection(key, scope)

    listed.__doc__ = f"Return the variables in the collection `{key}`; of those names that match `scope`."
    return listed


global_variables = all_variables = variables_of(GraphKeys.GLOBAL_VARIABLES)
local_variables = variables_of(GraphKeys.LOCAL_VARIABLES)
model_variables = variables_of(GraphKeys.MODEL_VARIABLES)
moving_average_variables = variables_of(GraphKeys.MOVING_AVERAGE_VARIABLES)


def trainable_variables(scope: str | None = None) -> list[Any]:
    """Return the trainable variables; of those names that match `scope`."""
    return get_default_graph().get_collection(GraphKeys.TRAINABLE_VARIABLES, scope)


def variables_initializer(var_list: Sequence[Any], name: str = "init") -> Operation:
    """Return an operation that gives the variables their first values."""
    return group(*[v.initializer for v in var_list], name=name)


initialize_variables = variables_initializer


def global_variables_initializer() -> Operation:
    """Return an operation that gives all global variables their first values."""
    return variables_initializer(global_variables())


def local_variables_initializer() -> Operation:
    """Return an operation that gives all local variables their first values."""
    return variables_initializer(local_variables())


initialize_all_variables, initialize_local_variables = global_variables_initializer, local_variables_initializer


def report_uninitialized_variables(var_list: Any = None, name: str = "report_uninitialized_variables") -> Any:
    """Return the names of the variables that have no value, as a string vector."""
    from coldframe.tf1.array_ops import boolean_mask

    chosen = [*global_variables(), *local_variables()] if var_list is None else list(var_list)
    with name_scope(name, None):
        if not chosen:
            return convert_to_tensor(np.zeros(0, object), as_dtype("string"))
        known = [is_variable_initialized(v) for v in chosen]
        with device("/cpu:0"):
            absent = raw_op("LogicalNot", [raw_op("Pack", [known], {}, "stack")], {}, None)
            return boolean_mask(convert_to_tensor([v.op.name for v in chosen]), absent)


def assert_variables_initialized(var_list: Any = None) -> Any:
    """Return a tensor whose run fails unless all variables have values."""
    chosen = [*global_variables(), *local_variables()] if var_list is None else list(var_list)
    if not chosen:
        return None
    ranks = [raw_op("Rank", [v], {}, None) for v in chosen]
    return ranks[0] if len(ranks) == 1 else raw_op("Pack", [ranks], {}, "stack")


__all__ = [
    "all_variables", "assert_variables_initialized", "global_variables", "global_variables_initializer",
    "initialize_all_variables", "initialize_local_variables", "initialize_variables", "local_variables",
    "local_variables_initializer", "model_variables", "moving_average_variables", "report_uninitialized_variables",
    "trainable_variables", "variables_initializer",
]  # fmt: skip
