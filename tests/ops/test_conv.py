"""Convolutions, their gradients and dilation against TensorFlow."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from coldframe.errors import ExecutionError
from op_harness import FLOATS, NUMPY, Row, bound, check, each, rows, sample
from windows_harness import assert_adjoint, channels_first, lowered, numpy_alone, numpy_run, opened

ONES = [1, 1, 1, 1]


def conv(x: tuple[int, ...], w: tuple[int, ...], d: str = "float32", op: str = "Conv2D", **attrs: Any) -> Row:
    refused = attrs.pop("refused", False)
    attrs = {"strides": [1] * len(x), "padding": "SAME"} | attrs
    return Row(op, [sample(d, *x), sample(d, *w, seed=1)], attrs, refused=refused)


def explicit(*pads: int) -> dict[str, Any]:
    return {"padding": "EXPLICIT", "explicit_paddings": [0, 0, *pads, 0, 0]}


GEOMETRY = [
    conv((2, 6, 5, 3), (3, 2, 3, 4), padding=padding, strides=[1, s, t, 1])
    for padding in ("SAME", "VALID")
    for s, t in ((1, 1), (2, 3), (3, 1))
] + [
    conv((1, 7, 8, 2), (k, k, 2, 2), padding=padding, strides=[1, s, s, 1], dilations=[1, 2, d, 1])
    for padding in ("SAME", "VALID")
    for k, s, d in ((2, 1, 3), (3, 2, 2), (1, 3, 2))
] + [
    conv((1, 4, 4, 2), (3, 3, 2, 2), **explicit(1, 0, 2, 3)),
    conv((1, 4, 4, 2), (3, 2, 2, 2), strides=[1, 2, 2, 1], **explicit(0, 4, 5, 0)),
    conv((2, 4, 4, 4), (2, 2, 2, 6)),  # two groups
    conv((1, 4, 4, 6), (3, 3, 1, 6), strides=[1, 2, 2, 1]),  # a group per channel
]  # fmt: skip


@rows(
    *GEOMETRY,
    *each((*FLOATS, "int32"), lambda d: conv((2, 5, 5, 3), (3, 3, 3, 2), d)),
    *(conv((1, 3, 3, 1), (k, k, 1, 1), padding="VALID", strides=[1, s, s, 1]) for k, s in ((3, 2),)),
)
def test_conv2d(row: Row) -> None:
    if row.inputs[0].dtype == np.int32:
        row.lowers, row.why = False, "ONNX Runtime convolves floats only"
    check(row)


@rows(
    *(
        conv((1, 3, 3, 1), (k, k, 1, 1), padding="VALID", strides=[1, s, s, 1])
        for k, s in ((4, 1), (4, 2), (5, 2), (6, 2), (6, 3))
    ),
    conv((1, 3, 3, 1), (1, 1, 1, 0)),
    conv((0, 3, 3, 1), (2, 2, 1, 1)),
    conv((1, 0, 3, 1), (1, 1, 1, 1)),
    conv((2, 0, 4, 3), (2, 2, 3, 5), strides=[1, 2, 2, 1]),
)
def test_conv2d_of_nothing(row: Row) -> None:
    if row.inputs[1].size:
        row.lowers, row.why = False, "ONNX Runtime does not slide over nothing"
    check(row)


@rows(
    conv((1, 3, 3, 1), (5, 5, 1, 1), padding="VALID", refused=True),
    conv((1, 3, 3, 1), (7, 7, 1, 1), padding="VALID", strides=[1, 2, 2, 1], refused=True),
    conv((1, 3, 3, 4), (1, 1, 3, 2), refused=True),
    conv((1, 3, 3, 4), (1, 1, 2, 3), refused=True),
    conv((1, 3, 3, 1), (0, 1, 1, 1), refused=True),
    conv((1, 3, 3, 0), (1, 1, 0, 1), refused=True),
    conv((1, 3, 1), (1, 1, 1, 1), refused=True),
    conv((1, 3, 3, 1), (1, 1, 1), refused=True),
    conv((1, 3, 3, 1), (1, 1, 1, 1), strides=[1, 1], refused=True),
    conv((1, 3, 3, 1), (1, 1, 1, 1), strides=[1, 0, 1, 1], refused=True),
    conv((1, 3, 3, 1), (1, 1, 1, 1), padding="EXPLICIT", explicit_paddings=[0, 0, 1, 1], refused=True),
    conv((1, 3, 3, 1), (1, 1, 1, 1), explicit_paddings=[0, 0, 1, 1, 0, 0, 0, 0], refused=True),
    Row("Conv", [sample("float32", 1, 3, 3), sample("float32", 1, 1, 3, 2)],
        {"strides": [1, 1, 1, 1], "padding": "SAME"}, refused=True),
    conv((1, 3, 3, 4), (1, 1, 2, 2), op="Conv", refused=True),
    conv((1, 3, 3, 3, 4), (1, 1, 1, 3, 2), op="Conv3D", refused=True),
    conv((1, 3, 3, 2), (1, 1, 3, 2), op="DepthwiseConv2dNative", refused=True),
)  # fmt: skip
def test_refusals(row: Row) -> None:
    check(row)


def test_strides_over_batch_are_refused() -> None:
    with pytest.raises(ExecutionError, match="strides in the batch or channel dimension: expected"):
        numpy_run("Conv2D", [sample("float32", 2, 3, 3, 1), sample("float32", 1, 1, 1, 1)],
                  strides=[2, 1, 1, 1], padding="SAME")  # fmt: skip


@rows(*GEOMETRY)
def test_conv2d_channels_first(row: Row) -> None:
    channels_first(row, images=[0])


@rows(*GEOMETRY, conv((2, 5, 6, 2), (3, 3, 2, 1), op="DepthwiseConv2dNative", strides=[1, 2, 2, 1]))
def test_conv2d_with_open_sizes(row: Row) -> None:
    opened(row, constant=[1], open_axes=(0, 1, 2))


DEPTHWISE = [
    conv((2, 6, 5, 3), (3, 2, 3, m), op="DepthwiseConv2dNative", padding=padding, strides=[1, s, s, 1])
    for padding in ("SAME", "VALID")
    for s in (1, 2)
    for m in (1, 2)
] + [conv((1, 4, 4, 2), (3, 3, 2, 2), op="DepthwiseConv2dNative", **explicit(1, 0, 2, 3))]


@rows(
    *DEPTHWISE,
    *each(FLOATS, lambda d: conv((2, 5, 5, 3), (3, 3, 3, 1), d, op="DepthwiseConv2dNative")),
)
def test_depthwise(row: Row) -> None:
    check(row)


@rows(*DEPTHWISE)
def test_depthwise_channels_first(row: Row) -> None:
    channels_first(row, images=[0])


def test_volumes_in_groups_are_as_functions_compiled_by_xla_have_them() -> None:
    """TensorFlow's kernels refuse them; its compiled functions, and so Keras's layers, do not."""
    import tensorflow as tf

    x, w, dy = (sample("float32", *s) for s in ((2, 3, 4, 5, 4), (2, 2, 3, 2, 6), (2, 2, 2, 3, 6)))
    same: dict[str, Any] = {"strides": [1, 2, 2, 2, 1], "padding": "SAME"}
    sizes = {"x": np.array(x.shape, np.int32), "w": np.array(w.shape, np.int32)}
    calls = {
        "Conv3D": {"input": x, "filter": w},
        "Conv3DBackpropInputV2": {"input_sizes": sizes["x"], "filter": w, "out_backprop": dy},
        "Conv3DBackpropFilterV2": {"input": x, "filter_sizes": sizes["w"], "out_backprop": dy},
    }
    for op, inputs in calls.items():
        compiled = tf.function(lambda op=op, inputs=inputs: getattr(tf.raw_ops, op)(**inputs, **same), jit_compile=True)
        call, flat = bound(Row(op, list(inputs.values()), same))
        constant = [k for k, v in enumerate(flat) if v.dtype == np.int32]
        for got in (call.run(NUMPY, flat)[0], lowered(call, flat, constant=constant)[0]):
            np.testing.assert_allclose(got, compiled().numpy(), rtol=1e-4, atol=1e-4)


@rows(
    *each(FLOATS, lambda d: conv((1, 3, 4, 4, 2), (2, 2, 3, 2, 3), d, op="Conv3D")),
    conv((2, 5, 4, 4, 2), (2, 3, 2, 2, 2), op="Conv3D", padding="VALID", strides=[1, 2, 1, 2, 1]),
    conv((2, 5, 4, 4, 2), (2, 3, 2, 2, 2), op="Conv3D", strides=[1, 2, 1, 2, 1]),
)
def test_conv3d(row: Row) -> None:
    if row.inputs[0].dtype.name == "bfloat16":
        row.tol = 1e-1  # TensorFlow sums in bfloat16 here
    check(row)
    if row.inputs[0].dtype == np.float32:
        channels_first(row, images=[0])


@rows(
    *each((*FLOATS, "int32"), lambda d: conv((2, 5, 5, 3), (3, 3, 3, 2), d, op="Conv")),
    conv((2, 4, 5, 5, 3), (2, 3, 3, 3, 2), op="Conv"),
    conv((1, 5, 5, 3), (2, 2, 3, 2), op="Conv", dilations=[1, 2, 2, 1], **explicit(1, 2, 0, 1)),
    Row("Conv", [sample("float32", 2, 3, 4, 4, 2), sample("float32", 2, 2, 2, 3)],
        {"strides": ONES, "padding": "SAME", "batch_dims": 2}),
    Row("Conv", [sample("float32", 4, 4, 2), sample("float32", 2, 2, 2, 3)],
        {"strides": ONES, "padding": "VALID", "batch_dims": 0}),
)  # fmt: skip
def test_conv(row: Row) -> None:
    if row.inputs[0].dtype == np.int32:
        row.lowers, row.why = False, "ONNX Runtime convolves floats only"
    check(row)


def test_grouped_conv_is_grouped_conv2d() -> None:
    x, w = sample("float32", 1, 3, 3, 4), sample("float32", 2, 2, 2, 6)
    want = numpy_run("Conv2D", [x, w], strides=ONES, padding="SAME")
    np.testing.assert_array_equal(numpy_run("Conv", [x, w], strides=ONES, padding="SAME", groups=2), want)


# --- gradients ----------------------------------------------------------------------------------------------------
def gradients(
    kind: str, x: tuple[int, ...], w: tuple[int, ...], t: tuple[int, ...], d: str = "float32", **attrs: Any
) -> list[Row]:
    """Both gradients of a convolution of `x` with `w` whose result is `t`."""
    names = {
        "2d": ("Conv2DBackpropInput", "Conv2DBackpropFilter"),
        "3d": ("Conv3DBackpropInputV2", "Conv3DBackpropFilterV2"),
        "depthwise": ("DepthwiseConv2dNativeBackpropInput", "DepthwiseConv2dNativeBackpropFilter"),
    }[kind]
    attrs = {"strides": [1] * len(x), "padding": "SAME"} | attrs
    dy = sample(d, *t, seed=2)
    return [
        Row(names[0], [np.array(x, np.int32), sample(d, *w, seed=1), dy], attrs),
        Row(names[1], [sample(d, *x), np.array(w, np.int32), dy], attrs),
    ]


def strided(s: int, t: int) -> dict[str, Any]:
    return {"strides": [1, s, t, 1]}


GRADIENTS_2D = [
    *gradients("2d", (2, 5, 4, 3), (3, 2, 3, 2), (2, 5, 4, 2)),
    *gradients("2d", (2, 5, 4, 3), (3, 2, 3, 2), (2, 3, 3, 2), padding="VALID"),
    *gradients("2d", (2, 5, 4, 3), (3, 2, 3, 2), (2, 3, 2, 2), **strided(2, 2)),
    *gradients("2d", (2, 6, 7, 3), (3, 2, 3, 2), (2, 3, 3, 2), **strided(2, 3)),
    *gradients("2d", (1, 7, 8, 1), (3, 2, 1, 1), (1, 2, 3, 1), padding="VALID", **strided(3, 3)),
    *gradients("2d", (1, 6, 6, 2), (1, 1, 2, 2), (1, 2, 2, 2), **strided(3, 3)),
    *gradients("2d", (1, 8, 8, 1), (5, 5, 1, 2), (1, 4, 4, 2), **strided(2, 2)),
    *gradients("2d", (1, 4, 4, 2), (3, 3, 2, 2), (1, 5, 7, 2), **explicit(2, 1, 2, 3)),
    *gradients("2d", (1, 4, 4, 2), (3, 3, 2, 2), (1, 3, 4, 2), **strided(2, 2), **explicit(2, 1, 2, 3)),
]
GRADIENTS_DEPTHWISE = [
    *gradients("depthwise", (2, 5, 4, 3), (3, 2, 3, 2), (2, 5, 4, 6)),
    *gradients("depthwise", (2, 6, 6, 3), (3, 3, 3, 1), (2, 3, 3, 3), **strided(2, 2)),
    *gradients("depthwise", (2, 6, 6, 3), (3, 3, 3, 1), (2, 4, 4, 3), padding="VALID"),
]
GRADIENTS_3D = [
    *gradients("3d", (1, 3, 4, 4, 2), (2, 2, 3, 2, 3), (1, 3, 4, 4, 3)),
    *gradients("3d", (1, 5, 4, 4, 2), (2, 2, 3, 2, 3), (1, 2, 3, 1, 3), padding="VALID", strides=[1, 2, 1, 2, 1]),
]


@rows(
    *GRADIENTS_2D, *GRADIENTS_DEPTHWISE, *GRADIENTS_3D,
    *each(FLOATS, lambda d: gradients("2d", (2, 3, 3, 2), (2, 2, 2, 2), (2, 3, 3, 2), d)),
    *each(FLOATS, lambda d: gradients("depthwise", (2, 3, 3, 2), (2, 2, 2, 2), (2, 3, 3, 4), d)),
    *each(FLOATS, lambda d: gradients("3d", (1, 3, 3, 3, 2), (2, 2, 2, 2, 2), (1, 3, 3, 3, 2), d)),
    gradients("2d", (2, 3, 3, 2), (2, 2, 2, 2), (2, 3, 3, 2), "int32")[0],
    Row("Conv2DBackpropInput",
        [np.array([5, 4], np.int32), sample("float32", 3, 2, 3, 2), sample("float32", 2, 5, 4, 2)],
        {"strides": ONES, "padding": "SAME"}),
)  # fmt: skip
def test_gradients(row: Row) -> None:
    if row.op == "Conv3DBackpropInputV2" and row.inputs[2].dtype.itemsize == 2:
        row.tol = 2e-2 if row.inputs[2].dtype == np.float16 else 1e-1  # TensorFlow sums in half precision here
    if row.inputs[2].dtype == np.int32:
        row.lowers, row.why = False, "ONNX Runtime convolves floats only"
    check(row)


@rows(*GRADIENTS_2D, *GRADIENTS_3D)
def test_gradients_channels_first(row: Row) -> None:
    by_input = "BackpropInput" in row.op
    if by_input:
        channels_first(row, images=[2], shapes=[0])
    else:
        channels_first(row, images=[0, 2], outputs=[])


@rows(*GRADIENTS_2D, *GRADIENTS_DEPTHWISE)
def test_gradients_with_known_sizes_and_an_open_batch(row: Row) -> None:
    opened(row, constant=[0, 1] if "BackpropInput" in row.op else [1], open_axes=(0,))


@rows(*GRADIENTS_2D)
def test_gradients_with_open_sizes(row: Row) -> None:
    opened(row, constant=[1], open_axes=(0, 1, 2) if "BackpropInput" not in row.op else (1, 2))


@rows(
    *gradients("2d", (0, 3, 3, 2), (2, 2, 2, 2), (0, 3, 3, 2)),
    gradients("2d", (2, 0, 4, 2), (2, 2, 2, 2), (2, 0, 4, 2))[0],
)
def test_gradients_of_nothing(row: Row) -> None:
    numpy_alone(row)


def bad(row: Row) -> Row:
    row.refused = True
    return row


@rows(
    *(bad(r) for r in gradients("2d", (1, 5, 5, 1), (2, 2, 1, 2), (1, 3, 3, 2), padding="VALID")),
    *(bad(r) for r in gradients("2d", (1, 2, 2, 4), (1, 1, 4, 3), (1, 2, 2, 2))),
    *(bad(r) for r in gradients("2d", (2, 2, 2, 4), (1, 1, 4, 2), (1, 2, 2, 2))),
    *(bad(r) for r in gradients("depthwise", (1, 5, 5, 1), (2, 2, 1, 2), (1, 3, 3, 2), padding="VALID")),
    *(bad(r) for r in gradients("3d", (1, 5, 5, 5, 1), (2, 2, 2, 1, 2), (1, 3, 3, 3, 2), padding="VALID")),
    Row("Conv2DBackpropInput",
        [np.array([-1, 2, 2, 4], np.int32), sample("float32", 1, 1, 4, 2), sample("float32", 1, 2, 2, 2)],
        {"strides": ONES, "padding": "SAME"}, refused=True),
)  # fmt: skip
def test_gradients_refused(row: Row) -> None:
    check(row)


BEYOND = [  # TensorFlow's CPU kernels do not differentiate these
    ((2, 7, 8, 4), (3, 2, 4, 3), {"strides": [1, 2, 1, 1], "dilations": [1, 2, 3, 1], "padding": "SAME"}),
    ((1, 7, 8, 4), (3, 2, 4, 3), {"strides": [1, 1, 2, 1], "dilations": [1, 2, 3, 1], "padding": "VALID"}),
    ((2, 5, 5, 4), (2, 2, 2, 6), {"strides": ONES, "padding": "SAME"}),
    ((2, 5, 5, 4), (2, 2, 1, 8), {"strides": [1, 2, 2, 1], "padding": "VALID"}),
]


@pytest.mark.parametrize(("x", "w", "attrs"), BEYOND)
def test_gradients_are_adjoint(x: Any, w: Any, attrs: Any) -> None:
    a, f = sample("float64", *x), sample("float64", *w, seed=1)
    dy = sample("float64", *numpy_run("Conv2D", [a, f], **attrs).shape, seed=2)
    by_input = [np.array(x, np.int32), f, dy]
    by_filter = [a, np.array(w, np.int32), dy]
    dx = numpy_run("Conv2DBackpropInput", by_input, **attrs)
    assert_adjoint(lambda v: numpy_run("Conv2D", [v, f], **attrs), a, dy, dx)
    dw = numpy_run("Conv2DBackpropFilter", by_filter, **attrs)
    assert_adjoint(lambda v: numpy_run("Conv2D", [a, v], **attrs), f, dy, dw)
    for op, inputs, want in (("Conv2DBackpropInput", by_input, dx), ("Conv2DBackpropFilter", by_filter, dw)):
        narrow = [v.astype(np.float32) if v.dtype == np.float64 else v for v in inputs]
        got = lowered(*_bound(op, narrow, attrs), constant=[0, 1] if op.endswith("Input") else [1])
        np.testing.assert_allclose(got[0], want, rtol=1e-4, atol=1e-4)


def _bound(op: str, inputs: list[Any], attrs: Any) -> Any:
    return bound(Row(op, inputs, attrs))


def test_the_second_versions_read_a_shape_from_a_tensor() -> None:
    for row in gradients("2d", (2, 5, 4, 3), (3, 2, 3, 2), (2, 3, 2, 2), **strided(2, 2)):
        want = numpy_run(row.op, row.inputs, **row.attrs)
        shaped = [np.zeros(i, np.float32) if i.dtype == np.int32 else i for i in row.inputs]
        np.testing.assert_array_equal(numpy_run(row.op + "V2", shaped, **row.attrs), want)


# --- dilation -----------------------------------------------------------------------------------------------------
def dilation(d: str, padding: str = "SAME", **attrs: Any) -> Row:
    inputs = [sample(d, 2, 5, 4, 2), sample(d, 3, 2, 2, seed=1)]
    return Row("Dilation2D", inputs, {"strides": ONES, "rates": ONES, "padding": padding} | attrs)


@rows(
    *each((*FLOATS, "int8", "uint8", "int16", "uint16", "int32", "int64"), dilation),
    dilation("float32", "VALID", strides=[1, 2, 1, 1]),
    dilation("float32", rates=[1, 2, 2, 1]),
    dilation("float32", strides=[1, 2, 2, 1], rates=[1, 1, 3, 1]),
    Row("Dilation2D", [np.full((1, 1, 4, 1), -np.inf, np.float32), np.ones((1, 2, 1), np.float32)],
        {"strides": ONES, "rates": ONES, "padding": "SAME"}),
)  # fmt: skip
def test_dilation(row: Row) -> None:
    check(row)


# --- joined to what comes before ---
PADS = np.array([[0, 0], [2, 1], [1, 2], [0, 0]], np.int32)


def fused(d: str, mode: str, size: tuple[int, int] | None = None, **attrs: Any) -> Row:
    x, w = sample(d, 1, 5, 6, 3), sample(d, 3, 3, 3, 4, seed=1)
    attrs = {"mode": mode, "strides": [1, 2, 1, 1], "padding": "VALID", **attrs}
    no: dict[str, Any] = {"lowers": False, "why": "ONNX has no symmetric padding"}
    mirror = no if mode == "SYMMETRIC" and not size else {}
    if size is None:
        return Row("FusedPadConv2D", [x, PADS, w], attrs, **mirror)
    return Row("FusedResizeAndPadConv2D", [x, np.array(size, np.int32), PADS, w], attrs, **mirror)


@rows(
    *[fused(d, m) for d in ("float32", "float64") for m in ("REFLECT", "SYMMETRIC")],
    *[fused(d, "REFLECT", (7, 4)) for d in ("float32",)],
    fused("float32", "SYMMETRIC", (3, 11), resize_align_corners=True, padding="SAME", strides=[1, 1, 1, 1]),
    fused("float32", "REFLECT", (5, 6)),
)
def test_fused_with_padding(row: Row) -> None:
    check(row)


def test_each_image_of_a_batch() -> None:
    """TensorFlow's kernel repeats the first one's."""
    one = fused("float32", "REFLECT")
    call, flat = bound(one)
    x = np.concatenate([flat[0], flat[0][:, ::-1]])
    both, first, second = (call.run(NUMPY, [v, *flat[1:]])[0] for v in (x, x[:1], x[1:]))
    np.testing.assert_allclose(both, np.concatenate([first, second]), rtol=1e-5)


@rows(
    *[
        Row(
            f"Conv3DBackprop{what}",
            [sample(d, 1, 4, 3, 4, 2), sample(d, 2, 2, 2, 2, 3, seed=1), sample(d, *dy, 3, seed=2)],
            {"strides": strides, "padding": padding},
        )
        for what in ("Input", "Filter")
        for d in ("float32", "float64")
        for strides, padding, dy in (([1] * 5, "SAME", (1, 4, 3, 4)), ([1, 2, 1, 2, 1], "VALID", (1, 2, 2, 2)))
    ],
)  # fmt: skip
def test_gradients_of_old_graphs(row: Row) -> None:
    row.lowers = None if row.inputs[0].dtype == np.float32 else row.lowers
    check(row)
