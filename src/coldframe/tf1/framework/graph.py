"""`Graph`: operations by name, and everything that decides how the next one is made.

That is TF1's naming (scopes, unique names without regard to case), control dependencies, colocation, devices,
collections and seeds. Nodes live in a `coldframe.graph.ir.Graph`, which is what sessions run; a graph that grows
while a session has it open is seen by the session as it is.
"""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from coldframe.errors import near_names
from coldframe.graph import ir
from coldframe.graph.convert import to_graph_def
from coldframe.graph.names import parse_tensor
from coldframe.records import dataclass
from coldframe.tf1.framework.collection import Collections
from coldframe.tf1.framework.device import merge_devices
from coldframe.tf1.framework.missing import MissingName
from coldframe.tf1.framework.tensor import Operation, Tensor, as_operation

PRODUCER: Final = 1205
"""The version of TensorFlow's graph semantics that we write."""

_OP_NAME: Final = re.compile(r"^[A-Za-z0-9.][A-Za-z0-9_.\\/>-]*$")
_SCOPE_NAME: Final = re.compile(r"^[A-Za-z0-9_.\\/>-]*$")


class Graph(Collections):
    """A TF1 graph.

    Attributes:
        ir: the nodes and functions, as sessions run them.
        seed: what `tf.set_random_seed` set.
        control_flow_context: the cond or while_loop that is being built, if any.
        gradient_source: in the backward body of a loop, the name of the call of ``tf.gradients`` that it is made for.
    """

    def __init__(self) -> None:
        super().__init__()
        self.ir = ir.Graph(producer=PRODUCER)
        self.seed: int | None = None
        self.control_flow_context: Any = None
        self.gradient_source = ""
        self.function_names: set[str] = set()  # of functions that are being traced, or were
        self.registry: dict[str, Any] = {}  # Python objects that belong to the graph: py_func tokens, generators
        self._operations: dict[str, Operation] = {}
        self._names: dict[str, int] = {}
        self._scope = ""
        self._controllers: list[_Controller] = []
        self._colocations: list[Operation] = []
        self._devices: list[Any] = []
        self._attr_scopes: list[dict[str, Any]] = []
        self._gradient_overrides: dict[str, str] = {}
        self._lock = threading.RLock()

    # --- looking up -------------------------------------------------------------------------------------------
    @property
    def version(self) -> int:
        """The number of operations made so far."""
        return len(self._operations)

    @property
    def outer(self) -> Graph | None:
        """The graph around a function that is being built; None for a graph."""
        return None

    @property
    def building_function(self) -> bool:
        return self.outer is not None

    def get_operations(self) -> list[Operation]:
        """Return the operations in the order they were made."""
        return list(self._operations.values())

    def operation(self, name: str) -> Operation:
        """Return the operation called `name`, known to exist."""
        return self._operations[name]

    def get_operation_by_name(self, name: str) -> Operation:
        """Return the operation called `name`.

        Raises:
            KeyError: there is none; the message suggests near names and the graph's likely outputs.
            ValueError: `name` is a tensor's name.
        """
        if not isinstance(name, str):
            raise TypeError(f"Operation names are strings, not {type(name).__name__}.")
        if name in self._operations:
            return self._operations[name]
        if ":" in name:
            raise ValueError(f"`{name}` is a tensor's name; an operation is called `{name.rpartition(':')[0]}`")
        raise MissingName(f"The name '{name}' refers to an Operation not in the graph.{self._suggest(name, '')}")

    def get_tensor_by_name(self, name: str) -> Tensor:
        """Return the tensor called `name`, e.g. ``x:0``.

        Raises:
            KeyError: there is none; the message suggests near names and the graph's likely outputs.
            ValueError: `name` is an operation's name.
        """
        if not isinstance(name, str):
            raise TypeError(f"Tensor names are strings, not {type(name).__name__}.")
        if ":" not in name:
            raise ValueError(
                f"`{name}` is the name of an operation; tensor names have the form `<op_name>:<output_index>`, "
                f"such as `{name}:0`."
            )
        ref = parse_tensor(name)
        op = self._operations.get(ref.node)
        if op is None:
            raise MissingName(
                f"The name '{name}' refers to a Tensor which does not exist. The operation, '{ref.node}', "
                f"does not exist in the graph.{self._suggest(ref.node, ':0')}"
            )
        if ref.slot >= len(op.outputs):
            raise MissingName(
                f"The name '{name}' refers to a Tensor which does not exist. The operation, '{ref.node}', "
                f"exists but only has {len(op.outputs)} outputs."
            )
        return op.outputs[ref.slot]

    def as_graph_element(self, obj: Any, allow_tensor: bool = True, allow_operation: bool = True) -> Any:
        """Return the tensor or operation that `obj` is, names, or stands for.

        Raises:
            KeyError: a name does not exist.
            ValueError: it belongs to another graph, or the name has the other form.
            TypeError: it is nothing of the kind.
        """
        convert = getattr(obj, "_as_graph_element", None)
        if convert is not None:
            obj = convert()
        if isinstance(obj, str):
            by_tensor = allow_tensor and (":" in obj or not allow_operation)
            return self.get_tensor_by_name(obj) if by_tensor else self.get_operation_by_name(obj)
        if (isinstance(obj, Tensor) and allow_tensor) or (isinstance(obj, Operation) and allow_operation):
            if obj.graph is not self:
                raise ValueError(f"Tensor {obj!r} is not an element of this graph.")
            return obj
        kinds = " or ".join(k for k, ok in (("Tensor", allow_tensor), ("Operation", allow_operation)) if ok)
        raise TypeError(f"Can not convert a {type(obj).__name__} into a {kinds}.")

    def _suggest(self, name: str, suffix: str) -> str:
        near = near_names(name, self._operations)
        lines = [f" {near[0].upper()}{near[1:]}"] if near else []
        outputs = [o.name + suffix for o in self._operations.values() if o.may_be_output()][-5:]
        if outputs:
            lines.append(f" Likely outputs of this graph: {', '.join(outputs)}.")
        return "".join(lines)

    def is_feedable(self, tensor: Any) -> bool:
        """Whether `tensor` may be fed."""
        return tensor not in self._collections.get("_unfeedable", ())

    def is_fetchable(self, tensor_or_op: Any) -> bool:
        """Whether a tensor or operation may be fetched."""
        return tensor_or_op not in self._collections.get("_unfetchable", ())

    def prevent_feeding(self, tensor: Any) -> None:
        self._collections.setdefault("_unfeedable", []).append(tensor)

    def prevent_fetching(self, op: Any) -> None:
        self._collections.setdefault("_unfetchable", []).append(op)

    # --- names ------------------------------------------------------------------------------------------------
    def unique_name(self, name: str, mark_as_used: bool = True) -> str:
        """Return `name` in the current scope, with the first free ``_1``, ``_2``, ... where it is taken."""
        full = f"{self._scope}/{name}" if self._scope else name
        key = full.lower()
        count = self._names.get(key, 0)
        if mark_as_used:
            self._names[key] = count + 1
        if count:
            base = key
            while key in self._names:
                key = f"{base}_{count}"
                count += 1
            if mark_as_used:
                self._names[key] = 1
            full = f"{full}_{count - 1}"
        return full

    @contextlib.contextmanager
    def name_scope(self, name: str | None) -> Iterator[str]:
        """Open a scope: nodes made inside are called ``scope/...``. A trailing ``/`` re-enters a scope as it is.

        Yields the scope's name with a trailing ``/``, or ``""`` for the root (`name` None or empty).
        """
        if name:
            pattern = _SCOPE_NAME if self._scope else _OP_NAME
            if not pattern.match(name):
                raise ValueError(f"'{name}' is not a valid {'scope' if self._scope else 'root scope'} name.")
        before = self._scope
        if not name:
            self._scope = ""
        elif name.endswith("/"):
            self._scope = name[:-1]
        else:
            self._scope = self.unique_name(name)
        try:
            yield f"{self._scope}/" if self._scope else ""
        finally:
            self._scope = before

    def get_name_scope(self) -> str:
        """Return the current scope, without a trailing ``/``."""
        return self._scope

    # --- what the next node waits for, and where it goes ------------------------------------------------------
    @contextlib.contextmanager
    def control_dependencies(self, control_inputs: Sequence[Any] | None) -> Iterator[None]:
        """Let nodes made inside wait for `control_inputs`; None forgets what the scopes around ask for."""
        if control_inputs is None:
            saved, self._controllers = self._controllers, []
            context, self.control_flow_context = self.control_flow_context, None
            try:
                yield
            finally:
                self._controllers, self.control_flow_context = saved, context
            return
        ops = [self.controller_of(item) for item in control_inputs]
        self._controllers.append(_Controller(list(dict.fromkeys(ops)), self.control_flow_context))
        try:
            yield
        finally:
            self._controllers.pop()

    def controller_of(self, item: Any) -> Operation:
        """Return the operation to wait for where a program says `item`."""
        if hasattr(item, "handle") and hasattr(item, "op"):  # a resource variable: no need to read it
            item = item.op
        elif hasattr(item, "_as_graph_element"):
            item = item._as_graph_element()
        if hasattr(item, "values") and hasattr(item, "indices"):  # IndexedSlices, SparseTensor
            item = item.values
        if isinstance(item, str):
            item = self.as_graph_element(item)
        op = as_operation(item)
        if op.graph is not self:
            raise ValueError(f"{op.name!r} is not an element of this graph.")
        return op

    def waits_for(self, control_inputs: Iterable[Tensor]) -> list[Operation]:
        """Return the operations that a node reading `control_inputs` must wait for.

        A controller is left out where the node reads something made under it, which has waited already.
        """
        made = {t.op for t in control_inputs}
        waits: dict[Operation, None] = {}
        for c in self._controllers:
            if not made & c.seen:
                waits.update(dict.fromkeys(o for o in c.ops if o not in made))
        return list(waits)

    @contextlib.contextmanager
    def colocate_with(self, op: Any, ignore_existing: bool = False) -> Iterator[None]:
        """Place nodes made inside where `op` is (kept in ``_class``); None forgets the scopes around."""
        saved = self._colocations
        target = None if op is None else as_operation(getattr(op, "handle_op", op))
        self._colocations = ([] if target is None or ignore_existing else list(saved)) + ([target] if target else [])
        try:
            yield
        finally:
            self._colocations = saved

    @contextlib.contextmanager
    def device(self, device_name_or_function: Any) -> Iterator[None]:
        """Ask for a device for nodes made inside: a string, a function of the node, or None. Kept, not used."""
        wanted = device_name_or_function
        self._devices.append(wanted.to_string() if hasattr(wanted, "to_string") else wanted)
        try:
            yield
        finally:
            self._devices.pop()

    @contextlib.contextmanager
    def attr_scope(self, attrs: dict[str, Any]) -> Iterator[None]:
        """Give nodes made inside these attributes (IR values); None as a value takes one away."""
        self._attr_scopes.append(attrs)
        try:
            yield
        finally:
            self._attr_scopes.pop()

    @contextlib.contextmanager
    def gradient_override_map(self, op_type_map: dict[str, str]) -> Iterator[None]:
        """Let nodes made inside take another gradient: op types, and names given to ``tf.RegisterGradient``."""
        saved, self._gradient_overrides = self._gradient_overrides, {**self._gradient_overrides, **op_type_map}
        try:
            yield
        finally:
            self._gradient_overrides = saved

    @contextlib.contextmanager
    def container(self, container_name: str) -> Iterator[str]:
        """Accepted for compatibility: every session keeps its own variables."""
        yield container_name

    # --- adding -----------------------------------------------------------------------------------------------
    def add(self, node: ir.Node, inputs: Sequence[Tensor]) -> Operation:
        """Append a node made by a program: scopes give it controls, colocation, device and attributes."""
        self._check_not_finalized()
        if not _OP_NAME.match(node.name):
            raise ValueError(f"'{node.name}' is not a valid node name")
        for t in inputs:
            if t.graph is not self:
                raise ValueError(f"{t!r}, an input of '{node.name}', must be from the same graph as the node.")
        waits = self.waits_for(inputs)
        if self.control_flow_context is not None:
            inputs = self.control_flow_context.enter(node, inputs)
            node.inputs = [t.ref for t in inputs]
        if waits:
            node.controls = list(dict.fromkeys([*node.controls, *(o.name for o in waits)]))
        for attrs in self._attr_scopes:
            for key, value in attrs.items():
                if value is None:
                    node.attrs.pop(key, None)
                else:
                    node.attrs[key] = value
        if node.op in self._gradient_overrides:
            node.attrs["_gradient_op_type"] = self._gradient_overrides[node.op].encode()
        op = self.adopt(node)
        op.inputs = list(inputs)
        for t in inputs:
            t.consumer_ops.append(op)
        self._place(op)
        for c in self._controllers:
            c.seen.add(op)
        return op

    def adopt(self, node: ir.Node) -> Operation:
        """Append a node as it is; its inputs and outputs are the caller's to link."""
        self._check_not_finalized()
        self.ir.add(node)
        op = Operation(self, node, len(self._operations) + 1)
        if self.control_flow_context is not None:
            self.control_flow_context.claim(op)
        self._operations[node.name] = op
        return op

    def _place(self, op: Operation) -> None:
        device = op.node.device
        for d in reversed(self._devices):
            if d is None:
                break
            device = (d(op) or "") if callable(d) else merge_devices(d, device)
            op.node.device = device
        groups: set[bytes] = set()
        for target in self._colocations:
            groups.update(target.colocation_groups())
            device = target.device
        if groups:
            op.node.attrs["_class"] = tuple(sorted(groups))
        op.node.device = device

    @property
    def _last_id(self) -> int:
        return len(self._operations)

    # --- as a default, as a file ------------------------------------------------------------------------------
    def as_default(self) -> contextlib.AbstractContextManager[Graph]:
        """Make this the graph that nodes are added to, in a ``with`` block."""
        return _STACK.use(self)

    def as_graph_def(self, from_version: int | None = None, add_shapes: bool = False) -> Any:
        """Return the graph as a GraphDef message.

        Args:
            from_version: leave out the first so many nodes.
            add_shapes: write what is known of the outputs' shapes into ``_output_shapes``.
        """
        nodes = list(self.ir)[from_version or 0 :]
        if add_shapes:
            nodes = [self._with_shapes(n.copy()) for n in nodes]
        return to_graph_def(self.ir.with_nodes(nodes))

    def _with_shapes(self, node: ir.Node) -> ir.Node:
        outputs = self._operations[node.name].outputs
        if outputs:
            node.attrs["_output_shapes"] = tuple(t.static_shape for t in outputs)
        return node

    @property
    def graph_def_versions(self) -> Any:
        return self.as_graph_def().versions


class _Controller:
    """One ``control_dependencies`` block: what to wait for, and the nodes made under it."""

    __slots__ = ("context", "ops", "seen")

    def __init__(self, ops: list[Operation], context: Any) -> None:
        self.ops, self.context = ops, context
        self.seen: set[Operation] = set()


# --- the default graph ------------------------------------------------------------------------------------------
class _Stack(threading.local):
    """The graphs that ``with graph.as_default()`` blocks of this thread have opened, over the process's own."""

    def __init__(self) -> None:
        self.graphs: list[Graph] = []

    @contextlib.contextmanager
    def use(self, graph: Graph) -> Iterator[Graph]:
        self.graphs.append(graph)
        try:
            yield graph
        finally:
            if not self.graphs or self.graphs.pop() is not graph:
                raise AssertionError("as_default() blocks were left in another order than they were entered")


@dataclass(slots=True)
class _Defaults:
    """What programs set for the whole process, as the default graph is the process's.

    Attributes:
        resource_variables: whether variables are resources where nothing else is said.
    """

    resource_variables: bool = False


_STACK = _Stack()
_GLOBAL: list[Graph] = []
DEFAULTS = _Defaults()


def get_default_graph() -> Graph:
    """Return the graph that nodes are added to."""
    if _STACK.graphs:
        return _STACK.graphs[-1]
    if not _GLOBAL:
        _GLOBAL.append(Graph())
    return _GLOBAL[0]


def reset_default_graph() -> None:
    """Start a new default graph; raise `AssertionError` inside an ``as_default()`` block."""
    if _STACK.graphs:
        raise AssertionError("Do not use tf.reset_default_graph() to clear nested graphs.")
    _GLOBAL[:] = [Graph()]


def graph_of(values: Iterable[Any]) -> Graph:
    """Return the graph to add a node to that reads `values`: theirs, but the default one inside a function."""
    default = get_default_graph()
    if default.building_function:
        return default
    for value in values:
        element = value._as_graph_element() if hasattr(value, "_as_graph_element") else value
        graph = getattr(element, "graph", None)
        if isinstance(graph, Graph):
            return graph
    return default


@contextlib.contextmanager
def name_scope(name: Any, default_name: Any = None, values: Any = None) -> Iterator[str]:
    """Open a name scope in the graph of `values` (or the default graph), called `name` or else `default_name`."""
    chosen = default_name if name is None else name
    if chosen is not None and not isinstance(chosen, str):
        raise TypeError(f"name for name_scope must be a string, not {chosen!r}")
    graph = get_default_graph() if values is None else graph_of(values)
    with graph.as_default(), graph.name_scope(chosen) as scope:
        yield scope


def control_dependencies(control_inputs: Any) -> contextlib.AbstractContextManager[None]:
    """Let nodes made inside wait for `control_inputs`, in the default graph."""
    return get_default_graph().control_dependencies(control_inputs)


def colocate_with(op: Any, ignore_existing: bool = False) -> contextlib.AbstractContextManager[None]:
    """Place nodes made inside where `op` is, in the default graph."""
    return get_default_graph().colocate_with(op, ignore_existing)


def device(device_name_or_function: Any) -> contextlib.AbstractContextManager[None]:
    """Ask for a device for nodes made inside, in the default graph; kept, not used."""
    return get_default_graph().device(device_name_or_function)
