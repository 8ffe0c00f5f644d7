"""Columns of numbers: as they are, or cut into buckets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

from coldframe import dtypes
from coldframe.dtypes import DType
from coldframe.records import dataclass
from coldframe.tf1.arithmetic_ops import bucketize, range
from coldframe.tf1.cast_ops import cast
from coldframe.tf1.feature_column.base import (
    CategoricalColumn,
    DenseColumn,
    Features,
    IdWeightPair,
    Made,
    check_key,
)
from coldframe.tf1.framework.convert import SparseTensor
from coldframe.tf1.framework.dtype import as_dtype
from coldframe.tf1.framework.shape import TensorShape
from coldframe.tf1.parsing_ops import FixedLenFeature
from coldframe.tf1.shape_ops import expand_dims, one_hot, reshape, stack, tile, transpose
from coldframe.tf1.shape_ops import shape as shape_of


@dataclass(frozen=True, slots=True)
class NumericColumn(DenseColumn):
    """Numbers as they are; see `numeric_column`."""

    key: str
    shape: tuple[int, ...]
    default_value: Any
    dtype: DType
    normalizer_fn: Callable[[Any], Any] | None

    @property
    def name(self) -> str:
        return self.key

    @property
    def parse_example_spec(self) -> dict[str, Any]:
        return {self.key: FixedLenFeature(self.shape, self.dtype, self.default_value)}

    @property
    def variable_shape(self) -> TensorShape:
        return TensorShape(self.shape)

    def transform(self, features: Features) -> Any:
        tensor = features.get(self.key)
        if isinstance(tensor, SparseTensor):
            raise ValueError(  # noqa: TRY004 - TensorFlow's class
                "The corresponding Tensor of numerical column must be a Tensor. SparseTensor is not supported. "
                f"key: {self.key}"
            )
        return cast(tensor if self.normalizer_fn is None else self.normalizer_fn(tensor), dtypes.float32)

    def dense(self, features: Features, made: Made) -> Any:
        return features.get(self)


def numeric_column(
    key: str, shape: Any = (1,), default_value: Any = None, dtype: Any = dtypes.float32,
    normalizer_fn: Callable[[Any], Any] | None = None,
) -> NumericColumn:  # fmt: skip
    """Return a column of numbers, which are made float32.

    Args:
        key: the feature.
        shape: of the feature, without the batch.
        default_value: where an example lacks the feature: a number, or nested sequences of that shape.
        dtype: of the feature: a real one.
        normalizer_fn: called with the feature's tensor; what it returns is taken instead.

    Raises:
        TypeError: a dimension is no int, the default does not fit the dtype, or `normalizer_fn` cannot be called.
        ValueError: a dimension is below 1, the default has another shape, or the dtype is not real.
    """
    checked, kind = checked_shape(shape, key), as_dtype(dtype)
    if not (kind.is_integer or kind.is_floating):
        raise ValueError(f"dtype must be convertible to float. dtype: {kind.name}, key: {key}")
    default = _checked_default(checked, default_value, kind, key)
    if normalizer_fn is not None and not callable(normalizer_fn):
        raise TypeError(f"normalizer_fn must be a callable. Given: {normalizer_fn}")
    check_key(key)
    return NumericColumn(key, checked, default, kind, normalizer_fn)


def checked_shape(shape: Any, key: str) -> tuple[int, ...]:
    """Return a shape as a tuple of positive ints."""
    dims = tuple(shape) if isinstance(shape, (tuple, list, TensorShape)) else (shape,)
    for dim in dims:
        if not isinstance(dim, int):
            raise TypeError(f"shape dimensions must be integer. shape: {dims}, key: {key}")
        if dim < 1:
            raise ValueError(f"shape dimensions must be greater than 0. shape: {dims}, key: {key}")
    return dims


def _checked_default(shape: tuple[int, ...], given: Any, dtype: DType, key: str) -> Any:
    """Return a default as nested tuples of `shape`."""
    if given is None:
        return None
    value = given.tolist() if callable(getattr(given, "tolist", None)) else given
    if isinstance(value, int) or (isinstance(value, float) and dtype.is_floating):
        return _filled(shape, value)
    if isinstance(value, (list, tuple)):
        if not _has_shape(value, shape):
            raise ValueError(
                "The shape of default_value must be equal to given shape. "
                f"default_value: {value}, shape: {shape}, key: {key}"
            )
        kinds = {type(v) for v in _leaves(value)}
        if kinds == {int} or (float in kinds and dtype.is_floating):
            return _as_tuple(value)
    raise TypeError(
        f"default_value must be compatible with dtype. default_value: {value}, dtype: {dtype.name}, key: {key}"
    )


def _filled(shape: tuple[int, ...], value: Any) -> Any:
    return (_filled(shape[1:], value),) * shape[0] if shape else value


def _has_shape(value: Any, shape: tuple[int, ...]) -> bool:
    if isinstance(value, (list, tuple)) != bool(shape):
        return False
    return not shape or (len(value) == shape[0] and all(_has_shape(v, shape[1:]) for v in value))


def _leaves(value: Any) -> list[Any]:
    return [x for v in value for x in _leaves(v)] if isinstance(value, (list, tuple)) else [value]


def _as_tuple(value: Any) -> Any:
    return tuple(_as_tuple(v) for v in value) if isinstance(value, (list, tuple)) else value


# --- buckets --------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class BucketizedColumn(DenseColumn, CategoricalColumn):
    """Numbers by the bucket they fall in; see `bucketized_column`."""

    source_column: NumericColumn
    boundaries: tuple[float, ...]

    @property
    def name(self) -> str:
        return f"{self.source_column.name}_bucketized"

    @property
    def parse_example_spec(self) -> dict[str, Any]:
        return self.source_column.parse_example_spec

    @property
    def _buckets(self) -> int:
        return len(self.boundaries) + 1

    @property
    def variable_shape(self) -> TensorShape:
        return TensorShape((*self.source_column.shape, self._buckets))

    @property
    def num_buckets(self) -> int:
        return self._buckets * self.source_column.shape[0]

    def transform(self, features: Features) -> Any:
        return bucketize(features.get(self.source_column), list(self.boundaries))

    def dense(self, features: Features, made: Made) -> Any:
        buckets = cast(features.get(self), dtypes.int64)
        return one_hot(buckets, self._buckets, on_value=1.0, off_value=0.0)

    def ids(self, features: Features) -> IdWeightPair:
        """Number the buckets of the second element after those of the first, and so on."""
        buckets = features.get(self)
        rows, columns = shape_of(buckets)[0], self.source_column.shape[0]
        row = reshape(tile(expand_dims(range(0, rows), 1), [1, columns]), (-1,))
        column = tile(range(0, columns), [rows])
        values = reshape(buckets, (-1,)) + self._buckets * column
        indices = cast(transpose(stack((row, column))), dtypes.int64)
        whole = cast(stack([rows, columns]), dtypes.int64)
        return IdWeightPair(SparseTensor(indices, values, whole), None)


def bucketized_column(source_column: NumericColumn, boundaries: Sequence[float]) -> BucketizedColumn:
    """Return a column of the buckets that numbers fall in: below the first boundary, between two, or above the last.

    Args:
        source_column: a `numeric_column` of a vector.
        boundaries: a list or tuple, ascending; a number that equals one belongs to the bucket above.

    Raises:
        ValueError: the source is no such column, or the boundaries are none, or not ascending.
    """
    if not isinstance(source_column, NumericColumn):
        raise ValueError(  # noqa: TRY004 - TensorFlow's class
            f"source_column must be a column generated with numeric_column(). Given: {source_column}"
        )
    if len(source_column.shape) > 1:
        raise ValueError(f"source_column must be one-dimensional column. Given: {source_column}")
    if not boundaries:
        raise ValueError("boundaries must not be empty.")
    ascending = isinstance(boundaries, (list, tuple)) and all(a < b for a, b in pairwise(boundaries))
    if not ascending:
        raise ValueError("boundaries must be a sorted list.")
    return BucketizedColumn(source_column, tuple(boundaries))


__all__ = ["bucketized_column", "numeric_column"]
