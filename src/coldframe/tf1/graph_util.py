"""`tf.graph_util`: freezing a session's variables into a GraphDef, and cutting GraphDefs down."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from coldframe.dtypes import int32, string
from coldframe.errors import ColdframeError, NotFoundError, near_names
from coldframe.formats import messages
from coldframe.graph.convert import from_graph_def, to_graph_def
from coldframe.graph.ir import Graph as NodeGraph
from coldframe.graph.ir import Node
from coldframe.graph.names import is_tensor_name
from coldframe.graph.traverse import needed
from coldframe.graph.values import TensorValue
from coldframe.ops import table
from coldframe.passes.bake_variables import BakeVariables
from coldframe.passes.base import Context, Pass, Pipeline
from coldframe.passes.prune import Prune
from coldframe.passes.repair_refs import RepairRefs
from coldframe.passes.variables import handle_name, variable_type
from coldframe.runtime.ends import guess_outputs
from coldframe.tf1 import errors
from coldframe.tf1.framework.graph import Graph
from coldframe.tf1.framework.shape import TensorShape


class UnknownOutput(AssertionError, NotFoundError):  # noqa: N818 - it is both errors that callers catch
    """An output that a GraphDef does not have."""

    def __init__(self, message: str) -> None:
        NotFoundError.__init__(self, message)

    def __str__(self) -> str:
        return self.what


def convert_variables_to_constants(
    sess: Any,
    input_graph_def: Any,
    output_node_names: Sequence[str],
    variable_names_whitelist: Iterable[str] | None = None,
    variable_names_blacklist: Iterable[str] | None = None,
) -> Any:
    """Return a GraphDef of what the outputs need, with constants in place of variables: a frozen graph.

    Args:
        sess: the session that has the variables' values.
        input_graph_def: the graph.
        output_node_names: names of nodes; ``x:0`` will do for ``x``.
        variable_names_whitelist: replace only these variables.
        variable_names_blacklist: replace all but these.

    Raises:
        AssertionError: an output does not exist; near names and the graph's likely outputs are listed.
        tf.errors.FailedPreconditionError: variables have no values.
    """
    if isinstance(output_node_names, str):
        raise TypeError(f"output_node_names must be a list of strings, not '{output_node_names}'")
    graph = _parsed(input_graph_def)
    outputs = [_output(name, graph) for name in output_node_names]
    only = None if variable_names_whitelist is None else set(variable_names_whitelist)
    never = set(variable_names_blacklist or ())
    state = sess.runtime.state

    def bakes(node: Node) -> bool:
        return (only is None or node.name in only) and node.name not in never

    def value_of(node: Node) -> TensorValue:
        return TensorValue.of(state.value(handle_name(node)), variable_type(node)[0])

    context = Context(tuple(outputs))
    pruned = Prune().run(graph, context)
    empty = [n.name for n in pruned if _is_variable(n) and bakes(n) and state.value(handle_name(n)) is None]
    if empty:
        listed = ", ".join(empty[:10]) + (f" and {len(empty) - 10} more" if len(empty) > 10 else "")
        raise errors.FailedPreconditionError(
            None, None, f"Attempting to use uninitialized value {listed}\nhint: initialize or restore before freezing"
        )
    passes: list[Pass] = [Prune(), BakeVariables(value_of, bakes), RepairRefs(), Prune(name="prune again")]
    try:
        return to_graph_def(Pipeline("freeze", passes).run(graph, context))
    except ColdframeError as e:
        raise errors.from_coldframe(e) from e


def _parsed(graph_def: Any) -> NodeGraph:
    if isinstance(graph_def, Graph):
        raise TypeError("expected a GraphDef, not a Graph: pass graph.as_graph_def()")
    message = messages.GraphDef()
    message.MergeFromString(graph_def if isinstance(graph_def, bytes) else graph_def.SerializeToString())
    return from_graph_def(message, where="in the GraphDef")


def _is_variable(node: Node) -> bool:
    row = table().get(node.op)
    return row is not None and bool(row.variable)


def _output(name: str, graph: NodeGraph) -> str:
    if name in graph:
        return name
    node = name.rpartition(":")[0] if is_tensor_name(name) else name
    if node in graph:
        return node
    lines = [f"{name} is not in graph"]
    if near := near_names(node, graph.nodes):
        lines.append(f"; {near}")
    if likely := [end.ref.node for end in guess_outputs(graph)][-5:]:
        lines.append(f"\nlikely outputs of this graph: {', '.join(f'`{n}`' for n in likely)}")
    raise UnknownOutput("".join(lines))


# --- cutting ----------------------------------------------------------------------------------------------------
def extract_sub_graph(graph_def: Any, dest_nodes: Sequence[str]) -> Any:
    """Return a GraphDef of what the nodes need.

    Raises:
        TypeError: `dest_nodes` is one string.
        AssertionError: a node does not exist; near names and the graph's likely outputs are listed.
    """
    if isinstance(dest_nodes, str):
        raise TypeError("dest_nodes must be an iterable of strings")
    graph = _parsed(graph_def)
    wanted = needed(graph, [_output(n, graph) for n in dest_nodes])
    return to_graph_def(graph.with_nodes(n for n in graph if n.name in wanted))


def remove_training_nodes(input_graph: Any, protected_nodes: Iterable[str] | None = None) -> Any:
    """Return a GraphDef without numeric checks, and without identities that no control dependency involves.

    Args:
        input_graph: a GraphDef.
        protected_nodes: names of nodes that stay.
    """
    kept = set(protected_nodes or ())
    graph = _without(_parsed(input_graph), "check", kept, set())
    awaited = {c for n in graph for c in n.controls} | {n.name for n in graph if n.controls}
    return to_graph_def(_without(graph, "identity", kept, awaited))


def _without(graph: NodeGraph, role: str, kept: set[str], awaited: set[str]) -> NodeGraph:
    ops = table()
    gone = {}
    for node in graph:
        row = ops.get(node.op)
        if row is not None and row.role == role and node.inputs and node.name not in kept | awaited:
            gone[node.name] = node.inputs[0]
    nodes = []
    for node in graph:
        if node.name in gone:
            continue
        new = node.copy()
        for i, ref in enumerate(new.inputs):
            while ref.node in gone:
                ref = gone[ref.node]
            new.inputs[i] = ref
        new.controls = [c for c in new.controls if c not in gone]
        nodes.append(new)
    return graph.with_nodes(nodes)


# --- asking -----------------------------------------------------------------------------------------------------
def must_run_on_cpu(node: Any, pin_variables_on_cpu: bool = False) -> bool:
    """Whether TensorFlow would run a node (an operation or a NodeDef) on the CPU even where there is a GPU."""
    proto = node.node_def if hasattr(node, "node_def") else node
    row = table().get(proto.op)
    if pin_variables_on_cpu and row is not None and row.variable:
        return True

    def is_type(attr: str, *kinds: Any) -> bool:
        return attr in proto.attr and proto.attr[attr].type in [k.enum for k in kinds]

    if row is not None and row.const:
        return is_type("dtype", string, int32)
    if proto.op in ("DynamicStitch", "ParallelDynamicStitch"):
        return is_type("T", int32)
    return proto.op == "Cast" and is_type("SrcT", int32)


def tensor_shape_from_node_def_name(graph: Graph, input_name: str) -> TensorShape:
    """Return the shape of a tensor of a graph, by its name or its node's."""
    name = input_name if ":" in input_name else f"{input_name}:0"
    return graph.get_tensor_by_name(name).get_shape()


def import_graph_def(*args: Any, **kwargs: Any) -> Any:
    """Call `tf.import_graph_def`."""
    from coldframe.tf1.importer import import_graph_def as import_

    return import_(*args, **kwargs)


__all__ = [
    "convert_variables_to_constants", "extract_sub_graph", "import_graph_def", "must_run_on_cpu",
    "remove_training_nodes", "tensor_shape_from_node_def_name",
]  # fmt: skip
