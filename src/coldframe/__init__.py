"""TensorFlow's checkpoints and ``.pb`` files, read, written, frozen and run without TensorFlow.

>>> import coldframe as cf
>>> model = cf.load("frozen.pb")
>>> model.run({"image:0": images}, ["probabilities:0"])

The names below are the public ones. Each is imported when it is first asked for: ``import coldframe`` loads nothing but
this file, and reading a checkpoint loads no engine.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from coldframe.checkpoint import Checkpoint, CheckpointManager, latest_checkpoint, open_checkpoint, save_checkpoint
    from coldframe.errors import (
        AccessError,
        CancelledError,
        CheckpointWarning,
        ChecksumError,
        ColdframeError,
        CorruptError,
        EndOfInputError,
        ExecutionError,
        FeedError,
        GraphError,
        MisuseError,
        NotFoundError,
        NotInitializedError,
        StoreError,
        TruncatedError,
        UnsupportedAttributeError,
        UnsupportedError,
        UnsupportedFormatError,
        UnsupportedOpError,
        WrongFileError,
    )
    from coldframe.runtime.freezing import FrozenGraph, freeze
    from coldframe.runtime.inspection import Report, inspect
    from coldframe.runtime.model import Model, load
    from coldframe.runtime.session import Session
    from coldframe.shapes import Shape, TensorSpec

__version__: Final = "0.1.0.dev0"

__all__ = [
    "AccessError",
    "CancelledError",
    "Checkpoint",
    "CheckpointManager",
    "CheckpointWarning",
    "ChecksumError",
    "ColdframeError",
    "CorruptError",
    "EndOfInputError",
    "ExecutionError",
    "FeedError",
    "FrozenGraph",
    "GraphError",
    "MisuseError",
    "Model",
    "NotFoundError",
    "NotInitializedError",
    "Report",
    "Session",
    "Shape",
    "StoreError",
    "TensorSpec",
    "TruncatedError",
    "UnsupportedAttributeError",
    "UnsupportedError",
    "UnsupportedFormatError",
    "UnsupportedOpError",
    "WrongFileError",
    "__version__",
    "freeze",
    "inspect",
    "latest_checkpoint",
    "load",
    "open_checkpoint",
    "save_checkpoint",
]

_HOMES: Final = {
    "Checkpoint": "checkpoint",
    "CheckpointManager": "checkpoint",
    "latest_checkpoint": "checkpoint",
    "open_checkpoint": "checkpoint",
    "save_checkpoint": "checkpoint",
    "FrozenGraph": "runtime.freezing",
    "freeze": "runtime.freezing",
    "Report": "runtime.inspection",
    "inspect": "runtime.inspection",
    "Model": "runtime.model",
    "load": "runtime.model",
    "Session": "runtime.session",
    "Shape": "shapes",
    "TensorSpec": "shapes",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'coldframe' has no attribute {name!r}")
    with import_module("coldframe.collecting").RESTING:
        value = getattr(import_module(f"coldframe.{_HOMES.get(name, 'errors')}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
