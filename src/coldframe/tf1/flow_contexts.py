"""The contexts of V1 control flow: which nodes belong to which branch, and to which loop.

::

    CondContextDef   the branch of one `tf.cond`: its predicate, its pivot, its nodes, and what passes its Switches
    WhileContextDef  one loop, as TensorFlow makes them: its Enters, its Exits, its condition, its nodes

A graph keeps the outermost ones in its collections `cond_context` and `while_context`, with those inside below them,
and meta graphs keep them as messages: without them nobody can take further gradients through branches and loops.
After tensorflow/core/protobuf/control_flow.proto. Loops made here are While nodes and need none.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

from coldframe.formats import messages
from coldframe.graph.ir import Node
from coldframe.tf1.dependencies import with_dependencies
from coldframe.tf1.framework.build import raw_op
from coldframe.tf1.framework.convert import IndexedSlices, convert_to_tensor
from coldframe.tf1.framework.graph import Graph, colocate_with, control_dependencies, get_default_graph
from coldframe.tf1.framework.keys import GraphKeys
from coldframe.tf1.framework.tensor import Operation, Tensor
from coldframe.tf1.scoped_names import prepend_scope, strip_scope


class FlowContext:
    """A branch or a loop.

    Attributes:
        name: its name.
        outer: the context around it, or None.
        nested: the contexts in it.
        members: the operations that were made in it.
    """

    key: str

    def __init__(self, name: str, outer: FlowContext | None) -> None:
        self.name, self.outer = name, outer
        self.nested: list[FlowContext] = []
        self.members: list[Operation] = []
        self._listed: set[str] = set()  # tensors that a message said were in it
        if outer is not None:
            outer.nested.append(self)

    def add_value(self, tensor: Tensor) -> Tensor:
        """Return `tensor` as the nodes in this context read it."""
        return tensor

    def holds(self, context: FlowContext | None) -> bool:
        """Whether `context` is this one, or in it."""
        while context is not None and context is not self:
            context = context.outer
        return context is self

    def external(self) -> dict[str, Tensor]:
        """Return what is read from outside: by name, the tensors that stand for it inside."""
        raise NotImplementedError

    def graph(self) -> Graph:
        raise NotImplementedError

    def to_proto(self, export_scope: str | None = None) -> Any:
        """Return the message, with names without the scope; None where this is outside of the scope."""
        raise NotImplementedError

    def register(self) -> None:
        """Add it to the graph's collection, unless it is inside another one, or inside a function."""
        graph = self.graph()
        if self.outer is None and graph.outer is None:
            graph.add_to_collection(self.key, self)

    def forget(self) -> None:
        """Leave this context, and those inside, out of what is exported: its nodes are not used any more."""
        around = self.outer.nested if self.outer is not None else self.graph().get_collection_ref(self.key)
        if self in around:
            around.remove(self)

    def claim(self, op: Operation) -> None:
        """Say that `op` is in this context."""
        op.context = self
        self.members.append(op)

    def tensors(self) -> set[str]:
        """Return the names of the tensors in it, and in the contexts inside."""
        made = {t.name for o in self.members if o.context is self for t in self._outputs(o)}
        return made.union(self._listed, *(context.tensors() for context in self.nested if not context._listed))

    def _outputs(self, op: Operation) -> Sequence[Tensor]:
        return op.outputs

    def _fill(self, message: Any, scope: str) -> None:
        """Write the nodes, what comes from outside, and the contexts inside."""
        external = self.external()
        message.values_def.values.extend(strip_scope(n, scope) for n in sorted(self.tensors() | external.keys()))
        for name, tensor in external.items():
            message.values_def.external_values[strip_scope(name, scope)] = strip_scope(tensor.name, scope)
        for context in self.nested:
            made = context.to_proto(scope or None)
            if made is not None:
                field = "cond_ctxt" if isinstance(context, CondContext) else "while_ctxt"
                getattr(message.nested_contexts.add(), field).CopyFrom(made)

    def _adopt(self, message: Any, scope: str) -> dict[str, Tensor]:
        """Claim the nodes that a message lists, make the contexts inside, and return what comes from outside."""
        graph = self.graph()
        values = message.values_def
        external = {prepend_scope(k, scope): _tensor(v, scope) for k, v in values.external_values.items()}
        self._listed = {prepend_scope(v, scope) for v in values.values} - external.keys()
        for name in self._listed:
            graph.get_operation_by_name(name.partition(":")[0]).context = self
        for nested in message.nested_contexts:
            if nested.WhichOneof("ctxt") == "cond_ctxt":
                cond_from_proto(nested.cond_ctxt, scope, self)
            else:
                while_from_proto(nested.while_ctxt, scope, self)
        return external


class CondContext(FlowContext):
    """One branch of a `tf.cond`.

    Attributes:
        pred: the condition, as nodes inside read it.
        pivot: a tensor that is alive when the branch is taken.
        branch: 1 where the branch is taken for true, 0 for false.
    """

    key = GraphKeys.COND_CONTEXT

    def __init__(self, pred: Tensor, pivot: Tensor, branch: int, outer: Any, name: str | None = None) -> None:
        super().__init__(pred.graph.unique_name("cond_text") if name is None else name, outer)
        self.pred, self.pivot, self.branch = pred, pivot, branch
        self._inside = {pred, pivot}
        self._passed: dict[Tensor, Tensor] = {}

    def graph(self) -> Graph:
        return self.pred.graph

    def enter(self, node: Node, inputs: Sequence[Tensor]) -> list[Tensor]:
        """Return the tensors a new node reads in place of `inputs`; a node without any waits for the branch."""
        if not inputs:
            node.controls = [*node.controls, self.pivot.op.name]
        return [self.add_value(t) for t in inputs]

    def add_value(self, tensor: Tensor) -> Tensor:
        if tensor in self._inside or self.holds(tensor.op.context):
            return tensor
        if tensor not in self._passed:
            source = tensor if self.outer is None else self.outer.add_value(tensor)
            with control_dependencies(None):
                self._passed[tensor] = switch(source, self.pred)[self.branch]
            self._inside.add(self._passed[tensor])
            self.claim(self._passed[tensor].op)
        return self._passed[tensor]

    @contextlib.contextmanager
    def active(self, graph: Graph) -> Iterator[None]:
        """Put nodes that are made in the ``with`` block on this branch."""
        before, graph.control_flow_context = graph.control_flow_context, self
        try:
            yield
        finally:
            graph.control_flow_context = before

    def result(self, value: Any) -> Any:
        """Return what a branch function returned as a tensor of the branch."""
        if isinstance(value, Operation):
            return with_dependencies([value], self.pivot)
        if isinstance(value, IndexedSlices):
            return value
        tensor = convert_to_tensor(value)
        passed = tensor in self._passed
        found = self.add_value(tensor)
        if not passed:  # TensorFlow counts both outputs of a Switch that is made for a result
            self._inside.discard(found)
        return found

    def _outputs(self, op: Operation) -> Sequence[Tensor]:
        """Of a Switch that lets something into the branch, only the output that does."""
        return [t for t in op.outputs if t in self._inside] or op.outputs

    def external(self) -> dict[str, Tensor]:
        found = {self.pred.name: self.pred}
        for tensor, inside in self._passed.items():
            source = inside.op.inputs[0]
            if source is not tensor:
                found[source.name] = source
            found[tensor.name] = inside
        return found

    def to_proto(self, export_scope: str | None = None) -> Any:
        scope = export_scope or ""
        if not self.name.startswith(scope):
            return None
        names = {"context_name": self.name, "pred_name": self.pred.name, "pivot_name": self.pivot.name}
        message = messages.CondContextDef(**{k: strip_scope(v, scope) for k, v in names.items()}, branch=self.branch)
        self._fill(message, scope)
        return message

    @staticmethod
    def from_proto(context_def: Any, import_scope: str | None = None) -> CondContext:
        """Return the context that a message tells of, whose nodes are in the default graph."""
        return cond_from_proto(context_def, import_scope or "")


class WhileContext(FlowContext):
    """A loop that TensorFlow made, of an imported graph.

    Attributes:
        message: what TensorFlow tells of it, with names as in this graph.
    """

    key = GraphKeys.WHILE_CONTEXT

    def __init__(self, message: Any, outer: FlowContext | None) -> None:
        super().__init__(message.context_name, outer)
        self.message = message
        self._graph = get_default_graph()
        self._external: dict[str, Tensor] = {}

    def graph(self) -> Graph:
        return self._graph

    def external(self) -> dict[str, Tensor]:
        return self._external

    def to_proto(self, export_scope: str | None = None) -> Any:
        scope = export_scope or ""
        if not self.name.startswith(scope):
            return None
        message = _renamed(self.message, lambda n: strip_scope(n, scope))
        self._fill(message, scope)
        return message

    @staticmethod
    def from_proto(context_def: Any, import_scope: str | None = None) -> WhileContext:
        """Return the context that a message tells of, whose nodes are in the default graph."""
        return while_from_proto(context_def, import_scope or "")


def cond_from_proto(message: Any, scope: str, outer: FlowContext | None = None) -> CondContext:
    """Return the branch that a ``CondContextDef`` tells of, whose nodes are in the default graph, under `scope`.

    Raises:
        KeyError: it names nodes that the graph does not have.
    """
    pred, pivot = _tensor(message.pred_name, scope), _tensor(message.pivot_name, scope)
    made = CondContext(pred, pivot, message.branch, outer, prepend_scope(message.context_name, scope))
    for name, inside in made._adopt(message, scope).items():
        if inside.name != name:
            made._passed[_tensor(name, "")] = inside
        made._inside.add(inside)
    return made


def while_from_proto(message: Any, scope: str, outer: FlowContext | None = None) -> WhileContext:
    """Return the loop that a ``WhileContextDef`` tells of, whose nodes are in the default graph, under `scope`.

    Raises:
        KeyError: it names nodes that the graph does not have.
    """
    made = WhileContext(_renamed(message, lambda n: prepend_scope(n, scope)), outer)
    made._external = made._adopt(message, scope)
    return made


_NAMES = ("context_name", "maximum_iterations_name", "pivot_for_pred_name", "pivot_for_body_name", "pivot_name")
_LISTS = ("loop_exit_names", "loop_enter_names")


def _renamed(message: Any, rename: Any) -> Any:
    """Return a ``WhileContextDef`` with other names, without its nodes and the contexts inside."""
    made = messages.WhileContextDef(
        parallel_iterations=message.parallel_iterations, back_prop=message.back_prop, swap_memory=message.swap_memory
    )
    for field in _NAMES:
        if getattr(message, field):
            setattr(made, field, rename(getattr(message, field)))
    for field in _LISTS:
        getattr(made, field).extend(rename(n) for n in getattr(message, field))
    return made


def _tensor(name: str, scope: str) -> Tensor:
    found: Tensor = get_default_graph().as_graph_element(prepend_scope(name, scope), allow_operation=False)
    return found


def switch(data: Any, pred: Any, name: str | None = None) -> tuple[Any, Any]:
    """Return `data` twice: alive as the first where `pred` is false, as the second where it is true."""
    with colocate_with(data, ignore_existing=True):
        op = "RefSwitch" if data.is_ref else "Switch"
        result: tuple[Any, Any] = raw_op(op, [data, pred], {}, name or "Switch")
        return result


__all__: list[str] = []
