"""`train_and_evaluate`: trains, and evaluates after checkpoints."""

from __future__ import annotations

import glob
import os
import shutil
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Self

from coldframe.tf1.estimator.estimator import Estimator
from coldframe.tf1.framework.keys import GraphKeys
from coldframe.tf1.platform import logging
from coldframe.tf1.summary.writer import summary_iterator
from coldframe.tf1.train.hook_timer import SecondOrStepTimer
from coldframe.tf1.train.saving_hooks import CheckpointSaverListener


class _Train(NamedTuple):
    input_fn: Callable[..., Any]
    max_steps: int | None
    hooks: tuple[Any, ...]
    saving_listeners: tuple[Any, ...]


class TrainSpec(_Train):
    """What to train with: the arguments of `Estimator.train`."""

    __slots__ = ()

    def __new__(
        cls, input_fn: Callable[..., Any], max_steps: int | None = None, hooks: Sequence[Any] | None = None,
        saving_listeners: Sequence[Any] | None = None,
    ) -> Self:  # fmt: skip
        if max_steps is not None and max_steps <= 0:
            raise ValueError(f"Must specify max_steps > 0, given: {max_steps}")
        return super().__new__(cls, _callable(input_fn), max_steps, tuple(hooks or ()), tuple(saving_listeners or ()))


class _Eval(NamedTuple):
    input_fn: Callable[..., Any]
    steps: int | None
    name: str | None
    hooks: tuple[Any, ...]
    exporters: tuple[Any, ...]
    start_delay_secs: float
    throttle_secs: float


class EvalSpec(_Eval):
    """What to evaluate with: the arguments of `Estimator.evaluate`, exporters, and how often.

    Args:
        throttle_secs: seconds that have to pass between evaluations; the last checkpoint is always evaluated.
        start_delay_secs: accepted for compatibility.
    """

    __slots__ = ()

    def __new__(
        cls, input_fn: Callable[..., Any], steps: int | None = 100, name: str | None = None,
        hooks: Sequence[Any] | None = None, exporters: Any = None, start_delay_secs: float = 120,
        throttle_secs: float = 600,
    ) -> Self:  # fmt: skip
        if steps is not None and steps <= 0:
            raise ValueError(f"Must specify steps > 0, given: {steps}")
        for what, number in (("start_delay_secs", start_delay_secs), ("throttle_secs", throttle_secs)):
            if number < 0:
                raise ValueError(f"Must specify {what} >= 0, given: {number}")
        chosen = tuple(exporters) if isinstance(exporters, (list, tuple)) else (exporters,) if exporters else ()
        return super().__new__(
            cls, _callable(input_fn), steps, name, tuple(hooks or ()), chosen, start_delay_secs, throttle_secs
        )


def _callable(input_fn: Any) -> Any:
    if not callable(input_fn):
        raise TypeError(f"`input_fn` must be a function, found {input_fn!r}")
    return input_fn


class Exporter:
    """Exports a model after evaluations; base class."""

    @property
    def name(self) -> str:
        """The name of its folder, below ``export``."""
        raise NotImplementedError

    def export(
        self, estimator: Estimator, export_path: str, checkpoint_path: str, eval_result: Any, is_the_final_export: bool
    ) -> Any:
        """Export, or return None."""
        raise NotImplementedError


class FinalExporter(Exporter):
    """Exports the model once, when the training has ended."""

    def __init__(
        self, name: str, serving_input_receiver_fn: Callable[[], Any], assets_extra: Any = None, as_text: bool = False
    ) -> None:
        self._name, self._receiver_fn, self._assets, self._as_text = (
            name, serving_input_receiver_fn, assets_extra, as_text
        )  # fmt: skip

    @property
    def name(self) -> str:
        return self._name

    def export(
        self, estimator: Estimator, export_path: str, checkpoint_path: str, eval_result: Any, is_the_final_export: bool
    ) -> Any:
        return self._export(estimator, export_path, checkpoint_path) if is_the_final_export else None

    def _export(self, estimator: Estimator, export_path: str, checkpoint_path: str) -> Any:
        return estimator.export_saved_model(
            export_path, self._receiver_fn, self._assets, self._as_text, checkpoint_path
        )


class LatestExporter(FinalExporter):
    """Exports the model after each evaluation, and keeps the last few exports (`exports_to_keep`; None: all)."""

    def __init__(
        self, name: str, serving_input_receiver_fn: Callable[[], Any], assets_extra: Any = None, as_text: bool = False,
        exports_to_keep: int | None = 5,
    ) -> None:  # fmt: skip
        super().__init__(name, serving_input_receiver_fn, assets_extra, as_text)
        if exports_to_keep is not None and exports_to_keep <= 0:
            raise ValueError("`exports_to_keep`, if provided, must be positive number")
        self._keep = exports_to_keep

    def export(
        self, estimator: Estimator, export_path: str, checkpoint_path: str, eval_result: Any, is_the_final_export: bool
    ) -> Any:
        made = self._export(estimator, export_path, checkpoint_path)
        self._delete_old(export_path)
        return made

    def _delete_old(self, export_path: str) -> None:
        exports = sorted((n for n in os.listdir(export_path) if n.isdigit()), key=int)
        for old in exports[: -self._keep] if self._keep else ():
            shutil.rmtree(os.path.join(export_path, old))


class BestExporter(LatestExporter):
    """Exports the model after each evaluation that is better than all before, and keeps the last few exports.

    Args:
        name, serving_input_receiver_fn, assets_extra, as_text, exports_to_keep: as for `LatestExporter`.
        event_file_pattern: a pattern of event files below the model's folder, such as ``eval/*.tfevents.*``, that have
            the evaluations of earlier trainings.
        compare_fn: called with ``best_eval_result`` and ``current_eval_result``; True where the current one is better.
            The smaller loss otherwise.
    """

    def __init__(
        self, name: str = "best_exporter", serving_input_receiver_fn: Any = None, event_file_pattern: str | None = None,
        compare_fn: Callable[..., bool] | None = None, assets_extra: Any = None, as_text: bool = False,
        exports_to_keep: int | None = 5,
    ) -> None:  # fmt: skip
        super().__init__(name, serving_input_receiver_fn, assets_extra, as_text, exports_to_keep)
        self._compare, self._pattern = compare_fn or _smaller_loss, event_file_pattern
        self._best: dict[str, Any] | None = None

    def export(
        self, estimator: Estimator, export_path: str, checkpoint_path: str, eval_result: Any, is_the_final_export: bool
    ) -> Any:
        if self._best is None and self._pattern:
            self._best = self._best_before(os.path.join(estimator.model_dir, self._pattern), eval_result)
        if self._best is not None and not self._compare(best_eval_result=self._best, current_eval_result=eval_result):
            return None
        self._best = eval_result
        return super().export(estimator, export_path, checkpoint_path, eval_result, is_the_final_export)

    def _best_before(self, pattern: str, now: dict[str, Any]) -> dict[str, Any] | None:
        """Return the best evaluation in event files, that of `now`, which is written already, left out."""
        best = None
        for path in sorted(glob.glob(pattern)):
            for event in summary_iterator(path):
                found = {v.tag: v.simple_value for v in event.summary.value if v.WhichOneof("value") == "simple_value"}
                if not found or event.step == now[GraphKeys.GLOBAL_STEP]:
                    continue
                if best is None or self._compare(best_eval_result=best, current_eval_result=found):
                    best = found
        return best


def _smaller_loss(best_eval_result: Any, current_eval_result: Any) -> bool:
    for result in (best_eval_result, current_eval_result):
        if not result or "loss" not in result:
            raise ValueError("an evaluation without `loss` cannot be compared; give BestExporter a compare_fn")
    return bool(best_eval_result["loss"] > current_eval_result["loss"])


class _Evaluations(CheckpointSaverListener):
    """Evaluates checkpoints while they are written: not more often than is asked for, and always the last."""

    def __init__(self, estimator: Estimator, spec: EvalSpec, last_step: int | None) -> None:
        self._estimator, self._spec, self._last_step = estimator, spec, last_step
        self._timer = SecondOrStepTimer(every_secs=spec.throttle_secs)
        self._first = True
        self.result: Any = None
        self.exports: list[Any] = []

    def begin(self) -> None:
        self._timer.reset()

    def after_save(self, session: Any, global_step_value: int) -> None:
        if self._first:  # the one at the start of the session was there before, or is of an untrained model
            self._first = False
            self._timer.update_last_triggered_step(global_step_value)
        elif self._timer.should_trigger_for_step(global_step_value):
            self._evaluate(global_step_value)
        else:
            logging.info("Skip the current checkpoint eval due to throttle secs (%s secs).", self._spec.throttle_secs)

    def end(self, session: Any, global_step_value: int) -> None:
        if global_step_value != self._timer.last_triggered_step() or self.result is None:
            self._evaluate(global_step_value, ended=True)

    def _evaluate(self, step: int, ended: bool = False) -> None:
        self._timer.update_last_triggered_step(step)
        spec, estimator = self._spec, self._estimator
        path = estimator.latest_checkpoint()
        if path is None:
            return
        self.result = estimator.evaluate(spec.input_fn, spec.steps, spec.hooks, path, spec.name)
        final = ended or (self._last_step is not None and step >= self._last_step)
        self.exports = [
            e.export(estimator, os.path.join(estimator.model_dir, "export", e.name), path, self.result, final)
            for e in spec.exporters
        ]


def train_and_evaluate(estimator: Estimator, train_spec: TrainSpec, eval_spec: EvalSpec) -> tuple[Any, list[Any]]:
    """Train, and evaluate checkpoints; return the last evaluation and what its exporters returned.

    Raises:
        TypeError: an argument is of another class.
    """
    for name, value, kind in (
        ("estimator", estimator, Estimator), ("train_spec", train_spec, TrainSpec), ("eval_spec", eval_spec, EvalSpec)
    ):  # fmt: skip
        if not isinstance(value, kind):
            raise TypeError(f"`{name}` must have type `tf.estimator.{kind.__name__}`, given {type(value)}")
    evaluations = _Evaluations(estimator, eval_spec, train_spec.max_steps)
    estimator.train(
        train_spec.input_fn, max_steps=train_spec.max_steps, hooks=train_spec.hooks,
        saving_listeners=[*train_spec.saving_listeners, evaluations],
    )  # fmt: skip
    return evaluations.result, evaluations.exports


__all__ = ["BestExporter", "EvalSpec", "Exporter", "FinalExporter", "LatestExporter", "TrainSpec", "train_and_evaluate"]
