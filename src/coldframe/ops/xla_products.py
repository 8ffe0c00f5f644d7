"""XLA's products and convolutions, as graphs have them that were exported from JAX or compiled functions.

Contracted, shared and free dimensions may be anywhere: they are brought in order for one matrix product, or one
convolution. XLA's definitions are in its documentation, "Operation semantics".
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from coldframe.dtypes import DType
from coldframe.ops import einsum as sums
from coldframe.ops.backward import linear as back
from coldframe.ops.layouts import check_rank
from coldframe.ops.linear import known
from coldframe.ops.table import op
from coldframe.ops.xla_numbers import conv_numbers, dot_numbers, rest, within
from coldframe.ops.xla_shape import padded
from coldframe.primitives.base import Unlowerable, refuse

_CONV = ("window_strides", "padding", "lhs_dilation", "rhs_dilation", "feature_group_count")
_PRECISION = ("precision_config",)


@op("XlaDot", heavy=True, ignores=_PRECISION)
def xla_dot(xp: Any, lhs: Any, rhs: Any, *, dimension_numbers: str) -> Any:
    """The sum of products over any dimensions: [shared..., free of lhs..., free of rhs...]."""
    n = dot_numbers(dimension_numbers)
    p, q = xp.rank(lhs), xp.rank(rhs)
    within("lhs", n.lhs_batch + n.lhs_contracting, p)
    within("rhs", n.rhs_batch + n.rhs_contracting, q)
    pairs = [*zip(n.lhs_batch, n.rhs_batch, strict=False), *zip(n.lhs_contracting, n.rhs_contracting, strict=False)]
    if len(n.lhs_batch) != len(n.rhs_batch) or len(n.lhs_contracting) != len(n.rhs_contracting):
        raise refuse("dimension numbers of the operands differ in number", found=n)
    for i, j in pairs:
        a, b = xp.dim(lhs, i), xp.dim(rhs, j)
        if known(a, b) and a != b:
            raise refuse(f"dimension {i} of `lhs` and {j} of `rhs` differ", expected=a, found=b)
    left, right = rest(p, n.lhs_batch, n.lhs_contracting), rest(q, n.rhs_batch, n.rhs_contracting)
    shared = [xp.dim(lhs, i) for i in n.lhs_batch]
    summed = _product([xp.dim(lhs, i) for i in n.lhs_contracting])
    rows, columns = [xp.dim(lhs, i) for i in left], [xp.dim(rhs, i) for i in right]
    x = xp.transpose(lhs, [*n.lhs_batch, *left, *n.lhs_contracting])
    y = xp.transpose(rhs, [*n.rhs_batch, *n.rhs_contracting, *right])
    x = xp.reshape(x, [*shared, _product(rows), summed])
    y = xp.reshape(y, [*shared, summed, _product(columns)])
    return xp.reshape(xp.matmul(x, y), [*shared, *rows, *columns])


def _product(dims: Sequence[Any]) -> Any:
    total: Any = 1
    for d in dims:
        total = d if isinstance(total, int) and total == 1 else total * d
    return total


@op("XlaDotV2", heavy=True, ignores=_PRECISION)
def xla_dot_v2(xp: Any, lhs: Any, rhs: Any, *, dimension_numbers: str, preferred_element_type: DType) -> Any:
    """`XlaDot` whose operands may differ in dtype, computed in the dtype of the result."""
    x, y = xp.cast(lhs, preferred_element_type), xp.cast(rhs, preferred_element_type)
    return xla_dot.body(xp, x, y, dimension_numbers=dimension_numbers)


@op("XlaEinsum", heavy=True, gradient=back.einsum)
def xla_einsum(xp: Any, a: Any, b: Any, *, equation: str) -> Any:
    """Einstein summation of two operands."""
    return sums.einsum.body(xp, [a, b], equation=equation)


@op("XlaConv", heavy=True, windows=True, ignores=_PRECISION, static=_CONV)
def xla_conv(
    xp: Any, lhs: Any, rhs: Any, window_strides: Any, padding: Any, lhs_dilation: Any, rhs_dilation: Any,
    feature_group_count: Any, *, dimension_numbers: str,
) -> Any:  # fmt: skip
    """A convolution (no kernel is turned over) over any number of spatial dimensions, in any layout."""
    settings = (window_strides, padding, lhs_dilation, rhs_dilation, feature_group_count)
    return _convolve(xp, lhs, rhs, settings, dimension_numbers, 1)


@op("XlaConvV2", heavy=True, windows=True, ignores=_PRECISION, static=_CONV)
def xla_conv_v2(
    xp: Any, lhs: Any, rhs: Any, window_strides: Any, padding: Any, lhs_dilation: Any, rhs_dilation: Any,
    feature_group_count: Any, *, dimension_numbers: str, preferred_element_type: DType, batch_group_count: int,
) -> Any:  # fmt: skip
    """`XlaConv` whose operands may differ in dtype, computed in the dtype of the result."""
    x, w = xp.cast(lhs, preferred_element_type), xp.cast(rhs, preferred_element_type)
    settings = (window_strides, padding, lhs_dilation, rhs_dilation, feature_group_count)
    return _convolve(xp, x, w, settings, dimension_numbers, batch_group_count)


def _convolve(xp: Any, lhs: Any, rhs: Any, settings: tuple[Any, ...], numbers: str, batch_groups: int) -> Any:
    strides, pads, inner, outer, groups = (xp.static(s).astype(int).tolist() for s in settings)
    n, rank = conv_numbers(numbers), check_rank(xp, lhs, [3, 4, 5], "the input")
    for name, dims in (("input", n.input), ("kernel", n.kernel), ("output", n.output)):
        within(name, dims, rank)
        if len(dims) != rank:
            raise refuse(f"dimension numbers of the {name}", expected=f"{rank}", found=list(dims))
    if not len(strides) == len(pads) == len(inner) == len(outer) == rank - 2 or xp.rank(rhs) != rank:
        raise refuse("the settings of the windows", expected=f"{rank - 2} spatial dimensions", found=len(strides))
    if min([*strides, *inner, *outer, groups, batch_groups], default=1) < 1:
        raise refuse("strides, dilations and group counts", expected="1 or more", found=[strides, inner, outer, groups])
    x, w = xp.transpose(lhs, list(n.input)), xp.transpose(rhs, list(n.kernel))
    holes = [0, 0, *(d - 1 for d in inner)]
    # what XLA pads by less than nothing is cut off here: engines only pad
    cuts = [[0, 0], [0, 0], *([min(a, 0), min(b, 0)] for a, b in pads)]
    x = padded(xp, x, 0, [c[0] for c in cuts], [c[1] for c in cuts], holes)
    more = [(max(a, 0), max(b, 0)) for a, b in pads]
    if batch_groups > 1:
        x, groups = _batches_as_features(xp, x, batch_groups), batch_groups
    features, each, made = xp.dim(x, 1), xp.dim(w, 1), xp.dim(w, 0)
    if known(features, each, made) and (features != each * groups or made % groups):
        raise refuse("the features of input and kernel do not agree", expected=f"{each} x {groups}", found=features)
    y = xp.conv(x, w, strides=strides, padding=more, dilations=outer, groups=groups)
    return xp.transpose(y, [n.output.index(d) for d in range(rank)])


def _batches_as_features(xp: Any, x: Any, groups: int) -> Any:
    """[g * n, c, *s] as [n, g * c, *s]: each group of the batch is seen by its own part of the output features."""
    batch, features, *sizes = (xp.dim(x, i) for i in range(xp.rank(x)))
    if not known(batch, features):
        raise Unlowerable("how large the groups of the batch are is not known when compiling")
    if batch % groups:
        raise refuse("the batch is not divisible by its groups", expected=f"a multiple of {groups}", found=batch)
    x = xp.reshape(x, [groups, batch // groups, features, *sizes])
    x = xp.transpose(x, [1, 0, 2, *range(3, 3 + len(sizes))])
    return xp.reshape(x, [batch // groups, math.prod((groups, features)), *sizes])
