"""What a model function returns: `EstimatorSpec`, checked for the mode it was called in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple, Self

from coldframe.tf1.array_ops import reshape
from coldframe.tf1.estimator.export import ExportOutput, PredictOutput
from coldframe.tf1.framework.graph import get_default_graph
from coldframe.tf1.framework.tensor import Operation, Tensor
from coldframe.tf1.saved_model.names import DEFAULT_SERVING_SIGNATURE_DEF_KEY
from coldframe.tf1.train.scaffold import Scaffold
from coldframe.tf1.train.session_run_hook import SessionRunHook


class ModeKeys:
    """The modes that a model function is called in."""

    TRAIN: Final = "train"
    EVAL: Final = "eval"
    PREDICT: Final = "infer"


class _Fields(NamedTuple):
    mode: str
    predictions: Any
    loss: Any
    train_op: Any
    eval_metric_ops: dict[str, Any]
    export_outputs: dict[str, ExportOutput] | None
    training_chief_hooks: tuple[SessionRunHook, ...]
    training_hooks: tuple[SessionRunHook, ...]
    scaffold: Scaffold
    evaluation_hooks: tuple[SessionRunHook, ...]
    prediction_hooks: tuple[SessionRunHook, ...]


class EstimatorSpec(_Fields):
    """The operations that a model function built.

    Args:
        mode: one of `ModeKeys`.
        predictions: a tensor, or tensors by name; needed to predict.
        loss: a scalar; needed to train and to evaluate.
        train_op: the operation of a training step; needed to train.
        eval_metric_ops: pairs (value, update) as `tf.metrics` gives them, by name.
        export_outputs: `tf.estimator.export.ExportOutput`s by signature; the predictions otherwise.
        training_chief_hooks, training_hooks, evaluation_hooks, prediction_hooks: hooks for each mode.
        scaffold: a `tf.train.Scaffold`.

    Raises:
        ValueError: something needed is missing, the loss is no scalar, or a tensor is of another graph.
        TypeError: something is of the wrong type.
    """

    __slots__ = ()

    def __new__(
        cls, mode: str, predictions: Any = None, loss: Any = None, train_op: Any = None, eval_metric_ops: Any = None,
        export_outputs: Any = None, training_chief_hooks: Any = None, training_hooks: Any = None, scaffold: Any = None,
        evaluation_hooks: Any = None, prediction_hooks: Any = None,
    ) -> Self:  # fmt: skip
        if mode not in (ModeKeys.TRAIN, ModeKeys.EVAL, ModeKeys.PREDICT):
            raise ValueError(f"Invalid mode key {mode}: expected one of ModeKeys")
        given = predictions
        if predictions is None:
            if mode == ModeKeys.PREDICT:
                raise ValueError("Missing predictions.")
            given = {}
        if train_op is None and mode == ModeKeys.TRAIN:
            raise ValueError("Missing train_op.")
        checked_loss = _loss(loss, mode)
        metrics = _metrics(eval_metric_ops)
        outputs = _outputs(export_outputs, given) if mode == ModeKeys.PREDICT else None
        if scaffold is not None and not isinstance(scaffold, Scaffold):
            raise TypeError(f"scaffold must be tf.train.Scaffold. Given: {scaffold}")
        _of_this_graph("prediction", given.values() if isinstance(given, Mapping) else [given])
        _of_this_graph("loss", [checked_loss])
        _of_this_graph("train_op", [train_op])
        _of_this_graph("eval_metric_ops", (part for pair in metrics.values() for part in pair))
        hooks = [_hooks(h) for h in (training_chief_hooks, training_hooks, evaluation_hooks, prediction_hooks)]
        return super().__new__(
            cls, mode, given, checked_loss, train_op, metrics, outputs, hooks[0], hooks[1], scaffold or Scaffold(),
            hooks[2], hooks[3],
        )  # fmt: skip


def _loss(loss: Any, mode: str) -> Any:
    if loss is None:
        if mode in (ModeKeys.TRAIN, ModeKeys.EVAL):
            raise ValueError("Missing loss.")
        return None
    shape = loss.get_shape()
    if shape.num_elements() not in (None, 1):
        raise ValueError(f"Loss must be scalar, given: {loss}")
    return reshape(loss, []) if shape.ndims not in (None, 0) else loss


def _metrics(given: Any) -> dict[str, Any]:
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise TypeError(f"eval_metric_ops must be a dict, given: {given}")
    for key, pair in given.items():
        if not isinstance(pair, tuple) or len(pair) != 2:
            raise TypeError(
                f"Values of eval_metric_ops must be (metric_value, update_op) tuples, given: {pair} for key: {key}"
            )
    return dict(given)


def _outputs(given: Any, predictions: Any) -> dict[str, ExportOutput]:
    key = DEFAULT_SERVING_SIGNATURE_DEF_KEY
    if given is None:
        return {key: PredictOutput(predictions)}
    if not isinstance(given, Mapping):
        raise TypeError(f"`export_outputs` must be dict, given: {given}")
    for value in given.values():
        if not isinstance(value, ExportOutput):
            raise TypeError(f"Values in `export_outputs` must be ExportOutput objects. Given: {given}")
    outputs = dict(given)
    if len(outputs) == 1 and key not in outputs:
        outputs[key] = next(iter(outputs.values()))
    if key not in outputs:
        raise ValueError(
            "Multiple `export_outputs` were provided, but none of them is specified as the default.\n"
            f"hint: call one of them tf.saved_model.signature_constants.DEFAULT_SERVING_SIGNATURE_DEF_KEY ({key!r})"
        )
    return outputs


def _hooks(given: Iterable[Any] | None) -> tuple[SessionRunHook, ...]:
    hooks = tuple(given or ())
    for hook in hooks:
        if not isinstance(hook, SessionRunHook):
            raise TypeError(f"All hooks must be SessionRunHook instances, given: {hook}")
    return hooks


def _of_this_graph(what: str, items: Iterable[Any]) -> None:
    graph = get_default_graph()
    for item in items:
        if isinstance(item, (Tensor, Operation)) and item.graph is not graph:
            raise ValueError(
                f"{what} with `{item.name}` must be from the default graph.\n"
                "hint: build everything inside the model function; do not use tensors from outside"
            )


__all__ = ["EstimatorSpec", "ModeKeys"]
