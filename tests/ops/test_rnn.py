"""Fused recurrent cells and layers against TensorFlow."""

from typing import Any

import numpy as np
import pytest

from coldframe.errors import ExecutionError
from op_harness import NUMPY, Row, bound, check, from_tensorflow, rows, sample


def lstm(op: str, x: Any, cells: int, d: str = "float32", refused: bool = False, **attrs: Any) -> Row:
    batch, width = x.shape[-2:]
    inputs = [
        x, sample(d, batch, cells, seed=1), sample(d, batch, cells, seed=2),
        sample(d, width + cells, 4 * cells, seed=3, low=-1, high=1), sample(d, cells, seed=4), sample(d, cells, seed=5),
        sample(d, cells, seed=6), sample(d, 4 * cells, seed=7),
    ]  # fmt: skip
    return Row(op, inputs, attrs, refused=refused, tol=1e-2 if d == "float16" else None)


def layer(op: str, steps: int, x: Any, **fields: Any) -> Row:
    row = lstm(op, x, 3, **fields)
    row.inputs.insert(0, np.int64(steps))
    return row


def wrong(row: Row, at: int, *shape: int) -> Row:
    """`row` with an input of a shape that does not fit."""
    row.inputs[at] = sample("float32", *shape)
    row.refused = True
    row.name = f"{row.op} input {at} {shape}"
    return row


X, SEQUENCE = sample("float32", 2, 4), sample("float32", 5, 2, 4)


@rows(
    lstm("LSTMBlockCell", X, 3),
    lstm("LSTMBlockCell", X, 3, use_peephole=True),
    lstm("LSTMBlockCell", X, 3, forget_bias=0.0, cell_clip=-1.0),
    lstm("LSTMBlockCell", X, 3, forget_bias=2.5, cell_clip=0.25, use_peephole=True),
    lstm("LSTMBlockCell", X * 100, 1),
    lstm("LSTMBlockCell", sample("float16", 2, 4), 3, "float16"),
    wrong(lstm("LSTMBlockCell", X, 3), 1, 3, 3),
    wrong(lstm("LSTMBlockCell", X, 3), 2, 2, 4),
    wrong(lstm("LSTMBlockCell", X, 3), 3, 7, 11),
    wrong(lstm("LSTMBlockCell", X, 3), 7, 11),
    *[
        row
        for op in ("BlockLSTM", "BlockLSTMV2")
        for row in (
            layer(op, 5, SEQUENCE),
            layer(op, 5, SEQUENCE, use_peephole=True, cell_clip=0.5),
            layer(op, 5, sample("float16", 5, 2, 4), d="float16"),
            wrong(layer(op, 5, SEQUENCE), 4, 7, 11),
        )
    ],
    layer("BlockLSTM", 5, SEQUENCE, forget_bias=-1.0, cell_clip=-1.0),
)
def test_lstm(row: Row) -> None:
    check(row)


@pytest.mark.parametrize("op", ["BlockLSTM", "BlockLSTMV2"])
@pytest.mark.parametrize("steps", [0, 3])
def test_steps_that_are_not_run_give_zeros(op: str, steps: int) -> None:
    """TensorFlow writes zeros to cells and outputs, and leaves the gates as memory was."""
    row = layer(op, steps, SEQUENCE)
    call, flat = bound(row)
    got, want = call.run(NUMPY, flat), from_tensorflow(row)
    assert want is not None
    for k, (g, w) in enumerate(zip(got, want, strict=True)):
        np.testing.assert_allclose(g[:steps], w[:steps], rtol=2e-5, atol=1e-6)
        assert not g[steps:].any()
        assert k not in (1, 6) or not w[steps:].any()


def test_an_input_of_another_rank_is_refused() -> None:
    """TensorFlow 2.21 aborts."""
    for row in (wrong(lstm("LSTMBlockCell", X, 3), 0, 4), wrong(layer("BlockLSTM", 5, SEQUENCE), 1, 2, 4)):
        call, flat = bound(row)
        with pytest.raises(ExecutionError, match="the rank of `x`"):
            call.run(NUMPY, flat)
    call, flat = bound(layer("BlockLSTM", 6, SEQUENCE))
    with pytest.raises(ExecutionError, match="`seq_len_max`: expected 0 to 5, found 6"):
        call.run(NUMPY, flat)


def gru(x: Any, cells: int) -> Row:
    batch, width = x.shape
    return Row(
        "GRUBlockCell",
        [
            x, sample("float32", batch, cells, seed=1), sample("float32", width + cells, 2 * cells, seed=2),
            sample("float32", width + cells, cells, seed=3), sample("float32", 2 * cells, seed=4),
            sample("float32", cells, seed=5),
        ],
    )  # fmt: skip


@rows(
    gru(X, 3),
    gru(X * 100, 1),
    wrong(gru(X, 3), 1, 3, 3),
    wrong(gru(X, 3), 2, 7, 5),
    wrong(gru(X, 3), 3, 6, 3),
    wrong(gru(X, 3), 4, 5),
    wrong(gru(X, 3), 5, 2),
)
def test_gru(row: Row) -> None:
    check(row)
