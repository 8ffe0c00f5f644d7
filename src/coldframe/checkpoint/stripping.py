"""Leaving out what only training needs: optimizer slots, the global step, or whatever patterns say.

A checkpoint of a network trained with Adam is three times the size of the network. Which tensors are an optimizer's is
told by the object graph where there is one, else by their names (see `roles`) and by the caller, who may have asked
the graph. Moving averages are part of the model: they are kept, or take the place of the variables (`use_ema`).
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from coldframe.checkpoint.reader import Checkpoint, open_checkpoint
from coldframe.checkpoint.rewrite import Written, kept, write
from coldframe.checkpoint.roles import Role, optimizer_state, roles
from coldframe.checkpoint.select import Selection
from coldframe.errors import NotFoundError
from coldframe.records import dataclass


@dataclass(frozen=True, slots=True)
class Stripping:
    """What to leave out.

    Attributes:
        slots: whether to leave out what optimizers keep.
        step: whether to leave out the global step, and the counter of saves.
        without: patterns of more tensors to leave out (see `Selection`).
        use_ema: whether moving averages take the place of their variables; the averages' own names go.
        known: names that are known to be an optimizer's, from the graph.
    """

    slots: bool = True
    step: bool = False
    without: tuple[str, ...] = ()
    use_ema: bool = False
    known: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Stripped:
    """What `strip` does with each tensor.

    Attributes:
        names: the new name of each tensor that stays, by its old name.
        dropped: the tensors that go.
        written: what was written; None in a dry run.
    """

    names: dict[str, str]
    dropped: tuple[str, ...]
    written: Written | None


def strip(
    source: str | os.PathLike[str],
    destination: str | os.PathLike[str] | None,
    stripping: Stripping | None = None,
    *,
    shards: int = 1,
) -> Stripped:
    """Write a checkpoint without some of its tensors.

    An object-based checkpoint stays one: its object graph no longer mentions what has gone, and
    ``tf.train.Checkpoint(...).restore(...)`` restores the rest.

    Args:
        source: the checkpoint, by any path that `open_checkpoint` takes. It is not changed.
        destination: the prefix of the new one; None only says what would be done.
        stripping: what to leave out; left out, optimizer slots.
        shards: how many data files to write.

    Raises:
        NotFoundError: there is no such checkpoint; a pattern fits no tensor; there are no moving averages to use.
        CorruptError: the checkpoint is damaged; nothing has been written.
        MisuseError: `destination` is the source itself, or nothing would be left.
    """
    stripping = stripping or Stripping()
    with open_checkpoint(source) as ckpt:
        names = remaining(ckpt, stripping)
        dropped = tuple(n for n in ckpt if n not in names)
        if destination is None:
            return Stripped(names, dropped, None)
        written = write(destination, kept(ckpt, names), sources=[ckpt], shards=shards, meta_of=ckpt)
    return Stripped(names, dropped, written)


def remaining(ckpt: Checkpoint, stripping: Stripping) -> dict[str, str]:
    """Return the new name of each tensor that stays, by its old name; raises as `strip`."""
    parts = roles(ckpt.specs, ckpt.object_graph)
    gone = set(stripping.known & parts.keys())
    if stripping.slots:
        gone |= optimizer_state(ckpt.specs, ckpt.object_graph)
    if stripping.step:
        gone |= {n for n, p in parts.items() if p.role is Role.STEP or n.startswith("save_counter/")}
    if stripping.without:
        picked = Selection.of(without=stripping.without).pick(ckpt, where=f"in `{ckpt.prefix}`")
        gone |= set(ckpt) - set(picked)
    names = {n: n for n in ckpt if n not in gone}
    if not stripping.use_ema:
        return names
    averages = {p.of: n for n, p in parts.items() if p.role is Role.AVERAGE}
    if not averages:
        raise NotFoundError(
            "no moving averages",
            where=f"in `{ckpt.prefix}`",
            expected="tensors such as `scope/weights/ExponentialMovingAverage`",
        )
    for variable, average in averages.items():
        names.pop(variable, None)
        names[average] = variable
    return names


def describe(names: Iterable[str], limit: int = 3) -> str:
    """Return a few of `names` as text."""
    listed = [f"`{n}`" for n in names]
    return ", ".join(listed[:limit]) + (f" and {len(listed) - limit} more" if len(listed) > limit else "")
