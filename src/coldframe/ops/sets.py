"""Sets along the last dimension: each row of a dense or sparse tensor is a set of numbers or strings.

Results are sparse: each row's members in ascending order, as many columns as the largest result has.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from coldframe.ops import inference_text
from coldframe.ops.sparse import check_inside, check_sparse, compared, starts_of
from coldframe.ops.table import op
from coldframe.primitives.base import refuse

Array = npt.NDArray[Any]
Place = tuple[int, ...]
_HOST: Final = "how large a set is is known only when running"
_OPERATIONS: Final[dict[str, Callable[[set[Any], set[Any]], set[Any]]]] = {
    "a-b": lambda a, b: a - b,
    "b-a": lambda a, b: b - a,
    "intersection": lambda a, b: a & b,
    "union": lambda a, b: a | b,
}


def _dense_sets(x: Array) -> dict[Place, set[Any]]:
    if x.ndim < 2:
        raise refuse("the rank of a tensor of sets", expected="2 or more", found=x.ndim)
    rows = x.reshape(math.prod(x.shape[:-1]), x.shape[-1]).tolist()
    return {place: set(row) for place, row in zip(np.ndindex(x.shape[:-1]), rows, strict=True)}


def _sparse_rows(indices: Array, values: Array, shape: Array, validate: bool) -> Iterator[tuple[Place, list[Any]]]:
    check_sparse(indices, values, shape)
    if len(shape) < 2:
        raise refuse("the rank of a tensor of sets", expected="2 or more", found=len(shape))
    check_inside(indices, shape)
    if validate and (compared(indices[:-1], indices[1:]) >= 0).any():
        raise refuse("coordinates of sets are out of order or repeated", hint="SparseReorder sorts them")
    starts = starts_of(indices[:, :-1]).tolist()
    for at, end in zip(starts, [*starts[1:], len(values)][: len(starts)], strict=True):
        yield tuple(indices[at, :-1].tolist()), values[at:end].tolist()


def _sparse_sets(indices: Array, values: Array, shape: Array, validate: bool) -> dict[Place, set[Any]]:
    out: dict[Place, set[Any]] = {}
    for place, row in _sparse_rows(indices, values, shape, validate):
        out[place] = out.get(place, set()) | set(row)
    return out


def _operated(
    a: dict[Place, set[Any]],
    b: dict[Place, set[Any]],
    outer: list[int],
    other: list[int],
    how: str,
    kind: np.dtype[Any],
) -> tuple[Array, Array, Array]:
    if outer != other:
        raise refuse("the tensors of sets differ in shape", expected=outer, found=other)
    if how not in _OPERATIONS:
        raise refuse("`set_operation`", expected=", ".join(_OPERATIONS), found=how)
    indices: list[Place] = []
    values: list[Any] = []
    most, nothing = 0, set[Any]()
    for place in sorted(a.keys() | b.keys()):
        found = sorted(_OPERATIONS[how](a.get(place, nothing), b.get(place, nothing)))
        indices += [(*place, k) for k in range(len(found))]
        values += found
        most = max(most, len(found))
    result = np.empty(len(values), kind)
    result[:] = values
    at = np.array(indices, np.int64).reshape(-1, len(outer) + 1)
    return at, result, np.array([*outer, most], np.int64)


@op(
    "DenseToDenseSetOperation",
    shape=inference_text.set_operation,
    no_gradient=True,
    host=_HOST,
    ignores=("validate_indices",),
)
def dense_to_dense(xp: Any, set1: Array, set2: Array, *, set_operation: str) -> Any:
    """Difference, intersection or union of the sets in two dense tensors."""
    a, b = _dense_sets(set1), _dense_sets(set2)
    return _operated(a, b, list(set1.shape[:-1]), list(set2.shape[:-1]), set_operation, set1.dtype)


@op("DenseToSparseSetOperation", shape=inference_text.set_operation, no_gradient=True, host=_HOST)
def dense_to_sparse(
    xp: Any, set1: Array, set2_indices: Array, set2_values: Array, set2_shape: Array,
    *, set_operation: str, validate_indices: bool,
) -> Any:  # fmt: skip
    """Difference, intersection or union of the sets in a dense and a sparse tensor."""
    a, b = _dense_sets(set1), _sparse_sets(set2_indices, set2_values, set2_shape, validate_indices)
    return _operated(a, b, list(set1.shape[:-1]), set2_shape[:-1].tolist(), set_operation, set1.dtype)


@op("SparseToSparseSetOperation", shape=inference_text.set_operation, no_gradient=True, host=_HOST)
def sparse_to_sparse(
    xp: Any, set1_indices: Array, set1_values: Array, set1_shape: Array, set2_indices: Array, set2_values: Array,
    set2_shape: Array, *, set_operation: str, validate_indices: bool,
) -> Any:  # fmt: skip
    """Difference, intersection or union of the sets in two sparse tensors."""
    a = _sparse_sets(set1_indices, set1_values, set1_shape, validate_indices)
    b = _sparse_sets(set2_indices, set2_values, set2_shape, validate_indices)
    outer = [s[:-1].tolist() for s in (set1_shape, set2_shape)]
    return _operated(a, b, outer[0], outer[1], set_operation, set1_values.dtype)


@op("SetSize", shape=inference_text.set_size, no_gradient=True, host=_HOST)
def set_size(xp: Any, set_indices: Array, set_values: Array, set_shape: Array, *, validate_indices: bool) -> Any:
    """How many members each set of a sparse tensor has."""
    sets = _sparse_sets(set_indices, set_values, set_shape, validate_indices)
    out = xp.full(set_shape[:-1], np.zeros((), np.int32))
    for place, members in sets.items():
        out[place] = len(members)
    return out
