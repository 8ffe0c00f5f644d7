"""Columns of several features together: every combination of their values, hashed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from coldframe import dtypes
from coldframe.records import dataclass
from coldframe.tf1.cast_ops import cast
from coldframe.tf1.feature_column.base import CategoricalColumn, Features
from coldframe.tf1.feature_column.categorical import HashedCategoricalColumn
from coldframe.tf1.framework.build import raw
from coldframe.tf1.framework.convert import SparseTensor
from coldframe.tf1.parsing_ops import VarLenFeature

HASH_KEY: Final = 0xDECAFCAFFE
"""What hashes start from, unless a column has a key of its own; TensorFlow's constant."""


@dataclass(frozen=True, slots=True)
class CrossedColumn(CategoricalColumn):
    """Combinations of features; see `crossed_column`."""

    keys: tuple[Any, ...]
    hash_bucket_size: int
    hash_key: int | None

    def _leaves(self) -> Iterator[Any]:
        """Yield the features and columns that are crossed, those of crossed columns among them."""
        for key in self.keys:
            if isinstance(key, CrossedColumn):
                yield from key._leaves()
            else:
                yield key

    @property
    def name(self) -> str:
        return "_X_".join(sorted(key if isinstance(key, str) else key.name for key in self._leaves()))

    @property
    def num_buckets(self) -> int:
        return self.hash_bucket_size

    @property
    def parse_example_spec(self) -> dict[str, Any]:
        spec: dict[str, Any] = {}
        for key in self.keys:
            spec.update({key: VarLenFeature(dtypes.string)} if isinstance(key, str) else key.parse_example_spec)
        return spec

    def transform(self, features: Features) -> Any:
        tensors = []
        for key in self._leaves():
            if isinstance(key, str):
                tensors.append(features.get(key))
                continue
            found = key.ids(features)
            if found.weight_tensor is not None:
                raise ValueError(
                    "crossed_column does not support weight_tensor, but the given column populates weight_tensor. "
                    f"Given column: {key.name}"
                )
            tensors.append(found.id_tensor)
        return sparse_cross_hashed(tensors, self.hash_bucket_size, self.hash_key)


def sparse_cross_hashed(inputs: Sequence[Any], num_buckets: int, hash_key: int | None = None) -> SparseTensor:
    """Return the combinations of the values in each row of several tensors (dense or sparse), as hashes."""
    sparse = [i for i in inputs if isinstance(i, SparseTensor)]
    dense = [i for i in inputs if not isinstance(i, SparseTensor)]
    values = [_words_or_int64(s.values) for s in sparse]
    dense = [_words_or_int64(d) for d in dense]
    words = all(v.dtype is dtypes.string for v in (*values, *dense))
    return SparseTensor(*raw.SparseCross(
        [s.indices for s in sparse], values, [s.dense_shape for s in sparse], dense, hashed_output=True,
        num_buckets=num_buckets, hash_key=hash_key or HASH_KEY, out_type=dtypes.int64,
        internal_type=dtypes.string if words else dtypes.int64,
    ))  # fmt: skip


def _words_or_int64(tensor: Any) -> Any:
    return tensor if tensor.dtype is dtypes.string else cast(tensor, dtypes.int64)


def crossed_column(keys: Sequence[Any], hash_bucket_size: int, hash_key: int | None = None) -> CrossedColumn:
    """Return a column of all combinations of the values of several features, as hashes.

    Args:
        keys: at least two: names of features of strings, or categorical columns that do not hash.
        hash_bucket_size: how many ids there are.
        hash_key: what the hashes start from.

    Raises:
        ValueError: there are fewer than two keys, or one is neither of these.
    """
    if not hash_bucket_size or hash_bucket_size < 1:
        raise ValueError(f"hash_bucket_size must be > 1. hash_bucket_size: {hash_bucket_size}")
    if not keys or len(keys) < 2:
        raise ValueError(f"keys must be a list with length > 1. Given: {keys}")
    for key in keys:
        if not isinstance(key, (str, CategoricalColumn)):
            raise ValueError(  # noqa: TRY004 - TensorFlow's class
                "Unsupported key type. All keys must be either string, or categorical column except "
                f"_HashedCategoricalColumn. Given: {key}"
            )
        if isinstance(key, HashedCategoricalColumn):
            raise ValueError(  # noqa: TRY004 - TensorFlow's class
                "categorical_column_with_hash_bucket is not supported for crossing: hashes of hashes collide more "
                f"often. Given: {key}\nhint: cross the feature by its name, {key.key!r}"
            )
    return CrossedColumn(tuple(keys), hash_bucket_size, hash_key)


__all__ = ["crossed_column"]
