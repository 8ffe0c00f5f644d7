"""What `tf.train.Checkpoint.restore` returns: what was found, and what to run.

A graph restores nothing before it is run. Each method looks at the objects as they are when it is called, so variables
and slots that were made after `restore` get their values too.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Self

from coldframe.checkpoint.reader import Checkpoint as CheckpointReader
from coldframe.checkpoint.reader import open_checkpoint
from coldframe.formats.object_graph import ObjectGraph
from coldframe.passes.variables import handle_name
from coldframe.tf1.framework.graph import Graph, get_default_graph
from coldframe.tf1.lookup import MutableHashTable
from coldframe.tf1.session import BaseSession, get_default_session
from coldframe.tf1.train import restoring, saving
from coldframe.tf1.train.object_matching import Match, match, unconsumed, unconsumed_text, unmatched_text
from coldframe.tf1.train.saveables import checkpoint_name
from coldframe.tf1.train.saver import as_tensorflows, session_of
from coldframe.tf1.train.saver_plan import Restored, RestorePlan
from coldframe.tf1.train.table_saveables import PARTS, fill
from coldframe.tf1.train.tracking import Tracked, tracked
from coldframe.tf1.variables import Variable


def session_or_default(session: Any, doing: str) -> BaseSession:
    """Return `session`, or the default one; raise `ValueError` where there is none."""
    chosen = get_default_session() if session is None else session
    if chosen is None:
        raise ValueError(f"{doing} needs a session: pass `session`, or call it in the block of `with tf.Session()`")
    return session_of(chosen)


def variables_in(objects: Iterable[Tracked], graph: Graph) -> list[Tracked]:
    """Return those objects that are variables; raise `ValueError` for one of another graph."""
    found = [o for o in objects if isinstance(o.value, Variable)]
    for item in found:
        if item.value.graph is not graph:
            raise ValueError(f"{item} is of another graph than the session's")
    return found


class LoadStatus:
    """Base of what `restore` returns.

    Args:
        root: the `tf.train.Checkpoint`.
        prefix: the checkpoint's path, empty for none.
    """

    def __init__(self, root: Any, prefix: str) -> None:
        self._root, self._prefix = root, prefix

    def _own_graph(self) -> Graph:
        """Return the graph that is meant where there is no session: the counter's, which `restore` makes."""
        counter = self._root._save_counter
        return get_default_graph() if counter is None else counter.graph

    def assert_consumed(self) -> Self:
        """Raise `AssertionError` unless every object, and every value of the checkpoint, found its counterpart."""
        raise NotImplementedError

    def assert_existing_objects_matched(self) -> Self:
        """Raise `AssertionError` unless the checkpoint has a value for every variable that there is by now."""
        raise NotImplementedError

    def assert_nontrivial_match(self) -> Self:
        """Raise `AssertionError` where nothing but the root was found."""
        raise NotImplementedError

    def expect_partial(self) -> Self:
        """Say that not all of the checkpoint is wanted."""
        return self

    def run_restore_ops(self, session: Any = None) -> None:
        """Give variables the values of the checkpoint: all that it has or, with an error, none.

        Args:
            session: the session that gets them; the default one otherwise.

        Raises:
            ValueError: there is no session, or a variable is of another graph.
            tf.errors.InvalidArgumentError: variables have another shape or dtype in the checkpoint.
            tf.errors.DataLossError: the checkpoint is damaged.
        """
        raise NotImplementedError

    def initialize_or_restore(self, session: Any = None) -> None:
        """Run the initializers of variables that the checkpoint has no values for, and restore the others."""
        raise NotImplementedError


def _initialize(session: BaseSession, objects: Iterable[Tracked]) -> None:
    ops = [o.value.initializer for o in variables_in(objects, session.graph)]
    if ops:
        session.run(ops)


class CheckpointLoadStatus(LoadStatus):
    """The status of restoring a checkpoint of objects.

    Args:
        root, prefix: as `LoadStatus`.
        graph: the checkpoint's objects.
        slots: whether the optimizers' slots are restored.
    """

    def __init__(self, root: Any, prefix: str, graph: ObjectGraph, slots: bool = True) -> None:
        super().__init__(root, prefix)
        self._graph, self._slots = graph, slots

    def _match(self, graph: Graph | None = None) -> Match:
        return match(self._graph, tracked(self._root, graph or self._own_graph()), self._slots)

    def assert_consumed(self) -> Self:
        self.assert_existing_objects_matched()
        found = self._match()
        if left := unconsumed(self._graph, found):
            paths = [o.path for o in found.unmatched]
            raise AssertionError(unconsumed_text(left, paths, self._prefix))
        return self

    def assert_existing_objects_matched(self) -> Self:
        found = self._match()
        if missing := found.unmatched:
            used = set(found.keys.values())
            free = [path for path, key in self._graph.by_path.items() if key not in used]
            raise AssertionError(unmatched_text(missing, free, self._prefix))
        return self

    def assert_nontrivial_match(self) -> Self:
        found = self._match()
        if found.is_trivial:
            names = sorted(c.local_name for node in self._graph.message.nodes[:1] for c in node.children)
            raise AssertionError(
                f"Nothing to load. Checkpoint `{self._prefix}` has {', '.join(f'`{n}`' for n in names) or 'nothing'}, "
                f"the program {', '.join(f'`{n}`' for n in found.objects[0].children) or 'nothing'}"
            )
        return self

    def run_restore_ops(self, session: Any = None) -> None:
        chosen = session_or_default(session, "run_restore_ops")
        self._restore(chosen, self._match(chosen.graph))

    def initialize_or_restore(self, session: Any = None) -> None:
        chosen = session_or_default(session, "initialize_or_restore")
        found = self._match(chosen.graph)
        _initialize(chosen, found.without_value)
        self._restore(chosen, found)

    def _restore(self, session: BaseSession, found: Match) -> None:
        variables_in(found.objects, session.graph)
        values = [(found.objects[i].value, key) for i, key in found.keys.items()]
        _assign(session, self._prefix, [_restored(v, k) for v, k in values if isinstance(v, Variable)], set())
        _fill(session, self._prefix, [(t, k) for t, k in values if isinstance(t, MutableHashTable)])


class NameBasedSaverStatus(LoadStatus):
    """The status of restoring a checkpoint of `tf.train.Saver`: variables are found by their names.

    Args:
        root, prefix: as `LoadStatus`.
        names: the names that the checkpoint has.
        optional: variables that it may lack.
    """

    def __init__(self, root: Any, prefix: str, names: Iterable[str], optional: Iterable[Any]) -> None:
        super().__init__(root, prefix)
        self._names = frozenset(names) - {restoring.RANDOM_STATE}
        self._optional = {id(v) for v in optional}

    def _wanted(self, graph: Graph | None = None) -> list[Tracked]:
        found = tracked(self._root, graph or self._own_graph())
        return [o for o in found if isinstance(o.value, Variable)]

    def _lacking(self, objects: Iterable[Tracked]) -> list[Tracked]:
        return [o for o in objects if id(o.value) not in self._optional and checkpoint_name(o.value) not in self._names]

    def assert_consumed(self) -> Self:
        self.assert_existing_objects_matched()
        objects = self._wanted()
        names = {checkpoint_name(o.value) for o in objects}
        if left := sorted(self._names - names):
            raise AssertionError(unconsumed_text([f"`{n}`" for n in left], sorted(names - self._names), self._prefix))
        return self

    def assert_existing_objects_matched(self) -> Self:
        if missing := self._lacking(self._wanted()):
            raise AssertionError(unmatched_text(missing, sorted(self._names), self._prefix))
        return self

    def assert_nontrivial_match(self) -> Self:
        if not any(checkpoint_name(o.value) in self._names for o in self._wanted()):
            raise AssertionError(f"Nothing to load: checkpoint `{self._prefix}` has none of the variables' names")
        return self

    def run_restore_ops(self, session: Any = None) -> None:
        chosen = session_or_default(session, "run_restore_ops")
        objects = variables_in(self._wanted(chosen.graph), chosen.graph)
        optional = {checkpoint_name(o.value) for o in objects if id(o.value) in self._optional}
        lacking = [o for o in objects if checkpoint_name(o.value) in optional - self._names]
        state = chosen.runtime.state
        _initialize(chosen, [o for o in lacking if state.value(handle_name(o.value._ref.op.node)) is None])
        _assign(chosen, self._prefix, [_restored(o.value, checkpoint_name(o.value)) for o in objects], optional)

    def initialize_or_restore(self, session: Any = None) -> None:
        """Restore: all variables must be in a checkpoint by names."""
        self.run_restore_ops(session)


class InitializationOnlyStatus(LoadStatus):
    """The status of restoring nothing, as of the first run, when there is no checkpoint yet."""

    def assert_consumed(self) -> Self:
        raise AssertionError("No checkpoint specified (save_path=None); nothing is being restored.")

    def assert_existing_objects_matched(self) -> Self:
        raise AssertionError("No checkpoint specified (save_path=None); nothing is being restored.")

    def assert_nontrivial_match(self) -> Self:
        raise AssertionError("No checkpoint specified (save_path=None); nothing is being restored.")

    def run_restore_ops(self, session: Any = None) -> None:
        raise AssertionError(
            "No checkpoint specified, so no restore ops are available (save_path=None to Saver.restore).\n"
            "hint: initialize_or_restore runs the initializers where there is no checkpoint yet"
        )

    def initialize_or_restore(self, session: Any = None) -> None:
        chosen = session_or_default(session, "initialize_or_restore")
        _initialize(chosen, tracked(self._root, chosen.graph))


# --- values -----------------------------------------------------------------------------------------------------
def _restored(variable: Variable, name: str) -> Restored:
    return Restored(name, None, variable.dtype, variable.static_shape, handle_name(variable._ref.op.node), False)


def _assign(session: BaseSession, prefix: str, wanted: list[Restored], optional: set[str]) -> None:
    with as_tensorflows(prefix), open_checkpoint(prefix) as checkpoint:
        _assign_from(checkpoint, session, wanted, optional)


def _fill(session: BaseSession, prefix: str, tables: list[tuple[MutableHashTable, str]]) -> None:
    if not tables:
        return
    with as_tensorflows(prefix), open_checkpoint(prefix) as checkpoint:
        read = [(table, [checkpoint[key + part] for part in PARTS]) for table, key in tables]
    for table, (keys, values) in read:
        fill(session, table, keys, values)


def _assign_from(
    checkpoint: CheckpointReader, session: BaseSession, wanted: list[Restored], optional: set[str]
) -> None:
    found = restoring.collect(checkpoint, wanted)
    missing = [n for n in found.missing if n not in optional]
    if missing:
        raise restoring.missing_error(checkpoint, missing)
    if found.mismatched:
        raise restoring.mismatch_error(checkpoint, found)
    places = restoring.decode_random_state(checkpoint)
    for name, value in found.values.items():
        session.runtime.state.set(name, value)
    if places is not None:
        saving.put_back_random_state(session, RestorePlan(tuple(wanted), ()), places)


__all__: list[str] = []
