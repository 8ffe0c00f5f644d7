"""Products of matrices, on XLA. What they mean: `numpy_linear`."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from coldframe.primitives.jax_base import JaxBase, folding, widened


@folding
class LinearJax(JaxBase):
    """Matrix products."""

    def matmul(self, x: Any, y: Any) -> Any:
        """Batched matrix product of [..., m, k] and [..., k, n]; half precision accumulates in float32."""
        return jnp.matmul(widened(x), widened(y)).astype(x.dtype)

    def einsum(self, equation: str, *xs: Any) -> Any:
        """Einstein summation; the equation has no spaces and names its output."""
        return jnp.einsum(equation, *[widened(x) for x in xs]).astype(xs[0].dtype)
