"""The numpy interpreter: eager, the oracle, the folder of constants, and what runs every host step."""

from __future__ import annotations

from coldframe.primitives.numpy_elementwise import ElementwiseNumpy, ReduceNumpy
from coldframe.primitives.numpy_linear import LinearNumpy
from coldframe.primitives.numpy_shape import ShapeNumpy
from coldframe.primitives.numpy_windows import WindowsNumpy


class NumpyPrimitives(ElementwiseNumpy, ReduceNumpy, ShapeNumpy, LinearNumpy, WindowsNumpy):
    """All verbs on numpy arrays."""
