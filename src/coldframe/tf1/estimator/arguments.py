"""What estimators are given: functions, hooks, predictions."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from coldframe.tf1.train.session_run_hook import SessionRunContext, SessionRunHook, SessionRunValues

_MODEL_FN_ARGS: Final = {"features", "labels", "mode", "params", "config", "self"}


def parameters_of(function: Callable[..., Any]) -> set[str]:
    """Return the names of the parameters of a function."""
    return set(inspect.signature(function).parameters)


def check_model_fn(model_fn: Callable[..., Any], params: Any) -> None:
    """Raise `ValueError` unless a model function has the parameters that it is called with."""
    if model_fn is None:
        raise ValueError("model_fn must be provided to Estimator.")
    names = parameters_of(model_fn)
    if "features" not in names:
        raise ValueError(f"model_fn ({model_fn}) must include features argument.")
    if params is not None and "params" not in names:
        raise ValueError(
            f"model_fn ({model_fn}) does not include params argument, but params ({params}) is passed to Estimator."
        )
    if names - _MODEL_FN_ARGS:
        raise ValueError(f"model_fn ({model_fn}) has following not expected args: {sorted(names - _MODEL_FN_ARGS)}")


def checked_hooks(hooks: Iterable[Any] | None) -> list[SessionRunHook]:
    """Return hooks in a new list; `TypeError` if one is none."""
    chosen = list(hooks or ())
    for hook in chosen:
        if not isinstance(hook, SessionRunHook):
            raise TypeError(f"Hooks must be a SessionRunHook, given: {hook}")
    return chosen


def chosen_predictions(predictions: Any, keys: Any) -> Any:
    """Return the predictions of these names; all if there are no names."""
    if not keys:
        return predictions
    if not isinstance(predictions, Mapping):
        raise ValueError("predict_keys argument is not valid in case of non-dict predictions.")  # noqa: TRY004
    wanted = [keys] if isinstance(keys, str) else list(keys)
    chosen = {k: v for k, v in predictions.items() if k in wanted}
    if not chosen:
        raise ValueError(f"Expected to run at least one output from {list(predictions)}, provided {wanted}.")
    return chosen


def rows_of(batch: Any) -> Iterator[Any]:
    """Yield the rows of a batch of predictions."""
    if not isinstance(batch, Mapping):
        yield from batch
        return
    lengths = {k: len(v) for k, v in batch.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"Batch length of predictions should be same: {lengths}")
    for i in range(next(iter(lengths.values()), 0)):
        yield {k: v[i] for k, v in batch.items()}


class InitializerHook(SessionRunHook):
    """Starts the iterator over the input in each session."""

    def __init__(self, initializer: Any) -> None:
        self._initializer = initializer

    def after_create_session(self, session: Any, coord: Any) -> None:
        session.run(self._initializer)


class StopAfterHook(SessionRunHook):
    """Ends an evaluation after so many batches."""

    def __init__(self, batches: int) -> None:
        self._left = batches

    def after_run(self, run_context: SessionRunContext, run_values: SessionRunValues) -> None:
        self._left -= 1
        if self._left <= 0:
            run_context.request_stop()
