"""Pooling over windows, its gradients, and the extraction of patches."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from coldframe.dtypes import DType, float32, int64
from coldframe.ops import inference_nn
from coldframe.ops.backward import attrs_of, cast, shape_of, zeros_like
from coldframe.ops.layouts import (
    channels_last,
    check_rank,
    from_first,
    known,
    spatial,
    split,
    to_first,
    window_padding,
)
from coldframe.ops.table import op
from coldframe.primitives.base import Unlowerable, refuse
from coldframe.primitives.windows import Padding

Ints = Sequence[int]
_POOL = ("ksize", "strides", "padding", "data_format")


def _window(xp: Any, ksize: Any, strides: Any, padding: Padding, rank: int, data_format: str) -> Any:
    """The keyword arguments that the pooling verbs share, and the spatial window itself."""
    window = spatial(ksize, rank, data_format, "window sizes")
    if not isinstance(padding, str):
        for (before, after), k in zip(padding, window, strict=True):
            if max(before, after) >= k:
                raise refuse("padding as large as the window", expected=f"less than {k}", found=(before, after))
    return window, {"strides": spatial(strides, rank, data_format, "strides"), "padding": padding}


# --- the largest value --------------------------------------------------------------------------------------------
@op("MaxPool", shape=inference_nn.pool2d, heavy=True, windows=True)
def max_pool(
    xp: Any, input: Any, *, ksize: Ints, strides: Ints, padding: str, explicit_paddings: Ints, data_format: str
) -> Any:
    """The largest value of each window, of images or of runs of channels."""
    check_rank(xp, input, [4], "the input")
    pads = window_padding(padding, explicit_paddings, 4, data_format)
    inner, (_, depth) = split(ksize, 4, data_format, "window sizes")
    if depth > 1:
        return _depth_pool(xp, input, inner, depth, strides, data_format)
    window, options = _window(xp, ksize, strides, pads, 4, data_format)
    return from_first(xp, xp.max_pool(to_first(xp, input, data_format), window, **options), data_format)


@max_pool.gradient
def _(g: Any, op: Any, dy: Any) -> Any:
    return g.MaxPoolGrad(op.inputs[0], op.outputs[0], dy, **attrs_of(op, *_POOL, "explicit_paddings"))


def _depth_pool(xp: Any, x: Any, inner: Ints, depth: int, strides: Ints, data_format: str) -> Any:
    """The largest of each run of `depth` channels; it may not overlap the next or leave channels over."""
    step, outer = split(strides, 4, data_format, "strides")
    channels = xp.dim(x, 3)
    if max(*inner, *step) > 1 or outer != (1, depth) or not channels_last(data_format):
        raise refuse("pooling over channels together with pooling over pixels, or with overlap")
    if known(channels) is not None and channels % depth:
        raise refuse("the channels to pool", expected=f"a multiple of {depth}", found=channels)
    runs = xp.reshape(x, [*(xp.dim(x, i) for i in range(3)), -1, depth])
    return xp.max(runs, axis=(4,))


@op("MaxPoolV2", shape=inference_nn.pool_v2, heavy=True, windows=True, static=("ksize", "strides"))
def max_pool_v2(xp: Any, input: Any, ksize: Any, strides: Any, *, padding: str, data_format: str) -> Any:
    """MaxPool whose window sizes and strides are inputs."""
    return max_pool.body(
        xp, input, ksize=_list(ksize), strides=_list(strides), padding=padding, explicit_paddings=(),
        data_format=data_format,
    )  # fmt: skip


@max_pool_v2.gradient
def _(g: Any, op: Any, dy: Any) -> Any:
    x, ksize, strides = op.inputs
    same = attrs_of(op, "padding", "data_format")
    return g.MaxPoolGradV2(x, op.outputs[0], dy, ksize, strides, **same), None, None


def _list(v: Any) -> list[int]:
    return [int(i) for i in v]


@op("MaxPool3D", shape=inference_nn.pool3d, heavy=True, windows=True)
def max_pool_3d(xp: Any, input: Any, *, ksize: Ints, strides: Ints, padding: str, data_format: str) -> Any:
    """The largest value of each window of volumes."""
    check_rank(xp, input, [5], "the input")
    window, options = _window(xp, ksize, strides, padding, 5, data_format)
    return from_first(xp, xp.max_pool(to_first(xp, input, data_format), window, **options), data_format)


@max_pool_3d.gradient
def _(g: Any, op: Any, dy: Any) -> Any:
    return g.MaxPool3DGrad(op.inputs[0], op.outputs[0], dy, **attrs_of(op, *_POOL))


@op("MaxPoolWithArgmax", shape=inference_nn.pool2d, heavy=True, windows=True)
def max_pool_with_argmax(
    xp: Any, input: Any, *, ksize: Ints, strides: Ints, padding: str, include_batch_in_index: bool, Targmax: DType
) -> Any:
    """The largest value of each window and its position in the flattened image, or in the flattened batch."""
    check_rank(xp, input, [4], "the input")
    window, options = _window(xp, ksize, strides, padding, 4, "NHWC")
    x = to_first(xp, input, "NHWC")
    where = xp.max_pool_where(x, window, **options)
    best = xp.plane_gather(x, where)
    n, c, h, w = (xp.dim(x, i) for i in range(4))
    flat = where * _i64(xp, c) + xp.reshape(_count(xp, c), [1, -1, 1, 1])
    if include_batch_in_index:
        flat = flat + xp.reshape(_count(xp, n), [-1, 1, 1, 1]) * (_i64(xp, h) * _i64(xp, w) * _i64(xp, c))
    return from_first(xp, best, "NHWC"), from_first(xp, xp.cast(flat, Targmax), "NHWC")


@max_pool_with_argmax.gradient
def _(g: Any, op: Any, dy: Any, _: Any) -> Any:
    same = attrs_of(op, "ksize", "strides", "padding", "include_batch_in_index")
    return g.MaxPoolGradWithArgmax(op.inputs[0], dy, op.outputs[1], **same)


def _i64(xp: Any, dim: Any) -> Any:
    return xp.asarray(dim, int64)


def _count(xp: Any, n: Any) -> Any:
    return xp.arange(_i64(xp, 0), _i64(xp, n), _i64(xp, 1))


@op("MaxPoolGrad", shape="x -> x", heavy=True, windows=True)
def max_pool_grad(
    xp: Any, orig_input: Any, orig_output: Any, grad: Any,
    *, ksize: Ints, strides: Ints, padding: str, explicit_paddings: Ints, data_format: str,
) -> Any:  # fmt: skip
    """The gradient of MaxPool: it goes to the first largest cell of each window."""
    pads = window_padding(padding, explicit_paddings, check_rank(xp, orig_input, [4], "the input"), data_format)
    window, options = _window(xp, ksize, strides, pads, 4, data_format)
    x, dy = to_first(xp, orig_input, data_format), to_first(xp, grad, data_format)
    where = xp.max_pool_where(x, window, **options)
    _same_shape(xp, where, dy)
    out = xp.plane_scatter(dy, where, [xp.dim(x, 2), xp.dim(x, 3)])
    return from_first(xp, out, data_format)


@max_pool_grad.rule("jax")
def _(
    xp: Any, orig_input: Any, orig_output: Any, grad: Any,
    *, ksize: Ints, strides: Ints, padding: str, explicit_paddings: Ints, data_format: str,
) -> Any:  # fmt: skip
    pads = window_padding(padding, explicit_paddings, check_rank(xp, orig_input, [4], "the input"), data_format)
    window, options = _window(xp, ksize, strides, pads, 4, data_format)
    x, dy = to_first(xp, orig_input, data_format), to_first(xp, grad, data_format)
    return from_first(xp, xp.max_pool_grad(x, dy, window, **options), data_format)


@max_pool_grad.gradient
def _(g: Any, op: Any, dy: Any) -> Any:
    x, y, _ = op.inputs
    return zeros_like(g, x), zeros_like(g, y), g.MaxPoolGradGrad(x, y, dy, **attrs_of(op, *_POOL))


def _same_shape(xp: Any, x: Any, y: Any) -> None:
    for i in range(int(xp.rank(x))):
        a, b = known(xp.dim(x, i)), known(xp.dim(y, i))
        if a is not None and b is not None and a != b:
            raise refuse("the gradient has not the shape of the pooled result", expected=a, found=b)


@op("MaxPoolGradV2", shape="x -> x", heavy=True, windows=True, static=("ksize", "strides"))
def max_pool_grad_v2(
    xp: Any, orig_input: Any, orig_output: Any, grad: Any, ksize: Any, strides: Any, *, padding: str, data_format: str
) -> Any:
    """MaxPoolGrad whose window sizes and strides are inputs."""
    return max_pool_grad.body(
        xp, orig_input, orig_output, grad, ksize=_list(ksize), strides=_list(strides), padding=padding,
        explicit_paddings=(), data_format=data_format,
    )  # fmt: skip


@max_pool_grad_v2.gradient
def _(g: Any, op: Any, dy: Any) -> Any:
    x, y, _, ksize, strides = op.inputs
    same = attrs_of(op, "padding", "data_format")
    return zeros_like(g, x), zeros_like(g, y), g.MaxPoolGradGradV2(x, y, dy, ksize, strides, **same), None, None


@op("MaxPoolGradGrad", shape=inference_nn.pool_grad_grad, heavy=True, windows=True)
def max_pool_grad_grad(
    xp: Any, orig_input: Any, orig_output: Any, grad: Any,
    *, ksize: Ints, strides: Ints, padding: str, data_format: str,
) -> Any:  # fmt: skip
    """The gradient of MaxPoolGrad: the values of `grad` where the windows' largest cells are."""
    check_rank(xp, orig_input, [4], "the input")
    window, options = _window(xp, ksize, strides, padding, 4, data_format)
    where = xp.max_pool_where(to_first(xp, orig_input, data_format), window, **options)
    return from_first(xp, xp.plane_gather(to_first(xp, grad, data_format), where), data_format)


@max_pool_grad_grad.gradient
def _(g: Any, op: Any, dy: Any) -> Any:
    x, y, _ = op.inputs
    return zeros_like(g, x), zeros_like(g, y), g.MaxPoolGrad(x, y, dy, **attrs_of(op, *_POOL))


@op("MaxPoolGradGradV2", shape=inference_nn.pool_grad_grad, heavy=True, windows=True, static=("ksize", "strides"))
def max_pool_grad_grad_v2(
    xp: Any, orig_input: Any, orig_output: Any, grad: Any, ksize: Any, strides: Any, *, padding: str, data_format: str
) -> Any:
    """MaxPoolGradGrad whose window sizes and strides are inputs."""
    return max_pool_grad_grad.body(
        xp, orig_input, orig_output, grad, ksize=_list(ksize), strides=_list(strides), padding=padding,
        data_format=data_format,
    )  # fmt: skip


@op("MaxPoolGradWithArgmax", shape="x -> x", heavy=True, windows=True)
def max_pool_grad_with_argmax(
    xp: Any, input: Any, grad: Any, argmax: Any,
    *, ksize: Ints, strides: Ints, padding: str, include_batch_in_index: bool,
) -> Any:  # fmt: skip
    """The gradient of MaxPoolWithArgmax: it goes to the cells at the positions that `argmax` names."""
    check_rank(xp, input, [4], "the input")
    _same_shape(xp, argmax, grad)
    lead, sizes = [xp.dim(input, 0)], [xp.dim(input, i) for i in range(1, 4)]
    if include_batch_in_index:  # one plane holds the whole batch
        lead, sizes = [], [_i64(xp, lead[0]) * _i64(xp, sizes[0]), *sizes[1:]]
    cells = _i64(xp, sizes[0]) * _i64(xp, sizes[1]) * _i64(xp, sizes[2])
    where = xp.reshape(xp.cast(argmax, int64), [*lead, 1, -1] if lead else [1, 1, -1])
    flat = xp.plane_scatter(xp.reshape(grad, [*lead, 1, -1] if lead else [1, 1, -1]), where, [cells])
    return xp.reshape(flat, [xp.dim(input, i) for i in range(4)])


@op("MaxPool3DGrad", shape="x -> x", heavy=True, windows=True)
def max_pool_3d_grad(
    xp: Any, orig_input: Any, orig_output: Any, grad: Any,
    *, ksize: Ints, strides: Ints, padding: str, data_format: str, T: DType,
) -> Any:  # fmt: skip
    """The gradient of MaxPool3D: it goes to every cell of a window that equals the result."""
    check_rank(xp, orig_input, [5], "the input")
    window, options = _window(xp, ksize, strides, padding, 5, data_format)
    x, y, dy = (to_first(xp, v, data_format) for v in (orig_input, orig_output, grad))
    cells = xp.patches(x, window, dilations=(1, 1, 1), **options)
    hits = xp.cast(xp.equal(cells, xp.expand_dims(y, [2])), T) * xp.expand_dims(dy, [2])
    taps, out = math.prod(window), [xp.dim(y, i) for i in (2, 3, 4)]
    unit = xp.reshape(xp.cast(xp.one_hot(xp.asarray(range(taps), int64), taps), T), [taps, 1, *window])
    inner = [xp.dim(x, i) for i in (2, 3, 4)]
    dx = xp.conv_transpose(xp.reshape(hits, [-1, taps, *out]), unit, inner, dilations=(1, 1, 1), **options)
    return from_first(xp, xp.reshape(dx, [xp.dim(x, 0), xp.dim(x, 1), *inner]), data_format)


@max_pool_3d_grad.gradient
def _(g: Any, op: Any, dy: Any) -> Any:
    x, y, _ = op.inputs
    return zeros_like(g, x), zeros_like(g, y), g.MaxPool3DGradGrad(x, y, dy, **attrs_of(op, *_POOL))


@op("MaxPool3DGradGrad", shape=inference_nn.pool_grad_grad, heavy=True, windows=True)
def max_pool_3d_grad_grad(
    xp: Any, orig_input: Any, orig_output: Any, grad: Any,
    *, ksize: Ints, strides: Ints, padding: str, data_format: str,
) -> Any:  # fmt: skip
    """The gradient of MaxPool3DGrad: the values of `grad` where the windows' largest cells are."""
    check_rank(xp, orig_input, [5], "the input")
    window, options = _window(xp, ksize, strides, padding, 5, data_format)
    where = xp.max_pool_where(to_first(xp, orig_input, data_format), window, **options)
    return from_first(xp, xp.plane_gather(to_first(xp, grad, data_format), where), data_format)


@max_pool_3d_grad_grad.gradient
def _(g: Any, op: Any, dy: Any) -> Any:
    x, y, _ = op.inputs
    return zeros_like(g, x), zeros_like(g, y), g.MaxPool3DGrad(x, y, dy, **attrs_of(op, *_POOL))


# --- the mean -----------------------------------------------------------------------------------------------------
def _avg(xp: Any, x: Any, rank: int, ksize: Ints, strides: Ints, padding: str, data_format: str) -> Any:
    check_rank(xp, x, [rank], "the input")
    window, options = _window(xp, ksize, strides, padding, rank, data_format)
    return from_first(xp, xp.avg_pool(to_first(xp, x, data_format), window, **options), data_format)


@op("AvgPool", shape=inference_nn.pool2d, heavy=True, windows=True)
def avg_pool(xp: Any, value: Any, *, ksize: Ints, strides: Ints, padding: str, data_format: str) -> Any:
    """The mean of each window's cells, padding left out."""
    return _avg(xp, value, 4, ksize, strides, padding, data_format)


@avg_pool.gradient
def _(g: Any, op: Any, dy: Any) -> Any:
    return g.AvgPoolGrad(shape_of(g, op.inputs[0]), dy, **attrs_of(op, *_POOL))


@op("AvgPool3D", shape=inference_nn.pool3d, heavy=True, windows=True)
def avg_pool_3d(xp: Any, input: Any, *, ksize: Ints, strides: Ints, padding: str, data_format: str) -> Any:
    """The mean of each window's cells of volumes, padding left out."""
    return _avg(xp, input, 5, ksize, strides, padding, data_format)


@avg_pool_3d.gradient
def _(g: Any, op: Any, dy: Any) -> Any:
    return g.AvgPool3DGrad(shape_of(g, op.inputs[0]), dy, **attrs_of(op, *_POOL))


def _avg_grad(
    xp: Any, shape: Any, dy: Any, rank: int, ksize: Ints, strides: Ints, padding: str, data_format: str
) -> Any:
    check_rank(xp, dy, [rank], "the gradient")
    if known(xp.dim(shape, 0)) is None:
        raise Unlowerable("the length of the input shape is not known when compiling")
    if known(xp.dim(shape, 0)) != rank:
        raise refuse("the length of the input shape", expected=rank, found=known(xp.dim(shape, 0)))
    window, options = _window(xp, ksize, strides, padding, rank, data_format)
    at = range(1, rank - 1) if channels_last(data_format) else range(2, rank)
    sizes = [xp.gather(shape, i) for i in at]
    return from_first(xp, xp.avg_pool_grad(to_first(xp, dy, data_format), sizes, window, **options), data_format)


@op("AvgPoolGrad", shape=inference_nn.from_sizes4, heavy=True, windows=True)
def avg_pool_grad(
    xp: Any, orig_input_shape: Any, grad: Any, *, ksize: Ints, strides: Ints, padding: str, data_format: str
) -> Any:
    """The gradient of AvgPool: shared equally by the cells of each window."""
    return _avg_grad(xp, orig_input_shape, grad, 4, ksize, strides, padding, data_format)


@avg_pool_grad.gradient
def _(g: Any, op: Any, dy: Any) -> Any:
    return None, g.AvgPool(dy, **attrs_of(op, *_POOL))


@op("AvgPool3DGrad", shape=inference_nn.from_sizes5, heavy=True, windows=True)
def avg_pool_3d_grad(
    xp: Any, orig_input_shape: Any, grad: Any, *, ksize: Ints, strides: Ints, padding: str, data_format: str
) -> Any:
    """The gradient of AvgPool3D: shared equally by the cells of each window."""
    return _avg_grad(xp, orig_input_shape, grad, 5, ksize, strides, padding, data_format)


@avg_pool_3d_grad.gradient
def _(g: Any, op: Any, dy: Any) -> Any:
    return None, g.AvgPool3D(dy, **attrs_of(op, *_POOL))


# --- patches ------------------------------------------------------------------------------------------------------
def _extract(xp: Any, x: Any, rank: int, ksizes: Ints, strides: Ints, rates: Ints, padding: str) -> Any:
    check_rank(xp, x, [rank], "the input")
    data_format = "NHWC"
    window = spatial(ksizes, rank, data_format, "window sizes")
    cells = xp.patches(
        to_first(xp, x, data_format), window, strides=spatial(strides, rank, data_format, "strides"), padding=padding,
        dilations=spatial(rates, rank, data_format, "rates"),
    )  # fmt: skip
    last = xp.transpose(cells, [0, *range(3, rank + 1), 2, 1])  # [n, *positions, taps, channels]
    depth = known(xp.dim(last, rank))
    taps = math.prod(window)
    return xp.reshape(last, [*(xp.dim(last, i) for i in range(rank - 1)), -1 if depth is None else taps * depth])


@op("ExtractImagePatches", shape=inference_nn.patches)
def extract_image_patches(xp: Any, images: Any, *, ksizes: Ints, strides: Ints, rates: Ints, padding: str) -> Any:
    """The pixels of each window, laid out along the channels."""
    return _extract(xp, images, 4, ksizes, strides, rates, padding)


@extract_image_patches.gradient
def _(g: Any, op: Any, dy: Any) -> Any:
    x = op.inputs[0]
    n, *sizes, channels = _unstacked(g, g.Shape(x, out_type=int64), 4)
    numbers = _numbered(g, sizes, float32)
    cells = g.ExtractImagePatches(numbers, **attrs_of(op, "ksizes", "strides", "rates", "padding"))
    return _folded(g, dy, cast(g, cells, int64), n, sizes, channels)


@op("ExtractVolumePatches", shape=inference_nn.patches)
def extract_volume_patches(xp: Any, input: Any, *, ksizes: Ints, strides: Ints, padding: str) -> Any:
    """The cells of each window of volumes, laid out along the channels."""
    return _extract(xp, input, 5, ksizes, strides, (1,) * 5, padding)


@extract_volume_patches.gradient
def _(g: Any, op: Any, dy: Any) -> Any:
    x = op.inputs[0]
    n, *sizes, channels = _unstacked(g, g.Shape(x, out_type=int64), 5)
    cells = g.ExtractVolumePatches(_numbered(g, sizes, int64), **attrs_of(op, "ksizes", "strides", "padding"))
    return _folded(g, dy, cells, n, sizes, channels)


def _unstacked(g: Any, vector: Any, n: int) -> list[Any]:
    return list(g.Unpack(vector, num=n, name="unstack"))


def _numbered(g: Any, sizes: list[Any], dtype: DType) -> Any:
    """The cells of one image numbered from 1 on, so that 0 is padding."""
    ends = (g.constant(1, int64), math.prod(sizes[1:], start=sizes[0]) + 1, g.constant(1, int64))
    numbers = cast(g, g.Range(*ends, name="range"), dtype)
    one = g.constant(1, int64)
    return g.Reshape(numbers, g.Pack([one, *sizes, one]))


def _folded(g: Any, dy: Any, cells: Any, n: Any, sizes: list[Any], channels: Any) -> Any:
    """Add the patches' gradients up, each at the cell of the image that it was taken from."""
    spatial_rank = len(sizes)
    rows = g.Pack([n, g.constant(-1, int64), channels])
    flat = g.Reshape(g.Transpose(g.Reshape(dy, rows), [1, 0, 2]), g.Pack([g.constant(-1, int64), n * channels]))
    ids = g.Reshape(cells, [-1]) - 1  # of padding: -1, which sums of segments ignore
    total = g.UnsortedSegmentSum(flat, ids, math.prod(sizes[1:], start=sizes[0]))
    image = g.Reshape(total, g.Pack([*sizes, n, channels]))
    return g.Transpose(image, [spatial_rank, *range(spatial_rank), spatial_rank + 1])
