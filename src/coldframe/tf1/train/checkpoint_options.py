"""`tf.train.CheckpointOptions`: how a `tf.train.Checkpoint` is saved and restored."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any


class CheckpointOptions:
    """Options for saving and restoring objects.

    Args:
        experimental_io_device: accepted; files are this process's own.
        experimental_enable_async_checkpoint, enable_async: accepted, as TensorFlow's graph mode accepts them: a save is
            done when it returns.
        experimental_write_callbacks: functions called after each save, in order, with its path if they take one.
        experimental_skip_slot_variables: do not restore the optimizers' slots.
        experimental_sharding_callback: must be None: what is saved goes into one data file.

    Raises:
        ValueError: a callback takes more than one argument, or there is a sharding callback.
    """

    __slots__ = (
        "enable_async", "experimental_enable_async_checkpoint", "experimental_io_device",
        "experimental_sharding_callback", "experimental_skip_slot_variables", "experimental_write_callbacks",
    )  # fmt: skip

    def __init__(
        self,
        experimental_io_device: str | None = None,
        experimental_enable_async_checkpoint: bool = False,
        experimental_write_callbacks: Iterable[Callable[..., Any]] | None = None,
        enable_async: bool = False,
        experimental_skip_slot_variables: bool = False,
        experimental_sharding_callback: Any = None,
    ) -> None:
        if experimental_sharding_callback is not None:
            raise ValueError(
                "experimental_sharding_callback is not supported: a tf.train.Checkpoint writes one data file\n"
                "hint: tf.train.Saver(sharded=True) writes one for each device"
            )
        callbacks = None if experimental_write_callbacks is None else list(experimental_write_callbacks)
        for callback in callbacks or ():
            if _count(callback) > 1:
                raise ValueError(f"a write callback takes the path, or nothing: {callback!r} takes more")
        self.experimental_io_device = experimental_io_device
        self.enable_async = self.experimental_enable_async_checkpoint = (
            experimental_enable_async_checkpoint or enable_async
        )
        self.experimental_write_callbacks = callbacks
        self.experimental_skip_slot_variables = experimental_skip_slot_variables
        self.experimental_sharding_callback = None

    def __copy__(self) -> CheckpointOptions:
        return CheckpointOptions(
            self.experimental_io_device, self.enable_async, self.experimental_write_callbacks,
            experimental_skip_slot_variables=self.experimental_skip_slot_variables,
        )  # fmt: skip


def written(options: CheckpointOptions | None, path: str) -> None:
    """Call what `options` wants to be called when `path` was written."""
    for callback in (options.experimental_write_callbacks if options is not None else None) or ():
        if _count(callback):
            callback(path)
        else:
            callback()


def _count(callback: Callable[..., Any]) -> int:
    return len(inspect.signature(callback).parameters)


__all__ = ["CheckpointOptions"]
