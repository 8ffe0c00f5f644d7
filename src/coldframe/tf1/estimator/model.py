"""What a model function gets and gives: modes, the configuration, `EstimatorSpec`."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Final


class ModeKeys:
    """What a model function builds a graph for."""

    TRAIN: Final = "train"
    EVAL: Final = "eval"
    PREDICT: Final = "infer"


@dataclass(frozen=True)
class EstimatorSpec:
    """What a model function builds.

    Attributes:
        mode: a `ModeKeys`.
        predictions: a tensor, or tensors by name; needed to predict.
        loss: a scalar; needed to train and evaluate.
        train_op: needed to train.
        eval_metric_ops: (value, update) by name.
        export_outputs: `tf.estimator.export` outputs by signature name.
        training_chief_hooks, training_hooks, evaluation_hooks, prediction_hooks: of the sessions.
        scaffold: savers and initialisers that differ from the default.
    """

    mode: str
    predictions: Any = None
    loss: Any = None
    train_op: Any = None
    eval_metric_ops: Any = None
    export_outputs: Any = None
    training_chief_hooks: Any = None
    training_hooks: Any = None
    scaffold: Any = None
    evaluation_hooks: Any = None
    prediction_hooks: Any = None

    def __post_init__(self) -> None:
        missing = {
            ModeKeys.TRAIN: {"loss": self.loss, "train_op": self.train_op}, ModeKeys.EVAL: {"loss": self.loss},
            ModeKeys.PREDICT: {"predictions": self.predictions},
        }  # fmt: skip
        if self.mode not in missing:
            raise ValueError(f"Unknown mode {self.mode!r}; it is one of {', '.join(missing)}.")
        for name, value in missing[self.mode].items():
            if value is None:
                raise ValueError(f"Missing {name}: mode {self.mode!r} needs it.")
        if self.loss is not None and (self.loss.shape.num_elements() or 1) != 1:
            raise ValueError(f"Loss must be scalar, given: {self.loss}")


@dataclass(frozen=True)
class RunConfig:
    """How an estimator runs.

    Attributes:
        model_dir: where checkpoints and summaries go.
        tf_random_seed: of the graphs.
        save_summary_steps, save_checkpoints_steps, save_checkpoints_secs: how often to write; at most one of the last
            two (600 seconds by default).
        keep_checkpoint_max, keep_checkpoint_every_n_hours: which checkpoints stay.
        log_step_count_steps: how often to log the speed.
        session_config: accepted for compatibility.
    """

    model_dir: str | None = None
    tf_random_seed: int | None = None
    save_summary_steps: int | None = 100
    save_checkpoints_steps: int | None = None
    save_checkpoints_secs: int | None = None
    session_config: Any = None
    keep_checkpoint_max: int | None = 5
    keep_checkpoint_every_n_hours: float = 10000
    log_step_count_steps: int | None = 100
    train_distribute: Any = None
    device_fn: Any = None
    is_chief: bool = field(default=True, init=False)
    task_type: str = field(default="worker", init=False)
    task_id: int = field(default=0, init=False)
    master: str = field(default="", init=False)

    def __post_init__(self) -> None:
        if self.save_checkpoints_steps is not None and self.save_checkpoints_secs is not None:
            raise ValueError("Can not provide both save_checkpoints_steps and save_checkpoints_secs.")
        if self.train_distribute is not None:
            raise ValueError("train_distribute: coldframe.tf1 runs in one process; leave it out.")

    def replace(self, **changes: Any) -> RunConfig:
        """Return a copy with some settings changed."""
        return replace(self, **changes)


__all__ = ["EstimatorSpec", "ModeKeys", "RunConfig"]
