"""Hold rows of the op tests on the engine `openvino`: what it gives OpenVINO is right."""

from __future__ import annotations

from typing import Any

from coldframe.engines.base import EngineFailure
from coldframe.engines.onnxruntime import OnnxModel
from coldframe.engines.openvino import OpenVinoEngine, OpenVinoProgram
from coldframe.errors import ColdframeError
from coldframe.ops import table
from coldframe.ops.call import Call
from coldframe.primitives.base import Unlowerable
from coldframe.primitives.onnx_xp import OnnxPrimitives
from op_harness import Row, bound, compare, from_tensorflow

ENGINE = OpenVinoEngine()
RIGHT: list[Row] = []
REFUSED: list[tuple[Row, str]] = []


def tried(row: Row) -> bool:
    """Whether the engine would try the row's op."""
    op = table()[row.op]
    return not (op.random or op.host or op.stateful or op.effect)


def check(row: Row) -> None:
    """Assert that OpenVINO, where it gets the row's op, gives TensorFlow's answer."""
    call, flat = bound(row)
    if not tried(row) or any(dtype.kind in "so" for _, dtype in call.inputs + call.outputs):
        return
    for open_dims in (False, True):
        try:
            got = run(call, flat, row.const, open_dims=open_dims)
        except (Unlowerable, ColdframeError, EngineFailure) as e:  # ONNX Runtime may not take it, either
            REFUSED.append((row, str(e)))
            continue
        if got is None:
            continue
        want = from_tensorflow(row)
        assert want is not None or call.op.lenient, f"TensorFlow refuses {row}, OpenVINO answers {got}"
        if want is not None:
            compare(row, call, got, want, "openvino, open dims" if open_dims else "openvino")
            RIGHT.append(row)


def run(call: Call, flat: list[Any], const: tuple[int, ...], *, open_dims: bool) -> list[Any] | None:
    """Return what OpenVINO computes; None where it gets nothing, or is not to compute with what is fed."""
    xp, static, values, feeds = OnnxPrimitives(), set(call.static_inputs()), [], {}
    for i, ((_, dtype), a) in enumerate(zip(call.inputs, flat, strict=True)):
        if i in static:
            values.append(a)
        elif i in const:
            values.append(xp.constant(a, dtype))
        else:
            values.append(xp.input(f"i{i}", dtype, tuple(None for _ in a.shape) if open_dims else a.shape))
            feeds[f"i{i}"] = a
    lifted = [xp.lift(o) for o in call.run(xp, values, aspect="onnx")]
    model, weights = xp.model([(f"o{k}", o) for k, o in enumerate(lifted)])
    made = ENGINE._program(OnnxModel(model, weights, list(xp.given), lifted, xp.facts))
    if not isinstance(made, OpenVinoProgram):
        REFUSED.append((Row(call.op.name, []), made.reason))
        return None
    made.start()
    return made.answer([feeds[n] for n in xp.given])
