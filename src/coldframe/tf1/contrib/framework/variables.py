"""Model variables: those that make up a model, in the collection ``MODEL_VARIABLES``."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence
from typing import Any

from coldframe.tf1.contrib.framework.arg_scope import add_arg_scope
from coldframe.tf1.framework.graph import device as on_device
from coldframe.tf1.framework.graph import get_default_graph
from coldframe.tf1.framework.keys import GraphKeys
from coldframe.tf1.variable_scope import get_variable, get_variable_scope


@add_arg_scope
def variable(
    name: str, shape: Any = None, dtype: Any = None, initializer: Any = None, regularizer: Any = None,
    trainable: bool = True, collections: Any = None, caching_device: Any = None, device: Any = None,
    partitioner: Any = None, custom_getter: Any = None, use_resource: bool | None = None, **kwargs: Any,
) -> Any:  # fmt: skip
    """Return a variable of the current scope, made or shared; see `tf.get_variable`."""
    keys = list(dict.fromkeys([GraphKeys.GLOBAL_VARIABLES] if collections is None else collections))
    getter: Callable[..., Any] = get_variable
    if custom_getter is not None:
        getter = functools.partial(custom_getter, reuse=get_variable_scope().reuse)
    with on_device(device or ""):
        return getter(
            name, shape=shape, dtype=dtype, initializer=initializer, regularizer=regularizer, trainable=trainable,
            collections=keys, caching_device=caching_device, partitioner=partitioner, use_resource=use_resource,
            **kwargs,
        )  # fmt: skip


@add_arg_scope
def model_variable(name: str, *args: Any, collections: Any = None, **kwargs: Any) -> Any:
    """Return a variable that belongs to the model; see `variable`."""
    keys = [*(collections or []), GraphKeys.GLOBAL_VARIABLES, GraphKeys.MODEL_VARIABLES]
    return variable(name, *args, collections=keys, **kwargs)


@add_arg_scope
def local_variable(initial_value: Any, validate_shape: bool = True, name: str | None = None) -> Any:
    """Return a variable that is neither trained nor saved."""
    from coldframe.tf1.variables import Variable

    return Variable(
        initial_value, trainable=False, collections=[GraphKeys.LOCAL_VARIABLES], validate_shape=validate_shape,
        name=name,
    )  # fmt: skip


def add_model_variable(var: Any) -> None:
    """Add a variable to the model's."""
    if var not in get_default_graph().get_collection_ref(GraphKeys.MODEL_VARIABLES):
        get_default_graph().add_to_collection(GraphKeys.MODEL_VARIABLES, var)


# --- finding ----------------------------------------------------------------------------------------------------
def get_variables(scope: Any = None, suffix: str | None = None, collection: str = GraphKeys.GLOBAL_VARIABLES) -> Any:
    """Return the variables of a collection whose names start with `scope` and end with `suffix`."""
    if suffix is not None:
        suffix = suffix if ":" in suffix else f"{suffix}:0"
        scope = f"{_name(scope) or ''}.*{suffix}"
    return get_default_graph().get_collection(collection, _name(scope))


def _name(scope: Any) -> Any:
    return scope.name if hasattr(scope, "original_name_scope") else scope


def get_model_variables(scope: Any = None, suffix: str | None = None) -> Any:
    """Return the model's variables; see `get_variables`."""
    return get_variables(scope, suffix, GraphKeys.MODEL_VARIABLES)


def get_local_variables(scope: Any = None, suffix: str | None = None) -> Any:
    """Return variables that are not saved; see `get_variables`."""
    return get_variables(scope, suffix, GraphKeys.LOCAL_VARIABLES)


def get_trainable_variables(scope: Any = None, suffix: str | None = None) -> Any:
    """Return variables that optimizers change; see `get_variables`."""
    return get_variables(scope, suffix, GraphKeys.TRAINABLE_VARIABLES)


def get_variables_to_restore(include: Any = None, exclude: Any = None) -> list[Any]:
    """Return the variables under the scopes `include` (all for None) that are not under those of `exclude`."""
    if include is None:
        chosen = get_variables()
    else:
        _check_list(include, "include")
        chosen = [v for scope in include for v in get_variables(scope)]
    _check_list(exclude, "exclude")
    left_out = {id(v) for scope in exclude or () for v in get_variables(scope)}
    return [v for v in chosen if id(v) not in left_out]


def _check_list(given: Any, what: str) -> None:
    if given is not None and not isinstance(given, (list, tuple)):
        raise TypeError(f"{what} is provided but is not a list or a tuple.")


def get_variables_by_name(given_name: str, scope: Any = None) -> list[Any]:
    """Return the variables whose last name is `given_name`."""
    return [v for v in get_variables(scope) if v.op.name.rpartition("/")[2] == given_name]


def get_variables_by_suffix(suffix: str, scope: Any = None) -> list[Any]:
    """Return the variables whose names end with `suffix`."""
    return get_variables(scope, suffix)  # type: ignore[no-any-return]


def get_unique_variable(var_op_name: str) -> Any:
    """Return the variable of that name; raise `ValueError` where there is none."""
    found = [v for v in get_variables(re.escape(var_op_name)) if v.op.name == var_op_name]
    if not found:
        raise ValueError(f"Couldn't find variable {var_op_name}")
    return found[0]


def get_variable_full_name(var: Any) -> str:
    """Return a variable's name, without that of its part."""
    part = var._get_save_slice_info()
    return part.full_name if part is not None else var.op.name  # type: ignore[no-any-return]


# --- checkpoints ------------------------------------------------------------------------------------------------
def assign_from_values(var_names_to_values: dict[str, Any]) -> tuple[Any, dict[Any, Any]]:
    """Return an operation, and what to feed it, that gives variables these values."""
    from coldframe.tf1.dependencies import group
    from coldframe.tf1.shape_ops import placeholder
    from coldframe.tf1.state_ops import assign

    feeds, updates = {}, []
    for name, value in var_names_to_values.items():
        var = get_unique_variable(name)
        held = placeholder(var.dtype, var.shape, name=f"{var.op.name}_placeholder")
        feeds[held] = value
        updates.append(assign(var, held))
    return group(*updates), feeds


def assign_from_values_fn(var_names_to_values: dict[str, Any]) -> Callable[[Any], Any]:
    """Return a function that gives variables these values in a session."""
    op, feeds = assign_from_values(var_names_to_values)
    return lambda session: session.run(op, feeds)


def assign_from_checkpoint(
    model_path: str, var_list: Any, ignore_missing_vars: bool = False
) -> tuple[Any, dict[Any, Any]]:
    """Return an operation, and what to feed it, that gives variables their values in a checkpoint.

    Args:
        model_path: the checkpoint, or its folder.
        var_list: variables; or names in the checkpoint and variables.
        ignore_missing_vars: leave out variables that the checkpoint lacks.
    """
    import coldframe

    names = var_list if isinstance(var_list, dict) else {get_variable_full_name(v): v for v in var_list}
    checkpoint = coldframe.open_checkpoint(model_path)
    values = {}
    for name, var in names.items():
        if name not in checkpoint:
            if ignore_missing_vars:
                continue
            raise ValueError(f"Checkpoint is missing variable [{name}]")
        value = checkpoint[name]
        for v in var if isinstance(var, (list, tuple)) else [var]:
            if not v.shape.is_compatible_with(value.shape):
                raise ValueError(f"Total size of new array must be unchanged for {name} lh_shape: [{value.shape}], "
                                 f"rh_shape: [{v.shape}]")  # fmt: skip
            values[v.op.name] = value
    return assign_from_values(values)


def assign_from_checkpoint_fn(
    model_path: str, var_list: Any, ignore_missing_vars: bool = False, reshape_variables: bool = False
) -> Callable[[Any], Any]:
    """Return a function that gives variables their values in a checkpoint; see `assign_from_checkpoint`."""
    op, feeds = assign_from_checkpoint(model_path, var_list, ignore_missing_vars)
    return lambda session: session.run(op, feeds)


def filter_variables(
    var_list: Sequence[Any], include_patterns: Any = None, exclude_patterns: Any = None, reg_search: bool = True
) -> list[Any]:
    """Return the variables whose names fit one of `include_patterns` and none of `exclude_patterns`."""
    matches = re.search if reg_search else re.match
    kept = [v for v in var_list
            if not include_patterns or any(matches(p, v.op.name) for p in include_patterns)]  # fmt: skip
    return [v for v in kept if not any(matches(p, v.op.name) for p in exclude_patterns or ())]


__all__ = [
    "add_model_variable", "assign_from_checkpoint", "assign_from_checkpoint_fn", "assign_from_values",
    "assign_from_values_fn", "filter_variables", "get_local_variables", "get_model_variables",
    "get_trainable_variables", "get_unique_variable", "get_variable_full_name", "get_variables",
    "get_variables_by_name", "get_variables_by_suffix", "get_variables_to_restore", "local_variable", "model_variable",
    "variable",
]  # fmt: skip
