"""`Scaffold`: the parts of a graph that a session needs to start, made where a program has not made them.

Each part is looked for in a collection of the graph, and added to it when it is made: a graph has one of each.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from coldframe import dtypes
from coldframe.tf1.array_ops import concat
from coldframe.tf1.dependencies import group, no_op
from coldframe.tf1.framework.convert import constant
from coldframe.tf1.framework.graph import get_default_graph, name_scope
from coldframe.tf1.framework.keys import GraphKeys
from coldframe.tf1.platform import logging
from coldframe.tf1.variable_lists import (
    global_variables,
    global_variables_initializer,
    local_variables_initializer,
    report_uninitialized_variables,
)

_SAVED_MODEL_INITIALIZERS: Final = "saved_model_initializers"


class Scaffold:
    """The parts of a graph that a session needs to start.

    Args:
        init_op: gives variables their first values, where there is no checkpoint.
        init_feed_dict: what to feed it.
        init_fn: called after it, with the scaffold and the session.
        ready_op: tells which variables have no value; none: ready.
        ready_for_local_init_op: the same, before `local_init_op` is run.
        local_init_op: run in each session, with or without a checkpoint.
        summary_op: all summaries.
        saver: the `Saver`.
        copy_from_scaffold: a scaffold that has what is not given.
        local_init_feed_dict: what to feed `local_init_op`.
    """

    def __init__(
        self, init_op: Any = None, init_feed_dict: Any = None, init_fn: Callable[[Scaffold, Any], Any] | None = None,
        ready_op: Any = None, ready_for_local_init_op: Any = None, local_init_op: Any = None, summary_op: Any = None,
        saver: Any = None, copy_from_scaffold: Scaffold | None = None, local_init_feed_dict: Any = None,
    ) -> None:  # fmt: skip
        other: Any = copy_from_scaffold
        if other is not None and not isinstance(other, Scaffold):
            raise TypeError("copy_from_scaffold is not a Scaffold instance.")

        def chosen(given: Any, name: str) -> Any:
            return given if given is not None or other is None else getattr(other, name)

        self._user_init_fn = chosen(init_fn, "_user_init_fn")
        self._init_op = chosen(init_op, "init_op")
        self._init_feed_dict = chosen(init_feed_dict, "init_feed_dict")
        self._ready_op = chosen(ready_op, "ready_op")
        self._ready_for_local_init_op = chosen(ready_for_local_init_op, "ready_for_local_init_op")
        self._local_init_op = chosen(local_init_op, "local_init_op")
        self._local_init_feed_dict = chosen(local_init_feed_dict, "local_init_feed_dict")
        self._summary_op = chosen(summary_op, "summary_op")
        self._saver = chosen(saver, "saver")

    def finalize(self) -> Scaffold:
        """Make what is missing, refuse further changes of the default graph, and return the scaffold.

        Raises:
            RuntimeError: a collection has several of a part, so that the program has to say which.
        """
        from coldframe.tf1.summary.nodes import merge_all

        found = self.get_or_default
        if self._init_op is None:
            self._init_op = found("init_op", GraphKeys.INIT_OP, _default_init_op)
        if self._ready_op is None:
            self._ready_op = found("ready_op", GraphKeys.READY_OP, lambda: _not_ready(None))
        if self._ready_for_local_init_op is None:
            self._ready_for_local_init_op = found(
                "ready_for_local_init_op", GraphKeys.READY_FOR_LOCAL_INIT_OP, lambda: _not_ready(global_variables())
            )
        if self._local_init_op is None:
            self._local_init_op = found("local_init_op", GraphKeys.LOCAL_INIT_OP, self.default_local_init_op)
        if self._summary_op is None:
            self._summary_op = found("summary_op", GraphKeys.SUMMARY_OP, merge_all)
        if self._saver is None:
            self._saver = _saver_or_default()
        self._saver.build()
        get_default_graph().finalize()
        logging.info("Graph was finalized.")
        return self

    @property
    def init_fn(self) -> Callable[[Any], Any] | None:
        """What to call with the session after `init_op`, or None."""
        made = self._user_init_fn
        return None if made is None else lambda session: made(self, session)

    @property
    def init_op(self) -> Any:
        return self._init_op

    @property
    def init_feed_dict(self) -> Any:
        return self._init_feed_dict

    @property
    def ready_op(self) -> Any:
        return self._ready_op

    @property
    def ready_for_local_init_op(self) -> Any:
        return self._ready_for_local_init_op

    @property
    def local_init_op(self) -> Any:
        return self._local_init_op

    @property
    def local_init_feed_dict(self) -> Any:
        return self._local_init_feed_dict

    @property
    def summary_op(self) -> Any:
        return self._summary_op

    @property
    def saver(self) -> Any:
        return self._saver

    @staticmethod
    def get_or_default(arg_name: str, collection_key: str, default_constructor: Callable[[], Any]) -> Any:
        """Return the one item of a collection; else make it, and add it where it is not None.

        Raises:
            RuntimeError: the collection has several.
        """
        graph = get_default_graph()
        items = graph.get_collection(collection_key)
        if len(items) > 1:
            raise RuntimeError(
                f'More than one item in the collection "{collection_key}". Please indicate which one to use by passing '
                f"it to the tf.Scaffold constructor as:  tf.Scaffold({arg_name}=item to use)"
            )
        if items:
            return items[0]
        made = default_constructor()
        if made is not None:
            graph.add_to_collection(collection_key, made)
        return made

    @staticmethod
    def default_local_init_op() -> Any:
        """Return an operation that fills local variables and lookup tables."""
        return group(local_variables_initializer(), tables_initializer(), no_op(name="init"))


def tables_initializer(name: str = "init_all_tables") -> Any:
    """Return an operation that fills all lookup tables."""
    tables = get_default_graph().get_collection(GraphKeys.TABLE_INITIALIZERS)
    return group(*tables, name=name) if tables else no_op(name=name)


def _default_init_op() -> Any:
    more = get_default_graph().get_collection(_SAVED_MODEL_INITIALIZERS)
    return group(global_variables_initializer(), no_op(name="init"), more)


def _not_ready(variables: Any) -> Any:
    """Return the names of variables without a value, joined (as in TensorFlow) with those of resources: none."""
    names = report_uninitialized_variables(variables)
    with name_scope("report_uninitialized_resources", None):
        resources = constant([], dtypes.string)
    return concat([names, resources], 0)


def _saver_or_default() -> Any:
    from coldframe.tf1.train.saver import Saver

    graph = get_default_graph()
    savers = graph.get_collection(GraphKeys.SAVERS)
    if len(savers) > 1:
        raise RuntimeError(
            f"More than one item in collection {GraphKeys.SAVERS}. Please indicate which one to use by passing it to "
            "the constructor of Scaffold."
        )
    if savers:
        return savers[0]
    saver = Saver(sharded=True, allow_empty=True)
    graph.add_to_collection(GraphKeys.SAVERS, saver)
    return saver


__all__ = ["Scaffold"]
