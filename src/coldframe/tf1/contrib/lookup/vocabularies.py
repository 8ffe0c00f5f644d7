"""Tables of words and their ids, from lists or files."""

from __future__ import annotations

from typing import Any

from coldframe import dtypes
from coldframe.dtypes import DType
from coldframe.tf1.cast_ops import cast
from coldframe.tf1.framework.build import raw
from coldframe.tf1.framework.convert import convert_to_tensor, is_tensor_like
from coldframe.tf1.framework.dtype import as_dtype
from coldframe.tf1.framework.graph import name_scope
from coldframe.tf1.lookup import (
    FastHashSpec,
    HasherSpec,
    IdTableWithHashBuckets,
    KeyValueTensorInitializer,
    StaticHashTable,
    TextFileIdTableInitializer,
    TextFileIndex,
    TextFileStringTableInitializer,
)
from coldframe.tf1.shape_ops import size as size_of


def _whole_key(dtype: DType) -> DType:
    return dtypes.int64 if dtype.is_integer else dtype


def index_table_from_tensor(
    vocabulary_list: Any = None, num_oov_buckets: int = 0, default_value: int = -1,
    hasher_spec: HasherSpec = FastHashSpec, dtype: Any = dtypes.string, name: str | None = None, mapping: Any = None,
) -> Any:  # fmt: skip
    """Return a table from words to their places in `vocabulary_list`.

    Args:
        num_oov_buckets: how many ids there are for other words, by their hash; 0 gives them `default_value`.
    """
    words = vocabulary_list if mapping is None else mapping
    if words is None:
        raise ValueError("vocabulary_list must be specified.")
    if num_oov_buckets < 0:
        raise ValueError(f"num_oov_buckets must be greater or equal than 0, got {num_oov_buckets}.")
    kind = as_dtype(dtype)
    with name_scope(name, "string_to_index"):
        keys = convert_to_tensor(words)
        if keys.dtype.is_integer != kind.is_integer:
            raise ValueError(
                f"Invalid dtype: Expected {'integer' if kind.is_integer else kind.name}, got {keys.dtype.name}."
            )
        if kind is not dtypes.string and not kind.is_integer:
            raise TypeError("Only integer and string keys are supported.")
        values = raw.Cast(raw.Range(0, size_of(keys), 1, name="range"), DstT=dtypes.int64)
        with name_scope(None, "hash_table"):
            keys = cast(keys, dtypes.int64) if kind.is_integer else keys
            filling = KeyValueTensorInitializer(keys, values, _whole_key(kind), dtypes.int64, name="table_init")
            table: Any = StaticHashTable(filling, default_value)
            if num_oov_buckets:
                table = IdTableWithHashBuckets(table, num_oov_buckets, hasher_spec, key_dtype=kind)
    return table


def index_table_from_file(
    vocabulary_file: Any = None, num_oov_buckets: int = 0, vocab_size: int | None = None, default_value: int = -1,
    hasher_spec: HasherSpec = FastHashSpec, key_dtype: Any = dtypes.string, name: str | None = None,
    key_column_index: int = TextFileIndex.WHOLE_LINE, value_column_index: int = TextFileIndex.LINE_NUMBER,
    delimiter: str = "\t",
) -> Any:  # fmt: skip
    """Return a table from the lines of a file to their numbers; see `index_table_from_tensor`."""
    if vocabulary_file is None or (isinstance(vocabulary_file, str) and not vocabulary_file):
        raise ValueError("vocabulary_file must be specified and must not be empty.")
    if num_oov_buckets < 0:
        raise ValueError(f"num_oov_buckets must be greater or equal than 0, got {num_oov_buckets}.")
    if vocab_size is not None and vocab_size < 1:
        raise ValueError(f"vocab_size must be greater than 0, got {vocab_size}.")
    kind = as_dtype(key_dtype)
    with name_scope(name, "string_to_index"), name_scope(None, "hash_table"):
        filling = TextFileIdTableInitializer(
            vocabulary_file, key_column_index, value_column_index, vocab_size, delimiter, "table_init", _whole_key(kind)
        )
        table: Any = StaticHashTable(filling, default_value)
        if num_oov_buckets:
            table = IdTableWithHashBuckets(table, num_oov_buckets, hasher_spec, key_dtype=kind)
    return table


def index_to_string_table_from_tensor(
    vocabulary_list: Any = None, default_value: str = "UNK", name: str | None = None, mapping: Any = None
) -> Any:
    """Return a table from places in `vocabulary_list` to its words."""
    words = vocabulary_list if mapping is None else mapping
    if words is None:
        raise ValueError("vocabulary_list must be specified.")
    with name_scope(name, "index_to_string"):
        values = convert_to_tensor(words, dtypes.string)
        keys = raw.Cast(raw.Range(0, size_of(values), 1, name="range"), DstT=dtypes.int64)
        filling = KeyValueTensorInitializer(keys, values, dtypes.int64, dtypes.string, name="table_init")
        return StaticHashTable(filling, default_value)


def index_to_string_table_from_file(
    vocabulary_file: Any, vocab_size: int | None = None, default_value: str = "UNK", name: str | None = None,
    key_column_index: int = TextFileIndex.LINE_NUMBER, value_column_index: int = TextFileIndex.WHOLE_LINE,
    delimiter: str = "\t",
) -> Any:  # fmt: skip
    """Return a table from line numbers of a file to its lines."""
    if not is_tensor_like(vocabulary_file) and not vocabulary_file:
        raise ValueError("vocabulary_file must be specified.")
    with name_scope(name, "index_to_string"):
        filling = TextFileStringTableInitializer(
            vocabulary_file, key_column_index, value_column_index, vocab_size, delimiter, "table_init"
        )
        return StaticHashTable(filling, default_value)


def string_to_index(tensor: Any, mapping: Any, default_value: int = -1, name: str | None = None) -> Any:
    """Return the places of strings in `mapping`."""
    return index_table_from_tensor(mapping, default_value=default_value, name=name).lookup(tensor)


def index_to_string(tensor: Any, mapping: Any, default_value: str = "UNK", name: str | None = None) -> Any:
    """Return the strings at places in `mapping`."""
    return index_to_string_table_from_tensor(mapping, default_value, name).lookup(tensor)


__all__ = [
    "index_table_from_file", "index_table_from_tensor", "index_to_string", "index_to_string_table_from_file",
    "index_to_string_table_from_tensor", "string_to_index",
]  # fmt: skip
