"""`tf.import_graph_def`: the nodes of a GraphDef become operations of the default graph.

Names are ``<prefix>/<name>``, made unique one by one as TensorFlow does. Colocations follow the new names, attributes
that the file leaves out get their defaults, functions go to the graph's library, loops of TensorFlow 1 are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from coldframe.collecting import RESTING
from coldframe.errors import ColdframeError, GraphError, near_names
from coldframe.formats import messages
from coldframe.graph.convert import from_attr, from_graph_def
from coldframe.graph.ir import Function
from coldframe.graph.ir import Graph as NodeGraph
from coldframe.graph.names import TensorRef, is_tensor_name, parse_tensor
from coldframe.graph.signatures import all_names, fill_defaults, known, signature
from coldframe.ops import table
from coldframe.shapes import Shape
from coldframe.tf1 import errors
from coldframe.tf1.framework.convert import convert_to_tensor
from coldframe.tf1.framework.device import merge_devices
from coldframe.tf1.framework.graph import Graph, get_default_graph
from coldframe.tf1.framework.importing import copy_nodes
from coldframe.tf1.framework.tensor import Operation, Tensor
from coldframe.tf1.symbolic_gradients import expand_gradients

_OPEN_PLACEHOLDERS: Final = 24
"""Graphs of producers before this version write the shape [] where they mean that nothing is known."""

_PLACE: Final = b"loc:@"


def import_graph_def(
    graph_def: Any,
    input_map: Mapping[str, Any] | None = None,
    return_elements: Iterable[str] | None = None,
    name: str | None = None,
    op_dict: Any = None,
    producer_op_list: Any = None,
) -> list[Any] | None:
    """Add the nodes of a GraphDef to the default graph.

    Args:
        graph_def: a ``GraphDef`` message, or its bytes.
        input_map: tensors (or what becomes one) to use in place of tensors of the GraphDef, by their names.
        return_elements: names of operations and tensors of the GraphDef that the caller wants back.
        name: the prefix of the new names, ``import`` by default; ``""`` for none.
        op_dict: ignored, as TensorFlow does.
        producer_op_list: an ``OpList``: attributes that are unknown here are dropped where they have the default that
            it gives.

    Returns:
        The operations and tensors of `return_elements`, or None.

    Raises:
        ValueError: a name does not exist (near ones are suggested), or a tensor of `input_map` has another dtype.
        tf.errors.NotFoundError: the GraphDef has ops that are not known.
        TypeError: an argument is of the wrong type.
    """
    del op_dict
    RESTING.look()
    with RESTING:
        return _imported(graph_def, input_map, return_elements, name, producer_op_list)


def _imported(
    graph_def: Any, input_map: Any, return_elements: Any, name: str | None, producer_op_list: Any
) -> list[Any] | None:
    source = _parsed(graph_def)
    wanted = _return_elements(return_elements)
    mapping = _input_map(input_map)
    if producer_op_list is not None:
        _drop_defaults(source, producer_op_list)
    _check_ops(source)
    graph = get_default_graph()
    refs = _mapped_refs(mapping, source)
    for element in wanted:
        _check_element(element, source)
    with graph.name_scope("import" if name is None else name or None) as scope:
        given = _given(mapping, refs, graph)
    _adopt_functions(source, graph)
    expand_gradients(source, graph)
    _complete(source)
    rename = _unique_names(graph, scope, source.nodes)
    try:
        made = copy_nodes(graph, source, given, rename.__getitem__)
    except GraphError as e:
        raise ValueError(f"{e}{_near_input(e, source)}") from e
    _settle(graph, made, source, given, rename)
    return None if return_elements is None else [_element(e, made) for e in wanted]


# --- the arguments ----------------------------------------------------------------------------------------------
def _parsed(graph_def: Any) -> NodeGraph:
    if isinstance(graph_def, (bytes, bytearray, memoryview)):
        message = messages.parse("GraphDef", bytes(graph_def), where="in the GraphDef to import")
    elif isinstance(graph_def, messages.GraphDef):
        message = graph_def
    elif getattr(getattr(graph_def, "DESCRIPTOR", None), "full_name", "") == "tensorflow.GraphDef":
        message = messages.parse("GraphDef", graph_def.SerializeToString(), where="in the GraphDef to import")
    else:
        found = getattr(getattr(graph_def, "DESCRIPTOR", None), "name", type(graph_def).__name__)
        hint = "; pass its field `graph_def`" if hasattr(graph_def, "graph_def") else ""
        raise TypeError(f"Argument `graph_def` must be a GraphDef proto, not {found}{hint}.")
    try:
        return from_graph_def(message, where="in the GraphDef to import")
    except GraphError as e:
        raise ValueError(str(e)) from e


def _return_elements(names: Any) -> list[str]:
    if names is None:
        return []
    listed = list(names)
    if isinstance(names, str) or not all(isinstance(n, (str, bytes)) for n in listed):
        raise TypeError(f"Argument `return_elements` must be a list of strings. Obtained {names!r}.")
    return [n.decode() if isinstance(n, bytes) else n for n in listed]


def _input_map(given: Any) -> dict[str, Any]:
    if given is None:
        return {}
    if not isinstance(given, Mapping) or not all(isinstance(k, (str, bytes)) for k in given):
        raise TypeError(f"Argument `input_map` must be a dictionary. Obtained {type(given).__name__}")
    return {(k.decode() if isinstance(k, bytes) else k): v for k, v in given.items()}


def _mapped_refs(mapping: Mapping[str, Any], source: NodeGraph) -> dict[str, TensorRef]:
    refs = {name: parse_tensor(name.removeprefix("^")) for name in mapping}
    read = {r.node for n in source for r in n.inputs} | {c for n in source for c in n.controls}
    absent = [name for name, ref in refs.items() if ref.node not in source and ref.node not in read]
    if absent:
        near = near_names(refs[absent[0]].node, source.nodes)
        listed = ", ".join(absent)
        raise ValueError(
            f"Attempted to map inputs that were not found in graph_def: [{listed}]{f'. {near}' if near else ''}"
        )
    return refs


def _check_element(name: str, source: NodeGraph) -> None:
    node = parse_tensor(name).node
    if node not in source:
        kind = "tensor" if is_tensor_name(name) else "node"
        near = near_names(node, source.nodes)
        raise ValueError(f"Requested return {kind} '{name}' not found in graph def{f': {near}' if near else ''}")


def _given(mapping: Mapping[str, Any], refs: Mapping[str, TensorRef], graph: Graph) -> dict[TensorRef, Tensor]:
    given: dict[TensorRef, Tensor] = {}
    if all(isinstance(v, Tensor) for v in mapping.values()):
        return {refs[k]: v for k, v in mapping.items()}
    with graph.name_scope("_inputs"):
        for key, value in mapping.items():
            given[refs[key]] = convert_to_tensor(value)
    return given


# --- what the file leaves open ----------------------------------------------------------------------------------
def _check_ops(source: NodeGraph) -> None:
    unknown = sorted({n.op for n in source if not known(n.op) and n.op not in source.functions})
    if not unknown:
        return
    near = near_names(unknown[0], all_names())
    raise errors.NotFoundError(
        None, None,
        f"Op type not registered {', '.join(map(repr, unknown))} in the graph to import{f': {near}' if near else ''}",
    )  # fmt: skip


def _drop_defaults(source: NodeGraph, op_list: Any) -> None:
    """Drop attributes that are newer than we are, where they say nothing new."""
    defaults = {
        op.name: {a.name: from_attr(a.default_value, op.name) for a in op.attr if a.HasField("default_value")}
        for op in op_list.op
    }  # fmt: skip
    for node in source:
        if known(node.op) and node.op in defaults:
            ours = signature(node.op).attrs
            for key, value in defaults[node.op].items():
                if key not in ours and node.attrs.get(key) == value:
                    del node.attrs[key]


def _complete(source: NodeGraph) -> None:
    for node in source:
        if known(node.op):
            node.attrs = fill_defaults(signature(node.op), node.attrs)
        shape = node.attrs.get("shape")
        if node.op == "Placeholder" and source.producer < _OPEN_PLACEHOLDERS and shape == Shape(()):
            node.attrs["shape"] = Shape.unknown()


def _adopt_functions(source: NodeGraph, graph: Graph) -> None:
    library = graph.ir.functions
    added: list[Function] = []
    for name in source.functions:
        function = source.functions[name]
        there = library.get(name)
        if there is not None:
            if _spelled(there) != _spelled(function):
                raise ValueError(
                    f"Cannot add function '{name}' because a different function with the same name already exists."
                )
            continue
        function.body.functions = library
        library[name] = function
        added.append(function)
    graph.ir.extra = [*(graph.ir.extra or []), *(source.extra or [])] or None
    for function in added:
        expand_gradients(function.body, graph)


def _spelled(f: Function) -> Any:
    return [repr(n) for n in f.body], f.returns, [a.name for a in f.args], [a.name for a in f.results]


# --- names ------------------------------------------------------------------------------------------------------
def _unique_names(graph: Graph, scope: str, names: Iterable[str]) -> dict[str, str]:
    """Return the new name for each name: under the scope, and with ``_1``, ``_2``, ... where that is taken."""
    taken: set[str] = set()
    if not scope or any(n.startswith(scope) for n in graph.ir.nodes):
        for other in graph.ir.nodes:
            while other and other not in taken:
                taken.add(other)
                other = other.rpartition("/")[0]
    renamed = {}
    for name in names:
        wanted = free = scope + name
        number = 0
        while free in taken:
            number += 1
            free = f"{wanted}_{number}"
        if number:
            taken.add(free)
        renamed[name] = free
    for name in renamed.values():
        graph._names.setdefault(name.lower(), 1)
    return renamed


def _settle(
    graph: Graph, made: Mapping[str, Operation], source: NodeGraph, given: Mapping[TensorRef, Tensor],
    rename: Mapping[str, str],
) -> None:  # fmt: skip
    """Give new operations their colocations, and what the scopes around the import ask for."""
    _check_dtypes(made, source, given)
    apply_device = _devices(graph)
    waits = [o.name for o in graph.waits_for(())]
    ops = table()  # in a loop, only what starts it may wait for something outside
    loops = any((row := ops.get(n.op)) is not None and row.control == "enter" for n in source)
    for name, op in made.items():
        node = op.node
        node.attrs.pop("_output_shapes", None)  # told anew when the graph is exported
        places: Any = node.attrs.get("_class")
        if places:
            node.attrs["_class"] = tuple(_renamed_place(p, rename, name, op.name) for p in places)
        apply_device(op)
        if waits and (not loops or not (op.inputs or node.controls)):
            node.controls = list(dict.fromkeys([*node.controls, *waits]))


def _renamed_place(place: bytes, rename: Mapping[str, str], old: str, new: str) -> bytes:
    if not place.startswith(_PLACE):
        return place
    target = place[len(_PLACE) :].decode("utf-8", "replace")
    if target in rename:
        return _PLACE + rename[target].encode()
    return _PLACE + (new[: len(new) - len(old)] + target).encode() if new.endswith(old) else place


def _devices(graph: Graph) -> Callable[[Operation], None]:
    def apply(op: Operation) -> None:
        if op.node.attrs.get("_class"):
            return
        for d in reversed(graph._devices):
            if d is None:
                break
            place = op.node.device
            op.node.device = (d(op) or "") if callable(d) else merge_devices(d, place)

    return apply if graph._devices else lambda op: None


def _check_dtypes(made: Mapping[str, Operation], source: NodeGraph, given: Mapping[TensorRef, Tensor]) -> None:
    for ref, tensor in given.items():
        outputs = made[ref.node].outputs if ref.node in made else []
        if ref.slot < len(outputs) and outputs[ref.slot].dtype is not tensor.dtype:
            for node in source:
                if ref in node.inputs:
                    raise ValueError(
                        f"Input {node.inputs.index(ref)} of node {made[node.name].name} was passed {tensor.dtype.name} "
                        f"from {tensor.name} incompatible with expected {outputs[ref.slot].dtype.name}."
                    )


def _near_input(error: ColdframeError, source: NodeGraph) -> str:
    name = error.what.partition("`")[2].partition("`")[0].removeprefix("^").rpartition(":")[0]
    near = near_names(name, source.nodes) if name else ""
    return f"; {near}" if near else ""


def _element(name: str, made: Mapping[str, Operation]) -> Any:
    if not is_tensor_name(name):
        return made[name]
    ref = parse_tensor(name)
    outputs = made[ref.node].outputs
    if ref.slot >= len(outputs):
        raise ValueError(f"Invalid return output {ref.slot} of node '{ref.node}', which has {len(outputs)} output(s)")
    return outputs[ref.slot]


__all__ = ["import_graph_def"]
