r"""Other names for the tensors of a checkpoint: by rules, or between names and object paths.

::

    exact       {"old": "new"}                    a name of its own; from JSON, or CSV with two columns
    regex       ("conv(\d+)/W", "conv\1/kernel")    replaced wherever it matches, in order
    remove, add prefixes

What an optimizer or a moving average keeps for a variable (``w/Adam``) follows it to its new name. An object-based
checkpoint stays one: its object graph is changed along, so that ``tf.train.Checkpoint`` finds a variable at the Python
attributes that its new name tells.
"""

from __future__ import annotations

import collections
import csv
import dataclasses
import io
import json
import os
import re
from collections.abc import Mapping
from typing import Final

from coldframe.checkpoint.objects import built, edited
from coldframe.checkpoint.reader import Checkpoint, open_checkpoint
from coldframe.checkpoint.rewrite import Output, Written, copied, kept, literal, refuse_collisions, write
from coldframe.checkpoint.roles import roles
from coldframe.checkpoint.select import Selection, compiled
from coldframe.errors import MisuseError, NotFoundError, near_names
from coldframe.formats import files
from coldframe.formats.object_graph import (
    ATTRIBUTES,
    OBJECT_GRAPH_KEY,
    VARIABLE_VALUE,
    escape,
    unescape,
    variable_key,
)
from coldframe.records import dataclass

_SLOTS_BEGIN: Final = ("/.OPTIMIZER_SLOT/", "/")


@dataclass(frozen=True, slots=True)
class Rules:
    """How names change.

    Attributes:
        exact: new names by old ones. The other rules do not touch these.
        regex: regular expressions with their replacements, applied in order.
        remove: a prefix that names lose where they have it.
        add: a prefix that names get.
        selection: which names `regex`, `remove` and `add` apply to.
    """

    exact: Mapping[str, str] = dataclasses.field(default_factory=dict)
    regex: tuple[tuple[str, str], ...] = ()
    remove: str = ""
    add: str = ""
    selection: Selection = dataclasses.field(default_factory=Selection)


@dataclass(frozen=True, slots=True)
class Renamed:
    """What a renaming does.

    Attributes:
        names: the new name of each tensor, by its old one, also where it stays.
        written: what was written; None in a dry run.
    """

    names: dict[str, str]
    written: Written | None

    @property
    def changed(self) -> dict[str, str]:
        """The tensors that get another name."""
        return {old: new for old, new in self.names.items() if old != new}


def rename(
    source: str | os.PathLike[str], destination: str | os.PathLike[str] | None, rules: Rules, *, shards: int = 1
) -> Renamed:
    """Write a checkpoint with the same tensors under other names.

    Args:
        source: the checkpoint, by any path that `open_checkpoint` takes. It is not changed.
        destination: the prefix of the new one; None only says what would be done.
        rules: how names change.
        shards: how many data files to write.

    Raises:
        NotFoundError: there is no such checkpoint; a rule names a tensor that it does not hold.
        MisuseError: two tensors would get one name, or one none; no regular expression; `destination` is the source.
        CorruptError: the checkpoint is damaged; nothing has been written.
    """
    with open_checkpoint(source) as ckpt:
        names = new_names(ckpt, rules)
        if destination is None:
            return Renamed(names, None)
        written = write(destination, kept(ckpt, names), sources=[ckpt], shards=shards, meta_of=ckpt)
    return Renamed(names, written)


def new_names(ckpt: Checkpoint, rules: Rules) -> dict[str, str]:
    """Return the new name of each tensor by its old one; raises as `rename`."""
    where = f"in `{ckpt.prefix}`"
    for old in rules.exact:
        if old not in ckpt:
            raise NotFoundError(f"no tensor is called `{old}`", where=where, hint=near_names(old, ckpt))
    expressions = [(compiled(e), new) for e, new in rules.regex]
    free = set(rules.selection.pick([n for n in ckpt if n != OBJECT_GRAPH_KEY], where=where)) - rules.exact.keys()
    names: dict[str, str] = {}
    for old in ckpt:
        new = rules.exact.get(old, old)
        if old in free:
            for expression, replacement in expressions:
                try:
                    new = expression.sub(replacement, new)
                except (re.error, IndexError) as e:  # a group that is not there
                    raise MisuseError(f"`{replacement}` does not fit `{expression.pattern}`", found=str(e)) from None
            new = rules.add + new.removeprefix(rules.remove)
        names[old] = new
    _let_slots_follow(ckpt, rules.exact, names)
    for old, new in names.items():
        if not new or new.startswith("\0"):
            raise MisuseError(f"`{old}` would have no name", expected="a name that is not empty", found=repr(new))
        _require_attribute(old, new)
    refuse_collisions((new, f"`{old}`") for old, new in names.items())
    return names


def _require_attribute(old: str, new: str) -> None:
    """Raise where a key of an object-based checkpoint would no longer say which value of its object it is."""
    _, found, attribute = old.rpartition(f"/{ATTRIBUTES}/")
    if found and not new.endswith(found + attribute):
        raise MisuseError(
            f"`{old}` cannot be called `{new}`",
            expected=f"a name that ends in `{found}{attribute}`, as `tf.train.Checkpoint` needs it",
            hint="a checkpoint for `tf.train.Saver` is made with --to-names",
        )


def _let_slots_follow(ckpt: Checkpoint, exact: Mapping[str, str], names: dict[str, str]) -> None:
    for slot, part in roles(ckpt.specs, ckpt.object_graph).items():
        if part.of not in exact or names[slot] != slot:
            continue
        old, new = (name.removesuffix(f"/{ATTRIBUTES}/{VARIABLE_VALUE}") for name in (part.of, exact[part.of]))
        if any(slot.startswith(old + begin) for begin in _SLOTS_BEGIN):
            names[slot] = new + slot[len(old) :]


def read_map(path: str | os.PathLike[str]) -> dict[str, str]:
    """Read new names by old ones: a JSON object, or CSV with the columns old and new.

    Raises:
        NotFoundError: there is no such file.
        MisuseError: it holds something else, or one name twice.
    """
    where = f"in {os.fspath(path)}"
    text = files.read_file(path).decode("utf-8-sig", "replace")
    if text.lstrip().startswith("{"):
        try:
            found: dict[str, str] = json.loads(text, object_pairs_hook=lambda pairs: _once(pairs, where))
        except json.JSONDecodeError as e:
            raise MisuseError("no map of names", where=where, expected="a JSON object", found=str(e)) from None
    else:
        rows = [row for row in csv.reader(io.StringIO(text)) if row]
        for i, row in enumerate(rows, 1):
            if len(row) != 2:
                raise MisuseError(
                    "no map of names", where=f"in row {i} {where}", expected="old,new", found=",".join(row)
                )
        found = _once([(old.strip(), new.strip()) for old, new in rows], where)
    if not all(isinstance(new, str) for new in found.values()):
        raise MisuseError("no map of names", where=where, expected='{"old name": "new name", ...}')
    return found


def _once(pairs: list[tuple[str, str]], where: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for old, new in pairs:
        if old in found:
            raise MisuseError(f"`{old}` gets two names", where=where, found=f"`{found[old]}` and `{new}`")
        found[old] = new
    return found


def to_names(source: str | os.PathLike[str], destination: str | os.PathLike[str] | None, *, shards: int = 1) -> Renamed:
    """Write an object-based checkpoint as one by names, as ``tf.train.Saver`` reads it.

    A variable gets the name that a TF1 graph has for it, which the object graph tells; one without, or with a name that
    others have too (``Variable``), gets its object path. The object graph is left out.

    Raises:
        MisuseError: the checkpoint has no object graph; two variables have one name.
        NotFoundError, CorruptError: as `rename`.
    """
    with open_checkpoint(source) as ckpt:
        graph = ckpt.object_graph
        if graph is None:
            raise MisuseError("the checkpoint is by names already", where=f"`{ckpt.prefix}`")
        keys = [key for key in ckpt if key != OBJECT_GRAPH_KEY]
        uses = collections.Counter(graph.full_names.get(key) for key in keys)
        known = {key: name for key, name in graph.full_names.items() if uses[name] == 1}
        names = {key: _plain_name(key, known) for key in keys}
        refuse_collisions((new, f"`{old}`") for old, new in names.items())
        if destination is None:
            return Renamed(names, None)
        outputs = [copied(ckpt, old, new) for old, new in names.items()]
        return Renamed(names, write(destination, outputs, sources=[ckpt], shards=shards))


def _plain_name(key: str, full_names: Mapping[str, str]) -> str:
    if key in full_names:
        return full_names[key]
    suffix = f"/{ATTRIBUTES}/{VARIABLE_VALUE}"
    if not key.endswith(suffix):
        return key  # no variable: a Saver never asks for it
    return "/".join(unescape(part) for part in key.removesuffix(suffix).split("/"))


def to_objects(
    source: str | os.PathLike[str],
    destination: str | os.PathLike[str] | None,
    *,
    like: str | os.PathLike[str] | None = None,
    shards: int = 1,
) -> Renamed:
    """Write a checkpoint by names as an object-based one, as ``tf.train.Checkpoint`` reads it.

    Args:
        source: the checkpoint by names.
        destination: the prefix of the new one; None only says what would be done.
        like: an object-based checkpoint of the same model: its object graph tells where each name belongs. Left out,
            scopes become attributes: ``layer/kernel`` is the object ``kernel`` of the root's ``layer``.
        shards: how many data files to write.

    Raises:
        MisuseError: the source is object-based already, or `like` is not.
        NotFoundError: `like` has no variable of a name; there is no such checkpoint.
        CorruptError: a checkpoint is damaged; nothing has been written.
    """
    with open_checkpoint(source) as ckpt:
        if ckpt.object_graph is not None:
            raise MisuseError("the checkpoint is object-based already", where=f"`{ckpt.prefix}`")
        names, graph = _objects_like(ckpt, like) if like is not None else _objects_by_scope(ckpt)
        if destination is None:
            return Renamed(names, None)
        outputs: list[Output] = [copied(ckpt, old, new) for old, new in names.items()]
        outputs.append(literal(OBJECT_GRAPH_KEY, graph))
        return Renamed(names, write(destination, outputs, sources=[ckpt], shards=shards))


def _objects_by_scope(ckpt: Checkpoint) -> tuple[dict[str, str], bytes]:
    names = {n: variable_key("/".join(escape(part) for part in n.split("/"))) for n in ckpt}
    return names, built(names.values(), {new: old for old, new in names.items()})


def _objects_like(ckpt: Checkpoint, like: str | os.PathLike[str]) -> tuple[dict[str, str], bytes]:
    with open_checkpoint(like) as pattern:
        graph = pattern.object_graph
        if graph is None:
            raise MisuseError("no object graph to go by", where=f"in `{pattern.prefix}`", hint="leave `like` out")
        for name in ckpt:
            if name not in graph.by_full_name:
                raise NotFoundError(
                    f"no object is called `{name}`",
                    where=f"in `{pattern.prefix}`",
                    hint=near_names(name, graph.by_full_name) or "strip what does not belong to the model first",
                )
        names = {n: graph.by_full_name[n] for n in ckpt}
        return names, edited(graph, {key: key for key in names.values()})
