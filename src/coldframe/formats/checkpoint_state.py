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

import dataclasses
import os
from pathlib import Path
from typing import Final

from coldframe.errors import CorruptError
from coldframe.formats import files, messages
from coldframe.formats.bundle import index_path
from coldframe.formats.v1 import v1_files

STATE_FILE: Final = "checkpoint"


@dataclasses.dataclass(frozen=True, slots=True)
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


def read_state(path: str | os.PathLike[str]) -> CheckpointState:
    """Read a state file.

    Raises:
        NotFoundError: there is none.
        CorruptError: it is damaged.
    """
    where = f"in {os.fspath(path)}"
    message = messages.parse_text("CheckpointState", files.read_file(path), where=where)
    for listed in (message.model_checkpoint_path, *message.all_model_checkpoint_paths):
        if "\0" in listed:
            raise CorruptError("the state file names a path that cannot be", where=where, found=repr(listed))
    return CheckpointState(
        message.model_checkpoint_path,
        tuple(message.all_model_checkpoint_paths),
        tuple(message.all_model_checkpoint_timestamps),
        message.last_preserved_timestamp,
    )


def write_state(path: str | os.PathLike[str], state: CheckpointState) -> None:
    """Replace a state file in one step."""
    message = messages.CheckpointState(
        model_checkpoint_path=state.latest,
        all_model_checkpoint_paths=state.all,
        all_model_checkpoint_timestamps=state.timestamps,
    )
    if state.last_preserved:
        message.last_preserved_timestamp = state.last_preserved
    files.write_atomic(path, [messages.to_text(message).encode()])


def resolve(path: str, folder: str | os.PathLike[str]) -> str:
    """Return the prefix that `path`, from the state file of `folder`, stands for today."""
    here = os.fspath(folder)
    prefix = os.path.join(here, path)  # an absolute `path` stays itself
    if os.path.isabs(path) and not exists(prefix):
        # The state file may come from another system, with the other kind of slashes.
        beside = os.path.join(here, path.replace("\\", "/").rsplit("/", 1)[-1])
        if exists(beside):
            return beside
    return prefix


def exists(prefix: str) -> bool:
    """Whether a checkpoint, V2 or V1, is called `prefix`; a name that no file can have is none."""
    return os.path.isfile(index_path(prefix)) or bool(v1_files(prefix))
