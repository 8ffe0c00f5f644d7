"""Sets along the last dimension: each row of a dense or sparse tensor is a set of numbers or strings.

Results are sparse: each row's members in ascending order, as many columns as the largest result has.

Rows and members are numbered, and a member of a row of the first or second tensor becomes one integer. Sorted, they are
the sets, and what both tensors have stands side by side::

    (row * members + member) * 2 + tensor
"""

from __future__ import annotations

import math
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from coldframe.ops import inference_text
from coldframe.ops.sparse import check_inside, check_sparse, compared
from coldframe.ops.table import op
from coldframe.primitives.base import refuse

Array = npt.NDArray[Any]
_HOST: Final = "how large a set is is known only when running"
_OPERATIONS: Final = ("a-b", "b-a", "intersection", "union")
_MOST: Final = 2**62  # what a member of a row may be as an integer


class _Sets(NamedTuple):
    """Sets of rows.

    Attributes:
        outer: the shape in which the rows lie.
        rows: the number of the row that each member is in.
        members: of all rows; those of one may repeat.
    """

    outer: list[int]
    rows: Array
    members: Array


def _dense_sets(x: Array) -> _Sets:
    if x.ndim < 2:
        raise refuse("the rank of a tensor of sets", expected="2 or more", found=x.ndim)
    *outer, size = x.shape
    return _Sets(outer, np.arange(math.prod(outer)).repeat(size), x.ravel())


def _sparse_sets(indices: Array, values: Array, shape: Array, validate: bool) -> _Sets:
    check_sparse(indices, values, shape)
    if len(shape) < 2:
        raise refuse("the rank of a tensor of sets", expected="2 or more", found=len(shape))
    check_inside(indices, shape)
    if validate and (compared(indices[:-1], indices[1:]) >= 0).any():
        raise refuse("coordinates of sets are out of order or repeated", hint="SparseReorder sorts them")
    outer = shape[:-1].tolist()
    if math.prod(outer) >= _MOST:
        raise refuse("there are too many sets", expected=f"fewer than {_MOST}", found=f"shape {shape.tolist()}")
    rows = indices[:, 0]
    for k, size in enumerate(outer[1:], 1):
        rows = rows * size + indices[:, k]
    return _Sets(outer, rows, values)


class _Numbers(NamedTuple):
    """Things as integers from 0.

    Attributes:
        codes: the integers.
        size: how many there may be.
        known: what they stand for, one after the other; or the number that 0 stands for, and so on.
    """

    codes: Array
    size: int
    known: Array | int

    def decoded(self, codes: Array, kind: np.dtype[Any]) -> Array:
        """Return what integers stand for."""
        if isinstance(self.known, int):
            return (codes + self.known).astype(kind)
        return self.known[codes]


def _ranked(x: Array) -> _Numbers:
    """Number what there is, in ascending order."""
    if x.dtype != object:
        known, codes = np.unique(x, return_inverse=True)
        return _Numbers(codes, len(known), known)
    listed = x.tolist()
    members = sorted(set(listed))
    ranks = {member: k for k, member in enumerate(members)}
    known = np.empty(len(members), object)
    known[:] = members
    return _Numbers(np.array([ranks[member] for member in listed], np.int64), len(members), known)


def _numbered(x: Array, low: int, most: int) -> _Numbers:
    """Number by how much more than `low`, where that is less than `most`, or else by rank."""
    if x.dtype == object or not len(x) or (count := int(x.max()) - low + 1) > most:
        return _ranked(x)
    return _Numbers(x.astype(np.int64) - low, count, low)


def _members(rows: Array, members: Array, tensor: Array | int = 0) -> tuple[Array, _Numbers, _Numbers]:
    """Return the integers of members, in ascending order and each once, and the numbers that they are made of."""
    of_rows = _numbered(rows, 0, _MOST)
    if of_rows.size * (len(rows) + 1) * 2 > _MOST:
        of_rows = _ranked(rows)
    low = int(members.min()) if members.dtype != object and len(members) else 0
    of_members = _numbered(members, low, _MOST // (2 * of_rows.size + 1))
    found = np.sort((of_rows.codes * of_members.size + of_members.codes) * 2 + tensor)
    return found[_changes(found)], of_rows, of_members


def _changes(x: Array) -> Array:
    """Return where an element is another than the one before it."""
    out = np.ones(len(x), bool)
    np.not_equal(x[1:], x[:-1], out=out[1:])
    return out


def _operated(a: _Sets, b: _Sets, how: str) -> tuple[Array, Array, Array]:
    if a.outer != b.outer:
        raise refuse("the tensors of sets differ in shape", expected=a.outer, found=b.outer)
    if how not in _OPERATIONS:
        raise refuse("`set_operation`", expected=", ".join(_OPERATIONS), found=how)
    rows, members = (np.concatenate(pair) for pair in ((a.rows, b.rows), (a.members, b.members)))
    second = np.arange(len(rows)) >= len(a.rows)
    found, of_rows, of_members = _members(rows, members, second)
    code, member = np.divmod(_chosen(found, how), of_members.size or 1)
    row = of_rows.decoded(code, rows.dtype)
    first = np.flatnonzero(_changes(row))
    lengths = np.append(first[1:], len(row)) - first
    at = np.empty((len(row), len(a.outer) + 1), np.int64)
    at[:, -1] = np.arange(len(row)) - np.repeat(first, lengths)
    for k in range(len(a.outer) - 1, 0, -1):
        row, at[:, k] = np.divmod(row, a.outer[k])
    at[:, 0] = row
    return at, of_members.decoded(member, members.dtype), np.array([*a.outer, lengths.max(initial=0)], np.int64)


def _chosen(found: Array, how: str) -> Array:
    """Return the members of the result, of integers that tell by their last bit which tensor has a member."""
    member = found >> 1
    again = np.zeros(len(member) + 1, bool)
    again[1:-1] = member[1:] == member[:-1]
    follows, leads = again[:-1], again[1:]  # after its twin in the first tensor, before that in the second
    if how == "union":
        return member[~follows]
    if how == "intersection":
        return member[follows]
    second = (found & 1).astype(bool)
    return member[second & ~follows] if how == "b-a" else member[~second & ~leads]


@op(
    "DenseToDenseSetOperation",
    shape=inference_text.set_operation,
    no_gradient=True,
    host=_HOST,
    ignores=("validate_indices",),
)
def dense_to_dense(xp: Any, set1: Array, set2: Array, *, set_operation: str) -> Any:
    """Difference, intersection or union of the sets in two dense tensors."""
    return _operated(_dense_sets(set1), _dense_sets(set2), set_operation)


@op("DenseToSparseSetOperation", shape=inference_text.set_operation, no_gradient=True, host=_HOST)
def dense_to_sparse(
    xp: Any, set1: Array, set2_indices: Array, set2_values: Array, set2_shape: Array,
    *, set_operation: str, validate_indices: bool,
) -> Any:  # fmt: skip
    """Difference, intersection or union of the sets in a dense and a sparse tensor."""
    b = _sparse_sets(set2_indices, set2_values, set2_shape, validate_indices)
    return _operated(_dense_sets(set1), b, set_operation)


@op("SparseToSparseSetOperation", shape=inference_text.set_operation, no_gradient=True, host=_HOST)
def sparse_to_sparse(
    xp: Any, set1_indices: Array, set1_values: Array, set1_shape: Array, set2_indices: Array, set2_values: Array,
    set2_shape: Array, *, set_operation: str, validate_indices: bool,
) -> Any:  # fmt: skip
    """Difference, intersection or union of the sets in two sparse tensors."""
    a = _sparse_sets(set1_indices, set1_values, set1_shape, validate_indices)
    b = _sparse_sets(set2_indices, set2_values, set2_shape, validate_indices)
    return _operated(a, b, set_operation)


@op("SetSize", shape=inference_text.set_size, no_gradient=True, host=_HOST)
def set_size(xp: Any, set_indices: Array, set_values: Array, set_shape: Array, *, validate_indices: bool) -> Any:
    """How many members each set of a sparse tensor has."""
    sets = _sparse_sets(set_indices, set_values, set_shape, validate_indices)
    out: Array = xp.full(set_shape[:-1], np.zeros((), np.int32))
    found, of_rows, of_members = _members(sets.rows, set_values)
    code = found // (2 * of_members.size or 1)
    first = np.flatnonzero(_changes(code))
    out.reshape(-1)[of_rows.decoded(code[first], sets.rows.dtype)] = np.append(first[1:], len(code)) - first
    return out
