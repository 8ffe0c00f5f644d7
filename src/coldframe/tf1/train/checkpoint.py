"""`tf.train.Checkpoint`: saves objects by the Python attributes that lead to them, rather than by variables' names.

The files are TensorFlow's: a V2 checkpoint with keys such as ``model/kernel/.ATTRIBUTES/VARIABLE_VALUE`` and the graph
of the objects beside (`coldframe.formats.object_graph`). No nodes are added to save or to restore, but for the variable
`save_counter`.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from coldframe.checkpoint.reader import open_checkpoint
from coldframe.formats.checkpoint_state import CheckpointState, state_path, write_state
from coldframe.formats.object_graph import OBJECT_GRAPH_KEY
from coldframe.passes.variables import handle_name
from coldframe.tf1.framework.graph import device, get_default_graph
from coldframe.tf1.lookup import MutableHashTable
from coldframe.tf1.session import BaseSession
from coldframe.tf1.train import saving
from coldframe.tf1.train.checkpoint_options import CheckpointOptions, written
from coldframe.tf1.train.checkpoint_status import (
    CheckpointLoadStatus,
    InitializationOnlyStatus,
    LoadStatus,
    NameBasedSaverStatus,
    session_or_default,
    variables_in,
)
from coldframe.tf1.train.saver import as_tensorflows
from coldframe.tf1.train.saver_plan import Saved, SavePlan
from coldframe.tf1.train.table_saveables import PARTS, exported
from coldframe.tf1.train.tracking import Trackable, Tracked, encoded, is_trackable, require_trackable, tracked
from coldframe.tf1.variables import Variable


class Checkpoint(Trackable):
    """Saves and restores a group of objects.

    ``tf.train.Checkpoint(model=net, opt=optimizer, step=global_step)``; objects may be set as attributes later too.
    A class that derives from it keeps its attributes.

    Args:
        **kwargs: variables, tables, optimizers (with their slots), layers, other Checkpoints, and lists, tuples and
            dicts of these, each under the name that leads to it.

    Raises:
        ValueError: something is none of these.
    """

    def __init__(self, **kwargs: Any) -> None:
        self._save_counter: Any = None
        for name, value in sorted(kwargs.items()):
            require_trackable(name, value)
            setattr(self, name, value)

    def _children(self) -> dict[str, Any]:
        held = {name: v for name, v in vars(self).items() if name != "_save_counter" and is_trackable(v)}
        return held if self._save_counter is None else {**held, "save_counter": self._save_counter}

    @property
    def save_counter(self) -> Any:
        """The variable that counts how often `save` was called; `save` gives the number to files.

        It is made when it is first asked for, by `save` and `restore` too.

        Raises:
            RuntimeError: there is none yet, and the graph is finalized.
        """
        if self._save_counter is None:
            if get_default_graph().finalized:
                raise RuntimeError(
                    "Graph is finalized and cannot be modified: `save_counter` is to be added to it\n"
                    "hint: ask for checkpoint.save_counter, or call restore, before; or use write"
                )
            with device("/cpu:0"):
                self._save_counter = Variable(
                    np.int64(0), name="save_counter", trainable=False, dtype="int64", use_resource=True
                )
        return self._save_counter

    # --- saving -----------------------------------------------------------------------------------------------
    def write(self, file_prefix: Any, session: Any = None, options: CheckpointOptions | None = None) -> str:
        """Write a checkpoint called `file_prefix`, and return that.

        It is not counted, and no state file names it; a process that is killed at any instant leaves one that was
        there whole.

        Args:
            file_prefix: where to: ``dir/ckpt``. Folders are made as needed.
            session: the session that has the values; the default one otherwise.
            options: whom to call when it is written.

        Raises:
            ValueError: there is no session, or the objects cannot be saved.
            tf.errors.FailedPreconditionError: variables have no values; all of them are named.
            tf.errors.OpError: files cannot be written.
        """
        chosen = session_or_default(session, "write")
        prefix = os.fspath(file_prefix)
        objects = tracked(self, chosen.graph)
        variables = [_saved(o) for o in variables_in(objects, chosen.graph)]
        plan = SavePlan((*variables, *(s for o in objects for s in _saved_table(o))), 1)
        graph = np.array(encoded(objects), object)
        with as_tensorflows(prefix):
            saving.write(saving.snapshot(chosen, plan), plan, prefix, {OBJECT_GRAPH_KEY: graph})
        written(options, str(prefix))
        return str(prefix)

    def save(self, file_prefix: Any, session: Any = None, options: CheckpointOptions | None = None) -> str:
        """Write a checkpoint, numbered by `save_counter`, make it the latest of its folder, and return its path.

        Args:
            file_prefix: where to: ``dir/ckpt`` makes ``dir/ckpt-1``, then ``dir/ckpt-2``.
            session: the session that has the values; the default one otherwise.
            options: whom to call when it is written.

        Raises:
            As `write`.
        """
        chosen = session_or_default(session, "save")
        number = self._count_save(chosen)
        prefix = self.write(f"{os.fspath(file_prefix)}-{number}", chosen, options)
        folder, name = os.path.split(prefix)
        with as_tensorflows(prefix):
            write_state(state_path(folder), CheckpointState(name, (name,)))
        return prefix

    def _count_save(self, session: BaseSession) -> int:
        """Add 1 to `save_counter` and return it."""
        with session.graph.as_default():
            handle = handle_name(self.save_counter._ref.op.node)
        state = session.runtime.state
        before = state.value(handle)
        number = 1 if before is None else int(before) + 1
        state.set(handle, np.array(number, np.int64))
        return number

    # --- restoring --------------------------------------------------------------------------------------------
    def restore(self, save_path: Any, options: CheckpointOptions | None = None) -> LoadStatus:
        """Say which checkpoint to restore from; the status that is returned does it.

        Objects that are attached, and slots that are made, between this call and the status's are restored too. A
        checkpoint that `tf.train.Saver` saved is restored by the variables' names.

        Args:
            save_path: what `save` or `tf.train.latest_checkpoint` returned; None where there is none yet.
            options: whether to leave out the optimizers' slots.

        Raises:
            tf.errors.NotFoundError: there is no such checkpoint.
            tf.errors.DataLossError: it is damaged.
        """
        self.save_counter  # noqa: B018 - made here, to be restored too
        return self._status(save_path, options)

    def read(self, save_path: Any, options: CheckpointOptions | None = None) -> LoadStatus:
        """Like `restore`, for checkpoints of `write`: `save_counter` is not asked for."""
        return self._status(save_path, options)

    def _status(self, save_path: Any, options: CheckpointOptions | None) -> LoadStatus:
        if save_path is None:
            return InitializationOnlyStatus(self, "")
        path = os.fspath(save_path)
        with as_tensorflows(path), open_checkpoint(path) as checkpoint:
            graph = checkpoint.object_graph
            if graph is not None:
                slots = options is None or not options.experimental_skip_slot_variables
                return CheckpointLoadStatus(self, checkpoint.prefix, graph, slots)
            optional = [] if self._save_counter is None else [self._save_counter]
            return NameBasedSaverStatus(self, checkpoint.prefix, checkpoint.specs, optional)


def _saved(item: Tracked) -> Saved:
    variable = item.value
    handle = handle_name(variable._ref.op.node)
    return Saved(item.key, None, variable.dtype, 0, handle, variable._snapshot)


def _saved_table(item: Tracked) -> list[Saved]:
    if not isinstance(item.value, MutableHashTable):
        return []
    pairs = zip(PARTS, exported(item.value), strict=True)
    return [Saved(item.key + part, None, tensor.dtype, 0, None, tensor) for part, tensor in pairs]


__all__ = ["Checkpoint"]
