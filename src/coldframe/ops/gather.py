"""Looking up and writing by index: gather, scatter, one-hot, partition and stitch.

TensorFlow's CPU kernels refuse an index out of range, also one below 0, which ONNX would count from the end. So the
verbs ``gather``, ``gather_nd`` and ``scatter_nd`` refuse it in every interpreter: constants are checked when an island
is compiled (and numpy then tells the user), others are made to fail inside ONNX Runtime.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from coldframe.dtypes import float32, int32, int64
from coldframe.ops import inference_index
from coldframe.ops.backward import index as back
from coldframe.ops.shape import axis_of, dtype_of, scalar
from coldframe.ops.table import Op, op, rules
from coldframe.primitives.base import Unlowerable, refuse
from coldframe.primitives.numpy_shape import check_range


# --- gather ---
@op("Gather", gradient=back.gather, shape=inference_index.gather, ignores=("validate_indices",))
def gather(xp: Any, params: Any, indices: Any) -> Any:
    """The rows of params at indices."""
    if not xp.rank(params):
        raise refuse("`params`", expected="at least a vector", found="a scalar")
    return _slices(xp, params, indices, 0)


@op("GatherV2", gradient=back.gather_v2, shape=inference_index.gather_v2, static=("axis",))
def gather_v2(xp: Any, params: Any, indices: Any, axis: Any, *, batch_dims: int) -> Any:
    """The slices of params at indices along an axis, batch by batch where batch_dims says so."""
    n, m = xp.rank(params), xp.rank(indices)
    if not n:
        raise refuse("`params`", expected="at least a vector", found="a scalar")
    at = axis_of(scalar(axis, "axis"), n)
    if not -m <= batch_dims <= m or (b := batch_dims % m if batch_dims < 0 else batch_dims) > at:
        raise refuse("batch_dims", expected=f"at most {min(m, at)}", found=batch_dims)
    if not b:
        return _slices(xp, params, indices, at)
    for i in range(b):
        p, q = xp.dim(params, i), xp.dim(indices, i)
        if isinstance(p, int) and isinstance(q, int) and p != q:
            raise refuse(f"batch dimension {i} of indices", expected=p, found=q)
    # Bring the axis right behind the batch, look up, and bring what was between behind it again.
    moved = xp.transpose(params, [*range(b), at, *range(b, at), *range(at + 1, n)])
    found = xp.gather_nd(moved, xp.expand_dims(indices, [m]), batch_dims=b)
    between = at - b
    order = [*range(b), *range(m, m + between), *range(b, m), *range(m + between, m + n - b - 1)]
    return xp.transpose(found, order)


def _slices(xp: Any, params: Any, indices: Any, at: int) -> Any:
    """Look up along an axis; indices of slices without elements may be any, as in TensorFlow."""
    sizes = [xp.dim(params, i) for i in range(xp.rank(params))]
    rest = [*sizes[:at], *sizes[at + 1 :]]
    if not any(isinstance(d, int) and d == 0 for d in rest):
        return xp.gather(params, indices, at)
    places = [xp.dim(indices, i) for i in range(xp.rank(indices))]
    like = xp.asarray(b"" if xp.dtype(params).kind == "O" else 0, dtype_of(xp, params))
    return xp.full([*sizes[:at], *places, *sizes[at + 1 :]], like)


@op("GatherNd", gradient=back.gather_nd, shape=inference_index.gather_nd)
def gather_nd(xp: Any, params: Any, indices: Any, *, bad_indices_policy: str) -> Any:
    """The slices of params at the coordinates in the last dimension of indices."""
    k = _depth(xp, indices, xp.rank(params), "params")
    if bad_indices_policy != "IGNORE" or not k:
        if k and any(xp.dim(params, j) == 0 for j in range(k) if isinstance(xp.dim(params, j), int)):
            return _nothing(xp, params, indices, k)
        return xp.gather_nd(params, indices)
    ok = _in_range(xp, params, indices, k)
    safe = xp.where(xp.expand_dims(ok, [xp.rank(indices) - 1]), indices, xp.zeros_like(indices))
    found = xp.gather_nd(params, safe)
    mask = xp.expand_dims(ok, [xp.rank(ok) + i for i in range(xp.rank(params) - k)])
    return xp.where(mask, found, xp.zeros_like(found))


def _nothing(xp: Any, params: Any, indices: Any, k: int) -> Any:
    n = xp.dim(xp.reshape(indices, [-1]), 0)
    if isinstance(n, int) and n:
        raise refuse("a lookup in a tensor without elements")
    sizes = [xp.dim(indices, i) for i in range(xp.rank(indices) - 1)]
    like = xp.asarray(b"" if xp.dtype(params).kind == "O" else 0, dtype_of(xp, params))
    return xp.full([*sizes, *(xp.dim(params, i) for i in range(k, xp.rank(params)))], like)


def _depth(xp: Any, indices: Any, rank: int, name: str) -> int:
    """The length of the coordinates in `indices`."""
    if not xp.rank(indices):
        raise refuse("`indices`", expected="at least a vector", found="a scalar")
    k = xp.dim(indices, -1)
    if not isinstance(k, int):
        raise Unlowerable("the length of coordinates is not known when compiling")
    if k > rank:
        raise refuse(f"the length of coordinates into {name}", expected=f"at most {rank}", found=k)
    return k


def _in_range(xp: Any, x: Any, indices: Any, k: int) -> Any:
    """Which coordinates lie in x."""
    sizes = [xp.dim(x, j) for j in range(k)]
    if not all(isinstance(d, int) for d in sizes):
        raise Unlowerable("the shape to index is not known when compiling")
    limit = xp.asarray(np.array(sizes, xp.dtype(indices)), dtype_of(xp, indices))
    low = xp.greater_equal(indices, xp.asarray(0, dtype_of(xp, indices)))
    return xp.all(xp.logical_and(low, xp.less(indices, limit)), (xp.rank(indices) - 1,))


# --- scatter ---
@op("ScatterNd", gradient=back.scatter_nd, shape=inference_index.scatter_nd)
def scatter_nd(xp: Any, indices: Any, updates: Any, shape: Any, *, bad_indices_policy: str) -> Any:
    """Zeros of a shape, with the sum of the updates at each coordinate."""
    if xp.rank(shape) != 1:
        raise refuse("`shape`", expected="a vector", found=f"rank {xp.rank(shape)}")
    kind = dtype_of(xp, updates)
    zeros = xp.full(shape, xp.asarray(b"" if kind.kind == "s" else 0, kind))
    return _scattered(xp, zeros, indices, updates, "add", bad_indices_policy)


def _scattered(xp: Any, x: Any, indices: Any, updates: Any, how: str, policy: str) -> Any:
    k = _depth(xp, indices, xp.rank(x), "the tensor")
    if not xp.rank(updates):
        raise refuse("`updates`", expected="at least a vector", found="a scalar")
    _fits(xp, x, indices, updates, k)
    if policy == "IGNORE":
        keep = np.asarray(_in_range(xp, x, xp.static(indices, "where to scatter"), k))
        where = np.asarray(xp.static(indices))[keep]
        updates = xp.static(updates, "what to scatter")[keep]
        return xp.scatter_nd(x, xp.asarray(where, dtype_of(xp, indices)), xp.asarray(updates, dtype_of(xp, x)), how)
    if any(xp.dim(x, j) == 0 for j in range(xp.rank(x)) if isinstance(xp.dim(x, j), int)):
        sizes = [xp.dim(indices, i) for i in range(xp.rank(indices))]
        if any(d == 0 for d in sizes if isinstance(d, int)):
            return x
        raise refuse("indices and updates for a tensor without elements")
    return xp.scatter_nd(x, indices, updates, how)


def _fits(xp: Any, x: Any, indices: Any, updates: Any, k: int) -> None:
    want = [xp.dim(indices, i) for i in range(xp.rank(indices) - 1)] + [xp.dim(x, i) for i in range(k, xp.rank(x))]
    have = [xp.dim(updates, i) for i in range(xp.rank(updates))]
    differs = any(isinstance(a, int) and isinstance(b, int) and a != b for a, b in zip(want, have, strict=False))
    if len(want) != len(have) or differs:
        raise refuse("shape of the updates", expected=[d if isinstance(d, int) else "?" for d in want], found=have)


def _scatter_op(name: str, how: str, doc: str) -> Op:
    def body(xp: Any, tensor: Any, indices: Any, updates: Any, *, bad_indices_policy: str) -> Any:
        return _scattered(xp, tensor, indices, updates, how, bad_indices_policy)

    body.__doc__ = doc
    return Op(name, body, rules=rules(gradient=back.SCATTERS[name]), shape=inference_index.tensor_scatter)


SCATTERS = [
    _scatter_op("TensorScatterUpdate", "update", "A copy of a tensor with the updates at the coordinates."),
    _scatter_op("TensorScatterAdd", "add", "A tensor plus the updates at the coordinates."),
    _scatter_op("TensorScatterSub", "subtract", "A tensor minus the updates at the coordinates."),
    _scatter_op("TensorScatterMax", "maximum", "The larger of a tensor and the updates at the coordinates."),
    _scatter_op("TensorScatterMin", "minimum", "The smaller of a tensor and the updates at the coordinates."),
    _scatter_op("ScatterNdNonAliasingAdd", "add", "A tensor plus the updates at the coordinates."),
]


# --- rows in place ---
def _inplace(name: str, how: str, doc: str) -> Op:
    def body(xp: Any, x: Any, i: Any, v: Any) -> Any:
        if not xp.rank(x) or xp.rank(i) != 1 or xp.rank(v) != xp.rank(x):
            found = [xp.rank(x), xp.rank(i), xp.rank(v)]
            raise refuse(f"ranks of x, i and v of {name}", expected="rank of x, 1, rank of x", found=found)
        rows = xp.dim(x, 0)
        if not isinstance(rows, int):
            raise Unlowerable("the number of rows is not known when compiling")
        at = xp.expand_dims(i, [1])
        _fits(xp, x, at, v, 1)
        if not rows:
            return x
        return xp.scatter_nd(x, xp.floor_mod(at, xp.asarray(rows, dtype_of(xp, i))), v, how)

    body.__doc__ = doc
    return Op(name, body, shape="x -> x")


INPLACE = [
    _inplace("InplaceUpdate", "update", "X with rows v at positions i, which wrap around."),
    _inplace("InplaceAdd", "add", "X with rows v added at positions i, which wrap around."),
    _inplace("InplaceSub", "subtract", "X with rows v taken off at positions i, which wrap around."),
]


def _same(xp: Any, x: Any) -> Any:
    """X itself."""
    return x


COPIES = [Op("Snapshot", _same, shape="x -> x"), Op("DeepCopy", lambda xp, x: _same(xp, x), shape="x -> x")]


# --- one-hot and where ---
@op("OneHot", no_gradient=True, shape=inference_index.one_hot)
def one_hot(xp: Any, indices: Any, depth: Any, on_value: Any, off_value: Any, *, axis: int) -> Any:
    """A new dimension of depth that is on_value at the index and off_value elsewhere."""
    at = _one_hot_axis(xp, indices, depth, on_value, off_value, axis)
    if int(depth) < 0:
        raise refuse("depth of one-hot", expected="at least 0", found=int(depth))
    return xp.where(xp.one_hot(indices, int(depth), at), on_value, off_value)


@one_hot.onnx
def _(xp: Any, indices: Any, depth: Any, on_value: Any, off_value: Any, *, axis: int) -> Any:
    at = _one_hot_axis(xp, indices, depth, on_value, off_value, axis)
    wide, n = xp.cast(indices, int64), xp.cast(depth, int64)
    size = n.known()[0] if n.known() else None
    if size is not None and size < 0:
        raise Unlowerable("a negative depth")
    if on_value.dtype not in (float32, int64) or size == 0 or not indices.ndim:
        return xp.where(xp.one_hot(wide, n, at), on_value, off_value)
    if indices.dtype.kind != "u":  # ONNX counts negative indices from the end
        wide = xp.where(xp.less(wide, 0), n, wide)
    ends = xp.concat([xp.reshape(off_value, [1]), xp.reshape(on_value, [1])], 0)
    dims = (*indices.dims[:at], size, *indices.dims[at:])
    return xp.node("OneHot", [wide, xp.reshape(n, [1]), ends], dtype=on_value.dtype, dims=dims, axis=at)


def _one_hot_axis(xp: Any, indices: Any, depth: Any, on_value: Any, off_value: Any, axis: int) -> int:
    for name, x in (("depth", depth), ("on_value", on_value), ("off_value", off_value)):
        if xp.rank(x):
            raise refuse(f"`{name}`", expected="a scalar", found=f"rank {xp.rank(x)}")
    if not -1 <= axis <= xp.rank(indices):
        raise refuse("axis of one-hot", expected=f"-1 to {xp.rank(indices)}", found=axis)
    return axis if axis >= 0 else xp.rank(indices)


@op("Where", shape=inference_index.where)
def where(xp: Any, x: Any) -> Any:
    """The coordinates of what is not zero, one row each."""
    if not xp.rank(x):
        raise refuse("coordinates of a scalar", expected="at least a vector")
    return xp.nonzero(x)


# --- partition and stitch ---
@op("DynamicPartition", gradient=back.dynamic_partition, shape=inference_index.dynamic_partition)
def dynamic_partition(xp: Any, data: Any, partitions: Any, *, num_partitions: int) -> list[Any]:
    """The slices of data, sorted into groups by their number in partitions."""
    m = xp.rank(partitions)
    for i in range(m):
        d, p = xp.dim(data, i) if i < xp.rank(data) else None, xp.dim(partitions, i)
        if d is None or (isinstance(d, int) and isinstance(p, int) and d != p):
            raise refuse("shape of data", expected="one that starts with the shape of partitions", found=d)
    ok = xp.logical_and(xp.greater_equal(partitions, _i32(xp, 0)), xp.less(partitions, _i32(xp, num_partitions)))
    flat = xp.reshape(xp.require(partitions, ok, f"a partition beyond 0 to {num_partitions - 1}"), [-1])
    rest = [xp.dim(data, i) for i in range(m, xp.rank(data))]
    rows = xp.reshape(data, [xp.dim(flat, 0), *rest])
    return [
        xp.gather(rows, xp.reshape(xp.nonzero(xp.equal(flat, _i32(xp, i))), [-1]), 0) for i in range(num_partitions)
    ]


def _i32(xp: Any, value: int) -> Any:
    return xp.asarray(value, int32)


def _stitch(name: str) -> Op:
    def body(xp: Any, indices: list[Any], data: list[Any]) -> Any:
        m = [xp.rank(i) for i in indices]
        rest = [xp.dim(data[0], i) for i in range(m[0], xp.rank(data[0]))]
        for k, (i, d) in enumerate(zip(indices, data, strict=True)):
            _prefix(xp, k, i, d, rest)
        at = xp.concat([xp.reshape(i, [-1]) for i in indices], 0)
        rows = [xp.reshape(d, [xp.dim(xp.reshape(i, [-1]), 0), *rest]) for i, d in zip(indices, data, strict=True)]
        size = xp.max(xp.concat([at, xp.asarray(np.array([-1]), int32)], 0), (0,)) + _i32(xp, 1)
        kind = dtype_of(xp, data[0])
        empty = xp.full([_number(xp, size), *rest], xp.asarray(b"" if kind.kind == "s" else 0, kind))
        return xp.scatter_nd(empty, xp.expand_dims(at, [1]), xp.concat(rows, 0), "update")

    body.__doc__ = "One tensor of the slices of several, each placed where indices say; the last one wins."
    return Op(name, body, rules=rules(gradient=back.dynamic_stitch), shape=inference_index.dynamic_stitch)


def _number(xp: Any, x: Any) -> Any:
    """An integer where the interpreter computes with arrays, else the symbolic scalar."""
    return int(x) if isinstance(x, (np.ndarray, np.generic)) else x


def _prefix(xp: Any, k: int, i: Any, d: Any, rest: list[Any]) -> None:
    m = xp.rank(i)
    if xp.rank(d) != m + len(rest):
        raise refuse(f"shape of data {k}", expected="one that starts with the shape of its indices")
    pairs = [(xp.dim(i, j), xp.dim(d, j)) for j in range(m)]
    pairs += [(r, xp.dim(d, m + j)) for j, r in enumerate(rest)]
    if any(isinstance(a, int) and isinstance(b, int) and a != b for a, b in pairs):
        raise refuse(f"shape of data {k}", expected=[a for a, _ in pairs], found=[b for _, b in pairs])


STITCHES = [_stitch("DynamicStitch"), _stitch("ParallelDynamicStitch")]


# --- sparse coordinates ---
def _rises(at: Any) -> Any:
    """Return for each row but the first whether it comes after the one before it."""
    if not at.shape[1]:
        return np.zeros(len(at) - 1, np.bool_)
    first = (at[1:] != at[:-1]).argmax(axis=1)[:, None]
    return np.take_along_axis(at[1:] > at[:-1], first, 1)[:, 0]


@op(
    "SparseToDense",
    gradient=back.sparse_to_dense,
    shape=inference_index.sparse_to_dense,
)
def sparse_to_dense(
    xp: Any, sparse_indices: Any, output_shape: Any, sparse_values: Any, default_value: Any, *, validate_indices: bool
) -> Any:
    """A dense tensor of a default value, with values at coordinates."""
    if np.ndim(sparse_indices) > 2 or np.ndim(output_shape) != 1 or np.ndim(default_value):
        found = [np.ndim(sparse_indices), np.ndim(output_shape), np.ndim(default_value)]
        raise refuse("ranks of indices, shape and default", expected="at most 2, 1, 0", found=found)
    at = np.asarray(sparse_indices)
    at = at.reshape(-1, 1) if at.ndim < 2 else at
    if at.shape[1] != output_shape.size or np.ndim(sparse_values) > 1:
        raise refuse("coordinates and values", expected=f"{output_shape.size} numbers each, a vector of values")
    if np.ndim(sparse_values) and sparse_values.shape[0] != at.shape[0]:
        raise refuse("the number of values", expected=at.shape[0], found=sparse_values.shape[0])
    if validate_indices and len(at) > 1:
        wrong = np.flatnonzero(~_rises(at))
        if len(wrong):
            k = int(wrong[0]) + 1
            raise refuse(f"coordinate {k} is out of order or repeated", found=at[k].tolist())
    dense: npt.NDArray[Any] = xp.full(output_shape, default_value)
    for axis, size in enumerate(dense.shape):
        check_range(at[:, axis], size, axis)
    dense[tuple(at.T)] = np.broadcast_to(sparse_values, (len(at),))  # a second array costs more than all the rest
    return dense


@sparse_to_dense.onnx
def _(
    xp: Any, sparse_indices: Any, output_shape: Any, sparse_values: Any, default_value: Any, *, validate_indices: bool
) -> Any:
    at, rank = sparse_indices, output_shape.dims[0] if output_shape.ndim == 1 else None
    at = xp.reshape(at, [-1, 1]) if at.ndim < 2 else at
    fits = at.ndim == 2 and rank is not None and at.dims[1] == rank and sparse_values.ndim < 2
    if not rank or not fits or default_value.ndim:
        raise Unlowerable("coordinates that numpy may refuse")
    if sparse_values.ndim and not validate_indices:
        raise Unlowerable("coordinates may be there several times")
    at, sizes = xp.cast(at, int64), xp.cast(output_shape, int64)
    xp.promise(xp.logical_and(xp.greater_equal(at, 0), xp.less(at, sizes)))
    number = xp.lift(xp.dim(at, 0), dtype=int64)
    if sparse_values.ndim:
        xp.promise(xp.equal(number, xp.lift(xp.dim(sparse_values, 0), dtype=int64)))
    if validate_indices:
        place = xp.pick(at, 0, 1)
        for k in range(1, rank):
            place = place * xp.pick(sizes, k, 0) + xp.pick(at, k, 1)
        xp.promise(xp.greater(xp.slice_axis(place, 0, 1, None), xp.slice_axis(place, 0, 0, -1)))
    values = xp.broadcast_to(sparse_values, [number])
    return xp.scatter_nd(xp.full(output_shape, default_value), at, values, "update")


@op("UnravelIndex", shape=inference_index.unravel_index, static=("dims",))
def unravel_index(xp: Any, indices: Any, dims: Any) -> Any:
    """The coordinates of flat positions in a tensor of shape dims: one row per dimension."""
    sizes = np.asarray(dims)
    if sizes.ndim != 1 or xp.rank(indices) > 1:
        raise refuse("`indices` and `dims`", expected="at most a vector, and a vector")
    if xp.dim(xp.reshape(indices, [-1]), 0) == 0 or (sizes < 1).any():
        raise refuse("positions in a tensor", expected="some, and dimensions from 1 up", found=sizes.tolist())
    kind = dtype_of(xp, indices)
    ok = xp.less(indices, xp.asarray(int(np.prod(sizes)), kind))
    left, out = xp.require(indices, ok, f"a position beyond a tensor of shape {sizes.tolist()}"), []
    for d in sizes[:0:-1].tolist():
        size = xp.asarray(d, kind)
        rest = xp.trunc_divide(left, size)
        out.append(left - rest * size)
        left = rest
    return xp.stack([left, *out[::-1]], 0)


@op("Cross", gradient=back.cross, shape="x x -> x")
def cross(xp: Any, a: Any, b: Any) -> Any:
    """The cross product of vectors of three in the last dimension."""
    n = xp.rank(a)
    if n != xp.rank(b) or not n:
        raise refuse("shapes of a cross product", expected="one shape, from a vector up")
    for i in range(n):
        p, q = xp.dim(a, i), xp.dim(b, i)
        if isinstance(p, int) and isinstance(q, int) and (p != q or (i == n - 1 and p != 3)):
            raise refuse("shapes of a cross product", expected="one shape that ends with 3", found=[p, q])
    a0, a1, a2 = xp.split(a, [1, 1, 1], n - 1)
    b0, b1, b2 = xp.split(b, [1, 1, 1], n - 1)
    return xp.concat([a1 * b2 - a2 * b1, a2 * b0 - a0 * b2, a0 * b1 - a1 * b0], n - 1)
