"""`TensorArray`: tensors by index, written once and read in any order; held in a TensorList."""

from __future__ import annotations

from typing import Any

from coldframe import dtypes
from coldframe.dtypes import DType
from coldframe.ops.inference import Known
from coldframe.shapes import Shape
from coldframe.tf1.framework.build import raw
from coldframe.tf1.framework.convert import constant, convert_to_tensor
from coldframe.tf1.framework.dtype import as_dtype
from coldframe.tf1.framework.graph import name_scope
from coldframe.tf1.framework.shape import TensorShape, as_static
from coldframe.tf1.framework.tensor import Tensor
from coldframe.tf1.while_gradient import _shape_tensor


class TensorArray:
    """A list of tensors of one dtype.

    Args:
        dtype: of the elements.
        size: how many there are; a scalar.
        dynamic_size: whether writing beyond the end makes it longer.
        clear_after_read, tensor_array_name, colocate_with_first_write_call: accepted for compatibility.
        handle: not supported.
        flow: what the array holds, from another array.
        infer_shape: whether all elements have one shape.
        element_shape: their shape, as far as it is known.
    """

    _is_leaf = True

    def __init__(
        self, dtype: Any, size: Any = None, dynamic_size: bool | None = None, clear_after_read: bool | None = None,
        tensor_array_name: str | None = None, handle: Any = None, flow: Any = None, infer_shape: bool = True,
        element_shape: Any = None, colocate_with_first_write_call: bool = True, name: str | None = None,
    ) -> None:  # fmt: skip
        if flow is not None and size is not None:
            raise ValueError("Cannot provide both `flow` and `size` arguments at the same time.")
        self._dtype = as_dtype(dtype)
        self._dynamic = bool(dynamic_size)
        self._infer_shape = infer_shape
        self._shape = [as_static(element_shape)]
        self._colocate = colocate_with_first_write_call
        with name_scope(name, "TensorArrayV2", [size, flow] if flow is not None else [size]) as scope:
            if flow is not None:
                self._flow: Tensor = convert_to_tensor(flow)
            else:
                self._flow = raw.TensorListReserve(
                    self._element_shape(), 0 if size is None else size, element_dtype=self._dtype, name=scope
                )

    def _element_shape(self) -> Tensor:
        return _shape_tensor(self._shape[0])

    @property
    def flow(self) -> Tensor:
        """The list itself; reading it orders reads after writes."""
        return self._flow

    @property
    def handle(self) -> None:
        """There is none."""

    @property
    def dtype(self) -> DType:
        return self._dtype

    @property
    def dynamic_size(self) -> bool:
        return self._dynamic

    @property
    def element_shape(self) -> TensorShape:
        """What is known of the elements' shape."""
        return TensorShape(self._shape[0])

    def _with_flow(self, flow: Tensor) -> TensorArray:
        made = TensorArray(self._dtype, flow=flow, dynamic_size=self._dynamic, infer_shape=self._infer_shape)
        made._shape = self._shape  # shared: what one write tells holds for all
        return made

    def identity(self) -> TensorArray:
        """Return an array of the same elements."""
        return self._with_flow(raw.Identity(self._flow))

    def grad(self, source: str, flow: Any = None, name: str | None = None) -> Any:
        raise NotImplementedError("gradients flow through tf.gradients; a TensorArray has no gradient array of its own")

    def _note(self, shape: Shape) -> None:
        if self._infer_shape:
            self._shape[0] = self._shape[0].merge(shape)

    def _made(self, tensor: Tensor, shape: Shape) -> Tensor:
        tensor.known = Known(tensor.dtype, tensor.static_shape.merge(shape), None, None, tensor.known.handle)
        return tensor

    def read(self, index: Any, name: str | None = None) -> Tensor:
        """Return the element at `index`."""
        with name_scope(name, "TensorArrayV2Read", [self._flow, index]):
            value = raw.TensorListGetItem(self._flow, index, self._element_shape(), element_dtype=self._dtype)
            return self._made(value, self._shape[0])

    def write(self, index: Any, value: Any, name: str | None = None) -> TensorArray:
        """Return the array with `value` at `index`."""
        with name_scope(name, "TensorArrayV2Write", [self._flow, index, value]):
            tensor = convert_to_tensor(value, preferred_dtype=self._dtype, name="value")
            if tensor.dtype is not self._dtype:
                raise ValueError(f"TensorArray dtype is {self._dtype.name} but value has dtype {tensor.dtype.name}")
            self._note(tensor.static_shape)
            attrs = {"resize_if_index_out_of_bounds": True} if self._dynamic else {}
            return self._with_flow(raw.TensorListSetItem(self._flow, index, tensor, **attrs))

    def stack(self, name: str | None = None) -> Tensor:
        """Return all elements as one tensor, along a new first axis."""
        with name_scope(name, "TensorArrayV2Stack", [self._flow]):
            count = _static_length(self._flow)
            attrs = {} if count is None else {"num_elements": count}
            value = raw.TensorListStack(self._flow, self._element_shape(), element_dtype=self._dtype, **attrs)
            dims = self._shape[0].dims
            return self._made(value, Shape(None if dims is None else (count, *dims)))

    def gather(self, indices: Any, name: str | None = None) -> Tensor:
        """Return the elements at `indices` as one tensor, along a new first axis."""
        with name_scope(name, "TensorArrayV2Gather", [self._flow, indices]):
            value = raw.TensorListGather(self._flow, indices, self._element_shape(), element_dtype=self._dtype)
            dims = self._shape[0].dims
            return self._made(value, Shape(None if dims is None else (value.static_shape.dims or (None,))[:1] + dims))

    def concat(self, name: str | None = None) -> Tensor:
        """Return all elements as one tensor, along their first axis."""
        with name_scope(name, "TensorArrayV2Concat", [self._flow]):
            dims = self._shape[0].dims
            shape = Shape(None if dims is None else (None, *dims[1:]))
            empty = constant([], dtypes.int64)
            value, _ = raw.TensorListConcatV2(self._flow, _shape_tensor(shape), empty, element_dtype=self._dtype)
            return self._made(value, shape)

    def unstack(self, value: Any, name: str | None = None) -> TensorArray:
        """Return the array with the slices of `value` along its first axis."""
        with name_scope(name, "TensorArrayUnstack", [self._flow, value]):
            tensor = convert_to_tensor(value, preferred_dtype=self._dtype, name="value")
            dims = tensor.static_shape.dims
            self._note(Shape(None if dims is None else dims[1:]))
            shape = _shape_tensor(Shape(None if dims is None else dims[1:]))
            return self._with_flow(raw.TensorListFromTensor(tensor, shape))

    def scatter(self, indices: Any, value: Any, name: str | None = None) -> TensorArray:
        """Return the array with the slices of `value` at `indices`."""
        with name_scope(name, "TensorArrayScatter", [self._flow, value, indices]):
            tensor = convert_to_tensor(value, preferred_dtype=self._dtype, name="value")
            dims = tensor.static_shape.dims
            self._note(Shape(None if dims is None else dims[1:]))
            made = raw.TensorListScatterIntoExistingList(self._flow, tensor, indices)
            return self._with_flow(made)

    def split(self, value: Any, lengths: Any, name: str | None = None) -> TensorArray:
        """Return the array with parts of `value` of these lengths along its first axis."""
        with name_scope(name, "TensorArraySplit", [self._flow, value, lengths]):
            tensor = convert_to_tensor(value, preferred_dtype=self._dtype, name="value")
            sizes = convert_to_tensor(lengths)
            if sizes.dtype is not dtypes.int64:
                sizes = raw.Cast(sizes, DstT=dtypes.int64)
            dims = tensor.static_shape.dims
            shape = Shape(None if dims is None else (None, *dims[1:]))
            return self._with_flow(raw.TensorListSplit(tensor, _shape_tensor(shape), sizes))

    def size(self, name: str | None = None) -> Tensor:
        """Return how many elements there are."""
        made: Tensor = raw.TensorListLength(self._flow, name=name or "TensorArrayV2Size")
        return made

    def close(self, name: str | None = None) -> Any:
        """Do nothing; arrays need no closing."""
        return raw.NoOp(name=name)


def _static_length(flow: Tensor) -> int | None:
    """Return how many elements a list has, where the node that made it tells."""
    op = flow.op
    if op.type == "TensorListReserve":
        count = op.inputs[1].known.value
        return None if count is None else int(count)
    if op.type == "TensorListFromTensor":
        dims = op.inputs[0].static_shape.dims
        return dims[0] if dims else None
    return None


__all__ = ["TensorArray"]
