"""Activations, biases, and their gradients.

Half precision is computed in float32 and rounded once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from coldframe.dtypes import DType, float32, from_numpy, int32
from coldframe.ops import inference_nn
from coldframe.ops.backward import attrs_of, conj, ones_like, rank_of, shape_of, zeros_like
from coldframe.ops.layouts import channels_last, known
from coldframe.ops.table import Body, Op, op
from coldframe.primitives.base import Unlowerable, refuse

_SELU_SCALE = 1.0507009873554805
_SELU_SCALE_ALPHA = 1.7580993408473766


def _wide(xp: Any, T: DType, *xs: Any) -> list[Any]:
    return [xp.cast(x, float32) for x in xs] if T.is_float and T.width == 2 else list(xs)


def _of_features(
    name: str, body: Callable[[Any, Any], Any], doc: str, gradient: Body, *,
    onnx: Callable[[Any, Any], Any] | None = None,
) -> Op:  # fmt: skip
    """An elementwise op of `features`; `onnx` emits the ONNX op that is the same."""

    def run(xp: Any, features: Any, *, T: DType) -> Any:
        (x,) = _wide(xp, T, features)
        return xp.cast(body(xp, x), T)

    run.__doc__ = doc
    rules = {"gradient": gradient}
    if onnx is not None:
        rules["onnx"] = lambda xp, features, *, T: onnx(xp, features)
    return Op(name, run, shape="x -> x", rules=rules)


def _relu(xp: Any, x: Any) -> Any:
    return xp.maximum(x, xp.asarray(0, _dtype(xp, x)))


def _dtype(xp: Any, x: Any) -> DType:
    """The dtype of `x`."""
    return from_numpy(xp.dtype(x))


def _relu6(xp: Any, x: Any) -> Any:
    return xp.minimum(_relu(xp, x), xp.asarray(6, _dtype(xp, x)))


def _relu_direct(xp: Any, x: Any) -> Any:
    """The node that ONNX Runtime fuses with a convolution, where it has it for the dtype."""
    try:
        return xp.typed("Relu", [x])
    except Unlowerable:
        return _relu(xp, x)


def _relu6_direct(xp: Any, x: Any) -> Any:
    return xp.typed("Clip", [x, xp.constant(0, x.dtype), xp.constant(6, x.dtype)])


def _elu(xp: Any, x: Any) -> Any:
    return xp.where(x < 0.0, xp.expm1(x), x)


def _selu(xp: Any, x: Any) -> Any:
    return xp.where(x < 0.0, xp.expm1(x) * _SELU_SCALE_ALPHA, x * _SELU_SCALE)


def _softplus(xp: Any, x: Any) -> Any:
    return xp.maximum(x, xp.asarray(0, _dtype(xp, x))) + xp.log1p(xp.exp(-xp.abs(x)))


def _by_output(name: str) -> Body:
    """The rule that calls gradient op `name` with the gradient and the activation's output."""
    return lambda g, op, dy: getattr(g, name)(dy, op.outputs[0])


ACTIVATIONS = [
    _of_features("Relu", _relu, "max(x, 0)", _by_output("ReluGrad"), onnx=_relu_direct),
    _of_features("Relu6", _relu6, "x limited to 0 to 6", _by_output("Relu6Grad"), onnx=_relu6_direct),
    _of_features(
        "Elu", _elu, "x where positive, else exp(x) - 1", _by_output("EluGrad"),
        onnx=lambda xp, x: xp.typed("Elu", [x]),
    ),
    _of_features("Selu", _selu, "the scaled Elu that keeps mean and variance", _by_output("SeluGrad")),
    _of_features("Softplus", _softplus, "log(1 + exp(x))", lambda g, op, dy: dy * g.Sigmoid(op.inputs[0])),
    _of_features(
        "Softsign", lambda xp, x: x / (xp.abs(x) + 1.0), "x / (1 + |x|)",
        lambda g, op, dy: g.SoftsignGrad(dy, op.inputs[0]),
    ),
]  # fmt: skip


@op("Sigmoid", shape="x -> x")
def sigmoid(xp: Any, x: Any, *, T: DType) -> Any:
    """1 / (1 + exp(-x))."""
    if T.is_complex:
        return xp.reciprocal(xp.exp(-x) + 1.0)
    (v,) = _wide(xp, T, x)
    return xp.cast(xp.reciprocal(xp.exp(-v) + 1.0), T)


@sigmoid.onnx
def _(xp: Any, x: Any, *, T: DType) -> Any:
    return xp.typed("Sigmoid", [x])


@sigmoid.gradient
def _(g: Any, op: Any, dy: Any) -> Any:
    return g.SigmoidGrad(conj(g, op.outputs[0]), dy)


@op("LeakyRelu", shape="x -> x")
def leaky_relu(xp: Any, features: Any, *, alpha: float, T: DType) -> Any:
    """Keep what is positive, multiply the rest by alpha."""
    (x,) = _wide(xp, T, features)
    return xp.cast(xp.where(x > 0.0, x, x * alpha), T)


@leaky_relu.onnx
def _(xp: Any, features: Any, *, alpha: float, T: DType) -> Any:
    (x,) = _wide(xp, T, features)
    return xp.cast(xp.typed("LeakyRelu", [x], alpha=alpha), T)


@leaky_relu.gradient
def _(g: Any, op: Any, dy: Any) -> Any:
    return g.LeakyReluGrad(dy, op.inputs[0], **attrs_of(op, "alpha"))


@op("Softmax", shape="[*b, n] -> [*b, n]")
def softmax(xp: Any, logits: Any, *, T: DType) -> Any:
    """exp(x) normalized along the last axis."""
    (x,) = _rows(xp, T, logits)
    e = xp.exp(x - xp.max(x, axis=(-1,), keepdims=True))
    return xp.cast(e / xp.sum(e, axis=(-1,), keepdims=True), T)


@softmax.gradient
def _(g: Any, op: Any, dy: Any) -> Any:
    y = op.outputs[0]
    return (dy - g.Sum(dy * y, -1, keep_dims=True)) * y


@op("LogSoftmax", shape="[*b, n] -> [*b, n]")
def log_softmax(xp: Any, logits: Any, *, T: DType) -> Any:
    """The logarithm of Softmax: x - log(sum(exp(x))) along the last axis."""
    (x,) = _rows(xp, T, logits)
    low = x - xp.max(x, axis=(-1,), keepdims=True)
    return xp.cast(low - xp.log(xp.sum(xp.exp(low), axis=(-1,), keepdims=True)), T)


@log_softmax.gradient
def _(g: Any, op: Any, dy: Any) -> Any:
    softmax = g.Exp(op.outputs[0])
    return dy - g.Sum(dy, -1, keep_dims=True) * softmax


def _rows(xp: Any, T: DType, logits: Any) -> list[Any]:
    if not xp.rank(logits):
        raise refuse("the rank of the logits", expected="at least 1", found=0)
    return _wide(xp, T, logits)


@softmax.onnx
def _(xp: Any, logits: Any, *, T: DType) -> Any:
    (x,) = _rows(xp, T, logits)
    return xp.cast(xp.typed("Softmax", [x], axis=-1), T)


@log_softmax.onnx
def _(xp: Any, logits: Any, *, T: DType) -> Any:
    (x,) = _rows(xp, T, logits)
    return xp.cast(xp.typed("LogSoftmax", [x], axis=-1), T)


# --- biases -------------------------------------------------------------------------------------------------------
@op("BiasAdd", shape=inference_nn.bias_add, lenient="a bias of one element, where the channels are open when compiling")
def bias_add(xp: Any, value: Any, bias: Any, *, data_format: str) -> Any:
    """Add one number per channel."""
    rank, at = _channel(xp, value, data_format)
    if xp.rank(bias) != 1:
        raise refuse("the rank of the bias", expected=1, found=xp.rank(bias))
    want, found = known(xp.dim(value, at)), known(xp.dim(bias, 0))
    if want is not None and found is not None and want != found:
        raise refuse("the number of biases", expected=f"{want}, one per channel", found=found)
    return xp.add(value, bias if at == rank - 1 else xp.reshape(bias, [-1] + [1] * (rank - 1 - at)))


@bias_add.gradient
def _(g: Any, op: Any, dy: Any) -> Any:
    return dy, g.BiasAddGrad(dy, **attrs_of(op, "data_format"))


@op("BiasAddV1", shape=inference_nn.bias_add)
def bias_add_v1(xp: Any, value: Any, bias: Any) -> Any:
    """Add one number per channel, channels last."""
    return bias_add.body(xp, value, bias, data_format="NHWC")


@bias_add_v1.gradient
def _(g: Any, op: Any, dy: Any) -> Any:
    others = g.Range(g.constant(0, int32), rank_of(g, dy) - 1, g.constant(1, int32), name="range")
    return dy, g.Sum(dy, others)


@op("BiasAddGrad", shape=inference_nn.bias_add_grad)
def bias_add_grad(xp: Any, out_backprop: Any, *, data_format: str) -> Any:
    """The gradient of BiasAdd for the bias: the sum over all but the channels."""
    rank, at = _channel(xp, out_backprop, data_format)
    return xp.sum(out_backprop, axis=[i for i in range(rank) if i != at])


@bias_add_grad.gradient
def _(g: Any, op: Any, db: Any) -> Any:
    x = op.inputs[0]
    shape, rank = shape_of(g, x), rank_of(g, x)
    at = g.constant(1, int32) if op.get_attr("data_format") == b"NCHW" else rank - 1
    channel = g.Equal(g.Range(g.constant(0, int32), rank, g.constant(1, int32), name="range"), at)
    ones = ones_like(g, shape)
    row = g.Select(channel, shape, ones)
    return g.Tile(g.Reshape(db, row), g.Select(channel, ones, shape))


def _channel(xp: Any, value: Any, data_format: str) -> tuple[int, int]:
    """The rank, and where the channels are."""
    rank = int(xp.rank(value))
    if rank < 2:
        raise refuse("the rank of what is biased", expected="at least 2", found=rank)
    return rank, rank - 1 if channels_last(data_format) else 1


# --- gradients ----------------------------------------------------------------------------------------------------
def _gradient(
    name: str, body: Callable[[Any, Any, Any], Any], doc: str, again: Callable[[Any, Any, Any, Any], Any] | None
) -> Op:
    """The gradient of an activation, of `gradients` and the activation's input (or its `outputs`).

    ``again(g, d2y, dy, x)`` is the second derivative's gradient for `x`; None where TensorFlow has none.
    """

    def run(xp: Any, gradients: Any, at: Any, *, T: DType) -> Any:
        dy, v = _wide(xp, T, gradients, at)
        return xp.cast(body(xp, dy, v), T)

    run.__doc__ = doc
    if again is None:
        return Op(name, run, shape="x x -> x")

    def rule(g: Any, op: Any, d2y: Any) -> Any:
        dy, x = op.inputs
        return getattr(g, name)(d2y, x), again(g, d2y, dy, x)

    return Op(name, run, shape="x x -> x", rules={"gradient": rule})


def _flat(g: Any, d2y: Any, dy: Any, x: Any) -> Any:
    """Pieces of straight lines have no second derivative."""
    return zeros_like(g, x)


def _exponential(g: Any, d2y: Any, dy: Any, y: Any) -> Any:
    """Below 0 an exponential, above a straight line."""
    return g.Select(y < 0.0, d2y * dy, zeros_like(g, y))


def _softplus_again(g: Any, d2y: Any, dy: Any, x: Any) -> Any:
    return d2y * dy / (g.Exp(-x) + 2.0 + g.Exp(x))


def _relu_grad(xp: Any, dy: Any, x: Any) -> Any:
    kind = _dtype(xp, x)
    return dy * xp.cast(xp.greater(x, xp.asarray(0, kind)), kind)


def _relu6_grad(xp: Any, dy: Any, x: Any) -> Any:
    kind = _dtype(xp, x)
    inside = xp.logical_and(xp.greater(x, xp.asarray(0, kind)), xp.less(x, xp.asarray(6, kind)))
    return dy * xp.cast(inside, kind)


def _elu_grad(xp: Any, dy: Any, y: Any) -> Any:
    return xp.where(y < 0.0, (y + 1.0) * dy, dy)


def _selu_grad(xp: Any, dy: Any, y: Any) -> Any:
    return xp.where(y < 0.0, (y + _SELU_SCALE_ALPHA) * dy, dy * _SELU_SCALE)


def _softsign_grad(xp: Any, dy: Any, x: Any) -> Any:
    d = xp.abs(x) + 1.0
    return dy / (d * d)


GRADIENTS = [
    _gradient("ReluGrad", _relu_grad, "the gradient of Relu", _flat),
    _gradient("Relu6Grad", _relu6_grad, "the gradient of Relu6", _flat),
    _gradient("EluGrad", _elu_grad, "the gradient of Elu, from its output", _exponential),
    _gradient("SeluGrad", _selu_grad, "the gradient of Selu, from its output", _exponential),
    _gradient("SoftplusGrad", lambda xp, dy, x: dy / (xp.exp(-x) + 1.0), "the gradient of Softplus", _softplus_again),
    _gradient("SoftsignGrad", _softsign_grad, "the gradient of Softsign", None),
]


@op("LeakyReluGrad", shape="x x -> x")
def leaky_relu_grad(xp: Any, gradients: Any, features: Any, *, alpha: float, T: DType) -> Any:
    """The gradient of LeakyRelu."""
    dy, x = _wide(xp, T, gradients, features)
    return xp.cast(xp.where(x > 0.0, dy, dy * alpha), T)


@leaky_relu_grad.gradient
def _(g: Any, op: Any, d2y: Any) -> Any:
    x = op.inputs[1]
    return g.LeakyReluGrad(d2y, x, **attrs_of(op, "alpha")), zeros_like(g, x)
