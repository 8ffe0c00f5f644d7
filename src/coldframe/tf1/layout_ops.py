"""Padding, and the exchange of space, depth, time and batch, with TF1's Python arguments."""

from __future__ import annotations

from typing import Any

import numpy as np

from coldframe import dtypes
from coldframe.tf1.framework.build import raw
from coldframe.tf1.framework.convert import SparseTensor, constant_value, convert_to_tensor, is_tensor_like
from coldframe.tf1.framework.graph import name_scope
from coldframe.tf1.shape_ops import stack, zeros
from coldframe.tf1.simple import either, simple

# --- one node each ------------------------------------------------------------------------------------------------
space_to_batch_nd = simple("space_to_batch_nd(input, block_shape, paddings) -> SpaceToBatchND")
batch_to_space_nd = simple("batch_to_space_nd(input, block_shape, crops) -> BatchToSpaceND")
space_to_depth = simple("space_to_depth(input, block_size, name=None, data_format='NHWC') -> SpaceToDepth")
depth_to_space = simple("depth_to_space(input, block_size, name=None, data_format='NHWC') -> DepthToSpace")
extract_volume_patches = simple("extract_volume_patches(input, ksizes, strides, padding) -> ExtractVolumePatches")
fake_quant_with_min_max_args = simple(
    "fake_quant_with_min_max_args(inputs, min=-6, max=6, num_bits=8, narrow_range=False) -> FakeQuantWithMinMaxArgs"
)
fake_quant_with_min_max_vars = simple(
    "fake_quant_with_min_max_vars(inputs, min, max, num_bits=8, narrow_range=False) -> FakeQuantWithMinMaxVars"
)
fake_quant_with_min_max_args_gradient = simple(
    "fake_quant_with_min_max_args_gradient(gradients, inputs, min=-6, max=6, num_bits=8, narrow_range=False)"
    " -> FakeQuantWithMinMaxArgsGradient"
)
fake_quant_with_min_max_vars_gradient = simple(
    "fake_quant_with_min_max_vars_gradient(gradients, inputs, min, max, num_bits=8, narrow_range=False)"
    " -> FakeQuantWithMinMaxVarsGradient"
)
fake_quant_with_min_max_vars_per_channel_gradient = simple(
    "fake_quant_with_min_max_vars_per_channel_gradient(gradients, inputs, min, max, num_bits=8, narrow_range=False)"
    " -> FakeQuantWithMinMaxVarsPerChannelGradient"
)
quantized_concat = simple("quantized_concat(concat_dim, values, input_mins, input_maxes) -> QuantizedConcat")
fake_quant_with_min_max_vars_per_channel = simple(
    "fake_quant_with_min_max_vars_per_channel(inputs, min, max, num_bits=8, narrow_range=False)"
    " -> FakeQuantWithMinMaxVarsPerChannel"
)


# --- padding ------------------------------------------------------------------------------------------------------
def pad(tensor: Any, paddings: Any, mode: str = "CONSTANT", name: str | None = None, constant_values: Any = 0) -> Any:
    """Return the tensor with elements added around it.

    Args:
        paddings: ``[rank, 2]``: how many before and after, for each axis.
        mode: ``"CONSTANT"``; ``"REFLECT"`` or ``"SYMMETRIC"``, which mirror without and with the border.
        constant_values: what is added, in mode ``"CONSTANT"``.
    """
    kind = mode.upper()
    if kind == "CONSTANT":
        zero = not is_tensor_like(constant_values) and np.ndim(constant_values) == 0 and not constant_values
        args = () if zero else (constant_values,)
        op = raw.Pad if zero else raw.PadV2
        return op(tensor, paddings, *args, name=name)
    if kind not in ("REFLECT", "SYMMETRIC"):
        raise ValueError(
            f'Value of argument `mode` expected to be one of "CONSTANT", "REFLECT", or "SYMMETRIC". Received {mode}'
        )
    return raw.MirrorPad(tensor, paddings, mode=kind, name=name)


# --- space, depth, time and batch ---------------------------------------------------------------------------------
def _square(block_size: Any) -> Any:
    return np.array([block_size, block_size], np.int64)


def space_to_batch(
    input: Any, paddings: Any, block_size: Any = None, name: str | None = None, block_shape: Any = None
) -> Any:
    """Return images ``[n, h, w, c]``, padded, with blocks of pixels moved into the batch."""
    size = either("block_shape", block_shape, "block_size", block_size)
    result = raw.SpaceToBatchND(input, _square(size), paddings, name=name)
    result.set_shape([None] * 4)
    return result


def batch_to_space(
    input: Any, crops: Any, block_size: Any = None, name: str | None = None, block_shape: Any = None
) -> Any:
    """Return images whose blocks of pixels were in the batch, cropped: undo `space_to_batch`."""
    size = either("block_shape", block_shape, "block_size", block_size)
    result = raw.BatchToSpaceND(input, _square(size), crops, name=name)
    result.set_shape([None] * 4)
    return result


def required_space_to_batch_paddings(
    input_shape: Any, block_shape: Any, base_paddings: Any = None, name: str | None = None
) -> tuple[Any, Any]:
    """Return paddings that make `input_shape` a multiple of `block_shape`, and the crops that undo them."""
    with name_scope(name, "required_space_to_batch_paddings", [input_shape, block_shape]):
        size: Any = convert_to_tensor(input_shape, dtypes.int32, name="input_shape")
        block: Any = convert_to_tensor(block_shape, dtypes.int32, name="block_shape")
        block.shape.assert_is_fully_defined()
        block.shape.assert_has_rank(1)
        n = block.static_shape.dims[0]
        if n == 0:
            return zeros([0, 2], dtypes.int32), zeros([0, 2], dtypes.int32)
        size.shape.assert_is_compatible_with([n])
        base: Any
        if base_paddings is not None:
            base = convert_to_tensor(base_paddings, dtypes.int32, name="base_paddings")
            base.shape.assert_is_compatible_with([n, 2])
        else:
            base = zeros([n, 2], dtypes.int32)
        values = [constant_value(t) for t in (size, block, base)]
        if all(v is not None for v in values):
            size, block, base = values
        start, end = base[:, 0], base[:, 1]
        extra = (block - (size + start + end) % block) % block
        end = end + extra
        paddings = stack([[start[i], end[i]] for i in range(n)], name="paddings")
        return paddings, stack([[0, extra[i]] for i in range(n)], name="crops")


def reverse_sequence(
    input: Any,
    seq_lengths: Any,
    seq_axis: int | None = None,
    batch_axis: int | None = None,
    name: str | None = None,
    seq_dim: int | None = None,
    batch_dim: int | None = None,
) -> Any:
    """Return sequences with the first ``seq_lengths[i]`` elements of the i-th along `seq_axis` in reverse."""
    seq_axis = either("seq_axis", seq_axis, "seq_dim", seq_dim)
    batch_axis = either("batch_axis", batch_axis, "batch_dim", batch_dim)
    return raw.ReverseSequence(input, seq_lengths, seq_dim=seq_axis, batch_dim=batch_axis, name=name)


def extract_image_patches(
    images: Any,
    ksizes: Any = None,
    strides: Any = None,
    rates: Any = None,
    padding: str | None = None,
    name: str | None = None,
    sizes: Any = None,
) -> Any:
    """Return the patches of images ``[n, h, w, c]``, each flattened into the last dimension."""
    sizes = either("sizes", sizes, "ksizes", ksizes)
    return raw.ExtractImagePatches(images, ksizes=sizes, strides=strides, rates=rates, padding=padding, name=name)


def edit_distance(hypothesis: Any, truth: Any, normalize: bool = True, name: str = "edit_distance") -> Any:
    """Return the Levenshtein distances of the sequences of two sparse tensors, by default relative to the truth's."""
    for what, t in (("Hypothesis", hypothesis), ("Truth", truth)):
        if not isinstance(t, SparseTensor):
            raise TypeError(f"{what} must be a SparseTensor.")
    parts = [(t.indices, t.values, t.dense_shape) for t in (hypothesis, truth)]
    return raw.EditDistance(*parts[0], *parts[1], normalize=normalize, name=name)


# --- quantization -------------------------------------------------------------------------------------------------
def _channel_axis(input: Any, axis: int | None) -> int:
    if axis is None:
        return -1
    if axis >= 0:
        return axis
    n = input.shape.ndims
    if n is None:
        raise ValueError("input should have known rank to use negative axis.")
    return int(axis % n)


def quantize_v2(
    input: Any,
    min_range: Any,
    max_range: Any,
    T: Any,
    mode: str = "MIN_COMBINED",
    name: str | None = None,
    round_mode: str = "HALF_AWAY_FROM_ZERO",
    narrow_range: bool = False,
    axis: int | None = None,
    ensure_minimum_range: float = 0.01,
) -> Any:
    """Return the tensor quantized to `T`, and the ends of the range that was used."""
    return raw.QuantizeV2(
        input,
        min_range,
        max_range,
        T=T,
        mode=mode,
        round_mode=round_mode,
        narrow_range=narrow_range,
        axis=_channel_axis(input, axis),
        ensure_minimum_range=ensure_minimum_range,
        name=name,
    )


def quantize(
    input: Any,
    min_range: Any,
    max_range: Any,
    T: Any,
    mode: str = "MIN_COMBINED",
    round_mode: str = "HALF_AWAY_FROM_ZERO",
    name: str | None = None,
    narrow_range: bool = False,
    axis: int | None = None,
    ensure_minimum_range: float = 0.01,
) -> Any:
    """Do as `quantize_v2`, which has its arguments in another order."""
    return quantize_v2(input, min_range, max_range, T, mode, name, round_mode, narrow_range, axis, ensure_minimum_range)


def dequantize(
    input: Any,
    min_range: Any,
    max_range: Any,
    mode: str = "MIN_COMBINED",
    name: str | None = None,
    axis: int | None = None,
    narrow_range: bool = False,
    dtype: Any = dtypes.float32,
) -> Any:
    """Return the numbers that a quantized tensor stands for."""
    at = _channel_axis(input, axis)
    return raw.Dequantize(
        input, min_range, max_range, mode=mode, narrow_range=narrow_range, axis=at, dtype=dtype, name=name
    )


def quantize_and_dequantize(
    input: Any,
    input_min: Any,
    input_max: Any,
    signed_input: bool = True,
    num_bits: int = 8,
    range_given: bool = False,
    round_mode: str = "HALF_TO_EVEN",
    name: str | None = None,
    narrow_range: bool = False,
    axis: int | None = None,
) -> Any:
    """Return the tensor with the error that quantizing it would leave."""
    return raw.QuantizeAndDequantizeV2(
        input,
        input_min,
        input_max,
        signed_input=signed_input,
        num_bits=num_bits,
        range_given=range_given,
        round_mode=round_mode,
        narrow_range=narrow_range,
        axis=_channel_axis(input, axis),
        name=name,
    )


__all__ = [
    "batch_to_space", "batch_to_space_nd", "depth_to_space", "dequantize", "edit_distance", "extract_image_patches",
    "extract_volume_patches", "fake_quant_with_min_max_args", "fake_quant_with_min_max_args_gradient",
    "fake_quant_with_min_max_vars", "fake_quant_with_min_max_vars_gradient",
    "fake_quant_with_min_max_vars_per_channel", "fake_quant_with_min_max_vars_per_channel_gradient", "pad",
    "quantize", "quantize_and_dequantize", "quantize_v2", "quantized_concat", "required_space_to_batch_paddings",
    "reverse_sequence", "space_to_batch", "space_to_batch_nd", "space_to_depth",
]  # fmt: skip
