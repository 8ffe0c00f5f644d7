"""Example protos into tensors.

An Example maps keys to lists of float32, int64 or strings; a SequenceExample has such a map (the context) and another
of lists of lists (feature lists). Each key becomes a dense tensor (one length, or a default), a sparse one, or a
ragged one::

    serialized [batch] ──┬─► example_scan ─┬──► a column per key: lengths and values ──► _dense | _sparse | _ragged
                         └─► messages ─────┘

`example_scan` reads what is long and written as usual; protocol buffers' parser reads the rest, or refuses it. A scalar
`serialized` gives tensors without the batch dimension. TensorFlow's keys are bytes; in the format they are UTF-8.
"""

from __future__ import annotations

import functools
import itertools
import math
import operator
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from coldframe import dtypes
from coldframe.dtypes import DType
from coldframe.errors import ColdframeError
from coldframe.formats import messages
from coldframe.ops import example_scan, inference_text
from coldframe.ops.example_scan import Column, ListColumn
from coldframe.ops.table import op
from coldframe.primitives.base import refuse
from coldframe.primitives.numpy_shape import dims
from coldframe.shapes import Shape

Array = npt.NDArray[Any]
Group = tuple[Sequence[str], Sequence[DType]]  # keys, and the dtype of each
_HOST: Final = "protocol buffers"
_FIELDS: Final = {dtypes.float32: "float_list", dtypes.int64: "int64_list", dtypes.string: "bytes_list"}
_LEAST: Final = 1 << 13  # bytes that `example_scan` reads faster than the parser of protocol buffers
_SIZES: Final = 16  # of batches, whose lengths are remembered where each is one
_VALUES: Final = {field: operator.attrgetter(f"{field}.value") for field in _FIELDS.values()}


# --- from bytes to columns ---
def _check_rank(serialized: Array) -> None:
    if serialized.ndim > 1:
        raise refuse("serialized examples", expected="a scalar or a vector", found=f"shape {list(serialized.shape)}")


def _parsed(kind: str, serialized: Array) -> list[Any]:
    strings = serialized.ravel().tolist()
    found = messages.parse_all(kind, strings)
    return _parsed_singly(kind, strings) if found is None else found


def _parsed_singly(kind: str, strings: Sequence[bytes]) -> list[Any]:
    """Return the messages that strings are, and tell of the first that is none."""
    out = []
    for i, data in enumerate(strings):
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
    lists: list[Any] = list(map(_VALUES[field], map(operator.itemgetter(key), maps)))
    lengths = list(map(len, lists))
    if _single(lengths):
        return _column_of_ones(lists, dtype)
    for i, length in enumerate(lengths):
        if not length:
            lists[i] = _values(maps[i][key], field, key, i)
    return _made(lists, dtype)


@functools.lru_cache(_SIZES)
def _ones(count: int) -> Array:
    ones = np.ones(count, np.int64)
    ones.flags.writeable = False
    return ones


def _made(lists: Sequence[Any], dtype: DType) -> Column:
    """Return the column of lists of values, of which some may be None."""
    filled = [() if v is None else v for v in lists]
    lengths = list(map(len, filled))
    if _single(lengths):
        return _column_of_ones(filled, dtype)
    missing = np.array([v is None for v in lists], bool)
    values = _array(list(itertools.chain.from_iterable(filled)), dtype)
    return Column(np.array(lengths, np.int64), values, missing if missing.any() else None)


def _single(lengths: list[int]) -> bool:
    return bool(lengths) and lengths.count(1) == len(lengths)


def _column_of_ones(lists: Sequence[Any], dtype: DType) -> Column:
    """Return the column of lists of a value each, as in most columns."""
    return Column(_ones(len(lists)), _array([v[0] for v in lists], dtype), None, True)


def _list_column(maps: Sequence[Any], key: str, dtype: DType) -> ListColumn:
    """Return the feature lists of a key; an empty step counts as one without values."""
    lists = [m[key].feature if key in m else None for m in maps]
    steps = [_values(f, _FIELDS[dtype], key, i) or () for i, found in enumerate(lists) for f in found or ()]
    missing = np.array([found is None for found in lists], bool)
    lengths = np.array([len(found or ()) for found in lists], np.int64)
    return ListColumn(lengths, _made(steps, dtype), missing if missing.any() else None)


def _scanned(serialized: Array) -> bool:
    """Whether there is enough to read for numpy to be worth its calls."""
    return sum(map(len, serialized.ravel().tolist())) >= _LEAST


def _wanted(groups: Sequence[Group]) -> dict[str, DType] | None:
    """Return the dtype of each key; None where one is to be read as two."""
    pairs = [pair for keys, kinds in groups for pair in zip(keys, kinds, strict=True)]
    wanted = dict(pairs)
    return wanted if all(wanted[key] is dtype for key, dtype in pairs) else None


def _example_columns(serialized: Array, groups: Sequence[Group]) -> list[list[Column]]:
    """Return the columns of Examples, group by group."""
    _check_rank(serialized)
    wanted = _wanted(groups)
    found = None
    if wanted is not None and _scanned(serialized):
        found = example_scan.examples(serialized.ravel().tolist(), wanted)
    if found is not None:
        return [[found[key] for key in keys] for keys, _ in groups]
    maps = [e.features.feature for e in _parsed("Example", serialized)]
    return [[_column(maps, *pair) for pair in zip(*group, strict=True)] for group in groups]


def _sequence_columns(
    serialized: Array, context: Sequence[Group], lists: Sequence[Group]
) -> tuple[list[list[Column]], list[list[ListColumn]]]:
    """Return the columns of SequenceExamples, group by group: those of the context, and feature lists."""
    _check_rank(serialized)
    keys = _wanted(context), _wanted(lists)
    found = None
    if keys[0] is not None and keys[1] is not None and _scanned(serialized):
        found = example_scan.sequences(serialized.ravel().tolist(), keys[0], keys[1])
    if found is not None:
        return [[found[0][k] for k in group[0]] for group in context], [[found[1][k] for k in g[0]] for g in lists]
    found_ = _parsed("SequenceExample", serialized)
    of_context, of_lists = [e.context.feature for e in found_], [e.feature_lists.feature_list for e in found_]
    return (
        [[_column(of_context, *pair) for pair in zip(*group, strict=True)] for group in context],
        [[_list_column(of_lists, *pair) for pair in zip(*group, strict=True)] for group in lists],
    )


def _array(values: Any, dtype: DType) -> Array:
    out: Array = np.fromiter(values, dtype.numpy, len(values))
    return out


def _within(lengths: Array) -> Array:
    """Return 0, 1, ... within each run of the given lengths."""
    starts = np.cumsum(lengths) - lengths
    out: Array = np.arange(lengths.sum(), dtype=np.int64) - np.repeat(starts, lengths)
    return out


# --- from columns to tensors ---
def _sparse(column: Column, batched: bool) -> tuple[Array, Array, Array]:
    lengths, values = column.lengths, column.values
    if batched and column.single:
        indices = np.zeros((len(lengths), 2), np.int64)
        indices[:, 0] = np.arange(len(lengths))
        return indices, values, np.array([len(lengths), 1], np.int64)
    at, most = _within(lengths), int(lengths.max(initial=0))
    if not batched:
        return at[:, None], values, np.array([most], np.int64)
    indices = np.stack([np.repeat(np.arange(len(lengths)), lengths), at], axis=1)
    return indices, values, np.array([len(lengths), most], np.int64)


def _sparse_lists(column: ListColumn, batched: bool) -> tuple[Array, Array, Array]:
    steps, lengths = column.lengths, column.steps.lengths
    of_step = np.stack([np.repeat(np.arange(len(steps)), steps), _within(steps)], axis=1)
    indices = np.concatenate([np.repeat(of_step, lengths, axis=0), _within(lengths)[:, None]], axis=1)
    shape = np.array([len(steps), steps.max(initial=0), lengths.max(initial=0)], np.int64)
    return (indices if batched else indices[:, 1:]), column.steps.values, (shape if batched else shape[1:])


def _splits(lengths: Array, dtype: DType) -> Array:
    out: Array = np.concatenate([[0], np.cumsum(lengths)]).astype(dtype.numpy)
    return out


def _ragged(column: Column, split: DType, batched: bool) -> tuple[Array, Array]:
    return column.values, _splits(column.lengths, split) if batched else np.zeros(0, split.numpy)


def _first(faulty: Array) -> int:
    """Return the first place that is marked, -1 if there is none."""
    at = int(faulty.argmax()) if faulty.size else 0
    return at if faulty.size and faulty[at] else -1


def _dense(column: Column, key: str, dtype: DType, shape: Shape, default: Array, batched: bool) -> Array:
    """Return one row per example: of a fixed shape, or as long as the longest where the first dimension is open."""
    if shape.dims is None or None in shape.dims[1:]:
        raise refuse(f"the shape of dense `{key}`", expected="known but for its first dimension", found=shape)
    if shape.dims and shape.dims[0] is None:
        return _padded(column, key, dtype, tuple(d or 0 for d in shape.dims[1:]), default, batched)
    fixed = dims([d or 0 for d in shape])
    size = math.prod(fixed)
    count = len(column.lengths)
    dims([count, size])
    if default.size and default.shape != fixed:
        raise refuse(f"the default of `{key}`", expected=f"shape {list(fixed)}", found=list(default.shape))
    result = ((count,) if batched else ()) + fixed
    if column.single and size == 1:
        return column.values.reshape(result)
    missing = column.missing
    present = np.ones(count, bool) if missing is None else ~missing
    i = _first(np.where(present, column.lengths != size, not default.size))
    if i >= 0 and not present[i]:
        raise refuse(f"feature `{key}` is required but example {i} lacks it", expected=f"{dtype} values")
    if i >= 0:
        raise refuse(f"feature `{key}` of example {i}", expected=f"{size} values", found=int(column.lengths[i]))
    if missing is None:
        return column.values.reshape(result)
    out = np.empty((count, size), dtype.numpy)
    out[present] = column.values.reshape(-1, size) if size else 0
    out[missing] = default.ravel()
    return out.reshape(result)


def _padded(column: Column, key: str, dtype: DType, inner: tuple[int, ...], default: Array, batched: bool) -> Array:
    stride = math.prod(inner)
    if default.size != 1:
        raise refuse(f"the default of `{key}`, whose length varies", expected="one value", found=list(default.shape))
    lengths = column.lengths
    i = _first(lengths % stride if stride else lengths)
    if i >= 0:
        raise refuse(
            f"feature `{key}` of example {i}", expected=f"a multiple of {stride} values", found=int(lengths[i])
        )
    most = int(lengths.max(initial=0))
    out = np.full((len(lengths), most), default.ravel()[0], dtype.numpy)
    out[np.arange(most) < lengths[:, None]] = column.values
    rows = most // stride if stride else 0
    return out.reshape(((len(lengths),) if batched else ()) + (rows, *inner))


def _dense_lists(
    column: ListColumn, key: str, dtype: DType, shape: Shape, optional: bool, batched: bool
) -> tuple[Array, Array]:
    """Return steps of one shape, padded with zeros to the longest list, and how many steps each example has."""
    if not shape.is_static:
        raise refuse(f"the shape of dense feature list `{key}`", expected="a known one", found=shape)
    fixed = dims([d or 0 for d in shape])
    size = math.prod(fixed)
    steps, lengths = column.lengths, column.steps.lengths
    count, most = len(steps), int(steps.max(initial=0))
    lacking = -1 if optional or column.missing is None else _first(column.missing)
    wrong = _first(lengths != size)
    of = np.repeat(np.arange(count), steps)
    if lacking >= 0 and (wrong < 0 or lacking < of[wrong]):
        raise refuse(f"feature list `{key}` is required but example {lacking} lacks it")
    if wrong >= 0:
        i, t = int(of[wrong]), int(_within(steps)[wrong])
        raise refuse(
            f"step {t} of feature list `{key}` of example {i}", expected=f"{size} values", found=int(lengths[wrong])
        )
    fill = b"" if dtype is dtypes.string else 0
    out = np.full((*dims([count, most]), size), fill, dtype.numpy)
    out[np.arange(most) < steps[:, None]] = column.steps.values.reshape(len(lengths), size)
    return out.reshape((count, most, *fixed) if batched else (most, *fixed)), steps if batched else steps[0]


def _transposed(rows: Sequence[tuple[Array, ...]], width: int) -> tuple[list[Array], ...]:
    return tuple([row[k] for row in rows] for k in range(width))


def _sparse_part(columns: Sequence[Any], batched: bool, make: Any = _sparse) -> Any:
    return _transposed([make(c, batched) for c in columns], 3)


def _dense_part(
    columns: Sequence[Column], keys: Sequence[str], kinds: Sequence[DType], shapes: Sequence[Shape],
    defaults: Sequence[Any], batched: bool,
) -> list[Array]:  # fmt: skip
    if not len(shapes) == len(kinds) == len(keys):
        expected = f"one of each for {len(keys)} keys"
        raise refuse("dense shapes and types", expected=expected, found=[len(shapes), len(kinds)])
    return [
        _dense(column, key, dtype, shape, default, batched)
        for column, key, dtype, shape, default in zip(columns, keys, kinds, shapes, defaults, strict=True)
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
    of_sparse, of_dense = _keys(sparse_keys, num_sparse, "sparse"), _keys(dense_keys, len(Tdense), "dense")
    of_ragged = _keys(ragged_keys, len(ragged_value_types), "ragged")
    groups = [(of_sparse, sparse_types), (of_dense, Tdense), (of_ragged, ragged_value_types)]
    sparse, dense, ragged = _example_columns(serialized, groups)
    return (
        *_sparse_part(sparse, batched),
        _dense_part(dense, of_dense, Tdense, dense_shapes, dense_defaults, batched),
        *_ragged_part(ragged, ragged_split_types, batched),
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
    of_sparse, of_dense = _keys(sparse_keys, Nsparse, "sparse"), _keys(dense_keys, len(Tdense), "dense")
    sparse, dense = _example_columns(serialized, [(of_sparse, sparse_types), (of_dense, Tdense)])
    return *_sparse_part(sparse, True), _dense_part(dense, of_dense, Tdense, dense_shapes, dense_defaults, True)


@op("ParseSingleExample", shape=inference_text.parse_single_example, host=_HOST)
def parse_single_example(
    xp: Any, serialized: Any, dense_defaults: Any,
    *, num_sparse: int, sparse_keys: Any, dense_keys: Any, sparse_types: Any, Tdense: Any, dense_shapes: Any,
) -> Any:  # fmt: skip
    """Features of one Example proto as sparse and dense tensors."""
    if serialized.ndim:
        raise refuse("a serialized example", expected="a scalar", found=f"shape {list(serialized.shape)}")
    of_sparse, of_dense = _keys(list(sparse_keys), num_sparse, "sparse"), _keys(list(dense_keys), len(Tdense), "dense")
    sparse, dense = _example_columns(serialized, [(of_sparse, sparse_types), (of_dense, Tdense)])
    return *_sparse_part(sparse, False), _dense_part(dense, of_dense, Tdense, dense_shapes, dense_defaults, False)


def _ragged_part(columns: Sequence[Column], splits: Sequence[DType], batched: bool) -> Any:
    return _transposed([_ragged(c, s, batched) for c, s in zip(columns, splits, strict=True)], 2)


def _dense_list_part(
    columns: Sequence[ListColumn], keys: list[str], kinds: Any, shapes: Any, optional: Sequence[bool], batched: bool
) -> tuple[list[Array], ...]:
    if len(shapes) != len(keys):
        raise refuse("shapes of dense feature lists", expected=len(keys), found=len(shapes))
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
    of_sparse = _keys(list(context_sparse_keys), Ncontext_sparse, "sparse context")
    of_dense = _keys(list(context_dense_keys), Ncontext_dense, "dense context")
    of_sparse_lists = _keys(list(feature_list_sparse_keys), Nfeature_list_sparse, "sparse feature list")
    keys = _keys(list(feature_list_dense_keys), Nfeature_list_dense, "dense feature list")
    (sparse, dense), (sparse_lists, dense_lists) = _sequence_columns(
        serialized,
        [(of_sparse, context_sparse_types), (of_dense, Tcontext_dense)],
        [(of_sparse_lists, feature_list_sparse_types), (keys, feature_list_dense_types)],
    )
    optional = [k in feature_list_dense_missing_assumed_empty for k in keys]
    return (
        *_sparse_part(sparse, True),
        _dense_part(dense, of_dense, Tcontext_dense, context_dense_shapes, context_dense_defaults, True),
        *_sparse_part(sparse_lists, True, _sparse_lists),
        *_dense_list_part(dense_lists, keys, feature_list_dense_types, feature_list_dense_shapes, optional, True),
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
    of_sparse = _keys(context_sparse_keys, Ncontext_sparse, "sparse context")
    of_dense = _keys(context_dense_keys, Ncontext_dense, "dense context")
    of_sparse_lists = _keys(feature_list_sparse_keys, Nfeature_list_sparse, "sparse feature list")
    keys = _keys(feature_list_dense_keys, Nfeature_list_dense, "dense feature list")
    (sparse, dense), (sparse_lists, dense_lists) = _sequence_columns(
        serialized,
        [(of_sparse, context_sparse_types), (of_dense, Tcontext_dense)],
        [(of_sparse_lists, feature_list_sparse_types), (keys, feature_list_dense_types)],
    )
    may_lack = np.ravel(feature_list_dense_missing_assumed_empty)
    optional = [k in _keys(may_lack, may_lack.size, "optional") for k in keys]
    values, _ = _dense_list_part(
        dense_lists, keys, feature_list_dense_types, feature_list_dense_shapes, optional, False
    )
    return (
        *_sparse_part(sparse, False),
        _dense_part(dense, of_dense, Tcontext_dense, context_dense_shapes, context_dense_defaults, False),
        *_sparse_part(sparse_lists, False, _sparse_lists),
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
    of_sparse = _keys(context_sparse_keys, Ncontext_sparse, "sparse context")
    of_dense = _keys(context_dense_keys, len(Tcontext_dense), "dense context")
    of_ragged = _keys(context_ragged_keys, len(context_ragged_value_types), "ragged context")
    of_sparse_lists = _keys(feature_list_sparse_keys, Nfeature_list_sparse, "sparse feature list")
    keys = _keys(feature_list_dense_keys, Nfeature_list_dense, "dense feature list")
    of_ragged_lists = _keys(feature_list_ragged_keys, len(feature_list_ragged_value_types), "ragged feature list")
    (sparse, dense, ragged), (sparse_lists, dense_lists, ragged_lists) = _sequence_columns(
        serialized,
        [(of_sparse, context_sparse_types), (of_dense, Tcontext_dense), (of_ragged, context_ragged_value_types)],
        [(of_sparse_lists, feature_list_sparse_types), (keys, feature_list_dense_types),
         (of_ragged_lists, feature_list_ragged_value_types)],
    )  # fmt: skip
    optional = np.ravel(feature_list_dense_missing_assumed_empty).tolist()
    if len(optional) != len(keys):
        raise refuse("`feature_list_dense_missing_assumed_empty`", expected=len(keys), found=len(optional))
    split = zip(ragged_lists, feature_list_ragged_split_types, strict=True)
    return (
        *_sparse_part(sparse, batched),
        _dense_part(dense, of_dense, Tcontext_dense, context_dense_shapes, context_dense_defaults, batched),
        *_ragged_part(ragged, context_ragged_split_types, batched),
        *_sparse_part(sparse_lists, batched, _sparse_lists),
        *_dense_list_part(dense_lists, keys, feature_list_dense_types, feature_list_dense_shapes, optional, batched),
        *_transposed([_ragged_lists(c, s, batched) for c, s in split], 3),
    )


def _ragged_lists(column: ListColumn, split: DType, batched: bool) -> tuple[Array, Array, Array]:
    outer = _splits(column.lengths, split) if batched else np.zeros(0, split.numpy)
    return column.steps.values, outer, _splits(column.steps.lengths, split)
