"""Clipping values and norms, with TF1's Python arguments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from coldframe import dtypes
from coldframe.tf1.arithmetic_ops import range
from coldframe.tf1.cast_ops import cast
from coldframe.tf1.framework.build import raw
from coldframe.tf1.framework.convert import IndexedSlices, constant, convert_to_tensor
from coldframe.tf1.framework.graph import colocate_with, name_scope
from coldframe.tf1.index_ops import where
from coldframe.tf1.reduce_ops import reduce_sum
from coldframe.tf1.shape_ops import identity, ones_like, rank, size, stack


def _values(t: Any, name: str) -> Any:
    return convert_to_tensor(t.values if isinstance(t, IndexedSlices) else t, name=name)


def _like(t: Any, values: Any) -> Any:
    """Return `values` in the form of `t`: as a tensor, or as slices."""
    return IndexedSlices(values, t.indices, t.dense_shape) if isinstance(t, IndexedSlices) else values


def clip_by_value(t: Any, clip_value_min: Any, clip_value_max: Any, name: str | None = None) -> Any:
    """Return a tensor or slices with values beyond the bounds set to them."""
    with name_scope(name, "clip_by_value", [t, clip_value_min, clip_value_max]) as scope:
        values = _values(t, "t")
        low = raw.Minimum(values, clip_value_max)
        values.shape.assert_is_compatible_with(low.shape)
        clipped = raw.Maximum(low, clip_value_min, name=scope)
        values.shape.assert_is_compatible_with(clipped.shape)
        return _like(t, clipped)


def clip_by_norm(t: Any, clip_norm: Any, axes: Any = None, name: str | None = None) -> Any:
    """Return a tensor or slices, scaled down so that the L2 norm (along `axes`) is at most `clip_norm`."""
    with name_scope(name, "clip_by_norm", [t, clip_norm]) as scope:
        values = _values(t, "t")
        if isinstance(clip_norm, (int, float, np.number)):
            clip_norm = max(clip_norm, 0)
        else:
            clip_norm = cast(raw.Maximum(clip_norm, 0), values.dtype)
        total = reduce_sum(values * values, axes, True)
        positive = total > 0
        safe = where(positive, total, ones_like(total))
        norm = where(positive, raw.Sqrt(safe), total)
        scaled = values * clip_norm
        values.shape.assert_is_compatible_with(scaled.shape)
        return _like(t, identity(scaled / raw.Maximum(norm, clip_norm), name=scope))


def clip_by_average_norm(t: Any, clip_norm: Any, name: str | None = None) -> Any:
    """Return a tensor, scaled down so that its L2 norm over its number of elements is at most `clip_norm`."""
    with name_scope(name, "clip_by_average_norm", [t, clip_norm]) as scope:
        t = convert_to_tensor(t, name="t")
        count = cast(size(t), dtypes.float32)
        inverse = raw.Rsqrt(reduce_sum(t * t, range(rank(t))))
        return identity(t * clip_norm * raw.Minimum(inverse * count, constant(1.0) / clip_norm), name=scope)


def _sequence(t_list: Any) -> list[Any]:
    if not isinstance(t_list, Sequence) or isinstance(t_list, str):
        raise TypeError(f"`t_list` should be a sequence of tensors. Received {type(t_list)}.")
    return list(t_list)


def global_norm(t_list: Any, name: str | None = None) -> Any:
    """Return the L2 norm of all tensors and slices of a list together; None in it is skipped."""
    t_list = _sequence(t_list)
    with name_scope(name, "global_norm", t_list):
        values = [None if t is None else _values(t, f"t_{i}") for i, t in enumerate(t_list)]
        halves = []
        for v in values:
            if v is not None:
                with colocate_with(v):
                    halves.append(raw.L2Loss(v))
        total = reduce_sum(stack(halves))
        return raw.Sqrt(total * constant(2.0, total.dtype), name="global_norm")


def clip_by_global_norm(
    t_list: Any, clip_norm: Any, use_norm: Any = None, name: str | None = None
) -> tuple[list[Any], Any]:
    """Return the tensors and slices of a list scaled down so that their global norm is at most `clip_norm`, and it.

    Args:
        use_norm: the global norm, where it is known already.
    """
    t_list = _sequence(t_list)
    norm = global_norm(t_list, name) if use_norm is None else use_norm
    with name_scope(name, "clip_by_global_norm", [*t_list, clip_norm]) as scope:
        finite = clip_norm * raw.Minimum(1.0 / norm, constant(1.0, norm.dtype) / clip_norm)
        scale = finite + (norm - norm)  # no number, where the norm is none
        values = [None if t is None else _values(t, f"t_{i}") for i, t in enumerate(t_list)]
        clipped: list[Any] = []
        for i, (t, v) in enumerate(zip(t_list, values, strict=True)):
            if v is None:
                clipped.append(None)
                continue
            with colocate_with(v):
                clipped.append(_like(t, identity(v * cast(scale, v.dtype), name=f"{scope}_{i}")))
    return clipped, norm


__all__ = [
    "clip_by_average_norm", "clip_by_global_norm", "clip_by_norm", "clip_by_value", "global_norm",
]  # fmt: skip
