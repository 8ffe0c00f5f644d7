"""oneDNN's fused quantized kernels against TensorFlow, which runs them in graphs alone, and against floats.

The other tests have TensorFlow without oneDNN. Here a process of its own, this file as a program, asks with it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from coldframe import dtypes
from coldframe.errors import ExecutionError
from coldframe.graph.signatures import signature
from op_harness import NUMPY, Row, _set_attr, bound

v1 = tf.compat.v1
F = np.float32
KINDS = {"uint8": "quint8", "int8": "qint8", "int32": "qint32"}


def bits(kind: Any, *shape: int, seed: int = 0) -> Any:
    info = np.iinfo(kind)
    return np.random.default_rng(seed).integers(max(info.min, -127), info.max + 1, shape).astype(kind)


def from_graph(row: Row) -> list[Any]:
    """TensorFlow's answer: oneDNN's kernels are put in when a session is made, where filters are constants."""
    call, flat = bound(row)
    proto = v1.GraphDef()
    proto.versions.producer = tf.version.GRAPH_DEF_VERSION
    for k, (a, (_, dtype)) in enumerate(zip(flat, call.inputs, strict=True)):
        n = proto.node.add(name=f"i{k}", op="Const")
        n.attr["dtype"].type = n.attr["value"].tensor.dtype = dtype.enum
        n.attr["value"].tensor.tensor_shape.CopyFrom(tf.TensorShape(a.shape).as_proto())
        n.attr["value"].tensor.tensor_content = a.tobytes()
    names = [f"i{k}" for k in range(len(flat))]
    node = proto.node.add(name="row", op=row.op, input=names)
    for name, spec in signature(row.op).attrs.items():
        if name in call.attrs:
            _set_attr(node.attr[name], spec.type, call.attrs[name])
    config = v1.ConfigProto()
    config.graph_options.rewrite_options.disable_meta_optimizer = True
    config.graph_options.optimizer_options.opt_level = -1
    with tf.Graph().as_default() as graph, tf.device("/CPU:0"):
        feeds: dict[Any, Any] = {}
        given = {}
        for k, (a, (arg, dtype)) in enumerate(zip(flat, call.inputs, strict=True)):
            if arg.name == "summand":  # its memory becomes that of the result, so it is no constant
                fed = v1.placeholder(a.dtype, a.shape)
                feeds[fed] = a
                moved = fed + tf.zeros([], fed.dtype)
                given[f"i{k}:0"] = tf.bitcast(moved, tf.as_dtype(dtype.enum)) if a.dtype != F else moved
        tf.import_graph_def(proto, name="", input_map=given)
        out = [graph.get_tensor_by_name(f"row:{k}") for k in range(len(call.outputs))]
        out = [
            tf.bitcast(o, dtypes.from_enum(o.dtype.as_datatype_enum).numpy) if o.dtype.is_quantized else o for o in out
        ]
        with v1.Session(graph=graph, config=config) as session:
            return list(session.run(out, feeds))


X, W = bits(np.uint8, 2, 5, 6, 3), bits(np.int8, 3, 2, 3, 4, seed=1)
SIGNED = bits(np.int8, 2, 5, 6, 3)
BIAS = np.array([0.31, -0.27, 0.113, 0.4], F)
WHOLE = np.array([1000, -2000, 3001, 500], np.int32)
RANGE = [F(0), F(2), F(-1), F(1)]
WIDE = [F(-1.5), F(2), F(-0.5), F(1.3)]
CHANNELS = [F(0), F(2), np.array([-1, -0.5, -0.7, -2], F), np.array([1, 0.6, 0.2, 1], F)]
ENDS = [F(0), F(6)]


def conv(then: str, *rest: Any, x: Any = X, w: Any = W, ends: Any = None, ranges: Any = None, **more: Any) -> Row:
    """A convolution; `rest` is the bias; `ends` the range of the result, with a summand after it."""
    inputs = [x, w, *rest, *(ranges or RANGE), *(ends or [])]
    attrs = {"Tinput": KINDS[x.dtype.name], "Tfilter": "qint8", "strides": [1, 1, 1, 1], "padding": "SAME"}
    attrs["out_type"] = "qint32" if "Requantize" not in then else "quint8" if "Relu" in then else "qint8"
    if rest and "Tbias" in signature(f"QuantizedConv2D{then}").attrs:
        attrs["Tbias"] = KINDS.get(rest[0].dtype.name, "float32")
    if "SumAndReluAndRequantize" in then and ends is not None:
        attrs["Tsummand"] = KINDS[ends[2].dtype.name]
    return Row(f"QuantizedConv2D{then}", inputs, attrs | more)


def depthwise(then: str, *rest: Any, ends: Any = None, multiplier: int = 1, **more: Any) -> Row:
    attrs = {"Tinput": "quint8", "Tfilter": "qint8", "strides": [1, 1, 1, 1], "padding": "SAME"}
    attrs["out_type"] = "quint8" if ends else "qint32"
    if ends:
        attrs["Tbias"] = KINDS.get(rest[0].dtype.name, "float32")
    w = bits(np.int8, 3, 2, 3, multiplier, seed=1)
    return Row(f"QuantizedDepthwiseConv2D{then}", [X, w, *rest, *RANGE, *(ends or [])], attrs | more)


A, B = bits(np.uint8, 5, 7), bits(np.int8, 7, 4, seed=1)


def product(then: str, bias: Any, mode: str, *, ranges: Any = None, ends: Any = None, **more: Any) -> Row:
    attrs = {"T1": "quint8", "T2": "qint8", "input_quant_mode": mode} | more
    attrs["Toutput"] = "float32" if "Deq" in then else "quint8" if ends else "qint32"
    if "Tbias" in signature(f"QuantizedMatMulWithBias{then}").attrs:
        attrs["Tbias"] = KINDS.get(bias.dtype.name, "float32")
    return Row(f"QuantizedMatMulWithBias{then}", [A, B, bias, *(ranges or RANGE), *(ends or [])], attrs)


SUMMAND = bits(np.uint8, 2, 5, 6, 4, seed=5)
FLOATS = np.random.default_rng(6).uniform(-2, 2, (2, 5, 6, 4)).astype(F)
LOW = (bits(np.uint8, 2, 5, 6, 4, seed=5) % 60).astype(np.int8)  # sums below 127
ROWS = [
    *[conv(then, BIAS, ranges=r) for then in ("WithBias", "WithBiasAndRelu") for r in (RANGE, WIDE)],
    conv("WithBias", BIAS, x=SIGNED),
    conv("WithBiasAndRelu", BIAS, x=SIGNED),
    conv("WithBias", BIAS, padding="VALID"),
    *[conv("WithBias", BIAS, **{of: [1, 2, 2, 1]}) for of in ("strides", "dilations")],
    conv("WithBias", BIAS, padding_list=[0, 0, 1, 1, 2, 1, 0, 0]),
    *[conv(then) for then in ("", "AndRelu", "PerChannel")],
    *[conv("", ranges=WIDE)],
    conv("AndRequantize", ends=ENDS),
    conv("AndReluAndRequantize", ends=ENDS),
    *[
        conv(f"WithBias{then}", bias, ranges=r, ends=ends)
        for then in ("AndRequantize", "AndReluAndRequantize")
        for bias in (BIAS, WHOLE)
        for r in (RANGE, WIDE, CHANNELS)
        for ends in (ENDS, [F(-3), F(5)])
    ],
    conv("WithBiasSumAndRelu", BIAS, ends=[FLOATS]),
    *[conv("WithBiasSumAndReluAndRequantize", b, ends=[*ENDS, SUMMAND, F(0), F(4)]) for b in (BIAS, WHOLE)],
    conv("WithBiasSumAndReluAndRequantize", BIAS, ranges=CHANNELS, ends=[*ENDS, SUMMAND, F(0), F(4)]),
    *[
        conv("WithBiasSignedSumAndReluAndRequantize", b, ends=[F(0), F(30), LOW, F(-3), F(4)]) for b in (BIAS, WHOLE)
    ],
    *[depthwise(then, *bias) for then, bias in (("", []), ("WithBias", [BIAS[:3]]), ("WithBiasAndRelu", [BIAS[:3]]))],
    *[depthwise("", multiplier=2, **m) for m in ({}, {"padding": "VALID"}, {"dilations": [1, 2, 2, 1]})],
    *[depthwise("WithBiasAndReluAndRequantize", b[:3], ends=ENDS) for b in (BIAS, WHOLE)],
    *[
        product(then, bias, mode, ends=ends)
        for mode in ("MIN_FIRST", "SCALED")
        for bias in (BIAS, WHOLE)
        for then, ends in (
            ("", None), ("AndReluAndRequantize", ENDS), ("AndRequantize", ENDS), ("AndDequantize", ENDS),
        )
    ],
    product("AndRelu", BIAS, "SCALED"),
    *[product(then, WHOLE, "MIN_FIRST", ranges=WIDE, ends=e) for then, e in (("", None), ("AndRequantize", ENDS))],
    product("AndDequantize", BIAS, "SCALED", ranges=WIDE, ends=ENDS),
]  # fmt: skip


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    path = tmp_path_factory.mktemp("onednn") / "answers.npz"
    paths = os.pathsep.join([str(Path(__file__).parents[1]), *(p for p in sys.path if p)])
    more = {"TF_ENABLE_ONEDNN_OPTS": "1", "PYTHONPATH": paths}
    subprocess.run([sys.executable, __file__, str(path)], env=os.environ | more, check=True, capture_output=True)
    with np.load(path) as found:
        return dict(found)


@pytest.mark.parametrize("k", range(len(ROWS)), ids=[str(r) for r in ROWS])
def test_as_tensorflow(k: int, answers: dict[str, Any]) -> None:
    if "none" in answers:
        pytest.skip("this TensorFlow has no oneDNN")
    call, flat = bound(ROWS[k])
    for i, got in enumerate(call.run(NUMPY, flat)):
        want = answers[f"{k}:{i}"]
        assert (got.dtype, got.shape) == (want.dtype, want.shape)
        if got.dtype == np.int32:  # TensorFlow's way there is float32 in an order of its own
            assert np.abs(got.astype(np.int64) - want).max() <= 1
            assert (got != want).mean() < (0.1 if "Sum" in ROWS[k].op else 0.02)
        elif got.dtype == F:
            np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)
        else:
            np.testing.assert_array_equal(got, want)


# --- what TensorFlow 2.21 does not compute as its own comments say ------------------------------------------------
def run(row: Row) -> list[Any]:
    call, flat = bound(row)
    return call.run(NUMPY, flat)


def floats(x: Any, ends: Any, most: int) -> Any:
    return x.astype(np.float64) * max(abs(float(e)) for e in ends) / most


def test_sums_have_the_steps_of_their_own_channel() -> None:
    out, low, high = run(conv("PerChannel", ranges=CHANNELS))
    np.testing.assert_array_equal(out, run(conv("PerChannel"))[0])
    assert low.shape == high.shape == (4,)
    steps = 2 / 255 * (CHANNELS[3] - CHANNELS[2]) / 254
    np.testing.assert_allclose(high, steps * 2.0**31, rtol=1e-6)


def test_a_signed_summand_leads_up_to_255() -> None:
    without = run(conv("WithBiasAndReluAndRequantize", BIAS, ends=ENDS))[0]
    most = np.full((2, 5, 6, 4), 127, np.int8)
    out = run(conv("WithBiasSignedSumAndReluAndRequantize", BIAS, ends=[*ENDS, most, F(-3), F(3)]))[0]
    np.testing.assert_allclose(out[without > 0], np.minimum(without[without > 0] + 127.5, 255), atol=1)


@pytest.mark.parametrize("ranges", [WIDE, [F(0.5), F(2), F(-1), F(1)]])
def test_integers_count_from_the_least_input(ranges: Any) -> None:
    low, high = (float(e) for e in ranges[:2])
    a = low + A * (high - low) / 255
    want = a @ floats(B, ranges[2:], 127) + BIAS
    got = run(product("AndDequantize", BIAS, "MIN_FIRST", ranges=ranges, ends=ENDS))[0]
    np.testing.assert_allclose(got, want, atol=2e-4)
    wide, least, most = run(product("", BIAS, "MIN_FIRST", ranges=ranges))
    step = (high - low) / 255 * max(abs(float(e)) for e in ranges[2:]) / 127
    np.testing.assert_allclose(wide * step, want, atol=2e-4)
    assert least == -most


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (conv("WithBias", BIAS[:3]), r"one bias per output channel: expected \[4\], found \[3\]"),
        (
            conv("WithBias", BIAS, ranges=[*RANGE[:2], BIAS[:3], BIAS[:3]]),
            "range of the filter: expected a scalar, or 4",
        ),
        (conv("WithBias", BIAS, w=W[0]), "the filter: expected rank 4"),
        (conv("WithBiasSumAndRelu", BIAS, ends=[FLOATS[:1]]), "the summand: expected shape"),
        (product("", BIAS, "SCALED", transpose_b=True), "the matrices do not fit"),
        (product("", BIAS, "SCALED", ranges=[*RANGE[:2], BIAS, BIAS]), "the range of `b`: expected a scalar, found"),
    ],
)
def test_refusals(row: Row, message: str) -> None:
    with pytest.raises(ExecutionError, match=message):
        run(row)


def test_matrices_can_be_turned() -> None:
    turned = product("", BIAS, "SCALED", transpose_a=True, transpose_b=True)
    turned.inputs[:2] = [A.T, B.T]
    for got, want in zip(run(turned), run(product("", BIAS, "SCALED")), strict=True):
        np.testing.assert_array_equal(got, want)


def _ask(path: str) -> None:
    found: dict[str, Any] = {}
    try:
        from_graph(conv("AndRelu"))
    except tf.errors.OpError:
        found["none"] = np.zeros(0)
    else:
        for k, row in enumerate(ROWS):
            found |= {f"{k}:{i}": v for i, v in enumerate(from_graph(row))}
    np.savez(path, **found)


if __name__ == "__main__":
    _ask(sys.argv[1])
