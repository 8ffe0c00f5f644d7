"""`optimize_loss`: one step of training, with clipping, decay and summaries where asked for."""

from __future__ import annotations

import numbers
from collections.abc import Callable
from typing import Any, Final

from coldframe.errors import near_names
from coldframe.tf1.framework.build import raw
from coldframe.tf1.framework.convert import IndexedSlices, constant, convert_to_tensor
from coldframe.tf1.framework.graph import control_dependencies, get_default_graph
from coldframe.tf1.framework.keys import GraphKeys
from coldframe.tf1.init_ops import Constant
from coldframe.tf1.train.optimizer import Optimizer
from coldframe.tf1.train.training_util import get_global_step
from coldframe.tf1.variable_lists import trainable_variables
from coldframe.tf1.variable_scope import get_variable, variable_scope

OPTIMIZER_CLS_NAMES: Final = ("Adagrad", "Adam", "Ftrl", "Momentum", "RMSProp", "SGD")
OPTIMIZER_SUMMARIES: Final = ["learning_rate", "loss", "gradients", "gradient_norm", "global_gradient_norm"]


def optimize_loss(
    loss: Any, global_step: Any, learning_rate: Any, optimizer: Any, gradient_noise_scale: float | None = None,
    gradient_multipliers: Any = None, clip_gradients: Any = None, learning_rate_decay_fn: Any = None,
    update_ops: Any = None, variables: Any = None, name: str | None = None, summaries: Any = None,
    colocate_gradients_with_ops: bool = False, increment_global_step: bool = True,
) -> Any:  # fmt: skip
    """Return the loss, computed after a step of training.

    Args:
        global_step: the step counter; the graph's for None.
        learning_rate: a number or tensor, or None where the optimizer has one.
        optimizer: a name such as ``Adam``, a class, an optimizer, or a function of the learning rate (or of nothing).
        gradient_noise_scale: of normal noise to add to gradients.
        gradient_multipliers: factors of gradients, by variable or its name.
        clip_gradients: the greatest norm of all gradients, or a function of (gradient, variable) pairs.
        learning_rate_decay_fn: from learning rate and step to a learning rate.
        update_ops: what to run before the step; the collection ``UPDATE_OPS`` for None.
        variables: what to train; the trainable ones for None.
        summaries: which of ``learning_rate``, ``loss``, ``gradients``, ``gradient_norm``, ``global_gradient_norm``.

    Raises:
        ValueError: an argument is none of these, or no gradient reaches any variable.
    """
    from coldframe.tf1 import clip_ops, summary

    loss = convert_to_tensor(loss)
    step = get_global_step() if global_step is None else global_step
    with variable_scope(name, "OptimizeLoss", [loss, step]):
        updates = set(get_default_graph().get_collection(GraphKeys.UPDATE_OPS) if update_ops is None else update_ops)
        if updates:
            with control_dependencies(list(updates)):
                loss = raw.Identity(loss)
        rate = _learning_rate(learning_rate)
        shown = ["loss", "learning_rate", "global_gradient_norm"] if summaries is None else list(summaries)
        for item in shown:
            if item not in OPTIMIZER_SUMMARIES:
                raise ValueError(f"Summaries should be one of [{', '.join(OPTIMIZER_SUMMARIES)}], you provided {item}.")
        if learning_rate is not None and learning_rate_decay_fn is not None:
            if step is None:
                raise ValueError("global_step is required for learning_rate_decay_fn.")
            rate = learning_rate_decay_fn(rate, step)
        if rate is not None and "learning_rate" in shown:
            summary.scalar("learning_rate", rate)
        opt = _optimizer(optimizer, rate)
        pairs = opt.compute_gradients(loss, trainable_variables() if variables is None else variables)
        if gradient_noise_scale is not None:
            pairs = [(_noisy(g, gradient_noise_scale), v) for g, v in pairs]
        if gradient_multipliers is not None:
            pairs = [(_multiplied(g, gradient_multipliers, v), v) for g, v in pairs]
        if "global_gradient_norm" in shown or "gradient_norm" in shown:
            summary.scalar("global_norm/gradient_norm", clip_ops.global_norm([g for g, _ in pairs]))
        pairs = _clipped(pairs, clip_gradients)
        if "loss" in shown:
            summary.scalar("loss", loss)
        _show_gradients(pairs, shown)
        train = opt.apply_gradients(pairs, global_step=step if increment_global_step else None, name="train")
        with control_dependencies([train]):
            return raw.Identity(loss)


def _learning_rate(given: Any) -> Any:
    if given is None:
        return None
    if hasattr(given, "op") and given.shape.ndims == 0:
        return given
    if isinstance(given, numbers.Real):
        if given < 0.0:
            raise ValueError(f"Invalid learning_rate {given}.")
        return get_variable("learning_rate", [], trainable=False, initializer=Constant(float(given)))
    raise ValueError(f"Learning rate should be 0d Tensor or float. Got {given!r}")


def _named_optimizer(name: str) -> Callable[..., Any]:
    from coldframe.tf1 import train

    if name not in OPTIMIZER_CLS_NAMES:
        hint = near_names(name, list(OPTIMIZER_CLS_NAMES))
        raise ValueError(f"Optimizer name should be one of [{', '.join(OPTIMIZER_CLS_NAMES)}], you provided {name}."
                         + (f"\nhint: {hint}" if hint else ""))  # fmt: skip
    if name == "Momentum":
        return lambda learning_rate: train.MomentumOptimizer(learning_rate, momentum=0.9)
    made: Callable[..., Any] = getattr(train, f"{'GradientDescent' if name == 'SGD' else name}Optimizer")
    return made


def _optimizer(given: Any, rate: Any) -> Any:
    if isinstance(given, Optimizer):
        return given
    if isinstance(given, str):
        given = _named_optimizer(given)
        if rate is None:
            raise ValueError("Learning rate is None, but should be specified if optimizer is a name.")
    if not callable(given):
        raise ValueError(  # noqa: TRY004 - as TensorFlow
            "Unrecognized optimizer: should be string, subclass of Optimizer, instance of subclass of Optimizer or "
            f"function with one argument. Got {given!r}."
        )
    made = given(rate) if rate is not None else given()
    if not isinstance(made, Optimizer):
        raise ValueError(f"Unrecognized optimizer: function should return subclass of Optimizer. Got {made!r}.")  # noqa: TRY004 - as TensorFlow
    return made


def _noisy(gradient: Any, scale: float) -> Any:
    from coldframe.tf1.random_ops import truncated_normal
    from coldframe.tf1.shape_ops import shape

    if gradient is None:
        return None
    values = gradient.values if isinstance(gradient, IndexedSlices) else gradient
    noisy = values + truncated_normal(shape(values)) * scale
    if isinstance(gradient, IndexedSlices):
        return IndexedSlices(noisy, gradient.indices, gradient.dense_shape)
    return noisy


def _multiplied(gradient: Any, factors: Any, variable: Any) -> Any:
    factor = next((f for key, f in factors.items() if key is variable or key == variable.op.name), None)
    if gradient is None or factor is None:
        return gradient
    if isinstance(gradient, IndexedSlices):
        return IndexedSlices(gradient.values * constant(factor, gradient.dtype), gradient.indices, gradient.dense_shape)
    return gradient * constant(factor, gradient.dtype)


def _clipped(pairs: list[Any], given: Any) -> list[Any]:
    from coldframe.tf1.clip_ops import clip_by_global_norm

    if given is None:
        return pairs
    if isinstance(given, numbers.Real):
        clipped, _ = clip_by_global_norm([g for g, _ in pairs], given)
        return list(zip(clipped, [v for _, v in pairs], strict=True))
    if callable(given):
        return given(pairs)  # type: ignore[no-any-return]
    raise ValueError(f"Unknown type {type(given).__name__} for clip_gradients")


def _show_gradients(pairs: list[Any], shown: list[str]) -> None:
    from coldframe.tf1 import clip_ops, summary

    for gradient, variable in pairs:
        values = gradient.values if isinstance(gradient, IndexedSlices) else gradient
        if values is None:
            continue
        name = variable.name.replace(":", "_")
        if "gradients" in shown:
            summary.histogram(f"gradients/{name}", values)
        if "gradient_norm" in shown:
            summary.scalar(f"gradient_norm/{name}", clip_ops.global_norm([values]))


__all__ = ["OPTIMIZER_CLS_NAMES", "OPTIMIZER_SUMMARIES", "optimize_loss"]
