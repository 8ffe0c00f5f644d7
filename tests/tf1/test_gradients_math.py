"""Gradient rules against TensorFlow's gradients and finite differences."""

from __future__ import annotations

import pytest

from gradient_harness import (
    NUMPY,
    Answer,
    Row,
    call_of,
    check_differences,
    coldframe_answer,
    compare,
    has_differences,
    is_floating,
    tensorflow_answers,
    upstream,
    value_of,
)
from gradient_rows import ALL, OLD


@pytest.fixture(scope="module")
def oracle() -> list[Answer]:
    return tensorflow_answers(ALL)


@pytest.mark.parametrize(("at", "row"), list(enumerate(ALL)), ids=[str(r) for r in ALL])
def test_gradients_are_tensorflows(at: int, row: Row, oracle: list[Answer]) -> None:
    want = oracle[at]
    assert want.error is None, want.error
    got = coldframe_answer(row, want.dys)
    compare(row, got, want)
    if has_differences(row):
        check_differences(row, got)


@pytest.mark.parametrize("row", OLD, ids=str)
def test_gradients_of_old_ops(row: Row) -> None:
    outputs = call_of(row).run(NUMPY, [value_of(x) for x in row.flat])
    dys = [upstream(y.shape, y.dtype, 0) if is_floating(y.dtype) else None for y in outputs]
    check_differences(row, coldframe_answer(row, dys))
