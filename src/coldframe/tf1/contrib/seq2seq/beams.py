"""Beams: tensors repeated for each, joined with the batch and split off again, and their way back through time."""

from __future__ import annotations

from typing import Any

import coldframe.tf1 as tf
from coldframe.tf1.framework import nest
from coldframe.tf1.while_loop import while_loop


def tile_batch(t: Any, multiplier: int, name: str | None = None) -> Any:
    """Return tensors ``[batch, ...]`` (nested ones too) with each entry of the batch `multiplier` times in a row."""
    flat = nest.flatten(t)
    with tf.name_scope(name, "tile_batch", [*flat, multiplier]):
        return nest.map_structure(lambda x: _tiled(x, multiplier), t)


def _tiled(x: Any, multiplier: int) -> Any:
    x = tf.convert_to_tensor(x, name="t")
    if x.shape.ndims is None:
        raise ValueError("t must have statically known rank")
    times = tf.tile(tf.expand_dims(x, 1), [1, multiplier] + [1] * (x.shape.ndims - 1))
    made = tf.reshape(times, tf.concat([[-1], tf.shape(x)[1:]], 0))
    batch = x.shape[0].value
    made.set_shape(tf.TensorShape([None if batch is None else batch * multiplier]).concatenate(x.shape[1:]))
    return made


def merged(x: Any) -> Any:
    """Return ``[batch * beams, ...]`` for ``[batch, beams, ...]``; what has no beams as it is."""
    if hasattr(x, "stack") or x.shape.ndims < 2:
        return x
    made = tf.reshape(x, tf.concat([[-1], tf.shape(x)[2:]], 0))
    made.set_shape(tf.TensorShape([None]).concatenate(x.shape[2:]))
    return made


def split(x: Any, beams: int) -> Any:
    """Return ``[batch, beams, ...]`` for ``[batch * beams, ...]``; what has no batch as it is."""
    if hasattr(x, "stack") or x.shape.ndims < 1:
        return x
    made = tf.reshape(x, tf.concat([[-1, beams], tf.shape(x)[1:]], 0))
    whole = x.shape[0].value
    made.set_shape(tf.TensorShape([None if whole is None else whole // beams, beams]).concatenate(x.shape[1:]))
    return made


def chosen(x: Any, beams: Any) -> Any:
    """Return the entries ``[batch, beams, ...]`` of `x` that `beams`, int32 ``[batch, beams]``, names."""
    batch = tf.shape(beams)[0]
    rows = tf.tile(tf.expand_dims(tf.range(batch), 1), [1, tf.shape(beams)[1]])
    made = tf.gather_nd(x, tf.stack([rows, beams], -1))
    made.set_shape(x.shape)
    return made


def gather_tree(step_ids: Any, parent_ids: Any, max_sequence_lengths: Any, end_token: Any) -> Any:
    """Return whole beams: for each last one, the ids on its way, int32 ``[time, batch, beams]``.

    Args:
        step_ids: the id of each beam at each step, int32 ``[time, batch, beams]``.
        parent_ids: which beam of the step before it goes on from.
        max_sequence_lengths: how many steps count, int32 ``[batch]``.
        end_token: what is given from the first end on, and beyond what counts.
    """
    step_ids, parent_ids = tf.convert_to_tensor(step_ids), tf.convert_to_tensor(parent_ids)
    lengths = tf.cast(max_sequence_lengths, tf.int32)
    end = tf.cast(end_token, step_ids.dtype)
    steps, batch, beams = (tf.shape(step_ids)[i] for i in range(3))
    first = tf.tile(tf.expand_dims(tf.range(beams), 0), tf.stack([batch, 1]))
    first.set_shape(step_ids.shape[1:])
    ends = tf.fill(tf.shape(first), end)

    def back(t: Any, at: Any, found: Any) -> tuple[Any, Any, Any]:
        counts = tf.tile(tf.expand_dims(tf.less(t, lengths), 1), tf.stack([1, beams]))
        ids = tf.where(counts, chosen(step_ids[t], at), ends)
        before = tf.where(counts, chosen(parent_ids[t], at), at)
        return t - 1, before, found.write(t, ids)

    array = tf.TensorArray(step_ids.dtype, size=steps, element_shape=step_ids.shape[1:])
    _, _, found = while_loop(lambda t, *_: tf.greater_equal(t, 0), back, (steps - 1, first, array))
    return after_first_end(found.stack(), end)


def after_first_end(ids: Any, end: Any) -> Any:
    """Return ids ``[time, ...]`` with nothing but `end` after the first one."""
    ended = tf.cumsum(tf.cast(tf.equal(ids, end), tf.int32), axis=0, exclusive=True)
    return tf.where(tf.greater(ended, 0), tf.fill(tf.shape(ids), end), ids)


__all__ = ["gather_tree", "tile_batch"]
