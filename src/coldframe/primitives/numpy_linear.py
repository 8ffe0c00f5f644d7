"""Products of matrices, on numpy arrays."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from coldframe.primitives.numpy_elementwise import widened

Array = npt.NDArray[Any]


class LinearNumpy:
    """Matrix products."""

    def matmul(self, x: Array, y: Array) -> Any:
        """Batched matrix product of [..., m, k] and [..., k, n]; half precision accumulates in float32."""
        a, b = widened(x), widened(y)
        if a.ndim > 2 and b.ndim == 2:  # one large product instead of many small ones
            out = np.matmul(a.reshape(math.prod(a.shape[:-1]), a.shape[-1]), b)
            return out.reshape(*a.shape[:-1], b.shape[-1]).astype(x.dtype, copy=False)
        return np.matmul(a, b).astype(x.dtype, copy=False)

    def einsum(self, equation: str, *xs: Array) -> Any:
        """Einstein summation; the equation has no spaces and names its output."""
        return np.asarray(np.einsum(equation, *[widened(x) for x in xs], optimize=len(xs) > 2)).astype(xs[0].dtype)
