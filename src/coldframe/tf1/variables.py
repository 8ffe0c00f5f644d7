"""Variables: reference variables as TF1 makes them by default, and resource variables where asked for."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from coldframe.dtypes import DType
from coldframe.formats import messages
from coldframe.ops.inference import Known
from coldframe.tf1.first_values import guarded
from coldframe.tf1.framework.build import raw_op
from coldframe.tf1.framework.convert import IndexedSlices, convert_to_tensor, in_graph
from coldframe.tf1.framework.dtype import as_dtype
from coldframe.tf1.framework.functions import outermost
from coldframe.tf1.framework.graph import DEFAULTS, Graph, colocate_with, get_default_graph, name_scope
from coldframe.tf1.framework.keys import GraphKeys
from coldframe.tf1.framework.operators import Operators
from coldframe.tf1.framework.shape import TensorShape, as_static
from coldframe.tf1.framework.tensor import Operation, Tensor
from coldframe.tf1.partitions import SaveSliceInfo
from coldframe.tf1.variable_rows import Rows


class VariableSynchronization:
    """Accepted for compatibility; there is one copy of each variable."""

    AUTO, NONE, ON_WRITE, ON_READ = 0, 1, 2, 3


class VariableAggregation:
    """Accepted for compatibility; there is one copy of each variable."""

    NONE, SUM, MEAN, ONLY_FIRST_REPLICA = 0, 1, 2, 3


class Variable(Rows, Operators):
    """A value that a session keeps from run to run.

    Args:
        initial_value: its first value: anything that becomes a tensor, or a callable that gives such.
        trainable: whether optimizers change it unless told otherwise.
        collections: graph collections to add it to.
        validate_shape: whether it keeps the shape of its first value.
        name: its name in the current scope.
        variable_def, import_scope: take it over from a VariableDef of an imported graph instead.
        dtype: what to convert the first value to.
        expected_shape: the shape, where the first value does not tell.
        constraint: what to apply to it after an optimizer's step.
        use_resource: make a resource variable (``VarHandleOp``) rather than a reference (``VariableV2``).
        shape: its shape; may be partial.
    """

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        if cls is Variable and "variable_def" not in kwargs:
            from coldframe.tf1.variable_scope import get_variable_scope

            resource = kwargs.get("use_resource")
            if resource is None:
                resource = get_variable_scope().use_resource
            if resource is None:
                resource = DEFAULTS.resource_variables
            return object.__new__(ResourceVariable if resource else cls)
        return object.__new__(cls)

    def __init__(
        self,
        initial_value: Any = None,
        trainable: bool | None = None,
        collections: Any = None,
        validate_shape: bool = True,
        caching_device: Any = None,
        name: str | None = None,
        variable_def: Any = None,
        dtype: Any = None,
        expected_shape: Any = None,
        import_scope: str | None = None,
        constraint: Callable[[Any], Any] | None = None,
        use_resource: bool | None = None,
        synchronization: Any = None,
        aggregation: Any = None,
        shape: Any = None,
    ) -> None:
        self._save_slice: SaveSliceInfo | None = None
        self.constraint = constraint
        self._trainable = trainable is None or bool(trainable)
        self._uid = 0
        if variable_def is not None:
            self._from_proto(variable_def, import_scope)
            return
        if initial_value is None:
            raise ValueError("initial_value must be specified.")
        keys = _collections(collections, self._trainable)
        graph = outermost(get_default_graph())
        inner = get_default_graph()
        with graph.as_default(), _lifted(graph, inner), graph.control_dependencies(None):
            kind = None if dtype is None else as_dtype(dtype)
            wanted = shape if shape is not None else expected_shape
            with graph.name_scope(name or "Variable") as scope:
                self._make(initial_value, kind, wanted, validate_shape, scope, graph)
            graph.add_to_collections(keys, self)

    # --- making -----------------------------------------------------------------------------------------------
    def _make(self, initial: Any, dtype: DType | None, shape: Any, validate: bool, scope: str, graph: Graph) -> None:
        value = _first_value(initial, dtype, scope, graph)
        static = as_static(shape) if shape is not None else value.static_shape if validate else as_static(None)
        if validate and not static.is_static:
            raise ValueError(f"initial_value must have a shape specified: {value}")
        with _colocated(scope, graph, initial):
            self._ref: Tensor = raw_op("VariableV2", [], {"shape": static, "dtype": value.dtype}, scope)
        self._initial_value: Any = value
        first = guarded(self.op.name, value)
        with colocate_with(self._ref.op):
            attrs = {"validate_shape": validate, "use_locking": True}
            self._initializer: Operation = raw_op("Assign", [self._ref, first], attrs, "Assign").op
            self._snapshot: Tensor = raw_op("Identity", [self._ref], {}, "read")

    def _from_proto(self, proto: Any, scope: str | None) -> None:
        graph = get_default_graph()

        def element(name: str) -> Any:
            return graph.as_graph_element(f"{scope}/{name}" if scope else name)

        self._ref = element(proto.variable_name)
        self._initializer = element(proto.initializer_name)
        self._snapshot = element(proto.snapshot_name)
        self._initial_value = element(proto.initial_value_name) if proto.initial_value_name else None
        self._trainable = proto.trainable
        if proto.HasField("save_slice_info_def"):
            part = proto.save_slice_info_def
            name = f"{scope}/{part.full_name}" if scope else part.full_name
            self._save_slice = SaveSliceInfo(name, part.full_shape, part.var_offset, part.var_shape)

    @classmethod
    def from_proto(cls, variable_def: Any, import_scope: str | None = None) -> Any:
        """Return the variable of an imported graph that `variable_def` describes."""
        kind = ResourceVariable if variable_def.is_resource else Variable
        return kind(variable_def=variable_def, import_scope=import_scope)

    def to_proto(self, export_scope: str | None = None) -> Any:
        """Return its VariableDef, or None where it is not under `export_scope`."""
        if export_scope is not None and not self.op.name.startswith(export_scope):
            return None

        def bare(name: str) -> str:
            return name.removeprefix(f"{export_scope}/") if export_scope else name

        proto = messages.VariableDef(
            variable_name=bare(self._ref.name),
            initializer_name=bare(self._initializer.name),
            snapshot_name=bare(self._snapshot.name),
            trainable=self._trainable,
        )
        if self._initial_value is not None:
            proto.initial_value_name = bare(self._initial_value.name)
        if self._save_slice is not None:
            proto.save_slice_info_def.CopyFrom(self._save_slice.to_proto())
        return proto

    # --- what it is -------------------------------------------------------------------------------------------
    @property
    def name(self) -> str:
        """``name:0``."""
        return self._ref.name

    @property
    def op(self) -> Operation:
        """The node that makes it."""
        return self._ref.op

    @property
    def graph(self) -> Graph:
        return self._ref.graph

    @property
    def device(self) -> str:
        return self._ref.device

    @property
    def dtype(self) -> DType:
        return self._ref.dtype

    @property
    def shape(self) -> TensorShape:
        return self._ref.shape

    def get_shape(self) -> TensorShape:
        return self.shape

    def set_shape(self, shape: Any) -> None:
        """Add what the caller knows of the shape."""
        self._ref.set_shape(shape)
        self.value().set_shape(shape)

    @property
    def static_shape(self) -> Any:
        return as_static(self.shape)

    @property
    def trainable(self) -> bool:
        return self._trainable

    @property
    def initializer(self) -> Operation:
        """The operation that gives it its first value."""
        return self._initializer

    @property
    def initial_value(self) -> Tensor:
        """The tensor it starts from."""
        return self._initial_value  # type: ignore[no-any-return]

    def initialized_value(self) -> Any:
        """Return its value, or the first value while it has none."""
        from coldframe.tf1.control_flow import cond

        return cond(is_variable_initialized(self), self.read_value, lambda: self.initial_value)

    def _set_save_slice_info(self, info: SaveSliceInfo) -> None:
        self._save_slice = info

    def _get_save_slice_info(self) -> SaveSliceInfo | None:
        return self._save_slice

    @property
    def _shared_name(self) -> str:
        return self.op.name

    # --- reading ----------------------------------------------------------------------------------------------
    def value(self) -> Tensor:
        """Return its value: the same tensor each time, read when a run first needs it."""
        return self._snapshot

    def read_value(self) -> Tensor:
        """Return its value, read where this is called (after the control dependencies around)."""
        made: Tensor = raw_op("Identity", [self._ref], {}, "read")
        return made

    def _as_tensor(self, dtype: DType | None = None, name: str | None = None, as_ref: bool = False) -> Tensor:
        if dtype is not None and dtype is not self.dtype:
            raise ValueError(
                f"Incompatible type conversion requested to type '{dtype.name}' for variable of type "
                f"'{self.dtype.name}' ({self.name})"
            )
        return in_graph(self._ref) if as_ref else self.value()

    def _as_graph_element(self) -> Tensor:
        return self._ref

    def eval(self, session: Any = None) -> Any:
        """Return its value in `session` or the default session."""
        return self._snapshot.eval(session=session)

    def load(self, value: Any, session: Any = None) -> None:
        """Give it a value in `session` or the default session, without adding nodes."""
        from coldframe.tf1.framework.tensor import _session_for

        chosen = _session_for(session, self.graph, "load a variable")
        chosen.run(self.initializer, {self.initializer.inputs[1]: value})

    # --- writing ----------------------------------------------------------------------------------------------
    def assign(self, value: Any, use_locking: bool = False, name: str | None = None, read_value: bool = True) -> Any:
        """Return the variable's reference after it got `value`."""
        return _updated(raw_op("Assign", [self, value], {"use_locking": use_locking}, name), read_value)

    def assign_add(
        self, delta: Any, use_locking: bool = False, name: str | None = None, read_value: bool = True
    ) -> Any:
        """Return the variable's reference after `delta` was added."""
        return _updated(raw_op("AssignAdd", [self, delta], {"use_locking": use_locking}, name), read_value)

    def assign_sub(
        self, delta: Any, use_locking: bool = False, name: str | None = None, read_value: bool = True
    ) -> Any:
        """Return the variable's reference after `delta` was subtracted."""
        return _updated(raw_op("AssignSub", [self, delta], {"use_locking": use_locking}, name), read_value)

    def _scatter(self, op: str, slices: IndexedSlices, use_locking: bool, name: str | None) -> Any:
        if not isinstance(slices, IndexedSlices):
            raise TypeError(f"sparse_delta is not IndexedSlices: {slices!r}")
        return raw_op(op, [self, slices.indices, slices.values], {"use_locking": use_locking}, name)

    def _scatter_nd(self, op: str, indices: Any, updates: Any, name: str | None) -> Any:
        return raw_op(op, [self, indices, updates], {"use_locking": True}, name)

    def count_up_to(self, limit: int) -> Any:
        """Return the value before adding 1 to it; a run fails with OutOfRange once it has reached `limit`."""
        return raw_op("CountUpTo", [self], {"limit": limit}, None)

    def __repr__(self) -> str:
        return f"<tf.Variable '{self.name}' shape={self.shape} dtype={self.dtype.name}>"

    def __iter__(self) -> Any:
        raise TypeError("'Variable' object is not iterable.")


class ResourceVariable(Variable):
    """A variable behind a resource handle (``VarHandleOp``)."""

    def _make(self, initial: Any, dtype: DType | None, shape: Any, validate: bool, scope: str, graph: Graph) -> None:
        with graph.attr_scope({"_class": (b"loc:@" + scope.rstrip("/").encode(),)}), graph.name_scope("Initializer"):
            first = initial() if callable(initial) else initial
            value = convert_to_tensor(first, dtype, name="initial_value")
        static = as_static(shape) if shape is not None else value.static_shape
        attrs = {"shape": static, "dtype": value.dtype, "shared_name": scope.rstrip("/"), "debug_name": scope}
        with graph.attr_scope({"_class": (b"loc:@" + scope.rstrip("/").encode(),)}):
            self._ref = raw_op("VarHandleOp", [], attrs, scope)
        self._ref.known = Known(self._ref.dtype, as_static([]), None, None, (value.dtype, static))
        self._dtype, self._static = value.dtype, static
        self._initial_value = value
        with graph.name_scope("IsInitialized"):
            self._is_initialized = raw_op("VarIsInitializedOp", [self._ref], {}, None)
        with graph.name_scope("Assign") as assign, graph.colocate_with(None, ignore_existing=True):
            first = guarded(self.op.name, value)
            self._initializer = raw_op("AssignVariableOp", [self._ref, first], {"validate_shape": False}, assign)
        with graph.name_scope("Read"):
            self._snapshot = raw_op("ReadVariableOp", [self._ref], {"dtype": value.dtype}, None)

    def _from_proto(self, proto: Any, scope: str | None) -> None:
        super()._from_proto(proto, scope)
        self._dtype = self._snapshot.dtype
        self._static = self._snapshot.static_shape

    def to_proto(self, export_scope: str | None = None) -> Any:
        proto = super().to_proto(export_scope)
        if proto is not None:
            proto.is_resource = True
        return proto

    @property
    def handle(self) -> Tensor:
        """The handle, as the graph that is being built can read it."""
        return in_graph(self._ref)

    @property
    def dtype(self) -> DType:
        return self._dtype

    @property
    def shape(self) -> TensorShape:
        return TensorShape(self._static)

    def set_shape(self, shape: Any) -> None:
        self._static = self.shape.merge_with(shape).static

    def value(self) -> Tensor:
        """Return its value, read where this is called."""
        with colocate_with(None, ignore_existing=True):
            made: Tensor = raw_op("ReadVariableOp", [self.handle], {"dtype": self._dtype}, None)
        return made

    def read_value(self) -> Tensor:
        """Return its value, read where this is called."""
        with name_scope("Read", None):
            read = raw_op("ReadVariableOp", [self.handle], {"dtype": self._dtype}, None)
        made: Tensor = raw_op("Identity", [read], {}, None)
        return made

    def _as_tensor(self, dtype: DType | None = None, name: str | None = None, as_ref: bool = False) -> Tensor:
        if as_ref:
            return self.handle
        if dtype is not None and dtype is not self.dtype:
            raise ValueError(f"Incompatible type conversion requested to type '{dtype.name}' for {self!r}")
        return self.value()

    def _as_graph_element(self) -> Tensor:
        return self._snapshot

    def is_initialized(self, name: str | None = None) -> Tensor:
        """Return whether it has a value."""
        made: Tensor = raw_op("VarIsInitializedOp", [self.handle], {}, name)
        return made

    def _assign(self, op: str, value: Any, name: str | None, read_value: bool) -> Any:
        tensor = convert_to_tensor(value, self._dtype)
        if op == "AssignVariableOp" and not self.shape.is_compatible_with(tensor.shape):
            raise ValueError(f"Cannot assign value to variable '{self.name}': the variable has shape {self.shape}, "
                             f"but the value {tensor.shape}.")  # fmt: skip
        attrs = {"validate_shape": self.shape.is_fully_defined()} if op == "AssignVariableOp" else {}
        done = raw_op(op, [self.handle, tensor], attrs, name)
        return Updated(self, done) if read_value else done

    def assign(self, value: Any, use_locking: bool = False, name: str | None = None, read_value: bool = True) -> Any:
        return self._assign("AssignVariableOp", value, name, read_value)

    def assign_add(
        self, delta: Any, use_locking: bool = False, name: str | None = None, read_value: bool = True
    ) -> Any:
        return self._assign("AssignAddVariableOp", delta, name, read_value)

    def assign_sub(
        self, delta: Any, use_locking: bool = False, name: str | None = None, read_value: bool = True
    ) -> Any:
        return self._assign("AssignSubVariableOp", delta, name, read_value)

    def _scatter(self, op: str, slices: IndexedSlices, use_locking: bool, name: str | None) -> Any:
        if not isinstance(slices, IndexedSlices):
            raise TypeError(f"sparse_delta is not IndexedSlices: {slices!r}")
        values = convert_to_tensor(slices.values, self._dtype)
        return Updated(self, raw_op(f"Resource{op}", [self.handle, slices.indices, values], {}, name))

    def _scatter_nd(self, op: str, indices: Any, updates: Any, name: str | None) -> Any:
        values = convert_to_tensor(updates, self._dtype)
        return Updated(self, raw_op(f"Resource{op}", [self.handle, indices, values], {}, name))

    def sparse_read(self, indices: Any, name: str | None = None) -> Tensor:
        """Return the rows `indices`."""
        with name_scope("Gather" if name is None else name, None) as scope:
            made: Tensor = raw_op("ResourceGather", [self.handle, indices], {"dtype": self._dtype}, scope)
            return made

    def count_up_to(self, limit: int) -> Any:
        return raw_op("ResourceCountUpTo", [self.handle], {"limit": limit, "T": self._dtype}, None)


class Updated(ResourceVariable):
    """A resource variable after an update: what reads it waits for the update."""

    def __init__(self, variable: ResourceVariable, update: Operation) -> None:
        vars(self).update(vars(variable))
        self._update = update
        self._snapshot = self.value()

    @property
    def op(self) -> Operation:
        """The update."""
        return self._update

    def value(self) -> Tensor:
        with get_default_graph().control_dependencies([self._update]):
            return super().value()

    def read_value(self) -> Tensor:
        with get_default_graph().control_dependencies([self._update]):
            return super().read_value()


# --- pieces -----------------------------------------------------------------------------------------------------
def _collections(given: Any, trainable: bool) -> list[Any]:
    keys = [GraphKeys.GLOBAL_VARIABLES] if given is None else list(given)
    if isinstance(given, str):
        raise ValueError(f"collections argument to Variable constructor must be a list, not {given!r}")  # noqa: TRY004 - as TensorFlow
    if trainable and GraphKeys.TRAINABLE_VARIABLES not in keys:
        keys.append(GraphKeys.TRAINABLE_VARIABLES)
    return keys


def _updated(ref: Any, read_value: bool) -> Any:
    return ref if read_value else ref.op


@contextlib.contextmanager
def _lifted(graph: Graph, inner: Graph) -> Iterator[None]:
    """Variables of a function that is being traced live in the graph outside, under the same scope."""
    if graph is inner:
        yield
        return
    scope = inner.get_name_scope()
    with graph.name_scope(f"{scope}/" if scope else None):
        yield


@contextlib.contextmanager
def _nothing() -> Iterator[None]:
    yield


@contextlib.contextmanager
def _colocated(scope: str, graph: Graph, initial: Any) -> Iterator[None]:
    """The nodes of an initializer, and the variable, carry the variable's name as their place."""
    if not callable(initial):
        yield
        return
    with graph.attr_scope({"_class": (b"loc:@" + scope.rstrip("/").encode(),)}):
        yield


def _first_value(initial: Any, dtype: DType | None, scope: str, graph: Graph) -> Tensor:
    if not callable(initial):
        return convert_to_tensor(initial, dtype, name="initial_value")
    with _colocated(scope, graph, initial), graph.name_scope("Initializer"), graph.device(None):
        return convert_to_tensor(initial(), dtype, name="initial_value")


def is_variable_initialized(variable: Any, name: str | None = None) -> Any:
    """Return whether a variable has a value."""
    if isinstance(variable, ResourceVariable):
        return variable.is_initialized(name)
    return raw_op("IsVariableInitialized", [variable], {}, name)


__all__ = [
    "ResourceVariable", "Variable", "VariableAggregation", "VariableSynchronization", "is_variable_initialized",
]  # fmt: skip
