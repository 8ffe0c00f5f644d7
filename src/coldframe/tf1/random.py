"""``tf.random``: random tensors."""

from __future__ import annotations

from coldframe.tf1.random_ops import get_seed, multinomial, set_random_seed, truncated_normal
from coldframe.tf1.random_ops import random_gamma as gamma
from coldframe.tf1.random_ops import random_normal as normal
from coldframe.tf1.random_ops import random_poisson as poisson
from coldframe.tf1.random_ops import random_shuffle as shuffle
from coldframe.tf1.random_ops import random_uniform as uniform

categorical = multinomial

__all__ = [
    "categorical", "gamma", "get_seed", "multinomial", "normal", "poisson", "set_random_seed", "shuffle",
    "truncated_normal", "uniform",
]  # fmt: skip
