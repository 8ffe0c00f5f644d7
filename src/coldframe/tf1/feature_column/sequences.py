"""Columns of sequences: ids or numbers for each step, and the lengths of the sequences."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from coldframe import dtypes
from coldframe.dtypes import DType
from coldframe.records import dataclass
from coldframe.tf1.arithmetic_ops import ceil
from coldframe.tf1.cast_ops import cast
from coldframe.tf1.feature_column.base import (
    CategoricalColumn,
    Features,
    IdWeightPair,
    Made,
    SequenceDense,
    SequenceDenseColumn,
)
from coldframe.tf1.feature_column.categorical import (
    categorical_column_with_hash_bucket,
    categorical_column_with_identity,
    categorical_column_with_vocabulary_file,
    categorical_column_with_vocabulary_list,
)
from coldframe.tf1.feature_column.numeric import checked_shape
from coldframe.tf1.framework.dtype import as_dtype
from coldframe.tf1.framework.graph import name_scope
from coldframe.tf1.framework.shape import TensorShape
from coldframe.tf1.parsing_ops import VarLenFeature
from coldframe.tf1.reduce_ops import reduce_prod, segment_max
from coldframe.tf1.shape_ops import concat, ones_like, reshape, zeros
from coldframe.tf1.shape_ops import shape as shape_of
from coldframe.tf1.sparse_ops import sparse_reshape, sparse_tensor_to_dense


def sequence_lengths(ids: Any, num_elements: int = 1) -> Any:
    """Return how many steps each row of a sparse tensor has, int64; `num_elements` values make a step."""
    with name_scope(None, "sequence_length") as scope:
        rows, steps = ids.indices[:, 0], ids.indices[:, 1]
        steps += ones_like(steps)
        lengths = segment_max(steps, segment_ids=rows)
        lengths = cast(ceil(lengths / num_elements), dtypes.int64)
        # the last rows may be without any value
        left = shape_of(ids)[:1] - shape_of(lengths)[:1]
        return concat([lengths, zeros(left, dtype=lengths.dtype)], axis=0, name=scope)


@dataclass(frozen=True, slots=True)
class SequenceCategoricalColumn(CategoricalColumn):
    """Ids for each step; see `sequence_categorical_column_with_identity` and the like."""

    categorical_column: CategoricalColumn

    @property
    def name(self) -> str:
        return self.categorical_column.name

    @property
    def num_buckets(self) -> int:
        return self.categorical_column.num_buckets

    @property
    def parse_example_spec(self) -> dict[str, Any]:
        return self.categorical_column.parse_example_spec

    def transform(self, features: Features) -> Any:
        return self.categorical_column.transform(features)

    def ids(self, features: Features) -> IdWeightPair:
        """Return ids ``[batch, steps, ids of a step]``."""
        ids, weights = self.categorical_column.ids(features)
        sizes = shape_of(ids)
        target = [sizes[0], sizes[1], reduce_prod(sizes[2:])]
        return IdWeightPair(
            sparse_reshape(ids, target), None if weights is None else sparse_reshape(weights, target)
        )  # fmt: skip


def sequence_categorical_column_with_identity(
    key: str, num_buckets: int, default_value: int | None = None
) -> SequenceCategoricalColumn:
    """Return `categorical_column_with_identity` of sequences."""
    return SequenceCategoricalColumn(categorical_column_with_identity(key, num_buckets, default_value))


def sequence_categorical_column_with_hash_bucket(
    key: str, hash_bucket_size: int, dtype: Any = dtypes.string
) -> SequenceCategoricalColumn:
    """Return `categorical_column_with_hash_bucket` of sequences."""
    return SequenceCategoricalColumn(categorical_column_with_hash_bucket(key, hash_bucket_size, dtype))


def sequence_categorical_column_with_vocabulary_file(
    key: str, vocabulary_file: str, vocabulary_size: int | None = None, num_oov_buckets: int = 0,
    default_value: int | None = None, dtype: Any = dtypes.string,
) -> SequenceCategoricalColumn:  # fmt: skip
    """Return `categorical_column_with_vocabulary_file` of sequences."""
    return SequenceCategoricalColumn(categorical_column_with_vocabulary_file(
        key, vocabulary_file, vocabulary_size, num_oov_buckets, default_value, dtype
    ))  # fmt: skip


def sequence_categorical_column_with_vocabulary_list(
    key: str, vocabulary_list: Sequence[Any], dtype: Any = None, default_value: int = -1, num_oov_buckets: int = 0
) -> SequenceCategoricalColumn:
    """Return `categorical_column_with_vocabulary_list` of sequences."""
    return SequenceCategoricalColumn(categorical_column_with_vocabulary_list(
        key, vocabulary_list, dtype, default_value, num_oov_buckets
    ))  # fmt: skip


@dataclass(frozen=True, slots=True)
class SequenceNumericColumn(SequenceDenseColumn):
    """Numbers for each step; see `sequence_numeric_column`."""

    key: str
    shape: tuple[int, ...]
    default_value: float
    dtype: DType
    normalizer_fn: Callable[[Any], Any] | None

    @property
    def name(self) -> str:
        return self.key

    @property
    def parse_example_spec(self) -> dict[str, Any]:
        return {self.key: VarLenFeature(self.dtype)}

    @property
    def variable_shape(self) -> TensorShape:
        return TensorShape(self.shape)

    def transform(self, features: Features) -> Any:
        given = features.get(self.key)
        return given if self.normalizer_fn is None else self.normalizer_fn(given)

    def sequence(self, features: Features, made: Made) -> SequenceDense:
        values = features.get(self)
        dense = sparse_tensor_to_dense(values, default_value=self.default_value)
        dense = reshape(dense, concat([shape_of(dense)[:1], [-1], list(self.shape)], axis=0))
        per_step = (self.variable_shape.num_elements() or 1) if values.shape.ndims == 2 else 1
        return SequenceDense(dense, sequence_lengths(values, per_step))


def sequence_numeric_column(
    key: str, shape: Any = (1,), default_value: float = 0.0, dtype: Any = dtypes.float32,
    normalizer_fn: Callable[[Any], Any] | None = None,
) -> SequenceNumericColumn:  # fmt: skip
    """Return a column of sequences of numbers.

    Args:
        key: the feature, a sparse one.
        shape: of a step.
        default_value: fills up shorter sequences.
        dtype: of the feature: a real one.
        normalizer_fn: called with the sparse tensor; what it returns is taken instead.
    """
    checked, kind = checked_shape(shape, key), as_dtype(dtype)
    if not (kind.is_integer or kind.is_floating):
        raise ValueError(f"dtype must be convertible to float. dtype: {kind.name}, key: {key}")
    if normalizer_fn is not None and not callable(normalizer_fn):
        raise TypeError(f"normalizer_fn must be a callable. Given: {normalizer_fn}")
    return SequenceNumericColumn(key, checked, default_value, kind, normalizer_fn)


__all__ = [
    "sequence_categorical_column_with_hash_bucket", "sequence_categorical_column_with_identity",
    "sequence_categorical_column_with_vocabulary_file", "sequence_categorical_column_with_vocabulary_list",
    "sequence_numeric_column",
]  # fmt: skip
