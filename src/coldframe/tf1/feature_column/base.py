"""Columns: what they have in common, and the tensors of a batch that they are worked out from.

A dense column gives numbers, a categorical one sparse ids (and weights); some give either.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from coldframe import dtypes
from coldframe.dtypes import DType
from coldframe.errors import near_names
from coldframe.records import dataclass
from coldframe.tf1.arithmetic_ops import equal, not_equal
from coldframe.tf1.cast_ops import cast
from coldframe.tf1.check_ops import assert_positive
from coldframe.tf1.cond import cond
from coldframe.tf1.framework.convert import SparseTensor, convert_to_tensor
from coldframe.tf1.framework.graph import control_dependencies, get_default_graph, name_scope
from coldframe.tf1.framework.keys import GraphKeys
from coldframe.tf1.framework.shape import TensorShape
from coldframe.tf1.index_ops import gather_nd, where
from coldframe.tf1.partitions import PartitionedVariable
from coldframe.tf1.shape_ops import expand_dims, rank
from coldframe.tf1.shape_ops import shape as shape_of
from coldframe.tf1.sparse_ops import SparseTensorValue, sparse_reshape


class IdWeightPair(NamedTuple):
    """Sparse ids, and their weights at the same places; None for weights of 1."""

    id_tensor: SparseTensor
    weight_tensor: SparseTensor | None


class SequenceDense(NamedTuple):
    """Numbers ``[batch, steps, ...]``, and how many of the steps each row has."""

    dense_tensor: Any
    sequence_length: Any


@dataclass(frozen=True, slots=True)
class Made:
    """How a column makes variables: the collections they go to, and whether they are trained."""

    collections: tuple[str, ...]
    trainable: bool = True


class FeatureColumn:
    """Base of all columns. Columns of the same fields are equal, and are worked out once per batch."""

    __slots__ = ()

    @property
    def name(self) -> str:
        """The column's name; those of a model differ."""
        raise NotImplementedError

    @property
    def variable_scope_name(self) -> str:
        """What the variable scope of its weights is called."""
        return self.name

    @property
    def parse_example_spec(self) -> dict[str, Any]:
        """What `tf.parse_example` must give for it, by feature."""
        raise NotImplementedError

    def transform(self, features: Features) -> Any:
        """Return what the column makes of the features; call `features.get` for it, which keeps it."""
        raise NotImplementedError


class DenseColumn(FeatureColumn):
    """A column that gives numbers: ``[batch, *variable_shape]``."""

    __slots__ = ()

    @property
    def variable_shape(self) -> TensorShape:
        """The shape of one row."""
        raise NotImplementedError

    def dense(self, features: Features, made: Made) -> Any:
        """Return the numbers."""
        raise NotImplementedError


class CategoricalColumn(FeatureColumn):
    """A column that gives ids from 0 to `num_buckets` - 1."""

    __slots__ = ()

    @property
    def num_buckets(self) -> int:
        """How many ids there are."""
        raise NotImplementedError

    def ids(self, features: Features) -> IdWeightPair:
        """Return the ids of each row, and their weights."""
        return IdWeightPair(features.get(self), None)


class SequenceDenseColumn(FeatureColumn):
    """A column that gives numbers for each step of a sequence."""

    __slots__ = ()

    @property
    def variable_shape(self) -> TensorShape:
        """The shape of one step."""
        raise NotImplementedError

    def sequence(self, features: Features, made: Made) -> SequenceDense:
        """Return the numbers, and the lengths of the sequences."""
        raise NotImplementedError


class Features:
    """The features of a batch, and what columns made of them, each made once.

    Args:
        features: tensors or sparse tensors by name; vectors count as columns of one.
    """

    def __init__(self, features: Mapping[str, Any]) -> None:
        self._given = dict(features)
        self._made: dict[Any, Any] = {}

    def get(self, key: Any) -> Any:
        """Return the tensor of a feature's name, or what a column makes.

        Raises:
            ValueError: there is no such feature.
            TypeError: `key` is neither a name nor a column.
        """
        if key not in self._made:
            self._made[key] = self._value(key)
        return self._made[key]

    def _value(self, key: Any) -> Any:
        if key in self._given:
            return _at_least_a_matrix(key, self._given[key])
        if isinstance(key, str):
            hint = near_names(key, self._given)
            raise ValueError(  # noqa: TRY004 - TensorFlow's class
                f"Feature {key} is not in features dictionary." + (f"\nhint: {hint}" if hint else "")
            )
        if not isinstance(key, FeatureColumn):
            raise TypeError(f'"key" must be either a "str" or "_FeatureColumn". Provided: {key}')
        return key.transform(self)


def _at_least_a_matrix(key: str, given: Any) -> Any:
    tensor = sparse_or_dense(given)
    known = tensor.get_shape().ndims
    if known == 0:
        raise ValueError(f"Feature (key: {key}) cannot have rank 0. Given: {tensor}")
    if known is not None:
        return tensor if known != 1 else _with_column(tensor)
    message = f"Feature (key: {key}) cannot have rank 0. Given: {tensor}"
    with control_dependencies([assert_positive(rank(tensor), message=message)]):
        return cond(equal(1, rank(tensor)), lambda: _with_column(tensor), lambda: tensor)


def _with_column(tensor: Any) -> Any:
    if isinstance(tensor, SparseTensor):
        return sparse_reshape(tensor, [shape_of(tensor)[0], 1])
    return expand_dims(tensor, -1)


def sparse_or_dense(value: Any) -> Any:
    """Return a sparse tensor as it is, anything else as a tensor."""
    if isinstance(value, SparseTensorValue):
        return SparseTensor(*value)
    return value if isinstance(value, SparseTensor) else convert_to_tensor(value)


def to_sparse(value: Any, ignored: Any = None) -> SparseTensor:
    """Return a tensor as a sparse one without what stands for nothing: -1, the empty string, or `ignored`."""
    tensor = sparse_or_dense(value)
    if isinstance(tensor, SparseTensor):
        return tensor
    with name_scope(None, "to_sparse_input", [tensor]):
        if ignored is None:
            ignored = "" if tensor.dtype is dtypes.string else -1 if tensor.dtype.is_integer else 0.0
        ignored = cast(ignored, tensor.dtype, name="ignore_value")
        indices = where(not_equal(tensor, ignored), name="indices")
        values = gather_nd(tensor, indices, name="values")
        return SparseTensor(indices, values, shape_of(tensor, out_type=dtypes.int64, name="dense_shape"))


# --- checks ---------------------------------------------------------------------------------------------------------
def check_key(key: Any) -> None:
    """Raise `ValueError` unless a feature's name is a string."""
    if not isinstance(key, str):
        raise ValueError(f"key must be a string. Got: type {type(key)}. Given key: {key}.")  # noqa: TRY004


def check_string_or_int(dtype: DType, what: str) -> None:
    """Raise `ValueError` unless a dtype is string or an integer."""
    if dtype is not dtypes.string and not dtype.is_integer:
        raise ValueError(f"{what} dtype must be string or integer. dtype: {dtype.name}.")


def check_same_kind(key: str, column: DType, tensor: DType) -> None:
    """Raise `ValueError` where a column of words is given numbers, or the other way round."""
    check_string_or_int(tensor, f"column_name: {key} input_tensor")
    if column.is_integer != tensor.is_integer:
        raise ValueError(
            f"Column dtype and SparseTensors dtype must be compatible. key: {key}, column dtype: {column.name}, "
            f"tensor dtype: {tensor.name}"
        )


def checked_columns(columns: Any) -> list[FeatureColumn]:
    """Return columns as a list, in the order given.

    Raises:
        ValueError: there are none, one is no column, or two have one name.
    """
    if isinstance(columns, Mapping):
        raise ValueError("Expected feature_columns to be iterable, found dict.")  # noqa: TRY004 - TensorFlow's class
    listed = [columns] if isinstance(columns, FeatureColumn) else list(columns)
    if not listed:
        raise ValueError("feature_columns must not be empty.")
    named: dict[str, FeatureColumn] = {}
    for column in listed:
        if not isinstance(column, FeatureColumn):
            raise ValueError(  # noqa: TRY004 - TensorFlow's class
                f"Items of feature_columns must be a _FeatureColumn. Given (type {type(column)}): {column}."
            )
        if column.name in named:
            raise ValueError(
                f"Duplicate feature column name found for columns: {column} and {named[column.name]}. "
                "Columns of the same feature cannot both be in a model.\n"
                "hint: leave one out, or give the feature a second name in the features"
            )
        named[column.name] = column
    return listed


def check_batch_sizes(tensors: Iterable[Any], columns: Iterable[FeatureColumn]) -> None:
    """Raise `ValueError` where two columns are known to have different numbers of rows."""
    first: tuple[str, int] | None = None
    for tensor, column in zip(tensors, columns, strict=True):
        known = tensor.get_shape().as_list()[0]
        if known is None:
            continue
        if first is None:
            first = column.name, known
        elif first[1] != known:
            raise ValueError(
                "Batch size (first dimension) of each feature must be same. Batch size of columns "
                f"({first[0]}, {column.name}): ({first[1]}, {known})"
            )


# --- variables ------------------------------------------------------------------------------------------------------
def weight_collections(given: Iterable[str] | None) -> tuple[str, ...]:
    """Return the collections that weights go to: those given, global and model variables."""
    listed = list(given or ())
    listed += [k for k in (GraphKeys.GLOBAL_VARIABLES, GraphKeys.MODEL_VARIABLES) if k not in listed]
    return tuple(listed)


def parts_of(variable: Any) -> Iterator[Any]:
    """Yield the parts of a variable that is cut into several, or the variable."""
    yield from variable if isinstance(variable, PartitionedVariable) else [variable]


def collect(variable: Any, collections: Iterable[str]) -> None:
    """Add a variable, or its parts, to collections; it is among the global variables already."""
    graph = get_default_graph()
    for key in collections:
        if key != GraphKeys.GLOBAL_VARIABLES:
            for part in parts_of(variable):
                graph.add_to_collection(key, part)
