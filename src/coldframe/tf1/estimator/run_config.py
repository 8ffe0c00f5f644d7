"""`RunConfig`: where an estimator keeps its model, and how often it writes."""

from __future__ import annotations

import dataclasses
import os
from typing import Any, Final

from coldframe.records import dataclass

_UNSET: Final = object()
_POSITIVE: Final = (
    "save_summary_steps", "save_checkpoints_steps", "save_checkpoints_secs", "keep_checkpoint_max",
    "log_step_count_steps",
)  # fmt: skip


@dataclass(frozen=True)
class RunConfig:
    """How an estimator runs.

    Args:
        model_dir: the folder of checkpoints and events.
        tf_random_seed: the seed of the graphs.
        save_summary_steps: how often to write summaries.
        save_checkpoints_steps, save_checkpoints_secs: how often to write checkpoints, every 600 seconds unless one is
            given; both None: never.
        session_config: the ``ConfigProto`` of sessions.
        keep_checkpoint_max, keep_checkpoint_every_n_hours: as for `tf.train.Saver`.
        log_step_count_steps: how often to log the loss and the steps per second.
        device_fn: as `tf.device` takes it.
        train_distribute, eval_distribute, experimental_distribute, protocol, experimental_max_worker_delay_secs,
            session_creation_timeout_secs: accepted for compatibility where they are None.

    Raises:
        ValueError: a number is not positive, or both ways to say how often are given.
    """

    model_dir: Any = None
    tf_random_seed: int | None = None
    save_summary_steps: int | None = 100
    save_checkpoints_steps: Any = _UNSET
    save_checkpoints_secs: Any = _UNSET
    session_config: Any = None
    keep_checkpoint_max: int | None = 5
    keep_checkpoint_every_n_hours: float = 10000
    log_step_count_steps: int | None = 100
    train_distribute: Any = None
    device_fn: Any = None
    protocol: Any = None
    eval_distribute: Any = None
    experimental_distribute: Any = None
    experimental_max_worker_delay_secs: Any = None
    session_creation_timeout_secs: float = 7200

    master: str = dataclasses.field(default="", init=False)
    evaluation_master: str = dataclasses.field(default="", init=False)
    is_chief: bool = dataclasses.field(default=True, init=False)
    task_type: str = dataclasses.field(default="worker", init=False)
    task_id: int = dataclasses.field(default=0, init=False)
    global_id_in_cluster: int = dataclasses.field(default=0, init=False)
    num_ps_replicas: int = dataclasses.field(default=0, init=False)
    num_worker_replicas: int = dataclasses.field(default=1, init=False)

    def __post_init__(self) -> None:
        steps, secs = self.save_checkpoints_steps, self.save_checkpoints_secs
        if steps is _UNSET and secs is _UNSET:
            steps, secs = None, 600
        steps, secs = (None if v is _UNSET else v for v in (steps, secs))
        if steps is not None and secs is not None:
            raise ValueError("`save_checkpoints_steps` and `save_checkpoints_secs` cannot be both set.")
        object.__setattr__(self, "save_checkpoints_steps", steps)
        object.__setattr__(self, "save_checkpoints_secs", secs)
        if self.model_dir is not None:
            object.__setattr__(self, "model_dir", os.fspath(self.model_dir))
            if not self.model_dir:
                raise ValueError("model_dir should be non-empty")
        for name in _POSITIVE:
            value = getattr(self, name)
            if value is not None and value < 0:
                raise ValueError(f"{name} should be >= 0")
        if self.train_distribute or self.eval_distribute or self.experimental_distribute:
            raise ValueError("coldframe.tf1 runs in one process: leave the distribution strategies out")

    def replace(self, **kwargs: Any) -> RunConfig:
        """Return a copy with other values.

        Raises:
            ValueError: a name is not of a value that can be replaced.
        """
        known = {f.name for f in dataclasses.fields(self) if f.init}
        unknown = set(kwargs) - known
        if unknown:
            raise ValueError(f"Replacing {sorted(unknown)} is not supported. Allowed properties are {sorted(known)}.")
        if kwargs.get("save_checkpoints_steps") is not None:
            kwargs.setdefault("save_checkpoints_secs", None)
        if kwargs.get("save_checkpoints_secs") is not None:
            kwargs.setdefault("save_checkpoints_steps", None)
        return dataclasses.replace(self, **kwargs)


__all__ = ["RunConfig"]
