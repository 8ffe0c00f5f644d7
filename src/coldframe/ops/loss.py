"""Cross entropies of logits, each with its gradient as the second output."""

from __future__ import annotations

from typing import Any

from coldframe.dtypes import DType, float32, from_numpy, int64
from coldframe.ops import inference_nn
from coldframe.ops.backward import no_flow
from coldframe.ops.layouts import check_rank, known
from coldframe.ops.table import op
from coldframe.primitives.base import refuse


def _shifted(xp: Any, logits: Any) -> tuple[Any, Any, Any]:
    """Logits less their row's largest, their exponentials, and the sums of these."""
    low = logits - xp.max(logits, axis=(1,), keepdims=True)
    e = xp.exp(low)
    return low, e, xp.sum(e, axis=(1,), keepdims=True)


@op("SoftmaxCrossEntropyWithLogits", shape=inference_nn.softmax_loss)
def softmax_cross_entropy_with_logits(xp: Any, features: Any, labels: Any, *, T: DType) -> Any:
    """Per row, the sum of labels * -log(softmax(features)); features and labels broadcast."""
    if max(xp.rank(features), xp.rank(labels)) != 2:
        raise refuse("the rank of logits and labels", expected=2, found=max(xp.rank(features), xp.rank(labels)))
    x, y = (_matrix(xp, xp.cast(v, float32) if T.width == 2 else v) for v in (features, labels))
    _check_broadcast(xp, x, y)
    x = _widened(xp, x, y)
    low, e, total = _shifted(xp, x)
    loss = xp.sum(y * (xp.log(total) - low), axis=(1,))
    return xp.cast(loss, T), xp.cast(e / total - y, T)


def _matrix(xp: Any, v: Any) -> Any:
    return xp.expand_dims(v, list(range(2 - xp.rank(v)))) if xp.rank(v) < 2 else v


def _check_broadcast(xp: Any, x: Any, y: Any) -> None:
    for axis in (0, 1):
        a, b = known(xp.dim(x, axis)), known(xp.dim(y, axis))
        if a is not None and b is not None and a != b and 1 not in (a, b):
            raise refuse("logits and labels do not broadcast", expected=a, found=b)


def _widened(xp: Any, x: Any, y: Any) -> Any:
    """Logits of as many classes as the labels have; all else broadcasts by itself."""
    here, there = xp.dim(x, 1), xp.dim(y, 1)
    if known(here) not in (None, 1) or known(there) == 1:
        return x
    if known(here) is None:
        here, there = xp.asarray(here, int64), xp.asarray(there, int64)
        there = xp.where(xp.equal(here, xp.asarray(1, int64)), there, here)
    return xp.broadcast_to(x, [xp.dim(x, 0), there])


def _back(g: Any, op: Any, dloss: Any, dback: Any) -> Any:
    """The gradient for the logits; the second output may be differentiated again."""
    grad = _per_row(g, dloss, op.outputs[1])
    if no_flow(dback):
        return grad
    softmax = g.Softmax(op.inputs[0])
    along = g.BatchMatMulV2(g.ExpandDims(dback, 1), g.ExpandDims(softmax, 2), name="MatMul")
    return grad + (dback - g.Squeeze(along, squeeze_dims=[1])) * softmax


def _per_row(g: Any, vector: Any, matrix: Any) -> Any:
    return g.ExpandDims(vector, -1) * matrix


@softmax_cross_entropy_with_logits.gradient
def _(g: Any, op: Any, dloss: Any, dback: Any) -> Any:
    return _back(g, op, dloss, dback), _per_row(g, dloss, -g.LogSoftmax(op.inputs[0]))


@op(
    "SparseSoftmaxCrossEntropyWithLogits",
    shape="[b, c] [b] -> [b] [b, c]",
    lenient="another number of labels than of rows, where they are open when compiling",
)
def sparse_softmax_cross_entropy_with_logits(xp: Any, features: Any, labels: Any, *, T: DType) -> Any:
    """Per row, -log(softmax(features)) at the class that `labels` names; a class that is none is refused."""
    _check_sparse(xp, features, labels)
    classes = xp.dim(features, 1)
    bad = (labels < 0) | (labels >= classes)
    if bad.any():
        at = int(bad.argmax())
        raise refuse(
            f"label {at} names no class", expected=f"0 to {classes - 1}", found=int(labels[at])
        )  # fmt: skip
    x = xp.cast(features, float32) if T.width == 2 else features
    low, e, total = _shifted(xp, x)
    where = xp.expand_dims(labels, [1])
    loss = xp.log(total) - xp.take_along_axis(low, where, 1)
    here = xp.cast(xp.one_hot(labels, classes), from_numpy(xp.dtype(x)))
    return xp.cast(xp.squeeze(loss, [1]), T), xp.cast(e / total - here, T)


@sparse_softmax_cross_entropy_with_logits.rule("jax")
def _(xp: Any, features: Any, labels: Any, *, T: DType) -> Any:
    _check_sparse(xp, features, labels)
    classes = xp.dim(features, 1)
    xp.promise((labels >= 0) & (labels < classes))
    x = xp.cast(features, float32) if T.width == 2 else features
    low, e, total = _shifted(xp, x)
    here = xp.one_hot(labels, classes)
    loss = xp.log(total) - xp.sum(xp.where(here, low, xp.zeros_like(low)), axis=(1,), keepdims=True)
    here = xp.cast(here, from_numpy(xp.dtype(x)))
    return xp.cast(xp.squeeze(loss, [1]), T), xp.cast(e / total - here, T)


@sparse_softmax_cross_entropy_with_logits.onnx
def _(xp: Any, features: Any, labels: Any, *, T: DType) -> Any:
    _check_sparse(xp, features, labels)
    x = xp.cast(features, float32) if T.width == 2 else features
    low, e, total = _shifted(xp, x)
    where = xp.expand_dims(xp.cast(labels, int64), [1])
    # ONNX counts negative positions from the end; one past the end makes ONNX Runtime refuse them as TensorFlow does.
    where = xp.where(where < 0, xp.cast(xp.asarray(xp.dim(features, 1), int64), int64), where)
    loss = xp.log(total) - xp.take_along_axis(low, where, 1)
    soft = e / total
    less = xp.take_along_axis(soft, where, 1) - 1.0
    back = xp.node("ScatterElements", [soft, where, less], axis=1)
    return xp.cast(xp.squeeze(loss, [1]), T), xp.cast(back, T)


@sparse_softmax_cross_entropy_with_logits.gradient
def _(g: Any, op: Any, dloss: Any, dback: Any) -> Any:
    return _back(g, op, dloss, dback), None


def _check_sparse(xp: Any, features: Any, labels: Any) -> None:
    check_rank(xp, features, [2], "the logits")
    check_rank(xp, labels, [1], "the labels")
    rows, found = known(xp.dim(features, 0)), known(xp.dim(labels, 0))
    if rows is not None and found is not None and rows != found:
        raise refuse("the number of labels", expected=f"{rows}, one per row of the logits", found=found)
    if known(xp.dim(features, 1)) == 0:
        raise refuse("logits without classes")
