"""Crossed features: every combination of the features that a row has in several columns, as strings or as hashes.

A column is sparse (coordinates, values and shape) or dense ([rows, features]); the last column changes fastest. Hashes
are chained as fingerprints are: see ``tensorflow/core/kernels/sparse_cross_op.cc``.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from coldframe.dtypes import DType, int64, string
from coldframe.ops.hashing import fingerprint64, fingerprints64, siphashes64
from coldframe.ops.table import alias, op
from coldframe.primitives.base import refuse
from coldframe.primitives.numpy_shape import dims

Array = npt.NDArray[Any]
Words = npt.NDArray[np.uint64]
_HOST = "how many combinations a row has is in the data"
_MUL: Final = 0xC6A4A7935BD1E995
_WORD: Final = np.uint64(_MUL)
_MASK: Final = 0xFFFFFFFFFFFFFFFF
_MOST: Final = 2**63 - 1
_SEED: Final = 0xDECAFCAFFE
_SALT: Final = np.uint64(0x9E3779B97F4A7800)
_MANY: Final = 16  # rows that are worth numpy's calls


def _shift_mix(v: Any) -> Any:
    return v ^ (v >> 47)


def _chained(first: int, second: int) -> int:
    """Two fingerprints as one."""
    result = first ^ _MUL ^ (_shift_mix(second * _MUL & _MASK) * _MUL & _MASK)
    result = _shift_mix(result * _MUL & _MASK) * _MUL & _MASK
    return int(_shift_mix(result))


def _chained_words(first: Words | np.uint64, second: Words) -> Words:
    """The same of many: uint64 forgets what is above."""
    result = first ^ _WORD ^ (_shift_mix(second * _WORD) * _WORD)
    mixed: Words = _shift_mix(_shift_mix(result * _WORD) * _WORD)
    return mixed


class _Column(NamedTuple):
    """The features of each row, row after row.

    Attributes:
        values: all of them.
        lengths: how many each row has; None where each has one.
    """

    values: Array
    lengths: Array | None

    def lists(self) -> list[list[Any]]:
        """Return the features of each row."""
        if self.lengths is None:
            return [[v] for v in self.values.tolist()]
        values = iter(self.values.tolist())
        return [list(itertools.islice(values, n)) for n in self.lengths.tolist()]


def _columns(indices: list[Array], values: list[Array], shapes: list[Array], dense: list[Array]) -> list[_Column]:
    """Return sparse columns and dense ones, of equally many rows."""
    if not len(indices) == len(values) == len(shapes):
        raise refuse("indices, values and shapes differ in number", found=[len(indices), len(values), len(shapes)])
    if not (indices or dense):
        return []  # no columns have no rows
    sizes = {int(s[0]) if s.shape == (2,) else -1 for s in shapes} | {d.shape[0] if d.ndim == 2 else -1 for d in dense}
    if len(sizes) != 1 or -1 in sizes:
        raise refuse("columns of matrices with equally many rows", found=f"{sorted(sizes)} rows")
    rows = np.arange(sizes.pop(), dtype=np.int64)
    return [_sparse_column(*c, rows) for c in zip(indices, values, strict=True)] + [_dense_column(d) for d in dense]


def _sparse_column(at: Array, held: Array, rows: Array) -> _Column:
    if at.ndim != 2 or at.shape != (len(held), 2):
        raise refuse("one place per value", expected=[len(held), 2], found=list(at.shape))
    row, count = at[:, 0], len(rows)
    if len(held) == count and row.tobytes() == rows.tobytes():  # as in most columns
        return _Column(held, None)
    outside = np.flatnonzero((row < 0) | (row >= count))
    if len(outside):
        raise refuse("a row is out of range", expected=f"0 to {count - 1}", found=int(row[outside[0]]))
    if (row[1:] < row[:-1]).any():
        held = held[np.argsort(row, kind="stable")]
    return _Column(held, np.bincount(row, minlength=count))


def _dense_column(d: Array) -> _Column:
    return _Column(d.ravel(), None if d.shape[1] == 1 else np.full(d.shape[0], d.shape[1]))


def _crossed(columns: list[_Column], join: Callable[[Sequence[Any]], Any]) -> tuple[Array, Array, Array]:
    """Return all combinations as strings."""
    features = zip(*(column.lists() for column in columns), strict=True)
    rows = [[join(c) for c in itertools.product(*row)] for row in features]
    places = [(i, k) for i, row in enumerate(rows) for k in range(len(row))]
    values = np.empty(len(places), object)
    values[:] = [v for row in rows for v in row]
    shape = np.array([len(rows), max(map(len, rows), default=0)], np.int64)
    return np.array(places, np.int64).reshape(-1, 2), values, shape


def _crossed_hashes(
    columns: list[_Column], hashes: Sequence[Words], together: Callable[[Sequence[Words]], Array]
) -> tuple[Array, Array, Array]:
    """Return all combinations, hashed into buckets.

    Args:
        columns: the features.
        hashes: those of each column's features, end to end.
        together: returns the buckets of hashes that are crossed.
    """
    if columns and all(column.lengths is None for column in columns):
        places = np.zeros((len(hashes[0]), 2), np.int64)
        places[:, 0] = np.arange(len(places))
        return places, together(hashes), np.array([len(places), 1], np.int64)
    lengths = [np.ones(len(c.values), np.int64) if c.lengths is None else c.lengths for c in columns]
    dims([int(math.fsum(np.multiply.reduce([n.astype(np.float64) for n in lengths])))] if lengths else [])
    counts = np.multiply.reduce(lengths) if lengths else np.zeros(0, np.int64)
    row = np.repeat(np.arange(len(counts)), counts)
    place = np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts)
    stride, chosen = counts, []
    for length, hashed in zip(lengths, hashes, strict=True):
        stride = stride // np.maximum(length, 1)
        chosen.append(hashed[(np.cumsum(length) - length)[row] + place // stride[row] % length[row]])
    most = np.array([len(counts), counts.max(initial=0)], np.int64)
    return np.stack([row, place], axis=1), together(chosen), most


def _together(hashes: Sequence[Words], *, key: int | None, modulus: int) -> Array:
    """Return the buckets of hashes that are chained, column after column."""
    count = len(hashes[0]) if hashes else 0
    if count < _MANY:
        keys = [] if key is None else [[key] * count]
        rows = zip(*keys, *(h.tolist() for h in hashes), strict=True)
        return np.array([functools.reduce(_chained, row) % modulus for row in rows], np.int64)
    first: Any = hashes[0] if key is None else _chained_words(np.uint64(key), hashes[0])
    buckets: Array = functools.reduce(_chained_words, hashes[1:], first) % np.uint64(modulus)
    return buckets.astype(np.int64)


def _together_formerly(hashes: Sequence[Words], *, modulus: int) -> Array:
    """Return the buckets of hashes, chained as TensorFlow 1 did: in signed arithmetic, but for the sum."""
    chained = np.full(len(hashes[0]) if hashes else 0, _SEED, np.uint64)
    for words in hashes:
        quarter = (chained.view(np.int64) >> 4).view(np.uint64)
        chained = chained ^ (words + _SALT + (chained << np.uint64(10)) + quarter)
    return (chained % np.uint64(modulus)).astype(np.int64)


def _hash(v: Any) -> int:
    return fingerprint64(v) if isinstance(v, bytes) else int(v) & _MASK


def _hashes(values: Array) -> Words:
    return fingerprints64(values.tolist()) if values.dtype == object else values.astype(np.int64).view(np.uint64)


def _text(v: Any) -> bytes:
    return v if isinstance(v, bytes) else str(v).encode()


def _crossed_as_told(
    columns: list[_Column], together: Callable[[Sequence[Words]], Array], hashed_output: bool, out_type: DType
) -> tuple[Array, Array, Array]:
    """Return all combinations, hashed or as strings, as attributes say."""
    wanted = int64 if hashed_output else string
    if out_type is not wanted:
        raise refuse("`out_type`", expected=str(wanted), found=str(out_type))
    if not hashed_output:
        return _crossed(columns, lambda c: b"_X_".join(map(_text, c)))
    return _crossed_hashes(columns, [_hashes(c.values) for c in columns], together)


@op("SparseCross", shape="* -> [n, 2] [n] [2]", host=_HOST)
def sparse_cross(
    xp: Any, indices: list[Array], values: list[Array], shapes: list[Array], dense_inputs: list[Array],
    *, hashed_output: bool, num_buckets: int, hash_key: int, out_type: DType, internal_type: DType,
) -> Any:  # fmt: skip
    """All combinations of the features in a row's columns, joined with ``_X_`` or hashed into buckets."""
    if internal_type is string and any(v.dtype.kind != "O" for v in (*values, *dense_inputs)):
        raise refuse("`internal_type` is string where a column has numbers", expected="columns of strings")
    columns = _columns(indices, values, shapes, dense_inputs)
    together = functools.partial(_together, key=hash_key & _MASK, modulus=num_buckets or _MOST)
    return _crossed_as_told(columns, together, hashed_output, out_type)


SPARSE_FEATURE_CROSS_V2 = alias("SparseFeatureCrossV2", sparse_cross, no_gradient=True)


@op("SparseFeatureCross", shape="* -> [n, 2] [n] [2]", host=_HOST, no_gradient=True)
def sparse_feature_cross(
    xp: Any, indices: list[Array], values: list[Array], shapes: list[Array], dense: list[Array],
    *, hashed_output: bool, num_buckets: int, out_type: DType, internal_type: DType,
) -> Any:  # fmt: skip
    """All combinations of the features in a row's columns, joined with ``_X_`` or hashed as TensorFlow 1 did."""
    together = functools.partial(_together_formerly, modulus=num_buckets or _MOST)
    return _crossed_as_told(_columns(indices, values, shapes, dense), together, hashed_output, out_type)


@op("SparseCrossV2", shape="* -> [n, 2] [n] [2]", host=_HOST)
def sparse_cross_v2(
    xp: Any, indices: list[Array], values: list[Array], shapes: list[Array], dense_inputs: list[Array], sep: Any
) -> Any:
    """All combinations of the features in a row's columns, joined with a separator."""
    between = sep if isinstance(sep, bytes) else np.asarray(sep).item()
    return _crossed(_columns(indices, values, shapes, dense_inputs), lambda c: between.join(map(_text, c)))


def _salted(values: Array, salt: Sequence[int], strong: bool) -> Words:
    """Hash features: of integers, TensorFlow's kernels take the lower four bytes only."""
    texts = [v if isinstance(v, bytes) else (v & _MASK).to_bytes(8, "little")[:4] for v in values.tolist()]
    if strong:
        low, high = (k & _MASK for k in salt)
        return siphashes64(texts, low, high)
    return fingerprints64(texts)


@op("SparseCrossHashed", shape="* -> [n, 2] [n] [2]", host=_HOST)
def sparse_cross_hashed(
    xp: Any, indices: list[Array], values: list[Array], shapes: list[Array], dense_inputs: list[Array],
    num_buckets: Any, strong_hash: Any, salt: Any,
) -> Any:  # fmt: skip
    """All combinations of the features in a row's columns, hashed into buckets, with a key where it is strong."""
    strong, modulus = bool(np.asarray(strong_hash)), int(np.asarray(num_buckets)) or _MOST
    if np.shape(salt) != (2,):
        raise refuse("`salt` is a vector of 2", found=list(np.shape(salt)))
    columns = _columns(indices, values, shapes, dense_inputs)
    hashes = [
        _salted(column.values, salt.tolist(), strong) if strong or k < len(values) else _hashes(column.values)
        for k, column in enumerate(columns)
    ]
    return _crossed_hashes(columns, hashes, functools.partial(_together, key=None, modulus=modulus))


@op("RaggedCross", no_gradient=True, host=_HOST)
def ragged_cross(
    xp: Any, ragged_values: list[Array], ragged_row_splits: list[Array], sparse_indices: list[Array],
    sparse_values: list[Array], sparse_shape: list[Array], dense_inputs: list[Array],
    *, input_order: str, hashed_output: bool, num_buckets: int, hash_key: int, out_values_type: DType,
    out_row_splits_type: DType,
) -> Any:  # fmt: skip
    """All combinations of the features in a row's columns, ragged ones too, as values and row splits."""
    if out_values_type is not (int64 if hashed_output else string):
        raise refuse("`out_values_type`", expected=int64 if hashed_output else string, found=out_values_type)
    flat = [c.lists() for c in _columns(sparse_indices, sparse_values, sparse_shape, dense_inputs)]
    ragged = [
        [v[a:b].tolist() for a, b in zip(s[:-1].tolist(), s[1:].tolist(), strict=True)]
        for v, s in zip(ragged_values, ragged_row_splits, strict=True)
    ]
    kinds = {"R": iter(ragged), "S": iter(flat[: len(sparse_indices)]), "D": iter(flat[len(sparse_indices) :])}
    if sorted(input_order) != sorted("R" * len(ragged) + "S" * len(sparse_indices) + "D" * len(dense_inputs)):
        raise refuse("`input_order` names each input once", found=input_order)
    columns = [next(kinds[k]) for k in input_order]
    if len({len(c) for c in columns}) > 1:
        raise refuse("columns of equally many rows", found=[len(c) for c in columns])
    modulus = num_buckets or _MOST

    def join(c: Sequence[Any]) -> Any:
        if not hashed_output:
            return b"_X_".join(map(_text, c))
        return functools.reduce(_chained, map(_hash, c), hash_key & _MASK) % modulus

    rows = [[join(c) for c in itertools.product(*features)] for features in zip(*columns, strict=True)]
    values = np.empty(sum(map(len, rows)), np.int64 if hashed_output else object)
    values[:] = [v for row in rows for v in row]
    splits = np.cumsum([0, *map(len, rows)])
    return values, splits.astype(out_row_splits_type.numpy)
