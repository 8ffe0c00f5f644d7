"""Normalization against TensorFlow."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from coldframe.errors import ExecutionError
from op_harness import NUMPY, Row, bound, check, compare, each, from_tensorflow, rows, run_onnx, sample
from windows_harness import channels_first, numpy_run, opened

HALF = ("float16", "bfloat16")


def norm(op: str, x: Any, *, moments: bool = True, **attrs: Any) -> Row:
    c = x.shape[1] if attrs.get("data_format") in ("NCHW", "NCDHW") else x.shape[-1]
    scale, offset, mean = (sample("float32", c, seed=s) for s in (1, 2, 3))
    variance = sample("float32", c, seed=4, low=0.1)
    if not moments:
        mean = variance = np.zeros(0, np.float32)
    return Row(op, [x, scale, offset, mean, variance], {"epsilon": 0.01, "is_training": False} | attrs)


def first_three(row: Row, *, open_dims: bool = True) -> None:
    """TensorFlow leaves the reserves of an inference unset: compare the other outputs."""
    want = from_tensorflow(row)
    assert want is not None
    call, flat = bound(row)
    got = [call.run(NUMPY, flat)]
    got += [run_onnx(call, flat, open_dims=o) for o in ((False, True) if open_dims else (False,))]
    call = dataclasses.replace(call, outputs=call.outputs[:3])
    for g in got:
        compare(row, call, g[:3], want[:3], "numpy or onnx")


IMAGES = sample("float32", 2, 3, 4, 3)
VOLUMES = sample("float32", 2, 3, 2, 2, 3)


@rows(
    *(norm(op, IMAGES) for op in ("FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3")),
    *each(HALF, lambda d: [norm(op, sample(d, 2, 2, 2, 3)) for op in ("FusedBatchNormV2", "FusedBatchNormV3")]),
    norm("FusedBatchNormV3", IMAGES, data_format="NCHW"),
    norm("FusedBatchNormV3", VOLUMES, data_format="NDHWC"),
    norm("FusedBatchNormV3", VOLUMES, data_format="NCDHW"),
    norm("FusedBatchNormV3", IMAGES, exponential_avg_factor=0.25),
)
def test_inference(row: Row) -> None:
    first_three(row)


TRAINING = [
    norm(op, IMAGES, is_training=True, moments=False)
    for op in ("FusedBatchNorm", "FusedBatchNormV2", "FusedBatchNormV3")
] + [
    norm("FusedBatchNormV3", IMAGES, is_training=True),
    norm("FusedBatchNormV3", IMAGES, is_training=True, exponential_avg_factor=0.25),
    norm("FusedBatchNormV3", IMAGES, is_training=True, data_format="NCHW", moments=False),
    norm("FusedBatchNormV3", VOLUMES, is_training=True, data_format="NDHWC", moments=False),
    norm("FusedBatchNormV3", sample("float32", 1, 1, 1, 3), is_training=True, moments=False),
    *each(HALF, lambda d: norm("FusedBatchNormV3", sample(d, 2, 2, 2, 3), is_training=True, moments=False)),
]


@rows(*TRAINING)
def test_training(row: Row) -> None:
    row.tol = 1e-4 if row.inputs[0].dtype == np.float32 else None
    check(row)


@rows(
    dataclasses.replace(norm("FusedBatchNormV3", IMAGES[0]), refused=True),
    *(
        dataclasses.replace(
            row, inputs=[x if i != k else np.ones(4, np.float32) for i, x in enumerate(row.inputs)], refused=True
        )
        for row in (norm("FusedBatchNormV3", IMAGES), norm("FusedBatchNorm", IMAGES))
        for k in (1, 2, 3, 4)
    ),
)
def test_refused(row: Row) -> None:
    check(row)


def test_the_message_names_the_vector() -> None:
    row = norm("FusedBatchNormV3", IMAGES)
    row.inputs[3] = np.ones(4, np.float32)
    with pytest.raises(ExecutionError, match="the number of entries of `mean`: expected 3, one per channel, found 4"):
        numpy_run(row.op, row.inputs, **row.attrs)


def gradient(op: str, x: Any, **attrs: Any) -> Row:
    c = x.shape[1] if attrs.get("data_format") in ("NCHW", "NCDHW") else x.shape[-1]
    dy = sample(x.dtype, *x.shape, seed=5)
    reserves = [sample("float32", c, seed=3), sample("float32", c, seed=4, low=0.1)]
    reserves += [np.zeros(0, np.float32)] if op.endswith("V3") else []
    return Row(op, [dy, x, sample("float32", c, seed=1), *reserves], {"epsilon": 0.01} | attrs)


@rows(
    *(gradient(op, IMAGES) for op in ("FusedBatchNormGrad", "FusedBatchNormGradV2", "FusedBatchNormGradV3")),
    gradient("FusedBatchNormGradV3", IMAGES, is_training=False),
    gradient("FusedBatchNormGradV3", IMAGES, data_format="NCHW"),
    *(gradient("FusedBatchNormGradV3", VOLUMES, is_training=t, data_format="NDHWC") for t in (True, False)),
    *each(HALF, lambda d: gradient("FusedBatchNormGradV3", sample(d, 2, 2, 2, 3))),
)
def test_gradients(row: Row) -> None:
    row.tol = 2e-4 if row.inputs[0].dtype == np.float32 else 5e-2
    check(row)


@pytest.mark.parametrize("scaled", [True, False])
@pytest.mark.parametrize("d", ["float32", "float64", "float16"])
def test_batch_norm_with_global_normalization(d: str, scaled: bool) -> None:
    # TensorFlow runs this op in graphs of 2016 only; its successor is the oracle.
    t, m, beta, gamma = sample(d, 2, 3, 2, 3), *(sample(d, 3, seed=s) for s in (1, 2, 3))
    v = sample(d, 3, seed=4, low=0.1)
    want = tf.nn.batch_normalization(t, m, v, beta, gamma if scaled else None, 0.25).numpy()
    row = Row("BatchNormWithGlobalNormalization", [t, m, v, beta, gamma],
              {"variance_epsilon": 0.25, "scale_after_normalization": scaled})  # fmt: skip
    call, flat = bound(row)
    compare(row, call, call.run(NUMPY, flat), [want], "numpy")
    compare(row, call, run_onnx(call, flat, open_dims=False), [want], "onnx")


# --- over neighbouring channels -----------------------------------------------------------------------------------
def lrn(d: str = "float32", c: int = 7, **attrs: Any) -> Row:
    return Row("LRN", [sample(d, 2, 2, 3, c)], attrs)


LRNS = [
    lrn(),
    lrn(depth_radius=1),
    lrn(depth_radius=2, bias=0.7, alpha=0.3, beta=0.75),
    lrn(depth_radius=2, bias=2.0, alpha=0.3, beta=0.3),
    lrn(c=40, depth_radius=2, bias=2.0, alpha=0.3, beta=0.75),
    lrn(c=1100, depth_radius=2, beta=0.75),
    lrn(depth_radius=100),
    lrn(depth_radius=0, beta=1.0),
    lrn(depth_radius=2, bias=-0.5, alpha=0.1, beta=0.3),
    lrn("float16", depth_radius=2),
    lrn(c=1),
]


@rows(*LRNS, Row("LRN", [sample("float32", 2, 3, 4)], refused=True))
def test_lrn(row: Row) -> None:
    check(row)


@rows(*LRNS)
def test_lrn_grad(row: Row) -> None:
    x = row.inputs[0]
    y = numpy_run("LRN", [x], **row.attrs)
    tol = 2e-2 if x.dtype == np.float16 else 1e-4
    check(Row("LRNGrad", [sample(x.dtype, *x.shape, seed=1), x, y], row.attrs, tol=tol))


def test_open_sizes() -> None:
    opened(LRNS[2], constant=[], open_axes=(0, 1, 2))
    opened(TRAINING[0], constant=[1, 2, 3, 4], open_axes=(0, 1, 2))
    opened(gradient("FusedBatchNormGradV3", IMAGES), constant=[2], open_axes=(0,))


def test_channels_first_training() -> None:
    channels_first(TRAINING[4], images=[0])
