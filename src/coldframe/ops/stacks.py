"""Stacks, which the gradients of V1 loops keep their tensors on; optionals, tensors that may be absent; composites.

A stack belongs to the run that made it, like a tensor array: the object itself flows along the edges.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Final

import numpy as np

from coldframe.dtypes import DType
from coldframe.formats import wire
from coldframe.ops import inference_state
from coldframe.ops.backward import attrs_of
from coldframe.ops.state import State
from coldframe.ops.table import alias, op
from coldframe.ops.tensor_array import scalar
from coldframe.primitives.base import refuse
from coldframe.primitives.numpy_xp import NumpyPrimitives
from coldframe.records import dataclass
from coldframe.shapes import Shape

_XP: Final = NumpyPrimitives()


@dataclass(slots=True, eq=False)
class Stack:
    """Tensors of one dtype, last in, first out.

    Attributes:
        dtype: of the tensors.
        most: how many it takes; None for any number.
        items: the tensors, the last one on top.
        closed: whether it was closed.
    """

    dtype: DType
    most: int | None
    items: list[Any] = dataclasses.field(default_factory=list)
    closed: bool = False


@op("StackV2", shape="-> [2]", stateful=True, role="stack", ignores=("stack_name",))
def stack_v2(xp: Any, state: State, max_size: Any, *, elem_type: DType) -> Any:
    """A new stack of at most `max_size` tensors; of any number where that is negative."""
    most = scalar("the size of a stack", max_size)
    return Stack(elem_type, most if most >= 0 else None)


@op("Stack", no_gradient=True, shape="-> [2]", stateful=True, ignores=("stack_name",))
def stack(xp: Any, state: State, *, elem_type: DType) -> Any:
    """A new stack."""
    return Stack(elem_type, None)


def _opened(handle: Any, dtype: DType) -> Stack:
    if not isinstance(handle, Stack):
        raise refuse("not a stack", found=type(handle).__name__)
    if handle.closed:
        raise refuse("the stack was closed")
    if dtype != handle.dtype:
        raise refuse("the stack holds another dtype", expected=handle.dtype, found=dtype)
    return handle


@op("StackPushV2", shape=inference_state.second, stateful=True, role="stack_push", ignores=("swap_memory",))
def stack_push_v2(xp: Any, state: State, handle: Any, elem: Any, *, T: DType) -> Any:
    """`elem`, which is now on top of the stack too."""
    target = _opened(handle, T)
    if target.most is not None and len(target.items) >= target.most:
        raise refuse("the stack is full", expected=f"at most {target.most} tensors")
    target.items.append(elem)
    return elem


@op("StackPopV2", stateful=True, role="stack_pop")
def stack_pop_v2(xp: Any, state: State, handle: Any, *, elem_type: DType) -> Any:
    """The tensor on top of the stack, taken off."""
    source = _opened(handle, elem_type)
    if not source.items:
        raise refuse("the stack is empty")
    return source.items.pop()


@op("StackCloseV2", stateful=True, role="stack_close")
def stack_close_v2(xp: Any, state: State, handle: Any) -> None:
    """Forget the stack's tensors."""
    if isinstance(handle, Stack):
        handle.closed, handle.items = True, []


stack_push = alias("StackPush", stack_push_v2, no_gradient=True)
stack_pop = alias("StackPop", stack_pop_v2, no_gradient=True)
stack_close = alias("StackClose", stack_close_v2, no_gradient=True)


# --- optionals --------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True, eq=False)
class Optional:
    """Some tensors, or nothing (`components` is None), with their dtypes."""

    components: tuple[Any, ...] | None
    dtypes: tuple[DType, ...] = ()

    def zeros_like(self) -> Optional:
        """Return one with zeros in place of its tensors; gradients begin with it."""
        held = self.components
        return self if held is None else Optional(tuple(_XP.zeros_like(np.asarray(c)) for c in held), self.dtypes)

    def __add__(self, other: Any) -> Optional:
        """Add up two optionals of the same dtypes, tensor by tensor; gradients do."""
        if not isinstance(other, Optional) or (self.components is None) != (other.components is None):
            raise refuse("optionals to add up, of which one has no value")
        if self.components is None or other.components is None:
            return self
        if self.dtypes != other.dtypes:
            raise refuse("optionals to add up differ in dtypes", expected=list(self.dtypes), found=list(other.dtypes))
        return Optional(tuple(a + b for a, b in zip(self.components, other.components, strict=True)), self.dtypes)


_HOST = "optionals are not arrays"


@op("OptionalNone", shape="-> []", host=_HOST)
def optional_none(xp: Any) -> Any:
    """Nothing."""
    return Optional(None)


@op("OptionalFromValue", shape="-> []", host=_HOST)
def optional_from_value(xp: Any, components: list[Any], *, Toutput_types: tuple[DType, ...]) -> Any:
    """Its inputs, as one value."""
    return Optional(tuple(components), Toutput_types)


@optional_from_value.gradient
def _(g: Any, op: Any, dy: Any) -> Any:
    kinds, shapes = [t.dtype for t in op.inputs], [t.static_shape for t in op.inputs]
    return g.OptionalGetValue(dy, output_types=kinds, output_shapes=shapes)


def _optional(value: Any) -> Optional:
    found = value.item() if isinstance(value, np.ndarray) and value.ndim == 0 else value
    if not isinstance(found, Optional):
        raise refuse("not an optional", found=type(value).__name__)
    return found


@op("OptionalHasValue", shape="-> []", host=_HOST)
def optional_has_value(xp: Any, optional: Any) -> Any:
    """Whether there are tensors in it."""
    return np.bool_(_optional(optional).components is not None)


@op("OptionalGetValue", shape=inference_state.held_shapes, host=_HOST)
def optional_get_value(
    xp: Any, optional: Any, *, output_types: tuple[DType, ...], output_shapes: tuple[Shape, ...]
) -> list[Any]:
    """The tensors in it; refused where there are none, or others than `output_types` and `output_shapes` say."""
    found = _optional(optional)
    if found.components is None:
        raise refuse("the optional has no value")
    if found.dtypes != output_types:
        raise refuse("the optional holds other dtypes", expected=list(output_types), found=list(found.dtypes))
    for k, (value, shape) in enumerate(zip(found.components, output_shapes, strict=True)):
        if not shape.accepts(np.shape(value)):
            raise refuse(f"component {k} of the optional", expected=shape, found=list(np.shape(value)))
    return list(found.components)


@optional_get_value.gradient
def _(g: Any, op: Any, *dys: Any) -> Any:
    return g.OptionalFromValue(list(dys))


# --- composite tensors ------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True, eq=False)
class Composite:
    """The tensors that a composite one is made of, and the number of its kind in TensorFlow's list of type specs."""

    components: tuple[Any, ...]
    dtypes: tuple[DType, ...]
    kind: int


def _kind(metadata: str) -> int:
    """Return the kind of type spec that a CompositeTensorVariantMetadata holds; 0 where it holds none."""
    try:
        fields = wire.fields(metadata.encode("utf-8", "surrogateescape"))
        spec = next((v for n, v in fields if n == 1 and isinstance(v, bytes)), b"")
        return next((int(v) for n, v in wire.fields(spec) if n == 1), 0)
    except (ValueError, TypeError):
        raise refuse("`metadata` is no CompositeTensorVariantMetadata") from None


@op("CompositeTensorVariantFromComponents", shape="-> []", host=_HOST)
def composite_from_components(xp: Any, components: list[Any], *, metadata: str, Tcomponents: tuple[DType, ...]) -> Any:
    """A composite tensor, such as a sparse or a ragged one, as one value."""
    return Composite(tuple(components), Tcomponents, _kind(metadata))


@composite_from_components.gradient
def _(g: Any, op: Any, dy: Any) -> Any:
    made = g.CompositeTensorVariantToComponents(dy, **attrs_of(op, "metadata", "Tcomponents"))
    parts = list(made) if isinstance(made, (list, tuple)) else [made]
    return [part if x.dtype.is_floating else None for x, part in zip(op.inputs, parts, strict=True)]


@op("CompositeTensorVariantToComponents", host=_HOST)
def composite_to_components(xp: Any, encoded: Any, *, metadata: str, Tcomponents: tuple[DType, ...]) -> list[Any]:
    """The tensors that a composite one is made of; refused where it is of another kind or other dtypes."""
    found = encoded.item() if isinstance(encoded, np.ndarray) and encoded.ndim == 0 else encoded
    if not isinstance(found, Composite):
        raise refuse("not a composite tensor", found=type(encoded).__name__)
    if found.kind != _kind(metadata):
        raise refuse("the kind of the composite tensor", expected=_kind(metadata), found=found.kind)
    if found.dtypes != Tcomponents:
        raise refuse("the composite tensor has other dtypes", expected=list(Tcomponents), found=list(found.dtypes))
    return list(found.components)


@composite_to_components.gradient
def _(g: Any, op: Any, *dys: Any) -> Any:
    parts = [g.ZerosLike(out) if dy is None else dy for out, dy in zip(op.outputs, dys, strict=True)]
    return g.CompositeTensorVariantFromComponents(parts, **attrs_of(op, "metadata"))
