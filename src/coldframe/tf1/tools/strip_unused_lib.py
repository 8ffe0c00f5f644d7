"""`tensorflow.python.tools.strip_unused_lib`: only what leads from given inputs to given outputs stays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from coldframe.dtypes import as_dtype
from coldframe.formats import messages
from coldframe.tf1.graph_util import extract_sub_graph


def strip_unused(
    input_graph_def: Any, input_node_names: Sequence[str], output_node_names: Sequence[str], placeholder_type_enum: Any
) -> Any:
    """Return a GraphDef whose inputs are placeholders, and which has only what the outputs need.

    Args:
        input_graph_def: the graph.
        input_node_names, output_node_names: names of nodes.
        placeholder_type_enum: the placeholders' dtype, or a dict or a list of dtypes by or of the inputs.

    Raises:
        KeyError: an input does not exist.
    """
    for name in input_node_names:
        if ":" in name:
            raise ValueError(f"Name '{name}' appears to refer to a Tensor, not an Operation.")
    absent = set(input_node_names) - {n.name for n in input_graph_def.node}
    if absent:
        raise KeyError(f"The following input nodes were not found: {absent}")
    made = messages.GraphDef()
    for node in input_graph_def.node:
        if node.name not in input_node_names:
            made.node.add().MergeFromString(node.SerializeToString())
            continue
        place = made.node.add(name=node.name, op="Placeholder")
        place.attr["dtype"].type = int(_type_of(placeholder_type_enum, node.name, list(input_node_names)))
        if "_output_shapes" in node.attr:
            shapes = node.attr["_output_shapes"].SerializeToString()
            place.attr["_output_shapes"].MergeFromString(shapes)
        if "shape" in node.attr:
            place.attr["shape"].MergeFromString(node.attr["shape"].SerializeToString())
    return extract_sub_graph(made, list(output_node_names))


def _type_of(given: Any, name: str, names: list[str]) -> Any:
    if isinstance(given, Mapping):
        given = given[name]
    elif isinstance(given, (list, tuple)):
        given = given[names.index(name)]
    return as_dtype(given).enum


__all__ = ["strip_unused"]
