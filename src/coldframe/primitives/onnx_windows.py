"""Verbs over sliding windows, as ONNX nodes. What they mean: `numpy_windows`."""

from __future__ import annotations

from coldframe.primitives.onnx_shape import ShapeOnnx


class WindowsOnnx(ShapeOnnx):
    """Convolution and pooling."""
