"""Variable scopes: ``get_variable`` makes a variable once, and shares it where reuse is asked for.

A variable's name depends on variable scopes alone, never on name scopes.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Any, Final

import numpy as np

from coldframe import dtypes
from coldframe.dtypes import DType
from coldframe.tf1 import init_ops
from coldframe.tf1.framework.convert import convert_to_tensor, dtype_of_value
from coldframe.tf1.framework.dtype import as_dtype
from coldframe.tf1.framework.functions import outermost
from coldframe.tf1.framework.graph import colocate_with, get_default_graph, name_scope
from coldframe.tf1.framework.keys import GraphKeys
from coldframe.tf1.framework.shape import TensorShape, as_static
from coldframe.tf1.partitions import PartitionedVariable, PartitionInfo, SaveSliceInfo, slices_of
from coldframe.tf1.variables import Variable

_STORE: Final = ("coldframe", "variable_store")
_SCOPE: Final = ("coldframe", "variable_scope")


class _AutoReuse:
    """`tf.AUTO_REUSE`: make a variable the first time, share it from then on."""

    def __repr__(self) -> str:
        return "AUTO_REUSE"


AUTO_REUSE: Final = _AutoReuse()


class VariableStore:
    """The variables of a graph that `get_variable` made, by name, and how often scopes were opened."""

    def __init__(self) -> None:
        self.variables: dict[str, Any] = {}
        self.partitioned: dict[str, PartitionedVariable] = {}
        self.opened: dict[str, int] = {}

    def open(self, scope: str) -> None:
        self.opened[scope] = self.opened.get(scope, 0) + 1

    def close_within(self, scope: str) -> None:
        """Forget how often scopes inside `scope` were opened."""
        for name in self.opened:
            if not scope or name.startswith(f"{scope}/"):
                self.opened[name] = 0

    def unique(self, prefix: str, current: str) -> str:
        """Return `prefix`, or ``prefix_1``, ``prefix_2``, ... the first that is not open as a scope."""
        name = f"{current}/{prefix}" if current else prefix
        if not self.opened.get(name):
            return prefix
        n = 1
        while self.opened.get(f"{name}_{n}"):
            n += 1
        return f"{prefix}_{n}"


class VariableScope:
    """The settings that `get_variable` takes from the scopes around it."""

    def __init__(
        self,
        reuse: Any,
        name: str = "",
        initializer: Any = None,
        regularizer: Any = None,
        caching_device: Any = None,
        partitioner: Any = None,
        custom_getter: Any = None,
        name_scope: str = "",
        dtype: Any = dtypes.float32,
        use_resource: bool | None = None,
        constraint: Any = None,
    ) -> None:
        self.name, self.reuse, self.initializer, self.regularizer = name, reuse, initializer, regularizer
        self.caching_device, self.partitioner, self.custom_getter = caching_device, partitioner, custom_getter
        self.original_name_scope, self.dtype = name_scope, dtype
        self.use_resource, self.constraint = use_resource, constraint

    def changed(self, **values: Any) -> VariableScope:
        """Return a copy with some settings changed."""
        made = VariableScope(None)
        vars(made).update(vars(self))
        vars(made).update(values)
        return made

    def reuse_variables(self) -> None:
        """Share variables from here on."""
        self.reuse = True

    def set_initializer(self, initializer: Any) -> None:
        self.initializer = initializer

    def set_regularizer(self, regularizer: Any) -> None:
        self.regularizer = regularizer

    def set_partitioner(self, partitioner: Any) -> None:
        self.partitioner = partitioner

    def set_custom_getter(self, custom_getter: Any) -> None:
        self.custom_getter = custom_getter

    def set_dtype(self, dtype: Any) -> None:
        self.dtype = dtype

    def set_use_resource(self, use_resource: bool) -> None:
        self.use_resource = use_resource

    def set_caching_device(self, caching_device: Any) -> None:
        self.caching_device = caching_device

    def get_collection(self, name: str) -> list[Any]:
        """Return the items of a collection under this scope."""
        return get_default_graph().get_collection(name, f"{self.name}/" if self.name else "")

    def trainable_variables(self) -> list[Any]:
        return self.get_collection(GraphKeys.TRAINABLE_VARIABLES)

    def global_variables(self) -> list[Any]:
        return self.get_collection(GraphKeys.GLOBAL_VARIABLES)

    def local_variables(self) -> list[Any]:
        return self.get_collection(GraphKeys.LOCAL_VARIABLES)

    def get_variable(self, name: str, shape: Any = None, dtype: Any = None, **given: Any) -> Any:
        """Return the variable `name` of this scope, made where it does not exist."""
        request = dict(given)
        for key in ("initializer", "regularizer", "caching_device", "partitioner", "use_resource", "constraint"):
            if request.get(key) is None:
                request[key] = getattr(self, key)
        getter = request.pop("custom_getter", None)
        getter = self.custom_getter if getter is None else _wrapped(getter, self.custom_getter)
        reuse = request.pop("reuse", None)
        if reuse is None:
            reuse = self.reuse
        full = f"{self.name}/{name}" if self.name else name
        with name_scope(None, None):
            own = dtype_of_value(request.get("initializer"), None if dtype is None else as_dtype(dtype))
            kind = as_dtype(self.dtype if dtype is None else dtype) if own is None else own
            if getter is None:
                return _get(full, shape=shape, dtype=kind, reuse=reuse, **request)
            return getter(_get, full, **{"shape": shape, "dtype": kind, "reuse": reuse, **request})


def _wrapped(getter: Any, old: Any) -> Any:
    if old is None:
        return getter
    return lambda inner, *args, **kwargs: getter(functools.partial(old, inner), *args, **kwargs)


# --- making and finding -----------------------------------------------------------------------------------------
def _get(
    name: str,
    shape: Any = None,
    dtype: Any = dtypes.float32,
    initializer: Any = None,
    regularizer: Any = None,
    reuse: Any = None,
    trainable: bool | None = None,
    collections: Any = None,
    caching_device: Any = None,
    partitioner: Any = None,
    validate_shape: bool = True,
    use_resource: bool | None = None,
    constraint: Any = None,
    synchronization: Any = None,
    aggregation: Any = None,
) -> Any:
    store = get_variable_store()
    make = functools.partial(
        _single, store, dtype=as_dtype(dtype), regularizer=regularizer, reuse=reuse, trainable=trainable,
        collections=collections, validate_shape=validate_shape, use_resource=use_resource, constraint=constraint,
    )  # fmt: skip
    if partitioner is not None:
        return _partitioned(store, name, shape, as_dtype(dtype), initializer, partitioner, reuse, make)
    if f"{name}/part_0" in store.variables:
        raise ValueError(
            f"No partitioner was provided, but a partitioned version of the variable was found: {name}/part_0. "
            f"Perhaps a variable of the same name was already created with partitioning?"
        )
    return make(name, shape=shape, initializer=initializer)


def _single(
    store: VariableStore, name: str, *, shape: Any, dtype: DType, initializer: Any, regularizer: Any, reuse: Any,
    trainable: bool | None, collections: Any, validate_shape: bool, use_resource: bool | None, constraint: Any,
    partition_info: Any = None,
) -> Any:  # fmt: skip
    from_value = initializer is not None and not callable(initializer)
    if from_value and shape is not None:
        raise ValueError("If initializer is a constant, do not specify shape.")
    static = as_static(shape)
    found = store.variables.get(name)
    if found is not None:
        return _shared(name, found, static, dtype, reuse)
    if reuse is True:
        raise ValueError(
            f"Variable {name} does not exist, or was not created with tf.get_variable(). Did you mean to set "
            f"reuse=tf.AUTO_REUSE in VarScope?"
        )
    value: Any = initializer
    if from_value:
        dtype = initializer.dtype if hasattr(initializer, "op") else dtype
    else:
        if not static.is_static and not (initializer is not None and _takes_nothing(initializer)):
            raise ValueError(
                f"Shape of a new variable ({name}) must be fully defined, but instead was {TensorShape(static)}."
            )
        chosen = initializer() if inspect.isclass(initializer) else initializer
        value = _initial(chosen or _default_initializer(name, dtype), static, dtype, partition_info)
    variable = Variable(
        initial_value=value, name=name, trainable=trainable, collections=collections, dtype=dtype,
        validate_shape=validate_shape, constraint=constraint, use_resource=use_resource,
    )  # fmt: skip
    store.variables[name] = variable
    if regularizer is not None:
        with colocate_with(variable.op), name_scope(f"{name}/Regularizer/", None):
            loss = regularizer(variable)
        if loss is not None:
            get_default_graph().add_to_collection(GraphKeys.REGULARIZATION_LOSSES, loss)
    return variable


def _shared(name: str, found: Any, shape: Any, dtype: DType, reuse: Any) -> Any:
    if reuse is False or reuse is None:
        raise ValueError(
            f"Variable {name} already exists, disallowed. Did you mean to set reuse=True or reuse=tf.AUTO_REUSE in "
            f"VarScope?"
        )
    if not TensorShape(shape).is_compatible_with(found.shape):
        raise ValueError(
            f"Trying to share variable {name}, but specified shape {TensorShape(shape)} and found shape {found.shape}."
        )
    if found.dtype is not dtype:
        raise ValueError(
            f"Trying to share variable {name}, but specified dtype {dtype.name} and found dtype {found.dtype.name}."
        )
    return found


def _takes_nothing(initializer: Any) -> bool:
    try:
        return not inspect.signature(initializer).parameters
    except (TypeError, ValueError):
        return False


def _initial(initializer: Any, shape: Any, dtype: DType, partition_info: Any) -> Callable[[], Any]:
    if _takes_nothing(initializer):
        return initializer  # type: ignore[no-any-return]
    kwargs: dict[str, Any] = {"dtype": dtype}
    if partition_info is not None and "partition_info" in inspect.signature(initializer).parameters:
        kwargs["partition_info"] = partition_info
    return functools.partial(initializer, list(shape), **kwargs)


def _default_initializer(name: str, dtype: DType) -> Any:
    if dtype.is_float:
        return init_ops.glorot_uniform_initializer()
    if dtype.kind in "iubcs":
        return init_ops.zeros_initializer()
    raise ValueError(f"An initializer for variable {name} of {dtype.name} is required")


def _partitioned(
    store: VariableStore, name: str, shape: Any, dtype: DType, initializer: Any, partitioner: Any, reuse: Any, make: Any
) -> Any:
    if name in store.partitioned:
        found = store.partitioned[name]
        _shared(name, found, as_static(shape), dtype, reuse)
        return found
    if reuse is True:
        raise ValueError(f"PartitionedVariable {name} does not exist, or was not created with tf.get_variable().")
    from_value = initializer is not None and not callable(initializer)
    whole = convert_to_tensor(initializer).shape if from_value else TensorShape(shape)
    if not whole.is_fully_defined():
        raise ValueError(f"Shape of a new partitioned variable ({name}) must be fully defined, but was {whole}.")
    dims = [int(d) for d in whole.as_list() if d is not None]
    counts = partitioner(shape=whole, dtype=dtype)
    parts = []
    for i, (offset, size) in enumerate(slices_of(dims, counts, name)):
        info = PartitionInfo(dims, offset)
        first = initializer
        if from_value:
            first = np.asarray(initializer)[tuple(slice(o, o + n) for o, n in zip(offset, size, strict=True))]
        part = make(f"{name}/part_{i}", shape=None if from_value else size, initializer=first, partition_info=info)
        part._set_save_slice_info(SaveSliceInfo(name, dims, offset, size))
        parts.append(part)
    store.partitioned[name] = PartitionedVariable(name, TensorShape(dims), dtype, parts, list(counts))
    return store.partitioned[name]


def get_variable_store() -> VariableStore:
    """Return the store of the default graph."""
    items = outermost(get_default_graph()).get_collection_ref(_STORE)
    if not items:
        items.append(VariableStore())
    store: VariableStore = items[0]
    return store


def get_variable_scope() -> VariableScope:
    """Return the current variable scope."""
    items = outermost(get_default_graph()).get_collection_ref(_SCOPE)
    if not items:
        items.append(VariableScope(False))
    scope: VariableScope = items[0]
    return scope


def get_variable(
    name: str,
    shape: Any = None,
    dtype: Any = None,
    initializer: Any = None,
    regularizer: Any = None,
    trainable: bool | None = None,
    collections: Any = None,
    caching_device: Any = None,
    partitioner: Any = None,
    validate_shape: bool = True,
    use_resource: bool | None = None,
    custom_getter: Any = None,
    constraint: Any = None,
    synchronization: Any = None,
    aggregation: Any = None,
) -> Any:
    """Return the variable `name` of the current variable scope: made now, or shared where the scope reuses.

    Args:
        name: its name in the scope.
        shape: its shape, fully known, where it is made and `initializer` is no value.
        dtype: its dtype; the scope's otherwise.
        initializer: a callable ``(shape, dtype)``, or a value; the scope's, else Glorot's uniform, otherwise.
        regularizer: what makes a loss of it, for the collection ``REGULARIZATION_LOSSES``.
        partitioner: what splits it into parts; the result is then a `PartitionedVariable`.

    Raises:
        ValueError: it exists and the scope does not reuse, or does not exist and the scope only reuses, or the shape
            or dtype is another one.
    """
    return get_variable_scope().get_variable(
        name, shape, dtype, initializer=initializer, regularizer=regularizer, trainable=trainable,
        collections=collections, caching_device=caching_device, partitioner=partitioner,
        validate_shape=validate_shape, use_resource=use_resource, custom_getter=custom_getter, constraint=constraint,
    )  # fmt: skip


def get_local_variable(
    name: str, shape: Any = None, dtype: Any = None, initializer: Any = None, regularizer: Any = None,
    trainable: Any = False, collections: Any = None, *args: Any, **kwargs: Any,
) -> Any:  # fmt: skip
    """Return a variable that is neither trained nor saved; parameters are those of `get_variable`."""
    local = [*(collections or []), GraphKeys.LOCAL_VARIABLES]
    return get_variable(name, shape, dtype, initializer, regularizer, False, local, *args, **kwargs)


# --- scopes -----------------------------------------------------------------------------------------------------
@contextlib.contextmanager
def pure_variable_scope(name_or_scope: Any, old_name_scope: str | None = None, **given: Any) -> Iterator[VariableScope]:
    """Open a variable scope without a name scope; see `variable_scope`."""
    store = get_variable_store()
    items = outermost(get_default_graph()).get_collection_ref(_SCOPE)
    before = get_variable_scope()
    counts = None
    settings = {k: v for k, v in given.items() if v is not None and k not in ("custom_getter", "reuse")}
    if isinstance(name_or_scope, VariableScope):
        name, counts = name_or_scope.name, dict(store.opened)
        store.open(name)
        base, reuse = name_or_scope, given.get("reuse")
        reuse = name_or_scope.reuse if reuse is None else reuse
        scope_name = name_or_scope.original_name_scope if old_name_scope is None else old_name_scope
    else:
        name = f"{before.name}/{name_or_scope}" if before.name else name_or_scope
        store.open(name)
        base = before
        reuse = given.get("reuse") or before.reuse  # reuse is inherited
        scope_name = name_or_scope if old_name_scope is None else old_name_scope
    getter = given.get("custom_getter")
    if getter is not None:
        settings["custom_getter"] = _wrapped(getter, base.custom_getter)
    scope = base.changed(name=name, reuse=reuse, original_name_scope=scope_name, **settings)
    items[0] = scope
    try:
        yield scope
    finally:
        store.close_within(name)
        if counts is not None:
            store.opened = counts
        items[0] = before


class variable_scope:  # noqa: N801 - TensorFlow's name
    """Open a variable scope, and a name scope of the same name.

    Args:
        name_or_scope: the scope's name, or a `VariableScope` to enter again.
        default_name: the name where `name_or_scope` is None; made unique.
        reuse: True shares variables, None inherits, `AUTO_REUSE` makes those that do not exist.
    """

    def __init__(
        self,
        name_or_scope: Any,
        default_name: str | None = None,
        values: Any = None,
        initializer: Any = None,
        regularizer: Any = None,
        caching_device: Any = None,
        partitioner: Any = None,
        custom_getter: Any = None,
        reuse: Any = None,
        dtype: Any = None,
        use_resource: bool | None = None,
        constraint: Any = None,
        auxiliary_name_scope: bool = True,
    ) -> None:
        if default_name is None and name_or_scope is None:
            raise TypeError("If default_name is None then name_or_scope is required")
        if reuse is False:
            reuse = None
        if reuse not in (True, None) and reuse is not AUTO_REUSE:
            raise ValueError(f"The reuse parameter must be True or False or None, not {reuse!r}")
        if reuse is True and name_or_scope is None:
            raise ValueError("reuse=True cannot be used without a name_or_scope")
        self._args = (name_or_scope, default_name, values, auxiliary_name_scope)
        self._settings = {
            "initializer": initializer, "regularizer": regularizer, "caching_device": caching_device,
            "partitioner": partitioner, "custom_getter": custom_getter, "reuse": reuse, "dtype": dtype,
            "use_resource": use_resource, "constraint": constraint,
        }  # fmt: skip
        self._stack: list[contextlib.ExitStack] = []

    def __enter__(self) -> VariableScope:
        name_or_scope, default_name, values, auxiliary = self._args
        stack = contextlib.ExitStack()
        with contextlib.ExitStack() as opening:
            if values is not None:
                from coldframe.tf1.framework.graph import graph_of

                opening.enter_context(graph_of(values).as_default())
            short = default_name
            if name_or_scope is None:
                name_or_scope = get_variable_store().unique(str(default_name), get_variable_scope().name)
            current: str | None = None
            if auxiliary:
                if self._args[0] is not None:
                    again = isinstance(name_or_scope, VariableScope)
                    short = name_or_scope.name.rpartition("/")[2] if again else name_or_scope
                if short:
                    current = opening.enter_context(name_scope(short, None))
                else:
                    kept = get_default_graph().get_name_scope()
                    current = opening.enter_context(name_scope(f"{kept}/" if kept else None, None))
            elif not isinstance(name_or_scope, VariableScope):
                current = get_default_graph().get_name_scope()
                current = f"{current}/" if current else ""
            old = None if isinstance(name_or_scope, VariableScope) else current
            scope = opening.enter_context(pure_variable_scope(name_or_scope, old, **self._settings))
            stack = opening.pop_all()
        self._stack.append(stack)
        return scope

    def __exit__(self, *error: object) -> None:
        self._stack.pop().close()

    def __call__(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(fn)
        def inside(*args: Any, **kwargs: Any) -> Any:
            with variable_scope(*self._args[:3], auxiliary_name_scope=self._args[3], **self._settings):
                return fn(*args, **kwargs)

        return inside


@contextlib.contextmanager
def variable_op_scope(
    values: Any, name_or_scope: Any, default_name: str | None = None, *args: Any, **kwargs: Any
) -> Iterator[Any]:
    """Open a variable scope (an older order of arguments)."""
    with variable_scope(name_or_scope, default_name, values, *args, **kwargs) as scope:
        yield scope


def no_regularizer(_: Any) -> None:
    """Use no regularizer, where a scope around gives one."""
