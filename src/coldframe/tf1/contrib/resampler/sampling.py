"""Samples of images."""

from __future__ import annotations

from typing import Any

from coldframe.tf1.framework.build import raw
from coldframe.tf1.framework.convert import convert_to_tensor
from coldframe.tf1.framework.graph import name_scope
from coldframe.tf1.framework.tensor import Tensor


def resampler(data: Any, warp: Any, name: str = "resampler") -> Tensor:
    """Return the values of images at given places, from the four pixels around each; outside there are zeros.

    Args:
        data: ``[batch, height, width, channels]``, float16, float32 or float64.
        warp: ``[batch, ..., 2]``, of that dtype: x before y, in pixels.

    Returns:
        ``[batch, ..., channels]``.
    """
    with name_scope(name, "resampler", [data, warp]):
        images, places = convert_to_tensor(data, name="data"), convert_to_tensor(warp, name="warp")
        return raw.Resampler(images, places)  # type: ignore[no-any-return]


__all__ = ["resampler"]
