"""Functions of tf.* that compute: nodes, names, static shapes and values are TensorFlow's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tf1_api import namespace
from tf1_graphs import Call, build, check_call

tf1 = namespace()


def f(tf: Any, *dims: int | None, name: str | None = None) -> Any:
    return tf.placeholder(tf.float32, dims, name)


def i(tf: Any, *dims: int | None, name: str | None = None) -> Any:
    return tf.placeholder(tf.int32, dims, name)


def b(tf: Any, *dims: int | None) -> Any:
    return tf.placeholder(tf.bool, dims)


def c(tf: Any, *dims: int | None) -> Any:
    return tf.placeholder(tf.complex64, dims)


def w(tf: Any, *dims: int) -> Any:
    return tf.Variable(np.ones(dims, np.float32), name="w")


def open_rank(tf: Any) -> Any:
    return tf.placeholder(tf.float32, None)


UNARY = [
    "negative",
    "square",
    "sqrt",
    "rsqrt",
    "exp",
    "expm1",
    "log",
    "log1p",
    "sin",
    "cos",
    "tan",
    "asin",
    "acos",
    "atan",
    "sinh",
    "cosh",
    "tanh",
    "asinh",
    "atanh",
    "rint",
    "ceil",
    "floor",
    "erf",
    "erfc",
    "lgamma",
    "digamma",
    "reciprocal",
    "is_nan",
    "is_inf",
    "is_finite",
    "abs",
    "sign",
    "round",
    "sigmoid",
    "conj",
    "real",
]
BINARY = [
    "add",
    "subtract",
    "multiply",
    "divide",
    "div",
    "truediv",
    "floordiv",
    "realdiv",
    "mod",
    "floormod",
    "maximum",
    "minimum",
    "squared_difference",
    "atan2",
    "pow",
    "igamma",
    "igammac",
    "zeta",
    "equal",
    "not_equal",
    "less",
    "less_equal",
    "greater",
    "greater_equal",
    "div_no_nan",
]
REDUCTIONS = ["reduce_sum", "reduce_mean", "reduce_max", "reduce_min", "reduce_prod", "reduce_logsumexp"]

CALLS: dict[str, Call] = {
    **{n: lambda tf, n=n: getattr(tf, n)(f(tf, 2, 3)) for n in UNARY},  # type: ignore[misc]
    **{f"{n} named": lambda tf, n=n: getattr(tf, n)(f(tf, None), name="mine") for n in UNARY},  # type: ignore[misc]
    **{n: lambda tf, n=n: getattr(tf, n)(f(tf, 2, 3), f(tf, 3)) for n in BINARY},  # type: ignore[misc]
    **{f"{n} number": lambda tf, n=n: getattr(tf, n)(f(tf, 2, None), 2.0) for n in BINARY},  # type: ignore[misc]
    **{f"{n} named": lambda tf, n=n: getattr(tf, n)(f(tf, 2), [1.0, 2.0], name="mine") for n in BINARY},  # type: ignore[misc]
    **{n: lambda tf, n=n: getattr(tf, n)(f(tf, 2, 3)) for n in REDUCTIONS},  # type: ignore[misc]
    **{f"{n} axis": lambda tf, n=n: getattr(tf, n)(f(tf, 2, None), 1) for n in REDUCTIONS},  # type: ignore[misc]
    **{f"{n} keep": lambda tf, n=n: getattr(tf, n)(f(tf, 2, 3), [0, 1], True, "mine") for n in REDUCTIONS},  # type: ignore[misc]
    **{f"{n} old names": lambda tf, n=n: getattr(tf, n)(f(tf, 2, 3), reduction_indices=[1], keep_dims=True)  # type: ignore[misc]
       for n in REDUCTIONS},
    **{f"{n} of open rank": lambda tf, n=n: getattr(tf, n)(open_rank(tf)) for n in REDUCTIONS},  # type: ignore[misc]
    **{f"{n} of a scalar": lambda tf, n=n: getattr(tf, n)(f(tf)) for n in REDUCTIONS},  # type: ignore[misc]
    **{f"{n} of numbers": lambda tf, n=n: getattr(tf, n)([[1.0, 2.0]]) for n in REDUCTIONS},  # type: ignore[misc]
    "reduce_all": lambda tf: tf.reduce_all(b(tf, 2, 3), axis=-1),
    "reduce_any": lambda tf: tf.reduce_any(b(tf, 2, 3)),
    "reduce_euclidean_norm": lambda tf: tf.math.reduce_euclidean_norm(f(tf, 2, 3), 1),
    "reduce_variance": lambda tf: tf.math.reduce_variance(f(tf, 2, 3), 1),
    "reduce_std": lambda tf: tf.math.reduce_std(f(tf, 2, 3), name="mine"),
    "count_nonzero": lambda tf: tf.count_nonzero(f(tf, 2, 3), 1),
    "count_nonzero of bools": lambda tf: tf.count_nonzero(b(tf, 2, 3), keep_dims=True),
    "trace": lambda tf: tf.trace(f(tf, 3, 3)),
    "lbeta": lambda tf: tf.lbeta(f(tf, 2, 3)),
    "acosh": lambda tf: tf.acosh(1.0 + f(tf, 2)),
    "polygamma": lambda tf: tf.polygamma([1.0, 2.0], f(tf, 2)),
    "betainc": lambda tf: tf.betainc(f(tf, 2), f(tf, 2), f(tf, 2)),
    "add strings": lambda tf: tf.add(["a"], ["b"]),
    "add arrays": lambda tf: tf.add(np.ones((2, 2)), 1),
    "divide integers": lambda tf: tf.divide(i(tf, 3), 2),
    "divide numbers": lambda tf: tf.divide(1.0, f(tf, 3)),
    "div of integers": lambda tf: tf.div(i(tf, 3), 2),
    "truediv of integers": lambda tf: tf.truediv(i(tf, 3), 2),
    "div_no_nan of a number": lambda tf: tf.div_no_nan(1.0, f(tf, 3)),
    "multiply_no_nan": lambda tf: tf.math.multiply_no_nan(f(tf, 3), 0.0),
    "truncatediv": lambda tf: tf.truncatediv(i(tf, 3), -2),
    "truncatemod": lambda tf: tf.truncatemod(i(tf, 3), -2),
    "floor_div": lambda tf: tf.floor_div(i(tf, 3), -2),
    "xlogy": lambda tf: tf.math.xlogy(f(tf, 3), 2.0),
    "xdivy": lambda tf: tf.math.xdivy(f(tf, 3), 2.0),
    "xlog1py": lambda tf: tf.math.xlog1py(f(tf, 3), 2.0),
    "erfinv": lambda tf: tf.math.erfinv(f(tf, 3)),
    "ndtri": lambda tf: tf.math.ndtri(f(tf, 3)),
    "reciprocal_no_nan": lambda tf: tf.math.reciprocal_no_nan(f(tf, 3)),
    "scalar_mul": lambda tf: tf.scalar_mul(2.0, f(tf, 3)),
    "bessel_i0e": lambda tf: tf.math.bessel_i0e(f(tf, 3)),
    "polyval": lambda tf: tf.math.polyval([1.0, 2.0, 3.0], f(tf, 3)),
    "log_sigmoid": lambda tf: tf.log_sigmoid(f(tf, 3)),
    "logical_and": lambda tf: tf.logical_and(b(tf, 2), True),
    "logical_or": lambda tf: tf.logical_or(b(tf, 2), [True, False], "mine"),
    "logical_not": lambda tf: tf.logical_not(b(tf, 2)),
    "logical_xor": lambda tf: tf.logical_xor(b(tf, 2), True),
    "round integers": lambda tf: tf.round(i(tf, 2)),
    "abs of complex": lambda tf: tf.abs(c(tf, 2)),
    "sign of complex": lambda tf: tf.sign(c(tf, 2)),
    "real of complex": lambda tf: tf.real(c(tf, 2)),
    "imag of complex": lambda tf: tf.imag(c(tf, 2)),
    "imag": lambda tf: tf.imag(f(tf, 2)),
    "angle of complex": lambda tf: tf.angle(c(tf, 2)),
    "angle": lambda tf: tf.angle(f(tf, 2)),
    "conj of complex": lambda tf: tf.conj(c(tf, 2)),
    "complex": lambda tf: tf.complex(f(tf, 2), [1.0, 2.0]),
    "cast": lambda tf: tf.cast(f(tf, 2), tf.int32),
    "cast to the same": lambda tf: tf.cast(f(tf, 2), "float32"),
    "cast a number": lambda tf: tf.cast(2, tf.float32),
    "cast named": lambda tf: tf.cast(b(tf, 2), np.float64, name="mine"),
    "to_float": lambda tf: tf.to_float(i(tf, 2)),
    "to_double": lambda tf: tf.to_double(f(tf, 2)),
    "to_int32": lambda tf: tf.to_int32(f(tf, 2)),
    "to_int64": lambda tf: tf.to_int64(f(tf, 2), name="mine"),
    "to_bfloat16": lambda tf: tf.to_bfloat16(f(tf, 2)),
    "saturate_cast": lambda tf: tf.saturate_cast(300.0 * f(tf, 5), tf.uint8),
    "saturate_cast to int32": lambda tf: tf.saturate_cast(1e10 * f(tf, 5), tf.int32),
    "range": lambda tf: tf.range(5),
    "range of limits": lambda tf: tf.range(3, 18, 3, name="mine"),
    "range of floats": lambda tf: tf.range(0.0, 1.0, 0.25),
    "range mixed": lambda tf: tf.range(0, f(tf)),
    "range typed": lambda tf: tf.range(4, dtype=tf.int64),
    "range of a tensor": lambda tf: tf.range(i(tf)),
    "argmax": lambda tf: tf.argmax(f(tf, 2, 3), 1),
    "argmax of no axis": lambda tf: tf.argmax(f(tf, 2, 3)),
    "argmax old name": lambda tf: tf.argmax(f(tf, 2, None), dimension=1, output_type=tf.int32),
    "argmin": lambda tf: tf.argmin(f(tf, 2, 3), axis=-1, name="mine"),
    "arg_max": lambda tf: tf.arg_max(f(tf, 2, 3), 1),
    "arg_min": lambda tf: tf.arg_min(f(tf, 2, 3), 0),
    "cumsum": lambda tf: tf.cumsum(f(tf, 2, 3), 1, exclusive=True),
    "cumprod": lambda tf: tf.cumprod(f(tf, 2, 3), reverse=True),
    "cumulative_logsumexp": lambda tf: tf.math.cumulative_logsumexp(f(tf, 2, 3), 1),
    "add_n": lambda tf: tf.add_n([f(tf, 2), f(tf, 2), [1.0, 2.0]]),
    "add_n of one": lambda tf: tf.add_n([f(tf, 2)]),
    "add_n of one, named": lambda tf: tf.add_n([f(tf, 2)], name="mine"),
    "accumulate_n": lambda tf: tf.accumulate_n([f(tf, 2), f(tf, None)]),
    "matmul": lambda tf: tf.matmul(f(tf, None, 3), f(tf, 3, 4)),
    "matmul named": lambda tf: tf.matmul(f(tf, 2, 3), np.ones((4, 3), np.float32), transpose_b=True, name="mine"),
    "matmul adjoint": lambda tf: tf.matmul(c(tf, 3, 2), c(tf, 3, 4), adjoint_a=True),
    "matmul of batches": lambda tf: tf.matmul(f(tf, 5, 2, 3), f(tf, 5, 3, 4)),
    "matmul broadcast": lambda tf: tf.matmul(f(tf, None, 2, 3), f(tf, 4, 3), transpose_b=True),
    "matmul sparse": lambda tf: tf.matmul(f(tf, 2, 3), f(tf, 3, 4), a_is_sparse=True),
    "cross": lambda tf: tf.cross(f(tf, 2, 3), f(tf, 2, 3)),
    "tensordot": lambda tf: tf.tensordot(f(tf, 2, 3), f(tf, 3, 4), 1),
    "tensordot of axes": lambda tf: tf.tensordot(f(tf, 2, 3, 4), f(tf, 4, 5, 3), [[1, 2], [2, 0]]),
    "tensordot of open shapes": lambda tf: tf.tensordot(f(tf, None, 3), f(tf, 3, 4), [[1], [0]]),
    "tensordot of batch": lambda tf: tf.tensordot(f(tf, None, 5, 3), f(tf, 3, 4), axes=1, name="mine"),
    "einsum": lambda tf: tf.einsum("ij,jk->ik", f(tf, 2, 3), f(tf, 3, 4)),
    "einsum without output": lambda tf: tf.einsum("ij,jk", f(tf, 2, 3), f(tf, 3, 4)),
    "einsum of one": lambda tf: tf.einsum("ij -> ji", f(tf, 2, 3)),
    "einsum of batches": lambda tf: tf.einsum("...ij,jk->...ik", f(tf, None, 2, 3), f(tf, 3, 4), name="mine"),
    "segment_sum": lambda tf: tf.segment_sum(f(tf, 3, 2), [0, 0, 1]),
    "segment_mean": lambda tf: tf.segment_mean(f(tf, 3, 2), [0, 0, 1]),
    "segment_max": lambda tf: tf.segment_max(f(tf, 3, 2), [0, 0, 1]),
    "segment_min": lambda tf: tf.segment_min(f(tf, 3, 2), [0, 0, 1]),
    "segment_prod": lambda tf: tf.segment_prod(f(tf, 3, 2), [0, 0, 1]),
    "unsorted_segment_sum": lambda tf: tf.unsorted_segment_sum(f(tf, 3, 2), [1, 0, 1], 2),
    "unsorted_segment_max": lambda tf: tf.unsorted_segment_max(f(tf, 3, 2), [1, 0, 1], 2),
    "unsorted_segment_min": lambda tf: tf.unsorted_segment_min(f(tf, 3, 2), [1, 0, 1], 2),
    "unsorted_segment_prod": lambda tf: tf.unsorted_segment_prod(f(tf, 3, 2), [1, 0, 1], 2),
    "unsorted_segment_mean": lambda tf: tf.unsorted_segment_mean(f(tf, 3, 2), [1, 0, 1], 3),
    "unsorted_segment_sqrt_n": lambda tf: tf.unsorted_segment_sqrt_n(f(tf, 3, 2), [1, 0, 1], 2),
    "sparse_segment_sum": lambda tf: tf.sparse_segment_sum(f(tf, 3, 2), [0, 1, 2], [0, 0, 1]),
    "sparse_segment_mean": lambda tf: tf.sparse_segment_mean(f(tf, 3, 2), [0, 2], [0, 1], num_segments=3),
    "sparse_segment_sqrt_n": lambda tf: tf.sparse_segment_sqrt_n(f(tf, 3, 2), [0, 1], [0, 0], name="mine"),
    "matmul of variables": lambda tf: tf.matmul(f(tf, None, 3), w(tf, 3, 4)) + w(tf, 4),
    "sum of variables": lambda tf: tf.add_n([w(tf, 3), w(tf, 3)]) * 2.0 - tf.square(w(tf, 3)),
    "mean of a variable": lambda tf: tf.reduce_mean(w(tf, 3, 4)),
    "cast of a variable": lambda tf: [tf.cast(w(tf, 3), tf.float32), tf.cast(w(tf, 3), tf.int32)],
    "gather from a variable": lambda tf: tf.gather(w(tf, 3, 4), i(tf, 2)),
    "shape of a variable": lambda tf: [tf.shape(w(tf, 3, 4)), tf.zeros_like(w(tf, 3)), tf.ones_like(w(tf, 3))],
    "index into a variable": lambda tf: tf.stack([w(tf, 3)[0], w(tf, 3)[1]]),
    "operators": lambda tf: 1.0 / (2.0 - f(tf, 2)) ** 2 % 3.0 * f(tf, 2) // 0.5 + (-f(tf, 2)),
    "top_k": lambda tf: tf.nn.top_k(f(tf, 2, 3), 2),
    "bitwise": lambda tf: tf.bitwise.bitwise_xor(tf.bitwise.bitwise_and(i(tf, 3), 3), tf.bitwise.invert(i(tf, 3))),
    "shifts": lambda tf: tf.bitwise.left_shift(i(tf, 3), [1, 2, 3]),
}  # fmt: skip


@pytest.mark.parametrize("row", CALLS)
def test_builds_and_computes_as_tensorflow(row: str) -> None:
    check_call(CALLS[row], tf1, run="variable" not in row)


def test_einsum_of_three_inputs_contracts_in_pairs() -> None:
    call: Call = lambda tf: tf.einsum("ij,jk,kl->il", f(tf, 2, 3), f(tf, 3, 4), f(tf, 4, 5))  # noqa: E731
    graph, y = build(call, tf1)
    assert [o.type for o in graph.get_operations() if o.type != "Placeholder"] == ["Einsum", "Einsum"]
    assert y.shape.as_list() == [2, 5]


def test_linspace_is_one_node_as_in_tf1() -> None:
    graph, y = build(lambda tf: tf.linspace(0.0, 1.0, 5), tf1)
    assert y.op.type == "LinSpace"
    assert y.shape.as_list() == [5]
    assert len(graph.get_operations()) == 4


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda tf: tf.div(f(tf, 2), i(tf, 2)), TypeError, "same dtype"),
        (lambda tf: tf.reduce_sum(f(tf, 2), axis=0, reduction_indices=0), ValueError, "Cannot specify both"),
        (lambda tf: tf.matmul(f(tf, 2, 2), f(tf, 2, 2), transpose_a=True, adjoint_a=True), ValueError, "Only one of"),
        (lambda tf: tf.square(), TypeError, "missing a required argument: 'x'"),
        (lambda tf: tf.square(1.0, y=2), TypeError, "unexpected keyword argument 'y'"),
        (lambda tf: tf.square(1.0, x=2), TypeError, "multiple values for argument 'x'"),
        (lambda tf: tf.square(1.0, None, 3), TypeError, r"square\(\) takes 2 arguments but 3 were given"),
        (lambda tf: tf.add_n([]), ValueError, "at least one Tensor"),
        (lambda tf: tf.complex(f(tf, 2), i(tf, 2)), TypeError, "incorrect types"),
        (lambda tf: tf.einsum("ij,jk->il", f(tf, 2, 2), f(tf, 2, 2)), ValueError, "label l not present"),
        (lambda tf: tf.tensordot(f(tf, 2, 2), f(tf, 2, 2), 3), ValueError, "number of dimensions"),
        (lambda tf: tf.scalar_mul([1.0], f(tf, 2)), ValueError, "0-D"),
    ],
)
def test_refuses_what_does_not_fit(call: Call, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        build(call, tf1)
