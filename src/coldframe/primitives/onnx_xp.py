"""The ONNX interpreter: op bodies that ask for ONNX nodes, for ONNX Runtime and for export."""

from __future__ import annotations

from coldframe.primitives.onnx_segments import SegmentsOnnx


class OnnxPrimitives(SegmentsOnnx):
    """All verbs as ONNX nodes, and the builder's own ``node`` and ``typed`` for ``onnx`` rules."""
