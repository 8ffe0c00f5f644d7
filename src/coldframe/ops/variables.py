"""Variables, of both generations: references (``VariableV2``) and resources (``VarHandleOp``).

What flows along their edges is a `Handle`; values live in the session's state. Scatter ops update rows of a variable,
repeated indices in order.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from coldframe.dtypes import DType
from coldframe.errors import EndOfInputError
from coldframe.ops import gather, inference_index, inference_state, slicing
from coldframe.ops.backward import index as back
from coldframe.ops.backward import passed
from coldframe.ops.state import Handle, State
from coldframe.ops.table import Body, Op, alias, op
from coldframe.primitives.base import Unlowerable, refuse
from coldframe.primitives.numpy_shape import NO_ROW, check_range
from coldframe.shapes import Shape

_HINTS = ("use_locking", "container")


# --- making -----------------------------------------------------------------------------------------------------
@op("VariableV2", shape=inference_state.shape_attr, stateful=True, variable="ref", ignores=("container",))
def variable_v2(xp: Any, state: State, *, shape: Shape, dtype: DType, shared_name: str) -> Any:
    """A variable that hands out a reference to itself."""
    return Handle(shared_name or state.node, "ref", dtype, shape)


variable = alias("Variable", variable_v2, shape=inference_state.old_shape_attr)


@op(
    "VarHandleOp",
    shape=inference_state.handle,
    stateful=True,
    variable="resource",
    ignores=("container", "allowed_devices", "debug_name"),
)
def var_handle_op(xp: Any, state: State, *, shape: Shape, dtype: DType, shared_name: str) -> Any:
    """A handle to the variable of that shared name."""
    return Handle(shared_name or state.node, "resource", dtype, shape)


# --- reading ----------------------------------------------------------------------------------------------------
@op("ReadVariableOp", gradient=passed, shape=inference_state.read, stateful=True, role="read", value_op="Identity")
def read_variable_op(xp: Any, state: State, resource: Handle, *, dtype: DType) -> Any:
    """The variable's value."""
    value = state.read(resource)
    if value.dtype != dtype.numpy:
        raise refuse(f"variable `{resource.name}` has another dtype", expected=dtype, found=value.dtype)
    return value


@read_variable_op.values
def _(xp: Any, value: Any, *, dtype: DType) -> Any:
    if xp.dtype(value) != dtype.numpy:
        raise refuse("the variable has another dtype", expected=dtype, found=xp.dtype(value))
    return value


@op(
    "VariableShape",
    no_gradient=True,
    shape=inference_state.variable_shape,
    stateful=True,
    role="read",
    value_op="Shape",
)
def variable_shape(xp: Any, state: State, input: Handle, *, out_type: DType) -> Any:
    """The shape of the variable's value."""
    return np.array(state.read(input).shape, out_type.numpy)


@op("VarIsInitializedOp", no_gradient=True, shape="-> []", stateful=True, role="initialized")
def var_is_initialized_op(xp: Any, state: State, resource: Handle) -> Any:
    """Whether the variable has a value."""
    return np.bool_(state.is_initialized(resource))


is_variable_initialized = alias("IsVariableInitialized", var_is_initialized_op)


@op("DisableCopyOnRead", stateful=True)
def disable_copy_on_read(xp: Any, state: State, resource: Handle) -> None:
    """Nothing: reads never copy here."""


@op("DestroyResourceOp", stateful=True)
def destroy_resource_op(xp: Any, state: State, resource: Handle, *, ignore_lookup_error: bool) -> None:
    """Forget the variable."""
    if not ignore_lookup_error and not state.is_initialized(resource):
        raise refuse(f"resource `{resource.name}` does not exist")
    state.destroy(resource)


# --- assigning --------------------------------------------------------------------------------------------------
@op("Assign", no_gradient=True, shape=inference_state.assign, stateful=True, role="assign", ignores=("use_locking",))
def assign(xp: Any, state: State, ref: Handle, value: Any, *, validate_shape: bool) -> Any:
    """Give the variable a value; it may change its shape only where `validate_shape` is false."""
    if validate_shape and not ref.shape.accepts(value.shape):
        raise refuse(f"variable `{ref.name}` cannot take the value", expected=ref.shape, found=list(value.shape))
    state.assign(ref, value)
    return ref


@assign.values
def _(xp: Any, value: Any, *, validate_shape: bool) -> Any:
    if not validate_shape:
        raise Unlowerable("it may change the variable's shape")
    return value


@op("AssignVariableOp", shape=inference_state.assign_variable, stateful=True, role="assign", ignores=("dtype",))
def assign_variable_op(xp: Any, state: State, resource: Handle, value: Any, *, validate_shape: bool) -> None:
    """Give the variable a value."""
    if not resource.shape.accepts(value.shape):
        raise refuse(
            f"variable `{resource.name}` cannot take the value", expected=resource.shape, found=list(value.shape)
        )
    state.assign(resource, value)


@assign_variable_op.values
def _(xp: Any, value: Any, *, validate_shape: bool) -> Any:
    return value


def _updater(name: str, combine: Any, value_op: str, doc: str) -> list[Op]:
    """Return the reference and the resource form of ``variable = combine(variable, value)``."""

    def update(state: State, handle: Handle, value: Any) -> None:
        old = state.read(handle)
        if old.shape != value.shape:
            raise refuse(f"variable `{handle.name}` and the value differ", expected=old.shape, found=value.shape)
        state.adopt(handle, np.asarray(combine(old, value)))

    def by_ref(xp: Any, state: State, ref: Handle, value: Any) -> Any:
        update(state, ref, value)
        return ref

    def by_resource(xp: Any, state: State, resource: Handle, value: Any) -> None:
        update(state, resource, value)

    def on_values(xp: Any, old: Any, value: Any) -> Any:
        if old.ndim != value.ndim or not all(xp.dim(old, i) == xp.dim(value, i) for i in range(old.ndim)):
            raise refuse("the variable and the value differ in shape")
        return combine(old, value)

    by_ref.__doc__ = by_resource.__doc__ = doc
    rules = {"values": on_values}
    return [
        Op(
            name,
            by_ref,
            dict(rules),
            inference_state.update,
            stateful=True,
            no_gradient=True,
            role="update",
            ignores=("use_locking",),
            value_op=value_op,
        ),
        Op(
            f"{name}VariableOp",
            by_resource,
            rules,
            inference_state.assign_variable,
            stateful=True,
            role="update",
            ignores=("dtype",),
            value_op=value_op,
        ),
    ]


UPDATES = [
    *_updater("AssignAdd", operator.add, "Add", "Add a value to the variable."),
    *_updater("AssignSub", operator.sub, "Sub", "Subtract a value from the variable."),
]


# --- rows -------------------------------------------------------------------------------------------------------
_HOW = {
    "Update": "update", "Add": "add", "Sub": "subtract", "Mul": "multiply", "Div": "divide", "Min": "minimum",
    "Max": "maximum",
}  # fmt: skip


_ONCE: dict[str, Callable[[Any, Any], Any]] = {
    "update": lambda old, new: new, "add": operator.add, "subtract": operator.sub,
}  # fmt: skip


def _rows(xp: Any, state: State, handle: Handle, indices: Any, updates: Any, how: str, *, once: bool = False) -> None:
    old = state.read(handle)
    if not old.ndim:
        raise refuse(f"variable `{handle.name}` has rows", expected="at least a vector", found="a scalar")
    wanted = np.shape(indices) + old.shape[1:]
    if np.ndim(updates) == 0:
        updates = np.broadcast_to(updates, wanted)
    if np.shape(updates) != wanted:
        raise refuse("updates do not fit the rows", expected=list(wanted), found=list(np.shape(updates)))
    at = np.asarray(indices).ravel()
    check_range(at, len(old), 0)
    updates = updates.reshape(len(at), *old.shape[1:])
    if once:
        rows, before = at, old.take(at, 0)
        changed = _ONCE[how](before, updates)
    else:
        rows, place = np.unique(at, return_inverse=True)
        before = old.take(rows, 0)
        changed = xp.scatter_nd(before, place.reshape(-1, 1), updates, how)
    del old  # nothing here holds the variable now, so that its rows may be changed in place
    state.assign_rows(handle, rows, changed, before)


def _padded(xp: Any, state: State, handle: Handle, indices: Any, updates: Any, how: str) -> None:
    real = indices != NO_ROW
    _rows(xp, state, handle, indices[real], updates[real] if np.ndim(updates) else updates, how, once=True)


def _padded_values(how: str) -> Body:
    def run(xp: Any, old: Any, indices: Any, updates: Any) -> Any:
        if not old.ndim or tuple(updates.shape) != tuple(indices.shape) + tuple(old.shape[1:]):
            raise refuse("updates do not fit the rows", expected=list(indices.shape), found=list(updates.shape))
        real = xp.not_equal(indices, np.asarray(NO_ROW, indices.dtype))
        at = xp.where(real, indices, xp.zeros_like(indices))  # nothing is added to row 0
        shown = xp.reshape(real, [*indices.shape, *(1,) * (old.ndim - 1)])
        added = xp.where(shown, updates, xp.zeros_like(updates))
        return xp.scatter_nd(old, xp.reshape(at, [*indices.shape, 1]), added, how)

    return run


def _cells(xp: Any, state: State, handle: Handle, indices: Any, updates: Any, how: str) -> None:
    old = state.read(handle)
    depth = indices.shape[-1]
    if depth > old.ndim:
        raise refuse("coordinates are longer than the rank", expected=f"at most {old.ndim}", found=depth)
    wanted = indices.shape[:-1] + old.shape[depth:]
    if updates.shape != wanted:
        raise refuse("updates do not fit the coordinates", expected=list(wanted), found=list(updates.shape))
    state.adopt(handle, xp.scatter_nd(old, indices, updates, how))


def _scatters(kind: str, write: Any, suffixes: str) -> list[Op]:
    """Return the reference and the resource forms of a scatter family."""
    out: list[Op] = []
    for suffix in suffixes.split():
        how = _HOW[suffix]
        for prefix, returns in (("", True), ("Resource", False)):
            made = Op(
                f"{prefix}{kind}{suffix}",
                _scatter(write, how, returns),
                shape="x -> x" if returns else None,
                stateful=True,
                role="update",
                no_gradient=returns,
                ignores=("use_locking",) if returns else ("dtype", "use_locking"),
            )
            if write is _rows and how in _ONCE:
                made.rules["distinct"] = _scatter(functools.partial(_rows, once=True), how, returns)
            if write is _rows and how in ("add", "subtract"):
                made.rules["padded"] = _scatter(_padded, how, returns)
                made.rules["padded values"] = _padded_values(how)
            out.append(made)
    return out


def _scatter(write: Any, how: str, returns: bool) -> Body:
    def run(xp: Any, state: State, variable: Handle, indices: Any, updates: Any) -> Any:
        write(xp, state, variable, indices, updates, how)
        return variable if returns else None

    run.__doc__ = f"Change parts of the variable ({how})."
    return run


SCATTERS = [
    *_scatters("Scatter", _rows, "Update Add Sub Mul Div Min Max"),
    *_scatters("ScatterNd", _cells, "Update Add Sub Min Max"),
]


@op(
    "ResourceGather",
    gradient=back.resource_gather,
    shape=inference_index.resource_gather,
    stateful=True,
    role="read",
    value_op="Gather",
    ignores=("validate_indices", "dtype"),
)
def resource_gather(xp: Any, state: State, resource: Handle, indices: Any, *, batch_dims: int) -> Any:
    """Rows of the variable at `indices`, batch by batch where `batch_dims` says so."""
    return gather.gather_v2.body(xp, state.read(resource), indices, np.int32(batch_dims), batch_dims=batch_dims)


@resource_gather.values
def _(xp: Any, value: Any, indices: Any, *, batch_dims: int) -> Any:
    return gather.gather_v2.body(xp, value, indices, np.int32(batch_dims), batch_dims=batch_dims)


@op(
    "ResourceGatherNd",
    gradient=back.resource_gather_nd,
    shape=inference_index.resource_gather_nd,
    stateful=True,
    role="read",
    value_op="GatherNd",
    ignores=("dtype",),
)
def resource_gather_nd(xp: Any, state: State, resource: Handle, indices: Any) -> Any:
    """Slices of the variable at coordinates."""
    return xp.gather_nd(state.read(resource), indices)


# --- slices -----------------------------------------------------------------------------------------------------
@op("StridedSliceAssign", shape="x -> x", stateful=True, role="update")
def strided_slice_assign(
    xp: Any, state: State, ref: Handle, begin: Any, end: Any, strides: Any, value: Any,
    *, begin_mask: int, end_mask: int, ellipsis_mask: int, new_axis_mask: int, shrink_axis_mask: int,
) -> Any:  # fmt: skip
    """Write `value` where a strided slice of the variable would have been taken."""
    changed = slicing.tensor_strided_slice_update.body(
        xp, state.read(ref), begin, end, strides, value, begin_mask=begin_mask, end_mask=end_mask,
        ellipsis_mask=ellipsis_mask, new_axis_mask=new_axis_mask, shrink_axis_mask=shrink_axis_mask,
    )  # fmt: skip
    state.assign(ref, changed)
    return ref


@op("ResourceStridedSliceAssign", stateful=True, role="update")
def resource_strided_slice_assign(
    xp: Any, state: State, ref: Handle, begin: Any, end: Any, strides: Any, value: Any,
    *, begin_mask: int, end_mask: int, ellipsis_mask: int, new_axis_mask: int, shrink_axis_mask: int,
) -> None:  # fmt: skip
    """Write `value` where a strided slice of the variable would have been taken."""
    strided_slice_assign.body(
        xp, state, ref, begin, end, strides, value, begin_mask=begin_mask, end_mask=end_mask,
        ellipsis_mask=ellipsis_mask, new_axis_mask=new_axis_mask, shrink_axis_mask=shrink_axis_mask,
    )  # fmt: skip


# --- counting, and variables for a while ------------------------------------------------------------------------
@op("CountUpTo", shape="[] -> []", stateful=True, role="update")
def count_up_to(xp: Any, state: State, ref: Handle, *, limit: int) -> Any:
    """The variable's value, which then grows by one; refused at `limit`."""
    old = state.read(ref)
    if old >= limit:
        raise EndOfInputError(f"variable `{ref.name}` reached its limit", found=limit)
    state.assign(ref, old + old.dtype.type(1))
    return old


resource_count_up_to = alias("ResourceCountUpTo", count_up_to)


@op("TemporaryVariable", shape=inference_state.shape_attr, stateful=True)
def temporary_variable(xp: Any, state: State, *, shape: Shape, dtype: DType, var_name: str) -> Any:
    """A variable that `DestroyTemporaryVariable` reads for the last time; it holds zeros until it is assigned."""
    handle = Handle(f"temporary {var_name or state.node}", "ref", dtype, shape)
    state.assign(handle, np.zeros(tuple(d or 0 for d in shape), dtype.numpy))
    return handle


@op("DestroyTemporaryVariable", shape="x -> x", stateful=True, ignores=("var_name",))
def destroy_temporary_variable(xp: Any, state: State, ref: Handle) -> Any:
    """The last value of a temporary variable, which is then forgotten."""
    value = state.read(ref)
    state.destroy(ref)
    return value
