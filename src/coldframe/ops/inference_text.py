"""Shape rules of strings, parsing, sparse tensors and labels."""

from __future__ import annotations

from typing import Any

from coldframe.ops.known import (
    Attrs,
    Dim,
    Dims,
    Known,
    add,
    at_least,
    entries_of,
    merge,
    merge_dim,
    scalar_of,
    with_rank,
)
from coldframe.shapes import Shape


def string_join(a: Attrs, inputs: list[Known]) -> Dims:
    """StringJoin: one shape, and scalars."""
    out: Dims = ()
    for x in inputs:
        if x.dims is None:
            out = None
        elif x.dims and out is not None:
            out = merge(out or None, x.dims)
    return out


def decode_raw(a: Attrs, x: Known) -> Dims:
    """DecodeRaw: one dimension more."""
    return None if x.dims is None else (*x.dims, None)


def decode_padded_raw(a: Attrs, x: Known, length: Known) -> Dims:
    """DecodePaddedRaw: one dimension more, as long as given."""
    with_rank(length.dims, 0)
    n, width = scalar_of(length), a["out_type"].width
    return None if x.dims is None else (*x.dims, None if n is None else n // width)


def decode_csv(a: Attrs, records: Known, defaults: list[Known]) -> list[Dims]:
    """DecodeCSV: like the records."""
    return [records.dims] * len(defaults)


# --- examples -----------------------------------------------------------------------------------------------------
def parse_example(a: Attrs, serialized: Known, names: Known, *others: Any) -> list[Dims]:
    """ParseExample: sparse features, then dense ones per example."""
    batch = with_rank(serialized.dims, 1)
    return _sparse(int(a["Nsparse"]), len(batch)) + _dense(a, "dense_shapes", batch)


def parse_example_v2(a: Attrs, serialized: Known, names: Known, *others: Any) -> list[Dims]:
    """ParseExampleV2: of a batch or of one; ragged features come last."""
    n, ragged = int(a["num_sparse"]), len(a["ragged_value_types"])
    rank = None if serialized.dims is None else len(serialized.dims)
    batch = serialized.dims
    dense = [None] * len(a["dense_shapes"]) if batch is None else _dense(a, "dense_shapes", batch)
    splits: Dims = None if rank is None else (add(batch[0], 1),) if batch else (None,)
    return _sparse(n, rank) + dense + [(None,)] * ragged + [splits if rank else (0,) if rank == 0 else None] * ragged


def parse_single_example(a: Attrs, serialized: Known, defaults: list[Known]) -> list[Dims]:
    """ParseSingleExample."""
    with_rank(serialized.dims, 0)
    return _sparse(int(a["num_sparse"]), 0) + _dense(a, "dense_shapes", ())


def parse_sequence_example(a: Attrs, serialized: Known, *others: Any) -> list[Dims]:
    """ParseSequenceExample: context, then lists of steps, of a batch or of one."""
    batch = serialized.dims
    if batch is None:
        return [None]
    rank = len(batch)
    lists = [s if s is None else (*batch, None, *s) for s in _shapes(a, "feature_list_dense_shapes")]
    context = _sparse(int(a["Ncontext_sparse"]), rank) + _dense(a, "context_dense_shapes", batch)
    return context + _sparse(int(a["Nfeature_list_sparse"]), rank + 1) + lists + [batch] * len(lists)


def _sparse(n: int, rank: int | None) -> list[Dims]:
    wide: Dim = None if rank is None else rank + 1
    return [*[(None, wide)] * n, *[(None,)] * n, *[(wide,)] * n]


def _dense(a: Attrs, name: str, batch: tuple[Dim, ...]) -> list[Dims]:
    return [None if dims is None else (*batch, *dims) for dims in _shapes(a, name)]


def _shapes(a: Attrs, name: str) -> list[Dims]:
    shapes: tuple[Shape, ...] = a[name]
    return [s.dims for s in shapes]


# --- sparse tensors -----------------------------------------------------------------------------------------------
def sparse_concat(a: Attrs, indices: list[Known], values: list[Known], shapes: list[Known]) -> list[Dims]:
    """SparseConcat."""
    rank, total = None, None
    for i, v, s in zip(indices, values, shapes, strict=True):
        n, r = with_rank(i.dims, 2)
        rank = merge_dim(merge_dim(rank, r), with_rank(s.dims, 1)[0])
        n = merge_dim(n, with_rank(v.dims, 1)[0])
        total = n if i is indices[0] else add(total, n)
    return [(total, rank), (total,), (rank,)]


def sparse_split(a: Attrs, split_dim: Known, indices: Known, values: Known, sizes: Known) -> list[Dims]:
    """SparseSplit."""
    n, rank = int(a["num_split"]), with_rank(sizes.dims, 1)[0]
    return [*[(None, rank)] * n, *[(None,)] * n, *[(rank,)] * n]


def set_size(a: Attrs, indices: Known, values: Known, sizes: Known) -> Dims:
    """SetSize: without the last dimension."""
    entries = entries_of(sizes)
    return None if entries is None else tuple(entries[:-1])


def set_operation(a: Attrs, *inputs: Known) -> list[Dims]:
    """Operations on sets: sparse, of the rank of a dense operand where one tells it."""
    ranks: list[Dim] = []
    if len(inputs) == 2:
        ranks = [None if x.dims is None else len(x.dims) for x in inputs]
    elif len(inputs) == 4:
        ranks = [None if inputs[0].dims is None else len(inputs[0].dims), with_rank(inputs[3].dims, 1)[0]]
    else:
        ranks = [with_rank(inputs[2].dims, 1)[0], with_rank(inputs[5].dims, 1)[0]]
    rank = merge_dim(*ranks)
    return [(None, rank), (None,), (rank,)]


def edit_distance(a: Attrs, i: Known, v: Known, hypothesis: Known, j: Known, w: Known, truth: Known) -> Dims:
    """EditDistance: without the last dimension."""
    m, n = entries_of(hypothesis), entries_of(truth)
    if m is None or n is None or None in m or None in n:
        rank = merge_dim(with_rank(hypothesis.dims, 1)[0], with_rank(truth.dims, 1)[0])
        return None if rank is None else (None,) * (rank - 1)
    return tuple(max(p or 0, q or 0) for p, q in zip(m[:-1], n[:-1], strict=True))


def beam_search(a: Attrs, inputs: Known, lengths: Known) -> list[Dims]:
    """CTCBeamSearchDecoder: paths as sparse tensors, and their logarithmic probabilities."""
    n: int = a["top_paths"]
    batch = merge_dim(with_rank(inputs.dims, 3)[1], with_rank(lengths.dims, 1)[0])
    return [*[(None, 2)] * n, *[(None,)] * n, *[(2,)] * n, (batch, n)]


# --- ragged tensors -----------------------------------------------------------------------------------------------
def ragged_to_sparse(a: Attrs, splits: list[Known], values: Known) -> list[Dims]:
    """RaggedTensorToSparse."""
    at_least(values.dims, 1)
    rank = None if values.dims is None else len(values.dims) + len(splits)
    return [(None, rank), (None,), (rank,)]


def ragged_gather(a: Attrs, splits: list[Known], values: Known, indices: Known) -> list[Dims]:
    """RaggedGather: splits, then values."""
    at_least(values.dims, 1)
    rest: Dims = None if values.dims is None else (None, *values.dims[1:])
    return [*[(None,)] * int(a["OUTPUT_RAGGED_RANK"]), rest]
