"""Uniformly quantized numbers against TensorFlow, to the bit."""

from __future__ import annotations

from typing import Any

import numpy as np
from tensorflow.core.util.quantization import uniform_quant_ops_attr_pb2

from op_harness import Row, check, rows, sample

F32, I32 = np.float32, np.int32
LEAST, MOST = -(2**31), 2**31 - 1


def ends(*sides: str, low: int = LEAST, high: int = MOST) -> dict[str, int]:
    front = [f"{s}_" if s else "" for s in sides]
    return {f"{f}quantization_{k}_val": v for f in front for k, v in (("min", low), ("max", high))}


X: Any = np.concatenate([sample("float32", 3, 4, low=-80, high=80), F32([[-1.25, -0.25, 0.25, 1.25]])])
Q: Any = sample("int8", 3, 4, low=-127, high=127)
WIDE: Any = sample("int32", 3, 4, low=-100000, high=100000)
FOUR: Any = F32([0.5, 0.3, 1.7, 0.01])
ZEROS: Any = I32([3, -2, 0, 11])
HALF: Any = F32(0.5)
NARROW = ends("", low=-127, high=127)


def to(kind: str, low: int = -127, high: int = 127, **attrs: Any) -> dict[str, Any]:
    return {"Tout": kind, "quantization_min_val": low, "quantization_max_val": high, **attrs}


@rows(
    Row("UniformQuantize", [X, HALF, I32(3)], to("qint8")),
    Row("UniformQuantize", [X, HALF, I32(0)], to("qint8")),
    Row("UniformQuantize", [X, HALF, I32(3)], to("qint32", LEAST, MOST)),
    Row("UniformQuantize", [X, FOUR, ZEROS], to("qint8", quantization_axis=1)),
    Row("UniformQuantize", [X, FOUR, ZEROS], to("qint8"), refused=True),
    Row("UniformQuantize", [X, FOUR[:3], ZEROS[:3]], to("qint8", quantization_axis=1), refused=True),
    Row("UniformQuantize", [X, FOUR, ZEROS[:3]], to("qint8", quantization_axis=1), refused=True),
    Row("UniformQuantize", [X, F32(0.01), I32(127)], to("qint8")),
    Row("UniformQuantize", [X, FOUR, ZEROS], to("qint8", quantization_axis=2), refused=True),
    Row("UniformDequantize", [Q, HALF, I32(3)], {"Tin": "qint8", **to("float32")}),
    Row("UniformDequantize", [WIDE, HALF, I32(-3)], {"Tin": "qint32", **to("float32", LEAST, MOST)}),
    Row("UniformDequantize", [Q, FOUR, ZEROS], {"Tin": "qint8", **to("float32", quantization_axis=1)}),
)
def test_floats_and_integers(row: Row) -> None:
    check(row)


def again(kind: str, out: str, **attrs: Any) -> dict[str, Any]:
    return {"Tin": kind, "Tout": out, **ends("input", "output", low=-127, high=127), **attrs}


OTHER: Any = [F32(0.31), I32(-1)]


@rows(
    *[
        Row("UniformRequantize", [Q, HALF, I32(3), F32(s), I32(-1)], again("qint8", "qint8"))
        for s in (0.1, 0.31, 7, 0.5)
    ],
    Row("UniformRequantize", [WIDE, F32(0.003), I32(3), F32(0.7), I32(5)], again("qint32", "qint8")),
    Row("UniformRequantize", [Q, FOUR, ZEROS, *OTHER], again("qint8", "qint8", input_quantization_axis=1)),
    Row("UniformRequantize", [Q, *OTHER, FOUR, ZEROS], again("qint8", "qint8", output_quantization_axis=1)),
    Row(
        "UniformRequantize", [Q, FOUR[::-1].copy(), ZEROS, FOUR, ZEROS],
        again("qint8", "qint8", input_quantization_axis=1, output_quantization_axis=1),
    ),
    Row(
        "UniformRequantize", [Q[:, :3], FOUR[:3], ZEROS[:3], FOUR[:3], ZEROS[:3]],
        again("qint8", "qint8", input_quantization_axis=1, output_quantization_axis=0), refused=True,
    ),
)  # fmt: skip
def test_other_scales(row: Row) -> None:
    check(row)


def both(**attrs: Any) -> dict[str, Any]:
    return {"T": "qint32", **ends("lhs", "rhs", "output"), **attrs}


SCHEMES = [HALF, I32(3), F32(0.2), I32(1), F32(0.25), I32(4)]
PER = {f"{s}_quantization_axis": 1 for s in ("lhs", "rhs", "output")}


@rows(
    Row("UniformQuantizedAdd", [WIDE, WIDE[::-1].copy(), *SCHEMES], both()),
    Row("UniformQuantizedAdd", [WIDE, WIDE[:1], *SCHEMES], both()),
    Row("UniformQuantizedAdd", [WIDE, WIDE[::-1].copy(), FOUR, ZEROS, FOUR * 2, ZEROS, FOUR, ZEROS], both(**PER)),
    Row("UniformQuantizedAdd", [WIDE, WIDE[:2], *SCHEMES], both(), refused=True),
    Row("UniformQuantizedClipByValue", [WIDE, I32(-50), I32(60), HALF, I32(3)], {"T": "qint32", **ends("")}),
    Row(
        "UniformQuantizedClipByValue", [WIDE, ZEROS - 900, ZEROS + 5000, FOUR, ZEROS],
        {"T": "qint32", "quantization_axis": 1, **ends("")},
    ),
    Row("UniformQuantizedClipByValue", [WIDE, ZEROS, ZEROS, HALF, I32(3)], {"T": "qint32", **ends("")}, refused=True),
)  # fmt: skip
def test_sums_and_limits(row: Row) -> None:
    check(row)


def product(**attrs: Any) -> dict[str, Any]:
    return {"Tin": "qint8", "Tout": "qint32", **ends("lhs", "rhs", low=-128, high=127), **ends("output"), **attrs}


R: Any = sample("int8", 4, 3, low=-127, high=127, seed=1)
SOME = [HALF, I32(3), FOUR[:3], I32([1, 2, 3])]


@rows(
    Row("UniformQuantizedDot", [Q, R, *SCHEMES], product()),
    Row("UniformQuantizedDot", [Q, R, *SOME, F32(0.25), I32(4)], product(rhs_quantization_axis=1)),
    Row(
        "UniformQuantizedDot", [Q, R, *SOME, F32([0.25, 3, 0.01]), I32([4, 5, 6])],
        product(rhs_quantization_axis=1, output_quantization_axis=1),
    ),
    Row("UniformQuantizedDot", [Q, R[:3], *SCHEMES], product(), refused=True),
)  # fmt: skip
def test_products(row: Row) -> None:
    check(row)


@rows(
    *[
        Row(
            "UniformQuantizedDotHybrid",
            [sample("float32", 4, 5, seed=k) + np.float32(k),
             np.random.default_rng(k).integers(-128, 128, (5, 3), np.int8),
             scales, zeros],
            {"Tlhs": "float32", "Trhs": "qint8", "Tout": "float32", "rhs_quantization_axis": axis,
             "rhs_quantization_min_val": -128, "rhs_quantization_max_val": 127}, name=f"{k}-{axis}",
        )
        for k in range(4)
        for axis, scales, zeros in (
            (-1, np.float32(0.3), np.int32(5)),
            (1, np.array([0.3, 0.1, 2], np.float32), np.array([0, 3, -7], np.int32)),
        )
    ],
)  # fmt: skip
def test_products_with_floats(row: Row) -> None:
    check(row)


# --- convolutions -----------------------------------------------------------------------------------------------
IMAGES: Any = sample("int8", 2, 3, 6, 5, low=-127, high=127)
KERNEL: Any = sample("int8", 4, 3, 3, 2, seed=1, low=-127, high=127)
FLOATS: Any = sample("float32", 2, 3, 6, 5, low=-3, high=5)
INTO: Any = [HALF, I32(3), F32(0.25), I32(-2), F32(100), I32(7)]


def numbers(inputs: str, kernel: str, outputs: str) -> bytes:
    """The message that says where dimensions lie."""
    made = uniform_quant_ops_attr_pb2.UniformQuantizedConvolutionDimensionNumbersAttr(
        input_batch_dimension=inputs.index("N"),
        input_feature_dimension=inputs.index("C"),
        input_spatial_dimensions=[inputs.index(c) for c in "HW"],
        kernel_input_feature_dimension=kernel.index("I"),
        kernel_output_feature_dimension=kernel.index("O"),
        kernel_spatial_dimensions=[kernel.index(c) for c in "HW"],
        output_batch_dimension=outputs.index("N"),
        output_feature_dimension=outputs.index("C"),
        output_spatial_dimensions=[outputs.index(c) for c in "HW"],
    )
    return bytes(made.SerializeToString())


def conv(lhs: Any = IMAGES, rhs: Any = KERNEL, scales: Any = None, **attrs: Any) -> Row:
    refused = attrs.pop("refused", False)
    attrs = {"Tin": "qint8", "Tout": "qint32", "padding": "VALID"} | ends("lhs", "rhs", low=-128, high=127) | attrs
    return Row("UniformQuantizedConvolution", [lhs, rhs, *(scales or INTO)], attrs | ends("output"), refused=refused)


def hybrid(lhs: Any = FLOATS, rhs: Any = KERNEL, scales: Any = None, **attrs: Any) -> Row:
    attrs = {"Trhs": "qint8", "Tout": "float32", "padding": "VALID"} | ends("rhs", low=-128, high=127) | attrs
    return Row("UniformQuantizedConvolutionHybrid", [lhs, rhs, *(scales or INTO[2:4])], attrs)


NHWC: Any = {"dimension_numbers": numbers("NHWC", "HWIO", "NHWC")}
TURNED: Any = [IMAGES.transpose(0, 2, 3, 1).copy(), KERNEL.transpose(2, 3, 1, 0).copy()]
GROUPED: Any = [sample("int8", 2, 6, 6, 5, low=-127, high=127), KERNEL]


@rows(
    *[conv(padding=p) for p in ("VALID", "SAME")],
    conv(padding="EXPLICIT", explicit_padding=[1, 0, 2, 1]),
    conv(window_strides=[2, 1], padding="SAME"),
    conv(rhs_dilation=[2, 2]),
    conv(lhs_dilation=[2, 3], padding="SAME"),
    conv(*GROUPED, feature_group_count=2),
    conv(batch_group_count=2),
    conv(*TURNED, **NHWC),
    conv(dimension_numbers=numbers("NCHW", "OIHW", "HWNC")),
    conv(scales=[HALF, I32(3), FOUR, ZEROS, F32(100), I32(7)], rhs_quantization_axis=0),
    conv(scales=[HALF, I32(3), FOUR, ZEROS, FOUR * 70, ZEROS], rhs_quantization_axis=0, output_quantization_axis=1),
    conv(*TURNED, scales=[HALF, I32(3), FOUR, ZEROS, F32(100), I32(7)], rhs_quantization_axis=3, **NHWC),
    conv(scales=[HALF, I32(3), FOUR[:3], ZEROS[:3], F32(100), I32(7)], rhs_quantization_axis=1, refused=True),
    conv(rhs=KERNEL[:, :2], refused=True),
    conv(rhs=KERNEL[0], refused=True),
    conv(window_strides=[2], refused=True),
    conv(rhs_dilation=[0, 1], refused=True),
    conv(padding="EXPLICIT", explicit_padding=[1, 0], refused=True),
    conv(padding="EXPLICIT", explicit_padding=[1, 0, -1, 0], refused=True),
    conv(padding="ODD", refused=True),
    conv(feature_group_count=2, refused=True),
    conv(dimension_numbers=b"zz", refused=True),
    *[hybrid(padding=p) for p in ("VALID", "SAME")],
    hybrid(padding="EXPLICIT", explicit_padding=[1, 0, 2, 1]),
    hybrid(window_strides=[2, 1], rhs_dilation=[1, 2]),
    hybrid(scales=[FOUR, ZEROS], rhs_quantization_axis=0),
    hybrid(FLOATS.transpose(0, 2, 3, 1).copy(), TURNED[1], **NHWC),
    hybrid(sample("float32", 2, 6, 6, 5), KERNEL, feature_group_count=2),
)
def test_convolutions(row: Row) -> None:
    check(row)
