"""Crossed features: every combination of the features that a row has in several columns, as strings or as hashes.

A column is sparse (coordinates, values and shape) or dense ([rows, features]); the last column changes fastest. Hashes
are chained as fingerprints are: see ``tensorflow/core/kernels/sparse_cross_op.cc``.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from coldframe.dtypes import DType, int64, string
from coldframe.ops.hashing import Word, fingerprint64, fingerprints64, siphashes64
from coldframe.ops.table import op
from coldframe.primitives.base import refuse
from coldframe.primitives.numpy_shape import dims

Array = npt.NDArray[Any]
_HOST = "how many combinations a row has is in the data"
_MUL: Final = 0xC6A4A7935BD1E995
_MASK: Final = 0xFFFFFFFFFFFFFFFF
_MOST: Final = 2**63 - 1
_MANY: Final = 16  # rows that are worth numpy's calls


def _shift_mix(v: Word) -> Word:
    return v ^ (v >> 47)


def _chained(first: Word, second: Word) -> Word:
    """Two fingerprints as one; or arrays of them."""
    result = first ^ _MUL
    result ^= _shift_mix(second * _MUL & _MASK) * _MUL & _MASK
    result = result * _MUL & _MASK
    result = _shift_mix(result) * _MUL & _MASK
    return _shift_mix(result)


def _columns(
    indices: list[Array], values: list[Array], shapes: list[Array], dense: list[Array]
) -> list[list[list[Any]]]:
    """Return the features of each row of each column."""
    if not len(indices) == len(values) == len(shapes):
        raise refuse("indices, values and shapes differ in number", found=[len(indices), len(values), len(shapes)])
    if not (indices or dense):
        return []  # no columns have no rows
    sizes = {int(s[0]) if s.shape == (2,) else -1 for s in shapes} | {d.shape[0] if d.ndim == 2 else -1 for d in dense}
    if len(sizes) != 1 or -1 in sizes:
        raise refuse("columns of matrices with equally many rows", found=f"{sorted(sizes)} rows")
    count = sizes.pop()
    rows = np.arange(count)
    columns: list[list[list[Any]]] = []
    for at, held in zip(indices, values, strict=True):
        if at.ndim != 2 or at.shape != (len(held), 2):
            raise refuse("one place per value", expected=[len(held), 2], found=list(at.shape))
        if len(held) == count and (at[:, 0] == rows).all():
            columns.append([[v] for v in held.tolist()])
            continue
        made: list[list[Any]] = [[] for _ in range(count)]
        for row, value in zip(at[:, 0].tolist(), held.tolist(), strict=True):
            if not 0 <= row < count:
                raise refuse("a row is out of range", expected=f"0 to {count - 1}", found=row)
            made[row].append(value)
        columns.append(made)
    return columns + [d.tolist() for d in dense]


def _crossed(
    columns: list[list[list[Any]]], join: Callable[[Sequence[Any]], Any], kind: Any
) -> tuple[Array, Array, Array]:
    rows = [[join(c) for c in itertools.product(*features)] for features in zip(*columns, strict=True)]
    places = [(i, k) for i, row in enumerate(rows) for k in range(len(row))]
    values = np.empty(len(places), kind)
    values[:] = [v for row in rows for v in row]
    shape = np.array([len(rows), max(map(len, rows), default=0)], np.int64)
    return np.array(places, np.int64).reshape(-1, 2), values, shape


def _crossed_hashes(
    columns: list[list[list[Any]]], hashes: Sequence[npt.NDArray[np.uint64]], key: int | None, modulus: int
) -> tuple[Array, Array, Array]:
    """Return all combinations, hashed into buckets; `hashes` are those of each column's features, end to end."""
    if columns[0] and all(len(row) == 1 for column in columns for row in column):  # as in most columns
        chained: Any = functools.reduce(_chained, hashes) if key is None else functools.reduce(_chained, hashes, key)
        places = np.zeros((len(chained), 2), np.int64)
        places[:, 0] = np.arange(len(chained))
        return places, _buckets(chained, modulus), np.array([len(chained), 1], np.int64)
    lengths = [np.fromiter(map(len, column), np.int64, len(column)) for column in columns]
    dims([int(math.fsum(np.multiply.reduce([n.astype(np.float64) for n in lengths])))])
    counts = np.multiply.reduce(lengths)
    row = np.repeat(np.arange(len(counts)), counts)
    place = np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts)
    stride, chained = counts, key
    for length, hashed in zip(lengths, hashes, strict=True):
        stride = stride // np.maximum(length, 1)
        at = (np.cumsum(length) - length)[row] + place // stride[row] % length[row]
        chained = hashed[at] if chained is None else _chained(chained, hashed[at])
    most = np.array([len(counts), counts.max(initial=0)], np.int64)
    return np.stack([row, place], axis=1), _buckets(chained, modulus), most


def _buckets(hashed: Any, modulus: int) -> Array:
    return (np.asarray(hashed, np.uint64) % np.uint64(modulus)).astype(np.int64)


def _flat(column: list[list[Any]]) -> list[Any]:
    return list(itertools.chain.from_iterable(column))


def _hash(v: Any) -> int:
    return fingerprint64(v) if isinstance(v, bytes) else int(v) & _MASK


def _hashes(values: list[Any]) -> npt.NDArray[np.uint64]:
    if values and isinstance(values[0], bytes):
        return fingerprints64(values)
    return np.array(values, np.int64).astype(np.uint64)


def _text(v: Any) -> bytes:
    return v if isinstance(v, bytes) else str(v).encode()


@op("SparseCross", shape="* -> [n, 2] [n] [2]", host=_HOST)
def sparse_cross(
    xp: Any, indices: list[Array], values: list[Array], shapes: list[Array], dense_inputs: list[Array],
    *, hashed_output: bool, num_buckets: int, hash_key: int, out_type: DType, internal_type: DType,
) -> Any:  # fmt: skip
    """All combinations of the features in a row's columns, joined with ``_X_`` or hashed into buckets."""
    wanted = int64 if hashed_output else string
    if out_type is not wanted:
        raise refuse("`out_type`", expected=str(wanted), found=str(out_type))
    if internal_type is string and any(v.dtype.kind != "O" for v in (*values, *dense_inputs)):
        raise refuse("`internal_type` is string where a column has numbers", expected="columns of strings")
    columns = _columns(indices, values, shapes, dense_inputs)
    if not hashed_output:
        return _crossed(columns, lambda c: b"_X_".join(map(_text, c)), object)
    modulus, key = num_buckets or _MOST, hash_key & _MASK
    if columns and len(columns[0]) >= _MANY:
        return _crossed_hashes(columns, [_hashes(_flat(column)) for column in columns], key, modulus)

    def join(c: Sequence[int]) -> int:
        return int(functools.reduce(_chained, c, key)) % modulus

    return _crossed([[[_hash(v) for v in row] for row in column] for column in columns], join, np.int64)


@op("SparseCrossV2", shape="* -> [n, 2] [n] [2]", host=_HOST)
def sparse_cross_v2(
    xp: Any, indices: list[Array], values: list[Array], shapes: list[Array], dense_inputs: list[Array], sep: Any
) -> Any:
    """All combinations of the features in a row's columns, joined with a separator."""
    between = sep if isinstance(sep, bytes) else np.asarray(sep).item()
    return _crossed(_columns(indices, values, shapes, dense_inputs), lambda c: between.join(map(_text, c)), object)


def _salted(values: list[Any], salt: Sequence[int], strong: bool) -> npt.NDArray[np.uint64]:
    """Hash features: of integers, TensorFlow's kernels take the lower four bytes only."""
    texts = [v if isinstance(v, bytes) else (int(v) & _MASK).to_bytes(8, "little")[:4] for v in values]
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
    if not columns:
        return _crossed(columns, len, np.int64)
    hashes = [
        _salted(_flat(column), salt.tolist(), strong) if strong or k < len(values) else _hashes(_flat(column))
        for k, column in enumerate(columns)
    ]
    return _crossed_hashes(columns, hashes, None, modulus)


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
    flat = _columns(sparse_indices, sparse_values, sparse_shape, dense_inputs)
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
