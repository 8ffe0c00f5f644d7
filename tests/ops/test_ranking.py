"""Order and sets against TensorFlow."""

import ml_dtypes
import numpy as np

from op_harness import FLOATS, INTS, NUMPY, Row, bound, check, each, rows, run_onnx, sample

NAN, INF = np.nan, np.inf
MATRIX = np.array([[3, 1, 3, 2], [5, 5, 5, 1]], "f")


@rows(
    *[Row("TopKV2", [sample(d, 3, 7, low=-50, high=50), np.int32(3)]) for d in FLOATS + INTS],
    *[Row("TopKV2", [np.array([[i.min, i.max, 0]], i.dtype), np.int32(3)]) for i in map(np.iinfo, INTS)],
    *[Row("TopKV2", [MATRIX, np.array(k, "int64")]) for k in (0, 1, 4)],
    *[Row("TopKV2", [MATRIX, np.int16(2)], {"index_type": t}) for t in ("int16", "int32", "int64")],
    Row("TopKV2", [sample("float32", 2, 3, 4), np.int32(2)]),
    *each(FLOATS + INTS, lambda d: Row("TopKV2", [sample(d, 3, 900, low=-50, high=50), np.int32(70)])),
    *[Row("TopKV2", [sample("float32", *shape), np.int32(k)]) for shape in ((3000,), (40, 2, 60)) for k in (0, 1, 9)],
    *[Row("TopKV2", [MATRIX, k], refused=True) for k in (np.int32(5), np.int32(-1), np.array([2], "int32"))],
    Row("TopKV2", [np.float32(1), np.int32(0)], refused=True),
)
def test_top_k(row: Row) -> None:
    check(row)


def test_top_k_puts_nan_last_and_takes_k_as_attribute() -> None:  # TensorFlow has no kernel for the first version
    call, flat = bound(Row("TopK", [np.array([1, NAN, 3, 3], "f")], {"k": 4}))
    values, indices = call.run(NUMPY, flat)
    assert indices.tolist() == [2, 3, 0, 1]
    assert np.isnan(values[-1])


def test_top_k_of_many_numbers_some_of_which_are_none() -> None:
    for share in (2, 500):  # more or fewer numbers than are asked for
        x = np.where(np.arange(6000).reshape(2, 3000) % 3000 < share, np.arange(3000) % 7, NAN)
        values, indices = NUMPY.top_k(x, 30)
        order = np.argsort(-x, axis=-1, kind="stable")[:, :30]
        np.testing.assert_array_equal(indices, order)
        np.testing.assert_array_equal(values, np.take_along_axis(x, order, -1))


@rows(
    *[Row("NthElement", [sample(d, 3, 5), np.int32(1)], {"reverse": r}) for d in FLOATS + INTS for r in (False, True)],
    *[Row("NthElement", [MATRIX, n], refused=True) for n in (np.int32(4), np.int32(-1), np.array([0], "int32"))],
    Row("NthElement", [np.float32(1), np.int32(0)], refused=True),
)
def test_nth_element(row: Row) -> None:
    check(row)


SCORES = np.array([[0.1, 0.9, 0.9], [0.3, INF, 0.2], [NAN, 1, 2], [0.1, 0.2, 0.3], [4, 1, 3], [3, 2, 1]], "f")


@rows(
    *[
        row
        for t in ("int32", "int64")
        for k in (0, 1, 2, 5)
        for row in (
            Row("InTopK", [SCORES, np.array([1, 0, 2, 7, -1, 1], t)], {"k": k}),
            Row("InTopKV2", [SCORES, np.array([1, 0, 2, 7, -1, 1], t), np.array(k, t)]),
        )
    ],
    Row("InTopK", [SCORES, np.array([1], "int32")], {"k": 1}, refused=True),
)
def test_in_top_k(row: Row) -> None:
    check(row)


@rows(
    *[Row(n, [sample(d, 9)]) for n in ("Unique", "UniqueWithCounts") for d in (*FLOATS, *INTS, "bool")],
    *[Row(n, [["b", "a", "b"]], {"out_idx": "int64"}) for n in ("Unique", "UniqueWithCounts")],
    Row("Unique", [np.array([NAN, 1, NAN, -0.0, 0.0], "f")]),
    Row("Unique", [np.zeros(0, "f")]),
    *each((*FLOATS, *INTS, "bool"), lambda d: Row("UniqueWithCounts", [sample(d, 3000, low=-50, high=50)])),
    *[Row("Unique", [np.arange(2000) % 900 * step]) for step in (1, 2**20, 2**53)],
    Row("UniqueV2", [np.arange(6000).reshape(2000, 3) % 7 - 3, np.array([0])]),
    Row("UniqueV2", [(np.arange(6000).reshape(3, 2000) % 5 - 2).astype("f") * np.float32(0.5), np.array([1])]),
    Row("Unique", [np.array([[1, 2]])], refused=True),
    *[
        Row(n, [x, np.array(a, t)])
        for n in ("UniqueV2", "UniqueWithCountsV2")
        for t in ("int32", "int64")
        for x, a in (
            (np.array([[1, 0], [1, 0], [2, 0]]), [0]),
            (np.array([[1, 1, 2], [1, 1, 3]], "f"), [-1]),
            (np.array([1, 1, 2]), []),
            (np.zeros((0, 2), "f"), [0]),
            (np.zeros((3, 0), "f"), [0]),
            (np.array([[NAN], [NAN], [1]], "f"), [0]),
            (np.array([1, 2, 1], ml_dtypes.bfloat16), [0]),
            (np.array([[[1, 2], [3, 4]], [[1, 2], [3, 4]]]), [1]),
        )
    ],
    Row("UniqueV2", [np.array([["a", "b"], ["a", "b"]]), np.array([0])]),
    *[Row("UniqueV2", [np.array([[1, 1, 2]]), np.array(a, "int64")], refused=True) for a in ([], [2], [0, 1])],
)
def test_unique(row: Row) -> None:
    check(row)


@rows(
    *[Row("ListDiff", [sample(d, 9), sample(d, 2)]) for d in FLOATS + INTS],
    Row("ListDiff", [["a", "b", "a"], ["b"]], {"out_idx": "int64"}),
    Row("ListDiff", [np.array([NAN, 1], "f"), np.array([NAN], "f")]),
    Row("ListDiff", [np.arange(3), np.zeros(0, "int64")]),
    Row("ListDiff", [np.array([[1]]), np.array([1])], refused=True),
    *[Row("InvertPermutation", [np.array([2, 0, 1, 3], t)]) for t in ("int32", "int64")],
    Row("InvertPermutation", [np.zeros(0, "int32")]),
    *[Row("InvertPermutation", [np.array(x, "int32")], refused=True) for x in ([0, 0, 1], [0, 3, 1], [0, -1], [[0]])],
)
def test_sets(row: Row) -> None:
    check(row)


@rows(
    *each(("float32", "float16", "bfloat16"), lambda d: Row("ApproxTopK", [sample(d, 3, 9)], {"k": 4})),
    Row("ApproxTopK", [sample("float32", 3, 9)], {"k": 2, "aggregate_to_topk": False, "recall_target": 0.5}),
    Row("ApproxTopK", [sample("float32", 9)], {"k": 9}),
    Row("ApproxTopK", [sample("float32", 3, 9)], {"k": 0}),
    Row("ApproxTopK", [sample("float32", 3, 9)], {"k": 10}, refused=True),
)
def test_about_the_largest(row: Row) -> None:
    check(row)


def test_about_the_smallest_along_another_dimension() -> None:
    """TensorFlow has kernels for the largest of the last dimension only."""
    x = sample("float32", 5, 3, 2)
    call, flat = bound(Row("ApproxTopK", [x], {"k": 2, "reduction_dimension": 0, "is_max_k": False}))
    for values, at in (call.run(NUMPY, flat), run_onnx(call, flat, open_dims=False)):
        np.testing.assert_array_equal(values, np.sort(x, axis=0)[:2])
        np.testing.assert_array_equal(at, np.argsort(x, axis=0)[:2])
