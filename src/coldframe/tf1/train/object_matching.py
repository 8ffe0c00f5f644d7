"""Restoring objects: the nodes of a checkpoint's object graph and the program's objects are walked side by side."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from coldframe.errors import near_names
from coldframe.formats.object_graph import VARIABLE_VALUE, ObjectGraph
from coldframe.records import dataclass
from coldframe.tf1.train.table_saveables import TABLE
from coldframe.tf1.train.tracking import Tracked
from coldframe.tf1.variables import Variable

_LOG = logging.getLogger("coldframe")
_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Match:
    """Which objects a checkpoint has values for.

    Attributes:
        objects: the program's objects, `tracked`.
        keys: the key of the value of each variable that has one, by its number in `objects`.
        bound: the number of the object that each node of the checkpoint stands for, by the node's.
        skipped: numbers in `objects` of slots that are not to be restored.
    """

    objects: Sequence[Tracked]
    keys: Mapping[int, str]
    bound: Mapping[int, int]
    skipped: frozenset[int] = frozenset()

    @property
    def unmatched(self) -> list[Tracked]:
        """The program's variables and tables that the checkpoint has no value for."""
        left = self.keys.keys() | self.skipped
        return [o for i, o in enumerate(self.objects) if o.key and i not in left]

    @property
    def without_value(self) -> list[Tracked]:
        """The program's variables that get no value: slots that are not to be restored among them."""
        return [*self.unmatched, *(self.objects[i] for i in sorted(self.skipped))]

    @property
    def is_trivial(self) -> bool:
        """Whether nothing but the root was found."""
        return set(self.bound) <= {0}


def match(graph: ObjectGraph, objects: Sequence[Tracked], slots: bool = True) -> Match:
    """Return what belongs together, with or without the optimizers' slots; the root belongs to the root."""
    bound = {0: 0} if graph.message.nodes else {}
    queue = list(bound)
    nodes = graph.message.nodes
    for node in queue:
        item = objects[bound[node]]
        for child in nodes[node].children:
            number = item.children.get(child.local_name)
            if number is None:
                continue
            if child.node_id not in bound:
                bound[child.node_id] = number
                queue.append(child.node_id)
            elif bound[child.node_id] != number:
                _LOG.warning(
                    "the checkpoint has one object where the program has two: %s and %s; the first is restored",
                    objects[bound[child.node_id]], objects[number],
                )  # fmt: skip
    if slots:
        _bind_slots(graph, objects, bound)
    skipped = frozenset() if slots else frozenset(n for o in objects for n in o.slots.values())
    keys: dict[int, str] = {}
    for attribute in graph.attributes:
        found = bound.get(attribute.node)
        if found is not None and objects[found].key and attribute.name == _kind(objects[found]):
            keys.setdefault(found, attribute.key)
    return Match(objects, keys, bound, skipped)


def _kind(item: Tracked) -> str:
    """Return what an object graph calls the value of an object."""
    return VARIABLE_VALUE if isinstance(item.value, Variable) else TABLE


def _bind_slots(graph: ObjectGraph, objects: Sequence[Tracked], bound: dict[int, int]) -> None:
    for node, number in list(bound.items()):
        for slot in graph.message.nodes[node].slot_variables:
            original = bound.get(slot.original_variable_node_id)
            mine = None if original is None else objects[number].slots.get((original, slot.slot_name))
            if mine is not None:
                bound.setdefault(slot.slot_variable_node_id, mine)


def unconsumed(graph: ObjectGraph, found: Match) -> list[str]:
    """Return what the checkpoint has values of and the program has no object for, in words."""
    slots = {s.key: f"slot `{s.slot_name}` of `{s.optimizer}` for `{s.variable}`" for s in graph.slots if s.key}
    used = set(found.keys.values())
    return [
        slots.get(a.key) or f"`{graph.paths.get(a.node) or a.key}`"
        for a in graph.attributes
        if a.key not in used
        and (a.name == VARIABLE_VALUE or a.node not in found.bound)
        and not (found.skipped and a.key in slots)
    ]


def unmatched_text(objects: Sequence[Tracked], names: Sequence[str], prefix: str) -> str:
    """Return what to say of objects that a checkpoint has no values for; `names` are what it has."""
    shown = [_with_near(o, names) for o in objects[:_SHOWN]]
    return _listed(
        f"Found {len(objects)} Python objects that were not bound to checkpointed values, likely due to changes in "
        f"the Python program. Checkpoint `{prefix}` has no values for:",
        shown, len(objects),
    )  # fmt: skip


def _with_near(item: Tracked, names: Sequence[str]) -> str:
    near = near_names(item.path, names)
    return f"{item}: {near}" if near else str(item)


def unconsumed_text(values: Sequence[str], paths: Sequence[str], prefix: str) -> str:
    """Return what to say of values that the program has no objects for; `paths` are what it has."""
    text = _listed(
        f"Unresolved object in checkpoint `{prefix}`: {len(values)} of its values found no Python object:",
        values[:_SHOWN], len(values),
    )  # fmt: skip
    near = near_names(values[0].strip("`"), paths)
    instead = f"\nof {values[0]}, {near}" if near else ""
    return f"{text}{instead}\nhint: pass them to tf.train.Checkpoint, or say status.expect_partial()"


def _listed(head: str, items: Sequence[str], count: int) -> str:
    more = [f"  ... and {count - len(items)} more"] if count > len(items) else []
    return "\n".join([head, *(f"  {i}" for i in items), *more])


__all__: list[str] = []
