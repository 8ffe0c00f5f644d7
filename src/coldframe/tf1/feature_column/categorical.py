"""Columns of ids: given, hashed, or looked up in a vocabulary; and of ids with weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from coldframe import dtypes
from coldframe.dtypes import DType
from coldframe.records import dataclass
from coldframe.tf1.arithmetic_ops import logical_or
from coldframe.tf1.cast_ops import cast
from coldframe.tf1.contrib.lookup.vocabularies import index_table_from_file, index_table_from_tensor
from coldframe.tf1.feature_column.base import (
    CategoricalColumn,
    Features,
    IdWeightPair,
    check_key,
    check_same_kind,
    check_string_or_int,
    sparse_or_dense,
    to_sparse,
)
from coldframe.tf1.framework.convert import SparseTensor
from coldframe.tf1.framework.dtype import as_dtype
from coldframe.tf1.index_ops import where_v2
from coldframe.tf1.parsing_ops import VarLenFeature
from coldframe.tf1.platform import gfile
from coldframe.tf1.shape_ops import fill
from coldframe.tf1.shape_ops import shape as shape_of
from coldframe.tf1.string_ops import as_string, string_to_hash_bucket_fast


# --- ids as they are ------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class IdentityCategoricalColumn(CategoricalColumn):
    """Integers that are ids; see `categorical_column_with_identity`."""

    key: str
    number_buckets: int
    default_value: int | None

    @property
    def name(self) -> str:
        return self.key

    @property
    def num_buckets(self) -> int:
        return self.number_buckets

    @property
    def parse_example_spec(self) -> dict[str, Any]:
        return {self.key: VarLenFeature(dtypes.int64)}

    def transform(self, features: Features) -> Any:
        given = to_sparse(features.get(self.key))
        if not given.dtype.is_integer:
            raise ValueError(f"Invalid input, not integer. key: {self.key} dtype: {given.dtype.name}")
        values = given.values
        if values.dtype is not dtypes.int64:
            values = cast(values, dtypes.int64, name="values")
        if self.default_value is not None:
            values = self._in_range(cast(given.values, dtypes.int64, name="values"))
        return SparseTensor(given.indices, values, given.dense_shape)

    def _in_range(self, values: Any) -> Any:
        above = cast(self.number_buckets, dtypes.int64, name="num_buckets")
        zero = cast(0, dtypes.int64, name="zero")
        outside = logical_or(values < zero, values >= above, name="out_of_range")
        default = cast(self.default_value, dtypes.int64)
        return where_v2(outside, fill(shape_of(values), default, name="default_values"), values)


def categorical_column_with_identity(
    key: str, num_buckets: int, default_value: int | None = None
) -> IdentityCategoricalColumn:
    """Return a column of integers that are ids.

    Args:
        key: the feature.
        num_buckets: ids are from 0 to this, exclusive.
        default_value: the id for integers that are not; None lets the model fail.
    """
    if num_buckets < 1:
        raise ValueError(f"num_buckets {num_buckets} < 1, column_name {key}")
    if default_value is not None and not 0 <= default_value < num_buckets:
        raise ValueError(f"default_value {default_value} not in range [0, {num_buckets}), column_name {key}")
    check_key(key)
    return IdentityCategoricalColumn(key, num_buckets, default_value)


# --- hashes ---------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class HashedCategoricalColumn(CategoricalColumn):
    """Strings or integers by their hash; see `categorical_column_with_hash_bucket`."""

    key: str
    hash_bucket_size: int
    dtype: DType

    @property
    def name(self) -> str:
        return self.key

    @property
    def num_buckets(self) -> int:
        return self.hash_bucket_size

    @property
    def parse_example_spec(self) -> dict[str, Any]:
        return {self.key: VarLenFeature(self.dtype)}

    def transform(self, features: Features) -> Any:
        given = to_sparse(features.get(self.key))
        check_same_kind(self.key, self.dtype, given.dtype)
        words = given.values if self.dtype is dtypes.string else as_string(given.values)
        ids = string_to_hash_bucket_fast(words, self.hash_bucket_size, name="lookup")
        return SparseTensor(given.indices, ids, given.dense_shape)


def categorical_column_with_hash_bucket(
    key: str, hash_bucket_size: int, dtype: Any = dtypes.string
) -> HashedCategoricalColumn:
    """Return a column of strings or integers whose ids are their hashes.

    Args:
        key: the feature.
        hash_bucket_size: how many ids there are.
        dtype: of the feature: string, or an integer.
    """
    if hash_bucket_size is None:
        raise ValueError(f"hash_bucket_size must be set. key: {key}")
    if hash_bucket_size < 1:
        raise ValueError(
            f"hash_bucket_size must be at least 1. hash_bucket_size: {hash_bucket_size}, key: {key}"
        )  # fmt: skip
    kind = as_dtype(dtype)
    check_key(key)
    check_string_or_int(kind, f"column_name: {key}")
    return HashedCategoricalColumn(key, hash_bucket_size, kind)


# --- vocabularies ---------------------------------------------------------------------------------------------------
class _InVocabulary(CategoricalColumn):
    """Base of columns whose ids a table gives."""

    __slots__ = ()

    key: str
    dtype: DType

    @property
    def name(self) -> str:
        return self.key

    @property
    def parse_example_spec(self) -> dict[str, Any]:
        return {self.key: VarLenFeature(self.dtype)}

    def _table(self, dtype: DType) -> Any:
        raise NotImplementedError

    def transform(self, features: Features) -> Any:
        given = to_sparse(features.get(self.key))
        check_same_kind(self.key, self.dtype, given.dtype)
        dtype = self.dtype
        if given.dtype.is_integer:
            dtype = dtypes.int64
            given = SparseTensor(given.indices, cast(given.values, dtypes.int64), given.dense_shape)
        return self._table(dtype).lookup(given)


@dataclass(frozen=True, slots=True)
class VocabularyListCategoricalColumn(_InVocabulary):
    """Words by their places in a list; see `categorical_column_with_vocabulary_list`."""

    key: str
    vocabulary_list: tuple[Any, ...]
    dtype: DType
    default_value: int
    num_oov_buckets: int

    @property
    def num_buckets(self) -> int:
        return len(self.vocabulary_list) + self.num_oov_buckets

    def _table(self, dtype: DType) -> Any:
        return index_table_from_tensor(
            self.vocabulary_list, self.num_oov_buckets, self.default_value, dtype=dtype, name=f"{self.key}_lookup"
        )


def categorical_column_with_vocabulary_list(
    key: str, vocabulary_list: Sequence[Any], dtype: Any = None, default_value: int = -1, num_oov_buckets: int = 0
) -> VocabularyListCategoricalColumn:
    """Return a column of strings or integers whose ids are their places in a list.

    Args:
        key: the feature.
        vocabulary_list: the words, each once.
        dtype: of the feature; that of the list otherwise.
        default_value: the id for other words; -1 leaves them out.
        num_oov_buckets: how many ids there are for other words, by their hash, instead.

    Raises:
        ValueError: the list is empty or has a word twice, the dtypes do not fit, or both kinds of ids for other words
            are asked for.
    """
    if not len(vocabulary_list):
        raise ValueError(f"vocabulary_list {vocabulary_list} must be non-empty, column_name: {key}")
    if len(set(vocabulary_list)) != len(vocabulary_list):
        raise ValueError(f"Duplicate keys in vocabulary_list {vocabulary_list}, column_name: {key}")
    found = as_dtype(np.array(vocabulary_list).dtype)
    _check_others(key, num_oov_buckets, default_value != -1)
    check_string_or_int(found, f"column_name: {key} vocabulary")
    kind = found if dtype is None else as_dtype(dtype)
    if kind.is_integer != found.is_integer:
        raise ValueError(
            f"dtype {kind.name} and vocabulary dtype {found.name} do not match, column_name: {key}"
        )  # fmt: skip
    check_string_or_int(kind, f"column_name: {key}")
    check_key(key)
    return VocabularyListCategoricalColumn(key, tuple(vocabulary_list), kind, default_value, num_oov_buckets or 0)


def _check_others(key: str, num_oov_buckets: int | None, has_default: bool) -> None:
    if num_oov_buckets and has_default:
        raise ValueError(f"Can't specify both num_oov_buckets and default_value in {key}.")
    if num_oov_buckets and num_oov_buckets < 0:
        raise ValueError(f"Invalid num_oov_buckets {num_oov_buckets} in {key}.")


@dataclass(frozen=True, slots=True)
class VocabularyFileCategoricalColumn(_InVocabulary):
    """Words by the lines of a file; see `categorical_column_with_vocabulary_file`."""

    key: str
    vocabulary_file: str
    vocabulary_size: int
    num_oov_buckets: int
    dtype: DType
    default_value: int

    @property
    def num_buckets(self) -> int:
        return self.vocabulary_size + self.num_oov_buckets

    def _table(self, dtype: DType) -> Any:
        return index_table_from_file(
            self.vocabulary_file, self.num_oov_buckets, self.vocabulary_size, self.default_value, key_dtype=dtype,
            name=f"{self.key}_lookup",
        )  # fmt: skip


def categorical_column_with_vocabulary_file(
    key: str, vocabulary_file: str, vocabulary_size: int | None = None, num_oov_buckets: int = 0,
    default_value: int | None = None, dtype: Any = dtypes.string,
) -> VocabularyFileCategoricalColumn:  # fmt: skip
    """Return a column of strings or integers whose ids are the numbers of lines of a file.

    Args:
        key: the feature.
        vocabulary_file: a word a line. It is read when sessions begin, and is exported with the model.
        vocabulary_size: how many of its lines count; None counts them now.
        num_oov_buckets: how many ids there are for other words, by their hash.
        default_value: the id for other words otherwise; None leaves them out.
        dtype: of the feature: string, or an integer.

    Raises:
        ValueError: the file does not exist or is empty, or both kinds of ids for other words are asked for.
    """
    if not vocabulary_file:
        raise ValueError(f"Missing vocabulary_file in {key}.")
    if vocabulary_size is None:
        if not gfile.Exists(vocabulary_file):
            raise ValueError(f"vocabulary_file in {key} does not exist.")
        with gfile.GFile(vocabulary_file, mode="rb") as file:
            vocabulary_size = sum(1 for _ in file)
    if vocabulary_size < 1:
        raise ValueError(f"Invalid vocabulary_size in {key}.")
    _check_others(key, num_oov_buckets, default_value is not None)
    kind = as_dtype(dtype)
    check_string_or_int(kind, f"column_name: {key}")
    check_key(key)
    default = -1 if default_value is None else default_value
    return VocabularyFileCategoricalColumn(key, vocabulary_file, vocabulary_size, num_oov_buckets or 0, kind, default)


# --- weights --------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class WeightedCategoricalColumn(CategoricalColumn):
    """Ids with weights; see `weighted_categorical_column`."""

    categorical_column: CategoricalColumn
    weight_feature_key: str
    dtype: DType

    @property
    def name(self) -> str:
        return f"{self.categorical_column.name}_weighted_by_{self.weight_feature_key}"

    @property
    def num_buckets(self) -> int:
        return self.categorical_column.num_buckets

    @property
    def parse_example_spec(self) -> dict[str, Any]:
        spec = self.categorical_column.parse_example_spec
        key = self.weight_feature_key
        if key in spec:
            raise ValueError(f"Parse config {spec[key]} already exists for {key}.")
        return {**spec, key: VarLenFeature(self.dtype)}

    def transform(self, features: Features) -> Any:
        weights = sparse_or_dense(features.get(self.weight_feature_key))
        if weights.dtype is not self.dtype:
            raise ValueError(f"Bad dtype, expected {self.dtype.name}, but got {weights.dtype.name}.")
        weights = to_sparse(weights, 0.0)
        if not weights.dtype.is_floating:
            values = cast(weights.values, dtypes.float32)
            weights = SparseTensor(weights.indices, values, weights.dense_shape)
        return features.get(self.categorical_column), weights

    def ids(self, features: Features) -> IdWeightPair:
        return IdWeightPair(*features.get(self))


def weighted_categorical_column(
    categorical_column: CategoricalColumn, weight_feature_key: str, dtype: Any = dtypes.float32
) -> WeightedCategoricalColumn:
    """Return a column whose ids have weights.

    Args:
        categorical_column: gives the ids.
        weight_feature_key: the feature of the weights, one for each id; of a dense one, zeros are left out.
        dtype: of that feature: a real one.
    """
    kind = None if dtype is None else as_dtype(dtype)
    if kind is None or not (kind.is_integer or kind.is_floating):
        raise ValueError(f"dtype {dtype} is not convertible to float.")
    return WeightedCategoricalColumn(categorical_column, weight_feature_key, kind)


__all__ = [
    "categorical_column_with_hash_bucket", "categorical_column_with_identity",
    "categorical_column_with_vocabulary_file", "categorical_column_with_vocabulary_list",
    "weighted_categorical_column",
]  # fmt: skip
