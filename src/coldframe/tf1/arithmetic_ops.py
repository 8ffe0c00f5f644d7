"""Elementwise mathematics, products of matrices, and sequences of numbers, with TF1's Python arguments.

Most functions add one node and are one line; the others build the nodes, under the names, that TensorFlow builds.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from coldframe import dtypes
from coldframe.tf1.cast_ops import cast
from coldframe.tf1.framework.build import raw
from coldframe.tf1.framework.convert import (
    IndexedSlices,
    constant,
    convert_to_tensor,
    is_tensor_like,
)
from coldframe.tf1.framework.division import truediv
from coldframe.tf1.framework.dtype import as_dtype
from coldframe.tf1.framework.graph import name_scope
from coldframe.tf1.framework.shape import TensorShape
from coldframe.tf1.framework.tensor import Tensor
from coldframe.tf1.simple import either, simple

_REAL: Final = {dtypes.complex64: dtypes.float32, dtypes.complex128: dtypes.float64}
_COMPLEX: Final = {real: dtype for dtype, real in _REAL.items()}

# --- one node each ------------------------------------------------------------------------------------------------
subtract = simple("subtract(x, y) -> Sub")
multiply = simple("multiply(x, y) -> Mul")
realdiv = simple("realdiv(x, y) -> RealDiv")
floor_div = simple("floor_div(x, y) -> FloorDiv")
truncatediv = simple("truncatediv(x, y) -> TruncateDiv")
truncatemod = simple("truncatemod(x, y) -> TruncateMod")
mod = floormod = simple("floormod(x, y) -> FloorMod")
maximum = simple("maximum(x, y) -> Maximum")
minimum = simple("minimum(x, y) -> Minimum")
squared_difference = simple("squared_difference(x, y) -> SquaredDifference")
atan2 = simple("atan2(y, x) -> Atan2")
xlogy = simple("xlogy(x, y) -> Xlogy")
nextafter = simple("nextafter(x1, x2) -> NextAfter")
betainc = simple("betainc(a, b, x) -> Betainc")
igamma = simple("igamma(a, x) -> Igamma")
igammac = simple("igammac(a, x) -> Igammac")
polygamma = simple("polygamma(a, x) -> Polygamma")
zeta = simple("zeta(x, q) -> Zeta")
cross = simple("cross(a, b) -> Cross")
negative = simple("negative(x) -> Neg")
square = simple("square(x) -> Square")
sqrt = simple("sqrt(x) -> Sqrt")
rsqrt = simple("rsqrt(x) -> Rsqrt")
exp = simple("exp(x) -> Exp")
expm1 = simple("expm1(x) -> Expm1")
log = simple("log(x) -> Log")
log1p = simple("log1p(x) -> Log1p")
sin = simple("sin(x) -> Sin")
cos = simple("cos(x) -> Cos")
tan = simple("tan(x) -> Tan")
asin = simple("asin(x) -> Asin")
acos = simple("acos(x) -> Acos")
atan = simple("atan(x) -> Atan")
sinh = simple("sinh(x) -> Sinh")
cosh = simple("cosh(x) -> Cosh")
tanh = simple("tanh(x) -> Tanh")
asinh = simple("asinh(x) -> Asinh")
acosh = simple("acosh(x) -> Acosh")
atanh = simple("atanh(x) -> Atanh")
rint = simple("rint(x) -> Rint")
ceil = simple("ceil(x) -> Ceil")
floor = simple("floor(x) -> Floor")
erf = simple("erf(x) -> Erf")
erfc = simple("erfc(x) -> Erfc")
lgamma = simple("lgamma(x) -> Lgamma")
digamma = simple("digamma(x) -> Digamma")
reciprocal = simple("reciprocal(x) -> Reciprocal")
is_nan = simple("is_nan(x) -> IsNan")
is_inf = simple("is_inf(x) -> IsInf")
is_finite = simple("is_finite(x) -> IsFinite")
softsign = simple("softsign(features) -> Softsign")
softplus = simple("softplus(features) -> Softplus")
equal = simple("equal(x, y) -> Equal")
not_equal = simple("not_equal(x, y) -> NotEqual")
less = simple("less(x, y) -> Less")
less_equal = simple("less_equal(x, y) -> LessEqual")
greater = simple("greater(x, y) -> Greater")
greater_equal = simple("greater_equal(x, y) -> GreaterEqual")
logical_and = simple("logical_and(x, y) -> LogicalAnd")
logical_or = simple("logical_or(x, y) -> LogicalOr")
logical_not = simple("logical_not(x) -> LogicalNot")
arg_max = simple("arg_max(input, dimension, output_type=int64) -> ArgMax")
arg_min = simple("arg_min(input, dimension, output_type=int64) -> ArgMin")
bucketize = simple("bucketize(input, boundaries) -> Bucketize")
top_k = simple("top_k(input, k=1, sorted=True) -> TopKV2")
sparse_matmul = simple(
    "sparse_matmul(a, b, transpose_a=False, transpose_b=False, a_is_sparse=False, b_is_sparse=False) -> SparseMatMul"
)
linspace = lin_space = simple("linspace(start, stop, num) -> LinSpace")  # TF 1.15's one node, not the many of TF2
log_softmax = simple("log_softmax(logits) -> LogSoftmax")


# --- arithmetic ---------------------------------------------------------------------------------------------------
def _pair(x: Any, y: Any) -> tuple[Tensor, Tensor]:
    """Return both operands as tensors, the second of the first's dtype where it can be."""
    x = convert_to_tensor(x, name="x")
    return x, convert_to_tensor(y, preferred_dtype=x.dtype, name="y")


def add(x: Any, y: Any, name: str | None = None) -> Any:
    """Return x + y, which broadcast."""
    with name_scope(name, "Add", [x]) as scope:
        x, y = _pair(x, y)
        op = raw.Add if x.dtype is dtypes.string else raw.AddV2
        return op(x, y, name=scope)


def divide(x: Any, y: Any, name: str | None = None) -> Any:
    """Return x / y as Python 3 divides."""
    if name is not None:
        return truediv(x, y, name)
    if not is_tensor_like(x):
        x = convert_to_tensor(x, y.dtype if is_tensor_like(y) else None)
    return x / y


def div(x: Any, y: Any, name: str | None = None) -> Any:
    """Return x / y as Python 2 divides: of integers, the quotient rounded down."""
    with name_scope(name, "div", [x, y]) as scope:
        x, y = _same_dtype(*_pair(x, y))
        op = raw.RealDiv if x.dtype.is_float or x.dtype.is_complex else raw.FloorDiv
        return op(x, y, name=scope)


def _same_dtype(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    if x.dtype is not y.dtype:
        raise TypeError(f"`x` and `y` must have the same dtype, got {x.dtype!r} != {y.dtype!r}.")
    return x, y


def floordiv(x: Any, y: Any, name: str | None = None) -> Any:
    """Return x // y, rounded towards negative infinity."""
    with name_scope(name, "floordiv", [x, y]) as scope:
        return raw.FloorDiv(x, y, name=scope)


def div_no_nan(x: Any, y: Any, name: str | None = None) -> Any:
    """Return x / y, and 0 where y is 0."""
    with name_scope(name, "div_no_nan", [x, y]) as scope:
        if is_tensor_like(y) and not is_tensor_like(x):
            y = convert_to_tensor(y, name="y")
            x = convert_to_tensor(x, y.dtype, name="x")
        x, y = _same_dtype(*_pair(x, y))
        if x.dtype.is_integer:
            wide = dtypes.float32 if x.dtype.width <= 2 else dtypes.float64
            x, y = cast(x, wide), cast(y, wide)
        return raw.DivNoNan(x, y, name=scope)


def multiply_no_nan(x: Any, y: Any, name: str | None = None) -> Any:
    """Return x * y, and 0 where y is 0, even where x is infinite or no number."""
    with name_scope(name, "multiply_no_nan", [x, y]) as scope:
        x = convert_to_tensor(x, name="x")
        return raw.MulNoNan(x, convert_to_tensor(y, x.dtype, name="y"), name=scope)


def xdivy(x: Any, y: Any, name: str | None = None) -> Any:
    """Return x / y, and 0 where x is 0."""
    with name_scope(name, "xdivy", [x]):
        return raw.Xdivy(x, y)


def xlog1py(x: Any, y: Any, name: str | None = None) -> Any:
    """Return x * log1p(y), and 0 where x is 0."""
    with name_scope(name, "xlog1py", [x]):
        return raw.Xlog1py(x, y)


def erfinv(x: Any, name: str | None = None) -> Any:
    """Return the inverse of `erf`."""
    with name_scope(name, "erfinv", [x]):
        return raw.Erfinv(x)


def ndtri(x: Any, name: str | None = None) -> Any:
    """Return the quantile of the standard normal distribution."""
    with name_scope(name, "ndtri", [x]):
        return raw.Ndtri(x)


def bessel_i0e(x: Any, name: str | None = None) -> Any:
    """Return the exponentially scaled modified Bessel function of order 0."""
    with name_scope(name, "bessel_i0e", [x]):
        return raw.BesselI0e(x)


def bessel_i1e(x: Any, name: str | None = None) -> Any:
    """Return the exponentially scaled modified Bessel function of order 1."""
    with name_scope(name, "bessel_i1e", [x]):
        return raw.BesselI1e(x)


def reciprocal_no_nan(x: Any, name: str | None = None) -> Any:
    """Return 1 / x, and 0 where x is 0."""
    with name_scope(name, "reciprocal_no_nan", [x]) as scope:
        x = convert_to_tensor(x, name="x")
        return raw.DivNoNan(constant(1, x.dtype, name="one"), x, name=scope)


def pow(x: Any, y: Any, name: str | None = None) -> Any:
    """Return x to the power of y."""
    with name_scope(name, "Pow", [x]) as scope:
        return raw.Pow(x, y, name=scope)


def scalar_mul(scalar: Any, x: Any, name: str | None = None) -> Any:
    """Return a tensor or slices, multiplied by a scalar."""
    scalar = convert_to_tensor(scalar, x.dtype, name="scalar")
    if scalar.static_shape.rank != 0:
        raise ValueError(f"The input scalar must be a 0-D value. Received shape {scalar.shape}.")
    if isinstance(x, IndexedSlices):
        return IndexedSlices(raw.Mul(scalar, x.values, name=name), x.indices, x.dense_shape)
    return raw.Mul(scalar, x, name=name)


def polyval(coeffs: list[Any], x: Any, name: str | None = None) -> Any:
    """Return a polynomial's value at `x`; `coeffs` begin with that of the highest power."""
    if not isinstance(coeffs, list):
        raise ValueError(f"Argument coeffs must be list type. Received type {type(coeffs)}.")  # noqa: TRY004
    with name_scope(name, "polyval", [*coeffs, x]) as scope:
        x = convert_to_tensor(x, name="x")
        if not coeffs:
            from coldframe.tf1.shape_ops import zeros_like

            return zeros_like(x, name=scope)
        terms = [convert_to_tensor(c, name=f"coeff_{i}") for i, c in enumerate(coeffs)]
        total: Any = terms[0]
        for c in terms[1:]:
            total = c + total * x
        return total


def abs(x: Any, name: str | None = None) -> Any:
    """Return the absolute value, a real number."""
    with name_scope(name, "Abs", [x]) as scope:
        x = convert_to_tensor(x, name="x")
        if x.dtype.is_complex:
            return raw.ComplexAbs(x, Tout=_REAL[x.dtype], name=scope)
        return raw.Abs(x, name=scope)


def sign(x: Any, name: str | None = None) -> Any:
    """Return -1, 0 or 1; of complex numbers, those of length 1."""
    x = convert_to_tensor(x)
    if x.dtype.is_complex:
        return raw.DivNoNan(x, cast(raw.ComplexAbs(x, Tout=_REAL[x.dtype]), x.dtype), name=name)
    return raw.Sign(x, name=name)


def round(x: Any, name: str | None = None) -> Any:
    """Return the nearest integers, even ones where two are as near."""
    x = convert_to_tensor(x, name="x")
    return x if x.dtype.is_integer else raw.Round(x, name=name)


def sigmoid(x: Any, name: str | None = None) -> Any:
    """Return 1 / (1 + exp(-x))."""
    with name_scope(name, "Sigmoid", [x]) as scope:
        return raw.Sigmoid(convert_to_tensor(x, name="x"), name=scope)


def log_sigmoid(x: Any, name: str | None = None) -> Any:
    """Return the logarithm of `sigmoid`."""
    with name_scope(name, "LogSigmoid", [x]) as scope:
        return raw.Neg(raw.Softplus(-convert_to_tensor(x, name="x")), name=scope)


def logical_xor(x: Any, y: Any, name: str = "LogicalXor") -> Any:
    """Return whether exactly one of the two holds."""
    return raw.LogicalAnd(raw.LogicalOr(x, y), raw.LogicalNot(raw.LogicalAnd(x, y)), name=name)


# --- complex numbers ----------------------------------------------------------------------------------------------
def complex(real: Any, imag: Any, name: str | None = None) -> Any:
    """Return the complex numbers of two real tensors, both float32 or both float64."""
    real, imag = convert_to_tensor(real, name="real"), convert_to_tensor(imag, name="imag")
    with name_scope(name, "Complex", [real, imag]) as scope:
        if real.dtype is not imag.dtype or real.dtype not in _COMPLEX:
            raise TypeError(
                f"The `real` and `imag` components have incorrect types: {real.dtype.name} {imag.dtype.name}. "
                "They must be consistent, and one of [float32, float64]"
            )
        return raw.Complex(real, imag, Tout=_COMPLEX[real.dtype], name=scope)


def real(input: Any, name: str | None = None) -> Any:
    """Return the real part."""
    with name_scope(name, "Real", [input]) as scope:
        x = convert_to_tensor(input, name="input")
        if not x.dtype.is_numeric:
            raise TypeError(f"input must be a numeric tensor, but got tensor with dtype {x.dtype}")
        return raw.Real(x, Tout=_REAL[x.dtype], name=scope) if x.dtype.is_complex else x


def imag(input: Any, name: str | None = None) -> Any:
    """Return the imaginary part; zeros for a real tensor."""
    from coldframe.tf1.shape_ops import zeros_like

    with name_scope(name, "Imag", [input]) as scope:
        x = convert_to_tensor(input, name="input")
        return raw.Imag(x, Tout=_REAL[x.dtype], name=scope) if x.dtype.is_complex else zeros_like(x)


def angle(input: Any, name: str | None = None) -> Any:
    """Return the angle of complex numbers; 0 or pi for real ones."""
    from coldframe.tf1.index_ops import where
    from coldframe.tf1.shape_ops import ones_like, zeros_like

    with name_scope(name, "Angle", [input]) as scope:
        x = convert_to_tensor(input, name="input")
        if x.dtype.is_complex:
            return raw.Angle(x, Tout=_REAL[x.dtype], name=scope)
        return where(x < 0, np.pi * ones_like(x), zeros_like(x))


def conj(x: Any, name: str | None = None) -> Any:
    """Return the complex conjugate; a real tensor as it is."""
    if isinstance(x, Tensor) and (x.dtype.is_float or x.dtype.is_integer):
        return x
    with name_scope(name, "Conj", [x]) as scope:
        x = convert_to_tensor(x, name="x")
        if x.dtype.is_complex or x.dtype is dtypes.variant:
            return raw.Conj(x, name=scope)
        if x.dtype.is_numeric:
            return x
        raise TypeError(f"Expected numeric or variant tensor, got dtype {x.dtype!r}.")


# --- sequences ----------------------------------------------------------------------------------------------------
_ORDER: Final = (dtypes.int32, dtypes.int64, dtypes.float16, dtypes.bfloat16, dtypes.float32, dtypes.float64)


def range(start: Any, limit: Any = None, delta: Any = 1, dtype: Any = None, name: str = "range") -> Any:
    """Return ``[start, start + delta, ...]`` up to but without `limit`; ``range(n)`` starts at 0."""
    if limit is None:
        start, limit = 0, start
    with name_scope(name, "Range", [start, limit, delta]) as scope:
        args = [
            x if isinstance(x, Tensor) else convert_to_tensor(x, dtype, name=n)
            for n, x in (("start", start), ("limit", limit), ("delta", delta))
        ]
        to = as_dtype(dtype) if dtype is not None else max((a.dtype for a in args), key=_ORDER.index)
        return raw.Range(*[cast(a, to) for a in args], name=scope)


def in_top_k(predictions: Any, targets: Any, k: Any, name: str | None = None) -> Any:
    """Return, per row of `predictions`, whether the class that `targets` names is among the `k` highest."""
    with name_scope(name, "in_top_k"):
        return raw.InTopKV2(predictions, targets, k, name=name)


def argmax(
    input: Any, axis: Any = None, name: str | None = None, dimension: Any = None, output_type: Any = dtypes.int64
) -> Any:
    """Return the index of the largest element along `axis`."""
    return raw.ArgMax(input, _axis(axis, dimension), output_type=output_type, name=name)


def argmin(
    input: Any, axis: Any = None, name: str | None = None, dimension: Any = None, output_type: Any = dtypes.int64
) -> Any:
    """Return the index of the smallest element along `axis`."""
    return raw.ArgMin(input, _axis(axis, dimension), output_type=output_type, name=name)


def _axis(axis: Any, dimension: Any) -> Any:
    axis = either("axis", axis, "dimension", dimension)
    return 0 if axis is None else axis


def _cumulative(op: Any, scope_name: str) -> Any:
    def function(x: Any, axis: Any = 0, exclusive: bool = False, reverse: bool = False, name: str | None = None) -> Any:
        with name_scope(name, scope_name, [x]) as scope:
            return op(convert_to_tensor(x, name="x"), axis, exclusive=exclusive, reverse=reverse, name=scope)

    function.__doc__ = f"Return the running result of `{scope_name}` along `axis`."
    return function


cumsum = _cumulative(raw.Cumsum, "Cumsum")
cumprod = _cumulative(raw.Cumprod, "Cumprod")
cumulative_logsumexp = _cumulative(raw.CumulativeLogsumexp, "CumulativeLogsumexp")


# --- sums of tensors ----------------------------------------------------------------------------------------------
def add_n(inputs: Any, name: str | None = None) -> Any:
    """Return the sum of a list of tensors (or slices, made dense) of one shape and dtype."""
    values = list(inputs) if isinstance(inputs, (list, tuple)) else inputs
    if not values or not isinstance(values, list):
        raise ValueError(
            "Inputs must be an iterable of at least one Tensor/IndexedSlices with the same dtype and shape."
        )
    tensors = [convert_to_tensor(v) for v in values]
    if len(tensors) == 1:
        return raw.Identity(tensors[0], name=name) if name else tensors[0]
    return raw.AddN(tensors, name=name)


def accumulate_n(inputs: Any, shape: Any = None, tensor_dtype: Any = None, name: str | None = None) -> Any:
    """Return the sum of a list of tensors of one shape and dtype."""
    if not inputs or not isinstance(inputs, (list, tuple)):
        raise ValueError("inputs must be a list of at least one Tensor with the same dtype and shape")
    tensors = [convert_to_tensor(v) for v in inputs]
    merged = TensorShape(shape)
    for t in tensors:
        merged = merged.merge_with(t.shape)
    if tensor_dtype is not None and as_dtype(tensor_dtype) is not tensors[0].dtype:
        raise TypeError(f"The `tensor_dtype` argument is {tensor_dtype}, but `input` is of type {tensors[0].dtype}.")
    return add_n(tensors, name)


# --- products -----------------------------------------------------------------------------------------------------
def matmul(
    a: Any,
    b: Any,
    transpose_a: bool = False,
    transpose_b: bool = False,
    adjoint_a: bool = False,
    adjoint_b: bool = False,
    a_is_sparse: bool = False,
    b_is_sparse: bool = False,
    name: str | None = None,
) -> Any:
    """Return the product of two matrices, or of batches of matrices of which the leading dimensions broadcast.

    Args:
        transpose_a, transpose_b: transpose the last two dimensions first.
        adjoint_a, adjoint_b: transpose and conjugate them first.
        a_is_sparse, b_is_sparse: the values are mostly zeros, though stored densely.
    """
    for side, transpose, adjoint in (("a", transpose_a, adjoint_a), ("b", transpose_b, adjoint_b)):
        if transpose and adjoint:
            raise ValueError(f"Only one of transpose_{side} and adjoint_{side} can be True.")
    with name_scope(name, "MatMul", [a, b]) as scope:
        a = convert_to_tensor(a, name="a")
        b = convert_to_tensor(b, preferred_dtype=a.dtype, name="b")
        sparse = a_is_sparse or b_is_sparse
        if not sparse and any(t.static_shape.rank is None or t.static_shape.rank > 2 for t in (a, b)):
            a, b = conj(a) if transpose_a else a, conj(b) if transpose_b else b
            return raw.BatchMatMulV2(a, b, adj_x=adjoint_a or transpose_a, adj_y=adjoint_b or transpose_b, name=scope)
        a, b = conj(a) if adjoint_a else a, conj(b) if adjoint_b else b
        turns = {"transpose_a": transpose_a or adjoint_a, "transpose_b": transpose_b or adjoint_b}
        if sparse and {a.dtype, b.dtype} <= {dtypes.bfloat16, dtypes.float32}:
            product = raw.SparseMatMul(a, b, a_is_sparse=a_is_sparse, b_is_sparse=b_is_sparse, name=scope, **turns)
            return cast(product, dtypes.bfloat16) if a.dtype is b.dtype is dtypes.bfloat16 else product
        return raw.MatMul(a, b, name=scope, **turns)


batch_matmul = simple("batch_matmul(x, y, adj_x=False, adj_y=False) -> BatchMatMulV2")


__all__ = [
    "abs", "accumulate_n", "acos", "acosh", "add", "add_n", "angle", "arg_max", "arg_min", "argmax", "argmin", "asin",
    "asinh", "atan", "atan2", "atanh", "batch_matmul", "bessel_i0e", "bessel_i1e",
    "betainc", "bucketize", "ceil", "complex", "conj", "cos", "cosh", "cross", "cumprod", "cumsum",
    "cumulative_logsumexp", "digamma", "div", "div_no_nan", "divide", "equal", "erf", "erfc", "erfinv",
    "exp", "expm1", "floor", "floor_div", "floordiv", "floormod", "greater", "greater_equal", "igamma", "igammac",
    "imag", "in_top_k", "is_finite", "is_inf", "is_nan", "less", "less_equal", "lgamma", "lin_space", "linspace",
    "log", "log1p", "log_sigmoid", "log_softmax", "logical_and", "logical_not", "logical_or", "logical_xor", "matmul",
    "maximum", "minimum", "mod", "multiply", "multiply_no_nan", "ndtri", "negative", "nextafter", "not_equal",
    "polygamma", "polyval", "pow", "range", "real", "realdiv", "reciprocal", "reciprocal_no_nan", "rint", "round",
    "rsqrt", "scalar_mul", "sigmoid", "sign", "sin", "sinh", "softplus", "softsign", "sparse_matmul", "sqrt",
    "square", "squared_difference", "subtract", "tan", "tanh", "top_k", "truediv", "truncatediv", "truncatemod",
    "xdivy", "xlog1py", "xlogy", "zeta",
]  # fmt: skip
