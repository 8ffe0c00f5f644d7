"""`Tensor` and `Operation`: what programs hold of a graph's nodes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from coldframe.dtypes import DType
from coldframe.graph.convert import to_node_def
from coldframe.graph.ir import Node
from coldframe.graph.names import TensorRef
from coldframe.graph.values import RefType, TensorValue
from coldframe.ops.inference import Known
from coldframe.shapes import Shape
from coldframe.tf1.framework.operators import Operators
from coldframe.tf1.framework.shape import TensorShape, as_static

if TYPE_CHECKING:
    from coldframe.tf1.framework.graph import Graph


class Tensor(Operators):
    """An output of an operation.

    Attributes:
        op: the operation that makes it.
        value_index: which of the operation's outputs it is.
        dtype: its dtype; of a reference, the dtype of the variable.
        is_ref: whether it is a reference to a variable.
        known: what is known of it before the graph runs.
    """

    __slots__ = ("__weakref__", "_keras_shape", "_uses_learning_phase", "consumer_ops", "is_ref", "known", "op",
                 "value_index")  # fmt: skip

    def __init__(self, op: Operation, value_index: int, known: Known, is_ref: bool = False) -> None:
        self.op, self.value_index, self.known, self.is_ref = op, value_index, known, is_ref
        self.consumer_ops: list[Operation] = []

    @property
    def dtype(self) -> DType:
        return self.known.dtype

    @property
    def graph(self) -> Graph:
        return self.op.graph

    @property
    def name(self) -> str:
        """The tensor's name: ``node:index``."""
        return f"{self.op.name}:{self.value_index}"

    @property
    def device(self) -> str:
        return self.op.device

    @property
    def ref(self) -> TensorRef:
        """The tensor as graphs refer to it."""
        return TensorRef(self.op.name, self.value_index)

    @property
    def static_shape(self) -> Shape:
        """What is known of its shape."""
        return self.known.shape

    @property
    def shape(self) -> TensorShape:
        """What is known of its shape, with TF1's interface."""
        return TensorShape(self.known.shape)

    def get_shape(self) -> TensorShape:
        """Return what is known of its shape."""
        return self.shape

    def set_shape(self, shape: Any) -> None:
        """Add what the caller knows of the shape; raise `ValueError` where it contradicts what is known."""
        merged = self.shape.merge_with(as_static(shape)).static
        self.known = Known(self.known.dtype, merged, self.known.value, self.known.partial, self.known.handle)

    def consumers(self) -> list[Operation]:
        """Return the operations that read it."""
        return list(dict.fromkeys(self.consumer_ops))

    def eval(self, feed_dict: Any = None, session: Any = None) -> Any:
        """Return its value, computed in `session` or the default session."""
        return _session_for(session, self.graph, "evaluate a tensor").run(self, feed_dict)

    def __repr__(self) -> str:
        return f"<tf.Tensor '{self.name}' shape={self.shape} dtype={self.dtype.name}{'_ref' if self.is_ref else ''}>"

    def __str__(self) -> str:
        shape = "" if self.known.shape.dims is None else f", shape={self.shape}"
        return f'Tensor("{self.name}"{shape}, dtype={self.dtype.name}{"_ref" if self.is_ref else ""})'

    def __copy__(self) -> Tensor:
        return self

    def __deepcopy__(self, memo: Any) -> Tensor:
        return self


class Operation:
    """A node of a graph.

    Attributes:
        graph: the graph it is in.
        node: the node itself, as the runtime sees it.
        inputs, outputs: the tensors that it reads and makes.
        context: the control-flow construct it was made in, if any.
    """

    __slots__ = ("__weakref__", "_id", "context", "graph", "inputs", "node", "outputs")

    def __init__(self, graph: Graph, node: Node, number: int) -> None:
        self.graph, self.node, self._id = graph, node, number
        self.inputs: list[Tensor] = []
        self.outputs: list[Tensor] = []
        self.context: Any = None

    @property
    def name(self) -> str:
        return self.node.name

    @property
    def type(self) -> str:
        """The op's name, e.g. ``MatMul``."""
        return self.node.op

    @property
    def device(self) -> str:
        return self.node.device

    @property
    def control_inputs(self) -> list[Operation]:
        """The operations that must have run before it."""
        return [self.graph.operation(c) for c in self.node.controls]

    @property
    def node_def(self) -> Any:
        """The NodeDef message."""
        return to_node_def(self.node)

    @property
    def op_def(self) -> Any:
        """The op's signature."""
        from coldframe.graph.signatures import signature

        return signature(self.type)

    @property
    def traceback(self) -> list[Any]:
        """Always empty: where nodes were made is not recorded."""
        return []

    def may_be_output(self) -> bool:
        """Whether it looks like what the graph is for: it computes something, and nothing reads it."""
        plain = self.outputs and not any(t.is_ref or t.dtype.kind == "o" for t in self.outputs)
        return bool(plain and self.inputs and not any(t.consumer_ops for t in self.outputs))

    def values(self) -> tuple[Tensor, ...]:
        """Return its outputs."""
        return tuple(self.outputs)

    def get_attr(self, name: str) -> Any:
        """Return the attribute `name` as TensorFlow's Python gives it; raise `ValueError` where there is none."""
        if name not in self.node.attrs:
            raise ValueError(f"Operation '{self.name}' has no attr named '{name}'.")
        return _as_python(self.node.attrs[name])

    def colocation_groups(self) -> list[bytes]:
        """Return the ``loc:@`` groups it belongs to, its own if it names none."""
        places: Any = self.node.attrs.get("_class", ())
        groups: list[bytes] = [g for g in places if g.startswith(b"loc:@")]
        return sorted(groups) or [b"loc:@" + self.name.encode()]

    def run(self, feed_dict: Any = None, session: Any = None) -> None:
        """Run it in `session` or the default session."""
        _session_for(session, self.graph, "run an operation").run(self, feed_dict)

    # --- changing, for those who build graphs ---------------------------------------------------------------------
    def set_attr(self, name: str, value: Any) -> None:
        """Give it an attribute, as the graph's IR holds it."""
        self.node.attrs[name] = value

    def add_control_inputs(self, ops: Sequence[Operation]) -> None:
        """Make it wait for `ops`."""
        self.node.controls = list(dict.fromkeys([*self.node.controls, *(o.name for o in ops)]))

    def update_input(self, index: int, tensor: Tensor) -> None:
        """Let input `index` read `tensor` (a back edge of a loop, which is not there when the node is made)."""
        old = self.inputs[index]
        if self in old.consumer_ops:
            old.consumer_ops.remove(self)
        self.inputs[index] = tensor
        self.node.inputs[index] = tensor.ref
        tensor.consumer_ops.append(self)

    def __repr__(self) -> str:
        return f"<tf.Operation '{self.name}' type={self.type}>"

    def __str__(self) -> str:
        return str(self.node_def)

    def __copy__(self) -> Operation:
        return self

    def __deepcopy__(self, memo: Any) -> Operation:
        return self


def _as_python(value: Any) -> Any:
    if isinstance(value, RefType):
        return value.base
    if isinstance(value, tuple):
        return [_as_python(v) for v in value]
    if isinstance(value, Shape):
        return TensorShape(value).as_proto()
    if isinstance(value, TensorValue):
        from coldframe.formats.tensor_proto import from_array

        return from_array(value.array, value.dtype)
    return value


def _session_for(session: Any, graph: Graph, doing: str) -> Any:
    from coldframe.tf1.session import get_default_session

    found = session if session is not None else get_default_session()
    if found is None:
        raise ValueError(
            f"Cannot {doing}: no default session is registered. Use `with tf.Session():` or pass `session=`."
        )
    if found.graph is not graph:
        raise ValueError(f"Cannot {doing}: the session runs another graph than the one it belongs to.")
    return found


def as_operation(value: Any) -> Operation:
    """Return the operation that is, or makes, or stands behind `value` (a tensor, an operation, a variable).

    Raises:
        TypeError: it is none of these.
    """
    if isinstance(value, Operation):
        return value
    op = getattr(value, "op", None)
    if isinstance(op, Operation):
        return op
    raise TypeError(f"{value!r} is no Operation or Tensor")
