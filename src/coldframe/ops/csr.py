"""Sparse matrices in compressed rows: variants that hold one matrix, or a batch of matrices of one shape.

A matrix keeps, as TensorFlow's does, for each row where its entries begin and for each entry its column and value::

    [[1 0 2]        row_ptrs  0 2 3        entries of row i: row_ptrs[i] up to row_ptrs[i + 1]
     [0 0 3]]       columns   0 2 2
                    values    1 2 3

Columns may come in any order within a row, and more than once, when they were given so; products sort them.
A batch flows as one object, like a tensor list. After tensorflow/core/kernels/sparse/sparse_matrix.h.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from coldframe import dtypes
from coldframe.dtypes import DType
from coldframe.ops.backward import csr as back
from coldframe.ops.sparse import check_inside, check_sparse, row_major, starts_of
from coldframe.ops.table import op
from coldframe.primitives.base import refuse
from coldframe.primitives.numpy_shape import dims
from coldframe.records import dataclass

Array = npt.NDArray[Any]
_HOST: Final = "sparse matrices are not arrays"
_MOST: Final = 1 << 28  # rows of a batch; a graph that claims more would only exhaust the memory


@dataclass(frozen=True, slots=True, eq=False)
class CsrMatrix:
    """A sparse matrix, or a batch of them.

    Attributes:
        dtype: of the values.
        shape: of the dense matrix: (rows, columns), or (batch, rows, columns).
        indices: a coordinate per value, as long as the shape; rows in order.
        values: the entries.
    """

    dtype: DType
    shape: tuple[int, ...]
    indices: Array
    values: Array

    @property
    def batch(self) -> int:
        """How many matrices there are."""
        return self.shape[0] if len(self.shape) == 3 else 1

    @property
    def keys(self) -> tuple[Array, Array, Array]:
        """Of each value the number of its matrix, of its row and of its column."""
        at = self.indices.T
        return (at[0], at[1], at[2]) if len(self.shape) == 3 else (np.zeros_like(at[0]), at[0], at[1])

    def zeros_like(self) -> CsrMatrix:
        """Return a matrix of the shape without entries; gradients begin with it."""
        return dataclasses.replace(self, indices=self.indices[:0], values=self.values[:0])

    def conjugate(self) -> CsrMatrix:
        """Return the matrix with each entry's complex conjugate."""
        return dataclasses.replace(self, values=np.conj(self.values))

    def __add__(self, other: Any) -> CsrMatrix:
        """Add up two matrices; gradients do."""
        if not isinstance(other, CsrMatrix) or (self.dtype, self.shape) != (other.dtype, other.shape):
            raise refuse("sparse matrices to add up differ in dtype or shape")
        at, values = np.concatenate([self.indices, other.indices]), np.concatenate([self.values, other.values])
        return _summed(self, self.shape, at, values)


def _summed(like: CsrMatrix, shape: tuple[int, ...], indices: Array, values: Array) -> CsrMatrix:
    """Return the matrix of these entries, in order, those of one place added up."""
    order = row_major(indices)
    indices, values = indices[order], values[order]
    starts = starts_of(indices)
    sums = np.add.reduceat(values, starts, dtype=values.dtype) if len(starts) else values
    return CsrMatrix(like.dtype, shape, indices[starts], sums)


def _matrix(value: Any, dtype: DType | None = None) -> CsrMatrix:
    found = value.item() if isinstance(value, np.ndarray) and value.ndim == 0 else value
    if not isinstance(found, CsrMatrix):
        raise refuse("not a sparse matrix", found=type(found).__name__)
    if dtype is not None and found.dtype != dtype:
        raise refuse("the sparse matrix holds another dtype", expected=found.dtype, found=dtype)
    return found


def _made(indices: Array, values: Array, shape: Array) -> CsrMatrix:
    if len(shape) not in (2, 3):
        raise refuse("the rank of a sparse matrix", expected="2, or 3 for a batch", found=len(shape))
    check_sparse(indices, values, shape, "the sparse matrix")
    check_inside(indices, shape, "the sparse matrix")
    sizes = dims(shape)
    if int(np.prod([float(d) for d in sizes[:-1]])) > _MOST:
        raise refuse("a sparse matrix of that many rows", expected=f"at most {_MOST}", found=list(sizes))
    rows = np.ravel_multi_index(tuple(indices[:, :-1].T), sizes[:-1]) if len(indices) else indices[:, 0]
    if (rows[1:] < rows[:-1]).any():
        raise refuse("the rows of a sparse matrix are out of order", hint="SparseReorder sorts coordinates")
    return CsrMatrix(dtypes.from_numpy(values.dtype), tuple(sizes), indices, values)


# --- there and back ---------------------------------------------------------------------------------------------
@op("DenseToCSRSparseMatrix", gradient=back.dense_to_csr, shape="-> []", host=_HOST)
def dense_to_csr(xp: Any, dense_input: Array, indices: Array) -> Any:
    """The sparse matrix of the elements at `indices` of a dense one, or of a batch."""
    if dense_input.ndim not in (2, 3):
        raise refuse("the rank of a sparse matrix", expected="2, or 3 for a batch", found=dense_input.ndim)
    if indices.ndim != 2 or indices.shape[1] != dense_input.ndim:
        raise refuse("coordinates", expected=f"rows of {dense_input.ndim}", found=list(indices.shape))
    shape = np.array(dense_input.shape, np.int64)
    check_inside(indices, shape, "the sparse matrix")
    return _made(indices, dense_input[tuple(indices.T)], shape)


@op("SparseTensorToCSRSparseMatrix", gradient=back.sparse_to_csr, shape="-> []", host=_HOST)
def sparse_to_csr(xp: Any, indices: Array, values: Array, dense_shape: Array) -> Any:
    """The sparse matrix of a sparse tensor of rank 2, or 3 for a batch."""
    return _made(indices, values, dense_shape)


@op("CSRSparseMatrixToSparseTensor", gradient=back.csr_to_sparse, shape="-> [n, r] [n] [r]", host=_HOST)
def csr_to_sparse(xp: Any, sparse_matrix: Any, *, type: DType) -> Any:
    """A sparse matrix as coordinates, values and shape."""
    found = _matrix(sparse_matrix, type)
    return found.indices, found.values, np.array(found.shape, np.int64)


@op("CSRSparseMatrixToDense", gradient=back.csr_to_dense, host=_HOST)
def csr_to_dense(xp: Any, sparse_input: Any, *, type: DType) -> Any:
    """A sparse matrix as a dense one; of entries at one place the last one counts."""
    found = _matrix(sparse_input, type)
    out: Array = np.zeros(dims(np.array(found.shape)), type.numpy)
    out[tuple(found.indices.T)] = found.values
    return out


@op("CSRSparseMatrixComponents", shape="[] [] -> [?] [?] [?]", host=_HOST)
def csr_components(xp: Any, csr_sparse_matrix: Any, index: Any, *, type: DType) -> Any:
    """Row pointers, columns and values of matrix number `index` of a batch."""
    found = _matrix(csr_sparse_matrix, type)
    at = int(index)
    if not 0 <= at < found.batch:
        raise refuse("`index` of a matrix", expected=f"0 to {found.batch - 1}", found=at)
    which, rows, columns = found.keys
    mine = which == at
    counts = np.bincount(rows[mine], minlength=found.shape[-2])
    pointers = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
    return pointers, columns[mine].astype(np.int32), found.values[mine]


@op("SparseMatrixNNZ", no_gradient=True, host=_HOST)
def sparse_matrix_nnz(xp: Any, sparse_matrix: Any) -> Any:
    """How many entries a sparse matrix has; one number per matrix of a batch."""
    found = _matrix(sparse_matrix)
    counts = np.bincount(found.keys[0], minlength=found.batch).astype(np.int32)
    return counts if len(found.shape) == 3 else counts[0]


# --- linear algebra ---------------------------------------------------------------------------------------------
def _turned(m: CsrMatrix, conjugate: bool) -> CsrMatrix:
    """Return the transpose; the entries of its rows are in order of the old rows."""
    swap = [*range(len(m.shape) - 2), -1, -2]
    at = m.indices[:, swap]
    order = row_major(at)
    values = np.conj(m.values) if conjugate else m.values
    return CsrMatrix(m.dtype, tuple(m.shape[k] for k in swap), at[order], values[order])


@op("SparseMatrixTranspose", gradient=back.transpose, shape="-> []", host=_HOST)
def sparse_matrix_transpose(xp: Any, input: Any, *, conjugate: bool, type: DType) -> Any:
    """The transpose of a sparse matrix, conjugated where asked for."""
    return _turned(_matrix(input, type), conjugate)


def _either(name: str, transpose: bool, adjoint: bool) -> bool:
    if transpose and adjoint:
        raise refuse(f"only one of `transpose_{name}` and `adjoint_{name}` may be true")
    return transpose or adjoint


def _pair(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    if len(a) != len(b):
        raise refuse("the ranks of two matrices to multiply", expected=len(a), found=len(b))
    if a[:-2] != b[:-2]:
        raise refuse("the batch sizes of two matrices to multiply", expected=a[0], found=b[0])
    if a[-1] != b[-2]:
        raise refuse("the matrices do not fit", found=f"{list(a)} and {list(b)}")


@op("SparseMatrixMatMul", gradient=back.mat_mul, host=_HOST, heavy=True)
def sparse_matrix_mat_mul(
    xp: Any, a: Any, b: Array, *, transpose_a: bool, transpose_b: bool, adjoint_a: bool, adjoint_b: bool,
    transpose_output: bool, conjugate_output: bool, T: DType,
) -> Any:  # fmt: skip
    """The product of a sparse matrix and a dense one, dense; batches go matrix by matrix."""
    left = _matrix(a, T)
    if b.ndim not in (2, 3):
        raise refuse("the rank of `b`", expected="2 or 3", found=b.ndim)
    left = _turned(left, adjoint_a) if _either("a", transpose_a, adjoint_a) else left
    right = b.swapaxes(-1, -2) if _either("b", transpose_b, adjoint_b) else b
    right = np.conj(right) if adjoint_b else right
    _pair(left.shape, right.shape)
    rank3 = right.reshape((left.batch, *right.shape[-2:]))
    which, rows, columns = left.keys
    out: Array = np.zeros((left.batch * left.shape[-2], right.shape[-1]), right.dtype)
    if len(rows):
        places = which * left.shape[-2] + rows
        starts = starts_of(places[:, None])
        parts = left.values[:, None] * rank3[which, columns]
        out[places[starts]] = np.add.reduceat(parts, starts, axis=0)
    product = out.reshape(*left.shape[:-1], right.shape[-1])
    product = product.swapaxes(-1, -2) if transpose_output else product
    return np.ascontiguousarray(np.conj(product) if conjugate_output else product)


@op("SparseMatrixSparseMatMul", gradient=back.sparse_mat_mul, shape="-> []", host=_HOST)
def sparse_matrix_sparse_mat_mul(
    xp: Any, a: Any, b: Any, *, type: DType, transpose_a: bool, transpose_b: bool, adjoint_a: bool, adjoint_b: bool
) -> Any:
    """The product of two sparse matrices, sparse: an entry wherever products meet, even where they add up to 0."""
    left, right = _matrix(a, type), _matrix(b, type)
    left = _turned(left, adjoint_a) if _either("a", transpose_a, adjoint_a) else left
    right = _turned(right, adjoint_b) if _either("b", transpose_b, adjoint_b) else right
    _pair(left.shape, right.shape)
    which, rows, columns = right.keys
    places = which * right.shape[-2] + rows
    pointers = np.concatenate([[0], np.cumsum(np.bincount(places, minlength=right.batch * right.shape[-2]))])
    l_which, l_rows, l_columns = left.keys
    wanted = l_which * right.shape[-2] + l_columns  # the row of `b` that each entry of `a` meets
    counts = pointers[wanted + 1] - pointers[wanted]
    mine = np.repeat(np.arange(len(wanted)), counts)
    ends = np.cumsum(counts)
    theirs = np.arange(len(mine)) - np.repeat(ends - counts, counts) + pointers[wanted][mine]
    parts = [l_which[mine], l_rows[mine], columns[theirs]]
    at = np.stack(parts[3 - len(left.shape) :], axis=1)
    return _summed(left, (*left.shape[:-1], right.shape[-1]), at, left.values[mine] * right.values[theirs])


def _filled_in(pattern: Array) -> Array:
    """Where the Cholesky factor of a matrix with this pattern has entries: symbolic elimination."""
    lower = np.tril(pattern | pattern.T)
    for k in range(len(lower)):
        below = k + 1 + np.flatnonzero(lower[k + 1 :, k])
        if len(below):  # the entries of a column move on to the column of the first of them
            lower[below, below[0]] = True
    return lower


@op("SparseMatrixSparseCholesky", shape="-> []", host=_HOST)
def sparse_matrix_sparse_cholesky(xp: Any, input: Any, permutation: Array, *, type: DType) -> Any:
    """The lower Cholesky factors of sparse matrices, rows and columns of which were permuted."""
    found = _matrix(input, type)
    n = found.shape[-1]
    if found.shape[-2] != n:
        raise refuse("a matrix to factorize is not square", found=list(found.shape))
    if permutation.shape != (*found.shape[:-2], n):
        raise refuse("`permutation`", expected=[*found.shape[:-2], n], found=list(permutation.shape))
    which, rows, columns = found.keys
    at, values = [np.zeros((0, 3), np.int64)], [found.values[:0]]
    for k, order in enumerate(permutation.reshape(found.batch, n)):
        if not np.array_equal(np.sort(order), np.arange(n)):
            raise refuse(f"permutation {k}", expected=f"each of 0 to {n - 1} once", found=order.tolist())
        mine = which == k
        dense, pattern = np.zeros(dims(np.array([n, n])), type.numpy), np.zeros((n, n), bool)
        np.add.at(dense, (rows[mine], columns[mine]), found.values[mine])
        pattern[rows[mine], columns[mine]] = True
        dense = np.tril(dense)
        turned = dense + np.conj(np.tril(dense, -1)).T
        try:
            factor = np.linalg.cholesky(turned[np.ix_(order, order)])
        except np.linalg.LinAlgError as e:
            raise refuse(f"matrix {k} of the batch is not positive definite") from e
        places = np.argwhere(_filled_in((pattern | pattern.T)[np.ix_(order, order)]) | np.eye(n, dtype=bool))
        at.append(np.insert(places, 0, k, axis=1))
        values.append(factor[tuple(places.T)].astype(type.numpy))
    joined = np.concatenate(at)[:, 3 - len(found.shape) :]
    return CsrMatrix(found.dtype, found.shape, joined, np.concatenate(values))
