"""Layers made of layers: stacked, repeated."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from coldframe.tf1.contrib.framework.arg_scope import add_arg_scope
from coldframe.tf1.framework.convert import convert_to_tensor
from coldframe.tf1.variable_scope import variable_scope


def _called(layer: Any, otherwise: str) -> str:
    return str(getattr(layer, "__name__", None) or getattr(getattr(layer, "func", None), "__name__", otherwise))


@add_arg_scope
def repeat(inputs: Any, repetitions: int, layer: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Return what `layer` makes of `inputs`, applied several times, each time with variables of its own."""
    scope = kwargs.pop("scope", None)
    with variable_scope(scope, "Repeat", [inputs]):
        outputs = convert_to_tensor(inputs)
        scope = scope or _called(layer, "repeat")
        for i in range(repetitions):
            kwargs["scope"] = f"{scope}_{i + 1}"
            outputs = layer(outputs, *args, **kwargs)
        return outputs


@add_arg_scope
def stack(inputs: Any, layer: Callable[..., Any], stack_args: Sequence[Any], **kwargs: Any) -> Any:
    """Return what `layer` makes of `inputs`, applied once for each of `stack_args`, one after the other."""
    scope, reuse = kwargs.pop("scope", None), kwargs.pop("reuse", None)
    if not isinstance(stack_args, (list, tuple)):
        raise TypeError("stack_args need to be a list or tuple")
    with variable_scope(scope, "Stack", [inputs], reuse=reuse):
        outputs = convert_to_tensor(inputs)
        scope = scope or _called(layer, "stack")
        for i, given in enumerate(stack_args):
            kwargs["scope"] = f"{scope}_{i + 1}"
            outputs = layer(outputs, *(given if isinstance(given, (list, tuple)) else [given]), **kwargs)
        return outputs


__all__ = ["repeat", "stack"]
