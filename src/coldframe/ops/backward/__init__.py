"""Words that gradient rules share: shapes known or computed, sums over what was broadcast, products of matrices.

A gradient rule ``rule(g, op, *dys)`` builds the nodes that TensorFlow's gradient functions build, so that numbers are
TensorFlow's. `g` builds nodes (``g.Sum(x, axes, keep_dims=True)``) and constants (``g.constant(value, dtype)``),
and sparse gradients (``g.IndexedSlices``). Gradients arrive as tensors; only a rule marked `takes_slices` is handed a
sparse one as it is.

Two things of TensorFlow's graphs are left out, as they change no number: control inputs that delay a node until the
gradient arrives, and the attributes ``grad_a``, ``grad_b``, ``grad_x``, ``grad_y``, which older TensorFlow refuses.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from coldframe.dtypes import DType, int32
from coldframe.ops.table import Body

_SMALL = 1000  # elements up to which TensorFlow stores a constant tensor instead of filling one


def takes_slices(rule: Body) -> Body:
    """Mark a rule that hands sparse gradients on, or makes use of them, without making them dense first."""
    rule.takes_slices = True  # type: ignore[attr-defined]
    return rule


# --- rules that are one formula -----------------------------------------------------------------------------------
def of_input(formula: Callable[[Any, Any, Any], Any]) -> Body:
    """Return the rule ``formula(g, conj(x), dy)`` of an op of one input x."""
    return lambda g, op, dy: formula(g, conj(g, op.inputs[0]), dy)


def of_output(formula: Callable[[Any, Any, Any], Any]) -> Body:
    """Return the rule ``formula(g, conj(y), dy)`` of an op of one output y."""
    return lambda g, op, dy: formula(g, conj(g, op.outputs[0]), dy)


@takes_slices
def passed(g: Any, op: Any, dy: Any) -> Any:
    """Hand the gradient to the first input as it is; the rule of identities."""
    return [dy, *nothing(op, 1)] if len(op.inputs) > 1 else dy


@takes_slices
def to_each(g: Any, op: Any, dy: Any) -> Any:
    """Hand the gradient to every input; the rule of sums of many tensors."""
    return [dy] * len(op.inputs)


def stopped(g: Any, op: Any, *dys: Any) -> Any:
    """Let nothing flow back, as constant pieces (Floor, ArgMax) do."""
    return nothing(op)


def nothing(op: Any, start: int = 0) -> list[None]:
    """Return None for each input from `start` on."""
    return [None] * (len(op.inputs) - start)


# --- shapes -------------------------------------------------------------------------------------------------------
def shape_of(g: Any, x: Any, out_type: DType = int32) -> Any:
    """The shape of x as a vector: a constant where it is known."""
    if x.static_shape.is_static:
        return g.constant(np.array(x.static_shape.dims, out_type.numpy), out_type, name="Shape")
    return g.Shape(x, out_type=out_type)


def size_of(g: Any, x: Any, out_type: DType = int32) -> Any:
    """The number of elements of x: a constant where it is known."""
    n = x.static_shape.size
    return g.Size(x, out_type=out_type) if n is None else g.constant(n, out_type, name="Size")


def rank_of(g: Any, x: Any) -> Any:
    """The number of dimensions of x: a constant where it is known."""
    n = x.static_shape.rank
    return g.Rank(x) if n is None else g.constant(n, int32, name="Rank")


def reduced_shape(g: Any, x: Any, axes: Any) -> Any:
    """The shape of x with 1 for each of `axes`: what a reduction that keeps dimensions gives."""
    known = value_of(axes)
    dims = x.static_shape.dims
    if known is not None and x.static_shape.is_static:
        kept = np.array(dims, np.int32)
        kept[np.asarray(known, np.int64)] = 1
        return kept
    return kept_dims(g, shape_of(g, x), axes)


def kept_dims(g: Any, shape: Any, axes: Any) -> Any:
    """The vector `shape` with 1 at each of `axes`."""
    rank = size_of(g, shape, axes.dtype)
    axes = (axes + rank) % rank
    ones = filled(g, shape_of(g, axes), 1, shape.dtype, "ones")
    everywhere = g.Range(0, rank, 1, name="range")
    if axes.dtype is not int32:
        everywhere, axes = cast(g, everywhere, int32), cast(g, axes, int32)
    return g.DynamicStitch([everywhere, axes], [shape, ones])


def size_along(g: Any, shape: Any, axes: Any) -> Any:
    """The product of the vector `shape` at `axes`, a vector or a scalar."""
    part = take(g, shape, axes)
    rank = part.static_shape.rank
    every = g.constant(np.arange(rank, dtype=np.int32)) if rank else g.Range(0, rank_of(g, part), 1, name="range")
    return g.Prod(part, every)


def reshaped_like(g: Any, dy: Any, x: Any) -> Any:
    """`dy` in the shape of x."""
    return g.Reshape(dy, shape_of(g, x))


def value_of(x: Any) -> Any:
    """The value of x where it is a known constant, else None."""
    return x.known.value


# --- tensors of one value -----------------------------------------------------------------------------------------
def zeros_like(g: Any, x: Any) -> Any:
    """Zeros in the shape and dtype of x."""
    known = _like(g, x, 0, "zeros_like")
    return g.ZerosLike(x, name="zeros_like") if known is None else known


def ones_like(g: Any, x: Any) -> Any:
    """Ones in the shape and dtype of x."""
    known = _like(g, x, 1, "ones_like")
    return g.OnesLike(x, name="ones_like") if known is None else known


def _like(g: Any, x: Any, value: int, name: str) -> Any:
    shape = x.static_shape
    if not shape.is_static or x.dtype.kind == "o":
        return None
    return full(g, shape.dims, value, x.dtype, name)


def full(g: Any, dims: Sequence[int], value: float, dtype: DType, name: str) -> Any:
    """A tensor of known dimensions that holds one value; a small one is a constant."""
    if np.prod(dims, dtype=np.int64) < _SMALL:
        return g.constant(np.full(tuple(dims), value, dtype.numpy), dtype, name=name)
    return filled(g, np.array(dims, np.int32), value, dtype, name)


def filled(g: Any, shape: Any, value: float, dtype: DType, name: str) -> Any:
    """A tensor of a computed shape that holds one value."""
    return g.Fill(shape, g.constant(value, dtype, name=f"{name}/Const"), name=name)


# --- conversions --------------------------------------------------------------------------------------------------
def cast(g: Any, x: Any, dtype: DType) -> Any:
    """X as `dtype`; x itself where it is that."""
    return x if x.dtype == dtype else g.Cast(x, DstT=dtype)


def conj(g: Any, x: Any) -> Any:
    """The complex conjugate of x; x itself where it is real."""
    return g.Conj(x) if x.dtype.is_complex else x


def is_slices(dy: Any) -> bool:
    """Whether a gradient is sparse: rows (`values`) at `indices` of a tensor of `dense_shape`."""
    return hasattr(dy, "dense_shape")


def negative(g: Any, dy: Any) -> Any:
    """The gradient with the other sign, sparse if it was."""
    return g.IndexedSlices(-dy.values, dy.indices, dy.dense_shape) if is_slices(dy) else -dy


# --- operands that were broadcast ---------------------------------------------------------------------------------
def same_shapes(*tensors: Any) -> bool:
    """Whether all of the tensors are dense and of one known shape."""
    if any(is_slices(t) for t in tensors):
        return False
    first = tensors[0].static_shape
    return bool(first.is_static and all(t.static_shape == first for t in tensors))


def unbroadcast(g: Any, x: Any, y: Any, dx: Any, dy: Any) -> tuple[Any, Any]:
    """Sum the gradients of two operands over the axes along which each was broadcast; None stays None."""
    x_shape, y_shape = shape_of(g, x), shape_of(g, y)
    known = _broadcast_axes(x.static_shape.dims, y.static_shape.dims)
    if known is None:
        x_axes, y_axes = g.BroadcastGradientArgs(x_shape, y_shape)
        return _summed(g, dx, x_axes, x_shape), _summed(g, dy, y_axes, y_shape)
    x_axes, y_axes = known
    x_rank, y_rank = x.static_shape.rank, y.static_shape.rank
    if x_axes or x_rank < y_rank:
        dx = _summed(g, dx, np.array(x_axes, np.int32), x_shape)
    if y_axes or y_rank < x_rank:
        dy = _summed(g, dy, np.array(y_axes, np.int32), y_shape)
    return dx, dy


def _summed(g: Any, dy: Any, axes: Any, shape: Any) -> Any:
    return None if dy is None else g.Reshape(g.Sum(dy, axes, keep_dims=True), shape)


def _broadcast_axes(
    x: tuple[int | None, ...] | None, y: tuple[int | None, ...] | None
) -> tuple[list[int], list[int]] | None:
    """The axes along which each operand is broadcast, or None where that is not known yet."""
    if x is None or y is None:
        return None
    rank = max(len(x), len(y))
    x_axes: list[int] = []
    y_axes: list[int] = []
    for axis, (m, n) in enumerate(zip((1,) * (rank - len(x)) + x, (1,) * (rank - len(y)) + y, strict=True)):
        if m == 1 and n != 1:
            x_axes.append(axis)
        elif n == 1 and m != 1:
            y_axes.append(axis)
        elif m is None or n is None:
            return None
    return x_axes, y_axes


def unbroadcast_always(g: Any, tensors: Sequence[Any], dys: Sequence[Any]) -> list[Any]:
    """Sum the gradients of two operands over axes computed at run time, as the rules of older ops do."""
    shapes = [shape_of(g, t) for t in tensors]
    axes = g.BroadcastGradientArgs(*shapes)
    return [None if dy is None else g.Reshape(g.Sum(dy, a), s) for dy, a, s in zip(dys, axes, shapes, strict=True)]


# --- matrices -----------------------------------------------------------------------------------------------------
def matmul(g: Any, a: Any, b: Any, adjoint_a: bool = False, adjoint_b: bool = False) -> Any:
    """The product of two matrices or batches of them, each conjugate-transposed first if asked."""
    if a.static_shape.rank == b.static_shape.rank == 2:
        x, y = (conj(g, v) if adjoint else v for v, adjoint in ((a, adjoint_a), (b, adjoint_b)))
        return g.MatMul(x, y, transpose_a=adjoint_a, transpose_b=adjoint_b)
    return g.BatchMatMulV2(a, b, adj_x=adjoint_a, adj_y=adjoint_b, name="MatMul")


def matrix_transpose(g: Any, x: Any, conjugate: bool = False) -> Any:
    """Swap the last two dimensions of x, and take the complex conjugate where asked."""
    rank = x.static_shape.rank
    if rank is not None:
        perm: Any = [*range(rank - 2), rank - 1, rank - 2]
    else:
        n = g.Rank(x)
        perm = g.ConcatV2([g.Range(0, n - 2, 1, name="range"), g.Pack([n - 1, n - 2])], 0, name="concat")
    turn = g.ConjugateTranspose if conjugate and x.dtype.is_complex else g.Transpose
    return turn(x, perm, name="transpose")


def adjoint(g: Any, x: Any) -> Any:
    """The conjugate transpose of x."""
    return matrix_transpose(g, x, conjugate=True)


def take(g: Any, x: Any, indices: Any, axis: int = 0) -> Any:
    """The rows of x at `indices`."""
    return g.GatherV2(x, indices, axis)


# --- what an operation tells --------------------------------------------------------------------------------------
def attrs_of(op: Any, *names: str) -> dict[str, Any]:
    """Attributes of `op`, for a node that takes them under the same names."""
    return {n: op.get_attr(n) for n in names}


def no_flow(dy: Any) -> bool:
    """Whether a gradient is None, or zeros made for an output into which nothing flows."""
    if dy is None or dy.op.type == "ZerosLike":
        return True
    value = dy.op.inputs[1].known.value if dy.op.type == "Fill" else dy.known.value
    return value is not None and not np.any(value)
