"""Several checkpoints as one, and one as several.

Tensors keep their names, their bytes and their slices. Of a tensor that several checkpoints hold, `prefer` says which
one counts. Object graphs are joined along their paths: ``model/encoder`` of one and ``model/decoder`` of another become
two objects of one ``model``; and a part that is split off keeps the objects that lead to its tensors.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Literal, TypeAlias

from coldframe.checkpoint.objects import edited, merged
from coldframe.checkpoint.reader import Checkpoint, open_checkpoint
from coldframe.checkpoint.rewrite import Output, Written, copied, kept, literal, write
from coldframe.checkpoint.select import Selection
from coldframe.checkpoint.stripping import describe
from coldframe.errors import MisuseError
from coldframe.formats.object_graph import OBJECT_GRAPH_KEY
from coldframe.records import dataclass

Prefer: TypeAlias = Literal["first", "last"]


@dataclass(frozen=True, slots=True)
class Merged:
    """What `merge` did.

    Attributes:
        taken: the source of each tensor, by the tensor's name.
        shared: tensors that several sources hold.
        written: what was written; None in a dry run.
    """

    taken: dict[str, str]
    shared: tuple[str, ...]
    written: Written | None


def merge(
    sources: Sequence[str | os.PathLike[str]],
    destination: str | os.PathLike[str] | None,
    *,
    prefer: Prefer | None = None,
    shards: int = 1,
) -> Merged:
    """Write one checkpoint with the tensors of several.

    Args:
        sources: the checkpoints, by any path that `open_checkpoint` takes. They are not changed.
        destination: the prefix of the new one; None only says what would be done.
        prefer: which source counts for a tensor that several hold; None refuses such.
        shards: how many data files to write.

    Raises:
        NotFoundError: there is no such checkpoint.
        MisuseError: there are no sources; a tensor is in several and `prefer` is None; `destination` is a source.
        CorruptError: a source is damaged; nothing has been written.
    """
    if not sources:
        raise MisuseError("nothing to merge", expected="at least one checkpoint")
    with ExitStack() as stack:
        opened = [stack.enter_context(open_checkpoint(s)) for s in sources]
        holders: dict[str, list[int]] = {}
        for i, ckpt in enumerate(opened):
            for name in ckpt:
                holders.setdefault(name, []).append(i)
        shared = tuple(sorted(n for n, where in holders.items() if len(where) > 1 and n != OBJECT_GRAPH_KEY))
        if shared and prefer is None:
            both = [f"`{opened[i].prefix}`" for i in holders[shared[0]]]
            raise MisuseError(
                f"several checkpoints hold {describe(shared)}",
                found=f"`{shared[0]}` in {' and '.join(both)}",
                hint="say which one counts: prefer the first or the last",
            )
        chosen = {n: where[0 if prefer == "first" else -1] for n, where in holders.items() if n != OBJECT_GRAPH_KEY}
        taken = {n: opened[i].prefix for n, i in chosen.items()}
        if destination is None:
            return Merged(taken, shared, None)
        outputs = [copied(opened[i], n) for n, i in chosen.items()]
        outputs += _objects(opened, chosen)
        return Merged(taken, shared, write(destination, outputs, sources=opened, shards=shards))


def _objects(opened: Sequence[Checkpoint], chosen: Mapping[str, int]) -> list[Output]:
    graphs = [
        (graph, {n for n, from_ in chosen.items() if from_ == i})
        for i, ckpt in enumerate(opened)
        if (graph := ckpt.object_graph) is not None
    ]
    if len(graphs) == 1:
        ((graph, keys),) = graphs
        return [literal(OBJECT_GRAPH_KEY, edited(graph, {k: k for k in keys}))]
    return [literal(OBJECT_GRAPH_KEY, merged(graphs))] if graphs else []


def split(
    source: str | os.PathLike[str],
    parts: Mapping[str, Sequence[str]],
    *,
    rest: str | None = None,
    shards: int = 1,
    dry_run: bool = False,
) -> dict[str, tuple[tuple[str, ...], Written | None]]:
    """Write the tensors of a checkpoint into several, each of its own.

    Args:
        source: the checkpoint, by any path that `open_checkpoint` takes. It is not changed.
        parts: patterns (see `Selection`) of the tensors of each part, by the part's prefix.
        rest: the prefix for what no pattern fits.
        shards: how many data files each gets.
        dry_run: only say what would be done.

    Returns:
        The tensors of each part and what was written (None in a dry run), by prefix.

    Raises:
        NotFoundError: there is no such checkpoint, or a pattern fits no tensor.
        MisuseError: a tensor is in two parts, or in none and there is no `rest`; a part is the source.
        CorruptError: the checkpoint is damaged; the part that holds the damage has not been written.
    """
    with open_checkpoint(source) as ckpt:
        groups = _groups(ckpt, parts, rest)
        done: dict[str, tuple[tuple[str, ...], Written | None]] = {}
        for prefix, names in groups.items():
            if dry_run:
                done[prefix] = names, None
                continue
            mapping = {n: n for n in names} | ({OBJECT_GRAPH_KEY: OBJECT_GRAPH_KEY} if ckpt.object_graph else {})
            done[prefix] = names, write(prefix, kept(ckpt, mapping), sources=[ckpt], shards=shards)
        return done


def _groups(ckpt: Checkpoint, parts: Mapping[str, Sequence[str]], rest: str | None) -> dict[str, tuple[str, ...]]:
    names = [n for n in ckpt if n != OBJECT_GRAPH_KEY]
    owner: dict[str, str] = {}
    for prefix, patterns in parts.items():
        if not patterns:
            raise MisuseError(f"no pattern says what `{prefix}` holds")
        for name in Selection.of(only=patterns).pick(names, where=f"in `{ckpt.prefix}`"):
            if name in owner:
                raise MisuseError(f"tensor `{name}` would be in two parts", found=f"`{owner[name]}` and `{prefix}`")
            owner[name] = prefix
    left = [n for n in names if n not in owner]
    if left and rest is None:
        raise MisuseError(
            f"no pattern fits {describe(left)}", where=f"in `{ckpt.prefix}`", hint="say where the rest goes"
        )
    if rest is not None and rest in parts:
        raise MisuseError("the rest needs a prefix of its own", found=f"`{rest}`")
    owner |= dict.fromkeys(left, rest or "")
    groups = {prefix: tuple(n for n in names if owner[n] == prefix) for prefix in (*parts, *([rest] if rest else []))}
    if empty := [p for p, group in groups.items() if not group]:
        raise MisuseError("nothing is left", where=f"for `{empty[0]}`")
    if len({os.path.realpath(p) for p in groups}) < len(groups):
        raise MisuseError("two parts have one prefix", found=describe(groups))
    return groups
