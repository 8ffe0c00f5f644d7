"""`tf.train.Saver`: writes a session's variables to checkpoints, and reads them back.

Four small things make it up: `saveables` (what is saved), `saver_graph` (the nodes TensorFlow would make),
`saver_plan` with `saving` and `restoring` (the work, done without running those nodes), `retention` (which are kept).

A save is committed file by file, in the order in which readers depend on them, each by a rename::

    data, index  ─►  .meta  ─►  state file `checkpoint`  ─►  old checkpoints are deleted
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final

from coldframe.checkpoint.async_save import Background, Buffers
from coldframe.checkpoint.reader import find_prefix, open_checkpoint
from coldframe.errors import ColdframeError
from coldframe.formats import messages
from coldframe.formats.checkpoint_state import exists
from coldframe.formats.meta_graph import write_meta_graph as write_file
from coldframe.tf1 import errors
from coldframe.tf1.framework.graph import Graph, get_default_graph
from coldframe.tf1.framework.keys import GraphKeys
from coldframe.tf1.meta_graph import export_meta_graph
from coldframe.tf1.scoped_names import prepend_scope, strip_scope
from coldframe.tf1.session import BaseSession
from coldframe.tf1.train import restoring, saver_graph, saving
from coldframe.tf1.train.restoring import RestoreReport
from coldframe.tf1.train.retention import Entry, Retention
from coldframe.tf1.train.saveables import SaveableObject, saveables_of
from coldframe.tf1.train.saver_plan import RestorePlan, SavePlan, restore_plan, save_plan
from coldframe.tf1.train.training_util import global_step as global_step_of

_V1_SHARD: Final = re.compile(r"-[\d\?]+-of-\d+$")


class Saver:
    """Saves and restores variables.

    Args:
        var_list: variables, partitioned variables and `SaveableObject`s, in a list or by the names to save them under;
            all global variables otherwise.
        reshape: bring restored values into the variables' shapes where only the number of elements is the same.
        sharded: write one data file per device.
        max_to_keep: how many checkpoints to keep, the latest; None or 0 for all.
        keep_checkpoint_every_n_hours: keep one for good each time so many hours have passed.
        name: of the scope of the Saver's nodes.
        restore_sequentially: accepted for compatibility; tensors are read one after the other.
        saver_def: take over the nodes of a Saver that is in the graph, instead of making some.
        builder: accepted for compatibility.
        defer_build: make the nodes when `build` is called, not now.
        allow_empty: do nothing, instead of raising, where there are no variables.
        write_version: of the format. A checkpoint of the old format V1 does not hold where random operations are.
        pad_step_number: fill steps in file names up to eight digits.
        save_relative_paths: let the state file hold paths relative to its folder.
        filename: the default of the tensor that tells where to save to.

    Raises:
        ValueError: there are no variables, two have one name, or arguments contradict each other.
        TypeError: something in `var_list` is no variable.
    """

    def __init__(
        self,
        var_list: Any = None,
        reshape: bool = False,
        sharded: bool = False,
        max_to_keep: int | None = 5,
        keep_checkpoint_every_n_hours: float = 10000.0,
        name: str | None = None,
        restore_sequentially: bool = False,
        saver_def: Any = None,
        builder: Any = None,
        defer_build: bool = False,
        allow_empty: bool = False,
        write_version: int = saver_graph.V2,
        pad_step_number: bool = False,
        save_relative_paths: bool = False,
        filename: str | None = None,
    ) -> None:
        if defer_build and var_list is not None:
            raise ValueError(
                "If `var_list` is provided then build cannot be deferred. "
                "Either set defer_build=False or var_list=None."
            )
        del builder, restore_sequentially
        self._var_list, self._allow_empty = var_list, allow_empty
        self._options = saver_graph.Options(name, filename or "", reshape, sharded, write_version)
        self._pad, self._relative = pad_step_number, save_relative_paths
        self._max_to_keep, self._hours = max_to_keep, keep_checkpoint_every_n_hours
        self._retention = Retention(max_to_keep, keep_checkpoint_every_n_hours)
        self._plans: dict[str, tuple[Graph, Any]] = {}
        self._graph_def: tuple[Graph, int, Any] | None = None
        self._background: Background | None = None
        self._buffers = Buffers()
        self._is_empty = False
        self.saver_def: Any = None
        if saver_def is not None:
            self._take_over(saver_def, name)
        elif not defer_build:
            self.build()

    def _take_over(self, saver_def: Any, scope: str | None) -> None:
        own = messages.SaverDef()
        own.MergeFromString(saver_def.SerializeToString())
        for field in ("filename_tensor_name", "save_tensor_name", "restore_op_name"):
            if not getattr(own, field):
                raise ValueError(f"saver_def must have a {field}: {own}")
            setattr(own, field, prepend_scope(getattr(own, field), scope or ""))
        self.saver_def = own
        self._max_to_keep, self._hours = own.max_to_keep, own.keep_checkpoint_every_n_hours
        self._retention = Retention(self._max_to_keep, self._hours)

    def build(self) -> None:
        """Make the nodes, in the default graph.

        Raises:
            ValueError: there are no variables, unless `allow_empty` was said.
        """
        if self.saver_def is not None or self._is_empty:
            return
        graph = get_default_graph()
        chosen = self._var_list
        if chosen is None:
            chosen = [
                *graph.get_collection(GraphKeys.GLOBAL_VARIABLES), *graph.get_collection(GraphKeys.SAVEABLE_OBJECTS)
            ]  # fmt: skip
        if not chosen:
            if not self._allow_empty:
                raise ValueError("No variables to save")
            self._is_empty = True
            return
        names = saver_graph.build(saveables_of(chosen), self._options)
        self.saver_def = saver_graph.saver_def(
            names, max_to_keep=self._max_to_keep or 0, sharded=self._options.sharded,
            keep_checkpoint_every_n_hours=self._hours, version=self._options.version,
        )  # fmt: skip

    def _require_built(self, doing: str) -> None:
        if self.saver_def is None and not self._is_empty:
            raise RuntimeError(f"`build()` should be called before {doing} if defer_build==True")

    # --- as a message -----------------------------------------------------------------------------------------
    def as_saver_def(self) -> Any:
        """Return the ``SaverDef``; None for a Saver of nothing."""
        return self.saver_def

    def to_proto(self, export_scope: str | None = None) -> Any:
        """Return the ``SaverDef`` with names as they are in a scope, or None where its nodes are not in that scope."""
        if export_scope is None:
            return self.saver_def
        if self.saver_def is None or not self.saver_def.filename_tensor_name.startswith(export_scope):
            return None
        proto = messages.SaverDef()
        proto.CopyFrom(self.saver_def)
        for field in ("filename_tensor_name", "save_tensor_name", "restore_op_name"):
            setattr(proto, field, strip_scope(getattr(proto, field), export_scope))
        return proto

    @staticmethod
    def from_proto(saver_def: Any, import_scope: str | None = None) -> Saver:
        """Return a Saver over nodes that are in the graph, as a ``SaverDef`` tells."""
        return Saver(saver_def=saver_def, name=import_scope)

    def export_meta_graph(
        self,
        filename: str | os.PathLike[str] | None = None,
        collection_list: Iterable[str] | None = None,
        as_text: bool = False,
        export_scope: str | None = None,
        clear_devices: bool = False,
        clear_extraneous_savers: bool = False,
        strip_default_attrs: bool = False,
        save_debug_info: bool = False,
    ) -> Any:
        """Return a ``MetaGraphDef`` of the default graph with this Saver; see `tf.train.export_meta_graph`."""
        return export_meta_graph(
            filename=filename, saver_def=self.to_proto(export_scope) or self.saver_def, collection_list=collection_list,
            as_text=as_text, export_scope=export_scope, clear_devices=clear_devices,
            clear_extraneous_savers=clear_extraneous_savers, strip_default_attrs=strip_default_attrs,
            save_debug_info=save_debug_info,
        )  # fmt: skip

    # --- which are kept ---------------------------------------------------------------------------------------
    @property
    def last_checkpoints(self) -> list[str]:
        """The checkpoints that are kept, oldest first."""
        return self._retention.paths

    def set_last_checkpoints(self, last_checkpoints: Sequence[str]) -> None:
        """Say which checkpoints there are, oldest first."""
        if not isinstance(last_checkpoints, list):
            raise TypeError("last_checkpoints must be a list")
        self._retention.tell((path, float("inf")) for path in last_checkpoints)

    def set_last_checkpoints_with_time(self, last_checkpoints_with_time: Sequence[Entry]) -> None:
        """Say which checkpoints there are, oldest first, and when each was saved."""
        if not isinstance(last_checkpoints_with_time, list):
            raise TypeError("last_checkpoints_with_time must be a list")
        self._retention.tell(last_checkpoints_with_time)

    def recover_last_checkpoints(self, checkpoint_paths: Sequence[str]) -> None:
        """Say which checkpoints there are, oldest first; those that do not exist are left out."""
        from coldframe.tf1.train.checkpoint_management import get_checkpoint_mtimes

        there = [p for p in checkpoint_paths if exists(p)]
        self._retention.tell(zip(there, get_checkpoint_mtimes(there), strict=True))

    # --- saving -----------------------------------------------------------------------------------------------
    def save(
        self,
        sess: Any,
        save_path: Any,
        global_step: Any = None,
        latest_filename: str | None = None,
        meta_graph_suffix: str = "meta",
        write_meta_graph: bool = True,
        write_state: bool = True,
        strip_default_attrs: bool = False,
        save_debug_info: bool = False,
        *,
        background: bool = False,
    ) -> str | None:
        """Write a checkpoint and return its path.

        Folders are made as needed. A process that is killed at any instant leaves the checkpoint before whole.

        Args:
            sess: the session that has the variables.
            save_path: where to: ``dir/model.ckpt``.
            global_step: appended to the path: a number, or a variable, tensor or name that gives it.
            latest_filename: the state file's name, ``checkpoint`` by default.
            meta_graph_suffix: the meta graph's file is the checkpoint's path with this suffix.
            write_meta_graph: whether to write it.
            write_state: whether to make this the latest in the state file, and to delete old checkpoints.
            strip_default_attrs, save_debug_info: as `tf.train.export_meta_graph`.
            background: return when the values are copied, and write in a thread. The next `save` waits for it, and
                raises its error; so do `wait` and `restore`.

        Raises:
            TypeError: `sess` is no session.
            ValueError: the path, or the state file's name, cannot be.
            RuntimeError: `build` has not been called.
            tf.errors.FailedPreconditionError: variables have no values; all of them are named.
            tf.errors.OpError: files cannot be written.
        """
        del save_debug_info
        self._require_built("save")
        session = session_of(sess)
        state_name = "checkpoint" if latest_filename is None else latest_filename
        path = os.fspath(save_path)
        prefix = self._prefix(path, session, global_step, state_name)
        folder = os.path.dirname(path)
        self.wait()
        with as_tensorflows(prefix):
            prefix, write = self._saving(session, prefix, background)
            meta = self._meta_graph(session.graph, strip_default_attrs) if write_meta_graph else None

        def commit() -> None:
            with as_tensorflows(prefix):
                write()
                if meta is not None:
                    write_file(f"{_V1_SHARD.sub('', prefix)}.{meta_graph_suffix}", meta)
                if write_state and not self._is_empty:
                    self._retention.adopt(folder, state_name)
                    self._retention.add(prefix)
                    self._retention.record(folder, state_name, self._relative, meta_graph_suffix)

        if background:
            self._background = self._background or Background()
            self._background.submit(commit)
        else:
            commit()
        return None if self._is_empty else prefix

    def wait(self) -> None:
        """Return when a save in the background is done; raise what `save` would have raised."""
        if self._background is not None:
            self._background.wait()

    def _meta_graph(self, graph: Graph, strip_default_attrs: bool) -> Any:
        """Return the meta graph; the GraphDef is made anew only where nodes were added since the last save."""
        known = self._graph_def
        if known is None or known[0] is not graph or known[1] != graph.version:
            known = self._graph_def = (graph, graph.version, graph.as_graph_def(add_shapes=True))
        return export_meta_graph(
            graph=graph, graph_def=known[2], saver_def=self.saver_def, strip_default_attrs=strip_default_attrs
        )

    def _prefix(self, path: str, session: BaseSession, step: Any, state_name: str) -> str:
        if os.path.split(state_name)[0]:
            raise ValueError("'latest_filename' must not contain path components")
        if not os.path.basename(path):
            raise ValueError(f"save_path `{path}` names no file: expected a prefix such as `{path or './'}model.ckpt`")
        if step is not None:
            number = int(step) if isinstance(step, int) or not hasattr(step, "graph") else _step(session, step)
            return f"{path}-{number:08d}" if self._pad else f"{path}-{number}"
        if os.path.basename(path) == state_name and not self._is_sharded:
            raise ValueError(f"'latest_filename' collides with 'save_path': '{state_name}' and '{path}'")
        return path

    @property
    def _is_sharded(self) -> bool:
        return bool(self.saver_def.sharded) if self.saver_def is not None else self._options.sharded

    def _saving(self, session: BaseSession, prefix: str, background: bool) -> tuple[str, Callable[[], None]]:
        """Return the path that will name a checkpoint of the values as they are now, and what writes it."""
        if self._is_empty:
            return prefix, _nothing
        if self.saver_def.version == saver_graph.V1:  # its own nodes do it; of shards, they return the pattern
            name = session.run(self.saver_def.save_tensor_name, {self.saver_def.filename_tensor_name: prefix})
            return os.fsdecode(name), _nothing
        plan: SavePlan | None = self._planned(session.graph, "save", save_plan, self.saver_def.save_tensor_name)
        if plan is None:  # the graph computes the names: its own nodes have to do it
            session.run(self.saver_def.save_tensor_name, {self.saver_def.filename_tensor_name: prefix})
            return prefix, _nothing
        taken = saving.snapshot(session, plan)
        if not background:
            return prefix, functools.partial(saving.write, taken, plan, prefix)
        copies, release = self._buffers.copy({str(i): value for i, value in enumerate(taken.values)})
        copied = saving.Snapshot(list(copies.values()), taken.places)

        def write() -> None:
            try:
                saving.write(copied, plan, prefix)
            finally:
                release()

        return prefix, write

    def _planned(self, graph: Graph, kind: str, make: Any, name: str) -> Any:
        known = self._plans.get(kind)
        if known is None or known[0] is not graph:
            known = self._plans[kind] = (graph, make(graph, name))
        return known[1]

    # --- restoring --------------------------------------------------------------------------------------------
    def restore(self, sess: Any, save_path: Any, *, partial: bool = False) -> RestoreReport | None:
        """Give variables the values of a checkpoint: all of them or, with an error, none.

        Random operations go on where they were when the checkpoint was saved, so that a training resumes exactly.

        Args:
            sess: the session that gets the values.
            save_path: the checkpoint's path, as `save` or `tf.train.latest_checkpoint` returned it.
            partial: restore what is there and fits, and leave other variables as they are.

        Returns:
            A report of what was restored, missing, mismatched and unused where `partial` is said, None otherwise.

        Raises:
            ValueError: there is no such checkpoint.
            RuntimeError: `build` has not been called.
            tf.errors.NotFoundError: variables are not in the checkpoint; it says which, and the likely cause.
            tf.errors.InvalidArgumentError: variables have another shape or dtype there.
            tf.errors.DataLossError: the checkpoint is damaged.
        """
        self._require_built("restore")
        if self._is_empty:
            return None
        if save_path is None:
            raise ValueError(
                "Can't load save_path when it is None.\n"
                "hint: tf.train.latest_checkpoint returns None where a folder has no checkpoint yet"
            )
        session = session_of(sess)
        self.wait()
        path = _existing(os.fspath(save_path))
        plan: RestorePlan | None = self._planned(session.graph, "restore", restore_plan, self.saver_def.restore_op_name)
        try:
            if plan is None:
                session.run(self.saver_def.restore_op_name, {self.saver_def.filename_tensor_name: path})
                return None
            return self._restore(session, path, plan, partial)
        except errors.OpError:
            raise
        except ColdframeError as e:
            raise errors.from_coldframe(e) from e

    def _restore(self, session: BaseSession, path: str, plan: RestorePlan, partial: bool) -> RestoreReport | None:
        op = session.graph.get_operation_by_name(self.saver_def.restore_op_name)
        with open_checkpoint(path) as checkpoint:
            found = restoring.collect(checkpoint, plan.variables)
            if not partial:
                if found.missing:
                    raise restoring.missing_error(checkpoint, found.missing, op)
                if found.mismatched:
                    raise restoring.mismatch_error(checkpoint, found, op)
            places = restoring.decode_random_state(checkpoint)
            state = session.runtime.state
            for name, value in found.values.items():
                state.set(name, value)
            if places is not None:
                saving.put_back_random_state(session, plan, places)
            asked = {*found.restored, *plan.others, restoring.RANDOM_STATE}
            unused = tuple(n for n in checkpoint.specs if n not in asked)
        if plan.others:
            session.run(self.saver_def.restore_op_name, {self.saver_def.filename_tensor_name: path})
        if not partial:
            return None
        return RestoreReport(path, found.restored, found.missing, found.mismatched, unused)


@contextlib.contextmanager
def as_tensorflows(prefix: str) -> Iterator[None]:
    """Raise errors as TensorFlow's: those of the system name `prefix`."""
    try:
        yield
    except errors.OpError:
        raise
    except ColdframeError as e:
        raise errors.from_coldframe(e) from e
    except OSError as e:
        raise errors.from_system(e, prefix) from e


def _nothing() -> None:
    """All is written."""


def session_of(sess: Any) -> BaseSession:
    """Return the session behind `sess`, which may be a monitored one; raise `TypeError` where there is none."""
    inner = getattr(sess, "_tf_sess", None)
    found = inner() if callable(inner) else sess
    if not isinstance(found, BaseSession):
        raise TypeError(f"'sess' must be a Session; {sess}")
    return found


def _step(session: BaseSession, step: Any) -> int:
    return global_step_of(session, step)


def _existing(path: str) -> str:
    """Return the path of a checkpoint that is there; say what to pass instead otherwise."""
    try:
        if exists(path):
            return path
        prefix = find_prefix(path)
    except ColdframeError as e:
        raise ValueError(f"The passed save_path is not a valid checkpoint: {path}\n{e}") from e
    if os.path.basename(prefix) == os.path.basename(path):  # a save over it was cut off: its predecessor is read
        return prefix
    raise ValueError(f"The passed save_path is not a valid checkpoint: {path}\nhint: pass its prefix, `{prefix}`")


__all__ = ["RestoreReport", "SaveableObject", "Saver"]
