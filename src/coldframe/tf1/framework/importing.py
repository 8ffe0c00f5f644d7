"""Taking nodes over into a graph: from a GraphDef, or from the body of a function."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from coldframe.dtypes import DType
from coldframe.errors import ColdframeError, GraphError
from coldframe.graph.ir import Node
from coldframe.graph.names import TensorRef
from coldframe.graph.signatures import expand, fill_defaults, known, signature
from coldframe.graph.traverse import topological
from coldframe.graph.values import base_type
from coldframe.ops import table
from coldframe.ops.call import bind
from coldframe.ops.inference import Known, infer
from coldframe.shapes import Shape
from coldframe.tf1.framework.graph import Graph
from coldframe.tf1.framework.tensor import Operation, Tensor


def copy_nodes(
    graph: Graph,
    nodes: Iterable[Node],
    inputs: Mapping[TensorRef, Tensor],
    rename: Callable[[str], str],
) -> dict[str, Operation]:
    """Add copies of `nodes` to `graph`.

    Args:
        graph: where to; it must hold the functions that the nodes call.
        nodes: in any order; loops are allowed.
        inputs: tensors of `graph` that take the place of tensors outside of, or made by, `nodes`.
        rename: from a node's name to the name of its copy.

    Returns:
        The copies by the original nodes' names.

    Raises:
        GraphError: an input is neither among the nodes nor among `inputs`.
    """
    originals = {n.name: n for n in nodes}
    made: dict[str, Operation] = {}
    for node in originals.values():
        copy = node.copy()
        copy.name = rename(node.name)
        op = graph.adopt(copy)
        op.outputs = [
            Tensor(op, i, Known(dtype, Shape.unknown()), is_ref)
            for i, (dtype, is_ref) in enumerate(outputs_of(copy, graph))
        ]
        made[node.name] = op
    replaced = {ref.node: t for ref, t in inputs.items()}
    for name, op in made.items():
        _link(op, originals[name], made, inputs, replaced)
    _infer_all(originals, made)
    return made


def outputs_of(node: Node, graph: Graph) -> list[tuple[DType, bool]]:
    """Return the dtypes of a node's outputs, and whether each is a reference; none where the op is not known."""
    if node.op in graph.ir.functions:
        return [(base_type(r.dtype), False) for r in graph.ir.functions[node.op].results]
    if not known(node.op):
        return []
    sig = signature(node.op)
    attrs = {k: base_type(v) for k, v in fill_defaults(sig, node.attrs).items()}
    return [(dtype, arg.is_ref) for arg, dtype in expand(sig.outputs, attrs)]


def _link(
    op: Operation, original: Node, made: Mapping[str, Operation], inputs: Mapping[TensorRef, Tensor],
    replaced: Mapping[str, Tensor],
) -> None:  # fmt: skip
    tensors = []
    for ref in original.inputs:
        tensor = inputs.get(ref)
        if tensor is None:
            source = made.get(ref.node)
            if source is None or ref.slot >= len(source.outputs):
                raise GraphError(
                    f"input `{ref}` of node `{original.name}` ({original.op}) names no tensor of the graph"
                )
            tensor = source.outputs[ref.slot]
        tensors.append(tensor)
        tensor.consumer_ops.append(op)
    op.inputs = tensors
    op.node.inputs = [t.ref for t in tensors]
    controls = []
    for c in original.controls:
        if c in made:
            controls.append(made[c].name)
        elif c in replaced:
            controls.append(replaced[c].op.name)
        else:
            raise GraphError(
                f"control input `^{c}` of node `{original.name}` ({original.op}) names no node of the graph"
            )
    op.node.controls = controls


def _infer_all(originals: Mapping[str, Node], made: Mapping[str, Operation]) -> None:
    ops = table()

    def back(node: Node, ref: TensorRef) -> bool:
        """Whether an edge is a loop's back edge."""
        row = ops.get(node.op)
        source = originals.get(ref.node)
        after = ops.get(source.op) if source is not None else None
        return row is not None and row.control == "merge" and after is not None and after.control == "next"

    for node in topological(originals, ignore=back):
        row = ops.get(node.op)
        op = made[node.name]
        given = node.attrs.get("_output_shapes")
        if row is not None:
            try:
                for t, k in zip(op.outputs, infer(bind(row, node.attrs), [i.known for i in op.inputs]), strict=True):
                    t.known = k
            except ColdframeError:
                pass  # the graph is taken as it is; running it says what is wrong
        elif isinstance(given, tuple) and len(given) == len(op.outputs):
            for t, shape in zip(op.outputs, given, strict=True):
                t.known = Known(t.dtype, shape)  # type: ignore[arg-type]


def inline_function(
    graph: Graph, name: str, arguments: list[Any], prefix: str
) -> tuple[list[Tensor], dict[str, Operation]]:
    """Add the body of a function to `graph`, reading `arguments`.

    Returns:
        The tensors it returns, and the copied operations by their names in the body.
    """
    function = graph.ir.function(name)
    inputs = {TensorRef(a.name): t for a, t in zip(function.args, arguments, strict=True)}
    scope = graph.unique_name(prefix)
    made = copy_nodes(graph, function.body, inputs, lambda n: f"{scope}/{n}")
    outputs = [inputs[r] if r in inputs else made[r.node].outputs[r.slot] for r in function.returns]
    return outputs, made
