"""Changing object graphs, so that ``tf.train.Checkpoint`` still restores what a tool has written.

A restore walks the Python objects and the nodes of the object graph side by side, by the names of attributes
(``children.local_name``), and reads each variable from the key that its node tells (``attributes.checkpoint_key``). So:

- a tensor that goes takes its attribute along; its node stays, since others may lead through it;
- a tensor under a new key is found wherever its node is. But a key of the usual form, ``path/.ATTRIBUTES/...``, tells a
  path, and a new path means new Python attributes: the nodes move there.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from coldframe.errors import MisuseError
from coldframe.formats import messages
from coldframe.formats.object_graph import ATTRIBUTES, OPTIMIZER_SLOT, VARIABLE_VALUE, ObjectGraph, unescape
from coldframe.records import dataclass

Path = tuple[str, ...]


def edited(graph: ObjectGraph, keys: Mapping[str, str]) -> bytes:
    """Return a serialized object graph that leads to the tensors of `keys`, and to no other.

    Args:
        graph: the object graph of the old checkpoint.
        keys: the new key of each tensor that is kept, by its old key.
    """
    message = messages.TrackableObjectGraph()
    message.CopyFrom(graph.message)
    _move(message, graph, keys)
    for node in message.nodes:
        kept = [a for a in node.attributes if a.checkpoint_key in keys]
        for attribute in kept:
            attribute.checkpoint_key = keys[attribute.checkpoint_key]
        if len(kept) != len(node.attributes):
            copies = [type(a).FromString(a.SerializeToString()) for a in kept]
            del node.attributes[:]
            node.attributes.extend(copies)
    _drop_empty_slots(message)
    return bytes(message.SerializeToString(deterministic=True))


def built(keys: Iterable[str], full_names: Mapping[str, str]) -> bytes:
    """Return a serialized object graph for keys of the usual forms, ``path/.ATTRIBUTES/...`` and those of slots.

    Args:
        keys: the keys.
        full_names: the names of variables in a TF1 graph, by key, where they are known.

    Raises:
        MisuseError: a key is of another form.
    """
    message = messages.TrackableObjectGraph()
    message.nodes.add()
    tree = _Tree(message)
    for key in keys:
        path, found, attribute = key.partition(f"/{ATTRIBUTES}/")
        variable, is_slot, slot = path.partition(f"/{OPTIMIZER_SLOT}/")
        if not found or (is_slot and "/" not in slot):
            raise MisuseError(
                f"`{key}` is no object path",
                expected=f"`path/{ATTRIBUTES}/{VARIABLE_VALUE}`",
                hint="rename it, or drop it",
            )
        node = tree.make(_parts(variable))
        if is_slot:
            optimizer, _, name = slot.rpartition("/")
            original, node = node, len(message.nodes)
            message.nodes.add()
            message.nodes[tree.make(_parts(optimizer))].slot_variables.add(
                original_variable_node_id=original, slot_name=unescape(name), slot_variable_node_id=node
            )
        message.nodes[node].attributes.add(name=attribute, full_name=full_names.get(key, ""), checkpoint_key=key)
    return bytes(message.SerializeToString(deterministic=True))


def _parts(path: str) -> Path:
    return tuple(unescape(part) for part in path.split("/"))


def _drop_empty_slots(message: Any) -> None:
    for node in message.nodes:
        kept = [s for s in node.slot_variables if message.nodes[s.slot_variable_node_id].attributes]
        if len(kept) != len(node.slot_variables):
            copies = [type(s).FromString(s.SerializeToString()) for s in kept]
            del node.slot_variables[:]
            node.slot_variables.extend(copies)


def path_of(key: str) -> Path | None:
    """Return the object path that a key tells, unescaped; None for a slot's key, or one of another form."""
    path, found, _ = key.partition(f"/{ATTRIBUTES}/")
    if not found or OPTIMIZER_SLOT in path.split("/"):
        return None
    return _parts(path)


def _move(message: Any, graph: ObjectGraph, keys: Mapping[str, str]) -> None:
    """Lead the paths of new keys to the nodes that the old keys belong to."""
    tree = _Tree(message)
    moves: dict[Path, Path] = {}
    stay: list[Path] = []
    for attribute in graph.attributes:
        old, new = path_of(attribute.key), path_of(keys.get(attribute.key, ""))
        if old is None or new is None or tree.find(old) != attribute.node:
            continue
        if old == new:
            stay.append(old)
        else:
            moves[old] = new
    whole = _whole_moves(moves, stay)
    links: dict[tuple[Path, str], int] = {}
    edges: set[tuple[int, str]] = set()
    for old, new in moves.items():  # all is looked up in the old tree before it changes
        tail = 1
        while tail < len(old) and whole.get(old[:-tail]) == new[:-tail]:
            tail += 1
        source = len(old) - tail
        links[new[: len(new) - tail], new[-tail]] = tree.at(old[: source + 1])
        edges.add((tree.at(old[:source]), old[source]))
    for parent, name in edges:
        tree.unlink(parent, name)
    for (parents, name), node in links.items():
        tree.link(tree.make(parents), name, node)


def _whole_moves(moves: Mapping[Path, Path], stay: Iterable[Path]) -> dict[Path, Path | None]:
    """Return where the inner nodes go below which all saved values move alike; None for the others."""
    whole: dict[Path, Path | None] = {p[:i]: None for p in stay for i in range(len(p))}
    for old, new in moves.items():
        for i in range(len(old)):
            suffix = old[i:]
            target = new[: -len(suffix)] if new[-len(suffix) :] == suffix and i else None
            whole[old[:i]] = target if target and whole.get(old[:i], target) == target else None
    return whole


@dataclass(slots=True)
class _Tree:
    """Nodes by the names that lead to them."""

    message: Any

    def child(self, node: int, name: str) -> int | None:
        """Return the node that `name` leads to from `node`, if any."""
        return next((c.node_id for c in self.message.nodes[node].children if c.local_name == name), None)

    def find(self, path: Path) -> int | None:
        """Return the node at a path from the root, if any."""
        node: int | None = 0
        for name in path:
            node = self.child(node, name) if node is not None else None
        return node

    def at(self, path: Path) -> int:
        """Return the node at a path that is known to lead somewhere."""
        node = self.find(path)
        assert node is not None, path
        return node

    def make(self, path: Path) -> int:
        """Return the node at a path; nodes that are missing are added."""
        node = 0
        for name in path:
            found = self.child(node, name)
            if found is None:
                found = len(self.message.nodes)
                self.message.nodes.add()
                self.link(node, name, found)
            node = found
        return node

    def link(self, node: int, name: str, target: int) -> None:
        """Let `name` lead from `node` to `target`."""
        self.unlink(node, name)
        self.message.nodes[node].children.add(node_id=target, local_name=name)

    def unlink(self, node: int, name: str) -> None:
        """Let `name` lead nowhere from `node`."""
        children = self.message.nodes[node].children
        for i in [i for i, c in enumerate(children) if c.local_name == name]:
            del children[i]


def merged(graphs: Sequence[tuple[ObjectGraph, Collection[str]]]) -> bytes:
    """Return a serialized object graph with the objects of several; what has one path is one object.

    Args:
        graphs: object graphs, each with the keys that are taken from it.
    """
    message = messages.TrackableObjectGraph()
    message.nodes.add()
    for graph, keys in graphs:
        _graft(message, graph, keys)
    _drop_empty_slots(message)
    return bytes(message.SerializeToString(deterministic=True))


def _graft(message: Any, graph: ObjectGraph, keys: Collection[str]) -> None:
    """Add the objects of `graph`; those that a path leads to already get what they have here, too."""
    tree = _Tree(message)
    nodes = graph.message.nodes
    place = {0: 0}
    taken = {0}

    def put(node: int, found: int | None) -> int:
        if found is None or found in taken:  # two objects here stay two
            found = len(message.nodes)
            message.nodes.add()
        place[node] = found
        taken.add(found)
        return found

    queue = [0]
    for node in queue:
        for child in nodes[node].children:
            there = tree.child(place[node], child.local_name)
            if child.node_id not in place:
                put(child.node_id, there)
                queue.append(child.node_id)
            if there is None:
                tree.link(place[node], child.local_name, place[child.node_id])
    for node in queue:  # only now, since all that paths lead to is in its place
        for slot in nodes[node].slot_variables:
            ends = [place[n] if n in place else put(n, None) for n in _slot_ends(slot)]
            message.nodes[place[node]].slot_variables.add(
                original_variable_node_id=ends[0], slot_name=slot.slot_name, slot_variable_node_id=ends[1]
            )
    for node, target in place.items():
        for attribute in nodes[node].attributes:
            if attribute.checkpoint_key in keys:
                message.nodes[target].attributes.add().CopyFrom(attribute)


def _slot_ends(slot: Any) -> tuple[int, int]:
    return slot.original_variable_node_id, slot.slot_variable_node_id
