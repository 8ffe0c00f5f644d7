"""`tf.regularizers`: functions that make a loss of weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from coldframe.tf1.arithmetic_ops import abs as absolute
from coldframe.tf1.arithmetic_ops import square
from coldframe.tf1.framework.convert import convert_to_tensor
from coldframe.tf1.reduce_ops import reduce_sum

Regularizer = Callable[[Any], Any]


class L1L2:
    """``l1 * sum(|w|) + l2 * sum(w ** 2)``."""

    def __init__(self, l1: float = 0.0, l2: float = 0.0) -> None:
        self.l1, self.l2 = float(l1), float(l2)

    def __call__(self, x: Any) -> Any:
        x = convert_to_tensor(x)
        parts = [self.l1 * reduce_sum(absolute(x))] if self.l1 else []
        parts += [self.l2 * reduce_sum(square(x))] if self.l2 else []
        return sum(parts[1:], parts[0]) if parts else convert_to_tensor(0.0, x.dtype)

    def get_config(self) -> dict[str, float]:
        """Return the arguments it was made with."""
        return {"l1": self.l1, "l2": self.l2}


def l1(l: float = 0.01) -> L1L2:
    """Return ``l * sum(|w|)``."""
    return L1L2(l1=l)


def l2(l: float = 0.01) -> L1L2:
    """Return ``l * sum(w ** 2)``."""
    return L1L2(l2=l)


def l1_l2(l1: float = 0.01, l2: float = 0.01) -> L1L2:
    """Return ``l1 * sum(|w|) + l2 * sum(w ** 2)``."""
    return L1L2(l1, l2)


__all__ = ["L1L2", "l1", "l1_l2", "l2"]
