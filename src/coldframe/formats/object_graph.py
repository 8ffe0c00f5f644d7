"""The object graph in checkpoints of ``tf.train.Checkpoint``, Keras and SavedModels.

::

    key _CHECKPOINTABLE_OBJECT_GRAPH -> scalar string: TrackableObjectGraph
      nodes[i]: children {node_id, local_name}        Python attributes that lead to other objects, often in cycles
                attributes {name, full_name, checkpoint_key}  what is saved of this object, and under which key
                slot_variables {original_variable_node_id, slot_name, slot_variable_node_id}   of an optimizer

    model/w/.ATTRIBUTES/VARIABLE_VALUE                          the key of variable `w` of the root's child `model`
    model/w/.OPTIMIZER_SLOT/opt/m/.ATTRIBUTES/VARIABLE_VALUE    the key of its slot `m` in the optimizer `opt`

In path components, ``/`` is written ``.S`` and ``.`` as ``..``. ``full_name`` is the variable's name in a TF1 graph, so
the object graph translates between both worlds. Follows tensorflow/core/protobuf/trackable_object_graph.proto.
"""

from __future__ import annotations

import collections
import functools
import re
from collections.abc import Mapping
from typing import Any, Final

from coldframe.errors import CorruptError, NotFoundError, near_names
from coldframe.formats import messages
from coldframe.records import dataclass

OBJECT_GRAPH_KEY: Final = "_CHECKPOINTABLE_OBJECT_GRAPH"
ATTRIBUTES: Final = ".ATTRIBUTES"
OPTIMIZER_SLOT: Final = ".OPTIMIZER_SLOT"
VARIABLE_VALUE: Final = "VARIABLE_VALUE"
_MAX_PATH_EXPANSION: Final = 256
_ESCAPED: Final = re.compile(r"\.\.|\.S")


def escape(component: str) -> str:
    """Return a path component as keys spell it: ``a/b.c`` is ``a.Sb..c``."""
    return component.replace(".", "..").replace("/", ".S")


def unescape(component: str) -> str:
    """Undo `escape`."""
    return _ESCAPED.sub(lambda m: "." if m[0] == ".." else "/", component)


@dataclass(frozen=True, slots=True)
class SavedAttribute:
    """A value of an object that the checkpoint holds.

    Attributes:
        node: the object's number.
        name: which value of it, ``VARIABLE_VALUE`` for variables.
        full_name: the variable's name in a TF1 graph, or empty.
        key: the tensor's name in the checkpoint.
    """

    node: int
    name: str
    full_name: str
    key: str


@dataclass(frozen=True, slots=True)
class SlotVariable:
    """A variable that an optimizer keeps for another one: ``variable``'s momentum, say.

    Attributes:
        optimizer: the optimizer's path.
        variable: the path of the variable it was made for.
        slot_name: the slot's name, such as ``m``.
        key: the slot's name in the checkpoint, or empty where it was not saved.
    """

    optimizer: str
    variable: str
    slot_name: str
    key: str


class ObjectGraph:
    """What a checkpoint knows of the objects it was saved from.

    Args:
        message: a ``TrackableObjectGraph``.
        where: the checkpoint, as errors name it.

    Raises:
        CorruptError: a reference leads to no node.
    """

    def __init__(self, message: Any, *, where: str) -> None:
        self.message = message
        self._where = where
        count = len(message.nodes)
        for i, node in enumerate(message.nodes):
            slots = [s for v in node.slot_variables for s in (v.original_variable_node_id, v.slot_variable_node_id)]
            for target in [child.node_id for child in node.children] + slots:
                if not 0 <= target < count:
                    raise CorruptError(
                        "object graph refers to no node",
                        where=f"at node {i} {where}",
                        expected=f"below {count}",
                        found=target,
                    )

    @classmethod
    def parse(cls, data: bytes, *, where: str) -> ObjectGraph:
        """Read a serialized ``TrackableObjectGraph``; raise `CorruptError`."""
        return cls(messages.parse("TrackableObjectGraph", data, where=where), where=where)

    @functools.cached_property
    def attributes(self) -> tuple[SavedAttribute, ...]:
        """Every saved value, by node."""
        return tuple(
            SavedAttribute(i, a.name, a.full_name, a.checkpoint_key)
            for i, node in enumerate(self.message.nodes)
            for a in node.attributes
        )

    @functools.cached_property
    def paths(self) -> Mapping[int, str]:
        """The shortest path from the root to each object that can be reached: escaped components joined by ``/``."""
        found = {0: ""} if self.message.nodes else {}
        queue = collections.deque(found)
        # Long names at the root repeat in every path below it; only an attack multiplies the file's size like this.
        allowed = _MAX_PATH_EXPANSION * (self.message.ByteSize() + 4096)
        while queue:
            parent = queue.popleft()
            for child in self.message.nodes[parent].children:
                if child.node_id not in found:
                    name = escape(child.local_name)
                    found[child.node_id] = f"{found[parent]}/{name}" if found[parent] else name
                    queue.append(child.node_id)
                    allowed -= len(found[child.node_id])
                    if allowed < 0:
                        raise CorruptError("object paths expand beyond measure", where=self._where)
        return found

    @functools.cached_property
    def by_full_name(self) -> Mapping[str, str]:
        """Checkpoint key by TF1 name, of the variables that have one."""
        return {a.full_name: a.key for a in self.attributes if a.full_name}

    @functools.cached_property
    def full_names(self) -> Mapping[str, str]:
        """TF1 name by checkpoint key, of the variables that have one."""
        return {a.key: a.full_name for a in self.attributes if a.full_name}

    @functools.cached_property
    def by_path(self) -> Mapping[str, str]:
        """Checkpoint key by object path, of the objects that are variables."""
        return {self.paths[a.node]: a.key for a in self.attributes if a.name == VARIABLE_VALUE and a.node in self.paths}

    @functools.cached_property
    def object_paths(self) -> Mapping[str, str]:
        """Object path by checkpoint key, of everything that is saved and can be reached.

        A slot variable is reached through its optimizer; its key tells the path, ``w/.OPTIMIZER_SLOT/opt/m``.
        """
        slots = {s.key: s.key.rpartition(f"/{ATTRIBUTES}/")[0] for s in self.slots if s.key}
        return slots | {a.key: self.paths[a.node] for a in self.attributes if a.node in self.paths}

    @functools.cached_property
    def slots(self) -> tuple[SlotVariable, ...]:
        """The optimizers' slot variables."""
        keys = {a.node: a.key for a in self.attributes if a.name == VARIABLE_VALUE}
        return tuple(
            SlotVariable(
                self.paths.get(i, ""),
                self.paths.get(slot.original_variable_node_id, ""),
                slot.slot_name,
                keys.get(slot.slot_variable_node_id, ""),
            )
            for i, node in enumerate(self.message.nodes)
            for slot in node.slot_variables
        )

    def key_of(self, full_name: str) -> str:
        """Return the checkpoint key of the variable that a TF1 graph calls `full_name`; raise `NotFoundError`."""
        try:
            return self.by_full_name[full_name]
        except KeyError:
            raise NotFoundError(
                f"no variable is called `{full_name}`", where=self._where, hint=near_names(full_name, self.by_full_name)
            ) from None


def variable_key(path: str) -> str:
    """Return the key of the variable at an (escaped) object path."""
    return attribute_key(path, VARIABLE_VALUE)


def attribute_key(path: str, name: str) -> str:
    """Return the key of the value `name` of the object at an (escaped) object path."""
    return f"{path}/{ATTRIBUTES}/{name}"


def slot_key(variable: str, optimizer: str, slot_name: str) -> str:
    """Return the key of an optimizer's slot for the variable at an object path."""
    return variable_key(f"{variable}/{OPTIMIZER_SLOT}/{optimizer}/{escape(slot_name)}")
