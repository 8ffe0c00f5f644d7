"""Clipping of values, norms, and lists of gradients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from coldframe.tf1.framework.build import raw, raw_op
from coldframe.tf1.framework.convert import IndexedSlices, constant, convert_to_tensor
from coldframe.tf1.framework.graph import colocate_with, name_scope


def clip_by_value(t: Any, clip_value_min: Any, clip_value_max: Any, name: str | None = None) -> Any:
    """Return `t` with each element moved into [clip_value_min, clip_value_max]."""
    with name_scope(name, "clip_by_value", [t, clip_value_min, clip_value_max]) as scope:
        values = convert_to_tensor(t.values if isinstance(t, IndexedSlices) else t, name="t")
        below = raw.Minimum(values, clip_value_max)
        clipped = raw_op("Maximum", [below, clip_value_min], {}, scope)
        return IndexedSlices(clipped, t.indices, t.dense_shape) if isinstance(t, IndexedSlices) else clipped


def clip_by_norm(t: Any, clip_norm: Any, axes: Any = None, name: str | None = None) -> Any:
    """Return `t`, scaled down where its Euclidean norm (along `axes`) is above `clip_norm`."""
    from coldframe.tf1.array_ops import identity, where
    from coldframe.tf1.reduce_ops import reduce_sum

    with name_scope(name, "clip_by_norm", [t, clip_norm]) as scope:
        values = convert_to_tensor(t.values if isinstance(t, IndexedSlices) else t, name="t")
        square = reduce_sum(values * values, axes, keepdims=True)
        positive = square > 0
        safe = where(positive, square, raw.OnesLike(square))
        norm = where(positive, raw.Sqrt(safe), square)
        scaled = values * clip_norm
        clipped = identity(scaled / raw.Maximum(norm, clip_norm), name=scope)
        return IndexedSlices(clipped, t.indices, t.dense_shape) if isinstance(t, IndexedSlices) else clipped


def global_norm(t_list: Sequence[Any], name: str | None = None) -> Any:
    """Return the Euclidean norm of all elements of all tensors (None is left out)."""
    if not isinstance(t_list, (list, tuple)):
        raise TypeError("t_list should be a sequence")
    with name_scope(name, "global_norm", [t for t in t_list if t is not None]):
        values = [
            convert_to_tensor(t.values if isinstance(t, IndexedSlices) else t, name=f"t_{i}")
            for i, t in enumerate(t_list) if t is not None
        ]  # fmt: skip
        halves = []
        for v in values:
            with colocate_with(v):
                halves.append(raw.L2Loss(v))
        half = raw.Sum(raw.Pack(halves), [0])
        return raw_op("Sqrt", [raw_op("Mul", [half, constant(2.0, half.dtype)], {}, "mul")], {}, "global_norm")


def clip_by_global_norm(
    t_list: Sequence[Any], clip_norm: Any, use_norm: Any = None, name: str | None = None
) -> tuple[list[Any], Any]:
    """Return the tensors scaled down so that their global norm is at most `clip_norm`, and the norm before."""
    if not isinstance(t_list, (list, tuple)):
        raise TypeError("t_list should be a sequence")
    norm = global_norm(t_list, name) if use_norm is None else use_norm
    with name_scope(name, "clip_by_global_norm", [*[t for t in t_list if t is not None], clip_norm]) as scope:
        one = constant(1.0, norm.dtype)
        finite = clip_norm * raw.Minimum(1.0 / norm, one / clip_norm)
        # An infinite norm gives NaN everywhere: hiding it would hide a broken step.
        scale = finite + (norm - norm)
        clipped: list[Any] = []
        for i, t in enumerate(t_list):
            if t is None:
                clipped.append(None)
                continue
            values = convert_to_tensor(t.values if isinstance(t, IndexedSlices) else t)
            with colocate_with(values):
                made = raw_op("Identity", [values * scale], {}, f"{scope}_{i}")
            clipped.append(IndexedSlices(made, t.indices, t.dense_shape) if isinstance(t, IndexedSlices) else made)
        return clipped, norm


def clip_by_average_norm(t: Any, clip_norm: Any, name: str | None = None) -> Any:
    """Return `t`, scaled down where its norm per element is above `clip_norm`."""
    with name_scope(name, "clip_by_average_norm", [t, clip_norm]) as scope:
        values = convert_to_tensor(t, name="t")
        count = raw.Cast(raw.Size(values), DstT=values.dtype)
        axes = raw.Range(0, raw.Rank(values), 1)
        inverse = raw.Rsqrt(raw.Sum(values * values, axes))
        return raw_op("Identity", [values * clip_norm * raw.Minimum(inverse * count, 1.0 / clip_norm)], {}, scope)
