"""Accumulators: `tf.ConditionalAccumulator` and `tf.SparseConditionalAccumulator`.

They add gradients up, and hand out their mean (or sum) when enough have come. A gradient carries the step at which it
was computed; one that is older than the accumulator's own step is left out.
"""

from __future__ import annotations

from typing import Any

from coldframe import dtypes
from coldframe.dtypes import DType
from coldframe.tf1.framework.build import raw
from coldframe.tf1.framework.convert import IndexedSlices, convert_to_tensor
from coldframe.tf1.framework.dtype import as_dtype
from coldframe.tf1.framework.shape import TensorShape, as_static
from coldframe.tf1.framework.tensor import Tensor


class ConditionalAccumulatorBase:
    """What both kinds do.

    Args:
        dtype: of the gradients.
        shape: theirs; may be partial.
        accumulator_ref: the accumulator's handle.
    """

    def __init__(self, dtype: DType, shape: Any, accumulator_ref: Tensor) -> None:
        self._dtype, self._shape, self._accumulator_ref = dtype, shape, accumulator_ref

    @property
    def accumulator_ref(self) -> Tensor:
        """The accumulator's handle."""
        return self._accumulator_ref

    @property
    def name(self) -> str:
        """The name of its node."""
        return self._accumulator_ref.op.name

    @property
    def dtype(self) -> DType:
        """The dtype of the gradients."""
        return self._dtype

    def num_accumulated(self, name: str | None = None) -> Any:
        """Return how many gradients have been added, an int32 scalar."""
        return raw.AccumulatorNumAccumulated(self._accumulator_ref, name=name)

    def set_global_step(self, new_global_step: Any, name: str | None = None) -> Any:
        """Set the accumulator's step: gradients of steps before it are left out from here on."""
        step = convert_to_tensor(new_global_step, dtypes.int64)
        return raw.AccumulatorSetGlobalStep(self._accumulator_ref, step, name=name)


def _handle(op: Any, dtype: Any, shape: Any, shared_name: str | None, name: str, reduction_type: str) -> Any:
    return op(
        dtype=as_dtype(dtype), shape=TensorShape(None) if shape is None else TensorShape(as_static(shape)),
        shared_name=shared_name or "", reduction_type=reduction_type, name=name,
    )  # fmt: skip


class ConditionalAccumulator(ConditionalAccumulatorBase):
    """An accumulator of tensors.

    Args:
        dtype: of the gradients.
        shape: theirs; may be partial.
        shared_name: under which sessions share it.
        name: of its node.
        reduction_type: "MEAN" or "SUM".
    """

    def __init__(
        self, dtype: Any, shape: Any = None, shared_name: str | None = None, name: str = "conditional_accumulator",
        reduction_type: str = "MEAN",
    ) -> None:  # fmt: skip
        handle = _handle(raw.ConditionalAccumulator, dtype, shape, shared_name, name, reduction_type)
        super().__init__(as_dtype(dtype), shape, handle)

    def apply_grad(self, grad: Any, local_step: Any = 0, name: str | None = None) -> Any:
        """Add a gradient that was computed at `local_step`."""
        given = convert_to_tensor(grad, self._dtype)
        given.get_shape().assert_is_compatible_with(TensorShape(self._shape))
        step = convert_to_tensor(local_step, dtypes.int64)
        return raw.AccumulatorApplyGradient(self._accumulator_ref, step, given, name=name)

    def take_grad(self, num_required: Any, name: str | None = None) -> Any:
        """Return what `num_required` gradients or more come to, begin anew, and go on by one step; wait for them."""
        made = raw.AccumulatorTakeGradient(self._accumulator_ref, num_required, dtype=self._dtype, name=name)
        made.set_shape(TensorShape(self._shape))
        return made


class SparseConditionalAccumulator(ConditionalAccumulatorBase):
    """An accumulator of rows, `tf.IndexedSlices`; parameters are those of `ConditionalAccumulator`."""

    def __init__(
        self, dtype: Any, shape: Any = None, shared_name: str | None = None,
        name: str = "sparse_conditional_accumulator", reduction_type: str = "MEAN",
    ) -> None:  # fmt: skip
        handle = _handle(raw.SparseConditionalAccumulator, dtype, shape, shared_name, name, reduction_type)
        super().__init__(as_dtype(dtype), shape, handle)

    def apply_indexed_slices_grad(self, grad: IndexedSlices, local_step: Any = 0, name: str | None = None) -> Any:
        """Add rows that were computed at `local_step`."""
        return self.apply_grad(grad.indices, grad.values, grad.dense_shape, local_step, name)

    def apply_grad(
        self, grad_indices: Any, grad_values: Any, grad_shape: Any = None, local_step: Any = 0, name: str | None = None
    ) -> Any:
        """Add rows `grad_values` at `grad_indices`, of a tensor of shape `grad_shape` where that is given."""
        whole = [] if grad_shape is None else grad_shape
        return raw.SparseAccumulatorApplyGradient(
            self._accumulator_ref, convert_to_tensor(local_step, dtypes.int64),
            convert_to_tensor(grad_indices, dtypes.int64), convert_to_tensor(grad_values, self._dtype),
            convert_to_tensor(whole, dtypes.int64), has_known_shape=grad_shape is not None, name=name,
        )  # fmt: skip

    def take_grad(self, num_required: Any, name: str | None = None) -> Any:
        """Return indices, values and shape of what `num_required` gradients come to; as `ConditionalAccumulator`'s."""
        return raw.SparseAccumulatorTakeGradient(self._accumulator_ref, num_required, dtype=self._dtype, name=name)

    def take_indexed_slices_grad(self, num_required: Any, name: str | None = None) -> IndexedSlices:
        """Return `take_grad` as `tf.IndexedSlices`."""
        indices, values, whole = self.take_grad(num_required, name)
        return IndexedSlices(values=values, indices=indices, dense_shape=whole)


__all__ = ["ConditionalAccumulator", "ConditionalAccumulatorBase", "SparseConditionalAccumulator"]
