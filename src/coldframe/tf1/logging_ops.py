"""Printing tensors when the graph runs."""

from __future__ import annotations

import os
import pprint
import sys
from typing import Any

from coldframe import dtypes
from coldframe.tf1.framework.build import raw
from coldframe.tf1.framework.convert import SparseTensor, is_tensor_like
from coldframe.tf1.simple import simple
from coldframe.tf1.string_ops import string_format

Print = simple("Print(input_:input, data, message=None, first_n=None, summarize=None) -> Print")

_HOLE = "{}"


def print_v2(*inputs: Any, **kwargs: Any) -> Any:
    """Return an operation that prints Python values and tensors, one after the other.

    Args:
        output_stream: ``sys.stderr`` (the default), ``sys.stdout``, or ``"file://path"``.
        summarize: how many elements at either end of each axis; -1 for all.
        sep, end: between, and after them.
        name: of the operation.
    """
    stream = kwargs.pop("output_stream", sys.stderr)
    name, summarize = kwargs.pop("name", None), kwargs.pop("summarize", 3)
    sep, end = kwargs.pop("sep", " "), kwargs.pop("end", os.linesep)
    if kwargs:
        raise ValueError(f"Unrecognized keyword arguments for tf.print: {kwargs}")
    target = _stream(stream)
    if len(inputs) == 1 and is_tensor_like(inputs[0]) and _is_string(inputs[0]):
        text = inputs[0]
    else:
        tensors: list[Any] = []
        hole = _hole(inputs)
        template = sep.join(x if isinstance(x, str) else _template(x, tensors, hole) for x in inputs)
        label = f"{name}_format" if name else None
        text = string_format(template, tensors, placeholder=hole, summarize=summarize, name=label)
    return raw.PrintV2(text, output_stream=target, end=end, name=name)


def _stream(stream: Any) -> str:
    if isinstance(stream, str) and stream.startswith("file://"):
        return stream
    names = {id(sys.stdout): "stdout", id(sys.stderr): "stderr"}
    if id(stream) not in names:
        raise ValueError(f"Unsupported output stream {stream!r}: use sys.stdout, sys.stderr or a 'file://' path")
    return names[id(stream)]


def _is_string(x: Any) -> bool:
    return x.dtype is dtypes.string and x.get_shape().ndims == 0


def _hole(inputs: Any) -> str:
    """Return a placeholder that none of the Python values contains."""
    text, hole = pprint.pformat(inputs), _HOLE
    while hole in text:
        hole = "{" + hole + "}"
    return hole


class _Hole:
    """Stands for a tensor inside a Python value that is shown."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


def _template(value: Any, tensors: list[Any], hole: str) -> str:
    return pprint.pformat(_holed(value, tensors, hole))


def _holed(value: Any, tensors: list[Any], hole: str) -> Any:
    if isinstance(value, SparseTensor):
        tensors += [value.indices, value.values, value.dense_shape]
        return _Hole(f"SparseTensor(indices={hole}, values={hole}, shape={hole})")
    if is_tensor_like(value):
        tensors.append(value)
        return _Hole(hole)
    if isinstance(value, dict):
        return {k: _holed(value[k], tensors, hole) for k in sorted(value)}
    if isinstance(value, (list, tuple)):
        return type(value)(_holed(v, tensors, hole) for v in value)
    return value


__all__ = [
    "Print", "print_v2",
]  # fmt: skip
