"""Training and evaluation in turns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class TrainSpec:
    """What to train with, and until which step."""

    input_fn: Callable[..., Any]
    max_steps: int | None = None
    hooks: Any = None


@dataclass(frozen=True)
class EvalSpec:
    """What to evaluate with: batches (`steps`; all for None), a name, exporters to call with the results."""

    input_fn: Callable[..., Any]
    steps: int | None = 100
    name: str | None = None
    hooks: Any = None
    exporters: Any = None
    start_delay_secs: int = 120
    throttle_secs: int = 600


def train_and_evaluate(estimator: Any, train_spec: TrainSpec, eval_spec: EvalSpec) -> tuple[Any, None]:
    """Train up to `max_steps`, evaluate, and return the metrics.

    The model is evaluated once, after training: there is no process beside that could do so earlier.
    """
    estimator.train(train_spec.input_fn, hooks=train_spec.hooks, max_steps=train_spec.max_steps)
    results = estimator.evaluate(eval_spec.input_fn, steps=eval_spec.steps, hooks=eval_spec.hooks, name=eval_spec.name)
    return results, None


__all__ = ["EvalSpec", "TrainSpec", "train_and_evaluate"]
