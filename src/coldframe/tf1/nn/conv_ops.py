"""Convolutions, with TF1's Python arguments.

A stride or dilation may be one number, one per spatial dimension, or one per dimension; nodes get the last.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from coldframe import dtypes
from coldframe.tf1.framework.build import raw
from coldframe.tf1.framework.convert import constant_value, convert_to_tensor, is_tensor_like
from coldframe.tf1.framework.graph import name_scope
from coldframe.tf1.framework.shape import TensorShape
from coldframe.tf1.layout_ops import required_space_to_batch_paddings
from coldframe.tf1.shape_ops import concat, expand_dims, reshape, shape, squeeze, stack
from coldframe.tf1.simple import either, simple

_FORMATS = {1: ("NWC", "NCW"), 2: ("NHWC", "NCHW"), 3: ("NDHWC", "NCDHW")}

depthwise_conv2d_native_backprop_input = depthwise_conv2d_backprop_input = simple(
    "depthwise_conv2d_native_backprop_input(input_sizes, filter, out_backprop, strides, padding, data_format='NHWC', "
    "dilations=[1, 1, 1, 1]) -> DepthwiseConv2dNativeBackpropInput"
)
depthwise_conv2d_native_backprop_filter = depthwise_conv2d_backprop_filter = simple(
    "depthwise_conv2d_native_backprop_filter(input, filter_sizes, out_backprop, strides, padding, data_format='NHWC', "
    "dilations=[1, 1, 1, 1]) -> DepthwiseConv2dNativeBackpropFilter"
)
conv3d_backprop_filter_v2 = conv3d_backprop_filter = simple(
    "conv3d_backprop_filter(input, filter_sizes, out_backprop, strides, padding, data_format='NDHWC', "
    "dilations=[1, 1, 1, 1, 1]) -> Conv3DBackpropFilterV2"
)


# --- arguments ----------------------------------------------------------------------------------------------------
def per_dimension(value: Any, n: int, channel: int, what: str) -> list[int]:
    """Return a stride, dilation or window as one number per dimension of an image with `n` spatial dimensions.

    Args:
        channel: which dimension holds the channels.

    Raises:
        ValueError: it has another length than 1, `n` or ``n + 2``.
    """
    if value is None:
        value = [1]
    elif not isinstance(value, (Sequence, np.ndarray)):
        value = [value]
    numbers = [int(v) for v in value]
    if len(numbers) == n + 2:
        return numbers
    if len(numbers) == 1:
        numbers *= n
    elif len(numbers) != n:
        raise ValueError(f"`{what}` should be of length 1, {n} or {n + 2}. Received: {what}={value}")
    return [1, 1, *numbers] if channel == 1 else [1, *numbers, 1]


def _channel(data_format: str | None, n: int) -> int:
    return 1 if data_format is not None and data_format.startswith("NC") else n + 1


def _padding(padding: Any) -> tuple[Any, list[int]]:
    """Return the padding's name, and explicit numbers of rows where it is a list of (before, after) pairs."""
    if not isinstance(padding, (list, tuple)):
        return padding, []
    for pair in padding:
        if not isinstance(pair, (list, tuple)) or len(pair) != 2:
            raise ValueError(f"explicit padding is a list of pairs (before, after), one per dimension, not {padding}")
    return "EXPLICIT", [int(p) for pair in padding for p in pair]


# --- two dimensions -----------------------------------------------------------------------------------------------
def conv2d(
    input: Any, filter: Any = None, strides: Any = None, padding: Any = None, use_cudnn_on_gpu: bool = True,
    data_format: str | None = "NHWC", dilations: Any = (1, 1, 1, 1), name: str | None = None, filters: Any = None,
) -> Any:  # fmt: skip
    """Return the convolution of images with a filter ``[height, width, in channels, out channels]``.

    Args:
        input: ``[..., height, width, channels]`` (channels first where `data_format` is ``NCHW``).
        padding: ``"SAME"``, ``"VALID"`` or pairs of numbers of rows, one per dimension.
        filters: another name of `filter`.
    """
    filter = either("filters", filters, "filter", filter)
    padding, explicit = _padding(padding)
    data_format = data_format or "NHWC"
    channel = _channel(data_format, 2)
    attrs = {
        "strides": per_dimension(strides, 2, channel, "strides"), "padding": padding, "explicit_paddings": explicit,
        "data_format": data_format, "dilations": per_dimension(dilations, 2, channel, "dilations"),
        "use_cudnn_on_gpu": use_cudnn_on_gpu,
    }  # fmt: skip
    rank = getattr(getattr(input, "shape", None), "ndims", None)
    if rank is None or rank <= 4:
        return raw.Conv2D(input, filter, name=name, **attrs)
    return _batches_squeezed(input, lambda x: raw.Conv2D(x, filter, **attrs), 3, name)


def _batches_squeezed(x: Any, op: Callable[[Any], Any], inner: int, name: str | None) -> Any:
    """Apply an op of one batch dimension to a tensor with several before its last `inner` dimensions."""
    with name_scope(name, "squeeze_batch_dims", [x]):
        x = convert_to_tensor(x, name="input")
        dims = x.shape[-inner:]
        batch = x.shape[:-inner]
        sizes = batch if batch.is_fully_defined() else shape(x)[:-inner]
        joined = [-1, *dims.as_list()] if dims.is_fully_defined() else concat([[-1], shape(x)[-inner:]], -1)
        out = op(reshape(x, joined))
        out_dims = out.shape[-inner:]
        last = out_dims if out_dims.is_fully_defined() else shape(out)[-inner:]
        result = reshape(out, concat([_as_list(sizes), _as_list(last)], -1))
        result.set_shape(batch.concatenate(out_dims))
        return result


def _as_list(value: Any) -> Any:
    return value.as_list() if isinstance(value, TensorShape) else value


def conv2d_backprop_input(
    input_sizes: Any, filter: Any = None, out_backprop: Any = None, strides: Any = None, padding: Any = None,
    use_cudnn_on_gpu: bool = True, data_format: str = "NHWC", dilations: Any = (1, 1, 1, 1),
    name: str | None = None, filters: Any = None,
) -> Any:  # fmt: skip
    """Return the gradient of `conv2d` for its input, whose shape is `input_sizes`."""
    padding, explicit = _padding(padding)
    return raw.Conv2DBackpropInput(
        input_sizes, either("filters", filters, "filter", filter), out_backprop, strides=strides, padding=padding,
        use_cudnn_on_gpu=use_cudnn_on_gpu, explicit_paddings=explicit, data_format=data_format, dilations=dilations,
        name=name,
    )  # fmt: skip


def conv2d_backprop_filter(
    input: Any, filter_sizes: Any, out_backprop: Any, strides: Any = None, padding: Any = None,
    use_cudnn_on_gpu: bool = True, data_format: str = "NHWC", dilations: Any = (1, 1, 1, 1), name: str | None = None,
) -> Any:  # fmt: skip
    """Return the gradient of `conv2d` for its filter, whose shape is `filter_sizes`."""
    padding, explicit = _padding(padding)
    return raw.Conv2DBackpropFilter(
        input, filter_sizes, out_backprop, strides=strides, padding=padding, use_cudnn_on_gpu=use_cudnn_on_gpu,
        explicit_paddings=explicit, data_format=data_format, dilations=dilations, name=name,
    )  # fmt: skip


def conv2d_transpose(
    value: Any = None, filter: Any = None, output_shape: Any = None, strides: Any = None, padding: Any = "SAME",
    data_format: str | None = "NHWC", name: str | None = None, input: Any = None, filters: Any = None,
    dilations: Any = None,
) -> Any:  # fmt: skip
    """Return what `conv2d` with a filter ``[height, width, out channels, in channels]`` would have made `value` of.

    Args:
        output_shape: the shape of the result, 4 numbers.
    """
    value = either("input", input, "value", value)
    filter = either("filters", filters, "filter", filter)
    with name_scope(name, "conv2d_transpose", [value, filter, output_shape]) as scope:
        data_format = data_format or "NHWC"
        channel = _channel(data_format, 2)
        padding, explicit = _padding(padding)
        return raw.Conv2DBackpropInput(
            output_shape, filter, value, strides=per_dimension(strides, 2, channel, "strides"), padding=padding,
            explicit_paddings=explicit, data_format=data_format,
            dilations=per_dimension(dilations, 2, channel, "dilations"), name=scope,
        )  # fmt: skip


def atrous_conv2d(value: Any, filters: Any, rate: int, padding: Any, name: str | None = None) -> Any:
    """Return a convolution whose filter has `rate` - 1 gaps between its elements."""
    return convolution(value, filters, padding, dilation_rate=np.broadcast_to(rate, (2,)), name=name)


def atrous_conv2d_transpose(
    value: Any, filters: Any, output_shape: Any, rate: int, padding: str, name: str | None = None
) -> Any:
    """Return what `atrous_conv2d` would have made `value` of."""
    return conv2d_transpose(value, filters, output_shape, 1, padding, name=name, dilations=rate)


# --- one and three dimensions -------------------------------------------------------------------------------------
def conv1d(
    value: Any = None, filters: Any = None, stride: Any = None, padding: Any = None,
    use_cudnn_on_gpu: bool | None = None, data_format: str | None = None, name: str | None = None, input: Any = None,
    dilations: Any = None,
) -> Any:  # fmt: skip
    """Return the convolution of ``[batch, width, channels]`` with a filter ``[width, in channels, out channels]``."""
    value = either("input", input, "value", value)
    with name_scope(name, "conv1d", [value, filters]) as scope:
        data_format, at, image = _one_dimensional(data_format)
        channel = 1 if data_format == "NCW" else 2
        strides = [1, *per_dimension(stride, 1, channel, "stride")]
        dilation = [1, *per_dimension(dilations, 1, channel, "dilations")]
        value = expand_dims(value, at)
        filters = expand_dims(filters, 0)
        if value.shape.ndims in (4, 3, 2, 1, 0, None):
            result = raw.Conv2D(
                value, filters, strides=strides, padding=padding, data_format=image, dilations=dilation, name=scope,
                use_cudnn_on_gpu=True if use_cudnn_on_gpu is None else use_cudnn_on_gpu,
            )  # fmt: skip
        else:
            result = _batches_squeezed(
                value,
                lambda x: raw.Conv2D(
                    x, filters, strides=strides, padding=padding, data_format=image, dilations=dilation
                ),
                3,
                scope,
            )
        return squeeze(result, [at])


def _one_dimensional(data_format: str | None) -> tuple[str, int, str]:
    """Return the format, the place of a new image dimension in it, and the format of images then."""
    if data_format in (None, "NHWC", "NWC"):
        return "NWC", -3, "NHWC"
    if data_format in ("NCHW", "NCW"):
        return "NCW", -2, "NCHW"
    raise ValueError(f'`data_format` must be either "NWC" or "NCW". Received: data_format={data_format}')


def conv1d_transpose(
    input: Any, filters: Any, output_shape: Any, strides: Any, padding: str = "SAME", data_format: str = "NWC",
    dilations: Any = None, name: str | None = None,
) -> Any:  # fmt: skip
    """Return what `conv1d` would have made `input` of; `output_shape` has 3 numbers."""
    with name_scope(name, "conv1d_transpose", [input, filters, output_shape]) as scope:
        data_format, at, image = _one_dimensional(data_format)
        at = 1 if at == -3 else 2
        channel = 1 if data_format == "NCW" else 2
        stride = [1, *per_dimension(strides, 1, channel, "strides")]
        dilation = [1, *per_dimension(dilations, 1, channel, "dilations")]
        input = expand_dims(input, at)
        filters = expand_dims(filters, 0)
        output_shape = concat([output_shape[:at], [1], output_shape[at:]], 0)
        result = raw.Conv2DBackpropInput(
            output_shape, filters, input, strides=stride, padding=padding, data_format=image, dilations=dilation,
            name=scope,
        )  # fmt: skip
        return squeeze(result, at)


def conv3d(
    input: Any, filter: Any = None, strides: Any = None, padding: Any = None, data_format: str = "NDHWC",
    dilations: Any = (1, 1, 1, 1, 1), name: str | None = None, filters: Any = None,
) -> Any:  # fmt: skip
    """Return the convolution of volumes with a filter ``[depth, height, width, in channels, out channels]``."""
    filter = either("filters", filters, "filter", filter)
    return raw.Conv3D(input, filter, strides=strides, padding=padding, data_format=data_format, dilations=dilations,
                      name=name)  # fmt: skip


def conv3d_transpose(
    value: Any, filter: Any = None, output_shape: Any = None, strides: Any = None, padding: str = "SAME",
    data_format: str | None = "NDHWC", name: str | None = None, input: Any = None, filters: Any = None,
    dilations: Any = None,
) -> Any:  # fmt: skip
    """Return what `conv3d` would have made `value` of; `output_shape` has 5 numbers."""
    value = either("input", input, "value", value)
    filter = either("filters", filters, "filter", filter)
    with name_scope(name, "conv3d_transpose", [value, filter, output_shape]) as scope:
        data_format = data_format or "NDHWC"
        channel = _channel(data_format, 3)
        return raw.Conv3DBackpropInputV2(
            output_shape, filter, value, strides=per_dimension(strides, 3, channel, "strides"), padding=padding,
            data_format=data_format, dilations=per_dimension(dilations, 3, channel, "dilations"), name=scope,
        )  # fmt: skip


def conv_transpose(
    input: Any, filters: Any, output_shape: Any, strides: Any, padding: Any = "SAME", data_format: str | None = None,
    dilations: Any = None, name: str | None = None,
) -> Any:  # fmt: skip
    """Return the transposed convolution of one to three dimensions of space, by the length of `output_shape`."""
    size = output_shape.static_shape.dims[0] if hasattr(output_shape, "static_shape") else len(output_shape)
    if size not in (3, 4, 5):
        raise ValueError(f"`output_shape` must have length 3, 4 or 5. Received: {size}")
    if dilations is not None and np.any(np.asarray(dilations) != 1):
        raise NotImplementedError("dilated transposed convolutions are not supported")
    formats = (("NWC", conv1d_transpose), ("NHWC", conv2d_transpose), ("NDHWC", conv3d_transpose))
    usual, op = formats[size - 3]
    return op(input, filters, output_shape, strides, padding, data_format or usual, name)


def convolution(
    input: Any, filter: Any = None, padding: Any = None, strides: Any = None, dilation_rate: Any = None,
    name: str | None = None, data_format: str | None = None, filters: Any = None, dilations: Any = None,
) -> Any:  # fmt: skip
    """Return the convolution of an input of 1 to 3 spatial dimensions, as many as the filter has.

    Args:
        strides, dilation_rate: one number per spatial dimension; not both above 1.
    """
    filter = either("filters", filters, "filter", filter)
    rates = either("dilations", dilations, "dilation_rate", dilation_rate)
    kernel = filter if isinstance(filter.get_shape().ndims, int) else convert_to_tensor(filter)
    rank = kernel.get_shape().ndims
    if rank is None:
        rank = convert_to_tensor(input).shape.ndims
    if rank is None:
        raise ValueError("rank of input or filter must be known")
    n = rank - 2
    if n not in _FORMATS:
        raise ValueError(f"`num_spatial_dims` must be 1, 2, or 3. Received: num_spatial_dims={n}.")
    padding, explicit = _padding(padding)
    channel = _channel(data_format, n)
    with name_scope(name, "convolution", [input, filter]) as scope:
        steps = per_dimension(strides, n, channel, "strides")
        gaps = per_dimension(rates, n, channel, "dilations")
        at = slice(2, None) if channel == 1 else slice(1, -1)
        if all(g == 1 for g in gaps):
            return _plain(input, kernel, n, steps, padding, explicit, data_format, scope)
        x, sizes = convert_to_tensor(input), kernel.get_shape()
        if any(s > 1 for s in steps):
            raise ValueError("`strides > 1` not supported in conjunction with `dilations > 1`")
        return dilated(
            x, gaps[at], padding, lambda v, left: _plain(v, kernel, n, steps, left, [], data_format, scope),
            sizes if sizes.is_fully_defined() else shape(kernel), data_format,
        )  # fmt: skip


def _plain(
    x: Any, kernel: Any, n: int, steps: list[int], padding: Any, explicit: list[int], data_format: str | None,
    scope: str,
) -> Any:  # fmt: skip
    if n == 1:
        return conv1d(x, kernel, steps, padding, data_format=data_format, name=scope)
    form = data_format or _FORMATS[n][0]
    if n == 3:
        return raw.Conv3D(x, kernel, strides=steps, padding=padding, data_format=form, name=scope)
    return raw.Conv2D(
        x, kernel, strides=steps, padding=padding, explicit_paddings=explicit, data_format=form, name=scope
    )


# --- depthwise ----------------------------------------------------------------------------------------------------
def depthwise_conv2d_native(
    input: Any, filter: Any, strides: Any, padding: Any, data_format: str | None = None, name: str | None = None,
    dilations: Any = None,
) -> Any:  # fmt: skip
    """Return each channel convolved with its own filters ``[height, width, channels, multiplier]``: one node."""
    padding, explicit = _padding(padding)
    return raw.DepthwiseConv2dNative(
        input, filter, strides=strides, padding=padding, explicit_paddings=explicit, data_format=data_format,
        dilations=dilations, name=name,
    )  # fmt: skip


def depthwise_conv2d(
    input: Any, filter: Any, strides: Any, padding: Any, rate: Any = None, name: str | None = None,
    data_format: str | None = None, dilations: Any = None,
) -> Any:  # fmt: skip
    """Return each channel convolved with its own filters ``[height, width, channels, multiplier]``.

    Args:
        rate: dilation of the filter, one number per spatial dimension; `dilations` is its other name.
    """
    rate = either("dilations", dilations, "rate", rate)
    with name_scope(name, "depthwise", [input, filter]) as scope:
        x = convert_to_tensor(input, name="tensor_in")
        kernel = convert_to_tensor(filter, name="filter_in")

        def op(value: Any, padding: Any) -> Any:
            return depthwise_conv2d_native(value, kernel, strides, padding, data_format, name=scope)

        return dilated(x, [1, 1] if rate is None else rate, padding, op, shape(kernel), data_format)


def separable_conv2d(
    input: Any, depthwise_filter: Any, pointwise_filter: Any, strides: Any, padding: Any, rate: Any = None,
    name: str | None = None, data_format: str | None = None, dilations: Any = None,
) -> Any:  # fmt: skip
    """Return a depthwise convolution followed by one with `pointwise_filter`, ``[1, 1, in channels, out channels]``."""
    rate = either("dilations", dilations, "rate", rate)
    with name_scope(name, "separable_conv2d", [input, depthwise_filter, pointwise_filter]) as scope:
        x = convert_to_tensor(input, name="tensor_in")
        depthwise = convert_to_tensor(depthwise_filter, name="depthwise_filter")
        pointwise = convert_to_tensor(pointwise_filter, name="pointwise_filter")
        pointwise.shape.with_rank(4)
        sizes = shape(depthwise)

        def op(value: Any, padding: Any) -> Any:
            return depthwise_conv2d_native(value, depthwise, strides, padding, data_format, name="depthwise")

        middle = dilated(x, [1, 1] if rate is None else rate, padding, op, sizes, data_format)
        return conv2d(middle, pointwise, [1, 1, 1, 1], "VALID", data_format=data_format, name=scope)


def dilated(x: Any, rate: Any, padding: Any, op: Any, kernel_shape: Any, data_format: str | None) -> Any:
    """Apply a sliding-window op to every `rate`-th pixel: the pixels are sorted into batches first.

    Args:
        rate: one number per spatial dimension.
        op: called with the images and the padding that is left to do.
        kernel_shape: the shape of the filter.
    """
    rates: Any = convert_to_tensor(rate, dtypes.int32, name="dilation_rate")
    n = rates.static_shape.dims[0]
    known = constant_value(rates)
    if known is not None and (known == 1).all():
        return op(x, padding)
    steps = rates if known is None else known
    if padding not in ("SAME", "VALID"):
        raise ValueError(f"`padding` must be SAME or VALID with a dilation, not {padding}")
    base = _same_paddings(kernel_shape, steps, n) if padding == "SAME" else np.zeros([n, 2], np.int32)
    first = 2 if data_format is not None and data_format.startswith("NC") else 1
    dims = x.static_shape.dims
    sizes = None if dims is None else list(dims[first : first + n])
    if sizes is None or None in sizes:
        whole = shape(x)
        sizes = stack([whole[first + i] for i in range(n)])
    paddings, crops = required_space_to_batch_paddings(sizes, rates, base)
    block, paddings, crops = (_from_first(v, f, first) for v, f in ((steps, 1), (paddings, 0), (crops, 0)))
    return raw.BatchToSpaceND(op(raw.SpaceToBatchND(x, block, paddings), "VALID"), block, crops)


def _same_paddings(kernel_shape: Any, rates: Any, n: int) -> Any:
    kernel_shape = convert_to_tensor(kernel_shape, dtypes.int32, name="filter_shape")
    known = constant_value(kernel_shape)
    spatial = (kernel_shape if known is None else known)[:n]
    extra = (spatial - 1) * rates
    before = extra // 2
    after = extra - before
    return stack([[before[i], after[i]] for i in range(n)])


def _from_first(value: Any, fill: int, first: int) -> Any:
    """Return the numbers of spatial dimensions, with `fill` for the dimensions between the batch and the first one."""
    known = constant_value(value) if is_tensor_like(value) else value
    count, *rest = (value if known is None else known).shape
    between = np.full([first - 1, *map(int, rest)], fill, np.int32)
    if known is not None:
        return np.concatenate([between, known])
    return concat([*([between] if first > 1 else []), value[0 : int(count)]], 0)


# --- morphology ---------------------------------------------------------------------------------------------------
def dilation2d(
    input: Any, filter: Any = None, strides: Any = None, rates: Any = None, padding: Any = None,
    name: str | None = None, filters: Any = None, dilations: Any = None,
) -> Any:  # fmt: skip
    """Return the maximum over a window of pixels plus `filter`, ``[height, width, channels]``."""
    filter = either("filters", filters, "filter", filter)
    return raw.Dilation2D(input, filter, strides=strides, rates=either("dilations", dilations, "rates", rates),
                          padding=padding, name=name)  # fmt: skip


def erosion2d(value: Any, kernel: Any, strides: Any, rates: Any, padding: Any, name: str | None = None) -> Any:
    """Return the minimum over a window of pixels minus `kernel`, ``[height, width, channels]``."""
    with name_scope(name, "erosion2d", [value, kernel]) as scope:
        turned = raw.ReverseV2(kernel, [0, 1])
        widest = raw.Dilation2D(raw.Neg(value), turned, strides=strides, rates=rates, padding=padding, name=scope)
        return raw.Neg(widest)


__all__ = [
    "atrous_conv2d", "atrous_conv2d_transpose", "conv1d", "conv1d_transpose", "conv2d", "conv2d_backprop_filter",
    "conv2d_backprop_input", "conv2d_transpose", "conv3d", "conv3d_backprop_filter", "conv3d_backprop_filter_v2",
    "conv3d_transpose", "conv_transpose", "convolution", "depthwise_conv2d", "depthwise_conv2d_backprop_filter",
    "depthwise_conv2d_backprop_input", "depthwise_conv2d_native", "depthwise_conv2d_native_backprop_filter",
    "depthwise_conv2d_native_backprop_input", "dilation2d", "erosion2d", "separable_conv2d",
]  # fmt: skip
