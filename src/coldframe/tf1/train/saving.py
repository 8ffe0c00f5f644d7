"""Saving: the values of a session's variables, and where its random operations are, become a checkpoint."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from coldframe.formats.bundle_writer import BundleWriter
from coldframe.passes.variables import handle_name
from coldframe.records import dataclass
from coldframe.tf1 import errors
from coldframe.tf1.framework.graph import Graph
from coldframe.tf1.framework.keys import GraphKeys
from coldframe.tf1.session import BaseSession
from coldframe.tf1.train.restoring import RANDOM_STATE, encode_random_state
from coldframe.tf1.train.saver_plan import RestorePlan, Saved, SavePlan
from coldframe.tf1.variables import Variable


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a Saver saves, at one moment: values in the order of the plan's tensors, and places of random nodes."""

    values: Sequence[Any]
    places: Mapping[str, Any]


def snapshot(session: BaseSession, plan: SavePlan) -> Snapshot:
    """Return what is to be saved; values may be the session's own arrays.

    Raises:
        tf.errors.FailedPreconditionError: variables have no values.
    """
    values = _values(session, plan)
    drawn = session.runtime.state.random_state()
    return Snapshot(values, {n: drawn[n] for n in going_on(session.graph, drawn)})


def write(taken: Snapshot, plan: SavePlan, prefix: str, more: Mapping[str, Any] | None = None) -> None:
    """Write what a Saver saves as the checkpoint `prefix`, committed as a whole; `more` are further tensors.

    Raises:
        MisuseError: a value cannot be saved.
        OSError: the system refuses to write.
    """
    with BundleWriter(prefix, shards=plan.shards) as writer:
        for item, value in zip(plan.tensors, taken.values, strict=True):
            if item.part is None:
                writer.add(item.name, value, dtype=item.dtype, shard=item.shard, borrow=True)
            else:
                shape, piece = item.part.shape, item.part.slice
                writer.add_slice(item.name, shape, piece, value, dtype=item.dtype, shard=item.shard, borrow=True)
        for name, value in (more or {}).items():
            writer.add(name, value)
        if taken.places:
            writer.add(RANDOM_STATE, encode_random_state(taken.places))


def _values(session: BaseSession, plan: SavePlan) -> list[Any]:
    state = session.runtime.state
    found: list[Any] = [None if t.variable is None else state.value(t.variable) for t in plan.tensors]
    empty = [t for t, v in zip(plan.tensors, found, strict=True) if t.variable is not None and v is None]
    if empty:
        raise _uninitialized(empty)
    computed = [i for i, t in enumerate(plan.tensors) if t.variable is None]
    if computed:
        for i, value in zip(computed, session.run([plan.tensors[i].tensor for i in computed]), strict=True):
            found[i] = value
    return [np.asarray(v) for v in found]


def _uninitialized(empty: list[Saved]) -> Exception:
    names = [str(t.variable) for t in empty]
    shown = ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
    return errors.FailedPreconditionError(
        None, empty[0].tensor.op,
        f"Attempting to use uninitialized value {shown}\n"
        "hint: run tf.global_variables_initializer(), or restore a checkpoint, before saving",
    )  # fmt: skip


# --- random operations ------------------------------------------------------------------------------------------
def going_on(graph: Graph, nodes: Collection[str]) -> set[str]:
    """Return the random nodes that matter after the start: all but those that only give variables first values."""
    open_ = [n for n in nodes if n in graph.ir]
    inside_functions = {n for n in nodes if n not in graph.ir}
    if not open_:
        return inside_functions
    keys = (GraphKeys.GLOBAL_VARIABLES, GraphKeys.LOCAL_VARIABLES)
    variables = [v for key in keys for v in graph.get_collection(key) if isinstance(v, Variable)]
    first = {v.initializer.name for v in variables}
    readers: dict[str, list[str]] = {}
    for node in graph.ir:
        for source in {*(r.node for r in node.inputs), *node.controls}:
            readers.setdefault(source, []).append(node.name)
    matters: dict[str, bool] = {}
    return inside_functions | {n for n in open_ if _reaches_an_end(n, readers, first, matters)}


def _reaches_an_end(node: str, readers: Mapping[str, list[str]], first: set[str], known: dict[str, bool]) -> bool:
    """Whether something other than the initializers `first` comes of a node."""
    seen: set[str] = set()
    open_ = [node]
    while open_:
        current = open_.pop()
        if current in seen or current in first or known.get(current) is False:
            continue
        after = readers.get(current)
        if not after or known.get(current):
            known[node] = True
            return True
        seen.add(current)
        open_ += after
    known.update(dict.fromkeys(seen, False))
    return False


def put_back_random_state(session: BaseSession, plan: RestorePlan, places: Mapping[str, tuple[int, int, int]]) -> None:
    """Let random operations go on where they were, if the Saver restores the whole training and not a part of it.

    Those that had not run when the checkpoint was saved start over.
    """
    graph = session.graph
    restored = {r.variable for r in plan.variables}
    trained = {_handle(v) for v in graph.get_collection(GraphKeys.TRAINABLE_VARIABLES) if isinstance(v, Variable)}
    if not trained <= restored:
        return
    state = session.runtime.state
    started = going_on(graph, state.random_state().keys() - places.keys())
    state.set_random_state({**dict.fromkeys(started), **places})


def _handle(variable: Variable) -> str:
    return handle_name(variable._ref.op.node)


__all__ = ["put_back_random_state", "write"]
