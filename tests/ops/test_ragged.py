"""Ragged tensors against TensorFlow."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from coldframe import dtypes
from coldframe.errors import ExecutionError
from op_harness import NUMPY, Row, bound, check, each, rows, sample


def i64(*v: Any) -> Any:
    return np.array(v, np.int64)


def ranges(d: str, a: Any, b: Any, c: Any, refused: bool = False, **attrs: Any) -> Row:
    return Row("RaggedRange", [np.array(v, dtypes.as_dtype(d).numpy) for v in (a, b, c)], attrs, refused=refused)


@rows(
    *each(("int32", "int64", "float32", "float64"), lambda d: ranges(d, [0, 5, 9], [4, 5, 1], [1, 2, -3])),
    ranges("int32", 0, [3, 0, 7], 2, Tsplits="int32"),
    ranges("int32", 3, 0, -1),
    ranges("float32", 0, [1, 2], 0.1),
    ranges("float64", [0.5], [0.5], [0.25]),
    ranges("int32", [], [], []),
    ranges("int64", -(2**62), 2**62, 2**61),
    ranges("int32", [0], [1, 2], 1, refused=True),
    ranges("int32", [0], [1], 0, refused=True),
    ranges("float32", [0], [np.inf], 1, refused=True),
    ranges("int32", [[0]], [1], 1, refused=True),
)
def test_range(row: Row) -> None:
    check(row)


SPLITS, VALUES = i64(0, 2, 2, 5), sample("float32", 5)
DEEP = [i64(0, 2, 2, 3), i64(0, 1, 4, 5)]  # around five values


def gather(splits: list[Any], values: Any, indices: Any, **fields: Any) -> Row:
    rank = len(splits) + np.ndim(indices) - 1
    return Row("RaggedGather", [splits, values, indices], {"OUTPUT_RAGGED_RANK": rank}, **fields)


@rows(
    gather([SPLITS], VALUES, i64(2, 0, 0)),
    gather([SPLITS.astype(np.int32)], sample("int64", 5, 2), np.array([[1, 2]], np.int32)),
    gather(DEEP, VALUES, i64(2, 1, 0)),
    gather(DEEP, VALUES, i64([2, 1], [0, 0])),
    gather(DEEP, np.array([b"a", b"b", b"c", b"d", b"e"], object), i64()),
    gather([SPLITS], VALUES, np.int32(2)),
    gather(DEEP, VALUES, np.int64(0)),
    gather([SPLITS], VALUES, i64(3), refused=True),
    gather([SPLITS], VALUES, i64(-1), refused=True),
    gather([i64(0, 3, 2, 5)], VALUES, i64(1), refused=True),
    Row("RaggedTensorToSparse", [[SPLITS], VALUES]),
    Row("RaggedTensorToSparse", [DEEP, VALUES]),
    Row("RaggedTensorToSparse", [[SPLITS.astype(np.int32)], sample("int64", 5, 2)]),
    Row("RaggedTensorToSparse", [[SPLITS], np.array([b"a", b"b", b"c", b"d", b"e"], object)]),
    Row("RaggedTensorToSparse", [[i64(0)], VALUES[:0]]),
    Row("RaggedTensorToSparse", [[i64(0, 3)], VALUES], refused=True),
    Row("RaggedTensorToSparse", [[i64(1, 5)], VALUES], refused=True),
    Row("RaggedTensorToSparse", [[i64(0, 7, 5)], VALUES], refused=True),
)
def test_rows(row: Row) -> None:
    check(row)


def dense(shape: Any, values: Any, parts: list[Any], *kinds: str, default: Any = 9, refused: bool = False) -> Row:
    inputs = [np.array(shape, np.int64), values, np.array(default, values.dtype), parts]
    name = f"{shape} {[p.tolist() for p in parts]} {values.dtype} {default}"
    return Row("RaggedTensorToTensor", inputs, {"row_partition_types": list(kinds)}, refused=refused, name=name)


S, R, F = "ROW_SPLITS", "VALUE_ROWIDS", "FIRST_DIM_SIZE"
IDS = i64(0, 0, 2, 2, 2)


@rows(
    dense([-1, -1], VALUES, [SPLITS], S),
    dense(-1, VALUES, [SPLITS], S),
    dense([2, 2], VALUES, [SPLITS], S),
    dense([5, 4], VALUES, [SPLITS], S),
    dense([-1, 1], VALUES, [SPLITS], S),
    dense([0, 3], VALUES, [SPLITS], S),
    dense([-1, -1], VALUES, [i64(3).reshape(()), IDS], F, R),
    dense([-1, 4], VALUES, [i64(5).reshape(()), IDS], F, R),
    dense([-1, -1, -1], VALUES, DEEP, S, S),
    dense([2, 1, 2], VALUES, DEEP, S, S),
    dense([4, 3, 5], VALUES, DEEP, S, S),
    dense([-1, -1, -1], VALUES, [i64(3).reshape(()), i64(0, 0, 2), i64(0, 1, 1, 1, 2)], F, R, R),
    dense([-1, -1, 2], sample("int32", 5, 2), [SPLITS], S),
    dense([-1, -1, 2], sample("int32", 5, 2), [SPLITS], S, default=[7, 8]),
    dense([-1, -1], np.array([b"a", b"b", b"c", b"d", b"e"], object), [SPLITS], S, default=b""),
    dense([-1, -1], VALUES[:0], [i64(0)], S),
    dense([-1, -1], VALUES[:0], [i64(0, 0, 0)], S),
    dense([-1, -1], sample("bool", 5), [SPLITS], S, default=False),
    # values that no row holds
    dense([-1, -1], VALUES, [i64(0, 2, 3)], S),
    dense([2, 1], VALUES, [i64(0, 2, 3)], S),
    dense(-1, VALUES, [i64(3).reshape(()), i64(0, 0, 2)], F, R),
    dense(-1, VALUES, [i64(0, 2, 3), i64(0, 1, 1, 3)], S, S),
    dense([-1], VALUES, [SPLITS], S, refused=True),
    dense([-1, -1, 3], sample("int32", 5, 2), [SPLITS], S, refused=True),
    dense([-1, -1, 2], sample("int32", 5, 2), [SPLITS], S, default=[7, 8, 9], refused=True),
    dense([-1, -1], VALUES, [IDS], R, refused=True),
    dense([-1, -1], VALUES, [SPLITS], S, S, refused=True),
)
def test_to_dense(row: Row) -> None:
    check(row)


def test_partitions_that_do_not_fit_are_refused() -> None:
    for parts, kinds in (([i64(0, 3, 2, 5)], (S,)), ([i64(0, 7)], (S,)), ([i64(2).reshape(()), IDS], (F, R))):
        call, flat = bound(dense([-1, -1], VALUES, parts, *kinds))
        with pytest.raises(ExecutionError):
            call.run(NUMPY, flat)


NO = np.zeros(0, np.int32)


def counted(splits: Any, values: Any, size: int, weights: Any = NO, **fields: Any) -> Row:
    attrs = {"binary_output": fields.pop("binary_output", False)}
    return Row("RaggedBincount", [splits, values, values.dtype.type(size), weights], attrs, **fields)


COUNTS = i64(1, 1, 0, 5, 2)


@rows(
    counted(SPLITS, COUNTS, 4),
    counted(SPLITS, COUNTS.astype(np.int32), 6, sample("float32", 5)),
    counted(SPLITS, COUNTS, 6, np.zeros(0, np.float64), binary_output=True),
    counted(i64(0, 0), COUNTS[:0], 2),
    counted(SPLITS, COUNTS, -1, refused=True),
    counted(SPLITS, COUNTS - 3, 4, refused=True),
    counted(i64(1, 5), COUNTS, 4, refused=True),
)
def test_bincount(row: Row) -> None:
    check(row)


def through_variants(splits: list[Any], values: Any, batched: bool, given: int) -> None:
    """Encode and decode with both, and compare."""
    out = len(splits) if splits else 1
    to, flat = bound(Row("RaggedTensorToVariant", [splits, values], {"batched_input": batched, "Tsplits": "int64"}))
    (encoded,) = to.run(NUMPY, flat)
    attrs = {"input_ragged_rank": given, "output_ragged_rank": out, "Tvalues": values.dtype.name}
    back, _ = bound(Row("RaggedTensorFromVariant", [np.zeros(0)], attrs))
    got = back.run(NUMPY, [encoded])
    variant = tf.raw_ops.RaggedTensorToVariant(rt_nested_splits=splits, rt_dense_values=values, batched_input=batched)
    want = tf.raw_ops.RaggedTensorFromVariant(
        encoded_ragged=variant, input_ragged_rank=given, output_ragged_rank=out, Tvalues=values.dtype, Tsplits=tf.int64
    )
    want = [w.numpy() for w in tf.nest.flatten(want)]
    assert len(got) == len(want)
    for g, w in zip(got, want, strict=True):
        assert g.dtype == w.dtype
        np.testing.assert_array_equal(g, w)


@pytest.mark.parametrize(
    ("splits", "values", "batched", "given"),
    [
        ([SPLITS], VALUES, True, 0),
        ([SPLITS], VALUES, True, -1),
        ([SPLITS], sample("int64", 5, 2), True, 0),
        ([SPLITS], VALUES, False, 1),
        (DEEP, VALUES, True, 1),
        (DEEP, VALUES, True, -1),
        (DEEP, VALUES, False, 2),
        ([], sample("int32", 3, 2), True, 0),
    ],
)
def test_variants(splits: list[Any], values: Any, batched: bool, given: int) -> None:
    through_variants(splits, values, batched, given)


def test_what_is_no_ragged_variant_is_refused() -> None:
    attrs = {"input_ragged_rank": 0, "output_ragged_rank": 1, "Tvalues": "float32"}
    call, _ = bound(Row("RaggedTensorFromVariant", [np.zeros(0)], attrs))
    with pytest.raises(ExecutionError, match="not a ragged tensor"):
        call.run(NUMPY, [np.array([object()], object)])
