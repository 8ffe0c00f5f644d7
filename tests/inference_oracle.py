"""Compares the shapes that `infer` tells for every node of a graph with those that TensorFlow tells."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Any

import tensorflow as tf

from coldframe import dtypes
from coldframe.formats import messages
from coldframe.graph.convert import from_graph_def
from coldframe.graph.ir import Graph, Node
from coldframe.graph.signatures import expand, known, signature
from coldframe.graph.traverse import topological
from coldframe.ops import table
from coldframe.ops.call import bind, complete
from coldframe.ops.inference import Known, infer
from coldframe.passes.base import loop_edge
from coldframe.shapes import Shape


@dataclasses.dataclass
class Report:
    """How our shapes compare with TensorFlow's: ``node (op): ours, theirs`` per tensor that is not equal."""

    equal: int = 0
    more: list[str] = dataclasses.field(default_factory=list)
    less: list[str] = dataclasses.field(default_factory=list)
    origins: list[str] = dataclasses.field(default_factory=list)  # those of `less` whose inputs are known as well
    wrong: list[str] = dataclasses.field(default_factory=list)
    refused: list[str] = dataclasses.field(default_factory=list)

    def add(self, where: str, ours: Shape, theirs: Shape) -> None:
        if ours == theirs:
            self.equal += 1
            return
        line = f"{where}: {ours}, TensorFlow {theirs}"
        if ours.dims is not None and theirs.dims is not None and not ours.accepts(theirs.dims):
            self.wrong.append(line)
        elif ours.dims is None or (theirs.dims is not None and ours.merge(theirs) != ours):
            self.less.append(line)
        else:
            self.more.append(line)

    @property
    def total(self) -> int:
        return self.equal + len(self.more) + len(self.less) + len(self.wrong)

    def by_op(self, kind: str) -> collections.Counter[str]:
        return collections.Counter(line.split("(", 1)[1].split(")")[0] for line in getattr(self, kind))

    def __str__(self) -> str:
        n = max(self.total, 1)
        rest = f"{len(self.less)} less, {len(self.wrong)} wrong, {len(self.refused)} refused"
        return f"{self.total} tensors, {100 * self.equal / n:.2f} % equal, {len(self.more)} more known, {rest}"


def compare(graph_def: Any) -> Report:
    """Infer all shapes of a graph (a `GraphDef` of TensorFlow's) and hold them against TensorFlow's."""
    for node in graph_def.node:
        node.attr.pop("_output_shapes", None)
        node.attr.pop("_class", None)
        if node.op == "Placeholder" and graph_def.versions.producer < 24 and not node.attr["shape"].shape.dim:
            node.attr["shape"].shape.unknown_rank = True  # so old that a shape left out says nothing
    with tf.Graph().as_default() as graph:
        tf.graph_util.import_graph_def(graph_def, name="")
    # what TensorFlow has after importing has all defaults filled in
    return compare_graph(graph)


def compare_graph(graph: Any, *, told: Collection[str] = ()) -> Report:
    """Infer all shapes of a graph that TensorFlow built, and hold them against TensorFlow's.

    Outputs of the ops `told` get their shapes from TensorFlow first: there its Python functions set what they know.
    """
    proto = messages.GraphDef()
    proto.ParseFromString(graph.as_graph_def().SerializeToString())
    set_ = {o.name: [_theirs(t) for t in o.outputs] for o in graph.get_operations() if o.type in told}
    ours, report = shapes_of(from_graph_def(proto), set_)
    for op in graph.get_operations():
        for i, out in enumerate(op.outputs):
            found = ours.get((op.name, i))
            report.add(f"{op.name}:{i} ({op.type})", Shape(None) if found is None else found.shape, _theirs(out))
    less = {line.split(" ", 1)[0] for line in report.less}
    origins = [line for line in report.less if not any(i.name in less for i in _op(graph, line).inputs)]
    report.origins += origins
    return report


def _theirs(tensor: Any) -> Shape:
    return Shape.of(tensor.shape.as_list() if tensor.shape.rank is not None else None)


def _op(graph: Any, line: str) -> Any:
    return graph.get_operation_by_name(line.split(" ", 1)[0].rpartition(":")[0])


def shapes_of(
    graph: Graph, told: Mapping[str, list[Shape]] = MappingProxyType({})
) -> tuple[dict[tuple[str, int], Known], Report]:
    """Infer node by node; what a node refuses is noted."""
    have: dict[tuple[str, int], Known] = {}
    report, ops = Report(), table()
    for node in topological(graph.nodes, ignore=loop_edge(graph)):
        if node.op not in ops:
            have.update(_open(node))
            continue
        call = bind(ops[node.op], node.attrs)
        # a loop is built with its start in the place of what comes back
        inputs = [have.get((r.node, r.slot), have.get((node.inputs[0].node, node.inputs[0].slot))) for r in node.inputs]
        try:
            outs = infer(call, [i for i in inputs if i is not None])
        except Exception as e:
            report.refused.append(f"{node.name} ({node.op}): {type(e).__name__} {e}")
            have.update(_open(node))
            continue
        assert len(outs) == len(call.outputs)
        if node.name in told:
            outs = [dataclasses.replace(o, shape=o.shape.merge(t)) for o, t in zip(outs, told[node.name], strict=True)]
        have.update({(node.name, i): o for i, o in enumerate(outs)})
    return have, report


def _open(node: Node) -> dict[tuple[str, int], Known]:
    if not known(node.op):
        return {(node.name, i): Known(dtypes.float32, Shape(None)) for i in range(8)}
    outputs = expand(signature(node.op).outputs, complete(signature(node.op), node.attrs))
    return {(node.name, i): Known(d, Shape(None)) for i, (_, d) in enumerate(outputs)}
