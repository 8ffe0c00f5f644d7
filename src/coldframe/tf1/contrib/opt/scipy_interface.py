"""Minimising with an optimizer outside of the graph, such as scipy's L-BFGS: loss and gradients are run for it."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

import coldframe.tf1 as tf


class ExternalOptimizerInterface:
    """Base of optimizers that see variables as one vector.

    Args:
        loss: the scalar to minimise.
        var_list: the variables; the trainable ones otherwise.
        equalities, inequalities: tensors that are to be 0, or not negative, if the optimizer can see to that.
        var_to_bounds: for variables: the least and the greatest values, each a number or an array.
        **optimizer_kwargs: for the optimizer.
    """

    def __init__(
        self, loss: Any, var_list: Any = None, equalities: Any = None, inequalities: Any = None,
        var_to_bounds: Any = None, **optimizer_kwargs: Any,
    ) -> None:  # fmt: skip
        self._loss = loss
        self._vars = list(tf.trainable_variables() if var_list is None else var_list)
        self._equalities, self._inequalities = list(equalities or ()), list(inequalities or ())
        self.optimizer_kwargs = optimizer_kwargs
        self._packed_bounds = None if var_to_bounds is None else self._bounds(dict(var_to_bounds))
        self._shapes = [tuple(v.shape.as_list()) for v in self._vars]
        sizes = [int(np.prod(s)) for s in self._shapes]
        self._cuts = np.cumsum(sizes)[:-1]
        self._fed = [tf.placeholder(v.dtype.base_dtype, v.shape) for v in self._vars]
        self._assigns = [v.assign(p) for v, p in zip(self._vars, self._fed, strict=True)]
        self._packed_var = self._pack(self._vars)
        self._packed_loss_grad = self._packed_grad(loss)
        self._packed_equality_grads = [self._packed_grad(e) for e in self._equalities]
        self._packed_inequality_grads = [self._packed_grad(e) for e in self._inequalities]

    def minimize(
        self, session: Any = None, feed_dict: Any = None, fetches: Any = None,
        step_callback: Callable[[Any], Any] | None = None, loss_callback: Callable[..., Any] | None = None,
        **run_kwargs: Any,
    ) -> None:  # fmt: skip
        """Minimise the loss; the variables have the values that the optimizer looks at.

        Args:
            session: the session that has the variables; the default one otherwise.
            feed_dict: for all runs.
            fetches: what `loss_callback` gets beside the loss.
            step_callback: called after each step of the optimizer, with the vector of all variables.
            loss_callback: called with the loss (and `fetches`) each time it is computed.
        """
        session = session or tf.get_default_session()
        feed_dict, extra = dict(feed_dict or {}), list(fetches or ())
        told = loss_callback or (lambda *_: None)

        def run(tensors: Sequence[Any], packed: Any, more: Sequence[Any] = ()) -> list[Any]:
            session.run(self._assigns, self._feeds(packed))
            values: list[Any] = session.run([*tensors, *more], feed_dict)
            return values

        def loss_grad(packed: Any) -> tuple[Any, Any]:
            loss, grad, *rest = run([self._loss, self._packed_loss_grad], packed, extra)
            told(loss, *rest)
            return loss, grad

        def first(tensor: Any, packed: Any) -> Any:
            return run([tensor], packed)[0]

        def functions(tensors: Sequence[Any]) -> list[Callable[[Any], Any]]:
            return [functools.partial(first, t) for t in tensors]

        found = self._minimize(
            initial_val=session.run(self._packed_var), loss_grad_func=loss_grad,
            equality_funcs=functions(self._equalities), equality_grad_funcs=functions(self._packed_equality_grads),
            inequality_funcs=functions(self._inequalities),
            inequality_grad_funcs=functions(self._packed_inequality_grads),
            packed_bounds=self._packed_bounds, step_callback=step_callback, optimizer_kwargs=self.optimizer_kwargs,
        )  # fmt: skip
        session.run(self._assigns, self._feeds(found), **run_kwargs)

    def _minimize(self, **kwargs: Any) -> Any:
        """Return the vector that minimises the loss."""
        raise NotImplementedError("To use ExternalOptimizerInterface, subclass from it and implement _minimize().")

    def _feeds(self, packed: Any) -> dict[Any, Any]:
        return dict(zip(self._fed, self._unpack(packed), strict=True))

    def _bounds(self, given: dict[Any, Any]) -> list[tuple[float, float]]:
        free = (-np.inf, np.inf)
        packed: list[tuple[float, float]] = []
        for v in self._vars:
            low, high = (np.broadcast_to(b, v.shape.as_list()).reshape(-1) for b in given.get(v, free))
            packed += zip(low.tolist(), high.tolist(), strict=True)
        return packed

    def _packed_grad(self, loss: Any) -> Any:
        grads = tf.gradients(loss, self._vars)
        return self._pack([tf.zeros_like(v) if g is None else g for g, v in zip(grads, self._vars, strict=True)])

    def _pack(self, tensors: Sequence[Any]) -> Any:
        flat = [tf.reshape(tf.convert_to_tensor(t), [-1]) for t in tensors]
        return flat[0] if len(flat) == 1 else tf.concat(flat, 0)

    def _unpack(self, packed: Any) -> list[Any]:
        parts = np.split(np.asarray(packed), self._cuts)
        return [p.reshape(s) for p, s in zip(parts, self._shapes, strict=True)]


class ScipyOptimizerInterface(ExternalOptimizerInterface):
    """Minimises with `scipy.optimize.minimize`: L-BFGS-B, or SLSQP where there are constraints.

    Args:
        method: of scipy; further arguments are passed on.
    """

    _DEFAULT_METHOD = "L-BFGS-B"

    def _minimize(self, **given: Any) -> Any:
        try:
            scipy_optimize = importlib.import_module("scipy.optimize")
        except ImportError as e:
            raise ImportError("ScipyOptimizerInterface needs scipy: pip install scipy") from e
        constraints = [
            {"type": kind, "fun": f, "jac": g}
            for kind, name in (("eq", "equality"), ("ineq", "inequality"))
            for f, g in zip(given[f"{name}_funcs"], given[f"{name}_grad_funcs"], strict=True)
        ]
        options = dict(given["optimizer_kwargs"])
        method = options.pop("method", "SLSQP" if constraints else self._DEFAULT_METHOD)
        options.setdefault("options", {})
        result = scipy_optimize.minimize(
            lambda x: tuple(np.asarray(p, np.float64) for p in given["loss_grad_func"](x)), given["initial_val"],
            jac=True, method=method, bounds=given["packed_bounds"], constraints=constraints,
            callback=given["step_callback"], **options,
        )  # fmt: skip
        return result["x"]


__all__ = ["ExternalOptimizerInterface", "ScipyOptimizerInterface"]
