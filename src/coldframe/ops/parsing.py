"""Example protos into tensors.

An Example maps keys to lists of float32, int64 or strings; a SequenceExample has such a map (the context) and another
of lists of lists (feature lists). Each key becomes a dense tensor (one length, or a default), a sparse one, or a
ragged one::

    serialized [batch] ── messages ──► a column per key: one list, or None, per example ──► _dense | _sparse | _ragged

A column of feature lists has one list of lists per example. A scalar `serialized` gives tensors without the batch
dimension. TensorFlow's keys are bytes; in the format they are UTF-8.
"""

from __future__ import annotations

import itertools
import operator
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from coldframe import dtypes
from coldframe.dtypes import DType
from coldframe.errors import ColdframeError
from coldframe.formats import messages
from coldframe.ops import inference_text
from coldframe.ops.table import op
from coldframe.primitives.base import refuse
from coldframe.primitives.numpy_shape import dims
from coldframe.shapes import Shape

Array = npt.NDArray[Any]
Column = list[Any]  # per example: a list of values, or None where the example lacks the key
_HOST: Final = "protocol buffers"
_FIELDS: Final = {dtypes.float32: "float_list", dtypes.int64: "int64_list", dtypes.string: "bytes_list"}
_VALUES: Final = {field: operator.attrgetter(f"{field}.value") for field in _FIELDS.values()}


# --- from bytes to columns ---
def _parsed(kind: str, serialized: Array) -> list[Any]:
    if serialized.ndim > 1:
        raise refuse("serialized examples", expected="a scalar or a vector", found=f"shape {list(serialized.shape)}")
    out = []
    for i, data in enumerate(serialized.ravel().tolist()):
        try:
            out.append(messages.parse(kind, data, where=f"at index {i}"))
        except ColdframeError as e:
            raise refuse(f"not a serialized {kind} at index {i}", found=f"{len(data)} bytes") from e
    return out


def _names(names: Array, count: int) -> None:
    if names.size and names.shape != (count,):
        raise refuse("names of examples", expected=f"none or {count}", found=f"shape {list(names.shape)}")


def _keys(keys: Any, count: int, what: str) -> list[str]:
    flat = [k for part in keys for k in np.ravel(part).tolist()] if isinstance(keys, list) else list(np.ravel(keys))
    if len(flat) != count:
        raise refuse(f"the number of {what} keys", expected=count, found=len(flat))
    return [k.decode("utf-8", "surrogateescape") if isinstance(k, bytes) else str(k) for k in flat]


def _values(feature: Any, field: str, key: str, index: int) -> Any:
    """Return the values of a feature in a field, or None where it has none of any kind."""
    kind = feature.WhichOneof("kind")
    if kind is None:
        return None
    if kind != field:
        raise refuse(f"feature `{key}` of example {index} has another data type", expected=field, found=kind)
    return getattr(feature, field).value


def _column(maps: Sequence[Any], key: str, dtype: DType) -> Column:
    """Return the values of a key; a key that is missing counts as a feature of no kind, which maps hand out for it."""
    field = _FIELDS[dtype]
    column: Column = list(map(_VALUES[field], map(operator.itemgetter(key), maps)))
    for i, values in enumerate(column):
        if not values:
            column[i] = _values(maps[i][key], field, key, i)
    return column


def _columns(maps: Sequence[Any], keys: Sequence[str], kinds: Sequence[DType]) -> list[Column]:
    return [_column(maps, key, dtype) for key, dtype in zip(keys, kinds, strict=True)]


def _list_columns(maps: Sequence[Any], keys: Sequence[str], kinds: Sequence[DType]) -> list[Column]:
    """Return columns of feature lists: per example a list of steps; an empty step counts as one without values."""
    out: list[Column] = []
    for key, dtype in zip(keys, kinds, strict=True):
        column: Column = []
        for i, m in enumerate(maps):
            steps = m[key].feature if key in m else None
            column.append(None if steps is None else [_values(f, _FIELDS[dtype], key, i) or () for f in steps])
        out.append(column)
    return out


def _array(values: Any, dtype: DType) -> Array:
    out: Array = np.empty(len(values), dtype.numpy)
    out[:] = values
    return out


def _joined(column: Column, dtype: DType) -> Array:
    return _array(list(itertools.chain.from_iterable(v or () for v in column)), dtype)


def _lengths(column: Column) -> Array:
    return np.array([len(v or ()) for v in column], np.int64)


def _single(column: Column) -> list[Any]:
    """Return the values of a column where each example has one, as most columns do; else nothing."""
    return [v[0] for v in column] if all(v is not None and len(v) == 1 for v in column) else []


def _within(lengths: Array) -> Array:
    """Return 0, 1, ... within each run of the given lengths."""
    starts = np.cumsum(lengths) - lengths
    out: Array = np.arange(lengths.sum(), dtype=np.int64) - np.repeat(starts, lengths)
    return out


# --- from columns to tensors ---
def _sparse(column: Column, dtype: DType, batched: bool) -> tuple[Array, Array, Array]:
    if batched and (single := _single(column)):
        indices = np.zeros((len(single), 2), np.int64)
        indices[:, 0] = np.arange(len(single))
        return indices, _array(single, dtype), np.array([len(single), 1], np.int64)
    lengths = _lengths(column)
    at, most = _within(lengths), int(lengths.max(initial=0))
    if not batched:
        return at[:, None], _joined(column, dtype), np.array([most], np.int64)
    indices = np.stack([np.repeat(np.arange(len(lengths)), lengths), at], axis=1)
    return indices, _joined(column, dtype), np.array([len(lengths), most], np.int64)


def _sparse_lists(column: Column, dtype: DType, batched: bool) -> tuple[Array, Array, Array]:
    steps = _lengths(column)
    flat = [v for lists in column for v in lists or ()]
    lengths = _lengths(flat)
    of_step = np.stack([np.repeat(np.arange(len(steps)), steps), _within(steps)], axis=1)
    indices = np.concatenate([np.repeat(of_step, lengths, axis=0), _within(lengths)[:, None]], axis=1)
    shape = np.array([len(steps), steps.max(initial=0), lengths.max(initial=0)], np.int64)
    return (indices if batched else indices[:, 1:]), _joined(flat, dtype), (shape if batched else shape[1:])


def _splits(lengths: Array, dtype: DType) -> Array:
    out: Array = np.concatenate([[0], np.cumsum(lengths)]).astype(dtype.numpy)
    return out


def _ragged(column: Column, dtype: DType, split: DType, batched: bool) -> tuple[Array, Array]:
    splits: Array = _splits(_lengths(column), split) if batched else np.zeros(0, split.numpy)
    return _joined(column, dtype), splits


def _dense(column: Column, key: str, dtype: DType, shape: Shape, default: Array, batched: bool) -> Array:
    """Return one row per example: of a fixed shape, or as long as the longest where the first dimension is open."""
    if shape.dims is None or None in shape.dims[1:]:
        raise refuse(f"the shape of dense `{key}`", expected="known but for its first dimension", found=shape)
    if shape.dims and shape.dims[0] is None:
        return _padded(column, key, dtype, tuple(d or 0 for d in shape.dims[1:]), default, batched)
    fixed = dims([d or 0 for d in shape])
    size = int(np.prod(fixed))
    dims([len(column), size])
    if default.size and default.shape != fixed:
        raise refuse(f"the default of `{key}`", expected=f"shape {list(fixed)}", found=list(default.shape))
    out = np.empty((len(column), size), dtype.numpy)
    if size == 1 and (single := _single(column)):
        out[:, 0] = single
        return out.reshape(((len(column),) if batched else ()) + fixed)
    for i, values in enumerate(column):
        if values is None:
            if not default.size:
                raise refuse(f"feature `{key}` is required but example {i} lacks it", expected=f"{dtype} values")
            out[i] = default.ravel()
        elif len(values) != size:
            raise refuse(f"feature `{key}` of example {i}", expected=f"{size} values", found=len(values))
        else:
            out[i] = values
    return out.reshape(((len(column),) if batched else ()) + fixed)


def _padded(column: Column, key: str, dtype: DType, inner: tuple[int, ...], default: Array, batched: bool) -> Array:
    stride = int(np.prod(inner))
    if default.size != 1:
        raise refuse(f"the default of `{key}`, whose length varies", expected="one value", found=list(default.shape))
    for i, values in enumerate(column):
        if values is not None and (len(values) % stride if stride else len(values)):
            raise refuse(
                f"feature `{key}` of example {i}", expected=f"a multiple of {stride} values", found=len(values)
            )
    most = max((len(v or ()) for v in column), default=0)
    out = np.full((len(column), most), default.ravel()[0], dtype.numpy)
    for i, values in enumerate(column):
        if values:
            out[i, : len(values)] = values
    rows = most // stride if stride else 0
    return out.reshape(((len(column),) if batched else ()) + (rows, *inner))


def _dense_lists(
    column: Column, key: str, dtype: DType, shape: Shape, optional: bool, batched: bool
) -> tuple[Array, Array]:
    """Return steps of one shape, padded with zeros to the longest list, and how many steps each example has."""
    if not shape.is_static:
        raise refuse(f"the shape of dense feature list `{key}`", expected="a known one", found=shape)
    fixed = dims([d or 0 for d in shape])
    size = int(np.prod(fixed))
    steps = _lengths(column)
    fill = b"" if dtype is dtypes.string else 0
    most = int(steps.max(initial=0))
    out = np.full((*dims([len(column), most]), size), fill, dtype.numpy)
    for i, lists in enumerate(column):
        if lists is None and not optional:
            raise refuse(f"feature list `{key}` is required but example {i} lacks it")
        for t, values in enumerate(lists or ()):
            if len(values) != size:
                raise refuse(
                    f"step {t} of feature list `{key}` of example {i}", expected=f"{size} values", found=len(values)
                )
            out[i, t] = values
    return out.reshape((len(column), most, *fixed) if batched else (most, *fixed)), steps if batched else steps[0]


def _transposed(rows: Sequence[tuple[Array, ...]], width: int) -> tuple[list[Array], ...]:
    return tuple([row[k] for row in rows] for k in range(width))


def _sparse_part(columns: list[Column], kinds: Sequence[DType], batched: bool, make: Any = _sparse) -> Any:
    return _transposed([make(c, d, batched) for c, d in zip(columns, kinds, strict=True)], 3)


def _dense_part(
    maps: Sequence[Any], keys: Sequence[str], kinds: Sequence[DType], shapes: Sequence[Shape], defaults: Sequence[Any],
    batched: bool,
) -> list[Array]:  # fmt: skip
    if not len(shapes) == len(kinds) == len(keys):
        expected = f"one of each for {len(keys)} keys"
        raise refuse("dense shapes and types", expected=expected, found=[len(shapes), len(kinds)])
    return [
        _dense(_column(maps, key, dtype), key, dtype, shape, default, batched)
        for key, dtype, shape, default in zip(keys, kinds, shapes, defaults, strict=True)
    ]


# --- ops ---
@op("ParseExampleV2", shape=inference_text.parse_example_v2, host=_HOST)
def parse_example_v2(
    xp: Any, serialized: Any, names: Any, sparse_keys: Any, dense_keys: Any, ragged_keys: Any, dense_defaults: Any,
    *, Tdense: Any, num_sparse: int, sparse_types: Any, ragged_value_types: Any, ragged_split_types: Any,
    dense_shapes: Any,
) -> Any:  # fmt: skip
    """Features of Example protos as sparse, dense and ragged tensors."""
    if len(sparse_types) != num_sparse:
        raise refuse("sparse types", expected=num_sparse, found=len(sparse_types))
    batched = serialized.ndim > 0
    if batched:
        _names(names, len(serialized))
    maps = [e.features.feature for e in _parsed("Example", serialized)]
    sparse = _columns(maps, _keys(sparse_keys, num_sparse, "sparse"), sparse_types)
    dense = _dense_part(maps, _keys(dense_keys, len(Tdense), "dense"), Tdense, dense_shapes, dense_defaults, batched)
    ragged = _columns(maps, _keys(ragged_keys, len(ragged_value_types), "ragged"), ragged_value_types)
    split = zip(ragged, ragged_value_types, ragged_split_types, strict=True)
    return (
        *_sparse_part(sparse, sparse_types, batched),
        dense,
        *_transposed([_ragged(c, d, s, batched) for c, d, s in split], 2),
    )


@op("ParseExample", shape=inference_text.parse_example, host=_HOST)
def parse_example(
    xp: Any, serialized: Any, names: Any, sparse_keys: Any, dense_keys: Any, dense_defaults: Any,
    *, Nsparse: int, sparse_types: Any, Tdense: Any, dense_shapes: Any,
) -> Any:  # fmt: skip
    """Features of a vector of Example protos as sparse and dense tensors."""
    if serialized.ndim != 1:
        raise refuse("serialized examples", expected="a vector", found=f"shape {list(serialized.shape)}")
    _names(names, len(serialized))
    maps = [e.features.feature for e in _parsed("Example", serialized)]
    sparse = _columns(maps, _keys(sparse_keys, Nsparse, "sparse"), sparse_types)
    dense = _dense_part(maps, _keys(dense_keys, len(Tdense), "dense"), Tdense, dense_shapes, dense_defaults, True)
    return *_sparse_part(sparse, sparse_types, True), dense


@op("ParseSingleExample", shape=inference_text.parse_single_example, host=_HOST)
def parse_single_example(
    xp: Any, serialized: Any, dense_defaults: Any,
    *, num_sparse: int, sparse_keys: Any, dense_keys: Any, sparse_types: Any, Tdense: Any, dense_shapes: Any,
) -> Any:  # fmt: skip
    """Features of one Example proto as sparse and dense tensors."""
    if serialized.ndim:
        raise refuse("a serialized example", expected="a scalar", found=f"shape {list(serialized.shape)}")
    maps = [e.features.feature for e in _parsed("Example", serialized)]
    sparse = _columns(maps, _keys(list(sparse_keys), num_sparse, "sparse"), sparse_types)
    keys = _keys(list(dense_keys), len(Tdense), "dense")
    dense = _dense_part(maps, keys, Tdense, dense_shapes, dense_defaults, False)
    return *_sparse_part(sparse, sparse_types, False), dense


def _dense_list_part(
    maps: Sequence[Any], keys: list[str], kinds: Any, shapes: Any, optional: Sequence[bool], batched: bool
) -> tuple[list[Array], ...]:
    if len(shapes) != len(keys):
        raise refuse("shapes of dense feature lists", expected=len(keys), found=len(shapes))
    columns = _list_columns(maps, keys, kinds)
    rows = [
        _dense_lists(c, key, dtype, shape, missing, batched)
        for c, key, dtype, shape, missing in zip(columns, keys, kinds, shapes, optional, strict=True)
    ]
    return _transposed(rows, 2)


@op("ParseSequenceExample", shape=inference_text.parse_sequence_example, host=_HOST)
def parse_sequence_example(
    xp: Any, serialized: Any, debug_name: Any, context_dense_defaults: Any,
    *, feature_list_dense_missing_assumed_empty: Any, context_sparse_keys: Any, context_dense_keys: Any,
    feature_list_sparse_keys: Any, feature_list_dense_keys: Any, Ncontext_sparse: int, Ncontext_dense: int,
    Nfeature_list_sparse: int, Nfeature_list_dense: int, context_sparse_types: Any, Tcontext_dense: Any,
    feature_list_dense_types: Any, context_dense_shapes: Any, feature_list_sparse_types: Any,
    feature_list_dense_shapes: Any,
) -> Any:  # fmt: skip
    """Context and feature lists of a vector of SequenceExample protos as sparse and dense tensors."""
    if serialized.ndim != 1:
        raise refuse("serialized examples", expected="a vector", found=f"shape {list(serialized.shape)}")
    _names(debug_name, len(serialized))
    found = _parsed("SequenceExample", serialized)
    context, lists = [e.context.feature for e in found], [e.feature_lists.feature_list for e in found]
    keys = _keys(list(context_sparse_keys), Ncontext_sparse, "sparse context")
    sparse = _columns(context, keys, context_sparse_types)
    keys = _keys(list(context_dense_keys), Ncontext_dense, "dense context")
    dense = _dense_part(context, keys, Tcontext_dense, context_dense_shapes, context_dense_defaults, True)
    keys = _keys(list(feature_list_sparse_keys), Nfeature_list_sparse, "sparse feature list")
    sparse_lists = _list_columns(lists, keys, feature_list_sparse_types)
    keys = _keys(list(feature_list_dense_keys), Nfeature_list_dense, "dense feature list")
    optional = [k in feature_list_dense_missing_assumed_empty for k in keys]
    return (
        *_sparse_part(sparse, context_sparse_types, True),
        dense,
        *_sparse_part(sparse_lists, feature_list_sparse_types, True, _sparse_lists),
        *_dense_list_part(lists, keys, feature_list_dense_types, feature_list_dense_shapes, optional, True),
    )


@op("ParseSingleSequenceExample", host=_HOST)
def parse_single_sequence_example(
    xp: Any, serialized: Any, feature_list_dense_missing_assumed_empty: Any, context_sparse_keys: Any,
    context_dense_keys: Any, feature_list_sparse_keys: Any, feature_list_dense_keys: Any, context_dense_defaults: Any,
    debug_name: Any, *, Ncontext_sparse: int, Ncontext_dense: int, Nfeature_list_sparse: int,
    Nfeature_list_dense: int, context_sparse_types: Any, Tcontext_dense: Any, feature_list_dense_types: Any,
    context_dense_shapes: Any, feature_list_sparse_types: Any, feature_list_dense_shapes: Any,
) -> Any:  # fmt: skip
    """Context and feature lists of one SequenceExample proto as sparse and dense tensors."""
    if serialized.ndim:
        raise refuse("a serialized example", expected="a scalar", found=f"shape {list(serialized.shape)}")
    found = _parsed("SequenceExample", serialized)
    context, lists = [e.context.feature for e in found], [e.feature_lists.feature_list for e in found]
    keys = _keys(context_sparse_keys, Ncontext_sparse, "sparse context")
    sparse = _columns(context, keys, context_sparse_types)
    keys = _keys(context_dense_keys, Ncontext_dense, "dense context")
    dense = _dense_part(context, keys, Tcontext_dense, context_dense_shapes, context_dense_defaults, False)
    keys = _keys(feature_list_sparse_keys, Nfeature_list_sparse, "sparse feature list")
    sparse_lists = _list_columns(lists, keys, feature_list_sparse_types)
    keys = _keys(feature_list_dense_keys, Nfeature_list_dense, "dense feature list")
    may_lack = np.ravel(feature_list_dense_missing_assumed_empty)
    optional = [k in _keys(may_lack, may_lack.size, "optional") for k in keys]
    values, _ = _dense_list_part(lists, keys, feature_list_dense_types, feature_list_dense_shapes, optional, False)
    return (
        *_sparse_part(sparse, context_sparse_types, False),
        dense,
        *_sparse_part(sparse_lists, feature_list_sparse_types, False, _sparse_lists),
        values,
    )


@op("ParseSequenceExampleV2", host=_HOST)
def parse_sequence_example_v2(
    xp: Any, serialized: Any, debug_name: Any, context_sparse_keys: Any, context_dense_keys: Any,
    context_ragged_keys: Any, feature_list_sparse_keys: Any, feature_list_dense_keys: Any,
    feature_list_ragged_keys: Any, feature_list_dense_missing_assumed_empty: Any, context_dense_defaults: Any,
    *, Ncontext_sparse: int, Tcontext_dense: Any, context_sparse_types: Any, context_ragged_value_types: Any,
    context_ragged_split_types: Any, context_dense_shapes: Any, Nfeature_list_sparse: int, Nfeature_list_dense: int,
    feature_list_dense_types: Any, feature_list_sparse_types: Any, feature_list_ragged_value_types: Any,
    feature_list_ragged_split_types: Any, feature_list_dense_shapes: Any,
) -> Any:  # fmt: skip
    """Context and feature lists of SequenceExample protos as sparse, dense and ragged tensors."""
    batched = serialized.ndim > 0
    if batched:
        _names(debug_name, len(serialized))
    found = _parsed("SequenceExample", serialized)
    context, lists = [e.context.feature for e in found], [e.feature_lists.feature_list for e in found]
    keys = _keys(context_sparse_keys, Ncontext_sparse, "sparse context")
    sparse = _columns(context, keys, context_sparse_types)
    keys = _keys(context_dense_keys, len(Tcontext_dense), "dense context")
    dense = _dense_part(context, keys, Tcontext_dense, context_dense_shapes, context_dense_defaults, batched)
    keys = _keys(context_ragged_keys, len(context_ragged_value_types), "ragged context")
    ragged = zip(
        _columns(context, keys, context_ragged_value_types), context_ragged_value_types, context_ragged_split_types,
        strict=True,
    )  # fmt: skip
    keys = _keys(feature_list_sparse_keys, Nfeature_list_sparse, "sparse feature list")
    sparse_lists = _list_columns(lists, keys, feature_list_sparse_types)
    keys = _keys(feature_list_ragged_keys, len(feature_list_ragged_value_types), "ragged feature list")
    ragged_lists = zip(
        _list_columns(lists, keys, feature_list_ragged_value_types), feature_list_ragged_value_types,
        feature_list_ragged_split_types, strict=True,
    )  # fmt: skip
    keys = _keys(feature_list_dense_keys, Nfeature_list_dense, "dense feature list")
    optional = np.ravel(feature_list_dense_missing_assumed_empty).tolist()
    if len(optional) != len(keys):
        raise refuse("`feature_list_dense_missing_assumed_empty`", expected=len(keys), found=len(optional))
    return (
        *_sparse_part(sparse, context_sparse_types, batched),
        dense,
        *_transposed([_ragged(c, d, s, batched) for c, d, s in ragged], 2),
        *_sparse_part(sparse_lists, feature_list_sparse_types, batched, _sparse_lists),
        *_dense_list_part(lists, keys, feature_list_dense_types, feature_list_dense_shapes, optional, batched),
        *_transposed([_ragged_lists(c, d, s, batched) for c, d, s in ragged_lists], 3),
    )


def _ragged_lists(column: Column, dtype: DType, split: DType, batched: bool) -> tuple[Array, Array, Array]:
    flat = [v for lists in column for v in lists or ()]
    outer = _splits(_lengths(column), split) if batched else np.zeros(0, split.numpy)
    return _joined(flat, dtype), outer, _splits(_lengths(flat), split)
