"""Lookup tables: from keys to values, as vocabularies use them.

A table's entries belong to the session, under the name of its handle; those of an anonymous table to its handle. Keys
and scalar values are kept as Python objects, values of a higher rank as arrays. Tables that are initialised
(``HashTable``) are filled once and only read afterwards; mutable ones can be changed at any time.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Mapping
from typing import Any, Final

import numpy as np

from coldframe import dtypes
from coldframe.dtypes import DType
from coldframe.errors import NotInitializedError
from coldframe.ops import inference_state
from coldframe.ops.buckets import Places, laid_out
from coldframe.ops.state import Handle, State
from coldframe.ops.table import Op, alias, op
from coldframe.primitives.base import refuse
from coldframe.records import dataclass
from coldframe.shapes import Shape

_SCALAR: Final = Shape(())
_WHOLE_LINE, _LINE_NUMBER = -2, -1
_TUNING: Final = ("container", "use_node_name_sharing")


@dataclass(frozen=True, slots=True, eq=False)
class TableHandle(Handle):
    """A table; `dtype` and `shape` are those of a value.

    Attributes:
        key_dtype, key_shape: of a key.
        reserved: keys that cannot be used.
        entries: those of an anonymous table.
        places: what a dense table says of its size.
    """

    key_dtype: DType
    key_shape: tuple[int, ...] = ()
    reserved: tuple[Any, ...] = ()
    entries: dict[Any, Any] | None = None
    places: Places | None = None

    @property
    def mutable(self) -> bool:
        """Whether entries can be changed."""
        return self.kind != "table"


# --- making -----------------------------------------------------------------------------------------------------
@op("HashTableV2", shape="-> []", stateful=True, ignores=_TUNING)
def hash_table_v2(xp: Any, state: State, *, key_dtype: DType, value_dtype: DType, shared_name: str) -> Any:
    """A table that is filled once."""
    return TableHandle(shared_name or state.node, "table", value_dtype, _SCALAR, key_dtype)


@op("MutableHashTableV2", shape="-> []", stateful=True, ignores=_TUNING)
def mutable_hash_table_v2(xp: Any, state: State, *, key_dtype: DType, value_dtype: DType, shared_name: str) -> Any:
    """A table of scalars that can be changed."""
    return TableHandle(shared_name or state.node, "mutable table", value_dtype, _SCALAR, key_dtype)


@op("MutableHashTableOfTensorsV2", shape="-> []", stateful=True, ignores=_TUNING)
def mutable_hash_table_of_tensors_v2(
    xp: Any, state: State, *, key_dtype: DType, value_dtype: DType, value_shape: Shape, shared_name: str
) -> Any:
    """A table of tensors of one shape that can be changed."""
    return TableHandle(shared_name or state.node, "mutable table", value_dtype, value_shape, key_dtype)


@op("MutableDenseHashTableV2", shape="-> []", stateful=True, ignores=_TUNING)
def mutable_dense_hash_table_v2(
    xp: Any, state: State, empty_key: Any, deleted_key: Any, *, key_dtype: DType, value_dtype: DType,
    value_shape: Shape, shared_name: str, initial_num_buckets: int, max_load_factor: float,
) -> Any:  # fmt: skip
    """A table that can be changed; two keys, which mark free places where it is exported, cannot be used."""
    table = TableHandle(shared_name or state.node, "mutable table", value_dtype, value_shape, key_dtype)
    return _dense(table, [empty_key, deleted_key], Places(initial_num_buckets, max_load_factor))


@op("MutableDenseHashTable", shape="-> [2]", stateful=True, ignores=_TUNING)
def mutable_dense_hash_table(
    xp: Any, state: State, empty_key: Any, *, key_dtype: DType, value_dtype: DType, value_shape: Shape,
    shared_name: str, initial_num_buckets: int, max_load_factor: float,
) -> Any:  # fmt: skip
    """A table that can be changed; one key, which marks free places where it is exported, cannot be used."""
    table = TableHandle(shared_name or state.node, "mutable table", value_dtype, value_shape, key_dtype)
    return _dense(table, [empty_key], Places(initial_num_buckets, max_load_factor))


def _dense(table: TableHandle, marks: list[Any], places: Places) -> TableHandle:
    key_shape = tuple(np.shape(marks[0]))
    reserved = tuple(k for mark in marks for k in _keys(np.asarray(mark)[None], key_shape))
    if len(set(reserved)) != len(marks) or len(key_shape) > 1:
        raise refuse("the keys that mark free places", expected="different scalars or vectors", found=list(reserved))
    return dataclasses.replace(table, key_shape=key_shape, reserved=reserved, places=places)


@op("AnonymousHashTable", shape="-> []", stateful=True)
def anonymous_hash_table(xp: Any, state: State, *, key_dtype: DType, value_dtype: DType) -> Any:
    """A new table that is filled once, gone with its handle."""
    return TableHandle(state.node, "table", value_dtype, _SCALAR, key_dtype, entries={})


@op("AnonymousMutableHashTable", shape="-> []", stateful=True)
def anonymous_mutable_hash_table(xp: Any, state: State, *, key_dtype: DType, value_dtype: DType) -> Any:
    """A new table of scalars that can be changed, gone with its handle."""
    return TableHandle(state.node, "mutable table", value_dtype, _SCALAR, key_dtype, entries={})


@op("AnonymousMutableHashTableOfTensors", shape="-> []", stateful=True)
def anonymous_mutable_hash_table_of_tensors(
    xp: Any, state: State, *, key_dtype: DType, value_dtype: DType, value_shape: Shape
) -> Any:
    """A new table of tensors of one shape that can be changed, gone with its handle."""
    return TableHandle(state.node, "mutable table", value_dtype, value_shape, key_dtype, entries={})


@op("AnonymousMutableDenseHashTable", shape="-> []", stateful=True)
def anonymous_mutable_dense_hash_table(
    xp: Any, state: State, empty_key: Any, deleted_key: Any, *, key_dtype: DType, value_dtype: DType,
    value_shape: Shape, initial_num_buckets: int, max_load_factor: float,
) -> Any:  # fmt: skip
    """A new table that can be changed, gone with its handle."""
    table = TableHandle(state.node, "mutable table", value_dtype, value_shape, key_dtype, entries={})
    return _dense(table, [empty_key, deleted_key], Places(initial_num_buckets, max_load_factor))


# --- entries ----------------------------------------------------------------------------------------------------
def table_of(handle: Any, key: DType | None = None, value: DType | None = None) -> TableHandle:
    if not isinstance(handle, TableHandle):
        raise refuse("not a lookup table", found=type(handle).__name__)
    wanted = (handle.key_dtype if key is None else key, handle.dtype if value is None else value)
    if wanted != (handle.key_dtype, handle.dtype):
        held = f"{handle.key_dtype} to {handle.dtype}"
        raise refuse(f"table `{handle.name}` has other dtypes", expected=held, found=f"{wanted[0]} to {wanted[1]}")
    return handle


def _entries(state: State, table: TableHandle) -> Mapping[Any, Any]:
    """Return a table's entries to read."""
    found = state.content(table) if table.entries is None else table.entries
    if found is None and not table.mutable:
        raise NotInitializedError(
            f"table `{table.name}` is not initialized", hint="run the graph's table initializer before using it"
        )
    return found or {}


def _changing(state: State, table: TableHandle) -> dict[Any, Any]:
    """Return a table's entries to change."""
    if not table.mutable:
        raise refuse(f"table `{table.name}` cannot be changed once it is initialized")
    return state.resource(table) if table.entries is None else table.entries


def _keys(keys: Any, key_shape: tuple[int, ...]) -> list[Any]:
    """Return keys as Python objects that can be hashed."""
    a = np.asarray(keys)
    if key_shape:
        return [tuple(row) for row in a.reshape(-1, *key_shape).tolist()]
    return a.ravel().tolist()


def _fitting_keys(table: TableHandle, keys: Any) -> list[Any]:
    rank = len(table.key_shape)
    if rank and np.shape(keys)[-rank:] != table.key_shape:
        raise refuse("keys of another shape", expected=f"[..., {table.key_shape[0]}]", found=list(np.shape(keys)))
    return _keys(keys, table.key_shape)


def _checked_keys(table: TableHandle, keys: Any) -> list[Any]:
    found = _fitting_keys(table, keys)
    for key in table.reserved:
        if key in found:
            raise refuse(f"table `{table.name}` cannot have the key that marks free places", found=key)
    return found


def _many(table: TableHandle, keys: Any) -> tuple[int, ...]:
    """Return the shape of `keys` as a tensor of keys."""
    shape = tuple(np.shape(keys))
    return shape[: len(shape) - len(table.key_shape)]


def _values(table: TableHandle, values: Any, count: tuple[int, ...]) -> list[Any]:
    expected = (*count, *(d or 0 for d in table.shape))
    if np.shape(values) != expected:
        raise refuse("as many values as keys", expected=list(expected), found=list(np.shape(values)))
    a = np.asarray(values)
    return a.ravel().tolist() if not table.shape.dims else list(a.reshape((-1, *expected[len(count) :])))


def _array(table: TableHandle, values: list[Any], count: tuple[int, ...]) -> Any:
    shape = tuple(d or 0 for d in table.shape)
    out = np.empty((len(values), *shape), table.dtype.numpy)
    if shape:
        for i, v in enumerate(values):
            out[i] = v
    else:
        out[:] = values
    return out.reshape((*count, *shape))


# --- reading ----------------------------------------------------------------------------------------------------
@op("LookupTableFindV2", no_gradient=True, shape=inference_state.table_find, stateful=True)
def lookup_table_find_v2(
    xp: Any, state: State, table_handle: Any, keys: Any, default_value: Any, *, Tin: DType, Tout: DType
) -> Any:
    """The value of each key, or the default (one for all, or one for each) for keys that are not there."""
    table = table_of(table_handle, Tin, Tout)
    entries, wanted, count = _entries(state, table), _checked_keys(table, keys), _many(table, keys)
    shape = tuple(d or 0 for d in table.shape)
    default = np.asarray(default_value)
    if default.shape == shape:
        other = default if shape else default.item()
        return _array(table, list(map(entries.get, wanted, itertools.repeat(other))), count)
    if default.shape != (*count, *shape):
        raise refuse("a default of another shape", expected=f"{list(shape)} or {[*count, *shape]}", found=default.shape)
    others = _values(table, default, count)
    if not table.mutable:
        others = others[:1] * len(others)  # TensorFlow's kernel looks at the first only
    return _array(table, [entries.get(k, d) for k, d in zip(wanted, others, strict=True)], count)


@op("LookupTableSizeV2", shape="-> []", stateful=True)
def lookup_table_size_v2(xp: Any, state: State, table_handle: Any) -> Any:
    """How many entries the table has."""
    return np.int64(len(_entries(state, table_of(table_handle))))


@op("LookupTableExportV2", shape="-> ? ?", stateful=True)
def lookup_table_export_v2(xp: Any, state: State, table_handle: Any, *, Tkeys: DType, Tvalues: DType) -> Any:
    """All keys and their values, in the order they were added; of a dense table also the free places."""
    table = table_of(table_handle, Tkeys, Tvalues)
    entries = _entries(state, table)
    if table.places is not None:
        return _dense_export(table, entries, table.places.enough(len(entries)))
    keys = np.empty((len(entries), *table.key_shape), table.key_dtype.numpy)
    keys[:] = list(entries) if entries else keys
    return keys, _array(table, list(entries.values()), (len(entries),))


def _dense_export(table: TableHandle, entries: Mapping[Any, Any], count: int) -> tuple[Any, Any]:
    """All places: their keys [count, size of a key], with the first reserved one at those that are free, and values."""
    at = laid_out(entries, count)
    keys = np.empty((count, *(table.key_shape or (1,))), table.key_dtype.numpy)
    values = np.zeros((count, *(d or 0 for d in table.shape)), table.dtype.numpy)
    if table.dtype is dtypes.string:
        values[...] = b""
    keys[:] = table.reserved[0]
    if entries:
        keys[at] = list(entries) if table.key_shape else [[k] for k in entries]
        values[at] = _array(table, list(entries.values()), (len(entries),))
    return keys, values if values.ndim > 1 else values[:, None]


# --- changing ---------------------------------------------------------------------------------------------------
def _insert(entries: dict[Any, Any], table: TableHandle, keys: Any, values: Any) -> None:
    entries.update(zip(_checked_keys(table, keys), _values(table, values, _many(table, keys)), strict=True))


@op("LookupTableInsertV2", stateful=True, effect=True)
def lookup_table_insert_v2(
    xp: Any, state: State, table_handle: Any, keys: Any, values: Any, *, Tin: DType, Tout: DType
) -> None:
    """Give keys values, those that are there new ones."""
    table = table_of(table_handle, Tin, Tout)
    _insert(_changing(state, table), table, keys, values)


@op("LookupTableImportV2", stateful=True, effect=True, role="refill")
def lookup_table_import_v2(
    xp: Any, state: State, table_handle: Any, keys: Any, values: Any, *, Tin: DType, Tout: DType
) -> None:
    """Replace all entries; a static table is filled so, once, by TensorFlow 2's initializers.

    Of a dense table TensorFlow saves the free places as well, with the keys that mark them.
    """
    table = table_of(table_handle, Tin, Tout)
    if not table.mutable:
        initialize_table_v2.body(xp, state, table_handle, keys, values, Tkey=Tin, Tval=Tout)
    else:
        entries = _changing(state, table)
        many = _many(table, keys)
        if table.places is not None and table.shape.dims and len(many) > 1:
            many = many[:1]  # keys of all places are a matrix, see `_dense_export`
        given = zip(_fitting_keys(table, keys), _values(table, values, many), strict=True)
        entries.clear()
        entries.update((k, v) for k, v in given if k not in table.reserved)


@op("LookupTableRemoveV2", stateful=True, effect=True)
def lookup_table_remove_v2(xp: Any, state: State, table_handle: Any, keys: Any, *, Tin: DType) -> None:
    """Remove keys; those that are not there do not matter."""
    table = table_of(table_handle, Tin)
    entries = _changing(state, table)
    for key in _checked_keys(table, keys):
        entries.pop(key, None)


# --- initialising -----------------------------------------------------------------------------------------------
def initialize(state: State, table: TableHandle, pairs: Iterable[tuple[Any, Any]]) -> None:
    """Fill a table. Doing so again is no error as long as there are as many entries, as TensorFlow has it."""
    if table.mutable:
        raise refuse(f"table `{table.name}` is not one that is initialized")
    fresh: dict[Any, Any] = {}
    for key, value in pairs:
        if fresh.setdefault(key, value) != value:
            raise refuse(f"key {key!r} of table `{table.name}` has two values", expected=fresh[key], found=value)
    old = state.content(table) if table.entries is None else table.entries or None
    if old is not None:
        if len(old) != len(fresh):
            raise refuse(f"table `{table.name}` is initialized with other entries", expected=len(old), found=len(fresh))
        return
    (state.resource(table) if table.entries is None else table.entries).update(fresh)


@op("InitializeTableV2", stateful=True, effect=True)
def initialize_table_v2(
    xp: Any, state: State, table_handle: Any, keys: Any, values: Any, *, Tkey: DType, Tval: DType
) -> None:
    """Fill the table with keys and their values."""
    table = table_of(table_handle, Tkey, Tval)
    if np.ndim(keys) != 1 or np.shape(keys) != np.shape(values):
        raise refuse("keys and values", expected="vectors of one length", found=f"{np.shape(keys)}, {np.shape(values)}")
    initialize(state, table, zip(keys.tolist(), values.tolist(), strict=True))


@op("InitializeTableFromTextFileV2", stateful=True, effect=True)
def initialize_table_from_text_file_v2(
    xp: Any, state: State, table_handle: Any, filename: Any, *, key_index: int, value_index: int, vocab_size: int,
    delimiter: str, offset: int,
) -> None:  # fmt: skip
    """Fill the table from the lines of a file that the session allows: columns, whole lines (-2), line numbers (-1)."""
    table = table_of(table_handle)
    name = np.asarray(filename).item()
    separator = delimiter.encode("utf-8", "surrogateescape")
    if len(separator) != 1:
        raise refuse("the delimiter", expected="one byte", found=delimiter)
    lines = _lines(state.read_file(name), vocab_size, name)
    columns = [_Column(key_index, table.key_dtype, "key"), _Column(value_index, table.dtype, "value")]
    most = max(key_index, value_index) + 1
    pairs: list[tuple[Any, ...]] = []
    for number, line in enumerate(lines):
        parts = line.split(separator) if most > 0 else []
        if len(parts) < most:
            raise refuse(f"line {number} of {name!r}", expected=f"{most} columns", found=len(parts))
        pairs.append(tuple(c.of(line, number, parts, offset) for c in columns))
    initialize(state, table, pairs)


def _lines(data: bytes, vocab_size: int, name: bytes) -> list[bytes]:
    lines = data.replace(b"\r", b"").split(b"\n")
    if not lines[-1]:
        lines.pop()
    if vocab_size == -1:
        return lines
    if len(lines) < vocab_size:
        raise refuse(f"the number of lines of {name!r}", expected=vocab_size, found=len(lines))
    return lines[:vocab_size]


@dataclass(frozen=True, slots=True)
class _Column:
    """What of a line is the key, or the value."""

    index: int
    dtype: DType
    role: str

    def __post_init__(self) -> None:
        fits = self.dtype is dtypes.int64 if self.index == _LINE_NUMBER else True
        if self.index == _WHOLE_LINE:
            fits = self.dtype is dtypes.string or self.dtype.is_integer
        if not fits:
            what = "whole line" if self.index == _WHOLE_LINE else "line number"
            raise refuse(f"a table whose {self.role} is the {what} has another dtype", found=self.dtype)

    def of(self, line: bytes, number: int, parts: list[bytes], offset: int) -> Any:
        """Return the key or value that a line gives."""
        if self.index == _LINE_NUMBER:
            return number + offset
        text = line if self.index == _WHOLE_LINE else parts[self.index]
        if self.dtype is dtypes.string:
            return text
        text = text.replace(b"_", b"?")  # Python's numbers may have underscores, files may not
        try:
            return self.dtype.numpy.type(int(text) if self.dtype.is_integer else float(text)).item()
        except (ValueError, OverflowError) as e:
            raise refuse(f"the {self.role} in line {number}", expected=self.dtype, found=repr(text)) from e


def _first_generation() -> list[Op]:
    """The same ops with handles that are references to strings."""
    old = [
        hash_table_v2, mutable_hash_table_v2, mutable_hash_table_of_tensors_v2, lookup_table_find_v2,
        lookup_table_size_v2, lookup_table_export_v2, lookup_table_insert_v2, lookup_table_import_v2,
        initialize_table_v2, initialize_table_from_text_file_v2,
    ]  # fmt: skip
    handles = {"shape": "-> [2]"}
    return [alias(o.name.removesuffix("V2"), o, **(handles if "HashTable" in o.name else {})) for o in old]


FIRST_GENERATION = _first_generation()
