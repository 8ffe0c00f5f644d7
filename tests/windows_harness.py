"""Checks for ops over sliding windows that one `Row` cannot say.

TensorFlow's CPU kernels take channels last only and differentiate neither dilated nor grouped convolutions, so the
oracle is asked in its own layout, or the gradient is held against the forward op as its adjoint.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnxruntime as ort

from coldframe.ops.call import Call
from coldframe.primitives.onnx_xp import OnnxPrimitives
from op_harness import NUMPY, Row, bound, compare, from_tensorflow, run_onnx

Arrays = list[Any]


def channels_first(
    row: Row, *, images: Sequence[int], outputs: Sequence[int] = (0,), shapes: Sequence[int] = ()
) -> None:
    """Run `row`, which is channels last, channels first as well, and compare with TensorFlow's channels-last answer.

    Args:
        row: the call.
        images: the inputs that have a layout.
        outputs: the outputs that have one.
        shapes: the inputs that are shapes in that layout.
    """
    want = from_tensorflow(row)
    assert want is not None
    for k in outputs:
        want[k] = np.moveaxis(want[k], -1, 1)
    inputs = list(row.inputs)
    for i in images:
        inputs[i] = np.ascontiguousarray(np.moveaxis(inputs[i], -1, 1))
    for i in shapes:
        inputs[i] = _first(inputs[i])
    attrs = {k: _first(v) if k in _PER_DIMENSION else v for k, v in row.attrs.items()}
    if "explicit_paddings" in attrs:
        attrs["explicit_paddings"] = _first(np.reshape(attrs["explicit_paddings"], (-1, 2))).ravel().tolist()
    attrs["data_format"] = "NCDHW" if np.ndim(inputs[images[0]]) == 5 else "NCHW"
    first = dataclasses.replace(row, inputs=inputs, attrs=attrs)
    call, flat = bound(first)
    compare(first, call, call.run(NUMPY, flat), want, "numpy, channels first")
    compare(first, call, run_onnx(call, flat, open_dims=False), want, "onnx, channels first")


_PER_DIMENSION = ("strides", "dilations", "ksize")


def _first(v: Any) -> Any:
    a = np.asarray(v)
    turned = np.concatenate([a[:1], a[-1:], a[1:-1]])
    return turned if isinstance(v, np.ndarray) else turned.tolist()


def opened(row: Row, *, constant: Sequence[int], open_axes: Sequence[int]) -> None:
    """Compare with TensorFlow while `open_axes` of the fed inputs are open and inputs `constant` are known."""
    want = from_tensorflow(row)
    assert want is not None
    call, flat = bound(row)
    got = lowered(call, flat, constant=constant, open_axes=open_axes)
    compare(row, call, got, want, f"onnx, {list(open_axes)} open")


def lowered(call: Call, flat: Arrays, *, constant: Sequence[int], open_axes: Sequence[int] = ()) -> Arrays:
    """Lower `call` with some inputs as constants, and run it."""
    model, weights, _ = traced(call, flat, constant=constant, open_axes=open_axes)
    weights = {k: np.ascontiguousarray(w) for k, w in weights.items()}  # ONNX Runtime reads them where they are
    runs = session(model, weights)
    feeds = {i.name: flat[int(i.name[1:])] for i in runs.get_inputs()}
    return [np.asarray(r) for r in runs.run(None, feeds)]


def numpy_alone(row: Row) -> None:
    """Compare numpy with TensorFlow where ONNX Runtime need not agree."""
    want = from_tensorflow(row)
    assert want is not None
    call, flat = bound(row)
    compare(row, call, call.run(NUMPY, flat), want, "numpy")


def traced(
    call: Call, flat: Arrays, *, constant: Sequence[int], open_axes: Sequence[int] = ()
) -> tuple[bytes, dict[str, Any], OnnxPrimitives]:
    """Lower `call` with some inputs as constants."""
    xp = OnnxPrimitives()
    values: Arrays = []
    for i, ((_, dtype), a) in enumerate(zip(call.inputs, flat, strict=True)):
        if i in call.static_inputs():
            values.append(a)
        elif i in constant:
            values.append(xp.constant(a))
        else:
            dims = tuple(None if k in open_axes else d for k, d in enumerate(a.shape))
            values.append(xp.input(f"i{i}", dtype, dims))
    out = call.run(xp, values, aspect="onnx")
    model, weights = xp.model([(f"o{k}", xp.lift(o)) for k, o in enumerate(out)])
    return model, weights, xp


def session(model: bytes, weights: dict[str, Any]) -> ort.InferenceSession:
    """Load a model; the caller keeps `weights`, which are contiguous, alive."""
    options = ort.SessionOptions()
    options.log_severity_level = 4
    if weights:
        values = [ort.OrtValue.ortvalue_from_numpy(w) for w in weights.values()]
        options.add_external_initializers(list(weights), values)
    return ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def numpy_run(op: str, inputs: Arrays, **attrs: Any) -> Any:
    """Return the first output of `op` on numpy."""
    call, flat = bound(Row(op, inputs, attrs))
    return call.run(NUMPY, flat)[0]


def assert_adjoint(forward: Callable[[Any], Any], x: Any, dy: Any, gradient: Any) -> None:
    """Assert that `gradient` of a linear `forward` at `x` is its adjoint applied to `dy`."""
    assert gradient.shape == x.shape
    np.testing.assert_allclose(np.vdot(forward(x), dy), np.vdot(x, gradient), rtol=1e-10)
