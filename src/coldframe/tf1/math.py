"""Mathematics: the names of `tf.math`."""

from __future__ import annotations

from typing import Any

import numpy as np

from coldframe.tf1.arithmetic_ops import (
    abs,
    accumulate_n,
    acos,
    acosh,
    add,
    add_n,
    angle,
    argmax,
    argmin,
    asin,
    asinh,
    atan,
    atan2,
    atanh,
    bessel_i0e,
    bessel_i1e,
    betainc,
    ceil,
    conj,
    cos,
    cosh,
    cumprod,
    cumsum,
    cumulative_logsumexp,
    digamma,
    divide,
    equal,
    erf,
    erfc,
    erfinv,
    exp,
    expm1,
    floor,
    floordiv,
    floormod,
    greater,
    greater_equal,
    igamma,
    igammac,
    imag,
    in_top_k,
    is_finite,
    is_inf,
    is_nan,
    less,
    less_equal,
    lgamma,
    log,
    log1p,
    log_sigmoid,
    logical_and,
    logical_not,
    logical_or,
    logical_xor,
    maximum,
    minimum,
    mod,
    multiply,
    multiply_no_nan,
    ndtri,
    negative,
    nextafter,
    not_equal,
    polygamma,
    polyval,
    pow,
    real,
    reciprocal,
    reciprocal_no_nan,
    rint,
    round,
    rsqrt,
    scalar_mul,
    sigmoid,
    sign,
    sin,
    sinh,
    softplus,
    softsign,
    sqrt,
    square,
    squared_difference,
    subtract,
    tan,
    tanh,
    top_k,
    truediv,
    xdivy,
    xlog1py,
    xlogy,
    zeta,
)  # fmt: skip
from coldframe.tf1.arithmetic_ops import div_no_nan as divide_no_nan
from coldframe.tf1.check_ops import is_non_decreasing, is_strictly_increasing
from coldframe.tf1.counting_ops import bincount, confusion_matrix
from coldframe.tf1.framework.build import raw
from coldframe.tf1.framework.convert import convert_to_tensor
from coldframe.tf1.framework.graph import name_scope
from coldframe.tf1.nn.activation_ops import log_softmax, softmax, zero_fraction
from coldframe.tf1.nn.norm_ops import l2_normalize
from coldframe.tf1.reduce_ops import (
    count_nonzero,
    lbeta,
    reduce_all,
    reduce_any,
    reduce_euclidean_norm,
    reduce_logsumexp,
    reduce_max,
    reduce_mean,
    reduce_min,
    reduce_prod,
    reduce_std,
    reduce_sum,
    reduce_variance,
    segment_max,
    segment_mean,
    segment_min,
    segment_prod,
    segment_sum,
    unsorted_segment_max,
    unsorted_segment_mean,
    unsorted_segment_min,
    unsorted_segment_prod,
    unsorted_segment_sqrt_n,
    unsorted_segment_sum,
)  # fmt: skip
from coldframe.tf1.shape_ops import invert_permutation
from coldframe.tf1.simple import simple

bessel_i0 = simple("bessel_i0(x) -> BesselI0")
bessel_i1 = simple("bessel_i1(x) -> BesselI1")


def erfcinv(x: Any, name: str | None = None) -> Any:
    """Return y where erfc(y) = x."""
    with name_scope(name, "erfcinv", [x]):
        x = convert_to_tensor(x, name="start")
        return -raw.Ndtri(0.5 * x) * np.sqrt(0.5).astype(x.dtype.numpy)


__all__ = [
    "abs", "accumulate_n", "acos", "acosh", "add", "add_n", "angle", "argmax", "argmin", "asin", "asinh", "atan",
    "atan2", "atanh", "bessel_i0", "bessel_i0e", "bessel_i1", "bessel_i1e", "betainc", "bincount", "ceil",
    "confusion_matrix", "conj", "cos", "cosh", "count_nonzero", "cumprod", "cumsum", "cumulative_logsumexp",
    "digamma", "divide", "divide_no_nan", "equal", "erf", "erfc", "erfcinv", "erfinv", "exp", "expm1", "floor",
    "floordiv", "floormod", "greater", "greater_equal", "igamma", "igammac", "imag", "in_top_k", "invert_permutation",
    "is_finite", "is_inf", "is_nan", "is_non_decreasing", "is_strictly_increasing", "l2_normalize", "lbeta", "less",
    "less_equal", "lgamma", "log", "log1p", "log_sigmoid", "log_softmax", "logical_and", "logical_not", "logical_or",
    "logical_xor", "maximum", "minimum", "mod", "multiply", "multiply_no_nan", "ndtri", "negative", "nextafter",
    "not_equal", "polygamma", "polyval", "pow", "real", "reciprocal", "reciprocal_no_nan", "reduce_all", "reduce_any",
    "reduce_euclidean_norm", "reduce_logsumexp", "reduce_max", "reduce_mean", "reduce_min", "reduce_prod",
    "reduce_std", "reduce_sum", "reduce_variance", "rint", "round", "rsqrt", "scalar_mul", "segment_max",
    "segment_mean", "segment_min", "segment_prod", "segment_sum", "sigmoid", "sign", "sin", "sinh", "softmax",
    "softplus", "softsign", "sqrt", "square", "squared_difference", "subtract", "tan", "tanh", "top_k", "truediv",
    "unsorted_segment_max", "unsorted_segment_mean", "unsorted_segment_min", "unsorted_segment_prod",
    "unsorted_segment_sqrt_n", "unsorted_segment_sum", "xdivy", "xlog1py", "xlogy", "zero_fraction", "zeta",
]  # fmt: skip
