"""The objects of a `tf.train.Checkpoint`, found by the names of attributes, as TensorFlow finds them.

::

    Checkpoint(model=Dense, opt=Adam)     (root) ─model─► layer ─kernel─► variable ◄─┐ slot `m`
                                                 ─opt───► optimizer ─────────────────┘
                                                          optimizer ─beta1_power─► variable

Objects are walked breadth first, so that the shortest path gives each its key. A walk is made anew whenever something
is saved or restored: what was attached, or which slots were made, in between is seen, which is all that deferred
restoration takes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from coldframe.formats import messages
from coldframe.formats.object_graph import VARIABLE_VALUE, attribute_key, escape, slot_key, variable_key
from coldframe.records import dataclass
from coldframe.tf1.framework.graph import Graph
from coldframe.tf1.layers.base import Layer
from coldframe.tf1.lookup import MutableHashTable
from coldframe.tf1.partitions import PartitionedVariable
from coldframe.tf1.template import Template
from coldframe.tf1.train.moving_averages import ExponentialMovingAverage
from coldframe.tf1.train.optimizer import Optimizer
from coldframe.tf1.train.table_saveables import TABLE
from coldframe.tf1.variables import Variable

_LAYERS_OWN: Final = frozenset(vars(Layer()))


class Trackable:
    """Base of what says itself which objects it holds."""

    def _children(self) -> dict[str, Any]:
        """Return the objects by the names that lead to them; what is not trackable is left out by the caller."""
        raise NotImplementedError


@dataclass(slots=True)
class Tracked:
    """An object that a walk has found.

    Attributes:
        value: the object.
        path: the shortest path to it, escaped; for a slot, what its key begins with.
        key: its key in a checkpoint, if it is a variable or a table; empty otherwise.
        children: numbers of objects by name.
        slots: of an optimizer: numbers of slot variables by the number of the variable and the slot's name.
    """

    value: Any
    path: str
    key: str
    children: dict[str, int]
    slots: dict[tuple[int, str], int]

    def __str__(self) -> str:
        return f"`{self.path or '(root)'}` ({describe(self.value)})"


def is_trackable(value: Any) -> bool:
    """Whether `value` can be, or hold, something to save."""
    return isinstance(
        value, (Variable, MutableHashTable, Optimizer, Layer, Template, Trackable, Mapping, list, tuple)
    )  # fmt: skip


def require_trackable(name: str, value: Any) -> None:
    """Raise `ValueError` unless an argument called `name` can be tracked; say what to pass instead."""
    if is_trackable(value):
        return
    hint = ""
    if isinstance(value, PartitionedVariable):
        hint = f"\nhint: pass the parts of a partitioned variable, {name}=list({name}), or use tf.train.Saver"
    elif isinstance(value, ExponentialMovingAverage):
        hint = f"\nhint: pass the averages: {name}={{v.op.name: ema.average(v) for v in variables}}"
    elif isinstance(value, (int, float)) or hasattr(value, "dtype"):
        hint = "\nhint: a checkpoint keeps variables; make it one with tf.Variable(..., trainable=False)"
    raise ValueError(
        f"`Checkpoint` was expecting `{name}` to be a trackable object (a variable, an optimizer, a layer, a "
        f"Checkpoint, or a list or dict of these), got {describe(value)}.{hint}"
    )


def describe(value: Any) -> str:
    """Return an object in few words."""
    if isinstance(value, (Variable, int, float, str)):
        return repr(value)
    name = getattr(value, "name", None) or (value.get_name() if isinstance(value, Optimizer) else None)
    return f"{type(value).__name__} `{name}`" if isinstance(name, str) else type(value).__name__


# --- walking ----------------------------------------------------------------------------------------------------
def tracked(root: Any, graph: Graph) -> list[Tracked]:
    """Return the objects that lead from `root`, each once, `root` first.

    Args:
        root: where the paths start.
        graph: the graph of which optimizers' variables are meant.

    Raises:
        ValueError: a dict has names that are no strings.
    """
    found = [Tracked(root, "", "", {}, {})]
    numbers = {id(root): 0}
    alive = [root]  # ids tell objects apart as long as they live; views of dicts may be made on the way
    for item in found:
        if isinstance(item.value, Variable):
            item.key = variable_key(item.path)
        elif isinstance(item.value, MutableHashTable):
            item.key = attribute_key(item.path, TABLE)
        for name, child in children(item.value, graph, item.path).items():
            number = numbers.get(id(child))
            if number is None:
                number = numbers[id(child)] = len(found)
                alive.append(child)
                path = f"{item.path}/{escape(name)}" if item.path else escape(name)
                found.append(Tracked(child, path, "", {}, {}))
            item.children[name] = number
    _add_slots(found, numbers, graph)
    return found


def _add_slots(found: list[Tracked], numbers: Mapping[int, int], graph: Graph) -> None:
    variables = {
        (v.value.graph, v.value.op.name): (i, v) for i, v in enumerate(found) if isinstance(v.value, Variable)
    }  # as optimizers know them
    for optimizer in [o for o in found if isinstance(o.value, Optimizer)]:
        for name in optimizer.value.get_slot_names():
            for (where, variable), slot in optimizer.value._slots[name].items():
                original = variables.get((where, variable))
                if original is None or where is not graph:
                    continue
                if id(slot) in numbers:
                    raise NotImplementedError(
                        f"slot `{name}` of optimizer `{optimizer.path}` is an object of its own too, "
                        f"{found[numbers[id(slot)]]}\nhint: leave it out; slots are saved with their optimizer"
                    )
                optimizer.slots[original[0], name] = len(found)
                key = slot_key(original[1].path, optimizer.path, name)
                found.append(Tracked(slot, key.rpartition("/.ATTRIBUTES/")[0], key, {}, {}))


def children(value: Any, graph: Graph, path: str) -> dict[str, Any]:
    """Return the objects that `value` holds, by name."""
    return {name: child for name, child in _held(value, graph, path).items() if is_trackable(child)}


def _held(value: Any, graph: Graph, path: str) -> dict[str, Any]:
    if isinstance(value, Trackable):
        return value._children()
    if isinstance(value, Optimizer):
        return {name: v for (name, where), v in sorted(value._non_slots.items(), key=_named) if where is graph}
    if isinstance(value, Layer):
        own = {name: v for name, v in vars(value).items() if name not in _LAYERS_OWN}
        return {**value._named_children(), **own}
    if isinstance(value, Template):
        scope = value.variable_scope
        return {v.op.name.removeprefix(f"{scope.name}/"): v for v in value.variables} if scope is not None else {}
    if isinstance(value, Mapping):
        return _of_mapping(value, path)
    if isinstance(value, (list, tuple)):
        fields = dict(zip(getattr(value, "_fields", ()), value, strict=False))
        return {**{str(i): v for i, v in enumerate(value)}, **fields}
    return {}


def _named(item: tuple[tuple[str, Graph], Any]) -> str:
    return item[0][0]


def _of_mapping(value: Mapping[Any, Any], path: str) -> dict[str, Any]:
    odd = [k for k, v in value.items() if not isinstance(k, str) and is_trackable(v)]
    if odd:
        raise ValueError(
            f"the dict at `{path or '(root)'}` cannot be saved: its key {odd[0]!r} is no string, and paths are made of "
            "strings\nhint: use str keys, or a list"
        )
    return {k: v for k, v in value.items() if isinstance(k, str)}


# --- as a message -----------------------------------------------------------------------------------------------
def encoded(objects: Iterable[Tracked]) -> bytes:
    """Return the objects as a serialized ``TrackableObjectGraph``."""
    listed = list(objects)
    message = messages.TrackableObjectGraph()
    for item in listed:
        node = message.nodes.add()
        for name, number in item.children.items():
            node.children.add(node_id=number, local_name=name)
        if isinstance(item.value, MutableHashTable):
            node.attributes.add(name=TABLE, checkpoint_key=item.key)
        elif item.key:
            node.attributes.add(name=VARIABLE_VALUE, full_name=item.value._shared_name, checkpoint_key=item.key)
        for (original, name), slot in item.slots.items():
            node.slot_variables.add(original_variable_node_id=original, slot_name=name, slot_variable_node_id=slot)
    for node, has in zip(message.nodes, _with_values(listed), strict=True):
        node.has_checkpoint_values.value = has
    return bytes(message.SerializeToString(deterministic=True))


def _with_values(objects: list[Tracked]) -> list[bool]:
    """Tell of each object whether something is saved of it, or of what it leads to."""
    parents: dict[int, list[int]] = {}
    for i, item in enumerate(objects):
        for child in (*item.children.values(), *item.slots.values()):
            parents.setdefault(child, []).append(i)
    found = [bool(item.key) for item in objects]
    open_ = [i for i, has in enumerate(found) if has]
    while open_:
        for parent in parents.get(open_.pop(), ()):
            if not found[parent]:
                found[parent] = True
                open_.append(parent)
    return found


__all__: list[str] = []
