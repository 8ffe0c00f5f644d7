"""Pooling, its gradients and patches against TensorFlow."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from coldframe.errors import ExecutionError
from coldframe.primitives.base import Unlowerable
from op_harness import FLOATS, INTS, Row, check, each, rows, sample
from windows_harness import channels_first, numpy_alone, numpy_run, opened

ONES = [1, 1, 1, 1]
NANS = np.array([3, 1, 2, 3, np.nan, 5, 6, 7, 8], np.float32).reshape(1, 3, 3, 1)
POOLED_INTS = ("int8", "int16", "int32", "int64", "uint8", "uint16")


def pool(op: str, x: Any, k: tuple[int, ...], s: tuple[int, ...], padding: str = "VALID", **attrs: Any) -> Row:
    refused = attrs.pop("refused", False)
    attrs = {"ksize": [1, *k, 1], "strides": [1, *s, 1], "padding": padding} | attrs
    return Row(op, [x], attrs, refused=refused)


SHAPES = [
    ((2, 5, 6, 3), (2, 3), (2, 1), "SAME"),
    ((2, 5, 6, 3), (2, 3), (2, 1), "VALID"),
    ((1, 7, 7, 2), (3, 3), (2, 2), "SAME"),
    ((1, 8, 7, 2), (3, 2), (3, 3), "SAME"),
    ((1, 8, 8, 2), (1, 2), (2, 3), "SAME"),
]
POOLS = [pool(op, sample("float32", *x), k, s, p) for op in ("MaxPool", "AvgPool") for x, k, s, p in SHAPES]
EXPLICIT = pool("MaxPool", sample("float32", 1, 4, 5, 2), (3, 2), (1, 2), "EXPLICIT",
                explicit_paddings=[0, 0, 2, 1, 0, 1, 0, 0])  # fmt: skip


def lowers_pool(d: str) -> dict[str, Any]:
    return {"lowers": False, "why": f"ONNX Runtime does not pool {d}"} if d == "int64" else {}


@rows(
    *POOLS,
    EXPLICIT,
    *each(FLOATS, lambda d: [pool(op, sample(d, 2, 4, 4, 2), (2, 2), (2, 2)) for op in ("MaxPool", "AvgPool")]),
    pool("MaxPool", sample("float32", 1, 2, 2, 4), (1, 1), (1, 1), ksize=[1, 1, 1, 2], strides=[1, 1, 1, 2]),
)
def test_pools(row: Row) -> None:
    check(row)


@pytest.mark.parametrize("d", POOLED_INTS)
def test_max_pool_of_integers(d: str) -> None:
    row = pool("MaxPool", sample(d, 2, 4, 4, 2), (2, 2), (2, 2), T=d)
    if d == "int64":
        row.lowers, row.why = False, "ONNX Runtime does not pool int64"
    check(row)


@rows(
    pool("MaxPool", sample("float32", 1, 2, 2, 1), (3, 3), (1, 1)),
    pool("MaxPool", sample("float32", 0, 2, 2, 1), (2, 2), (1, 1)),
    pool("AvgPool", sample("float32", 0, 2, 2, 1), (2, 2), (1, 1)),
)
def test_pools_of_nothing(row: Row) -> None:
    numpy_alone(row)
    with pytest.raises(Unlowerable, match="slide over nothing"):
        opened(row, constant=[], open_axes=())


@rows(
    pool("MaxPool", NANS, (2, 2), (1, 1)),
    pool("MaxPool", np.full((1, 3, 3, 1), -np.inf, np.float32), (2, 2), (1, 1)),
)
def test_windows_without_a_finite_value(row: Row) -> None:
    numpy_alone(row)  # ONNX Runtime gives infinity where TensorFlow gives the lowest finite number


@rows(pool("MaxPool", np.full((1, 3, 3, 1), -np.inf), (2, 2), (1, 1)))
def test_windows_of_minus_infinity(row: Row) -> None:
    check(row)


X = sample("float32", 1, 2, 2, 4)


@rows(
    pool("MaxPool", X, (5, 5), (1, 1), refused=True),
    pool("MaxPool", X, (2, 2), (1, 1), "EXPLICIT", explicit_paddings=[0, 0, 3, 0, 0, 1, 0, 0], refused=True),
    pool("MaxPool", X[0], (1, 1), (1, 1), refused=True),
    pool("AvgPool", X, (5, 5), (1, 1), refused=True),
    pool("MaxPool", X, (0, 1), (1, 1), refused=True),
)
def test_refused(row: Row) -> None:
    check(row)


def test_what_tensorflow_does_not_implement_is_refused() -> None:
    with pytest.raises(ExecutionError, match="window sizes in the batch or channel dimension"):
        numpy_run("AvgPool", [X], ksize=[1, 1, 1, 2], strides=[1, 1, 1, 2], padding="SAME")
    with pytest.raises(ExecutionError, match="the channels to pool: expected a multiple of 3, found 4"):
        numpy_run("MaxPool", [X], ksize=[1, 1, 1, 3], strides=[1, 1, 1, 3], padding="SAME")
    with pytest.raises(ExecutionError, match="pooling over channels together with"):
        numpy_run("MaxPool", [X], ksize=[1, 2, 1, 2], strides=[1, 1, 1, 2], padding="SAME")


@rows(*POOLS, EXPLICIT)
def test_channels_first(row: Row) -> None:
    channels_first(row, images=[0])


def touches(row: Row) -> bool:
    return all(k >= s for k, s in zip(row.attrs["ksize"], row.attrs["strides"], strict=True))


@rows(*(r for r in POOLS if not touches(r) and r.attrs["padding"] == "SAME"))
def test_windows_apart_over_open_sizes_run_on_numpy(row: Row) -> None:
    with pytest.raises(Unlowerable, match="windows that do not touch"):
        opened(row, constant=[], open_axes=(0, 1, 2))


@rows(*filter(touches, POOLS))
def test_open_sizes(row: Row) -> None:
    opened(row, constant=[], open_axes=(0, 1, 2))
    opened(row, constant=[], open_axes=(0, 1, 2, 3))


def test_max_pool_v2() -> None:
    ints = [np.array(v, np.int32) for v in ([1, 2, 3, 1], [1, 2, 1, 1])]
    check(Row("MaxPoolV2", [sample("float32", 1, 4, 5, 2), *ints], {"padding": "SAME"}))


VOLUMES = [
    pool(op, sample(d, 2, 4, 5, 3, 2), (2, 3, 2), (2, 1, 2), p)
    for op in ("MaxPool3D", "AvgPool3D")
    for d, p in (("float32", "SAME"), ("float32", "VALID"), ("bfloat16", "SAME"))
]


@rows(*VOLUMES)
def test_volumes(row: Row) -> None:
    check(row)
    if row.inputs[0].dtype == np.float32:
        channels_first(row, images=[0])


# --- positions ----------------------------------------------------------------------------------------------------
def argmax(x: Any, padding: str = "VALID", **attrs: Any) -> Row:
    return pool("MaxPoolWithArgmax", x, (2, 2), (1, 2), padding, **attrs)


@rows(
    *each((*FLOATS, "int8", "uint8", "int16", "uint16", "int32"), lambda d: argmax(sample(d, 2, 3, 5, 2))),
    *(argmax(sample("float32", 2, 3, 5, 2), p, include_batch_in_index=b) for p in ("SAME", "VALID") for b in (0, 1)),
    argmax(sample("float32", 2, 3, 5, 2), Targmax="int32"),
    argmax(np.ones((2, 3, 4, 2), np.float32), "SAME"),
    argmax(np.full((1, 2, 3, 1), -np.inf, np.float32), "SAME"),
)
def test_max_pool_with_argmax(row: Row) -> None:
    row.attrs = {k: bool(v) if k == "include_batch_in_index" else v for k, v in row.attrs.items()}
    check(row)


def test_positions_with_open_sizes() -> None:
    opened(argmax(sample("float32", 2, 3, 5, 2), "SAME", include_batch_in_index=True), constant=[], open_axes=(0, 1, 2))


@rows(argmax(NANS, ksize=[1, 2, 2, 1], strides=ONES), argmax(sample("int64", 2, 3, 4, 2)))
def test_positions_that_numpy_alone_gives(row: Row) -> None:
    numpy_alone(row)


# --- gradients ----------------------------------------------------------------------------------------------------
def max_grad(x: Any, k: tuple[int, int], s: tuple[int, int], padding: str, d: str = "float32", **attrs: Any) -> Row:
    forward = {"ksize": [1, *k, 1], "strides": [1, *s, 1], "padding": padding} | attrs
    y = numpy_run("MaxPool", [x], T=d, **forward)
    return Row("MaxPoolGrad", [x, y, sample(d, *y.shape, seed=1)], forward | {"T": d})


MAX_GRADS = [max_grad(sample("float32", *x), k, s, p) for x, k, s, p in SHAPES]


@rows(
    *MAX_GRADS,
    max_grad(np.ones((1, 4, 4, 2), np.float32), (2, 2), (1, 1), "SAME"),
    max_grad(sample("float32", 1, 4, 5, 2), (3, 2), (1, 2), "EXPLICIT", explicit_paddings=[0, 0, 2, 1, 0, 1, 0, 0]),
    max_grad(np.full((1, 3, 3, 1), -np.inf, np.float32), (2, 2), (1, 1), "VALID"),
    *each((*FLOATS, *POOLED_INTS), lambda d: max_grad(sample(d, 1, 4, 4, 2), (2, 2), (2, 2), "VALID", d)),
)
def test_max_pool_grad(row: Row) -> None:
    if row.inputs[0].dtype == np.int64:
        row.lowers, row.why = False, "ONNX Runtime does not pool int64"
    check(row)


@rows(*(max_grad(sample("float32", *x), (2, 2), (1, 1), "SAME") for x in ((0, 4, 4, 3), (2, 4, 4, 0))))
def test_max_pool_grad_of_nothing(row: Row) -> None:
    numpy_alone(row)


@rows(*MAX_GRADS)
def test_max_pool_grad_channels_first(row: Row) -> None:
    channels_first(row, images=[0, 1, 2])


@rows(*filter(touches, MAX_GRADS))
def test_max_pool_grad_with_open_sizes(row: Row) -> None:
    opened(row, constant=[], open_axes=(0, 1, 2))


def test_max_pool_grad_with_sizes_as_inputs() -> None:
    row = MAX_GRADS[0]
    ints = [np.array(row.attrs[k], np.int32) for k in ("ksize", "strides")]
    check(Row("MaxPoolGradV2", [*row.inputs, *ints], {"padding": row.attrs["padding"]}))


@rows(*MAX_GRADS)
def test_max_pool_grad_grad(row: Row) -> None:
    x, y, _ = row.inputs
    attrs = {k: v for k, v in row.attrs.items() if k != "T"}
    check(Row("MaxPoolGradGrad", [x, y, sample("float32", *x.shape, seed=2)], attrs))


def test_max_pool_grad_of_another_shape_is_refused() -> None:
    x, y, dy = MAX_GRADS[0].inputs
    check(Row("MaxPoolGrad", [x, y, dy[:, :1]], MAX_GRADS[0].attrs, refused=True))


def avg_grad(
    op: str, x: tuple[int, ...], k: tuple[int, ...], s: tuple[int, ...], padding: str, d: str = "float32"
) -> Row:
    attrs = {"ksize": [1, *k, 1], "strides": [1, *s, 1], "padding": padding}
    y = numpy_run(op.removesuffix("Grad"), [np.zeros(x, np.float32)], **attrs)
    row = Row(op, [np.array(x, np.int32), sample(d, *y.shape)], attrs)
    row.lowers, row.why = False, "the size of the result is fed"
    return row


AVG_GRADS = [avg_grad("AvgPoolGrad", *shape) for shape in SHAPES]
VOLUME_GRADS = [avg_grad("AvgPool3DGrad", (2, 4, 5, 3, 2), (2, 3, 2), (2, 1, 2), p) for p in ("SAME", "VALID")]


@rows(
    *AVG_GRADS,
    *VOLUME_GRADS,
    *each(FLOATS, lambda d: avg_grad("AvgPoolGrad", (1, 5, 5, 2), (2, 2), (2, 2), "SAME", d)),
    avg_grad("AvgPool3DGrad", (2, 4, 5, 3, 2), (2, 3, 2), (2, 1, 2), "SAME", "bfloat16"),
)
def test_avg_pool_grad(row: Row) -> None:
    check(row)


@rows(*AVG_GRADS, *VOLUME_GRADS)
def test_avg_pool_grad_of_a_known_size(row: Row) -> None:
    opened(row, constant=[0], open_axes=())
    opened(row, constant=[0], open_axes=(0,))


def test_avg_pool_grad_of_another_shape_is_refused() -> None:
    row = AVG_GRADS[1]
    with pytest.raises(ExecutionError, match="the gradient has not the spatial sizes of the forward result"):
        numpy_run("AvgPoolGrad", [row.inputs[0], row.inputs[1][:, :1]], **row.attrs)


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize("d", ["float32", "bfloat16"])
def test_max_pool_3d_grad(padding: str, d: str) -> None:
    x = np.round(sample(d, 2, 4, 5, 3, 2))
    attrs = {"ksize": [1, 2, 3, 2, 1], "strides": [1, 2, 1, 2, 1], "padding": padding}
    y = numpy_run("MaxPool3D", [x], **attrs)
    check(Row("MaxPool3DGrad", [x, y, sample(d, *y.shape, seed=1)], attrs, tol=5e-2 if d == "bfloat16" else None))


# --- patches ------------------------------------------------------------------------------------------------------
def patches(d: str, padding: str = "SAME", k: Any = (1, 3, 2, 1), s: Any = ONES, r: Any = ONES) -> Row:
    attrs = {"ksizes": list(k), "strides": list(s), "rates": list(r), "padding": padding}
    return Row("ExtractImagePatches", [sample(d, 2, 5, 4, 3)], attrs)


@rows(
    *each((*FLOATS, *INTS, "complex64"), patches),
    patches("float32", "VALID", s=(1, 2, 1, 1)),
    patches("float32", "SAME", s=(1, 2, 3, 1), r=(1, 2, 2, 1)),
    *each(
        (*FLOATS, *INTS),
        lambda d: Row(
            "ExtractVolumePatches",
            [sample(d, 1, 4, 3, 4, 2)],
            {"ksizes": [1, 2, 1, 2, 1], "strides": [1, 1, 2, 2, 1], "padding": "SAME"},
        ),
    ),
)
def test_patches(row: Row) -> None:
    check(row)


def test_patches_with_open_sizes() -> None:
    for padding in ("SAME", "VALID"):
        opened(patches("float32", padding, s=(1, 2, 3, 1)), constant=[], open_axes=(0, 1, 2, 3))
