"""Compute now what will always be the same: pure nodes whose inputs are all constants.

A folded node becomes a constant of its name, so nothing that reads it changes. Results that are larger than they are
worth stay computed: a graph that tiles one number to a gigabyte does not become a gigabyte long.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from coldframe.errors import ExecutionError, UnsupportedError
from coldframe.graph.ir import Graph, Node
from coldframe.graph.names import TensorRef
from coldframe.graph.traverse import topological
from coldframe.graph.values import AttrValue, FuncRef, TensorValue
from coldframe.ops import Op, table
from coldframe.ops.call import bind
from coldframe.passes.base import Context, loop_edge, row_of
from coldframe.primitives.base import Unlowerable
from coldframe.primitives.numpy_xp import NumpyPrimitives
from coldframe.records import dataclass

_XP = NumpyPrimitives()


@dataclass(frozen=True, slots=True)
class FoldConstants:
    """Replace what only depends on constants by a constant.

    An op that refuses its constants would refuse them in every run: that is raised, as `ExecutionError`.

    Attributes:
        max_bytes: results larger than this, and than the inputs they come from, are left to be computed.
    """

    max_bytes: int = 1 << 20
    name: str = "fold constants"

    def run(self, graph: Graph, context: Context, /) -> Graph:
        known: dict[TensorRef, TensorValue] = {}
        new: dict[str, Node] = {}
        const = table().named_role("const").name
        count = 0
        for node in topological(graph.nodes, fed=context.fed, ignore=loop_edge(graph)):
            row = row_of(node)
            value = node.attrs.get("value")
            if row is not None and row.const and isinstance(value, TensorValue):
                known[node.out()] = value
                continue
            folded = self._fold(node, row, known) if row is not None else None
            if folded is None:
                continue
            known.update({node.out(i): v for i, v in enumerate(folded)})
            if len(folded) == 1:
                attrs: dict[str, AttrValue] = {"dtype": folded[0].dtype, "value": folded[0]}
                new[node.name] = Node(node.name, const, [], [], attrs, node.device)
                count += 1
        if count:
            context.note(f"computed {count} nodes that are always the same")
        return graph.with_nodes(new.get(n.name, n) for n in graph)

    def _fold(self, node: Node, row: Op, known: dict[TensorRef, TensorValue]) -> list[TensorValue] | None:
        """Return the outputs of `node`, or None where they are not, or should not be, known."""
        # A control dependency also tells in which branch or loop a node is: its result is not always there.
        if not row.pure or node.controls or not node.inputs or any(r not in known for r in node.inputs):
            return None
        if any(isinstance(v, FuncRef) for v in node.attrs.values()):
            return None
        inputs = [known[r] for r in node.inputs]
        if any(v.dtype.kind in "oq" for v in inputs):
            return None
        try:
            call = bind(row, node.attrs)
            if self._is_large(row, inputs):
                return None
            with np.errstate(all="ignore"):
                results = call.run(_XP, [v.array for v in inputs])
        except (UnsupportedError, Unlowerable):
            return None  # no kernel: the node stays, and whoever runs it says so
        except ExecutionError as e:
            e.add_note(f"at node `{node.name}` ({node.op}), whose inputs are constants")
            raise
        except (ValueError, IndexError, TypeError, ArithmeticError) as e:
            where = f"at node `{node.name}` ({node.op}), whose inputs are constants"
            raise ExecutionError(str(e) or type(e).__name__, where=where) from e
        arrays = [_array(r, d.numpy) for r, (_, d) in zip(results, call.outputs, strict=True)]
        allowed = max(self.max_bytes, sum(v.array.nbytes for v in inputs))
        if sum(a.nbytes for a in arrays) > allowed or any(d.kind in "oq" for _, d in call.outputs):
            return None
        return [TensorValue.of(a, d) for a, (_, d) in zip(arrays, call.outputs, strict=True)]

    def _is_large(self, row: Op, inputs: list[TensorValue]) -> bool:
        """Whether the result may be out of proportion to the inputs: a small constant may ask for any shape."""
        asked = 1
        for v in inputs:
            if v.dtype.kind in "iu" and (v.shape.size or 0) <= 16:  # it may be a shape, multiples, a limit
                asked *= int(np.abs(v.array.astype(np.float64)).clip(1, 1 << 20).prod().clip(1, 1 << 40))
        return row.heavy or asked > self.max_bytes


def _array(value: Any, dtype: Any) -> Any:
    return value if isinstance(value, np.ndarray) else np.asarray(value, dtype)
