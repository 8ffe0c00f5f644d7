"""Products of matrices, on numpy arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from coldframe.primitives.numpy_elementwise import widened

Array = npt.NDArray[Any]


class LinearNumpy:
    """Matrix products."""

    def matmul(self, x: Array, y: Array) -> Any:
        """Batched matrix product of [..., m, k] and [..., k, n]; half precision accumulates in float32."""
        return np.matmul(widened(x), widened(y)).astype(x.dtype)

    def einsum(self, equation: str, *xs: Array) -> Any:
        """Einstein summation; the equation has no spaces and names its output."""
        return np.asarray(np.einsum(equation, *[widened(x) for x in xs], optimize=len(xs) > 2)).astype(xs[0].dtype)
