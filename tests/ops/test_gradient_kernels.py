"""Kernels that only gradients call: resizing and cropping, pooling, recurrent cells, simulated quantization."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from coldframe.errors import ExecutionError
from op_harness import NUMPY, Row, bound, check, each, rows, sample

F32 = np.float32


# --- images -----------------------------------------------------------------------------------------------------
def resizes(sizes: tuple[tuple[int, int], tuple[int, int]]) -> list[Row]:
    """Each gradient for each grid, from images of the first size resized to the second."""
    small, large = sizes
    out: list[Row] = []
    for align, half in ((False, False), (True, False), (False, True)):
        grid = {"align_corners": align, "half_pixel_centers": half}
        grads, image = sample("float32", 2, *large, 3), sample("float32", 2, *small, 3, seed=1)
        nearest = [sample(d, 2, *large, 3) for d in ("float32", "float64", "int32")]
        out += [Row("ResizeNearestNeighborGrad", [g, np.array(small, np.int32)], grid) for g in nearest]
        for name in ("ResizeBilinearGrad", "ResizeBicubicGrad"):
            out.append(Row(name, [grads, image], grid))
            out.append(Row(name, [grads, image.astype(np.float64)], grid, tol=1e-6))  # TensorFlow's shares are float32
    return out


@rows(*each((((4, 5), (7, 9)), ((7, 9), (4, 5)), ((3, 3), (1, 6)), ((5, 4), (5, 4))), resizes))
def test_resizing(row: Row) -> None:
    check(row)


IMAGE = sample("float32", 3, 6, 7, 2, seed=3)
BOXES = np.array([[0, 0, 1, 1], [0.1, 0.2, 0.9, 0.6], [0.8, 0.9, -0.2, 0.1], [0.5, 0.5, 1.7, 1.4]], F32)
WHICH = np.array([0, 2, 2, 1], np.int32)
SIZES = np.array(IMAGE.shape, np.int32)


@rows(
    *(
        Row("CropAndResizeGradImage", [sample("float32", 4, *c, 2), BOXES, WHICH, SIZES], {"T": t, "method": m})
        for c in ((3, 4), (1, 1), (8, 2))
        for m in ("bilinear", "nearest")
        for t in ("float32", "float64")
    ),
    *(
        Row("CropAndResizeGradBoxes", [sample("float32", 4, *c, 2), image, BOXES, WHICH])
        for c in ((3, 4), (1, 1), (8, 2))
        for image in (IMAGE, IMAGE.astype(np.uint8), IMAGE.astype(np.float64))
    ),
    Row("CropAndResizeGradImage", [sample("float32", 3, 3, 3, 2), BOXES, WHICH, SIZES], {"T": "float32"}, refused=True),
    Row("CropAndResizeGradBoxes", [sample("float32", 4, 3, 3, 3), IMAGE, BOXES, WHICH], refused=True),
)  # fmt: skip
def test_cropping(row: Row) -> None:
    check(row)


# --- pooling ----------------------------------------------------------------------------------------------------
def argmax_rows(dtype: str) -> list[Row]:
    import tensorflow as tf

    x = sample(dtype, 2, 5, 6, 3)
    out = []
    for batch in (False, True):
        for padding in ("SAME", "VALID"):
            attrs: dict[str, Any] = {"ksize": [1, 3, 2, 1], "strides": [1, 2, 2, 1], "padding": padding}
            pooled, where = tf.raw_ops.MaxPoolWithArgmax(
                input=tf.constant(x), Targmax=tf.int64, include_batch_in_index=batch, **attrs
            )
            dy = sample(dtype, *pooled.shape, seed=2)
            out.append(Row("MaxPoolGradWithArgmax", [x, dy, where.numpy()], attrs | {"include_batch_in_index": batch}))
    return out


def volumes(dtype: str) -> list[Row]:
    import tensorflow as tf

    x = sample(dtype, 2, 4, 5, 4, 2)
    out = []
    for padding in ("SAME", "VALID"):
        attrs: dict[str, Any] = {"ksize": [1, 2, 3, 2, 1], "strides": [1, 2, 2, 1, 1], "padding": padding}
        y = tf.raw_ops.MaxPool3D(input=tf.constant(x), **attrs).numpy()
        out.append(Row("MaxPool3DGradGrad", [x, y, sample(dtype, *x.shape, seed=1)], attrs))
    return out


def second_images(dtype: str) -> list[Row]:
    import tensorflow as tf

    x = sample(dtype, 2, 5, 6, 3)
    ksize, strides = [1, 3, 2, 1], [1, 2, 2, 1]
    y = tf.raw_ops.MaxPool(input=tf.constant(x), ksize=ksize, strides=strides, padding="SAME").numpy()
    d2y = sample(dtype, *x.shape, seed=1)
    return [
        Row(
            "MaxPoolGradGradV2",
            [x, y, d2y, np.array(ksize, np.int32), np.array(strides, np.int32)],
            {"padding": "SAME"},
        )
    ]


@rows(
    *each(("float32", "float64"), argmax_rows),
    *each(("float32",), volumes),
    *each(("float32", "float64"), second_images),
)
def test_pooling(row: Row) -> None:
    check(row)


# --- recurrent cells --------------------------------------------------------------------------------------------
STEPS, BATCH, WIDTH, CELLS = 4, 3, 5, 2


def states(n: int, *lead: int) -> list[Any]:
    """Tensors of the shape of a cell's state, values as sigmoids and tanh give them."""
    return [sample("float32", *lead, BATCH, CELLS, seed=20 + k, low=0.1, high=0.9) for k in range(n)]


def weights(gates: int) -> list[Any]:
    return [sample("float32", WIDTH + CELLS, gates * CELLS, seed=5), sample("float32", gates * CELLS, seed=6)]


PEEPHOLES = [sample("float32", CELLS, seed=7 + k) for k in range(3)]


def layer(op: str, last: int, peephole: bool) -> Row:
    w, b = weights(4)
    head = [np.int64(last), sample("float32", STEPS, BATCH, WIDTH), *states(2), w, *PEEPHOLES, b]
    return Row(op, [*head, *states(9, STEPS)], {"use_peephole": peephole})


@rows(
    *(
        Row(
            "LSTMBlockCellGrad",
            [sample("float32", BATCH, WIDTH), *states(2), weights(4)[0], *PEEPHOLES, weights(4)[1], *states(8)],
            {"use_peephole": p},
        )
        for p in (False, True)
    ),
    *(layer("BlockLSTMGrad", last, p) for last in (STEPS, 2, 0) for p in (False, True)),
    Row(
        "GRUBlockCellGrad",
        [
            sample("float32", BATCH, WIDTH), states(1)[0], weights(2)[0], weights(1)[0], weights(2)[1], weights(1)[1],
            *states(4),
        ],
    ),
)  # fmt: skip
def test_recurrent_cells(row: Row) -> None:
    check(row)


def test_more_steps_than_there_are() -> None:
    call, flat = bound(layer("BlockLSTMGrad", STEPS + 1, False))  # TensorFlow aborts the process
    with pytest.raises(ExecutionError, match="`seq_len_max`: expected 0 to 4, found 5"):
        call.run(NUMPY, flat)


# --- quantization -----------------------------------------------------------------------------------------------
X, DY = sample("float32", 4, 6, low=-8, high=8), sample("float32", 4, 6, seed=1)
LOW, HIGH = F32(-3.2), F32(4.1)
LOWS, HIGHS = sample("float32", 6, low=-5, high=-1), sample("float32", 6, low=1, high=5)
LOWS[2] = HIGHS[2] = 0


@rows(
    *(
        row
        for more in ({}, {"num_bits": 4, "narrow_range": True})
        for row in (
            Row("FakeQuantWithMinMaxArgsGradient", [DY, X], {"min": -3.0, "max": 2.0} | more),
            Row("FakeQuantWithMinMaxVarsGradient", [DY, X, LOW, HIGH], more),
            Row("FakeQuantWithMinMaxVarsGradient", [DY, X, F32(0), F32(0)], more),
            Row("FakeQuantWithMinMaxVarsPerChannelGradient", [DY, X, LOWS, HIGHS], more),
        )
    ),
    Row("FakeQuantWithMinMaxVarsGradient", [DY[:2], X, LOW, HIGH], refused=True),
    Row("FakeQuantWithMinMaxVarsPerChannelGradient", [DY, X, LOWS[:3], HIGHS[:3]], refused=True),
    *(
        row
        for d in ("float32", "float64")
        for row in (
            Row("QuantizeAndDequantizeV4Grad", [v.astype(d) for v in (DY, X, LOW, HIGH)]),
            Row("QuantizeAndDequantizeV4Grad", [v.astype(d) for v in (DY, X, LOWS, HIGHS)], {"axis": 1}),
        )
    ),
)  # fmt: skip
def test_quantization(row: Row) -> None:
    check(row)


# --- batch normalization of 2015 --------------------------------------------------------------------------------
@pytest.mark.parametrize("scaled", [False, True])
def test_batch_norm_of_2015(scaled: bool) -> None:
    """TensorFlow runs it in graphs of that time only: held against differences of the normalization itself."""
    attrs = {"variance_epsilon": 0.01, "scale_after_normalization": scaled}
    t, m, beta, gamma = sample("float64", 2, 3, 4, 5), *(sample("float64", 5, seed=k) for k in (1, 2, 3))
    v, dy = sample("float64", 5, low=0.5, high=2), sample("float64", *t.shape, seed=4)
    back, flat = bound(Row("BatchNormWithGlobalNormalizationGrad", [t, m, v, gamma, dy], attrs))
    dt, dm, dv, dbeta, dgamma = back.run(NUMPY, flat)
    forward, inputs = bound(Row("BatchNormWithGlobalNormalization", [t, m, v, beta, gamma], attrs))
    for k, got in enumerate((dt, dm, dv, dbeta, dgamma)):
        for at in ((0,) * got.ndim, (-1,) * got.ndim):
            ends = []
            for step in (1e-5, -1e-5):
                moved = [x.copy() for x in inputs]
                moved[k][at] += step
                ends.append((forward.run(NUMPY, moved)[0] * dy).sum())
            np.testing.assert_allclose(got[at], (ends[0] - ends[1]) / 2e-5, rtol=1e-6, atol=1e-8)
