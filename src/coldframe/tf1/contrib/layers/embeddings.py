"""Embeddings of sequences of ids."""

from __future__ import annotations

from typing import Any

from coldframe.tf1.framework.build import raw
from coldframe.tf1.framework.convert import SparseTensor
from coldframe.tf1.index_ops import gather
from coldframe.tf1.shape_ops import concat, reshape, shape
from coldframe.tf1.variable_scope import variable_scope


def embedding_lookup_unique(params: Any, ids: Any, partition_strategy: str = "mod", name: str | None = None) -> Any:
    """Return embeddings of `ids`, each different id looked up once."""
    flat = reshape(ids, [-1])
    unique, index = raw.Unique(flat)
    found = gather(gather(params, unique), index)
    return reshape(found, concat([shape(ids), shape(params)[1:]], 0))


def embed_sequence(
    ids: Any, vocab_size: int | None = None, embed_dim: int | None = None, unique: bool = False,
    initializer: Any = None, regularizer: Any = None, trainable: bool = True, scope: Any = None, reuse: Any = None,
) -> Any:  # fmt: skip
    """Return embeddings ``[batch, length, embed_dim]`` of ids ``[batch, length]``, with a variable ``embeddings``."""
    from coldframe.tf1 import nn
    from coldframe.tf1.contrib.framework.variables import model_variable

    if not (reuse or (vocab_size and embed_dim)):
        raise ValueError(f"Must specify vocab size and embedding dimension when not reusing. Got vocab_size="
                         f"{vocab_size} and embed_dim={embed_dim}")  # fmt: skip
    with variable_scope(scope, "EmbedSequence", [ids], reuse=reuse):
        size = [vocab_size, embed_dim] if vocab_size and embed_dim else None
        embeddings = model_variable(
            "embeddings", shape=size, initializer=initializer, regularizer=regularizer, trainable=trainable
        )
        return embedding_lookup_unique(embeddings, ids) if unique else nn.embedding_lookup(embeddings, ids)


def bow_encoder(
    ids: Any, vocab_size: int, embed_dim: int, sparse_lookup: bool = True, initializer: Any = None,
    regularizer: Any = None, trainable: bool = True, scope: Any = None, reuse: Any = None,
) -> Any:  # fmt: skip
    """Return the mean of the embeddings of each row of `ids`, ``[batch, embed_dim]``."""
    from coldframe.tf1 import nn
    from coldframe.tf1.contrib.framework.variables import model_variable

    with variable_scope(scope, "bow_encoder", [ids], reuse=reuse):
        embeddings = model_variable(
            "embeddings", shape=[vocab_size, embed_dim], initializer=initializer, regularizer=regularizer,
            trainable=trainable,
        )  # fmt: skip
        if isinstance(ids, SparseTensor):
            return nn.embedding_lookup_sparse(embeddings, ids, None, combiner="mean")
        return raw.Mean(nn.embedding_lookup(embeddings, ids), 1)


__all__ = ["bow_encoder", "embed_sequence", "embedding_lookup_unique"]
