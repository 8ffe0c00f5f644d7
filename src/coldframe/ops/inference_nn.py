"""Shape rules of convolutions, pooling, normalization, images and recurrent cells."""

from __future__ import annotations

from collections.abc import Sequence

from coldframe.errors import GraphError
from coldframe.ops.known import (
    Attrs,
    Dim,
    Dims,
    Known,
    at_least,
    described,
    div,
    entries_of,
    merge,
    merge_dim,
    mul,
    scalar_of,
    vector_of,
    with_rank,
)  # fmt: skip


def _last(a: Attrs) -> bool:
    """Whether the data format has its channels last."""
    return a.get("data_format", b"NHWC") in (b"NHWC", b"NDHWC", b"CHANNELS_LAST")


def _spatial(a: Attrs, values: Sequence[int]) -> Sequence[int]:
    return values[1:-1] if _last(a) else values[2:]


def _parts(a: Attrs, dims: tuple[Dim, ...]) -> tuple[Dim, tuple[Dim, ...], Dim]:
    """Batch, spatial sizes, channels."""
    return (dims[0], dims[1:-1], dims[-1]) if _last(a) else (dims[0], dims[2:], dims[1])


def _joined(a: Attrs, batch: Dim, sizes: Sequence[Dim], channels: Dim) -> Dims:
    return (batch, *sizes, channels) if _last(a) else (batch, channels, *sizes)


def _slid(size: Dim, kernel: Dim, stride: int, dilation: int, padding: bytes, edges: int = 0) -> Dim:
    """How many positions a window takes along one dimension."""
    if stride < 1:
        raise GraphError("strides must be positive", found=stride)
    if size is None or (kernel is None and padding != b"SAME"):
        return None
    if padding == b"SAME":
        return -(-size // stride)
    covers = (kernel - 1) * dilation + 1 if kernel else 0
    if size + edges - covers + stride < stride:
        raise GraphError(f"negative dimension size caused by subtracting {covers} from {size + edges}")
    return (size + edges - covers) // stride + 1


def _windows(a: Attrs, sizes: Sequence[Dim], kernel: Sequence[Dim], strides: Sequence[int]) -> list[Dim]:
    n, padding = len(sizes), a["padding"]
    dilations = _spatial(a, a["dilations"]) if a.get("dilations") else ()
    if len(dilations) != n:
        dilations = (1,) * n
    edges = [0] * n
    if padding == b"EXPLICIT":
        pads = a["explicit_paddings"]
        pairs = [pads[i] + pads[i + 1] for i in range(0, len(pads), 2)]
        edges = list(_spatial(a, pairs))
    rows = zip(sizes, kernel, strides, dilations, edges, strict=True)
    return [_slid(s, k, t, d, padding, e) for s, k, t, d, e in rows]


def conv2d(a: Attrs, x: Known, filter: Known) -> Dims:
    """Conv2D."""
    return _conv(a, x, filter, 4)


def conv3d(a: Attrs, x: Known, filter: Known) -> Dims:
    """Conv3D."""
    return _conv(a, x, filter, 5)


def conv(a: Attrs, x: Known, filter: Known) -> Dims:
    """Conv, of two or three spatial dimensions."""
    return None if filter.dims is None else _conv(a, x, filter, len(filter.dims))


def _conv(a: Attrs, x: Known, filter: Known, rank: int) -> Dims:
    if a["data_format"] == b"NCHW_VECT_C":
        return None
    batch, sizes, channels = _parts(a, with_rank(x.dims, rank))
    *kernel, taken, made = with_rank(filter.dims, rank)
    if channels is not None and taken is not None and taken and channels % taken:
        raise GraphError(f"depth of input ({channels}) is not a multiple of the filter's input depth ({taken})")
    return _joined(a, batch, _windows(a, sizes, kernel, _spatial(a, a["strides"])), made)


def depthwise(a: Attrs, x: Known, filter: Known) -> Dims:
    """DepthwiseConv2dNative."""
    batch, sizes, channels = _parts(a, with_rank(x.dims, 4))
    *kernel, taken, times = with_rank(filter.dims, 4)
    channels = merge_dim(channels, taken)
    return _joined(a, batch, _windows(a, sizes, kernel, _spatial(a, a["strides"])), mul(channels, times))


def input_sizes4(a: Attrs, sizes: Known, filter: Known, dy: Known) -> Dims:
    """The gradient of a convolution for its input, of given sizes."""
    return _given(sizes, 4)


def input_sizes5(a: Attrs, sizes: Known, filter: Known, dy: Known) -> Dims:
    """The gradient of a convolution in three dimensions for its input."""
    return _given(sizes, 5)


def conv2d_input(a: Attrs, sizes: Known, filter: Known, dy: Known) -> Dims:
    """Conv2DBackpropInput: sizes given in full, or the spatial ones only."""
    out = described(sizes)
    if out is not None and len(out) == 2:
        batch, _, _ = _parts(a, with_rank(dy.dims, 4))
        out = _joined(a, batch, out, with_rank(filter.dims, 4)[2])
    return with_rank(out, 4)


def filter_sizes4(a: Attrs, x: Known, sizes: Known, dy: Known) -> Dims:
    """The gradient of a convolution for its filter, of given sizes."""
    return _given(sizes, 4)


def filter_sizes5(a: Attrs, x: Known, sizes: Known, dy: Known) -> Dims:
    """The gradient of a convolution in three dimensions for its filter."""
    return _given(sizes, 5)


def _given(sizes: Known, rank: int) -> Dims:
    return with_rank(described(sizes), rank)


def dilation2d(a: Attrs, x: Known, filter: Known) -> Dims:
    """Dilation2D."""
    batch, h, w, c = with_rank(x.dims, 4)
    kh, kw, channels = with_rank(filter.dims, 3)
    out = [
        _slid(s, k, t, d, a["padding"])
        for s, k, t, d in zip((h, w), (kh, kw), a["strides"][1:3], a["rates"][1:3], strict=True)
    ]
    return (batch, *out, merge_dim(c, channels))


def like_second(a: Attrs, x: Known, y: Known, *others: Known) -> Dims:
    """The shape of the second input."""
    return y.dims


# --- pooling ------------------------------------------------------------------------------------------------------
def pool2d(a: Attrs, x: Known) -> Dims:
    """AvgPool, MaxPool."""
    return _pool(a, x, 4, a["ksize"], a["strides"])


def pool3d(a: Attrs, x: Known) -> Dims:
    """AvgPool3D, MaxPool3D."""
    return _pool(a, x, 5, a["ksize"], a["strides"])


def pool_v2(a: Attrs, x: Known, ksize: Known, strides: Known) -> Dims:
    """MaxPoolV2: windows that are inputs."""
    kernel, steps = vector_of(ksize), vector_of(strides)
    return with_rank(None, 4) if kernel is None or steps is None else _pool(a, x, 4, kernel, steps)


def _pool(a: Attrs, x: Known, rank: int, ksize: Sequence[int], strides: Sequence[int]) -> Dims:
    if a.get("data_format") == b"NCHW_VECT_C":
        return None
    batch, sizes, channels = _parts(a, with_rank(x.dims, rank))
    out = _windows(a, sizes, _spatial(a, ksize), _spatial(a, strides))
    _, _, per = _parts(a, tuple(ksize))
    _, _, step = _parts(a, tuple(strides))
    return _joined(a, batch, out, _slid(channels, per, step or 1, 1, a["padding"] if per != 1 else b"SAME"))


def from_sizes4(a: Attrs, sizes: Known, dy: Known) -> Dims:
    """AvgPoolGrad: the shape of the forward input."""
    return _given(sizes, 4)


def from_sizes5(a: Attrs, sizes: Known, dy: Known) -> Dims:
    """AvgPool3DGrad: the shape of the forward input."""
    return _given(sizes, 5)


def patches(a: Attrs, x: Known) -> Dims:
    """ExtractImagePatches and ExtractVolumePatches: a patch becomes channels."""
    kernel = a["ksizes"][1:-1]
    dims = with_rank(x.dims, len(kernel) + 2)
    rates = a.get("rates", (1,) * len(a["ksizes"]))[1:-1]
    rows = zip(dims[1:-1], kernel, a["strides"][1:-1], rates, strict=True)
    out = [_slid(s, k, t, r, a["padding"]) for s, k, t, r in rows]
    depth = dims[-1]
    for k in kernel:
        depth = mul(depth, k)
    return (dims[0], *out, depth)


# --- normalization and biases -------------------------------------------------------------------------------------
def batch_norm(a: Attrs, x: Known, *params: Known) -> list[Dims]:
    """FusedBatchNorm: y, then statistics per channel; in V3 one more reserved output, of open shape."""
    dims, channels = _normed(a, x, params[: 4 if not a["is_training"] else 2])
    return [dims, *[(channels,)] * 4, None]


def batch_norm_grad(a: Attrs, dy: Known, x: Known, scale: Known, *others: Known) -> list[Dims]:
    """FusedBatchNormGrad: dx, dscale, doffset, and two reserved ones of nothing."""
    dims, channels = _normed(a, dy, (scale,))
    return [merge(dims, x.dims), (channels,), (channels,), (0,), (0,)]


def _normed(a: Attrs, x: Known, params: Sequence[Known]) -> tuple[Dims, Dim]:
    rank = 5 if a["data_format"] in (b"NDHWC", b"NCDHW") else 4
    batch, sizes, channels = _parts(a, with_rank(x.dims, rank))
    for p in params:
        channels = merge_dim(channels, with_rank(p.dims, 1)[0])
    return _joined(a, batch, sizes, channels), channels


def bias_add(a: Attrs, x: Known, bias: Known) -> Dims:
    """BiasAdd: one number per channel."""
    (n,) = with_rank(bias.dims, 1)
    first = a.get("data_format") == b"NCHW"
    at_least(x.dims, 3 if first else 2)
    if x.dims is None:
        return None
    at = 1 if first else -1
    d = merge_dim(x.dims[at], n)
    return (x.dims[0], d, *x.dims[2:]) if first else (*x.dims[:-1], d)


def bias_add_grad(a: Attrs, dy: Known) -> Dims:
    """BiasAddGrad: one number per channel."""
    first = a["data_format"] == b"NCHW"
    at_least(dy.dims, 3 if first else 2)
    if dy.dims is None:
        return (None,)
    return (dy.dims[1 if first else -1],)


# --- losses -------------------------------------------------------------------------------------------------------
def softmax_loss(a: Attrs, logits: Known, labels: Known) -> list[Dims]:
    """SoftmaxCrossEntropyWithLogits: loss per row, and the gradient; the two broadcast."""
    x, y = with_rank(logits.dims, 2), with_rank(labels.dims, 2)
    out = tuple(_one_or(p, q) for p, q in zip(x, y, strict=True))
    return [(out[0],), out]


def _one_or(p: Dim, q: Dim) -> Dim:
    if p == 1:
        return q
    if q == 1:
        return p
    return merge_dim(p, q)


# --- images -------------------------------------------------------------------------------------------------------
def resize(a: Attrs, images: Known, size: Known) -> Dims:
    """Resize: height and width as given."""
    n, _, _, c = with_rank(images.dims, 4)
    entries = entries_of(size)
    h, w = entries if entries is not None and len(entries) == 2 else (None, None)
    return (n, h, w, c)


def crop_and_resize(a: Attrs, image: Known, boxes: Known, at: Known, size: Known) -> Dims:
    """CropAndResize: one image per box."""
    channels = with_rank(image.dims, 4)[3]
    n = merge_dim(with_rank(boxes.dims, 2)[0], with_rank(at.dims, 1)[0])
    merge_dim(with_rank(boxes.dims, 2)[1], 4)
    entries = vector_of(size)
    h, w = entries if entries is not None and len(entries) == 2 else (None, None)
    return (n, h, w, channels)


def suppression(a: Attrs, boxes: Known, scores: Known, most: Known, *more: Known) -> list[Dims]:
    """NonMaxSuppressionV4, V5: the boxes chosen, in V5 their scores, and how many count."""
    merge_dim(with_rank(boxes.dims, 2)[0], with_rank(scores.dims, 1)[0])
    merge_dim(with_rank(boxes.dims, 2)[1], 4)
    n = (scalar_of(most) if a["pad_to_max_output_size"] else None,)
    return [n, n, ()] if len(more) == 3 else [n, ()]


def combined_suppression(
    a: Attrs, boxes: Known, scores: Known, per_class: Known, total: Known, *more: Known
) -> list[Dims]:
    """CombinedNonMaxSuppression: boxes, scores, classes, and how many count."""
    batch = merge_dim(with_rank(boxes.dims, 4)[0], with_rank(scores.dims, 3)[0])
    n, per, classes = scalar_of(total), scalar_of(per_class), with_rank(scores.dims, 3)[2]
    if a["pad_per_class"]:
        n = None if n is None or per is None or classes is None else min(n, per * classes)
    return [(batch, n, 4), (batch, n), (batch, n), (batch,)]


# --- recurrent cells ----------------------------------------------------------------------------------------------
def block_lstm(a: Attrs, length: Known, x: Known, *state: Known) -> Dims:
    """BlockLSTM: seven tensors [time, batch, cell]."""
    time, batch, _ = with_rank(x.dims, 3)
    return (time, batch, div(with_rank(state[-1].dims, 1)[0], 4))


def lstm_cell(a: Attrs, x: Known, cs_prev: Known, *others: Known) -> Dims:
    """LSTMBlockCell: seven tensors [batch, cell]."""
    return (with_rank(x.dims, 2)[0], with_rank(cs_prev.dims, 2)[1])


def gru_cell(a: Attrs, x: Known, h_prev: Known, *others: Known) -> Dims:
    """GRUBlockCell: four tensors [batch, cell]."""
    return (with_rank(x.dims, 2)[0], with_rank(h_prev.dims, 2)[1])


# --- gradients ----------------------------------------------------------------------------------------------------
def resize_grad(a: Attrs, dy: Known, size: Known) -> Dims:
    """ResizeNearestNeighborGrad: height and width as given."""
    return resize(a, dy, size)


def resized_from(a: Attrs, dy: Known, image: Known) -> Dims:
    """ResizeBilinearGrad, ResizeBicubicGrad: the image's shape, its batch and channels those of the gradient."""
    n, _, _, c = with_rank(dy.dims, 4)
    return merge(image.dims, (n, None, None, c))


def crop_image_grad(a: Attrs, dy: Known, boxes: Known, at: Known, size: Known) -> Dims:
    """CropAndResizeGradImage: the shape given."""
    return with_rank(described(size), 4)


def pool_grad_grad(a: Attrs, x: Known, y: Known, dy: Known, *others: Known) -> Dims:
    """MaxPoolGradGrad: the shape of the pooled tensor."""
    merge(x.dims, dy.dims)
    return y.dims


def lstm_cell_grad(a: Attrs, x: Known, cs_prev: Known, *others: Known) -> list[Dims]:
    """LSTMBlockCellGrad: gradients of state and gates, and of the peepholes."""
    batch, cell = with_rank(x.dims, 2)[0], with_rank(cs_prev.dims, 2)[1]
    return [(batch, cell), (batch, mul(cell, 4)), *[(cell,)] * 3]


def block_lstm_grad(a: Attrs, *inputs: Known) -> list[Dims]:
    """BlockLSTMGrad: like the inputs."""
    return [i.dims for i in inputs[1:9]]


def gru_cell_grad(a: Attrs, x: Known, h_prev: Known, *others: Known) -> list[Dims]:
    """GRUBlockCellGrad."""
    batch, cell = with_rank(x.dims, 2)[0], with_rank(h_prev.dims, 2)[1]
    return [x.dims, (batch, cell), (batch, cell), (batch, mul(cell, 2))]


def global_norm_grad(a: Attrs, t: Known, m: Known, v: Known, gamma: Known, dy: Known) -> list[Dims]:
    """BatchNormWithGlobalNormalizationGrad."""
    dims = merge(with_rank(t.dims, 4), dy.dims)
    channels = with_rank(dims, 4)[3]
    for p in (m, v, gamma):
        channels = merge_dim(channels, with_rank(p.dims, 1)[0])
    return [(*with_rank(dims, 4)[:3], channels), *[(channels,)] * 4]


def quantize(a: Attrs, x: Known, low: Known, high: Known) -> list[Dims]:
    """QuantizeV2: the tensor, and its range, per channel where there is an axis."""
    limits = _channel_range(a, x)
    return [x.dims, limits, limits]


def dequantize(a: Attrs, x: Known, low: Known, high: Known) -> Dims:
    """Dequantize: the shape of the input."""
    return x.dims


def quantized_grad(a: Attrs, dy: Known, x: Known, low: Known, high: Known) -> list[Dims]:
    """QuantizeAndDequantizeV4Grad: for the input, and its range."""
    return [merge(dy.dims, x.dims), low.dims, high.dims]


def _channel_range(a: Attrs, x: Known) -> Dims:
    axis: int = a["axis"]
    if axis == -1:
        return ()
    return (None,) if x.dims is None else (x.dims[axis],)
