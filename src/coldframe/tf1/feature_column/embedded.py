"""Dense columns of ids: as indicators, or as rows of a table that is learned, of one column or of several."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from coldframe import dtypes
from coldframe.records import dataclass
from coldframe.tf1.feature_column.base import (
    CategoricalColumn,
    DenseColumn,
    Features,
    IdWeightPair,
    Made,
    SequenceDense,
    SequenceDenseColumn,
    parts_of,
)
from coldframe.tf1.feature_column.categorical import WeightedCategoricalColumn
from coldframe.tf1.feature_column.sequences import SequenceCategoricalColumn, sequence_lengths
from coldframe.tf1.framework.build import raw
from coldframe.tf1.framework.graph import get_default_graph, name_scope
from coldframe.tf1.framework.shape import TensorShape
from coldframe.tf1.init_ops import TruncatedNormal
from coldframe.tf1.nn.embedding_ops import embedding_lookup_sparse, safe_embedding_lookup_sparse
from coldframe.tf1.reduce_ops import reduce_sum
from coldframe.tf1.shape_ops import one_hot
from coldframe.tf1.sparse_ops import sparse_merge, sparse_slice, sparse_tensor_to_dense
from coldframe.tf1.variable_scope import get_variable


def _check_no_sequence(kind: str, name: str, column: CategoricalColumn) -> None:
    if isinstance(column, SequenceCategoricalColumn):
        raise ValueError(  # noqa: TRY004 - TensorFlow's class
            f"In {kind}: {name}. categorical_column must not be of type _SequenceCategoricalColumn. Given: {column}\n"
            "hint: use a categorical_column_with_*, or sequence_input_layer instead of input_layer"
        )


def _check_sequence(kind: str, name: str, column: CategoricalColumn) -> None:
    if not isinstance(column, SequenceCategoricalColumn):
        raise ValueError(  # noqa: TRY004 - TensorFlow's class
            f"In {kind}: {name}. categorical_column must be of type _SequenceCategoricalColumn to use "
            f"sequence_input_layer. Given (type {type(column)}): {column}\n"
            "hint: use one of sequence_categorical_column_with_*"
        )


# --- indicators -----------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class IndicatorColumn(DenseColumn, SequenceDenseColumn):
    """How often each id is in a row; see `indicator_column`."""

    categorical_column: CategoricalColumn

    @property
    def name(self) -> str:
        return f"{self.categorical_column.name}_indicator"

    @property
    def parse_example_spec(self) -> dict[str, Any]:
        return self.categorical_column.parse_example_spec

    @property
    def variable_shape(self) -> TensorShape:
        return TensorShape([1, self.categorical_column.num_buckets])

    def transform(self, features: Features) -> Any:
        ids, weights = self.categorical_column.ids(features)
        depth = self.categorical_column.num_buckets
        if weights is not None:
            merged = sparse_merge(ids, weights, int(depth))
            merged = sparse_slice(merged, [0, 0], merged.dense_shape)
            return raw.ScatterNd(merged.indices, merged.values, merged.dense_shape)
        dense = sparse_tensor_to_dense(ids, default_value=-1)
        return reduce_sum(one_hot(dense, depth, on_value=1.0, off_value=0.0), axis=[-2])

    def dense(self, features: Features, made: Made) -> Any:
        _check_no_sequence("indicator_column", self.name, self.categorical_column)
        return features.get(self)

    def sequence(self, features: Features, made: Made) -> SequenceDense:
        _check_sequence("indicator_column", self.name, self.categorical_column)
        dense = features.get(self)
        return SequenceDense(dense, sequence_lengths(self.categorical_column.ids(features).id_tensor))


def indicator_column(categorical_column: CategoricalColumn) -> IndicatorColumn:
    """Return a dense column that tells how often (or with what weight) each id is in a row."""
    if not isinstance(categorical_column, CategoricalColumn):
        raise ValueError(  # noqa: TRY004 - TensorFlow's class
            f"Unsupported input type. Input must be a CategoricalColumn. Given: {categorical_column}"
        )
    return IndicatorColumn(categorical_column)


# --- embeddings -----------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Table:
    """A table of embeddings, and how the rows of several ids become one.

    Attributes:
        dimension: the length of a row.
        combiner: ``"mean"``, ``"sqrtn"`` or ``"sum"``.
        initializer: of the table.
        ckpt_to_load_from, tensor_name_in_ckpt: the checkpoint and the tensor it starts from instead.
        max_norm: longer rows are scaled down to this Euclidean norm.
        trainable: whether it is trained.
        use_safe_embedding_lookup: leave out ids below 0, and give zeros for rows without ids.
    """

    dimension: int
    combiner: str
    initializer: Any
    ckpt_to_load_from: Any
    tensor_name_in_ckpt: str | None
    max_norm: float | None
    trainable: bool
    use_safe_embedding_lookup: bool

    def make(self, buckets: int, made: Made, collections: Sequence[str]) -> Any:
        """Return the variable of the current scope."""
        return get_variable(
            "embedding_weights", shape=(buckets, self.dimension), dtype=dtypes.float32, initializer=self.initializer,
            trainable=self.trainable and made.trainable, collections=list(collections),
        )  # fmt: skip

    def rows(self, variable: Any, found: IdWeightPair, name: str) -> Any:
        """Return one row of the table for each row of ids."""
        if self.ckpt_to_load_from is not None:
            from coldframe.tf1.train.checkpoint_utils import init_from_checkpoint

            parts = list(parts_of(variable))
            init_from_checkpoint(
                self.ckpt_to_load_from, {self.tensor_name_in_ckpt: parts if len(parts) > 1 else variable}
            )
        look_up: Callable[..., Any] = safe_embedding_lookup_sparse
        known = found.id_tensor.dense_shape.get_shape().as_list()[0]
        more: dict[str, Any] = {}
        if not self.use_safe_embedding_lookup and known is not None and known <= 2:
            look_up, more = embedding_lookup_sparse, {"partition_strategy": "div"}
        return look_up(
            variable, found.id_tensor, found.weight_tensor, combiner=self.combiner, name=f"{name}_weights",
            max_norm=self.max_norm, **more,
        )  # fmt: skip


def _table(
    dimension: int, combiner: str, initializer: Any, ckpt_to_load_from: Any, tensor_name_in_ckpt: str | None,
    max_norm: float | None, trainable: bool, use_safe_embedding_lookup: bool,
) -> Table:  # fmt: skip
    if (dimension or 0) < 1:
        raise ValueError(f"Invalid dimension {dimension}.")
    if (ckpt_to_load_from is None) != (tensor_name_in_ckpt is None):
        raise ValueError("Must specify both `ckpt_to_load_from` and `tensor_name_in_ckpt` or none of them.")
    if initializer is not None and not callable(initializer):
        raise ValueError("initializer must be callable if specified.")
    return Table(
        dimension, combiner, initializer or TruncatedNormal(0.0, 1 / math.sqrt(dimension)), ckpt_to_load_from,
        tensor_name_in_ckpt, max_norm, trainable, use_safe_embedding_lookup,
    )  # fmt: skip


class _Embedding(DenseColumn, SequenceDenseColumn):
    """Base of columns of embeddings."""

    __slots__ = ()

    categorical_column: CategoricalColumn
    table: Table

    @property
    def parse_example_spec(self) -> dict[str, Any]:
        return self.categorical_column.parse_example_spec

    @property
    def dimension(self) -> int:
        """The length of an embedding."""
        return self.table.dimension

    @property
    def variable_shape(self) -> TensorShape:
        return TensorShape([self.table.dimension])

    def transform(self, features: Features) -> Any:
        return features.get(self.categorical_column)

    def _rows(self, features: Features, made: Made) -> Any:
        raise NotImplementedError

    def dense(self, features: Features, made: Made) -> Any:
        _check_no_sequence("embedding_column", self.name, self.categorical_column)
        return self._rows(features, made)

    def sequence(self, features: Features, made: Made) -> SequenceDense:
        _check_sequence("embedding_column", self.name, self.categorical_column)
        dense = self._rows(features, made)
        return SequenceDense(dense, sequence_lengths(self.categorical_column.ids(features).id_tensor))


@dataclass(frozen=True, slots=True)
class EmbeddingColumn(_Embedding):
    """Rows of a table of its own; see `embedding_column`."""

    categorical_column: CategoricalColumn
    table: Table

    @property
    def name(self) -> str:
        return f"{self.categorical_column.name}_embedding"

    def _rows(self, features: Features, made: Made) -> Any:
        found = self.categorical_column.ids(features)
        variable = self.table.make(self.categorical_column.num_buckets, made, made.collections)
        return self.table.rows(variable, found, self.name)


def embedding_column(
    categorical_column: CategoricalColumn, dimension: int, combiner: str = "mean", initializer: Any = None,
    ckpt_to_load_from: Any = None, tensor_name_in_ckpt: str | None = None, max_norm: float | None = None,
    trainable: bool = True, use_safe_embedding_lookup: bool = True,
) -> EmbeddingColumn:  # fmt: skip
    """Return a dense column of embeddings: for each row, the rows of a table at its ids, combined.

    Args:
        categorical_column: gives the ids.
        dimension: the length of an embedding.
        combiner: ``"mean"``, ``"sqrtn"`` or ``"sum"``.
        initializer: of the table; a truncated normal of standard deviation 1 / sqrt(dimension) otherwise.
        ckpt_to_load_from, tensor_name_in_ckpt: the checkpoint and the tensor that the table starts from instead.
        max_norm: longer rows are scaled down to this Euclidean norm.
        trainable: whether the table is trained.
        use_safe_embedding_lookup: leave out ids below 0, and give zeros for rows without ids.

    Raises:
        ValueError: the dimension is below 1, the initializer cannot be called, or only one of the checkpoint and the
            tensor in it is given.
    """
    return EmbeddingColumn(categorical_column, _table(
        dimension, combiner, initializer, ckpt_to_load_from, tensor_name_in_ckpt, max_norm, trainable,
        use_safe_embedding_lookup,
    ))  # fmt: skip


# --- shared embeddings ----------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class SharedEmbeddingColumn(_Embedding):
    """Rows of a table that several columns share; see `shared_embedding_columns`."""

    categorical_column: CategoricalColumn
    table: Table
    shared_embedding_collection_name: str

    @property
    def name(self) -> str:
        return f"{self.categorical_column.name}_shared_embedding"

    @property
    def variable_scope_name(self) -> str:
        return self.shared_embedding_collection_name

    def _rows(self, features: Features, made: Made) -> Any:
        with name_scope(None, self.name):
            found = self.categorical_column.ids(features)
            return self.table.rows(self._shared(made), found, self.name)

    def _shared(self, made: Made) -> Any:
        """Return the table: the one in the collection of its name, or a new one, which goes there."""
        key, graph = self.shared_embedding_collection_name, get_default_graph()
        there = graph.get_collection(key)
        if not there:
            variable = self.table.make(self.categorical_column.num_buckets, made, made.collections)
            graph.add_to_collection(key, variable)
            return variable
        wanted = [self.categorical_column.num_buckets, self.table.dimension]
        if len(there) > 1:
            raise ValueError(
                f"Collection {key} can only contain one variable, the table of shared embeddings; found {there}\n"
                "hint: give shared_embedding_columns another shared_embedding_collection_name"
            )
        if there[0].get_shape().as_list() != wanted:
            raise ValueError(
                f"Shared embedding collection {key} contains variable {there[0].name} of unexpected shape "
                f"{there[0].get_shape()}. Expected shape is {wanted}.\n"
                "hint: give shared_embedding_columns another shared_embedding_collection_name"
            )
        return there[0]


def shared_embedding_columns(
    categorical_columns: Sequence[CategoricalColumn], dimension: int, combiner: str = "mean", initializer: Any = None,
    shared_embedding_collection_name: str | None = None, ckpt_to_load_from: Any = None,
    tensor_name_in_ckpt: str | None = None, max_norm: float | None = None, trainable: bool = True,
    use_safe_embedding_lookup: bool = True,
) -> list[SharedEmbeddingColumn]:  # fmt: skip
    """Return dense columns of embeddings, one for each of `categorical_columns`, that share one table.

    Args:
        categorical_columns: columns of one kind and of as many ids; weighted ones and sequences of that kind count.
        shared_embedding_collection_name: what the collection and the scope of the table are called; made from the
            columns' names otherwise. For the other arguments see `embedding_column`.

    Raises:
        ValueError: the columns are of different kinds, or of different numbers of ids.
    """
    table = _table(
        dimension, combiner, initializer, ckpt_to_load_from, tensor_name_in_ckpt, max_norm, trainable,
        use_safe_embedding_lookup,
    )  # fmt: skip
    ordered = sorted(categorical_columns, key=lambda c: c.name)
    first = _kind(ordered[0])
    for column in ordered[1:]:
        other = _kind(column)
        if not isinstance(other, type(first)):
            raise ValueError(  # noqa: TRY004 - TensorFlow's class
                "To use shared_embedding_column, all categorical_columns must have the same type, or be "
                f"weighted_categorical_column or sequence column of the same type. Given column: {first} of type: "
                f"{type(first)} does not match given column: {other} of type: {type(other)}"
            )
        if other.num_buckets != first.num_buckets:
            raise ValueError(
                "To use shared_embedding_column, all categorical_columns must have the same number of buckets. Given "
                f"column: {first} with buckets: {first.num_buckets} does not match column: {other} with buckets: "
                f"{other.num_buckets}"
            )
    name = shared_embedding_collection_name or "_".join(c.name for c in ordered) + "_shared_embedding"
    return [SharedEmbeddingColumn(column, table, name) for column in categorical_columns]


def _kind(column: Any) -> CategoricalColumn:
    if not isinstance(column, CategoricalColumn):
        raise ValueError(  # noqa: TRY004 - TensorFlow's class
            f"All categorical_columns must be subclasses of _CategoricalColumn. Given: {column}, of type: "
            f"{type(column)}"
        )
    plain: CategoricalColumn = column
    while isinstance(plain, (WeightedCategoricalColumn, SequenceCategoricalColumn)):
        plain = plain.categorical_column
    return plain


__all__ = ["embedding_column", "indicator_column", "shared_embedding_columns"]
