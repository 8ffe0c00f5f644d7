"""The checkpoints of a folder: the latest, the state file, deleting, waiting for new ones."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from coldframe.checkpoint.state import is_whole
from coldframe.errors import ColdframeError
from coldframe.formats import messages
from coldframe.formats.bundle import index_path
from coldframe.formats.checkpoint_state import CheckpointState, exists, read_state, resolve, state_path, write_state
from coldframe.tf1.train.checkpoint_options import CheckpointOptions, written
from coldframe.tf1.train.retention import Retention, remove_files

_LOG = logging.getLogger("coldframe")


def get_checkpoint_state(checkpoint_dir: Any, latest_filename: str | None = None) -> Any:
    """Return the ``CheckpointState`` of a folder, or None where it has no state file or a damaged one.

    Its paths can be opened as they are: relative ones get the folder in front, and those of a folder that has moved
    are found again beside the state file.
    """
    folder = os.fspath(checkpoint_dir)
    state = _state(folder, latest_filename)
    if state is None or not state.latest:
        return None
    made = messages.CheckpointState(
        model_checkpoint_path=resolve(state.latest, folder),
        all_model_checkpoint_paths=[resolve(p, folder) for p in state.all],
        all_model_checkpoint_timestamps=state.timestamps,
    )
    if state.last_preserved:
        made.last_preserved_timestamp = state.last_preserved
    return made


def _state(folder: str, latest_filename: str | None) -> CheckpointState | None:
    path = state_path(folder, latest_filename or "checkpoint")
    if not path.is_file():
        return None
    try:
        return read_state(path)
    except ColdframeError as e:
        _LOG.warning("%s: %s", path, e)
        return None


def latest_checkpoint(checkpoint_dir: Any, latest_filename: str | None = None) -> str | None:
    """Return the path of the latest checkpoint of a folder of which all files are there, or None."""
    folder = os.fspath(checkpoint_dir)
    state = _state(folder, latest_filename)
    if state is None:
        return None
    missing: list[str] = []
    for listed in dict.fromkeys((state.latest, *reversed(state.all))):
        if not listed:
            continue
        prefix = resolve(listed, folder)
        if is_whole(prefix):
            for skipped in missing:
                _LOG.warning("%s lacks files; the checkpoint before is used: %s", skipped, prefix)
            return prefix
        missing.append(prefix)
    if state.latest:
        _LOG.error("Couldn't match files for checkpoint %s", resolve(state.latest, folder))
    return None


def checkpoint_exists(checkpoint_prefix: Any) -> bool:
    """Whether a checkpoint, V2 or V1, is called `checkpoint_prefix`."""
    return exists(os.fspath(checkpoint_prefix))


def get_checkpoint_mtimes(checkpoint_prefixes: Iterable[str]) -> list[float]:
    """Return when each of the checkpoints was written, in seconds since 1970; those that do not exist are left out."""
    times = []
    for prefix in checkpoint_prefixes:
        for path in (index_path(prefix), prefix):
            if os.path.isfile(path):
                times.append(os.path.getmtime(path))
                break
    return times


def remove_checkpoint(
    checkpoint_prefix: Any, checkpoint_format_version: int = 2, meta_graph_suffix: str = "meta"
) -> None:
    """Delete a checkpoint and its meta graph."""
    del checkpoint_format_version  # the files tell
    remove_files(os.fspath(checkpoint_prefix), meta_graph_suffix)


# --- the state file ---------------------------------------------------------------------------------------------
def generate_checkpoint_state_proto(
    save_dir: Any,
    model_checkpoint_path: str,
    all_model_checkpoint_paths: Sequence[str] | None = None,
    all_model_checkpoint_timestamps: Sequence[float] | None = None,
    last_preserved_timestamp: float | None = None,
) -> Any:
    """Return the ``CheckpointState`` for a folder.

    Args:
        save_dir: the folder; where it is relative, so are the paths in the message, to it.
        model_checkpoint_path: the latest checkpoint.
        all_model_checkpoint_paths: all of them, oldest first; the latest comes last, whether listed or not.
        all_model_checkpoint_timestamps: when each was saved.
        last_preserved_timestamp: when one was last kept for good.

    Raises:
        ValueError: the timestamps are not as many as the paths.
    """
    folder = os.fspath(save_dir)
    paths = list(all_model_checkpoint_paths or ())
    if not paths or paths[-1] != model_checkpoint_path:
        paths.append(model_checkpoint_path)
    times = list(all_model_checkpoint_timestamps or ())
    if times and len(times) != len(paths):
        raise ValueError(
            "Checkpoint timestamps, if provided, must match checkpoint paths "
            f"(given paths {paths} and timestamps {times})"
        )

    def spelled(path: str) -> str:
        return path if os.path.isabs(folder) or os.path.isabs(path) else os.path.relpath(path, folder or ".")

    made = messages.CheckpointState(
        model_checkpoint_path=spelled(model_checkpoint_path), all_model_checkpoint_paths=[spelled(p) for p in paths],
        all_model_checkpoint_timestamps=times,
    )  # fmt: skip
    if last_preserved_timestamp is not None:
        made.last_preserved_timestamp = last_preserved_timestamp
    return made


def update_checkpoint_state(
    save_dir: Any,
    model_checkpoint_path: str,
    all_model_checkpoint_paths: Sequence[str] | None = None,
    latest_filename: str | None = None,
    all_model_checkpoint_timestamps: Sequence[float] | None = None,
    last_preserved_timestamp: float | None = None,
) -> None:
    """Replace the state file of a folder in one step. Arguments as `generate_checkpoint_state_proto`.

    Raises:
        RuntimeError: the state file would replace the checkpoint itself.
    """
    made = generate_checkpoint_state_proto(
        save_dir, model_checkpoint_path, all_model_checkpoint_paths, all_model_checkpoint_timestamps,
        last_preserved_timestamp,
    )  # fmt: skip
    path = state_path(os.fspath(save_dir), latest_filename or "checkpoint")
    if os.fspath(path) == made.model_checkpoint_path:
        raise RuntimeError(f"Save path '{made.model_checkpoint_path}' conflicts with path used for checkpoint state.")
    state = CheckpointState(
        made.model_checkpoint_path, tuple(made.all_model_checkpoint_paths), tuple(made.all_model_checkpoint_timestamps),
        made.last_preserved_timestamp,
    )  # fmt: skip
    write_state(path, state)


# --- waiting ----------------------------------------------------------------------------------------------------
def wait_for_new_checkpoint(
    checkpoint_dir: Any, last_checkpoint: str | None = None, seconds_to_sleep: float = 1, timeout: float | None = None
) -> str | None:
    """Return the path of a checkpoint other than `last_checkpoint` once there is one; None after `timeout` seconds."""
    stop = None if timeout is None else time.time() + timeout
    while True:
        found = latest_checkpoint(checkpoint_dir)
        if found is not None and found != last_checkpoint:
            return found
        if stop is not None and time.time() + seconds_to_sleep > stop:
            return None
        time.sleep(seconds_to_sleep)


def checkpoints_iterator(
    checkpoint_dir: Any,
    min_interval_secs: float = 0,
    timeout: float | None = None,
    timeout_fn: Callable[[], bool] | None = None,
) -> Iterator[str]:
    """Yield the latest checkpoint of a folder each time that there is a new one.

    Args:
        checkpoint_dir: the folder.
        min_interval_secs: the least time between two.
        timeout: how long to wait for one, in seconds; None for ever.
        timeout_fn: called when it took too long: return whether to stop. Without it, the iterator stops.
    """
    path: str | None = None
    while True:
        new = wait_for_new_checkpoint(checkpoint_dir, path, timeout=timeout)
        if new is None:
            if timeout_fn is None or timeout_fn():
                return
            continue
        start = time.time()
        path = new
        yield path
        rest = start + min_interval_secs - time.time()
        if rest > 0:
            time.sleep(rest)


# --- the manager ------------------------------------------------------------------------------------------------
class CheckpointManager:
    """Keeps the latest few checkpoints that a `tf.train.Checkpoint` (or a Saver) writes into a folder.

    Args:
        checkpoint: what saves: a `tf.train.Checkpoint`, whose `save_counter` numbers the files, or a `Saver`.
        directory: the folder.
        max_to_keep: how many to keep; None for all.
        keep_checkpoint_every_n_hours: keep one for good each time so many hours have passed.
        checkpoint_name: the beginning of the files' names.
        step_counter: a variable that tells the step, for `checkpoint_interval`.
        checkpoint_interval: save only after so many steps.
        init_fn: called by `restore_or_initialize` where there is no checkpoint.
        last_checkpoint_step: the step of the last save.

    Raises:
        ValueError: arguments contradict each other.
    """

    def __init__(
        self,
        checkpoint: Any,
        directory: Any,
        max_to_keep: int | None,
        keep_checkpoint_every_n_hours: float | None = None,
        checkpoint_name: str = "ckpt",
        step_counter: Any = None,
        checkpoint_interval: int | None = None,
        init_fn: Callable[[], Any] | None = None,
        last_checkpoint_step: int | None = None,
    ) -> None:
        if max_to_keep is not None and max_to_keep <= 0:
            raise ValueError(f"Expected a positive integer or `None` for `max_to_keep`, got {max_to_keep}.")
        if checkpoint_interval is not None and step_counter is None:
            raise ValueError("`step_counter` should be passed if `checkpoint_interval` is not None.")
        self._checkpoint, self._directory, self._name = checkpoint, str(os.fspath(directory)), checkpoint_name
        self._step_counter, self._interval, self._init_fn = step_counter, checkpoint_interval, init_fn
        self._last_step = last_checkpoint_step
        hours = 10000.0 if keep_checkpoint_every_n_hours is None else keep_checkpoint_every_n_hours
        self._retention = Retention(max_to_keep, hours)
        self._retention.adopt(self._directory, "checkpoint")

    @property
    def _saves_objects(self) -> bool:
        from coldframe.tf1.train.checkpoint import Checkpoint

        return isinstance(self._checkpoint, Checkpoint)

    @property
    def directory(self) -> str:
        return self._directory

    @property
    def checkpoint(self) -> Any:
        return self._checkpoint

    @property
    def checkpoint_interval(self) -> int | None:
        return self._interval

    @property
    def checkpoints(self) -> list[str]:
        """The checkpoints that are kept, oldest first."""
        return self._retention.paths

    @property
    def latest_checkpoint(self) -> str | None:
        """The latest checkpoint, or None."""
        return self.checkpoints[-1] if self.checkpoints else None

    def save(
        self, checkpoint_number: Any = None, check_interval: bool = True, options: CheckpointOptions | None = None,
        session: Any = None,
    ) -> str | None:  # fmt: skip
        """Write a checkpoint and return its path, or None where the last one is too recent.

        Args:
            checkpoint_number: the end of the file's name: a number, or a variable; one more than the last otherwise.
            check_interval: whether `checkpoint_interval` counts.
            options: whom to call when it is written.
            session: the session; the default one otherwise.
        """
        from coldframe.tf1.session import get_default_session

        chosen = session if session is not None else get_default_session()
        step = None if self._step_counter is None else int(chosen.run(self._step_counter))
        if check_interval and self._interval is not None and self._last_step is not None:
            assert step is not None
            if step < self._last_step + self._interval:
                return None
        counted = self._checkpoint._count_save(chosen) if self._saves_objects else self._next_number()
        if checkpoint_number is None:
            number = counted
        else:
            number = (
                int(chosen.run(checkpoint_number)) if hasattr(checkpoint_number, "graph") else int(checkpoint_number)
            )
        prefix = str(os.path.join(self._directory, f"{self._name}-{number}"))
        if self._saves_objects:
            self._checkpoint.write(prefix, session=chosen)
        else:
            self._checkpoint.save(chosen, prefix, write_state=False, write_meta_graph=False)
        self._last_step = step
        self._retention.add(prefix)
        self._retention.record(self._directory, "checkpoint", relative=True)
        written(options, prefix)
        return prefix

    def sync(self) -> None:
        """Wait until what is being saved is saved."""
        wait = getattr(self._checkpoint, "wait", None)
        if wait is not None:
            wait()

    def _next_number(self) -> int:
        tail = (self.latest_checkpoint or "").rpartition("-")[2]
        return int(tail) + 1 if tail.isdigit() else 1

    def restore_or_initialize(self, session: Any = None) -> str | None:
        """Restore the latest checkpoint and return its path, or call `init_fn` and return None where there is none."""
        from coldframe.tf1.session import get_default_session

        chosen = session if session is not None else get_default_session()
        latest = self.latest_checkpoint
        if latest is not None:
            if self._saves_objects:
                self._checkpoint.restore(latest).run_restore_ops(chosen)
            else:
                self._checkpoint.restore(chosen, latest)
            return latest
        if self._init_fn is not None:
            self._init_fn()
        return None


__all__ = [
    "CheckpointManager", "checkpoint_exists", "checkpoints_iterator", "generate_checkpoint_state_proto",
    "get_checkpoint_mtimes", "get_checkpoint_state", "latest_checkpoint", "remove_checkpoint",
    "update_checkpoint_state", "wait_for_new_checkpoint",
]  # fmt: skip
