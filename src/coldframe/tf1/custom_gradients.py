"""Functions that bring their own gradient: `tf.custom_gradient`, `tf.grad_pass_through`, `tf.recompute_grad`."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from typing import Any, Final

from coldframe.tf1.framework import nest
from coldframe.tf1.framework.build import raw_op
from coldframe.tf1.framework.convert import convert_to_tensor
from coldframe.tf1.framework.graph import get_default_graph
from coldframe.tf1.gradients import RegisterGradient
from coldframe.tf1.shape_ops import identity
from coldframe.tf1.variable_lists import global_variables

_NUMBERS: Final = itertools.count()  # of the gradients that have been registered, which live as long as the process


def custom_gradient(f: Callable[..., Any]) -> Callable[..., Any]:
    """Let a function say what its gradient is.

    Args:
        f: takes tensors, and returns its results and a function from their gradients to those of the tensors. It must
            not make variables.

    Returns:
        The function that takes the same tensors, and returns the results alone.
    """

    @functools.wraps(f)
    def decorated(*args: Any, **kwargs: Any) -> Any:
        if kwargs:
            raise ValueError("The custom_gradient decorator currently supports keywords arguments only when eager "
                             "execution is enabled.")  # fmt: skip
        graph = get_default_graph()
        given = nest.map_structure(lambda a: identity(convert_to_tensor(a)), list(args))
        before = len(global_variables())
        results, rule = f(*given)
        if len(global_variables()) > before:
            raise TypeError(f"{f} made variables: a function with a custom gradient may use those that exist only")
        flat = [convert_to_tensor(r) for r in nest.flatten(results)]
        inputs = nest.flatten(given)
        name = f"CustomGradient-{next(_NUMBERS)}"

        @RegisterGradient(name)
        def gradient(op: Any, *grads: Any) -> list[Any]:
            made = nest.flatten(rule(*grads[: len(flat)]))
            if len(made) != len(inputs):
                raise ValueError(f"custom_gradient function expected to return {len(inputs)} gradients, but "
                                 f"returned {len(made)} instead.")  # fmt: skip
            return [None] * len(flat) + made

        with graph.gradient_override_map({"IdentityN": name}):
            out = raw_op("IdentityN", [[*flat, *inputs]], {}, None)
        return nest.pack_sequence_as(results, list(out[: len(flat)]))

    return decorated


def grad_pass_through(f: Callable[..., Any]) -> Callable[..., Any]:
    """Let the gradient of a function's result be that of its argument, as if it were the identity."""

    def passing(*args: Any) -> Any:
        return custom_gradient(lambda *given: (f(*given), lambda *grads: list(grads)))(*args)

    return functools.wraps(f)(passing)


def recompute_grad(f: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function as it is: its gradient is the same, and intermediate results are kept."""
    return f


__all__ = ["custom_gradient", "grad_pass_through", "recompute_grad"]
