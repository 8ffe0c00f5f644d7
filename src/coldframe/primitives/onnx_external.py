"""What of an ONNX model's weights goes into a file beside it, and what stays where it is.

ONNX Runtime saves the model that it made of another, with its weights, and some of them a second time as its kernels
lay them out for multiplying. Tables, of which nodes only look up rows, it uses as they are: so those are inputs while
it makes that model, and weights that are handed over again when it is loaded.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, Final

from coldframe.formats import messages
from coldframe.primitives.onnx_nodes import reads

_LOOKUPS: Final = frozenset({"Gather", "GatherND", "GatherElements"})
_MEMORY: Final = "memory"  # where weights are that are handed over beside the model
_ALIGNMENT: Final = 64


def tables(model: bytes, weights: Collection[str]) -> frozenset[str]:
    """Return those of `weights` of which all that reads them looks up rows."""
    g, found = messages.onnx.ModelProto.FromString(model).graph, set(weights)
    for node in g.node:
        read = list(reads(node))
        found.difference_update(read[1:] if node.op_type in _LOOKUPS else read)
    return frozenset(found.difference(o.name for o in g.output))


def with_inputs(model: bytes, names: Collection[str]) -> bytes:
    """Return a model that is fed the weights called `names`."""
    made = messages.onnx.ModelProto.FromString(model)
    g = made.graph
    for t in [t for t in g.initializer if t.name in names]:
        info = g.input.add(name=t.name)
        info.type.tensor_type.elem_type = t.data_type
        info.type.tensor_type.shape.SetInParent()
        for d in t.dims:
            info.type.tensor_type.shape.dim.add(dim_value=d)
        g.initializer.remove(t)
    return bytes(made.SerializeToString())


def with_weights(model: bytes, saved: bytes, names: Collection[str]) -> bytes:
    """Return `saved`, which ONNX Runtime made of `with_inputs(model, names)`, with those inputs as weights again."""
    made = messages.onnx.ModelProto.FromString(saved)
    g = made.graph
    for info in [i for i in g.input if i.name in names]:
        g.input.remove(info)
    given = messages.onnx.ModelProto.FromString(model).graph
    g.initializer.extend(t for t in given.initializer if t.name in names)
    return bytes(made.SerializeToString())


def fault(saved: bytes, size: int) -> str:
    """Return why the file of weights of `saved`, of `size` bytes, must not be mapped; empty where it may be.

    Kernels read what they laid out with instructions that end the process where an address is not a multiple of 64;
    and so does reading beyond the end of a file that was written to a full disk.
    """
    for where, length, laid_out in _places(messages.onnx.ModelProto.FromString(saved).graph):
        if where + length > size:
            return f"the file ends at {size}, before {where + length}"
        if laid_out and where % _ALIGNMENT:
            return f"what begins at {where} is not aligned"
    return ""


def _places(graph: Any) -> Iterator[tuple[int, int, bool]]:
    """The places in the file of weights: where, how long, and whether it is what a kernel laid out for itself."""
    for t in graph.initializer:
        facts = {e.key: e.value for e in t.external_data}
        if facts.get("location", _MEMORY) != _MEMORY:
            yield int(facts.get("offset", "0")), int(facts.get("length", "0")), False
        for key, value in facts.items():
            if key.startswith("prepacked"):  # KERNEL+HASH|offset;length;checksum|...
                for piece in value.split("|")[1:]:
                    numbers = list(map(int, piece.split(";")))
                    yield from ((*numbers[i : i + 2], True) for i in range(0, len(numbers), 3))  # type: ignore[misc]
    for node in graph.node:
        for a in node.attribute:
            if a.HasField("g"):
                yield from _places(a.g)
