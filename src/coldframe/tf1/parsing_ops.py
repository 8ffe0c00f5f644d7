"""Example messages into tensors: `parse_example`, `parse_single_example`, `parse_single_sequence_example`.

What is wanted is a dict from names to features: `FixedLenFeature` gives a dense tensor, `VarLenFeature` a sparse one,
`SparseFeature` a sparse one of two or more columns, `FixedLenSequenceFeature` a dense one of variable length.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from coldframe import dtypes
from coldframe.dtypes import DType
from coldframe.tf1.framework.build import raw
from coldframe.tf1.framework.convert import SparseTensor, constant, convert_to_tensor
from coldframe.tf1.framework.dtype import as_dtype
from coldframe.tf1.framework.graph import name_scope
from coldframe.tf1.framework.shape import TensorShape
from coldframe.tf1.framework.tensor import Tensor


class VarLenFeature(NamedTuple):
    """A feature of any number of values: a sparse tensor."""

    dtype: Any


class SparseFeature(NamedTuple):
    """A sparse tensor of which one feature holds the values and others (int64) the columns of indices."""

    index_key: Any
    value_key: str
    dtype: Any
    size: Any
    already_sorted: bool = False


class FixedLenFeature(NamedTuple):
    """A feature of as many values as `shape` has; `default_value` where an example lacks it."""

    shape: Any
    dtype: Any
    default_value: Any = None


class FixedLenSequenceFeature(NamedTuple):
    """A feature of any number of items of `shape`; those of a batch are filled up with `default_value`."""

    shape: Any
    dtype: Any
    allow_missing: bool = False
    default_value: Any = None


class _Wanted:
    """The features of one map, as the ops take them: sparse and dense keys, each with its dtype."""

    def __init__(self, features: Mapping[str, Any], *, lists: bool = False) -> None:
        self.features = {k: features[k] for k in sorted(features)}
        self.sparse: dict[str, DType] = {}
        self.dense: dict[str, tuple[DType, TensorShape, Any]] = {}
        for key, feature in self.features.items():
            if isinstance(feature, VarLenFeature):
                self._add_sparse(key, feature.dtype)
            elif isinstance(feature, SparseFeature) and not lists:
                for index in sorted(_index_keys(feature)):
                    self._add_sparse(index, dtypes.int64)
                self._add_sparse(feature.value_key, feature.dtype)
            elif isinstance(feature, FixedLenSequenceFeature):
                shape = TensorShape(feature.shape)
                if not lists and not feature.allow_missing:
                    raise ValueError(
                        f"Unsupported: FixedLenSequenceFeature requires allow_missing to be True. {feature}"
                    )
                full = shape if lists else TensorShape([None]).concatenate(shape)
                self.dense[key] = as_dtype(feature.dtype), full, feature
            elif isinstance(feature, FixedLenFeature) and not lists:
                shape = TensorShape(feature.shape)
                if not shape.is_fully_defined():
                    raise ValueError(
                        f"All dimensions of shape for feature {key} need to be known but received {shape!s}."
                    )
                self.dense[key] = as_dtype(feature.dtype), shape, feature
            else:
                raise ValueError(f"Unsupported {type(feature).__name__} {feature} for `{key}`.")

    def _add_sparse(self, key: str, dtype: Any) -> None:
        kind = as_dtype(dtype)
        if self.sparse.setdefault(key, kind) is not kind:
            raise ValueError(f"Conflicting type {self.sparse[key].name} vs {kind.name} for feature {key}.")

    @property
    def types(self) -> list[DType]:
        return [d for d, _, _ in self.dense.values()]

    @property
    def shapes(self) -> list[TensorShape]:
        return [s for _, s, _ in self.dense.values()]

    def defaults(self) -> list[Tensor]:
        """Return the tensors of what stands for absent values."""
        return [_default(key, *known) for key, known in self.dense.items()]

    def collected(self, sparse: Sequence[Any], dense: Sequence[Tensor]) -> dict[str, Any]:
        """Return what was parsed by the names that the caller knows it by."""
        parts: dict[str, Any] = {
            k: SparseTensor(*p) for k, p in zip(self.sparse, zip(*sparse, strict=True), strict=True)
        } | dict(zip(self.dense, dense, strict=True))
        for key, feature in self.features.items():
            if isinstance(feature, SparseFeature):
                parts[key] = _merged(feature, parts)
        return {k: v for k, v in parts.items() if k in self.features}


def _index_keys(feature: Any) -> list[str]:
    return [feature.index_key] if isinstance(feature.index_key, str) else list(feature.index_key)


def _default(key: str, dtype: DType, shape: TensorShape, feature: Any) -> Tensor:
    value = feature.default_value
    if isinstance(feature, FixedLenSequenceFeature):
        if value is None:
            return constant(b"" if dtype is dtypes.string else 0, dtype)
        return _named(key, value, dtype, [])
    if value is None:
        return constant(np.zeros(0, dtype.numpy), dtype)
    return _named(key, value, dtype, shape.as_list())


def _named(key: str, value: Any, dtype: DType, dims: list[Any]) -> Tensor:
    name = "key_" + "".join(c if c.isalnum() or c in "._-" else "_" for c in key)
    tensor = convert_to_tensor(value, dtype, name=name)
    return raw.Reshape(tensor, np.array(dims, np.int32))  # type: ignore[no-any-return]


def _merged(feature: Any, parts: Mapping[str, Any]) -> SparseTensor:
    """Return the sparse tensor whose indices are the values of other ones."""
    sizes = [feature.size] if isinstance(feature.index_key, str) else list(feature.size)
    with name_scope(None, "SparseMerge"):
        ids = [parts[k] for k in _index_keys(feature)]
        columns = [raw.ExpandDims(i.values, 1) for i in ids]
        end = np.array(sizes, np.int64)
        indices = raw.ConcatV2([ids[0].indices[:, :-1], *columns], 1)
        shape = raw.ConcatV2([ids[0].dense_shape[:-1], end], 0)
        values = parts[feature.value_key].values
        if not feature.already_sorted:
            indices, values = raw.SparseReorder(indices, values, shape)
        return SparseTensor(indices, values, shape)


def _strings(values: Any) -> Any:
    out = np.empty(len(values), object)
    out[:] = [v.encode() for v in values]
    return out


def _check(features: Any) -> None:
    if not features:
        raise ValueError("Missing features.")


# --- examples ---
def parse_example(
    serialized: Any, features: Mapping[str, Any], name: str | None = None, example_names: Any = None
) -> Any:
    """Return a dict of tensors, each with a first axis for the examples.

    Args:
        serialized: Example messages, a string vector.
        features: what is wanted, by name.
        example_names: names for error messages, a string vector.
    """
    _check(features)
    return _parse(serialized, features, name, example_names)


def parse_single_example(
    serialized: Any, features: Mapping[str, Any], name: str | None = None, example_names: Any = None
) -> Any:
    """Return a dict of the tensors of one Example message, a string scalar; see `parse_example`."""
    _check(features)
    with name_scope(name, "ParseSingleExample", [serialized, example_names]):
        tensor = convert_to_tensor(serialized, dtypes.string, name="serialized")
        tensor.set_shape([])
        return _parse(tensor, features, name, example_names)


def _parse(serialized: Any, features: Mapping[str, Any], name: str | None, names: Any) -> Any:
    with name_scope(name, "ParseExample", [serialized, names]):
        wanted = _Wanted(features)
        tensor = convert_to_tensor(serialized, dtypes.string, name="serialized")
        defaults = wanted.defaults()
        indices, values, shapes, dense, _, _ = raw.ParseExampleV2(
            tensor, _strings([]) if names is None else names, _strings(wanted.sparse), _strings(wanted.dense),
            _strings([]), defaults, num_sparse=len(wanted.sparse), sparse_types=list(wanted.sparse.values()),
            Tdense=wanted.types, dense_shapes=wanted.shapes, ragged_value_types=[], ragged_split_types=[], name=name,
        )  # fmt: skip
        return wanted.collected((indices, values, shapes), dense)


# --- sequences ---
def parse_single_sequence_example(
    serialized: Any, context_features: Mapping[str, Any] | None = None,
    sequence_features: Mapping[str, Any] | None = None, example_name: Any = None, name: str | None = None,
) -> tuple[dict[str, Any], dict[str, Any]]:  # fmt: skip
    """Return the context and the feature lists of one SequenceExample message, dicts of tensors.

    Args:
        serialized: the message, a string scalar.
        context_features: what is wanted of the context, by name.
        sequence_features: what is wanted of the feature lists: `FixedLenSequenceFeature` and `VarLenFeature`.
        example_name: a name for error messages, a string scalar.
    """
    with name_scope(name, "ParseSingleSequenceExample", [serialized]):
        tensor = convert_to_tensor(serialized, dtypes.string, name="serialized")
        tensor.set_shape([])
        context, lists, _ = _sequences(tensor, context_features, sequence_features, example_name, name)
        return context, lists


def parse_sequence_example(
    serialized: Any, context_features: Mapping[str, Any] | None = None,
    sequence_features: Mapping[str, Any] | None = None, example_names: Any = None, name: str | None = None,
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:  # fmt: skip
    """Return context, feature lists, and the lengths of the lists of several messages, a string vector."""
    return _sequences(serialized, context_features, sequence_features, example_names, name)


def _sequences(
    serialized: Any, context_features: Any, sequence_features: Any, names: Any, name: str | None
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    if not (context_features or sequence_features):
        raise ValueError("Both `context_features` and `sequence_features` argument are None, but at least one should "
                         "have values.")  # fmt: skip
    context, lists = _Wanted(context_features or {}), _Wanted(sequence_features or {}, lists=True)
    missing = np.array([f.allow_missing for _, _, f in lists.dense.values()], np.bool_)
    with name_scope(name, "ParseSequenceExample", [serialized, names]):
        tensor = convert_to_tensor(serialized, dtypes.string, name="serialized")
        defaults = context.defaults()
        made = raw.ParseSequenceExampleV2(
            tensor, _strings([]) if names is None else names, _strings(context.sparse), _strings(context.dense),
            _strings([]), _strings(lists.sparse), _strings(lists.dense), _strings([]), missing, defaults,
            Ncontext_sparse=len(context.sparse), context_sparse_types=list(context.sparse.values()),
            Tcontext_dense=context.types, context_dense_shapes=context.shapes, context_ragged_value_types=[],
            context_ragged_split_types=[], Nfeature_list_sparse=len(lists.sparse), Nfeature_list_dense=len(lists.dense),
            feature_list_sparse_types=list(lists.sparse.values()), feature_list_dense_types=lists.types,
            feature_list_dense_shapes=lists.shapes, feature_list_ragged_value_types=[],
            feature_list_ragged_split_types=[], name=name,
        )  # fmt: skip
        batch = [] if tensor.get_shape().ndims == 0 else tensor.get_shape().as_list()[:1]
        _shape(made[0:3], len(batch) + 1)
        _shape(made[6:9], len(batch) + 2)
        for t, s in zip(made[3], context.shapes, strict=True):
            t.set_shape(TensorShape(batch).concatenate(s))
        for t, s in zip(made[9], lists.shapes, strict=True):
            t.set_shape(TensorShape([*batch, None]).concatenate(s))
        lengths = dict(zip(lists.dense, made[10], strict=True))
        return context.collected(made[0:3], made[3]), lists.collected(made[6:9], made[9]), lengths


def _shape(parts: Sequence[Sequence[Tensor]], rank: int) -> None:
    for indices, values, shape in zip(*parts, strict=True):
        indices.set_shape([None, rank])
        values.set_shape([None])
        shape.set_shape([rank])


__all__ = [
    "FixedLenFeature", "FixedLenSequenceFeature", "SparseFeature", "VarLenFeature", "parse_example",
    "parse_sequence_example", "parse_single_example", "parse_single_sequence_example",
]  # fmt: skip
