"""``tf.random``: random tensors."""

from __future__ import annotations

from typing import Any

from coldframe.tf1.nn.sampling_ops import (
    all_candidate_sampler,
    fixed_unigram_candidate_sampler,
    learned_unigram_candidate_sampler,
    log_uniform_candidate_sampler,
    uniform_candidate_sampler,
)
from coldframe.tf1.random_ops import get_seed, multinomial, set_random_seed, truncated_normal
from coldframe.tf1.random_ops import random_gamma as gamma
from coldframe.tf1.random_ops import random_normal as normal
from coldframe.tf1.random_ops import random_poisson as poisson
from coldframe.tf1.random_ops import random_shuffle as shuffle
from coldframe.tf1.random_ops import random_uniform as uniform
from coldframe.tf1.stateless_random_ops import stateless_categorical, stateless_multinomial, stateless_truncated_normal
from coldframe.tf1.stateless_random_ops import stateless_random_normal as stateless_normal
from coldframe.tf1.stateless_random_ops import stateless_random_uniform as stateless_uniform


def categorical(
    logits: Any, num_samples: Any, dtype: Any = None, seed: int | None = None, name: str | None = None
) -> Any:
    """Return `num_samples` class numbers per row of `logits` (unnormalised log probabilities)."""
    return multinomial(logits, num_samples, seed, name, dtype)


__all__ = [
    "all_candidate_sampler", "categorical", "fixed_unigram_candidate_sampler", "gamma", "get_seed",
    "learned_unigram_candidate_sampler", "log_uniform_candidate_sampler", "multinomial", "normal", "poisson",
    "set_random_seed", "shuffle", "stateless_categorical", "stateless_multinomial", "stateless_normal",
    "stateless_truncated_normal", "stateless_uniform", "truncated_normal", "uniform", "uniform_candidate_sampler",
]  # fmt: skip
