"""Convolutions of two and three spatial dimensions, their gradients, and grey-scale dilation.

Filters are [*kernel, in channels / groups, out channels]; a depthwise filter is [*kernel, channels, multiplier]. The
number of groups is how many times a filter's input channels go into the input's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from coldframe.dtypes import DType, bool_
from coldframe.ops import inference_nn
from coldframe.ops.backward import attrs_of, shape_of
from coldframe.ops.layouts import (
    channels_last,
    check_rank,
    from_filter,
    from_first,
    known,
    spatial,
    to_filter,
    to_first,
    window_padding,
)
from coldframe.ops.table import op
from coldframe.primitives.base import Unlowerable, refuse
from coldframe.primitives.numpy_windows import lowest

Ints = Sequence[int]
_HINTS = ("use_cudnn_on_gpu",)
# the attributes that a convolution shares with its gradients
_CONV = ("strides", "padding", "explicit_paddings", "data_format", "dilations")
_CONV2D = (*_CONV, *_HINTS)
_CONV3D = ("strides", "padding", "data_format", "dilations")


def _options(
    strides: Ints, padding: str, explicit: Ints, dilations: Ints, rank: int, data_format: str
) -> dict[str, Any]:
    return {
        "strides": spatial(strides, rank, data_format, "strides"),
        "padding": window_padding(padding, explicit, rank, data_format),
        "dilations": spatial(dilations or (1,) * rank, rank, data_format, "dilations"),
    }


def _groups(channels: Any, filter_channels: Any, out_channels: Any) -> int:
    """How many groups the channels form."""
    c, f, o = known(channels), known(filter_channels), known(out_channels)
    if f is None:
        raise Unlowerable("the channels of a filter are not known when compiling")
    if f == 0:
        raise refuse("a filter without input channels")
    if c is None:  # ONNX Runtime checks the channels when it runs
        return 1
    groups = c // f
    if c % f or not groups or (o is not None and o % groups):
        raise refuse(
            "the channels of input and filter do not agree",
            expected=f"input channels divisible by {f}, output channels by the number of groups",
            found=f"{c} input and {o} output channels",
        )  # fmt: skip
    return groups


def _check_filter(xp: Any, w: Any, rank: int) -> None:
    check_rank(xp, w, [rank], "the filter")
    dims = [known(xp.dim(w, i)) for i in range(rank - 1)]
    if 0 in dims:
        raise refuse("a filter without elements", found=dims)


def _conv(xp: Any, x: Any, w: Any, options: dict[str, Any], data_format: str, groups: int | None = None) -> Any:
    rank = xp.rank(x)
    _check_filter(xp, w, rank)
    first = to_first(xp, x, data_format)
    if groups is None:
        groups = _groups(xp.dim(first, 1), xp.dim(w, rank - 2), xp.dim(w, rank - 1))
    return from_first(xp, xp.conv(first, to_filter(xp, w), groups=groups, **options), data_format)


@op("Conv2D", shape=inference_nn.conv2d, heavy=True, windows=True, ignores=_HINTS)
def conv2d(
    xp: Any, input: Any, filter: Any,
    *, strides: Ints, padding: str, explicit_paddings: Ints, data_format: str, dilations: Ints,
) -> Any:  # fmt: skip
    """Correlate images with filters of two spatial dimensions."""
    check_rank(xp, input, [4], "the input")
    return _conv(
        xp, input, filter, _options(strides, padding, explicit_paddings, dilations, 4, data_format), data_format
    )


@conv2d.gradient
def _(g: Any, op: Any, dy: Any) -> Any:
    x, w = op.inputs
    x_shape, w_shape = g.ShapeN([x, w])
    same = attrs_of(op, *_CONV2D)
    return g.Conv2DBackpropInput(x_shape, w, dy, **same), g.Conv2DBackpropFilter(x, w_shape, dy, **same)


@op("Conv3D", shape=inference_nn.conv3d, heavy=True, windows=True)
def conv3d(xp: Any, input: Any, filter: Any, *, strides: Ints, padding: str, data_format: str, dilations: Ints) -> Any:
    """Correlate volumes with filters of three spatial dimensions; in groups too, as in functions compiled by XLA."""
    check_rank(xp, input, [5], "the input")
    return _conv(xp, input, filter, _options(strides, padding, (), dilations, 5, data_format), data_format)


@conv3d.gradient
def _(g: Any, op: Any, dy: Any) -> Any:
    x, w = op.inputs
    x_shape, w_shape = g.ShapeN([x, w])
    same = attrs_of(op, *_CONV3D)
    return g.Conv3DBackpropInputV2(x_shape, w, dy, **same), g.Conv3DBackpropFilterV2(x, w_shape, dy, **same)


@op("Conv", shape=inference_nn.conv, heavy=True, windows=True)
def conv(
    xp: Any, input: Any, filter: Any,
    *, strides: Ints, padding: str, explicit_paddings: Ints, data_format: str, dilations: Ints, batch_dims: int,
    groups: int,
) -> Any:  # fmt: skip
    """Correlate with filters of two or three spatial dimensions, over any number of batch dimensions."""
    rank = check_rank(xp, filter, [4, 5], "the filter")
    if xp.rank(input) != rank - 1 + batch_dims:
        raise refuse("the rank of the input", expected=rank - 1 + batch_dims, found=xp.rank(input))
    options = _options(strides, padding, explicit_paddings, dilations, rank, data_format)
    batch = [xp.dim(input, i) for i in range(batch_dims)]
    x = xp.reshape(input, [-1, *(xp.dim(input, batch_dims + i) for i in range(rank - 1))]) if batch_dims != 1 else input
    channels = xp.dim(x, rank - 1 if channels_last(data_format) else 1)
    if known(channels) is not None and _groups(channels, xp.dim(filter, rank - 2), xp.dim(filter, rank - 1)) != groups:
        raise refuse("the channels of input and filter do not agree", expected=f"{groups} groups", found=channels)
    y = _conv(xp, x, filter, options, data_format, groups)
    return xp.reshape(y, [*batch, *(xp.dim(y, i) for i in range(1, rank))]) if batch_dims != 1 else y


@op("DepthwiseConv2dNative", shape=inference_nn.depthwise, heavy=True, windows=True)
def depthwise_conv2d(
    xp: Any, input: Any, filter: Any,
    *, strides: Ints, padding: str, explicit_paddings: Ints, data_format: str, dilations: Ints,
) -> Any:  # fmt: skip
    """Correlate each channel of images with filters of its own."""
    check_rank(xp, input, [4], "the input")
    _check_filter(xp, filter, 4)
    options = _depthwise_options(strides, padding, explicit_paddings, dilations, data_format)
    x = to_first(xp, input, data_format)
    y = xp.conv(x, _depthwise(xp, filter), groups=_channels(xp, filter, xp.dim(x, 1)), **options)
    return from_first(xp, y, data_format)


@depthwise_conv2d.gradient
def _(g: Any, op: Any, dy: Any) -> Any:
    x, w = op.inputs
    same = attrs_of(op, *_CONV)
    dx = g.DepthwiseConv2dNativeBackpropInput(shape_of(g, x), w, dy, **same)
    return dx, g.DepthwiseConv2dNativeBackpropFilter(x, shape_of(g, w), dy, **same)


def _depthwise_options(
    strides: Ints, padding: str, explicit: Ints, dilations: Ints, data_format: str
) -> dict[str, Any]:
    return _options(strides, padding, explicit, dilations, 4, data_format)


def _channels(xp: Any, filter: Any, channels: Any) -> int:
    c, here = known(xp.dim(filter, 2)), known(channels)
    if c is None:
        raise Unlowerable("the channels of a filter are not known when compiling")
    if here is not None and here != c:
        raise refuse("the channels of input and filter", expected=c, found=here)
    return c


def _depthwise(xp: Any, filter: Any) -> Any:
    """[h, w, c, m] to [c * m, 1, h, w]."""
    h, w = xp.dim(filter, 0), xp.dim(filter, 1)
    return xp.reshape(xp.transpose(filter, [2, 3, 0, 1]), [-1, 1, h, w])


# --- gradients ----------------------------------------------------------------------------------------------------
def _sizes(xp: Any, sizes: Any, rank: int, data_format: str) -> list[Any]:
    """The spatial entries of an `input_sizes`, which may name them alone."""
    if xp.rank(sizes) != 1:
        raise refuse("the rank of the input sizes", expected=1, found=xp.rank(sizes))
    n = known(xp.dim(sizes, 0))
    if n is None:
        raise Unlowerable("the number of input sizes is not known when compiling")
    if n == rank - 2:
        at = range(rank - 2)
    elif n == rank:
        at = range(1, rank - 1) if channels_last(data_format) else range(2, rank)
    else:
        raise refuse("the number of input sizes", expected=f"{rank} or {rank - 2}", found=n)
    return [_scalar(xp, sizes, i) for i in at]


def _scalar(xp: Any, vector: Any, i: int) -> Any:
    return xp.gather(vector, i)


def _conv_input(
    xp: Any, sizes: list[Any], w: Any, dy: Any, options: dict[str, Any], data_format: str, groups: int
) -> Any:
    first = to_first(xp, dy, data_format)
    o, wanted = known(xp.dim(first, 1)), known(xp.dim(w, 0))
    if o is not None and wanted is not None and o != wanted:
        raise refuse("the channels of the gradient", expected=wanted, found=o)
    return from_first(xp, xp.conv_transpose(first, w, sizes, groups=groups, **options), data_format)


def _in_groups(xp: Any, sizes: Any, filter: Any, rank: int, data_format: str) -> int:
    """The groups that `input_sizes` tells where it names the channels and they are known."""
    if known(xp.dim(sizes, 0)) != rank:
        return 1
    channels = known(_scalar(xp, sizes, rank - 1 if channels_last(data_format) else 1))
    return 1 if channels is None else _groups(channels, xp.dim(filter, rank - 2), xp.dim(filter, rank - 1))


def _check_batch(xp: Any, sizes: Any, dy: Any, rank: int) -> None:
    here = known(xp.dim(dy, 0))
    if known(xp.dim(sizes, 0)) != rank or here is None:
        return
    wanted = known(_scalar(xp, sizes, 0))
    if wanted is not None and wanted != here:
        raise refuse("the batch of the gradient", expected=wanted, found=here)


@op(
    "Conv2DBackpropInput",
    shape=inference_nn.conv2d_input,
    lenient="sizes that its inputs' values give and that do not fit",
    heavy=True,
    windows=True,
    ignores=_HINTS,
)
def conv2d_backprop_input(
    xp: Any, input_sizes: Any, filter: Any, out_backprop: Any,
    *, strides: Ints, padding: str, explicit_paddings: Ints, data_format: str, dilations: Ints,
) -> Any:  # fmt: skip
    """The gradient of Conv2D for its input: a transposed convolution."""
    check_rank(xp, out_backprop, [4], "the gradient")
    _check_filter(xp, filter, 4)
    options = _options(strides, padding, explicit_paddings, dilations, 4, data_format)
    sizes = _sizes(xp, input_sizes, 4, data_format)
    _check_batch(xp, input_sizes, out_backprop, 4)
    groups = _in_groups(xp, input_sizes, filter, 4, data_format)
    return _conv_input(xp, sizes, to_filter(xp, filter), out_backprop, options, data_format, groups)


@conv2d_backprop_input.gradient
def _(g: Any, op: Any, dy: Any) -> Any:
    _, w, out = op.inputs
    same = attrs_of(op, *_CONV2D)
    return None, g.Conv2DBackpropFilter(dy, shape_of(g, w), out, **same), g.Conv2D(dy, w, **same)


@op(
    "Conv2DBackpropInputV2",
    shape="x -> x",
    lenient="sizes that its inputs' values give and that do not fit",
    heavy=True,
    windows=True,
    ignores=_HINTS,
)
def conv2d_backprop_input_v2(
    xp: Any, input: Any, filter: Any, out_backprop: Any,
    *, strides: Ints, padding: str, explicit_paddings: Ints, data_format: str, dilations: Ints,
) -> Any:  # fmt: skip
    """The gradient of Conv2D for its input, of which only the shape is read."""
    return conv2d_backprop_input.body(
        xp, xp.shape(input), filter, out_backprop, strides=strides, padding=padding,
        explicit_paddings=explicit_paddings, data_format=data_format, dilations=dilations,
    )  # fmt: skip


@op(
    "Conv3DBackpropInputV2",
    shape=inference_nn.input_sizes5,
    lenient="sizes that its inputs' values give and that do not fit",
    heavy=True,
    windows=True,
)
def conv3d_backprop_input(
    xp: Any, input_sizes: Any, filter: Any, out_backprop: Any,
    *, strides: Ints, padding: str, data_format: str, dilations: Ints,
) -> Any:  # fmt: skip
    """The gradient of Conv3D for its input."""
    check_rank(xp, out_backprop, [5], "the gradient")
    _check_filter(xp, filter, 5)
    options = _options(strides, padding, (), dilations, 5, data_format)
    sizes = _sizes(xp, input_sizes, 5, data_format)
    _check_batch(xp, input_sizes, out_backprop, 5)
    groups = _in_groups(xp, input_sizes, filter, 5, data_format)
    return _conv_input(xp, sizes, to_filter(xp, filter), out_backprop, options, data_format, groups)


@conv3d_backprop_input.gradient
def _(g: Any, op: Any, dy: Any) -> Any:
    _, w, out = op.inputs
    same = attrs_of(op, *_CONV3D)
    return None, g.Conv3DBackpropFilterV2(dy, shape_of(g, w), out, **same), g.Conv3D(dy, w, **same)


@op(
    "DepthwiseConv2dNativeBackpropInput",
    shape=inference_nn.input_sizes4,
    lenient="sizes that its inputs' values give and that do not fit",
    heavy=True,
    windows=True,
)
def depthwise_conv2d_backprop_input(
    xp: Any, input_sizes: Any, filter: Any, out_backprop: Any,
    *, strides: Ints, padding: str, explicit_paddings: Ints, data_format: str, dilations: Ints,
) -> Any:  # fmt: skip
    """The gradient of DepthwiseConv2dNative for its input."""
    check_rank(xp, out_backprop, [4], "the gradient")
    _check_filter(xp, filter, 4)
    if known(xp.dim(input_sizes, 0)) not in (None, 4):
        raise refuse("the number of input sizes", expected=4, found=known(xp.dim(input_sizes, 0)))
    options = _depthwise_options(strides, padding, explicit_paddings, dilations, data_format)
    sizes = _sizes(xp, input_sizes, 4, data_format)
    _check_batch(xp, input_sizes, out_backprop, 4)
    groups = _channels(xp, filter, None)
    return _conv_input(xp, sizes, _depthwise(xp, filter), out_backprop, options, data_format, groups)


@depthwise_conv2d_backprop_input.gradient
def _(g: Any, op: Any, dy: Any) -> Any:
    _, w, out = op.inputs
    same = attrs_of(op, *_CONV)
    dw = g.DepthwiseConv2dNativeBackpropFilter(dy, shape_of(g, w), out, **same)
    return None, dw, g.DepthwiseConv2dNative(dy, w, **same)


def _conv_filter(xp: Any, x: Any, dy: Any, kernel: Any, options: dict[str, Any], data_format: str, groups: int) -> Any:
    taps = [int(k) for k in xp.static(kernel, "the size of a filter")]
    return xp.conv_filter(to_first(xp, x, data_format), to_first(xp, dy, data_format), taps, groups=groups, **options)


@op(
    "Conv2DBackpropFilter",
    shape=inference_nn.filter_sizes4,
    heavy=True,
    windows=True,
    ignores=_HINTS,
    static=("filter_sizes",),
)
def conv2d_backprop_filter(
    xp: Any, input: Any, filter_sizes: Any, out_backprop: Any,
    *, strides: Ints, padding: str, explicit_paddings: Ints, data_format: str, dilations: Ints,
) -> Any:  # fmt: skip
    """The gradient of Conv2D for its filter."""
    return _filter_gradient(
        xp, input, filter_sizes, out_backprop, 4,
        _options(strides, padding, explicit_paddings, dilations, 4, data_format), data_format,
    )  # fmt: skip


@conv2d_backprop_filter.gradient
def _(g: Any, op: Any, dw: Any) -> Any:
    x, _, out = op.inputs
    same = attrs_of(op, *_CONV2D)
    return g.Conv2DBackpropInput(shape_of(g, x), dw, out, **same), None, g.Conv2D(x, dw, **same)


def _filter_gradient(
    xp: Any, x: Any, filter_sizes: Any, dy: Any, rank: int, options: dict[str, Any], data_format: str
) -> Any:
    check_rank(xp, x, [rank], "the input")
    check_rank(xp, dy, [rank], "the gradient")
    sizes = [int(v) for v in filter_sizes]
    if len(sizes) != rank:
        raise refuse("the number of filter sizes", expected=rank, found=len(sizes))
    channel = rank - 1 if channels_last(data_format) else 1
    groups = _groups(xp.dim(x, channel), sizes[-2], sizes[-1])
    if known(xp.dim(dy, channel)) not in (None, sizes[-1]):
        raise refuse("the channels of the gradient", expected=sizes[-1], found=xp.dim(dy, channel))
    return from_filter(xp, _conv_filter(xp, x, dy, filter_sizes[:-2], options, data_format, groups))


@op("Conv2DBackpropFilterV2", shape=inference_nn.like_second, heavy=True, windows=True, ignores=_HINTS)
def conv2d_backprop_filter_v2(
    xp: Any, input: Any, filter: Any, out_backprop: Any,
    *, strides: Ints, padding: str, explicit_paddings: Ints, data_format: str, dilations: Ints,
) -> Any:  # fmt: skip
    """The gradient of Conv2D for its filter, of which only the shape is read."""
    return conv2d_backprop_filter.body(
        xp, input, xp.static(xp.shape(filter), "the shape of a filter"), out_backprop, strides=strides,
        padding=padding, explicit_paddings=explicit_paddings, data_format=data_format, dilations=dilations,
    )  # fmt: skip


@op("Conv3DBackpropFilterV2", shape=inference_nn.filter_sizes5, heavy=True, windows=True, static=("filter_sizes",))
def conv3d_backprop_filter(
    xp: Any, input: Any, filter_sizes: Any, out_backprop: Any,
    *, strides: Ints, padding: str, data_format: str, dilations: Ints,
) -> Any:  # fmt: skip
    """The gradient of Conv3D for its filter."""
    return _filter_gradient(
        xp, input, filter_sizes, out_backprop, 5, _options(strides, padding, (), dilations, 5, data_format), data_format
    )


@conv3d_backprop_filter.gradient
def _(g: Any, op: Any, dw: Any) -> Any:
    x, _, out = op.inputs
    same = attrs_of(op, *_CONV3D)
    return g.Conv3DBackpropInputV2(shape_of(g, x), dw, out, **same), None, g.Conv3D(x, dw, **same)


@op(
    "DepthwiseConv2dNativeBackpropFilter",
    shape=inference_nn.filter_sizes4,
    heavy=True,
    windows=True,
    static=("filter_sizes",),
)
def depthwise_conv2d_backprop_filter(
    xp: Any, input: Any, filter_sizes: Any, out_backprop: Any,
    *, strides: Ints, padding: str, explicit_paddings: Ints, data_format: str, dilations: Ints,
) -> Any:  # fmt: skip
    """The gradient of DepthwiseConv2dNative for its filter."""
    check_rank(xp, input, [4], "the input")
    check_rank(xp, out_backprop, [4], "the gradient")
    options = _depthwise_options(strides, padding, explicit_paddings, dilations, data_format)
    h, w, c, m = (int(v) for v in filter_sizes)
    channels = known(xp.dim(input, 3 if channels_last(data_format) else 1))
    if channels not in (None, c):
        raise refuse("the channels of input and filter", expected=c, found=channels)
    dw = _conv_filter(xp, input, out_backprop, filter_sizes[:2], options, data_format, c)
    return xp.transpose(xp.reshape(dw, [c, m, h, w]), [2, 3, 0, 1])


@depthwise_conv2d_backprop_filter.gradient
def _(g: Any, op: Any, dw: Any) -> Any:
    x, _, out = op.inputs
    same = attrs_of(op, *_CONV)
    dx = g.DepthwiseConv2dNativeBackpropInput(shape_of(g, x), dw, out, **same)
    return dx, None, g.DepthwiseConv2dNative(x, dw, **same)


@op("Conv3DBackpropInput", shape="x * * -> x", heavy=True, windows=True)
def conv3d_backprop_input_v1(
    xp: Any, input: Any, filter: Any, out_backprop: Any, *, strides: Ints, padding: str, dilations: Ints
) -> Any:
    """The gradient of Conv3D for its input, of which only the shape is read; channels last."""
    return conv3d_backprop_input.body(
        xp, xp.shape(input), filter, out_backprop, strides=strides, padding=padding, data_format="NDHWC",
        dilations=dilations,
    )  # fmt: skip


@op("Conv3DBackpropFilter", shape=inference_nn.like_second, heavy=True, windows=True)
def conv3d_backprop_filter_v1(
    xp: Any, input: Any, filter: Any, out_backprop: Any, *, strides: Ints, padding: str, dilations: Ints
) -> Any:
    """The gradient of Conv3D for its filter, of which only the shape is read; channels last."""
    return conv3d_backprop_filter.body(
        xp, input, xp.static(xp.shape(filter), "the shape of a filter"), out_backprop, strides=strides,
        padding=padding, data_format="NDHWC", dilations=dilations,
    )  # fmt: skip


# --- dilation -----------------------------------------------------------------------------------------------------
@op("Dilation2D", shape=inference_nn.dilation2d, heavy=True, windows=True)
def dilation2d(xp: Any, input: Any, filter: Any, *, strides: Ints, rates: Ints, padding: str, T: DType) -> Any:
    """The largest sum of image and filter over each window, per channel."""
    check_rank(xp, input, [4], "the input")
    check_rank(xp, filter, [3], "the filter")
    options = _options(strides, padding, (), rates, 4, "NHWC")
    ksize = [int(xp.dim(filter, 0)), int(xp.dim(filter, 1))]
    if known(xp.dim(input, 3)) not in (None, known(xp.dim(filter, 2))):
        raise refuse("the channels of input and filter", expected=xp.dim(filter, 2), found=xp.dim(input, 3))
    low = xp.asarray(lowest(T.numpy), T)
    x = to_first(xp, input, "NHWC")
    cells = xp.patches(x, ksize, **options)
    inside = xp.cast(xp.patches(xp.ones_like(x), ksize, **options), bool_)
    weights = xp.reshape(xp.transpose(filter, [2, 0, 1]), [-1, ksize[0] * ksize[1], 1, 1])
    sums = xp.where(inside, cells + weights, low)
    return from_first(xp, xp.max(xp.maximum(sums, low), axis=(2,)), "NHWC")


@dilation2d.gradient
def _(g: Any, op: Any, dy: Any) -> Any:
    x, w = op.inputs
    same = attrs_of(op, "strides", "rates", "padding")
    return g.Dilation2DBackpropInput(x, w, dy, **same), g.Dilation2DBackpropFilter(x, w, dy, **same)
