"""Nodes, attributes and tensors of ONNX as messages: making them, and what reads what."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from coldframe import dtypes
from coldframe.formats import messages

_NESTED: Final = frozenset(("If", "Loop", "Scan", "SequenceMap"))
"""Nodes that have subgraphs."""


def live(nodes: Sequence[Any], outputs: Iterable[str]) -> list[Any]:
    """Return the nodes that `outputs` depend on: ONNX Runtime would run the others too, and stop where they fail."""
    needed, live = set(outputs), []
    for n in reversed(nodes):
        if needed.intersection(n.output):
            live.append(n)
            needed.update(reads(n))
    return live[::-1]


def reads(node: Any) -> Iterator[str]:
    """Yield the names that `node` reads, those its subgraphs take from outside included."""
    yield from node.input
    if node.op_type not in _NESTED:
        return
    for a in node.attribute:
        if a.HasField("g"):
            for n in a.g.node:
                yield from reads(n)
            yield from (o.name for o in a.g.output)


def tensor(name: str, array: npt.NDArray[Any]) -> Any:
    """Return `array` as an ONNX TensorProto with raw data."""
    a = np.ascontiguousarray(array)
    return messages.onnx.TensorProto(
        name=name, dims=array.shape, data_type=dtypes.from_numpy(array.dtype).onnx, raw_data=a.tobytes()
    )


def set_attribute(a: Any, value: Any) -> None:
    """Give an AttributeProto its value."""
    if isinstance(value, (bool, int, np.integer)):
        a.type, a.i = 2, int(value)
    elif isinstance(value, (float, np.floating)):
        a.type, a.f = 1, float(value)
    elif isinstance(value, str):
        a.type, a.s = 3, value.encode()
    elif isinstance(value, messages.onnx.GraphProto):
        a.type = 5
        a.g.CopyFrom(value)
    elif isinstance(value, np.ndarray):
        a.type = 4
        a.t.CopyFrom(tensor("", value))
    elif all(isinstance(v, (int, np.integer)) for v in value):
        a.type = 7
        a.ints.extend(int(v) for v in value)
    elif all(isinstance(v, str) for v in value):
        a.type = 8
        a.strings.extend(v.encode() for v in value)
    else:
        a.type = 6
        a.floats.extend(float(v) for v in value)


def op_types(text: str) -> frozenset[str]:
    """Return the op types that are named in `text`, with spaces between them."""
    return frozenset(text.split())
