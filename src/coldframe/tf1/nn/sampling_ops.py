"""Losses over a sample of the classes, and the samplers that draw it."""

from __future__ import annotations

from typing import Any

import numpy as np

from coldframe import dtypes
from coldframe.tf1.arithmetic_ops import log, multiply
from coldframe.tf1.array_ops import (
    concat,
    expand_dims,
    ones,
    ones_like,
    reshape,
    shape,
    stack,
    stop_gradient,
    zeros_like,
)
from coldframe.tf1.array_ops import slice as slice_
from coldframe.tf1.cast_ops import cast
from coldframe.tf1.framework.build import raw
from coldframe.tf1.framework.convert import convert_to_tensor
from coldframe.tf1.framework.graph import name_scope
from coldframe.tf1.math_ops import matmul
from coldframe.tf1.nn.embedding_ops import embedding_lookup
from coldframe.tf1.nn.loss_ops import sigmoid_cross_entropy_with_logits, softmax_cross_entropy_with_logits_v2
from coldframe.tf1.partitions import PartitionedVariable
from coldframe.tf1.random_ops import get_seed


# --- samplers -----------------------------------------------------------------------------------------------------
def _seeds(seed: int | None) -> dict[str, int]:
    first, second = get_seed(seed)
    return {"seed": first or 0, "seed2": second or 0}


def _sampler(op: Any, how: str) -> Any:
    def function(
        true_classes: Any, num_true: int, num_sampled: int, unique: bool, range_max: int, seed: int | None = None,
        name: str | None = None,
    ) -> tuple[Any, Any, Any]:  # fmt: skip
        result: tuple[Any, Any, Any] = op(
            true_classes, num_true=num_true, num_sampled=num_sampled, unique=unique, range_max=range_max,
            **_seeds(seed), name=name,
        )  # fmt: skip
        return result

    function.__doc__ = f"""Draw `num_sampled` of `range_max` classes, {how}.

    Args:
        true_classes: int64 ``[batch, num_true]``.
        unique: draw no class twice.

    Returns:
        The classes, int64 ``[num_sampled]``; how often each of `true_classes` is expected in such a sample; the same
        of the classes drawn.
    """
    return function


log_uniform_candidate_sampler = _sampler(
    raw.LogUniformCandidateSampler, "the lower the likelier: class k with log((k + 2) / (k + 1)) / log(range_max + 1)"
)
uniform_candidate_sampler = _sampler(raw.UniformCandidateSampler, "each equally likely")
learned_unigram_candidate_sampler = _sampler(
    raw.LearnedUnigramCandidateSampler, "each as likely as it has been among `true_classes` so far"
)


def fixed_unigram_candidate_sampler(
    true_classes: Any, num_true: int, num_sampled: int, unique: bool, range_max: int, vocab_file: str = "",
    distortion: float = 1.0, num_reserved_ids: int = 0, num_shards: int = 1, shard: int = 0, unigrams: Any = (),
    seed: int | None = None, name: str | None = None,
) -> tuple[Any, Any, Any]:  # fmt: skip
    """Draw `num_sampled` classes with the probabilities `unigrams` (or of a file) to the power of `distortion`.

    Args:
        vocab_file: a CSV file whose last column has a class's count.
        num_reserved_ids: how many classes before those listed are never drawn.
        num_shards, shard: take every `num_shards`-th class only, from `shard` on.
    """
    result: tuple[Any, Any, Any] = raw.FixedUnigramCandidateSampler(
        true_classes, num_true=num_true, num_sampled=num_sampled, unique=unique, range_max=range_max,
        vocab_file=vocab_file, distortion=distortion, num_reserved_ids=num_reserved_ids, num_shards=num_shards,
        shard=shard, unigrams=list(unigrams), **_seeds(seed), name=name,
    )  # fmt: skip
    return result


def all_candidate_sampler(
    true_classes: Any, num_true: int, num_sampled: int, unique: bool, seed: int | None = None, name: str | None = None
) -> tuple[Any, Any, Any]:
    """Return all of `num_sampled` classes as if they were drawn."""
    result: tuple[Any, Any, Any] = raw.AllCandidateSampler(
        true_classes, num_true=num_true, num_sampled=num_sampled, unique=unique, **_seeds(seed), name=name
    )
    return result


def compute_accidental_hits(
    true_classes: Any, sampled_candidates: Any, num_true: int, seed: int | None = None, name: str | None = None
) -> tuple[Any, Any, Any]:
    """Return where drawn classes are among the true ones.

    Returns:
        Rows of `true_classes` (int32), places in `sampled_candidates` (int64), and a weight for each: the lowest float.
    """
    result: tuple[Any, Any, Any] = raw.ComputeAccidentalHits(
        true_classes, sampled_candidates, num_true=num_true, **_seeds(seed), name=name
    )
    return result


# --- losses -------------------------------------------------------------------------------------------------------
def nce_loss(
    weights: Any, biases: Any, labels: Any, inputs: Any, num_sampled: int, num_classes: int, num_true: int = 1,
    sampled_values: Any = None, remove_accidental_hits: bool = False, partition_strategy: str = "mod",
    name: str = "nce_loss",
) -> Any:  # fmt: skip
    """Return the noise-contrastive loss of each row of `inputs`: its true classes against sampled ones.

    Args:
        weights: ``[num_classes, dim]``, or a list of parts.
        biases: ``[num_classes]``.
        labels: int64 ``[batch, num_true]``.
        inputs: ``[batch, dim]``.
        sampled_values: what a candidate sampler returned; a log-uniform one by default.
    """
    logits, targets = _sampled_logits(
        weights, biases, labels, inputs, num_sampled, num_classes, num_true, sampled_values, remove_accidental_hits,
        partition_strategy, name, None,
    )  # fmt: skip
    return _row_sums(sigmoid_cross_entropy_with_logits(labels=targets, logits=logits, name="sampled_losses"))


def sampled_softmax_loss(
    weights: Any, biases: Any, labels: Any, inputs: Any, num_sampled: int, num_classes: int, num_true: int = 1,
    sampled_values: Any = None, remove_accidental_hits: bool = True, partition_strategy: str = "mod",
    name: str = "sampled_softmax_loss", seed: int | None = None,
) -> Any:  # fmt: skip
    """Return the softmax loss of each row of `inputs` over its true classes and sampled ones; see `nce_loss`."""
    logits, targets = _sampled_logits(
        weights, biases, labels, inputs, num_sampled, num_classes, num_true, sampled_values, remove_accidental_hits,
        partition_strategy, name, seed,
    )  # fmt: skip
    return softmax_cross_entropy_with_logits_v2(
        labels=stop_gradient(targets, name="labels_stop_gradient"), logits=logits
    )


def _row_sums(x: Any) -> Any:
    """Return the sums of rows by a matrix product, which is how TensorFlow's graphs have it."""
    columns = shape(x)[1]
    return reshape(matmul(x, ones(stack([columns, 1]), x.dtype)), [-1])


def _sampled_logits(
    weights: Any, biases: Any, labels: Any, inputs: Any, num_sampled: int, num_classes: int, num_true: int,
    sampled_values: Any, remove_accidental_hits: bool, partition_strategy: str, name: str | None, seed: int | None,
) -> tuple[Any, Any]:  # fmt: skip
    """Return logits and targets ``[batch, num_true + num_sampled]``, the true classes first."""
    tables = list(weights) if isinstance(weights, (list, tuple, PartitionedVariable)) else [weights]
    with name_scope(name, "compute_sampled_logits", [*tables, biases, inputs, labels]):
        labels = cast(convert_to_tensor(labels), dtypes.int64)
        flat = reshape(labels, [-1])
        if sampled_values is None:
            sampled_values = log_uniform_candidate_sampler(labels, num_true, num_sampled, True, num_classes, seed)
        sampled, true_count, sampled_count = (stop_gradient(s) for s in sampled_values)
        sampled = cast(sampled, dtypes.int64)
        ids = concat([flat, sampled], 0)
        inputs = convert_to_tensor(inputs)
        rows = cast(embedding_lookup(tables, ids, partition_strategy), inputs.dtype)
        true_w = slice_(rows, [0, 0], stack([shape(flat)[0], -1]))
        sampled_w = slice_(rows, stack([shape(flat)[0], 0]), [-1, -1])
        sampled_logits = matmul(inputs, sampled_w, transpose_b=True)
        bias = cast(embedding_lookup(biases, ids, partition_strategy), inputs.dtype)
        true_b = slice_(bias, [0], shape(flat))
        sampled_b = slice_(bias, shape(flat), [-1])
        true_logits = _true_logits(inputs, true_w, num_true)
        true_logits = true_logits + reshape(true_b, [-1, num_true])
        sampled_logits = sampled_logits + sampled_b
        if remove_accidental_hits:
            sampled_logits = sampled_logits + _hits(labels, sampled, num_true, num_sampled, sampled_logits.dtype)
        true_logits = true_logits - log(true_count)
        sampled_logits = sampled_logits - log(sampled_count)
        logits = concat([true_logits, sampled_logits], 1)
        return logits, concat([ones_like(true_logits) / num_true, zeros_like(sampled_logits)], 1)


def _true_logits(inputs: Any, true_w: Any, num_true: int) -> Any:
    dim = shape(true_w)[1:2]
    per_row = concat([[-1, num_true], dim], 0)
    products = multiply(expand_dims(inputs, 1), reshape(true_w, per_row))
    return reshape(_row_sums(reshape(products, concat([[-1], dim], 0))), [-1, num_true])


def _hits(labels: Any, sampled: Any, num_true: int, num_sampled: int, dtype: Any) -> Any:
    """Return the lowest float where a sampled class is a true one of the row, else 0."""
    rows, places, lowest = compute_accidental_hits(labels, sampled, num_true=num_true)
    rows = reshape(rows, [-1, 1])
    places = reshape(cast(places, dtypes.int32), [-1, 1])
    at = concat([rows, places], 1, "sparse_indices")
    sizes = concat([shape(labels)[:1], expand_dims(num_sampled, 0)], 0)
    return raw.SparseToDense(at, sizes, cast(lowest, dtype), np.zeros((), dtype.numpy), validate_indices=False)


__all__ = [
    "all_candidate_sampler", "compute_accidental_hits", "fixed_unigram_candidate_sampler",
    "learned_unigram_candidate_sampler", "log_uniform_candidate_sampler", "nce_loss", "sampled_softmax_loss",
    "uniform_candidate_sampler",
]  # fmt: skip
