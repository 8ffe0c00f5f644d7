"""Cross entropies against TensorFlow."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnxruntime.capi.onnxruntime_pybind11_state import Fail

from coldframe.errors import ExecutionError
from op_harness import FLOATS, Row, bound, check, each, rows, run_onnx, sample
from windows_harness import numpy_run, opened

SPECIAL = np.array([[1, 2], [-np.inf, 0], [np.nan, 0], [np.inf, 0], [1e4, -1e4]], np.float32)


def dense(x: Any, y: Any, **fields: Any) -> Row:
    return Row("SoftmaxCrossEntropyWithLogits", [x, y], **fields)


def sparse(x: Any, labels: Any, d: Any = np.int32, **fields: Any) -> Row:
    return Row("SparseSoftmaxCrossEntropyWithLogits", [x, np.array(labels, d)], **fields)


@rows(
    *each(FLOATS, lambda d: dense(sample(d, 4, 5), np.abs(sample(d, 4, 5, seed=1)))),
    *(dense(sample("float32", *a), sample("float32", *b)) for a, b in (
        ((1, 3), (2, 3)), ((2, 1), (2, 3)), ((3,), (2, 3)), ((2, 3), (1, 3)), ((2, 3), (2, 1)), ((2, 3), ()),
    )),
    dense(SPECIAL, np.tile(np.array([0, 1], np.float32), (5, 1))),
    dense(sample("float32", 0, 3), sample("float32", 0, 3)),
    dense(sample("float32", 3), sample("float32", 3), refused=True),
    dense(sample("float32", 1, 2, 3), sample("float32", 1, 2, 3), refused=True),
    dense(sample("float32", 2, 3), sample("float32", 2, 4), refused=True),
)  # fmt: skip
def test_dense(row: Row) -> None:
    check(row)


def test_dense_without_classes() -> None:
    x = np.zeros((2, 0), np.float32)
    np.testing.assert_array_equal(numpy_run("SoftmaxCrossEntropyWithLogits", [x, x]), [0, 0])


@rows(
    *each(FLOATS, lambda d: [sparse(sample(d, 3, 5), [0, 4, 2], k) for k in (np.int32, np.int64)]),
    sparse(SPECIAL, [0, 1, 1, 0, 1]),
    sparse(np.array([[-np.inf, 0]], np.float32), [0]),
    sparse(sample("float32", 0, 3), []),
    *(sparse(sample("float32", 2, 3), labels, refused=True) for labels in ([0, 3], [0, -1], [0], [[0, 1]])),
    sparse(sample("float32", 2, 0), [0, 0], refused=True),
    sparse(sample("float32", 3), 0, refused=True),
)
def test_sparse(row: Row) -> None:
    check(row)


def test_open_batch() -> None:
    opened(sparse(sample("float32", 3, 5), [0, 4, 2]), constant=[], open_axes=(0,))
    opened(dense(sample("float32", 3, 5), sample("float32", 3, 5)), constant=[], open_axes=(0,))


def test_the_message_names_the_label() -> None:
    with pytest.raises(ExecutionError, match="label 1 names no class: expected 0 to 2, found 7"):
        numpy_run("SparseSoftmaxCrossEntropyWithLogits", [sample("float32", 2, 3), np.array([0, 7])])


@pytest.mark.parametrize("label", [-1, 3, -4, 100])
def test_onnx_runtime_refuses_a_label_that_names_no_class(label: int) -> None:
    call, flat = bound(sparse(sample("float32", 2, 3), [0, label]))
    with pytest.raises(Fail, match="GatherElements"):
        run_onnx(call, flat, open_dims=False)
