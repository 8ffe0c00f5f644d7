"""Moving elements about: the names of `tf.manip`."""

from __future__ import annotations

from coldframe.tf1.index_ops import gather_nd, scatter_nd
from coldframe.tf1.layout_ops import batch_to_space_nd, space_to_batch_nd
from coldframe.tf1.shape_ops import reshape, reverse, roll, tile

__all__ = [
    "batch_to_space_nd", "gather_nd", "reshape", "reverse", "roll", "scatter_nd", "space_to_batch_nd", "tile",
]  # fmt: skip
