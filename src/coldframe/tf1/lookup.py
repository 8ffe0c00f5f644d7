"""`tf.lookup`: tables from keys to values, and what fills them.

A static table is filled by its initializer, which `tables_initializer` runs with the others in the collection
``TABLE_INITIALIZERS``.
"""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, Final

from coldframe import dtypes
from coldframe.dtypes import DType
from coldframe.tf1.cast_ops import cast
from coldframe.tf1.dependencies import group
from coldframe.tf1.framework.build import raw
from coldframe.tf1.framework.convert import SparseTensor, convert_to_tensor, is_tensor_like
from coldframe.tf1.framework.dtype import as_dtype
from coldframe.tf1.framework.graph import colocate_with, device, get_default_graph, name_scope
from coldframe.tf1.framework.keys import GraphKeys
from coldframe.tf1.framework.tensor import Operation
from coldframe.tf1.lazy import MissingSymbol


class TextFileIndex:
    """What of a line is a key or a value, besides columns from 0 on: the whole line, or its number."""

    WHOLE_LINE: Final = -2
    LINE_NUMBER: Final = -1


# --- initializers -----------------------------------------------------------------------------------------------
class KeyValueTensorInitializer:
    """Fills a table with keys and values.

    Args:
        keys, values: vectors of one length.
        key_dtype, value_dtype: where the vectors do not tell.
        name: of the node.
    """

    shared_name = ""

    def __init__(
        self, keys: Any, values: Any, key_dtype: Any = None, value_dtype: Any = None, name: str | None = None
    ) -> None:
        self._keys = convert_to_tensor(keys, key_dtype, name="keys")
        self._values = convert_to_tensor(values, value_dtype, name="values")
        self._name = name or "key_value_init"
        self.key_dtype, self.value_dtype = self._keys.dtype, self._values.dtype

    def initialize(self, table: Any) -> Any:
        """Return the operation that fills a table."""
        _check_dtypes(table, self.key_dtype, self.value_dtype)
        with name_scope(self._name, None, (table.resource_handle, self._keys, self._values)):
            return _noted(raw.LookupTableImportV2(table.resource_handle, self._keys, self._values))


class TextFileInitializer:
    """Fills a table from the lines of a file that the session may read.

    Args:
        filename: a string or a string tensor.
        key_dtype, value_dtype: of the table.
        key_index, value_index: a column from 0 on, or `TextFileIndex`.
        vocab_size: how many lines to take; all for None.
        delimiter: between columns.
        value_index_offset: added to line numbers.
    """

    def __init__(
        self, filename: Any, key_dtype: Any, key_index: int, value_dtype: Any, value_index: int,
        vocab_size: int | None = None, delimiter: str = "\t", name: str | None = None, value_index_offset: int = 0,
    ) -> None:  # fmt: skip
        if not is_tensor_like(filename) and not filename:
            raise ValueError("Filename required")
        self.key_dtype, self.value_dtype = as_dtype(key_dtype), as_dtype(value_dtype)
        for what, index, dtype in (("key", key_index, self.key_dtype), ("value", value_index, self.value_dtype)):
            if index == TextFileIndex.LINE_NUMBER and dtype is not dtypes.int64:
                raise ValueError(f"Signature mismatch. {what.title()}s must be dtype int64, got {dtype.name}.")
            if index == TextFileIndex.WHOLE_LINE and not (dtype.is_integer or dtype is dtypes.string):
                raise ValueError(f"Signature mismatch. {what.title()}s must be integer or string, got {dtype.name}.")
            if index < -2:
                raise ValueError(f"Invalid {what} index {index}.")
        if vocab_size is not None and vocab_size <= 0:
            raise ValueError(f"Invalid vocab_size {vocab_size}.")
        if key_index == value_index and key_index >= 0:
            raise ValueError(f"Invalid key and value indices: both are {key_index}.")
        self._filename, self._key_index, self._value_index = filename, key_index, value_index
        self._vocab_size, self._delimiter, self._name = vocab_size, delimiter, name or "text_file_init"
        self._offset = value_index_offset

    @property
    def shared_name(self) -> str:
        """The table's name in sessions: the same file gives the same table."""
        if is_tensor_like(self._filename):
            return ""
        parts = [self._filename, *([] if self._vocab_size is None else [self._vocab_size])]
        parts += [self._key_index, self._value_index, *([self._offset] if self._offset else [])]
        return "hash_table_" + "_".join(str(p) for p in parts)

    def initialize(self, table: Any) -> Any:
        """Return the operation that fills a table."""
        _check_dtypes(table, self.key_dtype, self.value_dtype)
        with name_scope(self._name, None, (table.resource_handle,)):
            made = raw.InitializeTableFromTextFileV2(
                table.resource_handle, self._file, key_index=self._key_index, value_index=self._value_index,
                vocab_size=-1 if self._vocab_size is None else self._vocab_size, delimiter=self._delimiter,
                offset=self._offset,
            )  # fmt: skip
            return _noted(made)

    def prepare(self) -> None:
        """Make the node that names the file, and note it as an asset."""
        with device("/device:CPU:*"):
            self._file = convert_to_tensor(self._filename, dtypes.string, name="asset_path")
        get_default_graph().add_to_collection(GraphKeys.ASSET_FILEPATHS, self._file)


class TextFileStringTableInitializer(TextFileInitializer):
    """Fills a table from line numbers to the lines of a file."""

    def __init__(
        self, filename: Any, key_column_index: int = TextFileIndex.LINE_NUMBER,
        value_column_index: int = TextFileIndex.WHOLE_LINE, vocab_size: int | None = None, delimiter: str = "\t",
        name: str = "text_file_string_table_init",
    ) -> None:  # fmt: skip
        super().__init__(
            filename, dtypes.int64, key_column_index, dtypes.string, value_column_index, vocab_size, delimiter, name
        )


class TextFileIdTableInitializer(TextFileInitializer):
    """Fills a table from the lines of a file to their numbers."""

    def __init__(
        self, filename: Any, key_column_index: int = TextFileIndex.WHOLE_LINE,
        value_column_index: int = TextFileIndex.LINE_NUMBER, vocab_size: int | None = None, delimiter: str = "\t",
        name: str = "text_file_id_table_init", key_dtype: Any = dtypes.string,
    ) -> None:  # fmt: skip
        super().__init__(
            filename, key_dtype, key_column_index, dtypes.int64, value_column_index, vocab_size, delimiter, name
        )


def _noted(op: Any) -> Any:
    get_default_graph().add_to_collection(GraphKeys.TABLE_INITIALIZERS, op)
    return op


def _check_dtypes(table: Any, key: DType, value: DType) -> None:
    if (table.key_dtype, table.value_dtype) != (key, value):
        raise TypeError(
            f"Invalid key or value dtype for table {table.name}: it has {table.key_dtype.name} and "
            f"{table.value_dtype.name}, its initializer {key.name} and {value.name}."
        )


# --- tables -----------------------------------------------------------------------------------------------------
class LookupInterface:
    """Base of all tables."""

    def __init__(self, key_dtype: Any, value_dtype: Any) -> None:
        self.key_dtype, self.value_dtype = as_dtype(key_dtype), as_dtype(value_dtype)
        self.resource_handle: Any = None

    @property
    def name(self) -> str:
        """The name of its node."""
        return self.resource_handle.op.name.rpartition("/")[2]  # type: ignore[no-any-return]

    def _keys(self, keys: Any) -> tuple[Any, Any]:
        """Return keys as a tensor, and the sparse tensor they come from."""
        values = keys.values if isinstance(keys, SparseTensor) else convert_to_tensor(keys)
        if values.dtype is not self.key_dtype:
            raise TypeError(f"Signature mismatch. Keys must be dtype {self.key_dtype.name}, got {values.dtype.name}.")
        return values, keys if isinstance(keys, SparseTensor) else None


def _like(keys: Any, values: Any) -> Any:
    return values if keys is None else SparseTensor(keys.indices, values, keys.dense_shape)


class StaticHashTable(LookupInterface):
    """A table that its initializer fills once.

    Args:
        initializer: a `KeyValueTensorInitializer` or `TextFileInitializer`.
        default_value: what keys that are not there give.
        name: of the node.
    """

    def __init__(self, initializer: Any, default_value: Any, name: str | None = None, **kwargs: Any) -> None:
        super().__init__(initializer.key_dtype, initializer.value_dtype)
        self._initializer = initializer
        if hasattr(initializer, "prepare"):
            initializer.prepare()
        self._default_value = convert_to_tensor(default_value, self.value_dtype)
        shared = initializer.shared_name or f"hash_table_{uuid.uuid4()}"
        self.resource_handle = raw.HashTableV2(
            shared_name=kwargs.get("shared_name") or shared, key_dtype=self.key_dtype, value_dtype=self.value_dtype,
            name=name or "hash_table",
        )  # fmt: skip
        self._init_op = initializer.initialize(self)

    @property
    def default_value(self) -> Any:
        """What keys that are not there give."""
        return self._default_value

    @property
    def initializer(self) -> Any:
        """The operation that fills it."""
        return self._init_op

    init = initializer

    def size(self, name: str | None = None) -> Any:
        """Return the number of entries."""
        with name_scope(name, f"{self.name}_Size", [self.resource_handle]):
            return raw.LookupTableSizeV2(self.resource_handle)

    def lookup(self, keys: Any, name: str | None = None) -> Any:
        """Return the values of `keys`: a tensor or sparse tensor of the same shape."""
        values, sparse = self._keys(keys)
        with name_scope(name, f"{self.name}_Lookup", [self.resource_handle, values, self._default_value]):
            found = raw.LookupTableFindV2(self.resource_handle, values, self._default_value)
        found.set_shape(values.shape)
        return _like(sparse, found)


HashTable = StaticHashTable


class HasherSpec:
    """How strings are hashed."""

    def __init__(self, hasher: str, key: Any = None) -> None:
        self.hasher, self.key = hasher, key


FastHashSpec = HasherSpec("fasthash")


class StrongHashSpec(HasherSpec):
    """A hash with a secret key of two ints."""

    def __init__(self, key: Any) -> None:
        if len(key) != 2:
            raise ValueError(f"key must have size 2, received {len(key)}")
        super().__init__("stronghash", list(key))


class IdTableWithHashBuckets(LookupInterface):
    """A table from strings or ints to ids, with ids for keys that are not there: by their hash.

    Args:
        table: the table for known keys, or None.
        num_oov_buckets: how many ids there are for other keys.
    """

    def __init__(
        self, table: Any, num_oov_buckets: int, hasher_spec: HasherSpec = FastHashSpec, name: str | None = None,
        key_dtype: Any = None,
    ) -> None:  # fmt: skip
        key = table.key_dtype if key_dtype is None and table is not None else as_dtype(key_dtype or dtypes.string)
        if key is not dtypes.string and not key.is_integer:
            raise TypeError(f"Invalid key_dtype {key.name}, expected integer or string.")
        super().__init__(key, dtypes.int64)
        self._table, self._buckets, self._hasher = table, num_oov_buckets, hasher_spec
        self.resource_handle = None if table is None else table.resource_handle
        self._own_name = name or "string_to_index_hash_table"

    @property
    def name(self) -> str:
        return self._own_name if self._table is None else self._table.name

    @property
    def initializer(self) -> Any:
        """The operation that fills it."""
        return group() if self._table is None else self._table.initializer

    init = initializer

    def size(self, name: str | None = None) -> Any:
        """Return the number of ids."""
        with name_scope(name, f"{self.name}_Size"):
            known = 0 if self._table is None else self._table.size()
            return known + self._buckets

    def lookup(self, keys: Any, name: str | None = None) -> Any:
        """Return the ids of `keys`: a tensor or sparse tensor of the same shape."""
        values = keys.values if isinstance(keys, SparseTensor) else convert_to_tensor(keys)
        if values.dtype is not self.key_dtype:
            raise TypeError(f"Signature mismatch. Keys must be dtype {self.key_dtype.name}, got {values.dtype.name}.")
        if self._table is not None and self._table.key_dtype is not values.dtype:
            values = cast(values, self._table.key_dtype)
        with name_scope(name, f"{self.name}_Lookup"):
            ids = self._ids(values)
        return _like(keys if isinstance(keys, SparseTensor) else None, ids)

    def _ids(self, values: Any) -> Any:
        if self._buckets == 0:
            return self._table.lookup(values)
        text = values if values.dtype is dtypes.string else raw.AsString(values)
        if self._hasher.hasher == "fasthash":
            ids = raw.StringToHashBucketFast(text, num_buckets=self._buckets, name="hash_bucket")
        else:
            ids = raw.StringToHashBucketStrong(
                text, num_buckets=self._buckets, key=self._hasher.key, name="hash_bucket"
            )
        if self._table is None:
            return ids
        found = self._table.lookup(values)
        others = raw.AddV2(ids, self._table.size(), name="Add")
        return raw.SelectV2(raw.NotEqual(found, self._table.default_value), found, others)


class StaticVocabularyTable(IdTableWithHashBuckets):
    """A table from strings or ints to ids, with at least one id for keys that are not there.

    Args:
        initializer: fills the table; None for no known keys.
        num_oov_buckets: how many ids there are for keys that are not there.
        lookup_key_dtype: of the keys, where it is not the initializer's.
    """

    def __init__(
        self, initializer: Any, num_oov_buckets: int, lookup_key_dtype: Any = None, name: str | None = None
    ) -> None:
        if num_oov_buckets <= 0:
            raise ValueError("oov_buckets must be > 0.")
        table = None if initializer is None else StaticHashTable(initializer, -1, name)
        super().__init__(table, num_oov_buckets, name=name or "hash_bucket", key_dtype=lookup_key_dtype)


class MutableHashTable(LookupInterface):
    """A table that programs change.

    Args:
        key_dtype, value_dtype: of keys and values.
        default_value: what keys that are not there give; its shape is that of a value.
        name: of the node, and in checkpoints.
        checkpoint: whether `tf.train.Saver` saves it with the variables.
        shared_name: the table's name in sessions; the node's otherwise.
    """

    def __init__(
        self, key_dtype: Any, value_dtype: Any, default_value: Any, name: str = "MutableHashTable",
        checkpoint: bool = True, shared_name: str | None = None,
    ) -> None:  # fmt: skip
        super().__init__(key_dtype, value_dtype)
        self._default_value = convert_to_tensor(default_value, self.value_dtype)
        self._value_shape = self._default_value.shape
        self._exported: Any = None  # what checkpoints of objects need, once it was made
        self._importing: Any = None
        given = {
            "key_dtype": self.key_dtype, "value_dtype": self.value_dtype, "shared_name": shared_name or "",
            "use_node_name_sharing": checkpoint and shared_name is None,
        }  # fmt: skip
        if self._value_shape.ndims == 0:
            self.resource_handle = raw.MutableHashTableV2(name=name, **given)
        else:
            self.resource_handle = raw.MutableHashTableOfTensorsV2(name=name, value_shape=self._value_shape, **given)
        if checkpoint:
            from coldframe.tf1.train.table_saveables import TableSaveable

            get_default_graph().add_to_collection(GraphKeys.SAVEABLE_OBJECTS, TableSaveable(self, name))

    @classmethod
    def of(cls, op: Operation) -> MutableHashTable:
        """Return the table that an imported operation makes; `lookup` is not there for it, as it has no default."""
        table = cls.__new__(cls)
        attrs: Any = op.node.attrs
        LookupInterface.__init__(table, attrs["key_dtype"], attrs["value_dtype"])
        table.resource_handle, table._exported, table._importing = op.outputs[0], None, None
        return table

    @contextlib.contextmanager
    def _scope(self, name: str | None, what: str, *values: Any) -> Iterator[None]:
        with name_scope(name, f"{self.name}{what}", [self.resource_handle, *values]):
            yield

    def _at_table(self) -> Any:
        return colocate_with(self.resource_handle.op)

    def size(self, name: str | None = None) -> Any:
        """Return the number of entries."""
        with self._scope(name, "_Size"), self._at_table():
            return raw.LookupTableSizeV2(self.resource_handle)

    def lookup(self, keys: Any, name: str | None = None) -> Any:
        """Return the values of `keys`."""
        with self._scope(name, "_lookup_table_find", keys):
            keys = convert_to_tensor(keys, self.key_dtype, name="keys")
            with self._at_table():
                found = raw.LookupTableFindV2(self.resource_handle, keys, self._default_value)
        found.set_shape(keys.shape.concatenate(self._value_shape))
        return found

    def insert(self, keys: Any, values: Any, name: str | None = None) -> Any:
        """Return the operation that sets the values of `keys`."""
        with self._scope(name, "_lookup_table_insert", keys, values):
            keys = convert_to_tensor(keys, self.key_dtype, name="keys")
            values = convert_to_tensor(values, self.value_dtype, name="values")
            with self._at_table():
                return raw.LookupTableInsertV2(self.resource_handle, keys, values)

    def remove(self, keys: Any, name: str | None = None) -> Any:
        """Return the operation that removes `keys`."""
        with self._scope(name, "_lookup_table_remove", keys):
            keys = convert_to_tensor(keys, self.key_dtype)
            return raw.LookupTableRemoveV2(self.resource_handle, keys)

    def export(self, name: str | None = None) -> Any:
        """Return all keys and all values."""
        with self._scope(name, "_lookup_table_export_values"), self._at_table():
            return raw.LookupTableExportV2(self.resource_handle, Tkeys=self.key_dtype, Tvalues=self.value_dtype)


def MutableDenseHashTable(*args: Any, **kwargs: Any) -> Any:
    """Not there: `MutableHashTable` does the same."""
    raise MissingSymbol("coldframe has no MutableDenseHashTable; use MutableHashTable")


def tables_initializer(name: str = "init_all_tables") -> Any:
    """Return an operation that fills all tables of the default graph."""
    return group(*get_default_graph().get_collection(GraphKeys.TABLE_INITIALIZERS), name=name)


initialize_all_tables = tables_initializer
experimental = SimpleNamespace(MutableHashTable=MutableHashTable)

__all__ = [
    "FastHashSpec", "HashTable", "HasherSpec", "IdTableWithHashBuckets", "KeyValueTensorInitializer", "LookupInterface",
    "MutableDenseHashTable", "MutableHashTable", "StaticHashTable", "StaticVocabularyTable", "StrongHashSpec",
    "TextFileIdTableInitializer", "TextFileIndex", "TextFileInitializer", "TextFileStringTableInitializer",
    "experimental", "initialize_all_tables", "tables_initializer",
]  # fmt: skip
