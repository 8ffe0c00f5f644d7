"""Products of matrices: MatMul and its batched kin."""

from __future__ import annotations

from typing import Any

from coldframe import dtypes
from coldframe.dtypes import DType
from coldframe.ops import inference_math
from coldframe.ops.backward import linear as back
from coldframe.ops.table import op
from coldframe.primitives.base import refuse


def check_product(xp: Any, x: Any, y: Any) -> None:
    """Refuse operands whose inner dimensions differ or whose batch dimensions do not broadcast, as far as known."""
    k, l = xp.dim(x, -1), xp.dim(y, -2)
    if known(k, l) and k != l:
        raise refuse("matrices do not fit: columns of the first, rows of the second", expected=k, found=l)
    for i in range(3, min(xp.rank(x), xp.rank(y)) + 1):
        p, q = xp.dim(x, -i), xp.dim(y, -i)
        if known(p, q) and p != q and 1 not in (p, q):
            raise refuse(f"batch dimension {-i} of the matrices does not broadcast", expected=p, found=q)


def known(*dims: Any) -> bool:
    """Whether all `dims` are integers rather than symbols."""
    return all(isinstance(d, int) for d in dims)


def turned(xp: Any, x: Any, conjugate: bool = True) -> Any:
    """Return the adjoint of a batch of matrices, or the transpose where `conjugate` is false."""
    n = xp.rank(x)
    t = xp.transpose(x, [*range(n - 2), n - 1, n - 2])
    return xp.conj(t) if conjugate and xp.dtype(x).kind == "c" else t


def _matrices(xp: Any, x: Any, y: Any) -> None:
    if xp.rank(x) != 2 or xp.rank(y) != 2:
        raise refuse("MatMul multiplies matrices", expected="rank 2", found=f"ranks {xp.rank(x)} and {xp.rank(y)}")


@op("MatMul", shape=inference_math.mat_mul, gradient=back.matmul, heavy=True, ignores=("grad_a", "grad_b"))
def matmul(xp: Any, a: Any, b: Any, *, transpose_a: bool, transpose_b: bool) -> Any:
    """The product of two matrices, each transposed first if asked."""
    _matrices(xp, a, b)
    x = turned(xp, a, conjugate=False) if transpose_a else a
    y = turned(xp, b, conjugate=False) if transpose_b else b
    check_product(xp, x, y)
    return xp.matmul(x, y)


@matmul.onnx
def _(xp: Any, a: Any, b: Any, *, transpose_a: bool, transpose_b: bool) -> Any:
    moves = (transpose_a and a.const is None) or (transpose_b and b.const is None)
    if not moves or a.dtype not in (dtypes.float32, dtypes.float64, dtypes.float16) or a.ndim != 2 or b.ndim != 2:
        return matmul.body(xp, a, b, transpose_a=transpose_a, transpose_b=transpose_b)
    m, k = a.dims[::-1] if transpose_a else a.dims
    l, n = b.dims[::-1] if transpose_b else b.dims
    if known(k, l) and k != l:
        raise refuse("matrices do not fit: columns of the first, rows of the second", expected=k, found=l)
    return xp.typed("Gemm", [a, b], dims=(m, n), transA=transpose_a, transB=transpose_b)


@op(
    "SparseMatMul",
    shape=inference_math.mat_mul,
    gradient=back.sparse_matmul,
    heavy=True,
    ignores=("a_is_sparse", "b_is_sparse"),
)
def sparse_matmul(xp: Any, a: Any, b: Any, *, transpose_a: bool, transpose_b: bool) -> Any:
    """The float32 product of two matrices, float32 or bfloat16, that are expected to hold many zeros."""
    a, b = xp.cast(a, dtypes.float32), xp.cast(b, dtypes.float32)
    return matmul.body(xp, a, b, transpose_a=transpose_a, transpose_b=transpose_b)


@op(
    "BatchMatMulV2",
    shape=inference_math.batch_mat_mul_v2,
    gradient=back.batch_matmul_v2,
    heavy=True,
    ignores=("grad_x", "grad_y"),
)
def batch_matmul(xp: Any, x: Any, y: Any, *, adj_x: bool, adj_y: bool) -> Any:
    """The products of two batches of matrices that broadcast, each matrix conjugate-transposed first if asked."""
    for name, v in (("x", x), ("y", y)):
        if xp.rank(v) < 2:
            raise refuse(f"`{name}` is not a batch of matrices", expected="rank 2 or more", found=xp.rank(v))
    left, right = turned(xp, x) if adj_x else x, turned(xp, y) if adj_y else y
    check_product(xp, left, right)
    return xp.matmul(left, right)


@op(
    "BatchMatMul",
    shape=inference_math.batch_mat_mul,
    gradient=back.batch_matmul,
    lenient="batches that only broadcast, where sizes are open when compiling",
    heavy=True,
    ignores=("grad_x", "grad_y"),
)
def batch_matmul_equal(xp: Any, x: Any, y: Any, *, adj_x: bool, adj_y: bool) -> Any:
    """The products of two batches of matrices of one batch shape."""
    if xp.rank(x) != xp.rank(y):
        raise refuse("the batches differ in rank", expected=xp.rank(x), found=xp.rank(y))
    for i in range(xp.rank(x) - 2):
        p, q = xp.dim(x, i), xp.dim(y, i)
        if known(p, q) and p != q:
            raise refuse(f"batch dimension {i} differs", expected=p, found=q)
    return batch_matmul.body(xp, x, y, adj_x=adj_x, adj_y=adj_y)


@op(
    "BatchMatMulV3",
    shape=inference_math.batch_mat_mul_v2,
    gradient=back.batch_matmul_v2,
    heavy=True,
    ignores=("grad_x", "grad_y"),
)
def batch_matmul_typed(xp: Any, x: Any, y: Any, *, adj_x: bool, adj_y: bool, Tout: DType) -> Any:
    """BatchMatMulV2 of operands that may differ in dtype, with sums in the dtype of the result."""
    return batch_matmul.body(xp, xp.cast(x, Tout), xp.cast(y, Tout), adj_x=adj_x, adj_y=adj_y)
