"""Weights of losses and metrics: one, or one per element, or along axes of size 1.

Whether weights fit is checked while the graph is built where the shapes are known, else when it runs.
"""

from __future__ import annotations

from typing import Any

from coldframe.tf1.array_ops import concat, expand_dims, ones_like, rank, shape, size
from coldframe.tf1.check_ops import Assert
from coldframe.tf1.control_flow import cond
from coldframe.tf1.dependencies import no_op
from coldframe.tf1.framework.build import raw
from coldframe.tf1.framework.convert import constant_value, convert_to_tensor
from coldframe.tf1.framework.graph import control_dependencies, name_scope
from coldframe.tf1.sets import set_difference

_REFUSED = "weights can not be broadcast to values."


def _measured(x: Any, name: str) -> tuple[Any, Any, Any]:
    with name_scope(None, name, [x]) as scope:
        tensor = convert_to_tensor(x, name=scope)
        return tensor, shape(tensor, name="shape"), rank(tensor, name="rank")


def assert_broadcastable(weights: Any, values: Any) -> Any:
    """Return an operation that fails unless `weights` is a scalar or has, in each dimension, 1 or the size of `values`.

    Raises:
        ValueError: that is known already.
    """
    with name_scope(None, "assert_broadcastable", [weights, values]) as scope:
        weights, w_shape, w_rank = _measured(weights, "weights")
        values, v_shape, v_rank = _measured(values, "values")
        known_w, known_v = weights.static_shape.rank, values.static_shape.rank
        if known_w is not None and known_v is not None:
            if known_w == 0:
                return no_op(name="static_scalar_check_success")
            if known_w != known_v:
                raise ValueError(
                    f"{_REFUSED} values.rank={known_v}. weights.rank={known_w}. values.shape={values.shape}. "
                    f"weights.shape={weights.shape}."
                )
            if constant_value(w_shape) is not None and constant_value(v_shape) is not None:
                _check_dims(weights, values)
                return no_op(name="static_dims_check_success")
        is_scalar = raw.Equal(0, w_rank, name="is_scalar")
        data = [_REFUSED, "weights.shape=", weights.name, w_shape, "values.shape=", values.name, v_shape,
                "is_scalar=", is_scalar]  # fmt: skip
        valid = cond(
            is_scalar, lambda: is_scalar, lambda: _valid(w_rank, w_shape, v_rank, v_shape), name="is_valid_shape"
        )
        return Assert(valid, data, name=scope)


def _check_dims(weights: Any, values: Any) -> None:
    for i, (w, v) in enumerate(zip(weights.shape.as_list(), values.shape.as_list(), strict=True)):
        if w not in (1, v):
            raise ValueError(
                f"{_REFUSED} Mismatch at dim {i}. values.shape={values.shape} weights.shape={weights.shape}."
            )


def _valid(w_rank: Any, w_shape: Any, v_rank: Any, v_shape: Any) -> Any:
    with name_scope(None, "has_valid_nonscalar_shape", [w_rank, w_shape, v_rank, v_shape]) as scope:
        same = raw.Equal(v_rank, w_rank, name="is_same_rank")
        return cond(same, lambda: _valid_dims(w_shape, v_shape), lambda: same, name=scope)


def _valid_dims(w_shape: Any, v_shape: Any) -> Any:
    with name_scope(None, "has_invalid_dims", [w_shape, v_shape]) as scope:
        column = expand_dims(v_shape, -1)
        valid = concat([column, ones_like(column)], axis=1)
        invalid = set_difference(expand_dims(w_shape, -1), valid)
        return raw.Equal(0, size(invalid.values, name="num_invalid_dims"), name=scope)


def broadcast_weights(weights: Any, values: Any) -> Any:
    """Return `weights` in the shape of `values`."""
    with name_scope(None, "broadcast_weights", [weights, values]) as scope:
        values = convert_to_tensor(values, name="values")
        weights = convert_to_tensor(weights, name="weights")
        if weights.shape.is_fully_defined() and values.shape.is_fully_defined() and weights.shape == values.shape:
            return weights
        with control_dependencies([assert_broadcastable(weights, values)]):
            return raw.Mul(weights, ones_like(values), name=scope)
