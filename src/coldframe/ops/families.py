"""Constructors for the ops that are one line each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from coldframe.ops import inference_math
from coldframe.ops.table import Body, Op, rules


def unary(
    name: str, body: Callable[[Any, Any], Any], doc: str, *, onnx: str = "", gradient: Body | None = None, **fields: Any
) -> Op:
    """Return an elementwise op of one tensor. `onnx` names the ONNX op that is the same, if one is.

    `gradient` is its gradient rule.
    """

    def run(xp: Any, x: Any) -> Any:
        return body(xp, x)

    made = Op(name, run, shape="x -> x", rules=rules(gradient=gradient), elementwise=True, **fields)
    return _documented(made, doc, onnx)


def binary(
    name: str,
    body: Callable[[Any, Any, Any], Any],
    doc: str,
    *,
    onnx: str = "",
    gradient: Body | None = None,
    **fields: Any,
) -> Op:
    """Return an elementwise op of two tensors that broadcast; options as for `unary`."""

    def run(xp: Any, x: Any, y: Any) -> Any:
        return body(xp, x, y)

    shape = inference_math.broadcast_two
    return _documented(
        Op(name, run, shape=shape, rules=rules(gradient=gradient), elementwise=True, **fields), doc, onnx
    )


def _documented(o: Op, doc: str, onnx: str) -> Op:
    o.body.__doc__ = doc
    if onnx:

        def direct(xp: Any, *inputs: Any) -> Any:
            return xp.typed(onnx, list(inputs))

        o.rules["onnx"] = direct
    return o
