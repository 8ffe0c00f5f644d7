"""Saving: the values of a session's variables, and where its random operations are, become a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from coldframe.formats.bundle_writer import BundleWriter
from coldframe.passes.variables import handle_name
from coldframe.tf1 import errors
from coldframe.tf1.framework.graph import Graph
from coldframe.tf1.framework.keys import GraphKeys
from coldframe.tf1.framework.tensor import Operation
from coldframe.tf1.session import BaseSession
from coldframe.tf1.train.restoring import RANDOM_STATE, encode_random_state
from coldframe.tf1.train.saver_plan import RestorePlan, Saved, SavePlan
from coldframe.tf1.variables import Variable


def write(session: BaseSession, plan: SavePlan, prefix: str) -> None:
    """Write what a Saver saves as the checkpoint `prefix`, committed as a whole.

    Raises:
        tf.errors.FailedPreconditionError: variables have no values.
        MisuseError: a value cannot be saved.
        OSError: the system refuses to write.
    """
    values = _values(session, plan)
    places = {n: p for n, p in session.runtime.state.random_state().items() if _goes_on(session.graph, n)}
    with BundleWriter(prefix, shards=plan.shards) as writer:
        for item, value in zip(plan.tensors, values, strict=True):
            if item.part is None:
                writer.add(item.name, value, dtype=item.dtype, shard=item.shard)
            else:
                shape, piece = item.part.shape, item.part.slice
                writer.add_slice(item.name, shape, piece, value, dtype=item.dtype, shard=item.shard)
        if places:
            writer.add(RANDOM_STATE, encode_random_state(places))


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
def _goes_on(graph: Graph, node: str) -> bool:
    """Whether a random node matters after the start: all but those that only give variables their first values."""
    op = graph._operations.get(node)
    if op is None:
        return True  # inside of a function
    first = {v.initializer for key in (GraphKeys.GLOBAL_VARIABLES, GraphKeys.LOCAL_VARIABLES)
             for v in graph.get_collection(key) if isinstance(v, Variable)}  # fmt: skip
    followers: dict[str, list[Operation]] = {}
    for other in graph.get_operations():
        for name in other.node.controls:
            followers.setdefault(name, []).append(other)
    seen: set[Operation] = set()
    open_ = [op]
    while open_:
        current = open_.pop()
        if current in seen or current in first:
            continue
        seen.add(current)
        after = [c for t in current.outputs for c in t.consumer_ops] + followers.get(current.name, [])
        if not after:
            return True
        open_ += after
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
    started = {n for n in state.random_state() if n not in places and _goes_on(graph, n)}
    state.set_random_state({**dict.fromkeys(started), **places})


def _handle(variable: Variable) -> str:
    return handle_name(variable._ref.op.node)


__all__ = ["put_back_random_state", "write"]
