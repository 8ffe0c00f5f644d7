"""The state file of a checkpoint folder, ``checkpoint``: which checkpoints are there, and which is the latest.

::

    model_checkpoint_path: "model.ckpt-2000"               the latest
    all_model_checkpoint_paths: "model.ckpt-1000"          oldest first
    all_model_checkpoint_paths: "model.ckpt-2000"
    all_model_checkpoint_timestamps: 1700000000.5          seconds since 1970, one per path, or none at all
    last_preserved_timestamp: 1699999000.0

It is protobuf text (CheckpointState of tensorflow/python/training/checkpoint_state.proto). Paths are relative to the
file's folder, or absolute; an absolute path of a folder that has since moved is looked up beside the file.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

from coldframe.errors import CorruptError
from coldframe.formats import messages
from coldframe.formats.stores import LOCAL, Store
from coldframe.formats.v1 import v1_files
from coldframe.records import dataclass

STATE_FILE: Final = "checkpoint"
_WINDOWS: Final = re.compile(r"[A-Za-z]:[\\/]")


@dataclass(frozen=True, slots=True)
class CheckpointState:
    """The content of a state file; paths as they are written in it.

    Attributes:
        latest: the latest checkpoint's prefix.
        all: the prefixes of all checkpoints that are kept, oldest first.
        timestamps: when each was saved, in seconds since 1970, or empty.
        last_preserved: when a checkpoint was last kept for good, or 0.
    """

    latest: str
    all: tuple[str, ...] = ()
    timestamps: tuple[float, ...] = ()
    last_preserved: float = 0.0


def state_path(folder: str | os.PathLike[str], name: str = STATE_FILE) -> Path:
    """Return the state file of `folder`."""
    return Path(folder) / name


def read_state(path: str | os.PathLike[str], store: Store = LOCAL) -> CheckpointState:
    """Read a state file.

    Raises:
        NotFoundError: there is none.
        CorruptError: it is damaged.
    """
    where = f"in {os.fspath(path)}"
    message = messages.parse_text("CheckpointState", store.read(os.fspath(path)), where=where)
    for listed in (message.model_checkpoint_path, *message.all_model_checkpoint_paths):
        if "\0" in listed:
            raise CorruptError("the state file names a path that cannot be", where=where, found=repr(listed))
    return CheckpointState(
        message.model_checkpoint_path,
        tuple(message.all_model_checkpoint_paths),
        tuple(message.all_model_checkpoint_timestamps),
        message.last_preserved_timestamp,
    )


def write_state(path: str | os.PathLike[str], state: CheckpointState, store: Store = LOCAL) -> None:
    """Replace a state file in one step."""
    message = messages.CheckpointState(
        model_checkpoint_path=state.latest,
        all_model_checkpoint_paths=state.all,
        all_model_checkpoint_timestamps=state.timestamps,
    )
    if state.last_preserved:
        message.last_preserved_timestamp = state.last_preserved
    store.replace(os.fspath(path), messages.to_text(message).encode())


def resolve(path: str, folder: str | os.PathLike[str], store: Store = LOCAL) -> str:
    """Return the prefix that `path`, from the state file of `folder`, stands for today.

    An absolute path is looked up beside the state file first: the folder may have moved, or be a copy of one that is
    still there. It may come from another system, with the other kind of slashes, or from before an upload.
    """
    here = os.fspath(folder)
    if not (os.path.isabs(path) or "://" in path or _WINDOWS.match(path)):
        return store.join(here, path)
    beside = store.join(here, path.replace("\\", "/").rsplit("/", 1)[-1])
    return beside if exists(beside, store) or not os.path.isabs(path) else path


def exists(prefix: str, store: Store = LOCAL) -> bool:
    """Whether a checkpoint, V2 or V1, whole or not, is called `prefix`; a name that no file can have is none."""
    if store.is_file(f"{prefix}.index"):
        return True
    return bool(v1_files(prefix, missing_ok=True)) if store is LOCAL else store.is_file(prefix)
